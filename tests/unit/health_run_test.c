/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "health/run.h"

#include "test.h"

#define SECOND INT64_C(1000000000)

static const struct check_def http = {.failures_before_warning = -1,
                                      .interval_ns = 10 * SECOND};
static const struct check_def ttl = {.failures_before_warning = -1,
                                     .ttl_ns = 30 * SECOND};

static struct damp_rule suppressing(void)
{
    struct damp_rule rule = damp_rule_default();
    rule.mode = DAMP_SUPPRESS;
    return rule;
}

static struct run started(const struct check_def *d)
{
    const struct damp_rule rule = suppressing();
    struct run r;
    (void)run_begin(&r, d, &rule, NULL, 1000);
    return r;
}

static struct run_effect answered(struct run *r, enum status s, uint64_t now)
{
    return run_result(r, s, RUN_ANSWERED, false, now);
}

static void assert_state(const struct run *r, enum status status,
                         enum check_cause cause)
{
    assert_int_equal(r->status, status);
    assert_int_equal(r->cause, cause);
}

/* --- Beginning ----------------------------------------------------------- */

static void a_new_check_starts_as_defined(void **state)
{
    (void)state;
    const struct damp_rule rule = damp_rule_default();
    struct check_def d = http;
    struct run r;

    struct run_effect e = run_begin(&r, &d, &rule, NULL, 1000);
    assert_state(&r, STATUS_CRITICAL, CAUSE_EVIDENCE);
    assert_true(e.report);
    assert_false(e.flips || e.marked || e.damped);
    assert_int_equal(e.next_ms, RUN_NEVER);
    d.status = bytes_str("passing");
    (void)run_begin(&r, &d, &rule, NULL, 1000);
    assert_state(&r, STATUS_PASSING, CAUSE_EVIDENCE);
    assert_int_equal(run_first_within_ms(NULL, 10000), 10000);
}

static void the_same_host_goes_on_as_it_was(void **state)
{
    (void)state;
    const struct damp_rule rule = suppressing();
    struct check_def d = http;
    struct run_past past = {.status = STATUS_PASSING, .same_boot = true};
    struct run r;

    d.failures_before_critical = 1;
    struct run_effect e = run_begin(&r, &d, &rule, &past, 1000);
    assert_state(&r, STATUS_PASSING, CAUSE_EVIDENCE);
    assert_false(e.flips || e.marked);
    assert_int_equal(run_first_within_ms(&past, 10000), 10000);

    past.status = STATUS_CRITICAL;
    past.cause = CAUSE_TIMEOUT;
    e = run_begin(&r, &d, &rule, &past, 1000);
    assert_state(&r, STATUS_CRITICAL, CAUSE_TIMEOUT);
    assert_false(e.flips || e.marked);
    assert_int_equal(run_first_within_ms(&past, 10000), 10000);
    past.cause = CAUSE_SILENCE; /* nobody knows: look soon */
    assert_int_equal(run_first_within_ms(&past, 10000), RUN_SOON_MS);
    /* A cause of something else than critical means nothing. */
    past.status = STATUS_WARNING;
    (void)run_begin(&r, &d, &rule, &past, 1000);
    assert_state(&r, STATUS_WARNING, CAUSE_EVIDENCE);
}

static void one_bad_result_after_a_restart_counts_as_one(void **state)
{
    (void)state;
    const struct damp_rule rule = suppressing();
    const struct run_past past = {.status = STATUS_PASSING, .same_boot = true};
    struct check_def d = http;
    struct run r;

    d.failures_before_critical = 2;
    (void)run_begin(&r, &d, &rule, &past, 1000);
    assert_false(answered(&r, STATUS_CRITICAL, 2000).report);
    assert_true(answered(&r, STATUS_CRITICAL, 3000).flips);
}

