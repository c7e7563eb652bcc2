/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What servers say of a drain, added up; readers, and what is proven of them. */
#include "server/drain.h"
#include "server/readers.h"

#include "test.h"

static const struct holders_state good = {.reached = true,
                                          .unproven_complete = true};

static enum drain_result with(struct holders_state s, bool trust)
{
    struct drain_sum sum = drain_sum_of_none();
    drain_sum_add(&sum, &good);
    drain_sum_add(&sum, &s);
    drain_sum_add(&sum, &good);
    return drain_sum_result(&sum, trust);
}

static void safe_is_what_all_say(void **state)
{
    (void)state;
    assert_int_equal(with(good, false), DRAIN_SAFE);
}

static void one_holder_anywhere_is_waited_for(void **state)
{
    (void)state;
    struct holders_state s = good;
    s.holding = 1;
    assert_int_equal(with(s, false), DRAIN_WAITING);
    s.unknown_ms = 5; /* whoever is known is named first */
    assert_int_equal(with(s, true), DRAIN_WAITING);
    s = good;
    s.dns_left_ms = 1;
    assert_int_equal(with(s, true), DRAIN_WAITING);
    s.holding = s.unproven = SIZE_MAX; /* a number that cannot be */
    assert_int_equal(with(s, true), DRAIN_WAITING);
}

static void ignorance_is_never_safe(void **state)
{
    (void)state;
    struct holders_state young = good, behind = good, readers = good,
                         many = good;
    young.unknown_ms = 1;
    behind.reached = false;
    readers.unproven = 1;
    many.unproven_complete = false;
    assert_int_equal(with(young, true), DRAIN_UNKNOWN);
    assert_int_equal(with(behind, true), DRAIN_UNKNOWN);
    assert_int_equal(with(readers, false), DRAIN_UNKNOWN);
    assert_int_equal(with(readers, true), DRAIN_SAFE);
    assert_int_equal(with(many, false), DRAIN_UNKNOWN);
    struct drain_sum sum = drain_sum_of_none();
    sum.silent = 1;
    assert_int_equal(drain_sum_result(&sum, true), DRAIN_UNKNOWN);
}

/* --- Readers ------------------------------------------------------------- */

static void note(void *ctx, const struct unproven *u)
{
    buf_printf(ctx, "%s/%s/%llu;", u->peer, u->agent,
               (unsigned long long)u->seen_ms);
}

static void shows(const struct readers *rs, const char *name, uint64_t now,
                  const char *want, bool complete)
{
    struct buf got = {0};
    assert_true(readers_each(rs, bytes_str(name), now, 100, note, &got) ==
                complete);
    assert_bytes(buf_bytes(&got), want);
    buf_fini(&got);
}

static void seen(struct readers *rs, const char *host, const char *agent,
                 uint64_t now)
{
    readers_seen(rs, bytes_str("web"), bytes_str(host), bytes_str(agent), now);
}

static void readers_at_agents_are_others_than_those_here(void **state)
{
    (void)state;
    struct readers rs;
    readers_init(&rs);
    seen(&rs, "h1", "", 100);
    seen(&rs, "h1", "a1", 120);
    shows(&rs, "web", 130, "h1//30;h1/a1/10;", true);
    shows(&rs, "we", 130, "", true);
    readers_fini(&rs);
}

static void a_reader_told_of_late_is_forgotten_in_its_turn(void **state)
{
    (void)state;
    struct readers rs;
    readers_init(&rs);
    seen(&rs, "h2", "", 200);
    seen(&rs, "h3", "a1", 150); /* its agent says so now */
    seen(&rs, "h3", "a1", 140); /* older news change nothing */
    seen(&rs, "h1", "a1", 250);
    shows(&rs, "web", 260, "h3/a1/110;h2//60;h1/a1/10;", true);
    readers_forget(&rs, 260, 100);
    shows(&rs, "web", 260, "h2//60;h1/a1/10;", true);
    readers_lost(&rs, 240);
    readers_lost(&rs, 200);
    shows(&rs, "web", 260, "h2//60;h1/a1/10;", false);
    shows(&rs, "web", 341, "h2//141;h1/a1/91;", true);
    readers_fini(&rs);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(safe_is_what_all_say),
    cmocka_unit_test(one_holder_anywhere_is_waited_for),
    cmocka_unit_test(ignorance_is_never_safe),
    cmocka_unit_test(readers_at_agents_are_others_than_those_here),
    cmocka_unit_test(a_reader_told_of_late_is_forgotten_in_its_turn),
};

RUN_TESTS(tests)
