/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* The past over every kind of store: reads and history in slices while others
 * write and compact, who wrote what, and what was the newest when. */
#include "store/store.h"

#include "unit/store_kinds.h"

/* Of etcd more: it tells a thousand revisions at once. */
enum { REVISIONS = 400, REVISIONS_ETCD = 1200, BULK_OPS = 500, BULK = 10 };

static struct world *world_of(void **state)
{
    return &((struct stage_set *)*state)->w;
}

/* Revisions enough for several slices. */
static uint64_t fill(struct world *w)
{
    uint64_t first = world_put(w, "a/first", "x");
    char key[32];

    const struct kind *kind = container_of(w, struct stage_set, w)->kind;
    int revisions = kind->kind == STORE_ETCD ? REVISIONS_ETCD : REVISIONS;

    for (int i = 1; i < revisions; i++) {
        snprintf(key, sizeof key, "a/%d", i % 7);
        (void)world_put(w, key, i % 11 ? "x" : NULL);
    }
    return first;
}

static struct past past_of(struct world *w, uint64_t from)
{
    return (struct past){.world = w, .history = {from, 0, past_batch, {0}}};
}

/* --- Slices -------------------------------------------------------------- */

struct writer {
    struct past past;
    struct store_change change;
    struct store_op op;
    struct world *world;
    int written;
    bool flies;
};

static void written(struct store_change *c, const struct store_outcome *o)
{
    struct writer *x = container_of(c, struct writer, change);

    pthread_mutex_lock(&x->world->mutex);
    x->flies = false;
    x->written += o->verdict == STORE_COMMITTED;
    pthread_cond_broadcast(&x->world->changed);
    pthread_mutex_unlock(&x->world->mutex);
}

/* On the store thread: one more change between this slice and the next. */
static void write_between(struct past *p)
{
    struct writer *x = container_of(p, struct writer, past);

    pthread_mutex_lock(&x->world->mutex);
    bool free_again = !x->flies;
    x->flies = true;
    pthread_mutex_unlock(&x->world->mutex);
    if (!free_again)
        return;
    x->op = (struct store_op){OP_PUT, K("between"), K("x")};
    x->change = (struct store_change){
        .ops = &x->op, .op_count = 1, .meta = K("writer"), .done = written};
    list_init(&x->change.link);
    assert_ok(store_submit(x->world->store, &x->change, NULL));
}

static void a_history_in_slices_lets_writers_through_and_ends(void **state)
{
    struct world *w = world_of(state);
    uint64_t first = fill(w), last = world_revision(w);
    enum err e;
    struct writer x = {.world = w, .past = past_of(w, first)};

    x.past.on_slice = write_between;
    assert_ok(store_history_begin(w->store, &x.past.history));
    char *text = past_text(&x.past, &e);
    assert_ok(e);
    world_until(w, !x.flies);
    assert_true(x.past.slices > 0);
    assert_true(x.written > 0);
    assert_null(strstr(text, "between")); /* came after it had begun */
    char mark[32];
    snprintf(mark, sizeof mark, "@%llu\n", (unsigned long long)last);
    assert_non_null(strstr(text, mark));
    size_t told = 0;
    for (const char *p = text; (p = strchr(p, '@')); p++)
        told++;
    assert_int_equal(told, last - first + 1);
    free(text);
}

static void a_history_ends_where_it_is_told_to(void **state)
{
    struct world *w = world_of(state);
    uint64_t first = fill(w);
    struct past p = past_of(w, first + 3);
    char want[64];
    enum err e;

    p.history.last_revision = first + 4;
    assert_ok(store_history_begin(w->store, &p.history));
    char *text = past_text(&p, &e);
    assert_ok(e);
    snprintf(want, sizeof want, "@%llu\n", (unsigned long long)first + 3);
    assert_int_equal(strncmp(text, want, strlen(want)), 0);
    snprintf(want, sizeof want, "@%llu\n", (unsigned long long)first + 4);
    assert_non_null(strstr(text, want));
    snprintf(want, sizeof want, "@%llu\n", (unsigned long long)first + 5);
    assert_null(strstr(text, want));
    free(text);

    p = past_of(w, first);
    p.history.last_revision = world_revision(w) + 1000;
    assert_ok(store_history_begin(w->store, &p.history));
    free(past_text(&p, &e));
    assert_int_equal(e, ERR_NOT_FOUND);
}

