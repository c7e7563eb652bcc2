/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "http_service.h"

#include "http/json_out.h"
#include "http/request.h"
#include "http/response.h"

#include "fail_malloc.h"

static const struct http_limits limits;

/* Feeds piece by piece until the request is whole or refused. */
static enum http_in_state feed(struct http_in *in, struct bytes stream)
{
    while (stream.n && http_in_state(in) != HTTP_IN_REFUSED &&
           http_in_state(in) != HTTP_IN_DONE)
        stream = bytes_skip(stream, http_in_feed(in, bytes_head(stream, 700)));
    return http_in_state(in);
}

/* The whole of it fails at the first, second, ... allocation until it succeeds;
 * gives how often it failed. */
static long request_failures(struct http_in *in, struct bytes stream)
{
    for (long nth = 1;; nth++) {
        long live = fail_malloc_live;
        int status;
        const char *why;

        fail_malloc_in = nth;
        enum http_in_state s = feed(in, stream);
        bool failed = fail_malloc_off();
        if (failed) {
            assert_int_equal(s, HTTP_IN_REFUSED);
            assert_int_equal(http_in_refusal(in, &status, &why),
                             HTTP_REFUSED_NOMEM);
            assert_int_equal(status, 503);
            assert_non_null(strstr(why, "memory"));
        }
        http_in_next(in);
        assert_int_equal(fail_malloc_live, live);
        if (!failed) {
            assert_int_equal(s, HTTP_IN_DONE);
            return nth - 1;
        }
    }
}

static void put_request(struct buf *b, int params, int headers, int chunks)
{
    buf_puts(b, "POST /?");
    for (int i = 0; i < params; i++)
        buf_puts(b, "long_parameter_name=value&");
    buf_puts(b, " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n");
    for (int i = 0; i < headers; i++)
        buf_puts(b, "A:\r\n");
    buf_puts(b, "\r\n");
    for (int i = 0; i < chunks; i++) {
        buf_puts(b, "1000\r\n");
        for (int k = 0; k < 0x1000; k++)
            buf_putc(b, 'x');
        buf_puts(b, "\r\n");
    }
    buf_puts(b, "0\r\n\r\n");
    assert_false(b->bad);
}

/* Sizes are varied, so that the arena needs a new block at each of its uses. */
static void a_request_is_refused_wherever_memory_ends(void **state)
{
    (void)state;
    struct http_in *in = http_in_new(&limits);
    struct buf b = {0};
    long failures = 0;

    for (int params = 0; params < 250; params += 3) {
        buf_reset(&b);
        put_request(&b, params, params * 7 % 90, params % 4 * 5);
        failures += request_failures(in, buf_bytes(&b));
    }
    assert_true(failures > 250);
    buf_fini(&b);
    http_in_free(in);
}

static void an_idle_parser_is_one_small_block(void **state)
{
    (void)state;
    long live = fail_malloc_live;
    long bytes = fail_malloc_bytes;
    struct http_in *in = http_in_new(&limits);

    assert_int_equal(fail_malloc_live, live + 1);
    assert_true(fail_malloc_bytes - bytes < 200);
    (void)http_in_feed(in, bytes_str("\r\n"));
    assert_int_equal(fail_malloc_live, live + 1);
    (void)http_in_feed(in, bytes_str("G"));
    assert_true(fail_malloc_live > live + 1);
    http_in_next(in);
    assert_int_equal(fail_malloc_live, live + 1);
    http_in_free(in);
    assert_int_equal(fail_malloc_live, live);

    fail_malloc_in = 1;
    assert_null(http_in_new(&limits));
    assert_true(fail_malloc_off());
}

/* One megabyte of announced body costs nothing before it comes. */
static void a_body_costs_memory_only_as_it_comes(void **state)
{
    (void)state;
    struct http_in *in = http_in_new(&limits);
    long bytes = fail_malloc_bytes;

    (void)http_in_feed(in, bytes_str("PUT / HTTP/1.1\r\nHost: a\r\n"
                                     "Content-Length: 1048576\r\n\r\nx"));
    assert_int_equal(http_in_state(in), HTTP_IN_BODY);
    assert_true(fail_malloc_bytes - bytes < 8192);
    http_in_free(in);
}

static void gzip_reports_lack_of_memory(void **state)
{
    (void)state;
    struct bytes text = bytes_str("hello hello hello");
    struct buf zipped = {0};
    struct buf plain = {0};
    long failures = 0;

    for (long nth = 1;; nth++) {
        buf_fini(&zipped);
        buf_fini(&plain);
        fail_malloc_in = nth;
        enum err e = http_gzip(text, &zipped);
        if (e == ERR_OK)
            e = http_gunzip(buf_bytes(&zipped), &plain);
        if (!fail_malloc_off()) {
            assert_ok(e);
            break;
        }
        assert_int_equal(e, ERR_NOMEM);
        failures++;
    }
    assert_true(failures >= 4);
    assert_true(bytes_eq(buf_bytes(&plain), text));
    buf_fini(&zipped);
    buf_fini(&plain);
}

/* Wherever it stops, nothing leaks and the writer's buffer says so. */
static void json_out_fails_into_its_buffer(void **state)
{
    (void)state;
    for (long nth = 1;; nth++) {
        struct buf b = {0};
        struct buf p = {0};
        struct json_out j = json_out(&b);

        fail_malloc_in = nth;
        json_open(&j, '[');
        for (int i = 0; i < 30; i++)
            json_str(&j, bytes_str(i % 2 ? "plain text" : "<escaped>"));
        json_close(&j, ']');
        json_pretty(&p, buf_bytes(&b));
        bool failed = fail_malloc_off();
        assert_int_equal(b.bad || p.bad, failed);
        buf_fini(&b);
        buf_fini(&p);
        if (!failed)
            break;
    }
}

static void json_in_reports_lack_of_memory(void **state)
{
    (void)state;
    struct buf b = {0};
    long failures = 0;

    buf_puts(&b, "{\"Meta\":{");
    for (int i = 0; i < 500; i++)
        buf_printf(&b, "\"name %d\":\"value\\n\",", i);
    buf_puts(&b, "\"x\":\"\"},\"Checks\":[{},{\"Header\":{\"a\":[\"b\"]}}]}");
    for (long nth = 1;; nth++) {
        struct run run;
        fail_malloc_in = nth;
        decode(&run, buf_bytes(&b));
        bool failed = fail_malloc_off();
        arena_fini(&run.arena);
        if (run.e == ERR_OK)
            break; /* qsort does without the memory it was refused */
        assert_true(failed);
        assert_int_equal(run.e, ERR_NOMEM);
        failures++;
    }
    assert_true(failures >= 2);
    buf_fini(&b);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_request_is_refused_wherever_memory_ends),
    cmocka_unit_test(an_idle_parser_is_one_small_block),
    cmocka_unit_test(a_body_costs_memory_only_as_it_comes),
    cmocka_unit_test(gzip_reports_lack_of_memory),
    cmocka_unit_test(json_out_fails_into_its_buffer),
    cmocka_unit_test(json_in_reports_lack_of_memory),
};

RUN_TESTS(tests)
