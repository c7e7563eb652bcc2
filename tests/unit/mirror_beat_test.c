/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Beats, who is at the other end, and another store in the place of the last. */
#include "mirror/mirror.h"

#include <stdio.h>
#include <stdlib.h>

#include "test.h"

struct both {
    struct pin_domain pins;
    struct catalog *catalog;
    struct mirror *mirror;
    size_t committed, beats;
    uint64_t at_ms, age_ms;
    char datacenter[16];
    bool refuses;
    struct errtext t;
};

static void on_committed(void *ctx)
{
    ((struct both *)ctx)->committed++;
}

static enum err on_begun(void *ctx, const struct mirror_origin *o,
                         struct errtext *t)
{
    struct both *b = ctx;

    snprintf(b->datacenter, sizeof b->datacenter, "%.*s",
             BYTES_ARG(o->datacenter));
    b->at_ms = o->at_ms;
    if (b->refuses)
        errtext_set(t, "not from %s", b->datacenter);
    return b->refuses ? ERR_BAD : ERR_OK;
}

static void on_beat(void *ctx, uint64_t at_ms, uint64_t age_ms)
{
    struct both *b = ctx;

    b->beats++;
    b->at_ms = at_ms;
    b->age_ms = age_ms;
}

static int setup(void **state)
{
    struct both *b = calloc(1, sizeof *b);

    pin_init(&b->pins);
    b->catalog = catalog_new(&b->pins);
    b->mirror = mirror_new(b->catalog,
                           &(struct mirror_events){.committed = on_committed,
                                                   .begun = on_begun,
                                                   .beat = on_beat,
                                                   .ctx = b});
    assert_ok(mirror_want(b->mirror, MIRROR_NODES, (struct bytes){0}));
    assert_ok(mirror_want(b->mirror, MIRROR_PREFIX, bytes_str("pay-")));
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct both *b = *state;

    mirror_free(b->mirror);
    catalog_free(b->catalog);
    pin_fini(&b->pins);
    free(b);
    return 0;
}

static enum err push(struct both *b, const char *text)
{
    return mirror_push(b->mirror, bytes_str(text), &b->t);
}

static uint64_t connect_to(struct both *b, const char *want)
{
    struct buf target = {0};
    uint64_t id;

    mirror_connect(b->mirror, &target, &id);
    assert_bytes(buf_bytes(&target), want);
    buf_fini(&target);
    return id;
}

#define SUBSCRIBER(index)                                                      \
    "event: subscriber\ndata: {\"Subscriber\":\"s\",\"Index\":" index          \
    ",\"At\":500,\"Datacenter\":\"dc2\",\"Cluster\":\"c\"}\n\n"
#define NODES                                                                  \
    "event: snapshot\ndata: {\"Phase\":\"begin\",\"Of\":\"nodes\"}\n\n"        \
    "event: snapshot\ndata: {\"Phase\":\"end\",\"Of\":\"nodes\"}\n\n"
#define PREFIX_BEGIN                                                           \
    "event: snapshot\ndata: "                                                  \
    "{\"Phase\":\"begin\",\"Of\":\"prefix\",\"Name\":\"pay-\"}\n\n"
#define PREFIX_END(id)                                                         \
    "event: snapshot\ndata: "                                                  \
    "{\"Phase\":\"end\",\"Of\":\"prefix\",\"Name\":\"pay-\"}\nid: " id "\n\n"
#define BEAT(id) "event: beat\ndata: {\"At\":900,\"Age\":7}\nid: " id "\n\n"

static void whole(struct both *b)
{
    (void)connect_to(b, "/v1/muster/stream?rows&nodes&prefix=pay-&resume=0");
    assert_ok(push(b, SUBSCRIBER("7") NODES PREFIX_BEGIN PREFIX_END("7")));
    assert_true(mirror_is_whole(b->mirror));
}

static void a_beat_tells_the_clock_and_the_revision(void **state)
{
    struct both *b = *state;

    whole(b);
    assert_string_equal(b->datacenter, "dc2");
    assert_int_equal(b->at_ms, 500);
    assert_ok(push(b, BEAT("9")));
    assert_int_equal(b->beats, 1);
    assert_int_equal(b->at_ms, 900);
    assert_int_equal(b->age_ms, 7);
    assert_int_equal(mirror_revision(b->mirror), 9);
    /* Nothing new: no version for nobody. */
    size_t committed = b->committed;
    assert_ok(push(b, BEAT("9")));
    assert_int_equal(b->beats, 2);
    assert_int_equal(b->committed, committed);
}

/* What it would vouch for is not here yet. */
static void a_beat_within_a_snapshot_says_nothing(void **state)
{
    struct both *b = *state;

    (void)connect_to(b, "/v1/muster/stream?rows&nodes&prefix=pay-&resume=0");
    assert_ok(push(b, SUBSCRIBER("7") NODES PREFIX_BEGIN BEAT("7")));
    assert_int_equal(b->beats, 0);
    assert_false(mirror_is_whole(b->mirror));
}

