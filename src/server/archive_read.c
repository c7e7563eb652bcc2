/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What the archivist asks of the store: when, how it was, what happened. */
#include "base/alloc.h"
#include "base/map.h"
#include "server/archive_impl.h"

#include <malloc.h>
#include <time.h>

enum {
    /* How often compaction may overtake a history from the oldest on. */
    OVERTAKEN_MAX = 4,
};

uint64_t archive_wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* --- Mail from the store thread ------------------------------------------ */

static void post(struct archivist *a, struct list *item)
{
    struct list one;
    list_init(&one);
    list_add(&one, item);
    queue_push_all(a->mail, &one);
}

static void post_mark(struct archivist *a, enum err e)
{
    a->outcome = e;
    post(a, &a->mark);
}

static void on_moment(struct store_moment *m, enum err e)
{
    post_mark(container_of(m, struct archivist, moment), e);
}

static void on_rows(struct store_read *r, struct store_batch *take, enum err e)
{
    struct archivist *a = container_of(r, struct archivist, read);
    if (take)
        post(a, &take->link);
    else
        post_mark(a, e);
}

static void on_history(struct store_history *h, struct store_batch *take,
                       enum err e)
{
    struct archivist *a = container_of(h, struct archivist, history);
    if (take)
        post(a, &take->link);
    else
        post_mark(a, e);
}

void archive_on_mail(void *ctx, struct list *items)
{
    struct archivist *a = ctx;
    list_move_all(&a->letters, items);
}

/* Waits for it; NULL: the mark. Questions that come meanwhile are collected. */
static struct store_batch *next_batch(struct archivist *a)
{
    while (list_empty(&a->letters))
        uv_run(&a->loop, UV_RUN_ONCE);
    struct list *item = a->letters.next;
    list_del(item);
    return item == &a->mark ? NULL
                            : container_of(item, struct store_batch, link);
}

/* --- When ---------------------------------------------------------------- */

/* The bounds of what is asked, as the store takes them; false: in the future. */
static bool bounds_of(struct api_at at, struct store_moment *m)
{
    uint64_t now = archive_wall_ms();
    m->revision = m->wall_ms = 0;
    switch (at.kind) {
    case API_AT_NONE:
        return true;
    case API_AT_REVISION:
        m->revision = at.value;
        if (at.value == 0) /* before everything: so is that time */
            m->wall_ms = 1;
        return true;
    case API_AT_TIME:
        m->wall_ms = at.value ? at.value : 1;
        return at.value <= now;
    case API_AT_BEFORE:
        m->wall_ms = at.value < now ? now - at.value : 1;
        return true;
    }
    return true;
}

enum err archive_moment(struct archivist *a, struct api_at at)
{
    a->moment = (struct store_moment){.done = on_moment};
    list_init(&a->moment.link);
    if (!bounds_of(at, &a->moment))
        return ERR_NOT_FOUND;
    enum err e = store_moment_begin(a->process->store, &a->moment);
    if (e != ERR_OK)
        return e;
    while (next_batch(a))
        continue; /* none comes but the mark */
    return a->outcome;
}

/* --- Catalogs of then ---------------------------------------------------- */

static void kept_drop(struct kept *k)
{
    if (!k->catalog)
        return;
    catalog_free(k->catalog);
    pin_fini(&k->pins);
    *k = (struct kept){0};
}

static void on_forget(struct timer *t)
{
    struct archivist *a = container_of(t, struct archivist, forget);
    for (int i = 0; i < ARCHIVE_KEPT_MAX; i++)
        kept_drop(&a->kept[i]);
    malloc_trim(0);
}

static struct kept *kept_find(struct archivist *a, uint64_t revision)
{
    for (int i = 0; i < ARCHIVE_KEPT_MAX; i++)
        if (a->kept[i].catalog && a->kept[i].revision == revision)
            return &a->kept[i];
    return NULL;
}

/* The one that was used longest ago; free ones were never used. */
static struct kept *kept_oldest(struct archivist *a)
{
    struct kept *oldest = &a->kept[0];
    for (int i = 1; i < ARCHIVE_KEPT_MAX; i++)
        if (a->kept[i].used < oldest->used)
            oldest = &a->kept[i];
    return oldest;
}

