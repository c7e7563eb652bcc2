/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/dns_live.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/duration.h"
#include "server/link.h"
#include "server/zones.h"

/* --- The plan ---------------------------------------------------------------- */

static enum err addresses(const struct agent_config *c, struct dns_plan *p,
                          struct errtext *t)
{
    if (p->port < 0)
        return ERR_OK;
    if (c->listen.dns.n > DNSD_ADDRESSES_MAX) {
        errtext_set(t, "addresses.dns: %zu addresses, the limit is %d",
                    c->listen.dns.n, DNSD_ADDRESSES_MAX);
        return ERR_LIMIT;
    }
    for (size_t i = 0; i < c->listen.dns.n; i++) {
        const char *address = c->listen.dns.v[i];
        if (strstr(address, "{{")) {
            errtext_set(t,
                        "addresses.dns: address templates such as \"%.40s\" "
                        "are not supported: write the address",
                        address);
            return ERR_BAD;
        }
        p->addresses[p->address_count++] = address;
    }
    return ERR_OK;
}

enum err dns_plan_make(const struct agent_config *c, struct dns_plan *ret,
                       struct errtext *t)
{
    struct dns_plan p = {
        .port = c->ports.dns,
        .threads = (int)c->dns.threads,
        .recursors = c->dns.recursors.v,
        .recursor_count = c->dns.recursors.n,
        .recursor_timeout_ms = c->dns.recursor_timeout_ms,
        .recursor_random = strcmp(c->dns.recursor_strategy, "random") == 0,
        .domain = c->domain,
        .alt_domain = c->alt_domain,
        .datacenter = c->datacenter,
        .service_ttl = c->dns.service_ttl.v,
        .service_ttl_count = c->dns.service_ttl.n,
        .exempt = c->dns.rrl_exempt.v,
        .exempt_count = c->dns.rrl_exempt.n,
        .set = {
            .node_ttl_s = (uint32_t)(c->dns.node_ttl_ms / 1000),
            .calm_ttl_s = (uint32_t)(c->dns.service_ttl_calm_ms / 1000),
            .soa = {(uint32_t)c->dns.soa_refresh, (uint32_t)c->dns.soa_retry,
                    (uint32_t)c->dns.soa_expire, (uint32_t)c->dns.soa_min_ttl},
            .only_passing = c->dns.only_passing,
            .truncate = c->dns.enable_truncate,
            .compress = !c->dns.disable_compression,
            .node_texts = c->dns.node_meta_txt,
            .sticky = strcmp(c->dns.order, "sticky") == 0,
            .recursors = c->dns.recursors.n > 0,
            .max_stale_ms = c->dns.max_stale_ms,
            .udp_answer_limit = (uint32_t)c->dns.udp_answer_limit,
            .a_record_limit = (uint32_t)c->dns.a_record_limit,
            .rrl_rate = (uint32_t)c->dns.rrl_rate,
            .rrl_slip = (uint32_t)c->dns.rrl_slip,
        }};
    enum err e = addresses(c, &p, t);

    if (e == ERR_OK)
        *ret = p;
    return e;
}

uint32_t dns_descriptors(const struct dns_plan *p, int threads, uint32_t most,
                         uint32_t *ret_conns, uint32_t *ret_forwarded)
{
    uint32_t uses =
        p->recursor_count ? 2 : 1; /* connections; sockets to them */
    uint32_t n = (uint32_t)threads * uses, each = most / 4 / n;

    *ret_conns = *ret_forwarded = 0;
    if (p->port < 0)
        return 0;
    if (each == 0)
        each = 1;
    *ret_conns = each < DNSD_CONNS_MAX ? each : DNSD_CONNS_MAX;
    *ret_forwarded = each < DNSD_FORWARDED_MAX ? each : DNSD_FORWARDED_MAX;
    return (uint32_t)threads * (*ret_conns + (uses == 2 ? *ret_forwarded : 0));
}

/* --- Settings ------------------------------------------------------------------ */

/* One block: the struct, its TTLs, networks, then all text. */
struct block {
    struct dns_settings set;
    struct dns_ttl ttl[];
};

static struct bytes put_lower(char **at, struct bytes text)
{
    struct bytes copy = {*at, text.n};

    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        (*at)[i] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    *at += text.n;
    return copy;
}

