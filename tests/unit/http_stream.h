/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* http_stream - what the tests of the request parser share: feeding a stream
 * whole and in pieces, and expecting a refusal. */
#ifndef TESTS_HTTP_STREAM_H
#define TESTS_HTTP_STREAM_H

#include "http/request.h"

#include "test.h"

static const struct http_limits defaults;

/* A literal that may hold NUL. */
#define TEXT(s) ((struct bytes){s, sizeof(s) - 1})

#define POST_HEAD "POST / HTTP/1.1\r\nHost: a\r\n"
#define CHUNKED   POST_HEAD "Transfer-Encoding: chunked\r\n\r\n"

static inline struct http_in *in_new(const struct http_limits *limits)
{
    struct http_in *in = http_in_new(limits);

    assert_non_null(in);
    return in;
}

/* Feeds a whole request and gives it; the caller frees the parser. */
static inline struct http_request *request_of(struct http_in *in,
                                              struct bytes text)
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

static inline void log_request(struct buf *log, const struct http_request *r)
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
static inline void log_pieces(struct buf *log, const struct http_limits *limits,
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

static inline void same_in_two_pieces(struct bytes stream, size_t at,
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
static inline void same_for_every_split(struct bytes stream)
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
static inline void refuses(struct bytes stream, enum http_refusal want_refusal,
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

static inline void malformed(struct bytes stream, const char *want_part)
{
    refuses(stream, HTTP_REFUSED_MALFORMED, 400, want_part);
}

#endif
