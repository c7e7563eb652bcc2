/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* agent_world - an agent with real stores, a real catalog and a loop that the
 * test turns until something holds; probes and the passing of time are the
 * test's.
 *
 * The clock is the loop's plus what the test adds: world_advance. The catalog's
 * store can be made to fail or to hold its commits. */
#ifndef AGENT_WORLD_H
#define AGENT_WORLD_H

#include "agent/agent.h"

#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "loop/queue.h"
#include "store/backend.h"
#include "test.h"

enum gate { GATE_OPEN, GATE_FULL, GATE_DOWN, GATE_HOLD };

enum { WORLD_PROBES_MAX = 64, WORLD_GIVE_UP_MS = 60 * 1000 };

struct world_probe {
    char id[64];
    uint64_t generation, first_delay_ms;
    bool on;
};

struct world {
    uv_loop_t loop;
    struct timers timers;
    uv_timer_t nudge; /* so that a turn ends although nothing happens */
    struct pin_domain pins;
    struct catalog *catalog;
    struct local *local;
    struct queue *batches;
    struct store *store;
    struct agent *agent;
    struct agent_options options;
    char folder[64]; /* empty: everything in memory */
    char agent_db[96];
    uint64_t offset_ms;
    struct world_probe probes[WORLD_PROBES_MAX];
    size_t probe_n, starts;
    unsigned published;
    bool catalog_loaded;
    bool blind;         /* the agent is not told that its node changed */
    uint64_t hashes[2]; /* of the own node */
    int answered;       /* ops, since the world began */
    int last_status;
    bool last_pending;
    char last_text[sizeof(struct errtext)];
};

/* --- The catalog's store: a backend with a gate -------------------------- */

static _Atomic int world_gate;
static uv_sem_t world_gate_sem;
static struct backend_ops world_gate_ops;
static void (*world_gate_inner)(struct backend *b, struct backend_group *g);

/* On the store's thread. */
static inline void world_gate_txn(struct backend *b, struct backend_group *g)
{
    switch ((enum gate)atomic_load(&world_gate)) {
    case GATE_HOLD:
        uv_sem_wait(&world_gate_sem);
        break;
    case GATE_OPEN:
        break;
    case GATE_FULL:
    case GATE_DOWN:
        g->verdict = BACKEND_FAILED;
        g->why = atomic_load(&world_gate) == GATE_FULL ? ERR_NOSPACE
                                                       : ERR_UNAVAILABLE;
        errtext_set(&g->text, "the gate is closed");
        g->done(g);
        return;
    }
    world_gate_inner(b, g);
}

static inline void world_set_gate(enum gate g)
{
    enum gate was = (enum gate)atomic_exchange(&world_gate, (int)g);
    if (was == GATE_HOLD)
        uv_sem_post(&world_gate_sem);
}

/* --- The core thread's part ---------------------------------------------- */

static inline void world_apply(struct world *w, const struct store_batch *b)
{
    for (size_t i = 0; i < b->count; i++) {
        const struct store_event *e = &b->events[i];
        if (e->is_delete)
            catalog_delete(w->catalog, e->key, e->mod_rev);
        else
            assert_ok(catalog_put(w->catalog, e->key, e->value, e->create_rev,
                                  e->mod_rev, NULL));
    }
}

static inline void world_published(struct world *w)
{
    const struct watch_set *s = catalog_changes(w->catalog);
    bool own = s->all;
    for (size_t i = 0; i < s->n; i++)
        own |= s->v[i] == w->hashes[0] || s->v[i] == w->hashes[1];
    if (w->agent)
        agent_catalog_published(w->agent, own && !w->blind);
}

static inline void world_on_batches(void *ctx, struct list *batches)
{
    struct world *w = ctx;
    while (!list_empty(batches)) {
        struct store_batch *b =
            container_of(batches->next, struct store_batch, link);
        list_del(&b->link);
        switch (b->kind) {
        case BATCH_LOAD_BEGIN:
            catalog_load_begin(w->catalog);
            break;
        case BATCH_LOAD_ROWS:
            world_apply(w, b);
            break;
        case BATCH_LOAD_END:
            catalog_load_end(w->catalog, b->revision);
            w->catalog_loaded = true;
            world_published(w);
            break;
        case BATCH_REVISION:
            world_apply(w, b);
            catalog_commit(w->catalog, b->revision);
            world_published(w);
            break;
        }
        store_batch_free(b);
    }
}

