/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "loop/joins.h"

#include <string.h>

#include "test.h"

enum { FOUND_MAX = 16 };

struct places {
    uv_loop_t loop;
    struct timers timers;
    struct joins *joins;
    char v[FOUND_MAX][JOINS_ADDRESS_MAX];
    size_t n;
};

static void found(void *ctx, const char *address)
{
    struct places *p = ctx;

    assert_true(p->n < FOUND_MAX);
    strcpy(p->v[p->n++], address);
}

static void look(struct places *p, const char *const *to, size_t n)
{
    *p = (struct places){.n = 0};
    assert_int_equal(uv_loop_init(&p->loop), 0);
    assert_ok(timers_init(&p->timers, &p->loop));
    const struct joins_options o = {.loop = &p->loop,
                                    .timers = &p->timers,
                                    .to = to,
                                    .count = n,
                                    .found = found,
                                    .ctx = p};
    assert_ok(joins_new(&o, &p->joins));
    joins_look(p->joins);
}

static void end(struct places *p)
{
    joins_close(p->joins);
    timers_close(&p->timers);
    (void)uv_run(&p->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&p->loop), 0);
}

static void addresses_in_digits_are_told_at_once(void **state)
{
    static const char *const to[] = {"10.1.2.3:8301", "[::1]:8301"};
    struct places p;

    (void)state;
    look(&p, to, 2);
    assert_false(joins_wait(p.joins));
    assert_int_equal(p.n, 2);
    assert_string_equal(p.v[0], "10.1.2.3:8301");
    assert_string_equal(p.v[1], "[::1]:8301");
    end(&p);
}

/* /etc/hosts often has two for it; each comes with the port. */
static void all_addresses_of_a_name_are_told(void **state)
{
    static const char *const to[] = {"localhost:9999"};
    bool has = false;
    struct places p;

    (void)state;
    look(&p, to, 1);
    while (joins_wait(p.joins))
        (void)uv_run(&p.loop, UV_RUN_ONCE);
    for (size_t i = 0; i < p.n; i++) {
        has |= strcmp(p.v[i], "127.0.0.1:9999") == 0;
        if (strcmp(p.v[i], "127.0.0.1:9999") != 0)
            assert_string_equal(p.v[i], "[::1]:9999");
    }
    assert_true(has);
    size_t n = p.n;
    joins_look(p.joins); /* again, as it was kept */
    assert_int_equal(p.n, 2 * n);
    end(&p);
}

static void who_was_to_be_there_at_once_is_not_waited_for(void **state)
{
    const struct joins_rule at_once = {.at_once = true, .retry_ms = 30000};
    const struct joins_rule patient = {.retry_ms = 30000};
    struct errtext t = {{0}};

    (void)state;
    assert_false(joins_is_over(&at_once, 0, false, &t));
    assert_true(joins_is_over(&at_once, 10, true, &t));
    assert_non_null(strstr(t.s, "start_join"));
    assert_false(joins_is_over(&patient, UINT64_MAX, true, &t));
}

static void rounds_come_to_an_end(void **state)
{
    const struct joins_rule r = {.retry_ms = 30000, .attempts_max = 3};
    struct errtext t = {{0}};

    (void)state;
    assert_false(joins_is_over(&r, 0, true, &t));
    assert_false(joins_is_over(&r, 3 * 30000 - 1, true, &t));
    assert_true(joins_is_over(&r, 3 * 30000, true, &t));
    assert_non_null(strstr(t.s, "3 rounds (retry_max)"));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(addresses_in_digits_are_told_at_once),
    cmocka_unit_test(all_addresses_of_a_name_are_told),
    cmocka_unit_test(who_was_to_be_there_at_once_is_not_waited_for),
    cmocka_unit_test(rounds_come_to_an_end),
};

RUN_TESTS(tests)
