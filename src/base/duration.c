/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "base/duration.h"

/* Follows Go's time.ParseDuration and Duration.String, because clients and
 * tests compare texts. A duration is a sign and then one or more of
 * digits[.digits]unit; "0" alone needs no unit. */

#define MAX_NS ((uint64_t)1 << 63) /* reached by the most negative one only */

enum { QUOTED_MAX = sizeof(struct errtext) + 8 };

struct quoted {
    char s[QUOTED_MAX];
};

/* Go's time.quote: other than printable ASCII as \xNN. What does not fit is
 * left out: longer than any errtext, so it is cut there visibly. */
static struct quoted quote(struct bytes b)
{
    static const char hex[] = "0123456789abcdef";
    struct quoted q;
    size_t n = 0;

    q.s[n++] = '"';
    for (size_t i = 0; i < b.n && n < sizeof q.s - 6; i++) {
        unsigned char c = (unsigned char)b.p[i];
        if (c < 0x20 || c >= 0x80) {
            q.s[n++] = '\\';
            q.s[n++] = 'x';
            q.s[n++] = hex[c >> 4];
            q.s[n++] = hex[c & 0x0f];
            continue;
        }
        if (c == '"' || c == '\\')
            q.s[n++] = '\\';
        q.s[n++] = (char)c;
    }
    q.s[n++] = '"';
    q.s[n] = '\0';
    return q;
}

