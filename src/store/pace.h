/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* pace - whether another group should fly beside those that do.
 *
 * A group costs three members of etcd a round of Raft and a sync each, however
 * little is in it: 64 writers were twice as expensive in groups of 17 as in groups
 * of 30, and a tenth cheaper in groups of 57 than in groups of 40. So what comes
 * while one flies gathers, until
 *
 *     nothing flies any more, and those who were answered a moment ago had
 *     time to come again (many do: a client who waits for each answer has its
 *     next request ready), or
 *     enough waits to be worth a group (PACE_WORTH changes), or
 *     the youngest has flown for twice as long as they do lately: it may be stuck
 *     with a member that has died, and nobody should wait for that.
 *
 * Whether they come again is seen each time: when a fourth of them stayed away
 * though a whole flight was waited for them, the next PACE_DOUBT groups wait for
 * a third of one. So clients who write once, at any rate, lose little by it.
 *
 * Pure. Milliseconds. */
#ifndef STORE_PACE_H
#define STORE_PACE_H

#include <stddef.h>
#include <stdint.h>

enum {
    PACE_WORTH = 128,
    PACE_MIN_MS = 2,
    PACE_MAX_MS = 50,
    PACE_MANY = 12,          /* so many in a group: some of them come again */
    PACE_AGAIN_MAX_MS = 5,   /* for them; a flight at most */
    PACE_AGAIN_DOUBT_MS = 3, /* in doubt; a third of a flight at most */
    PACE_DOUBT = 16,
};

/* Zeroed: nothing has flown yet. */
struct store_pace {
    uint64_t flight_x8; /* how long one takes, moving mean, times eight */
    uint64_t landed_ms; /* when the last one did */
    size_t landed;      /* changes in it, and those that waited then; 0: few,
                           or another group has left since */
    unsigned doubt;     /* groups that still leave sooner */
};

void store_pace_took(struct store_pace *p, uint64_t flight_ms);
void store_pace_landed(struct store_pace *p, uint64_t now_ms, size_t changes,
                       size_t waiting);

/* Nothing flies: 0: now; else ask again after so long, or when more waits. */
uint64_t store_pace_rest_ms(const struct store_pace *p, uint64_t now_ms,
                            size_t waiting);

/* A group leaves with so many. */
void store_pace_left(struct store_pace *p, size_t changes);

/* 0: now. Else ask again after so long, or when something else has happened.
 * flying: groups; since_ms: the youngest's start; waiting: changes. */
uint64_t store_pace_wait_ms(const struct store_pace *p, size_t flying,
                            uint64_t since_ms, size_t waiting);

#endif
