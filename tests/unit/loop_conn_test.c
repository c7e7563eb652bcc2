/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "loop/conn.h"

#include "loop_server.h"

static void a_connection_serves_one_request_after_the_other(void **state)
{
    (void)state;
    struct server *s = server_start();
    int fd = client_open(s);

    client_ask(s, fd, GET("/a"), 200, "GET /a 0 #1");
    client_ask(s, fd,
               "PUT /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
               200, "PUT /b 5 #2");
    assert_bytes(buf_bytes(&s->last_body), "hello");
    assert_int_equal(strncmp(s->last_peer, "127.0.0.1:", 10), 0);
    assert_int_equal(metric_get(METRIC_HTTP_CONNECTIONS), 1);
    (void)close(fd);
    run_until(s, metric_get(METRIC_HTTP_CONNECTIONS) == 0);
    assert_int_equal(s->gone, 0);
    server_stop(s);
}

static void bytes_may_come_one_by_one(void **state)
{
    static const char request[] =
        "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    (void)state;
    struct server *s = server_start();
    int fd = client_open(s);

    client_send(s, fd, "\r\n"); /* a stray line end before it is no harm */
    (void)uv_run(&s->loop, UV_RUN_NOWAIT);
    for (size_t i = 0; i + 2 < sizeof request; i++) {
        client_send_n(s, fd, request + i, 1);
        (void)uv_run(&s->loop, UV_RUN_NOWAIT);
        assert_int_equal(s->requests, 0);
    }
    client_ask(s, fd, "\n", 200, "POST /x 5 #1");
    assert_bytes(buf_bytes(&s->last_body), "abcde");
    (void)close(fd);
    server_stop(s);
}

enum { PIPELINED = 1000 };

/* Also more than the connection is willing to keep while an answer is due. */
static void pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    struct server *s = server_start();
    int fd = client_open(s);
    struct buf all = {0};

    for (int i = 1; i <= PIPELINED; i++)
        buf_printf(&all, "GET /n%d HTTP/1.1\r\nHost: h\r\n\r\n", i);
    assert_false(all.bad);
    client_send_n(s, fd, all.p, all.n);
    for (int i = 1; i <= PIPELINED; i++) {
        char want[64];
        (void)snprintf(want, sizeof want, "GET /n%d 0 #%d", i, i);
        client_ask(s, fd, "", 200, want);
    }
    buf_fini(&all);
    (void)close(fd);
    server_stop(s);
}

/* Each one is answered from outside; the next never comes on the stack of the
 * answer before it. */
static void pipelined_requests_wait_for_parked_ones(void **state)
{
    (void)state;
    struct server *s = server_start();
    int fd = client_open(s);
    struct buf all = {0};

    for (int i = 1; i <= PIPELINED; i++)
        buf_puts(&all, i % 2 ? GET("/park") : GET("/hold"));
    client_send_n(s, fd, all.p, all.n);
    for (int i = 1; i <= PIPELINED; i++) {
        run_until(s, s->held_count == 1);
        assert_int_equal(s->requests, i);
        answer_text(take_held(s), 200, bytes_str("x"));
        assert_int_equal(s->requests, i);
        client_ask(s, fd, "", 200, "x");
    }
    assert_int_equal(s->gone, 0);
    client_ask(s, fd, GET("/on"), 200, "GET /on 0 #1001"); /* reads again */
    buf_fini(&all);
    (void)close(fd);
    server_stop(s);
}

static void a_long_answer_reaches_a_slow_reader_whole(void **state)
{
    enum { BYTES = 20 * 1000 * 1000 };
    (void)state;
    struct server *s = server_start();
    int fd = client_open(s);
    struct buf b = {0};
    struct bytes body = {0};

    client_send(s, fd, GET("/fixed/20000000") GET("/after"));
    assert_int_equal(client_answer(s, fd, &b, &body), 200);
    assert_int_equal(body.n, BYTES);
    for (size_t i = 0; i < body.n; i++)
        if (body.p[i] != fixed_byte(i))
            fail_msg("byte %zu is wrong", i);
    client_ask(s, fd, "", 200, "GET /after 0 #2");
    buf_fini(&b);
    (void)close(fd);
    server_stop(s);
}

