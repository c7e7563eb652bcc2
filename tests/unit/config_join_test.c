/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Whom to join, and the key: what is taken, and what is refused with which
 * words. */
#include <stdio.h>

#include "config_agent.h"

static void takes(const char *text)
{
    start(false);
    if (apply("x.hcl", text) != ERR_OK ||
        agent_config_validate(&c, &t) != ERR_OK)
        fail_msg("%s: %s", text, t.s);
}

static void refuses(const char *text, const char *want)
{
    start(false);
    assert_ok(apply("x.hcl", text));
    assert_int_equal(agent_config_validate(&c, &t), ERR_BAD);
    assert_string_equal(t.s, want);
}

#define LOCAL "data_dir = \"/d\" bind_addr = \"127.0.0.1\" "

static void addresses_get_the_port_of_peers(void **state)
{
    static const char *const want[] = {
        "a.example:8301", "10.0.0.1:9",     "[::1]:8301",
        "[::1]:7",        "[fe80::1]:8301", "b_c-d:65535",
    };

    (void)state;
    takes(LOCAL "retry_join = [\"10.0.0.1:9\", \"[::1]\", \"[::1]:7\", "
                "\"fe80::1\", \"b_c-d:65535\"] start_join = [\"a.example\"]");
    assert_int_equal(c.join.all.n, sizeof want / sizeof want[0]);
    for (size_t i = 0; i < c.join.all.n; i++)
        assert_string_equal(c.join.all.v[i], want[i]);
    assert_int_equal(c.join.interval_ms, 30000);
    takes(LOCAL "retry_join = [\"a\"] ports { serf_lan = 9301 } "
                "retry_interval = \"2s\" retry_max = 3");
    assert_string_equal(c.join.all.v[0], "a:9301");
    assert_int_equal(c.join.interval_ms, 2000);
    assert_int_equal(c.join.attempts_max, 3);
}

static void what_is_no_address_is_refused(void **state)
{
    static const char *const bad[] = {
        "",     "a b",  ":8301",  "a:",  "a:0",      "a:65536", "a:x",
        "[::1", "[]:1", "[::1]1", "a/b", "http://a", "a:1:2]",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[128], want[192];

        (void)snprintf(text, sizeof text, "%sretry_join = [\"%s\"]", LOCAL,
                       bad[i]);
        start(false);
        assert_ok(apply("x.hcl", text));
        assert_int_equal(agent_config_validate(&c, &t), ERR_BAD);
        (void)snprintf(want, sizeof want,
                       "retry_join: \"%s\" is not HOST, HOST:PORT or "
                       "[V6]:PORT",
                       bad[i]);
        if (!strstr(t.s, want))
            fail_msg("got %s, want %s", t.s, want);
    }
    refuses(LOCAL "retry_join = [\"provider=aws tag_key=x\"]",
            "x.hcl:1:54: retry_join: \"provider=aws tag_key=x\": clouds are "
            "not asked for addresses (provider=...): write HOST:PORT, or a "
            "name that resolves to the servers");
}

static void a_key_has_16_24_or_32_bytes(void **state)
{
    static const char *const good[] = {
        "MDEyMzQ1Njc4OWFiY2RlZg==", "MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1u",
        "MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXY="};
    static const char *const bad[] = {"x",
                                      "MDEy",
                                      "MDEyMzQ1Njc4OWFiY2Rl===",
                                      "MDEyMzQ1Njc4OWFiY2R=Zg==",
                                      "MDEyMzQ1Njc4OWFiY2RlZmc=",
                                      "MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0"
                                      "dXZ3eHl6MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1u"
                                      "b3BxcnN0dXY="};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        char text[128];

        (void)snprintf(text, sizeof text, "data_dir = \"/d\" encrypt = \"%s\"",
                       good[i]);
        takes(text);
        assert_int_equal(c.join.key.n, 16 + 8 * i);
        assert_memory_equal(c.join.key.p, "0123456789abcdefghijklmnopqrstuv",
                            c.join.key.n);
        assert_true(c.join.safe);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[256];

        (void)snprintf(text, sizeof text, "data_dir = \"/d\" encrypt = \"%s\"",
                       bad[i]);
        start(false);
        assert_ok(apply("x.hcl", text));
        assert_int_equal(agent_config_validate(&c, &t), ERR_BAD);
        assert_non_null(strstr(t.s, "encrypt has invalid key: "));
        assert_non_null(strstr(t.s, "muster keygen"));
        /* It is secret even if it is wrong. */
        assert_null(strstr(t.s, bad[i][0] == 'x' ? "\"x\"" : bad[i]));
    }
    takes("data_dir = \"/d\" encrypt = \"\"");
    assert_int_equal(c.join.key.n, 0);
}

