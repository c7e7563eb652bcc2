/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Duties, new epochs and compaction by itself, over every kind of store. */
#include "store/store.h"

#include "unit/store_kinds.h"

static struct world *world_of(void **state)
{
    return &((struct stage_set *)*state)->w;
}

/* --- Duties -------------------------------------------------------------- */

struct office {
    struct store_duty duty;
    struct world *w;
    struct store_guard fence;
    char fence_key[32];
    int gained, lost;
};

static void on_gained(struct store_duty *d, const struct store_guard *fence)
{
    struct office *o = container_of(d, struct office, duty);

    pthread_mutex_lock(&o->w->mutex);
    o->gained++;
    o->fence = *fence;
    memcpy(o->fence_key, fence->key.p, fence->key.n);
    o->fence.key.p = o->fence_key;
    pthread_cond_broadcast(&o->w->changed);
    pthread_mutex_unlock(&o->w->mutex);
}

static void on_lost(struct store_duty *d)
{
    struct office *o = container_of(d, struct office, duty);

    pthread_mutex_lock(&o->w->mutex);
    o->lost++;
    pthread_cond_broadcast(&o->w->changed);
    pthread_mutex_unlock(&o->w->mutex);
}

static void office_init(struct office *o, struct world *w, const char *name,
                        uint32_t ttl_ms)
{
    *o = (struct office){
        .w = w,
        .duty = {name, ttl_ms, on_gained, on_lost, {0}},
    };
}

static struct store_outcome fenced_put(struct office *o, const char *key,
                                       const char *value)
{
    struct waited x;

    waited_init(&x, o->w);
    x.guards[0] = o->fence;
    x.change.guard_count = 1;
    waited_op(&x, OP_PUT, key, value);
    return waited_commit(&x);
}

static void
a_duty_is_gained_and_its_fence_holds_until_it_is_resigned(void **state)
{
    struct world *w = world_of(state);
    struct office o;

    office_init(&o, w, "reaper", 60000);
    assert_ok(store_campaign(w->store, &o.duty));
    world_until(w, o.gained == 1);
    assert_int_equal(fenced_put(&o, "k", "1").verdict, STORE_COMMITTED);
    store_resign(w->store, &o.duty);
    world_until(w, o.lost == 1);
    /* An etcd hears of it a moment later; until then nobody else holds it. */
    while (fenced_put(&o, "late", "2").verdict == STORE_COMMITTED)
        assert_int_equal(((struct stage_set *)*state)->kind->kind, STORE_ETCD);
    assert_int_equal(fenced_put(&o, "k", "2").verdict, STORE_CONFLICT);
    world_expect(w, "k", "1");
    world_close(w); /* before o goes */
}

static void a_duty_has_one_holder(void **state)
{
    struct world *w = world_of(state);
    struct office first, second;

    office_init(&first, w, "reaper", 60000);
    office_init(&second, w, "reaper", 60000);
    assert_ok(store_campaign(w->store, &first.duty));
    world_until(w, first.gained == 1);
    assert_ok(store_campaign(w->store, &second.duty));
    for (int i = 0; i < 20; i++) /* it has had its chance */
        (void)world_put(w, "k", i % 2 ? "a" : "b");
    (void)world_barrier(w);
    pthread_mutex_lock(&w->mutex);
    int gained = second.gained;
    pthread_mutex_unlock(&w->mutex);
    assert_int_equal(gained, 0);

    store_resign(w->store, &first.duty);
    world_until(w, second.gained == 1);
    assert_int_equal(fenced_put(&first, "k", "old").verdict, STORE_CONFLICT);
    assert_int_equal(fenced_put(&second, "k", "new").verdict, STORE_COMMITTED);
    world_close(w);
}

static void two_duties_do_not_meet(void **state)
{
    struct world *w = world_of(state);
    struct office a, b;

    office_init(&a, w, "guard", 60000);
    office_init(&b, w, "guard/2", 60000);
    assert_ok(store_campaign(w->store, &a.duty));
    assert_ok(store_campaign(w->store, &b.duty));
    world_until(w, a.gained == 1 && b.gained == 1);
    assert_int_equal(fenced_put(&a, "k", "1").verdict, STORE_COMMITTED);
    assert_int_equal(fenced_put(&b, "k", "2").verdict, STORE_COMMITTED);
    world_close(w);
    assert_int_equal(a.lost, 1);
    assert_int_equal(b.lost, 1);
}

