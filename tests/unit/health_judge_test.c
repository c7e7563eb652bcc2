/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "health/judge.h"

#include <stdio.h>

#include "base/buf.h"
#include "test.h"

#define SECOND INT64_C(1000000000)

/* --- Statuses ------------------------------------------------------------ */

static void names_and_statuses_match(void **state)
{
    (void)state;
    static const char *const names[] = {"passing", "warning", "critical",
                                        "maintenance"};
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(status_name(status_of(bytes_str(names[i]))),
                            names[i]);
    assert_int_equal(status_of(bytes_str("Passing")), STATUS_OTHER);
    assert_int_equal(status_of(bytes_str("")), STATUS_OTHER);
    assert_string_equal(status_name(STATUS_OTHER), "");
}

static void the_worse_status_wins_from_either_side(void **state)
{
    (void)state;
    static const enum status order[] = {STATUS_PASSING, STATUS_WARNING,
                                        STATUS_CRITICAL, STATUS_OTHER,
                                        STATUS_MAINTENANCE};
    for (size_t a = 0; a < 5; a++)
        for (size_t b = a; b < 5; b++) {
            assert_int_equal(status_worse(order[a], order[b]), order[b]);
            assert_int_equal(status_worse(order[b], order[a]), order[b]);
        }
}

/* --- Thresholds ---------------------------------------------------------- */

static void assert_counts(struct threshold *t, enum status result,
                          enum status want)
{
    enum status got = STATUS_OTHER;
    assert_true(threshold_result(t, result, &got));
    assert_int_equal(got, want);
}

static void assert_stays(struct threshold *t, enum status result)
{
    enum status got = STATUS_OTHER;
    assert_false(threshold_result(t, result, &got));
    assert_int_equal(got, STATUS_OTHER);
}

static void without_thresholds_every_result_counts(void **state)
{
    (void)state;
    struct check_def d = {.failures_before_warning = -1};
    struct threshold t;
    threshold_init(&t, &d);
    assert_counts(&t, STATUS_CRITICAL, STATUS_CRITICAL);
    assert_counts(&t, STATUS_PASSING, STATUS_PASSING);
    assert_counts(&t, STATUS_WARNING, STATUS_WARNING);
    assert_counts(&t, STATUS_OTHER, STATUS_CRITICAL);
}

static void the_first_result_counts_at_once(void **state)
{
    (void)state;
    struct check_def d = {.success_before_passing = 3,
                          .failures_before_critical = 3,
                          .failures_before_warning = -1};
    struct threshold t;
    threshold_init(&t, &d);
    assert_counts(&t, STATUS_CRITICAL, STATUS_CRITICAL);
    threshold_init(&t, &d);
    assert_counts(&t, STATUS_PASSING, STATUS_PASSING);
}

static void a_status_moves_after_so_many_in_a_row(void **state)
{
    (void)state;
    struct check_def d = {.success_before_passing = 2,
                          .failures_before_critical = 3,
                          .failures_before_warning = -1};
    struct threshold t;
    threshold_init(&t, &d);
    assert_counts(&t, STATUS_PASSING, STATUS_PASSING);
    assert_stays(&t, STATUS_CRITICAL);
    assert_stays(&t, STATUS_CRITICAL);
    assert_stays(&t, STATUS_PASSING); /* starts both rows again */
    assert_stays(&t, STATUS_CRITICAL);
    assert_stays(&t, STATUS_CRITICAL);
    assert_counts(&t, STATUS_CRITICAL, STATUS_CRITICAL);
    assert_stays(&t, STATUS_WARNING);
    assert_counts(&t, STATUS_WARNING, STATUS_WARNING);
}

static void failures_warn_before_they_are_critical(void **state)
{
    (void)state;
    struct check_def d = {.failures_before_critical = 3,
                          .failures_before_warning = 2};
    struct threshold t;
    threshold_init(&t, &d);
    assert_counts(&t, STATUS_PASSING, STATUS_PASSING);
    assert_stays(&t, STATUS_CRITICAL);
    assert_counts(&t, STATUS_CRITICAL, STATUS_WARNING);
    assert_counts(&t, STATUS_CRITICAL, STATUS_CRITICAL);
}

static void huge_thresholds_do_not_wrap(void **state)
{
    (void)state;
    struct check_def d = {.success_before_passing = INT64_MAX,
                          .failures_before_critical = INT64_MAX,
                          .failures_before_warning = -1};
    struct threshold t;
    threshold_init(&t, &d);
    assert_int_equal(t.failures_before_critical, UINT32_MAX);
    assert_counts(&t, STATUS_PASSING, STATUS_PASSING);
    assert_counts(&t, STATUS_PASSING, STATUS_PASSING);
    assert_int_equal(t.successes, UINT32_MAX);
    assert_stays(&t, STATUS_CRITICAL);
}

/* --- Times --------------------------------------------------------------- */

static void times_have_minima_and_defaults(void **state)
{
    (void)state;
    struct bytes arg = bytes_str("x");
    struct check_def d = {.http = bytes_str("http://h"), .interval_ns = 1};
    assert_int_equal(check_interval_ms(&d), 1000);
    assert_int_equal(check_timeout_ms(&d), 10000);
    assert_int_equal(check_reap_ms(&d), 0);
    d.interval_ns = 90 * SECOND;
    d.timeout_ns = 1; /* below a millisecond is not "none" */
    d.deregister_after_ns = SECOND;
    assert_int_equal(check_interval_ms(&d), 90000);
    assert_int_equal(check_timeout_ms(&d), 1);
    assert_int_equal(check_reap_ms(&d), 60000);
    d.deregister_after_ns = 90 * SECOND;
    assert_int_equal(check_reap_ms(&d), 90000);
    d = (struct check_def){.args = &arg, .arg_count = 1};
    assert_int_equal(check_timeout_ms(&d), 30000);
}

