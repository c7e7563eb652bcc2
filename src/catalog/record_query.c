/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Stored values of prepared queries and coordinates.
 *
 *     query       0x51 id flags [texts] [lists] [nearest]
 *     coordinate  0x61 node 11 numbers: vector, error, adjustment, height
 *
 * As in record.c, with texts and lists in the order of their numbers, each only
 * if its bit is set; nearest is a zigzag varint and never 0. A coordinate's
 * numbers are the 64 bits of an IEEE 754 double each, all finite. */
#include <math.h>

#include "base/reader.h"
#include "catalog/impl.h"

/* Bits of flags: texts, lists that are not empty, lists that are set, and then
 * these. */
enum {
    LIST_BIT = QUERY_TEXTS,
    SET_BIT = LIST_BIT + QUERY_LISTS,
    NEAREST_BIT = SET_BIT + QUERY_LISTS,
    REMOVE_EMPTY_BIT,
    ONLY_PASSING_BIT,
    CONNECT_BIT,
    FLAG_BITS,
};

static uint64_t bit(unsigned at, bool set)
{
    return (uint64_t)set << at;
}

/* --- Queries ------------------------------------------------------------- */

static uint64_t flags_of(const struct query_view *v)
{
    uint64_t flags = bit(NEAREST_BIT, v->nearest != 0) |
                     bit(REMOVE_EMPTY_BIT, v->remove_empty_tags) |
                     bit(ONLY_PASSING_BIT, v->only_passing) |
                     bit(CONNECT_BIT, v->connect);

    for (unsigned i = 0; i < QUERY_TEXTS; i++)
        flags |= bit(i, v->text[i].n > 0);
    for (unsigned i = 0; i < QUERY_LISTS; i++)
        flags |= bit(LIST_BIT + i, v->list[i].n > 0) |
                 bit(SET_BIT + i, v->list_set[i]);
    return flags;
}

void record_put_query(struct buf *out, const struct query_view *v)
{
    buf_putc(out, (char)FORMAT_QUERY);
    buf_lp(out, v->id);
    buf_varint(out, flags_of(v));
    for (unsigned i = 0; i < QUERY_TEXTS; i++)
        if (v->text[i].n)
            buf_lp(out, v->text[i]);
    for (unsigned i = 0; i < QUERY_LISTS; i++) {
        if (v->list[i].n == 0)
            continue;
        buf_varint(out, v->list[i].n);
        buf_lp(out, v->list[i].data);
    }
    if (v->nearest)
        buf_varint(out, (uint64_t)v->nearest << 1 ^
                            (v->nearest < 0 ? UINT64_MAX : 0));
}

static struct packed get_list(struct reader *r, enum query_list l, bool whole)
{
    uint64_t n = read_varint(r);
    struct packed p = {read_lp(r), (uint32_t)n};

    if (n == 0 || n > UINT32_MAX ||
        (whole && !packed_valid(p, query_list_is_map(l), 0)))
        r->bad = true;
    return p;
}

static int64_t get_nearest(struct reader *r)
{
    uint64_t v = read_varint(r);

    if (v == 0)
        r->bad = true;
    return (int64_t)(v >> 1 ^ (0 - (v & 1)));
}

static enum err get_query(struct bytes value, struct query_view *v, bool whole)
{
    struct reader r = reader_over(value);

    if (read_u8(&r) != FORMAT_QUERY)
        r.bad = true;
    v->id = read_lp(&r);
    uint64_t flags = read_varint(&r);
    if (v->id.n == 0 || flags >> FLAG_BITS)
        r.bad = true;
    for (unsigned i = 0; i < QUERY_TEXTS; i++) {
        v->text[i] = (struct bytes){NULL, 0};
        if (!(flags & bit(i, true)))
            continue;
        v->text[i] = read_lp(&r);
        if (v->text[i].n == 0)
            r.bad = true;
    }
    for (unsigned i = 0; i < QUERY_LISTS; i++) {
        v->list_set[i] = flags & bit(SET_BIT + i, true);
        v->list[i] = (struct packed){0};
        if (flags & bit(LIST_BIT + i, true))
            v->list[i] = get_list(&r, (enum query_list)i, whole);
    }
    v->nearest = flags & bit(NEAREST_BIT, true) ? get_nearest(&r) : 0;
    v->remove_empty_tags = flags & bit(REMOVE_EMPTY_BIT, true);
    v->only_passing = flags & bit(ONLY_PASSING_BIT, true);
    v->connect = flags & bit(CONNECT_BIT, true);
    return r.bad || reader_left(&r) ? ERR_CORRUPT : ERR_OK;
}

enum err record_get_query(struct bytes value, struct query_view *v)
{
    return get_query(value, v, true);
}

void cat_query_view(const struct cat_record *r, struct query_view *v)
{
    (void)get_query(cat_value(r), v, false);
    v->create_rev = r->create_rev;
    v->modify_rev = r->mod_rev;
}

struct bytes cat_query_name(const struct cat_record *r)
{
    struct reader f = reader_over(cat_value(r));

    (void)read_u8(&f);
    (void)read_lp(&f);
    if (!(read_varint(&f) & bit(QUERY_NAME, true)))
        return (struct bytes){"", 0};
    return read_lp(&f);
}

bool cat_query_is_template(const struct cat_record *r)
{
    struct reader f = reader_over(cat_value(r));

    (void)read_u8(&f);
    (void)read_lp(&f);
    return read_varint(&f) & bit(QUERY_TEMPLATE, true);
}

/* --- Coordinates --------------------------------------------------------- */

static double *number(struct coordinate *c, int i)
{
    double *rest[] = {&c->error, &c->adjustment, &c->height};

    return i < COORDINATE_DIMENSIONS ? &c->vec[i]
                                     : rest[i - COORDINATE_DIMENSIONS];
}

enum { NUMBERS = COORDINATE_DIMENSIONS + 3 };

void record_put_coordinate(struct buf *out, const struct coordinate_view *v)
{
    struct coordinate c = v->at;

    buf_putc(out, (char)FORMAT_COORDINATE);
    buf_lp(out, v->node);
    for (int i = 0; i < NUMBERS; i++) {
        uint64_t bits;
        memcpy(&bits, number(&c, i), sizeof bits);
        buf_be64(out, bits);
    }
}

static enum err get_coordinate(struct bytes value, struct coordinate_view *v)
{
    struct reader r = reader_over(value);

    if (read_u8(&r) != FORMAT_COORDINATE)
        r.bad = true;
    v->node = read_lp(&r);
    for (int i = 0; i < NUMBERS; i++) {
        uint64_t bits = read_be64(&r);
        memcpy(number(&v->at, i), &bits, sizeof bits);
    }
    if (r.bad || reader_left(&r) || v->node.n == 0 || !coordinate_valid(&v->at))
        return ERR_CORRUPT;
    return ERR_OK;
}

enum err record_get_coordinate(struct bytes value, struct coordinate_view *v)
{
    return get_coordinate(value, v);
}

void cat_coordinate_view(const struct cat_record *r, struct coordinate_view *v)
{
    (void)get_coordinate(cat_value(r), v);
}
