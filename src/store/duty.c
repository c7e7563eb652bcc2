/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* duty - campaigns: a key under a lease, held by whoever put it first.
 *
 *     IDLE -> GRANTING -> PUTTING -> WON -> HELD -> IDLE ...
 *       ^________________|  somebody else has it
 *
 * WON waits for the feed, so that a new holder decides on a state in which all
 * that its predecessor wrote is visible. The fence is the key's create
 * revision: it fails once the key has gone, whoever has it then. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/log.h"
#include "store/impl.h"

enum duty_state { DUTY_IDLE, DUTY_GRANTING, DUTY_PUTTING, DUTY_WON, DUTY_HELD };

struct campaign {
    struct list link;
    struct store *store;
    struct store_duty *duty; /* not touched once resigned: it may be gone */
    uint32_t ttl_ms;
    enum duty_state state;
    bool resigned; /* freed as soon as nothing is in flight */
    bool keeping;  /* a renewal is in flight */
    uint64_t lease;
    uint64_t kept_ms, asked_ms;
    uint64_t won_rev;
    struct timer timer;
    struct buf key; /* FENCE_BYTE, then the backend's */
    struct store_guard fence;
};

static struct bytes backend_key(const struct campaign *c)
{
    return bytes_skip(buf_bytes(&c->key), 1);
}

static uint64_t now_ms(const struct campaign *c)
{
    return uv_now(&c->store->loop);
}

static void set_timer(struct campaign *c, uint64_t delay_ms)
{
    if (!c->store->ended)
        timer_set(&c->store->timers, &c->timer, delay_ms);
}

static void give_back_lease(struct campaign *c)
{
    uint64_t lease = c->lease;

    c->lease = 0;
    if (lease)
        c->store->backend->ops->lease_revoke(c->store->backend, lease);
}

static void campaign_free(struct campaign *c)
{
    timer_clear(&c->store->timers, &c->timer);
    list_del(&c->link);
    buf_fini(&c->key);
    free(c);
}

/* Not held any more, or not yet. */
static void stand_down(struct campaign *c, uint64_t again_ms)
{
    bool held = c->state == DUTY_HELD;

    c->state = DUTY_IDLE;
    if (held && !c->resigned)
        c->duty->lost(c->duty);
    give_back_lease(c);
    if (c->resigned && !c->keeping)
        campaign_free(c);
    else
        set_timer(c, again_ms);
}

static uint64_t ttl_part(const struct campaign *c)
{
    return c->ttl_ms / 3 + 1;
}

/* --- Held ---------------------------------------------------------------- */

/* The lease runs from when the renewal was asked for, at the earliest. Who waits
 * for an answer to one must not think that he holds it meanwhile. */
static uint64_t left_ms(const struct campaign *c)
{
    uint64_t since = now_ms(c) - c->kept_ms;

    return since < c->ttl_ms ? c->ttl_ms - since : 0;
}

static void on_kept(void *ctx, enum err e, uint64_t revision)
{
    struct campaign *c = ctx;

    (void)revision;
    c->keeping = false;
    if (c->resigned) {
        campaign_free(c);
        return;
    }
    if (c->state != DUTY_HELD) {
        /* It went while the renewal was under way, whose end the next attempt
         * waits for: the timer may have rung in vain. */
        if (c->state == DUTY_IDLE)
            set_timer(c, 1);
        return;
    }
    if (e == ERR_OK)
        c->kept_ms = c->asked_ms;
    if (e == ERR_NOT_FOUND || left_ms(c) == 0)
        stand_down(c, DUTY_RETRY_MS);
    else if (e == ERR_OK)
        set_timer(c, ttl_part(c));
    else
        set_timer(c, left_ms(c) < DUTY_RETRY_MS ? left_ms(c) : DUTY_RETRY_MS);
}

static void keep(struct campaign *c)
{
    c->keeping = true;
    c->asked_ms = now_ms(c);
    set_timer(c, left_ms(c));
    c->store->backend->ops->lease_keep(c->store->backend, c->lease, on_kept, c);
}

static void take_office(struct campaign *c)
{
    /* The feed came too late, as during a long load. */
    if (left_ms(c) == 0) {
        stand_down(c, DUTY_RETRY_MS);
        return;
    }
    c->state = DUTY_HELD;
    c->fence =
        (struct store_guard){GUARD_CREATE, buf_bytes(&c->key), c->won_rev};
    set_timer(c, ttl_part(c));
    c->duty->gained(c->duty, &c->fence);
}

