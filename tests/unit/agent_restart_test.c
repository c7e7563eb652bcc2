/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What an agent's checks are after its end, clean or not, or its host's. */
#include "agent_world.h"

#include "base/metric.h"
#include "health/run.h"

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

/* --- After a restart ----------------------------------------------------- */

static void everything_comes_back_after_a_restart(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, true);
    register_ttl(&w, 1000);
    register_http(&w, (struct check_def){.failures_before_critical = 2});
    assert_int_equal(world_ttl(&w, "beat", "passing", "well"), 200);
    world_result(&w, "probe", STATUS_PASSING, "fine");
    world_until(&w, world_catalog_says(&w, "probe", "passing") &&
                        agent_in_sync(w.agent));
    uint64_t before = revision(&w);
    world_restart(&w);
    assert_int_equal(revision(&w), before); /* nobody saw it */
    assert_non_null(world_local(&w, "web-1"));
    assert_int_equal(world_local_check(&w, "beat")->status, STATUS_PASSING);
    assert_bytes(world_local_check(&w, "beat")->output, "well");
    assert_true(world_probe(&w, "probe")->on);
    /* One bad result right after is one bad result. */
    world_result(&w, "probe", STATUS_CRITICAL, "refused");
    world_until(&w, agent_in_sync(w.agent));
    assert_int_equal(world_local_check(&w, "probe")->status, STATUS_PASSING);
    world_result(&w, "probe", STATUS_CRITICAL, "refused");
    world_until(&w, world_catalog_says(&w, "probe", "critical"));
    world_teardown(&w);
}

/* Nobody runs for so long. */
static void restart_after(struct world *w, uint64_t down_ms)
{
    world_stop_agent(w);
    w->offset_ms += down_ms;
    local_free(w->local);
    w->local = local_new(&w->pins);
    w->options.local = w->local;
    w->probe_n = 0;
    world_start_agent(w);
}

static void assert_left(struct world *w, uint64_t about_ms)
{
    world_advance(w, about_ms - 10 * S);
    world_until(w, agent_in_sync(w->agent));
    assert_true(world_catalog_says(w, "beat", "passing"));
    world_advance(w, 20 * S);
    world_until(w, world_catalog_says(w, "beat", "critical"));
}

static void a_ttl_goes_on_where_it_was(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, true);
    register_ttl(&w, 1000);
    assert_int_equal(world_ttl(&w, "beat", "passing", ""), 200);
    world_advance(&w, 600 * S);
    restart_after(&w, 50 * S);
    assert_left(&w, 400 * S);
    world_teardown(&w);
}

static void a_long_time_down_is_given_back_in_part(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, true);
    register_ttl(&w, 1000);
    assert_int_equal(world_ttl(&w, "beat", "passing", ""), 200);
    world_advance(&w, 100 * S);
    restart_after(&w, 300 * S);
    assert_left(&w, 660 * S);
    /* So long that nothing of it is left: a chance to beat. */
    assert_int_equal(world_ttl(&w, "beat", "passing", ""), 200);
    restart_after(&w, 36000 * S);
    assert_left(&w, RUN_GRACE_MS);
    world_teardown(&w);
}

static void copy_db(const struct world *w, const char *from, const char *to)
{
    static const char *const parts[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        char source[160], target[160], block[4096];
        size_t n;
        (void)snprintf(source, sizeof source, "%s%s%s", w->agent_db, from,
                       parts[i]);
        (void)snprintf(target, sizeof target, "%s%s%s", w->agent_db, to,
                       parts[i]);
        (void)remove(target);
        FILE *in = fopen(source, "rb");
        if (!in)
            continue;
        FILE *out = fopen(target, "wb");
        assert_non_null(out);
        while ((n = fread(block, 1, sizeof block, in)) > 0)
            assert_int_equal(fwrite(block, 1, n, out), n);
        assert_int_equal(fclose(out), 0);
        (void)fclose(in);
    }
}

/* Killed: what a clean end would have written is not there. */
static void crash(struct world *w, uint64_t down_ms)
{
    copy_db(w, "", ".then");
    world_stop_agent(w);
    copy_db(w, ".then", "");
    w->offset_ms += down_ms;
    local_free(w->local);
    w->local = local_new(&w->pins);
    w->options.local = w->local;
    world_start_agent(w);
}

static void a_crash_costs_no_client_its_place_that_beats_twice(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, true);
    register_ttl(&w, 1000);
    for (int i = 0; i < 4; i++) {
        int64_t before = metric_get(METRIC_STORE_CHANGES);
        assert_int_equal(world_ttl(&w, "beat", "passing", ""), 200);
        world_advance(&w, 1);
        /* The first one is a change, the third is half a TTL later. */
        if (i == 2)
            world_until(&w, metric_get(METRIC_STORE_CHANGES) > before);
        world_until(&w, agent_in_sync(w.agent));
        world_advance(&w, (i < 3 ? 300 : 450) * S);
    }
    /* Stored is the beat of 750 s ago, the last one was 450 s ago. Of the 760 s
     * since then, in which nobody is known to have run, the grace is given back. */
    crash(&w, 10 * S);
    assert_left(&w, (1000 - 760) * S + RUN_GRACE_MS);
    world_teardown(&w);
}

