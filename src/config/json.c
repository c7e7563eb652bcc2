/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "config/json.h"

#include "config/scan.h"

static enum err read_value(struct scan *s, struct config_value **ret);

static enum err skip_space(struct scan *s)
{
    for (;;) {
        char c = scan_peek(s, 0);
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
            scan_step(s);
        else
            break;
    }
    if (scan_peek(s, 0) == '/' || scan_peek(s, 0) == '#') {
        struct config_pos pos = scan_pos(s);
        return scan_fail(
            s, &pos, "JSON has no comments; name the file .hcl to use them");
    }
    return ERR_OK;
}

/* After "\u": one code point, of which large ones are written as two halves. */
static enum err read_unicode(struct scan *s, const struct config_pos *pos,
                             struct buf *out)
{
    uint32_t code = 0, low = 0;
    enum err e = scan_hex(s, 4, &code);

    if (e == ERR_OK && code >= 0xd800 && code < 0xdc00 &&
        scan_peek(s, 0) == '\\' && scan_peek(s, 1) == 'u') {
        scan_step(s);
        scan_step(s);
        e = scan_hex(s, 4, &low);
        if (e == ERR_OK && low >= 0xdc00 && low <= 0xdfff)
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    if (e == ERR_OK && !scan_put_utf8(out, code))
        return scan_fail(s, pos,
                         code ? "half of a surrogate pair"
                              : "NUL is not allowed in a string");
    return e;
}

static enum err read_escape(struct scan *s, struct buf *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    struct config_pos pos = scan_pos(s);

    scan_step(s);
    char c = scan_peek(s, 0);
    const char *at = c ? strchr(from, c) : NULL;
    if (at) {
        buf_putc(out, to[at - from]);
        scan_step(s);
        return ERR_OK;
    }
    if (!scan_take(s, 'u'))
        return scan_fail(s, &pos,
                         "unknown escape; JSON has \\\" \\\\ \\/ \\b "
                         "\\f \\n \\r \\t \\uXXXX");
    return read_unicode(s, &pos, out);
}

/* The opening quote stands here. */
static enum err read_string(struct scan *s, struct bytes *ret)
{
    struct config_pos pos = scan_pos(s), here;
    struct buf text = {0};
    enum err e = ERR_OK;

    scan_step(s);
    while (e == ERR_OK && scan_peek(s, 0) != '"') {
        unsigned char c = (unsigned char)scan_peek(s, 0);
        here = scan_pos(s);
        if (scan_end(s)) {
            e = scan_fail(s, &pos, "this string has no closing quote");
        } else if (c < 0x20) {
            e = scan_fail(s, &here,
                          "control byte 0x%02x in a string; write \\u%04x", c,
                          c);
        } else if (c == '\\') {
            e = read_escape(s, &text);
        } else {
            buf_putc(&text, (char)c);
            scan_step(s);
        }
    }
    if (e == ERR_OK) {
        scan_step(s);
        e = scan_keep(s, &pos, &text, ret);
    }
    buf_fini(&text);
    return e;
}

static enum err read_member(struct scan *s, struct config_value *object)
{
    struct config_pos pos = scan_pos(s);
    struct bytes key = {0};
    struct config_value *item = NULL;

    if (scan_peek(s, 0) != '"')
        return scan_unexpected(s, "a key in quotes");
    enum err e = read_string(s, &key);
    if (e != ERR_OK)
        return e;
    const struct config_value *first = config_get(object, key);
    if (first)
        return scan_duplicate(s, &pos, first);
    if ((e = skip_space(s)) != ERR_OK)
        return e;
    if (!scan_take(s, ':'))
        return scan_unexpected(s, "':' after the key");
    if ((e = read_value(s, &item)) != ERR_OK)
        return e;
    return scan_made(s, &pos, config_put(&s->build, object, key, &pos, item));
}

static enum err read_item(struct scan *s, struct config_value *list)
{
    struct config_value *item = NULL;
    enum err e = read_value(s, &item);

