/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/coordinates.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"

enum { ARENA_MAX = 1 << 20 /* keys and values of one change */ };

struct waiting {
    struct list link;
    struct coordinate_view view; /* node: in this block */
    size_t key_n;
    char key[]; /* folded name of the node, then as it was given */
};

struct coordinates {
    struct core *core;
    struct map by_node; /* folded -> waiting */
    struct list order;  /* who waits longest first */
    struct timer timer;
    int batches; /* still allowed in this period */

    struct core_letter letter;
    struct store_change change;
    struct store_outcome outcome;
    struct arena arena;
    struct plan plan;
    bool under_way;
};

static void flush(struct coordinates *cs);

static void period_fire(struct timer *t)
{
    struct coordinates *cs = container_of(t, struct coordinates, timer);

    cs->batches = COORDINATES_BATCHES;
    flush(cs);
}

enum err coordinates_new(struct core *c)
{
    struct coordinates *cs = xzalloc(sizeof *cs);

    cs->core = c;
    list_init(&cs->order);
    list_init(&cs->letter.link);
    arena_init(&cs->arena, ARENA_MAX);
    cs->timer.fire = period_fire;
    c->coordinates = cs;
    return ERR_OK;
}

static void forget(struct coordinates *cs, struct waiting *w)
{
    map_del(&cs->by_node, bytes_of(w->key, w->key_n));
    list_del(&w->link);
    free(w);
}

void coordinates_free(struct core *c)
{
    struct coordinates *cs = c->coordinates;

    if (!cs)
        return;
    while (!list_empty(&cs->order))
        forget(cs, container_of(cs->order.next, struct waiting, link));
    timer_clear(&c->timers, &cs->timer);
    map_fini(&cs->by_node);
    arena_fini(&cs->arena);
    free(cs);
    c->coordinates = NULL;
}

/* --- Into the store ------------------------------------------------------ */

static void settled(struct core *c, struct core_letter *l)
{
    struct coordinates *cs = container_of(l, struct coordinates, letter);

    cs->under_way = false;
    if (cs->outcome.verdict == STORE_REFUSED ||
        cs->outcome.verdict == STORE_UNAVAILABLE)
        log_debug("server", "coordinates are not stored: error=\"%s\"",
                  cs->outcome.text.s);
    if (!c->stopping)
        flush(cs);
}

/* On the store thread. */
static void change_done(struct store_change *ch, const struct store_outcome *o)
{
    struct coordinates *cs = container_of(ch, struct coordinates, change);

    cs->outcome = *o;
    cs->letter.run = settled;
    core_post(cs->core, &cs->letter);
}

static void plan_batch(struct coordinates *cs)
{
    const struct snapshot *s = catalog_current(cs->core->process->catalog);

    arena_reset(&cs->arena);
    plan_init(&cs->plan, &cs->arena);
    for (int i = 0; i < COORDINATES_IN_BATCH && !list_empty(&cs->order); i++) {
        struct waiting *w = container_of(cs->order.next, struct waiting, link);
        struct errtext t = {{0}};
        enum err e = plan_coordinate(&cs->plan, s, &w->view, &t);
        if (e != ERR_OK)
            log_debug("server", "a coordinate is left out: error=\"%s\"", t.s);
        forget(cs, w);
    }
}

static void flush(struct coordinates *cs)
{
    struct core *c = cs->core;
    struct errtext t = {{0}};

    if (cs->under_way || c->stopping || list_empty(&cs->order))
        return;
    if (cs->batches == 0) {
        timer_set(&c->timers, &cs->timer, COORDINATES_PERIOD_MS);
        return;
    }
    cs->batches--;
    plan_batch(cs);
    if (cs->plan.op_count) {
        cs->change = (struct store_change){
            .guards = cs->plan.guards,
            .guard_count = cs->plan.guard_count,
            .ops = cs->plan.ops,
            .op_count = cs->plan.op_count,
            .meta = bytes_str("coordinates"),
            .done = change_done,
        };
        enum err e = store_submit(c->process->store, &cs->change, &t);
        cs->under_way = e == ERR_OK;
        if (e != ERR_OK)
            log_debug("server", "coordinates are not stored: error=\"%s\"",
                      t.s);
    }
    if (!list_empty(&cs->order) && !cs->under_way)
        timer_set(&c->timers, &cs->timer, COORDINATES_PERIOD_MS);
}

/* --- Heard --------------------------------------------------------------- */

static struct waiting *waiting_new(const struct coordinate_view *v)
{
    struct buf folded = {0};

    buf_put_fold(&folded, v->node);
    struct waiting *w = xmalloc(sizeof *w + 2 * v->node.n);
    w->key_n = v->node.n;
    memcpy(w->key, folded.p, folded.n);
    memcpy(w->key + w->key_n, v->node.p, v->node.n);
    w->view =
        (struct coordinate_view){bytes_of(w->key + w->key_n, w->key_n), v->at};
    buf_fini(&folded);
    return w;
}

static enum err hear(struct coordinates *cs, const struct coordinate_view *v)
{
    struct waiting *w = waiting_new(v);
    struct bytes key = bytes_of(w->key, w->key_n);
    struct waiting *old = map_get(&cs->by_node, key);

    if (old)
        forget(cs, old);
    enum err e = cs->by_node.n >= COORDINATES_WAITING_MAX
                     ? ERR_LIMIT
                     : map_put(&cs->by_node, key, w);
    if (e != ERR_OK) {
        free(w);
        return e;
    }
    list_add(&cs->order, &w->link);
    return ERR_OK;
}

void coordinates_hear(struct core *c, struct agent_op *op)
{
    struct coordinates *cs = c->coordinates;

    op->http_status = 200;
    enum err e = hear(cs, &op->coordinate);
    if (e != ERR_OK) {
        op->http_status = 500;
        errtext_set(&op->text,
                    "coordinates of %d nodes wait to be stored, which is the "
                    "limit; try again in a few seconds",
                    COORDINATES_WAITING_MAX);
    } else if (!cs->timer.item.in && !cs->under_way) {
        timer_set(&c->timers, &cs->timer, COORDINATES_PERIOD_MS);
    }
    op->done(op);
}
