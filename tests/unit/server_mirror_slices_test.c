/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* A version that is made in slices: until it is whole everybody sees the one before,
 * and whatever else happens between two slices, here and at the origin, happens as
 * if there were none. */
#include "server_mirror.h"

enum { SEEDS = 40, STEPS = 150 };

static void want_all(struct both *b)
{
    want(b, MIRROR_ALL, "");
    want(b, MIRROR_NODES, "");
    want(b, MIRROR_CHECKS, "");
}

static void begin_sliced(struct both *b, uint64_t seed, size_t rows)
{
    both_begin(b, seed);
    b->sliced = true;
    mirror_slice(b->mirror, rows);
}

/* --- A story ------------------------------------------------------------- */

static void step(struct both *b, const char *const *targets)
{
    if (chance(&b->seed, 60))
        change(b, targets);
    if (chance(&b->seed, 50))
        tell_news(b);
    if (chance(&b->seed, 10)) {
        deliver(b, below(&b->seed, b->out.n + 1), targets);
        connect_again(b); /* with the rest of what was on its way */
    } else if (chance(&b->seed, 3)) {
        mirror_renew(b->mirror); /* "another store" */
        connect_again(b);
    } else {
        deliver(b, b->out.n, targets);
    }
    if (b->committed)
        is_a_state_of_the_origin(b, targets);
}

static void tell_story(uint64_t seed, bool all)
{
    const char *const *targets = all ? all_targets : part_targets;
    struct both b;

    begin_sliced(&b, seed, 1 + seed % 7);
    if (all) {
        want_all(&b);
    } else {
        want(&b, MIRROR_NODE, "Z");
        want(&b, MIRROR_NODE_CHECKS, "z");
        want(&b, MIRROR_SERVICE, "WEB");
        want(&b, MIRROR_SERVICE, "cache");
    }
    change(&b, targets);
    connect_again(&b);
    for (size_t i = 0; i < STEPS; i++)
        step(&b, targets);
    tell_news(&b);
    deliver(&b, b.out.n, targets);
    all_slices(&b);
    assert_int_equal(mirror_revision(b.mirror), b.w->revision);
    assert_true(mirror_is_whole(b.mirror));
    is_a_state_of_the_origin(&b, targets);
    both_end(&b);
}

static void parts_in_slices_are_what_they_are_at_once(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        tell_story(seed, false);
}

static void all_in_slices_is_what_it_is_at_once(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        tell_story(seed, true);
}

/* --- Beside others ------------------------------------------------------- */

enum { INSTANCES = 60 };

static void fill_origin(struct both *b)
{
    char id[16];

    world_put_node(b->w, &(struct node_view){.name = bytes_str("n"),
                                             .address = bytes_str("::1")});
    for (int i = 0; i < INSTANCES; i++) {
        (void)snprintf(id, sizeof id, "w%d", i);
        world_put_service(b->w, "n",
                          &(struct service_view){.id = bytes_str(id),
                                                 .name = bytes_str("web")});
    }
    (void)world_commit(b->w);
}

static void push_all(struct both *b)
{
    struct errtext t = {{0}};

    tell_news(b);
    assert_ok(mirror_push(b->mirror, buf_bytes(&b->out), &t));
    buf_reset(&b->out);
}

/* A commit of the catalog that stands in the same pin domain, as one's own does. */
static void commit_beside(struct catalog *own, uint64_t revision)
{
    struct errtext t = {{0}};
    struct buf key = {0}, value = {0};

    key_node(&key, bytes_str("own"));
    record_put_node(&value, &(struct node_view){.name = bytes_str("own"),
                                                .address = bytes_str("::1")});
    assert_ok(
        catalog_put(own, buf_bytes(&key), buf_bytes(&value), 1, revision, &t));
    catalog_commit(own, revision);
    buf_fini(&key);
    buf_fini(&value);
}

static void a_commit_between_two_slices_is_seen_at_once(void **state)
{
    (void)state;
    struct both b;
    struct errtext t = {{0}};
    uint64_t revision = 0;
    int slot;

    begin_sliced(&b, 1, 5);
    struct catalog *own = catalog_new(&b.pins);
    assert_ok(pin_slot(&b.pins, &slot));
    fill_origin(&b);
    want_all(&b);
    connect_again(&b);
    push_all(&b);
    while (mirror_is_busy(b.mirror)) {
        pin_enter(&b.pins, slot);
        const struct snapshot *before = catalog_current(own);
        commit_beside(own, ++revision);
        assert_int_equal(snapshot_revision(catalog_current(own)), revision);
        assert_ok(mirror_step(b.mirror, &t));
        /* Who had pinned before still reads what he had. */
        assert_int_equal(snapshot_revision(before), revision - 1);
        size_t n = snapshot_instance_count(catalog_current(b.copy));
        assert_int_equal(n, mirror_is_busy(b.mirror) ? 0 : INSTANCES);
        pin_leave(&b.pins, slot);
    }
    assert_true(revision > 2 * INSTANCES / 5);
    catalog_free(own);
    both_end(&b);
}

/* The link is lost, or the process ends, with half a version made. */
static void half_a_version_is_given_up_without_a_trace(void **state)
{
    (void)state;
    struct errtext t = {{0}};

    for (size_t slices = 0; slices < 4 * INSTANCES; slices++) {
        struct both b;
        begin_sliced(&b, slices + 1, 1);
        fill_origin(&b);
        want_all(&b);
        connect_again(&b);
        push_all(&b);
        for (size_t i = 0; i < slices; i++)
            assert_ok(mirror_step(b.mirror, &t));
        if (slices % 2)
            mirror_reset(b.mirror);
        both_end(&b);
    }
}

/* A stream that is quicker than the slices does not pile up. */
static void what_waits_for_the_slices_has_a_limit(void **state)
{
    (void)state;
    struct both b;
    struct errtext t = {{0}};
    static char comment[64 << 10];

    begin_sliced(&b, 1, 1);
    fill_origin(&b);
    want_all(&b);
    connect_again(&b);
    push_all(&b);
    assert_true(mirror_is_busy(b.mirror));
    memset(comment, ' ', sizeof comment);
    comment[0] = ':';
    comment[sizeof comment - 1] = '\n';
    for (size_t n = 0; n < MIRROR_HELD_MAX + sizeof comment;
         n += sizeof comment)
        assert_ok(mirror_push(b.mirror, bytes_of(comment, sizeof comment), &t));
    assert_true(mirror_bytes(b.mirror) < MIRROR_HELD_MAX + (1 << 20));
    assert_int_equal(snapshot_instance_count(catalog_current(b.copy)),
                     INSTANCES);
    all_slices(&b);
    both_end(&b);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(parts_in_slices_are_what_they_are_at_once),
    cmocka_unit_test(all_in_slices_is_what_it_is_at_once),
    cmocka_unit_test(a_commit_between_two_slices_is_seen_at_once),
    cmocka_unit_test(half_a_version_is_given_up_without_a_trace),
    cmocka_unit_test(what_waits_for_the_slices_has_a_limit),
};

RUN_TESTS(tests)
