/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Smooth weighted round robin and EDF, as schedules: one round is worked out
 * when the table is made, and picks walk it with one atomic counter. Over the
 * values of the counter the shares are exact, whichever thread drew which; the
 * textbook forms need a lock around the state that each pick changes.
 *
 * A round has the sum of weights divided by their gcd as its length, at most
 * ROUND_PER_MEMBER entries for each member; beyond that weights are rounded.
 *
 * Smooth: nginx, ngx_http_upstream_round_robin.c; each pick adds to everyone
 * its weight, takes the greatest (the first of equals) and takes the sum off
 * it. EDF: Envoy and gRPC A58; who is due first goes, and is due again 1/weight
 * later. First deadlines are random, or all clients would begin alike. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lb/draw.h"
#include "lb/policy.h"

enum {
    ROUND_PER_MEMBER =
        100,             /* entries: a weight is off by 1 % of the mean, ... */
    ROUND_MAX = 1 << 20, /* ... up to 10,000 members */
    SMOOTH_WORK_MAX = 1 << 24, /* members times entries, some 20 ms; beyond it
                                * EDF, which is as even and not quadratic */
};

struct schedule {
    _Atomic uint64_t turn;
    uint64_t n;
    uint16_t member[];
};

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t t = a % b;
        a = b;
        b = t;
    }
    return a;
}

/* Rounded down, but nobody to nothing: the sum is between cap - n and cap. */
static uint64_t scale(const struct lb_member *v, size_t n, uint64_t sum,
                      uint64_t cap, uint32_t *ret)
{
    uint64_t got = 0;

    for (size_t i = 0; i < n; i++) {
        double share = (double)v[i].weight * (double)(cap - n) / (double)sum;
        ret[i] = 1 + (uint32_t)share;
        got += ret[i];
    }
    return got;
}

uint64_t lb_schedule_weights(const struct lb_member *v, size_t n, uint64_t cap,
                             uint32_t *ret)
{
    uint64_t divisor = 0, sum = 0;

    if (n == 0)
        return 0;
    for (size_t i = 0; i < n; i++) {
        divisor = gcd(divisor, v[i].weight);
        sum += v[i].weight;
    }
    if (sum / divisor > cap)
        return scale(v, n, sum, cap, ret);
    for (size_t i = 0; i < n; i++)
        ret[i] = (uint32_t)(v[i].weight / divisor);
    return sum / divisor;
}

static void smooth_round(const uint32_t *weights, size_t n, uint64_t sum,
                         int64_t *current, uint16_t *ret)
{
    for (uint64_t turn = 0; turn < sum; turn++) {
        size_t best = 0;
        for (size_t i = 0; i < n; i++) {
            current[i] += weights[i];
            if (current[i] > current[best])
                best = i;
        }
        current[best] -= (int64_t)sum;
        ret[turn] = (uint16_t)best;
    }
}

/* One min-heap of deadlines, in numbers of a round: due = turns / weight. */
struct due {
    double at;
    uint32_t member;
};

static bool before(const struct due *a, const struct due *b)
{
    return a->at < b->at || (a->at == b->at && a->member < b->member);
}

static void due_sift(struct due *heap, size_t n, size_t i)
{
    for (size_t c; (c = 2 * i + 1) < n; i = c) {
        c += c + 1 < n && before(&heap[c + 1], &heap[c]);
        if (!before(&heap[c], &heap[i]))
            return;
        struct due t = heap[i];
        heap[i] = heap[c];
        heap[c] = t;
    }
}

static uint64_t sum_of(const uint32_t *weights, size_t n)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += weights[i];
    return sum;
}

/* In one round of length 1 the member of weight w is due exactly w times: at
 * (u + k) / w for a u below 1 and k = 0 .. w - 1. Computed like that, and not
 * by adding 1/w up, no rounding can move the last one out of the round. */
