/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* story - what happened to the instances of one service name.
 *
 * Fed with the rows of one moment, in any order, and then with the events of
 * each later revision, it tells what changed, in order: the newest `limit`
 * changes, and how many older ones it has let go. It holds the records of all
 * nodes, of their node-level checks, and of the name's own instances; until the
 * first rows have all come also the checks of other services, because whose a
 * check is shows only then. (An instance that is renamed to this name brings no
 * checks: they show when they are written next.)
 *
 * A change of a check's text alone is none, nor is one of its definition.
 * Values come from a log: what cannot be read is left out. */
#ifndef CATALOG_STORY_H
#define CATALOG_STORY_H

#include "base/list.h"
#include "catalog/record.h"

enum story_what {
    STORY_REGISTERED,   /* now */
    STORY_CHANGED,      /* was, now: see story_service_fields */
    STORY_DEREGISTERED, /* was; now: not empty, of another name since */
    STORY_LET_GO, /* by the guard: a held check of the node keeps it no longer */
    STORY_NODE_CHANGED, /* was, now: see story_node_fields */
    STORY_CHECK_ADDED,
    STORY_CHECK_REMOVED,
    STORY_CHECK_STATUS, /* was, now */
    STORY_CHECK_HELD,   /* the status stayed, the mark came (marks.h) or went */
    STORY_CHECK_RELEASED,
    STORY_CHECK_DAMPED,
    STORY_CHECK_UNDAMPED,
};

struct story_change {
    struct list link;
    uint64_t revision, wall_ms;
    enum story_what what;
    struct bytes by;           /* as told; empty: nobody knows */
    struct bytes node;         /* as registered */
    struct bytes node_address; /* empty: not known */
    struct bytes id; /* of the instance; empty: it concerns all of the node */
    struct bytes was, now; /* stored values: of the service, node or check */
};

struct story_options {
    struct bytes name; /* copied, as all of these */
    struct bytes node; /* only of this node; empty: of all */
    struct bytes id;   /* only of this instance ID */
    size_t limit;      /* > 0 */
    bool departures;   /* only STORY_DEREGISTERED; checks are not looked at */
};

struct story;

struct story *story_new(const struct story_options *o);
void story_free(struct story *s);

/* The state at the beginning; story_rows_end once all have come. */
void story_row(struct story *s, struct bytes key, struct bytes value);
void story_rows_end(struct story *s);

struct story_event {
    bool is_delete;
    struct bytes key, value, by;
};

/* Of one revision, in any order; views stay valid until story_revision. */
void story_event(struct story *s, const struct story_event *ev);
void story_revision(struct story *s, uint64_t revision, uint64_t wall_ms);

/* Oldest first: iterate with list_each over struct story_change's link. */
const struct list *story_changes(const struct story *s);
size_t story_count(const struct story *s);
uint64_t story_left(const struct story *s); /* let go for the limit */

/* --- Differences ----------------------------------------------------------- */

/* Bits of what differs, by the names of the HTTP API. */
enum story_field {
    FIELD_NAME,
    FIELD_ID,
    FIELD_ADDRESS,
    FIELD_PORT,
    FIELD_TAGS,
    FIELD_META,
    FIELD_TAGGED,
    FIELD_WEIGHTS,
    FIELD_OVERRIDE,
    FIELD_KIND,
    FIELD_PROXY,
    FIELD_CONNECT,
    FIELD_OTHER,
    FIELD_COUNT
};

uint32_t story_service_fields(const struct service_view *a,
                              const struct service_view *b);
uint32_t story_node_fields(const struct node_view *a,
                           const struct node_view *b);
const char *story_field_name(enum story_field f); /* "Port" */

#endif