static void an_older_revision_is_refused(void **state)
{
    struct both *b = *state;

    whole(b);
    assert_int_equal(push(b, BEAT("6")), ERR_AGAIN);
    assert_int_equal(b->beats, 0);
    assert_int_equal(connect_to(b, "/v1/muster/stream?rows&nodes&prefix=pay-"
                                   "&resume=2"),
                     7);
    assert_int_equal(push(b, SUBSCRIBER("6")), ERR_AGAIN);
    assert_int_equal(snapshot_revision(catalog_current(b->catalog)), 7);
}

static void somebody_else_can_be_refused(void **state)
{
    struct both *b = *state;

    b->refuses = true;
    (void)connect_to(b, "/v1/muster/stream?rows&nodes&prefix=pay-&resume=0");
    assert_int_equal(push(b, SUBSCRIBER("7")), ERR_BAD);
    assert_string_equal(b->t.s, "not from dc2");
}

static void what_was_shown_stays_until_another_store_is_here(void **state)
{
    struct both *b = *state;

    whole(b);
    size_t committed = b->committed;
    mirror_renew(b->mirror);
    assert_int_equal(b->committed, committed);
    assert_int_equal(snapshot_revision(catalog_current(b->catalog)), 7);
    assert_int_equal(connect_to(b, "/v1/muster/stream?rows&nodes&prefix=pay-"
                                   "&resume=0"),
                     0);
    assert_ok(push(b, SUBSCRIBER("2") NODES PREFIX_BEGIN));
    assert_int_equal(snapshot_revision(catalog_current(b->catalog)), 7);
    assert_ok(push(b, PREFIX_END("2")));
    assert_int_equal(snapshot_revision(catalog_current(b->catalog)), 2);
    assert_int_equal(snapshot_floor(catalog_current(b->catalog)), 2);
}

#define NAMED(phase, id)                                                       \
    "event: snapshot\ndata: {\"Phase\":\"" phase                               \
    "\",\"Of\":\"service\",\"Name\":\"web\"}\n" id "\n"

static int setup_names(void **state)
{
    (void)setup(state);
    struct both *b = *state;
    mirror_free(b->mirror);
    b->mirror = mirror_new(
        b->catalog,
        &(struct mirror_events){.committed = on_committed, .ctx = b});
    assert_ok(mirror_want(b->mirror, MIRROR_SERVICE, bytes_str("web")));
    assert_ok(mirror_want(b->mirror, MIRROR_SERVICE, bytes_str("db")));
    return 0;
}

#define DB                                                                     \
    "event: snapshot\ndata: "                                                  \
    "{\"Phase\":\"begin\",\"Of\":\"service\",\"Name\":\"db\"}\n\n"             \
    "event: snapshot\ndata: "                                                  \
    "{\"Phase\":\"end\",\"Of\":\"service\",\"Name\":\"db\"}\n\n"

/* Nobody would ever take out what only the last store had. */
static void another_store_takes_the_place_of_names_too(void **state)
{
    struct both *b = *state;
    const char *target = "/v1/muster/stream?rows&service=web&service=db"
                         "&resume=0";

    (void)connect_to(b, target);
    assert_ok(
        push(b, SUBSCRIBER("7") DB NAMED("begin", "") NAMED("end", "id: 7\n")));
    assert_true(
        snapshot_is_whole(catalog_current(b->catalog), bytes_str("web")));
    mirror_renew(b->mirror);
    (void)connect_to(b, target);
    assert_ok(
        push(b, SUBSCRIBER("2") DB NAMED("begin", "") NAMED("end", "id: 2\n")));
    const struct snapshot *s = catalog_current(b->catalog);
    assert_int_equal(snapshot_revision(s), 2);
    assert_int_equal(snapshot_floor(s), 2);
    assert_true(snapshot_is_whole(s, bytes_str("web")));
    assert_true(snapshot_is_whole(s, bytes_str("db")));
}

static void a_name_beside_a_prefix_is_whole(void **state)
{
    struct both *b = *state;

    assert_ok(mirror_want(b->mirror, MIRROR_SERVICE, bytes_str("web")));
    (void)connect_to(b, "/v1/muster/stream?rows&nodes&prefix=pay-&service=web"
                        "&resume=0");
    assert_ok(push(b, SUBSCRIBER("7") NODES PREFIX_BEGIN PREFIX_END("7")));
    assert_false(
        snapshot_is_whole(catalog_current(b->catalog), bytes_str("web")));
    mirror_renew(b->mirror);
    (void)connect_to(b, "/v1/muster/stream?rows&nodes&prefix=pay-&service=web"
                        "&resume=0");
    assert_ok(push(b, SUBSCRIBER("9") NAMED("begin", "") NAMED("end", "")
                          NODES PREFIX_BEGIN PREFIX_END("9")));
    assert_true(
        snapshot_is_whole(catalog_current(b->catalog), bytes_str("web")));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
static const struct CMUnitTest tests[] = {
    T(a_beat_tells_the_clock_and_the_revision),
    T(a_beat_within_a_snapshot_says_nothing),
    T(an_older_revision_is_refused),
    T(somebody_else_can_be_refused),
    T(what_was_shown_stays_until_another_store_is_here),
    cmocka_unit_test_setup_teardown(another_store_takes_the_place_of_names_too,
                                    setup_names, teardown),
    T(a_name_beside_a_prefix_is_whole),
};

RUN_TESTS(tests)
