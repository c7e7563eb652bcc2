/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* The duty on a virtual clock: a toy store commits its plans, the test says what
 * probes find. */
#include "duty/duty.h"

#include "catalog_guard.h"

enum { WINDOW_MS = 30000, PROBES = 64 };

struct watch {
    struct desk *d;
    struct duty *duty;
    struct beats *beats;
    uint64_t now_ms;
    struct plan plan;     /* to be committed */
    bool flying, refuses; /* the store takes nothing */
    size_t commits;
    char probes[PROBES][32];
    size_t probe_n;
};

static void on_probe(void *ctx, struct bytes key, struct bytes host,
                     int64_t port)
{
    struct watch *w = ctx;

    assert_true(w->probe_n < PROBES && host.n && port > 0);
    (void)snprintf(w->probes[w->probe_n++], sizeof w->probes[0], "%.*s",
                   BYTES_ARG(key));
}

static void on_unprobe(void *ctx, struct bytes key)
{
    struct watch *w = ctx;

    for (size_t i = 0; i < w->probe_n; i++)
        if (bytes_is(key, w->probes[i])) {
            memcpy(w->probes[i], w->probes[--w->probe_n], sizeof w->probes[0]);
            return;
        }
    fail_msg("%.*s was not tried", BYTES_ARG(key));
}

static void on_commit(void *ctx, const struct plan *p, const char *what)
{
    struct watch *w = ctx;

    assert_true(!w->flying && what[0]);
    w->flying = true;
    w->plan = *p;
}

static bool has_fence(const struct plan *p)
{
    for (size_t i = 0; i < p->guard_count; i++)
        if (p->guards[i].rev == 77)
            return true;
    return false;
}

/* Runs until nothing more is due now. */
static void settle(struct watch *w)
{
    for (int turns = 0; turns < 1000; turns++) {
        (void)duty_run(w->duty, w->now_ms);
        if (!w->flying)
            return;
        w->flying = false;
        assert_true(has_fence(&w->plan));
        w->plan.guard_count--; /* the fence is no key of the toy store */
        bool holds = !w->refuses && plan_holds(w->d->w, &w->plan);
        if (holds)
            plan_apply(w->d->w, &w->plan);
        w->commits += holds;
        duty_committed(w->duty, holds, !holds && !w->refuses,
                       w->d->w->revision);
        if (w->refuses)
            return;
    }
    fail_msg("the duty does not come to rest");
}

static void pass(struct watch *w, uint64_t ms)
{
    w->now_ms += ms;
    settle(w);
}

static void gain(struct watch *w)
{
    const struct store_guard fence = {GUARD_CREATE, bytes_str("duty"), 77};

    duty_gained(w->duty, &fence, w->now_ms);
    settle(w);
}

static int begin(void **state)
{
    struct watch *w = xzalloc(sizeof *w);
    void *desk;

    assert_int_equal(set_up(&desk), 0);
    w->d = desk;
    w->now_ms = 1000;
    w->beats = beats_new(&w->d->w->pins);
    w->duty = duty_new(&(struct duty_options){
        .catalog = w->d->w->catalog,
        .beats = w->beats,
        .own_node = bytes_str("own"),
        .window_ms = WINDOW_MS,
        .probe = on_probe,
        .unprobe = on_unprobe,
        .commit = on_commit,
        .ctx = w,
    });
    *state = w;
    return 0;
}

static int end(void **state)
{
    struct watch *w = *state;
    void *desk = w->d;

    duty_free(w->duty);
    beats_free(w->beats);
    (void)tear_down(&desk);
    free(w);
    return 0;
}

