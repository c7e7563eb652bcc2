/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "store/index.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/check.h"

static void entry_key(const void *item, struct tree_key *ret)
{
    ret->a = index_key(item);
    ret->b = (struct bytes){0};
}

static const struct tree_type entries = {.key_of = entry_key};

/* One edit for ever: nobody shares this tree. */
static const struct tree_edit in_place = {.id = 1};

void index_init(struct index *x)
{
    x->tree = (struct tree){0};
}

void index_fini(struct index *x)
{
    struct tree_iter it;

    tree_first(&x->tree, &it);
    for (void *e; (e = tree_next(&it));)
        free(e);
    tree_free(&x->tree);
}

struct index_entry *index_get(const struct index *x, struct bytes key)
{
    return tree_get(&x->tree, &entries, (struct tree_key){.a = key});
}

struct index_entry *index_entry_new(struct bytes key)
{
    struct index_entry *e = xmalloc(offsetof(struct index_entry, key) + key.n);

    require(key.n <= UINT16_MAX);
    /* Field by field: a short key's block ends before the struct's padding. */
    e->create_rev = e->mod_rev = e->row = 0;
    e->key_n = (uint16_t)key.n;
    e->staged = false;
    memcpy(e->key, key.p, key.n);
    return e;
}

/* Called after the group is durable: there is no way back, so running out of
 * memory here ends the process, and the next start reads the log. */
void index_add(struct index *x, struct index_entry *take)
{
    void *old;

    require(tree_put(&x->tree, &entries, &in_place, take, &old) == ERR_OK);
    require(!old);
}

void index_remove(struct index *x, struct index_entry *e)
{
    void *old;
    enum err err = tree_del(&x->tree, &entries, &in_place,
                            (struct tree_key){.a = index_key(e)}, &old);

    require(err == ERR_OK);
    require(old == e);
}

void index_seek(const struct index *x, struct bytes prefix,
                struct index_iter *it)
{
    it->prefix = prefix;
    tree_seek(&x->tree, &entries, (struct tree_key){.a = prefix}, &it->at);
}

void index_seek_after(const struct index *x, struct bytes prefix,
                      struct bytes key, struct index_iter *it)
{
    struct tree_iter here;

    it->prefix = prefix;
    tree_seek(&x->tree, &entries, (struct tree_key){.a = key}, &it->at);
    here = it->at;
    const struct index_entry *e = tree_next(&here);

    if (e && bytes_eq(index_key(e), key))
        it->at = here;
}

struct index_entry *index_next(struct index_iter *it)
{
    struct index_entry *e = tree_next(&it->at);

    return e && bytes_starts(index_key(e), it->prefix) ? e : NULL;
}

static bool quiet_since(const struct index *x, struct bytes prefix,
                        uint64_t rev)
{
    struct index_iter it;

    index_seek(x, prefix, &it);
    for (const struct index_entry *e; (e = index_next(&it));) {
        if (e->create_rev > rev)
            return false;
    }
    return true;
}

bool index_guard_holds(const struct index *x, const struct store_guard *g)
{
    if (g->kind == GUARD_QUIET)
        return quiet_since(x, g->key, g->rev);

    const struct index_entry *e = index_get(x, g->key);

    switch (g->kind) {
    case GUARD_MOD:
        return (e ? e->mod_rev : 0) == g->rev;
    case GUARD_CREATE:
        return (e ? e->create_rev : 0) == g->rev;
    case GUARD_PRESENT:
        return e != NULL;
    case GUARD_ABSENT:
        return e == NULL;
    case GUARD_QUIET:
        break;
    }
    return false;
}
