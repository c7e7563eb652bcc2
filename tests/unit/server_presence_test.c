/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/presence.h"

#include "test.h"

static void note(void *ctx, struct bytes name, uint64_t ago_ms)
{
    buf_printf(ctx, "%.*s=%llu;", BYTES_ARG(name), (unsigned long long)ago_ms);
}

static void reads_as(const char *text, const char *want)
{
    struct buf got = {0};
    presence_read(bytes_str(text), note, &got);
    assert_bytes(buf_bytes(&got), want);
    buf_fini(&got);
}

static void who_was_heard_is_told_with_when(void **state)
{
    (void)state;
    struct presence *p = presence_new();
    struct buf text = {0}, got = {0};
    assert_true(presence_heard(p, bytes_str("a b/\n%"), 1000));
    assert_true(presence_heard(p, bytes_str("a b/\n%"), 1400));
    presence_write(p, 1500, &text);
    presence_read(buf_bytes(&text), note, &got);
    assert_bytes(buf_bytes(&got), "a b/\n%=100;");
    buf_fini(&text);
    buf_fini(&got);
    presence_free(p);
}

static void who_is_unheard_for_long_is_forgotten(void **state)
{
    (void)state;
    struct presence *p = presence_new();
    struct buf text = {0};
    assert_true(presence_heard(p, bytes_str("old"), 0));
    assert_true(presence_heard(p, bytes_str("new"), PRESENCE_KEPT_MS));
    presence_write(p, PRESENCE_KEPT_MS + 1, &text);
    assert_bytes(buf_bytes(&text), "1 new\n");
    buf_fini(&text);
    presence_free(p);
}

static void lines_that_are_none_are_left_out(void **state)
{
    (void)state;
    reads_as("", "");
    reads_as("5 a\n7 b", "a=5;b=7;");
    reads_as("x a\n-1 b\n5\n5 \n 5 c\n9 d%zz\n8 e%20\n", "e =8;");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(who_was_heard_is_told_with_when),
    cmocka_unit_test(who_is_unheard_for_long_is_forgotten),
    cmocka_unit_test(lines_that_are_none_are_left_out),
};

RUN_TESTS(tests)
