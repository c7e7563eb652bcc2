/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/rfc3339.h"

#include <stdio.h>
#include <time.h>

#include "test.h"

static uint64_t parsed(const char *text)
{
    uint64_t ms = 0;

    if (rfc3339_parse(bytes_str(text), &ms) != ERR_OK)
        fail_msg("refused: %s", text);
    return ms;
}

static void all_forms_of_one_moment_are_read(void **state)
{
    static const char *const forms[] = {
        "2026-11-26T15:32:30.500Z",       "2026-11-26t15:32:30.5z",
        "2026-11-26 15:32:30.5009999Z",   "2026-11-26T16:32:30.5+01:00",
        "2026-11-26T16:32:30.5 01:00",    "2026-11-26T03:02:30.50-12:30",
        "2026-11-27T00:32:30.5001+09:00",
    };

    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
        assert_int_equal(parsed(forms[i]), 1795707150500U);
    assert_int_equal(parsed("1970-01-01T00:00:00Z"), 0);
    assert_int_equal(parsed("1969-12-31T23:59:59Z"), 0);
    assert_int_equal(parsed("0000-01-01T00:00:00Z"), 0);
    assert_int_equal(parsed("2016-12-31T23:59:60Z"),
                     parsed("2017-01-01T00:00:00Z"));
    assert_int_equal(parsed("9999-12-31T23:59:59.999-01:00"), 253402300799999U);
}

static void anything_else_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "2026",
        "2026-11-26",
        "2026-11-26T15:32Z",
        "2026-11-26T15:32:30",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-11-31T00:00:00Z",
        "2025-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2026-11-00T00:00:00Z",
        "2026-11-26T24:00:00Z",
        "2026-11-26T15:60:00Z",
        "2026-11-26T15:32:61Z",
        "2026-11-26T15:32:30.Z",
        "2026-11-26T15:32:30Zx",
        "2026-11-26T15:32:30+1:00",
        "2026-11-26T15:32:30+24:00",
        "2026-11-26T15:32:30+0100",
        "2026-11-2xT15:32:30Z",
        "-026-11-26T15:32:30Z",
    };
    uint64_t ms;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (rfc3339_parse(bytes_str(bad[i]), &ms) != ERR_BAD)
            fail_msg("taken: %s", bad[i]);
}

/* What is printed is what libc says, and is read back. */
static void what_is_printed_is_read_back(void **state)
{
    uint64_t random = 88172645463325252U;
    struct buf out = {0};
    char want[40];

    (void)state;
    for (int i = 0; i < 200000; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        uint64_t ms = random % 253402300800000U, back;
        time_t s = (time_t)(ms / 1000);
        struct tm tm;

        buf_reset(&out);
        rfc3339_print(&out, ms);
        gmtime_r(&s, &tm);
        size_t n = strftime(want, sizeof want, "%Y-%m-%dT%H:%M:%S", &tm);
        if (tm.tm_year >= -900) /* glibc does not pad smaller years */
            snprintf(want + n, sizeof want - n, ".%03dZ", (int)(ms % 1000));
        assert_bytes(buf_bytes(&out), want);
        assert_ok(rfc3339_parse(buf_bytes(&out), &back));
        assert_int_equal(back, ms);
    }
    buf_reset(&out);
    rfc3339_print(&out, UINT64_MAX);
    assert_bytes(buf_bytes(&out), "9999-12-31T23:59:59.999Z");
    buf_fini(&out);
}

/* Cut or with any byte turned it is read or refused, within its bytes. */
static void every_short_form_and_flip_is_survived(void **state)
{
    static const char text[] = "2024-02-29T23:59:60.123456+14:00";
    uint64_t ms;

    (void)state;
    for (size_t n = 0; n < sizeof text - 1; n++) {
        for (int c = 0; c < 256; c++) {
            char *copy = malloc(sizeof text - 1);

            memcpy(copy, text, sizeof text - 1);
            copy[n] = (char)c;
            if (rfc3339_parse(bytes_of(copy, sizeof text - 1), &ms) == ERR_OK)
                assert_true(ms <= 253402300799999U);
            free(copy);
        }
        char *cut = malloc(n + 1);

        memcpy(cut, text, n);
        assert_int_equal(rfc3339_parse(bytes_of(cut, n), &ms), ERR_BAD);
        free(cut);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(all_forms_of_one_moment_are_read),
    cmocka_unit_test(anything_else_is_refused),
    cmocka_unit_test(what_is_printed_is_read_back),
    cmocka_unit_test(every_short_form_and_flip_is_survived),
};

RUN_TESTS(tests)
