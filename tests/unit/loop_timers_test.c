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

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(timers_fire_once_in_the_order_of_their_time),
    cmocka_unit_test(a_timer_can_be_moved_and_cleared),
    cmocka_unit_test(a_timer_that_sets_itself_at_once_lets_the_loop_go_on),
    cmocka_unit_test(timers_may_set_and_clear_each_other),
    cmocka_unit_test(after_close_nothing_fires),
};

RUN_TESTS(tests)
