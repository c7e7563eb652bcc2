/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "store/single.h"

#include <stdlib.h>
#include <time.h>

#include "base/alloc.h"
#include "store/walk.h"

struct lease_key {
    struct list link;
    uint64_t lease;
    size_t n;
    char key[];
};

struct single {
    struct backend backend;
    const struct single_log *log_ops;
    void *log;
    struct index index;
    struct stage stage;
    uint64_t newest, oldest;
    struct backend_sink sink; /* revision NULL: not started */
    uint64_t last_lease;
    struct list leases; /* struct lease_key; n 0: the lease itself */
};

static struct single *single_of(const struct backend *b)
{
    return container_of(b, struct single, backend);
}

static uint64_t wall_clock_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* --- Groups -------------------------------------------------------------- */

/* Durable first, then the index, then the feed. */
static void append(struct single *s, uint64_t wall_ms,
                   const struct lease_note *notes, size_t note_count,
                   struct append_result *ret)
{
    uint64_t revision = s->newest + 1;

    *ret = (struct append_result){.verdict = BACKEND_COMMITTED};
    if (s->stage.n == 0)
        return; /* nothing written: no revision, as in etcd */
    s->log_ops->append(s->log, &s->stage, revision, wall_ms, notes, note_count,
                       ret);
    if (ret->verdict != BACKEND_COMMITTED)
        return;
    stage_apply(&s->stage, &s->index);
    s->newest = revision;
    if (s->sink.revision)
        s->sink.revision(s->sink.ctx, revision, wall_ms, s->stage.events,
                         s->stage.n);
}

static void single_txn(struct backend *b, struct backend_group *g)
{
    struct single *s = single_of(b);
    struct append_result r;

    if (!stage_group(&s->stage, &s->index, g, s->newest + 1)) {
        g->verdict = BACKEND_BARRED;
        g->revision = s->newest;
    } else {
        append(s, g->wall_ms, NULL, 0, &r);
        g->verdict = r.verdict;
        g->revision = s->newest;
        g->why = r.why;
        g->text = r.text;
    }
    stage_reset(&s->stage);
    g->done(g);
    s->log_ops->answered(s->log);
}

/* --- Reading ------------------------------------------------------------- */

static void single_start_feed(struct backend *b,
                              const struct backend_sink *sink, uint64_t after)
{
    struct single *s = single_of(b);
    enum err e = ERR_OK;

    if (after < s->newest)
        e = after + 1 < s->oldest
                ? ERR_COMPACTED
                : s->log_ops->history(s->log, after + 1, s->newest, SIZE_MAX,
                                      sink, &after);
    if (e != ERR_OK)
        sink->gap(sink->ctx);
    else
        s->sink = *sink;
}

static void single_range(struct backend *b, struct bytes prefix, uint64_t at,
                         backend_row_fn row, backend_done_fn done, void *ctx)
{
    struct single *s = single_of(b);
    enum err e = ERR_OK;

    if (at == 0)
        at = s->newest;
    if (at < s->oldest)
        e = ERR_COMPACTED;
    else if (at > s->newest)
        e = ERR_NOT_FOUND;
    else
        e = s->log_ops->range(s->log, &s->index, prefix, at, row, ctx);
    done(ctx, e, at);
}

static void single_walk(struct backend *b, struct backend_walk *w,
                        backend_done_fn done, void *ctx)
{
    struct single *s = single_of(b);
    enum err e = ERR_OK;

    if (w->at < s->oldest)
        e = ERR_COMPACTED;
    else if (w->at > s->newest)
        e = ERR_NOT_FOUND;
    else
        e = walk_step(w, s->log_ops, s->log, &s->index, s->newest);
    if (e != ERR_AGAIN)
        walk_free(w);
    done(ctx, e, w->at);
}

static void single_walk_end(struct backend *b, struct backend_walk *w)
{
    (void)b;
    walk_free(w);
}

static void single_history(struct backend *b, uint64_t from, uint64_t last,
                           size_t limit, const struct backend_sink *to,
                           backend_done_fn done, void *ctx)
{
    struct single *s = single_of(b);
    uint64_t told = last;
    enum err e = ERR_OK;

    if (from < s->oldest)
        e = ERR_COMPACTED;
    else if (from <= last)
        e = s->log_ops->history(s->log, from, last, limit, to, &told);
    done(ctx, e, told);
}

static void single_moment(struct backend *b, uint64_t revision,
                          uint64_t wall_ms, backend_moment_fn done, void *ctx)
{
    struct single *s = single_of(b);
    uint64_t found = 0, found_ms = 0;
    enum err e = s->log_ops->moment(s->log, s->oldest, revision, wall_ms,
                                    &found, &found_ms);

    done(ctx, e, found, found_ms);
}

static void single_barrier(struct backend *b, backend_done_fn done, void *ctx)
{
    done(ctx, ERR_OK, single_of(b)->newest);
}

/* --- Leases -------------------------------------------------------------- */

static struct lease_key *lease_key_new(uint64_t lease, struct bytes key)
{
    struct lease_key *k = xmalloc(sizeof *k + key.n);

    list_init(&k->link);
    k->lease = lease;
    k->n = key.n;
    if (key.n)
        memcpy(k->key, key.p, key.n);
    return k;
}

static bool lease_exists(const struct single *s, uint64_t lease)
{
    list_each (it, &s->leases) {
        if (container_of(it, struct lease_key, link)->lease == lease)
            return true;
    }
    return false;
}

