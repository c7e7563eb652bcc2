/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/room.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/metric.h"
#include "duty/room.h"
#include "server/members.h"

enum {
    LEASE_MS = 15 * 1000,
    OTHERS_LOOK_MS = 10 * 1000,
    ORPHAN_MS = 60 * 1000, /* of an alarm: then anybody acts */
    TELL_FULL_MS = 5 * 60 * 1000,
};

struct room_keeper {
    struct core *core;
    struct room machine;
    struct store_duty campaign;
    struct timer timer;
    bool held, stopped;
    bool busy; /* ask, or request, is under way */
    bool soon; /* to look again at once */
    uint64_t alarm_ms, told_full_ms;

    struct room_look look;
    struct room_plan plan;
    struct store_room ask;
    enum err ask_err;
    struct cluster_request request;
    struct core_letter letter;
};

static uint64_t now_ms(const struct room_keeper *k)
{
    return uv_now(k->core->loop);
}

static void look_in(struct room_keeper *k, uint64_t ms)
{
    k->busy = false;
    if (k->stopped)
        return;
    timer_set(&k->core->timers, &k->timer, k->soon ? 1 : ms);
    k->soon = false;
}

/* --- Asking the store ----------------------------------------------------- */

/* On the store thread. */
static void on_store(struct store_room *r, enum err e)
{
    struct room_keeper *k = container_of(r, struct room_keeper, ask);

    k->ask_err = e;
    core_post(k->core, &k->letter);
}

static void ask(struct room_keeper *k, enum store_room_what what,
                uint64_t member,
                void (*done)(struct core *c, struct core_letter *l))
{
    k->ask =
        (struct store_room){.what = what, .member = member, .done = on_store};
    list_init(&k->ask.link);
    k->letter.run = done;
    k->busy = true;
    if (store_room_begin(k->core->process->store, &k->ask) != ERR_OK)
        k->busy = false; /* the store closes */
}

/* --- What a plan comes to -------------------------------------------------- */

static unsigned long long megabytes(uint64_t bytes)
{
    return (unsigned long long)(bytes >> 20);
}

static void defragmented(struct room_keeper *k, bool ok, const char *why)
{
    const struct room_member *m = &k->look.members[k->plan.member];

    if (ok) {
        metric_add(METRIC_STORE_DEFRAGMENTED, 1);
        log_info("store",
                 "a member of etcd is defragmented: member=%llx was=%lluMB "
                 "used=%lluMB",
                 (unsigned long long)m->id, megabytes(m->size),
                 megabytes(m->in_use));
    } else {
        log_warn("store", "a member of etcd was not defragmented: %llx: %s",
                 (unsigned long long)m->id, why);
    }
    look_in(k, ROOM_LOOK_MIN_MS);
}

static void on_defragmented(struct core *c, struct core_letter *l)
{
    struct room_keeper *k = container_of(l, struct room_keeper, letter);

    (void)c;
    defragmented(k, k->ask_err == ERR_OK, k->ask.text.s);
}

static void on_members(struct cluster_request *r)
{
    struct room_keeper *k = container_of(r, struct room_keeper, request);

    buf_fini(&r->answer);
    defragmented(k, r->status == 200, r->text.s);
}

static void defragment(struct room_keeper *k)
{
    struct cluster *members = k->core->process->members;
    const struct room_member *m = &k->look.members[k->plan.member];
    const struct cluster_view *v = members ? cluster_view(members) : NULL;

    log_info("store",
             "defragments a member of etcd, which stands still meanwhile: "
             "member=%llx size=%lluMB used=%lluMB quota=%lluMB",
             (unsigned long long)m->id, megabytes(m->size),
             megabytes(m->in_use), megabytes(k->look.quota));
    for (size_t i = 0; v && i < v->count; i++) {
        if (v->servers[i].member != m->id)
            continue;
        k->request = (struct cluster_request){
            .what = CLUSTER_DEFRAGMENT,
            .id = bytes_str(v->servers[i].id),
            .done = on_members,
        };
        k->busy = true;
        cluster_request(members, &k->request);
        return;
    }
    ask(k, STORE_ROOM_DEFRAGMENT, m->id, on_defragmented);
}

