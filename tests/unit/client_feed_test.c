/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* An event stream made a list of, in whatever pieces it comes. */
#include "client/feed.h"

#include <string.h>

#include "test.h"

#define ENTRY(id, port)                                                        \
    "{\"Node\":{\"Node\":\"n\",\"Address\":\"10.0.0.1\"},\"Service\":{"        \
    "\"ID\":\"" id "\",\"Port\":" port "},\"Checks\":[]}"
#define PUT(id, port)                                                          \
    "event: put\ndata: {\"Key\":\"s/n/" id                                     \
    "\",\"Entry\":" ENTRY(id, port) "}"                                        \
                                    "\n"
#define REMOVE(id)                                                             \
    "event: remove\ndata: {\"Key\":\"s/n/" id "\",\"Why\":\"deregistered\"}\n"
#define BEGIN   "event: snapshot\ndata: {\"Phase\":\"begin\"}\n\n"
#define END(id) "event: snapshot\ndata: {\"Phase\":\"end\"}\nid: " id "\n\n"

static void push(struct feed *f, const char *text)
{
    struct errtext t = {""};

    if (client_feed_push(f, bytes_str(text), &t) != ERR_OK)
        fail_msg("%s", t.s);
}

/* IDs in the order of the map sorted: each is one letter. */
static void holds(struct feed *f, const char *want)
{
    struct roster *r = NULL;
    char got[27] = "";
    size_t n = 0;

    assert_true(f->whole);
    assert_ok(client_feed_roster(f, &r));
    for (char c = 'a'; c <= 'z'; c++)
        for (size_t i = 0; i < r->n; i++)
            if (r->v[i].id.p[0] == c)
                got[n++] = c;
    assert_string_equal(got, want);
    roster_free(r);
}

static const char whole_stream[] =
    "retry: 900\nevent: subscriber\ndata: {\"Subscriber\":\"x\",\"Index\":3}\n"
    "\n: beat age=0ms\n\n" BEGIN PUT("a", "80") "\n" PUT("b", "81") "\n" END(
        "3") PUT("c", "82") "\n" REMOVE("a") "id: 5\n\n";

static void a_snapshot_and_what_follows(void **state)
{
    (void)state;
    struct feed f;

    client_feed_init(&f);
    push(&f, BEGIN PUT("a", "80") "\n" PUT("b", "81") "\n");
    assert_false(f.whole || f.based);
    push(&f, END("3"));
    assert_true(f.replaced);
    holds(&f, "ab");
    assert_int_equal(f.id, 3);
    push(&f, PUT("c", "82") "\n"); /* the revision goes on */
    assert_false(f.whole);
    push(&f, REMOVE("a") "id: 5\n\n");
    assert_false(f.replaced);
    holds(&f, "bc");
    push(&f, REMOVE("zz") "id: 6\n\n"); /* what it never had */
    holds(&f, "bc");
    assert_int_equal(f.id, 6);
    client_feed_fini(&f);
}

static void every_split_gives_the_same(void **state)
{
    (void)state;
    size_t n = sizeof whole_stream - 1;

    for (size_t at = 0; at <= n; at++) {
        struct feed f;
        struct errtext t;
        client_feed_init(&f);
        assert_ok(client_feed_push(&f, bytes_of(whole_stream, at), &t));
        assert_ok(
            client_feed_push(&f, bytes_of(whole_stream + at, n - at), &t));
        holds(&f, "bc");
        assert_int_equal(f.id, 5);
        client_feed_fini(&f);
    }
}

static void beats_tell_how_old_it_may_be(void **state)
{
    (void)state;
    struct feed f;

    client_feed_init(&f);
    push(&f, BEGIN END("3") ": beat age=17000");
    assert_false(f.age_told);
    push(&f, "ms more=1\n\n");
    assert_true(f.age_told);
    assert_int_equal(f.age_ms, 17000);
    f.age_told = false;
    push(&f, ": beat age=ms\n: beat age=-1ms\n: beat age=5s\n: beat\n:\n"
             ": beat age=99999999999999999999ms\n\n");
    assert_false(f.age_told);
    client_feed_fini(&f);
}

static void a_connection_cut_anywhere_resumes(void **state)
{
    (void)state;
    size_t n = sizeof whole_stream - 1;

    for (size_t at = 0; at <= n; at++) {
        struct feed f;
        struct errtext t;
        client_feed_init(&f);
        assert_ok(client_feed_push(&f, bytes_of(whole_stream, at), &t));
        client_feed_again(&f);
        if (f.based) /* asked with its id: what changed since, then current */
            push(&f, PUT("b", "81") "\n" PUT("c", "82") "\n" REMOVE(
                         "a") "\n"
                              "event: current\ndata: {}\nid: 5\n\n");
        else
            push(&f, whole_stream);
        holds(&f, "bc");
        client_feed_fini(&f);
    }
}

static void a_snapshot_that_is_cut_takes_nothing_away(void **state)
{
    (void)state;
    struct feed f;

    client_feed_init(&f);
    push(&f, whole_stream);
    holds(&f, "bc");
    push(&f, BEGIN PUT("x", "80") "\n");
    client_feed_again(&f);
    push(&f, "event: current\ndata: {}\nid: 7\n\n");
    holds(&f, "bc");
    client_feed_fini(&f);
}

static void instances_that_nobody_can_call_are_left_out(void **state)
{
    (void)state;
    struct feed f;

    client_feed_init(&f);
    push(&f, BEGIN PUT("a", "0") "\n" PUT("b", "81") "\n" END("3"));
    holds(&f, "b");
    client_feed_fini(&f);
}

