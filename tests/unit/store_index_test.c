/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "store/index.h"

#include <stdio.h>

#include "test.h"

enum { MANY = 20000 };

static unsigned seed;

static size_t rnd(size_t below)
{
    return (size_t)rand_r(&seed) % below;
}

/* Keys that share prefixes, differ only behind them or in length, and hold
 * NULs: what a sort by eight bytes at a time could get wrong. */
static struct index_entry *random_entry(void)
{
    static const char *const stems[] = {
        "",         "k0000/s/", "k0000/s/node-",
        "\0\0\0\0", "\xff\xff", "k0000/s/node-1234567/service-"};
    static const size_t stem_n[] = {0, 8, 13, 4, 2, 29};
    char key[80];
    size_t stem = rnd(6), n = stem_n[stem];

    memcpy(key, stems[stem], n);
    for (size_t tail = 1 + rnd(rnd(2) ? 4 : 40); tail; tail--)
        key[n++] = "\0\1abz\xff"[rnd(6)];
    return index_entry_new(bytes_of(key, n));
}

static size_t check_order(const struct index *x)
{
    struct index_iter it;
    const struct index_entry *last = NULL;
    size_t n = 0;

    index_seek(x, bytes_str(""), &it);
    for (const struct index_entry *e; (e = index_next(&it)); last = e, n++) {
        if (last)
            assert_true(bytes_cmp(index_key(last), index_key(e)) < 0);
        assert_ptr_equal(index_get(x, index_key(e)), e);
    }
    return n;
}

static void filling_sorts_any_keys(void **state)
{
    (void)state;
    for (seed = 1; seed <= 5; seed++) {
        struct index one, all;
        struct index_item *items = calloc(MANY, sizeof *items);
        size_t n = 0;

        index_init(&one);
        index_init(&all);
        for (int i = 0; i < MANY; i++) {
            struct index_entry *e = random_entry();
            if (index_get(&one, index_key(e))) {
                free(e);
                continue;
            }
            index_add(&one, e);
            items[n++].entry = index_entry_new(index_key(e));
        }
        assert_true(n > MANY / 2);
        assert_true(index_fill(&all, items, n));
        assert_int_equal(check_order(&one), n);
        assert_int_equal(check_order(&all), n);
        for (size_t i = 0; i < n; i++)
            assert_null(items[i].entry);
        free(items);
        index_fini(&one);
        index_fini(&all);
    }
}

static void filling_refuses_two_of_one_key(void **state)
{
    (void)state;
    for (seed = 1; seed <= 20; seed++) {
        size_t n = 2 + rnd(200);
        struct index_item *items = calloc(n, sizeof *items);
        struct index x;
        char key[32];

        index_init(&x);
        for (size_t i = 0; i < n; i++) {
            snprintf(key, sizeof key, "k0000/s/node/%zu", i ? i : n / 2);
            items[i].entry = index_entry_new(bytes_str(key));
        }
        assert_false(index_fill(&x, items, n));
        assert_int_equal(index_count(&x), 0);
        for (size_t i = 0; i < n; i++)
            free(items[i].entry);
        free(items);
        index_fini(&x);
    }
}

static void add(struct index *x, const char *key, uint64_t create, uint64_t mod)
{
    struct index_entry *e = index_entry_new(bytes_str(key));

    e->create_rev = create;
    e->mod_rev = mod;
    index_add(x, e);
}

static bool holds(const struct index *x, enum store_guard_kind kind,
                  const char *key, uint64_t rev)
{
    struct store_guard g = {kind, bytes_str(key), rev};

    return index_guard_holds(x, &g);
}

static void guards_look_at_one_key_or_at_a_prefix(void **state)
{
    struct index x;

    (void)state;
    index_init(&x);
    add(&x, "a", 3, 7);
    add(&x, "a/1", 4, 9);
    add(&x, "a0", 20, 20);
    assert_true(holds(&x, GUARD_MOD, "a", 7));
    assert_false(holds(&x, GUARD_MOD, "a", 3));
    assert_true(holds(&x, GUARD_MOD, "b", 0));
    assert_true(holds(&x, GUARD_CREATE, "a", 3));
    assert_false(holds(&x, GUARD_CREATE, "a", 0));
    assert_true(holds(&x, GUARD_CREATE, "b", 0));
    assert_true(holds(&x, GUARD_PRESENT, "a/1", 0));
    assert_false(holds(&x, GUARD_PRESENT, "a/", 0));
    assert_true(holds(&x, GUARD_ABSENT, "a/", 0));
    assert_true(holds(&x, GUARD_QUIET, "a/", 4));
    assert_false(holds(&x, GUARD_QUIET, "a/", 3));
    assert_true(holds(&x, GUARD_QUIET, "nothing", 0));
    assert_false(holds(&x, GUARD_QUIET, "", 19));
    index_fini(&x);
}

static void a_prefix_ends_where_it_ends(void **state)
{
    struct index x;
    struct index_iter it;

    (void)state;
    index_init(&x);
    add(&x, "s/1", 1, 1);
    add(&x, "s/2", 1, 1);
    add(&x, "s0", 1, 1);
    add(&x, "s", 1, 1);
    index_seek(&x, bytes_str("s/"), &it);
    assert_bytes(index_key(index_next(&it)), "s/1");
    assert_bytes(index_key(index_next(&it)), "s/2");
    assert_null(index_next(&it));
    struct index_entry *e = index_get(&x, bytes_str("s/1"));
    index_remove(&x, e);
    free(e);
    assert_null(index_get(&x, bytes_str("s/1")));
    assert_int_equal(index_count(&x), 3);
    index_fini(&x);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(filling_sorts_any_keys),
    cmocka_unit_test(filling_refuses_two_of_one_key),
    cmocka_unit_test(guards_look_at_one_key_or_at_a_prefix),
    cmocka_unit_test(a_prefix_ends_where_it_ends),
};

RUN_TESTS(tests)
