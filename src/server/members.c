/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/members.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"

/* --- What it is to be ----------------------------------------------------- */

int members_peer_port(const struct settings *s)
{
    for (size_t i = 0; i < s->listener_count; i++)
        if (s->listeners[i].peers)
            return s->listeners[i].port;
    return 0;
}

struct joins_rule members_join_rule(const struct settings *s)
{
    return (struct joins_rule){.at_once = s->peers.start_count > 0,
                               .retry_ms = s->peers.retry_ms,
                               .attempts_max = s->peers.attempts_max};
}

static void give_up(void *ctx, const char *why)
{
    const struct process *p = ctx;

    p->core->options.give_up(p->core->options.ctx, why);
}

static bool node_of(void *ctx, struct bytes id, char *ret, size_t n)
{
    struct process *p = ctx;
    const struct cat_node *node =
        snapshot_node_by_id(catalog_current(p->catalog), id);
    struct node_view v;

    if (!node || !node->record)
        return false;
    cat_node_view(node->record, &v);
    if (v.name.n >= n)
        return false;
    memcpy(ret, v.name.p, v.name.n);
    ret[v.name.n] = 0;
    return true;
}

static void publish(void *ctx);

enum err members_open(const struct settings *s, struct process *p,
                      struct errtext *t)
{
    const struct run_peers *peers = &s->peers;
    bool alone = peers->bootstrap || s->store || !s->is_server;

    if (!s->data_dir)
        return ERR_OK;
    bool has = cluster_is_in(s->data_dir);
    if (!has && (alone || (peers->expect < 2 && peers->join_count == 0)))
        return ERR_OK;
    const struct cluster_options o = {
        .node_id = p->self.node_id.p,
        .node_name = s->node_name,
        .datacenter = s->datacenter,
        .version = MUSTER_VERSION,
        .bind_addr = s->bind_addr,
        .address = s->advertise_addr,
        .peer_port = members_peer_port(s),
        .server_port = s->server_port,
        .data_dir = s->data_dir,
        .secret = peers->secret,
        .psk = peers->secret.n ? &peers->psk : NULL,
        .join = peers->join,
        .join_count = peers->join_count,
        .join_rule = members_join_rule(s),
        .give_up = give_up,
        .expect = peers->expect,
        .quota = peers->quota,
        .alone = alone,
        .changed = publish,
        .node_of = node_of,
        .ctx = p,
    };
    enum err e = cluster_open(&o, &p->members, t);
    if (e == ERR_OK && o.peer_port == 0) {
        errtext_set(t, "this server is to be one of several, and has no "
                       "listener for the others: set ports.serf_lan, and "
                       "encrypt or a bind_addr on loopback");
        e = ERR_BAD;
    }
    return e;
}

/* --- What everybody sees -------------------------------------------------- */

/* One block: the struct, the servers, then all text. */
struct block {
    struct api_cluster cluster;
    struct api_server servers[CLUSTER_MEMBERS_MAX];
    struct cluster_view view; /* what the texts of the others point to */
};

static struct block *block_new(const struct cluster_view *v)
{
    struct block *b = xzalloc(sizeof *b);

    b->view = *v;
    b->cluster = (struct api_cluster){
        .managed = true,
        .fresh = v->fresh,
        .phase = v->phase,
        .id = bytes_str(b->view.id),
        .token = bytes_str(b->view.token),
        .expect = v->expect,
        .store_index = v->store_index,
        .store_term = v->store_term,
        .store_size = v->store_size,
        .store_used = v->store_used,
        .disk_free = v->disk_free,
        .disk_full = v->disk_full,
        .servers = b->servers,
        .server_count = v->count,
    };
    for (size_t i = 0; i < v->count; i++) {
        const struct cluster_server *s = &b->view.servers[i];
        b->servers[i] = (struct api_server){
            .id = bytes_str(s->id),
            .node = bytes_str(s->node),
            .version = bytes_str(s->version),
            .muster_version = bytes_str(s->muster_version),
            .address = bytes_str(s->address),
            .peer_port = s->peer_port,
            .server_port = s->server_port,
            .self = s->self,
            .leader = s->leader,
            .voter = s->voter,
            .alive = s->alive,
            .contact_ms = s->contact_ms,
            .store_index = s->store_index,
            .store_term = s->store_term,
            .disk_free = s->disk_free,
            .disk_full = s->disk_full,
        };
    }
    return b;
}

