/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* host - what is known about one endpoint beyond its registration: requests in
 * flight, outcomes, latency, ejection. Internal.
 *
 * It is kept by identity (node, service ID, address, port), so it outlives each
 * table made of it, and for a while its endpoint. Counters are written by any
 * thread that picks or reports, with relaxed atomics; the rest says whose it
 * is. */
#ifndef LB_HOST_H
#define LB_HOST_H

#include "base/bytes.h"
#include "lb/flight.h"
#include "lb/grace.h"

/* Bits of struct lb_host.blocked: not to be picked, although the table may
 * still hold it. */
enum {
    LB_EJECTED = 1,     /* by outcomes; for a time */
    LB_UNREACHABLE = 2, /* by refused connections; until one succeeds */
};

/* Outcomes of one interval; the other set belongs to the next. */
struct lb_tally {
    _Atomic uint32_t ok, failed;
    _Atomic uint64_t latency_us; /* sum over ok */
};

struct lb_host {
    struct lb_flight flight;
    _Atomic uint64_t cost;     /* peak EWMA: see least.c; 0: never measured */
    _Atomic uint32_t blocked;  /* LB_EJECTED | LB_UNREACHABLE */
    _Atomic uint32_t failures; /* in a row */
    _Atomic uint32_t refusals; /* in a row: nobody answered there */
    _Atomic uint32_t
        refusals_max;            /* at so many it is LB_UNREACHABLE; 0: never */
    _Atomic uint32_t ejections;  /* the multiplier of the last ejection */
    _Atomic uint64_t ejected_ms; /* when; read under LB_EJECTED */
    struct lb_tally tally[2];

    /* Totals, for who asks; those of the tallies come on top. */
    _Atomic uint64_t ok, failed, refused;

    /* The owner's alone. */
    struct lb_junk junk;
    void *block; /* of malloc; the host begins at a cache line in it */
    uint64_t id; /* never used again */
    uint32_t slot;
    uint64_t gone_ms; /* not in the list since; 0: in it */
    bool listed;      /* scratch of an update */
    bool critical;    /* in the list in use */

    /* Never changed. */
    uint64_t hash;     /* of name */
    struct bytes key;  /* identity */
    struct bytes name; /* address:port, which hash policies hash */
    struct bytes address, service_id, node;
    uint16_t port;
};

enum { LB_NO_SLOT = UINT32_MAX };

/* The order of members: by service ID, runs of digits as numbers (web-9 before
 * web-10: what jump wants, newcomers at the end), then by name, then by all of
 * the identity. */
int lb_host_cmp(const struct lb_host *a, const struct lb_host *b);

#endif
