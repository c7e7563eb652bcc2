/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Connections whose next request may wait (conn_doze). */
#include "loop/conn.h"

#include "loop_server.h"

/* Something is there that the loop's thread would be woken by. */
static bool wakes(struct server *s)
{
    struct pollfd p = {uv_backend_fd(&s->loop), POLLIN, 0};
    return poll(&p, 1, 0) > 0;
}

static int doze_open(struct server *s)
{
    int fd = client_open(s);

    client_ask(s, fd, GET("/doze"), 200, "GET /doze 0 #1");
    return fd;
}

static void many_that_doze_wake_nobody_and_are_answered_together(void **state)
{
    enum { CONNS = 300 };
    (void)state;
    struct server *s = server_start();
    int fd[CONNS];

    for (int i = 0; i < CONNS; i++)
        fd[i] = doze_open(s);
    for (int round = 2; round < 5; round++) {
        char want[32];
        (void)snprintf(want, sizeof want, "GET /doze 0 #%d", round);
        for (int i = 0; i < CONNS; i++)
            client_send(s, fd[i], GET("/doze"));
        assert_false(wakes(s));
        for (int i = 0; i < CONNS; i++)
            client_ask(s, fd[i], "", 200, want);
    }
    for (int i = 0; i < CONNS; i++)
        (void)close(fd[i]);
    run_until(s, metric_get(METRIC_HTTP_CONNECTIONS) == 0);
    server_stop(s);
}

static void another_request_ends_it(void **state)
{
    (void)state;
    struct server *s = server_start();
    int fd = doze_open(s);

    client_ask(s, fd, GET("/a"), 200, "GET /a 0 #2");
    client_send(s, fd, GET("/b"));
    assert_true(wakes(s));
    client_ask(s, fd, "", 200, "GET /b 0 #3");
    client_ask(s, fd, GET("/doze"), 200, "GET /doze 0 #4");
    client_send(s, fd, GET("/c"));
    assert_false(wakes(s));
    client_ask(s, fd, "", 200, "GET /c 0 #5");
    (void)close(fd);
    server_stop(s);
}

static void one_that_waits_for_its_answer_may_leave(void **state)
{
    (void)state;
    struct server *s = server_start();
    int a = doze_open(s), b = doze_open(s);

    client_send(s, a, GET("/park"));
    client_send(s, b, GET("/park"));
    run_until(s, s->held_count == 2);
    (void)close(a);
    run_until(s, s->gone == 1); /* it is read from all the while */
    answer_text(take_held(s), 200, bytes_str("x"));
    client_ask(s, b, "", 200, "x");
    client_ask(s, b, GET("/b"), 200, "GET /b 0 #3");
    (void)close(b);
    server_stop(s);
}

static void half_a_request_ends_it(void **state)
{
    (void)state;
    struct server *s = server_start();
    int fd = doze_open(s);

    client_send(s, fd, "GET /a HTTP/1.1\r\nHost: h\r\nX: ");
    for (;;) {
        client_send(s, fd, "a");
        if (wakes(s))
            break;
        (void)uv_run(&s->loop, UV_RUN_ONCE); /* its time comes */
    }
    client_ask(s, fd, "\r\n\r\n", 200, "GET /a 0 #2");
    (void)close(fd);
    server_stop(s);
}

static void several_at_once_are_answered_in_order(void **state)
{
    (void)state;
    struct server *s = server_start();
    int fd = doze_open(s);

    client_ask(s, fd, GET("/doze") GET("/a") GET("/doze") GET("/hold"), 200,
               "GET /doze 0 #2");
    client_ask(s, fd, "", 200, "GET /a 0 #3");
    client_ask(s, fd, GET("/doze"), 200, "GET /doze 0 #4");
    run_until(s, s->held_count == 1);
    answer_text(take_held(s), 200, bytes_str("x"));
    client_ask(s, fd, "", 200, "x");
    client_ask(s, fd, "", 200, "GET /doze 0 #6");
    (void)close(fd);
    server_stop(s);
}

static void nonsense_is_refused_and_ends_the_connection(void **state)
{
    (void)state;
    struct server *s = server_start();
    struct buf b = {0};
    int fd = doze_open(s);

    client_send(s, fd, "nonsense\r\n\r\n");
    assert_true(client_rest(s, fd, &b));
    expect_refusal(&b, 400, "");
    (void)close(fd);
    run_until(s, metric_get(METRIC_HTTP_CONNECTIONS) == 0);
    buf_fini(&b);
    server_stop(s);
}

static void who_says_nothing_is_closed_in_time(void **state)
{
    (void)state;
    struct server *s =
        server_prepared(&(struct conn_limits){.idle_ms = 2 * CONN_DOZE_MS});
    int fd = doze_open(s);

    client_end(s, fd);
    (void)close(fd);
    server_stop(s);
}

static void the_server_may_end_while_some_doze(void **state)
{
    (void)state;
    struct server *s = server_start();
    int a = doze_open(s), b = doze_open(s);

    client_send(s, a, GET("/doze")); /* not looked at yet */
    server_stop(s);
    (void)close(a);
    (void)close(b);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(many_that_doze_wake_nobody_and_are_answered_together),
    cmocka_unit_test(another_request_ends_it),
    cmocka_unit_test(one_that_waits_for_its_answer_may_leave),
    cmocka_unit_test(half_a_request_ends_it),
    cmocka_unit_test(several_at_once_are_answered_in_order),
    cmocka_unit_test(nonsense_is_refused_and_ends_the_connection),
    cmocka_unit_test(who_says_nothing_is_closed_in_time),
    cmocka_unit_test(the_server_may_end_while_some_doze),
};

RUN_TESTS(tests)
