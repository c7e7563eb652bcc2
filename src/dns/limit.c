/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "dns/limit.h"

enum {
    TAG_BITS = 24,
    TIME_BITS = 40, /* of microseconds: it wraps after 12 days */
    SECOND_US = 1000 * 1000,
    TRIES = 4, /* then somebody else is busy here: one more does not matter */
    NETWORK_V4 = 3,
    NETWORK_V6 = 7, /* bytes */
};

#define TIME_MASK ((UINT64_C(1) << TIME_BITS) - 1)

/* --- Exemptions ---------------------------------------------------------------- */

/* As base/net.h keeps addresses. */
static void mapped(struct bytes client, uint8_t ret[16])
{
    memset(ret, 0, 16);
    if (client.n == 4) {
        ret[10] = ret[11] = 0xff;
        memcpy(ret + 12, client.p, 4);
    } else if (client.n == 16) {
        memcpy(ret, client.p, 16);
    }
}

bool dns_limit_exempt(struct bytes client, const struct net *v, size_t n)
{
    static const uint8_t loopback[16] = {[15] = 1};
    uint8_t a[16];

    if (client.n == 4 && client.p[0] == 127)
        return true;
    mapped(client, a);
    if (client.n == 16 && memcmp(a, loopback, sizeof a) == 0)
        return true;
    for (size_t i = 0; i < n; i++)
        if (net_has_bytes(&v[i], a))
            return true;
    return false;
}

/* --- Buckets ---------------------------------------------------------------------- */

/* How long until the bucket is full, 0: it is. A time that is further ahead than
 * any can be is one from before the wrap. */
static uint64_t ahead_us(uint64_t slot, uint64_t now_us)
{
    uint64_t d = (slot - now_us) & TIME_MASK;

    return slot == 0 || d > SECOND_US ? 0 : d;
}

/* The network's slot, or the one it takes. */
static _Atomic uint64_t *slot_of(struct dns_limits *l, uint64_t hash,
                                 uint64_t now_us, uint64_t *ret)
{
    _Atomic uint64_t *line =
        &l->at[hash % (DNS_LIMIT_SLOTS / DNS_LIMIT_WAYS) * DNS_LIMIT_WAYS];
    size_t least = 0;
    uint64_t least_us = UINT64_MAX;

    for (size_t i = 0; i < DNS_LIMIT_WAYS; i++) {
        uint64_t slot = atomic_load_explicit(&line[i], memory_order_relaxed);
        uint64_t us = ahead_us(slot, now_us);
        if (slot >> TIME_BITS == hash >> TIME_BITS) {
            *ret = slot;
            return &line[i];
        }
        if (us < least_us) {
            least_us = us;
            least = i;
            *ret = slot;
        }
    }
    return &line[least];
}

bool dns_limit_take(struct dns_limits *l, struct bytes client, uint32_t rate,
                    uint64_t now_us)
{
    struct bytes network =
        bytes_head(client, client.n == 4 ? NETWORK_V4 : NETWORK_V6);
    uint64_t hash = bytes_hash(network, l->seed);
    uint64_t each_us = rate ? SECOND_US / rate : SECOND_US, slot;

    if (each_us == 0)
        each_us = 1;
    for (int i = 0; i < TRIES; i++) {
        _Atomic uint64_t *at = slot_of(l, hash, now_us, &slot);
        bool own = slot >> TIME_BITS == hash >> TIME_BITS;
        uint64_t us = own ? ahead_us(slot, now_us) : 0;
        if (us + each_us > SECOND_US)
            return false;
        uint64_t next = (hash >> TIME_BITS) << TIME_BITS |
                        ((now_us + us + each_us) & TIME_MASK);
        if (atomic_compare_exchange_weak_explicit(
                at, &slot, next, memory_order_relaxed, memory_order_relaxed))
            return true;
    }
    return true;
}
