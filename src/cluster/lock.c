/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* The first set of members: proposed, locked, agreed on (duty/gather.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "cluster/impl.h"

enum {
    PAUSE_MS = 1000,      /* before a proposer that was refused tries again, */
    PAUSE_MORE_MS = 2000, /* and by chance up to so much more */
};

static bool is_proposer(const struct cluster *c)
{
    return strcmp(c->record.proposer, c->options.node_id) == 0;
}

static bool in_set(const struct record *r, const char *id)
{
    for (size_t i = 0; i < r->set_count; i++)
        if (strcmp(r->set[i].id, id) == 0)
            return true;
    return false;
}

static void set_of(struct set_server *to, const struct gather_server *s)
{
    *to = (struct set_server){.peer_port = s->peer_port,
                              .server_port = s->server_port};
    memcpy(to->id, s->id, sizeof to->id);
    memcpy(to->node, s->node, sizeof to->node);
    memcpy(to->address, s->address, sizeof to->address);
}

static void record_begin(const struct cluster *c, struct record *r)
{
    const struct cluster_options *o = &c->options;

    *r = (struct record){.state = RECORD_LOCKED};
    (void)text_take(r->node_id, sizeof r->node_id, bytes_str(o->node_id));
    (void)text_take(r->node, sizeof r->node, bytes_str(o->node_name));
    (void)text_take(r->datacenter, sizeof r->datacenter,
                    bytes_str(o->datacenter));
    (void)text_take(r->url, sizeof r->url, bytes_str(c->url));
}

static void ask_set(struct cluster *c)
{
    for (size_t i = 0; i < c->record.set_count; i++) {
        const struct set_server *s = &c->record.set[i];
        char to[300];

        if (strcmp(s->id, c->options.node_id) == 0)
            continue;
        net_host_port(to, sizeof to, bytes_str(s->address),
                      (uint64_t)s->peer_port);
        (void)ask_add(c, to, false);
    }
}

/* --- Locking -------------------------------------------------------------- */

static bool hold(struct cluster *c, const struct record *r)
{
    if (!cluster_save(c, r))
        return false;
    c->generation++;
    c->refused = false;
    memset(c->pleading, 0, sizeof c->pleading);
    c->phase = LOCKED;
    ask_set(c);
    cluster_changed(c);
    return true;
}

static void let_go(struct cluster *c, const char *why)
{
    struct record none = {.state = RECORD_NONE};

    log_warn("cluster", "the set of servers is given up: %s", why);
    if (!cluster_save(c, &none))
        return;
    c->generation++;
    c->phase = GATHERING;
    c->pause_until_ms =
        cluster_now(c) + PAUSE_MS +
        bytes_hash(bytes_str(c->options.node_id), c->generation) %
            PAUSE_MORE_MS;
    cluster_changed(c);
}

void lock_propose(struct cluster *c, const struct gather_plan *p)
{
    struct record r;
    uint8_t random[16];

    if (cluster_now(c) < c->pause_until_ms ||
        getentropy(random, sizeof random) != 0)
        return;
    record_begin(c, &r);
    uuid_format(random, r.token);
    (void)text_take(r.proposer, sizeof r.proposer,
                    bytes_str(c->options.node_id));
    for (size_t i = 0; i < p->set_count; i++)
        set_of(&r.set[r.set_count++], p->set[i]);
    if (hold(c, &r))
        log_info("cluster", "proposes %zu servers: token=%s", r.set_count,
                 r.token);
}

/* Another server asks us to lock its set. */
void lock_asked(struct cluster *c, struct cluster_request *q)
{
    struct proposal p;
    struct record r;
    struct errtext t = {{0}};
    struct arena a;

    arena_init(&a, 1 << 20);
    enum err e = proposal_read(q->body, &a, &p, &t);
    if (e == ERR_OK) {
        record_begin(c, &r);
        (void)text_take(r.token, sizeof r.token, p.token);
        (void)text_take(r.proposer, sizeof r.proposer, p.proposer);
        memcpy(r.set, p.set, sizeof r.set);
        r.set_count = p.set_count;
    }
    bool same_dc = e == ERR_OK && bytes_is(p.datacenter, c->options.datacenter);
    bool same_n = e == ERR_OK && p.expect == (int64_t)c->options.expect &&
                  p.set_count == c->options.expect &&
                  in_set(&r, c->options.node_id);
    arena_fini(&a);
    if (e != ERR_OK)
        request_done(c, q, 400, "%s", t.s);
    else if (c->record.state != RECORD_NONE &&
             strcmp(c->record.token, r.token) == 0)
        request_done(c, q, 200, "%s", "");
    else if (c->record.state != RECORD_NONE)
        request_done(c, q, 409, "%s has agreed to another set: %s, not %s",
                     c->options.node_name, c->record.token, r.token);
    else if (!same_dc || !same_n)
        request_done(c, q, 409,
                     "%s is of datacenter %s, expects %llu servers and is to "
                     "be one of them: this set is another's",
                     c->options.node_name, c->options.datacenter,
                     (unsigned long long)c->options.expect);
    else if (!hold(c, &r))
        request_done(c, q, 500, "%s cannot keep it: see its log",
                     c->options.node_name);
    else
        request_done(c, q, 200, "%s", "");
}

/* --- Asking for locks ----------------------------------------------------- */

/* One at a time to each server: the late refusal of an older plea must not undo
 * a set that this server has agreed to since. */
struct plea {
    struct owed owed;
    struct cluster *cluster;
    uint64_t generation;
    size_t at; /* of the set */
};

static void on_plea(void *ctx, const struct fetch_result *r)
{
    struct plea *p = ctx;
    struct cluster *c = p->cluster;
    bool ours = p->generation == c->generation;

    if (ours)
        c->pleading[p->at] = false;
    if (ours && c->phase == LOCKED && r->err == ERR_OK && r->status == 409) {
        log_warn("cluster", "%s was refused: %.*s", c->record.token,
                 (int)(r->body.n < 200 ? r->body.n : 200),
                 r->body.n ? r->body.p : "");
        c->refused = true;
    }
    owed_free(&p->owed);
}

static void plead(struct cluster *c, size_t at)
{
    const struct set_server *s = &c->record.set[at];
    struct buf body = {0};
    struct plea *p = owed_new(c, sizeof *p);
    char to[300];

    p->cluster = c;
    p->generation = c->generation;
    p->at = at;
    net_host_port(to, sizeof to, bytes_str(s->address), (uint64_t)s->peer_port);
    proposal_put(&body, c);
    const struct peer_request q = {
        .to = to,
        .method = "PUT",
        .target = "/v1/peer/bootstrap",
        .body = buf_bytes(&body),
        .timeout_ms = HELLO_MS,
    };
    c->pleading[at] = !body.bad;
    if (body.bad || peer_ask(c->peers, &q, on_plea, p, NULL) != ERR_OK) {
        c->pleading[at] = false;
        owed_free(&p->owed);
    }
    buf_fini(&body);
}

/* --- Agreement ------------------------------------------------------------ */

static bool make_initial(struct cluster *c, struct record *r)
{
    const char *scheme = c->options.secret.n ? "https" : "http";
    size_t n = 0;

    for (size_t i = 0; i < r->set_count; i++) {
        char at[300];

        net_host_port(at, sizeof at, bytes_str(r->set[i].address),
                      (uint64_t)r->set[i].server_port);
        int k = snprintf(r->initial + n, sizeof r->initial - n, "%s%s=%s://%s",
                         i ? "," : "", r->set[i].id, scheme, at);
        if (k < 0 || (size_t)k >= sizeof r->initial - n)
            return false;
        n += (size_t)k;
    }
    return true;
}

static void agreed(struct cluster *c)
{
    struct record r = c->record;

    r.state = RECORD_MEMBER;
    if (!make_initial(c, &r) || !cluster_save(c, &r))
        return;
    log_info("cluster", "%zu servers form a cluster: token=%s", r.set_count,
             r.token);
    cluster_run(c);
}

/* The others of the set as they were heard last; who was not since the lock is
 * unknown. */
static size_t others_of(struct cluster *c, struct gather_server *room,
                        const struct gather_server **set,
                        const struct gather_server **ret_proposer)
{
    size_t n = 0;

    *ret_proposer = NULL;
    for (size_t i = 0; i < c->record.set_count; i++) {
        const struct set_server *s = &c->record.set[i];
        const struct asked *a = asked_by_id(c, s->id);

        if (strcmp(s->id, c->options.node_id) == 0)
            continue;
        room[n].phase = GATHER_UNKNOWN;
        if (a && a->heard_generation == c->generation &&
            asked_is_new(c, a, FRESH_MS))
            room[n] = a->last;
        set[n] = &room[n];
        if (strcmp(s->id, c->record.proposer) == 0)
            *ret_proposer = set[n];
        n++;
    }
    return n;
}

static void plead_all(struct cluster *c, const struct gather_server *room)
{
    size_t n = 0;

    for (size_t i = 0; i < c->record.set_count; i++) {
        const struct set_server *s = &c->record.set[i];

        if (strcmp(s->id, c->options.node_id) == 0)
            continue;
        if (strcmp(room[n].token, c->record.token) != 0 && !c->pleading[i])
            plead(c, i);
        n++;
    }
}

void lock_tick(struct cluster *c)
{
    static struct gather_server room[GATHER_EXPECT_MAX];
    const struct gather_server *set[GATHER_EXPECT_MAX], *proposer;

    memset(room, 0, sizeof room);
    size_t n = others_of(c, room, set, &proposer);
    switch (gather_locked(c->record.token, set, n, proposer)) {
    case LOCK_AGREED:
        agreed(c);
        return;
    case LOCK_DROP:
        let_go(c, "who proposed it does not stand by it any more");
        return;
    case LOCK_WAIT:
        break;
    }
    if (is_proposer(c) && c->refused)
        let_go(c, "a server has agreed to another set");
    else if (is_proposer(c))
        plead_all(c, room);
    cluster_waits(c, "the other servers of the set are to agree");
}
