/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* impl - what the files of the balancer share. Internal. */
#ifndef LB_IMPL_H
#define LB_IMPL_H

#include "base/map.h"
#include "lb/balancer.h"
#include "lb/once.h"
#include "lb/policy.h"

/* One line of the list, as the owner brought it last. */
struct lb_entry {
    struct lb_host *host;
    struct bytes zone; /* in the roll's text */
    uint64_t ready_ms;
    uint32_t weight;
    uint8_t priority;
    bool critical, out, probation, chosen;
};

/* The list: sorted by name and identity. */
struct lb_roll {
    size_t n;
    char *text;
    struct lb_entry entry[];
};

/* Members among which a policy chooses: one priority, one zone. */
struct lb_group {
    uint64_t share_end; /* of 2^32, summed up; the last one's is 2^32 */
    struct lb_member *members;
    void *table;
    uint32_t n;
    uint64_t weight_sum;
    uint64_t name; /* of priority and zone: to find it again in the next view */
    bool panic;    /* ejected ones are members on purpose */
};

/* What picks see. Immutable but for the turns of rotations. */
struct lb_view {
    struct lb_junk junk;
    size_t groups, slots;
    struct lb_group *group;
    struct lb_host **slot; /* NULL: free */
};

enum { LB_LATENCY_CELLS = 128 };

struct lb {
    _Atomic(struct lb_view *) view;
    struct lb_grace grace;
    const struct lb_policy *policy;
    struct lb_options o; /* zone points into zone_text */
    struct lb_tuning tuning;
    char zone_text[LB_TEXT_MAX + 1];

    /* Written by reports. */
    struct lb_flight flight; /* of all; bounded load only */
    _Atomic uint32_t ejected, ejected_max;
    _Atomic uint32_t unreachable, unreachable_max;
    _Atomic uint32_t tally_set; /* where reports count: 0 or 1 */
    _Atomic uint32_t typical_us;
    _Atomic bool dirty; /* a report changed who may be picked */
    _Atomic uint32_t latency[LB_LATENCY_CELLS];
    struct lb_budget budget;
    struct lb_once once;

    /* Published by the owner for anybody. */
    _Atomic uint32_t listed, usable, healthy, slow_starting;
    _Atomic bool panic, zoned, ranked, returning;
    _Atomic uint32_t share_ppm[LB_PRIORITIES_MAX];
    _Atomic uint64_t views;

    /* The owner's. */
    struct lb_roll *roll;
    struct map hosts; /* by identity; those that linger, too */
    struct lb_host **slots;
    size_t slots_n, lingering;
    struct lb_junk *gone; /* hosts that only the published view still has */
    uint64_t next_id, interval_ms, slow_ms;
    uint32_t rank;
    double load[LB_PRIORITIES_MAX]; /* of the last view, shares of 1, */
    uint64_t load_ms;               /* made then */
    size_t callers_n;
    double caller_share[LB_ZONES_MAX];
    uint64_t caller_zone[LB_ZONES_MAX]; /* hashes */
};

/* roll.c: the new list from v, hosts made for newcomers (not yet in b). */
MUST_USE enum err lb_roll_new(struct lb *b, const struct lb_endpoint *v,
                              size_t n, struct lb_roll **ret,
                              struct errtext *t);

/* Gives up a roll that lb_roll_new made: its newcomers, too. */
void lb_roll_drop(struct lb *b, struct lb_roll *take_r);

/* Hosts that are in the roll get slots, those that are not start to linger.
 * ERR_NOMEM: nothing changed. */
MUST_USE enum err lb_roll_enter(struct lb *b, struct lb_roll *r);

/* After the view without them was published. */
void lb_roll_settle(struct lb *b, struct lb_roll *take_old, uint64_t now_ms);

/* Hosts that lingered long enough leave map and slots and go to b->gone, to be
 * retired when a view without them is published. True if there were any. */
bool lb_linger_end(struct lb *b, uint64_t now_ms);

/* Takes back lb_roll_enter, if it was, and drops the roll. */
void lb_roll_undo(struct lb *b, struct lb_roll *take_r);

/* options.c */
MUST_USE enum err lb_options_check(const struct lb_options *o,
                                   struct errtext *t);

/* view.c: from the roll given; not published. */
MUST_USE enum err lb_view_new(struct lb *b, struct lb_roll *r, uint64_t now_ms,
                              struct lb_view **ret);
void lb_view_free(struct lb_view *v);

/* outlier.c. True: the latency is one for the histogram. All threads share that,
 * so of many replies a few are enough. */
bool lb_outlier_report(struct lb *b, struct lb_host *h, enum lb_outcome o,
                       uint32_t latency_us, uint64_t now_ms);
MUST_USE enum err lb_outlier_tick(struct lb *b, uint64_t now_ms);
/* smallest: how many the smallest priority has in which somebody is healthy. As
 * many as it needs to be above panic stay reachable, whatever is refused. */
void lb_outlier_limits(struct lb *b, uint32_t usable, uint32_t smallest,
                       uint32_t healthy);
void lb_unblock(struct lb *b, struct lb_host *h, uint32_t bit);

static inline bool lb_entry_usable(const struct lb_entry *e)
{
    return e->weight > 0 && !e->out;
}

static inline uint32_t lb_blocked(const struct lb_host *h)
{
    return atomic_load_explicit(&h->blocked, memory_order_relaxed);
}

#endif
