/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "config/json.h"

#include <stdio.h>

#include "test.h"

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

static struct config_value *must_read(const char *text)
{
    struct config_value *v = NULL;
    struct errtext t = {0};

    if (config_json_parse("x.json", bytes_str(text), &arena, &v, &t) != ERR_OK)
        fail_msg("%s: %s", text, t.s);
    return v;
}

static void refused_n(struct bytes text, enum err want, const char *message)
{
    struct config_value *v = NULL;
    struct errtext t = {0};

    assert_int_equal(config_json_parse("x.json", text, &arena, &v, &t), want);
    assert_string_equal(t.s, message);
    assert_null(v);
}

static void refused(const char *text, const char *message)
{
    refused_n(bytes_str(text), ERR_BAD, message);
}

static struct config_value *member(const struct config_value *v,
                                   const char *key)
{
    struct config_value *m = config_get(v, bytes_str(key));
    assert_non_null(m);
    return m;
}

static void prints(const char *text, const char *want)
{
    struct buf out = {0};

    config_value_to_json(&out, must_read(text));
    assert_bytes(buf_bytes(&out), want);
    buf_fini(&out);
}

static void every_kind_is_read(void **state)
{
    (void)state;
    struct config_value *v = must_read(
        " {\"n\": null, \"t\": true, \"f\": false, \"i\": -12,\r\n\t"
        "\"d\": 2.5, \"s\": \"text\", \"l\": [1, [], {}], \"o\": {\"k\": 1}} ");

    assert_int_equal(v->kind, CONFIG_OBJECT);
    assert_int_equal(v->items.n, 8);
    assert_int_equal(member(v, "n")->kind, CONFIG_NULL);
    assert_true(member(v, "t")->boolean);
    assert_false(member(v, "f")->boolean);
    assert_int_equal(member(v, "f")->kind, CONFIG_BOOL);
    assert_int_equal(member(v, "i")->number.i, -12);
    assert_true(member(v, "i")->number.whole);
    assert_true(member(v, "d")->number.d == 2.5);
    assert_false(member(v, "d")->number.whole);
    assert_bytes(member(v, "s")->string, "text");
    assert_int_equal(member(v, "l")->items.n, 3);
    assert_int_equal(member(member(v, "o"), "k")->number.i, 1);
    assert_null(config_get(v, bytes_str("x")));
    assert_null(config_get(member(v, "l"), bytes_str("x")));
}

static void values_know_where_they_stand(void **state)
{
    (void)state;
    struct config_value *v = must_read("{\n  \"a\": 1,\n\n\t\"b\" : [ 2 ]\n}");

    assert_string_equal(v->pos.file, "x.json");
    assert_int_equal(v->pos.line, 1);
    assert_int_equal(member(v, "a")->key_pos.line, 2);
    assert_int_equal(member(v, "a")->key_pos.column, 3);
    assert_int_equal(member(v, "a")->pos.column, 8);
    assert_int_equal(member(v, "b")->key_pos.line, 4);
    assert_int_equal(member(v, "b")->items.first->pos.line, 4);
    assert_int_equal(member(v, "b")->items.first->pos.column, 10);
}

static void strings_are_unescaped(void **state)
{
    (void)state;
    struct config_value *v = must_read(
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20ac\\ud83d\\ude00\"");
    assert_bytes(v->string, "\"\\/\b\f\n\r\tA\xc3\xa9\xe2\x82\xac"
                            "\xf0\x9f\x98\x80");
    assert_int_equal(v->string.p[v->string.n], '\0');
}

static void numbers_are_exact_or_refused(void **state)
{
    (void)state;
    assert_true(must_read("9223372036854775807")->number.i == INT64_MAX);
    assert_true(must_read("-9223372036854775808")->number.i == INT64_MIN);
    assert_int_equal(must_read("1e3")->number.i, 1000);
    assert_int_equal(must_read("2.0")->number.i, 2);
    assert_false(must_read("1e300")->number.whole);
    refused("9223372036854775808",
            "x.json:1:1: number \"9223372036854775808\" does not fit in 64 "
            "bits");
    refused("[1e999]", "x.json:1:2: number \"1e999\" does not fit in 64 bits");
    refused("[01]", "x.json:1:2: \"01\" is not a number");
    refused("[1.]", "x.json:1:2: \"1.\" is not a number");
    refused("[-]", "x.json:1:2: \"-\" is not a number");
    refused("[1e]", "x.json:1:2: \"1e\" is not a number");
    refused("[10s]", "x.json:1:2: \"10s\" is not a number");
}