/* A renewal that finds the lease gone: lost, and gained anew under a new fence.
 */
static void a_lease_that_ran_out_fences_its_holder(void **state)
{
    struct stage_set *x = *state;
    struct world *w = &x->w;
    struct office o;

    office_init(&o, w, "reaper", 30);
    assert_ok(store_campaign(w->store, &o.duty));
    world_until(w, o.gained == 1);
    struct office old = o;

    atomic_store(&x->plan.leases_die, true);
    world_until(w, o.lost >= 1); /* as often as it gets it meanwhile */
    atomic_store(&x->plan.leases_die, false);
    world_until(w, o.gained >= 2);
    assert_int_equal(fenced_put(&old, "k", "old").verdict, STORE_CONFLICT);
    world_expect(w, "k", NULL);
    world_close(w);
}

static void ignore(void *ctx, enum err e, uint64_t revision)
{
    *(enum err *)ctx = e;
    (void)revision;
}

static void a_killed_holder_does_not_hold_for_ever(void **state)
{
    struct stage_set *x = *state;
    struct world *w = &x->w;
    struct office o;

    /* A holder in another life, seen from the backend. */
    world_close(w);
    struct backend *b;
    struct errtext t = {{0}};
    assert_ok(backend_sqlite_open(x->path, &b, &t));
    enum err e = ERR_IO;
    b->ops->lease_grant(b, 1000, ignore, &e);
    assert_ok(e);
    b->ops->lease_put(b, 1, bytes_str("d/reaper"), bytes_str("x"), ignore, &e);
    assert_ok(e);
    b->ops->lease_put(b, 1, bytes_str("d/reaper"), bytes_str("x"), ignore, &e);
    assert_int_equal(e, ERR_EXISTS);
    b->ops->close(b); /* without a word, as kill -9 */

    set_open(x);
    office_init(&o, w, "reaper", 60000);
    assert_ok(store_campaign(w->store, &o.duty));
    world_until(w, o.gained == 1);
    world_close(w);
}

/* --- Epochs -------------------------------------------------------------- */

struct arrival {
    struct store_import import;
    struct world *w;
    int batches, at;
    int rows; /* per batch */
    enum err e;
    uint32_t epoch;
    bool over;
};

static struct store_batch *arrival_next(struct store_import *i)
{
    struct arrival *a = container_of(i, struct arrival, import);

    if (a->at == a->batches)
        return NULL;
    size_t rows = (size_t)a->rows;
    struct store_batch *b = malloc(sizeof *b + rows * (sizeof *b->events + 32));

    *b = (struct store_batch){.kind = BATCH_LOAD_ROWS, .count = rows};
    b->events = (struct store_event *)(b + 1);
    char *p = (char *)(b->events + rows);
    for (int r = 0; r < a->rows; r++, p += 32) {
        int n = snprintf(p, 32, "new/%d/%d", a->at, r);
        b->events[r] = (struct store_event){
            .key = bytes_of(p, (size_t)n),
            .value = bytes_str("imported"),
            .create_rev = 1, /* of another life */
            .mod_rev = 99999999,
        };
    }
    a->at++;
    return b;
}

static void arrival_done(struct store_import *i, enum err e, uint32_t epoch)
{
    struct arrival *a = container_of(i, struct arrival, import);

    pthread_mutex_lock(&a->w->mutex);
    a->e = e;
    a->epoch = epoch;
    a->over = true;
    pthread_cond_broadcast(&a->w->changed);
    pthread_mutex_unlock(&a->w->mutex);
}

static struct arrival import_rows(struct world *w, uint32_t epoch, int batches,
                                  int rows)
{
    struct arrival a = {
        .import = {epoch, arrival_next, arrival_done, {0}},
        .w = w,
        .batches = batches,
        .rows = rows,
    };

    assert_ok(store_import_begin(w->store, &a.import));
    world_until(w, a.over);
    return a;
}

