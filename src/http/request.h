/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* request - HTTP/1.1 requests: bytes in, struct out, whatever the split.
 *
 * A bounded incremental parser of our own: Debian's libhttp-parser is built
 * non-strict and takes "5\rX" for a chunk size, any two bytes for the CRLF
 * after a chunk, "Host : x", folded lines and HTTP/0.9, so everything would be
 * checked twice. It serves as the second opinion in fuzz/http_request.c.
 * Refused: control bytes and folded lines in headers, more than one
 * Content-Length, Content-Length beside Transfer-Encoding, any
 * Transfer-Encoding but exactly "chunked", a missing or second Host in
 * HTTP/1.1, spaces before a colon, chunk lines that do not end in CRLF.
 *
 * Everything of one request lives in the parser's arena until http_in_next. */
#ifndef HTTP_REQUEST_H
#define HTTP_REQUEST_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/bytes.h"

enum {
    HTTP_HEADER_BYTES_MAX = 16 * 1024, /* request line and header lines */
    HTTP_HEADER_LINES_MAX = 100,
    HTTP_TARGET_MAX = 8 * 1024, /* bytes of the request target */
    HTTP_QUERY_PARAMS_MAX = 256,
    HTTP_BODY_MAX_DEFAULT = 1 << 20,
};

enum http_method {
    HTTP_GET,
    HTTP_PUT,
    HTTP_POST,
    HTTP_DELETE,
    HTTP_HEAD,
    HTTP_OPTIONS,
    HTTP_PATCH,
    HTTP_OTHER,
};

const char *http_method_name(enum http_method m); /* OTHER: "?" */

struct http_header {
    struct bytes name;  /* as sent */
    struct bytes value; /* outer blanks removed */
};

struct http_param {
    struct bytes name, value; /* decoded */
    bool has_value;           /* "a" has none, "a=" has an empty one */
};

struct http_request {
    enum http_method method;
    struct bytes method_name;  /* as sent */
    struct bytes target;       /* as sent */
    struct bytes raw_path;     /* target before '?', as sent */
    struct bytes path;         /* percent-decoded; may hold any byte */
    struct bytes raw_query;    /* after '?', as sent */
    struct http_param *params; /* in order */
    size_t param_count;
    bool query_bad; /* malformed percent escape in the query */
    struct http_header *headers;
    size_t header_count;
    struct bytes body; /* whole, chunks joined */
    bool http_1_0;
    bool keep_alive;     /* what the peer allows */
    bool accepts_gzip;   /* Accept-Encoding with gzip, q > 0 */
    struct arena *arena; /* where all this lives; the handler's too */
    /* Who asks: "10.0.0.1:4711", "[::1]:4711"; empty: a unix socket, or not
     * told, as for a GET. Set by whoever owns the connection. */
    struct bytes peer;
    bool from_peer; /* it came to the listener for peers; set by the same */
};

/* First header of that name, any case; {NULL, 0} if none. */
struct bytes http_header(const struct http_request *r, const char *name);

/* First parameter of that name (exact case), or NULL. */
const struct http_param *http_param(const struct http_request *r,
                                    const char *name);

/* Its value; {NULL, 0} if it is absent. */
struct bytes http_param_value(const struct http_request *r, const char *name);

struct http_limits {
    size_t header_bytes;    /* 0: HTTP_HEADER_BYTES_MAX */
    size_t header_lines;    /* 0: HTTP_HEADER_LINES_MAX */
    size_t body_bytes;      /* 0: HTTP_BODY_MAX_DEFAULT */
    const char *large_path; /* bodies for this path may have: (NULL: none) */
    size_t large_bytes;
};

enum http_in_state {
    HTTP_IN_IDLE,    /* between requests: nothing of the next has come */
    HTTP_IN_HEAD,    /* within request line and headers */
    HTTP_IN_BODY,    /* within the body */
    HTTP_IN_DONE,    /* a whole request: see http_in_request */
    HTTP_IN_REFUSED, /* see http_in_refusal; the connection ends after it */
};

enum http_refusal {
    HTTP_REFUSED_NONE,
    HTTP_REFUSED_MALFORMED, /* 400 */
    HTTP_REFUSED_HEADER,    /* 431 */
    HTTP_REFUSED_TARGET,    /* 414 */
    HTTP_REFUSED_BODY,      /* 413 */
    HTTP_REFUSED_VERSION,   /* 505 */
    HTTP_REFUSED_ENCODING,  /* 501: a Transfer-Encoding we do not know */
    HTTP_REFUSED_NOMEM,     /* 503 */
};

struct http_in;

/* limits stays valid as long as the parser. NULL: out of memory. Small (< 200
 * bytes) while idle: the arena is made at the first byte of a request and given
 * back by http_in_next. */
struct http_in *http_in_new(const struct http_limits *limits);
void http_in_free(struct http_in *in);

/* Takes bytes; returns how many it used: all of them unless it stopped at DONE
 * (pipelining: feed the rest after http_in_next) or REFUSED. */
size_t http_in_feed(struct http_in *in, struct bytes b);

enum http_in_state http_in_state(const struct http_in *in);

/* In DONE. */
struct http_request *http_in_request(struct http_in *in);

/* In REFUSED: why, its HTTP status, and a text that names thing, value, limit.
 */
enum http_refusal http_in_refusal(const struct http_in *in, int *ret_status,
                                  const char **ret_text);

/* True once if the head asked for 100-continue and the body may come. */
bool http_in_wants_continue(struct http_in *in);

/* Forgets the request and its memory; IDLE again. */
void http_in_next(struct http_in *in);

/* Percent-decoding into the arena. plus_is_space as in query strings. ERR_BAD
 * on a malformed escape, ERR_NOMEM. */
MUST_USE enum err http_decode(struct arena *a, struct bytes raw,
                              bool plus_is_space, struct bytes *ret);

/* Encodes a path segment or query value (RFC 3986 unreserved kept). */
void http_encode(struct buf *out, struct bytes raw);

/* Go's path cleaning: "//", "." and ".." segments removed, trailing slash kept.
 * True and *ret set if the clean form differs from path. */
bool http_clean_path(struct arena *a, struct bytes path, struct bytes *ret);

#endif
