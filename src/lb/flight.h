/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* flight - how many requests are on their way to an endpoint, counted so that
 * who never reports costs nothing for ever.
 *
 * Four cells of 20 s each form a ring. A pick adds to the cell of now, its
 * ticket remembers the cell's number (tag), the report takes away there. A cell
 * that comes round again starts at zero: what was never reported runs out after
 * 60 to 80 s without anybody looking for it. A cell is one word, tag above
 * count, so nothing can fall between the two. Any thread, lock-free. */
#ifndef LB_FLIGHT_H
#define LB_FLIGHT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { LB_FLIGHT_CELLS = 4, LB_FLIGHT_CELL_MS = 20 * 1000 };

struct lb_flight {
    _Atomic uint64_t cell[LB_FLIGHT_CELLS];
};

static inline uint32_t lb_flight_tag(uint64_t now_ms)
{
    return (uint32_t)(now_ms / LB_FLIGHT_CELL_MS) + LB_FLIGHT_CELLS;
}

/* One more; gives the tag to take it away by. A clock that went back adds to
 * the cell that is there: it must not empty it. */
static inline uint32_t lb_flight_add(struct lb_flight *f, uint32_t tag)
{
    _Atomic uint64_t *cell = &f->cell[tag % LB_FLIGHT_CELLS];
    uint64_t was = atomic_load_explicit(cell, memory_order_relaxed), is;

    do {
        bool kept = (int32_t)((uint32_t)(was >> 32) - tag) >= 0;
        is = kept ? was + 1 : (uint64_t)tag << 32 | 1;
    } while (!atomic_compare_exchange_weak_explicit(
        cell, &was, is, memory_order_relaxed, memory_order_relaxed));
    return (uint32_t)(is >> 32);
}

/* False: it had run out before, nothing was taken away. */
static inline bool lb_flight_sub(struct lb_flight *f, uint32_t tag)
{
    _Atomic uint64_t *cell = &f->cell[tag % LB_FLIGHT_CELLS];
    uint64_t was = atomic_load_explicit(cell, memory_order_relaxed);

    do {
        if ((uint32_t)(was >> 32) != tag || (uint32_t)was == 0)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(
        cell, &was, was - 1, memory_order_relaxed, memory_order_relaxed));
    return true;
}

/* On their way at the time of tag. */
static inline uint32_t lb_flight_count(const struct lb_flight *f, uint32_t tag)
{
    uint32_t n = 0;

    for (int i = 0; i < LB_FLIGHT_CELLS; i++) {
        uint64_t w = atomic_load_explicit(&f->cell[i], memory_order_relaxed);
        bool out = (int32_t)(tag - (uint32_t)(w >> 32)) >= LB_FLIGHT_CELLS;
        n += out ? 0 : (uint32_t)w;
    }
    return n;
}

#endif