static void what_has_not_come_yet_is_an_empty_history(void **state)
{
    struct world *w = world_of(state);
    enum err e;

    (void)world_put(w, "a", "1");
    world_until(w, w->revision > 0);
    uint64_t newest = world_barrier(w);
    char *text = world_history(w, newest + 1, &e);
    assert_ok(e);
    assert_string_equal(text, "");
    free(text);
    free(world_history(w, newest + 2, &e));
    assert_int_equal(e, ERR_NOT_FOUND);
}

static void who_gives_up_is_told_that_it_is_over(void **state)
{
    struct world *w = world_of(state);
    struct past p = past_of(w, fill(w));
    char key[32];
    enum err e;

    for (int i = 0; i < 300; i++) { /* more than etcd's first page */
        snprintf(key, sizeof key, "b/%d", i);
        (void)world_put(w, key, "x");
    }
    p.give_up_after = 1;
    assert_ok(store_history_begin(w->store, &p.history));
    free(past_text(&p, &e));
    assert_int_equal(e, ERR_CLOSED);
    assert_int_equal(p.slices, 1);

    do { /* behind faults a read may fail before its first slice */
        p = (struct past){
            .world = w, .read = {0, K(""), past_rows, {0}}, .give_up_after = 1};
        assert_ok(store_read_begin(w->store, &p.read));
        free(past_text(&p, &e));
    } while (e == ERR_UNAVAILABLE);
    assert_int_equal(e, ERR_CLOSED);
    assert_int_equal(p.slices, 1);
    (void)world_put(w, "after", "x");
}

/* --- A store that closes while nobody says whether to go on -------------- */

struct silent {
    struct store_history history;
    struct world *world;
    int calls;
    enum err e;
};

static void silent_batch(struct store_history *h, struct store_batch *take,
                         enum err e)
{
    struct silent *x = container_of(h, struct silent, history);

    store_batch_free(take);
    if (take)
        return;
    pthread_mutex_lock(&x->world->mutex);
    x->calls++;
    x->e = e;
    pthread_cond_broadcast(&x->world->changed);
    pthread_mutex_unlock(&x->world->mutex);
}

static void a_store_that_closes_ends_what_waits_for_its_asker(void **state)
{
    struct world *w = world_of(state);
    struct silent x = {.history = {fill(w), 0, silent_batch, {0}}, .world = w};

    assert_ok(store_history_begin(w->store, &x.history));
    world_until(w, x.calls > 0);
    assert_int_equal(x.e, ERR_AGAIN);
    world_close(w);
    assert_int_equal(x.calls, 2);
    assert_int_equal(x.e, ERR_CLOSED);
}

/* --- Compaction meanwhile ------------------------------------------------ */

static void compact_all(struct past *p)
{
    if (p->slices == 1)
        store_compact(p->world->store, world_revision(p->world));
}

/* The compaction is a command like ours, but goes in steps of its own: the
 * history must not end well with a hole, whichever is quicker. */
static void a_history_that_is_overtaken_by_compaction_says_so(void **state)
{
    struct world *w = world_of(state);
    struct past p = past_of(w, fill(w));
    enum err e;

    p.on_slice = compact_all;
    assert_ok(store_history_begin(w->store, &p.history));
    char *text = past_text(&p, &e);
    uint64_t expect = p.history.from_revision;
    for (const char *at = text; (at = strchr(at, '@')); at++)
        assert_int_equal(strtoull(at + 1, NULL, 10), expect++);
    if (e == ERR_OK)
        assert_int_equal(expect - 1, world_revision(w));
    else
        assert_int_equal(e, ERR_COMPACTED);
    free(text);
}

/* --- A read of what is overwritten while it is read ---------------------- */

