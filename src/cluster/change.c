/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Servers that come and go. A new one is taken in without a vote, and gets one
 * once it has caught up (member.c), so that taking it in endangers nothing. A
 * lost one makes room for a new one of its name. What would cost the majority
 * is refused. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "cluster/impl.h"
#include "loop/fetch.h"

/* A change under way: it is the request's until that is answered. */
struct change {
    struct owed owed;
    struct cluster *cluster;
    struct cluster_request *request;
    struct set_server who; /* JOIN */
    char url[320];
    char name[GATHER_NAME_BYTES]; /* REMOVE: for the log */
    bool then_add;
};

static void end(struct change *ch, int status, const char *text)
{
    request_done(ch->cluster, ch->request, status, "%s", text);
    owed_free(&ch->owed);
}

/* etcd's reason, if it gave one. */
static void end_failed(struct change *ch, const struct fetch_result *r,
                       const char *what)
{
    char text[400];
    struct arena a;

    arena_init(&a, 1 << 20);
    if (r->err != ERR_OK)
        (void)snprintf(text, sizeof text, "%s: %s", what, r->text.s);
    else
        (void)snprintf(text, sizeof text, "%s: %.*s", what,
                       BYTES_ARG(etcd_why(r->body, &a)));
    arena_fini(&a);
    log_warn("cluster", "%s", text);
    end(ch, 503, text);
}

bool change_takes_part(const struct cluster *c)
{
    return c->phase == STARTED && c->store.answered && c->store.leader &&
           !c->store.is_learner;
}

/* --- Taking in ------------------------------------------------------------ */

/* "id=url,..." of all members; one without a name yet is the new one. */
static bool initial_of(const struct etcd_state *s, const struct change *ch,
                       char *ret, size_t n)
{
    size_t at = 0;

    for (size_t i = 0; i < s->count; i++) {
        const struct etcd_member *m = &s->members[i];
        const char *id = strcmp(m->url, ch->url) == 0 ? ch->who.id : m->id;

        /* Another that has not started yet: it cannot be asked either. */
        if (!id[0])
            continue;
        int k =
            snprintf(ret + at, n - at, "%s%s=%s", at ? "," : "", id, m->url);
        if (k < 0 || (size_t)k >= n - at)
            return false;
        at += (size_t)k;
    }
    return at > 0;
}

static void admitted(struct change *ch, const struct etcd_state *s)
{
    static char initial[INITIAL_MAX];

    if (!initial_of(s, ch, initial, sizeof initial)) {
        end(ch, 500, "the list of members is too long");
        return;
    }
    joined_put(&ch->request->answer, ch->cluster->record.token, initial);
    end(ch, 200, "");
}

static void on_added(void *ctx, const struct fetch_result *r)
{
    struct change *ch = ctx;
    struct cluster *c = ch->cluster;

    if (r->err != ERR_OK || r->status != 200 ||
        members_read(r->body, &c->store) != ERR_OK) {
        end_failed(ch, r, "the server cannot be taken in");
        return;
    }
    cluster_changed(c);
    log_info("cluster", "a server is taken in: node=%s id=%s address=%s",
             ch->who.node, ch->who.id, ch->who.address);
    admitted(ch, &c->store);
}

static void add(struct change *ch)
{
    char body[512];

    (void)snprintf(body, sizeof body,
                   "{\"peerURLs\":[\"%s\"],\"isLearner\":true}", ch->url);
    if (member_call(ch->cluster, "cluster/member/add", bytes_str(body),
                    on_added, ch) != ERR_OK)
        end(ch, 503, "out of memory");
}

/* --- Removing ------------------------------------------------------------- */

static void on_removed(void *ctx, const struct fetch_result *r)
{
    struct change *ch = ctx;
    struct cluster *c = ch->cluster;

    if (r->err != ERR_OK || r->status != 200 ||
        members_read(r->body, &c->store) != ERR_OK) {
        end_failed(ch, r, "the server cannot be removed");
        return;
    }
    cluster_changed(c); /* whoever asks next sees it */
    log_warn("cluster", "a server was removed: node=%s", ch->name);
    if (ch->then_add)
        add(ch);
    else
        end(ch, 200, "");
}

