/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "loop/timers.h"

#include "test.h"

#include "base/list.h"

/* Timers that write their number into a log when they fire. */
enum { LOG_MAX = 64 };

struct log {
    uv_loop_t loop;
    struct timers timers;
    int n[LOG_MAX];
    int count;
};

struct numbered {
    struct timer timer;
    struct log *log;
    int number;
    int again; /* set itself so many more times */
    struct numbered *clears, *sets;
};

static void fire(struct timer *t)
{
    struct numbered *x = container_of(t, struct numbered, timer);

    assert_true(x->log->count < LOG_MAX);
    x->log->n[x->log->count++] = x->number;
    if (x->again-- > 0)
        timer_set(&x->log->timers, t, 0);
    if (x->clears)
        timer_clear(&x->log->timers, &x->clears->timer);
    if (x->sets)
        timer_set(&x->log->timers, &x->sets->timer, 0);
}

static struct numbered numbered(struct log *l, int number)
{
    return (struct numbered){.timer.fire = fire, .log = l, .number = number};
}

static void log_init(struct log *l)
{
    memset(l, 0, sizeof *l);
    assert_int_equal(uv_loop_init(&l->loop), 0);
    assert_ok(timers_init(&l->timers, &l->loop));
}

static void log_fini(struct log *l)
{
    timers_close(&l->timers);
    assert_int_equal(uv_run(&l->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&l->loop), 0);
}

static void expect_log(struct log *l, const int *want, int count)
{
    assert_int_equal(l->count, count);
    for (int i = 0; i < count; i++)
        assert_int_equal(l->n[i], want[i]);
}

/* A loop ends by itself when no timer is left. */
static void timers_fire_once_in_the_order_of_their_time(void **state)
{
    struct log l;
    (void)state;
    log_init(&l);
    struct numbered a = numbered(&l, 1), b = numbered(&l, 2),
                    c = numbered(&l, 3);

    timer_set(&l.timers, &c.timer, 9);
    timer_set(&l.timers, &a.timer, 1);
    timer_set(&l.timers, &b.timer, 5);
    assert_int_equal(uv_run(&l.loop, UV_RUN_DEFAULT), 0);
    expect_log(&l, (int[]){1, 2, 3}, 3);
    log_fini(&l);
}

static void a_timer_can_be_moved_and_cleared(void **state)
{
    struct log l;
    (void)state;
    log_init(&l);
    struct numbered a = numbered(&l, 1), b = numbered(&l, 2),
                    c = numbered(&l, 3);

    timer_set(&l.timers, &a.timer, 1);
    timer_set(&l.timers, &b.timer, 2);
    timer_set(&l.timers, &c.timer, 3);
    timer_set(&l.timers, &a.timer, 6); /* to later, once its time is set */
    timer_clear(&l.timers, &b.timer);
    timer_clear(&l.timers, &b.timer); /* harmless */
    assert_int_equal(uv_run(&l.loop, UV_RUN_DEFAULT), 0);
    expect_log(&l, (int[]){3, 1}, 2);

    timer_set(&l.timers, &a.timer, UINT64_MAX); /* never, and no overflow */
    timer_set(&l.timers, &b.timer, 1);
    timer_set(&l.timers, &c.timer, 100 * 1000);
    timer_set(&l.timers, &c.timer, 2); /* to earlier */
    while (l.count < 4)
        assert_int_not_equal(uv_run(&l.loop, UV_RUN_ONCE), 0);
    expect_log(&l, (int[]){3, 1, 2, 3}, 4);
    timer_clear(&l.timers, &a.timer);
    assert_int_equal(uv_run(&l.loop, UV_RUN_DEFAULT), 0);
    log_fini(&l);
}

static void a_timer_that_sets_itself_at_once_lets_the_loop_go_on(void **state)
{
    struct log l;
    (void)state;
    log_init(&l);
    struct numbered a = numbered(&l, 1);

    a.again = 20;
    timer_set(&l.timers, &a.timer, 0);
    assert_int_equal(l.count, 0);
    int before = 0;
    while (uv_run(&l.loop, UV_RUN_ONCE) != 0) {
        /* libuv looks at timers twice in such a turn. */
        assert_true(l.count <= before + 2);
        before = l.count;
    }
    assert_int_equal(l.count, 21);
    log_fini(&l);
}

