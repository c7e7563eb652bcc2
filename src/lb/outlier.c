/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Who is ejected, for how long, and who comes back. Numbers and names are those
 * of Envoy's outlier detection and gRFC A50.
 *
 * Failures in a row and refused connections are seen by the report itself, on
 * whatever thread; rates and latencies by the owner's tick, over one interval.
 * Two limits are never passed: ejections stay within a share of the endpoints,
 * and unreachable ones, which that share does not bind, stop where panic would
 * begin. */
#include <math.h>
#include <stdlib.h>

#include "lb/draw.h"
#include "lb/impl.h"

/* Of one host in one interval. */
enum { LATENCIES_ALL = 64, LATENCIES_ONE_IN = 16 };

uint64_t lb_ejection_ms(const struct lb_outlier_options *o, uint32_t n)
{
    uint64_t ms = (uint64_t)o->base_ms * (n ? n : 1);
    return ms < o->max_ms ? ms : o->max_ms;
}

uint32_t lb_ejection_limit(const struct lb_outlier_options *o, uint32_t n)
{
    uint64_t limit = (uint64_t)n * o->max_percent / 100;
    return limit ? (uint32_t)limit : 1;
}

double lb_success_threshold(const double *rates, size_t n, uint32_t deviations)
{
    double sum = 0, squares = 0;

    for (size_t i = 0; i < n; i++)
        sum += rates[i];
    double mean = n ? sum / (double)n : 0;
    for (size_t i = 0; i < n; i++)
        squares += (rates[i] - mean) * (rates[i] - mean);
    double sigma = n ? sqrt(squares / (double)n) : 0;
    return mean - sigma * deviations / 1000.0;
}

/* Panic begins below panic_percent of the usable ones. */
void lb_outlier_limits(struct lb *b, uint32_t usable, uint32_t smallest,
                       uint32_t healthy)
{
    uint64_t least = ((uint64_t)smallest * b->o.panic_percent + 99) / 100;

    atomic_store(&b->ejected_max, lb_ejection_limit(&b->o.outlier, usable));
    atomic_store(&b->unreachable_max,
                 healthy > least ? healthy - (uint32_t)least : 0);
}

static bool take_one(_Atomic uint32_t *n, const _Atomic uint32_t *max)
{
    uint32_t was = atomic_load(n);

    do {
        if (was >= atomic_load(max))
            return false;
    } while (!atomic_compare_exchange_weak(n, &was, was + 1));
    return true;
}

static void eject(struct lb *b, struct lb_host *h, uint64_t now_ms)
{
    if (lb_blocked(h) & LB_EJECTED)
        return;
    if (!take_one(&b->ejected, &b->ejected_max))
        return;
    /* Before the bit, under which the tick reads it. */
    atomic_store(&h->ejected_ms, now_ms);
    if (atomic_fetch_or(&h->blocked, LB_EJECTED) & LB_EJECTED) {
        atomic_fetch_sub(&b->ejected, 1);
        return;
    }
    atomic_fetch_add(&h->ejections, 1);
    atomic_store(&b->dirty, true);
}

static void unreachable(struct lb *b, struct lb_host *h)
{
    if (lb_blocked(h) & LB_UNREACHABLE)
        return;
    if (!take_one(&b->unreachable, &b->unreachable_max))
        return;
    if (atomic_fetch_or(&h->blocked, LB_UNREACHABLE) & LB_UNREACHABLE)
        atomic_fetch_sub(&b->unreachable, 1);
    atomic_store(&b->dirty, true);
}

void lb_unblock(struct lb *b, struct lb_host *h, uint32_t bit)
{
    uint32_t was = atomic_fetch_and(&h->blocked, ~bit) & bit;

    if (was & LB_EJECTED)
        atomic_fetch_sub(&b->ejected, 1);
    if (was & LB_UNREACHABLE)
        atomic_fetch_sub(&b->unreachable, 1);
    if (was)
        atomic_store(&b->dirty, true);
}

static uint32_t add(_Atomic uint32_t *n)
{
    return atomic_fetch_add_explicit(n, 1, memory_order_relaxed) + 1;
}

static void add64(_Atomic uint64_t *n, uint64_t by)
{
    (void)atomic_fetch_add_explicit(n, by, memory_order_relaxed);
}

/* A store only where there is something to change: the line stays shared. */
static void clear(_Atomic uint32_t *n)
{
    if (atomic_load_explicit(n, memory_order_relaxed))
        atomic_store_explicit(n, 0, memory_order_relaxed);
}

