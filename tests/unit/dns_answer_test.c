/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* What names are answered, form by form. */
#include "dns_world.h"

#define SOA                                                                    \
    "consul. 0 SOA ns.consul. hostmaster.consul. 1000 3600 600 86400 0\n"
#define NOTHING "NXDOMAIN aa\nauthority " SOA
#define EMPTY   "NOERROR aa\nauthority " SOA

static int filled(void **state)
{
    (void)setup(state);
    struct dns_world *d = *state;

    d->set.soa.refresh = 3600;
    d->set.soa.retry = 600;
    d->set.soa.expire = 86400;
    put_node(d, "n1", "10.0.0.1");
    put_node(d, "n2", "fd00::2");
    put_node(d, "n.3", "node3.example.com");
    put_service(d, "n1", "web", "", 80, "v.1", 1);
    put_service(d, "n1", "db", "10.9.0.1", 90, "Main", 7);
    put_service(d, "n2", "six", "", 66, "", 1);
    put_service(d, "n1", "ext", "www.example.com", 443, "", 1);
    put_service(d, "n1", "inner", "n1.node.consul", 1, "", 1);
    put_service(d, "n1", "self", "self.service.consul", 1, "", 1);
    return 0;
}

static void a_service_is_its_addresses(void **state)
{
    struct dns_world *d = *state;

    assert_string_equal(
        ask(d, "web.service.consul", DNS_A),
        "NOERROR aa\nanswer web.service.consul. 0 A 10.0.0.1\n");
    assert_string_equal(
        ask(d, "WEB.Service.dc1.CONSUL", DNS_A),
        "NOERROR aa\nanswer WEB.Service.dc1.CONSUL. 0 A 10.0.0.1\n");
    assert_string_equal(
        ask(d, "six.service.consul", DNS_AAAA),
        "NOERROR aa\nanswer six.service.consul. 0 AAAA fd00::2\n");
    assert_string_equal(ask(d, "six.service.consul", DNS_A), EMPTY);
    assert_string_equal(
        ask(d, "six.service.consul", DNS_ANY),
        "NOERROR aa\nanswer six.service.consul. 0 AAAA fd00::2\n");
    assert_string_equal(ask(d, "six.service.consul", 15), EMPTY);
    assert_string_equal(ask(d, "nosuch.service.consul", DNS_A), NOTHING);
    assert_string_equal(ask(d, "web.service.dc2.consul", DNS_A), NOTHING);
    assert_string_equal(ask(d, "web.service.dc1.x.consul", DNS_A), NOTHING);
    assert_string_equal(ask(d, "service.consul", DNS_A), NOTHING);
    assert_string_equal(ask(d, "consul", DNS_A), NOTHING);
}

static void tags_choose_instances(void **state)
{
    struct dns_world *d = *state;

    assert_string_equal(
        ask(d, "v.1.web.service.consul", DNS_A),
        "NOERROR aa\nanswer v.1.web.service.consul. 0 A 10.0.0.1\n");
    assert_string_equal(
        ask(d, "main.db.service.consul", DNS_A),
        "NOERROR aa\nanswer main.db.service.consul. 0 A 10.9.0.1\n");
    assert_string_equal(ask(d, "other.db.service.consul", DNS_A), NOTHING);
    assert_string_equal(
        ask(d, "_db._main.service.consul", DNS_A),
        "NOERROR aa\nanswer _db._main.service.consul. 0 A 10.9.0.1\n");
    assert_string_equal(
        ask(d, "_db._tcp.service.consul", DNS_A),
        "NOERROR aa\nanswer _db._tcp.service.consul. 0 A 10.9.0.1\n");
    assert_string_equal(ask(d, "_db._tcp.consul", DNS_A), NOTHING);
    assert_string_equal(ask(d, "_db.service.consul", DNS_SRV), NOTHING);
}

