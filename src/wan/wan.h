/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* wan - the servers of all datacenters that are joined, as one of them knows
 * them. There is no first among them: each asks the others how they are, and
 * tells and hears in the same exchange whom else it knows.
 *
 * Pure: told who said what and when, it tells whom to ask next. A server is
 * alive while it has answered within WAN_FAILED_MS; whom one only has heard of is
 * asked first, and not shown before it has answered. What is lost stays listed as
 * failed until it is forced out, leaves, or WAN_REAP_MS are over: a lost link is
 * no reason to forget a datacenter. Times are milliseconds of a monotonic clock.
 */
#ifndef WAN_WAN_H
#define WAN_WAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/coordinate.h"

enum {
    WAN_MEMBERS_MAX = 512, /* servers in all datacenters; more are refused */
    WAN_PING_MS = 2000,    /* each is asked so often */
    WAN_FAILED_MS = 10000, /* unanswered for so long: failed */
    WAN_REAP_MS = 72 * 3600 * 1000,
    WAN_RTT_SAMPLES = 5, /* whose median counts */
    WAN_NAME_MAX = 63,   /* of a datacenter: a label of DNS */
};

/* What a server says of itself, and others repeat. */
struct wan_who {
    char node[256], id[37], datacenter[WAN_NAME_MAX + 1];
    char address[64]; /* of its listener for datacenters */
    char version[32];
    int port, server_port;
    struct coordinate at; /* between datacenters */
};

struct wan_member {
    struct wan_who who;
    bool known; /* it has answered, or asked, itself */
    bool alive;
    uint64_t heard_ms, asked_ms, since_ms; /* since: first told of */
    double rtt_s;                          /* < 0: not measured */
    double samples[WAN_RTT_SAMPLES];
    unsigned sample_count, sample_next;
};

struct wan {
    struct wan_who self;
    struct wan_member *v; /* by datacenter, node */
    size_t n, cap;
};

void wan_init(struct wan *w, const struct wan_who *self);
void wan_fini(struct wan *w);

/* Is it something that could be a server's word? ERR_BAD: t says what is wrong,
 * by name: a datacenter that DNS cannot carry, no ID, no address. */
MUST_USE enum err wan_check(const struct wan_who *who, struct errtext *t);

/* It has spoken itself: answered (rtt_s >= 0) or asked. *ret_changed: what others
 * see has changed. ERR_CONFLICT: it calls itself what another living server, or
 * this one, is called already, t names both; ERR_BAD; ERR_LIMIT; ERR_NOMEM. Self
 * is no news. */
MUST_USE enum err wan_heard(struct wan *w, const struct wan_who *who,
                            double rtt_s, uint64_t now_ms, bool *ret_changed,
                            struct errtext *t);

/* Somebody told of it. */
MUST_USE enum err wan_told(struct wan *w, const struct wan_who *who,
                           uint64_t now_ms, struct errtext *t);

/* Who is to be asked now; marks it as asked. NULL: nobody yet. The pointer holds
 * until the next call that adds. */
const struct wan_member *wan_due(struct wan *w, uint64_t now_ms);

/* True: somebody has failed, or was forgotten, since the last time. */
bool wan_expire(struct wan *w, uint64_t now_ms);

/* It says that it leaves, or is forced out ("node.datacenter"). False: nobody is
 * called so. */
bool wan_leave(struct wan *w, const char *id);
bool wan_force(struct wan *w, struct bytes name);

/* "node.datacenter"; NULL: nobody is called so. */
const struct wan_member *wan_named(const struct wan *w, struct bytes name);

#endif
