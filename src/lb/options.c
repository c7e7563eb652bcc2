/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Options: what is usual, and what is refused. */
#include "lb/impl.h"

#include <math.h>
#include <string.h>

void lb_options_init(struct lb_options *o)
{
    *o = (struct lb_options){
        .policy = bytes_str("p2c"),
        .choices = 2,
        .bias = 1,
        .decay_ms = 10 * 1000,
        .overprovision_percent = LB_OVERPROVISION,
        .panic_percent = 50,
        .return_ms = 30 * 1000,
        .slow_start_aggression = 1,
        .slow_start_min_percent = 10,
        .zone_min_hosts = 6,
        .outlier = {.consecutive = 5,
                    .refusals = 2,
                    .interval_ms = 10 * 1000,
                    .base_ms = 30 * 1000,
                    .max_ms = 300 * 1000,
                    .max_percent = 10,
                    .min_hosts = 5,
                    .success_requests = 100,
                    .success_deviations = 1900,
                    .failure_requests = 50,
                    .latency_requests = 50},
        .budget_percent = 20,
        .budget_per_second = 10,
    };
}

struct range {
    const char *name;
    uint64_t value, min, max;
    bool zero; /* 0 is fine as well: off */
};

static bool is_prime(uint32_t n)
{
    for (uint32_t d = 2; (uint64_t)d * d <= n; d++)
        if (n % d == 0)
            return false;
    return n > 1;
}

static enum err check_range(const struct range *r, struct errtext *t)
{
    if ((r->value >= r->min && r->value <= r->max) || (r->zero && !r->value))
        return ERR_OK;
    errtext_set(t, "%s is %llu, must be %s%llu to %llu", r->name,
                (unsigned long long)r->value, r->zero ? "0 (off), or " : "",
                (unsigned long long)r->min, (unsigned long long)r->max);
    return ERR_LIMIT;
}

static enum err check_numbers(const struct lb_options *o, struct errtext *t)
{
    enum { HOUR_MS = 3600 * 1000, DAY_MS = 24 * HOUR_MS };
    const struct range ranges[] = {
        {"bounded load", o->bounded_percent, 101, 100000, true},
        {"number of choices", o->choices, 1, 16, false},
        {"decay time in ms", o->decay_ms, 1, HOUR_MS, false},
        {"Maglev table size", o->maglev_size, 3, 5000011, true},
        {"overprovisioning in %", o->overprovision_percent, 100, 10000, false},
        {"panic threshold in %", o->panic_percent, 0, 100, false},
        {"return to a priority in ms", o->return_ms, 1000, DAY_MS, true},
        {"slow start in ms", o->slow_start_ms, 1000, DAY_MS, true},
        {"least share in slow start in %", o->slow_start_min_percent, 0, 100,
         false},
        {"subset size", o->subset_size, 1, LB_ENDPOINTS_MAX, true},
        {"outlier interval in ms", o->outlier.interval_ms, 1, DAY_MS, false},
        {"outlier base time in ms", o->outlier.base_ms, 1, DAY_MS, false},
        {"outlier greatest time in ms", o->outlier.max_ms, 1, DAY_MS, false},
        {"outlier jitter in ms", o->outlier.jitter_ms, 0, DAY_MS, false},
        {"outlier share in %", o->outlier.max_percent, 0, 100, false},
        {"retry budget in %", o->budget_percent, 0, 1000, false},
    };

    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        enum err e = check_range(&ranges[i], t);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

enum err lb_options_check(const struct lb_options *o, struct errtext *t)
{
    enum err e = check_numbers(o, t);

    if (e != ERR_OK)
        return e;
    if (o->maglev_size && !is_prime(o->maglev_size)) {
        errtext_set(t, "Maglev table size is %u, must be prime, as 65537 is",
                    o->maglev_size);
        return ERR_BAD;
    }
    if (!(o->bias >= 0 && o->bias <= 100) ||
        !(o->slow_start_aggression > 0 && o->slow_start_aggression <= 100)) {
        errtext_set(t,
                    "bias is %g and slow start's aggression %g; both must be "
                    "0 to 100, aggression not 0",
                    o->bias, o->slow_start_aggression);
        return ERR_BAD;
    }
    if (o->zone.n > LB_TEXT_MAX) {
        errtext_set(t, "the zone has %zu bytes, at most %d are taken",
                    o->zone.n, LB_TEXT_MAX);
        return ERR_LIMIT;
    }
    return ERR_OK;
}