static void srv_records_come_with_addresses(void **state)
{
    struct dns_world *d = *state;

    assert_string_equal(ask(d, "web.service.consul", DNS_SRV),
                        "NOERROR aa\n"
                        "answer web.service.consul. 0 SRV 1 1 80 "
                        "n1.node.dc1.consul.\n"
                        "additional n1.node.dc1.consul. 0 A 10.0.0.1\n");
    assert_string_equal(ask(d, "_db._tcp.consul", DNS_SRV),
                        "NOERROR aa\n"
                        "answer _db._tcp.consul. 0 SRV 1 7 90 "
                        "0a090001.addr.dc1.consul.\n"
                        "additional 0a090001.addr.dc1.consul. 0 A 10.9.0.1\n");
    assert_string_equal(
        ask(d, "ext.service.consul", DNS_SRV),
        "NOERROR aa\n"
        "answer ext.service.consul. 0 SRV 1 1 443 www.example.com.\n");
    assert_string_equal(
        ask(d, "inner.service.consul", DNS_SRV),
        "NOERROR aa\n"
        "answer inner.service.consul. 0 SRV 1 1 1 n1.node.consul.\n"
        "additional n1.node.consul. 0 A 10.0.0.1\n");
    assert_string_equal(
        ask(d, "self.service.consul", DNS_SRV),
        "NOERROR aa\n"
        "answer self.service.consul. 0 SRV 1 1 1 n1.node.dc1.consul.\n"
        "additional n1.node.dc1.consul. 0 A 10.0.0.1\n");
}

static void host_names_become_aliases(void **state)
{
    struct dns_world *d = *state;

    assert_string_equal(
        ask(d, "ext.service.consul", DNS_A),
        "NOERROR aa\nanswer ext.service.consul. 0 CNAME www.example.com.\n");
    assert_string_equal(
        ask(d, "ext.service.consul", DNS_CNAME),
        "NOERROR aa\nanswer ext.service.consul. 0 CNAME www.example.com.\n");
    assert_string_equal(ask(d, "inner.service.consul", DNS_A),
                        "NOERROR aa\n"
                        "answer inner.service.consul. 0 CNAME n1.node.consul.\n"
                        "answer n1.node.consul. 0 A 10.0.0.1\n");
    assert_string_equal(
        ask(d, "self.service.consul", DNS_A),
        "NOERROR aa\nanswer self.service.consul. 0 A 10.0.0.1\n");
    assert_string_equal(
        ask(d, "n.3.node.consul", DNS_A),
        "NOERROR aa\nanswer n.3.node.consul. 0 CNAME node3.example.com.\n");
    assert_string_equal(
        ask(d, "ext.service.consul", 15), /* of whatever type */
        "NOERROR aa\nanswer ext.service.consul. 0 CNAME www.example.com.\n");
    assert_string_equal(
        ask(d, "self.service.dc1.consul", DNS_A),
        "NOERROR aa\n"
        "answer self.service.dc1.consul. 0 CNAME self.service.consul.\n"
        "answer self.service.consul. 0 A 10.0.0.1\n");
    /* Another instance has an address: no alias then. */
    put_service(d, "n1", "ext", "10.7.7.7", 444, "", 1);
    assert_string_equal(
        ask(d, "ext.service.consul", DNS_A),
        "NOERROR aa\nanswer ext.service.consul. 0 A 10.7.7.7\n");
}

static void an_answer_follows_what_an_alias_stands_for(void **state)
{
    struct dns_world *d = *state;

    (void)ask(d, "inner.service.consul", DNS_A);
    put_node(d, "n1", "10.0.0.99");
    assert_string_equal(ask(d, "inner.service.consul", DNS_A),
                        "NOERROR aa\n"
                        "answer inner.service.consul. 0 CNAME n1.node.consul.\n"
                        "answer n1.node.consul. 0 A 10.0.0.99\n");
}

static void nodes_show_addresses_and_metadata(void **state)
{
    struct dns_world *d = *state;
    struct buf meta = {0};

    packed_put_pair(&meta, bytes_str("a=b"), bytes_str("c`d=e"));
    packed_put_pair(&meta, bytes_str("rfc1035-x"), bytes_str("only this"));
    d->w->revision++;
    world_put_node(d->w, &(struct node_view){.name = bytes_str("m"),
                                             .address = bytes_str("10.1.1.1"),
                                             .meta = {buf_bytes(&meta), 2}});
    (void)world_commit(d->w);
    buf_fini(&meta);
    assert_string_equal(ask(d, "m.node.consul", DNS_A),
                        "NOERROR aa\nanswer m.node.consul. 0 A 10.1.1.1\n"
                        "additional m.node.consul. 0 TXT \"a`=b=c``d=e\"\n"
                        "additional m.node.consul. 0 TXT \"only this\"\n");
    assert_string_equal(ask(d, "m.node.consul", DNS_TXT),
                        "NOERROR aa\n"
                        "answer m.node.consul. 0 TXT \"a`=b=c``d=e\"\n"
                        "answer m.node.consul. 0 TXT \"only this\"\n");
    d->set.node_texts = false;
    assert_string_equal(ask(d, "m.node.consul", DNS_A),
                        "NOERROR aa\nanswer m.node.consul. 0 A 10.1.1.1\n");
    assert_string_equal(ask(d, "m.node.consul", DNS_SRV), "NOERROR aa\n");
    assert_string_equal(ask(d, "nosuch.node.consul", DNS_A), NOTHING);
}

