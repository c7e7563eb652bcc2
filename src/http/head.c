/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "http/head.h"

#include "http/chars.h"

static const struct {
    const char *name;
    enum http_method method;
} methods[] = {
    {"GET", HTTP_GET},       {"PUT", HTTP_PUT},   {"POST", HTTP_POST},
    {"DELETE", HTTP_DELETE}, {"HEAD", HTTP_HEAD}, {"OPTIONS", HTTP_OPTIONS},
    {"PATCH", HTTP_PATCH},
};

const char *http_method_name(enum http_method m)
{
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (methods[i].method == m)
            return methods[i].name;
    return "?";
}

static enum http_method method_of(struct bytes name)
{
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (bytes_is(name, methods[i].name))
            return methods[i].method;
    return HTTP_OTHER;
}

static bool token(struct bytes b)
{
    for (size_t i = 0; i < b.n; i++)
        if (!token_char(b.p[i]))
            return false;
    return b.n > 0;
}

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct bytes trim(struct bytes b)
{
    while (b.n && blank(b.p[0]))
        b = bytes_skip(b, 1);
    while (b.n && blank(b.p[b.n - 1]))
        b.n--;
    return b;
}

/* Takes the next item off a comma- or otherwise separated list. */
static struct bytes take_item(struct bytes *list, char separator)
{
    size_t n = bytes_find(*list, separator);
    struct bytes item = trim(bytes_head(*list, n));

    *list = bytes_skip(*list, n + 1);
    return item;
}

/* Takes a line off text, which holds a whole one; its end is not part of it. */
static struct bytes take_line(struct bytes *text)
{
    size_t n = bytes_find(*text, '\n');
    struct bytes line = bytes_head(*text, n);

    *text = bytes_skip(*text, n + 1);
    if (line.n && line.p[line.n - 1] == '\r')
        line.n--;
    return line;
}

static enum http_refusal malformed(struct errtext *t, const char *what)
{
    errtext_set(t, "400 Bad Request: %s", what);
    return HTTP_REFUSED_MALFORMED;
}

static enum http_refusal nomem(struct errtext *t)
{
    errtext_set(t, "out of memory for a request");
    return HTTP_REFUSED_NOMEM;
}

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

/* 1.0 and 1.1 are spoken; a later 1.x may be answered as 1.1 (RFC 9110 2.5). */
static enum http_refusal version(struct bytes v, struct http_request *r,
                                 struct errtext *t)
{
    if (v.n != 8 || memcmp(v.p, "HTTP/", 5) != 0 || !digit(v.p[5]) ||
        v.p[6] != '.' || !digit(v.p[7]))
        return malformed(t, "malformed HTTP version in the request line");
    if (v.p[5] != '1') {
        errtext_set(t, "HTTP version %.3s is not supported, use 1.1", v.p + 5);
        return HTTP_REFUSED_VERSION;
    }
    r->http_1_0 = v.p[7] == '0';
    return HTTP_REFUSED_NONE;
}

enum http_refusal http_request_line(struct bytes line, struct http_request *r,
                                    struct errtext *t)
{
    size_t n = bytes_find(line, ' ');

    r->method_name = bytes_head(line, n);
    if (!token(r->method_name) || n > HTTP_METHOD_MAX)
        return malformed(t, "malformed method in the request line");
    r->method = method_of(r->method_name);

    line = bytes_skip(line, n + 1);
    n = bytes_find(line, ' ');
    r->target = bytes_head(line, n);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)r->target.p[i] <= ' ')
            return malformed(t, "control byte or tab in the request target");
    if (n > HTTP_TARGET_MAX) {
        errtext_set(t, "request target of %zu bytes, at most %d are allowed", n,
                    HTTP_TARGET_MAX);
        return HTTP_REFUSED_TARGET;
    }
    return version(bytes_skip(line, n + 1), r, t);
}

/* What follows "http://host" in an absolute target; {NULL, 0} if it is none. */
static struct bytes after_authority(struct bytes target)
{
    static const char *const schemes[] = {"http://", "https://"};

    for (size_t i = 0; i < 2; i++) {
        size_t n = strlen(schemes[i]);
        if (!bytes_eq_fold(bytes_head(target, n), bytes_str(schemes[i])))
            continue;
        while (n < target.n && target.p[n] != '/' && target.p[n] != '?')
            n++;
        return bytes_of(target.p + n, target.n - n);
    }
    return (struct bytes){NULL, 0};
}

