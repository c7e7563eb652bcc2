/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "http/json_out.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "http/json_scan.h"

/* Copied as they are: everything but control bytes, " \ < > & and what is not
 * ASCII (which must be looked at: it may not be UTF-8). DEL is safe, as in Go.
 */
static bool is_safe(unsigned char c)
{
    return c >= ' ' && c < 0x80 && c != '"' && c != '\\' && c != '<' &&
           c != '>' && c != '&';
}

#ifdef __SSE2__
/* A bit for each of 16 bytes that is not safe. */
static unsigned unsafe_16(const char *p)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    /* Signed: bytes from 0x80 are below zero, so below ' ' too. */
    __m128i bad = _mm_cmplt_epi8(v, _mm_set1_epi8(' '));
    /* '<' and '>' differ in one bit. */
    __m128i angle = _mm_or_si128(v, _mm_set1_epi8(2));

    bad = _mm_or_si128(bad, _mm_cmpeq_epi8(v, _mm_set1_epi8('"')));
    bad = _mm_or_si128(bad, _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
    bad = _mm_or_si128(bad, _mm_cmpeq_epi8(v, _mm_set1_epi8('&')));
    bad = _mm_or_si128(bad, _mm_cmpeq_epi8(angle, _mm_set1_epi8('>')));
    return (unsigned)_mm_movemask_epi8(bad);
}
#endif

/* How many bytes at the front are safe. */
static size_t safe_span(const char *p, size_t n)
{
    size_t i = 0;

#ifdef __SSE2__
    for (; n - i >= 16; i += 16) {
        unsigned bad = unsafe_16(p + i);
        if (bad)
            return i + (size_t)__builtin_ctz(bad);
    }
#endif
    while (i < n && is_safe((unsigned char)p[i]))
        i++;
    return i;
}

/* Length of the well-formed UTF-8 sequence at the front; 0: none. */
static size_t utf8_sequence(struct bytes b)
{
    unsigned char c = (unsigned char)b.p[0];
    size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

    return n <= b.n && bytes_utf8(bytes_head(b, n)) ? n : 0;
}

static void put_u_escape(struct buf *out, unsigned c)
{
    static const char digits[] = "0123456789abcdef";
    char esc[6] = {'\\',
                   'u',
                   digits[c >> 12 & 15],
                   digits[c >> 8 & 15],
                   digits[c >> 4 & 15],
                   digits[c & 15]};

    buf_put_n(out, esc, sizeof esc);
}

static void put_ascii_escape(struct buf *out, char c)
{
    switch (c) {
    case '"':
        buf_puts(out, "\\\"");
        break;
    case '\\':
        buf_puts(out, "\\\\");
        break;
    case '\n':
        buf_puts(out, "\\n");
        break;
    case '\r':
        buf_puts(out, "\\r");
        break;
    case '\t':
        buf_puts(out, "\\t");
        break;
    default:
        put_u_escape(out, (unsigned char)c);
    }
}

/* Writes what is at the front, which is not safe; returns its length. */
static size_t put_unsafe(struct buf *out, struct bytes b)
{
    if ((unsigned char)b.p[0] < 0x80) {
        put_ascii_escape(out, b.p[0]);
        return 1;
    }

    size_t n = utf8_sequence(b);
    if (n == 0) {
        put_u_escape(out, 0xfffd); /* one for each bad byte */
        return 1;
    }
    /* U+2028 and U+2029 end a line in JavaScript before ES2019. */
    if (n == 3 && memcmp(b.p, "\xe2\x80", 2) == 0 &&
        ((unsigned char)b.p[2] | 1) == 0xa9)
        put_u_escape(out, 0x2000 + ((unsigned char)b.p[2] & 0x3f));
    else
        buf_put_n(out, b.p, n);
    return n;
}

static void quote_rest(struct buf *out, struct bytes v)
{
    buf_putc(out, '"');
    while (v.n) {
        size_t n = safe_span(v.p, v.n);
        buf_put_n(out, v.p, n);
        v = bytes_skip(v, n);
        if (v.n)
            v = bytes_skip(v, put_unsafe(out, v));
    }
    buf_putc(out, '"');
}

void json_quote(struct buf *out, struct bytes v)
{
    if (safe_span(v.p, v.n) < v.n) {
        quote_rest(out, v);
        return;
    }

    char *to = buf_room(out, v.n + 2);
    if (!to)
        return;
    to[0] = '"';
    if (v.n)
        memcpy(to + 1, v.p, v.n);
    to[v.n + 1] = '"';
    out->n += v.n + 2;
}

/* Before any value or member. */
static void separate(struct json_out *j)
{
    if (j->comma)
        buf_putc(j->out, ',');
    j->comma = true;
}

void json_open(struct json_out *j, char bracket)
{
    separate(j);
    buf_putc(j->out, bracket);
    j->comma = false;
}

void json_close(struct json_out *j, char bracket)
{
    buf_putc(j->out, bracket);
    j->comma = true;
}

