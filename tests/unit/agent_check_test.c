/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent_others.h"

enum { S = 1000 };

static void register_ttl(struct world *w, int seconds)
{
    struct agent_op *op = world_service(w, "web-1");
    world_add_ttl(op, "beat", seconds);
    assert_int_equal(world_do(w, op), 200);
}

static void register_http(struct world *w, struct check_def with)
{
    struct agent_op *op = world_service(w, "web-1");
    struct check_def *d = world_add_http(op, "probe");
    d->success_before_passing = with.success_before_passing;
    d->failures_before_critical = with.failures_before_critical;
    d->deregister_after_ns = with.deregister_after_ns;
    d->output_max = with.output_max;
    assert_int_equal(world_do(w, op), 200);
}

static uint64_t revision(struct world *w)
{
    return snapshot_revision(catalog_current(w->catalog));
}

static void assert_output(struct world *w, const char *id, const char *text)
{
    world_until(w, world_local_check(w, id) &&
                       bytes_is(world_local_check(w, id)->output, text));
}

/* --- Probes -------------------------------------------------------------- */

static void a_result_changes_status_at_once(void **state)
{
    (void)state;
    struct world w;
    struct check_view k;
    world_setup(&w, false);
    register_http(&w, (struct check_def){0});
    world_result(&w, "probe", STATUS_PASSING, "fine");
    world_until(&w, world_catalog_says(&w, "probe", "passing"));
    assert_true(world_catalog_check(&w, "probe", &k));
    assert_bytes(k.output, "fine");
    assert_output(&w, "probe", "fine");
    world_result(&w, "probe", STATUS_CRITICAL, "no");
    world_until(&w, world_catalog_says(&w, "probe", "critical"));
    world_teardown(&w);
}

static void results_of_an_older_definition_are_ignored(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, false);
    register_http(&w, (struct check_def){0});
    uint64_t old = world_probe(&w, "probe")->generation;
    register_http(&w, (struct check_def){.output_max = 10});
    assert_true(world_probe(&w, "probe")->generation != old);
    agent_probe_result(w.agent,
                       &(struct agent_result){.generation = old,
                                              .check_id = bytes_str("probe"),
                                              .output = bytes_str("old")});
    agent_probe_result(w.agent,
                       &(struct agent_result){.generation = old,
                                              .check_id = bytes_str("nope"),
                                              .output = bytes_str("old")});
    world_result(&w, "probe", STATUS_CRITICAL, "new");
    assert_output(&w, "probe", "new");
    assert_true(world_catalog_says(&w, "probe", "critical"));
    world_teardown(&w);
}

static void thresholds_hold_status_and_output(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, false);
    register_http(&w, (struct check_def){.failures_before_critical = 3,
                                         .success_before_passing = 2});
    world_result(&w, "probe", STATUS_PASSING, "one");
    assert_output(&w, "probe", "one");
    world_result(&w, "probe", STATUS_CRITICAL, "bad 1");
    world_result(&w, "probe", STATUS_CRITICAL, "bad 2");
    world_until(&w, agent_in_sync(w.agent));
    assert_bytes(world_local_check(&w, "probe")->output, "one");
    world_result(&w, "probe", STATUS_CRITICAL, "bad 3");
    world_until(&w, world_catalog_says(&w, "probe", "critical"));
    assert_bytes(world_local_check(&w, "probe")->output, "bad 3");
    world_teardown(&w);
}

static void output_alone_is_live_here_and_late_in_the_catalog(void **state)
{
    (void)state;
    struct world w;
    struct check_view k;
    world_setup(&w, false);
    register_http(&w, (struct check_def){0});
    world_result(&w, "probe", STATUS_PASSING, "one");
    world_until(&w, world_catalog_says(&w, "probe", "passing") &&
                        agent_in_sync(w.agent));
    uint64_t before = revision(&w);
    world_result(&w, "probe", STATUS_PASSING, "two");
    assert_output(&w, "probe", "two");
    world_advance(&w, 149 * S); /* half the interval is the least */
    world_until(&w, agent_in_sync(w.agent));
    assert_int_equal(revision(&w), before);
    world_advance(&w, 302 * S); /* and one and a half the most */
    world_until(&w, revision(&w) > before);
    assert_true(world_catalog_check(&w, "probe", &k));
    assert_bytes(k.output, "two");
    world_teardown(&w);
}

