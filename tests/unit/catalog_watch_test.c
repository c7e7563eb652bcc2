/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "catalog/watch.h"

static uint64_t hash(enum watch_kind kind, const char *name)
{
    return watch_hash((struct watch_key){kind, bytes_str(name)});
}

static void hashes_differ_by_kind_and_name_but_not_by_case(void **state)
{
    (void)state;
    assert_true(hash(WATCH_SERVICE, "web") == hash(WATCH_SERVICE, "WEB"));
    assert_true(hash(WATCH_SERVICE, "web") != hash(WATCH_SERVICE, "web1"));
    assert_true(hash(WATCH_SERVICE, "web") != hash(WATCH_NODE, "web"));
    assert_true(hash(WATCH_NODES, "") != hash(WATCH_SERVICES, ""));
    assert_true(hash(WATCH_NONE, "") != 0);
}

static void kinds_without_a_name_ignore_it(void **state)
{
    (void)state;
    assert_true(hash(WATCH_NODES, "x") == hash(WATCH_NODES, ""));
    assert_true(hash(WATCH_SERVICES, "x") == hash(WATCH_SERVICES, ""));
    assert_true(hash(WATCH_NODES_SERVICES, "x") ==
                hash(WATCH_NODES_SERVICES, ""));
    assert_true(hash(WATCH_LOCAL, "x") == hash(WATCH_LOCAL, ""));
    assert_true(hash(WATCH_LOCAL_SERVICE, "x") !=
                hash(WATCH_LOCAL_SERVICE, ""));
}

static void long_names_count_to_their_last_byte(void **state)
{
    (void)state;
    char name[1000];

    memset(name, 'a', sizeof name);
    for (size_t n = 250; n < 520; n++) {
        struct watch_key k = {WATCH_NODE, bytes_of(name, n)};
        uint64_t h = watch_hash(k);
        name[n - 1] = 'b';
        assert_true(watch_hash(k) != h);
        name[n - 1] = 'A';
        assert_true(watch_hash(k) == h);
        name[n - 1] = 'a';
    }
}

static void a_sorted_set_holds_each_hash_once(void **state)
{
    (void)state;
    struct watch_set s = {0};

    watch_set_sort(&s);
    assert_int_equal(s.n, 0);
    for (uint64_t i = 0; i < 3000; i++)
        watch_set_add(&s, i * 7 % 1000);
    watch_set_sort(&s);
    assert_int_equal(s.n, 1000);
    for (uint64_t i = 0; i < 1000; i++)
        assert_int_equal(s.v[i], i);
    s.all = true;
    watch_set_reset(&s);
    assert_int_equal(s.n, 0);
    assert_false(s.all);
    assert_true(s.cap <= 1024); /* one big version does not stay for ever */
    watch_set_add(&s, 5);
    watch_set_reset(&s);
    assert_true(s.cap > 0);
    watch_set_fini(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(hashes_differ_by_kind_and_name_but_not_by_case),
    cmocka_unit_test(kinds_without_a_name_ignore_it),
    cmocka_unit_test(long_names_count_to_their_last_byte),
    cmocka_unit_test(a_sorted_set_holds_each_hash_once),
};

RUN_TESTS(tests)
