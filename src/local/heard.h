/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* heard - what the agent has been told and keeps in memory only: user events,
 * the newest HEARD_EVENTS_MAX of them. A process has two: those that are for its
 * node, and those that it passes on (server/events.h).
 *
 * One writer (the core thread); readers pin (base/pin.h) and take the current
 * snapshot, as of the catalog. Each change publishes a version of its own, in
 * the catalog's pin domain: never between another's first retire and its
 * publish. No clock is read here. */
#ifndef LOCAL_HEARD_H
#define LOCAL_HEARD_H

#include "base/buf.h"
#include "base/pin.h"
#include "catalog/watch.h"

enum { HEARD_EVENTS_MAX = 256 };

struct heard_event {
    char id[37]; /* UUID */
    struct bytes name, payload, node_filter, service_filter, tag_filter;
    struct bytes from; /* the node that brought it; empty: fired here */
    uint64_t ltime;    /* Lamport's, of the node where it was fired */
    uint64_t number;   /* 1, 2, ... in the order in which they came */
    uint64_t fired_ms; /* when, by this process's monotonic clock */
    uint32_t hops;     /* how often it was passed on */
};

struct heard_snapshot {
    size_t event_count;
    const struct heard_event *events[HEARD_EVENTS_MAX]; /* oldest first */
};

struct heard;

struct heard *heard_new(struct pin_domain *pins);
void heard_free(struct heard *h); /* no reader left */

/* The event's strings are copied, its number is given. */
void heard_add_event(struct heard *h, const struct heard_event *e);

/* --- Readers (pinned, or the writer's thread) ---------------------------- */

const struct heard_snapshot *heard_current(const struct heard *h);

/* What X-Consul-Index says of a list whose last event has this UUID: the two
 * halves of its bits, one over the other. */
uint64_t heard_event_index(const char id[37]);

#endif
