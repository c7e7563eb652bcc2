/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/gate.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/metric.h"
#include "server/core.h"
#include "server/serving.h"

/* --- How old ------------------------------------------------------------- */

uint64_t contact_ms(const struct process *p, bool *ret_known)
{
    bool ready = atomic_load_explicit(&p->ready, memory_order_relaxed);

    *ret_known = ready;
    if (p->barrier_free && !p->link)
        return 0;
    uint64_t now = process_now_ms();
    uint64_t at = atomic_load_explicit(&p->contact, memory_order_relaxed);
    uint64_t age = at && at < now ? now - at : 0;

    uint64_t lost = p->link ? CONTACT_LINK_LOST_MS : CONTACT_LOST_MS;
    *ret_known = ready && at && age <= lost;
    return at ? age : now - p->started_ms;
}

void contact_made(struct process *p, uint64_t started_ms)
{
    uint64_t was = atomic_load(&p->contact);

    while (was < started_ms &&
           !atomic_compare_exchange_weak(&p->contact, &was, started_ms))
        continue;
}

/* --- The gate ------------------------------------------------------------ */

/* Outlives its thread's interest: it comes back by way of the store thread and
 * the core thread. */
struct gate_barrier {
    struct store_barrier barrier;
    struct letter letter;
    struct serving *serving;
    uint64_t started_ms;
    enum err e;
};

static void begin_barrier(struct serving *s);

static void on_retry(struct timer *t)
{
    begin_barrier(container_of(t, struct serving, gate.retry));
}

static void close_items(struct serving *s, struct list *items, bool ok,
                        uint64_t before_ms)
{
    struct list over;

    list_init(&over);
    list_each (link, items) {
        struct gate_item *it = container_of(link, struct gate_item, link);

        if (it->until_ms > before_ms)
            continue;
        list_del(link);
        list_add(&over, link);
    }
    while (!list_empty(&over)) {
        struct gate_item *it = container_of(over.next, struct gate_item, link);

        list_del(&it->link);
        it->pass(s, it, ok);
    }
}

static void watch_deadlines(struct serving *s)
{
    struct gate *g = &s->gate;

    if (g->watching || s->closing)
        return;
    g->watching = true;
    timer_set(&s->timers, &g->look, GATE_LOOK_MS);
}

static void on_look(struct timer *t)
{
    struct serving *s = container_of(t, struct serving, gate.look);
    struct gate *g = &s->gate;
    uint64_t now = uv_now(&s->loop);

    g->watching = false;
    serving_pin(s);
    close_items(s, &g->waiting, false, now);
    close_items(s, &g->flying, false, now);
    close_items(s, &g->sent, false, now);
    serving_unpin(s);
    if (!list_empty(&g->waiting) || !list_empty(&g->flying) ||
        !list_empty(&g->sent))
        watch_deadlines(s);
}

void gate_init(struct serving *s)
{
    struct gate *g = &s->gate;

    list_init(&g->waiting);
    list_init(&g->flying);
    list_init(&g->sent);
    g->retry.fire = on_retry;
    g->look.fire = on_look;
}

bool gate_is_open(const struct serving *s)
{
    return s->process->barrier_free;
}

/* On the store thread. */
static void on_barrier(struct store_barrier *b, enum err e, uint64_t revision)
{
    struct gate_barrier *gb = container_of(b, struct gate_barrier, barrier);
    struct list one;

    gb->e = e;
    gb->letter.revision = e == ERR_OK ? revision : 0;
    list_init(&one);
    list_add(&one, &gb->letter.link);
    queue_push_all(gb->serving->process->written, &one);
}

static void barrier_over(struct serving *s)
{
    s->gate.in_flight = false;
    s->outstanding--;
    if (!list_empty(&s->gate.waiting) && !s->closing)
        begin_barrier(s);
}

static void begin_barrier(struct serving *s)
{
    struct gate *g = &s->gate;

    if (g->in_flight || list_empty(&g->waiting) || s->closing)
        return;
    struct gate_barrier *gb = xzalloc(sizeof *gb);

    gb->serving = s;
    gb->started_ms = process_now_ms();
    gb->barrier.done = on_barrier;
    list_init(&gb->letter.link);
    gb->letter.kind = LETTER_BARRIER;
    gb->letter.to = s;
    if (store_barrier_begin(s->process->store, &gb->barrier) != ERR_OK) {
        free(gb); /* it closes */
        timer_set(&s->timers, &g->retry, GATE_RETRY_MS);
        return;
    }
    g->in_flight = true;
    s->outstanding++;
    list_move_all(&g->flying, &g->waiting);
}

