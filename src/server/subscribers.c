/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/subscribers.h"

#include <unistd.h>

#include "base/metric.h"
#include "server/subscribers_impl.h"

struct subscribers *subscribers_new(void)
{
    struct subscribers *ss = calloc(1, sizeof *ss);
    if (!ss || uv_mutex_init(&ss->mutex) != 0) {
        free(ss);
        return NULL;
    }
    list_init(&ss->all);
    readers_init(&ss->readers);
    list_init(&ss->several);
    ss->started_ms = process_now_ms();
    callers_init(&ss->callers, ss->started_ms);
    return ss;
}

void subscribers_longest_wait(struct subscribers *ss, uint64_t wait_ms)
{
    uint64_t memory = wait_ms + wait_ms / 10;
    uv_mutex_lock(&ss->mutex);
    if (ss->memory_ms < memory)
        ss->memory_ms = memory;
    uv_mutex_unlock(&ss->mutex);
}

/* --- Watches ------------------------------------------------------------- */

struct list *subscribers_watches_of(struct subscribers *ss, struct bytes name,
                                    bool make)
{
    struct name_watches *w = map_get(&ss->by_name, name);
    if (name.n == 0)
        return &ss->several;
    if (!w && make) {
        w = calloc(1, sizeof *w + name.n);
        if (!w)
            return NULL;
        list_init(&w->all);
        memcpy(w->name, name.p, name.n);
        if (map_put(&ss->by_name, bytes_of(w->name, name.n), w) != ERR_OK) {
            free(w);
            return NULL;
        }
    }
    return w ? &w->all : NULL;
}

static void watch_free(struct subscribers *ss, struct watch *w)
{
    struct bytes name = bytes_of(w->name, w->name_n);
    map_del(&w->subscriber->by_target, bytes_str(w->target));
    list_del(&w->link);
    list_del(&w->same_name);
    struct name_watches *of = map_get(&ss->by_name, name);
    if (of && list_empty(&of->all)) {
        map_del(&ss->by_name, name);
        free(of);
    }
    stream_mark_unref(w->mark);
    free(w);
}

static struct watch *watch_find(struct subscriber *s, struct bytes target)
{
    return map_get(&s->by_target, target);
}

/* NULL: too many, or no memory. */
static struct watch *watch_need(struct subscribers *ss, struct subscriber *s,
                                struct bytes target, struct bytes name)
{
    char space[512];
    struct watch *w = watch_find(s, target);
    if (w || s->by_target.n >= SUBSCRIBER_WATCHES_MAX)
        return w;
    name = subscribers_fold(name, space, sizeof space);
    struct list *of = subscribers_watches_of(ss, name, true);
    w = of ? calloc(1, sizeof *w + target.n + 1 + name.n + 1) : NULL;
    if (!w)
        return NULL;
    memcpy(w->target, target.p, target.n);
    w->name = w->target + target.n + 1;
    w->name_n = name.n;
    if (name.n)
        memcpy(w->name, name.p, name.n);
    w->subscriber = s;
    list_init(&w->link);
    list_init(&w->same_name);
    list_add(&s->watches, &w->link);
    list_add(of, &w->same_name);
    if (map_put(&s->by_target, bytes_str(w->target), w) == ERR_OK)
        return w;
    watch_free(ss, w);
    return NULL;
}

/* --- Subscribers --------------------------------------------------------- */

static void subscriber_free(struct subscribers *ss, struct subscriber *s)
{
    while (!list_empty(&s->watches))
        watch_free(ss, container_of(s->watches.next, struct watch, link));
    behind_kept_free(ss, s->behind);
    map_fini(&s->by_target);
    map_del(&ss->by_id, bytes_str(s->id));
    list_del(&s->link);
    ss->count--;
    free(s);
}

static void seen(struct subscribers *ss, struct subscriber *s)
{
    s->seen_ms = process_now_ms();
    list_del(&s->link);
    list_add(&ss->all, &s->link);
}

void subscribers_forget(struct subscribers *ss)
{
    uint64_t now = process_now_ms();
    list_each (it, &ss->all) {
        struct subscriber *s = container_of(it, struct subscriber, link);
        if (now - s->seen_ms <= ss->memory_ms)
            break;
        if (s->stream && s->connected)
            seen(ss, s);
        else
            subscriber_free(ss, s);
    }
    readers_forget(&ss->readers, now, ss->memory_ms);
}

static void copy_text(char *to, size_t n, struct bytes from)
{
    struct bytes cut = bytes_head(from, n - 1);
    memcpy(to, cut.p, cut.n);
    to[cut.n] = 0;
}

