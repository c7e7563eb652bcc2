/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Peers that misbehave, redirect or are not there, and what is said of them. */
#include "loop/fetch.h"

#include "loop_peer.h"

static void endless_answers_are_cut_off(void **state)
{
    static const char too_many[] =
        "net/http: server response headers exceeded 262144 bytes; aborted";
    static char line[64 * 1024];
    (void)state;
    struct asking q = asking_begin("/x");

    ask_peer(&q, "HTTP/1.1 100 Continue\r\n\r\n", SIZE_MAX, PEER_WAITS,
             ERR_LIMIT, too_many);
    ask_peer(&q, "HTTP/1.1 200 a:b\r\n", SIZE_MAX, PEER_WAITS, ERR_LIMIT,
             too_many);
    memset(line, 'x', sizeof line - 1); /* no line end, ever */
    memcpy(line, "HTTP/1.1 200 ", 13);
    ask_peer(&q, line, SIZE_MAX, PEER_WAITS, ERR_LIMIT,
             "response header line of more than 100 kB, or out of memory");
    asking_end(&q);
}

static void broken_answers_are_told_apart(void **state)
{
    (void)state;
    struct asking q = asking_begin("/x");

    ask_peer(&q, "", 0, PEER_CLOSES, ERR_IO, "EOF");
    assert_false(q.a.unsent); /* who knows what it did */
    ask_peer(&q, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", 1,
             PEER_CLOSES, ERR_IO, "unexpected EOF");
    ask_peer(&q, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
             1, PEER_CLOSES, ERR_IO, "unexpected EOF");
    ask_peer(&q, "SSH-2.0-OpenSSH_9.2\r\n", 1, PEER_WAITS, ERR_IO,
             "net/http: HTTP/1.x transport connection broken: malformed HTTP "
             "response");
    ask_peer(&q, "HTTP/1.1 200 OK\r\nno colon\r\n\r\n", 1, PEER_WAITS, ERR_IO,
             "net/http: HTTP/1.x transport connection broken: malformed HTTP "
             "response: Header without colon");
    asking_end(&q);
}

static void a_server_without_tls_is_named(void **state)
{
    char https[64];
    (void)state;
    struct asking q = asking_begin("/x");

    (void)snprintf(https, sizeof https, "https://127.0.0.1:%d/", q.s->port);
    q.o.url = https;
    go(&q);
    assert_int_equal(q.a.err, ERR_IO);
    assert_string_equal(q.a.text.s,
                        "http: server gave HTTP response to HTTPS client");
    assert_true(q.a.unsent);
    asking_end(&q);
}

static void a_reset_names_the_connection(void **state)
{
    struct peer p = {.says = "", .end = PEER_RESETS};
    char want[128];
    (void)state;
    struct asking q = asking_begin("/x");

    peer_open(&q.s->loop, &p);
    url(q.url, sizeof q.url, p.port, "/x");
    go(&q);
    (void)snprintf(want, sizeof want,
                   "read tcp 127.0.0.1:%d: read: connection reset by peer",
                   p.port);
    assert_int_equal(q.a.err, ERR_IO);
    assert_string_equal(q.a.text.s, want);
    uv_close((uv_handle_t *)&p.listener, NULL);
    asking_end(&q);
}

static void time_is_limited(void **state)
{
    (void)state;
    struct asking q = asking_begin("/x");

    q.o.timeout_ms = 30;
    ask_peer(&q, "", 0, PEER_WAITS, ERR_TIMEOUT,
             "context deadline exceeded (Client.Timeout exceeded while "
             "awaiting headers)");
    ask_peer(&q, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", 1,
             PEER_WAITS, ERR_TIMEOUT,
             "context deadline exceeded (Client.Timeout or context "
             "cancellation while reading body)");
    asking_end(&q);
}

static void an_answer_without_a_reason_gets_one(void **state)
{
    (void)state;
    struct asking q = asking_begin("/x");

    ask_peer(&q, "HTTP/1.1 503\r\nContent-Length: 0\r\n\r\n", 1, PEER_CLOSES,
             ERR_OK, "");
    assert_int_equal(q.a.status, 503);
    assert_string_equal(q.a.status_line, "503 Service Unavailable");
    ask_peer(&q, "HTTP/1.1 404 Not here\r\n\r\ntill the end", 1, PEER_CLOSES,
             ERR_OK, "");
    assert_string_equal(q.a.status_line, "404 Not here");
    assert_string_equal(q.a.body, "till the end");
    asking_end(&q);
}

