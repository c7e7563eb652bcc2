/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/drain.h"

#include <stdio.h>
#include <stdlib.h>

#include "server/asks.h"
#include "server/subscribers.h"

struct drain {
    struct serving *serving;
    struct timer timer;
    struct api_call *call;
    void (*done)(void *ctx, bool deregister);
    void *ctx;
    uint64_t due_ms, patience_ms; /* monotonic */
    uint64_t wait_ms;
    uint64_t need; /* the index since which it is drained; 0: not known yet */
    bool deregister, trust;
    struct holders *holders; /* of this server; NULL: an agent */
    struct holders_state own;
    struct asks asks; /* the other servers */
    struct bytes node, name, id;
    char text[]; /* of these */
};

void drain_free(struct drain *d)
{
    if (!d)
        return;
    timer_clear(&d->serving->timers, &d->timer);
    asks_fini(&d->asks);
    holders_free(d->holders);
    free(d);
}

/* --- Before -------------------------------------------------------------- */

struct drain *drain_new(struct serving *s, const struct api_call *call,
                        const struct api_env *env)
{
    const struct local_service *v = local_service(env->local, call->arg);
    struct bytes node = env->self->node_name;
    struct drain *d =
        v ? calloc(1, sizeof *d + node.n + v->view.name.n + v->view.id.n + 1)
          : NULL;
    if (!d)
        return NULL;
    char *text = d->text;
    d->serving = s;
    d->node = bytes_append(&text, node);
    d->name = bytes_append(&text, v->view.name);
    d->id = bytes_append(&text, v->view.id);
    d->deregister = call->drain_deregister;
    d->trust = call->drain_trust;
    d->wait_ms = call->wait_ms;
    asks_init(&d->asks, s, d->node, d->name, d->id);
    if (!s->process->link)
        d->holders = holders_new(s->process, env, d->node, d->name, d->id);
    if (s->process->link || d->holders)
        return d;
    drain_free(d);
    return NULL;
}

bool drain_prepare(struct drain *d, void (*ready)(void *ctx), void *ctx)
{
    return asks_begin(&d->asks, ready, ctx);
}

void drain_hurry(struct drain *d)
{
    asks_hurry(&d->asks);
}

/* --- After --------------------------------------------------------------- */

static bool has_seen(const struct drain *d, const struct holders_state *s)
{
    return d->need && s->index >= d->need;
}

static struct drain_sum sum_of(struct drain *d)
{
    struct drain_sum sum = drain_sum_of_none();
    struct asks *a = &d->asks;
    if (d->holders) {
        drain_sum_add(&sum, &d->own);
    } else if (!a->listed) {
        sum.silent++;
    }
    sum.behind += d->need == 0;
    sum.silent += a->too_many;
    for (size_t i = 0; i < a->n; i++) {
        struct asked *x = a->v[i];
        x->state.reached = has_seen(d, &x->state);
        if (x->answered)
            drain_sum_add(&sum, &x->state);
        else
            sum.silent++;
    }
    return sum;
}

/* --- How to go on, for people -------------------------------------------- */

static uint64_t seconds(uint64_t ms)
{
    return ms / 1000 + 1;
}

/* Which server it is that says too little. */
static bool next_of_server(const struct drain *d, const struct drain_sum *sum,
                           char *text, size_t n)
{
    const struct asks *a = &d->asks;
    if (!d->need) {
        snprintf(text, n,
                 "ask again: the servers do not know yet that it is drained");
        return true;
    }
    if (!d->holders && !a->listed) {
        snprintf(text, n, "ask again once a server can be asked: %s",
                 a->list_why.s);
        return true;
    }
    for (size_t i = 0; i < a->n; i++) {
        const struct asked *x = a->v[i];
        if (x->answered)
            continue;
        snprintf(text, n,
                 "server %.*s cannot be asked: %.200s. Ask again when it "
                 "answers, or once it has left (muster force-leave %.*s)",
                 BYTES_ARG(bytes_head(x->node, 64)), x->why.s,
                 BYTES_ARG(bytes_head(x->node, 64)));
        return true;
    }
    if (a->too_many)
        snprintf(text, n, "there are more than %d servers, which is the limit",
                 API_SERVERS_MAX);
    else if (sum->behind)
        snprintf(text, n, "ask again: a server has not seen index %llu yet",
                 (unsigned long long)d->need);
    return a->too_many || sum->behind;
}

