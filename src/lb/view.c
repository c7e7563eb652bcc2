/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Makes what picks see from the list: subset -> priorities and panic -> zones ->
 * one table for each group. */
#include <stdlib.h>
#include <string.h>

#include "lb/draw.h"
#include "lb/impl.h"

enum { RETURN_STEP_MS = 1000 /* the first */ };

struct level {
    uint32_t all, healthy;
    double load; /* share of 1 */
    bool panic;
};

struct build {
    struct lb *b;
    struct lb_roll *roll;
    const struct lb_view *old;
    struct lb_view *view;
    struct lb_member *room; /* where the next group's members go */
    uint64_t now_ms, share;
    struct level level[LB_PRIORITIES_MAX];
    uint32_t slow_starting;
    bool zoned, returning;
};

void lb_view_free(struct lb_view *v)
{
    if (!v)
        return;
    for (size_t i = 0; i < v->groups; i++)
        free(v->group[i].table);
    free(v);
}

static void view_junk_free(struct lb_junk *j)
{
    lb_view_free(
        (struct lb_view *)(void *)((char *)j - offsetof(struct lb_view, junk)));
}

/* One block: view, groups, members, slots. */
static struct lb_view *view_alloc(const struct build *c, size_t groups)
{
    size_t slots = c->b->slots_n;
    size_t size = sizeof(struct lb_view) + groups * sizeof(struct lb_group) +
                  c->roll->n * sizeof(struct lb_member) +
                  slots * sizeof(struct lb_host *);
    struct lb_view *v = malloc(size);

    if (!v)
        return NULL;
    v->junk.free = view_junk_free;
    v->groups = 0;
    v->group = (struct lb_group *)(void *)(v + 1);
    v->slots = slots;
    v->slot =
        (struct lb_host **)(void *)((struct lb_member *)(void *)(v->group +
                                                                 groups) +
                                    c->roll->n);
    if (slots)
        memcpy(v->slot, c->b->slots, slots * sizeof(struct lb_host *));
    return v;
}

/* --- Who is in ----------------------------------------------------------- */

static bool healthy(const struct lb_entry *e)
{
    return !e->critical && lb_blocked(e->host) == 0;
}

static size_t list_usable(const struct lb_roll *r, struct bytes *names,
                          uint32_t *at)
{
    size_t n = 0;

    for (size_t i = 0; i < r->n; i++) {
        if (!lb_entry_usable(&r->entry[i]))
            continue;
        names[n] = r->entry[i].host->name;
        at[n++] = (uint32_t)i;
    }
    return n;
}

struct subset_room {
    struct bytes *names;
    uint64_t *keys;
    uint32_t *at, *order;
    bool *chosen;
};

static void choose_some(const struct build *c, struct subset_room *s)
{
    const struct lb_options *o = &c->b->o;
    size_t n = list_usable(c->roll, s->names, s->at);

    if (o->ranked)
        lb_subset_ranked(n, o->subset_size, c->b->rank, s->order, s->chosen);
    else
        lb_subset_salted(s->names, n, o->subset_size, o->seed, s->keys,
                         s->chosen);
    for (size_t i = 0; i < n; i++)
        c->roll->entry[s->at[i]].chosen = s->chosen[i];
}

static enum err choose(const struct build *c)
{
    size_t n = c->roll->n;
    bool all = c->b->o.subset_size == 0;

    for (size_t i = 0; i < n; i++)
        c->roll->entry[i].chosen = all && lb_entry_usable(&c->roll->entry[i]);
    if (all || n == 0)
        return ERR_OK;

    struct subset_room s = {
        malloc(n * sizeof *s.names), malloc(n * sizeof *s.keys),
        malloc(n * sizeof *s.at), malloc(n * sizeof *s.order),
        malloc(n * sizeof *s.chosen)};
    bool room = s.names && s.keys && s.at && s.order && s.chosen;
    if (room)
        choose_some(c, &s);
    free(s.names);
    free(s.keys);
    free(s.at);
    free(s.order);
    free(s.chosen);
    return room ? ERR_OK : ERR_NOMEM;
}

