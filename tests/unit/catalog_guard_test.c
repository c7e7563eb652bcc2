/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "catalog_guard.h"

/* --- Bounds -------------------------------------------------------------- */

static void bounds_are_those_of_the_table(void **state)
{
    static const size_t v[][4] = {
        /* registered, answered: leave, removed */
        {1, 1, 1, 1}, {2, 2, 1, 1},  {2, 1, 0, 1}, {3, 3, 2, 2},
        {3, 1, 0, 2}, {4, 4, 2, 2},  {4, 1, 0, 2}, {5, 5, 2, 2},
        {9, 3, 1, 4}, {10, 0, 0, 5}, {2, 0, 0, 1}, {1, 0, 0, 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
        assert_int_equal(guard_leaves_allowed(v[i][0], v[i][1]), v[i][2]);
        assert_int_equal(guard_removals_allowed(v[i][0]), v[i][3]);
    }
}

static void of_ten_that_fall_silent_half_are_held(void **state)
{
    struct desk *d = *state;

    add_many(d, 10);
    for (size_t i = 0; i < 10; i++)
        fall_silent(d, i);
    assert_int_equal(answered(d), 5);
    assert_int_equal(held(d), 5);
    assert_int_equal(member(d, 4, "web"), MEMBER_OUT);
    assert_int_equal(member(d, 5, "web"), MEMBER_HELD);
    assert_true(marks(d, 5, "web").held_ms == WALL_MS);
    assert_true(marks(d, 5, "web").since_ms == WALL_MS);
}

static void a_single_instance_is_never_held(void **state)
{
    struct desk *d = *state;

    add_many(d, 1);
    fall_silent(d, 0);
    assert_int_equal(answered(d), 0);
    assert_false(recorded(d));
}

static void of_two_or_three_the_last_is_held(void **state)
{
    struct desk *d = *state;

    add_many(d, 3);
    for (size_t i = 0; i < 3; i++)
        fall_silent(d, i);
    assert_int_equal(held(d), 1);
    assert_int_equal(member(d, 2, "web"), MEMBER_HELD);
}

static void the_last_is_held_even_if_evidence_took_the_others(void **state)
{
    struct desk *d = *state;

    add_many(d, 6);
    fall_silent(d, 0);
    for (size_t i = 1; i < 5; i++)
        turn(d, i, "critical", CAUSE_EVIDENCE);
    fall_silent(d, 5);
    assert_int_equal(member(d, 5, "web"), MEMBER_HELD);
}

static void what_left_counts_until_the_window_ends(void **state)
{
    struct desk *d = *state;

    add_many(d, 4);
    for (size_t i = 0; i < 4; i++)
        fall_silent(d, i);
    assert_int_equal(held(d), 2);
    end_window(d); /* held ones remain: of two, one may go */
    assert_true(recorded(d));
    assert_true(released(d, 2, "web", RELEASE_TIME));
    assert_false(released(d, 3, "web", RELEASE_TIME));
    end_window(d);
    assert_false(released(d, 3, "web", RELEASE_TIME)); /* the last */
    turn(d, 3, "passing", CAUSE_EVIDENCE);
    assert_int_equal(member(d, 3, "web"), MEMBER_PLAIN);
    end_window(d);
    assert_false(recorded(d));
}

/* --- Evidence and deliberate acts ---------------------------------------- */

static void evidence_passes_at_once_and_touches_no_record(void **state)
{
    struct desk *d = *state;

    add_many(d, 4);
    for (size_t i = 0; i < 4; i++)
        turn(d, i, "critical", i % 2 ? CAUSE_EVIDENCE : CAUSE_TIMEOUT);
    assert_int_equal(answered(d), 0);
    assert_false(recorded(d));
}

static void evidence_ends_a_hold(void **state)
{
    struct desk *d = *state;

    add_many(d, 2);
    fall_silent(d, 0);
    fall_silent(d, 1);
    assert_int_equal(held(d), 1);
    turn(d, 1, "critical", CAUSE_EVIDENCE);
    assert_int_equal(answered(d), 0);
    assert_false(marks(d, 1, "web").held);
    assert_true(marks(d, 1, "web").since_ms == WALL_MS);
}

static void silence_after_evidence_is_nothing_new(void **state)
{
    struct desk *d = *state;

    add_many(d, 4);
    turn(d, 0, "critical", CAUSE_EVIDENCE);
    say(d, 0, "web", "web", "critical", CAUSE_SILENCE);
    assert_int_equal(d->p.op_count + d->p.guard_count, 0);
    assert_int_equal(marks(d, 0, "web").cause, CAUSE_EVIDENCE);
}

static void a_hold_is_nothing_to_repair(void **state)
{
    struct desk *d = *state;

    add_many(d, 2);
    fall_silent(d, 0);
    fall_silent(d, 1);
    say(d, 1, "web", "web", "critical", CAUSE_SILENCE);
    assert_int_equal(d->p.op_count + d->p.guard_count, 0);
}

static void marks_stay_when_only_the_output_changes(void **state)
{
    struct desk *d = *state;
    struct check_view v = check("web", "web", "critical", CAUSE_SILENCE);
    struct registration r = wish(d, 1);

    add_many(d, 2);
    fall_silent(d, 0);
    fall_silent(d, 1);
    v.output = bytes_str("TTL expired");
    r.checks = &v;
    r.check_count = 1;
    r.wall_ms = 2 * WALL_MS;
    assert_ok(plan_register(&d->p, now(d), &r, &d->t));
    assert_int_equal(d->p.op_count, 1);
    commit(d);
    assert_int_equal(member(d, 1, "web"), MEMBER_HELD);
    assert_true(marks(d, 1, "web").since_ms == WALL_MS);
}

static void a_deregistration_asks_nobody(void **state)
{
    struct desk *d = *state;

    add_many(d, 2);
    fall_silent(d, 0);
    fall_silent(d, 1);
    assert_ok(plan_deregister(&d->p, now(d), bytes_str("n1"), bytes_str("web"),
                              (struct bytes){0}, &d->t));
    commit(d);
    assert_int_equal(answered(d), 0);
    end_window(d);
    assert_false(recorded(d));
}

static void maintenance_asks_nobody_even_in_mode_all(void **state)
{
    struct desk *d = *state;

    d->guard = GUARD_MODE_ALL;
    add_many(d, 2);
    for (size_t i = 0; i < 2; i++) {
        say(d, i, "_service_maintenance:web", "web", "critical",
            CAUSE_EVIDENCE);
        commit(d);
    }
    assert_int_equal(answered(d), 0);
}

/* --- Policies ------------------------------------------------------------ */

static void mode_off_holds_nobody(void **state)
{
    struct desk *d = *state;

    d->guard = GUARD_MODE_OFF;
    add_many(d, 4);
    for (size_t i = 0; i < 4; i++)
        fall_silent(d, i);
    assert_int_equal(answered(d), 0);
}

static void mode_all_holds_by_evidence_too(void **state)
{
    struct desk *d = *state;

    d->guard = GUARD_MODE_ALL;
    add_many(d, 4);
    for (size_t i = 0; i < 4; i++)
        turn(d, i, "critical", CAUSE_EVIDENCE);
    assert_int_equal(held(d), 2);
}

static void a_services_meta_wins_over_the_configuration(void **state)
{
    struct desk *d = *state;

    d->meta = "off";
    add_many(d, 4);
    for (size_t i = 0; i < 4; i++)
        fall_silent(d, i);
    assert_int_equal(answered(d), 0);
    d->meta = "nonsense";
    add_many(d, 4);
    for (size_t i = 0; i < 4; i++)
        fall_silent(d, i);
    assert_int_equal(answered(d), 2);
}

/* --- Recall -------------------------------------------------------------- */

static void timeouts_of_a_starved_prober_are_taken_back(void **state)
{
    struct desk *d = *state;

    add_many(d, 4);
    for (size_t i = 0; i < 4; i++)
        turn(d, i, "critical", CAUSE_TIMEOUT);
    assert_int_equal(answered(d), 0);
    for (size_t i = 0; i < 4; i++)
        fall_silent(d, i);
    assert_int_equal(held(d), 4); /* nobody was in: nobody may have left */
    assert_true(marks(d, 0, "web").since_ms == WALL_MS);
}

static void a_refusal_is_not_taken_back(void **state)
{
    struct desk *d = *state;

    add_many(d, 4);
    turn(d, 0, "critical", CAUSE_TIMEOUT);
    turn(d, 0, "critical", CAUSE_EVIDENCE);
    assert_int_equal(marks(d, 0, "web").cause, CAUSE_EVIDENCE);
    say(d, 0, "web", "web", "critical", CAUSE_TIMEOUT);
    say(d, 0, "web", "web", "critical", CAUSE_SILENCE);
    assert_int_equal(d->p.op_count, 0);
}

/* --- Several in one change ----------------------------------------------- */

static void one_change_counts_all_that_leave_in_it(void **state)
{
    struct desk *d = *state;

    add_many(d, 6);
    for (size_t i = 0; i < 6; i++)
        say(d, i, "web", "web", "critical", CAUSE_SILENCE);
    commit(d);
    assert_int_equal(held(d), 3);
    assert_int_equal(answered(d), 3);
}

static void an_instance_with_two_silent_checks_leaves_once(void **state)
{
    struct desk *d = *state;
    struct guard_view g;

    add_many(d, 4);
    say(d, 0, "other", "web", "passing", CAUSE_EVIDENCE);
    commit(d);
    say(d, 0, "web", "web", "critical", CAUSE_SILENCE);
    say(d, 0, "other", "web", "critical", CAUSE_SILENCE);
    commit(d);
    cat_guard_view(snapshot_guard(now(d), bytes_str("web")), &g);
    assert_int_equal(g.left, 1);
    assert_int_equal(g.base, 4);
    assert_int_equal(g.reg_base, 4);
    assert_int_equal(answered(d), 3);
}

static void two_plans_of_one_snapshot_cannot_both_count(void **state)
{
    struct desk *d = *state;
    struct plan other;

    add_many(d, 4);
    say(d, 0, "web", "web", "critical", CAUSE_SILENCE);
    other = d->p;
    plan_init(&d->p, &d->arena);
    fall_silent(d, 1);
    assert_false(plan_holds(d->w, &other));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(bounds_are_those_of_the_table),
    T(of_ten_that_fall_silent_half_are_held),
    T(a_single_instance_is_never_held),
    T(of_two_or_three_the_last_is_held),
    T(the_last_is_held_even_if_evidence_took_the_others),
    T(what_left_counts_until_the_window_ends),
    T(evidence_passes_at_once_and_touches_no_record),
    T(evidence_ends_a_hold),
    T(silence_after_evidence_is_nothing_new),
    T(a_hold_is_nothing_to_repair),
    T(marks_stay_when_only_the_output_changes),
    T(a_deregistration_asks_nobody),
    T(maintenance_asks_nobody_even_in_mode_all),
    T(mode_off_holds_nobody),
    T(mode_all_holds_by_evidence_too),
    T(a_services_meta_wins_over_the_configuration),
    T(timeouts_of_a_starved_prober_are_taken_back),
    T(a_refusal_is_not_taken_back),
    T(one_change_counts_all_that_leave_in_it),
    T(an_instance_with_two_silent_checks_leaves_once),
    T(two_plans_of_one_snapshot_cannot_both_count),
};

RUN_TESTS(tests)
