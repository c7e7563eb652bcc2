/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* buf - a growing byte buffer whose error is sticky.
 *
 * Write the whole thing, then ask once whether it went well: on lack of memory
 * or past the limit `bad` is set, what was there stays, further writes do
 * nothing. Owns its memory. Zero-initialised is an empty one without limit. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/bytes.h"

struct buf {
    char *p;
    size_t n;
    size_t cap;
    size_t max; /* bytes; 0: no limit of its own */
    bool bad;
};

void buf_init(struct buf *b, size_t max_bytes);
void buf_fini(struct buf *b);

/* Empty again, memory kept, bad cleared. */
void buf_reset(struct buf *b);

/* Makes room for k more bytes and returns where they go (then add to b->n), or
 * NULL with bad set. */
char *buf_room(struct buf *b, size_t k);

void buf_grow_put(struct buf *b, const void *p, size_t n);

static inline void buf_put_n(struct buf *b, const void *p, size_t n)
{
    if (n && !b->bad && b->n + n <= b->cap) {
        memcpy(b->p + b->n, p, n);
        b->n += n;
    } else {
        buf_grow_put(b, p, n);
    }
}

static inline void buf_put(struct buf *b, struct bytes v)
{
    buf_put_n(b, v.p, v.n);
}

static inline void buf_puts(struct buf *b, const char *s)
{
    buf_put_n(b, s, strlen(s));
}

static inline void buf_putc(struct buf *b, char c)
{
    buf_put_n(b, &c, 1);
}

void buf_u64(struct buf *b, uint64_t v); /* decimal */
void buf_i64(struct buf *b, int64_t v);  /* decimal */
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* A-Z written as a-z. */
void buf_put_fold(struct buf *b, struct bytes v);

/* Binary: see base/reader.h for the other direction. */
void buf_varint(struct buf *b, uint64_t v); /* LEB128 */
void buf_be32(struct buf *b, uint32_t v);
void buf_be64(struct buf *b, uint64_t v);
void buf_lp(struct buf *b, struct bytes v); /* varint length, bytes */

static inline struct bytes buf_bytes(const struct buf *b)
{
    return (struct bytes){b->p, b->n};
}

/* The content as heap memory (free() it), NUL-terminated beyond its length;
 * the buffer is empty afterwards, also when this gives NULL: bad, or out of
 * memory. */
char *buf_take(struct buf *b, size_t *ret_n);

#endif