/* The levels to look at: the reserve where nobody else is healthy. */
static void span_of(const struct build *c, size_t *ret_from, size_t *ret_to)
{
    uint32_t all = 0, well = 0, reserve_well = 0;

    for (size_t p = 0; p < LB_PRIORITIES_MAX; p++) {
        const struct level *l = &c->level[p];
        all += p < LB_RESERVE_FROM ? l->all : 0;
        well += p < LB_RESERVE_FROM ? l->healthy : 0;
        reserve_well += p < LB_RESERVE_FROM ? 0 : l->healthy;
    }
    bool reserve = well == 0 && (reserve_well || all == 0);
    *ret_from = reserve ? LB_RESERVE_FROM : 0;
    *ret_to = reserve ? LB_PRIORITIES_MAX : LB_RESERVE_FROM;
}

/* How much of a return is due with this view: what the time since the last one
 * allows, if it was under way then, else a first step. */
static double return_step(const struct build *c)
{
    const struct lb *b = c->b;
    uint64_t ms = RETURN_STEP_MS;

    if (atomic_load(&b->returning))
        ms = c->now_ms > b->load_ms ? c->now_ms - b->load_ms : 0;
    return b->o.return_ms ? (double)ms / b->o.return_ms : 1;
}

/* Levels that nobody is in take no part; so "the first" is one with somebody. */
static uint32_t load_levels(struct build *c)
{
    uint32_t health[LB_PRIORITIES_MAX] = {0}, some[LB_PRIORITIES_MAX],
             load[LB_PRIORITIES_MAX];
    double share[LB_PRIORITIES_MAX] = {0};
    bool absent[LB_PRIORITIES_MAX];
    size_t at[LB_PRIORITIES_MAX], n = 0, from, to;

    span_of(c, &from, &to);
    for (size_t p = 0; p < LB_PRIORITIES_MAX; p++) {
        const struct level *l = &c->level[p];
        absent[p] = l->all == 0 || p < from || p >= to;
        if (absent[p])
            continue;
        health[p] = lb_priority_health(l->healthy, l->all,
                                       c->b->o.overprovision_percent);
        some[n] = health[p];
        at[n++] = p;
    }
    uint32_t sum = lb_priority_loads(some, n, load);
    for (size_t i = 0; i < n; i++)
        share[at[i]] = load[i] / 100.0;
    c->returning = lb_priority_return(c->b->load, health, absent,
                                      LB_PRIORITIES_MAX, return_step(c), share);
    for (size_t p = 0; p < LB_PRIORITIES_MAX; p++)
        c->level[p].load = share[p];
    return sum;
}

static void find_levels(struct build *c)
{
    for (size_t i = 0; i < c->roll->n; i++) {
        const struct lb_entry *e = &c->roll->entry[i];
        if (!e->chosen)
            continue;
        c->level[e->priority].all++;
        c->level[e->priority].healthy += healthy(e);
    }
    if (load_levels(c) >= 100)
        return;
    for (size_t p = 0; p < LB_PRIORITIES_MAX; p++) {
        struct level *l = &c->level[p];
        l->panic = l->healthy * 100 < l->all * c->b->o.panic_percent;
    }
}

static bool member_of(const struct build *c, const struct lb_entry *e,
                      size_t priority)
{
    return e->chosen && e->priority == priority &&
           (c->level[priority].panic || healthy(e));
}

/* --- Weights ------------------------------------------------------------- */

/* In thousandths while slow start is on: a gcd takes them out again. */
static uint32_t weight_of(struct build *c, const struct lb_entry *e)
{
    const struct lb_options *o = &c->b->o;
    uint64_t age = c->now_ms > e->ready_ms ? c->now_ms - e->ready_ms : 0;

    if (o->slow_start_ms == 0 || c->b->policy->hashes)
        return e->weight;
    if (e->ready_ms == 0 || age >= o->slow_start_ms)
        return e->weight * 1000;
    c->slow_starting++;
    double w = e->weight * 1000.0 *
               lb_slow_start(age, o->slow_start_ms, o->slow_start_aggression,
                             o->slow_start_min_percent);
    return w < 1 ? 1 : (uint32_t)w;
}

