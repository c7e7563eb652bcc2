/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "api_world.h"

/* The answer of a route of the agent that needs no op. */
static struct bytes agent_put(struct world *w, const char *target)
{
    struct api_env env = env_of(w);
    struct agent_op *op = NULL;
    assert_int_equal(begin(w, "PUT", target, ""), API_AGENT);
    assert_int_equal(api_agent(&w->call, &env, &op), API_ANSWER);
    assert_null(op);
    return buf_bytes(&w->call.body);
}

static void proxies_are_found_by_what_they_are_for(void **state)
{
    struct world *w = *state;
    add(w, "a",
        "{\"Service\":\"p\",\"Kind\":\"connect-proxy\",\"Port\":1,"
        "\"Proxy\":{\"DestinationServiceName\":\"Web\"}}");
    add(w, "b", "{\"Service\":\"web\",\"Connect\":{\"Native\":true}}");
    add(w, "c", "{\"Service\":\"web\"}");
    add(w, "d",
        "{\"Service\":\"p\",\"Kind\":\"mesh-gateway\","
        "\"Proxy\":{\"DestinationServiceName\":\"web\"}}");
    struct bytes all = get(w, "/v1/catalog/connect/web");
    assert_true(has(all, "\"Node\":\"a\""));
    assert_true(has(all, "\"Node\":\"b\""));
    assert_false(has(all, "\"Node\":\"c\""));
    assert_false(has(all, "\"Node\":\"d\""));
    assert_bytes(get(w, "/v1/catalog/connect/p"), "[]");
    assert_bytes(get(w, "/v1/catalog/connect/web?node-meta=x:y"), "[]");
    struct bytes some =
        get(w, "/v1/health/connect/web?filter=Node.Node%20%3D%3D%20b");
    assert_false(has(some, "\"Node\":\"a\""));
    assert_true(has(some, "\"Node\":\"b\""));
    assert_int_equal(
        put(w, "/v1/catalog/register",
            "{\"Node\":\"a\",\"Address\":\"1.2.3.4\",\"Check\":{"
            "\"Name\":\"c\",\"ServiceID\":\"p\",\"Status\":\"warning\"}}"),
        200);
    assert_true(has(get(w, "/v1/health/connect/web"), "\"CheckID\":\"c\""));
    struct bytes passing = get(w, "/v1/health/connect/web?passing");
    assert_false(has(passing, "\"Node\":\"a\""));
    assert_true(has(passing, "\"Node\":\"b\""));
    assert_int_equal(status_of_get(w, "/v1/health/connect/x?passing=no"), 400);
}

/* Whatever changes in the catalog may change these answers. */
static void the_whole_catalog_is_one_thing_to_wait_for(void **state)
{
    struct world *w = *state;
    struct watch_key all = {WATCH_CATALOG, {NULL, 0}};
    static const char *const writes[] = {
        "{\"Node\":\"n\",\"Address\":\"1.2.3.4\"}",
        "{\"Node\":\"n\",\"Address\":\"1.2.3.4\",\"Service\":{\"Service\":\"s\""
        "}}",
        "{\"Node\":\"n\",\"Address\":\"1.2.3.4\",\"Check\":{\"Name\":\"c\"}}",
        "{\"Node\":\"n\",\"Address\":\"1.2.3.4\",\"Check\":{\"Name\":\"c\","
        "\"Output\":\"new\"}}",
    };
    for (size_t i = 0; i < sizeof writes / sizeof writes[0]; i++) {
        assert_int_equal(put(w, "/v1/catalog/register", writes[i]), 200);
        assert_int_equal(snapshot_index(catalog_current(w->catalog), all),
                         w->revision);
        const struct watch_set *set = catalog_changes(w->catalog);
        bool told = false;
        for (size_t k = 0; k < set->n; k++)
            told |= set->v[k] == watch_hash(all);
        assert_true(told);
    }
}

