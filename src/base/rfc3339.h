/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* rfc3339 - moments as people and programs write them: 2026-11-26T15:32:30.5Z
 * (RFC 3339 5.6). Milliseconds since 1970 UTC, to the end of the year 9999. */
#ifndef BASE_RFC3339_H
#define BASE_RFC3339_H

#include "base/buf.h"

/* With 'T' or a blank between date and time, a fraction of any length (cut to
 * milliseconds), 'Z' or an offset. ' ' is taken for the '+' of an offset: that
 * is what a query string makes of it. A leap second is the next second. Before
 * 1970: 0. ERR_BAD: anything else. */
MUST_USE enum err rfc3339_parse(struct bytes b, uint64_t *ret_ms);

/* 2026-11-26T15:32:30.500Z. What is beyond 9999 is shown as its last moment. */
void rfc3339_print(struct buf *out, uint64_t ms);

#endif
