/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "config/hcl.h"

#include "test.h"

#include "config/json.h"
#include "config/text.h"

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

    if (config_hcl_parse("x.hcl", bytes_str(text), &arena, &v, &t) != ERR_OK)
        fail_msg("%s: %s", text, t.s);
    return v;
}

/* text says the same as this JSON. */
static void means(const char *text, const char *json)
{
    struct buf out = {0};

    config_value_to_json(&out, must_read(text));
    assert_bytes(buf_bytes(&out), json);
    buf_fini(&out);
}

static void refused(const char *text, const char *message)
{
    struct config_value *v = NULL;
    struct errtext t = {0};

    assert_int_equal(config_hcl_parse("x.hcl", bytes_str(text), &arena, &v, &t),
                     ERR_BAD);
    assert_string_equal(t.s, message);
}

static void keys_have_values(void **state)
{
    (void)state;
    means("a = 1", "{\"a\":1}");
    means("a=1 b=2, c=3\nd\n=\n4", "{\"a\":1,\"b\":2,\"c\":3,\"d\":4}");
    means("\"quoted key\" = \"v\"", "{\"quoted key\":\"v\"}");
    means("with-dash.and_dot9 = true", "{\"with-dash.and_dot9\":true}");
    means("\xc3\xa9t\xc3\xa9 = false", "{\"\xc3\xa9t\xc3\xa9\":false}");
    means("a = { b = { c = 1 } }", "{\"a\":{\"b\":{\"c\":1}}}");
}

static void no_text_is_an_empty_object(void **state)
{
    (void)state;
    means("", "{}");
    means(" \n\t\r\n", "{}");
    means("# only a comment", "{}");
}

static void blocks_are_objects(void **state)
{
    (void)state;
    means("ports { http = 8500 }", "{\"ports\":{\"http\":8500}}");
    means("ports\n{\n http = 1\n dns = 2\n}",
          "{\"ports\":{\"http\":1,\"dns\":2}}");
    means("a { b { } }", "{\"a\":{\"b\":{}}}");
    means("a \"l\" { x = 1 }", "{\"a\":{\"l\":{\"x\":1}}}");
    means("a l \"m\" { x = 1 }", "{\"a\":{\"l\":{\"m\":{\"x\":1}}}}");
}

static void repeated_blocks_are_lists(void **state)
{
    (void)state;
    means("s { a = 1 } t = 1 s { a = 2 } s { }",
          "{\"s\":[{\"a\":1},{\"a\":2},{}],\"t\":1}");
    means("s \"x\" { a = 1 }\ns \"y\" { a = 2 }",
          "{\"s\":[{\"x\":{\"a\":1}},{\"y\":{\"a\":2}}]}");
    means("s = { a = 1 }\ns = { a = 2 }", "{\"s\":[{\"a\":1},{\"a\":2}]}");
    means("o { i { } i { } }", "{\"o\":{\"i\":[{},{}]}}");

    struct config_value *v = must_read("s { a = 1 }\ns { a = 2 }");
    const struct config_value *s = v->items.first;
    assert_true(s->repeated);
    assert_int_equal(s->items.first->pos.line, 1);
    assert_int_equal(s->items.last->pos.line, 2);
    assert_false(must_read("s = [{}, {}]")->items.first->repeated);
}

static void many_members_survive_becoming_a_list(void **state)
{
    (void)state;
    struct buf b = {0};

    buf_puts(&b, "s {");
    for (int i = 0; i < 100; i++)
        buf_printf(&b, " k%d = %d\n", i, i);
    buf_puts(&b, "}\ns { z = 1 }");
    buf_putc(&b, '\0');
    const struct config_value *first = must_read(b.p)->items.first->items.first;
    assert_int_equal(first->items.n, 100);
    assert_int_equal(config_get(first, bytes_str("k77"))->number.i, 77);
    assert_null(config_get(first, bytes_str("z")));
    buf_fini(&b);
}

