/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "store/etcd_grpc.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/check.h"

enum {
    STREAM_WINDOW_BYTES = 4 << 20,
    SESSION_WINDOW_BYTES = 16 << 20,
    OUT_MAX_BYTES = 16 << 20, /* of requests that the socket has not taken */
    HELLO_MAX_BYTES = 64 << 10,
};

struct grpc_channel {
    struct grpc_options o;
    char *target;
    struct stream *stream; /* NULL: not dialed */
    nghttp2_session *session;
    struct list calls;
    struct buf out;
    uint64_t heard;     /* bytes, of all connections */
    struct timer later; /* the connection is to be given up, */
    const char *why;    /* because of this */
    struct grpc_call hello;
    struct errtext unwelcome;
    bool open;
    bool ready;  /* and calls may go: hello was answered well */
    bool inside; /* nghttp2, or a loop over calls */
    bool closed;
};

/* --- The end of a call --------------------------------------------------- */

static void call_forget(struct grpc_call *c)
{
    struct grpc_channel *g = c->channel;

    list_del(&c->link);
    timer_clear(g->o.world->timers, &c->timer);
    if (c->id && g->session)
        (void)nghttp2_session_set_stream_user_data(g->session, c->id, NULL);
    c->channel = NULL;
}

static void call_free(struct grpc_call *c)
{
    buf_fini(&c->in);
    buf_fini(&c->text);
}

static void call_end(struct grpc_call *c, struct grpc_result *r)
{
    struct buf in = c->in, text = c->text;

    if (c->channel)
        call_forget(c);
    c->in = c->text = (struct buf){0};
    r->status = c->status;
    c->done(c, r); /* c may be gone */
    buf_fini(&in);
    buf_fini(&text);
}

static void call_fail(struct grpc_call *c, enum err why, bool unsent,
                      const char *text)
{
    struct errtext copy;

    errtext_set(&copy, "%s", text);
    struct grpc_result r = {
        .err = why, .unsent = unsent, .text = bytes_str(copy.s)};
    call_end(c, &r);
}

/* --- The end of a connection --------------------------------------------- */

static void connection_drop(struct grpc_channel *g)
{
    if (g->stream)
        stream_close(g->stream);
    g->stream = NULL;
    nghttp2_session_del(g->session);
    g->session = NULL;
    g->open = g->ready = false;
    timer_clear(g->o.world->timers, &g->later);
    buf_reset(&g->out);
}

static void dial(struct grpc_channel *g);

/* Not from inside nghttp2. All that flew or waited has failed; who calls again from
 * within his done is on a new connection. */
static void connection_lost(struct grpc_channel *g, enum err why,
                            const char *text)
{
    struct list lost;
    struct errtext copy;

    errtext_set(&copy, "%s", text);
    list_init(&lost);
    list_move_all(&lost, &g->calls);
    connection_drop(g);
    g->inside = true; /* nobody frees it */
    while (!list_empty(&lost) && !g->closed) {
        struct grpc_call *c = container_of(lost.next, struct grpc_call, link);

        call_fail(c, why, c->id == 0, copy.s);
    }
    while (!list_empty(&lost)) { /* closed meanwhile */
        struct grpc_call *c = container_of(lost.next, struct grpc_call, link);

        call_forget(c);
        call_free(c);
    }
    g->inside = false;
    if (g->closed)
        grpc_close(g);
    else if (!list_empty(&g->calls) && !g->stream)
        dial(g);
}

static void on_later(struct timer *t)
{
    struct grpc_channel *g = container_of(t, struct grpc_channel, later);

    connection_lost(g, ERR_UNAVAILABLE, g->why);
}

/* Soon, when nobody is inside and no caller is surprised: who starts or cancels a
 * call hears of no other within. */
void grpc_hang_up(struct grpc_channel *g, const char *why)
{
    if (!g->stream)
        return;
    g->why = why;
    timer_set(g->o.world->timers, &g->later, 1);
}

static void give_up(struct grpc_channel *g)
{
    grpc_hang_up(g, "the server ends the connection");
}

/* The same, and nothing more is written: some bytes are lost. why: constant. */
static void break_off(struct grpc_channel *g, const char *why)
{
    g->open = g->ready = false;
    grpc_hang_up(g, why);
}

/* --- Out ----------------------------------------------------------------- */

