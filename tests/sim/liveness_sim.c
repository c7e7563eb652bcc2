/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Servers, agents that beat to one of them, and the holder of the duty who makes
 * of it who is alive: under kills, stops, cut connections, late loops and changes
 * of the holder. An oracle knows the truth:
 *
 *   safety    an agent that runs, and that could have reached a running server for
 *             the last few seconds, is never declared failed; nor is one that an
 *             observer can reach
 *   liveness  an agent that died is declared failed FAILED_WITHIN_MS after its
 *             last beat, if nothing excuses it meanwhile; one that is back has
 *             returned RETURNED_WITHIN_MS later
 *
 * As in tests/sim/sim.h. The agents' rule: whom the server does not answer for
 * MOVE_AFTER_MS, goes to another one that runs. */
#include "living.h"

/* --- Servers ------------------------------------------------------------- */

static bool holder_runs(const struct story *st)
{
    return runs(&st->servers[st->holder]);
}

static void on_report(struct sim *sim, struct event *e)
{
    struct server *s = container_of(e, struct server, report);
    struct story *st = s->st;
    char id[8], name[8];

    sim_in(sim, e, REPORT_MS + sim_below(sim, 100));
    if (!runs(s) || !holder_runs(st))
        return;
    snprintf(id, sizeof id, "s%d", s->number);
    liveness_report(st->l, bytes_str(id), 0, sim->now_ms);
    for (size_t i = 0; i < st->agents; i++) {
        if (!s->heard_ms[i])
            continue;
        node_name((int)i, name);
        liveness_heard(st->l, bytes_str(name), sim->now_ms - s->heard_ms[i],
                       sim->now_ms);
    }
}

static void gain(struct story *st, int holder)
{
    const struct store_guard fence = {.kind = GUARD_ABSENT,
                                      .key = bytes_str("fence")};

    st->holder = holder;
    sim_say(&st->sim, "s%d holds the duty", holder);
    liveness_lost(st->l);
    liveness_gained(st->l, &fence, st->sim.now_ms);
    excuse(st);
}

static void elect(struct story *st)
{
    for (int i = 0; i < SERVERS; i++)
        if (runs(&st->servers[i])) {
            gain(st, i);
            return;
        }
}

/* --- Agents -------------------------------------------------------------- */

static void move(struct story *st, struct agent *a)
{
    int first = (int)sim_below(&st->sim, SERVERS);

    for (int i = 0; i < SERVERS; i++) {
        int s = (first + i) % SERVERS;
        if (!runs(&st->servers[s]))
            continue;
        a->server = s;
        a->answered_ms = st->sim.now_ms;
        return;
    }
}

static void on_beat(struct sim *sim, struct event *e)
{
    struct agent *a = container_of(e, struct agent, beat);
    struct story *st = a->st;
    struct server *s = &st->servers[a->server];

    sim_in(sim, e, st->beat_ms + sim_below(sim, LAG_MAX_MS));
    if (!a->up || a->stopped || a->mute)
        return;
    if (runs(s)) {
        s->heard_ms[a->number] = sim->now_ms;
        a->answered_ms = a->beat_ms = sim->now_ms;
    } else if (sim->now_ms > a->answered_ms + MOVE_AFTER_MS) {
        move(st, a);
    }
    if (!check_of(st, a->number) && some_server_runs(st)) {
        sim_say(sim, "n%d was removed, and registers again", a->number);
        register_agent(st, a->number);
    }
}

/* An observer's answer. */
static void on_probe(struct sim *sim, struct event *e)
{
    struct agent *a = container_of(e, struct agent, probe);
    struct story *st = a->st;
    char name[8], by[8];
    enum liveness_verdict v = a->up && !a->stopped  ? LIVENESS_REACHED
                              : sim_chance(sim, 50) ? LIVENESS_REFUSED
                                                    : LIVENESS_UNREACHABLE;

    a->probing = false;
    node_name(a->number, name);
    if (!holder_runs(st))
        return;
    saved += v == LIVENESS_REACHED;
    node_name(a->observer, by);
    liveness_probed(st->l, bytes_str(by), bytes_str(name), v, sim->now_ms);
}

/* Of "a12", which ends with no zero. */
static size_t number_of(struct bytes name)
{
    size_t n = 0;

    for (size_t i = 1; i < name.n; i++)
        n = n * 10 + (size_t)(name.p[i] - '0');
    return n;
}

