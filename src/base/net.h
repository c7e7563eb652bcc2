/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* net - networks as "10.0.0.0/8" or "fe80::/10", and whether an address is in
 * one. Text in, yes or no out: no name is resolved. */
#ifndef BASE_NET_H
#define BASE_NET_H

#include "base/bytes.h"
#include "base/err.h"

struct net {
    uint8_t address[16]; /* IPv4 as ::ffff:a.b.c.d; bits beyond are zero */
    uint8_t bits;        /* 0 to 128 */
};

/* ERR_BAD: not ADDRESS/BITS; an address alone is none, as in Consul. */
MUST_USE enum err net_parse(struct bytes text, struct net *ret);

/* An address alone, too: that one host. */
MUST_USE enum err net_parse_host(struct bytes text, struct net *ret);

/* address as inet_ntop writes it; IPv4 in IPv6 (::ffff:10.0.0.1) counts as
 * IPv4. Something else is in no network. */
bool net_has(const struct net *n, struct bytes address);

/* The same for an address in bytes, IPv4 as ::ffff:a.b.c.d. */
bool net_has_bytes(const struct net *n, const uint8_t address[16]);

/* "HOST:PORT" into ret, as peers and URLs name it: an IPv6 address in brackets.
 * Cut at n bytes, the zero included. */
void net_host_port(char *ret, size_t n, struct bytes host, uint64_t port);

#endif
