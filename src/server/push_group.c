/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/metric.h"
#include "server/push.h"

enum {
    GROUP_ARENA_MAX = 1 << 20, /* a target's parameters */
    BUSY_FACTOR = 4,           /* a group may take a quarter of the thread */
    NS_PER_MS_U = 1000 * 1000,
};

static struct push_sub *first_of(struct list *l)
{
    return container_of(l->next, struct push_sub, link);
}

static void show(struct push_group *g)
{
    atomic_store(&g->mark->at, g->dirty ? g->at : MARK_CLEAN);
}

static void mark_dirty(struct push_group *g, uint64_t prior)
{
    if (!g->dirty && g->since < prior)
        g->since = prior;
    g->dirty = true;
    show(g);
    push_schedule(g);
}

/* --- Groups -------------------------------------------------------------- */

static struct push_group *followed(struct follow *f)
{
    return f ? container_of(f, struct push_group, follow) : NULL;
}

static void on_timer(struct timer *t)
{
    struct push_group *g = container_of(t, struct push_group, timer);
    struct serving *s = container_of(g->pushes, struct serving, pushes);
    push_schedule(g);
    push_start_work(s);
}

static void group_free(struct serving *s, struct push_group *g)
{
    struct pushes *ss = &s->pushes;
    push_build_end(g);
    push_text_unref(ss, g->snapshot);
    entry_table_fini(&g->told);
    timer_clear(&s->timers, &g->timer);
    list_del(&g->work);
    follows_del(&ss->groups, &g->follow);
    stream_mark_unref(g->mark);
    free(g);
}

static struct push_group *group_alloc(struct pushes *ss, struct watch_key watch,
                                      struct bytes target)
{
    struct push_group *g = calloc(1, sizeof *g + target.n + watch.name.n);
    struct stream_mark *mark = g ? stream_mark_new() : NULL;
    if (!mark) {
        free(g);
        return NULL;
    }
    g->mark = mark;
    char *p = (char *)(g + 1);
    memcpy(p, target.p, target.n);
    if (watch.name.n)
        memcpy(p + target.n, watch.name.p, watch.name.n);
    g->follow.target = bytes_of(p, target.n);
    g->watch =
        (struct watch_key){watch.kind, bytes_of(p + target.n, watch.name.n)};
    g->follow.hash = watch_hash(watch);
    g->pushes = ss;
    g->timer.fire = on_timer;
    list_init(&g->work);
    list_init(&g->fresh);
    list_init(&g->late);
    list_init(&g->sending);
    list_init(&g->stalled);
    list_init(&g->live);
    return g;
}

static struct push_group *group_new(struct pushes *ss, struct watch_key watch,
                                    struct bytes target,
                                    const struct dc_mirror *of)
{
    struct push_group *g = group_alloc(ss, watch, target);
    if (!g)
        return NULL;
    g->follow.of = of;
    if (follows_add(&ss->groups, &g->follow) == ERR_OK)
        return g;
    stream_mark_unref(g->mark);
    free(g);
    return NULL;
}

/* As if it had just been made, at this version. */
static void begin_at(struct push_group *g, const struct api_env *env)
{
    g->at = g->since = snapshot_revision(env->cat);
    g->id = serving_index(env, serving_key_index(env, g->watch), 0);
    g->dirty = false;
    g->told_all = false;
    entry_table_fini(&g->told);
    push_text_unref(g->pushes, g->snapshot);
    g->snapshot = NULL;
}

/* What changed since cannot be told any more: everybody begins anew. */
static void begin_anew(struct serving *s, struct push_group *g)
{
    struct api_env env;
    if (!serving_env_of(s, g->follow.of, &env))
        return; /* its streams are about to end */
    begin_at(g, &env);
    while (!list_empty(&g->live))
        push_put(first_of(&g->live), SUB_FRESH);
    while (!list_empty(&g->late))
        push_put(first_of(&g->late), SUB_FRESH);
    show(g);
}

/* --- Joining and leaving ------------------------------------------------- */

/* An index above all we have is another life's of the store; what was deleted
 * before the floor cannot be told. */
static bool can_resume(const struct api_env *env, uint64_t since)
{
    return since && since <= snapshot_revision(env->cat) &&
           since >= snapshot_floor(env->cat);
}

static struct push_group *group_of(struct serving *s, const struct api_env *env,
                                   struct bytes target,
                                   const struct dc_mirror *of)
{
    struct push_group *g = followed(follows_find(&s->pushes.groups, target));
    struct arena arena;
    struct api_call call;
    if (g)
        return g;
    arena_init(&arena, GROUP_ARENA_MAX);
    api_call_init(&call);
    if (api_from_canonical(&call, env, target, &arena) == ERR_OK)
        g = group_new(&s->pushes, call.watch, target, of);
    if (g)
        begin_at(g, env);
    api_call_fini(&call);
    arena_fini(&arena);
    return g;
}

