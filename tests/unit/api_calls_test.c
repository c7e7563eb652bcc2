/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "api_world.h"

static void a_registration_is_read_back_in_consuls_shape(void **state)
{
    struct world *w = *state;
    assert_int_equal(put(w, "/v1/catalog/register",
                         "{\"Node\":\"n\",\"Address\":\"1.2.3.4\",\"Service\":{"
                         "\"Service\":\"s\",\"Tags\":[\"t\"],\"Port\":7},"
                         "\"Check\":{\"Name\":\"c\",\"ServiceID\":\"s\","
                         "\"Status\":\"passing\",\"Output\":\"<ok>\"}}"),
                     200);
    assert_bytes(
        get(w, "/v1/health/service/s"),
        "[{\"Node\":{\"ID\":\"\",\"Node\":\"n\",\"Address\":\"1.2.3.4\","
        "\"Datacenter\":\"dc1\",\"TaggedAddresses\":null,\"Meta\":null,"
        "\"CreateIndex\":2,\"ModifyIndex\":2},\"Service\":{\"ID\":\"s\","
        "\"Service\":\"s\",\"Tags\":[\"t\"],\"Address\":\"\",\"Meta\":null,"
        "\"Port\":7,\"Weights\":{\"Passing\":1,\"Warning\":1},"
        "\"EnableTagOverride\":false,\"Proxy\":{\"MeshGateway\":{},"
        "\"Expose\":{}},\"Connect\":{},\"CreateIndex\":2,\"ModifyIndex\":2},"
        "\"Checks\":[{\"Node\":\"n\",\"CheckID\":\"c\",\"Name\":\"c\","
        "\"Status\":\"passing\",\"Notes\":\"\",\"Output\":"
        "\"\\u003cok\\u003e\",\"ServiceID\":\"s\",\"ServiceName\":\"s\","
        "\"ServiceTags\":[\"t\"],\"Type\":\"\",\"Definition\":{},"
        "\"CreateIndex\":2,\"ModifyIndex\":2}]}]");
    assert_bytes(get(w, "/v1/catalog/services"), "{\"s\":[\"t\"]}");
}

static void equal_writes_plan_nothing(void **state)
{
    struct world *w = *state;
    const char *body = "{\"Node\":\"n\",\"Address\":\"1.2.3.4\",\"Service\":{"
                       "\"Service\":\"s\"}}";
    struct plan p;
    assert_int_equal(put(w, "/v1/catalog/register", body), 200);
    struct api_env env = env_of(w);
    assert_int_equal(begin(w, "PUT", "/v1/catalog/register", body), API_WRITE);
    plan_init(&p, &w->arena);
    assert_int_equal(api_write(&w->call, &env, &p), API_ANSWER);
    assert_int_equal(p.op_count, 0);
    assert_bytes(buf_bytes(&w->call.body), "true");
}

static uint64_t digest(struct world *w, const char *target)
{
    struct api_env env = env_of(w);
    assert_int_equal(begin(w, "GET", target, ""), API_READ);
    w->call.want_digest = true;
    api_read(&w->call, &env);
    return w->call.digest;
}

static void register_check(struct world *w, const char *status,
                           const char *output)
{
    char body[512];
    snprintf(body, sizeof body,
             "{\"Node\":\"n\",\"Address\":\"1.2.3.4\",\"Service\":{\"Service\":"
             "\"s\"},\"Check\":{\"Name\":\"c\",\"ServiceID\":\"s\",\"Status\":"
             "\"%s\",\"Output\":\"%s\"}}",
             status, output);
    assert_int_equal(put(w, "/v1/catalog/register", body), 200);
}

static void the_digest_of_health_ignores_output_but_not_status(void **state)
{
    struct world *w = *state;
    register_check(w, "passing", "one");
    uint64_t health = digest(w, "/v1/health/service/s");
    uint64_t checks = digest(w, "/v1/health/checks/s");
    register_check(w, "passing", "two, longer");
    assert_true(digest(w, "/v1/health/service/s") == health);
    assert_true(digest(w, "/v1/health/checks/s") != checks);
    register_check(w, "warning", "two, longer");
    assert_true(digest(w, "/v1/health/service/s") != health);
}

