/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* peer_serve - what servers and agents ask each other, answered on the serving
 * thread:
 *
 *     PUT /v1/peer/beat    {"Node":...}: this agent lives (presence.h). With
 *                          "Patient":true nothing else comes on this connection,
 *                          and where there are many, beats are read together
 *                          (conn_doze)
 *     PUT /v1/peer/behind  who reads through a stream (behind.h)
 *     PUT /v1/peer/drain/  who holds an instance (drain_peer.h)
 *     PUT /v1/peer/event   user events, to be passed on (events.h)
 *     GET /v1/peer/heard   who was heard here, and when
 *     PUT /v1/peer/probe   {"Address":...,"Port":...}: can you reach it? Answers
 *                          {"Verdict":"reached" | "refused" | "unreachable"}
 *     PUT /v1/peer/dns     a DNS message: its answer (?tcp: as over TCP)
 *                          (peer_dns.c)
 *     PUT /v1/peer/sync    wishes of an agent about its own node (peer_sync.c) */
#ifndef SERVER_PEER_SERVE_H
#define SERVER_PEER_SERVE_H

#include "server/serving.h"

enum {
    PEER_PROBE_MS = 1500,
    PEER_SYNC_ITEMS_MAX = 512, /* of one request */
};

/* The call moves: answered now or later. */
void peer_begin(struct serving *s, struct conn *c, struct api_call *call);

/* A beat, on the shortest way: there are more of them than of all else. False:
 * it is none, or is to be answered as any other request. */
bool peer_beat(struct serving *s, struct conn *c, const struct http_request *r);

/* Answers with what the call holds. */
void peer_answer(struct serving *s, struct conn *c, struct api_call *call);

/* The body is JSON. */
static inline void peer_json(struct api_call *call)
{
    call->status = 200;
    call->content_type = "application/json";
}

/* One that waits for somebody else's word; outlives the connection. */
struct peer_wait {
    struct serving *serving;
    struct conn *conn; /* NULL: gone, and the request with it */
    struct api_call call;
    struct peer_dns *dns;
};

/* The call moves. NULL: it has been answered, there is no memory. */
struct peer_wait *peer_wait_begin(struct serving *s, struct conn *c,
                                  struct api_call *call);

/* Answers with what the call holds, if anybody is there; frees p. */
void peer_wait_end(struct peer_wait *p);

/* The connection ends. */
void peer_gone(struct conn_state *st);

/* peer_dns.c */
void peer_dns_begin(struct serving *s, struct conn *c, struct api_call *call);

/* peer_sync.c */
struct sync_request;
void peer_sync_begin(struct serving *s, struct conn *c, struct api_call *call);
void peer_sync_written(struct serving *s, struct letter *l);
void peer_sync_gone(struct sync_request *r);

#endif
