/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Services that nobody uses leave a mirror and come back, whatever happens to them
 * meanwhile, and no reader is ever told something that is not so: neither who asks
 * with an index of before, nor who still looks at an older version. */
#include "server_mirror.h"

enum {
    SEEDS = 40,
    STEPS = 300,
    FOLLOWED = 4, /* service names */
    IDLE_MS = 1000,
    SWEEP_MS = 100,
    KEPT = 1024
};

static const char *const followed[FOLLOWED] = {"web", "cache", "db", "never"};

/* A client of one name: what he was told last, and under which index. */
struct reader {
    uint64_t index;
    uint64_t has; /* digest of the answer; 0: none yet */
    bool parked;
};

struct story {
    struct both b;
    uint64_t now_ms;
    uint64_t used_ms[FOLLOWED];
    bool was_whole[FOLLOWED]; /* before the last sweep */
    struct reader readers[FOLLOWED];
    size_t dropped, came_back;

    /* What the origin answered, by revision. */
    char *states[KEPT][FOLLOWED];
    uint64_t revisions[KEPT];
    size_t state_count;
};

static char *answer_about(const struct snapshot *s, size_t i)
{
    struct buf b = {0};
    char target[64];
    size_t n;

    snprintf(target, sizeof target, "/v1/health/service/%s", followed[i]);
    answer(s, target, &b);
    return buf_take(&b, &n);
}

/* Of the answer without what may change and wakes nobody: Output, and the index of
 * a record that was written again as it was. */
static uint64_t digest_about(const struct snapshot *s, size_t i)
{
    static const char *const left_out[] = {"\"Output\":\"", "\"ModifyIndex\":"};
    char *text = answer_about(s, i), *at = text;
    struct buf kept = {0};

    while (*at) {
        for (size_t k = 0; k < 2; k++)
            if (strncmp(at, left_out[k], strlen(left_out[k])) == 0) {
                at += strlen(left_out[k]);
                at += strcspn(at, k ? ",}" : "\"");
            }
        buf_putc(&kept, *at++);
    }
    uint64_t digest = bytes_hash(buf_bytes(&kept), 0) | 1;
    buf_fini(&kept);
    free(text);
    return digest;
}

static void remember_all(struct story *t)
{
    size_t at = t->state_count++ % KEPT;

    for (size_t i = 0; i < FOLLOWED; i++) {
        free(t->states[at][i]);
        t->states[at][i] = answer_about(catalog_current(t->b.w->catalog), i);
    }
    t->revisions[at] = t->b.w->revision;
}

static const char *true_answer(const struct story *t, uint64_t rev, size_t i)
{
    for (size_t k = 0; k < KEPT; k++)
        if (t->states[k][i] && t->revisions[k] == rev)
            return t->states[k][i];
    fail_msg("revision %llu is forgotten", (unsigned long long)rev);
    return NULL;
}

static bool is_whole(const struct story *t, size_t i)
{
    return snapshot_is_whole(catalog_current(t->b.copy),
                             bytes_str(followed[i]));
}

static uint64_t index_of(const struct snapshot *s, size_t i)
{
    uint64_t index = snapshot_index(
        s, (struct watch_key){WATCH_SERVICE_HEALTH, bytes_str(followed[i])});

    return index > snapshot_floor(s) ? index : snapshot_floor(s);
}

/* --- Readers -------------------------------------------------------------- */

/* As a long poll: an index that is behind is answered, else what he has must be
 * what there is. */
static void look(struct story *t, size_t i)
{
    struct reader *r = &t->readers[i];
    const struct snapshot *s = catalog_current(t->b.copy);
    char *now = answer_about(s, i);

    assert_string_equal(now, true_answer(t, snapshot_revision(s), i));
    free(now);
    if (index_of(s, i) > r->index || !r->has) {
        r->has = digest_about(s, i);
        r->index = index_of(s, i);
    } else if (r->index <= snapshot_revision(s)) {
        assert_int_equal(r->has, digest_about(s, i));
    } /* else the mirror is behind him */
}

static void look_all(struct story *t)
{
    for (size_t i = 0; i < FOLLOWED; i++)
        if (t->readers[i].parked)
            look(t, i);
}

static void ask(struct story *t, size_t i)
{
    t->used_ms[i] = t->now_ms;
    /* Who began before the last sweep may see what was whole then. */
    if (is_whole(t, i) || (t->was_whole[i] && chance(&t->b.seed, 50))) {
        look(t, i);
        t->readers[i].parked = chance(&t->b.seed, 50);
        return;
    }
    enum err e =
        mirror_want(t->b.mirror, MIRROR_SERVICE, bytes_str(followed[i]));
    assert_true(e == ERR_OK || e == ERR_EXISTS);
    t->came_back += e == ERR_OK && t->readers[i].has;
    if (e == ERR_OK)
        connect_again(&t->b);
}