static void canonical_targets_stand_for_the_same_answer(void **state)
{
    struct world *w = *state;
    static const char *const same[] = {
        "/v1/health/service/a%20b?passing&tag=x&index=7&wait=10s",
        "/v1/health/service/a%20b?wait=5s&tag=x&passing=true&token=z",
        "/v1/health/service/a b?passing=1&tag=x",
    };
    struct buf out;
    buf_init(&out, 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(begin(w, "GET", same[i], ""), API_READ);
        buf_reset(&out);
        api_canonical(&w->call, &out);
        assert_bytes(buf_bytes(&out), "/v1/health/service/a%20b?passing&tag=x");
    }
    struct api_call again;
    struct api_env env = env_of(w);
    api_call_init(&again);
    assert_ok(api_from_canonical(&again, &env, buf_bytes(&out), &w->arena));
    assert_bytes(again.arg, "a b");
    assert_true(again.passing);
    assert_int_equal(again.tag_count, 1);
    assert_int_equal(again.watch.kind, WATCH_SERVICE_HEALTH);
    api_call_fini(&again);
    buf_fini(&out);
}

static void routes_answer_as_gos_mux_does(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *method, *target;
        int status;
        const char *body;
    } cases[] = {
        {"GET", "/", 200, "Consul Agent"},
        {"GET", "/v1", 404, ""},
        {"GET", "/v1/catalog/service/", 400, "Missing service name"},
        {"GET", "/v1/catalog/nodes/", 404, ""},
        {"POST", "/v1/catalog/nodes", 405, "method POST not allowed"},
        {"OPTIONS", "/v1/catalog/nodes", 200, ""},
        {"GET", "/v1/catalog/nodes?index=x", 400, "Invalid index"},
        {"GET", "/v1/catalog/nodes?wait=10", 400, "Invalid wait time"},
        {"GET", "/v1/catalog/nodes?dc=other", 500, "No path to datacenter"},
        {"GET", "/v1/catalog/nodes?max_stale=zz", 400,
         "Invalid max_stale value \"zz\""},
        {"GET", "/v1/health/service/x?passing=maybe", 400,
         "Invalid value for ?passing"},
        {"GET", "/v1//catalog/nodes", 301,
         "<a href=\"/v1/catalog/nodes\">Moved Permanently</a>.\n\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(begin(w, cases[i].method, cases[i].target, ""),
                         API_ANSWER);
        assert_int_equal(w->call.status, cases[i].status);
        assert_bytes(buf_bytes(&w->call.body), cases[i].body);
    }
}

static void a_route_looks_only_at_what_it_has_use_for(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *target;
        int status; /* 0: goes on */
    } cases[] = {
        {"/v1/agent/services?index=x&wait=zz&stale&consistent&passing=x", 0},
        {"/v1/agent/service/x?index=x", 400},
        {"/v1/agent/self?ns=other", 0},
        {"/v1/agent/services?ns=other", 400},
        {"/v1/agent/services?ns=default&partition=default", 0},
        {"/v1/catalog/service/x?partition=other", 400},
        {"/v1/catalog/nodes?passing=x", 0},
        {"/v1/catalog/nodes?max_stale=5s&consistent", 400},
        {"/v1/catalog/service/?dc=other", 400},
        {"/v1/catalog/service/?index=x", 400},
        {"/v1/status/leader?dc=other", 500},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        enum api_next next = begin(w, "GET", cases[i].target, "");
        assert_int_equal(next, cases[i].status ? API_ANSWER : API_READ);
        if (cases[i].status)
            assert_int_equal(w->call.status, cases[i].status);
    }
}

