/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "mirror/clock.h"

#include "test.h"

/* Theirs shows 1000 when ours shows 51000. */
enum { OURS = 51000, THEIRS = 1000, APART = OURS - THEIRS };

static void a_beat_is_as_old_as_the_exchange_allows(void **state)
{
    struct mirror_clock c;
    (void)state;

    /* Asked at OURS - 80, answered at OURS, within 160 ms of round trip. */
    mirror_clock_begin(&c, OURS - 80, THEIRS, OURS + 80);
    uint64_t sent = mirror_clock_beat(&c, THEIRS + 1000, OURS + 1080);
    assert_int_equal(sent, OURS + 1000 - 80);
}

static void bytes_held_back_are_as_old_as_they_are(void **state)
{
    struct mirror_clock c;
    (void)state;

    mirror_clock_begin(&c, OURS, THEIRS, OURS + 1);
    /* Held for twenty seconds, then all at once. */
    for (uint64_t i = 1; i <= 20; i++) {
        uint64_t sent = mirror_clock_beat(&c, THEIRS + 1000 * i, OURS + 20000);
        assert_true(sent <= OURS + 1000 * i);
        assert_true(sent + 10 >= OURS + 1000 * i);
    }
}

static void a_connection_that_is_slow_from_the_start_is_no_younger(void **state)
{
    struct mirror_clock c;
    (void)state;

    /* Each byte takes ten seconds; the first as well. */
    mirror_clock_begin(&c, OURS, THEIRS, OURS + 10000);
    assert_true(mirror_clock_beat(&c, THEIRS + 1000, OURS + 11000) <=
                OURS + 1000);
}

static void clocks_that_move_apart_make_nothing_younger(void **state)
{
    struct mirror_clock c;
    (void)state;

    for (int ppm = -100; ppm <= 100; ppm += 50) {
        mirror_clock_begin(&c, OURS - 1, THEIRS, OURS + 1);
        for (uint64_t s = 1; s <= 24 * 3600; s++) {
            uint64_t ours = OURS + 1000 * s;
            uint64_t theirs =
                THEIRS + (uint64_t)((int64_t)s * (1000000 + ppm) / 1000);
            if (s % 30 == 0)
                mirror_clock_told(&c, ours - 20, theirs, ours + 20);
            uint64_t sent = mirror_clock_beat(&c, theirs, ours + 5);
            assert_true(sent <= ours);
            assert_true(sent + 60 >= ours);
        }
    }
}

static void another_process_says_nothing_of_this_one(void **state)
{
    struct mirror_clock c;
    (void)state;

    mirror_clock_begin(&c, OURS, THEIRS, OURS + 1);
    /* It has been restarted: its clock began anew. */
    mirror_clock_told(&c, OURS + 60000, 5, OURS + 60001);
    assert_true(mirror_clock_beat(&c, THEIRS + 30000, OURS + 60000) <=
                OURS + 30000);
}

static void a_clock_that_jumps_ahead_is_not_believed(void **state)
{
    struct mirror_clock c;
    (void)state;

    mirror_clock_begin(&c, OURS, THEIRS, OURS + 1);
    assert_int_equal(mirror_clock_beat(&c, THEIRS + 900000, OURS + 1000),
                     OURS + 1000);
    assert_int_equal(mirror_clock_beat(&c, THEIRS + 1, OURS + 1000), OURS + 1);
    mirror_clock_begin(&c, 1, 1000000, 2);
    assert_int_equal(mirror_clock_beat(&c, 5, 10), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_beat_is_as_old_as_the_exchange_allows),
    cmocka_unit_test(bytes_held_back_are_as_old_as_they_are),
    cmocka_unit_test(a_connection_that_is_slow_from_the_start_is_no_younger),
    cmocka_unit_test(clocks_that_move_apart_make_nothing_younger),
    cmocka_unit_test(another_process_says_nothing_of_this_one),
    cmocka_unit_test(a_clock_that_jumps_ahead_is_not_believed),
};

RUN_TESTS(tests)
