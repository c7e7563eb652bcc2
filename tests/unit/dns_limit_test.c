/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Who gets how many answers, and who is believed to be where he says he is. */
#include "dns_world.h"

#define SECOND UINT64_C(1000000)

static struct bytes ip(const char *text)
{
    static uint8_t v[4][16];
    static size_t at;
    uint8_t *p = v[at++ % 4];

    if (inet_pton(AF_INET, text, p) == 1)
        return bytes_of(p, 4);
    assert_int_equal(inet_pton(AF_INET6, text, p), 1);
    return bytes_of(p, 16);
}

static size_t unhex(const char *text, uint8_t *to)
{
    size_t n = strlen(text) / 2;

    for (size_t i = 0; i < n; i++) {
        unsigned v;
        assert_int_equal(sscanf(text + 2 * i, "%2x", &v), 1);
        to[i] = (uint8_t)v;
    }
    return n;
}

/* --- Cookies ----------------------------------------------------------------- */

/* The example of the paper's appendix A. */
static void siphash_is_that_of_the_paper(void **state)
{
    struct dns_key key;
    uint8_t text[15];

    (void)state;
    for (uint8_t i = 0; i < 16; i++)
        key.p[i] = i;
    for (uint8_t i = 0; i < 15; i++)
        text[i] = i;
    assert_true(dns_siphash(&key, text, 15) == UINT64_C(0xa129ca6149be45e5));
}

static struct dns_cookie cookie_of(const char *hex)
{
    struct dns_cookie c = {0};

    c.n = (uint8_t)unhex(hex, c.p);
    return c;
}

static void expect_cookie(const struct dns_cookie *c, const char *hex)
{
    struct dns_cookie want = cookie_of(hex);

    assert_int_equal(c->n, want.n);
    assert_memory_equal(c->p, want.p, want.n);
}

