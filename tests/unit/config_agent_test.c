/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "unit/config_agent.h"

static void defaults_are_consuls(void **state)
{
    (void)state;
    good("data_dir = \"/d\"");
    valid();
    assert_string_equal(c.datacenter, "dc1");
    assert_null(c.node_name);
    assert_null(c.node_id);
    assert_false(c.server);
    assert_false(c.bootstrap);
    assert_string_equal(c.bind_addr, "0.0.0.0");
    assert_null(c.advertise_addr);
    assert_int_equal(c.ports.http, 8500);
    assert_int_equal(c.ports.https, -1);
    assert_int_equal(c.ports.dns, 8600);
    assert_int_equal(c.ports.grpc, -1);
    assert_int_equal(c.ports.serf_lan, 8301);
    assert_int_equal(c.ports.serf_wan, 8302);
    assert_int_equal(c.ports.server, 8300);
    assert_int_equal(c.listen.http.n, 1);
    assert_string_equal(c.listen.http.v[0], "127.0.0.1");
    assert_int_equal(c.check_update_interval_ms, 300000);
    assert_int_equal(c.guard.window_ms, 30000);
    assert_int_equal(c.guard.mode, GUARD_MODE_SILENCE);
    assert_int_equal(c.check_output_max_size, 4096);
    assert_string_equal(c.damping.mode, "observe");
    assert_int_equal(c.damping.half_life_ms, 60000);
    assert_int_equal(c.damping.suppress, 2500);
    assert_int_equal(c.damping.reuse, 750);
    assert_int_equal(c.damping.max_ms, 300000);
    assert_int_equal(c.limits.http_max_conns_per_client, 4000);
    assert_int_equal(c.limits.http_max_conns, 0);
    assert_int_equal(c.max_query_time_ms, 600000);
    assert_int_equal(c.default_query_time_ms, 300000);
    assert_int_equal(c.log_level, LOG_INFO);
    assert_int_equal(c.unix_mode, -1);
    assert_true(c.leave_on_terminate); /* a client leaves, a server does not */
    assert_false(c.skip_leave_on_interrupt);
    assert_null(agent_config_where(&c, "server"));
    assert_int_equal(agent_config_where(&c, "data_dir")->line, 1);
}

static void dev_needs_nothing(void **state)
{
    (void)state;
    start(true);
    valid();
    assert_true(c.dev_mode);
    assert_true(c.server);
    assert_true(c.bootstrap);
    assert_null(c.data_dir);
    assert_string_equal(c.bind_addr, "127.0.0.1");
    assert_int_equal(c.log_level, LOG_DEBUG);
    assert_int_equal(c.ports.grpc, 8502);
    assert_true(c.ui);
    assert_false(c.leave_on_terminate);
    assert_true(c.skip_leave_on_interrupt);
    assert_false(c.enable_script_checks);
}

static void files_override_dev(void **state)
{
    (void)state;
    start(true);
    good("log_level = \"WARN\" bind_addr = \"10.0.0.1\" ports { http = 1 }");
    valid();
    assert_int_equal(c.log_level, LOG_WARN);
    assert_string_equal(c.bind_addr, "10.0.0.1");
    assert_int_equal(c.ports.http, 1);
    assert_int_equal(c.ports.grpc, 8502);
}

