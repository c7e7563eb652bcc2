/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What a connection refuses, and whom it waits for no longer. */
#include "loop/conn.h"

#include <sys/resource.h>
#include <sys/un.h>

#include "loop_server.h"

/* --- Refusals ------------------------------------------------------------- */

static void refuses(struct server *s, const char *request, int status,
                    const char *words)
{
    struct buf b = {0};
    int fd = client_open(s);

    client_send(s, fd, request);
    assert_true(client_rest(s, fd, &b));
    expect_refusal(&b, status, words);
    buf_fini(&b);
    (void)close(fd);
}

static void a_refusal_names_the_limit_and_ends_the_connection(void **state)
{
    const struct conn_limits l = {
        .http = {.header_bytes = 256, .header_lines = 3, .body_bytes = 10}};
    int64_t malformed = metric_get(METRIC_HTTP_MALFORMED);
    int64_t header = metric_get(METRIC_HTTP_REFUSED_HEADER);
    int64_t body = metric_get(METRIC_HTTP_REFUSED_BODY);
    (void)state;
    struct server *s = server_prepared(&l);

    refuses(s, "NONSENSE\r\n\r\n", 400, "400");
    refuses(s, "GET / HTTP/2.0\r\n\r\n", 505, "");
    refuses(s, "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n",
            501, "");
    assert_int_equal(metric_get(METRIC_HTTP_MALFORMED), malformed + 3);
    refuses(s, "GET / HTTP/1.1\r\nHost: h\r\na: 1\r\nb: 2\r\nc: 3\r\n\r\n", 431,
            "3");
    assert_int_equal(metric_get(METRIC_HTTP_REFUSED_HEADER), header + 1);
    refuses(s, "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n", 413,
            "10 bytes");
    assert_int_equal(metric_get(METRIC_HTTP_REFUSED_BODY), body + 1);
    assert_int_equal(s->requests, 0);
    server_stop(s);
}

/* It would be lost in a reset if the rest were left unread. */
static void a_refusal_reaches_a_peer_that_goes_on_sending(void **state)
{
    enum { BODY = 5 * 1000 * 1000, PIECE = 50 * 1000 };
    static char zeros[PIECE];
    (void)state;
    struct server *s = server_start();
    struct buf b = {0};
    int fd = client_open(s);

    client_send(s, fd,
                "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5000000\r\n\r\n");
    for (int i = 0; i < BODY / PIECE; i++)
        client_send_n(s, fd, zeros, PIECE);
    assert_true(client_rest(s, fd, &b));
    expect_refusal(&b, 413, "limit");
    buf_fini(&b);
    (void)close(fd);
    run_until(s, metric_get(METRIC_HTTP_CONNECTIONS) == 0);
    server_stop(s);
}

static void an_endless_sender_is_cut_off(void **state)
{
    static char zeros[65536];
    (void)state;
    struct server *s = server_start();
    ssize_t k = 0;
    int fd = client_open(s);

    client_send(s, fd,
                "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
                "\r\nFFFFFFFF\r\n");
    while (k >= 0 || errno == EAGAIN) {
        turn(s, fd, POLLOUT);
        k = send(fd, zeros, sizeof zeros, MSG_NOSIGNAL);
    }
    assert_true(errno == ECONNRESET || errno == EPIPE);
    (void)close(fd);
    run_until(s, metric_get(METRIC_HTTP_CONNECTIONS) == 0);
    server_stop(s);
}

/* A request that was refused behind good ones does not take their answers. */
static void good_requests_before_a_bad_one_are_answered(void **state)
{
    (void)state;
    struct server *s = server_start();
    struct buf b = {0};
    int fd = client_open(s);

    client_send(s, fd, GET("/a") GET("/park") "NONSENSE\r\n\r\n");
    run_until(s, s->held_count == 1);
    answer_text(take_held(s), 200, bytes_str("parked"));
    client_ask(s, fd, "", 200, "GET /a 0 #1");
    client_ask(s, fd, "", 200, "parked");
    assert_true(client_rest(s, fd, &b));
    expect_refusal(&b, 400, "400");
    buf_fini(&b);
    (void)close(fd);
    server_stop(s);
}

/* --- Time limits ---------------------------------------------------------- */

