/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "http/request.h"

#include <stdlib.h>

#include "base/check.h"
#include "http/chars.h"
#include "http/head.h"

enum {
    /* Method, target, version and blanks; a longer line is refused before its
     * end has come. */
    REQUEST_LINE_MAX = HTTP_METHOD_MAX + HTTP_TARGET_MAX + 16,
    CHUNK_SIZE_DIGITS_MAX = 16,
    FIRST_ALLOC_BYTES = 512, /* of a head or a body; doubled as bytes come */
};

/* Where within a request the next byte stands. */
enum step {
    STEP_HEAD,
    STEP_LENGTH, /* body of known length */
    STEP_CHUNK_SIZE,
    STEP_CHUNK_EXTENSION,
    STEP_CHUNK_SIZE_LF,
    STEP_CHUNK_DATA,
    STEP_CHUNK_DATA_CR,
    STEP_CHUNK_DATA_LF,
    STEP_TRAILER_START,
    STEP_TRAILER_NAME,
    STEP_TRAILER_VALUE,
    STEP_TRAILER_LF,
    STEP_END_LF,
};

/* Bytes that grow within the arena; what they grew out of stays there, at most
 * as much again. */
struct grown {
    char *p;
    size_t n, cap;
};

/* What exists only while a request comes in or is worked on; in the arena. */
struct work {
    struct http_request req;
    struct grown head, body;
    size_t line_at;     /* where in head the line begins */
    size_t lines;       /* header lines so far */
    bool has_line;      /* the request line is complete */
    uint64_t left;      /* bytes of the body or chunk still to come */
    size_t size_digits; /* of the chunk size */
    size_t overhead;    /* bytes of chunk extensions and trailers */
    struct errtext why;
};

struct http_in {
    const struct http_limits *limits;
    struct work *w; /* NULL while idle */
    struct arena arena;
    enum http_in_state state;
    enum step step;
    enum http_refusal refusal;
    bool wants_continue;
};

_Static_assert(sizeof(struct http_in) < 200, "an idle parser is small");

static size_t or_default(size_t limit, size_t otherwise)
{
    return limit ? limit : otherwise;
}

static size_t header_bytes_max(const struct http_in *in)
{
    return or_default(in->limits->header_bytes, HTTP_HEADER_BYTES_MAX);
}

static size_t header_lines_max(const struct http_in *in)
{
    return or_default(in->limits->header_lines, HTTP_HEADER_LINES_MAX);
}

static size_t body_bytes_max(const struct http_in *in)
{
    if (in->limits->large_path && in->w &&
        bytes_is(in->w->req.path, in->limits->large_path))
        return in->limits->large_bytes;
    return or_default(in->limits->body_bytes, HTTP_BODY_MAX_DEFAULT);
}

struct http_in *http_in_new(const struct http_limits *limits)
{
    struct http_in *in = calloc(1, sizeof *in);

    if (in)
        in->limits = limits;
    return in;
}

void http_in_free(struct http_in *in)
{
    if (!in)
        return;
    http_in_next(in);
    free(in);
}

void http_in_next(struct http_in *in)
{
    if (in->w)
        arena_fini(&in->arena);
    *in = (struct http_in){.limits = in->limits};
}

static void refuse(struct http_in *in, enum http_refusal refusal)
{
    in->state = HTTP_IN_REFUSED;
    in->refusal = refusal;
    in->wants_continue = false;
}

static void malformed(struct http_in *in, const char *what)
{
    errtext_set(&in->w->why, "400 Bad Request: %s", what);
    refuse(in, HTTP_REFUSED_MALFORMED);
}

static void too_many_header_bytes(struct http_in *in)
{
    errtext_set(&in->w->why,
                "request headers of more than %zu bytes, the limit",
                header_bytes_max(in));
    refuse(in, HTTP_REFUSED_HEADER);
}

static void body_too_large(struct http_in *in)
{
    errtext_set(&in->w->why, "request body of more than %zu bytes, the limit",
                body_bytes_max(in));
    refuse(in, HTTP_REFUSED_BODY);
}

static void nomem(struct http_in *in)
{
    errtext_set(&in->w->why, "out of memory for a request");
    refuse(in, HTTP_REFUSED_NOMEM);
}

