/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* What names of other datacenters are answered, and where queries fail over to. */
#include "dns_world.h"

#define SOA                                                                    \
    "authority consul. 0 SOA ns.consul. hostmaster.consul. 1000 0 0 0 0\n"
#define NOTHING "NXDOMAIN aa\n" SOA

enum { HOUR_MS = 3600 * 1000 };

/* dc1 is asked; dc2 and dc3 are mirrored there, dc2 is the nearer one. */
struct others {
    struct dns_world *here, *dc2, *dc3;
    struct dns_zone zone[2];
    struct dns_zones zones;
    bool partial; /* only "web" is mirrored */
};

static bool nth(const struct dns_zones *z, size_t i, struct bytes service,
                struct dns_zone *ret)
{
    struct others *o = z->ctx;

    if (i >= 2)
        return false;
    *ret = o->zone[i];
    /* Of dc2 in part. */
    if (ret->life && (!o->partial || bytes_is(service, "web")))
        ret->cat = catalog_current((i ? o->dc3 : o->dc2)->w->catalog);
    return true;
}

static bool find(const struct dns_zones *z, struct bytes name,
                 struct bytes service, struct dns_zone *ret)
{
    for (size_t i = 0; nth(z, i, service, ret); i++)
        if (bytes_eq(ret->name, name))
            return true;
    return false;
}

static int begin(void **state)
{
    struct others *o = xzalloc(sizeof *o);
    void *world;

    (void)setup(&world);
    o->here = world;
    (void)setup(&world);
    o->dc2 = world;
    (void)setup(&world);
    o->dc3 = world;
    o->zones = (struct dns_zones){.find = find,
                                  .nth = nth,
                                  .max_age_ms = HOUR_MS,
                                  .failover_age_ms = 60000,
                                  .ctx = o};
    for (size_t i = 0; i < 2; i++)
        o->zone[i] =
            (struct dns_zone){.name = bytes_str(i ? "dc3" : "dc2"),
                              .changes = &(i ? o->dc3 : o->dc2)->changes,
                              .life = 1 + i,
                              .up = true,
                              .reachable = true};
    o->here->env.zones = &o->zones;
    put_node(o->here, "n1", "10.1.0.1");
    put_service(o->here, "n1", "web", "", 80, "", 1);
    put_node(o->dc2, "n2", "10.2.0.1");
    put_service(o->dc2, "n2", "web", "", 82, "v2", 1);
    put_service(o->dc2, "n2", "db", "10.2.9.9", 90, "", 1);
    *state = o;
    return 0;
}

static int end(void **state)
{
    struct others *o = *state;
    void *world = o->here;

    (void)teardown(&world);
    world = o->dc2;
    (void)teardown(&world);
    world = o->dc3;
    (void)teardown(&world);
    free(o);
    return 0;
}

static void cut(struct others *o, size_t i, uint64_t age_ms)
{
    o->zone[i].up = o->zone[i].reachable = false;
    o->zone[i].age_ms = age_ms;
}

static void heal(struct others *o, size_t i)
{
    o->zone[i].up = o->zone[i].reachable = true;
    o->zone[i].age_ms = 0;
}

/* The EDE option of the answer (RFC 8914) in the text of its OPT record. */
static int ede_code(const struct dns_world *d)
{
    const char *p = strstr(d->a.text, "OPT 4096 000f");
    unsigned code = 0;

    if (!p)
        return -1;
    assert_int_equal(sscanf(p + 17, "%4x", &code), 1);
    return (int)code;
}

/* --- Names --------------------------------------------------------------- */