/* He asks a server, and comes here later with that. */
static void ask_the_origin(struct story *t, size_t i)
{
    struct reader *r = &t->readers[i];

    r->has = digest_about(catalog_current(t->b.w->catalog), i);
    r->index = index_of(catalog_current(t->b.w->catalog), i);
    r->parked = false;
}

/* --- The story ------------------------------------------------------------- */

static uint64_t used(void *ctx, struct bytes name)
{
    const struct story *t = ctx;

    for (size_t i = 0; i < FOLLOWED; i++)
        if (bytes_is(name, followed[i]))
            return t->used_ms[i];
    fail_msg("who is %.*s?", BYTES_ARG(name));
    return 0;
}

static void sweep(struct story *t)
{
    const struct mirror_idle idle = {t->now_ms, IDLE_MS, used, t};

    for (size_t i = 0; i < FOLLOWED; i++) {
        if (t->readers[i].parked)
            t->used_ms[i] = t->now_ms;
        t->was_whole[i] = is_whole(t, i);
    }
    t->dropped += mirror_sweep(t->b.mirror, &idle);
    look_all(t);
}

static void change_origin(struct story *t)
{
    struct buf key = {0}, value = {0};
    struct both *b = &t->b;

    b->w->revision++;
    for (size_t n = 1 + below(&b->seed, 3); n; n--) {
        buf_reset(&key);
        buf_reset(&value);
        random_row(b->w, &key, &value, &b->seed);
        const struct row *r = world_key(b->w, buf_bytes(&key));
        if (key.p[0] != 'n' && chance(&b->seed, 35))
            world_delete(b->w, buf_bytes(&key));
        else if (!r || !bytes_eq(row_value(r), buf_bytes(&value)))
            world_put(b->w, buf_bytes(&key), buf_bytes(&value));
    }
    (void)world_commit(b->w);
    remember_all(t);
    buf_fini(&key);
    buf_fini(&value);
}

static void arrive(struct story *t, size_t n)
{
    struct both *b = &t->b;
    struct bytes rest = bytes_head(buf_bytes(&b->out), n);
    struct errtext text = {{0}};
    size_t sent = rest.n;

    while (rest.n) {
        size_t k = 1 + below(&b->seed, 900), before = b->committed;
        if (mirror_push(b->mirror, bytes_head(rest, k), &text) != ERR_OK)
            fail_msg("%s", text.s);
        rest = bytes_skip(rest, k);
        if (b->committed != before)
            look_all(t);
    }
    memmove(b->out.p, b->out.p + sent, b->out.n - sent);
    b->out.n -= sent;
}

static void step(struct story *t)
{
    struct both *b = &t->b;
    size_t i = below(&b->seed, FOLLOWED);

    if (chance(&b->seed, 50))
        change_origin(t);
    if (chance(&b->seed, 60))
        tell_news(b);
    arrive(t, chance(&b->seed, 60) ? b->out.n : below(&b->seed, b->out.n + 1));
    if (chance(&b->seed, 5))
        connect_again(b);
    if (chance(&b->seed, 12))
        ask(t, i);
    if (chance(&b->seed, 3))
        ask_the_origin(t, i);
    if (chance(&b->seed, 20))
        t->readers[i].parked = false;
    t->now_ms += SWEEP_MS;
    sweep(t);
}

static void on_committed(void *ctx)
{
    ((struct both *)ctx)->committed++;
}

static void begin(struct story *t, uint64_t seed)
{
    struct both *b = &t->b;

    *t = (struct story){.now_ms = 1};
    b->w = world_new();
    b->seed = seed * 2654435761u + 1;
    pin_init(&b->pins);
    b->copy = catalog_new(&b->pins);
    b->mirror = mirror_new(
        b->copy, &(struct mirror_events){.committed = on_committed, .ctx = b});
    for (size_t n = 0; n < NODES; n++) /* before what is on them, as always */
        world_put_node(b->w,
                       &(struct node_view){.name = bytes_str(node_names[n][0]),
                                           .address = bytes_str("::1")});
    assert_ok(mirror_want(b->mirror, MIRROR_NODE, bytes_str("z")));
    assert_ok(mirror_want(b->mirror, MIRROR_NODE_CHECKS, bytes_str("z")));
    change_origin(t);
    connect_again(b);
    tell_news(b);
    arrive(t, b->out.n);
}

static void end(struct story *t)
{
    for (size_t k = 0; k < KEPT; k++)
        for (size_t i = 0; i < FOLLOWED; i++)
            free(t->states[k][i]);
    mirror_free(t->b.mirror);
    catalog_free(t->b.copy);
    pin_fini(&t->b.pins);
    world_free(t->b.w);
    for (size_t i = 0; i < SUBS; i++)
        free(t->b.subs[i]);
    buf_fini(&t->b.out);
}

static void nobody_is_told_of_what_is_not_so(void **state)
{
    (void)state;
    size_t dropped = 0, came_back = 0;

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        static struct story t;
        begin(&t, seed);
        for (size_t i = 0; i < STEPS; i++)
            step(&t);
        dropped += t.dropped;
        came_back += t.came_back;
        end(&t);
    }
    assert_true(dropped > SEEDS);
    assert_true(came_back > SEEDS);
}

