/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "loop/fetch.h"

#include "loop_peer.h"

static void an_answer_comes_with_status_and_body(void **state)
{
    (void)state;
    struct asking q = asking_begin("/some/where");

    go(&q);
    assert_int_equal(q.a.err, ERR_OK);
    assert_int_equal(q.a.status, 200);
    assert_string_equal(q.a.status_line, "200 OK");
    assert_string_equal(q.a.body, "GET /some/where 0 #1");
    assert_int_equal(q.a.total, q.a.n);
    assert_int_equal(q.a.index, 0);
    asking_end(&q);
}

static void method_headers_and_body_arrive(void **state)
{
    const struct fetch_header headers[] = {{"X-One", "1"}, {"X-Empty", ""}};
    static const char *methods[] = {"PUT", "POST", "DELETE", "PATCH"};
    (void)state;
    struct asking q = asking_begin("/x");

    q.o.headers = headers;
    q.o.header_count = 2;
    for (size_t i = 0; i < 4; i++) {
        char want[64];
        q.o.method = methods[i];
        q.o.body = bytes_of("a\0b", 3);
        go(&q);
        (void)snprintf(want, sizeof want, "%s /x 3 #1", methods[i]);
        assert_string_equal(q.a.body, want);
        assert_memory_equal(q.s->last_body.p, "a\0b", 3);
    }
    q.o.method = "POST";
    q.o.body = bytes_str(NULL);
    go(&q);
    assert_string_equal(q.a.body, "POST /x 0 #1");
    asking_end(&q);
}

/* The peer shows the head it got. */
static void the_head_is_what_was_asked_for(void **state)
{
    const struct fetch_header headers[] = {{"X-One", "1"}, {"X-Empty", ""}};
    struct peer p = {.says = "HTTP/1.1 200 OK\r\nX-Consul-Index: 42\r\n"
                             "Content-Length: 0\r\n\r\n",
                     .times = 1};
    struct buf head = {0};
    (void)state;
    struct asking q = asking_begin("/x");

    /* By hand, to see what was sent. */
    int fds[1];
    struct errtext t;
    assert_ok(listen_tcp("127.0.0.1", 0, 1, fds, &t));
    struct sockaddr_in a;
    socklen_t n = sizeof a;
    assert_int_equal(getsockname(fds[0], (struct sockaddr *)&a, &n), 0);
    url(q.url, sizeof q.url, ntohs(a.sin_port), "/p?q=1");
    q.o.url = q.url;
    q.o.method = "PUT";
    q.o.body = bytes_str("{}");
    q.o.headers = headers;
    q.o.header_count = 2;
    q.a.done = 0;
    assert_ok(fetch_start(q.f, &q.o, on_done, &q.a, NULL));
    int fd = -1;
    while (fd < 0) {
        turn(q.s, fds[0], POLLIN);
        fd = accept4(fds[0], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    }
    while (!bytes_ends(buf_bytes(&head), bytes_str("{}"))) {
        char *room = buf_room(&head, 100);
        ssize_t k = client_recv(q.s, fd, room, 100);
        assert_true(k > 0);
        head.n += (size_t)k;
    }
    char want[300];
    (void)snprintf(want, sizeof want,
                   "PUT /p?q=1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
                   "Accept: */*\r\nX-One: 1\r\nX-Empty:\r\n"
                   "Connection: close\r\nContent-Length: 2\r\n\r\n{}",
                   ntohs(a.sin_port));
    assert_bytes(buf_bytes(&head), want);
    client_send(q.s, fd, p.says);
    run_until(q.s, q.a.done);
    assert_int_equal(q.a.index, 42);
    (void)close(fd);
    (void)close(fds[0]);
    buf_fini(&head);
    asking_end(&q);
}

static void a_header_cannot_smuggle_another(void **state)
{
    static const struct fetch_header bad[] = {{"X", "1\r\nY: 2"},
                                              {"X\r\nY", "1"},
                                              {"X:", "1"},
                                              {"", "1"},
                                              {"a b", "1"}};
    (void)state;
    struct asking q = asking_begin("/x");

    q.o.url = q.url;
    q.o.header_count = 1;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        q.o.headers = &bad[i];
        assert_int_equal(fetch_start(q.f, &q.o, on_done, &q.a, NULL), ERR_BAD);
    }
    assert_int_equal(q.a.done, 0);
    asking_end(&q);
}

