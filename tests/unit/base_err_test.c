/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "base/err.h"

#include <string.h>

#include "test.h"

static void every_error_has_text_and_status(void **state)
{
    (void)state;
#define X(name, text, http, code)                                              \
    assert_string_equal(err_text(name), text);                                 \
    assert_int_equal(err_http_status(name), http);
    ERR_TABLE(X)
#undef X
}

static void a_number_outside_the_table_is_still_an_error(void **state)
{
    (void)state;
    assert_int_equal(err_http_status((enum err)1000), 400);
    assert_non_null(err_text((enum err)1000));
}

static void texts_are_set_and_prefixed(void **state)
{
    (void)state;
    struct errtext t = {0};

    errtext_set(&t, "%d is over %d", 7, 5);
    assert_string_equal(t.s, "7 is over 5");
    errtext_prefix(&t, "line %d: ", 3);
    assert_string_equal(t.s, "line 3: 7 is over 5");
    errtext_set(&t, "%s", "");
    assert_string_equal(t.s, "");
    errtext_prefix(&t, "alone");
    assert_string_equal(t.s, "alone");
}

static void nobody_needs_to_want_the_text(void **state)
{
    (void)state;
    errtext_set(NULL, "%s", "x");
    errtext_prefix(NULL, "%s", "x");
}

static void fill(char *to, size_t n)
{
    memset(to, 'x', n);
    to[n] = '\0';
}

static void too_long_ends_in_dots(void **state)
{
    (void)state;
    struct errtext t;
    char s[400];
    size_t max = sizeof t.s - 1;

    for (size_t n = max - 5; n < max + 5; n++) {
        fill(s, n);
        errtext_set(&t, "%s", s);
        assert_int_equal(strlen(t.s), n < max ? n : max);
        assert_int_equal(strcmp(t.s + strlen(t.s) - 3, "...") == 0, n > max);
    }
    for (size_t n = max - 5; n < max + 5; n++) {
        fill(s, n - 10);
        errtext_set(&t, "%s", s);
        errtext_prefix(&t, "%s", "0123456789");
        assert_int_equal(strlen(t.s), n < max ? n : max);
        assert_memory_equal(t.s, "0123456789xxx", 13);
        assert_int_equal(strcmp(t.s + strlen(t.s) - 3, "...") == 0, n > max);
    }
    fill(s, 300);
    errtext_prefix(&t, "%s", s);
    assert_int_equal(strlen(t.s), max);
    assert_string_equal(t.s + max - 3, "...");
}

static void a_cut_does_not_split_a_character(void **state)
{
    (void)state;

    for (int lead = 0; lead < 4; lead++) {
        struct errtext t;
        char s[400];
        size_t n = (size_t)lead;

        memset(s, 'x', n);
        while (n + 3 < sizeof s) {
            memcpy(s + n, "\xe2\x82\xac", 3); /* euro sign */
            n += 3;
        }
        s[n] = '\0';
        errtext_set(&t, "%s", s);
        assert_true(bytes_utf8(bytes_str(t.s)));
        assert_true(strlen(t.s) > sizeof t.s - 5);
        assert_true(bytes_ends(bytes_str(t.s), bytes_str("...")));
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_error_has_text_and_status),
    cmocka_unit_test(a_number_outside_the_table_is_still_an_error),
    cmocka_unit_test(texts_are_set_and_prefixed),
    cmocka_unit_test(nobody_needs_to_want_the_text),
    cmocka_unit_test(too_long_ends_in_dots),
    cmocka_unit_test(a_cut_does_not_split_a_character),
};

RUN_TESTS(tests)
