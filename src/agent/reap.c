/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Services that were critical by silence for too long: the guard is asked first.
 * All of one look are one change to the catalog, within the bounds of plan_reap, and
 * only when that is committed do the services go here. What may not go now, or did
 * not get in, is looked at again by the reaper's next look. */
#include <stdlib.h>

#include "agent/impl.h"
#include "catalog/plan_guard.h"

enum {
    REAP_OPS_MAX = 256 /* of one change; the rest waits for the next look */
};

struct reaping {
    struct agent *agent;
    struct arena arena;
    struct plan plan;
    struct buf ids; /* lp: of what goes here then */
    struct store_change change;
    struct store_outcome outcome;
    struct letter letter;
};

static void reaping_free(struct reaping *r)
{
    arena_fini(&r->arena);
    buf_fini(&r->ids);
    free(r);
}

/* On the catalog store's thread. */
static void on_removed(struct store_change *c, const struct store_outcome *o)
{
    struct reaping *r = container_of(c, struct reaping, change);
    struct agent *a = r->agent;

    r->outcome = *o;
    agent_post(a, &r->letter);
    uv_sem_post(&a->landed);
}

static void reap_here(struct reaping *r)
{
    struct bytes rest = buf_bytes(&r->ids), id;

    while (packed_next(&rest, &id)) {
        log_warn("agent", "deregistered, silent for too long: service=%.*s",
                 BYTES_ARG(id));
        op_reap(r->agent, id);
    }
}

void reap_answered(struct letter *l)
{
    struct reaping *r = container_of(l, struct reaping, letter);
    struct agent *a = r->agent;

    if (!a->closing) {
        a->flying--;
        uv_sem_wait(&a->landed);
        if (r->outcome.verdict == STORE_COMMITTED)
            reap_here(r);
    }
    reaping_free(r);
}

static struct reaping *reaping_of(struct agent *a)
{
    if (a->reaping)
        return a->reaping;
    struct reaping *r = xzalloc(sizeof *r);
    r->agent = a;
    arena_init(&r->arena, 0);
    sync_plan_init(a, &r->plan, &r->arena);
    buf_init(&r->ids, 0);
    a->reaping = r;
    return r;
}

static bool is_in(const struct reaping *r, struct bytes service_id)
{
    struct bytes rest = buf_bytes(&r->ids), id;

    while (packed_next(&rest, &id))
        if (bytes_eq_fold(id, service_id))
            return true;
    return false;
}

void reap_silent(struct agent *a, struct bytes service_id)
{
    const struct guard_who who = {a->o.me.node.name, service_id};
    struct reaping *r = reaping_of(a);
    struct errtext t = {{0}};
    bool wait;

    if (is_in(r, service_id) || r->plan.op_count > REAP_OPS_MAX)
        return;
    enum err e = plan_reap(&r->plan, catalog_current(a->o.catalog), &who,
                           a->o.me.guard, &wait, &t);
    if (e != ERR_OK)
        log_error("agent", "cannot be removed: service=%.*s error=\"%s\"",
                  BYTES_ARG(service_id), t.s[0] ? t.s : err_text(e));
    else if (wait)
        log_warn(
            "agent",
            "critical for too long, but kept: too many of its service fell "
            "silent at once: service=%.*s",
            BYTES_ARG(service_id));
    else
        buf_lp(&r->ids, service_id);
    require(!r->ids.bad);
    /* A server may let one go and not the next. */
    if (a->o.submit_wishes)
        reap_submit(a);
}

void reap_submit(struct agent *a)
{
    struct reaping *r = a->reaping;

    a->reaping = NULL;
    if (!r)
        return;
    r->letter.kind = LETTER_REAPED;
    list_init(&r->letter.link);
    r->change = (struct store_change){
        .guards = r->plan.guards,
        .guard_count = r->plan.guard_count,
        .ops = r->plan.ops,
        .op_count = r->plan.op_count,
        .meta = bytes_str(META_REAPED_SILENT),
        .done = on_removed,
    };
    list_init(&r->change.link);
    if (r->plan.op_count == 0) { /* the catalog has none of them any more */
        reap_here(r);
        reaping_free(r);
    } else if (sync_submit(a, &r->change, NULL) == ERR_OK) {
        a->flying++;
    } else {
        reaping_free(r);
    }
}
