/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* uses - when was each of many things used last? Things are named by hashes, and
 * those that share a slot share their time: one that nobody uses may be taken for
 * used, never the other way round.
 *
 * Written by any thread with one plain store, about once a second for each slot,
 * so that hot paths can afford it; read by whoever wants to drop what is idle. */
#ifndef BASE_USES_H
#define BASE_USES_H

#include <stdatomic.h>
#include <stdint.h>

enum {
    USES_SLOTS = 1 << 14,
    USES_GRAIN_MS = 500, /* a use within that of another may not be noted */
};

struct uses {
    _Atomic uint64_t at_ms[USES_SLOTS]; /* monotonic; 0: never */
};

static inline uint64_t uses_last_ms(struct uses *u, uint64_t hash)
{
    return atomic_load_explicit(&u->at_ms[hash % USES_SLOTS],
                                memory_order_relaxed);
}

static inline void uses_touch(struct uses *u, uint64_t hash, uint64_t now_ms)
{
    if (now_ms >= uses_last_ms(u, hash) + USES_GRAIN_MS)
        atomic_store_explicit(&u->at_ms[hash % USES_SLOTS], now_ms,
                              memory_order_relaxed);
}

#endif