static void ask(void *ctx, struct bytes observer, struct bytes node,
                struct bytes host, int64_t port)
{
    struct story *st = ctx;

    assert_false(bytes_eq(observer, node));
    assert_int_equal(port, 8301);
    assert_bytes(host, "10.0.0.1");
    size_t n = number_of(node), by = number_of(observer);
    struct agent *a = &st->agent[n];
    st->probes++;
    if (a->probing || !st->agent[by].up || st->agent[by].stopped)
        return; /* lost on the way */
    a->probing = true;
    a->observer = (int)by;
    sim_in(&st->sim, &a->probe, PROBE_MS);
}

/* --- The store ----------------------------------------------------------- */

static void on_commit(struct sim *sim, struct event *e)
{
    struct story *st = container_of(e, struct story, commit);
    bool ok = plan_holds(st->w, st->plan);

    (void)sim;
    if (ok)
        plan_apply(st->w, st->plan);
    st->plan = NULL;
    liveness_committed(st->l, ok, st->w->revision);
}

static void submit(void *ctx, const struct plan *p, const char *what)
{
    struct story *st = ctx;

    (void)what;
    assert_null(st->plan);
    st->plan = (struct plan *)p;
    sim_in(&st->sim, &st->commit, 1 + sim_below(&st->sim, COMMIT_MS));
}

static void told(void *ctx, struct bytes node, const char *what,
                 uint64_t unheard_ms)
{
    struct story *st = ctx;

    suspects += strcmp(what, "suspect") == 0;
    sim_say(&st->sim, "holder: %.*s %s (unheard for %llu ms)", BYTES_ARG(node),
            what, (unsigned long long)unheard_ms);
}

static void on_tick(struct sim *sim, struct event *e)
{
    struct story *st = container_of(e, struct story, tick);

    sim_in(sim, e, LIVENESS_TICK_MS);
    if (!holder_runs(st))
        return;
    liveness_run(st->l, sim->now_ms, sim->now_ms);
    judge_time(st);
}

/* --- Trouble ------------------------------------------------------------- */

static void kill_or_start_server(struct story *st)
{
    struct server *s = &st->servers[sim_below(&st->sim, SERVERS)];

    if (s->up) {
        size_t left = 0;
        for (int i = 0; i < SERVERS; i++)
            left += runs(&st->servers[i]);
        if (left < 2)
            return;
    }
    s->up = !s->up;
    s->stopped = false;
    memset(s->heard_ms, 0, sizeof s->heard_ms);
    sim_say(&st->sim, "s%d %s", s->number, s->up ? "starts" : "is killed");
    if (!s->up && s->number == st->holder)
        elect(st);
}

static void stop_or_continue_server(struct story *st)
{
    struct server *s = &st->servers[sim_below(&st->sim, SERVERS)];

    if (!s->up)
        return;
    s->stopped = !s->stopped;
    sim_say(&st->sim, "s%d %s", s->number, s->stopped ? "stops" : "goes on");
    /* Its lease may run out, or not. */
    if (s->stopped && s->number == st->holder && sim_chance(&st->sim, 50))
        elect(st);
}

static void trouble_agent(struct story *st)
{
    struct agent *a = &st->agent[sim_below(&st->sim, st->agents)];

    if (a->up && a->mute && !a->stopped)
        a->beat_ms = st->sim.now_ms; /* observers reached it until now */
    switch (sim_below(&st->sim, 3)) {
    case 0:
        a->up = !a->up;
        a->stopped = false;
        a->down_ms = a->up ? 0 : st->sim.now_ms;
        if (a->up)
            move(st, a);
        break;
    case 1:
        if (a->up)
            a->stopped = !a->stopped;
        break;
    default:
        a->mute = !a->mute;
    }
    sim_say(&st->sim, "n%d is %s%s%s", a->number, a->up ? "up" : "dead",
            a->stopped ? ", stopped" : "", a->mute ? ", cut off" : "");
}

static void on_trouble(struct sim *sim, struct event *e)
{
    struct story *st = container_of(e, struct story, trouble);
    uint64_t before = st->excused_ms;

    sim_in(sim, e, sim_between(sim, 500, 25 * 1000));
    switch (sim_below(sim, 6)) {
    case 0:
        kill_or_start_server(st);
        excuse(st);
        break;
    case 1:
        stop_or_continue_server(st);
        excuse(st);
        break;
    case 2:
        if (holder_runs(st))
            gain(st, st->holder); /* a lease lost and won again */
        break;
    default:
        trouble_agent(st);
        st->excused_ms = before;
    }
    truth_changed(st);
}

