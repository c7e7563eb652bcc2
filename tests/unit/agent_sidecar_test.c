/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent_world.h"

/* As src/api makes it: a service, and then its sidecar with a check that tries
 * its port. */
static struct agent_op *with_sidecar(struct world *w, const char *id,
                                     int64_t port)
{
    struct agent_op *op = world_service(w, id);
    struct agent_op *then = agent_op_new(AGENT_REGISTER_SERVICE);
    struct arena *a = &then->arena;
    then->service = (struct service_view){
        .id = bytes_str(arena_printf(a, "%s" AGENT_SIDECAR_SUFFIX, id)),
        .name = bytes_str("web" AGENT_SIDECAR_SUFFIX),
        .kind = bytes_str("connect-proxy"),
        .port = port,
        .weight_passing = 1,
        .weight_warning = 1,
        .proxy =
            bytes_str(arena_printf(a, "{\"DestinationServiceID\":\"%s\"}", id)),
    };
    then->checks = arena_zalloc(a, 2 * sizeof *then->checks);
    assert_non_null(then->checks);
    struct check_def *d = world_add_http(then, "listens");
    d->id = bytes_str(arena_printf(a, "%s-listens", id));
    d->http = (struct bytes){0};
    d->tcp = bytes_str("127.0.0.1:1");
    then->port_address = bytes_str("127.0.0.1");
    op->then = then;
    return op;
}

static int64_t port_of(struct world *w, const char *id)
{
    const struct local_service *v = world_local(w, id);
    return v ? v->view.port : -1;
}

static void a_sidecar_comes_and_goes_with_its_service(void **state)
{
    (void)state;
    struct world w;
    struct service_view s;
    world_setup(&w, false);
    assert_int_equal(world_do(&w, with_sidecar(&w, "web-1", 0)), 200);
    assert_true(world_catalog_service(&w, "web-1", &s));
    assert_true(world_catalog_service(&w, "web-1-sidecar-proxy", &s));
    assert_int_equal(s.port, AGENT_SIDECAR_PORT);
    assert_bytes(world_local_check(&w, "web-1-listens")->def.tcp,
                 "127.0.0.1:21000");

    /* Registered again without one, its service keeps it. */
    assert_int_equal(world_do(&w, world_service(&w, "web-1")), 200);
    assert_non_null(world_local(&w, "web-1-sidecar-proxy"));
    assert_int_equal(
        world_do(&w, world_id_op(&w, AGENT_DEREGISTER_SERVICE, "WEB-1")), 200);
    assert_null(world_local(&w, "web-1"));
    assert_null(world_local(&w, "web-1-sidecar-proxy"));
    assert_false(world_catalog_service(&w, "web-1-sidecar-proxy", &s));
    world_teardown(&w);
}

/* Also those of registrations that are still under way. */
static void each_sidecar_gets_a_port_of_its_own(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, false);
    world_submit(&w, with_sidecar(&w, "a", 0));
    world_submit(&w, with_sidecar(&w, "b", 0));
    world_submit(&w, with_sidecar(&w, "c", 4000));
    world_until(&w, w.answered == 3);
    assert_int_equal(port_of(&w, "a-sidecar-proxy"), 21000);
    assert_int_equal(port_of(&w, "b-sidecar-proxy"), 21001);
    assert_int_equal(port_of(&w, "c-sidecar-proxy"), 4000);
    assert_bytes(world_local_check(&w, "c-listens")->def.tcp, "127.0.0.1:1");

    assert_int_equal(world_do(&w, with_sidecar(&w, "b", 0)), 200);
    assert_int_equal(port_of(&w, "b-sidecar-proxy"), 21001);
    assert_int_equal(
        world_do(&w, world_id_op(&w, AGENT_DEREGISTER_SERVICE, "a")), 200);
    assert_int_equal(world_do(&w, with_sidecar(&w, "d", 0)), 200);
    assert_int_equal(port_of(&w, "d-sidecar-proxy"), 21000);
    world_teardown(&w);
}

static void without_a_free_port_nothing_is_registered(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, false);
    for (int port = AGENT_SIDECAR_PORT; port <= AGENT_SIDECAR_PORT_LAST;
         port++) {
        char id[16];
        snprintf(id, sizeof id, "s%d", port);
        struct agent_op *op = world_service(&w, id);
        op->service.port = port;
        assert_int_equal(world_do(&w, op), 200);
    }
    assert_int_equal(world_do(&w, with_sidecar(&w, "web-1", 0)), 500);
    assert_string_equal(
        w.last_text,
        "no port is left for the sidecar: 21000 to 21255 are taken");
    assert_null(world_local(&w, "web-1"));
    world_teardown(&w);
}

/* A proxy that somebody registered by itself is his. */
static void only_a_services_own_sidecar_goes_with_it(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, false);
    struct agent_op *op = world_service(&w, "web-1-sidecar-proxy");
    op->service.kind = bytes_str("connect-proxy");
    op->service.proxy = bytes_str("{\"DestinationServiceID\":\"other\"}");
    assert_int_equal(world_do(&w, op), 200);
    assert_int_equal(world_do(&w, world_service(&w, "web-1")), 200);
    assert_int_equal(
        world_do(&w, world_id_op(&w, AGENT_DEREGISTER_SERVICE, "web-1")), 200);
    assert_non_null(world_local(&w, "web-1-sidecar-proxy"));
    world_teardown(&w);
}

static void a_sidecar_that_is_refused_is_told(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, false);
    struct agent_op *op = with_sidecar(&w, "web-1", 0);
    op->then->checks[0].tcp = (struct bytes){0};
    op->then->port_address = (struct bytes){0};
    static struct bytes args[] = {{"true", 4}};
    op->then->checks[0].args = args;
    op->then->checks[0].arg_count = 1;
    assert_int_equal(world_do(&w, op), 500);
    assert_non_null(strstr(w.last_text, "Scripts are disabled"));
    assert_null(world_local(&w, "web-1-sidecar-proxy"));
    world_teardown(&w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_sidecar_comes_and_goes_with_its_service),
    cmocka_unit_test(each_sidecar_gets_a_port_of_its_own),
    cmocka_unit_test(without_a_free_port_nothing_is_registered),
    cmocka_unit_test(only_a_services_own_sidecar_goes_with_it),
    cmocka_unit_test(a_sidecar_that_is_refused_is_told),
};

RUN_TESTS(tests)
