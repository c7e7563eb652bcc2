/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Requests for other datacenters, and what servers there are told. */
#include "api_world.h"

#include <stdlib.h>

#define ID1 "00000000-0000-4000-8000-000000000001"
#define ID2 "00000000-0000-4000-8000-000000000002"

static struct wan_who self = {.node = "own",
                              .id = ID1,
                              .datacenter = "dc1",
                              .address = "127.0.0.1",
                              .port = 8302};
static struct wan_member other = {.who = {.node = "b",
                                          .id = ID2,
                                          .datacenter = "dc2",
                                          .address = "127.0.0.2",
                                          .port = 8302},
                                  .known = true,
                                  .alive = true};

static struct api_dc dcs[] = {
    {.name = {"dc1", 3}, .own = true, .alive = true},
    {.name = {"dc2", 3}, .alive = true, .rtt_s = 0.1},
    {.name = {"dc3", 3}, .alive = false, .rtt_s = -1},
};
static const struct api_wan wan = {&self, &other, 1, dcs, 3};

static int joined(void **state)
{
    (void)setup(state);
    ((struct world *)*state)->wan = &wan;
    return 0;
}

static void another_datacenter_answers_for_itself(void **state)
{
    struct world *w = *state;
    static const char *const targets[] = {
        "/v1/catalog/nodes?dc=dc2",
        "/v1/health/service/x?dc=dc3&passing&index=5",
        "/v1/coordinate/nodes?dc=dc2",
        "/v1/query?dc=dc2",
        "/v1/query/x/execute?dc=dc2",
        "/v1/status/leader?dc=dc2",
        "/v1/internal/ui/services?dc=dc2",
        "/v1/operator/raft/configuration?dc=dc2",
    };
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        assert_int_equal(begin(w, "GET", targets[i], ""), API_FORWARD);
        assert_int_equal(w->call.forward.n, 3);
    }
    assert_int_equal(begin(w, "PUT", "/v1/catalog/register?dc=dc2", "{}"),
                     API_FORWARD);
    assert_int_equal(begin(w, "PUT", "/v1/event/fire/x?dc=dc2", ""),
                     API_FORWARD);
    assert_int_equal(begin(w, "GET", "/v1/catalog/nodes?dc=dc1", ""), API_READ);
    assert_int_equal(begin(w, "GET", "/v1/agent/services?dc=dc2", ""),
                     API_READ);
    /* A bad request is refused where it is. */
    assert_int_equal(begin(w, "GET", "/v1/catalog/nodes?dc=dc2&index=x", ""),
                     API_ANSWER);
    assert_int_equal(w->call.status, 400);
    assert_int_equal(begin(w, "GET", "/v1/catalog/nodes?dc=dc9", ""),
                     API_ANSWER);
    assert_bytes(buf_bytes(&w->call.body), "No path to datacenter");
}

static void a_stream_of_it_is_marked(void **state)
{
    struct world *w = *state;

    assert_int_equal(begin(w, "GET", "/v1/catalog/nodes?dc=dc2", ""),
                     API_FORWARD);
    assert_false(w->call.forward_stream);
    assert_int_equal(begin(w, "GET", "/v1/catalog/nodes?dc=dc2&stream", ""),
                     API_FORWARD);
    assert_true(w->call.forward_stream);
    assert_int_equal(begin(w, "GET", "/v1/muster/stream?dc=dc2&all", ""),
                     API_FORWARD);
    assert_true(w->call.forward_stream);
}

static void what_a_mirror_has_is_told_apart(void **state)
{
    struct world *w = *state;
    static const char *const has[] = {
        "/v1/catalog/nodes", "/v1/catalog/services", "/v1/health/state/any",
        "/v1/health/service/web?passing&tag=a", "/v1/internal/ui/services"};
    static const char *const has_not[] = {
        "/v1/catalog/datacenters", "/v1/query",
        "/v1/coordinate/nodes",    "/v1/muster/explain/health/service/web",
        "/v1/muster/services",     "/v1/catalog/nodes?at=1",
        "/v1/agent/services",      "/v1/status/leader"};

    for (size_t i = 0; i < sizeof has / sizeof *has; i++) {
        assert_int_equal(begin(w, "GET", has[i], ""), API_READ);
        assert_true(api_is_mirrored(&w->call));
    }
    for (size_t i = 0; i < sizeof has_not / sizeof *has_not; i++) {
        (void)begin(w, "GET", has_not[i], "");
        assert_false(api_is_mirrored(&w->call));
    }
}

/* Two datacenters' answers must never be taken for each other's. */
static void its_canonical_target_names_it(void **state)
{
    struct world *w = *state;
    struct buf target = {0};
    struct api_call back;

    assert_int_equal(begin(w, "GET", "/v1/health/service/web?passing", ""),
                     API_READ);
    w->call.mirror = bytes_str("dc2");
    api_canonical(&w->call, &target);
    assert_bytes(buf_bytes(&target), "@dc2/v1/health/service/web?passing");
    api_call_init(&back);
    struct api_env env = env_of(w);
    assert_ok(api_from_canonical(&back, &env, buf_bytes(&target), &w->arena));
    assert_bytes(back.mirror, "dc2");
    assert_bytes(back.arg, "web");
    assert_true(back.passing);
    api_call_fini(&back);
    buf_fini(&target);
}

