/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Priorities, zones, slow start and subsets: the published numbers. */
#include "lb/share.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/draw.h"
#include "test.h"

static void near_to(double got, double want)
{
    if (fabs(got - want) > 0.001)
        fail_msg("got %.4f, want %.4f", got, want);
}

static void health_is_overprovisioned_by_1_4(void **state)
{
    (void)state;
    assert_int_equal(lb_priority_health(72, 100, 140), 100);
    assert_int_equal(lb_priority_health(71, 100, 140), 99);
    assert_int_equal(lb_priority_health(50, 100, 140), 70);
    assert_int_equal(lb_priority_health(0, 100, 140), 0);
    assert_int_equal(lb_priority_health(0, 0, 140), 0);
    assert_int_equal(lb_priority_health(65535, 65535, 140), 100);
}

struct loads {
    uint32_t healthy[3], want[3];
    size_t n;
};

static void loads_of_priorities_are_envoys(void **state)
{
    (void)state;
    static const struct loads cases[] = {
        {{100, 100}, {100, 0}, 2},       {{72, 100}, {100, 0}, 2},
        {{71, 100}, {99, 1}, 2},         {{50, 100}, {70, 30}, 2},
        {{25, 100}, {35, 65}, 2},        {{25, 25}, {50, 50}, 2},
        {{25, 25, 20}, {36, 36, 28}, 3}, {{0, 0}, {100, 0}, 2},
        {{0, 100}, {0, 100}, 2},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t health[3], load[3], sum = 0;
        for (size_t p = 0; p < cases[i].n; p++)
            health[p] = lb_priority_health(cases[i].healthy[p], 100, 140);
        (void)lb_priority_loads(health, cases[i].n, load);
        for (size_t p = 0; p < cases[i].n; p++) {
            assert_int_equal(load[p], cases[i].want[p]);
            sum += load[p];
        }
        assert_int_equal(sum, 100);
    }
}

static void the_sum_is_100_whatever_the_healths(void **state)
{
    (void)state;
    for (uint32_t a = 0; a <= 100; a += 3)
        for (uint32_t b = 0; b <= 100; b += 7)
            for (uint32_t c = 0; c <= 100; c++) {
                uint32_t health[] = {a, b, c}, load[3];
                (void)lb_priority_loads(health, 3, load);
                assert_int_equal(load[0] + load[1] + load[2], 100);
                assert_true(a || !load[0] || a + b + c == 0);
                assert_true(c || !load[2]);
            }
}

enum { LEVELS = 3 };

/* One step of a return from `was` to `load`, nobody absent. */
static bool go_back(const double *was, const uint32_t *health, double step,
                    double *load)
{
    static const bool absent[LEVELS];

    return lb_priority_return(was, health, absent, LEVELS, step, load);
}

static void traffic_comes_back_by_and_by(void **state)
{
    (void)state;
    const uint32_t well[] = {100, 100, 100};
    double was[] = {0, 0, 1}, load[] = {1, 0, 0};

    /* The first level gets its step; nobody between gains by it. */
    assert_true(go_back(was, well, .1, load));
    near_to(load[0], .1);
    near_to(load[1], 0);
    near_to(load[2], .9);
    double then[] = {.1, 0, .9}, all[] = {1, 0, 0};
    assert_false(go_back(then, well, .9, all));
    near_to(all[0], 1);
}

static void what_others_cannot_carry_comes_back_at_once(void **state)
{
    (void)state;
    const uint32_t weak[] = {100, 30, 0}, gone[] = {100, 0, 0};
    double was[] = {0, 1, 0}, load[] = {1, 0, 0}, all[] = {1, 0, 0};

    assert_true(go_back(was, weak, .1, load));
    near_to(load[0], .7);
    near_to(load[1], .3);
    assert_false(go_back(was, gone, .1, all));
    near_to(all[0], 1);
}

static void traffic_leaves_at_once(void **state)
{
    (void)state;
    const uint32_t health[] = {0, 100, 100};
    double was[] = {1, 0, 0}, load[] = {0, 1, 0};

    assert_false(go_back(was, health, .01, load));
    near_to(load[1], 1);
    double unknown[LEVELS] = {0}, first[] = {1, 0, 0};
    assert_false(go_back(unknown, (uint32_t[]){100, 100, 100}, .01, first));
    near_to(first[0], 1);
}

static void a_level_that_left_hands_on_to_no_later_one(void **state)
{
    (void)state;
    const uint32_t health[] = {100, 0, 100, 100};
    const bool absent[] = {false, true, false, false};
    double was[] = {.2, .5, .3, 0}, load[] = {1, 0, 0, 0};

    assert_true(lb_priority_return(was, health, absent, 4, .1, load));
    near_to(load[0], .3);
    near_to(load[1], 0);
    near_to(load[2], .7);
    near_to(load[3], 0);
}

/* Whatever healths do: the sum is 1, nobody gains more than the step by a return
 * that others could have carried, and with time all is as it should be. */
