/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "config/value.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"

/* Open addressing, power of two, at most half full. Small objects have none:
 * walking eight members is as fast. Without it 50,000 keys in one object would
 * take a second to check for duplicates. */
struct config_index {
    size_t cap;
    struct config_value *slots[];
};

enum { INDEX_FROM = 8, INDEX_SEED = 1 };

static size_t slot_of(const struct config_index *x, struct bytes key)
{
    size_t at = (size_t)bytes_hash(key, INDEX_SEED) & (x->cap - 1);

    while (x->slots[at] && !bytes_eq(x->slots[at]->key, key))
        at = (at + 1) & (x->cap - 1);
    return at;
}

/* Room for one more member. The old index stays in the arena: all of them
 * together are as large as the newest. */
static enum err index_room(struct arena *arena, struct config_items *o)
{
    struct config_index *x = o->index;

    if (o->n < INDEX_FROM || (x && o->n < x->cap / 2))
        return ERR_OK;
    size_t cap = x ? x->cap * 2 : (size_t)INDEX_FROM * 4;
    x = arena_zalloc(arena, sizeof *x + cap * sizeof x->slots[0]);
    if (!x)
        return ERR_NOMEM;
    x->cap = cap;
    for (struct config_value *m = o->first; m; m = m->next)
        x->slots[slot_of(x, m->key)] = m;
    o->index = x;
    return ERR_OK;
}

struct config_value *config_get(const struct config_value *object,
                                struct bytes key)
{
    if (object->kind != CONFIG_OBJECT)
        return NULL;
    const struct config_index *x = object->items.index;
    if (x)
        return x->slots[slot_of(x, key)];
    struct config_value *m = object->items.first;
    while (m && !bytes_eq(m->key, key))
        m = m->next;
    return m;
}

static void link_last(struct config_items *items, struct config_value *v)
{
    v->next = NULL;
    if (items->last)
        items->last->next = v;
    else
        items->first = v;
    items->last = v;
    items->n++;
}

void config_append(struct config_value *list, struct config_value *item)
{
    require(list->kind == CONFIG_LIST);
    link_last(&list->items, item);
}

enum err config_put(struct config_build *b, struct config_value *object,
                    struct bytes key, const struct config_pos *key_pos,
                    struct config_value *item)
{
    struct config_items *o = &object->items;

    require(object->kind == CONFIG_OBJECT);
    enum err e = index_room(b->arena, o);
    if (e != ERR_OK)
        return e;
    item->key = key;
    item->key_pos = *key_pos;
    link_last(o, item);
    if (o->index)
        o->index->slots[slot_of(o->index, key)] = item;
    return ERR_OK;
}

enum err config_value_new(struct config_build *b, enum config_kind kind,
                          const struct config_pos *pos,
                          struct config_value **ret)
{
    if (b->values >= CONFIG_VALUES_MAX)
        return ERR_LIMIT;
    struct config_value *v = arena_zalloc(b->arena, sizeof *v);
    if (!v)
        return ERR_NOMEM;
    b->values++;
    v->kind = kind;
    v->pos = *pos;
    *ret = v;
    return ERR_OK;
}

enum err config_string_new(struct config_build *b, struct bytes s,
                           const struct config_pos *pos,
                           struct config_value **ret)
{
    struct config_value *v = NULL;
    enum err e = config_value_new(b, CONFIG_STRING, pos, &v);

    if (e != ERR_OK)
        return e;
    v->string = arena_copy(b->arena, s);
    if (!v->string.p)
        return ERR_NOMEM;
    *ret = v;
    return ERR_OK;
}

static bool int_from(const char *text, int64_t *ret)
{
    bool minus = text[0] == '-';
    uint64_t u = 0;

    if (bytes_u64(bytes_str(text + minus), &u) != ERR_OK ||
        u > (uint64_t)INT64_MAX + minus)
        return false;
    *ret = (int64_t)(minus ? 0 - u : u);
    return true;
}

enum err config_number_new(struct config_build *b, struct bytes text,
                           const struct config_pos *pos,
                           struct config_value **ret)
{
    struct config_value *v = NULL;
    enum err e = config_value_new(b, CONFIG_NUMBER, pos, &v);

    if (e != ERR_OK)
        return e;
    char *s = arena_str(b->arena, text);
    if (!s)
        return ERR_NOMEM;
    struct config_number *n = &v->number;
    n->text = bytes_str(s);
    if (s[strcspn(s, ".eE")] == '\0') {
        n->whole = int_from(s, &n->i);
        if (!n->whole)
            return ERR_BAD;
        n->d = (double)n->i;
    } else {
        n->d = strtod(s, NULL);
        if (!isfinite(n->d))
            return ERR_BAD;
        /* From 2^53 on a double no longer says which integer was meant. */
        n->whole = fabs(n->d) < 0x1p53 && trunc(n->d) == n->d;
        n->i = n->whole ? (int64_t)n->d : 0;
    }
    *ret = v;
    return ERR_OK;
}

