/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <stdio.h>

#include "api/filter.h"
#include "base/re2.h"

/* One instance with everything, made of packed data as a record has it. */
struct world {
    struct arena arena;
    struct buf tags, meta, node_meta, tagged;
    struct filter_row row;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    arena_init(&w->arena, 0);
    packed_put(&w->tags, bytes_str("primary"));
    packed_put(&w->tags, bytes_str("v1"));
    packed_put_pair(&w->meta, bytes_str("empty"), bytes_str(""));
    packed_put_pair(&w->meta, bytes_str("version"), bytes_str("1"));
    packed_put_pair(&w->node_meta, bytes_str("a.b"), bytes_str("dot"));
    packed_put_pair(&w->node_meta, bytes_str("rack"), bytes_str("r1"));
    packed_put_tagged(&w->tagged, bytes_str("lan"), bytes_str("10.0.0.9"), 81);
    w->row = (struct filter_row){
        .datacenter = bytes_str("dc1"),
        .node = {.name = bytes_str("n1"),
                 .address = bytes_str("10.0.0.1"),
                 .meta = {buf_bytes(&w->node_meta), 2}},
        .service = {.id = bytes_str("web-1"),
                    .name = bytes_str("web"),
                    .tags = {buf_bytes(&w->tags), 2},
                    .meta = {buf_bytes(&w->meta), 2},
                    .tagged = {buf_bytes(&w->tagged), 1},
                    .port = 80,
                    .weight_passing = 3,
                    .enable_tag_override = true},
    };
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    arena_fini(&w->arena);
    buf_fini(&w->tags);
    buf_fini(&w->meta);
    buf_fini(&w->node_meta);
    buf_fini(&w->tagged);
    free(w);
    return 0;
}

static struct filter *parse(struct world *w, const char *text)
{
    struct filter *f = NULL;
    struct errtext t = {0};
    if (filter_parse(bytes_str(text), FILTER_SERVICE_NODES, &w->arena, &f,
                     &t) != ERR_OK)
        fail_msg("%s: %s", text, t.s);
    return f;
}

static void holds(struct world *w, const char *text, bool want)
{
    if (filter_match(parse(w, text), &w->row) != want)
        fail_msg("%s: not %s", text, want ? "true" : "false");
}

static void refused(struct world *w, const char *text, const char *why)
{
    struct filter *f = NULL;
    struct errtext t = {0};
    enum err e =
        filter_parse(bytes_str(text), FILTER_SERVICE_NODES, &w->arena, &f, &t);
    if (e != ERR_BAD && e != ERR_LIMIT)
        fail_msg("%s: %s", text, err_text(e));
    if (strcmp(t.s, why) != 0)
        fail_msg("%s: said %s, not %s", text, t.s, why);
}

static const char *repeated(struct world *w, const char *what, int n,
                            const char *end)
{
    size_t one = strlen(what);
    char *text = arena_alloc(&w->arena, one * (size_t)n + strlen(end) + 1);
    for (int i = 0; i < n; i++)
        memcpy(text + one * (size_t)i, what, one);
    strcpy(text + one * (size_t)n, end);
    return text;
}

/* --- What an expression means --------------------------------------------- */