static void tagged_addresses_win_in_their_family(void **state)
{
    struct dns_world *d = *state;
    struct buf tagged = {0};

    packed_put_pair(&tagged, bytes_str("lan_ipv4"), bytes_str("10.7.7.7"));
    packed_put_pair(&tagged, bytes_str("lan_ipv6"), bytes_str("fd00::7"));
    d->w->revision++;
    world_put_node(d->w, &(struct node_view){.name = bytes_str("n7"),
                                             .address = bytes_str("10.0.0.7"),
                                             .tagged = {buf_bytes(&tagged), 2},
                                             .tagged_set = true});
    (void)world_commit(d->w);
    buf_fini(&tagged);
    put_service(d, "n7", "tg", "", 90, "", 1);
    assert_string_equal(ask(d, "tg.service.consul", DNS_A),
                        "NOERROR aa\nanswer tg.service.consul. 0 A 10.7.7.7\n");
    assert_string_equal(
        ask(d, "tg.service.consul", DNS_AAAA),
        "NOERROR aa\nanswer tg.service.consul. 0 AAAA fd00::7\n");
    assert_string_equal(
        ask(d, "tg.service.consul", DNS_SRV),
        "NOERROR aa\nanswer tg.service.consul. 0 SRV 1 1 90 "
        "fd000000000000000000000000000007.addr.dc1.consul.\n"
        "additional fd000000000000000000000000000007.addr.dc1.consul. 0 AAAA "
        "fd00::7\n");
}

static void spelled_addresses_need_no_catalog(void **state)
{
    struct dns_world *d = *state;

    assert_string_equal(
        ask(d, "0A000001.addr.consul", DNS_A),
        "NOERROR aa\nanswer 0A000001.addr.consul. 0 A 10.0.0.1\n");
    assert_string_equal(
        ask(d, "0a000001.addr.elsewhere.consul", DNS_AAAA),
        "NOERROR aa\nanswer 0a000001.addr.elsewhere.consul. 0 A 10.0.0.1\n");
    assert_string_equal(
        ask(d, "0a000001.addr.a.b.consul", DNS_A),
        "NOERROR aa\nanswer 0a000001.addr.a.b.consul. 0 A 10.0.0.1\n");
    assert_string_equal(ask(d, "0a0000.addr.consul", DNS_A), "NOERROR aa\n");
    assert_string_equal(ask(d, "0a00000g.addr.consul", DNS_A), NOTHING);
    assert_string_equal(ask(d, "x.0a000001.addr.consul", DNS_A), NOTHING);
}

static void reverse_names_find_nodes_then_services(void **state)
{
    struct dns_world *d = *state;

    assert_string_equal(ask(d, "1.0.0.10.in-addr.arpa", DNS_PTR),
                        "NOERROR aa\nanswer 1.0.0.10.in-addr.arpa. 0 PTR "
                        "n1.node.dc1.consul.\n");
    assert_string_equal(ask(d, "1.0.9.10.in-addr.arpa", DNS_PTR),
                        "NOERROR aa\nanswer 1.0.9.10.in-addr.arpa. 0 PTR "
                        "db.service.dc1.consul.\n");
    (void)ask(d,
              "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f."
              "ip6.arpa",
              DNS_PTR);
    assert_non_null(strstr(d->a.text, "PTR n2.node.dc1.consul.\n"));
    assert_string_equal(ask(d, "9.9.9.9.in-addr.arpa", DNS_PTR),
                        "SERVFAIL ra\n");
    assert_string_equal(ask(d, "01.0.0.10.in-addr.arpa", DNS_PTR),
                        "SERVFAIL ra\n");
    d->set.recursors = true;
    (void)ask(d, "9.9.9.9.in-addr.arpa", DNS_PTR);
    assert_int_equal(d->a.verdict, DNS_FORWARD);
}