static void on_disarmed(struct core *c, struct core_letter *l)
{
    struct room_keeper *k = container_of(l, struct room_keeper, letter);

    (void)c;
    if (k->ask_err == ERR_OK)
        log_warn("store", "etcd takes writes again: its alarm is taken back");
    else
        log_error("store", "etcd's alarm stays: %s", k->ask.text.s);
    look_in(k, ROOM_LOOK_MIN_MS);
}

static void compact(struct room_keeper *k)
{
    const struct room_plan *p = &k->plan;

    metric_add(METRIC_STORE_EARLY, 1);
    if (k->alarm_ms)
        log_error("store",
                  "etcd has reached its quota (%lluMB) and refuses "
                  "writes: all history is dropped to make room",
                  megabytes(k->look.quota));
    else
        log_warn("store",
                 "history is dropped before its time: %u %% of etcd's quota "
                 "(%lluMB) are in use: kept=%llus",
                 p->percent, megabytes(k->look.quota),
                 (unsigned long long)p->keep_ms / 1000);
    store_compact(k->core->process->store, p->revision);
    look_in(k, p->in_ms);
}

static void tell_full(struct room_keeper *k)
{
    bool full = k->plan.full;

    metric_set(METRIC_STORE_ETCD_FULL, full);
    if (!full ||
        (k->told_full_ms && now_ms(k) - k->told_full_ms < TELL_FULL_MS))
        return;
    k->told_full_ms = now_ms(k);
    log_error("store",
              "live data fills etcd's quota (%lluMB, %u %% in use), dropping "
              "history does not help%s: raise it (store_quota, or "
              "--quota-backend-bytes of an etcd of yours) on one server after "
              "the other, or register less",
              megabytes(k->look.quota), k->plan.percent,
              k->alarm_ms ? ", and writes are refused" : "");
}

static void act(struct room_keeper *k)
{
    room_decide(&k->machine, &k->look, &k->plan);
    tell_full(k);
    switch (k->plan.next) {
    case ROOM_WAIT:
        look_in(k, k->plan.in_ms);
        break;
    case ROOM_COMPACT:
        compact(k);
        break;
    case ROOM_DEFRAGMENT:
        defragment(k);
        break;
    case ROOM_DISARM:
        ask(k, STORE_ROOM_DISARM, k->look.members[k->plan.member].id,
            on_disarmed);
        break;
    }
}

/* --- Looking -------------------------------------------------------------- */

static struct room_member *look_member(struct room_look *l, uint64_t id)
{
    for (size_t i = 0; i < l->count; i++)
        if (l->members[i].id == id)
            return &l->members[i];
    if (l->count == ROOM_MEMBERS_MAX)
        return NULL;
    l->members[l->count] = (struct room_member){.id = id};
    return &l->members[l->count++];
}

/* What the other servers say of their own members. */
static void look_at_others(struct room_keeper *k)
{
    struct cluster *members = k->core->process->members;
    const struct cluster_view *v = members ? cluster_view(members) : NULL;

    for (size_t i = 0; v && i < v->count; i++) {
        const struct cluster_server *s = &v->servers[i];
        struct room_member *m =
            s->member ? look_member(&k->look, s->member) : NULL;

        if (!m || m->known)
            continue;
        m->size = s->store_size;
        m->in_use = s->store_used;
        m->known = s->alive && s->store_size;
        m->leader = s->leader;
    }
}

static void look_of(struct room_keeper *k)
{
    struct room_look *l = &k->look;
    const struct store_room *a = &k->ask;
    uint64_t size = 0, used = 0;

    *l = (struct room_look){
        .now_ms = now_ms(k),
        .quota = a->quota,
        .revision =
            snapshot_revision(catalog_current(k->core->process->catalog)),
        .oldest = store_oldest(k->core->process->store),
    };
    for (size_t i = 0; i < a->count; i++) {
        const struct store_room_member *from = &a->members[i];
        struct room_member *m = look_member(l, from->id);
        if (m)
            *m = (struct room_member){.id = from->id,
                                      .size = from->size,
                                      .in_use = from->in_use,
                                      .leader = from->leader,
                                      .known = true};
    }
    look_at_others(k);
    for (size_t i = 0; i < a->alarm_count; i++) {
        struct room_member *m = look_member(l, a->alarms[i]);
        if (m)
            m->alarmed = true;
    }
    for (size_t i = 0; i < l->count; i++) {
        const struct room_member *m = &l->members[i];
        size = m->known && m->size > size ? m->size : size;
        used = m->known && m->in_use > used ? m->in_use : used;
    }
    metric_set(METRIC_STORE_ETCD_SIZE, (int64_t)size);
    metric_set(METRIC_STORE_ETCD_USED, (int64_t)used);
    metric_set(METRIC_STORE_ETCD_QUOTA, (int64_t)l->quota);
    metric_set(METRIC_STORE_ETCD_ALARMS, (int64_t)a->alarm_count);
}

