/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Questions about the past: which are taken, and what a story looks like. How
 * the past is had is the server's affair (tests/e2e/test_history.py). */
#include "api_world.h"

static struct api_at at_of(const char *text)
{
    struct api_at at = {0};
    if (api_at_parse(bytes_str(text), &at) != ERR_OK)
        fail_msg("refused: %s", text);
    return at;
}

static void moments_have_three_forms(void **state)
{
    (void)state;
    assert_int_equal(at_of("4711").kind, API_AT_REVISION);
    assert_int_equal(at_of("4711").value, 4711);
    assert_int_equal(at_of("99999999999999999999999").value, UINT64_MAX);
    assert_int_equal(at_of("2026-11-26T15:32:30Z").kind, API_AT_TIME);
    assert_int_equal(at_of("2026-11-26T15:32:30Z").value, 1795707150000U);
    assert_int_equal(at_of("10m").kind, API_AT_BEFORE);
    assert_int_equal(at_of("10m").value, 600000);
    assert_int_equal(at_of("-1h30m").value, 5400000);
    static const char *const bad[] = {
        "",   "-",    "--10m", "yesterday",  "10",  "1 2",
        "1h", "10mx", "-5",    "2026-11-26", "5.5", "0x10",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct api_at at = {API_AT_TIME, 7};
        bool good = strcmp(bad[i], "10") == 0 || strcmp(bad[i], "1h") == 0;
        enum err e = api_at_parse(bytes_str(bad[i]), &at);
        assert_int_equal(e, good ? ERR_OK : ERR_BAD);
        if (!good) /* nothing is half taken */
            assert_true(at.kind == API_AT_TIME && at.value == 7);
    }
}

/* Any bytes are one of the three, or refused; digits are revisions. */
static void any_bytes_are_a_moment_or_refused(void **state)
{
    static const char letters[] = "0123456789-+.:TZhms \xc2\xb5n\0x";
    uint64_t r = 88172645463325252U;
    size_t taken = 0;
    (void)state;
    for (int i = 0; i < 300000; i++) {
        char text[24];
        r ^= r << 13;
        r ^= r >> 7;
        r ^= r << 17;
        size_t n = r % sizeof text;
        bool digits = n > 0;
        for (size_t k = 0; k < n; k++) {
            uint64_t dice = r >> (k % 8 * 7) ^ k * 31;
            text[k] = letters[dice % (i % 2 ? 10 : sizeof letters - 1)];
            digits &= text[k] >= '0' && text[k] <= '9';
        }
        struct api_at at = {0};
        enum err e = api_at_parse(bytes_of(text, n), &at);
        assert_int_equal(digits, e == ERR_OK && at.kind == API_AT_REVISION);
        taken += e == ERR_OK;
    }
    assert_true(taken > 1000);
}

static void bad_questions_are_named(void **state)
{
    struct world *w = *state;
    assert_int_equal(status_of_get(w, "/v1/health/service/web?at=x"), 400);
    assert_true(has(buf_bytes(&w->call.body), "?at \"x\""));
    assert_true(has(buf_bytes(&w->call.body), "how long ago (10m)"));
    assert_int_equal(status_of_get(w, "/v1/catalog/nodes?at=5&index=3"), 400);
    assert_true(has(buf_bytes(&w->call.body), "give one of them"));
    assert_int_equal(status_of_get(w, "/v1/catalog/nodes?at=5&stream"), 400);
    assert_true(has(buf_bytes(&w->call.body), "A stream is for what is to"));
    static const char *const bad[] = {
        "limit=0",
        "limit=10001",
        "limit=-1",
        "limit=",
        "limit=1000000000000000000000",
        "since=x",
        "since=",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char target[128];
        snprintf(target, sizeof target, "/v1/muster/history/service/web?%s",
                 bad[i]);
        assert_int_equal(status_of_get(w, target), 400);
    }
    assert_int_equal(status_of_get(w, "/v1/muster/history/service/"), 400);
    /* What has no past does not look at it. */
    assert_int_equal(status_of_get(w, "/v1/status/leader?at=x"), 200);
}

static bool wants(struct world *w, const char *target)
{
    assert_int_equal(begin(w, "GET", target, ""), API_READ);
    return api_wants_past(&w->call);
}

static void only_some_questions_are_about_the_past(void **state)
{
    struct world *w = *state;
    assert_false(wants(w, "/v1/health/service/web"));
    assert_false(wants(w, "/v1/health/service/web?index=5"));
    assert_true(wants(w, "/v1/health/service/web?at=5"));
    assert_true(wants(w, "/v1/catalog/nodes?at=10m"));
    assert_true(wants(w, "/v1/muster/history/service/web"));
    assert_int_equal(w->call.story, API_STORY_CHANGES);
    assert_int_equal(w->call.story_limit, API_STORY_LIMIT_DEFAULT);
    assert_true(wants(w, "/v1/muster/explain/health/service/web"));
    assert_int_equal(w->call.story, API_STORY_DEPARTED);
    assert_false(wants(w, "/v1/muster/explain/health/service/web?index=5"));
}

/* The moment is not in it: the archivist has it beside the target. */
static void the_canonical_target_has_what_the_answer_depends_on(void **state)
{
    struct world *w = *state;
    struct buf out;
    buf_init(&out, 0);
    (void)wants(w, "/v1/muster/history/service/web?node=n1&since=1h&id=a%26b&"
                   "limit=7&x=y");
    api_canonical(&w->call, &out);
    assert_bytes(buf_bytes(&out),
                 "/v1/muster/history/service/web?node=n1&id=a%26b&limit=7");
    buf_reset(&out);
    (void)wants(w, "/v1/health/service/web?at=5&passing");
    api_canonical(&w->call, &out);
    assert_bytes(buf_bytes(&out), "/v1/health/service/web?passing");
    buf_fini(&out);
}

