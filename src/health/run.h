/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* run - one running check: (state, event, now) -> state and effect. The agent
 * drives it with real time, the simulation with its own.
 *
 *            result, told        expired, starved, host restarted
 *                 |                          |
 *     passing ----+--> critical: EVIDENCE    +--> critical: SILENCE
 *                      critical: TIMEOUT ---------^ recalled: the prober turns
 *                                                   out to have been starved
 *
 * A critical check's cause only grows stronger while it stays critical (SILENCE
 * < TIMEOUT < EVIDENCE), but for a recall: so nothing is written each time that
 * a target fails in another way.
 *
 * Damping counts a check's way from passing to critical (whether or not it
 * passes through warning) by evidence. It counts no silence, not the first
 * result of a run (a start, a new definition, a registration), and no alias,
 * whose target counts for itself.
 *
 * Restart is not death (run_begin): the same host, and nobody declared the node
 * failed: the last status, cause and penalty, thresholds empty. A TTL check
 * gets what was left of its TTL, extended by the time that nobody listened, by
 * its TTL and RUN_GRACE_MS at most; but never less than the shorter of these,
 * so that a client has a chance to beat. Else everything starts as defined, and
 * what becomes critical by that is critical by silence.
 *
 * Pure. Times are milliseconds of one monotonic clock. */
#ifndef HEALTH_RUN_H
#define HEALTH_RUN_H

#include "base/marks.h"
#include "health/check_def.h"
#include "health/damp.h"
#include "health/judge.h"
#include "health/status.h"

enum {
    RUN_GRACE_MS = 60 * 1000,
    /* How soon a check runs whose state is not known any more. */
    RUN_SOON_MS = 2 * 1000,
};

#define RUN_NEVER UINT64_MAX

/* Plain values: a copy tries out what an event would do. */
struct run {
    enum status status;
    enum check_cause cause; /* EVIDENCE unless critical */
    struct threshold threshold;
    enum check_cause row; /* the weakest of the failures in a row */
    bool seen;            /* a result has come in this run */
    bool up;              /* has passed since it was critical last */
    bool damped;          /* as last told */
    uint64_t again_ms;    /* the last registration that counted as one */
    uint64_t since_ms;    /* of the status, or of the start */
    uint64_t ttl_ms;      /* 0: no TTL check */
    uint64_t beat_ms;     /* TTL: the last one, as far as it is known */
    uint64_t expires_ms;  /* TTL; RUN_NEVER: it waits for a beat */
    uint32_t counts;      /* changes that damping counted */
    struct damp damp;
    struct damp before; /* the change that a recall would take back */
    struct damp_rule rule;
};

/* What an event did. */
struct run_effect {
    bool report;  /* this status holds, with the event's output */
    bool flips;   /* it is another one than before */
    bool marked;  /* the cause, or whether it is damped, is another one */
    bool expired; /* a TTL ran out */
    bool counted; /* by damping */
    enum status status;
    enum check_cause cause;
    bool damped;
    uint64_t damped_until_ms; /* 0: not suppressed; also while observed */
    uint32_t penalty;
    uint64_t next_ms; /* run_time is due; RUN_NEVER */
};

/* What is known from an earlier process. */
struct run_past {
    enum status status;
    enum check_cause cause;
    uint64_t used_ms; /* of the TTL, when this was written */
    uint64_t down_ms; /* since then, by a clock that never stops; 0: unknown */
    double penalty;   /* when this was written */
    bool suppressed;
    bool same_boot;       /* the host has not been restarted */
    bool declared_failed; /* its node was, meanwhile */
};

/* past NULL: the check is new. Reports (without an output of its own) what the
 * status is now. */
struct run_effect run_begin(struct run *r, const struct check_def *d,
                            const struct damp_rule *rule,
                            const struct run_past *past, uint64_t now_ms);

/* True: run_begin takes the past for what holds now. */
bool run_past_holds(const struct run_past *past);

/* Within how many milliseconds, spread by ID, a check first runs: soon, if
 * nothing is known of it, or was when the last process ended. */
uint64_t run_first_within_ms(const struct run_past *past, uint64_t interval_ms);

/* Another definition under its ID: the status stays, the run is a new one. */
struct run_effect run_redefine(struct run *r, const struct check_def *d,
                               const struct damp_rule *rule, uint64_t now_ms);

/* Registered again as it is: what comes next is a first result; but once in a
 * half-life only, or who registers again and again would never be damped. */
void run_again(struct run *r, uint64_t now_ms);

/* Other rules of damping from now on. */
struct run_effect run_rule(struct run *r, const struct damp_rule *rule,
                           uint64_t now_ms);

/* A probe's result. starved: the prober was no witness (health/witness.h);
 * matters to RUN_TIMED_OUT only. */
struct run_effect run_result(struct run *r, enum status status,
                             enum run_kind kind, bool starved, uint64_t now_ms);

/* Told so by a client: pass, warn, fail. A beat too. */
struct run_effect run_told(struct run *r, enum status status, uint64_t now_ms);

/* An alias follows its target. */
struct run_effect run_follow(struct run *r, enum status status,
                             enum check_cause cause, uint64_t now_ms);

/* A sign of life alone; false: it is no TTL check. */
bool run_beat(struct run *r, uint64_t now_ms);

/* Time-outs of late were the prober's own. */
struct run_effect run_recall(struct run *r, uint64_t now_ms);

/* What is due: a TTL's end, the end of damping. Early calls do nothing. */
struct run_effect run_time(struct run *r, uint64_t now_ms);

/* Marks for the record, but for what the guard decides and the wall clock: the
 * caller sets since_ms and translates damped_until_ms. */
struct check_marks run_marks(const struct run *r, uint64_t now_ms);

#endif
