/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "http_stream.h"

static void a_whole_get_is_taken_apart(void **state)
{
    (void)state;
    struct http_in *in = in_new(&defaults);
    const struct http_request *r = request_of(
        in, TEXT("GET /v1/kv/a%2Fb%20c?index=7&stale&q=a+b%26&e= HTTP/1.1\r\n"
                 "Host: localhost:8500\r\n"
                 "X-Consul-Token: \t s e \t\r\n"
                 "Accept-Encoding: deflate, gzip;q=0.5\r\n\r\n"));

    assert_int_equal(r->method, HTTP_GET);
    assert_bytes(r->method_name, "GET");
    assert_bytes(r->raw_path, "/v1/kv/a%2Fb%20c");
    assert_bytes(r->path, "/v1/kv/a/b c");
    assert_bytes(r->raw_query, "index=7&stale&q=a+b%26&e=");
    assert_int_equal(r->param_count, 4);
    assert_bytes(http_param_value(r, "index"), "7");
    assert_bytes(http_param_value(r, "q"), "a b&");
    assert_false(http_param(r, "stale")->has_value);
    assert_true(http_param(r, "e")->has_value);
    assert_null(http_param(r, "Index"));
    assert_null(http_param_value(r, "none").p);
    assert_bytes(http_header(r, "x-consul-TOKEN"), "s e");
    assert_null(http_header(r, "x-consul").p);
    assert_true(r->accepts_gzip);
    assert_true(r->keep_alive);
    assert_false(r->http_1_0);
    assert_false(r->query_bad);
    assert_int_equal(r->body.n, 0);
    http_in_free(in);
}

static void a_body_of_known_length_is_whole(void **state)
{
    (void)state;
    struct http_in *in = in_new(&defaults);
    const struct http_request *r =
        request_of(in, TEXT("PUT / HTTP/1.1\r\nHost: a\r\n"
                            "Content-Length: 5\r\n\r\nhello"));

    assert_int_equal(r->method, HTTP_PUT);
    assert_bytes(r->body, "hello");
    http_in_free(in);
}

static void chunks_are_joined_and_trailers_dropped(void **state)
{
    (void)state;
    struct http_in *in = in_new(&defaults);
    const struct http_request *r =
        request_of(in, TEXT("POST / HTTP/1.1\r\nHost: a\r\n"
                            "Transfer-Encoding: Chunked\r\n\r\n"
                            "5;name=\"x\"\r\nhello\r\n001\r\n \r\n"
                            "A\r\n0123456789\r\n0\r\n"
                            "X-Sum: 1\r\nHost: evil\r\n\r\n"));

    assert_bytes(r->body, "hello 0123456789");
    assert_bytes(http_header(r, "Host"), "a");
    assert_null(http_header(r, "X-Sum").p);
    http_in_free(in);
}

static void methods_have_names(void **state)
{
    (void)state;
    static const char *const names[] = {"GET",  "PUT",     "POST",  "DELETE",
                                        "HEAD", "OPTIONS", "PATCH", "BREW"};

    for (size_t i = 0; i < 8; i++) {
        struct http_in *in = in_new(&defaults);
        struct buf b = {0};
        buf_printf(&b, "%s / HTTP/1.1\r\nHost: a\r\n\r\n", names[i]);
        const struct http_request *r = request_of(in, buf_bytes(&b));
        assert_bytes(r->method_name, names[i]);
        assert_int_equal(r->method, i); /* the order of the enum */
        assert_string_equal(http_method_name(r->method),
                            i < HTTP_OTHER ? names[i] : "?");
        buf_fini(&b);
        http_in_free(in);
    }
}

