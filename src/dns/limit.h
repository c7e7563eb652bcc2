/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* limit - how many answers a network of clients gets over UDP in a second, so that
 * nobody is flooded with answers to questions that somebody else asked in his name
 * (reflection). Off by default: one forwarder may carry a whole cluster.
 *
 * Each network (/24, /56) has a bucket that holds a second's worth, kept as one
 * number, the time at which it will be full again (GCRA: ITU-T I.371). All threads
 * share one table of fixed size. A network without a place takes that of the one
 * which has been asking least of eight, so who floods is not forgotten for others,
 * and whatever addresses are forged, memory is this table.
 *
 * Slots are words that are replaced whole; no lock. Two threads that meet a new
 * network at the same moment may give it two places: it then has two buckets until
 * the one not found first is taken by another. */
#ifndef DNS_LIMIT_H
#define DNS_LIMIT_H

#include <stdatomic.h>

#include "base/bytes.h"
#include "base/net.h"

enum {
    DNS_LIMIT_WAYS = 8, /* slots in which a network may be */
    DNS_LIMIT_SLOTS = 1 << 16,
    DNS_LIMIT_RATE_MAX = 1000 * 1000,
};

struct dns_limits {
    _Atomic uint64_t at[DNS_LIMIT_SLOTS];
    uint64_t seed; /* random: nobody can choose who shares a slot */
};

/* True: one more answer to this address (4 or 16 bytes) is within `rate` a second,
 * and counted. now_us: of a clock that is never set. Any thread. */
bool dns_limit_take(struct dns_limits *l, struct bytes client, uint32_t rate,
                    uint64_t now_us);

/* Loopback, and what is in one of the networks. */
bool dns_limit_exempt(struct bytes client, const struct net *v, size_t n);

#endif
