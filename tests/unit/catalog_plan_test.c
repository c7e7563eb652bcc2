/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "catalog_plans.h"

#define UUID_1 "00000000-0000-4000-8000-000000000001"
#define UUID_2 "00000000-0000-4000-8000-000000000002"

struct desk {
    struct world *w;
    struct arena arena;
    struct plan p;
    struct errtext t;
};

static int set_up(void **state)
{
    struct desk *d = xzalloc(sizeof *d);

    d->w = world_new();
    arena_init(&d->arena, 0);
    plan_init(&d->p, &d->arena);
    *state = d;
    return 0;
}

static int tear_down(void **state)
{
    struct desk *d = *state;

    world_free(d->w);
    arena_fini(&d->arena);
    free(d);
    return 0;
}

static const struct snapshot *now(const struct desk *d)
{
    return catalog_current(d->w->catalog);
}

/* --- Short forms --------------------------------------------------------- */

static struct registration wish(const char *node, const char *id)
{
    return (struct registration){.node = {.name = bytes_str(node),
                                          .id = bytes_str(id),
                                          .address = bytes_str("10.0.0.1")}};
}

static struct service_view service(const char *id)
{
    return (struct service_view){.id = bytes_str(id), .name = bytes_str(id)};
}

static struct check_view check(const char *id, const char *of)
{
    return (struct check_view){.id = bytes_str(id),
                               .name = bytes_str(id),
                               .service_id = bytes_str(of),
                               .status = bytes_str("passing")};
}

static void commit(struct desk *d)
{
    assert_true(plan_holds(d->w, &d->p));
    plan_apply(d->w, &d->p);
    assert_null(unsound(d->w));
    plan_init(&d->p, &d->arena);
}

static void registered(struct desk *d, const struct registration *r)
{
    if (plan_register(&d->p, now(d), r, &d->t) != ERR_OK)
        fail_msg("%s", d->t.s);
    commit(d);
}

static void refused(struct desk *d, const struct registration *r, enum err e,
                    const char *text)
{
    assert_int_equal(plan_register(&d->p, now(d), r, &d->t), e);
    assert_string_equal(d->t.s, text);
    assert_int_equal(d->p.op_count + d->p.guard_count, 0);
}

/* n1 with ID UUID_1, services web (checks w1, w2) and db (check d1), check
 * host. */
static void usual(struct desk *d)
{
    struct registration r = wish("n1", UUID_1);
    struct service_view web = service("web"), db = service("db");
    struct check_view of_web[] = {check("w1", "web"), check("w2", "web")};
    struct check_view others[] = {check("d1", "db"), check("host", "")};

    r.service = &web;
    r.checks = of_web;
    r.check_count = 2;
    registered(d, &r);
    r.service = &db;
    r.checks = others;
    registered(d, &r);
}

static bool has_op(const struct desk *d, enum store_op_kind kind,
                   const char *key)
{
    for (size_t i = 0; i < d->p.op_count; i++)
        if (d->p.ops[i].kind == kind && bytes_is(d->p.ops[i].key, key))
            return true;
    return false;
}

static bool has_guard(const struct desk *d, enum store_guard_kind kind,
                      const char *key, uint64_t rev)
{
    for (size_t i = 0; i < d->p.guard_count; i++)
        if (d->p.guards[i].kind == kind && d->p.guards[i].rev == rev &&
            bytes_is(d->p.guards[i].key, key))
            return true;
    return false;
}

/* --- Refusals ------------------------------------------------------------ */

static void refusals_have_consuls_texts(void **state)
{
    struct desk *d = *state;
    struct registration r = wish("", "");
    struct check_view c = check("c", "web");

    refused(d, &r, ERR_BAD, "Must provide node");
    r = wish("n1", "");
    r.node.address.n = 0;
    refused(d, &r, ERR_BAD,
            "Must provide address if SkipNodeUpdate is not set");
    r = wish("n1", "");
    r.checks = &c;
    r.check_count = 1;
    refused(d, &r, ERR_BAD,
            "failed inserting check: Missing service registration on node "
            "\"n1\"");
    c = (struct check_view){.status = bytes_str("passing")};
    refused(d, &r, ERR_BAD,
            "failed inserting check: Must provide CheckID or Name");
    struct service_view nameless = {.id = bytes_str("x")};
    r = wish("n1", "");
    r.service = &nameless;
    refused(d, &r, ERR_BAD, "Must provide service name with ID");
    const struct status_wish nobodys = {.node = bytes_str("n1"),
                                        .check_id = bytes_str("c"),
                                        .status = bytes_str("passing")};
    assert_int_equal(plan_check_status(&d->p, now(d), &nobodys, &d->t),
                     ERR_NOT_FOUND);
    assert_string_equal(d->t.s, "no check \"c\" is registered on node \"n1\"");
}

