/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "store/pace.h"

#include "test.h"

static void the_first_group_flies_at_once(void **state)
{
    struct store_pace p = {0};

    (void)state;
    assert_int_equal(store_pace_wait_ms(&p, 0, 0, 1), 0);
    store_pace_took(&p, 1000);
    assert_int_equal(store_pace_wait_ms(&p, 0, 0, 1), 0);
}

static void what_comes_while_one_flies_gathers(void **state)
{
    struct store_pace p = {0};

    (void)state;
    assert_int_equal(store_pace_wait_ms(&p, 1, 0, 1), PACE_MIN_MS);
    assert_int_equal(store_pace_wait_ms(&p, 1, 0, PACE_WORTH - 1), PACE_MIN_MS);
}

static void enough_for_a_group_does_not_wait(void **state)
{
    struct store_pace p = {0};

    (void)state;
    store_pace_took(&p, 1000);
    assert_int_equal(store_pace_wait_ms(&p, 3, 0, PACE_WORTH), 0);
}

static void nobody_waits_for_one_that_takes_twice_as_long(void **state)
{
    struct store_pace p = {0};

    (void)state;
    for (int i = 0; i < 100; i++)
        store_pace_took(&p, 8);
    uint64_t all = store_pace_wait_ms(&p, 1, 0, 1);

    assert_in_range(all, 14, 2 * 8 + PACE_MIN_MS);
    assert_int_equal(store_pace_wait_ms(&p, 1, all - 1, 1), 1);
    assert_int_equal(store_pace_wait_ms(&p, 1, all, 1), 0);
}

static void slow_flights_hold_up_nobody_for_long(void **state)
{
    struct store_pace p = {0};

    (void)state;
    for (int i = 0; i < 100; i++)
        store_pace_took(&p, 2500);
    assert_int_equal(store_pace_wait_ms(&p, 1, 0, 1), PACE_MAX_MS);
    for (int i = 0; i < 100; i++) /* and are forgotten */
        store_pace_took(&p, 1);
    assert_in_range(store_pace_wait_ms(&p, 1, 0, 1), 1, 2 * PACE_MIN_MS + 2);
}

/* Many were answered at once: they come again before the next group leaves. */
static void who_was_answered_has_time_to_come_again(void **state)
{
    struct store_pace p = {0};

    (void)state;
    for (int i = 0; i < 100; i++)
        store_pace_took(&p, 8);
    store_pace_landed(&p, 1000, 32, 32);
    uint64_t all = store_pace_rest_ms(&p, 1000, 32);

    assert_in_range(all, 2, PACE_AGAIN_MAX_MS);
    assert_int_equal(store_pace_rest_ms(&p, 1001, 40), all - 1);
    assert_int_equal(store_pace_rest_ms(&p, 1000 + all, 40), 0);
    assert_int_equal(store_pace_rest_ms(&p, 1001, 56), 0); /* most are here */
    assert_int_equal(store_pace_rest_ms(&p, 1001, PACE_WORTH), 0);
}

/* Writers who do not come again are not waited for as long the next time. */
static void who_stays_away_is_waited_for_less(void **state)
{
    struct store_pace p = {0};

    (void)state;
    for (int i = 0; i < 100; i++)
        store_pace_took(&p, 4);
    store_pace_landed(&p, 1000, 32, 32);
    uint64_t trusting = store_pace_rest_ms(&p, 1000, 32);

    store_pace_left(&p, 47); /* of 64 */
    for (int i = 0; i < PACE_DOUBT; i++) {
        store_pace_landed(&p, 2000, 32, 32);
        assert_in_range(store_pace_rest_ms(&p, 2000, 32), 1, trusting / 2);
        store_pace_left(&p, 32);
    }
    store_pace_landed(&p, 3000, 32, 32); /* another try */
    assert_int_equal(store_pace_rest_ms(&p, 3000, 32), trusting);
}

static void who_comes_again_is_waited_for_as_before(void **state)
{
    struct store_pace p = {0};

    (void)state;
    for (int i = 0; i < 100; i++)
        store_pace_took(&p, 4);
    for (int i = 0; i < 3; i++) {
        store_pace_landed(&p, 1000, 32, 32);
        assert_int_equal(store_pace_rest_ms(&p, 1000, 32), 4);
        store_pace_left(&p, 48);
    }
    store_pace_landed(&p, 1000, 32, 32);
    store_pace_left(&p, 32);
    store_pace_landed(&p, 1000, 32, 32);
    store_pace_left(&p, 48); /* they are back */
    store_pace_landed(&p, 1000, 32, 32);
    assert_int_equal(store_pace_rest_ms(&p, 1000, 32), 4);
}

/* Nobody was answered since: a second group beside the first one owes nothing. */
static void a_group_that_left_took_the_wait_with_it(void **state)
{
    struct store_pace p = {0};

    (void)state;
    for (int i = 0; i < 100; i++)
        store_pace_took(&p, 4);
    store_pace_landed(&p, 1000, 32, 32);
    store_pace_left(&p, 60);
    assert_int_equal(store_pace_rest_ms(&p, 1000, 1), 0);
    store_pace_left(&p, 1);
    store_pace_landed(&p, 1000, 32, 32);
    assert_int_equal(store_pace_rest_ms(&p, 1000, 1), 4);
}

static void one_after_the_other_is_not_held_up(void **state)
{
    struct store_pace p = {0};

    (void)state;
    for (int i = 0; i < 100; i++)
        store_pace_took(&p, 8);
    assert_int_equal(store_pace_rest_ms(&p, 1000, 1), 0); /* the first ever */
    store_pace_landed(&p, 1000, PACE_MANY - 1, 0);
    assert_int_equal(store_pace_rest_ms(&p, 1000, 1), 0);
    store_pace_landed(&p, 2000, 64, 0); /* it was a while ago */
    assert_int_equal(store_pace_rest_ms(&p, 3000, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_group_flies_at_once),
        cmocka_unit_test(what_comes_while_one_flies_gathers),
        cmocka_unit_test(enough_for_a_group_does_not_wait),
        cmocka_unit_test(nobody_waits_for_one_that_takes_twice_as_long),
        cmocka_unit_test(slow_flights_hold_up_nobody_for_long),
        cmocka_unit_test(who_was_answered_has_time_to_come_again),
        cmocka_unit_test(who_stays_away_is_waited_for_less),
        cmocka_unit_test(who_comes_again_is_waited_for_as_before),
        cmocka_unit_test(a_group_that_left_took_the_wait_with_it),
        cmocka_unit_test(one_after_the_other_is_not_held_up),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
