/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/core.h"

#include <malloc.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/metric.h"
#include "catalog/plan_guard.h"
#include "server/coordinates.h"
#include "server/crowd.h"
#include "server/events.h"
#include "server/gate.h"
#include "server/guard.h"
#include "server/link.h"
#include "server/members.h"
#include "server/mirrors.h"
#include "server/monitor.h"
#include "server/place.h"
#include "server/pulse.h"
#include "server/room.h"
#include "server/serving.h"
#include "server/subscribers.h"
#include "server/wan.h"
#include "server/watches.h"

/* --- Publishing ---------------------------------------------------------- */

/* Nobody is woken who has nothing to do: a thread without long polls does not
 * care what was published (park_add closes the gap between looking and
 * parking). */
static void put_published(struct serving *s, const struct watch_set *set,
                          uint64_t prior, uint64_t revision,
                          struct list *letters)
{
    if (atomic_load(&s->parked) == 0)
        return;
    struct published *pub =
        xmalloc(sizeof *pub + set->n * sizeof pub->hashes[0]);
    *pub = (struct published){
        .letter.kind = LETTER_PUBLISHED,
        .all = set->all,
        .prior = prior,
        .revision = revision,
        .n = set->n,
    };
    if (set->n)
        memcpy(pub->hashes, set->v, set->n * sizeof pub->hashes[0]);
    list_add(letters, &pub->letter.link);
}

void core_tell(struct core *c, const struct watch_set *set)
{
    struct process *p = c->process;
    struct list out[SERVING_THREADS_MAX];
    if (set && c->watches)
        watches_published(c->watches, set);
    uint64_t have = snapshot_revision(catalog_current(p->catalog));
    for (int i = 0; i < p->serving_count; i++) {
        list_init(&out[i]);
        if (set && p->serving[i])
            put_published(p->serving[i], set, c->told_revision, have, &out[i]);
    }
    if (set && c->told_revision != have)
        subscribers_published(p->subscribers, have);
    if (set)
        c->told_revision = have;
    list_each (it, &c->written) {
        struct letter *l = container_of(it, struct letter, link);
        if (l->revision > have &&
            !(c->serving_ends &&
              (l->kind == LETTER_BARRIER || l->kind == LETTER_SNAPSHOT)))
            continue;
        list_del(it);
        list_add(&out[l->to->number], it);
    }
    for (int i = 0; i < p->serving_count; i++)
        if (!list_empty(&out[i]))
            queue_push_all(p->serving[i]->inbox, &out[i]);
}

static void on_written(void *ctx, struct list *letters)
{
    struct core *c = ctx;
    list_move_all(&c->written, letters);
    core_tell(c, NULL);
}

void core_serving_ends(struct core *c)
{
    c->serving_ends = true;
    if (c->process->store)
        store_hurry(c->process->store);
    core_tell(c, NULL);
}

static bool touches_own(const struct core *c, const struct watch_set *set)
{
    return watch_set_touches(set, c->own_hash[0]) ||
           watch_set_touches(set, c->own_hash[1]);
}

static void count_catalog(const struct snapshot *s)
{
    metric_set(METRIC_STORE_REVISION, (int64_t)snapshot_revision(s));
    metric_set(METRIC_CATALOG_NODES, (int64_t)snapshot_node_count(s));
    metric_set(METRIC_CATALOG_INSTANCES, (int64_t)snapshot_instance_count(s));
    metric_set(METRIC_CATALOG_CHECKS, (int64_t)snapshot_check_count(s));
}

void core_published(struct core *c)
{
    struct process *p = c->process;
    const struct watch_set *set = catalog_changes(p->catalog);
    dns_changes_tell(&p->dns_changes,
                     snapshot_revision(catalog_current(p->catalog)), set);
    count_catalog(catalog_current(p->catalog));
    metric_set(METRIC_CATALOG_GARBAGE,
               (int64_t)atomic_load(&p->pins.garbage_bytes));
    core_tell(c, set);
    contact_published(c);
    events_published(c, set);
    crowd_published(c, set);
    if (!c->loaded || c->stopping || c->leaving)
        return;
    bool own = touches_own(c, set);
    if (own)
        own_published(c);
    /* The agent comes after the own node: it would register it too, and at the
     * store's first revision (own.c). */
    if (atomic_load_explicit(&p->ready, memory_order_relaxed)) {
        agent_catalog_published(c->agent, own);
        guard_published(c);
    }
}

