/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Random histories: clients, probes, foreign writers, outages and restarts,
 * without waiting for each other. At the end, whatever happened, the catalog
 * says what is true here, and what is true here is what was asked for last. A
 * failure prints the seed; MUSTER_SEED=n runs that one alone. */
#include "agent_others.h"

enum { SEEDS = 12, STEPS = 250, SERVICES = 6, CHECKS = 3 };

struct model_service {
    bool there;
    int port;
};

struct history {
    struct world w;
    uint64_t random;
    struct model_service services[SERVICES];
    int submitted;
};

static const char *const ids[SERVICES] = {"a", "B", "c/d", "e%f", "g h", "i"};
static char check_ids[SERVICES][CHECKS][8];

static uint64_t dice(struct history *h, uint64_t sides)
{
    h->random ^= h->random << 13; /* xorshift64 */
    h->random ^= h->random >> 7;
    h->random ^= h->random << 17;
    return h->random % sides;
}

static void submit(struct history *h, struct agent_op *op)
{
    h->submitted++;
    world_submit(&h->w, op);
}

/* --- Steps --------------------------------------------------------------- */

static void step_register(struct history *h)
{
    size_t i = dice(h, SERVICES);
    struct agent_op *op = world_service(&h->w, ids[i]);

    op->service.port = (int64_t)dice(h, 1000);
    for (size_t k = 0; k < CHECKS; k++)
        if (dice(h, 2))
            (void)(k % 2 ? world_add_http(op, check_ids[i][k])
                         : world_add_ttl(op, check_ids[i][k], 100000));
    op->replace_checks = dice(h, 2);
    h->services[i] = (struct model_service){true, (int)op->service.port};
    submit(h, op);
}

static void step_deregister(struct history *h)
{
    size_t i = dice(h, SERVICES);
    h->services[i].there = false;
    submit(h, world_id_op(&h->w, AGENT_DEREGISTER_SERVICE, ids[i]));
}

static void step_check(struct history *h)
{
    size_t i = dice(h, SERVICES), k = dice(h, CHECKS);
    struct agent_op *op = world_check(&h->w, dice(h, 3) ? ids[i] : "");

    (void)world_add_ttl(op, check_ids[i][k], 100000);
    submit(h, op);
}

static void step_uncheck(struct history *h)
{
    size_t i = dice(h, SERVICES), k = dice(h, CHECKS);
    submit(h, world_id_op(&h->w, AGENT_DEREGISTER_CHECK, check_ids[i][k]));
}

static void step_ttl(struct history *h)
{
    static const char *const statuses[] = {"passing", "warning", "critical"};
    size_t i = dice(h, SERVICES), k = dice(h, CHECKS);
    struct agent_op *op = world_id_op(&h->w, AGENT_TTL, check_ids[i][k]);

    op->status = bytes_str(statuses[dice(h, 3)]);
    op->output = bytes_str(dice(h, 2) ? "one" : "two");
    submit(h, op);
}

static void step_result(struct history *h)
{
    if (h->w.probe_n == 0)
        return;
    const struct world_probe *p = &h->w.probes[dice(h, h->w.probe_n)];
    const struct agent_result result = {
        .generation = p->generation - dice(h, 2),
        .check_id = bytes_str(p->id),
        .status = dice(h, 2) ? STATUS_PASSING : STATUS_CRITICAL,
        .kind = (enum run_kind)dice(h, RUN_TIMED_OUT + 1),
        .lag_ms = dice(h, 4) ? 0 : 2000,
        .output = bytes_str(dice(h, 2) ? "one" : "two"),
    };
    agent_probe_result(h->w.agent, &result);
}

static void step_maintenance(struct history *h)
{
    struct agent_op *op = dice(h, 2)
                              ? world_id_op(&h->w, AGENT_SERVICE_MAINTENANCE,
                                            ids[dice(h, SERVICES)])
                              : world_op(&h->w, AGENT_NODE_MAINTENANCE);
    op->enable = dice(h, 2);
    submit(h, op);
}

static void step_foreign(struct history *h)
{
    struct world *w = &h->w;
    if (atomic_load(&world_gate) != GATE_OPEN || !world_node(w))
        return;
    struct service_view v = {.id = bytes_str(ids[dice(h, SERVICES)]),
                             .name = bytes_str("foreign"),
                             .port = 1};
    const struct registration r = {.node = w->options.me.node, .service = &v};
    struct world_foreign f = {0};

    arena_init(&f.arena, 0);
    plan_init(&f.plan, &f.arena);
    enum err e =
        dice(h, 2)
            ? plan_register(&f.plan, catalog_current(w->catalog), &r, NULL)
            : plan_deregister(&f.plan, catalog_current(w->catalog),
                              w->options.me.node.name,
                              dice(h, 4) ? v.id : (struct bytes){0},
                              (struct bytes){0}, NULL);
    assert_ok(e);
    f.change = (struct store_change){.guards = f.plan.guards,
                                     .guard_count = f.plan.guard_count,
                                     .ops = f.plan.ops,
                                     .op_count = f.plan.op_count,
                                     .done = world_foreign_done};
    assert_ok(store_submit(w->store, &f.change, NULL));
    world_until(w, atomic_load(&f.done)); /* committed or not */
    arena_fini(&f.arena);
}

