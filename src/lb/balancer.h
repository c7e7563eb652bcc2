/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* balancer - a list of endpoints in, one endpoint per pick out.
 *
 * The owner (one thread at a time) brings the list (lb_update) and lets time
 * pass (lb_tick); each makes a new view aside and swaps it in. Any thread picks
 * and reports: no lock, no allocation, no wait. Time (monotonic ms) and random
 * numbers are arguments, so that the same calls give the same picks.
 *
 * What a pick goes through: priority (by health, overprovisioned; back again by
 * and by) -> zone (the
 * local one first, as far as it is not overloaded) -> policy -> skip what is
 * ejected, excluded, or over its bound. Below the panic threshold of a priority
 * its critical and ejected endpoints come back; those that drain, are in
 * maintenance or have no weight never do. */
#ifndef LB_BALANCER_H
#define LB_BALANCER_H

#include "base/bytes.h"
#include "lb/budget.h"
#include "lb/share.h"

enum {
    LB_ENDPOINTS_MAX = 65535,
    LB_TEXT_MAX = 255,      /* bytes of an address */
    LB_IDENTITY_MAX = 1024, /* bytes of node, ID and address together */
    LB_ENDPOINT_WEIGHT_MAX = 65535,
    LB_EXCLUDE_MAX = 32,
    LB_LINGER_MS = 5 * 60 * 1000, /* counters of one that left are kept */
    LB_LINGER_MAX = 4096,         /* so many of them */
};

struct lb_endpoint {
    struct bytes node, service_id, address; /* with port: the identity */
    struct bytes zone;
    uint64_t ready_ms; /* slow start counts from here; 0: long ago */
    uint32_t weight;   /* 0: never picked; at most LB_ENDPOINT_WEIGHT_MAX */
    uint16_t port;
    /* 0 first; below LB_PRIORITIES_MAX. Those from LB_RESERVE_FROM on are
     * looked at only where none of the others is healthy. */
    uint8_t priority;
    bool critical;  /* picked in panic only */
    bool out;       /* drains, or in maintenance: never picked */
    bool probation; /* the first refused connection counts, not the second */
};

struct lb_outlier_options { /* times in ms; see docs/load-balancing.md */
    bool off;
    uint32_t consecutive; /* failures in a row; 0: not looked at */
    uint32_t refusals;    /* refused connections in a row; 0: not looked at */
    uint32_t interval_ms, base_ms, max_ms;
    uint32_t jitter_ms;   /* each ejection lasts up to so much longer */
    uint32_t max_percent; /* of endpoints; at least one may be ejected */
    uint32_t min_hosts;   /* below, rates are not compared */
    uint32_t success_requests, success_deviations; /* deviations in 1/1000 */
    uint32_t failure_requests, failure_percent;    /* percent 0: off */
    uint32_t latency_requests, latency_factor;     /* of the median; 0: off */
};

struct lb_options {
    struct bytes policy;      /* a name of lb_policies */
    uint32_t bounded_percent; /* of the mean load; 0: unbounded, else > 100 */
    uint32_t choices;
    double bias;
    uint32_t decay_ms;
    uint32_t maglev_size; /* prime */
    uint32_t overprovision_percent;
    uint32_t panic_percent; /* 0: never */
    /* All traffic takes so long to come back to a priority that is well again;
     * 0: at once. */
    uint32_t return_ms;
    uint32_t slow_start_ms; /* 0: none */
    double slow_start_aggression;
    uint32_t slow_start_min_percent;
    uint32_t subset_size;    /* 0: all */
    bool ranked;             /* subset by rank from the beginning on */
    struct bytes zone;       /* the caller's; copied */
    uint32_t zone_min_hosts; /* below, zones are not looked at */
    struct lb_outlier_options outlier;
    uint32_t budget_percent, budget_per_second;
    uint64_t seed; /* this client's own: starts, salt */
};

/* The usual values of each (docs/load-balancing.md lists them). */
void lb_options_init(struct lb_options *o);

struct lb;

/* ERR_BAD, ERR_LIMIT: t names the option, its value and what is allowed. */
MUST_USE enum err lb_new(const struct lb_options *o, struct lb **ret,
                         struct errtext *t);

/* No pick may be running, none may follow. NULL is fine. */
void lb_free(struct lb *b);

/* --- The owner ----------------------------------------------------------- */

/* The list from now on; nothing of it is kept. Endpoints are the same if node,
 * ID, address and port are, and then keep their counters. An identity that
 * comes twice counts once. On error nothing changed. ERR_LIMIT: more than
 * LB_ENDPOINTS_MAX, a text too long, a weight or priority too great: t names
 * it. */
MUST_USE enum err lb_update(struct lb *b, const struct lb_endpoint *v, size_t n,
                            uint64_t now_ms, struct errtext *t);

