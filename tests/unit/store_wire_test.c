/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "store/etcd_wire.h"

#include "store/etcd_message.h"
#include "test.h"

#define BYTES(text) bytes_of(text, sizeof text - 1)

static void what_is_written_reads_the_same(void **state)
{
    struct buf b = {0};

    (void)state;
    wire_put_u64(&b, 1, 0);
    wire_put_u64(&b, 2, UINT64_MAX);
    size_t outer = wire_begin(&b, 3);
    wire_put_bytes(&b, 64, BYTES("a\0b"));
    wire_end(&b, outer);
    struct wire w = wire_over(buf_bytes(&b));

    assert_true(wire_next(&w));
    assert_int_equal(w.field, 1);
    assert_int_equal(wire_u64(&w), 0);
    assert_true(wire_next(&w));
    assert_true(wire_u64(&w) == UINT64_MAX);
    assert_true(wire_next(&w));
    struct wire inner = wire_enter(&w);

    assert_true(wire_next(&inner));
    assert_int_equal(inner.field, 64);
    assert_true(bytes_eq(wire_bytes(&inner), BYTES("a\0b")));
    assert_false(wire_next(&inner));
    wire_leave(&w, &inner);
    assert_false(wire_next(&w));
    assert_false(w.r.bad);
    buf_fini(&b);
}

/* A key, revisions, a value, a lease, and fields of later releases. */
static const char row[] = "\x12\x1d"
                          "\x0a\x01k"
                          "\x10\x05\x18\x07\x20\x01"
                          "\x2a\x02vv"
                          "\x30\x2a"
                          "\x79\x01\x02\x03\x04\x05\x06\x07\x08" /* 8 bytes */
                          "\x7d\x01\x02\x03\x04";                /* 4 bytes */

static void a_row_is_read_whatever_later_releases_add(void **state)
{
    struct etcd_range r = {0};

    (void)state;
    assert_int_equal(etcd_range_read(BYTES(row), &r, NULL, NULL), ERR_OK);
    assert_int_equal(r.rows, 1);
    assert_true(bytes_is(r.last_key, "k"));
}

static void every_truncation_of_a_row_is_refused(void **state)
{
    (void)state;
    for (size_t n = 1; n < sizeof row - 1; n++) {
        struct etcd_range r = {0};

        assert_int_equal(etcd_range_read(bytes_of(row, n), &r, NULL, NULL),
                         ERR_CORRUPT);
    }
}

static void what_is_of_another_type_is_refused(void **state)
{
    static const struct bytes bad[] = {
        {"\x08\x01", 2},             /* header: a number */
        {"\x1a\x01x", 3},            /* more: bytes */
        {"\x12\x02\x10\x05", 4},     /* a row without a key */
        {"\x07\x01", 2},             /* no such type */
        {"\x00\x01", 2},             /* field 0 */
        {"\x12\xff\xff\xff\x7f", 5}, /* longer than there is */
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct etcd_range r = {0};

        if (etcd_range_read(bad[i], &r, NULL, NULL) != ERR_CORRUPT)
            fail_msg("case %zu was taken", i);
    }
}

static void a_frame_is_taken_when_all_of_it_is_there(void **state)
{
    const char two[] = "\0\0\0\0\3abc\0\0\0\0\0";
    struct bytes m;
    bool bad;

    (void)state;
    for (size_t n = 0; n < 8; n++)
        assert_false(wire_frame(bytes_of(two, n), &m, &bad));
    assert_true(wire_frame(BYTES(two), &m, &bad));
    assert_true(bytes_is(m, "abc"));
    assert_true(wire_frame(bytes_skip(BYTES(two), 8), &m, &bad));
    assert_int_equal(m.n, 0);
    assert_false(wire_frame(BYTES("\1\0\0\0\1z"), &m, &bad));
    assert_true(bad); /* compressed */
}

static void a_frame_tells_the_length_of_its_message(void **state)
{
    struct buf b = {0};
    struct bytes m;
    bool bad;

    (void)state;
    for (int i = 0; i < 2; i++) { /* used again, it is empty again */
        wire_frame_begin(&b);
        for (int k = 0; k < 300; k++)
            wire_put_u64(&b, 1, 1);
        wire_frame_end(&b);
        assert_true(wire_frame(buf_bytes(&b), &m, &bad));
        assert_int_equal(m.n, 600);
    }
    buf_fini(&b);
}

/* Gateways of etcd 3.4, of 3.6, and one that answers with an object. */
static void an_error_is_read_as_each_release_writes_it(void **state)
{
    static const char *const texts[] = {
        "{\"error\":\"no\",\"message\":\"no\",\"code\":3}",
        "{\"code\":3,\"message\":\"no\",\"details\":[]}",
        "{\"error\":{\"grpc_code\":3,\"message\":\"no\"}}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_true(bytes_is(etcd_error_read(bytes_str(texts[i])), "no"));
    assert_int_equal(etcd_error_read(bytes_str("<html>")).n, 0);
    assert_int_equal(etcd_error_read(bytes_str("{\"code\":3}")).n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_reads_the_same),
        cmocka_unit_test(a_row_is_read_whatever_later_releases_add),
        cmocka_unit_test(every_truncation_of_a_row_is_refused),
        cmocka_unit_test(what_is_of_another_type_is_refused),
        cmocka_unit_test(a_frame_is_taken_when_all_of_it_is_there),
        cmocka_unit_test(a_frame_tells_the_length_of_its_message),
        cmocka_unit_test(an_error_is_read_as_each_release_writes_it),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
