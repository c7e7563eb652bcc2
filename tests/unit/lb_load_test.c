/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Policies that look at load and latency; the retry budget. */
#include "lb_world.h"

#include "lb/flight.h"

/* Balls into bins: nobody reports, so requests in flight are the balls. */
static uint32_t fullest(const char *policy, size_t bins, size_t balls)
{
    struct world w;
    struct lb_options o = world_options(policy);
    struct lb_ticket t;
    uint32_t most = 0;

    world_init(&w, bins);
    world_start(&w, &o);
    for (size_t i = 0; i < balls; i++)
        w.count[world_pick(&w, &t)]++;
    for (size_t i = 0; i < bins; i++)
        most = w.count[i] > most ? w.count[i] : most;
    world_fini(&w);
    return most;
}

static void two_choices_leave_nobody_above_3_over_the_mean(void **state)
{
    (void)state;
    assert_true(fullest("p2c", 1000, 1000000) <= 1003);
    assert_true(fullest("random", 1000, 1000000) >= 1060);
    assert_true(fullest("least-request", 1000, 100000) <= 104);
}

/* One that never answers keeps as many requests as the others have, and a few. */
static void a_host_that_hangs_gets_no_more_than_the_others(const char *policy)
{
    struct world w;
    struct lb_options o = world_options(policy);
    enum { OPEN = 40, ROUNDS = 4000 };
    static struct lb_ticket open[OPEN];
    size_t n = 0, hanging = 0;

    world_init(&w, 8);
    world_start(&w, &o);
    for (size_t i = 0; i < ROUNDS; i++) {
        struct lb_ticket t;
        if (world_pick(&w, &t) == 5)
            hanging++;
        else if (n < OPEN)
            open[n++] = t;
        else { /* the others answer in the order they were asked */
            assert_ok(lb_report(w.b, &open[i % OPEN], LB_OK, 5, w.now_ms));
            open[i % OPEN] = t;
        }
    }
    assert_true(hanging <= OPEN / 7 + 12);
    world_fini(&w);
}

static void hanging_hosts_are_left_alone(void **state)
{
    (void)state;
    a_host_that_hangs_gets_no_more_than_the_others("p2c");
    a_host_that_hangs_gets_no_more_than_the_others("least-request");
}

/* At a fixed number in flight, shares are weight / (active + 1)^bias. */
static void shares_follow(double bias)
{
    struct world w;
    struct lb_options o = world_options("weighted-least-request");
    static const uint32_t weights[] = {2, 1, 1, 4}, active[] = {4, 0, 1, 7};
    double share[4];
    struct lb_ticket t;

    o.bias = bias;
    world_init(&w, 4);
    for (size_t i = 0; i < 4; i++)
        w.v[i].weight = weights[i];
    world_start(&w, &o);
    for (size_t i = 0; i < 4; i++)
        for (uint32_t k = 0; k < active[i];) {
            if (world_pick(&w, &t) == i)
                k++;
            else
                assert_ok(lb_report(w.b, &t, LB_CANCELED, 0, w.now_ms));
        }
    for (size_t i = 0; i < 4; i++)
        share[i] = weights[i] / pow(active[i] + 1, bias);
    if (bias == 1)
        assert_true(fabs(share[0] - 0.4) < 1e-9); /* Envoy's example */
    world_run(&w, 100000);
    assert_true(chi_square(w.count, share, 4) < chi_limit(3));
    world_fini(&w);
}

static void weighted_least_request_follows_envoys_formula(void **state)
{
    (void)state;
    shares_follow(1);
    shares_follow(0);
    shares_follow(2);
}

static void it_does_nearly_so_for_many(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("weighted-least-request");
    uint32_t heavy = 0;

    world_init(&w, 100);
    for (size_t i = 0; i < 50; i++)
        w.v[i].weight = 3;
    world_start(&w, &o);
    world_run(&w, 100000);
    for (size_t i = 0; i < 50; i++)
        heavy += w.count[i];
    assert_in_range(heavy, 74000, 76000);
    world_fini(&w);
}

static void p2c_keeps_weights(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("p2c");
    static const double share[] = {3, 2, 1};

    world_init(&w, 3);
    for (size_t i = 0; i < 3; i++)
        w.v[i].weight = (uint32_t)share[i];
    world_start(&w, &o);
    world_run(&w, 60000);
    assert_true(chi_square(w.count, share, 3) < chi_limit(2));
    world_fini(&w);
}