static void local_published(void *ctx)
{
    struct core *c = ctx;
    core_tell(c, local_changes(c->process->local));
}

/* --- The store's feed ---------------------------------------------------- */

/* Nobody's word, but that nobody spoke any more. */
static bool is_reaped(const struct store_event *e)
{
    return e->is_delete && (bytes_is(e->by, META_REAPED_CRITICAL) ||
                            bytes_is(e->by, META_REAPED_SILENT) ||
                            bytes_is(e->by, META_REAPED_EXPIRED));
}

static void apply_events(struct core *c, const struct store_batch *b)
{
    for (size_t i = 0; i < b->count; i++) {
        const struct store_event *e = &b->events[i];
        struct errtext t = {{0}};
        catalog_context(c->process->catalog, b->wall_ms, is_reaped(e));
        if (e->is_delete)
            catalog_delete(c->process->catalog, e->key, e->mod_rev);
        else if (catalog_put(c->process->catalog, e->key, e->value,
                             e->create_rev, e->mod_rev, &t) != ERR_OK)
            log_error("catalog", "an entry of the store is left out: %s", t.s);
    }
}

/* The store was put back to a backup. A floor above its revisions would be sent,
 * asked for, and answered at once, again and again; and the revisions that
 * letters wait for are never reached, or mean another thing then. */
static void core_fell(struct core *c, uint64_t revision)
{
    catalog_load_anew(c->process->catalog);
    queue_drain(c->process->written);
    list_each (it, &c->written) {
        struct letter *l = container_of(it, struct letter, link);

        if (l->revision > revision)
            l->revision = revision;
    }
}

/* All revisions that wait become one version: who is late catches up at once.
 */
static void on_batches(void *ctx, struct list *batches)
{
    struct core *c = ctx;
    struct catalog *cat = c->process->catalog;
    uint64_t pending = 0;
    while (!list_empty(batches)) {
        struct store_batch *b =
            container_of(batches->next, struct store_batch, link);
        list_del(&b->link);
        switch (b->kind) {
        case BATCH_LOAD_BEGIN:
            c->loaded = false;
            pending = 0;
            if (b->revision < snapshot_revision(catalog_current(cat)))
                core_fell(c, b->revision);
            else
                catalog_load_begin(cat);
            break;
        case BATCH_LOAD_ROWS:
            apply_events(c, b);
            break;
        case BATCH_LOAD_END:
            catalog_load_end(cat, b->revision);
            c->loaded = true;
            log_info("catalog", "loaded: revision=%llu nodes=%zu instances=%zu",
                     (unsigned long long)b->revision,
                     snapshot_node_count(catalog_current(cat)),
                     snapshot_instance_count(catalog_current(cat)));
            core_published(c);
            malloc_trim(0); /* what building it took: 28 MB of a million */
            break;
        case BATCH_REVISION:
            apply_events(c, b);
            pending = b->revision;
            break;
        }
        store_batch_free(b);
    }
    if (pending) {
        catalog_commit(cat, pending);
        core_published(c);
    }
}

/* On the store thread. */
static void on_batch(void *ctx, struct store_batch *take)
{
    struct core *c = ctx;
    struct list one;
    list_init(&one);
    list_add(&one, &take->link);
    /* No bound here: what is fed was submitted, and that is bounded. */
    queue_push_all(c->batches, &one);
}

static void on_store_state(void *ctx, bool up, enum err why, const char *text)
{
    struct core *c = ctx;
    bool was = atomic_exchange(&c->process->store_up, up);

    metric_set(METRIC_STORE_UP, up);
    if (!up && !c->store_was_up)
        log_warn("store", "waits for the store: %s", text);
    else if (!up)
        log_error("store", "writes fail: %s: %s", err_text(why), text);
    if (!up && why == ERR_NOSPACE)
        room_is_short(c);
    c->store_was_up |= up;
    if (up && !was) {
        log_info("store", "ready for writes");
        guard_store_is_back(c);
    }
}