static void an_idle_connection_is_closed(void **state)
{
    const struct conn_limits l = {.idle_ms = 20};
    int64_t idle = metric_get(METRIC_HTTP_IDLE_CLOSED);
    (void)state;
    struct server *s = server_prepared(&l);
    int silent = client_open(s), fd = client_open(s);

    client_ask(s, fd, GET("/a"), 200, "GET /a 0 #1");
    client_end(s, fd);
    client_end(s, silent);
    assert_int_equal(metric_get(METRIC_HTTP_IDLE_CLOSED), idle + 2);
    (void)close(fd);
    (void)close(silent);
    server_stop(s);
}

/* Its first time limit passes meanwhile, and does not count any more. */
static void a_request_makes_a_connection_young_again(void **state)
{
    const struct conn_limits l = {.idle_ms = 30};
    int64_t idle = metric_get(METRIC_HTTP_IDLE_CLOSED);
    (void)state;
    struct server *s = server_prepared(&l);
    int fd = client_open(s);

    run_until(s, metric_get(METRIC_HTTP_CONNECTIONS) == 1);
    uint64_t opened_ms = uv_now(&s->loop);
    while (uv_now(&s->loop) < opened_ms + 5)
        uv_update_time(&s->loop);
    client_ask(s, fd, GET("/a"), 200, "GET /a 0 #1");
    client_end(s, fd);
    assert_true(uv_now(&s->loop) >= opened_ms + 35);
    assert_int_equal(metric_get(METRIC_HTTP_IDLE_CLOSED), idle + 1);
    (void)close(fd);
    server_stop(s);
}

static void a_peer_that_stays_after_its_refusal_is_cut_off(void **state)
{
    const struct conn_limits l = {.head_ms = 20};
    (void)state;
    struct server *s = server_prepared(&l);
    struct buf b = {0};
    int fd = client_open(s);

    client_send(s, fd, "NONSENSE\r\n\r\n");
    assert_true(client_rest(s, fd, &b));
    expect_refusal(&b, 400, "400");
    run_until(s, metric_get(METRIC_HTTP_CONNECTIONS) == 0);
    buf_fini(&b);
    (void)close(fd);
    server_stop(s);
}

static void a_parked_connection_is_not_idle(void **state)
{
    const struct conn_limits l = {.idle_ms = 10};
    (void)state;
    struct server *s = server_prepared(&l);
    int parked = client_open(s), idle = client_open(s);

    client_send(s, parked, GET("/park"));
    run_until(s, s->held_count == 1);
    client_end(s, idle); /* opened later, so its time was over later */
    answer_text(take_held(s), 200, bytes_str("late"));
    client_ask(s, parked, "", 200, "late");
    client_end(s, parked);
    (void)close(parked);
    (void)close(idle);
    server_stop(s);
}

static void a_slow_head_is_cut_off(void **state)
{
    const struct conn_limits l = {.head_ms = 20};
    int64_t slow = metric_get(METRIC_HTTP_SLOW_SENDERS);
    (void)state;
    struct server *s = server_prepared(&l);
    struct buf b = {0};
    int fd = client_open(s);

    client_ask(s, fd, GET("/a"), 200, "GET /a 0 #1");
    client_send(s, fd, "GET / HT");
    assert_true(client_rest(s, fd, &b));
    expect_refusal(&b, 408, "20 ms");
    assert_int_equal(metric_get(METRIC_HTTP_SLOW_SENDERS), slow + 1);
    buf_fini(&b);
    (void)close(fd);
    server_stop(s);
}

/* Two bytes are worth 2 ms of the time allowed, 1000 nearly a second. */
static void a_slow_body_is_cut_off(void **state)
{
    const struct conn_limits l = {.head_ms = 20};
    int64_t slow = metric_get(METRIC_HTTP_SLOW_SENDERS);
    (void)state;
    struct server *s = server_prepared(&l);
    struct buf b = {0};
    int fd = client_open(s);

    client_send(s, fd,
                "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n");
    client_send(s, fd, "ab");
    assert_true(client_rest(s, fd, &b));
    expect_refusal(&b, 408, "1024 bytes a second");
    assert_int_equal(metric_get(METRIC_HTTP_SLOW_SENDERS), slow + 1);
    buf_fini(&b);
    (void)close(fd);
    server_stop(s);
}

