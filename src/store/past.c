/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* past - reads of the past in slices: the state at a revision, history, and
 * which revision was the newest when.
 *
 *   ready --step--> backend --done--> asked (NULL, ERR_AGAIN) --more--> ready
 *
 * One slice per turn of the loop, between groups; those who are ready take
 * turns. Each is of the epoch in which it began: a new one ends it. */
#include <stdlib.h>

#include "base/alloc.h"
#include "store/impl.h"
#include "store/marker.h"

enum { HISTORY_SLICE_EVENTS = 512 };

struct past {
    struct list link; /* s->pasts_ready or s->pasts_asked; alone: in a step */
    struct store *store;
    uint32_t epoch;
    bool give_up;

    struct store_read *read; /* NULL: a history */
    struct buf prefix;
    struct backend_walk walk;
    struct chunk chunk;

    struct store_history *history;
    struct marker marker;
    uint64_t next, last; /* revisions, the backend's */
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
    if (plain > s->delivered)
        return ERR_NOT_FOUND;
    *ret = plain;
    return ERR_OK;
}

/* --- One of them --------------------------------------------------------- */

static struct past *past_new(struct store *s)
{
    struct past *p = xzalloc(sizeof *p);

    p->store = s;
    p->epoch = s->epoch;
    list_init(&p->link);
    s->reads++;
    return p;
}

static void tell(struct past *p, enum err e)
{
    if (p->read)
        p->read->rows(p->read, NULL, e);
    else
        p->history->batch(p->history, NULL, e);
}

static void end(struct past *p, enum err e)
{
    struct store *s = p->store;

    list_del(&p->link);
    if (p->read && p->walk.state)
        s->backend->ops->walk_end(s->backend, &p->walk);
    store_batch_free(p->chunk.batch);
    tell(p, e);
    s->reads--;
    buf_fini(&p->prefix);
    marker_fini(&p->marker);
    free(p);
    engine_kick(s);
}

static bool is_over(const struct past *p)
{
    return p->epoch != p->store->epoch;
}

static void step_done(struct past *p, enum err e)
{
    if (is_over(p))
        e = ERR_COMPACTED;
    if (e != ERR_AGAIN) {
        end(p, e);
        return;
    }
    list_add(&p->store->pasts_asked, &p->link);
    tell(p, ERR_AGAIN);
}

/* --- Reads at a revision ------------------------------------------------- */

static void emit(void *ctx, struct store_batch *take)
{
    struct store_read *r = ctx;

    r->rows(r, take, ERR_OK);
}

static void on_row(void *ctx, const struct backend_row *row)
{
    struct past *p = ctx;
    struct backend_row out = *row;

    if (is_over(p))
        return;
    out.key = bytes_skip(row->key, DATA_PREFIX_BYTES);
    chunk_add(p->store, &p->chunk, &out, emit, p->read);
}

static void walk_done(void *ctx, enum err e, uint64_t revision)
{
    struct past *p = ctx;

    (void)revision;
    if (e == ERR_OK && !is_over(p))
        chunk_flush(&p->chunk, emit, p->read);
    step_done(p, e);
}

void read_start(struct store *s, struct store_read *read)
{
    uint64_t plain = s->delivered;
    enum err e = ERR_OK;

    if (read->revision)
        e = plain_of(s, read->revision, &plain);
    if (e != ERR_OK || plain == 0) { /* 0: nothing was ever written */
        read->rows(read, NULL, e);
        return;
    }
    struct past *p = past_new(s);

    p->read = read;
    buf_put(&p->prefix, store_prefix(s));
    buf_put(&p->prefix, read->prefix);
    p->walk = (struct backend_walk){
        .prefix = buf_bytes(&p->prefix),
        .at = plain,
        .row = on_row,
        .ctx = p,
    };
    if (p->prefix.bad)
        end(p, ERR_NOMEM);
    else
        list_add(&s->pasts_ready, &p->link);
}

/* --- History ------------------------------------------------------------- */

static void on_revision(void *ctx, uint64_t revision, uint64_t wall_ms,
                        const struct store_event *events, size_t count)
{
    struct past *p = ctx;

    if (is_over(p))
        return;
    marker_reset(&p->marker);
    for (size_t i = 0; i < count; i++)
        if (!events[i].is_delete &&
            bytes_starts(events[i].key, bytes_str("m/")))
            marker_read(&p->marker, events[i].value);
    p->history->batch(p->history,
                      batch_of_revision(p->store, revision, wall_ms, events,
                                        count, &p->marker),
                      ERR_OK);
}

