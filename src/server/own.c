/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* The own node in the catalog: its record, the check serfHealth, and on servers
 * the service "consul" (clients look for both). Registered before anybody is
 * told that there is a leader, and again whenever somebody removes or changes
 * it. */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "catalog/wish.h"
#include "cluster/cluster.h"
#include "server/core.h"

enum { OWN_RETRY_MS = 1000 };

struct own {
    struct core *core;
    struct core_letter letter;
    struct store_change change;
    struct store_outcome outcome;
    struct arena arena;
    struct plan plan;
    struct timer retry;
    struct buf service_meta;
    uint32_t service_meta_count;
    bool under_way;
    void (*left)(void *ctx); /* leaving: to call at the end */
    void *left_ctx;
};

static void own_register(struct core *c);

static void retry_fire(struct timer *t)
{
    own_register(container_of(t, struct own, retry)->core);
}

enum err own_new(struct core *c)
{
    struct own *o = xzalloc(sizeof *o);
    o->core = c;
    list_init(&o->letter.link);
    arena_init(&o->arena, 1 << 20);
    o->retry.fire = retry_fire;
    buf_init(&o->service_meta, 0);
    if (c->options.peer_port > 0) {
        char port[16];
        snprintf(port, sizeof port, "%d", c->options.peer_port);
        packed_put_pair(&o->service_meta, bytes_str(API_PEER_PORT),
                        bytes_str(port));
        o->service_meta_count++;
    }
    o->service_meta_count += 6;
    packed_put_pair(&o->service_meta, bytes_str("non_voter"),
                    bytes_str("false"));
    packed_put_pair(&o->service_meta, bytes_str("raft_version"),
                    bytes_str("3"));
    packed_put_pair(&o->service_meta, bytes_str("serf_protocol_current"),
                    bytes_str("2"));
    packed_put_pair(&o->service_meta, bytes_str("serf_protocol_max"),
                    bytes_str("5"));
    packed_put_pair(&o->service_meta, bytes_str("serf_protocol_min"),
                    bytes_str("1"));
    packed_put_pair(&o->service_meta, bytes_str("version"),
                    c->process->self.version);
    c->own = o;
    return o->service_meta.bad ? ERR_NOMEM : ERR_OK;
}

void own_identity(struct core *c)
{
    const struct api_self *self = &c->process->self;
    c->me = (struct local_identity){
        .node = {.name = self->node_name,
                 .id = self->node_id,
                 .address = self->advertise_address,
                 .tagged = self->tagged,
                 .tagged_set = true,
                 .meta = atomic_load(&c->process->live)->node_meta,
                 .meta_set = true},
        .keep_service = bytes_str(self->is_server ? "consul" : ""),
        .keep_check = bytes_str("serfHealth"),
        .guard = atomic_load(&c->process->live)->guard,
    };
    c->own_hash[0] =
        watch_hash((struct watch_key){WATCH_NODE, self->node_name});
    c->own_hash[1] =
        watch_hash((struct watch_key){WATCH_NODE_CHECKS, self->node_name});
}

void own_free(struct core *c)
{
    if (!c->own)
        return;
    timer_clear(&c->timers, &c->own->retry);
    arena_fini(&c->own->arena);
    buf_fini(&c->own->service_meta);
    free(c->own);
    c->own = NULL;
}

static void own_deregister(struct core *c);
static void own_gone(struct core *c);

static void own_settled(struct core *c, struct core_letter *l)
{
    struct own *o = container_of(l, struct own, letter);
    o->under_way = false;
    if (c->stopping)
        return; /* the store is closed */
    if (c->leaving) {
        /* Refused or not reachable: it would not be otherwise a second time. */
        if (o->outcome.verdict == STORE_COMMITTED ||
            o->outcome.verdict == STORE_CONFLICT)
            own_deregister(c);
        else
            own_gone(c);
        return;
    }
    switch (o->outcome.verdict) {
    case STORE_COMMITTED:
    case STORE_CONFLICT:
        /* The feed came first: what was written is in our catalog. From a
         * server it comes a little later, and then we are told. */
        if (c->link)
            timer_set(&c->timers, &o->retry, OWN_RETRY_MS);
        else
            own_register(c);
        break;
    case STORE_REFUSED:
    case STORE_UNAVAILABLE:
        log_warn("server",
                 "the own node cannot be registered, trying again: "
                 "error=\"%s\"",
                 o->outcome.text.s[0] ? o->outcome.text.s
                                      : err_text(o->outcome.why));
        timer_set(&c->timers, &o->retry, OWN_RETRY_MS);
        break;
    }
}

/* On the store thread. */
static void own_done(struct store_change *ch, const struct store_outcome *out)
{
    struct own *o = container_of(ch, struct own, change);
    o->outcome = *out;
    o->letter.run = own_settled;
    core_post(o->core, &o->letter);
}

static void own_submit(struct own *o)
{
    o->change = (struct store_change){
        .guards = o->plan.guards,
        .guard_count = o->plan.guard_count,
        .ops = o->plan.ops,
        .op_count = o->plan.op_count,
        .meta = bytes_str("own node"),
        .done = own_done,
    };
    struct errtext t = {{0}};
    enum err e = core_submit(o->core, &o->change, &t);
    if (e == ERR_OK) {
        o->under_way = true;
        return;
    }
    log_warn("server",
             "the own node cannot be registered, trying again: "
             "error=\"%s %s\"",
             err_text(e), t.s);
    timer_set(&o->core->timers, &o->retry, OWN_RETRY_MS);
}

