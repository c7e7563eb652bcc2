/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* sse_in - server-sent events out of bytes that come in any pieces (WHATWG HTML,
 * 9.2.6): "field: value" lines, an empty line ends an event, a line that begins
 * with a colon is a comment. Pure. */
#ifndef HTTP_SSE_IN_H
#define HTTP_SSE_IN_H

#include "base/buf.h"

enum { SSE_IN_NAME_MAX = 16 /* longer names are none that we know */ };

struct sse_in {
    struct buf line, data;
    char event[SSE_IN_NAME_MAX];
    uint64_t id;
    bool has_id;
    bool stop; /* sse_in_take */
};

/* A comment has neither name nor data. Views live during the call. */
struct sse_got {
    struct bytes name, data, comment;
    uint64_t id;
    bool has_id;
};

void sse_in_init(struct sse_in *in, size_t line_max);
void sse_in_fini(struct sse_in *in);
void sse_in_reset(struct sse_in *in); /* another stream begins */

/* got is called for each event that ends in the piece; what it returns but
 * ERR_OK ends the call. ERR_LIMIT: a line, or an event's data, of more than
 * line_max bytes; ERR_NOMEM. */
MUST_USE enum err sse_in_push(struct sse_in *in, struct bytes piece,
                              enum err (*got)(void *ctx,
                                              const struct sse_got *e),
                              void *ctx, struct errtext *t);

/* The same, and takes from the piece what it has read. Once got has set stop, it
 * reads no further than that event; the next call clears it. */
MUST_USE enum err sse_in_take(struct sse_in *in, struct bytes *piece,
                              enum err (*got)(void *ctx,
                                              const struct sse_got *e),
                              void *ctx, struct errtext *t);

#endif
