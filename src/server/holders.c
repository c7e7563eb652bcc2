/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/holders.h"

#include <stdlib.h>
#include <uv.h>

#include "api/entries.h"
#include "dns/dns.h"
#include "query/query.h"
#include "server/serving.h"
#include "server/watchers.h"

enum { HOLDERS_ARENA_MAX = 1 << 20 };

/* A target that somebody follows, as it was before. */
struct held {
    bool has;       /* the instance was in its answer */
    bool sees_none; /* it shows no checks: only deregistration tells it */
    char target[];
};

struct holders {
    uint64_t begun_ms;
    uint64_t before;   /* index of the service then */
    uint64_t revision; /* of the catalog then */
    uint64_t dns_ms;   /* for which DNS answers of this server may be kept */
    uint64_t dns_due_ms;
    bool reached;
    struct map targets; /* -> struct held */
    struct bytes node, name, id;
    char text[]; /* of these */
};

void holders_free(struct holders *h)
{
    size_t at = 0;
    struct bytes key;
    void *value;
    if (!h)
        return;
    while (map_next(&h->targets, &at, &key, &value))
        free(value);
    map_fini(&h->targets);
    free(h);
}

/* --- Before -------------------------------------------------------------- */

static void add_target(void *ctx, const struct watcher *w)
{
    struct holders *h = ctx;
    struct bytes target = bytes_str(w->target);
    if (h->targets.n >= HOLDERS_TARGETS_MAX || map_get(&h->targets, target))
        return;
    struct held *t = calloc(1, sizeof *t + target.n + 1);
    if (!t)
        return; /* is not known then: counts as having it */
    memcpy(t->target, target.p, target.n);
    if (map_put(&h->targets, bytes_of(t->target, target.n), t) != ERR_OK)
        free(t);
}

static void look_at(const struct holders *h, const struct api_env *env,
                    struct held *t)
{
    struct entry e = {.kind = ENTRY_INSTANCE, .a = h->node, .b = h->id};
    struct arena arena;
    struct api_call call;
    const char *why;
    arena_init(&arena, HOLDERS_ARENA_MAX);
    api_call_init(&call);
    t->has = true;
    if (api_from_canonical(&call, env, bytes_str(t->target), &arena) ==
            ERR_OK &&
        entries_has(&call)) {
        t->has = entry_read(&call, env, &e, &why);
        t->sees_none = call.watch.kind == WATCH_SERVICE;
    }
    api_call_fini(&call);
    arena_fini(&arena);
}

/* A server answers for agents whether or not it listens for DNS itself. */
/* The longest that a prepared query says for it; templates are for any. */
static uint32_t query_ttl_most(const struct api_env *env, struct bytes name)
{
    const struct cat_record *r;
    struct query_view q;
    struct tree_iter it;
    uint32_t most = 0, one;
    snapshot_queries(env->cat, &it);
    while ((r = snapshot_next_aside(&it))) {
        cat_query_view(r, &q);
        bool for_it = q.text[QUERY_TEMPLATE].n ||
                      bytes_eq_fold(q.text[QUERY_SERVICE], name);
        if (for_it && query_ttl_s(&q, &one) && one > most)
            most = one;
    }
    return most;
}

static uint64_t dns_ms(struct process *p, const struct api_env *env,
                       struct bytes name)
{
    const struct dns_settings *set = atomic_load(&p->dns);
    char space[256];
    struct buf folded = {.p = space, .cap = sizeof space, .max = sizeof space};
    if (!set || (!p->dnsd && !atomic_load(&p->dns_for_peers)))
        return 0;
    buf_put_fold(&folded, bytes_head(name, sizeof space));
    uint32_t ttl = dns_service_ttl_most(set, buf_bytes(&folded));
    uint32_t query = query_ttl_most(env, name);
    return (uint64_t)(ttl > query ? ttl : query) * 1000;
}

static uint64_t index_of(const struct api_env *env, struct bytes name)
{
    struct watch_key k = {WATCH_SERVICE_HEALTH, name};
    return snapshot_index(env->cat, k);
}

struct holders *holders_new(struct process *p, const struct api_env *env,
                            struct bytes node, struct bytes name,
                            struct bytes id)
{
    struct holders *h = calloc(1, sizeof *h + node.n + name.n + id.n + 1);
    size_t at = 0;
    struct bytes key;
    void *value;
    if (!h)
        return NULL;
    char *text = h->text;
    h->node = bytes_append(&text, node);
    h->name = bytes_append(&text, name);
    h->id = bytes_append(&text, id);
    h->begun_ms = process_now_ms();
    h->before = index_of(env, h->name);
    h->revision = snapshot_revision(env->cat);
    h->dns_ms = dns_ms(p, env, h->name);
    subscribers_of(p->subscribers, h->name, add_target, h);
    while (map_next(&h->targets, &at, &key, &value))
        look_at(h, env, value);
    return h;
}