static void the_page_sees_sums_of_services(void **state)
{
    struct world *w = *state;
    add(w, "a",
        "{\"Service\":\"web\",\"ID\":\"1\",\"Tags\":[\"y\",\"x\"],"
        "\"Meta\":{\"external-source\":\"k8s\"}}");
    add(w, "a", "{\"Service\":\"web\",\"ID\":\"2\",\"Tags\":[\"x\"]}");
    assert_int_equal(
        put(w, "/v1/catalog/register",
            "{\"Node\":\"a\",\"Address\":\"1.2.3.4\",\"Checks\":["
            "{\"Name\":\"n\",\"Status\":\"passing\"},"
            "{\"Name\":\"c\",\"ServiceID\":\"1\",\"Status\":\"warning\"}]}"),
        200);
    assert_bytes(get(w, "/v1/internal/ui/services"),
                 "[{\"Name\":\"web\",\"Tags\":[\"x\",\"y\"],\"Nodes\":[\"a\"],"
                 "\"InstanceCount\":2,\"ChecksPassing\":2,\"ChecksWarning\":1,"
                 "\"ChecksCritical\":0,\"ExternalSources\":[\"k8s\"],"
                 "\"GatewayConfig\":{}}]");
    assert_bytes(
        get(w, "/v1/internal/ui/services?filter=Node.Node%20%3D%3D%20b"), "[]");
    assert_bytes(get(w, "/v1/internal/ui/nodes?filter=Node%20%3D%3D%20b"),
                 "[]");
    struct bytes node = get(w, "/v1/internal/ui/node/a");
    assert_true(has(node, "{\"ID\":\"\",\"Node\":\"a\",\"Address\":\"1.2.3.4\","
                          "\"TaggedAddresses\":null,\"Meta\":null,"
                          "\"Services\":[{\"ID\":\"1\""));
    assert_int_equal(status_of_get(w, "/v1/internal/ui/node/nope"), 404);
    assert_bytes(buf_bytes(&w->call.body), "");
    assert_true(has(get(w, "/v1/internal/ui/nodes"), "\"CheckID\":\"c\""));
}

static void joining_oneself_works_and_nobody_else_is_there(void **state)
{
    struct world *w = *state;
    w->self.serf_lan_port = 8301;
    w->self.serf_wan_port = 8302;
    w->self.bind_address = bytes_str("127.0.0.1");
    static const char *const fine[] = {"127.0.0.1:8301", "127.0.0.1",
                                       "localhost:8301", "127.0.0.1:8302?wan=1",
                                       "own"};
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++) {
        char target[128];
        snprintf(target, sizeof target, "/v1/agent/join/%s", fine[i]);
        assert_bytes(agent_put(w, target), "");
        assert_int_equal(w->call.status, 200);
    }
    assert_bytes(agent_put(w, "/v1/agent/join/127.0.0.1:1"),
                 "1 error occurred:\n\t* Failed to join 127.0.0.1: dial tcp "
                 "127.0.0.1:1: connect: connection refused\n\n");
    assert_int_equal(w->call.status, 500);
    assert_bytes(agent_put(w, "/v1/agent/join/nope.invalid:7"),
                 "1 error occurred:\n\t* Failed to resolve nope.invalid:7: "
                 "lookup nope.invalid: no such host\n\n");
    assert_bytes(agent_put(w, "/v1/agent/join/"),
                 "1 error occurred:\n\t* Failed to resolve : lookup : no such "
                 "host\n\n");
    assert_bytes(agent_put(w, "/v1/agent/join/[::2]:9"),
                 "1 error occurred:\n\t* Failed to join ::2: dial tcp ::2:9: "
                 "connect: connection refused\n\n");
}

/* The answer of a write that writes nothing; or how many operations it has. */
static struct bytes throw_out(struct world *w, const char *target,
                              size_t *ret_ops)
{
    struct api_env env = env_of(w);
    struct plan p;
    plan_init(&p, &w->arena);
    assert_int_equal(begin(w, "PUT", target, ""), API_WRITE);
    enum api_next next = api_write(&w->call, &env, &p);
    assert_int_equal(next, p.op_count ? API_WRITE : API_ANSWER);
    *ret_ops = p.op_count;
    return buf_bytes(&w->call.body);
}

