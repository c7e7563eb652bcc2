/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* reader - takes a byte string apart without a pointer in anybody's hand.
 *
 * The error is sticky: reading past the end gives zeros and sets `bad`; read
 * the whole structure, check once. Views returned point into the input. */
#ifndef BASE_READER_H
#define BASE_READER_H

#include "base/bytes.h"

struct reader {
    const uint8_t *p;
    size_t n;
    size_t at;
    bool bad;
};

static inline struct reader reader_over(struct bytes b)
{
    return (struct reader){(const uint8_t *)b.p, b.n, 0, false};
}

static inline size_t reader_left(const struct reader *r)
{
    return r->n - r->at;
}

uint8_t read_u8(struct reader *r);
uint32_t read_be32(struct reader *r);
uint64_t read_be64(struct reader *r);

/* LEB128, shortest form only, at most 10 bytes; anything else is bad. */
uint64_t read_varint(struct reader *r);

struct bytes read_bytes(struct reader *r, size_t n);

/* A varint length, then so many bytes. */
struct bytes read_lp(struct reader *r);

#endif
