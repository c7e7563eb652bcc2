/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "http/bundle.h"

#include <stdio.h>

#include "http/response.h"
#include "test.h"

enum { ROWS = 50 };

static void make(struct buf *out, size_t rows)
{
    struct bundle_meta m = {
        .index = 4711,
        .wall_ms = 1700000000000,
        .node_id = bytes_str("11111111-2222-3333-4444-555555555555"),
        .address = bytes_str("127.0.0.1:8300"),
    };
    struct buf state = {0};
    char key[16];

    bundle_begin(&state, m.index);
    for (size_t i = 0; i < rows; i++) {
        snprintf(key, sizeof key, "n/%zu", i);
        bundle_row(&state, bytes_str(key), bytes_of("v\0\xff", i % 4));
    }
    assert_ok(bundle_pack(&state, &m, out));
    buf_fini(&state);
}

static void what_was_packed_is_read_back(void **state)
{
    struct buf file = {0};
    struct bundle b;
    struct bytes key, value;
    struct errtext t = {{0}};
    size_t at = 0, n = 0;
    char want[16];

    (void)state;
    make(&file, ROWS);
    assert_ok(bundle_open(buf_bytes(&file), &b, &t));
    assert_int_equal(b.rows, ROWS);
    assert_int_equal(b.meta.index, 4711);
    assert_bytes(b.meta.id, "2-4711-1700000000000");
    for (; bundle_next(&b, &at, &key, &value); n++) {
        snprintf(want, sizeof want, "n/%zu", n);
        assert_bytes(key, want);
        assert_int_equal(value.n, n % 4);
    }
    assert_int_equal(n, ROWS);
    bundle_fini(&b);
    buf_fini(&file);
}

static void an_empty_catalog_is_a_snapshot_too(void **state)
{
    struct buf file = {0};
    struct bundle b;
    struct bytes key, value;
    size_t at = 0;

    (void)state;
    make(&file, 0);
    assert_ok(bundle_open(buf_bytes(&file), &b, NULL));
    assert_int_equal(b.rows, 0);
    assert_false(bundle_next(&b, &at, &key, &value));
    bundle_fini(&b);
    buf_fini(&file);
}

static void refused(struct bytes archive)
{
    struct errtext t = {{0}};
    struct bundle b;

    assert_int_not_equal(bundle_open(archive, &b, &t), ERR_OK);
    assert_true(t.s[0] != '\0');
    assert_null(b.tar.p);
}

static void a_file_that_is_cut_off_is_refused(void **state)
{
    struct buf file = {0};

    (void)state;
    make(&file, ROWS);
    for (size_t n = 0; n < file.n; n++)
        refused(bytes_of(file.p, n));
    buf_fini(&file);
}

/* Every byte that means anything, changed. */
static void a_file_with_one_wrong_byte_is_refused(void **state)
{
    struct buf file = {0}, tar = {0}, again = {0};

    (void)state;
    make(&file, 3);
    assert_ok(http_gunzip(buf_bytes(&file), &tar));
    for (size_t i = 0; i < tar.n; i++) {
        size_t in = i % 512;
        /* Its sum covers it, but for a blank behind the sum. */
        bool header = i < 512 && in != 155;

        tar.p[i] ^= 1;
        buf_reset(&again);
        assert_ok(http_gzip(buf_bytes(&tar), &again));
        struct bundle b;
        struct errtext t = {{0}};
        enum err e = bundle_open(buf_bytes(&again), &b, &t);

        if (header && e == ERR_OK)
            fail_msg("byte %zu of the first header does not matter", in);
        if (e == ERR_OK) { /* padding, or the end of the archive */
            assert_int_equal(b.rows, 3);
            bundle_fini(&b);
        }
        tar.p[i] ^= 1;
    }
    buf_fini(&file);
    buf_fini(&tar);
    buf_fini(&again);
}

static void what_is_no_snapshot_says_so(void **state)
{
    static const char tar_of_other[] = "hello";
    struct buf file = {0};

    (void)state;
    refused(bytes_str(""));
    refused(bytes_str("{}"));
    assert_ok(http_gzip(bytes_str(tar_of_other), &file));
    refused(buf_bytes(&file));
    buf_fini(&file);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_was_packed_is_read_back),
    cmocka_unit_test(an_empty_catalog_is_a_snapshot_too),
    cmocka_unit_test(a_file_that_is_cut_off_is_refused),
    cmocka_unit_test(a_file_with_one_wrong_byte_is_refused),
    cmocka_unit_test(what_is_no_snapshot_says_so),
};

RUN_TESTS(tests)
