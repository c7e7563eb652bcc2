/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Held instances and those that were let go: nodes, releases, reaping, and who is
 * suppressed. */
#include "catalog_guard.h"

/* --- Checks of a node ---------------------------------------------------- */

static void a_silent_node_is_held_and_let_out_by_instance(void **state)
{
    struct desk *d = *state;
    struct guard_view g;

    add_many(d, 4);
    add(d, 0, "web-2");
    say(d, 0, "agent", "", "critical", CAUSE_SILENCE);
    commit(d);
    assert_int_equal(held(d), 2);
    assert_true(released(d, 0, "web", RELEASE_TIME));
    assert_int_equal(member(d, 0, "web"), MEMBER_OUT);
    assert_int_equal(member(d, 0, "web-2"), MEMBER_HELD);
    assert_true(released(d, 0, "web-2", RELEASE_TIME));
    assert_int_equal(answered(d), 3);
    cat_guard_view(snapshot_guard(now(d), bytes_str("web")), &g);
    assert_int_equal(g.left, 2);
    assert_int_equal(g.out.n, 2);
    end_window(d);
    cat_guard_view(snapshot_guard(now(d), bytes_str("web")), &g);
    assert_int_equal(g.out.n, 2); /* still silent */
    assert_int_equal(g.left, 0);
    say(d, 0, "agent", "", "passing", CAUSE_EVIDENCE);
    commit(d);
    assert_int_equal(answered(d), 5);
    end_window(d);
    assert_false(recorded(d));
}

static void what_was_let_out_once_is_held_at_the_next_silence(void **state)
{
    struct desk *d = *state;

    add_many(d, 4);
    say(d, 0, "agent", "", "critical", CAUSE_SILENCE);
    commit(d);
    assert_true(released(d, 0, "web", RELEASE_TIME));
    say(d, 0, "agent", "", "passing", CAUSE_EVIDENCE);
    commit(d);
    d->wall_ms += 1;
    say(d, 0, "agent", "", "critical", CAUSE_SILENCE);
    commit(d);
    assert_int_equal(member(d, 0, "web"), MEMBER_HELD);
}

static void a_node_with_no_services_is_not_held(void **state)
{
    struct desk *d = *state;

    say(d, 0, "agent", "", "passing", CAUSE_EVIDENCE);
    commit(d);
    say(d, 0, "agent", "", "critical", CAUSE_SILENCE);
    commit(d);
    assert_false(marks(d, 0, "agent").held);
}

/* --- Releases ------------------------------------------------------------ */

static void a_refused_port_and_an_operator_need_no_bound(void **state)
{
    struct desk *d = *state;

    add_many(d, 3);
    for (size_t i = 0; i < 3; i++)
        say(d, i, "agent", "", "critical", CAUSE_SILENCE);
    commit(d);
    assert_int_equal(held(d), 3);
    assert_true(released(d, 0, "web", RELEASE_EVIDENCE));
    assert_true(released(d, 1, "web", RELEASE_OPERATOR));
    assert_true(released(d, 2, "web", RELEASE_OPERATOR));
    assert_int_equal(answered(d), 0);
}

static void a_refused_port_makes_it_evidence(void **state)
{
    struct desk *d = *state;

    add_many(d, 2);
    fall_silent(d, 0);
    fall_silent(d, 1);
    assert_true(released(d, 1, "web", RELEASE_EVIDENCE));
    assert_int_equal(marks(d, 1, "web").cause, CAUSE_EVIDENCE);
    assert_int_equal(answered(d), 0);
}

static void a_release_larger_than_a_change_is_done_in_parts(void **state)
{
    enum { CHECKS = 200, INSTANCES = 3 };
    struct desk *d = *state;
    struct guard_who who[INSTANCES];
    char id[INSTANCES][8], check_id[32];
    size_t done;
    bool bound;

    for (size_t i = 0; i < INSTANCES; i++) {
        (void)snprintf(id[i], sizeof id[i], "w%zu", i);
        add(d, 1, id[i]);
        who[i] = (struct guard_who){bytes_str("n1"), bytes_str(id[i])};
    }
    for (size_t i = 0; i < INSTANCES; i++)
        for (size_t k = 0; k < CHECKS; k++) {
            struct check_view v =
                check(check_id, id[i], "critical", CAUSE_SILENCE);
            (void)snprintf(check_id, sizeof check_id, "%zu-%zu", i, k);
            v.id = v.name = bytes_str(check_id);
            v.marks.held = true;
            world_put_check(d->w, "n1", &v);
        }
    (void)world_commit(d->w);
    assert_int_equal(held(d), INSTANCES);
    assert_ok(plan_guard_release(&d->p, now(d), who, INSTANCES,
                                 RELEASE_OPERATOR, d->guard, &done, &bound,
                                 &d->t));
    assert_int_equal(done, 2);
    assert_false(bound);
    commit(d);
    assert_int_equal(answered(d), 1);
}

static void a_fence_guards_what_the_duty_writes(void **state)
{
    struct desk *d = *state;
    struct store_guard fence = {GUARD_CREATE, bytes_str("\0duty"), 7};

    add_many(d, 2);
    assert_ok(plan_fence(&d->p, now(d), &fence, &d->t));
    assert_int_equal(d->p.guard_count, 0);
    say(d, 0, "web", "web", "critical", CAUSE_SILENCE);
    assert_ok(plan_fence(&d->p, now(d), &fence, &d->t));
    assert_int_equal(d->p.guards[d->p.guard_count - 1].rev, 7);
}

/* --- Reaping ------------------------------------------------------------- */

