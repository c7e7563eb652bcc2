/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Filling an empty index with millions of entries in no order.
 *
 * Putting them one by one walks the tree at random: some forty cache misses
 * each. Sorted, they are appended. Keys share long prefixes, so the sort
 * compares eight bytes of each at a time, copied beside the pointer (one miss
 * per key and eight bytes), and goes eight bytes deeper only into runs that are
 * equal. */
#include <stdlib.h>

#include "store/index.h"

static uint64_t chunk_at(const struct index_entry *e, size_t depth)
{
    unsigned char b[8] = {0};
    uint64_t v = 0;

    if (e->key_n > depth) {
        size_t n = e->key_n - depth;
        memcpy(b, e->key + depth, n < sizeof b ? n : sizeof b);
    }
    for (size_t i = 0; i < sizeof b; i++)
        v = v << 8 | b[i];
    return v;
}

/* Equal chunks with an end in them: "a" sorts before "a\0". */
static int by_chunk(const void *x, const void *y)
{
    const struct index_item *a = x, *b = y;

    return (a->chunk > b->chunk) - (a->chunk < b->chunk);
}

static int by_key(const void *x, const void *y)
{
    const struct index_item *a = x, *b = y;

    return bytes_cmp(index_key(a->entry), index_key(b->entry));
}

enum { SMALL_RUN = 16, CHUNK_BYTES = 8 };

/* Depth is bounded by the longest key: 1 kB / 8. */
static void sort_from(struct index_item *item, size_t n, size_t depth)
{
    if (n < SMALL_RUN) {
        if (n > 1)
            qsort(item, n, sizeof *item, by_key);
        return;
    }
    for (size_t i = 0; i < n; i++)
        item[i].chunk = chunk_at(item[i].entry, depth);
    qsort(item, n, sizeof *item, by_chunk);
    for (size_t i = 0, end; i < n; i = end) {
        bool more = false;

        for (end = i; end < n && item[end].chunk == item[i].chunk; end++)
            more |= item[end].entry->key_n > depth + CHUNK_BYTES;
        if (more)
            sort_from(item + i, end - i, depth + CHUNK_BYTES);
        else if (end - i > 1)
            qsort(item + i, end - i, sizeof *item, by_key);
    }
}

bool index_fill(struct index *x, struct index_item *items, size_t n)
{
    sort_from(items, n, 0);
    for (size_t i = 1; i < n; i++) {
        if (bytes_eq(index_key(items[i - 1].entry), index_key(items[i].entry)))
            return false;
    }
    for (size_t i = 0; i < n; i++) {
        index_add(x, items[i].entry);
        items[i].entry = NULL;
    }
    return true;
}
