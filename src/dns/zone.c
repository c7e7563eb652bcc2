/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* The zone itself, and reverse names. */
#include <arpa/inet.h>

#include "dns/impl.h"

enum { IPV6_NIBBLES = 32 };

/* --- The zone ------------------------------------------------------------------- */

static void answer_soa(struct ask *a, unsigned *count)
{
    const struct dns_settings *set = a->env->set;
    const struct dns_name *domain = a->domain ? a->domain : &set->domain;
    struct dns_name server = {.n = 0}, person = {.n = 0};
    uint8_t rdata[2 * DNS_NAME_MAX + 20];
    struct dns_out o = {rdata, 0, sizeof rdata, false};

    dns_name_label(&server, bytes_str("ns"));
    dns_name_wire(&server, domain->p, domain->n);
    dns_name_label(&person, bytes_str("hostmaster"));
    dns_name_wire(&person, domain->p, domain->n);
    dns_put(&o, server.p, server.n);
    dns_put(&o, person.p, person.n);
    dns_put_32(&o, a->env->now_s);
    dns_put_32(&o, set->soa.refresh);
    dns_put_32(&o, set->soa.retry);
    dns_put_32(&o, set->soa.expire);
    dns_put_32(&o, set->soa.min_ttl);
    if (!server.bad && !person.bad &&
        put_record(a, domain, DNS_SOA, set->soa.min_ttl, rdata, o.n))
        ++*count;
}

void answer_soa_authority(struct ask *a)
{
    answer_soa(a, &a->authority);
}

struct server {
    struct dns_name name;
    struct address at;
};

/* Servers that stand in the catalog as such and are not critical: as many as are
 * named, by chance. */
static size_t pick_servers(struct ask *a, struct server v[NS_MAX])
{
    const struct cat_name *n = snapshot_name(a->env->cat, bytes_str("consul"));
    const struct cat_instance *i;
    struct tree_iter it;
    struct membership members;
    size_t seen = 0, count = 0;

    if (!n)
        return 0;
    membership_begin(&members, a->env->cat, n);
    tree_first(&n->instances, &it);
    while ((i = tree_next(&it))) {
        const struct cat_node *node = snapshot_node_of(a->env->cat, i);
        struct server s = {.name = {.n = 0}};
        struct node_view view;
        if (!node || instance_standing(&members, node, i) == STANDS_OUT)
            continue;
        cat_node_view(node->record, &view);
        node_name(a, view.name, &s.name);
        node_address(&view, WANT_ANY, &s.at);
        if (s.name.bad)
            continue;
        seen++;
        size_t at =
            count < NS_MAX ? count++ : (size_t)(random_next(&a->random) % seen);
        if (at < NS_MAX)
            v[at] = s;
    }
    return count;
}

void answer_zone(struct ask *a)
{
    const struct dns_settings *set = a->env->set;
    bool soa = a->q.type == DNS_SOA;
    unsigned *section = soa ? &a->authority : &a->answers;
    struct server v[NS_MAX];
    size_t n = pick_servers(a, v);

    if (soa)
        answer_soa(a, &a->answers);
    for (size_t i = 0; i < n; i++)
        if (put_record(a, a->domain, DNS_NS, set->node_ttl_s, v[i].name.p,
                       v[i].name.n))
            ++*section;
    for (size_t i = 0; i < n; i++)
        if (v[i].at.n && put_address(a, &v[i].name, &v[i].at, set->node_ttl_s))
            a->additional++;
}

/* --- Reverse names ---------------------------------------------------------------- */

/* d.c.b.a.in-addr.arpa */
static bool reverse_v4(const struct dns_query *q, struct address *ret)
{
    if (q->labels != 6)
        return false;
    for (size_t i = 0; i < 4; i++) {
        struct bytes label = dns_label(q, 3 - i);
        uint64_t byte;
        if (bytes_u64(label, &byte) != ERR_OK || byte > 255 ||
            (label.n > 1 && label.p[0] == '0'))
            return false;
        ret->ip[i] = (uint8_t)byte;
    }
    ret->n = 4;
    return true;
}

static bool reverse_v6(const struct dns_query *q, struct address *ret)
{
    if (q->labels != IPV6_NIBBLES + 2)
        return false;
    memset(ret->ip, 0, sizeof ret->ip);
    for (size_t i = 0; i < IPV6_NIBBLES; i++) {
        struct bytes label = dns_label(q, IPV6_NIBBLES - 1 - i);
        int digit = label.n == 1 ? hex_digit(label.p[0]) : -1;
        if (digit < 0)
            return false;
        ret->ip[i / 2] |= (uint8_t)(i % 2 ? digit : digit << 4);
    }
    ret->n = 16;
    return true;
}

static bool ends_with(const struct dns_query *q, const char *a)
{
    return q->labels >= 2 && bytes_is(dns_label(q, q->labels - 1u), "arpa") &&
           bytes_is(dns_label(q, q->labels - 2u), a);
}

static bool reverse_address(const struct dns_query *q, struct address *ret)
{
    if (ends_with(q, "in-addr"))
        return reverse_v4(q, ret);
    return ends_with(q, "ip6") && reverse_v6(q, ret);
}

bool answer_reverse(struct ask *a)
{
    struct address at;
    char text[IP_TEXT_MAX];
    struct dns_name name = {.n = 0};
    struct bytes owner;
    bool service;

    if (!reverse_address(&a->q, &at) ||
        !inet_ntop(at.n == 4 ? AF_INET : AF_INET6, at.ip, text, sizeof text) ||
        !snapshot_address(a->env->cat, bytes_str(text), &owner, &service))
        return false;
    if (service) {
        dns_name_label(&name, owner);
        name_in_domain(a, "service", &name);
    } else {
        node_name(a, owner, &name);
    }
    if (name.bad || !put_record(a, NULL, DNS_PTR, 0, name.p, name.n))
        return false;
    a->answers++;
    return true;
}