static void http_1_0_and_connection_close_end_the_connection(void **state)
{
    (void)state;
    struct server *s = server_start();
    int fd = client_open(s);

    client_ask(s, fd, "GET /a HTTP/1.0\r\n\r\n", 200, "GET /a 0 #1");
    client_end(s, fd);
    (void)close(fd);

    fd = client_open(s);
    client_ask(s, fd, "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
               200, "GET /a 0 #1");
    client_end(s, fd);
    (void)close(fd);

    fd = client_open(s);
    client_ask(s, fd, "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200,
               "GET /a 0 #1");
    client_ask(s, fd, GET("/b"), 200, "GET /b 0 #2");
    (void)close(fd);
    server_stop(s);
}

static void a_body_is_asked_for_with_100_continue(void **state)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    (void)state;
    struct server *s = server_start();
    int fd = client_open(s);
    char got[sizeof go_on - 1];
    size_t n = 0;

    client_send(s, fd,
                "PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n"
                "Expect: 100-continue\r\n\r\n");
    while (n < sizeof got) {
        ssize_t k = client_recv(s, fd, got + n, sizeof got - n);
        assert_true(k > 0);
        n += (size_t)k;
    }
    assert_memory_equal(got, go_on, sizeof got);
    assert_int_equal(s->requests, 0);
    client_ask(s, fd, "abc", 200, "PUT /x 3 #1");
    (void)close(fd);
    server_stop(s);
}

static void a_peer_that_leaves_while_parked_is_gone(void **state)
{
    (void)state;
    struct server *s = server_start();
    int fd = client_open(s);

    client_send(s, fd, GET("/park"));
    run_until(s, s->held_count == 1);
    (void)close(fd);
    run_until(s, s->gone == 1);
    assert_int_equal(s->held_count, 0);

    /* Bytes behind the request do not hide it. */
    fd = client_open(s);
    client_send(s, fd, GET("/park") GET("/a") GET("/a"));
    run_until(s, s->held_count == 1);
    (void)close(fd);
    run_until(s, s->gone == 2);
    server_stop(s);
}

/* More is behind the request than is read ahead of time. */
static void a_peer_that_leaves_unread_bytes_behind_is_gone(void **state)
{
    enum { BEHIND = PIPELINED };
    static struct linger reset = {.l_onoff = 1};
    (void)state;
    struct server *s = server_start();

    for (int i = 0; i < 4; i++) {
        int fd = client_open(s);

        client_send(s, fd, GET("/hold"));
        for (int k = 0; k < BEHIND; k++)
            client_send(s, fd, GET("/a"));
        run_until(s, s->held_count == 1);
        struct conn *c = s->held[0];
        if (i / 2 == 0)
            conn_forget_request(c);
        else
            conn_stream_begin(c, shared_copy(bytes_str("HTTP/1.1 200 OK\r\n"
                                                       "Transfer-Encoding: "
                                                       "chunked\r\n\r\n")));
        if (i % 2)
            (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        (void)close(fd);
        run_until(s, s->gone == i + 1);
    }
    server_stop(s);
}

static void a_half_closed_peer_gets_its_answers(void **state)
{
    (void)state;
    struct server *s = server_start();
    int fd = client_open(s);

    client_send(s, fd, GET("/a") GET("/hold") GET("/b"));
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    run_until(s, s->held_count == 1);
    for (int i = 0; i < 10; i++)
        (void)uv_run(&s->loop, UV_RUN_NOWAIT);
    answer_text(take_held(s), 200, bytes_str("held"));
    client_ask(s, fd, "", 200, "GET /a 0 #1");
    client_ask(s, fd, "", 200, "held");
    client_ask(s, fd, "", 200, "GET /b 0 #3");
    client_end(s, fd);
    (void)close(fd);

    /* What parks later is gone. */
    fd = client_open(s);
    client_send(s, fd, GET("/hold") GET("/park"));
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    run_until(s, s->held_count == 1);
    for (int i = 0; i < 10; i++)
        (void)uv_run(&s->loop, UV_RUN_NOWAIT);
    assert_int_equal(s->gone, 0);
    answer_text(take_held(s), 200, bytes_str("held"));
    run_until(s, s->gone == 1);
    (void)close(fd);
    server_stop(s);
}

static void a_peer_may_vanish_at_any_byte_of_its_answer(void **state)
{
    (void)state;
    struct server *s = server_start();

    for (int i = 0; i < 200; i++) {
        int fd = client_open(s);
        char some[4096];
        struct linger reset = {.l_onoff = 1};

        client_send(s, fd, GET("/fixed/5000000") GET("/fixed/100"));
        run_until(s, s->requests > i);
        if (i % 2)
            (void)client_recv(s, fd, some, sizeof some);
        if (i % 3)
            (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        (void)close(fd);
        s->requests = i + 1;
    }
    run_until(s, metric_get(METRIC_HTTP_CONNECTIONS) == 0);
    assert_int_equal(s->gone, 0);
    server_stop(s);
}

static void thousands_of_connections_come_and_go(void **state)
{
    enum { ROUNDS = 20, CONNS = 250 };
    (void)state;
    struct server *s = server_start();
    int fd[CONNS];

    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < CONNS; i++)
            fd[i] = client_open(s);
        for (int i = 0; i < CONNS; i++)
            if (i % 5)
                client_send(s, fd[i], i % 2 ? GET("/park") : GET("/a"));
        for (int i = 0; i < CONNS; i++)
            if (i % 5 && i % 2 == 0)
                client_ask(s, fd[i], "", 200, "GET /a 0 #1");
        run_until(s, s->held_count == CONNS / 10 * 4);
        for (int i = 0; i < CONNS; i++)
            (void)close(fd[i]);
        run_until(s, metric_get(METRIC_HTTP_CONNECTIONS) == 0);
        assert_int_equal(s->held_count, 0);
    }
    assert_int_equal(s->gone, ROUNDS * (CONNS / 10 * 4));
    server_stop(s);
}

