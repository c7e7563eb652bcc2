/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                             "abcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_put(struct buf *out, struct bytes in)
{
    for (size_t i = 0; i < in.n; i += 3) {
        unsigned v = (unsigned)(unsigned char)in.p[i] << 16;
        size_t left = in.n - i;
        if (left > 1)
            v |= (unsigned)(unsigned char)in.p[i + 1] << 8;
        if (left > 2)
            v |= (unsigned char)in.p[i + 2];
        buf_putc(out, digits[v >> 18]);
        buf_putc(out, digits[v >> 12 & 63]);
        buf_putc(out, left > 1 ? digits[v >> 6 & 63] : '=');
        buf_putc(out, left > 2 ? digits[v & 63] : '=');
    }
}

/* 64: none. */
static unsigned value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (unsigned)(c - 'A');
    if (c >= 'a' && c <= 'z')
        return (unsigned)(c - 'a' + 26);
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0' + 52);
    return c == '+' ? 62 : c == '/' ? 63 : 64;
}

/* Four characters, of which the last `pad` are padding. */
static enum err group(const char *p, size_t pad, struct buf *out)
{
    unsigned v = 0;

    for (size_t i = 0; i < 4; i++) {
        unsigned d = i >= 4 - pad ? 0 : value_of(p[i]);
        if (d > 63)
            return ERR_BAD;
        v = v << 6 | d;
    }
    if (pad && (v & (pad == 1 ? 0xffu : 0xffffu)))
        return ERR_BAD;
    for (size_t i = 0; i < 3 - pad; i++)
        buf_putc(out, (char)(v >> (16 - 8 * i) & 0xff));
    return ERR_OK;
}

enum err base64_get(struct bytes text, struct buf *out)
{
    if (text.n % 4)
        return ERR_BAD;
    for (size_t i = 0; i < text.n; i += 4) {
        bool last = i + 4 == text.n;
        size_t pad = !last || text.p[i + 3] != '=' ? 0
                     : text.p[i + 2] != '='        ? 1
                                                   : 2;
        if (group(text.p + i, pad, out) != ERR_OK)
            return ERR_BAD;
    }
    return ERR_OK;
}