static uint64_t unit_ns(struct bytes unit)
{
    static const struct {
        const char *name;
        uint64_t ns;
    } units[] = {
        {"ns", 1},           {"us", 1000},
        {"\xc2\xb5s", 1000}, /* U+00B5, micro sign */
        {"\xce\xbcs", 1000}, /* U+03BC, Greek mu */
        {"ms", 1000000},     {"s", 1000000000},
        {"m", 60000000000},  {"h", 3600000000000},
    };

    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (bytes_is(unit, units[i].name))
            return units[i].ns;
    return 0;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Takes the digits at the start of *s; false when over MAX_NS. */
static bool take_int(struct bytes *s, uint64_t *ret)
{
    uint64_t v = 0;

    for (; s->n && is_digit(s->p[0]); *s = bytes_skip(*s, 1)) {
        if (v > MAX_NS / 10)
            return false;
        v = v * 10 + (uint64_t)(s->p[0] - '0');
        if (v > MAX_NS)
            return false;
    }
    *ret = v;
    return true;
}

/* Takes the digits behind a point; digits too small to count are dropped. */
static void take_fraction(struct bytes *s, uint64_t *ret, double *ret_scale)
{
    uint64_t v = 0;
    double scale = 1;
    bool full = false;

    for (; s->n && is_digit(s->p[0]); *s = bytes_skip(*s, 1)) {
        uint64_t next = v * 10 + (uint64_t)(s->p[0] - '0');
        full = full || v > (MAX_NS - 1) / 10 || next > MAX_NS;
        if (full)
            continue;
        v = next;
        scale *= 10;
    }
    *ret = v;
    *ret_scale = scale;
}

struct term {
    uint64_t whole, fraction; /* value = whole + fraction / scale */
    double scale;
};

/* False: no number here, or one that is too large. */
static bool take_number(struct bytes *s, struct term *ret)
{
    size_t before = s->n, digits;

    *ret = (struct term){.scale = 1};
    if (!take_int(s, &ret->whole))
        return false;
    digits = before - s->n;
    if (s->n && s->p[0] == '.') {
        *s = bytes_skip(*s, 1);
        before = s->n;
        take_fraction(s, &ret->fraction, &ret->scale);
        digits += before - s->n;
    }
    return digits > 0;
}

static struct bytes take_unit(struct bytes *s)
{
    size_t n = 0;

    while (n < s->n && s->p[n] != '.' && !is_digit(s->p[n]))
        n++;
    struct bytes unit = bytes_head(*s, n);
    *s = bytes_skip(*s, n);
    return unit;
}

/* Adds number times unit to *sum_ns; false past MAX_NS. */
static bool add_term(const struct term *t, uint64_t unit, uint64_t *sum_ns)
{
    uint64_t v;

    if (t->whole > MAX_NS / unit)
        return false;
    v = t->whole * unit;
    /* In Go's order of operations, or the last nanosecond differs. */
    if (t->fraction)
        v += (uint64_t)((double)t->fraction * ((double)unit / t->scale));
    if (v > MAX_NS || v > MAX_NS - *sum_ns)
        return false;
    *sum_ns += v;
    return true;
}

static enum err invalid(struct bytes all, struct errtext *t)
{
    errtext_set(t, "time: invalid duration %s", quote(all).s);
    return ERR_BAD;
}

static enum err parse_terms(struct bytes s, struct bytes all, uint64_t *ret_ns,
                            struct errtext *t)
{
    uint64_t sum_ns = 0;

    while (s.n) {
        struct term number;
        if (!take_number(&s, &number))
            return invalid(all, t);
        struct bytes unit = take_unit(&s);
        if (unit.n == 0) {
            errtext_set(t, "time: missing unit in duration %s", quote(all).s);
            return ERR_BAD;
        }
        uint64_t ns = unit_ns(unit);
        if (ns == 0) {
            errtext_set(t, "time: unknown unit %s in duration %s",
                        quote(unit).s, quote(all).s);
            return ERR_BAD;
        }
        if (!add_term(&number, ns, &sum_ns))
            return invalid(all, t);
    }
    *ret_ns = sum_ns;
    return ERR_OK;
}

enum err duration_parse(struct bytes b, int64_t *ret_ns, struct errtext *t)
{
    bool negative = b.n && b.p[0] == '-';
    struct bytes s = bytes_skip(b, b.n && (negative || b.p[0] == '+'));
    uint64_t ns;

    if (bytes_is(s, "0")) {
        *ret_ns = 0;
        return ERR_OK;
    }
    if (s.n == 0)
        return invalid(b, t);
    enum err e = parse_terms(s, b, &ns, t);
    if (e != ERR_OK)
        return e;
    if (ns == MAX_NS && !negative)
        return invalid(b, t);
    if (!negative)
        *ret_ns = (int64_t)ns;
    else
        *ret_ns = ns == MAX_NS ? INT64_MIN : -(int64_t)ns;
    return ERR_OK;
}

/* v / 10^digits without trailing zeros. */
static void put_decimal(struct buf *out, uint64_t v, unsigned digits)
{
    char fraction[9];
    size_t n = 0;

    for (unsigned i = digits; i-- > 0; v /= 10) {
        fraction[i] = (char)('0' + v % 10);
        if (n == 0 && fraction[i] != '0')
            n = i + 1;
    }
    buf_u64(out, v);
    if (n) {
        buf_putc(out, '.');
        buf_put_n(out, fraction, n);
    }
}

void duration_print(struct buf *out, int64_t ns)
{
    const uint64_t second = 1000000000;
    uint64_t u = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    uint64_t minutes = u / second / 60;

    if (ns < 0)
        buf_putc(out, '-');
    if (u == 0) {
        buf_puts(out, "0s");
    } else if (u < 1000) {
        put_decimal(out, u, 0);
        buf_puts(out, "ns");
    } else if (u < 1000000) {
        put_decimal(out, u, 3);
        buf_puts(out, "\xc2\xb5s");
    } else if (u < second) {
        put_decimal(out, u, 6);
        buf_puts(out, "ms");
    } else {
        if (minutes >= 60) {
            buf_u64(out, minutes / 60);
            buf_putc(out, 'h');
        }
        if (minutes > 0) {
            buf_u64(out, minutes % 60);
            buf_putc(out, 'm');
        }
        put_decimal(out, u % (60 * second), 9);
        buf_putc(out, 's');
    }
}
