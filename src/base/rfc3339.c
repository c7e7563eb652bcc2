/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/rfc3339.h"

enum { MS_PER_S = 1000, S_PER_DAY = 86400, YEAR_MAX = 9999 };

/* 9999-12-31T23:59:59.999Z */
static const uint64_t last_ms = 253402300799999U;

/* --- Days (H. Hinnant, chrono-compatible low-level date algorithms) ------- */

/* Years begin in March, so that the leap day is the last one; eras are the 400
 * years after which the calendar repeats. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year -
           719468;
}

static void date_of(uint64_t days, uint64_t *year, uint64_t *month,
                    uint64_t *day)
{
    uint64_t z = days + 719468, era = z / 146097, of_era = z % 146097;
    uint64_t y =
        (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint64_t of_year = of_era - (365 * y + y / 4 - y / 100);
    uint64_t m = (5 * of_year + 2) / 153;

    *day = of_year - (153 * m + 2) / 5 + 1;
    *month = m < 10 ? m + 3 : m - 9;
    *year = y + era * 400 + (*month <= 2);
}

static int64_t days_in(int64_t year, int64_t month)
{
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    if (month == 2)
        return leap ? 29 : 28;
    return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

/* --- Reading ------------------------------------------------------------- */

struct text {
    struct bytes rest;
    bool bad;
};

static int64_t number(struct text *t, size_t digits, int64_t max)
{
    int64_t v = 0;

    for (size_t i = 0; i < digits; i++) {
        char c = i < t->rest.n ? t->rest.p[i] : 'x';

        t->bad |= c < '0' || c > '9';
        v = v * 10 + (c - '0');
    }
    t->rest = bytes_skip(t->rest, digits);
    t->bad |= v > max;
    return t->bad ? 0 : v;
}

static char one_of(struct text *t, const char *chars)
{
    char c = t->rest.n ? t->rest.p[0] : 0;

    if (!c || !strchr(chars, c)) {
        t->bad = true;
        return 0;
    }
    t->rest = bytes_skip(t->rest, 1);
    return c;
}

static int64_t fraction_ms(struct text *t)
{
    int64_t ms = 0, weight = 100;
    size_t n = 0;

    if (t->rest.n == 0 || t->rest.p[0] != '.')
        return 0;
    t->rest = bytes_skip(t->rest, 1);
    while (n < t->rest.n && t->rest.p[n] >= '0' && t->rest.p[n] <= '9') {
        ms += weight * (t->rest.p[n++] - '0');
        weight /= 10;
    }
    t->bad |= n == 0;
    t->rest = bytes_skip(t->rest, n);
    return ms;
}

static int64_t offset_s(struct text *t)
{
    char sign = one_of(t, "Zz+- ");

    if (t->bad || sign == 'Z' || sign == 'z')
        return 0;
    int64_t hours = number(t, 2, 23);

    (void)one_of(t, ":");
    int64_t s = hours * 3600 + number(t, 2, 59) * 60;

    return sign == '-' ? -s : s;
}

enum err rfc3339_parse(struct bytes b, uint64_t *ret_ms)
{
    struct text t = {b, false};
    int64_t year = number(&t, 4, YEAR_MAX);

    (void)one_of(&t, "-");
    int64_t month = number(&t, 2, 12);
    (void)one_of(&t, "-");
    int64_t day = number(&t, 2, 31);
    (void)one_of(&t, "Tt ");
    int64_t s = number(&t, 2, 23) * 3600;
    (void)one_of(&t, ":");
    s += number(&t, 2, 59) * 60;
    (void)one_of(&t, ":");
    s += number(&t, 2, 60);
    int64_t ms = fraction_ms(&t);
    s -= offset_s(&t);
    if (t.bad || t.rest.n || month == 0 || day == 0 ||
        day > days_in(year, month))
        return ERR_BAD;
    s += days_of(year, month, day) * S_PER_DAY;
    *ret_ms = s < 0 ? 0 : (uint64_t)(s * MS_PER_S + ms);
    if (*ret_ms > last_ms)
        *ret_ms = last_ms;
    return ERR_OK;
}

/* --- Writing ------------------------------------------------------------- */

static void digits(struct buf *out, uint64_t v, int n)
{
    char text[4];

    for (int i = n - 1; i >= 0; i--, v /= 10)
        text[i] = (char)('0' + v % 10);
    buf_put_n(out, text, (size_t)n);
}

void rfc3339_print(struct buf *out, uint64_t ms)
{
    uint64_t year, month, day;

    if (ms > last_ms)
        ms = last_ms;
    uint64_t s = ms / MS_PER_S;

    date_of(s / S_PER_DAY, &year, &month, &day);
    digits(out, year, 4);
    buf_putc(out, '-');
    digits(out, month, 2);
    buf_putc(out, '-');
    digits(out, day, 2);
    buf_putc(out, 'T');
    digits(out, s / 3600 % 24, 2);
    buf_putc(out, ':');
    digits(out, s / 60 % 60, 2);
    buf_putc(out, ':');
    digits(out, s % 60, 2);
    buf_putc(out, '.');
    digits(out, ms % MS_PER_S, 3);
    buf_putc(out, 'Z');
}