/* Appends; never allocates more than max for the content. */
static bool grown_put(struct arena *a, struct grown *g, struct bytes b,
                      size_t max)
{
    if (g->cap - g->n < b.n) {
        size_t cap = g->cap ? g->cap * 2 : FIRST_ALLOC_BYTES;
        if (cap < g->n + b.n)
            cap = g->n + b.n;
        if (cap > max)
            cap = max;
        char *p = arena_alloc(a, cap);
        if (!p)
            return false;
        if (g->n)
            memcpy(p, g->p, g->n);
        g->p = p;
        g->cap = cap;
    }
    memcpy(g->p + g->n, b.p, b.n);
    g->n += b.n;
    return true;
}

/* Anything below a blank but tab, CR and LF; DEL. */
static bool control_byte(struct bytes b)
{
    for (size_t i = 0; i < b.n; i++) {
        unsigned char c = (unsigned char)b.p[i];
        if ((c < ' ' && c != '\t' && c != '\r' && c != '\n') || c == 0x7f)
            return true;
    }
    return false;
}

static void done(struct http_in *in)
{
    struct work *w = in->w;

    w->req.body = bytes_of(w->body.p, w->body.n);
    in->state = HTTP_IN_DONE;
    in->wants_continue = false;
}

/* The empty line has come. */
static void end_head(struct http_in *in)
{
    struct work *w = in->w;
    struct http_framing f;
    enum http_refusal refusal = http_head_parse(bytes_of(w->head.p, w->head.n),
                                                w->lines, &w->req, &f, &w->why);

    if (refusal != HTTP_REFUSED_NONE) {
        refuse(in, refusal);
    } else if (f.length > body_bytes_max(in)) {
        body_too_large(in);
    } else if (!f.chunked && f.length == 0) {
        done(in);
    } else {
        in->state = HTTP_IN_BODY;
        in->step = f.chunked ? STEP_CHUNK_SIZE : STEP_LENGTH;
        in->wants_continue = f.expects_continue;
        w->left = f.length;
    }
}

/* A line of the head is complete. */
static void end_line(struct http_in *in)
{
    struct work *w = in->w;
    struct bytes line =
        bytes_of(w->head.p + w->line_at, w->head.n - w->line_at - 1);

    if (line.n && line.p[line.n - 1] == '\r')
        line.n--;
    w->line_at = w->head.n;

    if (!w->has_line) {
        /* Read again with the rest of the head; looked at now, because who
         * speaks another protocol must hear so at once. */
        struct http_request ignored;
        enum http_refusal refusal = http_request_line(line, &ignored, &w->why);
        w->has_line = true;
        if (refusal != HTTP_REFUSED_NONE)
            refuse(in, refusal);
    } else if (line.n == 0) {
        end_head(in);
    } else if (line.p[0] == ' ' || line.p[0] == '\t') {
        malformed(in, "folded header line");
    } else if (++w->lines > header_lines_max(in)) {
        errtext_set(&w->why, "more than %zu request header lines, the limit",
                    header_lines_max(in));
        refuse(in, HTTP_REFUSED_HEADER);
    }
}

static void head_too_large(struct http_in *in)
{
    if (in->w->has_line || in->w->head.n >= header_bytes_max(in)) {
        too_many_header_bytes(in);
        return;
    }
    errtext_set(&in->w->why,
                "request line of more than %d bytes; its target may have %d",
                REQUEST_LINE_MAX, HTTP_TARGET_MAX);
    refuse(in, HTTP_REFUSED_TARGET);
}

/* Takes at most to the end of the line. Every check looks at a byte and what
 * came before it, never at where a read ended. */
static size_t take_head(struct http_in *in, struct bytes b)
{
    struct work *w = in->w;
    size_t n = bytes_find(b, '\n');
    bool whole = n < b.n;
    size_t room = header_bytes_max(in) - w->head.n;

    n += whole;
    if (!w->has_line && room > REQUEST_LINE_MAX - w->head.n)
        room = REQUEST_LINE_MAX - w->head.n;

    struct bytes part = bytes_head(b, n < room ? n : room);
    if (control_byte(part))
        malformed(in, "control byte in the request head");
    else if (!grown_put(&in->arena, &w->head, part, header_bytes_max(in)))
        nomem(in);
    else if (part.n < n)
        head_too_large(in);
    else if (whole)
        end_line(in);
    return n;
}

