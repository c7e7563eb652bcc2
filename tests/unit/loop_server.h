/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* loop_server - a server and its clients in one thread, for the tests of conn.
 *
 * The server answers by path: /fixed/N sends N bytes, /echo what came, /close
 * nothing, /doze as others and its next request may wait; /park and /hold keep the connection in `held` (park gives the
 * request back) until the test answers it. Clients never block: while they
 * wait, the server's loop runs. */
#ifndef TESTS_UNIT_LOOP_SERVER_H
#define TESTS_UNIT_LOOP_SERVER_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test.h"

#include "base/buf.h"
#include "base/metric.h"
#include "http/response.h"
#include "loop/conn.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"

enum { HELD_MAX = 2048 };

struct mark {
    int served; /* requests on this connection; conn_user memory */
};

struct server {
    uv_loop_t loop;
    struct timers timers;
    struct conn_limits limits;
    struct http_server *http;
    struct conn *held[HELD_MAX];
    int held_count;
    int requests, gone;
    bool closed;
    int fd, port;
    char last_peer[64];
    struct buf last_body;
};

static inline struct shared *head_of(struct conn *c, int status, size_t n)
{
    struct buf b = {0};

    http_head_begin(&b, status);
    http_head_end(&b, n, conn_keep_alive(c), conn_http_1_0(c));
    assert_false(b.bad);
    struct shared *s = shared_copy(buf_bytes(&b));
    buf_fini(&b);
    return s;
}

static inline void answer_text(struct conn *c, int status, struct bytes body)
{
    conn_answer(c, head_of(c, status, body.n),
                body.n ? shared_copy(body) : NULL);
}

/* Byte i of every /fixed answer. */
static inline char fixed_byte(size_t i)
{
    return (char)('a' + i % 23);
}

static inline void answer_fixed(struct conn *c, size_t n)
{
    struct shared *body = shared_new(n);

    assert_non_null(body);
    for (size_t i = 0; i < n; i++)
        body->data[i] = fixed_byte(i);
    conn_answer(c, head_of(c, 200, n), body);
}

static inline void on_request(void *ctx, struct conn *c, struct http_request *r)
{
    struct server *s = ctx;
    struct mark *m = conn_user(c);

    s->requests++;
    m->served++;
    (void)snprintf(s->last_peer, sizeof s->last_peer, "%s", conn_peer(c));
    buf_reset(&s->last_body);
    buf_put(&s->last_body, r->body);
    if (bytes_starts(r->path, bytes_str("/fixed/"))) {
        uint64_t n = 0;
        assert_ok(bytes_u64(bytes_skip(r->path, 7), &n));
        answer_fixed(c, (size_t)n);
    } else if (bytes_is(r->path, "/park") || bytes_is(r->path, "/hold")) {
        assert_true(s->held_count < HELD_MAX);
        s->held[s->held_count++] = c;
        if (bytes_is(r->path, "/park"))
            conn_forget_request(c);
    } else {
        char text[128];
        if (bytes_is(r->path, "/doze"))
            conn_doze(c);
        int n = snprintf(text, sizeof text, "%.*s %.*s %zu #%d",
                         BYTES_ARG(r->method_name), BYTES_ARG(r->path),
                         r->body.n, m->served);
        answer_text(c, 200, bytes_of(text, (size_t)n));
    }
}

static inline void on_gone(void *ctx, struct conn *c)
{
    struct server *s = ctx;

    s->gone++;
    for (int i = 0; i < s->held_count; i++)
        if (s->held[i] == c) {
            s->held[i] = s->held[--s->held_count];
            return;
        }
    fail_msg("gone for a connection without a request");
}

/* Takes a held connection, the oldest first while none has been taken. */
static inline struct conn *take_held(struct server *s)
{
    assert_true(s->held_count > 0);
    struct conn *c = s->held[0];
    s->held[0] = s->held[--s->held_count];
    return c;
}

static inline void server_serve(struct server *s)
{
    struct http_server_events events = {
        .request = on_request,
        .gone = on_gone,
        .ctx = s,
        .user_bytes = sizeof(struct mark),
    };
    struct errtext t = {0};
    struct sockaddr_in a;
    socklen_t n = sizeof a;

    (void)signal(SIGPIPE, SIG_IGN);
    assert_int_equal(uv_loop_init(&s->loop), 0);
    assert_ok(timers_init(&s->timers, &s->loop));
    assert_ok(
        http_server_new(&s->loop, &s->timers, &s->limits, &events, &s->http));
    assert_ok(listen_tcp("127.0.0.1", 0, 1, &s->fd, &t));
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&a, &n), 0);
    s->port = ntohs(a.sin_port);
    assert_ok(http_server_listen(s->http, s->fd));
}

/* Static: the sketch in struct conn_limits is large. */
static inline struct server *server_start(void)
{
    static struct server s;

    memset(&s, 0, sizeof s);
    server_serve(&s);
    return &s;
}

/* With limits set by the caller between the two. */
static inline struct server *server_prepared(const struct conn_limits *l)
{
    struct server *s = server_start();

    s->limits.http = l->http;
    s->limits.max_conns = l->max_conns;
    s->limits.max_conns_per_peer = l->max_conns_per_peer;
    s->limits.head_ms = l->head_ms;
    s->limits.idle_ms = l->idle_ms;
    s->limits.stall_ms = l->stall_ms;
    return s;
}

