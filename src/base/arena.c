/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Blocks form a list, newest first; only the head is filled further. What does
 * not fit a common block gets one of its own, behind the head, so that the
 * head's rest is not lost. */
struct arena_block {
    struct arena_block *next;
    size_t cap;
    size_t used;
    size_t pad; /* data stays 16-byte aligned */
    char data[];
};

_Static_assert(sizeof(struct arena_block) % 16 == 0, "alignment of data");

enum {
    ARENA_FIRST_BYTES = 4096, /* header included; what reset keeps */
    ARENA_BLOCK_BYTES = 65536 /* later blocks double up to this */
};

void arena_init(struct arena *a, size_t max_bytes)
{
    *a = (struct arena){.max_bytes = max_bytes};
}

static size_t common_cap(size_t block_bytes)
{
    return block_bytes - sizeof(struct arena_block);
}

void arena_reset(struct arena *a)
{
    struct arena_block *keep = NULL;

    for (struct arena_block *b = a->head, *next; b; b = next) {
        next = b->next;
        if (!keep && b->cap == common_cap(ARENA_FIRST_BYTES))
            keep = b;
        else
            free(b);
    }
    if (keep) {
        keep->next = NULL;
        keep->used = 0;
    }
    a->head = keep;
    a->used_bytes = 0;
}

void arena_fini(struct arena *a)
{
    arena_reset(a);
    free(a->head);
    a->head = NULL;
}

/* Puts a new block in front, or behind the head if it is for one large
 * allocation only. */
static struct arena_block *add_block(struct arena *a, size_t n)
{
    size_t cap = common_cap(ARENA_FIRST_BYTES);
    bool own;

    if (a->head) {
        size_t bytes = (a->head->cap + sizeof(struct arena_block)) * 2;
        cap = common_cap(bytes < ARENA_BLOCK_BYTES ? bytes : ARENA_BLOCK_BYTES);
    }
    own = n > cap;
    struct arena_block *b = malloc(sizeof *b + (own ? n : cap));
    if (!b)
        return NULL;
    b->cap = own ? n : cap;
    b->used = 0;
    if (own && a->head) {
        b->next = a->head->next;
        a->head->next = b;
    } else {
        b->next = a->head;
        a->head = b;
    }
    return b;
}

void *arena_alloc(struct arena *a, size_t n)
{
    size_t limit = SIZE_MAX / 2;
    struct arena_block *b = a->head;

    if (a->max_bytes && a->max_bytes < limit)
        limit = a->max_bytes;
    if (n > limit)
        return NULL;
    n = n ? (n + 15) & ~(size_t)15 : 16;
    if (n > limit || a->used_bytes > limit - n)
        return NULL;
    if (!b || n > b->cap - b->used)
        b = add_block(a, n);
    if (!b)
        return NULL;
    void *p = b->data + b->used;
    b->used += n;
    a->used_bytes += n;
    return p;
}

void *arena_zalloc(struct arena *a, size_t n)
{
    void *p = arena_alloc(a, n);
    return p ? memset(p, 0, n) : NULL;
}

char *arena_str(struct arena *a, struct bytes b)
{
    char *p = b.n < SIZE_MAX ? arena_alloc(a, b.n + 1) : NULL;

    if (!p)
        return NULL;
    if (b.n)
        memcpy(p, b.p, b.n);
    p[b.n] = '\0';
    return p;
}

struct bytes arena_copy(struct arena *a, struct bytes b)
{
    const char *p = arena_str(a, b);
    return p ? (struct bytes){p, b.n} : (struct bytes){NULL, 0};
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *p = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (!p)
        return NULL;
    va_start(args, fmt);
    (void)vsnprintf(p, (size_t)n + 1, fmt, args);
    va_end(args);
    return p;
}
