/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* liveness_impl - what the two files of liveness.h share: who is heard, suspected
 * and asked about (liveness.c), and what is written of it (liveness_plan.c). */
#ifndef DUTY_LIVENESS_IMPL_H
#define DUTY_LIVENESS_IMPL_H

#include "base/arena.h"
#include "base/map.h"
#include "duty/liveness.h"

enum { NOBODY = -1 /* no server heard it */ };

enum live_state { HEARD, SUSPECT, FAILED };

/* A node whose agent is expected. */
struct live_node {
    enum live_state state;
    uint64_t heard_ms;          /* last, or when its time began */
    int server;                 /* that heard it last */
    uint64_t asked_ms;          /* last round of probes; 0: none yet */
    unsigned asked, refused;    /* observers, and those who said so */
    uint64_t unreachable_by[2]; /* the same: hashes of their names; 0: nobody */
    uint64_t failed_ms;         /* since when it is seen as failed */
    uint64_t seen;              /* the last look that saw it */
    uint64_t round; /* of questions, the last that it was drawn for */
    bool observes;  /* it can be asked about others */
    bool back;      /* FAILED, and heard since */
    bool planned;   /* in the plan under way */
    size_t name_n;
    char name[]; /* folded */
};

struct live_server {
    bool here;
    uint64_t told_ms; /* its last report */
    uint64_t lag_ms;
    size_t name_n;
    char name[LIVENESS_NAME_MAX];
};

struct liveness {
    struct liveness_options o;
    bool held;
    struct store_guard fence;
    struct buf fence_key;
    uint64_t now_ms, wall_ms, ran_ms;
    uint64_t random;

    struct map nodes;         /* struct live_node by folded name */
    struct live_node **order; /* the same; observers are drawn from it */
    size_t order_cap;
    struct live_server servers[LIVENESS_SERVERS_MAX];
    int reporting; /* server of the report under way; NOBODY */
    uint64_t look, looked_ms, looked_index;
    uint64_t round; /* of questions */

    struct arena arena;
    struct plan plan;
    bool flying, failing; /* a plan; one that declares nodes failed */
    uint64_t await_revision, retry_ms;
    struct liveness_counts counts;
};

/* For people and tests. */
void liveness_tell(struct liveness *l, const struct live_node *n,
                   const char *what);

/* Plans what is due, if none is under way. */
void liveness_plan(struct liveness *l);

static inline const struct snapshot *liveness_now(const struct liveness *l)
{
    return catalog_current(l->o.catalog);
}

#endif