static void returns_end_where_they_should(void **state)
{
    (void)state;
    uint64_t random = 5;
    double was[LEVELS] = {0};

    for (int i = 0; i < 20000; i++) {
        uint32_t health[LEVELS], percent[LEVELS];
        double load[LEVELS], want[LEVELS];
        for (size_t p = 0; p < LEVELS; p++)
            health[p] =
                lb_draw(&random) % 3 ? lb_below(lb_draw(&random), 101) : 100;
        (void)lb_priority_loads(health, LEVELS, percent);
        for (int k = 0; k < 3; k++) {
            for (size_t p = 0; p < LEVELS; p++)
                want[p] = load[p] = percent[p] / 100.0;
            bool moving = go_back(was, health, .2, load);
            near_to(load[0] + load[1] + load[2], 1);
            uint32_t later = health[1] + health[2];
            if (was[0] + was[1] + was[2] > 0 && later >= 100)
                assert_true(load[0] <= was[0] + .2 + 1e-6);
            assert_true(load[0] <= want[0] + 1e-6);
            if (!moving)
                for (size_t p = 0; p < LEVELS; p++)
                    near_to(load[p], want[p]);
            memcpy(was, load, sizeof was);
        }
        while (lb_draw(&random) % 4) {
            for (size_t p = 0; p < LEVELS; p++)
                load[p] = percent[p] / 100.0;
            (void)go_back(was, health, 1, load);
            memcpy(was, load, sizeof was);
        }
    }
}

static void a_zone_keeps_what_it_can_carry(void **state)
{
    (void)state;
    double callers[] = {.5, .3, .2}, servers[] = {.3, .4, .3}, share[3];

    assert_true(lb_zone_shares(callers, servers, 3, 0, share));
    near_to(share[0], .6);
    near_to(share[1], .2);
    near_to(share[2], .2);
    /* More servers than callers: nothing leaves. */
    assert_true(lb_zone_shares(callers, servers, 3, 1, share));
    near_to(share[0], 0);
    near_to(share[1], 1);
    near_to(share[2], 0);
}

/* The fleet's rate at each server is the same, whichever zone it stands in. */
static void every_server_of_the_fleet_gets_the_same(void **state)
{
    (void)state;
    static const double fleets[][2][4] = {
        {{5, 3, 2, 0}, {3, 4, 3, 0}}, {{1, 1, 1, 1}, {4, 2, 1, 1}},
        {{8, 1, 1, 0}, {2, 2, 2, 2}}, {{1, 2, 3, 4}, {4, 3, 2, 1}},
        {{3, 3, 3, 1}, {3, 3, 3, 1}},
    };

    for (size_t f = 0; f < sizeof fleets / sizeof fleets[0]; f++) {
        const double *callers = fleets[f][0], *servers = fleets[f][1];
        double rate[4] = {0}, o = 0, u = 0;
        for (size_t z = 0; z < 4; z++) {
            o += callers[z];
            u += servers[z];
        }
        for (size_t z = 0; z < 4; z++) {
            double share[4];
            if (callers[z] == 0)
                continue;
            assert_true(lb_zone_shares(callers, servers, 4, z, share));
            for (size_t i = 0; i < 4; i++)
                rate[i] += callers[z] / o * share[i];
        }
        for (size_t z = 0; z < 4; z++)
            near_to(rate[z], servers[z] / u);
    }
}

static void without_callers_zones_are_not_looked_at(void **state)
{
    (void)state;
    double none[] = {0, 0}, servers[] = {1, 3}, share[2];

    assert_false(lb_zone_shares(NULL, servers, 2, 0, share));
    near_to(share[1], .75);
    assert_false(lb_zone_shares(none, servers, 2, 0, share));
    assert_false(lb_zone_shares(servers, none, 2, 0, share));
}

static void slow_start_is_envoys(void **state)
{
    (void)state;
    near_to(lb_slow_start(10000, 60000, 1, 10), .167);
    near_to(lb_slow_start(30000, 60000, 1, 10), .500);
    near_to(lb_slow_start(59000, 60000, 1, 10), .983);
    near_to(lb_slow_start(1000, 60000, 2, 10), .129);
    near_to(lb_slow_start(15000, 60000, 2, 10), .500);
    near_to(lb_slow_start(30000, 60000, 2, 10), .707);
    near_to(lb_slow_start(0, 60000, 1, 10), .1);
    near_to(lb_slow_start(60000, 60000, 1, 10), 1);
    near_to(lb_slow_start(0, 0, 1, 10), 1);
    near_to(lb_slow_start(100, 60000, 0, 1), 1.0 / 60); /* aggression 1 */
}

static void it_never_falls_with_age(void **state)
{
    (void)state;
    double last = 0;

    for (uint64_t age = 0; age <= 70000; age += 100) {
        double f = lb_slow_start(age, 60000, 1.5, 5);
        assert_true(f >= last && f <= 1);
        last = f;
    }
}

/* --- Subsets ------------------------------------------------------------- */

