/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "base/tree.h"

#include <stdlib.h>

#include "base/tree_node.h"

static int compare(const struct tree_type *type, const void *item,
                   const struct tree_key *key)
{
    struct tree_key k;
    int c;

    type->key_of(item, &k);
    if (type->fold) {
        c = bytes_cmp_fold(k.a, key->a);
        return c ? c : bytes_cmp_fold(k.b, key->b);
    }
    c = bytes_cmp(k.a, key->a);
    return c ? c : bytes_cmp(k.b, key->b);
}

/* The first entry of lo .. hi that is >= key. */
static size_t lower_bound(struct tree_node *node, size_t lo, size_t hi,
                          const struct tree_type *type,
                          const struct tree_key *key, bool *ret_found)
{
    void **firsts = tree_firsts(node);

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        /* Either of these is looked at next; both are likely not in the
         * processor's cache, and come while this one is compared. */
        __builtin_prefetch(firsts[lo + (mid - lo) / 2]);
        if (mid + 1 < hi)
            __builtin_prefetch(firsts[mid + 1 + (hi - mid - 1) / 2]);
        int c = compare(type, firsts[mid], key);
        if (c == 0) {
            *ret_found = true;
            return mid;
        }
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *ret_found = false;
    return lo;
}

/* Narrows lo .. hi to the entries whose piece is the key's, or to the place
 * where they would be. */
static void narrow(const tree_piece *pieces, tree_piece piece, size_t *lo,
                   size_t *hi)
{
    size_t at = *lo, end = *hi;

    while (at < end) {
        size_t mid = at + (end - at) / 2;
        bool below = pieces[mid] < piece;
        at = below ? mid + 1 : at;
        end = below ? end : mid;
    }
    *lo = at;
    while (at < *hi && pieces[at] == piece)
        at++;
    *hi = at;
}

/* All items here begin alike and the key does not: it is below or above all. */
static bool is_above(struct tree_node *node, const struct tree_type *type,
                     const struct tree_key *key)
{
    return compare(type, tree_firsts(node)[0], key) < 0;
}

size_t tree_leaf_at(struct tree_node *leaf, const struct tree_type *type,
                    const struct tree_key *key, bool *ret_found)
{
    const tree_piece *pieces = tree_pieces(leaf);
    size_t lo = 0, hi = leaf->n;

    if (pieces)
        narrow(pieces, tree_piece_of(type, key, leaf->skip), &lo, &hi);
    size_t i = lower_bound(leaf, lo, hi, type, key, ret_found);
    /* Whether it begins as all here do matters, and is asked, only now. */
    if (!pieces || *ret_found ||
        tree_shares(type, key, leaf->slot[0], leaf->skip))
        return i;
    return is_above(leaf, type, key) ? leaf->n : 0;
}

size_t tree_child_at(struct tree_node *node, const struct tree_type *type,
                     const struct tree_key *key)
{
    bool found;
    /* What is below the first child's key belongs there too. */
    size_t lo = 1, hi = node->n;

    if (!tree_shares(type, key, tree_firsts(node)[0], node->skip))
        return is_above(node, type, key) ? node->n - 1u : 0;
    narrow(tree_pieces(node), tree_piece_of(type, key, node->skip), &lo, &hi);
    size_t i = lower_bound(node, lo, hi, type, key, &found);

    return found ? i : i - 1;
}

void *tree_get(const struct tree *t, const struct tree_type *type,
               struct tree_key key)
{
    struct tree_node *node = t->root;
    bool found;

    if (!node)
        return NULL;
    while (node->level)
        node = tree_child(node, tree_child_at(node, type, &key));
    size_t i = tree_leaf_at(node, type, &key, &found);
    return found ? node->slot[i] : NULL;
}

/* Down from the entry at it->depth to the leftmost leaf below it. */
static void down_left(struct tree_iter *it)
{
    const struct tree_node *node = it->node[it->depth];

    while (node->level) {
        node = tree_child(node, it->at[it->depth]);
        it->depth++;
        it->node[it->depth] = node;
        it->at[it->depth] = 0;
    }
}

/* The leaf is used up: to the next one, or to the end. */
static void next_leaf(struct tree_iter *it)
{
    while (--it->depth >= 0) {
        if (++it->at[it->depth] < it->node[it->depth]->n) {
            down_left(it);
            return;
        }
    }
}

void tree_first(const struct tree *t, struct tree_iter *it)
{
    it->depth = t->root ? 0 : -1;
    it->node[0] = t->root;
    it->at[0] = 0;
    if (t->root)
        down_left(it);
}

void tree_seek(const struct tree *t, const struct tree_type *type,
               struct tree_key key, struct tree_iter *it)
{
    struct tree_node *node = t->root;
    bool found;

    it->depth = -1;
    if (!node)
        return;
    for (it->depth = 0; node->level; it->depth++) {
        size_t i = tree_child_at(node, type, &key);
        it->node[it->depth] = node;
        it->at[it->depth] = (uint16_t)i;
        node = tree_child(node, i);
    }
    it->node[it->depth] = node;
    it->at[it->depth] = (uint16_t)tree_leaf_at(node, type, &key, &found);
    if (it->at[it->depth] == node->n)
        next_leaf(it);
}

void *tree_next(struct tree_iter *it)
{
    if (it->depth < 0)
        return NULL;
    const struct tree_node *leaf = it->node[it->depth];
    void *item = leaf->slot[it->at[it->depth]];
    if (++it->at[it->depth] == leaf->n)
        next_leaf(it);
    return item;
}

static void drop_all(struct tree_node *node, const struct tree_edit *e)
{
    for (size_t i = 0; node->level && i < node->n; i++)
        drop_all(tree_child(node, i), e);
    if (e && e->retire)
        e->retire(e->ctx, node);
    else
        free(node);
}

void tree_retire(struct tree *t, const struct tree_edit *e)
{
    if (t->root)
        drop_all(t->root, e);
    *t = (struct tree){0};
}

void tree_free(struct tree *t)
{
    tree_retire(t, NULL);
}
