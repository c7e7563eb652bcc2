/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "cluster/cluster.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/log.h"
#include "cluster/impl.h"

static const char record_name[] = "cluster.json";

uint64_t cluster_now(const struct cluster *c)
{
    return uv_now(c->loop);
}

const char *cluster_socket(const struct cluster *c)
{
    return c->socket;
}

const struct cluster_view *cluster_view(const struct cluster *c)
{
    return &c->view;
}

bool cluster_save(struct cluster *c, const struct record *next)
{
    struct errtext t = {{0}};

    if (record_write(c->record_path, next, &t) != ERR_OK) {
        log_error("cluster", "%s", t.s);
        return false;
    }
    c->record = *next;
    return true;
}

void cluster_waits(struct cluster *c, const char *why)
{
    if (strcmp(c->waits_for, why) == 0)
        return;
    (void)text_take(c->waits_for, sizeof c->waits_for, bytes_str(why));
    log_info("cluster", "waits: %s", why);
}

void cluster_changed(struct cluster *c)
{
    member_view(c);
    if (!c->stopping)
        c->options.changed(c->options.ctx);
}

/* --- Opening -------------------------------------------------------------- */

static bool exists(const char *folder, const char *name)
{
    char path[4096];
    struct stat st;

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return stat(path, &st) == 0;
}

bool cluster_is_in(const char *data_dir)
{
    return exists(data_dir, record_name) ||
           exists(data_dir, "etcd/data/member");
}

static enum err refuse_record(const struct cluster *c, struct errtext *t)
{
    const struct cluster_options *o = &c->options;
    const struct record *r = &c->record;
    bool data = exists(c->folder, "data/member");

    if (r->state == RECORD_NONE && data)
        errtext_set(t,
                    "%s holds the data of a cluster, but %s is missing: put it "
                    "back, or remove the folder to join anew",
                    c->folder, c->record_path);
    else if (r->state == RECORD_NONE)
        return ERR_OK;
    else if (strcmp(r->node_id, o->node_id) != 0)
        errtext_set(t,
                    "data_dir %s belongs to node %s (%s), this is %s (%s): "
                    "give each server a folder of its own",
                    o->data_dir, r->node, r->node_id, o->node_name, o->node_id);
    else if (strcmp(r->datacenter, o->datacenter) != 0)
        errtext_set(t,
                    "data_dir %s belongs to a server of datacenter %s, and "
                    "datacenter is %s",
                    o->data_dir, r->datacenter, o->datacenter);
    else if (strcmp(r->url, c->url) != 0)
        errtext_set(t,
                    "the other servers reach this one at %s, and now it would "
                    "be at %s: change it back, or remove it there (muster "
                    "operator raft remove-peer -id=%s) and join anew",
                    r->url, c->url, r->node_id);
    else if (r->ran && !data)
        errtext_set(t,
                    "the data of this member is gone (%s/data): to replace it, "
                    "muster operator raft remove-peer -id=%s on another "
                    "server, then remove %s here",
                    c->folder, r->node_id, c->record_path);
    else if (o->alone)
        errtext_set(t,
                    "data_dir %s holds a member of a cluster of servers, and "
                    "this server is to be alone (bootstrap or store): leave "
                    "that out, or use another data_dir",
                    o->data_dir);
    else
        return ERR_OK;
    return ERR_BAD;
}

static enum err refuse_options(const struct cluster *c, struct errtext *t)
{
    const struct cluster_options *o = &c->options;

    if (o->alone)
        return ERR_OK;
    if (o->expect > GATHER_EXPECT_MAX) {
        errtext_set(t,
                    "bootstrap_expect = %llu: at most %d servers form a "
                    "cluster; more can join it",
                    (unsigned long long)o->expect, GATHER_EXPECT_MAX);
        return ERR_LIMIT;
    }
    if (strlen(c->socket) >= sizeof((struct sockaddr_un *)0)->sun_path) {
        errtext_set(t, "data_dir %s is too long: %s must be under %zu bytes",
                    o->data_dir, c->socket,
                    sizeof((struct sockaddr_un *)0)->sun_path);
        return ERR_LIMIT;
    }
    if (!child_is_installed()) {
        errtext_set(t, "several servers keep their catalog in etcd, which is "
                       "not installed (Debian: apt install etcd-server)");
        return ERR_BAD;
    }
    return ERR_OK;
}

static void cluster_free(struct cluster *c)
{
    free(c->record_path);
    free(c->folder);
    free(c->socket);
    free(c);
}

