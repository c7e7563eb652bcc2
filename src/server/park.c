/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Long polls.
 *
 * All connections of this thread that wait for the same canonical target stand
 * in one group; a change of its watch key evaluates the target once for all of
 * them. If the digest of the answer is what they have, they stay parked: nobody
 * wakes without a change to his answer. */
#include "server/mirror_serve.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/metric.h"

void parks_init(struct parks *p)
{
    *p = (struct parks){0};
    list_init(&p->dirty);
}

void parks_fini(struct parks *p)
{
    follows_fini(&p->groups);
}

static void count_parked(struct serving *s, bool more)
{
    metric_add(METRIC_HTTP_PARKED, more ? 1 : -1);
    if (more)
        serving_waits(s, true);
    else
        serving_waits(s, false);
}

/* --- Groups -------------------------------------------------------------- */

static struct park_group *group_of(struct follow *f)
{
    return f ? container_of(f, struct park_group, follow) : NULL;
}

static struct park_group *group_find(const struct parks *p, struct bytes target)
{
    return group_of(follows_find(&p->groups, target));
}

static void group_free(struct parks *p, struct park_group *g)
{
    follows_del(&p->groups, &g->follow);
    list_del(&g->dirty);
    free(g);
}

static struct park_group *group_new(struct parks *p, struct bytes target,
                                    uint64_t hash, const struct dc_mirror *of)
{
    struct park_group *g = calloc(1, sizeof *g + target.n);
    if (!g)
        return NULL;
    memcpy(g + 1, target.p, target.n);
    g->follow.target = bytes_of(g + 1, target.n);
    g->follow.hash = hash;
    g->follow.of = of;
    list_init(&g->dirty);
    list_init(&g->parked);
    if (follows_add(&p->groups, &g->follow) == ERR_OK)
        return g;
    free(g);
    return NULL;
}

static bool group_wants_gzip(const struct park_group *g)
{
    for (const struct list *l = g->parked.next; l != &g->parked; l = l->next)
        if (container_of(l, struct park, link)->gzip)
            return true;
    return false;
}

/* --- Waking -------------------------------------------------------------- */

static uint64_t asked_of(const struct park *p, const struct api_env *env)
{
    /* An asked index above all we have is another life's: not counted. */
    return p->asked <= snapshot_revision(env->cat) ? p->asked : 0;
}

/* Answers all whose index is older than this one. Takes everybody out first: an
 * answer may make a connection end, or park again. */
static void group_answer_all(struct serving *s, struct park_group *g,
                             struct answer *a, struct api_call *call,
                             const struct api_env *env, uint64_t index)
{
    struct list all;
    list_init(&all);
    list_move_all(&all, &g->parked);
    if (a)
        answer_ref(a);
    while (!list_empty(&all)) {
        struct park *p = container_of(all.next, struct park, link);
        uint64_t asked = asked_of(p, env);
        list_del(&p->link);
        if (a && asked >= index) { /* came later, and has this one */
            list_add(&g->parked, &p->link);
            continue;
        }
        p->group = NULL;
        timer_clear(&s->timers, &p->timer);
        count_parked(s, false);
        metric_add(METRIC_HTTP_WOKEN, 1);
        if (a)
            serving_answer(s, p->conn, a, index, p->gzip);
        else
            serving_answer_call(s, p->conn, call, index < asked ? asked : index,
                                p->gzip);
    }
    if (a)
        answer_unref(a);
}

/* Compressing the answer here would keep others waiting. */
static bool packs_long(const struct park_group *g, size_t n)
{
    return n > GZIP_HERE_MAX_BYTES && group_wants_gzip(g);
}

/* The call's answer, if it can be made here; false: a draft will tell. */
static bool group_read(struct serving *s, struct park_group *g,
                       struct api_call *call, const struct api_env *env)
{
    call->want_digest = true;
    call->cost_limit = g->by_hash ? 0 : READ_HERE_MAX_COST;
    api_read(call, env);
    call->cost_limit = 0;
    if (!call->too_long && (g->by_hash || !packs_long(g, call->body.n)))
        return true;
    if (draft_begin(s, g->follow.target, group_wants_gzip(g)))
        return false;
    if (call->too_long) {
        buf_reset(&call->body);
        api_read(call, env);
    }
    return true;
}

