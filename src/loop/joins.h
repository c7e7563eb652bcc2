/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* joins - the addresses to join, as they are configured: HOST:PORT, where a name
 * may stand for several servers and for others tomorrow. All of its addresses are
 * told, now and after each joins_look.
 *
 * When to give up (struct joins_rule): after the first try, if any were to be
 * there at once, or after so many rounds. One loop thread. */
#ifndef LOOP_JOINS_H
#define LOOP_JOINS_H

#include "base/err.h"
#include "loop/names.h"

enum { JOINS_ADDRESS_MAX = 300 };

struct joins;

struct joins_options {
    uv_loop_t *loop;
    struct timers *timers;
    const char *const *to; /* HOST:PORT, [V6]:PORT; outlive it */
    size_t count;
    /* IP:PORT, again and again; of one in digits, within joins_look. */
    void (*found)(void *ctx, const char *address);
    void *ctx;
};

MUST_USE enum err joins_new(const struct joins_options *o, struct joins **ret);
void joins_close(struct joins *j);

/* Asks for all of them (again). */
void joins_look(struct joins *j);

/* Names are asked for that were not answered yet: what was found is not all. */
bool joins_wait(const struct joins *j);

/* --- When to give up ------------------------------------------------------ */

struct joins_rule {
    bool at_once;      /* start_join: who does not answer at the first try */
    uint64_t retry_ms; /* a round */
    uint64_t attempts_max; /* more of them after the first; 0: no limit */
};

/* since_ms: the start; tried: everybody known, at least once; t: why. */
bool joins_is_over(const struct joins_rule *r, uint64_t since_ms, bool tried,
                   struct errtext *t);

#endif