static void edf_round(const uint32_t *weights, size_t n, uint64_t sum,
                      uint64_t seed, struct due *heap, double *phase,
                      uint32_t *taken, uint16_t *ret)
{
    for (size_t i = 0; i < n; i++) {
        phase[i] = lb_unit(lb_draw(&seed));
        taken[i] = 0;
        heap[i] = (struct due){phase[i] / weights[i], (uint32_t)i};
    }
    for (size_t i = n / 2; i-- > 0;)
        due_sift(heap, n, i);
    for (uint64_t turn = 0; turn < sum; turn++) {
        uint32_t m = heap[0].member;
        ret[turn] = (uint16_t)m;
        taken[m]++;
        heap[0].at = taken[m] < weights[m] ? (phase[m] + taken[m]) / weights[m]
                                           : HUGE_VAL;
        due_sift(heap, n, 0);
    }
}

enum err lb_edf_schedule(const uint32_t *weights, size_t n, uint64_t seed,
                         uint16_t *ret)
{
    struct due *heap = malloc(n * sizeof *heap);
    double *phase = malloc(n * sizeof *phase);
    uint32_t *taken = malloc(n * sizeof *taken);
    enum err e = heap && phase && taken ? ERR_OK : ERR_NOMEM;

    if (e == ERR_OK)
        edf_round(weights, n, sum_of(weights, n), seed, heap, phase, taken,
                  ret);
    free(heap);
    free(phase);
    free(taken);
    return e;
}

enum err lb_smooth_schedule(const uint32_t *weights, size_t n, uint16_t *ret)
{
    int64_t *current = calloc(n, sizeof *current);

    if (!current)
        return ERR_NOMEM;
    smooth_round(weights, n, sum_of(weights, n), current, ret);
    free(current);
    return ERR_OK;
}

static uint64_t round_cap(size_t n)
{
    uint64_t cap = (uint64_t)ROUND_PER_MEMBER * n;

    cap = cap < ROUND_MAX ? cap : ROUND_MAX;
    return cap < 2 * n ? 2 * n : cap;
}

/* As far into the new round as the old one was. */
static uint64_t first_turn(const struct lb_list *l, uint64_t sum)
{
    const struct schedule *old = l->old;

    if (!old)
        return lb_below(lb_mix(l->seed), (uint32_t)sum);
    uint64_t turn = atomic_load_explicit(&old->turn, memory_order_relaxed);
    return old->n == sum ? turn % sum : turn % old->n * sum / old->n;
}

static enum err schedule_build(const struct lb_list *l, bool smooth,
                               void **ret_table)
{
    uint32_t *weights = malloc(l->n * sizeof *weights);
    struct schedule *s = NULL;
    enum err e = ERR_NOMEM;

    if (!weights)
        return ERR_NOMEM;
    uint64_t sum = lb_schedule_weights(l->v, l->n, round_cap(l->n), weights);
    s = malloc(sizeof *s + sum * sizeof s->member[0]);
    if (s)
        e = smooth && sum * l->n <= SMOOTH_WORK_MAX
                ? lb_smooth_schedule(weights, l->n, s->member)
                : lb_edf_schedule(weights, l->n, l->seed, s->member);
    free(weights);
    if (e != ERR_OK) {
        free(s);
        return e;
    }
    s->n = sum;
    atomic_init(&s->turn, first_turn(l, sum));
    *ret_table = s;
    return ERR_OK;
}

static enum err smooth_build(const struct lb_list *l, void **ret_table)
{
    return schedule_build(l, true, ret_table);
}

static enum err edf_build(const struct lb_list *l, void **ret_table)
{
    return schedule_build(l, false, ret_table);
}

/* Also instead of one that is refused: see rotate.c. */
static uint32_t schedule_first(const void *table, struct lb_walk *w)
{
    /* The turn is the one thing in the table that moves. */
    struct schedule *s = (struct schedule *)(uintptr_t)table;

    (void)w;
    return s
        ->member[atomic_fetch_add_explicit(&s->turn, 1, memory_order_relaxed) %
                 s->n];
}

const struct lb_policy lb_smooth = {
    .name = "smooth",
    .weighted = true,
    .build = smooth_build,
    .first = schedule_first,
    .next = schedule_first,
};

const struct lb_policy lb_edf = {
    .name = "edf",
    .weighted = true,
    .build = edf_build,
    .first = schedule_first,
    .next = schedule_first,
};