/* --- Peak EWMA ----------------------------------------------------------- */

static void near_to(double got, double want)
{
    if (fabs(got - want) > 0.002 * want + 1e-9)
        fail_msg("got %g, want %g", got, want);
}

static void a_peak_is_believed_at_once_and_fades(void **state)
{
    (void)state;
    struct lb_host h = {0};
    static const struct {
        uint32_t ms;
        double factor;
    } fades[] = {{1000, .905}, {5000, .607}, {10000, .368}, {23000, .1}};

    assert_true(lb_ewma_cost(&h, 5, 10000) == 0);
    lb_ewma_sample(&h, 1000, 100, 10000);
    lb_ewma_sample(&h, 9000, 101, 10000);
    near_to(lb_ewma_cost(&h, 101, 10000), 9000);
    for (size_t i = 0; i < 4; i++)
        near_to(lb_ewma_cost(&h, 101 + fades[i].ms, 10000),
                9000 * exp(-(double)fades[i].ms / 10000));
    near_to(exp(-2.3), .1003);
    /* Down by the share of time that passed: cost e^-x + rtt (1 - e^-x). */
    lb_ewma_sample(&h, 1000, 10101, 10000);
    near_to(lb_ewma_cost(&h, 10101, 10000),
            9000 * exp(-1) + 1000 * (1 - exp(-1)));
}

static void a_clock_that_goes_back_changes_no_cost(void **state)
{
    (void)state;
    struct lb_host h = {0};

    lb_ewma_sample(&h, 4000, 50000, 10000);
    near_to(lb_ewma_cost(&h, 20000, 10000), 4000);
    lb_ewma_sample(&h, 100, 20000, 10000);
    near_to(lb_ewma_cost(&h, 50000, 10000), 4000);
    /* Around the wrap of 32 bits of ms, time goes on. */
    h = (struct lb_host){0};
    lb_ewma_sample(&h, 8000, UINT32_MAX - 4999, 10000);
    near_to(lb_ewma_cost(&h, 5000, 10000), 8000 * exp(-1));
}

/* A server's time is its own plus a queue: the fastest takes nearly all until
 * that costs as much as the next one. */
static void run_latencies(struct world *w, const uint32_t *us, size_t n)
{
    struct lb_ticket t;

    memset(w->count, 0, WORLD_MAX * sizeof *w->count);
    for (size_t i = 0; i < n; i++) {
        size_t k = world_pick(w, &t);
        w->count[k]++;
        assert_ok(lb_report(w->b, &t, LB_OK, us[k], w->now_ms));
        if (i % 10 == 0)
            w->now_ms++;
        if (i % 10000 == 0)
            assert_ok(lb_tick(w->b, w->now_ms));
    }
}

static void peak_ewma_goes_where_answers_come_sooner(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("peak-ewma");
    uint32_t us[] = {1000, 20000, 30000};

    world_init(&w, 3);
    world_start(&w, &o);
    run_latencies(&w, us, 30000);
    /* Pairs: the fastest is in two of three, and then wins. */
    assert_in_range(w.count[0], 18000, 21000);
    assert_in_range(w.count[2], 0, 1000);
    us[0] = 30000;
    us[2] = 1000;
    run_latencies(&w, us, 1000000); /* 100 s: the old peak has faded */
    run_latencies(&w, us, 30000);
    assert_in_range(w.count[2], 18000, 21000);
    assert_in_range(w.count[0], 0, 1000);
    world_fini(&w);
}

/* A newcomer gets about what the others get: no flood, no famine. */
static void a_newcomer_is_neither_flooded_nor_starved(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("peak-ewma");
    static const uint32_t us[] = {5000, 5000, 5000, 5000, 5000};
    struct lb_ticket t;
    uint32_t count = 0;

    world_init(&w, 4);
    world_start(&w, &o);
    run_latencies(&w, us, 20000);
    assert_ok(lb_tick(w.b, w.now_ms));
    w.n = 5;
    world_update(&w);
    for (int i = 0; i < 1000; i++) /* before its first answer is there */
        count += world_pick(&w, &t) == 4;
    assert_in_range(count, 150, 250);
    world_fini(&w);
}

/* --- Requests in flight -------------------------------------------------- */

