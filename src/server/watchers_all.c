/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Who watches, and how fast they are, on all servers of the cluster: each of the
 * others is asked for its own (?local&top), and its rows are put beside ours. */
#include <stdio.h>
#include <stdlib.h>

#include "base/net.h"
#include "http/json_in.h"
#include "http/json_scan.h"
#include "loop/peer.h"
#include "server/watchers.h"

/* One of the others. */
struct other {
    struct everyone *all;
    struct fetch *fetch;
    char node[128], to[300];
    bool answered;
    struct errtext why; /* not answered */
    char *body;         /* its answer */
    size_t body_n;
};

struct everyone {
    struct serving *serving;
    struct conn *conn;
    struct api_call call;
    enum api_next next;
    size_t n, left;
    bool too_many; /* servers: not all are asked */
    struct other v[API_SERVERS_MAX];
};

static void everyone_free(struct everyone *e)
{
    for (size_t i = 0; i < e->n; i++) {
        if (e->v[i].fetch)
            fetch_cancel(e->v[i].fetch);
        free(e->v[i].body);
    }
    ((struct conn_state *)conn_user(e->conn))->everyone = NULL;
    e->serving->outstanding--;
    api_call_fini(&e->call);
    free(e);
}

/* --- What they say ------------------------------------------------------- */

struct lag_in {
    struct bytes service, buckets;
    int64_t n, sum_ms, max_ms;
};

struct other_in {
    struct bytes server, subscribers, unproven, worst;
    bool complete, unproven_complete;
    int64_t more;
    struct json_list services;
};

/* clang-format off */
#define OTHER(type, name, kind, member, of) {name, NULL, kind, offsetof(struct type, member), of, JSON_NO_FLAG}
static const struct json_field lag_fields[] = {
    OTHER(lag_in, "Service", FIELD_STRING, service, NULL),
    OTHER(lag_in, "Count", FIELD_INT, n, NULL),
    OTHER(lag_in, "SumMs", FIELD_INT, sum_ms, NULL),
    OTHER(lag_in, "MaxMs", FIELD_INT, max_ms, NULL),
    OTHER(lag_in, "Buckets", FIELD_RAW, buckets, NULL),
};
static const struct json_table lag_table = {lag_fields, 5, sizeof(struct lag_in)};
static const struct json_field other_fields[] = {
    OTHER(other_in, "Server", FIELD_STRING, server, NULL),
    OTHER(other_in, "Complete", FIELD_BOOL, complete, NULL),
    OTHER(other_in, "Subscribers", FIELD_RAW, subscribers, NULL),
    OTHER(other_in, "SubscribersMore", FIELD_INT, more, NULL),
    OTHER(other_in, "Unproven", FIELD_RAW, unproven, NULL),
    OTHER(other_in, "UnprovenComplete", FIELD_BOOL, unproven_complete, NULL),
    OTHER(other_in, "Services", FIELD_LIST, services, &lag_table),
    OTHER(other_in, "Worst", FIELD_RAW, worst, NULL),
};
static const struct json_table other_table = {other_fields, 8, sizeof(struct other_in)};
/* clang-format on */

/* Of a list, without its brackets. */
static void put_rows(struct json_out *j, struct bytes list)
{
    if (list.n > 2 && list.p[0] == '[')
        json_raw(j, bytes_of(list.p + 1, list.n - 2));
}

static uint64_t number(int64_t v)
{
    return v > 0 ? (uint64_t)v : 0;
}

static void add_lags(struct lags *sum, const struct other_in *in,
                     struct arena *arena)
{
    const struct lag_in *v = in->services.v;

    for (size_t i = 0; i < in->services.n; i++) {
        struct lag_row r = {.service = arena_str(arena, v[i].service),
                            .n = number(v[i].n),
                            .sum_ms = number(v[i].sum_ms),
                            .max_ms = number(v[i].max_ms)};
        struct bytes rest = v[i].buckets.n ? json_inside(v[i].buckets)
                                           : (struct bytes){NULL, 0};
        struct bytes one;
        for (size_t k = 0; k < LAG_BUCKETS && json_take(&rest, &one); k++)
            if (bytes_u64(one, &r.buckets[k]) != ERR_OK)
                r.buckets[k] = 0;
        if (r.service)
            lags_add(sum, &r);
    }
}

