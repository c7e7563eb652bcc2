/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* judge - from single results to a status: thresholds, TTL, reaping.
 *
 * Pure: (state, event, now) -> state. The agent drives it with real time, the
 * simulation with its own. Times are milliseconds of one monotonic clock. */
#ifndef HEALTH_JUDGE_H
#define HEALTH_JUDGE_H

#include "health/check_def.h"
#include "health/status.h"

/* Consecutive results needed before the status moves. The counters start at
 * their thresholds, so that the very first result counts at once. */
struct threshold {
    uint32_t success_before_passing;
    uint32_t failures_before_warning;
    uint32_t failures_before_critical;
    uint32_t successes, failures; /* in a row */
};

void threshold_init(struct threshold *t, const struct check_def *d);

/* True: *ret is the status to report with this result's output. False: status
 * and output stay as they are. Warning counts as success. */
bool threshold_result(struct threshold *t, enum status result,
                      enum status *ret);

/* When a check first runs: spread over its interval by its ID, so that a
 * restart probes nobody in bursts and the same check keeps its place. */
uint64_t schedule_first_ms(struct bytes check_id, uint64_t interval_ms);

/* Interval and timeout in ms after defaults and minima. */
uint64_t check_interval_ms(const struct check_def *d);
uint64_t check_timeout_ms(const struct check_def *d);
uint64_t check_reap_ms(const struct check_def *d); /* 0: never */

/* At most max starts within window_ms; max 0: no bound. */
struct pace {
    size_t max;
    uint64_t window_ms;
    size_t taken; /* since from_ms */
    uint64_t from_ms;
};

/* 0: start, it is counted. Else so long until it is worth asking again. */
uint64_t pace_wait_ms(struct pace *p, uint64_t now_ms);

/* Output as Consul cuts it: HTTP and scripts keep the last max bytes (scripts
 * with a line "Captured N of M bytes" before), TTL keeps the first with " ...
 * (captured N of M bytes)" after. Bytes that are not UTF-8 become U+FFFD. total
 * is what there was, tail what was kept of it. */
void output_tail(struct buf *out, struct bytes tail, uint64_t total, size_t max,
                 bool marker);
void output_head(struct buf *out, struct bytes text, size_t max);

#endif