/* Shares of callers per zone; n 0: unknown, zones are not looked at. Used from
 * the next update or tick on. ERR_LIMIT: more than LB_ZONES_MAX. */
struct lb_callers {
    struct bytes zone;
    double share; /* any unit */
};
MUST_USE enum err lb_set_callers(struct lb *b, const struct lb_callers *v,
                                 size_t n);

/* This caller's number among those who number themselves 0, 1, 2, ...: subsets
 * are by rank from now on, no more by salt. */
void lb_set_rank(struct lb *b, uint32_t rank);

/* Lets time pass: ejections, slow start, memory. Once a second is often enough;
 * sooner after lb_wants_tick. ERR_NOMEM: try again later. */
MUST_USE enum err lb_tick(struct lb *b, uint64_t now_ms);

/* Any thread: a report changed what may be picked. Picks know at once, shares
 * of priorities and panic with the next tick. */
bool lb_wants_tick(const struct lb *b);

/* --- Picks and reports: any thread --------------------------------------- */

struct lb_ask {
    struct bytes key;        /* of hash policies; others do not look */
    const uint64_t *exclude; /* ids of earlier tickets */
    size_t exclude_n;        /* at most LB_EXCLUDE_MAX are looked at */
    uint64_t now_ms;
    uint64_t random;
};

struct lb_ticket {
    uint64_t id; /* of the endpoint; never used for another; 0: void */
    uint64_t picked_ms;
    uint64_t number;    /* of this ticket: see once.h */
    uint32_t slot, tag; /* where it is counted */
    uint16_t port;
    char address[LB_TEXT_MAX + 1];
};

/* ERR_NOT_FOUND: nothing may be picked. ERR_BAD: a hash policy without key. */
MUST_USE enum err lb_pick(struct lb *b, const struct lb_ask *ask,
                          struct lb_ticket *ret);

enum lb_outcome {
    LB_OK,
    LB_FAILED,   /* it answered, but badly: a 5xx, a reset */
    LB_REFUSED,  /* nobody answered there: refused, unreachable, timed out */
    LB_CANCELED, /* says nothing about it */
};

/* What became of it, once, at whatever later time; the ticket is void then.
 * latency_us of LB_OK. ERR_BAD: the ticket is void, or a copy of it was reported. ERR_NOT_FOUND: the endpoint
 * is gone for long; nothing is wrong. */
MUST_USE enum err lb_report(struct lb *b, struct lb_ticket *ticket,
                            enum lb_outcome outcome, uint32_t latency_us,
                            uint64_t now_ms);

/* The retry budget; see budget.h. lb_pick does not count by itself. */
struct lb_budget *lb_budget_of(struct lb *b);

/* Latency in us that this share (95: 95 %) of the last replies stayed within: a
 * time after which a second copy of a request pays. 0: too few replies. */
uint32_t lb_latency_us(const struct lb *b, uint32_t percent);

/* --- What is going on ---------------------------------------------------- */

struct lb_state {
    uint32_t listed, usable; /* usable: may be picked at all */
    uint32_t healthy;        /* of these, as of the last view */
    uint32_t ejected, unreachable, slow_starting;
    bool panic, zoned, ranked;
    bool returning; /* traffic is on its way back to a better priority */
    uint64_t views; /* made so far */
};

/* Any thread. */
void lb_get_state(const struct lb *b, struct lb_state *ret);

/* Any thread: which share of picks (of 1) the priorities from `first` to `last`
 * have, as of the last view. */
double lb_share_of(const struct lb *b, size_t first, size_t last);

struct lb_endpoint_state {
    uint64_t id;
    struct bytes node, service_id, address, zone;
    uint16_t port;
    uint8_t priority;
    uint32_t weight;
    bool critical, out, ejected, unreachable,
        chosen;      /* chosen: in the subset */
    uint32_t active; /* requests in flight */
    uint64_t ok, failed, refused;
    double cost_us; /* peak EWMA; 0: never measured */
};

/* The owner: each endpoint of the list, in order of their names. */
void lb_each(const struct lb *b, uint64_t now_ms,
             void (*each)(void *ctx, const struct lb_endpoint_state *e),
             void *ctx);

/* Any thread: somebody has connected to it, or it is a registry's word that it
 * is well again: it is LB_UNREACHABLE no more. */
void lb_reachable(struct lb *b, uint64_t id, uint64_t now_ms);

/* --- Arithmetic of ejection ---------------------------------------------- */

/* How long the n-th ejection lasts. */
uint64_t lb_ejection_ms(const struct lb_outlier_options *o, uint32_t n);

/* How many of n may be ejected. */
uint32_t lb_ejection_limit(const struct lb_outlier_options *o, uint32_t n);

/* Success rates below it are outliers: mean - deviations / 1000 * sigma. */
double lb_success_threshold(const double *rates, size_t n, uint32_t deviations);

#endif
