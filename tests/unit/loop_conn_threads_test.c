/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Two servers on one port, each in its thread, and what they share. */
#include "loop/conn.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test.h"

#include "base/metric.h"

enum { SERVERS = 2, CLIENTS = 2, ROUNDS = 300, MOST = 40 };

static struct conn_limits limits;
static _Atomic int served;

struct worker {
    uv_thread_t thread;
    uv_loop_t loop;
    uv_async_t stop;
    struct timers timers;
    struct http_server *http;
};

static void on_request(void *ctx, struct conn *c, struct http_request *r)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";

    (void)ctx;
    (void)r;
    atomic_fetch_add(&served, 1);
    conn_answer(c, shared_copy(bytes_str(head)), shared_copy(bytes_str("ok")));
}

static void on_gone(void *ctx, struct conn *c)
{
    (void)ctx;
    (void)c;
}

static void on_closed(void *ctx)
{
    struct worker *w = ctx;

    timers_close(&w->timers);
    uv_close((uv_handle_t *)&w->stop, NULL);
}

static void on_stop(uv_async_t *async)
{
    struct worker *w = async->data;

    http_server_close(w->http, 1000, on_closed);
}

static void serve(void *arg)
{
    struct worker *w = arg;

    (void)uv_run(&w->loop, UV_RUN_DEFAULT);
}

static void worker_start(struct worker *w, int fd)
{
    struct http_server_events events = {
        .request = on_request, .gone = on_gone, .ctx = w};

    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(uv_async_init(&w->loop, &w->stop, on_stop), 0);
    w->stop.data = w;
    assert_ok(timers_init(&w->timers, &w->loop));
    assert_ok(
        http_server_new(&w->loop, &w->timers, &limits, &events, &w->http));
    assert_ok(http_server_listen(w->http, fd));
    assert_int_equal(uv_thread_create(&w->thread, serve, w), 0);
}

static int port;

/* True if it was served; false if it was refused, however the peer saw it. */
static bool ask(int fd)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    char got[64];
    size_t n = 0;

    if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) < 0)
        return false;
    while (n < 12) {
        ssize_t k = recv(fd, got + n, sizeof got - n, 0);
        if (k <= 0)
            return false;
        n += (size_t)k;
    }
    return memcmp(got, "HTTP/1.1 200", 12) == 0;
}

static void client(void *arg)
{
    int *ok = arg;
    int fds[8] = {-1, -1, -1, -1, -1, -1, -1, -1};
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    for (int i = 0; i < ROUNDS; i++) {
        int *fd = &fds[i % 8];
        if (*fd >= 0)
            (void)close(*fd);
        *fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(*fd, (struct sockaddr *)&a, sizeof a) == 0)
            *ok += ask(*fd);
    }
    for (int i = 0; i < 8; i++)
        (void)close(fds[i]);
}

static void threads_share_port_and_limits(void **state)
{
    static struct worker workers[SERVERS];
    struct errtext t = {0};
    struct sockaddr_in a;
    socklen_t n = sizeof a;
    int fds[SERVERS], ok[CLIENTS] = {0};
    uv_thread_t clients[CLIENTS];

    (void)state;
    (void)signal(SIGPIPE, SIG_IGN);
    limits.max_conns_per_peer = MOST;
    assert_ok(listen_tcp("127.0.0.1", 0, SERVERS, fds, &t));
    assert_int_equal(getsockname(fds[0], (struct sockaddr *)&a, &n), 0);
    port = ntohs(a.sin_port);
    for (int i = 0; i < SERVERS; i++)
        worker_start(&workers[i], fds[i]);
    for (int i = 0; i < CLIENTS; i++)
        assert_int_equal(uv_thread_create(&clients[i], client, &ok[i]), 0);
    for (int i = 0; i < CLIENTS; i++)
        (void)uv_thread_join(&clients[i]);
    for (int i = 0; i < SERVERS; i++)
        (void)uv_async_send(&workers[i].stop);
    for (int i = 0; i < SERVERS; i++) {
        (void)uv_thread_join(&workers[i].thread);
        http_server_free(workers[i].http);
        assert_int_equal(uv_loop_close(&workers[i].loop), 0);
    }
    assert_int_equal(ok[0] + ok[1], atomic_load(&served));
    assert_true(atomic_load(&served) > 0);
    assert_int_equal(atomic_load(&limits.conns), 0);
    assert_int_equal(metric_get(METRIC_HTTP_CONNECTIONS), 0);
    for (size_t i = 0; i < CONN_PEER_SLOTS; i++) {
        assert_int_equal(atomic_load(&limits.per_peer[0][i]), 0);
        assert_int_equal(atomic_load(&limits.per_peer[1][i]), 0);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(threads_share_port_and_limits),
};

RUN_TESTS(tests)
