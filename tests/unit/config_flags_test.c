/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "config/flags.h"

#include "test.h"

static struct arena arena;
static struct config_flags flags;
static struct agent_config c;
static struct errtext t;
static const char *told; /* the last key without effect */
static const char *told_by;
static int told_count;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    t = (struct errtext){0};
    told = told_by = NULL;
    told_count = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

static enum err parse(char *const *argv)
{
    int argc = 0;

    while (argv[argc])
        argc++;
    flags = (struct config_flags){0};
    return config_flags_parse(argc, argv, &arena, &flags, &t);
}

#define ARGS(...) ((char *[]){__VA_ARGS__, NULL})
#define PARSE(...)                                                             \
    do {                                                                       \
        if (parse(ARGS(__VA_ARGS__)) != ERR_OK)                                \
            fail_msg("%s", t.s);                                               \
    } while (0)
#define REFUSED(message, ...)                                                  \
    do {                                                                       \
        assert_int_equal(parse(ARGS(__VA_ARGS__)), ERR_BAD);                   \
        assert_string_equal(t.s, message);                                     \
    } while (0)

static void note(void *ctx, const struct config_notice *n)
{
    (void)ctx;
    told = n->key;
    told_by = n->pos->file;
    told_count++;
}

static enum err apply(void)
{
    enum err e = ERR_OK;

    agent_config_init(&c, &arena, flags.dev);
    for (size_t i = 0; e == ERR_OK && i < flags.overrides.n; i++)
        e = agent_config_apply(&c, flags.overrides.v[i], note, NULL, &t);
    return e;
}

static void must_apply(void)
{
    if (apply() != ERR_OK)
        fail_msg("%s", t.s);
}

static void no_arguments_say_nothing(void **state)
{
    (void)state;
    assert_ok(parse((char *[]){NULL}));
    assert_false(flags.dev);
    assert_false(flags.help);
    assert_int_equal(flags.source_count, 0);
    assert_int_equal(flags.format, CONFIG_FORMAT_NONE);
    must_apply();
    assert_int_equal(c.ports.http, 8500);
}

static void flags_have_one_dash_or_two(void **state)
{
    (void)state;
    PARSE("-node", "a", "--datacenter", "dc2", "-data-dir=/d=x",
          "--http-port=1");
    must_apply();
    assert_string_equal(c.node_name, "a");
    assert_string_equal(c.datacenter, "dc2");
    assert_string_equal(c.data_dir, "/d=x");
    assert_int_equal(c.ports.http, 1);
}

static void bools_need_no_value(void **state)
{
    (void)state;
    PARSE("-server", "-bootstrap=false", "-log-json=1", "-dev");
    assert_true(flags.dev);
    must_apply();
    assert_true(c.dev_mode && c.server && c.log_json);
    assert_false(c.bootstrap);
    PARSE("-dev=false", "-server", "-server=false");
    assert_false(flags.dev);
    must_apply();
    assert_false(c.server);
    REFUSED("invalid value \"maybe\" for flag -server: not true or false",
            "-server=maybe");
    REFUSED("invalid value \"\" for flag -server: not true or false",
            "-server=");
    REFUSED("unexpected extra argument: \"false\"", "-server", "false");
}

static void values_may_begin_with_a_dash(void **state)
{
    (void)state;
    PARSE("-dns-port", "-1", "-node", "-x");
    must_apply();
    assert_int_equal(c.ports.dns, -1);
    assert_string_equal(c.node_name, "-x");
}

static void the_last_scalar_wins(void **state)
{
    (void)state;
    PARSE("-node", "a", "-http-port", "1", "-node=b", "-http-port=2", "-dc",
          "dc7");
    must_apply();
    assert_string_equal(c.node_name, "b");
    assert_int_equal(c.ports.http, 2);
    assert_string_equal(c.datacenter, "dc7");
}

static void sources_keep_their_order(void **state)
{
    (void)state;
    PARSE("-config-dir", "/a", "-config-file=b.json", "-config-dir=c",
          "-config-format=hcl");
    assert_int_equal(flags.source_count, 3);
    assert_string_equal(flags.sources[0].path, "/a");
    assert_true(flags.sources[0].is_dir);
    assert_string_equal(flags.sources[1].path, "b.json");
    assert_false(flags.sources[1].is_dir);
    assert_true(flags.sources[2].is_dir);
    assert_int_equal(flags.format, CONFIG_FORMAT_HCL);
    REFUSED("invalid value \"yaml\" for flag -config-format: not json or hcl",
            "-config-format", "yaml");
}