/* --- The agent's side ---------------------------------------------------- */

static void on_results(void *ctx, struct list *results)
{
    struct core *c = ctx;
    while (!list_empty(results)) {
        struct probe_result *r =
            container_of(results->next, struct probe_result, link);
        list_del(&r->link);
        if (r->generation & GUARD_PROBE)
            guard_result(c, r);
        else if (c->agent)
            agent_probe_result(
                c->agent,
                &(struct agent_result){
                    .generation = r->generation,
                    .check_id = bytes_of(r->data, r->id_n),
                    .status = r->status,
                    .kind = r->kind,
                    .lag_ms = r->lag_ms,
                    .output = bytes_of(r->data + r->id_n, r->output_n),
                });
        free(r);
    }
}

/* On the probe thread. Bounded by the number of checks: each has one run at a
 * time. */
static void on_probe_results(void *ctx, struct list *take)
{
    struct core *c = ctx;
    queue_push_all(c->results, take);
}

static enum err agent_probe_start(void *ctx, const struct check_def *d,
                                  uint64_t generation, uint64_t first_delay_ms)
{
    struct core *c = ctx;
    return probe_start(c->prober, d, generation, first_delay_ms);
}

static void agent_probe_stop(void *ctx, struct bytes check_id)
{
    struct core *c = ctx;
    probe_stop(c->prober, check_id);
}

static void on_core_letters(void *ctx, struct list *letters)
{
    struct core *c = ctx;
    while (!list_empty(letters)) {
        struct core_letter *l =
            container_of(letters->next, struct core_letter, link);
        list_del(&l->link);
        l->run(c, l);
    }
}

void core_post(struct core *c, struct core_letter *take)
{
    struct list one;
    list_init(&one);
    list_add(&one, &take->link);
    queue_push_all(c->letters, &one);
}

/* --- Start and stop ------------------------------------------------------ */

static enum err open_queues(struct core *c)
{
    enum err e = timers_init(&c->timers, c->loop);
    if (e == ERR_OK)
        e = queue_new(c->loop, 0, on_batches, c, &c->batches);
    if (e == ERR_OK)
        e = queue_new(c->loop, 0, on_written, c, &c->process->written);
    if (e == ERR_OK)
        e = queue_new(c->loop, 0, on_results, c, &c->results);
    if (e == ERR_OK)
        e = queue_new(c->loop, 0, on_core_letters, c, &c->letters);
    if (e == ERR_OK)
        e = monitor_open(c);
    if (e == ERR_OK)
        e = queue_new(c->loop, AGENT_OPS_WAITING_MAX, core_ops, c,
                      &c->process->agent_ops);
    return e;
}

