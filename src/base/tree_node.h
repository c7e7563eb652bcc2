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
 * Pieces. An item's key is up to three cache misses away, and a search compares
 * with five items a node. So inner nodes and leaves of TREE_PIECES or more hold
 * four bytes of each entry's key beside it, from where the node's keys first
 * differ: a search goes by these, and looks at the items whose piece is the
 * key's, mostly one. tree_piece.c has how they are made.
 *
 *   skip 8     "instance-1041" "instance-1042" "instance-207"
 *   pieces      "-104"          "-104"          "-207"
 *
 * (a short tail of part a is followed by a zero and part b). Leaves that are
 * smaller have none, because there are so many.
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
    TREE_MAX = 31,   /* entries of a node */
    TREE_MIN = 8,    /* a quarter, not half: put after delete rarely splits */
    TREE_PIECES = 11 /* capacity from which on a leaf has pieces */
};

struct tree_node {
    uint64_t edit;
    uint16_t level; /* 0: leaf */
    uint16_t n;
    uint16_t cap;
    uint16_t skip; /* what all keys here begin with: see tree_piece.c */
    void *slot[];  /* leaf: cap items; inner: cap children, cap first items;
                    * then cap pieces (tree_piece), if it has any */
};

typedef uint32_t tree_piece;

/* The items by which the entries are ordered. */
static inline void **tree_firsts(struct tree_node *node)
{
    return node->level ? node->slot + node->cap : node->slot;
}

static inline bool tree_has_pieces(size_t level, size_t cap)
{
    return level || cap >= TREE_PIECES;
}

/* NULL: it has none. */
static inline tree_piece *tree_pieces(struct tree_node *node)
{
    if (!tree_has_pieces(node->level, node->cap))
        return NULL;
    return (tree_piece *)(tree_firsts(node) + node->cap);
}

static inline struct tree_node *tree_child(const struct tree_node *node,
                                           size_t i)
{
    return node->slot[i];
}

/* How many bytes all keys between these two begin with, as node->skip. */
uint16_t tree_skip_of(const struct tree_type *type, const void *first,
                      const void *last);

/* Does the key begin as the item's does, as far as skip says? */
bool tree_shares(const struct tree_type *type, const struct tree_key *key,
                 const void *item, uint16_t skip);

/* What stands for the key among keys that share skip: if x < y, x's piece is
 * not above y's. Of other keys: anything. */
tree_piece tree_piece_of(const struct tree_type *type,
                         const struct tree_key *key, uint16_t skip);

/* Sets skip and all pieces from the items. */
void tree_set_pieces(struct tree_node *node, const struct tree_type *type);

/* In a leaf: where the key is (*ret_found) or belongs. */
size_t tree_leaf_at(struct tree_node *leaf, const struct tree_type *type,
                    const struct tree_key *key, bool *ret_found);

/* In an inner node: the only child that can hold the key. */
size_t tree_child_at(struct tree_node *node, const struct tree_type *type,
                     const struct tree_key *key);

#endif
