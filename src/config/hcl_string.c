/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "config/hcl_string.h"

/* "${" stands here: all up to its closing brace belongs to somebody else's
 * language and is kept, quotes, escapes and line ends included. */
static enum err read_verbatim(struct scan *s, struct buf *out)
{
    struct config_pos pos = scan_pos(s);
    size_t from = s->at;
    int open = 0;

    do {
        if (scan_end(s))
            return scan_fail(s, &pos, "this ${ has no closing }");
        open += scan_peek(s, 0) == '{';
        open -= scan_peek(s, 0) == '}';
        scan_step(s);
    } while (open > 0 || s->at - from < 2);
    buf_put_n(out, s->in.p + from, s->at - from);
    return ERR_OK;
}

/* After the backslash: up to three octal digits make one byte. */
static enum err read_octal(struct scan *s, const struct config_pos *pos,
                           struct buf *out)
{
    unsigned byte = 0;

    for (int i = 0; i < 3; i++) {
        char c = scan_peek(s, 0);
        if (c < '0' || c > '7')
            return scan_unexpected(s, "three octal digits");
        byte = byte * 8 + (unsigned)(c - '0');
        scan_step(s);
    }
    if (byte == 0 || byte > 0xff)
        return scan_fail(s, pos, "\\%03o is not allowed in a string", byte);
    buf_putc(out, (char)byte);
    return ERR_OK;
}

/* After "\x" (one byte), "\u" or "\U" (one code point). */
static enum err read_hex(struct scan *s, const struct config_pos *pos,
                         char letter, struct buf *out)
{
    int digits = letter == 'x' ? 2 : letter == 'u' ? 4 : 8;
    uint32_t code = 0;
    enum err e = scan_hex(s, digits, &code);

    if (e != ERR_OK)
        return e;
    if (letter == 'x' && code != 0)
        buf_putc(out, (char)code);
    else if (letter == 'x' || !scan_put_utf8(out, code))
        return scan_fail(s, pos, "\\%c%0*x is not allowed in a string", letter,
                         digits, code);
    return ERR_OK;
}

static enum err read_escape(struct scan *s, struct buf *out)
{
    static const char from[] = "\"\\abfnrtv", to[] = "\"\\\a\b\f\n\r\t\v";
    struct config_pos pos = scan_pos(s);

    scan_step(s);
    char c = scan_peek(s, 0);
    const char *at = c ? strchr(from, c) : NULL;
    if (at) {
        buf_putc(out, to[at - from]);
        scan_step(s);
        return ERR_OK;
    }
    if (c >= '0' && c <= '7')
        return read_octal(s, &pos, out);
    if (scan_take(s, 'x') || scan_take(s, 'u') || scan_take(s, 'U'))
        return read_hex(s, &pos, c, out);
    return scan_fail(s, &pos, "unknown escape; write \\\\ for a backslash");
}

static enum err read_char(struct scan *s, const struct config_pos *opened,
                          struct buf *out)
{
    char c = scan_peek(s, 0);

    if (scan_end(s) || c == '\n')
        return scan_fail(s, opened,
                         "this string has no closing quote on its "
                         "line; use <<EOF for several lines");
    if (c == '\\')
        return read_escape(s, out);
    if (c == '$' && scan_peek(s, 1) == '{')
        return read_verbatim(s, out);
    buf_putc(out, c);
    scan_step(s);
    return ERR_OK;
}

enum err hcl_read_string(struct scan *s, struct bytes *ret)
{
    struct config_pos pos = scan_pos(s);
    struct buf text = {0};
    enum err e = ERR_OK;

    scan_step(s);
    while (e == ERR_OK && scan_peek(s, 0) != '"')
        e = read_char(s, &pos, &text);
    if (e == ERR_OK) {
        scan_step(s);
        e = scan_keep(s, &pos, &text, ret);
    }
    buf_fini(&text);
    return e;
}

static bool is_mark(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '_';
}

/* The line that begins here, without its end. */
static struct bytes line_here(const struct scan *s)
{
    struct bytes left = bytes_skip(s->in, s->at);

    return bytes_head(left, bytes_find(left, '\n'));
}

static size_t indentation(struct bytes line)
{
    size_t n = 0;

    while (n < line.n && (line.p[n] == ' ' || line.p[n] == '\t'))
        n++;
    return n;
}

static bool is_end_mark(struct bytes line, struct bytes mark)
{
    struct bytes word = bytes_skip(line, indentation(line));

    if (word.n && word.p[word.n - 1] == '\r')
        word.n--;
    return bytes_eq(word, mark);
}

static void step_over(struct scan *s, size_t n)
{
    while (n-- > 0)
        scan_step(s);
}

/* The text without indent before each line, if all lines have it. */
static void unindent(struct bytes text, struct bytes indent, struct buf *out)
{
    for (struct bytes l = text; l.n;
         l = bytes_skip(l, bytes_find(l, '\n') + 1)) {
        if (!bytes_starts(l, indent)) {
            buf_put(out, text);
            return;
        }
    }
    while (text.n) {
        size_t n = bytes_find(text, '\n') + 1;
        buf_put(out, bytes_skip(bytes_head(text, n), indent.n));
        text = bytes_skip(text, n);
    }
}

enum err hcl_read_heredoc(struct scan *s, struct bytes *ret)
{
    struct config_pos pos = scan_pos(s);
    struct buf text = {0};

    step_over(s, 2);
    bool strip = scan_take(s, '-');
    struct bytes mark = {s->in.p + s->at, 0};
    while (is_mark(scan_peek(s, 0))) {
        mark.n++;
        scan_step(s);
    }
    (void)scan_take(s, '\r');
    if (mark.n == 0 || !scan_take(s, '\n'))
        return scan_unexpected(s, "an end mark alone after <<, as in <<EOF");

    size_t from = s->at;
    while (!scan_end(s) && !is_end_mark(line_here(s), mark))
        step_over(s,
                  bytes_head(bytes_skip(s->in, s->at), line_here(s).n + 1).n);
    if (scan_end(s))
        return scan_fail(s, &pos, "no line with the end mark %s follows",
                         config_quote(mark).s);
    struct bytes body = {s->in.p + from, s->at - from};
    struct bytes last = line_here(s);
    unindent(body, bytes_head(last, strip ? indentation(last) : 0), &text);
    step_over(s, indentation(last) + mark.n);
    enum err e = scan_keep(s, &pos, &text, ret);
    buf_fini(&text);
    return e;
}
