/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "health/judge.h"

#include "base/duration.h"

/* --- Thresholds ---------------------------------------------------------- */

static uint32_t threshold_of(int64_t v)
{
    if (v < 0)
        return 0;
    return v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

void threshold_init(struct threshold *t, const struct check_def *d)
{
    int64_t warning = d->failures_before_warning;

    t->success_before_passing = threshold_of(d->success_before_passing);
    t->failures_before_critical = threshold_of(d->failures_before_critical);
    t->failures_before_warning =
        warning < 0 ? t->failures_before_critical : threshold_of(warning);
    t->successes = t->success_before_passing;
    t->failures = t->failures_before_critical;
}

static void count(uint32_t *row, uint32_t *other)
{
    if (*row < UINT32_MAX)
        ++*row;
    *other = 0;
}

bool threshold_result(struct threshold *t, enum status result, enum status *ret)
{
    switch (result) {
    case STATUS_PASSING:
    case STATUS_WARNING:
        count(&t->successes, &t->failures);
        if (t->successes < t->success_before_passing)
            return false;
        *ret = result;
        return true;
    case STATUS_CRITICAL:
    case STATUS_MAINTENANCE:
    case STATUS_OTHER:
        break;
    }
    count(&t->failures, &t->successes);
    if (t->failures >= t->failures_before_critical)
        *ret = STATUS_CRITICAL;
    else if (t->failures >= t->failures_before_warning)
        *ret = STATUS_WARNING;
    else
        return false;
    return true;
}

/* --- Times --------------------------------------------------------------- */

static uint64_t ms_of(int64_t ns)
{
    /* Rounded up: a timeout of 500 us is not "none". */
    return ns <= 0 ? 0 : ((uint64_t)ns + NS_PER_MS - 1) / NS_PER_MS;
}

static uint64_t at_least(uint64_t v, uint64_t min)
{
    return v < min ? min : v;
}

uint64_t schedule_first_ms(struct bytes check_id, uint64_t interval_ms)
{
    return interval_ms ? bytes_hash(check_id, 0) % interval_ms : 0;
}

uint64_t pace_wait_ms(struct pace *p, uint64_t now_ms)
{
    if (p->max == 0)
        return 0;
    if (now_ms - p->from_ms >= p->window_ms) {
        p->from_ms = now_ms;
        p->taken = 0;
    }
    if (p->taken < p->max) {
        p->taken++;
        return 0;
    }
    return p->from_ms + p->window_ms - now_ms;
}

uint64_t check_interval_ms(const struct check_def *d)
{
    return at_least(ms_of(d->interval_ns), CHECK_INTERVAL_MIN_MS);
}

uint64_t check_timeout_ms(const struct check_def *d)
{
    if (d->timeout_ns > 0)
        return ms_of(d->timeout_ns);
    enum check_type t = check_def_type(d);
    return t == CHECK_SCRIPT || t == CHECK_DOCKER
               ? CHECK_SCRIPT_TIMEOUT_DEFAULT_MS
               : CHECK_TIMEOUT_DEFAULT_MS;
}

uint64_t check_reap_ms(const struct check_def *d)
{
    uint64_t ms = ms_of(d->deregister_after_ns);
    return ms ? at_least(ms, CHECK_REAP_MIN_MS) : 0;
}