static void another_host_or_a_failed_node_starts_in_silence(void **state)
{
    (void)state;
    const struct damp_rule rule = suppressing();
    struct check_def d = http;
    struct run r;

    for (int failed = 0; failed < 2; failed++) {
        const struct run_past past = {
            .status = STATUS_PASSING,
            .penalty = 5000,
            .suppressed = true,
            .same_boot = failed,
            .declared_failed = failed,
        };
        struct run_effect e = run_begin(&r, &d, &rule, &past, 1000);
        assert_state(&r, STATUS_CRITICAL, CAUSE_SILENCE);
        assert_true(e.flips && e.marked && !e.damped);
        assert_int_equal(e.penalty, 0);
        assert_int_equal(run_first_within_ms(&past, 10000), RUN_SOON_MS);
        assert_int_equal(run_first_within_ms(&past, 1000), 1000);
    }
    const struct run_past passed = {.status = STATUS_PASSING};
    d.status = bytes_str("passing");
    assert_false(run_begin(&r, &d, &rule, &passed, 1000).flips);
    assert_state(&r, STATUS_PASSING, CAUSE_EVIDENCE);
    /* It was critical by evidence: no silence came in between. */
    const struct run_past failed = {.status = STATUS_CRITICAL};
    (void)run_begin(&r, &http, &rule, &failed, 1000);
    assert_state(&r, STATUS_CRITICAL, CAUSE_EVIDENCE);
}

/* --- TTL ----------------------------------------------------------------- */

static void a_ttl_expires_in_silence(void **state)
{
    (void)state;
    struct run r = started(&ttl);

    struct run_effect e = run_told(&r, STATUS_PASSING, 5000);
    assert_true(e.report && e.flips);
    assert_int_equal(e.next_ms, 35000);
    assert_true(run_beat(&r, 10000));
    e = run_time(&r, 39999);
    assert_false(e.expired || e.report);
    assert_int_equal(e.next_ms, 40000);
    e = run_time(&r, 40000);
    assert_true(e.expired && e.report && e.flips && e.marked);
    assert_state(&r, STATUS_CRITICAL, CAUSE_SILENCE);
    assert_int_equal(e.next_ms, RUN_NEVER);
    assert_int_equal(e.penalty, 0);
    /* The next beat may bring it back, or say why. */
    struct run copy = r;
    assert_true(run_told(&copy, STATUS_PASSING, 50000).flips);
    e = run_told(&r, STATUS_CRITICAL, 50000);
    assert_true(e.marked && !e.flips);
    assert_state(&r, STATUS_CRITICAL, CAUSE_EVIDENCE);
}

static void what_failed_by_its_word_stays_so_when_it_falls_silent(void **state)
{
    (void)state;
    struct run r = started(&ttl);

    (void)run_told(&r, STATUS_CRITICAL, 5000);
    struct run_effect e = run_time(&r, 35000);
    assert_true(e.expired && e.report && !e.flips && !e.marked);
    assert_state(&r, STATUS_CRITICAL, CAUSE_EVIDENCE);
}

static uint64_t left_after(const struct check_def *d, uint64_t used_s,
                           uint64_t down_s, bool same_boot)
{
    const struct damp_rule rule = damp_rule_default();
    const struct run_past past = {.status = STATUS_PASSING,
                                  .used_ms = used_s * 1000,
                                  .down_ms = down_s * 1000,
                                  .same_boot = same_boot};
    struct check_def passing = *d;
    struct run r;

    passing.status = bytes_str("passing");
    uint64_t next =
        run_begin(&r, &passing, &rule, &past, 1000000).next_ms - 1000000;
    assert_int_equal(next % 1000, 0);
    assert_int_equal(r.beat_ms + r.ttl_ms, r.expires_ms);
    return next / 1000;
}

