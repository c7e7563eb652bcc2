/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* place - where this node stands among those of its datacenter (vivaldi.h): by
 * how long the others take to answer.
 *
 * A server asks another server and an agent of the catalog in turn, an agent the
 * servers it knows in turn, one hello each PLACE_MS (the first PLACE_FIRST ones
 * each PLACE_FIRST_MS); its beats count, too, but for the first few one of
 * PLACE_BEATS. So the load of N agents on the servers is N hellos in PLACE_MS.
 *
 * The catalog is told when the place has moved by more than PLACE_MOVED_S and a
 * tenth of the last round trip, or is twice as sure, at most each PLACE_TELL_MS;
 * there they go into
 * the store in batches (coordinates.h). Where the network is quiet nothing is
 * written. Core thread. */
#ifndef SERVER_PLACE_H
#define SERVER_PLACE_H

#include "server/core.h"

enum {
    PLACE_MS = 20000,
    PLACE_FIRST = 6,
    PLACE_FIRST_MS = 2500,
    PLACE_ASK_MS = 2000, /* no answer is no sample */
    PLACE_BEATS = 10,
    PLACE_TELL_MS = 15000,
};

#define PLACE_MOVED_S 0.00005

/* Nothing happens where there is no listener for peers. */
MUST_USE enum err place_open(struct core *c);
void place_close(struct core *c);  /* the loop runs on */
void place_end(struct process *p); /* no thread is left */

/* The server at `address` has answered a beat after so long; 0: unknown. */
void place_beat(struct core *c, const char *address, uint64_t wait_us);

#endif