static struct subscriber *subscriber_new(struct subscribers *ss, const char *id,
                                         const struct subscriber_labels *l,
                                         bool stream)
{
    subscribers_forget(ss);
    struct subscriber *s =
        ss->count < SUBSCRIBERS_MAX ? calloc(1, sizeof *s) : NULL;
    if (!s)
        return NULL;
    list_init(&s->link);
    list_init(&s->watches);
    copy_text(s->id, sizeof s->id, bytes_str(id));
    if (map_put(&ss->by_id, bytes_str(s->id), s) != ERR_OK) {
        free(s);
        return NULL;
    }
    if (l->label.n)
        copy_text(s->label, sizeof s->label, l->label);
    if (l->zone.n)
        copy_text(s->zone, sizeof s->zone, l->zone);
    copy_text(s->peer, sizeof s->peer, bytes_str(l->peer));
    s->stream = stream;
    s->connected = true;
    s->joined_ms = process_now_ms();
    s->joined_at = lags_newest(&ss->lags);
    ss->count++;
    seen(ss, s);
    return s;
}

void subscribers_free(struct subscribers *ss)
{
    if (!ss)
        return;
    while (!list_empty(&ss->all))
        subscriber_free(ss,
                        container_of(ss->all.next, struct subscriber, link));
    readers_fini(&ss->readers);
    lags_fini(&ss->lags);
    callers_fini(&ss->callers);
    map_fini(&ss->by_id);
    map_fini(&ss->by_name);
    uv_mutex_destroy(&ss->mutex);
    free(ss);
}

struct subscriber_flow *subscribers_joined(struct subscribers *ss,
                                           const char *id,
                                           const struct subscriber_labels *l)
{
    uv_mutex_lock(&ss->mutex);
    struct subscriber *s = subscriber_new(ss, id, l, true);
    if (!s) /* it is not in the table: nothing is proven of it */
        readers_lost(&ss->readers, process_now_ms());
    uv_mutex_unlock(&ss->mutex);
    return s ? &s->flow : NULL;
}

struct stream_mark *stream_mark_new(void)
{
    struct stream_mark *m = calloc(1, sizeof *m);
    if (m) {
        atomic_init(&m->refs, 1);
        atomic_init(&m->at, MARK_CLEAN);
    }
    return m;
}

void stream_mark_unref(struct stream_mark *m)
{
    if (m && atomic_fetch_sub(&m->refs, 1) == 1)
        free(m);
}

void subscribers_watches(struct subscribers *ss, const char *id,
                         struct bytes target, struct bytes name,
                         struct stream_mark *mark)
{
    uv_mutex_lock(&ss->mutex);
    struct subscriber *s = map_get(&ss->by_id, bytes_str(id));
    struct watch *w = s ? watch_need(ss, s, target, name) : NULL;
    if (w && !w->mark) {
        atomic_fetch_add(&mark->refs, 1);
        w->mark = mark;
    }
    if (s && !w) /* what it follows there nobody can prove */
        readers_lost(&ss->readers, process_now_ms());
    uv_mutex_unlock(&ss->mutex);
}

void subscribers_left(struct subscribers *ss, const char *id)
{
    uv_mutex_lock(&ss->mutex);
    struct subscriber *s = map_get(&ss->by_id, bytes_str(id));
    if (s && s->gone) {
        subscriber_free(ss, s);
    } else if (s) {
        s->connected = false;
        seen(ss, s);
    }
    uv_mutex_unlock(&ss->mutex);
}

void subscribers_resumed(struct subscribers *ss, struct bytes old_id)
{
    uv_mutex_lock(&ss->mutex);
    struct subscriber *s = map_get(&ss->by_id, old_id);
    if (s && s->stream && !s->connected)
        subscriber_free(ss, s);
    uv_mutex_unlock(&ss->mutex);
}

/* --- Lag ----------------------------------------------------------------- */

void subscribers_published(struct subscribers *ss, uint64_t revision)
{
    uv_mutex_lock(&ss->mutex);
    lags_published(&ss->lags, revision, process_now_ms());
    uv_mutex_unlock(&ss->mutex);
}

static void count_lag(struct subscribers *ss, struct subscriber *s,
                      struct bytes name, uint64_t index)
{
    uint64_t at = lags_published_ms(&ss->lags, index);
    if (at == 0 || index <= s->joined_at)
        return; /* it was there before he came */
    s->lag_ms = process_now_ms() - at;
    s->lag_count++;
    if (s->max_lag_ms < s->lag_ms)
        s->max_lag_ms = s->lag_ms;
    lags_count(&ss->lags, name, s->lag_ms);
}

