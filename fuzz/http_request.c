/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* http_request - any split of a stream gives the same requests and the same
 * refusal, and what is accepted libhttp-parser reads alike.
 *
 * The first two bytes of the input choose the split. The second opinion counts
 * only where it is one: libhttp-parser knows other methods and other limits,
 * and is laxer everywhere, so it is asked about accepted requests of known
 * methods, and may refuse what its idea of a URL forbids. */
#include <stdio.h>
#include <stdlib.h>

#include "http/request.h"

/* Both name their methods HTTP_GET and so on. */
#define http_method  oracle_method
#define HTTP_GET     ORACLE_GET
#define HTTP_PUT     ORACLE_PUT
#define HTTP_POST    ORACLE_POST
#define HTTP_DELETE  ORACLE_DELETE
#define HTTP_HEAD    ORACLE_HEAD
#define HTTP_OPTIONS ORACLE_OPTIONS
#define HTTP_PATCH   ORACLE_PATCH
#include <http_parser.h>
#undef http_method
#undef HTTP_GET
#undef HTTP_PUT
#undef HTTP_POST
#undef HTTP_DELETE
#undef HTTP_HEAD
#undef HTTP_OPTIONS
#undef HTTP_PATCH

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Low, so that short inputs reach them. */
static const struct http_limits limits = {
    .header_bytes = 600, .header_lines = 12, .body_bytes = 64};

static void must(bool holds, const char *what, struct bytes a, struct bytes b)
{
    if (holds)
        return;
    fprintf(stderr, "http_request: %s\n--- one:\n%.*s\n--- other:\n%.*s\n",
            what, BYTES_ARG(a), BYTES_ARG(b));
    abort();
}

/* --- the log of a stream ------------------------------------------------- */

static void log_bytes(struct buf *log, const char *name, struct bytes v)
{
    buf_printf(log, " %s=%zu:", name, v.n);
    buf_put(log, v);
}

static void log_request(struct buf *log, const struct http_request *r)
{
    buf_printf(log, "request %d 1.0=%d keep=%d gzip=%d bad=%d", (int)r->method,
               r->http_1_0, r->keep_alive, r->accepts_gzip, r->query_bad);
    log_bytes(log, "method", r->method_name);
    log_bytes(log, "target", r->target);
    log_bytes(log, "raw_path", r->raw_path);
    log_bytes(log, "path", r->path);
    log_bytes(log, "raw_query", r->raw_query);
    for (size_t i = 0; i < r->param_count; i++) {
        log_bytes(log, "param", r->params[i].name);
        log_bytes(log, r->params[i].has_value ? "is" : "no",
                  r->params[i].value);
    }
    for (size_t i = 0; i < r->header_count; i++) {
        log_bytes(log, "header", r->headers[i].name);
        log_bytes(log, "is", r->headers[i].value);
    }
    log_bytes(log, "body", r->body);
    buf_putc(log, '\n');
}

static void log_end(struct buf *log, const struct http_in *in)
{
    int status = 0;
    const char *why = "";

    buf_printf(log, "state %d", (int)http_in_state(in));
    if (http_in_state(in) == HTTP_IN_REFUSED)
        buf_printf(log, " refusal %d", (int)http_in_refusal(in, &status, &why));
    buf_printf(log, " %d %s\n", status, why);
}

/* --- the second opinion -------------------------------------------------- */

struct opinion {
    struct buf target, body;
    bool done;
};

static int on_target(http_parser *p, const char *at, size_t n)
{
    buf_put_n(&((struct opinion *)p->data)->target, at, n);
    return 0;
}

static int on_body(http_parser *p, const char *at, size_t n)
{
    buf_put_n(&((struct opinion *)p->data)->body, at, n);
    return 0;
}

static int on_done(http_parser *p)
{
    ((struct opinion *)p->data)->done = true;
    http_parser_pause(p, 1);
    return 0;
}

