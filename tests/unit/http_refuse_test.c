/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "http_stream.h"

static void malformed_request_lines_are_refused(void **state)
{
    (void)state;
    malformed(TEXT("GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n"), "percent escape");
    malformed(TEXT("GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n"), "percent escape");
    malformed(TEXT("hello\r\n"), "HTTP version");
    malformed(TEXT("GET /\r\n"), "HTTP version");
    malformed(TEXT("GET  / HTTP/1.1\r\n"), "HTTP version");
    malformed(TEXT("GET / HTTP/1.1 \r\n"), "HTTP version");
    malformed(TEXT("GET / HTTP/1.10\r\n"), "HTTP version");
    malformed(TEXT("GET / http/1.1\r\n"), "HTTP version");
    malformed(TEXT(" GET / HTTP/1.1\r\n"), "method");
    malformed(TEXT("G[T / HTTP/1.1\r\n"), "method");
    malformed(TEXT("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\n"),
              "method");
    malformed(TEXT("GET\t/ HTTP/1.1\r\n"), "method");
    malformed(TEXT("GET /\ta HTTP/1.1\r\n"), "tab");
    malformed(TEXT("GET /a\rb HTTP/1.1\r\n"), "control byte");
    malformed(TEXT("GET a HTTP/1.1\r\nHost: a\r\n\r\n"), "path or a URL");
    malformed(TEXT("GET * HTTP/1.1\r\nHost: a\r\n\r\n"), "path or a URL");
    malformed(TEXT("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"), "path or a URL");
    refuses(TEXT("GET / HTTP/2.0\r\n"), HTTP_REFUSED_VERSION, 505, "2.0");
    refuses(TEXT("PRI * HTTP/2.0\r\n"), HTTP_REFUSED_VERSION, 505, "use 1.1");
}

static void malformed_headers_are_refused(void **state)
{
    (void)state;
    malformed(TEXT("GET / HTTP/1.1\r\n\r\n"), "missing required Host");
    malformed(TEXT("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"),
              "more than one Host");
    malformed(TEXT("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
              "more than one Host");
    malformed(TEXT("GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"), "colon");
    malformed(TEXT("GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n"), "header name");
    malformed(TEXT("GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n"),
              "header name");
    malformed(TEXT("GET / HTTP/1.1\r\nHost: a\r\nX\xc3\xa9: y\r\n\r\n"),
              "header name");
    malformed(TEXT("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n"),
              "folded");
    malformed(TEXT("GET / HTTP/1.1\r\n\tHost: a\r\n\r\n"), "folded");
    malformed(TEXT("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n"), "CR");
    malformed(TEXT("GET / HTTP/1.1\r\nHost: a\r\n\r\r\n\r\n"), "colon");
}

static void control_bytes_in_the_head_are_refused(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        char text[] = "GET / HTTP/1.1\r\nHost: a\r\nX: a?b\r\n\r\n";
        bool fine = (c >= ' ' && c != 0x7f) || c == '\t';
        if (c == '\r' || c == '\n')
            continue;
        struct http_in *in = in_new(&defaults);
        *strchr(text, '?') = (char)c;
        (void)http_in_feed(in, bytes_of(text, sizeof text - 1));
        assert_int_equal(http_in_state(in),
                         fine ? HTTP_IN_DONE : HTTP_IN_REFUSED);
        http_in_free(in);
    }
    malformed(TEXT("\x16\x03\x01\x02\x00\x01"), "control byte"); /* TLS */
    malformed(TEXT("GET /\0 HTTP/1.1\r\n"), "control byte");
}

