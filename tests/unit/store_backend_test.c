/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* The one-process backends alone, as engine.c stands on them: what the engine
 * never asks of them in one order or the other. */
#include "store/backend.h"

#include "unit/store_world.h"

struct told {
    uint64_t revision[16];
    size_t events[16];
    size_t n;
    int gaps;
    enum err e;
    uint64_t done_revision;
    size_t rows;
};

static void on_revision(void *ctx, uint64_t revision, uint64_t wall_ms,
                        const struct store_event *events, size_t count)
{
    struct told *t = ctx;

    (void)wall_ms;
    (void)events;
    assert_true(t->n < 16);
    t->revision[t->n] = revision;
    t->events[t->n++] = count;
}

static void on_gap(void *ctx)
{
    ((struct told *)ctx)->gaps++;
}

static void on_done(void *ctx, enum err e, uint64_t revision)
{
    struct told *t = ctx;

    t->e = e;
    t->done_revision = revision;
}

static void on_row(void *ctx, const struct backend_row *row)
{
    (void)row;
    ((struct told *)ctx)->rows++;
}

static void on_group(struct backend_group *g)
{
    *(int *)g->ctx += 1;
}

static struct backend_group commit(struct backend *b, struct store_guard *own,
                                   struct store_op *ops, size_t op_count)
{
    int done = 0;
    struct backend_group g = {
        .own_guards = own,
        .own_guard_count = own ? 1 : 0,
        .own_ops = ops,
        .own_op_count = op_count,
        .wall_ms = 12345,
        .done = on_group,
        .ctx = &done,
    };

    b->ops->txn(b, &g);
    assert_int_equal(done, 1);
    g.ctx = NULL;
    return g;
}

static uint64_t put(struct backend *b, const char *key, const char *value)
{
    struct store_op op = {value ? OP_PUT : OP_DELETE, bytes_str(key),
                          bytes_str(value)};
    struct backend_group g = commit(b, NULL, &op, 1);

    assert_int_equal(g.verdict, BACKEND_COMMITTED);
    return g.revision;
}

struct place {
    struct backend *b;
    char dir[128], path[160];
};

static int set_up(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    bool memory = *state != NULL;
    struct errtext t = {{0}};
    enum err e;

    if (memory) {
        e = backend_memory_open(&p->b, &t);
    } else {
        world_tmpdir(p->dir, sizeof p->dir);
        snprintf(p->path, sizeof p->path, "%s/b.db", p->dir);
        e = backend_sqlite_open(p->path, &p->b, &t);
    }
    assert_ok(e);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct place *p = *state;

    p->b->ops->close(p->b);
    if (p->dir[0])
        world_rmdir(p->dir);
    free(p);
    return 0;
}

static void a_feed_that_starts_late_is_told_what_it_missed(void **state)
{
    struct backend *b = ((struct place *)*state)->b;
    struct told t = {0};
    struct backend_sink sink = {on_revision, on_gap, NULL, &t};

    assert_int_equal(put(b, "a", "1"), 1);
    assert_int_equal(put(b, "b", "1"), 2);
    assert_int_equal(put(b, "a", NULL), 3);
    b->ops->start(b, &sink, 1);
    assert_int_equal(t.n, 2);
    assert_int_equal(t.revision[0], 2);
    assert_int_equal(t.revision[1], 3);
    assert_int_equal(put(b, "c", "1"), 4);
    assert_int_equal(t.n, 3);
    assert_int_equal(t.gaps, 0);
}

static void a_feed_from_what_is_compacted_is_a_gap(void **state)
{
    struct backend *b = ((struct place *)*state)->b;
    struct told t = {0};
    struct backend_sink sink = {on_revision, on_gap, NULL, &t};

    for (int i = 0; i < 5; i++)
        (void)put(b, "a", "x");
    b->ops->compact(b, 4, on_done, &t);
    assert_ok(t.e);
    assert_int_equal(b->ops->oldest(b), 4);
    b->ops->start(b, &sink, 2);
    assert_int_equal(t.gaps, 1);
    assert_int_equal(t.n, 0);
    b->ops->start(b, &sink, 3); /* revision 4 itself is still told */
    assert_int_equal(t.gaps, 1);
    assert_int_equal(t.n, 2);
}