static void a_name_held_by_a_living_agent_is_not_taken(void **state)
{
    struct desk *d = *state;
    struct registration r = wish("n1", UUID_1), other = wish("N1", UUID_2);
    struct check_view serf = check("serfHealth", "");

    r.checks = &serf;
    r.check_count = 1;
    registered(d, &r);
    assert_int_equal(plan_register(&d->p, now(d), &other, &d->t), ERR_CONFLICT);
    assert_non_null(strstr(d->t.s, "failed inserting node: Error while "
                                   "renaming Node ID: \"" UUID_2 "\": "
                                   "Node name N1 is reserved by node"));
    serf.status = bytes_str("critical"); /* dead: its name is free */
    registered(d, &r);
    registered(d, &other);
    assert_null(snapshot_node_by_id(now(d), bytes_str(UUID_1)));
    assert_non_null(snapshot_node_by_id(now(d), bytes_str(UUID_2)));
    struct registration nameless = wish("n1", "");
    registered(d, &nameless); /* without ID: no claim, and none left */
    assert_null(snapshot_node_by_id(now(d), bytes_str(UUID_2)));
}

static void
a_registration_too_large_for_one_change_is_refused_whole(void **state)
{
    struct desk *d = *state;
    struct registration r = wish("n", "");
    struct check_view *many =
        xzalloc((PLAN_OPS_MAX + 1) * sizeof(struct check_view));
    char(*names)[16] = xzalloc((PLAN_OPS_MAX + 1) * sizeof *names);

    for (int i = 0; i <= PLAN_OPS_MAX; i++) {
        (void)snprintf(names[i], sizeof names[i], "c%d", i);
        many[i] = check(names[i], "");
    }
    r.checks = many;
    r.check_count = PLAN_OPS_MAX;
    assert_int_equal(plan_register(&d->p, now(d), &r, &d->t), ERR_LIMIT);
    assert_non_null(strstr(d->t.s, "512"));
    assert_int_equal(d->p.op_count + d->p.guard_count, 0);
    r.check_count = PLAN_OPS_MAX - 1;
    registered(d, &r);
    free(many);
    free(names);
}

static void lack_of_memory_leaves_the_plan_as_it_was(void **state)
{
    struct desk *d = *state;
    size_t failures = 0;

    usual(d);
    struct registration r = wish("n2", UUID_2);
    struct service_view s = service("s");
    struct check_view c[] = {check("a", "s"), check("b", "s")};
    r.service = &s;
    r.checks = c;
    r.check_count = 2;
    for (size_t max = 1; max < 4096; max += 16) {
        struct arena small;
        struct plan p;
        arena_init(&small, max);
        plan_init(&p, &small);
        enum err e = plan_register(&p, now(d), &r, &d->t);
        if (e != ERR_OK) {
            failures++;
            assert_int_equal(e, ERR_NOMEM);
            assert_int_equal(p.op_count + p.guard_count, 0);
        } else {
            assert_int_equal(p.op_count, 5);
        }
        arena_fini(&small);
    }
    assert_true(failures > 5);
}

/* --- Guards -------------------------------------------------------------- */

static void a_new_node_guards_that_name_and_id_are_free(void **state)
{
    struct desk *d = *state;
    struct registration r = wish("N1", UUID_1);
    struct service_view s = service("Web");
    struct check_view c = check("C", "web");

    r.service = &s;
    r.checks = &c;
    r.check_count = 1;
    assert_ok(plan_register(&d->p, now(d), &r, &d->t));
    assert_int_equal(d->p.guard_count, 4);
    assert_true(has_guard(d, GUARD_MOD, "n/n1", 0));
    assert_true(has_guard(d, GUARD_ABSENT, "i/" UUID_1, 0));
    assert_true(has_guard(d, GUARD_MOD, "s/n1/web", 0));
    assert_true(has_guard(d, GUARD_MOD, "c/n1/c", 0));
    assert_int_equal(d->p.op_count, 4);
    commit(d);
    assert_ok(plan_register(&d->p, now(d), &r, &d->t));
    assert_int_equal(d->p.op_count + d->p.guard_count, 0);
}

