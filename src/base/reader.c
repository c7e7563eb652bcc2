/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "base/reader.h"

/* Where the next n bytes are, or NULL. After a failure nothing is left, so a
 * loop "while (reader_left(r))" ends too. */
static const uint8_t *take(struct reader *r, size_t n)
{
    if (r->bad || n > reader_left(r)) {
        r->bad = true;
        r->at = r->n;
        return NULL;
    }
    const uint8_t *p = r->p + r->at;
    r->at += n;
    return p;
}

static uint64_t take_be(struct reader *r, size_t n)
{
    const uint8_t *p = take(r, n);
    uint64_t v = 0;

    for (size_t i = 0; p && i < n; i++)
        v = v << 8 | p[i];
    return v;
}

uint8_t read_u8(struct reader *r)
{
    return (uint8_t)take_be(r, 1);
}

uint32_t read_be32(struct reader *r)
{
    return (uint32_t)take_be(r, 4);
}

uint64_t read_be64(struct reader *r)
{
    return take_be(r, 8);
}

uint64_t read_varint(struct reader *r)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = read_u8(r);
        if (r->bad)
            return 0;
        if (shift == 63 && byte > 1) /* over 64 bits, or an eleventh byte */
            break;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte & 0x80)
            continue;
        if (byte == 0 && shift > 0) /* a shorter form exists */
            break;
        return v;
    }
    r->bad = true;
    r->at = r->n;
    return 0;
}

struct bytes read_bytes(struct reader *r, size_t n)
{
    /* Nothing from nothing: an empty input has no address to offset. */
    if (n == 0)
        return (struct bytes){NULL, 0};
    const uint8_t *p = take(r, n);
    return p ? bytes_of(p, n) : (struct bytes){NULL, 0};
}

struct bytes read_lp(struct reader *r)
{
    uint64_t n = read_varint(r);

    if (n > reader_left(r))
        n = SIZE_MAX; /* a 32-bit size_t must not cut it to something short */
    return read_bytes(r, (size_t)n);
}
