/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* tree_node - what tree.c (looking) and tree_edit.c (changing) share; nobody
 * else includes it.
 *
 * A node has n entries. In a leaf an entry is an item; in an inner node it is a
 * child together with the first item below that child, whose key separates it
 * from its left neighbour. All of these first items are kept exact, also the
 * leftmost, so an item's owner may free it as soon as a put or delete has
 * handed it out.
 *
 * Nodes are allocated for what they hold, rounded up to 1, 3, 7, 11 .. 31
 * entries, because a catalog holds hundreds of thousands of trees with one to
 * three items. Odd capacities fill the allocator's 16-byte steps: a leaf of one
 * takes 32 bytes of heap, a leaf of three 48.
 *
 * Shape: all leaves are at one depth; an inner node has at least two children;
 * a node has at least TREE_MIN entries unless it is the root, or lies on the
 * right edge, where appending in order fills nodes completely and opens small
 * ones. What is not on that edge is full enough to keep the depth logarithmic.
 */
#ifndef BASE_TREE_NODE_H
#define BASE_TREE_NODE_H

#include "base/tree.h"

enum {
    TREE_MAX = 31, /* entries of a node */
    TREE_MIN = 8   /* a quarter, not half: put after delete rarely splits */
};

struct tree_node {
    uint64_t edit;
    uint16_t level; /* 0: leaf */
    uint16_t n;
    uint16_t cap;
    void *slot[]; /* leaf: cap items; inner: cap children, cap first items */
};

/* The items by which the entries are ordered. */
static inline void **tree_firsts(struct tree_node *node)
{
    return node->level ? node->slot + node->cap : node->slot;
}

static inline struct tree_node *tree_child(const struct tree_node *node,
                                           size_t i)
{
    return node->slot[i];
}

/* In a leaf: where the key is (*ret_found) or belongs. */
size_t tree_leaf_at(struct tree_node *leaf, const struct tree_type *type,
                    const struct tree_key *key, bool *ret_found);

/* In an inner node: the only child that can hold the key. */
size_t tree_child_at(struct tree_node *node, const struct tree_type *type,
                     const struct tree_key *key);

#endif
