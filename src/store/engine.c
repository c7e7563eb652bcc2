/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "store/impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/metric.h"

static const uint64_t default_age_ms = (uint64_t)72 * 3600 * 1000;
static const uint64_t default_bytes = (uint64_t)1 << 30;

uint64_t engine_wall_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void engine_set_oldest(struct store *s)
{
    uint64_t plain = s->backend->ops->oldest(s->backend);

    /* Below the pointer's revision another epoch was current. */
    if (plain < s->pointer_rev)
        plain = s->pointer_rev;
    atomic_store(&s->oldest, revision_out(s, plain));
}

void engine_state(struct store *s, bool up, enum err why, const char *text)
{
    if (up)
        s->retry_ms = RETRY_FIRST_MS;
    if (s->up == up)
        return;
    s->up = up;
    if (s->options.on_state)
        s->options.on_state(s->options.ctx, up, why, text);
}

/* --- What happens next --------------------------------------------------- */

static void end(struct store *s)
{
    s->ended = true;
    barriers_fail(s, ERR_CLOSED);
    imports_fail(s, ERR_CLOSED);
    duties_close(s);
    queue_close(s->changes);
    queue_close(s->commands);
    timers_close(&s->timers);
    uv_close((uv_handle_t *)&s->turn, NULL);
    s->backend->ops->close(s->backend);
}

static void turn(struct store *s)
{
    if (s->ended)
        return;
    uv_idle_stop(&s->turn);
    if (s->loading)
        feed_continue(s);
    if (s->ready && !s->loading) {
        imports_start(s);
        groups_start(s);
        barriers_start(s);
        upkeep_step(s);
        pasts_step(s);
    }
    if (s->stopping)
        pasts_close(s);
    /* Nobody may come any more, and who has come has been answered. */
    if (s->stopping && atomic_load(&s->submitted) == 0 && groups_idle(s) &&
        s->reads == 0)
        end(s);
}

static void on_idle(uv_idle_t *h)
{
    turn(h->data);
}

void engine_kick(struct store *s)
{
    if (!s->ended)
        uv_idle_start(&s->turn, on_idle);
}

static void on_retry(struct timer *t)
{
    struct store *s = container_of(t, struct store, retry);

    if (s->loading)
        feed_retry(s);
    groups_retry(s);
    engine_kick(s);
}

void engine_retry_later(struct store *s)
{
    /* Not later than it is due already: those who fail one after the other would
     * keep it from ever ringing. */
    if (s->ended || s->retry.item.in)
        return;
    timer_set(&s->timers, &s->retry, s->retry_ms);
    s->retry_ms *= 2;
    if (s->retry_ms > RETRY_MAX_MS)
        s->retry_ms = RETRY_MAX_MS;
}

static void on_upkeep(struct timer *t)
{
    upkeep_tick(container_of(t, struct store, upkeep));
}

static void on_changes(void *ctx, struct list *items)
{
    struct store *s = ctx;

    list_move_all(&s->waiting, items);
    turn(s);
}

/* --- Commands ------------------------------------------------------------ */

/* The store waits for what was submitted, but not for ever. */
static void on_closer(struct timer *t)
{
    struct store *s = container_of(t, struct store, closer);

    if (uv_now(&s->loop) >= s->close_deadline_ms) {
        groups_give_up(s);
        changes_refuse_waiting(s, ERR_CLOSED, "the store closes");
    }
    timer_set(&s->timers, &s->closer, CLOSE_POLL_MS);
    engine_kick(s);
}

static void hurry(struct store *s)
{
    if (!s->close_deadline_ms)
        s->close_deadline_ms = uv_now(&s->loop) + CLOSE_GRACE_MS;
    timer_set(&s->timers, &s->closer, CLOSE_POLL_MS);
    engine_kick(s);
}

static void begin_to_close(struct store *s)
{
    s->stopping = true;
    hurry(s);
}

