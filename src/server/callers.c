/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/callers.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/list.h"

struct zone {
    size_t callers;
    size_t n;
    char name[];
};

struct service {
    struct list groups;
    struct zone *zones[CALLERS_ZONES_MAX + 1]; /* the first has no name */
    size_t zone_count;
    uint64_t version; /* of what is told of it */
    size_t name_n;
    char name[];
};

/* Those with the same label. */
struct group {
    struct list link; /* in its service */
    struct service *service;
    struct list all;    /* in no order */
    struct map by_rank; /* -> caller */
    struct list left;   /* the first that left first */
    uint32_t free_from; /* no lower rank is free */
    uint64_t settled_ms;
    size_t label_n;
    char label[];
};

struct caller {
    struct list link; /* in all, or in left */
    struct group *group;
    struct zone *zone;
    uint64_t left_ms;      /* in left: since then */
    uint64_t told_version; /* of the service; 0: nothing yet */
    bool waits;            /* told a rank that it had: CALLERS_BACK_MS */
    uint32_t rank;
};

/* --- Services and zones -------------------------------------------------- */

static struct service *service_need(struct callers *cs, struct bytes name)
{
    struct service *s = map_get(&cs->services, name);
    struct zone *nowhere = s ? NULL : calloc(1, sizeof *nowhere);
    if (s || !nowhere)
        return s;
    s = calloc(1, sizeof *s + name.n);
    if (!s) {
        free(nowhere);
        return NULL;
    }
    list_init(&s->groups);
    s->zones[s->zone_count++] = nowhere;
    s->name_n = name.n;
    if (name.n)
        memcpy(s->name, name.p, name.n);
    if (map_put(&cs->services, bytes_of(s->name, name.n), s) != ERR_OK) {
        free(nowhere);
        free(s);
        return NULL;
    }
    return s;
}

static void service_free(struct callers *cs, struct service *s)
{
    map_del(&cs->services, bytes_of(s->name, s->name_n));
    for (size_t i = 0; i < s->zone_count; i++)
        free(s->zones[i]);
    free(s);
}

/* The nameless one if there are too many, or no memory. A zone without callers
 * gives its place to another. */
static struct zone *zone_need(struct service *s, struct bytes name)
{
    struct zone **place = NULL;
    for (size_t i = 0; i < s->zone_count; i++) {
        struct zone *z = s->zones[i];
        if (bytes_eq(bytes_of(z->name, z->n), name))
            return z;
        if (i && z->callers == 0)
            place = &s->zones[i];
    }
    if (!place && s->zone_count > CALLERS_ZONES_MAX)
        return s->zones[0];
    struct zone *z = calloc(1, sizeof *z + name.n);
    if (!z)
        return s->zones[0];
    z->n = name.n;
    memcpy(z->name, name.p, name.n);
    if (place)
        free(*place);
    else
        place = &s->zones[s->zone_count++];
    *place = z;
    return z;
}

/* --- Groups and ranks ---------------------------------------------------- */

static struct group *group_need(struct service *s, struct bytes label)
{
    list_each (it, &s->groups) {
        struct group *g = container_of(it, struct group, link);
        if (bytes_eq(bytes_of(g->label, g->label_n), label))
            return g;
    }
    struct group *g = calloc(1, sizeof *g + label.n);
    if (!g)
        return NULL;
    list_init(&g->all);
    list_init(&g->left);
    g->service = s;
    g->label_n = label.n;
    if (label.n)
        memcpy(g->label, label.p, label.n);
    list_add(&s->groups, &g->link);
    return g;
}

static void drop_if_empty(struct callers *cs, struct group *g)
{
    struct service *s = g->service;
    if (g->by_rank.n)
        return;
    map_fini(&g->by_rank);
    list_del(&g->link);
    free(g);
    if (list_empty(&s->groups))
        service_free(cs, s);
}

static struct caller *at_rank(const struct group *g, uint32_t rank)
{
    return map_get(&g->by_rank, bytes_of(&rank, sizeof rank));
}

static bool put_at(struct group *g, struct caller *c, uint32_t rank)
{
    c->rank = rank;
    return map_put(&g->by_rank, bytes_of(&c->rank, sizeof c->rank), c) ==
           ERR_OK;
}

static void take_off(struct group *g, struct caller *c)
{
    map_del(&g->by_rank, bytes_of(&c->rank, sizeof c->rank));
    if (g->free_from > c->rank)
        g->free_from = c->rank;
}

static uint32_t lowest_free(struct group *g)
{
    while (at_rank(g, g->free_from))
        g->free_from++;
    return g->free_from;
}

