/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Lists of instances: what an answer means, what is kept, what a file holds. */
#include "client/roster.h"

#include <stdio.h>
#include <string.h>

#include "fail_malloc.h"
#include "test.h"

#define ENTRY(id, port, more)                                                  \
    "{\"Node\":{\"Node\":\"n1\",\"Address\":\"10.0.0.1\",\"Datacenter\":"      \
    "\"dc1\",\"Meta\":{\"zone\":\"za\"}},\"Service\":{\"ID\":\"" id            \
    "\",\"Service\":\"web\",\"Port\":" port more "}"

#define CHECK(id, status)                                                      \
    "{\"CheckID\":\"" id "\",\"Status\":\"" status "\",\"Output\":\"x\"}"

static struct roster *parsed(const char *body)
{
    struct roster *r = NULL;
    struct errtext t = {""};

    if (roster_parse(bytes_str(body), &r, &t) != ERR_OK)
        fail_msg("%s", t.s);
    return r;
}

static void an_answer_says_who_how_well_and_how_much(void **state)
{
    (void)state;
    struct roster *r = parsed(
        "[" ENTRY("a", "80", "},\"Checks\":[" CHECK("c", "passing") "]") "," ENTRY(
            "b", "81",
            ",\"Address\":\"10.9.9.9\",\"Weights\":{\"Passing\":7,"
            "\"Warning\":3},\"Meta\":{\"zone\":\"zb\"}},"
            "\"Checks\":[" CHECK(
                "c",
                "warning") "]") "," ENTRY("c", "82",
                                          ",\"Locality\":{\"Region\":\"r\","
                                          "\"Zone\":\"zc\"}},"
                                          "\"Checks\":[" CHECK(
                                              "c",
                                              "critical") "]") "," ENTRY("d",
                                                                         "83",
                                                                         ",\"We"
                                                                         "ights"
                                                                         "\":{"
                                                                         "\"Pas"
                                                                         "sing"
                                                                         "\":0,"
                                                                         "\"War"
                                                                         "ning"
                                                                         "\":1}"
                                                                         "},"
                                                                         "\"Che"
                                                                         "cks\""
                                                                         ":"
                                                                         "[" CHECK(
                                                                             "_"
                                                                             "s"
                                                                             "e"
                                                                             "r"
                                                                             "v"
                                                                             "i"
                                                                             "c"
                                                                             "e"
                                                                             "_"
                                                                             "m"
                                                                             "a"
                                                                             "i"
                                                                             "n"
                                                                             "t"
                                                                             "e"
                                                                             "n"
                                                                             "a"
                                                                             "n"
                                                                             "c"
                                                                             "e"
                                                                             ":"
                                                                             "d",
                                                                             "c"
                                                                             "r"
                                                                             "i"
                                                                             "t"
                                                                             "i"
                                                                             "c"
                                                                             "a"
                                                                             "l") "]") "]\n");

    assert_int_equal(r->n, 4);
    assert_bytes(r->datacenter, "dc1");
    assert_bytes(r->v[0].address, "10.0.0.1"); /* the node's */
    assert_bytes(r->v[0].zone, "za");          /* the node's */
    assert_int_equal(r->v[0].weight, 1);
    assert_false(r->v[0].critical || r->v[0].out);
    assert_bytes(r->v[1].address, "10.9.9.9");
    assert_bytes(r->v[1].zone, "zb");
    assert_int_equal(r->v[1].weight, 3); /* it warns */
    assert_false(r->v[1].critical);
    assert_bytes(r->v[2].zone, "zc");
    assert_true(r->v[2].critical);
    assert_false(r->v[2].out);
    assert_true(r->v[3].out);
    assert_int_equal(r->v[3].weight, 0);
    roster_free(r);
}

static void instances_that_nobody_can_call_are_left_out(void **state)
{
    (void)state;
    struct roster *r = parsed("[" ENTRY("a", "0", "},\"Checks\":[]") "," ENTRY(
        "b", "70000", "},\"Checks\":[]") ","
                                         "{\"Node\":null,\"Service\":null,"
                                         "\"Checks\":[]}," ENTRY("d", "80",
                                                                 "}") "]");

    assert_int_equal(r->n, 1);
    assert_int_equal(r->skipped, 3);
    assert_bytes(r->v[0].id, "d");
    roster_free(r);
    r = parsed(" [ ] ");
    assert_int_equal(r->n, 0);
    roster_free(r);
}