static void every_setting_is_stored(void **state)
{
    (void)state;
    good("datacenter = \"EU-1\" node_name = \"n\"\n"
         "node_id = \"7d1f3a5c-0c4d-4a53-9c3b-0f1b7d7ad6f1\"\n"
         "data_dir = \"/d\" server = true bootstrap_expect = 3\n"
         "retry_join = [\"a\", \"b:1\"] retry_interval = \"5s\" retry_max = 4\n"
         "start_join = [\"c\"] encrypt = \"MDEyMzQ1Njc4OWFiY2RlZg==\"\n"
         "advertise_addr = \"[2001:db8::1]\" domain = \"d.\" alt_domain = "
         "\"a.\"\n"
         "enable_script_checks = true enable_local_script_checks = true\n"
         "check_update_interval = \"0s\" check_output_max_size = 1000\n"
         "discard_check_output = true leave_on_terminate = true\n"
         "damping { mode = \"suppress\" half_life = \"10s\" suppress = 1500\n"
         "  reuse = 100 max = \"2m\" }\n"
         "skip_leave_on_interrupt = false log_json = true log_file = \"/l\"\n"
         "pid_file = \"/p\" enable_debug = true reconnect_timeout = \"9h\"\n"
         "max_query_time = \"2m\" default_query_time = \"1m30s\"\n"
         "disable_http_unprintable_char_filter = true\n"
         "limits { http_max_conns_per_client = 7 http_max_conns = 8\n"
         "  http_max_body_bytes = 2048 http_max_header_bytes = 4096 }\n"
         "telemetry { prometheus_retention_time = \"30s\"\n"
         "  disable_hostname = true metrics_prefix = \"m\" }\n"
         "ui_config { enabled = true dir = \"/u\" content_path = \"/c/\" }\n"
         "unix_sockets { user = \"u\" group = \"g\" mode = \"0660\" }\n"
         "http_config { use_cache = false block_endpoints = [\"/v1/kv\"]\n"
         "  allow_write_http_from = [\"10.0.0.0/8\"]\n"
         "  response_headers { A = \"b\" } }\n");
    valid();
    assert_string_equal(c.datacenter, "eu-1");
    assert_string_equal(c.node_name, "n");
    assert_string_equal(c.node_id, "7d1f3a5c-0c4d-4a53-9c3b-0f1b7d7ad6f1");
    assert_true(c.server);
    assert_int_equal(c.bootstrap_expect, 3);
    assert_false(c.bootstrap);
    assert_int_equal(c.join.all.n, 3);
    assert_int_equal(c.join.interval_ms, 5000);
    assert_int_equal(c.join.attempts_max, 4);
    assert_int_equal(c.join.key.n, 16);
    assert_string_equal(c.advertise_addr, "2001:db8::1");
    assert_string_equal(c.domain, "d.");
    assert_string_equal(c.alt_domain, "a.");
    assert_true(c.enable_script_checks && c.enable_local_script_checks);
    assert_int_equal(c.check_update_interval_ms, 0);
    assert_int_equal(c.check_output_max_size, 1000);
    assert_string_equal(c.damping.mode, "suppress");
    assert_int_equal(c.damping.half_life_ms, 10000);
    assert_int_equal(c.damping.suppress, 1500);
    assert_int_equal(c.damping.reuse, 100);
    assert_int_equal(c.damping.max_ms, 120000);
    assert_true(c.discard_check_output && c.leave_on_terminate);
    assert_false(c.skip_leave_on_interrupt);
    assert_true(c.log_json && c.enable_debug);
    assert_string_equal(c.log_file, "/l");
    assert_string_equal(c.pid_file, "/p");
    assert_int_equal(c.reconnect_timeout_ms, 9 * 3600 * 1000);
    assert_int_equal(c.max_query_time_ms, 120000);
    assert_int_equal(c.default_query_time_ms, 90000);
    assert_true(c.disable_http_unprintable_char_filter);
    assert_int_equal(c.limits.http_max_conns_per_client, 7);
    assert_int_equal(c.limits.http_max_conns, 8);
    assert_int_equal(c.limits.http_max_body_bytes, 2048);
    assert_int_equal(c.limits.http_max_header_bytes, 4096);
    assert_int_equal(c.telemetry.prometheus_retention_time_ms, 30000);
    assert_true(c.telemetry.disable_hostname);
    assert_string_equal(c.telemetry.metrics_prefix, "m");
    assert_true(c.ui);
    assert_string_equal(c.ui_dir, "/u");
    assert_string_equal(c.ui_content_path, "/c/");
    assert_string_equal(c.unix_sockets.user, "u");
    assert_string_equal(c.unix_sockets.group, "g");
    assert_int_equal(c.unix_mode, 0660);
    assert_false(c.http_config.use_cache);
    assert_string_equal(c.http_config.block_endpoints.v[0], "/v1/kv");
    assert_string_equal(c.http_config.allow_write_http_from.v[0], "10.0.0.0/8");
    assert_string_equal(c.http_config.response_headers.v[0].key, "A");
    assert_string_equal(c.http_config.response_headers.v[0].value, "b");
    assert_int_equal(notices.n, 0);
}

