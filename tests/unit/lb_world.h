/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* lb_world - endpoints and counts for the tests of the balancer: a virtual clock
 * and seeds, so each run is the same. */
#ifndef LB_WORLD_H
#define LB_WORLD_H

#include <math.h>
#include <stdio.h>

#include "lb/balancer.h"
#include "lb/draw.h"
#include "lb/policy.h"

#include "test.h"

enum { WORLD_MAX = 10000 };

struct world {
    struct lb *b;
    struct lb_endpoint *v;
    size_t n;
    uint64_t now_ms, random, reports;
    char (*address)[32];
    char (*id)[32];
    uint64_t *ids;   /* of the balancer, by number of endpoint */
    uint32_t *count; /* picks, by number of endpoint */
    struct errtext t;
};

static inline void world_init(struct world *w, size_t n)
{
    *w = (struct world){.n = n, .now_ms = 1000000, .random = 1};
    w->v = calloc(WORLD_MAX, sizeof *w->v);
    w->address = calloc(WORLD_MAX, sizeof *w->address);
    w->id = calloc(WORLD_MAX, sizeof *w->id);
    w->ids = calloc(WORLD_MAX, sizeof *w->ids);
    w->count = calloc(WORLD_MAX, sizeof *w->count);
    for (size_t i = 0; i < WORLD_MAX; i++) {
        (void)snprintf(w->address[i], sizeof w->address[i], "10.0.%zu.%zu",
                       i / 256, i % 256);
        (void)snprintf(w->id[i], sizeof w->id[i], "web-%zu", i);
        w->v[i] = (struct lb_endpoint){.node = bytes_str("n"),
                                       .service_id = bytes_str(w->id[i]),
                                       .address = bytes_str(w->address[i]),
                                       .port = 8080,
                                       .weight = 1};
    }
}

static inline void world_fini(struct world *w)
{
    lb_free(w->b);
    free(w->v);
    free(w->address);
    free(w->id);
    free(w->ids);
    free(w->count);
}

static inline struct lb_options world_options(const char *policy)
{
    struct lb_options o;

    lb_options_init(&o);
    o.policy = bytes_str(policy);
    o.seed = 7;
    return o;
}

static inline void world_learn(void *ctx, const struct lb_endpoint_state *e)
{
    struct world *w = ctx;
    unsigned long i = strtoul(e->service_id.p + 4, NULL, 10);

    w->ids[i] = e->id;
}

static inline void world_update(struct world *w)
{
    enum err e = lb_update(w->b, w->v, w->n, w->now_ms, &w->t);

    if (e != ERR_OK)
        fail_msg("%s", w->t.s);
    lb_each(w->b, w->now_ms, world_learn, w);
}

static inline void world_tick(struct world *w, uint64_t ms)
{
    w->now_ms += ms;
    assert_ok(lb_tick(w->b, w->now_ms));
}

static inline void world_start(struct world *w, const struct lb_options *o)
{
    enum err e = lb_new(o, &w->b, &w->t);

    if (e != ERR_OK)
        fail_msg("%s", w->t.s);
    world_update(w);
}

/* The number of the endpoint, from its address. */
static inline size_t world_number(const struct lb_ticket *t)
{
    unsigned high = 0, low = 0;

    (void)sscanf(t->address, "10.0.%u.%u", &high, &low);
    return (size_t)high * 256 + low;
}

static inline size_t world_pick_key(struct world *w, struct bytes key,
                                    struct lb_ticket *t)
{
    struct lb_ask ask = {
        .key = key, .now_ms = w->now_ms, .random = lb_draw(&w->random)};

    assert_ok(lb_pick(w->b, &ask, t));
    return world_number(t);
}

static inline size_t world_pick(struct world *w, struct lb_ticket *t)
{
    char key[32];
    int n = snprintf(key, sizeof key, "key-%llu",
                     (unsigned long long)lb_draw(&w->random));

    return world_pick_key(w, bytes_of(key, (size_t)n), t);
}