static void on_looked(struct core *c, struct core_letter *l)
{
    struct room_keeper *k = container_of(l, struct room_keeper, letter);

    (void)c;
    if (k->stopped || k->ask_err != ERR_OK) {
        look_in(k, ROOM_LOOK_MS);
        return;
    }
    look_of(k);
    if (k->ask.alarm_count == 0)
        k->alarm_ms = 0;
    else if (!k->alarm_ms)
        k->alarm_ms = now_ms(k);
    if (k->held || (k->alarm_ms && now_ms(k) - k->alarm_ms >= ORPHAN_MS)) {
        act(k);
        return;
    }
    metric_set(METRIC_STORE_ETCD_FULL, 0);
    look_in(k, OTHERS_LOOK_MS);
}

static void on_timer(struct timer *t)
{
    struct room_keeper *k = container_of(t, struct room_keeper, timer);

    if (!k->busy && !k->stopped)
        ask(k, STORE_ROOM_LOOK, 0, on_looked);
}

static void look_soon(struct core *c, struct core_letter *l)
{
    struct room_keeper *k = c->room;

    free(l);
    if (!k || k->stopped)
        return;
    k->soon = k->busy;
    if (!k->busy)
        look_in(k, 1);
}

static void post(struct core *c,
                 void (*run)(struct core *c, struct core_letter *l))
{
    struct core_letter *l = xzalloc(sizeof *l);

    l->run = run;
    core_post(c, l);
}

void room_is_short(struct core *c)
{
    post(c, look_soon);
}

/* --- The campaign --------------------------------------------------------- */

static void gained(struct core *c, struct core_letter *l)
{
    struct room_keeper *k = c->room;

    free(l);
    if (!k || k->stopped)
        return;
    log_info("store", "this server looks after etcd's room");
    k->held = true;
    k->machine = (struct room){0};
    store_compacts(c->process->store, true);
    k->soon = k->busy;
    if (!k->busy)
        look_in(k, 1);
}

static void lost(struct core *c, struct core_letter *l)
{
    struct room_keeper *k = c->room;

    free(l);
    if (!k || k->stopped)
        return;
    k->held = false;
    store_compacts(c->process->store, false);
}

static void on_gained(struct store_duty *d, const struct store_guard *fence)
{
    (void)fence; /* nothing is written: doing it twice does no harm */
    post(container_of(d, struct room_keeper, campaign)->core, gained);
}

static void on_lost(struct store_duty *d)
{
    post(container_of(d, struct room_keeper, campaign)->core, lost);
}

/* --- Life ----------------------------------------------------------------- */

enum err room_new(struct core *c)
{
    if (!c->options.etcd_url)
        return ERR_OK;
    struct room_keeper *k = xzalloc(sizeof *k);

    k->core = c;
    k->timer.fire = on_timer;
    list_init(&k->letter.link);
    k->campaign = (struct store_duty){.name = "room",
                                      .ttl_ms = LEASE_MS,
                                      .gained = on_gained,
                                      .lost = on_lost};
    list_init(&k->campaign.link);
    c->room = k;
    store_compacts(c->process->store, false);
    timer_set(&c->timers, &k->timer, ROOM_LOOK_MS);
    return store_campaign(c->process->store, &k->campaign);
}

void room_stop(struct core *c)
{
    struct room_keeper *k = c->room;

    if (!k || k->stopped)
        return;
    k->stopped = true;
    timer_clear(&c->timers, &k->timer);
}

void room_free(struct core *c)
{
    free(c->room);
    c->room = NULL;
}