static void a_key_set_twice_is_refused(void **state)
{
    (void)state;
    refused("a = 1\n  a = 2", "x.hcl:2:3: duplicate key \"a\" (first at line "
                              "1, column 1)");
    refused("a { }\na = 2",
            "x.hcl:2:1: duplicate key \"a\" (first at line 1, column 1)");
    refused("a = 1\na { }",
            "x.hcl:2:1: duplicate key \"a\" (first at line 1, column 1)");
    refused("a = [{}]\na { }",
            "x.hcl:2:1: duplicate key \"a\" (first at line 1, column 1)");
    refused("a { }\na { }\na = 1",
            "x.hcl:3:1: duplicate key \"a\" (first at line 1, column 1)");
}

static void comments_stand_anywhere(void **state)
{
    (void)state;
    means("# one\na = 1 // two\n/* three\n * lines */ b /**/ = /* x */ 2 # end",
          "{\"a\":1,\"b\":2}");
    means("a = [ 1, # one\n // two\n 2 /* three */ ]", "{\"a\":[1,2]}");
    refused("a = 1\n /* open", "x.hcl:2:2: this comment has no closing */");
    refused("a = 1 /b", "x.hcl:1:7: expected a key, found \"/\"");
}

static void lists_may_end_in_a_comma(void **state)
{
    (void)state;
    means("a = []", "{\"a\":[]}");
    means("a = [1, \"b\", true, [2], {c = 3},]",
          "{\"a\":[1,\"b\",true,[2],{\"c\":3}]}");
    refused("a = [1 2]", "x.hcl:1:8: expected ',' or ']', found \"2\"");
    refused("a = [,]",
            "x.hcl:1:6: expected a value (strings need quotes), found \",\"");
    refused("a = [1,\n", "x.hcl:1:5: this [ has no closing ]");
}

static void numbers_have_bases(void **state)
{
    (void)state;
    means("a = 0 b = -1 c = 1.5 d = -2e3 e = 0x1F f = 017 g = -0x10 h = 00",
          "{\"a\":0,\"b\":-1,\"c\":1.5,\"d\":-2e3,\"e\":31,\"f\":15,\"g\":-16,"
          "\"h\":0}");
    means("a = 0x7fffffffffffffff b = -0x8000000000000000",
          "{\"a\":9223372036854775807,\"b\":-9223372036854775808}");
    refused("a = 0x8000000000000000",
            "x.hcl:1:5: \"0x8000000000000000\" is not a number of 64 bits");
    refused("a = 08", "x.hcl:1:5: \"08\" is not a number of 64 bits");
    refused("a = 0x", "x.hcl:1:5: \"0x\" is not a number of 64 bits");
    refused("a = 10s", "x.hcl:1:5: \"10s\" is not a number");
    refused("a = 9223372036854775808",
            "x.hcl:1:5: number \"9223372036854775808\" does not fit in 64 "
            "bits");
}

static void strings_have_gos_escapes(void **state)
{
    (void)state;
    assert_bytes(must_read("a = \"\\a\\b\\f\\n\\r\\t\\v\\\\\\\"\\101\\x42"
                           "\\u00e9\\U0001F600\"")
                     ->items.first->string,
                 "\a\b\f\n\r\t\v\\\"AB\xc3\xa9\xf0\x9f\x98\x80");
    assert_bytes(must_read("a = \"\\xc3\\xa9\"")->items.first->string,
                 "\xc3\xa9");
    refused("a = \"\\xff\"",
            "x.hcl:1:5: the escapes in this string give no UTF-8");
    refused("a = \"\\x00\"", "x.hcl:1:6: \\x00 is not allowed in a string");
    refused("a = \"\\u0000\"", "x.hcl:1:6: \\u0000 is not allowed in a string");
    refused("a = \"\\ud800\"", "x.hcl:1:6: \\ud800 is not allowed in a string");
    refused("a = \"\\777\"", "x.hcl:1:6: \\777 is not allowed in a string");
    refused("a = \"\\19\"", "x.hcl:1:8: expected three octal digits, found "
                            "\"9\"");
    refused("a = \"C:\\dir\"",
            "x.hcl:1:8: unknown escape; write \\\\ for a backslash");
    refused("a = \"no end\nb = 1",
            "x.hcl:1:5: this string has no closing quote on its line; use "
            "<<EOF for several lines");
}