static void garbage_is_refused(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "",
        "null",
        "{}",
        "[",
        "]",
        "[1]",
        "[\"a\"]",
        "[[]]",
        "<html>",
        "[{\"Node\":5}]",
        "[{\"Node\":{}",
        "[{\"Service\":{\"Port\":\"x\"}}]",
        "[{\"Node\":{\"Node\":\"\\ud800\"}}]",
        "[{]",
        "[{}}]",
        "[\"]",
    };

    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        struct roster *r = NULL;
        struct errtext t = {""};
        if (roster_parse(bytes_str(bodies[i]), &r, &t) == ERR_OK)
            fail_msg("taken: %s", bodies[i]);
        assert_true(t.s[0]);
    }
}

/* --- What is kept -------------------------------------------------------- */

static struct roster *of_ids(const char *ids)
{
    struct buf b;

    buf_init(&b, 0);
    buf_putc(&b, '[');
    for (size_t i = 0; ids[i]; i++)
        buf_printf(&b,
                   "%s{\"Node\":{\"Node\":\"n\",\"Address\":\"10.0.0.1\"},"
                   "\"Service\":{\"ID\":\"%c\",\"Port\":80}}",
                   i ? "," : "", ids[i]);
    buf_puts(&b, "]");
    buf_putc(&b, '\0');
    struct roster *r = parsed(b.p);
    buf_fini(&b);
    return r;
}

/* Small letters: registered; capitals: kept. */
static void shows(const struct roster *r, const char *want)
{
    char got[32] = "";
    size_t n = 0;

    for (size_t i = 0; i < r->n && n < sizeof got - 1; i++)
        got[n++] = (char)(r->v[i].id.p[0] - (r->v[i].held_ms ? 32 : 0));
    got[n] = '\0';
    assert_string_equal(got, want);
}

enum { HOLD_MS = 300000 };

static struct roster *follow(struct roster *take_old, const char *ids,
                             enum roster_trust trust, uint64_t now_ms)
{
    struct roster *r = NULL;

    assert_ok(roster_follow(take_old, of_ids(ids), trust, now_ms, HOLD_MS, &r));
    roster_free(take_old);
    return r;
}

static void single_removals_are_believed(void **state)
{
    (void)state;
    struct roster *r = follow(NULL, "abcde", ROSTER_LIST, 1000);

    r = follow(r, "abcd", ROSTER_LIST, 2000);
    shows(r, "abcd");
    r = follow(r, "abxy", ROSTER_LIST,
               3000); /* half has gone, as much has come */
    shows(r, "abxyCD");
    roster_free(r);
    r = follow(NULL, "ab", ROSTER_LIST, 1000);
    r = follow(r, "a", ROSTER_LIST, 2000); /* one is no half */
    shows(r, "a");
    roster_free(r);
}

static void an_empty_or_halved_list_is_not_believed_for_a_while(void **state)
{
    (void)state;
    struct roster *r = follow(NULL, "abcd", ROSTER_LIST, 1000);

    r = follow(r, "", ROSTER_LIST, 2000);
    shows(r, "ABCD");
    assert_int_equal(r->held, 4);
    assert_int_equal(roster_held_until(r, HOLD_MS), 2000 + HOLD_MS);
    r = follow(r, "ac", ROSTER_LIST, 3000); /* two are back */
    shows(r, "acBD");
    r = follow(r, "ac", ROSTER_LIST, 2000 + HOLD_MS - 1);
    shows(r, "acBD");
    r = follow(r, "ac", ROSTER_LIST, 2000 + HOLD_MS);
    shows(r, "ac");
    roster_free(r);
}

/* A registry that shows all, none, half, all, ...: the same instances go on. */
static void a_flapping_registry_changes_nothing(void **state)
{
    (void)state;
    static const char *const shown[] = {"", "abcdef", "ab",
                                        "", "cdef",   "abcdef"};
    struct roster *r = follow(NULL, "abcdef", ROSTER_LIST, 1000);

    for (uint64_t t = 2000; t < HOLD_MS; t += 1000) {
        size_t round = t / 1000 % (sizeof shown / sizeof *shown);
        r = follow(r, shown[round], ROSTER_LIST, t);
        assert_int_equal(r->n, 6);
        assert_int_equal(r->held, 6 - strlen(shown[round]));
    }
    roster_free(r);
}

