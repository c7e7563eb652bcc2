/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Causes, starved probers and damping, as the catalog shows them. */
#include "agent_world.h"

#include "base/metric.h"
#include "health/run.h"

enum { S = 1000 };

static void register_checks(struct world *w, int n, const char *damping)
{
    static const char *const ids[] = {"p0", "p1", "p2", "p3", "p4", "p5"};
    struct agent_op *op = world_service(w, "web-1");

    for (int i = 0; i < n; i++) {
        struct check_def *d = world_add_check(op, ids[i]);
        d->tcp = bytes_str("127.0.0.1:1");
        d->interval_ns = 10 * INT64_C(1000000000);
        d->damping = bytes_str(damping);
    }
    assert_int_equal(world_do(w, op), 200);
}

static struct check_marks marks_there(struct world *w, const char *id)
{
    struct check_view v;
    world_until(w, agent_in_sync(w->agent));
    assert_true(world_catalog_check(w, id, &v));
    return v.marks;
}

static void result(struct world *w, const char *id, enum status status)
{
    world_result(w, id, status, "");
    world_until(w, world_catalog_says(w, id, status_name(status)));
}

/* --- Causes -------------------------------------------------------------- */

static void the_catalog_tells_why_a_check_is_critical(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, false);
    register_checks(&w, 1, "");
    result(&w, "p0", STATUS_PASSING);
    result(&w, "p0", STATUS_CRITICAL);
    assert_int_equal(marks_there(&w, "p0").cause, CAUSE_EVIDENCE);
    assert_true(marks_there(&w, "p0").since_ms > 0);
    result(&w, "p0", STATUS_PASSING);
    world_result_of(&w, "p0", STATUS_CRITICAL, "", RUN_TIMED_OUT, 0);
    world_until(&w, world_catalog_says(&w, "p0", "critical"));
    assert_int_equal(marks_there(&w, "p0").cause, CAUSE_TIMEOUT);
    world_teardown(&w);
}

static void a_starved_agent_takes_back_its_time_outs(void **state)
{
    (void)state;
    static const char *const ids[] = {"p0", "p1", "p2", "p3", "p4", "p5"};
    struct world w;
    int64_t starved = metric_get(METRIC_AGENT_STARVED),
            recalled = metric_get(METRIC_AGENT_RECALLED);
    world_setup(&w, false);
    register_checks(&w, 6, "");
    for (int i = 0; i < 6; i++)
        result(&w, ids[i], STATUS_PASSING);
    for (int i = 0; i < 6; i++) {
        world_result_of(&w, ids[i], STATUS_CRITICAL, "", RUN_TIMED_OUT, 0);
        world_until(&w, world_catalog_says(&w, ids[i], "critical"));
        /* The fourth of six is the one too many. */
        assert_int_equal(marks_there(&w, ids[i]).cause,
                         i < 3 ? CAUSE_TIMEOUT : CAUSE_SILENCE);
    }
    for (int i = 0; i < 6; i++)
        assert_int_equal(marks_there(&w, ids[i]).cause, CAUSE_SILENCE);
    assert_int_equal(metric_get(METRIC_AGENT_STARVED), starved + 1);
    assert_int_equal(metric_get(METRIC_AGENT_RECALLED), recalled + 3);
    /* A refusal is heard all the same. */
    world_result_of(&w, "p0", STATUS_CRITICAL, "", RUN_REFUSED, 0);
    assert_int_equal(marks_there(&w, "p0").cause, CAUSE_EVIDENCE);
    world_teardown(&w);
}

static void a_late_loop_makes_its_time_outs_silence(void **state)
{
    (void)state;
    struct world w;
    int64_t starved = metric_get(METRIC_AGENT_STARVED);
    world_setup(&w, false);
    register_checks(&w, 2, "");
    result(&w, "p0", STATUS_PASSING);
    result(&w, "p1", STATUS_PASSING);
    world_result_of(&w, "p0", STATUS_CRITICAL, "", RUN_TIMED_OUT, 0);
    assert_int_equal(marks_there(&w, "p0").cause, CAUSE_TIMEOUT);
    world_result_of(&w, "p1", STATUS_CRITICAL, "", RUN_TIMED_OUT, 1500);
    assert_int_equal(marks_there(&w, "p1").cause, CAUSE_SILENCE);
    assert_int_equal(marks_there(&w, "p0").cause, CAUSE_SILENCE);
    assert_int_equal(metric_get(METRIC_AGENT_STARVED), starved + 1);
    world_teardown(&w);
}