static void pipelined_requests_come_one_by_one(void **state)
{
    (void)state;
    struct bytes stream = TEXT("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
                               "PUT /2 HTTP/1.1\r\nHost: a\r\n"
                               "Content-Length: 2\r\n\r\nok"
                               "\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
    struct http_in *in = in_new(&defaults);
    size_t used = http_in_feed(in, stream);

    assert_bytes(http_in_request(in)->path, "/1");
    assert_int_equal(http_in_feed(in, bytes_skip(stream, used)), 0);
    http_in_next(in);
    assert_int_equal(http_in_state(in), HTTP_IN_IDLE);
    used += http_in_feed(in, bytes_skip(stream, used));
    assert_bytes(http_in_request(in)->body, "ok");
    http_in_next(in);
    used += http_in_feed(in, bytes_skip(stream, used));
    assert_bytes(http_in_request(in)->path, "/3");
    assert_int_equal(used, stream.n);
    http_in_free(in);
    same_for_every_split(stream);
}

static void the_split_of_a_stream_never_shows(void **state)
{
    (void)state;
    same_for_every_split(
        TEXT("POST /a?b=%20 HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
             "Transfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n10\r\n"
             "0123456789abcdef\r\n0\r\nT: u\r\nV: w\r\n\r\n"
             "GET http://h/x HTTP/1.0\nConnection: keep-alive\n\n"
             "GET / HTTP/1.1\r\nHost: a\r\nBad : 1\r\n\r\n"));
    same_for_every_split(TEXT("GET / HTTP/1.1\r\nHost: a\r\n\r\n\x16\x03\x01"));
}

static void no_beginning_of_a_request_is_a_request(void **state)
{
    (void)state;
    struct bytes whole = TEXT("PUT /a%20b?c=d HTTP/1.1\r\nHost: a\r\n"
                              "Transfer-Encoding: chunked\r\n\r\n"
                              "3\r\nabc\r\n0\r\nT: u\r\n\r\n");

    for (size_t n = 0; n < whole.n; n++) {
        struct http_in *in = in_new(&defaults);
        assert_int_equal(http_in_feed(in, bytes_head(whole, n)), n);
        enum http_in_state s = http_in_state(in);
        assert_int_equal(s == HTTP_IN_IDLE, n == 0);
        assert_true(s == HTTP_IN_IDLE || s == HTTP_IN_HEAD ||
                    s == HTTP_IN_BODY);
        http_in_free(in);
    }
}

static void http_1_0_closes_unless_asked(void **state)
{
    (void)state;
    static const struct {
        struct bytes text;
        bool keep_alive;
    } cases[] = {
        {TEXT("GET / HTTP/1.0\r\n\r\n"), false},
        {TEXT("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"), true},
        {TEXT("GET / HTTP/1.1\r\nHost:\r\nConnection: x, CLOSE\r\n\r\n"),
         false},
        {TEXT("GET / HTTP/1.1\r\nHost:\r\nConnection: closed\r\n\r\n"), true},
        {TEXT("GET / HTTP/1.9\r\nHost: a\r\n\r\n"), true},
        {TEXT("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n"
              "Connection: close\r\nUpgrade: h2c\r\n\r\n"),
         false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct http_in *in = in_new(&defaults);
        const struct http_request *r = request_of(in, cases[i].text);
        assert_int_equal(r->keep_alive, cases[i].keep_alive);
        assert_int_equal(r->http_1_0, i < 2);
        http_in_free(in);
    }
}

static void gzip_is_accepted_only_where_it_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        bool gzip;
    } cases[] = {
        {"gzip", true},
        {"GZIP", true},
        {"br,gzip", true},
        {"gzip;q=0", false},
        {"gzip; q=0.00", false},
        {"gzip;q=0.001", true},
        {"gzip;x=1", true},
        {"gzipped", false},
        {"*", false},
        {"", false},
        {"identity", false},
        {"deflate;q=1, gzip;q=0", false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct http_in *in = in_new(&defaults);
        struct buf b = {0};
        buf_printf(&b,
                   "GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: %s\r\n\r\n",
                   cases[i].value);
        if (request_of(in, buf_bytes(&b))->accepts_gzip != cases[i].gzip)
            fail_msg("Accept-Encoding: %s", cases[i].value);
        buf_fini(&b);
        http_in_free(in);
    }
}

static void targets_may_be_urls(void **state)
{
    (void)state;
    static const struct {
        struct bytes line;
        const char *path, *query;
    } cases[] = {
        {TEXT("GET http://h:1/a%20b?c=d"), "/a b", "c=d"},
        {TEXT("GET HTTPS://h"), "/", ""},
        {TEXT("GET http://h?x"), "/", "x"},
        {TEXT("OPTIONS *"), "*", ""},
        {TEXT("GET //a/./b"), "//a/./b", ""},
        {TEXT("GET /\xe2\x82\xac?\xff"), "/\xe2\x82\xac", "\xff"},
        {TEXT("GET /a?b?c#d"), "/a", "b?c#d"},
        {TEXT("GET /?"), "/", ""},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct http_in *in = in_new(&defaults);
        struct buf b = {0};
        buf_put(&b, cases[i].line);
        buf_puts(&b, " HTTP/1.1\r\nHost: a\r\n\r\n");
        const struct http_request *r = request_of(in, buf_bytes(&b));
        assert_bytes(r->path, cases[i].path);
        assert_bytes(r->raw_query, cases[i].query);
        buf_fini(&b);
        http_in_free(in);
    }
}

static void a_path_may_hold_any_decoded_byte(void **state)
{
    (void)state;
    struct http_in *in = in_new(&defaults);
    const struct http_request *r =
        request_of(in, TEXT("GET /a%00%ff%0A HTTP/1.1\r\nHost: a\r\n\r\n"));

    assert_int_equal(r->path.n, 5);
    assert_memory_equal(r->path.p, "/a\0\xff\n", 5);
    http_in_free(in);
}

static void a_bad_escape_in_the_query_is_remembered(void **state)
{
    (void)state;
    struct http_in *in = in_new(&defaults);
    const struct http_request *r = request_of(
        in, TEXT("GET /?a=1&b=%zz&&c=%4&d=2 HTTP/1.1\r\nHost: a\r\n\r\n"));

    assert_true(r->query_bad);
    assert_int_equal(r->param_count, 2);
    assert_bytes(http_param_value(r, "a"), "1");
    assert_bytes(http_param_value(r, "d"), "2");
    http_in_free(in);
}

/* As many chunks as bytes, each byte fed alone: linear, and all of it there. */
static void a_body_of_tiny_chunks_is_whole(void **state)
{
    (void)state;
    struct http_in *in = in_new(&defaults);
    enum { CHUNKS = 100000 };

    (void)http_in_feed(in, TEXT(CHUNKED));
    for (int i = 0; i < CHUNKS; i++)
        assert_int_equal(http_in_feed(in, TEXT("1\r\nx\r\n")), 6);
    (void)http_in_feed(in, TEXT("0\r\n\r\n"));
    assert_int_equal(http_in_state(in), HTTP_IN_DONE);
    assert_int_equal(http_in_request(in)->body.n, CHUNKS);
    http_in_free(in);
}

static void continue_is_wanted_once_and_only_before_the_body(void **state)
{
    (void)state;
    struct bytes head = TEXT(POST_HEAD "Expect: 100-Continue\r\n"
                                       "Content-Length: 2\r\n\r\n");
    struct http_in *in = in_new(&defaults);

    (void)http_in_feed(in, bytes_head(head, head.n - 1));
    assert_false(http_in_wants_continue(in));
    (void)http_in_feed(in, bytes_skip(head, head.n - 1));
    assert_int_equal(http_in_state(in), HTTP_IN_BODY);
    assert_true(http_in_wants_continue(in));
    assert_false(http_in_wants_continue(in));
    (void)http_in_feed(in, TEXT("ok"));
    assert_int_equal(http_in_state(in), HTTP_IN_DONE);
    http_in_free(in);

    in = in_new(&defaults); /* the client did not wait */
    (void)http_in_feed(in, head);
    (void)http_in_feed(in, TEXT("o"));
    assert_false(http_in_wants_continue(in));
    http_in_free(in);
}

static void continue_is_not_wanted_without_a_body_to_come(void **state)
{
    (void)state;
    static const struct bytes texts[] = {
        TEXT(POST_HEAD "Expect: 100-continue\r\n\r\n"),
        TEXT(POST_HEAD "Expect: 200-ok\r\nContent-Length: 1\r\n\r\n"),
        TEXT(POST_HEAD "Expect: 100-continue\r\n"
                       "Content-Length: 99999999\r\n\r\n"),
        TEXT("POST / HTTP/1.0\r\nExpect: 100-continue\r\n"
             "Content-Length: 1\r\n\r\n"),
    };

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct http_in *in = in_new(&defaults);
        (void)http_in_feed(in, texts[i]);
        assert_false(http_in_wants_continue(in));
        http_in_free(in);
    }
}