enum { SERVERS = 100, CLIENTS = 2000 };

static struct bytes *names_of(size_t n, char (**ret_text)[16])
{
    struct bytes *names = calloc(n, sizeof *names);

    *ret_text = calloc(n, sizeof **ret_text);
    for (size_t i = 0; i < n; i++) {
        int k = snprintf((*ret_text)[i], 16, "10.1.2.%zu", i);
        names[i] = bytes_of((*ret_text)[i], (size_t)k);
    }
    return names;
}

static void a_salted_subset_is_spread_like_chance(void **state)
{
    (void)state;
    char(*text)[16];
    struct bytes *names = names_of(SERVERS, &text);
    uint32_t count[SERVERS] = {0}, low = UINT32_MAX, high = 0;
    uint64_t keys[SERVERS];
    bool chosen[SERVERS];

    for (uint64_t client = 0; client < CLIENTS; client++) {
        size_t n = 0;
        lb_subset_salted(names, SERVERS, 5, client * 77 + 1, keys, chosen);
        for (size_t i = 0; i < SERVERS; i++) {
            n += chosen[i];
            count[i] += chosen[i];
        }
        assert_int_equal(n, 5);
    }
    for (size_t i = 0; i < SERVERS; i++) {
        low = count[i] < low ? count[i] : low;
        high = count[i] > high ? count[i] : high;
    }
    /* Binomial: mean 100, standard deviation 9.7. */
    assert_in_range(low, 60, 90);
    assert_in_range(high, 110, 140);
    free(names);
    free(text);
}

static void one_server_less_alters_one_entry(void **state)
{
    (void)state;
    char(*text)[16];
    struct bytes *names = names_of(SERVERS, &text), gone = names[41];
    uint64_t keys[SERVERS];
    bool before[SERVERS], after[SERVERS];

    for (uint64_t client = 1; client <= 500; client++) {
        size_t lost = 0, won = 0;
        names[41] = gone;
        lb_subset_salted(names, SERVERS, 20, client, keys, before);
        names[41] = names[SERVERS - 1];
        lb_subset_salted(names, SERVERS - 1, 20, client, keys, after);
        for (size_t i = 0; i < SERVERS - 1; i++) {
            bool was = i == 41 ? before[SERVERS - 1] : before[i];
            lost += was && !after[i];
            won += !was && after[i];
        }
        names[SERVERS - 1] = names[41];
        assert_int_equal(lost, 0);
        assert_int_equal(won, before[41]);
    }
    free(names);
    free(text);
}

static void a_subset_of_all_is_all(void **state)
{
    (void)state;
    char(*text)[16];
    struct bytes *names = names_of(4, &text);
    uint64_t keys[4];
    uint32_t order[4];
    bool chosen[4];

    for (size_t k = 4; k <= 6; k++) {
        lb_subset_salted(names, 4, k, 1, keys, chosen);
        for (size_t i = 0; i < 4; i++)
            assert_true(chosen[i]);
        lb_subset_ranked(4, k, 3, order, chosen);
        for (size_t i = 0; i < 4; i++)
            assert_true(chosen[i]);
    }
    free(names);
    free(text);
}

/* Whole rounds of clients give each server exactly as many as the next. */
static void ranked_subsets_are_exactly_even(void **state)
{
    (void)state;
    uint32_t count[SERVERS] = {0}, order[SERVERS];
    bool chosen[SERVERS];

    for (uint32_t client = 0; client < 20 * 7; client++) {
        size_t n = 0;
        lb_subset_ranked(SERVERS, 5, client, order, chosen);
        for (size_t i = 0; i < SERVERS; i++) {
            n += chosen[i];
            count[i] += chosen[i];
        }
        assert_int_equal(n, 5);
    }
    for (size_t i = 0; i < SERVERS; i++)
        assert_int_equal(count[i], 7);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(health_is_overprovisioned_by_1_4),
    cmocka_unit_test(loads_of_priorities_are_envoys),
    cmocka_unit_test(traffic_comes_back_by_and_by),
    cmocka_unit_test(what_others_cannot_carry_comes_back_at_once),
    cmocka_unit_test(traffic_leaves_at_once),
    cmocka_unit_test(a_level_that_left_hands_on_to_no_later_one),
    cmocka_unit_test(returns_end_where_they_should),
    cmocka_unit_test(the_sum_is_100_whatever_the_healths),
    cmocka_unit_test(a_zone_keeps_what_it_can_carry),
    cmocka_unit_test(every_server_of_the_fleet_gets_the_same),
    cmocka_unit_test(without_callers_zones_are_not_looked_at),
    cmocka_unit_test(slow_start_is_envoys),
    cmocka_unit_test(it_never_falls_with_age),
    cmocka_unit_test(a_salted_subset_is_spread_like_chance),
    cmocka_unit_test(one_server_less_alters_one_entry),
    cmocka_unit_test(a_subset_of_all_is_all),
    cmocka_unit_test(ranked_subsets_are_exactly_even),
};

RUN_TESTS(tests)