bool push_join(struct serving *s, struct push_sub *sub,
               const struct api_env *env, struct bytes target, uint64_t since)
{
    struct push_group *g = group_of(s, env, target, sub->push->of);
    if (!g)
        return false;
    list_init(&sub->link);
    sub->group = g;
    g->members++;
    if (can_resume(env, since)) {
        metric_add(METRIC_STREAM_RESUMED, 1);
        sub->have = since < g->at ? since : g->at;
        push_put(sub, SUB_LATE);
    } else {
        push_put(sub, SUB_FRESH);
    }
    /* The core thread publishes, then looks whether anybody waits; we wait,
     * then look whether something was published: one of the two sees the
     * other. */
    if (catalog_current(catalog_of(s->process, sub->push->of)) != env->cat)
        mark_dirty(g, snapshot_revision(env->cat));
    push_schedule(g);
    return true;
}

void push_leave(struct serving *s, struct push_sub *sub)
{
    struct push_group *g = sub->group;
    if (!g)
        return;
    push_drop_text(sub);
    if (sub->state == SUB_STALLED)
        metric_add(METRIC_STREAM_STALLED, -1);
    list_del(&sub->link);
    sub->group = NULL;
    if (--g->members == 0)
        group_free(s, g);
}

/* --- What is made next --------------------------------------------------- */

static bool snapshot_is_usable(const struct serving *s,
                               const struct push_group *g)
{
    const struct push_text *t = g->snapshot;
    return t && (t->to == g->at ||
                 uv_now(&s->loop) < t->made_ms + STREAM_SNAPSHOT_KEPT_MS);
}

static void attach_all(struct list *l, struct push_text *t, uint64_t from)
{
    list_each (it, l) {
        struct push_sub *sub = container_of(it, struct push_sub, link);
        if (sub->have >= from)
            push_attach(sub, t);
    }
}

void push_pay_id(struct push_sub *sub)
{
    struct push *st = sub->push;
    if (!st->owes_id || st->full || sub->state != SUB_LIVE ||
        !push_is_current(sub))
        return;
    uint64_t id = push_seen_of(sub->group->pushes, st->of)->revision;
    struct shared *piece = push_id_event(id);
    push_told(st, id);
    if (piece &&
        conn_stream_piece(st->conn, piece, STREAM_QUEUE_BYTES_MAX) == ERR_OK) {
        st->owes_id = false;
    } else {
        shared_unref(piece);
        st->full = true; /* push_unstall comes back to it */
        st->dead |= !piece;
    }
}

/* Live ones have what the group has. */
static void nothing_new(struct push_group *g)
{
    list_each (it, &g->live) {
        struct push_sub *sub = container_of(it, struct push_sub, link);
        sub->have = g->at;
        push_pay_id(sub);
    }
}

static void built(struct push_group *g, struct push_text *t)
{
    struct push_build *b = &g->build;
    switch (b->kind) {
    case BUILD_NOTHING:
        break;
    case BUILD_SNAPSHOT:
        push_text_unref(g->pushes, g->snapshot);
        g->snapshot = t;
        t->refs++;
        attach_all(&g->fresh, t, 0);
        break;
    case BUILD_DELTA:
        g->at = b->to;
        g->id = b->to_id;
        if (g->since < g->at)
            g->since = g->at;
        b->kind = BUILD_NOTHING; /* it has no news any more */
        if (t)
            attach_all(&g->live, t, 0);
        else
            nothing_new(g);
        break;
    case BUILD_LATE:
        attach_all(&g->late, t, t->from);
        break;
    }
    show(g); /* after they have been given it */
    push_build_end(g);
    push_text_unref(g->pushes, t);
    push_bound_texts(g->pushes);
}

static uint64_t gap_ns(const struct push_group *g)
{
    uint64_t gap = BUSY_FACTOR * g->busy_ns;
    uint64_t least = STREAM_GAP_MIN_MS * (uint64_t)NS_PER_MS_U;
    uint64_t most = STREAM_GAP_MAX_MS * (uint64_t)NS_PER_MS_U;
    return gap < least ? least : gap > most ? most : gap;
}

/* May it be asked for changes again? Else its timer is set. */
static bool may_begin(struct serving *s, struct push_group *g)
{
    uint64_t now = uv_hrtime(), due = g->begun_ns + gap_ns(g);
    if (now < due) {
        timer_set(&s->timers, &g->timer, (due - now) / NS_PER_MS_U + 1);
        return false;
    }
    g->begun_ns = now;
    g->busy_ns = 0;
    return true;
}

/* The oldest state that one of the late has; those too old become fresh. 0:
 * there is none. */
