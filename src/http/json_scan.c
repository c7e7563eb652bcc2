/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "http/json_scan.h"

#include <stdio.h>

#include "http/chars.h"
#include "http/json_in.h"

struct scan {
    struct bytes text;
    size_t at;
    size_t values;
    unsigned depth;
    uint64_t objects; /* bit d: the container at depth d + 1 is an object */
    struct errtext *t;
};

_Static_assert(JSON_DEPTH_MAX <= 64, "a bit for each level");

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_blanks(struct scan *s)
{
    while (s->at < s->text.n && blank(s->text.p[s->at]))
        s->at++;
}

static bool at_end(const struct scan *s)
{
    return s->at >= s->text.n;
}

/* NUL at the end: no JSON text goes on with it. */
static char peek(const struct scan *s)
{
    return at_end(s) ? '\0' : s->text.p[s->at];
}

/* A byte as Go's encoding/json shows it. */
static void show_char(unsigned char c, char text[12])
{
    static const char escapes[][3] = {
        ['\a'] = "\\a", ['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n",
        ['\v'] = "\\v", ['\f'] = "\\f", ['\r'] = "\\r",
    };

    if (c == '\'')
        (void)snprintf(text, 12, "'\\''");
    else if (c == '\\')
        (void)snprintf(text, 12, "'\\\\'");
    else if (c < sizeof escapes / sizeof escapes[0] && escapes[c][0])
        (void)snprintf(text, 12, "'%s'", escapes[c]);
    else if (c < ' ' || c == 0x7f)
        (void)snprintf(text, 12, "'\\x%02x'", c);
    else if (c < 0x80)
        (void)snprintf(text, 12, "'%c'", c);
    else if (c <= 0xa0 || c == 0xad) /* not printable in Latin-1 */
        (void)snprintf(text, 12, "'\\u%04x'", c);
    else
        (void)snprintf(text, 12, "'%c%c'", 0xc0 | c >> 6, 0x80 | (c & 0x3f));
}

/* The byte at hand does not fit. */
static enum err unexpected(const struct scan *s, const char *where)
{
    char shown[12];

    if (at_end(s)) {
        errtext_set(s->t, "unexpected EOF");
        return ERR_BAD;
    }
    show_char((unsigned char)s->text.p[s->at], shown);
    errtext_set(s->t, "invalid character %s %s", shown, where);
    return ERR_BAD;
}

/* What Go has no text for gets a place. */
static enum err refuse(const struct scan *s, enum err e, const char *what)
{
    size_t line = 1;
    size_t column = 1;

    for (size_t i = 0; i < s->at && i < s->text.n; i++) {
        column++;
        if (s->text.p[i] == '\n') {
            line++;
            column = 1;
        }
    }
    errtext_set(s->t, "%s at line %zu, column %zu", what, line, column);
    return e;
}

static enum err count_value(struct scan *s)
{
    if (++s->values <= JSON_VALUES_MAX)
        return ERR_OK;
    errtext_set(s->t, "more than %d JSON values, the limit", JSON_VALUES_MAX);
    return ERR_LIMIT;
}

/* The four digits of \uXXXX; s->at is behind the 'u'. */
static enum err scan_hex4(struct scan *s, unsigned *ret)
{
    *ret = 0;
    for (int i = 0; i < 4; i++, s->at++) {
        int digit = at_end(s) ? -1 : hex_digit(s->text.p[s->at]);
        if (digit < 0)
            return unexpected(s, "in \\u hexadecimal character escape");
        *ret = *ret << 4 | (unsigned)digit;
    }
    return ERR_OK;
}

/* s->at is behind the 'u'. Go turns half a surrogate pair into U+FFFD without a
 * word; names that differ only there would become one. */
static enum err scan_u_escape(struct scan *s)
{
    unsigned c, low;
    enum err e = scan_hex4(s, &c);

    if (e != ERR_OK)
        return e;
    if (c == 0)
        return refuse(s, ERR_BAD, "NUL (\\u0000) in a JSON string");
    if (c < 0xd800 || c > 0xdfff)
        return ERR_OK;
    if (c <= 0xdbff && s->text.n - s->at >= 2 &&
        memcmp(s->text.p + s->at, "\\u", 2) == 0) {
        s->at += 2;
        e = scan_hex4(s, &low);
        if (e != ERR_OK)
            return e;
        if (low >= 0xdc00 && low <= 0xdfff)
            return ERR_OK;
    }
    return refuse(s, ERR_BAD, "half a surrogate pair in a JSON string");
}

/* s->at is behind the backslash. */
static enum err scan_escape(struct scan *s)
{
    char c = peek(s);

    if (at_end(s) || c == '\0' || !strchr("\"\\/bfnrtu", c))
        return unexpected(s, "in string escape code");
    s->at++;
    return c == 'u' ? scan_u_escape(s) : ERR_OK;
}

/* s->at is at the opening quote. */
static enum err scan_string(struct scan *s)
{
    size_t from = ++s->at;
    unsigned char high = 0;

    for (;; s->at++) {
        unsigned char c = (unsigned char)peek(s);
        if (c < ' ')
            return unexpected(s, "in string literal");
        if (c == '"')
            break;
        high |= c;
        if (c != '\\')
            continue;
        s->at++;
        enum err e = scan_escape(s);
        if (e != ERR_OK)
            return e;
        s->at--;
    }
    if (high >= 0x80 && !bytes_utf8(bytes_of(s->text.p + from, s->at - from)))
        return refuse(s, ERR_BAD, "bad UTF-8 in the JSON string that ends");
    s->at++;
    return ERR_OK;
}

static enum err scan_literal(struct scan *s, const char *word)
{
    char where[48];

    for (size_t i = 0; word[i]; i++, s->at++) {
        if (peek(s) == word[i])
            continue;
        (void)snprintf(where, sizeof where, "in literal %s (expecting '%c')",
                       word, word[i]);
        return unexpected(s, where);
    }
    return ERR_OK;
}

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static enum err scan_digits(struct scan *s, const char *where)
{
    if (!digit(peek(s)))
        return unexpected(s, where);
    while (digit(peek(s)))
        s->at++;
    return ERR_OK;
}

static enum err number_grammar(struct scan *s)
{
    enum err e = ERR_OK;

    if (peek(s) == '-')
        s->at++;
    if (peek(s) == '0')
        s->at++;
    else
        e = scan_digits(s, "in numeric literal");
    if (e == ERR_OK && peek(s) == '.') {
        s->at++;
        e = scan_digits(s, "after decimal point in numeric literal");
    }
    if (e == ERR_OK && (peek(s) == 'e' || peek(s) == 'E')) {
        s->at++;
        if (peek(s) == '+' || peek(s) == '-')
            s->at++;
        e = scan_digits(s, "in exponent of numeric literal");
    }
    return e;
}

static enum err scan_number(struct scan *s)
{
    size_t from = s->at;
    enum err e = number_grammar(s);
    struct bytes number = bytes_of(s->text.p + from, s->at - from);

    if (e != ERR_OK)
        return e;
    if (number.n > JSON_NUMBER_MAX) {
        errtext_set(s->t, "JSON number of %zu bytes, at most %d are allowed",
                    number.n, JSON_NUMBER_MAX);
        return ERR_LIMIT;
    }
    return ERR_OK;
}

static enum err open_container(struct scan *s, bool object)
{
    uint64_t bit = (uint64_t)1 << (s->depth & 63);

    if (s->depth == JSON_DEPTH_MAX) {
        errtext_set(s->t, "JSON nested deeper than %d levels, the limit",
                    JSON_DEPTH_MAX);
        return ERR_LIMIT;
    }
    s->objects = object ? s->objects | bit : s->objects & ~bit;
    s->depth++;
    s->at++;
    return ERR_OK;
}

static bool in_object(const struct scan *s)
{
    return s->objects >> (s->depth - 1) & 1;
}

/* A scalar whole; of a container its opening bracket. */
static enum err scan_value(struct scan *s)
{
    enum err e = count_value(s);

    if (e != ERR_OK)
        return e;
    switch (peek(s)) {
    case '{':
        return open_container(s, true);
    case '[':
        return open_container(s, false);
    case '"':
        return scan_string(s);
    case 't':
        return scan_literal(s, "true");
    case 'f':
        return scan_literal(s, "false");
    case 'n':
        return scan_literal(s, "null");
    default:
        if (!digit(peek(s)) && peek(s) != '-')
            return unexpected(s, "looking for beginning of value");
        return scan_number(s);
    }
}

/* A member's name and colon. */
static enum err scan_name(struct scan *s)
{
    enum err e = count_value(s);

    if (e == ERR_OK && peek(s) != '"')
        e = unexpected(s, "looking for beginning of object key string");
    if (e == ERR_OK)
        e = scan_string(s);
    if (e != ERR_OK)
        return e;
    skip_blanks(s);
    if (peek(s) != ':')
        return unexpected(s, "after object key");
    s->at++;
    skip_blanks(s);
    return ERR_OK;
}

/* One step within the innermost container: its end, or its next element. */
static enum err scan_step(struct scan *s, bool *first)
{
    enum err e = ERR_OK;

    skip_blanks(s);
    if (peek(s) == (in_object(s) ? '}' : ']')) {
        s->at++;
        s->depth--;
        *first = false;
        return ERR_OK;
    }
    if (!*first) {
        if (peek(s) != ',')
            return unexpected(s, in_object(s) ? "after object key:value pair"
                                              : "after array element");
        s->at++;
        skip_blanks(s);
    }
    if (in_object(s))
        e = scan_name(s);
    unsigned depth = s->depth;
    if (e == ERR_OK)
        e = scan_value(s);
    *first = s->depth > depth;
    return e;
}

enum err json_scan(struct bytes text, struct bytes *ret_value,
                   struct errtext *t)
{
    struct scan s = {.text = text, .t = t};
    bool first = true;

    skip_blanks(&s);
    if (at_end(&s)) {
        errtext_set(t, "EOF");
        return ERR_BAD;
    }

    size_t from = s.at;
    enum err e = scan_value(&s);
    while (e == ERR_OK && s.depth > 0)
        e = scan_step(&s, &first);
    if (e == ERR_OK)
        *ret_value = bytes_of(text.p + from, s.at - from);
    return e;
}

enum err json_bound(struct bytes text, struct errtext *t)
{
    struct bytes value;

    return json_scan(text, &value, t);
}

struct bytes json_skip_gap(struct bytes rest)
{
    while (rest.n && (blank(rest.p[0]) || rest.p[0] == ',' || rest.p[0] == ':'))
        rest = bytes_skip(rest, 1);
    return rest;
}

struct bytes json_inside(struct bytes value)
{
    return bytes_of(value.p + 1, value.n - 2);
}

/* A quote ends the string if an even number of backslashes stands before it. */
size_t json_string_span(struct bytes b)
{
    for (size_t end = 1;; end++) {
        size_t slashes = 0;
        end += bytes_find(bytes_skip(b, end), '"');
        if (end >= b.n)
            return b.n;
        while (b.p[end - 1 - slashes] == '\\')
            slashes++;
        if (slashes % 2 == 0)
            return end + 1;
    }
}

static size_t container_span(struct bytes b)
{
    size_t depth = 0;

    for (size_t i = 0; i < b.n; i++) {
        char c = b.p[i];
        if (c == '"')
            i += json_string_span(bytes_skip(b, i)) - 1;
        else if (c == '{' || c == '[')
            depth++;
        else if ((c == '}' || c == ']') && --depth == 0)
            return i + 1;
    }
    return b.n;
}

size_t json_scalar_span(struct bytes b)
{
    size_t i = 0;

    while (i < b.n && !blank(b.p[i]) && b.p[i] != ',' && b.p[i] != ':' &&
           b.p[i] != ']' && b.p[i] != '}')
        i++;
    return i;
}

bool json_take(struct bytes *rest, struct bytes *ret_value)
{
    struct bytes b = json_skip_gap(*rest);
    size_t n;

    if (!b.n)
        return false;
    if (b.p[0] == '"')
        n = json_string_span(b);
    else if (b.p[0] == '{' || b.p[0] == '[')
        n = container_span(b);
    else
        n = json_scalar_span(b);
    *ret_value = bytes_head(b, n);
    *rest = bytes_skip(b, n);
    return true;
}

size_t json_count(struct bytes inside)
{
    struct bytes value;
    size_t n = 0;

    while (json_take(&inside, &value))
        n++;
    return n;
}
