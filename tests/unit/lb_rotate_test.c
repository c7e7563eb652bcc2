/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Round robin, random and the weighted schedules: order and shares. */
#include "lb_world.h"

/* In n picks each comes once, wherever it began. */
static void round_robin_takes_each_in_turn(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("round-robin");

    world_init(&w, 7);
    world_start(&w, &o);
    for (int k = 1; k <= 5; k++) {
        world_run(&w, (size_t)k * 7);
        for (size_t i = 0; i < 7; i++)
            assert_int_equal(w.count[i], k);
    }
    world_fini(&w);
}

static void clients_do_not_all_begin_with_the_first(void **state)
{
    (void)state;
    uint32_t firsts[10] = {0};
    static const double share[10] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

    for (uint64_t client = 0; client < 1000; client++) {
        struct world w;
        struct lb_ticket t;
        struct lb_options o = world_options("round-robin");
        o.seed = client;
        world_init(&w, 10);
        world_start(&w, &o);
        firsts[world_pick(&w, &t)]++;
        world_fini(&w);
    }
    assert_true(chi_square(firsts, share, 10) < chi_limit(9));
}

/* The sequence goes on: nobody twice, nobody left out but who left. */
static void a_removal_neither_repeats_nor_skips(void **state)
{
    (void)state;
    for (size_t leaves = 0; leaves < 8; leaves++)
        for (size_t picked = 0; picked < 16; picked++) {
            struct world w;
            struct lb_ticket t;
            size_t last = 0, next;
            struct lb_options o = world_options("round-robin");

            world_init(&w, 8);
            world_start(&w, &o);
            for (size_t i = 0; i <= picked; i++)
                last = world_pick(&w, &t);
            for (size_t i = leaves; i + 1 < 8; i++)
                w.v[i] = w.v[i + 1];
            w.n = 7;
            world_update(&w);
            next = (last + 1) % 8;
            next = next == leaves ? (next + 1) % 8 : next;
            for (size_t i = 0; i < 7; i++) {
                assert_int_equal(world_pick(&w, &t), next);
                next = (next + 1) % 8;
                next = next == leaves ? (next + 1) % 8 : next;
            }
            world_fini(&w);
        }
}

static void random_is_even(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("random");
    double share[20];

    for (int i = 0; i < 20; i++)
        share[i] = 1;
    world_init(&w, 20);
    world_start(&w, &o);
    world_run(&w, 200000);
    assert_true(chi_square(w.count, share, 20) < chi_limit(19));
    world_fini(&w);
}

/* --- Smooth weighted round robin ----------------------------------------- */

static void smooth_order(const uint32_t *weights, size_t n, const char *want)
{
    uint16_t turn[32];
    char got[33] = "";

    assert_ok(lb_smooth_schedule(weights, n, turn));
    for (size_t i = 0; want[i]; i++)
        got[i] = (char)('a' + turn[i]);
    assert_string_equal(got, want);
}

static void smooth_takes_nginxs_order(void **state)
{
    (void)state;
    smooth_order((uint32_t[]){5, 1, 1}, 3, "aabacaa");
    smooth_order((uint32_t[]){4, 2, 1}, 3, "abacaba");
    smooth_order((uint32_t[]){3, 2}, 2, "ababa");
    smooth_order((uint32_t[]){1, 1, 1}, 3, "abc");
    smooth_order((uint32_t[]){3, 2, 1}, 3, "abacba");
}

/* Any window as long as a round: the schedule repeats. */
static void every_window_has_the_weights(const char *policy)
{
    struct world w;
    struct lb_options o = world_options(policy);
    static const uint32_t weights[] = {7, 3, 5, 1, 4};
    enum { ROUND = 20, PICKS = 300 };
    size_t seen[PICKS];
    struct lb_ticket t;

    world_init(&w, 5);
    for (size_t i = 0; i < 5; i++)
        w.v[i].weight = weights[i] * 9; /* the gcd does not count */
    world_start(&w, &o);
    for (size_t i = 0; i < PICKS; i++)
        seen[i] = world_pick(&w, &t);
    for (size_t at = 0; at + ROUND <= PICKS; at++) {
        uint32_t count[5] = {0};
        for (size_t i = at; i < at + ROUND; i++)
            count[seen[i]]++;
        for (size_t i = 0; i < 5; i++)
            assert_int_equal(count[i], weights[i]);
    }
    world_fini(&w);
}

static void every_window_of_smooth_has_the_weights(void **state)
{
    (void)state;
    every_window_has_the_weights("smooth");
}

static void every_window_of_edf_has_the_weights(void **state)
{
    (void)state;
    every_window_has_the_weights("edf");
}

/* Between two picks of one member lie at most ceil(sum / weight) and a few. */
static void edf_leaves_no_long_gaps(void **state)
{
    (void)state;
    static const uint32_t weights[] = {50, 13, 7, 1, 29, 2, 2, 17};
    enum { N = 8, SUM = 121 };
    uint16_t turn[SUM];

    for (uint64_t seed = 1; seed <= 200; seed++) {
        assert_ok(lb_edf_schedule(weights, N, seed, turn));
        for (uint16_t m = 0; m < N; m++) {
            size_t last = SIZE_MAX, limit = (SUM + weights[m] - 1) / weights[m];
            for (size_t i = 0; i < 2 * SUM; i++) {
                if (turn[i % SUM] != m)
                    continue;
                if (last != SIZE_MAX)
                    assert_true(i - last <= limit + N);
                last = i;
            }
        }
    }
}