static void what_is_added_guards_its_parent(void **state)
{
    struct desk *d = *state;
    struct registration r = wish("n1", "");
    struct service_view s = service("new");
    struct check_view c = check("new", "db");

    usual(d);
    r.skip_node_update = true;
    r.service = &s;
    assert_ok(plan_register(&d->p, now(d), &r, &d->t));
    assert_int_equal(d->p.guard_count, 2);
    assert_true(has_guard(d, GUARD_CREATE, "n/n1", 2));
    assert_true(has_guard(d, GUARD_MOD, "s/n1/new", 0));

    plan_init(&d->p, &d->arena);
    r.service = NULL;
    r.checks = &c;
    r.check_count = 1;
    assert_ok(plan_register(&d->p, now(d), &r, &d->t));
    assert_true(has_guard(d, GUARD_CREATE, "s/n1/db", 3));
    assert_true(has_guard(d, GUARD_MOD, "c/n1/new", 0));
}

static void a_moved_check_makes_stale_deregistrations_fail(void **state)
{
    struct desk *d = *state;
    struct registration r = wish("n1", UUID_1);
    struct check_view moved = check("w1", "db");
    struct plan web, db;

    usual(d);
    plan_init(&web, &d->arena);
    plan_init(&db, &d->arena);
    assert_ok(plan_deregister(&web, now(d), bytes_str("n1"), bytes_str("web"),
                              (struct bytes){0}, &d->t));
    assert_ok(plan_deregister(&db, now(d), bytes_str("n1"), bytes_str("db"),
                              (struct bytes){0}, &d->t));
    r.checks = &moved;
    r.check_count = 1;
    registered(d, &r);
    assert_false(plan_holds(d->w, &web)); /* it would take w1 along */
    assert_false(plan_holds(d->w, &db));  /* it would leave w1 alone */
    plan_init(&db, &d->arena);
    assert_ok(plan_deregister(&db, now(d), bytes_str("n1"), bytes_str("db"),
                              (struct bytes){0}, &d->t));
    plan_apply(d->w, &db);
    assert_null(unsound(d->w));
}

static void replacing_checks_drops_the_others_and_guards_the_set(void **state)
{
    struct desk *d = *state;
    struct registration r = wish("n1", UUID_1);
    struct service_view web = service("web");
    struct check_view keep = check("W1", "web");

    usual(d);
    keep.name = bytes_str("w1");
    r.service = &web;
    r.checks = &keep;
    r.check_count = 1;
    r.replace_checks = true;
    assert_ok(plan_register(&d->p, now(d), &r, &d->t));
    assert_true(has_op(d, OP_DELETE, "c/n1/w2"));
    assert_false(has_op(d, OP_DELETE, "c/n1/w1"));
    assert_true(has_guard(d, GUARD_QUIET, "c/n1/", snapshot_revision(now(d))));
    commit(d);
    const struct cat_node *n = snapshot_node(now(d), bytes_str("n1"));
    assert_int_equal(cat_node_service(n, bytes_str("web"))->check_count, 1);
    assert_int_equal(n->own->n, 1);
    assert_int_equal(cat_node_service(n, bytes_str("DB"))->check_count, 1);
}

/* --- Nodes --------------------------------------------------------------- */

static void another_case_of_the_name_keeps_what_is_under_it(void **state)
{
    struct desk *d = *state;
    struct registration r = wish("N1", UUID_1);
    struct node_view v;

    usual(d);
    assert_ok(plan_register(&d->p, now(d), &r, &d->t));
    assert_int_equal(d->p.op_count, 1);
    commit(d);
    cat_node_view(snapshot_node(now(d), bytes_str("n1"))->record, &v);
    assert_bytes(v.name, "N1");
    assert_int_equal(snapshot_instance_count(now(d)), 2);
}

static void an_id_under_a_new_name_takes_the_old_name_away(void **state)
{
    struct desk *d = *state;
    struct registration r = wish("n2", UUID_1);

    usual(d);
    assert_ok(plan_register(&d->p, now(d), &r, &d->t));
    assert_true(has_op(d, OP_DELETE, "n/n1"));
    assert_true(has_op(d, OP_DELETE_PREFIX, "s/n1/"));
    assert_true(has_op(d, OP_DELETE_PREFIX, "c/n1/"));
    assert_true(has_op(d, OP_PUT, "i/" UUID_1));
    commit(d);
    assert_null(snapshot_node(now(d), bytes_str("n1")));
    assert_int_equal(snapshot_instance_count(now(d)), 0);
    assert_int_equal(snapshot_check_count(now(d)), 0);
    assert_ptr_equal(snapshot_node(now(d), bytes_str("n2")),
                     snapshot_node_by_id(now(d), bytes_str(UUID_1)));
}

