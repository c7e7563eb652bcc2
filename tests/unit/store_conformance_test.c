/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* The store's contract, sentence by sentence, over every kind of store. What is
 * random about it is in store_model_test.c. */
#include "store/store.h"

#include "unit/store_kinds.h"

static struct world *world_of(void **state)
{
    return &((struct stage_set *)*state)->w;
}

static struct store_outcome guarded_put(struct world *w,
                                        enum store_guard_kind kind,
                                        const char *guarded, uint64_t rev,
                                        const char *key, const char *value)
{
    struct waited x;

    waited_init(&x, w);
    waited_guard(&x, kind, guarded, rev);
    waited_op(&x, OP_PUT, key, value);
    return waited_commit(&x);
}

static void expect_verdict(struct store_outcome o, enum store_verdict want)
{
    if (o.verdict != want)
        fail_msg("verdict %d (%s), want %d", o.verdict, o.text.s, want);
}

/* --- Guards -------------------------------------------------------------- */

static void a_guard_on_the_mod_revision_holds_until_the_next_put(void **state)
{
    struct world *w = world_of(state);
    uint64_t r1 = world_put(w, "k", "1");

    expect_verdict(guarded_put(w, GUARD_MOD, "k", r1, "k", "2"),
                   STORE_COMMITTED);
    expect_verdict(guarded_put(w, GUARD_MOD, "k", r1, "k", "3"),
                   STORE_CONFLICT);
    world_expect(w, "k", "2");
    expect_verdict(guarded_put(w, GUARD_MOD, "new", 0, "new", "x"),
                   STORE_COMMITTED);
    expect_verdict(guarded_put(w, GUARD_MOD, "new", 0, "new", "y"),
                   STORE_CONFLICT);
}

static void a_guard_on_the_create_revision_survives_puts(void **state)
{
    struct world *w = world_of(state);
    uint64_t r1 = world_put(w, "k", "1");

    (void)world_put(w, "k", "2");
    assert_int_equal(world_row(w, "k").create_rev, r1);
    expect_verdict(guarded_put(w, GUARD_CREATE, "k", r1, "a", "1"),
                   STORE_COMMITTED);
    (void)world_put(w, "k", NULL);
    expect_verdict(guarded_put(w, GUARD_CREATE, "k", r1, "a", "2"),
                   STORE_CONFLICT);
    expect_verdict(guarded_put(w, GUARD_CREATE, "k", 0, "a", "3"),
                   STORE_COMMITTED);
    uint64_t r2 = world_put(w, "k", "again");
    assert_true(r2 > r1);
    expect_verdict(guarded_put(w, GUARD_CREATE, "k", r1, "a", "4"),
                   STORE_CONFLICT);
    expect_verdict(guarded_put(w, GUARD_CREATE, "k", r2, "a", "5"),
                   STORE_COMMITTED);
    world_expect(w, "a", "5");
}

static void presence_and_absence_are_guards(void **state)
{
    struct world *w = world_of(state);

    expect_verdict(guarded_put(w, GUARD_PRESENT, "k", 0, "k", "1"),
                   STORE_CONFLICT);
    expect_verdict(guarded_put(w, GUARD_ABSENT, "k", 0, "k", "1"),
                   STORE_COMMITTED);
    expect_verdict(guarded_put(w, GUARD_ABSENT, "k", 0, "k", "2"),
                   STORE_CONFLICT);
    expect_verdict(guarded_put(w, GUARD_PRESENT, "k", 0, "k", "2"),
                   STORE_COMMITTED);
    world_expect(w, "k", "2");
}

