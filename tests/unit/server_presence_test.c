/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/presence.h"

#include <stdio.h>
#include <string.h>

#include "test.h"

static void note(void *ctx, struct bytes name, uint64_t ago_ms)
{
    buf_printf(ctx, "%.*s=%llu;", BYTES_ARG(name), (unsigned long long)ago_ms);
}

static void reads_as(const char *text, const char *want)
{
    struct presence_copy c = {0};
    struct buf got = {0};
    presence_read(&c, 0, bytes_str(text), note, &got);
    assert_bytes(buf_bytes(&got), want);
    buf_fini(&got);
    presence_copy_fini(&c);
}

/* The copy asks, and tells: in no order. */
static void asks(struct presence *p, struct presence_copy *c, uint64_t now_ms,
                 struct buf *text, struct buf *told)
{
    buf_reset(text);
    buf_reset(told);
    presence_write(p, c->seq, now_ms, text);
    presence_read(c, c->seq, buf_bytes(text), note, told);
}

static bool has(const struct buf *b, const char *part)
{
    return b->n && memmem(b->p, b->n, part, strlen(part));
}

static void who_was_heard_is_told_with_when(void **state)
{
    (void)state;
    struct presence *p = presence_new();
    struct presence_copy c = {0};
    struct buf text = {0}, got = {0};
    assert_int_equal(presence_heard(p, bytes_str("a b/\n%"), 1000),
                     PRESENCE_BEAT_MS);
    assert_int_equal(presence_heard(p, bytes_str("a b/\n%"), 1400),
                     PRESENCE_BEAT_MS);
    asks(p, &c, 1500, &text, &got);
    assert_bytes(buf_bytes(&got), "a b/\n%=100;");
    presence_copy_fini(&c);
    buf_fini(&text);
    buf_fini(&got);
    presence_free(p);
}

static void
a_report_names_who_comes_goes_or_is_late_and_nobody_else(void **state)
{
    (void)state;
    struct presence *p = presence_new();
    struct presence_copy c = {0};
    struct buf text = {0}, got = {0};
    presence_heard(p, bytes_str("a"), 1000);
    presence_heard(p, bytes_str("b"), 1000);
    asks(p, &c, 1100, &text, &got);
    assert_true(has(&got, "a=100;") && has(&got, "b=100;"));
    presence_heard(p, bytes_str("a"), 4900);
    presence_heard(p, bytes_str("new"), 4900);
    asks(p, &c, 5000, &text, &got);
    assert_false(has(&text, " a\n"));
    assert_true(has(&got, "a=3500;")); /* at most */
    assert_true(has(&got, "b=4000;") && has(&got, "new=100;"));
    uint64_t later = 1000 + PRESENCE_KEPT_MS + 1;
    presence_heard(p, bytes_str("a"), later);
    presence_heard(p, bytes_str("new"), later);
    asks(p, &c, later, &text, &got);
    assert_true(has(&text, "- b\n"));
    assert_false(has(&got, "b="));
    asks(p, &c, later + 1, &text, &got);
    assert_false(has(&got, "b="));
    assert_true(has(&got, "a=3500;") && has(&got, "new=3500;"));
    presence_copy_fini(&c);
    buf_fini(&text);
    buf_fini(&got);
    presence_free(p);
}

/* An answer that was lost, another holder, a server that began anew. */
static void who_has_another_report_is_told_all(void **state)
{
    (void)state;
    struct presence *p = presence_new(), *next = presence_new();
    struct presence_copy c = {0}, other = {0};
    struct buf text = {0}, got = {0};
    presence_heard(p, bytes_str("a"), 1000);
    asks(p, &c, 1000, &text, &got);
    presence_write(p, c.seq, 1000, &text); /* lost */
    asks(p, &c, 1000, &text, &got);
    assert_true(has(&text, "all "));
    assert_bytes(buf_bytes(&got), "a=0;");
    asks(p, &other, 1000, &text, &got);
    asks(p, &c, 1000, &text, &got);
    assert_true(has(&text, "all "));
    presence_heard(next, bytes_str("z"), 1000);
    asks(next, &c, 1000, &text, &got);
    assert_bytes(buf_bytes(&got), "z=0;");
    asks(next, &c, 1000, &text, &got);
    assert_bytes(buf_bytes(&got), "z=3500;"); /* and no a any more */
    presence_copy_fini(&c);
    presence_copy_fini(&other);
    buf_fini(&text);
    buf_fini(&got);
    presence_free(p);
    presence_free(next);
}

/* Who lost the duty has forgotten the copy, and may have it back before an answer
 * comes that went on from there. */
static void the_rest_of_a_report_that_is_gone_is_not_gone_on_from(void **state)
{
    (void)state;
    struct presence *p = presence_new();
    struct presence_copy c = {0};
    struct buf text = {0}, got = {0};
    presence_heard(p, bytes_str("a"), 1000);
    presence_heard(p, bytes_str("b"), 1000);
    asks(p, &c, 1000, &text, &got);
    uint64_t after = c.seq;
    buf_reset(&text);
    presence_heard(p, bytes_str("b"), 5000);
    presence_write(p, after, 5000, &text);
    presence_copy_fini(&c);
    buf_reset(&got);
    presence_read(&c, after, buf_bytes(&text), note, &got);
    assert_bytes(buf_bytes(&got), "a=4000;");
    presence_heard(p, bytes_str("a"), 5500);
    asks(p, &c, 6000, &text, &got);
    assert_true(has(&got, "a=500;") && has(&got, "b=1000;"));
    presence_copy_fini(&c);
    buf_fini(&text);
    buf_fini(&got);
    presence_free(p);
}