static void a_silent_service_is_reaped_too(void **state)
{
    (void)state;
    struct world w;
    struct service_view s;
    world_setup(&w, false);
    struct agent_op *op = world_service(&w, "web-1");
    struct check_def *d = world_add_ttl(op, "beat", 10);
    d->status = bytes_str("passing");
    d->deregister_after_ns = 90 * INT64_C(1000000000);
    assert_int_equal(world_do(&w, op), 200);
    world_advance(&w, 11 * S);
    world_until(&w, world_catalog_says(&w, "beat", "critical"));
    assert_int_equal(marks_there(&w, "beat").cause, CAUSE_SILENCE);
    world_advance(&w, 60 * S);
    world_until(&w, agent_in_sync(w.agent));
    assert_true(world_catalog_service(&w, "web-1", &s));
    world_advance(&w, 60 * S);
    world_until(&w, !world_catalog_service(&w, "web-1", &s));
    world_teardown(&w);
}

static size_t services_there(struct world *w, size_t n)
{
    struct service_view s;
    size_t found = 0;
    char id[16];
    for (size_t i = 0; i < n; i++) {
        snprintf(id, sizeof id, "web-%zu", i);
        found += world_catalog_service(w, id, &s);
    }
    return found;
}

static size_t services_here(struct world *w, size_t n)
{
    size_t found = 0;
    char id[16];
    for (size_t i = 0; i < n; i++) {
        snprintf(id, sizeof id, "web-%zu", i);
        found += world_local(w, id) != NULL;
    }
    return found;
}

/* The window does not end: nobody holds the duty here. */
static void of_six_silent_services_half_are_reaped(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, false);
    for (size_t i = 0; i < 6; i++) {
        char id[16], check[16];
        snprintf(id, sizeof id, "web-%zu", i);
        snprintf(check, sizeof check, "beat-%zu", i);
        struct agent_op *op = world_service(&w, id);
        struct check_def *d = world_add_ttl(op, check, 10);
        d->status = bytes_str("passing");
        d->deregister_after_ns = 90 * INT64_C(1000000000);
        assert_int_equal(world_do(&w, op), 200);
    }
    int64_t conflicts = metric_get(METRIC_STORE_CONFLICTS);
    world_advance(&w, 11 * S);
    for (size_t i = 0; i < 6; i++) {
        char check[16];
        snprintf(check, sizeof check, "beat-%zu", i);
        world_until(&w, world_catalog_says(&w, check, "critical"));
    }
    /* They count one after the other, not one against the other: 15 conflicts. */
    assert_true(metric_get(METRIC_STORE_CONFLICTS) <= conflicts + 6);
    world_advance(&w, 120 * S);
    /* First there, then here: a comparison in between would put them back. */
    world_until(&w, services_there(&w, 6) == 3 && services_here(&w, 6) == 3);
    world_advance(&w, 120 * S);
    world_until(&w, agent_in_sync(w.agent));
    assert_int_equal(services_there(&w, 6), 3);
    world_teardown(&w);
}

/* --- Damping ------------------------------------------------------------- */

static void flap(struct world *w, int times)
{
    result(w, "p0", STATUS_PASSING);
    for (int i = 0; i < times; i++) {
        world_advance(w, S);
        result(w, "p0", STATUS_CRITICAL);
        result(w, "p0", STATUS_PASSING);
    }
}

static void what_flaps_is_shown_and_stays(void **state)
{
    (void)state;
    struct world w;
    int64_t flaps = metric_get(METRIC_AGENT_FLAPS);
    world_setup(&w, false);
    register_checks(&w, 1, "");
    flap(&w, 4);
    struct check_marks m = marks_there(&w, "p0");
    assert_false(m.damped);
    assert_true(m.penalty > 2500);
    assert_true(m.damped_until_ms > world_wall(&w));
    assert_int_equal(metric_get(METRIC_AGENT_FLAPS), flaps + 4);
    assert_int_equal(metric_get(METRIC_AGENT_FLAPPING), 1);
    assert_int_equal(metric_get(METRIC_AGENT_DAMPED), 0);
    world_advance(&w, 300 * S);
    assert_int_equal(metric_get(METRIC_AGENT_FLAPPING), 0);
    world_teardown(&w);
}

