/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* bytes - a view of memory: pointer and length, never owned, not
 * NUL-terminated. {NULL, 0} is the empty view. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"

struct bytes {
    const char *p;
    size_t n;
};

/* printf arguments for "%.*s". */
#define BYTES_ARG(b) (int)(b).n, (b).p ? (b).p : ""

static inline struct bytes bytes_of(const void *p, size_t n)
{
    return (struct bytes){p, n};
}

/* Of a NUL-terminated string; NULL gives the empty view. */
static inline struct bytes bytes_str(const char *s)
{
    return (struct bytes){s, s ? strlen(s) : 0};
}

static inline bool bytes_eq(struct bytes a, struct bytes b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool bytes_is(struct bytes a, const char *s)
{
    return bytes_eq(a, bytes_str(s));
}

/* By unsigned bytes, a prefix before what it is a prefix of; <0, 0, >0. */
int bytes_cmp(struct bytes a, struct bytes b);

/* The same after folding A-Z to a-z. Only ASCII is folded: names are ASCII in
 * practice, and the result must not depend on a locale or a Unicode version. */
int bytes_cmp_fold(struct bytes a, struct bytes b);
bool bytes_eq_fold(struct bytes a, struct bytes b);

/* Eight bytes of b from `at` (<= b.n) on as one big-endian number, zeroes for
 * what is behind its end: such numbers compare as their bytes do. With `fold`
 * as their folded bytes do. */
uint64_t bytes_eight(struct bytes b, size_t at, bool fold);

/* How many bytes a and b begin with in common. */
size_t bytes_common(struct bytes a, struct bytes b, bool fold);

bool bytes_starts(struct bytes b, struct bytes prefix);
bool bytes_ends(struct bytes b, struct bytes suffix);

/* Offset of the first c, or b.n. */
size_t bytes_find(struct bytes b, char c);

/* b without its first k bytes; k is cut to b.n. */
static inline struct bytes bytes_skip(struct bytes b, size_t k)
{
    k = k < b.n ? k : b.n;
    return (struct bytes){b.n ? b.p + k : b.p, b.n - k};
}

static inline struct bytes bytes_head(struct bytes b, size_t k)
{
    return (struct bytes){b.p, k < b.n ? k : b.n};
}

/* A copy of b at *at, which goes on behind it: for a block whose end holds all its
 * texts. */
static inline struct bytes bytes_append(char **at, struct bytes b)
{
    struct bytes copy = {*at, b.n};

    if (b.n)
        memcpy(*at, b.p, b.n);
    *at += b.n;
    return copy;
}

/* All of b as a decimal number without sign. ERR_BAD: empty, another byte;
 * ERR_LIMIT: over UINT64_MAX. */
MUST_USE enum err bytes_u64(struct bytes b, uint64_t *ret);

/* Go's strconv.ParseBool: 1 t T TRUE true True 0 f F FALSE false False. */
MUST_USE enum err bytes_bool(struct bytes b, bool *ret);

/* Strict UTF-8 (no surrogates, no overlong forms, at most U+10FFFF). */
bool bytes_utf8(struct bytes b);

/* 64-bit XXH3 hash. Same bytes and seed, same hash, on every machine. */
uint64_t bytes_hash(struct bytes b, uint64_t seed);

/* 8-4-4-4-12 hexadecimal digits, either case. */
bool bytes_uuid(struct bytes b);

/* Writes 36 characters and a NUL: a version 4 UUID from 16 random bytes. */
void uuid_format(const uint8_t random[16], char ret[37]);

#endif
