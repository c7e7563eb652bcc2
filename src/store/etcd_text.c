/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "store/etcd_text.h"

/* --- Steps --------------------------------------------------------------- */

static void blanks(struct text *t)
{
    while (t->p < t->end &&
           (*t->p == ' ' || *t->p == '\n' || *t->p == '\r' || *t->p == '\t'))
        t->p++;
}

static char peek(struct text *t)
{
    blanks(t);
    return t->p < t->end ? *t->p : '\0';
}

static bool take(struct text *t, char c)
{
    if (t->bad || peek(t) != c || t->p == t->end)
        return false;
    t->p++;
    return true;
}

static void want(struct text *t, char c)
{
    if (!take(t, c))
        t->bad = true;
}

void text_object(struct text *t)
{
    want(t, '{');
    t->first = true;
}

void text_array(struct text *t)
{
    want(t, '[');
    t->first = true;
}

/* True: another one follows. */
static bool next(struct text *t, char close)
{
    if (t->bad)
        return false;
    if (take(t, close)) {
        t->first = false;
        return false;
    }
    if (!t->first)
        want(t, ',');
    t->first = false;
    return !t->bad;
}

bool text_member(struct text *t, struct bytes *ret_name)
{
    if (!next(t, '}'))
        return false;
    *ret_name = text_string(t);
    want(t, ':');
    return !t->bad;
}

bool text_item(struct text *t)
{
    return next(t, ']');
}

/* --- Values -------------------------------------------------------------- */

struct bytes text_string(struct text *t)
{
    want(t, '"');
    if (t->bad)
        return (struct bytes){0};
    const char *from = t->p;

    while (t->p < t->end && *t->p != '"')
        t->p += *t->p == '\\' && t->p + 1 < t->end ? 2 : 1;
    struct bytes s = bytes_of(from, (size_t)(t->p - from));
    want(t, '"');
    return t->bad ? (struct bytes){0} : s;
}

/* A number, true, false or null. */
static struct bytes word(struct text *t)
{
    (void)peek(t);
    const char *from = t->p;

    while (t->p < t->end && *t->p != ',' && *t->p != '}' && *t->p != ']' &&
           *t->p > ' ' && *t->p != '"')
        t->p++;
    if (t->p == from)
        t->bad = true;
    return bytes_of(from, (size_t)(t->p - from));
}

uint64_t text_u64(struct text *t)
{
    struct bytes s = peek(t) == '"' ? text_string(t) : word(t);
    uint64_t n = 0;

    if (t->bad || bytes_u64(s, &n) != ERR_OK) {
        t->bad = true;
        return 0;
    }
    return n;
}

bool text_bool(struct text *t)
{
    struct bytes s = word(t);

    if (!bytes_is(s, "true") && !bytes_is(s, "false"))
        t->bad = true;
    return !t->bad && bytes_is(s, "true");
}

void text_skip(struct text *t)
{
    int depth = 0;

    do {
        char c = peek(t);

        if (c == '{' || c == '[') {
            depth++;
            t->p++;
        } else if (depth && (c == '}' || c == ']')) {
            depth--;
            t->p++;
        } else if (depth && (c == ',' || c == ':')) {
            t->p++;
        } else if (c == '"') {
            (void)text_string(t);
        } else {
            (void)word(t);
        }
        t->bad |= depth > TEXT_DEPTH_MAX;
    } while (depth && !t->bad);
}

bool text_end(struct text *t)
{
    blanks(t);
    return !t->bad && t->p == t->end;
}

/* --- Base64 (RFC 4648 section 4) ----------------------------------------- */

static int digit_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* The last four, of which up to two are padding. False: not base64. */
static bool put_last(struct buf *out, const char *p)
{
    int d[4], n = p[3] != '=' ? 4 : p[2] != '=' ? 3 : 2;

    for (int i = 0; i < 4; i++) {
        d[i] = i < n ? digit_of(p[i]) : 0;
        if (d[i] < 0)
            return false;
    }
    unsigned v =
        (unsigned)(d[0] << 18) | (unsigned)(d[1] << 12 | d[2] << 6 | d[3]);

    for (int i = 0; i < n - 1; i++)
        buf_putc(out, (char)(v >> (16 - 8 * i)));
    /* What does not fit a byte must be zero, or two texts mean one. */
    return n == 4 || (v & (n == 3 ? 0xffU : 0xffffU)) == 0;
}

void text_base64(struct text *t, struct buf *out)
{
    struct bytes s = text_string(t);
    char *to = buf_room(out, s.n / 4 * 3 + 3);

    t->bad |= s.n % 4 != 0;
    if (t->bad || !to || s.n == 0)
        return;
    for (; s.n > 4; s = bytes_skip(s, 4)) {
        int a = digit_of(s.p[0]), b = digit_of(s.p[1]), c = digit_of(s.p[2]),
            d = digit_of(s.p[3]);

        if ((a | b | c | d) < 0) {
            t->bad = true;
            return;
        }
        out->p[out->n++] = (char)(a << 2 | b >> 4);
        out->p[out->n++] = (char)(b << 4 | c >> 2);
        out->p[out->n++] = (char)(c << 6 | d);
    }
    if (!put_last(out, s.p))
        t->bad = true;
}

void text_put_base64(struct buf *out, struct bytes v)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *to = buf_room(out, (v.n + 2) / 3 * 4);

    if (!to)
        return;
    for (size_t i = 0; i < v.n; i += 3) {
        unsigned x = (unsigned)(unsigned char)v.p[i] << 16;

        if (i + 1 < v.n)
            x |= (unsigned)(unsigned char)v.p[i + 1] << 8;
        if (i + 2 < v.n)
            x |= (unsigned)(unsigned char)v.p[i + 2];
        *to++ = digits[x >> 18];
        *to++ = digits[x >> 12 & 63];
        *to++ = i + 1 < v.n ? digits[x >> 6 & 63] : '=';
        *to++ = i + 2 < v.n ? digits[x & 63] : '=';
    }
    out->n += (v.n + 2) / 3 * 4;
}

void text_put_bytes(struct buf *out, const char *name, struct bytes v)
{
    buf_putc(out, '"');
    buf_puts(out, name);
    buf_puts(out, "\":\"");
    text_put_base64(out, v);
    buf_putc(out, '"');
}

void text_put_u64(struct buf *out, const char *name, uint64_t v)
{
    buf_putc(out, '"');
    buf_puts(out, name);
    buf_puts(out, "\":\"");
    buf_u64(out, v);
    buf_putc(out, '"');
}
