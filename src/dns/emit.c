/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Records into the message. As many endpoints as fit, each together with the
 * addresses of its target (an SRV record alone is half an answer); texts only in
 * what is left then. */
#include "dns/impl.h"

/* --- Single records ------------------------------------------------------------ */

void put_question_owner(struct ask *a)
{
    if (a->env->set->compress)
        dns_put_16(&a->out, OWNER_POINTER);
    else
        dns_put(&a->out, a->q.name, a->q.name_n);
}

bool put_record(struct ask *a, const struct dns_name *owner, unsigned type,
                uint32_t ttl, const void *rdata, size_t n)
{
    size_t start = a->out.n;

    if (owner)
        dns_put(&a->out, owner->p, owner->n);
    else
        put_question_owner(a);
    dns_put_16(&a->out, type);
    dns_put_16(&a->out, CLASS_IN);
    dns_put_32(&a->out, ttl);
    dns_put_16(&a->out, (unsigned)n);
    dns_put(&a->out, rdata, n);
    if (!a->out.full)
        return true;
    a->out.n = start;
    a->out.full = false;
    return false;
}

bool put_address(struct ask *a, const struct dns_name *owner,
                 const struct address *at, uint32_t ttl)
{
    return put_record(a, owner, at->n == 4 ? DNS_A : DNS_AAAA, ttl, at->ip,
                      at->n);
}

/* --- Entries -------------------------------------------------------------------- */

static size_t owner_bytes(const struct ask *a, size_t name_n)
{
    return a->env->set->compress ? 2 : name_n;
}

/* As long as a pointer can reach everything, which UDP's messages allow. */
static size_t answer_bytes(const struct ask *a, const struct dns_endpoint *p)
{
    return owner_bytes(a, a->q.name_n) + p->answer_n;
}

static size_t address_bytes(const struct ask *a, const struct dns_endpoint *p)
{
    size_t owner =
        a->limit > DNS_POINTER_MAX ? p->target_n : owner_bytes(a, p->target_n);

    return p->addresses_n + p->address_count * (owner - 2);
}

/* How many of the order fit. */
static size_t fitting(const struct ask *a, const struct dns_entry *e,
                      size_t want)
{
    size_t n = a->out.n, i;

    for (i = 0; i < want; i++) {
        const struct dns_endpoint *p = dns_entry_endpoint(e, a->w->order[i]);
        n += answer_bytes(a, p);
        size_t with = n + address_bytes(a, p);
        if (with > a->limit)
            return i == 0 && n <= a->limit ? 1 : i;
        n = with;
    }
    return i;
}

static size_t wanted(struct ask *a, const struct dns_entry *e)
{
    const struct dns_settings *set = a->env->set;
    size_t most = UDP_RECORDS_MAX, n = e->count;

    if (e->is_address && set->a_record_limit && n > set->a_record_limit)
        n = set->a_record_limit;
    if (a->env->transport == DNS_OVER_TCP ||
        (a->q.edns && a->q.udp_size > DNS_UDP_PLAIN))
        return n;
    if (set->udp_answer_limit && set->udp_answer_limit < most)
        most = set->udp_answer_limit;
    if (n <= most)
        return n;
    a->truncated = true;
    return most;
}

/* The owner, by a pointer to where it stood first if that is near enough. */
static void put_owner(struct ask *a, size_t at, const uint8_t *name, size_t n)
{
    if (a->env->set->compress && at && at <= DNS_POINTER_MAX)
        dns_put_16(&a->out, 0xc000u | (unsigned)at);
    else
        dns_put(&a->out, name, n);
}

/* Bodies with one owner, whose first use may already be at *at. Stops before what
 * does not fit; returns how many were put. */
static unsigned put_bodies(struct ask *a, const uint8_t *p, size_t n,
                           size_t *at, const uint8_t *name, size_t name_n)
{
    unsigned count = 0;

    for (size_t i = 0; i < n;) {
        size_t k = (size_t)p[i] << 8 | p[i + 1], start = a->out.n;
        put_owner(a, *at, name, name_n);
        dns_put(&a->out, p + i + 2, k);
        if (a->out.full) {
            a->out.n = start;
            a->out.full = false;
            break;
        }
        if (*at == 0)
            *at = start;
        count++;
        i += 2 + k;
    }
    return count;
}

static const uint8_t *answer_of(const struct dns_endpoint *p)
{
    return (const uint8_t *)(p + 1);
}

static const uint8_t *target_of(const struct dns_endpoint *p)
{
    return answer_of(p) + p->answer_n - p->target_n;
}

static void put_addresses(struct ask *a, const struct dns_endpoint *p, size_t i)
{
    unsigned n = put_bodies(a, answer_of(p) + p->answer_n, p->addresses_n,
                            &a->w->target_at[i], target_of(p), p->target_n);
    a->additional += n;
}

static void put_texts(struct ask *a, const struct dns_endpoint *p, size_t i)
{
    const uint8_t *texts = answer_of(p) + p->answer_n + p->addresses_n;
    size_t at = 0;

    if (p->texts_n == 0)
        return;
    if (p->text_owner_n) {
        a->additional += put_bodies(a, texts + p->text_owner_n,
                                    (size_t)p->texts_n - p->text_owner_n, &at,
                                    texts, p->text_owner_n);
    } else {
        a->additional += put_bodies(a, texts, p->texts_n, &a->w->target_at[i],
                                    target_of(p), p->target_n);
    }
}

static void put_answer(struct ask *a, const struct dns_endpoint *p, size_t i)
{
    put_question_owner(a);
    dns_put(&a->out, answer_of(p), p->answer_n);
    a->w->target_at[i] = a->out.n - p->target_n;
    a->answers++;
}

void emit_entry(struct ask *a, const struct dns_entry *e)
{
    size_t want = wanted(a, e), texts = 0;

    if (e->soa)
        answer_soa_authority(a);
    order_draw(a, e, want);
    size_t n = fitting(a, e, want);
    if (n < want)
        a->truncated = true;
    for (size_t i = 0; i < n; i++) {
        const struct dns_endpoint *p = dns_entry_endpoint(e, a->w->order[i]);
        put_answer(a, p, i);
        texts += p->texts_n;
    }
    for (size_t i = 0; i < n; i++)
        put_addresses(a, dns_entry_endpoint(e, a->w->order[i]), i);
    if (e->in_answer && e->keep && n)
        a->alias_at = a->w->target_at[0];
    for (size_t i = 0; i < n && texts; i++)
        put_texts(a, dns_entry_endpoint(e, a->w->order[i]), i);
    if (e->in_answer) { /* what an alias stands for */
        a->answers += a->additional;
        a->additional = 0;
    }
}
