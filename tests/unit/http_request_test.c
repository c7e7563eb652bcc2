/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "http/request.h"

#include "test.h"

static const struct http_limits defaults;

/* A literal that may hold NUL. */
#define TEXT(s) ((struct bytes){s, sizeof(s) - 1})

static struct http_in *in_new(const struct http_limits *limits)
{
    struct http_in *in = http_in_new(limits);

    assert_non_null(in);
    return in;
}

/* Feeds a whole request and gives it; the caller frees the parser. */
static struct http_request *request_of(struct http_in *in, struct bytes text)
{
    size_t used = http_in_feed(in, text);

    if (http_in_state(in) == HTTP_IN_REFUSED) {
        int status;
        const char *why;
        (void)http_in_refusal(in, &status, &why);
        fail_msg("refused with %d: %s", status, why);
    }
    assert_int_equal(http_in_state(in), HTTP_IN_DONE);
    assert_int_equal(used, text.n);
    return http_in_request(in);
}

static void log_request(struct buf *log, const struct http_request *r)
{
    buf_printf(log, "%d %.*s path=", (int)r->method, BYTES_ARG(r->method_name));
    buf_put(log, r->path);
    for (size_t i = 0; i < r->param_count; i++)
        buf_printf(log, " ?%.*s=%.*s", BYTES_ARG(r->params[i].name),
                   BYTES_ARG(r->params[i].value));
    for (size_t i = 0; i < r->header_count; i++)
        buf_printf(log, " %.*s:%.*s", BYTES_ARG(r->headers[i].name),
                   BYTES_ARG(r->headers[i].value));
    buf_printf(log, " 1.0=%d keep=%d gzip=%d body=", r->http_1_0, r->keep_alive,
               r->accepts_gzip);
    buf_put(log, r->body);
    buf_putc(log, '\n');
}

/* Every request and the refusal in a stream that comes in the given pieces, and
 * the state it ends in. */
static void log_pieces(struct buf *log, const struct http_limits *limits,
                       const struct bytes *pieces, size_t count)
{
    struct http_in *in = in_new(limits);
    int status;
    const char *why;

    for (size_t i = 0; i < count; i++) {
        struct bytes rest = pieces[i];
        while (rest.n && http_in_state(in) != HTTP_IN_REFUSED) {
            rest = bytes_skip(rest, http_in_feed(in, rest));
            if (http_in_state(in) != HTTP_IN_DONE)
                continue;
            log_request(log, http_in_request(in));
            http_in_next(in);
        }
    }
    if (http_in_state(in) == HTTP_IN_REFUSED) {
        enum http_refusal r = http_in_refusal(in, &status, &why);
        buf_printf(log, "refused %d %d %s\n", (int)r, status, why);
    }
    buf_printf(log, "state %d\n", (int)http_in_state(in));
    http_in_free(in);
}

static void same_in_two_pieces(struct bytes stream, size_t at,
                               struct bytes want)
{
    struct bytes pieces[2] = {bytes_head(stream, at), bytes_skip(stream, at)};
    struct buf got = {0};

    log_pieces(&got, &defaults, pieces, 2);
    if (!bytes_eq(buf_bytes(&got), want))
        fail_msg("cut at %zu: got \"%.*s\", want \"%.*s\"", at,
                 BYTES_ARG(buf_bytes(&got)), BYTES_ARG(want));
    buf_fini(&got);
}

/* In one piece, cut at each byte, and byte by byte: always the same. */
static void same_for_every_split(struct bytes stream)
{
    struct buf want = {0};
    struct buf got = {0};
    struct bytes *single = calloc(stream.n + 1, sizeof *single);

    log_pieces(&want, &defaults, &stream, 1);
    for (size_t at = 1; at < stream.n; at++)
        same_in_two_pieces(stream, at, buf_bytes(&want));
    for (size_t i = 0; i < stream.n; i++)
        single[i] = bytes_of(stream.p + i, 1);
    log_pieces(&got, &defaults, single, stream.n);
    assert_true(bytes_eq(buf_bytes(&got), buf_bytes(&want)));
    free(single);
    buf_fini(&got);
    buf_fini(&want);
}

/* The parser refuses that stream so, and however it is cut. */
static void refuses(struct bytes stream, enum http_refusal want_refusal,
                    int want_status, const char *want_part)
{
    struct http_in *in = in_new(&defaults);
    int status;
    const char *why;

    (void)http_in_feed(in, stream);
    if (http_in_state(in) != HTTP_IN_REFUSED)
        fail_msg("not refused: \"%.*s\"", BYTES_ARG(stream));
    enum http_refusal r = http_in_refusal(in, &status, &why);
    if (r != want_refusal || status != want_status || !strstr(why, want_part))
        fail_msg("\"%.*s\" refused with %d \"%s\", want %d \"%s\"",
                 BYTES_ARG(stream), status, why, want_status, want_part);
    http_in_free(in);
    if (stream.n < 400)
        same_for_every_split(stream);
}

static void malformed(struct bytes stream, const char *want_part)
{
    refuses(stream, HTTP_REFUSED_MALFORMED, 400, want_part);
}

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
#define POST_HEAD "POST / HTTP/1.1\r\nHost: a\r\n"
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
#define CHUNKED POST_HEAD "Transfer-Encoding: chunked\r\n\r\n"
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
    cmocka_unit_test(a_body_of_tiny_chunks_is_whole),
    cmocka_unit_test(continue_is_wanted_once_and_only_before_the_body),
    cmocka_unit_test(continue_is_not_wanted_without_a_body_to_come),
    cmocka_unit_test(blank_lines_alone_leave_the_parser_idle),
    cmocka_unit_test(what_a_request_holds_stays_while_the_input_goes),
};

RUN_TESTS(tests)
