/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent_world.h"

#include <signal.h>

static void assert_refused(struct world *w, struct agent_op *op, int status,
                           const char *text)
{
    assert_int_equal(world_do(w, op), status);
    assert_string_equal(w->last_text, text);
}

static void register_web(struct world *w)
{
    struct agent_op *op = world_service(w, "web-1");
    world_add_ttl(op, "beat", 1000);
    world_add_http(op, "probe");
    assert_int_equal(world_do(w, op), 200);
}

/* --- Registration -------------------------------------------------------- */

static void an_answered_registration_is_here_and_in_the_catalog(void **state)
{
    (void)state;
    struct world w;
    struct service_view s;
    struct check_view k;
    world_setup(&w, false);
    register_web(&w);
    assert_false(w.last_pending);
    assert_non_null(world_local(&w, "web-1"));
    assert_true(world_catalog_service(&w, "web-1", &s));
    assert_bytes(s.name, "web");
    assert_true(world_catalog_check(&w, "beat", &k));
    assert_bytes(k.type, "ttl");
    assert_bytes(k.status, "critical");
    assert_true(world_catalog_check(&w, "probe", &k));
    assert_true(world_probe(&w, "probe")->on);
    assert_true(world_probe(&w, "probe")->first_delay_ms < 10000);
    assert_null(world_probe(&w, "beat"));
    assert_true(agent_in_sync(w.agent));
    assert_true(w.published > 0);
    world_teardown(&w);
}

static void registering_again_changes_nothing(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, false);
    register_web(&w);
    uint64_t revision = snapshot_revision(catalog_current(w.catalog));
    uint64_t version = local_version(local_current(w.local));
    size_t starts = w.starts;
    register_web(&w);
    assert_int_equal(snapshot_revision(catalog_current(w.catalog)), revision);
    assert_int_equal(local_version(local_current(w.local)), version);
    assert_int_equal(w.starts, starts);
    world_teardown(&w);
}

static void registering_again_keeps_states_and_replaces_the_rest(void **state)
{
    (void)state;
    struct world w;
    struct service_view s;
    world_setup(&w, false);
    register_web(&w);
    world_result(&w, "probe", STATUS_PASSING, "fine");
    world_until(&w, world_catalog_says(&w, "probe", "passing"));

    struct agent_op *op = world_service(&w, "web-1");
    op->service.port = 81;
    struct check_def *d = world_add_http(op, "probe");
    d->interval_ns *= 2;
    d->status = bytes_str("critical");
    assert_int_equal(world_do(&w, op), 200);
    assert_true(world_catalog_service(&w, "web-1", &s));
    assert_int_equal(s.port, 81);
    assert_true(world_catalog_says(&w, "probe", "passing"));
    assert_bytes(world_local_check(&w, "probe")->output, "fine");
    /* Not mentioned, and not to be replaced. */
    assert_true(world_catalog_says(&w, "beat", "critical"));
    assert_int_equal(w.starts, 2);
    world_teardown(&w);
}

static void checks_not_mentioned_go_when_that_is_asked_for(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, false);
    register_web(&w);
    struct agent_op *op = world_id_op(&w, AGENT_SERVICE_MAINTENANCE, "web-1");
    op->enable = true;
    assert_int_equal(world_do(&w, op), 200);

    op = world_service(&w, "web-1");
    world_add_ttl(op, "other", 10);
    op->replace_checks = true;
    assert_int_equal(world_do(&w, op), 200);
    assert_true(world_catalog_says(&w, "beat", ""));
    assert_true(world_catalog_says(&w, "probe", ""));
    assert_true(world_catalog_says(&w, "other", "critical"));
    assert_null(world_local_check(&w, "probe"));
    assert_false(world_probe(&w, "probe")->on);
    /* Nobody said that maintenance is over. */
    assert_true(
        world_catalog_says(&w, "_service_maintenance:web-1", "critical"));
    world_teardown(&w);
}