static void an_answer_without_memory_ends_the_connection(void **state)
{
    (void)state;
    struct server *s = server_start();
    int fd = client_open(s);

    client_send(s, fd, GET("/hold"));
    run_until(s, s->held_count == 1);
    conn_answer(take_held(s), NULL, shared_copy(bytes_str("x")));
    client_end(s, fd);
    assert_int_equal(s->gone, 0);
    (void)close(fd);
    server_stop(s);
}

static void many_connections_share_an_answer(void **state)
{
    enum { CONNS = 100 };
    (void)state;
    struct server *s = server_start();
    int fd[CONNS];

    for (int i = 0; i < CONNS; i++) {
        fd[i] = client_open(s);
        client_send(s, fd[i], GET("/park"));
    }
    run_until(s, s->held_count == CONNS);
    struct shared *body = shared_copy(bytes_str("news"));
    while (s->held_count > 0) {
        struct conn *c = take_held(s);
        conn_answer(c, head_of(c, 200, body->n), shared_ref(body));
    }
    for (int i = 0; i < CONNS; i++) {
        client_ask(s, fd[i], "", 200, "news");
        (void)close(fd[i]);
    }
    assert_int_equal(body->refs, 1);
    shared_unref(body);
    server_stop(s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_connection_serves_one_request_after_the_other),
    cmocka_unit_test(bytes_may_come_one_by_one),
    cmocka_unit_test(pipelined_requests_are_answered_in_order),
    cmocka_unit_test(pipelined_requests_wait_for_parked_ones),
    cmocka_unit_test(a_long_answer_reaches_a_slow_reader_whole),
    cmocka_unit_test(http_1_0_and_connection_close_end_the_connection),
    cmocka_unit_test(a_body_is_asked_for_with_100_continue),
    cmocka_unit_test(a_peer_that_leaves_while_parked_is_gone),
    cmocka_unit_test(a_peer_that_leaves_unread_bytes_behind_is_gone),
    cmocka_unit_test(a_half_closed_peer_gets_its_answers),
    cmocka_unit_test(a_peer_may_vanish_at_any_byte_of_its_answer),
    cmocka_unit_test(thousands_of_connections_come_and_go),
    cmocka_unit_test(an_answer_without_memory_ends_the_connection),
    cmocka_unit_test(many_connections_share_an_answer),
};

RUN_TESTS(tests)
