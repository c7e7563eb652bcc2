/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "test.h"

#include "catalog/record.h"

static void assert_key(void (*put)(struct buf *, struct bytes, struct bytes),
                       struct bytes a, struct bytes b, const char *want)
{
    struct buf key = {0};
    put(&key, a, b);
    assert_bytes(buf_bytes(&key), want);
    buf_fini(&key);
}

static void names_are_folded_and_escaped(void **state)
{
    (void)state;
    struct buf b = {0};

    key_node(&b, bytes_str("Web-1.Example"));
    assert_bytes(buf_bytes(&b), "n/web-1.example");
    buf_reset(&b);
    key_node_id(&b, bytes_str("ABCDEF00-0000-0000-0000-000000000000"));
    assert_bytes(buf_bytes(&b), "i/abcdef00-0000-0000-0000-000000000000");
    buf_reset(&b);
    key_services_of(&b, bytes_str("N/1"));
    assert_bytes(buf_bytes(&b), "s/n%2f1/");
    buf_reset(&b);
    key_checks_of(&b, bytes_str("n"));
    assert_bytes(buf_bytes(&b), "c/n/");
    buf_fini(&b);

    assert_key(key_service, bytes_str("a%b"), bytes_str("../X y"),
               "s/a%25b/..%2fx%20y");
    assert_key(key_check, bytes_str("\xc3\x84"), bytes_of("\0\x1f!", 3),
               "c/\xc3\x84/%00%1f!");
}

static void no_name_looks_like_anothers_key(void **state)
{
    (void)state;
    struct buf x = {0}, y = {0};

    key_service(&x, bytes_str("a/b"), bytes_str("c"));
    key_service(&y, bytes_str("a"), bytes_str("b/c"));
    assert_false(bytes_eq(buf_bytes(&x), buf_bytes(&y)));
    buf_reset(&y);
    key_services_of(&y, bytes_str("a"));
    assert_false(bytes_starts(buf_bytes(&x), buf_bytes(&y)));
    buf_fini(&x);
    buf_fini(&y);
}

static void keys_come_apart_as_they_were_put_together(void **state)
{
    (void)state;
    char scratch[64];
    enum record_kind kind;
    struct bytes a, b;

    assert_ok(
        key_parse(bytes_str("s/a%25b/..%2fx%20y"), scratch, &kind, &a, &b));
    assert_int_equal(kind, RECORD_SERVICE);
    assert_bytes(a, "a%b");
    assert_bytes(b, "../x y");
    assert_ok(key_parse(bytes_str("c/n/%00"), scratch, &kind, &a, &b));
    assert_int_equal(kind, RECORD_CHECK);
    assert_true(bytes_eq(b, bytes_of("", 1)));
    assert_ok(key_parse(bytes_str("n/x"), scratch, &kind, &a, &b));
    assert_int_equal(kind, RECORD_NODE);
    assert_bytes(a, "x");
    assert_int_equal(b.n, 0);
    assert_ok(key_parse(bytes_str("i/00"), scratch, &kind, &a, &b));
    assert_int_equal(kind, RECORD_NODE_ID);
    assert_ok(key_parse(bytes_str("g/web%2f1"), scratch, &kind, &a, &b));
    assert_int_equal(kind, RECORD_GUARD);
    assert_bytes(a, "web/1");
    assert_ok(key_parse(bytes_str("u/:"), scratch, &kind, &a, &b));
    assert_int_equal(kind, RECORD_QUERY_NAME);
    assert_int_equal(a.n, 0);
    assert_ok(key_parse(bytes_str("u/::a%2f"), scratch, &kind, &a, &b));
    assert_bytes(a, ":a/");
    assert_ok(key_parse(bytes_str("x/n1"), scratch, &kind, &a, &b));
    assert_int_equal(kind, RECORD_COORDINATE);
}

static void other_spellings_are_no_keys(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",      "n",     "n/",      "y/a",    "na",      "n/a/b",   "n/A",
        "n/a b", "n/%41", "n/%2F",   "n/%2",   "n/%",     "n/%zz",   "s/a",
        "s/a/",  "s//b",  "s/a/b/c", "s/a/b/", "c/a",     "c/a/%7f", "i/",
        "i/a/b", "n/a\n", "/",       "s/%2/b", "n/%2%66", "u/",      "u/a",
        "q/",    "q/a/b", "x/",      "u/:A",
    };
    char scratch[64];
    enum record_kind kind;
    struct bytes a, b;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (key_parse(bytes_str(bad[i]), scratch, &kind, &a, &b) != ERR_BAD)
            fail_msg("\"%s\" was taken for a key", bad[i]);
    assert_int_equal(key_parse(bytes_of("n/\0", 3), scratch, &kind, &a, &b),
                     ERR_BAD);
    assert_int_equal(key_parse(bytes_of("n/%\0a", 5), scratch, &kind, &a, &b),
                     ERR_BAD);
}

/* Every byte has one spelling, and it is read back. */
static void every_byte_has_exactly_one_spelling(void **state)
{
    (void)state;
    char scratch[16];
    enum record_kind kind;
    struct bytes a, b;

    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        struct buf key = {0};
        key_node(&key, bytes_of(&byte, 1));
        assert_ok(key_parse(buf_bytes(&key), scratch, &kind, &a, &b));
        assert_true(bytes_eq_fold(a, bytes_of(&byte, 1)));
        if (key.n == 3) { /* plain: then it must not be escaped */
            char escaped[8];
            (void)snprintf(escaped, sizeof escaped, "n/%%%02x", c);
            assert_int_equal(
                key_parse(bytes_str(escaped), scratch, &kind, &a, &b), ERR_BAD);
        }
        buf_fini(&key);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(names_are_folded_and_escaped),
    cmocka_unit_test(no_name_looks_like_anothers_key),
    cmocka_unit_test(keys_come_apart_as_they_were_put_together),
    cmocka_unit_test(other_spellings_are_no_keys),
    cmocka_unit_test(every_byte_has_exactly_one_spelling),
};

RUN_TESTS(tests)