static inline void server_closed(void *ctx)
{
    struct server *s = ctx;
    s->closed = true;
}

/* Ends everything and checks that nothing is left. */
static inline void server_stop(struct server *s)
{
    if (!s->closed) {
        http_server_close(s->http, 0, server_closed);
        while (!s->closed)
            (void)uv_run(&s->loop, UV_RUN_ONCE);
    }
    http_server_free(s->http);
    timers_close(&s->timers);
    assert_int_equal(uv_run(&s->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&s->loop), 0);
    assert_int_equal(atomic_load(&s->limits.conns), 0);
    for (size_t i = 0; i < CONN_PEER_SLOTS; i++) {
        assert_int_equal(atomic_load(&s->limits.per_peer[0][i]), 0);
        assert_int_equal(atomic_load(&s->limits.per_peer[1][i]), 0);
    }
    assert_int_equal(metric_get(METRIC_HTTP_CONNECTIONS), 0);
    buf_fini(&s->last_body);
}

/* Waits until there is something to do for the server or, fd >= 0, its client.
 */
static inline void await(struct server *s, int fd, short events)
{
    struct pollfd p[2] = {{uv_backend_fd(&s->loop), POLLIN, 0},
                          {fd, events, 0}};
    (void)poll(p, 2, uv_backend_timeout(&s->loop));
}

static inline void turn(struct server *s, int fd, short events)
{
    (void)uv_run(&s->loop, UV_RUN_NOWAIT);
    await(s, fd, events);
}

/* Runs the server until the condition holds. */
#define run_until(s, condition)                                                \
    do {                                                                       \
        (void)uv_run(&(s)->loop, UV_RUN_NOWAIT);                               \
        if (condition)                                                         \
            break;                                                             \
        await((s), -1, 0);                                                     \
    } while (true)

/* --- Clients -------------------------------------------------------------- */

static inline int client_open(struct server *s)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)s->port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static inline void client_send_n(struct server *s, int fd, const char *p,
                                 size_t n)
{
    while (n > 0) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k < 0) {
            assert_int_equal(errno, EAGAIN);
            turn(s, fd, POLLOUT);
            continue;
        }
        p += k;
        n -= (size_t)k;
    }
}

static inline void client_send(struct server *s, int fd, const char *text)
{
    client_send_n(s, fd, text, strlen(text));
}

/* Reads what comes next; 0 at the end, -1 if the connection was reset. */
static inline ssize_t client_recv(struct server *s, int fd, char *p, size_t n)
{
    for (;;) {
        ssize_t k = recv(fd, p, n, 0);
        if (k >= 0)
            return k;
        if (errno != EAGAIN)
            return -1;
        turn(s, fd, POLLIN);
    }
}

/* One whole answer with a Content-Length: its body is left in b->p + *ret_at.
 */
static inline int client_answer(struct server *s, int fd, struct buf *b,
                                struct bytes *ret_body)
{
    size_t head = 0, length = 0;
    int status = 0;

    while (head == 0 || b->n < head + length) {
        char *p = buf_room(b, head ? head + length - b->n : 1);
        assert_non_null(p);
        ssize_t k = client_recv(s, fd, p, head ? head + length - b->n : 1);
        if (k <= 0)
            return 0;
        b->n += (size_t)k;
        if (head == 0 && bytes_ends(buf_bytes(b), bytes_str("\r\n\r\n"))) {
            head = b->n;
            char text[2048];
            (void)snprintf(text, sizeof text, "%.*s", (int)b->n, b->p);
            assert_int_equal(sscanf(text, "HTTP/1.1 %d", &status), 1);
            const char *l = strstr(text, "Content-Length: ");
            length = l ? strtoul(l + 16, NULL, 10) : 0;
        }
    }
    *ret_body = bytes_of(b->p + head, length);
    return status;
}

/* Sends and expects that answer. */
static inline void client_ask(struct server *s, int fd, const char *request,
                              int status, const char *body)
{
    struct buf b = {0};
    struct bytes got = {0};

    client_send(s, fd, request);
    assert_int_equal(client_answer(s, fd, &b, &got), status);
    assert_bytes(got, body);
    buf_fini(&b);
}

/* All that comes until the peer closes; false if it was reset. */
static inline bool client_rest(struct server *s, int fd, struct buf *b)
{
    for (;;) {
        char *p = buf_room(b, 4096);
        assert_non_null(p);
        ssize_t k = client_recv(s, fd, p, 4096);
        if (k <= 0)
            return k == 0;
        b->n += (size_t)k;
    }
}

/* The peer closes in order, without another byte. */
static inline void client_end(struct server *s, int fd)
{
    char p[64];
    assert_int_equal(client_recv(s, fd, p, sizeof p), 0);
}

/* The answer in b to its end; status and that the text holds `words`. */
static inline void expect_refusal(const struct buf *b, int status,
                                  const char *words)
{
    char want[32];

    (void)snprintf(want, sizeof want, "HTTP/1.1 %d ", status);
    if (!bytes_starts(buf_bytes(b), bytes_str(want)))
        fail_msg("want %s, got \"%.*s\"", want, (int)b->n, b->p);
    assert_non_null(memmem(b->p, b->n, "Connection: close\r\n", 19));
    assert_non_null(memmem(b->p, b->n, "text/plain", 10));
    if (!memmem(b->p, b->n, words, strlen(words)))
        fail_msg("want \"%s\" in \"%.*s\"", words, (int)b->n, b->p);
}

#endif
