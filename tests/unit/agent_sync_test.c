/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent_others.h"

static void register_web(struct world *w)
{
    struct agent_op *op = world_service(w, "web-1");
    world_add_ttl(op, "beat", 100000);
    assert_int_equal(world_do(w, op), 200);
}

static struct registration of_service(struct world *w,
                                      const struct service_view *v)
{
    return (struct registration){.node = w->options.me.node, .service = v};
}

static size_t services_there(struct world *w)
{
    return world_node(w) ? world_node(w)->services.n : 0;
}

/* --- Somebody else changes the own node ---------------------------------- */

static void what_others_changed_is_repaired(void **state)
{
    (void)state;
    struct world w;
    struct service_view v;
    world_setup(&w, false);
    register_web(&w);
    assert_true(world_catalog_service(&w, "web-1", &v));
    v.port = 99;
    const struct registration r = of_service(&w, &v);
    world_register_there(&w, &r);
    world_until(&w, world_catalog_service(&w, "web-1", &v) && v.port == 99);
    world_advance(&w, AGENT_REPAIR_MS + 1);
    world_until(&w, world_catalog_service(&w, "web-1", &v) && v.port == 80);
    world_teardown(&w);
}

static void what_others_removed_comes_back(void **state)
{
    (void)state;
    struct world w;
    struct service_view v;
    world_setup(&w, false);
    register_web(&w);
    assert_int_equal(world_ttl(&w, "beat", "passing", ""), 200);
    world_until(&w, agent_in_sync(w.agent));
    world_deregister_there(&w, "", "beat");
    world_until(&w, world_catalog_says(&w, "beat", ""));
    world_advance(&w, AGENT_REPAIR_MS + 1);
    world_until(&w, world_catalog_says(&w, "beat", "passing"));

    world_deregister_there(&w, "web-1", "");
    world_until(&w, !world_catalog_service(&w, "web-1", &v));
    world_advance(&w, AGENT_REPAIR_MS + 1);
    world_until(&w, world_catalog_service(&w, "web-1", &v) &&
                        world_catalog_says(&w, "beat", "passing"));

    world_deregister_there(&w, "", ""); /* the whole node */
    world_until(&w, !world_node(&w));
    world_advance(&w, AGENT_REPAIR_MS + 1);
    world_until(&w, world_catalog_service(&w, "web-1", &v) &&
                        world_catalog_says(&w, "beat", "passing"));
    world_teardown(&w);
}

static void strangers_go_but_not_what_belongs_to_the_server(void **state)
{
    (void)state;
    struct world w;
    struct service_view v;
    struct service_view stranger = {.id = bytes_str("stranger"),
                                    .name = bytes_str("x")};
    struct service_view server = {.id = bytes_str("consul"),
                                  .name = bytes_str("consul")};
    struct check_view serf = {.id = bytes_str("serfHealth"),
                              .name = bytes_str("x"),
                              .status = bytes_str("passing")};
    world_setup(&w, false);
    register_web(&w);
    struct registration r = of_service(&w, &server);
    r.checks = &serf;
    r.check_count = 1;
    world_register_there(&w, &r);
    r = of_service(&w, &stranger);
    world_register_there(&w, &r);
    world_until(&w, world_catalog_service(&w, "stranger", &v));
    world_advance(&w, AGENT_REPAIR_MS + 1);
    world_until(&w, !world_catalog_service(&w, "stranger", &v));
    world_advance(&w, 2 * AGENT_SCAN_MS);
    world_until(&w, agent_in_sync(w.agent));
    assert_true(world_catalog_service(&w, "consul", &v));
    assert_true(world_catalog_says(&w, "serfHealth", "passing"));
    world_teardown(&w);
}

static void change_unseen(struct world *w)
{
    struct service_view v;
    assert_true(world_catalog_service(w, "web-1", &v));
    v.port = 99;
    const struct registration r = of_service(w, &v);
    w->blind = true;
    world_register_there(w, &r);
    world_until(w, world_catalog_service(w, "web-1", &v) && v.port == 99);
    w->blind = false;
}

static void what_nobody_told_us_is_found_by_the_scan(void **state)
{
    (void)state;
    struct world w;
    struct service_view v;
    world_setup(&w, false);
    register_web(&w);
    change_unseen(&w);
    world_advance(&w, 2 * AGENT_SCAN_MS);
    world_until(&w, world_catalog_service(&w, "web-1", &v) && v.port == 80);
    world_teardown(&w);
}

