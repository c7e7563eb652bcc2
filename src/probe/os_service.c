/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* The state of a systemd unit, asked for over D-Bus: one connection to the system
 * bus for all checks, opened at first use and again after it was lost.
 *
 * ListUnitsByNames answers for units that are not loaded too, and for a name that
 * no file has says "not-found". */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <systemd/sd-bus.h>

#include "loop/watch.h"
#include "probe/impl.h"

struct unit_bus {
    struct prober *prober;
    sd_bus *bus;
    struct watch *watch;
    struct timer timer; /* sd-bus's own deadline, or work to be done at once */
    struct list runs;
};

struct os_service {
    struct check *check;
    struct unit_bus *bus;
    struct list link;
    struct timer timer;
    sd_bus_slot *slot;
    struct bytes name; /* with ".service" if it had no suffix */
    struct arena arena;
};

/* --- The end -------------------------------------------------------------- */

static void forget(struct os_service *s)
{
    timer_clear(&s->check->prober->timers, &s->timer);
    list_del(&s->link);
    sd_bus_slot_unref(s->slot);
    arena_fini(&s->arena);
    free(s);
}

static void end(struct os_service *s, enum status status, enum run_kind kind,
                struct buf *text)
{
    struct check *c = s->check;

    forget(s);
    check_done(c, status, kind, text);
}

static void fail_as(struct os_service *s, enum run_kind kind, const char *why)
{
    struct buf text = {0};

    buf_printf(&text, "systemd cannot be asked about %.*s: %s",
               BYTES_ARG(s->check->def.os_service), why);
    end(s, STATUS_CRITICAL, kind, &text);
}

static void fail(struct os_service *s, const char *why)
{
    fail_as(s, RUN_ANSWERED, why);
}

static void cancel(void *run)
{
    struct os_service *s = run;
    struct check *c = s->check;

    forget(s);
    lane_left(c->prober, c->lane);
}

static void on_time(struct timer *t)
{
    fail_as(container_of(t, struct os_service, timer), RUN_TIMED_OUT,
            "i/o timeout");
}

/* --- The bus -------------------------------------------------------------- */

static void bus_lost(struct unit_bus *b, int error)
{
    struct list runs;

    watch_close(b->watch);
    b->watch = NULL;
    timer_clear(&b->prober->timers, &b->timer);
    sd_bus_close(b->bus);
    b->bus = sd_bus_unref(b->bus);
    list_init(&runs); /* new ones may begin meanwhile, on a new connection */
    list_move_all(&runs, &b->runs);
    while (!list_empty(&runs))
        fail_as(container_of(runs.next, struct os_service, link), RUN_TIMED_OUT,
                uv_strerror(uv_translate_sys_error(error)));
}

/* What sd-bus waits for: it wants to be asked each time. */
static void bus_wait(struct unit_bus *b)
{
    int events = sd_bus_get_events(b->bus);
    uint64_t until_us;

    if (events < 0) {
        bus_lost(b, -events);
        return;
    }
    watch_for(b->watch, (events & POLLIN ? UV_READABLE : 0) |
                            (events & POLLOUT ? UV_WRITABLE : 0));
    timer_clear(&b->prober->timers, &b->timer);
    if (sd_bus_get_timeout(b->bus, &until_us) > 0 && until_us != UINT64_MAX) {
        uint64_t now_us = uv_hrtime() / 1000;
        timer_set(&b->prober->timers, &b->timer,
                  until_us > now_us ? (until_us - now_us) / 1000 + 1 : 0);
    }
}

static void bus_work(struct unit_bus *b)
{
    int n = 1;

    while (b->bus && n > 0)
        n = sd_bus_process(b->bus, NULL);
    if (b->bus && n < 0)
        bus_lost(b, -n);
    if (b->bus)
        bus_wait(b);
}

static void on_bus_ready(void *owner, int events)
{
    (void)events;
    bus_work(owner);
}

static void on_bus_timer(struct timer *t)
{
    bus_work(container_of(t, struct unit_bus, timer));
}

