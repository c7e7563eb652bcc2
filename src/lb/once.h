/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* once - a ticket may be copied, its report still counts once.
 *
 * Tickets are numbered. Of the last 65,536 one bit each says whether a report
 * came; a word holds 32 of them under the number of their round. What a newer
 * round has written over cannot be told any more and is let through: whoever is
 * so late is counted as he says. Any thread, lock-free. */
#ifndef LB_ONCE_H
#define LB_ONCE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    LB_ONCE_BITS = 32,
    LB_ONCE_WORDS = 2048,
    LB_ONCE_TICKETS = LB_ONCE_BITS * LB_ONCE_WORDS,
    LB_ONCE_STEP = 9, /* words: neighbours lie in other cache lines */
};

struct lb_once {
    _Atomic uint64_t next;
    char apart[56];
    _Atomic uint64_t word[LB_ONCE_WORDS]; /* round above bits */
};

static inline uint64_t lb_once_number(struct lb_once *o)
{
    return atomic_fetch_add_explicit(&o->next, 1, memory_order_relaxed);
}

/* False: it was taken before. */
static inline bool lb_once_take(struct lb_once *o, uint64_t number)
{
    uint64_t at = number % LB_ONCE_WORDS * LB_ONCE_STEP % LB_ONCE_WORDS;
    uint64_t bit = (uint64_t)1 << (number / LB_ONCE_WORDS % LB_ONCE_BITS);
    uint32_t round = (uint32_t)(number / LB_ONCE_TICKETS);
    uint64_t was = atomic_load_explicit(&o->word[at], memory_order_relaxed), is;

    do {
        int32_t newer = (int32_t)((uint32_t)(was >> 32) - round);
        if (newer > 0)
            return true;
        if (newer == 0 && was & bit)
            return false;
        is = newer == 0 ? was | bit : (uint64_t)round << 32 | bit;
    } while (!atomic_compare_exchange_weak_explicit(
        &o->word[at], &was, is, memory_order_relaxed, memory_order_relaxed));
    return true;
}

#endif
