/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Who makes room in etcd when (duty/room.h), on a clock of the test's own. */
#include "duty/room.h"

#include <string.h>

#include "test.h"

enum { QUOTA = 1000 * 1000, MINUTE_MS = 60 * 1000 };

/* Three members; the second leads. */
struct scene {
    struct room room;
    struct room_look look;
    struct room_plan plan;
};

static void begin(struct scene *s)
{
    *s = (struct scene){0};
    s->look.quota = QUOTA;
    s->look.now_ms = 1000;
    s->look.revision = 100;
    s->look.count = 3;
    for (size_t i = 0; i < 3; i++)
        s->look.members[i] = (struct room_member){
            .id = 11 + i, .size = 0, .known = true, .leader = i == 1};
}

static void fill(struct scene *s, unsigned size, unsigned used)
{
    for (size_t i = 0; i < s->look.count; i++) {
        s->look.members[i].size = QUOTA / 100 * size;
        s->look.members[i].in_use = QUOTA / 100 * used;
    }
}

static enum room_next later(struct scene *s, uint64_t ms)
{
    s->look.now_ms += ms;
    s->look.revision++;
    room_decide(&s->room, &s->look, &s->plan);
    return s->plan.next;
}

static void below_its_bounds_nothing_is_done(void **state)
{
    struct scene s;

    (void)state;
    begin(&s);
    fill(&s, 75, 59); /* writes fill what is free first */
    for (int i = 0; i < 1000; i++)
        assert_int_equal(later(&s, MINUTE_MS), ROOM_WAIT);
    assert_false(s.plan.full);
    assert_int_equal(s.plan.in_ms, ROOM_LOOK_MS);
}

static void history_goes_ahead_of_the_quota_but_for_ten_minutes(void **state)
{
    struct scene s;

    (void)state;
    begin(&s);
    fill(&s, 50, 50);
    for (int i = 0; i < 60; i++)
        assert_int_equal(later(&s, MINUTE_MS), ROOM_WAIT);
    uint64_t newest = s.look.revision;

    fill(&s, 60, 60);
    assert_int_equal(later(&s, MINUTE_MS), ROOM_COMPACT);
    assert_int_equal(s.plan.percent, 60);
    /* The older half of an hour, and again. */
    assert_in_range(s.plan.revision, newest - 35, newest - 25);
    int more = 0;
    while (later(&s, 0) == ROOM_COMPACT)
        more++;
    assert_in_range(more, 1, 5);
    assert_true(s.plan.revision == 0);
    assert_int_equal(later(&s, 0), ROOM_WAIT);
    assert_false(s.plan.full); /* yet */
}

static void the_fuller_the_less_of_history_stays(void **state)
{
    struct scene s;

    (void)state;
    begin(&s);
    fill(&s, 50, 50);
    for (int i = 0; i < 30; i++)
        (void)later(&s, 1000);
    fill(&s, 79, 79); /* half a minute is not ten */
    assert_int_equal(later(&s, 0), ROOM_WAIT);
    fill(&s, 80, 80);
    while (later(&s, 0) == ROOM_COMPACT)
        assert_true(s.plan.keep_ms >= ROOM_TIGHT_KEEP_MS);
    assert_true(s.plan.full); /* dropping more would not help for long */
    fill(&s, 90, 90);
    assert_int_equal(later(&s, 0), ROOM_COMPACT);
    assert_in_range(s.plan.keep_ms, ROOM_LAST_KEEP_MS, ROOM_TIGHT_KEEP_MS);
}

static void members_are_defragmented_one_by_one_the_leader_last(void **state)
{
    static const size_t order[] = {0, 2, 1};
    struct scene s;

    (void)state;
    begin(&s);
    fill(&s, 70, 40);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(later(&s, 1000), ROOM_DEFRAGMENT);
        assert_int_equal(s.plan.member, order[i]);
        s.look.members[order[i]].size = s.look.members[order[i]].in_use;
    }
    assert_int_equal(later(&s, 1000), ROOM_WAIT);
}

static void one_that_fails_is_not_tried_at_once_again(void **state)
{
    struct scene s;

    (void)state;
    begin(&s);
    s.look.count = 1;
    fill(&s, 70, 40);
    assert_int_equal(later(&s, 1000), ROOM_DEFRAGMENT);
    assert_int_equal(later(&s, 1000), ROOM_WAIT);
    assert_int_equal(later(&s, ROOM_AGAIN_MS), ROOM_DEFRAGMENT);
}

static void what_is_hardly_smaller_in_use_stays_as_it_is(void **state)
{
    struct scene s;

    (void)state;
    begin(&s);
    fill(&s, 70, 51);
    assert_int_equal(later(&s, MINUTE_MS), ROOM_WAIT);
    fill(&s, 59, 1); /* nobody needs it */
    assert_int_equal(later(&s, MINUTE_MS), ROOM_WAIT);
    fill(&s, 70, 30);
    for (size_t i = 0; i < 3; i++) /* nor can it be seen */
        s.look.members[i].known = false;
    assert_int_equal(later(&s, MINUTE_MS), ROOM_WAIT);
}

