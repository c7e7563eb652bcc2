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
    SORTED_MAX = 4096, /* instances; of more, the first so many */
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
    const struct snapshot *s = a->env->cat;
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

static void not_there(struct ask *a)
{
    a->rcode = DNS_NXDOMAIN;
    answer_soa_authority(a);
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
        sort_near(a, f, &arena);
        answer_service(a, f);
        f->query = NULL;
        f->picks = NULL;
    } else if (e == ERR_NOT_FOUND) {
        not_there(a);
    } else {
        a->rcode = DNS_SERVFAIL;
    }
    arena_fini(&arena);
}
