/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* An op's way: lane -> decided on the local snapshot -> agent.db -> difference
 * to the catalog -> answer. The lane is left when agent.db has answered: then
 * the next one decides on a snapshot that shows this one. */
#include <stdio.h>
#include <stdlib.h>

#include "agent/impl.h"

static void job_begin(struct job *j);

/* --- Lanes --------------------------------------------------------------- */

/* True: the lane was free. */
static bool lane_enter(struct job *j)
{
    struct agent *a = j->agent;
    struct buf key = {0};

    op_lane(a, j->op, &key);
    require(!key.bad);
    struct lane *lane = map_get(&a->lanes, buf_bytes(&key));
    bool is_free = !lane;
    if (is_free) {
        lane = xzalloc(sizeof *lane + key.n);
        list_init(&lane->waiting);
        lane->key_n = key.n;
        memcpy(lane->key, key.p, key.n);
        require(map_put(&a->lanes, bytes_of(lane->key, key.n), lane) == ERR_OK);
    } else {
        list_add(&lane->waiting, &j->link);
    }
    j->lane = lane;
    buf_fini(&key);
    return is_free;
}

/* Jobs that are answered at once leave their lane to the next one: in a loop,
 * not in each other, or a thousand beats of one check would exhaust the stack.
 */
static void run_next(struct agent *a)
{
    if (a->running_jobs)
        return;
    a->running_jobs = true;
    while (!list_empty(&a->runnable)) {
        struct job *j = container_of(a->runnable.next, struct job, link);
        list_del(&j->link);
        job_begin(j);
    }
    a->running_jobs = false;
}

static void lane_leave(struct job *j)
{
    struct agent *a = j->agent;
    struct lane *lane = j->lane;

    j->lane = NULL;
    if (!lane)
        return;
    op_left(j);
    if (list_empty(&lane->waiting)) {
        (void)map_del(&a->lanes, bytes_of(lane->key, lane->key_n));
        free(lane);
        return;
    }
    struct list *next = lane->waiting.next;
    list_del(next);
    list_add(&a->runnable, next);
}

/* --- The change of agent.db ---------------------------------------------- */

static struct bytes key_in_arena(struct job *j, enum local_key_kind kind,
                                 struct bytes id)
{
    struct buf b = {0};
    local_key(&b, kind, id);
    struct bytes key = arena_copy(&j->arena, buf_bytes(&b));
    require(key.p != NULL);
    buf_fini(&b);
    return key;
}

static void *grow(struct job *j, void *p, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return p;
    *cap = *cap ? *cap * 2 : 8;
    void *more = arena_alloc(&j->arena, *cap * size);
    require(more != NULL);
    if (n)
        memcpy(more, p, n * size);
    return more;
}

void job_guard(struct job *j, enum store_guard_kind kind,
               enum local_key_kind key, struct bytes id)
{
    struct store_change *c = &j->change;
    j->guards =
        grow(j, j->guards, c->guard_count, &j->guard_cap, sizeof *j->guards);
    j->guards[c->guard_count++] =
        (struct store_guard){.kind = kind, .key = key_in_arena(j, key, id)};
    c->guards = j->guards;
}

static void add_op(struct job *j, struct store_op op)
{
    struct store_change *c = &j->change;
    j->ops = grow(j, j->ops, c->op_count, &j->op_cap, sizeof *j->ops);
    j->ops[c->op_count++] = op;
    c->ops = j->ops;
}

void job_put(struct job *j, enum local_key_kind key, struct bytes id,
             struct bytes take_value)
{
    add_op(j, (struct store_op){OP_PUT, key_in_arena(j, key, id), take_value});
}

void job_delete(struct job *j, enum local_key_kind key, struct bytes id)
{
    add_op(j, (struct store_op){.kind = OP_DELETE,
                                .key = key_in_arena(j, key, id)});
}

/* On agent.db's thread. */
static void on_stored(struct store_change *c, const struct store_outcome *o)
{
    struct job *j = container_of(c, struct job, change);
    j->outcome = *o;
    agent_post(j->agent, &j->letter);
}

/* What agent.db had to do is done. */
static void pass_on(struct job *j)
{
    struct agent *a = j->agent;

    lane_leave(j);
    op_stored(j);
    run_next(a);
}