/* All frames in one write. */
static void flush(struct grpc_channel *g)
{
    const uint8_t *p;
    ssize_t n = 0;

    if (g->inside || !g->open)
        return;
    buf_reset(&g->out);
    g->inside = true;
    while ((n = nghttp2_session_mem_send(g->session, &p)) > 0)
        buf_put_n(&g->out, p, (size_t)n);
    g->inside = false;
    if (n < 0)
        break_off(g, nghttp2_strerror((int)n));
    else if (g->out.bad)
        break_off(g, "out of memory");
    else if (g->out.n && stream_write(g->stream, buf_bytes(&g->out)) != ERR_OK)
        break_off(g, "the server takes no more bytes");
}

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *p,
                         size_t n, uint32_t *flags, nghttp2_data_source *source,
                         void *ctx)
{
    struct grpc_call *c = nghttp2_session_get_stream_user_data(session, id);

    (void)source;
    (void)ctx;
    if (!c) /* cancelled */
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    struct bytes left = bytes_head(bytes_skip(c->body, c->sent), n);

    if (left.n)
        memcpy(p, left.p, left.n);
    c->sent += left.n;
    if (c->sent == c->body.n)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)left.n;
}

static nghttp2_nv header(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value,
                        strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE};
}

/* False: this connection takes no more. */
static bool submit(struct grpc_channel *g, struct grpc_call *c)
{
    const nghttp2_data_provider body = {.read_callback = read_body};
    const char *token = g->o.token ? *g->o.token : NULL;
    nghttp2_nv v[GRPC_HEADERS_MAX];
    size_t n = 0;

    if (!nghttp2_session_check_request_allowed(g->session))
        return false;
    v[n++] = header(":method", "POST");
    v[n++] = header(":scheme", g->o.tls ? "https" : "http");
    v[n++] = header(":path", c->path);
    v[n++] = header(":authority", g->target);
    v[n++] = header("content-type", "application/grpc");
    v[n++] = header("te", "trailers");
    v[n++] = header("user-agent", "muster/" MUSTER_VERSION);
    /* A member without a leader says so at once instead of waiting for one; who
     * it is it can tell all the same. */
    if (c != &g->hello)
        v[n++] = header("hasleader", "true");
    if (token && *token)
        v[n++] = header("token", token);
    c->id = nghttp2_submit_request(g->session, NULL, v, n, &body, c);
    if (c->id > 0)
        return true;
    c->id = 0;
    return false;
}

/* --- In ------------------------------------------------------------------ */

static int on_header(nghttp2_session *session, const nghttp2_frame *frame,
                     const uint8_t *name, size_t name_n, const uint8_t *value,
                     size_t value_n, uint8_t flags, void *ctx)
{
    struct grpc_call *c =
        nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    struct bytes key = bytes_of(name, name_n), text = bytes_of(value, value_n);
    uint64_t status;

    (void)flags;
    (void)ctx;
    if (!c)
        return 0;
    if (bytes_is(key, "grpc-status")) {
        if (bytes_u64(text, &status) == ERR_OK && status < 1000)
            c->status = (int)status;
    } else if (bytes_is(key, "grpc-message")) {
        buf_reset(&c->text);
        buf_put(&c->text, bytes_head(text, GRPC_TEXT_MAX));
    } else if (bytes_is(key, ":status") && !bytes_is(text, "200")) {
        buf_reset(&c->text);
        buf_printf(&c->text, "answered HTTP status %.*s: is this etcd?",
                   BYTES_ARG(bytes_head(text, 16)));
    }
    return 0;
}

/* Whole messages of a stream are handed on; the rest stays. */
static void take_messages(struct grpc_call *c)
{
    struct bytes all = buf_bytes(&c->in), message;
    bool bad = false;
    size_t at = 0;

    while (!c->stop && wire_frame(bytes_skip(all, at), &message, &bad)) {
        at += WIRE_FRAME_BYTES + message.n;
        c->message(c, message);
    }
    c->stop |= bad;
    c->in.n -= at;
    if (at && c->in.n)
        memmove(c->in.p, c->in.p + at, c->in.n);
}

