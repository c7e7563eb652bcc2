/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "http/response.h"

#include "test.h"

static void a_head_is_written_line_by_line(void **state)
{
    (void)state;
    struct buf b = {0};

    http_head_begin(&b, 200);
    http_head_line(&b, "Content-Type", bytes_str("application/json"));
    http_head_u64(&b, "X-Consul-Index", UINT64_MAX);
    http_head_end(&b, 12, true, false);
    assert_bytes(buf_bytes(&b), "HTTP/1.1 200 OK\r\n"
                                "Content-Type: application/json\r\n"
                                "X-Consul-Index: 18446744073709551615\r\n"
                                "Content-Length: 12\r\n\r\n");
    buf_fini(&b);
}

static void the_connection_is_named_only_against_the_default(void **state)
{
    (void)state;
    static const struct {
        bool keep_alive, http_1_0;
        const char *want;
    } cases[] = {
        {true, false, "Content-Length: 0\r\n\r\n"},
        {false, false, "Content-Length: 0\r\nConnection: close\r\n\r\n"},
        {false, true, "Content-Length: 0\r\nConnection: close\r\n\r\n"},
        {true, true, "Content-Length: 0\r\nConnection: keep-alive\r\n\r\n"},
    };

    for (size_t i = 0; i < 4; i++) {
        struct buf b = {0};
        http_head_end(&b, 0, cases[i].keep_alive, cases[i].http_1_0);
        assert_bytes(buf_bytes(&b), cases[i].want);
        buf_fini(&b);
    }
}

static void a_value_cannot_split_the_head(void **state)
{
    (void)state;
    struct buf b = {0};

    http_head_line(&b, "Location",
                   bytes_of("\r\n/a\r\nX: y\0\tz\x7f\xc3\xa9\n", 17));
    assert_bytes(buf_bytes(&b), "Location: /aX: y\tz\xc3\xa9\r\n");
    buf_fini(&b);
}

static void every_status_of_the_errors_has_a_reason(void **state)
{
    (void)state;
    for (int e = ERR_OK; e <= ERR_CORRUPT; e++)
        assert_string_not_equal(http_reason(err_http_status((enum err)e)), "");
    assert_string_equal(http_reason(404), "Not Found");
    assert_string_equal(http_reason(299), "");

    struct buf b = {0};
    http_head_begin(&b, 299);
    assert_bytes(buf_bytes(&b), "HTTP/1.1 299 \r\n");
    buf_fini(&b);
}

/* Bytes that compress somewhat, from a fixed generator. */
static void put_noise(struct buf *b, size_t n)
{
    uint32_t x = 1;

    while (n--) {
        x = x * 1664525 + 1013904223;
        buf_putc(b, (char)('a' + (x >> 28)));
    }
}

static void gzip_is_undone_by_gunzip_for_every_size(void **state)
{
    (void)state;
    static const size_t sizes[] = {0,     1,     2,     100,   511,
                                   512,   513,   1000,  4096,  32767,
                                   32768, 32769, 65536, 300000};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct buf plain = {0};
        struct buf zipped = {0};
        struct buf again = {0};
        put_noise(&plain, sizes[i]);
        assert_ok(http_gzip(buf_bytes(&plain), &zipped));
        assert_ok(http_gunzip(buf_bytes(&zipped), &again));
        assert_true(bytes_eq(buf_bytes(&plain), buf_bytes(&again)));
        buf_fini(&plain);
        buf_fini(&zipped);
        buf_fini(&again);
    }
}

static void gzip_appends_and_is_always_the_same(void **state)
{
    (void)state;
    struct buf a = {0};
    struct buf b = {0};

    buf_puts(&a, "before");
    assert_ok(http_gzip(bytes_str("hello hello hello"), &a));
    assert_ok(http_gzip(bytes_str("hello hello hello"), &b));
    assert_true(bytes_eq(bytes_skip(buf_bytes(&a), 6), buf_bytes(&b)));
    assert_memory_equal(b.p, "\x1f\x8b\x08\x00\x00\x00\x00\x00",
                        8); /* no time */
    buf_fini(&a);
    buf_fini(&b);
}

static void gunzip_refuses_what_is_cut_or_followed(void **state)
{
    (void)state;
    struct buf zipped = {0};
    struct buf out = {0};

    assert_ok(http_gzip(bytes_str("hello hello hello"), &zipped));
    for (size_t n = 0; n < zipped.n; n++) {
        buf_reset(&out);
        assert_int_equal(http_gunzip(bytes_head(buf_bytes(&zipped), n), &out),
                         ERR_BAD);
    }
    buf_putc(&zipped, 'x');
    buf_reset(&out);
    assert_int_equal(http_gunzip(buf_bytes(&zipped), &out), ERR_BAD);
    buf_reset(&out);
    assert_int_equal(http_gunzip(bytes_str("plain text"), &out), ERR_BAD);
    buf_fini(&zipped);
    buf_fini(&out);
}

static void gunzip_stops_at_the_limit(void **state)
{
    (void)state;
    struct buf plain = {0};
    struct buf zipped = {0};

    for (int i = 0; i < 100000; i++)
        buf_putc(&plain, 'a');
    assert_ok(http_gzip(buf_bytes(&plain), &zipped));
    for (size_t max = 99999; max <= 100000; max++) {
        struct buf out;
        buf_init(&out, max);
        assert_int_equal(http_gunzip(buf_bytes(&zipped), &out),
                         max == 100000 ? ERR_OK : ERR_LIMIT);
        assert_true(out.n <= max);
        buf_fini(&out);
    }
    buf_fini(&plain);
    buf_fini(&zipped);
}

static void gzip_reports_lack_of_room(void **state)
{
    (void)state;
    struct buf out;

    buf_init(&out, 10);
    assert_int_equal(http_gzip(bytes_str("hello"), &out), ERR_NOMEM);
    assert_int_equal(out.n, 0);
    buf_fini(&out);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_head_is_written_line_by_line),
    cmocka_unit_test(the_connection_is_named_only_against_the_default),
    cmocka_unit_test(a_value_cannot_split_the_head),
    cmocka_unit_test(every_status_of_the_errors_has_a_reason),
    cmocka_unit_test(gzip_is_undone_by_gunzip_for_every_size),
    cmocka_unit_test(gzip_appends_and_is_always_the_same),
    cmocka_unit_test(gunzip_refuses_what_is_cut_or_followed),
    cmocka_unit_test(gunzip_stops_at_the_limit),
    cmocka_unit_test(gzip_reports_lack_of_room),
};

RUN_TESTS(tests)
