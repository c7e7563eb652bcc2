/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/drain.h"

#include <stdio.h>
#include <stdlib.h>

#include "api/entries.h"
#include "dns/dns.h"
#include "server/watchers.h"

enum { DRAIN_ARENA_MAX = 1 << 20, DRAIN_TARGETS_MAX = 4096 };

/* A target that somebody follows, as it was before. */
struct held {
    bool has;       /* the instance was in its answer */
    bool sees_none; /* it shows no checks: only deregistration tells it */
    char target[];
};

struct drain {
    struct serving *serving;
    struct timer timer;
    struct api_call *call;
    void (*done)(void *ctx, bool deregister);
    void *ctx;
    uint64_t begun_ms, due_ms; /* monotonic */
    uint64_t dns_ms;           /* for which DNS answers may be kept */
    uint64_t dns_due_ms;       /* until then those may be with the instance */
    uint64_t before, need;     /* index of the service before, and after */
    bool deregister, trust;
    size_t others;      /* servers that know other subscribers */
    struct map targets; /* -> struct held */
    char *node, *name, *id;
};

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000;
}

static char *text_of(struct bytes b)
{
    char *p = malloc(b.n + 1);
    if (p) {
        if (b.n)
            memcpy(p, b.p, b.n);
        p[b.n] = 0;
    }
    return p;
}

void drain_free(struct drain *d)
{
    size_t at = 0;
    struct bytes key;
    void *value;
    if (!d)
        return;
    timer_clear(&d->serving->timers, &d->timer);
    while (map_next(&d->targets, &at, &key, &value))
        free(value);
    map_fini(&d->targets);
    free(d->node);
    free(d->name);
    free(d->id);
    free(d);
}

/* --- Before -------------------------------------------------------------- */

static void add_target(void *ctx, const struct watcher *w)
{
    struct drain *d = ctx;
    struct bytes target = bytes_str(w->target);
    if (d->targets.n >= DRAIN_TARGETS_MAX || map_get(&d->targets, target))
        return;
    struct held *h = calloc(1, sizeof *h + target.n + 1);
    if (!h)
        return; /* is not known then: counts as having it */
    memcpy(h->target, target.p, target.n);
    if (map_put(&d->targets, bytes_of(h->target, target.n), h) != ERR_OK)
        free(h);
}

static void look_at(struct drain *d, const struct api_env *env, struct held *h)
{
    struct entry e = {
        .kind = ENTRY_INSTANCE, .a = bytes_str(d->node), .b = bytes_str(d->id)};
    struct arena arena;
    struct api_call call;
    const char *why;
    arena_init(&arena, DRAIN_ARENA_MAX);
    api_call_init(&call);
    h->has = true;
    if (api_from_canonical(&call, env, bytes_str(h->target), &arena) ==
            ERR_OK &&
        entries_has(&call)) {
        h->has = entry_read(&call, env, &e, &why);
        h->sees_none = call.watch.kind == WATCH_SERVICE;
    }
    api_call_fini(&call);
    arena_fini(&arena);
}

static uint64_t dns_ms(const struct serving *s, struct bytes name)
{
    struct process *p = s->process;
    const struct dns_settings *set = atomic_load(&p->dns);
    char space[256];
    struct buf folded = {.p = space, .cap = sizeof space, .max = sizeof space};
    if (!p->dnsd || !set)
        return 0;
    buf_put_fold(&folded, bytes_head(name, sizeof space));
    return (uint64_t)dns_service_ttl_most(set, buf_bytes(&folded)) * 1000;
}

static uint64_t index_of(const struct drain *d, const struct api_env *env)
{
    struct watch_key k = {WATCH_SERVICE_HEALTH, bytes_str(d->name)};
    return snapshot_index(env->cat, k);
}

/* Servers beside this one, alive or not: their subscribers are not known here. */
static size_t other_servers(const struct api_env *env)
{
    const struct cat_name *name = snapshot_name(env->cat, bytes_str("consul"));
    struct tree_iter it;
    size_t n = 0;
    if (!name)
        return 0;
    tree_first(&name->instances, &it);
    for (const struct cat_instance *i; (i = tree_next(&it));) {
        struct service_view v;
        cat_service_view(i->service, &v);
        n += !bytes_eq_fold(v.node, env->self->node_name);
    }
    return n;
}

struct drain *drain_prepare(struct serving *s, const struct api_call *call,
                            const struct api_env *env)
{
    const struct local_service *v = local_service(env->local, call->arg);
    struct drain *d = v ? calloc(1, sizeof *d) : NULL;
    size_t at = 0;
    struct bytes key;
    void *value;
    if (!d)
        return NULL;
    d->serving = s;
    d->node = text_of(env->self->node_name);
    d->name = text_of(v->view.name);
    d->id = text_of(v->view.id);
    d->deregister = call->drain_deregister;
    d->trust = call->drain_trust;
    d->begun_ms = now_ms();
    d->due_ms = d->begun_ms + call->wait_ms;
    if (!d->node || !d->name || !d->id) {
        drain_free(d);
        return NULL;
    }
    d->before = index_of(d, env);
    d->dns_ms = dns_ms(s, bytes_str(d->name));
    d->others = other_servers(env);
    subscribers_of(s->process->subscribers, bytes_str(d->name), add_target, d);
    while (map_next(&d->targets, &at, &key, &value))
        look_at(d, env, value);
    return d;
}

/* --- After --------------------------------------------------------------- */

struct look {
    struct drain *d;
    struct json_out *j; /* NULL: only counts */
    size_t holding;
};