static void interpolations_are_kept_as_they_stand(void **state)
{
    (void)state;
    assert_bytes(
        must_read("a = \"x${f(\"a\\n\", {b = \"}\"})}y\"")->items.first->string,
        "x${f(\"a\\n\", {b = \"}\"})}y");
    assert_bytes(must_read("a = \"${\n}\"")->items.first->string, "${\n}");
    assert_bytes(must_read("a = \"$x {} $\"")->items.first->string, "$x {} $");
    refused("a = \"x${ {} \"", "x.hcl:1:7: this ${ has no closing }");
}

static void heredocs_are_lines_as_they_stand(void **state)
{
    (void)state;
    means("a = <<EOF\none \"x\" \\n ${y}\n  two\nEOF\nb = 1",
          "{\"a\":\"one \\\"x\\\" \\\\n ${y}\\u000a  two\\u000a\",\"b\":1}");
    means("a = <<EOF\nEOF", "{\"a\":\"\"}");
    means("a = <<EOF\n EOFX\n  EOF\nb = 1", "{\"a\":\" EOFX\\u000a\",\"b\":1}");
    means("a = [<<A\nx\nA\n, <<B\ny\nB\n]",
          "{\"a\":[\"x\\u000a\",\"y\\u000a\"]}");
    means("a = <<EOF\r\nx\r\nEOF\r\nb = 1",
          "{\"a\":\"x\\u000d\\u000a\",\"b\":1}");
    struct config_value *v = must_read("a = <<EOF\n1\n2\nEOF\nb = 1");
    assert_int_equal(v->items.last->pos.line, 5);
}

static void dash_heredocs_lose_their_indentation(void **state)
{
    (void)state;
    means("a = <<-EOF\n    one\n      two\n    EOF\n",
          "{\"a\":\"one\\u000a  two\\u000a\"}");
    means("a = <<-EOF\n    one\n  two\n    EOF\n",
          "{\"a\":\"    one\\u000a  two\\u000a\"}");
    means("a = <<-EOF\n  one\nEOF\n", "{\"a\":\"  one\\u000a\"}");
}

static void heredocs_need_their_end(void **state)
{
    (void)state;
    refused("a = <<EOF\nb\n", "x.hcl:1:5: no line with the end mark \"EOF\" "
                              "follows");
    refused("a = <<EOF", "x.hcl:1:10: expected an end mark alone after <<, as "
                         "in <<EOF, but the text ends");
    refused("a = << EOF\nEOF",
            "x.hcl:1:7: expected an end mark alone after <<, as in <<EOF, "
            "found \" \"");
    refused("a = <<EOF x\nEOF",
            "x.hcl:1:10: expected an end mark alone after <<, as in <<EOF, "
            "found \" \"");
}

static void what_is_not_hcl_is_refused_where_it_stands(void **state)
{
    (void)state;
    refused("a", "x.hcl:1:2: expected '=' or '{' after the key, but the text "
                 "ends");
    refused("a =", "x.hcl:1:4: expected a value (strings need quotes), but the "
                   "text ends");
    refused("a = yes", "x.hcl:1:5: expected a value (strings need quotes), "
                       "found \"yes\"");
    refused("a = null", "x.hcl:1:5: expected a value (strings need quotes), "
                        "found \"null\"");
    refused("server\ndata_dir = \"/x\"",
            "x.hcl:2:1: \"data_dir\" follows a key that has no value; a key "
            "needs = and a value, a block {");
    refused("a \"b\" 1", "x.hcl:1:7: expected '{' after the label, found "
                         "\"1\"");
    refused("a {\n b = 1\n", "x.hcl:1:3: this { has no closing }");
    refused("a = 1 }", "x.hcl:1:7: expected a key, found \"}\"");
    refused("a = 1,, b = 2", "x.hcl:1:7: expected a key, found \",\"");
    refused("1 = 2", "x.hcl:1:1: expected a key, found \"1\"");
    refused("a: 1", "x.hcl:1:2: expected '=' or '{' after the key, found "
                    "\":\"");
}

static void a_text_that_begins_with_a_brace_is_json(void **state)
{
    (void)state;
    means(" \n{\"a\": null}", "{\"a\":null}");
    refused("{ a = 1 }", "x.hcl:1:3: expected a key in quotes, found \"a\"");
}

