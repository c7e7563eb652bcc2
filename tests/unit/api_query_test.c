/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "api_world.h"

#include <stdlib.h>

#include "base/marks.h"

/* Makes a query; its ID. */
static const char *make(struct world *w, const char *body)
{
    assert_int_equal(write_as(w, "POST", "/v1/query", body), 200);
    struct bytes b = buf_bytes(&w->call.body);
    assert_true(b.n > 44);
    return arena_str(&w->arena, bytes_of(b.p + 7, 36));
}

static const char *target(struct world *w, const char *id)
{
    return arena_printf(&w->arena, "/v1/query/%s", id);
}

static void a_query_is_made_shown_changed_and_deleted(void **state)
{
    struct world *w = *state;
    const char *id =
        make(w, "{\"Name\":\"q\",\"Service\":{\"Service\":\"web\"}}");
    assert_bytes(
        get(w, "/v1/query"),
        arena_printf(
            &w->arena,
            "[{\"ID\":\"%s\",\"Name\":\"q\",\"Session\":\"\",\"Token\":\"\","
            "\"Template\":{\"Type\":\"\",\"Regexp\":\"\",\"RemoveEmptyTags\":"
            "false},\"Service\":{\"Service\":\"web\",\"Failover\":{"
            "\"NearestN\":0,\"Datacenters\":null},\"OnlyPassing\":false,"
            "\"IgnoreCheckIDs\":null,\"Near\":\"\",\"Tags\":null,\"NodeMeta\":"
            "null,\"ServiceMeta\":null,\"Connect\":false},\"DNS\":{\"TTL\":"
            "\"\"},\"CreateIndex\":2,\"ModifyIndex\":2}]",
            id));
    assert_int_equal(w->call.watch.kind, WATCH_QUERIES);
    assert_int_equal(w->call.blocking, API_BLOCK_INDEX);
    assert_int_equal(
        put(w, target(w, id),
            "{\"ID\":\"x\",\"Name\":\"q2\",\"Token\":\"t\",\"Service\":{"
            "\"Service\":\"db\",\"OnlyPassing\":true,\"Tags\":[\"!a\"],"
            "\"IgnoreCheckIDs\":[],\"NodeMeta\":{\"k\":\"v\"},\"ServiceMeta\":"
            "{},\"Near\":\"_agent\",\"Failover\":{\"NearestN\":2,"
            "\"Datacenters\":[\"dc2\"]}},\"DNS\":{\"TTL\":\"10s\"}}"),
        200);
    assert_int_equal(w->call.body.n, 0);
    struct bytes shown = get(w, target(w, id));
    assert_true(has(shown, "\"Name\":\"q2\",\"Session\":\"\",\"Token\":\"t\""));
    assert_true(
        has(shown,
            "{\"Service\":\"db\",\"Failover\":{\"NearestN\":2,\"Datacenters\":["
            "\"dc2\"]},\"OnlyPassing\":true,\"IgnoreCheckIDs\":[],\"Near\":"
            "\"_agent\",\"Tags\":[\"!a\"],\"NodeMeta\":{\"k\":\"v\"},"
            "\"ServiceMeta\":{},\"Connect\":false},\"DNS\":{\"TTL\":\"10s\"}"));
    assert_int_equal(status_of_get(w, "/v1/query/q/explain"), 404);
    assert_int_equal(write_as(w, "DELETE", target(w, id), ""), 200);
    assert_bytes(get(w, "/v1/query"), "[]");
    assert_int_equal(status_of_get(w, target(w, id)), 404);
    assert_bytes(buf_bytes(&w->call.body), "Query not found");
    assert_int_equal(write_as(w, "DELETE", target(w, id), ""), 500);
}

static void targets_of_a_failover_are_datacenters(void **state)
{
    struct world *w = *state;
    const char *id =
        make(w, "{\"Name\":\"q\",\"Service\":{\"Service\":\"web\","
                "\"Failover\":{\"Targets\":[{\"Datacenter\":\"dc2\"},{"
                "\"Datacenter\":\"dc0\"}]}}}");
    assert_true(has(get(w, target(w, id)),
                    "\"Datacenters\":null,\"Targets\":[{\"Datacenter\":"
                    "\"dc2\"},{\"Datacenter\":\"dc0\"}]}"));
}

