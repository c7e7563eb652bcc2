/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Marks of checks on their way to the catalog, and what aliases make of them. */
#include "local_world.h"

/* --- Marks --------------------------------------------------------------- */

/* The check there, as if by the guard. */
static void mark_there(struct world *w, const char *id,
                       struct check_marks marks)
{
    struct check_view v;
    struct buf key = {0}, value = {0};
    assert_true(check_there(w, id, &v));
    v.marks = marks;
    key_check(&key, w->me.node.name, bytes_str(id));
    record_put_check(&value, &v);
    w->revision++;
    assert_ok(catalog_put(w->c, buf_bytes(&key), buf_bytes(&value),
                          v.create_rev, w->revision, &w->t));
    catalog_commit(w->c, w->revision);
    buf_fini(&key);
    buf_fini(&value);
}

static struct check_marks marks_there(struct world *w, const char *id)
{
    struct check_view v;
    assert_true(check_there(w, id, &v));
    return v.marks;
}

static void of_causes_only_news_are_written(void **state)
{
    (void)state;
    static const size_t writes[3][3] = {
        /* there:        EVIDENCE TIMEOUT SILENCE */
        /* EVIDENCE */ {0, 0, 1},
        /* TIMEOUT  */ {0, 0, 1},
        /* SILENCE  */ {0, 1, 0},
    };
    struct world w;
    setup(&w);
    put_check(&w, "k", "");
    set_state(&w, "k", STATUS_CRITICAL, "");
    (void)sync_check(&w, "k", false);
    for (int here = 0; here < 3; here++)
        for (int there = 0; there < 3; there++) {
            mark_there(&w, "k",
                       (struct check_marks){.cause = (enum check_cause)there});
            set_marked(&w, "k", STATUS_CRITICAL, "",
                       (struct check_marks){.cause = (enum check_cause)here});
            assert_int_equal(sync_check(&w, "k", false), writes[here][there]);
            assert_int_equal(marks_there(&w, "k").cause,
                             writes[here][there] ? here : there);
        }
    teardown(&w);
}

static void what_is_held_stays_so_until_there_is_evidence(void **state)
{
    (void)state;
    struct world w;
    const struct check_marks held = {
        .cause = CAUSE_SILENCE, .held = true, .held_ms = 5, .since_ms = 4};
    setup(&w);
    put_check(&w, "k", "");
    set_marked(&w, "k", STATUS_CRITICAL, "a",
               (struct check_marks){.cause = CAUSE_SILENCE, .since_ms = 4});
    (void)sync_check(&w, "k", false);
    mark_there(&w, "k", held);
    assert_int_equal(sync_check(&w, "k", false), 0);
    assert_true(marks_there(&w, "k").held);
    /* Output alone. */
    set_marked(&w, "k", STATUS_CRITICAL, "b",
               (struct check_marks){.cause = CAUSE_SILENCE, .since_ms = 4});
    assert_int_equal(sync_check(&w, "k", true), 1);
    struct check_marks got = marks_there(&w, "k");
    assert_true(marks_equal(&got, &held));
    /* Something else of it. */
    set_marked(&w, "k", STATUS_CRITICAL, "b",
               (struct check_marks){.cause = CAUSE_SILENCE, .damped = true});
    assert_int_equal(sync_check(&w, "k", false), 1);
    got = marks_there(&w, "k");
    assert_true(got.held && got.damped);
    assert_int_equal(got.held_ms, 5);
    assert_int_equal(got.since_ms, 4);
    /* Evidence. */
    set_marked(&w, "k", STATUS_CRITICAL, "b",
               (struct check_marks){.damped = true});
    assert_int_equal(sync_check(&w, "k", false), 1);
    got = marks_there(&w, "k");
    assert_false(got.held);
    assert_int_equal(got.cause, CAUSE_EVIDENCE);
    /* It passes, without a mark. */
    set_state(&w, "k", STATUS_PASSING, "b");
    assert_int_equal(sync_check(&w, "k", false), 1);
    got = marks_there(&w, "k");
    assert_false(marks_any(&got));
    teardown(&w);
}

static void what_is_only_shown_is_not_written_alone(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    put_check(&w, "k", "");
    set_state(&w, "k", STATUS_PASSING, "");
    (void)sync_check(&w, "k", false);
    set_marked(&w, "k", STATUS_PASSING, "",
               (struct check_marks){
                   .penalty = 900, .since_ms = 7, .damped_until_ms = 8});
    assert_int_equal(sync_check(&w, "k", false), 0);
    set_marked(&w, "k", STATUS_PASSING, "",
               (struct check_marks){
                   .damped = true, .penalty = 2600, .damped_until_ms = 8});
    assert_int_equal(sync_check(&w, "k", false), 1);
    assert_int_equal(marks_there(&w, "k").penalty, 2600);
    teardown(&w);
}

/* --- Alias --------------------------------------------------------------- */