static void blank_lines_alone_leave_the_parser_idle(void **state)
{
    (void)state;
    struct http_in *in = in_new(&defaults);

    assert_int_equal(http_in_feed(in, TEXT("\r\n\n\r\n")), 5);
    assert_int_equal(http_in_state(in), HTTP_IN_IDLE);
    http_in_free(in);
    http_in_free(NULL);
}

static void what_a_request_holds_stays_while_the_input_goes(void **state)
{
    (void)state;
    struct bytes text = TEXT("PUT /a?b=c HTTP/1.1\r\nHost: h\r\nX: y\r\n"
                             "Content-Length: 2\r\n\r\nok");
    struct http_in *in = in_new(&defaults);
    char *copy = malloc(text.n);

    memcpy(copy, text.p, text.n);
    (void)http_in_feed(in, bytes_of(copy, text.n));
    memset(copy, 'Z', text.n);
    free(copy);

    const struct http_request *r = http_in_request(in);
    assert_bytes(r->target, "/a?b=c");
    assert_bytes(http_param_value(r, "b"), "c");
    assert_bytes(http_header(r, "x"), "y");
    assert_bytes(r->body, "ok");
    http_in_free(in);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_whole_get_is_taken_apart),
    cmocka_unit_test(a_body_of_known_length_is_whole),
    cmocka_unit_test(chunks_are_joined_and_trailers_dropped),
    cmocka_unit_test(methods_have_names),
    cmocka_unit_test(pipelined_requests_come_one_by_one),
    cmocka_unit_test(the_split_of_a_stream_never_shows),
    cmocka_unit_test(no_beginning_of_a_request_is_a_request),
    cmocka_unit_test(http_1_0_closes_unless_asked),
    cmocka_unit_test(gzip_is_accepted_only_where_it_is_named),
    cmocka_unit_test(targets_may_be_urls),
    cmocka_unit_test(a_path_may_hold_any_decoded_byte),
    cmocka_unit_test(a_bad_escape_in_the_query_is_remembered),
    cmocka_unit_test(a_body_of_tiny_chunks_is_whole),
    cmocka_unit_test(continue_is_wanted_once_and_only_before_the_body),
    cmocka_unit_test(continue_is_not_wanted_without_a_body_to_come),
    cmocka_unit_test(blank_lines_alone_leave_the_parser_idle),
    cmocka_unit_test(what_a_request_holds_stays_while_the_input_goes),
};

RUN_TESTS(tests)
