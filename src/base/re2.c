/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* RE2's syntax into PCRE2's. The two look alike and differ in corners: a possessive
 * "a++", "\h" or "(?=" means something to PCRE2 alone, "\v" and "[a-b-c]" mean
 * different things, and no pattern may carry instructions such as "(*LIMIT_MATCH=".
 * So nothing is copied unseen: the pattern is taken apart here and written anew, every
 * literal escaped. */
#include "base/re2.h"

struct re2 {
    struct bytes pattern;
    struct bytes rest;
    struct buf *out;
    struct errtext *t;
    bool bad;
    bool captures;
    size_t depth;
    bool multiline[RE2_BYTES_MAX + 1]; /* (?m), per group */
};

static bool refuse(struct re2 *r, const char *why, struct bytes what)
{
    if (!r->bad)
        errtext_set(r->t, "error parsing regexp: %s: `%.*s`", why,
                    BYTES_ARG(what));
    r->bad = true;
    return false;
}

static char at(const struct re2 *r, size_t i)
{
    return i < r->rest.n ? r->rest.p[i] : '\0';
}

static void skip(struct re2 *r, size_t n)
{
    r->rest = bytes_skip(r->rest, n);
}

/* What was read since, which was the rest at that time. */
static struct bytes since(const struct re2 *r, struct bytes was)
{
    return bytes_head(was, was.n - r->rest.n);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static void put_char(struct re2 *r, uint32_t c)
{
    if (c < 0x80 && is_alnum((char)c))
        buf_putc(r->out, (char)c);
    else
        buf_printf(r->out, "\\x{%x}", (unsigned)c);
}

/* The pattern is UTF-8: seen to before. */
static uint32_t take_char(struct re2 *r)
{
    unsigned char lead = (unsigned char)at(r, 0);
    size_t n = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    uint32_t c = n == 1 ? lead : lead & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++)
        c = c << 6 | ((unsigned char)at(r, i) & 0x3f);
    skip(r, n);
    return c;
}

/* --- Escapes -------------------------------------------------------------- */