/* --- Single rules ---------------------------------------------------------- */

static uint64_t never(void *ctx, struct bytes name)
{
    (void)name;
    return *(const uint64_t *)ctx;
}

/* Two sweeps: hidden, then gone, its rows too. */
static void what_is_idle_goes_in_two_steps_and_frees_its_rows(void **state)
{
    (void)state;
    struct story t;
    uint64_t used_ms = 0;
    const struct mirror_idle idle = {IDLE_MS, IDLE_MS, never, &used_ms};

    begin(&t, 1);
    for (size_t i = 0; i < 80; i++)
        change_origin(&t);
    tell_news(&t.b);
    arrive(&t, t.b.out.n);
    size_t before = mirror_bytes(t.b.mirror);
    assert_ok(mirror_want(t.b.mirror, MIRROR_SERVICE, bytes_str("web")));
    connect_again(&t.b);
    tell_news(&t.b);
    arrive(&t, t.b.out.n);
    assert_true(is_whole(&t, 0));
    size_t with = mirror_bytes(t.b.mirror);
    assert_true(with > before);

    assert_int_equal(mirror_sweep(t.b.mirror, &idle), 0);
    assert_false(is_whole(&t, 0));
    assert_int_equal(mirror_bytes(t.b.mirror), with);
    assert_int_equal(mirror_sweep(t.b.mirror, &idle), 1);
    assert_int_equal(mirror_bytes(t.b.mirror), before);
    assert_int_equal(mirror_subscriptions(t.b.mirror), 2);
    end(&t);
}

static void what_is_used_or_wanted_between_the_steps_stays(void **state)
{
    (void)state;
    struct story t;
    uint64_t used_ms = 0;
    const struct mirror_idle idle = {IDLE_MS, IDLE_MS, never, &used_ms};

    begin(&t, 2);
    assert_ok(mirror_want(t.b.mirror, MIRROR_SERVICE, bytes_str("web")));
    connect_again(&t.b);
    tell_news(&t.b);
    arrive(&t, t.b.out.n);
    uint64_t index = index_of(catalog_current(t.b.copy), 0);

    assert_int_equal(mirror_sweep(t.b.mirror, &idle), 0);
    used_ms = 1;
    assert_int_equal(mirror_sweep(t.b.mirror, &idle), 0);
    assert_true(is_whole(&t, 0));

    used_ms = 0;
    assert_int_equal(mirror_sweep(t.b.mirror, &idle), 0);
    assert_false(is_whole(&t, 0));
    assert_int_equal(mirror_want(t.b.mirror, MIRROR_SERVICE, bytes_str("WEB")),
                     ERR_EXISTS);
    assert_true(is_whole(&t, 0));
    assert_int_equal(index_of(catalog_current(t.b.copy), 0), index);
    end(&t);
}

/* Made-up names (DNS) must not keep others out for long. */
static void names_without_instances_go_first_when_it_is_crowded(void **state)
{
    (void)state;
    struct story t;
    char name[32];
    uint64_t used_ms = 1;
    const struct mirror_idle idle = {1 + IDLE_MS / MIRROR_CROWDED_SHARE,
                                     IDLE_MS, never, &used_ms};

    begin(&t, 3);
    for (int i = 0; i < MIRROR_SUBSCRIPTIONS_MAX - 2; i++) {
        snprintf(name, sizeof name, "s%d", i);
        assert_ok(mirror_want(t.b.mirror, MIRROR_SERVICE, bytes_str(name)));
    }
    assert_int_equal(mirror_want(t.b.mirror, MIRROR_SERVICE, bytes_str("more")),
                     ERR_FULL);
    assert_int_equal(mirror_sweep(t.b.mirror, &idle), 0);
    assert_true(mirror_sweep(t.b.mirror, &idle) > 0);
    assert_ok(mirror_want(t.b.mirror, MIRROR_SERVICE, bytes_str("more")));
    end(&t);
}

static void bytes_are_bounded_too(void **state)
{
    (void)state;
    struct story t;

    begin(&t, 4);
    mirror_bound(t.b.mirror, 0);
    for (size_t i = 0; i < 20; i++)
        change_origin(&t);
    tell_news(&t.b);
    arrive(&t, t.b.out.n);
    assert_true(mirror_bytes(t.b.mirror) > 0);
    assert_int_equal(mirror_want(t.b.mirror, MIRROR_SERVICE, bytes_str("web")),
                     ERR_FULL);
    end(&t);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(nobody_is_told_of_what_is_not_so),
    cmocka_unit_test(what_is_idle_goes_in_two_steps_and_frees_its_rows),
    cmocka_unit_test(what_is_used_or_wanted_between_the_steps_stays),
    cmocka_unit_test(names_without_instances_go_first_when_it_is_crowded),
    cmocka_unit_test(bytes_are_bounded_too),
};

RUN_TESTS(tests)