static void pairs_and_lists_add_up(void **state)
{
    (void)state;
    PARSE("-node-meta=a:1", "-node-meta", "b:2:3", "-node-meta=c",
          "-node-meta=a:4", "-allow-write-http-from=10.0.0.0/8",
          "-allow-write-http-from", "127.0.0.1/8");
    must_apply();
    assert_int_equal(c.node_meta.n, 3);
    assert_string_equal(c.node_meta.v[0].key, "a");
    assert_string_equal(c.node_meta.v[0].value, "4");
    assert_string_equal(c.node_meta.v[1].value, "2:3");
    assert_string_equal(c.node_meta.v[2].value, "");
    assert_int_equal(c.http_config.allow_write_http_from.n, 2);
    assert_string_equal(c.http_config.allow_write_http_from.v[1],
                        "127.0.0.1/8");
}

static void snippets_come_after_flags(void **state)
{
    (void)state;
    PARSE("-hcl=ports { http = 7 }", "-http-port=8", "-hcl",
          "{\"node_name\": \"n\"}");
    assert_int_equal(flags.overrides.n, 3);
    must_apply();
    assert_int_equal(c.ports.http, 7);
    assert_string_equal(c.node_name, "n");
    REFUSED("-hcl:1:5: expected a value (strings need quotes), but the text "
            "ends",
            "-hcl", "a = ");
}

static void all_ports_have_flags(void **state)
{
    (void)state;
    PARSE("-http-port=1", "-https-port=2", "-dns-port=3", "-grpc-port=4",
          "-grpc-tls-port=5", "-serf-lan-port=6", "-serf-wan-port=7",
          "-server-port=8");
    must_apply();
    assert_int_equal(c.ports.http, 1);
    assert_int_equal(c.ports.https, 2);
    assert_int_equal(c.ports.dns, 3);
    assert_int_equal(c.ports.grpc, 4);
    assert_int_equal(c.ports.grpc_tls, 5);
    assert_int_equal(c.ports.serf_lan, 6);
    assert_int_equal(c.ports.serf_wan, 7);
    assert_int_equal(c.ports.server, 8);
}

static void the_other_flags_set_their_keys(void **state)
{
    (void)state;
    PARSE("-node-id=x", "-bind=10.0.0.1", "-advertise=10.0.0.2",
          "-advertise-wan=10.0.0.3", "-client=0.0.0.0 ::1",
          "-bootstrap-expect=3", "-enable-script-checks",
          "-enable-local-script-checks", "-check_output_max_size=100",
          "-log-level=warn", "-log-file=/l", "-pid-file=/p", "-domain=d.",
          "-alt-domain=a.", "-default-query-time=10s", "-max-query-time=20s",
          "-ui", "-ui-dir=/u", "-ui-content-path=/c/");
    must_apply();
    assert_string_equal(c.node_id, "x");
    assert_string_equal(c.bind_addr, "10.0.0.1");
    assert_string_equal(c.advertise_addr, "10.0.0.2");
    assert_string_equal(c.advertise_addr_wan, "10.0.0.3");
    assert_string_equal(c.client_addr, "0.0.0.0 ::1");
    assert_int_equal(c.bootstrap_expect, 3);
    assert_true(c.enable_script_checks && c.enable_local_script_checks);
    assert_int_equal(c.check_output_max_size, 100);
    assert_string_equal(c.log_level_name, "warn");
    assert_string_equal(c.log_file, "/l");
    assert_string_equal(c.pid_file, "/p");
    assert_string_equal(c.domain, "d.");
    assert_string_equal(c.alt_domain, "a.");
    assert_int_equal(c.default_query_time_ms, 10000);
    assert_int_equal(c.max_query_time_ms, 20000);
    assert_true(c.ui);
    assert_string_equal(c.ui_dir, "/u");
    assert_string_equal(c.ui_content_path, "/c/");
    assert_int_equal(told_count, 0);
}

