/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "http/json_value.h"

#include <math.h>
#include <stdlib.h>

#include "base/duration.h"
#include "http/chars.h"
#include "http/json_scan.h"

enum { SHOWN_MAX = 40 /* bytes of a name in a message */ };

/* The front of a text for a message, not cut within a character. */
static struct bytes shown(struct bytes text)
{
    size_t n = text.n < SHOWN_MAX ? text.n : SHOWN_MAX;

    while (n < text.n && n > 0 && ((unsigned char)text.p[n] & 0xc0) == 0x80)
        n--;
    return bytes_head(text, n);
}

static const char *type_of(struct bytes value)
{
    switch (value.p[0]) {
    case '{':
        return "object";
    case '[':
        return "array";
    case '"':
        return "string";
    case 't':
    case 'f':
        return "bool";
    case 'n':
        return "null";
    default:
        return "number";
    }
}

enum err json_nomem(const struct json_decoder *d)
{
    errtext_set(d->t, "out of memory for a JSON body");
    return ERR_NOMEM;
}

/* ".Check.Interval"; what does not fit is cut. */
void json_path_text(const struct json_path *path, char *text, size_t size)
{
    if (!path) {
        text[0] = '\0';
        return;
    }
    json_path_text(path->up, text, size);

    size_t n = strlen(text);
    size_t k = strlen(path->name);
    if (n + 1 + k >= size)
        return;
    text[n] = '.';
    memcpy(text + n + 1, path->name, k + 1);
}

enum err json_wrong_type(const struct json_decoder *d,
                         const struct json_path *path, struct bytes value,
                         const char *want)
{
    char field[JSON_PATH_BYTES];
    /* Go shows a number where another number would have done. */
    bool literal = json_is_number(value) &&
                   (strcmp(want, "int") == 0 || strcmp(want, "float64") == 0 ||
                    strcmp(want, "time.Duration") == 0);

    json_path_text(path, field, sizeof field);
    errtext_set(d->t, "json: cannot unmarshal %s%s%.*s into Go %s%s of type %s",
                type_of(value), literal ? " " : "", literal ? (int)value.n : 0,
                value.p, path ? "struct field " : "value", field, want);
    return ERR_BAD;
}

enum err json_given_twice(const struct json_decoder *d,
                          const struct json_path *path, struct bytes name)
{
    char field[JSON_PATH_BYTES];

    json_path_text(path, field, sizeof field);
    errtext_set(d->t, "json: member \"%.*s\"%s%s is given twice",
                BYTES_ARG(shown(name)), path ? " of " : "", field);
    return ERR_BAD;
}

static unsigned hex4(const char *p)
{
    unsigned v = 0;

    for (int i = 0; i < 4; i++)
        v = v << 4 | (unsigned)hex_digit(p[i]);
    return v;
}

