/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Host names that others know: what a recursor says comes behind the CNAME. */
#include "dns_world.h"

static int filled(void **state)
{
    (void)setup(state);
    struct dns_world *d = *state;

    d->set.recursors = true;
    put_node(d, "n1", "10.0.0.1");
    put_node(d, "out", "node.example.com");
    put_service(d, "n1", "ext", "www.example.com", 443, "", 1);
    put_service(d, "n1", "inner", "n1.node.consul", 1, "", 1);
    return 0;
}

/* --- A recursor's answer ------------------------------------------------------- */

struct reply {
    uint8_t p[4096];
    struct dns_out o;
    unsigned n;
};

static void reply_begin(struct reply *r, const char *question)
{
    struct dns_name name;

    r->o = (struct dns_out){r->p, 0, sizeof r->p, false};
    r->n = 0;
    put_name(&name, question);
    dns_put_16(&r->o, 7);
    dns_put_16(&r->o, 0x8180);
    dns_put_16(&r->o, 1);
    dns_put_16(&r->o, 0);
    dns_put_32(&r->o, 0);
    dns_put(&r->o, name.p, name.n);
    dns_put_16(&r->o, DNS_A);
    dns_put_16(&r->o, 1);
}

/* owner "" : a pointer to the question. */
static void reply_add(struct reply *r, const char *owner, unsigned type,
                      const void *rdata, size_t n)
{
    struct dns_name name;

    put_name(&name, owner);
    if (*owner)
        dns_put(&r->o, name.p, name.n);
    else
        dns_put_16(&r->o, 0xc00c);
    dns_put_16(&r->o, type);
    dns_put_16(&r->o, 1);
    dns_put_32(&r->o, 77);
    dns_put_16(&r->o, (unsigned)n);
    dns_put(&r->o, rdata, n);
    dns_patch_16(&r->o, 6, ++r->n);
}

static void reply_alias(struct reply *r, const char *owner, const char *to)
{
    struct dns_name name;

    put_name(&name, to);
    reply_add(r, owner, DNS_CNAME, name.p, name.n);
}

/* d->a is an answer with a host name; then what it becomes. NULL: nothing new. */
static const char *followed(struct dns_world *d, const struct reply *r)
{
    static uint8_t out[DNS_TCP_MOST];
    struct asked *a = &d->a;

    assert_int_not_equal(a->told.alias_at, 0);
    size_t n = dns_follow(bytes_of(a->query, a->query_n), d->env.transport,
                          bytes_of(a->answer, a->answer_n), a->told.alias_at,
                          bytes_of(r->p, r->o.n), out, sizeof out);
    if (n == 0)
        return NULL;
    memcpy(a->answer, out, n);
    a->answer_n = n;
    read_answer(a);
    return a->text;
}

/* --- Tests ----------------------------------------------------------------------- */

static void addresses_come_behind_the_alias(void **state)
{
    struct dns_world *d = *state;
    struct reply r;

    reply_begin(&r, "www.example.com");
    reply_alias(&r, "", "edge.example.net");
    reply_add(&r, "edge.example.net", DNS_A, "\x0a\1\1\1", 4);
    reply_add(&r, "EDGE.example.net", DNS_A, "\x0a\1\1\2", 4);
    (void)ask(d, "ext.service.consul", DNS_A);
    assert_string_equal(followed(d, &r),
                        "NOERROR aa ra\n"
                        "answer ext.service.consul. 0 CNAME www.example.com.\n"
                        "answer www.example.com. 77 CNAME edge.example.net.\n"
                        "answer edge.example.net. 77 A 10.1.1.1\n"
                        "answer EDGE.example.net. 77 A 10.1.1.2\n");
}

