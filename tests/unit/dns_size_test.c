/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* How much is told, in which order, and what no packet can bring about. */
#include "dns_world.h"

enum { MANY = 40, HUGE = 6000, DRAWS = 20000 };

static int many(void **state)
{
    (void)setup(state);
    struct dns_world *d = *state;

    for (int i = 0; i < MANY; i++) {
        char node[16], address[24];
        (void)snprintf(node, sizeof node, "n%d", i);
        (void)snprintf(address, sizeof address, "10.0.0.%d", i);
        put_node(d, node, address);
        put_service(d, node, "big", "", 1000 + i, "", 1);
        if (i < 3)
            put_service(d, node, "web", "", 80 + i, "", i + 1);
    }
    return 0;
}

static void udp_tells_few_and_says_so(void **state)
{
    struct dns_world *d = *state;

    (void)ask(d, "big.service.consul", DNS_A);
    assert_int_equal(d->a.records[0], 3);
    assert_true(d->a.flags & DNS_TC);
    d->set.truncate = false;
    (void)ask(d, "big.service.consul", DNS_A);
    assert_false(d->a.flags & DNS_TC);
    d->set.udp_answer_limit = 100;
    (void)ask(d, "big.service.consul", DNS_A);
    assert_int_equal(d->a.records[0], 8);
    (void)ask(d, "web.service.consul", DNS_A);
    assert_int_equal(d->a.records[0], 3);
    assert_false(d->a.flags & DNS_TC);
}

static void edns_takes_what_fits(void **state)
{
    struct dns_world *d = *state;

    d->edns = 512;
    (void)ask(d, "big.service.consul", DNS_A);
    assert_int_equal(d->a.records[0], 3);
    d->edns = 600;
    (void)ask(d, "big.service.consul", DNS_A);
    assert_int_equal(d->a.records[0], (600 - 12 - 24 - 11) / 16);
    assert_true(d->a.flags & DNS_TC);
    d->edns = 1232;
    (void)ask(d, "big.service.consul", DNS_A);
    assert_int_equal(d->a.records[0], MANY);
    assert_false(d->a.flags & DNS_TC);
    assert_non_null(strstr(d->a.text, "OPT 1232 \n"));
}

/* No record of a target without its address, at any size. */
static void srv_and_addresses_stay_together(void **state)
{
    struct dns_world *d = *state;

    for (d->edns = 513; d->edns < 3000; d->edns += 7) {
        (void)ask(d, "big.service.consul", DNS_SRV);
        assert_true(d->a.answer_n <= (size_t)d->edns);
        assert_true(d->a.records[0] > 0);
        assert_int_equal(d->a.records[0] + 1, d->a.records[2]);
        assert_int_equal(!!(d->a.flags & DNS_TC), d->a.records[0] < MANY);
    }
}

static void tcp_tells_all(void **state)
{
    struct dns_world *d = *state;

    d->env.transport = DNS_OVER_TCP;
    (void)ask(d, "big.service.consul", DNS_SRV);
    assert_int_equal(d->a.records[0], MANY);
    assert_int_equal(d->a.records[2], MANY);
}

static void a_message_is_filled_and_no_more(void **state)
{
    struct dns_world *d = *state;

    for (int i = 0; i < HUGE; i++) {
        char id[16], address[24];
        (void)snprintf(id, sizeof id, "h%d", i);
        (void)snprintf(address, sizeof address, "10.1.%d.%d", i / 250, i % 250);
        struct service_view v = {.id = bytes_str(id),
                                 .name = bytes_str("huge"),
                                 .address = bytes_str(address),
                                 .port = 1 + i,
                                 .weight_passing = 1,
                                 .weight_warning = 1};
        struct buf key = {0}, value = {0};
        key_service(&key, bytes_str("n1"), v.id);
        record_put_service(&value, &v);
        d->w->revision++;
        assert_ok(catalog_put(d->w->catalog, buf_bytes(&key), buf_bytes(&value),
                              d->w->revision, d->w->revision, NULL));
        buf_fini(&key);
        buf_fini(&value);
    }
    (void)world_commit(d->w);
    d->env.transport = DNS_OVER_TCP;
    (void)ask(d, "huge.service.consul", DNS_A);
    assert_true(d->a.records[0] > 3800 && d->a.records[0] <= 4096);
    (void)ask(d, "huge.service.consul", DNS_SRV);
    assert_true(d->a.answer_n <= DNS_TCP_MOST);
    assert_true(d->a.records[0] > 600);
    assert_int_equal(d->a.records[0], d->a.records[2]);
    /* Of so many a part is looked at: another one in another second. */
    d->env.transport = DNS_OVER_UDP;
    (void)ask(d, "huge.service.consul", DNS_A);
    assert_int_equal(d->a.records[0], 3);
    d->env.now_s++;
    (void)ask(d, "huge.service.consul", DNS_A);
    assert_false(d->a.told.cached);
}

