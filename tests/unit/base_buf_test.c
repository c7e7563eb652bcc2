/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "base/buf.h"

#include "fail_malloc.h"
#include "test.h"

static void what_is_put_comes_out(void **state)
{
    (void)state;
    struct buf b = {0};

    buf_puts(&b, "n=");
    buf_u64(&b, 0);
    buf_putc(&b, ' ');
    buf_u64(&b, UINT64_MAX);
    buf_putc(&b, ' ');
    buf_i64(&b, INT64_MIN);
    buf_putc(&b, ' ');
    buf_i64(&b, -7);
    buf_putc(&b, ' ');
    buf_i64(&b, INT64_MAX);
    buf_printf(&b, " %s-%03d", "x", 7);
    buf_put_fold(&b, bytes_str(" AZaz@[`{\xc3\x84"));
    buf_put(&b, (struct bytes){NULL, 0});
    buf_put_fold(&b, (struct bytes){NULL, 0});
    buf_printf(&b, "%s", "");
    assert_bytes(buf_bytes(&b),
                 "n=0 18446744073709551615 -9223372036854775808 -7 "
                 "9223372036854775807 x-007 azaz@[`{\xc3\x84");
    assert_false(b.bad);
    buf_fini(&b);
    assert_int_equal(buf_bytes(&b).n, 0);
}

static void numbers_have_network_order(void **state)
{
    (void)state;
    struct buf b = {0};

    buf_be32(&b, 0x01020384);
    buf_be64(&b, 0x1112131415161788);
    assert_int_equal(b.n, 12);
    assert_memory_equal(b.p, "\x01\x02\x03\x84\x11\x12\x13\x14\x15\x16\x17\x88",
                        12);
    buf_fini(&b);
}

static void varints_are_leb128(void **state)
{
    (void)state;
    struct buf b = {0};

    buf_varint(&b, 0);
    buf_varint(&b, 127);
    buf_varint(&b, 128);
    buf_varint(&b, 300);
    buf_lp(&b, bytes_str("ab"));
    buf_varint(&b, UINT64_MAX);
    assert_int_equal(b.n, 1 + 1 + 2 + 2 + 3 + 10);
    assert_memory_equal(b.p,
                        "\x00\x7f\x80\x01\xac\x02\x02"
                        "ab\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
                        19);
    buf_fini(&b);
}

static void it_grows_as_needed(void **state)
{
    (void)state;
    struct buf b = {0};
    static char long_text[3000];

    for (unsigned i = 0; i < 100000; i++)
        buf_putc(&b, (char)('a' + i % 26));
    memset(long_text, 'z', sizeof long_text - 1);
    buf_printf(&b, "%s", long_text);
    assert_int_equal(b.n, 100000 + sizeof long_text - 1);
    for (unsigned i = 0; i < 100000; i++)
        assert_int_equal(b.p[i], 'a' + i % 26);
    assert_memory_equal(b.p + 100000, long_text, sizeof long_text - 1);
    buf_reset(&b);
    assert_int_equal(b.n, 0);
    assert_true(b.cap >= 100000);
    buf_fini(&b);
}

static void the_limit_is_exact_and_the_error_sticks(void **state)
{
    (void)state;

    for (size_t max = 1; max < 300; max++) {
        struct buf b;
        buf_init(&b, max);
        for (size_t i = 0; i < max; i++)
            buf_putc(&b, 'x');
        assert_false(b.bad);
        assert_int_equal(b.n, max);
        buf_putc(&b, 'y');
        assert_true(b.bad);
        assert_int_equal(b.n, max);
        assert_int_equal(b.p[max - 1], 'x');
        b.n--; /* even where there would be room again */
        buf_putc(&b, 'y');
        buf_u64(&b, 1);
        buf_printf(&b, "%d", 1);
        buf_put_fold(&b, bytes_str("Y"));
        assert_null(buf_room(&b, 1));
        assert_int_equal(b.n, max - 1);
        buf_reset(&b);
        assert_false(b.bad);
        buf_printf(&b, "%*s", (int)max, "");
        assert_false(b.bad);
        assert_int_equal(b.n, max);
        buf_printf(&b, "y");
        assert_true(b.bad);
        buf_fini(&b);
    }
}

static void a_write_fits_whole_or_not_at_all(void **state)
{
    (void)state;
    struct buf b;

    buf_init(&b, 10);
    buf_puts(&b, "12345678");
    buf_puts(&b, "abc");
    assert_true(b.bad);
    assert_bytes(buf_bytes(&b), "12345678");
    buf_fini(&b);
}

static void room_is_for_the_caller_to_fill(void **state)
{
    (void)state;
    struct buf b = {0};

    char *to = buf_room(&b, 1000);
    assert_non_null(to);
    memset(to, 'r', 1000);
    b.n += 1000;
    to = buf_room(&b, 0);
    assert_ptr_equal(to, b.p + 1000);
    assert_null(buf_room(&b, SIZE_MAX));
    assert_true(b.bad);
    buf_reset(&b);
    assert_null(buf_room(&b, SIZE_MAX / 2 + 1));
    assert_true(b.bad);
    buf_fini(&b);
}

static void taking_leaves_it_empty(void **state)
{
    (void)state;
    struct buf b;
    size_t n = 99;

    buf_init(&b, 8);
    char *empty = buf_take(&b, &n);
    assert_string_equal(empty, "");
    assert_int_equal(n, 0);
    free(empty);

    buf_puts(&b, "12345678");
    char *full = buf_take(&b, NULL);
    assert_string_equal(full, "12345678");
    assert_int_equal(b.n, 0);
    assert_null(b.p);
    free(full);

    buf_puts(&b, "123456789");
    assert_null(buf_take(&b, &n));
    assert_false(b.bad);
    buf_puts(&b, "again");
    assert_bytes(buf_bytes(&b), "again");
    buf_fini(&b);
}

static void out_of_memory_is_one_more_reason(void **state)
{
    (void)state;
    long live = fail_malloc_live;
    struct buf b = {0};

    fail_malloc_in = 1;
    buf_puts(&b, "x");
    assert_true(fail_malloc_off());
    assert_true(b.bad);
    assert_int_equal(b.n, 0);
    buf_reset(&b);

    buf_puts(&b, "kept");
    while (b.n < b.cap)
        buf_putc(&b, '.');
    size_t n = b.n;
    fail_malloc_in = 1;
    buf_puts(&b, "lost");
    assert_true(fail_malloc_off());
    assert_true(b.bad);
    assert_int_equal(b.n, n);
    assert_memory_equal(b.p, "kept.", 5);
    buf_reset(&b);

    buf_puts(&b, "taken");
    fail_malloc_in = 1; /* what would shrink it */
    char *p = buf_take(&b, NULL);
    assert_true(fail_malloc_off());
    assert_string_equal(p, "taken");
    free(p);

    fail_malloc_in = 1;
    assert_null(buf_take(&b, NULL));
    assert_true(fail_malloc_off());
    assert_int_equal(fail_malloc_live, live);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_is_put_comes_out),
    cmocka_unit_test(numbers_have_network_order),
    cmocka_unit_test(varints_are_leb128),
    cmocka_unit_test(it_grows_as_needed),
    cmocka_unit_test(the_limit_is_exact_and_the_error_sticks),
    cmocka_unit_test(a_write_fits_whole_or_not_at_all),
    cmocka_unit_test(room_is_for_the_caller_to_fill),
    cmocka_unit_test(taking_leaves_it_empty),
    cmocka_unit_test(out_of_memory_is_one_more_reason),
};

RUN_TESTS(tests)
