/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "health/grpc.h"

#include <stdio.h>

#include "health/ring.h"
#include "test.h"

static void assert_judged(const struct grpc_answer *a, enum status want,
                          const char *text)
{
    struct buf b = {0};
    assert_int_equal(grpc_judge(a, bytes_str("h:1/s"), &b), want);
    assert_bytes(buf_bytes(&b), text);
    buf_fini(&b);
}

static struct grpc_answer answer(const char *body, size_t n)
{
    return (struct grpc_answer){.http_status = 200,
                                .status = GRPC_OK,
                                .content_type =
                                    bytes_str("application/grpc+proto"),
                                .body = bytes_of(body, n)};
}

static void a_request_names_the_service(void **state)
{
    (void)state;
    struct buf b = {0};
    grpc_request(&b, bytes_str(""));
    assert_int_equal(b.n, 5);
    assert_memory_equal(b.p, "\0\0\0\0\0", 5);
    buf_reset(&b);
    grpc_request(&b, bytes_str("web"));
    assert_int_equal(b.n, 10);
    assert_memory_equal(b.p, "\0\0\0\0\5\x0a\3web", 10);
    buf_fini(&b);
}

static void a_target_is_taken_apart(void **state)
{
    (void)state;
    struct bytes service;
    assert_bytes(grpc_target(bytes_str("h:1/a/b"), &service), "h:1");
    assert_bytes(service, "a/b");
    assert_bytes(grpc_target(bytes_str("[::1]:1"), &service), "[::1]:1");
    assert_int_equal(service.n, 0);
}

static void only_serving_passes(void **state)
{
    (void)state;
    struct grpc_answer a = answer("\0\0\0\0\2\x08\1", 7);
    assert_judged(&a, STATUS_PASSING, "gRPC check h:1/s: success");
    static const struct {
        const char *body;
        size_t n;
        const char *name;
    } cases[] = {
        {"\0\0\0\0\0", 5, "UNKNOWN"},
        {"\0\0\0\0\2\x08\2", 7, "NOT_SERVING"},
        {"\0\0\0\0\2\x08\3", 7, "SERVICE_UNKNOWN"},
        {"\0\0\0\0\2\x08\7", 7, "a status that nobody knows"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char want[128];
        a = answer(cases[i].body, cases[i].n);
        (void)snprintf(want, sizeof want,
                       "gRPC application didn't report service healthy: %s",
                       cases[i].name);
        assert_judged(&a, STATUS_CRITICAL, want);
    }
}

static void unknown_fields_are_skipped(void **state)
{
    (void)state;
    /* 2: varint, 3: fixed64, 4: bytes, 5: fixed32, then the status */
    struct grpc_answer a = answer("\0\0\0\0\x17"
                                  "\x10\5"
                                  "\x19"
                                  "12345678"
                                  "\x22\3abc"
                                  "\x2d"
                                  "1234"
                                  "\x08\1",
                                  5 + 0x17);
    assert_judged(&a, STATUS_PASSING, "gRPC check h:1/s: success");
}

static void what_is_no_answer_is_critical(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        size_t n;
    } cases[] = {
        {"", 0},
        {"\0\0\0\0", 4},
        {"\1\0\0\0\2\x08\1", 7},  /* compressed */
        {"\0\0\0\0\3\x08\1", 7},  /* shorter than it says */
        {"\0\0\0\0\2\x08\1x", 8}, /* longer */
        {"\0\0\0\0\1\x08", 6},    /* a key without value */
        {"\0\0\0\0\2\x0b\1", 7},  /* a wire type that is gone */
        {"\0\0\0\0\3\x12\7x", 8}, /* bytes that are not there */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct grpc_answer a = answer(cases[i].body, cases[i].n);
        assert_judged(&a, STATUS_CRITICAL,
                      "rpc error: code = Internal desc = the answer is no "
                      "HealthCheckResponse");
    }
}

static void errors_read_as_those_of_grpc_go(void **state)
{
    (void)state;
    struct grpc_answer a = answer("", 0);
    a.status = grpc_status_of(bytes_str("5"));
    assert_judged(&a, STATUS_CRITICAL, "rpc error: code = NotFound desc = ");
    a.message = bytes_str("a%20b%ff%zz%4");
    a.status = 16;
    assert_judged(&a, STATUS_CRITICAL,
                  "rpc error: code = Unauthenticated desc = "
                  "a b\xef\xbf\xbd%zz%4");
    a.status = 99;
    a.message = (struct bytes){0};
    assert_judged(&a, STATUS_CRITICAL, "rpc error: code = Code(99) desc = ");
    a.status = grpc_status_of(bytes_str("-1"));
    assert_judged(&a, STATUS_CRITICAL,
                  "rpc error: code = Unavailable desc = the answer ended "
                  "without grpc-status");
    a.http_status = 404;
    a.content_type = bytes_str("text/html");
    assert_judged(&a, STATUS_CRITICAL,
                  "rpc error: code = Unavailable desc = this is no gRPC "
                  "server: it answered with HTTP status 404 and Content-Type "
                  "\"text/html\"");
}

static void a_ring_keeps_the_end(void **state)
{
    (void)state;
    struct ring r;
    struct buf b = {0};
    assert_ok(ring_init(&r, 4));
    ring_put(&r, bytes_str("ab"));
    ring_output(&r, &b);
    assert_bytes(buf_bytes(&b), "ab");
    buf_reset(&b);
    ring_put(&r, bytes_str("cdefg"));
    ring_put(&r, bytes_str("h"));
    ring_output(&r, &b);
    assert_bytes(buf_bytes(&b), "Captured 4 of 8 bytes\n...\nefgh");
    buf_fini(&b);
    ring_fini(&r);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_request_names_the_service),
    cmocka_unit_test(a_target_is_taken_apart),
    cmocka_unit_test(only_serving_passes),
    cmocka_unit_test(unknown_fields_are_skipped),
    cmocka_unit_test(what_is_no_answer_is_critical),
    cmocka_unit_test(errors_read_as_those_of_grpc_go),
    cmocka_unit_test(a_ring_keeps_the_end),
};

RUN_TESTS(tests)