static void nesting_is_limited(void **state)
{
    (void)state;
    struct config_value *v = NULL;
    struct errtext t = {0};
    struct buf b = {0};

    for (int i = 0; i < 10000; i++)
        buf_puts(&b, "a ");
    buf_putc(&b, '{');
    assert_int_equal(config_hcl_parse("x.hcl", buf_bytes(&b), &arena, &v, &t),
                     ERR_LIMIT);
    buf_reset(&b);
    for (int i = 0; i < 10000; i++)
        buf_puts(&b, "a {");
    assert_int_equal(config_hcl_parse("x.hcl", buf_bytes(&b), &arena, &v, &t),
                     ERR_LIMIT);
    assert_string_equal(t.s, "x.hcl:1:96: more than 64 objects and lists "
                             "inside each other");
    buf_reset(&b);
    for (int i = 0; i < 31; i++)
        buf_puts(&b, "a {");
    for (int i = 0; i < 31; i++)
        buf_puts(&b, "}");
    assert_int_equal(config_hcl_parse("x.hcl", buf_bytes(&b), &arena, &v, &t),
                     ERR_OK);
    buf_fini(&b);
}

static void the_name_tells_the_language(void **state)
{
    (void)state;
    enum config_format f = CONFIG_FORMAT_NONE;

    assert_int_equal(config_format_of("/etc/x/a.json"), CONFIG_FORMAT_JSON);
    assert_int_equal(config_format_of("a.HCL"), CONFIG_FORMAT_HCL);
    assert_int_equal(config_format_of("a.json.bak"), CONFIG_FORMAT_NONE);
    assert_int_equal(config_format_of("json"), CONFIG_FORMAT_NONE);
    assert_int_equal(config_format_of(""), CONFIG_FORMAT_NONE);
    assert_ok(config_format_parse(bytes_str("json"), &f));
    assert_int_equal(f, CONFIG_FORMAT_JSON);
    assert_ok(config_format_parse(bytes_str("hcl"), &f));
    assert_int_equal(f, CONFIG_FORMAT_HCL);
    assert_int_equal(config_format_parse(bytes_str("yaml"), &f), ERR_BAD);
}

static void a_file_says_one_object(void **state)
{
    (void)state;
    struct config_value *v = NULL;
    struct errtext t = {0};

    assert_ok(config_text_parse(CONFIG_FORMAT_JSON, "x.json", bytes_str(""),
                                &arena, &v, &t));
    assert_int_equal(v->kind, CONFIG_OBJECT);
    assert_int_equal(v->items.n, 0);
    assert_ok(config_text_parse(CONFIG_FORMAT_JSON, "x.json", bytes_str("\n"),
                                &arena, &v, &t));
    assert_ok(config_text_parse(CONFIG_FORMAT_HCL, "x.hcl", bytes_str(""),
                                &arena, &v, &t));
    assert_int_equal(config_text_parse(CONFIG_FORMAT_JSON, "x.json",
                                       bytes_str(" [1]"), &arena, &v, &t),
                     ERR_BAD);
    assert_string_equal(t.s,
                        "x.json:1:2: a configuration is an object, not a list");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_have_values),
        cmocka_unit_test(no_text_is_an_empty_object),
        cmocka_unit_test(blocks_are_objects),
        cmocka_unit_test(repeated_blocks_are_lists),
        cmocka_unit_test(many_members_survive_becoming_a_list),
        cmocka_unit_test(a_key_set_twice_is_refused),
        cmocka_unit_test(comments_stand_anywhere),
        cmocka_unit_test(lists_may_end_in_a_comma),
        cmocka_unit_test(numbers_have_bases),
        cmocka_unit_test(strings_have_gos_escapes),
        cmocka_unit_test(interpolations_are_kept_as_they_stand),
        cmocka_unit_test(heredocs_are_lines_as_they_stand),
        cmocka_unit_test(dash_heredocs_lose_their_indentation),
        cmocka_unit_test(heredocs_need_their_end),
        cmocka_unit_test(what_is_not_hcl_is_refused_where_it_stands),
        cmocka_unit_test(a_text_that_begins_with_a_brace_is_json),
        cmocka_unit_test(nesting_is_limited),
        cmocka_unit_test(the_name_tells_the_language),
        cmocka_unit_test(a_file_says_one_object),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