static void consuls_header_limit_is_ours(void **state)
{
    (void)state;
    good("http_config { max_header_bytes = 8192 }");
    assert_int_equal(c.limits.http_max_header_bytes, 8192);
}

static void later_files_override_scalars_and_add_to_lists(void **state)
{
    (void)state;
    good("data_dir = \"/a\" node_meta { x = \"1\" y = \"2\" }\n"
         "ports { http = 1 dns = 2 }\n"
         "service { name = \"a\" }\n"
         "http_config { block_endpoints = [\"/a\"] }");
    good_json("{\"data_dir\": \"/b\", \"node_meta\": {\"y\": \"3\", \"z\": "
              "\"4\"}, \"ports\": {\"http\": 5}, \"services\": [{\"name\": "
              "\"b\"}, {\"name\": \"c\"}], \"http_config\": "
              "{\"block_endpoints\": [\"/b\"]}}");
    assert_string_equal(c.data_dir, "/b");
    assert_int_equal(c.ports.http, 5);
    assert_int_equal(c.ports.dns, 2);
    assert_int_equal(c.node_meta.n, 3);
    assert_string_equal(c.node_meta.v[1].value, "3");
    assert_string_equal(c.node_meta.v[2].key, "z");
    assert_int_equal(c.services.n, 3);
    assert_int_equal(c.http_config.block_endpoints.n, 2);
    assert_string_equal(c.http_config.block_endpoints.v[1], "/b");
    assert_string_equal(agent_config_where(&c, "ports.http")->file, "x.json");
    assert_string_equal(agent_config_where(&c, "ports.dns")->file, "x.hcl");
}

static void an_empty_string_takes_back(void **state)
{
    (void)state;
    good("node_name = \"a\" domain = \"b\"");
    good("node_name = \"\" domain = \"\"");
    assert_null(c.node_name);
    assert_string_equal(c.domain, "consul.");
}

static void null_says_nothing(void **state)
{
    (void)state;
    good_json("{\"segments\":null,\"data_dir\":null,\"ports\":null,"
              "\"services\":null,\"node_meta\":null,\"acl\":{\"tokens\":null},"
              "\"server\":null}");
    assert_null(c.data_dir);
    assert_int_equal(c.services.n, 0);
    assert_int_equal(notices.n, 0);
}

static void repeated_sections_are_one(void **state)
{
    (void)state;
    good("ports { http = 1 } ports { dns = 2 }\n"
         "node_meta { a = \"1\" } node_meta { b = \"2\" }");
    assert_int_equal(c.ports.http, 1);
    assert_int_equal(c.ports.dns, 2);
    assert_int_equal(c.node_meta.n, 2);
}

static void definitions_are_kept_as_written(void **state)
{
    (void)state;
    struct buf out = {0};

    good("service { name = \"web\" port = 80 check { ttl = \"10s\" } }\n"
         "service { name = \"db\" tags = [\"x\"] }\n"
         "check = { name = \"c\" args = [\"true\"] }");
    good_json("{\"service\":{\"name\":\"one\",\"Meta\":{\"K\":null}}}");
    assert_int_equal(c.services.n, 3);
    assert_int_equal(c.checks.n, 1);
    config_value_to_json(&out, c.services.v[0]);
    assert_bytes(buf_bytes(&out),
                 "{\"name\":\"web\",\"port\":80,\"check\":{\"ttl\":\"10s\"}}");
    buf_reset(&out);
    config_value_to_json(&out, c.services.v[2]);
    assert_bytes(buf_bytes(&out), "{\"name\":\"one\",\"Meta\":{\"K\":null}}");
    assert_int_equal(c.services.v[1]->pos.line, 2);
    buf_fini(&out);
}

