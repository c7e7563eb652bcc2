/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* arena - memory that is given back all at once: one per request.
 *
 * Not thread-safe. Allocation may fail (NULL): out of memory, or past the
 * arena's own limit. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/bytes.h"

struct arena_block;

struct arena {
    struct arena_block *head;
    size_t used_bytes;
    size_t max_bytes; /* 0: no limit */
};

void arena_init(struct arena *a, size_t max_bytes);

/* Everything allocated is gone; the first block is kept for the next use. */
void arena_reset(struct arena *a);
void arena_fini(struct arena *a);

/* 16-byte aligned, not cleared. n = 0 gives a valid pointer. */
void *arena_alloc(struct arena *a, size_t n);
void *arena_zalloc(struct arena *a, size_t n);

/* A copy, followed by a NUL; on failure {NULL, 0} although b.n > 0. */
struct bytes arena_copy(struct arena *a, struct bytes b);

/* The same, as a C string (NULL on failure). Bytes after an inner NUL are kept
 * but invisible to C: callers refuse NUL first. */
char *arena_str(struct arena *a, struct bytes b);

char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