static void a_record_limit_is_no_truncation(void **state)
{
    struct dns_world *d = *state;

    d->set.a_record_limit = 2;
    d->edns = 4096;
    (void)ask(d, "big.service.consul", DNS_A);
    assert_int_equal(d->a.records[0], 2);
    assert_false(d->a.flags & DNS_TC);
    (void)ask(d, "big.service.consul", DNS_SRV);
    assert_int_equal(d->a.records[0], MANY);
}

/* Which one of web's three comes first, by its last digit. */
static size_t first_of(struct dns_world *d)
{
    const char *at = strstr(ask(d, "web.service.consul", DNS_A), "10.0.0.");
    assert_non_null(at);
    return (size_t)(at[7] - '0');
}

static void weights_1_2_3_are_first_so_often(void **state)
{
    struct dns_world *d = *state;
    size_t count[3] = {0};

    d->set.a_record_limit = 1;
    for (int i = 0; i < DRAWS; i++)
        count[first_of(d)]++;
    for (size_t i = 0; i < 3; i++) {
        double share = (double)count[i] / DRAWS;
        double want = (double)(i + 1) / 6;
        assert_true(share > want - 0.02 && share < want + 0.02);
    }
}

static void every_one_of_many_is_drawn_alike(void **state)
{
    struct dns_world *d = *state;
    size_t count[MANY] = {0};

    for (int i = 0; i < DRAWS; i++) {
        const char *at = ask(d, "big.service.consul", DNS_A);
        for (int k = 0; k < 3; k++) {
            at = strstr(at, "10.0.0.") + 7;
            count[strtoul(at, NULL, 10)]++;
        }
    }
    for (size_t i = 0; i < MANY; i++)
        assert_true(count[i] > DRAWS * 3 / MANY * 8 / 10 &&
                    count[i] < DRAWS * 3 / MANY * 12 / 10);
}

static void weight_0_is_told_when_there_is_nothing_else(void **state)
{
    struct dns_world *d = *state;

    put_service(d, "n1", "pair", "10.5.0.1", 1, "", 0);
    assert_string_equal(
        ask(d, "pair.service.consul", DNS_A),
        "NOERROR aa\nanswer pair.service.consul. 0 A 10.5.0.1\n");
    put_service(d, "n1", "pair", "10.5.0.2", 2, "", 1);
    assert_string_equal(
        ask(d, "pair.service.consul", DNS_A),
        "NOERROR aa\nanswer pair.service.consul. 0 A 10.5.0.2\n");
}

static void one_address_is_told_once(void **state)
{
    struct dns_world *d = *state;

    put_service(d, "n1", "twice", "", 1, "", 1);
    put_service(d, "n1", "twice", "", 2, "", 1);
    assert_string_equal(
        ask(d, "twice.service.consul", DNS_A),
        "NOERROR aa\nanswer twice.service.consul. 0 A 10.0.0.1\n");
    (void)ask(d, "twice.service.consul", DNS_SRV);
    assert_int_equal(d->a.records[0], 2);
}

static void sticky_keeps_a_clients_order(void **state)
{
    static const uint8_t clients[2][4] = {{192, 168, 1, 7}, {192, 168, 2, 7}};
    struct dns_world *d = *state;
    size_t alike = 0;

    d->set.sticky = true;
    d->env.client = bytes_of(clients[0], 4);
    char *first = xstrdup(ask(d, "big.service.consul", DNS_A));
    for (int i = 0; i < 20; i++)
        assert_string_equal(ask(d, "big.service.consul", DNS_A), first);
    d->env.client = bytes_of(clients[1], 4); /* another subnet */
    alike += strcmp(ask(d, "big.service.consul", DNS_A), first) == 0;
    assert_int_equal(alike, 0);
    free(first);
}

