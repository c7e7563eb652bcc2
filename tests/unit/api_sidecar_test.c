/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "api_world.h"

static struct agent_op *registered(struct world *w, const char *body)
{
    return op_of(w, "/v1/agent/service/register", body);
}

static void a_sidecar_is_filled_from_its_service(void **state)
{
    struct world *w = *state;
    struct agent_op *op = registered(
        w, "{\"Name\":\"q\",\"ID\":\"q1\",\"Port\":81,\"Tags\":[\"t\"],"
           "\"Meta\":{\"a\":\"b\"},\"Weights\":{\"Passing\":3},"
           "\"Connect\":{\"sidecar_service\":{}}}");
    assert_non_null(op);
    assert_int_equal(op->check_count, 0);
    assert_bytes(op->service.connect, "");
    const struct agent_op *then = op->then;
    assert_non_null(then);
    assert_bytes(then->service.id, "q1-sidecar-proxy");
    assert_bytes(then->service.name, "q-sidecar-proxy");
    assert_bytes(then->service.kind, "connect-proxy");
    assert_int_equal(then->service.tags.n, 1);
    assert_int_equal(then->service.meta.n, 1);
    assert_int_equal(then->service.weight_passing, 1);
    assert_int_equal(then->service.port, 0);
    assert_bytes(then->port_address, "127.0.0.1");
    assert_bytes(then->service.proxy,
                 "{\"DestinationServiceName\":\"q\",\"DestinationServiceID\":"
                 "\"q1\",\"LocalServiceAddress\":\"127.0.0.1\","
                 "\"LocalServicePort\":81,\"MeshGateway\":{},\"Expose\":{}}");
    assert_int_equal(then->check_count, 2);
    assert_bytes(then->checks[0].id, "service:q1-sidecar-proxy:1");
    assert_bytes(then->checks[0].name, "Connect Sidecar Listening");
    assert_bytes(then->checks[1].name, "Connect Sidecar Aliasing q1");
    assert_bytes(then->checks[1].alias_service, "q1");
    agent_op_free(op);

    op = registered(w, "{\"Name\":\"q\",\"Connect\":{\"SidecarService\":{"
                       "\"Port\":7,\"Address\":\"::1\",\"Tags\":[],"
                       "\"Proxy\":{\"LocalServicePort\":9}}}}");
    assert_int_equal(op->then->service.port, 7);
    assert_int_equal(op->then->service.tags.n, 0);
    assert_bytes(op->then->checks[0].tcp, "[::1]:7");
    assert_true(has(op->then->service.proxy, "\"LocalServicePort\":9,"));
    agent_op_free(op);

    op = registered(w, "{\"Name\":\"q\",\"Connect\":{\"SidecarService\":{"
                       "\"Check\":{\"TTL\":\"5s\"}}}}");
    assert_int_equal(op->then->check_count, 1);
    assert_bytes(op->then->port_address, "");
    agent_op_free(op);
}

static void sidecars_are_refused_in_consuls_words(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *sidecar, *text;
    } cases[] = {
        {"{\"ID\":\"x\"}",
         "1 error occurred:\n\t* A SidecarService cannot specify an ID as this "
         "is managed by the agent\n\n"},
        {"{\"Connect\":{\"SidecarService\":{}}}",
         "1 error occurred:\n\t* A SidecarService cannot have a nested "
         "SidecarService\n\n"},
        {"{\"Check\":{\"TTL\":\"1s\",\"Interval\":\"1s\"}}",
         "Bad request: Invalid check in sidecar_service: Interval and TTL "
         "cannot both be specified"},
        {"{\"Meta\":{\"bad key\":\"\"}}",
         "Bad request: Invalid SidecarService: Couldn't load metadata pair "
         "('bad key', ''): Key contains invalid characters"},
        {"{\"Address\":\"0.0.0.0\"}",
         "Bad request: Invalid SidecarService: Invalid service address"},
        {"{\"Port\":\"x\"}",
         "Request decode failed: SidecarService: json: cannot unmarshal string "
         "into Go struct field .Port of type int"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char body[300];
        snprintf(body, sizeof body,
                 "{\"Name\":\"q\",\"Connect\":{\"SidecarService\":%s}}",
                 cases[i].sidecar);
        assert_null(registered(w, body));
        assert_bytes(buf_bytes(&w->call.body), cases[i].text);
        assert_int_equal(w->call.status, 400);
    }
}

static const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    T(a_sidecar_is_filled_from_its_service),
    T(sidecars_are_refused_in_consuls_words),
};

RUN_TESTS(tests)
