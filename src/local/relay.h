/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* relay - which user events have been here already, and the clock that orders them.
 *
 * Events are flooded: whoever gets one that is new to him passes it on, whoever has
 * seen it does nothing, so that it ends. Their times are those of a Lamport clock
 * (L. Lamport, Time, Clocks, and the Ordering of Events in a Distributed System,
 * 1978), as in serf: an event fired after another one was heard has a greater one.
 *
 * One thread. No clock, no socket. */
#ifndef LOCAL_RELAY_H
#define LOCAL_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RELAY_SEEN_MAX =
        1024, /* IDs; an older event that comes again is taken anew */
    RELAY_ID_BYTES = 37, /* a UUID as text */
    RELAY_HOPS_MAX = 4,  /* an event is passed on so often at most */
};

/* Zero-initialised: nothing was seen. */
struct relay {
    uint64_t clock; /* the newest time that was given or seen */
    size_t n;       /* ever */
    char seen[RELAY_SEEN_MAX][RELAY_ID_BYTES];
};

/* The time of an event that is fired here, now. */
uint64_t relay_stamp(struct relay *r);

/* Somebody's time: later ones that are given are greater. */
void relay_witness(struct relay *r, uint64_t ltime);

/* False: it has been here. From now on it has. */
bool relay_is_new(struct relay *r, const char id[RELAY_ID_BYTES]);

#endif
