/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* liveness - which nodes' agents are alive: what the holder of the duty makes of
 * what all servers hear. It declares nodes failed (their check serfHealth turns
 * critical), takes that back, and removes those that stay away.
 *
 * Agents beat once a second on a connection to one server; beats never reach the
 * store. Each server tells the holder, about once a second, how long ago it heard
 * each agent. Who is expected is in the catalog: nodes that have the check, and
 * whose meta LIVENESS_META (of a server: that of its service "consul") says where
 * they can be reached; a server is heard if it answers.
 *
 *   HEARD ---- nobody heard it for SUSPECT ms ----> SUSPECT
 *     ^                                               | others are asked to reach
 *     |  a beat, or an observer that reached it       | its peer listener, in
 *     +-----------------------------------------------+ rounds of LOOK ms
 *     ^                                               | all of them say no, for
 *     |  a beat                                       v FAIL ms since the last beat
 *     +-------------------------------------------- FAILED -- RECONNECT ms --> gone
 *
 * What must never count as somebody's death (SWIM and Lifeguard, arXiv:1707.00788,
 * and where they do not reach):
 *
 * - A new holder has heard nobody: all times start when it begins.
 * - A server that goes silent took its agents' beats with it: those whom it heard
 *   last are counted from when it was given up (SERVER_LOST ms), so that they have
 *   time to find another one.
 * - This process was stopped, or its loop was late: all times start anew. A server
 *   whose loop is late says by how much, and its agents are younger by that.
 * - Nobody looks at a wall clock.
 * - Many at once (more than a third of three or more): then the holder doubts
 *   itself, and waits for FAIL_DOUBT ms.
 * - The peer listener refuses: the agent is gone, but what its host serves may go
 *   on. That is silence, and the guard holds the node's services
 *   (catalog/guard.h); so it is where nobody could be asked, or one alone, who may
 *   be the one that is cut off. Only if two observers find the host itself
 *   unreachable it is evidence.
 *
 * A machine without clock, socket or store, as duty.h; times are monotonic
 * milliseconds. Core thread. */
#ifndef DUTY_LIVENESS_H
#define DUTY_LIVENESS_H

#include "catalog/catalog.h"
#include "catalog/plan_guard.h"

#define LIVENESS_META  "muster_peer_port"
#define LIVENESS_CHECK "serfHealth"

enum {
    LIVENESS_TICK_MS = 250,
    LIVENESS_GAP_MS = 1000,         /* between runs: we were not there */
    LIVENESS_SUSPECT_MS = 5000,     /* unheard */
    LIVENESS_ROUND_MS = 2000,       /* between rounds of probes */
    LIVENESS_FAIL_MS = 10000,       /* unheard, and nobody reached it */
    LIVENESS_FAIL_DOUBT_MS = 30000, /* the same, of many at once */
    LIVENESS_SERVER_LOST_MS = 3000,
    LIVENESS_OBSERVERS = 3, /* asked in one round */
    LIVENESS_SERVERS_MAX = 256,
    LIVENESS_NAME_MAX = 256, /* bytes of a node's name */
    LIVENESS_BATCH = 64,     /* nodes in one plan */
    LIVENESS_RETRY_MS = 500, /* after a plan that could not be committed */
    LIVENESS_DOUBT_MIN = 3,
    LIVENESS_DOUBT_SHARE = 3, /* more than one in so many */
};

enum liveness_verdict {
    LIVENESS_REACHED,
    LIVENESS_REFUSED,     /* its host answers, nobody listens there */
    LIVENESS_UNREACHABLE, /* no answer in time */
};

struct liveness_options {
    const struct catalog *catalog;
    uint64_t seed;         /* of who observes */
    uint64_t reconnect_ms; /* until a failed node is removed; 0: never */

    /* The observer (an agent that is heard, another one each time of a round) is
     * asked to reach the node's peer
     * listener; liveness_probed may follow. */
    void (*probe)(void *ctx, struct bytes observer, struct bytes node,
                  struct bytes host, int64_t port);

    /* Commit the plan (valid until liveness_committed, which follows once). */
    void (*commit)(void *ctx, const struct plan *p, const char *what);

    /* For people and tests. */
    void (*told)(void *ctx, struct bytes node, const char *what,
                 uint64_t unheard_ms);
    void *ctx;
};

struct liveness;

struct liveness *liveness_new(const struct liveness_options *o);
void liveness_free(struct liveness *l);

/* The fence's key is copied. */
void liveness_gained(struct liveness *l, const struct store_guard *fence,
                     uint64_t now_ms);
void liveness_lost(struct liveness *l);

/* A server's report begins: by how much its loop was late lately. Then each node
 * that it hears, and how long ago it heard it last. */
void liveness_report(struct liveness *l, struct bytes server, uint64_t lag_ms,
                     uint64_t now_ms);
void liveness_heard(struct liveness *l, struct bytes node, uint64_t ago_ms,
                    uint64_t now_ms);

/* What an observer that was asked has found out. */
void liveness_probed(struct liveness *l, struct bytes observer,
                     struct bytes node, enum liveness_verdict v,
                     uint64_t now_ms);

/* Does what is due; call every LIVENESS_TICK_MS. wall_ms: for people. */
void liveness_run(struct liveness *l, uint64_t now_ms, uint64_t wall_ms);

void liveness_committed(struct liveness *l, bool committed, uint64_t revision);

struct liveness_counts {
    size_t expected, suspect, failed;
    uint64_t failures, returns, reaped, doubts;
};

struct liveness_counts liveness_counts(const struct liveness *l);

#endif
