/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* etcd refuses every write once one member's file has reached its quota, and
 * goes on refusing until somebody has made room and said so. So:
 *
 *     look    alarms, every half minute, and when a write was refused for space
 *     room    compact to the newest revision (history goes, live data stays),
 *             then defragment one member after the other
 *     say so  disarm
 *
 * What several servers do of it at once does no harm; their first looks are
 * spread. A member that cannot be reached is left out: its alarm stays, and is
 * looked at again. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "store/etcd_impl.h"

enum {
    LOOK_MS = 30 * 1000,
    LOOK_SOON_MS = 200, /* after a refusal; spread over as much again */
    DEFRAGMENT_MS = 60 * 1000,
};

static void look_later(struct etcd *x, uint64_t ms)
{
    x->upkeep_busy = false;
    timer_set(&x->timers, &x->upkeep, ms);
}

static void call(struct etcd *x, const char *path, const char *body,
                 size_t member,
                 void (*done)(struct etcd_call *, const struct etcd_answer *))
{
    struct etcd_call *c = etcd_call_new(x, sizeof *c, path, done);

    buf_puts(&c->body, body);
    c->only = member;
    if (member)
        c->timeout_ms = DEFRAGMENT_MS;
    etcd_call_start(c);
}

static void on_disarmed(struct etcd_call *c, const struct etcd_answer *a)
{
    struct etcd *x = c->etcd;

    x->upkeep_made_ms = uv_now(x->loop);
    if (a->why == ERR_OK)
        log_warn("store",
                 "etcd takes writes again: history below revision "
                 "%llu was dropped to make room. Raise "
                 "--quota-backend-bytes if this comes again",
                 (unsigned long long)x->oldest);
    else
        log_error("store", "etcd's alarm stays: %s", a->text.s);
    etcd_call_free(c);
    look_later(x, a->why == ERR_OK ? LOOK_SOON_MS : LOOK_SOON_MS * 10);
}

static void defragment(struct etcd *x, size_t member);

static void on_defragmented(struct etcd_call *c, const struct etcd_answer *a)
{
    struct etcd *x = c->etcd;
    size_t member = c->only;

    if (a->why != ERR_OK)
        log_warn("store", "a member was not defragmented: %s", a->text.s);
    etcd_call_free(c);
    defragment(x, member);
}

/* One alarm; the next look finds the next. */
static void disarm(struct etcd *x)
{
    struct buf body = {0};

    buf_printf(&body,
               "{\"action\":\"DEACTIVATE\",\"memberID\":\"%llu\","
               "\"alarm\":\"NOSPACE\"}",
               (unsigned long long)x->upkeep_alarm);
    buf_putc(&body, '\0');
    call(x, "maintenance/alarm", body.bad ? "" : body.p, 0, on_disarmed);
    buf_fini(&body);
}

/* member: so many are done. */
static void defragment(struct etcd *x, size_t member)
{
    if (member < x->member_n)
        call(x, "maintenance/defragment", "{}", member + 1, on_defragmented);
    else
        disarm(x);
}

static void on_room(struct etcd_call *c, const struct etcd_answer *a)
{
    struct etcd *x = c->etcd;
    bool dropped = a->why == ERR_OK || a->why == ERR_COMPACTED;

    if (!dropped)
        log_error("store", "etcd is full, and its history stays: %s",
                  a->text.s);
    etcd_call_free(c);
    if (dropped)
        defragment(x, 0);
    else
        look_later(x, LOOK_SOON_MS * 10);
}

/* Physical: what is only marked as dropped leaves no room yet. */
static void drop_history(struct etcd *x)
{
    struct buf body = {0};
    uint64_t to = x->newest > 1 ? x->newest - 1 : 1;

    if (x->oldest <= to)
        x->oldest = to + 1;
    buf_printf(&body, "{\"revision\":\"%llu\",\"physical\":true}",
               (unsigned long long)to);
    buf_putc(&body, '\0');
    call(x, "kv/compaction", body.bad ? "" : body.p, 0, on_room);
    buf_fini(&body);
}

/* The member of the first alarm for want of space; 0: there is none. */
static uint64_t alarmed(struct bytes body)
{
    struct text t = text_over(body);
    struct bytes name;
    uint64_t found = 0;

    for (text_object(&t); text_member(&t, &name);) {
        if (!bytes_is(name, "alarms")) {
            text_skip(&t);
            continue;
        }
        for (text_array(&t); text_item(&t);) {
            uint64_t member = 0;
            bool full = false;

            for (text_object(&t); text_member(&t, &name);) {
                if (bytes_is(name, "memberID"))
                    member = text_u64(&t);
                else if (bytes_is(name, "alarm"))
                    full = bytes_is(text_string(&t), "NOSPACE");
                else
                    text_skip(&t);
            }
            found = found || !full ? found : member;
        }
    }
    return t.bad ? 0 : found;
}

static void on_alarms(struct etcd_call *c, const struct etcd_answer *a)
{
    struct etcd *x = c->etcd;
    uint64_t now = uv_now(x->loop);

    x->upkeep_alarm = a->why == ERR_OK ? alarmed(a->body) : 0;
    etcd_call_free(c);
    if (!x->upkeep_alarm) {
        look_later(x, LOOK_MS);
    } else if (x->upkeep_made_ms && now - x->upkeep_made_ms < LOOK_MS / 2) {
        disarm(x); /* another member's of the same time */
    } else {
        log_error("store",
                  "etcd's database has reached its quota: making room");
        drop_history(x);
    }
}

static void look(struct timer *t)
{
    struct etcd *x = container_of(t, struct etcd, upkeep);

    x->upkeep_soon = false;
    if (x->closing)
        return;
    x->upkeep_busy = true;
    call(x, "maintenance/alarm", "{\"action\":\"GET\"}", 0, on_alarms);
}

void etcd_upkeep_begin(struct etcd *x)
{
    x->upkeep.fire = look;
    look_later(x, LOOK_MS / 2 +
                      bytes_hash(bytes_of(&x, sizeof x), 0) % (LOOK_MS / 2));
}

void etcd_upkeep_soon(struct etcd *x)
{
    uint64_t now = uv_now(x->loop);

    /* If room was made a moment ago it is live data that fills it. */
    if (x->upkeep_busy || x->upkeep_soon ||
        (x->upkeep_made_ms && now - x->upkeep_made_ms < LOOK_MS))
        return;
    x->upkeep_soon = true;
    timer_set(&x->timers, &x->upkeep,
              LOOK_SOON_MS +
                  bytes_hash(bytes_of(&x, sizeof x), 0) % LOOK_SOON_MS);
}
