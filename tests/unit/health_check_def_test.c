/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "health/check_def.h"

#include "test.h"

#define S(literal)                                                             \
    {                                                                          \
        literal, sizeof(literal) - 1                                           \
    }
#define SECOND INT64_C(1000000000)

static struct bytes arg_true[] = {S("/bin/true")};
static struct check_header header_one[] = {{S("X-Token"), S("a b")}};

/* --- Types --------------------------------------------------------------- */

static void each_selector_names_its_type(void **state)
{
    (void)state;
    static const struct {
        struct check_def d;
        const char *name;
    } cases[] = {
        {{.grpc = S("h:1")}, "grpc"},
        {{.http = S("http://h")}, "http"},
        {{.ttl_ns = 1}, "ttl"},
        {{.tcp = S("h:1")}, "tcp"},
        {{.udp = S("h:1")}, "udp"},
        {{.h2ping = S("h:1")}, "h2ping"},
        {{.alias_node = S("n")}, "alias"},
        {{.alias_service = S("s")}, "alias"},
        {{.args = arg_true, .arg_count = 1, .docker_container_id = S("c")},
         "docker"},
        {{.args = arg_true, .arg_count = 1}, "script"},
        {{.os_service = S("sshd")}, "os_service"},
        {{.docker_container_id = S("c")}, ""},
        {{.interval_ns = 1}, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(check_type_name(check_def_type(&cases[i].d)),
                            cases[i].name);
    assert_string_equal(check_type_name(CHECK_MAINTENANCE), "maintenance");
}

static void the_first_type_by_precedence_wins(void **state)
{
    (void)state;
    struct check_def d = {.grpc = S("h:1"),
                          .http = S("http://h"),
                          .ttl_ns = 1,
                          .tcp = S("h:1"),
                          .alias_node = S("n")};
    assert_int_equal(check_def_type(&d), CHECK_GRPC);
    d.grpc.n = 0;
    assert_int_equal(check_def_type(&d), CHECK_HTTP);
    d.http.n = 0;
    assert_int_equal(check_def_type(&d), CHECK_TTL);
    d.ttl_ns = 0;
    assert_int_equal(check_def_type(&d), CHECK_TCP);
    d.tcp.n = 0;
    assert_int_equal(check_def_type(&d), CHECK_ALIAS);
}

/* --- Validation ---------------------------------------------------------- */

struct refusal {
    struct check_def d;
    const char *text;
};

static void assert_refused(const struct refusal *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct errtext t = {{0}};
        enum err e = check_def_validate(&cases[i].d, &t);
        if (e != ERR_BAD)
            fail_msg("case %zu accepted, want: %s", i, cases[i].text);
        assert_string_equal(t.s, cases[i].text);
        assert_int_equal(check_def_validate(&cases[i].d, NULL), ERR_BAD);
    }
}

static void refusals_carry_the_texts_that_clients_match_on(void **state)
{
    (void)state;
    static const struct refusal cases[] = {
        {{.http = S("http://h")},
         "Interval must be > 0 for Script, HTTP, or TCP checks"},
        {{.tcp = S("h:1"), .interval_ns = -1},
         "Interval must be > 0 for Script, HTTP, or TCP checks"},
        {{.args = arg_true, .arg_count = 1},
         "Interval must be > 0 for Script, HTTP, or TCP checks"},
        {{.http = S("http://h"), .interval_ns = 1, .ttl_ns = 1},
         "Interval and TTL cannot both be specified"},
        {{.interval_ns = 1, .ttl_ns = 1},
         "Interval and TTL cannot both be specified"},
        {{.alias_service = S("s"), .tcp = S("h:1"), .interval_ns = 1},
         "Interval cannot be set for Alias checks"},
        {{.alias_service = S("s"), .ttl_ns = 1},
         "TTL must be not be set for Alias checks"},
        {{.name = S("nothing")}, "TTL must be > 0 for TTL checks"},
        {{.ttl_ns = -1}, "TTL must be > 0 for TTL checks"},
        {{.ttl_ns = 1, .output_max = -1}, "MaxOutputMaxSize must be positive"},
        {{.ttl_ns = 1, .failures_before_warning = 1},
         "FailuresBeforeWarning can't be higher than FailuresBeforeCritical"},
    };
    assert_refused(cases, sizeof cases / sizeof cases[0]);
}

static void what_could_never_run_is_refused_by_name(void **state)
{
    (void)state;
    static struct bytes no_program[] = {{"", 0}};
    static struct bytes with_nul[] = {S("a"), S("b\0c")};
    static struct check_header bad_name[] = {{S("a b"), S("c")}};
    static struct check_header bad_value[] = {{S("a"), S("c\r\nHost: d")}};
    static const struct refusal cases[] = {
        {{.ttl_ns = 1, .timeout_ns = -1}, "Timeout must not be negative"},
        {{.ttl_ns = 1, .deregister_after_ns = -1},
         "DeregisterCriticalServiceAfter must not be negative"},
        {{.ttl_ns = 1, .success_before_passing = -1},
         "SuccessBeforePassing must not be negative"},
        {{.ttl_ns = 1,
          .failures_before_critical = -2,
          .failures_before_warning = -2},
         "FailuresBeforeCritical must not be negative"},
        {{.ttl_ns = 1, .failures_before_warning = -2},
         "FailuresBeforeWarning must not be negative"},
        {{.http = S("http://h"),
          .interval_ns = 10 * SECOND,
          .timeout_ns = 10 * SECOND + 1000000},
         "Timeout 10.001s must not be over Interval 10s: raise Interval or "
         "lower Timeout"},
        {{.args = arg_true,
          .arg_count = 1,
          .interval_ns = 1,
          .timeout_ns = 90 * SECOND},
         "Timeout 1m30s must not be over Interval 1s: raise Interval or lower "
         "Timeout"},
        {{.tcp = S("h:1"), .interval_ns = 1, .timeout_ns = INT64_MAX},
         "Timeout 2562047h47m16.854775807s must not be over Interval 1s: raise "
         "Interval or lower Timeout"},
        {{.ttl_ns = 1, .damping = S("Suppress")},
         "Damping \"Suppress\" is not observe, suppress or off"},
        {{.http = S("http://h"), .tcp = S("h:1"), .interval_ns = SECOND},
         "one check cannot be of type http and of type tcp: register two "
         "checks"},
        {{.http = S("h"), .interval_ns = SECOND},
         "HTTP \"h\" is not an http:// or https:// URL"},
        {{.tcp = S("127.0.0.1"), .interval_ns = SECOND},
         "TCP \"127.0.0.1\" is not host:port"},
        {{.udp = S("h"), .interval_ns = SECOND}, "UDP \"h\" is not host:port"},
        {{.h2ping = S("h"), .interval_ns = SECOND},
         "H2PING \"h\" is not host:port"},
        {{.grpc = S("h/svc"), .interval_ns = SECOND},
         "GRPC \"h/svc\" is not host:port or host:port/service"},
        {{.http = S("http://h"), .interval_ns = 1, .method = S("GET /")},
         "Method \"GET /\" is not an HTTP method"},
        {{.http = S("http://h"),
          .interval_ns = 1,
          .headers = bad_name,
          .header_count = 1},
         "Header \"a b\" is not a header name"},
        {{.http = S("http://h"),
          .interval_ns = 1,
          .headers = bad_value,
          .header_count = 1},
         "Header \"a\" is not free of line ends in its value"},
        {{.args = no_program, .arg_count = 1, .interval_ns = 1},
         "Args[0] names no program"},
        {{.args = with_nul, .arg_count = 2, .interval_ns = 1},
         "Args \"b\" is not free of NUL bytes"},
    };
    assert_refused(cases, sizeof cases / sizeof cases[0]);
}

static void http_targets_are_urls(void **state)
{
    (void)state;
    static const char *const good[] = {
        "http://h",         "https://h/",      "HTTP://h:80/x?y#z",
        "http://[::1]:80/", "http://u:p@h:1/", "http://h:/",
        "http://[::1]",     "http://h?q",
    };
    static const char *const bad[] = {
        "",           "http://",     "http:///x",      "ftp://h", "http://h:0",
        "http://h:a", "http://h\n/", "http://[::1/",   "http:/h", "http://:80",
        "http://h /", "//h",         "http://h:70000", "http",
    };
    struct check_def d = {.interval_ns = SECOND, .failures_before_warning = -1};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        d.http = bytes_str(good[i]);
        if (check_def_validate(&d, NULL) != ERR_OK)
            fail_msg("refused: %s", good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        d.http = bytes_str(bad[i]);
        if (check_def_validate(&d, NULL) == ERR_OK)
            fail_msg("accepted: %s", bad[i]);
    }
}

static void tcp_targets_are_host_and_port(void **state)
{
    (void)state;
    static const char *const good[] = {"h:1", "127.0.0.1:65535", "[::1]:80",
                                       ":80"};
    static const char *const bad[] = {"h",     "h:",    "h:0", "h:65536", "::1",
                                      "[]:80", "h:+80", "h: ", "h:1\r",   ":"};
    struct check_def d = {.interval_ns = SECOND, .failures_before_warning = -1};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        d.tcp = bytes_str(good[i]);
        if (check_def_validate(&d, NULL) != ERR_OK)
            fail_msg("refused: %s", good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        d.tcp = bytes_str(bad[i]);
        if (check_def_validate(&d, NULL) == ERR_OK)
            fail_msg("accepted: %s", bad[i]);
    }
}

static void lists_have_named_limits(void **state)
{
    (void)state;
    struct bytes args[CHECK_ARGS_MAX + 1];
    struct check_header headers[CHECK_HEADERS_MAX + 1];
    struct errtext t = {{0}};
    for (size_t i = 0; i <= CHECK_ARGS_MAX; i++)
        args[i] = bytes_str("x");
    for (size_t i = 0; i <= CHECK_HEADERS_MAX; i++)
        headers[i] = (struct check_header){bytes_str("x"), {NULL, 0}};

    struct check_def d = {.args = args,
                          .arg_count = CHECK_ARGS_MAX + 1,
                          .interval_ns = SECOND,
                          .failures_before_warning = -1};
    assert_int_equal(check_def_validate(&d, &t), ERR_LIMIT);
    assert_string_equal(t.s, "Args has 65 items, the limit is 64");
    d.arg_count--;
    assert_ok(check_def_validate(&d, &t));

    d = (struct check_def){.http = bytes_str("http://h"),
                           .headers = headers,
                           .header_count = CHECK_HEADERS_MAX + 1,
                           .interval_ns = SECOND,
                           .failures_before_warning = -1};
    assert_int_equal(check_def_validate(&d, &t), ERR_LIMIT);
    assert_string_equal(t.s, "Header has 65 lines, the limit is 64");
    d.header_count--;
    assert_ok(check_def_validate(&d, &t));
}

/* --- Stored form --------------------------------------------------------- */

static const struct check_def full = {
    .id = S("id"),
    .name = S("name"),
    .notes = S("notes"),
    .status = S("passing"),
    .service_id = S("web"),
    .http = S("http://h/"),
    .method = S("PUT"),
    .body = S("b\0dy"),
    .tls_server_name = S("tls"),
    .headers = header_one,
    .header_count = 1,
    .tls_skip_verify = true,
    .disable_redirects = true,
    .tcp = S("t:1"),
    .udp = S("u:1"),
    .grpc = S("g:1"),
    .h2ping = S("p:1"),
    .os_service = S("os"),
    .tcp_use_tls = true,
    .grpc_use_tls = true,
    .h2ping_use_tls = true,
    .h2ping_use_tls_set = true,
    .args = arg_true,
    .arg_count = 1,
    .docker_container_id = S("c"),
    .shell = S("/bin/sh"),
    .alias_node = S("n"),
    .alias_service = S("s"),
    .damping = S("off"),
    .interval_ns = 10 * SECOND,
    .timeout_ns = 300000000,
    .ttl_ns = INT64_MIN,
    .deregister_after_ns = INT64_MAX,
    .output_max = -1,
    .success_before_passing = 1,
    .failures_before_critical = 3,
    .failures_before_warning = 2,
};

static struct buf stored(const struct check_def *d)
{
    struct buf b = {0};
    check_def_put(&b, d);
    assert_false(b.bad);
    return b;
}

static void assert_round_trip(const struct check_def *d)
{
    struct arena a;
    struct check_def got;
    struct buf first = stored(d);
    arena_init(&a, 0);
    assert_ok(check_def_get(buf_bytes(&first), &got, &a));
    struct buf second = stored(&got);
    assert_int_equal(first.n, second.n);
    assert_memory_equal(first.p, second.p, first.n);
    buf_fini(&first);
    buf_fini(&second);
    arena_fini(&a);
}

static void what_is_stored_reads_the_same(void **state)
{
    (void)state;
    struct check_def empty = {.failures_before_warning = -1};
    assert_round_trip(&full);
    assert_round_trip(&empty);

    struct arena a;
    struct check_def got;
    struct buf b = stored(&full);
    arena_init(&a, 0);
    assert_ok(check_def_get(buf_bytes(&b), &got, &a));
    assert_bytes(got.id, "id");
    assert_bytes(got.alias_service, "s");
    assert_int_equal(got.body.n, 4);
    assert_bytes(got.headers[0].value, "a b");
    assert_bytes(got.args[0], "/bin/true");
    assert_true(got.h2ping_use_tls_set);
    assert_true(got.ttl_ns == INT64_MIN);
    assert_true(got.deregister_after_ns == INT64_MAX);
    assert_int_equal(got.failures_before_warning, 2);
    buf_fini(&b);
    arena_fini(&a);
}

static void a_small_definition_is_small(void **state)
{
    (void)state;
    struct check_def d = {
        .id = S("c"), .ttl_ns = 10 * SECOND, .failures_before_warning = -1};
    struct buf b = stored(&d);
    assert_true(b.n < 20);
    buf_fini(&b);
}

static void damaged_values_are_refused(void **state)
{
    (void)state;
    struct arena a;
    struct check_def got = {.ttl_ns = 42};
    struct buf b = stored(&full);
    arena_init(&a, 0);
    for (size_t n = 0; n < b.n; n++)
        assert_int_equal(check_def_get(bytes_of(b.p, n), &got, &a),
                         ERR_CORRUPT);
    buf_putc(&b, '\0');
    assert_int_equal(check_def_get(buf_bytes(&b), &got, &a), ERR_CORRUPT);
    b.n--;
    b.p[0] = 2;
    assert_int_equal(check_def_get(buf_bytes(&b), &got, &a), ERR_CORRUPT);
    assert_int_equal(got.ttl_ns, 42);
    buf_fini(&b);
    arena_fini(&a);
}

static void numbers_of_items_cannot_ask_for_memory(void **state)
{
    (void)state;
    struct arena a;
    struct check_def got;
    /* format, no texts, no numbers, no flags, 2^28 arguments */
    static const char many[] = "\x01\0\0\0\xff\xff\xff\x7f";
    arena_init(&a, 0);
    assert_int_equal(check_def_get(bytes_of(many, sizeof many - 1), &got, &a),
                     ERR_CORRUPT);
    assert_int_equal(a.used_bytes, 0);
    arena_fini(&a);
}

static void lack_of_memory_is_reported(void **state)
{
    (void)state;
    struct arena a;
    struct check_def got;
    struct buf b = stored(&full);
    arena_init(&a, 1);
    assert_int_equal(check_def_get(buf_bytes(&b), &got, &a), ERR_NOMEM);
    buf_fini(&b);
    arena_fini(&a);
}

/* --- JSON ---------------------------------------------------------------- */

static void assert_json(const struct check_def *d, const char *want)
{
    struct buf b = {0};
    check_def_json(&b, d);
    assert_bytes(buf_bytes(&b), want);
    buf_fini(&b);
}

static void json_names_what_is_set_in_consuls_order(void **state)
{
    (void)state;
    static struct check_header headers[] = {
        {S("X"), S("a")}, {S("A"), S("c")}, {S("X"), S("b")}};
    static struct bytes args[] = {S("sh"), S("-c")};
    struct check_def d = {
        .http = S("http://a/<b>"),
        .headers = headers,
        .header_count = 3,
        .method = S("GET"),
        .tls_skip_verify = true,
        .interval_ns = 10 * SECOND,
        .timeout_ns = 5 * SECOND,
        .deregister_after_ns = 5400 * SECOND,
        .output_max = 5,
        .failures_before_warning = -1,
    };
    assert_json(&d, "{\"Interval\":\"10s\",\"OutputMaxSize\":5,"
                    "\"Timeout\":\"5s\","
                    "\"DeregisterCriticalServiceAfter\":\"1h30m0s\","
                    "\"HTTP\":\"http://a/\\u003cb\\u003e\","
                    "\"TLSSkipVerify\":true,"
                    "\"Header\":{\"X\":[\"a\",\"b\"],\"A\":[\"c\"]},"
                    "\"Method\":\"GET\"}");
    d = (struct check_def){.args = args,
                           .arg_count = 2,
                           .failures_before_critical = 3,
                           .failures_before_warning = 0};
    assert_json(&d, "{\"ScriptArgs\":[\"sh\",\"-c\"],"
                    "\"FailuresBeforeCritical\":3,"
                    "\"FailuresBeforeWarning\":0}");
    d = (struct check_def){.ttl_ns = 15 * SECOND,
                           .failures_before_warning = -1};
    assert_json(&d, "{\"TTL\":15000000000}");
}

static void json_of_nothing_is_nothing(void **state)
{
    (void)state;
    struct check_def d = {.name = S("n"), .failures_before_warning = -1};
    assert_json(&d, "");
}

static void json_strings_are_escaped_as_go_does(void **state)
{
    (void)state;
    struct check_def d = {.shell = S("a\"\\\n\xff\xe2\x80\xa8\xe2\x80\xa9"
                                     "\xc3\xa4&"),
                          .failures_before_warning = -1};
    assert_json(&d, "{\"Shell\":\"a\\\"\\\\\\u000a\\ufffd\\u2028\\u2029"
                    "\xc3\xa4\\u0026\"}");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(each_selector_names_its_type),
    cmocka_unit_test(the_first_type_by_precedence_wins),
    cmocka_unit_test(refusals_carry_the_texts_that_clients_match_on),
    cmocka_unit_test(what_could_never_run_is_refused_by_name),
    cmocka_unit_test(http_targets_are_urls),
    cmocka_unit_test(tcp_targets_are_host_and_port),
    cmocka_unit_test(lists_have_named_limits),
    cmocka_unit_test(what_is_stored_reads_the_same),
    cmocka_unit_test(a_small_definition_is_small),
    cmocka_unit_test(damaged_values_are_refused),
    cmocka_unit_test(numbers_of_items_cannot_ask_for_memory),
    cmocka_unit_test(lack_of_memory_is_reported),
    cmocka_unit_test(json_names_what_is_set_in_consuls_order),
    cmocka_unit_test(json_of_nothing_is_nothing),
    cmocka_unit_test(json_strings_are_escaped_as_go_does),
};

RUN_TESTS(tests)
