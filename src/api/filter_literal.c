/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Strings and numbers as Go writes them. */
#include <stdlib.h>

#include "api/filter_impl.h"

/* --- Strings -------------------------------------------------------------- */

static void put_utf8(char **to, uint32_t c)
{
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    int n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    if (n == 1) {
        *(*to)++ = (char)c;
        return;
    }
    *(*to)++ = (char)(lead[n] | c >> 6 * (n - 1));
    for (int i = n - 2; i >= 0; i--)
        *(*to)++ = (char)(0x80 | (c >> 6 * i & 0x3f));
}

/* Exactly n digits to the base; moves past them. */
static bool take_digits(struct bytes *rest, size_t n, unsigned base,
                        uint32_t *ret)
{
    uint32_t v = 0;
    if (rest->n < n)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = rest->p[i];
        unsigned d = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                     : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                     : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A' + 10)
                                            : 99u;
        if (d >= base)
            return false;
        v = v * base + d;
    }
    *rest = bytes_skip(*rest, n);
    *ret = v;
    return true;
}

/* After the backslash. \x and \ooo are bytes, \u and \U characters. */
static bool escape(struct bytes *rest, char **to)
{
    static const char letters[] = "abfnrtv\\", codes[] = "\a\b\f\n\r\t\v\\";
    uint32_t v = 0;
    if (!rest->n)
        return false;
    char c = rest->p[0];
    const char *plain = c ? strchr(letters, c) : NULL;
    if (plain) {
        *rest = bytes_skip(*rest, 1);
        *(*to)++ = codes[plain - letters];
        return true;
    }
    if (c >= '0' && c <= '7') {
        if (!take_digits(rest, 3, 8, &v) || v > 255)
            return false;
        *(*to)++ = (char)v;
        return true;
    }
    *rest = bytes_skip(*rest, 1);
    if (c == 'x') {
        if (!take_digits(rest, 2, 16, &v))
            return false;
        *(*to)++ = (char)v;
        return true;
    }
    size_t n = c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (!n || !take_digits(rest, n, 16, &v) || v > 0x10ffff ||
        (v >= 0xd800 && v < 0xe000))
        return false;
    put_utf8(to, v);
    return true;
}

enum err filter_unquote(struct bytes inner, struct arena *a, struct bytes *ret)
{
    *ret = inner;
    if (bytes_find(inner, '\n') < inner.n)
        return ERR_BAD;
    if (bytes_find(inner, '\\') == inner.n)
        return ERR_OK;
    char *start = arena_alloc(a, inner.n), *to = start; /* it only shrinks */
    if (!start)
        return ERR_NOMEM;
    while (inner.n) {
        char c = inner.p[0];
        inner = bytes_skip(inner, 1);
        if (c != '\\')
            *to++ = c;
        else if (!escape(&inner, &to))
            return ERR_BAD;
    }
    *ret = bytes_of(start, (size_t)(to - start));
    return ERR_OK;
}

/* Length of the UTF-8 sequence at the start of b, 0 if there is none. */
static size_t sequence(struct bytes b)
{
    for (size_t n = 1; n <= 4 && n <= b.n; n++)
        if (bytes_utf8(bytes_head(b, n)))
            return n;
    return 0;
}

void filter_quote(struct buf *out, struct bytes text)
{
    static const char letters[] = "abfnrtv", codes[] = "\a\b\f\n\r\t\v";
    buf_putc(out, '"');
    while (text.n) {
        size_t n = sequence(text);
        char c = text.p[0];
        const char *code = n == 1 && c ? strchr(codes, c) : NULL;
        if (code)
            buf_printf(out, "\\%c", letters[code - codes]);
        else if (n == 1 && (c == '"' || c == '\\'))
            buf_printf(out, "\\%c", c);
        else if (n == 0 || (n == 1 && ((unsigned char)c < 0x20 || c == 0x7f)))
            buf_printf(out, "\\x%02x", (unsigned char)c);
        else
            buf_put(out, bytes_head(text, n));
        text = bytes_skip(text, n ? n : 1);
    }
    buf_putc(out, '"');
}

/* --- Numbers -------------------------------------------------------------- */

static unsigned digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    c |= 0x20;
    return c >= 'a' && c <= 'z' ? (unsigned)(c - 'a' + 10) : 99u;
}

/* 0x 0o 0b and a leading 0; moves past the prefix. */
static unsigned take_base(struct bytes *b)
{
    if (b->n < 1 || b->p[0] != '0')
        return 10;
    char c = b->n >= 3 ? (char)(b->p[1] | 0x20) : '\0';
    unsigned base = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 0;
    *b = bytes_skip(*b, base ? 2 : 1);
    return base ? base : 8;
}

/* Underscores stand between digits, or between the base and a digit. */
static bool underscores_fit(struct bytes b, bool after_base)
{
    bool digit = after_base;
    for (size_t i = 0; i < b.n; i++) {
        if (b.p[i] == '_' && !digit)
            return false;
        digit = b.p[i] != '_';
    }
    return digit || b.n == 0;
}

enum err filter_int(struct bytes text, int64_t *ret)
{
    bool negative = text.n && text.p[0] == '-';
    if (negative || (text.n && text.p[0] == '+'))
        text = bytes_skip(text, 1);
    if (!text.n)
        return ERR_BAD;
    struct bytes b = text;
    unsigned base = take_base(&b);
    uint64_t limit = (uint64_t)INT64_MAX + negative, v = 0;
    for (size_t i = 0; i < b.n; i++) {
        if (b.p[i] == '_')
            continue;
        unsigned d = digit_value(b.p[i]);
        if (d >= base)
            return ERR_BAD;
        if (v > (UINT64_MAX - d) / base)
            return ERR_LIMIT;
        v = v * base + d;
    }
    if (!underscores_fit(b, b.p != text.p))
        return ERR_BAD;
    if (v > limit)
        return ERR_LIMIT;
    *ret = negative ? (int64_t)(0 - v) : (int64_t)v;
    return ERR_OK;
}
