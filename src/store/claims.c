/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "store/claims.h"

#include <stdlib.h>

#include "base/alloc.h"

void claims_fini(struct claims *s)
{
    free(s->keys);
    free(s->table);
    free(s->prefixes);
    *s = (struct claims){0};
}

static size_t slot_of(const struct claims *s, uint64_t hash)
{
    return (size_t)hash & (s->table_cap - 1);
}

void claims_reset(struct claims *s)
{
    if (s->n * 8 > s->table_cap) {
        memset(s->table, 0, s->table_cap * sizeof *s->table);
    } else {
        for (size_t i = 0; i < s->n; i++) {
            size_t at = slot_of(s, s->keys[i].hash);

            for (; s->table[at]; at = (at + 1) & (s->table_cap - 1))
                s->table[at] = 0;
        }
    }
    s->n = 0;
    s->prefix_n = 0;
}

/* --- Keys ---------------------------------------------------------------- */

static struct claim *find(const struct claims *s, struct bytes key,
                          uint64_t hash)
{
    if (!s->n)
        return NULL;
    for (size_t at = slot_of(s, hash); s->table[at];
         at = (at + 1) & (s->table_cap - 1)) {
        struct claim *c = &s->keys[s->table[at] - 1];

        if (c->hash == hash && bytes_eq(c->key, key))
            return c;
    }
    return NULL;
}

static void table_put(struct claims *s, uint64_t hash, size_t place)
{
    size_t at = slot_of(s, hash);

    while (s->table[at])
        at = (at + 1) & (s->table_cap - 1);
    s->table[at] = (uint32_t)place + 1;
}

static void grow(struct claims *s)
{
    s->cap = s->cap ? s->cap * 2 : 256;
    s->keys = xrealloc(s->keys, s->cap * sizeof *s->keys);
    free(s->table);
    s->table_cap = s->cap * 2;
    s->table = xzalloc(s->table_cap * sizeof *s->table);
    for (size_t i = 0; i < s->n; i++)
        table_put(s, s->keys[i].hash, i);
}

/* False: it was written before. */
static bool add_key(struct claims *s, struct bytes key, bool written)
{
    uint64_t hash = bytes_hash(key, 0);
    struct claim *c = find(s, key, hash);

    if (c) {
        bool twice = written && c->written;

        c->written |= written;
        return !twice;
    }
    if (s->n == s->cap)
        grow(s);
    s->keys[s->n] = (struct claim){hash, key, written};
    table_put(s, hash, s->n);
    s->n++;
    return true;
}

static bool key_conflicts(const struct claims *s, struct bytes key, bool write)
{
    for (size_t i = 0; i < s->prefix_n; i++) {
        const struct claim *p = &s->prefixes[i];

        if ((write || p->written) && bytes_starts(key, p->key))
            return true;
    }
    const struct claim *c = find(s, key, bytes_hash(key, 0));

    return c && (write || c->written);
}

/* --- Prefixes ------------------------------------------------------------ */

static void add_prefix(struct claims *s, struct bytes prefix, bool written)
{
    if (s->prefix_n == s->prefix_cap) {
        s->prefix_cap = s->prefix_cap ? s->prefix_cap * 2 : 8;
        s->prefixes =
            xrealloc(s->prefixes, s->prefix_cap * sizeof *s->prefixes);
    }
    s->prefixes[s->prefix_n++] = (struct claim){0, prefix, written};
}

static bool prefix_conflicts(const struct claims *s, struct bytes prefix,
                             bool write)
{
    for (size_t i = 0; i < s->prefix_n; i++) {
        const struct claim *p = &s->prefixes[i];

        if ((write || p->written) &&
            (bytes_starts(prefix, p->key) || bytes_starts(p->key, prefix)))
            return true;
    }
    for (size_t i = 0; i < s->n; i++) {
        const struct claim *c = &s->keys[i];

        if ((write || c->written) && bytes_starts(c->key, prefix))
            return true;
    }
    return false;
}

static size_t prefixes_of(const struct store_change *c)
{
    size_t n = 0;

    for (size_t i = 0; i < c->guard_count; i++)
        n += c->guards[i].kind == GUARD_QUIET;
    for (size_t i = 0; i < c->op_count; i++)
        n += c->ops[i].kind == OP_DELETE_PREFIX;
    return n;
}

/* --- Changes ------------------------------------------------------------- */

bool claims_conflict(const struct claims *s, const struct store_change *c)
{
    if (!s->n && !s->prefix_n)
        return false;
    if (s->prefix_n && s->prefix_n + prefixes_of(c) > CLAIMS_PREFIXES_MAX)
        return true;
    for (size_t i = 0; i < c->guard_count; i++) {
        const struct store_guard *g = &c->guards[i];

        if (g->kind == GUARD_QUIET ? prefix_conflicts(s, g->key, false)
                                   : key_conflicts(s, g->key, false))
            return true;
    }
    for (size_t i = 0; i < c->op_count; i++) {
        const struct store_op *op = &c->ops[i];

        if (op->kind == OP_DELETE_PREFIX ? prefix_conflicts(s, op->key, true)
                                         : key_conflicts(s, op->key, true))
            return true;
    }
    return false;
}

/* A put under a prefix that the same change deletes: which of the two? */
static bool puts_under_own_prefix(const struct store_change *c,
                                  struct bytes prefix, struct bytes *ret_key)
{
    for (size_t i = 0; i < c->op_count; i++) {
        if (c->ops[i].kind == OP_PUT && bytes_starts(c->ops[i].key, prefix)) {
            *ret_key = c->ops[i].key;
            return true;
        }
    }
    return false;
}

bool claims_add(struct claims *s, const struct store_change *c,
                struct bytes *ret_key)
{
    bool once = true;

    for (size_t i = 0; i < c->op_count; i++) {
        const struct store_op *op = &c->ops[i];

        if (op->kind == OP_DELETE_PREFIX) {
            once &= !puts_under_own_prefix(c, op->key, ret_key);
            add_prefix(s, op->key, true);
        } else if (!add_key(s, op->key, true)) {
            once = false;
            *ret_key = op->key;
        }
    }
    for (size_t i = 0; i < c->guard_count; i++) {
        const struct store_guard *g = &c->guards[i];

        if (g->kind == GUARD_QUIET)
            add_prefix(s, g->key, false);
        else
            (void)add_key(s, g->key, false);
    }
    return once;
}