/* An unseen change shows whether there was a comparison. */
static void own_changes_start_no_comparison(void **state)
{
    (void)state;
    struct world w;
    struct service_view v;
    world_setup(&w, false);
    register_web(&w);
    assert_int_equal(world_do(&w, world_service(&w, "web-2")), 200);
    world_advance(&w, AGENT_REPAIR_MS + 1);
    world_until(&w, agent_in_sync(w.agent));
    change_unseen(&w);
    for (int i = 0; i < 10; i++) {
        struct agent_op *op = world_service(&w, "web-2");
        op->service.port = i;
        assert_int_equal(world_do(&w, op), 200);
        world_until(&w, agent_in_sync(w.agent));
    }
    world_advance(&w, AGENT_REPAIR_MS + 1);
    world_until(&w, agent_in_sync(w.agent));
    assert_true(world_catalog_service(&w, "web-1", &v));
    assert_int_equal(v.port, 99);
    world_teardown(&w);
}

static void the_catalogs_tags_are_taken_over_where_allowed(void **state)
{
    (void)state;
    struct world w;
    struct service_view v;
    struct buf tags = {0}, own = {0};
    world_setup(&w, true);
    packed_put(&tags, bytes_str("ext"));
    packed_put(&own, bytes_str("own"));
    struct agent_op *op = world_service(&w, "web-1");
    op->service.enable_tag_override = true;
    op->service.tags = (struct packed){buf_bytes(&own), 1};
    assert_int_equal(world_do(&w, op), 200);

    assert_true(world_catalog_service(&w, "web-1", &v));
    v.tags = (struct packed){buf_bytes(&tags), 1};
    v.port = 99;
    struct registration r = of_service(&w, &v);
    world_register_there(&w, &r);
    world_until(&w, world_catalog_service(&w, "web-1", &v) && v.port == 99);
    world_advance(&w, AGENT_REPAIR_MS + 1);
    /* The tags stay, the port is ours again. */
    world_until(&w, world_catalog_service(&w, "web-1", &v) && v.port == 80);
    assert_true(packed_has(v.tags, bytes_str("ext")));
    assert_true(
        packed_has(world_local(&w, "web-1")->view.tags, bytes_str("ext")));
    world_restart(&w);
    assert_true(
        packed_has(world_local(&w, "web-1")->view.tags, bytes_str("ext")));

    /* A new registration means its own tags. */
    op = world_service(&w, "web-1");
    op->service.enable_tag_override = true;
    op->service.tags = (struct packed){buf_bytes(&own), 1};
    assert_int_equal(world_do(&w, op), 200);
    world_advance(&w, 2 * AGENT_SCAN_MS);
    world_until(&w, agent_in_sync(w.agent));
    assert_true(world_catalog_service(&w, "web-1", &v));
    assert_true(packed_has(v.tags, bytes_str("own")));
    buf_fini(&tags);
    buf_fini(&own);
    world_teardown(&w);
}

/* --- The catalog cannot be written --------------------------------------- */

static void without_the_catalog_answers_are_pending(void **state)
{
    (void)state;
    static const enum gate gates[] = {GATE_FULL, GATE_DOWN};
    for (size_t i = 0; i < 2; i++) {
        struct world w;
        struct service_view v;
        world_setup(&w, true);
        world_set_gate(gates[i]);
        register_web(&w);
        assert_true(w.last_pending);
        assert_non_null(world_local(&w, "web-1"));
        assert_false(world_catalog_service(&w, "web-1", &v));
        /* Known to be down: at once. */
        int answered = w.answered;
        assert_int_equal(world_ttl(&w, "beat", "passing", ""), 200);
        assert_true(w.last_pending && w.answered == answered + 1);
        assert_false(agent_in_sync(w.agent));

        world_set_gate(GATE_OPEN);
        for (int n = 0; n < 10; n++)
            world_advance(&w, AGENT_RETRY_MAX_MS);
        world_until(&w, agent_in_sync(w.agent));
        assert_true(world_catalog_service(&w, "web-1", &v));
        assert_true(world_catalog_says(&w, "beat", "passing"));
        register_web(&w);
        assert_false(w.last_pending);
        world_teardown(&w);
    }
}

static void what_was_pending_survives_a_restart(void **state)
{
    (void)state;
    struct world w;
    struct service_view v;
    world_setup(&w, true);
    world_set_gate(GATE_FULL);
    register_web(&w);
    world_stop_agent(&w);
    world_set_gate(GATE_OPEN);
    local_free(w.local);
    w.local = local_new(&w.pins);
    w.options.local = w.local;
    world_start_agent(&w);
    assert_true(world_catalog_service(&w, "web-1", &v));
    world_teardown(&w);
}