/* --- Answers ------------------------------------------------------------- */

static void feed(struct story *s, uint64_t revision, bool gone, const char *key,
                 const struct buf *value)
{
    struct story_event ev = {.is_delete = gone,
                             .key = bytes_str(key),
                             .value = buf_bytes(value),
                             .by = bytes_str("PUT /x 10.0.0.1")};
    story_event(s, &ev);
    story_revision(s, revision, 1795707150000U + revision);
}

static void service(struct buf *out, int64_t port, const char *name)
{
    struct service_view v = {
        .id = bytes_str("w1"), .name = bytes_str(name), .port = port};
    buf_reset(out);
    record_put_service(out, &v);
}

static void check(struct buf *out, const char *status, const char *output)
{
    struct check_view v = {.id = bytes_str("c"),
                           .name = bytes_str("C"),
                           .status = bytes_str(status),
                           .output = bytes_str(output),
                           .service_id = bytes_str("w1")};
    buf_reset(out);
    record_put_check(out, &v);
}

static struct story *lived(bool departures)
{
    struct story_options o = {
        .name = bytes_str("web"), .limit = 100, .departures = departures};
    struct story *s = story_new(&o);
    struct buf v;
    char output[400];
    memset(output, 'x', sizeof output - 1);
    memcpy(output + 254, "\xe2\x82\xac", 3); /* across the cut */
    output[sizeof output - 1] = 0;
    buf_init(&v, 0);
    story_rows_end(s);
    service(&v, 80, "web");
    feed(s, 5, false, "s/n1/w1", &v);
    service(&v, 81, "web");
    feed(s, 6, false, "s/n1/w1", &v);
    check(&v, "passing", "");
    feed(s, 7, false, "c/n1/c", &v);
    check(&v, "critical", output);
    feed(s, 8, false, "c/n1/c", &v);
    service(&v, 81, "other");
    feed(s, 9, false, "s/n1/w1", &v);
    buf_fini(&v);
    return s;
}

static struct bytes read_with(struct world *w, const char *target,
                              struct story *take)
{
    struct api_past past = {take, 4, 1795707150004U, 9, 1795707150009U};
    struct api_env env = env_of(w);
    env.past = &past;
    assert_int_equal(begin(w, "GET", target, ""), API_READ);
    api_read(&w->call, &env);
    story_free(take);
    return buf_bytes(&w->call.body);
}

static void a_history_tells_what_changed_when_and_by_whom(void **state)
{
    struct world *w = *state;
    struct bytes text =
        read_with(w, "/v1/muster/history/service/web", lived(false));
    assert_true(has(text, "{\"Service\":\"web\",\"From\":{\"Revision\":4,"
                          "\"Time\":\"2026-11-26T15:32:30.004Z\"},\"Until\":{"
                          "\"Revision\":9,"));
    assert_true(has(text, "{\"Revision\":5,\"Time\":\"2026-11-26T15:32:30.005Z"
                          "\",\"By\":\"PUT /x 10.0.0.1\",\"Node\":\"n1\","
                          "\"ServiceID\":\"w1\",\"What\":\"registered\","
                          "\"Address\":\"\",\"Port\":80}"));
    assert_true(has(text,
                    "\"What\":\"changed\",\"Fields\":[{\"Field\":\"Port\","
                    "\"From\":\"80\",\"To\":\"81\"}]"));
    assert_true(has(text, "\"What\":\"check added\",\"CheckID\":\"c\","
                          "\"CheckName\":\"C\",\"OfNode\":false,\"To\":"
                          "\"passing\""));
    assert_true(has(text, "\"From\":\"passing\",\"To\":\"critical\""));
    /* Cut before the character that would not fit. */
    assert_true(has(text, "xx\"}"));
    assert_false(has(text, "\\ufffd"));
    assert_true(has(text, "\"What\":\"deregistered\",\"Address\":\"\","
                          "\"Port\":81,\"As\":\"other\"}"));
}

static void explain_lists_those_who_are_gone(void **state)
{
    struct world *w = *state;
    const char *target = "/v1/muster/explain/health/service/web";
    struct bytes text = read_with(w, target, lived(true));
    assert_true(has(text, "\"Departed\":[{\"Revision\":9,"));
    assert_true(has(text, "\"DepartedSince\":{\"Revision\":4,"));
    /* Who is back is not gone. */
    add(w, "n1", "{\"ID\":\"w1\",\"Service\":\"web\",\"Port\":1}");
    assert_true(has(read_with(w, target, lived(true)), "\"Departed\":[]"));
    /* Under another name it is. */
    add(w, "n1", "{\"ID\":\"w1\",\"Service\":\"other\",\"Port\":1}");
    assert_true(has(read_with(w, target, lived(true)),
                    "\"Departed\":[{\"Revision\":9,"));
    /* Whoever waits gets no list at all. */
    assert_false(has(get(w, "/v1/muster/explain/health/service/web?index=1"),
                     "Departed"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static const struct CMUnitTest tests[] = {
    TEST(moments_have_three_forms),
    TEST(any_bytes_are_a_moment_or_refused),
    TEST(bad_questions_are_named),
    TEST(only_some_questions_are_about_the_past),
    TEST(the_canonical_target_has_what_the_answer_depends_on),
    TEST(a_history_tells_what_changed_when_and_by_whom),
    TEST(explain_lists_those_who_are_gone),
};

RUN_TESTS(tests)