static void a_name_with_a_datacenter_is_answered_from_there(void **state)
{
    struct others *o = *state;
    struct dns_world *d = o->here;

    assert_string_equal(ask(d, "web.service.consul", DNS_A),
                        "NOERROR aa\nanswer web.service.consul. 0 A "
                        "10.1.0.1\n");
    assert_string_equal(ask(d, "web.service.dc2.consul", DNS_A),
                        "NOERROR aa\nanswer web.service.dc2.consul. 0 A "
                        "10.2.0.1\n");
    assert_string_equal(ask(d, "WEB.service.DC2.dc.consul", DNS_A),
                        "NOERROR aa\nanswer WEB.service.DC2.dc.consul. 0 A "
                        "10.2.0.1\n");
    assert_string_equal(ask(d, "web.passing.dc2.consul", DNS_A),
                        "NOERROR aa\nanswer web.passing.dc2.consul. 0 A "
                        "10.2.0.1\n");
    assert_string_equal(ask(d, "v2.web.service.dc2.consul", DNS_A),
                        "NOERROR aa\nanswer v2.web.service.dc2.consul. 0 A "
                        "10.2.0.1\n");
    assert_string_equal(ask(d, "v1.web.service.dc2.consul", DNS_A), NOTHING);
    assert_string_equal(ask(d, "_web._v2.service.dc2.consul", DNS_A),
                        "NOERROR aa\nanswer _web._v2.service.dc2.consul. 0 A "
                        "10.2.0.1\n");
    assert_string_equal(ask(d, "n2.node.dc2.consul", DNS_A),
                        "NOERROR aa\nanswer n2.node.dc2.consul. 0 A "
                        "10.2.0.1\n");
    assert_string_equal(ask(d, "n2.node.consul", DNS_A), NOTHING);
    assert_string_equal(ask(d, "n1.node.dc2.consul", DNS_A), NOTHING);
    assert_string_equal(ask(d, "web.service.dc3.consul", DNS_A), NOTHING);
    assert_string_equal(ask(d, "web.service.dc9.consul", DNS_A), NOTHING);
    assert_string_equal(ask(d, "web.service.dc2.x.consul", DNS_A), NOTHING);
    assert_string_equal(ask(d, "web.service.dc2.dc.dc.consul", DNS_A), NOTHING);
    assert_string_equal(ask(d, "web.connect.dc2.consul", DNS_A), NOTHING);
}

static void targets_are_named_after_their_datacenter(void **state)
{
    struct dns_world *d = ((struct others *)*state)->here;

    for (int i = 0; i < 2; i++) { /* the second time as it was kept */
        assert_string_equal(ask(d, "web.service.dc2.consul", DNS_SRV),
                            "NOERROR aa\n"
                            "answer web.service.dc2.consul. 0 SRV 1 1 82 "
                            "n2.node.dc2.consul.\n"
                            "additional n2.node.dc2.consul. 0 A 10.2.0.1\n");
        assert_int_equal(d->a.told.cached, i);
        assert_string_equal(ask(d, "_db._tcp.dc2.consul", DNS_SRV),
                            "NOERROR aa\n"
                            "answer _db._tcp.dc2.consul. 0 SRV 1 1 90 "
                            "0a020909.addr.dc2.consul.\n"
                            "additional 0a020909.addr.dc2.consul. 0 A "
                            "10.2.9.9\n");
        assert_int_equal(d->a.told.cached, i);
    }
    assert_string_equal(ask(d, "0a020909.addr.dc2.consul", DNS_A),
                        "NOERROR aa\nanswer 0a020909.addr.dc2.consul. 0 A "
                        "10.2.9.9\n");
}

static void what_is_kept_follows_its_own_catalog(void **state)
{
    struct others *o = *state;
    struct dns_world *d = o->here;

    (void)ask(d, "web.service.dc2.consul", DNS_A);
    /* Of no concern. */
    put_service(o->here, "n1", "web", "10.1.0.7", 81, "", 1);
    put_service(o->dc2, "n2", "other", "", 1, "", 1);
    (void)ask(d, "web.service.dc2.consul", DNS_A);
    assert_true(d->a.told.cached);
    put_node(o->dc2, "n2", "10.2.0.2");
    assert_string_equal(ask(d, "web.service.dc2.consul", DNS_A),
                        "NOERROR aa\nanswer web.service.dc2.consul. 0 A "
                        "10.2.0.2\n");
    assert_false(d->a.told.cached);
    /* The datacenter has begun anew: another catalog, whatever its revision. */
    o->zone[0].life = 9;
    (void)ask(d, "web.service.dc2.consul", DNS_A);
    assert_false(d->a.told.cached);
    (void)ask(d, "web.service.dc2.consul", DNS_A);
    assert_true(d->a.told.cached);
    /* Nothing else that is kept under the label serves another datacenter. */
    assert_string_equal(ask(d, "web.service.dc3.consul", DNS_A), NOTHING);
}