static void bulk(struct world *w, int from, bool put, const char *value)
{
    static char keys[BULK_OPS][24];
    static struct store_op ops[BULK_OPS];
    struct waited x;

    waited_init(&x, w);
    for (int i = 0; i < BULK_OPS; i++) {
        snprintf(keys[i], sizeof keys[i], "b/%05d", from * BULK_OPS + i);
        ops[i] = (struct store_op){put ? OP_PUT : OP_DELETE, K(keys[i]),
                                   bytes_str(value)};
    }
    x.change.ops = ops;
    x.change.op_count = BULK_OPS;
    assert_int_equal(waited_commit(&x).verdict, STORE_COMMITTED);
}

static void count_lines(const char *text, size_t *ret_all, size_t *ret_old)
{
    *ret_all = *ret_old = 0;
    for (const char *p = text; *p; p++)
        *ret_all += *p == '\n';
    for (const char *p = text; (p = strstr(p, "=old ")); p++)
        *ret_old += 1;
}

static void a_read_shows_one_moment_whatever_is_written_meanwhile(void **state)
{
    struct world *w = world_of(state);
    size_t all, old;
    enum err e;

    for (int i = 0; i < BULK; i++)
        bulk(w, i, true, "old");
    uint64_t at = world_revision(w);
    struct past p = {.world = w, .read = {at, K("b/"), past_rows, {0}}};

    do {
        p = (struct past){.world = w, .read = {at, K("b/"), past_rows, {0}}};
        assert_ok(store_read_begin(w->store, &p.read));
        /* These go between the slices, or behind them. */
        for (int i = BULK - 1; i >= 0; i -= 2)
            bulk(w, i, false, NULL);
        for (int i = 0; i < BULK; i += 2)
            bulk(w, i, true, "new");
        for (int i = 1; i < BULK; i += 2)
            bulk(w, i, true, "again");
        char *text = past_text(&p, &e);
        count_lines(text, &all, &old);
        free(text);
    } while (e == ERR_UNAVAILABLE);
    assert_ok(e);
    assert_true(p.slices > 2);
    assert_int_equal(all, BULK * BULK_OPS);
    assert_int_equal(old, BULK * BULK_OPS);
}

/* --- Who ----------------------------------------------------------------- */

enum { CHANGES = 60 };

/* Values name who wrote them; what is deleted was written by itself, or is
 * under gone/, which "remover" took away. */
static void check_by(struct past *p, const struct store_batch *b)
{
    (void)p;
    for (size_t i = 0; i < b->count; i++) {
        const struct store_event *ev = &b->events[i];

        if (ev->is_delete)
            assert_bytes(ev->by, "remover \"of\" all");
        else if (!bytes_eq(ev->by, ev->value))
            fail_msg("\"%.*s\" was written by \"%.*s\", told \"%.*s\"",
                     BYTES_ARG(ev->key), BYTES_ARG(ev->value),
                     BYTES_ARG(ev->by));
        assert_true(b->wall_ms > 0);
    }
}

struct by_change {
    struct waited x;
    struct store_op ops[20];
    char key[20][24], who[24];
};

static void by_init(struct by_change *c, struct world *w, int number, int ops)
{
    waited_init(&c->x, w);
    snprintf(c->who, sizeof c->who, "who-%d", number);
    c->x.change.meta = K(c->who);
    c->x.change.ops = c->ops;
    c->x.change.op_count = (size_t)ops;
    for (int k = 0; k < ops; k++) {
        snprintf(c->key[k], sizeof c->key[k], "k/%d/%d", number, k);
        c->ops[k] = (struct store_op){OP_PUT, K(c->key[k]), K(c->who)};
    }
}