/* A set is read, acted on, and grows meanwhile: the phantom. */
static void a_quiet_guard_sees_what_was_added_to_a_set(void **state)
{
    struct world *w = world_of(state);

    (void)world_put(w, "s/1", "x");
    uint64_t seen = world_put(w, "s/2", "x");

    (void)world_put(w, "s/1", "changed"); /* created before */
    (void)world_put(w, "t/1", "elsewhere");
    expect_verdict(guarded_put(w, GUARD_QUIET, "s/", seen, "a", "1"),
                   STORE_COMMITTED);
    (void)world_put(w, "s/3", "phantom");
    expect_verdict(guarded_put(w, GUARD_QUIET, "s/", seen, "a", "2"),
                   STORE_CONFLICT);
    (void)world_put(w, "s/3", NULL); /* gone again: nothing new is there */
    expect_verdict(guarded_put(w, GUARD_QUIET, "s/", seen, "a", "3"),
                   STORE_COMMITTED);
    (void)world_put(w, "s/1", NULL);
    (void)world_put(w, "s/1", "created anew");
    expect_verdict(guarded_put(w, GUARD_QUIET, "s/", seen, "a", "4"),
                   STORE_CONFLICT);
}

static void a_prefix_goes_with_all_under_it(void **state)
{
    struct world *w = world_of(state);
    struct waited x;

    (void)world_put(w, "n/a", "node");
    (void)world_put(w, "n/a/1", "x");
    (void)world_put(w, "n/a/2", "x");
    (void)world_put(w, "n/ab", "other");
    waited_init(&x, w);
    waited_op(&x, OP_DELETE_PREFIX, "n/a/", NULL);
    waited_op(&x, OP_DELETE, "n/a", NULL);
    waited_op(&x, OP_DELETE, "never/was", NULL);
    expect_verdict(waited_commit(&x), STORE_COMMITTED);
    world_expect(w, "n/a", NULL);
    world_expect(w, "n/a/1", NULL);
    world_expect(w, "n/a/2", NULL);
    world_expect(w, "n/ab", "other");
}

/* The world checks that only what is there is deleted. */
static void what_is_deleted_twice_goes_once(void **state)
{
    struct world *w = world_of(state);
    struct waited x;

    (void)world_put(w, "n/1", "x");
    (void)world_put(w, "n/2", "x");
    waited_init(&x, w);
    waited_op(&x, OP_DELETE, "n/1", NULL);
    waited_op(&x, OP_DELETE_PREFIX, "n/", NULL);
    waited_op(&x, OP_DELETE_PREFIX, "n", NULL);
    waited_op(&x, OP_DELETE_PREFIX, "n/2", NULL);
    expect_verdict(waited_commit(&x), STORE_COMMITTED);
    assert_int_equal(w->row_count, 0);

    (void)world_put(w, "n/1", "x");
    waited_init(&x, w);
    waited_op(&x, OP_DELETE_PREFIX, "n/", NULL);
    waited_op(&x, OP_DELETE, "n/1", NULL);
    waited_op(&x, OP_DELETE, "n/1", NULL);
    expect_verdict(waited_commit(&x), STORE_REFUSED); /* by name, twice */
    waited_init(&x, w);
    waited_op(&x, OP_DELETE_PREFIX, "n/", NULL);
    waited_op(&x, OP_DELETE, "n/1", NULL);
    expect_verdict(waited_commit(&x), STORE_COMMITTED);
    (void)world_put(w, "n/1", "again");
    world_expect(w, "n/1", "again");
}

static void who_deletes_is_fed_too(void **state)
{
    struct world *w = world_of(state);
    struct waited x;

    (void)world_put(w, "n/1", "x");
    (void)world_put(w, "n/2", "x");
    waited_init(&x, w);
    x.change.meta = bytes_str("somebody");
    waited_op(&x, OP_DELETE, "n/1", NULL);
    expect_verdict(waited_commit(&x), STORE_COMMITTED);
    assert_string_equal(w->deleted_by, "somebody");
    waited_init(&x, w);
    x.change.meta = bytes_str("somebody else");
    waited_op(&x, OP_DELETE_PREFIX, "n/", NULL);
    expect_verdict(waited_commit(&x), STORE_COMMITTED);
    assert_string_equal(w->deleted_by, "somebody else");
}