static void nobody_waits_longer_than_that(void **state)
{
    (void)state;
    struct world w;
    struct service_view v;
    world_setup(&w, false);
    world_set_gate(GATE_HOLD);
    world_submit(&w, world_service(&w, "web-1"));
    /* Stored here, on its way there. */
    world_until(&w, !agent_in_sync(w.agent));
    world_advance(&w, AGENT_SYNC_WAIT_MS - 1000);
    assert_int_equal(w.answered, 0);
    world_advance(&w, 2000);
    assert_int_equal(w.answered, 1);
    assert_int_equal(w.last_status, 200);
    assert_true(w.last_pending);
    world_set_gate(GATE_OPEN);
    world_until(&w, world_catalog_service(&w, "web-1", &v));
    world_teardown(&w);
}

static void beats_hardly_wait_at_all(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, false);
    register_web(&w);
    world_until(&w, agent_in_sync(w.agent));
    int answered = w.answered;
    world_set_gate(GATE_HOLD);
    struct agent_op *op = world_id_op(&w, AGENT_TTL, "beat");
    op->status = bytes_str("passing");
    world_submit(&w, op);
    world_until(&w, world_local_check(&w, "beat")->status == STATUS_PASSING);
    world_advance(&w, AGENT_TTL_WAIT_MS + 1);
    assert_int_equal(w.answered, answered + 1);
    assert_int_equal(w.last_status, 200);
    world_set_gate(GATE_OPEN);
    world_until(&w, world_catalog_says(&w, "beat", "passing"));
    world_teardown(&w);
}

static void the_newest_state_wins_over_what_is_under_way(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, false);
    register_web(&w);
    world_set_gate(GATE_HOLD);
    for (int i = 0; i < 5; i++) {
        struct agent_op *op = world_id_op(&w, AGENT_TTL, "beat");
        op->status = bytes_str(i % 2 ? "passing" : "warning");
        world_submit(&w, op);
    }
    world_until(&w, world_local_check(&w, "beat")->status == STATUS_WARNING);
    world_set_gate(GATE_OPEN);
    world_until(&w, w.answered == 6 && agent_in_sync(w.agent));
    assert_true(world_catalog_says(&w, "beat", "warning"));
    world_teardown(&w);
}

static void what_changes_under_a_plan_is_planned_again(void **state)
{
    (void)state;
    struct world w;
    struct service_view v;
    world_setup(&w, false);
    register_web(&w);
    assert_true(world_catalog_service(&w, "web-1", &v));
    world_set_gate(GATE_HOLD);
    /* Somebody else's change first in line, then ours on the same record. */
    struct world_foreign f = {0};
    arena_init(&f.arena, 0);
    plan_init(&f.plan, &f.arena);
    v.port = 99;
    const struct registration r = of_service(&w, &v);
    assert_ok(plan_register(&f.plan, catalog_current(w.catalog), &r, NULL));
    f.change = (struct store_change){.guards = f.plan.guards,
                                     .guard_count = f.plan.guard_count,
                                     .ops = f.plan.ops,
                                     .op_count = f.plan.op_count,
                                     .done = world_foreign_done};
    assert_ok(store_submit(w.store, &f.change, NULL));
    struct agent_op *op = world_service(&w, "web-1");
    op->service.port = 81;
    world_submit(&w, op);
    world_until(&w, world_local(&w, "web-1")->view.port == 81);
    world_set_gate(GATE_OPEN);
    world_until(&w, w.answered == 2 && agent_in_sync(w.agent));
    assert_false(w.last_pending);
    assert_int_equal(f.outcome.verdict, STORE_COMMITTED);
    assert_true(world_catalog_service(&w, "web-1", &v));
    assert_int_equal(v.port, 81);
    arena_fini(&f.arena);
    world_teardown(&w);
}

/* What a server says of each difference, and how many came. */
static uint64_t server_revision;
static _Atomic unsigned server_took;

static enum err server_takes(void *ctx, struct store_change *c,
                             struct errtext *t)
{
    const struct store_outcome o = {.verdict = STORE_COMMITTED,
                                    .revision = server_revision};

    (void)ctx;
    (void)t;
    atomic_fetch_add(&server_took, 1);
    c->done(c, &o);
    return ERR_OK;
}

/* It took the service at a revision that is never shown here: it is gone, and
 * another one begins with a store of its own. */
