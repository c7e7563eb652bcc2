/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "unit/config_agent.h"

static void a_data_directory_is_needed(void **state)
{
    (void)state;
    assert_int_equal(agent_config_validate(&c, &t), ERR_BAD);
    assert_string_equal(t.s, "data_dir cannot be empty");
}

static void server_settings_need_a_server(void **state)
{
    (void)state;
    invalid("bootstrap = true",
            "x.hcl:1:13: 'bootstrap = true' requires 'server = true'");
    invalid("bootstrap_expect = 1",
            "x.hcl:1:20: 'bootstrap_expect > 0' requires 'server = true'");
    invalid("server = true\nbootstrap = true\nbootstrap_expect = 3",
            "x.hcl:3:20: 'bootstrap_expect > 0' and 'bootstrap = true' are "
            "mutually exclusive");
    start(true);
    good("bootstrap_expect = 1");
    assert_int_equal(agent_config_validate(&c, &t), ERR_BAD);
    assert_string_equal(
        t.s, "x.hcl:1:20: 'bootstrap_expect > 0' not allowed in dev mode");
}

static void one_expected_server_is_bootstrap(void **state)
{
    (void)state;
    good("data_dir = \"/d\" server = true bootstrap_expect = 1");
    valid();
    assert_true(c.bootstrap);
}

static void names_are_checked(void **state)
{
    (void)state;
    invalid("datacenter = \"a b\"",
            "x.hcl:1:14: datacenter cannot be \"a b\". Please use only "
            "[a-z0-9-_], at most 63 of them");
    invalid("node_id = \"x\"", "x.hcl:1:11: node_id \"x\" is not a UUID; leave "
                               "it out to have one made");
    invalid("log_level = \"loud\"",
            "x.hcl:1:13: Invalid log level: \"loud\". Valid log levels are: "
            "trace, debug, info, warn, error");
    invalid("damping { mode = \"on\" }",
            "x.hcl:1:18: damping.mode \"on\" is not observe, suppress or off");
    invalid("damping { half_life = \"0s\" }",
            "x.hcl:1:23: damping.half_life must be over 0s");
    invalid("damping { max = \"59s\" }",
            "x.hcl:1:17: damping.max must be from damping.half_life to 1h0m0s");
    invalid("damping { max = \"61m\" }",
            "x.hcl:1:17: damping.max must be from damping.half_life to 1h0m0s");
    invalid("damping { suppress = 750 }",
            "x.hcl:1:22: damping.suppress 750 must be over damping.reuse 750");
    invalid("damping { suppress = 2000 max = \"1m\" }",
            "x.hcl:1:22: damping.suppress 2000 is never reached: what has to "
            "decay to damping.reuse within damping.max cannot be over 1500; "
            "lower damping.suppress, or raise damping.reuse or damping.max");
    invalid("mirror_idle = \"999ms\"",
            "x.hcl:1:15: mirror_idle must be at least 1s");
    invalid("reconnect_timeout = \"1h\"",
            "x.hcl:1:21: reconnect_timeout must be >= 8h0m0s");
    invalid("max_query_time = 0", "x.hcl:1:18: max_query_time must be over 0s");
    invalid(
        "guard { mode = \"none\" }",
        "x.hcl:1:16: Invalid guard mode: \"none\". Valid modes are: silence, "
        "all, off");
    invalid("guard { window = \"10ms\" }",
            "x.hcl:1:18: guard.window must be 1s to 1h");
    invalid("guard { window = \"2h\" }",
            "x.hcl:1:18: guard.window must be 1s to 1h");
}

static void node_metadata_is_checked(void **state)
{
    (void)state;
    invalid("node_meta { \"a b\" = \"\" }",
            "x.hcl:1:11: node_meta invalid: \"a b\": Key contains invalid "
            "characters");
    invalid("node_meta { \"\" = \"\" }",
            "x.hcl:1:11: node_meta invalid: \"\": Key cannot be blank");
    invalid("node_meta { consul-x = \"\" }",
            "x.hcl:1:11: node_meta invalid: \"consul-x\": Key prefix 'consul-' "
            "is reserved for internal use");
    struct buf b = {0};
    buf_puts(&b, "node_meta { a = \"");
    for (int i = 0; i < 513; i++)
        buf_putc(&b, 'x');
    buf_puts(&b, "\" }");
    buf_putc(&b, '\0');
    invalid(b.p, "x.hcl:1:11: node_meta invalid: \"a\": Value is too long "
                 "(limit: 512 characters)");
    buf_reset(&b);
    buf_puts(&b, "node_meta {");
    for (int i = 0; i < 65; i++)
        buf_printf(&b, " k%d = \"\"", i);
    buf_puts(&b, "}");
    buf_putc(&b, '\0');
    invalid(b.p, "x.hcl:1:11: node_meta invalid: Node metadata cannot contain "
                 "more than 64 key/value pairs");
    buf_fini(&b);
}