/* asprintf that aborts. */
static char *path_in(const char *folder, const char *name)
{
    struct buf b = {0};

    buf_puts(&b, folder);
    buf_putc(&b, '/');
    buf_puts(&b, name);
    buf_putc(&b, '\0');
    char *p = buf_take(&b, NULL);
    require(p);
    return p;
}

/* etcd runs in a folder of its own: a relative path would mean another one. */
static char *absolute(const char *path)
{
    char *full = realpath(path, NULL);

    return full ? full : xstrdup(path);
}

enum err cluster_open(const struct cluster_options *o, struct cluster **ret,
                      struct errtext *t)
{
    struct cluster *c = xzalloc(sizeof *c);
    char at[300];

    c->options = *o;
    char *folder = absolute(o->data_dir);
    c->record_path = path_in(folder, record_name);
    c->folder = path_in(folder, "etcd");
    c->socket = path_in(c->folder, "client:0");
    free(folder);
    list_init(&c->requests);
    list_init(&c->owed);
    net_host_port(at, sizeof at, bytes_str(o->address),
                  (uint64_t)o->server_port);
    (void)snprintf(c->url, sizeof c->url, "%s://%s",
                   o->secret.n ? "https" : "http", at);
    c->child.cluster = c;
    enum err e = record_read(c->record_path, &c->record, t);
    if (e == ERR_OK)
        e = refuse_record(c, t);
    if (e == ERR_OK)
        e = refuse_options(c, t);
    if (e != ERR_OK) {
        cluster_free(c);
        return e;
    }
    *ret = c;
    return ERR_OK;
}

/* --- The tick ------------------------------------------------------------- */

static void self_as(const struct cluster *c, struct gather_server *s)
{
    const struct cluster_options *o = &c->options;

    *s = (struct gather_server){
        .peer_port = (uint16_t)o->peer_port,
        .server_port = (uint16_t)o->server_port,
        .expect = o->expect,
        .phase = GATHER_FRESH,
    };
    (void)text_take(s->id, sizeof s->id, bytes_str(o->node_id));
    (void)text_take(s->node, sizeof s->node, bytes_str(o->node_name));
    (void)text_take(s->address, sizeof s->address, bytes_str(o->address));
    for (size_t i = 0; i < c->view.count && i < CLUSTER_MEMBERS_MAX; i++)
        (void)text_take(s->sees[s->sees_count++], GATHER_ID_BYTES,
                        bytes_str(c->view.servers[i].id));
}

/* Servers that were heard lately, each once. */
static size_t heard(const struct cluster *c, struct gather_server *ret)
{
    size_t n = 0;

    for (size_t i = 0; i < c->asked_count; i++) {
        const struct asked *a = &c->asked[i];
        bool twice = false;

        if (!asked_is_new(c, a, FRESH_MS))
            continue;
        for (size_t k = 0; k < n; k++)
            twice |= strcmp(ret[k].id, a->last.id) == 0;
        if (!twice && n < GATHER_SEEN_MAX)
            ret[n++] = a->last;
    }
    return n;
}

/* Nobody of those to be joined answers, and nobody is to be waited for. */
static bool give_up(struct cluster *c)
{
    bool tried = !joins_wait(c->joins);
    struct errtext t;

    for (size_t i = 0; i < c->asked_count; i++)
        tried &= !c->asked[i].given || c->asked[i].tried;
    if (c->given_up || c->answered || c->options.join_count == 0 ||
        !joins_is_over(&c->options.join_rule, cluster_now(c) - c->begun_ms,
                       tried, &t))
        return c->given_up;
    c->given_up = true;
    c->options.give_up(c->options.ctx, t.s);
    return true;
}

static void look_for_names(struct cluster *c)
{
    if (c->looked_ms && cluster_now(c) - c->looked_ms < NAMES_MS)
        return;
    c->looked_ms = cluster_now(c);
    joins_look(c->joins);
}

static void gather_tick(struct cluster *c)
{
    static struct gather_server others[GATHER_SEEN_MAX]; /* large */
    struct gather_server self;
    struct gather_plan p;

    member_view(c);
    self_as(c, &self);
    gather_decide(&self, others, heard(c, others), &p);
    switch (p.next) {
    case GATHER_WAIT:
        cluster_waits(c, p.why.s);
        break;
    case GATHER_PROPOSE:
        lock_propose(c, &p);
        break;
    case GATHER_JOIN:
        change_enter(c, p.whom);
        break;
    }
}