static int hex(char c)
{
    if (is_digit(c))
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* After "\x": two digits, or any number of them in braces. */
static bool take_hex(struct re2 *r, struct bytes from, uint32_t *ret)
{
    bool braces = at(r, 0) == '{';
    uint32_t v = 0;
    size_t n = 0;
    skip(r, braces);
    for (; hex(at(r, n)) >= 0 && (braces || n < 2); n++) {
        v = v * 16 + (uint32_t)hex(at(r, n));
        if (v > 0x10ffff)
            return refuse(r, "invalid escape sequence", since(r, from));
    }
    skip(r, n);
    if (n == 0 || (!braces && n != 2) || (braces && at(r, 0) != '}') ||
        (v >= 0xd800 && v < 0xe000))
        return refuse(r, "invalid escape sequence", since(r, from));
    skip(r, braces);
    *ret = v;
    return true;
}

/* "\1" alone would be a back reference. */
static bool take_octal(struct re2 *r, struct bytes from, uint32_t *ret)
{
    *ret = (uint32_t)(at(r, 0) - '0');
    skip(r, 1);
    bool more = at(r, 0) >= '0' && at(r, 0) <= '7';
    if (*ret != 0 && !more)
        return refuse(r, "invalid escape sequence", since(r, from));
    for (int i = 0; i < 2 && at(r, 0) >= '0' && at(r, 0) <= '7'; i++) {
        *ret = *ret * 8 + (uint32_t)(at(r, 0) - '0');
        skip(r, 1);
    }
    return true;
}

/* A backslash and what makes one character of it. */
static bool take_escape(struct re2 *r, uint32_t *ret)
{
    static const char letters[] = "afnrtv", codes[] = "\a\f\n\r\t\v";
    struct bytes from = r->rest;
    if (r->rest.n < 2)
        return refuse(r, "trailing backslash at end of expression",
                      (struct bytes){0});
    skip(r, 1);
    char c = at(r, 0);
    if (c >= '0' && c <= '7')
        return take_octal(r, from, ret);
    const char *letter = c ? strchr(letters, c) : NULL;
    if (c == 'x') {
        skip(r, 1);
        return take_hex(r, from, ret);
    }
    *ret = take_char(r);
    if (letter)
        *ret = (uint32_t)codes[letter - letters];
    else if (*ret >= 0x80 || is_alnum(c))
        return refuse(r, "invalid escape sequence", since(r, from));
    return true;
}

/* \d \s \w \pL \p{Greek} and their opposites, the same in and out of brackets;
 * false with nothing bad: it is none. */
static bool char_class(struct re2 *r)
{
    struct bytes from = r->rest;
    char c = at(r, 1);
    if (at(r, 0) != '\\' || !c || !strchr("dDsSwWpP", c))
        return false;
    skip(r, 2);
    if (c == 's' || c == 'S') { /* PCRE2's has \v */
        buf_puts(r->out, c == 's' ? "[\\t\\n\\f\\r ]" : "[^\\t\\n\\f\\r ]");
        return true;
    }
    if (c == 'p' || c == 'P') {
        if (at(r, 0) == '{') {
            size_t n = bytes_find(r->rest, '}');
            if (n == r->rest.n)
                return refuse(r, "invalid character class range", from);
            skip(r, n + 1);
        } else if (at(r, 0) && strchr("CLMNPSZ", at(r, 0))) {
            skip(r, 1);
        } else {
            return refuse(r, "invalid character class range", from);
        }
    }
    buf_put(r->out, since(r, from));
    return true;
}

/* --- [...] ---------------------------------------------------------------- */

/* [:alpha:] or [:^alpha:]; false with nothing bad: it is a bracket. */
static bool posix_class(struct re2 *r)
{
    static const char *const names[] = {
        "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph",
        "lower", "print", "punct", "space", "upper", "word",  "xdigit",
    };
    if (at(r, 0) != '[' || at(r, 1) != ':')
        return false;
    size_t n = 2;
    while (n + 1 < r->rest.n && !(at(r, n) == ':' && at(r, n + 1) == ']'))
        n++;
    if (n + 1 >= r->rest.n)
        return false;
    struct bytes whole = bytes_head(r->rest, n + 2);
    struct bytes name = bytes_head(bytes_skip(whole, 2), n - 2);
    if (name.n && name.p[0] == '^')
        name = bytes_skip(name, 1);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (!bytes_is(name, names[i]))
            continue;
        buf_put(r->out, whole);
        skip(r, whole.n);
        return true;
    }
    return refuse(r, "invalid character class range", whole);
}

static bool class_char(struct re2 *r, uint32_t *ret)
{
    if (at(r, 0) == '\\')
        return take_escape(r, ret);
    *ret = take_char(r);
    return true;
}

static bool class_range(struct re2 *r)
{
    struct bytes from = r->rest;
    uint32_t low, high;
    if (!class_char(r, &low))
        return false;
    high = low;
    if (at(r, 0) == '-' && r->rest.n >= 2 && at(r, 1) != ']') {
        skip(r, 1);
        if (!class_char(r, &high))
            return false;
        if (high < low)
            return refuse(r, "invalid character class range", since(r, from));
    }
    put_char(r, low);
    if (high > low) {
        buf_putc(r->out, '-');
        put_char(r, high);
    }
    return true;
}

/* \s and \S stand in brackets of their own outside of a class. */
static bool class_escape(struct re2 *r)
{
    if (at(r, 0) != '\\' || (at(r, 1) != 's' && at(r, 1) != 'S'))
        return char_class(r);
    buf_puts(r->out, at(r, 1) == 's'
                         ? "\\t\\n\\f\\r "
                         : "\\x{0}-\\x{8}\\x{b}\\x{e}-\\x{1f}!-\\x{10ffff}");
    skip(r, 2);
    return true;
}