static void edf_begins_differently_for_each_seed(void **state)
{
    (void)state;
    static const uint32_t weights[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    static const double share[10] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    uint32_t firsts[10] = {0};
    uint16_t turn[10];

    for (uint64_t seed = 0; seed < 2000; seed++) {
        assert_ok(lb_edf_schedule(weights, 10, seed, turn));
        firsts[turn[0]]++;
    }
    assert_true(chi_square(firsts, share, 10) < chi_limit(9));
}

/* Weights without a common divisor: rounded to the cap, at most 1 % of the mean
 * off, and nobody lost. */
static void great_weights_are_rounded(void **state)
{
    (void)state;
    enum { N = 50, CAP = 5000 };
    struct lb_member v[N];
    uint32_t got[N];
    double sum = 0;

    for (uint32_t i = 0; i < N; i++) {
        v[i] = (struct lb_member){NULL, 1 + i * i * 26};
        sum += v[i].weight;
    }
    double all = (double)lb_schedule_weights(v, N, CAP, got);
    assert_true(all <= CAP && all > CAP - 2 * N);
    for (size_t i = 0; i < N; i++) {
        assert_true(got[i] >= 1);
        assert_true(fabs(got[i] / all - v[i].weight / sum) < 0.01 / N * 2);
    }
}

/* --- Weighted random ----------------------------------------------------- */

static void weighted_random_has_the_shares(void **state)
{
    (void)state;
    struct bench_list l;
    struct lb_walk w = {.draw = 42};
    static const double share[] = {10, 2, 2, 4, 1};
    uint32_t count[5] = {0};
    void *table = NULL;

    list_init(&l, 5);
    for (size_t i = 0; i < 5; i++)
        l.v[i].weight = (uint32_t)share[i];
    assert_ok(lb_weighted_random.build(&l.list, &table));
    for (int i = 0; i < 10000000; i++)
        count[lb_weighted_random.first(table, &w)]++;
    assert_true(chi_square(count, share, 5) < 18.47);
    free(table);
    list_fini(&l);
}

/* Lists of every size: columns may be left over in any way. */
static void it_has_them_for_any_list(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 64; n++) {
        struct bench_list l;
        struct lb_walk w = {.draw = n};
        double share[64];
        uint32_t count[64] = {0};
        uint64_t s = n;
        void *table = NULL;

        list_init(&l, n);
        for (size_t i = 0; i < n; i++) {
            l.v[i].weight = 1 + lb_below(lb_draw(&s), n % 2 ? 1000 : 3);
            share[i] = l.v[i].weight;
        }
        assert_ok(lb_weighted_random.build(&l.list, &table));
        for (int i = 0; i < 100000; i++)
            count[lb_weighted_random.first(table, &w)]++;
        if (n > 1)
            assert_true(chi_square(count, share, n) < chi_limit(n - 1) * 1.2);
        free(table);
        list_fini(&l);
    }
}

static void weights_of_zero_are_never_picked(void **state)
{
    (void)state;
    static const char *const names[] = {
        "smooth", "edf", "weighted-random", "round-robin", "random", NULL};

    for (size_t p = 0; names[p]; p++) {
        struct world w;
        struct lb_options o = world_options(names[p]);
        world_init(&w, 6);
        w.v[1].weight = w.v[4].weight = 0;
        world_start(&w, &o);
        world_run(&w, 1000);
        assert_int_equal(w.count[1] + w.count[4], 0);
        world_fini(&w);
    }
}

static void weight_changes_keep_the_place(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("smooth");

    world_init(&w, 3);
    w.v[0].weight = 3;
    w.v[1].weight = 2;
    world_start(&w, &o);
    for (int i = 0; i < 100; i++) { /* an update between any two picks */
        struct lb_ticket t;
        w.count[world_pick(&w, &t)]++;
        world_update(&w);
    }
    assert_in_range(w.count[0], 49, 51);
    assert_in_range(w.count[1], 32, 35);
    assert_in_range(w.count[2], 15, 18);
    world_fini(&w);
}

/* Found by the simulation: the one behind an ejected server had its turns on top
 * of its own, until the next tick. */
static void turns_of_who_is_ejected_go_to_all(void **state)
{
    (void)state;
    const char *const policies[] = {"round-robin", "smooth", "edf", NULL};

    for (size_t p = 0; policies[p]; p++) {
        struct world w;
        struct lb_options o = world_options(policies[p]);

        world_init(&w, 6);
        world_start(&w, &o);
        for (int i = 0; i < 5; i++)
            world_report(&w, 2, LB_FAILED, 0);
        world_run(&w, 500);
        for (size_t i = 0; i < 6; i++)
            assert_int_equal(w.count[i], i == 2 ? 0 : 100);
        world_fini(&w);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(round_robin_takes_each_in_turn),
    cmocka_unit_test(clients_do_not_all_begin_with_the_first),
    cmocka_unit_test(a_removal_neither_repeats_nor_skips),
    cmocka_unit_test(random_is_even),
    cmocka_unit_test(smooth_takes_nginxs_order),
    cmocka_unit_test(every_window_of_smooth_has_the_weights),
    cmocka_unit_test(every_window_of_edf_has_the_weights),
    cmocka_unit_test(edf_leaves_no_long_gaps),
    cmocka_unit_test(edf_begins_differently_for_each_seed),
    cmocka_unit_test(great_weights_are_rounded),
    cmocka_unit_test(weighted_random_has_the_shares),
    cmocka_unit_test(it_has_them_for_any_list),
    cmocka_unit_test(weights_of_zero_are_never_picked),
    cmocka_unit_test(weight_changes_keep_the_place),
    cmocka_unit_test(turns_of_who_is_ejected_go_to_all),
};

RUN_TESTS(tests)
