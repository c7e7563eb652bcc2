/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "dns/wire.h"

#include "base/reader.h"

enum {
    OPTION_ECS = 8,
    OPTION_COOKIE = 10,
    OPTION_EDE = 15,
    OPTION_HEAD_BYTES = 4,  /* code, length */
    RECORDS_LOOKED_AT = 64, /* of a query, for its OPT */
    OPT_BYTES = 11,
    ECS_HEAD_BYTES = 8, /* code, length, family, source, scope */
};

static uint16_t read_be16(struct reader *r)
{
    unsigned high = read_u8(r);
    return (uint16_t)(high << 8 | read_u8(r));
}

/* --- Names ---------------------------------------------------------------- */

static uint8_t fold(uint8_t c)
{
    return (uint8_t)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

static void read_question_name(struct reader *r, struct dns_query *q)
{
    size_t start = r->at, n = 0;

    q->labels = 0;
    for (;;) {
        uint8_t len = read_u8(r);
        if (r->bad || len > DNS_LABEL_MAX || n + len + 1u > DNS_NAME_MAX ||
            (len && n + len + 2u > DNS_NAME_MAX)) {
            r->bad = true;
            return;
        }
        q->fold[n] = len;
        if (len == 0)
            break;
        q->at[q->labels++] = (uint8_t)n;
        struct bytes label = read_bytes(r, len);
        for (size_t i = 0; i < label.n; i++)
            q->fold[n + 1 + i] = fold((uint8_t)label.p[i]);
        n += len + 1u;
    }
    q->name = r->p + start;
    q->name_n = (uint16_t)(n + 1);
}

/* A record's owner: a pointer ends it, wherever it points. */
static void skip_name(struct reader *r)
{
    for (;;) {
        uint8_t len = read_u8(r);
        if (r->bad || len == 0)
            return;
        if (len >= 0xc0) {
            (void)read_u8(r);
            return;
        }
        if (len > DNS_LABEL_MAX) {
            r->bad = true;
            return;
        }
        (void)read_bytes(r, len);
    }
}

/* --- EDNS ----------------------------------------------------------------- */

/* RFC 7871 6: as many bytes of address as the source's bits need. */
static bool read_ecs(struct bytes option, struct dns_ecs *e)
{
    struct reader r = reader_over(option);

    e->family = read_be16(&r);
    e->source = read_u8(&r);
    (void)read_u8(&r); /* scope: 0 in queries */
    size_t left = reader_left(&r);
    size_t most = e->family == 1 ? 4 : e->family == 2 ? 16 : 0;
    if (r.bad || most == 0 || e->source > most * 8 ||
        left != (e->source + 7u) / 8)
        return false;
    struct bytes address = read_bytes(&r, left);
    e->n = (uint8_t)left;
    if (left)
        memcpy(e->address, address.p, left);
    e->set = true;
    return true;
}

/* RFC 7873 5.2.2: the client's half alone, or both. Of two the first counts. */
static bool read_cookie(struct bytes option, struct dns_cookie *c)
{
    if (option.n != DNS_COOKIE_CLIENT &&
        (option.n < 2 * DNS_COOKIE_CLIENT || option.n > DNS_COOKIE_MAX))
        return false;
    memcpy(c->p, option.p, option.n);
    c->n = (uint8_t)option.n;
    return true;
}

static bool read_options(struct bytes data, struct dns_query *q)
{
    struct reader r = reader_over(data);

    while (reader_left(&r)) {
        uint16_t code = read_be16(&r);
        struct bytes option = read_bytes(&r, read_be16(&r));
        if (r.bad)
            return false;
        if (code == OPTION_ECS && !q->ecs.set && !read_ecs(option, &q->ecs))
            return false;
        if (code == OPTION_COOKIE && q->cookie.n == 0 &&
            !read_cookie(option, &q->cookie))
            return false;
    }
    return true;
}

/* False: an OPT that is none. Of two the last counts. */
static bool read_edns(struct reader *r, unsigned records, struct dns_query *q)
{
    for (unsigned i = 0; i < records && i < RECORDS_LOOKED_AT; i++) {
        if (reader_left(r) == 0)
            return true; /* promised and not there */
        skip_name(r);
        uint16_t type = read_be16(r), class = read_be16(r);
        (void)read_be32(r);
        struct bytes data = read_bytes(r, read_be16(r));
        if (r->bad)
            return false;
        if (type != DNS_OPT)
            continue;
        q->edns = true;
        q->ecs.set = false;
        q->cookie.n = 0;
        q->udp_size = class;
        if (!read_options(data, q))
            return false;
    }
    return true;
}

/* --- Queries -------------------------------------------------------------- */

enum dns_parsed dns_query_parse(struct bytes packet, struct dns_query *q)
{
    struct reader r = reader_over(packet);
    unsigned records = 0;

    q->name_n = 0;
    q->labels = 0;
    q->edns = false;
    q->ecs.set = false;
    q->cookie.n = 0;
    q->id = read_be16(&r);
    q->flags = read_be16(&r);
    unsigned questions = read_be16(&r);
    for (int i = 0; i < 3; i++)
        records += read_be16(&r);
    if (r.bad || q->flags & DNS_QR)
        return DNS_NOT_A_QUERY;
    if (q->flags & DNS_OPCODE)
        return DNS_OTHER_OPCODE;
    if (questions != 1)
        return DNS_MALFORMED;
    read_question_name(&r, q);
    q->type = read_be16(&r);
    q->class = read_be16(&r);
    if (r.bad) {
        q->name_n = 0;
        return DNS_MALFORMED;
    }
    if (records && !read_edns(&r, records, q)) {
        q->edns = false;
        return DNS_MALFORMED;
    }
    return DNS_PARSED;
}

void dns_query_write(const struct dns_query *q, struct dns_out *o)
{
    dns_put_16(o, q->id);
    dns_put_16(o, q->flags);
    dns_put_16(o, 1);
    dns_put_32(o, 0);
    dns_put_16(o, q->edns);
    dns_put(o, q->name, q->name_n);
    dns_put_16(o, q->type);
    dns_put_16(o, q->class);
    dns_put_opt(o, q, NULL);
}

size_t dns_opt_bytes(const struct dns_query *q)
{
    if (!q->edns)
        return 0;
    return OPT_BYTES + (q->ecs.set ? ECS_HEAD_BYTES + (size_t)q->ecs.n : 0) +
           (q->cookie.n ? OPTION_HEAD_BYTES + (size_t)q->cookie.n : 0);
}

static void put_ecs(struct dns_out *o, const struct dns_ecs *e)
{
    dns_put_16(o, OPTION_ECS);
    dns_put_16(o, 4u + e->n);
    dns_put_16(o, e->family);
    dns_put_16(o, (unsigned)e->source << 8);
    dns_put(o, e->address, e->n);
}

/* Consul's: the size that the client named, and its subnet with scope 0 (the
 * answer is the same for all). */
void dns_put_opt(struct dns_out *o, const struct dns_query *q,
                 const struct dns_ede *ede)
{
    size_t n = dns_opt_bytes(q), more = 0;
    struct bytes text = bytes_str(ede ? ede->text : NULL);

    if (!q->edns)
        return;
    if (text.n && n + OPTION_HEAD_BYTES + 2 + text.n <= o->cap - o->n)
        more = OPTION_HEAD_BYTES + 2 + text.n;
    dns_put(o, "", 1);
    dns_put_16(o, DNS_OPT);
    dns_put_16(o, q->udp_size);
    dns_put_32(o, 0);
    dns_put_16(o, (unsigned)(n + more) - OPT_BYTES);
    if (q->ecs.set)
        put_ecs(o, &q->ecs);
    if (q->cookie.n) {
        dns_put_16(o, OPTION_COOKIE);
        dns_put_16(o, q->cookie.n);
        dns_put(o, q->cookie.p, q->cookie.n);
    }
    if (more) {
        dns_put_16(o, OPTION_EDE);
        dns_put_16(o, 2 + (unsigned)text.n);
        dns_put_16(o, ede->code);
        dns_put(o, text.p, text.n);
    }
}
