/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* loop_peer - peers that say what a test wants, and how the tests of fetch ask
 * them, or the server of loop_server.h, within one loop. */
#ifndef TESTS_UNIT_LOOP_PEER_H
#define TESTS_UNIT_LOOP_PEER_H

#include "loop_server.h"

#include "loop/fetch.h"

/* --- A peer that says what the test wants --------------------------------- */

enum peer_end { PEER_CLOSES, PEER_RESETS, PEER_WAITS };

/* Answers each connection with `says`, `times` times over, once a whole head
 * has come. */
struct peer {
    uv_tcp_t listener;
    int port;
    const char *says;
    size_t times;
    enum peer_end end;
    int served;
};

struct peer_conn {
    uv_tcp_t tcp;
    uv_write_t write;
    struct peer *peer;
    char head[4096];
    size_t n, said;
    bool closing;
};

static inline void peer_conn_closed(uv_handle_t *h)
{
    free(h->data);
}

static inline void peer_conn_end(struct peer_conn *c)
{
    if (c->closing)
        return;
    c->closing = true;
    if (c->peer->end != PEER_RESETS ||
        uv_tcp_close_reset(&c->tcp, peer_conn_closed) != 0)
        uv_close((uv_handle_t *)&c->tcp, peer_conn_closed);
}

static inline void peer_say(struct peer_conn *c);

static inline void peer_said(uv_write_t *w, int status)
{
    struct peer_conn *c = w->data;

    if (status < 0)
        peer_conn_end(c);
    else
        peer_say(c);
}

static inline void peer_say(struct peer_conn *c)
{
    struct peer *p = c->peer;
    uv_buf_t b = {(char *)p->says, strlen(p->says)};

    if (c->said++ < p->times && b.len > 0) {
        c->write.data = c;
        assert_int_equal(
            uv_write(&c->write, (uv_stream_t *)&c->tcp, &b, 1, peer_said), 0);
    } else if (p->end != PEER_WAITS) {
        peer_conn_end(c);
    }
}

static inline void peer_alloc(uv_handle_t *h, size_t n, uv_buf_t *ret)
{
    struct peer_conn *c = h->data;

    (void)n;
    if (c->n == sizeof c->head)
        c->n = 0;
    *ret = uv_buf_init(c->head + c->n, (unsigned)(sizeof c->head - c->n));
}

static inline void peer_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
    struct peer_conn *c = s->data;

    (void)b;
    if (n < 0) {
        peer_conn_end(c);
        return;
    }
    c->n += (size_t)n;
    if (c->said == 0 && memmem(c->head, c->n, "\r\n\r\n", 4)) {
        c->peer->served++;
        peer_say(c);
    }
}

static inline void peer_accept(uv_stream_t *s, int status)
{
    struct peer_conn *c = calloc(1, sizeof *c);

    assert_int_equal(status, 0);
    assert_non_null(c);
    c->peer = s->data;
    assert_int_equal(uv_tcp_init(s->loop, &c->tcp), 0);
    c->tcp.data = c;
    assert_int_equal(uv_accept(s, (uv_stream_t *)&c->tcp), 0);
    assert_int_equal(
        uv_read_start((uv_stream_t *)&c->tcp, peer_alloc, peer_read), 0);
}

static inline void peer_open(uv_loop_t *loop, struct peer *p)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int n = sizeof a;

    assert_int_equal(uv_tcp_init(loop, &p->listener), 0);
    p->listener.data = p;
    assert_int_equal(uv_tcp_bind(&p->listener, (const struct sockaddr *)&a, 0),
                     0);
    assert_int_equal(uv_listen((uv_stream_t *)&p->listener, 8, peer_accept), 0);
    assert_int_equal(
        uv_tcp_getsockname(&p->listener, (struct sockaddr *)&a, &n), 0);
    p->port = ntohs(a.sin_port);
}

/* --- Asking --------------------------------------------------------------- */

struct asked {
    int done;
    enum err err;
    struct errtext text;
    int status;
    char status_line[128];
    char *body;
    size_t n;
    uint64_t total, index;
    bool unsent;
};

static inline void on_done(void *ctx, const struct fetch_result *r)
{
    struct asked *a = ctx;

    a->done++;
    a->err = r->err;
    a->text = r->text;
    a->status = r->status;
    a->total = r->body_total_bytes;
    a->index = r->consul_index;
    a->unsent = r->unsent;
    (void)snprintf(a->status_line, sizeof a->status_line, "%.*s",
                   BYTES_ARG(r->status_line));
    free(a->body);
    a->n = r->body.n;
    a->body = malloc(a->n + 1);
    assert_non_null(a->body);
    if (a->n)
        memcpy(a->body, r->body.p, a->n);
    a->body[a->n] = '\0';
}

static inline void url(char *ret, size_t n, int port, const char *path)
{
    (void)snprintf(ret, n, "http://127.0.0.1:%d%s", port, path);
}

/* Asks with the server's loop until it is answered. */
static inline void ask(struct server *s, struct fetcher *f,
                       const struct fetch_options *o, struct asked *a)
{
    a->done = 0;
    assert_ok(fetch_start(f, o, on_done, a, NULL));
    assert_int_equal(a->done, 0);
    run_until(s, a->done);
    assert_int_equal(a->done, 1);
}

struct asking {
    struct server *s;
    struct fetcher *f;
    struct asked a;
    char url[128];
    struct fetch_options o;
};

static inline struct asking asking_begin(const char *path)
{
    struct asking q = {.s = server_start()};

    assert_ok(fetcher_new(&q.s->loop, &q.f));
    url(q.url, sizeof q.url, q.s->port, path);
    q.o = (struct fetch_options){.timeout_ms = 60 * 1000,
                                 .body_keep_bytes = 4096};
    return q;
}

static inline void asking_end(struct asking *q)
{
    fetcher_close(q->f);
    free(q->a.body);
    server_stop(q->s);
}

static inline void go(struct asking *q)
{
    if (!q->o.url)
        q->o.url = q->url;
    ask(q->s, q->f, &q->o, &q->a);
}

/* --- Peers that misbehave ------------------------------------------------- */

static inline void ask_peer(struct asking *q, const char *says, size_t times,
                            enum peer_end end, enum err err, const char *text)
{
    struct peer p = {.says = says, .times = times, .end = end};

    peer_open(&q->s->loop, &p);
    url(q->url, sizeof q->url, p.port, "/x");
    go(q);
    if (q->a.err != err || strcmp(q->a.text.s, text) != 0)
        fail_msg("%s: got %s \"%s\", want %s \"%s\"", says, err_text(q->a.err),
                 q->a.text.s, err_text(err), text);
    uv_close((uv_handle_t *)&p.listener, NULL);
    (void)uv_run(&q->s->loop, UV_RUN_NOWAIT);
}

#endif
