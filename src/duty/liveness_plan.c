/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/check.h"
#include "duty/liveness_impl.h"

/* So many at once: more likely it is us who do not hear. */
static bool doubts_itself(const struct liveness *l)
{
    const struct liveness_counts *c = &l->counts;

    return c->suspect >= LIVENESS_DOUBT_MIN &&
           c->suspect * LIVENESS_DOUBT_SHARE > c->expected - c->failed;
}

static bool is_due(const struct liveness *l, const struct live_node *n,
                   bool doubt)
{
    uint64_t after = doubt ? LIVENESS_FAIL_DOUBT_MS : LIVENESS_FAIL_MS;

    return n->state == SUSPECT && l->now_ms >= n->heard_ms + after;
}

/* Two that saw that its host is not there, and nobody who saw it refuse. */
static enum check_cause cause_of(const struct live_node *n)
{
    return n->unreachable_by[1] && n->refused == 0 ? CAUSE_EVIDENCE
                                                   : CAUSE_SILENCE;
}

static enum err plan_status(struct liveness *l, const struct live_node *n,
                            bool up, struct errtext *t)
{
    struct status_wish w = {
        .node = bytes_of(n->name, n->name_n),
        .check_id = bytes_str(LIVENESS_CHECK),
        .status = bytes_str(up ? "passing" : "critical"),
        .output = bytes_str(up ? "Agent alive and reachable"
                               : "Agent not live or unreachable"),
        .marks = {.cause = up ? CAUSE_EVIDENCE : cause_of(n)},
        .wall_ms = l->wall_ms,
        .guard = GUARD_MODE_SILENCE,
    };
    enum err e = plan_check_status(&l->plan, liveness_now(l), &w, t);

    return e == ERR_NOT_FOUND ? ERR_OK : e; /* it has left meanwhile */
}

static bool submit(struct liveness *l, const char *what)
{
    struct errtext t = {{0}};

    if (l->plan.op_count == 0)
        return false;
    if (plan_fence(&l->plan, liveness_now(l), &l->fence, &t) != ERR_OK) {
        l->retry_ms = l->now_ms + LIVENESS_RETRY_MS;
        return false;
    }
    l->flying = true;
    l->o.commit(l->o.ctx, &l->plan, what);
    return true;
}

static void begin(struct liveness *l)
{
    arena_reset(&l->arena);
    plan_init(&l->plan, &l->arena);
    l->failing = false;
    for (size_t i = 0; i < l->nodes.n; i++)
        l->order[i]->planned = false;
}

/* Those that have come back first: each of them is a node of working services. */
static bool plan_returns(struct liveness *l)
{
    struct errtext t;
    int n = 0;

    begin(l);
    for (size_t i = 0; i < l->nodes.n && n < LIVENESS_BATCH; i++) {
        struct live_node *x = l->order[i];
        if (x->state != FAILED || !x->back)
            continue;
        if (plan_status(l, x, true, &t) != ERR_OK)
            continue;
        x->planned = true;
        n++;
        l->counts.returns++;
        liveness_tell(l, x, "alive again");
    }
    return n && submit(l, "liveness: alive again");
}

static bool plan_failures(struct liveness *l)
{
    bool doubt = doubts_itself(l);
    struct errtext t;
    int n = 0;

    l->counts.doubts += doubt;
    begin(l);
    l->failing = true;
    for (size_t i = 0; i < l->nodes.n && n < LIVENESS_BATCH; i++) {
        struct live_node *x = l->order[i];
        if (!is_due(l, x, doubt) || plan_status(l, x, false, &t) != ERR_OK)
            continue;
        x->planned = true;
        n++;
        l->counts.failures++;
        liveness_tell(l, x, "failed");
    }
    return n && submit(l, "liveness: failed");
}

static bool plan_reaping(struct liveness *l)
{
    struct errtext t;

    for (size_t i = 0; i < l->nodes.n && l->o.reconnect_ms; i++) {
        struct live_node *x = l->order[i];
        if (x->state != FAILED || x->back ||
            l->now_ms < x->failed_ms + l->o.reconnect_ms)
            continue;
        begin(l);
        if (plan_deregister(&l->plan, liveness_now(l),
                            bytes_of(x->name, x->name_n), (struct bytes){0},
                            (struct bytes){0}, &t) != ERR_OK)
            continue;
        l->counts.reaped++;
        liveness_tell(l, x, "removed");
        if (submit(l, "liveness: failed for too long"))
            return true;
    }
    return false;
}

void liveness_plan(struct liveness *l)
{
    if (l->flying || l->now_ms < l->retry_ms ||
        snapshot_revision(liveness_now(l)) < l->await_revision)
        return;
    /* All are well, which is nearly always: no walk over them for nothing. */
    if (l->counts.suspect == 0 && l->counts.failed == 0)
        return;
    if (!plan_returns(l) && !plan_failures(l))
        (void)plan_reaping(l);
}

void liveness_committed(struct liveness *l, bool committed, uint64_t revision)
{
    require(l->flying);
    l->flying = false;
    l->looked_ms = 0; /* what it has become */
    for (size_t i = 0; i < l->nodes.n; i++) {
        struct live_node *n = l->order[i];
        /* Now, and not when it is seen: its agent may be back by then, and would
         * be taken for one that is silent still. */
        if (n->planned && l->failing && committed) {
            n->state = FAILED;
            n->back = false;
            n->failed_ms = l->now_ms;
        }
        n->planned = false;
    }
    if (committed)
        l->await_revision = revision;
    else
        l->retry_ms = l->now_ms + LIVENESS_RETRY_MS;
}
