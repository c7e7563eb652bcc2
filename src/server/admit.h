/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* admit - how many writes of one serving thread the store has at once, and whose
 * turn it is.
 *
 * A store that is asked for more than it can do makes everybody wait for longer than
 * clients do; they ask again, and it does in vain what nobody waits for any more. So
 * the number of writes in flight has a limit that follows what the store takes: one
 * more for each that took less than ADMIT_TARGET_MS, three tenths less when one took
 * longer (AIMD, as TCP does it). Who comes beyond it waits, briefly and in a bounded
 * queue; then he is told when to come again. Those who wait are let in client by
 * client, not in the order of their coming: a client with a thousand requests is in
 * nobody's way but his own, and no client fills the queue alone.
 *
 * Clients are told apart by a hash of their address; two of them may share a turn.
 * Pure; milliseconds of the thread's clock. */
#ifndef SERVER_ADMIT_H
#define SERVER_ADMIT_H

#include <stdint.h>

#include "base/list.h"

enum {
    ADMIT_TURNS = 256,
    ADMIT_TARGET_MS = 1000,
    ADMIT_PATIENCE_MS = 2000,
    ADMIT_WAITING_MAX = 8192,
    ADMIT_TURN_MAX = 4096, /* of it, of one client */
    ADMIT_FIRST = 256,     /* limits: at first, and between which it stays */
    ADMIT_MIN = 32,
    ADMIT_MAX = 4096,
};

struct admit_item {
    struct list link; /* initialised */
    uint64_t since_ms;
};

struct admit {
    struct list turn[ADMIT_TURNS]; /* struct admit_item */
    unsigned queued[ADMIT_TURNS];
    unsigned next; /* whose turn it is */
    size_t waiting, flying, limit;
    uint64_t cut_ms; /* when the limit was made smaller */
};

void admit_init(struct admit *a);

/* In at once? Not while others wait. */
bool admit_take(struct admit *a);

/* False: the queue is full, of this client's or altogether. */
bool admit_wait(struct admit *a, struct admit_item *it, uint64_t client,
                uint64_t now_ms);

/* Who is in now, if anybody waits and there is room; NULL: nobody. */
struct admit_item *admit_next(struct admit *a);

/* Of those who have waited since then or longer: one, who waits no more. */
struct admit_item *admit_late(struct admit *a, uint64_t since_ms);

/* One that was let in is over. */
void admit_done(struct admit *a, uint64_t took_ms, uint64_t now_ms);

#endif
