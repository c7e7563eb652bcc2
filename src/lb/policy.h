/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* policy - the interface behind which every policy stands. Internal.
 *
 * A policy makes an immutable table from a list of members, and walks it: first
 * gives the member it wants for a draw or a key, next what it would take
 * instead, each O(1) but for rendezvous. Whether a member is acceptable (not
 * ejected, not excluded, below its bound) is the balancer's business.
 *
 * Members come sorted by name, with weights above zero, so that the same set
 * gives the same table whoever listed it in whatever order. A table is one block
 * of malloc. Nothing in first and next allocates, locks or waits. */
#ifndef LB_POLICY_H
#define LB_POLICY_H

#include "base/bytes.h"
#include "lb/host.h"

enum {
    LB_MEMBERS_MAX = 65535,       /* of one table: indexes are 16 bits there */
    LB_WEIGHT_MAX = 1000 * 65535, /* slow start works in thousandths */
};

struct lb_member {
    struct lb_host *host;
    uint32_t weight; /* 1 to LB_WEIGHT_MAX */
};

/* What tables are made with; the balancer's options after their defaults. */
struct lb_tuning {
    uint32_t choices;     /* least-request */
    double bias;          /* weighted-least-request */
    uint32_t decay_ms;    /* peak-ewma: tau */
    uint32_t maglev_size; /* prime; 0: by number of members */
};

struct lb_list {
    const struct lb_member *v;
    size_t n; /* 1 to LB_MEMBERS_MAX */
    const struct lb_tuning *tuning;
    uint64_t seed; /* this client's own: where round robin starts */
    const void
        *old; /* the table this one replaces, of the same policy, or NULL:
                      * a rotation goes on where it was */
    const struct lb_list *old_list;
};

struct lb_walk {
    const struct lb_member *members;
    uint32_t n;
    uint32_t at;         /* the policy's own place */
    uint64_t draw;       /* random; the state of lb_draw */
    uint64_t key;        /* hash of the key; of hash policies */
    uint64_t place;      /* the policy's own */
    uint32_t tag;        /* of now, for lb_flight_count */
    uint32_t now;        /* ms, wraps */
    uint32_t typical_us; /* cost of a host that was never measured */
};

struct lb_policy {
    const char *name;
    bool hashes;   /* picks by key; without slow start and zones */
    bool weighted; /* looks at weights */
    MUST_USE enum err (*build)(const struct lb_list *l, void **ret_table);
    uint64_t (*hash)(struct bytes key); /* of hash policies */
    uint32_t (*first)(const void *table, struct lb_walk *w);
    uint32_t (*next)(const void *table, struct lb_walk *w);
};

extern const struct lb_policy lb_round_robin, lb_random, lb_smooth, lb_edf,
    lb_weighted_random, lb_ketama, lb_maglev, lb_rendezvous, lb_jump,
    lb_least_request, lb_p2c, lb_peak_ewma, lb_weighted_least_request;

/* All of them, NULL at the end. */
extern const struct lb_policy *const lb_policies[];

/* NULL: no such policy. */
const struct lb_policy *lb_policy_by_name(struct bytes name);

/* --- What tests hold against published vectors --------------------------- */

/* The order in which smooth weighted round robin takes n members of these
 * weights, sum of weights entries. ERR_NOMEM. */
MUST_USE enum err lb_smooth_schedule(const uint32_t *weights, size_t n,
                                     uint16_t *ret);

/* Earliest deadline first, first deadlines random by seed. ERR_NOMEM. */
MUST_USE enum err lb_edf_schedule(const uint32_t *weights, size_t n,
                                  uint64_t seed, uint16_t *ret);

/* Weights over their gcd if their sum is then at most cap, else scaled to sum
 * up to cap - n at least and cap at most, each at least 1 (cap > n). Returns the
 * sum. */
uint64_t lb_schedule_weights(const struct lb_member *v, size_t n, uint64_t cap,
                             uint32_t *ret);

/* Four points on the ketama ring: MD5 of "name-i", little-endian. */
void lb_ketama_points(struct bytes name, uint32_t i, uint32_t ret[4]);

struct lb_ketama_point {
    uint32_t at;
    uint32_t member;
};

const struct lb_ketama_point *lb_ketama_ring(const void *table, size_t *ret_n);
const uint16_t *lb_maglev_slots(const void *table, size_t *ret_n);

/* Lamping, Veach: A fast, minimal memory, consistent hash algorithm, 2014. */
uint32_t lb_jump_hash(uint64_t key, uint32_t buckets);

/* --- Peak EWMA ----------------------------------------------------------- */

/* A reply after rtt_us at now (ms, wraps). Any thread. */
void lb_ewma_sample(struct lb_host *h, uint32_t rtt_us, uint32_t now,
                    uint32_t decay_ms);

/* Cost in us at now; 0: never measured. */
double lb_ewma_cost(const struct lb_host *h, uint32_t now, uint32_t decay_ms);

#endif