    if (e == ERR_OK)
        config_append(list, item);
    return e;
}

static enum err read_items(struct scan *s, struct config_value *v, char close)
{
    bool object = v->kind == CONFIG_OBJECT;
    enum err e = skip_space(s);

    if (e != ERR_OK || scan_take(s, close))
        return e;
    for (;;) {
        if ((e = skip_space(s)) != ERR_OK)
            return e;
        if (v->items.n && scan_peek(s, 0) == close)
            return scan_unexpected(s, "another item after ','");
        e = object ? read_member(s, v) : read_item(s, v);
        if (e != ERR_OK || (e = skip_space(s)) != ERR_OK)
            return e;
        if (scan_take(s, close))
            return ERR_OK;
        if (!scan_take(s, ','))
            return scan_unexpected(s, object ? "',' or '}'" : "',' or ']'");
    }
}

static enum err read_container(struct scan *s, enum config_kind kind,
                               struct config_value **ret)
{
    struct config_pos pos = scan_pos(s);
    struct config_value *v = NULL;
    enum err e = scan_enter(s, &pos);

    if (e != ERR_OK)
        return e;
    e = scan_made(s, &pos, config_value_new(&s->build, kind, &pos, &v));
    if (e != ERR_OK)
        return e;
    scan_step(s);
    e = read_items(s, v, kind == CONFIG_OBJECT ? '}' : ']');
    if (e != ERR_OK)
        return e;
    scan_leave(s);
    *ret = v;
    return ERR_OK;
}

static bool take_word(struct scan *s, const char *word)
{
    if (!bytes_starts(bytes_skip(s->in, s->at), bytes_str(word)))
        return false;
    for (size_t n = strlen(word); n > 0; n--)
        scan_step(s);
    return true;
}

static enum err read_word(struct scan *s, struct config_value **ret)
{
    struct config_pos pos = scan_pos(s);
    enum config_kind kind = CONFIG_BOOL;
    bool yes = take_word(s, "true");

    if (!yes && !take_word(s, "false")) {
        if (!take_word(s, "null"))
            return scan_unexpected(s, "a value");
        kind = CONFIG_NULL;
    }
    enum err e =
        scan_made(s, &pos, config_value_new(&s->build, kind, &pos, ret));
    if (e == ERR_OK && kind == CONFIG_BOOL)
        (*ret)->boolean = yes;
    return e;
}

static enum err read_value(struct scan *s, struct config_value **ret)
{
    enum err e = skip_space(s);
    struct config_pos pos = scan_pos(s);
    struct bytes text = {0};
    char c = scan_peek(s, 0);

    if (e != ERR_OK)
        return e;
    if (c == '{')
        return read_container(s, CONFIG_OBJECT, ret);
    if (c == '[')
        return read_container(s, CONFIG_LIST, ret);
    if (c == '-' || (c >= '0' && c <= '9'))
        return scan_number(s, ret);
    if (c != '"')
        return read_word(s, ret);
    if ((e = read_string(s, &text)) != ERR_OK)
        return e;
    e = scan_made(s, &pos,
                  config_value_new(&s->build, CONFIG_STRING, &pos, ret));
    if (e == ERR_OK)
        (*ret)->string = text;
    return e;
}

enum err config_json_parse(const char *file, struct bytes text,
                           struct arena *arena, struct config_value **ret,
                           struct errtext *t)
{
    struct config_value *v = NULL;
    struct scan s;
    enum err e = scan_init(&s, file, text, arena, t);

    if (e == ERR_OK)
        e = read_value(&s, &v);
    if (e == ERR_OK)
        e = skip_space(&s);
    if (e != ERR_OK)
        return e;
    if (!scan_end(&s))
        return scan_unexpected(&s, "the end of the text");
    *ret = v;
    return ERR_OK;
}
