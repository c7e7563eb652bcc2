/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/mirrors.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/log.h"
#include "mirror/choose.h"
#include "server/mirrors_impl.h"
#include "server/remote.h"
#include "server/serving.h"
#include "server/subscribers.h"

/* --- For all threads ------------------------------------------------------ */

struct bytes dc_mirror_name(const struct dc_mirror *m)
{
    return bytes_str(m->name);
}

size_t dc_mirror_number(const struct dc_mirror *m)
{
    return m->number;
}

const char *dc_mirror_cluster(const struct dc_mirror *m)
{
    const char *text = atomic_load(&m->cluster_shown);

    return text ? text : "";
}

const struct catalog *dc_mirror_catalog(const struct dc_mirror *m)
{
    return m->catalog;
}

bool dc_mirror_usable(const struct dc_mirror *m)
{
    return atomic_load(&m->usable);
}

uint64_t dc_mirror_age_ms(const struct dc_mirror *m)
{
    uint64_t now = process_now_ms(), at = atomic_load(&m->fresh_ms);

    return at < now ? now - at : 0;
}

bool dc_mirror_link_up(const struct dc_mirror *m)
{
    uint64_t now = process_now_ms();

    return atomic_load(&m->open) &&
           now < atomic_load(&m->heard_ms) + MIRROR_LOST_MS &&
           now < atomic_load(&m->answered_ms) + MIRROR_DEAF_MS;
}

struct subscribers *dc_mirror_readers(const struct dc_mirror *m)
{
    return m->readers;
}

struct subscribers *mirrors_readers(const struct process *p, size_t i)
{
    return p->mirrors->v[i]->readers;
}

static struct dc_mirror *find(const struct mirrors *all, struct bytes dc)
{
    size_t n = all ? atomic_load_explicit(&all->n, memory_order_acquire) : 0;

    for (size_t i = 0; i < n; i++)
        if (bytes_is(dc, all->v[i]->name))
            return all->v[i];
    return NULL;
}

struct dc_mirror *mirrors_any(const struct process *p, struct bytes dc)
{
    return find(p->mirrors, dc);
}

struct dc_mirror *mirrors_find(const struct process *p, struct bytes dc)
{
    struct dc_mirror *m = find(p->mirrors, dc);

    return m && atomic_load(&m->usable) ? m : NULL;
}

bool dc_mirror_has_all(const struct dc_mirror *m)
{
    const struct run_mirror *s = &m->all->settings;

    return s->service_count == 0 && s->tag_count == 0;
}

bool dc_mirror_has(const struct dc_mirror *m, const struct snapshot *cat,
                   struct bytes service)
{
    const struct run_mirror *s = &m->all->settings;

    return dc_mirror_has_all(m) ||
           mirror_covers(s->services, s->service_count, service) ||
           (s->tag_count && snapshot_is_whole(cat, service));
}

static void view_of(const struct dc_mirror *m, struct dc_view *ret)
{
    /* The age first: what is loaded after it is not older. */
    ret->age_ms = dc_mirror_age_ms(m);
    ret->life = atomic_load(&m->life);
    ret->datacenter = dc_mirror_name(m);
    ret->cat = catalog_current(m->catalog);
    ret->revision = snapshot_revision(ret->cat);
    ret->link_up = dc_mirror_link_up(m);
    ret->whole = atomic_load(&m->whole);
}

bool mirrors_view(const struct process *p, struct bytes dc, struct dc_view *ret)
{
    const struct dc_mirror *m = mirrors_find(p, dc);

    if (!m || !dc_mirror_has_all(m))
        return false;
    view_of(m, ret);
    return atomic_load(&m->usable); /* it is emptied after it was marked */
}

bool mirrors_view_of(const struct process *p, struct bytes dc,
                     struct bytes service, struct dc_view *ret)
{
    const struct dc_mirror *m = mirrors_find(p, dc);

    if (!m)
        return false;
    view_of(m, ret);
    return dc_mirror_has(m, ret->cat, service) && atomic_load(&m->usable);
}

uint64_t mirrors_age_max_ms(const struct process *p)
{
    return p->mirrors ? p->mirrors->settings.age_max_ms : 0;
}

uint64_t mirrors_failover_age_max_ms(const struct process *p)
{
    return p->mirrors ? p->mirrors->settings.failover_age_max_ms : 0;
}

size_t mirrors_count(const struct process *p)
{
    return p->mirrors ? atomic_load(&p->mirrors->n) : 0;
}

void mirrors_status(const struct process *p, size_t i, struct dc_status *ret)
{
    const struct dc_mirror *m = p->mirrors->v[i];

    *ret = (struct dc_status){
        .datacenter = dc_mirror_name(m),
        .usable = atomic_load(&m->usable),
        .link_up = dc_mirror_link_up(m),
        .whole = atomic_load(&m->whole),
        .cut = atomic_load(&m->cut),
        .part = !dc_mirror_has_all(m),
        .instances = snapshot_instance_count(catalog_current(m->catalog)),
        .age_ms = dc_mirror_age_ms(m),
        .revision = snapshot_revision(catalog_current(m->catalog)),
        .bytes = atomic_load(&m->bytes),
        .received = atomic_load(&m->received),
        .reconnects = atomic_load(&m->reconnects),
    };
}