static void a_change_is_all_or_nothing(void **state)
{
    struct world *w = world_of(state);
    struct waited x;

    (void)world_put(w, "gone", "x");
    waited_init(&x, w);
    waited_guard(&x, GUARD_ABSENT, "new", 0);
    waited_guard(&x, GUARD_ABSENT, "gone", 0);
    waited_op(&x, OP_PUT, "new", "1");
    waited_op(&x, OP_DELETE, "gone", NULL);
    expect_verdict(waited_commit(&x), STORE_CONFLICT);
    world_expect(w, "new", NULL);
    world_expect(w, "gone", "x");
}

static void empty_values_and_binary_keys_are_kept(void **state)
{
    struct world *w = world_of(state);
    static const char key[] = "bin\0\xff\x01";
    struct waited x;

    (void)world_put(w, "empty", "");
    world_expect(w, "empty", "");
    waited_init(&x, w);
    x.ops[0] =
        (struct store_op){OP_PUT, bytes_of(key, 6), bytes_of("\0v\0", 3)};
    x.change.op_count = 1;
    expect_verdict(waited_commit(&x), STORE_COMMITTED);
    pthread_mutex_lock(&w->mutex);
    struct seen_row *r = seen_find(w, bytes_of(key, 6));
    bool kept = r && r->value_n == 3 && memcmp(r->value, "\0v\0", 3) == 0;
    pthread_mutex_unlock(&w->mutex);
    assert_true(kept);
}

/* --- Groups -------------------------------------------------------------- */

enum { CROWD = 200 };

/* All submitted before any is answered: they share groups. */
static void only_one_of_many_creates_a_key(void **state)
{
    struct world *w = world_of(state);
    struct waited *x = calloc(CROWD, sizeof *x);
    int winners = 0;

    for (int i = 0; i < CROWD; i++) {
        waited_init(&x[i], w);
        waited_guard(&x[i], GUARD_ABSENT, "unique", 0);
        waited_op(&x[i], OP_PUT, "unique", "mine");
        waited_submit(&x[i]);
    }
    for (int i = 0; i < CROWD; i++)
        winners += waited_wait(&x[i]).verdict == STORE_COMMITTED;
    assert_int_equal(winners, 1);
    expect_verdict(x[0].outcome, STORE_COMMITTED); /* who came first */
    free(x);
}

static void a_conflict_does_not_fail_its_neighbours(void **state)
{
    struct world *w = world_of(state);
    struct waited *x = calloc(CROWD, sizeof *x);
    char key[CROWD][16];

    for (int i = 0; i < CROWD; i++) {
        snprintf(key[i], sizeof key[i], "k/%d", i);
        waited_init(&x[i], w);
        waited_guard(&x[i], i % 2 ? GUARD_PRESENT : GUARD_ABSENT, "nowhere", 0);
        waited_op(&x[i], OP_PUT, key[i], "x");
        waited_submit(&x[i]);
    }
    for (int i = 0; i < CROWD; i++) {
        expect_verdict(waited_wait(&x[i]),
                       i % 2 ? STORE_CONFLICT : STORE_COMMITTED);
        world_expect(w, key[i], i % 2 ? NULL : "x");
    }
    free(x);
}

/* Each guards what the one before wrote: none may share a group with him, and
 * they go in order although all wait at once. */
static void a_chain_of_changes_goes_one_after_the_other(void **state)
{
    struct world *w = world_of(state);
    struct waited *x = calloc(CROWD, sizeof *x);
    char key[CROWD + 1][16];

    for (int i = 0; i <= CROWD; i++)
        snprintf(key[i], sizeof key[i], "c/%d", i);
    (void)world_put(w, key[0], "x");
    for (int i = 0; i < CROWD; i++) {
        waited_init(&x[i], w);
        waited_guard(&x[i], GUARD_PRESENT, key[i], 0);
        waited_op(&x[i], OP_PUT, key[i + 1], "x");
        waited_submit(&x[i]);
    }
    uint64_t last = 0;

    for (int i = 0; i < CROWD; i++) {
        expect_verdict(waited_wait(&x[i]), STORE_COMMITTED);
        assert_true(x[i].outcome.revision > last);
        last = x[i].outcome.revision;
    }
    free(x);
}

