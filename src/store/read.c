/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* read - barriers, and the past: reads at a revision, history. */
#include <stdlib.h>

#include "base/alloc.h"
#include "store/impl.h"

/* --- Barriers ------------------------------------------------------------ */

static void barriers_answer(struct list *all, enum err e, uint64_t revision)
{
    struct list now;

    list_init(&now);
    list_move_all(&now, all);
    while (!list_empty(&now)) {
        struct store_barrier *b =
            container_of(now.next, struct store_barrier, link);

        list_del(&b->link);
        b->done(b, e, revision);
    }
}

void barrier_add(struct store *s, struct store_barrier *b)
{
    list_add(&s->barriers_waiting, &b->link);
}

static void barrier_done(void *ctx, enum err e, uint64_t revision)
{
    struct store *s = ctx;

    barriers_answer(&s->barriers_flying, e,
                    e == ERR_OK ? revision_out(s, revision) : 0);
    engine_kick(s);
}

/* Who comes while one flies shares the next: the one in flight may have begun
 * before a commit that he knows of. */
void barriers_start(struct store *s)
{
    if (list_empty(&s->barriers_waiting) || !list_empty(&s->barriers_flying))
        return;
    list_move_all(&s->barriers_flying, &s->barriers_waiting);
    if (s->barrier_free)
        barrier_done(s, ERR_OK, s->delivered);
    else
        s->backend->ops->barrier(s->backend, barrier_done, s);
}

void barriers_fail(struct store *s, enum err e)
{
    barriers_answer(&s->barriers_flying, e, 0);
    barriers_answer(&s->barriers_waiting, e, 0);
}

/* --- Reads at a revision ------------------------------------------------- */

struct reading {
    struct store *store;
    struct store_read *read;
    struct buf prefix;
    struct chunk chunk;
};

/* A user's revision as the backend's. Below the pointer's another epoch was
 * current, and that is no history of this one. */
static enum err plain_of(const struct store *s, uint64_t rev, uint64_t *ret)
{
    uint64_t plain = revision_plain(rev);

    if (revision_epoch(rev) > s->epoch)
        return ERR_NOT_FOUND;
    if (revision_epoch(rev) < s->epoch || plain < s->pointer_rev)
        return ERR_COMPACTED;
    *ret = plain;
    return ERR_OK;
}

static void reading_emit(void *ctx, struct store_batch *take)
{
    struct store_read *r = ctx;

    r->rows(r, take, ERR_OK);
}

static void reading_row(void *ctx, const struct backend_row *row)
{
    struct reading *r = ctx;
    struct backend_row out = *row;

    out.key = bytes_skip(row->key, DATA_PREFIX_BYTES);
    chunk_add(r->store, &r->chunk, &out, reading_emit, r->read);
}

static void reading_done(void *ctx, enum err e, uint64_t revision)
{
    struct reading *r = ctx;

    (void)revision;
    chunk_flush(&r->chunk, reading_emit, r->read);
    r->read->rows(r->read, NULL, e);
    r->store->reads--;
    buf_fini(&r->prefix);
    free(r);
}

void read_start(struct store *s, struct store_read *read)
{
    uint64_t plain = 0;
    enum err e = ERR_OK;

    if (read->revision)
        e = plain_of(s, read->revision, &plain);
    if (e != ERR_OK) {
        read->rows(read, NULL, e);
        return;
    }
    struct reading *r = xzalloc(sizeof *r);

    s->reads++;
    r->store = s;
    r->read = read;
    buf_put(&r->prefix, store_prefix(s));
    buf_put(&r->prefix, read->prefix);
    if (r->prefix.bad)
        reading_done(r, ERR_NOMEM, 0);
    else
        s->backend->ops->range(s->backend, buf_bytes(&r->prefix), plain,
                               reading_row, reading_done, r);
}

/* --- History ------------------------------------------------------------- */

struct telling {
    struct store *store;
    struct store_history *history;
};

static void telling_revision(void *ctx, uint64_t revision, uint64_t wall_ms,
                             const struct store_event *events, size_t count)
{
    struct telling *t = ctx;

    t->history->batch(
        t->history,
        batch_of_revision(t->store, revision, wall_ms, events, count), ERR_OK);
}

static void telling_done(void *ctx, enum err e, uint64_t revision)
{
    struct telling *t = ctx;

    (void)revision;
    t->store->reads--;
    t->history->batch(t->history, NULL, e);
    free(t);
}

void history_start(struct store *s, struct store_history *h)
{
    uint64_t plain;
    enum err e = plain_of(s, h->from_revision, &plain);

    if (e != ERR_OK) {
        h->batch(h, NULL, e);
        return;
    }
    struct telling *t = xzalloc(sizeof *t);

    s->reads++;
    t->store = s;
    t->history = h;
    struct backend_sink to = {.revision = telling_revision, .ctx = t};
    s->backend->ops->history(s->backend, plain, &to, telling_done, t);
}
