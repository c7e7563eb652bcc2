/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* claims - which keys a group of changes reads and writes.
 *
 * All changes of a group see the state before it, and etcd takes no key twice:
 * so no key may be written by two of them, nor guarded by one and written by
 * another; a prefix delete writes, and a prefix guard reads, every key under
 * it. Whoever would break that waits for a later group, and so does whoever
 * comes after him and touches his keys.
 *
 * Keys are kept by view. O(1) per key; a prefix costs the keys in the set, a
 * key the prefixes in it, of which there are few. */
#ifndef STORE_CLAIMS_H
#define STORE_CLAIMS_H

#include "store/store.h"

enum {
    /* Prefixes in a set, beyond those of its first change. More would make
     * every other key pay; the next group takes them. */
    CLAIMS_PREFIXES_MAX = 64,
};

struct claim {
    uint64_t hash;
    struct bytes key;
    bool written;
};

struct claims {
    struct claim *keys;
    size_t n, cap;
    uint32_t *table; /* 1 + place in keys; 0: free */
    size_t table_cap;
    struct claim *prefixes;
    size_t prefix_n, prefix_cap;
};

void claims_fini(struct claims *s);
void claims_reset(struct claims *s);

/* May c not run beside those in the set? */
bool claims_conflict(const struct claims *s, const struct store_change *c);

/* Adds all of it. False: a key (*ret_key) is written twice; by c itself, if it
 * did not conflict, and that no store can do. */
bool claims_add(struct claims *s, const struct store_change *c,
                struct bytes *ret_key);

#endif
