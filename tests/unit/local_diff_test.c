/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "local_world.h"

/* --- Plans --------------------------------------------------------------- */

static void a_new_service_goes_with_its_checks_in_one_change(void **state)
{
    (void)state;
    struct world w;
    struct check_view k;
    struct service_view v = service_view("web-1");
    setup(&w);
    put_service(&w, &v);
    put_check(&w, "c1", "web-1");
    put_check(&w, "c2", "WEB-1");
    sync_service(&w, "web-1", false);
    assert_true(has_service(&w, "web-1"));
    assert_true(check_there(&w, "c1", &k));
    assert_bytes(k.type, "tcp");
    assert_bytes(k.status, "critical");
    assert_bytes(k.definition, "");
    assert_true(check_there(&w, "c2", &k));
    assert_int_equal(sync_service(&w, "web-1", true), 0);
    teardown(&w);
}

static void a_status_is_written_alone(void **state)
{
    (void)state;
    struct world w;
    struct check_view k;
    struct service_view v = service_view("web-1");
    setup(&w);
    put_service(&w, &v);
    put_check(&w, "c1", "web-1");
    put_check(&w, "c2", "web-1");
    sync_service(&w, "web-1", false);
    set_state(&w, "c2", STATUS_PASSING, "fine");
    assert_int_equal(sync_service(&w, "web-1", false), 1);
    assert_true(check_there(&w, "c2", &k));
    assert_bytes(k.status, "passing");
    assert_bytes(k.output, "fine");
    teardown(&w);
}

static void output_alone_waits_to_be_asked_for(void **state)
{
    (void)state;
    struct world w;
    struct check_view k;
    struct service_view v = service_view("web-1");
    setup(&w);
    put_service(&w, &v);
    put_check(&w, "c1", "web-1");
    put_check(&w, "n", "");
    sync_service(&w, "web-1", false);
    sync_check(&w, "n", false);
    set_state(&w, "c1", STATUS_CRITICAL, "text");
    set_state(&w, "n", STATUS_CRITICAL, "text");
    assert_int_equal(sync_service(&w, "web-1", false), 0);
    assert_int_equal(sync_check(&w, "n", false), 0);
    assert_int_equal(sync_service(&w, "web-1", true), 1);
    assert_int_equal(sync_check(&w, "n", true), 1);
    assert_true(check_there(&w, "n", &k));
    assert_bytes(k.output, "text");
    teardown(&w);
}

static void what_is_gone_here_goes_there(void **state)
{
    (void)state;
    struct world w;
    struct check_view k;
    struct service_view v = service_view("web-1");
    setup(&w);
    put_service(&w, &v);
    put_check(&w, "c1", "web-1");
    put_check(&w, "c2", "web-1");
    put_check(&w, "n", "");
    sync_service(&w, "web-1", false);
    sync_check(&w, "n", false);
    local_drop_config_check(w.l, bytes_str("c1"));
    local_drop_config_check(w.l, bytes_str("n"));
    local_commit(w.l);
    sync_service(&w, "web-1", false);
    sync_check(&w, "n", false);
    assert_false(check_there(&w, "c1", &k));
    assert_false(check_there(&w, "n", &k));
    assert_true(check_there(&w, "c2", &k));
    local_drop_config_check(w.l, bytes_str("c2"));
    local_drop_config_service(w.l, bytes_str("web-1"));
    local_commit(w.l);
    sync_service(&w, "web-1", false);
    assert_false(has_service(&w, "web-1"));
    assert_false(check_there(&w, "c2", &k));
    assert_int_equal(sync_service(&w, "web-1", false), 0);
    assert_int_equal(sync_check(&w, "c1", false), 0);
    teardown(&w);
}

static void what_is_not_ours_to_remove_stays(void **state)
{
    (void)state;
    struct world w;
    struct check_view k = {.id = bytes_str("serfHealth"),
                           .name = bytes_str("x"),
                           .status = bytes_str("passing")};
    struct service_view v = service_view("consul");
    setup(&w);
    register_there(&w, &v, &k);
    assert_int_equal(sync_service(&w, "consul", false), 0);
    assert_int_equal(sync_check(&w, "serfHealth", false), 0);
    assert_differs(&w, "");
    teardown(&w);
}

static void many_checks_take_several_plans(void **state)
{
    (void)state;
    enum { CHECKS = 2 * LOCAL_DIFF_CHECKS_MAX + 1 };
    struct world w;
    struct check_view k;
    struct service_view v = service_view("web-1");
    char id[16];
    bool more = true;
    int plans = 0;
    setup(&w);
    put_service(&w, &v);
    for (int i = 0; i < CHECKS; i++) {
        (void)snprintf(id, sizeof id, "c%d", i);
        put_check(&w, id, "web-1");
    }
    for (; more; plans++) {
        assert_ok(local_diff_service(&w.plan, local_current(w.l),
                                     catalog_current(w.c), &w.me,
                                     bytes_str("web-1"), false, &more, &w.t));
        assert_true(commit(&w) <= PLAN_OPS_MAX);
    }
    assert_int_equal(plans, 3);
    for (int i = 0; i < CHECKS; i++) {
        (void)snprintf(id, sizeof id, "c%d", i);
        assert_true(check_there(&w, id, &k));
    }
    assert_differs(&w, "");
    teardown(&w);
}