static void a_new_epoch_replaces_everything_at_once(void **state)
{
    struct stage_set *x = *state;
    struct world *w = &x->w;
    uint64_t old = world_put(w, "old/1", "x");
    int loads = w->loads;
    struct arrival a = import_rows(w, 0, 5, 700);
    enum err e;

    assert_ok(a.e);
    assert_int_equal(a.epoch, 1);
    world_until(w, w->loads > loads);
    world_expect(w, "old/1", NULL);
    world_expect(w, "new/0/0", "imported");
    world_expect(w, "new/4/699", "imported");
    assert_int_equal(w->row_count, 3500);
    assert_int_equal(w->load_revision >> STORE_EPOCH_SHIFT, 1);
    assert_true(world_row(w, "new/0/0").create_rev > old);
    assert_true(w->load_revision > old);

    /* Guards and the past of the other epoch mean nothing any more. */
    assert_int_equal(world_put(w, "n", "1") >> STORE_EPOCH_SHIFT, 1);
    free(world_read_at(w, old, "", &e));
    assert_int_equal(e, ERR_COMPACTED);
    free(world_history(w, old, &e));
    assert_int_equal(e, ERR_COMPACTED);
    assert_true(store_oldest(w->store) >> STORE_EPOCH_SHIFT == 1);
    free(world_read_at(w, store_oldest(w->store) - 1, "", &e));
    assert_int_equal(e, ERR_COMPACTED); /* the other epoch was current then */
    free(world_history(w, store_oldest(w->store) - 1, &e));
    assert_int_equal(e, ERR_COMPACTED);
    char *text = world_history(w, store_oldest(w->store), &e);
    assert_ok(e);
    assert_null(strstr(text, "old/1"));
    free(text);

    if (x->kind->kind != STORE_MEMORY) {
        world_close(w);
        set_open(x);
        world_expect(w, "old/1", NULL);
        assert_int_equal(w->row_count, 3501);
        assert_int_equal(w->load_revision >> STORE_EPOCH_SHIFT, 1);
    }
}

static void a_guard_of_an_earlier_epoch_never_holds(void **state)
{
    struct world *w = world_of(state);
    uint64_t old = world_put(w, "new/0/0", "x");
    struct waited x;

    assert_ok(import_rows(w, 7, 1, 3).e);
    const enum store_guard_kind kind[] = {GUARD_MOD, GUARD_CREATE, GUARD_QUIET};

    for (size_t i = 0; i < 3; i++) {
        waited_init(&x, w);
        waited_guard(&x, kind[i], "new/0/0", old);
        waited_op(&x, OP_PUT, "k", "x");
        assert_int_equal(waited_commit(&x).verdict, STORE_CONFLICT);
    }
    /* Numbers of another life of the store may meet ours by chance. */
    const uint64_t mask = ((uint64_t)1 << STORE_EPOCH_SHIFT) - 1;
    const uint64_t chance[] = {world_row(w, "new/0/0").mod_rev & mask,
                               world_row(w, "new/0/0").create_rev & mask, mask};

    for (size_t i = 0; i < 3; i++) {
        waited_init(&x, w);
        waited_guard(&x, kind[i], "new/0/0", chance[i]);
        waited_op(&x, OP_PUT, "k", "x");
        assert_int_equal(waited_commit(&x).verdict, STORE_CONFLICT);
    }
    waited_init(&x, w);
    waited_guard(&x, GUARD_QUIET, "new/", world_revision(w));
    waited_guard(&x, GUARD_MOD, "new/0/1", world_row(w, "new/0/1").mod_rev);
    waited_op(&x, OP_PUT, "k", "y");
    assert_int_equal(waited_commit(&x).verdict, STORE_COMMITTED);
}

static void an_epoch_goes_up_or_is_refused(void **state)
{
    struct world *w = world_of(state);

    assert_ok(import_rows(w, 5, 0, 0).e); /* empty, too */
    assert_int_equal(w->row_count, 0);
    assert_int_equal(import_rows(w, 5, 1, 1).e, ERR_BAD);
    assert_int_equal(import_rows(w, 3, 1, 1).e, ERR_BAD);
    assert_int_equal(import_rows(w, 8192, 1, 1).e, ERR_LIMIT);
    struct arrival a = import_rows(w, 8191, 1, 1);
    assert_ok(a.e);
    assert_true(world_revision(w) < (uint64_t)1 << 53); /* for JavaScript */
    assert_int_equal(import_rows(w, 0, 1, 1).e, ERR_LIMIT);
}

