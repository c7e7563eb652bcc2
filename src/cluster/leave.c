/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* This server goes for good: it is taken off the list of members, so that those
 * who stay need fewer for a majority.
 *
 *     may it?  ->  if it leads: another is to  ->  another server is asked to
 *     remove us (whose etcd stays, and so its answer comes)  ->  our data is
 *     stale for ever: removed, so that a later start joins anew
 *
 * Where that would endanger the majority it stays a member, as one that is
 * stopped. */
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "cluster/impl.h"
#include "loop/fetch.h"

struct leave {
    struct owed owed;
    struct cluster *cluster;
    struct cluster_request *request;
    char id[GATHER_ID_BYTES]; /* who is to lead, and is asked */
    int tried;
    struct timer again;
};

enum {
    /* etcd makes no change before all have been connected for five seconds. */
    TRIES = 20,
    TRY_MS = 500,
};

/* --- May it? -------------------------------------------------------------- */

static const struct etcd_member *self_of(const struct cluster *c)
{
    for (size_t i = 0; i < c->store.count; i++)
        if (c->store.members[i].member == c->store.self)
            return &c->store.members[i];
    return NULL;
}

enum err cluster_may_leave(const struct cluster *c, struct errtext *t)
{
    const struct etcd_member *me = self_of(c);
    size_t there, voters;

    if (c->phase == GATHERING || c->phase == REMOVED)
        return ERR_OK;
    if (!change_takes_part(c) || !me) {
        errtext_set(t, "this server is a member of a cluster that it does not "
                       "reach now, so that it cannot be taken off the list of "
                       "members: stop it, and remove it on another server "
                       "(muster operator raft remove-peer)");
        return ERR_UNAVAILABLE;
    }
    if (me->learner)
        return ERR_OK;
    bool majority = change_majority_without(c, me, &there, &voters);
    if (voters == 0) {
        errtext_set(t, "this is the last server that has the catalog: it does "
                       "not leave; to stop it, stop it (SIGTERM)");
        return ERR_BAD;
    }
    if (!majority) {
        errtext_set(t,
                    "of the %zu servers that would be left only %zu %s there, "
                    "and no majority could write any more: bring servers back "
                    "or remove lost ones first; to stop this one for a while, "
                    "stop it (SIGTERM)",
                    voters, there, there == 1 ? "is" : "are");
        return ERR_BAD;
    }
    return ERR_OK;
}

/* --- Asking --------------------------------------------------------------- */

static void end(struct leave *l, int status, const char *text)
{
    timer_clear(l->cluster->timers, &l->again);
    request_done(l->cluster, l->request, status, "%s", text);
    owed_free(&l->owed);
}

/* While another leader is elected, maybe because we led. */
static bool may_pass(const struct fetch_result *r)
{
    return r->err == ERR_OK &&
           (r->status == 503 || bytes_is(r->body, "No cluster leader"));
}

static void on_removed(void *ctx, const struct fetch_result *r)
{
    struct leave *l = ctx;
    struct cluster *c = l->cluster;
    char text[200];

    /* Our etcd may hear of it, and end, before we are answered; and whatever the
     * answer is then, it has happened. */
    bool ended = c->phase == REMOVED;
    if (ended || (r->err == ERR_OK && r->status == 200)) {
        log_info("cluster", "this server has left the cluster");
        if (ended)
            leave_forget(c);
        else
            c->left = true;
        end(l, 200, "");
        return;
    }
    if (may_pass(r) && ++l->tried < TRIES) {
        timer_set(c->timers, &l->again, TRY_MS);
        return;
    }
    (void)snprintf(text, sizeof text, "%.*s",
                   r->err != ERR_OK ? (int)strlen(r->text.s)
                                    : (int)(r->body.n < 180 ? r->body.n : 180),
                   r->err != ERR_OK ? r->text.s
                   : r->body.n      ? r->body.p
                                    : "");
    end(l, 503, text);
}

static void ask_other(struct leave *l)
{
    struct cluster *c = l->cluster;
    const struct asked *a = asked_by_id(c, l->id);
    char target[120];

    (void)snprintf(target, sizeof target, "/v1/operator/raft/peer?id=%s",
                   c->options.node_id);
    const struct peer_request q = {.to = a ? a->to : "",
                                   .method = "DELETE",
                                   .target = target,
                                   .timeout_ms = 2 * CALL_MS};
    if (!a || peer_ask(c->peers, &q, on_removed, l, NULL) != ERR_OK)
        end(l, 503, "no other server can be asked");
}

static void on_again(struct timer *t)
{
    struct leave *l = container_of(t, struct leave, again);

    if (!l->cluster->stopping) /* else it is answered */
        ask_other(l);
}

/* Whatever came of it: if we lead still, it costs the others an election. */
static void on_moved(void *ctx, const struct fetch_result *r)
{
    (void)r;
    ask_other(ctx);
}

static void move_leader(struct leave *l, const struct etcd_member *to)
{
    char body[64];

    (void)snprintf(body, sizeof body, "{\"targetID\":\"%" PRIu64 "\"}",
                   to->member);
    if (member_call(l->cluster, "maintenance/transfer-leadership",
                    bytes_str(body), on_moved, l) != ERR_OK)
        ask_other(l);
}

void leave_asked(struct cluster *c, struct cluster_request *q)
{
    const struct etcd_member *to = NULL;
    struct errtext t;

    if (c->phase == GATHERING || c->phase == REMOVED) {
        request_done(c, q, 200, "%s", "");
        return;
    }
    if (cluster_may_leave(c, &t) != ERR_OK) {
        request_done(c, q, 500, "%s", t.s);
        return;
    }
    for (size_t i = 0; i < c->store.count; i++) {
        const struct etcd_member *m = &c->store.members[i];

        if (m->member != c->store.self && !m->learner &&
            member_is_alive(c, m) && (!to || m->member == c->store.leader))
            to = m;
    }
    if (!to) {
        request_done(c, q, 503, "no other server can be asked");
        return;
    }
    struct leave *l = owed_new(c, sizeof *l);
    l->cluster = c;
    l->request = q;
    l->again.fire = on_again;
    (void)text_take(l->id, sizeof l->id, bytes_str(to->id));
    if (c->store.leader == c->store.self)
        move_leader(l, to);
    else
        ask_other(l);
}

/* --- What stays behind ---------------------------------------------------- */

static int remove_one(const char *path, const struct stat *st, int flag,
                      struct FTW *f)
{
    (void)st;
    (void)flag;
    (void)f;
    return remove(path);
}

/* The record first: a folder without one is refused by name at the next start, a
 * record without its folder would be taken for a loss. */
void leave_forget(struct cluster *c)
{
    const struct record none = {.state = RECORD_NONE};
    struct errtext t = {{0}};

    c->left = false;
    if (record_write(c->record_path, &none, &t) != ERR_OK)
        log_warn("cluster", "%s: remove it before the next start", t.s);
    else if (nftw(c->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
        log_warn("cluster", "%s: %s: remove it before the next start",
                 c->folder, strerror(errno));
}