static void an_alarm_is_answered_by_room_and_then_taken_back(void **state)
{
    static const size_t order[] = {0, 2, 1};
    struct scene s;

    (void)state;
    begin(&s);
    fill(&s, 100, 100);
    s.look.members[2].alarmed = true;
    assert_int_equal(later(&s, 1000), ROOM_COMPACT);
    assert_int_equal(s.plan.revision, s.look.revision); /* all of history */
    assert_int_equal(later(&s, 500), ROOM_WAIT); /* it is not dropped yet */
    assert_false(s.plan.full);
    s.look.oldest = s.look.revision; /* what is in use nobody tells now */
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(later(&s, 500), ROOM_DEFRAGMENT);
        assert_int_equal(s.plan.member, order[i]);
        s.look.members[order[i]].size = QUOTA / 3;
        s.look.members[order[i]].in_use = QUOTA / 3;
    }
    assert_int_equal(later(&s, 500), ROOM_DISARM);
    assert_int_equal(s.plan.member, 2);
    s.look.members[2].alarmed = false;
    assert_int_equal(later(&s, 500), ROOM_WAIT);
}

static void an_alarm_of_live_data_is_told_and_stays(void **state)
{
    struct scene s;

    (void)state;
    begin(&s);
    fill(&s, 100, 98);
    s.look.members[0].alarmed = true;
    assert_int_equal(later(&s, 1000), ROOM_COMPACT);
    assert_int_equal(later(&s, ROOM_EFFECT_MS), ROOM_DEFRAGMENT);
    assert_int_equal(later(&s, 1000), ROOM_DEFRAGMENT);
    assert_int_equal(later(&s, 1000), ROOM_DEFRAGMENT);
    assert_int_equal(later(&s, 1000), ROOM_WAIT);
    assert_true(s.plan.full);
    s.look.quota = QUOTA * 2; /* somebody has raised it */
    assert_int_equal(later(&s, 1000), ROOM_DISARM);
}

static void an_alarm_counts_where_the_quota_is_not_known(void **state)
{
    struct scene s;

    (void)state;
    begin(&s);
    s.look.quota = 0;
    s.look.members[1].alarmed = true;
    fill(&s, 90, 20);
    assert_int_equal(later(&s, 1000), ROOM_COMPACT);
    s.look.oldest = s.look.revision;
    for (int i = 0; i < 3; i++)
        assert_int_equal(later(&s, 1000), ROOM_DEFRAGMENT);
    assert_int_equal(later(&s, 1000), ROOM_DISARM);
}

static void what_grows_fast_is_looked_at_often(void **state)
{
    struct scene s;

    (void)state;
    begin(&s);
    fill(&s, 10, 10);
    (void)later(&s, 1000);
    fill(&s, 40, 40); /* a third of the quota in a second */
    (void)later(&s, 1000);
    assert_int_equal(s.plan.in_ms, ROOM_LOOK_MIN_MS);
    fill(&s, 45, 45);
    (void)later(&s, 1000);
    assert_int_equal(s.plan.in_ms, 2 * ROOM_LOOK_MIN_MS);
    (void)later(&s, 1000);
    assert_int_equal(s.plan.in_ms, 4 * ROOM_LOOK_MIN_MS);
    (void)later(&s, 1000);
    assert_int_equal(s.plan.in_ms, ROOM_LOOK_MS);
    fill(&s, 50, 50);
    (void)later(&s, 1000);
    assert_int_equal(s.plan.in_ms, 500);
}

/* History of the last seconds fills it: while that stays nothing is done, and it
 * takes less than a second from there to the quota. */
static void what_is_nearly_full_is_looked_at_often(void **state)
{
    struct scene s;

    (void)state;
    begin(&s);
    fill(&s, 70, 70);
    (void)later(&s, 1000);
    fill(&s, 88, 88);
    (void)later(&s, 1000);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(later(&s, ROOM_LOOK_MIN_MS), ROOM_WAIT);
        assert_int_equal(s.plan.in_ms, ROOM_LOOK_MIN_MS);
    }
}

/* Writers who fill half of the quota a minute, and never reach it. */
static void churn_never_reaches_the_quota(void **state)
{
    struct scene s;
    uint64_t live = QUOTA / 10, history[600] = {0}, first = 0, n = 0;

    (void)state;
    begin(&s);
    s.look.count = 1;
    for (uint64_t second = 0; second < 3600; second++) {
        uint64_t used = live, wait_ms = 1000;

        history[n++ % 600] = QUOTA / 2 / 60;
        for (uint64_t i = first; i < n; i++)
            used += history[i % 600];
        s.look.members[0].in_use = used;
        if (s.look.members[0].size < used)
            s.look.members[0].size = used;
        assert_true(s.look.members[0].size < QUOTA);
        s.look.revision = 1000 + n - 1; /* one for each second */
        s.look.now_ms += wait_ms;
        room_decide(&s.room, &s.look, &s.plan);
        if (s.plan.next == ROOM_COMPACT)
            first = s.plan.revision - 1000;
        if (s.plan.next == ROOM_DEFRAGMENT)
            s.look.members[0].size = used;
    }
    assert_true(first > 3000);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(below_its_bounds_nothing_is_done),
    cmocka_unit_test(history_goes_ahead_of_the_quota_but_for_ten_minutes),
    cmocka_unit_test(the_fuller_the_less_of_history_stays),
    cmocka_unit_test(members_are_defragmented_one_by_one_the_leader_last),
    cmocka_unit_test(one_that_fails_is_not_tried_at_once_again),
    cmocka_unit_test(what_is_hardly_smaller_in_use_stays_as_it_is),
    cmocka_unit_test(an_alarm_is_answered_by_room_and_then_taken_back),
    cmocka_unit_test(an_alarm_of_live_data_is_told_and_stays),
    cmocka_unit_test(an_alarm_counts_where_the_quota_is_not_known),
    cmocka_unit_test(what_grows_fast_is_looked_at_often),
    cmocka_unit_test(what_is_nearly_full_is_looked_at_often),
    cmocka_unit_test(churn_never_reaches_the_quota),
};

RUN_TESTS(tests)
