/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* plan_guard - plans of what leaves by silence (catalog/guard.h has the bounds).
 *
 * Checks that turn critical by silence go through plan_register; here is what
 * the reaper and the holder of the duty "guard" do. Deliberate acts never come
 * here. Several calls may make one plan, also for several instances of one
 * service: they see what the earlier ones planned. */
#ifndef CATALOG_PLAN_GUARD_H
#define CATALOG_PLAN_GUARD_H

#include "catalog/plan.h"

/* The meta of changes that remove instances of which nobody spoke any more; the
 * feed tells it of what they delete. */
#define META_REAPED_CRITICAL "agent: critical for too long"
#define META_REAPED_SILENT   "agent: silent for too long"
#define META_REAPED_EXPIRED  "guard: expired"

/* One instance. */
struct guard_who {
    struct bytes node, service_id;
};

/* Remove an instance of which nobody was heard: critical by silence for too long,
 * or registered from outside and expired. One that is critical by evidence goes
 * without asking; one that is gone already makes an empty plan.
 *
 * *ret_wait: the bounds do not allow it now; nothing was added. Ask again when
 * the window has ended. */
MUST_USE enum err plan_reap(struct plan *p, const struct snapshot *s,
                            const struct guard_who *who,
                            enum guard_mode configured, bool *ret_wait,
                            struct errtext *t);

/* The end of the window of a service name (of the record that s shows): the
 * record goes, or, while anything is held or let out, counts nobody. Makes a record for held instances that have none.
 * Entries of `out` whose check is not held any more are dropped. Nothing to do:
 * an empty plan. */
MUST_USE enum err plan_guard_window(struct plan *p, const struct snapshot *s,
                                    struct bytes name, struct errtext *t);

enum guard_release {
    RELEASE_EVIDENCE, /* its port refuses: out, not counted (but where a service
                         asks for the guard of all that leaves) */
    RELEASE_TIME, /* unreachable: as the bounds allow, counted; never the last
                         one, even where others were removed */
    RELEASE_OPERATOR, /* somebody said so: out, not counted */
};

/* Lets held instances of one service name leave the answers. *ret_n: how many of
 * who[] are done, from the first on (also those that are not held, and need
 * nothing): the rest does not fit into one change, or the bounds do not allow it
 * (then *ret_bound). */
MUST_USE enum err plan_guard_release(struct plan *p, const struct snapshot *s,
                                     const struct guard_who *who, size_t n,
                                     enum guard_release why,
                                     enum guard_mode configured, size_t *ret_n,
                                     bool *ret_bound, struct errtext *t);

/* The duty's fence among the guards, if the plan writes anything. */
MUST_USE enum err plan_fence(struct plan *p, const struct snapshot *s,
                             const struct store_guard *fence,
                             struct errtext *t);

#endif