static const struct {
    const char *method, *target, *body;
    int status;
    const char *text;
} refused[] = {
    {"POST", "/v1/query", "", 400, "Request decode failed: EOF"},
    {"POST", "/v1/query", "{}", 500,
     "Invalid prepared query: Must be bound to a session"},
    {"POST", "/v1/query", "{\"Name\":\"a\"}", 500,
     "Invalid prepared query: Must provide a Service name to query"},
    {"POST", "/v1/query",
     "{\"ID\":\"x\",\"Name\":\"a\",\"Service\":{\"Service\":\"s\"}}", 500,
     "ID must be empty when creating a new prepared query"},
    {"POST", "/v1/query",
     "{\"Name\":\"a\",\"Session\":\"s\",\"Service\":{\"Service\":\"s\"}}", 500,
     "invalid session \"s\": there are no sessions here"},
    {"POST", "/v1/query",
     "{\"Name\":\"a\",\"Service\":{\"Service\":\"s\",\"Connect\":true}}", 500,
     "Invalid prepared query: Connect is not supported"},
    {"POST", "/v1/query",
     "{\"Name\":\"a\",\"Service\":{\"Service\":\"s\",\"Peer\":\"x\"}}", 500,
     "Invalid prepared query: cluster peers are not supported"},
    {"POST", "/v1/query",
     "{\"Name\":\"a\",\"Service\":{\"Service\":\"s\",\"Failover\":{"
     "\"Targets\":[{\"Peer\":\"x\"}]}}}",
     500, "Invalid prepared query: cluster peers are not supported"},
    {"POST", "/v1/query",
     "{\"Name\":\"a\",\"Service\":{\"Service\":\"s\",\"Failover\":{"
     "\"Targets\":[{}]}}}",
     500, "Invalid prepared query: a failover target names no Datacenter"},
    {"POST", "/v1/query",
     "{\"Name\":\"a\",\"Service\":{\"Service\":\"s\",\"Failover\":{"
     "\"NearestN\":1,\"Targets\":[{\"Datacenter\":\"x\"}]}}}",
     500, "Invalid prepared query: Targets cannot be populated"},
    {"POST", "/v1/query",
     "{\"Name\":\"a\",\"Service\":{\"Service\":\"s\",\"NodeMeta\":{\"a b\":"
     "\"c\"}}}",
     500, "Invalid prepared query: Couldn't load metadata pair ('a b', 'c')"},
    {"POST", "/v1/query",
     "{\"Name\":\"a\",\"Service\":{\"Service\":\"s\",\"Namespace\":\"x\"}}",
     400, "Bad request: Invalid field: \"Namespace\""},
    {"PUT", "/v1/query/none", "{}", 500,
     "Prepared Query lookup failed: failed prepared query lookup"},
    {"DELETE", "/v1/query/", "", 500,
     "Prepared Query lookup failed: failed prepared query lookup"},
    {"PUT", "/v1/query/00000000-0000-4000-8000-000000000000",
     "{\"Name\":\"a\",\"Service\":{\"Service\":\"s\"}}", 500,
     "Cannot modify non-existent prepared query: '00000000-0000-4000-8000-"},
    {"GET", "/v1/query/none", "", 500,
     "failed prepared query lookup: index error: UUID must be 36 characters"},
    {"GET", "/v1/query/00000000-0000-4000-8000-000000000000", "", 404,
     "Query not found"},
    {"GET", "/v1/query/none/execute", "", 404, "Query not found"},
    {"GET", "/v1/query/none/explain", "", 404, "Query not found"},
    {"GET", "/v1/query/execute", "", 404, "Query not found"},
    {"GET", "/v1/query/explain", "", 404, "Query not found"},
    {"GET", "/v1/query/x/execute?limit=x", "", 500,
     "Bad limit: strconv.Atoi: parsing \"x\": invalid syntax"},
    {"GET", "/v1/query/x/execute?connect", "", 500, "Connect is not supported"},
    {"GET", "/v1/query/x/execute?connect=foo", "", 500,
     "Error parsing 'connect' value"},
    {"PUT", "/v1/query/x/execute", "", 405, "method PUT not allowed"},
    {"POST", "/v1/query/x", "", 405, "method POST not allowed"},
    {"GET", "/v1/query/x/execute?dc=other", "", 500, "No path to datacenter"},
};