/* What is kept does not count as there when the next list is judged. */
static void what_is_kept_is_not_kept_again(void **state)
{
    (void)state;
    struct roster *r = follow(NULL, "abcd", ROSTER_LIST, 1000);

    r = follow(r, "a", ROSTER_LIST, 2000);
    shows(r, "aBCD");
    r = follow(r, "", ROSTER_LIST, 3000);
    shows(r, "ABCD");
    r = follow(r, "x", ROSTER_LIST, 2000 + HOLD_MS);
    shows(r, "xA"); /* a went later */
    roster_free(r);
}

static void another_life_of_the_registry_removes_nothing_at_once(void **state)
{
    (void)state;
    struct roster *r = follow(NULL, "abcdef", ROSTER_LIST, 1000);

    r = follow(r, "abcde", ROSTER_DOUBTFUL, 2000);
    shows(r, "abcdeF");
    roster_free(r);
}

static void what_was_told_one_by_one_is_believed_to_the_last(void **state)
{
    (void)state;
    struct roster *r = follow(NULL, "abcd", ROSTER_LIST, 1000);

    r = follow(r, "", ROSTER_TOLD, 2000);
    assert_int_equal(r->n, 0);
    roster_free(r);
}

static void without_holding_all_is_believed(void **state)
{
    (void)state;
    struct roster *old = of_ids("abcd"), *r = NULL;

    assert_ok(roster_follow(old, of_ids(""), ROSTER_DOUBTFUL, 5, 0, &r));
    assert_int_equal(r->n, 0);
    roster_free(old);
    roster_free(r);
}

static void what_fell_silent_is_kept_and_what_left_is_not(void **state)
{
    (void)state;
    struct roster *r = follow(NULL, "abcd", ROSTER_LIST, 1000), *next = NULL;
    struct roster *fresh = of_ids("a");
    struct roster_entry lost[] = {r->v[1], r->v[3]}; /* b and d */

    fresh->lost = lost;
    fresh->lost_n = 2;
    assert_ok(roster_follow(r, fresh, ROSTER_TOLD, 2000, HOLD_MS, &next));
    shows(next, "aBD");
    roster_free(r);
    next = follow(next, "ab", ROSTER_TOLD, 3000); /* one is back */
    shows(next, "abD");
    next = follow(next, "ab", ROSTER_TOLD, 2000 + HOLD_MS);
    shows(next, "ab");
    roster_free(next);
}

static void without_an_end_they_stay(void **state)
{
    (void)state;
    struct roster *old = of_ids("abcd"), *r = NULL, *next = NULL;

    assert_ok(roster_follow(old, of_ids(""), ROSTER_LIST, 5, UINT64_MAX, &r));
    shows(r, "ABCD");
    assert_int_equal(roster_held_until(r, UINT64_MAX), UINT64_MAX);
    assert_ok(roster_follow(r, of_ids("a"), ROSTER_TOLD, UINT64_MAX - 1,
                            UINT64_MAX, &next));
    shows(next, "aBCD");
    roster_free(old);
    roster_free(r);
    roster_free(next);
}

static struct roster_entry only(const char *more, struct roster **ret)
{
    char body[512];

    (void)snprintf(body, sizeof body,
                   "[{\"Node\":{\"Node\":\"n\",\"Address\":\"h\"},"
                   "\"Service\":{\"ID\":\"a\",\"Port\":80}%s}]",
                   more);
    *ret = parsed(body);
    assert_int_equal((*ret)->n, 1);
    return (*ret)->v[0];
}

/* What the checks alone do not say; a Consul does not say it. */
static void the_registrys_own_word_counts(void **state)
{
    (void)state;
    static const struct {
        const char *more;
        bool critical, out, draining;
    } cases[] = {
        {",\"Checks\":[]", false, false, false},
        {",\"Checks\":[" CHECK("c", "critical") "]", true, false, false},
        {",\"Held\":true,\"Checks\":[" CHECK("c", "critical") "]", false, false,
         false},
        {",\"Held\":false,\"Checks\":[" CHECK("c", "critical") "]", true, false,
         false},
        {",\"DampedUntil\":\"2026-11-26T19:04:00.000Z\",\"Checks\":[" CHECK(
             "c", "passing") "]",
         true, false, false},
        {",\"Draining\":true,\"Checks\":[]", false, true, true},
        {",\"Held\":true,\"Draining\":true,\"Checks\":[" CHECK("c",
                                                               "critical") "]",
         false, true, true},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct roster *r = NULL;
        struct roster_entry e = only(cases[i].more, &r);
        if (e.critical != cases[i].critical || e.out != cases[i].out ||
            e.draining != cases[i].draining ||
            e.guarded != (strstr(cases[i].more, "Held\":true") != NULL) ||
            r->draining != (size_t)cases[i].draining)
            fail_msg("%s", cases[i].more);
        roster_free(r);
    }
    struct roster *r = NULL;
    assert_int_equal(
        only(",\"ReadySince\":\"1970-01-01T00:00:09.345Z\"", &r).ready_since_ms,
        9345);
    roster_free(r);
    assert_int_equal(only(",\"ReadySince\":\"lately\"", &r).ready_since_ms, 0);
    roster_free(r);
}

