/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "store/marker.h"

#include <stdlib.h>

#include "base/alloc.h"

/* --- Writing ------------------------------------------------------------- */

static void put_json_string(struct buf *out, struct bytes v)
{
    bool utf8 = bytes_utf8(v);

    buf_putc(out, '"');
    for (size_t i = 0; i < v.n; i++) {
        unsigned char c = (unsigned char)v.p[i];

        if (c == '"' || c == '\\' || c < ' ')
            buf_printf(out, "\\u%04x", c);
        else
            buf_putc(out, c < 0x80 || utf8 ? (char)c : '?');
    }
    buf_putc(out, '"');
}

static uint32_t hash_of(struct bytes key)
{
    return (uint32_t)bytes_hash(key, 0);
}

static size_t named(const struct store_change *c)
{
    return c->op_count < MARKER_KEYS_MAX ? c->op_count : MARKER_KEYS_MAX;
}

size_t marker_bytes(const struct store_change *c)
{
    return named(c) * MARKER_KEY_BYTES;
}

static void put_keys(struct buf *out, const struct store_change *c)
{
    for (size_t i = 0; i < named(c); i++) {
        const struct store_op *op = &c->ops[i];

        buf_putc(out, ',');
        if (op->kind == OP_DELETE_PREFIX) {
            buf_putc(out, '-');
            buf_u64(out, op->key.n + 1);
            buf_putc(out, ',');
        }
        buf_u64(out, hash_of(op->key));
    }
}

void marker_put(struct buf *out, struct store_change *const *changes, size_t n,
                bool keys)
{
    buf_puts(out, ",\"by\":[");
    for (size_t i = 0; i < n; i++) {
        buf_puts(out, i ? ",[" : "[");
        put_json_string(out, changes[i]->meta);
        buf_putc(out, ',');
        buf_u64(out, changes[i]->op_count);
        if (keys && n > 1)
            put_keys(out, changes[i]);
        buf_putc(out, ']');
    }
    buf_putc(out, ']');
}

/* --- Reading ------------------------------------------------------------- */

void marker_reset(struct marker *m)
{
    buf_reset(&m->metas);
    m->change_n = m->key_n = 0;
    m->rest = 0;
    m->rest_known = false;
}

void marker_fini(struct marker *m)
{
    buf_fini(&m->metas);
    free(m->changes);
    free(m->keys);
    *m = (struct marker){0};
}

static bool take(struct bytes *rest, char c)
{
    if (rest->n == 0 || rest->p[0] != c)
        return false;
    *rest = bytes_skip(*rest, 1);
    return true;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

/* Of the escapes that put_json_string writes. */
static bool take_escape(struct bytes *rest, char *ret)
{
    int v = 0;

    if (!take(rest, 'u') || rest->n < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(rest->p[i]);

        if (digit < 0)
            return false;
        v = v << 4 | digit;
    }
    *rest = bytes_skip(*rest, 4);
    *ret = (char)v;
    return v < 0x80;
}

static bool take_string(struct bytes *rest, struct buf *out)
{
    if (!take(rest, '"'))
        return false;
    while (rest->n && rest->p[0] != '"') {
        char c = rest->p[0];

        *rest = bytes_skip(*rest, 1);
        if (c == '\\' && !take_escape(rest, &c))
            return false;
        buf_putc(out, c);
    }
    return take(rest, '"') && !out->bad;
}

static bool take_number(struct bytes *rest, uint64_t max, uint64_t *ret)
{
    size_t n = 0;

    while (n < rest->n && rest->p[n] >= '0' && rest->p[n] <= '9')
        n++;
    if (bytes_u64(bytes_head(*rest, n), ret) != ERR_OK || *ret > max)
        return false;
    *rest = bytes_skip(*rest, n);
    return true;
}

static void add_key(struct marker *m, uint64_t hash, uint64_t prefix)
{
    if (m->key_n == m->key_cap) {
        m->key_cap = m->key_cap ? m->key_cap * 2 : 64;
        m->keys = xrealloc(m->keys, m->key_cap * sizeof *m->keys);
    }
    m->keys[m->key_n++] = (struct marker_key){
        (uint32_t)hash, (uint32_t)m->change_n, (uint32_t)prefix};
}

static bool take_key(struct marker *m, struct bytes *rest)
{
    uint64_t prefix = 0, hash;

    if (take(rest, '-') &&
        (!take_number(rest, STORE_KEY_MAX + 1, &prefix) || !take(rest, ',')))
        return false;
    if (!take_number(rest, UINT32_MAX, &hash))
        return false;
    add_key(m, hash, prefix);
    return true;
}

static bool take_change(struct marker *m, struct bytes *rest)
{
    size_t at = m->metas.n, keys = 0;
    uint64_t ops;

    if (!take(rest, '[') || !take_string(rest, &m->metas) || !take(rest, ',') ||
        !take_number(rest, UINT32_MAX, &ops))
        return false;
    for (; take(rest, ','); keys++)
        if (!take_key(m, rest))
            return false;
    if (!take(rest, ']'))
        return false;
    if (m->change_n == m->change_cap) {
        m->change_cap = m->change_cap ? m->change_cap * 2 : 16;
        m->changes = xrealloc(m->changes, m->change_cap * sizeof *m->changes);
    }
    m->changes[m->change_n++] = (struct marker_change){
        .meta_at = (uint32_t)at, .meta_n = (uint32_t)(m->metas.n - at)};
    if (keys < ops) {
        m->rest = m->rest_known ? 0 : (uint32_t)m->change_n;
        m->rest_known = true;
    }
    return true;
}

static const char by_mark[] = "\"by\":[";

void marker_read(struct marker *m, struct bytes text)
{
    struct bytes rest = text;

    /* In front of it stand an ID and a number, which hold no quotes. */
    while (rest.n && !bytes_starts(rest, bytes_str(by_mark)))
        rest = bytes_skip(rest, 1);
    rest = bytes_skip(rest, sizeof by_mark - 1);
    while (take_change(m, &rest) && take(&rest, ','))
        continue;
}

struct bytes marker_metas(const struct marker *m)
{
    return buf_bytes(&m->metas);
}

struct bytes marker_by(const struct marker *m, struct bytes key,
                       struct bytes metas)
{
    uint32_t hash = hash_of(key), change = m->rest;

    for (size_t i = 0; i < m->key_n; i++) {
        const struct marker_key *k = &m->keys[i];
        bool hit = k->prefix == 0
                       ? k->hash == hash
                       : key.n + 1 >= k->prefix &&
                             k->hash == hash_of(bytes_head(key, k->prefix - 1));
        if (hit) {
            change = k->change + 1;
            break;
        }
    }
    if (change == 0 || change > m->change_n)
        return (struct bytes){0};
    const struct marker_change *c = &m->changes[change - 1];

    return bytes_head(bytes_skip(metas, c->meta_at), c->meta_n);
}
