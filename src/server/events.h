/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* events - user events (/v1/event) on their way to every agent of the datacenter.
 *
 *     fired at an agent --PUT /v1/peer/event--> its server --the same--> the others
 *                                                 '-- stream: event "user" --> its
 *                                                     agents (push_user.c)
 *
 * Who gets one that is new to him (local/relay.h) hears it, if it is for his node,
 * and a server passes it on, to all servers but the one that it came from and to
 * all agents. So each has it if there is any way, twice at most on each link, and
 * nothing goes round.
 *
 * Best effort, as Consul's gossip: kept in memory, EVENTS_KEPT_MS for who cannot
 * be reached, the newest HEARD_EVENTS_MAX of them (process->carried). Whoever began
 * after an event was fired is not told of it: servers greet each other when they
 * begin, and what another one is sent says which process is meant (its life).
 *
 * A server too old to know the route says 404: it is left out, as are its agents.
 *
 * Core thread, where not said otherwise. */
#ifndef SERVER_EVENTS_H
#define SERVER_EVENTS_H

#include "api/event_batch.h"
#include "server/core.h"

enum {
    EVENTS_BATCH = 64, /* in one request */
    EVENTS_ASK_MS = 2000,
    EVENTS_PAUSE_MIN_MS = 100, /* after a server did not take them, growing */
    EVENTS_PAUSE_MAX_MS = 4000,
    EVENTS_LOOK_MS = 2000, /* for servers that are new */
    EVENTS_KEPT_MS = 60 * 1000,
    EVENTS_WAITING_MAX =
        64, /* batches, between a serving and the core thread */
};

struct events;

MUST_USE enum err events_new(struct core *c);
void events_stop(struct core *c);
void events_free(struct core *c);

/* op->event, from here on: done follows at once. */
void events_fire(struct core *c, struct agent_op *op);

/* Somebody has told of these. */
void events_heard(struct core *c, const struct event_batch *b);

/* The catalog has another version: perhaps another server. */
void events_published(struct core *c, const struct watch_set *set);

/* An agent has a server (again). */
void events_linked(struct core *c);

/* PUT /v1/peer/event. On the serving thread; the call moves. */
void events_begin(struct serving *s, struct conn *c, struct api_call *call);

#endif
