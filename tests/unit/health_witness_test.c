/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "health/witness.h"

#include "test.h"

enum { CHECKS = 100, INTERVAL = 10000 };

struct world {
    struct witness w;
    struct witness_check c[CHECKS];
    size_t recalled[CHECKS];
    size_t recalls;
};

static void on_recalled(void *ctx, struct witness_check *c)
{
    struct world *w = ctx;
    w->recalled[c - w->c]++;
    w->recalls++;
}

static void add(struct world *w, size_t n)
{
    *w = (struct world){0};
    witness_init(&w->w);
    for (size_t i = 0; i < n; i++)
        witness_add(&w->w, &w->c[i], INTERVAL);
}

/* Is the result doubted? */
static bool starved(struct world *w, size_t i, enum run_kind kind,
                    uint64_t lag_ms, uint64_t now)
{
    struct witness_says s = witness_result(&w->w, &w->c[i], kind, lag_ms, now);
    if (s.recall)
        witness_recall(&w->w, on_recalled, w);
    return s.starved;
}

static void a_few_time_outs_are_evidence(void **state)
{
    (void)state;
    struct world w;

    add(&w, CHECKS);
    for (size_t i = 0; i < CHECKS; i++)
        assert_false(starved(
            &w, i, i < CHECKS / 2 ? RUN_TIMED_OUT : RUN_ANSWERED, 0, 1000 + i));
    assert_int_equal(w.recalls, 0);
}

static void more_than_half_within_an_interval_are_the_probers_own(void **state)
{
    (void)state;
    struct world w;

    add(&w, CHECKS);
    for (size_t i = 0; i < CHECKS; i++)
        assert_int_equal(starved(&w, i, RUN_TIMED_OUT, 0, 1000 + 99 * i),
                         i >= CHECKS / 2);
    /* Those believed before, once each. */
    for (size_t i = 0; i < CHECKS; i++)
        assert_int_equal(w.recalled[i], i < CHECKS / 2);
    /* And it stays so while they stay there. */
    for (size_t i = 0; i < CHECKS; i++)
        assert_true(starved(&w, i, RUN_TIMED_OUT, 0, 50000 + 99 * i));
    assert_int_equal(w.recalls, CHECKS / 2);
}

static void slowly_one_after_the_other_is_evidence(void **state)
{
    (void)state;
    struct world w;

    add(&w, CHECKS);
    for (size_t i = 0; i < CHECKS; i++)
        assert_false(
            starved(&w, i, RUN_TIMED_OUT, 0, 1000 + i * (INTERVAL / 50)));
    assert_int_equal(w.recalls, 0);
}

static void it_is_a_witness_again_once_half_have_answered(void **state)
{
    (void)state;
    struct world w;

    add(&w, CHECKS);
    for (size_t i = 0; i < CHECKS; i++)
        (void)starved(&w, i, RUN_TIMED_OUT, 0, 1000);
    for (size_t i = 0; i < CHECKS / 2; i++) {
        assert_true(w.w.starved);
        assert_false(
            starved(&w, i, i % 2 ? RUN_REFUSED : RUN_ANSWERED, 0, 20000));
    }
    assert_false(w.w.starved);
    assert_false(starved(&w, CHECKS - 1, RUN_TIMED_OUT, 0, 20000));
}

static void removing_the_others_makes_it_a_witness_again(void **state)
{
    (void)state;
    struct world w;

    add(&w, 8);
    for (size_t i = 0; i < 5; i++)
        (void)starved(&w, i, RUN_TIMED_OUT, 0, 1000);
    assert_true(w.w.starved);
    for (size_t i = 0; i < 5; i++)
        witness_remove(&w.w, &w.c[i]);
    assert_false(w.w.starved);
    assert_int_equal(w.w.checks, 3);
    assert_int_equal(w.w.timed_out, 0);
    assert_null(heap_min(&w.w.turned));
    witness_remove(&w.w, &w.c[0]); /* nothing */
    assert_int_equal(w.w.checks, 3);
}

static void of_a_handful_a_majority_says_nothing(void **state)
{
    (void)state;
    struct world w;

    for (size_t n = 1; n < WITNESS_CHECKS_MIN; n++) {
        add(&w, n);
        for (size_t i = 0; i < n; i++)
            assert_false(starved(&w, i, RUN_TIMED_OUT, 0, 1000));
    }
    add(&w, WITNESS_CHECKS_MIN);
    for (size_t i = 0; i < WITNESS_CHECKS_MIN; i++)
        assert_int_equal(starved(&w, i, RUN_TIMED_OUT, 0, 1000), i >= 2);
}

static void
a_lag_excuses_its_own_time_outs_and_those_shortly_before(void **state)
{
    (void)state;
    struct world w;

    add(&w, CHECKS);
    assert_false(starved(&w, 0, RUN_TIMED_OUT, 0, 1000));
    assert_false(starved(&w, 1, RUN_TIMED_OUT, WITNESS_LAG_MS, 15000));
    assert_true(starved(&w, 2, RUN_TIMED_OUT, WITNESS_LAG_MS + 1, 15000));
    assert_int_equal(w.recalls, 1);
    assert_int_equal(w.recalled[1], 1);
    /* A refusal is a refusal. */
    assert_false(starved(&w, 3, RUN_REFUSED, 5000, 15000));
    /* What comes without a lag is believed again. */
    assert_false(starved(&w, 4, RUN_TIMED_OUT, 0, 16000));
    assert_false(w.w.starved);
}

/* A recall for a lag does not hide the majority that follows. */
static void a_lag_and_a_majority_add_up(void **state)
{
    (void)state;
    struct world w;

    add(&w, 10);
    for (size_t i = 0; i < 4; i++)
        assert_false(starved(&w, i, RUN_TIMED_OUT, 0, 1000));
    assert_true(starved(&w, 4, RUN_TIMED_OUT, 2000, 1000));
    assert_int_equal(w.recalls, 4);
    assert_false(w.w.starved);
    assert_true(starved(&w, 5, RUN_TIMED_OUT, 0, 1000));
    assert_true(w.w.starved);
    assert_int_equal(w.recalls, 4);
}

static void each_check_turns_within_its_own_interval(void **state)
{
    (void)state;
    struct world w;

    add(&w, 10);
    for (size_t i = 0; i < 5; i++)
        witness_add(&w.w, &w.c[i], 1000);
    assert_int_equal(w.w.checks, 10);
    for (size_t i = 0; i < 5; i++)
        assert_false(starved(&w, i, RUN_TIMED_OUT, 0, 1000));
    /* The fast ones turned long ago. */
    for (size_t i = 5; i < 10; i++)
        assert_false(starved(&w, i, RUN_TIMED_OUT, 0, 5000));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_few_time_outs_are_evidence),
    cmocka_unit_test(more_than_half_within_an_interval_are_the_probers_own),
    cmocka_unit_test(slowly_one_after_the_other_is_evidence),
    cmocka_unit_test(it_is_a_witness_again_once_half_have_answered),
    cmocka_unit_test(removing_the_others_makes_it_a_witness_again),
    cmocka_unit_test(of_a_handful_a_majority_says_nothing),
    cmocka_unit_test(a_lag_excuses_its_own_time_outs_and_those_shortly_before),
    cmocka_unit_test(a_lag_and_a_majority_add_up),
    cmocka_unit_test(each_check_turns_within_its_own_interval),
};

RUN_TESTS(tests)