/* Asked twice before the first answer came: the second is told all. */
static void answers_in_another_order_lose_nobody(void **state)
{
    (void)state;
    struct presence *p = presence_new();
    struct presence_copy c = {0};
    struct buf first = {0}, second = {0}, text = {0}, got = {0};
    presence_heard(p, bytes_str("a"), 1000);
    asks(p, &c, 1000, &text, &got);
    uint64_t after = c.seq;
    presence_write(p, after, 1100, &first);
    presence_heard(p, bytes_str("new"), 1200);
    presence_write(p, after, 1200, &second);
    presence_read(&c, after, buf_bytes(&second), note, &got);
    presence_read(&c, after, buf_bytes(&first), note, &got);
    asks(p, &c, 1300, &text, &got);
    assert_true(has(&got, "a=") && has(&got, "new="));
    presence_copy_fini(&c);
    buf_fini(&first);
    buf_fini(&second);
    buf_fini(&text);
    buf_fini(&got);
    presence_free(p);
}

static void many_agents_beat_less_often(void **state)
{
    (void)state;
    struct presence *p = presence_new();
    char name[16];
    uint64_t every = 0;
    for (int i = 0; i <= PRESENCE_MANY; i++) {
        snprintf(name, sizeof name, "n%d", i);
        every = presence_heard(p, bytes_str(name), 1);
    }
    assert_int_equal(every, PRESENCE_BEAT_MANY_MS);
    presence_free(p);
}

static void lines_that_are_none_are_left_out(void **state)
{
    (void)state;
    reads_as("", "");
    reads_as("5 a\n7 b", "a=5;b=7;");
    reads_as("x a\n-1 b\n5\n5 \n 5 c\n9 d%zz\n8 e%20\n", "e =8;");
    reads_as("all x\n5 a\n- \n- a\n", "a=5;");
    reads_as("rest 5\n5 a\n", "a=5;");
    reads_as("rest 7 3500\n5 a\n- a\n", "a=5;");
}

/* Names of which each byte is escaped: what an answer between servers may have is
 * less than all of them take. */
static void agent_name(char *ret, size_t i)
{
    memset(ret, ' ', 256);
    char number[16];
    int n = snprintf(number, sizeof number, "%zu", i);
    memcpy(ret, number, (size_t)n);
}

static void count(void *ctx, struct bytes name, uint64_t ago_ms)
{
    size_t *n = ctx;
    n[0]++;
    n[1] += ago_ms == 100;
    assert_int_equal(name.n, 256);
}

static void report(struct presence *p, struct presence_copy *c, uint64_t now_ms,
                   size_t *n)
{
    struct buf text = {0};
    n[0] = n[1] = 0;
    presence_write(p, c->seq, now_ms, &text);
    assert_in_range(text.n, 1, PRESENCE_REPORT_BYTES + 100);
    presence_read(c, c->seq, buf_bytes(&text), count, n);
    buf_fini(&text);
}

static void more_agents_than_fit_into_a_report_come_in_several(void **state)
{
    enum { AGENTS = 30000 };
    (void)state;
    struct presence *p = presence_new();
    struct presence_copy c = {0};
    char name[256];
    size_t n[2], reports = 0, fresh = 0;

    for (size_t i = 0; i < AGENTS; i++) {
        agent_name(name, i);
        assert_int_not_equal(presence_heard(p, bytes_of(name, 256), 1000), 0);
    }
    do {
        report(p, &c, 1100, n);
        fresh += n[1];
        reports++;
    } while (c.more);
    assert_in_range(reports, 3, 4);
    assert_int_equal(fresh, AGENTS); /* each was named once */
    assert_int_equal(c.names.n, AGENTS);

    report(p, &c, 1200, n);
    assert_int_equal(n[0], AGENTS); /* all are heard, none is named */
    assert_false(c.more);

    /* Nearly all fall silent: who lives is told of all the same. */
    for (size_t i = 0; i < 100; i++) {
        agent_name(name, i);
        presence_heard(p, bytes_of(name, 256), 10000);
    }
    for (fresh = 0;;) {
        report(p, &c, 10100, n);
        fresh += n[1];
        if (!c.more)
            break;
    }
    assert_int_equal(fresh, 100);
    presence_copy_fini(&c);
    presence_free(p);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(more_agents_than_fit_into_a_report_come_in_several),
    cmocka_unit_test(who_was_heard_is_told_with_when),
    cmocka_unit_test(a_report_names_who_comes_goes_or_is_late_and_nobody_else),
    cmocka_unit_test(who_has_another_report_is_told_all),
    cmocka_unit_test(the_rest_of_a_report_that_is_gone_is_not_gone_on_from),
    cmocka_unit_test(answers_in_another_order_lose_nobody),
    cmocka_unit_test(many_agents_beat_less_often),
    cmocka_unit_test(lines_that_are_none_are_left_out),
};

RUN_TESTS(tests)