/* 0, or a negative errno. */
static int bus_open(struct prober *p, struct unit_bus **ret)
{
    struct unit_bus *b = p->unit_bus;

    if (!b) {
        b = p->unit_bus = xzalloc(sizeof *b);
        b->prober = p;
        b->timer.fire = on_bus_timer;
        list_init(&b->runs);
    }
    *ret = b;
    if (b->bus)
        return 0;
    int e = sd_bus_open_system(&b->bus);
    if (e < 0) {
        b->bus = NULL;
        return e;
    }
    b->watch = watch_open(&p->loop, sd_bus_get_fd(b->bus), on_bus_ready, b);
    if (b->watch)
        return 0;
    b->bus = sd_bus_unref(b->bus);
    return -ENOMEM;
}

void unit_bus_close(struct prober *p)
{
    struct unit_bus *b = p->unit_bus;

    if (b && b->bus)
        bus_lost(b, ECONNABORTED);
    free(b);
    p->unit_bus = NULL;
}

/* --- Asking --------------------------------------------------------------- */

static enum status status_of_unit(const char *load, const char *active)
{
    if (strcmp(load, "not-found") == 0)
        return STATUS_CRITICAL;
    if (strcmp(active, "active") == 0 || strcmp(active, "reloading") == 0)
        return STATUS_PASSING;
    return strcmp(active, "activating") == 0 ? STATUS_WARNING : STATUS_CRITICAL;
}

static void judge(struct os_service *s, sd_bus_message *m)
{
    const char *name, *load, *active, *sub;
    struct buf text = {0};

    if (sd_bus_message_enter_container(m, 'a', "(ssssssouso)") < 0 ||
        sd_bus_message_enter_container(m, 'r', "ssssssouso") <= 0 ||
        sd_bus_message_read(m, "sssss", &name, NULL, &load, &active, &sub) <
            0) {
        fail(s, "the answer is none of systemd's");
        return;
    }
    enum status status = status_of_unit(load, active);
    buf_printf(&text, "Service \"%.*s\" is %s: %s (%s)%s",
               BYTES_ARG(s->check->def.os_service),
               status == STATUS_PASSING ? "healthy" : "unhealthy", active, sub,
               strcmp(load, "not-found") == 0 ? ", no such unit" : "");
    end(s, status, RUN_ANSWERED, &text);
}

static int on_units(sd_bus_message *m, void *ctx, sd_bus_error *error)
{
    struct os_service *s = ctx;
    const sd_bus_error *e = sd_bus_message_get_error(m);

    (void)error;
    if (e)
        fail(s, e->message ? e->message : e->name);
    else
        judge(s, m);
    return 0;
}

/* 0, or a negative errno. */
static int ask(struct os_service *s)
{
    sd_bus_message *m = NULL;
    struct unit_bus *b = s->bus;
    int e = sd_bus_message_new_method_call(
        b->bus, &m, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
        "org.freedesktop.systemd1.Manager", "ListUnitsByNames");

    if (e >= 0)
        e = sd_bus_message_append(m, "as", 1, s->name.p);
    if (e >= 0)
        e = sd_bus_call_async(b->bus, &s->slot, m, on_units, s,
                              s->check->timeout_ms * 1000);
    sd_bus_message_unref(m);
    return e;
}

void os_service_run(struct check *c)
{
    struct os_service *s = xzalloc(sizeof *s);
    struct bytes name = c->def.os_service;

    s->check = c;
    s->timer.fire = on_time;
    list_init(&s->link);
    arena_init(&s->arena, 0);
    s->name = bytes_str(
        arena_printf(&s->arena, "%.*s%s", BYTES_ARG(name),
                     bytes_find(name, '.') == name.n ? ".service" : ""));
    c->run = s;
    c->cancel = cancel;
    int e = bus_open(c->prober, &s->bus);
    if (e < 0) {
        fail(s, e == -ENOENT ? "there is no system bus here (no systemd?)"
                             : uv_strerror(uv_translate_sys_error(-e)));
        return;
    }
    list_add(&s->bus->runs, &s->link);
    timer_set(&c->prober->timers, &s->timer, c->timeout_ms);
    e = ask(s);
    if (e < 0)
        fail(s, uv_strerror(uv_translate_sys_error(-e)));
    else /* not from within this turn: what waits may end */
        timer_set(&c->prober->timers, &s->bus->timer, 0);
}
