/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Packed lists and maps. An item found has a non-NULL p even when it is empty,
 * so that packed_find can tell "empty" from "none". */
#include "catalog/record.h"

#include "base/reader.h"
#include "catalog/impl.h"

bool packed_next(struct bytes *rest, struct bytes *ret_item)
{
    size_t len, at = 1;

    if (rest->n == 0)
        return false;
    len = (uint8_t)rest->p[0];
    if (len >= 0x80) { /* rare: the general form */
        struct reader r = reader_over(*rest);
        uint64_t n = read_varint(&r);
        at = r.at;
        if (r.bad || n > reader_left(&r))
            return false;
        len = (size_t)n;
    }
    if (len > rest->n - at)
        return false;
    *ret_item = bytes_of(rest->p + at, len);
    *rest = bytes_skip(*rest, at + len);
    return true;
}

bool packed_next_pair(struct bytes *rest, struct bytes *ret_key,
                      struct bytes *ret_value)
{
    struct bytes left = *rest, key;

    if (!packed_next(&left, &key) || !packed_next(&left, ret_value))
        return false;
    *ret_key = key;
    *rest = left;
    return true;
}

bool packed_has(struct packed p, struct bytes item)
{
    struct bytes rest = p.data, it;

    while (packed_next(&rest, &it))
        if (bytes_eq(it, item))
            return true;
    return false;
}

bool packed_has_fold(struct packed p, struct bytes item)
{
    struct bytes rest = p.data, it;

    while (packed_next(&rest, &it))
        if (bytes_eq_fold(it, item))
            return true;
    return false;
}

struct bytes packed_find(struct packed map, struct bytes key)
{
    struct bytes rest = map.data, k, v;

    while (packed_next_pair(&rest, &k, &v))
        if (bytes_eq(k, key))
            return v;
    return (struct bytes){NULL, 0};
}

bool packed_valid(struct packed p, bool map, size_t min_value_bytes)
{
    struct bytes rest = p.data, item, value;
    uint64_t n = 0;

    while (map ? packed_next_pair(&rest, &item, &value)
               : packed_next(&rest, &item)) {
        if (map && value.n < min_value_bytes)
            return false;
        n++;
    }
    return rest.n == 0 && n == p.n;
}

bool tagged_address(struct bytes value, struct bytes *ret_address,
                    int64_t *ret_port)
{
    struct reader r = reader_over(value);
    uint64_t port = read_be64(&r);

    if (r.bad)
        return false;
    *ret_address = bytes_skip(value, TAGGED_PORT_BYTES);
    *ret_port = (int64_t)port;
    return true;
}

bool guard_out_since(struct bytes value, uint64_t *ret_since_ms)
{
    struct reader r = reader_over(value);

    *ret_since_ms = read_be64(&r);
    return !r.bad && reader_left(&r) == 0;
}

void packed_put_out(struct buf *out, struct bytes key, uint64_t since_ms)
{
    buf_lp(out, key);
    buf_varint(out, OUT_SINCE_BYTES);
    buf_be64(out, since_ms);
}

void packed_put(struct buf *out, struct bytes item)
{
    buf_lp(out, item);
}

void packed_put_pair(struct buf *out, struct bytes key, struct bytes value)
{
    buf_lp(out, key);
    buf_lp(out, value);
}

void packed_put_tagged(struct buf *out, struct bytes name, struct bytes address,
                       int64_t port)
{
    buf_lp(out, name);
    buf_varint(out, TAGGED_PORT_BYTES + (uint64_t)address.n);
    buf_be64(out, (uint64_t)port);
    buf_put(out, address);
}
