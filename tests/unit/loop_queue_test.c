/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "loop/queue.h"

#include <pthread.h>

#include "test.h"

enum { PRODUCERS = 4, PER_PRODUCER = 5000 };

struct item {
    struct list link;
    int producer, number;
};

struct taker {
    struct queue *q;
    size_t got, calls, stop_at;
    int last[PRODUCERS];
    bool out_of_order;
};

static void take(void *ctx, struct list *items)
{
    struct taker *t = ctx;

    t->calls++;
    list_each (it, items) {
        struct item *i = container_of(it, struct item, link);

        t->out_of_order |= i->number != t->last[i->producer] + 1;
        t->last[i->producer] = i->number;
        t->got++;
        free(i);
    }
    list_init(items);
    if (t->stop_at && t->got == t->stop_at) {
        t->stop_at = 0;
        queue_close(t->q);
    }
}

static struct item *item_new(int producer, int number)
{
    struct item *i = calloc(1, sizeof *i);

    assert_non_null(i);
    i->producer = producer;
    i->number = number;
    return i;
}

static void taker_init(struct taker *t, uv_loop_t *loop, size_t max)
{
    memset(t, 0, sizeof *t);
    assert_int_equal(uv_loop_init(loop), 0);
    assert_ok(queue_new(loop, max, take, t, &t->q));
}

static void run_out(uv_loop_t *loop)
{
    assert_int_equal(uv_run(loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(loop), 0);
}

static void items_come_in_order_and_a_full_queue_refuses(void **state)
{
    uv_loop_t loop;
    struct taker t;

    (void)state;
    taker_init(&t, &loop, 3);
    for (int i = 1; i <= 3; i++)
        assert_ok(queue_push(t.q, &item_new(0, i)->link));

    struct item *refused = item_new(0, 4);
    assert_int_equal(queue_push(t.q, &refused->link), ERR_FULL);
    assert_int_equal(uv_run(&loop, UV_RUN_ONCE), 1);
    assert_int_equal(t.got, 3);
    assert_int_equal(t.calls, 1);

    assert_ok(queue_push(t.q, &refused->link));
    queue_close(t.q); /* hands over what is still in */
    assert_int_equal(t.got, 4);
    assert_false(t.out_of_order);
    run_out(&loop);
}

static void a_list_goes_over_the_bound(void **state)
{
    uv_loop_t loop;
    struct taker t;
    struct list items;

    (void)state;
    taker_init(&t, &loop, 1);
    list_init(&items);
    queue_push_all(t.q, &items); /* empty: no wake-up */
    assert_int_equal(uv_run(&loop, UV_RUN_NOWAIT), 1);
    assert_int_equal(t.calls, 0);
    for (int i = 1; i <= 5; i++)
        list_add(&items, &item_new(0, i)->link);
    queue_push_all(t.q, &items);
    assert_true(list_empty(&items));

    struct item *refused = item_new(0, 6);
    assert_int_equal(queue_push(t.q, &refused->link), ERR_FULL);
    free(refused);
    assert_int_equal(uv_run(&loop, UV_RUN_ONCE), 1);
    assert_int_equal(t.got, 5);
    queue_close(t.q);
    run_out(&loop);
}

struct producer {
    struct queue *q;
    int number;
};

static void *produce(void *arg)
{
    const struct producer *p = arg;

    for (int i = 1; i <= PER_PRODUCER; i++) {
        struct item *it = item_new(p->number, i);

        while (queue_push(p->q, &it->link) != ERR_OK)
            sched_yield();
    }
    return NULL;
}

static void many_threads_lose_nothing(void **state)
{
    uv_loop_t loop;
    struct taker t;
    pthread_t threads[PRODUCERS];
    struct producer p[PRODUCERS];

    (void)state;
    taker_init(&t, &loop, 256);
    t.stop_at = (size_t)PRODUCERS * PER_PRODUCER;
    for (int i = 0; i < PRODUCERS; i++) {
        p[i] = (struct producer){t.q, i};
        assert_int_equal(pthread_create(&threads[i], NULL, produce, &p[i]), 0);
    }
    run_out(&loop);
    for (int i = 0; i < PRODUCERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(t.got, PRODUCERS * PER_PRODUCER);
    assert_false(t.out_of_order);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(items_come_in_order_and_a_full_queue_refuses),
    cmocka_unit_test(a_list_goes_over_the_bound),
    cmocka_unit_test(many_threads_lose_nothing),
};

RUN_TESTS(tests)
