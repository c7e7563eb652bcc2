/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Nodes, services and checks are dumped in catalog_plan_model_test.c; here is what
 * stands beside them. */
#include "catalog_dump.h"

#include "catalog_plans.h"

enum { KINDS = 8 };

static void query(struct world *w, const char *id, const char *name,
                  const char *template)
{
    struct query_view v = {.id = bytes_str(id)};
    struct errtext t = {{0}};
    struct arena arena;
    struct plan p;

    arena_init(&arena, 0);
    v.text[QUERY_NAME] = bytes_str(name);
    v.text[QUERY_SERVICE] = bytes_str("web");
    v.text[QUERY_TEMPLATE] = bytes_str(template);
    plan_init(&p, &arena);
    assert_ok(plan_query(&p, catalog_current(w->catalog), &v, true, &t));
    plan_apply(w, &p);
    arena_fini(&arena);
}

static void node_with_all(struct world *w, struct errtext *t)
{
    const struct service_view web = {.id = bytes_str("w/1"),
                                     .name = bytes_str("web"),
                                     .weight_passing = 1,
                                     .weight_warning = 1};
    const struct check_view checks[] = {
        {.id = bytes_str("C 1"),
         .service_id = bytes_str("w/1"),
         .status = bytes_str("critical"),
         .marks = {.cause = CAUSE_SILENCE}},
        {.id = bytes_str("serfHealth"), .status = bytes_str("passing")}};
    struct registration r = {
        .node = {.name = bytes_str("Node A"),
                 .id = bytes_str("11110000-0000-4000-8000-00000000000A"),
                 .address = bytes_str("10.0.0.1")},
        .service = &web,
        .checks = checks,
        .check_count = 2,
        .wall_ms = 77,
        .guard = GUARD_MODE_SILENCE,
    };
    const struct coordinate_view at = {.node = bytes_str("Node A"),
                                       .at = {.error = 1}};
    struct arena arena;
    struct plan p;

    arena_init(&arena, 0);
    plan_init(&p, &arena);
    assert_ok(plan_register(&p, catalog_current(w->catalog), &r, t));
    plan_apply(w, &p);
    plan_init(&p, &arena);
    assert_ok(plan_coordinate(&p, catalog_current(w->catalog), &at, t));
    plan_apply(w, &p);
    arena_fini(&arena);
}

static void every_kind_of_row_is_dumped_as_it_is_stored(void **state)
{
    struct world *w = world_new();
    size_t of_kind[KINDS] = {0};
    struct errtext t = {{0}};

    (void)state;
    node_with_all(w, &t);
    world_put_guard(w, &(struct guard_view){
                           .name = bytes_str("Web"), .base = 3, .left = 1});
    (void)world_commit(w);
    query(w, "00000000-0000-4000-8000-000000000001", "Near Web", "");
    query(w, "00000000-0000-4000-8000-000000000002", "", "");
    query(w, "00000000-0000-4000-8000-000000000003", "", "name_prefix_match");
    assert_dump_is_stored(w);
    for (size_t i = 0; i < w->n; i++)
        of_kind[w->rows[i]->kind]++;
    for (size_t k = 0; k < KINDS; k++)
        if (of_kind[k] == 0)
            fail_msg("nothing of kind %zu was stored", k);
    world_free(w);
}

static void nothing_is_dumped_of_what_is_deleted(void **state)
{
    struct world *w = world_new();
    struct errtext t = {{0}};

    (void)state;
    node_with_all(w, &t);
    while (w->n) {
        char key[WORLD_KEY_MAX];
        struct bytes k = row_key(w->rows[0]);

        memcpy(key, k.p, k.n);
        w->revision++;
        world_delete(w, bytes_of(key, k.n));
        (void)world_commit(w);
    }
    assert_dump_is_stored(w);
    world_free(w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_kind_of_row_is_dumped_as_it_is_stored),
    cmocka_unit_test(nothing_is_dumped_of_what_is_deleted),
};

RUN_TESTS(tests)
