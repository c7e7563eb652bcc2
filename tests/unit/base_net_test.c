/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "base/net.h"

#include "test.h"

static bool in(const char *network, const char *address)
{
    struct net n;

    if (net_parse(bytes_str(network), &n) != ERR_OK)
        fail_msg("%s: not parsed", network);
    return net_has(&n, bytes_str(address));
}

static void an_address_is_in_its_networks(void **state)
{
    (void)state;
    assert_true(in("127.0.0.0/8", "127.0.0.1"));
    assert_true(in("127.0.0.0/8", "127.255.255.255"));
    assert_false(in("127.0.0.0/8", "128.0.0.0"));
    assert_true(in("10.1.2.3/32", "10.1.2.3"));
    assert_false(in("10.1.2.3/32", "10.1.2.2"));
    assert_true(in("10.1.2.3/31", "10.1.2.2"));
    assert_true(in("0.0.0.0/0", "203.0.113.9"));
    assert_false(in("0.0.0.0/0", "::1"));
    assert_true(in("::/0", "::1"));
    assert_true(in("fe80::/10", "febf::1"));
    assert_false(in("fe80::/10", "fec0::1"));
    assert_true(in("2001:db8::/33", "2001:db8:7fff::"));
    assert_false(in("2001:db8::/33", "2001:db8:8000::"));
    assert_true(in("10.0.0.0/8", "::ffff:10.9.9.9"));
    assert_true(in("::ffff:10.0.0.0/104", "10.9.9.9"));
}

static void an_address_alone_is_one_host(void **state)
{
    struct net n;

    (void)state;
    assert_ok(net_parse_host(bytes_str("10.1.2.3"), &n));
    assert_true(net_has(&n, bytes_str("10.1.2.3")));
    assert_false(net_has(&n, bytes_str("10.1.2.2")));
    assert_ok(net_parse_host(bytes_str("fd00::7"), &n));
    assert_true(net_has(&n, bytes_str("fd00:0::7")));
    assert_false(net_has(&n, bytes_str("fd00::6")));
    assert_ok(net_parse_host(bytes_str("10.0.0.0/8"), &n));
    assert_true(net_has(&n, bytes_str("10.9.9.9")));
    static const char *const none[] = {
        "", "here", "10.0.0", "10.0.0.0/33", "10.0.0.1 ", "::1/"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        assert_int_equal(net_parse_host(bytes_str(none[i]), &n), ERR_BAD);
}

static void bits_beyond_the_mask_do_not_count(void **state)
{
    (void)state;
    assert_true(in("10.99.99.99/8", "10.0.0.1"));
    assert_true(in("fe80::1/64", "fe80::2"));
}

static void what_is_no_address_is_in_no_network(void **state)
{
    (void)state;
    static const char *const others[] = {"",      "unix",      "10.0.0.1:80",
                                         "1.2.3", "localhost", "[::1]"};

    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_false(in("::/0", others[i]));
}

static void what_is_no_network_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "/",
        "10.0.0.0",
        "10.0.0.0/",
        "10.0.0.0/33",
        "::/129",
        "10.0.0/8",
        "/8",
        "10.0.0.0/8 ",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "10.0.0.0/08",
        "10.0.0.0/8/8",
        "host/8",
        "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc/8"};
    struct net n;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (net_parse(bytes_str(bad[i]), &n) != ERR_BAD)
            fail_msg("%s is taken", bad[i]);
}

static void a_host_and_its_port_are_told_as_peers_read_them(void **state)
{
    char text[32], little[6];

    (void)state;
    net_host_port(text, sizeof text, bytes_str("10.0.0.1"), 8301);
    assert_string_equal(text, "10.0.0.1:8301");
    net_host_port(text, sizeof text, bytes_str("fe80::1"), 8301);
    assert_string_equal(text, "[fe80::1]:8301");
    net_host_port(little, sizeof little, bytes_str("10.0.0.1"), 8301);
    assert_string_equal(little, "10.0.");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_address_is_in_its_networks),
    cmocka_unit_test(an_address_alone_is_one_host),
    cmocka_unit_test(bits_beyond_the_mask_do_not_count),
    cmocka_unit_test(what_is_no_address_is_in_no_network),
    cmocka_unit_test(what_is_no_network_is_refused),
    cmocka_unit_test(a_host_and_its_port_are_told_as_peers_read_them),
};

RUN_TESTS(tests)
