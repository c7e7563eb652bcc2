/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "http_service.h"

static const char whole[] =
    " {\"Name\": \"web \\u00e9\\n\", \"port\": 8080, \"ETO\": true,\n"
    "\"Tags\": [\"a\", null, \"b\"], \"Unknown\": {\"x\": [1e999]},\n"
    "\"Meta\": {\"z\": \"1\", \"a\": \"2\", \"m\": null},\n"
    "\"Weights\": {\"Passing\": 5},\n"
    "\"Checks\": [{\"Name\": \"c1\", \"Interval\": \"1m30s\"}, {}],\n"
    "\"Check\": {\"IntervalDuration\": 10.5,\n"
    "  \"Header\": {\"X\": [\"1\", \"2\"], \"A\": null, \"B\": []}},\n"
    "\"tagged_addresses\": {\"wan\": {\"Address\": \"1.2.3.4\", \"Port\": 1},\n"
    "  \"lan\": null},\n"
    "\"Proxy\": {\"b\": [ 1.50, \"x y\" ], \"a\" : null},\n"
    "\"Token\": [true]}";

static void every_kind_finds_its_place(void **state)
{
    (void)state;
    struct run run;
    const struct service *s = &run.s;

    decode(&run, bytes_str(whole));
    if (run.e != ERR_OK)
        fail_msg("%s", run.why.s);
    assert_bytes(s->name, "web \xc3\xa9\n");
    assert_int_equal(s->port, 8080);
    assert_true(s->override && s->has_override);
    assert_true(s->tags.set);
    assert_int_equal(s->tags.n, 3);
    assert_bytes(s->tags.v[0], "a");
    assert_bytes(s->tags.v[1], "");
    assert_bytes(s->tags.v[2], "b");
    assert_int_equal(s->meta.n, 3);
    assert_bytes(s->meta.v[0].key, "a");
    assert_bytes(s->meta.v[0].value, "2");
    assert_bytes(s->meta.v[1].key, "m");
    assert_bytes(s->meta.v[1].value, "");
    assert_bytes(s->meta.v[2].key, "z");
    assert_int_equal(s->weights->passing, 5);
    assert_false(s->weights->has_warning);
    assert_int_equal(s->checks.n, 2);
    const struct check *checks = s->checks.v;
    assert_bytes(checks[0].name, "c1");
    assert_int_equal(checks[0].interval_ns, 90 * INT64_C(1000000000));
    assert_int_equal(checks[1].name.n, 0);
    assert_int_equal(s->check->interval_ns, 10);
    assert_int_equal(s->check->header.n, 3);
    assert_bytes(s->check->header.v[0].name, "A");
    assert_false(s->check->header.v[0].values.set);
    assert_true(s->check->header.v[1].values.set);
    assert_bytes(s->check->header.v[2].values.v[1], "2");
    assert_int_equal(s->tagged.n, 2);
    const struct address *tagged = s->tagged.v;
    assert_bytes(s->tagged.names[0], "lan");
    assert_int_equal(tagged[0].port, 0);
    assert_bytes(tagged[1].address, "1.2.3.4");
    assert_bytes(s->proxy, "{\"b\":[1.50,\"x y\"],\"a\":null}");
    arena_fini(&run.arena);
}

static void null_leaves_a_member_unset(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "null", " null ", "{}", "{} trailing garbage",
        "{\"Name\":null,\"Port\":null,\"eto\":null,\"Tags\":null,"
        "\"Meta\":null,\"Weights\":null,\"Checks\":null,\"Check\":null,"
        "\"TaggedAddresses\":null,\"Proxy\":null,\"Token\":null}"};
    static const struct service nothing;

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct run run;
        decode(&run, bytes_str(texts[i]));
        assert_ok(run.e);
        assert_memory_equal(&run.s, &nothing, sizeof nothing);
        arena_fini(&run.arena);
    }
}

static void empty_is_not_null(void **state)
{
    (void)state;
    struct run run;

    decode(&run, bytes_str("{\"Tags\":[],\"Meta\":{},\"Weights\":{},"
                           "\"Checks\":[],\"TaggedAddresses\":{}}"));
    assert_ok(run.e);
    assert_true(run.s.tags.set && run.s.tags.n == 0);
    assert_true(run.s.meta.set && run.s.meta.n == 0);
    assert_true(run.s.checks.set && run.s.checks.n == 0);
    assert_true(run.s.tagged.set && run.s.tagged.n == 0);
    assert_non_null(run.s.weights);
    arena_fini(&run.arena);
}