void json_key(struct json_out *j, const char *name)
{
    size_t n = strlen(name);
    char *to = buf_room(j->out, n + 4);

    if (!to)
        return;
    char *p = to;
    if (j->comma)
        *p++ = ',';
    *p++ = '"';
    memcpy(p, name, n);
    p += n;
    *p++ = '"';
    *p++ = ':';
    j->out->n += (size_t)(p - to);
    j->comma = false;
}

void json_key_bytes(struct json_out *j, struct bytes name)
{
    separate(j);
    json_quote(j->out, name);
    buf_putc(j->out, ':');
    j->comma = false;
}

void json_str(struct json_out *j, struct bytes v)
{
    separate(j);
    json_quote(j->out, v);
}

void json_u64(struct json_out *j, uint64_t v)
{
    separate(j);
    buf_u64(j->out, v);
}

void json_i64(struct json_out *j, int64_t v)
{
    separate(j);
    buf_i64(j->out, v);
}

void json_bool(struct json_out *j, bool v)
{
    separate(j);
    buf_puts(j->out, v ? "true" : "false");
}

void json_nil(struct json_out *j)
{
    separate(j);
    buf_puts(j->out, "null");
}

void json_raw(struct json_out *j, struct bytes text)
{
    separate(j);
    buf_put(j->out, text);
}

enum { DOUBLE_DIGITS = 17 }; /* enough for any double to read back the same */

/* The fewest decimal digits that read back as v > 0: "d.ddde[+-]xx". */
static void shortest(double v, char text[32])
{
    for (int digits = 1; digits <= DOUBLE_DIGITS; digits++) {
        (void)snprintf(text, 32, "%.*e", digits - 1, v);
        if (strtod(text, NULL) == v)
            return;
    }
}

/* Digits without an exponent: value = 0.d1d2d3... * 10^point. */
static void put_plain(struct buf *out, const char *digits, int n, int point)
{
    if (point <= 0) {
        buf_puts(out, "0.");
        for (int i = point; i < 0; i++)
            buf_putc(out, '0');
        buf_put_n(out, digits, (size_t)n);
        return;
    }
    for (int i = 0; i < n || i < point; i++) {
        if (i == point)
            buf_putc(out, '.');
        buf_putc(out, i < n ? digits[i] : '0');
    }
}

static void put_exponent(struct buf *out, const char *digits, int n,
                         int exponent)
{
    buf_putc(out, digits[0]);
    if (n > 1) {
        buf_putc(out, '.');
        buf_put_n(out, digits + 1, (size_t)(n - 1));
    }
    buf_puts(out, exponent < 0 ? "e-" : "e+");
    buf_u64(out, (uint64_t)abs(exponent));
}

void json_double(struct json_out *j, double v)
{
    char text[32];
    char digits[DOUBLE_DIGITS];
    int n = 0;

    if (isnan(v) || isinf(v)) {
        json_nil(j);
        return;
    }
    separate(j);
    if (signbit(v))
        buf_putc(j->out, '-');
    v = fabs(v);
    if (v == 0) {
        buf_putc(j->out, '0');
        return;
    }

    shortest(v, text);
    const char *p = text;
    for (; *p != 'e'; p++)
        if (*p != '.')
            digits[n++] = *p;
    int exponent = atoi(p + 1);

    /* Where Go's encoder changes form. */
    if (v < 1e-6 || v >= 1e21)
        put_exponent(j->out, digits, n, exponent);
    else
        put_plain(j->out, digits, n, exponent + 1);
}

static void new_line(struct buf *out, size_t depth)
{
    buf_putc(out, '\n');
    while (depth--)
        buf_puts(out, "    ");
}

void json_pretty(struct buf *out, struct bytes compact)
{
    size_t depth = 0;
    size_t i = 0;

    while (i < compact.n) {
        struct bytes rest = bytes_skip(compact, i);
        char c = rest.p[0];
        char after = rest.n > 1 ? rest.p[1] : '\0';
        size_t n = c == '"' ? json_string_span(rest) : 1;

        if ((c == '}' || c == ']') && depth > 0)
            new_line(out, --depth);
        buf_put_n(out, rest.p, n);
        if (c == '{' || c == '[') {
            if (after == '}' || after == ']') { /* empty: stays together */
                buf_putc(out, after);
                n++;
            } else {
                new_line(out, ++depth);
            }
        } else if (c == ',') {
            new_line(out, depth);
        } else if (c == ':') {
            buf_putc(out, ' ');
        }
        i += n;
    }
    buf_putc(out, '\n');
}

void json_member_str(struct json_out *j, const char *name, struct bytes v)
{
    json_key(j, name);
    json_str(j, v);
}

void json_member_u64(struct json_out *j, const char *name, uint64_t v)
{
    json_key(j, name);
    json_u64(j, v);
}

void json_member_bool(struct json_out *j, const char *name, bool v)
{
    json_key(j, name);
    json_bool(j, v);
}
