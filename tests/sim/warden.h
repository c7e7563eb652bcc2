/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* warden - the holder of the duty "guard" in the simulation: what src/duty does,
 * without its threads. It ends windows by its own clock, asks the address of who
 * is held, and releases. */
#ifndef WARDEN_H
#define WARDEN_H

#include "catalog/plan_guard.h"
#include "oracle.h"

enum { WARDEN_TICK_MS = 1000, WARDEN_ASKS_MS = 5000 };

struct warden {
    struct event tick;
    struct arena arena;
    uint64_t window[SERVICES_MAX];    /* create revision of its record */
    uint64_t window_ms[SERVICES_MAX]; /* when somebody had left; 0: nobody */
    uint64_t asked_ms;
    uint64_t since_ms; /* it has the duty */
};

static inline struct snapshot_and_name {
    const struct snapshot *s;
    struct bytes name;
} of_service(const struct fleet *f, int service)
{
    return (struct snapshot_and_name){fleet_snapshot(f),
                                      bytes_str(f->service_name[service])};
}

/* Held instances of the service with such a truth, oldest first. */
static inline size_t held_of(const struct fleet *f, int service,
                             unsigned truths, struct guard_who *ret)
{
    struct snapshot_and_name at = of_service(f, service);
    const struct cat_name *name = snapshot_name(at.s, at.name);
    uint64_t since[INSTANCES_MAX];
    struct membership m;
    size_t n = 0;

    if (!name)
        return 0;
    membership_begin(&m, at.s, name);
    for (int k = 0; k < f->inst_n; k++) {
        const struct inst *i = &f->insts[k];
        struct guard_who who = {node_of(i), bytes_str(i->id)};
        if (i->service != service || !(truths >> i->truth & 1))
            continue;
        const struct cat_node *node = snapshot_node(at.s, who.node);
        const struct cat_instance *c =
            node ? cat_node_service(node, who.service_id) : NULL;
        if (!c || member_of(&m, node, c) != MEMBER_HELD)
            continue;
        struct check_view v;
        cat_check_view(c->checks[0], &v);
        size_t to = n++;
        for (; to > 0 && since[to - 1] > v.marks.since_ms; to--) {
            since[to] = since[to - 1];
            ret[to] = ret[to - 1];
        }
        since[to] = v.marks.since_ms;
        ret[to] = who;
    }
    return n;
}

static inline void release(struct fleet *f, struct arena *a, int service,
                           unsigned truths, enum guard_release why)
{
    struct guard_who who[INSTANCES_MAX];
    size_t n = held_of(f, service, truths, who), done;
    struct errtext t = {{0}};
    struct plan p;
    bool bound;

    if (n == 0)
        return;
    arena_reset(a);
    plan_init(&p, a);
    if (plan_guard_release(&p, fleet_snapshot(f), who, n, why,
                           GUARD_MODE_SILENCE, &done, &bound, &t) != ERR_OK)
        sim_fail(&f->sim, "no plan to release: %s", t.s);
    sometimes(bound);
    sometimes(why == RELEASE_TIME && done > 0);
    sometimes(why == RELEASE_EVIDENCE && done > 0);
    if (p.op_count)
        (void)fleet_commit(f, &p);
}

static inline void end_window(struct fleet *f, struct warden *w, int service)
{
    struct snapshot_and_name at = of_service(f, service);
    struct errtext t = {{0}};
    struct plan p;

    arena_reset(&w->arena);
    plan_init(&p, &w->arena);
    if (plan_guard_window(&p, at.s, at.name, &t) != ERR_OK)
        sim_fail(&f->sim, "no plan to end a window: %s", t.s);
    if (p.op_count == 0 || !fleet_commit(f, &p))
        return;
    sim_say(&f->sim, "window of %s ends", f->service_name[service]);
    oracle_window_ended(f, service);
    w->window_ms[service] = 0;
}

static inline void look_at_window(struct fleet *f, struct warden *w,
                                  int service)
{
    struct snapshot_and_name at = of_service(f, service);
    const struct cat_record *r = snapshot_guard(at.s, at.name);
    struct guard_view v = {0};

    if (r)
        cat_guard_view(r, &v);
    if (v.create_rev != w->window[service] || v.left + v.reg_left == 0)
        w->window_ms[service] = 0;
    w->window[service] = v.create_rev;
    if (v.left + v.reg_left && w->window_ms[service] == 0)
        w->window_ms[service] = f->sim.now_ms;
    if (w->window_ms[service] &&
        f->sim.now_ms - w->window_ms[service] >= WINDOW_MS)
        end_window(f, w, service);
    else if (v.left + v.reg_left == 0)
        /* Nobody answers there: a share of them in each window. */
        release(f, &w->arena, service, 1u << CUT_OFF, RELEASE_TIME);
}

/* Of those who register themselves from outside, by catalog/register. */
static inline void expire(struct fleet *f, struct warden *w, struct inst *i)
{
    uint64_t heard = i->told_ms > w->since_ms ? i->told_ms : w->since_ms;
    struct guard_who who = {node_of(i), bytes_str(i->id)};
    struct errtext t = {{0}};
    struct plan p;
    bool wait;

    if (!i->external || !oracle_of(f)->now[i - f->insts].there ||
        f->sim.now_ms - heard <= i->ttl_ms)
        return;
    arena_reset(&w->arena);
    plan_init(&p, &w->arena);
    if (plan_reap(&p, fleet_snapshot(f), &who, GUARD_MODE_SILENCE, &wait, &t))
        sim_fail(&f->sim, "no plan to remove %s: %s", i->id, t.s);
    sometimes(wait);
    if (p.op_count)
        (void)fleet_commit(f, &p);
}

static inline void on_warden(struct sim *s, struct event *e)
{
    struct warden *w = container_of(e, struct warden, tick);
    struct fleet *f = fleet_of(s);
    bool asks = s->now_ms - w->asked_ms >= WARDEN_ASKS_MS;

    sim_in(s, e, WARDEN_TICK_MS);
    oracle_tick(f);
    if (asks)
        w->asked_ms = s->now_ms;
    for (int n = 0; n < f->service_n && !f->store_down; n++) {
        look_at_window(f, w, n);
        if (asks)
            release(f, &w->arena, n, 1u << REFUSES, RELEASE_EVIDENCE);
    }
    for (int n = 0; n < f->inst_n && !f->store_down; n++)
        expire(f, w, &f->insts[n]);
}

/* Another server has the duty now: it knows nothing of the windows' ages. */
static inline void warden_changes(struct fleet *f, struct warden *w)
{
    sim_say(&f->sim, "the duty goes to another server");
    memset(w->window, 0, sizeof w->window);
    w->since_ms = f->sim.now_ms;
}

#endif