static void timers_may_set_and_clear_each_other(void **state)
{
    struct log l;
    (void)state;
    log_init(&l);
    struct numbered a = numbered(&l, 1), b = numbered(&l, 2),
                    c = numbered(&l, 3);

    a.clears = &b;
    a.sets = &c;
    timer_set(&l.timers, &a.timer, 1);
    timer_set(&l.timers, &b.timer, 1);
    assert_int_equal(uv_run(&l.loop, UV_RUN_DEFAULT), 0);
    /* b is due at the same time: whichever comes first. */
    assert_int_equal(l.n[l.count - 1], 3);
    assert_true(l.count == 2 || l.count == 3);
    log_fini(&l);
}

static void after_close_nothing_fires(void **state)
{
    struct log l;
    (void)state;
    log_init(&l);
    struct numbered a = numbered(&l, 1);

    timer_set(&l.timers, &a.timer, 1);
    timers_close(&l.timers);
    assert_false(a.timer.item.in);
    timer_set(&l.timers, &a.timer, 1);
    assert_false(a.timer.item.in);
    log_fini(&l); /* a second close is harmless */
    assert_int_equal(l.count, 0);
}

/* What is left over is due in the next turn; nothing is lost, none comes twice. */
static void a_budget_ends_a_turn(void **state)
{
    (void)state;
    enum { TIMERS = 7 };
    struct log l;
    struct numbered x[TIMERS];
    struct loop_budget b = {0};
    int turns = 0;

    log_init(&l);
    l.timers.budget = &b;
    for (int i = 0; i < TIMERS; i++) {
        x[i] = numbered(&l, i);
        timer_set(&l.timers, &x[i].timer, 1);
    }
    while (l.count < TIMERS && turns < 1000) {
        int before = l.count;
        budget_begin(&b, 3, 1000000000);
        (void)uv_run(&l.loop, UV_RUN_ONCE);
        assert_true(l.count - before <= 3);
        assert_int_equal(b.left, 3 - (l.count - before));
        budget_end(&b);
        turns += l.count > before;
    }
    assert_int_equal(turns, 3);
    for (int i = 0; i < TIMERS; i++)
        for (int k = 0; k < i; k++)
            assert_int_not_equal(l.n[i], l.n[k]);
    budget_begin(&b, 100, 0); /* no time is none, too */
    x[0].again = 0;
    timer_set(&l.timers, &x[0].timer, 1);
    for (int i = 0; i < 3; i++)
        (void)uv_run(&l.loop, UV_RUN_ONCE);
    assert_int_equal(l.count, TIMERS);
    assert_true(b.starved);
    log_fini(&l);
}

/* A source that is always ready has its turn, and then waits for the others. */
static void who_was_served_waits_for_the_round(void **state)
{
    (void)state;
    enum { SOURCES = 5, TURNS = 50 };
    uint64_t round[SOURCES] = {0};
    int served[SOURCES] = {0};
    struct loop_budget b = {0};

    for (int t = 0; t < TURNS; t++) {
        budget_begin(&b, 2, 1000000000);
        for (int i = 0; i < SOURCES; i++) /* the first is first each time */
            served[i] += budget_take_turn(&b, &round[i]);
        budget_end(&b);
    }
    for (int i = 1; i < SOURCES; i++)
        assert_true(served[0] - served[i] <= 1 && served[i] >= TURNS / 3);
    assert_true(budget_take_turn(NULL, &round[0]) && budget_take(NULL));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_budget_ends_a_turn),
    cmocka_unit_test(who_was_served_waits_for_the_round),
    cmocka_unit_test(timers_fire_once_in_the_order_of_their_time),
    cmocka_unit_test(a_timer_can_be_moved_and_cleared),
    cmocka_unit_test(a_timer_that_sets_itself_at_once_lets_the_loop_go_on),
    cmocka_unit_test(timers_may_set_and_clear_each_other),
    cmocka_unit_test(after_close_nothing_fires),
};

RUN_TESTS(tests)