static void slow_start_counts_from_when_it_was_ready(void **state)
{
    (void)state;
    enum { NOW = 100000, LAST = 40000, WALL = 5000000 };
    struct roster *old = of_ids("abcd"), *new = of_ids("abcdefg");

    assert_ok(roster_ready(NULL, old, NOW, 0, WALL));
    for (size_t i = 0; i < old->n; i++)
        assert_int_equal(old->v[i].ready_ms, 0); /* a first list is old */
    old->v[0].ready_ms = 77;
    old->v[1].critical = true; /* b recovers */
    old->v[2].out = true;      /* c ends its maintenance */
    new->v[3].critical = true; /* d falls ill */
    new->v[4].ready_since_ms = WALL - 10000;
    new->v[5].ready_since_ms = WALL - 500000; /* while nobody told us */
    new->v[6].ready_since_ms = WALL + 3000;   /* its clock is ahead */
    assert_ok(roster_ready(old, new, NOW, LAST, WALL));
    const uint64_t want[] = {77, NOW, NOW, 0, NOW - 10000, LAST, NOW};
    for (size_t i = 0; i < new->n; i++)
        assert_int_equal(new->v[i].ready_ms, want[i]);
    roster_free(old);
    roster_free(new);
}

static void priorities_are_small_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int want;
    } cases[] = {
        {"0", 0},   {"7", 7},  {"15", 15}, {"16", 15},
        {"-1", 15}, {"x", 15}, {"", 0},    {"99999999999999999999", 15}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char body[256];
        (void)snprintf(body, sizeof body,
                       "[{\"Node\":{\"Node\":\"n\",\"Address\":\"h\"},"
                       "\"Service\":{\"ID\":\"a\",\"Port\":80,\"Meta\":"
                       "{\"priority\":\"%s\"}}}]",
                       cases[i].text);
        struct roster *r = parsed(body);
        assert_int_equal(r->v[0].priority, cases[i].want);
        roster_free(r);
    }
}

static void kept_ones_can_be_taken_out(void **state)
{
    (void)state;
    struct roster *r = follow(NULL, "abcd", ROSTER_LIST, 1000);

    r = follow(r, "a", ROSTER_LIST, 2000);
    struct roster *fresh = roster_registered(r);
    shows(fresh, "a");
    assert_int_equal(fresh->held, 0);
    roster_free(fresh);
    roster_free(r);
}

/* --- On disk ------------------------------------------------------------- */

static struct roster_label a_label(void)
{
    return (struct roster_label){.datacenter = bytes_str("dc1"),
                                 .query = bytes_str("/v1/health/service/web"),
                                 .cluster = bytes_str("mine"),
                                 .token_hash = 7,
                                 .saved_ms = 1234567,
                                 .index = 99};
}

static void a_file_gives_back_what_was_put_in(void **state)
{
    (void)state;
    struct roster *r = of_ids("abc"), *back = NULL;
    struct roster_label label = a_label(), got = a_label();
    struct buf b;

    r->v[1].critical = true;
    r->v[2].out = true;
    r->v[2].weight = 65535;
    r->v[2].priority = 15;
    buf_init(&b, 0);
    roster_put(&b, r, &label);
    got.saved_ms = got.index = 0;
    assert_ok(roster_get(buf_bytes(&b), &got, &back));
    assert_int_equal(got.saved_ms, 1234567);
    assert_int_equal(got.index, 99);
    shows(back, "abc");
    assert_true(back->v[0].cached && back->v[1].critical && back->v[2].out);
    assert_int_equal(back->v[2].weight, 65535);
    assert_int_equal(back->v[2].priority, 15);
    assert_int_equal(back->v[0].port, 80);
    roster_free(back);
    roster_free(r);
    buf_fini(&b);
}