/* So many requests, one after the other, that all go well in 1 ms. */
static inline void world_run(struct world *w, size_t requests)
{
    struct lb_ticket t;

    memset(w->count, 0, WORLD_MAX * sizeof *w->count);
    for (size_t i = 0; i < requests; i++) {
        w->count[world_pick(w, &t)]++;
        assert_ok(lb_report(w->b, &t, LB_OK, 1000, w->now_ms));
    }
}

static inline void world_report(struct world *w, size_t endpoint,
                                enum lb_outcome o, uint32_t latency_us)
{
    /* Its number is none that a pick gives. */
    struct lb_ticket t = {.id = w->ids[endpoint],
                          .number = ((uint64_t)1 << 40) + w->reports++};

    /* A ticket without a pick: found by its slot. */
    for (t.slot = 0; t.slot < WORLD_MAX; t.slot++) {
        struct lb_ticket copy = t;
        t.number = ((uint64_t)1 << 40) + w->reports++;
        if (lb_report(w->b, &copy, o, latency_us, w->now_ms) == ERR_OK)
            return;
    }
    fail_msg("endpoint %zu is not there", endpoint);
}

static inline struct lb_state world_state(const struct world *w)
{
    struct lb_state s;

    lb_get_state(w->b, &s);
    return s;
}

/* The statistic of Pearson's test of counts against shares. */
static inline double chi_square(const uint32_t *count, const double *share,
                                size_t n)
{
    double sum = 0, all = 0, chi = 0;

    for (size_t i = 0; i < n; i++) {
        sum += share[i];
        all += count[i];
    }
    for (size_t i = 0; i < n; i++) {
        double want = all * share[i] / sum;
        if (share[i] > 0)
            chi += (count[i] - want) * (count[i] - want) / want;
        else
            assert_int_equal(count[i], 0);
    }
    return chi;
}

/* Above it with probability 0.001, for df degrees of freedom (Wilson and
 * Hilferty's approximation; 18.5 for 4). */
static inline double chi_limit(size_t df)
{
    double k = (double)df, c = 2.0 / (9 * k);

    return k * pow(1 - c + 3.0902 * sqrt(c), 3);
}

/* --- Tables without a balancer ------------------------------------------- */

struct bench_list {
    struct lb_host *hosts;
    struct lb_member *v;
    char (*names)[32];
    struct lb_list list;
    struct lb_tuning tuning;
};

static inline void list_init(struct bench_list *l, size_t n)
{
    *l = (struct bench_list){
        .tuning = {.choices = 2, .bias = 1, .decay_ms = 10000}};
    l->hosts = calloc(n, sizeof *l->hosts);
    l->v = calloc(n, sizeof *l->v);
    l->names = calloc(n, sizeof *l->names);
    for (size_t i = 0; i < n; i++) {
        int k = snprintf(l->names[i], sizeof l->names[i], "192.168.%zu.%zu:80",
                         i / 256, i % 256);
        l->hosts[i].name = bytes_of(l->names[i], (size_t)k);
        l->hosts[i].key = l->hosts[i].name;
        l->hosts[i].hash = bytes_hash(l->hosts[i].name, 0);
        l->v[i] = (struct lb_member){&l->hosts[i], 1};
    }
    l->list =
        (struct lb_list){.v = l->v, .n = n, .tuning = &l->tuning, .seed = 3};
}

static inline void list_fini(struct bench_list *l)
{
    free(l->hosts);
    free(l->v);
    free(l->names);
}

/* Without the i-th. */
static inline void list_remove(struct bench_list *l, size_t i)
{
    memmove(&l->v[i], &l->v[i + 1], (l->list.n - i - 1) * sizeof l->v[0]);
    l->list.n--;
}

static inline const struct lb_host *table_pick(const struct lb_policy *p,
                                               const struct bench_list *l,
                                               const void *table, uint64_t key)
{
    struct lb_walk w = {.members = l->v, .n = (uint32_t)l->list.n, .key = key};

    return l->v[p->first(table, &w)].host;
}

#endif