/* --- The answer ---------------------------------------------------------- */

/* What becomes of all of them. */
struct answer_of {
    struct json_out subscribers, unproven, worst;
    struct lags lags;
    size_t more;
    bool complete, unproven_complete;
};

static void put_server(struct json_out *j, struct bytes node, bool answered,
                       const char *why)
{
    json_open(j, '{');
    json_key(j, "Node");
    json_str(j, node);
    json_key(j, "Answered");
    json_bool(j, answered);
    if (!answered) {
        json_key(j, "Why");
        json_str(j, bytes_str(why));
    }
    json_close(j, '}');
}

static void take_own(struct everyone *e, struct answer_of *a)
{
    struct process *p = e->serving->process;

    if (e->next == API_LAG) {
        lag_take(p, &a->lags, &a->worst);
        return;
    }
    a->complete = subscribers_unknown_ms(p->subscribers) == 0;
    a->more =
        watchers_put_all(p, e->call.arg, WATCHERS_TOLD_MAX, &a->subscribers);
    a->unproven_complete =
        watchers_put_readers(p, e->call.arg, WATCHERS_TOLD_MAX, &a->unproven);
}

/* False: that is no answer. */
static bool take_other(struct other *o, struct answer_of *a)
{
    struct bytes body = bytes_of(o->body, o->body_n);
    struct errtext t = {{0}};
    struct other_in in;
    struct arena arena;

    arena_init(&arena, 0);
    bool ok = json_decode(body, &other_table, &in, &arena, &t) == ERR_OK &&
              bytes_eq_fold(in.server, bytes_str(o->node));
    if (ok) {
        put_rows(&a->subscribers, in.subscribers);
        put_rows(&a->unproven, in.unproven);
        put_rows(&a->worst, in.worst);
        a->more += number(in.more);
        a->complete &= in.complete;
        a->unproven_complete &= in.unproven_complete;
        add_lags(&a->lags, &in, &arena);
    }
    arena_fini(&arena);
    return ok;
}

static void put_list(struct json_out *j, const char *key,
                     const struct json_out *rows)
{
    json_key(j, key);
    json_open(j, '[');
    if (rows->out->n)
        json_raw(j, buf_bytes(rows->out));
    json_close(j, ']');
    j->out->bad |= rows->out->bad;
}

static void put_watchers(struct json_out *j, const struct everyone *e,
                         const struct answer_of *a)
{
    json_key(j, "Service");
    json_str(j, e->call.arg);
    json_key(j, "Complete");
    json_bool(j, a->complete);
    put_list(j, "Subscribers", &a->subscribers);
    json_key(j, "SubscribersMore");
    json_u64(j, a->more);
    put_list(j, "Unproven", &a->unproven);
    json_key(j, "UnprovenComplete");
    json_bool(j, a->unproven_complete);
}

static void put_lags(struct json_out *j, const struct everyone *e,
                     const struct answer_of *a)
{
    lag_put_services(j, &a->lags, http_param_value(e->call.request, "service"));
    put_list(j, "Worst", &a->worst);
}

static void answer(struct everyone *e)
{
    struct serving *s = e->serving;
    struct conn *c = e->conn;
    struct buf rows[3] = {{0}, {0}, {0}}, servers = {0};
    struct answer_of a = {.subscribers = json_out(&rows[0]),
                          .unproven = json_out(&rows[1]),
                          .worst = json_out(&rows[2]),
                          .complete = true,
                          .unproven_complete = true};
    struct json_out sj = json_out(&servers);

    take_own(e, &a);
    put_server(&sj, s->process->self.node_name, true, NULL);
    for (size_t i = 0; i < e->n; i++) {
        struct other *o = &e->v[i];
        if (o->answered && !take_other(o, &a)) {
            o->answered = false;
            errtext_set(&o->why, "it answers something else than it should");
        }
        a.complete &= o->answered;
        a.unproven_complete &= o->answered;
        put_server(&sj, bytes_str(o->node), o->answered, o->why.s);
    }
    a.complete &= !e->too_many;
    a.unproven_complete &= !e->too_many;
    struct json_out j = watchers_begin(&e->call);
    put_list(&j, "Servers", &sj);
    if (e->next == API_LAG)
        put_lags(&j, e, &a);
    else
        put_watchers(&j, e, &a);
    watchers_end(&e->call, &j);
    for (size_t i = 0; i < 3; i++)
        buf_fini(&rows[i]);
    buf_fini(&servers);
    lags_fini(&a.lags);
    struct api_call call = e->call;
    api_call_init(&e->call);
    everyone_free(e);
    serving_answer_call(s, c, &call, 1, call.request->accepts_gzip);
    api_call_fini(&call);
}

