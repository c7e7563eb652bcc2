/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* batch - what the feed hands out: one heap block each. */
#include <semaphore.h>
#include <stdlib.h>
#include <time.h>

#include "base/alloc.h"
#include "base/check.h"
#include "store/impl.h"
#include "store/marker.h"

enum {
    CHUNK_ROWS_MAX = 1000,
    CHUNK_BYTES_MAX = 192 * 1024, /* a row larger than that comes alone */
    WINDOW_BATCHES = 32,          /* of a load, not yet freed: 8 MB */
    WINDOW_SLICE_MS = 20,
    WINDOW_PATIENCE_MS = 2000,
};

/* --- Batches ------------------------------------------------------------- */

struct store_batch *batch_new(enum store_batch_kind kind, size_t count,
                              size_t bytes, char **ret_room)
{
    struct store_batch *b =
        xmalloc(sizeof *b + count * sizeof *b->events + bytes);

    *b = (struct store_batch){.kind = kind};
    b->events = (struct store_event *)(b + 1);
    list_init(&b->link);
    *ret_room = (char *)(b->events + count);
    return b;
}

void store_batch_free(struct store_batch *b)
{
    if (b && b->window)
        window_leave(b->window);
    free(b);
}

static struct bytes copy(char **room, struct bytes v)
{
    char *p = *room;

    if (v.n)
        memcpy(p, v.p, v.n);
    *room += v.n;
    return bytes_of(p, v.n);
}

struct store_batch *batch_of_revision(const struct store *s, uint64_t revision,
                                      uint64_t wall_ms,
                                      const struct store_event *events,
                                      size_t count, const struct marker *who)
{
    struct bytes prefix = store_prefix(s);
    size_t n = 0, bytes = who ? marker_meta_bytes(who) : 0;
    struct bytes metas = {0};
    char *room;

    for (size_t i = 0; i < count; i++) {
        if (!bytes_starts(events[i].key, prefix))
            continue;
        n++;
        bytes += events[i].key.n - prefix.n + events[i].value.n;
    }
    struct store_batch *b = batch_new(BATCH_REVISION, n, bytes, &room);

    b->revision = revision_out(s, revision);
    b->wall_ms = wall_ms;
    if (who)
        metas = copy(&room, marker_metas(who));
    for (size_t i = 0; i < count; i++) {
        const struct store_event *ev = &events[i];

        if (!bytes_starts(ev->key, prefix))
            continue;
        b->events[b->count++] = (struct store_event){
            .is_delete = ev->is_delete,
            .key = copy(&room, bytes_skip(ev->key, prefix.n)),
            .value = copy(&room, ev->value),
            .create_rev = ev->is_delete ? 0 : revision_out(s, ev->create_rev),
            .mod_rev = revision_out(s, ev->mod_rev),
            .by = who ? marker_by(who, bytes_skip(ev->key, prefix.n), metas)
                      : (struct bytes){0},
        };
    }
    return b;
}

void chunk_flush(struct chunk *c, chunk_emit_fn emit, void *ctx)
{
    struct store_batch *b = c->batch;

    *c = (struct chunk){0};
    if (b)
        emit(ctx, b);
}

void chunk_add(struct store *s, struct chunk *c, const struct backend_row *row,
               chunk_emit_fn emit, void *ctx)
{
    size_t need = row->key.n + row->value.n;

    if (c->batch && (need > c->left || c->batch->count == CHUNK_ROWS_MAX))
        chunk_flush(c, emit, ctx);
    if (!c->batch) {
        bool alone = need > CHUNK_BYTES_MAX;

        c->left = alone ? need : CHUNK_BYTES_MAX;
        c->batch = batch_new(BATCH_LOAD_ROWS, alone ? 1 : CHUNK_ROWS_MAX,
                             c->left, &c->at);
    }
    c->batch->events[c->batch->count++] = (struct store_event){
        .key = copy(&c->at, row->key),
        .value = copy(&c->at, row->value),
        .create_rev = revision_out(s, row->create_rev),
        .mod_rev = revision_out(s, row->mod_rev),
    };
    c->left -= need;
    if (c->left == 0) /* the room of one that comes alone is for one */
        chunk_flush(c, emit, ctx);
}

/* --- The window ---------------------------------------------------------- */

struct window {
    sem_t room;
    _Atomic int users;
};

struct window *window_new(void)
{
    struct window *w = xzalloc(sizeof *w);

    require(sem_init(&w->room, 0, WINDOW_BATCHES) == 0);
    atomic_store(&w->users, 1);
    return w;
}

static bool window_wait(struct window *w)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)WINDOW_SLICE_MS * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    return sem_clockwait(&w->room, CLOCK_MONOTONIC, &until) == 0;
}

/* Who keeps what he gets must not stop the store: after a while without any
 * being freed the rows come all the same. */
void window_enter(struct window *w, struct store_batch *b,
                  const _Atomic bool *hurry)
{
    int slices = WINDOW_PATIENCE_MS / WINDOW_SLICE_MS;

    if (!w)
        return;
    while (slices-- > 0 && !atomic_load(hurry)) {
        if (window_wait(w)) {
            atomic_fetch_add(&w->users, 1);
            b->window = w;
            return;
        }
    }
}

void window_leave(struct window *w)
{
    if (!w)
        return;
    sem_post(&w->room);
    if (atomic_fetch_sub(&w->users, 1) == 1) {
        sem_destroy(&w->room);
        free(w);
    }
}
