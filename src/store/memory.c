/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* The memory backend: single.c's rules over rows on the heap.
 *
 * The tail holds all rows of revisions not yet compacted away, in order; the
 * index points at live rows, each row at the one it superseded. See
 * sqlite_log.h, whose rules for reading at a revision and for compaction these
 * are, with pointers for row ids. */
#include "store/backend.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "store/single.h"

struct memory_row {
    uint64_t revision, wall_ms, create_rev;
    struct memory_row *prev; /* NULL: none, or compacted away */
    uint32_t value_n;
    uint16_t key_n;
    bool is_delete;
    bool in_tail;
    char data[]; /* key, value */
};

struct memory_log {
    struct memory_row **tail; /* [first, end) */
    size_t first, end, cap;
};

enum { MEMORY_SWEEP_ROWS = 10000 };

static struct bytes row_key(const struct memory_row *r)
{
    return bytes_of(r->data, r->key_n);
}

static struct bytes row_value(const struct memory_row *r)
{
    return bytes_of(r->data + r->key_n, r->value_n);
}

static struct memory_row *row_of(const struct index_entry *e)
{
    return (struct memory_row *)(uintptr_t)e->row;
}

static void tail_push(struct memory_log *l, struct memory_row *r)
{
    if (l->end == l->cap && l->first > l->cap / 2) {
        l->end -= l->first;
        memmove(l->tail, l->tail + l->first, l->end * sizeof *l->tail);
        l->first = 0;
    } else if (l->end == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 64;
        l->tail = xrealloc(l->tail, l->cap * sizeof *l->tail);
    }
    l->tail[l->end++] = r;
}

static void append(void *log, struct stage *s, uint64_t revision,
                   uint64_t wall_ms, const struct lease_note *notes,
                   size_t note_count, struct append_result *ret)
{
    struct memory_log *l = log;

    (void)notes; /* leases go with the process, as everything here */
    (void)note_count;
    for (size_t i = 0; i < s->n; i++) {
        const struct store_event *ev = &s->events[i];
        struct memory_row *r = xmalloc(sizeof *r + ev->key.n + ev->value.n);

        *r = (struct memory_row){
            .revision = revision,
            .wall_ms = wall_ms,
            .create_rev = ev->create_rev,
            .prev = s->slots[i].old ? row_of(s->slots[i].old) : NULL,
            .value_n = (uint32_t)ev->value.n,
            .key_n = (uint16_t)ev->key.n,
            .is_delete = ev->is_delete,
            .in_tail = true,
        };
        memcpy(r->data, ev->key.p, ev->key.n);
        if (ev->value.n)
            memcpy(r->data + ev->key.n, ev->value.p, ev->value.n);
        s->slots[i].row = (uintptr_t)r;
        tail_push(l, r);
    }
    ret->verdict = BACKEND_COMMITTED;
}