static void changes_go_on_while_an_epoch_is_imported(void **state)
{
    struct world *w = world_of(state);
    struct arrival a = {
        .import = {0, arrival_next, arrival_done, {0}},
        .w = w,
        .batches = 20,
        .rows = 100,
    };
    struct waited *x = calloc(300, sizeof *x);
    char key[300][16];

    assert_ok(store_import_begin(w->store, &a.import));
    for (int i = 0; i < 300; i++) {
        snprintf(key[i], sizeof key[i], "k/%d", i);
        waited_init(&x[i], w);
        waited_op(&x[i], OP_PUT, key[i], "x");
        waited_submit(&x[i]);
    }
    world_until(w, a.over);
    assert_ok(a.e);
    for (int i = 0; i < 300; i++)
        assert_int_equal(waited_wait(&x[i]).verdict, STORE_COMMITTED);
    (void)world_put(w, "last", "x");
    /* Each change is of one epoch: before the flip (gone) or after it. */
    for (int i = 0; i < 300; i++) {
        bool after = world_row(w, key[i]).mod_rev != 0;
        if (after)
            assert_int_equal(x[i].outcome.revision >> STORE_EPOCH_SHIFT, 1);
    }
    world_expect(w, "new/19/99", "imported");
    free(x);
}

static void flip_in_between(struct stage_set *x, int group)
{
    world_close(&x->w);
    x->plan.flip_at = group;
    set_open(x);
}

/* Another server begins an epoch while changes of ours are under way: none of
 * them may go into the epoch that is over. */
static void a_flip_by_another_server_bars_what_flies(void **state)
{
    struct stage_set *x = *state;
    struct world *w = &x->w;

    for (int group = 1; group <= 12; group++) {
        struct waited *c = calloc(40, sizeof *c);
        char key[40][16];

        flip_in_between(x, group);
        for (int i = 0; i < 40; i++) {
            snprintf(key[i], sizeof key[i], "%d/%d", group, i);
            waited_init(&c[i], w);
            waited_guard(&c[i], GUARD_ABSENT, key[i], 0);
            waited_op(&c[i], OP_PUT, key[i], "x");
            waited_op(&c[i], OP_PUT, i % 2 ? "odd" : "even", key[i]);
            waited_submit(&c[i]);
        }
        for (int i = 0; i < 40; i++)
            assert_int_equal(waited_wait(&c[i]).verdict, STORE_COMMITTED);
        while (world_row(w, "foreign").mod_rev == 0)
            (void)world_put(w, "more", "x"); /* there were few groups */
        world_until(w, !w->in_load);
        for (int i = 0; i < 40; i++) {
            bool there = world_row(w, key[i]).mod_rev != 0;

            /* Or it was in before, and went with its epoch. */
            if (c[i].outcome.revision > w->load_revision)
                assert_true(there);
        }
        world_expect(w, "foreign", "row");
        free(c);
        if (x->kind->kind != STORE_MEMORY)
            return; /* what is stored is in epoch 1 now */
    }
}

static void an_import_that_another_one_overtook_fails(void **state)
{
    struct stage_set *x = *state;
    struct world *w = &x->w;

    flip_in_between(x, 3);
    struct arrival a = import_rows(w, 0, 10, 300);
    assert_int_equal(a.e, ERR_CONFLICT);
    /* The other one's epoch is loaded meanwhile. */
    world_until(w, w->revision >> STORE_EPOCH_SHIFT == 1);
    world_expect(w, "foreign", "row");
    world_expect(w, "new/0/0", NULL);
    assert_ok(import_rows(w, 0, 1, 1).e);
    world_expect(w, "new/0/0", "imported");
    world_expect(w, "foreign", NULL);
}

/* --- A flip whose outcome is lost ----------------------------------------- */

static const struct backend_ops *real;
static void (*flip_done)(struct backend_group *g);
static bool flip_lost;

static void lose_flip(struct backend_group *g)
{
    flip_lost = true;
    g->verdict = BACKEND_UNKNOWN;
    g->why = ERR_TIMEOUT;
    flip_done(g);
}

static void losing_txn(struct backend *b, struct backend_group *g)
{
    if (g->change_count && g->changes[0].op_count &&
        bytes_is(g->changes[0].ops[0].key, "E")) {
        flip_done = g->done;
        g->done = lose_flip;
    }
    real->txn(b, g);
}

