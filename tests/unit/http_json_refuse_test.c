/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "http_service.h"

static void syntax_errors_read_as_in_go(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "EOF"},
        {" \n\t\r ", "EOF"},
        {"{", "unexpected EOF"},
        {"{\"Na", "unexpected EOF"},
        {"{\"Name\"", "unexpected EOF"},
        {"{\"Name\":", "unexpected EOF"},
        {"{\"Name\":\"a\"", "unexpected EOF"},
        {"{\"Name\":\"a\",", "unexpected EOF"},
        {"{\"Port\":-", "unexpected EOF"},
        {"{\"Port\":1", "unexpected EOF"},
        {"{\"Name\":\"\\", "unexpected EOF"},
        {"{\"Name\":\"\\u12", "unexpected EOF"},
        {"[tru", "unexpected EOF"},
        {"{bad}",
         "invalid character 'b' looking for beginning of object key string"},
        {"{\"a\":1,}",
         "invalid character '}' looking for beginning of object key string"},
        {"{,}",
         "invalid character ',' looking for beginning of object key string"},
        {"{\"a\" 1}", "invalid character '1' after object key"},
        {"{\"a\":}", "invalid character '}' looking for beginning of value"},
        {"{\"a\":1 \"b\":2}",
         "invalid character '\"' after object key:value pair"},
        {"{\"a\":01}", "invalid character '1' after object key:value pair"},
        {"[1,]", "invalid character ']' looking for beginning of value"},
        {"[1 2]", "invalid character '2' after array element"},
        {"[1}", "invalid character '}' after array element"},
        {"name", "invalid character 'a' in literal null (expecting 'u')"},
        {"[truE]", "invalid character 'E' in literal true (expecting 'e')"},
        {"[False]", "invalid character 'F' looking for beginning of value"},
        {"'a'", "invalid character '\\'' looking for beginning of value"},
        {"\\", "invalid character '\\\\' looking for beginning of value"},
        {"[-a]", "invalid character 'a' in numeric literal"},
        {"[1.]",
         "invalid character ']' after decimal point in numeric literal"},
        {"[1e+]", "invalid character ']' in exponent of numeric literal"},
        {"[.5]", "invalid character '.' looking for beginning of value"},
        {"[+5]", "invalid character '+' looking for beginning of value"},
        {"[\"\\x\"]", "invalid character 'x' in string escape code"},
        {"[\"\\u12g4\"]",
         "invalid character 'g' in \\u hexadecimal character escape"},
        {"[\"a\nb\"]", "invalid character '\\n' in string literal"},
        {"[\"\x01\"]", "invalid character '\\x01' in string literal"},
        {"\x80", "invalid character '\\u0080' looking for beginning of value"},
        {"\xe9", "invalid character '\xc3\xa9' looking for beginning of value"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        refuses(cases[i].text, cases[i].why);
    refuses_with(bytes_of("\"\0\"", 3), ERR_BAD,
                 "invalid character '\\x00' in string literal");
    refuses_with(bytes_of("[\0]", 3), ERR_BAD,
                 "invalid character '\\x00' looking for beginning of value");
}

static void wrong_types_read_as_in_go(void **state)
{
    (void)state;
#define WRONG "json: cannot unmarshal "
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"{\"Name\":1.5}", WRONG "number into Go struct field .Name of type "
                                 "string"},
        {"{\"name\":{}}", WRONG "object into Go struct field .Name of type "
                                "string"},
        {"{\"Port\":\"80\"}",
         WRONG "string into Go struct field .Port of type int"},
        {"{\"Port\":80.0}",
         WRONG "number 80.0 into Go struct field .Port of type int"},
        {"{\"Port\":8e1}",
         WRONG "number 8e1 into Go struct field .Port of type int"},
        {"{\"Port\":9223372036854775808}",
         WRONG "number 9223372036854775808 into Go struct field .Port of type "
               "int"},
        {"{\"eto\":\"true\"}", WRONG "string into Go struct field "
                                     ".EnableTagOverride of type bool"},
        {"{\"Tags\":\"a\"}",
         WRONG "string into Go struct field .Tags of type []string"},
        {"{\"Tags\":[1]}",
         WRONG "number into Go struct field .Tags of type string"},
        {"{\"Meta\":[]}",
         WRONG "array into Go struct field .Meta of type map[string]string"},
        {"{\"Meta\":{\"a\":true}}",
         WRONG "bool into Go struct field .Meta of type string"},
        {"{\"Weights\":1}",
         WRONG "number into Go struct field .Weights of type object"},
        {"{\"Weights\":{\"Passing\":[]}}",
         WRONG "array into Go struct field .Weights.Passing of type int"},
        {"{\"Checks\":{}}",
         WRONG "object into Go struct field .Checks of type []object"},
        {"{\"Checks\":[{},null]}",
         WRONG "null into Go struct field .Checks of type object"},
        {"{\"Check\":{\"Interval\":true}}",
         WRONG "bool into Go struct field .Check.Interval of type "
               "time.Duration"},
        {"{\"Check\":{\"Interval\":[]}}",
         WRONG "array into Go struct field .Check.Interval of type "
               "time.Duration"},
        {"{\"Check\":{\"Interval\":1e19}}",
         WRONG "number 1e19 into Go struct field .Check.Interval of type "
               "time.Duration"},
        {"{\"Check\":{\"Header\":{\"A\":\"b\"}}}",
         WRONG "string into Go struct field .Check.Header of type []string"},
        {"{\"TaggedAddresses\":{\"a\":\"b\"}}",
         WRONG "string into Go struct field .TaggedAddresses of type object"},
        {"{\"Proxy\":[1e999]}",
         WRONG "number 1e999 into Go struct field .Proxy of type float64"},
        {"[]", WRONG "array into Go value of type object"},
        {"1", WRONG "number into Go value of type object"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        refuses(cases[i].text, cases[i].why);
}

