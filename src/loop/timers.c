/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "loop/timers.h"

#include "base/check.h"
#include "base/list.h"

enum { UNARMED_MS = 0 }; /* of armed_ms: no deadline is ever at 0, see due() */

static void on_uv_timer(uv_timer_t *uv);

/* The libuv timer is set again only for an earlier deadline: those that are
 * moved to later, or cleared, let it ring in vain once. */
static void arm(struct timers *ts)
{
    const struct heap_item *min = heap_min(&ts->heap);
    if (!min)
        return;
    if (ts->armed_ms != UNARMED_MS && ts->armed_ms <= min->due_ms)
        return;
    uint64_t now_ms = uv_now(ts->uv.loop);
    /* Not 0: libuv would call again within this turn, and a budget that is spent
     * now is so until the next one. */
    uint64_t delay_ms = min->due_ms > now_ms ? min->due_ms - now_ms : 1;
    ts->armed_ms = min->due_ms;
    int e = uv_timer_start(&ts->uv, on_uv_timer, delay_ms, 0);
    require(e == 0); /* fails only when it is closing */
}

static void on_uv_timer(uv_timer_t *uv)
{
    struct timers *ts = container_of(uv, struct timers, uv);
    uint64_t now_ms = uv_now(uv->loop);
    struct heap_item *min;

    ts->armed_ms = UNARMED_MS;
    /* Ends, although fire may set timers: theirs are at least a millisecond
     * from now. */
    while ((min = heap_min(&ts->heap)) && min->due_ms <= now_ms &&
           budget_take(ts->budget)) {
        struct timer *t = container_of(min, struct timer, item);
        heap_del(&ts->heap, min);
        t->fire(t);
    }
    if (!uv_is_closing((uv_handle_t *)uv))
        arm(ts);
}

enum err timers_init(struct timers *ts, uv_loop_t *loop)
{
    *ts = (struct timers){.armed_ms = UNARMED_MS};
    return uv_timer_init(loop, &ts->uv) == 0 ? ERR_OK : ERR_NOMEM;
}

void timers_close(struct timers *ts)
{
    while (heap_min(&ts->heap))
        heap_del(&ts->heap, heap_min(&ts->heap));
    if (!uv_is_closing((uv_handle_t *)&ts->uv))
        uv_close((uv_handle_t *)&ts->uv, NULL);
}

static uint64_t due(const struct timers *ts, uint64_t delay_ms)
{
    uint64_t now_ms = uv_now(ts->uv.loop);
    if (delay_ms == 0)
        delay_ms = 1;
    return delay_ms < UINT64_MAX - now_ms ? now_ms + delay_ms : UINT64_MAX;
}

void timer_set(struct timers *ts, struct timer *t, uint64_t delay_ms)
{
    require(t->fire != NULL);
    if (uv_is_closing((uv_handle_t *)&ts->uv))
        return;
    heap_set(&ts->heap, &t->item, due(ts, delay_ms));
    arm(ts);
}

void timer_clear(struct timers *ts, struct timer *t)
{
    heap_del(&ts->heap, &t->item);
    /* So that a loop with nothing else to do can end. */
    if (!heap_min(&ts->heap) && ts->armed_ms != UNARMED_MS) {
        (void)uv_timer_stop(&ts->uv);
        ts->armed_ms = UNARMED_MS;
    }
}