static void only_who_has_failed_can_be_thrown_out(void **state)
{
    struct world *w = *state;
    size_t ops;
    static const char body[] =
        "{\"Node\":\"m\",\"Address\":\"1.2.3.4\",\"NodeMeta\":{"
        "\"muster_peer_port\":\"8301\"},\"Check\":{\"CheckID\":"
        "\"serfHealth\",\"Name\":\"s\",\"Status\":\"%s\"}}";
    char text[256];
    assert_bytes(throw_out(w, "/v1/agent/force-leave/own?prune", &ops), "");
    assert_int_equal(w->call.status, 200);
    assert_bytes(throw_out(w, "/v1/agent/force-leave/own.dc1", &ops), "");
    assert_bytes(throw_out(w, "/v1/agent/force-leave/ow", &ops),
                 "agent: No node found with name 'ow'");
    assert_int_equal(w->call.status, 500);
    assert_bytes(throw_out(w, "/v1/agent/force-leave/owner", &ops),
                 "agent: No node found with name 'owner'");
    snprintf(text, sizeof text, body, "passing");
    assert_int_equal(put(w, "/v1/catalog/register", text), 200);
    assert_true(has(get(w, "/v1/agent/members"), "\"Name\":\"m\""));
    assert_bytes(throw_out(w, "/v1/agent/force-leave/m", &ops), "");
    assert_int_equal(ops, 0);
    snprintf(text, sizeof text, body, "critical");
    assert_int_equal(put(w, "/v1/catalog/register", text), 200);
    assert_true(has(get(w, "/v1/agent/members"), "\"Status\":4"));
    assert_bytes(throw_out(w, "/v1/agent/force-leave/m.dc1", &ops), "");
    assert_true(ops > 0);
}

static void a_reload_is_the_servers_to_carry_out(void **state)
{
    struct world *w = *state;
    struct api_env env = env_of(w);
    struct agent_op *op = NULL;
    assert_int_equal(begin(w, "PUT", "/v1/agent/reload", ""), API_AGENT);
    assert_int_equal(api_agent(&w->call, &env, &op), API_AGENT);
    assert_int_equal(op->kind, AGENT_RELOAD);
    agent_op_free(op);
}

static void what_is_off_says_so_in_consuls_words(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *target;
        int status;
        const char *text;
    } cases[] = {
        {"/v1/agent/connect/ca/roots", 500,
         "Connect must be enabled in order to use this endpoint"},
        {"/v1/agent/connect/ca/leaf/x", 500,
         "Connect must be enabled in order to use this endpoint"},
        {"/v1/connect/ca/configuration", 500,
         "Connect must be enabled in order to use this endpoint"},
        {"/v1/acl/tokens", 401, "ACL support disabled"},
        {"/v1/acl/token/self", 401, "ACL support disabled"},
        {"/v1/operator/keyring", 500,
         "4 errors occurred:\n\t* WAN error: 1/1 nodes reported failure\n"
         "\t* own.dc1: Keyring is empty (encryption not enabled)\n"
         "\t* dc1 (LAN) error: 1/1 nodes reported failure\n"
         "\t* own: Keyring is empty (encryption not enabled)\n\n"},
        {"/v1/kv/a/b", 501,
         "/v1/kv/ is not supported by this version of muster: docs/api.md "
         "lists the routes that are"},
        {"/v1/connect/intentions", 200, "[]"},
        {"/v1/connect/intentions/match?by=source&name=b&name=a", 200,
         "{\"b\":null,\"a\":null}"},
        {"/v1/connect/intentions/match?by=x&name=b", 500,
         "'by' parameter must be one of 'source' or 'destination'"},
        {"/v1/connect/intentions/match", 500,
         "required query parameter 'by' not set"},
        {"/v1/connect/intentions/check?source=a&destination=b", 200,
         "{\"Allowed\":true}"},
        {"/v1/connect/intentions/check?source=a", 500,
         "required query parameter 'destination' not set"},
        {"/v1/config/service-defaults", 200, "[]"},
        {"/v1/config/service-defaults/x", 404,
         "Config entry not found for \"service-defaults\" / \"x\""},
        {"/v1/catalog/gateway-services/x", 200, "null"},
        {"/v1/health/ingress/x", 200, "[]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_bytes(get(w, cases[i].target), cases[i].text);
        assert_int_equal(w->call.status, cases[i].status);
    }
    static const char *const writes[] = {
        "/v1/connect/intentions/x", "/v1/config", "/v1/kv/a", "/v1/txn",
        "/v1/operator/autopilot/configuration"};
    for (size_t i = 0; i < sizeof writes / sizeof writes[0]; i++) {
        struct api_env env = env_of(w);
        assert_int_equal(begin(w, "PUT", writes[i], "{}"), API_READ);
        api_read(&w->call, &env);
        assert_int_equal(w->call.status, 501);
    }
}

