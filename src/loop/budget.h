/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* budget - how much one turn of a loop may do, for whoever runs it between other
 * work and must not stay long: so many events, or so many ns, whichever is less.
 * What is left over is ready again in the next turn: epoll tells level by level,
 * timers stay due.
 *
 * Who is served in a round waits until all who were ready in it have been: a
 * busy socket keeps none from its turn. */
#ifndef LOOP_BUDGET_H
#define LOOP_BUDGET_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct loop_budget {
    uint32_t left;     /* events of this turn */
    uint64_t until_ns; /* of uv_hrtime */
    uint64_t round;    /* never 0 */
    bool starved;      /* somebody was ready and got nothing */
};

static inline void budget_begin(struct loop_budget *b, uint32_t events,
                                uint64_t ns)
{
    b->left = events;
    b->until_ns = uv_hrtime() + ns;
    b->round += b->round == 0;
    b->starved = false;
}

static inline void budget_end(struct loop_budget *b)
{
    b->round += !b->starved;
}

/* b NULL: there is no limit. False: not in this turn. */
static inline bool budget_take(struct loop_budget *b)
{
    if (!b)
        return true;
    if (b->left == 0 || uv_hrtime() >= b->until_ns) {
        b->starved = true;
        return false;
    }
    b->left--;
    return true;
}

/* The same for a source that may be ready all the time. round is its own, 0 at
 * first. */
static inline bool budget_take_turn(struct loop_budget *b, uint64_t *round)
{
    if (!b)
        return true;
    if (*round == b->round || !budget_take(b))
        return false;
    *round = b->round;
    return true;
}

#endif
