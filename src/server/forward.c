/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/forward.h"

#include <stdio.h>
#include <stdlib.h>

#include "loop/peer.h"
#include "server/link.h"

enum { STREAM_UNSENT_MAX = 1 << 20 /* of a stream that is passed on */ };

/* A request that a server is asked. */
struct forward {
    struct serving *serving;
    struct conn *conn;
    struct api_call call;
    struct fetch *fetch; /* NULL: between two tries */
    struct timer again;
    uint64_t until_ms, asked_ms;
    size_t at;   /* server of the list */
    bool stream; /* an answer without end */
    bool late;   /* one server had it for all the time there is */
    bool begun;  /* of which something was sent */
    char *to;    /* it was asked last */
};

static void ask(struct forward *f);

/* Of nobody any more. */
static void forward_free(struct forward *f)
{
    if (f->fetch)
        fetch_cancel(f->fetch);
    timer_clear(&f->serving->timers, &f->again);
    ((struct conn_state *)conn_user(f->conn))->forward = NULL;
    free(f->to);
    free(f);
}

static void answer(struct forward *f)
{
    struct serving *s = f->serving;
    struct conn *c = f->conn;
    struct api_call call = f->call;

    forward_free(f);
    serving_answer_call(s, c, &call, 1,
                        call.request && call.request->accepts_gzip);
    api_call_fini(&call);
}

/* --- Answers ------------------------------------------------------------- */

static struct bytes trim(struct bytes b)
{
    while (b.n && (b.p[0] == ' ' || b.p[0] == '\t'))
        b = bytes_skip(b, 1);
    while (b.n && (unsigned char)b.p[b.n - 1] <= ' ')
        b.n--;
    return b;
}

/* What belongs to the answer, and not to a connection or to this agent. */
static bool is_passed(struct bytes name)
{
    return bytes_eq_fold(bytes_head(name, 2), bytes_str("X-")) ||
           bytes_eq_fold(name, bytes_str("Allow")) ||
           bytes_eq_fold(name, bytes_str("Location")) ||
           bytes_eq_fold(name, bytes_str("Retry-After")) ||
           bytes_eq_fold(name, bytes_str("Age"));
}

static void take_line(struct api_call *call, struct bytes line)
{
    size_t colon = bytes_find(line, ':');
    struct bytes name = bytes_head(line, colon);
    struct bytes value = trim(bytes_skip(line, colon + 1));

    if (bytes_eq_fold(name, bytes_str("Content-Type"))) {
        call->content_type = arena_str(call->arena, value);
    } else if (is_passed(name)) {
        buf_put(&call->extra_head, name);
        buf_puts(&call->extra_head, ": ");
        buf_put(&call->extra_head, value);
        buf_puts(&call->extra_head, "\r\n");
    }
}

void forward_take_answer(struct api_call *call, const struct fetch_result *r)
{
    struct bytes head = r->head;

    buf_reset(&call->body);
    buf_reset(&call->extra_head);
    call->status = r->status;
    call->consul_headers = false; /* the server's are passed */
    call->consistency = NULL;
    call->held = 0;
    call->content_type = NULL;
    while (head.n) {
        size_t end = bytes_find(head, '\n');
        take_line(call, bytes_head(head, end));
        head = bytes_skip(head, end + 1);
    }
    buf_put(&call->body, r->body);
    if (r->body.n && !call->content_type)
        call->content_type = "text/plain; charset=utf-8";
}

/* --- Servers ------------------------------------------------------------- */

/* A copy: the list may be replaced meanwhile. */
char *forward_server(struct serving *s, size_t nth)
{
    char *to = NULL;

    serving_pin(s);
    const struct server_list *l = atomic_load(&s->process->servers);
    if (l && l->n)
        to = strdup(l->v[nth % l->n]);
    serving_unpin(s);
    return to;
}

static bool has_others(struct serving *s)
{
    serving_pin(s);
    const struct server_list *l = atomic_load(&s->process->servers);
    bool others = l && l->n > 1;
    serving_unpin(s);
    return others;
}

/* --- Tries --------------------------------------------------------------- */

static bool is_read(const struct forward *f)
{
    return f->call.request->method == HTTP_GET ||
           f->call.request->method == HTTP_HEAD;
}

/* It would have been answered otherwise by a server that has a leader. */
bool forward_is_leaderless(const struct fetch_result *r)
{
    return r->status == 500 && bytes_is(trim(r->body), "No cluster leader");
}

static bool may_again(const struct forward *f, const struct fetch_result *r)
{
    if (uv_now(&f->serving->loop) >= f->until_ms || f->begun ||
        f->serving->closing)
        return false;
    if (r->err == ERR_OK)
        return is_read(f) && forward_is_leaderless(r);
    return is_read(f) || r->unsent || r->err == ERR_REFUSED;
}