static void many_puts_of_one_key_end_with_the_last(void **state)
{
    struct world *w = world_of(state);
    struct waited *x = calloc(CROWD, sizeof *x);
    char value[CROWD][16];

    for (int i = 0; i < CROWD; i++) {
        snprintf(value[i], sizeof value[i], "%d", i);
        waited_init(&x[i], w);
        waited_op(&x[i], OP_PUT, "k", value[i]);
        waited_submit(&x[i]);
    }
    for (int i = 0; i < CROWD; i++)
        expect_verdict(waited_wait(&x[i]), STORE_COMMITTED);
    world_expect(w, "k", value[CROWD - 1]);
    free(x);
}

/* --- Limits -------------------------------------------------------------- */

static void unanswerable(struct store_change *c, const struct store_outcome *o)
{
    (void)c;
    (void)o;
    fail_msg("a refused change was answered");
}

static enum err submit_ops(struct world *w, const struct store_op *ops,
                           size_t n, struct errtext *t)
{
    struct store_change c = {.ops = ops, .op_count = n, .done = unanswerable};

    return store_submit(w->store, &c, t);
}

static void limits_are_named_at_once(void **state)
{
    struct world *w = world_of(state);
    size_t many = STORE_GROUP_OPS_MAX;
    struct store_op *ops = calloc(many, sizeof *ops);
    char *big = calloc(1, STORE_VALUE_MAX + 1);
    struct errtext t = {{0}};

    for (size_t i = 0; i < many; i++)
        ops[i] = (struct store_op){OP_DELETE, bytes_str("k"), {0}};
    assert_int_equal(submit_ops(w, ops, many, &t), ERR_LIMIT);
    assert_non_null(strstr(t.s, "1024 operations"));

    ops[0] = (struct store_op){OP_PUT, bytes_of(big, STORE_KEY_MAX + 1), {0}};
    big[0] = 'k';
    assert_int_equal(submit_ops(w, ops, 1, &t), ERR_LIMIT);
    assert_non_null(strstr(t.s, "1025"));
    assert_non_null(strstr(t.s, "1024"));

    ops[0] = (struct store_op){OP_PUT, bytes_str("k"),
                               bytes_of(big, STORE_VALUE_MAX + 1)};
    assert_int_equal(submit_ops(w, ops, 1, &t), ERR_LIMIT);
    assert_non_null(strstr(t.s, "524288"));

    for (size_t i = 0; i < 3; i++)
        ops[i] = (struct store_op){OP_PUT, bytes_str("k"),
                                   bytes_of(big, STORE_VALUE_MAX)};
    assert_int_equal(submit_ops(w, ops, 3, &t), ERR_LIMIT);

    ops[0] = (struct store_op){OP_PUT, {0}, {0}};
    assert_int_equal(submit_ops(w, ops, 1, &t), ERR_BAD);
    ops[0] = (struct store_op){OP_PUT, bytes_of("\0d/x", 4), {0}};
    assert_int_equal(submit_ops(w, ops, 1, &t), ERR_BAD);
    free(ops);
    free(big);
}

/* Submits two changes at once, from the store's thread. */
struct pair {
    struct waited first, twice, other;
};

static void pair_submit(struct store_change *c, const struct store_outcome *o)
{
    struct pair *p = container_of(c, struct pair, first.change);
    struct errtext t;

    assert_ok(store_submit(p->first.world->store, &p->twice.change, &t));
    assert_ok(store_submit(p->first.world->store, &p->other.change, &t));
    waited_done(c, o);
}

static void who_comes_behind_a_key_written_twice_is_not_held_up(void **state)
{
    struct world *w = world_of(state);
    struct pair p;

    waited_init(&p.first, w);
    waited_init(&p.twice, w);
    waited_init(&p.other, w);
    p.first.change.done = pair_submit;
    waited_op(&p.first, OP_PUT, "a", "1");
    waited_op(&p.twice, OP_DELETE_PREFIX, "", "");
    waited_op(&p.twice, OP_PUT, "k", "1");
    waited_op(&p.other, OP_PUT, "k", "2");
    waited_submit(&p.first);
    expect_verdict(waited_wait(&p.twice), STORE_REFUSED);
    expect_verdict(waited_wait(&p.other), STORE_COMMITTED);
    world_expect(w, "k", "2");
}

