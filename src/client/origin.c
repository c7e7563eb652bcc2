/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Lists come in, one of each datacenter; the balancer is given one of all. Its
 * levels of priority are, for each datacenter in order, the sixteen that Meta
 * "priority" names; those of a datacenter that the registry cannot reach are in
 * the balancer's reserve instead, as long as its list is not too old. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/impl.h"

_Static_assert((FAILOVER_MAX + 1) * ORIGIN_LEVELS <= LB_RESERVE_FROM &&
                   LB_RESERVE_FROM + (FAILOVER_MAX + 1) * ORIGIN_LEVELS <=
                       LB_PRIORITIES_MAX,
               "every datacenter has its levels, live and in reserve");

struct origin *origin_at(struct muster_service *s, size_t i)
{
    if (i > s->away_n)
        return NULL;
    return i == 0 ? &s->home : s->away[i - 1];
}

struct origin *origin_of(struct muster_service *s, uint8_t level)
{
    return origin_at(s, level % LB_RESERVE_FROM / ORIGIN_LEVELS);
}

static char *make_target(const struct muster_service *s, const char *dc)
{
    struct buf b;

    buf_init(&b, 4096);
    buf_puts(&b, s->path);
    if (*dc) {
        buf_puts(&b, "?dc=");
        url_escape(&b, dc);
        buf_puts(&b, s->params);
    } else if (*s->params) {
        buf_putc(&b, '?');
        buf_puts(&b, s->params + 1);
    }
    char *target = b.bad ? NULL : buf_take(&b, NULL);
    buf_fini(&b);
    return target;
}

static char *make_about(const struct muster_service *s, const char *dc)
{
    struct buf b;

    buf_init(&b, 1024);
    buf_puts(&b, s->name);
    if (*dc)
        buf_printf(&b, " in datacenter %s", dc);
    char *about = b.bad ? NULL : buf_take(&b, NULL);
    buf_fini(&b);
    return about;
}

enum err origin_init(struct origin *o, struct muster_service *s,
                     const char *datacenter, size_t order)
{
    o->s = s;
    o->order = order;
    (void)snprintf(o->datacenter, sizeof o->datacenter, "%s", datacenter);
    list_init(&o->poll.lookup.link);
    client_feed_init(&o->poll.feed);
    buf_init(&o->poll.body, ROSTER_BODY_MAX);
    o->target = make_target(s, datacenter);
    o->about = make_about(s, datacenter);
    return o->target && o->about ? ERR_OK : ERR_NOMEM;
}

void origin_fini(struct origin *o)
{
    client_feed_fini(&o->poll.feed);
    buf_fini(&o->poll.body);
    roster_free(o->roster);
    free(o->target);
    free(o->about);
}

/* --- What the registry says of a datacenter ------------------------------ */

void origin_cluster(struct origin *o, struct bytes name)
{
    struct muster_service *s = o->s;

    if (name.n > FEED_CLUSTER_MAX)
        name.n = FEED_CLUSTER_MAX;
    pthread_mutex_lock(&s->text_mutex);
    if (name.n)
        memcpy(o->cluster, name.p, name.n);
    o->cluster[name.n] = '\0';
    pthread_mutex_unlock(&s->text_mutex);
}

void origin_heard(struct origin *o, bool reachable, uint64_t age_ms)
{
    if (!o->datacenter[0])
        return;
    bool was = o->cut;
    o->age_ms = age_ms;
    o->cut = !reachable || age_ms > CUT_AGE_MS;
    if (was != o->cut)
        handle_log(o->s->m, o->cut ? MUSTER_WARN : MUSTER_INFO,
                   o->cut ? "%s: the registry cannot reach it"
                          : "%s: the registry can reach it again",
                   o->about);
}

/* A mirror without its datacenter says that it knows no leader; forwarded
 * answers say so of a datacenter that has none, and that was reached. */
