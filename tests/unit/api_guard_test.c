/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* What consumers and operators see of the guard and of damping. */
#include "api_world.h"

/* --- Marks, put as the agent and the duty would -------------------------- */

static void put_check(struct world *w, const char *node,
                      const struct check_view *v)
{
    struct buf key = {0}, value = {0};
    key_check(&key, bytes_str(node), v->id);
    record_put_check(&value, v);
    w->revision++;
    assert_ok(catalog_put(w->catalog, buf_bytes(&key), buf_bytes(&value), 2,
                          w->revision, NULL));
    catalog_commit(w->catalog, w->revision);
    buf_fini(&key);
    buf_fini(&value);
}

static void turn(struct world *w, const char *node, const char *status,
                 struct check_marks marks)
{
    struct check_view v = {.id = bytes_str("ttl"),
                           .name = bytes_str("beat"),
                           .service_id = bytes_str("web"),
                           .status = bytes_str(status),
                           .output = bytes_str("TTL expired"),
                           .marks = marks};
    put_check(w, node, &v);
}

static const struct check_marks silent = {.cause = CAUSE_SILENCE,
                                          .since_ms = 1764170000000};
static const struct check_marks held = {.cause = CAUSE_SILENCE,
                                        .held = true,
                                        .since_ms = 1764170000000,
                                        .held_ms = 1764170000000};

/* web on a, b, c: a passes, b is held, c fell silent and is out. */
static void usual(struct world *w)
{
    static const char *const nodes[] = {"a", "b", "c"};
    for (size_t i = 0; i < 3; i++) {
        add(w, nodes[i], "{\"ID\":\"web\",\"Service\":\"web\",\"Port\":80}");
        turn(w, nodes[i], "passing", (struct check_marks){0});
    }
    turn(w, "b", "critical", held);
    turn(w, "c", "critical", silent);
}

static const char *head_of(struct world *w)
{
    static char text[2048];
    struct buf out;
    buf_init(&out, 0);
    api_head(&w->call, &w->self, &out, 1, true, 0, false, w->call.body.n, true,
             false);
    snprintf(text, sizeof text, "%.*s", BYTES_ARG(buf_bytes(&out)));
    buf_fini(&out);
    return text;
}

static uint64_t digest_of(struct world *w, const char *target)
{
    struct api_env env = env_of(w);
    assert_int_equal(begin(w, "GET", target, ""), API_READ);
    w->call.want_digest = true;
    api_read(&w->call, &env);
    return w->call.digest;
}

/* --- Consumers ----------------------------------------------------------- */

static void a_held_instance_is_answered_as_passing(void **state)
{
    struct world *w = *state;
    usual(w);
    struct bytes body = get(w, "/v1/health/service/web?passing");
    assert_true(has(body, "\"Node\":\"a\""));
    assert_true(has(body, "\"Node\":\"b\""));
    assert_false(has(body, "\"Node\":\"c\""));
    assert_false(has(body, "critical"));
    assert_true(has(body, "\"Output\":\"TTL expired\""));
    assert_int_equal(w->call.held, 1);
    assert_true(strstr(head_of(w), "\r\nX-Muster-Guard: held=1\r\n"));
}

static void without_passing_the_plain_truth_is_told(void **state)
{
    struct world *w = *state;
    usual(w);
    struct bytes body = get(w, "/v1/health/service/web");
    assert_true(has(body, "\"Node\":\"b\""));
    assert_true(has(body, "\"Node\":\"c\""));
    assert_true(has(body, "critical"));
    assert_null(strstr(head_of(w), "X-Muster-Guard"));
    assert_true(has(get(w, "/v1/health/state/critical"), "\"Node\":\"b\""));
    assert_true(has(get(w, "/v1/health/node/b"), "critical"));
}

/* What stands behind the checks of the only instance on this node. */
static struct bytes beside(struct world *w, const char *target,
                           const char *node)
{
    char filter[256];
    snprintf(filter, sizeof filter, "%s%cfilter=Node.Node%%20%%3D%%3D%%20%s",
             target, strchr(target, '?') ? '&' : '?', node);
    struct bytes body = get(w, filter);
    const char *at = memmem(body.p, body.n, "}],\"", 4);
    if (!at)
        return bytes_str("");
    return bytes_skip(body, (size_t)(at + 3 - body.p));
}