static int outputs_there(struct world *w, char ids[][8], int n)
{
    struct check_view k;
    int found = 0;
    for (int i = 0; i < n; i++)
        found +=
            world_catalog_check(w, ids[i], &k) && bytes_is(k.output, "new");
    return found;
}

static void outputs_that_change_alone_have_a_budget(void **state)
{
    (void)state;
    enum { N = 3 * AGENT_OUTPUT_WRITES_PER_S };
    static char ids[N][8];
    struct world w;
    world_init(&w, false);
    w.options.check_update_interval_ms = 0; /* at once */
    world_start_agent(&w);
    for (int i = 0; i < N; i++) {
        struct agent_op *op = world_check(&w, "");
        (void)snprintf(ids[i], sizeof ids[i], "c%d", i);
        world_add_ttl(op, ids[i], 100000);
        assert_int_equal(world_do(&w, op), 200);
    }
    uint64_t start = world_now(&w);
    for (int i = 0; i < N; i++)
        assert_int_equal(world_ttl(&w, ids[i], "critical", "new"), 200);
    world_until(&w, outputs_there(&w, ids, N) > 0 && agent_in_sync(w.agent));
    while (outputs_there(&w, ids, N) < N) {
        uint64_t seconds = (world_now(&w) - start) / 1000 + 1;
        assert_true((uint64_t)outputs_there(&w, ids, N) <=
                    seconds * AGENT_OUTPUT_WRITES_PER_S);
        assert_true(seconds < 20);
        world_advance(&w, 1001);
        world_until(&w, agent_in_sync(w.agent));
    }
    world_teardown(&w);
}

static void discarded_output_is_empty_everywhere(void **state)
{
    (void)state;
    struct world w;
    struct check_view k;
    world_init(&w, false);
    w.options.discard_output = true;
    world_start_agent(&w);
    register_ttl(&w, 1000);
    register_http(&w, (struct check_def){0});
    world_result(&w, "probe", STATUS_PASSING, "text");
    assert_int_equal(world_ttl(&w, "beat", "passing", "text"), 200);
    world_until(&w, world_catalog_says(&w, "probe", "passing"));
    assert_true(world_catalog_check(&w, "probe", &k));
    assert_bytes(k.output, "");
    assert_bytes(world_local_check(&w, "beat")->output, "");
    world_teardown(&w);
}

/* --- TTL ----------------------------------------------------------------- */

static void a_beat_makes_it_pass_and_silence_critical(void **state)
{
    (void)state;
    struct world w;
    struct check_view k;
    world_setup(&w, false);
    register_ttl(&w, 1000);
    assert_int_equal(world_ttl(&w, "BEAT", "passing", "well"), 200);
    world_until(&w, world_catalog_says(&w, "beat", "passing"));
    for (int i = 0; i < 5; i++) {
        world_advance(&w, 900 * S);
        assert_int_equal(world_ttl(&w, "beat", "passing", "well"), 200);
    }
    assert_true(world_catalog_says(&w, "beat", "passing"));
    world_advance(&w, 1001 * S);
    world_until(&w, world_catalog_says(&w, "beat", "critical"));
    assert_true(world_catalog_check(&w, "beat", &k));
    assert_bytes(k.output, "TTL expired (last output before timeout follows): "
                           "well");
    assert_int_equal(world_ttl(&w, "beat", "warning", "hm"), 200);
    world_until(&w, world_catalog_says(&w, "beat", "warning"));
    world_teardown(&w);
}

static void a_check_that_never_beat_expires_too(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, false);
    register_ttl(&w, 1000);
    world_advance(&w, 1001 * S);
    assert_output(&w, "beat", "TTL expired");
    world_teardown(&w);
}

