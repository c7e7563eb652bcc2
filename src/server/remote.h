/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* remote - requests that a server of another datacenter answers.
 *
 * On the serving thread: the request goes out as it came, to one server there at
 * a time (reads go to the next one if it does not answer), and its answer comes
 * back as it is, status, Consul's head lines, body. Of each datacenter at most
 * REMOTES_MAX wait on one thread: a slow or dead one takes connections of its own
 * and memory within that bound, nothing from other requests. */
#ifndef SERVER_REMOTE_H
#define SERVER_REMOTE_H

#include "server/serving.h"

enum {
    REMOTES_MAX = 512,          /* of one datacenter, on one thread */
    REMOTE_TIMEOUT_MS = 10000,  /* beyond what the request itself may wait */
    REMOTE_SERVERS_MAX = 3,     /* asked, one after the other */
    FAILOVER_TIMEOUT_MS = 3000, /* a query has others to ask */
    REMOTE_MIRROR_MS = 1000,    /* a write waits for the mirror to show it */
    FAILOVERS_MAX = 16,         /* datacenters of one prepared query */
};

/* On answers of writes that peers passed on: the revision that shows them. */
#define REMOTE_REVISION_HEADER "X-Muster-Revision"

/* Retry-After where a stream is refused. */
#define REMOTE_STREAM_RETRY_S "5"

/* The call names another datacenter (call->forward), or is a query that found
 * nobody here (call->failover_count). It moves. */
void remote_begin(struct serving *s, struct conn *c, struct api_call *call);

void remote_gone(struct conn_state *st);

/* A mirror has another version: whose write it shows is answered. Pinned. */
void remote_published(struct serving *s, const struct dc_mirror *of);

/* To each serving thread: the datacenter is not heard any more. What waits for an
 * answer from there and can be answered from its mirror is. Any thread. */
void remote_link_down(struct serving *s, const struct dc_mirror *of);
void remote_link_lost(struct serving *s, struct letter *take);

#endif
