/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* cookie - DNS cookies (RFC 7873): a client that sends one back which this server
 * gave out lately is at the address it says it is, so limits against forged
 * addresses (limit.h) do not concern it.
 *
 * A server cookie is made as RFC 9018 4 says:
 *
 *     version 1 | reserved 3 | time 4 | SipHash-2-4 of
 *         (client cookie | version | reserved | time | client's address)
 *
 * so nothing is kept per client. The key is drawn at the start: after a restart
 * each client gets a new cookie with its first answer. Pure. */
#ifndef DNS_COOKIE_H
#define DNS_COOKIE_H

#include "dns/wire.h"

enum {
    DNS_COOKIE_MADE = 24,        /* bytes: the client's and ours */
    DNS_COOKIE_GOOD_S = 3600,    /* a cookie is believed for so long */
    DNS_COOKIE_FRESH_S = 1800,   /* and told back as it is for so long */
    DNS_COOKIE_AHEAD_S = 5 * 60, /* from a clock that was set back */
};

struct dns_key {
    uint8_t p[16];
};

/* J.-P. Aumasson, D. Bernstein, SipHash: a fast short-input PRF, 2012. */
uint64_t dns_siphash(const struct dns_key *key, const uint8_t *p, size_t n);

/* Makes of the query's cookie the answer's. True: it is one that we gave to this
 * address (4 or 16 bytes). */
bool dns_cookie_answer(const struct dns_key *key, struct bytes client,
                       uint32_t now_s, struct dns_cookie *cookie);

#endif
