/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* How far back the journal reaches. That it names all that changed is tested
 * where changes become entries (api_entries_test.c). */
#include <stdio.h>

#include "catalog/journal.h"
#include "catalog_world.h"

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

static void put_node(struct world *w, const char *name, unsigned address)
{
    char text[32];
    snprintf(text, sizeof text, "10.%u.%u.%u", address >> 16 & 255,
             address >> 8 & 255, address & 255);
    world_put_node(w, &(struct node_view){.name = bytes_str(name),
                                          .address = bytes_str(text)});
}

static void commit(struct world *w)
{
    (void)world_commit(w);
    w->revision++;
}

static void count(void *ctx, const struct cat_change *ch)
{
    size_t *n = ctx;
    assert_bytes(ch->node, "n");
    ++*n;
}

static size_t changes_since(struct world *w, uint64_t since)
{
    size_t n = 0;
    assert_ok(snapshot_changes(now(w), since, count, &n));
    return n;
}

static void changes_are_told_from_any_revision_on(void **state)
{
    struct world *w = *state;
    uint64_t first = w->revision;
    for (unsigned i = 0; i < 5; i++) {
        put_node(w, "n", i);
        commit(w);
    }
    assert_int_equal(changes_since(w, 0), 5);
    assert_int_equal(changes_since(w, first), 4);
    assert_int_equal(changes_since(w, first + 3), 1);
    assert_int_equal(changes_since(w, first + 4), 0);
    assert_int_equal(changes_since(w, first + 400), 0);
}

static void what_is_put_again_as_it_was_is_no_change(void **state)
{
    struct world *w = *state;
    put_node(w, "n", 1);
    commit(w);
    uint64_t since = snapshot_revision(now(w));
    put_node(w, "n", 1);
    commit(w);
    assert_int_equal(changes_since(w, since), 0);
}

static void the_oldest_changes_go_first_and_that_is_told(void **state)
{
    struct world *w = *state;
    size_t n = 0;
    put_node(w, "n", 0);
    commit(w);
    uint64_t since = snapshot_revision(now(w));
    for (unsigned i = 1; i <= JOURNAL_CHANGES_MAX + 1; i++) {
        put_node(w, "n", i);
        commit(w);
    }
    uint64_t floor = snapshot_journal_floor(now(w));
    assert_true(floor > since);
    assert_int_equal(snapshot_changes(now(w), since, count, &n), ERR_COMPACTED);
    assert_int_equal(snapshot_changes(now(w), floor - 1, count, &n),
                     ERR_COMPACTED);
    assert_int_equal(changes_since(w, floor),
                     snapshot_revision(now(w)) - floor);
    assert_true(changes_since(w, floor) > JOURNAL_CHANGES_MAX / 2);
}

/* A reader with an old snapshot in his hand is not told half of it. */
static void an_old_snapshot_notices_what_was_dropped_since(void **state)
{
    struct world *w = *state;
    int slot;
    size_t n = 0;
    put_node(w, "n", 0);
    commit(w);
    put_node(w, "n", 1);
    commit(w);
    put_node(w, "n", 2);
    commit(w);
    assert_ok(pin_slot(&w->pins, &slot));
    pin_enter(&w->pins, slot);
    const struct snapshot *old = now(w);
    uint64_t since = snapshot_revision(old) - 2;
    for (unsigned i = 1; i <= 2 * JOURNAL_CHANGES_MAX; i++) {
        put_node(w, "n", i + 10);
        commit(w);
    }
    assert_int_equal(snapshot_changes(old, since, count, &n), ERR_COMPACTED);
    pin_leave(&w->pins, slot);
}

static void a_load_begins_a_new_journal(void **state)
{
    struct world *w = *state;
    size_t n = 0;
    put_node(w, "n", 1);
    commit(w);
    uint64_t before = snapshot_revision(now(w));
    catalog_load_begin(w->catalog);
    catalog_load_end(w->catalog, before + 10);
    assert_int_equal(snapshot_changes(now(w), before, count, &n),
                     ERR_COMPACTED);
    assert_int_equal(changes_since(w, before + 10), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(changes_are_told_from_any_revision_on,
                                    set_up, tear_down),
    cmocka_unit_test_setup_teardown(what_is_put_again_as_it_was_is_no_change,
                                    set_up, tear_down),
    cmocka_unit_test_setup_teardown(
        the_oldest_changes_go_first_and_that_is_told, set_up, tear_down),
    cmocka_unit_test_setup_teardown(
        an_old_snapshot_notices_what_was_dropped_since, set_up, tear_down),
    cmocka_unit_test_setup_teardown(a_load_begins_a_new_journal, set_up,
                                    tear_down),
};

RUN_TESTS(tests)