static void take_away(struct change *ch, const struct etcd_member *m)
{
    char body[64];

    (void)member_name(ch->cluster, m, ch->name, sizeof ch->name);
    (void)snprintf(body, sizeof body, "{\"ID\":\"%" PRIu64 "\"}", m->member);
    if (member_call(ch->cluster, "cluster/member/remove", bytes_str(body),
                    on_removed, ch) != ERR_OK)
        end(ch, 503, "out of memory");
}

bool change_majority_without(const struct cluster *c,
                             const struct etcd_member *gone, size_t *ret_there,
                             size_t *ret_voters)
{
    size_t voters = 0, there = 0;

    for (size_t i = 0; i < c->store.count; i++) {
        const struct etcd_member *m = &c->store.members[i];

        if (m == gone || m->learner)
            continue;
        voters++;
        there += member_is_alive(c, m);
    }
    *ret_there = there;
    *ret_voters = voters;
    return voters > 0 && there >= voters / 2 + 1;
}

static const struct etcd_member *named(const struct cluster *c,
                                       const struct cluster_request *q)
{
    for (size_t i = 0; i < c->store.count; i++) {
        const struct etcd_member *m = &c->store.members[i];
        const char *at = strstr(m->url, "://");

        if (q->id.n ? bytes_is(q->id, m->id)
                    : at && bytes_is(q->address, at + 3))
            return m;
    }
    return NULL;
}

void change_remove(struct cluster *c, struct cluster_request *q)
{
    const struct etcd_member *m = named(c, q);
    size_t there, voters;

    if (!change_takes_part(c)) {
        request_done(c, q, 500, "No cluster leader");
        return;
    }
    if (!m && q->id.n) {
        request_done(c, q, 500,
                     "id \"%.*s\" was not found in the Raft configuration",
                     (int)(q->id.n < 64 ? q->id.n : 64), q->id.p);
        return;
    }
    if (!m) {
        request_done(c, q, 500,
                     "address \"%.*s\" was not found in the Raft configuration",
                     (int)(q->address.n < 64 ? q->address.n : 64),
                     q->address.p);
        return;
    }
    if (!m->learner && !change_majority_without(c, m, &there, &voters)) {
        request_done(c, q, 500,
                     "refused: of the %zu servers that would be left only %zu "
                     "%s there, and no majority could write any more; bring "
                     "servers back or add new ones first",
                     voters, there, there == 1 ? "is" : "are");
        return;
    }
    struct change *ch = owed_new(c, sizeof *ch);
    ch->cluster = c;
    ch->request = q;
    take_away(ch, m);
}

/* --- A member's file made smaller ------------------------------------------ */

static void on_defragmented(void *ctx, const struct fetch_result *r)
{
    struct change *ch = ctx;

    if (r->err == ERR_OK && r->status == 200)
        end(ch, 200, "");
    else
        end_failed(ch, r, "the member of the store was not defragmented");
}

/* Another server's answer: text, not etcd's JSON. */
static void on_passed_on(void *ctx, const struct fetch_result *r)
{
    struct change *ch = ctx;
    char text[200];

    (void)snprintf(text, sizeof text, "%.*s",
                   r->err != ERR_OK ? (int)strlen(r->text.s)
                                    : (int)(r->body.n < 180 ? r->body.n : 180),
                   r->err != ERR_OK ? r->text.s
                   : r->body.n      ? r->body.p
                                    : "");
    end(ch, r->err == ERR_OK ? r->status : 503, text);
}

