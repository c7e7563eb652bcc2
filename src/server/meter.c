/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/meter.h"

#include <stdlib.h>

struct meter {
    struct list link; /* in serving->meters */
    struct timer timer;
    struct conn *conn;
    struct serving *serving;
};

enum { METER_ARENA_MAX = 64 << 10 };

static struct shared *measure(struct serving *s)
{
    struct shared *piece = NULL;
    struct arena arena;
    struct api_call call;

    arena_init(&arena, METER_ARENA_MAX);
    api_call_init(&call);
    serving_pin(s);
    struct api_env env = serving_env(s);
    if (api_from_canonical(&call, &env, bytes_str("/v1/agent/metrics"),
                           &arena) == ERR_OK) {
        serving_measure(s, &env);
        call.pretty = false; /* one line */
        api_read(&call, &env);
        buf_putc(&call.body, '\n');
        if (!call.body.bad)
            piece = shared_copy(buf_bytes(&call.body));
    }
    serving_unpin(s);
    api_call_fini(&call);
    arena_fini(&arena);
    return piece;
}

static void on_due(struct timer *t)
{
    struct meter *m = container_of(t, struct meter, timer);
    struct shared *piece = measure(m->serving);

    timer_set(&m->serving->timers, t, METER_EVERY_MS);
    /* Full, or out of memory: this line is left out. */
    if (piece && conn_stream_piece(m->conn, piece, METER_BYTES_MAX) != ERR_OK)
        shared_unref(piece);
}

static void leave(struct meter *m)
{
    struct conn_state *st = conn_user(m->conn);

    timer_clear(&m->serving->timers, &m->timer);
    list_del(&m->link);
    m->serving->meter_count--;
    st->meter = NULL;
    free(m);
}

void meter_gone(struct conn_state *st)
{
    if (st->meter)
        leave(st->meter);
}

void meter_begin(struct serving *s, struct conn *c, struct api_call *call)
{
    struct conn_state *st = conn_user(c);
    struct buf head;

    if (s->meter_count >= METERS_MAX || s->closing) {
        api_error(call, 429,
                  "%d readers of the metrics are enough; try again later",
                  METERS_MAX);
        serving_answer_call(s, c, call, 0, false);
        return;
    }
    struct meter *m = calloc(1, sizeof *m);
    buf_init(&head, 0);
    api_stream_head(call, &s->process->self, &head, conn_http_1_0(c));
    struct shared *sent = head.bad ? NULL : shared_copy(buf_bytes(&head));
    buf_fini(&head);
    if (!m || !sent) {
        shared_unref(sent);
        free(m);
        api_error(call, 500, "out of memory");
        serving_answer_call(s, c, call, 0, false);
        return;
    }
    *m = (struct meter){.conn = c, .serving = s, .timer.fire = on_due};
    st->meter = m;
    s->meter_count++;
    list_add(&s->meters, &m->link);
    conn_forget_request(c);
    conn_stream_begin(c, sent);
    timer_set(&s->timers, &m->timer, 0);
}

void meter_end_all(struct serving *s)
{
    while (!list_empty(&s->meters)) {
        struct meter *m = container_of(s->meters.next, struct meter, link);
        struct conn *c = m->conn;
        leave(m);
        conn_stream_end(c);
    }
}
