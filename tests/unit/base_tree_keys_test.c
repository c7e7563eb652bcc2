/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Nodes of a tree hold pieces of their keys (base/tree_node.h). Here are keys
 * whose pieces say little, beside a sorted array that knows none. */
#include <stdio.h>

#include "base/tree.h"

#include "fail_malloc.h"
#include "test.h"

enum { SEEDS = 4 };

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

/* Parts of few and awkward bytes (NUL, what stands beside it, letters of either
 * case and their neighbours, bytes over 127), some of them behind long texts in
 * common: keys with equal pieces, keys that are another's beginning, a part that
 * ends where another one has a NUL. */
enum { HARD_KEYS = 600, HARD_OPS = 12000, HARD_TEXT = 48 };

struct hard {
    struct bytes a, b;
    char text[2 * HARD_TEXT];
};

static void hard_key(const void *item, struct tree_key *ret)
{
    const struct hard *h = item;
    *ret = (struct tree_key){h->a, h->b};
}

static const struct tree_type hard_exact = {hard_key, false};
static const struct tree_type hard_folded = {hard_key, true};

static struct bytes hard_part(char *to, uint64_t *s)
{
    static const char few[] = {0, 1, 2, 'a', 'A', 'z', 'Z', '[', '`', '\xff'};
    static const char *const heads[] = {"", "", "node-", "NODE-",
                                        "a-long-text-in-common-01234567"};
    const char *head = heads[below(s, 5)];
    size_t n = strlen(head), more = below(s, 10);

    memcpy(to, head, n);
    while (more--)
        to[n++] = few[below(s, below(s, 3) ? 3 : sizeof few)];
    return bytes_of(to, n);
}

static struct hard *hard_new(uint64_t *s)
{
    struct hard *h = malloc(sizeof *h);

    assert_non_null(h);
    h->a = hard_part(h->text, s);
    h->b = hard_part(h->text + HARD_TEXT, s);
    if (below(s, 3) == 0)
        h->b.n = 0;
    return h;
}

static int hard_cmp(const struct hard *x, const struct hard *y, bool fold)
{
    int c = fold ? bytes_cmp_fold(x->a, y->a) : bytes_cmp(x->a, y->a);

    if (c)
        return c;
    return fold ? bytes_cmp_fold(x->b, y->b) : bytes_cmp(x->b, y->b);
}

struct sorted {
    struct hard *v[HARD_KEYS];
    size_t n;
};

static size_t sorted_at(const struct sorted *m, const struct hard *h, bool fold,
                        bool *ret_found)
{
    size_t i = 0;

    while (i < m->n && hard_cmp(m->v[i], h, fold) < 0)
        i++;
    *ret_found = i < m->n && hard_cmp(m->v[i], h, fold) == 0;
    return i;
}

static void check_hard(const struct tree *t, const struct tree_type *type,
                       const struct sorted *m, const struct hard *h)
{
    struct tree_key key = {h->a, h->b};
    struct tree_iter it;
    bool found;
    size_t at = sorted_at(m, h, type->fold, &found);

    assert_ptr_equal(tree_get(t, type, key), found ? m->v[at] : NULL);
    tree_seek(t, type, key, &it);
    for (; at < m->n; at++)
        assert_ptr_equal(tree_next(&it), m->v[at]);
    assert_null(tree_next(&it));
}

static void hard_put(struct tree *t, const struct tree_type *type,
                     const struct tree_edit *edit, struct sorted *m,
                     struct hard *take)
{
    bool found;
    size_t at = sorted_at(m, take, type->fold, &found);
    void *old;

    assert_ok(tree_put(t, type, edit, take, &old));
    assert_ptr_equal(old, found ? m->v[at] : NULL);
    if (!found) {
        memmove(m->v + at + 1, m->v + at, (m->n - at) * sizeof *m->v);
        m->n++;
    }
    m->v[at] = take;
    free(old);
}