/* A long poll that is cut after it has waited for long begins anew with its time,
 * as often as that happens. Who has spent it at a server that does not answer, or
 * has no leader, may try one other server: without that end, and where none has a
 * leader, it would go from one to the next for ever. */
static bool gets_time(struct forward *f, const struct fetch_result *r)
{
    bool polls = f->call.blocking != API_BLOCK_NONE && f->call.index;
    bool late = f->late;

    if (uv_now(&f->serving->loop) <= f->asked_ms + FORWARD_HOLD_MS)
        return false;
    if (polls && r->err != ERR_OK && r->err != ERR_TIMEOUT)
        return true;
    f->late = true;
    return !late && (r->err != ERR_OK || has_others(f->serving));
}

uint64_t forward_first_hold_ms(struct serving *s)
{
    return has_others(s) ? FORWARD_HOLD_MS / 2 : FORWARD_HOLD_MS;
}

void forward_tell_hold(struct serving *s, uint64_t until_ms, uint64_t most_ms,
                       char text[FORWARD_HOLD_TEXT], struct fetch_header *h)
{
    uint64_t now = uv_now(&s->loop);
    uint64_t ms = until_ms > now ? until_ms - now : 1;

    if (ms > most_ms)
        ms = most_ms;
    (void)snprintf(text, FORWARD_HOLD_TEXT, "%llu", (unsigned long long)ms);
    *h = (struct fetch_header){API_HOLD_HEADER, text};
}

static void on_again(struct timer *t)
{
    ask(container_of(t, struct forward, again));
}

static void give_up(struct forward *f, const char *why)
{
    bool read = is_read(f);

    buf_reset(&f->call.body);
    if (read)
        api_error(&f->call, 500, "No cluster leader");
    else
        api_error(&f->call, 500,
                  "No cluster leader (%s: it may have been carried out or not)",
                  why);
    answer(f);
}

static void told(void *ctx, const struct fetch_result *r)
{
    struct forward *f = ctx;

    f->fetch = NULL;
    if (f->begun) {
        struct conn *c = f->conn;
        api_call_fini(&f->call);
        forward_free(f);
        conn_stream_end(c);
        return;
    }
    if (gets_time(f, r))
        f->until_ms = uv_now(&f->serving->loop) + FORWARD_HOLD_MS;
    if (may_again(f, r)) {
        f->at++;
        timer_set(&f->serving->timers, &f->again,
                  f->at % 2 ? 1 : FORWARD_PAUSE_MS);
        return;
    }
    if (r->err != ERR_OK) {
        give_up(f, r->text.s);
        return;
    }
    forward_take_answer(&f->call, r);
    answer(f);
}

/* --- Streams ------------------------------------------------------------- */

static void begin_stream(struct forward *f)
{
    struct bytes mirror =
        fetch_head_line(fetch_head(f->fetch), "X-Muster-Mirror");
    struct buf head;

    buf_init(&head, 0);
    f->call.content_type = "text/event-stream";
    http_head_line(&f->call.extra_head, "Cache-Control", bytes_str("no-store"));
    if (mirror.n)
        http_head_line(&f->call.extra_head, "X-Muster-Mirror", mirror);
    serving_pin(f->serving);
    api_stream_head(&f->call, f->serving->env.self, &head,
                    conn_http_1_0(f->conn));
    serving_unpin(f->serving);
    struct shared *sent = head.bad ? NULL : shared_copy(buf_bytes(&head));
    buf_fini(&head);
    f->begun = sent != NULL;
    if (!sent)
        return;
    f->call.request = NULL;
    conn_forget_request(f->conn);
    conn_stream_begin(f->conn, sent);
}

static void on_piece(void *ctx, struct bytes piece)
{
    struct forward *f = ctx;

    if (!f->begun)
        begin_stream(f);
    struct shared *p = f->begun ? shared_copy(piece) : NULL;
    if (p && conn_stream_piece(f->conn, p, STREAM_UNSENT_MAX) == ERR_OK)
        return;
    /* Too slow: he comes back with the id that he has. */
    shared_unref(p);
    fetch_stop(f->fetch);
}

/* --- Asking -------------------------------------------------------------- */

static size_t headers_of(const struct forward *f,
                         struct fetch_header v[FORWARD_HEADERS_MAX])
{
    static const char *const passed[] = {"Accept",
                                         "Content-Type",
                                         "Cache-Control",
                                         "Last-Event-ID",
                                         "X-Muster-Subscriber",
                                         "X-Muster-Zone",
                                         "X-Muster-Subscriber-Id",
                                         "X-Consul-Namespace",
                                         "X-Consul-Partition"};
    const struct http_request *r = f->call.request;
    size_t n = 0;

    for (size_t i = 0; i < sizeof passed / sizeof passed[0]; i++) {
        struct bytes value = http_header(r, passed[i]);
        const char *text = value.n ? arena_str(f->call.arena, value) : NULL;
        if (text)
            v[n++] = (struct fetch_header){passed[i], text};
    }
    return n;
}

