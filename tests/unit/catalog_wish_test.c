/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What is wished by one and planned by another is what the one would have
 * planned. */
#include "catalog/wish.h"

#include "catalog_plans.h"

static int set_up(void **state)
{
    struct world *w = world_new();
    *state = w;
    world_put_node(w, &(struct node_view){.name = bytes_str("n"),
                                          .address = bytes_str("10.0.0.1")});
    world_put_service(w, "n",
                      &(struct service_view){.id = bytes_str("w1"),
                                             .name = bytes_str("web"),
                                             .weight_passing = 1,
                                             .weight_warning = 1});
    world_put_check(w, "n",
                    &(struct check_view){.id = bytes_str("c1"),
                                         .service_id = bytes_str("w1"),
                                         .status = bytes_str("passing")});
    (void)world_commit(w);
    return 0;
}

static int tear_down(void **state)
{
    world_free(*state);
    return 0;
}

static const struct snapshot *now(const struct world *w)
{
    return catalog_current(w->catalog);
}

static const struct check_view silent = {
    .id = {"c1", 2},
    .service_id = {"w1", 2},
    .status = {"critical", 8},
    .output = {"nobody was heard", 16},
    .marks = {.cause = CAUSE_SILENCE},
};

static struct registration registration(void)
{
    return (struct registration){
        .node = {.name = bytes_str("n"), .address = bytes_str("10.0.0.1")},
        .checks = &silent,
        .check_count = 1,
        .wall_ms = 77,
        .guard = GUARD_MODE_SILENCE,
    };
}

static void same_plans(const struct plan *a, const struct plan *b)
{
    assert_int_equal(a->op_count, b->op_count);
    assert_int_equal(a->guard_count, b->guard_count);
    for (size_t i = 0; i < a->op_count; i++) {
        assert_true(bytes_eq(a->ops[i].key, b->ops[i].key));
        assert_true(bytes_eq(a->ops[i].value, b->ops[i].value));
        assert_int_equal(a->ops[i].kind, b->ops[i].kind);
    }
    for (size_t i = 0; i < a->guard_count; i++)
        assert_true(bytes_eq(a->guards[i].key, b->guards[i].key) &&
                    a->guards[i].kind == b->guards[i].kind &&
                    a->guards[i].rev == b->guards[i].rev);
}

enum what { REGISTER, REGISTER_NEW, DEREGISTER, DEREGISTER_CHECK, REAP, WHATS };

static void plan_it(struct plan *p, const struct snapshot *s, enum what what)
{
    const struct service_view service = {.id = bytes_str("w2"),
                                         .name = bytes_str("web"),
                                         .port = 80,
                                         .weight_passing = 1,
                                         .weight_warning = 1};
    const struct guard_who who = {bytes_str("n"), bytes_str("w1")};
    struct registration r = registration();
    struct errtext t;
    bool wait;

    switch (what) {
    case REGISTER_NEW:
        r.service = &service;
        r.replace_checks = true;
        r.skip_node_update = true;
        r.check_count = 0;
        assert_ok(plan_register(p, s, &r, &t));
        break;
    case REGISTER:
        assert_ok(plan_register(p, s, &r, &t));
        break;
    case DEREGISTER:
        assert_ok(plan_deregister(p, s, bytes_str("N"), bytes_str("w1"),
                                  (struct bytes){0}, &t));
        break;
    case DEREGISTER_CHECK:
        assert_ok(plan_deregister(p, s, bytes_str("n"), (struct bytes){0},
                                  bytes_str("c1"), &t));
        break;
    case REAP:
        assert_ok(plan_reap(p, s, &who, GUARD_MODE_SILENCE, &wait, &t));
        assert_false(wait);
        break;
    case WHATS:
        break;
    }
}

static void a_wish_becomes_the_plan_of_who_wished(void **state)
{
    struct world *w = *state;
    for (enum what what = REGISTER; what < WHATS; what++) {
        struct arena a;
        struct plan direct, wishes, made;
        struct errtext t = {{0}};
        bool wait;
        arena_init(&a, 0);
        plan_init(&direct, &a);
        plan_it(&direct, now(w), what);
        wishes_begin(&wishes, &a);
        plan_it(&wishes, now(w), what);
        assert_int_equal(wishes.op_count, 1);
        assert_int_equal(wishes.guard_count, 0);
        plan_init(&made, &a);
        if (wish_plan(&made, now(w), wishes.ops[0].value, bytes_str("n"), &wait,
                      &t) != ERR_OK)
            fail_msg("%s", t.s);
        same_plans(&made, &direct);
        arena_fini(&a);
    }
}

static void what_is_so_already_is_no_wish(void **state)
{
    struct world *w = *state;
    struct arena a;
    struct plan p;
    struct errtext t;
    struct registration r = registration();
    arena_init(&a, 0);
    wishes_begin(&p, &a);
    r.check_count = 0;
    assert_ok(plan_register(&p, now(w), &r, &t));
    assert_ok(plan_deregister(&p, now(w), bytes_str("n"), bytes_str("none"),
                              (struct bytes){0}, &t));
    assert_int_equal(p.op_count, 0);
    arena_fini(&a);
}

static void any_part_of_a_wish_is_refused_in_words(void **state)
{
    struct world *w = *state;
    for (enum what what = REGISTER; what < WHATS; what++) {
        struct arena a;
        struct plan p, made;
        bool wait;
        arena_init(&a, 0);
        wishes_begin(&p, &a);
        plan_it(&p, now(w), what);
        struct bytes all = p.ops[0].value;
        for (size_t n = 0; n < all.n; n++) {
            struct errtext t = {{0}};
            plan_init(&made, &a);
            assert_int_equal(wish_plan(&made, now(w), bytes_head(all, n),
                                       bytes_str("n"), &wait, &t),
                             ERR_BAD);
            assert_true(t.s[0] != 0);
            assert_int_equal(made.op_count, 0);
        }
        arena_fini(&a);
    }
}

static void a_wish_about_another_node_is_refused(void **state)
{
    struct world *w = *state;
    struct arena a;
    struct plan p, made;
    struct errtext t = {{0}};
    bool wait;
    arena_init(&a, 0);
    wishes_begin(&p, &a);
    plan_it(&p, now(w), DEREGISTER);
    plan_init(&made, &a);
    assert_int_equal(
        wish_plan(&made, now(w), p.ops[0].value, bytes_str("m"), &wait, &t),
        ERR_BAD);
    assert_string_equal(t.s, "a wish about node \"N\", sent for node \"m\"");
    arena_fini(&a);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(a_wish_becomes_the_plan_of_who_wished,
                                    set_up, tear_down),
    cmocka_unit_test_setup_teardown(what_is_so_already_is_no_wish, set_up,
                                    tear_down),
    cmocka_unit_test_setup_teardown(any_part_of_a_wish_is_refused_in_words,
                                    set_up, tear_down),
    cmocka_unit_test_setup_teardown(a_wish_about_another_node_is_refused,
                                    set_up, tear_down),
};

RUN_TESTS(tests)