/* --- Acknowledgements ---------------------------------------------------- */

void subscribers_applied(struct subscribers *ss, struct subscriber *s,
                         uint64_t index)
{
    if (s->applied >= index)
        return;
    s->applied = index;
    list_each (it, &s->watches) {
        struct watch *w = container_of(it, struct watch, link);
        count_lag(ss, s, bytes_of(w->name, w->name_n), index);
    }
}

enum ack_result subscribers_ack(struct subscribers *ss, struct bytes id,
                                uint64_t index, bool gone)
{
    enum ack_result result = ACK_TAKEN;
    uv_mutex_lock(&ss->mutex);
    struct subscriber *s = map_get(&ss->by_id, id);
    if (!s || !s->stream) {
        result = ACK_NOBODY;
    } else if (index > atomic_load(&s->flow.told)) {
        result = ACK_NEVER;
    } else {
        subscribers_applied(ss, s, index);
        s->gone = gone;
        if (!s->connected && gone)
            subscriber_free(ss, s);
        else if (!s->connected)
            seen(ss, s);
    }
    uv_mutex_unlock(&ss->mutex);
    return result;
}

bool subscriber_new_id(char ret[SUBSCRIBER_ID_BYTES + 1])
{
    static const char hex[] = "0123456789abcdef";
    unsigned char random[SUBSCRIBER_ID_BYTES / 2];
    if (getentropy(random, sizeof random) != 0)
        return false;
    for (size_t i = 0; i < sizeof random; i++) {
        ret[2 * i] = hex[random[i] >> 4];
        ret[2 * i + 1] = hex[random[i] & 15];
    }
    ret[SUBSCRIBER_ID_BYTES] = 0;
    return true;
}

void subscribers_polled(struct subscribers *ss, struct bytes id,
                        const struct subscriber_labels *l, struct bytes target,
                        struct bytes name, uint64_t index,
                        char ret_id[SUBSCRIBER_ID_BYTES + 1])
{
    uv_mutex_lock(&ss->mutex);
    struct subscriber *s = map_get(&ss->by_id, id);
    ret_id[0] = 0;
    if ((!s || s->stream) && subscriber_new_id(ret_id))
        s = subscriber_new(ss, ret_id, l, false);
    struct watch *w = s ? watch_need(ss, s, target, name) : NULL;
    if (w) {
        memcpy(ret_id, s->id, sizeof s->id);
        seen(ss, s);
    } else {
        ret_id[0] = 0;
    }
    if (w && w->applied < index) {
        w->applied = index;
        count_lag(ss, s, bytes_of(w->name, w->name_n), index);
    }
    uv_mutex_unlock(&ss->mutex);
}

/* Without the port, which every connection has anew. */
static struct bytes host_of(const char *peer)
{
    const char *colon = strrchr(peer, ':');
    struct bytes all = bytes_str(peer);
    return bytes_head(colon ? bytes_of(peer, (size_t)(colon - peer)) : all, 64);
}

void subscribers_read(struct subscribers *ss, struct bytes name,
                      const char *peer)
{
    char space[512];
    name = subscribers_fold(name, space, sizeof space);
    uv_mutex_lock(&ss->mutex);
    subscribers_forget(ss);
    readers_seen(&ss->readers, name, host_of(peer), (struct bytes){NULL, 0},
                 process_now_ms());
    uv_mutex_unlock(&ss->mutex);
}

/* --- Callers ------------------------------------------------------------- */

struct caller *subscribers_calls(struct subscribers *ss, struct bytes name,
                                 const struct subscriber_labels *l,
                                 uint32_t rank)
{
    char space[512];
    name = subscribers_fold(name, space, sizeof space);
    uv_mutex_lock(&ss->mutex);
    struct caller *c = callers_join(&ss->callers, name, l->label, l->zone, rank,
                                    process_now_ms());
    uv_mutex_unlock(&ss->mutex);
    return c;
}

void subscribers_called(struct subscribers *ss, struct caller *take)
{
    uv_mutex_lock(&ss->mutex);
    callers_leave(&ss->callers, take, process_now_ms());
    uv_mutex_unlock(&ss->mutex);
}

bool subscribers_callers(struct subscribers *ss, struct caller *who,
                         struct json_out *j)
{
    uv_mutex_lock(&ss->mutex);
    bool new = callers_tell(&ss->callers, who, process_now_ms(), j);
    uv_mutex_unlock(&ss->mutex);
    return new;
}