static void a_body_can_name_it(void **state)
{
    struct world *w = *state;
    struct plan p;
    static const char *const bodies[][2] = {
        {"/v1/catalog/register", "{\"Datacenter\":\"dc2\",\"Node\":\"n\","
                                 "\"Address\":\"1.1.1.1\"}"},
        {"/v1/catalog/deregister", "{\"Datacenter\":\"dc2\",\"Node\":\"n\"}"},
    };
    for (size_t i = 0; i < 2; i++) {
        struct api_env env = env_of(w);
        assert_int_equal(begin(w, "PUT", bodies[i][0], bodies[i][1]),
                         API_WRITE);
        plan_init(&p, &w->arena);
        assert_int_equal(api_write(&w->call, &env, &p), API_FORWARD);
        assert_bytes(w->call.forward, "dc2");
    }
}

/* What was forwarded once is not forwarded again. */
static void nothing_is_passed_on_twice(void **state)
{
    struct world *w = *state;
    w->from_peer = true; /* an agent's */
    assert_int_equal(begin(w, "GET", "/v1/catalog/nodes?dc=dc2", ""),
                     API_FORWARD);
    w->forwarded = true;
    assert_int_equal(begin(w, "GET", "/v1/catalog/nodes?dc=dc2", ""),
                     API_ANSWER);
    assert_bytes(buf_bytes(&w->call.body), "No path to datacenter");
    assert_int_equal(begin(w, "GET", "/v1/catalog/nodes?dc=dc1", ""), API_READ);
}

static void datacenters_are_listed_in_their_order(void **state)
{
    struct world *w = *state;
    assert_bytes(get(w, "/v1/catalog/datacenters"),
                 "[\"dc1\",\"dc2\",\"dc3\"]");
    struct bytes m = get(w, "/v1/agent/members?wan=1");
    assert_true(has(m, "\"Name\":\"own.dc1\""));
    assert_true(has(m, "\"Name\":\"b.dc2\",\"Addr\":\"127.0.0.2\",\"Port\":"
                       "8302"));
    assert_false(has(get(w, "/v1/agent/members"), "dc2"));
    m = get(w, "/v1/coordinate/datacenters");
    assert_true(has(m, "{\"Datacenter\":\"dc2\",\"AreaID\":\"wan\","
                       "\"Coordinates\":[{\"Node\":\"b\""));
}

/* --- Failover ------------------------------------------------------------ */

static void make(struct world *w, const char *failover)
{
    struct api_env env = env_of(w);
    (void)env;
    assert_int_equal(
        write_as(w, "POST", "/v1/query",
                 arena_printf(&w->arena,
                              "{\"Name\":\"q\",\"Service\":{\"Service\":"
                              "\"none\",\"Failover\":%s}}",
                              failover)),
        200);
}

static void a_query_names_who_is_asked_next(void **state)
{
    struct world *w = *state;
    make(w, "{\"NearestN\":1,\"Datacenters\":[\"dc9\",\"dc3\",\"dc1\","
            "\"dc2\"]}");
    (void)get(w, "/v1/query/q/execute?limit=3");
    assert_int_equal(w->call.failover_count, 2);
    assert_bytes(w->call.failover[0], "dc2");
    assert_bytes(w->call.failover[1], "dc3"); /* does not answer: last */
    assert_bytes(buf_bytes(&w->call.failover_params), "limit=3");
    assert_true(has(buf_bytes(&w->call.failover_body),
                    "\"Service\":{\"Service\":\"none\",\"Failover\":{"
                    "\"NearestN\":0,\"Datacenters\":[]"));
    /* Nobody had it. */
    struct api_env env = env_of(w);
    w->call.failover_over = true;
    w->call.failovers = 2;
    buf_reset(&w->call.body);
    api_read(&w->call, &env);
    assert_true(has(buf_bytes(&w->call.body), "\"Nodes\":[],"));
    assert_true(has(buf_bytes(&w->call.body),
                    "\"Datacenter\":\"dc1\",\"Failovers\":2,"));
    /* Somebody is here: nobody else is asked. */
    add(w, "a", "{\"Service\":\"none\"}");
    (void)get(w, "/v1/query/q/execute");
    assert_int_equal(w->call.failover_count, 0);
}