static void put_member(struct build *c, struct lb_group *g,
                       const struct lb_entry *e)
{
    struct lb_member m = {e->host, weight_of(c, e)};

    g->members[g->n++] = m;
    g->weight_sum += m.weight;
}

/* --- Groups -------------------------------------------------------------- */

static const struct lb_group *old_group(const struct build *c, uint64_t name)
{
    for (size_t i = 0; c->old && i < c->old->groups; i++)
        if (c->old->group[i].name == name)
            return &c->old->group[i];
    return NULL;
}

static enum err make_table(const struct build *c, struct lb_group *g)
{
    const struct lb_group *old = old_group(c, g->name);
    struct lb_list was = {.v = old ? old->members : NULL,
                          .n = old ? old->n : 0};
    struct lb_list list = {
        .v = g->members,
        .n = g->n,
        .tuning = &c->b->tuning,
        .seed = c->b->o.seed,
        .old = old ? old->table : NULL,
        .old_list = &was,
    };

    return c->b->policy->build(&list, &g->table);
}

/* zone NULL: whichever. share of 2^32. */
static enum err add_group(struct build *c, size_t priority,
                          const uint64_t *zone, double share)
{
    struct lb_group *g = &c->view->group[c->view->groups];

    *g = (struct lb_group){
        .members = c->room,
        .panic = c->level[priority].panic,
        .name = lb_mix((zone ? *zone : 0) + priority),
    };
    for (size_t i = 0; i < c->roll->n; i++) {
        const struct lb_entry *e = &c->roll->entry[i];
        if (member_of(c, e, priority) &&
            (!zone || bytes_hash(e->zone, 0) == *zone))
            put_member(c, g, e);
    }
    if (g->n == 0)
        return ERR_OK;
    c->view->groups++;
    c->room += g->n;
    c->share += (uint64_t)(share * 0x1p32);
    g->share_end = c->share;
    return make_table(c, g);
}

struct zones {
    size_t n, local;
    uint64_t name[LB_ZONES_MAX];
    double callers[LB_ZONES_MAX], servers[LB_ZONES_MAX], share[LB_ZONES_MAX];
};

/* LB_ZONES_MAX: no room for another one. */
static size_t zone_at(struct zones *z, uint64_t name)
{
    size_t i = 0;

    while (i < z->n && z->name[i] != name)
        i++;
    if (i == z->n && i < LB_ZONES_MAX) {
        z->name[z->n++] = name;
        z->callers[i] = z->servers[i] = 0;
    }
    return i;
}

static double capacity(struct build *c, const struct lb_entry *e)
{
    uint32_t slow = c->slow_starting; /* weight_of counts; this is no member */
    double w = c->b->policy->weighted ? weight_of(c, e) : 1;

    c->slow_starting = slow;
    return w;
}

/* False: this priority is not split by zones. */
static bool find_zones(struct build *c, size_t priority, struct zones *z)
{
    struct lb *b = c->b;

    if (b->callers_n == 0 || b->o.zone.n == 0 || b->policy->hashes ||
        c->level[priority].panic ||
        c->level[priority].healthy < b->o.zone_min_hosts)
        return false;
    z->n = 0;
    z->local = zone_at(z, bytes_hash(b->o.zone, 0));
    for (size_t i = 0; i < b->callers_n; i++) {
        size_t k = zone_at(z, b->caller_zone[i]);
        if (k == LB_ZONES_MAX)
            return false;
        z->callers[k] += b->caller_share[i];
    }
    for (size_t i = 0; i < c->roll->n; i++) {
        const struct lb_entry *e = &c->roll->entry[i];
        if (!member_of(c, e, priority))
            continue;
        size_t k = zone_at(z, bytes_hash(e->zone, 0));
        if (k == LB_ZONES_MAX)
            return false;
        z->servers[k] += capacity(c, e);
    }
    return z->servers[z->local] > 0 &&
           lb_zone_shares(z->callers, z->servers, z->n, z->local, z->share);
}

static enum err add_level(struct build *c, size_t priority)
{
    double load = c->level[priority].load;
    struct zones z;