static void every_operator_says_yes_and_no(void **state)
{
    static const struct {
        const char *text;
        bool want;
    } rows[] = {
        {"Node == n1", true},
        {"Node==n2", false},
        {"Node != n1", false},
        {"Node contains n", true},
        {"x in Node", false},
        {"Node not contains x", true},
        {"Node matches `^n[0-9]$`", true},
        {"Node not matches `^n[0-9]$`", false},
        {"v1 in ServiceTags", true},
        {"v not in ServiceTags", true},
        {"ServiceTags contains primary", true},
        {"ServiceTags is empty", false},
        {"ServiceTags is not empty", true},
        {"version in ServiceMeta", true},
        {"ServiceMeta contains nope", false},
        {"ServiceMeta.version == 1", true},
        {"ServiceMeta[\"version\"] != `1`", false},
        {"ServiceMeta.empty == \"\"", true},
        {"NodeMeta[\"a.b\"] == dot", true},
        {"ServicePort == 80", true},
        {"ServicePort == \"0x50\"", true},
        {"ServicePort != -80", true},
        {"ServiceEnableTagOverride == T", true},
        {"ServiceWeights.Passing == 3", true},
        {"lan in ServiceTaggedAddresses", true},
        {"ServiceTaggedAddresses.lan.Address == `10.0.0.9`", true},
        {"ServiceTaggedAddresses.lan.Port != 81", false},
        {"Datacenter == dc1", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        holds(*state, rows[i].text, rows[i].want);
}

static void a_key_that_is_not_there_differs_from_everything(void **state)
{
    holds(*state, "ServiceMeta.nope == \"\"", false);
    holds(*state, "ServiceMeta.nope != \"\"", true);
    holds(*state, "a in ServiceMeta.nope", false);
    holds(*state, "a not in ServiceMeta.nope", true);
    holds(*state, "ServiceMeta.nope not matches a", true);
    holds(*state, "ServiceMeta.nope matches a", true); /* as in Consul */
    holds(*state, "ServiceTaggedAddresses.nope.Port == 0", false);
    holds(*state, "ServiceTaggedAddresses.nope.Port != 0", true);
}

static void not_binds_before_and_before_or(void **state)
{
    holds(*state, "Node == n1 or Node == x and Node == y", true);
    holds(*state, "(Node == n1 or Node == x) and Node == y", false);
    holds(*state, "not Node == x and Node == n1", true);
    holds(*state, "not (Node == n1 and Node == n1)", false);
    holds(*state, "not not Node == n1", true);
    holds(*state, "Node == x or Node == y or Node == n1", true);
    holds(*state, "Node == n1 and Node == n1 and Node == x", false);
}

static void keywords_are_words_where_a_word_is_wanted(void **state)
{
    holds(*state, "Node == and", false);
    holds(*state, "not in NodeMeta", false);
    holds(*state, "not not in NodeMeta", true);
    holds(*state, "or in NodeMeta or Node == n1", true);
}

/* --- The canonical form --------------------------------------------------- */

static void an_expression_prints_back_and_reads_the_same(void **state)
{
    static const char *const rows[][2] = {
        {" Node==n1 ", "Node == \"n1\""},
        {"ServiceTags contains v1", "\"v1\" in ServiceTags"},
        {"ServiceMeta[\"a b\"] != `\"`", "ServiceMeta[\"a b\"] != \"\\x22\""},
        {"ServiceMeta[\"ab\"] == `\\`", "ServiceMeta.ab == \"\\\\\""},
        {"not not not Node == x", "not Node == \"x\""},
        {"not (Node == a or Node == b)",
         "not (Node == \"a\" or Node == \"b\")"},
        {"(Node == a and Node == b) or Node == c",
         "Node == \"a\" and Node == \"b\" or Node == \"c\""},
        {"Node == c and (Node == a or Node == b)",
         "Node == \"c\" and (Node == \"a\" or Node == \"b\")"},
        {"ServiceTags is  not\tempty", "ServiceTags is not empty"},
        {"Node not matches a.b", "Node not matches \"a.b\""},
    };
    struct world *w = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf first = {0}, second = {0};
        filter_print(parse(w, rows[i][0]), &first);
        assert_bytes(buf_bytes(&first), rows[i][1]);
        filter_print(parse(w, rows[i][1]), &second);
        assert_bytes(buf_bytes(&second), rows[i][1]);
        buf_fini(&first);
        buf_fini(&second);
    }
}

/* --- Regular expressions ---------------------------------------------------- */

static void matches(struct world *w, const char *pattern, const char *text,
                    bool want)
{
    w->row.node.name = bytes_str(text);
    char *e = arena_printf(&w->arena, "Node matches `%s`", pattern);
    holds(w, e, want);
}

static void patterns_mean_what_re2_takes_them_to_mean(void **state)
{
    static const struct {
        const char *pattern, *text;
        bool want;
    } rows[] = {
        {"", "", true},
        {"b", "abc", true},
        {"^b", "abc", false},
        {"^abc$", "abc\n", false}, /* the end is the end */
        {"(?m)^b$", "a\nb\n", true},
        {"(?m)^$", "a\n", true},
        {"((?m)b$|a$)", "a\nb\n", true},
        {"((?m)b)$", "a\nb\n", false},
        {"(?m:(?-m:b$))", "b\n", false},
        {"a$", "a\n", false},
        {"a.c", "a\nc", false},
        {"(?s)a.c", "a\nc", true},
        {"\\v", "\v", true},
        {"\\v", "\n", false},
        {"\\s", "\v", false},
        {"[\\S]", "\v", true},
        {"^[\\S]+$", "a b", false},
        {"[\\s]", "a\tb", true},
        {"^[a-b-c]+$", "a-c", true},
        {"^[\\d-z]+$", "3-z", true},
        {"^[]a]+$", "]a", true},
        {"[[:^alpha:]]", "ab", false},
        {"^\\Qa.b\\E$", "a.b", true},
        {"^\\Qa.b\\E*$", "a.bbb", true},
        {"^a{,2}$", "a{,2}", true},
        {"^a{01}$", "a{01}", true},
        {"^a{2,3}?$", "aaa", true},
        {"^(?P<x>a|b)+$", "abab", true},
        {"^.$", "\xc3\xa9", true},
        {"(?i)\xc3\x89", "\xc3\xa9", true},
        {"\\pL", "1", false},
        {"\\x{e9}\\141",
         "\xc3\xa9"
         "a",
         true},
        {"^(?:a|)*$", "aaa", true},
        {"a", "a\xff", false}, /* no text */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        matches(*state, rows[i].pattern, rows[i].text, rows[i].want);
}

static void patterns_that_re2_does_not_know_are_refused(void **state)
{
    static const char *const patterns[] = {
        "a++",     "a**",     "*a",      "(*ACCEPT)a", "a(?=b)",
        "(?<!a)b", "(?>a)",   "(?#c)",   "(?x)a",      "\\1",
        "(a)\\1",  "\\h",     "\\R",     "\\K",        "\\Z",
        "\\cA",    "\\e",     "\\ps",    "\\p{",       "\\x{110000}",
        "[a",      "[b-a]",   "[[:x:]]", "(a",         "a)",
        "a{2,1}",  "a{1001}", "\\",      "(?P<a-b>c)", "(?-)",
        "[\\b]",   "[a-\\d]", "(?i)*",   "(?R)",       "\\C",
    };
    struct world *w = *state;
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        struct filter *f = NULL;
        struct errtext t = {0};
        char *e = arena_printf(&w->arena, "Node matches `%s`", patterns[i]);
        if (filter_parse(bytes_str(e), FILTER_NODES, &w->arena, &f, &t) !=
            ERR_BAD)
            fail_msg("%s: not refused", patterns[i]);
        if (strncmp(t.s, "Failed to compile regular expression ", 37) != 0)
            fail_msg("%s: said %s", patterns[i], t.s);
    }
}

static void a_search_takes_a_bounded_number_of_steps(void **state)
{
    struct world *w = *state;
    const char *text = repeated(w, "a", 4000, "");
    matches(w, "(a*)*[bc]", text, false);
    matches(w, "(a|aa)+[bc]", text, false);
    struct filter *f = parse(w, "Node matches `(a+a+)+[bc]` or Node == x");
    assert_false(filter_match(f, &w->row));
    assert_bytes(filter_overrun(f), "(a+a+)+[bc]");
    w->row.node.name = bytes_str("aab");
    f = parse(w, "Node matches `(a+a+)+[bc]`");
    assert_true(filter_match(f, &w->row));
    assert_int_equal(filter_overrun(f).n, 0);
    refused(w, "Node matches `((a{1000}){1000}){1000}`",
            "Failed to compile regular expression "
            "\"((a{1000}){1000}){1000}\": regular expression is too large");
    const char *body = repeated(w, "a", RE2_BYTES_MAX + 1, "");
    struct errtext t = {0};
    char *e = arena_printf(&w->arena, "Node matches %s", body);
    assert_int_equal(
        filter_parse(bytes_str(e), FILTER_NODES, &w->arena, &f, &t), ERR_LIMIT);
    assert_non_null(strstr(t.s, "513 bytes are more than 512") ? t.s : NULL);
}

/* --- What is refused, in Consul's words ------------------------------------ */

static void errors_name_the_column_and_what_was_expected(void **state)
{
    static const char *const rows[][2] = {
        {"Node", "1:5 (4): no match found, expected: \"!=\", \".\", \"==\", "
                 "\"[\", [ \\t\\r\\n] or [a-zA-Z0-9_]"},
        {"Node = n1", "1:6 (5): no match found, expected: \"!=\", \"==\", "
                      "\"contains\", \"in\", \"is\", \"matches\", \"not\" or "
                      "[ \\t\\r\\n]"},
        {"Node == n1 x", "1:12 (11): no match found, expected: \"and\", "
                         "\"or\", [ \\t\\r\\n] or EOF"},
        {"Node == \"\xc3\xa9\" x", "1:13 (13): no match found, expected: "
                                   "\"and\", \"or\", [ \\t\\r\\n] or EOF"},
        {"Node == n1\nand Node ~ x",
         "2:10 (20): no match found, expected: \"!=\", \"==\", \"contains\", "
         "\"in\", \"is\", \"matches\", \"not\" or [ \\t\\r\\n]"},
        {"   ", "1:4 (3): no match found, expected: \"(\", \"-\", \"0\", "
                "\"\\\"\", \"`\", \"not\", [ \\t\\r\\n], [1-9] or [a-zA-Z]"},
        {"Node == \"n1",
         "1:12 (11): rule \"string\": Unterminated string literal"},
        {"Node == \"\\q\"", "1:9 (8): rule \"string\": invalid syntax"},
        {"Node == 1.1.1.1",
         "1:12 (11): rule \"number\": Invalid number literal"},
        {"(Node == n1", "1:12 (11): rule \"grouping\": Unmatched parentheses"},
        {"NodeMeta[x] == 1", "1:10 (9): rule \"index\": Invalid index"},
        {"NodeMeta[\"x\" == 1",
         "1:14 (13): rule \"index\": Unclosed index expression"},
        {"v1 in \"x\"", "1:7 (6): rule \"match\": Invalid selector"},
        {"Nope.a == 1", "Selector \"Nope\" is not valid"},
        {"Node.a == 1", "Selector \"Node.a\" is not valid"},
        {"NodeMeta.a.b == 1", "Selector \"NodeMeta.a.b\" is not valid"},
        {"ServiceTaggedAddresses.a.X == 1",
         "Selector \"ServiceTaggedAddresses.a.X\" is not valid"},
        {"ServiceTaggedAddresses.a.Port.x == 1",
         "Selector \"ServiceTaggedAddresses.a.Port.x\" is not valid"},
        {"ServiceTags == 1",
         "Invalid match operator \"Equal\" for selector \"ServiceTags\""},
        {"Node is not empty",
         "Invalid match operator \"Is Not Empty\" for selector \"Node\""},
        {"ServicePort == abc",
         "Failed to coerce value \"abc\" for selector \"ServicePort\": "
         "strconv.ParseInt: parsing \"abc\": invalid syntax"},
        {"ServicePort == 9223372036854775808",
         "Failed to coerce value \"9223372036854775808\" for selector "
         "\"ServicePort\": strconv.ParseInt: parsing "
         "\"9223372036854775808\": value out of range"},
        {"ServiceEnableTagOverride == yes",
         "Failed to coerce value \"yes\" for selector "
         "\"ServiceEnableTagOverride\": strconv.ParseBool: parsing \"yes\": "
         "invalid syntax"},
        {"Node matches \"[\"",
         "Failed to compile regular expression \"[\": error parsing regexp: "
         "missing closing ]: `[`"},
        {"Node == \"\xff\"", "invalid encoding: the text is no UTF-8"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        refused(*state, rows[i][0], rows[i][1]);
}

static void every_size_has_a_limit(void **state)
{
    struct world *w = *state;
    parse(w, repeated(w, "not ", FILTER_DEPTH_MAX, "Node == x"));
    refused(w, repeated(w, "not ", FILTER_DEPTH_MAX + 1, "Node == x"),
            "1:261 (260): more than 64 parentheses and \"not\" in one "
            "another: write it shorter");
    refused(w, repeated(w, "(", 4000, ""),
            "1:66 (65): more than 64 parentheses and \"not\" in one another: "
            "write it shorter");
    parse(w, repeated(w, "1 in Node or ", FILTER_TERMS_MAX - 1, "1 in Node"));
    refused(w, repeated(w, "1 in Node or ", FILTER_TERMS_MAX, "1 in Node"),
            "1:3338 (3337): more than 256 matches in one filter: write it "
            "shorter");
    refused(w, repeated(w, "x", FILTER_BYTES_MAX, " == x"),
            "4101 bytes are more than 4096: write it shorter");
    refused(w, repeated(w, "a.", FILTER_PARTS_MAX, "a == x"),
            "1:34 (33): more than 16 names in one selector: write it shorter");
    refused(w,
            repeated(w, "Node matches a or ", FILTER_REGEX_TERMS_MAX,
                     "Node matches a"),
            "1:303 (302): more than 16 regular expressions in one filter: "
            "write it shorter");
}

/* --- Rows of other kinds --------------------------------------------------- */

static void each_kind_of_rows_has_its_own_names(void **state)
{
    static const struct {
        enum filter_rows rows;
        const char *good, *bad;
    } kinds[] = {
        {FILTER_NODES, "Meta.rack == r1 and Node == n1", "NodeMeta.a == 1"},
        {FILTER_SERVICES, "Service == web and Meta.version == 1", "Node == 1"},
        {FILTER_SERVICE_NODES, "ServiceName == web", "Service == web"},
        {FILTER_CHECKS, "Status == \"\" and ServiceTags is empty",
         "Definition is empty"},
        {FILTER_HEALTH, "Node.Node == n1 and Checks is empty", "Node == n1"},
        {FILTER_MEMBERS, "Tags is empty and Status == 0", "Node == n1"},
    };
    struct world *w = *state;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct filter *f = NULL;
        assert_ok(filter_parse(bytes_str(kinds[i].good), kinds[i].rows,
                               &w->arena, &f, NULL));
        assert_true(filter_match(f, &w->row));
        assert_int_equal(filter_parse(bytes_str(kinds[i].bad), kinds[i].rows,
                                      &w->arena, &f, NULL),
                         ERR_BAD);
    }
}

static void the_mesh_is_read_from_its_json(void **state)
{
    struct world *w = *state;
    w->row.service.proxy = bytes_str(
        "{\"DestinationServiceName\":\"db\",\"local_service_port\":5432,"
        "\"MeshGateway\":{\"Mode\":\"local\"},\"Expose\":{\"Checks\":true,"
        "\"Paths\":[{\"Path\":\"/m\",\"ListenerPort\":7}]},\"Upstreams\":["
        "{\"DestinationName\":\"a\",\"LocalBindPort\":1},"
        "{\"DestinationName\":\"b\",\"LocalBindPort\":2,"
        "\"MeshGateway\":{\"Mode\":\"none\"}}]}");
    w->row.service.connect = bytes_str("{\"Native\":true}");
    holds(w, "ServiceProxy.DestinationServiceName == db", true);
    holds(w, "ServiceProxy.LocalServicePort == 5432", true);
    holds(w, "ServiceProxy.MeshGateway.Mode == local", true);
    holds(w, "ServiceProxy.Expose.Checks == true", true);
    holds(w, "ServiceProxy.Expose.Paths.ListenerPort == 7", true);
    holds(w, "ServiceProxy.Expose.Paths is empty", false);
    holds(w, "ServiceProxy.Upstreams.DestinationName == b", true);
    holds(w, "ServiceProxy.Upstreams.DestinationName != b", true); /* any */
    holds(w, "not ServiceProxy.Upstreams.DestinationName == b", false);
    holds(w, "ServiceProxy.Upstreams.MeshGateway.Mode == none", true);
    holds(w, "ServiceProxy.Upstreams is not empty", true);
    holds(w, "ServiceConnect.Native == true", true);
    w->row.service.proxy = w->row.service.connect = (struct bytes){0};
    holds(w, "ServiceProxy.Upstreams is empty", true);
    holds(w, "ServiceProxy.Upstreams.LocalBindPort != 1", false);
    holds(w, "ServiceConnect.Native == true", false);
}

static void no_filter_takes_every_row(void **state)
{
    struct world *w = *state;
    assert_true(filter_match(NULL, &w->row));
    assert_int_equal(filter_overrun(NULL).n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_operator_says_yes_and_no, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            a_key_that_is_not_there_differs_from_everything, setup, teardown),
        cmocka_unit_test_setup_teardown(not_binds_before_and_before_or, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            keywords_are_words_where_a_word_is_wanted, setup, teardown),
        cmocka_unit_test_setup_teardown(
            an_expression_prints_back_and_reads_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(
            errors_name_the_column_and_what_was_expected, setup, teardown),
        cmocka_unit_test_setup_teardown(every_size_has_a_limit, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(each_kind_of_rows_has_its_own_names,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(the_mesh_is_read_from_its_json, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            patterns_mean_what_re2_takes_them_to_mean, setup, teardown),
        cmocka_unit_test_setup_teardown(
            patterns_that_re2_does_not_know_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_search_takes_a_bounded_number_of_steps, setup, teardown),
        cmocka_unit_test_setup_teardown(no_filter_takes_every_row, setup,
                                        teardown),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