static void an_event_of_history_tells_who_wrote_it(void **state)
{
    static struct by_change c[CHANGES];
    struct world *w = world_of(state);
    struct by_change first = {0};
    enum err e;

    by_init(&first, w, 1000, 1);
    first.ops[0].key = K("gone/1");
    uint64_t from = waited_commit(&first.x).revision;
    /* Together: of one to three keys, one of twenty, some that conflict over
     * a key with one that does not, and one that removes by prefix. */
    for (int i = 0; i < CHANGES; i++) {
        by_init(&c[i], w, i, i == 30 ? 20 : 1 + i % 3);
        if (i % 10 == 9) {
            c[i].ops[0].key = K(c[i - 1].key[0]);
            waited_guard(&c[i].x, GUARD_ABSENT, c[i - 1].key[0], 0);
        }
        if (i == 20) {
            c[i].x.change.meta = K("remover \"of\" all");
            c[i].ops[0] =
                (struct store_op){OP_DELETE_PREFIX, K("gone/"), K("")};
            c[i].x.change.op_count = 1;
        }
        waited_submit(&c[i].x);
    }
    for (int i = 0; i < CHANGES; i++)
        (void)waited_wait(&c[i].x);
    struct past p = past_of(w, from);
    p.on_events = check_by;
    assert_ok(store_history_begin(w->store, &p.history));
    char *text = past_text(&p, &e);
    assert_ok(e);
    assert_non_null(strstr(text, "gone/1 gone"));
    assert_non_null(strstr(text, "k/30/19="));
    free(text);
}

/* --- When ---------------------------------------------------------------- */

struct asked_moment {
    struct store_moment m;
    struct world *world;
    enum err e;
    bool over;
};

static void moment_done(struct store_moment *m, enum err e)
{
    struct asked_moment *x = container_of(m, struct asked_moment, m);

    pthread_mutex_lock(&x->world->mutex);
    x->e = e;
    x->over = true;
    pthread_cond_broadcast(&x->world->changed);
    pthread_mutex_unlock(&x->world->mutex);
}

static struct asked_moment ask(struct world *w, uint64_t revision,
                               uint64_t wall_ms)
{
    struct asked_moment x = {
        .world = w,
        .m = {.revision = revision, .wall_ms = wall_ms, .done = moment_done},
    };

    assert_ok(store_moment_begin(w->store, &x.m));
    world_until(w, x.over);
    return x;
}

static void a_moment_is_found_by_revision_and_by_time(void **state)
{
    struct world *w = world_of(state);
    uint64_t r1 = world_put(w, "a", "1");
    uint64_t r2 = world_put(w, "a", "2");
    (void)world_put(w, "a", "3");
    struct asked_moment x = ask(w, r2, 0);

    assert_ok(x.e);
    assert_int_equal(x.m.revision, r2);
    uint64_t r2_ms = x.m.wall_ms;
    assert_true(r2_ms > 0);
    assert_true(x.m.oldest <= r1);
    assert_true(x.m.oldest_ms > 0 && x.m.oldest_ms <= r2_ms);

    x = ask(w, 0, UINT64_MAX);
    assert_ok(x.e);
    assert_int_equal(x.m.revision, world_revision(w));
    x = ask(w, 0, r2_ms);
    assert_ok(x.e);
    assert_true(x.m.revision >= r2 && x.m.wall_ms <= r2_ms);
    x = ask(w, 0, 1);
    assert_int_equal(x.e, ERR_COMPACTED);
    assert_true(x.m.oldest > 0 && x.m.oldest_ms > 0);
    x = ask(w, world_revision(w) + 1000, 0);
    assert_int_equal(x.e, ERR_NOT_FOUND);

    store_compact(w->store, r2);
    while (store_oldest(w->store) < r2)
        (void)world_barrier(w);
    x = ask(w, r1, 0);
    assert_int_equal(x.e, ERR_COMPACTED);
    assert_int_equal(x.m.oldest, r2);
    assert_int_equal(x.m.oldest_ms, r2_ms);
    x = ask(w, r2, 0);
    assert_ok(x.e);
    assert_int_equal(x.m.revision, r2);
}

static struct CMUnitTest tests[] = {
    OVER_ALL(a_history_in_slices_lets_writers_through_and_ends),
    OVER_ALL(a_history_ends_where_it_is_told_to),
    OVER_ALL(what_has_not_come_yet_is_an_empty_history),
    OVER_ALL(who_gives_up_is_told_that_it_is_over),
    OVER_ALL(a_store_that_closes_ends_what_waits_for_its_asker),
    OVER_ALL(a_history_that_is_overtaken_by_compaction_says_so),
    OVER_ALL(a_read_shows_one_moment_whatever_is_written_meanwhile),
    OVER_ALL(an_event_of_history_tells_who_wrote_it),
    OVER_ALL(a_moment_is_found_by_revision_and_by_time),
};

RUN_KINDS(tests)
