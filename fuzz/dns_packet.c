/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* DNS packets. The first byte chooses transport and settings, the rest is what a
 * client sends to a server with a small catalog. Properties: a query that is accepted
 * and written back reads the same, and none of its beginnings is a query, but for the
 * one that ends before EDNS; an answer is whole, counts what it holds, tells the
 * question it was asked, and is never longer than transport, EDNS and buffer allow;
 * what is kept from one query changes nothing for the next. */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/reader.h"
#include "dns/dns.h"

enum {
    OVER_TCP = 1 << 0,
    NO_COMPRESSION = 1 << 1,
    STICKY = 1 << 2,
    RECURSORS = 1 << 3,
    SMALL_BUFFER = 1 << 4,
    NO_TRUNCATE = 1 << 5,
    LIMITED = 1 << 6, /* answers to this one are over the limit */
    INSTANCES = 120,
};

static void need(bool x)
{
    if (!x)
        abort();
}

/* --- The catalog ------------------------------------------------------------ */

static struct pin_domain pins;
static struct catalog *catalog;
static struct dns_worker *keeps, *forgets;
static struct dns_settings settings;
static uint64_t revision;

static void put_node(const char *name, const char *address)
{
    struct buf key = {0}, value = {0}, meta = {0};

    packed_put_pair(&meta, bytes_str("zone"), bytes_str("a`b=c"));
    key_node(&key, bytes_str(name));
    record_put_node(&value, &(struct node_view){.name = bytes_str(name),
                                                .address = bytes_str(address),
                                                .meta = {buf_bytes(&meta), 1}});
    need(catalog_put(catalog, buf_bytes(&key), buf_bytes(&value), revision,
                     revision, NULL) == ERR_OK);
    buf_fini(&key);
    buf_fini(&value);
    buf_fini(&meta);
}

static void put_service(const char *node, const char *name, const char *address,
                        int64_t port)
{
    struct buf key = {0}, value = {0}, tags = {0};
    char id[64];

    (void)snprintf(id, sizeof id, "%s%lld", name, (long long)port);
    packed_put(&tags, bytes_str("v1"));
    key_service(&key, bytes_str(node), bytes_str(id));
    record_put_service(&value,
                       &(struct service_view){.id = bytes_str(id),
                                              .name = bytes_str(name),
                                              .address = bytes_str(address),
                                              .tags = {buf_bytes(&tags), 1},
                                              .port = port,
                                              .weight_passing = port % 7,
                                              .weight_warning = 1});
    need(catalog_put(catalog, buf_bytes(&key), buf_bytes(&value), revision,
                     revision, NULL) == ERR_OK);
    buf_fini(&key);
    buf_fini(&value);
    buf_fini(&tags);
}

static void put_domain(struct dns_name *to, const char *text)
{
    dns_name_text(to, bytes_str(text));
    dns_name_end(to);
}

static void fill(void)
{
    char node[16], address[24];

    revision++;
    put_node("n1", "10.0.0.1");
    put_node("n2", "fd00::2");
    put_node("host", "elsewhere.example.com");
    put_service("n1", "web", "", 80);
    put_service("n2", "web", "", 81);
    put_service("n1", "ext", "www.example.com", 1);
    put_service("n1", "in", "web.service.consul", 1);
    put_service("n1", "consul", "", 8300);
    put_service("host", "odd", "a..b", 1);
    for (int i = 0; i < INSTANCES; i++) {
        (void)snprintf(node, sizeof node, "b%d", i);
        (void)snprintf(address, sizeof address, "10.1.0.%d", i);
        put_node(node, address);
        put_service(node, "big", "", 1000 + i);
    }
    catalog_commit(catalog, revision);
}

static void begin(void)
{
    pin_init(&pins);
    catalog = catalog_new(&pins);
    fill();
    need(dns_worker_new(1 << 14, &keeps) == ERR_OK);
    need(dns_worker_new(0, &forgets) == ERR_OK);
    put_domain(&settings.domain, "consul");
    put_domain(&settings.alt, "alt.test");
    settings.datacenter = bytes_str("dc1");
    settings.generation = 1;
    settings.udp_answer_limit = 3;
    settings.node_texts = true;
}

/* --- Queries ------------------------------------------------------------------ */

static void same_query(const struct dns_query *a, const struct dns_query *b)
{
    need(a->id == b->id && a->flags == b->flags && a->type == b->type &&
         a->class == b->class && a->labels == b->labels &&
         a->name_n == b->name_n && a->edns == b->edns);
    need(memcmp(a->name, b->name, a->name_n) == 0);
    need(memcmp(a->fold, b->fold, a->name_n) == 0);
    need(!a->edns || (a->udp_size == b->udp_size && a->ecs.set == b->ecs.set));
    need(!a->edns || !a->ecs.set ||
         (a->ecs.family == b->ecs.family && a->ecs.source == b->ecs.source &&
          a->ecs.n == b->ecs.n &&
          memcmp(a->ecs.address, b->ecs.address, a->ecs.n) == 0));
    need(!a->edns || (a->cookie.n == b->cookie.n &&
                      memcmp(a->cookie.p, b->cookie.p, a->cookie.n) == 0));
}

static void written_back(const struct dns_query *q)
{
    uint8_t again[512];
    struct dns_out o = {again, 0, sizeof again, false};
    struct dns_query r;

    dns_query_write(q, &o);
    need(!o.full && dns_query_parse(bytes_of(again, o.n), &r) == DNS_PARSED);
    same_query(q, &r);
    for (size_t n = 0; n < o.n; n++) {
        enum dns_parsed p = dns_query_parse(bytes_of(again, n), &r);
        bool before_edns = q->edns && n == o.n - dns_opt_bytes(q);
        need(before_edns ? p == DNS_PARSED && !r.edns : p != DNS_PARSED);
    }
}