static void other_domains_are_somebody_elses(void **state)
{
    struct dns_world *d = *state;

    assert_string_equal(ask(d, "example.com", DNS_A), "REFUSED\n");
    assert_string_equal(ask(d, "web.service.xconsul", DNS_A), "REFUSED\n");
    d->set.recursors = true;
    (void)ask(d, "example.com", DNS_A);
    assert_int_equal(d->a.verdict, DNS_FORWARD);
    assert_string_equal(ask(d, "0a000001.addr.consul", DNS_A),
                        "NOERROR aa ra\n"
                        "answer 0a000001.addr.consul. 0 A 10.0.0.1\n");
}

static void a_second_domain_answers_as_the_first(void **state)
{
    struct dns_world *d = *state;

    put_name(&d->set.alt, "test.internal");
    assert_string_equal(ask(d, "web.service.test.internal", DNS_SRV),
                        "NOERROR aa\n"
                        "answer web.service.test.internal. 0 SRV 1 1 80 "
                        "n1.node.dc1.test.internal.\n"
                        "additional n1.node.dc1.test.internal. 0 A 10.0.0.1\n");
}

static void the_zone_names_its_servers(void **state)
{
    struct dns_world *d = *state;

    put_service(d, "n1", "consul", "", 8300, "", 1);
    assert_string_equal(ask(d, "consul", DNS_NS),
                        "NOERROR aa\nanswer consul. 0 NS n1.node.dc1.consul.\n"
                        "additional n1.node.dc1.consul. 0 A 10.0.0.1\n");
    assert_string_equal(ask(d, "whatever.consul", DNS_SOA),
                        "NOERROR aa\nanswer " SOA
                        "authority consul. 0 NS n1.node.dc1.consul.\n"
                        "additional n1.node.dc1.consul. 0 A 10.0.0.1\n");
    assert_string_equal(ask(d, "consul", DNS_AXFR), "NOTIMP aa\n");
}

static void sick_instances_are_not_told(void **state)
{
    struct dns_world *d = *state;

    put_node(d, "n4", "10.0.0.4");
    put_service(d, "n4", "web", "", 81, "", 1);
    assert_string_equal(ask_sorted(d, "web.service.consul", DNS_A),
                        "NOERROR aa\nanswer web.service.consul. 0 A 10.0.0.1\n"
                        "answer web.service.consul. 0 A 10.0.0.4\n");
    put_check(d, "n4", "web-81", "warning");
    (void)ask(d, "web.service.consul", DNS_A);
    assert_int_equal(d->a.records[0], 2);
    assert_string_equal(
        ask(d, "web.passing.consul", DNS_A),
        "NOERROR aa\nanswer web.passing.consul. 0 A 10.0.0.1\n");
    d->set.only_passing = true;
    d->set.generation++;
    assert_string_equal(
        ask(d, "web.service.consul", DNS_A),
        "NOERROR aa\nanswer web.service.consul. 0 A 10.0.0.1\n");
    d->set.only_passing = false;
    d->set.generation++;
    put_check(d, "n4", "web-81", "critical");
    assert_string_equal(
        ask(d, "web.service.consul", DNS_A),
        "NOERROR aa\nanswer web.service.consul. 0 A 10.0.0.1\n");
    put_check(d, "n1", "", "critical"); /* the node's own */
    assert_string_equal(ask(d, "web.service.consul", DNS_A), NOTHING);
    put_check(d, "n4", "web-81", "odd");
    assert_string_equal(
        ask(d, "web.service.consul", DNS_SRV),
        "NOERROR aa\n"
        "answer web.service.consul. 0 SRV 1 1 81 n4.node.dc1.consul.\n"
        "additional n4.node.dc1.consul. 0 A 10.0.0.4\n");
}

static void put_marked(struct dns_world *d, const char *node,
                       const char *service_id, const char *status,
                       struct check_marks marks)
{
    struct check_view v = {.id = bytes_str(service_id),
                           .name = bytes_str("c"),
                           .status = bytes_str(status),
                           .service_id = bytes_str(service_id),
                           .marks = marks};

