/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/roster.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"

void roster_free(struct roster *r)
{
    if (!r)
        return;
    arena_fini(&r->arena);
    free(r);
}

struct roster *roster_new(size_t n)
{
    struct roster *r = calloc(1, sizeof *r);

    if (!r)
        return NULL;
    arena_init(&r->arena, 0);
    r->v = arena_alloc(&r->arena, n * sizeof *r->v);
    if (!r->v) {
        roster_free(r);
        return NULL;
    }
    return r;
}

/* --- What is kept -------------------------------------------------------- */

/* Node and ID, each with its length: no two identities share a key. */
static struct bytes key_of(const struct roster_entry *e, char *space)
{
    memcpy(space, &e->node.n, sizeof e->node.n);
    memcpy(space + sizeof e->node.n, e->node.p, e->node.n);
    memcpy(space + sizeof e->node.n + e->node.n, e->id.p, e->id.n);
    return bytes_of(space, sizeof e->node.n + e->node.n + e->id.n);
}

enum { KEY_MAX = sizeof(size_t) + 2 * ROSTER_TEXT_MAX };

static enum err index_entries(struct roster *r, struct roster_entry *v,
                              size_t n, struct map *m)
{
    char space[KEY_MAX];

    for (size_t i = 0; i < n; i++) {
        struct bytes key = arena_copy(&r->arena, key_of(&v[i], space));
        if (!key.p)
            return ERR_NOMEM;
        enum err e = map_put(m, key, &v[i]);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

bool roster_copy_entry(struct roster *to, const struct roster_entry *e,
                       uint64_t held_ms)
{
    struct roster_entry x = *e;

    x.node = arena_copy(&to->arena, e->node);
    x.id = arena_copy(&to->arena, e->id);
    x.address = arena_copy(&to->arena, e->address);
    x.zone = arena_copy(&to->arena, e->zone);
    x.held_ms = held_ms;
    if (!x.node.p || !x.id.p || !x.address.p || (e->zone.n && !x.zone.p))
        return false;
    to->v[to->n++] = x;
    to->held += held_ms != 0;
    to->draining += x.draining;
    return true;
}

struct following {
    const struct roster *old;
    struct roster *new;
    struct map there; /* new's entries */
    struct map lost;  /* new's lost ones */
    uint64_t now_ms, hold_ms;
    bool unexplained;
};

static bool is_there(const struct following *f, const struct roster_entry *e)
{
    char space[KEY_MAX];

    return map_get(&f->there, key_of(e, space)) != NULL;
}

static bool is_lost(const struct following *f, const struct roster_entry *e)
{
    char space[KEY_MAX];

    return f->lost.n && map_get(&f->lost, key_of(e, space)) != NULL;
}

static uint64_t held_until(const struct roster_entry *e, uint64_t hold_ms)
{
    return hold_ms < UINT64_MAX - e->held_ms ? e->held_ms + hold_ms
                                             : UINT64_MAX;
}

/* Since when the entry is kept; 0: it has left. Never 0 for a clock at 0. */
static uint64_t kept_since(const struct following *f,
                           const struct roster_entry *e)
{
    if (f->hold_ms == 0)
        return 0;
    if (e->held_ms)
        return f->now_ms < held_until(e, f->hold_ms) ? e->held_ms : 0;
    if (!f->unexplained && !is_lost(f, e))
        return 0;
    return f->now_ms ? f->now_ms : 1;
}

static void judge(struct following *f, enum roster_trust trust)
{
    size_t were = f->old->n - f->old->held, gone = 0;

    for (size_t i = 0; i < f->old->n; i++)
        gone += !f->old->v[i].held_ms && !is_there(f, &f->old->v[i]);
    bool much = (gone && f->new->n == 0) || (gone > 1 && gone * 2 >= were);
    f->unexplained = trust == ROSTER_DOUBTFUL || (trust == ROSTER_LIST && much);
}

/* v grows by what is kept; the arena gives old room back only at the end. */
static enum err keep(struct following *f)
{
    struct roster *r = f->new;
    struct roster_entry *v =
        arena_alloc(&r->arena, (r->n + f->old->n) * sizeof *v);

    if (!v)
        return ERR_NOMEM;
    if (r->n)
        memcpy(v, r->v, r->n * sizeof *v);
    r->v = v;
    for (size_t i = 0; i < f->old->n; i++) {
        const struct roster_entry *e = &f->old->v[i];
        uint64_t since = is_there(f, e) ? 0 : kept_since(f, e);
        if (since && r->n < ROSTER_INSTANCES_MAX &&
            !roster_copy_entry(r, e, since))
            return ERR_NOMEM;
    }
    return ERR_OK;
}

enum err roster_follow(const struct roster *old, struct roster *take_new,
                       enum roster_trust trust, uint64_t now_ms,
                       uint64_t hold_ms, struct roster **ret)
{
    struct following f = {
        .old = old, .new = take_new, .now_ms = now_ms, .hold_ms = hold_ms};
    enum err e = ERR_OK;

    if (old) {
        e = index_entries(take_new, take_new->v, take_new->n, &f.there);
        if (e == ERR_OK)
            e = index_entries(take_new, take_new->lost, take_new->lost_n,
                              &f.lost);
        if (e == ERR_OK) {
            judge(&f, trust);
            e = keep(&f);
        }
        map_fini(&f.there);
        map_fini(&f.lost);
    }
    if (e != ERR_OK) {
        roster_free(take_new);
        return e;
    }
    *ret = take_new;
    return ERR_OK;
}

static bool is_in(const struct roster_entry *e)
{
    return !e->critical && !e->out;
}

static uint64_t ready_since(const struct roster_entry *e, uint64_t now_ms,
                            uint64_t last_ms, uint64_t wall_ms)
{
    uint64_t most = now_ms > last_ms ? now_ms - last_ms : 0, age = 0;

    if (e->ready_since_ms && wall_ms > e->ready_since_ms)
        age = wall_ms - e->ready_since_ms;
    age = age < most ? age : most;
    return now_ms > age ? now_ms - age : 1;
}

enum err roster_ready(const struct roster *old, struct roster *new,
                      uint64_t now_ms, uint64_t last_ms, uint64_t wall_ms)
{
    struct map were = {0};
    char space[KEY_MAX];
    enum err e = ERR_OK;

    if (!old)
        return ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < old->n; i++) {
        struct bytes key = arena_copy(&new->arena, key_of(&old->v[i], space));
        e = key.p ? map_put(&were, key, &old->v[i]) : ERR_NOMEM;
    }
    for (size_t i = 0; e == ERR_OK && i < new->n; i++) {
        struct roster_entry *x = &new->v[i];
        const struct roster_entry *was = map_get(&were, key_of(x, space));
        x->ready_ms = !is_in(x) ? 0
                      : was && is_in(was)
                          ? was->ready_ms
                          : ready_since(x, now_ms, last_ms, wall_ms);
    }
    map_fini(&were);
    return e;
}

uint64_t roster_held_until(const struct roster *r, uint64_t hold_ms)
{
    uint64_t first = 0;

    for (size_t i = 0; r->held && i < r->n; i++) {
        uint64_t until = r->v[i].held_ms ? held_until(&r->v[i], hold_ms) : 0;
        if (until && (!first || until < first))
            first = until;
    }
    return first;
}

struct roster *roster_registered(const struct roster *r)
{
    struct roster *to = roster_new(r->n);

    for (size_t i = 0; to && i < r->n; i++) {
        if (r->v[i].held_ms)
            continue;
        if (!roster_copy_entry(to, &r->v[i], 0)) {
            roster_free(to);
            return NULL;
        }
    }
    if (to && r->datacenter.n) {
        to->datacenter = arena_copy(&to->arena, r->datacenter);
        if (!to->datacenter.p) {
            roster_free(to);
            return NULL;
        }
    }
    return to;
}