static void durations_are_texts_or_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        int64_t ns;
    } cases[] = {
        {"\"300ms\"", 300000000},
        {"\"-1h\"", INT64_C(-3600000000000)},
        {"0", 0},
        {"10.5", 10},
        {"-10.5", -10},
        {"1e9", 1000000000},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
        {"9.2e18", INT64_C(9200000000000000000)},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct run run;
        struct buf b = {0};
        buf_printf(&b, "{\"Check\":{\"Interval\":%s}}", cases[i].value);
        decode(&run, buf_bytes(&b));
        assert_ok(run.e);
        assert_int_equal(run.s.check->interval_ns, cases[i].ns);
        arena_fini(&run.arena);
        buf_fini(&b);
    }
    refuses("{\"Check\":{\"Interval\":\"10\"}}",
            "time: missing unit in duration \"10\"");
    refuses("{\"Check\":{\"Interval\":\"10x\"}}",
            "time: unknown unit \"x\" in duration \"10x\"");
    refuses("{\"Check\":{\"Interval\":\"nope\"}}",
            "time: invalid duration \"nope\"");
    refuses("{\"Check\":{\"Interval\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
            "aaaaaaaaaa\"}}",
            "time: invalid duration "
            "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...\" in "
            ".Check.Interval");
}

static void free_names_differ_by_case_and_unknown_ones_may_repeat(void **state)
{
    (void)state;
    struct run run;

    decode(&run, bytes_str("{\"Meta\":{\"a\":\"1\",\"A\":\"2\"},"
                           "\"u\":1,\"u\":2,\"Token\":{\"u\":1,\"u\":2}}"));
    assert_ok(run.e);
    assert_int_equal(run.s.meta.n, 2);
    assert_bytes(run.s.meta.v[0].key, "A");
    arena_fini(&run.arena);
}

static void the_same_name_may_stand_in_each_object_of_a_raw_value(void **state)
{
    (void)state;
    static const char raw[] = "{\"x\":{\"x\":[{\"x\":1},{\"x\":\"x\"}],\"y\":{}"
                              "},\"y\":[\"x\",\"x\"]}";
    struct run run;
    struct buf b = {0};

    buf_printf(&b, "{\"Proxy\":%s}", raw);
    decode(&run, buf_bytes(&b));
    assert_ok(run.e);
    assert_bytes(run.s.proxy, raw);
    arena_fini(&run.arena);
    buf_fini(&b);
}

static void strings_are_unescaped(void **state)
{
    (void)state;
    struct run run;

    decode(&run,
           bytes_str("{\"Name\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t \\u0001\\u007f"
                     "\\u00e9\\u20AC\\ud83d\\uDE00 \xf0\x9f\x98\x80\"}"));
    assert_ok(run.e);
    assert_bytes(run.s.name, "\"\\/\b\f\n\r\t \x01\x7f\xc3\xa9\xe2\x82\xac"
                             "\xf0\x9f\x98\x80 \xf0\x9f\x98\x80");
    arena_fini(&run.arena);
}

static void no_beginning_of_a_body_is_a_body(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof whole - 1; n++) {
        struct run run;
        decode(&run, bytes_of(whole, n));
        assert_int_equal(run.e, ERR_BAD);
        assert_string_equal(run.why.s, n < 2 ? "EOF" : "unexpected EOF");
        arena_fini(&run.arena);
    }
}

static void lack_of_memory_is_reported_wherever_it_strikes(void **state)
{
    (void)state;
    size_t failed = 0;

    for (size_t max = 16;; max += 16) {
        struct run run = {0};
        arena_init(&run.arena, max);
        run.e = json_decode(bytes_str(whole), &service_table, &run.s,
                            &run.arena, &run.why);
        arena_fini(&run.arena);
        if (run.e == ERR_OK)
            break;
        assert_int_equal(run.e, ERR_NOMEM);
        failed++;
    }
    assert_true(failed > 20);
}

static void a_list_of_objects_is_decoded(void **state)
{
    (void)state;
    struct errtext why = {0};
    struct json_list list;
    struct arena a;

    arena_init(&a, 0);
    assert_ok(json_decode_list(bytes_str("[{\"port\":1},{\"PORT\":2}]"),
                               &address_table, &list, &a, &why));
    assert_int_equal(list.n, 2);
    assert_int_equal(((const struct address *)list.v)[1].port, 2);
    assert_ok(
        json_decode_list(bytes_str("null"), &address_table, &list, &a, &why));
    assert_false(list.set);
    assert_int_equal(
        json_decode_list(bytes_str("{}"), &address_table, &list, &a, &why),
        ERR_BAD);
    assert_string_equal(
        why.s, "json: cannot unmarshal object into Go value of type []object");
    assert_int_equal(
        json_decode_list(bytes_str("[null]"), &address_table, &list, &a, &why),
        ERR_BAD);
    arena_fini(&a);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_kind_finds_its_place),
    cmocka_unit_test(null_leaves_a_member_unset),
    cmocka_unit_test(empty_is_not_null),
    cmocka_unit_test(durations_are_texts_or_numbers),
    cmocka_unit_test(free_names_differ_by_case_and_unknown_ones_may_repeat),
    cmocka_unit_test(the_same_name_may_stand_in_each_object_of_a_raw_value),
    cmocka_unit_test(strings_are_unescaped),
    cmocka_unit_test(no_beginning_of_a_body_is_a_body),
    cmocka_unit_test(lack_of_memory_is_reported_wherever_it_strikes),
    cmocka_unit_test(a_list_of_objects_is_decoded),
};

RUN_TESTS(tests)
