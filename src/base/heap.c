/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "base/heap.h"

#include <stddef.h>

/* A node's children are a list from child through next; prev of the first is
 * the parent. Fredman, Sedgewick, Sleator, Tarjan: The pairing heap, 1986. */

/* Both are roots without siblings. */
static struct heap_item *meld(struct heap_item *a, struct heap_item *b)
{
    if (!a || !b)
        return a ? a : b;
    if (b->due_ms < a->due_ms) {
        struct heap_item *t = a;
        a = b;
        b = t;
    }
    b->next = a->child;
    if (b->next)
        b->next->prev = b;
    b->prev = a;
    a->child = b;
    return a;
}

/* One root from a list of siblings: pairs from left to right, then the pairs
 * from right to left. The order of the second pass is what makes removal
 * O(log n) amortised; no recursion, a list may be as long as the heap. */
static struct heap_item *meld_all(struct heap_item *first)
{
    struct heap_item *pairs = NULL, *root = NULL;

    while (first) {
        struct heap_item *a = first;
        struct heap_item *b = a->next;
        first = b ? b->next : NULL;
        a->next = NULL;
        if (b)
            b->next = NULL;
        a = meld(a, b);
        a->next = pairs;
        pairs = a;
    }
    while (pairs) {
        struct heap_item *next = pairs->next;
        pairs->next = NULL;
        root = meld(root, pairs);
        pairs = next;
    }
    if (root)
        root->prev = NULL;
    return root;
}

void heap_add(struct heap *h, struct heap_item *item, uint64_t due_ms)
{
    *item = (struct heap_item){.due_ms = due_ms, .in = true};
    h->root = meld(h->root, item);
}

void heap_del(struct heap *h, struct heap_item *item)
{
    if (!item->in)
        return;
    struct heap_item *rest = meld_all(item->child);
    if (item == h->root) {
        h->root = rest;
    } else {
        if (item->prev->child == item)
            item->prev->child = item->next;
        else
            item->prev->next = item->next;
        if (item->next)
            item->next->prev = item->prev;
        h->root = meld(h->root, rest);
    }
    *item = (struct heap_item){.due_ms = item->due_ms};
}

void heap_set(struct heap *h, struct heap_item *item, uint64_t due_ms)
{
    heap_del(h, item);
    heap_add(h, item, due_ms);
}

struct heap_item *heap_min(const struct heap *h)
{
    return h->root;
}
