/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* sim - what every simulation needs: a virtual clock with events in order,
 * randomness that a seed repeats, a trace of what happened last, and the places
 * of the code under test that must have been reached.
 *
 * One process, no real time: a day passes in milliseconds. A failure prints its
 * seed and the end of its trace; `SIM_SEED=n SIM_TRACE=1 build/sim/NAME` shows
 * all of it. Seeds that once failed stand in tests/sim/seeds and run first. */
#ifndef SIM_H
#define SIM_H

#include "test.h"

#include <stdio.h>

#include "base/check.h"
#include "base/heap.h"
#include "base/list.h"
#include "catalog_world.h"

enum { SIM_STILL_MAX = 100 * 1000 };

enum { SIM_TRACE_LINES = 48, SIM_LINE_BYTES = 160 };

struct sim {
    uint64_t seed, random;
    uint64_t now_ms; /* true time; never 0 */
    struct heap events;
    uint64_t count; /* events so far */
    uint64_t still; /* and since time moved */
    char trace[SIM_TRACE_LINES][SIM_LINE_BYTES];
    uint64_t traced;
    bool loud;
};

struct event {
    struct heap_item item;
    void (*fire)(struct sim *s, struct event *e);
};

static inline void sim_init(struct sim *s, uint64_t seed)
{
    *s = (struct sim){.seed = seed,
                      .random = seed * 0x9e3779b97f4a7c15u + 1,
                      .now_ms = 1000 * 1000,
                      .loud = getenv("SIM_TRACE") != NULL};
    for (int i = 0; i < 8; i++)
        (void)any(&s->random);
}

static inline size_t sim_below(struct sim *s, size_t n)
{
    return below(&s->random, n);
}

static inline bool sim_chance(struct sim *s, size_t percent)
{
    return chance(&s->random, percent);
}

/* Somewhere in [from, to). */
static inline uint64_t sim_between(struct sim *s, uint64_t from, uint64_t to)
{
    return from + below(&s->random, (size_t)(to - from));
}

static inline void sim_at(struct sim *s, struct event *e, uint64_t due_ms)
{
    heap_set(&s->events, &e->item, due_ms > s->now_ms ? due_ms : s->now_ms);
}

static inline void sim_in(struct sim *s, struct event *e, uint64_t delay_ms)
{
    sim_at(s, e, s->now_ms + delay_ms);
}

static inline void sim_cancel(struct sim *s, struct event *e)
{
    heap_del(&s->events, &e->item);
}

PRINTF_LIKE(2, 3)
static inline void sim_say(struct sim *s, const char *fmt, ...)
{
    char *line = s->trace[s->traced++ % SIM_TRACE_LINES];
    int n = snprintf(line, SIM_LINE_BYTES, "%9.3f ",
                     (double)(s->now_ms - 1000 * 1000) / 1000);
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(line + n, SIM_LINE_BYTES - (size_t)n, fmt, args);
    va_end(args);
    if (s->loud)
        print_message("# %s\n", line);
}

__attribute__((noreturn))
PRINTF_LIKE(2, 3) static inline void sim_fail(struct sim *s, const char *fmt,
                                              ...)
{
    uint64_t from =
        s->traced > SIM_TRACE_LINES ? s->traced - SIM_TRACE_LINES : 0;
    char why[256];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(why, sizeof why, fmt, args);
    va_end(args);
    for (uint64_t i = from; i < s->traced && !s->loud; i++)
        print_message("# %s\n", s->trace[i % SIM_TRACE_LINES]);
    print_message("# SIM_SEED=%llu after %llu events, at %.3f s: %s\n",
                  (unsigned long long)s->seed, (unsigned long long)s->count,
                  (double)(s->now_ms - 1000 * 1000) / 1000, why);
    fail_msg("seed %llu: %s", (unsigned long long)s->seed, why);
    abort(); /* not reached */
}

/* Runs what is due until then; after is called after each event. */
static inline void sim_run_until(struct sim *s, uint64_t until_ms,
                                 void (*after)(struct sim *s))
{
    struct heap_item *min;

    while ((min = heap_min(&s->events)) && min->due_ms <= until_ms) {
        struct event *e = container_of(min, struct event, item);
        heap_del(&s->events, min);
        s->still = s->now_ms == min->due_ms ? s->still + 1 : 0;
        s->now_ms = min->due_ms;
        s->count++;
        if (s->still > SIM_STILL_MAX)
            sim_fail(s, "time stands still");
        e->fire(s, e);
        after(s);
    }
    s->now_ms = until_ms;
}

/* --- Places that must have been reached ---------------------------------- */

extern struct sometimes_site *__start_sometimes_sites[];
extern struct sometimes_site *__stop_sometimes_sites[];

/* How many were not; each is printed. */
static inline int sim_never_reached(void)
{
    int never = 0;

    for (struct sometimes_site **p = __start_sometimes_sites;
         p < __stop_sometimes_sites; p++) {
        print_message("# %10lu  %s:%d  %s\n", (*p)->hits, (*p)->file,
                      (*p)->line, (*p)->what);
        never += (*p)->hits == 0;
    }
    return never;
}

static inline uint64_t sim_number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

#endif