static struct lb_tally *tally(struct lb *b, struct lb_host *h)
{
    return &h->tally[atomic_load_explicit(&b->tally_set, memory_order_relaxed)];
}

static bool went_well(struct lb *b, struct lb_host *h, uint32_t latency_us)
{
    struct lb_tally *t = tally(b, h);

    uint32_t n = add(&t->ok);
    add64(&t->latency_us, latency_us);
    clear(&h->failures);
    clear(&h->refusals);
    if (lb_blocked(h) & LB_UNREACHABLE)
        lb_unblock(b, h, LB_UNREACHABLE);
    return n <= LATENCIES_ALL || n % LATENCIES_ONE_IN == 0;
}

static void went_badly(struct lb *b, struct lb_host *h, uint64_t now_ms)
{
    const struct lb_outlier_options *o = &b->o.outlier;

    (void)add(&tally(b, h)->failed);
    uint32_t row = add(&h->failures);
    if (o->consecutive && row >= o->consecutive)
        eject(b, h, now_ms);
}

bool lb_outlier_report(struct lb *b, struct lb_host *h, enum lb_outcome o,
                       uint32_t latency_us, uint64_t now_ms)
{
    uint32_t max;

    switch (o) {
    case LB_OK:
        return went_well(b, h, latency_us);
    case LB_FAILED:
        add64(&h->failed, 1);
        clear(&h->refusals); /* somebody is there */
        if (!b->o.outlier.off)
            went_badly(b, h, now_ms);
        return false;
    case LB_REFUSED:
        add64(&h->refused, 1);
        if (b->o.outlier.off)
            return false;
        max = atomic_load_explicit(&h->refusals_max, memory_order_relaxed);
        if (max && add(&h->refusals) >= max)
            unreachable(b, h);
        went_badly(b, h, now_ms);
        return false;
    case LB_CANCELED:
        return false;
    }
    return false;
}

/* --- The interval -------------------------------------------------------- */

struct seen {
    struct lb_host *host;
    uint32_t ok, failed;
    double latency_us; /* mean of the replies */
};

static int by_value(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

/* Takes the interval's counts, which reports do not touch any more. */
static size_t collect(struct lb *b, uint32_t set, struct seen *ret)
{
    size_t n = 0;

    for (size_t i = 0; i < b->slots_n; i++) {
        struct lb_host *h = b->slots[i];
        if (!h)
            continue;
        struct lb_tally *t = &h->tally[set];
        struct seen s = {h, atomic_exchange(&t->ok, 0),
                         atomic_exchange(&t->failed, 0), 0};
        uint64_t latency = atomic_exchange(&t->latency_us, 0);
        add64(&h->ok, s.ok);
        s.latency_us = s.ok ? (double)latency / s.ok : 0;
        if (h->gone_ms == 0)
            ret[n++] = s;
    }
    return n;
}

static double rate(const struct seen *s)
{
    return (double)s->ok / ((double)s->ok + s->failed);
}

static void by_success(struct lb *b, const struct seen *s, size_t n,
                       double *space, uint64_t now_ms)
{
    const struct lb_outlier_options *o = &b->o.outlier;
    size_t k = 0;

    for (size_t i = 0; i < n; i++)
        if (s[i].ok + s[i].failed >= o->success_requests && o->success_requests)
            space[k++] = rate(&s[i]);
    if (k < o->min_hosts || k == 0 || o->success_deviations == 0)
        return;
    double least = lb_success_threshold(space, k, o->success_deviations);
    for (size_t i = 0; i < n; i++)
        if (s[i].ok + s[i].failed >= o->success_requests && rate(&s[i]) < least)
            eject(b, s[i].host, now_ms);
}

static void by_failures(struct lb *b, const struct seen *s, size_t n,
                        uint64_t now_ms)
{
    const struct lb_outlier_options *o = &b->o.outlier;
    size_t k = 0;

    for (size_t i = 0; i < n; i++)
        k += s[i].ok + s[i].failed >= o->failure_requests;
    if (o->failure_percent == 0 || k < o->min_hosts)
        return;
    for (size_t i = 0; i < n; i++) {
        uint64_t all = (uint64_t)s[i].ok + s[i].failed;
        if (all >= o->failure_requests && all &&
            (uint64_t)s[i].failed * 100 >= all * o->failure_percent)
            eject(b, s[i].host, now_ms);
    }
}

static void by_latency(struct lb *b, const struct seen *s, size_t n,
                       double *space, uint64_t now_ms)
{
    const struct lb_outlier_options *o = &b->o.outlier;
    size_t k = 0;

    for (size_t i = 0; i < n; i++)
        if (s[i].ok && s[i].ok >= o->latency_requests)
            space[k++] = s[i].latency_us;
    if (o->latency_factor == 0 || k < o->min_hosts || k == 0)
        return;
    qsort(space, k, sizeof *space, by_value);
    double most = space[k / 2] * o->latency_factor;
    for (size_t i = 0; i < n; i++)
        if (s[i].ok && s[i].ok >= o->latency_requests && s[i].latency_us > most)
            eject(b, s[i].host, now_ms);
}

/* An interval without an ejection takes one off the multiplier. */
static void forgive(const struct seen *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct lb_host *h = s[i].host;
        if (!(lb_blocked(h) & LB_EJECTED) && atomic_load(&h->ejections))
            atomic_fetch_sub(&h->ejections, 1);
    }
}