static void beats_that_change_nothing_are_not_written(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, false);
    register_ttl(&w, 1000);
    assert_int_equal(world_ttl(&w, "beat", "passing", "well"), 200);
    world_until(&w, world_catalog_says(&w, "beat", "passing") &&
                        agent_in_sync(w.agent));
    uint64_t before = revision(&w),
             version = local_version(local_current(w.local));
    for (int i = 0; i < 100; i++) {
        int answered = w.answered;
        struct agent_op *op = world_id_op(&w, AGENT_TTL, "beat");
        op->status = bytes_str("passing");
        op->output = bytes_str("well");
        world_submit(&w, op);
        assert_int_equal(w.answered, answered + 1); /* without a turn */
    }
    world_advance(&w, 700 * S);
    world_until(&w, agent_in_sync(w.agent));
    assert_int_equal(revision(&w), before);
    assert_int_equal(local_version(local_current(w.local)), version);
    world_teardown(&w);
}

static void of_beats_that_contradict_the_last_one_holds(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, false);
    register_ttl(&w, 1000);
    for (int i = 0; i < 9; i++) {
        struct agent_op *op = world_id_op(&w, AGENT_TTL, "beat");
        op->status = bytes_str(i % 2 ? "passing" : "warning");
        world_submit(&w, op);
    }
    world_until(&w, w.answered == 10 && agent_in_sync(w.agent));
    assert_true(world_catalog_says(&w, "beat", "warning"));
    assert_int_equal(world_local_check(&w, "beat")->status, STATUS_WARNING);
    world_teardown(&w);
}

static void long_notes_are_cut(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, false);
    struct agent_op *op = world_service(&w, "web-1");
    world_add_ttl(op, "beat", 1000)->output_max = 10;
    assert_int_equal(world_do(&w, op), 200);
    assert_int_equal(world_ttl(&w, "beat", "passing", "0123456789abcdef"), 200);
    assert_bytes(world_local_check(&w, "beat")->output,
                 "0123456789 ... (captured 10 of 16 bytes)");
    world_teardown(&w);
}

/* --- Reaper -------------------------------------------------------------- */

static void a_service_critical_for_too_long_goes(void **state)
{
    (void)state;
    struct world w;
    struct service_view s;
    world_setup(&w, false);
    register_http(&w, (struct check_def){.deregister_after_ns =
                                             90 * INT64_C(1000000000)});
    world_advance(&w, 80 * S);
    world_result(&w, "probe", STATUS_PASSING, ""); /* the time starts anew */
    world_until(&w, world_catalog_says(&w, "probe", "passing"));
    world_result(&w, "probe", STATUS_CRITICAL, "");
    for (int i = 0; i < 2; i++) {
        world_advance(&w, 40 * S);
        world_until(&w, agent_in_sync(w.agent));
        assert_true(world_catalog_service(&w, "web-1", &s));
    }
    world_advance(&w, 31 * S);
    world_until(&w, !world_catalog_service(&w, "web-1", &s));
    assert_null(world_local(&w, "web-1"));
    assert_null(world_local_check(&w, "probe"));
    world_teardown(&w);
}

static void a_short_deregistration_time_is_raised(void **state)
{
    (void)state;
    struct world w;
    struct service_view s;
    world_setup(&w, false);
    register_http(&w, (struct check_def){.deregister_after_ns = 1});
    world_advance(&w, 31 * S);
    world_advance(&w, 28 * S);
    world_until(&w, agent_in_sync(w.agent));
    assert_true(world_catalog_service(&w, "web-1", &s));
    world_advance(&w, 40 * S);
    world_until(&w, !world_catalog_service(&w, "web-1", &s));
    world_teardown(&w);
}

/* --- Aliases ------------------------------------------------------------- */

static void alias(struct world *w, const char *id, const char *service,
                  const char *node, const char *of)
{
    struct agent_op *op = world_check(w, service);
    struct check_def *d = world_add_check(op, id);
    d->alias_service = bytes_str(of);
    d->alias_node = bytes_str(node);
    assert_int_equal(world_do(w, op), 200);
}

