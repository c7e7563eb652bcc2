/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Asks others who they are, each tick, one question to each at a time. Who is
 * asked: the addresses of retry_join, who those have seen, the members of a set,
 * the members of the store. Who does not belong with us is named in the log,
 * with us, once for each reason. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "cluster/impl.h"

struct question {
    struct owed owed;
    struct cluster *cluster;
    size_t at; /* in cluster->asked; entries never move */
    char to[300];
};

struct asked *asked_by_id(struct cluster *c, const char *id)
{
    struct asked *best = NULL;

    for (size_t i = 0; i < c->asked_count; i++) {
        struct asked *a = &c->asked[i];

        if (a->useful && strcmp(a->last.id, id) == 0 &&
            (!best || a->heard_ms > best->heard_ms))
            best = a;
    }
    return best;
}

bool asked_is_new(const struct cluster *c, const struct asked *a, uint64_t ms)
{
    return a->useful && cluster_now(c) - a->heard_ms <= ms;
}

struct asked *ask_add(struct cluster *c, const char *to, bool given)
{
    struct asked *free_one = NULL;

    for (size_t i = 0; i < c->asked_count; i++) {
        struct asked *a = &c->asked[i];

        if (strcmp(a->to, to) == 0) {
            a->given |= given;
            return a;
        }
        /* Nobody has answered there for a minute. */
        if (!a->given && !a->waits && !asked_is_new(c, a, 60 * 1000))
            free_one = a;
    }
    if (c->asked_count < ASKED_MAX)
        free_one = &c->asked[c->asked_count++];
    if (!free_one) {
        log_if(c->full_told ? LOG_DEBUG : LOG_ERR, "cluster",
               "%s is not asked: %d addresses of servers are known, which is "
               "the limit where muster keeps its own store; run etcd apart "
               "(-store etcd://...) for more servers, and remove those that "
               "are gone from retry_join and the cluster (muster force-leave)",
               to, ASKED_MAX);
        c->full_told = true;
        return NULL;
    }
    *free_one = (struct asked){.given = given, .cluster = c};
    (void)snprintf(free_one->to, sizeof free_one->to, "%s", to);
    return free_one;
}

/* --- What is wrong with it ------------------------------------------------ */

