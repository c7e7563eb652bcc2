/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* shared - immutable bytes that several connections of one thread send.
 *
 * Reference-counted without atomics: a block belongs to one loop thread. */
#ifndef LOOP_SHARED_H
#define LOOP_SHARED_H

#include "base/bytes.h"

struct shared {
    uint32_t refs;
    size_t n;
    char data[];
};

/* One reference; room for n bytes. NULL: out of memory. */
struct shared *shared_new(size_t n);
struct shared *shared_copy(struct bytes b);

static inline struct shared *shared_ref(struct shared *s)
{
    s->refs++;
    return s;
}

/* NULL is accepted. */
void shared_unref(struct shared *s);

#endif
