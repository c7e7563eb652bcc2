/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "http/request.h"

#include "test.h"

static void escapes_are_decoded(void **state)
{
    (void)state;
    struct arena a;
    struct bytes got;

    arena_init(&a, 0);
    assert_ok(http_decode(&a, bytes_str("a%2Fb%2fc+%25"), false, &got));
    assert_bytes(got, "a/b/c+%");
    assert_ok(http_decode(&a, bytes_str("a+b%2B"), true, &got));
    assert_bytes(got, "a b+");
    assert_ok(http_decode(&a, bytes_str(""), true, &got));
    assert_int_equal(got.n, 0);
    assert_ok(http_decode(&a, bytes_str("%00"), true, &got));
    assert_int_equal(got.n, 1);
    assert_int_equal(got.p[0], 0);
    arena_fini(&a);
}

static void malformed_escapes_are_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {"%",   "a%",   "%4",  "%zz",
                                        "%4g", "%%41", "%+1", "%0x"};
    struct arena a;
    struct bytes got;

    arena_init(&a, 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(http_decode(&a, bytes_str(cases[i]), false, &got),
                         ERR_BAD);
    arena_fini(&a);
}

static void lack_of_memory_is_reported(void **state)
{
    (void)state;
    struct arena a;
    struct bytes got;

    arena_init(&a, 16);
    assert_int_equal(
        http_decode(&a, bytes_str("a path longer than 16"), false, &got),
        ERR_NOMEM);
    assert_false(
        http_clean_path(&a, bytes_str("/a//path longer than 16"), &got));
    arena_fini(&a);
}

static void every_byte_survives_encoding_and_decoding(void **state)
{
    (void)state;
    char all[256];
    struct arena a;
    struct buf b = {0};
    struct bytes got;

    for (int i = 0; i < 256; i++)
        all[i] = (char)i;
    arena_init(&a, 0);
    http_encode(&b, bytes_of(all, 256));
    assert_ok(http_decode(&a, buf_bytes(&b), true, &got));
    assert_true(bytes_eq(got, bytes_of(all, 256)));
    buf_reset(&b);
    http_encode(&b, bytes_str("aZ09-._~ /+\xc3"));
    assert_bytes(buf_bytes(&b), "aZ09-._~%20%2F%2B%C3");
    buf_fini(&b);
    arena_fini(&a);
}

static void paths_are_cleaned_as_go_does(void **state)
{
    (void)state;
    static const struct {
        const char *path, *clean; /* NULL: clean already */
    } cases[] = {
        {"/", NULL},
        {"/v1/kv/a", NULL},
        {"/v1/kv/a/", NULL},
        {"/...", NULL},
        {"/a/..b/.c", NULL},
        {"", "/"},
        {"a", "/a"},
        {"//", "/"},
        {"//v1//kv///a//", "/v1/kv/a/"},
        {"/v1/./kv", "/v1/kv"},
        {"/v1/../kv", "/kv"},
        {"/v1/kv/..", "/v1"},
        {"/v1/kv/.", "/v1/kv"},
        {"/v1/kv/../", "/v1/"},
        {"/../../etc", "/etc"},
        {"/..", "/"},
    };
    struct arena a;
    struct bytes got;

    arena_init(&a, 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool differs = http_clean_path(&a, bytes_str(cases[i].path), &got);
        if (differs != (cases[i].clean != NULL))
            fail_msg("%s: %d", cases[i].path, differs);
        if (differs)
            assert_bytes(got, cases[i].clean);
    }
    arena_fini(&a);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(escapes_are_decoded),
    cmocka_unit_test(malformed_escapes_are_refused),
    cmocka_unit_test(lack_of_memory_is_reported),
    cmocka_unit_test(every_byte_survives_encoding_and_decoding),
    cmocka_unit_test(paths_are_cleaned_as_go_does),
};

RUN_TESTS(tests)