static void a_group_whose_own_guard_fails_leaves_nothing(void **state)
{
    struct backend *b = ((struct place *)*state)->b;
    struct store_guard own = {GUARD_MOD, bytes_str("marker"), 7};
    struct store_op op = {OP_PUT, bytes_str("marker"), bytes_str("x")};
    struct told t = {0};

    (void)put(b, "a", "1");
    struct backend_group g = commit(b, &own, &op, 1);
    assert_int_equal(g.verdict, BACKEND_BARRED);
    assert_int_equal(g.revision, 1);
    b->ops->range(b, bytes_str(""), 0, on_row, on_done, &t);
    assert_int_equal(t.rows, 1);
    assert_int_equal(t.done_revision, 1);
}

static void a_group_that_writes_nothing_makes_no_revision(void **state)
{
    struct backend *b = ((struct place *)*state)->b;
    struct store_op op = {OP_DELETE, bytes_str("never"), {0}};

    (void)put(b, "a", "1");
    struct backend_group g = commit(b, NULL, &op, 1);
    assert_int_equal(g.verdict, BACKEND_COMMITTED);
    assert_int_equal(g.revision, 1);
    assert_int_equal(put(b, "b", "1"), 2);
}

static void leases_hold_and_let_go(void **state)
{
    struct backend *b = ((struct place *)*state)->b;
    struct told t = {0};
    struct backend_sink sink = {on_revision, on_gap, NULL, &t};

    b->ops->start(b, &sink, 0);
    b->ops->lease_grant(b, 1000, on_done, &t);
    uint64_t lease = t.done_revision;
    b->ops->lease_put(b, lease, bytes_str("d/x"), bytes_str("me"), on_done, &t);
    assert_ok(t.e);
    assert_int_equal(t.done_revision, 1); /* the put's */
    b->ops->lease_put(b, lease, bytes_str("d/x"), bytes_str("me"), on_done, &t);
    assert_int_equal(t.e, ERR_EXISTS);
    b->ops->lease_put(b, 99, bytes_str("d/y"), bytes_str("me"), on_done, &t);
    assert_int_equal(t.e, ERR_NOT_FOUND);
    b->ops->lease_keep(b, lease, on_done, &t);
    assert_ok(t.e);
    b->ops->lease_revoke(b, lease);
    assert_int_equal(t.n, 2); /* the put, the delete */
    b->ops->lease_keep(b, lease, on_done, &t);
    assert_int_equal(t.e, ERR_NOT_FOUND);
    b->ops->range(b, bytes_str(""), 0, on_row, on_done, &t);
    assert_int_equal(t.rows, 0);
}

/* Steps are bounded; reading in between is exact. */
static void compaction_in_steps_never_shows_half_of_it(void **state)
{
    struct backend *b = ((struct place *)*state)->b;
    enum { KEYS = 50, ROUNDS = 700 };
    char key[16];
    int steps = 0;
    uint64_t last = 0;

    for (int i = 0; i < KEYS * ROUNDS; i += KEYS) {
        struct store_op ops[KEYS];
        char keys[KEYS][16];

        for (int k = 0; k < KEYS; k++) {
            snprintf(keys[k], sizeof keys[k], "k/%d", k);
            ops[k] = (struct store_op){OP_PUT, bytes_str(keys[k]),
                                       bytes_str("value")};
        }
        last = commit(b, NULL, ops, KEYS).revision;
    }
    struct told t = {.e = ERR_AGAIN};

    for (; t.e == ERR_AGAIN; steps++) {
        b->ops->compact(b, last, on_done, &t);
        struct told r = {0};
        b->ops->range(b, bytes_str("k/"), 0, on_row, on_done, &r);
        assert_ok(r.e);
        assert_int_equal(r.rows, KEYS);
        b->ops->range(b, bytes_str("k/"), last - 1, on_row, on_done, &r);
        assert_int_equal(r.e, ERR_COMPACTED);
        (void)put(b, "other", "x");
    }
    assert_ok(t.e);
    assert_true(steps > 1);
    snprintf(key, sizeof key, "k/%d", KEYS - 1);
    (void)put(b, key, NULL);
    struct told r = {0};
    b->ops->range(b, bytes_str("k/"), 0, on_row, on_done, &r);
    assert_int_equal(r.rows, KEYS - 1);
    b->ops->range(b, bytes_str("k/"), last, on_row, on_done, &r);
    assert_int_equal(r.rows, KEYS - 1 + KEYS);
}