/* --- Asking -------------------------------------------------------------- */

static void told(void *ctx, const struct fetch_result *r)
{
    struct other *o = ctx;

    o->fetch = NULL;
    o->body =
        r->err == ERR_OK && r->status == 200 ? malloc(r->body.n + 1) : NULL;
    if (o->body) {
        o->answered = true;
        o->body_n = r->body.n;
        if (r->body.n)
            memcpy(o->body, r->body.p, r->body.n);
    } else if (r->err != ERR_OK) {
        errtext_set(&o->why, "%s", r->text.s);
    } else {
        errtext_set(&o->why, "it answers %d", r->status);
    }
    if (--o->all->left == 0)
        answer(o->all);
}

static void add_server(void *ctx, const struct api_peer *p)
{
    struct everyone *e = ctx;

    if (bytes_eq_fold(p->node, e->serving->process->self.node_name))
        return;
    e->too_many |= e->n == API_SERVERS_MAX;
    if (e->too_many)
        return;
    struct other *o = &e->v[e->n++];
    *o = (struct other){.all = e};
    snprintf(o->node, sizeof o->node, "%.*s",
             BYTES_ARG(bytes_head(p->node, sizeof o->node - 1)));
    if (p->port)
        net_host_port(o->to, sizeof o->to, bytes_head(p->address, 255),
                      p->port);
    errtext_set(&o->why, "it has no listener for peers (ports.serf_lan)");
}

static void put_target(struct buf *out, const struct api_call *call,
                       enum api_next next)
{
    struct bytes service = http_param_value(call->request, "service");

    if (next == API_LAG) {
        buf_puts(out, "/v1/muster/lag?local&");
        buf_puts(out, service.n ? "service=" : "top");
        http_encode(out, service);
    } else {
        buf_puts(out, "/v1/muster/watchers/");
        http_encode(out, call->arg);
        buf_puts(out, "?local&top");
    }
    buf_putc(out, '\0');
}

static void ask(struct everyone *e)
{
    struct peers *peers = serving_peers(e->serving);
    struct buf target = {0};

    put_target(&target, &e->call, e->next);
    for (size_t i = 0; i < e->n; i++) {
        struct other *o = &e->v[i];
        const struct peer_request q = {
            .to = o->to, .target = target.p, .timeout_ms = WATCHERS_ASK_MS};
        if (!o->to[0] || target.bad || !peers)
            continue;
        if (peer_ask(peers, &q, told, o, &o->fetch) == ERR_OK)
            e->left++;
        else
            errtext_set(&o->why, "out of memory");
    }
    buf_fini(&target);
}

static void answer_alone(struct serving *s, struct conn *c,
                         struct api_call *call, enum api_next next)
{
    if (next == API_LAG)
        lag_answer(s->process, call);
    else
        watchers_answer(s->process, call);
    serving_answer_call(s, c, call, 1, call->request->accepts_gzip);
    api_call_fini(call);
}

void watchers_all(struct serving *s, struct conn *c, struct api_call *call,
                  enum api_next next)
{
    bool local = http_param(call->request, "local") || s->process->link;
    struct api_env env = serving_env(s);
    struct everyone *e = local ? NULL : calloc(1, sizeof *e);

    if (e) {
        e->serving = s;
        api_each_server(&env, add_server, e);
    }
    if (!e || e->n == 0) {
        free(e);
        answer_alone(s, c, call, next);
        return;
    }
    e->conn = c;
    e->call = *call; /* its buffers move */
    e->next = next;
    s->outstanding++;
    ((struct conn_state *)conn_user(c))->everyone = e;
    ask(e);
    if (e->left == 0)
        answer(e);
}

void watchers_all_gone(struct conn_state *st)
{
    if (st->everyone)
        everyone_free(st->everyone);
}