static void a_node_goes_with_everything(void **state)
{
    struct desk *d = *state;

    usual(d);
    assert_ok(plan_deregister(&d->p, now(d), bytes_str("N1"), (struct bytes){0},
                              (struct bytes){0}, &d->t));
    commit(d);
    assert_int_equal(d->w->n, 0);
    assert_ok(plan_deregister(&d->p, now(d), bytes_str("n1"), (struct bytes){0},
                              (struct bytes){0}, &d->t));
    assert_int_equal(d->p.op_count + d->p.guard_count, 0);
}

static void what_is_not_there_is_deregistered_already(void **state)
{
    struct desk *d = *state;

    usual(d);
    assert_ok(plan_deregister(&d->p, now(d), bytes_str("n1"), bytes_str("x"),
                              bytes_str("w1"), &d->t)); /* the service wins */
    assert_ok(plan_deregister(&d->p, now(d), bytes_str("n1"), (struct bytes){0},
                              bytes_str("x"), &d->t));
    assert_int_equal(d->p.op_count + d->p.guard_count, 0);
    assert_ok(plan_deregister(&d->p, now(d), bytes_str("n1"), (struct bytes){0},
                              bytes_str("W1"), &d->t));
    assert_int_equal(d->p.op_count, 1);
    assert_true(has_op(d, OP_DELETE, "c/n1/w1"));
}

/* --- Several calls on one plan ------------------------------------------- */

static void several_calls_make_one_plan(void **state)
{
    struct desk *d = *state;
    struct registration r = wish("n", ""), bad = wish("n", "");
    struct service_view a = service("a"), b = service("b");
    struct check_view orphan = check("x", "nowhere");

    r.service = &a;
    assert_ok(plan_register(&d->p, now(d), &r, &d->t));
    r.service = &b;
    assert_ok(plan_register(&d->p, now(d), &r, &d->t));
    assert_int_equal(d->p.op_count, 3); /* the node once */
    assert_int_equal(d->p.guard_count, 3);
    bad.checks = &orphan;
    bad.check_count = 1;
    assert_int_equal(plan_register(&d->p, now(d), &bad, &d->t), ERR_BAD);
    assert_int_equal(d->p.op_count, 3);
    assert_int_equal(d->p.guard_count, 3);
    commit(d);
    assert_int_equal(snapshot_instance_count(now(d)), 2);
}

static void of_two_checks_with_one_id_the_last_counts(void **state)
{
    struct desk *d = *state;
    struct registration r = wish("n1", UUID_1);
    struct check_view twice[] = {check("w1", "web"), check("W1", "web")};
    struct check_view v;

    usual(d);
    twice[0].status = bytes_str("warning");
    twice[1].name = bytes_str("W1");
    r.checks = twice;
    r.check_count = 2;
    registered(d, &r);
    cat_check_view(
        cat_node_check(snapshot_node(now(d), bytes_str("n1")), bytes_str("w1")),
        &v);
    assert_bytes(v.status, "passing");
    assert_bytes(v.id, "W1");
}

static void a_status_is_written_once(void **state)
{
    struct desk *d = *state;
    const struct status_wish refused_port = {
        .node = bytes_str("n1"),
        .check_id = bytes_str("w1"),
        .status = bytes_str("critical"),
        .output = bytes_str("refused"),
    };

    usual(d);
    assert_ok(plan_check_status(&d->p, now(d), &refused_port, &d->t));
    assert_int_equal(d->p.op_count, 1);
    assert_true(has_guard(d, GUARD_MOD, "c/n1/w1", 2));
    commit(d);
    assert_ok(plan_check_status(&d->p, now(d), &refused_port, &d->t));
    assert_int_equal(d->p.op_count + d->p.guard_count, 0);
}

static const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    T(refusals_have_consuls_texts),
    T(a_name_held_by_a_living_agent_is_not_taken),
    T(a_registration_too_large_for_one_change_is_refused_whole),
    T(lack_of_memory_leaves_the_plan_as_it_was),
    T(a_new_node_guards_that_name_and_id_are_free),
    T(what_is_added_guards_its_parent),
    T(a_moved_check_makes_stale_deregistrations_fail),
    T(replacing_checks_drops_the_others_and_guards_the_set),
    T(another_case_of_the_name_keeps_what_is_under_it),
    T(an_id_under_a_new_name_takes_the_old_name_away),
    T(a_node_goes_with_everything),
    T(what_is_not_there_is_deregistered_already),
    T(several_calls_make_one_plan),
    T(of_two_checks_with_one_id_the_last_counts),
    T(a_status_is_written_once),
#undef T
};

RUN_TESTS(tests)
