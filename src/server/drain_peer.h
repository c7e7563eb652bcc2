/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* drain_peer - what a server that drains an instance asks of the others
 * (asks.h):
 *
 *   PUT /v1/peer/drain/     {"Node":"n1","Name":"web","ID":"w1"}: look who has it
 *                           now -> {"Node":"s2","Drain":"<32 hex digits>"}
 *   PUT /v1/peer/drain/:id  {"Need":4711}: who has not let go of it, that is has
 *                           not applied this index? ->
 *                           {"Node":"s2","Index":4711,"Holding":1,"Waiting":[row,
 *                           ...],"WaitingMore":0,"Unproven":[...],"Readers":0,
 *                           "UnprovenComplete":true,"UnknownMs":0,"DnsMs":0}
 *
 * What was looked at is kept for DRAINS_KEPT_MS after it was asked for last. 404:
 * it is not known (any more), as after a restart. One table for all serving
 * threads, with a mutex: consecutive requests come on any of them. */
#ifndef SERVER_DRAIN_PEER_H
#define SERVER_DRAIN_PEER_H

#include "server/serving.h"

enum {
    DRAINS_MAX = 256,
    DRAINS_KEPT_MS = 60 * 1000,
    DRAINS_TEXT_MAX = 4096, /* bytes of a name */
};

struct drains;

struct drains *drains_new(void); /* NULL: no memory */
void drains_free(struct drains *ds);

/* Fills the call. Pinned. */
void drains_answer(struct serving *s, struct api_call *call);

#endif
