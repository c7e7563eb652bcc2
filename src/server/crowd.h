/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* crowd - how many servers there are, and whether that is too many.
 *
 * Servers tell each other of agents that they hear (pulse.c), of user events
 * (events.c), of subscribers (watchers_all.c) and of drains (asks.c), and agents
 * know so many of them (link.c): all up to API_SERVERS_MAX, whose arrays are of
 * that size. Whoever is beyond would be left out in silence; so it is said here,
 * for all of them: in the log once each time it begins, by a metric, and in
 * /v1/operator/autopilot/health.
 *
 * Core thread. */
#ifndef SERVER_CROWD_H
#define SERVER_CROWD_H

#include "server/core.h"

void crowd_new(struct core *c);
void crowd_free(struct core *c);

/* The catalog has another version: perhaps other servers. */
void crowd_published(struct core *c, const struct watch_set *set);

#endif
