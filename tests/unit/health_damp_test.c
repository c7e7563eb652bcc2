/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "health/damp.h"

#include "test.h"

enum { SECOND = 1000 };

static struct damp flapped(const struct damp_rule *rule, int times,
                           uint64_t every_ms, uint64_t *ret_now)
{
    struct damp d = {0};
    uint64_t now = 1000;

    for (int i = 0; i < times; i++) {
        if (i)
            now += every_ms;
        damp_change(&d, rule, now);
    }
    *ret_now = now;
    return d;
}

static void the_names_of_modes_are_read_as_written(void **state)
{
    (void)state;
    enum damp_mode m;

    for (int i = DAMP_OBSERVE; i <= DAMP_OFF; i++) {
        const char *name = damp_mode_name((enum damp_mode)i);
        assert_true(damp_mode_of(bytes_str(name), &m));
        assert_int_equal(m, i);
    }
    assert_false(damp_mode_of(bytes_str("Suppress"), &m));
    assert_false(damp_mode_of(bytes_str(""), &m));
}

static void a_change_adds_and_half_is_left_after_a_half_life(void **state)
{
    (void)state;
    const struct damp_rule rule = damp_rule_default();
    uint64_t now;
    struct damp d = flapped(&rule, 1, 0, &now);

    assert_int_equal(damp_penalty_u32(&d, &rule, now), 1000);
    assert_int_equal(damp_penalty_u32(&d, &rule, now + 60 * SECOND), 500);
    /* Below half of the reuse limit it is forgotten. */
    assert_int_equal(damp_penalty_u32(&d, &rule, now + 120 * SECOND), 0);
    assert_false(damp_suppressed(&d, now));
    assert_int_equal(damp_until_ms(&d, now), 0);
}

static void rare_changes_never_suppress(void **state)
{
    (void)state;
    const struct damp_rule rule = damp_rule_default();
    uint64_t now;
    struct damp d = flapped(&rule, 1000, 60 * SECOND, &now);

    assert_false(damp_suppressed(&d, now));
    assert_in_range(damp_penalty_u32(&d, &rule, now), 1990, 2000);
}

static void the_third_change_in_a_row_suppresses(void **state)
{
    (void)state;
    const struct damp_rule rule = damp_rule_default();
    uint64_t now;
    struct damp d = flapped(&rule, 2, 10 * SECOND, &now);

    assert_false(damp_suppressed(&d, now));
    d = flapped(&rule, 3, 10 * SECOND, &now);
    assert_int_equal(damp_penalty_u32(&d, &rule, now), 2685);
    assert_true(damp_suppressed(&d, now));
    /* 60 s * log2(2684.6 / 750) */
    assert_int_equal(damp_until_ms(&d, now) - now, 110385);
    assert_true(damp_suppressed(&d, now + 110384));
    assert_false(damp_suppressed(&d, now + 110385));
    assert_int_equal(damp_until_ms(&d, now + 110385), 0);
    assert_int_equal(damp_penalty_u32(&d, &rule, now + 110385), 750);
}

/* For any flapping: never longer than max after the last change, and released
 * when the penalty is back at the reuse limit. */
static void suppression_ends_at_the_latest_after_max(void **state)
{
    (void)state;
    const struct damp_rule rule = damp_rule_default();

    for (int times = 1; times < 200; times++)
        for (uint64_t every = 100; every <= 40 * SECOND; every *= 3) {
            uint64_t now, until;
            struct damp d = flapped(&rule, times, every, &now);

            assert_true(damp_penalty(&d, &rule, now) <= 24000.0);
            until = damp_until_ms(&d, now);
            if (!until) {
                assert_true(damp_penalty(&d, &rule, now) <= rule.suppress);
                continue;
            }
            assert_in_range(until - now, 1, DAMP_MAX_MS);
            assert_true(damp_penalty(&d, &rule, until) < rule.reuse + 0.01);
            assert_true(damp_penalty(&d, &rule, until - 2) > rule.reuse);
        }
    uint64_t now;
    struct damp d = flapped(&rule, 200, 100, &now);
    assert_int_equal(damp_until_ms(&d, now) - now, DAMP_MAX_MS);
}

/* Below the suppress limit, not yet below the reuse limit: that is what the
 * two limits are for. */
