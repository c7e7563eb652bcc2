/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What history keeps of who made a change. */
#include "api_world.h"

static struct bytes who(struct world *w, const char *target)
{
    return api_who(request(w, "PUT", target, ""), &w->arena);
}

static void method_path_and_address_are_told(void **state)
{
    struct world *w = *state;
    w->peer = "10.0.0.1:4711";
    assert_bytes(who(w, "/v1/catalog/register"),
                 "PUT /v1/catalog/register 10.0.0.1");
    w->peer = "[fe80::1]:4711";
    assert_bytes(
        who(w, "/v1/agent/service/maintenance/w?enable=true&reason=a%20b"),
        "PUT /v1/agent/service/maintenance/w?enable=true&reason=a%20b "
        "fe80::1");
    w->peer = NULL;
    assert_bytes(who(w, "/v1/x"), "PUT /v1/x unix");
    assert_bytes(who(w, "/v1/x?b"), "PUT /v1/x?b unix");
}

static void secrets_are_left_out(void **state)
{
    struct world *w = *state;
    static const char *const targets[] = {
        "/v1/x?token=s3cret",
        "/v1/x?TOKEN=s3cret&a=b",
        "/v1/x?a=b&X-Consul-Token=s3cret",
        "/v1/x?%74oken=s3cret",
        "/v1/x?my_secret=s3cret&password=s3cret",
    };
    w->peer = "10.0.0.1:4711";
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++)
        assert_false(has(who(w, targets[i]), "s3cret"));
    assert_bytes(who(w, targets[1]), "PUT /v1/x?a=b 10.0.0.1");
    struct agent_op *op =
        op_of(w, "/v1/agent/service/deregister/x?token=s3cret", "");
    assert_non_null(op);
    assert_bytes(op->meta, "PUT /v1/agent/service/deregister/x 10.0.0.1");
    agent_op_free(op);
}

/* However long the path is, from whom it came fits behind it. */
static void it_is_bounded_and_ends_in_the_address(void **state)
{
    struct world *w = *state;
    char target[2000];
    memset(target, 'a', sizeof target - 1);
    target[sizeof target - 1] = 0;
    target[0] = '/';
    w->peer = "10.0.0.1:4711";
    struct bytes text = who(w, target);
    assert_int_equal(text.n, API_WHO_MAX);
    assert_true(bytes_ends(text, bytes_str("aaa 10.0.0.1")));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static const struct CMUnitTest tests[] = {
    TEST(method_path_and_address_are_told),
    TEST(secrets_are_left_out),
    TEST(it_is_bounded_and_ends_in_the_address),
};

RUN_TESTS(tests)