static inline void world_on_batch(void *ctx, struct store_batch *take)
{
    struct world *w = ctx;
    struct list one;
    list_init(&one);
    list_add(&one, &take->link);
    queue_push_all(w->batches, &one);
}

/* --- Probes -------------------------------------------------------------- */

static inline struct world_probe *world_probe(struct world *w, const char *id)
{
    for (size_t i = 0; i < w->probe_n; i++)
        if (strcmp(w->probes[i].id, id) == 0)
            return &w->probes[i];
    return NULL;
}

static inline enum err world_probe_start(void *ctx, const struct check_def *d,
                                         uint64_t generation,
                                         uint64_t first_delay_ms)
{
    struct world *w = ctx;
    char id[64];
    (void)snprintf(id, sizeof id, "%.*s", BYTES_ARG(d->id));
    struct world_probe *p = world_probe(w, id);
    if (!p) {
        assert_true(w->probe_n < WORLD_PROBES_MAX);
        p = &w->probes[w->probe_n++];
    }
    (void)snprintf(p->id, sizeof p->id, "%s", id);
    p->generation = generation;
    p->first_delay_ms = first_delay_ms;
    p->on = true;
    w->starts++;
    return ERR_OK;
}

static inline void world_probe_stop(void *ctx, struct bytes check_id)
{
    struct world *w = ctx;
    for (size_t i = 0; i < w->probe_n; i++)
        if (bytes_is(check_id, w->probes[i].id))
            w->probes[i].on = false;
}

/* --- Turning the loop ---------------------------------------------------- */

static inline uint64_t world_now(void *ctx)
{
    const struct world *w = ctx;
    return uv_now(&w->loop) + w->offset_ms;
}

/* Another zero, and it goes on while nobody runs. */
static inline uint64_t world_boot_now(void *ctx)
{
    return world_now(ctx) + 1000000;
}

static inline uint64_t world_wall(void *ctx)
{
    const struct world *w = ctx;
    return UINT64_C(1700000000000) + w->offset_ms;
}

static inline void world_on_published(void *ctx)
{
    struct world *w = ctx;
    w->published++;
}

static inline void world_wake(uv_timer_t *t)
{
    (void)t;
}