static void an_alias_is_resolved_where_its_name_says(void **state)
{
    struct others *o = *state;
    struct dns_world *d = o->here;

    put_service(o->dc2, "n2", "plain", "web.service.consul", 1, "", 1);
    put_service(o->dc2, "n2", "named", "web.service.dc2.consul", 1, "", 1);
    put_service(o->here, "n1", "away", "db.service.dc2.consul", 1, "", 1);
    assert_string_equal(
        ask(d, "plain.service.dc2.consul", DNS_A),
        "NOERROR aa\n"
        "answer plain.service.dc2.consul. 0 CNAME web.service.consul.\n"
        "answer web.service.consul. 0 A 10.1.0.1\n");
    assert_string_equal(
        ask(d, "named.service.dc2.consul", DNS_A),
        "NOERROR aa\n"
        "answer named.service.dc2.consul. 0 CNAME web.service.dc2.consul.\n"
        "answer web.service.dc2.consul. 0 A 10.2.0.1\n");
    assert_string_equal(
        ask(d, "away.service.consul", DNS_A),
        "NOERROR aa\n"
        "answer away.service.consul. 0 CNAME db.service.dc2.consul.\n"
        "answer db.service.dc2.consul. 0 A 10.2.9.9\n");
    o->zone[0].life = 0; /* not mirrored: others resolve it */
    assert_string_equal(
        ask(d, "away.service.consul", DNS_A),
        "NOERROR aa\n"
        "answer away.service.consul. 0 CNAME db.service.dc2.consul.\n");
}

/* --- Ages ---------------------------------------------------------------- */

static void while_it_is_cut_off_answers_say_so(void **state)
{
    struct others *o = *state;
    struct dns_world *d = o->here;

    d->edns = 4096;
    (void)ask(d, "web.service.dc2.consul", DNS_A);
    assert_int_equal(ede_code(d), -1);
    cut(o, 0, 75 * 1000);
    for (int i = 0; i < 2; i++) {
        const char *text = ask(d, "web.service.dc2.consul", DNS_A);
        assert_non_null(strstr(text, "A 10.2.0.1\n"));
        assert_int_equal(ede_code(d), DNS_EDE_STALE);
    }
    assert_true(d->a.told.cached);
    /* "dc2 cannot be reached: as of 75 s ago" */
    assert_non_null(strstr(d->a.text, "646332206361"));
    (void)ask(d, "n2.node.dc2.consul", DNS_A);
    assert_int_equal(ede_code(d), DNS_EDE_STALE);
    (void)ask(d, "none.service.dc2.consul", DNS_A);
    assert_int_equal(ede_code(d), DNS_EDE_STALE_NXDOMAIN);
    (void)ask(d, "web.service.consul", DNS_A);
    assert_int_equal(ede_code(d), -1);
    d->edns = 0;
    assert_string_equal(ask(d, "web.service.dc2.consul", DNS_A),
                        "NOERROR aa\nanswer web.service.dc2.consul. 0 A "
                        "10.2.0.1\n");
    d->edns = 4096;
    heal(o, 0);
    (void)ask(d, "web.service.dc2.consul", DNS_A);
    assert_int_equal(ede_code(d), -1);
}

static void what_is_too_old_is_told_to_nobody(void **state)
{
    struct others *o = *state;
    struct dns_world *d = o->here;

    d->edns = 4096;
    (void)ask(d, "web.service.dc2.consul", DNS_A); /* is kept */
    cut(o, 0, HOUR_MS);
    assert_non_null(strstr(ask(d, "web.service.dc2.consul", DNS_A), "10.2"));
    cut(o, 0, HOUR_MS + 1);
    assert_ptr_equal(strstr(ask(d, "web.service.dc2.consul", DNS_A), "SERVF"),
                     d->a.text);
    assert_int_equal(ede_code(d), DNS_EDE_NO_REACHABLE_AUTHORITY);
    assert_int_equal(d->a.records[0] + d->a.records[1], 0);
    assert_ptr_equal(strstr(ask(d, "none.service.dc2.consul", DNS_A), "SERVF"),
                     d->a.text);
    /* Its servers can be asked, though changes do not arrive. */
    o->zone[0].reachable = true;
    (void)ask(d, "web.service.dc2.consul", DNS_A);
    assert_int_equal(d->a.verdict, DNS_ELSEWHERE);
}

