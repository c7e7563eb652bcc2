/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Places among callers: no rank twice, nobody moves without need. */
#include "server/callers.h"

#include <stdio.h>
#include <stdlib.h>

#include "test.h"

enum { START = 1000000, LATER = START + CALLERS_BACK_MS };

static struct callers cs;
static uint64_t now_ms;

static int set_up(void **state)
{
    (void)state;
    callers_init(&cs, START);
    now_ms = LATER;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    callers_fini(&cs);
    return 0;
}

static struct caller *join(const char *label, const char *zone, uint32_t rank)
{
    struct caller *c = callers_join(&cs, bytes_str("web"), bytes_str(label),
                                    bytes_str(zone), rank, now_ms);
    assert_non_null(c);
    return c;
}

static void leave(struct caller *c)
{
    callers_leave(&cs, c, now_ms);
}

/* What it is told now; "": nothing new. */
static const char *told(struct caller *c)
{
    static char text[4096];
    struct buf b = {0};
    struct json_out j = json_out(&b);
    text[0] = 0;
    if (callers_tell(&cs, c, now_ms, &j))
        snprintf(text, sizeof text, "%.*s", BYTES_ARG(buf_bytes(&b)));
    buf_fini(&b);
    return text;
}

static void pass(uint64_t ms)
{
    now_ms += ms;
}

static void places_are_counted_by_zone_and_label(void **state)
{
    (void)state;
    struct caller *a = join("shop", "a", CALLERS_NO_RANK);
    assert_string_equal(told(a), "\"Zones\":{\"a\":1},\"Rank\":0,\"Size\":1");
    assert_string_equal(told(a), "");
    struct caller *b = join("shop", "b", CALLERS_NO_RANK);
    struct caller *c = join("cron", "", CALLERS_NO_RANK);
    assert_string_equal(told(a), "\"Zones\":{\"\":1,\"a\":1,\"b\":1},"
                                 "\"Rank\":0,\"Size\":2");
    assert_string_equal(told(b), "\"Zones\":{\"\":1,\"a\":1,\"b\":1},"
                                 "\"Rank\":1,\"Size\":2");
    assert_string_equal(told(c), "\"Zones\":{\"\":1,\"a\":1,\"b\":1},"
                                 "\"Rank\":0,\"Size\":1");
}

static void who_comes_back_in_time_moves_nobody(void **state)
{
    (void)state;
    struct caller *c[3];
    for (int i = 0; i < 3; i++)
        c[i] = join("shop", "a", CALLERS_NO_RANK);
    leave(c[0]);
    pass(CALLERS_KEPT_MS - 1);
    assert_string_equal(told(c[2]),
                        "\"Zones\":{\"a\":3},\"Rank\":2,\"Size\":3");
    c[0] = join("shop", "a", 0);
    pass(CALLERS_KEPT_MS);
    assert_string_equal(told(c[2]),
                        "\"Zones\":{\"a\":3},\"Rank\":2,\"Size\":3");
    assert_string_equal(told(c[0]),
                        "\"Zones\":{\"a\":3},\"Rank\":0,\"Size\":3");
}

static void only_the_last_moves_when_one_is_gone(void **state)
{
    (void)state;
    struct caller *c[4];
    for (int i = 0; i < 4; i++) {
        c[i] = join("shop", "a", CALLERS_NO_RANK);
        (void)told(c[i]);
    }
    leave(c[1]);
    pass(CALLERS_KEPT_MS + CALLERS_EVERY_MS);
    assert_string_equal(told(c[0]),
                        "\"Zones\":{\"a\":3},\"Rank\":0,\"Size\":3");
    assert_string_equal(told(c[2]),
                        "\"Zones\":{\"a\":3},\"Rank\":2,\"Size\":3");
    assert_string_equal(told(c[3]),
                        "\"Zones\":{\"a\":3},\"Rank\":1,\"Size\":3");
}