static void history_done(void *ctx, enum err e, uint64_t revision)
{
    struct past *p = ctx;

    p->next = revision + 1;
    step_done(p, e);
}

void history_start(struct store *s, struct store_history *h)
{
    uint64_t from = s->delivered + 1, last = s->delivered;
    enum err e = ERR_OK;

    /* The one that comes next is nothing yet, and no error. */
    if (h->from_revision != revision_out(s, from))
        e = plain_of(s, h->from_revision, &from);
    if (e == ERR_OK && h->last_revision)
        e = plain_of(s, h->last_revision, &last);
    if (e != ERR_OK || from > last) {
        h->batch(h, NULL, e);
        return;
    }
    struct past *p = past_new(s);

    p->history = h;
    p->next = from;
    p->last = last;
    list_add(&s->pasts_ready, &p->link);
}

/* --- Turns --------------------------------------------------------------- */

static void step(struct past *p)
{
    struct store *s = p->store;
    struct backend_sink to = {.revision = on_revision, .ctx = p};

    if (is_over(p))
        step_done(p, ERR_COMPACTED);
    else if (p->read)
        s->backend->ops->walk(s->backend, &p->walk, walk_done, p);
    else
        s->backend->ops->history(s->backend, p->next, p->last,
                                 HISTORY_SLICE_EVENTS, &to, history_done, p);
}

void pasts_step(struct store *s)
{
    if (list_empty(&s->pasts_ready))
        return;
    struct past *p = container_of(s->pasts_ready.next, struct past, link);

    list_del(&p->link);
    step(p);
    if (!list_empty(&s->pasts_ready))
        engine_kick(s);
}

/* Who has been answered for good may ask once more without knowing it. */
void past_more(struct store *s, const void *what, bool go_on)
{
    list_each (it, &s->pasts_asked) {
        struct past *p = container_of(it, struct past, link);

        if (p->read != what && p->history != what)
            continue;
        list_del(it);
        if (go_on)
            list_add(&s->pasts_ready, it);
        else
            end(p, ERR_CLOSED);
        return;
    }
}

void pasts_close(struct store *s)
{
    struct list *all[] = {&s->pasts_ready, &s->pasts_asked};

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        list_each (it, all[i]) {
            end(container_of(it, struct past, link), ERR_CLOSED);
        }
    }
}

/* --- When ---------------------------------------------------------------- */

struct moment {
    struct store *store;
    struct store_moment *asked;
    uint64_t revision, wall_ms; /* bounds, the backend's */
};

static void moment_end(struct moment *x, enum err e)
{
    struct store_moment *m = x->asked;

    x->store->reads--;
    free(x);
    m->done(m, e);
}

static void moment_found(void *ctx, enum err e, uint64_t revision,
                         uint64_t wall_ms)
{
    struct moment *x = ctx;

    /* What came before the pointer is another epoch's. */
    if (e == ERR_OK && revision < x->store->pointer_rev)
        e = ERR_COMPACTED;
    if (e == ERR_OK) {
        x->asked->revision = revision_out(x->store, revision);
        x->asked->wall_ms = wall_ms;
    }
    moment_end(x, e);
}

static void moment_oldest(void *ctx, enum err e, uint64_t revision,
                          uint64_t wall_ms)
{
    struct moment *x = ctx;
    struct store *s = x->store;

    if (e == ERR_OK) {
        x->asked->oldest = revision_out(s, revision);
        x->asked->oldest_ms = wall_ms;
    }
    if (e == ERR_OK && revision > x->revision)
        e = ERR_COMPACTED;
    if (e == ERR_OK)
        s->backend->ops->moment(s->backend, x->revision, x->wall_ms,
                                moment_found, x);
    else
        moment_end(x, e);
}

void moment_start(struct store *s, struct store_moment *m)
{
    struct moment *x = xzalloc(sizeof *x);
    uint64_t oldest = revision_plain(atomic_load(&s->oldest));
    enum err e = ERR_OK;

    *x = (struct moment){s, m, s->delivered,
                         m->wall_ms ? m->wall_ms : UINT64_MAX};
    s->reads++;
    m->oldest = m->oldest_ms = 0;
    if (m->revision)
        e = plain_of(s, m->revision, &x->revision);
    if (e == ERR_COMPACTED) {
        x->revision = 0;
        e = ERR_OK; /* to be told what there is */
    }
    if (e == ERR_OK)
        s->backend->ops->moment(s->backend, oldest ? oldest : 1, UINT64_MAX,
                                moment_oldest, x);
    else
        moment_end(x, e);
}
