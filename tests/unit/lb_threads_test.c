/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Threads that pick and report while the owner changes the list under them. For
 * ThreadSanitizer and AddressSanitizer above all. */
#include <pthread.h>

#include "lb_world.h"

enum { THREADS = 4, PICKS = 20000, UPDATES = 300 };

struct picker {
    struct lb *b;
    _Atomic bool *failed;
    uint64_t seed;
    pthread_t thread;
};

static void *pick_all(void *arg)
{
    struct picker *p = arg;
    uint64_t random = p->seed;

    for (uint64_t i = 0; i < PICKS; i++) {
        struct lb_ticket t;
        char key[24];
        int n = snprintf(key, sizeof key, "k%u", (unsigned)lb_draw(&random));
        struct lb_ask ask = {.key = bytes_of(key, (size_t)n),
                             .now_ms = 1000000 + i,
                             .random = lb_draw(&random)};

        /* Those numbered 0 to 9 never leave: something can always be picked,
         * and what drains is not among it. */
        if (lb_pick(p->b, &ask, &t) != ERR_OK || t.port != 8080)
            atomic_store(p->failed, true);
        else if (i % 50 && /* some are never reported */
                 lb_report(p->b, &t, i % 7 ? LB_OK : LB_FAILED, 100,
                           1000000 + i) == ERR_BAD)
            atomic_store(p->failed, true);
    }
    return NULL;
}

static void picks_go_on_while_the_list_changes(void **state)
{
    (void)state;
    for (size_t policy = 0; lb_policies[policy]; policy++) {
        struct world w;
        struct lb_options o = world_options(lb_policies[policy]->name);
        struct picker p[THREADS];
        _Atomic bool failed = false;

        if (lb_policies[policy] == &lb_ketama ||
            lb_policies[policy] == &lb_maglev)
            o.bounded_percent = 150;
        world_init(&w, 40);
        world_start(&w, &o);
        for (size_t i = 0; i < THREADS; i++) {
            p[i] = (struct picker){.b = w.b, .failed = &failed, .seed = i};
            assert_int_equal(
                pthread_create(&p[i].thread, NULL, pick_all, &p[i]), 0);
        }
        for (size_t u = 0; u < UPDATES; u++) {
            w.n = 10 + u * 7 % 30;
            w.v[10 + u % 5].out = u % 2;
            world_update(&w);
            world_tick(&w, u % 10 ? 100 : LB_LINGER_MS);
        }
        for (size_t i = 0; i < THREADS; i++)
            assert_int_equal(pthread_join(p[i].thread, NULL), 0);
        assert_false(atomic_load(&failed));
        world_fini(&w);
    }
}

/* The shares of a schedule are exact over the values of its counter, whoever
 * drew which. */
struct counter {
    struct lb *b;
    uint32_t count[3];
    pthread_t thread;
};

static void *count_all(void *arg)
{
    struct counter *c = arg;

    for (int i = 0; i < 6000; i++) {
        struct lb_ticket t;
        struct lb_ask ask = {.now_ms = 1000000};
        if (lb_pick(c->b, &ask, &t) == ERR_OK)
            c->count[world_number(&t)]++;
    }
    return NULL;
}

static void shares_are_exact_over_all_threads(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("smooth");
    struct counter c[THREADS];
    uint32_t sum[3] = {0};

    world_init(&w, 3);
    w.v[0].weight = 3;
    w.v[1].weight = 2;
    world_start(&w, &o);
    for (size_t i = 0; i < THREADS; i++) {
        c[i] = (struct counter){.b = w.b};
        assert_int_equal(pthread_create(&c[i].thread, NULL, count_all, &c[i]),
                         0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(c[i].thread, NULL), 0);
        for (size_t k = 0; k < 3; k++)
            sum[k] += c[i].count[k];
    }
    assert_int_equal(sum[0], THREADS * 3000);
    assert_int_equal(sum[1], THREADS * 2000);
    assert_int_equal(sum[2], THREADS * 1000);
    world_fini(&w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(picks_go_on_while_the_list_changes),
    cmocka_unit_test(shares_are_exact_over_all_threads),
};

RUN_TESTS(tests)
