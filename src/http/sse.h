/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* sse - server-sent events as text (WHATWG HTML, 9.2): fields in lines, an empty
 * line ends an event. Pure. */
#ifndef HTTP_SSE_H
#define HTTP_SSE_H

#include "base/buf.h"

/* Begins an event; its name is a literal. */
void sse_event(struct buf *out, const char *name);

/* Data of any bytes: each of its lines becomes a field, so that nothing in it
 * can end the event or begin another. A CR, an LF and both together end a
 * line. */
void sse_data(struct buf *out, struct bytes data);

void sse_id(struct buf *out, uint64_t id);

/* How long the client shall wait before it connects again. */
void sse_retry(struct buf *out, uint64_t ms);

void sse_end(struct buf *out);

/* A line that clients ignore; one line. */
void sse_comment(struct buf *out, const char *text);

#endif