static void flags_without_effect_are_told(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "-retry-max-wan=1",
        "-rejoin",
        "-primary-gateway=a",
        "-protocol=2",
        "-raft-protocol=3",
        "-disable-host-node-id",
        "-disable-keyring-file",
        "-segment=a",
        "-serf-lan-bind=a",
        "-serf-wan-bind=a",
        "-serf-lan-allowed-cidrs=a",
        "-serf-wan-allowed-cidrs=a",
        "-non-voting-server",
        "-read-replica",
        "-partition=p",
        "-auto-reload-config",
        "-enable-acl-replication",
        "-atlas=a",
        "-atlas-join",
        "-retry-join-ec2-region=a",
    };

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char arg[64];
        size_t n = strcspn(texts[i], "=");
        memcpy(arg, texts[i], strlen(texts[i]) + 1);
        told = told_by = NULL;
        PARSE(arg);
        must_apply();
        assert_non_null(told);
        assert_bytes(bytes_of(texts[i], n), told_by);
    }
}

static void unknown_flags_are_refused_with_the_nearest(void **state)
{
    (void)state;
    REFUSED("flag provided but not defined: -foo", "-foo");
    REFUSED("flag provided but not defined: -data_dir (did you mean "
            "-data-dir?)",
            "--data_dir=/d");
    REFUSED("flag provided but not defined: -httpport (did you mean "
            "-http-port?)",
            "-httpport", "1");
    REFUSED("flag provided but not defined: -", "-=x");
}

static void values_are_needed_and_checked(void **state)
{
    (void)state;
    REFUSED("flag needs an argument: -node", "-server", "-node");
    REFUSED("invalid value \"x\" for flag -http-port: not a whole number",
            "-http-port", "x");
    REFUSED("invalid value \"\" for flag -http-port: not a whole number",
            "-http-port=");
    REFUSED("invalid value \"99999999999999999999\" for flag -http-port: not a "
            "whole number",
            "-http-port=99999999999999999999");
    REFUSED("invalid value \"a\xff\" for flag -node: not UTF-8", "-node=a\xff");
    REFUSED("invalid value \"\xff:b\" for flag -node-meta: not UTF-8",
            "-node-meta=\xff:b");
    PARSE("-http-port=70000");
    assert_int_equal(apply(), ERR_BAD);
    assert_string_equal(t.s, "-http-port: ports.http: \"70000\" is no port; "
                             "use 1 to 65535, or -1 for none");
    PARSE("-max-query-time=10");
    assert_int_equal(apply(), ERR_BAD);
    assert_string_equal(t.s, "-max-query-time: max_query_time: time: missing "
                             "unit in duration \"10\"");
}

static void what_is_no_flag_is_refused(void **state)
{
    (void)state;
    REFUSED("unexpected extra argument: \"x\"", "x");
    REFUSED("unexpected extra argument: \"-\"", "-");
    REFUSED("unexpected extra argument: \"y\"", "-server", "--", "y");
    PARSE("-server", "--");
}

static void help_is_asked_for(void **state)
{
    (void)state;
    PARSE("-h");
    assert_true(flags.help);
    PARSE("--help");
    assert_true(flags.help);
}

static void lack_of_memory_is_an_error(void **state)
{
    (void)state;
    char *argv[] = {"-node-meta=a:b", "-join=x", "-http-port=1",
                    "-config-file=f", "-hcl=a = 1"};
    bool read = false;

    for (size_t limit = 1; limit < 8192 && !read; limit += 16) {
        struct arena small;
        arena_init(&small, limit);
        enum err e = config_flags_parse(5, argv, &small, &flags, &t);
        assert_true(e == ERR_OK || e == ERR_NOMEM);
        read = e == ERR_OK;
        arena_fini(&small);
    }
    assert_true(read);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static const struct CMUnitTest tests[] = {
    TEST(no_arguments_say_nothing),
    TEST(flags_have_one_dash_or_two),
    TEST(bools_need_no_value),
    TEST(values_may_begin_with_a_dash),
    TEST(the_last_scalar_wins),
    TEST(sources_keep_their_order),
    TEST(pairs_and_lists_add_up),
    TEST(snippets_come_after_flags),
    TEST(all_ports_have_flags),
    TEST(the_other_flags_set_their_keys),
    TEST(flags_without_effect_are_told),
    TEST(unknown_flags_are_refused_with_the_nearest),
    TEST(values_are_needed_and_checked),
    TEST(what_is_no_flag_is_refused),
    TEST(help_is_asked_for),
    TEST(lack_of_memory_is_an_error),
};

RUN_TESTS(tests)
