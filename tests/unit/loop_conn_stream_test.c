/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Answers in pieces, and how the server closes. */
#include "loop/conn.h"

#include "loop_server.h"

/* --- Closing -------------------------------------------------------------- */

static void closing_lets_answers_go_out(void **state)
{
    (void)state;
    struct server *s = server_start();
    struct buf b = {0};
    struct bytes body = {0};
    int idle = client_open(s), busy = client_open(s), held = client_open(s);

    client_ask(s, idle, GET("/a"), 200, "GET /a 0 #1");
    client_send(s, busy, GET("/fixed/9000000"));
    client_send(s, held, GET("/hold"));
    run_until(s, s->held_count == 1 && s->requests == 3);
    http_server_close(s->http, 60 * 1000, server_closed);
    client_end(s, idle);
    assert_int_equal(client_answer(s, busy, &b, &body), 200);
    assert_int_equal(body.n, 9000000);
    client_end(s, busy);
    assert_false(s->closed);

    struct conn *c = take_held(s);
    assert_false(conn_keep_alive(c));
    answer_text(c, 200, bytes_str("bye"));
    client_ask(s, held, "", 200, "bye");
    client_end(s, held);
    run_until(s, s->closed);
    assert_int_equal(s->gone, 0);
    buf_fini(&b);
    (void)close(idle);
    (void)close(busy);
    (void)close(held);
    server_stop(s);
}

static void closing_waits_no_longer_than_the_grace(void **state)
{
    (void)state;
    struct server *s = server_start();
    int parked = client_open(s), stuck = client_open(s), half = client_open(s);

    client_send(s, half, "GET /a HT");
    client_send(s, parked, GET("/park"));
    client_send(s, stuck, GET("/fixed/90000000"));
    run_until(s, s->requests == 2);
    http_server_close(s->http, 10, server_closed);
    run_until(s, s->closed);
    assert_int_equal(s->gone, 1);
    (void)close(parked);
    (void)close(stuck);
    (void)close(half);
    server_stop(s);
}

/* --- Streams -------------------------------------------------------------- */

static struct shared *stream_head(void)
{
    return shared_copy(
        bytes_str("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"));
}

static struct conn *stream_begin(struct server *s, int fd)
{
    client_send(s, fd, GET("/hold"));
    run_until(s, s->held_count == 1);
    conn_stream_begin(s->held[0], stream_head());
    return s->held[0];
}

static void expect_bytes(struct server *s, int fd, const char *want)
{
    struct buf b = {0};

    while (b.n < strlen(want)) {
        char *p = buf_room(&b, strlen(want) - b.n);
        ssize_t k = client_recv(s, fd, p, strlen(want) - b.n);
        assert_true(k > 0);
        b.n += (size_t)k;
    }
    assert_bytes(buf_bytes(&b), want);
    buf_fini(&b);
}

static void a_stream_sends_chunks_and_then_serves_on(void **state)
{
    (void)state;
    struct server *s = server_start();
    int fd = client_open(s);
    struct conn *c = stream_begin(s, fd);

    expect_bytes(s, fd,
                 "HTTP/1.1 200 OK\r\n"
                 "Transfer-Encoding: chunked\r\n\r\n");
    assert_ok(conn_stream_piece(c, shared_copy(bytes_str("one")), 100));
    assert_ok(conn_stream_piece(c, shared_copy(bytes_str("")), 100));
    expect_bytes(s, fd, "3\r\none\r\n");
    client_send(s, fd, GET("/next")); /* pipelined behind the stream */
    for (int i = 0; i < 3; i++)
        (void)uv_run(&s->loop, UV_RUN_NOWAIT);
    assert_ok(conn_stream_piece(
        c, shared_copy(bytes_str("twenty bytes of news")), 100));
    conn_stream_end(take_held(s));
    assert_int_equal(s->requests, 1);
    expect_bytes(s, fd, "14\r\ntwenty bytes of news\r\n0\r\n\r\n");
    client_ask(s, fd, "", 200, "GET /next 0 #2");
    (void)close(fd);
    server_stop(s);
}

