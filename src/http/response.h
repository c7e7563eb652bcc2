/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* response - HTTP/1.1 response heads, and answers that many readers share. */
#ifndef HTTP_RESPONSE_H
#define HTTP_RESPONSE_H

#include "base/buf.h"
#include "http/request.h"

const char *http_reason(int status); /* "OK", "Not Found", ...; else "" */

/* "HTTP/1.1 200 OK\r\n" */
void http_head_begin(struct buf *out, int status);

/* One line. Control bytes in the value are dropped: it cannot split the head.
 */
void http_head_line(struct buf *out, const char *name, struct bytes value);
void http_head_u64(struct buf *out, const char *name, uint64_t value);

/* Content-Length, Connection (only when it must be said), the empty line. */
void http_head_end(struct buf *out, size_t content_length, bool keep_alive,
                   bool http_1_0);

/* gzip, deterministic (no time stamp). ERR_NOMEM. */
MUST_USE enum err http_gzip(struct bytes in, struct buf *out);

/* The other direction, for tests and outgoing requests; appends. ERR_BAD: not
 * one whole gzip member; ERR_LIMIT: more than out->max; ERR_NOMEM. */
MUST_USE enum err http_gunzip(struct bytes in, struct buf *out);

#endif