static void a_peer_that_takes_nothing_is_cut_off(void **state)
{
    const struct conn_limits l = {.stall_ms = 20};
    int64_t slow = metric_get(METRIC_HTTP_SLOW_READERS);
    (void)state;
    struct server *s = server_prepared(&l);
    int fd = client_open(s);

    client_send(s, fd, GET("/fixed/50000000"));
    run_until(s, metric_get(METRIC_HTTP_CONNECTIONS) == 1);
    run_until(s, metric_get(METRIC_HTTP_CONNECTIONS) == 0);
    assert_int_equal(metric_get(METRIC_HTTP_SLOW_READERS), slow + 1);
    assert_int_equal(s->gone, 0);
    (void)close(fd);
    server_stop(s);
}

/* Takes several times as long as a peer may take nothing. */
static void a_peer_that_takes_a_little_at_a_time_is_served(void **state)
{
    enum { BYTES = 50 * 1000 * 1000 };
    const struct conn_limits l = {.stall_ms = 5};
    int64_t slow = metric_get(METRIC_HTTP_SLOW_READERS);
    static char some[100 * 1000];
    (void)state;
    struct server *s = server_prepared(&l);
    size_t got = 0;
    int fd = client_open(s);

    client_send(s, fd, GET("/fixed/50000000"));
    while (got < BYTES) {
        ssize_t k = client_recv(s, fd, some, sizeof some);
        assert_true(k > 0);
        got += (size_t)k;
    }
    assert_int_equal(metric_get(METRIC_HTTP_SLOW_READERS), slow);
    (void)close(fd);
    server_stop(s);
}

/* --- Numbers of connections ---------------------------------------------- */

static void too_many_connections_of_one_client_are_refused(void **state)
{
    const struct conn_limits l = {.max_conns_per_peer = 3};
    int64_t refused = metric_get(METRIC_HTTP_REFUSED_PEER);
    (void)state;
    struct server *s = server_prepared(&l);
    int fd[3];

    for (int i = 0; i < 3; i++) {
        fd[i] = client_open(s);
        client_ask(s, fd[i], GET("/a"), 200, "GET /a 0 #1");
    }
    refuses(s, "", 429, "limits.http_max_conns_per_client = 3");
    assert_int_equal(metric_get(METRIC_HTTP_REFUSED_PEER), refused + 1);

    (void)close(fd[0]); /* makes room */
    run_until(s, metric_get(METRIC_HTTP_CONNECTIONS) == 2);
    fd[0] = client_open(s);
    client_ask(s, fd[0], GET("/a"), 200, "GET /a 0 #1");
    for (int i = 0; i < 3; i++)
        (void)close(fd[i]);
    server_stop(s);
}

static void too_many_connections_in_all_are_refused(void **state)
{
    const struct conn_limits l = {.max_conns = 1, .max_conns_per_peer = 1};
    int64_t refused = metric_get(METRIC_HTTP_REFUSED_CONNS);
    (void)state;
    struct server *s = server_prepared(&l);
    int fd = client_open(s);

    client_ask(s, fd, GET("/a"), 200, "GET /a 0 #1");
    refuses(s, "", 503, "limits.http_max_conns = 1");
    assert_int_equal(metric_get(METRIC_HTTP_REFUSED_CONNS), refused + 1);
    client_ask(s, fd, GET("/b"), 200, "GET /b 0 #2");
    (void)close(fd);
    server_stop(s);
}

/* The accept loop neither spins nor leaves the peers waiting. */
static void without_descriptors_connections_are_refused(void **state)
{
    struct rlimit old, low;
    int64_t refused = metric_get(METRIC_HTTP_REFUSED_CONNS);
    (void)state;
    struct server *s = server_start();
    int first = client_open(s), fd[4];

    client_ask(s, first, GET("/a"), 200, "GET /a 0 #1");
    for (int i = 0; i < 4; i++)
        fd[i] = client_open(s); /* in the backlog */
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = old;
    low.rlim_cur = (rlim_t)fd[3] + 2; /* room for one of them */
    int next = dup(0);
    assert_true(next >= 0);
    (void)close(next);
    assert_int_equal((rlim_t)next + 1, low.rlim_cur);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    for (int i = 1; i < 4; i++) {
        struct buf b = {0};
        assert_true(client_rest(s, fd[i], &b));
        expect_refusal(&b, 503, "file descriptors");
        buf_fini(&b);
    }
    assert_int_equal(metric_get(METRIC_HTTP_REFUSED_CONNS), refused + 3);
    client_ask(s, fd[0], GET("/b"), 200, "GET /b 0 #1");
    client_ask(s, first, GET("/b"), 200, "GET /b 0 #2");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    int later = client_open(s);
    client_ask(s, later, GET("/c"), 200, "GET /c 0 #1");
    for (int i = 0; i < 4; i++)
        (void)close(fd[i]);
    (void)close(first);
    (void)close(later);
    server_stop(s);
}