static void refuse(struct command *c)
{
    struct store_barrier *b = c->what;
    struct store_read *r = c->what;
    struct store_history *h = c->what;
    struct store_moment *m = c->what;
    struct store_room *room = c->what;
    struct store_import *i = c->what;

    switch (c->kind) {
    case COMMAND_BARRIER:
        b->done(b, ERR_CLOSED, 0);
        break;
    case COMMAND_READ:
        r->rows(r, NULL, ERR_CLOSED);
        break;
    case COMMAND_HISTORY:
        h->batch(h, NULL, ERR_CLOSED);
        break;
    case COMMAND_IMPORT:
        i->done(i, ERR_CLOSED, 0);
        break;
    case COMMAND_MOMENT:
        m->done(m, ERR_CLOSED);
        break;
    case COMMAND_ROOM:
        room->done(room, ERR_CLOSED);
        break;
    case COMMAND_CAMPAIGN:
    case COMMAND_RESIGN:
    case COMMAND_COMPACT:
    case COMMAND_COMPACTS:
    case COMMAND_MORE:
    case COMMAND_HURRY:
    case COMMAND_CLOSE:
        break;
    }
}

static void obey(struct store *s, struct command *c)
{
    switch (c->kind) {
    case COMMAND_BARRIER:
        barrier_add(s, c->what);
        break;
    case COMMAND_READ:
        read_start(s, c->what);
        break;
    case COMMAND_HISTORY:
        history_start(s, c->what);
        break;
    case COMMAND_MOMENT:
        moment_start(s, c->what);
        break;
    case COMMAND_MORE:
        past_more(s, c->what, c->revision != 0);
        break;
    case COMMAND_CAMPAIGN:
        duty_campaign(s, c->what);
        break;
    case COMMAND_RESIGN:
        duty_resign(s, c->what);
        break;
    case COMMAND_COMPACT:
        upkeep_compact(s, c->revision);
        break;
    case COMMAND_COMPACTS:
        s->compacts = c->revision != 0;
        break;
    case COMMAND_ROOM:
        room_start(s, c->what);
        break;
    case COMMAND_IMPORT:
        import_add(s, c->what);
        break;
    case COMMAND_HURRY:
        hurry(s);
        break;
    case COMMAND_CLOSE:
        begin_to_close(s);
        break;
    }
}

/* Closed before it was ready: nobody is left without an answer. */
static void refuse_early(struct store *s)
{
    while (!list_empty(&s->early)) {
        struct command *c = container_of(s->early.next, struct command, link);

        list_del(&c->link);
        refuse(c);
        free(c);
    }
}

/* Before the first load there is nothing to answer from. */
static bool too_early(const struct store *s, enum command_kind kind)
{
    return !s->ready && kind != COMMAND_CLOSE && kind != COMMAND_HURRY &&
           !s->stopping;
}

static void run_commands(struct store *s, struct list *items)
{
    struct list early;

    list_init(&early);
    while (!list_empty(items)) {
        struct command *c = container_of(items->next, struct command, link);

        list_del(&c->link);
        if (too_early(s, c->kind)) {
            list_add(&early, &c->link);
            continue;
        }
        if (s->ended || !s->ready)
            c->kind == COMMAND_CLOSE || c->kind == COMMAND_HURRY ? obey(s, c)
                                                                 : refuse(c);
        else
            obey(s, c);
        free(c);
    }
    list_move_all(&s->early, &early);
    if (s->stopping)
        refuse_early(s);
}

static void on_commands(void *ctx, struct list *items)
{
    run_commands(ctx, items);
    engine_kick(ctx);
}

void engine_ready(struct store *s)
{
    struct list early;

    list_init(&early);
    list_move_all(&early, &s->early);
    run_commands(s, &early);
    upkeep_tick(s);
}