static void what_is_suppressed_stays_so_by_a_small_penalty(void **state)
{
    (void)state;
    const struct damp_rule rule = damp_rule_default();
    uint64_t now;
    struct damp d = flapped(&rule, 3, SECOND, &now);
    uint64_t until = damp_until_ms(&d, now);

    now = until - SECOND;
    assert_true(damp_penalty(&d, &rule, now) < rule.suppress);
    damp_change(&d, &rule, now);
    assert_true(damp_penalty(&d, &rule, now) < rule.suppress);
    assert_true(damp_until_ms(&d, now) > until);

    /* Once released, the same penalty does not suppress. */
    d = flapped(&rule, 3, SECOND, &now);
    now = until;
    damp_change(&d, &rule, now);
    assert_false(damp_suppressed(&d, now));
}

static void a_clock_that_goes_back_adds_all_the_same(void **state)
{
    (void)state;
    const struct damp_rule rule = damp_rule_default();
    struct damp d = {0};

    damp_change(&d, &rule, 5000);
    damp_change(&d, &rule, 3000);
    assert_int_equal(d.last_ms, 5000);
    assert_int_equal(damp_penalty_u32(&d, &rule, 1000), 2000);
}

static void off_computes_nothing(void **state)
{
    (void)state;
    struct damp_rule rule = damp_rule_default();
    uint64_t now;

    rule.mode = DAMP_OFF;
    struct damp d = flapped(&rule, 100, 10, &now);
    assert_int_equal(damp_penalty_u32(&d, &rule, now), 0);
    damp_restore(&d, &rule, 9000, true, 0, now);
    assert_false(damp_suppressed(&d, now));
}

static void a_restart_keeps_what_is_left_of_it(void **state)
{
    (void)state;
    const struct damp_rule rule = damp_rule_default();
    uint64_t now;
    struct damp d = flapped(&rule, 5, SECOND, &now), r;
    double then = damp_penalty(&d, &rule, now);

    for (uint64_t age = 0; age <= 300 * SECOND; age += 7 * SECOND) {
        damp_restore(&r, &rule, then, true, age, 50);
        assert_int_equal(damp_penalty_u32(&r, &rule, 50),
                         damp_penalty_u32(&d, &rule, now + age));
        assert_int_equal(damp_suppressed(&r, 50),
                         damp_suppressed(&d, now + age));
        if (damp_suppressed(&r, 50))
            assert_in_range(r.until_ms - 50 + age + 1, d.until_ms - now,
                            d.until_ms - now + 2);
    }
    damp_restore(&r, &rule, then, false, 0, 50);
    assert_false(damp_suppressed(&r, 50));
    /* A stored number that cannot be: as the ceiling. */
    damp_restore(&r, &rule, 4e9, true, 0, 50);
    assert_int_equal(damp_until_ms(&r, 50), 50 + DAMP_MAX_MS);
}

static void other_limits_hold_at_once(void **state)
{
    (void)state;
    const struct damp_rule old = damp_rule_default();
    struct damp_rule rule = old;
    uint64_t now;
    struct damp d = flapped(&old, 4, SECOND, &now);

    rule.max_ms = rule.half_life_ms = 5 * SECOND;
    damp_rule_changed(&d, &old, &rule, now);
    assert_in_range(damp_until_ms(&d, now) - now, 1, 5 * SECOND);
    rule.mode = DAMP_OFF;
    damp_rule_changed(&d, &old, &rule, now);
    assert_false(damp_suppressed(&d, now));
}

static void absurd_rules_stay_finite(void **state)
{
    (void)state;
    const struct damp_rule rule = {DAMP_SUPPRESS, 1, UINT32_MAX, UINT32_MAX - 1,
                                   UINT64_MAX / 4};
    struct damp d = {0};

    for (uint64_t i = 0; i < 1000; i++)
        damp_change(&d, &rule, i / 1000);
    (void)damp_penalty_u32(&d, &rule, 1);
    assert_int_equal(damp_penalty_u32(&d, &rule, UINT64_MAX), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_names_of_modes_are_read_as_written),
    cmocka_unit_test(a_change_adds_and_half_is_left_after_a_half_life),
    cmocka_unit_test(rare_changes_never_suppress),
    cmocka_unit_test(the_third_change_in_a_row_suppresses),
    cmocka_unit_test(suppression_ends_at_the_latest_after_max),
    cmocka_unit_test(what_is_suppressed_stays_so_by_a_small_penalty),
    cmocka_unit_test(a_clock_that_goes_back_adds_all_the_same),
    cmocka_unit_test(off_computes_nothing),
    cmocka_unit_test(a_restart_keeps_what_is_left_of_it),
    cmocka_unit_test(other_limits_hold_at_once),
    cmocka_unit_test(absurd_rules_stay_finite),
};

RUN_TESTS(tests)
