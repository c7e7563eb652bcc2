/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* The policies that look at load: each draws a few members, by weight where
 * weights differ, and takes the least loaded of them. Two choices bring nearly
 * all of what looking at everybody would (Mitzenmacher, 1996), and no herd runs
 * to the one that looked best a moment ago.
 *
 * Peak EWMA is Finagle's: a latency above the average is believed at once, one
 * below it slowly. The average and its time share one word, so that any thread
 * updates them without a lock: float microseconds above, ms of the clock below.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lb/alias.h"
#include "lb/draw.h"
#include "lb/policy.h"

enum {
    SCAN_MAX = 16,  /* members that are all looked at */
    CANDIDATES = 8, /* drawn where there are more */
    CHOICES_MAX = 16,
};

struct least {
    struct lb_tuning tuning;
    struct alias *by_weight; /* behind it in the same block */
};

static size_t alias_bytes(const struct alias *a)
{
    return sizeof *a + a->n * sizeof a->column[0];
}

/* One block: the table is freed by free(). */
static enum err least_build(const struct lb_list *l, void **ret_table)
{
    struct alias *a = NULL;
    enum err e = alias_build(l->v, l->n, &a);

    if (e != ERR_OK)
        return e;
    struct least *t = malloc(sizeof *t + alias_bytes(a));
    if (t) {
        t->tuning = *l->tuning;
        t->by_weight = (struct alias *)(void *)(t + 1);
        memcpy(t->by_weight, a, alias_bytes(a));
        *ret_table = t;
    }
    free(a);
    return t ? ERR_OK : ERR_NOMEM;
}

static uint32_t active(const struct lb_walk *w, uint32_t i)
{
    return lb_flight_count(&w->members[i].host->flight, w->tag);
}

/* Any draw will do once the first choice was refused. */
static uint32_t by_weight_next(const void *table, struct lb_walk *w)
{
    const struct least *t = table;
    return alias_draw(t->by_weight, lb_draw(&w->draw));
}

/* The i-th of a few distinct draws: out of n - i, then past those drawn before,
 * which stay sorted. Were they drawn with replacement, one that hangs would
 * still get a request whenever it meets itself. */
static uint32_t draw_another(struct lb_walk *w, uint32_t *drawn, uint32_t i)
{
    uint32_t m = lb_below(lb_draw(&w->draw), w->n - i), at = 0;

    while (at < i && drawn[at] <= m) {
        m++;
        at++;
    }
    memmove(drawn + at + 1, drawn + at, (i - at) * sizeof *drawn);
    drawn[at] = m;
    return m;
}

/* Envoy's for equal weights: `choices` draws, the fewest in flight. */
static uint32_t least_request_first(const void *table, struct lb_walk *w)
{
    const struct least *t = table;
    uint32_t n = t->tuning.choices < w->n ? t->tuning.choices : w->n;
    uint32_t best = UINT32_MAX, found = 0, drawn[CHOICES_MAX];

    for (uint32_t i = 0; i < n && i < CHOICES_MAX; i++) {
        uint32_t m = draw_another(w, drawn, i);
        uint32_t load = active(w, m);
        if (load < best) {
            best = load;
            found = m;
        }
    }
    return found;
}

/* In flight per weight; of two alike, the first that was drawn. (The one picked
 * less often so far would be the newcomer every time.) */
static uint32_t p2c_first(const void *table, struct lb_walk *w)
{
    const struct least *t = table;
    uint32_t pair[2];

    alias_pair(t->by_weight, &w->draw, pair);
    uint64_t a = (uint64_t)active(w, pair[0]) * w->members[pair[1]].weight;
    uint64_t b = (uint64_t)active(w, pair[1]) * w->members[pair[0]].weight;
    return pair[a > b];
}

static double thinned(const struct lb_walk *w, uint32_t i, double bias)
{
    double n = 1.0 + active(w, i);

    return bias == 1 ? 1 / n : pow(n, -bias);
}

/* Envoy's for unequal weights: in proportion to weight / (active + 1)^bias. Of
 * few members exactly; of many, candidates are drawn by weight and one of them
 * by what is left of the formula. */