static void what_flaps_is_damped_where_that_is_asked_for(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, true);
    register_checks(&w, 1, "suppress");
    flap(&w, 2);
    assert_false(marks_there(&w, "p0").damped);
    flap(&w, 1);
    assert_true(marks_there(&w, "p0").damped);
    assert_int_equal(metric_get(METRIC_AGENT_DAMPED), 1);
    /* A restart is no way out. */
    uint64_t before = snapshot_revision(catalog_current(w.catalog));
    world_restart(&w);
    assert_true(marks_there(&w, "p0").damped);
    assert_int_equal(snapshot_revision(catalog_current(w.catalog)), before);
    assert_int_equal(metric_get(METRIC_AGENT_DAMPED), 1);
    world_advance(&w, 90 * S);
    assert_true(marks_there(&w, "p0").damped);
    world_advance(&w, 60 * S);
    world_until(&w, !marks_there(&w, "p0").damped);
    assert_true(world_catalog_says(&w, "p0", "passing"));
    assert_int_equal(metric_get(METRIC_AGENT_DAMPED), 0);
    world_teardown(&w);
}

static void set_meta(struct world *w, const char *mode)
{
    struct agent_op *op = world_service(w, "web-1");
    struct buf b = {0};
    packed_put_pair(&b, bytes_str("muster-damping"), bytes_str(mode));
    op->service.meta =
        (struct packed){arena_copy(&op->arena, buf_bytes(&b)), 1};
    op->service.meta_set = true;
    buf_fini(&b);
    assert_int_equal(world_do(w, op), 200);
}

static void a_service_says_so_in_its_meta(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, false);
    register_checks(&w, 1, "");
    flap(&w, 3);
    assert_false(marks_there(&w, "p0").damped);
    set_meta(&w, "suppress");
    world_until(&w, marks_there(&w, "p0").damped);
    set_meta(&w, "off");
    world_until(&w, !marks_there(&w, "p0").damped);
    /* The check's own word is the nearer one. */
    register_checks(&w, 1, "suppress");
    world_advance(&w, 600 * S);
    flap(&w, 3);
    world_until(&w, marks_there(&w, "p0").damped);
    set_meta(&w, "off");
    assert_true(marks_there(&w, "p0").damped);
    world_teardown(&w);
}

static void other_limits_reach_what_runs(void **state)
{
    (void)state;
    struct world w;
    struct agent_live live = {0};
    world_setup(&w, false);
    register_checks(&w, 1, "");
    flap(&w, 3);
    live.me = w.options.me;
    live.damping = damp_rule_default();
    live.damping.mode = DAMP_SUPPRESS;
    agent_reconfigure(w.agent, &live);
    world_until(&w, marks_there(&w, "p0").damped);
    live.damping.max_ms = live.damping.half_life_ms = S;
    agent_reconfigure(w.agent, &live);
    world_advance(&w, S);
    world_until(&w, !marks_there(&w, "p0").damped);
    world_teardown(&w);
}

static void a_registration_excuses_the_next_result(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, false);
    register_checks(&w, 1, "suppress");
    result(&w, "p0", STATUS_PASSING);
    register_checks(&w, 1, "suppress"); /* redeployed */
    result(&w, "p0", STATUS_CRITICAL);
    assert_int_equal(marks_there(&w, "p0").penalty, 0);
    result(&w, "p0", STATUS_PASSING);
    result(&w, "p0", STATUS_CRITICAL);
    assert_int_equal(marks_there(&w, "p0").penalty, 1000);
    world_teardown(&w);
}

static void maintenance_counts_for_nothing(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, false);
    register_checks(&w, 1, "suppress");
    result(&w, "p0", STATUS_PASSING);
    for (int i = 0; i < 10; i++) {
        struct agent_op *op =
            world_id_op(&w, AGENT_SERVICE_MAINTENANCE, "web-1");
        op->enable = i % 2 == 0;
        assert_int_equal(world_do(&w, op), 200);
    }
    assert_int_equal(marks_there(&w, "p0").penalty, 0);
    world_teardown(&w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_catalog_tells_why_a_check_is_critical),
    cmocka_unit_test(a_starved_agent_takes_back_its_time_outs),
    cmocka_unit_test(a_late_loop_makes_its_time_outs_silence),
    cmocka_unit_test(a_silent_service_is_reaped_too),
    cmocka_unit_test(of_six_silent_services_half_are_reaped),
    cmocka_unit_test(what_flaps_is_shown_and_stays),
    cmocka_unit_test(what_flaps_is_damped_where_that_is_asked_for),
    cmocka_unit_test(a_service_says_so_in_its_meta),
    cmocka_unit_test(other_limits_reach_what_runs),
    cmocka_unit_test(a_registration_excuses_the_next_result),
    cmocka_unit_test(maintenance_counts_for_nothing),
};

RUN_TESTS(tests)
