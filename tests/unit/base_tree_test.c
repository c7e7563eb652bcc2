/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* The model is an array with one place per possible key: what it holds, and in
 * which order, is plain to see. Items are freed as soon as the contract allows
 * it, so AddressSanitizer sees every separator that outlives its item; the
 * counting allocator sees every node that is freed twice or never. */
#include "base/tree.h"

#include <ctype.h>
#include <stdio.h>

#include "fail_malloc.h"
#include "test.h"

enum { KEYS = 2500, SEEDS = 4 };

struct item {
    unsigned id;
    struct bytes a, b;
    char text[32];
};

static uint64_t next_random(uint64_t *s)
{
    uint64_t z = *s += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static unsigned below(uint64_t *s, unsigned n)
{
    return (unsigned)(next_random(s) % n);
}

static void item_key(const void *item, struct tree_key *ret)
{
    const struct item *i = item;
    *ret = (struct tree_key){i->a, i->b};
}

static const struct tree_type exact = {item_key, false};
static const struct tree_type folded = {item_key, true};

/* Keys sort as their ids do. With `fold` letters come in either case: the same
 * key is spelled differently each time. */
static void item_fill(struct item *i, unsigned id, bool fold, uint64_t *s)
{
    i->id = id;
    int n = snprintf(i->text, sizeof i->text, "node-with-name-%03u", id / 40);
    int m = snprintf(i->text + n, sizeof i->text - (size_t)n, "s%02u", id % 40);
    for (int k = 0; fold && k < n + m; k++)
        if (next_random(s) & 1)
            i->text[k] = (char)toupper(i->text[k]);
    i->a = bytes_of(i->text, (size_t)n);
    i->b = bytes_of(i->text + n, (size_t)m);
}

static struct item *item_new(unsigned id, bool fold, uint64_t *s)
{
    struct item *i = malloc(sizeof *i);
    assert_non_null(i);
    item_fill(i, id, fold, s);
    return i;
}

static struct tree_key key_for(struct item *room, unsigned id,
                               const struct tree_type *type, uint64_t *s)
{
    struct tree_key key;
    item_fill(room, id, type->fold, s);
    item_key(room, &key);
    return key;
}

static void check_order(const struct tree *t, struct item *const *model)
{
    struct tree_iter it;
    size_t n = 0;

    tree_first(t, &it);
    for (unsigned id = 0; id < KEYS; id++) {
        if (!model[id])
            continue;
        assert_ptr_equal(tree_next(&it), model[id]);
        n++;
    }
    assert_null(tree_next(&it));
    assert_null(tree_next(&it));
    assert_int_equal(t->n, n);
}

static void check_lookups(const struct tree *t, const struct tree_type *type,
                          struct item *const *model, uint64_t *s)
{
    struct item room;

    for (unsigned id = 0; id < KEYS; id++) {
        struct tree_key key = key_for(&room, id, type, s);
        struct tree_iter it;
        unsigned at = id;

        assert_ptr_equal(tree_get(t, type, key), model[id]);
        tree_seek(t, type, key, &it);
        for (int k = 0; k < 3; k++) {
            while (at < KEYS && !model[at])
                at++;
            assert_ptr_equal(tree_next(&it), at < KEYS ? model[at] : NULL);
            at += at < KEYS;
        }
    }
}

/* Grows for a while, shrinks for a while, so that every shape is met. */
static bool wants_put(uint64_t *s, unsigned op)
{
    return below(s, 100) < (op / 6000 % 2 ? 25u : 75u);
}

static void mutable_tree_agrees(const struct tree_type *type, uint64_t seed)
{
    static struct item *model[KEYS];
    struct tree t = {0};
    struct tree_edit edit = {.id = 1};
    long live = fail_malloc_live;

    for (unsigned op = 0; op < 60000; op++) {
        unsigned id = below(&seed, KEYS);
        struct item room;
        void *old;

        if (wants_put(&seed, op)) {
            struct item *i = item_new(id, type->fold, &seed);
            assert_ok(tree_put(&t, type, &edit, i, &old));
            assert_ptr_equal(old, model[id]);
            model[id] = i;
        } else {
            struct tree_key key = key_for(&room, id, type, &seed);
            assert_ok(tree_del(&t, type, &edit, key, &old));
            assert_ptr_equal(old, model[id]);
            model[id] = NULL;
        }
        free(old);
        if (op % 1000 == 999)
            check_order(&t, model);
        if (op % 10000 == 9999)
            check_lookups(&t, type, model, &seed);
    }
    tree_free(&t);
    assert_null(t.root);
    assert_int_equal(t.n, 0);
    for (unsigned id = 0; id < KEYS; id++) {
        free(model[id]);
        model[id] = NULL;
    }
    assert_int_equal(fail_malloc_live, live);
}

static void one_edit_for_ever_makes_an_ordinary_map(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        mutable_tree_agrees(&exact, seed);
        mutable_tree_agrees(&folded, seed);
    }
}