static void assert_alias(struct world *w, const char *node_name,
                         const char *service, enum status want,
                         const char *text)
{
    struct buf out = {0};
    struct check_def d = {.id = bytes_str("self"),
                          .alias_node = bytes_str(node_name),
                          .alias_service = bytes_str(service)};
    assert_int_equal(local_alias_status(local_current(w->l),
                                        catalog_current(w->c), &w->me, &d, &out,
                                        &w->cause),
                     want);
    assert_bytes(buf_bytes(&out), text);
    buf_fini(&out);
}

static void an_alias_follows_a_local_service(void **state)
{
    (void)state;
    struct world w;
    struct service_view v = service_view("db");
    setup(&w);
    assert_alias(&w, "", "db", STATUS_CRITICAL,
                 "Service db could not be found on node ");
    put_service(&w, &v);
    assert_alias(&w, "", "db", STATUS_PASSING, "No checks found.");
    put_check(&w, "c1", "db");
    put_check(&w, "c2", "db");
    assert_alias(&w, "", "db", STATUS_CRITICAL,
                 "Aliased check \"c1\" failing: ");
    set_state(&w, "c1", STATUS_WARNING, "hm");
    set_state(&w, "c2", STATUS_PASSING, "");
    assert_alias(&w, "here", "DB", STATUS_WARNING,
                 "Aliased check \"c1\" failing: hm");
    set_state(&w, "c2", STATUS_CRITICAL, "no");
    assert_alias(&w, "", "db", STATUS_CRITICAL,
                 "Aliased check \"c2\" failing: no");
    set_state(&w, "c1", STATUS_PASSING, "");
    set_state(&w, "c2", STATUS_PASSING, "");
    assert_alias(&w, "", "db", STATUS_PASSING, "All checks passing.");
    /* Checks of the node count for all of its services. */
    put_check(&w, "n", "");
    assert_alias(&w, "", "db", STATUS_CRITICAL,
                 "Aliased check \"n\" failing: ");
    /* But not the alias itself. */
    set_state(&w, "n", STATUS_PASSING, "");
    put_check(&w, "self", "db");
    assert_alias(&w, "", "db", STATUS_PASSING, "All checks passing.");
    teardown(&w);
}

static void an_alias_is_silent_only_if_all_that_fails_is(void **state)
{
    (void)state;
    struct world w;
    struct service_view v = service_view("db");
    const struct check_marks silence = {.cause = CAUSE_SILENCE};
    setup(&w);
    put_service(&w, &v);
    put_check(&w, "c1", "db");
    put_check(&w, "c2", "db");
    put_check(&w, "c3", "db");
    set_marked(&w, "c1", STATUS_CRITICAL, "a", silence);
    set_state(&w, "c2", STATUS_PASSING, "");
    set_state(&w, "c3", STATUS_WARNING, "c");
    assert_alias(&w, "", "db", STATUS_CRITICAL,
                 "Aliased check \"c1\" failing: a");
    assert_int_equal(w.cause, CAUSE_SILENCE);
    set_state(&w, "c3", STATUS_CRITICAL, "c");
    assert_alias(&w, "", "db", STATUS_CRITICAL,
                 "Aliased check \"c1\" failing: a");
    assert_int_equal(w.cause, CAUSE_EVIDENCE);
    set_state(&w, "c1", STATUS_PASSING, "");
    set_state(&w, "c3", STATUS_PASSING, "");
    assert_alias(&w, "", "db", STATUS_PASSING, "All checks passing.");
    assert_int_equal(w.cause, CAUSE_EVIDENCE);
    teardown(&w);
}

static void an_alias_follows_another_node(void **state)
{
    (void)state;
    struct world w;
    struct service_view v = service_view("db");
    struct check_view k = {.id = bytes_str("c"),
                           .name = bytes_str("c"),
                           .status = bytes_str("warning"),
                           .output = bytes_str("hm"),
                           .service_id = bytes_str("db")};
    struct check_view n = {.id = bytes_str("n"),
                           .name = bytes_str("n"),
                           .status = bytes_str("passing")};
    setup(&w);
    struct node_view me = w.me.node;
    w.me.node = (struct node_view){.name = bytes_str("there"),
                                   .address = bytes_str("10.0.0.2")};
    register_there(&w, &v, &k);
    register_there(&w, NULL, &n);
    w.me.node = me;
    assert_alias(&w, "There", "db", STATUS_WARNING,
                 "Aliased check \"c\" failing: hm");
    assert_alias(&w, "there", "", STATUS_PASSING, "All checks passing.");
    assert_alias(&w, "there", "x", STATUS_CRITICAL,
                 "Service x could not be found on node there");
    assert_alias(&w, "nowhere", "", STATUS_PASSING, "No checks found.");
    teardown(&w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(of_causes_only_news_are_written),
    cmocka_unit_test(what_is_held_stays_so_until_there_is_evidence),
    cmocka_unit_test(what_is_only_shown_is_not_written_alone),
    cmocka_unit_test(an_alias_follows_a_local_service),
    cmocka_unit_test(an_alias_is_silent_only_if_all_that_fails_is),
    cmocka_unit_test(an_alias_follows_another_node),
};

RUN_TESTS(tests)