static void requests_that_could_be_smuggled_are_refused(void **state)
{
    (void)state;
    malformed(TEXT(POST_HEAD "Content-Length: 3\r\nContent-Length: 3\r\n\r\n"),
              "more than one Content-Length");
    malformed(TEXT(POST_HEAD "Content-Length: 3, 3\r\n\r\n"), "not a number");
    malformed(TEXT(POST_HEAD "Content-Length: +3\r\n\r\n"), "not a number");
    malformed(TEXT(POST_HEAD "Content-Length: -3\r\n\r\n"), "not a number");
    malformed(TEXT(POST_HEAD "Content-Length: 0x3\r\n\r\n"), "not a number");
    malformed(TEXT(POST_HEAD "Content-Length: \r\n\r\n"), "not a number");
    malformed(TEXT(POST_HEAD "Content-Length: 3 3\r\n\r\n"), "not a number");
    malformed(TEXT(POST_HEAD "Content-Length: 3\r\n"
                             "Transfer-Encoding: chunked\r\n\r\n"),
              "beside Transfer-Encoding");
    malformed(TEXT(POST_HEAD "Transfer-Encoding: chunked\r\n"
                             "Content-Length: 0\r\n\r\n"),
              "beside Transfer-Encoding");
    malformed(TEXT("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
              "HTTP/1.0");
    static const char *const encodings[] = {
        "gzip", "gzip, chunked", "chunked, chunked", "identity", "xchunked",
        "",     "chunked;a=b",   "\"chunked\"",
    };
    for (size_t i = 0; i < sizeof encodings / sizeof encodings[0]; i++) {
        struct buf b = {0};
        buf_printf(&b, POST_HEAD "Transfer-Encoding: %s\r\n\r\n", encodings[i]);
        refuses(buf_bytes(&b), HTTP_REFUSED_ENCODING, 501, "chunked");
        buf_fini(&b);
    }
    refuses(TEXT(POST_HEAD "Transfer-Encoding: chunked\r\n"
                           "Transfer-Encoding: chunked\r\n\r\n"),
            HTTP_REFUSED_ENCODING, 501, "chunked");
}

static void malformed_chunks_are_refused(void **state)
{
    (void)state;
    malformed(TEXT(CHUNKED "\r\n"), "hexadecimal");
    malformed(TEXT(CHUNKED "-1\r\n"), "hexadecimal");
    malformed(TEXT(CHUNKED "0x1\r\n"), "neither");
    malformed(TEXT(CHUNKED " 1\r\n"), "hexadecimal");
    malformed(TEXT(CHUNKED "1 \r\n"), "neither");
    malformed(TEXT(CHUNKED "1\n"), "neither");
    malformed(TEXT(CHUNKED "1\rX"), "CRLF");
    malformed(TEXT(CHUNKED "1;a\nb\r\n"), "control byte");
    malformed(TEXT(CHUNKED "1;a\0b\r\n"), "control byte");
    malformed(TEXT(CHUNKED "1\r\nabc"), "CRLF");
    malformed(TEXT(CHUNKED "1\r\na\n"), "CRLF");
    malformed(TEXT(CHUNKED "1\r\na\rb"), "CRLF");
    malformed(TEXT(CHUNKED "0\r\n\n"), "trailer name");
    malformed(TEXT(CHUNKED "0\r\n: x\r\n"), "trailer name");
    malformed(TEXT(CHUNKED "0\r\nT : x\r\n"), "trailer name");
    malformed(TEXT(CHUNKED "0\r\nT\r\n"), "trailer name");
    malformed(TEXT(CHUNKED "0\r\nT: x\r\n y\r\n"), "trailer name");
    malformed(TEXT(CHUNKED "0\r\n\rX"), "CRLF");
    malformed(TEXT(CHUNKED "0\r\nT: u\n\r\n"), "control byte");
    malformed(TEXT(CHUNKED "00000000000000001\r\n"), "16 digits");
    refuses(TEXT(CHUNKED "ffffffffffffffff\r\n"), HTTP_REFUSED_BODY, 413,
            "1048576");
}

static void put_repeated(struct buf *b, const char *s, size_t times)
{
    while (times--)
        buf_puts(b, s);
}

/* Each limit at its value passes, one more is refused; the rest of a flood is
 * not even looked at. */
static void header_lines_are_counted(void **state)
{
    (void)state;
    static const size_t counts[] = {HTTP_HEADER_LINES_MAX,
                                    HTTP_HEADER_LINES_MAX + 1, 10000};

    for (size_t i = 0; i < 3; i++) {
        struct http_in *in = in_new(&defaults);
        struct buf b = {0};
        int status;
        const char *why;
        buf_puts(&b, "GET / HTTP/1.1\r\nHost: a\r\n");
        put_repeated(&b, "A: b\r\n", counts[i] - 1);
        buf_puts(&b, "\r\n");
        size_t used = http_in_feed(in, buf_bytes(&b));
        if (i == 0) {
            assert_int_equal(http_in_state(in), HTTP_IN_DONE);
            assert_int_equal(http_in_request(in)->header_count, counts[i]);
        } else {
            assert_int_equal(http_in_refusal(in, &status, &why),
                             HTTP_REFUSED_HEADER);
            assert_int_equal(status, 431);
            assert_non_null(strstr(why, "100"));
            assert_true(used < 1000);
        }
        buf_fini(&b);
        http_in_free(in);
    }
}

static enum http_refusal refusal_of(const struct http_limits *limits,
                                    struct bytes text)
{
    struct http_in *in = in_new(limits);
    int status;
    const char *why;

    (void)http_in_feed(in, text);
    enum http_refusal r = http_in_refusal(in, &status, &why);
    assert_true(http_in_state(in) == HTTP_IN_REFUSED || r == HTTP_REFUSED_NONE);
    http_in_free(in);
    return r;
}

static void header_bytes_are_counted(void **state)
{
    (void)state;
    struct bytes text = TEXT("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    struct http_limits limits = {.header_bytes = text.n};

    assert_int_equal(refusal_of(&limits, text), HTTP_REFUSED_NONE);
    for (size_t n = 1; n < text.n; n++) {
        limits.header_bytes = n;
        assert_int_equal(refusal_of(&limits, text), HTTP_REFUSED_HEADER);
    }
}

static void a_line_without_end_is_refused(void **state)
{
    (void)state;
    struct buf b = {0};

    put_repeated(&b, "A", 100000);
    assert_int_equal(refusal_of(&defaults, buf_bytes(&b)), HTTP_REFUSED_TARGET);
    buf_reset(&b);
    buf_puts(&b, "GET / HTTP/1.1\r\nHost: ");
    put_repeated(&b, "a", 100000);
    assert_int_equal(refusal_of(&defaults, buf_bytes(&b)), HTTP_REFUSED_HEADER);
    buf_fini(&b);
}

static void long_targets_are_refused(void **state)
{
    (void)state;
    for (size_t n = HTTP_TARGET_MAX - 1; n <= HTTP_TARGET_MAX + 1; n++) {
        struct buf b = {0};
        buf_puts(&b, "GET /");
        put_repeated(&b, "a", n - 1);
        buf_puts(&b, " HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_int_equal(refusal_of(&defaults, buf_bytes(&b)),
                         n > HTTP_TARGET_MAX ? HTTP_REFUSED_TARGET
                                             : HTTP_REFUSED_NONE);
        buf_fini(&b);
    }
}

static void query_parameters_are_counted(void **state)
{
    (void)state;
    for (size_t n = HTTP_QUERY_PARAMS_MAX; n <= HTTP_QUERY_PARAMS_MAX + 1;
         n++) {
        struct buf b = {0};
        buf_puts(&b, "GET /?a");
        put_repeated(&b, "&a", n - 1);
        buf_puts(&b, " HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_int_equal(refusal_of(&defaults, buf_bytes(&b)),
                         n > HTTP_QUERY_PARAMS_MAX ? HTTP_REFUSED_TARGET
                                                   : HTTP_REFUSED_NONE);
        buf_fini(&b);
    }
}

static void large_bodies_are_refused_before_they_come(void **state)
{
    (void)state;
    struct http_limits limits = {.body_bytes = 10};

    assert_int_equal(
        refusal_of(&limits, TEXT(POST_HEAD "Content-Length: 10\r\n\r\n"
                                           "0123456789")),
        HTTP_REFUSED_NONE);
    assert_int_equal(
        refusal_of(&limits, TEXT(POST_HEAD "Content-Length: 11\r\n\r\n")),
        HTTP_REFUSED_BODY);
    assert_int_equal(
        refusal_of(&limits, TEXT(POST_HEAD "Content-Length: "
                                           "99999999999999999999999\r\n\r\n")),
        HTTP_REFUSED_BODY);
    assert_int_equal(refusal_of(&limits, TEXT(CHUNKED "a\r\n0123456789\r\n"
                                                      "0\r\n\r\n")),
                     HTTP_REFUSED_NONE);
    assert_int_equal(refusal_of(&limits, TEXT(CHUNKED "b\r\n")),
                     HTTP_REFUSED_BODY);
    assert_int_equal(
        refusal_of(&limits, TEXT(CHUNKED "9\r\n012345678\r\n2\r\n")),
        HTTP_REFUSED_BODY);
}

static void chunk_overhead_is_bounded(void **state)
{
    (void)state;
    struct buf b = {0};

    buf_puts(&b, CHUNKED);
    for (int i = 0; i < 200; i++) {
        buf_puts(&b, "1;");
        put_repeated(&b, "x", 100);
        buf_puts(&b, "\r\na\r\n");
    }
    assert_int_equal(refusal_of(&defaults, buf_bytes(&b)), HTTP_REFUSED_HEADER);
    buf_reset(&b);
    buf_puts(&b, CHUNKED "0\r\n");
    put_repeated(&b, "Trailer: x\r\n", 10000);
    assert_int_equal(refusal_of(&defaults, buf_bytes(&b)), HTTP_REFUSED_HEADER);
    buf_fini(&b);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(malformed_request_lines_are_refused),
    cmocka_unit_test(malformed_headers_are_refused),
    cmocka_unit_test(control_bytes_in_the_head_are_refused),
    cmocka_unit_test(requests_that_could_be_smuggled_are_refused),
    cmocka_unit_test(malformed_chunks_are_refused),
    cmocka_unit_test(header_lines_are_counted),
    cmocka_unit_test(header_bytes_are_counted),
    cmocka_unit_test(a_line_without_end_is_refused),
    cmocka_unit_test(long_targets_are_refused),
    cmocka_unit_test(query_parameters_are_counted),
    cmocka_unit_test(large_bodies_are_refused_before_they_come),
    cmocka_unit_test(chunk_overhead_is_bounded),
};

RUN_TESTS(tests)