static void what_a_store_took_that_is_gone_is_sent_to_the_next(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, false);
    w.options.submit_wishes = server_takes;
    server_revision = 0;
    world_start_agent(&w);
    catalog_commit(w.catalog, 500);
    agent_catalog_published(w.agent, false);
    server_revision = 1000;
    unsigned took = atomic_load(&server_took);
    world_submit(&w, world_service(&w, "web-1"));
    world_until(&w, atomic_load(&server_took) > took);
    server_revision = 0;
    /* What came of the first is known before this is answered. */
    assert_int_equal(world_do(&w, world_service(&w, "web-2")), 200);
    assert_false(agent_in_sync(w.agent));
    took = atomic_load(&server_took);
    catalog_load_anew(w.catalog);
    catalog_load_end(w.catalog, 3);
    agent_catalog_published(w.agent, false);
    world_until(&w, atomic_load(&server_took) > took && w.answered == 2 &&
                        agent_in_sync(w.agent));
    assert_false(w.last_pending);
    world_teardown(&w);
}

/* --- The end ------------------------------------------------------------- */

static void everybody_is_answered_at_the_end(void **state)
{
    (void)state;
    enum { N = 200 };
    static char ids[N][8];
    struct world w;
    world_setup(&w, true);
    for (int i = 0; i < N; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "s%d", i);
        world_submit(&w, world_service(&w, ids[i % 50]));
    }
    for (int i = 0; i < 3; i++)
        uv_run(&w.loop, UV_RUN_NOWAIT);
    world_stop_agent(&w);
    assert_int_equal(w.answered, N);
    world_teardown(&w);
}

static void ops_before_the_load_wait_for_it(void **state)
{
    (void)state;
    struct world w;
    struct errtext t = {{0}};
    struct service_view v;
    world_init(&w, true);
    assert_ok(agent_new(&w.options, &w.agent, &t));
    world_submit(&w, world_service(&w, "web-1"));
    assert_int_equal(w.answered, 0);
    world_until(&w, w.answered == 1);
    assert_int_equal(w.last_status, 200);
    assert_true(world_catalog_service(&w, "web-1", &v));
    world_stop_agent(&w);

    assert_ok(agent_new(&w.options, &w.agent, &t));
    world_submit(&w, world_service(&w, "web-2"));
    world_stop_agent(&w);
    assert_int_equal(w.answered, 2);
    world_teardown(&w);
}

static void a_locked_agent_db_is_refused_by_name(void **state)
{
    (void)state;
    struct world w;
    struct errtext t = {{0}};
    struct agent *second;
    world_setup(&w, true);
    assert_int_equal(agent_new(&w.options, &second, &t), ERR_LOCKED);
    assert_true(bytes_starts(bytes_str(t.s), bytes_str("agent.db: ")));
    world_teardown(&w);
}

/* --- Many ---------------------------------------------------------------- */

static void thousands_are_compared_in_steps(void **state)
{
    (void)state;
    enum { N = 3000 };
    static char ids[N][8];
    struct world w;
    world_setup(&w, false);
    world_set_gate(GATE_FULL);
    for (int i = 0; i < N; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "s%d", i);
        struct agent_op *op = world_service(&w, ids[i]);
        op->from_config = true;
        world_submit(&w, op);
    }
    world_until(&w, w.answered == N);
    assert_int_equal(services_there(&w), 0);
    world_set_gate(GATE_OPEN);
    for (int n = 0; n < 10; n++)
        world_advance(&w, AGENT_RETRY_MAX_MS);
    world_until(&w, agent_in_sync(w.agent));
    assert_int_equal(services_there(&w), N);
    world_deregister_there(&w, "", "");
    world_until(&w, !world_node(&w));
    world_advance(&w, AGENT_REPAIR_MS + 1);
    world_until(&w, services_there(&w) == N && agent_in_sync(w.agent));
    world_teardown(&w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_others_changed_is_repaired),
    cmocka_unit_test(what_others_removed_comes_back),
    cmocka_unit_test(strangers_go_but_not_what_belongs_to_the_server),
    cmocka_unit_test(what_nobody_told_us_is_found_by_the_scan),
    cmocka_unit_test(the_catalogs_tags_are_taken_over_where_allowed),
    cmocka_unit_test(own_changes_start_no_comparison),
    cmocka_unit_test(without_the_catalog_answers_are_pending),
    cmocka_unit_test(what_was_pending_survives_a_restart),
    cmocka_unit_test(nobody_waits_longer_than_that),
    cmocka_unit_test(beats_hardly_wait_at_all),
    cmocka_unit_test(the_newest_state_wins_over_what_is_under_way),
    cmocka_unit_test(what_changes_under_a_plan_is_planned_again),
    cmocka_unit_test(what_a_store_took_that_is_gone_is_sent_to_the_next),
    cmocka_unit_test(everybody_is_answered_at_the_end),
    cmocka_unit_test(ops_before_the_load_wait_for_it),
    cmocka_unit_test(a_locked_agent_db_is_refused_by_name),
    cmocka_unit_test(thousands_are_compared_in_steps),
};

RUN_TESTS(tests)