static void hard_del(struct tree *t, const struct tree_type *type,
                     const struct tree_edit *edit, struct sorted *m,
                     const struct hard *h)
{
    struct tree_key key = {h->a, h->b};
    bool found;
    size_t at = sorted_at(m, h, type->fold, &found);
    void *old;

    assert_ok(tree_del(t, type, edit, key, &old));
    assert_ptr_equal(old, found ? m->v[at] : NULL);
    if (found) {
        m->n--;
        memmove(m->v + at, m->v + at + 1, (m->n - at) * sizeof *m->v);
    }
    free(old);
}

/* An edit of its own for each few changes: nodes are copied, and edited in
 * place. What is replaced is freed at once. */
static void hard_keys_agree(const struct tree_type *type, uint64_t seed)
{
    struct sorted m = {.n = 0};
    struct tree t = {0};
    long live = fail_malloc_live;

    for (unsigned op = 0; op < HARD_OPS; op++) {
        struct tree_edit edit = {.id = 1 + op / 4};
        struct hard *h = hard_new(&seed);
        bool grow = below(&seed, 100) < (op / 3000 % 2 ? 30u : 80u);

        if (op % 5 == 0)
            check_hard(&t, type, &m, h);
        if (grow && m.n < HARD_KEYS) {
            hard_put(&t, type, &edit, &m, h);
            continue;
        }
        if (m.n && below(&seed, 4)) {
            struct hard copy = *m.v[below(&seed, (unsigned)m.n)];
            hard_del(&t, type, &edit, &m, &copy);
        } else {
            hard_del(&t, type, &edit, &m, h);
        }
        free(h);
    }
    tree_free(&t);
    while (m.n)
        free(m.v[--m.n]);
    assert_int_equal(fail_malloc_live, live);
}

static void keys_that_are_hard_to_tell_apart_keep_their_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        hard_keys_agree(&hard_exact, seed * 31);
        hard_keys_agree(&hard_folded, seed * 37);
    }
}

/* All begin alike, then comes one that does not: before, behind, a beginning of
 * theirs. */
enum { MANY = 2500 };

static void one_that_begins_otherwise_hides_nobody(void **state)
{
    (void)state;
    static const char *const others[] = {"",     "a", "node-", "node-with-namf",
                                         "nodf", "zz"};
    static struct hard items[MANY];
    struct tree_edit edit = {.id = 1};
    struct tree t = {0};

    for (unsigned i = 0; i < MANY; i++) {
        struct hard *h = &items[i];
        int n = snprintf(h->text, sizeof h->text, "node-with-name-%04u", i);
        h->a = bytes_of(h->text, (size_t)n);
        assert_ok(tree_put(&t, &hard_exact, &edit, h, NULL));
    }
    for (size_t k = 0; k < sizeof others / sizeof others[0]; k++) {
        struct hard other = {.a = bytes_str(others[k])};
        struct tree_key key = {other.a, other.b};
        struct tree_iter it;

        assert_null(tree_get(&t, &hard_exact, key));
        assert_ok(tree_put(&t, &hard_exact, &edit, &other, NULL));
        assert_ptr_equal(tree_get(&t, &hard_exact, key), &other);
        tree_seek(&t, &hard_exact, key, &it);
        assert_ptr_equal(tree_next(&it), &other);
        assert_ptr_equal(tree_next(&it), k < 3 ? &items[0] : NULL);
        for (unsigned i = 0; i < MANY; i++) {
            struct tree_key have = {items[i].a, items[i].b};
            assert_ptr_equal(tree_get(&t, &hard_exact, have), &items[i]);
        }
        assert_ok(tree_del(&t, &hard_exact, &edit, key, NULL));
    }
    tree_free(&t);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(keys_that_are_hard_to_tell_apart_keep_their_order),
    cmocka_unit_test(one_that_begins_otherwise_hides_nobody),
};

RUN_TESTS(tests)
