/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "api/event_batch.h"
#include "api_world.h"

static void fire(struct world *w, const char *target, const char *id)
{
    struct agent_op *op = op_of(w, target, "p\xff");
    struct errtext t = {{0}};
    assert_non_null(op);
    const struct api_env env = env_of(w);
    snprintf(op->event.id, sizeof op->event.id, "%s", id);
    op->http_status = 200;
    api_agent_answer(&w->call, op);
    op->event.ltime = 1;
    if (api_event_is_for(&env, &op->event, &t))
        heard_add_event(w->heard, &op->event);
    assert_string_equal(t.s, "");
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

static void an_event_of_others_that_cannot_be_read_is_for_nobody(void **state)
{
    struct world *w = *state;
    const struct api_env env = env_of(w);
    static char large[600];
    struct errtext t = {{0}};
    struct heard_event e = {.name = bytes_str("n")};
    assert_true(api_event_is_for(&env, &e, &t));
    e.node_filter = bytes_str("(");
    assert_false(api_event_is_for(&env, &e, &t));
    assert_non_null(strstr(t.s, "Invalid node filter: "));
    memset(large, 'x', sizeof large);
    e.node_filter = (struct bytes){0};
    e.payload = bytes_of(large, sizeof large);
    assert_false(api_event_is_for(&env, &e, &t));
    assert_non_null(strstr(t.s, "512 bytes"));
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

/* As the server does with those it was told of. */
static void keep(struct world *w, const struct coordinate_view *v)
{
    struct plan p;
    struct errtext t;
    plan_init(&p, &w->arena);
    assert_ok(plan_coordinate(&p, catalog_current(w->catalog), v, &t));
    assert_int_equal(p.op_count, 1);
    apply_plan(w, &p);
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
    keep(w, &op->coordinate);
    agent_op_free(op);
    assert_bytes(get(w, "/v1/coordinate/node/n"),
                 "[{\"Node\":\"n\",\"Segment\":\"\",\"Coord\":{\"Vec\":"
                 "[1,2,3,4,5,6,7,0.5],\"Error\":0.25,\"Adjustment\":0,"
                 "\"Height\":0.00001}}]");
    assert_true(w->call.consul_headers);
    assert_int_equal(w->call.blocking, API_BLOCK_INDEX);
    assert_int_equal(snapshot_index(catalog_current(w->catalog), w->call.watch),
                     w->revision);
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

/* The nodes of the rows, in order, as one text. */
static const char *order_of(struct world *w, const char *target)
{
    static char text[64];
    size_t n = 0;
    struct bytes rest = get(w, target);
    static const char mark[] = "\"Node\":\"";
    for (;;) {
        const char *at = memmem(rest.p, rest.n, mark, sizeof mark - 1);
        if (!at)
            break;
        rest = bytes_skip(rest, (size_t)(at - rest.p) + sizeof mark - 1);
        if (n == 0 || text[n - 1] != rest.p[0])
            text[n++] = rest.p[0];
    }
    text[n] = 0;
    return text;
}

static void place(struct world *w, const char *node, double x)
{
    keep(w, &(struct coordinate_view){.node = bytes_str(node),
                                      .at = {.vec = {x}}});
}

static void rows_come_by_distance_where_it_is_known(void **state)
{
    struct world *w = *state;
    static const char *const nodes[] = {"a", "b", "c", "d"};
    static const char *const routes[] = {
        "/v1/catalog/nodes",         "/v1/catalog/service/s",
        "/v1/health/service/s",      "/v1/health/checks/s",
        "/v1/health/state/critical", "/v1/catalog/connect/s",
        "/v1/health/connect/s"};
    for (size_t i = 0; i < 4; i++) {
        char body[300];
        add(w, nodes[i], "{\"Service\":\"s\",\"Connect\":{\"Native\":true}}");
        snprintf(body, sizeof body,
                 "{\"Node\":\"%s\",\"Address\":\"1.2.3.4\",\"Check\":{"
                 "\"Name\":\"k\",\"ServiceID\":\"s\"}}",
                 nodes[i]);
        assert_int_equal(put(w, "/v1/catalog/register", body), 200);
    }
    place(w, "b", 9);
    place(w, "c", 1);
    place(w, "d", 4);
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        char target[100];
        snprintf(target, sizeof target, "%s?near=c", routes[i]);
        assert_string_equal(order_of(w, target), "cdba");
        snprintf(target, sizeof target, "%s?near=B", routes[i]);
        assert_string_equal(order_of(w, target), "bdca");
        /* The own node is in the middle. */
        snprintf(target, sizeof target, "%s?near=_agent", routes[i]);
        assert_string_equal(order_of(w, target), "cdba");
        snprintf(target, sizeof target, "%s?near=a", routes[i]);
        assert_string_equal(order_of(w, target), "abcd");
        snprintf(target, sizeof target, "%s?near=nope", routes[i]);
        assert_string_equal(order_of(w, target), "abcd");
    }
    assert_true(has(get(w, "/v1/catalog/nodes?near=c"), "},{"));
    assert_bytes(get(w, "/v1/catalog/service/none?near=c"), "[]");
}

/* An answer that is kept must not outlive the places it was sorted by. */
static void a_sorted_answer_stands_for_the_places_as_they_were(void **state)
{
    struct world *w = *state;
    struct buf one = {0}, two = {0};
    add(w, "a", "{\"Service\":\"s\"}");
    place(w, "a", 1);
    (void)get(w, "/v1/catalog/nodes?near=a");
    api_canonical(&w->call, &one);
    place(w, "a", 2);
    (void)get(w, "/v1/catalog/nodes?near=a");
    api_canonical(&w->call, &two);
    assert_bytes(buf_bytes(&one), "/v1/catalog/nodes?near=a&known=3");
    assert_bytes(buf_bytes(&two), "/v1/catalog/nodes?near=a&known=4");
    buf_reset(&two);
    (void)get(w, "/v1/catalog/nodes?near=elsewhere");
    api_canonical(&w->call, &two);
    assert_bytes(buf_bytes(&two), "/v1/catalog/nodes");
    buf_fini(&one);
    buf_fini(&two);
}

static const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    T(events_are_listed_with_the_index_of_the_last),
    T(the_oldest_events_make_room),
    T(an_event_of_others_that_cannot_be_read_is_for_nobody),
    T(events_that_cannot_be_sent_are_refused),
    T(coordinates_are_kept_and_shown),
    T(rows_come_by_distance_where_it_is_known),
    T(a_sorted_answer_stands_for_the_places_as_they_were),
};

RUN_TESTS(tests)
