/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Priorities: who carries what, who is next, and the way back. */
#include "lb_world.h"

static void priorities_share_load_by_health(void **state)
{
    (void)state;
    static const double share[] = {70, 30};
    const char *const policies[] = {"random", "maglev", "ketama", NULL};

    for (size_t p = 0; policies[p]; p++) {
        struct world w;
        struct lb_options o = world_options(policies[p]);
        uint32_t level[2] = {0};

        world_init(&w, 20);
        for (size_t i = 10; i < 20; i++)
            w.v[i].priority = 1;
        for (size_t i = 0; i < 5; i++)
            w.v[i].critical = true; /* 50 % of the first level */
        world_start(&w, &o);
        world_run(&w, 20000);
        for (size_t i = 0; i < 20; i++)
            level[i / 10] += w.count[i];
        assert_true(chi_square(level, share, 2) < chi_limit(1));
        world_fini(&w);
    }
}

static void a_level_without_anybody_takes_no_part(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("random");

    world_init(&w, 4);
    for (size_t i = 0; i < 4; i++) {
        w.v[i].priority = 5;
        w.v[i].critical = true;
    }
    world_start(&w, &o);
    world_run(&w, 100); /* all zero: the first that there is */
    world_fini(&w);
}

static void set_critical(struct world *w, size_t from, size_t to, bool critical)
{
    for (size_t i = from; i < to; i++)
        w->v[i].critical = critical;
    world_update(w);
}

/* Of 1000 picks, how many the endpoints from..to got. */
static uint32_t picks_of(struct world *w, size_t from, size_t to)
{
    uint32_t n = 0;

    world_run(w, 1000);
    for (size_t i = from; i < to; i++)
        n += w->count[i];
    return n;
}

static void a_priority_that_is_back_is_not_hit_at_once(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("random");

    world_init(&w, 20);
    o.return_ms = 10000;
    for (size_t i = 10; i < 20; i++)
        w.v[i].priority = 16;
    world_start(&w, &o);
    assert_int_equal(picks_of(&w, 0, 10), 1000);
    assert_true(lb_share_of(w.b, 0, 15) > .999);
    set_critical(&w, 0, 10, true);
    assert_int_equal(picks_of(&w, 0, 10), 0);
    world_tick(&w, 600000);
    set_critical(&w, 0, 10, false);
    for (int s = 1; s < 10; s++) {
        assert_true(fabs(lb_share_of(w.b, 0, 15) - s / 10.0) < .001);
        assert_true(fabs(picks_of(&w, 0, 10) / 1000.0 - s / 10.0) < .06);
        assert_true(world_state(&w).returning);
        world_tick(&w, 1000);
    }
    assert_int_equal(picks_of(&w, 0, 10), 1000);
    assert_false(world_state(&w).returning);
    /* If the others fail meanwhile, all comes back at once. */
    set_critical(&w, 0, 10, true);
    set_critical(&w, 0, 10, false);
    assert_true(picks_of(&w, 0, 10) < 300);
    set_critical(&w, 10, 20, true);
    assert_int_equal(picks_of(&w, 0, 10), 1000);
    world_fini(&w);
}

/* Before the next view says so: the pick itself goes on to who is next. */
static void the_next_priority_is_tried_when_all_of_one_refuse(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("p2c");
    struct lb_ticket t;
    uint64_t tried[2];

    world_init(&w, 4);
    w.v[2].priority = w.v[3].priority = 16;
    world_start(&w, &o);
    for (size_t i = 0; i < 2; i++)
        for (int k = 0; k < 2; k++)
            world_report(&w, i, LB_REFUSED, 0);
    assert_int_equal(world_state(&w).unreachable, 2);
    assert_int_equal(picks_of(&w, 2, 4), 1000);
    world_fini(&w);

    /* And so does one that has tried all of them. */
    world_init(&w, 4);
    w.v[2].priority = w.v[3].priority = 16;
    world_start(&w, &o);
    assert_int_equal(picks_of(&w, 2, 4), 0);
    for (size_t i = 0; i < 2; i++)
        tried[i] = w.ids[i];
    struct lb_ask ask = {
        .exclude = tried, .exclude_n = 2, .now_ms = w.now_ms, .random = 9};
    assert_ok(lb_pick(w.b, &ask, &t));
    assert_true(world_number(&t) >= 2);
    world_fini(&w);
}

static void the_reserve_waits_until_nobody_else_is_healthy(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("random");

    world_init(&w, 20);
    for (size_t i = 10; i < 20; i++)
        w.v[i].priority = LB_RESERVE_FROM;
    world_start(&w, &o);
    set_critical(&w, 0, 9, true); /* one is left: all goes there, or is panic */
    assert_int_equal(picks_of(&w, 0, 10), 1000);
    set_critical(&w, 9, 10, true);
    assert_int_equal(picks_of(&w, 10, 20), 1000);
    assert_false(world_state(&w).panic);
    /* Who refuses connections is not healthy either. */
    set_critical(&w, 9, 10, false);
    assert_int_equal(picks_of(&w, 10, 20), 0);
    set_critical(&w, 10, 20, true); /* nobody at all: the first, in panic */
    set_critical(&w, 9, 10, true);
    assert_int_equal(picks_of(&w, 0, 10), 1000);
    assert_true(world_state(&w).panic);
    /* Where only the reserve has somebody, it is as any other. */
    w.n = 10;
    for (size_t i = 0; i < 10; i++)
        w.v[i].priority = LB_RESERVE_FROM + 3;
    set_critical(&w, 0, 10, true);
    assert_int_equal(picks_of(&w, 0, 10), 1000);
    world_fini(&w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(priorities_share_load_by_health),
    cmocka_unit_test(a_level_without_anybody_takes_no_part),
    cmocka_unit_test(a_priority_that_is_back_is_not_hit_at_once),
    cmocka_unit_test(the_next_priority_is_tried_when_all_of_one_refuse),
    cmocka_unit_test(the_reserve_waits_until_nobody_else_is_healthy),
};

RUN_TESTS(tests)
