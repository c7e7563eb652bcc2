/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* The balancer as a whole: what may be picked, tickets, zones, slow start,
 * subsets. */
#include "lb/once.h"
#include "lb_world.h"

static const char *policy_name(size_t i)
{
    return lb_policies[i] ? lb_policies[i]->name : NULL;
}

/* Every policy, in panic, too. */
static void what_drains_or_has_no_weight_is_never_picked(void **state)
{
    (void)state;
    for (size_t p = 0; policy_name(p); p++)
        for (int panic = 0; panic < 2; panic++) {
            struct world w;
            struct lb_options o = world_options(policy_name(p));
            world_init(&w, 12);
            w.v[2].out = w.v[5].out = true;
            w.v[7].weight = 0;
            for (size_t i = 0; i < 12 && panic; i++)
                w.v[i].critical = true;
            world_start(&w, &o);
            assert_int_equal(world_state(&w).panic, panic);
            world_run(&w, 2000);
            assert_int_equal(w.count[2] + w.count[5] + w.count[7], 0);
            if (!lb_policy_by_name(bytes_str(policy_name(p)))->hashes)
                assert_true(w.count[0] > 0);
            world_fini(&w);
        }
}

static void critical_ones_are_picked_in_panic_only(void **state)
{
    (void)state;
    for (size_t sick = 0; sick <= 10; sick++) {
        struct world w;
        struct lb_options o = world_options("random");
        uint32_t count = 0;

        world_init(&w, 10);
        for (size_t i = 0; i < sick; i++)
            w.v[i].critical = true;
        world_start(&w, &o);
        world_run(&w, 2000);
        for (size_t i = 0; i < sick; i++)
            count += w.count[i];
        assert_int_equal(count > 0, sick > 5);
        assert_int_equal(world_state(&w).panic, sick > 5);
        world_fini(&w);
    }
}

static void panic_can_be_off(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("random");

    o.panic_percent = 0;
    world_init(&w, 10);
    for (size_t i = 0; i < 9; i++)
        w.v[i].critical = true;
    world_start(&w, &o);
    world_run(&w, 100);
    assert_int_equal(w.count[9], 100);
    world_fini(&w);
}

static void an_empty_list_gives_nothing(void **state)
{
    (void)state;
    for (size_t p = 0; policy_name(p); p++) {
        struct world w;
        struct lb_options o = world_options(policy_name(p));
        struct lb_ask ask = {.key = bytes_str("k"), .now_ms = 1};
        struct lb_ticket t;

        world_init(&w, 0);
        world_start(&w, &o);
        assert_int_equal(lb_pick(w.b, &ask, &t), ERR_NOT_FOUND);
        w.n = 1;
        world_update(&w);
        assert_ok(lb_pick(w.b, &ask, &t));
        assert_string_equal(t.address, "10.0.0.0");
        assert_int_equal(t.port, 8080);
        w.n = 0;
        world_update(&w);
        assert_int_equal(lb_pick(w.b, &ask, &t), ERR_NOT_FOUND);
        world_fini(&w);
    }
}

static void the_same_seeds_give_the_same_picks(void **state)
{
    (void)state;
    for (size_t p = 0; policy_name(p); p++) {
        struct world a, b;
        struct lb_options o = world_options(policy_name(p));
        struct lb_ticket t;

        world_init(&a, 17);
        world_init(&b, 17);
        world_start(&a, &o);
        world_start(&b, &o);
        for (int i = 0; i < 500; i++)
            assert_int_equal(world_pick(&a, &t), world_pick(&b, &t));
        world_fini(&a);
        world_fini(&b);
    }
}

/* --- Exclusion ----------------------------------------------------------- */

