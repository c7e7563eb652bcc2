/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* A roster as the bytes of a cache file:
 *
 *     "muster list 2\n"
 *     8 bytes  XXH3 of all that follows, big-endian
 *     datacenter, query, cluster (length, bytes)
 *     8 bytes each: token hash, saved, index
 *     varint   number of instances; for each
 *              node, id, address, zone (length, bytes)
 *              4 bytes weight, 4 bytes port, 1 byte priority, 1 byte flags
 *
 * Entries that are only kept for a while are written as they are: after a
 * restart they are as good as the rest, namely on probation. */
#include "client/impl.h"

#include "base/reader.h"

static const char magic[] = "muster list 2\n";

enum { FLAG_CRITICAL = 1, FLAG_OUT = 2, FLAGS_ALL = 3, ENTRY_BYTES_MIN = 14 };

void roster_put(struct buf *out, const struct roster *r,
                const struct roster_label *label)
{
    buf_puts(out, magic);
    size_t sum_at = out->n;
    buf_be64(out, 0);
    buf_lp(out, label->datacenter);
    buf_lp(out, label->query);
    buf_lp(out, label->cluster);
    buf_be64(out, label->token_hash);
    buf_be64(out, label->saved_ms);
    buf_be64(out, label->index);
    buf_varint(out, r->n);
    for (size_t i = 0; i < r->n; i++) {
        const struct roster_entry *e = &r->v[i];
        buf_lp(out, e->node);
        buf_lp(out, e->id);
        buf_lp(out, e->address);
        buf_lp(out, e->zone);
        buf_be32(out, e->weight);
        buf_be32(out, e->port);
        buf_putc(out, (char)e->priority);
        buf_putc(out, (char)((e->critical ? FLAG_CRITICAL : 0) |
                             (e->out ? FLAG_OUT : 0)));
    }
    if (out->bad)
        return;
    uint64_t sum = bytes_hash(bytes_skip(buf_bytes(out), sum_at + 8), 0);
    for (int i = 0; i < 8; i++)
        out->p[sum_at + (size_t)i] = (char)(sum >> (56 - 8 * i));
}

static bool text_ok(struct bytes b)
{
    return b.n <= ROSTER_TEXT_MAX && !memchr(b.p ? b.p : "", '\0', b.n);
}

static enum err get_entry(struct reader *r, struct roster *to)
{
    struct bytes node = read_lp(r), id = read_lp(r), address = read_lp(r),
                 zone = read_lp(r);
    uint32_t weight = read_be32(r), port = read_be32(r);
    uint8_t priority = read_u8(r), flags = read_u8(r);

    if (r->bad || !text_ok(node) || !text_ok(id) || !text_ok(address) ||
        !text_ok(zone) || !address.n || port - 1 >= UINT16_MAX ||
        weight > LB_ENDPOINT_WEIGHT_MAX || priority >= ROSTER_PRIORITIES ||
        flags > FLAGS_ALL)
        return ERR_CORRUPT;
    struct roster_entry e = {
        .node = arena_copy(&to->arena, node),
        .id = arena_copy(&to->arena, id),
        .address = arena_copy(&to->arena, address),
        .zone = arena_copy(&to->arena, zone),
        .weight = weight,
        .port = (uint16_t)port,
        .priority = priority,
        .critical = flags & FLAG_CRITICAL,
        .out = flags & FLAG_OUT,
        .cached = true,
    };
    if (!e.node.p || !e.id.p || !e.address.p || !e.zone.p)
        return ERR_NOMEM;
    to->v[to->n++] = e;
    return ERR_OK;
}

static enum err get_entries(struct reader *r, struct roster **ret)
{
    uint64_t n = read_varint(r);
    enum err e = ERR_OK;

    if (r->bad || n > ROSTER_INSTANCES_MAX ||
        n > reader_left(r) / ENTRY_BYTES_MIN)
        return ERR_CORRUPT;
    struct roster *to = roster_new(n);
    if (!to)
        return ERR_NOMEM;
    for (uint64_t i = 0; e == ERR_OK && i < n; i++)
        e = get_entry(r, to);
    if (e == ERR_OK && reader_left(r))
        e = ERR_CORRUPT;
    if (e != ERR_OK) {
        roster_free(to);
        return e;
    }
    *ret = to;
    return ERR_OK;
}

enum err roster_get(struct bytes file, struct roster_label *label,
                    struct roster **ret)
{
    struct bytes head = bytes_str(magic);

    if (!bytes_starts(file, head))
        return ERR_CORRUPT;
    struct reader r = reader_over(bytes_skip(file, head.n));
    uint64_t sum = read_be64(&r);
    if (r.bad || sum != bytes_hash(bytes_skip(file, head.n + 8), 0))
        return ERR_CORRUPT;

    struct bytes datacenter = read_lp(&r), query = read_lp(&r),
                 cluster = read_lp(&r);
    uint64_t token_hash = read_be64(&r);
    uint64_t saved_ms = read_be64(&r), index = read_be64(&r);
    if (r.bad)
        return ERR_CORRUPT;
    if (!bytes_eq(datacenter, label->datacenter) ||
        !bytes_eq(query, label->query) || token_hash != label->token_hash)
        return ERR_NOT_FOUND;
    if (cluster.n && label->cluster.n && !bytes_eq(cluster, label->cluster))
        return ERR_NOT_FOUND;
    enum err e = get_entries(&r, ret);
    if (e != ERR_OK)
        return e;
    label->saved_ms = saved_ms;
    label->index = index;
    label->cluster = cluster;
    return ERR_OK;
}