/* With a port, so that they can be tried. */
static void add_port(struct watch *w, size_t n, const char *ttl)
{
    struct buf meta = {0};
    struct service_view s = {.id = bytes_str("web"),
                             .name = bytes_str("web"),
                             .port = 80,
                             .weight_passing = 1,
                             .weight_warning = 1};
    struct check_view v = check("web", "web", "passing", CAUSE_EVIDENCE);
    struct registration r = wish(w->d, n);

    if (ttl) {
        packed_put_pair(&meta, bytes_str(BEATS_META), bytes_str(ttl));
        s.meta = (struct packed){buf_bytes(&meta), 1};
    }
    r.service = &s;
    r.checks = &v;
    r.check_count = 1;
    assert_ok(plan_register(&w->d->p, now(w->d), &r, &w->d->t));
    commit(w->d);
    buf_fini(&meta);
}

static void silence(struct watch *w, size_t n)
{
    for (size_t i = 0; i < n; i++)
        add_port(w, i, NULL);
    for (size_t i = 0; i < n; i++)
        fall_silent(w->d, i);
}

static void all_probes(struct watch *w, enum duty_verdict v)
{
    char keys[PROBES][32];
    size_t n = w->probe_n;

    memcpy(keys, w->probes, sizeof keys);
    for (size_t i = 0; i < n; i++)
        duty_probed(w->duty, bytes_str(keys[i]), v);
    settle(w);
}

/* --- Windows ------------------------------------------------------------- */

static void who_does_not_hold_the_duty_writes_nothing(void **state)
{
    struct watch *w = *state;

    silence(w, 4);
    pass(w, 10 * WINDOW_MS);
    assert_int_equal(w->commits + w->probe_n, 0);
    gain(w);
    assert_int_equal(w->probe_n, 2);
    duty_lost(w->duty);
    assert_int_equal(w->probe_n, 0);
    pass(w, 10 * WINDOW_MS);
    assert_int_equal(w->commits, 0);
}

static void a_window_ends_by_the_holders_own_clock(void **state)
{
    struct watch *w = *state;

    gain(w);
    silence(w, 4);
    settle(w);
    for (size_t i = 0; i < 4; i++)
        turn(w->d, i, "passing", CAUSE_EVIDENCE);
    pass(w, WINDOW_MS - 1);
    assert_true(recorded(w->d));
    pass(w, 1);
    assert_false(recorded(w->d));
    assert_int_equal(duty_counts(w->duty).windows, 1);
}

static void a_new_holder_begins_the_window_anew(void **state)
{
    struct watch *w = *state;

    gain(w);
    silence(w, 4);
    pass(w, WINDOW_MS - 1);
    duty_lost(w->duty);
    gain(w);
    pass(w, WINDOW_MS - 1);
    assert_int_equal(w->commits, 0);
}

/* --- Releases ------------------------------------------------------------ */

static void a_refused_port_is_out_at_once(void **state)
{
    struct watch *w = *state;

    gain(w);
    silence(w, 4);
    settle(w);
    assert_int_equal(held(w->d), 2);
    all_probes(w, DUTY_REFUSED);
    assert_int_equal(held(w->d), 0);
    assert_int_equal(answered(w->d), 0);
    assert_int_equal(w->probe_n, 0);
    assert_int_equal(duty_counts(w->duty).refused, 2);
}

static void one_that_accepts_stays(void **state)
{
    struct watch *w = *state;

    gain(w);
    silence(w, 8);
    settle(w);
    all_probes(w, DUTY_ACCEPTED);
    for (int i = 0; i < 20; i++)
        pass(w, WINDOW_MS);
    assert_int_equal(held(w->d), 4);
}

static void the_unreachable_go_by_halves_but_the_last(void **state)
{
    static const size_t left[] = {4, 2, 1, 1, 1};
    struct watch *w = *state;

    gain(w);
    silence(w, 8);
    settle(w);
    all_probes(w, DUTY_UNREACHABLE);
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++) {
        assert_int_equal(held(w->d), left[i]);
        pass(w, WINDOW_MS);
    }
    assert_int_equal(member(w->d, 7, "web"), MEMBER_HELD); /* the youngest */
    assert_int_equal(duty_counts(w->duty).by_time, 3);
}

