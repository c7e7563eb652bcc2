/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* One check: which marks go with a status that is wished, and whether there is
 * anything to write. */
#include "base/check.h"
#include "catalog/plan_impl.h"

static bool critical(const struct check_view *v)
{
    return bytes_is(v->status, "critical");
}

/* Somebody's word, not a verdict on health: the guard has no say. */
static bool is_meant(struct bytes check_id)
{
    return bytes_is(check_id, "_node_maintenance") ||
           bytes_starts(check_id, bytes_str("_service_maintenance:")) ||
           bytes_starts(check_id, bytes_str("_muster_drain:"));
}

/* Critical was stored, and critical is wished. True: a recall. */
static bool still_critical(struct check_view *v, const struct check_marks *had,
                           enum guard_mode guard)
{
    enum check_cause wish = v->marks.cause;
    bool recall = wish == CAUSE_SILENCE && had->cause == CAUSE_TIMEOUT;

    /* What is known already, or stronger. */
    if ((wish == CAUSE_SILENCE && !recall) || wish == had->cause ||
        had->cause == CAUSE_EVIDENCE) {
        v->marks.cause = had->cause;
        v->marks.held = had->held;
        v->marks.held_ms = had->held_ms;
        return false;
    }
    if (had->held && (recall || guard == GUARD_MODE_ALL)) {
        v->marks.held = true;
        v->marks.held_ms = had->held_ms;
        return false;
    }
    return recall;
}

/* May the instance go? Of a node's check it is the duty that asks, for each of
 * its services. */
static bool may_leave(struct planner *p, const struct check_view *v,
                      const struct checked *of, bool recall)
{
    if (!of->node)
        return true;
    if (v->service_id.n == 0)
        return v->marks.cause != CAUSE_SILENCE || of->node->services.n == 0;
    if (!of->instance || of->guard == GUARD_MODE_OFF ||
        (v->marks.cause != CAUSE_SILENCE && of->guard != GUARD_MODE_ALL) ||
        is_meant(v->id))
        return true;
    return !planner_answered(p, of->node, of->instance, v->id) ||
           planner_admit(p, of->instance, of->guard, recall);
}

/* v's marks are what is wished, and become what is to be stored. */
static void settle(struct planner *p, struct check_view *v,
                   const struct check_view *had, const struct checked *of)
{
    bool same = had && bytes_eq(had->status, v->status);
    bool fell = !had || bytes_is(had->status, "passing");
    bool quiet = !had && bytes_is(v->status, "passing");

    v->marks.since_ms = same ? had->marks.since_ms : quiet ? 0 : of->wall_ms;
    v->marks.held = false;
    v->marks.held_ms = 0;
    if (!critical(v)) {
        v->marks.cause = CAUSE_EVIDENCE;
        return;
    }
    if (same ? !still_critical(v, &had->marks, of->guard) : !fell)
        return;
    if (may_leave(p, v, of, same))
        return;
    sometimes(same);
    v->marks.held = true;
    v->marks.held_ms = of->wall_ms;
}

bool planner_check(struct planner *p, struct check_view *v,
                   const struct cat_record *r, const struct checked *of)
{
    struct check_view had;

    if (r)
        cat_check_view(r, &had);
    settle(p, v, r ? &had : NULL, of);
    if (r && bytes_eq(had.status, v->status) &&
        marks_alike(&had.marks, &v->marks)) {
        /* Alone they are worth no write, and who is suppressed follows from
         * them: they move with what moves indexes only. */
        v->marks.penalty = had.marks.penalty;
        v->marks.damped_until_ms = had.marks.damped_until_ms;
    }
    buf_reset(&p->value);
    record_put_check(&p->value, v);
    if (planner_is_same(p, r))
        return false;
    planner_write(p, planner_key(p, RECORD_CHECK, v->node, v->id), r);
    return true;
}
