/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* wire - DNS messages as bytes: what a query says, and a bounded place where an
 * answer is written (RFC 1035 4.1; EDNS: RFC 6891, 7871, 7873, 8914). Pure, any
 * thread.
 *
 * Names are kept in wire form: a length byte and so many bytes per label, a zero
 * byte at the end. A query's name holds no compression pointer: nobody needs one
 * there, and so no loop of them is ever followed. */
#ifndef DNS_WIRE_H
#define DNS_WIRE_H

#include "base/bytes.h"

enum {
    DNS_HEADER_BYTES = 12,
    DNS_NAME_MAX = 255, /* wire bytes, root included */
    DNS_LABEL_MAX = 63,
    DNS_LABELS_MAX = 127,
    DNS_UDP_PLAIN = 512,  /* without EDNS */
    DNS_UDP_MOST = 4096,  /* whatever EDNS asks for */
    DNS_TCP_MOST = 65535, /* bytes of one message */
    DNS_POINTER_MAX = 0x3fff,
    DNS_ECS_BYTES_MAX = 16,
    DNS_COOKIE_CLIENT = 8,
    DNS_COOKIE_MAX = 40, /* with a server's of 8 to 32 bytes */
};

enum dns_type {
    DNS_A = 1,
    DNS_NS = 2,
    DNS_CNAME = 5,
    DNS_SOA = 6,
    DNS_PTR = 12,
    DNS_TXT = 16,
    DNS_AAAA = 28,
    DNS_SRV = 33,
    DNS_OPT = 41,
    DNS_IXFR = 251,
    DNS_AXFR = 252,
    DNS_ANY = 255,
};

enum dns_rcode {
    DNS_NOERROR = 0,
    DNS_FORMERR = 1,
    DNS_SERVFAIL = 2,
    DNS_NXDOMAIN = 3,
    DNS_NOTIMP = 4,
    DNS_REFUSED = 5,
};

/* Bits of the header's second 16. */
enum dns_flags {
    DNS_QR = 0x8000,
    DNS_OPCODE = 0x7800,
    DNS_AA = 0x0400,
    DNS_TC = 0x0200,
    DNS_RD = 0x0100,
    DNS_RA = 0x0080,
};

/* EDNS client subnet: which part of the Internet asks. */
struct dns_ecs {
    bool set;
    uint16_t family; /* 1: IPv4, 2: IPv6 */
    uint8_t source;  /* bits */
    uint8_t n;       /* bytes of address */
    uint8_t address[DNS_ECS_BYTES_MAX];
};

/* EDNS cookie: the client's bytes, behind them those of a server (cookie.h). */
struct dns_cookie {
    uint8_t n; /* 0: none */
    uint8_t p[DNS_COOKIE_MAX];
};

/* Why an answer is what it is, for people who look (RFC 8914). */
enum dns_ede_code {
    DNS_EDE_OTHER = 0,
    DNS_EDE_STALE = 3,
    DNS_EDE_STALE_NXDOMAIN = 19,
    DNS_EDE_NOT_AUTHORITATIVE = 20,
    DNS_EDE_NO_REACHABLE_AUTHORITY = 22,
};

struct dns_ede {
    const char *text; /* NULL: none */
    uint16_t code;
};

struct dns_query {
    uint16_t id, flags, type, class;
    const uint8_t *name; /* in the packet, as spelled */
    uint16_t name_n;
    uint8_t labels;             /* without the root */
    uint8_t at[DNS_LABELS_MAX]; /* of each label's length byte in name */
    uint8_t fold[DNS_NAME_MAX]; /* name in lower case */
    bool edns;
    uint16_t udp_size; /* EDNS: what the client takes */
    struct dns_ecs ecs;
    struct dns_cookie cookie;
};

enum dns_parsed {
    DNS_PARSED,
    DNS_NOT_A_QUERY, /* too short, or an answer: say nothing */
    DNS_MALFORMED,   /* id and flags are set: FORMERR */
    DNS_OTHER_OPCODE /* the same: NOTIMP */
};

/* The query's pointers are into packet. What follows the question is read only
 * for EDNS; records that were promised and are missing, and bytes that nobody
 * promised, are passed over. */
enum dns_parsed dns_query_parse(struct bytes packet, struct dns_query *q);

/* Label i as it stands in the folded name. */
static inline struct bytes dns_label(const struct dns_query *q, size_t i)
{
    return bytes_of(q->fold + q->at[i] + 1, q->fold[q->at[i]]);
}

/* --- Writing -------------------------------------------------------------- */

/* Past the end nothing is written and `full` is set: write, then ask once. */
struct dns_out {
    uint8_t *p;
    size_t n, cap;
    bool full;
};

static inline void dns_put(struct dns_out *o, const void *p, size_t n)
{
    if (n > o->cap - o->n) {
        o->full = true;
        return;
    }
    memcpy(o->p + o->n, p, n);
    o->n += n;
}

static inline void dns_put_16(struct dns_out *o, unsigned v)
{
    uint8_t b[2] = {(uint8_t)(v >> 8), (uint8_t)v};
    dns_put(o, b, sizeof b);
}

static inline void dns_put_32(struct dns_out *o, uint32_t v)
{
    uint8_t b[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8),
                    (uint8_t)v};
    dns_put(o, b, sizeof b);
}

/* v at an earlier place that has been written. */
static inline void dns_patch_16(struct dns_out *o, size_t at, unsigned v)
{
    if (at + 2 <= o->n) {
        o->p[at] = (uint8_t)(v >> 8);
        o->p[at + 1] = (uint8_t)v;
    }
}

/* The query again: header (no other records counted but EDNS), question, OPT.
 * What dns_query_parse makes of it is the same query. */
void dns_query_write(const struct dns_query *q, struct dns_out *o);

/* The OPT record that answers the query's, and its size without ede; 0 without
 * EDNS. Without room for ede that is left out. */
void dns_put_opt(struct dns_out *o, const struct dns_query *q,
                 const struct dns_ede *ede);
size_t dns_opt_bytes(const struct dns_query *q);

#endif