uint64_t holders_need(const struct process *p, const struct api_env *env,
                      struct bytes node, struct bytes name, struct bytes id)
{
    const struct cat_node *n = snapshot_node(env->cat, node);
    struct check_view v;
    struct buf check = {0};
    const struct cat_record *r = NULL;
    buf_puts(&check, LOCAL_DRAIN);
    buf_put(&check, id);
    if (n && !check.bad)
        r = cat_node_check(n, buf_bytes(&check));
    buf_fini(&check);
    if (!r)
        return 0;
    cat_check_view(r, &v);
    /* What nobody is woken for moves the record, and not the index that readers
     * have. An agent's mirror need not have all of the service. */
    uint64_t index = p->link ? 0 : index_of(env, name);
    return index && index < v.modify_rev ? index : v.modify_rev;
}

/* --- After --------------------------------------------------------------- */

/* May it still give the instance to somebody? */
static bool holds(const struct holders *h, uint64_t need,
                  const struct watcher *w)
{
    const struct held *t = map_get(&h->targets, bytes_str(w->target));
    if (t && t->sees_none)
        return t->has;
    if (w->applied >= need)
        return false;
    if (!t || t->has || w->joined_ms >= h->begun_ms)
        return true;
    /* It had not; but it may have had it before that, or got it since. */
    if (w->stream)
        return w->behind || w->applied < w->told || w->told > h->revision ||
               w->at < need;
    return w->applied < h->before || w->applied > h->revision;
}

struct look {
    struct holders *h;
    uint64_t need, now_ms;
    bool first; /* since all here have seen what is needed */
    struct holders_state *state;
    struct json_out *j;  /* NULL: only counts */
    struct bytes server; /* whose rows these are */
    size_t told, more;
};

static void look_one(void *ctx, const struct watcher *w)
{
    struct look *l = ctx;
    struct holders *h = l->h;
    struct holders_state *s = l->state;
    if (w->unknown_ms > s->unknown_ms)
        s->unknown_ms = w->unknown_ms;
    /* What the agent behind it says in DNS runs out later than what it knows. */
    if (w->dns_ms && (l->first || w->applied < l->need) &&
        h->dns_due_ms < l->now_ms + w->dns_ms)
        h->dns_due_ms = l->now_ms + w->dns_ms;
    if (holds(h, l->need, w))
        s->holding++;
}

static void count_unproven(void *ctx, const struct unproven *u)
{
    size_t *n = ctx;
    (void)u;
    ++*n;
}

void holders_look(struct holders *h, struct process *p, uint64_t need,
                  struct holders_state *ret)
{
    uint64_t seen = serving_seen(p), now = process_now_ms();
    bool reached = seen >= need;
    struct look l = {.h = h,
                     .need = need,
                     .now_ms = now,
                     .first = reached && !h->reached,
                     .state = ret};
    *ret = (struct holders_state){.index = seen, .reached = reached};
    ret->unknown_ms = subscribers_unknown_ms(p->subscribers);
    if (l.first)
        h->dns_due_ms = now + h->dns_ms;
    h->reached |= reached;
    subscribers_of(p->subscribers, h->name, look_one, &l);
    ret->unproven_complete = subscribers_unproven(
        p->subscribers, h->name, count_unproven, &ret->unproven);
    ret->dns_left_ms = !h->reached           ? h->dns_ms
                       : now < h->dns_due_ms ? h->dns_due_ms - now
                                             : 0;
}

static void put_one(void *ctx, const struct watcher *w)
{
    struct look *l = ctx;
    if (!holds(l->h, l->need, w))
        return;
    if (l->told >= HOLDERS_TOLD_MAX) {
        l->more++;
        return;
    }
    l->told++;
    watchers_put(l->j, l->server, w);
}

static void put_unproven(void *ctx, const struct unproven *u)
{
    struct look *l = ctx;
    if (l->told < HOLDERS_TOLD_MAX)
        watchers_put_reader(l->j, l->server, u);
    l->told++;
}

void holders_put(struct holders *h, struct process *p, uint64_t need,
                 struct json_out *waiting, struct json_out *unproven,
                 size_t *ret_more)
{
    struct look l = {
        .h = h, .need = need, .j = waiting, .server = p->self.node_name};
    subscribers_of(p->subscribers, h->name, put_one, &l);
    *ret_more = l.more;
    l.j = unproven;
    l.told = 0;
    (void)subscribers_unproven(p->subscribers, h->name, put_unproven, &l);
}
