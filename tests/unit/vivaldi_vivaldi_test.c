/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "vivaldi/vivaldi.h"

#include <math.h>

#include "test.h"

/* How good coordinates are is tests/sim/vivaldi_sim.c's. */

static void two_hosts_agree_on_their_distance(void **state)
{
    (void)state;
    struct vivaldi a, b;
    vivaldi_init(&a, 1);
    vivaldi_init(&b, 2);
    for (int i = 0; i < 200; i++) {
        assert_true(vivaldi_sample(&a, 2, &b.at, 0.050));
        assert_true(vivaldi_sample(&b, 1, &a.at, 0.050));
    }
    double d = coordinate_distance(&a.at, &b.at);
    assert_true(d > 0.045 && d < 0.055);
    assert_true(a.at.error < 0.2 && b.at.error < 0.2);
    assert_int_equal(a.samples, 200);
}

static void one_spike_moves_nobody(void **state)
{
    (void)state;
    struct vivaldi a, b;
    struct coordinate other = {.vec = {0.050}, .error = 0.1, .height = 1e-5};
    vivaldi_init(&a, 1);
    for (int i = 0; i < 50; i++)
        assert_true(vivaldi_sample(&a, 7, &other, 0.050));
    b = a;
    assert_true(vivaldi_sample(&a, 7, &other, 9.0)); /* its median is 50 ms */
    assert_true(vivaldi_sample(&b, 7, &other, 0.050));
    assert_memory_equal(&a.at, &b.at, sizeof a.at);
}

static void what_is_no_time_or_place_is_refused(void **state)
{
    (void)state;
    struct vivaldi v;
    struct coordinate ok = coordinate_origin(), bad = ok;
    vivaldi_init(&v, 1);
    bad.vec[7] = NAN;
    assert_false(vivaldi_sample(&v, 1, &bad, 0.1));
    bad = ok;
    bad.height = INFINITY;
    assert_false(vivaldi_sample(&v, 1, &bad, 0.1));
    assert_false(vivaldi_sample(&v, 1, &ok, -0.001));
    assert_false(vivaldi_sample(&v, 1, &ok, 10.1));
    assert_false(vivaldi_sample(&v, 1, &ok, NAN));
    assert_int_equal(v.samples, 0);
    assert_true(vivaldi_sample(&v, 0, &ok, 0));
    vivaldi_restore(&v, &bad);
    assert_true(coordinate_valid(&v.at));
    ok.vec[0] = 3;
    vivaldi_restore(&v, &ok);
    assert_true(v.at.vec[0] == 3);
}

static void more_peers_than_are_kept_are_measured_all_the_same(void **state)
{
    (void)state;
    struct vivaldi v;
    struct coordinate other = coordinate_origin();
    vivaldi_init(&v, 1);
    for (uint64_t i = 0; i < 5 * VIVALDI_PEERS; i++) {
        assert_true(vivaldi_sample(&v, i, &other, 0.010));
        assert_true(coordinate_valid(&v.at));
    }
}

static void equal_seeds_give_equal_places(void **state)
{
    (void)state;
    struct vivaldi a, b;
    struct coordinate other = coordinate_origin();
    vivaldi_init(&a, 9);
    vivaldi_init(&b, 9);
    for (uint64_t i = 0; i < 30; i++) {
        assert_true(vivaldi_sample(&a, i % 3, &other, 0.020));
        assert_true(vivaldi_sample(&b, i % 3, &other, 0.020));
    }
    assert_memory_equal(&a.at, &b.at, sizeof a.at);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(two_hosts_agree_on_their_distance),
    cmocka_unit_test(one_spike_moves_nobody),
    cmocka_unit_test(what_is_no_time_or_place_is_refused),
    cmocka_unit_test(more_peers_than_are_kept_are_measured_all_the_same),
    cmocka_unit_test(equal_seeds_give_equal_places),
};

RUN_TESTS(tests)