static void bad_requests_are_refused_by_name(void **state)
{
    struct world *w = *state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        int status = strcmp(refused[i].method, "GET") == 0
                         ? status_of_get(w, refused[i].target)
                         : write_as(w, refused[i].method, refused[i].target,
                                    refused[i].body);
        if (status != refused[i].status ||
            !has(buf_bytes(&w->call.body), refused[i].text))
            fail_msg("%s %s %s: %d %.*s", refused[i].method, refused[i].target,
                     refused[i].body, status,
                     BYTES_ARG(buf_bytes(&w->call.body)));
    }
    assert_bytes(get(w, "/v1/query"), "[]");
}

/* --- Execution ----------------------------------------------------------- */

/* The nodes of an answer in their order. */
static const char *nodes_of(struct world *w, const char *asked)
{
    struct bytes rest = get(w, asked);
    static const char mark[] = "{\"Node\":{\"ID\":\"\",\"Node\":\"";
    struct buf b = {0};
    for (;;) {
        const char *at = memmem(rest.p, rest.n, mark, sizeof mark - 1);
        if (!at)
            break;
        rest = bytes_skip(rest, (size_t)(at - rest.p) + sizeof mark - 1);
        buf_put_n(&b, rest.p, 1);
    }
    const char *ret = arena_str(&w->arena, buf_bytes(&b));
    buf_fini(&b);
    return ret;
}

static void three(struct world *w)
{
    static const char *const nodes[] = {"a", "b", "c"};
    for (size_t i = 0; i < 3; i++)
        add(w, nodes[i], "{\"Service\":\"web\",\"Port\":80}");
}

static void an_execution_tells_instances_and_what_goes_with_them(void **state)
{
    struct world *w = *state;
    add(w, "a", "{\"Service\":\"web\",\"Port\":80}");
    (void)make(w, "{\"Name\":\"q\",\"Service\":{\"Service\":\"web\"},\"DNS\":"
                  "{\"TTL\":\"7s\"}}");
    struct bytes b = get(w, "/v1/query/q/execute?consistent");
    assert_true(has(b, "{\"Service\":\"web\",\"Nodes\":[{\"Node\":{"));
    assert_true(has(b, "],\"DNS\":{\"TTL\":\"7s\"},\"Datacenter\":\"dc1\","
                       "\"Failovers\":0,\"Index\":0,\"LastContact\":0,"
                       "\"KnownLeader\":true,\"ConsistencyLevel\":"
                       "\"consistent\"}"));
    assert_true(w->call.fresh);
    assert_int_equal(w->call.blocking, API_BLOCK_NONE);
    (void)make(w, "{\"Name\":\"none\",\"Service\":{\"Service\":\"none\"}}");
    assert_true(has(get(w, "/v1/query/none/execute"), "\"Nodes\":[]"));
    assert_int_equal(w->call.status, 200);
}

/* Everybody is first about as often; a limit cuts behind the shuffle. */
static void answers_are_shuffled_then_cut(void **state)
{
    struct world *w = *state;
    int first[3] = {0};
    three(w);
    (void)make(w, "{\"Name\":\"q\",\"Service\":{\"Service\":\"web\"}}");
    for (int i = 0; i < 3000; i++) {
        const char *n = nodes_of(w, "/v1/query/q/execute?limit=2");
        assert_int_equal(strlen(n), 2);
        assert_true(n[0] != n[1]);
        first[n[0] - 'a']++;
    }
    for (int i = 0; i < 3; i++)
        assert_in_range(first[i], 900, 1100);
    assert_int_equal(strlen(nodes_of(w, "/v1/query/q/execute?limit=0")), 3);
    assert_int_equal(strlen(nodes_of(w, "/v1/query/q/execute?limit=-1")), 3);
    assert_int_equal(strlen(nodes_of(w, "/v1/query/q/execute?limit=9")), 3);
}