/* Validation has seen that it is one. */
static void put_domain(struct dns_name *ret, const char *domain)
{
    char lower[DNS_NAME_MAX], *at = lower;
    struct bytes text = bytes_str(domain);

    *ret = (struct dns_name){.n = 0};
    if (!domain || text.n > sizeof lower)
        return;
    dns_name_text(ret, put_lower(&at, text));
    dns_name_end(ret);
}

/* Exact names, then prefixes from the longest on: the first that fits counts. */
static int by_rank(const void *a, const void *b)
{
    const struct dns_ttl *x = a, *y = b;

    if (x->prefix != y->prefix)
        return x->prefix ? 1 : -1;
    return x->name.n < y->name.n ? 1 : x->name.n > y->name.n ? -1 : 0;
}

static void put_ttls(const struct dns_plan *p, struct block *b, char **at)
{
    for (size_t i = 0; i < p->service_ttl_count; i++) {
        struct bytes name = bytes_str(p->service_ttl[i].key);
        int64_t ns = 0;
        bool prefix = name.n && name.p[name.n - 1] == '*';
        if (duration_parse(bytes_str(p->service_ttl[i].value), &ns, NULL) !=
            ERR_OK)
            ns = 0; /* validated */
        b->ttl[i] = (struct dns_ttl){
            .name = put_lower(at, bytes_head(name, name.n - prefix)),
            .prefix = prefix,
            .ttl_s = (uint32_t)(ns / NS_PER_MS / 1000)};
    }
    if (p->service_ttl_count)
        qsort(b->ttl, p->service_ttl_count, sizeof *b->ttl, by_rank);
}

static struct net *put_exempt(const struct dns_plan *p, struct block *b)
{
    struct net *v = (struct net *)(void *)(b->ttl + p->service_ttl_count);

    for (size_t i = 0; i < p->exempt_count; i++)
        if (net_parse_host(bytes_str(p->exempt[i]), &v[i]) != ERR_OK)
            v[i] = (struct net){.bits = 128}; /* validated */
    b->set.rrl_exempt = v;
    b->set.rrl_exempt_count = p->exempt_count;
    return v + p->exempt_count;
}

struct dns_settings *dns_settings_new(const struct dns_plan *p,
                                      uint64_t generation)
{
    size_t ttls = p->service_ttl_count * sizeof(struct dns_ttl);
    size_t text = strlen(p->datacenter);

    for (size_t i = 0; i < p->service_ttl_count; i++)
        text += strlen(p->service_ttl[i].key);
    struct block *b =
        xzalloc(sizeof *b + ttls + p->exempt_count * sizeof(struct net) + text);
    b->set = p->set;
    char *at = (char *)put_exempt(p, b);
    b->set.generation = generation;
    put_domain(&b->set.domain, p->domain);
    put_domain(&b->set.alt, p->alt_domain);
    b->set.datacenter = put_lower(&at, bytes_str(p->datacenter));
    put_ttls(p, b, &at);
    b->set.service_ttl = b->ttl;
    b->set.service_ttl_count = p->service_ttl_count;
    return &b->set;
}

/* --- Threads -------------------------------------------------------------------- */

enum err dns_start(struct process *p, const struct dns_plan *plan, int threads,
                   uint32_t conns, uint32_t forwarded, struct errtext *t)
{
    const struct dnsd_options o = {
        .pins = &p->pins,
        .catalog = p->catalog,
        .settings = &p->dns,
        .changes = &p->dns_changes,
        .addresses = plan->addresses,
        .address_count = plan->address_count,
        .port = plan->port,
        .threads = threads,
        .conns_max = conns,
        .forwarded_max = forwarded,
        .recursors = plan->recursors,
        .recursor_count = plan->recursor_count,
        .recursor_timeout_ms = plan->recursor_timeout_ms,
        .recursor_rotate = plan->recursor_random,
        .zones = &p->zones,
        .partial = p->link != NULL,
        .server = zones_server_of,
        .want = link_want_of,
        .age_ms = p->link || !p->barrier_free ? link_age_of : NULL,
        .uses = p->uses,
        .dropped = &p->dropped,
        .ctx = p,
        .psk = p->psk,
    };

    return dnsd_start(&o, &p->dnsd, t);
}