static void damaged_and_foreign_files_are_told_apart(void **state)
{
    (void)state;
    struct roster *r = of_ids("abc"), *back = NULL;
    struct roster_label label = a_label();
    struct buf b;

    buf_init(&b, 0);
    roster_put(&b, r, &label);
    for (size_t n = 0; n < b.n; n++) /* every truncation */
        assert_int_equal(roster_get(bytes_of(b.p, n), &label, &back),
                         ERR_CORRUPT);
    for (size_t i = 0; i < b.n; i++) { /* every byte wrong */
        b.p[i] ^= 0x40;
        assert_int_equal(roster_get(buf_bytes(&b), &label, &back), ERR_CORRUPT);
        b.p[i] ^= 0x40;
    }
    label.token_hash = 8;
    assert_int_equal(roster_get(buf_bytes(&b), &label, &back), ERR_NOT_FOUND);
    label = a_label();
    label.query = bytes_str("/v1/health/service/other");
    assert_int_equal(roster_get(buf_bytes(&b), &label, &back), ERR_NOT_FOUND);
    label = a_label();
    label.datacenter = bytes_str("dc2");
    assert_int_equal(roster_get(buf_bytes(&b), &label, &back), ERR_NOT_FOUND);
    label = a_label();
    label.cluster = bytes_str("another");
    assert_int_equal(roster_get(buf_bytes(&b), &label, &back), ERR_NOT_FOUND);
    label.cluster = bytes_str(""); /* nobody has said */
    assert_ok(roster_get(buf_bytes(&b), &label, &back));
    assert_bytes(label.cluster, "mine");
    roster_free(back);
    buf_putc(&b, 'x');
    label = a_label();
    assert_int_equal(roster_get(buf_bytes(&b), &label, &back), ERR_CORRUPT);
    roster_free(r);
    buf_fini(&b);
}

/* --- Lack of memory ------------------------------------------------------ */

static enum err whole_way(void)
{
    static const char body[] = "[" ENTRY("a", "80", "},\"Checks\":[]") "]";
    struct roster *a = NULL, *b = NULL, *c = NULL, *d = NULL;
    struct roster_label label = a_label();
    struct errtext t;
    struct buf out;

    buf_init(&out, 0);
    enum err e = roster_parse(bytes_str(body), &a, &t);
    if (e == ERR_OK)
        e = roster_parse(bytes_str("[]"), &b, &t);
    if (e == ERR_OK) {
        struct roster *take = b;
        b = NULL;
        e = roster_follow(a, take, ROSTER_LIST, 1, HOLD_MS, &c);
    }
    if (e == ERR_OK) {
        roster_put(&out, c, &label);
        e = out.bad ? ERR_NOMEM : roster_get(buf_bytes(&out), &label, &d);
    }
    roster_free(a);
    roster_free(b);
    roster_free(c);
    roster_free(d);
    buf_fini(&out);
    return e;
}

static void lack_of_memory_is_an_error(void **state)
{
    (void)state;
    for (long nth = 1;; nth++) {
        long live = fail_malloc_live;
        fail_malloc_in = nth;
        enum err e = whole_way();
        bool failed = fail_malloc_off();
        assert_int_equal(fail_malloc_live, live);
        if (!failed) {
            assert_ok(e);
            assert_true(nth > 8);
            return;
        }
        assert_int_equal(e, ERR_NOMEM);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_answer_says_who_how_well_and_how_much),
    cmocka_unit_test(instances_that_nobody_can_call_are_left_out),
    cmocka_unit_test(garbage_is_refused),
    cmocka_unit_test(single_removals_are_believed),
    cmocka_unit_test(an_empty_or_halved_list_is_not_believed_for_a_while),
    cmocka_unit_test(a_flapping_registry_changes_nothing),
    cmocka_unit_test(what_is_kept_is_not_kept_again),
    cmocka_unit_test(another_life_of_the_registry_removes_nothing_at_once),
    cmocka_unit_test(what_was_told_one_by_one_is_believed_to_the_last),
    cmocka_unit_test(without_holding_all_is_believed),
    cmocka_unit_test(what_fell_silent_is_kept_and_what_left_is_not),
    cmocka_unit_test(without_an_end_they_stay),
    cmocka_unit_test(the_registrys_own_word_counts),
    cmocka_unit_test(slow_start_counts_from_when_it_was_ready),
    cmocka_unit_test(priorities_are_small_numbers),
    cmocka_unit_test(kept_ones_can_be_taken_out),
    cmocka_unit_test(a_file_gives_back_what_was_put_in),
    cmocka_unit_test(damaged_and_foreign_files_are_told_apart),
    cmocka_unit_test(lack_of_memory_is_an_error),
};

RUN_TESTS(tests)
