/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* feed - muster's event stream of one service (docs/api.md), made a roster of:
 * bytes in, in any pieces; the whole list out, whenever the stream says that it
 * is whole. It stays while the connection is lost: a resumed stream goes on from
 * its id. No clock, no socket. */
#ifndef CLIENT_FEED_H
#define CLIENT_FEED_H

#include "base/map.h"
#include "client/roster.h"
#include "lb/balancer.h"

enum {
    FEED_LINE_MAX = 4 << 20, /* bytes: one instance, or one event */
    FEED_CLUSTER_MAX = 63,
};

/* How many callers each zone has, and this one's place among its like. */
struct feed_callers {
    struct {
        char name[LB_TEXT_MAX + 1];
        uint64_t callers;
    } zone[LB_ZONES_MAX];
    size_t zones;
    uint32_t rank;
    bool ranked;
};

struct feed_entry;

struct feed {
    struct buf line, data;
    struct map entries; /* Key -> struct feed_entry */
    struct map next;    /* of the snapshot that is coming */
    uint64_t id;        /* where to resume; 0: nowhere */
    struct feed_callers
        *callers;            /* NULL: never told; the caller looks at it, */
    bool callers_told;       /* when this is set, and clears it */
    struct feed_entry *lost; /* silent or reaped since client_feed_roster */
    size_t lost_n;
    char cluster[FEED_CLUSTER_MAX + 1]; /* whose; empty: it did not say */
    uint64_t age_ms; /* of what the server shows, as its last beat said */
    bool age_told;   /* there was one; the caller clears it */
    bool foreign; /* another cluster goes on where this one was: nothing of it
                   * is taken, begin anew */
    bool in_snapshot;
    bool based; /* there was a whole snapshot */
    bool
        whole; /* entries are those of id, and client_feed_roster has not been asked
                    * since */
    bool replaced; /* by a snapshot since then, not by single events */
    uint64_t event_id;
    bool has_id;
    char event[16];
};

void client_feed_init(struct feed *f);
void client_feed_fini(struct feed *f);

/* A new connection: what was cut off is forgotten, entries stay. */
void client_feed_again(struct feed *f);

/* ERR_BAD, ERR_LIMIT: that is no such stream, t says why; ERR_NOMEM. Then only
 * client_feed_fini is allowed. */
MUST_USE enum err client_feed_push(struct feed *f, struct bytes piece,
                                   struct errtext *t);

/* All there is now. */
MUST_USE enum err client_feed_roster(struct feed *f, struct roster **ret);

#endif