static bool brackets(struct re2 *r)
{
    struct bytes from = r->rest;
    buf_putc(r->out, '[');
    skip(r, 1);
    if (at(r, 0) == '^') {
        buf_putc(r->out, '^');
        skip(r, 1);
    }
    for (bool first = true; first || at(r, 0) != ']'; first = false) {
        if (!r->rest.n)
            return refuse(r, "missing closing ]", from);
        if (posix_class(r) || (!r->bad && class_escape(r)))
            continue;
        if (r->bad || !class_range(r))
            return false;
    }
    skip(r, 1);
    buf_putc(r->out, ']');
    return true;
}

/* --- Groups, repetition --------------------------------------------------- */

/* What (?flags says about "m" holds up to the end of the group. */
static bool multiline_after(struct bytes flags, bool before)
{
    bool minus = false;
    for (size_t i = 0; i < flags.n; i++) {
        minus |= flags.p[i] == '-';
        if (flags.p[i] == 'm')
            before = !minus;
    }
    return before;
}

/* (?P<name>, (?flags) and (?flags: after the "(". *ret_opens: a group begins. */
static bool special_group(struct re2 *r, struct bytes from, bool *ret_opens)
{
    bool minus = false, flag_after = true;
    if (at(r, 1) == 'P' && at(r, 2) == '<') {
        size_t n = bytes_find(r->rest, '>');
        for (size_t i = 3; i < n; i++)
            if (!is_alnum(at(r, i)) && at(r, i) != '_')
                n = 0;
        if (n < 4 || n == r->rest.n)
            return refuse(r, "invalid named capture", from);
        skip(r, n + 1);
        buf_puts(r->out, r->captures ? "(" : "(?:");
        *ret_opens = true;
        r->multiline[r->depth + 1] = r->multiline[r->depth];
        return true;
    }
    size_t n = 1;
    for (; at(r, n) && strchr("imsU-", at(r, n)); n++) {
        bool dash = at(r, n) == '-';
        if (dash && minus)
            break;
        minus |= dash;
        flag_after = !dash;
    }
    if ((at(r, n) != ':' && at(r, n) != ')') || !flag_after) {
        skip(r, n + 1);
        return refuse(r, "invalid or unsupported Perl syntax", since(r, from));
    }
    *ret_opens = at(r, n) == ':';
    r->multiline[r->depth + *ret_opens] =
        multiline_after(bytes_head(r->rest, n), r->multiline[r->depth]);
    buf_putc(r->out, '(');
    buf_put(r->out, bytes_head(r->rest, n + 1));
    skip(r, n + 1);
    return true;
}

static bool open_group(struct re2 *r, bool *ret_opens)
{
    struct bytes from = r->rest;
    skip(r, 1);
    if (at(r, 0) == '?')
        return special_group(r, from, ret_opens);
    buf_puts(r->out, r->captures ? "(" : "(?:");
    *ret_opens = true;
    r->multiline[r->depth + 1] = r->multiline[r->depth];
    return true;
}

static bool number(struct bytes b, size_t *at_, int *ret)
{
    size_t from = *at_;
    int v = 0;
    while (*at_ < b.n && is_digit(b.p[*at_])) {
        v = v > RE2_REPEAT_MAX ? v : v * 10 + (b.p[*at_] - '0');
        ++*at_;
    }
    *ret = v;
    /* "{01}" is no number to RE2, and then the brace is itself. */
    return *at_ > from && !(b.p[from] == '0' && *at_ > from + 1);
}

/* Length of {n} {n,} {n,m} at the start of b; 0: a brace like any character. */
static size_t counted(struct bytes b, int *ret_least, int *ret_most)
{
    size_t n = 1;
    if (!number(b, &n, ret_least) || n >= b.n)
        return 0;
    *ret_most = *ret_least;
    if (b.p[n] == ',') {
        n++;
        if (n < b.n && b.p[n] == '}')
            *ret_most = -1;
        else if (!number(b, &n, ret_most))
            return 0;
    }
    return n < b.n && b.p[n] == '}' ? n + 1 : 0;
}