static void garbage_is_refused(void **state)
{
    (void)state;
    static const char *const streams[] = {
        "event: put\ndata: {\n\n",
        "event: put\ndata: {\"Key\":\"a\"}\n\n",
        "event: put\ndata: {\"Key\":\"a\",\"Entry\":5}\n\n",
        "event: put\ndata: 7\n\n",
        "event: snapshot\ndata: [\n\n",
    };

    for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
        struct feed f;
        struct errtext t = {""};
        client_feed_init(&f);
        if (client_feed_push(&f, bytes_str(streams[i]), &t) == ERR_OK)
            fail_msg("taken: %s", streams[i]);
        assert_true(t.s[0]);
        client_feed_fini(&f);
    }
}

static void a_line_without_end_is_refused(void **state)
{
    (void)state;
    static char piece[65536];
    struct feed f;
    struct errtext t;
    enum err e = ERR_OK;

    memset(piece, 'x', sizeof piece);
    client_feed_init(&f);
    for (int i = 0; e == ERR_OK && i < 100; i++)
        e = client_feed_push(&f, bytes_of(piece, sizeof piece), &t);
    assert_int_equal(e, ERR_LIMIT);
    client_feed_fini(&f);
}

#define SAYS(cluster)                                                          \
    "event: subscriber\ndata: {\"Subscriber\":\"x\",\"Cluster\":\"" cluster    \
    "\"}\n\n"
#define GONE(id, why)                                                          \
    "event: remove\ndata: {\"Key\":\"s/n/" id "\",\"Why\":\"" why "\"}\n"

/* What was only not heard of goes by another way than what was told to go. */
static void silence_is_no_goodbye(void **state)
{
    (void)state;
    struct feed f;
    struct roster *r = NULL;

    client_feed_init(&f);
    push(&f, BEGIN PUT("a", "80") "\n" PUT("b", "81") "\n" PUT(
                 "c", "82") "\n" END("3"));
    assert_ok(client_feed_roster(&f, &r));
    assert_int_equal(r->lost_n, 0);
    roster_free(r);
    push(&f, GONE("a", "reaped") "\n" GONE("b", "deregistered") "\n");
    push(&f, GONE("zz", "silence") "\n" GONE("c", "silence") "id: 5\n\n");
    assert_ok(client_feed_roster(&f, &r));
    assert_int_equal(r->n, 0);
    assert_int_equal(r->held, 0);
    assert_int_equal(r->lost_n, 2);
    for (size_t i = 0; i < r->lost_n; i++)
        assert_true(bytes_is(r->lost[i].id, "a") ||
                    bytes_is(r->lost[i].id, "c"));
    roster_free(r);
    push(&f, PUT("d", "80") "id: 6\n\n");
    assert_ok(client_feed_roster(&f, &r));
    assert_int_equal(r->lost_n, 0); /* told once */
    roster_free(r);
    client_feed_fini(&f);
}

/* Its index may be one that the other knows, for something else. */
static void another_cluster_does_not_go_on_with_the_list(void **state)
{
    (void)state;
    struct feed f;

    client_feed_init(&f);
    push(&f, SAYS("one") BEGIN PUT("a", "80") "\n" END("3"));
    assert_string_equal(f.cluster, "one");
    assert_false(f.foreign);
    holds(&f, "a");
    client_feed_again(&f);
    push(&f, SAYS("one") PUT("b", "80") "id: 4\n\n");
    assert_false(f.foreign);
    holds(&f, "ab");
    client_feed_again(&f);
    push(&f, SAYS("two") PUT("c", "80") "id: 9\n\n");
    assert_true(f.foreign);
    assert_int_equal(f.id, 4);
    assert_int_equal(f.entries.n, 2);
    client_feed_fini(&f);
}

static void it_is_told_who_else_calls(void **state)
{
    (void)state;
    struct feed f;

    client_feed_init(&f);
    assert_null(f.callers);
    push(&f, "event: callers\ndata: {\"Service\":\"web\",\"Zones\":{\"a\":12, "
             "\"b\\u0041\":3,\"\":1},\"Rank\":4,\"Size\":15}\n\n");
    assert_true(f.callers_told && f.callers->ranked);
    assert_int_equal(f.callers->rank, 4);
    assert_int_equal(f.callers->zones, 3);
    assert_string_equal(f.callers->zone[0].name, "a");
    assert_int_equal(f.callers->zone[0].callers, 12);
    assert_string_equal(f.callers->zone[1].name, ""); /* not taken apart */
    assert_false(f.whole);
    push(&f, "event: callers\ndata: {\"Zones\":{},\"Rank\":0,\"Size\":0}\n\n");
    assert_false(f.callers->ranked);
    assert_int_equal(f.callers->zones, 0);
    push(&f, "event: callers\ndata: {\"Zones\":[1],\"Rank\":9,\"Size\":9}\n\n");
    assert_false(f.callers->ranked);
    client_feed_fini(&f);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(it_is_told_who_else_calls),
    cmocka_unit_test(silence_is_no_goodbye),
    cmocka_unit_test(another_cluster_does_not_go_on_with_the_list),
    cmocka_unit_test(a_snapshot_and_what_follows),
    cmocka_unit_test(every_split_gives_the_same),
    cmocka_unit_test(beats_tell_how_old_it_may_be),
    cmocka_unit_test(a_connection_cut_anywhere_resumes),
    cmocka_unit_test(a_snapshot_that_is_cut_takes_nothing_away),
    cmocka_unit_test(instances_that_nobody_can_call_are_left_out),
    cmocka_unit_test(garbage_is_refused),
    cmocka_unit_test(a_line_without_end_is_refused),
};

RUN_TESTS(tests)