/* The first row in the tail with this revision or a newer one. */
static size_t tail_at(const struct memory_log *l, uint64_t revision)
{
    size_t lo = l->first, hi = l->end;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (l->tail[mid]->revision < revision)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void emit_row(const struct memory_row *r, backend_row_fn row, void *ctx)
{
    struct backend_row out = {
        .key = row_key(r),
        .value = row_value(r),
        .create_rev = r->create_rev,
        .mod_rev = r->revision,
    };

    row(ctx, &out);
}

static enum err range(void *log, const struct index *x, struct bytes prefix,
                      uint64_t at, backend_row_fn row, void *ctx)
{
    struct memory_log *l = log;
    struct index_iter it;

    index_seek(x, prefix, &it);
    for (const struct index_entry *e; (e = index_next(&it));) {
        if (e->mod_rev <= at)
            emit_row(row_of(e), row, ctx);
    }
    for (size_t i = tail_at(l, at + 1); i < l->end; i++) {
        const struct memory_row *prev = l->tail[i]->prev;

        if (prev && prev->revision <= at && !prev->is_delete &&
            bytes_starts(row_key(prev), prefix))
            emit_row(prev, row, ctx);
    }
    return ERR_OK;
}

static enum err history(void *log, uint64_t from, uint64_t last, size_t limit,
                        const struct backend_sink *to, uint64_t *ret_last)
{
    struct memory_log *l = log;
    struct store_event *events = NULL;
    size_t cap = 0, told = 0;
    bool more = false;

    for (size_t i = tail_at(l, from), n; i < l->end; i += n) {
        const struct memory_row *head = l->tail[i];

        more = head->revision <= last && told >= limit;
        if (head->revision > last || more)
            break;
        for (n = 0; i + n < l->end; n++) {
            const struct memory_row *r = l->tail[i + n];

            if (r->revision != head->revision)
                break;
            if (n == cap) {
                cap = cap ? cap * 2 : 16;
                events = xrealloc(events, cap * sizeof *events);
            }
            events[n] = (struct store_event){
                .is_delete = r->is_delete,
                .key = row_key(r),
                .value = row_value(r),
                .create_rev = r->create_rev,
                .mod_rev = r->revision,
            };
        }
        told += n;
        *ret_last = head->revision;
        to->revision(to->ctx, head->revision, head->wall_ms, events, n);
    }
    free(events);
    return more ? ERR_AGAIN : ERR_OK;
}

static enum err superseded(void *log, struct bytes prefix, uint64_t at,
                           uint64_t from, uint64_t last, size_t limit,
                           void (*found)(void *ctx, uint64_t row), void *ctx,
                           uint64_t *ret_last)
{
    struct memory_log *l = log;
    size_t n = 0;

    for (size_t i = tail_at(l, from); i < l->end; i++, n++) {
        const struct memory_row *r = l->tail[i];

        if (r->revision > last)
            break;
        if (n >= limit && r->revision != *ret_last)
            return ERR_AGAIN;
        *ret_last = r->revision;
        if (r->prev && r->prev->revision <= at &&
            bytes_starts(row_key(r->prev), prefix))
            found(ctx, (uintptr_t)r->prev);
    }
    return ERR_OK;
}

static enum err fetch(void *log, const uint64_t *rows, size_t n,
                      backend_row_fn row, void *ctx)
{
    (void)log;
    for (size_t i = 0; i < n; i++) {
        const struct memory_row *r =
            (const struct memory_row *)(uintptr_t)rows[i];

        if (!r->is_delete)
            emit_row(r, row, ctx);
    }
    return ERR_OK;
}

static enum err moment(void *log, uint64_t oldest, uint64_t revision,
                       uint64_t wall_ms, uint64_t *ret_revision,
                       uint64_t *ret_wall_ms)
{
    struct memory_log *l = log;
    size_t first = tail_at(l, oldest), lo = first, hi = l->end;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const struct memory_row *r = l->tail[mid];

        if (r->revision <= revision && r->wall_ms <= wall_ms)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == first)
        return ERR_COMPACTED;
    *ret_revision = l->tail[lo - 1]->revision;
    *ret_wall_ms = l->tail[lo - 1]->wall_ms;
    return ERR_OK;
}

static void tail_leave(struct memory_log *l, size_t i)
{
    struct memory_row *r = l->tail[i];

    l->first = i + 1;
    r->in_tail = false;
    if (r->is_delete)
        free(r);
}

/* Rows below the revision leave the tail; those that are live, or superseded by
 * a row that stays, stay reachable through the index or through prev. Rows of
 * the revision itself stay: history from here still shows them. */
static enum err compact(void *log, uint64_t revision, uint64_t *ret_oldest)
{
    struct memory_log *l = log;
    size_t below = tail_at(l, revision), end = tail_at(l, revision + 1);

    *ret_oldest = revision;
    for (size_t i = l->first, n = 0; i < end; i++, n++) {
        struct memory_row *r = l->tail[i];

        if (n >= MEMORY_SWEEP_ROWS && i < below)
            return ERR_AGAIN;
        free(r->prev);
        r->prev = NULL;
        if (i < below)
            tail_leave(l, i);
    }
    return ERR_OK;
}

static void answered(void *log)
{
    (void)log;
}

static void close_log(void *log, struct index *x)
{
    struct memory_log *l = log;
    struct index_iter it;

    index_seek(x, bytes_str(""), &it);
    for (const struct index_entry *e; (e = index_next(&it));) {
        if (!row_of(e)->in_tail)
            free(row_of(e));
    }
    /* Newest first: prev is older, so not freed yet. */
    for (size_t i = l->end; i > l->first; i--) {
        struct memory_row *r = l->tail[i - 1];

        if (r->prev && !r->prev->in_tail)
            free(r->prev);
        free(r);
    }
    free(l->tail);
    free(l);
}

static const struct single_log ops = {
    .append = append,
    .range = range,
    .history = history,
    .superseded = superseded,
    .fetch = fetch,
    .moment = moment,
    .compact = compact,
    .answered = answered,
    .close = close_log,
};

enum err backend_memory_open(struct backend **ret, struct errtext *t)
{
    struct memory_log *l = xzalloc(sizeof *l);
    struct single_start start = {0};
    struct index x;

    index_init(&x);
    return single_new(&ops, l, &x, &start, ret, t);
}