/* --- Bad packets ------------------------------------------------------------ */

static void every_truncation_is_refused(void **state)
{
    struct dns_world *d = *state;

    d->edns = 1232;
    write_query(d, "web.service.consul", DNS_A);
    size_t whole = d->a.query_n;
    for (size_t n = 0; n < whole; n++) {
        d->a.query_n = n;
        send_query(d, DNS_UDP_MOST);
        if (n < DNS_HEADER_BYTES) {
            assert_int_equal(d->a.verdict, DNS_SILENCE);
        } else if (n == whole - 11) {
            assert_int_equal(d->a.flags & 15, DNS_NOERROR); /* no OPT */
        } else {
            assert_string_equal(d->a.text, "FORMERR\n");
            assert_int_equal(d->a.answer_n, DNS_HEADER_BYTES);
        }
    }
}

static void odd_packets_get_short_answers(void **state)
{
    struct dns_world *d = *state;

    write_query(d, "web.service.consul", DNS_A);
    d->a.query[2] = 0x80; /* an answer */
    send_query(d, DNS_UDP_MOST);
    assert_int_equal(d->a.verdict, DNS_SILENCE);
    d->a.query[2] = 0x28; /* opcode UPDATE */
    send_query(d, DNS_UDP_MOST);
    assert_string_equal(d->a.text, "NOTIMP\n");
    d->a.query[2] = 0;
    d->a.query[5] = 2; /* two questions */
    send_query(d, DNS_UDP_MOST);
    assert_string_equal(d->a.text, "FORMERR\n");
    d->a.query[5] = 1;
    d->a.query[12] = 0xc0; /* a pointer to itself */
    d->a.query[13] = 12;
    send_query(d, DNS_UDP_MOST);
    assert_string_equal(d->a.text, "FORMERR\n");
}

static void bits_of_the_query_come_back(void **state)
{
    struct dns_world *d = *state;

    write_query(d, "web.service.consul", DNS_A);
    d->a.query[2] = 1;    /* RD */
    d->a.query[3] = 0x30; /* AD, CD */
    send_query(d, DNS_UDP_MOST);
    assert_int_equal(d->a.flags, DNS_QR | DNS_AA | DNS_RD | 0x10);
}

static void client_subnets_are_told_back(void **state)
{
    static const uint8_t opt[] = {0, 0, 41, 0x10, 0, 0, 0,  0, 0,   0,  11,
                                  0, 8, 0,  7,    0, 1, 24, 0, 198, 51, 100};
    struct dns_world *d = *state;

    write_query(d, "web.service.consul", DNS_A);
    memcpy(d->a.query + d->a.query_n, opt, sizeof opt);
    d->a.query_n += sizeof opt;
    d->a.query[11] = 1;
    send_query(d, DNS_UDP_MOST);
    assert_non_null(
        strstr(d->a.text, "additional . OPT 4096 0008000700011800c63364\n"));
    d->a.query[d->a.query_n - 5] = 33; /* bits of an IPv4 address */
    send_query(d, DNS_UDP_MOST);
    assert_string_equal(d->a.text, "FORMERR\n");
}

static void giving_up_says_what_was_asked(void **state)
{
    struct dns_world *d = *state;

    d->edns = 1232;
    write_query(d, "example.com", DNS_A);
    d->a.answer_n = dns_refuse(bytes_of(d->a.query, d->a.query_n), DNS_SERVFAIL,
                               NULL, true, d->a.answer, DNS_UDP_PLAIN);
    read_answer(&d->a);
    assert_string_equal(d->a.text, "SERVFAIL ra\nadditional . OPT 1232 \n");
    d->a.answer_n = dns_refuse(bytes_of(d->a.query, d->a.query_n), DNS_SERVFAIL,
                               &(struct dns_ede){"no", 22}, true, d->a.answer,
                               DNS_UDP_PLAIN);
    read_answer(&d->a);
    assert_string_equal(d->a.text, "SERVFAIL ra\nadditional . OPT 1232 "
                                   "000f000400166e6f\n");
    assert_int_equal(dns_refuse(bytes_str("short"), DNS_SERVFAIL, NULL, true,
                                d->a.answer, DNS_UDP_PLAIN),
                     0);
}