/* And history is gone before it is found out. */
static void losing_range(struct backend *b, struct bytes prefix, uint64_t at,
                         backend_row_fn row, backend_done_fn done, void *ctx)
{
    if (flip_lost && bytes_starts(prefix, bytes_str("m/")))
        done(ctx, ERR_COMPACTED, 0);
    else
        real->range(b, prefix, at, row, done, ctx);
}

static void an_import_whose_end_nobody_knows_loses_no_row(void **state)
{
    struct backend_ops losing;
    struct backend *b = NULL;
    struct errtext t = {{0}};
    struct world w;

    (void)state;
    world_init(&w);
    flip_lost = false;
    assert_ok(backend_memory_open(&b, &t));
    real = b->ops;
    losing = *real;
    losing.txn = losing_txn;
    losing.range = losing_range;
    b->ops = &losing;
    struct store_options o = world_options(&w, STORE_MEMORY, NULL);
    assert_ok(store_open_backend(&o, b, &w.store, &t));
    world_until(&w, w.ups > 0);
    (void)world_put(&w, "old", "x");
    int loads = w.loads;
    struct arrival a = import_rows(&w, 0, 1, 3);

    assert_int_equal(a.e, ERR_UNKNOWN);
    world_until(&w, w.loads > loads);
    flip_lost = false;
    (void)world_put(&w, "new", "x"); /* behind whatever is cleaned up */
    (void)world_put(&w, "newer", "x");
    world_expect(&w, "new/0/0", "imported");
    world_expect(&w, "new/0/2", "imported");
    world_close(&w);
    world_fini(&w);
}

/* --- Compaction by itself ------------------------------------------------ */

static void reopen_with(struct stage_set *x, uint64_t age_ms, uint64_t bytes)
{
    world_close(&x->w);
    x->options.compact_age_ms = age_ms;
    x->options.compact_bytes = bytes;
    set_open(x);
}

static void history_goes_by_bytes(void **state)
{
    struct stage_set *x = *state;
    struct world *w = &x->w;
    char value[2048];

    reopen_with(x, 0, 64 * 1024);
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    uint64_t first = world_put(w, "k", value), last = first;

    while (store_oldest(w->store) <= first) {
        last = world_put(w, "k", value);
        assert_true(last < first + 5000);
    }
    /* Not before it must, and some is kept. */
    assert_true(last >= first + 64 * 1024 / 4096);
    assert_true(store_oldest(w->store) < last);
    world_expect(w, "k", value);
}

static void history_goes_by_age(void **state)
{
    struct stage_set *x = *state;
    struct world *w = &x->w;

    reopen_with(x, 20, 0);
    uint64_t first = world_put(w, "k", "0");

    /* Until a tick of the clock finds it too old. */
    while (store_oldest(w->store) <= first)
        (void)world_put(w, "k", "1");
    world_expect(w, "k", "1");
}

static struct CMUnitTest tests[] = {
    cmocka_unit_test(an_import_whose_end_nobody_knows_loses_no_row),
    OVER_ALL(a_duty_is_gained_and_its_fence_holds_until_it_is_resigned),
    OVER_ALL(a_duty_has_one_holder),
    OVER_ALL(two_duties_do_not_meet),
    OVER(a_lease_that_ran_out_fences_its_holder, 2),
    OVER(a_lease_that_ran_out_fences_its_holder, 3),
    OVER(a_lease_that_ran_out_fences_its_holder, 5),
    OVER(a_killed_holder_does_not_hold_for_ever, 1),
    OVER(a_killed_holder_does_not_hold_for_ever, 3),
    OVER_ALL(a_new_epoch_replaces_everything_at_once),
    OVER_ALL(a_guard_of_an_earlier_epoch_never_holds),
    OVER_ALL(an_epoch_goes_up_or_is_refused),
    OVER_ALL(changes_go_on_while_an_epoch_is_imported),
    OVER(a_flip_by_another_server_bars_what_flies, 2),
    OVER(a_flip_by_another_server_bars_what_flies, 3),
    OVER(a_flip_by_another_server_bars_what_flies, 5),
    OVER(an_import_that_another_one_overtook_fails, 2),
    OVER(an_import_that_another_one_overtook_fails, 3),
    OVER(an_import_that_another_one_overtook_fails, 5),
    OVER_ALL(history_goes_by_bytes),
    OVER_ALL(history_goes_by_age),
};

RUN_KINDS(tests)
