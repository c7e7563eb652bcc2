/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* cache - answers about services as they were made, order and question's spelling
 * left open.
 *
 * An entry is one block without pointers:
 *
 *     struct dns_entry | key: the folded name | endpoints | uint32 at[count]
 *
 * and an endpoint is one record to choose, with what belongs to it:
 *
 *     struct dns_endpoint | answer | addresses | texts
 *
 * answer is a record without its owner (that is the question). In an SRV record a
 * target of target_n bytes ends it. addresses: records of the target, each behind
 * a 16-bit length, without owner too. texts: the same, behind their owner if that is
 * not the target.
 *
 * The cache is a ring of bytes, written from the front to the end and again: the
 * oldest entries go. A table of positions finds them by hash; a position more than
 * a ring behind the front is of the past. Nothing is allocated after the start,
 * and pages are touched only as they are filled. One thread. */
#ifndef DNS_CACHE_H
#define DNS_CACHE_H

#include "dns/wire.h"

struct dns_entry {
    uint64_t hash;
    uint64_t revision;   /* of the snapshot in which it was last looked at */
    uint64_t index;      /* of the service's health */
    uint64_t floor;      /* of the snapshot */
    uint64_t watch;      /* hash of its watch key */
    uint64_t generation; /* of the settings */
    uint64_t life;       /* of another datacenter's catalog (zones.h) */
    uint64_t weight_sum;
    uint64_t content; /* of what is told, in whatever order; TTLs aside */
    uint32_t size;    /* of the block */
    uint32_t endpoints_at;
    uint32_t at_at; /* offset of at[] */
    uint32_t made_s, changed_s;
    uint32_t least_ttl_s, ttl_s; /* as configured, and now in the records */
    uint16_t count;
    uint16_t type;
    uint16_t key_n;
    uint8_t name_at, name_n; /* the service's, in the key */
    uint8_t dc_at, dc_n;     /* the datacenter's; 0 bytes: the own one */
    bool even;               /* all weights alike */
    bool sampled;            /* not all instances: for this second only */
    bool keep;               /* false: depends on more than index */
    bool is_address;         /* a_record_limit counts */
    bool soa;                /* no record of that type */
    bool in_answer;          /* addresses belong to the answer section */
    bool ordered;            /* the order is as it should be told */
};

struct dns_endpoint {
    uint32_t weight;
    uint16_t answer_n, addresses_n, texts_n;
    uint8_t address_count;
    uint8_t target_n;
    uint8_t text_owner_n; /* 0: the target */
};

static inline const uint8_t *dns_entry_key(const struct dns_entry *e)
{
    return (const uint8_t *)(e + 1);
}

static inline const uint32_t *dns_entry_at(const struct dns_entry *e)
{
    return (const uint32_t *)(const void *)((const char *)e + e->at_at);
}

static inline const struct dns_endpoint *
dns_entry_endpoint(const struct dns_entry *e, size_t i)
{
    return (const struct dns_endpoint *)(const void *)((const char *)e +
                                                       dns_entry_at(e)[i]);
}

struct dns_cache {
    uint8_t *ring;
    size_t size; /* of the ring; a power of two, 0: keeps nothing */
    uint64_t front;
    uint64_t *slots; /* positions */
    size_t slot_mask;
};

MUST_USE enum err dns_cache_init(struct dns_cache *c, size_t bytes);
void dns_cache_fini(struct dns_cache *c);

/* The entry is writable until the next put. */
struct dns_entry *dns_cache_find(struct dns_cache *c, uint64_t hash,
                                 const struct dns_query *q);

/* Copies it in, unless it is a large part of the ring. */
void dns_cache_put(struct dns_cache *c, const struct dns_entry *e);

uint64_t dns_cache_hash(const struct dns_query *q);

#endif