static void on_tick(struct timer *t)
{
    struct cluster *c = container_of(t, struct cluster, tick);
    uint64_t next_ms = TICK_GATHER_MS;

    if (c->stopping)
        return;
    look_for_names(c);
    ask_all(c);
    switch (c->phase) {
    case GATHERING:
        if (!give_up(c))
            gather_tick(c);
        break;
    case LOCKED:
        lock_tick(c);
        break;
    case STARTED:
        disk_tick(c);
        member_tick(c);
        if (c->store.answered && c->store.leader && !c->store.is_learner)
            next_ms = TICK_RUN_MS;
        break;
    case REMOVED:
        next_ms = TICK_RUN_MS;
        break;
    }
    cluster_changed(c);
    timer_set(c->timers, &c->tick, next_ms);
}

void cluster_run(struct cluster *c)
{
    c->phase = STARTED;
    c->waits_for[0] = 0;
    child_start(c);
    cluster_changed(c);
}

static void found(void *ctx, const char *address)
{
    (void)ask_add(ctx, address, true);
}

void cluster_start(struct cluster *c, uv_loop_t *loop)
{
    c->loop = loop;
    c->timers = &c->own_timers;
    require(timers_init(c->timers, loop) == ERR_OK);
    require(peers_new(loop, c->options.psk, &c->peers) == ERR_OK);
    require(fetcher_new(loop, &c->etcd) == ERR_OK);
    c->begun_ms = cluster_now(c);
    require(joins_new(&(struct joins_options){.loop = loop,
                                              .timers = c->timers,
                                              .to = c->options.join,
                                              .count = c->options.join_count,
                                              .found = found,
                                              .ctx = c},
                      &c->joins) == ERR_OK);
    c->phase = c->record.state == RECORD_LOCKED   ? LOCKED
               : c->record.state == RECORD_MEMBER ? STARTED
                                                  : GATHERING;
    for (size_t i = 0; i < c->record.set_count; i++) {
        const struct set_server *s = &c->record.set[i];
        char to[300];

        net_host_port(to, sizeof to, bytes_str(s->address),
                      (uint64_t)s->peer_port);
        if (strcmp(s->id, c->options.node_id) != 0)
            (void)ask_add(c, to, false);
    }
    c->tick.fire = on_tick;
    timer_set(c->timers, &c->tick, 1);
    if (c->phase == STARTED)
        child_start(c);
    member_view(c);
}

/* --- The end -------------------------------------------------------------- */

void cluster_stop(struct cluster *c)
{
    c->stopping = true;
    timer_clear(c->timers, &c->tick);
    while (!list_empty(&c->requests))
        request_done(
            c, container_of(c->requests.next, struct cluster_request, link),
            500, "this server stops");
    peers_close(c->peers);
    joins_close(c->joins);
    c->joins = NULL;
    fetcher_close(c->etcd);
    child_stop(c);
    if (!c->child.open)
        timers_close(c->timers);
}

void cluster_fini(struct cluster *c)
{
    if (!c)
        return;
    while (!list_empty(&c->owed))
        owed_free(container_of(c->owed.next, struct owed, link));
    cluster_free(c);
}

void *owed_new(struct cluster *c, size_t n)
{
    struct owed *o = xzalloc(n);

    list_add(&c->owed, &o->link);
    return o;
}

void owed_free(struct owed *o)
{
    list_del(&o->link);
    free(o);
}

/* --- What is asked of us -------------------------------------------------- */

void request_done(struct cluster *c, struct cluster_request *r, int status,
                  const char *fmt, ...)
{
    va_list args;

    (void)c;
    list_del(&r->link);
    va_start(args, fmt);
    (void)vsnprintf(r->text.s, sizeof r->text.s, fmt, args);
    va_end(args);
    r->status = status;
    r->done(r);
}

void cluster_request(struct cluster *c, struct cluster_request *r)
{
    list_init(&r->link);
    if (c->stopping) {
        request_done(c, r, 500, "this server stops");
        return;
    }
    list_add(&c->requests, &r->link);
    switch (r->what) {
    case CLUSTER_LOCK:
        lock_asked(c, r);
        break;
    case CLUSTER_JOIN:
        change_join(c, r);
        break;
    case CLUSTER_REMOVE:
        change_remove(c, r);
        break;
    case CLUSTER_LEAVE:
        leave_asked(c, r);
        break;
    case CLUSTER_DEFRAGMENT:
        change_defragment(c, r);
        break;
    }
}
