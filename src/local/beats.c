/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "local/beats.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/duration.h"
#include "base/map.h"
#include "catalog/record.h"

struct beats {
    struct pin_domain *pins;
    _Atomic(const struct beats_table *) current;
    struct map all; /* struct beat by key */
    bool changed;
    struct beat **gone; /* still in current */
    size_t gone_n, gone_cap;
};

static size_t table_bytes(const struct beats_table *t)
{
    return sizeof *t + t->n * sizeof t->v[0];
}

struct beats *beats_new(struct pin_domain *pins)
{
    struct beats *b = xzalloc(sizeof *b);
    b->pins = pins;
    atomic_store(&b->current, (const struct beats_table *)xzalloc(
                                  sizeof(struct beats_table)));
    return b;
}

void beats_free(struct beats *b)
{
    size_t at = 0;
    if (!b)
        return;
    for (struct beat *e; (e = beats_next(b, &at));)
        free(e);
    for (size_t i = 0; i < b->gone_n; i++)
        free(b->gone[i]);
    free(b->gone);
    map_fini(&b->all);
    free((void *)beats_current(b));
    free(b);
}

const struct beats_table *beats_current(const struct beats *b)
{
    return atomic_load_explicit(&b->current, memory_order_acquire);
}

enum err beats_ttl(struct bytes text, uint64_t *ret_ms)
{
    int64_t ns;
    if (duration_parse(text, &ns, NULL) != ERR_OK)
        return ERR_BAD;
    if (ns < (int64_t)BEATS_TTL_MIN_MS * NS_PER_MS)
        return ERR_LIMIT;
    *ret_ms = (uint64_t)(ns / NS_PER_MS);
    return ERR_OK;
}

/* --- Writer -------------------------------------------------------------- */

static struct bytes key_of(struct buf *space, struct bytes node,
                           struct bytes service_id)
{
    buf_init(space, 0);
    key_instance(space, node, service_id);
    require(!space->bad);
    return buf_bytes(space);
}

struct beat *beats_find(struct beats *b, struct bytes node,
                        struct bytes service_id)
{
    struct buf space;
    struct beat *e = map_get(&b->all, key_of(&space, node, service_id));
    buf_fini(&space);
    return e;
}

static struct beat *beat_new(struct bytes key, struct bytes node,
                             struct bytes id)
{
    struct beat *e = xzalloc(sizeof *e + key.n + node.n + id.n);
    char *at = (char *)(e + 1);
    memcpy(at, key.p, key.n);
    e->key = bytes_of(at, key.n);
    at += key.n;
    struct buf folded = {.p = at, .cap = node.n};
    buf_put_fold(&folded, node);
    e->node = bytes_of(at, node.n);
    at += node.n;
    if (id.n)
        memcpy(at, id.p, id.n);
    e->id = bytes_of(at, id.n);
    return e;
}

enum err beats_put(struct beats *b, struct bytes node, struct bytes service_id,
                   uint64_t ttl_ms, uint64_t seen_ms)
{
    struct buf space;
    struct bytes key = key_of(&space, node, service_id);
    struct beat *e = map_get(&b->all, key);
    enum err err = ERR_OK;
    if (e) {
        if (e->ttl_ms != ttl_ms) { /* shown in the table: a new one */
            struct beat *is = beat_new(key, node, service_id);
            atomic_store(&is->wall_ms, atomic_load(&e->wall_ms));
            is->seen_ms = e->seen_ms;
            beats_drop(b, node, service_id);
            is->ttl_ms = ttl_ms;
            require(map_put(&b->all, is->key, is) == ERR_OK);
            b->changed = true;
        }
    } else if (b->all.n >= BEATS_MAX) {
        err = ERR_LIMIT;
    } else {
        e = beat_new(key, node, service_id);
        e->ttl_ms = ttl_ms;
        e->seen_ms = seen_ms;
        require(map_put(&b->all, e->key, e) == ERR_OK);
        b->changed = true;
    }
    buf_fini(&space);
    return err;
}

static void put_gone(struct beats *b, struct beat *e)
{
    if (b->gone_n == b->gone_cap) {
        b->gone_cap = b->gone_cap ? 2 * b->gone_cap : 16;
        b->gone = xrealloc(b->gone, b->gone_cap * sizeof *b->gone);
    }
    b->gone[b->gone_n++] = e;
    b->changed = true;
}

void beats_drop(struct beats *b, struct bytes node, struct bytes service_id)
{
    struct buf space;
    struct beat *e = map_del(&b->all, key_of(&space, node, service_id));
    buf_fini(&space);
    if (e)
        put_gone(b, e);
}

void beats_clear(struct beats *b)
{
    size_t at = 0;
    for (struct beat *e; (e = beats_next(b, &at));)
        put_gone(b, e);
    map_fini(&b->all);
    b->all = (struct map){0};
}

struct beat *beats_next(struct beats *b, size_t *at)
{
    void *value;
    return map_next(&b->all, at, NULL, &value) ? value : NULL;
}

static int by_key(const void *a, const void *b)
{
    const struct beat *const *x = a, *const *y = b;
    return bytes_cmp((*x)->key, (*y)->key);
}

bool beats_publish(struct beats *b)
{
    const struct beats_table *old = beats_current(b);
    size_t at = 0, n = 0;
    if (!b->changed)
        return false;
    struct beats_table *t = xmalloc(sizeof *t + b->all.n * sizeof t->v[0]);
    for (const struct beat *e; (e = beats_next(b, &at));)
        t->v[n++] = e;
    t->n = n;
    if (n)
        qsort(t->v, n, sizeof t->v[0], by_key);
    atomic_store(&b->current, (const struct beats_table *)t);
    for (size_t i = 0; i < b->gone_n; i++)
        pin_retire(b->pins, b->gone[i], sizeof *b->gone[i]);
    b->gone_n = 0;
    pin_retire(b->pins, (void *)old, table_bytes(old));
    pin_publish(b->pins);
    b->changed = false;
    return true;
}

/* --- Readers ------------------------------------------------------------- */

const struct beat *beats_of(const struct beats_table *t, struct bytes node,
                            struct bytes service_id)
{
    struct buf space;
    struct bytes key = key_of(&space, node, service_id);
    size_t low = 0, high = t->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (bytes_cmp(t->v[mid]->key, key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    const struct beat *e = low < t->n ? t->v[low] : NULL;
    bool found = e && bytes_eq(e->key, key);
    buf_fini(&space);
    return found ? e : NULL;
}
