/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "base/map.h"

#include <stdio.h>

#include "fail_malloc.h"
#include "test.h"

enum { KEYS = 500 };

static uint64_t next_random(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

struct thing {
    char key[16];
    int value;
};

static struct bytes key_of(const struct thing *t)
{
    return bytes_str(t->key);
}

/* Each walk meets each entry once. */
static void check(const struct map *m, void *const *model, struct thing *things)
{
    bool seen[KEYS] = {false};
    size_t at = 0, n = 0, want = 0;
    struct bytes key;
    void *value;

    while (map_next(m, &at, &key, &value)) {
        struct thing *t = value;
        size_t i = (size_t)(t - things) % KEYS;
        assert_false(seen[i]);
        seen[i] = true;
        assert_ptr_equal(model[i], t);
        assert_ptr_equal(key.p, t->key);
        n++;
    }
    assert_false(map_next(m, &at, NULL, NULL));
    for (size_t i = 0; i < KEYS; i++) {
        want += model[i] != NULL;
        assert_ptr_equal(map_get(m, key_of(&things[i])), model[i]);
    }
    assert_int_equal(n, want);
    assert_int_equal(m->n, want);
    assert_true(m->n * 4 <= m->cap * 3);
}

/* Each key exists twice, in different memory: replacing must also replace the
 * key's view. */
static void it_agrees_with_an_array(void **state)
{
    (void)state;
    static struct thing things[2 * KEYS];
    long live = fail_malloc_live;

    for (int i = 0; i < 2 * KEYS; i++)
        (void)snprintf(things[i].key, sizeof things[i].key, "k%d", i % KEYS);
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct map m = {0};
        void *model[KEYS] = {NULL};
        uint64_t s = seed;

        for (int op = 0; op < 40000; op++) {
            size_t i = next_random(&s) % KEYS;
            unsigned bias = op / 4000 % 2 ? 20 : 80;
            if (next_random(&s) % 100 < bias) {
                struct thing *t = &things[i + next_random(&s) % 2 * KEYS];
                assert_ok(map_put(&m, key_of(t), t));
                model[i] = t;
            } else {
                assert_ptr_equal(map_del(&m, key_of(&things[i])), model[i]);
                model[i] = NULL;
            }
            if (op % 500 == 0)
                check(&m, model, things);
        }
        check(&m, model, things);
        map_fini(&m);
        assert_null(map_get(&m, bytes_str("k1")));
    }
    assert_int_equal(fail_malloc_live, live);
}

static void an_empty_map_answers(void **state)
{
    (void)state;
    struct map m = {0};
    size_t at = 0;

    assert_null(map_get(&m, bytes_str("x")));
    assert_null(map_del(&m, bytes_str("x")));
    assert_false(map_next(&m, &at, NULL, NULL));
    map_fini(&m);
}

static void the_empty_key_is_a_key(void **state)
{
    (void)state;
    struct map m = {0};
    int v;

    assert_ok(map_put(&m, (struct bytes){NULL, 0}, &v));
    assert_ptr_equal(map_get(&m, bytes_str("")), &v);
    assert_ptr_equal(map_del(&m, bytes_str("")), &v);
    assert_int_equal(m.n, 0);
    map_fini(&m);
}

static void out_of_memory_changes_nothing(void **state)
{
    (void)state;
    static struct thing things[KEYS];
    struct map m = {0};
    void *model[KEYS] = {NULL};
    int failures = 0;

    for (int i = 0; i < KEYS; i++)
        (void)snprintf(things[i].key, sizeof things[i].key, "k%d", i);
    for (int i = 0; i < KEYS; i++) {
        fail_malloc_in = 1;
        enum err e = map_put(&m, key_of(&things[i]), &things[i]);
        if (fail_malloc_off()) {
            assert_int_equal(e, ERR_NOMEM);
            check(&m, model, things);
            e = map_put(&m, key_of(&things[i]), &things[i]);
            failures++;
        }
        assert_ok(e);
        model[i] = &things[i];
    }
    check(&m, model, things);
    assert_true(failures > 5);

    /* Replacing needs no memory, also in a full map. */
    for (int i = 0; i < KEYS; i++) {
        fail_malloc_in = 1;
        assert_ok(map_put(&m, key_of(&things[i]), &things[i]));
        assert_false(fail_malloc_off());
    }
    map_fini(&m);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_empty_map_answers),
    cmocka_unit_test(the_empty_key_is_a_key),
    cmocka_unit_test(it_agrees_with_an_array),
    cmocka_unit_test(out_of_memory_changes_nothing),
};

RUN_TESTS(tests)