static void ask(const struct http_request *r, struct bytes text)
{
    struct opinion o = {0};
    http_parser p;
    http_parser_settings settings;

    if (r->method == HTTP_OTHER)
        return;
    http_parser_settings_init(&settings);
    settings.on_url = on_target;
    settings.on_body = on_body;
    settings.on_message_complete = on_done;
    http_parser_init(&p, HTTP_REQUEST);
    p.data = &o;

    size_t used = http_parser_execute(&p, &settings, text.p, text.n);
    enum http_errno e = HTTP_PARSER_ERRNO(&p);
    /* It takes trailers for headers, "Content-Length: x" among them. */
    bool own_way = e == HPE_INVALID_CONTENT_LENGTH || e == HPE_INVALID_URL ||
                   e == HPE_INVALID_HOST || e == HPE_INVALID_PORT ||
                   e == HPE_INVALID_PATH ||
                   e == HPE_UNEXPECTED_CONTENT_LENGTH ||
                   e == HPE_INVALID_TRANSFER_ENCODING;
    if (!own_way) {
        must(o.done, http_errno_name(e), text, bytes_of(text.p, used));
        /* It stops at the last byte, or behind it. */
        must(used + 1 >= text.n, "end", text, bytes_of(text.p, used));
        must(bytes_eq(buf_bytes(&o.target), r->target), "target", r->target,
             buf_bytes(&o.target));
        must(bytes_eq(buf_bytes(&o.body), r->body), "body", r->body,
             buf_bytes(&o.body));
    }
    buf_fini(&o.target);
    buf_fini(&o.body);
}

/* --- the property -------------------------------------------------------- */

/* Pieces of the stream: whole, single bytes, or chosen by seed. */
enum split { WHOLE, SINGLE, CHOSEN };

static size_t piece(enum split split, uint32_t *seed, size_t left)
{
    switch (split) {
    case WHOLE:
        return left;
    case SINGLE:
        return 1;
    case CHOSEN:
        break;
    }
    *seed = *seed * 1664525 + 1013904223;
    size_t n = 1 + (*seed >> 16) % 23;
    return n < left ? n : left;
}

/* Each piece is a copy of its own, so that AddressSanitizer sees a view that
 * outlives it. */
static size_t feed_copy(struct http_in *in, struct bytes b)
{
    char *copy = malloc(b.n);

    if (!copy)
        abort();
    memcpy(copy, b.p, b.n);
    size_t used = http_in_feed(in, bytes_of(copy, b.n));
    free(copy);
    return used;
}

static void run(struct bytes stream, enum split split, uint32_t seed,
                struct buf *log)
{
    struct http_in *in = http_in_new(&limits);
    size_t at = 0;
    size_t begun = 0;

    while (at < stream.n && http_in_state(in) != HTTP_IN_REFUSED) {
        size_t n = piece(split, &seed, stream.n - at);
        size_t used = feed_copy(in, bytes_of(stream.p + at, n));
        enum http_in_state s = http_in_state(in);
        at += used;
        must(used == n || s == HTTP_IN_DONE || s == HTTP_IN_REFUSED,
             "bytes left without a reason", stream, bytes_skip(stream, at));
        if (s != HTTP_IN_DONE)
            continue;
        log_request(log, http_in_request(in));
        if (split == WHOLE)
            ask(http_in_request(in), bytes_of(stream.p + begun, at - begun));
        http_in_next(in);
        begun = at;
    }
    log_end(log, in);
    http_in_free(in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct buf whole = {0};
    struct buf other = {0};

    if (n < 2)
        return 0;

    struct bytes stream = bytes_of(data + 2, n - 2);
    run(stream, WHOLE, 0, &whole);
    for (enum split split = SINGLE; split <= CHOSEN; split++) {
        buf_reset(&other);
        run(stream, split, (uint32_t)data[0] << 8 | data[1], &other);
        must(bytes_eq(buf_bytes(&whole), buf_bytes(&other)), "split",
             buf_bytes(&whole), buf_bytes(&other));
    }
    buf_fini(&whole);
    buf_fini(&other);
    return 0;
}
