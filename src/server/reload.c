/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/reload.h"

#include "base/log.h"
#include "base/map.h"
#include "server/live.h"
#include "server/notify.h"
#include "server/watches.h"

static void step_on(struct reload *r);

void reload_init(struct reload *r, struct core *c)
{
    r->core = c;
    list_init(&r->waiting);
    list_init(&r->served);
}

/* --- Ops of ours --------------------------------------------------------- */

static void landed(struct agent_op *op)
{
    struct reload *r = op->ctx;

    /* 404: a client was faster in taking it away. */
    bool gone = (op->kind == AGENT_DEREGISTER_SERVICE ||
                 op->kind == AGENT_DEREGISTER_CHECK) &&
                op->http_status == 404;
    if (op->http_status != 200 && !gone)
        log_error("agent",
                  "a definition of the configuration is refused: "
                  "error=\"%s\"",
                  op->text.s);
    agent_op_free(op);
    if (--r->flying == 0)
        step_on(r);
}

static void submit(struct reload *r, struct agent_op *take)
{
    take->done = landed;
    take->ctx = r;
    r->flying++;
    agent_submit(r->core->agent, take);
}

static void drop(struct reload *r, enum agent_op_kind kind, struct bytes id)
{
    struct agent_op *op = agent_op_new(kind);

    if (op)
        op->id = arena_copy(&op->arena, id);
    if (!op || !op->id.p) {
        log_error("config", "out of memory: %.*s stays until the next reload",
                  BYTES_ARG(id));
        agent_op_free(op);
        return;
    }
    op->from_config = true;
    op->meta = bytes_str("configuration: left it");
    log_info("config", "left the configuration: %s=%.*s",
             kind == AGENT_DEREGISTER_SERVICE ? "service" : "check",
             BYTES_ARG(id));
    submit(r, op);
}

/* --- What is to go ------------------------------------------------------- */

/* The IDs that the configuration defines, their ASCII case folded. */
struct defined {
    struct map services, checks;
    struct arena arena; /* the keys */
    struct buf folded;
    bool bad; /* out of memory: some are missing */
};

static struct bytes fold(struct defined *d, struct bytes id)
{
    buf_reset(&d->folded);
    buf_put_fold(&d->folded, id);
    d->bad |= d->folded.bad;
    return buf_bytes(&d->folded);
}

static void define(struct defined *d, struct map *m, struct bytes id)
{
    struct bytes key = arena_copy(&d->arena, fold(d, id));

    if (!key.p || map_put(m, key, m) != ERR_OK)
        d->bad = true;
}

static void define_op(struct defined *d, const struct agent_op *op)
{
    for (; op; op = op->then) {
        if (op->service.id.n)
            define(d, &d->services, op->service.id);
        for (size_t k = 0; k < op->check_count; k++)
            define(d, &d->checks, op->checks[k].id);
    }
}

static void defined_init(struct defined *d, const struct settings *s)
{
    *d = (struct defined){0};
    arena_init(&d->arena, 0);
    for (size_t i = 0; i < s->op_count; i++)
        define_op(d, s->ops[i]);
}

static void defined_fini(struct defined *d)
{
    map_fini(&d->services);
    map_fini(&d->checks);
    arena_fini(&d->arena);
    buf_fini(&d->folded);
}

static bool service_goes(struct defined *d, const struct local_service *v)
{
    return v && v->from_config && !map_get(&d->services, fold(d, v->view.id));
}

/* A service takes its checks along. */
static bool check_goes(struct defined *d, const struct local_snapshot *l,
                       const struct local_check *k)
{
    return k->from_config && !map_get(&d->checks, fold(d, k->def.id)) &&
           !service_goes(d, local_service(l, k->def.service_id));
}

/* Dropping a service publishes: what is left of a walk would be of the past. So
 * all IDs first. */
