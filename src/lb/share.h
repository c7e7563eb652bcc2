/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* share - the arithmetic that says how much traffic goes where: priorities,
 * zones, slow start, subsets. Values in, values out. */
#ifndef LB_SHARE_H
#define LB_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

enum {
    LB_PRIORITIES_MAX = 256,
    LB_RESERVE_FROM = 128, /* levels from here on: see lb_endpoint */
    LB_ZONES_MAX = 64,
    LB_OVERPROVISION = 140, /* percent */
};

/* Health of one priority, in percent: min(100, overprovision * healthy / all).
 * all = 0 gives 0. */
uint32_t lb_priority_health(uint32_t healthy, uint32_t all,
                            uint32_t overprovision);

/* Load in percent per priority from their healths, in order; the sum is 100.
 *
 * As Envoy: each level takes what its health allows of what the ones before
 * left. Where the healths do not reach 100 they are scaled up; what integer
 * division leaves over goes one percent each to the first levels with health.
 * All 0: everything to the first. Returns the sum of healths, at most 100:
 * panic is for sums below it. */
uint32_t lb_priority_loads(const uint32_t *health, size_t n, uint32_t *ret);

/* Loads that came to be as `was` go to `load` (shares of 1, as the target in and
 * as what holds now out), so that a level that is well again is not hit at once:
 * all that moves to earlier levels moves by at most `step`. What later levels
 * cannot carry by their healths moves at once, and so does all that moves to
 * later ones. Levels with absent[p] have left and carry nothing. was is all 0:
 * nothing is known, load stays. True: it is not yet what it should be. */
bool lb_priority_return(const double *was, const uint32_t *health,
                        const bool *absent, size_t n, double step,
                        double *load);

/* Zone aware routing as Envoy computes it. callers and servers are shares of
 * each zone (any unit); local is the caller's zone. ret gets each zone's
 * probability: the local one min(1, U/O), the others by what they have left
 * over, max(0, U - O). False, and ret by servers alone: nothing is known about
 * callers, or servers are all zero. */
bool lb_zone_shares(const double *callers, const double *servers, size_t n,
                    size_t local, double *ret);

/* Slow start: factor on a weight after age_ms of window_ms.
 * max(min_percent/100, (max(age, 1 s) / window)^(1/aggression)); 1 outside.
 * aggression <= 0 counts as 1. */
double lb_slow_start(uint64_t age_ms, uint64_t window_ms, double aggression,
                     uint32_t min_percent);

/* Takes k of n by a salt of the caller's: the k smallest hashes of name and
 * salt (gRFC A68, with XXH3). One name more or less alters at most one of them.
 * keys is room for n numbers; chosen gets n flags. */
void lb_subset_salted(const struct bytes *names, size_t n, size_t k,
                      uint64_t salt, uint64_t *keys, bool *chosen);

/* Takes k of n for the client of this rank among any number of others that
 * number themselves without gaps (Site Reliability Engineering, 2016, ch. 20).
 * Clients come in rounds of n / k; a round shares one shuffle, in which each
 * takes its own piece. The n modulo k servers left over differ from round to
 * round. order is room for n numbers. */
void lb_subset_ranked(size_t n, size_t k, uint32_t rank, uint32_t *order,
                      bool *chosen);

#endif
