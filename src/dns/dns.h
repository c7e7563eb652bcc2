/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* dns - what a DNS query is answered: packet + snapshot + settings + a random
 * word -> packet, in one function that waits for nothing and allocates nothing (but
 * for a moment where instances of a service flap: catalog/member.h).
 *
 *     [TAG.]NAME.service[.DC].DOMAIN          instances that are not critical
 *     [TAG.]NAME.passing[.DC].DOMAIN          those that pass (muster's own)
 *     _NAME._TAG[.service][.DC].DOMAIN        the same, after RFC 2782
 *     NODE.node[.DC].DOMAIN                   a node's address, its metadata
 *     NAME.query[.DC].DOMAIN                  what a prepared query selects
 *     HEX.addr[.DC].DOMAIN                    the address that HEX spells
 *     ....in-addr.arpa, ....ip6.arpa          whose address it is
 *     anything of DOMAIN, asked for NS or SOA
 *
 * Names of Consul's are understood as Consul 1.8 does, with DC or, as newer ones
 * write it, DC.dc; docs/operating.md tells users. The mesh is not there: such names
 * do not exist. What is asked about another datacenter is answered from what is
 * mirrored of it (zones.h), or by a server there.
 *
 * A thread has a worker: the place where an answer is put together, and the
 * answers about services it has made, without their order (cache.h). An entry is
 * looked at again when the snapshot has changed and used as long as the index of
 * its service has not, so nothing is ever older than the snapshot. */
#ifndef DNS_DNS_H
#define DNS_DNS_H

#include "base/uses.h"
#include "catalog/catalog.h"
#include "dns/changes.h"
#include "dns/cookie.h"
#include "dns/limit.h"
#include "dns/name.h"
#include "dns/zones.h"

struct dns_ttl {
    struct bytes name; /* lower case; without the '*' of a prefix */
    bool prefix;
    uint32_t ttl_s;
};

/* From the configuration; immutable while anybody can see it. */
struct dns_settings {
    uint64_t generation;         /* another one: entries are made again */
    struct dns_name domain, alt; /* lower case, with root; alt.n 0: none */
    struct bytes datacenter;     /* lower case */
    struct bytes node;           /* the own one's name */
    uint32_t node_ttl_s;
    uint32_t calm_ttl_s; /* services' TTLs grow to that; 0: they do not */
    const struct dns_ttl *service_ttl; /* exact names, then long to short */
    size_t service_ttl_count;
    struct {
        uint32_t refresh, retry, expire, min_ttl;
    } soa;
    bool only_passing;
    bool truncate;         /* say TC when records were left out */
    bool compress;         /* names */
    bool node_texts;       /* metadata as TXT beside addresses */
    bool sticky;           /* order by who asks, not by chance */
    bool recursors;        /* there are some */
    uint64_t max_stale_ms; /* answers may be as old as that */
    uint32_t udp_answer_limit, a_record_limit; /* 0: Consul's 8, none */
    uint32_t rrl_rate; /* answers a second to a network; 0: no limit */
    uint32_t rrl_slip; /* each so many limited ones are told TC; 0: none */
    const struct net *rrl_exempt;
    size_t rrl_exempt_count;
};

/* Seconds for which answers about a service may be kept, at least and at most;
 * name: lower case. */
uint32_t dns_service_ttl(const struct dns_settings *set, struct bytes name);
uint32_t dns_service_ttl_most(const struct dns_settings *set,
                              struct bytes name);

enum dns_transport { DNS_OVER_UDP, DNS_OVER_TCP };

struct dns_env {
    const struct snapshot *cat;
    const struct dns_settings *set;
    const struct dns_changes *changes; /* NULL: look each service up */
    const struct dns_zones *zones;     /* NULL: no other datacenter is known */
    const struct dns_key *key; /* of cookies; NULL: none are given out */
    struct dns_limits *limits; /* with now_us; NULL: nobody is limited */
    uint64_t now_us;
    uint64_t random;
    uint32_t now_s;      /* Unix time: the SOA's serial */
    struct bytes client; /* 4 or 16 bytes of address; empty: unknown */
    enum dns_transport transport;
    bool partial;  /* cat holds a part only (src/mirror): what is not in it is
                     ELSEWHERE */
    uint64_t part; /* another one: names may have left the part */
    struct uses *uses; /* of WATCH_SERVICE_HEALTH keys; NULL: nobody asks */
    bool too_old;      /* beyond dns_config.max_stale: SERVFAIL */
};

enum dns_verdict {
    DNS_ANSWERED,  /* *ret_n bytes are in out */
    DNS_SILENCE,   /* nothing is to be said */
    DNS_FORWARD,   /* none of ours: ask a recursor */
    DNS_ELSEWHERE, /* ours, but not in this part of the catalog: ask a server,
                      of the datacenter in told if there is one */
};

/* What was asked, for counters. */
struct dns_told {
    uint16_t type;
    uint8_t rcode;
    bool truncated, cached;
    uint16_t
        alias_at;     /* the host name in an answer that ends with it, and which
                        * a recursor may know (dns_follow); 0: none */
    uint8_t wanted_n; /* ELSEWHERE: the service asked about; 0: none */
    bool there;       /* wanted is a datacenter, whose servers know */
    char wanted[63];
    bool limited; /* more than its network gets: TC or silence */
};

struct dns_worker;

/* About 2 MB, touched only as far as it is used; bytes of cache beside that.
 * ERR_NOMEM. */
MUST_USE enum err dns_worker_new(size_t cache_bytes, struct dns_worker **ret);
void dns_worker_free(struct dns_worker *w);

/* Pinned. out: cap bytes, at least DNS_UDP_PLAIN; the answer is never longer
 * than the transport and the client's EDNS allow. */
enum dns_verdict dns_answer(struct dns_worker *w, const struct dns_env *env,
                            struct bytes packet, uint8_t *out, size_t cap,
                            size_t *ret_n, struct dns_told *ret_told);

/* An answer that ended with a host name (`alone`, its place in it), with what a
 * recursor told about that name. 0: nothing to add. packet: the client's query. */
size_t dns_follow(struct bytes packet, enum dns_transport transport,
                  struct bytes alone, size_t alias_at, struct bytes found,
                  uint8_t *out, size_t cap);

/* What to ask the recursor. 0: no room, or no such name. */
size_t dns_follow_query(struct bytes packet, struct bytes alone,
                        size_t alias_at, uint8_t *out, size_t cap);

/* The answer that gives up: the query's id, question and EDNS, with an rcode and
 * why (NULL: no word). 0: to what is no query nothing is said. */
size_t dns_refuse(struct bytes packet, enum dns_rcode rcode,
                  const struct dns_ede *why, bool recursors, uint8_t *out,
                  size_t cap);

#endif