static void the_test_harness_is_understood(void **state)
{
    (void)state;
    good_json(
        "{\"node_name\":\"node-7d1f3a5c-0c4d-4a53-9c3b-0f1b7d7ad6f1\","
        "\"node_id\":\"7d1f3a5c-0c4d-4a53-9c3b-0f1b7d7ad6f1\","
        "\"node_meta\":{\"a\":\"b\"},\"performance\":{\"raft_multiplier\":1},"
        "\"bootstrap\":true,\"server\":true,\"data_dir\":\"/tmp/d\","
        "\"datacenter\":\"dc1\",\"segments\":null,"
        "\"disable_update_check\":true,\"log_level\":\"debug\","
        "\"bind_addr\":\"127.0.0.1\",\"addresses\":{\"http\":"
        "\"unix:///tmp/h.sock\"},\"ports\":{\"dns\":20000,\"http\":20001,"
        "\"https\":20002,\"serf_lan\":20003,\"serf_wan\":20004,"
        "\"server\":20005,\"grpc\":20006,\"grpc_tls\":20007},"
        "\"raft_protocol\":3,\"primary_datacenter\":\"dc1\","
        "\"acl\":{\"enabled\":true,\"default_policy\":\"allow\",\"tokens\":{"
        "\"master\":\"root\",\"agent\":\"a\",\"default\":\"d\",\"replication\":"
        "\"r\",\"agent_master\":\"m\",\"initial_management\":\"i\"}},"
        "\"encrypt\":\"\",\"ca_file\":\"/c\",\"cert_file\":\"/c\",\"key_file\":"
        "\"/k\",\"verify_incoming\":true,\"verify_incoming_rpc\":true,"
        "\"verify_incoming_https\":true,\"verify_outgoing\":true,"
        "\"enable_script_checks\":true,\"connect\":{\"enabled\":true,"
        "\"ca_config\":{\"cluster_id\":"
        "\"11111111-2222-3333-4444-555555555555\"}},\"enable_debug\":true,"
        "\"skip_leave_on_interrupt\":true,\"peering\":{\"enabled\":true},"
        "\"partition\":\"p\",\"retry_join\":[\"127.0.0.1:1\"],"
        "\"locality\":{\"region\":\"r\",\"zone\":\"z\"},\"audit\":{\"enabled\":"
        "true},\"version\":\"1.20.0\"}");
    assert_int_equal(apply("reload.json", ""), ERR_OK);
    valid();
    assert_string_equal(c.listen.http.v[0], "unix:///tmp/h.sock");
    assert_string_equal(c.listen.dns.v[0], "127.0.0.1");
    assert_int_equal(c.ports.https, 20002);
}

static void known_keys_without_effect_are_told_once(void **state)
{
    (void)state;
    good("performance { raft_multiplier = 1 }\n"
         "acl { tokens { agent = \"x\" } }\n"
         "segments = [{ name = \"a\" }, 3]");
    good("performance { raft_multiplier = 2 }");
    assert_int_equal(notices.n, 3);
    assert_string_equal(notices.v[0].key, "performance.raft_multiplier");
    assert_int_equal(notices.v[0].pos->line, 1);
    assert_int_equal(notices.v[0].pos->column, 33);
    assert_false(notices.v[0].protects);
    assert_string_equal(notices.v[1].key, "acl.tokens.agent");
    assert_true(notices.v[1].protects);
    assert_string_equal(notices.v[2].key, "segments");
}

static void protection_switched_off_is_not_missed(void **state)
{
    (void)state;
    good("verify_outgoing = false encrypt = \"\"");
    assert_int_equal(notices.n, 0);
    good("verify_outgoing = true");
    assert_int_equal(notices.n, 1);
    assert_true(notices.v[0].protects);
}