void origin_head(struct origin *o, struct bytes head)
{
    struct bytes leader = fetch_head_line(head, "X-Consul-KnownLeader");
    struct bytes mirror = fetch_head_line(head, "X-Muster-Mirror");
    uint64_t age_ms = 0;

    if (bytes_u64(fetch_head_line(head, "X-Consul-LastContact"), &age_ms) !=
        ERR_OK)
        age_ms = 0;
    origin_heard(o, !mirror.n || !bytes_is(leader, "false"), age_ms);
}

/* Confirmed, as of the age that is told; a stream's beats tell it anew. */
void origin_beat(struct origin *o)
{
    struct feed *f = &o->poll.feed;
    uint64_t now_ms = mono_ms();

    if (o->poll.kind == POLL_STREAM && f->age_told)
        origin_heard(o, true, f->age_ms);
    f->age_told = false;
    atomic_store(&o->confirmed_ms, now_ms > o->age_ms ? now_ms - o->age_ms : 1);
}

/* A refused query (4xx) is no word about the datacenter. */
void origin_refused(struct origin *o, int status)
{
    if (status >= 500)
        origin_heard(o, false, o->age_ms);
}

bool origin_rests(const struct origin *o)
{
    return o != &o->s->home && o->poll.no_streams && !o->s->needs_away;
}

/* --- One list of all ----------------------------------------------------- */

static uint64_t age_of(const struct origin *o, uint64_t now_ms)
{
    uint64_t confirmed = atomic_load(&o->confirmed_ms);

    return confirmed && now_ms > confirmed ? now_ms - confirmed : 0;
}

/* The registry answers about home, but has not about this one for long. */
static bool unheard(const struct origin *o, uint64_t now_ms)
{
    return atomic_load(&o->s->home.connected) && age_of(o, now_ms) > UNHEARD_MS;
}

/* Home's list has had its time to come. */
static bool may_do_without_home(const struct muster_service *s, uint64_t now_ms)
{
    return s->home.roster || now_ms >= s->started_ms + DISK_AFTER_MS;
}

/* Home's is never too old: there may be no other, and then it is better than
 * none. A datacenter that is listed twice counts once. */
static enum origin_use use_of(const struct origin *o, uint64_t now_ms)
{
    const struct muster_service *s = o->s;
    const struct origin *home = &s->home;

    if (!o->roster)
        return ORIGIN_UNUSED;
    if (o == home)
        return o->cut && s->away_n ? ORIGIN_RESERVE : ORIGIN_LIVE;
    if (!may_do_without_home(s, now_ms) ||
        (home->roster &&
         bytes_eq_fold(home->roster->datacenter, bytes_str(o->datacenter))))
        return ORIGIN_UNUSED;
    if (!o->cut && !unheard(o, now_ms))
        return ORIGIN_LIVE;
    return age_of(o, now_ms) < s->m->set.failover_max_age_ms ? ORIGIN_RESERVE
                                                             : ORIGIN_UNUSED;
}

static bool is_well(const struct roster_entry *e)
{
    return !e->critical && !e->out && e->weight > 0;
}

/* What the guard holds counts as passing only where no other does: as in
 * prepared queries, and only where there is another datacenter to go to. */
static bool has_others_than_held(const struct origin *o)
{
    for (size_t i = 0; o->s->away_n && i < o->roster->n; i++)
        if (is_well(&o->roster->v[i]) && !o->roster->v[i].guarded)
            return true;
    return false;
}

static void put_endpoints(const struct origin *o, struct lb_endpoint *v)
{
    const struct roster *r = o->roster;
    size_t level = o->order * ORIGIN_LEVELS +
                   (o->use == ORIGIN_RESERVE ? LB_RESERVE_FROM : 0);
    bool without_held = has_others_than_held(o);

    for (size_t i = 0; i < r->n; i++) {
        const struct roster_entry *e = &r->v[i];
        v[i] = (struct lb_endpoint){
            .node = e->node,
            .service_id = e->id,
            .address = e->address,
            .zone = e->zone,
            .weight = e->weight,
            .port = e->port,
            .priority = (uint8_t)(level + e->priority),
            .ready_ms = e->ready_ms,
            .critical = e->critical || (e->guarded && without_held),
            .out = e->out,
            .probation = e->cached || e->held_ms,
        };
    }
}