/* May it still give the instance to somebody? */
static bool holds(const struct drain *d, const struct watcher *w)
{
    const struct held *h = map_get(&d->targets, bytes_str(w->target));
    bool came_later = w->joined_ms >= d->begun_ms;
    bool older =
        w->stream ? w->behind || w->applied < w->told : w->applied < d->before;
    if (h && h->sees_none)
        return h->has;
    if (w->applied >= d->need)
        return false;
    return !h || h->has || came_later || older;
}

static void look_one(void *ctx, const struct watcher *w)
{
    struct look *l = ctx;
    if (!holds(l->d, w))
        return;
    l->holding++;
    if (l->j)
        watchers_put(l->j, w);
}

static void count_unproven(void *ctx, const struct unproven *u)
{
    size_t *n = ctx;
    (void)u;
    ++*n;
}

static uint64_t dns_left_ms(const struct drain *d)
{
    uint64_t now = now_ms();
    return now < d->dns_due_ms ? d->dns_due_ms - now : 0;
}

/* How to go on, for people. */
static void put_next(struct json_out *j, const struct drain *d,
                     const struct look *l)
{
    struct subscribers *ss = d->serving->process->subscribers;
    uint64_t young = subscribers_unknown_ms(ss) / 1000;
    uint64_t memory = subscribers_memory_ms(ss) / 1000;
    char text[256];
    if (l->holding)
        snprintf(text, sizeof text,
                 "ask again: those in Waiting have to apply index %llu; one "
                 "that has gone counts for %llu s",
                 (unsigned long long)d->need, (unsigned long long)memory);
    else if (dns_left_ms(d))
        snprintf(text, sizeof text,
                 "ask again with a wait of %llu s: DNS "
                 "answers that have it may be kept so long",
                 (unsigned long long)dns_left_ms(d) / 1000 + 1);
    else if (subscribers_unknown_ms(ss))
        snprintf(text, sizeof text,
                 "ask again in %llu s: until then somebody may hold it who "
                 "has not been heard of since the server was started",
                 (unsigned long long)young + 1);
    else if (d->others)
        snprintf(text, sizeof text,
                 "servers beside this one (%zu) have subscribers that this "
                 "one does not know: look at /v1/muster/watchers of each, or "
                 "wait for %llu s, the longest that one may have been waiting",
                 d->others, (unsigned long long)memory);
    else
        snprintf(text, sizeof text,
                 "those in Unproven read it without saying what they have "
                 "applied: ask again when each HeardMs is above %llu, or, if "
                 "they do not matter, with trust-unproven",
                 (unsigned long long)memory * 1000);
    json_key(j, "Next");
    json_str(j, bytes_str(text));
}

static void answer(struct drain *d, const char *result, bool known)
{
    struct subscribers *ss = d->serving->process->subscribers;
    struct api_call *call = d->call;
    struct json_out j = json_out(&call->body);
    struct look l = {d, &j, 0};
    buf_reset(&call->body);
    call->status = 200;
    call->content_type = "application/json";
    json_open(&j, '{');
    json_key(&j, "Result");
    json_str(&j, bytes_str(result));
    json_key(&j, "Service");
    json_str(&j, bytes_str(d->name));
    json_key(&j, "ServiceID");
    json_str(&j, bytes_str(d->id));
    json_key(&j, "Index");
    json_u64(&j, d->need);
    json_key(&j, "TableComplete");
    json_bool(&j, known);
    json_key(&j, "OtherServers");
    json_u64(&j, d->others);
    json_key(&j, "DnsMs");
    json_u64(&j, dns_left_ms(d));
    json_key(&j, "Waiting");
    json_open(&j, '[');
    subscribers_of(ss, bytes_str(d->name), look_one, &l);
    json_close(&j, ']');
    watchers_put_unproven(ss, bytes_str(d->name), &j);
    if (!bytes_is(bytes_str(result), "safe"))
        put_next(&j, d, &l);
    json_key(&j, "Deregistered");
    json_bool(&j, d->deregister && bytes_is(bytes_str(result), "safe"));
    json_close(&j, '}');
}

/* One look; true: there is an answer. */
static bool look(struct drain *d)
{
    struct subscribers *ss = d->serving->process->subscribers;
    struct look l = {d, NULL, 0};
    size_t unproven = 0;
    subscribers_of(ss, bytes_str(d->name), look_one, &l);
    bool complete =
        subscribers_unproven(ss, bytes_str(d->name), count_unproven, &unproven);
    /* An agent knows who watches there, and not who watches elsewhere. */
    bool known = subscribers_unknown_ms(ss) == 0 &&
                 !d->serving->process->link && d->others == 0;
    bool proven = d->trust || (complete && unproven == 0);
    bool dns = dns_left_ms(d) > 0;
    bool safe = l.holding == 0 && !dns && known && proven;
    if (!safe && now_ms() < d->due_ms)
        return false;
    answer(d, safe ? "safe" : l.holding || dns ? "waiting" : "unknown", known);
    d->deregister = d->deregister && safe;
    return true;
}

static void on_timer(struct timer *t)
{
    struct drain *d = container_of(t, struct drain, timer);
    if (look(d))
        d->done(d->ctx, d->deregister);
    else
        timer_set(&d->serving->timers, &d->timer, DRAIN_LOOK_MS);
}

void drain_wait(struct drain *d, struct api_call *call,
                void (*done)(void *ctx, bool deregister), void *ctx)
{
    struct serving *s = d->serving;
    d->call = call;
    d->done = done;
    d->ctx = ctx;
    d->timer.fire = on_timer;
    serving_pin(s);
    struct api_env env = serving_env(s);
    d->need = index_of(d, &env);
    serving_unpin(s);
    d->dns_due_ms = now_ms() + d->dns_ms;
    timer_set(&s->timers, &d->timer, 1);
}
