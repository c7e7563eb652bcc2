/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* guard - the duty "guard" (duty/duty.h) in this process: it campaigns for it,
 * carries out its plans, tries held instances with the prober, and hands it the
 * beats that serving threads see. */
#ifndef SERVER_GUARD_H
#define SERVER_GUARD_H

#include "probe/probe.h"
#include "server/core.h"

enum {
    GUARD_BEATS_WAITING_MAX = 65536, /* more are lost, and counted */
};

/* Of the generations given to the prober: this one's is a held instance. */
#define GUARD_PROBE (UINT64_C(1) << 63)

/* --- Core thread --------------------------------------------------------- */

MUST_USE enum err guard_new(struct core *c);
void guard_campaign(struct core *c); /* once the store is open */
void guard_stop(struct core *c);     /* no plan, no probe any more */
void guard_free(struct core *c);     /* after the store has been closed */

void guard_published(struct core *c);
void guard_configure(struct core *c);
void guard_result(struct core *c, const struct probe_result *r);

/* --- Any thread ---------------------------------------------------------- */

/* The store can be written again, and could not. */
void guard_store_is_back(struct core *c);

/* A registration from outside was answered 200. */
void guard_beat(struct process *p, struct bytes node, struct bytes service_id);

#endif
