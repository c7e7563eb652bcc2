/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Ejection: who, how many, how long, and who comes back. */
#include "lb_world.h"

static void start(struct world *w, size_t n, struct lb_options *o)
{
    world_init(w, n);
    world_start(w, o);
}

static bool is_picked(struct world *w, size_t endpoint)
{
    world_run(w, 400);
    return w->count[endpoint] > 0;
}

static void fails(struct world *w, size_t endpoint, int times)
{
    for (int i = 0; i < times; i++)
        world_report(w, endpoint, LB_FAILED, 0);
}

static void five_failures_in_a_row_eject(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("random");

    start(&w, 10, &o);
    fails(&w, 3, 4);
    world_report(&w, 3, LB_OK, 100);
    fails(&w, 3, 4);
    assert_int_equal(world_state(&w).ejected, 0);
    assert_true(is_picked(&w, 3)); /* which ends the row */
    fails(&w, 3, 5);
    assert_int_equal(world_state(&w).ejected, 1);
    assert_false(is_picked(&w, 3)); /* at once */
    assert_true(lb_wants_tick(w.b));
    world_tick(&w, 1);
    assert_false(is_picked(&w, 3));
    assert_int_equal(world_state(&w).healthy, 9);
    world_fini(&w);
}

/* 30 s, 60 s, 90 s, ... up to 300 s. */
static void it_lasts_longer_each_time(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("random");

    start(&w, 10, &o);
    for (uint32_t k = 1; k <= 12; k++) {
        uint64_t ms = k < 10 ? k * 30000 : 300000;
        assert_int_equal(lb_ejection_ms(&o.outlier, k), ms);
        fails(&w, 3, 5);
        /* Intervals end on the way: no forgiving while it is out. */
        for (uint64_t passed = 0; passed + 1000 < ms; passed += 1000)
            world_tick(&w, 1000);
        assert_false(is_picked(&w, 3));
        w.now_ms += 1000;
        assert_ok(lb_tick(w.b, w.now_ms));
        assert_true(is_picked(&w, 3));
        if (k == 1)
            assert_int_equal(world_state(&w).ejected, 0);
    }
    world_fini(&w);
}

static void clean_intervals_shorten_it_again(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("random");

    start(&w, 10, &o);
    fails(&w, 3, 5);
    world_tick(&w, 30000);
    fails(&w, 3, 5); /* the second: 60 s, but for the interval between */
    for (int i = 0; i < 60; i++)
        world_tick(&w, 1000);
    assert_true(is_picked(&w, 3));
    for (int i = 0; i < 30; i++)
        world_tick(&w, 1000);
    fails(&w, 3, 5);
    for (int i = 0; i < 30; i++)
        world_tick(&w, 1000);
    assert_true(is_picked(&w, 3));
    world_fini(&w);
}

/* Each by its own time: who was ejected first is back first, unless it was not
 * the first time. */
static void they_come_back_in_the_order_of_their_times(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("random");

    start(&w, 20, &o);
    fails(&w, 3, 5);
    world_tick(&w, 10000);
    fails(&w, 7, 5);
    assert_int_equal(world_state(&w).ejected, 2);
    world_tick(&w, 20000);
    world_tick(&w, 1);
    assert_true(is_picked(&w, 3));
    assert_false(is_picked(&w, 7));
    fails(&w, 3, 5); /* for 60 s now */
    world_tick(&w, 10000);
    world_tick(&w, 1);
    assert_false(is_picked(&w, 3));
    assert_true(is_picked(&w, 7));
    world_tick(&w, 50000);
    world_tick(&w, 1);
    assert_true(is_picked(&w, 3));
    assert_int_equal(world_state(&w).ejected, 0);
    world_fini(&w);
}

/* Not before the time, not after time and jitter, and not all clients alike. */
static void jitter_spreads_those_who_come_back(void **state)
{
    (void)state;
    uint64_t first = UINT64_MAX, last = 0;

    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct world w;
        struct lb_options o = world_options("random");
        uint64_t ms = 0;

        o.seed = seed;
        o.outlier.jitter_ms = 10000;
        start(&w, 10, &o);
        fails(&w, 3, 5);
        for (; world_state(&w).ejected; ms += 100)
            world_tick(&w, 100);
        assert_true(ms >= 30000 && ms <= 40100);
        first = ms < first ? ms : first;
        last = ms > last ? ms : last;
        world_fini(&w);
    }
    assert_true(last - first > 5000);
}

