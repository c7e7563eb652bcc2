/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "store/walk.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/buf.h"

enum walk_phase { WALK_INDEX, WALK_TAIL, WALK_FETCH };

struct run {
    uint64_t *id; /* ascending */
    size_t n, at;
};

struct walk {
    enum walk_phase phase;
    struct buf key;      /* INDEX: the last one looked at */
    uint64_t next, last; /* TAIL: revisions */

    struct run *runs;
    size_t run_n, run_cap;
    struct run open; /* being filled */
    size_t open_cap;

    /* FETCH: runs with ids left, as a binary heap by their next id. */
    size_t heap_n;
    uint64_t id[WALK_STEP_ROWS];
    uint64_t told; /* the last one; ids are above 0 */
};

/* --- Runs ---------------------------------------------------------------- */

static void found(void *ctx, uint64_t row)
{
    struct walk *k = ctx;

    if (k->open.n == k->open_cap) {
        k->open_cap = k->open_cap ? k->open_cap * 2 : 64;
        k->open.id = xrealloc(k->open.id, k->open_cap * sizeof *k->open.id);
    }
    k->open.id[k->open.n++] = row;
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void close_run(struct walk *k)
{
    if (k->open.n == 0)
        return;
    qsort(k->open.id, k->open.n, sizeof *k->open.id, by_id);
    if (k->run_n == k->run_cap) {
        k->run_cap = k->run_cap ? k->run_cap * 2 : 16;
        k->runs = xrealloc(k->runs, k->run_cap * sizeof *k->runs);
    }
    k->runs[k->run_n++] = k->open;
    k->open = (struct run){0};
    k->open_cap = 0;
}

static uint64_t head_of(const struct run *r)
{
    return r->id[r->at];
}

static void sift_down(struct run *heap, size_t n, size_t i)
{
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        struct run up = heap[i];

        if (child + 1 < n && head_of(&heap[child + 1]) < head_of(&heap[child]))
            child++;
        if (head_of(&up) <= head_of(&heap[child]))
            return;
        heap[i] = heap[child];
        heap[child] = up;
    }
}

static void heap_make(struct walk *k)
{
    k->heap_n = k->run_n;
    for (size_t i = k->heap_n / 2; i > 0; i--)
        sift_down(k->runs, k->heap_n, i - 1);
}

/* Runs that are through stand behind the heap, until walk_free. */
static uint64_t heap_take(struct walk *k)
{
    struct run *top = &k->runs[0];
    uint64_t id = top->id[top->at++];

    if (top->at == top->n) {
        struct run through = *top;

        *top = k->runs[--k->heap_n];
        k->runs[k->heap_n] = through;
    }
    sift_down(k->runs, k->heap_n, 0);
    return id;
}

/* --- Steps --------------------------------------------------------------- */

static void step_index(struct walk *k, const struct backend_walk *w,
                       const struct index *x, uint64_t newest)
{
    const struct index_entry *e = NULL;
    struct index_iter it;

    if (k->key.n)
        index_seek_after(x, w->prefix, buf_bytes(&k->key), &it);
    else
        index_seek(x, w->prefix, &it);
    for (int i = 0; i < WALK_STEP_KEYS; i++) {
        const struct index_entry *next = index_next(&it);

        if (!next) {
            k->phase = WALK_TAIL;
            k->next = w->at + 1;
            k->last = newest;
            break;
        }
        e = next;
        if (e->mod_rev <= w->at)
            found(k, e->row);
    }
    buf_reset(&k->key);
    if (e)
        buf_put(&k->key, index_key(e));
    close_run(k);
}

static enum err step_tail(struct walk *k, const struct backend_walk *w,
                          const struct single_log *ops, void *log)
{
    uint64_t last = k->last;
    enum err e = k->next > k->last
                     ? ERR_OK
                     : ops->superseded(log, w->prefix, w->at, k->next, k->last,
                                       WALK_STEP_KEYS, found, k, &last);

    close_run(k);
    k->next = last + 1;
    if (e == ERR_OK) {
        heap_make(k);
        k->phase = WALK_FETCH;
    }
    return e == ERR_OK ? ERR_AGAIN : e;
}

static enum err step_fetch(struct walk *k, const struct backend_walk *w,
                           const struct single_log *ops, void *log)
{
    size_t n = 0;

    while (n < WALK_STEP_ROWS && k->heap_n) {
        uint64_t id = heap_take(k);

        if (id == k->told)
            continue;
        k->id[n++] = k->told = id;
    }
    enum err e = ops->fetch(log, k->id, n, w->row, w->ctx);

    return e == ERR_OK && k->heap_n ? ERR_AGAIN : e;
}

enum err walk_step(struct backend_walk *w, const struct single_log *ops,
                   void *log, const struct index *x, uint64_t newest)
{
    struct walk *k = w->state;

    if (!k)
        k = w->state = xzalloc(sizeof *k);
    switch (k->phase) {
    case WALK_INDEX:
        step_index(k, w, x, newest);
        return k->key.bad ? ERR_NOMEM : ERR_AGAIN;
    case WALK_TAIL:
        return step_tail(k, w, ops, log);
    case WALK_FETCH:
        return step_fetch(k, w, ops, log);
    }
    return ERR_BAD;
}

void walk_free(struct backend_walk *w)
{
    struct walk *k = w->state;

    if (!k)
        return;
    for (size_t i = 0; i < k->run_n; i++)
        free(k->runs[i].id);
    free(k->runs);
    free(k->open.id);
    buf_fini(&k->key);
    free(k);
    w->state = NULL;
}