static void a_ttl_is_extended_by_the_time_down_within_bounds(void **state)
{
    (void)state;
    struct check_def d = ttl; /* 30 s: never less, never more */

    assert_int_equal(left_after(&d, 10, 0, true), 30);
    assert_int_equal(left_after(&d, 10, 3600, true), 30);
    assert_int_equal(left_after(&d, 10, 5, false), 30);
    d.ttl_ns = 600 * SECOND;
    assert_int_equal(left_after(&d, 0, 0, true), 600);
    assert_int_equal(left_after(&d, 100, 0, true), 500);
    assert_int_equal(left_after(&d, 100, 60, true), 500);
    /* Nobody listened for 200 s: 60 of them are given back. */
    assert_int_equal(left_after(&d, 100, 200, true), 360);
    assert_int_equal(left_after(&d, 590, 5, true), 60);
    assert_int_equal(left_after(&d, 100, 36000, true), 60);
    assert_int_equal(left_after(&d, 100, 20, false), 60);
    assert_int_equal(left_after(&d, UINT64_MAX / 2000, 0, true), 60);
    assert_int_equal(left_after(&d, 0, UINT64_MAX / 2000, true), 60);
}

static void a_critical_ttl_waits_for_its_beat_after_a_restart(void **state)
{
    (void)state;
    const struct damp_rule rule = damp_rule_default();
    const struct run_past past = {
        .status = STATUS_CRITICAL, .cause = CAUSE_SILENCE, .same_boot = true};
    struct run r;

    assert_int_equal(run_begin(&r, &ttl, &rule, &past, 1000).next_ms,
                     RUN_NEVER);
    assert_state(&r, STATUS_CRITICAL, CAUSE_SILENCE);
    assert_true(run_told(&r, STATUS_PASSING, 2000).flips);
    struct run probe = started(&http);
    assert_false(run_beat(&probe, 2000));
}

/* --- Causes -------------------------------------------------------------- */

