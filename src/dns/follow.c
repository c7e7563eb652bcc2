/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* What a recursor knows about a host name that stands for an address goes into the
 * answer behind the CNAME record: stub resolvers do not ask on by themselves.
 *
 * Of the recursor's answer count the records of the type that was asked which a
 * chain of CNAMEs leads to, in their order; others are nobody's business here.
 * They are put before the additional section, which points at nothing behind the
 * question, so it may be moved. */
#include "base/reader.h"
#include "dns/impl.h"

enum {
    CHAIN_MAX = 8,    /* CNAMEs behind one another */
    RECORDS_MAX = 64, /* looked at */
};

struct found {
    struct dns_name owner, target; /* target: of a CNAME */
    uint16_t type, class;
    uint32_t ttl;
    struct bytes rdata;
};

static uint16_t read_be16(struct reader *r)
{
    unsigned high = read_u8(r);
    return (uint16_t)(high << 8 | read_u8(r));
}

/* Pointers lead backwards, each before the one that led there (RFC 1035 4.1.4), so
 * there is an end. */
static void read_name(struct reader *r, struct dns_name *ret)
{
    struct reader at = *r;
    size_t limit = r->at;
    bool jumped = false;

    *ret = (struct dns_name){.n = 0};
    for (;;) {
        uint8_t len = read_u8(&at);
        if (len >= 0xc0) {
            size_t to = (size_t)(len & 0x3f) << 8 | read_u8(&at);
            if (at.bad || to >= limit)
                break;
            if (!jumped)
                *r = at;
            jumped = true;
            limit = at.at = to;
            continue;
        }
        struct bytes label = read_bytes(&at, len);
        if (at.bad || len > DNS_LABEL_MAX)
            break;
        if (len == 0) {
            dns_name_end(ret);
            if (!jumped)
                *r = at;
            r->bad = ret->bad;
            return;
        }
        dns_name_label(ret, label);
    }
    r->bad = true;
}

static bool read_record(struct reader *r, struct found *f)
{
    read_name(r, &f->owner);
    f->type = read_be16(r);
    f->class = read_be16(r);
    f->ttl = read_be32(r);
    size_t n = read_be16(r), start = r->at;
    f->rdata = read_bytes(r, n);
    if (r->bad || f->type != DNS_CNAME)
        return !r->bad;
    struct reader inside = *r;
    inside.at = start;
    read_name(&inside, &f->target);
    return !inside.bad && inside.at == r->at;
}

/* Header and question; how many answers follow. */
static unsigned skip_question(struct reader *r)
{
    struct dns_name name;

    (void)read_bytes(r, 4);
    unsigned questions = read_be16(r), answers = read_be16(r);
    (void)read_be32(r);
    if (questions != 1)
        r->bad = true;
    read_name(r, &name);
    (void)read_be32(r);
    return answers;
}

/* Our own answer ends its answer section there. */
static size_t end_of_answers(struct bytes alone)
{
    struct reader r = reader_over(alone);
    unsigned n = skip_question(&r);
    struct found f;

    while (n-- > 0 && read_record(&r, &f))
        ;
    return r.bad ? SIZE_MAX : r.at;
}

static void put_found(struct dns_out *o, const struct found *f)
{
    struct bytes rdata =
        f->type == DNS_CNAME ? bytes_of(f->target.p, f->target.n) : f->rdata;

    dns_put(o, f->owner.p, f->owner.n);
    dns_put_16(o, f->type);
    dns_put_16(o, f->class);
    dns_put_32(o, f->ttl);
    dns_put_16(o, (unsigned)rdata.n);
    dns_put(o, rdata.p, rdata.n);
}

static bool is_of_length(const struct found *f)
{
    return f->type == DNS_CNAME || f->rdata.n == (f->type == DNS_A ? 4 : 16);
}

/* Returns how many records were put; *ret_full: there are more. */
static unsigned put_chain(struct dns_out *o, struct bytes found,
                          struct dns_name want, uint16_t type, bool *ret_full)
{
    struct reader r = reader_over(found);
    unsigned n = skip_question(&r), put = 0, chain = 0;
    struct found f;

    for (unsigned i = 0; i < n && i < RECORDS_MAX && read_record(&r, &f); i++) {
        bool alias = f.type == DNS_CNAME;
        if (f.class != CLASS_IN || !(alias || f.type == type) ||
            !is_of_length(&f) ||
            !dns_name_eq(f.owner.p, f.owner.n, want.p, want.n))
            continue;
        if (alias && ++chain > CHAIN_MAX)
            break;
        size_t start = o->n;
        put_found(o, &f);
        if (o->full) {
            o->n = start;
            *ret_full = true;
            break;
        }
        put++;
        if (alias)
            want = f.target;
    }
    return put;
}

static unsigned be16(struct bytes b, size_t at)
{
    return (unsigned)(uint8_t)b.p[at] << 8 | (uint8_t)b.p[at + 1];
}

uint16_t dns_follow_type(uint16_t asked)
{
    if (asked == DNS_ANY) /* as Consul; few recursors answer ANY (RFC 8482) */
        return DNS_A;
    return asked == DNS_A || asked == DNS_AAAA ? asked : 0;
}

size_t dns_follow(struct bytes packet, enum dns_transport transport,
                  struct bytes alone, size_t alias_at, struct bytes found,
                  uint8_t *out, size_t cap)
{
    struct reader r = reader_over(alone);
    size_t answers_end = end_of_answers(alone);
    struct dns_name alias;
    struct dns_query q;
    bool full = false;

    r.at = alias_at < alone.n ? alias_at : alone.n;
    read_name(&r, &alias);
    if (r.bad || answers_end == SIZE_MAX ||
        dns_query_parse(packet, &q) != DNS_PARSED)
        return 0;
    size_t tail = alone.n - answers_end;
    size_t most = most_bytes(&q, transport, cap);
    if (most < alone.n)
        return 0;
    struct dns_out o = {out, 0, most - tail, false};
    dns_put(&o, alone.p, answers_end);
    unsigned n = put_chain(&o, found, alias, dns_follow_type(q.type), &full);
    if (n == 0)
        return 0;
    o.cap = most;
    dns_put(&o, alone.p + answers_end, tail);
    dns_patch_16(&o, ANSWERS_AT, be16(alone, ANSWERS_AT) + n);
    if (full && transport == DNS_OVER_UDP)
        dns_patch_16(&o, FLAGS_AT, be16(alone, FLAGS_AT) | DNS_TC);
    return o.n;
}

size_t dns_follow_query(struct bytes packet, struct bytes alone,
                        size_t alias_at, uint8_t *out, size_t cap)
{
    struct reader r = reader_over(alone);
    struct dns_out o = {out, 0, cap, false};
    struct dns_name alias;
    struct dns_query q;

    r.at = alias_at < alone.n ? alias_at : alone.n;
    read_name(&r, &alias);
    if (r.bad || dns_query_parse(packet, &q) != DNS_PARSED)
        return 0;
    q.flags = DNS_RD;
    q.type = dns_follow_type(q.type);
    q.name = alias.p;
    q.name_n = alias.n;
    q.edns = true;
    q.udp_size = FOLLOW_UDP_BYTES;
    q.ecs.set = false;
    q.cookie.n = 0;
    dns_query_write(&q, &o);
    return o.full ? 0 : o.n;
}