static void what_cannot_be_tried_counts_as_unreachable(void **state)
{
    struct watch *w = *state;

    gain(w);
    add_many(w->d, 8); /* without a port */
    for (size_t i = 0; i < 8; i++)
        fall_silent(w->d, i);
    settle(w);
    assert_int_equal(w->probe_n, 0);
    pass(w, WINDOW_MS);
    assert_int_equal(held(w->d), 2);
}

static void what_nobody_has_tried_yet_stays(void **state)
{
    struct watch *w = *state;

    gain(w);
    silence(w, 8);
    settle(w);
    pass(w, WINDOW_MS);
    pass(w, WINDOW_MS);
    assert_int_equal(held(w->d), 4);
}

static void a_silent_node_lets_its_services_go_within_the_bounds(void **state)
{
    struct watch *w = *state;

    gain(w);
    for (size_t i = 0; i < 4; i++)
        add_port(w, i, NULL);
    for (size_t i = 0; i < 4; i++) {
        say(w->d, i, "agent", "", "critical", CAUSE_SILENCE);
        commit(w->d);
    }
    assert_int_equal(held(w->d), 4);
    settle(w);
    assert_int_equal(held(w->d), 2);
    all_probes(w, DUTY_UNREACHABLE);
    pass(w, WINDOW_MS);
    assert_int_equal(held(w->d), 1);
}

static void a_single_instance_of_a_silent_node_is_let_go(void **state)
{
    struct watch *w = *state;

    gain(w);
    add_port(w, 0, NULL);
    say(w->d, 0, "agent", "", "critical", CAUSE_SILENCE);
    commit(w->d);
    settle(w);
    assert_int_equal(answered(w->d), 0);
}

static void recovery_ends_everything(void **state)
{
    struct watch *w = *state;

    gain(w);
    silence(w, 4);
    settle(w);
    for (size_t i = 0; i < 4; i++)
        turn(w->d, i, "passing", CAUSE_EVIDENCE);
    settle(w);
    assert_int_equal(w->probe_n, 0);
    assert_int_equal(duty_counts(w->duty).held, 0);
    pass(w, 2 * WINDOW_MS);
    assert_false(recorded(w->d));
    assert_true(duty_run(w->duty, w->now_ms) > WINDOW_MS);
}

/* A feed may be late by any time; asking again each millisecond does not help. */
static void what_is_not_shown_yet_is_waited_for_without_a_timer(void **state)
{
    struct watch *w = *state;

    gain(w);
    silence(w, 4);
    settle(w);
    all_probes(w, DUTY_UNREACHABLE);
    w->now_ms += WINDOW_MS;
    (void)duty_run(w->duty, w->now_ms);
    assert_true(w->flying);
    w->flying = false;
    duty_committed(w->duty, true, false, w->d->w->revision + 1);
    w->now_ms += 2 * WINDOW_MS;
    assert_true(duty_run(w->duty, w->now_ms) == UINT64_MAX);
    w->plan.guard_count--; /* the fence */
    plan_apply(w->d->w, &w->plan);
    (void)duty_run(w->duty, w->now_ms);
    assert_true(w->flying); /* and on it goes */
    settle(w);
}

static void a_store_that_takes_nothing_is_tried_again(void **state)
{
    struct watch *w = *state;

    gain(w);
    silence(w, 4);
    settle(w);
    w->refuses = true;
    all_probes(w, DUTY_REFUSED);
    assert_int_equal(held(w->d), 2);
    w->refuses = false;
    pass(w, 1);
    assert_int_equal(held(w->d), 2);
    pass(w, DUTY_RETRY_MS);
    assert_int_equal(held(w->d), 0);
}

/* --- From outside -------------------------------------------------------- */

