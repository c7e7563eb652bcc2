/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { BUF_FIRST_BYTES = 64 };

void buf_init(struct buf *b, size_t max_bytes)
{
    *b = (struct buf){.max = max_bytes};
}

void buf_fini(struct buf *b)
{
    free(b->p);
    buf_init(b, b->max);
}

void buf_reset(struct buf *b)
{
    b->n = 0;
    b->bad = false;
}

/* Memory is always one byte more than cap says: for the NUL that vsnprintf and
 * buf_take put behind the content. cap never exceeds max, so the fast path in
 * the header need not look at max. */
static bool grow(struct buf *b, size_t need)
{
    size_t limit = b->max && b->max < SIZE_MAX / 2 ? b->max : SIZE_MAX / 2;
    size_t cap = b->cap < BUF_FIRST_BYTES ? BUF_FIRST_BYTES : b->cap * 2;

    if (need > limit)
        return false;
    if (cap < need)
        cap = need;
    if (cap > limit)
        cap = limit;
    char *p = realloc(b->p, cap + 1);
    if (!p)
        return false;
    b->p = p;
    b->cap = cap;
    return true;
}

char *buf_room(struct buf *b, size_t k)
{
    if (b->bad)
        return NULL;
    if (k > SIZE_MAX - b->n ||
        ((b->n + k > b->cap || !b->p) && !grow(b, b->n + k))) {
        b->bad = true;
        return NULL;
    }
    return b->p + b->n;
}

void buf_grow_put(struct buf *b, const void *p, size_t n)
{
    char *to = n ? buf_room(b, n) : NULL;

    if (!to)
        return;
    memcpy(to, p, n);
    b->n += n;
}

enum { U64_DIGITS = 20 };

void buf_u64(struct buf *b, uint64_t v)
{
    char digits[U64_DIGITS];
    size_t at = sizeof digits;

    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    buf_put_n(b, digits + at, sizeof digits - at);
}

void buf_i64(struct buf *b, int64_t v)
{
    if (v < 0)
        buf_putc(b, '-');
    buf_u64(b, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args;

    if (b->bad)
        return;
    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0) {
        b->bad = true;
        return;
    }
    char *to = buf_room(b, (size_t)n);
    if (!to)
        return;
    va_start(args, fmt);
    (void)vsnprintf(to, (size_t)n + 1, fmt, args);
    va_end(args);
    b->n += (size_t)n;
}

void buf_put_fold(struct buf *b, struct bytes v)
{
    char *to = v.n ? buf_room(b, v.n) : NULL;

    if (!to)
        return;
    for (size_t i = 0; i < v.n; i++) {
        char c = v.p[i];
        to[i] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    b->n += v.n;
}

void buf_varint(struct buf *b, uint64_t v)
{
    char out[10];
    size_t n = 0;

    while (v >= 0x80) {
        out[n++] = (char)(v | 0x80);
        v >>= 7;
    }
    out[n++] = (char)v;
    buf_put_n(b, out, n);
}

static void put_be(struct buf *b, uint64_t v, size_t n)
{
    char out[8];

    for (size_t i = n; i-- > 0; v >>= 8)
        out[i] = (char)v;
    buf_put_n(b, out, n);
}

void buf_be32(struct buf *b, uint32_t v)
{
    put_be(b, v, 4);
}

void buf_be64(struct buf *b, uint64_t v)
{
    put_be(b, v, 8);
}

void buf_lp(struct buf *b, struct bytes v)
{
    buf_varint(b, v.n);
    buf_put(b, v);
}

char *buf_take(struct buf *b, size_t *ret_n)
{
    char *p = NULL;

    if (!buf_room(b, 0))
        goto out;
    /* What is taken is kept for long: give back the slack. Shrinking cannot
     * really fail, and if it does the larger block is as good. */
    p = realloc(b->p, b->n + 1);
    if (!p)
        p = b->p;
    b->p = NULL;
    p[b->n] = '\0';
    if (ret_n)
        *ret_n = b->n;
out:
    buf_fini(b);
    return p;
}