static void cut(struct grpc_channel *g, const struct grpc_call *c)
{
    if (c->id && g->session)
        (void)nghttp2_submit_rst_stream(g->session, NGHTTP2_FLAG_NONE, c->id,
                                        NGHTTP2_CANCEL);
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id,
                   const uint8_t *p, size_t n, void *ctx)
{
    struct grpc_channel *g = ctx;
    struct grpc_call *c = nghttp2_session_get_stream_user_data(session, id);

    (void)flags;
    if (!c || g->closed)
        return 0;
    buf_put_n(&c->in, p, n);
    if (c->in.bad) {
        cut(g, c);
        call_fail(c, ERR_LIMIT, false, "the answer is too long");
        return 0;
    }
    if (c->message)
        take_messages(c);
    if (c->stop) {
        cut(g, c);
        call_fail(c, ERR_CLOSED, false, "no more was wanted");
    }
    return 0;
}

static void judge(struct grpc_call *c, uint32_t error_code,
                  struct grpc_result *r)
{
    bool bad;

    wire_text_decode(&c->text);
    r->text = buf_bytes(&c->text);
    if (c->status == 0 && c->message)
        r->err = ERR_CLOSED; /* a stream's end */
    else if (c->status == 0)
        r->err = wire_frame(buf_bytes(&c->in), &r->message, &bad) ? ERR_OK
                                                                  : ERR_CORRUPT;
    else if (c->status > 0)
        r->err = ERR_BAD;
    else
        r->err = ERR_UNAVAILABLE;
    if (r->err == ERR_CORRUPT)
        r->text = bytes_str("the answer is cut short");
    else if (r->text.n == 0)
        r->text = bytes_str(c->status < 0 ? nghttp2_http2_strerror(error_code)
                                          : "no word");
    /* RFC 9113 8.7: it was not processed. */
    r->unsent = error_code == NGHTTP2_REFUSED_STREAM;
}

static int on_stream_end(nghttp2_session *session, int32_t id,
                         uint32_t error_code, void *ctx)
{
    struct grpc_channel *g = ctx;
    struct grpc_call *c = nghttp2_session_get_stream_user_data(session, id);
    struct grpc_result r = {0};

    if (!c || g->closed)
        return 0;
    judge(c, error_code, &r);
    call_end(c, &r);
    return 0;
}

static void on_bytes(void *ctx, struct bytes b)
{
    struct grpc_channel *g = ctx;

    g->heard += b.n;
    g->inside = true;
    ssize_t n = nghttp2_session_mem_recv(g->session, (const uint8_t *)b.p, b.n);
    g->inside = false;
    if (g->closed)
        grpc_close(g);
    else if (n < 0)
        connection_lost(g, ERR_UNAVAILABLE, nghttp2_strerror((int)n));
    else if (!nghttp2_session_want_read(g->session) &&
             !nghttp2_session_want_write(g->session))
        connection_lost(g, ERR_UNAVAILABLE, "the server ended the connection");
    else
        flush(g);
}

/* --- The connection ------------------------------------------------------ */

static bool session_new(struct grpc_channel *g)
{
    nghttp2_session_callbacks *c;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, 16 * 1024},
    };

    if (nghttp2_session_callbacks_new(&c) != 0)
        return false;
    nghttp2_session_callbacks_set_on_header_callback(c, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, on_stream_end);
    int e = nghttp2_session_client_new(&g->session, c, g);

    nghttp2_session_callbacks_del(c);
    return e == 0 &&
           nghttp2_submit_settings(g->session, NGHTTP2_FLAG_NONE, settings,
                                   sizeof settings / sizeof *settings) == 0 &&
           nghttp2_session_set_local_window_size(g->session, NGHTTP2_FLAG_NONE,
                                                 0, SESSION_WINDOW_BYTES) == 0;
}

static void submit_waiting(struct grpc_channel *g)
{
    list_each (it, &g->calls) {
        struct grpc_call *c = container_of(it, struct grpc_call, link);

        if (c->id == 0 && !submit(g, c)) {
            give_up(g);
            break;
        }
    }
    flush(g);
}

static void call_begin(struct grpc_channel *g, struct grpc_call *c);

static void hello_message(struct grpc_call *c, struct bytes message)
{
    struct grpc_channel *g = container_of(c, struct grpc_channel, hello);

    g->ready = g->o.welcome(g->o.ctx, message, &g->unwelcome);
    grpc_stop(c);
}

/* From inside nghttp2, a time-out or the end of the connection. */
static void hello_done(struct grpc_call *c, const struct grpc_result *r)
{
    struct grpc_channel *g = container_of(c, struct grpc_channel, hello);

    if (!g->open)
        return;
    if (g->ready) {
        submit_waiting(g);
        return;
    }
    if (!g->unwelcome.s[0])
        errtext_set(&g->unwelcome, "%.*s", BYTES_ARG(r->text));
    grpc_hang_up(g, g->unwelcome.s);
}