/* The length of a repetition that stands here; 0: none. */
static size_t repetition(struct re2 *r)
{
    int least = 0, most = 0;
    char c = at(r, 0);
    if (c == '*' || c == '+' || c == '?')
        return 1;
    size_t n = c == '{' ? counted(r->rest, &least, &most) : 0;
    if (n && (least > RE2_REPEAT_MAX || most > RE2_REPEAT_MAX ||
              (most >= 0 && most < least)))
        (void)refuse(r, "invalid repeat count", bytes_head(r->rest, n));
    return n;
}

static bool repeat(struct re2 *r, size_t n, bool may)
{
    struct bytes from = r->rest;
    if (!may)
        return refuse(r, "missing argument to repetition operator",
                      bytes_head(r->rest, n));
    buf_put(r->out, bytes_head(r->rest, n));
    skip(r, n);
    if (at(r, 0) == '?') {
        if (r->captures)
            buf_putc(r->out, '?');
        skip(r, 1);
    }
    size_t again = repetition(r);
    if (again) {
        skip(r, again);
        return refuse(r, "invalid nested repetition operator", since(r, from));
    }
    return !r->bad;
}

/* --- The whole ------------------------------------------------------------ */

/* \A \z \b \B \Q...\E (a repetition after it is of the last character), a class, or
 * one character. */
static bool backslash(struct re2 *r, bool *ret_may)
{
    uint32_t c;
    char next = at(r, 1);
    if (next == 'Q') {
        skip(r, 2);
        *ret_may = false;
        while (r->rest.n && !(at(r, 0) == '\\' && at(r, 1) == 'E')) {
            put_char(r, take_char(r));
            *ret_may = true;
        }
        skip(r, 2);
        return true;
    }
    if (next && strchr("AzbB", next)) { /* a group, or it could not repeat */
        buf_printf(r->out, "(?:\\%c)", next);
        skip(r, 2);
        return true;
    }
    if (char_class(r))
        return true;
    if (r->bad || !take_escape(r, &c))
        return false;
    put_char(r, c);
    return true;
}

/* One thing; *ret_may: a repetition may follow it. */
static bool item(struct re2 *r, bool *ret_may)
{
    char c = at(r, 0);
    *ret_may = true;
    switch (c) {
    case '(': {
        bool opens = false;
        if (!open_group(r, &opens))
            return false;
        r->depth += opens;
        *ret_may = false;
        return true;
    }
    case ')':
        if (r->depth-- == 0)
            return refuse(r, "unexpected )", r->pattern);
        buf_putc(r->out, ')');
        skip(r, 1);
        return true;
    case '|':
        *ret_may = false;
        buf_putc(r->out, '|');
        skip(r, 1);
        return true;
    case '^':
        buf_puts(r->out, "(?:^)");
        skip(r, 1);
        return true;
    case '$': /* PCRE2's own also matches before a line feed at the end */
        buf_puts(r->out, r->multiline[r->depth] ? "(?:$)" : "(?:\\z)");
        skip(r, 1);
        return true;
    case '.':
        buf_putc(r->out, '.');
        skip(r, 1);
        return true;
    case '[':
        return brackets(r);
    case '\\':
        return backslash(r, ret_may);
    default:
        put_char(r, take_char(r));
        return true;
    }
}

enum err re2_translate(struct bytes pattern, bool captures, struct buf *out,
                       struct errtext *t)
{
    struct re2 r = {.pattern = pattern,
                    .rest = pattern,
                    .out = out,
                    .t = t,
                    .captures = captures};
    bool may = false;
    if (!bytes_utf8(pattern)) {
        (void)refuse(&r, "invalid UTF-8", (struct bytes){0});
        return ERR_BAD;
    }
    while (r.rest.n && !r.bad) {
        size_t n = repetition(&r);
        if (r.bad)
            break;
        if (n) {
            if (!repeat(&r, n, may))
                break;
            may = false;
        } else if (!item(&r, &may)) {
            break;
        }
    }
    if (!r.bad && r.depth)
        (void)refuse(&r, "missing closing )", pattern);
    return r.bad ? ERR_BAD : ERR_OK;
}
