/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Who is in the store, and who of them is there: the own etcd tells the first,
 * each tick, the servers' hellos the second. A member that has caught up is
 * promoted by the server whose etcd leads. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "cluster/impl.h"
#include "loop/fetch.h"

enum { ANSWER_MAX = 1 << 20 };

static enum err call(struct cluster *c, const char *path, struct bytes body,
                     uint32_t timeout_ms,
                     void (*done)(void *ctx, const struct fetch_result *r),
                     void *ctx)
{
    char url[128];

    (void)snprintf(url, sizeof url, "http://localhost/v3/%s", path);
    const struct fetch_options o = {
        .method = "POST",
        .url = url,
        .unix_path = c->socket,
        .body = body,
        .timeout_ms = timeout_ms,
        .keep_connection = true,
        .body_keep_bytes = ANSWER_MAX,
        .body_refuse_larger = true,
    };
    return fetch_start(c->etcd, &o, done, ctx, NULL);
}

enum err member_call(struct cluster *c, const char *path, struct bytes body,
                     void (*done)(void *ctx, const struct fetch_result *r),
                     void *ctx)
{
    return call(c, path, body, CALL_MS, done, ctx);
}

enum err member_long_call(struct cluster *c, const char *path,
                          struct bytes body,
                          void (*done)(void *ctx, const struct fetch_result *r),
                          void *ctx)
{
    return call(c, path, body, LONG_MS, done, ctx);
}

const struct etcd_member *member_by_id(const struct cluster *c, const char *id)
{
    for (size_t i = 0; i < c->store.count; i++)
        if (strcmp(c->store.members[i].id, id) == 0)
            return &c->store.members[i];
    return NULL;
}

/* As it said itself, as the catalog has it, as it was when the set was made. */
bool member_name(const struct cluster *c, const struct etcd_member *m,
                 char *ret, size_t n)
{
    const struct cluster_options *o = &c->options;
    const struct asked *a = asked_by_id((struct cluster *)(uintptr_t)c, m->id);

    if (m->id[0] && strcmp(m->id, o->node_id) == 0)
        return text_take(ret, n, bytes_str(o->node_name));
    if (m->id[0] && a)
        return text_take(ret, n, bytes_str(a->last.node));
    if (m->id[0] && o->node_of(o->ctx, bytes_str(m->id), ret, n))
        return true;
    for (size_t i = 0; i < c->record.set_count; i++)
        if (m->id[0] && strcmp(c->record.set[i].id, m->id) == 0)
            return text_take(ret, n, bytes_str(c->record.set[i].node));
    *ret = 0;
    return false;
}

bool member_is_alive(const struct cluster *c, const struct etcd_member *m)
{
    const struct asked *a = asked_by_id((struct cluster *)(uintptr_t)c, m->id);

    if (m->member == c->store.self)
        return true;
    return m->id[0] && a && asked_is_new(c, a, ALIVE_MS) &&
           a->last.phase == GATHER_MEMBER;
}

/* --- For others to see ---------------------------------------------------- */

/* "http://10.0.0.1:8300", "https://[::1]:8300" */
static bool split_url(const char *url, char *host, size_t n, uint16_t *port)
{
    const char *at = strstr(url, "://");
    const char *colon = strrchr(url, ':');

    *host = 0;
    *port = 0;
    if (!at || !colon || colon <= at + 3)
        return false;
    struct bytes h = bytes_of(at + 3, (size_t)(colon - at - 3));
    if (h.n > 2 && h.p[0] == '[')
        h = bytes_of(h.p + 1, h.n - 2);
    *port = (uint16_t)strtoul(colon + 1, NULL, 10);
    return text_take(host, n, h);
}

static void view_of(const struct cluster *c, const struct etcd_member *m,
                    struct cluster_server *s)
{
    const struct asked *a = asked_by_id((struct cluster *)(uintptr_t)c, m->id);

    *s = (struct cluster_server){
        .self = m->member == c->store.self,
        .leader = m->member == c->store.leader,
        .voter = !m->learner,
        .alive = member_is_alive(c, m),
        .member = m->member,
    };
    (void)text_take(s->id, sizeof s->id, bytes_str(m->id));
    (void)member_name(c, m, s->node, sizeof s->node);
    (void)split_url(m->url, s->address, sizeof s->address, &s->server_port);
    if (s->self) {
        s->peer_port = (uint16_t)c->options.peer_port;
        s->store_index = c->store.index;
        s->store_term = c->store.term;
        s->store_size = c->store.size;
        s->store_used = c->store.used;
        s->disk_free = c->disk.free;
        s->disk_full = c->disk.full;
    } else if (a) {
        s->peer_port = a->last.peer_port;
        s->store_index = a->store_index;
        s->store_term = a->store_term;
        s->store_size = a->store_size;
        s->store_used = a->store_used;
        s->disk_free = a->disk_free;
        s->disk_full = a->disk_full;
        (void)text_take(s->version, sizeof s->version, bytes_str(a->version));
        (void)text_take(s->muster_version, sizeof s->muster_version,
                        bytes_str(a->muster_version));
        s->contact_ms = cluster_now(c) - a->heard_ms;
    } else {
        s->contact_ms = UINT32_MAX;
    }
}

