/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include <malloc.h>
#include <stdio.h>

#include "catalog/member.h"
#include "catalog_world.h"

#define UUID_1 "11110000-0000-4000-8000-000000000001"
#define UUID_2 "11110000-0000-4000-8000-000000000002"

static int set_up(void **state)
{
    *state = world_new();
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

static uint64_t index_of(const struct world *w, enum watch_kind kind,
                         const char *name)
{
    return snapshot_index(now(w), (struct watch_key){kind, bytes_str(name)});
}

static bool reported(const struct world *w, enum watch_kind kind,
                     const char *name)
{
    const struct watch_set *set = catalog_changes(w->catalog);
    uint64_t h = watch_hash((struct watch_key){kind, bytes_str(name)});

    for (size_t i = 0; i < set->n; i++)
        if (set->v[i] == h)
            return true;
    return false;
}

/* --- Rows, each in the revision at hand ---------------------------------- */

static void node(struct world *w, const char *name, const char *uuid)
{
    world_put_node(w, &(struct node_view){.name = bytes_str(name),
                                          .id = bytes_str(uuid),
                                          .address = bytes_str("10.0.0.1")});
}

static void service(struct world *w, const char *on, const char *id,
                    const char *name)
{
    world_put_service(w, on,
                      &(struct service_view){.id = bytes_str(id),
                                             .name = bytes_str(name),
                                             .weight_passing = 1,
                                             .weight_warning = 1});
}

static void check(struct world *w, const char *on, const char *id,
                  const char *of, const char *status, const char *output)
{
    world_put_check(w, on,
                    &(struct check_view){.id = bytes_str(id),
                                         .name = bytes_str(id),
                                         .service_id = bytes_str(of),
                                         .status = bytes_str(status),
                                         .output = bytes_str(output)});
}

static void commit(struct world *w)
{
    (void)world_commit(w);
    w->revision++;
}

static void del(struct world *w, const char *key)
{
    world_delete(w, bytes_str(key));
}

/* --- Since when ---------------------------------------------------------- */

static uint64_t ready_ms(const struct world *w, const char *on, const char *id)
{
    const struct cat_node *n = snapshot_node(now(w), bytes_str(on));

    return member_ready_ms(n, cat_node_service(n, bytes_str(id)));
}

static void an_instance_knows_since_when_it_is_in(void **state)
{
    struct world *w = *state;

    node(w, "n", "");
    catalog_context(w->catalog, 1000999, false);
    service(w, "n", "1", "web");
    check(w, "n", "c", "1", "passing", "");
    commit(w);
    assert_int_equal(ready_ms(w, "n", "1"), 1000000);
    catalog_context(w->catalog, 2000000, false);
    service(w, "n", "1", "web"); /* the same instance, changed */
    check(w, "n", "c", "1", "passing", "text");
    check(w, "n", "m", "1", "critical", "");
    check(w, "n", "own", "", "critical", "");
    commit(w);
    assert_int_equal(ready_ms(w, "n", "1"), 1000000);
    catalog_context(w->catalog, 3000000, false);
    del(w, "c/n/c"); /* that one passed */
    commit(w);
    assert_int_equal(ready_ms(w, "n", "1"), 1000000);
    catalog_context(w->catalog, 4000000, false);
    del(w, "c/n/m");
    commit(w);
    assert_int_equal(ready_ms(w, "n", "1"), 4000000);
    catalog_context(w->catalog, 5000000, false);
    del(w, "c/n/own");
    commit(w);
    assert_int_equal(ready_ms(w, "n", "1"), 5000000);
    catalog_context(w->catalog, 6000000, false);
    service(w, "n", "1", "other");
    commit(w);
    assert_int_equal(ready_ms(w, "n", "1"), 6000000);
    world_put_check(w, "n",
                    &(struct check_view){.id = bytes_str("c"),
                                         .service_id = bytes_str("1"),
                                         .status = bytes_str("passing"),
                                         .marks = {.since_ms = 7000001}});
    commit(w);
    assert_int_equal(ready_ms(w, "n", "1"), 7000001);
}

/* --- Bad rows ------------------------------------------------------------ */

static void what_is_no_key_of_the_catalog_is_refused_by_name(void **state)
{
    struct world *w = *state;
    struct errtext t = {{0}};

    assert_int_equal(
        catalog_put(w->catalog, bytes_str("kv/x"), bytes_str("v"), 1, 1, &t),
        ERR_BAD);
    assert_non_null(strstr(t.s, "kv/x"));
    catalog_delete(w->catalog, bytes_str("kv/x"), 1);
    catalog_delete(w->catalog, bytes_str("s/n/none"), 1);
    catalog_delete(w->catalog, bytes_str("c/n/none"), 1);
    catalog_delete(w->catalog, bytes_str("n/none"), 1);
    catalog_commit(w->catalog, 1);
    assert_int_equal(catalog_changes(w->catalog)->n, 0);
}

static void
a_damaged_value_is_left_out_and_replaces_what_was_there(void **state)
{
    struct world *w = *state;
    struct errtext t = {{0}};

    node(w, "n", "");
    service(w, "n", "web", "web");
    check(w, "n", "c", "web", "passing", "");
    commit(w);
    assert_int_equal(catalog_put(w->catalog, bytes_str("s/n/web"),
                                 bytes_str("\x21junk"), 2, 2, &t),
                     ERR_CORRUPT);
    assert_non_null(strstr(t.s, "s/n/web"));
    assert_int_equal(
        catalog_put(w->catalog, bytes_str("n/m"), bytes_str(""), 2, 2, NULL),
        ERR_CORRUPT);
    catalog_commit(w->catalog, 2);
    assert_null(snapshot_name(now(w), bytes_str("web")));
    assert_null(snapshot_node(now(w), bytes_str("m")));
    assert_int_equal(snapshot_check_count(now(w)), 1);
}

static void a_value_under_a_key_of_another_name_is_damaged(void **state)
{
    struct world *w = *state;
    struct buf value = {0};

    record_put_node(&value, &(struct node_view){.name = bytes_str("a")});
    assert_int_equal(catalog_put(w->catalog, bytes_str("n/b"),
                                 buf_bytes(&value), 1, 1, NULL),
                     ERR_CORRUPT);
    assert_int_equal(catalog_put(w->catalog, bytes_str("s/a/a"),
                                 buf_bytes(&value), 1, 1, NULL),
                     ERR_CORRUPT);
    assert_ok(catalog_put(w->catalog, bytes_str("n/a"), buf_bytes(&value), 1, 1,
                          NULL));
    assert_ok(
        catalog_put(w->catalog, bytes_str("i/00"), bytes_str("a"), 1, 1, NULL));
    catalog_delete(w->catalog, bytes_str("i/00"), 1);
    catalog_commit(w->catalog, 1);
    assert_int_equal(snapshot_node_count(now(w)), 1);
    buf_fini(&value);
}

/* --- Versions ------------------------------------------------------------ */

static void a_version_without_puts_changes_only_the_revision(void **state)
{
    struct world *w = *state;

    assert_int_equal(snapshot_revision(now(w)), 0);
    node(w, "n", "");
    commit(w);
    assert_true(catalog_changes(w->catalog)->n > 0);
    const struct snapshot *before = now(w);
    assert_ptr_equal(before, now(w));
    catalog_commit(w->catalog, 10);
    assert_int_equal(catalog_changes(w->catalog)->n, 0);
    assert_false(catalog_changes(w->catalog)->all);
    assert_int_equal(snapshot_revision(now(w)), 10);
    assert_int_equal(index_of(w, WATCH_NODES, ""), 1);
}

static void the_old_version_is_shown_until_a_load_ends(void **state)
{
    struct world *w = *state;
    uint64_t seed = 5;

    node(w, "old", "");
    service(w, "old", "web", "web");
    commit(w);
    catalog_load_begin(w->catalog);
    /* Somebody else publishes in the same domain: nothing shown may go. */
    pin_publish(&w->pins);
    assert_non_null(snapshot_node(now(w), bytes_str("old")));
    assert_non_null(snapshot_name(now(w), bytes_str("web")));
    del(w, "n/old");
    world_load(w, w->catalog, &seed);
    assert_null(snapshot_node(now(w), bytes_str("old")));
    assert_null(snapshot_name(now(w), bytes_str("web")));
    assert_true(catalog_changes(w->catalog)->all);
    assert_int_equal(snapshot_floor(now(w)), w->revision);
    node(w, "old", "");
    commit(w);
    assert_non_null(snapshot_name(now(w), bytes_str("web")));
}

static void a_load_knows_nothing_of_when_somebody_was_let_in(void **state)
{
    struct world *w = *state;
    uint64_t seed = 5;

    (void)mallopt(M_PERTURB, 0x5a); /* memory that was used before */
    node(w, "n", UUID_1);
    service(w, "n", "web", "web");
    check(w, "n", "c", "web", "passing", "");
    commit(w);
    world_load(w, w->catalog, &seed);
    (void)mallopt(M_PERTURB, 0);
    const struct cat_node *n = snapshot_node(now(w), bytes_str("n"));
    assert_int_equal(cat_node_service(n, bytes_str("web"))->let_in_s, 0);
    assert_int_equal(n->let_in_s, 0);
}

static void rows_are_deleted_and_replaced_during_a_load_too(void **state)
{
    struct world *w = *state;

    catalog_load_begin(w->catalog);
    node(w, "n", UUID_1);
    service(w, "n", "web", "old");
    service(w, "n", "web", "web");
    check(w, "n", "c", "web", "passing", "");
    check(w, "n", "c", "web", "critical", "");
    service(w, "n", "gone", "gone");
    check(w, "n", "gone", "", "passing", "");
    node(w, "gone", UUID_2);
    node(w, "n", UUID_1);
    del(w, "s/n/gone");
    del(w, "c/n/gone");
    del(w, "n/gone");
    catalog_delete(w->catalog, bytes_str("s/other/x"), 1);
    catalog_load_end(w->catalog, w->revision);
    assert_snapshot_is(now(w), w, "loaded", 0, 0);
    assert_null(snapshot_name(now(w), bytes_str("gone")));
    assert_null(snapshot_node_by_id(now(w), bytes_str(UUID_2)));
}

static void others_may_publish_in_the_same_domain_between_puts(void **state)
{
    struct world *w = *state;
    struct buf before = {0}, after = {0};

    node(w, "n", "");
    for (int i = 0; i < 100; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "s%d", i);
        service(w, "n", id, "web");
    }
    commit(w);
    snapshot_text(now(w), &before);
    for (int i = 0; i < 100; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "s/n/s%d", i);
        del(w, key);
        pin_publish(&w->pins);
    }
    snapshot_text(now(w), &after);
    assert_true(bytes_eq(buf_bytes(&before), buf_bytes(&after)));
    buf_fini(&before);
    buf_fini(&after);
}