static void one_server_leads_itself(void **state)
{
    struct world *w = *state;
    w->self.node_id = bytes_str("id");
    w->self.version = bytes_str("1.8.7");
    assert_bytes(get(w, "/v1/operator/raft/configuration"),
                 "{\"Servers\":[{\"ID\":\"id\",\"Node\":\"own\",\"Address\":"
                 "\"127.0.0.1:8300\",\"Leader\":true,\"ProtocolVersion\":\"3\","
                 "\"Voter\":true}],\"Index\":0}");
    assert_true(has(get(w, "/v1/operator/autopilot/configuration"),
                    "\"LastContactThreshold\":\"200ms\""));
    assert_true(has(get(w, "/v1/operator/autopilot/health"),
                    "{\"Healthy\":true,\"FailureTolerance\":0,\"Servers\":[{"));
    assert_true(has(get(w, "/v1/operator/autopilot/state"),
                    "\"Leader\":\"id\",\"Voters\":[\"id\"]}"));
    assert_true(has(get(w, "/v1/agent/version"), "\"HumanVersion\":\"1.8.7\""));
    assert_true(has(get(w, "/v1/muster/id"), "\"Datacenter\":\"dc1\""));

    struct api_env env = env_of(w);
    env.ready = false;
    assert_int_equal(begin(w, "GET", "/v1/operator/autopilot/health", ""),
                     API_READ);
    api_read(&w->call, &env);
    assert_int_equal(w->call.status, 429);
}

/* No empty list: an operator would take it for a cluster without servers. */
static void who_does_not_know_the_members_yet_says_so(void **state)
{
    struct world *w = *state;
    const struct api_cluster unknown = {.managed = true},
                             forming = {.managed = true, .fresh = true};
    struct api_env env = env_of(w);

    env.cluster = &unknown;
    assert_int_equal(begin(w, "GET", "/v1/operator/raft/configuration", ""),
                     API_READ);
    api_read(&w->call, &env);
    assert_int_equal(w->call.status, 500);
    env.cluster = &forming;
    assert_int_equal(begin(w, "GET", "/v1/operator/raft/configuration", ""),
                     API_READ);
    api_read(&w->call, &env);
    assert_int_equal(w->call.status, 200);
    assert_true(has(buf_bytes(&w->call.body), "\"Servers\":[]"));
}

static void the_machine_is_shown_as_it_was_found(void **state)
{
    struct world *w = *state;
    struct api_host host = {.memory_total = 200,
                            .memory_available = 150,
                            .cpus = 1,
                            .cpu_model = "cpu \"x\"",
                            .hostname = "box"};
    struct api_env env = env_of(w);
    env.host = &host;
    env.wall_ms = 1234567;
    assert_int_equal(begin(w, "GET", "/v1/agent/host", ""), API_READ);
    assert_true(w->call.want_host);
    api_read(&w->call, &env);
    struct bytes body = buf_bytes(&w->call.body);
    assert_true(has(body, "{\"Memory\":{\"total\":200,\"available\":150,"
                          "\"used\":50,\"usedPercent\":25,"));
    assert_true(has(body, "\"CPU\":[{\"cpu\":0,\"modelName\":\"cpu \\\"x\\\"\""
                          "}]"));
    assert_true(has(body, "\"CollectionTime\":1234567000000,"));
}

/* --- Peers ---------------------------------------------------------------- */

static void users_do_not_see_what_peers_ask(void **state)
{
    struct world *w = *state;

    assert_int_equal(status_of_get(w, "/v1/peer/hello"), 404);
    assert_bytes(buf_bytes(&w->call.body), "");
    w->from_peer = true;
    assert_int_equal(status_of_get(w, "/v1/peer/hello"), 200);
    assert_int_equal(status_of_get(w, "/v1/peer/nope"), 404);
    assert_int_equal(status_of_get(w, "/v1/catalog/nodes"), 200);
    assert_int_equal(status_of_get(w, "/v1/agent/self"), 404);
    assert_int_equal(status_of_get(w, "/"), 404);
    assert_int_equal(status_of_get(w, "/ui/"), 404);
    assert_int_equal(begin(w, "PUT", "/v1/agent/leave", ""), API_ANSWER);
    assert_int_equal(w->call.status, 404);
}

