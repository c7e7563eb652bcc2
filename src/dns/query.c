/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* NAME.query.DOMAIN: the query is looked up and rendered each time, and its answer
 * is not kept: it depends on the query as well as on the service. This is the one
 * place where a question needs memory that is not the worker's. */
#include <arpa/inet.h>

#include "dns/impl.h"

enum {
    /* Of one query: rendered texts, a regular expression, instances to sort. */
    ARENA_MAX = 1024 * 1024,
    SORTED_MAX = 4096,  /* instances; of more, the first so many */
    FAILOVERS_MAX = 16, /* datacenters of one query */
};

static struct bytes client_text(const struct ask *a, struct arena *arena)
{
    const struct dns_ecs *ecs = &a->q.ecs;
    struct bytes who = a->env->client;
    char text[IP_TEXT_MAX];

    /* A subnet that names a whole address is one. */
    if (a->q.edns && ecs->set && (ecs->n == 4 || ecs->n == 16))
        who = bytes_of(ecs->address, ecs->n);
    if ((who.n != 4 && who.n != 16) ||
        !inet_ntop(who.n == 4 ? AF_INET : AF_INET6, who.p, text, sizeof text))
        return (struct bytes){NULL, 0};
    return arena_copy(arena, bytes_str(text));
}

/* Those that are in, the nearest first, if the query asks for that. */
static void sort_near(struct ask *a, struct form *f, struct arena *arena)
{
    const struct snapshot *s = a->cat;
    struct bytes near = f->query->text[QUERY_NEAR], own = a->env->set->node;
    struct query_filter filter;
    struct query_pick pick;
    struct tree_iter it;

    if (near.n)
        near = query_near_node(s, near, own, client_text(a, arena));
    if (near.n == 0 || !query_filter_begin(&filter, s, f->query))
        return;
    size_t most = filter.name->instances.n;
    most = most < SORTED_MAX ? most : SORTED_MAX;
    f->picks = arena_alloc(arena, most * sizeof *f->picks);
    f->pick_count = 0;
    tree_first(&filter.name->instances, &it);
    for (const struct cat_instance *i;
         f->picks && f->pick_count < most && (i = tree_next(&it));)
        if (query_filter_has(&filter, i, &pick))
            f->picks[f->pick_count++] = pick;
    if (!f->picks)
        return;
    query_shuffle(f->picks, f->pick_count, f->pick_count,
                  random_next(&a->random));
    query_near(s, near, own, f->picks, f->pick_count);
}

/* Services' names are folded where they come from a question. */
static struct bytes folded(struct arena *a, struct bytes text)
{
    char *p = arena_alloc(a, text.n + 1);

    for (size_t i = 0; p && i < text.n; i++) {
        char c = text.p[i];
        p[i] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    return p ? bytes_of(p, text.n) : (struct bytes){NULL, 0};
}

/* --- Failover -------------------------------------------------------------- */

struct failover {
    struct dns_zone to[FAILOVERS_MAX];
    size_t count;
};

/* No one twice: so no failover runs in circles. */
static void failover_add(struct failover *v, const struct dns_zone *z)
{
    for (size_t i = 0; i < v->count; i++)
        if (bytes_eq(v->to[i].name, z->name))
            return;
    if (v->count < FAILOVERS_MAX)
        v->to[v->count++] = *z;
}

/* The nearest, then those that are listed, as HTTP asks them. */
static void failover_list(const struct ask *a, const struct form *f,
                          struct failover *ret)
{
    const struct query_view *q = f->query;
    const struct dns_zones *zones = a->env->zones;
    struct bytes rest = q->list[QUERY_DATACENTERS].data, dc, peer;
    struct dns_zone z;

    ret->count = 0;
    for (size_t i = 0;
         (int64_t)i < q->nearest && zones->nth(zones, i, f->name, &z); i++)
        failover_add(ret, &z);
    while (packed_next(&rest, &dc))
        if (zones->find(zones, dc, f->name, &z))
            failover_add(ret, &z);
    rest = q->list[QUERY_TARGETS].data;
    while (packed_next_pair(&rest, &dc, &peer))
        if (zones->find(zones, dc, f->name, &z))
            failover_add(ret, &z);
}

/* Those whose changes arrive; then those that cannot be reached, if what is known
 * of them is young. False: nobody there is told. *ret_unasked: somebody may be,
 * where all is well but not mirrored here: that is no reason for an older answer,
 * nor for saying that there is none. */
static bool fail_over(struct ask *a, const struct form *f, bool *ret_unasked)
{
    const struct dns_zones *zones = a->env->zones;
    struct failover v;

    *ret_unasked = false;
    if (!zones)
        return false;
    failover_list(a, f, &v);
    for (int up = 1; up >= 0 && !*ret_unasked; up--)
        for (size_t i = 0; i < v.count; i++) {
            const struct dns_zone *z = &v.to[i];
            if (up)
                *ret_unasked |= z->reachable && !z->cat;
            if (z->up != up || !z->cat || z->age_ms > zones->max_age_ms ||
                (!up && z->age_ms > zones->failover_age_ms))
                continue;
            datacenter_use(a, z);
            if (answer_instances(a, f))
                return true;
        }
    datacenter_own(a);
    return false;
}

static void answer_found(struct ask *a, struct form *f, struct arena *arena)
{
    bool unasked;

    sort_near(a, f, arena);
    if (answer_instances(a, f))
        return;
    f->picks = NULL; /* near is of nobody elsewhere */
    if (fail_over(a, f, &unasked))
        return;
    if (unasked) {
        a->rcode = DNS_SERVFAIL;
        a->ede = (struct dns_ede){
            "a datacenter to fail over to is not mirrored here: ask by HTTP",
            DNS_EDE_OTHER};
        return;
    }
    explain_none(a, f);
    answer_nothing(a);
}

void answer_query(struct ask *a, struct form *f)
{
    struct query_view v;
    struct errtext why = {{0}};
    struct arena arena;

    arena_init(&arena, ARENA_MAX);
    enum err e = query_resolve(a->env->cat, f->name, &arena, &v, &why);
    if (e == ERR_OK) {
        f->query = &v;
        f->name = folded(&arena, v.text[QUERY_SERVICE]);
        answer_found(a, f, &arena);
        f->query = NULL;
        f->picks = NULL;
    } else if (e == ERR_NOT_FOUND) {
        answer_nothing(a);
    } else {
        a->rcode = DNS_SERVFAIL;
    }
    arena_fini(&arena);
}
