/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* dnsd - DNS threads: each has a socket of its own for every address (SO_REUSEPORT
 * spreads clients over them), reads many packets with one call, answers them from
 * the snapshot under one pin, sends them with one call. What an answer says is
 * dns/dns.h's business.
 *
 * TCP connections and questions for recursors live on the same threads' loops. All
 * of it is bounded by the constants below; what is over a bound is refused, counted
 * and, where there is a question, answered SERVFAIL. */
#ifndef DNSD_DNSD_H
#define DNSD_DNSD_H

#include <stdatomic.h>

#include "base/pin.h"
#include "catalog/catalog.h"
#include "dns/dns.h"
#include "loop/tls_psk.h"

enum {
    DNSD_THREADS_MAX = 16,
    DNSD_ADDRESSES_MAX = 8,
    DNSD_RECURSORS_MAX = 16,
    DNSD_CACHE_BYTES = 16 << 20, /* of each thread; grows as it is used */

    /* A thread's TCP connections at most (fewer where the process may open few);
     * one more closes the one that was idle longest. */
    DNSD_CONNS_MAX = 1024,
    DNSD_QUERY_BYTES_MAX = 4096, /* over TCP */
    DNSD_IDLE_MS = 20 * 1000,    /* between queries */
    DNSD_QUERY_MS = 5 * 1000,    /* from a query's first byte to its last */
    DNSD_STALL_MS = 5 * 1000,    /* no byte of an answer taken */
    DNSD_FORWARDED_MAX = 1024,   /* of a thread, waiting for recursors */
};

struct dnsd_options {
    struct pin_domain *pins;
    struct catalog *catalog;
    /* Read under a pin, as a snapshot is. */
    _Atomic(const struct dns_settings *) *settings;
    const struct dns_changes *changes;
    const char *const *addresses;
    size_t address_count;
    int port;
    int threads;
    uint32_t conns_max, forwarded_max; /* of a thread; 0: the constants above */
    const char *const *recursors;      /* IP, IP:port, [IP]:port */
    size_t recursor_count;
    uint64_t recursor_timeout_ms;
    bool recursor_rotate; /* a different first one each time */

    const struct dns_zones *zones; /* NULL: no other datacenters */
    bool partial; /* the catalog is a part of the servers' (an agent) */

    /* Where what is not known here is asked (PUT /v1/peer/dns): a server of this
     * datacenter (empty: of the own one); false: there is none. Any thread, pinned. */
    bool (*server)(void *ctx, struct bytes datacenter, size_t nth, char *ret,
                   size_t n);
    void (*want)(void *ctx, struct bytes service); /* it is asked about here */
    /* How old the catalog may be, in ms; NULL: it never is. */
    uint64_t (*age_ms)(void *ctx);
    struct uses *uses; /* NULL: nobody asks */
    const _Atomic uint64_t
        *dropped; /* times names left the part; may be NULL */
    void *ctx;
    const struct tls_psk *psk;
};

struct dnsd;

/* Listens and starts the threads. t says which address cannot be had. */
MUST_USE enum err dnsd_start(const struct dnsd_options *o, struct dnsd **ret,
                             struct errtext *t);

/* Nobody is answered any more; waits for the threads. NULL is accepted. */
void dnsd_stop(struct dnsd *d);

/* "10.0.0.1", "10.0.0.1:53", "[::1]:53", "::1" as c-ares reads it, into ret.
 * ERR_BAD: no address. */
MUST_USE enum err dnsd_recursor(struct bytes text, char ret[64]);

#endif