static void peers_say_how_long_a_read_may_be_held(void **state)
{
    static const char *const bad[] = {
        "0", "-1", "+5", "1s", "7 000", "600001", "18446744073709551616"};
    struct world *w = *state;

    w->from_peer = true;
    assert_int_equal(begin(w, "GET", "/v1/catalog/nodes", ""), API_READ);
    assert_int_equal(w->call.hold_ms, 0);
    w->hold = "3500";
    assert_int_equal(begin(w, "GET", "/v1/catalog/nodes", ""), API_READ);
    assert_int_equal(w->call.hold_ms, 3500);
    w->hold = "600000";
    assert_int_equal(begin(w, "GET", "/v1/snapshot", ""), API_SNAPSHOT);
    assert_int_equal(w->call.hold_ms, 600000);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        w->hold = bad[i];
        assert_int_equal(begin(w, "GET", "/v1/catalog/nodes", ""), API_ANSWER);
        assert_int_equal(w->call.status, 400);
    }
    w->hold = "1s";
    assert_bytes(get(w, "/v1/catalog/nodes"),
                 "Invalid X-Muster-Hold \"1s\": milliseconds, from 1 to "
                 "600000");
    w->from_peer = false; /* a user's means nothing */
    assert_int_equal(begin(w, "GET", "/v1/catalog/nodes", ""), API_READ);
    assert_int_equal(w->call.hold_ms, 0);
    w->hold = "3500";
    assert_int_equal(begin(w, "GET", "/v1/catalog/nodes", ""), API_READ);
    assert_int_equal(w->call.hold_ms, 0);
}

static void nothing_is_said_to_be_missing_before_the_load(void **state)
{
    struct world *w = *state;
    struct api_env env = env_of(w);
    env.ready = false;
    assert_int_equal(api_begin(&w->call, &env,
                               request(w, "GET", "/v1/health/service/x", "")),
                     API_ANSWER);
    assert_int_equal(w->call.status, 500);
    assert_bytes(buf_bytes(&w->call.body), "No cluster leader");
}

static void agent_registrations_name_their_checks(void **state)
{
    struct world *w = *state;
    struct api_env env = env_of(w);
    struct agent_op *op;
    assert_int_equal(
        begin(w, "PUT", "/v1/agent/service/register",
              "{\"Name\":\"s\",\"ID\":\"i\",\"Checks\":[{\"TTL\":\"5s\"},"
              "{\"CheckID\":\"own\",\"TTL\":\"5s\"},{\"TTL\":\"5s\"}]}"),
        API_AGENT);
    assert_int_equal(api_agent(&w->call, &env, &op), API_AGENT);
    assert_int_equal(op->check_count, 3);
    assert_bytes(op->checks[0].id, "service:i:1");
    assert_bytes(op->checks[1].id, "own");
    assert_bytes(op->checks[2].id, "service:i:3");
    assert_bytes(op->checks[0].name, "Service 's' check");
    assert_bytes(op->checks[2].service_id, "i");
    agent_op_free(op);
    assert_int_equal(begin(w, "PUT", "/v1/agent/service/register",
                           "{\"Name\":\"s\",\"Check\":{\"TTL\":\"5s\"}}"),
                     API_AGENT);
    assert_int_equal(api_agent(&w->call, &env, &op), API_AGENT);
    assert_bytes(op->checks[0].id, "service:s");
    agent_op_free(op);
}

static void a_check_of_empty_members_is_none(void **state)
{
    struct world *w = *state;
    struct api_env env = env_of(w);
    struct agent_op *op;
    assert_int_equal(begin(w, "PUT", "/v1/agent/service/register",
                           "{\"Name\":\"s\",\"Check\":{\"Notes\":\"\","
                           "\"HTTP\":\"\",\"Interval\":0,\"Args\":[],"
                           "\"Header\":{},\"TLSSkipVerify\":false}}"),
                     API_AGENT);
    assert_int_equal(api_agent(&w->call, &env, &op), API_AGENT);
    assert_int_equal(op->check_count, 0);
    agent_op_free(op);
}

