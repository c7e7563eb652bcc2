/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/monitor.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/metric.h"
#include "server/core.h"
#include "server/logsink.h"

struct line {
    struct letter letter;
    struct logsink_line content; /* points into data */
    char data[];
};

static struct line *line_new(const struct logsink_line *from)
{
    size_t module_n = strlen(from->module) + 1, text_n = strlen(from->text) + 1;
    struct line *l = malloc(sizeof *l + module_n + text_n);
    if (!l)
        return NULL;
    *l = (struct line){.letter.kind = LETTER_LINE, .content = *from};
    list_init(&l->letter.link);
    memcpy(l->data, from->module, module_n);
    memcpy(l->data + module_n, from->text, text_n);
    l->content.module = l->data;
    l->content.text = l->data + module_n;
    return l;
}

/* --- Any thread ---------------------------------------------------------- */

static void tap(void *ctx, enum log_level level, const char *module,
                const char *text)
{
    struct core *c = ctx;
    struct logsink_line content = {
        .level = level, .module = module, .text = text};
    logsink_stamp(&content);
    struct line *l = line_new(&content);
    if (l && queue_push(c->lines, &l->letter.link) == ERR_OK)
        return;
    metric_add(METRIC_MONITOR_LOST, 1);
    free(l);
}

/* --- Core thread --------------------------------------------------------- */

static void post_copy(struct serving *s, const struct line *l)
{
    if (atomic_load(&s->monitor_count) == 0)
        return;
    struct line *copy = atomic_load(&s->lines_waiting) < LINES_WAITING_MAX
                            ? line_new(&l->content)
                            : NULL;
    if (!copy) {
        metric_add(METRIC_MONITOR_LOST, 1);
        return;
    }
    atomic_fetch_add(&s->lines_waiting, 1);
    serving_post(s, &copy->letter);
}

static void on_lines(void *ctx, struct list *lines)
{
    struct core *c = ctx;
    struct process *p = c->process;
    while (!list_empty(lines)) {
        struct letter *letter = container_of(lines->next, struct letter, link);
        struct line *l = container_of(letter, struct line, letter);
        list_del(&letter->link);
        for (int i = 0; i < p->serving_count; i++)
            if (p->serving[i])
                post_copy(p->serving[i], l);
        free(l);
    }
}

enum err monitor_open(struct core *c)
{
    enum err e = queue_new(c->loop, LINES_WAITING_MAX, on_lines, c, &c->lines);
    if (e == ERR_OK)
        log_set_tap(tap, c);
    return e;
}

void monitor_flush(struct core *c)
{
    queue_drain(c->lines);
}

void monitor_close(struct core *c)
{
    log_set_tap(NULL, NULL);
    queue_close(c->lines);
}

/* --- Serving thread ------------------------------------------------------ */

static void leave(struct monitor *m)
{
    list_del(&m->link);
    log_tap_close(m->level);
    atomic_fetch_sub(&m->serving->monitor_count, 1);
    m->conn = NULL;
}

/* The reader's connection is gone, or its next request is no stream. */
void monitor_gone(struct monitor *m)
{
    if (m->conn)
        leave(m);
}

static enum err send_line(struct monitor *m, const struct logsink_line *line)
{
    struct buf b;
    buf_init(&b, 0);
    logsink_format(&b, line, m->json);
    struct shared *piece = b.bad ? NULL : shared_copy(buf_bytes(&b));
    buf_fini(&b);
    if (!piece)
        return ERR_NOMEM;
    enum err e = conn_stream_piece(m->conn, piece, READER_BYTES_MAX);
    if (e != ERR_OK)
        shared_unref(piece);
    return e;
}

static void send_to(struct monitor *m, const struct logsink_line *line)
{
    char text[80];
    if (m->lost) {
        struct logsink_line told = *line;
        told.level = LOG_WARN;
        told.module = "agent.monitor";
        told.text = text;
        snprintf(text, sizeof text,
                 "%llu lines are left out here: read too slowly",
                 (unsigned long long)m->lost);
        if (send_line(m, &told) == ERR_OK)
            m->lost = 0;
    }
    if (send_line(m, line) != ERR_OK) {
        m->lost++;
        metric_add(METRIC_MONITOR_LOST, 1);
    }
}

void monitor_line(struct serving *s, struct letter *letter)
{
    struct line *l = container_of(letter, struct line, letter);
    atomic_fetch_sub(&s->lines_waiting, 1);
    list_each (it, &s->monitors) {
        struct monitor *m = container_of(it, struct monitor, link);
        if (l->content.level >= m->level)
            send_to(m, &l->content);
    }
    free(l);
}

void monitor_begin(struct serving *s, struct conn *c, struct api_call *call)
{
    struct monitor *m = &((struct conn_state *)conn_user(c))->monitor;
    if (atomic_load(&s->monitor_count) >= READERS_MAX || s->closing) {
        api_error(call, 429,
                  "%d readers of the log are enough; try again later",
                  READERS_MAX);
        serving_answer_call(s, c, call, 0, false);
        return;
    }
    struct buf head;
    buf_init(&head, 0);
    api_stream_head(call, &s->process->self, &head, conn_http_1_0(c));
    struct shared *sent = head.bad ? NULL : shared_copy(buf_bytes(&head));
    buf_fini(&head);
    *m = (struct monitor){.conn = c,
                          .serving = s,
                          .level = call->monitor_level,
                          .json = call->monitor_json};
    list_add(&s->monitors, &m->link);
    atomic_fetch_add(&s->monitor_count, 1);
    log_tap_open(m->level);
    conn_forget_request(c);
    conn_stream_begin(c, sent);
    /* He sees this line first, and so knows that he is heard. */
    log_info("agent", "the log is read: from=%s level=%s", conn_peer(c),
             log_level_name(m->level));
}

void monitor_end_all(struct serving *s)
{
    while (!list_empty(&s->monitors)) {
        struct monitor *m =
            container_of(s->monitors.next, struct monitor, link);
        struct conn *c = m->conn;
        leave(m);
        conn_stream_end(c);
    }
}
