/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* timers - any number of deadlines of one loop behind one libuv timer. */
#ifndef LOOP_TIMERS_H
#define LOOP_TIMERS_H

#include <uv.h>

#include "base/err.h"
#include "base/heap.h"
#include "loop/budget.h"

struct timers {
    uv_timer_t uv;
    struct heap heap;
    uint64_t armed_ms;
    struct loop_budget *budget; /* NULL: all that is due fires at once */
};

struct timer {
    struct heap_item item; /* zero-initialised: not set */
    void (*fire)(struct timer *t);
};

MUST_USE enum err timers_init(struct timers *ts, uv_loop_t *loop);

/* The caller's memory may go after the loop has run the close callbacks. */
void timers_close(struct timers *ts);

/* (Re)sets it to fire in delay_ms (0 counts as 1: never within this turn),
 * once. t->fire must be set. Nothing happens after timers_close. */
void timer_set(struct timers *ts, struct timer *t, uint64_t delay_ms);
void timer_clear(struct timers *ts, struct timer *t);

#endif