void archive_trim(struct archivist *a)
{
    size_t all = 0;
    bool any = false;
    for (int i = 0; i < ARCHIVE_KEPT_MAX; i++)
        if (a->kept[i].catalog)
            all += snapshot_instance_count(catalog_current(a->kept[i].catalog));
    while (all > ARCHIVE_KEPT_INSTANCES_MAX) {
        struct kept *k = NULL;
        for (int i = 0; i < ARCHIVE_KEPT_MAX; i++)
            if (a->kept[i].catalog && (!k || a->kept[i].used < k->used))
                k = &a->kept[i];
        all -= snapshot_instance_count(catalog_current(k->catalog));
        kept_drop(k);
    }
    for (int i = 0; i < ARCHIVE_KEPT_MAX; i++)
        any |= a->kept[i].catalog != NULL;
    if (any)
        timer_set(&a->timers, &a->forget, ARCHIVE_KEPT_MS);
}

/* All rows of a revision go to row(); ERR_CLOSED also if the asker is gone. */
static enum err read_rows(struct archivist *a, struct ask *q, uint64_t revision,
                          void (*row)(void *ctx, const struct store_event *ev),
                          void *ctx)
{
    a->read = (struct store_read){.revision = revision, .rows = on_rows};
    list_init(&a->read.link);
    enum err e = store_read_begin(a->process->store, &a->read);
    while (e == ERR_OK) {
        struct store_batch *b = next_batch(a);
        for (size_t i = 0; b && i < b->count; i++)
            row(ctx, &b->events[i]);
        store_batch_free(b);
        if (!b && a->outcome != ERR_AGAIN)
            return a->outcome;
        if (!b)
            store_read_more(a->process->store, &a->read,
                            !atomic_load(&q->gone));
    }
    return e;
}

static void load_row(void *ctx, const struct store_event *ev)
{
    struct errtext t;
    /* What is damaged was reported when it was loaded. */
    if (catalog_put(ctx, ev->key, ev->value, ev->create_rev, ev->mod_rev, &t) !=
        ERR_OK)
        return;
}

enum err archive_catalog(struct archivist *a, struct ask *q, uint64_t revision,
                         const struct snapshot **ret)
{
    struct kept *k = kept_find(a, revision);
    if (!k) {
        k = kept_oldest(a);
        kept_drop(k);
        pin_init(&k->pins);
        k->catalog = catalog_new(&k->pins);
        k->revision = revision;
        catalog_load_begin(k->catalog);
        enum err e = read_rows(a, q, revision, load_row, k->catalog);
        if (e != ERR_OK) {
            kept_drop(k);
            return e;
        }
        catalog_load_end(k->catalog, revision);
    }
    k->used = ++a->uses;
    *ret = catalog_current(k->catalog);
    return ERR_OK;
}

/* --- Stories ------------------------------------------------------------- */

static void story_of_row(void *ctx, const struct store_event *ev)
{
    story_row(ctx, ev->key, ev->value);
}

static void story_of_batch(void *ctx, const struct store_batch *b)
{
    struct story *s = ctx;
    for (size_t i = 0; i < b->count; i++) {
        const struct store_event *e = &b->events[i];
        struct story_event ev = {e->is_delete, e->key, e->value, e->by};
        story_event(s, &ev);
    }
    story_revision(s, b->revision, b->wall_ms);
}

static enum err
read_history(struct archivist *a, struct ask *q, uint64_t from, uint64_t last,
             void (*batch)(void *ctx, const struct store_batch *b), void *ctx)
{
    a->history = (struct store_history){
        .from_revision = from, .last_revision = last, .batch = on_history};
    list_init(&a->history.link);
    enum err e = store_history_begin(a->process->store, &a->history);
    while (e == ERR_OK) {
        struct store_batch *b = next_batch(a);
        if (b)
            batch(ctx, b);
        store_batch_free(b);
        if (!b && a->outcome != ERR_AGAIN)
            return a->outcome;
        if (!b)
            store_history_more(a->process->store, &a->history,
                               !atomic_load(&q->gone));
    }
    return e;
}

