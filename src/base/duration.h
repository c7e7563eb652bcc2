/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* duration - Go's duration strings ("1h2m3.5s", "300ms"), in nanoseconds. */
#ifndef BASE_DURATION_H
#define BASE_DURATION_H

#include "base/buf.h"
#include "base/bytes.h"

enum { NS_PER_MS = 1000000 };

/* ERR_BAD with Go's text in t: time: invalid duration "x", time: missing unit
 * in duration "10", time: unknown unit "x" in duration "10x". May be
 * negative. */
MUST_USE enum err duration_parse(struct bytes b, int64_t *ret_ns,
                                 struct errtext *t);

/* As Go prints it: 0s, 10s, 1m0s, 1h0m0s, 1.5s, 300ms, 2us as "2µs". */
void duration_print(struct buf *out, int64_t ns);

#endif