/* --- Node IDs ------------------------------------------------------------ */

static void nodes_swap_ids_in_one_version(void **state)
{
    struct world *w = *state;

    for (int order = 0; order < 2; order++) {
        node(w, "a", UUID_1);
        node(w, "b", UUID_2);
        commit(w);
        node(w, order ? "b" : "a", order ? UUID_1 : UUID_2);
        node(w, order ? "a" : "b", order ? UUID_2 : UUID_1);
        commit(w);
        assert_ptr_equal(snapshot_node_by_id(now(w), bytes_str(UUID_1)),
                         snapshot_node(now(w), bytes_str("b")));
        assert_ptr_equal(snapshot_node_by_id(now(w), bytes_str(UUID_2)),
                         snapshot_node(now(w), bytes_str("a")));
    }
}

static void an_id_moves_to_another_name_in_any_order(void **state)
{
    struct world *w = *state;

    for (int order = 0; order < 2; order++) {
        node(w, "a", UUID_1);
        commit(w);
        if (order)
            del(w, "n/a");
        node(w, "b", UUID_1);
        if (!order)
            del(w, "n/a");
        commit(w);
        assert_ptr_equal(snapshot_node_by_id(now(w), bytes_str(UUID_1)),
                         snapshot_node(now(w), bytes_str("b")));
        del(w, "n/b");
        commit(w);
        assert_null(snapshot_node_by_id(now(w), bytes_str(UUID_1)));
    }
}

