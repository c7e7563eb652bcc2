/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/pulse.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/net.h"
#include "duty/liveness.h"
#include "http/json_in.h"
#include "http/json_out.h"
#include "loop/peer.h"
#include "server/guard.h"
#include "server/presence.h"
#include "server/serving.h"

static_assert((int)LIVENESS_SERVERS_MAX >= (int)API_SERVERS_MAX,
              "whoever is asked is taken in");
static_assert((int)PRESENCE_REPORT_BYTES <= (int)PEER_ANSWER_MAX / 2,
              "a report, and the beats of services beside it, are an answer");

enum {
    ADDRESS_MAX = 300,
    COPY_KEPT_MS = 60 * 1000, /* of a server that is not asked any more */
};

struct server_copy {
    size_t name_n; /* 0: free */
    char name[LIVENESS_NAME_MAX];
    uint64_t used_ms;
    struct presence_copy copy;
};

struct pulse {
    struct core *core;
    struct liveness *machine;
    struct peers *peers; /* made when first needed */
    struct timer timer;
    uint64_t reported_ms, due_ms;
    bool held, stopped, full_told;
    struct server_copy copies[API_SERVERS_MAX];

    struct store_change change;
    struct store_outcome outcome;
    struct core_letter letter;
};

/* One question to a server or an agent. */
struct question {
    struct pulse *pulse;
    uint64_t after; /* server: the report that its answer may go on from */
    size_t name_n, by_n;
    char name
        []; /* server: its node; else the node that is looked for, by whom */
};

static uint64_t now_ms(const struct pulse *p)
{
    return uv_now(p->core->loop);
}

static struct question *question_new(struct pulse *p, struct bytes name,
                                     struct bytes by)
{
    struct question *q = xzalloc(sizeof *q + name.n + by.n);
    char *at = q->name;

    q->pulse = p;
    q->name_n = bytes_append(&at, name).n;
    q->by_n = bytes_append(&at, by).n;
    return q;
}

static struct bytes question_name(const struct question *q)
{
    return bytes_of(q->name, q->name_n);
}

static struct peers *peers_of(struct pulse *p)
{
    if (!p->peers &&
        peers_new(p->core->loop, p->core->process->psk, &p->peers) != ERR_OK)
        p->peers = NULL;
    return p->peers;
}

/* --- Reports ------------------------------------------------------------- */

static void heard(void *ctx, struct bytes name, uint64_t ago_ms)
{
    struct pulse *p = ctx;

    liveness_heard(p->machine, name, ago_ms, now_ms(p));
}

static void report_begins(struct pulse *p, struct bytes server)
{
    liveness_report(p->machine, server, 0, now_ms(p));
    liveness_heard(p->machine, server, 0, now_ms(p)); /* it answers */
}

static void report_own(struct pulse *p)
{
    struct process *pr = p->core->process;

    report_begins(p, pr->self.node_name);
    presence_each(pr->presence, now_ms(p), heard, p);
}

static void copy_free(struct server_copy *c)
{
    presence_copy_fini(&c->copy);
    c->name_n = 0;
}

/* A free one, or that of a server that has been gone for long. */
static struct server_copy *copy_room(struct pulse *p)
{
    struct server_copy *old = &p->copies[0];

    for (size_t i = 0; i < API_SERVERS_MAX; i++) {
        struct server_copy *c = &p->copies[i];
        if (!c->name_n)
            return c;
        if (c->used_ms < old->used_ms)
            old = c;
    }
    if (now_ms(p) < old->used_ms + COPY_KEPT_MS)
        return NULL;
    copy_free(old);
    return old;
}

/* What is known of a server; NULL: there are too many. */
static struct presence_copy *copy_of(struct pulse *p, struct bytes server)
{
    struct server_copy *c = NULL;

    for (size_t i = 0; i < API_SERVERS_MAX && !c; i++) {
        struct server_copy *x = &p->copies[i];
        if (x->name_n && bytes_eq(bytes_of(x->name, x->name_n), server))
            c = x;
    }
    if (!c)
        c = server.n <= LIVENESS_NAME_MAX ? copy_room(p) : NULL;
    if (!c) {
        log_if(p->full_told ? LOG_DEBUG : LOG_ERR, "liveness",
               "more than %d servers, which is the limit: the agents of server "
               "%.*s cannot be heard of",
               API_SERVERS_MAX, BYTES_ARG(server));
        p->full_told = true;
        return NULL;
    }
    if (!c->name_n) {
        c->name_n = server.n;
        memcpy(c->name, server.p, server.n);
    }
    c->used_ms = now_ms(p);
    return &c->copy;
}

static void forget_copies(struct pulse *p)
{
    for (size_t i = 0; i < API_SERVERS_MAX; i++)
        copy_free(&p->copies[i]);
}