static void excluded_ones_are_not_picked_again(void **state)
{
    (void)state;
    for (size_t p = 0; policy_name(p); p++) {
        struct world w;
        struct lb_options o = world_options(policy_name(p));
        struct lb_ticket t;
        uint64_t tried[9];

        world_init(&w, 8);
        world_start(&w, &o);
        for (size_t n = 0; n <= 8; n++) {
            struct lb_ask ask = {.key = bytes_str("a key"),
                                 .exclude = tried,
                                 .exclude_n = n,
                                 .now_ms = w.now_ms,
                                 .random = lb_draw(&w.random)};
            enum err e = lb_pick(w.b, &ask, &t);
            assert_int_equal(e, n < 8 ? ERR_OK : ERR_NOT_FOUND);
            for (size_t i = 0; i < n && n < 8; i++)
                assert_true(tried[i] != t.id);
            tried[n] = t.id;
        }
        world_fini(&w);
    }
}

/* --- Tickets ------------------------------------------------------------- */

static void find_active(void *ctx, const struct lb_endpoint_state *e)
{
    *(uint32_t *)ctx += e->active;
}

static uint32_t active(const struct world *w)
{
    uint32_t n = 0;

    lb_each(w->b, w->now_ms, find_active, &n);
    return n;
}

static void a_ticket_counts_until_it_is_reported_or_runs_out(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("p2c");
    struct lb_ticket a, b, c;

    world_init(&w, 3);
    world_start(&w, &o);
    (void)world_pick(&w, &a);
    (void)world_pick(&w, &b);
    (void)world_pick(&w, &c);
    assert_int_equal(active(&w), 3);
    assert_ok(lb_report(w.b, &a, LB_OK, 10, w.now_ms));
    assert_int_equal(active(&w), 2);
    assert_int_equal(lb_report(w.b, &a, LB_OK, 10, w.now_ms), ERR_BAD);
    assert_int_equal(active(&w), 2);
    assert_ok(lb_report(w.b, &b, LB_CANCELED, 0, w.now_ms));
    assert_int_equal(active(&w), 1);
    w.now_ms += 80000;
    assert_int_equal(active(&w), 0);
    assert_ok(lb_report(w.b, &c, LB_OK, 10, w.now_ms)); /* late is fine */
    assert_int_equal(active(&w), 0);
    world_fini(&w);
}

/* Through all rounds of what is remembered, and whatever order they come in. */
static void a_copy_of_a_ticket_counts_for_nothing(void **state)
{
    (void)state;
    enum { KEPT = 1000, MORE = 3 * LB_ONCE_TICKETS };
    static struct lb_ticket first[KEPT], copy[KEPT];
    struct world w;
    struct lb_options o = world_options("random");
    struct lb_ticket t, again;

    world_init(&w, 3);
    world_start(&w, &o);
    for (int i = 0; i < MORE; i++) {
        (void)world_pick(&w, &t);
        again = t;
        assert_ok(lb_report(w.b, &t, LB_OK, 10, w.now_ms));
        assert_int_equal(lb_report(w.b, &again, LB_OK, 10, w.now_ms), ERR_BAD);
        assert_int_equal(again.id, 0);
    }
    for (int i = 0; i < KEPT; i++) {
        (void)world_pick(&w, &first[i]);
        copy[i] = first[i];
    }
    for (int i = KEPT - 1; i >= 0; i--)
        assert_ok(lb_report(w.b, &first[i], LB_CANCELED, 0, w.now_ms));
    for (int i = 0; i < KEPT; i++)
        assert_int_equal(lb_report(w.b, &copy[i], LB_OK, 10, w.now_ms),
                         ERR_BAD);
    assert_int_equal(active(&w), 0);
    world_fini(&w);
}

static void a_very_late_report_still_counts(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("random");
    struct lb_ticket late, t;

    world_init(&w, 3);
    world_start(&w, &o);
    (void)world_pick(&w, &late);
    for (int i = 0; i < 2 * LB_ONCE_TICKETS; i++) {
        (void)world_pick(&w, &t);
        assert_ok(lb_report(w.b, &t, LB_OK, 10, w.now_ms));
    }
    assert_ok(lb_report(w.b, &late, LB_OK, 10, w.now_ms));
    assert_int_equal(active(&w), 0);
    world_fini(&w);
}