static const char *by_prefix(const struct world *w, const char *prefix)
{
    const struct cat_node *n =
        snapshot_node_by_id_prefix(now(w), bytes_str(prefix));
    return !n ? "" : n == snapshot_node(now(w), bytes_str("a")) ? "a" : "b";
}

static void
a_node_is_found_by_the_start_of_its_id_if_it_is_the_only_one(void **state)
{
    struct world *w = *state;

    node(w, "a", "ABcd0000-0000-4000-8000-000000000001");
    node(w, "b", "abcd0000-0000-4000-8000-000000000002");
    commit(w);
    assert_string_equal(by_prefix(w, "ab"), "");
    assert_string_equal(by_prefix(w, "abcd0000-0000-4000-8000-000000000001"),
                        "a");
    assert_string_equal(by_prefix(w, "abcd0000000040008000000000000002"), "b");
    assert_string_equal(by_prefix(w, "abcd0000-0000-4000-8000-00000000000"),
                        "");
    assert_string_equal(by_prefix(w, "abcd0000-0000-4000-8000-0000000000011"),
                        "");
    assert_string_equal(by_prefix(w, "abcd00000-"), "");
    del(w, "n/b");
    commit(w);
    assert_string_equal(by_prefix(w, "ab"), "a");
    assert_string_equal(by_prefix(w, "AbCd0000-"), "a");
    assert_string_equal(by_prefix(w, "a"), "");
    assert_string_equal(by_prefix(w, ""), "");
    assert_string_equal(by_prefix(w, "ac"), "");
    assert_string_equal(by_prefix(w, "zz"), "");
    assert_string_equal(by_prefix(w, "a-b"), "");
}