static void a_long_execution_is_left_to_the_drafter(void **state)
{
    struct world *w = *state;
    struct buf out = {0};
    three(w);
    (void)make(w, "{\"Name\":\"q\",\"Service\":{\"Service\":\"web\"}}");
    struct api_env env = env_of(w);
    assert_int_equal(
        begin(w, "GET", "/v1/query/q/execute?limit=2&near=_agent&index=5", ""),
        API_READ);
    w->call.cost_limit = 1;
    api_read(&w->call, &env);
    assert_true(w->call.too_long);
    api_canonical(&w->call, &out);
    assert_bytes(buf_bytes(&out), "/v1/query/q%2Fexecute?limit=2&near=_agent");
    struct api_call again;
    api_call_init(&again);
    assert_ok(api_from_canonical(&again, &env, buf_bytes(&out), &w->arena));
    api_read(&again, &env);
    assert_int_equal(again.status, 200);
    assert_true(again.fresh);
    api_call_fini(&again);
    buf_fini(&out);
}

static void place(struct world *w, const char *node, double x)
{
    struct plan p;
    struct errtext t;
    plan_init(&p, &w->arena);
    assert_ok(plan_coordinate(
        &p, catalog_current(w->catalog),
        &(struct coordinate_view){.node = bytes_str(node), .at = {.vec = {x}}},
        &t));
    apply_plan(w, &p);
}

static void the_nearest_come_first(void **state)
{
    struct world *w = *state;
    three(w);
    add(w, "own", "{\"Service\":\"other\"}");
    place(w, "own", 0);
    place(w, "a", 9);
    place(w, "b", 1);
    place(w, "c", 4);
    (void)make(w, "{\"Name\":\"q\",\"Service\":{\"Service\":\"web\"}}");
    (void)make(w, "{\"Name\":\"n\",\"Service\":{\"Service\":\"web\",\"Near\":"
                  "\"_agent\"}}");
    (void)make(w, "{\"Name\":\"i\",\"Service\":{\"Service\":\"web\",\"Near\":"
                  "\"_ip\"}}");
    for (int i = 0; i < 20; i++) {
        assert_string_equal(nodes_of(w, "/v1/query/q/execute?near=_agent"),
                            "bca");
        assert_string_equal(nodes_of(w, "/v1/query/n/execute"), "bca");
        assert_string_equal(nodes_of(w, "/v1/query/n/execute?near=a&limit=2"),
                            "ac");
        /* As from a client at the address of node c. */
        w->peer = "4.4.4.4:1000";
        assert_int_equal(put(w, "/v1/catalog/register",
                             "{\"Node\":\"c\",\"Address\":\"4.4.4.4\"}"),
                         200);
        assert_string_equal(nodes_of(w, "/v1/query/i/execute"), "cba");
        w->peer = NULL;
    }
    /* Who is nowhere comes last; near nobody, nothing is sorted. */
    add(w, "d", "{\"Service\":\"web\",\"Port\":80}");
    assert_string_equal(nodes_of(w, "/v1/query/n/execute"), "bcad");
    int first_a = 0;
    for (int i = 0; i < 400; i++)
        first_a += nodes_of(w, "/v1/query/q/execute?near=nobody")[0] == 'a';
    assert_in_range(first_a, 50, 150);
    /* A node is next to itself although nobody knows where that is. */
    for (int i = 0; i < 20; i++)
        assert_int_equal(nodes_of(w, "/v1/query/q/execute?near=D")[0], 'd');
}

static const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    T(a_query_is_made_shown_changed_and_deleted),
    T(targets_of_a_failover_are_datacenters),
    T(bad_requests_are_refused_by_name),
    T(an_execution_tells_instances_and_what_goes_with_them),
    T(answers_are_shuffled_then_cut),
    T(the_nearest_come_first),
    T(a_long_execution_is_left_to_the_drafter),
};

RUN_TESTS(tests)