static void first_runs_are_spread_and_keep_their_place(void **state)
{
    (void)state;
    enum { CHECKS = 1000, SLOTS = 10 };
    size_t slots[SLOTS] = {0};
    char id[16];
    for (int i = 0; i < CHECKS; i++) {
        int n = snprintf(id, sizeof id, "check-%d", i);
        uint64_t at = schedule_first_ms(bytes_of(id, (size_t)n), 10000);
        assert_true(at < 10000);
        assert_true(at == schedule_first_ms(bytes_of(id, (size_t)n), 10000));
        slots[at / 1000]++;
    }
    for (size_t i = 0; i < SLOTS; i++)
        assert_in_range(slots[i], CHECKS / SLOTS / 2, CHECKS / SLOTS * 2);
    assert_int_equal(schedule_first_ms(bytes_str("x"), 0), 0);
}

/* --- Outputs ------------------------------------------------------------- */

static void assert_tail(struct bytes tail, uint64_t total, size_t max,
                        bool marker, const char *want)
{
    struct buf b = {0};
    output_tail(&b, tail, total, max, marker);
    assert_bytes(buf_bytes(&b), want);
    buf_fini(&b);
}

static void assert_head(struct bytes text, size_t max, const char *want)
{
    struct buf b = {0};
    output_head(&b, text, max);
    assert_bytes(buf_bytes(&b), want);
    buf_fini(&b);
}

static void the_tail_of_long_output_is_kept(void **state)
{
    (void)state;
    struct bytes text = bytes_str("0123456789");
    assert_tail(text, 10, 10, true, "0123456789");
    assert_tail(text, 10, 4, false, "6789");
    assert_tail(text, 10, 4, true, "Captured 4 of 10 bytes\n...\n6789");
    assert_tail(text, 6004, 100, true,
                "Captured 10 of 6004 bytes\n...\n0123456789");
    assert_tail((struct bytes){0}, 0, 4, true, "");
}

static void the_head_of_a_long_note_is_kept(void **state)
{
    (void)state;
    struct bytes text = bytes_str("0123456789abcdef");
    assert_head(text, 16, "0123456789abcdef");
    assert_head(text, 10, "0123456789 ... (captured 10 of 16 bytes)");
}

static void output_is_always_utf8(void **state)
{
    (void)state;
    assert_tail(bytes_str("a\xffz\xc3"), 4, 9, false,
                "a\xef\xbf\xbdz\xef\xbf\xbd");
    assert_tail(bytes_str("\xc3\xa4\xf0\x9f\x98\x80\xff"), 7, 9, false,
                "\xc3\xa4\xf0\x9f\x98\x80\xef\xbf\xbd");
    /* A sequence cut in two. */
    assert_head(bytes_str("a\xc3\xa4"), 2,
                "a\xef\xbf\xbd ... (captured 2 of 3 bytes)");
}

static void ten_thousand_checks_do_not_start_in_bursts(void **state)
{
    (void)state;
    enum { CHECKS = 10000, INTERVAL_MS = 10000, SLOTS = 100 };
    unsigned slots[SLOTS] = {0};
    for (int i = 0; i < CHECKS; i++) {
        char id[32];
        (void)snprintf(id, sizeof id, "service:web-%d", i);
        uint64_t at = schedule_first_ms(bytes_str(id), INTERVAL_MS);
        assert_true(at < INTERVAL_MS);
        assert_int_equal(at, schedule_first_ms(bytes_str(id), INTERVAL_MS));
        slots[at * SLOTS / INTERVAL_MS]++;
    }
    /* 100 in each on average; 50 off would be five standard deviations. */
    for (int i = 0; i < SLOTS; i++)
        assert_in_range(slots[i], 50, 150);
}

static void a_thousand_at_once_start_a_few_at_a_time(void **state)
{
    (void)state;
    struct pace p = {.max = 4, .window_ms = 5}, none = {0};
    uint64_t now = 1000;
    for (int i = 0; i < 1000; i++) {
        uint64_t wait = pace_wait_ms(&p, now);
        assert_int_equal(wait, i > 0 && i % 4 == 0 ? 5 : 0);
        now += wait;
        if (wait)
            assert_int_equal(pace_wait_ms(&p, now), 0);
        assert_int_equal(pace_wait_ms(&none, now), 0);
    }
    assert_int_equal(now, 1000 + 249 * 5);
    now += 2;
    assert_int_equal(pace_wait_ms(&p, now), 3);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_thousand_at_once_start_a_few_at_a_time),
    cmocka_unit_test(ten_thousand_checks_do_not_start_in_bursts),
    cmocka_unit_test(names_and_statuses_match),
    cmocka_unit_test(the_worse_status_wins_from_either_side),
    cmocka_unit_test(without_thresholds_every_result_counts),
    cmocka_unit_test(the_first_result_counts_at_once),
    cmocka_unit_test(a_status_moves_after_so_many_in_a_row),
    cmocka_unit_test(failures_warn_before_they_are_critical),
    cmocka_unit_test(huge_thresholds_do_not_wrap),
    cmocka_unit_test(times_have_minima_and_defaults),
    cmocka_unit_test(first_runs_are_spread_and_keep_their_place),
    cmocka_unit_test(the_tail_of_long_output_is_kept),
    cmocka_unit_test(the_head_of_a_long_note_is_kept),
    cmocka_unit_test(output_is_always_utf8),
};

RUN_TESTS(tests)