/* Answers all of the group if the call's answer is not what they have. */
static void group_compare(struct serving *s, struct park_group *g,
                          struct api_call *call, const struct api_env *env)
{
    uint64_t index = serving_key_index(env, call->watch);
    if (index == g->index && !g->by_hash && !g->unknown)
        return;
    /* park_drafted looks whether that is new enough. */
    if (draft_under_way(s, g->follow.target) || !group_read(s, g, call, env))
        return;
    bool whole = call->status == 200 && !call->body.bad;
    uint64_t digest = g->by_hash ? call->content_hash : call->digest;
    bool same = whole && (g->unknown ? index == g->index : digest == g->digest);
    if (whole) {
        g->unknown = false;
        g->index = index;
        g->digest = digest;
    }
    if (same) {
        metric_add(METRIC_HTTP_SPURIOUS, 1);
        return;
    }
    metric_add(METRIC_CACHE_MISSES, 1);
    struct answer *a = NULL;
    if (whole && !g->by_hash)
        a = answers_add(&s->answers, g->follow.target, call,
                        snapshot_text_index(env->cat, call->watch),
                        snapshot_floor(env->cat), NULL, NULL);
    group_answer_all(s, g, a, call, env, serving_index(env, index, 0));
}

/* Of the group, at the draft's index of the watch key. */
static void group_drafted(struct serving *s, struct park_group *g,
                          struct api_call *call, struct answer *a,
                          uint64_t index, uint64_t sent)
{
    struct api_env env;
    if (!serving_env_of(s, g->follow.of, &env)) { /* cut meanwhile */
        api_error(call, 500, MIRROR_OVER);
        a = NULL;
    }
    if (!a) {
        group_answer_all(s, g, NULL, call, &env, sent);
        return;
    }
    if (index < g->index)
        return; /* made before they came */
    bool same = g->unknown ? index == g->index : a->digest == g->digest;
    if (!same && !a->gzip && packs_long(g, a->body->n) &&
        draft_begin(s, g->follow.target, true))
        return;
    g->unknown = false;
    g->index = index;
    g->digest = a->digest;
    if (same)
        metric_add(METRIC_HTTP_SPURIOUS, 1);
    else
        group_answer_all(s, g, a, call, &env, sent);
}

void park_drafted(struct serving *s, struct bytes target, struct api_call *call,
                  struct answer *a, uint64_t index, uint64_t floor)
{
    struct park_group *g = group_find(&s->parks, target);
    if (!g || g->by_hash)
        return;
    uint64_t sent = index > floor ? index : floor;
    group_drafted(s, g, call, a, index, sent ? sent : 1);
    /* It may have changed while this was made. */
    if (list_empty(&g->parked))
        group_free(&s->parks, g);
    else if (list_empty(&g->dirty))
        list_add(&s->parks.dirty, &g->dirty);
}

/* Evaluates the group's target now. */
static void group_evaluate(struct serving *s, struct park_group *g)
{
    struct api_env env;
    struct arena arena;
    arena_init(&arena, 1 << 20);
    struct api_call call;
    api_call_init(&call);

    if (!serving_env_of(s, g->follow.of, &env)) {
        api_error(&call, 500, MIRROR_OVER);
        group_answer_all(s, g, NULL, &call, &env, 0);
    } else if (api_from_canonical(&call, &env, g->follow.target, &arena) ==
               ERR_OK) {
        group_compare(s, g, &call, &env);
    } else {
        api_error(&call, 500, "out of memory");
        group_answer_all(s, g, NULL, &call, &env, 0);
    }
    api_call_fini(&call);
    arena_fini(&arena);
    if (list_empty(&g->parked))
        group_free(&s->parks, g);
}

static void mark_dirty(void *ctx, struct follow *f)
{
    struct parks *p = ctx;
    struct park_group *g = group_of(f);
    if (list_empty(&g->dirty))
        list_add(&p->dirty, &g->dirty);
}

void park_published(struct serving *s, const struct published *pub)
{
    follows_touched(&s->parks.groups, pub, mark_dirty, &s->parks);
}

void park_wake_dirty(struct serving *s)
{
    while (!list_empty(&s->parks.dirty)) {
        struct park_group *g =
            container_of(s->parks.dirty.next, struct park_group, dirty);
        list_del(&g->dirty);
        group_evaluate(s, g);
    }
}

/* --- One connection ------------------------------------------------------ */

/* The wait is over: the answer as it is now, with an index that does not fall.
 */
static void park_timeout(struct timer *t)
{
    struct park *p = container_of(t, struct park, timer);
    struct serving *s = p->serving;
    struct conn *c = p->conn;
    serving_pin(s);
    const struct dc_mirror *of = p->group->follow.of;
    struct api_env env;
    bool there = serving_env_of(s, of, &env);
    struct arena arena;
    arena_init(&arena, 1 << 20);
    struct api_call call;
    api_call_init(&call);

    /* The group may go with its last member: its target is copied. */
    struct bytes target = arena_copy(&arena, p->group->follow.target);
    uint64_t asked = asked_of(p, &env);
    bool gzip = p->gzip;
    bool by_hash = p->group->by_hash;
    park_remove(p);
    if (!there || mirror_is_over(s, of, &call)) {
        api_error(&call, 500, MIRROR_OVER);
        serving_answer_call(s, c, &call, 1, false);
    } else if (!target.p ||
               api_from_canonical(&call, &env, target, &arena) != ERR_OK) {
        api_error(&call, 500, "out of memory");
        serving_answer_call(s, c, &call, 1, false);
    } else if (by_hash) {
        api_read(&call, &env);
        serving_answer_call(
            s, c, &call,
            serving_index(&env, serving_key_index(&env, call.watch), asked),
            gzip);
    } else {
        serving_reply(s, c, &call, &env, target, asked, gzip);
    }
    api_call_fini(&call);
    arena_fini(&arena);
    serving_unpin(s);
}

