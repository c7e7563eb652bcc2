/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* dns_live - from the configuration to what DNS threads run with. */
#ifndef SERVER_DNS_LIVE_H
#define SERVER_DNS_LIVE_H

#include "base/pin.h"
#include "config/agent_config.h"
#include "dnsd/dnsd.h"

/* What the configuration says, texts as long as the process or the reload. */
struct dns_plan {
    const char *addresses[DNSD_ADDRESSES_MAX];
    size_t address_count;
    int port; /* -1: off */
    int threads;
    const char *const *recursors;
    size_t recursor_count;
    uint64_t recursor_timeout_ms;
    bool recursor_random;
    const char *domain, *alt_domain, *datacenter;
    struct dns_settings set; /* without texts */
    const struct config_pair *service_ttl;
    size_t service_ttl_count;
    const char *const *exempt;
    size_t exempt_count;
};

/* ERR_LIMIT, ERR_BAD: an address that cannot be listened on; t says which. */
MUST_USE enum err dns_plan_make(const struct agent_config *c,
                                struct dns_plan *ret, struct errtext *t);

/* How many descriptors DNS takes of `most` at the most, for connections and for
 * questions to recursors: no more than a quarter. *ret_conns, *ret_forwarded: what
 * that is for a thread. */
uint32_t dns_descriptors(const struct dns_plan *p, int threads, uint32_t most,
                         uint32_t *ret_conns, uint32_t *ret_forwarded);

/* A block of its own (free() it), nothing of the plan needed afterwards. */
struct dns_settings *dns_settings_new(const struct dns_plan *p,
                                      uint64_t generation);

/* The threads, in p->dnsd. conns, forwarded: as of dns_descriptors. */
struct process;
MUST_USE enum err dns_start(struct process *p, const struct dns_plan *plan,
                            int threads, uint32_t conns, uint32_t forwarded,
                            struct errtext *t);

#endif