static void a_peer_executes_what_it_is_given(void **state)
{
    struct world *w = *state;
    struct api_env env = env_of(w);
    static const char body[] =
        "{\"Name\":\"q\",\"Service\":{\"Service\":\"web\",\"Failover\":{"
        "\"NearestN\":3}}}";
    add(w, "a", "{\"Service\":\"web\"}");
    env = env_of(w);
    assert_int_equal(begin(w, "PUT", "/v1/peer/query?limit=1", body),
                     API_ANSWER); /* users do not see it */
    assert_int_equal(w->call.status, 404);
    w->from_peer = true;
    assert_int_equal(
        begin(w, "PUT", "/v1/peer/query?limit=1&failovers=4", body), API_READ);
    assert_true(w->call.fresh);
    api_read(&w->call, &env);
    assert_true(has(buf_bytes(&w->call.body), "\"Node\":\"a\""));
    assert_true(has(buf_bytes(&w->call.body), "\"Failovers\":4,"));
    assert_int_equal(begin(w, "PUT", "/v1/peer/query",
                           "{\"Service\":{\"Service\":\"no\",\"Failover\":{"
                           "\"NearestN\":3}}}"),
                     API_READ);
    api_read(&w->call, &env);
    assert_int_equal(w->call.failover_count, 0); /* it asks nobody else */
}

/* --- What servers tell each other ----------------------------------------- */

static const char *word(struct world *w, const struct wan_who *from)
{
    struct buf b = {0};
    api_wan_put(&b, from, NULL, 0, false);
    const char *text = arena_str(&w->arena, buf_bytes(&b));
    buf_fini(&b);
    return text;
}

static enum api_next told(struct world *w, const char *body)
{
    w->from_peer = true;
    return begin(w, "PUT", "/v1/peer/wan", body);
}

static void a_word_comes_across_whole(void **state)
{
    struct world *w = *state;
    struct wan_who from = other.who;
    from.at.vec[3] = 0.25;
    from.server_port = 8300;
    assert_int_equal(told(w, word(w, &from)), API_WAN);
    assert_int_equal(w->call.status, 200);
    assert_memory_equal(w->call.wan_word->from.at.vec, from.at.vec,
                        sizeof from.at.vec);
    assert_string_equal(w->call.wan_word->from.node, "b");
    assert_int_equal(w->call.wan_word->from.server_port, 8300);
    /* The answer is such a word too, with those that live. */
    struct api_wan_word back;
    struct errtext t;
    assert_ok(api_wan_parse(buf_bytes(&w->call.body), &w->arena, &back, &t));
    assert_string_equal(back.from.id, ID1);
    assert_int_equal(back.count, 1);
    assert_string_equal(back.others[0].id, ID2);
}

/* It is answered when all threads know of it, by the core thread. */
static void the_word_of_a_new_server_is_passed_on(void **state)
{
    struct world *w = *state;
    struct wan_who from = other.who;
    struct agent_op *op = NULL;
    snprintf(from.id, sizeof from.id, "%s",
             "33333333-3333-4333-8333-333333333333");
    snprintf(from.node, sizeof from.node, "c");
    const char *body = word(w, &from);
    assert_int_equal(told(w, body), API_AGENT);
    assert_null(w->call.wan_word);
    assert_int_equal(api_agent(&w->call, NULL, &op), API_AGENT);
    assert_int_equal(op->kind, AGENT_HEAR_WAN);
    assert_bytes(op->output, body);
    agent_op_free(op);
}

static void words_that_cannot_be_are_refused(void **state)
{
    struct world *w = *state;
    struct wan_who from = other.who;
    snprintf(from.datacenter, sizeof from.datacenter, "dc1");
    assert_int_equal(told(w, word(w, &from)), API_ANSWER);
    assert_int_equal(w->call.status, 409);
    assert_true(has(buf_bytes(&w->call.body), "are both called \"dc1\""));
    snprintf(from.node, sizeof from.node, "OWN");
    assert_int_equal(told(w, word(w, &from)), API_ANSWER);
    assert_int_equal(w->call.status, 409);
    assert_true(has(buf_bytes(&w->call.body), "call themselves \"OWN.dc1\""));
    static const char *const bad[] = {
        "",
        "{}",
        "{\"Protocol\":2,\"From\":{}}",
        "{\"Protocol\":1,\"From\":{\"Node\":\"x\"}}",
        "[1]",
        "{\"Protocol\":1,\"From\":{\"Node\":\"x\",\"ID\":\"" ID2
        "\",\"Datacenter\":\"Not A Label\",\"Address\":\"1.1.1.1\",\"Port\":"
        "1}}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(told(w, bad[i]), API_ANSWER);
        assert_int_equal(w->call.status, 400);
    }
    w->wan = NULL;
    assert_int_equal(told(w, word(w, &other.who)), API_ANSWER);
    assert_int_equal(w->call.status, 503);
}

static const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, joined, teardown)
    T(another_datacenter_answers_for_itself),
    T(a_stream_of_it_is_marked),
    T(what_a_mirror_has_is_told_apart),
    T(its_canonical_target_names_it),
    T(a_body_can_name_it),
    T(nothing_is_passed_on_twice),
    T(datacenters_are_listed_in_their_order),
    T(a_query_names_who_is_asked_next),
    T(a_peer_executes_what_it_is_given),
    T(a_word_comes_across_whole),
    T(the_word_of_a_new_server_is_passed_on),
    T(words_that_cannot_be_are_refused),
};

RUN_TESTS(tests)