static void half_of_the_silent_are_reaped_in_a_window(void **state)
{
    struct desk *d = *state;
    size_t n = 0;

    add_many(d, 8);
    for (size_t i = 0; i < 8; i++)
        fall_silent(d, i);
    for (size_t i = 0; i < 8; i++)
        n += reaped(d, i);
    assert_int_equal(n, 4); /* those that are out: of those held none */
    assert_int_equal(held(d), 4);
    end_window(d);
    n = 0;
    for (size_t i = 0; i < 8; i++)
        n += reaped(d, i) && i >= 4;
    assert_int_equal(n, 2);
    assert_int_equal(held(d), 2);
}

static void what_is_critical_by_evidence_is_reaped_as_configured(void **state)
{
    struct desk *d = *state;

    add_many(d, 4);
    for (size_t i = 0; i < 4; i++)
        turn(d, i, "critical", CAUSE_EVIDENCE);
    for (size_t i = 0; i < 4; i++)
        assert_true(reaped(d, i));
    assert_null(snapshot_name(now(d), bytes_str("web")));
    assert_false(recorded(d));
}

static void an_expired_one_that_passes_counts_twice(void **state)
{
    struct desk *d = *state;
    struct guard_view g;

    add_many(d, 4);
    assert_true(reaped(d, 0));
    assert_true(reaped(d, 1));
    assert_false(reaped(d, 2));
    cat_guard_view(snapshot_guard(now(d), bytes_str("web")), &g);
    assert_int_equal(g.left, 2);
    assert_int_equal(g.reg_left, 2);
    assert_true(reaped(d, 0)); /* gone already */
}

static void services_are_reaped_to_the_last_in_time(void **state)
{
    struct desk *d = *state;
    size_t windows = 0;

    d->guard = GUARD_MODE_SILENCE;
    add_many(d, 5);
    for (size_t i = 0; i < 5; i++)
        fall_silent(d, i);
    for (; snapshot_name(now(d), bytes_str("web")) && windows < 20; windows++) {
        for (size_t i = 0; i < 5; i++)
            if (cat_node_service(snapshot_node(now(d), bytes_str(node_name(i))),
                                 bytes_str("web"))) {
                (void)released(d, i, "web", RELEASE_TIME);
                (void)reaped(d, i);
            }
        end_window(d);
    }
    /* The last one in the answers stays, held, until it is alone. */
    assert_true(windows < 20);
}

static void the_last_that_is_held_stays_when_it_is_the_only_one(void **state)
{
    struct desk *d = *state;

    add_many(d, 2);
    fall_silent(d, 0);
    fall_silent(d, 1);
    assert_true(reaped(d, 0));
    end_window(d);
    assert_false(released(d, 1, "web", RELEASE_TIME));
    assert_int_equal(held(d), 1);
}

/* --- Membership and damping ---------------------------------------------- */

static void damp(struct desk *d, size_t n, uint64_t until_ms)
{
    struct check_view v = check("web", "web", "passing", CAUSE_EVIDENCE);
    struct registration r = wish(d, n);

    v.marks.damped = true;
    v.marks.damped_until_ms = until_ms;
    r.checks = &v;
    r.check_count = 1;
    assert_ok(plan_register(&d->p, now(d), &r, &d->t));
    commit(d);
}

static void a_third_of_the_candidates_is_suppressed_at_most(void **state)
{
    struct desk *d = *state;

    add_many(d, 6);
    for (size_t i = 0; i < 4; i++)
        damp(d, i, 100 + i % 3);
    assert_int_equal(member(d, 2, "web"), MEMBER_SUPPRESSED); /* 102 */
    assert_int_equal(member(d, 1, "web"), MEMBER_SUPPRESSED); /* 101 */
    assert_int_equal(member(d, 0, "web"), MEMBER_PLAIN);      /* 100 */
    assert_int_equal(member(d, 3, "web"), MEMBER_PLAIN);      /* 100 */
}

static void if_all_are_damped_nobody_is_suppressed(void **state)
{
    struct desk *d = *state;

    add_many(d, 3);
    for (size_t i = 0; i < 3; i++)
        damp(d, i, 100);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(member(d, i, "web"), MEMBER_PLAIN);
    add(d, 3, "web");
    assert_int_equal(member(d, 0, "web"), MEMBER_SUPPRESSED);
    assert_int_equal(member(d, 1, "web"), MEMBER_PLAIN);
}

static void the_last_one_is_never_suppressed(void **state)
{
    struct desk *d = *state;

    add_many(d, 2);
    damp(d, 0, 100);
    turn(d, 1, "critical", CAUSE_EVIDENCE);
    assert_int_equal(member(d, 0, "web"), MEMBER_PLAIN);
}

static const struct CMUnitTest tests[] = {
    T(a_silent_node_is_held_and_let_out_by_instance),
    T(what_was_let_out_once_is_held_at_the_next_silence),
    T(a_node_with_no_services_is_not_held),
    T(a_refused_port_and_an_operator_need_no_bound),
    T(a_refused_port_makes_it_evidence),
    T(a_release_larger_than_a_change_is_done_in_parts),
    T(a_fence_guards_what_the_duty_writes),
    T(half_of_the_silent_are_reaped_in_a_window),
    T(what_is_critical_by_evidence_is_reaped_as_configured),
    T(an_expired_one_that_passes_counts_twice),
    T(services_are_reaped_to_the_last_in_time),
    T(the_last_that_is_held_stays_when_it_is_the_only_one),
    T(a_third_of_the_candidates_is_suppressed_at_most),
    T(if_all_are_damped_nobody_is_suppressed),
    T(the_last_one_is_never_suppressed),
};

RUN_TESTS(tests)
