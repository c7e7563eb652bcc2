/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* impl - what the files of this folder share; nobody else includes it.
 *
 *   wire.c, name.c   packets and names             answer.c   the front
 *   query.c          prepared queries
 *   form.c           what a name asks for          address.c  addresses, texts
 *   service.c        a name's instances -> entry   node.c     nodes, spelled addresses
 *   emit.c           entry -> message              zone.c     SOA, NS, reverse names
 *   order.c          which, in which order         cache.c    entries kept
 *   ttl.c            for how long                  follow.c   others' host names
 *   limit.c          how many a network gets       cookie.c   who is no forger
 *   datacenter.c     others' catalogs */
#ifndef DNS_IMPL_H
#define DNS_IMPL_H

#include "catalog/member.h"
#include "dns/cache.h"
#include "dns/dns.h"
#include "query/query.h"

enum {
    ENDPOINTS_MAX =
        4096, /* of one service; more: a sample, another each second */
    ENTRY_BYTES_MAX = 1 << 20,
    TEXT_BYTES_MAX = 4096,    /* of one node's metadata in one answer */
    UDP_RECORDS_MAX = 8,      /* without EDNS; Consul's */
    NS_MAX = 3,               /* servers named */
    INNER_BYTES_MAX = 512,    /* of addresses of one inner name */
    INSTANCES_LOOKED_AT = 32, /* for those */
    IP_TEXT_MAX = 46,
    CLASS_IN = 1,
    FLAGS_AT = 2, /* in a header */
    ANSWERS_AT = 6,
    FOLLOW_UDP_BYTES = 1232, /* of a recursor's answer (DNS flag day 2020) */
    OWNER_POINTER = 0xc000 | DNS_HEADER_BYTES, /* the question's name */
};

struct dns_worker {
    struct dns_cache cache;
    uint8_t *entry;             /* ENTRY_BYTES_MAX: the one being made */
    uint32_t at[ENDPOINTS_MAX]; /* of its endpoints */
    struct seen {
        uint64_t hash;
        uint16_t endpoint;
    } seen[2 * ENDPOINTS_MAX]; /* by hash: no doubles */
    uint16_t order[ENDPOINTS_MAX];
    float keys[ENDPOINTS_MAX];
    size_t target_at[ENDPOINTS_MAX]; /* in the message, of order[i] */
};

/* One query under way. */
struct ask {
    const struct dns_env *env;
    struct dns_worker *w;
    struct dns_query q;
    /* Of the datacenter that is asked about (datacenter.c). */
    const struct snapshot *cat;
    const struct dns_changes *changes;
    struct bytes datacenter;
    uint64_t life;                 /* 0: the own one */
    bool stale;                    /* it cannot be reached; then */
    uint64_t age_ms;               /* ... what is known is so old */
    char ede_text[96];             /* where ede.text may be */
    const struct dns_name *domain; /* the one it is in; NULL: none */
    size_t domain_at;              /* where that begins in the name */
    uint64_t random;               /* state of the generator */
    struct dns_out out;
    size_t limit; /* bytes of the answer, room for OPT already taken off */
    unsigned answers, authority, additional;
    enum dns_rcode rcode;
    struct dns_ede ede;
    bool authoritative, truncated;
    size_t alias_at; /* of a host name that others know, in the answer */
    bool recursion;  /* RA even without recursors: Consul's PTR */
};

/* Entries of another one are made again. Settings change seldom. */
static inline uint64_t entry_generation(const struct dns_env *env)
{
    return env->set->generation << 32 ^ env->part;
}

/* --- answer.c --------------------------------------------------------------- */

/* How long an answer to q may be. */
size_t most_bytes(const struct dns_query *q, enum dns_transport t, size_t cap);

/* --- follow.c --------------------------------------------------------------- */

/* What is asked of a recursor for such a question; 0: nothing. */
uint16_t dns_follow_type(uint16_t asked);

/* --- form.c ---------------------------------------------------------------- */

enum form_kind { FORM_NONE, FORM_SERVICE, FORM_NODE, FORM_ADDR, FORM_QUERY };

/* What a name in the domain asks for. Texts are in the query or in space. */
struct form {
    enum form_kind kind;
    bool passing;           /* only what passes */
    struct bytes name, tag; /* tag: empty for none */
    struct bytes dc;        /* another datacenter; empty: the own one */
    /* What a query was found to be: then name is its service. NULL: none. */
    const struct query_view *query;
    /* Those it selects, in the order of their distance; NULL: as they come. */
    struct query_pick *picks;
    size_t pick_count;
    char space[DNS_NAME_MAX];
};

/* q's labels before `domain_at`. */
void form_of(const struct dns_settings *set, const struct dns_query *q,
             size_t domain_at, struct form *ret);

/* --- service.c -------------------------------------------------------------- */

/* An entry in the worker for what the form asks for; its key is the query. False:
 * there is no such service, or none of its instances is told. */
