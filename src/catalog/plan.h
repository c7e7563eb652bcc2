/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* plan - what must be written so that the catalog says what somebody wants.
 *
 * Pure: snapshot + wish -> guards and operations. Nothing to write is a valid
 * plan (op_count 0): writing an equal record must not move an index. The guards
 * make the plan fail if what it was made from has changed meanwhile (then plan
 * again on a newer snapshot).
 *
 * Sets: whoever adds a service or check guards its parent's create revision;
 * whoever lists a node's or a service's members to remove them guards that
 * nothing was created under the prefix since the snapshot's revision. */
#ifndef CATALOG_PLAN_H
#define CATALOG_PLAN_H

#include "base/arena.h"
#include "base/change.h"
#include "catalog/catalog.h"

enum {
    PLAN_OPS_MAX = 512, /* guards, and operations, of one change */
};

struct plan {
    struct arena *arena; /* owns everything below */
    struct store_guard *guards;
    size_t guard_count;
    struct store_op *ops;
    size_t op_count;
    bool wishes; /* it only says what is wanted: wish.h */
};

void plan_init(struct plan *p, struct arena *a);

/* A registration as in PUT /v1/catalog/register. */
struct registration {
    struct node_view node;
    bool skip_node_update;
    const struct service_view *service; /* NULL: none */
    const struct check_view
        *checks; /* service_id says whose; the service may be
                                           the one registered here */
    size_t check_count;
    /* Checks of the service that are not in the list go (anti-entropy). */
    bool replace_checks;

    uint64_t wall_ms;      /* now, Unix milliseconds, for people; 0: unknown */
    enum guard_mode guard; /* as configured; a service's Meta wins */
};

/* Marks of checks (base/marks.h). A wish brings cause and what is known of
 * damping; since_ms and held are decided here:
 *
 * - A check that turns critical by silence while its instance is in the answers
 *   leaves them only as far as the guard admits it (catalog/guard.h), else it is
 *   held; one of a node is always held, and let out service by service by the
 *   duty.
 * - Critical by silence is equal to any other critical that is stored, but for
 *   TIMEOUT: that is a recall (the prober was starved): the instance comes back
 *   as held, unless it is a single one.
 * - Evidence ends what silence held, and passing everything.
 * - Only since_ms, held_ms, penalty or damped_until_ms differ: nothing to write.
 *
 * ERR_BAD, ERR_CONFLICT, ...: t is Consul's text ("Missing service
 * registration on node ..."). ERR_LIMIT: more than PLAN_OPS_MAX. A node ID held
 * by another node name renames that node: its old name goes with all under it. */
MUST_USE enum err plan_register(struct plan *p, const struct snapshot *s,
                                const struct registration *r,
                                struct errtext *t);

/* service_id and check_id may be empty; a service goes with its checks, a node
 * with everything. Not there: an empty plan. */
MUST_USE enum err plan_deregister(struct plan *p, const struct snapshot *s,
                                  struct bytes node, struct bytes service_id,
                                  struct bytes check_id, struct errtext *t);

/* One check's status and output; not there: ERR_NOT_FOUND. Guards its mod
 * revision; marks as in a registration. */
struct status_wish {
    struct bytes node, check_id, status, output;
    struct check_marks marks;
    uint64_t wall_ms;
    enum guard_mode guard;
};

/* A prepared query as a whole; v->id is set. ERR_NOT_FOUND: it is to be changed
 * and is not there. ERR_BAD: its name is another's. */
MUST_USE enum err plan_query(struct plan *p, const struct snapshot *s,
                             const struct query_view *v, bool create,
                             struct errtext *t);
MUST_USE enum err plan_query_delete(struct plan *p, const struct snapshot *s,
                                    struct bytes id, struct errtext *t);

/* Where a node is now. Nobody's: an empty plan. Several can go into one plan. */
MUST_USE enum err plan_coordinate(struct plan *p, const struct snapshot *s,
                                  const struct coordinate_view *v,
                                  struct errtext *t);

MUST_USE enum err plan_check_status(struct plan *p, const struct snapshot *s,
                                    const struct status_wish *wish,
                                    struct errtext *t);

#endif
