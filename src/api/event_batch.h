/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* event_batch - user events as servers and agents tell each other of them, in the
 * body of PUT /v1/peer/event and in the events "user" of an agent's stream:
 *
 *     {"From":NODE, "LTime":N, "Life":N, "To":N, "Seq":N, "Events":[
 *         {..., as in event/list, "Age":MS, "Hops":N}, ...]}
 *
 * From is who says it, LTime his clock (local/relay.h), Life his process. To is
 * the process that it is for, and no later one of that name; 0: whichever is
 * there. Seq, of a stream: up to which event it has told all. Age is how long ago
 * the event was fired: no two hosts' clocks are compared.
 *
 * Pure. Bounded by EVENT_BATCH_MAX; members that are not known are left out. */
#ifndef API_EVENT_BATCH_H
#define API_EVENT_BATCH_H

#include "api/api.h"

enum { EVENT_BATCH_MAX = HEARD_EVENTS_MAX };

struct event_batch {
    struct bytes from;
    uint64_t ltime, life, to, seq;
    size_t n;
    const struct heard_event *v[EVENT_BATCH_MAX];
};

/* Each event as passed on once more. now_ms: the clock of their fired_ms. */
void event_batch_put(struct buf *out, const struct event_batch *b,
                     uint64_t now_ms);

/* Events are views into json and a. ERR_BAD, ERR_LIMIT, ERR_NOMEM: t says what is
 * wrong with it. */
MUST_USE enum err event_batch_get(struct bytes json, struct arena *a,
                                  uint64_t now_ms, struct event_batch *ret,
                                  struct errtext *t);

/* Whether it is for this node, by its filters (local services as of env). False
 * with a text: it is for nobody, as it cannot be read. */
bool api_event_is_for(const struct api_env *env, const struct heard_event *e,
                      struct errtext *t);

/* Members, within an object. */
void api_event_members(struct json_out *j, const struct heard_event *e,
                       uint64_t ltime);

#endif