static uint32_t weighted_least_first(const void *table, struct lb_walk *w)
{
    const struct least *t = table;
    uint32_t n = w->n <= SCAN_MAX ? w->n : CANDIDATES, who[SCAN_MAX] = {0};
    double share[SCAN_MAX], sum = 0;

    for (uint32_t i = 0; i < n; i++) {
        bool all = w->n <= SCAN_MAX;
        who[i] = all ? i : alias_draw(t->by_weight, lb_draw(&w->draw));
        share[i] = thinned(w, who[i], t->tuning.bias) *
                   (all ? w->members[i].weight : 1);
        sum += share[i];
    }

    double at = lb_unit(lb_draw(&w->draw)) * sum;
    for (uint32_t i = 0; i + 1 < n; i++) {
        at -= share[i];
        if (at < 0)
            return who[i];
    }
    return who[n - 1];
}

/* --- Peak EWMA ----------------------------------------------------------- */

static uint64_t cost_pack(float us, uint32_t now)
{
    uint32_t bits;

    memcpy(&bits, &us, sizeof bits);
    return (uint64_t)bits << 32 | now;
}

static float cost_us(uint64_t packed)
{
    uint32_t bits = (uint32_t)(packed >> 32);
    float us;

    memcpy(&us, &bits, sizeof us);
    return us;
}

/* A clock that went back counts as no time passed. */
static double decay(uint64_t packed, uint32_t now, uint32_t decay_ms)
{
    int32_t passed = (int32_t)(now - (uint32_t)packed);

    if (passed <= 0)
        return 1;
    return exp(-(double)passed / (double)(decay_ms ? decay_ms : 1));
}

void lb_ewma_sample(struct lb_host *h, uint32_t rtt_us, uint32_t now,
                    uint32_t decay_ms)
{
    uint64_t was = atomic_load_explicit(&h->cost, memory_order_relaxed), is;
    double rtt = rtt_us ? rtt_us : 1;

    do {
        double cost = cost_us(was), keep = decay(was, now, decay_ms);
        bool older = (int32_t)(now - (uint32_t)was) < 0 && was;
        cost = rtt > cost ? rtt : cost * keep + rtt * (1 - keep);
        is = cost_pack((float)cost, older ? (uint32_t)was : now);
    } while (!atomic_compare_exchange_weak_explicit(
        &h->cost, &was, is, memory_order_relaxed, memory_order_relaxed));
}

/* It fades while nobody asks, so that who was slow once is tried again. */
double lb_ewma_cost(const struct lb_host *h, uint32_t now, uint32_t decay_ms)
{
    uint64_t packed = atomic_load_explicit(&h->cost, memory_order_relaxed);

    return packed ? cost_us(packed) * decay(packed, now, decay_ms) : 0;
}

/* A host that was never measured counts as a typical one: neither does all the
 * traffic run to it, nor none. */
static double peak_score(const struct lb_walk *w, uint32_t i, uint32_t decay_ms)
{
    double cost = lb_ewma_cost(w->members[i].host, w->now, decay_ms);

    if (cost == 0)
        cost = w->typical_us;
    return cost * (active(w, i) + 1.0) / w->members[i].weight;
}

static uint32_t peak_ewma_first(const void *table, struct lb_walk *w)
{
    const struct least *t = table;
    uint32_t pair[2];

    alias_pair(t->by_weight, &w->draw, pair);
    double a = peak_score(w, pair[0], t->tuning.decay_ms);
    double b = peak_score(w, pair[1], t->tuning.decay_ms);
    return pair[a > b];
}

const struct lb_policy lb_least_request = {
    .name = "least-request",
    .build = least_build,
    .first = least_request_first,
    .next = by_weight_next,
};

const struct lb_policy lb_p2c = {
    .name = "p2c",
    .weighted = true,
    .build = least_build,
    .first = p2c_first,
    .next = by_weight_next,
};

const struct lb_policy lb_peak_ewma = {
    .name = "peak-ewma",
    .weighted = true,
    .build = least_build,
    .first = peak_ewma_first,
    .next = by_weight_next,
};

const struct lb_policy lb_weighted_least_request = {
    .name = "weighted-least-request",
    .weighted = true,
    .build = least_build,
    .first = weighted_least_first,
    .next = by_weight_next,
};