static void addresses_are_split_and_checked(void **state)
{
    (void)state;
    good("data_dir = \"/d\" client_addr = \" 127.0.0.1  [::1] {{ GetPrivateIP "
         "| join \\\" \\\" }} \"\n"
         "addresses { http = \"unix:///run/x.sock 10.0.0.1\" dns = "
         "\"0.0.0.0\" }\n"
         "bind_addr = \"{{ GetInterfaceIP \\\"eth0\\\" }}\"");
    valid();
    assert_int_equal(c.listen.https.n, 3);
    assert_string_equal(c.listen.https.v[0], "127.0.0.1");
    assert_string_equal(c.listen.https.v[1], "::1");
    assert_string_equal(c.listen.https.v[2], "{{ GetPrivateIP | join \" \" }}");
    assert_int_equal(c.listen.http.n, 2);
    assert_string_equal(c.listen.http.v[0], "unix:///run/x.sock");
    assert_string_equal(c.listen.dns.v[0], "0.0.0.0");
    assert_string_equal(c.bind_addr, "{{ GetInterfaceIP \"eth0\" }}");

    invalid("client_addr = \"127.0.0.1 nowhere\"",
            "x.hcl:1:15: client_addr: invalid ip address: \"nowhere\"");
    invalid("client_addr = \" \"", "x.hcl:1:15: client_addr: no address");
    invalid("addresses { http = \"unix://x\" }",
            "x.hcl:1:20: addresses.http: invalid ip address: \"unix://x\"");
    invalid("addresses { dns = \"unix:///x\" }",
            "x.hcl:1:19: addresses.dns cannot be a unix socket");
    invalid("bind_addr = \"1.2.3.4 5.6.7.8\"",
            "x.hcl:1:13: bind_addr cannot contain multiple addresses");
    invalid("bind_addr = \"unix:///x\"",
            "x.hcl:1:13: bind_addr cannot be a unix socket");
    invalid("advertise_addr = \"::\"",
            "x.hcl:1:18: advertise_addr cannot be ::: other hosts must reach "
            "it");
}

static void two_listeners_cannot_share_a_port(void **state)
{
    (void)state;
    invalid("ports { http = 8600 }",
            "x.hcl:1:16: ports.http: port 8600 is already taken by ports.dns");
    invalid("ports { http = 8301 }",
            "ports.serf_lan: port 8301 is already taken by ports.http");
    /* A mere agent does not listen there; another address is no conflict. */
    good("data_dir = \"/d\" ports { http = 8300 }");
    valid();
    start(false);
    good("data_dir = \"/d\" ports { http = 8600 }\n"
         "addresses { http = \"10.0.0.1\" }");
    valid();
    start(false);
    good("data_dir = \"/d\" ports { http = 8600 }\n"
         "addresses { http = \"unix:///x\" }");
    valid();
}

static void socket_modes_are_octal(void **state)
{
    (void)state;
    invalid("unix_sockets { mode = \"rw\" }",
            "x.hcl:1:23: unix_sockets.mode \"rw\" is not an octal mode such as "
            "\"0700\"");
    invalid("unix_sockets { mode = \"0800\" }",
            "x.hcl:1:23: unix_sockets.mode \"0800\" is not an octal mode such "
            "as \"0700\"");
    invalid("unix_sockets { mode = \"1777\" }",
            "x.hcl:1:23: unix_sockets.mode \"1777\" is over 0777");
}

/* --- Differences ---------------------------------------------------------- */

static struct buf told;

static void tell(void *ctx, const struct config_change *ch)
{
    (void)ctx;
    buf_printf(&told, "%s %s -> %s%s;", ch->key, ch->was, ch->is,
               ch->live ? "" : " (restart)");
}

