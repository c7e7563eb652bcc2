/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "api_world.h"

static int status_of_get(struct world *w, const char *target)
{
    (void)get(w, target);
    return w->call.status;
}

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

static void add(struct world *w, const char *node, const char *service)
{
    char body[1024];
    snprintf(body, sizeof body,
             "{\"Node\":\"%s\",\"Address\":\"1.2.3.4\",\"Service\":%s}", node,
             service);
    assert_int_equal(put(w, "/v1/catalog/register", body), 200);
}

static bool has(struct bytes in, const char *text)
{
    return memmem(in.p, in.n, text, strlen(text)) != NULL;
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

static void nobody_else_can_be_thrown_out(void **state)
{
    struct world *w = *state;
    assert_bytes(agent_put(w, "/v1/agent/force-leave/own?prune"), "");
    assert_int_equal(w->call.status, 200);
    assert_bytes(agent_put(w, "/v1/agent/force-leave/own.dc1"), "");
    assert_bytes(agent_put(w, "/v1/agent/force-leave/ow"),
                 "agent: No node found with name 'ow'");
    assert_int_equal(w->call.status, 500);
    assert_bytes(agent_put(w, "/v1/agent/force-leave/owner"),
                 "agent: No node found with name 'owner'");
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

    struct api_env env = env_of(w);
    env.ready = false;
    assert_int_equal(begin(w, "GET", "/v1/operator/autopilot/health", ""),
                     API_READ);
    api_read(&w->call, &env);
    assert_int_equal(w->call.status, 429);
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

static struct agent_op *op_of(struct world *w, const char *target,
                              const char *body)
{
    struct api_env env = env_of(w);
    struct agent_op *op = NULL;
    assert_int_equal(begin(w, "PUT", target, body), API_AGENT);
    enum api_next next = api_agent(&w->call, &env, &op);
    assert_int_equal(next, op ? API_AGENT : API_ANSWER);
    return op;
}

static void fire(struct world *w, const char *target, const char *id)
{
    struct agent_op *op = op_of(w, target, "p\xff");
    assert_non_null(op);
    snprintf(op->event.id, sizeof op->event.id, "%s", id);
    op->http_status = 200;
    api_agent_answer(&w->call, op);
    if (op->enable)
        heard_add_event(w->heard, &op->event);
    agent_op_free(op);
}

static void events_are_listed_with_the_index_of_the_last(void **state)
{
    struct world *w = *state;
    assert_bytes(get(w, "/v1/event/list"), "[]");
    assert_bytes(buf_bytes(&w->call.extra_head), "X-Consul-Index: 1\r\n");
    fire(w, "/v1/event/fire/one?node=^ow",
         "a75b2400-b37a-2d5d-4749-e4c78fecdcf2");
    assert_bytes(buf_bytes(&w->call.body),
                 "{\"ID\":\"a75b2400-b37a-2d5d-4749-e4c78fecdcf2\","
                 "\"Name\":\"one\",\"Payload\":\"cP8=\",\"NodeFilter\":"
                 "\"^ow\",\"ServiceFilter\":\"\",\"TagFilter\":\"\","
                 "\"Version\":1,\"LTime\":0}");
    assert_true(has(get(w, "/v1/event/list"), "\"LTime\":1}]"));
    /* As Consul 1.8.7 told it of this very ID. */
    assert_bytes(buf_bytes(&w->call.extra_head),
                 "X-Consul-Index: 16146179576024199599\r\n");
    fire(w, "/v1/event/fire/two", "00000000-0000-0001-0000-000000000002");
    fire(w, "/v1/event/fire/other?node=elsewhere", "");
    fire(w, "/v1/event/fire/other?service=web", "");
    (void)get(w, "/v1/event/list?name=two");
    assert_int_equal(w->call.content_hash, 3);
    (void)get(w, "/v1/event/list?name=one");
    assert_true(w->call.content_hash == 16146179576024199599u);
    assert_bytes(get(w, "/v1/event/list?name=other"), "[]");
    assert_int_equal(begin(w, "GET", "/v1/event/list?index=3&name=two", ""),
                     API_READ);
    assert_true(w->call.has_hash && w->call.asked_hash == 3);
    struct buf target = {0};
    api_canonical(&w->call, &target);
    assert_bytes(buf_bytes(&target), "/v1/event/list?name=two");
    buf_fini(&target);
}

static void the_oldest_events_make_room(void **state)
{
    struct world *w = *state;
    struct heard_event e = {.name = bytes_str("n")};
    for (unsigned i = 0; i < HEARD_EVENTS_MAX + 3; i++) {
        snprintf(e.id, sizeof e.id, "%08x-0000-0000-0000-000000000000", i);
        heard_add_event(w->heard, &e);
    }
    const struct heard_snapshot *s = heard_current(w->heard);
    assert_int_equal(s->event_count, HEARD_EVENTS_MAX);
    assert_int_equal(s->events[0]->number, 4);
    assert_int_equal(s->events[HEARD_EVENTS_MAX - 1]->number,
                     HEARD_EVENTS_MAX + 3);
}

static void events_that_cannot_be_sent_are_refused(void **state)
{
    struct world *w = *state;
    static char large[500];
    static const struct {
        const char *target;
        int status;
        const char *text;
    } cases[] = {
        {"/v1/event/fire/", 400, "Missing name"},
        {"/v1/event/fire/x?tag=a", 500,
         "Cannot provide tag filter without service filter"},
        {"/v1/event/fire/x?node=%5B", 500,
         "Invalid node filter: error parsing regexp: missing closing ]: `[`"},
        {"/v1/event/fire/x", 500,
         "1 error occurred:\n\t* error broadcasting event to segment \"\": "
         "user event exceeds configured limit of 512 bytes before "
         "encoding\n\n"},
        {"/v1/event/fire/x?dc=nope", 500, "No path to datacenter"},
    };
    memset(large, 'a', sizeof large - 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct api_env env = env_of(w);
        struct agent_op *op = NULL;
        if (begin(w, "PUT", cases[i].target, large) == API_AGENT)
            assert_int_equal(api_agent(&w->call, &env, &op), API_ANSWER);
        assert_bytes(buf_bytes(&w->call.body), cases[i].text);
        assert_int_equal(w->call.status, cases[i].status);
    }
    large[414] = 0; /* what Consul takes with this name */
    struct agent_op *op = op_of(w, "/v1/event/fire/x", large);
    assert_non_null(op);
    agent_op_free(op);
}

static void coordinates_are_kept_and_shown(void **state)
{
    struct world *w = *state;
    add(w, "n", "{\"Service\":\"s\"}");
    assert_int_equal(status_of_get(w, "/v1/coordinate/node/n"), 404);
    struct agent_op *op =
        op_of(w, "/v1/coordinate/update",
              "{\"Node\":\"N\",\"Coord\":{\"Vec\":[1,2,3,4,5,6,7,0.5],"
              "\"Error\":0.25,\"Height\":1e-5}}");
    assert_non_null(op);
    assert_int_equal(op->kind, AGENT_COORDINATE);
    assert_ok(heard_put_coordinate(w->heard, &op->coordinate));
    agent_op_free(op);
    assert_bytes(get(w, "/v1/coordinate/node/n"),
                 "[{\"Node\":\"n\",\"Segment\":\"\",\"Coord\":{\"Vec\":"
                 "[1,2,3,4,5,6,7,0.5],\"Error\":0.25,\"Adjustment\":0,"
                 "\"Height\":0.00001}}]");
    assert_bytes(buf_bytes(&w->call.extra_head),
                 "X-Consul-Index: 2\r\nX-Consul-Knownleader: true\r\n"
                 "X-Consul-Lastcontact: 0\r\n");
    assert_true(has(get(w, "/v1/coordinate/nodes"), "\"Node\":\"n\""));
    assert_bytes(get(w, "/v1/coordinate/nodes?segment=x"), "[]");
    assert_true(has(get(w, "/v1/coordinate/datacenters"),
                    "[{\"Datacenter\":\"dc1\",\"AreaID\":\"wan\","
                    "\"Coordinates\":[{\"Node\":\"own\""));
    /* Of nobody: dropped. */
    assert_null(op_of(w, "/v1/coordinate/update",
                      "{\"Node\":\"x\",\"Coord\":{\"Vec\":"
                      "[1,2,3,4,5,6,7,8]}}"));
    assert_int_equal(w->call.status, 200);
    static const struct {
        const char *body;
        int status;
    } bad[] = {
        {"{}", 400},
        {"{\"Node\":\"n\",\"Coord\":{\"Vec\":[1]}}", 500},
        {"{\"Node\":\"n\",\"Coord\":{\"Vec\":[1,2,3,4,5,6,7,\"8\"]}}", 400},
        {"{\"Node\":\"n\",\"Coord\":{\"Vec\":{}}}", 400},
        {"{\"Node\":\"n\",\"Coord\":{\"Height\":\"x\"}}", 400},
        {"{\"Node\":1}", 400},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_null(op_of(w, "/v1/coordinate/update", bad[i].body));
        assert_int_equal(w->call.status, bad[i].status);
    }
}

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
    T(proxies_are_found_by_what_they_are_for),
    T(the_whole_catalog_is_one_thing_to_wait_for),
    T(the_page_sees_sums_of_services),
    T(joining_oneself_works_and_nobody_else_is_there),
    T(nobody_else_can_be_thrown_out),
    T(a_reload_is_the_servers_to_carry_out),
    T(what_is_off_says_so_in_consuls_words),
    T(one_server_leads_itself),
    T(the_machine_is_shown_as_it_was_found),
    T(events_are_listed_with_the_index_of_the_last),
    T(the_oldest_events_make_room),
    T(events_that_cannot_be_sent_are_refused),
    T(coordinates_are_kept_and_shown),
    T(a_sidecar_is_filled_from_its_service),
    T(sidecars_are_refused_in_consuls_words),
};

RUN_TESTS(tests)