static void duplicate_keys_are_refused_with_both_places(void **state)
{
    (void)state;
    refused("{\n \"port\": 1,\n  \"port\": 2\n}",
            "x.json:3:3: duplicate key \"port\" (first at line 2, column 2)");
    (void)must_read("{\"port\":1,\"Port\":2,\"a\":{\"port\":3}}");
}

static void duplicates_are_found_in_large_objects_too(void **state)
{
    (void)state;
    struct buf b = {0};
    char want[100];

    buf_puts(&b, "{");
    for (int i = 0; i < 20000; i++)
        buf_printf(&b, "\"k%d\":%d,\n", i, i);
    buf_puts(&b, "\"k777\":1}");
    (void)snprintf(want, sizeof want,
                   "x.json:20001:1: duplicate key \"k777\" (first at line 778, "
                   "column 1)");
    refused_n(buf_bytes(&b), ERR_BAD, want);
    buf_fini(&b);
}

static void what_is_not_json_is_refused_where_it_stands(void **state)
{
    (void)state;
    refused("", "x.json:1:1: expected a value, but the text ends");
    refused("{", "x.json:1:2: expected a key in quotes, but the text ends");
    refused("{\"a\"", "x.json:1:5: expected ':' after the key, but the text "
                      "ends");
    refused("{\"a\" 1}", "x.json:1:6: expected ':' after the key, found \"1\"");
    refused("{\"a\":}", "x.json:1:6: expected a value, found \"}\"");
    refused("{\"a\":1 \"b\":2}", "x.json:1:8: expected ',' or '}', found "
                                 "\"\"\"");
    refused("{\"a\":1,}", "x.json:1:8: expected another item after ',', found "
                          "\"}\"");
    refused("[1,]", "x.json:1:4: expected another item after ',', found \"]\"");
    refused("[1 2]", "x.json:1:4: expected ',' or ']', found \"2\"");
    refused("{a:1}", "x.json:1:2: expected a key in quotes, found \"a\"");
    refused("[tru]", "x.json:1:2: expected a value, found \"tru\"");
    refused("{} x", "x.json:1:4: expected the end of the text, found \"x\"");
    refused("{}{}", "x.json:1:3: expected the end of the text, found \"{\"");
    refused("[\"a", "x.json:1:2: this string has no closing quote");
    refused("[\"a\nb\"]",
            "x.json:1:4: control byte 0x0a in a string; write \\u000a");
    refused("[\"\\x\"]", "x.json:1:3: unknown escape; JSON has \\\" \\\\ \\/ "
                         "\\b \\f \\n \\r \\t \\uXXXX");
    refused("[\"\\u12g4\"]", "x.json:1:7: expected a hexadecimal digit, found "
                             "\"g4\"");
}

static void comments_are_refused_with_the_way_out(void **state)
{
    (void)state;
    refused("{\n// no\n}", "x.json:2:1: JSON has no comments; name the file "
                           ".hcl to use them");
    refused("# no\n{}", "x.json:1:1: JSON has no comments; name the file .hcl "
                        "to use them");
    refused("{} /* no */", "x.json:1:4: JSON has no comments; name the file "
                           ".hcl to use them");
}

static void only_utf8_without_nul_is_text(void **state)
{
    (void)state;
    refused("{\n\"\xc3\xa9\": \"a\xff\"}",
            "x.json:2:9: byte 0xff is not UTF-8; save the file as UTF-8");
    refused("\xef\xbb\xbf{}",
            "x.json:1:1: byte order mark; save the file as UTF-8 without it");
    refused("[\"\\ud800\"]", "x.json:1:3: half of a surrogate pair");
    refused("[\"\\udc00\\ud800\"]", "x.json:1:3: half of a surrogate pair");
    refused("[\"\\ud800\\u0041\"]", "x.json:1:3: half of a surrogate pair");
    refused("[\"\\u0000\"]", "x.json:1:3: NUL is not allowed in a string");
    refused_n(bytes_of("[1,\n\0]", 6), ERR_BAD,
              "x.json:2:1: NUL byte; this is no text");
}

static void every_truncation_of_a_text_is_refused(void **state)
{
    (void)state;
    const char *text = "{\"a\":[1.5e3,true,null,{\"b\":\"\\u00e9\\n\"}]}";

    for (size_t n = 0; n < strlen(text); n++) {
        struct config_value *v = NULL;
        assert_int_equal(
            config_json_parse("x", bytes_of(text, n), &arena, &v, NULL),
            ERR_BAD);
    }
    (void)must_read(text);
}