/* A state that is written late must not be written after a client's newer word. */
static void a_word_is_not_undone_by_an_older_state(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, true);
    struct agent_op *op = world_service(&w, "web-1");
    world_add_ttl(op, "beat", 1000);
    world_add_ttl(op, "other", 1000);
    assert_int_equal(world_do(&w, op), 200);
    int before = w.answered;
    op = world_id_op(&w, AGENT_TTL, "beat");
    op->status = bytes_str("passing");
    world_submit(&w, op);
    world_advance(&w, 1); /* the late write is due, agent.db has the word */
    world_until(&w, w.answered > before);
    assert_int_equal(w.last_status, 200);
    /* agent.db has seen all that came before this one. */
    assert_int_equal(world_ttl(&w, "other", "passing", ""), 200);
    crash(&w, 1 * S);
    world_until(&w, agent_in_sync(w.agent));
    assert_int_equal(world_local_check(&w, "beat")->status, STATUS_PASSING);
    assert_true(world_catalog_says(&w, "beat", "passing"));
    world_teardown(&w);
}

static void little_time_left_becomes_a_grace(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, true);
    register_ttl(&w, 1000);
    assert_int_equal(world_ttl(&w, "beat", "passing", ""), 200);
    world_advance(&w, 999 * S);
    world_restart(&w);
    assert_left(&w, RUN_GRACE_MS);
    /* Critical stays critical, for the same cause, without another deadline. */
    uint64_t before = revision(&w);
    world_restart(&w);
    world_advance(&w, 5000 * S);
    world_until(&w, agent_in_sync(w.agent));
    assert_int_equal(revision(&w), before);
    assert_int_equal(world_local_check(&w, "beat")->marks.cause, CAUSE_SILENCE);
    assert_true(bytes_starts(world_local_check(&w, "beat")->output,
                             bytes_str("TTL expired")));
    assert_int_equal(world_ttl(&w, "beat", "passing", ""), 200);
    assert_true(world_catalog_says(&w, "beat", "passing"));
    world_teardown(&w);
}

static void another_boot_starts_in_silence_and_looks_soon(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, true);
    register_ttl(&w, 100000);
    register_http(&w, (struct check_def){0});
    assert_int_equal(world_ttl(&w, "beat", "passing", ""), 200);
    world_result(&w, "probe", STATUS_PASSING, "fine");
    world_until(&w, world_catalog_says(&w, "probe", "passing"));
    w.options.boot_id = "another";
    world_restart(&w);
    world_until(&w, world_catalog_says(&w, "beat", "critical"));
    world_until(&w, world_catalog_says(&w, "probe", "critical"));
    assert_int_equal(world_local_check(&w, "beat")->marks.cause, CAUSE_SILENCE);
    assert_int_equal(world_local_check(&w, "probe")->marks.cause,
                     CAUSE_SILENCE);
    assert_bytes(world_local_check(&w, "probe")->output,
                 "nothing was heard of it since the host was restarted");
    assert_true(world_probe(&w, "probe")->first_delay_ms < RUN_SOON_MS);
    /* The same boot then goes on as it was. */
    world_result(&w, "probe", STATUS_PASSING, "fine");
    world_until(&w, world_catalog_says(&w, "probe", "passing"));
    world_restart(&w);
    assert_int_equal(world_local_check(&w, "probe")->status, STATUS_PASSING);
    world_teardown(&w);
}

static void live_output_survives_a_clean_end(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, true);
    register_http(&w, (struct check_def){0});
    world_result(&w, "probe", STATUS_CRITICAL, "late text");
    assert_output(&w, "probe", "late text");
    world_restart(&w);
    assert_bytes(world_local_check(&w, "probe")->output, "late text");
    world_teardown(&w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(everything_comes_back_after_a_restart),
    cmocka_unit_test(a_ttl_goes_on_where_it_was),
    cmocka_unit_test(a_long_time_down_is_given_back_in_part),
    cmocka_unit_test(a_crash_costs_no_client_its_place_that_beats_twice),
    cmocka_unit_test(a_word_is_not_undone_by_an_older_state),
    cmocka_unit_test(little_time_left_becomes_a_grace),
    cmocka_unit_test(another_boot_starts_in_silence_and_looks_soon),
    cmocka_unit_test(live_output_survives_a_clean_end),
};

RUN_TESTS(tests)