static void job_submit(struct job *j)
{
    struct errtext t = {{0}};

    j->change.meta = bytes_head(j->op->meta, STORE_META_MAX);
    j->change.done = on_stored;
    j->letter.kind = LETTER_JOB;
    enum err e = store_submit(j->agent->store, &j->change, &t);
    if (e == ERR_OK) {
        j->at_store = true;
        return;
    }
    job_finish(j, err_http_status(e), t.s[0] ? t.s : err_text(e));
}

/* Nothing of an earlier attempt is left. */
static void reset_change(struct job *j)
{
    arena_reset(&j->arena);
    j->change = (struct store_change){0};
    list_init(&j->change.link);
    j->guards = NULL;
    j->ops = NULL;
    j->guard_cap = j->op_cap = 0;
}

/* In its lane, first of all. */
static void job_begin(struct job *j)
{
    reset_change(j);
    if (j->agent->closing) {
        job_finish(j, 500, "agent is shutting down");
        return;
    }
    if (!op_plan(j))
        return; /* answered: j is gone */
    if (j->change.op_count) {
        job_submit(j);
        return;
    }
    pass_on(j);
}

void job_finish(struct job *j, int status, const char *text)
{
    struct agent *a = j->agent;

    lane_leave(j);
    job_answer(j, status, false, "%s", text);
    run_next(a);
}

void job_stored(struct job *j)
{
    const struct store_outcome *o = &j->outcome;

    j->at_store = false;
    switch (o->verdict) {
    case STORE_COMMITTED:
        pass_on(j);
        return;
    case STORE_CONFLICT:
        /* Lanes keep jobs apart; but what a job saw may have been removed by
         * one of another lane. */
        if (++j->attempts < AGENT_ATTEMPTS_MAX) {
            job_begin(j);
            return;
        }
        break;
    case STORE_REFUSED:
    case STORE_UNAVAILABLE:
        break;
    }
    struct errtext t;
    if (o->verdict == STORE_CONFLICT)
        errtext_set(&t, "changed by others %u times; try again", j->attempts);
    else
        errtext_set(&t, "agent.db cannot store it, nothing was changed: %s: %s",
                    err_text(o->why), o->text.s);
    job_finish(j, 500, t.s);
}

/* --- Submission and answer ----------------------------------------------- */

static void on_timeout(struct agent *a, struct deadline *d)
{
    struct job *j = container_of(d, struct job, timeout);
    (void)a;
    job_answer(j, 200, true, "%s", "");
}

static void job_enter(struct job *j)
{
    if (!sidecar_prepare(j->agent, j->op)) {
        job_answer(j, 500, false,
                   "no port is left for the sidecar: %d to %d are taken",
                   AGENT_SIDECAR_PORT, AGENT_SIDECAR_PORT_LAST);
        return;
    }
    if (lane_enter(j))
        job_begin(j);
}

void jobs_loaded(struct agent *a)
{
    while (!list_empty(&a->before_load)) {
        struct job *j = container_of(a->before_load.next, struct job, link);
        list_del(&j->link);
        job_enter(j);
    }
}

void agent_submit(struct agent *a, struct agent_op *take)
{
    struct job *j = xzalloc(sizeof *j);

    j->agent = a;
    j->op = take;
    list_init(&j->link);
    arena_init(&j->arena, 0);
    j->timeout.fire = on_timeout;
    a->jobs++;
    if (a->closing) {
        job_answer(j, 500, false, "agent is shutting down");
        return;
    }
    if (!a->loaded) {
        list_add(&a->before_load, &j->link);
        return;
    }
    job_enter(j);
    agent_wake(a);
}

void job_answer(struct job *j, int status, bool pending, const char *fmt, ...)
{
    struct agent *a = j->agent;
    struct agent_op *op = j->op;
    va_list args;

    require(!j->at_store && !j->lane);
    va_start(args, fmt);
    char text[sizeof op->text.s + 1];
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    list_del(&j->link);
    deadline_clear(a, &j->timeout);
    arena_fini(&j->arena);
    free(j);
    a->jobs--;

    op->http_status = status;
    op->pending = pending;
    errtext_set(&op->text, "%s", text);
    sidecar_finish(a, op);
}

void job_sync(struct job *j, enum sync_kind kind, struct bytes id)
{
    struct agent *a = j->agent;
    struct item *i = sync_touch(a, kind, id, false);

    if (a->catalog_down) {
        job_answer(j, 200, true, "%s", "");
        return;
    }
    list_add(&i->waiting, &j->link);
    deadline_set(a, &j->timeout,
                 j->op->kind == AGENT_TTL ? AGENT_TTL_WAIT_MS
                                          : AGENT_SYNC_WAIT_MS);
}