static void beats_keep_what_was_registered_from_outside(void **state)
{
    struct watch *w = *state;

    gain(w);
    add_port(w, 0, "10s");
    settle(w);
    for (int i = 0; i < 10; i++) {
        pass(w, 9000);
        duty_beat(w->duty, bytes_str("N0"), bytes_str("web"), w->now_ms, 5);
    }
    assert_int_equal(answered(w->d), 1);
    const struct beat *e =
        beats_of(beats_current(w->beats), bytes_str("n0"), bytes_str("WEB"));
    assert_non_null(e);
    assert_true(e->ttl_ms == 10000 && atomic_load(&e->wall_ms) == 5);
    pass(w, 10000);
    assert_null(snapshot_name(now(w->d), bytes_str("web")));
    assert_int_equal(duty_counts(w->duty).expired, 1);
    settle(w);
    assert_int_equal(beats_current(w->beats)->n, 0);
}

static void of_many_that_expire_half_stay_for_the_next_window(void **state)
{
    struct watch *w = *state;

    gain(w);
    for (size_t i = 0; i < 8; i++)
        add_port(w, i, "5s");
    settle(w);
    pass(w, 7000);
    assert_int_equal(answered(w->d), 4);
    pass(w, WINDOW_MS);
    pass(w, 2000);
    assert_int_equal(answered(w->d), 2);
}

static void a_new_holder_starts_times_to_live_in_full(void **state)
{
    struct watch *w = *state;

    gain(w);
    add_port(w, 0, "5s");
    settle(w);
    pass(w, 4000);
    duty_lost(w->duty);
    gain(w);
    pass(w, 4000);
    assert_int_equal(answered(w->d), 1);
    duty_excuse(w->duty, w->now_ms); /* the store was away */
    pass(w, 4000);
    assert_int_equal(answered(w->d), 1);
    pass(w, 2000);
    assert_int_equal(answered(w->d), 0);
}

static void what_an_agent_owns_does_not_expire(void **state)
{
    struct watch *w = *state;

    gain(w);
    add_port(w, 0, "5s");
    say(w->d, 0, "serfHealth", "", "passing", CAUSE_EVIDENCE);
    commit(w->d);
    add_port(w, 1, NULL);
    settle(w);
    pass(w, 60000);
    assert_int_equal(answered(w->d), 2);
    assert_int_equal(beats_current(w->beats)->n, 1); /* n1, without one */
}

static void times_to_live_are_durations_of_five_seconds_or_more(void **state)
{
    uint64_t ms;

    (void)state;
    assert_ok(beats_ttl(bytes_str("1m30s"), &ms));
    assert_true(ms == 90000);
    assert_int_equal(beats_ttl(bytes_str("4999ms"), &ms), ERR_LIMIT);
    assert_int_equal(beats_ttl(bytes_str("soon"), &ms), ERR_BAD);
}

#undef T
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)

static const struct CMUnitTest tests[] = {
    T(who_does_not_hold_the_duty_writes_nothing),
    T(a_window_ends_by_the_holders_own_clock),
    T(a_new_holder_begins_the_window_anew),
    T(a_refused_port_is_out_at_once),
    T(one_that_accepts_stays),
    T(the_unreachable_go_by_halves_but_the_last),
    T(what_cannot_be_tried_counts_as_unreachable),
    T(what_nobody_has_tried_yet_stays),
    T(a_silent_node_lets_its_services_go_within_the_bounds),
    T(a_single_instance_of_a_silent_node_is_let_go),
    T(recovery_ends_everything),
    T(what_is_not_shown_yet_is_waited_for_without_a_timer),
    T(a_store_that_takes_nothing_is_tried_again),
    T(beats_keep_what_was_registered_from_outside),
    T(of_many_that_expire_half_stay_for_the_next_window),
    T(a_new_holder_starts_times_to_live_in_full),
    T(what_an_agent_owns_does_not_expire),
    cmocka_unit_test(times_to_live_are_durations_of_five_seconds_or_more),
};

RUN_TESTS(tests)