/* Or one registration makes a service's list unreadable for typed clients. */
static void
what_is_kept_as_given_has_the_types_that_readers_decode(void **state)
{
    struct world *w = *state;
    struct api_env env = env_of(w);
    static const struct {
        const char *member, *text; /* NULL: passes */
    } cases[] = {
        {"\"Connect\":{\"Native\":\"yes\"}",
         "Connect: json: cannot unmarshal string into Go struct field .Native "
         "of type bool"},
        {"\"Connect\":[1]",
         "Connect: json: cannot unmarshal array into Go value of type object"},
        {"\"Connect\":{\"SidecarService\":{\"Proxy\":{\"Upstreams\":"
         "[{\"LocalBindPort\":\"x\"}]}}}",
         "Proxy: json: cannot unmarshal string into Go struct field "
         ".Upstreams.LocalBindPort of type int"},
        {"\"Ports\":{}",
         "Ports: json: cannot unmarshal object into Go value of type []object"},
        {"\"Locality\":{\"Zone\":1}",
         "Locality: json: cannot unmarshal number into Go struct field .Zone "
         "of type string"},
        {"\"Proxy\":{\"Config\":{\"any\":[1]},\"New\":1,\"Expose\":{}},"
         "\"Connect\":null,\"Ports\":[{\"Name\":\"a\",\"Port\":1}]",
         NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct agent_op *op = NULL;
        char body[512], text[512] = "";
        snprintf(body, sizeof body, "{\"Name\":\"s\",%s}", cases[i].member);
        if (cases[i].text)
            snprintf(text, sizeof text, "Request decode failed: %s",
                     cases[i].text);
        begin(w, "PUT", "/v1/agent/service/register", body);
        assert_int_equal(api_agent(&w->call, &env, &op),
                         cases[i].text ? API_ANSWER : API_AGENT);
        assert_bytes(buf_bytes(&w->call.body), text);
        if (op)
            agent_op_free(op);
        snprintf(body, sizeof body,
                 "{\"Node\":\"n\",\"Address\":\"1.2.3.4\",\"Service\":{"
                 "\"Service\":\"s\",%s}}",
                 cases[i].member);
        assert_int_equal(put(w, "/v1/catalog/register", body),
                         cases[i].text ? 400 : 200);
    }
}

/* Who means another tenant's service must not get this one changed. */
static void only_the_default_tenant_is_written_to(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *target, *body; /* %s: the member */
    } cases[] = {
        {"/v1/agent/service/register", "{\"Name\":\"s\",%s}"},
        {"/v1/agent/service/register",
         "{\"Name\":\"s\",\"Check\":{\"TTL\":\"1s\",%s}}"},
        {"/v1/agent/check/register", "{\"Name\":\"c\",\"TTL\":\"1s\",%s}"},
        {"/v1/catalog/register", "{\"Node\":\"n\",\"Address\":\"a\",%s}"},
        {"/v1/catalog/register",
         "{\"Node\":\"n\",\"Address\":\"a\",\"Service\":{"
         "\"Service\":\"s\",%s}}"},
        {"/v1/catalog/register",
         "{\"Node\":\"n\",\"Address\":\"a\",\"Checks\":[{\"Name\":"
         "\"c\",%s}]}"},
        {"/v1/catalog/deregister", "{\"Node\":\"none\",%s}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static const struct {
            const char *member, *text; /* NULL: fine */
        } members[] = {
            {"\"Namespace\":\"\"", NULL},
            {"\"Namespace\":\"default\",\"Partition\":\"default\"", NULL},
            {"\"Namespace\":\"x\"",
             "Bad request: Invalid field: \"Namespace\" - Namespaces are a "
             "Consul Enterprise feature"},
            {"\"partition\":\"x\"",
             "Bad request: Invalid field: \"Partition\" - Partitions are a "
             "Consul Enterprise feature"},
        };
        for (size_t k = 0; k < sizeof members / sizeof members[0]; k++) {
            struct api_env env = env_of(w);
            struct agent_op *op = NULL;
            struct plan p;
            char body[300];
            /* The formats are the literals above: one %s each. */
            (void)snprintf(body, sizeof body, cases[i].body, members[k].member);
            plan_init(&p, &w->arena);
            enum api_next next = begin(w, "PUT", cases[i].target, body);
            if (next == API_AGENT)
                next = api_agent(&w->call, &env, &op);
            else
                next = api_write(&w->call, &env, &p);
            agent_op_free(op);
            assert_int_equal(w->call.status, members[k].text ? 400 : 200);
            if (members[k].text)
                assert_bytes(buf_bytes(&w->call.body), members[k].text);
        }
    }
}

