/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "wan/wan.h"

#include <math.h>
#include <stdio.h>

#include "test.h"

static struct wan_who who(const char *node, const char *dc, int id)
{
    struct wan_who w = {.port = 8302, .at = coordinate_origin()};
    snprintf(w.node, sizeof w.node, "%s", node);
    snprintf(w.datacenter, sizeof w.datacenter, "%s", dc);
    snprintf(w.id, sizeof w.id, "00000000-0000-4000-8000-%012d", id);
    snprintf(w.address, sizeof w.address, "10.0.0.%d", id % 250);
    return w;
}

struct world {
    struct wan w;
    struct errtext t;
    bool changed;
};

static int setup(void **state)
{
    static struct world world;
    struct wan_who self = who("self", "dc1", 1);
    world = (struct world){.changed = false};
    wan_init(&world.w, &self);
    *state = &world;
    return 0;
}

static int teardown(void **state)
{
    struct world *o = *state;
    wan_fini(&o->w);
    return 0;
}

static enum err hear(struct world *o, struct wan_who from, double rtt_s,
                     uint64_t now_ms)
{
    return wan_heard(&o->w, &from, rtt_s, now_ms, &o->changed, &o->t);
}

static enum err tell(struct world *o, struct wan_who of, uint64_t now_ms)
{
    return wan_told(&o->w, &of, now_ms, &o->t);
}

static void who_is_told_of_is_asked_and_shown_once_it_answers(void **state)
{
    struct world *o = *state;
    assert_null(wan_due(&o->w, 1000));
    assert_ok(tell(o, who("b", "dc2", 2), 1000));
    assert_ok(tell(o, who("self", "dc1", 1), 1000)); /* that is no news */
    assert_int_equal(o->w.n, 1);
    assert_false(o->w.v[0].known);
    const struct wan_member *m = wan_due(&o->w, 1000);
    assert_string_equal(m->who.node, "b");
    assert_null(wan_due(&o->w, 1000 + WAN_PING_MS - 1));
    assert_ok(hear(o, who("b", "dc2", 2), 0.080, 1080));
    assert_true(o->changed);
    assert_true(o->w.v[0].known && o->w.v[0].alive);
    assert_ok(hear(o, who("b", "dc2", 2), 0.081, 1180));
    assert_false(o->changed);
    assert_non_null(wan_due(&o->w, 1000 + WAN_PING_MS));
}

static void silence_is_failure_and_no_reason_to_forget(void **state)
{
    struct world *o = *state;
    assert_ok(hear(o, who("b", "dc2", 2), 0.080, 1000));
    assert_false(wan_expire(&o->w, 1000 + WAN_FAILED_MS - 1));
    assert_true(wan_expire(&o->w, 1000 + WAN_FAILED_MS));
    assert_false(o->w.v[0].alive);
    assert_false(wan_expire(&o->w, 1000 + WAN_REAP_MS - 1));
    assert_int_equal(o->w.n, 1);
    assert_ok(hear(o, who("b", "dc2", 2), -1, 900000));
    assert_true(o->changed && o->w.v[0].alive);
    assert_true(wan_expire(&o->w, 900000 + WAN_FAILED_MS));
    assert_true(wan_expire(&o->w, 900000 + WAN_REAP_MS));
    assert_int_equal(o->w.n, 0);
}

static void the_median_of_round_trips_counts(void **state)
{
    struct world *o = *state;
    static const double rtts[] = {0.080, 5.0, 0.082, 0.081, 0.079};
    for (size_t i = 0; i < 5; i++)
        assert_ok(hear(o, who("b", "dc2", 2), rtts[i], 1000 + i));
    assert_true(fabs(o->w.v[0].rtt_s - 0.081) < 1e-9);
    assert_ok(hear(o, who("b", "dc2", 2), -1, 2000)); /* it asked */
    assert_true(fabs(o->w.v[0].rtt_s - 0.081) < 1e-9);
}

static void equal_names_are_refused_while_the_other_lives(void **state)
{
    struct world *o = *state;
    assert_ok(hear(o, who("b", "dc2", 2), 0.1, 1000));
    assert_int_equal(hear(o, who("B", "dc2", 3), 0.1, 1001), ERR_CONFLICT);
    assert_non_null(strstr(o->t.s, "two servers call themselves"));
    assert_ok(tell(o, who("b", "dc2", 3), 1001)); /* a word is no quarrel */
    assert_int_equal(o->w.n, 1);
    /* In another datacenter it is another name. */
    assert_ok(hear(o, who("b", "dc3", 4), 0.1, 1002));
    assert_int_equal(hear(o, who("self", "dc1", 5), 0.1, 1003), ERR_CONFLICT);
    (void)wan_expire(&o->w, 1000 + WAN_FAILED_MS);
    assert_ok(hear(o, who("B", "dc2", 3), 0.1, 1000 + WAN_FAILED_MS));
    assert_int_equal(o->w.n, 2);
}