/* Counts for who asks; returns how many endpoints there are. */
static size_t count_all(struct muster_service *s)
{
    size_t n = 0, held = 0, draining = 0;

    for (size_t i = 0; i <= s->away_n; i++) {
        const struct origin *o = origin_at(s, i);
        if (o->use == ORIGIN_UNUSED)
            continue;
        n += o->roster->n;
        held += o->roster->held;
        draining += o->roster->draining;
    }
    atomic_store(&s->held, (uint32_t)held);
    atomic_store(&s->draining, (uint32_t)draining);
    return n;
}

static enum err give(struct muster_service *s, const struct lb_endpoint *v,
                     size_t n)
{
    struct errtext t = {""};
    enum err e = v ? lb_update(s->lb, v, n, mono_ms(), &t) : ERR_NOMEM;

    if (e != ERR_OK)
        service_error(s, "the list of %s is not used: %s", s->name,
                      t.s[0] ? t.s : err_text(e));
    return e;
}

enum err origins_use(struct muster_service *s)
{
    uint64_t now_ms = mono_ms();

    for (size_t i = 0; i <= s->away_n; i++)
        origin_at(s, i)->use = use_of(origin_at(s, i), now_ms);
    size_t n = count_all(s), at = 0;
    struct lb_endpoint *v = calloc(n ? n : 1, sizeof *v);
    for (size_t i = 0; v && i <= s->away_n; i++) {
        const struct origin *o = origin_at(s, i);
        if (o->use == ORIGIN_UNUSED)
            continue;
        put_endpoints(o, v + at);
        at += o->roster->n;
    }
    enum err e = give(s, v, n);
    free(v);
    return e;
}

/* --- Lists --------------------------------------------------------------- */

static bool entry_same(const struct roster_entry *a,
                       const struct roster_entry *b)
{
    return bytes_eq(a->node, b->node) && bytes_eq(a->id, b->id) &&
           bytes_eq(a->address, b->address) && bytes_eq(a->zone, b->zone) &&
           a->held_ms == b->held_ms && a->weight == b->weight &&
           a->port == b->port && a->priority == b->priority &&
           a->critical == b->critical && a->out == b->out &&
           a->draining == b->draining && a->ready_ms == b->ready_ms &&
           a->guarded == b->guarded && a->cached == b->cached;
}

