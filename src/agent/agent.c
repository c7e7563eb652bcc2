/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/agent.h"

#include <stdlib.h>

#include "agent/impl.h"

/* --- Clock -------------------------------------------------------------------
 *
 * One clock, monotonic, without the time that the host slept: a laptop that
 * wakes up, or a wall clock that is set, makes no service late. */

uint64_t agent_now(const struct agent *a)
{
    return a->o.now_ms ? a->o.now_ms(a->o.ctx) : uv_now(a->o.loop);
}

uint64_t agent_boot_now(const struct agent *a)
{
    return a->o.boot_ms ? a->o.boot_ms(a->o.ctx) : agent_now(a);
}

uint64_t agent_wall_now(const struct agent *a)
{
    return a->o.wall_ms ? a->o.wall_ms(a->o.ctx) : 0;
}

static void arm(struct agent *a)
{
    const struct heap_item *min = heap_min(&a->due);
    uint64_t now = agent_now(a);

    if (min && !a->closing)
        timer_set(a->o.timers, &a->timer,
                  min->due_ms > now ? min->due_ms - now : 0);
}

void deadline_set(struct agent *a, struct deadline *d, uint64_t delay_ms)
{
    require(d->fire != NULL);
    if (a->closing)
        return;
    uint64_t now = agent_now(a);
    uint64_t at = delay_ms < UINT64_MAX - now ? now + delay_ms : UINT64_MAX;
    const struct heap_item *was = heap_min(&a->due);
    uint64_t was_ms = was ? was->due_ms : UINT64_MAX;

    heap_set(&a->due, &d->item, at);
    if (at < was_ms)
        arm(a);
}

void deadline_clear(struct agent *a, struct deadline *d)
{
    heap_del(&a->due, &d->item);
}

static void settle(struct agent *a)
{
    agent_publish(a);
    aliases_evaluate(a);
    sync_run(a);
    agent_publish(a);
}

void agent_run_due(struct agent *a)
{
    uint64_t now = agent_now(a);
    struct heap_item *min;

    a->in_turn = true;
    while ((min = heap_min(&a->due)) && min->due_ms <= now) {
        struct deadline *d = container_of(min, struct deadline, item);
        heap_del(&a->due, min);
        d->fire(a, d);
    }
    settle(a);
    a->in_turn = false;
    arm(a);
}

static void on_timer(struct timer *t)
{
    agent_run_due(container_of(t, struct agent, timer));
}

/* --- Publishing ---------------------------------------------------------- */

static void refresh_touched(struct agent *a)
{
    struct bytes rest = buf_bytes(&a->touched), id;

    while (packed_next(&rest, &id))
        running_refresh(a, id);
    buf_reset(&a->touched);
}

void agent_publish(struct agent *a)
{
    if (!a->loaded)
        return;
    if (local_commit(a->o.local)) {
        a->alias_due = true;
        if (a->o.published)
            a->o.published(a->o.ctx);
    }
    refresh_touched(a);
}

char *agent_key(char kind, struct bytes id, size_t *ret_n)
{
    struct buf b = {0};

    buf_putc(&b, kind);
    buf_put_fold(&b, id);
    char *key = buf_take(&b, ret_n);
    require(key != NULL);
    return key;
}

/* --- agent.db's feed ----------------------------------------------------- */

static void note_touched(struct agent *a, const struct store_event *e)
{
    enum local_key_kind kind;
    struct local_state s;
    struct bytes id;
    char *scratch = xmalloc(e->key.n);

    if (local_key_parse(e->key, scratch, &kind, &id) != ERR_OK)
        goto out;
    if (kind == LOCAL_KEY_CHECK)
        buf_lp(&a->touched, id);
    if (kind == LOCAL_KEY_STATE && !a->loaded && !e->is_delete &&
        local_state_get(e->value, &s) == ERR_OK)
        state_restore(a, id, &s);
    require(!a->touched.bad);
out:
    free(scratch);
}

static void apply(struct agent *a, const struct store_batch *b)
{
    for (size_t i = 0; i < b->count; i++) {
        const struct store_event *e = &b->events[i];
        struct errtext t = {{0}};
        if (e->is_delete)
            local_delete(a->o.local, e->key);
        else if (local_put(a->o.local, e->key, e->value, &t) != ERR_OK)
            log_error("agent", "left out: %s", t.s);
        note_touched(a, e);
    }
}

static void on_loaded(struct agent *a)
{
    a->loaded = true;
    state_log_restored(a);
    agent_publish(a);
    agent_publish(a); /* what another boot makes of the states */
    jobs_loaded(a);
    scan_start(a);
}

bool agent_is_loaded(const struct agent *a)
{
    return a->loaded;
}

static void touch_running(struct agent *a)
{
    struct bytes id;
    size_t at = 0;

    while (map_next(&a->checks, &at, &id, NULL))
        buf_lp(&a->touched, id);
}

static void take_batch(struct agent *a, struct store_batch *b)
{
    switch (b->kind) {
    case BATCH_LOAD_BEGIN:
        a->loaded = false;
        touch_running(a); /* what the load does not bring is to be stopped */
        local_load_begin(a->o.local);
        break;
    case BATCH_LOAD_ROWS:
    case BATCH_REVISION:
        apply(a, b);
        break;
    case BATCH_LOAD_END:
        on_loaded(a);
        break;
    }
    store_batch_free(b);
}