static void a_server_may_be_renamed_and_moved(void **state)
{
    struct world *o = *state;
    assert_ok(hear(o, who("b", "dc2", 2), 0.1, 1000));
    struct wan_who again = who("c", "dc2", 2);
    assert_ok(hear(o, again, 0.1, 1001));
    assert_true(o->changed);
    assert_int_equal(o->w.n, 1);
    assert_string_equal(o->w.v[0].who.node, "c");
    again.port = 9999;
    assert_ok(hear(o, again, 0.1, 1002));
    assert_true(o->changed);
    assert_int_equal(o->w.v[0].who.port, 9999);
    /* A fresh one in its place, with another ID. */
    again = who("c", "dc2", 7);
    snprintf(again.address, sizeof again.address, "10.0.0.2");
    again.port = 9999;
    assert_ok(hear(o, again, 0.1, 1003));
    assert_int_equal(o->w.n, 1);
}

static void leaving_and_being_forced_out_take_it_away(void **state)
{
    struct world *o = *state;
    assert_ok(hear(o, who("b.x", "dc2", 2), 0.1, 1000));
    assert_ok(hear(o, who("c", "dc2", 3), 0.1, 1000));
    assert_true(wan_leave(&o->w, "00000000-0000-4000-8000-000000000003"));
    assert_false(wan_leave(&o->w, "00000000-0000-4000-8000-000000000003"));
    assert_false(wan_force(&o->w, bytes_str("b.x.dc3")));
    assert_false(wan_force(&o->w, bytes_str("b.x")));
    assert_true(wan_force(&o->w, bytes_str("B.x.dc2")));
    assert_int_equal(o->w.n, 0);
}

static void what_is_no_server_is_refused_by_name(void **state)
{
    struct world *o = *state;
    struct wan_who w = who("b", "dc two", 2);
    assert_int_equal(hear(o, w, 0.1, 1), ERR_BAD);
    assert_non_null(strstr(o->t.s, "which DNS could not carry"));
    w = who("b", "", 2);
    assert_int_equal(hear(o, w, 0.1, 1), ERR_BAD);
    w = who("", "dc2", 2);
    assert_int_equal(hear(o, w, 0.1, 1), ERR_BAD);
    w = who("b", "dc2", 2);
    w.port = 0;
    assert_int_equal(tell(o, w, 1), ERR_BAD);
    w = who("b", "dc2", 2);
    w.at.vec[0] = NAN;
    assert_int_equal(tell(o, w, 1), ERR_BAD);
    w = who("b", "dc2", 2);
    w.id[3] = 'x';
    assert_int_equal(tell(o, w, 1), ERR_BAD);
    w = who("b", "dc2", 2);
    snprintf(w.address, sizeof w.address, "a b");
    assert_int_equal(tell(o, w, 1), ERR_BAD);
    assert_int_equal(o->w.n, 0);
}

static void there_is_a_limit(void **state)
{
    struct world *o = *state;
    char name[32];
    for (int i = 0; i < WAN_MEMBERS_MAX; i++) {
        snprintf(name, sizeof name, "n%d", i);
        assert_ok(tell(o, who(name, "dc2", i + 2), 1));
    }
    assert_int_equal(tell(o, who("more", "dc2", 9999), 1), ERR_LIMIT);
    for (size_t i = 1; i < o->w.n; i++)
        assert_true(strcmp(o->w.v[i - 1].who.node, o->w.v[i].who.node) < 0);
}

static const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    T(who_is_told_of_is_asked_and_shown_once_it_answers),
    T(silence_is_failure_and_no_reason_to_forget),
    T(the_median_of_round_trips_counts),
    T(equal_names_are_refused_while_the_other_lives),
    T(a_server_may_be_renamed_and_moved),
    T(leaving_and_being_forced_out_take_it_away),
    T(what_is_no_server_is_refused_by_name),
    T(there_is_a_limit),
};

RUN_TESTS(tests)
