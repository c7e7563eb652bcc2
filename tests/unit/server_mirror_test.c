/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* A mirror that is fed from a random history answers as its origin did, byte for
 * byte, at every revision that it says it has: whatever was cut, resumed, or told
 * as a snapshot, and in whatever pieces the bytes came. */
#include "server_mirror.h"

enum { SEEDS = 30, STEPS = 150 };

/* --- A story ------------------------------------------------------------- */

static void step(struct both *b, const char *const *targets)
{
    if (chance(&b->seed, 60))
        change(b, targets);
    if (chance(&b->seed, 50))
        tell_news(b);
    if (chance(&b->seed, 10)) { /* the connection is cut somewhere */
        deliver(b, below(&b->seed, b->out.n + 1), targets);
        connect_again(b);
    } else {
        deliver(b,
                chance(&b->seed, 50) ? b->out.n : below(&b->seed, b->out.n + 1),
                targets);
    }
}

static void tell_story(uint64_t seed, bool all)
{
    const char *const *targets = all ? all_targets : part_targets;
    struct both b;

    both_begin(&b, seed);
    if (all) {
        want(&b, MIRROR_ALL, "");
        want(&b, MIRROR_NODES, "");
        want(&b, MIRROR_CHECKS, "");
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
    assert_int_equal(mirror_revision(b.mirror), b.w->revision);
    assert_true(mirror_is_whole(b.mirror));
    is_a_state_of_the_origin(&b, targets);
    both_end(&b);
}

static void a_mirror_of_parts_answers_as_its_origin_did(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        tell_story(seed, false);
}

static void a_mirror_of_all_answers_as_its_origin_did(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        tell_story(seed, true);
}

/* --- Single rules -------------------------------------------------------- */

static uint64_t index_of(const struct both *b, const char *name)
{
    return snapshot_index(
        catalog_current(b->copy),
        (struct watch_key){WATCH_SERVICE_HEALTH, bytes_str(name)});
}

static void all_of_it(struct both *b)
{
    struct errtext t = {{0}};

    tell_news(b);
    if (mirror_push(b->mirror, buf_bytes(&b->out), &t) != ERR_OK)
        fail_msg("%s", t.s);
    buf_reset(&b->out);
}

/* A client may come with an index from a server, of before this began: what was
 * removed since must not be waited for. */
static void a_name_just_begun_has_the_index_of_its_snapshot(void **state)
{
    (void)state;
    struct both b;
    both_begin(&b, 1);
    world_put_node(b.w, &(struct node_view){.name = bytes_str("n"),
                                            .address = bytes_str("::1")});
    (void)world_commit(b.w);
    b.w->revision = 40;
    (void)world_commit(b.w);
    want(&b, MIRROR_NODE, "n");
    want(&b, MIRROR_SERVICE, "never");
    assert_false(
        snapshot_is_whole(catalog_current(b.copy), bytes_str("never")));
    connect_again(&b);
    all_of_it(&b);
    assert_int_equal(index_of(&b, "never"), 40);
    assert_true(snapshot_is_whole(catalog_current(b.copy), bytes_str("NEVER")));
    both_end(&b);
}

static void what_joins_later_leaves_the_others_where_they_are(void **state)
{
    (void)state;
    struct both b;
    both_begin(&b, 1);
    b.seed = 7;
    world_put_node(b.w, &(struct node_view){.name = bytes_str("n"),
                                            .address = bytes_str("::1")});
    (void)world_commit(b.w);
    want(&b, MIRROR_NODE, "n");
    want(&b, MIRROR_SERVICE, "web");
    connect_again(&b);
    all_of_it(&b);
    uint64_t before = index_of(&b, "web");
    want(&b, MIRROR_SERVICE, "db");
    assert_false(mirror_is_whole(b.mirror));
    b.w->revision = 90;
    (void)world_commit(b.w);
    struct buf target = {0};
    uint64_t id;
    mirror_connect(b.mirror, &target, &id);
    assert_int_equal(id, before);
    assert_bytes(buf_bytes(&target),
                 "/v1/muster/stream?rows&node=n&service=web&service=db"
                 "&resume=2");
    buf_fini(&target);
    connect_again(&b);
    for (size_t i = 0; i < 2; i++) /* whatever chance said */
        b.have[i] = before;
    all_of_it(&b);
    assert_int_equal(index_of(&b, "web"), before);
    assert_int_equal(index_of(&b, "db"), 90);
    both_end(&b);
}

static enum err push_text(struct both *b, const char *text, struct errtext *t)
{
    return mirror_push(b->mirror, bytes_str(text), t);
}

static void a_server_that_is_behind_is_not_listened_to(void **state)
{
    (void)state;
    struct both b;
    struct errtext t = {{0}};
    struct buf target = {0};
    uint64_t id;
    both_begin(&b, 1);
    b.w->revision = 50;
    (void)world_commit(b.w);
    want(&b, MIRROR_NODE, "n");
    want(&b, MIRROR_SERVICE, "web");
    connect_again(&b);
    all_of_it(&b);
    mirror_connect(b.mirror, &target, &id);
    buf_fini(&target);
    assert_int_equal(id, 50);
    assert_int_equal(push_text(&b,
                               "event: subscriber\n"
                               "data: {\"Subscriber\":\"x\",\"Index\":49}\n\n",
                               &t),
                     ERR_AGAIN);
    assert_int_equal(mirror_revision(b.mirror), 50);
    both_end(&b);
}

static void another_store_begins_anew(void **state)
{
    (void)state;
    struct both b;
    both_begin(&b, 1);
    b.w->revision = 500;
    (void)world_commit(b.w);
    want(&b, MIRROR_ALL, "");
    want(&b, MIRROR_NODES, "");
    connect_again(&b);
    all_of_it(&b);
    assert_int_equal(snapshot_floor(catalog_current(b.copy)), 500);
    mirror_reset(b.mirror);
    assert_int_equal(snapshot_floor(catalog_current(b.copy)), 0);
    b.w->revision = 3;
    (void)world_commit(b.w);
    connect_again(&b);
    all_of_it(&b);
    assert_int_equal(mirror_revision(b.mirror), 3);
    assert_int_equal(snapshot_floor(catalog_current(b.copy)), 3);
    both_end(&b);
}

static void what_is_no_such_stream_is_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"event: put\ndata: {\"Of\":\"service\",\"Name\":\"web\"}\n\n",
         "without Key or Entry"},
        {"event: put\ndata: {\"Of\":\"service\",\"Name\":\"web\",\"Key\":\"k\","
         "\"Entry\":{\"Rows\":[{\"Key\":\"n/a\",\"Value\":\"%\",\"Create\":1,"
         "\"Modify\":1}]}}\n\n",
         "row \"n/a\" is damaged"},
        {"event: put\ndata: {\"Of\":\"service\",\"Name\":\"web\",\"Key\":\"k\","
         "\"Entry\":{\"Rows\":[{\"Key\":\"n/a\",\"Value\":\"\",\"Create\":1,"
         "\"Modify\":-1}]}}\n\n",
         "row \"n/a\" is damaged"},
        {"event: put\ndata: [\n\n", ""},
    };
    struct both b;
    both_begin(&b, 1);
    want(&b, MIRROR_NODE, "n");
    want(&b, MIRROR_SERVICE, "web");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct errtext t = {{0}};
        struct buf target = {0};
        uint64_t id;
        mirror_connect(b.mirror, &target, &id);
        buf_fini(&target);
        assert_int_equal(push_text(&b, bad[i].text, &t), ERR_BAD);
        assert_non_null(strstr(t.s, bad[i].why));
    }
    assert_int_equal(mirror_revision(b.mirror), 0);
    both_end(&b);
}