/* --- Versions ------------------------------------------------------------ */

enum { VERSIONS = 12, TRASH_MAX = 4096 };

struct version {
    struct tree tree;
    struct item *model[KEYS];
    void *trash[TRASH_MAX]; /* what building this version made unreachable */
    size_t n_trash;
};

static struct version versions[VERSIONS];

static void to_trash(void *ctx, void *take_p)
{
    struct version *v = ctx;

    assert_true(v->n_trash < TRASH_MAX);
    v->trash[v->n_trash++] = take_p;
}

static void build_version(struct version *v, const struct version *before,
                          uint64_t number, const struct tree_type *type,
                          uint64_t *s)
{
    struct tree_edit edit = {.id = number, .retire = to_trash, .ctx = v};
    unsigned ops = 1 + below(s, 30);

    v->tree = before->tree;
    memcpy(v->model, before->model, sizeof v->model);
    v->n_trash = 0;
    while (ops--) {
        unsigned id = below(s, KEYS);
        struct item room;
        void *old;

        struct item *i = NULL;

        if (wants_put(s, (unsigned)number * 15)) {
            i = item_new(id, type->fold, s);
            assert_ok(tree_put(&v->tree, type, &edit, i, &old));
        } else {
            struct tree_key key = key_for(&room, id, type, s);
            assert_ok(tree_del(&v->tree, type, &edit, key, &old));
        }
        assert_ptr_equal(old, v->model[id]);
        v->model[id] = i;
        if (old)
            to_trash(v, old);
    }
}

static void empty_trash(struct version *v)
{
    while (v->n_trash)
        free(v->trash[--v->n_trash]);
}

static void versions_agree(const struct tree_type *type, uint64_t seed)
{
    long live = fail_malloc_live;
    uint64_t last = 4000;

    versions[0] = (struct version){0};
    for (uint64_t v = 1; v <= last; v++) {
        struct version *now = &versions[v % VERSIONS];
        if (v >= VERSIONS) {
            /* The oldest goes: it must still show what it always showed, and
             * then nobody needs what its successor replaced. */
            check_order(&now->tree, now->model);
            if (v % 200 == 0)
                check_lookups(&now->tree, type, now->model, &seed);
            empty_trash(&versions[(v + 1) % VERSIONS]);
        }
        build_version(now, &versions[(v - 1) % VERSIONS], v, type, &seed);
        check_order(&now->tree, now->model);
    }
    for (uint64_t v = last - VERSIONS + 1; v <= last; v++) {
        struct version *old = &versions[v % VERSIONS];
        check_order(&old->tree, old->model);
        if (v < last)
            empty_trash(&versions[(v + 1) % VERSIONS]);
    }
    struct version *newest = &versions[last % VERSIONS];
    check_lookups(&newest->tree, type, newest->model, &seed);
    tree_free(&newest->tree);
    for (unsigned id = 0; id < KEYS; id++)
        free(newest->model[id]);
    assert_int_equal(fail_malloc_live, live);
}

static void old_versions_never_change_and_garbage_is_exact(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        versions_agree(seed % 2 ? &exact : &folded, seed * 77);
}