static void what_the_checks_do_not_say_stands_beside_them(void **state)
{
    static const char web[] = "/v1/health/service/web";
    struct world *w = *state;
    usual(w);
    assert_bytes(beside(w, web, "a"), "");
    assert_bytes(beside(w, web, "b"), "\"Held\":true}]");
    assert_bytes(beside(w, "/v1/health/service/web?passing", "b"),
                 "\"Held\":true}]");
    assert_bytes(beside(w, web, "c"), "");
    turn(w, "c", "passing",
         (struct check_marks){.damped = true,
                              .since_ms = 1764170000000,
                              .damped_until_ms = 1764170060000});
    assert_bytes(beside(w, web, "c"),
                 "\"DampedUntil\":\"2025-11-26T15:14:20.000Z\"}]");
    struct check_view drain = {.id = bytes_str("_muster_drain:web"),
                               .service_id = bytes_str("web"),
                               .status = bytes_str("critical")};
    put_check(w, "a", &drain);
    assert_bytes(beside(w, web, "a"), "\"Draining\":true}]");
}

/* Of four the one that is damped for longest is out; the others need not say
 * that they flap. */
static void who_is_damped_and_in_all_the_same_says_nothing(void **state)
{
    struct world *w = *state;
    usual(w);
    for (int i = 0; i < 3; i++) {
        const char node[2] = {(char)('a' + i), 0};
        turn(w, node, "passing",
             (struct check_marks){.damped = true,
                                  .damped_until_ms =
                                      1764170000000 + (uint64_t)i});
    }
    add(w, "d", "{\"ID\":\"web\",\"Service\":\"web\",\"Port\":80}");
    assert_true(has(beside(w, "/v1/health/service/web", "c"), "DampedUntil"));
    assert_bytes(beside(w, "/v1/health/service/web", "b"), "");
    assert_bytes(beside(w, "/v1/health/service/web", "a"), "");
}

static void ready_since_the_last_check_has_passed(void **state)
{
    static const char web[] = "/v1/health/service/web";
    const struct check_marks turned = {.since_ms = 1764170000000};
    struct world *w = *state;
    usual(w);
    turn(w, "a", "critical", turned);
    assert_bytes(beside(w, web, "a"), "");
    turn(w, "a", "warning", turned);
    assert_bytes(beside(w, web, "a"), "");
    uint64_t before = digest_of(w, web);
    turn(w, "a", "passing", turned);
    assert_bytes(beside(w, web, "a"),
                 "\"ReadySince\":\"2025-11-26T15:13:20.000Z\"}]");
    assert_true(digest_of(w, web) != before);
    before = digest_of(w, web);
    turn(w, "a", "passing", (struct check_marks){.since_ms = 1764170005000});
    assert_bytes(beside(w, web, "a"),
                 "\"ReadySince\":\"2025-11-26T15:13:25.000Z\"}]");
    assert_true(digest_of(w, web) == before); /* nobody wakes for that */
}

static void to_be_held_wakes_nobody(void **state)
{
    struct world *w = *state;
    usual(w);
    uint64_t before = digest_of(w, "/v1/health/service/web?passing");
    turn(w, "a", "critical", held);
    assert_true(digest_of(w, "/v1/health/service/web?passing") == before);
    assert_int_equal(w->call.held, 2);
    turn(w, "a", "critical", silent);
    assert_true(digest_of(w, "/v1/health/service/web?passing") != before);
}

static void a_filter_sees_what_is_sent(void **state)
{
    struct world *w = *state;
    usual(w);
    assert_true(has(get(w, "/v1/health/service/web?passing&filter="
                           "Checks.Status==passing"),
                    "\"Node\":\"b\""));
    assert_bytes(get(w, "/v1/health/service/web?passing&filter="
                        "Checks.Status==critical"),
                 "[]");
    assert_int_equal(w->call.held, 0);
    assert_true(has(get(w, "/v1/health/service/web?filter="
                           "Checks.Status==critical"),
                    "\"Node\":\"b\""));
}

static void proxies_are_held_as_services_are(void **state)
{
    struct world *w = *state;
    add(w, "a",
        "{\"ID\":\"web\",\"Service\":\"web-proxy\",\"Kind\":\"connect-proxy\","
        "\"Proxy\":{\"DestinationServiceName\":\"web\"}}");
    turn(w, "a", "critical", held);
    assert_true(has(get(w, "/v1/health/connect/web?passing"), "passing"));
    assert_int_equal(w->call.held, 1);
    assert_bytes(get(w, "/v1/health/ingress/web?passing"), "[]");
}

static void the_damped_are_left_out_up_to_a_third(void **state)
{
    struct world *w = *state;
    const struct check_marks damped = {
        .damped = true, .penalty = 2600, .damped_until_ms = 1764170000000};
    usual(w);
    turn(w, "c", "passing", (struct check_marks){0});
    turn(w, "a", "passing", damped);
    assert_false(
        has(get(w, "/v1/health/service/web?passing"), "\"Node\":\"a\""));
    assert_true(has(get(w, "/v1/health/service/web"), "\"Node\":\"a\""));
    struct bytes body = get(w, "/v1/muster/explain/health/service/web?passing");
    assert_true(has(body, "\"Rule\":\"damped\""));
    assert_true(has(body, "\"DampedUntil\":\"2025-11-26T15:13:20.000Z\","
                          "\"Penalty\":2600"));
    body = get(w, "/v1/muster/guard");
    assert_true(has(body, "\"Penalty\":2600,\"Until\":"
                          "\"2025-11-26T15:13:20.000Z\",\"Suppressed\":true"));
}