/* Turns until the condition holds; fails rather than hang for ever. */
#define world_until(w, condition)                                              \
    do {                                                                       \
        uv_update_time(&(w)->loop);                                            \
        uint64_t end_ = uv_now(&(w)->loop) + WORLD_GIVE_UP_MS;                 \
        while (!(condition)) {                                                 \
            if (uv_now(&(w)->loop) > end_)                                     \
                fail_msg("never came true: %s", #condition);                   \
            uv_run(&(w)->loop, UV_RUN_ONCE);                                   \
        }                                                                      \
    } while (0)

static inline void world_advance(struct world *w, uint64_t ms)
{
    w->offset_ms += ms;
    agent_run_due(w->agent);
}

/* --- Life ---------------------------------------------------------------- */

static inline int world_remove_one(const char *path, const struct stat *s,
                                   int flag, struct FTW *ftw)
{
    (void)s;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static inline void world_start_agent(struct world *w)
{
    struct errtext t = {{0}};
    if (agent_new(&w->options, &w->agent, &t) != ERR_OK)
        fail_msg("agent_new: %s", t.s);
    if (w->catalog_loaded)
        agent_catalog_published(w->agent, true);
    world_until(w, agent_in_sync(w->agent));
}

static inline void world_open_store(struct world *w)
{
    struct errtext t = {{0}};
    struct store_options so = {.kind = STORE_MEMORY,
                               .server_id = "test",
                               .on_batch = world_on_batch,
                               .ctx = w};
    struct backend *b;
    assert_ok(backend_memory_open(&b, &t));
    world_gate_ops = *b->ops;
    world_gate_inner = b->ops->txn;
    world_gate_ops.txn = world_gate_txn;
    b->ops = &world_gate_ops;
    assert_int_equal(uv_sem_init(&world_gate_sem, 0), 0);
    atomic_store(&world_gate, GATE_OPEN);
    assert_ok(store_open_backend(&so, b, &w->store, &t));
}

/* folder: agent.db is a file in a folder of its own. Change w->options before
 * world_start_agent. */
static inline void world_init(struct world *w, bool folder)
{
    *w = (struct world){0};
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_ok(timers_init(&w->timers, &w->loop));
    uv_timer_init(&w->loop, &w->nudge);
    uv_timer_start(&w->nudge, world_wake, 5, 5);
    pin_init(&w->pins);
    w->catalog = catalog_new(&w->pins);
    w->local = local_new(&w->pins);
    assert_ok(queue_new(&w->loop, 0, world_on_batches, w, &w->batches));
    if (folder) {
        (void)snprintf(w->folder, sizeof w->folder,
                       "/tmp/muster-agent-test-XXXXXX");
        assert_non_null(mkdtemp(w->folder));
        (void)snprintf(w->agent_db, sizeof w->agent_db, "%s/agent.db",
                       w->folder);
    }
    world_open_store(w);
    w->options = (struct agent_options){
        .loop = &w->loop,
        .timers = &w->timers,
        .local = w->local,
        .catalog = w->catalog,
        .me = {.node = {.name = bytes_str("here"),
                        .id = bytes_str("0b8e59f2-7c1f-4a5b-9d53-6f0f5e7e2a11"),
                        .address = bytes_str("10.0.0.1")},
               .keep_service = bytes_str("consul"),
               .keep_check = bytes_str("serfHealth")},
        .catalog_store = w->store,
        .probe = {world_probe_start, world_probe_stop, w},
        .store_kind = folder ? STORE_SQLITE : STORE_MEMORY,
        .store_path = folder ? w->agent_db : NULL,
        .server_id = "test",
        .check_update_interval_ms = 300 * 1000,
        .output_max = CHECK_OUTPUT_MAX_DEFAULT,
        .boot_id = "boot",
        .now_ms = world_now,
        .boot_ms = world_boot_now,
        .wall_ms = world_wall,
        .published = world_on_published,
        .ctx = w,
    };
    w->hashes[0] =
        watch_hash((struct watch_key){WATCH_NODE, w->options.me.node.name});
    w->hashes[1] = watch_hash(
        (struct watch_key){WATCH_NODE_CHECKS, w->options.me.node.name});
}

static inline void world_setup(struct world *w, bool folder)
{
    world_init(w, folder);
    world_start_agent(w);
}

static inline void world_stop_agent(struct world *w)
{
    struct agent *a = w->agent;
    w->agent = NULL;
    agent_close(a);
}

static inline void world_come_back(struct world *w)
{
    local_free(w->local);
    w->local = local_new(&w->pins);
    w->options.local = w->local;
    w->probe_n = 0;
    world_start_agent(w);
}

/* The process ends and another one starts; the catalog stays. */
static inline void world_restart(struct world *w)
{
    world_stop_agent(w);
    world_come_back(w);
}

/* Files end there, as on a full disk; SIGXFSZ is to be ignored. */
static inline void world_file_limit(rlim_t bytes)
{
    struct rlimit r;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &r), 0);
    r.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

static inline void world_teardown(struct world *w)
{
    world_set_gate(GATE_OPEN);
    if (w->agent)
        world_stop_agent(w);
    store_close(w->store);
    queue_close(w->batches);
    timers_close(&w->timers);
    uv_close((uv_handle_t *)&w->nudge, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    local_free(w->local);
    catalog_free(w->catalog);
    pin_fini(&w->pins);
    uv_sem_destroy(&world_gate_sem);
    if (w->folder[0])
        (void)nftw(w->folder, world_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* --- Ops ----------------------------------------------------------------- */

static inline void world_done(struct agent_op *op)
{
    struct world *w = op->ctx;
    w->answered++;
    w->last_status = op->http_status;
    w->last_pending = op->pending;
    (void)snprintf(w->last_text, sizeof w->last_text, "%s", op->text.s);
    agent_op_free(op);
}

/* IDs and texts of ops must be literals or outlive the op. */
static inline struct agent_op *world_op(struct world *w,
                                        enum agent_op_kind kind)
{
    struct agent_op *op = agent_op_new(kind);
    assert_non_null(op);
    op->done = world_done;
    op->ctx = w;
    op->meta = bytes_str("test");
    return op;
}

static inline void world_submit(struct world *w, struct agent_op *op)
{
    agent_submit(w->agent, op);
}

/* The status of the answer. */
static inline int world_do(struct world *w, struct agent_op *op)
{
    int before = w->answered;
    world_submit(w, op);
    world_until(w, w->answered > before);
    return w->last_status;
}

static inline struct agent_op *
world_id_op(struct world *w, enum agent_op_kind kind, const char *id)
{
    struct agent_op *op = world_op(w, kind);
    op->id = bytes_str(id);
    return op;
}

static inline struct agent_op *world_service(struct world *w, const char *id)
{
    struct agent_op *op = world_op(w, AGENT_REGISTER_SERVICE);
    op->service = (struct service_view){.id = bytes_str(id),
                                        .name = bytes_str("web"),
                                        .port = 80,
                                        .weight_passing = 1,
                                        .weight_warning = 1};
    op->checks =
        arena_zalloc(&op->arena, AGENT_CHECKS_MAX * sizeof *op->checks);
    assert_non_null(op->checks);
    return op;
}

static inline struct check_def *world_add_check(struct agent_op *op,
                                                const char *id)
{
    struct check_def *d = &op->checks[op->check_count++];
    *d = (struct check_def){.id = bytes_str(id),
                            .name = bytes_str(id),
                            .service_id = op->service.id,
                            .failures_before_warning = -1};
    return d;
}

static inline struct check_def *world_add_ttl(struct agent_op *op,
                                              const char *id, int seconds)
{
    struct check_def *d = world_add_check(op, id);
    d->ttl_ns = (int64_t)seconds * 1000000000;
    return d;
}

static inline struct check_def *world_add_http(struct agent_op *op,
                                               const char *id)
{
    struct check_def *d = world_add_check(op, id);
    d->http = bytes_str("http://127.0.0.1:1/");
    d->interval_ns = 10 * INT64_C(1000000000);
    return d;
}

static inline struct agent_op *world_check(struct world *w, const char *service)
{
    struct agent_op *op = world_op(w, AGENT_REGISTER_CHECK);
    op->checks = arena_zalloc(&op->arena, sizeof *op->checks);
    assert_non_null(op->checks);
    op->service.id = bytes_str(service);
    return op;
}

static inline int world_ttl(struct world *w, const char *id, const char *status,
                            const char *output)
{
    struct agent_op *op = world_id_op(w, AGENT_TTL, id);
    op->status = bytes_str(status);
    op->output = bytes_str(output);
    return world_do(w, op);
}

/* However it came about. */
static inline void world_result_of(struct world *w, const char *id,
                                   enum status status, const char *output,
                                   enum run_kind kind, uint64_t lag_ms)
{
    const struct world_probe *p = world_probe(w, id);
    assert_non_null(p);
    agent_probe_result(w->agent,
                       &(struct agent_result){.generation = p->generation,
                                              .check_id = bytes_str(id),
                                              .status = status,
                                              .kind = kind,
                                              .lag_ms = lag_ms,
                                              .output = bytes_str(output)});
}

static inline void world_result(struct world *w, const char *id,
                                enum status status, const char *output)
{
    world_result_of(w, id, status, output, RUN_ANSWERED, 0);
}

/* --- What there is ------------------------------------------------------- */

static inline const struct local_check *world_local_check(struct world *w,
                                                          const char *id)
{
    return local_check(local_current(w->local), bytes_str(id));
}

static inline const struct local_service *world_local(struct world *w,
                                                      const char *id)
{
    return local_service(local_current(w->local), bytes_str(id));
}

static inline const struct cat_node *world_node(struct world *w)
{
    return snapshot_node(catalog_current(w->catalog), w->options.me.node.name);
}

static inline bool world_catalog_service(struct world *w, const char *id,
                                         struct service_view *v)
{
    const struct cat_node *n = world_node(w);
    const struct cat_instance *i =
        n ? cat_node_service(n, bytes_str(id)) : NULL;
    if (i)
        cat_service_view(i->service, v);
    return i != NULL;
}

static inline bool world_catalog_check(struct world *w, const char *id,
                                       struct check_view *v)
{
    const struct cat_node *n = world_node(w);
    const struct cat_record *r = n ? cat_node_check(n, bytes_str(id)) : NULL;
    if (r)
        cat_check_view(r, v);
    return r != NULL;
}

/* The catalog's status of a check, "" if it has none. */
static inline bool world_catalog_says(struct world *w, const char *id,
                                      const char *status)
{
    struct check_view v;
    return world_catalog_check(w, id, &v) ? bytes_is(v.status, status)
                                          : status[0] == '\0';
}

#endif
