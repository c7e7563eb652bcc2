/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "store/etcd_text.h"

/* --- Steps --------------------------------------------------------------- */

static void blanks(struct text *t)
{
    while (t->p < t->end &&
           (*t->p == ' ' || *t->p == '\n' || *t->p == '\r' || *t->p == '\t'))
        t->p++;
}

static char peek(struct text *t)
{
    blanks(t);
    return t->p < t->end ? *t->p : '\0';
}

static bool take(struct text *t, char c)
{
    if (t->bad || peek(t) != c || t->p == t->end)
        return false;
    t->p++;
    return true;
}

static void want(struct text *t, char c)
{
    if (!take(t, c))
        t->bad = true;
}

void text_object(struct text *t)
{
    want(t, '{');
    t->first = true;
}

void text_array(struct text *t)
{
    want(t, '[');
    t->first = true;
}

/* True: another one follows. */
static bool next(struct text *t, char close)
{
    if (t->bad)
        return false;
    if (take(t, close)) {
        t->first = false;
        return false;
    }
    if (!t->first)
        want(t, ',');
    t->first = false;
    return !t->bad;
}

bool text_member(struct text *t, struct bytes *ret_name)
{
    if (!next(t, '}'))
        return false;
    *ret_name = text_string(t);
    want(t, ':');
    return !t->bad;
}

bool text_item(struct text *t)
{
    return next(t, ']');
}

/* --- Values -------------------------------------------------------------- */

struct bytes text_string(struct text *t)
{
    want(t, '"');
    if (t->bad)
        return (struct bytes){0};
    const char *from = t->p;

    while (t->p < t->end && *t->p != '"')
        t->p += *t->p == '\\' && t->p + 1 < t->end ? 2 : 1;
    struct bytes s = bytes_of(from, (size_t)(t->p - from));
    want(t, '"');
    return t->bad ? (struct bytes){0} : s;
}

/* A number, true, false or null. */
static struct bytes word(struct text *t)
{
    (void)peek(t);
    const char *from = t->p;

    while (t->p < t->end && *t->p != ',' && *t->p != '}' && *t->p != ']' &&
           *t->p > ' ' && *t->p != '"')
        t->p++;
    if (t->p == from)
        t->bad = true;
    return bytes_of(from, (size_t)(t->p - from));
}

uint64_t text_u64(struct text *t)
{
    struct bytes s = peek(t) == '"' ? text_string(t) : word(t);
    uint64_t n = 0;

    if (t->bad || bytes_u64(s, &n) != ERR_OK) {
        t->bad = true;
        return 0;
    }
    return n;
}

bool text_bool(struct text *t)
{
    struct bytes s = word(t);

    if (!bytes_is(s, "true") && !bytes_is(s, "false"))
        t->bad = true;
    return !t->bad && bytes_is(s, "true");
}

void text_skip(struct text *t)
{
    int depth = 0;

    do {
        char c = peek(t);

        if (c == '{' || c == '[') {
            depth++;
            t->p++;
        } else if (depth && (c == '}' || c == ']')) {
            depth--;
            t->p++;
        } else if (depth && (c == ',' || c == ':')) {
            t->p++;
        } else if (c == '"') {
            (void)text_string(t);
        } else {
            (void)word(t);
        }
        t->bad |= depth > TEXT_DEPTH_MAX;
    } while (depth && !t->bad);
}

bool text_end(struct text *t)
{
    blanks(t);
    return !t->bad && t->p == t->end;
}

/* --- Writing ------------------------------------------------------------- */

void text_put_u64(struct buf *out, const char *name, uint64_t v)
{
    buf_putc(out, '"');
    buf_puts(out, name);
    buf_puts(out, "\":\"");
    buf_u64(out, v);
    buf_putc(out, '"');
}