/* From one text to another. */
static void differences(const char *was_text, const char *is_text,
                        const char *wanted)
{
    start(false);
    good(was_text);
    struct agent_config was = c;
    start(false);
    good(is_text);
    buf_reset(&told);
    assert_int_equal(agent_config_compare(&was, &c, tell, NULL), ERR_OK);
    buf_putc(&told, 0);
    assert_false(told.bad);
    assert_string_equal(told.p, wanted);
    buf_fini(&told);
}

static void differences_name_key_and_both_values(void **state)
{
    (void)state;
    differences("", "", "");
    differences("log_level = \"debug\"", "log_level = \"debug\"", "");
    differences("", "log_level = \"trace\"",
                "log_level \"info\" -> \"trace\";");
    differences("ports { http = 1 }", "ports { http = -1 }",
                "ports.http 1 -> -1 (restart);");
    differences("node_meta { a = \"1\" }", "node_meta { a = \"2\" b = \"\" }",
                "node_meta {\"a\":\"1\"} -> {\"a\":\"2\",\"b\":\"\"};");
    differences("max_query_time = \"90s\"", "",
                "max_query_time 1m30s -> 10m0s;");
    differences("http_config { block_endpoints = [\"/v1/kv\"] }", "",
                "http_config.block_endpoints [\"/v1/kv\"] -> [];");
    differences("pid_file = \"/run/p\"", "",
                "pid_file \"/run/p\" -> \"\" (restart);");
    differences("limits { http_max_conns_per_client = 5 }",
                "limits { http_max_conns_per_client = 6 }",
                "limits.http_max_conns_per_client 5 -> 6;");
}

static void dns_settings_are_checked(void **state)
{
    (void)state;
    invalid("domain = \"a..b\"",
            "x.hcl:1:10: domain: \"a..b\" is no domain: labels of 1 to 63 "
            "bytes with dots between them, at most 200 bytes");
    invalid("alt_domain = \".\"",
            "x.hcl:1:14: alt_domain: \".\" is no domain: labels of 1 to 63 "
            "bytes with dots between them, at most 200 bytes");
    invalid("recursors = [\"8.8.8.8:0\"]",
            "x.hcl:1:13: recursors: \"8.8.8.8:0\" is no address: write "
            "10.0.0.1, 10.0.0.1:53 or [fd00::1]:53");
    invalid("dns_config { recursor_timeout = \"0s\" }",
            "x.hcl:1:33: dns_config.recursor_timeout must be over 0s");
    invalid("dns_config { order = \"best\" }",
            "x.hcl:1:22: dns_config.order: \"best\" is neither \"random\" nor "
            "\"sticky\"");
    invalid("dns_config { service_ttl { web = \"soon\" } }",
            "x.hcl:1:26: dns_config.service_ttl: \"web\": time: invalid "
            "duration \"soon\"");
    invalid(
        "dns_config { service_ttl { \"*\" = \"1000h\" } }",
        "x.hcl:1:26: dns_config.service_ttl: \"*\": \"1000h\" is not within "
        "0s and 168 hours");
    invalid("dns_config { service_ttl_calm = \"1000h\" }",
            "x.hcl:1:33: dns_config.service_ttl_calm is over 168 hours");
    invalid("dns_config { rrl_exempt = [\"10.0.0.0/8\", \"here\"] }",
            "x.hcl:1:27: dns_config.rrl_exempt: \"here\" is neither an address "
            "nor a network: write 10.0.0.1, 10.0.0.0/8 or fd00::/8");
}

static void dns_settings_are_taken(void **state)
{
    (void)state;
    good("data_dir = \"/d\" recursors = [\"8.8.8.8\", \"[fd00::1]:53\", "
         "\"fd00::1\", \"1.1.1.1:5353\"] recursor = \"9.9.9.9\"\n"
         "dns_config { node_ttl = \"5s\" soa { min_ttl = 2 } "
         "enable_truncate = false udp_answer_limit = 8 order = \"sticky\" "
         "service_ttl { \"*\" = \"1s\" web = \"5s\" } service_ttl_calm = "
         "\"30s\" rrl_rate = 200 rrl_exempt = [\"10.0.0.2\", \"fd00::/8\"] }");
    valid();
    assert_int_equal(c.dns.service_ttl_calm_ms, 30000);
    assert_int_equal(c.dns.rrl_rate, 200);
    assert_int_equal(c.dns.rrl_slip, 2);
    assert_int_equal(c.dns.rrl_exempt.n, 2);
    assert_int_equal(c.dns.recursors.n, 5);
    assert_string_equal(c.dns.recursors.v[4], "9.9.9.9");
    assert_int_equal(c.dns.node_ttl_ms, 5000);
    assert_int_equal(c.dns.soa_min_ttl, 2);
    assert_int_equal(c.dns.soa_refresh, 3600);
    assert_false(c.dns.enable_truncate);
    assert_int_equal(c.dns.service_ttl.n, 2);
}

