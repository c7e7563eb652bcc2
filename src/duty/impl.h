/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* impl - what the parts of the duty share.
 *
 *     duty.c    life, the one plan under way, what is due
 *     holds.c   who is held, and whose window it is: looks at the catalog
 *     expire.c  services registered from outside, their beats, their end */
#ifndef DUTY_IMPL_H
#define DUTY_IMPL_H

#include "base/arena.h"
#include "base/map.h"
#include "duty/duty.h"

/* A held instance. */
struct hold {
    struct bytes key;      /* "<node>/<service>" */
    struct bytes node, id; /* folded node; service ID */
    struct service *service;
    uint64_t held_ms; /* wall, as stored: the oldest first */
    enum duty_verdict by[DUTY_WITNESSES];
    bool of_node; /* by a check of its node */
    bool asked;   /* of_node: the bounds were asked at once */
    bool portless, probing;
    uint64_t look; /* the last that saw it */
};

/* A service name that has a guard record or held instances. */
struct service {
    struct bytes name; /* folded */
    size_t held;
    bool recorded;     /* it has a record */
    bool counts;       /* which counts somebody */
    uint64_t since_ms; /* first seen as it is */
    bool ending;       /* the window's end is to be planned */
    bool releasing;    /* then those unreachable go */
    bool told;         /* the log said that instances are held */
    uint64_t look;
};

struct duty {
    struct duty_options o;
    bool held;
    struct store_guard fence;
    struct buf fence_key;
    uint64_t now_ms;

    /* The plan under way. */
    struct arena arena;
    struct plan plan;
    bool flying;
    uint64_t await_revision; /* until the catalog shows it: no plan */
    uint64_t retry_ms;       /* not before */

    struct map holds, services;
    uint64_t look, looked_ms, looked_revision;
    bool dirty; /* a verdict came, a beat was missed ... */

    uint64_t beats_revision; /* up to which outside services are known; 0 */
    uint64_t expire_ms;      /* the next look at who expired */
    bool beats_limit_told;
    struct duty_counts counts;
};

static inline const struct snapshot *duty_snapshot(const struct duty *d)
{
    return catalog_current(d->o.catalog);
}

/* duty.c: hands the plan over, if it writes anything. True: it is under way. */
bool duty_submit(struct duty *d, enum err e, const struct errtext *t,
                 const char *what);
void duty_begin_plan(struct duty *d);

/* holds.c */
void holds_look(struct duty *d);
void holds_clear(struct duty *d);
bool holds_plan(struct duty *d);          /* true: a plan is under way */
uint64_t holds_due(const struct duty *d); /* the next time something is */

/* expire.c */
void expire_look(struct duty *d);
bool expire_plan(struct duty *d);
void expire_excuse(struct duty *d);

#endif