/* A cache of few bytes, names and changes at random: as without it. */
static void kept_answers_are_the_answers(void **state)
{
    struct dns_world *d = *state;
    struct dns_worker *with = d->worker, *without;
    uint64_t seed = 7;
    size_t cached = 0;

    assert_ok(dns_worker_new(0, &without));
    for (int i = 0; i < 20000; i++) {
        char name[64];
        size_t node = below(&seed, MANY);
        if (chance(&seed, 5)) {
            char n[16], id[16];
            (void)snprintf(n, sizeof n, "n%zu", node);
            (void)snprintf(id, sizeof id, "big-%zu", 1000 + node);
            put_check(d, n, id, chance(&seed, 50) ? "critical" : "passing");
        }
        (void)snprintf(name, sizeof name, "%s%s.service.consul",
                       chance(&seed, 50) ? "" : "x.",
                       chance(&seed, 50) ? "big" : "web");
        unsigned type = chance(&seed, 50) ? DNS_A : DNS_SRV;
        d->edns = chance(&seed, 50) ? 4096 : 0;
        d->env.random = 99;
        char *first = xstrdup(ask(d, name, type));
        cached += d->a.told.cached;
        d->worker = without;
        d->env.random = 99;
        assert_string_equal(ask(d, name, type), first);
        assert_false(d->a.told.cached);
        free(first);
        d->worker = with;
    }
    assert_true(cached > 1000);
    dns_worker_free(without);
}

/* A version that the table of changes does not know yet: the service is looked up. */
static void a_table_that_is_late_hides_nothing(void **state)
{
    struct dns_world *d = *state;
    struct check_view v = {.id = bytes_str("web-80"),
                           .name = bytes_str("c"),
                           .status = bytes_str("critical"),
                           .service_id = bytes_str("web-80")};

    (void)ask(d, "web.service.consul", DNS_A);
    assert_int_equal(d->a.records[0], 3);
    d->w->revision++;
    world_put_check(d->w, "n0", &v);
    (void)world_commit(d->w); /* and nobody told */
    (void)ask(d, "web.service.consul", DNS_A);
    assert_int_equal(d->a.records[0], 2);
    (void)ask(d, "web.service.consul", DNS_A);
    assert_int_equal(d->a.records[0], 2);
    tell_changes(d);
    (void)ask(d, "web.service.consul", DNS_A);
    assert_int_equal(d->a.records[0], 2);
    assert_true(d->a.told.cached);
}

/* Everything may have changed. */
static void a_load_makes_all_be_looked_at(void **state)
{
    struct dns_world *d = *state;
    uint64_t seed = 3;

    (void)ask(d, "web.service.consul", DNS_A);
    d->w->revision++;
    world_load(d->w, d->w->catalog, &seed);
    tell_changes(d);
    (void)ask(d, "web.service.consul", DNS_A);
    assert_int_equal(d->a.records[0], 3);
    assert_false(d->a.told.cached);
}

#define T(f) cmocka_unit_test_setup_teardown(f, many, teardown)

static const struct CMUnitTest tests[] = {
    T(udp_tells_few_and_says_so),
    T(edns_takes_what_fits),
    T(srv_and_addresses_stay_together),
    T(tcp_tells_all),
    T(a_message_is_filled_and_no_more),
    T(a_record_limit_is_no_truncation),
    T(weights_1_2_3_are_first_so_often),
    T(every_one_of_many_is_drawn_alike),
    T(weight_0_is_told_when_there_is_nothing_else),
    T(one_address_is_told_once),
    T(sticky_keeps_a_clients_order),
    T(every_truncation_is_refused),
    T(odd_packets_get_short_answers),
    T(bits_of_the_query_come_back),
    T(client_subnets_are_told_back),
    T(giving_up_says_what_was_asked),
    T(kept_answers_are_the_answers),
    T(a_table_that_is_late_hides_nothing),
    T(a_load_makes_all_be_looked_at),
};

RUN_TESTS(tests)