static void it_can_be_reported_after_its_endpoint_left(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("random");
    struct lb_ticket t, late;

    world_init(&w, 1);
    world_start(&w, &o);
    (void)world_pick(&w, &t);
    (void)world_pick(&w, &late);
    w.v[0] = w.v[1];
    world_update(&w);
    assert_ok(lb_report(w.b, &t, LB_OK, 10, w.now_ms));
    /* Long after, when nothing is left of it. */
    world_tick(&w, LB_LINGER_MS + 1);
    assert_int_equal(lb_report(w.b, &late, LB_OK, 10, w.now_ms), ERR_NOT_FOUND);
    /* Nor does it count for who has its slot now. */
    w.n = 3;
    world_update(&w);
    assert_int_equal(active(&w), 0);
    world_fini(&w);
}

static void find_ok(void *ctx, const struct lb_endpoint_state *e)
{
    *(uint64_t *)ctx += e->ok;
}

static void counters_survive_every_update(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("random");
    uint64_t ok = 0;

    world_init(&w, 10);
    world_start(&w, &o);
    for (int k = 0; k < 10; k++) {
        world_run(&w, 100);
        w.v[k].weight = 7;
        w.v[k].zone = bytes_str("elsewhere");
        world_update(&w);
    }
    lb_each(w.b, w.now_ms, find_ok, &ok);
    assert_int_equal(ok, 1000);
    world_fini(&w);
}

static void one_endpoint_twice_counts_once(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("random");

    world_init(&w, 3);
    w.v[1] = w.v[0];
    world_start(&w, &o);
    assert_int_equal(world_state(&w).listed, 2);
    world_run(&w, 100);
    world_fini(&w);
}

/* --- Zones --------------------------------------------------------------- */

static void zones_share_load_as_envoys_example(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("random");
    static const char *const zone[] = {"a", "b", "c"};
    static const struct lb_callers callers[] = {
        {{"a", 1}, 5}, {{"b", 1}, 3}, {{"c", 1}, 2}};
    static const double share[] = {6, 2, 2};
    uint32_t got[3] = {0};

    o.zone = bytes_str("a");
    world_init(&w, 10);
    for (size_t i = 0; i < 10; i++) /* 3, 4 and 3 servers */
        w.v[i].zone = bytes_str(zone[i < 3 ? 0 : i < 7 ? 1 : 2]);
    world_start(&w, &o);
    assert_false(world_state(&w).zoned); /* callers unknown */
    assert_ok(lb_set_callers(w.b, callers, 3));
    world_tick(&w, 1);
    assert_true(world_state(&w).zoned);
    world_run(&w, 50000);
    for (size_t i = 0; i < 10; i++)
        got[i < 3 ? 0 : i < 7 ? 1 : 2] += w.count[i];
    assert_true(chi_square(got, share, 3) < chi_limit(2));
    world_fini(&w);
}

static void few_hosts_or_none_local_and_zones_are_off(void **state)
{
    (void)state;
    static const struct lb_callers callers[] = {{{"a", 1}, 1}, {{"b", 1}, 1}};
    struct world w;
    struct lb_options o = world_options("random");

    o.zone = bytes_str("a");
    world_init(&w, 5); /* fewer than six */
    for (size_t i = 0; i < 10; i++)
        w.v[i].zone = bytes_str(i < 2 ? "a" : "b");
    world_start(&w, &o);
    assert_ok(lb_set_callers(w.b, callers, 2));
    world_tick(&w, 1);
    assert_false(world_state(&w).zoned);
    w.n = 10;
    world_update(&w);
    assert_true(world_state(&w).zoned);
    w.v[0].out = w.v[1].out = true; /* nobody is left in a */
    world_update(&w);
    assert_false(world_state(&w).zoned);
    world_run(&w, 1000);
    world_fini(&w);
}

/* --- Slow start, subsets ------------------------------------------------- */