/* Each server reaches its own etcd only, so that another one's is asked for. */
void change_defragment(struct cluster *c, struct cluster_request *q)
{
    const char *path = "maintenance/defragment";
    const struct asked *a = NULL;
    enum err e = ERR_NOT_FOUND;
    char id[GATHER_ID_BYTES];

    (void)text_take(id, sizeof id, q->id);
    if (q->id.n && strcmp(id, c->options.node_id) != 0)
        a = asked_by_id(c, id);
    else if (c->child.running)
        e = ERR_OK;
    if (!a && e != ERR_OK) {
        request_done(c, q, 503,
                     "that server's etcd does not run, or it has "
                     "not been heard of");
        return;
    }
    struct change *ch = owed_new(c, sizeof *ch);
    ch->cluster = c;
    ch->request = q;
    if (a) {
        const struct peer_request p = {.to = a->to,
                                       .method = "PUT",
                                       .target = "/v1/peer/defragment",
                                       .timeout_ms = LONG_MS + CALL_MS};
        e = peer_ask(c->peers, &p, on_passed_on, ch, NULL);
    } else {
        e = member_long_call(c, path, bytes_str("{}"), on_defragmented, ch);
    }
    if (e != ERR_OK)
        end(ch, 503, "out of memory");
}

/* --- Who asks to be taken in ---------------------------------------------- */

static bool refuse_stranger(struct cluster *c, struct cluster_request *q,
                            const struct joiner *j)
{
    const struct cluster_options *o = &c->options;

    if (!bytes_is(j->datacenter, o->datacenter)) {
        request_done(c, q, 409,
                     "%.*s belongs to datacenter %.*s, this cluster (%s) to %s",
                     BYTES_ARG(j->node), BYTES_ARG(j->datacenter), o->node_name,
                     o->datacenter);
        return true;
    }
    if (j->protocol != CLUSTER_PROTOCOL) {
        request_done(c, q, 409,
                     "%.*s (version %.*s) speaks protocol %lld, this cluster "
                     "(%s, version %s) speaks %d",
                     BYTES_ARG(j->node), BYTES_ARG(j->version),
                     (long long)j->protocol, o->node_name, o->version,
                     CLUSTER_PROTOCOL);
        return true;
    }
    return false;
}

/* What a member that is there already means for it. *ret: it has to go first. */
static bool refuse_double(struct cluster *c, struct change *ch,
                          const struct etcd_member *m, bool *ret_known,
                          const struct etcd_member **ret)
{
    char name[GATHER_NAME_BYTES];
    bool same_url = strcmp(m->url, ch->url) == 0;
    bool same_id = strcmp(m->id, ch->who.id) == 0;

    (void)member_name(c, m, name, sizeof name);
    bool same_name =
        bytes_eq_fold(bytes_str(name), bytes_str(ch->who.node)) && name[0];
    if (same_url && (!m->id[0] || (same_id && m->learner))) {
        *ret_known = true; /* it was taken in, and asks again */
        return false;
    }
    if (same_id) {
        request_done(c, ch->request, 409,
                     "%s (%s) is a member already, with data that this server "
                     "does not have: if it is lost, muster operator raft "
                     "remove-peer -id=%s first",
                     name, m->url, m->id);
        return true;
    }
    if (same_name && member_is_alive(c, m)) {
        request_done(c, ch->request, 409,
                     "%s is the name of a server that is there (%s, %s); give "
                     "this one (%s, %s) another -node",
                     name, m->id, m->url, ch->who.id, ch->url);
        return true;
    }
    if (same_url && !same_name) {
        request_done(c, ch->request, 409,
                     "%s is the address of the member %s (%s): muster operator "
                     "raft remove-peer -id=%s first",
                     ch->url, name, m->id, m->id);
        return true;
    }
    if (same_name)
        *ret = m;
    return false;
}

static void join(struct cluster *c, struct change *ch)
{
    const struct etcd_member *old = NULL;
    size_t there, voters;
    bool known = false;

    for (size_t i = 0; i < c->store.count; i++)
        if (refuse_double(c, ch, &c->store.members[i], &known, &old)) {
            owed_free(&ch->owed);
            return;
        }
    if (known) {
        admitted(ch, &c->store);
        return;
    }
    if (old && !old->learner &&
        !change_majority_without(c, old, &there, &voters)) {
        end(ch, 503,
            "the server of that name is lost, and without a majority of the "
            "others it cannot be replaced");
        return;
    }
    if (old) {
        ch->then_add = true;
        take_away(ch, old);
        return;
    }
    add(ch);
}