static void unknown_keys_are_refused_with_the_nearest(void **state)
{
    (void)state;
    refused("a = 1", "x.hcl:1:1: invalid config key \"a\"");
    refused("\n  data_dri = 1",
            "x.hcl:2:3: invalid config key \"data_dri\" (did you mean "
            "data_dir?)");
    refused("ports { htpp = 1 }",
            "x.hcl:1:9: invalid config key \"ports.htpp\" (did you mean "
            "ports.http?)");
    refused("telemetri { }", "x.hcl:1:1: invalid config key \"telemetri\" (did "
                             "you mean telemetry?)");
    refused("nodename = 1", "x.hcl:1:1: invalid config key \"nodename\" (did "
                            "you mean node_name?)");
    refused("raft_multiplier = 1",
            "x.hcl:1:1: invalid config key \"raft_multiplier\" (did you mean "
            "performance.raft_multiplier?)");
    refused("ports { ports { http = 1 } }",
            "x.hcl:1:9: invalid config key \"ports.ports\"");
    refused("\"ports.http\" = 1\n\"\" = 2",
            "x.hcl:2:1: invalid config key \"\"");
    start(false);
    assert_int_equal(apply("x.json", "{\"foo\":null}"), ERR_BAD);
    assert_string_equal(t.s, "x.json:1:2: invalid config key \"foo\"");
}

static void strange_keys_are_shown_safely(void **state)
{
    (void)state;
    refused("\"a\\u001b[0m\" = 1", "x.hcl:1:1: invalid config key \"a?[0m\"");
    refused(
        "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "a\" = 1",
        "x.hcl:1:1: invalid config key "
        "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...\"");
}

static void case_does_not_matter_but_twins_do(void **state)
{
    (void)state;
    good("Data_Dir = \"/d\" PORTS { Http = 1 }");
    assert_string_equal(c.data_dir, "/d");
    assert_int_equal(c.ports.http, 1);
    refused("data_dir = \"/a\"\nDATA_DIR = \"/b\"",
            "x.hcl:2:1: duplicate key \"DATA_DIR\" (first at line 1, column "
            "1)");
}

static void wrong_kinds_are_named(void **state)
{
    (void)state;
    refused("server = \"yes\"",
            "x.hcl:1:10: server: found a string, wanted true or false");
    refused("data_dir = 1",
            "x.hcl:1:12: data_dir: found a number, wanted a string");
    refused("bootstrap_expect = true",
            "x.hcl:1:20: bootstrap_expect: found true or false, wanted a "
            "number");
    refused("ports { http = \"8500\" }",
            "x.hcl:1:16: ports.http: found a string, wanted a port number, or "
            "-1 for none");
    refused("ports = 1", "x.hcl:1:9: ports: found a number, wanted an object");
    refused("ports = [1]",
            "x.hcl:1:10: ports: found a number, wanted an object");
    refused("max_query_time = [1]",
            "x.hcl:1:18: max_query_time: found a list, wanted a duration such "
            "as \"10s\"");
    refused("http_config { block_endpoints = \"a\" }",
            "x.hcl:1:33: http_config.block_endpoints: found a string, wanted a "
            "list of strings");
    refused("http_config { block_endpoints = [1] }",
            "x.hcl:1:34: http_config.block_endpoints: found a number, wanted a "
            "list of strings");
    refused("node_meta { a = 1 }",
            "x.hcl:1:17: node_meta: found a number, wanted an object whose "
            "values are strings");
    refused("node_meta = \"a\"",
            "x.hcl:1:13: node_meta: found a string, wanted an object");
    refused("node_meta = [1]",
            "x.hcl:1:14: node_meta: found a number, wanted an object");
    refused("services = \"a\"", "x.hcl:1:12: services: found a string, wanted "
                                "an object or a list of objects");
    refused("services = [{}, []]", "x.hcl:1:17: services: found a list, wanted "
                                   "an object or a list of objects");
}

