/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* re2 - regular expressions in RE2's syntax, which is Go's and so Consul's,
 * written anew for PCRE2. */
#ifndef BASE_RE2_H
#define BASE_RE2_H

#include "base/buf.h"
#include "base/bytes.h"

enum {
    RE2_BYTES_MAX = 512,  /* of one pattern */
    RE2_REPEAT_MAX = 1000 /* in {n,m}, as in RE2 */
};

/* What RE2 does not know is refused (t: Go's words). captures: groups capture
 * and repetitions may be lazy, as one who asks for what a group matched has to
 * know; else groups become non-capturing and lazy is greedy, which match the
 * same strings. pattern: at most RE2_BYTES_MAX. ERR_BAD; ERR_NOMEM is in out. */
MUST_USE enum err re2_translate(struct bytes pattern, bool captures,
                                struct buf *out, struct errtext *t);

#endif
