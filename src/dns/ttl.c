/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* For how long answers about services may be kept.
 *
 * As configured; or, with calm_ttl_s, longer the longer nothing has changed: an
 * eighth of the time for which DNS has told the same, as caches guess it of files
 * (RFC 9111 4.2.2). A change brings it back to the least, so what changes often is
 * asked often. An entry knows since when its records are what they are; a thread
 * that sees a service for the first time takes it for changed just now. */
#include "dns/impl.h"

enum {
    CALM_SHARE = 8,
    TTL_AT = 4, /* in a record's body, behind type and class */
    LENGTH_BYTES = 2,
};

uint32_t dns_service_ttl(const struct dns_settings *set, struct bytes name)
{
    for (size_t i = 0; i < set->service_ttl_count; i++) {
        const struct dns_ttl *t = &set->service_ttl[i];
        if (t->prefix ? bytes_starts(name, t->name) : bytes_eq(name, t->name))
            return t->ttl_s;
    }
    return 0;
}

uint32_t dns_service_ttl_most(const struct dns_settings *set, struct bytes name)
{
    uint32_t least = dns_service_ttl(set, name);

    return least > set->calm_ttl_s ? least : set->calm_ttl_s;
}

/* --- Entries -------------------------------------------------------------------- */

void ttl_begin(const struct ask *a, struct dns_entry *e)
{
    const struct dns_entry *old;

    e->changed_s = a->env->now_s;
    if (a->env->set->calm_ttl_s == 0)
        return;
    old = dns_cache_find(&a->w->cache, e->hash, &a->q);
    if (old && old->content == e->content && old->count == e->count)
        e->changed_s = old->changed_s;
}

static void put_ttl(uint8_t *body, uint32_t ttl)
{
    for (int i = 0; i < 4; i++)
        body[TTL_AT + i] = (uint8_t)(ttl >> (24 - 8 * i));
}

/* Bodies behind their lengths. */
static void put_ttls(uint8_t *p, size_t n, uint32_t ttl)
{
    for (size_t at = 0; at < n;) {
        put_ttl(p + at + LENGTH_BYTES, ttl);
        at += LENGTH_BYTES + ((size_t)p[at] << 8 | p[at + 1]);
    }
}

static void set_ttl(struct dns_entry *e, uint32_t ttl)
{
    for (size_t i = 0; i < e->count; i++) {
        struct dns_endpoint *p =
            (struct dns_endpoint *)(void *)((char *)e + dns_entry_at(e)[i]);
        uint8_t *answer = (uint8_t *)(p + 1);
        uint8_t *texts = answer + p->answer_n + p->addresses_n;
        put_ttl(answer, ttl);
        put_ttls(answer + p->answer_n, p->addresses_n, ttl);
        if (p->texts_n)
            put_ttls(texts + p->text_owner_n,
                     (size_t)p->texts_n - p->text_owner_n, ttl);
    }
    e->ttl_s = ttl;
}

void ttl_adapt(const struct ask *a, struct dns_entry *e)
{
    const struct dns_settings *set = a->env->set;
    uint32_t now = a->env->now_s;

    if (set->calm_ttl_s == 0)
        return;
    /* A clock that was set back makes no age. */
    uint32_t ttl = now > e->changed_s ? (now - e->changed_s) / CALM_SHARE : 0;
    if (ttl > set->calm_ttl_s)
        ttl = set->calm_ttl_s;
    if (ttl < e->least_ttl_s)
        ttl = e->least_ttl_s;
    if (ttl != e->ttl_s)
        set_ttl(e, ttl);
}