bool service_entry(struct ask *a, const struct form *f, struct dns_entry **ret);

/* What form_of gave for a service, or for a query once that is found. */
void answer_service(struct ask *a, const struct form *f);

/* The same, but there is no answer yet if there is no such instance: false. */
bool answer_instances(struct ask *a, const struct form *f);

/* A name that exists and is not told looks like one that was misspelled. */
void explain_none(struct ask *a, const struct form *f);

void answer_nothing(struct ask *a); /* NXDOMAIN */

static inline enum standing instance_standing(const struct membership *m,
                                              const struct cat_node *n,
                                              const struct cat_instance *i)
{
    return member_standing(m, n, i, (struct packed){0}, NULL);
}

/* Addresses that an inner name stands for, as address_body writes them. *ret_inner
 * (may be NULL): it is one. */
size_t inner_addresses(const struct ask *a, const struct dns_name *name,
                       uint32_t ttl, uint8_t *to, size_t cap, bool *ret_inner);

/* --- datacenter.c ------------------------------------------------------------ */

enum dc_found {
    DC_HERE,    /* a->cat is its catalog */
    DC_UNKNOWN, /* nobody knows such a datacenter */
    DC_ASK,     /* its servers are to be asked */
    DC_LOST, /* it cannot be reached, and not be answered for: a->ede says why */
};

/* From here on it is asked about this datacenter's service (empty: about anything). */
enum dc_found datacenter_enter(struct ask *a, struct bytes dc,
                               struct bytes service);

/* The same, of what is never mirrored. */
enum dc_found datacenter_ask(struct ask *a, struct bytes dc);

void datacenter_use(struct ask *a, const struct dns_zone *z);
void datacenter_own(struct ask *a);

/* Where an answer is of a datacenter that cannot be reached, it says so. */
void datacenter_tell(struct ask *a);

/* --- ttl.c ------------------------------------------------------------------ */

/* Of an entry just made: since when it has been as it is. */
void ttl_begin(const struct ask *a, struct dns_entry *e);

/* TTLs into its records, if they have grown. */
void ttl_adapt(const struct ask *a, struct dns_entry *e);

/* --- query.c ---------------------------------------------------------------- */

void answer_query(struct ask *a, struct form *f);

/* --- order.c ---------------------------------------------------------------- */

uint64_t random_next(uint64_t *state);

/* The first `want` endpoints of e, drawn by weight, into w->order. */
void order_draw(struct ask *a, const struct dns_entry *e, size_t want);

/* --- address.c -------------------------------------------------------------- */

/* An address as Consul takes it from a record and its tagged addresses. */
enum address_want { WANT_V4, WANT_V6, WANT_ANY };

struct address {
    uint8_t n; /* 4 or 16 bytes; 0: a host name */
    uint8_t ip[16];
    struct bytes text;
};

void address_of(struct bytes text, struct address *ret);
void node_address(const struct node_view *n, enum address_want want,
                  struct address *ret);
bool address_is(const struct address *at, enum address_want want);

/* Adds <name>.node.<dc>.<domain>. or <hex>.addr.<dc>.<domain>., or what stands
 * behind the first label of such names. */
void node_name(const struct ask *a, struct bytes node, struct dns_name *ret);
void address_name(const struct ask *a, const struct address *from,
                  struct dns_name *ret);
void name_in_domain(const struct ask *a, const char *kind,
                    struct dns_name *ret);

/* A node's metadata as TXT rdata, one after the other, each behind a 16-bit
 * length. At most cap bytes; returns how many. */
size_t node_texts(const struct node_view *node, uint8_t *to, size_t cap);

/* A record's body (type, class, TTL, rdata) behind a 16-bit length; 0: no room. */
size_t address_body(const struct address *at, uint32_t ttl, uint8_t *to,
                    size_t cap);

/* --- emit.c ----------------------------------------------------------------- */

void emit_entry(struct ask *a, const struct dns_entry *e);

/* A whole record or nothing; false: no room. owner NULL: the question. */
bool put_record(struct ask *a, const struct dns_name *owner, unsigned type,
                uint32_t ttl, const void *rdata, size_t n);
bool put_address(struct ask *a, const struct dns_name *owner,
                 const struct address *at, uint32_t ttl);
void put_question_owner(struct ask *a);

/* --- node.c ------------------------------------------------------------------ */

void answer_node(struct ask *a, const struct form *f);
void answer_addr(struct ask *a, const struct form *f);
int hex_digit(char c); /* below zero: none */

/* False: something else than hex digits. ret->n 0: no address has so many. */
bool hex_address(struct bytes hex, struct address *ret);

/* --- zone.c ------------------------------------------------------------------ */

void answer_zone(struct ask *a); /* NS and SOA */
void answer_soa_authority(struct ask *a);

/* False: nobody has the address. */
bool answer_reverse(struct ask *a);

#endif
