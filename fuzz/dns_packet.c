/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* DNS packets. The first byte chooses transport and settings, the rest is what a
 * client sends to a server with a small catalog. Properties: a query that is accepted
 * and written back reads the same, and none of its beginnings is a query, but for the
 * one that ends before EDNS; an answer is whole, counts what it holds, tells the
 * question it was asked, and is never longer than transport, EDNS and buffer allow;
 * what is kept from one query changes nothing for the next. */
#include "dns_world.h"

enum {
    OVER_TCP = 1 << 0,
    NO_COMPRESSION = 1 << 1,
    STICKY = 1 << 2,
    RECURSORS = 1 << 3,
    SMALL_BUFFER = 1 << 4,
    NO_TRUNCATE = 1 << 5,
    LIMITED = 1 << 6, /* answers to this one are over the limit */
    CUT_OFF = 1 << 7, /* other datacenters cannot be reached */
};

static struct dns_worker *keeps, *forgets;

static void begin(void)
{
    world_begin();
    need(dns_worker_new(1 << 14, &keeps) == ERR_OK);
    need(dns_worker_new(0, &forgets) == ERR_OK);
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

/* n bytes of it are no query, unless only EDNS is missing. */
static void beginning(const struct dns_query *q, const uint8_t *p, size_t all,
                      size_t n)
{
    struct dns_query r;
    enum dns_parsed parsed = dns_query_parse(bytes_of(p, n), &r);
    bool before_edns = q->edns && n == all - dns_opt_bytes(q);

    need(before_edns ? parsed == DNS_PARSED && !r.edns : parsed != DNS_PARSED);
}

static void written_back(const struct dns_query *q)
{
    uint8_t again[512];
    struct dns_out o = {again, 0, sizeof again, false};
    struct dns_query r;

    dns_query_write(q, &o);
    need(!o.full && dns_query_parse(bytes_of(again, o.n), &r) == DNS_PARSED);
    same_query(q, &r);
    /* Every beginning of one in sixteen, one beginning of each other: parsing them
     * all would be most of the work. */
    uint64_t draw = bytes_hash(bytes_of(again, o.n), 0);
    for (size_t n = 0; draw % 16 == 0 && n < o.n; n++)
        beginning(q, again, o.n, n);
    beginning(q, again, o.n, (size_t)(draw / 16 % o.n));
}

/* --- Other datacenters ----------------------------------------------------------- */

static bool cut_off;

/* dc2 has the same catalog, of dc3 nothing is known. */
static bool nth_zone(const struct dns_zones *z, size_t i, struct bytes service,
                     struct dns_zone *ret)
{
    (void)z;
    (void)service;
    *ret = (struct dns_zone){.name = bytes_str(i ? "dc3" : "dc2"),
                             .cat = i ? NULL : catalog_current(catalog),
                             .life = 1,
                             .age_ms = cut_off ? 5000 : 0,
                             .up = !cut_off,
                             .reachable = !cut_off};
    return i < 2;
}

static bool find_zone(const struct dns_zones *z, struct bytes name,
                      struct bytes service, struct dns_zone *ret)
{
    for (size_t i = 0; nth_zone(z, i, service, ret); i++)
        if (bytes_eq(name, ret->name))
            return true;
    return false;
}

static const struct dns_zones zones = {
    .find = find_zone, .nth = nth_zone, .max_age_ms = 10000};

/* --- Answers --------------------------------------------------------------------- */

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
                          .zones = &zones,
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
    cut_off = how & CUT_OFF;
    for (int i = 0; i < 2 && env.limits; i++)
        (void)dns_limit_take(&limits, env.client, 1, 0);
    enum dns_verdict v = dns_answer(keeps, &env, packet, with, cap, &n, &told);
    need(dns_answer(forgets, &env, packet, without, cap, &m, &told) == v);
    if (v != DNS_ANSWERED) {
        if (v == DNS_ELSEWHERE)
            need(q && !cut_off && told.there && told.wanted_n == 3);
        else
            need(v == DNS_FORWARD ? q && settings.recursors : !q);
        return;
    }
    need(n <= cap && n <= most(q, how & OVER_TCP) && n >= DNS_HEADER_BYTES);
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