static void retiring_a_tree_hands_over_every_node(void **state)
{
    (void)state;
    static struct item items[KEYS];
    struct version *v = &versions[0];
    struct tree t = {0};
    struct tree_edit edit = {.id = 1};
    uint64_t s = 5;
    long live = fail_malloc_live;

    for (unsigned id = 0; id < KEYS; id++) {
        item_fill(&items[id], id, false, &s);
        assert_ok(tree_put(&t, &exact, &edit, &items[id], NULL));
    }
    long nodes = fail_malloc_live - live;
    v->n_trash = 0;
    edit = (struct tree_edit){2, to_trash, v};
    tree_retire(&t, &edit);
    assert_null(t.root);
    assert_int_equal(v->n_trash, nodes);
    empty_trash(v);
    assert_int_equal(fail_malloc_live, live);
}

/* --- Running out of memory ----------------------------------------------- */

struct op {
    bool put;
    struct item *item; /* put */
    unsigned id;
};

static enum err run_op(struct tree *t, const struct tree_edit *edit,
                       const struct op *op, void **ret_old)
{
    struct item room;
    uint64_t s = 0;

    if (op->put)
        return tree_put(t, &exact, edit, op->item, ret_old);
    return tree_del(t, &exact, edit, key_for(&room, op->id, &exact, &s),
                    ret_old);
}

/* Fails the 1st, 2nd, ... allocation of an operation until it succeeds. */
static unsigned run_op_failing(struct tree *t, const struct tree_edit *edit,
                               const struct op *op, struct item *const *model,
                               void **ret_old)
{
    struct version *v = edit->ctx;
    unsigned failures = 0;

    for (long nth = 1;; nth++) {
        long live = fail_malloc_live;
        size_t n_trash = v ? v->n_trash : 0;

        fail_malloc_in = nth;
        enum err e = run_op(t, edit, op, ret_old);
        bool failed = fail_malloc_off();
        if (e == ERR_OK) {
            assert_false(failed);
            return failures;
        }
        assert_int_equal(e, ERR_NOMEM);
        assert_true(failed);
        assert_int_equal(fail_malloc_live, live);
        assert_int_equal(v ? v->n_trash : 0, n_trash);
        check_order(t, model);
        failures++;
    }
}

static unsigned nomem_changes_nothing(bool versioned, uint64_t seed)
{
    static struct item *model[KEYS];
    struct version *v = versioned ? &versions[0] : NULL;
    struct tree t = {0};
    unsigned failures = 0;
    long live = fail_malloc_live;

    for (unsigned n = 1; n <= 6000; n++) {
        struct tree_edit edit = {versioned ? n / 3 + 1 : 1,
                                 versioned ? to_trash : NULL, v};
        struct op op = {.id = below(&seed, KEYS)};
        void *old;

        if (v)
            v->n_trash = 0;
        op.put = below(&seed, 100) < (n / 2000 % 2 ? 10u : 85u);
        if (op.put)
            op.item = item_new(op.id, false, &seed);
        failures += run_op_failing(&t, &edit, &op, model, &old);
        assert_ptr_equal(old, model[op.id]);
        free(old);
        model[op.id] = op.item;
        if (v)
            empty_trash(v);
    }
    check_order(&t, model);
    tree_free(&t);
    for (unsigned id = 0; id < KEYS; id++) {
        free(model[id]);
        model[id] = NULL;
    }
    assert_int_equal(fail_malloc_live, live);
    return failures;
}

static void out_of_memory_leaves_the_tree_as_it_was(void **state)
{
    (void)state;
    assert_true(nomem_changes_nothing(false, 11) > 400);
    assert_true(nomem_changes_nothing(true, 12) > 6000);
}

/* --- Shape --------------------------------------------------------------- */

static int depth_of(const struct tree *t)
{
    struct tree_iter it;
    tree_first(t, &it);
    return it.depth;
}

