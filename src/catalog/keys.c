/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Keys. Each name has exactly one spelling as a key: folded, and escaped where
 * it must be and nowhere else; key_parse refuses all other spellings. */
#include "catalog/record.h"

static const char hex[] = "0123456789abcdef";

enum { FIRST_PLAIN = 0x21 /* what is below is escaped: control, space */ };

static bool is_plain(char c)
{
    return (unsigned char)c >= FIRST_PLAIN && c != '/' && c != '%';
}

static void put_part(struct buf *out, struct bytes part)
{
    for (size_t i = 0; i < part.n;) {
        size_t from = i;
        while (i < part.n && is_plain(part.p[i]))
            i++;
        buf_put_fold(out, bytes_of(part.p + from, i - from));
        if (i < part.n) {
            unsigned c = (unsigned char)part.p[i++];
            char escaped[3] = {'%', hex[c >> 4], hex[c & 15]};
            buf_put_n(out, escaped, sizeof escaped);
        }
    }
}

static void put_prefix(struct buf *out, char kind, struct bytes part)
{
    buf_putc(out, kind);
    buf_putc(out, '/');
    put_part(out, part);
}

static void put_under(struct buf *out, char kind, struct bytes node,
                      struct bytes id)
{
    put_prefix(out, kind, node);
    buf_putc(out, '/');
    put_part(out, id);
}

void key_node(struct buf *out, struct bytes node)
{
    put_prefix(out, 'n', node);
}

void key_node_id(struct buf *out, struct bytes uuid)
{
    put_prefix(out, 'i', uuid);
}

void key_service(struct buf *out, struct bytes node, struct bytes service_id)
{
    put_under(out, 's', node, service_id);
}

void key_check(struct buf *out, struct bytes node, struct bytes check_id)
{
    put_under(out, 'c', node, check_id);
}

void key_guard(struct buf *out, struct bytes service_name)
{
    put_prefix(out, 'g', service_name);
}

void key_query(struct buf *out, struct bytes uuid)
{
    put_prefix(out, 'q', uuid);
}

void key_query_name(struct buf *out, struct bytes name)
{
    put_prefix(out, 'u', bytes_of(":", 1)); /* no part is empty */
    put_part(out, name);
}

void key_coordinate(struct buf *out, struct bytes node)
{
    put_prefix(out, 'x', node);
}

void key_instance(struct buf *out, struct bytes node, struct bytes service_id)
{
    put_part(out, node);
    buf_putc(out, '/');
    put_part(out, service_id);
}

void key_services_of(struct buf *out, struct bytes node)
{
    put_under(out, 's', node, (struct bytes){NULL, 0});
}

void key_checks_of(struct buf *out, struct bytes node)
{
    put_under(out, 'c', node, (struct bytes){NULL, 0});
}

/* --- Taking apart -------------------------------------------------------- */

static int hex_digit(char c)
{
    const char *at = c ? strchr(hex, c) : NULL;
    return at ? (int)(at - hex) : -1;
}

/* One character of a part, escaped or not; false: not in its only form. */
static bool take_char(struct bytes *rest, char *ret)
{
    char c = rest->p[0];

    if (c != '%') {
        *rest = bytes_skip(*rest, 1);
        *ret = c;
        return is_plain(c) && !(c >= 'A' && c <= 'Z');
    }
    if (rest->n < 3)
        return false;
    int high = hex_digit(rest->p[1]), low = hex_digit(rest->p[2]);
    if (high < 0 || low < 0)
        return false;
    *ret = (char)(high << 4 | low);
    *rest = bytes_skip(*rest, 3);
    return !is_plain(*ret);
}

/* Up to '/' or the end, unescaped to the end of *out. */
static bool take_part(struct bytes *rest, char **out, struct bytes *ret)
{
    char *start = *out;

    while (rest->n && rest->p[0] != '/') {
        if (!take_char(rest, *out))
            return false;
        ++*out;
    }
    *ret = bytes_of(start, (size_t)(*out - start));
    return ret->n > 0;
}

static bool kind_of(struct bytes key, enum record_kind *ret)
{
    if (key.n < 2 || key.p[1] != '/')
        return false;
    switch (key.p[0]) {
    case 'n':
        *ret = RECORD_NODE;
        return true;
    case 's':
        *ret = RECORD_SERVICE;
        return true;
    case 'c':
        *ret = RECORD_CHECK;
        return true;
    case 'i':
        *ret = RECORD_NODE_ID;
        return true;
    case 'g':
        *ret = RECORD_GUARD;
        return true;
    case 'q':
        *ret = RECORD_QUERY;
        return true;
    case 'u':
        *ret = RECORD_QUERY_NAME;
        return true;
    case 'x':
        *ret = RECORD_COORDINATE;
        return true;
    default:
        return false;
    }
}

enum err key_parse(struct bytes key, char *scratch, enum record_kind *ret_kind,
                   struct bytes *ret_a, struct bytes *ret_b)
{
    enum record_kind kind;
    struct bytes rest = bytes_skip(key, 2), a, b = {NULL, 0};

    if (!kind_of(key, &kind) || !take_part(&rest, &scratch, &a))
        return ERR_BAD;
    if (kind == RECORD_SERVICE || kind == RECORD_CHECK) {
        if (rest.n == 0)
            return ERR_BAD;
        rest = bytes_skip(rest, 1); /* the slash */
        if (!take_part(&rest, &scratch, &b))
            return ERR_BAD;
    }
    if (rest.n)
        return ERR_BAD;
    if (kind == RECORD_QUERY_NAME) {
        if (a.p[0] != ':')
            return ERR_BAD;
        a = bytes_skip(a, 1);
    }
    *ret_kind = kind;
    *ret_a = a;
    *ret_b = b;
    return ERR_OK;
}