/* Body bytes, of a length or of a chunk; true when the last has come. */
static bool take_body(struct http_in *in, struct bytes b, size_t *ret_used)
{
    struct work *w = in->w;
    struct bytes part = bytes_head(b, w->left < b.n ? (size_t)w->left : b.n);

    size_t max = in->step == STEP_LENGTH ? w->body.n + (size_t)w->left
                                         : body_bytes_max(in);

    *ret_used = part.n;
    if (!grown_put(&in->arena, &w->body, part, max)) {
        nomem(in);
        return false;
    }
    w->left -= part.n;
    return w->left == 0;
}

static size_t take_length(struct http_in *in, struct bytes b)
{
    size_t used;

    if (take_body(in, b, &used))
        done(in);
    return used;
}

static size_t take_chunk_data(struct http_in *in, struct bytes b)
{
    size_t used;

    if (take_body(in, b, &used))
        in->step = STEP_CHUNK_DATA_CR;
    return used;
}

static void chunk_size_byte(struct http_in *in, char c)
{
    struct work *w = in->w;
    int digit = hex_digit(c);

    if (digit >= 0) {
        if (++w->size_digits > CHUNK_SIZE_DIGITS_MAX)
            malformed(in, "chunk size of more than 16 digits");
        w->left = w->left << 4 | (uint64_t)digit;
    } else if (w->size_digits == 0) {
        malformed(in, "chunk size is not a hexadecimal number");
    } else if (w->left > body_bytes_max(in) - w->body.n) {
        body_too_large(in);
    } else if (c == '\r') {
        in->step = STEP_CHUNK_SIZE_LF;
    } else if (c == ';') {
        in->step = STEP_CHUNK_EXTENSION;
    } else {
        malformed(in, "chunk size is followed by neither CRLF nor ';'");
    }
}

/* Bytes that are read and dropped: extensions and trailers. */
static void overhead_byte(struct http_in *in, char c, enum step after_cr)
{
    if (c == '\r')
        in->step = after_cr;
    else if (c == '\n' || control_byte(bytes_of(&c, 1)))
        malformed(in, "control byte in a chunk extension or trailer");
    else if (++in->w->overhead > header_bytes_max(in))
        too_many_header_bytes(in);
}

static void trailer_name_byte(struct http_in *in, char c)
{
    bool ends = c == ':' && in->step == STEP_TRAILER_NAME;

    if (!ends && !token_char(c)) {
        malformed(in, "malformed trailer name");
        return;
    }
    in->step = ends ? STEP_TRAILER_VALUE : STEP_TRAILER_NAME;
    overhead_byte(in, c, STEP_TRAILER_NAME);
}

static void expect(struct http_in *in, char c, char want, enum step next)
{
    if (c != want)
        malformed(in, "a chunk or trailer does not end in CRLF");
    in->step = next;
}

static void next_chunk(struct http_in *in)
{
    in->w->left = 0;
    in->w->size_digits = 0;
}

/* The framing of chunks, byte by byte: strict CRLF, because a reader in front
 * of us that is strict would see other requests than a lenient one. */
static void chunk_byte(struct http_in *in, char c)
{
    switch (in->step) {
    case STEP_CHUNK_SIZE:
        chunk_size_byte(in, c);
        break;
    case STEP_CHUNK_EXTENSION:
        overhead_byte(in, c, STEP_CHUNK_SIZE_LF);
        break;
    case STEP_CHUNK_SIZE_LF:
        expect(in, c, '\n', in->w->left ? STEP_CHUNK_DATA : STEP_TRAILER_START);
        break;
    case STEP_CHUNK_DATA_CR:
        expect(in, c, '\r', STEP_CHUNK_DATA_LF);
        break;
    case STEP_CHUNK_DATA_LF:
        next_chunk(in);
        expect(in, c, '\n', STEP_CHUNK_SIZE);
        break;
    case STEP_TRAILER_START:
        if (c == '\r')
            in->step = STEP_END_LF;
        else
            trailer_name_byte(in, c);
        break;
    case STEP_TRAILER_NAME:
        trailer_name_byte(in, c);
        break;
    case STEP_TRAILER_VALUE:
        overhead_byte(in, c, STEP_TRAILER_LF);
        break;
    case STEP_TRAILER_LF:
        expect(in, c, '\n', STEP_TRAILER_START);
        break;
    case STEP_END_LF:
        expect(in, c, '\n', STEP_END_LF);
        if (in->state == HTTP_IN_BODY)
            done(in);
        break;
    case STEP_HEAD:
    case STEP_LENGTH:
    case STEP_CHUNK_DATA:
        break;
    }
}

