/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "config/watch_def.h"

#include <stdio.h>

#include "config_agent.h"

static struct watch_def w;

/* The first watch of the text. */
static enum err parse(const char *text)
{
    start(false);
    good(text);
    assert_int_equal(c.watches.n, 1);
    return watch_def_parse(c.watches.v[0], "dc1", &arena, &w, &t);
}

static void parsed(const char *text)
{
    if (parse(text) != ERR_OK)
        fail_msg("%s: %s", text, t.s);
}

static void programs_have_words_and_a_timeout(void **state)
{
    (void)state;
    parsed("watches = [{ type = \"nodes\", args = [\"a\", \"b c\"] }]");
    assert_int_equal(w.type, WATCH_DEF_NODES);
    assert_int_equal(w.args.n, 2);
    assert_string_equal(w.args.v[1], "b c");
    assert_int_equal(w.timeout_ms, WATCH_SCRIPT_TIMEOUT_MS);
    parsed("watches { type = \"nodes\" args = \"a\" timeout = \"1m\" }");
    assert_int_equal(w.args.n, 1);
    assert_int_equal(w.timeout_ms, 60000);
    parsed("watch { type = \"nodes\" handler = \"a | b\" }");
    assert_int_equal(w.args.n, 3);
    assert_string_equal(w.args.v[0], "/bin/sh");
    assert_string_equal(w.args.v[2], "a | b");
}

static void requests_have_consuls_defaults(void **state)
{
    (void)state;
    parsed("watches { type = \"services\" handler_type = \"http\"\n"
           "http_handler_config { path = \"https://h/x\" } }");
    assert_int_equal(w.args.n, 0);
    assert_string_equal(w.http.url, "https://h/x");
    assert_string_equal(w.http.method, "POST");
    assert_int_equal(w.timeout_ms, WATCH_HTTP_TIMEOUT_MS);
    assert_false(w.http.tls_skip_verify);
    parsed(
        "watches { type = \"services\" http_handler_config {\n"
        "path = \"http://h/\" method = \"PUT\" timeout = \"5s\"\n"
        "tls_skip_verify = true header { A = [\"b\", \"c\"] D = \"e\" } } }");
    assert_int_equal(w.timeout_ms, 5000);
    assert_true(w.http.tls_skip_verify);
    assert_int_equal(w.http.headers.n, 3);
    assert_string_equal(w.http.headers.v[1].key, "A");
    assert_string_equal(w.http.headers.v[1].value, "c");
    assert_string_equal(w.http.headers.v[2].value, "e");
}

static void types_have_their_parameters(void **state)
{
    (void)state;
    parsed("watches { type = \"service\" service = \"a\" tag = \"x\"\n"
           "passingonly = true args = \"p\" Datacenter = \"DC1\" }");
    assert_int_equal(w.type, WATCH_DEF_SERVICE);
    assert_string_equal(w.service, "a");
    assert_int_equal(w.tags.n, 1);
    assert_true(w.passing);
    parsed("watches { type = \"checks\" state = \"warning\" args = \"p\" }");
    assert_string_equal(w.state, "warning");
    parsed("watches { type = \"agent_service\" service_id = \"i\" args = \"p\" "
           "token = \"t\" stale = true }");
    assert_string_equal(w.service_id, "i");
}

static void equal_watches_have_equal_texts(void **state)
{
    (void)state;
    parsed("watches { type = \"nodes\" args = [\"a\"] }");
    struct bytes text = w.text;
    parsed("\n watches = [{ type = \"nodes\", args = [\"a\"] }]");
    assert_true(bytes_eq(text, w.text));
    parsed("watches { type = \"nodes\" args = [\"b\"] }");
    assert_false(bytes_eq(text, w.text));
}

static void refusals_name_place_and_parameter(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"args = \"a\"", "x.hcl:1:9: watches: Watch type must be specified"},
        {"type = 1", "x.hcl:1:18: watches: \"type\": found a number, wanted a "
                     "string"},
        {"type = \"nodes\" args = [1]",
         "x.hcl:1:33: watches: \"args\": found a list, wanted a list of "
         "strings"},
        {"type = \"nodes\" args = []",
         "x.hcl:1:9: watches: a handler is missing: args, or "
         "http_handler_config"},
        {"type = \"nodes\" args = [\"\"]",
         "x.hcl:1:9: watches: args: the program has no name"},
        {"type = \"nodes\" args = \"a\" handler_type = \"http\"",
         "x.hcl:1:9: watches: handler_type \"http\" does not fit the handler"},
        {"type = \"checks\" service = \"a\" state = \"b\" args = \"p\"",
         "x.hcl:1:9: watches: Cannot specify service and state"},
        {"type = \"agent_service\" args = \"p\"",
         "x.hcl:1:9: watches: Must specify a single service ID to watch"},
        {"type = \"services\" tag = \"a\" args = \"p\"",
         "x.hcl:1:9: watches: Invalid parameters: [tag]"},
        {"type = \"keyprefix\" prefix = \"a\" args = \"p\"",
         "x.hcl:1:9: watches: type keyprefix: there is no key-value store"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[256];
        (void)snprintf(text, sizeof text, "watches { %s }", cases[i].text);
        assert_int_equal(parse(text), ERR_BAD);
        assert_string_equal(t.s, cases[i].message);
    }
}

static const struct CMUnitTest tests[] = {
    TEST(programs_have_words_and_a_timeout),
    TEST(requests_have_consuls_defaults),
    TEST(types_have_their_parameters),
    TEST(equal_watches_have_equal_texts),
    TEST(refusals_name_place_and_parameter),
};

RUN_TESTS(tests)
