/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* heap - an intrusive pairing heap ordered by due time: the timers of
 * everything that decides. No allocation. O(1) insert and min, O(log n)
 * amortised removal. Times are milliseconds on the caller's monotonic clock. */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include <stdbool.h>
#include <stdint.h>

struct heap_item {
    uint64_t due_ms;
    struct heap_item *child, *next, *prev; /* prev: left sibling or parent */
    bool in;
};

struct heap {
    struct heap_item *root;
};

/* item->in must be false. */
void heap_add(struct heap *h, struct heap_item *item, uint64_t due_ms);

/* Nothing happens if it is not in. */
void heap_del(struct heap *h, struct heap_item *item);

/* Moves it (or adds it). */
void heap_set(struct heap *h, struct heap_item *item, uint64_t due_ms);

/* The earliest, still in; NULL if empty. */
struct heap_item *heap_min(const struct heap *h);

#endif