/* --- Not mirrored -------------------------------------------------------- */

static void is_asked_there(struct dns_world *d, const char *name)
{
    (void)ask(d, name, DNS_A);
    assert_int_equal(d->a.verdict, DNS_ELSEWHERE);
    assert_true(d->a.told.there);
    assert_memory_equal(d->a.told.wanted, "dc2", 3);
    assert_int_equal(d->a.told.wanted_n, 3);
}

static void what_is_not_mirrored_is_asked_there(void **state)
{
    struct others *o = *state;
    struct dns_world *d = o->here;

    is_asked_there(d, "web.query.dc2.consul"); /* queries never are */
    o->partial = true;
    is_asked_there(d, "n2.node.dc2.consul");
    assert_string_equal(ask(d, "web.service.dc2.consul", DNS_A),
                        "NOERROR aa\nanswer web.service.dc2.consul. 0 A "
                        "10.2.0.1\n");
    is_asked_there(d, "db.service.dc2.consul");
    o->zone[0].life = 0; /* nothing is */
    is_asked_there(d, "web.service.dc2.consul");
    d->edns = 4096;
    cut(o, 0, 0);
    assert_ptr_equal(strstr(ask(d, "web.service.dc2.consul", DNS_A), "SERVF"),
                     d->a.text);
    assert_int_equal(ede_code(d), DNS_EDE_NO_REACHABLE_AUTHORITY);
    assert_string_equal(ask(d, "0a000001.addr.dc2.consul", DNS_A),
                        "NOERROR aa\nanswer 0a000001.addr.dc2.consul. 0 A "
                        "10.0.0.1\nadditional . OPT 4096 \n");
}

static void an_agent_asks_its_servers(void **state)
{
    struct dns_world *d = ((struct others *)*state)->here;

    d->env.partial = true;
    d->env.zones = NULL;
    (void)ask(d, "web.service.dc2.consul", DNS_A);
    assert_int_equal(d->a.verdict, DNS_ELSEWHERE);
    assert_false(d->a.told.there);
    assert_int_equal(d->a.told.wanted_n, 0);
}

static void alone_there_are_no_others(void **state)
{
    struct dns_world *d = ((struct others *)*state)->here;

    d->env.zones = NULL;
    assert_string_equal(ask(d, "web.service.dc2.consul", DNS_A), NOTHING);
    assert_string_equal(ask(d, "n2.node.dc2.consul", DNS_A), NOTHING);
    assert_string_equal(ask(d, "q.query.dc2.consul", DNS_A), NOTHING);
}

/* --- Failover ------------------------------------------------------------ */

/* Of service db, which is not here. */
static void put_query(struct others *o, int64_t nearest, const char *listed)
{
    static const char id[] = "00000000-0000-4000-8000-000000000001";
    struct dns_world *d = o->here;
    struct buf key = {0}, value = {0}, dcs = {0};
    struct query_view v = {.id = bytes_str(id), .nearest = nearest};

    v.text[QUERY_NAME] = bytes_str("q");
    v.text[QUERY_SERVICE] = bytes_str("db");
    if (*listed) {
        packed_put(&dcs, bytes_str("dc9"));
        packed_put(&dcs, bytes_str(listed));
        v.list[QUERY_DATACENTERS] = (struct packed){buf_bytes(&dcs), 2};
    }
    d->w->revision++;
    key_query(&key, v.id);
    record_put_query(&value, &v);
    assert_ok(catalog_put(d->w->catalog, buf_bytes(&key), buf_bytes(&value),
                          d->w->revision, d->w->revision, NULL));
    buf_reset(&key);
    key_query_name(&key, bytes_str("q"));
    assert_ok(catalog_put(d->w->catalog, buf_bytes(&key), v.id, d->w->revision,
                          d->w->revision, NULL));
    commit(d);
    buf_fini(&key);
    buf_fini(&value);
    buf_fini(&dcs);
}