static struct block *block_of(const struct api_cluster *cl)
{
    return container_of((struct api_cluster *)(uintptr_t)cl, struct block,
                        cluster);
}

static void publish(void *ctx)
{
    struct process *p = ctx;
    const struct api_cluster *old = atomic_load(&p->cluster);
    const struct cluster_view *v = cluster_view(p->members);

    if (old && memcmp(&block_of(old)->view, v, sizeof *v) == 0)
        return;
    atomic_store(&p->cluster, &block_new(v)->cluster);
    if (!old)
        return;
    pin_retire(&p->pins, block_of(old), sizeof(struct block));
    pin_publish(&p->pins);
}

void members_begin(struct core *c)
{
    struct process *p = c->process;

    if (!p->members)
        return;
    cluster_start(p->members, c->loop);
    publish(p);
}

void members_stop(struct core *c)
{
    if (c->process->members)
        cluster_stop(c->process->members);
}

void members_fini(struct process *p)
{
    const struct api_cluster *cl = atomic_load(&p->cluster);

    if (cl)
        free(block_of(cl));
    atomic_store(&p->cluster, NULL);
    cluster_fini(p->members);
    p->members = NULL;
}

/* --- What is asked of it -------------------------------------------------- */

struct wanted {
    struct cluster_request request;
    struct agent_op *op;
};

static void on_done(struct cluster_request *r)
{
    struct wanted *w = container_of(r, struct wanted, request);
    struct agent_op *op = w->op;

    op->http_status = r->status;
    op->text = r->text;
    if (r->answer.n)
        op->answer = arena_copy(&op->arena, buf_bytes(&r->answer));
    buf_fini(&r->answer);
    free(w);
    op->done(op);
}

static enum cluster_ask what_of(enum agent_op_kind kind)
{
    return kind == AGENT_PEER_LOCK         ? CLUSTER_LOCK
           : kind == AGENT_PEER_JOIN       ? CLUSTER_JOIN
           : kind == AGENT_PEER_DEFRAGMENT ? CLUSTER_DEFRAGMENT
                                           : CLUSTER_REMOVE;
}

void members_op(struct core *c, struct agent_op *take)
{
    struct cluster *members = c->process->members;

    if (!members) {
        take->http_status = take->kind == AGENT_RAFT_REMOVE ? 500 : 409;
        errtext_set(&take->text,
                    "this server keeps no store together with others");
        take->done(take);
        return;
    }
    struct wanted *w = xzalloc(sizeof *w);
    w->op = take;
    w->request = (struct cluster_request){
        .what = what_of(take->kind),
        .body = take->output,
        .id = take->id,
        .address = take->reason,
        .done = on_done,
    };
    cluster_request(members, &w->request);
}

/* --- Leaving -------------------------------------------------------------- */

bool members_may_leave(const struct core *c, struct errtext *t)
{
    return !c->process->members ||
           cluster_may_leave(c->process->members, t) == ERR_OK;
}

struct leaving {
    struct cluster_request request;
    void (*left)(void *ctx);
    void *ctx;
};

static void on_leave(struct cluster_request *r)
{
    struct leaving *l = container_of(r, struct leaving, request);
    void (*left)(void *ctx) = l->left;
    void *ctx = l->ctx;

    if (r->status != 200)
        log_warn("cluster", "this server stays a member of the cluster: %s",
                 r->text.s);
    buf_fini(&r->answer);
    free(l);
    left(ctx);
}

void members_leave(struct core *c, void (*left)(void *ctx), void *ctx)
{
    if (!c->process->members) {
        left(ctx);
        return;
    }
    struct leaving *l = xzalloc(sizeof *l);
    l->left = left;
    l->ctx = ctx;
    l->request =
        (struct cluster_request){.what = CLUSTER_LEAVE, .done = on_leave};
    cluster_request(c->process->members, &l->request);
}