static void subscriptions_are_bounded(void **state)
{
    (void)state;
    struct both b;
    char name[MIRROR_NAME_MAX + 2];
    both_begin(&b, 1);
    for (int i = 0; i < MIRROR_SUBSCRIPTIONS_MAX; i++) {
        snprintf(name, sizeof name, "s%d", i);
        want(&b, MIRROR_SERVICE, name);
    }
    assert_int_equal(mirror_want(b.mirror, MIRROR_SERVICE, bytes_str("S7")),
                     ERR_EXISTS);
    assert_int_equal(mirror_want(b.mirror, MIRROR_SERVICE, bytes_str("more")),
                     ERR_FULL);
    memset(name, 'x', sizeof name);
    assert_int_equal(mirror_want(b.mirror, MIRROR_SERVICE,
                                 bytes_of(name, MIRROR_NAME_MAX + 1)),
                     ERR_LIMIT);
    both_end(&b);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_mirror_of_parts_answers_as_its_origin_did),
    cmocka_unit_test(a_mirror_of_all_answers_as_its_origin_did),
    cmocka_unit_test(a_name_just_begun_has_the_index_of_its_snapshot),
    cmocka_unit_test(what_joins_later_leaves_the_others_where_they_are),
    cmocka_unit_test(a_server_that_is_behind_is_not_listened_to),
    cmocka_unit_test(another_store_begins_anew),
    cmocka_unit_test(what_is_no_such_stream_is_refused_by_name),
    cmocka_unit_test(subscriptions_are_bounded),
};

RUN_TESTS(tests)