    d->w->revision++;
    world_put_check(d->w, node, &v);
    (void)world_commit(d->w);
}

static void held_instances_are_told_as_if_they_passed(void **state)
{
    struct dns_world *d = *state;

    put_marked(d, "n1", "db-90", "critical",
               (struct check_marks){.cause = CAUSE_SILENCE, .held = true});
    assert_non_null(strstr(ask(d, "db.service.consul", DNS_SRV), "SRV 1 7 90"));
    assert_non_null(strstr(ask(d, "db.passing.consul", DNS_SRV), "SRV 1 7 90"));
    put_marked(d, "n1", "db-90", "critical", (struct check_marks){0});
    assert_string_equal(ask(d, "db.service.consul", DNS_SRV), NOTHING);
}

/* A third of the instances at most. */
static void instances_that_flap_are_left_out(void **state)
{
    struct check_marks damped = {.damped = true, .damped_until_ms = 5};
    struct dns_world *d = *state;

    put_service(d, "n1", "web", "10.4.0.1", 81, "", 1);
    put_service(d, "n1", "web", "10.4.0.2", 82, "", 1);
    (void)ask(d, "web.service.consul", DNS_A);
    assert_int_equal(d->a.records[0], 3);
    put_marked(d, "n1", "web-81", "passing", damped);
    assert_string_equal(ask_sorted(d, "web.service.consul", DNS_A),
                        "NOERROR aa\nanswer web.service.consul. 0 A 10.0.0.1\n"
                        "answer web.service.consul. 0 A 10.4.0.2\n");
    put_marked(d, "n1", "web-82", "passing", damped);
    (void)ask(d, "web.service.consul", DNS_A);
    assert_int_equal(d->a.records[0], 2);
}

static void ttls_are_by_name_prefix_and_all(void **state)
{
    static const struct dns_ttl ttls[] = {
        {{"web", 3}, false, 5}, {{"in", 2}, true, 7}, {{"", 0}, true, 9}};
    struct dns_world *d = *state;

    d->set.service_ttl = ttls;
    d->set.service_ttl_count = 3;
    d->set.node_ttl_s = 3;
    d->set.soa.min_ttl = 2;
    assert_non_null(strstr(ask(d, "web.service.consul", DNS_A), " 5 A "));
    assert_non_null(strstr(ask(d, "inner.service.consul", DNS_A), " 7 CNAME "));
    assert_non_null(strstr(ask(d, "db.service.consul", DNS_A), " 9 A "));
    assert_non_null(strstr(ask(d, "n1.node.consul", DNS_A), " 3 A "));
    assert_non_null(strstr(ask(d, "x.consul", DNS_A), "consul. 2 SOA "));
}

/* An eighth of the time for which nothing has changed; all records of an answer
 * alike. */
static void ttls_grow_while_a_service_is_calm(void **state)
{
    struct dns_world *d = *state;

    d->set.calm_ttl_s = 30;
    put_service(d, "n1", "calm", "", 80, "", 1);
    assert_non_null(strstr(ask(d, "calm.service.consul", DNS_A), " 0 A "));
    d->env.now_s += 80;
    assert_non_null(strstr(ask(d, "calm.service.consul", DNS_A), " 10 A "));
    d->env.now_s += 8;
    assert_non_null(strstr(ask(d, "calm.service.consul", DNS_A), " 11 A "));
    d->env.now_s += 800;
    assert_non_null(strstr(ask(d, "calm.service.consul", DNS_A), " 30 A "));
    /* What DNS does not tell is no change. */
    put_check(d, "n1", "calm-80", "warning");
    assert_non_null(strstr(ask(d, "calm.service.consul", DNS_A), " 30 A "));
    assert_false(d->a.told.cached);
    put_service(d, "n2", "calm", "10.5.5.5", 81, "", 1);
    assert_string_equal(ask_sorted(d, "calm.service.consul", DNS_A),
                        "NOERROR aa\n"
                        "answer calm.service.consul. 0 A 10.0.0.1\n"
                        "answer calm.service.consul. 0 A 10.5.5.5\n");
    (void)ask(d, "calm.service.consul", DNS_SRV);
    d->env.now_s += 40;
    assert_string_equal(
        ask_sorted(d, "calm.service.consul", DNS_SRV),
        "NOERROR aa\n"
        "additional 0a050505.addr.dc1.consul. 5 A 10.5.5.5\n"
        "additional n1.node.dc1.consul. 5 A 10.0.0.1\n"
        "answer calm.service.consul. 5 SRV 1 1 80 n1.node.dc1.consul.\n"
        "answer calm.service.consul. 5 SRV 1 1 81 0a050505.addr.dc1.consul.\n");
    assert_true(d->a.told.cached);
}