/* What the client is taken to have: the answer as it is now. */
static bool group_baseline(struct serving *s, struct park_group *g,
                           struct api_call *call, const struct api_env *env)
{
    g->by_hash = call->blocking == API_BLOCK_HASH;
    g->index = serving_key_index(env, call->watch);
    if (g->by_hash) {
        g->digest = call->asked_hash;
        return true;
    }
    const struct answer *a = NULL;
    if (call->watch.kind != WATCH_LOCAL)
        a = answers_find(&s->answers, g->follow.target, env->cat);
    if (a) { /* it usually just got it from here */
        g->digest = a->digest;
        return true;
    }
    call->want_digest = true;
    call->cost_limit = READ_HERE_MAX_COST;
    buf_reset(&call->body);
    buf_reset(&call->extra_head);
    api_read(call, env);
    call->cost_limit = 0;
    if (call->too_long) {
        g->unknown = true;
        return draft_begin(s, g->follow.target, false);
    }
    g->digest = call->digest;
    return !call->body.bad;
}

static uint64_t wait_with_jitter(struct serving *s, uint64_t wait_ms)
{
    s->random = s->random * 6364136223846793005u + 1442695040888963407u;
    uint64_t most = wait_ms / 16;
    return wait_ms + (most ? (s->random >> 33) % (most + 1) : 0);
}

/* Do the group's members wait for a change of an older answer? */
static bool group_is_behind(const struct park_group *g,
                            const struct api_call *call,
                            const struct api_env *env)
{
    return g->by_hash ? g->digest != call->asked_hash
                      : g->index != serving_key_index(env, call->watch);
}

/* The core thread publishes, then looks whether anybody is parked; we park,
 * then look whether something was published (both sequentially consistent): one
 * of the two sees the other. What we see we tell ourselves, for the next turn.
 */
static void look_again(struct serving *s, const struct park_group *g,
                       const struct api_env *env)
{
    const struct process *p = s->process;
    if (catalog_current(catalog_of(p, g->follow.of)) == env->cat &&
        local_current(p->local) == env->local &&
        heard_current(p->heard) == env->heard)
        return;
    struct published *pub = xmalloc(sizeof *pub + sizeof pub->hashes[0]);
    uint64_t at = snapshot_revision(env->cat); /* no change is told of */
    *pub = (struct published){.letter.kind = LETTER_PUBLISHED,
                              .of = g->follow.of,
                              .prior = at,
                              .revision = at,
                              .n = 1};
    pub->hashes[0] = g->follow.hash;
    serving_post(s, &pub->letter);
}

bool park_add(struct serving *s, struct conn *c, struct api_call *call,
              const struct api_env *env, struct bytes target, bool gzip)
{
    struct park_group *g = group_find(&s->parks, target);
    if (g && group_is_behind(g, call, env)) { /* let them go first */
        list_del(&g->dirty);
        group_evaluate(s, g);
        g = group_find(&s->parks, target);
    }
    if (!g) {
        g = group_new(&s->parks, target, watch_hash(call->watch),
                      ((struct conn_state *)conn_user(c))->mirror);
        if (!g)
            return false;
        if (!group_baseline(s, g, call, env)) {
            group_free(&s->parks, g);
            return false;
        }
    }
    struct park *p = &((struct conn_state *)conn_user(c))->park;
    p->group = g;
    p->conn = c;
    p->serving = s;
    p->asked = call->index;
    p->gzip = gzip;
    p->timer.fire = park_timeout;
    list_add(&g->parked, &p->link);
    timer_set(&s->timers, &p->timer, wait_with_jitter(s, call->wait_ms));
    count_parked(s, true);
    look_again(s, g, env);
    return true;
}

void park_remove(struct park *p)
{
    struct park_group *g = p->group;
    if (!g)
        return;
    timer_clear(&p->serving->timers, &p->timer);
    list_del(&p->link);
    p->group = NULL;
    count_parked(p->serving, false);
    if (list_empty(&g->parked))
        group_free(&p->serving->parks, g);
}

/* The server stops: everybody gets the answer as it is now. */
void park_close_all(struct serving *s)
{
    struct follow *f;
    while ((f = follows_any(&s->parks.groups))) {
        struct park_group *g = group_of(f);
        struct park *p = container_of(g->parked.next, struct park, link);
        timer_clear(&s->timers, &p->timer);
        park_timeout(&p->timer);
    }
}