/* --- Inbox --------------------------------------------------------------- */

struct batch_letter {
    struct letter letter;
    struct store_batch *batch;
};

static void take_letter(struct agent *a, struct letter *l)
{
    switch (l->kind) {
    case LETTER_BATCH: {
        struct batch_letter *b = container_of(l, struct batch_letter, letter);
        take_batch(a, b->batch);
        free(b);
        break;
    }
    case LETTER_JOB:
        /* The feed came first: what it decides next, it decides on that. */
        agent_publish(a);
        job_stored(container_of(l, struct job, letter));
        break;
    case LETTER_STATE:
        state_stored(l);
        break;
    case LETTER_SYNC:
        sync_answered(container_of(l, struct item, letter));
        break;
    case LETTER_REAPED:
        reap_answered(l);
        break;
    case LETTER_SETTLE:
        a->settle_queued = false;
        break;
    }
}

static void on_letters(void *ctx, struct list *letters)
{
    struct agent *a = ctx;

    a->in_turn = true;
    while (!list_empty(letters)) {
        struct letter *l = container_of(letters->next, struct letter, link);
        list_del(&l->link);
        take_letter(a, l);
    }
    if (!a->closing)
        settle(a);
    a->in_turn = false;
}

static void post(struct agent *a, struct letter *l)
{
    struct list one;
    list_init(&one);
    list_add(&one, &l->link);
    /* No bound here: every letter is the answer to something that was bounded
     * when it was submitted, or part of the feed that came of it. */
    queue_push_all(a->inbox, &one);
}

void agent_wake(struct agent *a)
{
    if (a->in_turn || a->settle_queued || a->closing)
        return;
    a->settle_queued = true;
    a->settle_letter.kind = LETTER_SETTLE;
    post(a, &a->settle_letter);
}

/* On agent.db's thread. */
static void on_batch(void *ctx, struct store_batch *take)
{
    struct agent *a = ctx;
    struct batch_letter *l = xzalloc(sizeof *l);
    l->letter.kind = LETTER_BATCH;
    l->batch = take;
    post(a, &l->letter);
}

static void on_state(void *ctx, bool up, enum err why, const char *text)
{
    (void)ctx;
    if (!up)
        log_error("agent", "agent.db takes no writes: %s: %s", err_text(why),
                  text);
}

void agent_post(struct agent *a, struct letter *l)
{
    post(a, l);
}

/* --- Life ---------------------------------------------------------------- */

static struct agent *agent_alloc(const struct agent_options *o)
{
    struct agent *a = xzalloc(sizeof *a);

    a->o = *o;
    a->boot_id = xstrdup(o->boot_id ? o->boot_id : "");
    if (a->o.damping.half_life_ms == 0)
        a->o.damping = damp_rule_default();
    witness_init(&a->witness);
    a->timer.fire = on_timer;
    list_init(&a->before_load);
    list_init(&a->runnable);
    sync_start(a);
    aliases_start(a);
    return a;
}

static void agent_free(struct agent *a)
{
    running_free_all(a);
    sync_free_all(a);
    map_fini(&a->lanes);
    local_scan_fini(&a->scan);
    buf_fini(&a->touched);
    uv_sem_destroy(&a->landed);
    free(a->boot_id);
    free(a);
}

enum err agent_new(const struct agent_options *o, struct agent **ret,
                   struct errtext *t)
{
    struct agent *a = agent_alloc(o);
    const struct store_options so = {
        .kind = o->store_kind,
        .path = o->store_path,
        .server_id = o->server_id,
        .on_batch = on_batch,
        .on_state = on_state,
        .ctx = a,
    };
    enum err e = queue_new(o->loop, 0, on_letters, a, &a->inbox);

    if (e == ERR_OK && uv_sem_init(&a->landed, 0) != 0)
        e = ERR_NOMEM;
    if (e != ERR_OK) {
        errtext_set(t, "agent: %s", err_text(e));
        return e; /* at start: the process ends */
    }
    e = store_open(&so, &a->store, t);
    if (e != ERR_OK) {
        errtext_prefix(t, "agent.db: ");
        a->closing = true;
        queue_close(a->inbox);
        agent_free(a);
        return e;
    }
    *ret = a;
    return ERR_OK;
}

/* Whoever still waits is told what is true: it is stored, or it is not. */
static void answer_rest(struct agent *a)
{
    while (!list_empty(&a->before_load)) {
        struct job *j = container_of(a->before_load.next, struct job, link);
        job_answer(j, 500, false, "agent is shutting down");
    }
    sync_free_all(a);
    require(a->jobs == 0);
}

void agent_reconfigure(struct agent *a, const struct agent_live *live)
{
    a->o.me = live->me;
    a->o.check_update_interval_ms = live->check_update_interval_ms;
    a->o.discard_output = live->discard_output;
    if (live->damping.half_life_ms == 0 ||
        damp_rule_equal(&live->damping, &a->o.damping))
        return;
    a->o.damping = live->damping;
    running_rules_changed(a);
}

void agent_close(struct agent *a)
{
    running_write_beats(a);
    a->closing = true;
    timer_clear(a->o.timers, &a->timer);
    store_close(a->store);
    for (; a->flying > 0; a->flying--)
        uv_sem_wait(&a->landed);
    queue_close(a->inbox);
    answer_rest(a);
    agent_free(a);
}