static void hello_says_who_and_of_what(void **state)
{
    struct world *w = *state;
    struct api_server other = {.id = bytes_str("u-2"),
                               .node = bytes_str("n2"),
                               .address = bytes_str("10.0.0.2"),
                               .peer_port = 8301,
                               .server_port = 8300};
    struct api_cluster cl = {.managed = true,
                             .fresh = true,
                             .phase = "fresh",
                             .expect = 3,
                             .servers = &other,
                             .server_count = 1};

    w->from_peer = true;
    w->cluster = &cl;
    struct bytes got = get(w, "/v1/peer/hello");
    assert_true(bytes_starts(got, bytes_str("{\"Node\":\"own\",")));
    assert_true(has(got, "\"BootstrapExpect\":3,\"Phase\":\"fresh\","
                         "\"Fresh\":true"));
    assert_true(has(got, "\"Sees\":[{\"Node\":\"n2\",\"ID\":\"u-2\","
                         "\"Address\":\"10.0.0.2\",\"PeerPort\":8301,"
                         "\"ServerPort\":8300}]"));
}

/* Half of a rolling upgrade: each says what it is, and who was not heard of
 * says nothing. */
static void each_server_is_shown_with_its_own_version(void **state)
{
    struct world *w = *state;
    struct api_server servers[] = {
        {.id = bytes_str("u-1"), .node = bytes_str("own"), .self = true},
        {.id = bytes_str("u-2"),
         .node = bytes_str("n2"),
         .version = bytes_str("9.8.7"),
         .alive = true},
        {.id = bytes_str("u-3"), .node = bytes_str("n3")},
    };
    struct api_cluster cl = {.managed = true,
                             .phase = "member",
                             .store_size = 5000,
                             .store_used = 4000,
                             .servers = servers,
                             .server_count = 3};

    w->cluster = &cl;
    struct bytes got = get(w, "/v1/operator/autopilot/health");
    assert_int_equal(w->call.status, 429); /* one is not there */
    const char *n2 = memmem(got.p, got.n, "\"n2\"", 4);
    const char *n3 = memmem(got.p, got.n, "\"n3\"", 4);
    assert_non_null(n2);
    assert_non_null(n3);
    assert_true(has(bytes_of(n2, (size_t)(n3 - n2)), "\"Version\":\"9.8.7\""));
    assert_true(
        has(bytes_of(n3, (size_t)(got.p + got.n - n3)), "\"Version\":\"\""));
    assert_false(has(bytes_of(got.p, (size_t)(n2 - got.p)), "9.8.7"));
    w->from_peer = true;
    assert_true(
        has(get(w, "/v1/peer/hello"), "\"StoreSize\":5000,\"StoreUsed\":4000"));
}

static void hello_lists_servers_that_peers_can_reach(void **state)
{
    struct world *w = *state;

    assert_int_equal(
        put(w, "/v1/catalog/register",
            "{\"Node\":\"s1\",\"Address\":\"10.0.0.1\",\"Service\":{"
            "\"Service\":\"consul\",\"Port\":8300,\"Meta\":{"
            "\"muster_peer_port\":\"9301\"}}}"),
        200);
    assert_int_equal(put(w, "/v1/catalog/register",
                         "{\"Node\":\"s2\",\"Address\":\"10.0.0.2\","
                         "\"Service\":{\"Service\":\"consul\"}}"),
                     200);
    w->from_peer = true;
    assert_true(has(get(w, "/v1/peer/hello"),
                    "\"Servers\":[{\"Node\":\"s1\",\"ID\":\"\","
                    "\"Address\":\"10.0.0.1\",\"PeerPort\":9301,"
                    "\"ServerPort\":8300}]"));
}

static const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    T(proxies_are_found_by_what_they_are_for),
    T(the_whole_catalog_is_one_thing_to_wait_for),
    T(the_page_sees_sums_of_services),
    T(joining_oneself_works_and_nobody_else_is_there),
    T(only_who_has_failed_can_be_thrown_out),
    T(a_reload_is_the_servers_to_carry_out),
    T(what_is_off_says_so_in_consuls_words),
    T(one_server_leads_itself),
    T(who_does_not_know_the_members_yet_says_so),
    T(the_machine_is_shown_as_it_was_found),
    T(users_do_not_see_what_peers_ask),
    T(hello_says_who_and_of_what),
    T(each_server_is_shown_with_its_own_version),
    T(hello_lists_servers_that_peers_can_reach),
};

RUN_TESTS(tests)