static void a_member_given_twice_is_refused(void **state)
{
    (void)state;
    refuses("{\"Name\":\"a\",\"Name\":\"a\"}",
            "json: member \"Name\" is given twice");
    refuses("{\"Name\":\"a\",\"nAME\":null}",
            "json: member \"nAME\" is given twice");
    refuses("{\"Na\\u006de\":\"a\",\"name\":\"a\"}",
            "json: member \"name\" is given twice");
    refuses("{\"EnableTagOverride\":true,\"eto\":true}",
            "json: member \"eto\" is given twice");
    refuses("{\"enable_tag_override\":true,\"ETO\":true}",
            "json: member \"ETO\" is given twice");
    refuses("{\"Checks\":[{},{\"interval\":1,\"IntervalDuration\":1}]}",
            "json: member \"IntervalDuration\" of .Checks is given twice");
    refuses("{\"Meta\":{\"a\":\"1\",\"b\":\"2\",\"\\u0061\":\"1\"}}",
            "json: member \"a\" of .Meta is given twice");
    refuses("{\"TaggedAddresses\":{\"a\":{},\"a\":{}}}",
            "json: member \"a\" of .TaggedAddresses is given twice");
    refuses("{\"Proxy\":[{\"a\":[{\"x\":1,\"x\":2}]}]}",
            "json: member \"x\" of .Proxy is given twice");
    refuses("{\"Proxy\":{\"x\":{\"x\":[{\"x\":1}]},\"y\":{}, \"x\" :2}}",
            "json: member \"x\" of .Proxy is given twice");
}

static void texts_that_are_no_texts_are_refused(void **state)
{
    (void)state;
    static const char *const bad_utf8[] = {
        "\xff",     "\xc3(", "\xed\xa0\x80", "\xc0\x80", "\xf4\x90\x80\x80",
        "a\xe2\x82"};

    for (size_t i = 0; i < sizeof bad_utf8 / sizeof bad_utf8[0]; i++) {
        struct buf b = {0};
        struct errtext why = {0};
        buf_printf(&b, "{\"unknown\":\n\"%s\"}", bad_utf8[i]);
        assert_int_equal(json_bound(buf_bytes(&b), &why), ERR_BAD);
        assert_non_null(strstr(why.s, "bad UTF-8"));
        assert_non_null(strstr(why.s, "line 2"));
        buf_fini(&b);
    }
    refuses("[\"a\\u0000\"]",
            "NUL (\\u0000) in a JSON string at line 1, column 10");
    refuses("[\"\\ud800\"]",
            "half a surrogate pair in a JSON string at line 1, column 9");
    refuses("[\"\\udc00\\ud800\"]",
            "half a surrogate pair in a JSON string at line 1, column 9");
    refuses("[\"\\ud800\\u0041\"]",
            "half a surrogate pair in a JSON string at line 1, column 15");
}