void change_join(struct cluster *c, struct cluster_request *q)
{
    struct joiner j;
    struct errtext t = {{0}};
    struct arena a;

    if (!change_takes_part(c)) {
        request_done(c, q, 503, "%s does not take part in a cluster now",
                     c->options.node_name);
        return;
    }
    arena_init(&a, 1 << 20);
    if (joiner_read(q->body, &a, &j, &t) != ERR_OK) {
        request_done(c, q, 400, "%s", t.s);
    } else if (!refuse_stranger(c, q, &j)) {
        struct change *ch = owed_new(c, sizeof *ch);
        char at[300];

        ch->cluster = c;
        ch->request = q;
        ch->who.peer_port = (uint16_t)j.peer_port;
        ch->who.server_port = (uint16_t)j.server_port;
        (void)text_take(ch->who.id, sizeof ch->who.id, j.id);
        (void)text_take(ch->who.node, sizeof ch->who.node, j.node);
        (void)text_take(ch->who.address, sizeof ch->who.address, j.address);
        net_host_port(at, sizeof at, bytes_str(ch->who.address),
                      (uint64_t)ch->who.server_port);
        (void)snprintf(ch->url, sizeof ch->url, "%s://%s",
                       c->options.secret.n ? "https" : "http", at);
        join(c, ch);
    }
    arena_fini(&a);
}

/* --- This server asks ----------------------------------------------------- */

static void on_entered(void *ctx, const struct fetch_result *r)
{
    struct cluster *c = ctx;
    struct record n = {.state = RECORD_MEMBER, .existing = true};
    struct bytes token, initial;
    struct errtext t = {{0}};
    struct arena a;
    char why[200];

    c->joining = false;
    c->pause_until_ms = cluster_now(c) + 1000;
    if (c->phase != GATHERING)
        return;
    if (r->err != ERR_OK || r->status != 200) {
        (void)snprintf(why, sizeof why, "not taken in: %.*s",
                       r->err != ERR_OK
                           ? (int)strlen(r->text.s)
                           : (int)(r->body.n < 180 ? r->body.n : 180),
                       r->err != ERR_OK ? r->text.s
                       : r->body.n      ? r->body.p
                                        : "");
        cluster_waits(c, why);
        return;
    }
    arena_init(&a, 1 << 20);
    if (joined_read(r->body, &a, &token, &initial, &t) != ERR_OK) {
        cluster_waits(c, t.s);
        arena_fini(&a);
        return;
    }
    (void)text_take(n.token, sizeof n.token, token);
    (void)text_take(n.initial, sizeof n.initial, initial);
    arena_fini(&a);
    const struct cluster_options *o = &c->options;
    (void)text_take(n.node_id, sizeof n.node_id, bytes_str(o->node_id));
    (void)text_take(n.node, sizeof n.node, bytes_str(o->node_name));
    (void)text_take(n.datacenter, sizeof n.datacenter,
                    bytes_str(o->datacenter));
    (void)text_take(n.url, sizeof n.url, bytes_str(c->url));
    if (!cluster_save(c, &n))
        return;
    log_info("cluster",
             "is taken in, without a vote until it has caught up: "
             "token=%s",
             n.token);
    cluster_run(c);
}

void change_enter(struct cluster *c, const struct gather_server *whom)
{
    struct buf body = {0};
    char to[300];

    if (c->joining || cluster_now(c) < c->pause_until_ms)
        return;
    net_host_port(to, sizeof to, bytes_str(whom->address),
                  (uint64_t)whom->peer_port);
    joiner_put(&body, c);
    const struct peer_request q = {
        .to = to,
        .method = "PUT",
        .target = "/v1/peer/join",
        .body = buf_bytes(&body),
        .timeout_ms = 2 * CALL_MS,
    };
    c->joining =
        !body.bad && peer_ask(c->peers, &q, on_entered, c, NULL) == ERR_OK;
    if (c->joining)
        log_debug("cluster", "asks %s (%s) to be taken in", whom->node, to);
    buf_fini(&body);
}