static void single_lease_grant(struct backend *b, uint32_t ttl_ms,
                               void (*done)(void *ctx, enum err e,
                                            uint64_t lease),
                               void *ctx)
{
    struct single *s = single_of(b);

    (void)ttl_ms;
    list_add(&s->leases, &lease_key_new(++s->last_lease, bytes_str(""))->link);
    done(ctx, ERR_OK, s->last_lease);
}

static void single_lease_keep(struct backend *b, uint64_t lease,
                              backend_done_fn done, void *ctx)
{
    struct single *s = single_of(b);

    done(ctx, lease_exists(s, lease) ? ERR_OK : ERR_NOT_FOUND, s->newest);
}

/* Best effort, as in etcd: what cannot be deleted now (disk full) goes when the
 * log is opened again; the lease is gone either way. */
static void single_lease_revoke(struct backend *b, uint64_t lease)
{
    struct single *s = single_of(b);

    list_each (it, &s->leases) {
        struct lease_key *k = container_of(it, struct lease_key, link);
        struct append_result r;

        if (k->lease != lease)
            continue;
        list_del(&k->link);
        if (k->n) {
            struct lease_note note = {bytes_of(k->key, k->n), false};
            stage_delete(&s->stage, &s->index, note.key, s->newest + 1);
            append(s, wall_clock_ms(), &note, 1, &r);
            stage_reset(&s->stage);
        }
        free(k);
    }
}

static void single_lease_put(struct backend *b, uint64_t lease,
                             struct bytes key, struct bytes value,
                             backend_done_fn done, void *ctx)
{
    struct single *s = single_of(b);
    struct lease_note note = {key, true};
    struct append_result r = {.verdict = BACKEND_FAILED};

    if (!lease_exists(s, lease)) {
        r.why = ERR_NOT_FOUND;
    } else if (index_get(&s->index, key)) {
        r.why = ERR_EXISTS;
    } else {
        stage_put(&s->stage, &s->index, key, value, s->newest + 1);
        append(s, wall_clock_ms(), &note, 1, &r);
        stage_reset(&s->stage);
    }
    if (r.verdict == BACKEND_COMMITTED)
        list_add(&s->leases, &lease_key_new(lease, key)->link);
    else if (r.verdict == BACKEND_UNKNOWN)
        r.why = ERR_UNKNOWN;
    done(ctx, r.verdict == BACKEND_COMMITTED ? ERR_OK : r.why, s->newest);
}

/* --- Upkeep -------------------------------------------------------------- */

static void single_compact(struct backend *b, uint64_t revision,
                           backend_done_fn done, void *ctx)
{
    struct single *s = single_of(b);
    enum err e = ERR_OK;

    if (revision > s->newest)
        revision = s->newest;
    if (revision >= s->oldest && revision > 0)
        e = s->log_ops->compact(s->log, revision, &s->oldest);
    done(ctx, e, s->oldest);
}

static uint64_t single_oldest(const struct backend *b)
{
    return single_of(b)->oldest;
}

static uint64_t single_newest(const struct backend *b)
{
    return single_of(b)->newest;
}

static void single_close(struct backend *b)
{
    struct single *s = single_of(b);

    list_each (it, &s->leases) {
        free(container_of(it, struct lease_key, link));
    }
    s->log_ops->close(s->log, &s->index);
    stage_fini(&s->stage);
    index_fini(&s->index);
    free(s);
}

static const struct backend_ops single_ops = {
    .slots = 1,
    .barrier_free = true,
    .start = single_start_feed,
    .close = single_close,
    .txn = single_txn,
    .range = single_range,
    .walk = single_walk,
    .walk_end = single_walk_end,
    .history = single_history,
    .moment = single_moment,
    .barrier = single_barrier,
    .lease_grant = single_lease_grant,
    .lease_keep = single_lease_keep,
    .lease_revoke = single_lease_revoke,
    .lease_put = single_lease_put,
    .compact = single_compact,
    .oldest = single_oldest,
    .newest = single_newest,
};

static enum err drop_leased(struct single *s, const struct single_start *start,
                            struct errtext *t)
{
    struct append_result r = {.verdict = BACKEND_COMMITTED};
    struct lease_note *notes = NULL;

    if (!start->leased_count)
        return ERR_OK;
    notes = xmalloc(start->leased_count * sizeof *notes);
    for (size_t i = 0; i < start->leased_count; i++) {
        notes[i] = (struct lease_note){start->take_leased[i], false};
        stage_delete(&s->stage, &s->index, notes[i].key, s->newest + 1);
    }
    append(s, wall_clock_ms(), notes, start->leased_count, &r);
    stage_reset(&s->stage);
    free(notes);
    if (r.verdict == BACKEND_COMMITTED)
        return ERR_OK;
    if (t)
        *t = r.text;
    return r.why;
}

enum err single_new(const struct single_log *ops, void *take_log,
                    struct index *take_x, struct single_start *take,
                    struct backend **ret, struct errtext *t)
{
    struct single *s = xzalloc(sizeof *s);

    s->backend.ops = &single_ops;
    s->log_ops = ops;
    s->log = take_log;
    s->index = *take_x;
    index_init(take_x);
    s->newest = take->newest;
    s->oldest = take->oldest;
    list_init(&s->leases);

    enum err e = drop_leased(s, take, t);
    free(take->take_leased);
    take->take_leased = NULL;
    if (e != ERR_OK) {
        single_close(&s->backend);
        return e;
    }
    *ret = &s->backend;
    return ERR_OK;
}