static bool roster_same(const struct roster *a, const struct roster *b)
{
    if (!a || a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (!entry_same(&a->v[i], &b->v[i]))
            return false;
    return true;
}

/* Zones of another datacenter are none of ours, even if they are called alike. */
static enum err name_zones(const struct origin *o, struct roster *r)
{
    for (size_t i = 0; o->order && i < r->n; i++) {
        struct bytes *zone = &r->v[i].zone;
        if (!zone->n)
            continue;
        const char *named =
            arena_printf(&r->arena, "%s/%.*s", o->datacenter, BYTES_ARG(*zone));
        if (!named)
            return ERR_NOMEM;
        *zone = bytes_str(named);
    }
    return ERR_OK;
}

/* The first list of a registry has nobody who starts slowly: they may all have
 * been there for long, and somebody must take the load. */
static enum err find_ready(const struct origin *o, struct roster *r)
{
    bool first = atomic_load(&o->source) != MUSTER_REGISTRY;

    if (!o->s->slow_start)
        return ERR_OK;
    return roster_ready(first ? NULL : o->roster, r, mono_ms(), o->listed_ms,
                        day_ms());
}

/* What is in use after the one told now; NULL: told why. */
static struct roster *next_list(struct origin *o, struct roster *take_new,
                                enum roster_trust trust)
{
    struct muster_service *s = o->s;
    struct roster *r = NULL;
    enum err e = roster_follow(o->roster, take_new, trust, mono_ms(),
                               s->m->set.hold_ms, &r);

    if (e == ERR_OK && (e = find_ready(o, r)) != ERR_OK)
        roster_free(r);
    if (e == ERR_OK)
        return r;
    service_error(s, "the list of %s is not used: %s", o->about, err_text(e));
    return NULL;
}

void origin_list(struct origin *o, struct roster *take_new,
                 enum roster_trust trust, enum muster_source source)
{
    struct muster_service *s = o->s;
    struct roster *was = o->roster, *r;

    if (name_zones(o, take_new) != ERR_OK) {
        roster_free(take_new);
        return;
    }
    r = next_list(o, take_new, trust);
    if (!r)
        return;
    bool same = roster_same(was, r);
    o->roster = r;
    if (!same && origins_use(s) != ERR_OK) {
        o->roster = was;
        roster_free(r);
        return;
    }
    roster_free(was);
    o->listed_ms = mono_ms();
    atomic_store(&o->source, source);
    if (o == &s->home && source == MUSTER_REGISTRY && !same)
        s->unsaved = true;
    if (!same && o->use != ORIGIN_UNUSED)
        service_changed(s);
}

/* Kept entries whose time is over leave by the same way as any other: the list
 * of now, without them, follows the one in use. */
static void release_held(struct origin *o, uint64_t now_ms)
{
    uint64_t until =
        o->roster ? roster_held_until(o->roster, o->s->m->set.hold_ms) : 0;
    struct roster *fresh;

    if (until == 0 || now_ms < until)
        return;
    fresh = roster_registered(o->roster);
    if (fresh)
        origin_list(o, fresh, ROSTER_TOLD,
                    (enum muster_source)atomic_load(&o->source));
}

void origin_tell(const struct origin *o, struct muster_datacenter *ret)
{
    const struct roster *r = o->roster;

    ret->name = o->datacenter;
    ret->order = (uint32_t)o->order;
    ret->reachable = !o->cut;
    ret->known = r != NULL;
    ret->used = o->use != ORIGIN_UNUSED;
    ret->age_ms = age_of(o, mono_ms());
    bool without_held = r && has_others_than_held(o);
    for (size_t i = 0; r && i < r->n; i++) {
        bool well = is_well(&r->v[i]);
        ret->instances++;
        ret->guarded += r->v[i].guarded;
        ret->healthy += well && !(r->v[i].guarded && without_held);
    }
}

/* --- All of a service's -------------------------------------------------- */

/* Home carries all of it, as long as it is well enough. */
static void find_need(struct muster_service *s)
{
    enum { JUST_NOT_ALL = 999 };
    bool needs = lb_share_of(s->lb, 0, ORIGIN_LEVELS - 1) * 1000 < JUST_NOT_ALL;
    bool began = needs && !s->needs_away;

    s->needs_away = needs;
    for (size_t i = 0; began && i < s->away_n; i++)
        if (s->away[i]->poll.failed_in_row == 0)
            poll_now(s->away[i]);
}

void origins_beat(struct muster_service *s, uint64_t now_ms)
{
    bool changed = false;

    for (size_t i = 0; i <= s->away_n; i++)
        release_held(origin_at(s, i), now_ms);
    for (size_t i = 0; i <= s->away_n; i++)
        changed |= use_of(origin_at(s, i), now_ms) != origin_at(s, i)->use;
    if (changed && origins_use(s) == ERR_OK)
        service_changed(s);
    find_need(s);
}

void origins_start(struct muster_service *s)
{
    for (size_t i = 0; i <= s->away_n; i++)
        poll_start(origin_at(s, i));
}

void origins_stop(struct muster_service *s)
{
    for (size_t i = 0; i <= s->away_n; i++)
        poll_stop(origin_at(s, i));
}

void origins_again(struct muster_service *s)
{
    for (size_t i = 0; i <= s->away_n; i++) {
        struct origin *o = origin_at(s, i);
        poll_stop(o);
        o->poll.index = 0;
        client_feed_fini(&o->poll.feed);
        client_feed_init(&o->poll.feed);
        poll_start(o);
    }
}