static void aliases_follow_what_they_stand_for(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, false);
    register_ttl(&w, 1000);
    assert_int_equal(world_do(&w, world_service(&w, "a")), 200);
    assert_int_equal(world_do(&w, world_service(&w, "b")), 200);
    alias(&w, "b-follows-a", "b", "", "a");
    alias(&w, "a-follows-web", "a", "", "web-1");
    world_until(&w, world_catalog_says(&w, "b-follows-a", "critical"));
    assert_int_equal(world_ttl(&w, "beat", "passing", ""), 200);
    /* Through two of them. */
    world_until(&w, world_catalog_says(&w, "a-follows-web", "passing"));
    world_until(&w, world_catalog_says(&w, "b-follows-a", "passing"));
    assert_bytes(world_local_check(&w, "b-follows-a")->output,
                 "All checks passing.");
    assert_int_equal(
        world_do(&w, world_id_op(&w, AGENT_DEREGISTER_SERVICE, "web-1")), 200);
    world_until(&w, world_catalog_says(&w, "b-follows-a", "critical"));
    assert_bytes(world_local_check(&w, "a-follows-web")->output,
                 "Service web-1 could not be found on node ");
    world_teardown(&w);
}

static void two_aliases_of_each_other_come_to_rest(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, false);
    assert_int_equal(world_do(&w, world_service(&w, "a")), 200);
    assert_int_equal(world_do(&w, world_service(&w, "b")), 200);
    alias(&w, "ab", "a", "", "b");
    alias(&w, "ba", "b", "", "a");
    world_until(&w, agent_in_sync(w.agent));
    assert_true(world_local_check(&w, "ab")->output.n <=
                CHECK_OUTPUT_MAX_DEFAULT);
    world_teardown(&w);
}

static void write_there(struct world *w, const char *status)
{
    struct service_view s = {.id = bytes_str("db"), .name = bytes_str("db")};
    struct check_view k = {.id = bytes_str("db"),
                           .name = bytes_str("db"),
                           .status = bytes_str(status),
                           .service_id = bytes_str("db")};
    const struct registration r = {
        .node = {.name = bytes_str("there"), .address = bytes_str("10.0.0.2")},
        .service = &s,
        .checks = &k,
        .check_count = 1};
    world_register_there(w, &r);
}

static void aliases_follow_other_nodes(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, false);
    assert_int_equal(world_do(&w, world_service(&w, "a")), 200);
    alias(&w, "far", "a", "there", "db");
    assert_output(&w, "far", "Service db could not be found on node there");
    write_there(&w, "passing");
    world_until(&w, world_catalog_says(&w, "far", "passing"));
    write_there(&w, "warning");
    world_until(&w, world_catalog_says(&w, "far", "warning"));
    world_teardown(&w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_result_changes_status_at_once),
    cmocka_unit_test(results_of_an_older_definition_are_ignored),
    cmocka_unit_test(thresholds_hold_status_and_output),
    cmocka_unit_test(output_alone_is_live_here_and_late_in_the_catalog),
    cmocka_unit_test(outputs_that_change_alone_have_a_budget),
    cmocka_unit_test(discarded_output_is_empty_everywhere),
    cmocka_unit_test(a_beat_makes_it_pass_and_silence_critical),
    cmocka_unit_test(a_check_that_never_beat_expires_too),
    cmocka_unit_test(beats_that_change_nothing_are_not_written),
    cmocka_unit_test(of_beats_that_contradict_the_last_one_holds),
    cmocka_unit_test(long_notes_are_cut),
    cmocka_unit_test(a_service_critical_for_too_long_goes),
    cmocka_unit_test(a_short_deregistration_time_is_raised),
    cmocka_unit_test(aliases_follow_what_they_stand_for),
    cmocka_unit_test(two_aliases_of_each_other_come_to_rest),
    cmocka_unit_test(aliases_follow_other_nodes),
};

RUN_TESTS(tests)