static bool is_snapshot(const struct forward *f)
{
    return bytes_is(f->call.request->path, "/v1/snapshot");
}

static uint32_t timeout_ms(const struct forward *f)
{
    uint64_t wait = f->call.blocking != API_BLOCK_NONE && f->call.index
                        ? f->call.wait_ms + f->call.wait_ms / 16
                        : 0;

    if (is_snapshot(f))
        return FORWARD_SNAPSHOT_MS;
    return f->stream ? 0 : (uint32_t)(wait + FORWARD_HOLD_MS + 2000);
}

/* What servers answer agents only stands under another path there. */
static const char *target_of(const struct forward *f)
{
    static const char agent[] = "/v1/agent/";
    struct bytes target = f->call.request->target;

    if (!bytes_starts(target, bytes_str(agent)))
        return arena_str(f->call.arena, target);
    return arena_printf(f->call.arena, "/v1/peer/%.*s",
                        BYTES_ARG(bytes_skip(target, sizeof agent - 1)));
}

static void ask(struct forward *f)
{
    struct serving *s = f->serving;
    const struct http_request *r = f->call.request;
    struct fetch_header headers[FORWARD_HEADERS_MAX];
    char hold[FORWARD_HOLD_TEXT];
    size_t n = headers_of(f, headers);
    struct peers *peers = serving_peers(s);
    const char *target = target_of(f);

    if (is_read(f) && !f->stream)
        forward_tell_hold(s, f->until_ms,
                          f->late ? FORWARD_HOLD_MS : forward_first_hold_ms(s),
                          hold, &headers[n++]);

    free(f->to);
    f->to = forward_server(s, f->at);
    f->asked_ms = uv_now(&s->loop);
    struct peer_request q = {
        .to = f->to,
        .method = r->method == HTTP_HEAD
                      ? "GET"
                      : arena_str(f->call.arena, r->method_name),
        .target = target,
        .body = r->body,
        .timeout_ms = timeout_ms(f),
        .headers = headers,
        .header_count = n,
        .keep_head = true,
        .answer_max = is_snapshot(f) ? SNAPSHOT_BODY_MAX : 0,
    };
    if (f->stream) {
        q.on_piece = on_piece;
        q.piece_ctx = f;
    }
    if (!peers || !target || !q.method || !f->to ||
        peer_ask(peers, &q, told, f, &f->fetch) != ERR_OK)
        give_up(f, "it could not be sent");
}

void forward_begin(struct serving *s, struct conn *c, struct api_call *call,
                   bool stream)
{
    struct forward *f = calloc(1, sizeof *f);

    if (!f) {
        api_error(call, 500, "out of memory");
        serving_answer_call(s, c, call, 1, false);
        api_call_fini(call);
        return;
    }
    *f = (struct forward){
        .serving = s, .conn = c, .call = *call, .stream = stream};
    f->again.fire = on_again;
    f->until_ms = uv_now(&s->loop) + FORWARD_HOLD_MS;
    ((struct conn_state *)conn_user(c))->forward = f;
    ask(f);
}

/* --- Which --------------------------------------------------------------- */

/* Servers know them all; alone, an agent knows itself. */
static bool is_of_members(struct serving *s, const struct api_call *call)
{
    bool known;

    (void)contact_ms(s->process, &known);
    return known && bytes_is(call->request->path, "/v1/agent/members") &&
           http_param_value(call->request, "wan").n == 0;
}

bool forward_takes(struct serving *s, struct conn *c, struct api_call *call,
                   enum api_next next)
{
    if (!s->process->link || call->request->from_peer)
        return false;
    switch (next) {
    case API_AGENT: /* coordinates are stored */
        if (!bytes_starts(call->request->path, bytes_str("/v1/coordinate/")))
            return false;
        break;
    case API_ANSWER:
    case API_MONITOR:
    case API_ACK:
    case API_PEER:
        return false;
    case API_READ:
        if (api_is_local(call) && !is_of_members(s, call))
            return false;
        break;
    case API_WATCHERS:
    case API_LAG:
        if (http_param(call->request, "local"))
            return false;
        break;
    case API_MIRRORS:
    case API_WRITE:
    case API_SNAPSHOT:
    case API_STREAM:
    case API_FORWARD:
        break;
    case API_WAN:
        return false;
    }
    if (!mirror_takes(s, c, call, next) && !share_takes(s, c, call, next))
        forward_begin(s, c, call, next == API_STREAM || call->forward_stream);
    return true;
}

void forward_gone(struct conn_state *st)
{
    struct forward *f = st->forward;

    mirror_gone(st);
    share_gone(st);
    if (!f)
        return;
    api_call_fini(&f->call);
    forward_free(f);
}