static uint64_t oldest_late(struct push_group *g, const struct api_env *env)
{
    uint64_t oldest = 0, floor = snapshot_journal_floor(env->cat);
    uint64_t index = serving_key_index(env, g->watch);
    list_each (it, &g->late) {
        struct push_sub *sub = container_of(it, struct push_sub, link);
        bool lost = sub->have < floor && index > sub->have;
        if (lost || sub->have < snapshot_floor(env->cat)) {
            sub->have = 0;
            push_put(sub, SUB_FRESH);
        } else if (!oldest || sub->have < oldest) {
            oldest = sub->have;
        }
    }
    return oldest;
}

static bool try_later(struct serving *s, struct push_group *g)
{
    timer_set(&s->timers, &g->timer, STREAM_GAP_MAX_MS);
    return false;
}

/* What live ones wait for, then the fresh, then the late. True: there is
 * something to do. */
static bool begin_next(struct serving *s, struct push_group *g)
{
    struct api_env env;
    if (!serving_env_of(s, g->follow.of, &env))
        return false;
    if (g->dirty && may_begin(s, g)) {
        g->dirty = false;
        g->late_may = true;
        if (!push_build_begin(s, g, BUILD_DELTA, g->since))
            begin_anew(s, g);
        return true;
    }
    if (!list_empty(&g->fresh)) {
        if (snapshot_is_usable(s, g))
            attach_all(&g->fresh, g->snapshot, 0);
        else if (!push_build_begin(s, g, BUILD_SNAPSHOT, 0))
            return try_later(s, g);
        return true;
    }
    if (list_empty(&g->late) || !(g->late_may || may_begin(s, g)))
        return false;
    g->late_may = false;
    uint64_t from = oldest_late(g, &env);
    if (!from)
        return !list_empty(&g->fresh);
    if (!push_build_begin(s, g, BUILD_LATE, from)) {
        while (!list_empty(&g->late)) {
            first_of(&g->late)->have = 0;
            push_put(first_of(&g->late), SUB_FRESH);
        }
    }
    return true;
}

/* --- Steps --------------------------------------------------------------- */

/* True: it is not done. */
static bool step(struct serving *s, struct push_group *g, uint64_t deadline)
{
    struct push_text *t;
    while (uv_hrtime() < deadline) {
        if (!list_empty(&g->sending)) {
            push_send(s, first_of(&g->sending));
            continue;
        }
        if (g->build.kind == BUILD_NOTHING) {
            if (!begin_next(s, g))
                return false;
            continue;
        }
        switch (push_build_step(s, g, deadline, &t)) {
        case BUILT_PART:
            return true;
        case BUILT_ALL:
            built(g, t);
            break;
        case BUILT_FAILED:
            push_build_end(g);
            begin_anew(s, g);
            return try_later(s, g);
        }
    }
    return true;
}

void push_work(struct serving *s)
{
    struct pushes *ss = &s->pushes;
    uint64_t begun = uv_hrtime(), deadline = begun + STREAM_STEP_NS;
    while (!list_empty(&ss->work) && uv_hrtime() < deadline) {
        struct push_group *g =
            container_of(ss->work.next, struct push_group, work);
        uint64_t from = uv_hrtime();
        list_del(&g->work);
        if (step(s, g, deadline))
            push_schedule(g);
        g->busy_ns += uv_hrtime() - from;
    }
    if (list_empty(&ss->work))
        uv_idle_stop(&ss->idle);
    else
        push_start_work(s);
}

/* --- What was published -------------------------------------------------- */

/* Another store's revisions say nothing of those of before, nor does what was sent
 * of those. */
static void begin_in_another_store(struct serving *s, struct push_group *g)
{
    struct list *const lists[] = {&g->sending, &g->stalled, &g->late};

    push_build_end(g);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        list_each (it, lists[i]) {
            struct push_sub *sub = container_of(it, struct push_sub, link);
            push_drop_text(sub);
            sub->have = 0;
            if (sub->state != SUB_STALLED)
                push_put(sub, SUB_FRESH);
        }
    begin_anew(s, g);
    push_schedule(g);
}

struct telling {
    struct serving *s;
    const struct published *pub;
};

static void touched(void *ctx, struct follow *f)
{
    const struct telling *t = ctx;
    struct push_group *g = followed(f);
    if (t->pub->all && t->pub->revision < g->at)
        begin_in_another_store(t->s, g);
    else
        mark_dirty(g, t->pub->prior);
}

void push_published(struct serving *s, const struct published *pub)
{
    if (pub->of && !dc_mirror_usable(pub->of)) {
        push_end_of(s, pub->of);
        return;
    }
    if (!pub->of)
        push_hear(s);
    struct push_seen *seen = push_seen_of(&s->pushes, pub->of);
    struct telling t = {s, pub};
    if (seen->revision < pub->revision || pub->all)
        seen->revision = pub->revision;
    follows_touched(&s->pushes.groups, pub, touched, &t);
}

struct push_seen *push_seen_of(struct pushes *ss, const struct dc_mirror *of)
{
    return of ? &ss->of_mirror[dc_mirror_number(of)] : &ss->own;
}