static void a_connection_is_reused_only_if_wanted(void **state)
{
    (void)state;
    struct asking q = asking_begin("/x");

    go(&q);
    go(&q);
    assert_string_equal(q.a.body, "GET /x 0 #1");
    q.o.keep_connection = true;
    go(&q);
    assert_string_equal(q.a.body, "GET /x 0 #1");
    go(&q);
    assert_string_equal(q.a.body, "GET /x 0 #2");
    asking_end(&q);
}

static void a_unix_socket_can_be_asked(void **state)
{
    char path[64];
    struct errtext t = {0};
    int fd;
    (void)state;
    struct asking q = asking_begin("/x");

    (void)snprintf(path, sizeof path, "/tmp/muster-fetch-test-%d.sock",
                   (int)getpid());
    q.o.unix_path = path;
    go(&q);
    assert_int_equal(q.a.err, ERR_UNAVAILABLE);
    char want[160];
    (void)snprintf(want, sizeof want,
                   "dial unix %s: connect: no such file or directory", path);
    assert_string_equal(q.a.text.s, want);

    assert_ok(listen_unix(path, 0600, &fd, &t));
    assert_ok(http_server_listen(q.s->http, fd));
    go(&q);
    assert_string_equal(q.a.body, "GET /x 0 #1");
    assert_string_equal(q.s->last_peer, "unix");
    (void)unlink(path);
    asking_end(&q);
}

/* --- Bounds --------------------------------------------------------------- */

static void only_the_end_of_a_long_body_is_kept(void **state)
{
    enum { BYTES = 3000001 };
    static const size_t keep[] = {1, 100, 4096, 70000, 2000000, 3000001};
    (void)state;
    struct asking q = asking_begin("/fixed/3000001");

    for (size_t i = 0; i < sizeof keep / sizeof keep[0]; i++) {
        q.o.body_keep_bytes = keep[i];
        go(&q);
        assert_int_equal(q.a.err, ERR_OK);
        assert_int_equal(q.a.total, BYTES);
        assert_int_equal(q.a.n, keep[i]);
        for (size_t k = 0; k < keep[i]; k++)
            if (q.a.body[k] != fixed_byte(BYTES - keep[i] + k))
                fail_msg("keep %zu: byte %zu is wrong", keep[i], k);
    }
    q.o.body_keep_bytes = 0;
    go(&q);
    assert_int_equal(q.a.total, BYTES);
    assert_int_equal(q.a.n, 0);
    q.o.body_keep_bytes = 4000000;
    go(&q);
    assert_int_equal(q.a.n, BYTES);
    asking_end(&q);
}

static void a_larger_body_is_refused_where_that_is_wanted(void **state)
{
    (void)state;
    struct asking q = asking_begin("/fixed/1000");

    q.o.body_refuse_larger = true;
    q.o.body_keep_bytes = 1000;
    go(&q);
    assert_int_equal(q.a.err, ERR_OK);
    assert_int_equal(q.a.n, 1000);
    q.o.body_keep_bytes = 999;
    go(&q);
    assert_int_equal(q.a.err, ERR_LIMIT);
    assert_string_equal(q.a.text.s,
                        "response body of more than 999 bytes, the limit");
    asking_end(&q);
}

struct stopping {
    struct fetch *fetch;
    int pieces;
};

static void on_piece(void *ctx, struct bytes piece)
{
    struct stopping *x = ctx;

    assert_true(piece.n > 0);
    x->pieces++;
    fetch_stop(x->fetch);
}

static void who_has_heard_enough_stops_an_answer(void **state)
{
    struct stopping x = {0};
    (void)state;
    struct asking q = asking_begin("/fixed/4000000");

    q.o.url = q.url;
    q.o.on_piece = on_piece;
    q.o.piece_ctx = &x;
    assert_ok(fetch_start(q.f, &q.o, on_done, &q.a, &x.fetch));
    run_until(q.s, q.a.done);
    assert_int_equal(x.pieces, 1);
    assert_int_not_equal(q.a.err, ERR_OK);
    assert_false(q.a.unsent);
    asking_end(&q);
}