static void settle(struct history *h)
{
    world_set_gate(GATE_OPEN);
    world_until(&h->w, h->w.answered == h->submitted);
    for (int i = 0; i < 4; i++)
        world_advance(&h->w, AGENT_RETRY_MAX_MS);
    world_advance(&h->w, 2 * AGENT_SCAN_MS);
    world_until(&h->w, agent_in_sync(h->w.agent));
}

static void step_world(struct history *h)
{
    switch (dice(h, 8)) {
    case 0:
        world_set_gate(GATE_FULL);
        break;
    case 1:
        world_set_gate(GATE_DOWN);
        break;
    case 2:
        world_set_gate(GATE_HOLD);
        break;
    case 3:
    case 4:
        world_set_gate(GATE_OPEN);
        break;
    case 5:
        world_advance(&h->w, dice(h, 20000));
        break;
    case 6:
        uv_run(&h->w.loop, UV_RUN_NOWAIT);
        break;
    case 7:
        settle(h);
        world_restart(&h->w);
        if (!h->w.folder[0]) /* in memory, nothing comes back */
            memset(h->services, 0, sizeof h->services);
        break;
    }
}

static void step(struct history *h)
{
    static void (*const steps[])(struct history *) = {
        step_register, step_register, step_deregister,  step_check,
        step_uncheck,  step_ttl,      step_ttl,         step_ttl,
        step_result,   step_result,   step_maintenance, step_foreign,
        step_world,    step_world,
    };
    steps[dice(h, sizeof steps / sizeof steps[0])](h);
    if (dice(h, 2))
        uv_run(&h->w.loop, UV_RUN_NOWAIT);
}

/* --- What must hold ------------------------------------------------------ */

static void assert_catalog_agrees(struct world *w)
{
    const struct cat_node *n = world_node(w);
    struct tree_iter it;
    size_t services = 0, checks = 0;

    local_services(local_current(w->local), &it);
    for (const struct local_service *v; (v = local_next_service(&it));
         services++) {
        struct service_view there;
        const struct cat_instance *i = cat_node_service(n, v->view.id);
        assert_non_null(i);
        cat_service_view(i->service, &there);
        assert_int_equal(there.port, v->view.port);
        assert_true(bytes_eq(there.name, v->view.name));
    }
    local_checks(local_current(w->local), &it);
    for (const struct local_check *k; (k = local_next_check(&it)); checks++) {
        struct check_view there;
        const struct cat_record *r = cat_node_check(n, k->def.id);
        assert_non_null(r);
        cat_check_view(r, &there);
        assert_bytes(there.status, status_name(k->status));
        assert_true(bytes_eq_fold(there.service_id, k->def.service_id));
    }
    assert_int_equal(n->services.n, services);
    assert_int_equal(n->checks.n, checks);
}

static void assert_as_asked(struct history *h)
{
    for (size_t i = 0; i < SERVICES; i++) {
        const struct local_service *v = world_local(&h->w, ids[i]);
        assert_int_equal(v != NULL, h->services[i].there);
        if (v)
            assert_int_equal(v->view.port, h->services[i].port);
    }
}

static void run(uint64_t seed)
{
    struct history h = {.random = seed * 0x9e3779b97f4a7c15U + 1};

    world_setup(&h.w, seed % 2);
    for (int i = 0; i < STEPS; i++)
        step(&h);
    settle(&h);
    assert_as_asked(&h);
    assert_catalog_agrees(&h.w);
    world_restart(&h.w);
    if (seed % 2)
        assert_as_asked(&h);
    assert_catalog_agrees(&h.w);
    world_teardown(&h.w);
}

static void histories_end_with_here_and_there_alike(void **state)
{
    (void)state;
    const char *one = getenv("MUSTER_SEED");

    for (size_t i = 0; i < SERVICES; i++)
        for (size_t k = 0; k < CHECKS; k++)
            (void)snprintf(check_ids[i][k], sizeof check_ids[i][k], "%c:%zu",
                           (char)('A' + i), k);
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        uint64_t use = one ? strtoull(one, NULL, 10) : seed;
        print_message("# seed %llu\n", (unsigned long long)use);
        run(use);
        if (one)
            break;
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(histories_end_with_here_and_there_alike),
};

RUN_TESTS(tests)
