/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "config/scan.h"

#include <stdio.h>

/* Length of the character that stands here; 0: none does. */
static size_t character(const struct scan *s)
{
    struct bytes left = bytes_skip(s->in, s->at);

    for (size_t n = 1; n <= 4 && n <= left.n; n++) {
        if (bytes_utf8(bytes_head(left, n)))
            return n;
    }
    return 0;
}

/* There is a byte that no text has; says where. */
static enum err refuse_encoding(struct scan *s)
{
    while (s->in.p[s->at] != '\0' && character(s) > 0) {
        for (size_t n = character(s); n > 0; n--)
            scan_step(s);
    }
    struct config_pos pos = scan_pos(s);
    if (s->in.p[s->at] == '\0')
        return scan_fail(s, &pos, "NUL byte; this is no text");
    return scan_fail(s, &pos,
                     "byte 0x%02x is not UTF-8; save the file as UTF-8",
                     (unsigned char)s->in.p[s->at]);
}

enum err scan_init(struct scan *s, const char *file, struct bytes in,
                   struct arena *arena, struct errtext *t)
{
    *s = (struct scan){.in = in, .line = 1, .build.arena = arena, .t = t};
    s->file = arena_str(arena, bytes_str(file));
    if (!s->file)
        return ERR_NOMEM;
    struct config_pos pos = scan_pos(s);
    if (in.n > CONFIG_FILE_BYTES_MAX) {
        pos.line = 0;
        (void)scan_fail(
            s, &pos, "%zu bytes, but a file may have %d; split it in several",
            in.n, CONFIG_FILE_BYTES_MAX);
        return ERR_LIMIT;
    }
    if (bytes_starts(in, bytes_str("\xef\xbb\xbf")))
        return scan_fail(s, &pos,
                         "byte order mark; save the file as UTF-8 without it");
    if (bytes_find(in, '\0') < in.n || !bytes_utf8(in))
        return refuse_encoding(s);
    return ERR_OK;
}

struct config_pos scan_pos(const struct scan *s)
{
    return (struct config_pos){s->file, s->line,
                               (uint32_t)(s->at - s->line_at + 1)};
}

void scan_step(struct scan *s)
{
    if (s->in.p[s->at++] == '\n') {
        s->line++;
        s->line_at = s->at;
    }
}

bool scan_take(struct scan *s, char c)
{
    if (scan_end(s) || s->in.p[s->at] != c)
        return false;
    scan_step(s);
    return true;
}

enum err scan_fail(struct scan *s, const struct config_pos *pos,
                   const char *fmt, ...)
{
    char what[sizeof s->t->s];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    config_fail(s->t, pos, "%s", what);
    return ERR_BAD;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
}

enum err scan_unexpected(struct scan *s, const char *wanted)
{
    struct config_pos pos = scan_pos(s);
    struct bytes left = bytes_skip(s->in, s->at);
    size_t n = 0;

    if (scan_end(s))
        return scan_fail(s, &pos, "expected %s, but the text ends", wanted);
    while (n < left.n && is_word(left.p[n]))
        n++;
    if (n == 0)
        n = character(s);
    return scan_fail(s, &pos, "expected %s, found %s", wanted,
                     left.p[0] == '\n' ? "the line's end"
                                       : config_quote(bytes_head(left, n)).s);
}

enum err scan_made(struct scan *s, const struct config_pos *pos, enum err e)
{
    if (e == ERR_LIMIT)
        (void)scan_fail(s, pos, "more than %d values; split the file",
                        CONFIG_VALUES_MAX);
    else if (e != ERR_OK)
        (void)scan_fail(s, pos, "%s", err_text(e));
    return e;
}

enum err scan_enter(struct scan *s, const struct config_pos *pos)
{
    if (s->depth < CONFIG_DEPTH_MAX) {
        s->depth++;
        return ERR_OK;
    }
    (void)scan_fail(s, pos, "more than %d objects and lists inside each other",
                    CONFIG_DEPTH_MAX);
    return ERR_LIMIT;
}