static void what_stands_behind_stays_there(void **state)
{
    struct dns_world *d = *state;
    struct buf meta = {0};
    struct reply r;

    packed_put_pair(&meta, bytes_str("k"), bytes_str("v"));
    d->w->revision++;
    world_put_node(d->w,
                   &(struct node_view){.name = bytes_str("out"),
                                       .address = bytes_str("node.example.com"),
                                       .meta = {buf_bytes(&meta), 1}});
    commit(d);
    buf_fini(&meta);
    d->edns = 1232;
    reply_begin(&r, "node.example.com");
    reply_add(&r, "", DNS_AAAA, "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16);
    (void)ask(d, "out.node.consul", DNS_AAAA);
    assert_string_equal(followed(d, &r),
                        "NOERROR aa ra\n"
                        "answer out.node.consul. 0 CNAME node.example.com.\n"
                        "answer node.example.com. 77 AAAA fd00::1\n"
                        "additional out.node.consul. 0 TXT \"k=v\"\n"
                        "additional . OPT 1232 \n");
}

static void only_names_of_others_are_followed(void **state)
{
    struct dns_world *d = *state;

    (void)ask(d, "inner.service.consul", DNS_A);
    assert_int_equal(d->a.told.alias_at, 0);
    (void)ask(d, "ext.service.consul", DNS_CNAME); /* is what was asked */
    assert_int_equal(d->a.told.alias_at, 0);
    (void)ask(d, "ext.service.consul", DNS_SRV);
    assert_int_equal(d->a.told.alias_at, 0);
    d->set.recursors = false;
    (void)ask(d, "ext.service.consul", DNS_A);
    assert_int_equal(d->a.told.alias_at, 0);
}

static void only_the_chain_counts(void **state)
{
    struct dns_world *d = *state;
    struct reply r;

    (void)ask(d, "ext.service.consul", DNS_A);
    reply_begin(&r, "www.example.com");
    reply_add(&r, "other.example.com", DNS_A, "\x0a\1\1\1", 4);
    reply_add(&r, "ext.service.consul", DNS_A, "\x0a\1\1\1", 4);
    reply_add(&r, "", DNS_AAAA, "0123456789abcdef", 16);
    reply_add(&r, "", DNS_A, "\x0a\1\1", 3); /* no address */
    reply_add(&r, "", DNS_TXT, "\1x", 2);
    assert_null(followed(d, &r));
    /* Round and round. */
    reply_begin(&r, "www.example.com");
    for (int i = 0; i < 40; i++)
        reply_alias(&r, "", "www.example.com");
    assert_non_null(followed(d, &r));
    assert_int_equal(d->a.records[0], 1 + 8);
}

static void a_failure_adds_nothing(void **state)
{
    struct dns_world *d = *state;
    struct reply r;

    (void)ask(d, "ext.service.consul", DNS_A);
    reply_begin(&r, "www.example.com");
    assert_null(followed(d, &r));
    reply_add(&r, "", DNS_A, "\x0a\1\1\1", 4);
    size_t whole = r.o.n;
    for (r.o.n = 0; r.o.n < whole; r.o.n++)
        assert_null(followed(d, &r));
    assert_non_null(followed(d, &r));
}

static void what_does_not_fit_says_so(void **state)
{
    struct dns_world *d = *state;
    struct reply r;

    reply_begin(&r, "www.example.com");
    for (uint8_t i = 0; i < 50; i++)
        reply_add(&r, "", DNS_A, (uint8_t[4]){10, 1, 1, i}, 4);
    (void)ask(d, "ext.service.consul", DNS_A);
    assert_non_null(followed(d, &r));
    assert_true(d->a.flags & DNS_TC);
    assert_in_range(d->a.answer_n, DNS_UDP_PLAIN - 40, DNS_UDP_PLAIN);
    d->env.transport = DNS_OVER_TCP;
    (void)ask(d, "ext.service.consul", DNS_A);
    assert_non_null(followed(d, &r));
    assert_false(d->a.flags & DNS_TC);
    assert_int_equal(d->a.records[0], 51);
}

static void the_recursor_is_asked_the_host_name(void **state)
{
    struct dns_world *d = *state;
    struct asked *a = &d->a;
    uint8_t out[DNS_UDP_PLAIN];
    struct dns_query q;

    (void)ask(d, "ext.service.consul", DNS_AAAA);
    size_t n = dns_follow_query(bytes_of(a->query, a->query_n),
                                bytes_of(a->answer, a->answer_n),
                                a->told.alias_at, out, sizeof out);
    assert_int_equal(dns_query_parse(bytes_of(out, n), &q), DNS_PARSED);
    struct dns_name want;
    put_name(&want, "www.example.com");
    assert_true(dns_name_eq(q.name, q.name_n, want.p, want.n));
    assert_true(q.type == DNS_AAAA && q.flags == DNS_RD && q.edns);
    (void)ask(d, "out.node.consul", DNS_ANY);
    assert_int_not_equal(a->told.alias_at, 0);
    n = dns_follow_query(bytes_of(a->query, a->query_n),
                         bytes_of(a->answer, a->answer_n), a->told.alias_at,
                         out, sizeof out);
    assert_int_equal(dns_query_parse(bytes_of(out, n), &q), DNS_PARSED);
    assert_int_equal(q.type, DNS_A);
}

#define T(f) cmocka_unit_test_setup_teardown(f, filled, teardown)

static const struct CMUnitTest tests[] = {
    T(addresses_come_behind_the_alias),
    T(what_stands_behind_stays_there),
    T(only_names_of_others_are_followed),
    T(only_the_chain_counts),
    T(a_failure_adds_nothing),
    T(what_does_not_fit_says_so),
    T(the_recursor_is_asked_the_host_name),
};

RUN_TESTS(tests)
