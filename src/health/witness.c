/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "health/witness.h"

#include "base/check.h"

void witness_init(struct witness *w)
{
    *w = (struct witness){0};
    list_init(&w->believed);
}

static void unturn(struct witness *w, struct witness_check *c)
{
    if (!c->turned.in)
        return;
    heap_del(&w->turned, &c->turned);
    list_del(&c->believed);
    w->turned_n--;
}

static void set_timed_out(struct witness *w, struct witness_check *c, bool is)
{
    if (is && !c->timed_out)
        w->timed_out++;
    else if (!is && c->timed_out)
        w->timed_out--;
    c->timed_out = is;
    require(w->turned_n <= w->timed_out && w->timed_out <= w->checks);
}

/* Who remains in time-out without a majority is a witness again. */
static void settle(struct witness *w)
{
    if (w->timed_out * 2 <= w->checks)
        w->starved = false;
}

void witness_add(struct witness *w, struct witness_check *c,
                 uint64_t interval_ms)
{
    c->interval_ms = interval_ms;
    if (c->known)
        return;
    require(!c->turned.in && !c->timed_out);
    list_init(&c->believed);
    c->known = true;
    w->checks++;
    settle(w);
}

void witness_remove(struct witness *w, struct witness_check *c)
{
    if (!c->known)
        return;
    unturn(w, c);
    set_timed_out(w, c, false);
    c->known = false;
    w->checks--;
    settle(w);
}

static void forget_old(struct witness *w, uint64_t now_ms)
{
    for (struct heap_item *i;
         (i = heap_min(&w->turned)) && i->due_ms <= now_ms;)
        unturn(w, container_of(i, struct witness_check, turned));
}

static bool majority(const struct witness *w)
{
    return w->checks >= WITNESS_CHECKS_MIN && w->turned_n * 2 > w->checks;
}

struct witness_says witness_result(struct witness *w, struct witness_check *c,
                                   enum run_kind kind, uint64_t lag_ms,
                                   uint64_t now_ms)
{
    struct witness_says says = {0};

    require(c->known);
    if (kind != RUN_TIMED_OUT) {
        unturn(w, c);
        set_timed_out(w, c, false);
        settle(w);
        return says;
    }
    forget_old(w, now_ms);
    bool turns = !c->timed_out;
    if (turns) {
        set_timed_out(w, c, true);
        heap_add(&w->turned, &c->turned, now_ms + c->interval_ms);
        w->turned_n++;
    }
    bool lagged = lag_ms > WITNESS_LAG_MS;
    bool found = !w->starved && majority(w);
    sometimes(lagged);
    sometimes(found);
    w->starved |= found;
    says.starved = w->starved || lagged;
    says.recall = (found || lagged) && !list_empty(&w->believed);
    if (turns && !says.starved)
        list_add(&w->believed, &c->believed);
    return says;
}

void witness_recall(struct witness *w,
                    void (*recalled)(void *ctx, struct witness_check *c),
                    void *ctx)
{
    while (!list_empty(&w->believed)) {
        struct witness_check *c =
            container_of(w->believed.next, struct witness_check, believed);
        list_del(&c->believed);
        recalled(ctx, c);
    }
}
