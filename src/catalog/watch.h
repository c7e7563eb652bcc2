/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* watch - what a reader can wait for, and the index of each such thing.
 *
 * A watch key names a part of the catalog; its index is the revision that last
 * changed that part (0: never seen). A change reports the hashes of the keys it
 * touched; equal hashes of different keys cost one evaluation too many, nothing
 * else. */
#ifndef CATALOG_WATCH_H
#define CATALOG_WATCH_H

#include "base/bytes.h"

/* LOCAL_SERVICE and below are no part of the catalog: they are kept by others,
 * and their answers are not cached. */
enum watch_kind {
    WATCH_NONE,
    WATCH_NODES,          /* any node record */
    WATCH_SERVICES,       /* any service record added, changed, removed */
    WATCH_NODES_SERVICES, /* either */
    WATCH_CATALOG,        /* any record, check Output too */
    WATCH_NODE,           /* one node's record and services */
    WATCH_NODE_CHECKS,    /* one node's checks */
    WATCH_SERVICE,        /* a name's instances and their node records */
    WATCH_SERVICE_HEALTH, /* those, their checks and their nodes' checks */
    WATCH_SERVICE_CHECKS, /* the checks of a name's instances (text too) */
    WATCH_STATE,          /* checks entering, leaving, changing in a state, or
                             "any" */
    WATCH_QUERIES,        /* any prepared query */
    WATCH_COORDINATES,    /* any coordinate */
    WATCH_LOCAL_SERVICE,  /* a service of the own agent (src/local) */
    WATCH_LOCAL,          /* anything of the own agent */
    WATCH_EVENTS,         /* user events (src/local/heard.h) */
};

struct watch_key {
    enum watch_kind kind;
    struct bytes name; /* node, service or state; folded when hashed */
};

uint64_t watch_hash(struct watch_key k); /* never 0 */

/* A set of hashes touched by one version; grows, then is read in order. */
struct watch_set {
    uint64_t *v;
    size_t n, cap;
    bool all; /* everything (after a load); v is not complete then */
};

void watch_set_add(struct watch_set *s, uint64_t hash); /* may hold doubles */
void watch_set_sort(struct watch_set *s);               /* and drops doubles */
void watch_set_reset(struct watch_set *s);
void watch_set_fini(struct watch_set *s);

static inline bool watch_set_touches(const struct watch_set *s, uint64_t hash)
{
    for (size_t i = 0; i < s->n && !s->all; i++)
        if (s->v[i] == hash)
            return true;
    return s->all;
}

#endif