/* --- Indexes ------------------------------------------------------------- */

static void each_change_moves_its_own_indexes(void **state)
{
    struct world *w = *state;

    node(w, "n", "");
    service(w, "n", "web-1", "web");
    service(w, "n", "db-1", "db");
    check(w, "n", "c", "web-1", "passing", "one");
    check(w, "n", "host", "", "passing", "");
    commit(w);

    check(w, "n", "c", "web-1", "passing", "two"); /* Output alone */
    commit(w);
    assert_int_equal(index_of(w, WATCH_SERVICE_HEALTH, "web"), 1);
    assert_int_equal(index_of(w, WATCH_SERVICE_CHECKS, "web"), 2);
    assert_int_equal(index_of(w, WATCH_STATE, "passing"), 2);
    assert_false(reported(w, WATCH_SERVICE_HEALTH, "web"));
    struct check_view v;
    cat_check_view(
        cat_node_check(snapshot_node(now(w), bytes_str("n")), bytes_str("C")),
        &v);
    assert_bytes(v.output, "two"); /* shown at once nevertheless */

    check(w, "n", "c", "web-1", "critical", "two");
    commit(w);
    assert_int_equal(index_of(w, WATCH_SERVICE_HEALTH, "web"), 3);
    assert_int_equal(index_of(w, WATCH_SERVICE, "web"), 1);
    assert_int_equal(index_of(w, WATCH_SERVICE_HEALTH, "db"), 1);
    assert_int_equal(index_of(w, WATCH_SERVICES, ""), 1);
    assert_int_equal(index_of(w, WATCH_STATE, "warning"), 0);
    assert_int_equal(index_of(w, WATCH_STATE, "critical"), 3);

    check(w, "n", "host", "", "warning", ""); /* the node's own */
    commit(w);
    assert_int_equal(index_of(w, WATCH_SERVICE_HEALTH, "web"), 4);
    assert_int_equal(index_of(w, WATCH_SERVICE_HEALTH, "db"), 4);
    assert_int_equal(index_of(w, WATCH_SERVICE_CHECKS, "db"), 0);
    assert_int_equal(index_of(w, WATCH_NODE_CHECKS, "n"), 4);
    assert_int_equal(index_of(w, WATCH_NODE, "n"), 1);

    service(w, "n", "web-1", "shop"); /* another name: both are told */
    commit(w);
    assert_int_equal(index_of(w, WATCH_SERVICE, "web"), 5);
    assert_int_equal(index_of(w, WATCH_SERVICE_HEALTH, "web"), 5);
    assert_int_equal(index_of(w, WATCH_SERVICE_CHECKS, "shop"), 5);
    assert_true(reported(w, WATCH_SERVICE, "WEB"));
    assert_null(snapshot_name(now(w), bytes_str("web")));
    assert_int_equal(index_of(w, WATCH_SERVICES, ""), 5);
    assert_int_equal(index_of(w, WATCH_NODES, ""), 1);
    assert_int_equal(index_of(w, WATCH_NODES_SERVICES, ""), 5);
    assert_int_equal(index_of(w, WATCH_LOCAL, ""), 0);
    assert_int_equal(index_of(w, WATCH_NONE, ""), 0);
}

static void what_comes_back_goes_on_with_its_index(void **state)
{
    struct world *w = *state;

    assert_int_equal(index_of(w, WATCH_SERVICE, "web"), 0);
    node(w, "n", "");
    service(w, "n", "web", "web");
    commit(w); /* 1 */
    del(w, "s/n/web");
    del(w, "n/n");
    commit(w); /* 2 */
    assert_int_equal(index_of(w, WATCH_SERVICE, "web"), 2);
    assert_int_equal(index_of(w, WATCH_NODE, "n"), 2);
    assert_int_equal(snapshot_name_count(now(w)), 0);
    assert_int_equal(snapshot_node_count(now(w)), 0);
    node(w, "N", "");
    service(w, "n", "web", "WEB");
    commit(w); /* 3 */
    assert_int_equal(index_of(w, WATCH_SERVICE, "web"), 3);
    assert_int_equal(index_of(w, WATCH_NODE, "n"), 3);
    const struct cat_name *n = snapshot_name(now(w), bytes_str("web"));
    assert_bytes(bytes_of(n->name, n->name_len), "WEB");
}

