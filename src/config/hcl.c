/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "config/hcl.h"

#include <inttypes.h>
#include <stdio.h>

#include "config/hcl_string.h"
#include "config/json.h"
#include "config/scan.h"

static enum err read_value(struct scan *s, struct config_value **ret);

static void skip_line(struct scan *s)
{
    while (!scan_end(s) && scan_peek(s, 0) != '\n')
        scan_step(s);
}

static enum err skip_block_comment(struct scan *s)
{
    struct config_pos pos = scan_pos(s);

    scan_step(s);
    scan_step(s);
    while (scan_peek(s, 0) != '*' || scan_peek(s, 1) != '/') {
        if (scan_end(s))
            return scan_fail(s, &pos, "this comment has no closing */");
        scan_step(s);
    }
    scan_step(s);
    scan_step(s);
    return ERR_OK;
}

/* Space and comments. */
static enum err skip(struct scan *s)
{
    enum err e = ERR_OK;

    while (e == ERR_OK) {
        char c = scan_peek(s, 0), d = scan_peek(s, 1);
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
            scan_step(s);
        else if (c == '#' || (c == '/' && d == '/'))
            skip_line(s);
        else if (c == '/' && d == '*')
            e = skip_block_comment(s);
        else
            break;
    }
    return e;
}

static bool starts_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           (unsigned char)c >= 0x80;
}

static bool in_word(char c)
{
    return starts_word(c) || (c >= '0' && c <= '9') || c == '-' || c == '.';
}

static struct bytes take_word(struct scan *s)
{
    size_t from = s->at;

    while (in_word(scan_peek(s, 0)))
        scan_step(s);
    return bytes_of(s->in.p + from, s->at - from);
}

static bool at_key(const struct scan *s)
{
    return scan_peek(s, 0) == '"' || starts_word(scan_peek(s, 0));
}

static enum err read_key(struct scan *s, struct bytes *ret)
{
    struct config_pos pos = scan_pos(s);

    if (scan_peek(s, 0) == '"')
        return hcl_read_string(s, ret);
    *ret = arena_copy(s->build.arena, take_word(s));
    return ret->p ? ERR_OK : scan_made(s, &pos, ERR_NOMEM);
}

/* An object whose key is there already joins the list of such objects; the
 * first repetition makes the list, in the first one's place. */
static enum err repeat(struct scan *s, struct config_value *there,
                       struct config_value *item)
{
    if (!there->repeated) {
        struct config_value *first = NULL;
        enum err e =
            config_value_new(&s->build, CONFIG_OBJECT, &there->pos, &first);
        if (e != ERR_OK)
            return scan_made(s, &item->pos, e);
        first->items = there->items;
        there->kind = CONFIG_LIST;
        there->repeated = true;
        there->items = (struct config_items){0};
        config_append(there, first);
    }
    config_append(there, item);
    return ERR_OK;
}

static enum err add_member(struct scan *s, struct config_value *object,
                           struct bytes key, const struct config_pos *pos,
                           struct config_value *item)
{
    struct config_value *there = config_get(object, key);

    if (!there)
        return scan_made(s, pos, config_put(&s->build, object, key, pos, item));
    if (item->kind == CONFIG_OBJECT &&
        (there->kind == CONFIG_OBJECT || there->repeated))
        return repeat(s, there, item);
    return scan_duplicate(s, pos, there);
}

static enum err new_object(struct scan *s, const struct config_pos *pos,
                           struct config_value **ret)
{
    return scan_made(s, pos,
                     config_value_new(&s->build, CONFIG_OBJECT, pos, ret));
}

static enum err read_member(struct scan *s, struct config_value *object,
                            bool label);

/* What follows a key: "= value", "{ ... }", or a label and then again. */
static enum err read_after_key(struct scan *s, struct bytes key,
                               const struct config_pos *key_pos, bool label,
                               struct config_value **ret)
{
    enum err e = skip(s);
    struct config_pos pos = scan_pos(s);