void scan_leave(struct scan *s)
{
    s->depth--;
}

static size_t digits(struct scan *s)
{
    size_t n = 0;

    while (scan_peek(s, 0) >= '0' && scan_peek(s, 0) <= '9') {
        scan_step(s);
        n++;
    }
    return n;
}

/* RFC 8259 6: steps over one number; false: it is none. */
static bool number_shape(struct scan *s)
{
    (void)scan_take(s, '-');
    if (scan_take(s, '0')) {
        if (digits(s) > 0)
            return false;
    } else if (digits(s) == 0) {
        return false;
    }
    if (scan_take(s, '.') && digits(s) == 0)
        return false;
    if (scan_take(s, 'e') || scan_take(s, 'E')) {
        if (!scan_take(s, '-'))
            (void)scan_take(s, '+');
        if (digits(s) == 0)
            return false;
    }
    return !is_word(scan_peek(s, 0));
}

enum err scan_number(struct scan *s, struct config_value **ret)
{
    struct config_pos pos = scan_pos(s);
    size_t from = s->at;
    bool good = number_shape(s);
    struct bytes text = bytes_of(s->in.p + from, s->at - from);

    if (!good) {
        while (is_word(scan_peek(s, 0)))
            scan_step(s);
        text.n = s->at - from;
        return scan_fail(s, &pos, "%s is not a number", config_quote(text).s);
    }
    enum err e = config_number_new(&s->build, text, &pos, ret);
    if (e == ERR_BAD)
        return scan_fail(s, &pos, "number %s does not fit in 64 bits",
                         config_quote(text).s);
    return scan_made(s, &pos, e);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

enum err scan_hex(struct scan *s, int count, uint32_t *ret)
{
    uint32_t code = 0;

    for (int i = 0; i < count; i++) {
        int d = hex_digit(scan_peek(s, 0));
        if (d < 0)
            return scan_unexpected(s, "a hexadecimal digit");
        code = code << 4 | (uint32_t)d;
        scan_step(s);
    }
    *ret = code;
    return ERR_OK;
}

bool scan_put_utf8(struct buf *out, uint32_t c)
{
    if (c == 0 || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return false;
    if (c < 0x80) {
        buf_putc(out, (char)c);
    } else if (c < 0x800) {
        buf_putc(out, (char)(0xc0 | c >> 6));
        buf_putc(out, (char)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        buf_putc(out, (char)(0xe0 | c >> 12));
        buf_putc(out, (char)(0x80 | (c >> 6 & 0x3f)));
        buf_putc(out, (char)(0x80 | (c & 0x3f)));
    } else {
        buf_putc(out, (char)(0xf0 | c >> 18));
        buf_putc(out, (char)(0x80 | (c >> 12 & 0x3f)));
        buf_putc(out, (char)(0x80 | (c >> 6 & 0x3f)));
        buf_putc(out, (char)(0x80 | (c & 0x3f)));
    }
    return true;
}

enum err scan_duplicate(struct scan *s, const struct config_pos *pos,
                        const struct config_value *first)
{
    return scan_fail(s, pos, "duplicate key %s (first at line %u, column %u)",
                     config_quote(first->key).s, first->key_pos.line,
                     first->key_pos.column);
}

enum err scan_keep(struct scan *s, const struct config_pos *pos,
                   const struct buf *text, struct bytes *ret)
{
    if (text->bad)
        return scan_made(s, pos, ERR_NOMEM);
    if (!bytes_utf8(buf_bytes(text)))
        return scan_fail(s, pos, "the escapes in this string give no UTF-8");
    struct bytes kept = arena_copy(s->build.arena, buf_bytes(text));
    if (!kept.p)
        return scan_made(s, pos, ERR_NOMEM);
    *ret = kept;
    return ERR_OK;
}
