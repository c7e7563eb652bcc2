/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "base/arena.h"

#include "fail_malloc.h"
#include "test.h"

static void pieces_are_aligned_and_apart(void **state)
{
    (void)state;
    struct arena a;
    unsigned char *piece[300];

    arena_init(&a, 0);
    for (size_t i = 0; i < 300; i++) {
        piece[i] = arena_alloc(&a, i * 37 % 5000);
        assert_non_null(piece[i]);
        assert_int_equal((uintptr_t)piece[i] % 16, 0);
        memset(piece[i], (int)i, i * 37 % 5000);
    }
    for (size_t i = 0; i < 300; i++)
        for (size_t k = 0; k < i * 37 % 5000; k++)
            assert_int_equal(piece[i][k], i & 255);
    arena_fini(&a);
}

static void reset_keeps_one_small_block(void **state)
{
    (void)state;
    struct arena a;
    long live = fail_malloc_live;

    arena_init(&a, 0);
    for (int round = 0; round < 3; round++) {
        void *first = arena_alloc(&a, 10);
        for (int i = 0; i < 1000; i++)
            assert_non_null(arena_alloc(&a, 1000));
        assert_true(a.used_bytes >= 1000000);
        arena_reset(&a);
        assert_int_equal(a.used_bytes, 0);
        assert_int_equal(fail_malloc_live - live, 1);
        assert_ptr_equal(arena_alloc(&a, 10), first);
        arena_reset(&a);
    }
    arena_fini(&a);
    assert_int_equal(fail_malloc_live, live);
    arena_fini(&a);
}

static void one_large_piece_is_not_kept(void **state)
{
    (void)state;
    struct arena a;
    long live = fail_malloc_live;

    arena_init(&a, 0);
    assert_non_null(arena_alloc(&a, 1000000));
    assert_non_null(arena_alloc(&a, 10));
    assert_non_null(arena_alloc(&a, 1000000));
    arena_reset(&a);
    assert_in_range(fail_malloc_live - live, 0, 1);
    arena_fini(&a);
    assert_int_equal(fail_malloc_live, live);
}

static void a_large_piece_does_not_cost_the_rest_of_a_block(void **state)
{
    (void)state;
    struct arena a;

    arena_init(&a, 0);
    char *before = arena_alloc(&a, 16);
    assert_non_null(arena_alloc(&a, 100000));
    assert_ptr_equal(arena_alloc(&a, 16), before + 16);
    arena_fini(&a);
}

static void the_limit_holds(void **state)
{
    (void)state;
    struct arena a;

    arena_init(&a, 1024);
    for (int i = 0; i < 64; i++)
        assert_non_null(arena_alloc(&a, 16));
    assert_null(arena_alloc(&a, 1));
    assert_null(arena_alloc(&a, 0));
    arena_reset(&a);
    assert_null(arena_alloc(&a, 1025));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_non_null(arena_alloc(&a, 1024));
    arena_fini(&a);

    arena_init(&a, SIZE_MAX);
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_alloc(&a, SIZE_MAX / 2 + 1));
    arena_fini(&a);
}

static void copies_end_in_nul(void **state)
{
    (void)state;
    struct arena a;

    arena_init(&a, 0);
    struct bytes v = arena_copy(&a, bytes_of("a\0b", 3));
    assert_int_equal(v.n, 3);
    assert_memory_equal(v.p, "a\0b", 4);
    v = arena_copy(&a, (struct bytes){NULL, 0});
    assert_int_equal(v.n, 0);
    assert_string_equal(arena_str(&a, bytes_str("abc")), "abc");
    assert_string_equal(arena_str(&a, (struct bytes){NULL, 0}), "");
    assert_string_equal(arena_printf(&a, "%s=%d", "k", 5), "k=5");
    assert_string_equal(arena_printf(&a, "%s", ""), "");
    char *z = arena_zalloc(&a, 100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(z[i], 0);
    arena_fini(&a);
}

static void zeroed_memory_is_zero_when_used_again(void **state)
{
    (void)state;
    struct arena a;

    arena_init(&a, 0);
    memset(arena_alloc(&a, 500), 0xff, 500);
    arena_reset(&a);
    char *z = arena_zalloc(&a, 500);
    for (int i = 0; i < 500; i++)
        assert_int_equal(z[i], 0);
    arena_fini(&a);
}

static void failures_are_told(void **state)
{
    (void)state;
    struct arena a;
    struct bytes v;

    arena_init(&a, 16);
    v = arena_copy(&a, bytes_str("0123456789abcdef")); /* and its NUL */
    assert_null(v.p);
    assert_int_equal(v.n, 0);
    assert_null(arena_str(&a, bytes_str("0123456789abcdef")));
    assert_null(arena_printf(&a, "%s", "0123456789abcdef"));
    assert_null(arena_zalloc(&a, 17));
    assert_non_null(arena_str(&a, bytes_str("0123456789abcde")));
    arena_fini(&a);

    arena_init(&a, 0);
    fail_malloc_in = 1;
    assert_null(arena_alloc(&a, 1));
    assert_true(fail_malloc_off());
    assert_non_null(arena_alloc(&a, 1));
    fail_malloc_in = 1;
    assert_null(arena_alloc(&a, 100000));
    assert_true(fail_malloc_off());
    assert_non_null(arena_alloc(&a, 100000));
    arena_fini(&a);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(pieces_are_aligned_and_apart),
    cmocka_unit_test(reset_keeps_one_small_block),
    cmocka_unit_test(one_large_piece_is_not_kept),
    cmocka_unit_test(a_large_piece_does_not_cost_the_rest_of_a_block),
    cmocka_unit_test(the_limit_holds),
    cmocka_unit_test(copies_end_in_nul),
    cmocka_unit_test(zeroed_memory_is_zero_when_used_again),
    cmocka_unit_test(failures_are_told),
};

RUN_TESTS(tests)
