/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* grace - when may memory that picks no longer reach be freed?
 *
 * base/pin wants a slot per reader, and picks come from threads that nobody
 * announced. Here a reader adds one to a counter before it loads the pointer
 * and takes it away when it has let go; the writer frees what it unlinked once
 * every counter has been seen at zero since. Nobody waits for anybody: a reader
 * that sleeps in between keeps memory alive, nothing else.
 *
 * There are two sets of counters. New readers go to the one that the writer
 * points at, so the other runs dry even if picks never pause (the idea of SRCU,
 * McKenney 2006). Each set is spread over cache lines, by the thread. */
#ifndef LB_GRACE_H
#define LB_GRACE_H

#include <stdatomic.h>
#include <stdint.h>

enum { LB_GRACE_STRIPES = 32 }; /* bits of seen[] */

/* Lies in the object that is to be freed: nothing is allocated to free. */
struct lb_junk {
    struct lb_junk *next;
    void (*free)(struct lb_junk *j);
};

struct lb_grace_stripe {
    _Atomic uint64_t readers[2];
    char apart[48]; /* a cache line each */
};

struct lb_grace {
    struct lb_grace_stripe stripe[LB_GRACE_STRIPES];
    _Atomic uint32_t set;    /* where new readers go: 0 or 1 */
    uint32_t seen[2];        /* writer's: stripes seen at zero for waiting */
    struct lb_junk *waiting; /* unlinked before the looks in seen */
    struct lb_junk *fresh;   /* unlinked since */
};

/* All zero is a new one. Frees all; no reader may be left. */
void lb_grace_fini(struct lb_grace *g);

/* Reader, any thread. What was reachable stays valid until lb_grace_leave with
 * the same counter. */
static inline _Atomic uint64_t *lb_grace_enter(struct lb_grace *g)
{
    /* Stacks are megabytes apart, so they tell threads apart. */
    uintptr_t stack = (uintptr_t)__builtin_frame_address(0) >> 20;
    uint32_t stripe = (uint32_t)stack * 0x9e3779b1u >> 27;
    uint32_t set = atomic_load_explicit(&g->set, memory_order_relaxed);
    _Atomic uint64_t *counter = &g->stripe[stripe].readers[set];

    atomic_fetch_add(counter, 1); /* seq_cst: see grace.c */
    return counter;
}

static inline void lb_grace_leave(_Atomic uint64_t *counter)
{
    atomic_fetch_sub_explicit(counter, 1, memory_order_release);
}

/* Writer: j cannot be reached any more (the pointer was replaced by a seq_cst
 * store before this call). */
void lb_grace_retire(struct lb_grace *g, struct lb_junk *take_j);

/* Writer: frees what nobody can see any more. To be called now and then. */
void lb_grace_sweep(struct lb_grace *g);

#endif