static void what_is_never_reported_runs_out(void **state)
{
    (void)state;
    struct lb_flight f = {0};
    uint64_t ms = 123456;
    uint32_t tag = lb_flight_add(&f, lb_flight_tag(ms));

    assert_int_equal(lb_flight_count(&f, lb_flight_tag(ms)), 1);
    assert_int_equal(lb_flight_count(&f, lb_flight_tag(ms + 59999)), 1);
    assert_int_equal(lb_flight_count(&f, lb_flight_tag(ms + 80000)), 0);
    /* Its cell belongs to somebody else now: nothing is taken from them. */
    uint32_t later = lb_flight_add(&f, lb_flight_tag(ms + 80000));
    assert_false(lb_flight_sub(&f, tag));
    assert_int_equal(lb_flight_count(&f, later), 1);
    assert_true(lb_flight_sub(&f, later));
    assert_false(lb_flight_sub(&f, later));
    assert_int_equal(lb_flight_count(&f, later), 0);
}

static void a_clock_that_goes_back_empties_no_cell(void **state)
{
    (void)state;
    struct lb_flight f = {0};
    uint32_t now = lb_flight_tag(10000000);
    uint32_t a = lb_flight_add(&f, now);
    uint32_t b = lb_flight_add(&f, now - LB_FLIGHT_CELLS);

    assert_int_equal(lb_flight_count(&f, now - LB_FLIGHT_CELLS), 2);
    assert_true(lb_flight_sub(&f, a));
    assert_true(lb_flight_sub(&f, b));
    assert_int_equal(lb_flight_count(&f, now), 0);
}

/* --- Retry budget -------------------------------------------------------- */

static void when_all_fails_load_grows_by_a_fifth(void **state)
{
    (void)state;
    struct lb_budget b = {.percent = 20, .per_second = 10};
    uint64_t offered = 0;
    enum { SECONDS = 60, RATE = 1000 };

    for (uint64_t ms = 0; ms < SECONDS * 1000; ms++) {
        lb_budget_request(&b, ms);
        offered++;
        for (int k = 0; k < 3 && lb_budget_retry(&b, ms); k++)
            offered++;
    }
    assert_true(offered <= SECONDS * (RATE * 12 / 10 + 10) + 100);
    assert_true(offered >= SECONDS * RATE * 115 / 100);
}

static void who_asks_rarely_has_a_few_retries(void **state)
{
    (void)state;
    struct lb_budget b = {.percent = 20, .per_second = 10};
    int n = 0;

    lb_budget_request(&b, 1000);
    while (lb_budget_retry(&b, 1000))
        n++;
    assert_int_equal(n, 100); /* ten seconds' worth */
    assert_false(lb_budget_retry(&b, 5000));
    assert_true(lb_budget_retry(&b, 11000));
    struct lb_budget none = {0};
    lb_budget_request(&none, 1000);
    assert_false(lb_budget_retry(&none, 1000));
}

static void latencies_are_known_within_a_quarter(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("random");
    struct lb_ticket t;

    world_init(&w, 3);
    world_start(&w, &o);
    assert_int_equal(lb_latency_us(w.b, 95), 0);
    for (uint32_t i = 1; i <= 1000; i++) {
        (void)world_pick(&w, &t);
        assert_ok(lb_report(w.b, &t, LB_OK, i * 10, w.now_ms));
    }
    assert_in_range(lb_latency_us(w.b, 50), 5000, 6300);
    assert_in_range(lb_latency_us(w.b, 95), 9500, 12000);
    assert_in_range(lb_latency_us(w.b, 100), 10000, 12500);
    world_fini(&w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(two_choices_leave_nobody_above_3_over_the_mean),
    cmocka_unit_test(hanging_hosts_are_left_alone),
    cmocka_unit_test(weighted_least_request_follows_envoys_formula),
    cmocka_unit_test(it_does_nearly_so_for_many),
    cmocka_unit_test(p2c_keeps_weights),
    cmocka_unit_test(a_peak_is_believed_at_once_and_fades),
    cmocka_unit_test(a_clock_that_goes_back_changes_no_cost),
    cmocka_unit_test(peak_ewma_goes_where_answers_come_sooner),
    cmocka_unit_test(a_newcomer_is_neither_flooded_nor_starved),
    cmocka_unit_test(what_is_never_reported_runs_out),
    cmocka_unit_test(a_clock_that_goes_back_empties_no_cell),
    cmocka_unit_test(when_all_fails_load_grows_by_a_fifth),
    cmocka_unit_test(who_asks_rarely_has_a_few_retries),
    cmocka_unit_test(latencies_are_known_within_a_quarter),
};

RUN_TESTS(tests)
