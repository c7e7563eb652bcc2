/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "dns/name.h"

void dns_name_wire(struct dns_name *name, const uint8_t *p, size_t n)
{
    if (name->bad || n > (size_t)DNS_NAME_MAX - name->n) {
        name->bad = true;
        return;
    }
    memcpy(name->p + name->n, p, n);
    name->n = (uint8_t)(name->n + n);
}

void dns_name_label(struct dns_name *name, struct bytes label)
{
    uint8_t n = (uint8_t)label.n;

    if (label.n == 0 || label.n > DNS_LABEL_MAX) {
        name->bad = true;
        return;
    }
    dns_name_wire(name, &n, 1);
    dns_name_wire(name, (const uint8_t *)label.p, label.n);
}

void dns_name_text(struct dns_name *name, struct bytes text)
{
    if (text.n && text.p[text.n - 1] == '.')
        text.n--;
    if (text.n == 0)
        name->bad = true;
    while (text.n && !name->bad) {
        size_t n = bytes_find(text, '.');
        dns_name_label(name, bytes_head(text, n));
        if (n + 1 == text.n)
            name->bad = true; /* "a..": an empty one */
        text = bytes_skip(text, n + 1);
    }
}

void dns_name_end(struct dns_name *name)
{
    dns_name_wire(name, (const uint8_t *)"", 1);
}

/* Length bytes are below 'A', so folding leaves them alone. */
bool dns_name_eq(const uint8_t *a, size_t a_n, const uint8_t *b, size_t b_n)
{
    return bytes_eq_fold(bytes_of(a, a_n), bytes_of(b, b_n));
}

size_t dns_name_within(const struct dns_query *q, const struct dns_name *domain)
{
    if (domain->n == 0 || domain->n > q->name_n)
        return SIZE_MAX;
    size_t at = (size_t)q->name_n - domain->n;
    if (memcmp(q->fold + at, domain->p, domain->n) != 0)
        return SIZE_MAX;
    /* The tail of a label may look like the domain: begin where one begins. */
    for (size_t i = q->labels; i-- > 0;)
        if (q->at[i] <= at)
            return q->at[i] == at ? at : SIZE_MAX;
    return at == 0 ? 0 : SIZE_MAX;
}

bool dns_name_ends(const uint8_t *name, size_t n, const struct dns_name *domain)
{
    struct dns_name copy = {.n = 0};
    struct dns_query q;

    dns_name_wire(&copy, name, n);
    return dns_name_query(&copy, &q) && dns_name_within(&q, domain) != SIZE_MAX;
}

bool dns_name_query(const struct dns_name *name, struct dns_query *ret)
{
    uint8_t packet[DNS_HEADER_BYTES + DNS_NAME_MAX + 4] = {0};
    size_t n = DNS_HEADER_BYTES + (size_t)name->n;

    packet[5] = 1;
    memcpy(packet + DNS_HEADER_BYTES, name->p, name->n);
    if (name->bad ||
        dns_query_parse(bytes_of(packet, n + 4), ret) != DNS_PARSED)
        return false;
    ret->name = ret->fold; /* packet goes */
    return ret->name_n == name->n;
}