void gate_begin(struct serving *s, struct gate_item *it, uint32_t most_ms)
{
    bool less = most_ms && most_ms < GATE_HOLD_MS;

    list_init(&it->link);
    it->until_ms = uv_now(&s->loop) + (less ? most_ms : GATE_HOLD_MS);
}

void gate_wait(struct serving *s, struct gate_item *it)
{
    list_add(&s->gate.waiting, &it->link);
    watch_deadlines(s);
    if (!s->gate.retry.item.in)
        begin_barrier(s);
}

void gate_sent(struct serving *s, struct gate_item *it)
{
    list_add(&s->gate.sent, &it->link);
    watch_deadlines(s);
}

void gate_leave(struct gate_item *it)
{
    list_del(&it->link);
}

void gate_answered(struct serving *s, struct letter *take)
{
    struct gate_barrier *gb = container_of(take, struct gate_barrier, letter);
    struct gate *g = &s->gate;
    bool ok = gb->e == ERR_OK;

    if (ok)
        contact_made(s->process, gb->started_ms);
    free(gb);
    if (ok) {
        close_items(s, &g->flying, true, UINT64_MAX);
        barrier_over(s);
        return;
    }
    /* In front of those who came later. */
    list_move_all(&g->flying, &g->waiting);
    list_move_all(&g->waiting, &g->flying);
    g->in_flight = false;
    s->outstanding--;
    if (!s->closing)
        timer_set(&s->timers, &g->retry, GATE_RETRY_MS);
}

void gate_close(struct serving *s)
{
    struct gate *g = &s->gate;

    timer_clear(&s->timers, &g->retry);
    timer_clear(&s->timers, &g->look);
    close_items(s, &g->waiting, false, UINT64_MAX);
    close_items(s, &g->flying, false, UINT64_MAX);
    while (!list_empty(&g->sent)) /* the store answers them, or closes */
        list_del(g->sent.next);
}

/* --- While nobody reads -------------------------------------------------- */

struct contact {
    struct core *core;
    struct timer timer;
    struct store_barrier barrier;
    struct core_letter letter;
    enum err e;
    uint64_t revision, started_ms; /* of the one that flies */
    bool flying;
    /* Of the last one that was told, until the catalog has reached it. */
    bool waits;
    uint64_t reach, reach_started_ms;
};

static void on_beat(struct timer *t);

void contact_published(struct core *c)
{
    struct contact *x = c->contact;

    if (!x || !x->waits ||
        snapshot_revision(catalog_current(c->process->catalog)) < x->reach)
        return;
    x->waits = false;
    contact_made(c->process, x->reach_started_ms);
}

static void contact_told(struct core *c, struct core_letter *l)
{
    struct contact *x = container_of(l, struct contact, letter);
    bool known;

    x->flying = false;
    /* The one before first: where the feed is later than a beat takes, a newer
     * one would never be reached either, and the age would grow without end. */
    if (!x->waits || (x->e == ERR_OK && x->revision < x->reach)) {
        x->waits = x->e == ERR_OK;
        x->reach = x->revision;
        x->reach_started_ms = x->started_ms;
    }
    contact_published(c);
    metric_set(METRIC_STORE_CONTACT, (int64_t)contact_ms(c->process, &known));
    if (!c->stopping)
        timer_set(&c->timers, &x->timer, CONTACT_BEAT_MS);
}

/* On the store thread. */
static void contact_done(struct store_barrier *b, enum err e, uint64_t revision)
{
    struct contact *x = container_of(b, struct contact, barrier);

    x->e = e;
    x->revision = revision;
    core_post(x->core, &x->letter);
}

static void on_beat(struct timer *t)
{
    struct contact *x = container_of(t, struct contact, timer);

    if (x->core->stopping)
        return;
    x->started_ms = process_now_ms();
    x->letter.run = contact_told;
    list_init(&x->letter.link);
    x->flying =
        store_barrier_begin(x->core->process->store, &x->barrier) == ERR_OK;
}

void contact_begin(struct core *c)
{
    struct contact *x = xzalloc(sizeof *x);

    x->core = c;
    x->barrier.done = contact_done;
    x->timer.fire = on_beat;
    c->contact = x;
    timer_set(&c->timers, &x->timer, 1);
}

void contact_end(struct core *c)
{
    if (c->contact)
        timer_clear(&c->timers, &c->contact->timer);
    free(c->contact);
    c->contact = NULL;
}