/* Origin form, absolute form, or "*" with OPTIONS (RFC 9112 3.2). */
static enum http_refusal split_target(struct http_request *r, struct errtext *t)
{
    struct bytes rest = r->target;

    if (!bytes_starts(rest, bytes_str("/")) &&
        !(bytes_is(rest, "*") && r->method == HTTP_OPTIONS)) {
        rest = after_authority(rest);
        if (!rest.p)
            return malformed(t, "the request target is not a path or a URL");
    }

    size_t n = bytes_find(rest, '?');
    r->raw_path = bytes_head(rest, n);
    r->raw_query = bytes_skip(rest, n + 1);
    if (!r->raw_path.n)
        r->raw_path = bytes_str("/");

    switch (http_decode(r->arena, r->raw_path, false, &r->path)) {
    case ERR_OK:
        return HTTP_REFUSED_NONE;
    case ERR_NOMEM:
        return nomem(t);
    default:
        return malformed(t, "malformed percent escape in the path");
    }
}

/* A malformed pair is left out and remembered, as Go's parser does. */
static enum err add_param(struct http_request *r, struct bytes pair)
{
    struct http_param *p = &r->params[r->param_count];
    size_t n = bytes_find(pair, '=');

    p->has_value = n < pair.n;
    enum err e = http_decode(r->arena, bytes_head(pair, n), true, &p->name);
    if (e == ERR_OK)
        e = http_decode(r->arena, bytes_skip(pair, n + 1), true, &p->value);
    if (e == ERR_OK)
        r->param_count++;
    else if (e == ERR_BAD)
        r->query_bad = true;
    return e == ERR_NOMEM ? ERR_NOMEM : ERR_OK;
}

static enum http_refusal split_query(struct http_request *r, struct errtext *t)
{
    struct bytes rest = r->raw_query;
    size_t pairs = 0;

    if (!rest.n)
        return HTTP_REFUSED_NONE;
    for (size_t i = 0; i < rest.n; i++)
        pairs += rest.p[i] == '&';
    pairs++;
    if (pairs > HTTP_QUERY_PARAMS_MAX) {
        errtext_set(t, "%zu query parameters, at most %d are allowed", pairs,
                    HTTP_QUERY_PARAMS_MAX);
        return HTTP_REFUSED_TARGET;
    }

    r->params = arena_alloc(r->arena, pairs * sizeof *r->params);
    if (!r->params)
        return nomem(t);
    while (rest.n) {
        size_t n = bytes_find(rest, '&');
        if (n && add_param(r, bytes_head(rest, n)) != ERR_OK)
            return nomem(t);
        rest = bytes_skip(rest, n + 1);
    }
    return HTTP_REFUSED_NONE;
}

static enum http_refusal header_line(struct bytes line, struct http_header *h,
                                     struct errtext *t)
{
    size_t n = bytes_find(line, ':');

    h->name = bytes_head(line, n);
    h->value = trim(bytes_skip(line, n + 1));
    if (n == line.n)
        return malformed(t, "header line without a colon");
    if (!token(h->name))
        return malformed(t, "malformed header name");
    if (bytes_find(h->value, '\r') < h->value.n)
        return malformed(t, "CR within a header line");
    return HTTP_REFUSED_NONE;
}

/* Header counts and values that decide about framing. */
struct seen {
    size_t hosts, lengths, encodings;
    struct bytes length, encoding;
    bool close, keep_alive;
};

/* Qvalues (RFC 9110 12.4.2): "q=0", "q=0.000" mean never. */
static bool gzip_wanted(struct bytes value)
{
    while (value.n) {
        struct bytes item = take_item(&value, ',');
        if (!bytes_eq_fold(take_item(&item, ';'), bytes_str("gzip")))
            continue;
        struct bytes q = take_item(&item, ';');
        if (!bytes_eq_fold(bytes_head(q, 2), bytes_str("q=")))
            return true;
        for (size_t i = 2; i < q.n; i++)
            if (q.p[i] >= '1' && q.p[i] <= '9')
                return true;
        return false;
    }
    return false;
}