void duties_delivered(struct store *s)
{
    list_each (it, &s->duties) {
        struct campaign *c = container_of(it, struct campaign, link);

        if (c->state == DUTY_WON && s->delivered >= c->won_rev)
            take_office(c);
    }
}

/* --- Campaigning --------------------------------------------------------- */

static void on_put(void *ctx, enum err e, uint64_t revision)
{
    struct campaign *c = ctx;

    if (c->resigned || e != ERR_OK) {
        /* Somebody else's: his key's end is seen in the feed. The timer is for
         * an end that came before we looked. */
        stand_down(c, e == ERR_EXISTS ? c->ttl_ms : DUTY_RETRY_MS);
        return;
    }
    c->won_rev = revision;
    c->state = DUTY_WON;
    if (c->store->delivered >= revision)
        take_office(c);
    else
        set_timer(c, left_ms(c)); /* nobody renews it before it is held */
}

static void on_granted(void *ctx, enum err e, uint64_t lease)
{
    struct campaign *c = ctx;
    struct store *s = c->store;

    if (e == ERR_OK)
        c->lease = lease;
    if (c->resigned || e != ERR_OK) {
        stand_down(c, DUTY_RETRY_MS);
        return;
    }
    c->state = DUTY_PUTTING;
    s->backend->ops->lease_put(s->backend, lease, backend_key(c),
                               bytes_str(s->server_id), on_put, c);
}

static void try_now(struct campaign *c)
{
    struct store *s = c->store;

    c->state = DUTY_GRANTING;
    c->kept_ms = now_ms(c);
    s->backend->ops->lease_grant(s->backend, c->ttl_ms, on_granted, c);
}

static void on_timer(struct timer *t)
{
    struct campaign *c = container_of(t, struct campaign, timer);

    bool won = c->state == DUTY_HELD || c->state == DUTY_WON;

    if (won && left_ms(c) == 0)
        stand_down(c, DUTY_RETRY_MS);
    else if (c->state == DUTY_HELD && !c->keeping)
        keep(c);
    else if (won)
        set_timer(c, left_ms(c));
    else if (c->state == DUTY_IDLE && !c->keeping && !c->resigned)
        try_now(c);
}

void duty_campaign(struct store *s, struct store_duty *d)
{
    struct campaign *c = xzalloc(sizeof *c);

    c->store = s;
    c->duty = d;
    c->ttl_ms = d->ttl_ms;
    c->timer.fire = on_timer;
    buf_putc(&c->key, FENCE_BYTE);
    buf_puts(&c->key, "d/");
    buf_puts(&c->key, d->name);
    require(!c->key.bad);
    list_add(&s->duties, &c->link);
    try_now(c);
}

static void resign(struct campaign *c)
{
    struct store_duty *d = c->duty;
    bool in_flight = c->state == DUTY_GRANTING || c->state == DUTY_PUTTING;

    c->resigned = true;
    if (!in_flight)
        stand_down(c, 0);
    d->lost(d);
}

void duty_resign(struct store *s, struct store_duty *d)
{
    list_each (it, &s->duties) {
        struct campaign *c = container_of(it, struct campaign, link);

        if (c->duty == d && !c->resigned) {
            resign(c);
            return;
        }
    }
}

/* Ours gone: an operator, or the lease ran out unnoticed. Another's: our turn.
 */
void duty_key_deleted(struct store *s, struct bytes key)
{
    list_each (it, &s->duties) {
        struct campaign *c = container_of(it, struct campaign, link);

        if (!bytes_eq(key, backend_key(c)))
            continue;
        if (c->state == DUTY_HELD || c->state == DUTY_WON)
            stand_down(c, 1);
        else if (c->state == DUTY_IDLE && !c->resigned)
            set_timer(c, 1);
    }
}

void duties_close(struct store *s)
{
    list_each (it, &s->duties) {
        struct campaign *c = container_of(it, struct campaign, link);
        struct store_duty *d = c->resigned ? NULL : c->duty;

        give_back_lease(c);
        campaign_free(c);
        if (d)
            d->lost(d);
    }
}
