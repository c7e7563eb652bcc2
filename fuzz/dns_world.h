/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* dns_world - what the DNS targets share: a small catalog, and a reader of answers
 * that fails on anything not whole. */
#ifndef FUZZ_DNS_WORLD_H
#define FUZZ_DNS_WORLD_H

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/reader.h"
#include "dns/dns.h"

enum { INSTANCES = 120 };

static inline void need(bool x)
{
    if (!x)
        abort();
}

/* --- The catalog ------------------------------------------------------------ */

static struct pin_domain pins;
static struct catalog *catalog;
static struct dns_settings settings;
static uint64_t revision;

static inline void put_node(const char *name, const char *address)
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

static inline void put_service(const char *node, const char *name,
                               const char *address, int64_t port)
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

/* Of a service that nobody has, so that it fails over. */
static inline void put_query(const char *name, const char *service,
                             const char *to)
{
    static const char id[] = "00000000-0000-4000-8000-000000000001";
    struct buf key = {0}, value = {0}, dcs = {0};
    struct query_view v = {.id = bytes_str(id), .nearest = 1};

    packed_put(&dcs, bytes_str(to));
    v.text[QUERY_NAME] = bytes_str(name);
    v.text[QUERY_SERVICE] = bytes_str(service);
    v.list[QUERY_DATACENTERS] = (struct packed){buf_bytes(&dcs), 1};
    key_query(&key, v.id);
    record_put_query(&value, &v);
    need(catalog_put(catalog, buf_bytes(&key), buf_bytes(&value), revision,
                     revision, NULL) == ERR_OK);
    buf_reset(&key);
    key_query_name(&key, v.text[QUERY_NAME]);
    need(catalog_put(catalog, buf_bytes(&key), v.id, revision, revision,
                     NULL) == ERR_OK);
    buf_fini(&key);
    buf_fini(&value);
    buf_fini(&dcs);
}

static inline void put_domain(struct dns_name *to, const char *text)
{
    dns_name_text(to, bytes_str(text));
    dns_name_end(to);
}

static inline void fill(void)
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
    put_service("n1", "away", "in.service.dc2.consul", 1);
    put_service("n1", "consul", "", 8300);
    put_service("host", "odd", "a..b", 1);
    for (int i = 0; i < INSTANCES; i++) {
        (void)snprintf(node, sizeof node, "b%d", i);
        (void)snprintf(address, sizeof address, "10.1.0.%d", i);
        put_node(node, address);
        put_service(node, "big", "", 1000 + i);
    }
    put_query("q", "none", "dc2");
    catalog_commit(catalog, revision);
}

/* The settings' other members are each target's business. */
static inline void world_begin(void)
{
    pin_init(&pins);
    catalog = catalog_new(&pins);
    fill();
    put_domain(&settings.domain, "consul");
    put_domain(&settings.alt, "alt.test");
    settings.datacenter = bytes_str("dc1");
    settings.generation = 1;
    settings.udp_answer_limit = 3;
    settings.node_texts = true;
}

/* --- Answers --------------------------------------------------------------------- */

static inline unsigned be16(struct reader *r)
{
    unsigned high = read_u8(r);
    return high << 8 | read_u8(r);
}

/* Compression leads backwards only, and a name ends within 255 bytes. */
static inline void walk_name(struct reader *r)
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

static inline void walk_record(struct reader *r)
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

static inline void whole_answer(const uint8_t *p, size_t n, struct bytes packet,
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

static inline size_t most(const struct dns_query *q, bool tcp)
{
    if (tcp)
        return DNS_TCP_MOST;
    if (!q || !q->edns || q->udp_size < DNS_UDP_PLAIN)
        return DNS_UDP_PLAIN;
    return q->udp_size < DNS_UDP_MOST ? q->udp_size : DNS_UDP_MOST;
}

#endif