static void numbers_have_a_range(void **state)
{
    (void)state;
    refused("ports { http = 65536 }", "x.hcl:1:16: ports.http: \"65536\" is no "
                                      "port; use 1 to 65535, or -1 for none");
    refused("ports { http = -2 }", "x.hcl:1:16: ports.http: \"-2\" is no "
                                   "port; use 1 to 65535, or -1 for none");
    refused("ports { http = 1.5 }", "x.hcl:1:16: ports.http: \"1.5\" is no "
                                    "port; use 1 to 65535, or -1 for none");
    refused("check_output_max_size = 0",
            "x.hcl:1:25: check_output_max_size: \"0\" is not a whole number "
            "from 1 to 262144");
    refused("bootstrap_expect = -1",
            "x.hcl:1:20: bootstrap_expect: \"-1\" is not a whole number from 0 "
            "to 10000");
    good("ports { http = 0 dns = -1 https = 65535 grpc = 1e3 }");
    assert_int_equal(c.ports.http, -1);
    assert_int_equal(c.ports.dns, -1);
    assert_int_equal(c.ports.https, 65535);
    assert_int_equal(c.ports.grpc, 1000);
}

static void durations_are_gos_or_nanoseconds(void **state)
{
    (void)state;
    good("max_query_time = \"1m30s\" default_query_time = 1500000000\n"
         "check_update_interval = \"1us\"");
    assert_int_equal(c.max_query_time_ms, 90000);
    assert_int_equal(c.default_query_time_ms, 1500);
    assert_int_equal(c.check_update_interval_ms, 1);
    refused("max_query_time = \"10\"", "x.hcl:1:18: max_query_time: time: "
                                       "missing unit in duration \"10\"");
    refused("max_query_time = \"-1s\"",
            "x.hcl:1:18: max_query_time: cannot be negative");
    refused("max_query_time = 1.5",
            "x.hcl:1:18: max_query_time: found a number, wanted a duration "
            "such as \"10s\"");
}

static void maps_are_bounded(void **state)
{
    (void)state;
    struct buf b = {0};

    buf_puts(&b, "node_meta {\n");
    for (int i = 0; i <= CONFIG_PAIRS_MAX; i++)
        buf_printf(&b, "k%d = \"v\"\n", i);
    buf_putc(&b, '}');
    buf_putc(&b, '\0');
    assert_int_equal(apply("x.hcl", b.p), ERR_LIMIT);
    assert_string_equal(t.s, "x.hcl:258:1: node_meta: more than 256 pairs");
    buf_fini(&b);
}

static void lack_of_memory_is_an_error(void **state)
{
    (void)state;
    bool read = false;

    for (size_t limit = 1024; limit < 65536 && !read; limit += 16) {
        struct config_value *tree = NULL;
        struct arena small;
        arena_init(&small, limit);
        agent_config_init(&c, &small, true);
        enum err e = config_text_parse(
            CONFIG_FORMAT_HCL, "x",
            bytes_str("node_meta { a = \"b\" } service { } service { }\n"
                      "http_config { block_endpoints = [\"a\", \"b\"] }"),
            &small, &tree, &t);
        if (e == ERR_OK)
            e = agent_config_apply(&c, tree, NULL, NULL, &t);
        if (e == ERR_OK)
            e = agent_config_validate(&c, &t);
        assert_true(e == ERR_OK || e == ERR_NOMEM);
        read = e == ERR_OK;
        arena_fini(&small);
    }
    assert_true(read);
}

static const struct CMUnitTest tests[] = {
    TEST(defaults_are_consuls),
    TEST(dev_needs_nothing),
    TEST(files_override_dev),
    TEST(every_setting_is_stored),
    TEST(consuls_header_limit_is_ours),
    TEST(later_files_override_scalars_and_add_to_lists),
    TEST(an_empty_string_takes_back),
    TEST(null_says_nothing),
    TEST(repeated_sections_are_one),
    TEST(definitions_are_kept_as_written),
    TEST(the_test_harness_is_understood),
    TEST(known_keys_without_effect_are_told_once),
    TEST(protection_switched_off_is_not_missed),
    TEST(unknown_keys_are_refused_with_the_nearest),
    TEST(strange_keys_are_shown_safely),
    TEST(case_does_not_matter_but_twins_do),
    TEST(wrong_kinds_are_named),
    TEST(numbers_have_a_range),
    TEST(durations_are_gos_or_nanoseconds),
    TEST(maps_are_bounded),
    TEST(lack_of_memory_is_an_error),
};

RUN_TESTS(tests)