static void one_thing_by_two_names_is_told_once(void **state)
{
    (void)state;
    differences("ui = false", "", "ui false -> true (restart);");
    differences("", "ui_config { enabled = false }",
                "ui_config.enabled true -> false (restart);");
    differences("ui = true", "ui_config { enabled = false }",
                "ui true -> false (restart);");
    differences("", "http_api_response_headers { A = \"b\" }",
                "http_api_response_headers {} -> {\"A\":\"b\"};");
}

static void definitions_are_not_compared(void **state)
{
    (void)state;
    differences("service { name = \"a\" }", "check { name = \"b\" }", "");
}

static void the_nearest_word_about_tls_counts(void **state)
{
    (void)state;
    good("data_dir = \"/d\" ports { https = 1 } cert_file = \"a\" key_file = "
         "\"b\" ca_file = \"c\" "
         "tls_min_version = \"tls10\" tls_cipher_suites = \"X\"");
    valid();
    assert_string_equal(c.https_tls.cert_file, "a");
    assert_string_equal(c.own_tls.cert_file, "a");
    assert_false(c.https_tls.verify_incoming);
    assert_int_equal(c.https_tls_minor, 0);
    assert_string_equal(c.https_tls.cipher_suites, "X");
    good("tls { defaults { cert_file = \"d\" verify_incoming = true "
         "tls_min_version = \"TLSv1_3\" } "
         "https { key_file = \"e\" tls_prefer_server_cipher_suites = true } }");
    valid();
    assert_string_equal(c.https_tls.cert_file, "d");
    assert_string_equal(c.https_tls.key_file, "e");
    assert_string_equal(c.own_tls.key_file, "b");
    assert_string_equal(c.https_tls.ca_file, "c");
    assert_true(c.https_tls.verify_incoming);
    assert_true(c.https_tls.prefer_server_ciphers);
    assert_int_equal(c.https_tls_minor, 3);
    good("tls { https { verify_incoming = false tls_min_version = "
         "\"tls_auto\" } }");
    valid();
    assert_false(c.https_tls.verify_incoming);
    assert_int_equal(c.https_tls_minor, 2);
}

static void tls_that_cannot_be_is_refused(void **state)
{
    (void)state;
    invalid("tls { https { cert_file = \"a\" } }",
            "x.hcl:1:27: cert_file is set without key_file: both or none");
    invalid("cert_file = \"a\" key_file = \"b\" ports { https = 2 }\n"
            "verify_incoming = true",
            "x.hcl:2:19: verify_incoming is set without ca_file or ca_path: no "
            "client could be verified");
    invalid("tls_min_version = \"ssl3\"",
            "x.hcl:1:19: tls_min_version: value \"ssl3\" not supported, please "
            "specify one of tls10, tls11, tls12, tls13, TLSv1_0, TLSv1_1, "
            "TLSv1_2, TLSv1_3, TLS_AUTO");
}

static const struct CMUnitTest tests[] = {
    TEST(the_nearest_word_about_tls_counts),
    TEST(tls_that_cannot_be_is_refused),
    TEST(a_data_directory_is_needed),
    TEST(server_settings_need_a_server),
    TEST(one_expected_server_is_bootstrap),
    TEST(names_are_checked),
    TEST(node_metadata_is_checked),
    TEST(addresses_are_split_and_checked),
    TEST(two_listeners_cannot_share_a_port),
    TEST(socket_modes_are_octal),
    TEST(differences_name_key_and_both_values),
    TEST(dns_settings_are_checked),
    TEST(dns_settings_are_taken),
    TEST(one_thing_by_two_names_is_told_once),
    TEST(definitions_are_not_compared),
};

RUN_TESTS(tests)