static void command_push(struct store *s, enum command_kind kind, void *what,
                         uint64_t revision)
{
    struct command *c = xmalloc(sizeof *c);
    struct list one;

    *c = (struct command){.kind = kind, .what = what, .revision = revision};
    list_init(&one);
    list_add(&one, &c->link);
    /* No bound here: these are few, one for each waiting request or duty. */
    queue_push_all(s->commands, &one);
}

static enum err command_send(struct store *s, enum command_kind kind,
                             void *what)
{
    if (atomic_load(&s->closing))
        return ERR_CLOSED;
    command_push(s, kind, what, 0);
    return ERR_OK;
}

/* --- Any thread ---------------------------------------------------------- */

bool store_barrier_is_free(const struct store *s)
{
    return s->barrier_free;
}

enum err store_barrier_begin(struct store *s, struct store_barrier *b)
{
    return command_send(s, COMMAND_BARRIER, b);
}

enum err store_read_begin(struct store *s, struct store_read *r)
{
    return command_send(s, COMMAND_READ, r);
}

enum err store_history_begin(struct store *s, struct store_history *h)
{
    return command_send(s, COMMAND_HISTORY, h);
}

void store_read_more(struct store *s, struct store_read *r, bool go_on)
{
    command_push(s, COMMAND_MORE, r, go_on);
}

void store_history_more(struct store *s, struct store_history *h, bool go_on)
{
    command_push(s, COMMAND_MORE, h, go_on);
}

enum err store_moment_begin(struct store *s, struct store_moment *m)
{
    return command_send(s, COMMAND_MOMENT, m);
}

enum err store_campaign(struct store *s, struct store_duty *d)
{
    return command_send(s, COMMAND_CAMPAIGN, d);
}

void store_resign(struct store *s, struct store_duty *d)
{
    (void)command_send(s, COMMAND_RESIGN, d);
}

void store_compact(struct store *s, uint64_t revision)
{
    if (!atomic_load(&s->closing))
        command_push(s, COMMAND_COMPACT, NULL, revision);
}

void store_compacts(struct store *s, bool on)
{
    if (!atomic_load(&s->closing))
        command_push(s, COMMAND_COMPACTS, NULL, on);
}

enum err store_room_begin(struct store *s, struct store_room *r)
{
    return command_send(s, COMMAND_ROOM, r);
}

enum err store_import_begin(struct store *s, struct store_import *i)
{
    return command_send(s, COMMAND_IMPORT, i);
}

uint64_t store_cluster(const struct store *s)
{
    return atomic_load_explicit(&s->backend->cluster, memory_order_relaxed);
}

uint64_t store_oldest(const struct store *s)
{
    return atomic_load(&s->oldest);
}

/* Counted before `closing` is looked at: the store thread ends only when it
 * sees a count of zero after closing was set. */
enum err store_submit(struct store *s, struct store_change *c,
                      struct errtext *t)
{
    enum err e = change_check(c, t);

    if (e != ERR_OK) {
        metric_add(METRIC_STORE_REFUSED, 1);
        return e;
    }
    if (atomic_fetch_add(&s->submitted, 1) >= STORE_QUEUE_MAX) {
        errtext_set(t, "%d changes wait for the store; try again shortly",
                    STORE_QUEUE_MAX);
        e = ERR_FULL;
    } else if (atomic_load(&s->closing)) {
        errtext_set(t, "the store closes");
        e = ERR_CLOSED;
    } else {
        e = queue_push(s->changes, &c->link);
    }
    if (e != ERR_OK)
        atomic_fetch_sub(&s->submitted, 1);
    return e;
}

/* --- Life ---------------------------------------------------------------- */

static void thread_main(void *arg)
{
    struct store *s = arg;

    feed_load(s);
    require(uv_run(&s->loop, UV_RUN_DEFAULT) == 0);
}

/* Names groups: another life of this server must not take ours for its own. */
static void set_nonce(struct store *s)
{
    uint64_t random;

    require(getrandom(&random, sizeof random, 0) == sizeof random);
    snprintf(s->nonce, sizeof s->nonce, "%016llx", (unsigned long long)random);
}