static void a_check_may_move_to_another_service(void **state)
{
    (void)state;
    struct world w;
    struct check_view k;
    struct service_view a = service_view("a"), b = service_view("b");
    setup(&w);
    put_service(&w, &a);
    put_service(&w, &b);
    put_check(&w, "c", "a");
    sync_service(&w, "a", false);
    sync_service(&w, "b", false);
    put_check(&w, "c", "b");
    sync_service(&w, "b", false);
    assert_true(check_there(&w, "c", &k));
    assert_bytes(k.service_id, "b");
    assert_int_equal(sync_service(&w, "a", false), 0);
    teardown(&w);
}

/* --- Scans --------------------------------------------------------------- */

static void a_scan_names_every_kind_of_difference(void **state)
{
    (void)state;
    struct world w;
    struct service_view v = service_view("web-1");
    struct service_view other = service_view("stranger");
    struct check_view k = {.id = bytes_str("odd"),
                           .name = bytes_str("odd"),
                           .status = bytes_str("passing")};
    setup(&w);
    assert_differs(&w, "node:Here ");
    put_service(&w, &v);
    put_check(&w, "c1", "web-1");
    put_check(&w, "n", "");
    assert_differs(&w, "node:Here service:web-1 check:n ");
    assert_ok(local_diff_node(&w.plan, catalog_current(w.c), &w.me, &w.t));
    commit(&w);
    sync_service(&w, "web-1", false);
    sync_check(&w, "n", false);
    assert_differs(&w, "");

    set_state(&w, "c1", STATUS_PASSING, "");
    assert_differs(&w, "service:web-1 ");
    set_state(&w, "c1", STATUS_CRITICAL, "output alone");
    assert_differs(&w, "");
    register_there(&w, &other, &k);
    assert_differs(&w, "service:stranger check:odd ");
    v.port = 81;
    put_service(&w, &v);
    assert_differs(&w, "service:web-1 service:stranger check:odd ");
    w.me.node.address = bytes_str("10.0.0.2");
    assert_differs(&w, "node:Here service:web-1 service:stranger check:odd ");
    teardown(&w);
}

static void a_check_too_many_is_found_under_its_service(void **state)
{
    (void)state;
    struct world w;
    struct service_view v = service_view("web-1");
    struct check_view k = {.id = bytes_str("odd"),
                           .name = bytes_str("odd"),
                           .status = bytes_str("passing"),
                           .service_id = bytes_str("web-1")};
    setup(&w);
    put_service(&w, &v);
    register_there(&w, &v, &k);
    assert_differs(&w, "service:web-1 ");
    sync_service(&w, "web-1", false);
    assert_differs(&w, "");
    teardown(&w);
}

static void the_catalogs_tags_count_where_that_was_asked_for(void **state)
{
    (void)state;
    struct world w;
    struct buf tags = {0};
    struct service_view v = service_view("web-1"), there;
    setup(&w);
    packed_put(&tags, bytes_str("ext"));
    there = v;
    there.tags = (struct packed){buf_bytes(&tags), 1};
    there.enable_tag_override = v.enable_tag_override = true;
    put_service(&w, &v);
    register_there(&w, &there, NULL);
    assert_differs(&w, "tags:web-1 ");
    v.enable_tag_override = false;
    put_service(&w, &v);
    assert_differs(&w, "service:web-1 ");
    buf_fini(&tags);
    teardown(&w);
}

static void a_scan_goes_in_steps_and_sees_everything_once(void **state)
{
    (void)state;
    enum { N = 50 };
    struct world w;
    char id[16];
    setup(&w);
    assert_ok(local_diff_node(&w.plan, catalog_current(w.c), &w.me, &w.t));
    commit(&w);
    struct buf want = {0};
    for (int i = 0; i < N; i++) {
        (void)snprintf(id, sizeof id, "S%02d", i);
        struct service_view v = service_view(id);
        put_service(&w, &v);
        buf_printf(&want, "service:%s ", id);
    }
    for (int i = 0; i < N; i++) {
        (void)snprintf(id, sizeof id, "C%02d", i);
        put_check(&w, id, "");
        buf_printf(&want, "check:%s ", id);
    }
    for (size_t step = 1; step < 12; step++) {
        size_t steps = 1;
        buf_reset(&w.found);
        while (!scan_step(&w, step))
            steps++;
        assert_int_equal(w.found.n, want.n);
        assert_memory_equal(w.found.p, want.p, want.n);
        assert_in_range(steps, 2 * N / step, 2 * N / step + 2);
    }
    buf_fini(&want);
    teardown(&w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_new_service_goes_with_its_checks_in_one_change),
    cmocka_unit_test(a_status_is_written_alone),
    cmocka_unit_test(output_alone_waits_to_be_asked_for),
    cmocka_unit_test(what_is_gone_here_goes_there),
    cmocka_unit_test(what_is_not_ours_to_remove_stays),
    cmocka_unit_test(many_checks_take_several_plans),
    cmocka_unit_test(a_check_may_move_to_another_service),
    cmocka_unit_test(a_scan_names_every_kind_of_difference),
    cmocka_unit_test(a_check_too_many_is_found_under_its_service),
    cmocka_unit_test(the_catalogs_tags_count_where_that_was_asked_for),
    cmocka_unit_test(a_scan_goes_in_steps_and_sees_everything_once),
};

RUN_TESTS(tests)