static void depth_values_and_bytes_have_limits(void **state)
{
    (void)state;
    struct buf b = {0};

    for (int i = 0; i < CONFIG_DEPTH_MAX; i++)
        buf_putc(&b, '[');
    for (int i = 0; i < CONFIG_DEPTH_MAX; i++)
        buf_putc(&b, ']');
    buf_putc(&b, '\0');
    (void)must_read(b.p);

    buf_reset(&b);
    for (int i = 0; i < 100000; i++)
        buf_putc(&b, '[');
    refused_n(buf_bytes(&b), ERR_LIMIT,
              "x.json:1:65: more than 64 objects and lists inside each other");

    buf_reset(&b);
    buf_putc(&b, '[');
    for (int i = 0; i < CONFIG_VALUES_MAX; i++)
        buf_puts(&b, "1,\n");
    buf_puts(&b, "1]");
    refused_n(buf_bytes(&b), ERR_LIMIT,
              "x.json:50000:1: more than 50000 values; split the file");

    buf_reset(&b);
    for (int i = 0; i <= CONFIG_FILE_BYTES_MAX; i++)
        buf_putc(&b, ' ');
    refused_n(buf_bytes(&b), ERR_LIMIT,
              "x.json: 1048577 bytes, but a file may have 1048576; split it in "
              "several");
    buf_fini(&b);
}

static void lack_of_memory_is_an_error(void **state)
{
    (void)state;
    const char *text = "{\"a\":[\"x\",1,{\"b\":true}]}";
    bool read = false;

    for (size_t limit = 1; limit < 4096 && !read; limit += 8) {
        struct config_value *v = NULL;
        struct arena small;
        arena_init(&small, limit);
        enum err e = config_json_parse("x", bytes_str(text), &small, &v, NULL);
        assert_true(e == ERR_OK || e == ERR_NOMEM);
        read = e == ERR_OK;
        arena_fini(&small);
    }
    assert_true(read);
}

static void printing_gives_the_same_value(void **state)
{
    (void)state;
    prints(" { \"a\" : [ 1 , -2.50 , \"\\u00e9\\u0007\\\"\\\\\" ] , \"\" : null"
           " , \"b\" : { \"c\" : [ true , false ] } } ",
           "{\"a\":[1,-2.50,\"\xc3\xa9\\u0007\\\"\\\\\"],\"\":null,"
           "\"b\":{\"c\":[true,false]}}");
    assert_true(config_equal(must_read("{\"a\":[1,\"x\"]}"),
                             must_read("{ \"a\": [1, \"\\u0078\"] }")));
    assert_false(config_equal(must_read("[1,2]"), must_read("[1]")));
    assert_false(config_equal(must_read("[1]"), must_read("[true]")));
    assert_false(config_equal(must_read("{\"a\":1}"), must_read("{\"b\":1}")));
}

static void long_file_names_leave_room_for_the_message(void **state)
{
    (void)state;
    struct config_value *v = NULL;
    struct errtext t = {0};
    const char *file = "/a/very/long/path/that/nobody/would/type/but/some/"
                       "program/makes/web.json";

    assert_int_equal(config_json_parse(file, bytes_str("[x]"), &arena, &v, &t),
                     ERR_BAD);
    assert_string_equal(t.s, "...th/that/nobody/would/type/but/some/program/"
                             "makes/web.json:1:2: expected a value, found "
                             "\"x\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_is_read),
        cmocka_unit_test(values_know_where_they_stand),
        cmocka_unit_test(strings_are_unescaped),
        cmocka_unit_test(numbers_are_exact_or_refused),
        cmocka_unit_test(duplicate_keys_are_refused_with_both_places),
        cmocka_unit_test(duplicates_are_found_in_large_objects_too),
        cmocka_unit_test(what_is_not_json_is_refused_where_it_stands),
        cmocka_unit_test(comments_are_refused_with_the_way_out),
        cmocka_unit_test(only_utf8_without_nul_is_text),
        cmocka_unit_test(every_truncation_of_a_text_is_refused),
        cmocka_unit_test(depth_values_and_bytes_have_limits),
        cmocka_unit_test(lack_of_memory_is_an_error),
        cmocka_unit_test(printing_gives_the_same_value),
        cmocka_unit_test(long_file_names_leave_room_for_the_message),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