static void set_options(struct store *s, const struct store_options *o)
{
    s->options = *o;
    s->options.path = NULL; /* the backend is open */
    s->options.etcd = (struct store_etcd){0};
    s->server_id = xstrdup(o->server_id ? o->server_id : "");
    s->options.server_id = s->server_id;
    if (!s->options.compact_age_ms)
        s->options.compact_age_ms = default_age_ms;
    if (!s->options.compact_bytes)
        s->options.compact_bytes = default_bytes;
}

static void store_free(struct store *s)
{
    groups_fini(s);
    feed_fini(s);
    free(s->server_id);
    free(s);
}

static struct store *store_new(const struct store_options *o,
                               struct backend *take)
{
    struct store *s = xzalloc(sizeof *s);

    s->backend = take;
    s->barrier_free = take->ops->barrier_free;
    s->up = -1;
    s->compacts = true;
    s->retry_ms = RETRY_FIRST_MS;
    set_options(s, o);
    set_nonce(s);
    list_init(&s->held);
    list_init(&s->waiting);
    list_init(&s->internal);
    list_init(&s->early);
    list_init(&s->barriers_waiting);
    list_init(&s->barriers_flying);
    list_init(&s->pasts_ready);
    list_init(&s->pasts_asked);
    list_init(&s->duties);
    list_init(&s->imports);
    s->retry.fire = on_retry;
    s->upkeep.fire = on_upkeep;
    s->closer.fire = on_closer;
    s->window = window_new();
    data_prefix(0, s->prefix);
    groups_open(s);
    return s;
}

static enum err open_loop(struct store *s)
{
    if (uv_loop_init(&s->loop) != 0)
        return ERR_NOMEM;
    s->turn.data = s;
    uv_idle_init(&s->loop, &s->turn);
    enum err e = timers_init(&s->timers, &s->loop);
    if (e == ERR_OK) /* bounded by `submitted` */
        e = queue_new(&s->loop, 0, on_changes, s, &s->changes);
    if (e == ERR_OK)
        e = queue_new(&s->loop, 0, on_commands, s, &s->commands);
    return e;
}

enum err store_open_backend(const struct store_options *o, struct backend *take,
                            struct store **ret, struct errtext *t)
{
    struct store *s = store_new(o, take);

    /* These fail only when the process has no descriptors or memory left; what
     * was begun is not taken apart, because the caller ends. */
    enum err e = open_loop(s);
    if (e == ERR_OK && take->ops->attach)
        take->ops->attach(take, &s->loop);
    if (e == ERR_OK && uv_thread_create(&s->thread, thread_main, s) != 0)
        e = ERR_NOMEM;
    if (e != ERR_OK) {
        errtext_set(t, "cannot start the store's thread: %s", err_text(e));
        return e;
    }
    *ret = s;
    return ERR_OK;
}

enum err store_open(const struct store_options *o, struct store **ret,
                    struct errtext *t)
{
    struct backend *b = NULL;
    enum err e = ERR_BAD;

    switch (o->kind) {
    case STORE_MEMORY:
        e = backend_memory_open(&b, t);
        break;
    case STORE_SQLITE:
        e = backend_sqlite_open(o->path, &b, t);
        break;
    case STORE_ETCD:
        e = backend_etcd_open(o->path, &o->etcd, o->server_id, &b, t);
        break;
    }

    return e == ERR_OK ? store_open_backend(o, b, ret, t) : e;
}

void store_hurry(struct store *s)
{
    command_push(s, COMMAND_HURRY, NULL, 0);
}

void store_close(struct store *s)
{
    if (!s)
        return;
    atomic_store(&s->closing, true);
    command_push(s, COMMAND_CLOSE, NULL, 0);
    uv_thread_join(&s->thread);
    require(uv_loop_close(&s->loop) == 0);
    store_free(s);
}