/* --- Stories ------------------------------------------------------------- */

static void begin(struct story *st, uint64_t seed)
{
    sim_init(&st->sim, seed);
    st->w = world_new();
    st->agents = 3 + sim_below(&st->sim, AGENTS_MAX - 2);
    st->beat_ms = sim_chance(&st->sim, 50) ? BEAT_MS : BEAT_MANY_MS;
    st->l = liveness_new(&(struct liveness_options){
        .catalog = st->w->catalog,
        .seed = seed,
        .reconnect_ms = RECONNECT_MS,
        .probe = ask,
        .commit = submit,
        .told = told,
        .ctx = st,
    });
    for (int i = 0; i < SERVERS; i++) {
        st->servers[i] = (struct server){.st = st, .number = i, .up = true};
        st->servers[i].report.fire = on_report;
        sim_in(&st->sim, &st->servers[i].report, sim_below(&st->sim, 1000));
    }
    for (size_t i = 0; i < st->agents; i++) {
        st->agent[i] =
            (struct agent){.st = st,
                           .number = (int)i,
                           .up = true,
                           .up_ms = st->sim.now_ms,
                           .runs_ms = st->sim.now_ms,
                           .server = (int)sim_below(&st->sim, SERVERS),
                           .answered_ms = st->sim.now_ms};
        st->agent[i].beat.fire = on_beat;
        st->agent[i].probe.fire = on_probe;
        sim_in(&st->sim, &st->agent[i].beat, sim_below(&st->sim, 1000));
        register_agent(st, (int)i);
    }
    st->tick.fire = on_tick;
    st->commit.fire = on_commit;
    st->trouble.fire = on_trouble;
    sim_in(&st->sim, &st->tick, 1);
    sim_in(&st->sim, &st->trouble, 10 * 1000);
    gain(st, 0);
}

/* All that was broken is mended: everybody is alive some seconds later. */
static void mend(struct story *st)
{
    sim_cancel(&st->sim, &st->trouble);
    for (int i = 0; i < SERVERS; i++) {
        st->servers[i].up = true;
        st->servers[i].stopped = false;
    }
    for (size_t i = 0; i < st->agents; i++) {
        struct agent *a = &st->agent[i];
        a->up = true;
        a->stopped = a->mute = false;
        a->down_ms = 0;
    }
    excuse(st);
    truth_changed(st);
    sim_say(&st->sim, "all is mended");
    sim_run_until(&st->sim,
                  st->sim.now_ms + SETTLED_MS + RETURNED_WITHIN_MS + 5000,
                  judge);
    for (size_t i = 0; i < st->agents; i++)
        if (is_failed(st, (int)i) || !check_of(st, (int)i))
            sim_fail(&st->sim, "n%zu is alive, and failed or gone", i);
}

static void tell(uint64_t seed)
{
    static struct story st;

    st = (struct story){0};
    begin(&st, seed);
    sim_run_until(&st.sim, st.sim.now_ms + STORY_MS, judge);
    mend(&st);
    struct liveness_counts c = liveness_counts(st.l);
    stories++;
    failures += c.failures;
    returns += c.returns;
    reaped += c.reaped;
    doubts += c.doubts;
    liveness_free(st.l);
    world_free(st.w);
}

static void nobody_who_lives_is_declared_dead(void **state)
{
    (void)state;
    uint64_t first = sim_number("SIM_SEED", 0);
    uint64_t n = first ? 1 : sim_number("SIM_SEEDS", 300);

    for (uint64_t k = 0; k < n; k++)
        tell(first ? first : k + 1);
    print_message("# %llu stories: %llu suspicions, %llu ended by an observer, "
                  "%llu failures, %llu returns, %llu removed, %llu looks in "
                  "doubt\n",
                  (unsigned long long)stories, (unsigned long long)suspects,
                  (unsigned long long)saved, (unsigned long long)failures,
                  (unsigned long long)returns, (unsigned long long)reaped,
                  (unsigned long long)doubts);
}

/* Each of these is a branch that must have been taken. */
static void all_that_can_happen_did(void **state)
{
    (void)state;
    if (sim_number("SIM_SEED", 0))
        skip_because("one seed does not show everything");
    assert_true(suspects > 0 && saved > 0 && failures > 0 && returns > 0 &&
                reaped > 0 && doubts > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_who_lives_is_declared_dead),
        cmocka_unit_test(all_that_can_happen_did),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
