/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/admit.h"

#include <stdlib.h>

#include "test.h"

static void fill(struct admit *a)
{
    while (admit_take(a))
        continue;
}

static void so_many_are_in_at_once_and_no_more(void **state)
{
    struct admit a;
    struct admit_item it;

    (void)state;
    admit_init(&a);
    list_init(&it.link);
    fill(&a);
    assert_int_equal(a.flying, ADMIT_FIRST);
    assert_true(admit_wait(&a, &it, 1, 5));
    assert_null(admit_next(&a));
    admit_done(&a, 2000,
               2001); /* one out, and the limit falls below the rest */
    assert_null(admit_next(&a));
    while (a.flying >= a.limit)
        admit_done(&a, 2000, 2002);
    assert_ptr_equal(admit_next(&a), &it);
    assert_int_equal(a.waiting, 0);
}

static void nobody_passes_those_who_wait(void **state)
{
    struct admit a;
    struct admit_item it;

    (void)state;
    admit_init(&a);
    list_init(&it.link);
    assert_true(admit_wait(&a, &it, 1, 0));
    assert_false(admit_take(&a));
    assert_ptr_equal(admit_next(&a), &it);
    assert_true(admit_take(&a));
}

/* One client has a hundred, two have one each. */
static void clients_have_turns(void **state)
{
    struct admit a;
    struct admit_item many[100], one[2];

    (void)state;
    admit_init(&a);
    for (size_t i = 0; i < 100; i++) {
        list_init(&many[i].link);
        assert_true(admit_wait(&a, &many[i], 7, i));
    }
    for (size_t i = 0; i < 2; i++) {
        list_init(&one[i].link);
        assert_true(admit_wait(&a, &one[i], 100 + i, 200));
    }
    assert_ptr_equal(admit_next(&a), &many[0]);
    assert_ptr_equal(admit_next(&a), &one[0]);
    assert_ptr_equal(admit_next(&a), &one[1]);
    for (size_t i = 1; i < 100; i++) /* his own in their order */
        assert_ptr_equal(admit_next(&a), &many[i]);
    assert_null(admit_next(&a));
}

static void the_queue_is_bounded(void **state)
{
    struct admit *a = malloc(sizeof *a);
    struct admit_item *all = calloc(ADMIT_WAITING_MAX + 1, sizeof *all);

    (void)state;
    admit_init(a);
    for (size_t i = 0; i < ADMIT_WAITING_MAX; i++) {
        list_init(&all[i].link);
        assert_true(admit_wait(a, &all[i], i, i));
    }
    assert_false(admit_wait(a, &all[ADMIT_WAITING_MAX], 1, 1));
    for (size_t i = 0; i < ADMIT_WAITING_MAX; i++)
        assert_non_null(admit_late(a, UINT64_MAX));
    assert_null(admit_late(a, UINT64_MAX));
    free(all);
    free(a);
}

/* One client with all the connections there are leaves room for another. */
static void nobody_fills_the_queue_alone(void **state)
{
    struct admit *a = malloc(sizeof *a);
    struct admit_item *all = calloc(ADMIT_TURN_MAX + 2, sizeof *all);

    (void)state;
    admit_init(a);
    fill(a);
    for (size_t i = 0; i < ADMIT_TURN_MAX; i++) {
        list_init(&all[i].link);
        assert_true(admit_wait(a, &all[i], 7, i));
    }
    list_init(&all[ADMIT_TURN_MAX].link);
    assert_false(admit_wait(a, &all[ADMIT_TURN_MAX], 7, 1));
    assert_true(admit_wait(a, &all[ADMIT_TURN_MAX], 8, 1));
    assert_ptr_equal(admit_late(a, 0), &all[0]); /* makes room for his next */
    list_init(&all[ADMIT_TURN_MAX + 1].link);
    assert_true(admit_wait(a, &all[ADMIT_TURN_MAX + 1], 7, 1));
    free(all);
    free(a);
}

static void who_has_waited_too_long_leaves(void **state)
{
    struct admit a;
    struct admit_item it[3];

    (void)state;
    admit_init(&a);
    for (size_t i = 0; i < 3; i++) {
        list_init(&it[i].link);
        assert_true(admit_wait(&a, &it[i], i, 10 * i));
    }
    assert_ptr_equal(admit_late(&a, 10), &it[0]);
    assert_ptr_equal(admit_late(&a, 10), &it[1]);
    assert_null(admit_late(&a, 10));
    assert_int_equal(a.waiting, 1);
}

/* A store that takes a second and more for each is asked for less and less, and for
 * more again when it is quick. */
static void the_limit_follows_the_store(void **state)
{
    struct admit a;
    uint64_t now = 0;

    (void)state;
    admit_init(&a);
    for (int i = 0; i < 20; i++) {
        fill(&a);
        now += 3000;
        while (a.flying)
            admit_done(&a, ADMIT_TARGET_MS + 500, now);
    }
    assert_int_equal(a.limit, ADMIT_MIN);
    for (int i = 0; i < 500; i++) {
        fill(&a);
        now += 5;
        while (a.flying)
            admit_done(&a, 5, now);
    }
    assert_int_equal(a.limit, ADMIT_MAX);
    assert_true(admit_take(&a)); /* not in demand: it stays */
    admit_done(&a, 5, now);
    assert_int_equal(a.limit, ADMIT_MAX);
}

/* All that were in flight when it became slow tell of one slowness. */
static void a_slow_moment_counts_once(void **state)
{
    struct admit a;

    (void)state;
    admit_init(&a);
    fill(&a);
    for (int i = 0; i < 100; i++)
        admit_done(&a, 1500, 1600);
    assert_int_equal(a.limit, ADMIT_FIRST * 7 / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(so_many_are_in_at_once_and_no_more),
        cmocka_unit_test(nobody_passes_those_who_wait),
        cmocka_unit_test(clients_have_turns),
        cmocka_unit_test(the_queue_is_bounded),
        cmocka_unit_test(nobody_fills_the_queue_alone),
        cmocka_unit_test(who_has_waited_too_long_leaves),
        cmocka_unit_test(the_limit_follows_the_store),
        cmocka_unit_test(a_slow_moment_counts_once),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
