/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Who is alive, on a virtual clock: the test says who is heard, by which server,
 * and what observers find. Stories of it all are told by tests/sim/liveness_sim.c. */
#include "duty/liveness.h"

#include <stdio.h>

#include "catalog_plans.h"

enum { STEP_MS = LIVENESS_TICK_MS, LOG_MAX = 64 };

struct watch {
    struct world *w;
    struct liveness *l;
    uint64_t now_ms;
    enum liveness_verdict says; /* each observer, at once */
    char asked[LOG_MAX][16];    /* observers */
    uint64_t asked_ms[LOG_MAX];
    size_t asked_n;
    struct plan plan;
    bool flying;
};

/* --- The catalog ----------------------------------------------------------- */

static void put_node(struct watch *t, const char *name, bool server)
{
    struct buf meta = {0};

    packed_put_pair(&meta, bytes_str(LIVENESS_META), bytes_str("8301"));
    t->w->revision++;
    world_put_node(t->w,
                   &(struct node_view){
                       .name = bytes_str(name),
                       .address = bytes_str("10.0.0.1"),
                       .meta = server ? (struct packed){0}
                                      : (struct packed){buf_bytes(&meta), 1},
                       .meta_set = true});
    if (server)
        world_put_service(t->w, name,
                          &(struct service_view){.id = bytes_str("consul"),
                                                 .name = bytes_str("consul"),
                                                 .meta = {buf_bytes(&meta), 1},
                                                 .meta_set = true});
    world_put_check(t->w, name,
                    &(struct check_view){.id = bytes_str(LIVENESS_CHECK),
                                         .status = bytes_str("passing")});
    (void)world_commit(t->w);
    buf_fini(&meta);
}

static struct check_view check_of(const struct watch *t, const char *name)
{
    const struct cat_node *n =
        snapshot_node(catalog_current(t->w->catalog), bytes_str(name));
    struct check_view v = {0};

    assert_non_null(n);
    cat_check_view(cat_node_check(n, bytes_str(LIVENESS_CHECK)), &v);
    return v;
}

static bool is_failed(const struct watch *t, const char *name)
{
    return bytes_is(check_of(t, name).status, "critical");
}

/* --- The machine ----------------------------------------------------------- */

static void on_probe(void *ctx, struct bytes observer, struct bytes node,
                     struct bytes host, int64_t port)
{
    struct watch *t = ctx;

    (void)host;
    assert_int_equal(port, 8301);
    assert_true(t->asked_n < LOG_MAX);
    (void)snprintf(t->asked[t->asked_n], sizeof t->asked[0], "%.*s",
                   BYTES_ARG(observer));
    t->asked_ms[t->asked_n++] = t->now_ms;
    liveness_probed(t->l, observer, node, t->says, t->now_ms);
}

static void on_commit(void *ctx, const struct plan *p, const char *what)
{
    struct watch *t = ctx;

    (void)what;
    t->plan = *p;
    t->flying = true;
}

static void begin(struct watch *t)
{
    const struct store_guard fence = {.kind = GUARD_ABSENT,
                                      .key = bytes_str("fence")};

    *t = (struct watch){
        .w = world_new(), .now_ms = 1000, .says = LIVENESS_UNREACHABLE};
    t->l = liveness_new(&(struct liveness_options){.catalog = t->w->catalog,
                                                   .seed = 7,
                                                   .probe = on_probe,
                                                   .commit = on_commit,
                                                   .ctx = t});
    liveness_gained(t->l, &fence, t->now_ms);
}

static void end(struct watch *t)
{
    liveness_free(t->l);
    world_free(t->w);
}

static void report(struct watch *t, const char *server, const char *const *who)
{
    liveness_report(t->l, bytes_str(server), 0, t->now_ms);
    for (; *who; who++)
        liveness_heard(t->l, bytes_str(*who), 0, t->now_ms);
}

static void tick(struct watch *t)
{
    liveness_run(t->l, t->now_ms, 0);
    if (t->flying) {
        t->flying = false;
        plan_apply(t->w, &t->plan);
        liveness_committed(t->l, true, t->w->revision);
    }
    t->now_ms += STEP_MS;
}

