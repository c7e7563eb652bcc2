/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "base/map.h"

#include <stdlib.h>

enum { MAP_FIRST_SLOTS = 8 };

void map_fini(struct map *m)
{
    free(m->slots);
    *m = (struct map){0};
}

static uint64_t hash_of(struct bytes key)
{
    uint64_t h = bytes_hash(key, 0);
    return h ? h : 1; /* 0 marks a free slot */
}

/* The slot of this key, or the free one where it would go; cap > n, so one of
 * them is met. */
static struct map_slot *find(const struct map *m, struct bytes key, uint64_t h)
{
    size_t mask = m->cap - 1;

    for (size_t i = h & mask;; i = (i + 1) & mask) {
        struct map_slot *s = &m->slots[i];
        if (s->hash == 0 || (s->hash == h && bytes_eq(s->key, key)))
            return s;
    }
}

void *map_get(const struct map *m, struct bytes key)
{
    return m->n ? find(m, key, hash_of(key))->value : NULL;
}

static enum err grow(struct map *m)
{
    struct map bigger = {.n = m->n};

    bigger.cap = m->cap ? m->cap * 2 : MAP_FIRST_SLOTS;
    bigger.slots = calloc(bigger.cap, sizeof *bigger.slots);
    if (!bigger.slots)
        return ERR_NOMEM;
    for (size_t i = 0; i < m->cap; i++)
        if (m->slots[i].hash)
            *find(&bigger, m->slots[i].key, m->slots[i].hash) = m->slots[i];
    free(m->slots);
    *m = bigger;
    return ERR_OK;
}

enum err map_put(struct map *m, struct bytes key, void *value)
{
    uint64_t h = hash_of(key);
    struct map_slot *s = m->n ? find(m, key, h) : NULL;

    if (!s || s->hash == 0) {
        if ((m->n + 1) * 4 > m->cap * 3) {
            enum err e = grow(m);
            if (e != ERR_OK)
                return e;
        }
        s = find(m, key, h);
        m->n++;
    }
    *s = (struct map_slot){h, key, value};
    return ERR_OK;
}

/* Closes the gap at slot i: later entries of the run move up when their home
 * lies at or before the gap (Knuth, TAOCP vol. 3, 6.4, algorithm R), so there
 * are no tombstones and lookups never slow down. */
static void close_gap(struct map *m, size_t i)
{
    size_t mask = m->cap - 1;

    for (size_t j = (i + 1) & mask; m->slots[j].hash; j = (j + 1) & mask) {
        size_t home = m->slots[j].hash & mask;
        if (((j - home) & mask) >= ((j - i) & mask)) {
            m->slots[i] = m->slots[j];
            i = j;
        }
    }
    m->slots[i] = (struct map_slot){0};
}

void *map_del(struct map *m, struct bytes key)
{
    if (m->n == 0)
        return NULL;
    struct map_slot *s = find(m, key, hash_of(key));
    void *value = s->value;
    if (s->hash == 0)
        return NULL;
    close_gap(m, (size_t)(s - m->slots));
    m->n--;
    return value;
}

bool map_next(const struct map *m, size_t *at, struct bytes *ret_key,
              void **ret_value)
{
    for (size_t i = *at; i < m->cap; i++) {
        const struct map_slot *s = &m->slots[i];
        if (s->hash == 0)
            continue;
        *at = i + 1;
        if (ret_key)
            *ret_key = s->key;
        if (ret_value)
            *ret_value = s->value;
        return true;
    }
    *at = m->cap;
    return false;
}