static void addresses_are_tagged_by_their_family(void **state)
{
    (void)state;
    static const struct {
        const char *address, *names;
    } cases[] = {
        {"10.0.0.9", "lan_ipv4 wan_ipv4 "},
        {"fd00::9", "lan_ipv6 wan_ipv6 "},
        {"::ffff:10.0.0.9", "lan_ipv4 wan_ipv4 "},
        {"web.example.org", ""},
        {"", ""},
    };
    struct world w;
    world_setup(&w, false);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct agent_op *op = world_service(&w, "a");
        struct bytes rest, name, value, address;
        struct buf names = {0};
        int64_t port;
        op->service.address = bytes_str(cases[i].address);
        assert_int_equal(world_do(&w, op), 200);
        rest = world_local(&w, "a")->view.tagged.data;
        while (packed_next_pair(&rest, &name, &value)) {
            assert_true(tagged_address(value, &address, &port));
            assert_bytes(address, cases[i].address);
            assert_int_equal(port, 80);
            buf_put(&names, name);
            buf_putc(&names, ' ');
        }
        assert_bytes(buf_bytes(&names), cases[i].names);
        buf_fini(&names);
    }
    world_teardown(&w);
}

static void given_tagged_addresses_win(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "lan_ipv4", "v", "z"};
    struct world w;
    struct buf given = {0};
    struct bytes rest, name, value, address;
    int64_t port;
    world_setup(&w, false);
    struct agent_op *op = world_service(&w, "a");
    op->service.address = bytes_str("10.0.0.9");
    for (size_t i = 0; i < 4; i++)
        packed_put_tagged(&given, bytes_str(names[i]), bytes_str("10.0.0.1"),
                          (int64_t)i);
    op->service.tagged = (struct packed){buf_bytes(&given), 4};
    assert_int_equal(world_do(&w, op), 200);
    const struct local_service *v = world_local(&w, "a");
    static const char *const want[] = {"a", "lan_ipv4", "v", "wan_ipv4", "z"};
    assert_int_equal(v->view.tagged.n, 5);
    rest = v->view.tagged.data;
    for (size_t i = 0; i < 5; i++) {
        assert_true(packed_next_pair(&rest, &name, &value));
        assert_bytes(name, want[i]);
        assert_true(tagged_address(value, &address, &port));
        assert_bytes(address, i == 3 ? "10.0.0.9" : "10.0.0.1");
        assert_int_equal(port, i == 3 ? 80 : i == 4 ? 3 : (int)i);
    }
    buf_fini(&given);
    world_teardown(&w);
}

static void a_check_given_twice_counts_once(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, false);
    struct agent_op *op = world_service(&w, "a");
    world_add_ttl(op, "c", 10);
    world_add_ttl(op, "C", 20)->notes = bytes_str("last");
    assert_int_equal(world_do(&w, op), 200);
    assert_bytes(world_local_check(&w, "c")->def.notes, "last");
    world_teardown(&w);
}

/* --- Refusals ------------------------------------------------------------ */

static void what_is_not_there_is_refused_by_name(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, false);
    register_web(&w);
    assert_refused(&w, world_id_op(&w, AGENT_DEREGISTER_SERVICE, "nope"), 404,
                   "Unknown service ID \"nope\". Ensure that the service ID is "
                   "passed, not the service name.");
    assert_refused(&w, world_id_op(&w, AGENT_DEREGISTER_CHECK, "nope"), 404,
                   "Unknown check ID \"nope\". Ensure that the check ID is "
                   "passed, not the check name.");
    assert_refused(&w, world_id_op(&w, AGENT_TTL, "nope"), 404,
                   "Unknown check ID \"nope\". Ensure that the check ID is "
                   "passed, not the check name.");
    assert_refused(&w, world_id_op(&w, AGENT_TTL, "probe"), 500,
                   "CheckID \"probe\" does not have associated TTL");
    assert_refused(&w, world_id_op(&w, AGENT_SERVICE_MAINTENANCE, "nope"), 404,
                   "No service registered with ID \"nope\"");
    struct agent_op *op = world_check(&w, "nope");
    world_add_ttl(op, "c", 10);
    assert_refused(&w, op, 500, "ServiceID \"nope\" does not exist");
    world_teardown(&w);
}