static void on_open(void *ctx)
{
    struct grpc_channel *g = ctx;

    g->open = true;
    require(session_new(g)); /* out of memory, or wrong options of ours */
    if (!g->o.hello.n) {
        g->ready = true;
        submit_waiting(g);
        return;
    }
    g->unwelcome = (struct errtext){{0}};
    g->hello = (struct grpc_call){.path = g->o.hello_path,
                                  .body = g->o.hello,
                                  .timeout_ms = g->o.connect_ms,
                                  .answer_max = HELLO_MAX_BYTES,
                                  .message = hello_message,
                                  .done = hello_done};
    call_begin(g, &g->hello);
    if (!submit(g, &g->hello))
        give_up(g);
    flush(g);
}

static void on_over(void *ctx, enum err why, const char *text)
{
    struct grpc_channel *g = ctx;

    g->stream = NULL;
    connection_lost(g, why == ERR_TIMEOUT ? ERR_TIMEOUT : ERR_UNAVAILABLE,
                    text);
}

static void dial(struct grpc_channel *g)
{
    static const struct stream_events events = {on_open, on_bytes, on_over};
    const struct stream_options o = {
        .target = bytes_str(g->target),
        .unix_path = g->o.unix_path,
        .timeout_ms = g->o.connect_ms,
        .opening_only = true,
        .out_max_bytes = OUT_MAX_BYTES,
        .tls = g->o.tls,
        .tls_name = g->o.tls_name,
        .alpn = g->o.tls ? "h2" : NULL,
    };
    enum err e = stream_open(g->o.world, &o, &events, g, &g->stream);

    require(e == ERR_OK); /* the target was looked at before */
}

struct grpc_channel *grpc_new(const struct grpc_options *o)
{
    struct grpc_channel *g = xzalloc(sizeof *g);

    g->o = *o;
    g->target = xstrdup(o->target);
    g->later.fire = on_later;
    list_init(&g->calls);
    return g;
}

void grpc_close(struct grpc_channel *g)
{
    if (!g)
        return;
    g->closed = true;
    while (!list_empty(&g->calls)) {
        struct grpc_call *c =
            container_of(g->calls.next, struct grpc_call, link);

        call_forget(c);
        call_free(c);
    }
    if (g->inside) /* whoever is inside comes back here */
        return;
    connection_drop(g);
    buf_fini(&g->out);
    free(g->target);
    free(g);
}

/* --- Calls --------------------------------------------------------------- */

static void on_time(struct timer *t)
{
    struct grpc_call *c = container_of(t, struct grpc_call, timer);
    struct grpc_channel *g = c->channel;
    bool silent = g->heard == c->heard, sent = c->id != 0;

    cut(g, c);
    /* Calls of done are on the connection that is given up next, or a new one. */
    if (silent && sent) {
        connection_lost(g, ERR_TIMEOUT, "no answer in time");
        return;
    }
    g->inside = true; /* done may close it */
    call_fail(c, ERR_TIMEOUT, !sent, "no answer in time");
    g->inside = false;
    if (g->closed)
        grpc_close(g);
    else
        flush(g);
}

static void call_begin(struct grpc_channel *g, struct grpc_call *c)
{
    c->channel = g;
    c->id = 0;
    c->sent = 0;
    c->heard = g->heard;
    c->status = -1;
    c->stop = false;
    c->in = (struct buf){.max = c->answer_max + WIRE_FRAME_BYTES};
    c->text = (struct buf){0};
    c->timer.fire = on_time;
    list_init(&c->link);
    list_add(&g->calls, &c->link);
    if (c->timeout_ms)
        timer_set(g->o.world->timers, &c->timer, c->timeout_ms);
}

void grpc_start(struct grpc_channel *g, struct grpc_call *c)
{
    call_begin(g, c);
    if (g->ready && submit(g, c))
        flush(g);
    else if (g->ready)
        give_up(g);
    else if (!g->stream && !g->inside)
        dial(g);
}

bool grpc_ready(const struct grpc_channel *g)
{
    return g->ready;
}

void grpc_cancel(struct grpc_call *c)
{
    struct grpc_channel *g = c->channel;

    if (!g)
        return;
    cut(g, c);
    call_forget(c);
    call_free(c);
    flush(g);
}

void grpc_stop(struct grpc_call *c)
{
    c->stop = true;
}