static void complain(struct asked *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void complain(struct asked *a, const char *fmt, ...)
{
    char text[sizeof a->complained];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    a->useful = false;
    if (strcmp(text, a->complained) == 0)
        return;
    memcpy(a->complained, text, sizeof text);
    log_warn("cluster", "%s: %s", a->to, text);
}

static bool belongs(struct asked *a, const struct hello *h)
{
    const struct cluster_options *o = &a->cluster->options;

    if (!h->server) {
        complain(a, "%.*s is an agent, not a server", BYTES_ARG(h->node));
        return false;
    }
    if (!bytes_is(h->datacenter, o->datacenter)) {
        complain(a, "%.*s belongs to datacenter %.*s, this server (%s) to %s",
                 BYTES_ARG(h->node), BYTES_ARG(h->datacenter), o->node_name,
                 o->datacenter);
        return false;
    }
    if (h->protocol != CLUSTER_PROTOCOL) {
        complain(a,
                 "%.*s (version %.*s) speaks protocol %lld, this server "
                 "(version %s) speaks %d",
                 BYTES_ARG(h->node), BYTES_ARG(h->version),
                 (long long)h->protocol, o->version, CLUSTER_PROTOCOL);
        return false;
    }
    if (bytes_eq_fold(h->node, bytes_str(o->node_name)) &&
        a->cluster->phase == GATHERING &&
        (bytes_is(h->phase, "fresh") || bytes_is(h->phase, "locked"))) {
        complain(a,
                 "two servers call themselves %s: this one (%s, %s) and %.*s "
                 "(%.*s); give one another -node",
                 o->node_name, o->node_id, o->address, BYTES_ARG(h->id),
                 BYTES_ARG(h->address));
        return false;
    }
    return true;
}

static enum gather_phase phase_of(struct bytes phase)
{
    if (bytes_is(phase, "fresh"))
        return GATHER_FRESH;
    if (bytes_is(phase, "locked"))
        return GATHER_LOCKED;
    if (bytes_is(phase, "starting") || bytes_is(phase, "member"))
        return GATHER_MEMBER;
    return GATHER_UNKNOWN;
}

/* --- What it said --------------------------------------------------------- */

/* Who waits sees who waits: all come to know each other by way of one. */
static void learn(struct cluster *c, const struct hello *h)
{
    for (size_t i = 0; i < h->sees_count; i++) {
        char to[300];

        net_host_port(to, sizeof to, bytes_str(h->sees[i].address),
                      (uint64_t)h->sees[i].peer_port);
        if (strcmp(h->sees[i].id, c->options.node_id) != 0)
            (void)ask_add(c, to, false);
    }
}

static void take_server(struct asked *a, const struct hello *h)
{
    struct gather_server *s = &a->last;

    *s = (struct gather_server){
        .peer_port = (uint16_t)h->peer_port,
        .server_port = (uint16_t)h->server_port,
        .expect = h->expect > 0 ? (uint64_t)h->expect : 0,
        .phase = phase_of(h->phase),
        .ready = h->ready && bytes_is(h->phase, "member"),
    };
    a->useful = text_take(s->id, sizeof s->id, h->id) &&
                text_take(s->node, sizeof s->node, h->node) &&
                text_take(s->address, sizeof s->address, h->address) &&
                text_take(s->token, sizeof s->token, h->token) &&
                h->peer_port > 0 && h->peer_port < 65536 &&
                h->server_port > 0 && h->server_port < 65536;
    for (size_t i = 0; i < h->sees_count && i < GATHER_SEEN_MAX; i++)
        memcpy(s->sees[s->sees_count++], h->sees[i].id, GATHER_ID_BYTES);
    a->heard_ms = cluster_now(a->cluster);
    a->heard_generation = a->sent_generation;
    a->store_index = h->store_index > 0 ? (uint64_t)h->store_index : 0;
    a->store_term = h->store_term > 0 ? (uint64_t)h->store_term : 0;
    a->store_size = h->store_size > 0 ? (uint64_t)h->store_size : 0;
    a->store_used = h->store_used > 0 ? (uint64_t)h->store_used : 0;
    a->disk_free = h->disk_free > 0 ? (uint64_t)h->disk_free : 0;
    a->disk_full = h->disk_full;
    (void)text_take(a->version, sizeof a->version, h->api_version);
    (void)text_take(a->muster_version, sizeof a->muster_version, h->version);
}

static void take_hello(struct asked *a, const struct hello *h)
{
    struct cluster *c = a->cluster;
    const struct cluster_options *o = &c->options;

    if (bytes_is(h->id, o->node_id)) {
        a->self = bytes_is(h->node, o->node_name);
        if (!a->self)
            complain(a,
                     "%.*s has the same node ID as this server (%s): %s; a "
                     "copied data_dir? remove node-id from one of them",
                     BYTES_ARG(h->node), o->node_name, o->node_id);
        return;
    }
    if (!belongs(a, h))
        return;
    if (c->phase == GATHERING && phase_of(h->phase) == GATHER_UNKNOWN &&
        !bytes_is(h->phase, "removed")) {
        complain(a,
                 "%.*s is a server that keeps its catalog alone, or in a "
                 "store of its own: start it with -bootstrap-expect, or leave "
                 "it out of retry_join",
                 BYTES_ARG(h->node));
        return;
    }
    take_server(a, h);
    if (a->useful)
        a->complained[0] = 0;
    if (c->phase == GATHERING)
        learn(c, h);
}

static void on_hello(void *ctx, const struct fetch_result *r)
{
    struct question *q = ctx;
    struct cluster *c = q->cluster;
    struct asked *a = &c->asked[q->at];
    struct arena arena;
    struct hello h;
    struct errtext t = {{0}};
    bool same = strcmp(a->to, q->to) == 0;

    owed_free(&q->owed);
    if (!same)
        return;
    a->waits = false;
    a->tried = true;
    c->answered |= r->err == ERR_OK;
    /* Of before we held, or let go of, a lock: it may not know of that yet. */
    if (a->sent_generation != c->generation)
        return;
    arena_init(&arena, 4 << 20);
    if (r->err != ERR_OK) {
        if (a->given && c->phase == GATHERING && r->err != ERR_REFUSED)
            complain(a, "%s", r->text.s);
    } else if (r->status != 200) {
        complain(a, "answered %d: %.*s", r->status,
                 (int)(r->body.n < 120 ? r->body.n : 120),
                 r->body.n ? r->body.p : "");
    } else if (hello_read(r->body, &arena, &h, &t) != ERR_OK) {
        complain(a, "does not say who it is: %s", t.s);
    } else {
        take_hello(a, &h);
    }
    arena_fini(&arena);
}

static void ask(struct cluster *c, struct asked *a)
{
    struct question *q;

    if (a->waits || a->self || !a->to[0])
        return;
    q = owed_new(c, sizeof *q);
    q->cluster = c;
    q->at = (size_t)(a - c->asked);
    (void)snprintf(q->to, sizeof q->to, "%s", a->to);
    const struct peer_request p = {
        .to = a->to,
        .target = "/v1/peer/hello",
        .timeout_ms = HELLO_MS,
    };
    a->sent_generation = c->generation;
    if (peer_ask(c->peers, &p, on_hello, q, NULL) == ERR_OK)
        a->waits = true;
    else
        owed_free(&q->owed);
}

void ask_all(struct cluster *c)
{
    for (size_t i = 0; i < c->asked_count; i++)
        ask(c, &c->asked[i]);
}
