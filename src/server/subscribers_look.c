/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What is asked of the table of subscribers. */
#include "server/subscribers_impl.h"

uint64_t subscribers_memory_ms(struct subscribers *ss)
{
    uv_mutex_lock(&ss->mutex);
    uint64_t memory = ss->memory_ms;
    uv_mutex_unlock(&ss->mutex);
    return memory;
}

uint64_t subscribers_unknown_ms(struct subscribers *ss)
{
    uint64_t age = process_now_ms() - ss->started_ms;
    uint64_t memory = subscribers_memory_ms(ss);
    return age > memory ? 0 : memory - age + 1;
}

static struct watcher row_of(const struct watch *w, uint64_t now)
{
    const struct subscriber *s = w->subscriber;
    /* First: what is with its streams by then shows in behind and told. */
    uint64_t at = w->mark ? atomic_load(&w->mark->at) : MARK_CLEAN;
    return (struct watcher){
        .id = s->id,
        .label = s->label,
        .zone = s->zone,
        .peer = s->peer,
        .target = w->target,
        .stream = s->stream,
        .connected = s->connected,
        .behind = s->stream && atomic_load(&s->flow.behind) > 0,
        .applied = s->stream ? s->applied : w->applied,
        .at = at,
        .told = atomic_load(&s->flow.told),
        .since_ms = now - s->joined_ms,
        .seen_ms = s->stream && s->connected ? 0 : now - s->seen_ms,
        .joined_ms = s->joined_ms,
        .lag_ms = s->lag_ms,
        .max_lag_ms = s->max_lag_ms,
    };
}

static void tell_all(struct list *all, struct bytes name,
                     void (*each)(void *ctx, const struct watcher *w),
                     void *ctx)
{
    uint64_t now = process_now_ms();
    const struct subscriber *last = NULL;
    if (!all)
        return;
    list_each (it, all) {
        struct watch *w = container_of(it, struct watch, same_name);
        struct watcher row = row_of(w, now);
        behind_kept_show(w->subscriber, name, now, &row);
        each(ctx, &row);
        if (w->subscriber != last)
            behind_kept_each(w->subscriber, name, now, each, ctx);
        last = w->subscriber;
    }
}

void subscribers_of(struct subscribers *ss, struct bytes name,
                    void (*each)(void *ctx, const struct watcher *w), void *ctx)
{
    char space[512];
    name = subscribers_fold(name, space, sizeof space);
    uv_mutex_lock(&ss->mutex);
    subscribers_forget(ss);
    if (name.n)
        tell_all(subscribers_watches_of(ss, name, false), name, each, ctx);
    tell_all(&ss->several, name, each, ctx);
    uv_mutex_unlock(&ss->mutex);
}

bool subscribers_unproven(struct subscribers *ss, struct bytes name,
                          void (*each)(void *ctx, const struct unproven *u),
                          void *ctx)
{
    char space[512];
    name = subscribers_fold(name, space, sizeof space);
    uv_mutex_lock(&ss->mutex);
    subscribers_forget(ss);
    bool all = readers_each(&ss->readers, name, process_now_ms(), ss->memory_ms,
                            each, ctx);
    uv_mutex_unlock(&ss->mutex);
    return all;
}

/* The slowest LAG_WORST, the slowest first. */
static void tell_worst(struct subscribers *ss,
                       void (*worst)(void *ctx, const struct watcher *w),
                       void *ctx)
{
    const struct subscriber *top[LAG_WORST];
    size_t n = 0;
    list_each (it, &ss->all) {
        const struct subscriber *s = container_of(it, struct subscriber, link);
        size_t at = n;
        if (s->lag_count == 0 || list_empty(&s->watches))
            continue;
        while (at > 0 && top[at - 1]->max_lag_ms < s->max_lag_ms)
            at--;
        if (at == LAG_WORST)
            continue;
        n += n < LAG_WORST;
        memmove(top + at + 1, top + at, (n - at - 1) * sizeof top[0]);
        top[at] = s;
    }
    for (size_t i = 0; i < n; i++) {
        struct watcher row =
            row_of(container_of(top[i]->watches.next, struct watch, link),
                   process_now_ms());
        worst(ctx, &row);
    }
}

void subscribers_lag(struct subscribers *ss,
                     void (*each)(void *ctx, const struct lag_row *r),
                     void (*worst)(void *ctx, const struct watcher *w),
                     void *ctx)
{
    uv_mutex_lock(&ss->mutex);
    lags_each(&ss->lags, each, ctx);
    tell_worst(ss, worst, ctx);
    uv_mutex_unlock(&ss->mutex);
}