static void end_interval(struct lb *b, struct seen *s, double *space,
                         uint64_t now_ms)
{
    uint32_t set = atomic_load(&b->tally_set);

    atomic_store(&b->tally_set, set ^ 1);
    size_t n = collect(b, set, s);
    if (b->o.outlier.off)
        return;
    forgive(s, n);
    by_success(b, s, n, space, now_ms);
    by_failures(b, s, n, now_ms);
    by_latency(b, s, n, space, now_ms);
}

/* So that clients which ejected a host together do not all come back at once; the
 * same at every look. */
static uint64_t jitter_of(const struct lb *b, const struct lb_host *h)
{
    uint32_t most = b->o.outlier.jitter_ms;

    return most ? lb_mix(b->o.seed ^ h->id ^ atomic_load(&h->ejected_ms)) %
                      ((uint64_t)most + 1)
                : 0;
}

/* Also for those that left meanwhile and may come back. */
static void end_ejections(struct lb *b, uint64_t now_ms)
{
    for (size_t i = 0; i < b->slots_n; i++) {
        struct lb_host *h = b->slots[i];
        if (!h || !(lb_blocked(h) & LB_EJECTED))
            continue;
        uint64_t ms = lb_ejection_ms(&b->o.outlier, atomic_load(&h->ejections));
        if (now_ms < atomic_load(&h->ejected_ms) + ms + jitter_of(b, h))
            continue;
        clear(&h->failures);
        lb_unblock(b, h, LB_EJECTED);
    }
}

/* What a host costs that nobody has measured: the median of the others. */
static void find_typical(struct lb *b, double *space, uint64_t now_ms)
{
    size_t k = 0;

    for (size_t i = 0; i < b->slots_n; i++) {
        struct lb_host *h = b->slots[i];
        double us =
            h ? lb_ewma_cost(h, (uint32_t)now_ms, b->tuning.decay_ms) : 0;
        if (us > 0)
            space[k++] = us;
    }
    if (k == 0)
        return;
    qsort(space, k, sizeof *space, by_value);
    double us = space[k / 2] < 1 ? 1 : space[k / 2];
    atomic_store(&b->typical_us, us < UINT32_MAX ? (uint32_t)us : UINT32_MAX);
}

/* The histogram of latencies forgets half. */
static void age_latencies(struct lb *b)
{
    for (int i = 0; i < LB_LATENCY_CELLS; i++) {
        uint32_t n = atomic_load_explicit(&b->latency[i], memory_order_relaxed);
        if (n)
            atomic_fetch_sub_explicit(&b->latency[i], n - n / 2,
                                      memory_order_relaxed);
    }
}

enum err lb_outlier_tick(struct lb *b, uint64_t now_ms)
{
    size_t n = b->slots_n ? b->slots_n : 1;
    double *space = malloc(n * sizeof *space);
    struct seen *s = malloc(n * sizeof *s);
    enum err e = space && s ? ERR_OK : ERR_NOMEM;

    if (e == ERR_OK) {
        end_ejections(b, now_ms);
        if (now_ms >= b->interval_ms + b->o.outlier.interval_ms) {
            end_interval(b, s, space, now_ms);
            age_latencies(b);
            b->interval_ms = now_ms;
        }
        if (b->policy == &lb_peak_ewma)
            find_typical(b, space, now_ms);
    }
    free(space);
    free(s);
    return e;
}