static void after_a_start_ranks_are_as_before_once_all_are_back(void **state)
{
    struct caller *c[3];
    static const uint32_t had[] = {2, 0, 1};
    (void)state;
    now_ms = START + 1;
    for (int i = 0; i < 3; i++) {
        c[i] = join("shop", "a", had[i]);
        assert_string_equal(told(c[i]), "");
    }
    struct caller *new = join("shop", "a", CALLERS_NO_RANK);
    assert_string_equal(told(new), "\"Zones\":{\"a\":4},\"Rank\":3,\"Size\":4");
    pass(CALLERS_BACK_MS);
    for (int i = 0; i < 3; i++) {
        char want[64];
        snprintf(want, sizeof want,
                 "\"Zones\":{\"a\":4},\"Rank\":%u,\"Size\":4", had[i]);
        assert_string_equal(told(c[i]), want);
    }
}

static void a_rank_that_another_has_is_not_given_twice(void **state)
{
    (void)state;
    struct caller *a = join("shop", "a", 1);
    struct caller *b = join("shop", "a", 1);
    assert_string_equal(told(a), "\"Zones\":{\"a\":2},\"Rank\":1,\"Size\":2");
    assert_string_equal(told(b), "\"Zones\":{\"a\":2},\"Rank\":0,\"Size\":2");
}

/* A rank beyond all others is told once it has become one of them. */
static void a_rank_far_off_comes_down(void **state)
{
    (void)state;
    struct caller *a = join("shop", "a", 4711);
    assert_string_equal(told(a), "\"Zones\":{\"a\":1},\"Rank\":0,\"Size\":1");
    struct caller *b = join("shop", "a", 4711);
    assert_string_equal(told(b), ""); /* looked at every five seconds only */
    pass(CALLERS_EVERY_MS);
    assert_string_equal(told(b), "\"Zones\":{\"a\":2},\"Rank\":1,\"Size\":2");
}

static void zones_beyond_the_limit_count_as_none(void **state)
{
    struct caller *last = NULL;
    char zone[16];
    (void)state;
    for (int i = 0; i < CALLERS_ZONES_MAX + 5; i++) {
        snprintf(zone, sizeof zone, "z%d", i);
        last = join("shop", zone, CALLERS_NO_RANK);
    }
    const char *text = told(last);
    assert_non_null(strstr(text, "\"\":5,"));
    assert_non_null(strstr(text, "\"z63\":1"));
    assert_null(strstr(text, "\"z64\""));
}

/* Whatever happens: ranks are 0 .. n - 1, each once, after things have come to
 * rest. */
static void ranks_are_whole_after_any_coming_and_going(void **state)
{
    enum { MOST = 40, ROUNDS = 2000 };
    struct caller *live[MOST] = {NULL};
    uint64_t seed = 99;
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        size_t k = (size_t)(seed >> 33) % MOST;
        uint32_t wish = (uint32_t)(seed >> 40) % 64;
        if (live[k]) {
            leave(live[k]);
            live[k] = NULL;
        } else {
            live[k] = join("shop", "a", wish > 40 ? CALLERS_NO_RANK : wish);
        }
        pass(seed >> 60 == 0 ? CALLERS_EVERY_MS : 100);
    }
    pass(CALLERS_KEPT_MS + CALLERS_EVERY_MS);
    uint64_t seen = 0;
    unsigned n = 0, size = 0, rank;
    for (size_t k = 0; k < MOST; k++) {
        const char *text = live[k] ? told(live[k]) : "";
        if (!live[k])
            continue;
        n++;
        const char *at = strstr(text, "\"Rank\":");
        assert_non_null(at);
        assert_int_equal(sscanf(at, "\"Rank\":%u,\"Size\":%u", &rank, &size),
                         2);
        assert_false(seen >> rank & 1);
        seen |= (uint64_t)1 << rank;
    }
    assert_int_equal(size, n);
    assert_true(seen == ((uint64_t)1 << n) - 1);
}

static const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    T(places_are_counted_by_zone_and_label),
    T(who_comes_back_in_time_moves_nobody),
    T(only_the_last_moves_when_one_is_gone),
    T(after_a_start_ranks_are_as_before_once_all_are_back),
    T(a_rank_that_another_has_is_not_given_twice),
    T(a_rank_far_off_comes_down),
    T(zones_beyond_the_limit_count_as_none),
    T(ranks_are_whole_after_any_coming_and_going),
};

RUN_TESTS(tests)