static void where_nobody_listens_is_named(void **state)
{
    struct peer p = {.says = ""};
    char want[128];
    (void)state;
    struct asking q = asking_begin("/x");

    peer_open(&q.s->loop, &p);
    uv_close((uv_handle_t *)&p.listener, NULL);
    (void)uv_run(&q.s->loop, UV_RUN_NOWAIT);
    url(q.url, sizeof q.url, p.port, "/x");
    go(&q);
    (void)snprintf(want, sizeof want,
                   "dial tcp 127.0.0.1:%d: connect: connection refused",
                   p.port);
    assert_int_equal(q.a.err, ERR_REFUSED);
    assert_string_equal(q.a.text.s, want);

    q.o.url = "http://no-such-host.invalid:81/x";
    go(&q);
    assert_int_equal(q.a.err, ERR_UNAVAILABLE);
    assert_string_equal(q.a.text.s,
                        "dial tcp: lookup no-such-host.invalid: no such host");
    assert_true(q.a.unsent);
    asking_end(&q);
}

static void only_http_is_spoken(void **state)
{
    (void)state;
    struct asking q = asking_begin("/x");

    q.o.url = "ftp://127.0.0.1/x";
    go(&q);
    assert_int_equal(q.a.err, ERR_BAD);
    assert_string_equal(q.a.text.s, "unsupported protocol scheme \"ftp\"");
    q.o.url = "file:///etc/passwd";
    go(&q);
    assert_int_equal(q.a.err, ERR_BAD);
    assert_string_equal(q.a.text.s, "unsupported protocol scheme \"file\"");
    q.o.url = "http://[::1/x";
    go(&q);
    assert_int_equal(q.a.err, ERR_BAD);
    assert_int_equal(strncmp(q.a.text.s, "malformed URL", 13), 0);
    asking_end(&q);
}

/* --- Redirects ------------------------------------------------------------ */

static void redirects_are_followed_only_if_wanted(void **state)
{
    char says[160];
    (void)state;
    struct asking q = asking_begin("/x");

    (void)snprintf(says, sizeof says,
                   "HTTP/1.1 302 Found\r\nX-Consul-Index: 7\r\n"
                   "Content-Length: 3\r\n"
                   "Location: http://127.0.0.1:%d/there\r\n\r\nold",
                   q.s->port);
    ask_peer(&q, says, 1, PEER_CLOSES, ERR_OK, "");
    assert_int_equal(q.a.status, 302);
    assert_string_equal(q.a.body, "old");
    assert_int_equal(q.a.index, 7);

    q.o.follow_redirects = true;
    ask_peer(&q, says, 1, PEER_CLOSES, ERR_OK, "");
    assert_int_equal(q.a.status, 200);
    assert_string_equal(q.a.body, "GET /there 0 #1");
    assert_int_equal(q.a.index, 0);

    q.o.method = "POST"; /* becomes a GET, as in browsers */
    q.o.body = bytes_str("hello");
    ask_peer(&q, says, 1, PEER_CLOSES, ERR_OK, "");
    assert_string_equal(q.a.body, "GET /there 0 #1");
    asking_end(&q);
}

static void redirects_have_an_end(void **state)
{
    (void)state;
    struct asking q = asking_begin("/x");

    q.o.follow_redirects = true;
    ask_peer(&q,
             "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /x\r\n\r\n",
             1, PEER_CLOSES, ERR_IO, "stopped after 10 redirects");
    ask_peer(&q,
             "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n"
             "Location: file:///etc/passwd\r\n\r\n",
             1, PEER_CLOSES, ERR_BAD, "unsupported protocol scheme \"file\"");
    asking_end(&q);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(endless_answers_are_cut_off),
    cmocka_unit_test(broken_answers_are_told_apart),
    cmocka_unit_test(a_server_without_tls_is_named),
    cmocka_unit_test(a_reset_names_the_connection),
    cmocka_unit_test(time_is_limited),
    cmocka_unit_test(an_answer_without_a_reason_gets_one),
    cmocka_unit_test(where_nobody_listens_is_named),
    cmocka_unit_test(only_http_is_spoken),
    cmocka_unit_test(redirects_are_followed_only_if_wanted),
    cmocka_unit_test(redirects_have_an_end),
};

RUN_TESTS(tests)