static enum err tell_from(struct archivist *a, struct ask *q,
                          struct api_past *past, struct story **ret)
{
    struct story *s = story_new(&q->want);
    enum err e = read_rows(a, q, past->from, story_of_row, s);
    if (e == ERR_OK) {
        story_rows_end(s);
        if (past->from < past->until)
            e = read_history(a, q, past->from + 1, past->until, story_of_batch,
                             s);
    }
    if (e == ERR_OK)
        *ret = s;
    else
        story_free(s);
    return e;
}

/* From `since` on, or from the oldest if that is older. Should what is the
 * oldest be dropped on the way, it begins at what is then. */
enum err archive_story(struct archivist *a, struct ask *q,
                       struct api_past *past, struct story **ret)
{
    enum err e = ERR_COMPACTED;
    for (int i = 0; e == ERR_COMPACTED && i < OVERTAKEN_MAX; i++) {
        e = archive_moment(a, q->since);
        if (e == ERR_NOT_FOUND)
            return e;
        if (e != ERR_OK && e != ERR_COMPACTED)
            return e;
        bool all = q->since.kind == API_AT_NONE || e == ERR_COMPACTED;
        past->from = all ? a->moment.oldest : a->moment.revision;
        past->from_ms = all ? a->moment.oldest_ms : a->moment.wall_ms;
        if (past->from > past->until)
            past->from = past->until;
        e = tell_from(a, q, past, ret);
    }
    return e;
}

/* --- Authors ------------------------------------------------------------- */

struct wanted {
    struct ask *q;
    struct {
        struct bytes key;
        uint64_t revision;
    } v[API_AUTHORS_MAX];
    size_t n;
};

static void want(void *ctx, struct bytes key, uint64_t create_rev)
{
    struct wanted *w = ctx;
    if (w->n == API_AUTHORS_MAX)
        return;
    struct bytes copy = arena_copy(&w->q->arena, key);
    if (!copy.p)
        return;
    w->v[w->n].key = copy;
    w->v[w->n++].revision = create_rev;
}

struct author_of {
    struct ask *q;
    struct map *all;
    struct bytes key;
};

static void note_author(void *ctx, const struct store_batch *b)
{
    struct author_of *of = ctx;
    for (size_t i = 0; i < b->count; i++) {
        const struct store_event *e = &b->events[i];
        if (e->is_delete || !bytes_eq(e->key, of->key))
            continue;
        struct api_author *a = arena_alloc(&of->q->arena, sizeof *a);
        if (!a)
            return;
        *a = (struct api_author){arena_copy(&of->q->arena, e->by), b->wall_ms};
        if (map_put(of->all, of->key, a) != ERR_OK)
            return; /* told as unknown */
    }
}

/* One revision of history at a time: ghosts are few, and lie far apart. What
 * cannot be read (any more) is told as unknown. */
void archive_authors(struct archivist *a, struct ask *q, struct map *ret)
{
    struct process *p = a->process;
    struct wanted *w = xzalloc(sizeof *w);
    w->q = q;
    pin_enter(&p->pins, a->pin);
    struct api_env env = {.cat = catalog_current(p->catalog)};
    api_ghosts_each(&env, want, w);
    pin_leave(&p->pins, a->pin);
    for (size_t i = 0; i < w->n && !atomic_load(&q->gone); i++)
        (void)read_history(a, q, w->v[i].revision, w->v[i].revision,
                           note_author,
                           &(struct author_of){q, ret, w->v[i].key});
    free(w);
}

/* --- Life ---------------------------------------------------------------- */

void archive_open(struct archivist *a)
{
    a->forget.fire = on_forget;
    list_init(&a->letters);
    list_init(&a->mark);
}

void archive_close(struct archivist *a)
{
    for (int i = 0; i < ARCHIVE_KEPT_MAX; i++)
        kept_drop(&a->kept[i]);
}
