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
    struct map all;   /* struct beat by key */
    struct tree next; /* the same, to be published */
    uint64_t edit;    /* of next */
    bool changed;
    struct garbage { /* still in current: entries, nodes of its tree */
        void *p;
        size_t bytes;
    } * gone;
    size_t gone_n, gone_cap;
};

enum { TREE_NODE_BYTES = 512 /* about; for the garbage metric only */ };

static void key_of_beat(const void *item, struct tree_key *ret)
{
    *ret = (struct tree_key){.a = ((const struct beat *)item)->key};
}

static const struct tree_type beat_type = {key_of_beat, false};

struct beats *beats_new(struct pin_domain *pins)
{
    struct beats *b = xzalloc(sizeof *b);
    b->pins = pins;
    b->edit = 1;
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
        free(b->gone[i].p);
    free(b->gone);
    tree_free(&b->next);
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

static void put_gone(struct beats *b, void *p, size_t bytes)
{
    if (b->gone_n == b->gone_cap) {
        b->gone_cap = b->gone_cap ? 2 * b->gone_cap : 16;
        b->gone = xrealloc(b->gone, b->gone_cap * sizeof *b->gone);
    }
    b->gone[b->gone_n++] = (struct garbage){p, bytes};
    b->changed = true;
}

static void retire_node(void *ctx, void *take_node)
{
    put_gone(ctx, take_node, TREE_NODE_BYTES);
}

static void show(struct beats *b, struct beat *e)
{
    const struct tree_edit edit = {b->edit, retire_node, b};
    require(map_put(&b->all, e->key, e) == ERR_OK);
    require(tree_put(&b->next, &beat_type, &edit, e, NULL) == ERR_OK);
    b->changed = true;
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
            show(b, is);
        }
    } else if (b->all.n >= BEATS_MAX) {
        err = ERR_LIMIT;
    } else {
        e = beat_new(key, node, service_id);
        e->ttl_ms = ttl_ms;
        e->seen_ms = seen_ms;
        show(b, e);
    }
    buf_fini(&space);
    return err;
}

void beats_drop(struct beats *b, struct bytes node, struct bytes service_id)
{
    struct buf space;
    struct beat *e = map_del(&b->all, key_of(&space, node, service_id));
    buf_fini(&space);
    if (!e)
        return;
    const struct tree_edit edit = {b->edit, retire_node, b};
    require(tree_del(&b->next, &beat_type, &edit,
                     (struct tree_key){.a = e->key}, NULL) == ERR_OK);
    put_gone(b, e, sizeof *e);
}

void beats_clear(struct beats *b)
{
    size_t at = 0;
    const struct tree_edit edit = {b->edit, retire_node, b};
    for (struct beat *e; (e = beats_next(b, &at));)
        put_gone(b, e, sizeof *e);
    tree_retire(&b->next, &edit);
    map_fini(&b->all);
    b->all = (struct map){0};
}

struct beat *beats_next(struct beats *b, size_t *at)
{
    void *value;
    return map_next(&b->all, at, NULL, &value) ? value : NULL;
}

bool beats_publish(struct beats *b)
{
    const struct beats_table *old = beats_current(b);
    if (!b->changed)
        return false;
    struct beats_table *t = xmalloc(sizeof *t);
    *t = (struct beats_table){b->next.n, b->next};
    atomic_store(&b->current, (const struct beats_table *)t);
    for (size_t i = 0; i < b->gone_n; i++)
        pin_retire(b->pins, b->gone[i].p, b->gone[i].bytes);
    b->gone_n = 0;
    pin_retire(b->pins, (void *)old, sizeof *old);
    pin_publish(b->pins);
    b->edit++;
    b->changed = false;
    return true;
}

/* --- Readers ------------------------------------------------------------- */

const struct beat *beats_of(const struct beats_table *t, struct bytes node,
                            struct bytes service_id)
{
    struct buf space;
    struct bytes key = key_of(&space, node, service_id);
    const struct beat *e =
        tree_get(&t->all, &beat_type, (struct tree_key){.a = key});
    buf_fini(&space);
    return e;
}