static void small_trees_are_small(void **state)
{
    (void)state;
    static struct item items[3];
    struct tree_edit edit = {.id = 1};
    struct tree t = {0};
    uint64_t s = 0;

    for (unsigned id = 0; id < 3; id++) {
        long before = fail_malloc_bytes;
        item_fill(&items[id], id, false, &s);
        edit.id++; /* a new version: the node is made for what it holds */
        assert_ok(tree_put(&t, &exact, &edit, &items[id], NULL));
        long bytes = fail_malloc_bytes - before;
        assert_in_range(bytes, 1, id == 0 ? 24 : 40);
    }
    tree_free(&t);
}

enum { MANY = 100000 };

static void number_key(const void *item, struct tree_key *ret)
{
    *ret = (struct tree_key){.a = bytes_of(item, 4)};
}

static const struct tree_type numbers = {number_key, false};

static unsigned char (*many_numbers(void))[4]
{
    static unsigned char key[MANY][4];

    for (unsigned i = 0; i < MANY; i++) {
        key[i][0] = (unsigned char)(i >> 24);
        key[i][1] = (unsigned char)(i >> 16);
        key[i][2] = (unsigned char)(i >> 8);
        key[i][3] = (unsigned char)i;
    }
    return key;
}

static void loading_in_order_wastes_little(void **state)
{
    (void)state;
    unsigned char(*key)[4] = many_numbers();
    struct tree_edit edit = {.id = 1};
    struct tree t = {0};
    long live = fail_malloc_live;

    for (unsigned i = 0; i < MANY; i++)
        assert_ok(tree_put(&t, &numbers, &edit, key[i], NULL));
    /* Full nodes: 31 + 961 + 29791 < 100000 <= 31^4 */
    assert_int_equal(depth_of(&t), 3);
    assert_true(fail_malloc_live - live < MANY / 31 + MANY / 500);
    tree_free(&t);
}

static void deleting_keeps_the_depth_logarithmic(void **state)
{
    (void)state;
    unsigned char(*key)[4] = many_numbers();

    /* from the front, from the back, from the middle outwards */
    for (int order = 0; order < 3; order++) {
        struct tree_edit edit = {.id = 1};
        struct tree t = {0};

        for (unsigned i = 0; i < MANY; i++)
            assert_ok(tree_put(&t, &numbers, &edit, key[i], NULL));
        for (unsigned i = 0; i < MANY; i++) {
            unsigned half = i & 1 ? MANY / 2 - 1 - i / 2 : MANY / 2 + i / 2;
            unsigned at = order == 0 ? i : order == 1 ? MANY - 1 - i : half;
            void *old;
            struct tree_key k = {.a = bytes_of(key[at], 4)};
            assert_ok(tree_del(&t, &numbers, &edit, k, &old));
            assert_ptr_equal(old, key[at]);
            if (t.n < 8)
                assert_true(depth_of(&t) <= 0);
            else if (t.n < 64)
                assert_true(depth_of(&t) <= 2);
            else if (t.n < 4096)
                assert_true(depth_of(&t) <= 3);
        }
        assert_null(t.root);
    }
}

static void an_empty_tree_answers(void **state)
{
    (void)state;
    struct tree t = {0};
    struct tree_edit edit = {.id = 1};
    struct tree_key key = {bytes_str("x"), {NULL, 0}};
    struct tree_iter it;
    void *old = &t;

    assert_null(tree_get(&t, &exact, key));
    tree_first(&t, &it);
    assert_null(tree_next(&it));
    tree_seek(&t, &exact, key, &it);
    assert_null(tree_next(&it));
    assert_ok(tree_del(&t, &exact, &edit, key, &old));
    assert_null(old);
    tree_free(&t);
    tree_retire(&t, &edit);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_empty_tree_answers),
    cmocka_unit_test(small_trees_are_small),
    cmocka_unit_test(loading_in_order_wastes_little),
    cmocka_unit_test(deleting_keeps_the_depth_logarithmic),
    cmocka_unit_test(one_edit_for_ever_makes_an_ordinary_map),
    cmocka_unit_test(old_versions_never_change_and_garbage_is_exact),
    cmocka_unit_test(retiring_a_tree_hands_over_every_node),
    cmocka_unit_test(out_of_memory_leaves_the_tree_as_it_was),
};

RUN_TESTS(tests)