static void a_key_written_twice_is_refused_by_name(void **state)
{
    struct world *w = world_of(state);
    struct waited x;

    waited_init(&x, w);
    waited_op(&x, OP_PUT, "k", "1");
    waited_op(&x, OP_PUT, "k", "2");
    struct store_outcome o = waited_commit(&x);
    expect_verdict(o, STORE_REFUSED);
    assert_int_equal(o.why, ERR_BAD);
    assert_non_null(strstr(o.text.s, "\"k\" twice"));

    waited_init(&x, w);
    waited_op(&x, OP_PUT, "p/1", "1");
    waited_op(&x, OP_DELETE_PREFIX, "p/", NULL);
    expect_verdict(waited_commit(&x), STORE_REFUSED);
    world_expect(w, "k", NULL);
}

static void the_largest_change_goes_through(void **state)
{
    struct world *w = world_of(state);
    size_t n = STORE_GROUP_OPS_MAX - 3;
    struct waited x;
    struct store_op *ops = calloc(n, sizeof *ops);
    char(*key)[16] = calloc(n, sizeof *key);
    struct store_guard *guards = calloc(n, sizeof *guards);

    waited_init(&x, w);
    for (size_t i = 0; i < n; i++) {
        snprintf(key[i], sizeof key[i], "k%zu", i);
        ops[i] = (struct store_op){OP_PUT, bytes_str(key[i]), bytes_str("v")};
        guards[i] = (struct store_guard){GUARD_ABSENT, bytes_str(key[i]), 0};
    }
    x.change.ops = ops;
    x.change.guards = guards;
    x.change.op_count = x.change.guard_count = n;
    assert_int_equal(store_cost(&x.change), n);
    expect_verdict(waited_commit(&x), STORE_COMMITTED);
    assert_int_equal(w->row_count, n);
    free(ops);
    free(key);
    free(guards);
}

/* --- Feed, barrier, past ------------------------------------------------- */

static void a_barrier_covers_what_was_answered(void **state)
{
    const struct kind *kind = ((struct stage_set *)*state)->kind;
    struct world *w = world_of(state);

    for (int i = 0; i < 20; i++) {
        uint64_t r = world_put(w, "k", i % 2 ? "odd" : "even");
        assert_true(world_barrier(w) >= r);
    }
    assert_int_equal(store_barrier_is_free(w->store),
                     !kind->faulty && kind->kind != STORE_ETCD);
}

static void the_past_is_read_at_any_retained_revision(void **state)
{
    struct world *w = world_of(state);
    uint64_t r1 = world_put(w, "a/1", "x");
    uint64_t r2 = world_put(w, "a/2", "y");
    uint64_t r3 = world_put(w, "a/1", "z");
    uint64_t r4 = world_put(w, "a/2", NULL);
    uint64_t r5 = world_put(w, "b", "w");
    const uint64_t rev[] = {r1, r2, r3, r4, r5};
    const int lines[] = {1, 2, 2, 1, 1}; /* under a/ */

    for (size_t i = 0; i < 5; i++) {
        enum err e;
        char *text = world_read_at(w, rev[i], "a/", &e);
        int n = 0;

        assert_ok(e);
        for (const char *p = text; *p; p++)
            n += *p == '\n';
        assert_int_equal(n, lines[i]);
        assert_non_null(strstr(text, i < 2 ? "a/1=x" : "a/1=z"));
        free(text);
    }
    enum err e;
    free(world_read_at(w, r5 + 1000, "", &e));
    assert_int_equal(e, ERR_NOT_FOUND);
}