/* --- Answers --------------------------------------------------------------------- */

static unsigned be16(struct reader *r)
{
    unsigned high = read_u8(r);
    return high << 8 | read_u8(r);
}

/* Compression leads backwards only, and a name ends within 255 bytes. */
static void walk_name(struct reader *r)
{
    struct reader at = *r;
    size_t limit = r->at, n = 1;
    bool jumped = false;

    for (;;) {
        uint8_t len = read_u8(&at);
        need(!at.bad);
        if (len >= 0xc0) {
            size_t to = (size_t)(len & 0x3f) << 8 | read_u8(&at);
            need(!at.bad && to < limit);
            if (!jumped)
                *r = at;
            jumped = true;
            limit = at.at = to;
            continue;
        }
        need(len <= DNS_LABEL_MAX && n + len + 1 <= DNS_NAME_MAX + 1);
        if (len == 0)
            break;
        n += len + 1u;
        (void)read_bytes(&at, len);
    }
    if (!jumped)
        *r = at;
}

static void walk_record(struct reader *r)
{
    walk_name(r);
    unsigned type = be16(r);
    (void)be16(r);
    (void)read_be32(r);
    size_t n = be16(r), end = r->at + n;
    need(!r->bad && n <= reader_left(r));
    if (type == DNS_SRV)
        (void)read_bytes(r, 6);
    if (type == DNS_SRV || type == DNS_CNAME || type == DNS_NS ||
        type == DNS_PTR)
        walk_name(r);
    else
        (void)read_bytes(r, n);
    need(!r->bad && r->at == end);
}

static void whole_answer(const uint8_t *p, size_t n, struct bytes packet,
                         const struct dns_query *q)
{
    struct reader r = reader_over(bytes_of(p, n));

    need(be16(&r) ==
         (unsigned)((uint8_t)packet.p[0] << 8 | (uint8_t)packet.p[1]));
    need(be16(&r) & DNS_QR);
    unsigned questions = be16(&r), records = 0;
    for (int i = 0; i < 3; i++)
        records += be16(&r);
    need(questions == (q != NULL));
    if (q) {
        need(memcmp(p + DNS_HEADER_BYTES, q->name, q->name_n) == 0);
        (void)read_bytes(&r, q->name_n + 4u);
    }
    for (unsigned i = 0; i < records; i++)
        walk_record(&r);
    need(!r.bad && reader_left(&r) == 0);
}

static size_t most(const struct dns_query *q, uint8_t how)
{
    if (how & OVER_TCP)
        return DNS_TCP_MOST;
    if (!q || !q->edns || q->udp_size < DNS_UDP_PLAIN)
        return DNS_UDP_PLAIN;
    return q->udp_size < DNS_UDP_MOST ? q->udp_size : DNS_UDP_MOST;
}

static void answered(struct bytes packet, const struct dns_query *q,
                     uint8_t how)
{
    static uint8_t with[DNS_TCP_MOST], without[DNS_TCP_MOST];
    static const struct dns_key key = {"fuzz"};
    static struct dns_limits limits;
    struct dns_env env = {.key = &key,
                          .limits = how & LIMITED ? &limits : NULL,
                          .cat = catalog_current(catalog),
                          .set = &settings,
                          .random = 42,
                          .now_s = 7,
                          .client = bytes_of("\x0a\1\2\3", 4),
                          .transport =
                              how & OVER_TCP ? DNS_OVER_TCP : DNS_OVER_UDP};
    size_t cap = how & SMALL_BUFFER ? DNS_UDP_PLAIN : sizeof with;
    size_t n = 0, m = 0;
    struct dns_told told;

    settings.compress = !(how & NO_COMPRESSION);
    settings.sticky = how & STICKY;
    settings.recursors = how & RECURSORS;
    settings.truncate = !(how & NO_TRUNCATE);
    settings.generation = 1 + settings.compress;
    settings.rrl_rate = 1;
    settings.rrl_slip = 1;
    for (int i = 0; i < 2 && env.limits; i++)
        (void)dns_limit_take(&limits, env.client, 1, 0);
    enum dns_verdict v = dns_answer(keeps, &env, packet, with, cap, &n, &told);
    need(dns_answer(forgets, &env, packet, without, cap, &m, &told) == v);
    if (v != DNS_ANSWERED) {
        need(v == DNS_FORWARD ? q && settings.recursors : !q);
        return;
    }
    need(n <= cap && n <= most(q, how) && n >= DNS_HEADER_BYTES);
    need(n == m && memcmp(with, without, n) == 0);
    need(!told.limited || n <= packet.n + DNS_COOKIE_MADE);
    whole_answer(with, n, packet, q);
    n = dns_refuse(packet, DNS_SERVFAIL, &(struct dns_ede){"why", 22}, true,
                   with, DNS_UDP_PLAIN);
    need(n <= DNS_UDP_PLAIN);
    if (n)
        whole_answer(with, n, packet, q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct dns_query q;

    if (n == 0)
        return 0;
    if (!catalog)
        begin();
    struct bytes packet = bytes_of(data + 1, n - 1);
    bool parsed = dns_query_parse(packet, &q) == DNS_PARSED;
    if (parsed)
        written_back(&q);
    answered(packet, parsed ? &q : NULL, data[0]);
    return 0;
}