static void without_a_key_others_join_on_loopback_only(void **state)
{
    (void)state;
    refuses("data_dir = \"/d\" retry_join = [\"a\"]",
            "bind_addr 0.0.0.0 is open to the network, and there is no key: "
            "set encrypt to the same on all servers and agents (muster keygen "
            "makes one)");
    refuses("data_dir = \"/d\" server = true bootstrap_expect = 3 "
            "bind_addr = \"10.0.0.1\" retry_join = [\"a\"]",
            "x.hcl:1:64: bind_addr 10.0.0.1 is open to the network, and there "
            "is no key: set encrypt to the same on all servers and agents "
            "(muster keygen makes one)");
    takes(LOCAL "retry_join = [\"a\"]");
    assert_true(c.join.safe);
    /* Who is alone joins nobody. */
    takes("data_dir = \"/d\" server = true bootstrap = true retry_join = "
          "[\"a\"]");
    assert_false(c.join.safe);
}

static void several_servers_need_each_others_addresses(void **state)
{
    (void)state;
    refuses(LOCAL "server = true bootstrap_expect = 3",
            "x.hcl:1:74: 'bootstrap_expect = 3' requires retry_join: the "
            "addresses of the servers");
    refuses(LOCAL "server = true bootstrap_expect = 3 retry_join = [\"a\"] "
                  "ports { server = -1 }",
            "x.hcl:1:112: 'bootstrap_expect = 3' requires ports.server: the "
            "servers' stores talk there");
    refuses(LOCAL "retry_join = [\"a\"] ports { serf_lan = -1 }",
            "x.hcl:1:79: joining others requires ports.serf_lan: they reach "
            "this agent there");
    refuses(LOCAL "retry_interval = \"0s\"",
            "x.hcl:1:58: retry_interval must be over 0s");
    takes(LOCAL "server = true bootstrap_expect = 3 store = \"etcd://a\"");
}