static void caller_free(struct caller *c)
{
    take_off(c->group, c);
    list_del(&c->link);
    c->zone->callers--;
    c->group->service->version++;
    free(c);
}

/* Those who will not come back go; those whose rank there is no more take the
 * lowest free ones. */
static void settle(const struct callers *cs, struct group *g, uint64_t now_ms)
{
    if (now_ms < g->settled_ms + CALLERS_EVERY_MS ||
        now_ms < cs->started_ms + CALLERS_BACK_MS)
        return;
    g->settled_ms = now_ms;
    while (!list_empty(&g->left)) {
        struct caller *c = container_of(g->left.next, struct caller, link);
        if (now_ms < c->left_ms + CALLERS_KEPT_MS)
            break;
        caller_free(c);
    }
    list_each (it, &g->all) {
        struct caller *c = container_of(it, struct caller, link);
        if (c->rank < g->by_rank.n)
            continue;
        take_off(g, c);
        bool room = put_at(g, c, lowest_free(g)); /* a slot was just freed */
        require(room);
        g->service->version++;
    }
}

/* --- Coming and going ---------------------------------------------------- */

void callers_init(struct callers *cs, uint64_t now_ms)
{
    *cs = (struct callers){.started_ms = now_ms};
}

static void free_all(struct list *of)
{
    while (!list_empty(of))
        caller_free(container_of(of->next, struct caller, link));
}

void callers_fini(struct callers *cs)
{
    struct bytes key;
    void *value;
    for (size_t at = 0; map_next(&cs->services, &at, &key, &value); at = 0) {
        struct service *s = value;
        struct group *g = container_of(s->groups.next, struct group, link);
        free_all(&g->all);
        free_all(&g->left);
        drop_if_empty(cs, g);
    }
    map_fini(&cs->services);
}

/* Who left that place is not coming back: this is him, or takes it over. */
static void clear_place(struct group *g, uint32_t rank)
{
    struct caller *c = at_rank(g, rank);
    if (c && c->left_ms)
        caller_free(c);
}

struct caller *callers_join(struct callers *cs, struct bytes service,
                            struct bytes label, struct bytes zone,
                            uint32_t rank, uint64_t now_ms)
{
    struct service *s = service_need(cs, service);
    struct group *g = s ? group_need(s, label) : NULL;
    struct caller *c = g ? calloc(1, sizeof *c) : NULL;
    if (!c) {
        if (g)
            drop_if_empty(cs, g);
        else if (s && list_empty(&s->groups))
            service_free(cs, s);
        return NULL;
    }
    bool named = rank != CALLERS_NO_RANK;
    if (named)
        clear_place(g, rank);
    if (!named || at_rank(g, rank))
        rank = lowest_free(g);
    if (!put_at(g, c, rank)) {
        free(c);
        drop_if_empty(cs, g);
        return NULL;
    }
    c->group = g;
    c->zone = zone_need(s, zone);
    c->zone->callers++;
    c->waits = named && now_ms < cs->started_ms + CALLERS_BACK_MS;
    list_init(&c->link);
    list_add(&g->all, &c->link);
    s->version++;
    return c;
}

void callers_leave(struct callers *cs, struct caller *take, uint64_t now_ms)
{
    struct group *g = take->group;
    take->left_ms = now_ms ? now_ms : 1;
    list_del(&take->link);
    list_add(&g->left, &take->link);
    if (!list_empty(&g->all))
        return;
    free_all(&g->left); /* nobody is there to whom it matters */
    drop_if_empty(cs, g);
}

/* --- Telling ------------------------------------------------------------- */

static void put_zones(struct json_out *j, const struct service *s)
{
    json_open(j, '{');
    for (size_t i = 0; i < s->zone_count; i++) {
        const struct zone *z = s->zones[i];
        if (z->callers == 0)
            continue;
        json_key_bytes(j, bytes_of(z->name, z->n));
        json_u64(j, z->callers);
    }
    json_close(j, '}');
}

bool callers_tell(struct callers *cs, struct caller *who, uint64_t now_ms,
                  struct json_out *j)
{
    struct group *g = who->group;
    const struct service *s = g->service;
    settle(cs, g, now_ms);
    if (who->waits && now_ms < cs->started_ms + CALLERS_BACK_MS)
        return false;
    if (who->told_version == s->version || who->rank >= g->by_rank.n)
        return false;
    who->told_version = s->version;
    json_key(j, "Zones");
    put_zones(j, s);
    json_key(j, "Rank");
    json_u64(j, who->rank);
    json_key(j, "Size");
    json_u64(j, g->by_rank.n);
    return true;
}
