/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* heard - what the agent has been told and keeps in memory only: user events,
 * the newest HEARD_EVENTS_MAX of them, and network coordinates of nodes.
 *
 * One writer (the core thread); readers pin (base/pin.h) and take the current
 * snapshot, as of the catalog. Each change publishes a version of its own, in
 * the catalog's pin domain: never between another's first retire and its
 * publish. Times are none here: the order of events is their number. */
#ifndef LOCAL_HEARD_H
#define LOCAL_HEARD_H

#include "base/buf.h"
#include "base/pin.h"
#include "catalog/watch.h"

enum {
    HEARD_EVENTS_MAX = 256,
    HEARD_COORDINATES_MAX = 16384, /* nodes; more are not taken */
    HEARD_DIMENSIONS = 8,
};

struct heard_event {
    char id[37]; /* UUID */
    struct bytes name, payload, node_filter, service_filter, tag_filter;
    uint64_t number; /* 1, 2, ... in the order in which they came */
};

struct heard_coordinate {
    struct bytes node; /* as it was given */
    double vec[HEARD_DIMENSIONS];
    double error, adjustment, height;
};

struct heard_snapshot {
    size_t event_count;
    const struct heard_event *events[HEARD_EVENTS_MAX]; /* oldest first */
    size_t coordinate_count;
    const struct heard_coordinate **coordinates; /* by folded node name */
    uint64_t coordinates_index; /* 1 at first; grows with each change */
};

struct heard;

struct heard *heard_new(struct pin_domain *pins);
void heard_free(struct heard *h); /* no reader left */

/* The event's strings are copied, its number is given. */
void heard_add_event(struct heard *h, const struct heard_event *e);

/* A node's new coordinate. ERR_LIMIT: too many nodes have one. */
MUST_USE enum err heard_put_coordinate(struct heard *h,
                                       const struct heard_coordinate *c);

/* --- Readers (pinned, or the writer's thread) ---------------------------- */

const struct heard_snapshot *heard_current(const struct heard *h);

/* NULL: the node has none. */
const struct heard_coordinate *heard_coordinate(const struct heard_snapshot *s,
                                                struct bytes node);

/* Round trip between two, in seconds (Vivaldi, as Serf takes it). */
double heard_distance(const struct heard_coordinate *a,
                      const struct heard_coordinate *b);

/* What X-Consul-Index says of a list whose last event has this UUID: the two
 * halves of its bits, one over the other. */
uint64_t heard_event_index(const char id[37]);

#endif