    if (load <= 0)
        return ERR_OK;
    if (!find_zones(c, priority, &z))
        return add_group(c, priority, NULL, load);
    c->zoned = true;
    for (size_t i = 0; i < z.n; i++) {
        if (z.share[i] <= 0)
            continue;
        enum err e = add_group(c, priority, &z.name[i], load * z.share[i]);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

static size_t groups_max(const struct build *c)
{
    size_t n = 0;

    for (size_t p = 0; p < LB_PRIORITIES_MAX; p++)
        n += c->level[p].load > 0;
    return n * (c->b->callers_n ? LB_ZONES_MAX : 1) + 1;
}

/* The level that nobody is sent to, but that is tried when all others of the
 * view are ejected or were tried in vain. LB_PRIORITIES_MAX: there is none. */
static size_t standby(const struct build *c)
{
    size_t last = 0;

    for (size_t p = 0; p < LB_PRIORITIES_MAX; p++)
        last = c->level[p].load > 0 ? p : last;
    for (size_t p = last + 1; p < LB_PRIORITIES_MAX; p++)
        if (c->level[p].healthy)
            return p;
    return LB_PRIORITIES_MAX;
}

static enum err add_groups(struct build *c)
{
    size_t next = standby(c);

    for (size_t p = 0; p < LB_PRIORITIES_MAX; p++) {
        enum err e = add_level(c, p);
        if (e != ERR_OK)
            return e;
    }
    if (c->view->groups == 0)
        return ERR_OK;
    c->share = (uint64_t)1 << 32; /* rounding */
    c->view->group[c->view->groups - 1].share_end = c->share;
    return next < LB_PRIORITIES_MAX ? add_group(c, next, NULL, 0) : ERR_OK;
}

/* --- The whole ----------------------------------------------------------- */

static void tell(const struct build *c)
{
    struct lb *b = c->b;
    uint32_t usable = 0, well = 0, least = UINT32_MAX;
    bool panic = false;

    for (size_t p = 0; p < LB_PRIORITIES_MAX; p++) {
        usable += c->level[p].all;
        well += c->level[p].healthy;
        if (c->level[p].healthy && c->level[p].all < least)
            least = c->level[p].all;
        panic |= c->level[p].panic && c->level[p].load > 0;
        b->load[p] = c->level[p].load;
        atomic_store(&b->share_ppm[p], (uint32_t)(b->load[p] * 1e6 + .5));
    }
    b->load_ms = c->now_ms;
    atomic_store(&b->returning, c->returning);
    atomic_store(&b->listed, (uint32_t)c->roll->n);
    atomic_store(&b->usable, usable);
    atomic_store(&b->healthy, well);
    atomic_store(&b->panic, panic);
    atomic_store(&b->zoned, c->zoned);
    atomic_store(&b->slow_starting, c->slow_starting);
    /* What is blocked already counts as healthy here: the limit is for all. */
    lb_outlier_limits(b, usable, least < usable ? least : usable,
                      well + atomic_load(&b->unreachable));
}

static void set_refusals(const struct build *c)
{
    uint32_t max = c->b->o.outlier.refusals;

    for (size_t i = 0; i < c->roll->n; i++) {
        const struct lb_entry *e = &c->roll->entry[i];
        atomic_store_explicit(&e->host->refusals_max,
                              max && e->probation ? 1 : max,
                              memory_order_relaxed);
    }
}

enum err lb_view_new(struct lb *b, struct lb_roll *r, uint64_t now_ms,
                     struct lb_view **ret)
{
    struct build c = {
        .b = b, .roll = r, .old = atomic_load(&b->view), .now_ms = now_ms};
    enum err e = choose(&c);

    if (e != ERR_OK)
        return e;
    find_levels(&c);
    size_t groups = groups_max(&c);
    c.view = view_alloc(&c, groups);
    if (!c.view)
        return ERR_NOMEM;
    c.room = (struct lb_member *)(void *)(c.view->group + groups);
    e = add_groups(&c);
    if (e != ERR_OK) {
        lb_view_free(c.view);
        return e;
    }
    set_refusals(&c);
    tell(&c);
    *ret = c.view;
    return ERR_OK;
}
