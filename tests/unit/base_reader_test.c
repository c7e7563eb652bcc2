/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "base/reader.h"

#include "base/buf.h"
#include "test.h"

static struct buf sample(void)
{
    struct buf b = {0};

    buf_putc(&b, (char)0xfe);
    buf_be32(&b, 0xfedcba98);
    buf_be64(&b, 0xfedcba9876543210);
    buf_varint(&b, 300);
    buf_lp(&b, bytes_str("text"));
    buf_lp(&b, (struct bytes){NULL, 0});
    buf_puts(&b, "end");
    return b;
}

static bool read_sample(struct bytes in)
{
    struct reader r = reader_over(in);
    bool same = read_u8(&r) == 0xfe;

    same &= read_be32(&r) == 0xfedcba98;
    same &= read_be64(&r) == 0xfedcba9876543210;
    same &= read_varint(&r) == 300;
    same &= bytes_is(read_lp(&r), "text");
    same &= read_lp(&r).n == 0;
    same &= bytes_is(read_bytes(&r, 3), "end");
    assert_int_equal(same, !r.bad);
    assert_int_equal(reader_left(&r), 0);
    return same;
}

static void what_was_written_is_read(void **state)
{
    (void)state;
    struct buf b = sample();

    assert_true(read_sample(buf_bytes(&b)));
    buf_fini(&b);
}

static void every_truncation_is_noticed(void **state)
{
    (void)state;
    struct buf b = sample();

    for (size_t n = 0; n < b.n; n++) {
        /* in memory of its own, so that a byte too far is seen */
        char *cut = malloc(n + !n);
        assert_non_null(cut);
        memcpy(cut, b.p, n);
        assert_false(read_sample(bytes_of(cut, n)));
        free(cut);
    }
    buf_fini(&b);
}

static void after_an_error_there_are_only_zeros(void **state)
{
    (void)state;
    struct reader r = reader_over(bytes_str("\xff\xff\xff\xff\xff\xff"));

    (void)read_be64(&r);
    assert_true(r.bad);
    assert_int_equal(read_u8(&r), 0);
    assert_int_equal(read_be32(&r), 0);
    assert_true(read_be64(&r) == 0);
    assert_true(read_varint(&r) == 0);
    assert_int_equal(read_bytes(&r, 1).n, 0);
    assert_int_equal(read_bytes(&r, 0).n, 0);
    assert_null(read_lp(&r).p);
    assert_true(r.bad);
    assert_int_equal(reader_left(&r), 0);
}

static void varints_read_back(void **state)
{
    (void)state;
    for (unsigned shift = 0; shift < 64; shift++) {
        for (int by = -1; by <= 1; by++) {
            uint64_t v = ((uint64_t)1 << shift) + (uint64_t)by;
            struct buf b = {0};
            buf_varint(&b, v);
            struct reader r = reader_over(buf_bytes(&b));
            assert_true(read_varint(&r) == v);
            assert_false(r.bad);
            assert_int_equal(reader_left(&r), 0);
            buf_fini(&b);
        }
    }
}

static void only_the_shortest_varint_is_good(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\x80",
        "\xff\xff",
        "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02", /* 2^64 */
        "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x01",
        "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    };
    /* zero, one and 2^56 with a zero byte too many */
    static const struct bytes padded[] = {
        {"\x80\x00", 2},
        {"\x81\x00", 2},
        {"\x80\x80\x80\x80\x80\x80\x80\x80\x81\x00", 10},
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct reader r = reader_over(bytes_str(bad[i]));
        assert_true(read_varint(&r) == 0);
        assert_true(r.bad);
        assert_int_equal(reader_left(&r), 0);
    }
    for (size_t i = 0; i < sizeof padded / sizeof padded[0]; i++) {
        struct reader r = reader_over(padded[i]);
        assert_true(read_varint(&r) == 0);
        assert_true(r.bad);
    }
}

static void a_length_beyond_the_input_is_bad(void **state)
{
    (void)state;
    static const uint64_t lengths[] = {4, 1000, UINT32_MAX, UINT64_MAX};

    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        struct buf b = {0};
        buf_varint(&b, lengths[i]);
        buf_puts(&b, "abc");
        struct reader r = reader_over(buf_bytes(&b));
        struct bytes v = read_lp(&r);
        assert_true(r.bad);
        assert_null(v.p);
        assert_int_equal(v.n, 0);
        buf_fini(&b);
    }
}

static void an_empty_input_has_nothing(void **state)
{
    (void)state;
    struct reader r = reader_over((struct bytes){NULL, 0});

    assert_int_equal(reader_left(&r), 0);
    assert_int_equal(read_bytes(&r, 0).n, 0);
    assert_false(r.bad);
    assert_int_equal(read_u8(&r), 0);
    assert_true(r.bad);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_was_written_is_read),
    cmocka_unit_test(every_truncation_is_noticed),
    cmocka_unit_test(after_an_error_there_are_only_zeros),
    cmocka_unit_test(varints_read_back),
    cmocka_unit_test(only_the_shortest_varint_is_good),
    cmocka_unit_test(a_length_beyond_the_input_is_bad),
    cmocka_unit_test(an_empty_input_has_nothing),
};

RUN_TESTS(tests)
