/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* asks - what the servers of the cluster know of who holds an instance, asked of
 * each of them (drain_peer.h) by one that drains it.
 *
 *     asks_begin    before it is drained: each is asked to look who has it now
 *     asks_round    after that, again and again: who has let go?
 *
 * A server asks those that stand in its catalog beside itself; an agent, all
 * those that a server tells it of. One that could not be asked before is asked
 * later; one that has left is not asked any more. What none of them says is not
 * known: each has an answer, or a reason why not.
 *
 * On the serving thread. */
#ifndef SERVER_ASKS_H
#define SERVER_ASKS_H

#include "server/holders.h"
#include "server/serving.h"
#include "server/subscribers.h"

enum {
    ASKS_BEGIN_MS = 2000, /* for an answer, before it is drained */
    ASKS_LOOK_MS = 2000,  /* and after that */
    ASKS_GAP_MIN_MS = 20, /* between two rounds, growing */
    ASKS_GAP_MAX_MS = 500,
};

/* A server that is asked. */
struct asked {
    struct asks *asks;
    struct bytes node;
    char to[300]; /* empty: it has no listener for peers */
    char handle[SUBSCRIBER_ID_BYTES + 1]; /* empty: it has not looked yet */
    struct fetch *fetch;
    bool listed;
    uint64_t next_ms, gap_ms;
    bool failed;   /* at least once */
    bool answered; /* lately: */
    struct holders_state state;
    size_t more;                  /* rows left out */
    struct buf waiting, unproven; /* rows, as it wrote them */
    struct errtext why;           /* else: why not */
    char text[];                  /* of node */
};

struct asks {
    struct serving *serving;
    struct bytes node, name, id; /* the instance; outlive this */
    struct asked *v[API_SERVERS_MAX];
    size_t n;
    bool too_many; /* servers */
    /* An agent: who the servers are. */
    struct fetch *list;
    size_t list_at;
    bool listed, list_failed;
    uint64_t list_next_ms;
    struct errtext list_why;
    /* until all have answered, or could not */
    size_t outstanding;
    void (*ready)(void *ctx);
    void *ctx;
};

void asks_init(struct asks *a, struct serving *s, struct bytes node,
               struct bytes name, struct bytes id);
void asks_fini(struct asks *a); /* what is under way is of nobody any more */

/* True: ready is called once all have answered, or could not within
 * ASKS_BEGIN_MS; never after asks_hurry or asks_fini. False: there is nobody to
 * wait for. Pinned. */
bool asks_begin(struct asks *a, void (*ready)(void *ctx), void *ctx);

/* Nobody waits any more. */
void asks_hurry(struct asks *a);

/* Asks whom it is time to ask. Pinned. */
void asks_round(struct asks *a, uint64_t need);

#endif