/* One instance comes and goes, in two versions. */
static void come_and_go(struct world *w, const char *name)
{
    char key[64];

    service(w, "n", name, name);
    commit(w);
    (void)snprintf(key, sizeof key, "s/n/%s", name);
    del(w, key);
    commit(w);
}

static uint64_t index_or_floor(const struct world *w, const char *name)
{
    uint64_t index = index_of(w, WATCH_SERVICE, name);
    uint64_t floor = snapshot_floor(now(w));
    return index > floor ? index : floor;
}

static void too_many_deleted_names_raise_the_floor(void **state)
{
    struct world *w = *state;
    enum { GONE = CATALOG_TOMBSTONES_MAX + 1 };
    char name[16];

    node(w, "n", "");
    commit(w);
    for (int i = 0; i < CATALOG_TOMBSTONES_MAX; i++) {
        (void)snprintf(name, sizeof name, "s%d", i);
        come_and_go(w, name);
    }
    for (int i = 0; i < 1000; i++)
        come_and_go(w, "s7"); /* one that comes back takes one place */
    assert_int_equal(snapshot_floor(now(w)), 0);
    assert_true(index_of(w, WATCH_SERVICE, "s0") > 0);
    uint64_t of_s0 = index_of(w, WATCH_SERVICE, "s0");
    uint64_t of_s100 = index_of(w, WATCH_SERVICE, "s100");

    come_and_go(w, "one-more");
    assert_int_equal(index_of(w, WATCH_SERVICE, "s0"), 0);
    assert_true(snapshot_floor(now(w)) >= of_s0);
    assert_true(index_or_floor(w, "s100") >= of_s100);
    assert_true(index_of(w, WATCH_SERVICE, "s7") > snapshot_floor(now(w)));
    assert_true(index_of(w, WATCH_SERVICE, "one-more") >
                snapshot_floor(now(w)));

    uint64_t floor = snapshot_floor(now(w));
    come_and_go(w, "another"); /* not with each deletion */
    assert_int_equal(snapshot_floor(now(w)), floor);

    uint64_t seed = 3;
    world_load(w, w->catalog, &seed);
    assert_int_equal(snapshot_floor(now(w)), w->revision);
    assert_int_equal(index_of(w, WATCH_SERVICE, "s7"), 0);
}

static void deleted_nodes_leave_tombstones_too(void **state)
{
    struct world *w = *state;
    char name[16], key[20];

    for (int i = 0; i < CATALOG_TOMBSTONES_MAX + 2; i++) {
        (void)snprintf(name, sizeof name, "n%d", i);
        node(w, name, "");
        commit(w);
        (void)snprintf(key, sizeof key, "n/%s", name);
        del(w, key);
        commit(w);
    }
    assert_int_equal(index_of(w, WATCH_NODE, "n0"), 0);
    assert_true(snapshot_floor(now(w)) > 0);
    assert_int_equal(index_of(w, WATCH_NODE, name), w->revision - 1);
}

static const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    T(an_instance_knows_since_when_it_is_in),
    T(what_is_no_key_of_the_catalog_is_refused_by_name),
    T(a_damaged_value_is_left_out_and_replaces_what_was_there),
    T(a_value_under_a_key_of_another_name_is_damaged),
    T(a_version_without_puts_changes_only_the_revision),
    T(the_old_version_is_shown_until_a_load_ends),
    T(a_load_knows_nothing_of_when_somebody_was_let_in),
    T(rows_are_deleted_and_replaced_during_a_load_too),
    T(others_may_publish_in_the_same_domain_between_puts),
    T(nodes_swap_ids_in_one_version),
    T(an_id_moves_to_another_name_in_any_order),
    T(a_node_is_found_by_the_start_of_its_id_if_it_is_the_only_one),
    T(each_change_moves_its_own_indexes),
    T(what_comes_back_goes_on_with_its_index),
    T(too_many_deleted_names_raise_the_floor),
    T(deleted_nodes_leave_tombstones_too),
#undef T
};

RUN_TESTS(tests)