static void a_newcomer_starts_slowly(void **state)
{
    (void)state;
    const char *const policies[] = {"smooth", "weighted-random", "p2c", NULL};

    for (size_t p = 0; policies[p]; p++) {
        struct world w;
        struct lb_options o = world_options(policies[p]);

        o.slow_start_ms = 60000;
        world_init(&w, 5);
        w.v[4].ready_ms = w.now_ms;
        world_start(&w, &o);
        assert_int_equal(world_state(&w).slow_starting, 1);
        world_run(&w, 41000); /* 4 of 1 and one of 0.1 */
        assert_in_range(w.count[4], 800, 1200);
        world_tick(&w, 30000);
        world_run(&w, 45000); /* 0.5 */
        assert_in_range(w.count[4], 4700, 5300);
        world_tick(&w, 30000);
        world_run(&w, 50000);
        assert_in_range(w.count[4], 9700, 10300);
        assert_int_equal(world_state(&w).slow_starting, 0);
        world_fini(&w);
    }
}

static void a_clock_that_goes_back_changes_no_weight(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("smooth");

    o.slow_start_ms = 60000;
    world_init(&w, 2);
    w.v[1].ready_ms = w.now_ms;
    world_start(&w, &o);
    w.now_ms -= 500000;
    assert_ok(lb_tick(w.b, w.now_ms));
    world_update(&w);
    world_run(&w, 11000);
    assert_in_range(w.count[1], 900, 1100); /* still the least share */
    world_fini(&w);
}

static void a_subset_is_the_clients_own(void **state)
{
    (void)state;
    uint32_t used[100] = {0};

    for (uint64_t client = 0; client < 200; client++) {
        struct world w;
        struct lb_options o = world_options("round-robin");
        uint32_t n = 0;

        o.subset_size = 20;
        o.seed = client;
        world_init(&w, 100);
        world_start(&w, &o);
        world_run(&w, 100);
        for (size_t i = 0; i < 100; i++) {
            n += w.count[i] > 0;
            used[i] += w.count[i] > 0;
        }
        assert_int_equal(n, 20);
        world_fini(&w);
    }
    for (size_t i = 0; i < 100; i++) /* 200 x 20 / 100 = 40 */
        assert_in_range(used[i], 20, 62);
}

static void ranked_subsets_divide_the_servers(void **state)
{
    (void)state;
    uint32_t used[30] = {0};

    for (uint32_t rank = 0; rank < 6; rank++) {
        struct world w;
        struct lb_options o = world_options("round-robin");

        o.subset_size = 5;
        o.ranked = true;
        world_init(&w, 30);
        world_start(&w, &o);
        lb_set_rank(w.b, rank);
        world_tick(&w, 1);
        world_run(&w, 5);
        for (size_t i = 0; i < 30; i++)
            used[i] += w.count[i];
        world_fini(&w);
    }
    for (size_t i = 0; i < 30; i++)
        assert_int_equal(used[i], 1);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_drains_or_has_no_weight_is_never_picked),
    cmocka_unit_test(critical_ones_are_picked_in_panic_only),
    cmocka_unit_test(panic_can_be_off),
    cmocka_unit_test(an_empty_list_gives_nothing),
    cmocka_unit_test(the_same_seeds_give_the_same_picks),
    cmocka_unit_test(excluded_ones_are_not_picked_again),
    cmocka_unit_test(a_ticket_counts_until_it_is_reported_or_runs_out),
    cmocka_unit_test(a_copy_of_a_ticket_counts_for_nothing),
    cmocka_unit_test(a_very_late_report_still_counts),
    cmocka_unit_test(it_can_be_reported_after_its_endpoint_left),
    cmocka_unit_test(counters_survive_every_update),
    cmocka_unit_test(one_endpoint_twice_counts_once),
    cmocka_unit_test(zones_share_load_as_envoys_example),
    cmocka_unit_test(few_hosts_or_none_local_and_zones_are_off),
    cmocka_unit_test(a_newcomer_starts_slowly),
    cmocka_unit_test(a_clock_that_goes_back_changes_no_weight),
    cmocka_unit_test(a_subset_is_the_clients_own),
    cmocka_unit_test(ranked_subsets_divide_the_servers),
};

RUN_TESTS(tests)
