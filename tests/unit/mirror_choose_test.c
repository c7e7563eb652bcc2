/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "mirror/choose.h"

#include "test.h"

enum { YOUNG = 900, OLD = 3600 * 1000 + 1, AGE_MAX = 3600 * 1000 };
enum how { DEFAULT, STALE, CONSISTENT, STREAM };

static enum mirror_choice chosen(enum how how, bool up, uint64_t age_ms)
{
    const struct mirror_asked q = {.stale = how == STALE,
                                   .consistent = how == CONSISTENT,
                                   .stream = how == STREAM,
                                   .mirrored = true};
    const struct mirror_state m = {
        .usable = true, .link_up = up, .age_ms = age_ms, .age_max_ms = AGE_MAX};
    return mirror_choose(&q, &m);
}

static void the_table_holds(void **state)
{
    static const struct {
        enum how how;
        bool up;
        uint64_t age_ms;
        enum mirror_choice want;
    } rows[] = {
        {DEFAULT, true, YOUNG, CHOOSE_THERE},
        {DEFAULT, true, OLD, CHOOSE_THERE},
        {DEFAULT, false, YOUNG, CHOOSE_MIRROR},
        {DEFAULT, false, AGE_MAX, CHOOSE_MIRROR},
        {DEFAULT, false, OLD, CHOOSE_NOBODY},
        {STALE, true, YOUNG, CHOOSE_MIRROR},
        {STALE, true, OLD, CHOOSE_THERE},
        {STALE, false, YOUNG, CHOOSE_MIRROR},
        {STALE, false, OLD, CHOOSE_NOBODY},
        {STREAM, true, YOUNG, CHOOSE_MIRROR},
        {STREAM, true, OLD, CHOOSE_THERE},
        {STREAM, false, YOUNG, CHOOSE_MIRROR},
        {STREAM, false, OLD, CHOOSE_NOBODY},
        {CONSISTENT, true, YOUNG, CHOOSE_THERE},
        {CONSISTENT, true, OLD, CHOOSE_THERE},
        {CONSISTENT, false, YOUNG, CHOOSE_THERE},
        {CONSISTENT, false, OLD, CHOOSE_THERE},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(chosen(rows[i].how, rows[i].up, rows[i].age_ms),
                         rows[i].want);
}

static void
what_a_request_wants_younger_is_not_answered_from_older(void **state)
{
    struct mirror_asked q = {
        .stale = true, .mirrored = true, .limited = true, .max_stale_ms = 500};
    struct mirror_state m = {
        .usable = true, .link_up = true, .age_ms = 501, .age_max_ms = AGE_MAX};
    (void)state;

    assert_int_equal(mirror_choose(&q, &m), CHOOSE_THERE);
    m.link_up = false;
    assert_int_equal(mirror_choose(&q, &m), CHOOSE_NOBODY);
    m.age_ms = 500;
    assert_int_equal(mirror_choose(&q, &m), CHOOSE_MIRROR);
    q.stale = false; /* the limit counts for who takes what there is, too */
    m.age_ms = 501;
    assert_int_equal(mirror_choose(&q, &m), CHOOSE_NOBODY);
}

static void what_only_the_other_side_knows_is_asked_there(void **state)
{
    struct mirror_asked q = {.stale = true, .mirrored = true, .more = true};
    struct mirror_state m = {
        .usable = true, .link_up = true, .age_max_ms = AGE_MAX};
    (void)state;

    assert_int_equal(mirror_choose(&q, &m), CHOOSE_THERE);
    m.link_up = false;
    assert_int_equal(mirror_choose(&q, &m), CHOOSE_MIRROR);
    q.mirrored = false;
    assert_int_equal(mirror_choose(&q, &m), CHOOSE_THERE);
}

static void what_is_not_mirrored_answers_nothing(void **state)
{
    const struct mirror_asked q = {.stale = true, .mirrored = true};
    struct mirror_state m = {.age_max_ms = AGE_MAX};
    (void)state;

    assert_int_equal(mirror_choose(&q, &m), CHOOSE_THERE);
    m.link_up = true;
    assert_int_equal(mirror_choose(&q, &m), CHOOSE_THERE);
}

static void names_and_prefixes_cover_services(void **state)
{
    static const char *const words[] = {"web", "pay-*"};
    (void)state;

    assert_true(mirror_covers(words, 2, bytes_str("WEB")));
    assert_false(mirror_covers(words, 2, bytes_str("web-2")));
    assert_true(mirror_covers(words, 2, bytes_str("pay-")));
    assert_true(mirror_covers(words, 2, bytes_str("Pay-eu")));
    assert_false(mirror_covers(words, 2, bytes_str("pay")));
    assert_false(mirror_covers(words, 2, bytes_str("")));
    assert_false(mirror_covers(words, 0, bytes_str("web")));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(names_and_prefixes_cover_services),
    cmocka_unit_test(the_table_holds),
    cmocka_unit_test(what_a_request_wants_younger_is_not_answered_from_older),
    cmocka_unit_test(what_only_the_other_side_knows_is_asked_there),
    cmocka_unit_test(what_is_not_mirrored_answers_nothing),
};

RUN_TESTS(tests)
