/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "store/etcd_wire.h"

#include <stdio.h>

enum {
    TYPE_VARINT = 0,
    TYPE_I64 = 1,
    TYPE_BYTES = 2,
    TYPE_I32 = 5,
    LENGTH_BYTES = 4, /* of wire_begin */
};

/* Not read_varint: here a number may be longer than it needs to be. */
static uint64_t read_number(struct reader *r)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint64_t b = read_u8(r);

        v |= (b & 0x7f) << shift;
        if (!(b & 0x80))
            return r->bad ? 0 : v;
    }
    r->bad = true;
    return 0;
}

static struct bytes read_view(struct reader *r)
{
    uint64_t n = read_number(r);

    r->bad |= n > reader_left(r);
    return r->bad ? (struct bytes){0} : read_bytes(r, (size_t)n);
}

bool wire_next(struct wire *w)
{
    if (w->r.bad || reader_left(&w->r) == 0)
        return false;
    uint64_t tag = read_number(&w->r);

    w->field = tag >> 3;
    w->type = tag & 7;
    w->r.bad |= w->field == 0;
    return !w->r.bad;
}

uint64_t wire_u64(struct wire *w)
{
    w->r.bad |= w->type != TYPE_VARINT;
    return w->r.bad ? 0 : read_number(&w->r);
}

bool wire_bool(struct wire *w)
{
    return wire_u64(w) != 0;
}

struct bytes wire_bytes(struct wire *w)
{
    w->r.bad |= w->type != TYPE_BYTES;
    return w->r.bad ? (struct bytes){0} : read_view(&w->r);
}

void wire_skip(struct wire *w)
{
    switch (w->type) {
    case TYPE_VARINT:
        (void)read_number(&w->r);
        break;
    case TYPE_I64:
        (void)read_be64(&w->r);
        break;
    case TYPE_BYTES:
        (void)read_view(&w->r);
        break;
    case TYPE_I32:
        (void)read_be32(&w->r);
        break;
    default:
        w->r.bad = true;
    }
}

struct wire wire_enter(struct wire *w)
{
    return wire_over(wire_bytes(w));
}

void wire_leave(struct wire *w, const struct wire *inner)
{
    w->r.bad |= inner->r.bad;
}

bool wire_frame(struct bytes b, struct bytes *ret_message, bool *ret_bad)
{
    struct reader r = reader_over(b);

    *ret_bad = false;
    if (b.n < WIRE_FRAME_BYTES)
        return false;
    *ret_bad = read_u8(&r) != 0;
    size_t n = read_be32(&r);

    *ret_message = read_bytes(&r, n);
    return !r.bad && !*ret_bad;
}

/* --- Writing ------------------------------------------------------------- */

static void put_tag(struct buf *out, unsigned field, unsigned type)
{
    buf_varint(out, (uint64_t)field << 3 | type);
}

void wire_put_u64(struct buf *out, unsigned field, uint64_t v)
{
    put_tag(out, field, TYPE_VARINT);
    buf_varint(out, v);
}

void wire_put_bytes(struct buf *out, unsigned field, struct bytes v)
{
    put_tag(out, field, TYPE_BYTES);
    buf_lp(out, v);
}

size_t wire_begin(struct buf *out, unsigned field)
{
    put_tag(out, field, TYPE_BYTES);
    buf_put_n(out, "\0\0\0\0", LENGTH_BYTES);
    return out->n;
}

/* A varint may be longer than it needs to be. */
void wire_end(struct buf *out, size_t begun)
{
    size_t n = out->n - begun;

    if (out->bad)
        return;
    for (int i = 0; i < LENGTH_BYTES; i++, n >>= 7)
        out->p[begun - LENGTH_BYTES + (size_t)i] =
            (char)((n & 0x7f) | (i < LENGTH_BYTES - 1 ? 0x80 : 0));
}

void wire_frame_begin(struct buf *out)
{
    buf_reset(out);
    buf_put_n(out, "\0\0\0\0\0", WIRE_FRAME_BYTES);
}

void wire_frame_end(struct buf *out)
{
    if (out->bad)
        return;
    size_t n = out->n - WIRE_FRAME_BYTES;

    for (int i = 1; i < WIRE_FRAME_BYTES; i++)
        out->p[i] = (char)(n >> (8 * (WIRE_FRAME_BYTES - 1 - i)));
}

void wire_text_decode(struct buf *text)
{
    size_t to = 0;

    for (size_t i = 0; i < text->n; i++, to++) {
        unsigned v;

        if (text->p[i] == '%' && i + 2 < text->n &&
            sscanf((char[]){text->p[i + 1], text->p[i + 2], 0}, "%2x", &v) ==
                1) {
            text->p[to] = (char)v;
            i += 2;
        } else {
            text->p[to] = text->p[i];
        }
    }
    text->n = to;
}