static void a_stream_to_http_1_0_ends_with_the_connection(void **state)
{
    (void)state;
    struct server *s = server_start();
    int fd = client_open(s);

    client_send(s, fd, "GET /hold HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    run_until(s, s->held_count == 1);
    struct conn *c = take_held(s);
    conn_stream_begin(c, shared_copy(bytes_str("HTTP/1.0 200 OK\r\n\r\n")));
    assert_ok(conn_stream_piece(c, shared_copy(bytes_str("one")), 100));
    conn_stream_end(c);
    expect_bytes(s, fd, "HTTP/1.0 200 OK\r\n\r\none");
    client_end(s, fd);
    (void)close(fd);
    server_stop(s);
}

static void recv_until(struct server *s, int fd, struct buf *b, size_t want)
{
    while (b->n < want) {
        char *p = buf_room(b, 65536);
        ssize_t k = client_recv(s, fd, p, 65536);
        assert_true(k > 0);
        b->n += (size_t)k;
    }
    assert_int_equal(b->n, want);
}

static void a_stream_refuses_what_its_peer_does_not_take(void **state)
{
    enum { PIECE = 100 * 1000, MAX = 1000 * 1000 };
    (void)state;
    struct server *s = server_start();
    int fd = client_open(s);
    struct conn *c = stream_begin(s, fd);
    struct shared *piece = shared_new(PIECE);
    enum err e = ERR_OK;
    int sent = 0;

    memset(piece->data, 'x', PIECE);
    while (e == ERR_OK) {
        e = conn_stream_piece(c, shared_ref(piece), MAX);
        sent++;
    }
    assert_int_equal(e, ERR_FULL);
    shared_unref(piece); /* not taken */
    sent--;

    struct buf b = {0};
    size_t frame = strlen("186a0\r\n") + PIECE + 2;
    size_t want =
        strlen("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n") +
        (size_t)sent * frame;
    recv_until(s, fd, &b, want);

    /* Once it has been read there is room again. */
    run_until(s, piece->refs == 1);
    assert_ok(conn_stream_piece(c, shared_ref(piece), MAX));
    recv_until(s, fd, &b, want + frame);
    conn_stream_end(take_held(s));
    recv_until(s, fd, &b, want + frame + strlen("0\r\n\r\n"));
    assert_int_equal(piece->refs, 1);
    buf_fini(&b);
    shared_unref(piece);
    client_ask(s, fd, GET("/on"), 200, "GET /on 0 #2");
    (void)close(fd);
    server_stop(s);
}

static void a_stream_learns_that_its_peer_has_gone(void **state)
{
    (void)state;
    struct server *s = server_start();
    int fd = client_open(s);

    (void)stream_begin(s, fd);
    (void)close(fd);
    run_until(s, s->gone == 1);

    /* By a failed write: gone comes a turn later, and only once. */
    fd = client_open(s);
    struct conn *c = stream_begin(s, fd);
    struct linger reset = {.l_onoff = 1};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    (void)close(fd);
    struct shared *piece = shared_copy(bytes_str("news"));
    enum err e = ERR_OK;
    while (e == ERR_OK)
        e = conn_stream_piece(c, shared_ref(piece), 1000);
    assert_int_equal(e, ERR_CLOSED);
    assert_int_equal(s->gone, 1);
    shared_unref(piece);
    run_until(s, s->gone == 2);
    assert_int_equal(piece->refs, 1);
    shared_unref(piece);

    /* Or it is ended before that: then nobody is told. */
    fd = client_open(s);
    c = stream_begin(s, fd);
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    (void)close(fd);
    e = ERR_OK;
    piece = shared_copy(bytes_str("news"));
    while (e == ERR_OK)
        e = conn_stream_piece(c, shared_ref(piece), 1000);
    shared_unref(piece);
    shared_unref(piece);
    conn_stream_end(take_held(s));
    run_until(s, metric_get(METRIC_HTTP_CONNECTIONS) == 0);
    assert_int_equal(s->gone, 2);
    server_stop(s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(closing_lets_answers_go_out),
    cmocka_unit_test(closing_waits_no_longer_than_the_grace),
    cmocka_unit_test(a_stream_sends_chunks_and_then_serves_on),
    cmocka_unit_test(a_stream_to_http_1_0_ends_with_the_connection),
    cmocka_unit_test(a_stream_refuses_what_its_peer_does_not_take),
    cmocka_unit_test(a_stream_learns_that_its_peer_has_gone),
};

RUN_TESTS(tests)