static void scripts_run_only_where_that_is_allowed(void **state)
{
    (void)state;
    static struct bytes args[] = {{"/bin/true", 9}};
    static const char remote[] =
        "Scripts are disabled on this agent from remote calls; to enable, "
        "configure 'enable_script_checks' to true";
    static const char config[] =
        "Scripts are disabled on this agent; to enable, configure "
        "'enable_script_checks' or 'enable_local_script_checks' to true";
    for (int i = 0; i < 8; i++) {
        struct world w;
        bool from_config = i & 1, allowed = i & 2, local = i & 4;
        world_init(&w, false);
        w.options.scripts_allowed = allowed;
        w.options.scripts_allowed_local = local;
        world_start_agent(&w);
        struct agent_op *op = world_service(&w, "a");
        struct check_def *d = world_add_check(op, "script");
        d->args = args;
        d->arg_count = 1;
        d->interval_ns = 1000000000;
        op->from_config = from_config;
        if (allowed || (local && from_config)) {
            assert_int_equal(world_do(&w, op), 200);
            assert_true(world_probe(&w, "script")->on);
        } else {
            assert_refused(&w, op, 500, from_config ? config : remote);
            assert_null(world_local(&w, "a"));
        }
        world_teardown(&w);
    }
}

static void sizes_have_limits_with_names(void **state)
{
    (void)state;
    struct world w;
    static char id[AGENT_ID_MAX + 2];
    world_setup(&w, false);
    memset(id, 'x', AGENT_ID_MAX + 1);
    assert_refused(&w, world_service(&w, id), 400,
                   "ServiceID of 513 bytes, the limit is 512");
    struct agent_op *op = world_check(&w, "");
    world_add_ttl(op, id, 10);
    assert_refused(&w, op, 400, "CheckID of 513 bytes, the limit is 512");
    id[AGENT_ID_MAX] = '\0';
    assert_int_equal(world_do(&w, world_service(&w, id)), 200);
    world_teardown(&w);
}

static void a_service_has_a_limit_of_checks(void **state)
{
    (void)state;
    static char ids[AGENT_SERVICE_CHECKS_MAX + 1][8];
    struct world w;
    world_setup(&w, false);
    for (int i = 0; i < AGENT_SERVICE_CHECKS_MAX;) {
        struct agent_op *op = world_service(&w, "a");
        for (int k = 0; k < AGENT_CHECKS_MAX; k++, i++) {
            (void)snprintf(ids[i], sizeof ids[i], "c%d", i);
            world_add_ttl(op, ids[i], 10);
        }
        assert_int_equal(world_do(&w, op), 200);
    }
    struct agent_op *op = world_check(&w, "a");
    world_add_ttl(op, "more", 10);
    assert_refused(&w, op, 400,
                   "the service would have 257 checks, the limit is 256: "
                   "deregister some, or register with replace-existing-checks");
    assert_int_equal(
        world_do(&w, world_id_op(&w, AGENT_DEREGISTER_SERVICE, "a")), 200);
    assert_null(world_local_check(&w, "c0"));
    assert_int_equal(world_node(&w)->checks.n, 0);
    world_teardown(&w);
}

static void what_agent_db_refuses_is_not_kept(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, false);
    char *big = calloc(1, STORE_VALUE_MAX + 1);
    assert_non_null(big);
    memset(big, 'x', STORE_VALUE_MAX);
    struct agent_op *op = world_service(&w, "a");
    world_add_ttl(op, "c", 10)->notes = bytes_str(big);
    assert_int_equal(world_do(&w, op), 400);
    assert_null(world_local(&w, "a"));
    assert_null(world_local_check(&w, "c"));
    free(big);
    /* The lane is free again. */
    assert_int_equal(world_do(&w, world_service(&w, "a")), 200);
    world_teardown(&w);
}