static bool is_failed(const struct pulse *p, struct bytes server)
{
    const struct cat_node *n =
        snapshot_node(catalog_current(p->core->process->catalog), server);
    const struct cat_record *r =
        n ? cat_node_check(n, bytes_str(LIVENESS_CHECK)) : NULL;
    struct check_view v;

    if (!r)
        return true; /* it has left */
    cat_check_view(r, &v);
    return bytes_is(v.status, "critical");
}

static void ask_heard(struct pulse *p, struct bytes node, const char *to);

static void server_told(void *ctx, const struct fetch_result *r)
{
    struct question *q = ctx;

    struct pulse *p = q->pulse;
    struct presence_copy *c = copy_of(p, question_name(q));

    if (r->err == ERR_OK && r->status == 200 && p->held && c) {
        report_begins(p, question_name(q));
        presence_read(c, q->after, r->body, heard, p);
        guard_take_beats(p->core, r->body);
    } else if (c) {
        c->more = false; /* asked for with the next report */
    }
    if (c && c->more && p->held && !p->stopped)
        ask_heard(p, question_name(q), q->name + q->name_n);
    /* Who confirmed services there needs time to find another server. */
    if (r->err != ERR_OK && p->held && !is_failed(p, question_name(q)))
        guard_excuse(p->core);
    free(q);
}

static void ask_heard(struct pulse *p, struct bytes node, const char *to)
{
    struct presence_copy *copy = copy_of(p, node);
    char target[64];

    snprintf(target, sizeof target, "/v1/peer/heard?after=%llu",
             (unsigned long long)(copy ? copy->seq : 0));
    struct question *q = question_new(p, node, bytes_of(to, strlen(to) + 1));
    q->after = copy ? copy->seq : 0;
    if (peer_ask(p->peers,
                 &(struct peer_request){
                     .to = to, .target = target, .timeout_ms = PULSE_ASK_MS},
                 server_told, q, NULL) == ERR_OK)
        return;
    if (copy)
        copy->more = false;
    free(q);
}

static void ask_server(void *ctx, const struct api_peer *peer)
{
    struct pulse *p = ctx;
    char to[ADDRESS_MAX];

    if (peer->port == 0 ||
        bytes_eq_fold(peer->node, p->core->process->self.node_name))
        return;
    const struct presence_copy *copy = copy_of(p, peer->node);
    if (copy && copy->more)
        return; /* it is being asked, one part after the other */
    net_host_port(to, sizeof to, bytes_head(peer->address, 255), peer->port);
    ask_heard(p, peer->node, to);
}

static void ask_servers(struct pulse *p)
{
    const struct api_env env = {
        .cat = catalog_current(p->core->process->catalog),
        .cluster = atomic_load(&p->core->process->cluster),
    };

    if (peers_of(p))
        api_each_server(&env, ask_server, p);
}

/* --- Observers ----------------------------------------------------------- */

struct verdict_in {
    struct bytes verdict;
};

/* clang-format off */
static const struct json_field verdict_fields[] = {
    {"Verdict", NULL, FIELD_STRING, offsetof(struct verdict_in, verdict), NULL, JSON_NO_FLAG},
};
/* clang-format on */
static const struct json_table verdict_table = {verdict_fields, 1,
                                                sizeof(struct verdict_in)};

static void observer_told(void *ctx, const struct fetch_result *r)
{
    struct question *q = ctx;
    struct pulse *p = q->pulse;
    struct verdict_in in;
    struct errtext t;
    struct arena a;

    arena_init(&a, 0);
    if (r->err == ERR_OK && r->status == 200 && p->held &&
        json_decode(r->body, &verdict_table, &in, &a, &t) == ERR_OK)
        liveness_probed(p->machine, bytes_of(q->name + q->name_n, q->by_n),
                        question_name(q),
                        bytes_is(in.verdict, "reached") ? LIVENESS_REACHED
                        : bytes_is(in.verdict, "refused")
                            ? LIVENESS_REFUSED
                            : LIVENESS_UNREACHABLE,
                        now_ms(p));
    arena_fini(&a);
    free(q);
}

static void on_probe(void *ctx, struct bytes observer, struct bytes node,
                     struct bytes host, int64_t port)
{
    struct pulse *p = ctx;
    const struct snapshot *s = catalog_current(p->core->process->catalog);
    const struct cat_node *by = snapshot_node(s, observer);
    struct buf body = {0};
    struct json_out j = json_out(&body);
    struct node_view v;
    char to[ADDRESS_MAX];