/* --- Many, and their ends ------------------------------------------------- */

static void many_run_at_once(void **state)
{
    enum { N = 200 };
    static struct asked a[N];
    (void)state;
    struct asking q = asking_begin("/x");

    q.o.url = q.url;
    memset(a, 0, sizeof a);
    for (int i = 0; i < N; i++)
        assert_ok(fetch_start(q.f, &q.o, on_done, &a[i], NULL));
    for (int i = 0; i < N; i++) {
        run_until(q.s, a[i].done);
        assert_string_equal(a[i].body, "GET /x 0 #1");
        free(a[i].body);
        a[i].body = NULL;
    }
    assert_int_equal(q.s->requests, N);
    asking_end(&q);
}

static void what_is_cancelled_is_not_told(void **state)
{
    struct fetch *x, *y;
    (void)state;
    struct asking q = asking_begin("/hold");

    q.o.url = q.url;
    assert_ok(fetch_start(q.f, &q.o, on_done, &q.a, &x));
    fetch_cancel(x); /* before anything has happened */
    assert_ok(fetch_start(q.f, &q.o, on_done, &q.a, &x));
    assert_ok(fetch_start(q.f, &q.o, on_done, &q.a, &y));
    run_until(q.s, q.s->held_count == 2);
    fetch_cancel(x);
    fetch_cancel(y);
    /* A request whose memory is still ours is taken to wait: it is answered
     * in vain. */
    while (q.s->held_count > 0)
        answer_text(take_held(q.s), 200, bytes_str("late"));
    run_until(q.s, metric_get(METRIC_HTTP_CONNECTIONS) == 0);
    assert_int_equal(q.a.done, 0);
    asking_end(&q);
}

struct pair {
    struct fetcher *f;
    struct fetch *other;
    int done;
    bool close;
};

static void cancel_other(void *ctx, const struct fetch_result *r)
{
    struct pair *p = ctx;

    assert_int_equal(r->err, ERR_OK);
    p->done++;
    if (p->close)
        fetcher_close(p->f);
    else
        fetch_cancel(p->other);
}

static void done_may_cancel_and_close(void **state)
{
    (void)state;
    struct asking q = asking_begin("/park");

    for (int close = 0; close < 2; close++) {
        struct pair p = {.f = q.f, .close = close};
        struct fetch_options o = q.o;
        char other[64];

        url(other, sizeof other, q.s->port, "/x");
        o.url = other;
        q.o.url = q.url;
        assert_ok(fetch_start(q.f, &q.o, on_done, &q.a, &p.other));
        run_until(q.s, q.s->held_count == 1);
        assert_ok(fetch_start(q.f, &o, cancel_other, &p, NULL));
        run_until(q.s, q.s->gone == close + 1);
        assert_int_equal(p.done, 1);
    }
    assert_int_equal(q.a.done, 0);
    server_stop(q.s);
}

struct chain {
    struct fetcher *f;
    const struct fetch_options *o;
    int left;
};

static void start_next(void *ctx, const struct fetch_result *r)
{
    struct chain *c = ctx;

    assert_int_equal(r->err, ERR_OK);
    if (--c->left > 0)
        assert_ok(fetch_start(c->f, c->o, start_next, c, NULL));
}

static void done_may_start_the_next(void **state)
{
    (void)state;
    struct asking q = asking_begin("/x");
    struct chain c = {.f = q.f, .o = &q.o, .left = 50};

    q.o.url = q.url;
    q.o.keep_connection = true;
    assert_ok(fetch_start(q.f, &q.o, start_next, &c, NULL));
    run_until(q.s, c.left == 0);
    assert_int_equal(q.s->requests, 50);
    asking_end(&q);
}

