/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* store_world - a store and somebody who listens to it: keeps the rows that the
 * feed tells of, checks that the feed keeps its rules, and waits for things
 * with a time-out that fails the test. For the tests of src/store. */
#ifndef STORE_WORLD_H
#define STORE_WORLD_H

#include "store/backend.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "test.h"

enum { PATIENCE_S = 60, GUARDS_MAX = 8, OPS_MAX = 8 };

#define K(s) bytes_str(s)

struct seen_row {
    char *key, *value;
    size_t key_n, value_n;
    uint64_t create_rev, mod_rev;
};

struct world {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct store *store;

    /* As the feed tells. */
    struct seen_row *rows;
    size_t row_count, row_cap;
    uint64_t revision; /* of the last LOAD_END or REVISION */
    uint64_t load_revision;
    int loads;
    size_t revisions; /* REVISION batches */
    bool in_load;
    bool may_fall;      /* etcd is put back to a backup under its feet */
    const char *broken; /* a rule of the feed that was not kept */

    int ups, downs;
    bool up;
    enum err why;
    char why_text[160];
    size_t done_before_feed; /* must stay 0 */
    char deleted_by[64];     /* of the last deletion that was fed */
};

static inline struct bytes seen_key(const struct seen_row *r)
{
    return bytes_of(r->key, r->key_n);
}

static inline struct seen_row *seen_find(struct world *w, struct bytes key)
{
    for (size_t i = 0; i < w->row_count; i++) {
        if (bytes_eq(seen_key(&w->rows[i]), key))
            return &w->rows[i];
    }
    return NULL;
}

static inline void seen_drop(struct world *w, struct seen_row *r)
{
    free(r->key);
    free(r->value);
    *r = w->rows[--w->row_count];
}

static inline char *world_copy(struct bytes b)
{
    char *p = malloc(b.n + 1);

    if (b.n)
        memcpy(p, b.p, b.n);
    p[b.n] = '\0';
    return p;
}

static inline void seen_put(struct world *w, const struct store_event *ev)
{
    struct seen_row *r = seen_find(w, ev->key);

    if (!r) {
        if (w->row_count == w->row_cap) {
            w->row_cap = w->row_cap ? w->row_cap * 2 : 16;
            w->rows = realloc(w->rows, w->row_cap * sizeof *w->rows);
        }
        r = &w->rows[w->row_count++];
        *r = (struct seen_row){.key = world_copy(ev->key), .key_n = ev->key.n};
    }
    free(r->value);
    r->value = world_copy(ev->value);
    r->value_n = ev->value.n;
    r->create_rev = ev->create_rev;
    r->mod_rev = ev->mod_rev;
}

static inline void world_clear(struct world *w)
{
    while (w->row_count)
        seen_drop(w, &w->rows[0]);
}

static inline void world_rule(struct world *w, bool kept, const char *rule)
{
    if (!kept && !w->broken)
        w->broken = rule;
}

static inline void world_event(struct world *w, const struct store_event *ev,
                               uint64_t revision)
{
    struct seen_row *r = seen_find(w, ev->key);

    world_rule(w, ev->mod_rev == revision, "events carry their revision");
    if (ev->is_delete) {
        world_rule(w, r != NULL, "only what is there is deleted");
        if (r)
            seen_drop(w, r);
        snprintf(w->deleted_by, sizeof w->deleted_by, "%.*s",
                 BYTES_ARG(ev->by));
        return;
    }
    world_rule(w, ev->create_rev == (r ? r->create_rev : revision),
               "the create revision stays while a key lives");
    seen_put(w, ev);
}

static inline void world_take(struct world *w, struct store_batch *b)
{
    switch (b->kind) {
    case BATCH_LOAD_BEGIN:
        w->in_load = true;
        world_clear(w);
        break;
    case BATCH_LOAD_ROWS:
        world_rule(w, w->in_load, "rows come in a load");
        for (size_t i = 0; i < b->count; i++) {
            world_rule(w, !seen_find(w, b->events[i].key),
                       "a load has each key once");
            seen_put(w, &b->events[i]);
        }
        break;
    case BATCH_LOAD_END:
        world_rule(w, w->in_load, "a load begins before it ends");
        world_rule(w, w->may_fall || b->revision >= w->revision,
                   "a load does not go back");
        for (size_t i = 0; i < w->row_count; i++)
            world_rule(w, w->rows[i].mod_rev <= b->revision,
                       "a load holds nothing newer than its revision");
        w->in_load = false;
        w->loads++;
        w->revision = w->load_revision = b->revision;
        break;
    case BATCH_REVISION:
        world_rule(w, !w->in_load, "no revision inside a load");
        world_rule(w, b->revision == w->revision + 1,
                   "each revision comes once, in order");
        for (size_t i = 0; i < b->count; i++)
            world_event(w, &b->events[i], b->revision);
        w->revision = b->revision;
        w->revisions++;
        break;
    }
}

static inline void world_on_batch(void *ctx, struct store_batch *take)
{
    struct world *w = ctx;

    pthread_mutex_lock(&w->mutex);
    world_take(w, take);
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->mutex);
    store_batch_free(take);
}

static inline void world_on_state(void *ctx, bool up, enum err why,
                                  const char *text)
{
    struct world *w = ctx;

    pthread_mutex_lock(&w->mutex);
    up ? w->ups++ : w->downs++;
    w->up = up;
    w->why = why;
    snprintf(w->why_text, sizeof w->why_text, "%s", text ? text : "");
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->mutex);
}

/* With the mutex held; false: the patience is over. */
static inline bool world_wait(struct world *w)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    return pthread_cond_timedwait(&w->changed, &w->mutex, &until) == 0;
}