static void in_dc3(struct others *o)
{
    put_node(o->dc3, "n3", "10.3.0.1");
    put_service(o->dc3, "n3", "db", "", 90, "", 1);
}

static const char *ask_query(struct others *o)
{
    return ask(o->here, "q.query.consul", DNS_SRV);
}

static void a_query_fails_over_to_where_somebody_is(void **state)
{
    struct others *o = *state;

    put_query(o, 0, "");
    assert_string_equal(ask_query(o), NOTHING);
    put_query(o, 0, "dc3"); /* nobody is there */
    assert_string_equal(ask_query(o), NOTHING);
    in_dc3(o);
    assert_string_equal(ask_query(o),
                        "NOERROR aa\n"
                        "answer q.query.consul. 0 SRV 1 1 90 "
                        "n3.node.dc3.consul.\n"
                        "additional n3.node.dc3.consul. 0 A 10.3.0.1\n");
    put_query(o, 1, "dc3"); /* the nearest first */
    assert_non_null(strstr(ask_query(o), "10.2.9.9"));
    assert_null(strstr(o->here->a.text, "10.3.0.1"));
    /* Once somebody is here, nobody else counts. */
    put_service(o->here, "n1", "db", "", 91, "", 1);
    assert_non_null(strstr(ask_query(o), "n1.node.dc1.consul"));
}

static void a_living_datacenter_comes_before_one_that_is_cut_off(void **state)
{
    struct others *o = *state;

    o->here->edns = 4096;
    in_dc3(o);
    put_query(o, 2, "");
    cut(o, 0, 1000);
    assert_non_null(strstr(ask_query(o), "10.3.0.1"));
    assert_int_equal(ede_code(o->here), -1);
    /* Nobody there: the one that is cut off, as long as that is young. */
    put_check(o->dc3, "n3", "db-90", "critical");
    assert_non_null(strstr(ask_query(o), "10.2.9.9"));
    assert_int_equal(ede_code(o->here), DNS_EDE_STALE);
    cut(o, 0, 60 * 1000);
    assert_non_null(strstr(ask_query(o), "10.2.9.9"));
    cut(o, 0, 60 * 1000 + 1);
    assert_ptr_equal(strstr(ask_query(o), "NXDOMAIN"), o->here->a.text);
    assert_int_equal(ede_code(o->here), -1);
    /* Both are cut off. */
    put_check(o->dc3, "n3", "db-90", "passing");
    cut(o, 1, 5000);
    assert_non_null(strstr(ask_query(o), "10.3.0.1"));
    assert_int_equal(ede_code(o->here), DNS_EDE_STALE);
}

static void nobody_is_told_before_all_who_live_were_asked(void **state)
{
    struct others *o = *state;

    put_query(o, 2, "");
    in_dc3(o);
    cut(o, 0, 1000);
    o->zone[1].life = 0; /* dc3 lives, and is not mirrored */
    assert_string_equal(ask_query(o), "SERVFAIL aa\n");
    heal(o, 0);
    assert_non_null(strstr(ask_query(o), "10.2.9.9"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)

static const struct CMUnitTest tests[] = {
    T(a_name_with_a_datacenter_is_answered_from_there),
    T(targets_are_named_after_their_datacenter),
    T(what_is_kept_follows_its_own_catalog),
    T(an_alias_is_resolved_where_its_name_says),
    T(while_it_is_cut_off_answers_say_so),
    T(what_is_too_old_is_told_to_nobody),
    T(what_is_not_mirrored_is_asked_there),
    T(an_agent_asks_its_servers),
    T(alone_there_are_no_others),
    T(a_query_fails_over_to_where_somebody_is),
    T(a_living_datacenter_comes_before_one_that_is_cut_off),
    T(nobody_is_told_before_all_who_live_were_asked),
};

RUN_TESTS(tests)