/* One server, which reports these each second. */
static void pass(struct watch *t, uint64_t ms, const char *const *who)
{
    for (uint64_t i = 0; i < ms / STEP_MS; i++) {
        if (i % 4 == 0)
            report(t, "s1", who);
        tick(t);
    }
}

/* --- Tests ----------------------------------------------------------------- */

static const char *const but_dead[] = {"s1", "s2", "s3", "a1", NULL};

static void put_all(struct watch *t)
{
    put_node(t, "s1", true);
    put_node(t, "s2", true);
    put_node(t, "s3", true);
    put_node(t, "a1", false);
    put_node(t, "dead", false);
}

/* The one agent there is must not be missed because servers are drawn, which are
 * not asked; nor is he asked twice in a round. */
static void agents_observe_each_once_a_round_and_servers_do_not(void **state)
{
    (void)state;
    struct watch t;
    begin(&t);
    put_all(&t);
    pass(&t, LIVENESS_FAIL_MS + 2000, but_dead);
    assert_true(t.asked_n >= 2);
    for (size_t i = 0; i < t.asked_n; i++) {
        assert_string_equal(t.asked[i], "a1");
        assert_true(i == 0 ||
                    t.asked_ms[i] >= t.asked_ms[i - 1] + LIVENESS_ROUND_MS);
    }
    assert_true(is_failed(&t, "dead"));
    assert_false(is_failed(&t, "a1"));
    end(&t);
}

static void one_observer_is_no_evidence_however_often_he_is_asked(void **state)
{
    (void)state;
    struct watch t;
    begin(&t);
    put_all(&t);
    pass(&t, LIVENESS_FAIL_MS + 2000, but_dead);
    assert_true(is_failed(&t, "dead"));
    assert_int_equal(check_of(&t, "dead").marks.cause, CAUSE_SILENCE);
    end(&t);
}

static void two_observers_are_evidence_unless_one_was_refused(void **state)
{
    (void)state;
    static const char *const others[] = {"a1", "a2", "a3", NULL};
    for (int refused = 0; refused < 2; refused++) {
        struct watch t;
        begin(&t);
        put_node(&t, "a1", false);
        put_node(&t, "a2", false);
        put_node(&t, "a3", false);
        put_node(&t, "dead", false);
        pass(&t, LIVENESS_SUSPECT_MS + 1000, others);
        assert_int_equal(t.asked_n, 3);
        if (refused)
            t.says = LIVENESS_REFUSED;
        pass(&t, LIVENESS_FAIL_MS, others);
        assert_true(is_failed(&t, "dead"));
        assert_int_equal(check_of(&t, "dead").marks.cause,
                         refused ? CAUSE_SILENCE : CAUSE_EVIDENCE);
        end(&t);
    }
}

/* Their agents have time to find another server, which they had not if the two
 * servers were taken for one. */
static void servers_with_long_names_are_told_apart(void **state)
{
    (void)state;
#define LONG "0123456789012345678901234567890123456789012345678901234567890123"
    static const char *const two[] = {"a2", NULL}, *const one[] = {"a1", NULL};
    struct watch t;
    begin(&t);
    put_node(&t, "a1", false);
    put_node(&t, "a2", false);
    tick(&t);
    report(&t, LONG "one", one);
    for (int i = 0; i * STEP_MS < LIVENESS_FAIL_MS + 1000; i++) {
        if (i % 4 == 0)
            report(&t, LONG "two", two);
        tick(&t);
    }
    assert_false(is_failed(&t, "a1"));
    end(&t);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(agents_observe_each_once_a_round_and_servers_do_not),
    cmocka_unit_test(one_observer_is_no_evidence_however_often_he_is_asked),
    cmocka_unit_test(two_observers_are_evidence_unless_one_was_refused),
    cmocka_unit_test(servers_with_long_names_are_told_apart),
};

RUN_TESTS(tests)