    if (e != ERR_OK)
        return e;
    if (!label && scan_take(s, '=')) {
        e = skip(s);
        return e == ERR_OK ? read_value(s, ret) : e;
    }
    if (scan_peek(s, 0) == '{')
        return read_value(s, ret);
    if (label && scan_peek(s, 0) == '=')
        return scan_fail(s, key_pos,
                         "%s follows a key that has no value; a key needs "
                         "= and a value, a block {",
                         config_quote(key).s);
    if (!at_key(s))
        return scan_unexpected(s, label ? "'{' after the label"
                                        : "'=' or '{' after the key");
    if ((e = new_object(s, &pos, ret)) != ERR_OK)
        return e;
    return read_member(s, *ret, true);
}

static enum err read_member(struct scan *s, struct config_value *object,
                            bool label)
{
    struct config_pos pos = scan_pos(s);
    struct config_value *item = NULL;
    struct bytes key = {0};

    if (!at_key(s))
        return scan_unexpected(s, "a key");
    enum err e = scan_enter(s, &pos); /* for the list that repeating makes */
    if (e != ERR_OK || (e = read_key(s, &key)) != ERR_OK)
        return e;
    if (label)
        e = scan_enter(s, &pos);
    if (e == ERR_OK)
        e = read_after_key(s, key, &pos, label, &item);
    if (e != ERR_OK)
        return e;
    if (label)
        scan_leave(s);
    scan_leave(s);
    return add_member(s, object, key, &pos, item);
}

/* Members up to the closing brace, or to the end of the text. */
static enum err read_members(struct scan *s, struct config_value *object,
                             bool braces)
{
    for (;;) {
        enum err e = skip(s);
        if (e != ERR_OK)
            return e;
        if (scan_end(s) && braces)
            return scan_fail(s, &object->pos, "this { has no closing }");
        if (scan_end(s) || (braces && scan_take(s, '}')))
            return ERR_OK;
        if ((e = read_member(s, object, false)) != ERR_OK ||
            (e = skip(s)) != ERR_OK)
            return e;
        (void)scan_take(s, ',');
    }
}

static enum err read_items(struct scan *s, struct config_value *list)
{
    for (;;) {
        struct config_value *item = NULL;
        enum err e = skip(s);
        if (e != ERR_OK)
            return e;
        if (scan_end(s))
            return scan_fail(s, &list->pos, "this [ has no closing ]");
        if (scan_take(s, ']'))
            return ERR_OK;
        if ((e = read_value(s, &item)) != ERR_OK || (e = skip(s)) != ERR_OK)
            return e;
        config_append(list, item);
        if (!scan_take(s, ',') && !scan_end(s) && scan_peek(s, 0) != ']')
            return scan_unexpected(s, "',' or ']'");
    }
}

static enum err read_container(struct scan *s, enum config_kind kind,
                               struct config_value **ret)
{
    struct config_pos pos = scan_pos(s);
    enum err e = scan_enter(s, &pos);

    if (e != ERR_OK)
        return e;
    e = scan_made(s, &pos, config_value_new(&s->build, kind, &pos, ret));
    if (e != ERR_OK)
        return e;
    scan_step(s);
    e = kind == CONFIG_LIST ? read_items(s, *ret) : read_members(s, *ret, true);
    if (e == ERR_OK)
        scan_leave(s);
    return e;
}

/* False: empty, a digit that the base lacks, or over the limit. */
static bool read_digits(struct bytes digits, unsigned base, uint64_t limit,
                        uint64_t *ret)
{
    static const char all[] = "0123456789abcdef";
    uint64_t u = 0;

    for (size_t i = 0; i < digits.n; i++) {
        char c = digits.p[i];
        c = c >= 'A' && c <= 'F' ? (char)(c - 'A' + 'a') : c;
        const char *at = memchr(all, c, base);
        if (!at || u > (limit - (uint64_t)(at - all)) / base)
            return false;
        u = u * base + (uint64_t)(at - all);
    }
    *ret = u;
    return digits.n > 0;
}

