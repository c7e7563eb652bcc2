/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Addresses, the names that stand for them, metadata as text. */
#include <arpa/inet.h>

#include "dns/impl.h"

enum {
    IPV6_HEX = 32,
    TXT_STRING_MAX = 255,
};

/* --- Addresses -------------------------------------------------------------- */

void address_of(struct bytes text, struct address *ret)
{
    char s[IP_TEXT_MAX];

    ret->n = 0;
    ret->text = text;
    if (text.n == 0 || text.n >= sizeof s)
        return;
    memcpy(s, text.p, text.n);
    s[text.n] = 0;
    if (inet_pton(AF_INET, s, ret->ip) == 1)
        ret->n = 4;
    else if (inet_pton(AF_INET6, s, ret->ip) == 1)
        ret->n = 16;
}

/* The tagged address of a family where there is one. */
void node_address(const struct node_view *n, enum address_want want,
                  struct address *ret)
{
    static const struct {
        const char *tag;
        bool v4, v6;
    } order[] = {{"lan_ipv6", false, true}, {"lan_ipv4", true, false}};

    for (size_t i = 0; i < sizeof order / sizeof order[0] && n->tagged.n; i++) {
        if ((want == WANT_V4 && !order[i].v4) ||
            (want == WANT_V6 && !order[i].v6))
            continue;
        struct bytes text = packed_find(n->tagged, bytes_str(order[i].tag));
        if (text.n) {
            address_of(text, ret);
            return;
        }
    }
    address_of(n->address, ret);
}

bool address_is(const struct address *at, enum address_want want)
{
    return want == WANT_ANY || at->n == (want == WANT_V4 ? 4 : 16);
}

/* --- Names ------------------------------------------------------------------- */

void name_in_domain(const struct ask *a, const char *kind, struct dns_name *ret)
{
    const struct dns_name *domain =
        a->domain ? a->domain : &a->env->set->domain;

    dns_name_label(ret, bytes_str(kind));
    dns_name_label(ret, a->datacenter);
    dns_name_wire(ret, domain->p, domain->n);
}

void node_name(const struct ask *a, struct bytes node, struct dns_name *ret)
{
    dns_name_text(ret, node);
    name_in_domain(a, "node", ret);
}

void address_name(const struct ask *a, const struct address *from,
                  struct dns_name *ret)
{
    static const char digits[] = "0123456789abcdef";
    char hex[IPV6_HEX];

    for (size_t i = 0; i < from->n; i++) {
        hex[2 * i] = digits[from->ip[i] >> 4];
        hex[2 * i + 1] = digits[from->ip[i] & 15];
    }
    dns_name_label(ret, bytes_of(hex, 2u * from->n));
    name_in_domain(a, "addr", ret);
}

/* --- Metadata as text --------------------------------------------------------- */

/* RFC 1464 2: a grave accent before what would be read otherwise. */
static size_t escaped(struct bytes text, bool key, char *to)
{
    size_t n = 0;

    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c == '`' || (key && (c == '=' || c == ' ' || c == '\t')))
            to[n++] = '`';
        to[n++] = c;
    }
    return n;
}

/* Strings of at most 255 bytes each, behind their length. */
static size_t put_strings(struct bytes text, uint8_t *to, size_t cap)
{
    size_t n = 0;

    do {
        struct bytes part = bytes_head(text, TXT_STRING_MAX);
        if (n + 1 + part.n > cap)
            return 0;
        to[n++] = (uint8_t)part.n;
        memcpy(to + n, part.p, part.n);
        n += part.n;
        text = bytes_skip(text, part.n);
    } while (text.n);
    return n;
}

size_t node_texts(const struct node_view *node, uint8_t *to, size_t cap)
{
    static const char plain[] = "rfc1035-";
    char text[TEXT_BYTES_MAX];
    struct bytes rest = node->meta.data, key, value;
    size_t n = 0;

    while (packed_next_pair(&rest, &key, &value)) {
        size_t k = 0;
        if (2 * (key.n + value.n) + 1 > sizeof text || n + 2 > cap)
            continue;
        if (bytes_starts(key, bytes_str(plain))) {
            k = value.n;
            if (k)
                memcpy(text, value.p, k);
        } else {
            k = escaped(key, true, text);
            text[k++] = '=';
            k += escaped(value, false, text + k);
        }
        size_t rdata = put_strings(bytes_of(text, k), to + n + 2, cap - n - 2);
        if (rdata == 0)
            continue;
        to[n] = (uint8_t)(rdata >> 8);
        to[n + 1] = (uint8_t)rdata;
        n += 2 + rdata;
    }
    return n;
}

/* --- Bodies of records -------------------------------------------------------- */

size_t address_body(const struct address *at, uint32_t ttl, uint8_t *to,
                    size_t cap)
{
    struct dns_out o = {to, 0, cap, false};

    dns_put_16(&o, 10u + at->n);
    dns_put_16(&o, at->n == 4 ? DNS_A : DNS_AAAA);
    dns_put_16(&o, CLASS_IN);
    dns_put_32(&o, ttl);
    dns_put_16(&o, at->n);
    dns_put(&o, at->ip, at->n);
    return o.full ? 0 : o.n;
}
