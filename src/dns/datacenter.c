/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Answers about other datacenters. What is mirrored is answered from the mirror,
 * as from the own catalog; while the datacenter cannot be reached that is what was
 * true last, and the answer says so (RFC 8914, Stale Answer). What is mirrored in
 * part, or not at all, is never answered in part: a server there is asked. Without
 * one, and past the age that is allowed, it is SERVFAIL, which makes resolvers ask
 * another server; NXDOMAIN would say that there is no such service. */
#include <stdio.h>

#include "dns/impl.h"

void datacenter_own(struct ask *a)
{
    a->cat = a->env->cat;
    a->changes = a->env->changes;
    a->datacenter = a->env->set->datacenter;
    a->life = 0;
    a->stale = false;
}

void datacenter_use(struct ask *a, const struct dns_zone *z)
{
    a->cat = z->cat;
    a->changes = z->changes;
    a->datacenter = z->name;
    a->life = z->life;
    a->stale = !z->up;
    a->age_ms = z->age_ms;
}

static unsigned long long seconds(uint64_t ms)
{
    return (unsigned long long)(ms / 1000);
}

static enum dc_found not_here(struct ask *a, const struct dns_zone *z,
                              bool too_old)
{
    if (z->reachable)
        return DC_ASK;
    if (too_old)
        (void)snprintf(a->ede_text, sizeof a->ede_text,
                       "%.*s cannot be reached, what is known is %llu s old",
                       BYTES_ARG(z->name), seconds(z->age_ms));
    else
        (void)snprintf(a->ede_text, sizeof a->ede_text,
                       "%.*s cannot be reached, and this is not mirrored here",
                       BYTES_ARG(z->name));
    a->ede = (struct dns_ede){a->ede_text, DNS_EDE_NO_REACHABLE_AUTHORITY};
    return DC_LOST;
}

static enum dc_found unknown(struct ask *a)
{
    a->ede = (struct dns_ede){"no such datacenter is known", DNS_EDE_OTHER};
    return DC_UNKNOWN;
}

enum dc_found datacenter_enter(struct ask *a, struct bytes dc,
                               struct bytes service)
{
    const struct dns_zones *zones = a->env->zones;
    struct dns_zone z;

    if (!zones || !zones->find(zones, dc, service, &z))
        return unknown(a);
    if (!z.cat || z.age_ms > zones->max_age_ms)
        return not_here(a, &z, z.cat != NULL);
    datacenter_use(a, &z);
    return DC_HERE;
}

enum dc_found datacenter_ask(struct ask *a, struct bytes dc)
{
    const struct dns_zones *zones = a->env->zones;
    struct dns_zone z;

    if (!zones || !zones->find(zones, dc, (struct bytes){NULL, 0}, &z))
        return unknown(a);
    return not_here(a, &z, false);
}

void datacenter_tell(struct ask *a)
{
    bool none = a->rcode == DNS_NXDOMAIN;

    if (!a->stale || !a->q.edns)
        return;
    (void)snprintf(a->ede_text, sizeof a->ede_text,
                   "%.*s cannot be reached: as of %llu s ago",
                   BYTES_ARG(a->datacenter), seconds(a->age_ms));
    a->ede = (struct dns_ede){a->ede_text,
                              none ? DNS_EDE_STALE_NXDOMAIN : DNS_EDE_STALE};
}