static void a_full_disk_keeps_nothing_but_what_is_true(void **state)
{
    (void)state;
    struct world w;
    struct service_view s;
    world_setup(&w, true);
    register_web(&w);
    assert_int_equal(world_ttl(&w, "beat", "passing", ""), 200);
    world_until(&w, agent_in_sync(w.agent));

    signal(SIGXFSZ, SIG_IGN);
    world_file_limit(4096); /* the catalog is in memory */
    assert_int_equal(world_do(&w, world_service(&w, "full")), 500);
    assert_true(bytes_starts(bytes_str(w.last_text),
                             bytes_str("agent.db cannot store it, nothing was "
                                       "changed: no space left on device")));
    assert_null(world_local(&w, "full"));
    assert_int_equal(world_ttl(&w, "beat", "warning", ""), 500);
    assert_int_equal(world_local_check(&w, "beat")->status, STATUS_PASSING);
    /* What a probe has seen is true, stored or not. */
    world_result(&w, "probe", STATUS_PASSING, "seen");
    world_until(&w, world_catalog_says(&w, "probe", "passing"));
    world_file_limit(RLIM_INFINITY);

    /* And stored as soon as that is possible. */
    world_until(&w, world_do(&w, world_service(&w, "full")) == 200);
    assert_true(world_catalog_service(&w, "full", &s));
    world_advance(&w, AGENT_RETRY_MAX_MS + 1);
    world_restart(&w);
    assert_int_equal(world_local_check(&w, "probe")->status, STATUS_PASSING);
    assert_int_equal(world_local_check(&w, "beat")->status, STATUS_PASSING);
    world_teardown(&w);
}

static void a_first_pass_is_stored_soon_after_a_full_disk(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, true);
    register_web(&w);
    signal(SIGXFSZ, SIG_IGN);
    world_file_limit(4096);
    world_result(&w, "probe", STATUS_PASSING, "seen");
    /* Refused after the state was. */
    assert_int_equal(world_do(&w, world_service(&w, "full")), 500);
    world_file_limit(RLIM_INFINITY);
    world_until(&w, world_do(&w, world_service(&w, "room")) == 200);
    world_advance(&w, 2 * AGENT_RETRY_MS);
    assert_int_equal(world_do(&w, world_service(&w, "behind")), 200);

    world_file_limit(4096); /* the end, as a kill, stores nothing */
    world_stop_agent(&w);
    world_file_limit(RLIM_INFINITY);
    world_come_back(&w);
    assert_int_equal(world_local_check(&w, "probe")->status, STATUS_PASSING);
    world_teardown(&w);
}

/* --- Deregistration ------------------------------------------------------ */

static void a_service_goes_with_its_checks(void **state)
{
    (void)state;
    struct world w;
    struct service_view s;
    world_setup(&w, false);
    register_web(&w);
    assert_int_equal(
        world_do(&w, world_id_op(&w, AGENT_DEREGISTER_SERVICE, "WEB-1")), 200);
    assert_null(world_local(&w, "web-1"));
    assert_null(world_local_check(&w, "beat"));
    assert_false(world_catalog_service(&w, "web-1", &s));
    assert_true(world_catalog_says(&w, "beat", ""));
    assert_false(world_probe(&w, "probe")->on);
    world_teardown(&w);
}

static void a_check_goes_alone(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, false);
    register_web(&w);
    struct agent_op *op = world_check(&w, "");
    world_add_ttl(op, "node", 10);
    assert_int_equal(world_do(&w, op), 200);
    assert_true(world_catalog_says(&w, "node", "critical"));
    assert_int_equal(
        world_do(&w, world_id_op(&w, AGENT_DEREGISTER_CHECK, "beat")), 200);
    assert_int_equal(
        world_do(&w, world_id_op(&w, AGENT_DEREGISTER_CHECK, "node")), 200);
    assert_true(world_catalog_says(&w, "beat", ""));
    assert_true(world_catalog_says(&w, "node", ""));
    assert_true(world_catalog_says(&w, "probe", "critical"));
    assert_null(world_local_check(&w, "node"));
    world_teardown(&w);
}