static void note_connection(struct seen *s, struct bytes value)
{
    while (value.n) {
        struct bytes item = take_item(&value, ',');
        if (bytes_eq_fold(item, bytes_str("close")))
            s->close = true;
        else if (bytes_eq_fold(item, bytes_str("keep-alive")))
            s->keep_alive = true;
    }
}

static bool name_is(const struct http_header *h, const char *name)
{
    return bytes_eq_fold(h->name, bytes_str(name));
}

static void note_header(struct seen *s, const struct http_header *h,
                        struct http_request *r, struct http_framing *f)
{
    if (name_is(h, "Host")) {
        s->hosts++;
    } else if (name_is(h, "Content-Length")) {
        s->lengths++;
        s->length = h->value;
    } else if (name_is(h, "Transfer-Encoding")) {
        s->encodings++;
        s->encoding = h->value;
    } else if (name_is(h, "Connection")) {
        note_connection(s, h->value);
    } else if (name_is(h, "Accept-Encoding")) {
        r->accepts_gzip = r->accepts_gzip || gzip_wanted(h->value);
    } else if (name_is(h, "Expect")) {
        f->expects_continue =
            bytes_eq_fold(h->value, bytes_str("100-continue"));
    }
}

static enum http_refusal
content_length(const struct seen *s, struct http_framing *f, struct errtext *t)
{
    if (s->lengths > 1)
        return malformed(t, "more than one Content-Length");
    if (s->lengths == 0)
        return HTTP_REFUSED_NONE;

    switch (bytes_u64(s->length, &f->length)) {
    case ERR_OK:
        break;
    case ERR_LIMIT: /* a number, too large for us: as any too large body */
        f->length = UINT64_MAX;
        break;
    default:
        return malformed(t, "Content-Length is not a number");
    }
    return HTTP_REFUSED_NONE;
}

static enum http_refusal transfer_encoding(const struct seen *s,
                                           const struct http_request *r,
                                           struct http_framing *f,
                                           struct errtext *t)
{
    if (s->encodings == 0)
        return HTTP_REFUSED_NONE;
    if (s->lengths)
        return malformed(t, "Content-Length beside Transfer-Encoding");
    if (r->http_1_0)
        return malformed(t, "Transfer-Encoding in an HTTP/1.0 request");
    if (s->encodings > 1 || !bytes_eq_fold(s->encoding, bytes_str("chunked"))) {
        errtext_set(t, "Transfer-Encoding is not exactly \"chunked\", the only "
                       "one supported");
        return HTTP_REFUSED_ENCODING;
    }
    f->chunked = true;
    return HTTP_REFUSED_NONE;
}

static enum http_refusal framing(const struct seen *s, struct http_request *r,
                                 struct http_framing *f, struct errtext *t)
{
    enum http_refusal refusal;

    if (s->hosts > 1)
        return malformed(t, "more than one Host header");
    if (s->hosts == 0 && !r->http_1_0)
        return malformed(t, "missing required Host header");

    refusal = content_length(s, f, t);
    if (refusal == HTTP_REFUSED_NONE)
        refusal = transfer_encoding(s, r, f, t);

    r->keep_alive = !s->close && (!r->http_1_0 || s->keep_alive);
    if (r->http_1_0 || (!f->chunked && f->length == 0))
        f->expects_continue = false;
    return refusal;
}

enum http_refusal http_head_parse(struct bytes text, size_t lines,
                                  struct http_request *r,
                                  struct http_framing *ret, struct errtext *t)
{
    struct seen seen = {0};
    enum http_refusal refusal = http_request_line(take_line(&text), r, t);

    *ret = (struct http_framing){0};
    if (refusal == HTTP_REFUSED_NONE)
        refusal = split_target(r, t);
    if (refusal == HTTP_REFUSED_NONE)
        refusal = split_query(r, t);
    if (refusal != HTTP_REFUSED_NONE)
        return refusal;

    r->headers = arena_alloc(r->arena, lines * sizeof *r->headers);
    if (!r->headers)
        return nomem(t);
    while (r->header_count < lines) {
        struct http_header *h = &r->headers[r->header_count++];
        refusal = header_line(take_line(&text), h, t);
        if (refusal != HTTP_REFUSED_NONE)
            return refusal;
        note_header(&seen, h, r, ret);
    }
    return framing(&seen, r, ret, t);
}