/* --- When ---------------------------------------------------------------- */

struct moment {
    enum err e;
    uint64_t revision, wall_ms;
};

static void on_moment(void *ctx, enum err e, uint64_t revision,
                      uint64_t wall_ms)
{
    *(struct moment *)ctx = (struct moment){e, revision, wall_ms};
}

static struct moment moment_of(struct backend *b, uint64_t revision,
                               uint64_t wall_ms)
{
    struct moment m = {.e = ERR_UNKNOWN};

    b->ops->moment(b, revision, wall_ms, on_moment, &m);
    return m;
}

static void put_when(struct backend *b, const char *key, uint64_t wall_ms)
{
    struct store_op op = {OP_PUT, bytes_str(key), bytes_str("x")};
    int done = 0;
    struct backend_group g = {.own_ops = &op,
                              .own_op_count = 1,
                              .wall_ms = wall_ms,
                              .done = on_group,
                              .ctx = &done};

    b->ops->txn(b, &g);
    assert_int_equal(g.verdict, BACKEND_COMMITTED);
}

static void a_time_finds_the_newest_revision_of_before(void **state)
{
    struct backend *b = ((struct place *)*state)->b;
    static const uint64_t when[] = {100, 200, 200, 300, 500};
    static const uint64_t newest[] = {1, 3, 3, 4, 5};
    struct told t = {0};

    assert_int_equal(moment_of(b, 9, UINT64_MAX).e, ERR_COMPACTED);
    for (size_t i = 0; i < 5; i++)
        put_when(b, i % 2 ? "a" : "b", when[i]);
    assert_int_equal(moment_of(b, 9, 99).e, ERR_COMPACTED);
    for (size_t i = 0; i < 5; i++) {
        struct moment m = moment_of(b, UINT64_MAX, when[i]);
        assert_ok(m.e);
        assert_int_equal(m.revision, newest[i]);
        assert_int_equal(m.wall_ms, when[i]);
        m = moment_of(b, i + 1, UINT64_MAX);
        assert_int_equal(m.revision, i + 1);
        assert_int_equal(m.wall_ms, when[i]);
    }
    assert_int_equal(moment_of(b, 9, 499).revision, 4);
    b->ops->compact(b, 4, on_done, &t);
    assert_int_equal(moment_of(b, 9, 299).e, ERR_COMPACTED);
    assert_int_equal(moment_of(b, 3, UINT64_MAX).e, ERR_COMPACTED);
    assert_int_equal(moment_of(b, 9, 300).revision, 4);
}

/* Whatever is found was the newest at a moment when the clock showed that. */
static void a_clock_that_was_set_back_finds_one_of_the_moments(void **state)
{
    struct backend *b = ((struct place *)*state)->b;
    static const uint64_t when[] = {100, 500, 200, 250, 600};

    for (size_t i = 0; i < 5; i++)
        put_when(b, "a", when[i]);
    for (uint64_t ms = 100; ms < 700; ms += 10) {
        struct moment m = moment_of(b, 9, ms);
        assert_ok(m.e);
        assert_true(when[m.revision - 1] <= ms);
        assert_true(m.revision == 5 || when[m.revision] > ms);
    }
}

#define BOTH(f)                                                                \
    {#f " in memory", f, set_up, tear_down, (void *)1},                        \
    {                                                                          \
#f " in a file", f, set_up, tear_down, NULL                            \
    }

static const struct CMUnitTest tests[] = {
    BOTH(a_feed_that_starts_late_is_told_what_it_missed),
    BOTH(a_feed_from_what_is_compacted_is_a_gap),
    BOTH(a_group_whose_own_guard_fails_leaves_nothing),
    BOTH(a_group_that_writes_nothing_makes_no_revision),
    BOTH(leases_hold_and_let_go),
    BOTH(compaction_in_steps_never_shows_half_of_it),
    BOTH(a_time_finds_the_newest_revision_of_before),
    BOTH(a_clock_that_was_set_back_finds_one_of_the_moments),
};

RUN_TESTS(tests)