    if (!by || !peers_of(p))
        return;
    cat_node_view(by->record, &v);
    uint64_t at = api_peer_port(v.meta);
    if (at == 0)
        return; /* a server, or an agent that nobody can ask */
    net_host_port(to, sizeof to, bytes_head(v.address, 255), at);
    json_open(&j, '{');
    json_key(&j, "Address");
    json_str(&j, host);
    json_key(&j, "Port");
    json_i64(&j, port);
    json_close(&j, '}');
    struct question *q = question_new(p, node, observer);
    if (peer_ask(p->peers,
                 &(struct peer_request){.to = to,
                                        .method = "PUT",
                                        .target = "/v1/peer/probe",
                                        .body = buf_bytes(&body),
                                        .timeout_ms = PULSE_ASK_MS},
                 observer_told, q, NULL) != ERR_OK)
        free(q);
    buf_fini(&body);
}

/* --- Decisions ----------------------------------------------------------- */

static void on_settled(struct core *c, struct core_letter *l)
{
    struct pulse *p = container_of(l, struct pulse, letter);
    const struct store_outcome *o = &p->outcome;

    (void)c;
    if (p->stopped)
        return;
    if (o->verdict == STORE_REFUSED || o->verdict == STORE_UNAVAILABLE)
        log_warn("liveness", "cannot write, trying again: error=\"%s\"",
                 o->text.s[0] ? o->text.s : err_text(o->why));
    liveness_committed(p->machine, o->verdict == STORE_COMMITTED, o->revision);
}

/* On the store thread. */
static void on_done(struct store_change *ch, const struct store_outcome *o)
{
    struct pulse *p = container_of(ch, struct pulse, change);

    p->outcome = *o;
    p->letter.run = on_settled;
    core_post(p->core, &p->letter);
}

static void on_commit(void *ctx, const struct plan *plan, const char *what)
{
    struct pulse *p = ctx;

    p->change = (struct store_change){
        .guards = plan->guards,
        .guard_count = plan->guard_count,
        .ops = plan->ops,
        .op_count = plan->op_count,
        .meta = bytes_str(what),
        .done = on_done,
    };
    p->outcome = (struct store_outcome){.verdict = STORE_UNAVAILABLE};
    enum err e =
        store_submit(p->core->process->store, &p->change, &p->outcome.text);
    if (e == ERR_OK)
        return;
    p->outcome.why = e;
    p->letter.run = on_settled;
    core_post(p->core, &p->letter);
}

static void on_told(void *ctx, struct bytes node, const char *what,
                    uint64_t unheard_ms)
{
    bool grave = strcmp(what, "failed") == 0 || strcmp(what, "removed") == 0;

    (void)ctx;
    log_if(grave ? LOG_WARN : LOG_INFO, "liveness",
           "node=%.*s is %s: unheard_ms=%llu", BYTES_ARG(node), what,
           (unsigned long long)unheard_ms);
}

/* --- Running ------------------------------------------------------------- */

static void on_timer(struct timer *t)
{
    struct pulse *p = container_of(t, struct pulse, timer);

    if (p->stopped || !p->held)
        return;
    timer_set(&p->core->timers, &p->timer, LIVENESS_TICK_MS);
    if (!p->core->loaded)
        return;
    if (now_ms(p) >= p->reported_ms + PULSE_REPORT_MS) {
        p->reported_ms = now_ms(p);
        report_own(p);
        ask_servers(p);
    }
    liveness_run(p->machine, now_ms(p), serving_wall_ms());
}

void pulse_gained(struct core *c, const struct store_guard *fence)
{
    struct pulse *p = c->pulse;

    if (!p || p->stopped)
        return;
    p->held = true;
    liveness_gained(p->machine, fence, now_ms(p));
    timer_set(&c->timers, &p->timer, 1);
}

void pulse_lost(struct core *c)
{
    if (!c->pulse || c->pulse->stopped)
        return;
    c->pulse->held = false;
    forget_copies(c->pulse);
    liveness_lost(c->pulse->machine);
}

enum err pulse_new(struct core *c)
{
    struct pulse *p = xzalloc(sizeof *p);

    p->core = c;
    p->timer.fire = on_timer;
    list_init(&p->letter.link);
    p->machine = liveness_new(&(struct liveness_options){
        .catalog = c->process->catalog,
        .seed = uv_hrtime(),
        .reconnect_ms = c->options.reconnect_ms,
        .probe = on_probe,
        .commit = on_commit,
        .told = on_told,
        .ctx = p,
    });
    c->pulse = p;
    return ERR_OK;
}

void pulse_stop(struct core *c)
{
    struct pulse *p = c->pulse;

    if (!p || p->stopped)
        return;
    p->stopped = true;
    timer_clear(&c->timers, &p->timer);
    peers_close(p->peers);
    p->peers = NULL;
}

void pulse_free(struct core *c)
{
    if (!c->pulse)
        return;
    forget_copies(c->pulse);
    liveness_free(c->pulse->machine);
    free(c->pulse);
    c->pulse = NULL;
}
