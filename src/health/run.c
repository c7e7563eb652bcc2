/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "health/run.h"

#include "base/check.h"

static uint64_t lesser(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The causes stand in base/marks.h from the strongest to the weakest. */
static enum check_cause weaker(enum check_cause a, enum check_cause b)
{
    return a > b ? a : b;
}

/* --- Effects ------------------------------------------------------------- */

static bool is_damped(const struct run *r, uint64_t now_ms)
{
    return r->rule.mode == DAMP_SUPPRESS && damp_suppressed(&r->damp, now_ms);
}

static uint64_t next_of(const struct run *r, uint64_t now_ms)
{
    /* Also of what is only observed: its end is told too. */
    uint64_t until = damp_until_ms(&r->damp, now_ms);
    return until ? lesser(until, r->expires_ms) : r->expires_ms;
}

/* Closes an event: was is the state before it. */
static struct run_effect effect(struct run *r, const struct run *was,
                                bool report, uint64_t now_ms)
{
    require(r->status == STATUS_CRITICAL || r->cause == CAUSE_EVIDENCE);
    r->damped = is_damped(r, now_ms);
    sometimes(r->damped && !was->damped);
    return (struct run_effect){
        .report = report,
        .flips = r->status != was->status,
        .marked = r->cause != was->cause || r->damped != was->damped,
        .counted = r->counts != was->counts,
        .status = r->status,
        .cause = r->cause,
        .damped = r->damped,
        .damped_until_ms = damp_until_ms(&r->damp, now_ms),
        .penalty = damp_penalty_u32(&r->damp, &r->rule, now_ms),
        .next_ms = next_of(r, now_ms),
    };
}

static void set_status(struct run *r, enum status status,
                       enum check_cause cause, uint64_t now_ms)
{
    require(status <= STATUS_CRITICAL);
    if (r->status != status)
        r->since_ms = now_ms;
    r->status = status;
    r->cause = status == STATUS_CRITICAL ? cause : CAUSE_EVIDENCE;
    if (status == STATUS_PASSING)
        r->up = true;
    else if (status == STATUS_CRITICAL)
        r->up = false;
}

static void count(struct run *r, uint64_t now_ms)
{
    damp_change(&r->damp, &r->rule, now_ms);
    if (r->rule.mode != DAMP_OFF)
        r->counts++;
}

/* The status becomes this one, or stays so for a cause that may be stronger. */
static void move(struct run *r, enum status status, enum check_cause cause,
                 bool counts, uint64_t now_ms)
{
    bool falls = status == STATUS_CRITICAL && r->status != STATUS_CRITICAL;

    if (status == STATUS_CRITICAL && !falls) {
        if (cause < r->cause)
            r->cause = cause;
        return;
    }
    if (falls) {
        r->before = r->damp;
        if (counts && r->up && r->seen && cause != CAUSE_SILENCE)
            count(r, now_ms);
    }
    set_status(r, status, cause, now_ms);
}

/* --- Beginning ----------------------------------------------------------- */

static uint64_t ttl_of(const struct check_def *d)
{
    /* Rounded up, like all times of a definition. */
    return d->ttl_ns > 0 ? ((uint64_t)d->ttl_ns + 999999) / 1000000 : 0;
}

static enum status initial_of(const struct check_def *d)
{
    enum status s = d->status.n ? status_of(d->status) : STATUS_CRITICAL;
    return s == STATUS_PASSING || s == STATUS_WARNING ? s : STATUS_CRITICAL;
}

bool run_past_holds(const struct run_past *past)
{
    return past->same_boot && !past->declared_failed;
}

uint64_t run_first_within_ms(const struct run_past *past, uint64_t interval_ms)
{
    bool known =
        !past || (run_past_holds(past) && !(past->status == STATUS_CRITICAL &&
                                            past->cause == CAUSE_SILENCE));

    return known ? interval_ms : lesser(interval_ms, RUN_SOON_MS);
}

/* What is left of the TTL, see run.h. */
static uint64_t left_of(const struct run *r, const struct run_past *past)
{
    uint64_t grace = lesser(r->ttl_ms, RUN_GRACE_MS);

    if (!run_past_holds(past))
        return grace;
    /* Down for longer than the grace is as good as down for ever; used is from
     * a record and may be anything. */
    uint64_t used = lesser(past->used_ms, r->ttl_ms) +
                    lesser(past->down_ms, r->ttl_ms + grace) -
                    lesser(past->down_ms, grace);
    uint64_t left = used < r->ttl_ms ? r->ttl_ms - used : 0;
    return left < grace ? grace : left;
}

static void begin_ttl(struct run *r, const struct run_past *past,
                      uint64_t now_ms)
{
    uint64_t left = r->ttl_ms;

    r->expires_ms = RUN_NEVER;
    r->beat_ms = now_ms;
    if (!r->ttl_ms)
        return;
    if (past && r->status == STATUS_CRITICAL)
        return; /* it waits for a beat */
    if (past)
        left = left_of(r, past);
    require(left <= r->ttl_ms);
    uint64_t used = r->ttl_ms - left;
    r->beat_ms = now_ms > used ? now_ms - used : 0;
    r->expires_ms = now_ms + left;
}

static void begin_anew(struct run *r, const struct check_def *d,
                       const struct run_past *past)
{
    r->status = initial_of(d);
    r->cause = CAUSE_EVIDENCE;
    if (!past || r->status != STATUS_CRITICAL)
        return;
    /* The one that it had, if it was critical before. */
    r->cause = past->status == STATUS_CRITICAL ? past->cause : CAUSE_SILENCE;
}

struct run_effect run_begin(struct run *r, const struct check_def *d,
                            const struct damp_rule *rule,
                            const struct run_past *past, uint64_t now_ms)
{
    *r = (struct run){
        .row = CAUSE_EVIDENCE,
        .since_ms = now_ms,
        .ttl_ms = ttl_of(d),
        .rule = *rule,
    };
    threshold_init(&r->threshold, d);
    if (past && run_past_holds(past)) {
        r->status = past->status;
        r->cause =
            past->status == STATUS_CRITICAL ? past->cause : CAUSE_EVIDENCE;
        damp_restore(&r->damp, rule, past->penalty, past->suppressed,
                     past->down_ms, now_ms);
    } else {
        begin_anew(r, d, past);
    }
    /* One bad result after a restart counts as one. */
    if (past)
        r->threshold.successes = r->threshold.failures = 0;
    r->up = r->status == STATUS_PASSING;
    r->before = r->damp;
    begin_ttl(r, past, now_ms);

    struct run was = *r;
    was.damped = past && past->suppressed && rule->mode == DAMP_SUPPRESS;
    if (past) {
        was.status = past->status;
        was.cause = past->cause;
    }
    return effect(r, &was, true, now_ms);
}

struct run_effect run_redefine(struct run *r, const struct check_def *d,
                               const struct damp_rule *rule, uint64_t now_ms)
{
    const struct run was = *r;

    damp_rule_changed(&r->damp, &r->rule, rule, now_ms);
    r->rule = *rule;
    r->before = r->damp;
    r->row = CAUSE_EVIDENCE;
    r->seen = false;
    r->ttl_ms = ttl_of(d);
    threshold_init(&r->threshold, d);
    begin_ttl(r, NULL, now_ms);
    return effect(r, &was, false, now_ms);
}

void run_again(struct run *r, uint64_t now_ms)
{
    if (!r->seen ||
        (r->again_ms && now_ms - r->again_ms < r->rule.half_life_ms))
        return;
    r->again_ms = now_ms;
    r->seen = false;
}

struct run_effect run_rule(struct run *r, const struct damp_rule *rule,
                           uint64_t now_ms)
{
    const struct run was = *r;

    damp_rule_changed(&r->damp, &r->rule, rule, now_ms);
    r->before = r->damp;
    r->rule = *rule;
    return effect(r, &was, false, now_ms);
}

/* --- Events -------------------------------------------------------------- */

static enum check_cause cause_of(enum run_kind kind, bool starved)
{
    switch (kind) {
    case RUN_ANSWERED:
    case RUN_REFUSED:
        return CAUSE_EVIDENCE;
    case RUN_TIMED_OUT:
        return starved ? CAUSE_SILENCE : CAUSE_TIMEOUT;
    }
    return CAUSE_EVIDENCE;
}

struct run_effect run_result(struct run *r, enum status status,
                             enum run_kind kind, bool starved, uint64_t now_ms)
{
    const struct run was = *r;
    enum check_cause cause = cause_of(kind, starved);
    enum status now = r->status;

    if (r->threshold.failures == 0)
        r->row = CAUSE_EVIDENCE;
    bool holds = threshold_result(&r->threshold, status, &now);
    if (r->threshold.failures)
        r->row = weaker(r->row, cause);
    if (holds)
        move(r, now, r->status == STATUS_CRITICAL ? cause : r->row, true,
             now_ms);
    r->seen = true;
    sometimes(holds && r->cause == CAUSE_SILENCE);
    return effect(r, &was, holds, now_ms);
}

bool run_beat(struct run *r, uint64_t now_ms)
{
    if (!r->ttl_ms)
        return false;
    r->beat_ms = now_ms;
    r->expires_ms = now_ms + r->ttl_ms;
    return true;
}

struct run_effect run_told(struct run *r, enum status status, uint64_t now_ms)
{
    const struct run was = *r;

    (void)run_beat(r, now_ms);
    move(r, status, CAUSE_EVIDENCE, true, now_ms);
    r->seen = true;
    return effect(r, &was, true, now_ms);
}

struct run_effect run_follow(struct run *r, enum status status,
                             enum check_cause cause, uint64_t now_ms)
{
    const struct run was = *r;

    /* The target's cause as it is: what it takes back, is taken back here. */
    set_status(r, status, cause, now_ms);
    r->seen = true;
    return effect(r, &was, true, now_ms);
}

struct run_effect run_recall(struct run *r, uint64_t now_ms)
{
    const struct run was = *r;

    if (r->row == CAUSE_TIMEOUT)
        r->row = CAUSE_SILENCE;
    if (r->status == STATUS_CRITICAL && r->cause == CAUSE_TIMEOUT) {
        r->cause = CAUSE_SILENCE;
        r->damp = r->before;
        sometimes(true);
    }
    return effect(r, &was, false, now_ms);
}

struct run_effect run_time(struct run *r, uint64_t now_ms)
{
    const struct run was = *r;
    bool expired = now_ms >= r->expires_ms;

    if (expired) {
        r->expires_ms = RUN_NEVER;
        move(r, STATUS_CRITICAL, CAUSE_SILENCE, false, now_ms);
    }
    struct run_effect e = effect(r, &was, expired, now_ms);
    e.expired = expired;
    return e;
}

struct check_marks run_marks(const struct run *r, uint64_t now_ms)
{
    return (struct check_marks){
        .cause = r->cause,
        .damped = r->damped,
        .penalty = damp_penalty_u32(&r->damp, &r->rule, now_ms),
        .damped_until_ms = damp_until_ms(&r->damp, now_ms),
    };
}
