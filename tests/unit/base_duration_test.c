/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "base/duration.h"

#include "test.h"

/* All expectations here are what Go's time package gives. */

static void parsing_gives_nanoseconds(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ns;
    } cases[] = {
        {"0", 0},
        {"-0", 0},
        {"+0", 0},
        {"0s", 0},
        {"5s", 5000000000},
        {"+5s", 5000000000},
        {"-5s", -5000000000},
        {"1478s", 1478000000000},
        {"5.0s", 5000000000},
        {"5.6s", 5600000000},
        {"5.s", 5000000000},
        {".5s", 500000000},
        {"1.004s", 1004000000},
        {"100.00100s", 100001000000},
        {"10ns", 10},
        {"11us", 11000},
        {"12\xc2\xb5s", 12000},
        {"12\xce\xbcs", 12000},
        {"13ms", 13000000},
        {"15m", 900000000000},
        {"16h", 57600000000000},
        {"3h30m", 12600000000000},
        {"10.5s4m", 250500000000},
        {"-2m3.4s", -123400000000},
        {"1h2m3s4ms5us6ns", 3723004005006},
        {"39h9m14.425s", 140954425000000},
        {"52763797000ns", 52763797000},
        {"0.3333333333333333333h", 1200000000000},
        {"9007199254740993ns", 9007199254740993},
        {"9223372036854775807ns", INT64_MAX},
        {"9223372036854775.807us", INT64_MAX},
        {"9223372036s854ms775us807ns", INT64_MAX},
        {"-9223372036854775808ns", INT64_MIN},
        {"-9223372036854775.808us", INT64_MIN},
        {"-2562047h47m16.854775808s", INT64_MIN},
        {"0.100000000000000000000h", 360000000000},
        {"0.830103483285477580700h", 2988372539827},
        {"1.5ns", 1},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct errtext t = {0};
        int64_t ns = 42;
        if (duration_parse(bytes_str(cases[i].text), &ns, &t) != ERR_OK)
            fail_msg("\"%s\": %s", cases[i].text, t.s);
        if (ns != cases[i].ns)
            fail_msg("\"%s\" gave %lld", cases[i].text, (long long)ns);
    }
}

static void refusals_have_go_s_words(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"", "invalid duration \"\""},
        {"nope", "invalid duration \"nope\""},
        {"-", "invalid duration \"-\""},
        {"+", "invalid duration \"+\""},
        {"--1s", "invalid duration \"--1s\""},
        {"s", "invalid duration \"s\""},
        {".", "invalid duration \".\""},
        {"-.", "invalid duration \"-.\""},
        {".s", "invalid duration \".s\""},
        {"+.s", "invalid duration \"+.s\""},
        {" 1s", "invalid duration \" 1s\""},
        {"3000000h", "invalid duration \"3000000h\""},
        {"9223372036854775808ns", "invalid duration \"9223372036854775808ns\""},
        {"9223372036854775.808us",
         "invalid duration \"9223372036854775.808us\""},
        {"9223372036854ms775us808ns",
         "invalid duration \"9223372036854ms775us808ns\""},
        {"-9223372036854775809ns",
         "invalid duration \"-9223372036854775809ns\""},
        {"99999999999999999999s", "invalid duration \"99999999999999999999s\""},
        {"10", "missing unit in duration \"10\""},
        {"1.5", "missing unit in duration \"1.5\""},
        {"1h5", "missing unit in duration \"1h5\""},
        {"1.2.3s", "missing unit in duration \"1.2.3s\""},
        {"00", "missing unit in duration \"00\""},
        {"10x", "unknown unit \"x\" in duration \"10x\""},
        {"10s ", "unknown unit \"s \" in duration \"10s \""},
        {"1S", "unknown unit \"S\" in duration \"1S\""},
        {"1d", "unknown unit \"d\" in duration \"1d\""},
        {"1s-2m", "unknown unit \"s-\" in duration \"1s-2m\""},
        {"1\"\\\x7f", "unknown unit \"\\\"\\\\\x7f\" in duration "
                      "\"1\\\"\\\\\x7f\""},
        {"\x85\xff\n", "invalid duration \"\\x85\\xff\\x0a\""},
        {"hello \xef\xbf\xbd", "invalid duration \"hello \\xef\\xbf\\xbd\""},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes in = bytes_str(cases[i].text);
        struct errtext t = {0};
        int64_t ns = 42;

        assert_int_equal(duration_parse(in, &ns, &t), ERR_BAD);
        assert_int_equal(ns, 42);
        assert_memory_equal(t.s, "time: ", 6);
        assert_string_equal(t.s + 6, cases[i].want);
        assert_int_equal(duration_parse(in, &ns, NULL), ERR_BAD);
    }
}