/* --- Publishing ------------------------------------------------------------ */

static void tell(struct dc_mirror *m, struct serving *s,
                 const struct watch_set *set, uint64_t revision)
{
    if (!s || atomic_load(&s->parked) == 0)
        return;
    struct published *pub =
        xmalloc(sizeof *pub + set->n * sizeof pub->hashes[0]);

    *pub = (struct published){
        .letter.kind = LETTER_PUBLISHED,
        .of = m,
        .all = set->all,
        .prior = m->told_revision,
        .revision = revision,
        .n = set->n,
    };
    list_init(&pub->letter.link);
    if (set->n)
        memcpy(pub->hashes, set->v, set->n * sizeof pub->hashes[0]);
    serving_post(s, &pub->letter);
}

void mirrors_committed(struct dc_mirror *m)
{
    struct process *p = m->all->core->process;
    uint64_t revision = mirror_revision(m->mirror);

    if (catalog_changes(m->catalog)->all)
        atomic_fetch_add(&m->life, 1);
    for (int i = 0; i < p->serving_count; i++)
        tell(m, p->serving[i], catalog_changes(m->catalog), revision);
    m->told_revision = revision;
}

/* --- All of them ----------------------------------------------------------- */

static struct dc_mirror *mirror_of(struct mirrors *all, struct bytes dc)
{
    struct dc_mirror *m = xzalloc(sizeof *m);

    m->all = all;
    m->number = atomic_load(&all->n);
    snprintf(m->name, sizeof m->name, "%.*s", BYTES_ARG(dc));
    m->catalog = catalog_new(&all->core->process->pins);
    m->readers = subscribers_new();
    bool memory = m->catalog && m->readers && mirror_link_new(m) == ERR_OK;
    require(memory);
    return m;
}

static void look_after(struct dc_mirror *m)
{
    struct process *p = m->all->core->process;
    bool up = dc_mirror_link_up(m);

    if (m->told_up && !up)
        for (int i = 0; i < p->serving_count; i++)
            if (p->serving[i])
                remote_link_down(p->serving[i], m);
    m->told_up = up;
    mirror_link_look(m);
}

/* A datacenter that is new to the list. */
static void add(struct mirrors *all, struct bytes dc)
{
    size_t n = atomic_load(&all->n);

    if (find(all, dc))
        return;
    if (n == MIRRORS_MAX) {
        if (!all->full_told)
            log_warn("mirror",
                     "more than %d datacenters: datacenter %.*s is not "
                     "mirrored, requests are passed on to it",
                     MIRRORS_MAX, BYTES_ARG(dc));
        all->full_told = true;
        return;
    }
    all->v[n] = mirror_of(all, dc);
    atomic_store_explicit(&all->n, n + 1, memory_order_release);
}

static void tick(struct timer *t)
{
    struct mirrors *all = container_of(t, struct mirrors, tick);
    const struct api_wan *w = atomic_load(&all->core->process->wan);

    for (size_t i = 0; w && i < w->dc_count; i++)
        if (!w->dcs[i].own)
            add(all, w->dcs[i].name);
    for (size_t i = 0; i < atomic_load(&all->n); i++)
        look_after(all->v[i]);
    timer_set(&all->core->timers, &all->tick, MIRROR_TICK_MS);
}

/* --- Life ------------------------------------------------------------------ */

enum err mirrors_open(struct core *c, const struct settings *s,
                      struct errtext *t)
{
    if (!c->wan || s->mirror.off)
        return ERR_OK;
    struct mirrors *all = xzalloc(sizeof *all);
    all->core = c;
    all->settings = s->mirror;
    all->random = uv_hrtime() / 1000;
    all->tick.fire = tick;
    enum err e = peers_new(c->loop, s->peers.secret.n ? &s->peers.psk : NULL,
                           &all->peers);
    if (e != ERR_OK) {
        errtext_set(t, "mirrors of datacenters: %s", err_text(e));
        free(all);
        return e;
    }
    c->mirrors = c->process->mirrors = all;
    timer_set(&c->timers, &all->tick, 1);
    return ERR_OK;
}

void mirrors_close(struct core *c)
{
    struct mirrors *all = c->mirrors;

    if (!all)
        return;
    c->mirrors = NULL;
    timer_clear(&c->timers, &all->tick);
    for (size_t i = 0; i < atomic_load(&all->n); i++) {
        mirror_link_close(all->v[i]);
        timer_clear(&c->timers, &all->v[i]->slice);
    }
    peers_close(all->peers);
}

void mirrors_end(struct process *p)
{
    struct mirrors *all = p->mirrors;

    if (!all)
        return;
    for (size_t i = 0; i < atomic_load(&all->n); i++) {
        mirror_tags_end(all->v[i]);
        mirror_free(all->v[i]->mirror);
        catalog_free(all->v[i]->catalog);
        subscribers_free(all->v[i]->readers);
        free((void *)(uintptr_t)atomic_load(&all->v[i]->cluster_shown));
        free(all->v[i]);
    }
    free(all);
    p->mirrors = NULL;
}
