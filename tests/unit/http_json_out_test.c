/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "http/json_out.h"

#include <math.h>

#include "test.h"

static void commas_stand_where_they_must(void **state)
{
    (void)state;
    struct buf b = {0};
    struct json_out j = json_out(&b);

    json_open(&j, '{');
    json_key(&j, "A");
    json_open(&j, '[');
    json_close(&j, ']');
    json_key(&j, "B");
    json_open(&j, '[');
    json_u64(&j, UINT64_MAX);
    json_i64(&j, INT64_MIN);
    json_open(&j, '{');
    json_key_bytes(&j, bytes_str("a\"b"));
    json_nil(&j);
    json_key_bytes(&j, bytes_str(""));
    json_bool(&j, true);
    json_close(&j, '}');
    json_bool(&j, false);
    json_close(&j, ']');
    json_key(&j, "C");
    json_raw(&j, bytes_str("{\"x\":1}"));
    json_key(&j, "D");
    json_str(&j, bytes_str("s"));
    json_close(&j, '}');
    assert_bytes(buf_bytes(&b),
                 "{\"A\":[],\"B\":[18446744073709551615,-9223372036854775808,"
                 "{\"a\\\"b\":null,\"\":true},false],\"C\":{\"x\":1},"
                 "\"D\":\"s\"}");
    buf_fini(&b);
}

static void quoted(struct bytes in, const char *want)
{
    struct buf b = {0};

    json_quote(&b, in);
    assert_bytes(buf_bytes(&b), want);
    buf_fini(&b);
}

static void strings_are_escaped_as_go_does(void **state)
{
    (void)state;
    quoted(bytes_str(""), "\"\"");
    quoted((struct bytes){NULL, 0}, "\"\"");
    quoted(bytes_str("plain"), "\"plain\"");
    quoted(bytes_str("\"\\/\n\r\t\b\f\x1f\x7f"),
           "\"\\\"\\\\/\\n\\r\\t\\u0008\\u000c\\u001f\x7f\"");
    quoted(bytes_of("\0", 1), "\"\\u0000\"");
    quoted(bytes_str("<a href='x'>&"), "\"\\u003ca href='x'\\u003e\\u0026\"");
    quoted(bytes_str("\xe2\x80\xa7\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa"),
           "\"\xe2\x80\xa7\\u2028\\u2029\xe2\x80\xaa\"");
    quoted(bytes_str("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"),
           "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"");
}

static void bytes_that_are_not_utf8_are_replaced_one_by_one(void **state)
{
    (void)state;
    quoted(bytes_str("\xff\xfe"), "\"\\ufffd\\ufffd\"");
    quoted(bytes_str("a\xc3"), "\"a\\ufffd\"");
    quoted(bytes_str("\xc3("), "\"\\ufffd(\"");
    quoted(bytes_str("\xc0\x80"), "\"\\ufffd\\ufffd\"");
    quoted(bytes_str("\xed\xa0\x80"), "\"\\ufffd\\ufffd\\ufffd\"");
    quoted(bytes_str("\xf4\x90\x80\x80"), "\"\\ufffd\\ufffd\\ufffd\\ufffd\"");
    quoted(bytes_str("\xe2\x82"), "\"\\ufffd\\ufffd\"");
}

/* Whatever the byte and wherever it stands within a block of the fast path. */
static void every_byte_is_treated_alike_at_every_place(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        struct buf alone = {0};
        char one = (char)c;
        json_quote(&alone, bytes_of(&one, 1));
        struct bytes want = bytes_of(alone.p + 1, alone.n - 2);
        for (size_t at = 0; at < 40; at++) {
            char text[40];
            struct buf b = {0};
            memset(text, 'a', sizeof text);
            text[at] = one;
            json_quote(&b, bytes_of(text, sizeof text));
            assert_int_equal(b.n, sizeof text + 1 + want.n);
            assert_memory_equal(b.p + 1 + at, want.p, want.n);
            buf_fini(&b);
        }
        buf_fini(&alone);
    }
}

static void doubles_are_the_shortest_that_read_back(void **state)
{
    (void)state;
    static const struct {
        double v;
        const char *want;
    } cases[] = {
        {0, "0"},
        {-0.0, "-0"},
        {1, "1"},
        {-1.5, "-1.5"},
        {0.1, "0.1"},
        {0.1 + 0.2, "0.30000000000000004"},
        {0.00001, "0.00001"},
        {0.000001, "0.000001"},
        {0.00000123, "0.00000123"},
        {0.0000001, "1e-7"},
        {1.25e-9, "1.25e-9"},
        {100, "100"},
        {123456.789, "123456.789"},
        {1e20, "100000000000000000000"},
        {1e21, "1e+21"},
        {1.5e300, "1.5e+300"},
        {5e-324, "5e-324"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {9007199254740992.0, "9007199254740992"},
        {NAN, "null"},
        {-INFINITY, "null"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf b = {0};
        struct json_out j = json_out(&b);
        json_double(&j, cases[i].v);
        assert_bytes(buf_bytes(&b), cases[i].want);
        buf_fini(&b);
    }
}

static void pretty_indents_by_four(void **state)
{
    (void)state;
    static const struct {
        const char *compact, *want;
    } cases[] = {
        {"[]", "[]\n"},
        {"{}", "{}\n"},
        {"null", "null\n"},
        {"\"a,b:{}\\\"[\"", "\"a,b:{}\\\"[\"\n"},
        {"[1,{}]", "[\n    1,\n    {}\n]\n"},
        {"{\"a\":[{\"b\":\"c\\\\\"}],\"d\":[]}",
         "{\n    \"a\": [\n        {\n            \"b\": \"c\\\\\"\n"
         "        }\n    ],\n    \"d\": []\n}\n"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf b = {0};
        json_pretty(&b, bytes_str(cases[i].compact));
        assert_bytes(buf_bytes(&b), cases[i].want);
        buf_fini(&b);
    }
}

static void a_full_buffer_is_noticed_by_its_owner(void **state)
{
    (void)state;
    for (size_t max = 1; max < 20; max++) {
        struct buf b;
        struct json_out j;
        buf_init(&b, max);
        j = json_out(&b);
        json_open(&j, '{');
        json_key(&j, "name");
        json_str(&j, bytes_str("a<value"));
        json_close(&j, '}');
        assert_true(b.bad);
        assert_true(b.n <= max);
        buf_fini(&b);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(commas_stand_where_they_must),
    cmocka_unit_test(strings_are_escaped_as_go_does),
    cmocka_unit_test(bytes_that_are_not_utf8_are_replaced_one_by_one),
    cmocka_unit_test(every_byte_is_treated_alike_at_every_place),
    cmocka_unit_test(doubles_are_the_shortest_that_read_back),
    cmocka_unit_test(pretty_indents_by_four),
    cmocka_unit_test(a_full_buffer_is_noticed_by_its_owner),
};

RUN_TESTS(tests)
