/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Consul reads a name from the right: the last label that is a kind's word counts,
 * one label behind it may be a datacenter. Labels before it are the rest. */
#include "dns/impl.h"

/* The labels [from, to) with dots between them. */
static struct bytes join(const struct dns_query *q, size_t from, size_t to,
                         char *space)
{
    size_t n = 0;

    for (size_t i = from; i < to; i++) {
        struct bytes label = dns_label(q, i);
        if (i > from)
            space[n++] = '.';
        memcpy(space + n, label.p, label.n);
        n += label.n;
    }
    return bytes_of(space, n);
}

static bool is_underscored(struct bytes label)
{
    return label.n > 1 && label.p[0] == '_';
}

/* _name._tag, as the two labels from `i` on. */
static bool is_rfc_2782(const struct dns_query *q, size_t i, size_t before)
{
    return before == i + 2 && is_underscored(dns_label(q, i)) &&
           is_underscored(dns_label(q, i + 1));
}

static void rfc_2782(const struct dns_query *q, struct form *ret)
{
    ret->kind = FORM_SERVICE;
    ret->name = bytes_skip(dns_label(q, 0), 1);
    ret->tag = bytes_skip(dns_label(q, 1), 1);
    if (bytes_is(ret->tag, "tcp")) /* every program asks with a protocol */
        ret->tag = (struct bytes){NULL, 0};
}

static void service(const struct dns_query *q, size_t labels, struct form *ret)
{
    if (labels == 0)
        return;
    if (is_rfc_2782(q, 0, labels)) {
        rfc_2782(q, ret);
        return;
    }
    ret->kind = FORM_SERVICE;
    ret->name = dns_label(q, labels - 1);
    ret->tag = join(q, 0, labels - 1, ret->space);
}

/* Names of prepared queries may have dots; newer ones write _name._tcp too. */
static void query(const struct dns_query *q, size_t labels, struct form *ret)
{
    if (labels == 0)
        return;
    if (is_rfc_2782(q, 0, labels))
        rfc_2782(q, ret);
    else
        ret->name = join(q, 0, labels, ret->space);
    ret->tag = (struct bytes){NULL, 0};
    ret->kind = FORM_QUERY;
}

/* Nothing, a datacenter, or that and "dc" as newer ones write it. */
static bool where(const struct dns_settings *set, const struct dns_query *q,
                  size_t i, size_t labels, struct form *ret)
{
    if (i + 2 == labels && bytes_is(dns_label(q, i + 1), "dc"))
        labels--;
    if (i + 1 == labels && !bytes_eq(dns_label(q, i), set->datacenter))
        ret->dc = dns_label(q, i);
    return i == labels || i + 1 == labels;
}

static bool is_kind(struct bytes word)
{
    static const char *const words[] = {"service", "passing", "node",   "addr",
                                        "query",   "connect", "ingress"};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (bytes_is(word, words[i]))
            return true;
    return false;
}

static size_t find_kind(const struct dns_query *q, size_t labels)
{
    for (size_t i = labels; i-- > 0;)
        if (is_kind(dns_label(q, i)))
            return i;
    return labels;
}

static void of_kind(const struct dns_settings *set, const struct dns_query *q,
                    size_t kind, size_t labels, struct form *ret)
{
    struct bytes word = dns_label(q, kind);

    if (bytes_is(word, "addr")) { /* wherever */
        if (kind == 1) {
            ret->kind = FORM_ADDR;
            ret->name = dns_label(q, 0);
        }
        return;
    }
    if (!where(set, q, kind + 1, labels, ret))
        return;
    if (bytes_is(word, "node")) {
        if (kind == 0)
            return;
        ret->kind = FORM_NODE;
        ret->name = join(q, 0, kind, ret->space);
        return;
    }
    if (bytes_is(word, "query")) {
        query(q, kind, ret);
        return;
    }
    ret->passing = bytes_is(word, "passing");
    if (ret->passing || bytes_is(word, "service"))
        service(q, kind, ret);
}

void form_of(const struct dns_settings *set, const struct dns_query *q,
             size_t domain_at, struct form *ret)
{
    size_t labels = 0;

    ret->kind = FORM_NONE;
    ret->passing = false;
    ret->query = NULL;
    ret->picks = NULL;
    ret->name = ret->tag = ret->dc = (struct bytes){NULL, 0};
    while (labels < q->labels && q->at[labels] < domain_at)
        labels++;
    size_t kind = find_kind(q, labels);
    if (kind < labels)
        of_kind(set, q, kind, labels, ret);
    else if (q->type == DNS_SRV && labels >= 2 && is_rfc_2782(q, 0, 2) &&
             where(set, q, 2, labels, ret))
        rfc_2782(q, ret);
}