static uint64_t clock_ms(clockid_t id)
{
    struct timespec t;

    if (clock_gettime(id, &t) != 0)
        return 0;
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t boot_ms(void *ctx)
{
    (void)ctx;
    return clock_ms(CLOCK_BOOTTIME);
}

static uint64_t wall_ms(void *ctx)
{
    (void)ctx;
    return clock_ms(CLOCK_REALTIME);
}

static enum err submit_wishes(void *ctx, struct store_change *ch,
                              struct errtext *t)
{
    struct core *c = ctx;
    return link_submit(c->link, ch, t);
}

enum err core_submit(struct core *c, struct store_change *ch, struct errtext *t)
{
    return c->link ? link_submit(c->link, ch, t)
                   : store_submit(c->process->store, ch, t);
}

static enum err open_agent(struct core *c, char *server_id, struct errtext *t)
{
    const struct core_options *o = &c->options;
    struct prober_options po = {
        .output_max = o->output_max,
        .docker_host = o->docker_host,
        .tls = o->check_tls,
        .results = on_probe_results,
        .ctx = c,
    };
    enum err e = prober_new(&po, &c->prober, t);
    if (e != ERR_OK)
        return e;
    struct agent_options ao = {
        .loop = c->loop,
        .timers = &c->timers,
        .local = c->process->local,
        .catalog = c->process->catalog,
        .me = c->me,
        .catalog_store = c->process->store,
        .submit_wishes = c->link ? submit_wishes : NULL,
        .probe = {agent_probe_start, agent_probe_stop, c},
        .store_kind = o->agent_path ? STORE_SQLITE : STORE_MEMORY,
        .store_path = o->agent_path,
        .server_id = server_id,
        .scripts_allowed = o->scripts_allowed,
        .scripts_allowed_local = o->scripts_allowed_local,
        .check_update_interval_ms = o->check_update_interval_ms,
        .output_max = o->output_max,
        .discard_output = o->discard_output,
        .boot_id = o->boot_id,
        .damping = o->damping,
        .boot_ms = boot_ms,
        .wall_ms = wall_ms,
        .published = local_published,
        .ctx = c,
    };
    return agent_new(&ao, &c->agent, t);
}

static enum err open_store(struct core *c, const char *server_id,
                           struct errtext *t)
{
    const struct core_options *o = &c->options;
    struct process *p = c->process;
    struct store_options so = {
        .kind = o->etcd_url       ? STORE_ETCD
                : o->catalog_path ? STORE_SQLITE
                                  : STORE_MEMORY,
        .path = o->etcd_url ? o->etcd_url : o->catalog_path,
        .etcd = o->etcd,
        .server_id = server_id,
        .on_batch = on_batch,
        .on_state = on_store_state,
        .ctx = c,
    };
    enum err e = store_open(&so, &p->store, t);
    if (e == ERR_OK) {
        p->barrier_free = store_barrier_is_free(p->store);
        if (!p->barrier_free)
            contact_begin(c);
    }
    return e;
}

enum err core_start(struct core *c, struct process *p,
                    const struct core_options *o, uv_loop_t *loop,
                    struct errtext *t)
{
    *c = (struct core){.process = p, .options = *o, .loop = loop};
    list_init(&c->written);
    enum err e = open_queues(c);
    if (e != ERR_OK) {
        errtext_set(t, "core thread: %s", err_text(e));
        return e;
    }
    own_identity(c);
    crowd_new(c);
    e = own_new(c);
    if (e == ERR_OK)
        e = coordinates_new(c);
    if (e != ERR_OK)
        return e;

    char *server_id = xcopy(p->self.node_id);
    e = o->join ? link_new(c) : open_store(c, server_id, t);
    if (e == ERR_OK)
        e = open_agent(c, server_id, t);
    free(server_id);
    if (e == ERR_OK)
        e = events_new(c);
    if (e == ERR_OK)
        e = place_open(c);
    if (e == ERR_OK && c->link) {
        link_begin(c->link);
        return ERR_OK;
    }
    if (e == ERR_OK)
        e = guard_new(c);
    if (e == ERR_OK)
        e = pulse_new(c);
    if (e == ERR_OK && p->self.is_server)
        guard_campaign(c);
    if (e == ERR_OK)
        members_begin(c);
    if (e == ERR_OK)
        e = room_new(c);
    return e;
}

void core_stop(struct core *c)
{
    c->stopping = true;
    mirrors_close(c);
    wan_close(c);
    place_close(c);
    if (c->watches)
        watches_close(c->watches);
    events_stop(c);
    link_stop(c->link);
    pulse_stop(c);
    if (c->agent)
        agent_close(c->agent);
    c->agent = NULL;
    guard_stop(c);
    room_stop(c);
    if (c->prober)
        prober_close(c->prober);
    store_close(c->process->store);
    members_stop(c);
    queue_close(c->process->agent_ops);
    queue_close(c->process->written);
    queue_close(c->results);
    queue_close(c->letters);
    contact_end(c); /* the last letters were its too */
    queue_close(c->batches);
    guard_free(c);
    room_free(c);
    pulse_free(c);
    events_free(c);
    crowd_free(c);
    link_free(c->link);
    monitor_close(c);
    coordinates_free(c);
    own_free(c);
    timers_close(&c->timers);
}