/* RFC 9018, appendix A. */
static void cookies_are_those_of_the_rfc(void **state)
{
    static const struct {
        const char *key, *client;
        uint32_t now;
        const char *sent, *told;
        bool known;
    } v[] = {
        {"e5e973e5a6b2a43f48e7dc849e37bfcf", "198.51.100.100", 1559731985,
         "2464c4abcf10c957", "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
         false},
        {"e5e973e5a6b2a43f48e7dc849e37bfcf", "198.51.100.100", 1559734385,
         "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
         "2464c4abcf10c957010000005cf7a871d4a564a1442aca77", true},
        {"e5e973e5a6b2a43f48e7dc849e37bfcf", "203.0.113.203", 1559734700,
         "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5",
         "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e", false},
        {"445536bcd2513298075a5d379663c962",
         "2001:db8:220:1:59de:d0f4:8769:82b8", 1559741961,
         "22681ab97d52c298010000005cf7c57926556bd0934c72f8",
         "22681ab97d52c298010000005cf7c609a6bb79d16625507a", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
        struct dns_key key;
        struct dns_cookie c = cookie_of(v[i].sent);
        assert_int_equal(unhex(v[i].key, key.p), 16);
        assert_int_equal(dns_cookie_answer(&key, ip(v[i].client), v[i].now, &c),
                         v[i].known);
        expect_cookie(&c, v[i].told);
    }
    /* The third one, with bits in reserved bytes, while it was young. */
    struct dns_key key;
    struct dns_cookie c = cookie_of(v[2].sent);
    (void)unhex(v[2].key, key.p);
    assert_true(dns_cookie_answer(&key, ip(v[2].client), 1559727985 + 60, &c));
    expect_cookie(&c, v[2].sent);
}

static void a_cookie_is_good_for_an_hour_and_one_address(void **state)
{
    static const struct dns_key key = {"secret"};
    struct dns_cookie made = cookie_of("0102030405060708");
    const uint32_t now = UINT32_MAX - 100; /* the clock wraps on the way */

    (void)state;
    assert_false(dns_cookie_answer(&key, ip("10.0.0.1"), now, &made));
    for (int64_t age = -600; age < 5000; age += 20) {
        struct dns_cookie c = made;
        bool good =
            dns_cookie_answer(&key, ip("10.0.0.1"), (uint32_t)(now + age), &c);
        assert_int_equal(good, age >= -300 && age <= 3600);
        bool same = memcmp(&c, &made, sizeof c) == 0;
        assert_int_equal(same, age >= -300 && age < 1800);
    }
    struct dns_cookie c = made;
    assert_false(dns_cookie_answer(&key, ip("10.0.0.2"), now, &c));
    for (size_t i = 0; i < DNS_COOKIE_MADE; i++) {
        c = made;
        c.p[i] ^= 1;
        assert_false(dns_cookie_answer(&key, ip("10.0.0.1"), now, &c));
    }
}

/* --- Queries with cookies -------------------------------------------------------- */

static void write_with_cookie(struct dns_world *d, const uint8_t *p, size_t n)
{
    d->edns = 1232;
    write_query(d, "web.service.consul", DNS_A);
    uint8_t *q = d->a.query;
    size_t at = d->a.query_n;
    q[at - 1] = (uint8_t)(4 + n); /* the OPT's length */
    q[at++] = 0;
    q[at++] = 10;
    q[at++] = 0;
    q[at++] = (uint8_t)n;
    memcpy(q + at, p, n);
    d->a.query_n = at + n;
}

static void cookies_of_other_lengths_are_malformed(void **state)
{
    struct dns_world *d = *state;
    static const struct dns_key key = {"secret"};
    static const uint8_t p[48];

    d->env.key = &key;
    for (size_t n = 0; n < sizeof p; n++) {
        bool good = n == 8 || (n >= 16 && n <= 40);
        write_with_cookie(d, p, n);
        send_query(d, DNS_UDP_MOST);
        assert_int_equal(d->a.flags & 15, good ? DNS_NXDOMAIN : DNS_FORMERR);
        assert_int_equal(strstr(d->a.text, "OPT 1232 000a0018") != NULL, good);
    }
    d->env.key = NULL; /* nobody gives any out */
    write_with_cookie(d, p, 8);
    send_query(d, DNS_UDP_MOST);
    assert_non_null(strstr(d->a.text, "OPT 1232 \n"));
}

/* --- Limits -------------------------------------------------------------------------- */

static struct dns_limits *limits;

static int with_limits(void **state)
{
    (void)setup(state);
    struct dns_world *d = *state;
    limits = xzalloc(sizeof *limits);
    limits->seed = 7;
    d->env.limits = limits;
    d->env.now_us = 50 * SECOND;
    d->env.client = ip("192.0.2.1");
    return 0;
}

static int without_limits(void **state)
{
    free(limits);
    return teardown(state);
}

static unsigned taken(const char *client, uint32_t rate, uint64_t now_us,
                      unsigned tries)
{
    unsigned n = 0;

    for (unsigned i = 0; i < tries; i++)
        n += dns_limit_take(limits, ip(client), rate, now_us);
    return n;
}

static void a_network_gets_its_rate_and_no_more(void **state)
{
    (void)state;
    assert_int_equal(taken("192.0.2.1", 5, 10 * SECOND, 20), 5);
    assert_int_equal(taken("192.0.2.99", 5, 10 * SECOND, 20), 0); /* its /24 */
    assert_int_equal(taken("192.0.3.1", 5, 10 * SECOND, 20), 5);
    assert_int_equal(taken("192.0.2.1", 5, 10 * SECOND + 200000, 20), 1);
    assert_int_equal(taken("192.0.2.1", 5, 11 * SECOND + 200000, 20), 5);
    assert_int_equal(taken("192.0.2.1", 5, 90 * SECOND, 20), 5);
    assert_int_equal(taken("2001:db8::1", 5, SECOND, 20), 5);
    assert_int_equal(taken("2001:db8:0:ff::1", 5, SECOND, 20), 0); /* its /56 */
    assert_int_equal(taken("2001:db8:0:100::1", 5, SECOND, 20), 5);
    assert_int_equal(taken("10.0.0.1", 1000000, SECOND, 20), 20);
    assert_int_equal(taken("10.0.1.1", 1, SECOND, 20), 1);
}

/* Over the time's wrap, too: a steady client gets what it asks for. */
static void who_stays_below_the_rate_is_never_limited(void **state)
{
    uint64_t now = (UINT64_C(1) << 40) - 5 * SECOND;

    (void)state;
    for (int i = 0; i < 1000; i++, now += 10000)
        assert_true(dns_limit_take(limits, ip("192.0.2.1"), 100, now));
    for (int i = 0; i < 1000; i++, now += 5000) /* twice as much: half of it */
        (void)dns_limit_take(limits, ip("192.0.2.1"), 100, now);
    unsigned got = 0;
    for (int i = 0; i < 1000; i++, now += 5000)
        got += dns_limit_take(limits, ip("192.0.2.1"), 100, now);
    assert_in_range(got, 499, 501);
}

/* A million forged networks do not make the table forget the one that floods. */
static void a_flood_of_networks_hides_nobody(void **state)
{
    (void)state;
    assert_int_equal(taken("192.0.2.1", 100, SECOND, 200), 100);
    for (uint32_t i = 0; i < 1000000; i++) {
        uint8_t a[4] = {(uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i, 1};
        (void)dns_limit_take(limits, bytes_of(a, 4), 100, SECOND);
    }
    assert_int_equal(taken("192.0.2.1", 100, SECOND, 200), 0);
}

static void loopback_and_exempt_networks_have_no_limit(void **state)
{
    struct net nets[2];

    (void)state;
    assert_ok(net_parse_host(bytes_str("10.1.2.3"), &nets[0]));
    assert_ok(net_parse_host(bytes_str("fd00::/8"), &nets[1]));
    static const char *const in[] = {"127.0.0.1", "127.9.9.9", "::1",
                                     "10.1.2.3", "fd12::9"};
    static const char *const out[] = {"10.1.2.4", "128.0.0.1", "::2",
                                      "fe80::1"};
    for (size_t i = 0; i < sizeof in / sizeof in[0]; i++)
        assert_true(dns_limit_exempt(ip(in[i]), nets, 2));
    for (size_t i = 0; i < sizeof out / sizeof out[0]; i++)
        assert_false(dns_limit_exempt(ip(out[i]), nets, 2));
    assert_false(dns_limit_exempt((struct bytes){NULL, 0}, nets, 2));
}

/* --- Answers over the limit ------------------------------------------------------------ */

struct counts {
    unsigned answered, slipped, silent;
};

static struct counts ask_often(struct dns_world *d, unsigned times)
{
    struct counts c = {0};

    for (unsigned i = 0; i < times; i++) {
        send_query(d, DNS_UDP_MOST);
        if (!d->a.told.limited) {
            c.answered++;
        } else if (d->a.verdict == DNS_SILENCE) {
            c.silent++;
        } else {
            assert_true(d->a.told.truncated);
            assert_true(d->a.answer_n <= d->a.query_n);
            assert_int_equal(d->a.records[0] + d->a.records[1], 0);
            c.slipped++;
        }
    }
    return c;
}

static void over_the_limit_some_are_told_to_come_by_tcp(void **state)
{
    struct dns_world *d = *state;

    write_query(d, "web.service.consul", DNS_A);
    assert_int_equal(ask_often(d, 1000).answered, 1000); /* off */
    d->set.rrl_rate = 10;
    struct counts c = ask_often(d, 1010);
    assert_true(c.answered == 10 && c.slipped == 0 && c.silent == 1000);
    d->set.rrl_slip = 1;
    c = ask_often(d, 1000);
    assert_true(c.answered == 0 && c.slipped == 1000);
    d->set.rrl_slip = 4;
    c = ask_often(d, 4000);
    assert_in_range(c.slipped, 800, 1200);
    assert_int_equal(c.slipped + c.silent, 4000);
    d->env.transport = DNS_OVER_TCP;
    assert_int_equal(ask_often(d, 100).answered, 100);
    d->env.transport = DNS_OVER_UDP;
    d->env.client = ip("127.0.0.1");
    assert_int_equal(ask_often(d, 100).answered, 100);
}

static void malformed_packets_count_as_well(void **state)
{
    struct dns_world *d = *state;

    d->set.rrl_rate = 10;
    write_query(d, "web.service.consul", DNS_A);
    d->a.query_n -= 3;
    struct counts c = ask_often(d, 100);
    assert_true(c.answered == 10 && c.silent == 90);
    d->a.query_n = 3; /* nothing is ever said to that */
    c = ask_often(d, 100);
    assert_true(c.answered == 100 && d->a.verdict == DNS_SILENCE);
}

static void who_has_a_cookie_of_ours_is_not_limited(void **state)
{
    static const struct dns_key key = {"secret"};
    struct dns_world *d = *state;
    struct dns_cookie c = cookie_of("0102030405060708");

    d->env.key = &key;
    d->set.rrl_rate = 10;
    d->set.rrl_slip = 1;
    (void)dns_cookie_answer(&key, d->env.client, d->env.now_s, &c);
    write_with_cookie(d, c.p, c.n);
    assert_int_equal(ask_often(d, 1000).answered, 1000);
    write_with_cookie(d, c.p, DNS_COOKIE_CLIENT);
    assert_int_equal(ask_often(d, 10).answered, 10);
    send_query(d, DNS_UDP_MOST); /* over the limit it is told the cookie */
    assert_true(d->a.told.limited);
    assert_non_null(strstr(d->a.text, "OPT 1232 000a0018"
                                      "0102030405060708"));
    c.p[20] ^= 1;
    write_with_cookie(d, c.p, c.n);
    send_query(d, DNS_UDP_MOST);
    assert_true(d->a.told.limited);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, with_limits, without_limits)

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(siphash_is_that_of_the_paper),
    cmocka_unit_test(cookies_are_those_of_the_rfc),
    cmocka_unit_test(a_cookie_is_good_for_an_hour_and_one_address),
    TEST(cookies_of_other_lengths_are_malformed),
    TEST(a_network_gets_its_rate_and_no_more),
    TEST(who_stays_below_the_rate_is_never_limited),
    TEST(a_flood_of_networks_hides_nobody),
    TEST(loopback_and_exempt_networks_have_no_limit),
    TEST(over_the_limit_some_are_told_to_come_by_tcp),
    TEST(malformed_packets_count_as_well),
    TEST(who_has_a_cookie_of_ours_is_not_limited),
};

RUN_TESTS(tests)
