/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* zones - the other datacenters, as whoever answers DNS queries knows them. */
#ifndef DNS_ZONES_H
#define DNS_ZONES_H

#include "catalog/catalog.h"
#include "dns/changes.h"

/* One of them; pointers live as long as the pin. */
struct dns_zone {
    struct bytes name;          /* a label of DNS, lower case */
    const struct snapshot *cat; /* what is mirrored of it; NULL: not all that is
                                   asked about */
    const struct dns_changes *changes; /* of cat; NULL: look services up */
    uint64_t life;   /* of the catalog that cat is of, above 0: when it begins
                           anew with what another store says, another one */
    uint64_t age_ms; /* since cat surely was what is there */
    bool up;         /* changes arrive: cat is what is there */
    bool reachable;  /* a server there may be asked */
};

struct dns_zones {
    /* False: nobody knows such a datacenter. name: any case; service: what it is
     * asked about, empty: anything. */
    bool (*find)(const struct dns_zones *z, struct bytes name,
                 struct bytes service, struct dns_zone *ret);
    /* The i-th of the others, the nearest first. False: there are fewer. */
    bool (*nth)(const struct dns_zones *z, size_t i, struct bytes service,
                struct dns_zone *ret);
    uint64_t max_age_ms;      /* what is older is told to nobody */
    uint64_t failover_age_ms; /* the same, of where a query fails over to */
    void *ctx;
};

#endif
