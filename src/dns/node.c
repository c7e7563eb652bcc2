/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Nodes, and addresses that a name spells. */
#include "dns/impl.h"

enum { IPV4_HEX = 8, IPV6_HEX = 32 };

/* --- Nodes ------------------------------------------------------------------- */

static unsigned put_texts(struct ask *a, const struct node_view *n)
{
    uint8_t texts[TEXT_BYTES_MAX];
    size_t all = node_texts(n, texts, sizeof texts), at = 0;
    unsigned count = 0;

    while (at < all) {
        size_t k = (size_t)texts[at] << 8 | texts[at + 1];
        if (!put_record(a, NULL, DNS_TXT, a->env->set->node_ttl_s,
                        texts + at + 2, k))
            break;
        count++;
        at += 2 + k;
    }
    if (at < all && (a->q.type == DNS_TXT || a->q.type == DNS_ANY))
        a->truncated = true;
    return count;
}

/* A host name for an address: the resolver has to ask on. */
static void put_alias(struct ask *a, struct bytes text)
{
    struct dns_name target = {.n = 0};
    uint8_t inner[INNER_BYTES_MAX];

    dns_name_text(&target, text);
    dns_name_end(&target);
    if (target.bad)
        return;
    uint32_t ttl = a->env->set->node_ttl_s;
    if (!put_record(a, NULL, DNS_CNAME, ttl, target.p, target.n))
        return;
    a->answers++;
    bool is_inner;
    size_t at_end = a->out.n;
    size_t n = inner_addresses(a, &target, ttl, inner, sizeof inner, &is_inner);
    if (!is_inner)
        a->alias_at = at_end - target.n;
    for (size_t at = 0, k; at < n; at += 2 + k) {
        size_t start = a->out.n;
        k = (size_t)inner[at] << 8 | inner[at + 1];
        dns_put(&a->out, target.p, target.n);
        dns_put(&a->out, inner + at + 2, k);
        if (a->out.full) {
            a->out.n = start;
            a->out.full = false;
            a->truncated = true;
            return;
        }
        a->answers++;
    }
}

void answer_node(struct ask *a, const struct form *f)
{
    const struct dns_settings *set = a->env->set;
    const struct cat_node *n = snapshot_node(a->cat, f->name);
    uint16_t type = a->q.type;
    struct node_view v;
    struct address at;

    if (!n) {
        answer_nothing(a);
        return;
    }
    cat_node_view(n->record, &v);
    if (type == DNS_A || type == DNS_AAAA || type == DNS_ANY) {
        enum address_want want = type == DNS_A      ? WANT_V4
                                 : type == DNS_AAAA ? WANT_V6
                                                    : WANT_ANY;
        node_address(&v, want, &at);
        if (at.n == 0)
            put_alias(a, at.text);
        else if (address_is(&at, want) &&
                 put_address(a, NULL, &at, set->node_ttl_s))
            a->answers++;
        if (type == DNS_ANY)
            a->answers += put_texts(a, &v);
        else if (set->node_texts)
            a->additional += put_texts(a, &v);
    } else if (type == DNS_TXT) {
        a->answers += put_texts(a, &v);
    }
}

/* --- Spelled addresses --------------------------------------------------------- */

int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

bool hex_address(struct bytes hex, struct address *ret)
{
    ret->n = 0;
    for (size_t i = 0; i < hex.n; i++)
        if (hex_digit(hex.p[i]) < 0)
            return hex.n != IPV4_HEX && hex.n != IPV6_HEX;
    if (hex.n != IPV4_HEX && hex.n != IPV6_HEX)
        return true;
    ret->n = (uint8_t)(hex.n / 2);
    for (size_t i = 0; i < ret->n; i++)
        ret->ip[i] = (uint8_t)(hex_digit(hex.p[2 * i]) << 4 |
                               hex_digit(hex.p[2 * i + 1]));
    return true;
}

void answer_addr(struct ask *a, const struct form *f)
{
    struct address at;

    if (!hex_address(f->name, &at)) {
        answer_nothing(a);
        return;
    }
    if (at.n && put_address(a, NULL, &at, a->env->set->node_ttl_s))
        a->answers++;
}