static size_t take_some(struct http_in *in, struct bytes b)
{
    switch (in->step) {
    case STEP_HEAD:
        return take_head(in, b);
    case STEP_LENGTH:
        return take_length(in, b);
    case STEP_CHUNK_DATA:
        return take_chunk_data(in, b);
    case STEP_CHUNK_SIZE:
    case STEP_CHUNK_EXTENSION:
    case STEP_CHUNK_SIZE_LF:
    case STEP_CHUNK_DATA_CR:
    case STEP_CHUNK_DATA_LF:
    case STEP_TRAILER_START:
    case STEP_TRAILER_NAME:
    case STEP_TRAILER_VALUE:
    case STEP_TRAILER_LF:
    case STEP_END_LF:
        break;
    }
    chunk_byte(in, b.p[0]);
    return 1;
}

/* Empty lines before a request are skipped (RFC 9112 2.2). */
static size_t begin(struct http_in *in, struct bytes b)
{
    size_t n = 0;

    while (n < b.n && (b.p[n] == '\r' || b.p[n] == '\n'))
        n++;
    if (n == b.n)
        return n;

    arena_init(&in->arena, 0);
    in->w = arena_zalloc(&in->arena, sizeof *in->w);
    if (!in->w) {
        refuse(in, HTTP_REFUSED_NOMEM);
        return n;
    }
    in->w->req.arena = &in->arena;
    in->state = HTTP_IN_HEAD;
    return n;
}

size_t http_in_feed(struct http_in *in, struct bytes b)
{
    size_t used = 0;

    if (in->state == HTTP_IN_IDLE)
        used = begin(in, b);
    while (used < b.n &&
           (in->state == HTTP_IN_HEAD || in->state == HTTP_IN_BODY)) {
        if (in->state == HTTP_IN_BODY)
            in->wants_continue = false; /* it comes without being asked for */
        used += take_some(in, bytes_skip(b, used));
    }
    return used;
}

enum http_in_state http_in_state(const struct http_in *in)
{
    return in->state;
}

struct http_request *http_in_request(struct http_in *in)
{
    require(in->state == HTTP_IN_DONE);
    return &in->w->req;
}

enum http_refusal http_in_refusal(const struct http_in *in, int *ret_status,
                                  const char **ret_text)
{
    static const int status[] = {
        [HTTP_REFUSED_NONE] = 200,     [HTTP_REFUSED_MALFORMED] = 400,
        [HTTP_REFUSED_HEADER] = 431,   [HTTP_REFUSED_TARGET] = 414,
        [HTTP_REFUSED_BODY] = 413,     [HTTP_REFUSED_VERSION] = 505,
        [HTTP_REFUSED_ENCODING] = 501, [HTTP_REFUSED_NOMEM] = 503,
    };

    *ret_status = status[in->refusal];
    *ret_text = in->w ? in->w->why.s : "out of memory for a request";
    return in->refusal;
}

bool http_in_wants_continue(struct http_in *in)
{
    bool wants = in->wants_continue;

    in->wants_continue = false;
    return wants;
}

struct bytes http_header(const struct http_request *r, const char *name)
{
    for (size_t i = 0; i < r->header_count; i++)
        if (bytes_eq_fold(r->headers[i].name, bytes_str(name)))
            return r->headers[i].value;
    return (struct bytes){NULL, 0};
}

const struct http_param *http_param(const struct http_request *r,
                                    const char *name)
{
    for (size_t i = 0; i < r->param_count; i++)
        if (bytes_is(r->params[i].name, name))
            return &r->params[i];
    return NULL;
}

struct bytes http_param_value(const struct http_request *r, const char *name)
{
    const struct http_param *p = http_param(r, name);

    return p ? p->value : (struct bytes){NULL, 0};
}
