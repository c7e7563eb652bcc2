/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What the balancer refuses, and that lack of memory is an error like any
 * other. */
#include "lb_world.h"

#include "fail_malloc.h"

static const char *policy_name(size_t i)
{
    return lb_policies[i] ? lb_policies[i]->name : NULL;
}

/* --- Bad input ----------------------------------------------------------- */

static void wrong_options_are_told_apart(void **state)
{
    (void)state;
    struct lb *b = NULL;
    struct errtext t;
    struct lb_options o = world_options("fastest");

    assert_int_equal(lb_new(&o, &b, &t), ERR_BAD);
    assert_string_equal(
        t.s, "no policy \"fastest\"; there are: round-robin random smooth edf "
             "weighted-random ketama maglev rendezvous jump least-request p2c "
             "peak-ewma weighted-least-request");
    o = world_options("maglev");
    o.maglev_size = 65536;
    assert_int_equal(lb_new(&o, &b, &t), ERR_BAD);
    assert_non_null(strstr(t.s, "65536, must be prime"));
    o = world_options("ketama");
    o.bounded_percent = 90;
    assert_int_equal(lb_new(&o, &b, &t), ERR_LIMIT);
    assert_string_equal(
        t.s, "bounded load is 90, must be 0 (off), or 101 to 100000");
    o = world_options("p2c");
    o.bias = NAN;
    assert_int_equal(lb_new(&o, &b, &t), ERR_BAD);
}

static void wrong_endpoints_change_nothing(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("random");
    static char longer[LB_TEXT_MAX + 2];

    memset(longer, 'a', sizeof longer - 1);
    world_init(&w, 3);
    world_start(&w, &o);
    w.v[2].weight = 70000;
    assert_int_equal(lb_update(w.b, w.v, 3, w.now_ms, &w.t), ERR_LIMIT);
    assert_non_null(strstr(w.t.s, "10.0.0.2:8080 has weight 70000"));
    w.v[2].weight = 1;
    w.v[2].address = bytes_str(longer);
    assert_int_equal(lb_update(w.b, w.v, 3, w.now_ms, &w.t), ERR_LIMIT);
    assert_non_null(strstr(w.t.s, "must have 1 to 255"));
    w.v[2].address = bytes_str("");
    assert_int_equal(lb_update(w.b, w.v, 3, w.now_ms, &w.t), ERR_LIMIT);
    assert_int_equal(world_state(&w).listed, 3);
    assert_int_equal(lb_update(w.b, w.v, LB_ENDPOINTS_MAX + 1, 0, &w.t),
                     ERR_LIMIT);
    world_run(&w, 10);
    world_fini(&w);
}

/* --- Lack of memory ------------------------------------------------------ */

/* The n-th allocation fails: the picks of before go on, nothing leaks. */
static void no_memory(const char *policy)
{
    struct world w;
    struct lb_options o = world_options(policy);
    long failures = 0;

    o.subset_size = 25;
    world_init(&w, 20);
    world_start(&w, &o);
    for (long nth = 1;; nth++) {
        w.n = 20 + (size_t)nth % 7;
        for (size_t i = 0; i < w.n; i++)
            w.v[i].weight = (uint32_t)(i % 3 + 1);
        fail_malloc_in = nth;
        enum err e = lb_update(w.b, w.v, w.n, w.now_ms, &w.t);
        bool failed = fail_malloc_off();
        world_run(&w, 20);
        if (!failed) {
            assert_ok(e);
            break;
        }
        failures += e == ERR_NOMEM;
        assert_true(e == ERR_NOMEM || e == ERR_OK); /* qsort does without */
        world_tick(&w, LB_LINGER_MS);
    }
    assert_true(failures > 3);
    for (long nth = 1;; nth++) {
        lb_set_rank(w.b, 1); /* something to do */
        fail_malloc_in = nth;
        enum err e = lb_tick(w.b, w.now_ms);
        if (!fail_malloc_off())
            break;
        assert_true(e == ERR_NOMEM || e == ERR_OK);
        assert_true(e == ERR_OK || lb_wants_tick(w.b));
        world_run(&w, 20);
    }
    world_fini(&w);
}

static void lack_of_memory_is_an_error_and_nothing_else(void **state)
{
    (void)state;
    for (size_t p = 0; policy_name(p); p++) {
        long live = fail_malloc_live;
        no_memory(policy_name(p));
        assert_int_equal(fail_malloc_live, live);
    }
    for (long nth = 1;; nth++) {
        struct lb_options o = world_options("p2c");
        struct lb *b = NULL;
        struct errtext t;
        long live = fail_malloc_live;

        fail_malloc_in = nth;
        enum err e = lb_new(&o, &b, &t);
        bool failed = fail_malloc_off();
        lb_free(b);
        assert_int_equal(fail_malloc_live, live);
        if (!failed)
            break;
        assert_int_equal(e, ERR_NOMEM);
    }
}

static void picks_and_reports_allocate_nothing(void **state)
{
    (void)state;
    for (size_t p = 0; policy_name(p); p++) {
        struct world w;
        struct lb_options o = world_options(policy_name(p));

        world_init(&w, 30);
        world_start(&w, &o);
        long before = fail_malloc_bytes;
        world_run(&w, 1000);
        assert_int_equal(fail_malloc_bytes, before);
        world_fini(&w);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(wrong_options_are_told_apart),
    cmocka_unit_test(wrong_endpoints_change_nothing),
    cmocka_unit_test(lack_of_memory_is_an_error_and_nothing_else),
    cmocka_unit_test(picks_and_reports_allocate_nothing),
};

RUN_TESTS(tests)