static void servers_join_datacenters_at_their_port(void **state)
{
    (void)state;
    takes(LOCAL "server = true retry_join_wan = [\"b:1\"] start_join_wan = "
                "[\"10.0.0.1\"] retry_interval_wan = \"3s\"");
    assert_int_equal(c.join.all_wan.n, 2);
    assert_string_equal(c.join.all_wan.v[0], "10.0.0.1:8302");
    assert_string_equal(c.join.all_wan.v[1], "b:1");
    assert_int_equal(c.join.interval_wan_ms, 3000);
    assert_int_equal(c.join.all.n, 0);
    start(false);
    static const struct {
        const char *text, *why;
    } bad[] = {
        {LOCAL "retry_join_wan = [\"a\"]", "retry_join_wan is for servers"},
        {LOCAL "server = true retry_join_wan = [\"a\"] ports { serf_wan = "
               "-1 }",
         "joining other datacenters requires ports.serf_wan"},
        {"data_dir = \"/d\" bind_addr = \"10.0.0.9\" server = true "
         "retry_join_wan = [\"a\"]",
         "is open to the network, and there is no key"},
        {LOCAL "server = true retry_join_wan = [\"a b\"]",
         "is not HOST, HOST:PORT or [V6]:PORT"},
        {LOCAL "server = true retry_interval_wan = \"0s\"",
         "retry_interval_wan must be over 0s"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        start(false);
        assert_ok(apply("x.hcl", bad[i].text));
        assert_int_equal(agent_config_validate(&c, &t), ERR_BAD);
        if (!strstr(t.s, bad[i].why))
            fail_msg("got %s, want %s", t.s, bad[i].why);
    }
}

static void what_is_mirrored_is_said_in_names(void **state)
{
    (void)state;
    takes(LOCAL "server = true");
    assert_int_equal(c.mirror.services.n, 0);
    assert_false(c.mirror.off);
    assert_int_equal(c.mirror.max_age_ms, 3600 * 1000);
    assert_int_equal(c.mirror.failover_max_age_ms, 60 * 1000);
    start(false);
    takes(LOCAL "server = true mirror { services = [\"web\", \"pay-*\"] "
                "max_bytes = 1048576 } mirror_max_age = \"2m\" "
                "mirror_failover_max_age = \"5s\"");
    assert_int_equal(c.mirror.services.n, 2);
    assert_int_equal(c.mirror.max_bytes, 1 << 20);
    assert_int_equal(c.mirror.max_age_ms, 120 * 1000);
    assert_int_equal(c.mirror.failover_max_age_ms, 5000);
    start(false);
    takes(LOCAL "server = true mirror { services = [\"none\"] }");
    assert_true(c.mirror.off);
    start(false);
    takes(LOCAL "server = true mirror { services = [\"all\"] }");
    assert_int_equal(c.mirror.services.n, 0);
    assert_false(c.mirror.off);
    start(false);
    takes(LOCAL "server = true mirror { tags = [\"public\", \"a \\\"b\"] }");
    assert_int_equal(c.mirror.services.n, 0);
    assert_int_equal(c.mirror.tags.n, 2);
    assert_string_equal(c.mirror.tags.v[1], "a \"b");
    start(false);
    takes(LOCAL "server = true mirror { services = [\"web\"] "
                "tags = [\"public\"] }");
    assert_int_equal(c.mirror.services.n, 1);
    assert_int_equal(c.mirror.tags.n, 1);
    start(false);
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"services = [\"*\"]", "\"*\" is no name of a service, nor a prefix"},
        {"services = [\"a*b\"]", "\"a*b\" is no name of a service"},
        {"services = [\"web\", \"all\"]", "\"all\" stands alone"},
        {"services = [\"all\"] tags = [\"x\"]", "without mirror.tags too"},
        {"services = [\"none\"] tags = [\"x\"]", "\"none\" stands alone"},
        {"tags = [\"\"]", "\"\" is no tag of 1 to 255 bytes"},
        {"tags = [\"a`b\"]", "\"a`b\" is no tag"},
        {"tags = [\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\","
         "\"11\"]",
         "mirror.tags has 11 tags, more than 10"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[300];
        snprintf(text, sizeof text, LOCAL "server = true mirror { %s }",
                 bad[i].text);
        start(false);
        assert_ok(apply("x.hcl", text));
        assert_int_equal(agent_config_validate(&c, &t), ERR_BAD);
        if (!strstr(t.s, bad[i].why))
            fail_msg("got %s, want %s", t.s, bad[i].why);
    }
    start(false);
    assert_int_equal(apply("x.hcl", LOCAL "mirror { max_bytes = 5 }"), ERR_BAD);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(what_is_mirrored_is_said_in_names, setup,
                                    teardown),
    cmocka_unit_test_setup_teardown(servers_join_datacenters_at_their_port,
                                    setup, teardown),
    cmocka_unit_test_setup_teardown(addresses_get_the_port_of_peers, setup,
                                    teardown),
    cmocka_unit_test_setup_teardown(what_is_no_address_is_refused, setup,
                                    teardown),
    cmocka_unit_test_setup_teardown(a_key_has_16_24_or_32_bytes, setup,
                                    teardown),
    cmocka_unit_test_setup_teardown(without_a_key_others_join_on_loopback_only,
                                    setup, teardown),
    cmocka_unit_test_setup_teardown(several_servers_need_each_others_addresses,
                                    setup, teardown),
};

RUN_TESTS(tests)
