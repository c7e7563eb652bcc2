/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What recursors answer about a host name that stands for an address. The first byte
 * chooses the client's question and transport, the rest is what came from the
 * recursor. Properties: what is made of it is whole, no longer than the client
 * takes, tells the client's question, and is the answer without it but for records
 * behind it, each of which a chain of aliases leads to. */
#include "dns_world.h"

enum {
    OVER_TCP = 1 << 0,
    TYPE_AAAA = 1 << 1,
    EDNS = 1 << 2,
    OF_NODE = 1 << 3,
    CHAIN_MAX = 9,
};

static struct dns_worker *worker;

static size_t make_query(uint8_t how, uint8_t *to, size_t cap)
{
    struct dns_out o = {to, 0, cap, false};
    struct dns_name name;

    name = (struct dns_name){.n = 0};
    put_domain(&name,
               how & OF_NODE ? "host.node.consul" : "ext.service.consul");
    struct dns_query q = {.id = 7,
                          .name = name.p,
                          .name_n = name.n,
                          .type = how & TYPE_AAAA ? DNS_AAAA : DNS_A,
                          .class = 1,
                          .edns = how & EDNS,
                          .udp_size = 700};
    dns_query_write(&q, &o);
    need(!o.full);
    return o.n;
}

/* A name written out, in lower case. */
struct name {
    size_t n;
    uint8_t p[DNS_NAME_MAX + 1];
};

static void take_name(struct reader *r, struct name *to)
{
    struct reader at = *r;

    walk_name(r); /* it is whole */
    to->n = 0;
    for (uint8_t len; (len = read_u8(&at));) {
        if (len >= 0xc0) {
            at.at = (size_t)(len & 0x3f) << 8 | read_u8(&at);
            continue;
        }
        struct bytes label = read_bytes(&at, len);
        to->p[to->n++] = len;
        for (size_t i = 0; i < label.n; i++) {
            uint8_t c = (uint8_t)label.p[i];
            to->p[to->n++] = c >= 'A' && c <= 'Z' ? c | 0x20 : c;
        }
    }
}

/* Each answer is about the name that is wanted: the question's, then its alias. */
static void a_chain(const uint8_t *p, size_t n, unsigned type)
{
    struct reader r = reader_over(bytes_of(p, n));
    struct name want, owner;
    unsigned aliases = 0;

    (void)read_bytes(&r, 6);
    unsigned answers = be16(&r);
    (void)read_be32(&r);
    take_name(&r, &want);
    (void)read_be32(&r);
    for (unsigned i = 0; i < answers; i++) {
        take_name(&r, &owner);
        need(want.n == owner.n && memcmp(want.p, owner.p, want.n) == 0);
        unsigned is = be16(&r);
        need(be16(&r) == 1 && (is == DNS_CNAME || is == type));
        (void)read_be32(&r);
        size_t len = be16(&r), end = r.at + len;
        if (is == DNS_CNAME)
            take_name(&r, &want);
        else
            (void)read_bytes(&r, len);
        need(!r.bad && r.at == end);
        aliases += is == DNS_CNAME;
    }
    need(aliases >= 1 && aliases <= CHAIN_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static uint8_t alone[DNS_TCP_MOST], out[DNS_TCP_MOST];
    uint8_t query[300];
    struct dns_told told;
    struct dns_query q;
    size_t alone_n;

    if (n == 0)
        return 0;
    if (!catalog) {
        world_begin();
        need(dns_worker_new(1 << 14, &worker) == ERR_OK);
        settings.recursors = settings.compress = true;
    }
    bool tcp = data[0] & OVER_TCP;
    struct bytes packet = bytes_of(query, make_query(data[0], query, 300));
    struct dns_env env = {.cat = catalog_current(catalog),
                          .set = &settings,
                          .random = 42,
                          .transport = tcp ? DNS_OVER_TCP : DNS_OVER_UDP};
    need(dns_answer(worker, &env, packet, alone, sizeof alone, &alone_n,
                    &told) == DNS_ANSWERED);
    need(told.alias_at && dns_query_parse(packet, &q) == DNS_PARSED);
    size_t m =
        dns_follow(packet, env.transport, bytes_of(alone, alone_n),
                   told.alias_at, bytes_of(data + 1, n - 1), out, sizeof out);
    if (m == 0)
        return 0;
    need(m > alone_n && m <= most(&q, tcp));
    whole_answer(out, m, packet, &q);
    a_chain(out, m, q.type);
    return 0;
}
