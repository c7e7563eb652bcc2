/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* The pieces of keys that nodes hold.
 *
 * node->skip says what all keys of the node begin with: so many bytes of part a
 * or, with SKIP_IN_B, all of part a and so many bytes of part b. A node keeps it
 * while keys come that share it; it is found anew when one comes that does not,
 * and when nodes are split or joined. Deleting may leave it shorter than it
 * could be.
 *
 * A piece is the key's next bytes as a big-endian number, folded where the type
 * folds. Keys that differ may have equal pieces (then the items decide), but
 * order is never turned around:
 * - Behind the end of part a stands a zero, then part b. So that a zero within
 *   part a is not taken for its end, bytes 0 and 1 there are both a 1, and
 *   nothing follows it: "a\0z" and "a\1a" are one piece.
 * - Behind the end of part b stand zeroes, which nothing follows. */
#include "base/tree_node.h"

enum { SKIP_IN_B = 1 << 15, SKIP_MAX = SKIP_IN_B - 1 };

static size_t skipped(uint16_t skip)
{
    return skip & SKIP_MAX;
}

uint16_t tree_skip_of(const struct tree_type *type, const void *first,
                      const void *last)
{
    struct tree_key x, y;

    type->key_of(first, &x);
    type->key_of(last, &y);
    size_t n = bytes_common(x.a, y.a, type->fold), in_b = 0;
    if (n == x.a.n && n == y.a.n) {
        n = bytes_common(x.b, y.b, type->fold);
        in_b = SKIP_IN_B;
    }
    return (uint16_t)((n < SKIP_MAX ? n : SKIP_MAX) | in_b);
}

static bool heads_alike(const struct tree_type *type, struct bytes x,
                        struct bytes y, size_t n)
{
    if (x.n < n || y.n < n)
        return false;
    x = bytes_head(x, n);
    y = bytes_head(y, n);
    return type->fold ? bytes_eq_fold(x, y) : bytes_eq(x, y);
}

bool tree_shares(const struct tree_type *type, const struct tree_key *key,
                 const void *item, uint16_t skip)
{
    struct tree_key k;

    type->key_of(item, &k);
    if (!(skip & SKIP_IN_B))
        return heads_alike(type, key->a, k.a, skipped(skip));
    return key->a.n == k.a.n && heads_alike(type, key->a, k.a, k.a.n) &&
           heads_alike(type, key->b, k.b, skipped(skip));
}

/* Eight bytes of part a from `at` on, then a zero and part b. */
static uint64_t eight_of_both(const struct tree_key *key, size_t at, bool fold)
{
    const uint64_t ones = 0x0101010101010101u;
    size_t left = key->a.n - at;
    uint64_t w = bytes_eight(key->a, at, fold);

    /* The top bits of bytes below 2: to others 0x7e carries into it. */
    uint64_t low = ~(((w & 0x7f * ones) + 0x7e * ones) | w) & 0x80 * ones;
    if (left < 8)
        low &= ~(UINT64_MAX >> 8 * left);
    if (low) {
        unsigned bits = (unsigned)__builtin_clzll(low); /* of those before */
        return (w & ~(UINT64_MAX >> bits)) | (uint64_t)1 << (56 - bits);
    }
    if (left < 7)
        w |= bytes_eight(key->b, 0, fold) >> 8 * (left + 1);
    return w;
}

tree_piece tree_piece_of(const struct tree_type *type,
                         const struct tree_key *key, uint16_t skip)
{
    size_t at = skipped(skip);
    uint64_t w;

    if (at > (skip & SKIP_IN_B ? key->b.n : key->a.n))
        return 0;
    if (skip & SKIP_IN_B)
        w = bytes_eight(key->b, at, type->fold);
    else
        w = eight_of_both(key, at, type->fold);
    return (tree_piece)(w >> (64 - 8 * sizeof(tree_piece)));
}

void tree_set_pieces(struct tree_node *node, const struct tree_type *type)
{
    tree_piece *pieces = tree_pieces(node);
    void **firsts = tree_firsts(node);
    struct tree_key key;

    if (!pieces)
        return;
    node->skip = tree_skip_of(type, firsts[0], firsts[node->n - 1]);
    for (size_t i = 0; i < node->n; i++) {
        type->key_of(firsts[i], &key);
        pieces[i] = tree_piece_of(type, &key, node->skip);
    }
}
