/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* store_past - what a store says about its past, as text that tests compare:
 *
 *     rows      KEY=VALUE create/mod, one per line, sorted
 *     history   "@REVISION", then its events (KEY=VALUE create/mod, or KEY
 * gone), sorted */
#ifndef STORE_PAST_H
#define STORE_PAST_H

#include "unit/store_world.h"

struct lines {
    char **line;
    size_t n, cap;
};

static inline void lines_add(struct lines *l, char *take)
{
    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 64;
        l->line = realloc(l->line, l->cap * sizeof *l->line);
    }
    l->line[l->n++] = take;
}

static inline int lines_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted, joined onto out; l is empty afterwards. */
static inline void lines_flush(struct lines *l, struct buf *out)
{
    if (l->n)
        qsort(l->line, l->n, sizeof *l->line, lines_order);
    for (size_t i = 0; i < l->n; i++) {
        buf_puts(out, l->line[i]);
        buf_putc(out, '\n');
        free(l->line[i]);
    }
    free(l->line);
    *l = (struct lines){0};
}

static inline char *past_line(struct bytes key, struct bytes value,
                              uint64_t create_rev, uint64_t mod_rev)
{
    struct buf b = {0};

    buf_printf(&b, "%.*s=%.*s %llu/%llu", BYTES_ARG(key), BYTES_ARG(value),
               (unsigned long long)create_rev, (unsigned long long)mod_rev);
    return buf_take(&b, NULL);
}

static inline char *past_gone(struct bytes key)
{
    struct buf b = {0};

    buf_printf(&b, "%.*s gone", BYTES_ARG(key));
    return buf_take(&b, NULL);
}

struct past {
    struct store_read read;
    struct store_history history;
    struct world *world;
    struct lines lines;
    struct buf text;
    enum err e;
    bool over;
    int slices;                       /* so far */
    int give_up_after;                /* so many; 0: never */
    void (*on_slice)(struct past *p); /* on the store thread; may be NULL */
    void (*on_events)(struct past *p, const struct store_batch *b);
};

static inline void past_slice(struct past *p)
{
    p->slices++;
    if (p->on_slice)
        p->on_slice(p);
}

static inline void past_end(struct past *p, enum err e)
{
    struct world *w = p->world;

    pthread_mutex_lock(&w->mutex);
    p->e = e;
    p->over = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->mutex);
}

static inline void past_rows(struct store_read *r, struct store_batch *take,
                             enum err e)
{
    struct past *p = container_of(r, struct past, read);

    if (!take && e == ERR_AGAIN) {
        past_slice(p);
        store_read_more(p->world->store, r, p->slices != p->give_up_after);
        return;
    }
    if (!take) {
        lines_flush(&p->lines, &p->text);
        past_end(p, e);
        return;
    }
    for (size_t i = 0; i < take->count; i++) {
        const struct store_event *ev = &take->events[i];
        lines_add(&p->lines,
                  past_line(ev->key, ev->value, ev->create_rev, ev->mod_rev));
    }
    store_batch_free(take);
}

static inline void past_batch(struct store_history *h, struct store_batch *take,
                              enum err e)
{
    struct past *p = container_of(h, struct past, history);

    if (!take && e == ERR_AGAIN) {
        past_slice(p);
        store_history_more(p->world->store, h, p->slices != p->give_up_after);
        return;
    }
    if (!take) {
        past_end(p, e);
        return;
    }
    if (take->count && p->on_events)
        p->on_events(p, take);
    buf_printf(&p->text, "@%llu\n", (unsigned long long)take->revision);
    for (size_t i = 0; i < take->count; i++) {
        const struct store_event *ev = &take->events[i];
        lines_add(&p->lines, ev->is_delete
                                 ? past_gone(ev->key)
                                 : past_line(ev->key, ev->value, ev->create_rev,
                                             ev->mod_rev));
    }
    lines_flush(&p->lines, &p->text);
    store_batch_free(take);
}

static inline char *past_text(struct past *p, enum err *ret_e)
{
    world_until(p->world, p->over);
    *ret_e = p->e;
    buf_putc(&p->text, '\0');
    return buf_take(&p->text, NULL);
}

/* Free the text. */
static inline char *world_read_at(struct world *w, uint64_t revision,
                                  const char *prefix, enum err *ret_e)
{
    struct past p = {.e = ERR_UNAVAILABLE};
    char *text = NULL;

    /* Behind faults a read may fail, and is then tried again. */
    while (p.e == ERR_UNAVAILABLE) {
        free(text);
        p = (struct past){
            .world = w,
            .read = {revision, bytes_str(prefix), past_rows, {0}},
        };
        assert_ok(store_read_begin(w->store, &p.read));
        text = past_text(&p, ret_e);
    }
    return text;
}

static inline char *world_history(struct world *w, uint64_t from,
                                  enum err *ret_e)
{
    struct past p = {.world = w, .history = {from, 0, past_batch, {0}}};

    assert_ok(store_history_begin(w->store, &p.history));
    return past_text(&p, ret_e);
}

/* What the feed has told, as text. */
static inline char *world_text(struct world *w)
{
    struct lines l = {0};
    struct buf out = {0};

    pthread_mutex_lock(&w->mutex);
    for (size_t i = 0; i < w->row_count; i++) {
        const struct seen_row *r = &w->rows[i];
        lines_add(&l, past_line(seen_key(r), bytes_of(r->value, r->value_n),
                                r->create_rev, r->mod_rev));
    }
    pthread_mutex_unlock(&w->mutex);
    lines_flush(&l, &out);
    buf_putc(&out, '\0');
    return buf_take(&out, NULL);
}

/* Names the first line that differs, with what stands around it. */
static inline void past_same(const char *got, const char *want,
                             const char *what)
{
    size_t same = 0, line = 1;

    if (strcmp(got, want) == 0)
        return;
    while (got[same] && got[same] == want[same])
        line += got[same++] == '\n';
    size_t from = same > 60 ? same - 60 : 0;
    fail_msg("%s differs in line %zu:\ngot  ...%.120s\nwant ...%.120s", what,
             line, got + from, want + from);
}

struct world_barrier {
    struct store_barrier barrier;
    struct world *world;
    enum err e;
    uint64_t revision;
    bool over;
};

static inline void barrier_over(struct store_barrier *b, enum err e,
                                uint64_t revision)
{
    struct world_barrier *x = container_of(b, struct world_barrier, barrier);

    pthread_mutex_lock(&x->world->mutex);
    x->e = e;
    x->revision = revision;
    x->over = true;
    pthread_cond_broadcast(&x->world->changed);
    pthread_mutex_unlock(&x->world->mutex);
}

static inline struct world_barrier world_barrier_try(struct world *w)
{
    struct world_barrier x = {.world = w, .barrier = {.done = barrier_over}};

    assert_ok(store_barrier_begin(w->store, &x.barrier));
    world_until(w, x.over);
    return x;
}

static inline uint64_t world_barrier(struct world *w)
{
    struct world_barrier x = world_barrier_try(w);

    assert_ok(x.e);
    return x.revision;
}

/* Until one is answered, and what it covers is here. */
static inline uint64_t world_barrier_patient(struct world *w)
{
    struct world_barrier x;

    do
        x = world_barrier_try(w);
    while (x.e != ERR_OK);
    world_until(w, w->revision >= x.revision && !w->in_load);
    return x.revision;
}

#endif