static size_t put_utf8(char *to, unsigned c)
{
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        to[0] = (char)(0xc0 | c >> 6);
        to[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        to[0] = (char)(0xe0 | c >> 12);
        to[1] = (char)(0x80 | (c >> 6 & 0x3f));
        to[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    to[0] = (char)(0xf0 | c >> 18);
    to[1] = (char)(0x80 | (c >> 12 & 0x3f));
    to[2] = (char)(0x80 | (c >> 6 & 0x3f));
    to[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* The escape at the front of in; returns its length. The scan has seen that it
 * is whole. */
static size_t unescape(struct bytes in, char *to, size_t *n)
{
    static const char from[] = "bfnrt";
    static const char into[] = "\b\f\n\r\t";

    if (in.p[1] != 'u') {
        const char *at = strchr(from, in.p[1]);
        to[(*n)++] = at ? into[at - from] : in.p[1];
        return 2;
    }

    unsigned c = hex4(in.p + 2);
    bool pair = c >= 0xd800 && c <= 0xdfff;
    if (pair)
        c = 0x10000 + ((c - 0xd800) << 10) + (hex4(in.p + 8) - 0xdc00);
    *n += put_utf8(to + *n, c);
    return pair ? 12 : 6;
}

/* The content of a string; an escape is never shorter than what it means. */
enum err json_unquote(const struct json_decoder *d, struct bytes quoted,
                      struct bytes *ret)
{
    struct bytes in = json_inside(quoted);
    char *to = arena_alloc(d->arena, in.n + 1);
    size_t n = 0;

    if (!to)
        return json_nomem(d);
    while (in.n) {
        size_t plain = bytes_find(in, '\\');
        memcpy(to + n, in.p, plain);
        n += plain;
        in = bytes_skip(in, plain);
        if (in.n)
            in = bytes_skip(in, unescape(in, to, &n));
    }
    to[n] = '\0';
    *ret = bytes_of(to, n);
    return ERR_OK;
}

/* A name that is only compared: not copied unless it must be. */
enum err json_name(const struct json_decoder *d, struct bytes quoted,
                   struct bytes *ret)
{
    *ret = json_inside(quoted);
    return bytes_find(*ret, '\\') == ret->n ? ERR_OK
                                            : json_unquote(d, quoted, ret);
}

enum err json_take_string(const struct json_decoder *d,
                          const struct json_path *path, struct bytes value,
                          struct bytes *ret)
{
    *ret = bytes_of("", 0);
    if (json_is_null(value))
        return ERR_OK;
    if (value.p[0] != '"')
        return json_wrong_type(d, path, value, "string");
    return json_unquote(d, value, ret);
}

/* False: a fraction, an exponent, or beyond 64 bits. */
static bool integer_of(struct bytes number, int64_t *ret)
{
    bool negative = number.p[0] == '-';
    uint64_t v;

    if (bytes_u64(bytes_skip(number, negative), &v) != ERR_OK ||
        v > (uint64_t)INT64_MAX + negative)
        return false;
    *ret = (int64_t)(negative ? 0 - v : v);
    return true;
}

static double real_of(struct bytes number)
{
    char text[JSON_NUMBER_MAX + 1];

    memcpy(text, number.p, number.n);
    text[number.n] = '\0';
    return strtod(text, NULL);
}

enum err json_check_number(const struct json_decoder *d,
                           const struct json_path *path, struct bytes number)
{
    bool integer = bytes_find(number, '.') == number.n &&
                   bytes_find(number, 'e') == number.n &&
                   bytes_find(number, 'E') == number.n;
    int64_t ignored;

    if (integer && !integer_of(number, &ignored))
        return json_wrong_type(d, path, number, "int");
    if (!integer && isinf(real_of(number)))
        return json_wrong_type(d, path, number, "float64");
    return ERR_OK;
}

enum err json_take_int(const struct json_decoder *d,
                       const struct json_path *path, struct bytes value,
                       int64_t *ret)
{
    if (!json_is_number(value) || !integer_of(value, ret))
        return json_wrong_type(d, path, value, "int");
    return ERR_OK;
}

enum err json_take_bool(const struct json_decoder *d,
                        const struct json_path *path, struct bytes value,
                        bool *ret)
{
    if (value.p[0] != 't' && value.p[0] != 'f')
        return json_wrong_type(d, path, value, "bool");
    *ret = value.p[0] == 't';
    return ERR_OK;
}

/* A number of ns; Go truncates a fraction without a word, clients rely on it.
 */
static bool ns_of(struct bytes number, int64_t *ret)
{
    if (integer_of(number, ret))
        return true;

    double v = real_of(number);
    if (fabs(v) >= 9223372036854775808.0) /* 2^63 */
        return false;
    *ret = (int64_t)v;
    return true;
}

enum err json_take_duration(const struct json_decoder *d,
                            const struct json_path *path, struct bytes value,
                            int64_t *ret)
{
    char field[JSON_PATH_BYTES];
    struct bytes text;

    if (json_is_number(value) && ns_of(value, ret))
        return ERR_OK;
    if (value.p[0] != '"')
        return json_wrong_type(d, path, value, "time.Duration");

    enum err e = json_unquote(d, value, &text);
    if (e != ERR_OK)
        return e;
    if (text.n <= SHOWN_MAX)
        return duration_parse(text, ret, d->t);
    json_path_text(path, field, sizeof field);
    errtext_set(d->t, "time: invalid duration \"%.*s...\" in %s",
                BYTES_ARG(shown(text)), field);
    return ERR_BAD;
}