#define world_until(w, condition)                                              \
    do {                                                                       \
        pthread_mutex_lock(&(w)->mutex);                                       \
        bool waited_ = true;                                                   \
        while (waited_ && !(condition))                                        \
            waited_ = world_wait(w);                                           \
        pthread_mutex_unlock(&(w)->mutex);                                     \
        if (!waited_)                                                          \
            fail_msg("never came: %s", #condition);                            \
    } while (0)

static inline struct store_options
world_options(struct world *w, enum store_kind kind, const char *path)
{
    return (struct store_options){
        .kind = kind,
        .path = path,
        .server_id = "server-1",
        .on_batch = world_on_batch,
        .on_state = world_on_state,
        .ctx = w,
    };
}

static inline void world_init(struct world *w)
{
    *w = (struct world){0};
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->changed, NULL);
}

static inline void world_fini(struct world *w)
{
    world_clear(w);
    free(w->rows);
    pthread_mutex_destroy(&w->mutex);
    pthread_cond_destroy(&w->changed);
}

static inline void world_check(struct world *w)
{
    pthread_mutex_lock(&w->mutex);
    const char *broken = w->broken;
    pthread_mutex_unlock(&w->mutex);
    if (broken)
        fail_msg("the feed broke a rule: %s", broken);
}

static inline void world_close(struct world *w)
{
    store_close(w->store);
    w->store = NULL;
    world_check(w);
    w->revision = 0; /* the next one loads again */
}

/* --- One change, waited for ---------------------------------------------- */

struct waited {
    struct store_change change;
    struct store_guard guards[GUARDS_MAX];
    struct store_op ops[OPS_MAX];
    struct store_outcome outcome;
    struct world *world;
    int done;
};

static inline void waited_done(struct store_change *c,
                               const struct store_outcome *o)
{
    struct waited *x = container_of(c, struct waited, change);
    struct world *w = x->world;

    pthread_mutex_lock(&w->mutex);
    x->outcome = *o;
    x->done++;
    if ((o->verdict == STORE_COMMITTED || o->verdict == STORE_CONFLICT) &&
        o->revision > w->revision)
        w->done_before_feed++;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->mutex);
}

static inline void waited_guard(struct waited *x, enum store_guard_kind kind,
                                const char *key, uint64_t rev)
{
    assert_true(x->change.guard_count < GUARDS_MAX);
    x->guards[x->change.guard_count++] =
        (struct store_guard){kind, bytes_str(key), rev};
}

static inline void waited_op(struct waited *x, enum store_op_kind kind,
                             const char *key, const char *value)
{
    assert_true(x->change.op_count < OPS_MAX);
    x->ops[x->change.op_count++] =
        (struct store_op){kind, bytes_str(key), bytes_str(value)};
}

static inline void waited_init(struct waited *x, struct world *w)
{
    *x = (struct waited){.world = w};
    x->change.guards = x->guards;
    x->change.ops = x->ops;
    x->change.meta = bytes_str("PUT /v1/catalog/register");
    x->change.done = waited_done;
}

static inline void waited_submit(struct waited *x)
{
    struct errtext t = {{0}};
    enum err e = store_submit(x->world->store, &x->change, &t);

    if (e != ERR_OK)
        fail_msg("submit: %s: %s", err_text(e), t.s);
}

static inline struct store_outcome waited_wait(struct waited *x)
{
    world_until(x->world, x->done);
    assert_int_equal(x->done, 1);
    return x->outcome;
}

static inline struct store_outcome waited_commit(struct waited *x)
{
    waited_submit(x);
    return waited_wait(x);
}

/* Commits a put (value NULL: a delete) and expects it to succeed. */
static inline uint64_t world_put(struct world *w, const char *key,
                                 const char *value)
{
    struct waited x;

    waited_init(&x, w);
    waited_op(&x, value ? OP_PUT : OP_DELETE, key, value);
    struct store_outcome o = waited_commit(&x);
    if (o.verdict != STORE_COMMITTED)
        fail_msg("put \"%s\": verdict %d: %s", key, o.verdict, o.text.s);
    return o.revision;
}

/* What the feed has told of the key; NULL: not there. Valid until the next. */
static inline const char *world_get(struct world *w, const char *key)
{
    pthread_mutex_lock(&w->mutex);
    struct seen_row *r = seen_find(w, bytes_str(key));
    const char *v = r ? r->value : NULL;
    pthread_mutex_unlock(&w->mutex);
    return v;
}

static inline uint64_t world_revision(struct world *w)
{
    pthread_mutex_lock(&w->mutex);
    uint64_t revision = w->revision;
    pthread_mutex_unlock(&w->mutex);
    return revision;
}

static inline struct seen_row world_row(struct world *w, const char *key)
{
    pthread_mutex_lock(&w->mutex);
    struct seen_row *r = seen_find(w, bytes_str(key));
    struct seen_row copy = r ? *r : (struct seen_row){0};
    pthread_mutex_unlock(&w->mutex);
    return copy;
}

static inline void world_expect(struct world *w, const char *key,
                                const char *value)
{
    const char *got = world_get(w, key);

    bool same = got && value ? strcmp(got, value) == 0 : !got && !value;

    if (!same)
        fail_msg("\"%s\" is \"%s\", want \"%s\"", key, got ? got : "(none)",
                 value ? value : "(none)");
}

/* A fresh directory; removed with all in it by world_rmdir. */
static inline void world_tmpdir(char *path, size_t n)
{
    const char *base = getenv("TMPDIR");

    snprintf(path, n, "%s/muster-store-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(path))
        fail_msg("mkdtemp: %s", strerror(errno));
}

static inline void world_rmdir(const char *dir)
{
    char cmd[512];

    snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
    assert_int_equal(system(cmd), 0);
}

#endif