/* The name is still a server's that was one of the store's members and is none
 * any more: this one takes its place. */
static bool own_name_is_free(struct core *c)
{
    const struct cluster_view *v =
        c->process->members ? cluster_view(c->process->members) : NULL;
    const struct cat_node *n = snapshot_node(
        catalog_current(c->process->catalog), c->process->self.node_name);
    struct node_view node;

    if (!v || v->fresh || v->count == 0 || !n || !n->record)
        return false;
    cat_node_view(n->record, &node);
    if (node.id.n == 0 || bytes_eq(node.id, c->process->self.node_id))
        return false;
    for (size_t i = 0; i < v->count; i++)
        if (bytes_is(node.id, v->servers[i].id))
            return false;
    log_info("server", "takes the place of a server of its name: id=%.*s",
             BYTES_ARG(node.id));
    return true;
}

static void begin_plan(struct own *o)
{
    if (o->core->link)
        wishes_begin(&o->plan, &o->arena);
    else
        plan_init(&o->plan, &o->arena);
}

static enum err own_plan(struct core *c, struct errtext *t)
{
    struct own *o = c->own;
    const struct api_self *self = &c->process->self;
    struct service_view service = {
        .id = bytes_str("consul"),
        .name = bytes_str("consul"),
        .port = self->server_port,
        .weight_passing = 1,
        .weight_warning = 1,
        .meta = {buf_bytes(&o->service_meta), o->service_meta_count},
        .meta_set = true,
    };
    struct check_view check = {
        .id = bytes_str("serfHealth"),
        .name = bytes_str("Serf Health Status"),
        .status = bytes_str("passing"),
        .output = bytes_str("Agent alive and reachable"),
    };
    struct registration r = {
        .node = c->me.node,
        .service = self->is_server ? &service : NULL,
        .checks = &check,
        .check_count = 1,
    };
    arena_reset(&o->arena);
    begin_plan(o);
    /* The first revision of a new store is nobody's: clients (Consul's own test
     * harness among them) take an index below 2 for "nothing there yet". */
    if (snapshot_revision(catalog_current(c->process->catalog)) == 0)
        return ERR_OK;
    if (own_name_is_free(c))
        return plan_deregister(&o->plan, catalog_current(c->process->catalog),
                               self->node_name, (struct bytes){0},
                               (struct bytes){0}, t);
    return plan_register(&o->plan, catalog_current(c->process->catalog), &r, t);
}

static void own_register(struct core *c)
{
    struct own *o = c->own;
    if (o->under_way || !c->loaded || c->stopping || c->leaving)
        return;
    struct errtext t = {{0}};
    enum err e = own_plan(c, &t);
    if (e != ERR_OK) {
        log_error("server", "the own node cannot be registered: error=\"%s\"",
                  t.s);
        timer_set(&c->timers, &o->retry, OWN_RETRY_MS);
    } else if (o->plan.op_count > 0 ||
               snapshot_revision(catalog_current(c->process->catalog)) == 0) {
        own_submit(o);
    } else if (!atomic_exchange(&c->process->ready, true)) {
        log_info("server", "ready: node=%.*s datacenter=%.*s",
                 BYTES_ARG(c->process->self.node_name),
                 BYTES_ARG(c->process->self.datacenter));
        agent_catalog_published(c->agent, true);
        if (c->options.ready && !c->told_ready)
            c->options.ready(c->options.ctx);
        c->told_ready = true;
    }
}

void own_published(struct core *c)
{
    own_register(c);
}

/* --- Leaving ------------------------------------------------------------- */

static void own_gone(struct core *c)
{
    struct own *o = c->own;
    void (*left)(void *ctx) = o->left;
    o->left = NULL;
    if (left)
        left(o->left_ctx);
}

/* Again after a conflict, until nothing of the node is left or it fails. */
static void own_deregister(struct core *c)
{
    struct own *o = c->own;
    struct errtext t = {{0}};
    if (o->under_way)
        return;
    arena_reset(&o->arena);
    begin_plan(o);
    enum err e = plan_deregister(&o->plan, catalog_current(c->process->catalog),
                                 c->process->self.node_name, (struct bytes){0},
                                 (struct bytes){0}, &t);
    if (e == ERR_OK && o->plan.op_count == 0) {
        own_gone(c);
        return;
    }
    if (e == ERR_OK)
        own_submit(o);
    if (!o->under_way) {
        log_warn("server", "the own node stays in the catalog: error=\"%s\"",
                 t.s[0] ? t.s : err_text(e));
        own_gone(c);
    }
}

void own_leave(struct core *c, void (*left)(void *ctx), void *ctx)
{
    struct own *o = c->own;
    if (c->leaving)
        return;
    c->leaving = true;
    timer_clear(&c->timers, &o->retry);
    o->left = left;
    o->left_ctx = ctx;
    own_deregister(c);
}
