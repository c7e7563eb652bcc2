/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* pulse - carries duty/liveness.h out: who of the nodes is alive.
 *
 * Each second the holder of the duty "guard" takes what this server heard
 * (presence.h) and asks every other server what it heard. What the machine wants
 * looked at is asked of agents, on their listeners for peers; what it decides is
 * committed under the duty's fence. A server that is no holder only listens.
 *
 * Core thread. */
#ifndef SERVER_PULSE_H
#define SERVER_PULSE_H

#include "server/core.h"

enum {
    PULSE_REPORT_MS = 1000,
    PULSE_ASK_MS = 2000, /* for an answer */
};

MUST_USE enum err pulse_new(struct core *c);
void pulse_gained(struct core *c, const struct store_guard *fence);
void pulse_lost(struct core *c);
void pulse_stop(struct core *c);
void pulse_free(struct core *c);

#endif