static void closing_cancels_what_runs(void **state)
{
    struct fetcher *unused;
    (void)state;
    struct asking q = asking_begin("/park");

    assert_ok(fetcher_new(&q.s->loop, &unused));
    fetcher_close(unused);
    q.o.url = q.url;
    for (int i = 0; i < 10; i++)
        assert_ok(fetch_start(q.f, &q.o, on_done, &q.a, NULL));
    run_until(q.s, q.s->held_count == 10);
    assert_ok(fetch_start(q.f, &q.o, on_done, &q.a, NULL));
    asking_end(&q);
    assert_int_equal(q.a.done, 0);
}

/* --- In this thread ------------------------------------------------------- */

struct served {
    struct server *s;
    uv_async_t stop;
    bool stopped;
};

static void on_stop(uv_async_t *async)
{
    struct served *v = async->data;

    v->stopped = true;
    uv_close((uv_handle_t *)async, NULL);
}

static void serve(void *arg)
{
    struct served *v = arg;

    while (!v->stopped)
        (void)uv_run(&v->s->loop, UV_RUN_ONCE);
}

static void one_request_can_be_waited_for(void **state)
{
    struct served v = {.s = server_start()};
    struct errtext t = {0};
    uv_thread_t thread;
    char *body = NULL, where[64];
    size_t n = 0;
    int status = 0;

    (void)state;
    assert_int_equal(uv_async_init(&v.s->loop, &v.stop, on_stop), 0);
    v.stop.data = &v;
    assert_int_equal(uv_thread_create(&thread, serve, &v), 0);
    url(where, sizeof where, v.s->port, "/w");
    struct fetch_options o = {
        .url = where, .timeout_ms = 60000, .body_keep_bytes = 100};
    assert_ok(fetch_wait(&o, &status, &body, &n, &t));
    assert_int_equal(status, 200);
    assert_string_equal(body, "GET /w 0 #1");
    assert_int_equal(n, strlen(body));
    free(body);

    o.url = "gopher://x";
    assert_int_equal(fetch_wait(&o, &status, &body, &n, &t), ERR_BAD);
    assert_string_equal(t.s, "unsupported protocol scheme \"gopher\"");
    (void)uv_async_send(&v.stop);
    (void)uv_thread_join(&thread);
    server_stop(v.s);
}

static void a_line_of_the_head_is_found_in_any_case(void **state)
{
    (void)state;
    struct bytes head =
        bytes_str("X-Consul-Index: 5\r\nx-muster-mirror:\tdc2 \r\n"
                  "Empty:\r\nno colon\r\nLast: 1");

    assert_bytes(fetch_head_line(head, "x-consul-index"), "5");
    assert_bytes(fetch_head_line(head, "X-Muster-Mirror"), "dc2");
    assert_bytes(fetch_head_line(head, "Last"), "1");
    assert_int_equal(fetch_head_line(head, "Empty").n, 0);
    assert_int_equal(fetch_head_line(head, "Consul").n, 0);
    assert_int_equal(fetch_head_line(bytes_of("", 0), "X").n, 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_line_of_the_head_is_found_in_any_case),
    cmocka_unit_test(an_answer_comes_with_status_and_body),
    cmocka_unit_test(method_headers_and_body_arrive),
    cmocka_unit_test(the_head_is_what_was_asked_for),
    cmocka_unit_test(a_header_cannot_smuggle_another),
    cmocka_unit_test(a_connection_is_reused_only_if_wanted),
    cmocka_unit_test(a_unix_socket_can_be_asked),
    cmocka_unit_test(only_the_end_of_a_long_body_is_kept),
    cmocka_unit_test(a_larger_body_is_refused_where_that_is_wanted),
    cmocka_unit_test(who_has_heard_enough_stops_an_answer),
    cmocka_unit_test(many_run_at_once),
    cmocka_unit_test(what_is_cancelled_is_not_told),
    cmocka_unit_test(done_may_cancel_and_close),
    cmocka_unit_test(done_may_start_the_next),
    cmocka_unit_test(closing_cancels_what_runs),
    cmocka_unit_test(one_request_can_be_waited_for),
};

/* A proxy in the environment must make no difference. */
int main(void)
{
    (void)setenv("http_proxy", "http://127.0.0.1:1", 1);
    (void)setenv("all_proxy", "http://127.0.0.1:1", 1);
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