static void agent_refusals_come_before_anything_is_done(void **state)
{
    struct world *w = *state;
    struct api_env env = env_of(w);
    static const struct {
        const char *body;
        int status;
        const char *text;
    } cases[] = {
        {"{}", 400, "Missing service name"},
        {"", 400, "Request decode failed: EOF"},
        {"{\"Name\":\"s\",\"Address\":\"0.0.0.0\"}", 400,
         "Invalid service address"},
        {"{\"Name\":\"s\",\"Weights\":{\"Warning\":1}}", 400,
         "Invalid Weights: Passing must be greater than 0"},
        {"{\"Name\":\"s\",\"Meta\":{\"consul-x\":\"v\"}}", 400,
         "Invalid Service Meta: Couldn't load metadata pair ('consul-x', "
         "'v'): Key prefix 'consul-' is reserved for internal use"},
        {"{\"Name\":\"s\",\"TaggedAddresses\":{\"lan_ipv4\":{\"Address\":"
         "\"x\"}}}",
         500,
         "Service tagged address \"lan_ipv4\" must be a valid ipv4 address"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct agent_op *op;
        assert_int_equal(
            begin(w, "PUT", "/v1/agent/service/register", cases[i].body),
            API_AGENT);
        assert_int_equal(api_agent(&w->call, &env, &op), API_ANSWER);
        assert_int_equal(w->call.status, cases[i].status);
        assert_bytes(buf_bytes(&w->call.body), cases[i].text);
    }
}

static void catalog_refusals_are_in_consuls_words(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *rest; /* of a registration of a node */
        const char *text;
    } cases[] = {
        {"\"ID\":\"short\"", "Bad node ID: uuid string is wrong length"},
        {"\"ID\":\"------------------------------------\"",
         "Bad node ID: encoding/hex: invalid byte: U+002D '-'"},
        {"\"ID\":\"000000000000000000000000000000000000\"",
         "Bad node ID: uuid is improperly formatted"},
        {"\"ID\":\"0000000g-0000-0000-0000-000000000000\"",
         "Bad node ID: encoding/hex: invalid byte: U+0067 'g'"},
        {"\"Service\":{}",
         "failed inserting service: Must provide service name"},
        {"\"Service\":{\"ID\":\"i\"}", "Must provide service name with ID"},
        {"\"Service\":{\"ID\":\"i\",\"Service\":\"s\","
         "\"Meta\":{\"consul-x\":\"v\"}}",
         "failed inserting service: Invalid Service Meta for node n and "
         "serviceID i: Couldn't load metadata pair ('consul-x', 'v'): Key "
         "prefix 'consul-' is reserved for internal use"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char body[512];
        snprintf(body, sizeof body,
                 "{\"Node\":\"n\",\"Address\":\"1.2.3.4\",%s}", cases[i].rest);
        assert_int_equal(put(w, "/v1/catalog/register", body), 500);
        assert_bytes(buf_bytes(&w->call.body), cases[i].text);
    }
}

static bool says(struct bytes body, const char *text)
{
    return memmem(body.p, body.n, text, strlen(text)) != NULL;
}

static void what_the_catalog_lets_pass_is_stored_as_in_consul(void **state)
{
    struct world *w = *state;
    assert_int_equal(
        put(w, "/v1/catalog/register",
            "{\"Node\":\"n\",\"Address\":\"1.2.3.4\",\"Service\":{"
            "\"Service\":\"s\",\"Weights\":{\"Passing\":-1,\"Warning\":4},"
            "\"TaggedAddresses\":{\"lan_ipv4\":{\"Address\":\"x\"}}},"
            "\"Checks\":[{\"Name\":\"a\",\"Definition\":{\"TCP\":\"h:1\"}},"
            "{\"Name\":\"b\",\"Definition\":{\"TCP\":\"h:1\","
            "\"Interval\":\"1s\"}}]}"),
        200);
    struct bytes body = get(w, "/v1/catalog/service/s");
    assert_true(says(body, "\"ServiceWeights\":{\"Passing\":1,\"Warning\":1}"));
    assert_true(says(body, "{\"lan_ipv4\":{\"Address\":\"x\",\"Port\":0}}"));
    body = get(w, "/v1/health/node/n");
    assert_true(says(body, "\"Type\":\"\",\"Definition\":{\"TCP\":\"h:1\"}"));
    assert_true(says(body, "\"Type\":\"tcp\",\"Definition\":{\"Interval\""));
}

/* Asked from there: 403? */
static bool is_restricted(struct world *w, const char *method, const char *peer)
{
    w->peer = peer;
    (void)begin(w, method, "/v1/catalog/register", "{}");
    bool restricted = w->call.status == 403;
    if (restricted)
        assert_bytes(buf_bytes(&w->call.body), "Access is restricted");
    w->peer = NULL;
    return restricted;
}

static void writes_come_from_where_they_may(void **state)
{
    struct world *w = *state;
    struct net from[2];

    assert_ok(net_parse(bytes_str("10.0.0.0/8"), &from[0]));
    assert_ok(net_parse(bytes_str("::1/128"), &from[1]));
    assert_false(is_restricted(w, "PUT", "192.0.2.1:80"));
    w->self.write_from = from;
    w->self.write_from_count = 2;
    assert_true(is_restricted(w, "PUT", "192.0.2.1:80"));
    assert_true(is_restricted(w, "DELETE", "192.0.2.1:80"));
    assert_true(is_restricted(w, "PUT", "[::2]:80"));
    assert_false(is_restricted(w, "PUT", "10.255.0.1:80"));
    assert_false(is_restricted(w, "PUT", "[::1]:80"));
    assert_false(is_restricted(w, "PUT", NULL));
    assert_false(is_restricted(w, "GET", "192.0.2.1:80"));
    assert_false(is_restricted(w, "OPTIONS", "192.0.2.1:80"));
}

static void the_head_has_consuls_lines(void **state)
{
    struct world *w = *state;
    struct buf out;
    buf_init(&out, 0);
    get(w, "/v1/catalog/nodes?stale");
    w->self.response_head = bytes_str("X-Own: a\r\n");
    api_head(&w->call, &w->self, &out, 42, true, 0, false, 2, true, false);
    assert_bytes(
        buf_bytes(&out),
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        "Vary: Accept-Encoding\r\n"
        "X-Consul-Effective-Consistency: stale\r\n"
        "X-Consul-Index: 42\r\nX-Consul-Knownleader: true\r\n"
        "X-Consul-Lastcontact: 0\r\nX-Own: a\r\nContent-Length: 2\r\n\r\n");
    buf_fini(&out);
}

static const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    T(a_registration_is_read_back_in_consuls_shape),
    T(equal_writes_plan_nothing),
    T(the_digest_of_health_ignores_output_but_not_status),
    T(canonical_targets_stand_for_the_same_answer),
    T(routes_answer_as_gos_mux_does),
    T(a_route_looks_only_at_what_it_has_use_for),
    T(peers_say_how_long_a_read_may_be_held),
    T(nothing_is_said_to_be_missing_before_the_load),
    T(agent_registrations_name_their_checks),
    T(a_check_of_empty_members_is_none),
    T(what_is_kept_as_given_has_the_types_that_readers_decode),
    T(only_the_default_tenant_is_written_to),
    T(agent_refusals_come_before_anything_is_done),
    T(catalog_refusals_are_in_consuls_words),
    T(what_the_catalog_lets_pass_is_stored_as_in_consul),
    T(writes_come_from_where_they_may),
    T(the_head_has_consuls_lines),
};

RUN_TESTS(tests)