static void history_tells_every_revision_from_any_on(void **state)
{
    struct world *w = world_of(state);
    char want[512];
    enum err e;
    uint64_t r1 = world_put(w, "a", "1");
    uint64_t r2 = world_put(w, "a", "2");
    uint64_t r3 = world_put(w, "a", NULL);
    char *text = world_history(w, r1, &e);

    assert_ok(e);
    snprintf(want, sizeof want, "@%llu\na=1 %llu/%llu\n",
             (unsigned long long)r1, (unsigned long long)r1,
             (unsigned long long)r1);
    assert_int_equal(strncmp(text, want, strlen(want)), 0);
    free(text);
    text = world_history(w, r2, &e);
    assert_ok(e);
    snprintf(want, sizeof want, "a=2 %llu/%llu", (unsigned long long)r1,
             (unsigned long long)r2);
    assert_non_null(strstr(text, want));
    assert_null(strstr(text, "a=1"));
    snprintf(want, sizeof want, "@%llu\na gone", (unsigned long long)r3);
    assert_non_null(strstr(text, want));
    free(text);
}

static void what_was_compacted_is_refused_and_the_rest_stays(void **state)
{
    struct world *w = world_of(state);
    uint64_t r1 = world_put(w, "a", "1");
    uint64_t r2 = world_put(w, "a", "2");
    (void)world_put(w, "c", "1");
    uint64_t r3 = world_put(w, "c", NULL);
    enum err e;

    (void)world_put(w, "b", "1");
    store_compact(w->store, r3);
    while (store_oldest(w->store) < r3)
        (void)world_barrier(w);
    free(world_read_at(w, r1, "", &e));
    assert_int_equal(e, ERR_COMPACTED);
    free(world_history(w, r2, &e));
    assert_int_equal(e, ERR_COMPACTED);
    char *text = world_read_at(w, r3, "", &e);
    assert_ok(e);
    assert_non_null(strstr(text, "a=2"));
    free(text);
    text = world_history(w, r3, &e);
    assert_ok(e);
    assert_non_null(strstr(text, "c gone")); /* also the very revision's */
    assert_non_null(strstr(text, "b=1"));
    free(text);
    world_expect(w, "a", "2");
}

/* What is in is answered once the feed has shown it. It may never, where the
 * store's server has gone for good: whoever closes does not wait for that. */
static void a_close_waits_for_no_feed(void **state)
{
    struct stage_set *set = *state;
    struct waited x;

    set->plan.feed_still = true;
    waited_init(&x, &set->w);
    waited_op(&x, OP_PUT, "k", "last");
    waited_submit(&x);
    world_close(&set->w);
    assert_int_equal(x.done, 1);
    expect_verdict(x.outcome,
                   set->kind->faulty ? STORE_UNAVAILABLE : STORE_COMMITTED);
    set->plan.feed_still = false;
    set_open(set);
}

static struct CMUnitTest tests[] = {
    OVER_ALL(a_guard_on_the_mod_revision_holds_until_the_next_put),
    OVER_ALL(a_guard_on_the_create_revision_survives_puts),
    OVER_ALL(presence_and_absence_are_guards),
    OVER_ALL(a_quiet_guard_sees_what_was_added_to_a_set),
    OVER_ALL(a_prefix_goes_with_all_under_it),
    OVER_ALL(what_is_deleted_twice_goes_once),
    OVER_ALL(who_deletes_is_fed_too),
    OVER_ALL(a_change_is_all_or_nothing),
    OVER_ALL(empty_values_and_binary_keys_are_kept),
    OVER_ALL(only_one_of_many_creates_a_key),
    OVER_ALL(a_conflict_does_not_fail_its_neighbours),
    OVER_ALL(a_chain_of_changes_goes_one_after_the_other),
    OVER_ALL(many_puts_of_one_key_end_with_the_last),
    OVER_ALL(limits_are_named_at_once),
    OVER_ALL(a_key_written_twice_is_refused_by_name),
    OVER(who_comes_behind_a_key_written_twice_is_not_held_up, 0),
    OVER_ALL(the_largest_change_goes_through),
    OVER_ALL(a_barrier_covers_what_was_answered),
    OVER_ALL(the_past_is_read_at_any_retained_revision),
    OVER_ALL(history_tells_every_revision_from_any_on),
    OVER_ALL(what_was_compacted_is_refused_and_the_rest_stays),
    OVER_ALL(a_close_waits_for_no_feed),
};

RUN_KINDS(tests)