static void put_next(struct json_out *j, const struct drain *d,
                     const struct drain_sum *sum)
{
    struct subscribers *ss = d->serving->process->subscribers;
    uint64_t memory = subscribers_memory_ms(ss) / 1000;
    char text[512];
    if (sum->holding)
        snprintf(text, sizeof text,
                 "ask again: those in Waiting have to apply index %llu; one "
                 "that has gone counts for %llu s",
                 (unsigned long long)d->need, (unsigned long long)memory);
    else if (sum->dns_left_ms)
        snprintf(text, sizeof text,
                 "ask again with a wait of %llu s: DNS "
                 "answers that have it may be kept so long",
                 (unsigned long long)seconds(sum->dns_left_ms));
    else if (next_of_server(d, sum, text, sizeof text))
        ;
    else if (sum->unknown_ms)
        snprintf(text, sizeof text,
                 "ask again in %llu s: until then somebody may hold it who "
                 "has not been heard of since a server, or an agent, was "
                 "started",
                 (unsigned long long)seconds(sum->unknown_ms));
    else
        snprintf(text, sizeof text,
                 "those in Unproven read it without saying what they have "
                 "applied: ask again when each HeardMs is above %llu, or, if "
                 "they do not matter, with trust-unproven",
                 (unsigned long long)memory * 1000);
    json_key(j, "Next");
    json_str(j, bytes_str(text));
}

/* --- The answer ---------------------------------------------------------- */

static void put_server(struct json_out *j, struct bytes node, bool answered,
                       const struct holders_state *s, const char *why)
{
    json_open(j, '{');
    json_key(j, "Node");
    json_str(j, node);
    json_key(j, "Answered");
    json_bool(j, answered);
    if (answered) {
        json_member_u64(j, "Index", s->index);
        json_member_u64(j, "Holding", s->holding);
        json_key(j, "TableComplete");
        json_bool(j, s->unknown_ms == 0);
    } else {
        json_key(j, "Why");
        json_str(j, bytes_str(why));
    }
    json_close(j, '}');
}

static void put_servers(struct json_out *j, const struct drain *d)
{
    json_key(j, "Servers");
    json_open(j, '[');
    if (d->holders)
        put_server(j, d->node, true, &d->own, NULL);
    for (size_t i = 0; i < d->asks.n; i++) {
        const struct asked *x = d->asks.v[i];
        put_server(j, x->node, x->answered, &x->state, x->why.s);
    }
    json_close(j, ']');
}

static void put_rows(struct json_out *j, const struct buf *rows)
{
    if (rows->n)
        json_raw(j, buf_bytes(rows));
}

/* The rows of all; each is as its server wrote it. */
static void put_lists(struct json_out *j, const struct drain *d)
{
    struct buf waiting = {0}, unproven = {0};
    struct json_out w = json_out(&waiting), u = json_out(&unproven);
    const struct asks *a = &d->asks;
    size_t more = 0;
    if (d->holders)
        holders_put(d->holders, d->serving->process, d->need, &w, &u, &more);
    json_key(j, "Waiting");
    json_open(j, '[');
    put_rows(j, &waiting);
    for (size_t i = 0; i < a->n; i++)
        if (a->v[i]->answered) {
            put_rows(j, &a->v[i]->waiting);
            more += a->v[i]->more;
        }
    json_close(j, ']');
    json_member_u64(j, "WaitingMore", more);
    json_key(j, "Unproven");
    json_open(j, '[');
    put_rows(j, &unproven);
    for (size_t i = 0; i < a->n; i++)
        if (a->v[i]->answered)
            put_rows(j, &a->v[i]->unproven);
    json_close(j, ']');
    j->out->bad |= waiting.bad || unproven.bad;
    buf_fini(&waiting);
    buf_fini(&unproven);
}

