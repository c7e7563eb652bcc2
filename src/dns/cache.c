/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "dns/cache.h"

#include <stdlib.h>

enum {
    ALIGN = 8,
    BYTES_PER_SLOT = 128, /* about an entry of one instance */
    PROBES = 8,
    TAG_BITS = 16,
    LARGEST_SHARE = 8, /* an entry takes at most this part of the ring */
};

static size_t power_of_two(size_t at_least)
{
    size_t n = 1;

    while (n < at_least)
        n *= 2;
    return n;
}

enum err dns_cache_init(struct dns_cache *c, size_t bytes)
{
    *c = (struct dns_cache){0};
    if (bytes == 0)
        return ERR_OK;
    c->size = power_of_two(bytes);
    size_t slots = power_of_two(c->size / BYTES_PER_SLOT + PROBES);
    /* calloc of so much is memory of the system that nobody has touched. */
    c->ring = calloc(1, c->size);
    c->slots = calloc(slots, sizeof *c->slots);
    c->slot_mask = slots - 1;
    if (c->ring && c->slots)
        return ERR_OK;
    dns_cache_fini(c);
    return ERR_NOMEM;
}

void dns_cache_fini(struct dns_cache *c)
{
    free(c->ring);
    free(c->slots);
    *c = (struct dns_cache){0};
}

uint64_t dns_cache_hash(const struct dns_query *q)
{
    return bytes_hash(bytes_of(q->fold, q->name_n), q->type);
}

/* A slot: position + 1, and 16 bits of the hash, so that others' entries are not
 * read in vain. */
static uint64_t slot_of(uint64_t position, uint64_t hash)
{
    return (position + 1) << TAG_BITS | hash >> (64 - TAG_BITS);
}

static bool is_tagged(uint64_t slot, uint64_t hash)
{
    return ((slot ^ hash >> (64 - TAG_BITS)) & ((1u << TAG_BITS) - 1)) == 0;
}

/* NULL: written over meanwhile, or never there. */
static struct dns_entry *entry_at(const struct dns_cache *c, uint64_t slot)
{
    uint64_t position = (slot >> TAG_BITS) - 1;

    if (slot == 0 || c->front - position > c->size)
        return NULL;
    return (struct dns_entry *)(void *)(c->ring + (position & (c->size - 1)));
}

static bool is_it(const struct dns_entry *e, const struct dns_query *q)
{
    return e->type == q->type && e->key_n == q->name_n &&
           memcmp(dns_entry_key(e), q->fold, q->name_n) == 0;
}

struct dns_entry *dns_cache_find(struct dns_cache *c, uint64_t hash,
                                 const struct dns_query *q)
{
    for (size_t i = 0; c->size && i < PROBES; i++) {
        uint64_t slot = c->slots[(hash + i) & c->slot_mask];
        struct dns_entry *e = is_tagged(slot, hash) ? entry_at(c, slot) : NULL;
        if (e && e->hash == hash && is_it(e, q))
            return e;
    }
    return NULL;
}

/* Its own older self, else one that is free, else the oldest. */
static uint64_t *slot_for(struct dns_cache *c, uint64_t hash)
{
    uint64_t *oldest = &c->slots[hash & c->slot_mask];

    for (size_t i = 0; i < PROBES; i++) {
        uint64_t *slot = &c->slots[(hash + i) & c->slot_mask];
        const struct dns_entry *e = entry_at(c, *slot);
        if (!e)
            *slot = 0;
        else if (is_tagged(*slot, hash) && e->hash == hash)
            return slot;
        if (*slot < *oldest)
            oldest = slot;
    }
    return oldest;
}

void dns_cache_put(struct dns_cache *c, const struct dns_entry *e)
{
    size_t n = (e->size + ALIGN - 1u) & ~(size_t)(ALIGN - 1);

    if (n > c->size / LARGEST_SHARE)
        return;
    size_t at = (size_t)(c->front & (c->size - 1));
    if (n > c->size - at) {
        c->front += c->size - at;
        at = 0;
    }
    uint64_t position = c->front;
    c->front += n;
    memcpy(c->ring + at, e, e->size);
    *slot_for(c, e->hash) = slot_of(position, e->hash);
}