static void a_check_registered_later_finds_its_service(void **state)
{
    (void)state;
    struct world w;
    struct check_view k;
    world_setup(&w, false);
    register_web(&w);
    struct agent_op *op = world_check(&w, "WEB-1");
    world_add_ttl(op, "late", 10)->status = bytes_str("passing");
    assert_int_equal(world_do(&w, op), 200);
    assert_true(world_catalog_check(&w, "late", &k));
    assert_bytes(k.service_id, "web-1");
    assert_bytes(k.status, "passing");
    world_teardown(&w);
}

/* --- Maintenance --------------------------------------------------------- */

static void maintenance_is_a_critical_check_with_a_reason(void **state)
{
    (void)state;
    struct world w;
    struct check_view k;
    world_setup(&w, false);
    register_web(&w);
    struct agent_op *op = world_id_op(&w, AGENT_SERVICE_MAINTENANCE, "WEB-1");
    op->enable = true;
    assert_int_equal(world_do(&w, op), 200);
    assert_true(world_catalog_check(&w, "_service_maintenance:web-1", &k));
    assert_bytes(k.id, "_service_maintenance:web-1");
    assert_bytes(k.name, "Service Maintenance Mode");
    assert_bytes(k.status, "critical");
    assert_bytes(k.type, "maintenance");
    assert_bytes(k.service_id, "web-1");
    assert_bytes(k.notes,
                 "Maintenance mode is enabled for this service, but no reason "
                 "was provided. This is a default message.");
    op = world_op(&w, AGENT_NODE_MAINTENANCE);
    op->enable = true;
    op->reason = bytes_str("new disks");
    assert_int_equal(world_do(&w, op), 200);
    assert_true(world_catalog_check(&w, "_node_maintenance", &k));
    assert_bytes(k.name, "Node Maintenance Mode");
    assert_bytes(k.notes, "new disks");
    assert_bytes(k.service_id, "");

    for (int i = 0; i < 2; i++) { /* again: nothing to do, and well */
        op = world_op(&w, AGENT_NODE_MAINTENANCE);
        assert_int_equal(world_do(&w, op), 200);
        op = world_id_op(&w, AGENT_SERVICE_MAINTENANCE, "web-1");
        assert_int_equal(world_do(&w, op), 200);
        assert_true(world_catalog_says(&w, "_node_maintenance", ""));
        assert_true(world_catalog_says(&w, "_service_maintenance:web-1", ""));
    }
    world_teardown(&w);
}

/* --- Several at once ----------------------------------------------------- */

static void ops_on_one_service_happen_in_their_order(void **state)
{
    (void)state;
    enum { N = 300 };
    struct world w;
    struct service_view s;
    world_setup(&w, false);
    for (int i = 0; i < N; i++) {
        struct agent_op *op = world_service(&w, "a");
        op->service.port = i;
        world_add_ttl(op, "c", 10);
        world_submit(&w, op);
        if (i % 7 == 3)
            world_submit(&w, world_id_op(&w, AGENT_DEREGISTER_SERVICE, "a"));
    }
    struct agent_op *op = world_check(&w, "A");
    world_add_ttl(op, "d", 10);
    world_submit(&w, op);
    int all = N + (N + 3) / 7 + 1;
    world_until(&w, w.answered >= all && agent_in_sync(w.agent));
    assert_int_equal(world_local(&w, "a")->view.port, N - 1);
    assert_true(world_catalog_service(&w, "a", &s));
    assert_int_equal(s.port, N - 1);
    assert_true(world_catalog_says(&w, "d", "critical"));
    world_teardown(&w);
}