/* Envoy: a successful active check ends an ejection. */
static void a_check_that_found_it_well_ends_it(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("random");

    start(&w, 10, &o);
    fails(&w, 3, 5);
    assert_int_equal(world_state(&w).ejected, 1);
    world_update(&w); /* says nothing new */
    assert_int_equal(world_state(&w).ejected, 1);
    w.v[3].critical = true;
    world_update(&w);
    assert_int_equal(world_state(&w).ejected, 1);
    w.v[3].critical = false;
    world_update(&w);
    assert_int_equal(world_state(&w).ejected, 0);
    world_tick(&w, 1);
    assert_true(is_picked(&w, 3));
    fails(&w, 3, 4); /* its row began anew */
    assert_int_equal(world_state(&w).ejected, 0);
    world_fini(&w);
}

static void never_more_than_the_share_but_one(void **state)
{
    (void)state;
    static const struct {
        uint32_t n, limit;
    } cases[] = {{1, 1}, {5, 1}, {10, 1}, {19, 1}, {20, 2}, {100, 10}};

    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        struct world w;
        struct lb_options o = world_options("random");
        assert_int_equal(lb_ejection_limit(&o.outlier, cases[c].n),
                         cases[c].limit);
        start(&w, cases[c].n, &o);
        for (size_t i = 0; i < cases[c].n; i++) {
            fails(&w, i, 7);
            assert_true(world_state(&w).ejected <= cases[c].limit);
        }
        assert_int_equal(world_state(&w).ejected, cases[c].limit);
        world_tick(&w, 1000);
        world_run(&w, 100); /* also the cluster of one answers */
        world_fini(&w);
    }
}

/* Rates: 10 hosts with 100 requests each, one of them at 60 %. */
static void requests(struct world *w, size_t endpoint, int ok, int failed)
{
    for (int i = 0; i < ok || i < failed; i++) {
        if (i < failed)
            world_report(w, endpoint, LB_FAILED, 0);
        if (i < ok)
            world_report(w, endpoint, LB_OK, 1000);
    }
}

static void interval(struct world *w)
{
    world_tick(w, 10000);
}

static bool ejected(const struct world *w)
{
    return world_state(w).ejected > 0;
}

static void a_success_rate_far_below_the_others_ejects(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("random");

    o.outlier.consecutive = 0;
    start(&w, 10, &o);
    interval(&w);
    for (size_t i = 0; i < 10; i++)
        requests(&w, i, i == 4 ? 60 : 100, i == 4 ? 40 : 0);
    interval(&w);
    assert_true(ejected(&w));
    assert_false(is_picked(&w, 4));
    world_fini(&w);
}

static void below_volume_nothing_is_decided(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("random");

    o.outlier.consecutive = 0;
    start(&w, 10, &o);
    interval(&w);
    for (size_t i = 0; i < 10; i++) /* 99 requests each */
        requests(&w, i, i == 4 ? 60 : 99, i == 4 ? 39 : 0);
    interval(&w);
    assert_false(ejected(&w));
    for (size_t i = 0; i < 4; i++) /* four hosts with enough */
        requests(&w, i, i == 3 ? 60 : 100, i == 3 ? 40 : 0);
    interval(&w);
    assert_false(ejected(&w));
    world_fini(&w);
}

static void all_alike_are_no_outliers(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("random");
    double rates[] = {.9, .9, .9, .9, .9};

    assert_true(lb_success_threshold(rates, 5, 1900) <= .9);
    assert_true(lb_success_threshold(rates, 5, 1900) > .899);
    o.outlier.consecutive = 0;
    start(&w, 8, &o);
    interval(&w);
    for (size_t i = 0; i < 8; i++)
        requests(&w, i, 100, 10);
    interval(&w);
    assert_false(ejected(&w));
    world_fini(&w);
}

static void the_threshold_is_1_9_deviations(void **state)
{
    (void)state;
    double rates[] = {1, 1, 1, 1, .5};

    /* mean .9, sigma .2 */
    assert_true(fabs(lb_success_threshold(rates, 5, 1900) - .52) < 1e-9);
    assert_true(fabs(lb_success_threshold(rates, 5, 0) - .9) < 1e-9);
    assert_true(lb_success_threshold(rates, 0, 1900) == 0);
}

static void a_share_of_failures_ejects_if_asked_for(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("random");

    o.outlier.consecutive = 0;
    o.outlier.success_requests = 0;
    start(&w, 10, &o);
    interval(&w);
    for (size_t i = 0; i < 10; i++)
        requests(&w, i, i == 2 ? 5 : 60, i == 2 ? 55 : 0);
    interval(&w);
    assert_false(ejected(&w)); /* off, as in Envoy */
    world_fini(&w);

    o.outlier.failure_percent = 85;
    start(&w, 10, &o);
    interval(&w);
    for (size_t i = 0; i < 10; i++)
        requests(&w, i, i == 2 ? 9 : 60, i == 2 ? 51 : 0);
    interval(&w);
    assert_true(ejected(&w));
    assert_false(is_picked(&w, 2));
    world_fini(&w);
}

