/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "duty/duty.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/log.h"
#include "duty/impl.h"

enum { ARENA_BYTES_MAX = 64 << 20 };

/* --- Life ---------------------------------------------------------------- */

struct duty *duty_new(const struct duty_options *o)
{
    struct duty *d = xzalloc(sizeof *d);

    d->o = *o;
    arena_init(&d->arena, ARENA_BYTES_MAX);
    buf_init(&d->fence_key, 0);
    return d;
}

void duty_free(struct duty *d)
{
    if (!d)
        return;
    holds_clear(d);
    map_fini(&d->holds);
    map_fini(&d->services);
    arena_fini(&d->arena);
    buf_fini(&d->fence_key);
    free(d);
}

void duty_configure(struct duty *d, enum guard_mode guard, uint64_t window_ms)
{
    d->o.guard = guard;
    d->o.window_ms = window_ms;
    d->dirty = true;
}

void duty_gained(struct duty *d, const struct store_guard *fence,
                 uint64_t now_ms)
{
    buf_reset(&d->fence_key);
    buf_put(&d->fence_key, fence->key);
    require(!d->fence_key.bad);
    d->fence = *fence;
    d->fence.key = buf_bytes(&d->fence_key);
    d->held = true;
    d->now_ms = now_ms;
    holds_clear(d);
    expire_excuse(d);
    d->dirty = true;
}

void duty_lost(struct duty *d)
{
    d->held = false;
    holds_clear(d);
}

bool duty_is_held(const struct duty *d)
{
    return d->held;
}

struct duty_counts duty_counts(const struct duty *d)
{
    return d->counts;
}

void duty_excuse(struct duty *d, uint64_t now_ms)
{
    d->now_ms = now_ms;
    expire_excuse(d);
}

/* --- The plan under way -------------------------------------------------- */

void duty_begin_plan(struct duty *d)
{
    require(!d->flying);
    arena_reset(&d->arena);
    plan_init(&d->plan, &d->arena);
}

bool duty_submit(struct duty *d, enum err e, const struct errtext *t,
                 const char *what)
{
    struct errtext why = {{0}};

    if (e == ERR_OK)
        e = plan_fence(&d->plan, duty_snapshot(d), &d->fence, &why);
    if (e != ERR_OK) {
        log_error("guard", "cannot be planned: %s: %s", what,
                  t->s[0]    ? t->s
                  : why.s[0] ? why.s
                             : err_text(e));
        d->retry_ms = d->now_ms + DUTY_RETRY_MS;
        return false;
    }
    if (d->plan.op_count == 0)
        return false;
    d->flying = true;
    d->o.commit(d->o.ctx, &d->plan, what);
    return true;
}

void duty_committed(struct duty *d, bool committed, bool conflict,
                    uint64_t revision)
{
    require(d->flying);
    d->flying = false;
    d->dirty = true;
    if (committed || conflict)
        d->await_revision = revision;
    else
        d->retry_ms = d->now_ms + DUTY_RETRY_MS;
}

/* --- What is due --------------------------------------------------------- */

static bool may_look(const struct duty *d)
{
    return d->looked_ms == 0 || d->now_ms >= d->looked_ms + DUTY_LOOK_MS ||
           d->holds.n < DUTY_PROBES_MAX;
}

static void look(struct duty *d)
{
    uint64_t revision = snapshot_revision(duty_snapshot(d));

    if (revision == d->looked_revision && !d->dirty)
        return;
    if (!may_look(d))
        return;
    d->looked_ms = d->now_ms;
    d->looked_revision = revision;
    d->dirty = false;
    expire_look(d);
    if (d->held)
        holds_look(d);
}

static uint64_t soonest(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t next_ms(const struct duty *d)
{
    uint64_t at = d->held ? soonest(holds_due(d), d->expire_ms) : UINT64_MAX;
    bool unseen =
        d->dirty || snapshot_revision(duty_snapshot(d)) != d->looked_revision;

    if (unseen)
        at = soonest(at, d->looked_ms + DUTY_LOOK_MS);
    if (at == UINT64_MAX)
        return UINT64_MAX;
    if (at < d->retry_ms)
        at = d->retry_ms;
    return at > d->now_ms ? at - d->now_ms : 1;
}

uint64_t duty_run(struct duty *d, uint64_t now_ms)
{
    d->now_ms = now_ms;
    if (snapshot_revision(duty_snapshot(d)) == 0)
        return UINT64_MAX;
    look(d);
    /* Until the outcome, or the version that shows it: both call. */
    if (d->flying || snapshot_revision(duty_snapshot(d)) < d->await_revision)
        return UINT64_MAX;
    if (now_ms < d->retry_ms || !d->held)
        return next_ms(d);
    if (holds_plan(d) || expire_plan(d))
        return UINT64_MAX; /* the outcome calls */
    return next_ms(d);
}

/* --- What is told -------------------------------------------------------- */

void duty_probed(struct duty *d, struct bytes key, enum duty_verdict v)
{
    struct hold *h = map_get(&d->holds, key);

    if (!h || h->by[0] == v)
        return;
    h->by[0] = v;
    if (v == DUTY_REFUSED)
        log_warn("guard",
                 "a held instance refuses connections, it leaves the answers: "
                 "service=%.*s instance=%.*s",
                 BYTES_ARG(h->service->name), BYTES_ARG(h->key));
    if (v == DUTY_ACCEPTED)
        log_info("guard",
                 "a held instance accepts connections, it stays in the "
                 "answers: service=%.*s instance=%.*s",
                 BYTES_ARG(h->service->name), BYTES_ARG(h->key));
}

void duty_beat(struct duty *d, struct bytes node, struct bytes service_id,
               uint64_t now_ms, uint64_t wall_ms)
{
    struct beat *e = beats_find(d->o.beats, node, service_id);

    if (!e)
        return; /* not from outside, or not seen yet: it starts in full then */
    e->seen_ms = now_ms;
    atomic_store_explicit(&e->here_ms, now_ms, memory_order_relaxed);
    atomic_store_explicit(&e->wall_ms, wall_ms, memory_order_relaxed);
}

void duty_beat_told(struct duty *d, struct bytes node, struct bytes service_id,
                    uint64_t ago_ms, uint64_t now_ms, uint64_t wall_ms)
{
    struct beat *e = beats_find(d->o.beats, node, service_id);

    if (!e || ago_ms >= now_ms || now_ms - ago_ms <= e->seen_ms)
        return;
    e->seen_ms = now_ms - ago_ms;
    if (ago_ms < wall_ms)
        atomic_store_explicit(&e->wall_ms, wall_ms - ago_ms,
                              memory_order_relaxed);
}