static void results_are_evidence_but_for_a_starved_time_out(void **state)
{
    (void)state;
    static const struct {
        enum run_kind kind;
        bool starved;
        enum check_cause want;
    } rows[] = {
        {RUN_ANSWERED, false, CAUSE_EVIDENCE},
        {RUN_REFUSED, false, CAUSE_EVIDENCE},
        {RUN_TIMED_OUT, false, CAUSE_TIMEOUT},
        {RUN_ANSWERED, true, CAUSE_EVIDENCE},
        {RUN_REFUSED, true, CAUSE_EVIDENCE},
        {RUN_TIMED_OUT, true, CAUSE_SILENCE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct run r = started(&http);
        (void)answered(&r, STATUS_PASSING, 2000);
        struct run_effect e = run_result(&r, STATUS_CRITICAL, rows[i].kind,
                                         rows[i].starved, 3000);
        assert_true(e.flips && e.report);
        assert_int_equal(e.cause, rows[i].want);
        assert_int_equal(e.marked, rows[i].want != CAUSE_EVIDENCE);
        assert_int_equal(r.since_ms, 3000);
    }
}

static void a_cause_grows_only_stronger_until_it_passes(void **state)
{
    (void)state;
    struct run r = started(&http);

    (void)answered(&r, STATUS_PASSING, 2000);
    (void)run_result(&r, STATUS_CRITICAL, RUN_TIMED_OUT, true, 3000);
    assert_state(&r, STATUS_CRITICAL, CAUSE_SILENCE);
    struct run_effect e =
        run_result(&r, STATUS_CRITICAL, RUN_TIMED_OUT, false, 4000);
    assert_true(e.marked && !e.flips);
    assert_state(&r, STATUS_CRITICAL, CAUSE_TIMEOUT);
    (void)run_result(&r, STATUS_CRITICAL, RUN_REFUSED, false, 5000);
    assert_state(&r, STATUS_CRITICAL, CAUSE_EVIDENCE);
    e = run_result(&r, STATUS_CRITICAL, RUN_TIMED_OUT, true, 6000);
    assert_false(e.marked || e.flips);
    assert_state(&r, STATUS_CRITICAL, CAUSE_EVIDENCE);
    assert_int_equal(r.since_ms, 3000);
    e = answered(&r, STATUS_PASSING, 7000);
    assert_true(e.flips && !e.marked);
    assert_state(&r, STATUS_PASSING, CAUSE_EVIDENCE);
}

/* Three in a row are asked for: with one of silence there are but two. */
static void the_weakest_of_the_row_is_the_cause(void **state)
{
    (void)state;
    struct check_def d = http;

    d.failures_before_critical = 3;
    struct run r = started(&d);
    (void)answered(&r, STATUS_PASSING, 2000);
    (void)run_result(&r, STATUS_CRITICAL, RUN_REFUSED, false, 3000);
    (void)run_result(&r, STATUS_CRITICAL, RUN_TIMED_OUT, true, 4000);
    assert_state(&r, STATUS_PASSING, CAUSE_EVIDENCE);
    assert_true(
        run_result(&r, STATUS_CRITICAL, RUN_REFUSED, false, 5000).flips);
    assert_state(&r, STATUS_CRITICAL, CAUSE_SILENCE);
    (void)run_result(&r, STATUS_CRITICAL, RUN_REFUSED, false, 6000);
    assert_state(&r, STATUS_CRITICAL, CAUSE_EVIDENCE);
    /* A success begins a new row. */
    (void)answered(&r, STATUS_PASSING, 7000);
    for (uint64_t now = 8000; now <= 10000; now += 1000)
        (void)run_result(&r, STATUS_CRITICAL, RUN_REFUSED, false, now);
    assert_state(&r, STATUS_CRITICAL, CAUSE_EVIDENCE);
}

static void a_recall_turns_a_time_out_to_silence(void **state)
{
    (void)state;
    struct run r = started(&http);

    (void)answered(&r, STATUS_PASSING, 2000);
    struct run_effect e =
        run_result(&r, STATUS_CRITICAL, RUN_TIMED_OUT, false, 3000);
    assert_int_equal(e.penalty, 1000);
    e = run_recall(&r, 3500);
    assert_true(e.marked && !e.flips && !e.report);
    assert_state(&r, STATUS_CRITICAL, CAUSE_SILENCE);
    /* It was no change for the worse. */
    assert_int_equal(e.penalty, 0);
    assert_false(run_recall(&r, 3600).marked);

    /* Evidence is not recalled, and no check that passes. */
    (void)run_result(&r, STATUS_CRITICAL, RUN_REFUSED, false, 4000);
    assert_false(run_recall(&r, 4500).marked);
    assert_state(&r, STATUS_CRITICAL, CAUSE_EVIDENCE);
    (void)answered(&r, STATUS_PASSING, 5000);
    assert_false(run_recall(&r, 5500).marked);
}

static void a_recall_reaches_a_row_that_is_not_full_yet(void **state)
{
    (void)state;
    struct check_def d = http;

    d.failures_before_critical = 2;
    struct run r = started(&d);
    (void)answered(&r, STATUS_PASSING, 2000);
    (void)run_result(&r, STATUS_CRITICAL, RUN_TIMED_OUT, false, 3000);
    assert_false(run_recall(&r, 3500).marked);
    (void)run_result(&r, STATUS_CRITICAL, RUN_TIMED_OUT, false, 4000);
    assert_state(&r, STATUS_CRITICAL, CAUSE_SILENCE);
}

/* --- Damping ------------------------------------------------------------- */

static struct run_effect flap(struct run *r, uint64_t now)
{
    (void)answered(r, STATUS_PASSING, now);
    return answered(r, STATUS_CRITICAL, now + 1);
}

static void flaps_by_evidence_damp_and_time_releases(void **state)
{
    (void)state;
    struct run r = started(&http);
    struct run_effect e = {0};

    (void)answered(&r, STATUS_PASSING, 1500);
    for (uint64_t i = 0; i < 3; i++) {
        assert_false(e.damped);
        e = flap(&r, 2000 + i * 1000);
    }
    assert_true(e.damped && e.marked);
    assert_true(e.penalty > 2500 && e.damped_until_ms > 4001);
    assert_int_equal(e.next_ms, e.damped_until_ms);
    /* It stays so while it passes. */
    uint64_t until = e.damped_until_ms;
    e = answered(&r, STATUS_PASSING, 6000);
    assert_true(e.damped && !e.marked);
    assert_int_equal(run_marks(&r, 6000).damped_until_ms, until);
    assert_true(run_marks(&r, 6000).damped);
    assert_false(run_time(&r, until - 1).marked);
    e = run_time(&r, until);
    assert_true(e.marked && !e.damped && !e.report && !e.flips);
    assert_int_equal(e.next_ms, RUN_NEVER);
    assert_int_equal(e.damped_until_ms, 0);
}

static void what_is_observed_is_shown_and_marks_nothing(void **state)
{
    (void)state;
    const struct damp_rule rule = damp_rule_default();
    struct run r;
    struct run_effect e = {0};

    (void)run_begin(&r, &http, &rule, NULL, 1000);
    (void)answered(&r, STATUS_PASSING, 1500);
    for (uint64_t i = 0; i < 5; i++) {
        e = flap(&r, 2000 + i * 1000);
        assert_false(e.damped || e.marked);
    }
    assert_true(e.penalty > 2500 && e.damped_until_ms > 0);
    assert_int_equal(e.next_ms, e.damped_until_ms);
    e = run_time(&r, e.damped_until_ms);
    assert_false(e.damped || e.marked || e.damped_until_ms);
    assert_int_equal(e.next_ms, RUN_NEVER);
}

static void a_first_result_and_silence_count_for_nothing(void **state)
{
    (void)state;
    const struct damp_rule rule = suppressing();
    const struct run_past past = {.status = STATUS_PASSING, .same_boot = true};
    struct run r;

    /* A restarted agent's first look. */
    (void)run_begin(&r, &http, &rule, &past, 1000);
    assert_int_equal(answered(&r, STATUS_CRITICAL, 2000).penalty, 0);
    /* Registered anew while the new process starts. */
    (void)answered(&r, STATUS_PASSING, 3000);
    run_again(&r, 3500);
    assert_int_equal(answered(&r, STATUS_CRITICAL, 4000).penalty, 0);
    /* Another definition under its ID. */
    (void)answered(&r, STATUS_PASSING, 5000);
    (void)run_redefine(&r, &http, &rule, 5500);
    assert_int_equal(answered(&r, STATUS_CRITICAL, 6000).penalty, 0);
    /* Silence, and what evidence adds to it. */
    (void)answered(&r, STATUS_PASSING, 7000);
    struct run_effect e =
        run_result(&r, STATUS_CRITICAL, RUN_TIMED_OUT, true, 8000);
    assert_int_equal(e.penalty, 0);
    assert_int_equal(answered(&r, STATUS_CRITICAL, 9000).penalty, 0);
    /* And now a real one; registering all the time excuses nothing. */
    run_again(&r, 9500);
    struct run_effect real = flap(&r, 10000);
    assert_true(real.counted);
    assert_int_equal(real.penalty, 1000);
}

static void the_way_through_warning_counts_once(void **state)
{
    (void)state;
    struct run r = started(&http);

    (void)answered(&r, STATUS_PASSING, 2000);
    assert_int_equal(answered(&r, STATUS_WARNING, 3000).penalty, 0);
    assert_int_equal(answered(&r, STATUS_CRITICAL, 3000).penalty, 1000);
    (void)answered(&r, STATUS_WARNING, 3000);
    assert_int_equal(answered(&r, STATUS_CRITICAL, 3000).penalty, 1000);
}

static void an_alias_follows_and_counts_nothing(void **state)
{
    (void)state;
    struct run r = started(&http);

    for (uint64_t i = 0; i < 10; i++) {
        struct run_effect e =
            run_follow(&r, STATUS_PASSING, CAUSE_EVIDENCE, 2000 + i);
        assert_int_equal(e.penalty, 0);
        e = run_follow(&r, STATUS_CRITICAL, CAUSE_EVIDENCE, 2000 + i);
        assert_int_equal(e.penalty, 0);
    }
    struct run_effect e = run_follow(&r, STATUS_CRITICAL, CAUSE_SILENCE, 3000);
    assert_true(e.marked);
    assert_state(&r, STATUS_CRITICAL, CAUSE_SILENCE);
}

static void another_rule_damps_or_releases_at_once(void **state)
{
    (void)state;
    struct damp_rule rule = damp_rule_default();
    struct run r;

    (void)run_begin(&r, &http, &rule, NULL, 1000);
    (void)answered(&r, STATUS_PASSING, 1500);
    for (uint64_t i = 0; i < 3; i++)
        (void)flap(&r, 2000 + i * 1000);
    rule.mode = DAMP_SUPPRESS;
    struct run_effect e = run_rule(&r, &rule, 6000);
    assert_true(e.marked && e.damped && e.next_ms == e.damped_until_ms);
    rule.mode = DAMP_OFF;
    e = run_rule(&r, &rule, 7000);
    assert_true(e.marked && !e.damped);
    assert_int_equal(e.penalty, 0);
}

static void a_restart_keeps_a_check_damped(void **state)
{
    (void)state;
    const struct damp_rule rule = suppressing();
    struct run_past past = {.status = STATUS_PASSING,
                            .down_ms = 60000,
                            .penalty = 2600,
                            .suppressed = true,
                            .same_boot = true};
    struct run r;

    struct run_effect e = run_begin(&r, &http, &rule, &past, 1000);
    assert_true(e.damped && !e.marked);
    assert_int_equal(e.penalty, 1300);
    assert_in_range(e.damped_until_ms, 1000 + 47000, 1000 + 48000);
    past.down_ms = 600000;
    e = run_begin(&r, &http, &rule, &past, 1000);
    assert_true(!e.damped && e.marked);
    assert_int_equal(e.penalty, 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_new_check_starts_as_defined),
    cmocka_unit_test(the_same_host_goes_on_as_it_was),
    cmocka_unit_test(one_bad_result_after_a_restart_counts_as_one),
    cmocka_unit_test(another_host_or_a_failed_node_starts_in_silence),
    cmocka_unit_test(a_ttl_expires_in_silence),
    cmocka_unit_test(what_failed_by_its_word_stays_so_when_it_falls_silent),
    cmocka_unit_test(a_ttl_is_extended_by_the_time_down_within_bounds),
    cmocka_unit_test(a_critical_ttl_waits_for_its_beat_after_a_restart),
    cmocka_unit_test(results_are_evidence_but_for_a_starved_time_out),
    cmocka_unit_test(a_cause_grows_only_stronger_until_it_passes),
    cmocka_unit_test(the_weakest_of_the_row_is_the_cause),
    cmocka_unit_test(a_recall_turns_a_time_out_to_silence),
    cmocka_unit_test(a_recall_reaches_a_row_that_is_not_full_yet),
    cmocka_unit_test(flaps_by_evidence_damp_and_time_releases),
    cmocka_unit_test(what_is_observed_is_shown_and_marks_nothing),
    cmocka_unit_test(a_first_result_and_silence_count_for_nothing),
    cmocka_unit_test(the_way_through_warning_counts_once),
    cmocka_unit_test(an_alias_follows_and_counts_nothing),
    cmocka_unit_test(another_rule_damps_or_releases_at_once),
    cmocka_unit_test(a_restart_keeps_a_check_damped),
};

RUN_TESTS(tests)