/* Not even the reserve can be had back: accepting stops for a moment. */
static void accepting_begins_again_when_there_are_descriptors(void **state)
{
    struct rlimit old, none;
    (void)state;
    struct server *s = server_start();
    int first = client_open(s);

    client_ask(s, first, GET("/a"), 200, "GET /a 0 #1");
    int fd = client_open(s);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = old;
    none.rlim_cur = 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    for (int i = 2; i < 12; i++) { /* does not spin: others are served */
        char want[32];
        (void)snprintf(want, sizeof want, "GET /b 0 #%d", i);
        client_ask(s, first, GET("/b"), 200, want);
    }
    assert_int_equal(metric_get(METRIC_HTTP_CONNECTIONS), 1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    client_ask(s, fd, GET("/b"), 200, "GET /b 0 #1");
    (void)close(fd);
    (void)close(first);
    server_stop(s);
}

static void an_ipv6_peer_is_named_and_counted(void **state)
{
    const struct conn_limits l = {.max_conns_per_peer = 1};
    struct errtext t = {0};
    struct sockaddr_in6 a = {0};
    socklen_t n = sizeof a;
    int listener;
    (void)state;
    struct server *s = server_prepared(&l);

    if (listen_tcp("::1", 0, 1, &listener, &t) != ERR_OK) {
        server_stop(s);
        skip(); /* no IPv6 here */
    }
    assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &n), 0);
    assert_ok(http_server_listen(s->http, listener));
    int v4 = client_open(s); /* another address: counted on its own */
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    client_ask(s, v4, GET("/a"), 200, "GET /a 0 #1");
    client_ask(s, fd, GET("/a"), 200, "GET /a 0 #1");
    assert_int_equal(strncmp(s->last_peer, "[::1]:", 6), 0);
    (void)close(fd);
    (void)close(v4);
    server_stop(s);
}

static void unix_sockets_are_not_counted_per_client(void **state)
{
    const struct conn_limits l = {.max_conns_per_peer = 1};
    char path[64];
    struct errtext t = {0};
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int listener, fd[3];
    (void)state;
    struct server *s = server_prepared(&l);

    (void)snprintf(path, sizeof path, "/tmp/muster-conn-test-%d.sock",
                   (int)getpid());
    assert_ok(listen_unix(path, 0600, &listener, &t));
    assert_ok(http_server_listen(s->http, listener));
    memcpy(a.sun_path, path, strlen(path) + 1);
    for (int i = 0; i < 3; i++) {
        fd[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(fd[i], (struct sockaddr *)&a, sizeof a), 0);
        assert_int_equal(fcntl(fd[i], F_SETFL, O_NONBLOCK), 0);
        client_ask(s, fd[i], GET("/a"), 200, "GET /a 0 #1");
        assert_string_equal(s->last_peer, "unix");
    }
    for (int i = 0; i < 3; i++)
        (void)close(fd[i]);
    (void)unlink(path);
    server_stop(s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_refusal_names_the_limit_and_ends_the_connection),
    cmocka_unit_test(a_refusal_reaches_a_peer_that_goes_on_sending),
    cmocka_unit_test(an_endless_sender_is_cut_off),
    cmocka_unit_test(good_requests_before_a_bad_one_are_answered),
    cmocka_unit_test(a_peer_that_stays_after_its_refusal_is_cut_off),
    cmocka_unit_test(an_idle_connection_is_closed),
    cmocka_unit_test(a_request_makes_a_connection_young_again),
    cmocka_unit_test(a_parked_connection_is_not_idle),
    cmocka_unit_test(a_slow_head_is_cut_off),
    cmocka_unit_test(a_slow_body_is_cut_off),
    cmocka_unit_test(a_peer_that_takes_nothing_is_cut_off),
    cmocka_unit_test(a_peer_that_takes_a_little_at_a_time_is_served),
    cmocka_unit_test(too_many_connections_of_one_client_are_refused),
    cmocka_unit_test(too_many_connections_in_all_are_refused),
    cmocka_unit_test(without_descriptors_connections_are_refused),
    cmocka_unit_test(an_ipv6_peer_is_named_and_counted),
    cmocka_unit_test(accepting_begins_again_when_there_are_descriptors),
    cmocka_unit_test(unix_sockets_are_not_counted_per_client),
};

RUN_TESTS(tests)