static void latency_ejects_if_asked_for(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("random");

    o.outlier.latency_factor = 3;
    start(&w, 10, &o);
    interval(&w);
    for (size_t i = 0; i < 10; i++)
        for (int k = 0; k < 60; k++)
            world_report(&w, i, LB_OK, i == 6 ? 3500 : 1000);
    interval(&w);
    assert_true(ejected(&w));
    assert_false(is_picked(&w, 6));
    world_fini(&w);
}

/* --- Unreachable --------------------------------------------------------- */

static void two_refusals_eject_until_a_connection_succeeds(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("random");

    start(&w, 10, &o);
    world_report(&w, 1, LB_REFUSED, 0);
    assert_true(is_picked(&w, 1));
    world_report(&w, 1, LB_REFUSED, 0);
    world_report(&w, 1, LB_REFUSED, 0);
    assert_int_equal(world_state(&w).unreachable, 1);
    for (int i = 0; i < 1000; i++) /* time does not bring it back */
        world_tick(&w, 1000);
    assert_false(is_picked(&w, 1));
    lb_reachable(w.b, w.ids[1], w.now_ms);
    world_tick(&w, 1);
    assert_true(is_picked(&w, 1));
    assert_int_equal(world_state(&w).unreachable, 0);
    world_fini(&w);
}

/* Three of ten die: more than the share of 10 %, all three go. Panic would begin
 * with the sixth. */
static void the_share_does_not_bind_it_but_panic_does(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("random");

    start(&w, 10, &o);
    for (size_t i = 0; i < 3; i++)
        for (int k = 0; k < 2; k++)
            world_report(&w, i, LB_REFUSED, 0);
    world_tick(&w, 1);
    assert_int_equal(world_state(&w).unreachable, 3);
    world_run(&w, 1000);
    assert_int_equal(w.count[0] + w.count[1] + w.count[2], 0);
    for (size_t i = 3; i < 10; i++)
        for (int k = 0; k < 2; k++)
            world_report(&w, i, LB_REFUSED, 0);
    world_tick(&w, 1);
    assert_int_equal(world_state(&w).unreachable, 5);
    assert_false(world_state(&w).panic);
    world_fini(&w);
}

static void on_probation_one_refusal_is_enough(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("random");

    world_init(&w, 6);
    w.v[2].probation = true;
    world_start(&w, &o);
    world_report(&w, 2, LB_REFUSED, 0);
    assert_false(is_picked(&w, 2));
    world_report(&w, 3, LB_REFUSED, 0);
    assert_true(is_picked(&w, 3));
    world_fini(&w);
}

static void ejection_can_be_off(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("random");

    o.outlier.off = true;
    start(&w, 4, &o);
    for (int i = 0; i < 20; i++) {
        world_report(&w, 0, LB_FAILED, 0);
        world_report(&w, 1, LB_REFUSED, 0);
    }
    interval(&w);
    assert_true(is_picked(&w, 0) && is_picked(&w, 1));
    world_fini(&w);
}

static void it_is_kept_while_the_endpoint_is_away(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("random");

    start(&w, 10, &o);
    fails(&w, 9, 5);
    w.n = 9; /* it flaps in the registry */
    world_update(&w);
    world_tick(&w, 5000);
    w.n = 10;
    world_update(&w);
    assert_false(is_picked(&w, 9));
    world_fini(&w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(five_failures_in_a_row_eject),
    cmocka_unit_test(it_lasts_longer_each_time),
    cmocka_unit_test(clean_intervals_shorten_it_again),
    cmocka_unit_test(they_come_back_in_the_order_of_their_times),
    cmocka_unit_test(jitter_spreads_those_who_come_back),
    cmocka_unit_test(a_check_that_found_it_well_ends_it),
    cmocka_unit_test(never_more_than_the_share_but_one),
    cmocka_unit_test(a_success_rate_far_below_the_others_ejects),
    cmocka_unit_test(below_volume_nothing_is_decided),
    cmocka_unit_test(all_alike_are_no_outliers),
    cmocka_unit_test(the_threshold_is_1_9_deviations),
    cmocka_unit_test(a_share_of_failures_ejects_if_asked_for),
    cmocka_unit_test(latency_ejects_if_asked_for),
    cmocka_unit_test(two_refusals_eject_until_a_connection_succeeds),
    cmocka_unit_test(the_share_does_not_bind_it_but_panic_does),
    cmocka_unit_test(on_probation_one_refusal_is_enough),
    cmocka_unit_test(ejection_can_be_off),
    cmocka_unit_test(it_is_kept_while_the_endpoint_is_away),
};

RUN_TESTS(tests)