const char *config_kind_text(enum config_kind kind)
{
    switch (kind) {
    case CONFIG_NULL:
        return "null";
    case CONFIG_BOOL:
        return "true or false";
    case CONFIG_NUMBER:
        return "a number";
    case CONFIG_STRING:
        return "a string";
    case CONFIG_LIST:
        return "a list";
    case CONFIG_OBJECT:
        return "an object";
    }
    return "?";
}

static bool items_equal(const struct config_value *a,
                        const struct config_value *b)
{
    const struct config_value *y = b->items.first;

    if (a->items.n != b->items.n)
        return false;
    config_each(x, a)
    {
        if (!bytes_eq(x->key, y->key) || !config_equal(x, y))
            return false;
        y = y->next;
    }
    return true;
}

bool config_equal(const struct config_value *a, const struct config_value *b)
{
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case CONFIG_NULL:
        return true;
    case CONFIG_BOOL:
        return a->boolean == b->boolean;
    case CONFIG_NUMBER:
        return bytes_eq(a->number.text, b->number.text);
    case CONFIG_STRING:
        return bytes_eq(a->string, b->string);
    case CONFIG_LIST:
    case CONFIG_OBJECT:
        return items_equal(a, b);
    }
    return false;
}

static void string_to_json(struct buf *out, struct bytes s)
{
    buf_putc(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '"' || c == '\\') {
            buf_putc(out, '\\');
            buf_putc(out, c);
        } else if ((unsigned char)c < 0x20) {
            buf_printf(out, "\\u%04x", (unsigned)c);
        } else {
            buf_putc(out, c);
        }
    }
    buf_putc(out, '"');
}

static void items_to_json(struct buf *out, const struct config_value *v)
{
    bool object = v->kind == CONFIG_OBJECT;

    buf_putc(out, object ? '{' : '[');
    config_each(m, v)
    {
        if (m != v->items.first)
            buf_putc(out, ',');
        if (object) {
            string_to_json(out, m->key);
            buf_putc(out, ':');
        }
        config_value_to_json(out, m); /* at most CONFIG_DEPTH_MAX deep */
    }
    buf_putc(out, object ? '}' : ']');
}

void config_value_to_json(struct buf *out, const struct config_value *v)
{
    switch (v->kind) {
    case CONFIG_NULL:
        buf_puts(out, "null");
        break;
    case CONFIG_BOOL:
        buf_puts(out, v->boolean ? "true" : "false");
        break;
    case CONFIG_NUMBER:
        buf_put(out, v->number.text);
        break;
    case CONFIG_STRING:
        string_to_json(out, v->string);
        break;
    case CONFIG_LIST:
    case CONFIG_OBJECT:
        items_to_json(out, v);
        break;
    }
}

void config_pos_print(char ret[96], const struct config_pos *pos)
{
    enum { SHOWN = 60 };
    const char *file = pos->file ? pos->file : "?";
    const char *dots = "";
    size_t n = strlen(file);

    if (n > SHOWN) {
        dots = "...";
        file += n - (SHOWN - 3);
    }
    if (pos->line)
        (void)snprintf(ret, 96, "%s%s:%u:%u", dots, file, pos->line,
                       pos->column);
    else
        (void)snprintf(ret, 96, "%s%s", dots, file);
}

void config_fail(struct errtext *t, const struct config_pos *pos,
                 const char *fmt, ...)
{
    char where[96];
    char what[sizeof t->s];
    va_list args;

    config_pos_print(where, pos);
    va_start(args, fmt);
    (void)vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    errtext_set(t, "%s: %s", where, what);
}

struct config_quoted config_quote(struct bytes b)
{
    enum { SHOWN = 40 };
    struct config_quoted q;
    size_t n = b.n < SHOWN ? b.n : SHOWN;
    size_t at = 0;

    /* Do not cut a character of several bytes in two. */
    while (b.n > SHOWN && n && ((unsigned char)b.p[n] & 0xc0) == 0x80)
        n--;
    q.s[at++] = '"';
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)b.p[i];
        q.s[at++] = c < 0x20 || c == 0x7f ? '?' : (char)c;
    }
    for (int i = 0; b.n > n && i < 3; i++)
        q.s[at++] = '.';
    q.s[at++] = '"';
    q.s[at] = '\0';
    return q;
}
