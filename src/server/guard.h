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

/* The beats of the last GUARD_TOLD_MS that came to this server, for the holder of
 * the duty, behind the agents that were heard (presence.h), one a line:
 *
 *     beat MILLISECONDS-AGO NODE SERVICE-ID
 *
 * with both names escaped as in a URL. Any thread, pinned; then core thread: takes
 * them from another server's answer, whose other lines are none of these. */
enum { GUARD_TOLD_MS = 10 * 1000 };
void guard_put_beats(const struct process *p, uint64_t now_ms, struct buf *out);
void guard_take_beats(struct core *c, struct bytes text);

/* A server that could have told of beats is not heard any more. Core thread. */
void guard_excuse(struct core *c);

#endif