static void any_bytes_are_refused_in_bounded_space(void **state)
{
    (void)state;
    char s[1000];
    struct errtext t;
    int64_t ns;

    for (int byte = 0; byte < 256; byte++) {
        memset(s, byte, sizeof s);
        assert_int_equal(duration_parse(bytes_of(s, sizeof s), &ns, &t),
                         ERR_BAD);
        assert_true(bytes_ends(bytes_str(t.s), bytes_str("...")));
        s[0] = '1';
        assert_int_equal(duration_parse(bytes_of(s, sizeof s), &ns, &t),
                         ERR_BAD);
        assert_true(bytes_ends(bytes_str(t.s), bytes_str("...")));
    }
    assert_int_equal(duration_parse(bytes_of("1\0s", 3), &ns, &t), ERR_BAD);
    assert_string_equal(t.s, "time: unknown unit \"\\x00s\" in duration "
                             "\"1\\x00s\"");
    /* Twice the most negative one is not nothing. */
    assert_int_equal(
        duration_parse(bytes_str("-9223372036854775808ns9223372036854775808ns"),
                       &ns, &t),
        ERR_BAD);
}

static void printing_is_go_s(void **state)
{
    (void)state;
    static const struct {
        int64_t ns;
        const char *want;
    } cases[] = {
        {0, "0s"},
        {1, "1ns"},
        {999, "999ns"},
        {1000, "1\xc2\xb5s"},
        {1100, "1.1\xc2\xb5s"},
        {2000, "2\xc2\xb5s"},
        {2200000, "2.2ms"},
        {300000000, "300ms"},
        {999999999, "999.999999ms"},
        {1000000000, "1s"},
        {1500000000, "1.5s"},
        {3300000000, "3.3s"},
        {10000000000, "10s"},
        {60000000000, "1m0s"},
        {245000000000, "4m5s"},
        {245001000000, "4m5.001s"},
        {3600000000000, "1h0m0s"},
        {18367001000000, "5h6m7.001s"},
        {259200000000000, "72h0m0s"},
        {480000000001, "8m0.000000001s"},
        {INT64_MAX, "2562047h47m16.854775807s"},
        {INT64_MIN, "-2562047h47m16.854775808s"},
        {-1, "-1ns"},
        {-1500000000, "-1.5s"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf b = {0};
        duration_print(&b, cases[i].ns);
        assert_bytes(buf_bytes(&b), cases[i].want);
        buf_fini(&b);
    }
}

static void what_is_printed_parses_back(void **state)
{
    (void)state;
    uint64_t s = 88172645463325252u;

    for (int i = 0; i < 100000; i++) {
        struct buf b = {0};
        int64_t ns, back;

        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        ns = (int64_t)(s >> (s % 61)) * (s & 1 ? 1 : -1);
        duration_print(&b, ns);
        assert_ok(duration_parse(buf_bytes(&b), &back, NULL));
        assert_true(back == ns);
        buf_fini(&b);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(parsing_gives_nanoseconds),
    cmocka_unit_test(refusals_have_go_s_words),
    cmocka_unit_test(any_bytes_are_refused_in_bounded_space),
    cmocka_unit_test(printing_is_go_s),
    cmocka_unit_test(what_is_printed_parses_back),
};

RUN_TESTS(tests)