/* 0x1f and 017, with an optional sign; JSON has no such form, so the value's
 * text is the decimal one. */
static enum err read_based(struct scan *s, struct config_value **ret)
{
    struct config_pos pos = scan_pos(s);
    struct bytes text = {s->in.p + s->at, 0};
    char decimal[32];
    uint64_t u = 0;

    bool minus = scan_take(s, '-');
    scan_step(s);
    bool hex = scan_take(s, 'x') || scan_take(s, 'X');
    struct bytes digits = take_word(s);
    text.n = (size_t)(s->in.p + s->at - text.p);
    if (!read_digits(digits, hex ? 16 : 8, (uint64_t)INT64_MAX + minus, &u))
        return scan_fail(s, &pos, "%s is not a number of 64 bits",
                         config_quote(text).s);
    (void)snprintf(decimal, sizeof decimal, "%s%" PRIu64, minus ? "-" : "", u);
    return scan_made(
        s, &pos, config_number_new(&s->build, bytes_str(decimal), &pos, ret));
}

static enum err read_number(struct scan *s, struct config_value **ret)
{
    size_t sign = scan_peek(s, 0) == '-';
    char c = scan_peek(s, sign + 1);

    if (scan_peek(s, sign) == '0' &&
        (c == 'x' || c == 'X' || (c >= '0' && c <= '9')))
        return read_based(s, ret);
    return scan_number(s, ret);
}

static enum err read_bool(struct scan *s, struct config_value **ret)
{
    struct config_pos pos = scan_pos(s);
    struct scan before = *s;
    struct bytes word = take_word(s);

    if (!bytes_is(word, "true") && !bytes_is(word, "false")) {
        *s = before;
        return scan_unexpected(s, "a value (strings need quotes)");
    }
    enum err e =
        scan_made(s, &pos, config_value_new(&s->build, CONFIG_BOOL, &pos, ret));
    if (e == ERR_OK)
        (*ret)->boolean = bytes_is(word, "true");
    return e;
}

static enum err read_text(struct scan *s, struct config_value **ret)
{
    struct config_pos pos = scan_pos(s);
    struct bytes text = {0};
    enum err e = scan_peek(s, 0) == '"' ? hcl_read_string(s, &text)
                                        : hcl_read_heredoc(s, &text);

    if (e != ERR_OK)
        return e;
    e = scan_made(s, &pos,
                  config_value_new(&s->build, CONFIG_STRING, &pos, ret));
    if (e == ERR_OK)
        (*ret)->string = text;
    return e;
}

static enum err read_value(struct scan *s, struct config_value **ret)
{
    char c = scan_peek(s, 0);

    if (c == '{')
        return read_container(s, CONFIG_OBJECT, ret);
    if (c == '[')
        return read_container(s, CONFIG_LIST, ret);
    if (c == '"' || (c == '<' && scan_peek(s, 1) == '<'))
        return read_text(s, ret);
    if (c == '-' || (c >= '0' && c <= '9'))
        return read_number(s, ret);
    return read_bool(s, ret);
}

static bool is_json(struct bytes text)
{
    size_t n = 0;

    while (n < text.n && text.p[n] && strchr(" \t\r\n", text.p[n]))
        n++;
    return n < text.n && text.p[n] == '{';
}

enum err config_hcl_parse(const char *file, struct bytes text,
                          struct arena *arena, struct config_value **ret,
                          struct errtext *t)
{
    struct config_value *root = NULL;
    struct scan s;

    if (is_json(text))
        return config_json_parse(file, text, arena, ret, t);
    enum err e = scan_init(&s, file, text, arena, t);
    if (e != ERR_OK)
        return e;
    struct config_pos pos = scan_pos(&s);
    e = scan_enter(&s, &pos);
    if (e == ERR_OK)
        e = new_object(&s, &pos, &root);
    if (e == ERR_OK)
        e = read_members(&s, root, false);
    if (e == ERR_OK)
        *ret = root;
    return e;
}
