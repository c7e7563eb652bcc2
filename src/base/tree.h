/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* tree - an ordered map of item pointers: a B+-tree, persistent when asked.
 *
 * An item is any pointer; the tree reads its key through the type's key_of and
 * never owns or frees it. A key has two parts, compared one after the other
 * (a single-part key leaves b empty).
 *
 * Persistence. `struct tree` is a value: copying the struct is taking a
 * version. Every node carries the id of the edit that made it. A put or delete
 * under edit E changes nodes of E in place and copies all others (path
 * copying), handing the node it replaced to E's retire function, because older
 * versions still show it (a replaced node that E made itself is freed at once).
 * One edit per published version, ids strictly growing, gives immutable
 * versions that share what did not change; one edit used for ever gives an
 * ordinary mutable tree. Readers of a version need no lock.
 *
 *            [ k3 | k7 ]            inner: children and the first item of each
 *           /     |     \
 *   [i0 i1 i2] [i3 .. i6] [i7 ..]   leaves: items in order
 *
 * Costs: get, put, delete, seek O(log n); next O(1) amortised. */
#ifndef BASE_TREE_H
#define BASE_TREE_H

#include "base/bytes.h"

struct tree_key {
    struct bytes a, b;
};

struct tree_type {
    void (*key_of)(const void *item, struct tree_key *ret);
    bool fold; /* compare after folding ASCII case (both parts) */
};

struct tree_node; /* plain malloc memory: whoever retires it may free() it */

struct tree {
    struct tree_node *root;
    size_t n; /* items */
};

struct tree_edit {
    uint64_t id; /* > 0 */
    /* Takes a node that this edit replaced. NULL: free it at once (a mutable
     * tree nobody shares). */
    void (*retire)(void *ctx, void *take_node);
    void *ctx;
};

/* The item with this key, or NULL. */
void *tree_get(const struct tree *t, const struct tree_type *type,
               struct tree_key key);

/* Puts item at its key; *ret_old (may be NULL) is the item it replaced, or
 * NULL. ERR_NOMEM: the tree is as it was. */
MUST_USE enum err tree_put(struct tree *t, const struct tree_type *type,
                           const struct tree_edit *e, void *item,
                           void **ret_old);

/* Takes the item out; *ret_old (may be NULL) is it, or NULL if there was none
 * (then nothing changed). ERR_NOMEM: the tree is as it was. */
MUST_USE enum err tree_del(struct tree *t, const struct tree_type *type,
                           const struct tree_edit *e, struct tree_key key,
                           void **ret_old);

/* Frees all nodes of this version (not the items): only when no other version
 * shares them. The tree is empty afterwards. */
void tree_free(struct tree *t);

/* As tree_free, but every node goes to the edit's retire function. */
void tree_retire(struct tree *t, const struct tree_edit *e);

/* Iteration in order. The version must stay alive; changing the same tree under
 * a mutable edit invalidates iterators. */
enum { TREE_DEPTH_MAX = 16 };

struct tree_iter {
    const struct tree_node *node[TREE_DEPTH_MAX];
    uint16_t at[TREE_DEPTH_MAX];
    int depth; /* -1: at the end */
};

void tree_first(const struct tree *t, struct tree_iter *it);

/* At the first item whose key is >= key. */
void tree_seek(const struct tree *t, const struct tree_type *type,
               struct tree_key key, struct tree_iter *it);

/* The current item, then one step on; NULL at the end. */
void *tree_next(struct tree_iter *it);

#endif