static void depth_is_bounded(void **state)
{
    (void)state;
    static const size_t depths[] = {JSON_DEPTH_MAX, JSON_DEPTH_MAX + 1, 100000};

    for (size_t i = 0; i < 3; i++) {
        struct buf b = {0};
        struct errtext why = {0};
        put_repeated(&b, "[", depths[i]);
        put_repeated(&b, "]", depths[i]);
        enum err e = json_bound(buf_bytes(&b), &why);
        assert_int_equal(e, i == 0 ? ERR_OK : ERR_LIMIT);
        if (i > 0)
            assert_string_equal(why.s,
                                "JSON nested deeper than 64 levels, the limit");
        buf_fini(&b);
    }
    refuses_with(bytes_str("{\"Proxy\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
                           "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["),
                 ERR_LIMIT, "JSON nested deeper than 64 levels, the limit");
}

static void values_are_counted(void **state)
{
    (void)state;
    for (size_t n = JSON_VALUES_MAX - 1; n <= JSON_VALUES_MAX; n++) {
        struct buf b = {0};
        struct errtext why = {0};
        buf_puts(&b, "[0");
        put_repeated(&b, ",0", n - 1);
        buf_puts(&b, "]");
        assert_int_equal(json_bound(buf_bytes(&b), &why),
                         n < JSON_VALUES_MAX ? ERR_OK : ERR_LIMIT);
        buf_fini(&b);
    }
}

/* One megabyte of it, in a list that is read and in one that is not; and as
 * many objects as the number of values allows. */
static void a_flood_of_empty_objects_costs_little(void **state)
{
    (void)state;
    static const char *const fronts[] = {"{\"Checks\":[", "{\"Unknown\":["};

    for (size_t i = 0; i < 2; i++) {
        struct run run;
        struct buf b = {0};
        buf_puts(&b, fronts[i]);
        put_repeated(&b, "{},", (1 << 20) / 3);
        buf_puts(&b, "{}]}");
        decode(&run, buf_bytes(&b));
        assert_int_equal(run.e, ERR_LIMIT);
        assert_string_equal(run.why.s,
                            "more than 50000 JSON values, the limit");
        assert_int_equal(run.arena.used_bytes, 0);
        arena_fini(&run.arena);
        buf_fini(&b);
    }
}

struct large {
    char room[1000];
};

static void a_list_has_a_limit_in_bytes(void **state)
{
    (void)state;
    static const struct json_table table = {NULL, 0, sizeof(struct large)};
    struct buf b = {0};
    struct errtext why = {0};
    struct json_list list;
    struct arena a;

    arena_init(&a, 0);
    buf_puts(&b, "[{}");
    put_repeated(&b, ",{}", 40000);
    buf_puts(&b, "]");
    assert_int_equal(json_decode_list(buf_bytes(&b), &table, &list, &a, &why),
                     ERR_LIMIT);
    assert_string_equal(
        why.s, "json: 40001 objects in the list, at most 16777 are allowed");
    assert_int_equal(a.used_bytes, 0);
    arena_fini(&a);
    buf_fini(&b);
}

static void long_numbers_are_refused(void **state)
{
    (void)state;
    struct buf b = {0};

    put_repeated(&b, "1", 64);
    assert_ok(json_bound(buf_bytes(&b), NULL));
    put_repeated(&b, "1", 1);
    refuses_with(buf_bytes(&b), ERR_LIMIT,
                 "JSON number of 65 bytes, at most 64 are allowed");
    buf_fini(&b);
}

static void long_names_are_cut_in_messages(void **state)
{
    (void)state;
    struct run run;
    struct buf b = {0};

    buf_puts(&b, "{\"Meta\":{\"");
    put_repeated(&b, "\xc3\xa9", 100);
    buf_puts(&b, "\":\"\",\"");
    put_repeated(&b, "\xc3\xa9", 100);
    buf_puts(&b, "\":\"\"}}");
    decode(&run, buf_bytes(&b));
    assert_int_equal(run.e, ERR_BAD);
    assert_true(bytes_utf8(bytes_str(run.why.s)));
    assert_non_null(strstr(run.why.s, ".Meta is given twice"));
    arena_fini(&run.arena);
    buf_fini(&b);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(syntax_errors_read_as_in_go),
    cmocka_unit_test(wrong_types_read_as_in_go),
    cmocka_unit_test(a_member_given_twice_is_refused),
    cmocka_unit_test(texts_that_are_no_texts_are_refused),
    cmocka_unit_test(depth_is_bounded),
    cmocka_unit_test(values_are_counted),
    cmocka_unit_test(a_flood_of_empty_objects_costs_little),
    cmocka_unit_test(a_list_has_a_limit_in_bytes),
    cmocka_unit_test(long_numbers_are_refused),
    cmocka_unit_test(long_names_are_cut_in_messages),
};

RUN_TESTS(tests)