/* --- Operators ----------------------------------------------------------- */

static void explain_tells_hold_and_silence(void **state)
{
    struct world *w = *state;
    usual(w);
    struct bytes body = get(w, "/v1/muster/explain/health/service/web?passing");
    assert_true(has(body, "\"In\":true,\"Rule\":\"held\""));
    assert_true(has(body, "\"Since\":\"2025-11-26T15:13:20.000Z\",\"Cause\":"
                          "\"silence\",\"Held\":true,\"HeldSince\":"));
    assert_true(has(body, "\"In\":false,\"Rule\":\"critical\""));
    assert_true(has(body, "\"In\":2,\"Out\":1"));
    body = get(w, "/v1/muster/explain/health/service/web");
    assert_false(has(body, "\"Rule\":\"held\""));
}

static void the_guard_lists_whom_it_holds(void **state)
{
    struct world *w = *state;
    usual(w);
    struct bytes body = get(w, "/v1/muster/guard");
    assert_true(has(body, "{\"Mode\":\"silence\","));
    assert_true(has(body, "\"Held\":[{\"Service\":\"web\",\"Node\":\"b\","
                          "\"ServiceID\":\"web\",\"Address\":\"1.2.3.4\","
                          "\"Port\":80,\"Checks\":[{\"CheckID\":\"ttl\","
                          "\"OfNode\":false,\"Cause\":\"silence\""));
    assert_true(has(body, "\"Windows\":[]"));
    assert_true(has(get(w, "/v1/muster/guard?service=db"), "\"Held\":[],"));
    assert_true(has(get(w, "/v1/muster/guard?service=WEB"), "\"Node\":\"b\""));
}

static void a_node_that_is_held_holds_each_of_its_services_once(void **state)
{
    struct world *w = *state;
    struct check_view agent = {.id = bytes_str("agent"),
                               .name = bytes_str("agent"),
                               .status = bytes_str("critical"),
                               .marks = held};
    usual(w);
    add(w, "b", "{\"ID\":\"db\",\"Service\":\"db\",\"Port\":81}");
    put_check(w, "b", &agent);
    agent.id = bytes_str("agent-2");
    put_check(w, "b", &agent);
    struct bytes body = get(w, "/v1/muster/guard");
    const char *db = memmem(body.p, body.n, "\"db\",\"Node\"", 11);
    assert_non_null(db);
    assert_null(memmem(db + 1, body.n - (size_t)(db + 1 - body.p),
                       "\"db\",\"Node\"", 11));
    assert_true(has(get(w, "/v1/muster/guard?service=web"), "\"Node\":\"b\""));
}

static void an_operators_word_lets_them_out(void **state)
{
    struct world *w = *state;
    usual(w);
    assert_int_equal(put(w, "/v1/muster/guard/release/web?node=a", ""), 404);
    assert_int_equal(put(w, "/v1/muster/guard/release/web?id=other", ""), 404);
    assert_int_equal(put(w, "/v1/muster/guard/release/db", ""), 404);
    assert_int_equal(put(w, "/v1/muster/guard/release/", ""), 400);
    assert_int_equal(put(w, "/v1/muster/guard/release/web?node=B", ""), 200);
    assert_bytes(buf_bytes(&w->call.body),
                 "{\"Service\":\"web\",\"Released\":1,\"Remaining\":0}");
    assert_false(
        has(get(w, "/v1/health/service/web?passing"), "\"Node\":\"b\""));
    assert_int_equal(put(w, "/v1/muster/guard/release/web", ""), 404);
}

static const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    T(a_held_instance_is_answered_as_passing),
    T(without_passing_the_plain_truth_is_told),
    T(what_the_checks_do_not_say_stands_beside_them),
    T(who_is_damped_and_in_all_the_same_says_nothing),
    T(ready_since_the_last_check_has_passed),
    T(to_be_held_wakes_nobody),
    T(a_filter_sees_what_is_sent),
    T(proxies_are_held_as_services_are),
    T(the_damped_are_left_out_up_to_a_third),
    T(explain_tells_hold_and_silence),
    T(the_guard_lists_whom_it_holds),
    T(a_node_that_is_held_holds_each_of_its_services_once),
    T(an_operators_word_lets_them_out),
};

RUN_TESTS(tests)