static void drop_left(struct reload *r)
{
    const struct local_snapshot *l = local_current(r->core->process->local);
    struct buf services = {0}, checks = {0};
    struct defined d;
    struct tree_iter it;
    struct bytes rest, id;

    defined_init(&d, r->now);
    local_services(l, &it);
    for (const struct local_service *v; (v = local_next_service(&it));)
        if (service_goes(&d, v))
            buf_lp(&services, v->view.id);
    local_checks(l, &it);
    for (const struct local_check *k; (k = local_next_check(&it));)
        if (check_goes(&d, l, k))
            buf_lp(&checks, k->def.id);
    bool bad = d.bad || services.bad || checks.bad;
    defined_fini(&d);
    if (bad)
        log_error("config", "out of memory: what left the configuration stays "
                            "until the next reload");
    rest = buf_bytes(&services);
    while (!bad && packed_next(&rest, &id))
        drop(r, AGENT_DEREGISTER_SERVICE, id);
    rest = buf_bytes(&checks);
    while (!bad && packed_next(&rest, &id))
        drop(r, AGENT_DEREGISTER_CHECK, id);
    buf_fini(&services);
    buf_fini(&checks);
}

/* Nothing is made for watches until there are some. */
static void set_watches(struct reload *r)
{
    struct core *c = r->core;
    const struct settings *s = r->now;

    if (!c->watches && s->watch_count && !(c->watches = watches_new(c))) {
        log_error("watch", "no watch runs: there are too many threads");
        return;
    }
    if (c->watches)
        watches_set(c->watches, s->watches, s->watch_count, s->datacenter);
}

static void put_all(struct reload *r)
{
    struct settings *s = r->now;
    size_t n = s->op_count;

    s->op_count = 0; /* the agent's from here on */
    for (size_t i = 0; i < n; i++)
        submit(r, s->ops[i]);
}

/* --- One reload ---------------------------------------------------------- */

static void answer(struct list *ops, int status, const char *text)
{
    while (!list_empty(ops)) {
        struct agent_op *op = container_of(ops->next, struct agent_op, link);
        list_del(&op->link);
        op->http_status = status;
        errtext_set(&op->text, "%s", text);
        op->done(op);
    }
}

static void read_again(struct reload *r)
{
    struct errtext t = {{0}};

    log_info("server", "reloading the configuration");
    notify_manager("RELOADING=1");
    r->asked = false;
    list_move_all(&r->served, &r->waiting);
    if (r->read(&r->now, &t) == ERR_OK) {
        r->changed(r->now);
        live_apply(r->core, r->now);
        r->owned = true;
        r->step = RELOAD_DROP;
        return;
    }
    log_error("config", "not reloaded, all stays as it was: error=\"%s\"", t.s);
    answer(&r->served, 500, t.s);
    notify_manager("READY=1");
}

static void finish(struct reload *r)
{
    set_watches(r);
    if (r->owned) {
        log_info("config", "reloaded");
        notify_manager("READY=1");
        r->drop(r->now);
    }
    r->now = NULL;
    r->owned = false;
    r->step = RELOAD_IDLE;
    answer(&r->served, 200, "");
}

/* The definitions' ops may be answered at once: one that is ours is in the air
 * for as long as a step submits. */
static void run_step(struct reload *r, void (*step)(struct reload *r))
{
    r->flying = 1;
    step(r);
    r->flying--;
}

/* Nothing of the step before is in the air. */
static void step_on(struct reload *r)
{
    while (r->open && r->flying == 0) {
        switch (r->step) {
        case RELOAD_IDLE:
            if (!r->asked && list_empty(&r->waiting))
                return;
            read_again(r);
            break;
        case RELOAD_DROP:
            r->step = RELOAD_PUT;
            run_step(r, drop_left);
            break;
        case RELOAD_PUT:
            if (r->now->op_count)
                run_step(r, put_all);
            else
                finish(r);
            break;
        }
    }
}

void reload_ask(struct reload *r, struct agent_op *take)
{
    if (take)
        list_add(&r->waiting, &take->link);
    else
        r->asked = true;
    step_on(r);
}

void reload_begin(struct reload *r, struct settings *s)
{
    r->open = true;
    r->now = s;
    r->step = RELOAD_PUT;
    step_on(r);
}

void reload_close(struct reload *r)
{
    r->open = false;
    r->asked = false;
    answer(&r->served, 500, "agent is shutting down");
    answer(&r->waiting, 500, "agent is shutting down");
    if (r->owned)
        r->drop(r->now);
    r->now = NULL;
    r->owned = false;
}
