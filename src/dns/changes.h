/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* changes - which services have changed since an entry was looked at, without
 * looking them up.
 *
 * A table by hash of watch keys (catalog/watch.h): the newest revision that touched
 * one with this hash. The catalog's writer tells it each version after that is
 * current; `revision` says how far the table knows. So a reader of a version that
 * the table does not know yet looks the service up; one that it knows has one word
 * to read. Hashes that fall together cost a look-up, nothing else.
 *
 * One writer, any readers; no lock. */
#ifndef DNS_CHANGES_H
#define DNS_CHANGES_H

#include <stdatomic.h>

#include "catalog/watch.h"

enum { DNS_CHANGES_SLOTS = 1 << 16 };

struct dns_changes {
    _Atomic uint64_t revision;
    _Atomic uint64_t all; /* of the last load: everything changed */
    _Atomic uint64_t at[DNS_CHANGES_SLOTS];
};

static inline void dns_changes_tell(struct dns_changes *c, uint64_t revision,
                                    const struct watch_set *set)
{
    if (set->all)
        atomic_store_explicit(&c->all, revision, memory_order_relaxed);
    for (size_t i = 0; i < set->n; i++)
        atomic_store_explicit(&c->at[set->v[i] % DNS_CHANGES_SLOTS], revision,
                              memory_order_relaxed);
    atomic_store_explicit(&c->revision, revision, memory_order_release);
}

/* Nothing with this hash has changed after `since`, up to `now`. False: it may
 * have. */
static inline bool dns_changes_none(const struct dns_changes *c, uint64_t hash,
                                    uint64_t since, uint64_t now)
{
    return since <= now &&
           atomic_load_explicit(&c->revision, memory_order_acquire) >= now &&
           atomic_load_explicit(&c->all, memory_order_relaxed) <= since &&
           atomic_load_explicit(&c->at[hash % DNS_CHANGES_SLOTS],
                                memory_order_relaxed) <= since;
}

#endif