static void answer(struct drain *d, enum drain_result result,
                   const struct drain_sum *sum)
{
    static const char *const names[] = {
        [DRAIN_SAFE] = "safe",
        [DRAIN_WAITING] = "waiting",
        [DRAIN_UNKNOWN] = "unknown",
    };
    struct api_call *call = d->call;
    struct json_out j = json_out(&call->body);
    buf_reset(&call->body);
    call->status = 200;
    call->content_type = "application/json";
    json_open(&j, '{');
    json_key(&j, "Result");
    json_str(&j, bytes_str(names[result]));
    json_key(&j, "Service");
    json_str(&j, d->name);
    json_key(&j, "ServiceID");
    json_str(&j, d->id);
    json_member_u64(&j, "Index", d->need);
    json_key(&j, "TableComplete");
    json_bool(&j, sum->silent == 0 && sum->unknown_ms == 0);
    json_member_u64(&j, "DnsMs", sum->dns_left_ms);
    put_servers(&j, d);
    put_lists(&j, d);
    json_key(&j, "UnprovenComplete");
    json_bool(&j, sum->silent == 0 && sum->unproven_complete);
    if (result != DRAIN_SAFE)
        put_next(&j, d, sum);
    json_key(&j, "Deregistered");
    json_bool(&j, d->deregister && result == DRAIN_SAFE);
    json_close(&j, '}');
}

/* Has everybody said something, or been given up? */
static bool all_have_spoken(const struct drain *d)
{
    const struct asks *a = &d->asks;
    if (!d->need || (d->holders && !d->own.reached))
        return false;
    if (!d->holders && !a->listed && !a->list_failed)
        return false;
    for (size_t i = 0; i < a->n; i++) {
        const struct asked *x = a->v[i];
        if (!x->failed && !(x->answered && x->state.reached))
            return false;
    }
    return true;
}

static bool is_over(const struct drain *d)
{
    uint64_t now = process_now_ms();
    return now >= d->due_ms && (all_have_spoken(d) || now >= d->patience_ms);
}

/* One look; true: there is an answer. Pinned. */
static bool look(struct drain *d)
{
    struct serving *s = d->serving;
    struct api_env env = serving_env(s);
    if (!d->need)
        d->need = holders_need(s->process, &env, d->node, d->name, d->id);
    if (d->holders)
        holders_look(d->holders, s->process, d->need ? d->need : UINT64_MAX,
                     &d->own);
    if (d->need)
        asks_round(&d->asks, d->need);
    struct drain_sum sum = sum_of(d);
    enum drain_result result = drain_sum_result(&sum, d->trust);
    if (result != DRAIN_SAFE && !is_over(d))
        return false;
    answer(d, result, &sum);
    d->deregister = d->deregister && result == DRAIN_SAFE;
    return true;
}

static void on_timer(struct timer *t)
{
    struct drain *d = container_of(t, struct drain, timer);
    struct serving *s = d->serving;
    serving_pin(s);
    bool answered = look(d);
    serving_unpin(s);
    if (answered)
        d->done(d->ctx, d->deregister);
    else
        timer_set(&s->timers, &d->timer, DRAIN_LOOK_MS);
}

void drain_wait(struct drain *d, struct api_call *call,
                void (*done)(void *ctx, bool deregister), void *ctx)
{
    d->call = call;
    d->done = done;
    d->ctx = ctx;
    d->timer.fire = on_timer;
    d->due_ms = process_now_ms() + d->wait_ms;
    d->patience_ms = process_now_ms() + DRAIN_PATIENCE_MS;
    timer_set(&d->serving->timers, &d->timer, 1);
}
