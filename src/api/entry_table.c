/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Linear probing at a load of 3/4 at most; deleting shifts back what follows
 * (Knuth, The Art of Computer Programming 3, 6.4, algorithm R). */
#include "api/entry_table.h"

#include <stdlib.h>

enum { FIRST_CAP = 16 };

void entry_table_fini(struct entry_table *t)
{
    free(t->slots);
    *t = (struct entry_table){0};
}

/* Where the key is, or would be. cap > 0. */
static size_t place(const struct entry_table *t, uint64_t key)
{
    size_t i = key & (t->cap - 1);
    while (t->slots[i].key && t->slots[i].key != key)
        i = (i + 1) & (t->cap - 1);
    return i;
}

bool entry_table_get(const struct entry_table *t, uint64_t key,
                     uint64_t *ret_digest)
{
    if (!t->cap)
        return false;
    const struct entry_slot *s = &t->slots[place(t, key)];
    *ret_digest = s->digest;
    return s->key != 0;
}

static enum err grow(struct entry_table *t)
{
    struct entry_table bigger = {.cap = t->cap ? 2 * t->cap : FIRST_CAP,
                                 .n = t->n};
    bigger.slots = calloc(bigger.cap, sizeof *bigger.slots);
    if (!bigger.slots)
        return ERR_NOMEM;
    for (size_t i = 0; i < t->cap; i++)
        if (t->slots[i].key)
            bigger.slots[place(&bigger, t->slots[i].key)] = t->slots[i];
    free(t->slots);
    *t = bigger;
    return ERR_OK;
}

enum err entry_table_put(struct entry_table *t, uint64_t key, uint64_t digest)
{
    if (t->n + 1 > t->cap / 4 * 3 && grow(t) != ERR_OK)
        return ERR_NOMEM;
    struct entry_slot *s = &t->slots[place(t, key)];
    t->n += s->key == 0;
    *s = (struct entry_slot){key, digest};
    return ERR_OK;
}

void entry_table_del(struct entry_table *t, uint64_t key)
{
    if (!t->cap)
        return;
    size_t mask = t->cap - 1, hole = place(t, key);
    if (!t->slots[hole].key)
        return;
    for (size_t i = (hole + 1) & mask; t->slots[i].key; i = (i + 1) & mask) {
        size_t home = t->slots[i].key & mask;
        if (((i - home) & mask) < ((i - hole) & mask))
            continue; /* its home is behind the hole: it may stay */
        t->slots[hole] = t->slots[i];
        hole = i;
    }
    t->slots[hole].key = 0;
    t->n--;
}