static void view_fresh(const struct cluster *c, struct cluster_view *v)
{
    for (size_t i = 0; i < c->asked_count; i++) {
        const struct asked *a = &c->asked[i];
        const struct gather_server *s = &a->last;
        bool twice = false;

        if (!asked_is_new(c, a, FRESH_MS) || s->phase != GATHER_FRESH)
            continue;
        for (size_t k = 0; k < v->count; k++)
            twice |= strcmp(v->servers[k].id, s->id) == 0;
        if (twice || v->count == CLUSTER_MEMBERS_MAX)
            continue;
        struct cluster_server *to = &v->servers[v->count++];
        *to = (struct cluster_server){.alive = true,
                                      .peer_port = s->peer_port,
                                      .server_port = s->server_port};
        (void)text_take(to->id, sizeof to->id, bytes_str(s->id));
        (void)text_take(to->node, sizeof to->node, bytes_str(s->node));
        (void)text_take(to->address, sizeof to->address, bytes_str(s->address));
    }
}

static const char *phase_text(const struct cluster *c)
{
    const struct etcd_state *s = &c->store;

    switch (c->phase) {
    case GATHERING:
        return c->joining ? "joining" : "fresh";
    case LOCKED:
        return "locked";
    case STARTED:
        return s->answered && s->leader && !s->is_learner ? "member"
                                                          : "starting";
    case REMOVED:
        return "removed";
    }
    return "";
}

void member_view(struct cluster *c)
{
    struct cluster_view *v = &c->view;

    v->fresh = c->phase == GATHERING;
    v->phase = phase_text(c);
    v->expect = c->options.expect;
    v->count = 0;
    (void)text_take(v->token, sizeof v->token, bytes_str(c->record.token));
    v->id[0] = 0;
    if (c->store.cluster)
        (void)snprintf(v->id, sizeof v->id, "%" PRIx64, c->store.cluster);
    v->store_index = c->store.index;
    v->store_term = c->store.term;
    v->store_size = c->store.size;
    v->store_used = c->store.used;
    v->disk_free = c->disk.free;
    v->disk_full = c->disk.full;
    if (v->fresh) {
        view_fresh(c, v);
        return;
    }
    for (size_t i = 0; i < c->store.count; i++)
        view_of(c, &c->store.members[i], &v->servers[v->count++]);
}

/* --- Looking -------------------------------------------------------------- */

static void ask_members(struct cluster *c)
{
    for (size_t i = 0; i < c->store.count; i++) {
        const struct etcd_member *m = &c->store.members[i];

        if (m->member != c->store.self && m->peer[0])
            (void)ask_add(c, m->peer, false);
    }
}

static void on_promoted(void *ctx, const struct fetch_result *r)
{
    struct cluster *c = ctx;
    struct arena a;

    c->promoting = false;
    if (r->err == ERR_OK && r->status == 200) {
        log_info("cluster", "a server has caught up and votes from now on");
        return;
    }
    if (r->err != ERR_OK)
        return;
    arena_init(&a, 1 << 20);
    log_debug("cluster", "not promoted yet: %.*s",
              BYTES_ARG(etcd_why(r->body, &a)));
    arena_fini(&a);
}

/* etcd refuses until it is in sync with the leader. */
static void promote(struct cluster *c)
{
    char body[64];

    if (c->promoting || c->store.leader != c->store.self)
        return;
    for (size_t i = 0; i < c->store.count; i++) {
        const struct etcd_member *m = &c->store.members[i];

        if (!m->learner || !m->id[0])
            continue;
        (void)snprintf(body, sizeof body, "{\"ID\":\"%" PRIu64 "\"}",
                       m->member);
        c->promoting = member_call(c, "cluster/member/promote", bytes_str(body),
                                   on_promoted, c) == ERR_OK;
        return;
    }
}

/* Once it has taken part, an empty folder is a loss. */
static void note_ran(struct cluster *c)
{
    struct record r = c->record;

    if (r.ran || !c->store.leader || c->store.is_learner)
        return;
    r.ran = true;
    if (cluster_save(c, &r))
        log_info("cluster",
                 "this server takes part in the cluster: id=%" PRIx64
                 " members=%zu",
                 c->store.cluster, c->store.count);
}

static void on_status(void *ctx, const struct fetch_result *r)
{
    struct cluster *c = ctx;

    c->polling = false;
    if (r->err != ERR_OK || r->status != 200 ||
        status_read(r->body, &c->store) != ERR_OK) {
        c->store.answered = false;
        cluster_changed(c);
        return;
    }
    c->store.answered = true;
    c->store.heard_ms = cluster_now(c);
    note_ran(c);
    if (c->store.leader)
        disk_runs(c);
    if (c->store.leader && c->store.count == 1 && child_is_to_recover(c))
        child_recovered(c);
    ask_members(c);
    promote(c);
    cluster_changed(c);
}

static void on_members(void *ctx, const struct fetch_result *r)
{
    struct cluster *c = ctx;

    if (r->err == ERR_OK && r->status == 200 &&
        members_read(r->body, &c->store) == ERR_OK &&
        member_call(c, "maintenance/status", bytes_str("{}"), on_status, c) ==
            ERR_OK)
        return;
    c->polling = false;
    c->store.answered = false;
    cluster_changed(c);
}

void member_tick(struct cluster *c)
{
    if (c->polling || !c->child.running)
        return;
    c->polling = member_call(c, "cluster/member/list", bytes_str("{}"),
                             on_members, c) == ERR_OK;
}
