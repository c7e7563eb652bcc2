/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "lb/share.h"

#include <math.h>

#include "lb/draw.h"

uint32_t lb_priority_health(uint32_t healthy, uint32_t all,
                            uint32_t overprovision)
{
    if (all == 0)
        return 0;
    uint64_t percent = (uint64_t)overprovision * healthy / all;
    return percent < 100 ? (uint32_t)percent : 100;
}

uint32_t lb_priority_loads(const uint32_t *health, size_t n, uint32_t *ret)
{
    uint32_t sum = 0, left = 100;

    for (size_t i = 0; i < n; i++)
        sum += health[i];
    sum = sum < 100 ? sum : 100;
    for (size_t i = 0; i < n; i++) {
        uint32_t want = sum ? health[i] * 100 / sum : 0;
        ret[i] = want < left ? want : left;
        left -= ret[i];
    }
    for (size_t i = 0; sum && left; i = (i + 1) % n) {
        if (health[i] == 0)
            continue;
        ret[i]++;
        left--;
    }
    if (sum == 0 && n)
        ret[0] = 100;
    return sum;
}

static double sum_of(const double *v, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += v[i];
    return sum;
}

/* What the local zone cannot carry goes where capacity is left over; if nothing
 * is (the local zone has none), in proportion to servers elsewhere. */
static void spill(double spilled, const double *residual, size_t n, double *ret)
{
    double all = sum_of(residual, n);

    for (size_t i = 0; i < n; i++)
        ret[i] += all > 0 ? spilled * residual[i] / all : 0;
}

bool lb_priority_return(const double *was, const uint32_t *health,
                        const bool *absent, size_t n, double step, double *load)
{
    double before = 0, wanted = 0, given = 0;
    uint64_t later = 0; /* percent that the levels behind can carry */
    bool moving = false;

    if (sum_of(was, n) <= 0)
        return false;
    for (size_t p = 0; p < n; p++)
        later += absent[p] ? 0 : health[p];
    for (size_t p = 0; p < n; p++) {
        before += was[p];
        wanted += load[p];
        if (absent[p])
            continue;
        later -= health[p];
        /* The share of this level and all before it. */
        double least = later < 100 ? 1 - (double)later / 100 : 0;
        double may = before + step > least ? before + step : least;
        double now = wanted < may ? wanted : may;
        moving |= now + 1e-9 < wanted;
        load[p] = now > given ? now - given : 0;
        given = now > given ? now : given;
    }
    return moving;
}

bool lb_zone_shares(const double *callers, const double *servers, size_t n,
                    size_t local, double *ret)
{
    double o_sum = callers ? sum_of(callers, n) : 0, u_sum = sum_of(servers, n);
    double residual[LB_ZONES_MAX];

    if (o_sum <= 0 || u_sum <= 0 || callers[local] <= 0) {
        for (size_t i = 0; i < n; i++)
            ret[i] = u_sum > 0 ? servers[i] / u_sum : 0;
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        double o = callers[i] / o_sum, u = servers[i] / u_sum;
        residual[i] = i != local && u > o ? u - o : 0;
        ret[i] = 0;
    }

    double ratio = (servers[local] / u_sum) / (callers[local] / o_sum);
    ret[local] = ratio < 1 ? ratio : 1;
    spill(1 - ret[local], residual, n, ret);
    return true;
}

double lb_slow_start(uint64_t age_ms, uint64_t window_ms, double aggression,
                     uint32_t min_percent)
{
    if (window_ms == 0 || age_ms >= window_ms)
        return 1;

    double age = age_ms < 1000 ? 1000 : (double)age_ms;
    double power = aggression > 0 ? 1 / aggression : 1;
    double factor = pow(age / (double)window_ms, power);
    double least = min_percent / 100.0;
    factor = factor < least ? least : factor;
    return factor < 1 ? factor : 1;
}

/* A max-heap of the k smallest, in keys[0..k): the root is the next to go. */
static void sift_down(uint64_t *heap, size_t k)
{
    for (size_t i = 0, c; (c = 2 * i + 1) < k; i = c) {
        c += c + 1 < k && heap[c + 1] > heap[c];
        if (heap[i] >= heap[c])
            return;
        uint64_t t = heap[i];
        heap[i] = heap[c];
        heap[c] = t;
    }
}

static void sift_up(uint64_t *heap, size_t i)
{
    for (; i && heap[(i - 1) / 2] < heap[i]; i = (i - 1) / 2) {
        uint64_t t = heap[i];
        heap[i] = heap[(i - 1) / 2];
        heap[(i - 1) / 2] = t;
    }
}

void lb_subset_salted(const struct bytes *names, size_t n, size_t k,
                      uint64_t salt, uint64_t *keys, bool *chosen)
{
    if (k == 0 || k >= n) {
        for (size_t i = 0; i < n; i++)
            chosen[i] = true;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint64_t key = bytes_hash(names[i], salt);
        if (i < k) {
            keys[i] = key;
            sift_up(keys, i);
        } else if (key < keys[0]) {
            keys[0] = key;
            sift_down(keys, k);
        }
    }
    /* keys[0] is the k-th smallest now. Hashes that are equal are taken, too:
     * one more does no harm. */
    for (size_t i = 0; i < n; i++)
        chosen[i] = bytes_hash(names[i], salt) <= keys[0];
}

void lb_subset_ranked(size_t n, size_t k, uint32_t rank, uint32_t *order,
                      bool *chosen)
{
    bool all = k == 0 || k >= n;
    size_t pieces = all ? 1 : n / k;
    uint64_t round = rank / pieces, piece = rank % pieces;
    uint64_t state = lb_mix(round + 1);

    for (size_t i = 0; i < n; i++) {
        order[i] = (uint32_t)i;
        chosen[i] = all;
    }
    if (all)
        return;
    for (size_t i = n - 1; i > 0; i--) { /* Fisher and Yates */
        uint32_t j = lb_below(lb_draw(&state), (uint32_t)i + 1);
        uint32_t t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
    for (size_t i = 0; i < k; i++)
        chosen[order[piece * k + i]] = true;
}