static void calm_ttls_begin_at_the_configured_ones(void **state)
{
    struct dns_world *d = *state;
    const struct dns_ttl ttl[] = {{bytes_str("web"), false, 4},
                                  {bytes_str("db"), false, 60}};

    d->set.calm_ttl_s = 30;
    d->set.service_ttl = ttl;
    d->set.service_ttl_count = 2;
    for (int i = 0; i < 2; i++, d->env.now_s += 8000) {
        assert_non_null(strstr(ask(d, "web.service.consul", DNS_A),
                               i ? " 30 A " : " 4 A "));
        assert_non_null(strstr(ask(d, "db.service.consul", DNS_A), " 60 A "));
    }
    d->env.now_s = 10; /* the clock was set back */
    assert_non_null(strstr(ask(d, "web.service.consul", DNS_A), " 4 A "));
    assert_int_equal(dns_service_ttl_most(&d->set, bytes_str("web")), 30);
    assert_int_equal(dns_service_ttl_most(&d->set, bytes_str("db")), 60);
    assert_int_equal(dns_service_ttl_most(&d->set, bytes_str("x")), 30);
}

static void names_need_no_compression(void **state)
{
    struct dns_world *d = *state;

    (void)ask(d, "web.service.consul", DNS_SRV);
    size_t small = d->a.answer_n;
    d->set.compress = false;
    d->set.generation++;
    assert_string_equal(ask(d, "web.service.consul", DNS_SRV),
                        "NOERROR aa\n"
                        "answer web.service.consul. 0 SRV 1 1 80 "
                        "n1.node.dc1.consul.\n"
                        "additional n1.node.dc1.consul. 0 A 10.0.0.1\n");
    assert_int_equal(d->a.answer_n, small + 2 * 20 - 4);
}

static void what_is_kept_is_never_old(void **state)
{
    struct dns_world *d = *state;

    (void)ask(d, "web.service.consul", DNS_A);
    assert_false(d->a.told.cached);
    (void)ask(d, "web.service.consul", DNS_A);
    assert_true(d->a.told.cached);
    put_service(d, "n1", "other", "", 1, "", 1); /* nothing of web's */
    (void)ask(d, "web.service.consul", DNS_A);
    assert_true(d->a.told.cached);
    put_node(d, "n1", "10.0.0.42");
    assert_string_equal(
        ask(d, "web.service.consul", DNS_A),
        "NOERROR aa\nanswer web.service.consul. 0 A 10.0.0.42\n");
    assert_false(d->a.told.cached);
    d->set.generation++;
    (void)ask(d, "web.service.consul", DNS_A);
    assert_false(d->a.told.cached);
}

#define T(f) cmocka_unit_test_setup_teardown(f, filled, teardown)

static const struct CMUnitTest tests[] = {
    T(a_service_is_its_addresses),
    T(tags_choose_instances),
    T(srv_records_come_with_addresses),
    T(host_names_become_aliases),
    T(an_answer_follows_what_an_alias_stands_for),
    T(nodes_show_addresses_and_metadata),
    T(tagged_addresses_win_in_their_family),
    T(spelled_addresses_need_no_catalog),
    T(reverse_names_find_nodes_then_services),
    T(other_domains_are_somebody_elses),
    T(a_second_domain_answers_as_the_first),
    T(the_zone_names_its_servers),
    T(sick_instances_are_not_told),
    T(held_instances_are_told_as_if_they_passed),
    T(instances_that_flap_are_left_out),
    T(ttls_are_by_name_prefix_and_all),
    T(ttls_grow_while_a_service_is_calm),
    T(calm_ttls_begin_at_the_configured_ones),
    T(names_need_no_compression),
    T(what_is_kept_is_never_old),
};

RUN_TESTS(tests)