static void many_services_are_registered_at_once(void **state)
{
    (void)state;
    enum { N = 2000 };
    static char ids[N][8];
    struct world w;
    world_setup(&w, false);
    for (int i = 0; i < N; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "s%d", i);
        struct agent_op *op = world_service(&w, ids[i]);
        world_submit(&w, op);
    }
    world_until(&w, w.answered == N && agent_in_sync(w.agent));
    assert_int_equal(world_node(&w)->services.n, N);
    world_teardown(&w);
}

static void a_thousand_beats_wait_for_one_registration(void **state)
{
    (void)state;
    enum { N = 20000 };
    struct world w;
    world_setup(&w, false);
    register_web(&w);
    struct agent_op *op = world_service(&w, "web-1");
    op->service.port = 81;
    world_submit(&w, op);
    for (int i = 0; i < N; i++) {
        op = world_id_op(&w, AGENT_TTL, "beat");
        op->status = bytes_str("critical");
        world_submit(&w, op);
    }
    world_until(&w, w.answered == N + 2);
    world_teardown(&w);
}

/* --- Configuration ------------------------------------------------------- */

static void configuration_replaces_what_the_api_registered(void **state)
{
    (void)state;
    struct world w;
    struct service_view s;
    world_setup(&w, true);
    register_web(&w);
    struct agent_op *op = world_service(&w, "web-1");
    op->service.port = 99;
    world_add_ttl(op, "beat", 500);
    op->from_config = op->replace_checks = true;
    assert_int_equal(world_do(&w, op), 200);
    assert_true(world_local(&w, "web-1")->from_config);
    assert_true(world_catalog_service(&w, "web-1", &s));
    assert_int_equal(s.port, 99);
    /* Registered through the API, not for the configuration to remove. */
    assert_true(world_catalog_says(&w, "probe", "critical"));

    /* Not in agent.db: after a restart it is gone until it is read again. */
    world_restart(&w);
    assert_null(world_local(&w, "web-1"));
    assert_null(world_local_check(&w, "beat"));
    op = world_service(&w, "web-1");
    op->service.port = 99;
    op->from_config = true;
    assert_int_equal(world_do(&w, op), 200);
    assert_int_equal(
        world_do(&w, world_id_op(&w, AGENT_DEREGISTER_SERVICE, "web-1")), 200);
    assert_null(world_local(&w, "web-1"));
    assert_false(world_catalog_service(&w, "web-1", &s));
    world_teardown(&w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_answered_registration_is_here_and_in_the_catalog),
    cmocka_unit_test(registering_again_changes_nothing),
    cmocka_unit_test(registering_again_keeps_states_and_replaces_the_rest),
    cmocka_unit_test(checks_not_mentioned_go_when_that_is_asked_for),
    cmocka_unit_test(addresses_are_tagged_by_their_family),
    cmocka_unit_test(given_tagged_addresses_win),
    cmocka_unit_test(a_check_given_twice_counts_once),
    cmocka_unit_test(what_is_not_there_is_refused_by_name),
    cmocka_unit_test(scripts_run_only_where_that_is_allowed),
    cmocka_unit_test(sizes_have_limits_with_names),
    cmocka_unit_test(a_service_has_a_limit_of_checks),
    cmocka_unit_test(what_agent_db_refuses_is_not_kept),
    cmocka_unit_test(a_full_disk_keeps_nothing_but_what_is_true),
    cmocka_unit_test(a_first_pass_is_stored_soon_after_a_full_disk),
    cmocka_unit_test(a_service_goes_with_its_checks),
    cmocka_unit_test(a_check_goes_alone),
    cmocka_unit_test(a_check_registered_later_finds_its_service),
    cmocka_unit_test(maintenance_is_a_critical_check_with_a_reason),
    cmocka_unit_test(ops_on_one_service_happen_in_their_order),
    cmocka_unit_test(many_services_are_registered_at_once),
    cmocka_unit_test(a_thousand_beats_wait_for_one_registration),
    cmocka_unit_test(configuration_replaces_what_the_api_registered),
};

RUN_TESTS(tests)
