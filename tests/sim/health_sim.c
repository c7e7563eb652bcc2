/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Health, damping, guard and restarts under everything that goes wrong: agents
 * crash and return, hosts are restarted, targets flap, half the fleet vanishes,
 * probers starve, the store fails, the duty changes hands, wall clocks jump.
 * oracle.h says what must hold all the while. */
#include "warden.h"

enum {
    CHAOS_MS = 6 * 60 * 1000,
    /* The last of a service of 24 goes after about 6 windows, damping ends
     * after 5 minutes. */
    QUIET_MS = 15 * 60 * 1000,
    SEEDS_DEFAULT = 300,
    SEEDS_FILE_MAX = 256,
};

struct story {
    struct fleet fleet;
    struct oracle oracle;
    struct warden warden;
    struct event chaos;
    bool calm;
};

static struct story *story_of(struct sim *s)
{
    return container_of(fleet_of(s), struct story, fleet);
}

/* --- Setting the scene --------------------------------------------------- */

static void on_flip(struct sim *s, struct event *e)
{
    struct inst *i = container_of(e, struct inst, flip);

    if (!i->flaps)
        return;
    inst_becomes(i, i->truth == WELL ? (i->ttl ? BROKEN : REFUSES) : WELL);
    sim_in(s, e, sim_between(s, 2000, 30000));
}

static void put_inst(struct fleet *f, int service, bool outside)
{
    struct sim *s = &f->sim;
    int n = f->inst_n++;
    struct inst *i = &f->insts[n];

    *i = (struct inst){.f = f,
                       .agent = (int)sim_below(s, (size_t)f->agent_n),
                       .service = service,
                       .truth_ms = s->now_ms,
                       .ttl = sim_chance(s, 50),
                       .external = outside};
    (void)snprintf(i->id, sizeof i->id, "%s-%d", f->service_name[service], n);
    (void)snprintf(i->check, sizeof i->check, "service:%s-%d",
                   f->service_name[service], n);
    i->interval_ms = 1000 * sim_between(s, 1, 16);
    i->timeout_ms = sim_between(s, 500, i->interval_ms + 1);
    i->ttl_ms = 1000 * sim_between(s, 3, 31);
    i->beat_every_ms = i->ttl_ms / 3;
    i->probe.fire = outside ? on_outside : i->ttl ? on_beat : on_probe;
    if (outside)
        sim_in(s, &i->probe, sim_below(s, 1000));
    i->due.fire = on_due;
    i->sync.fire = on_sync;
    i->flip.fire = on_flip;
    arena_init(&i->arena, 0);
}

static void put_agent(struct fleet *f, int n)
{
    struct agent *a = &f->agents[n];

    *a = (struct agent){.f = f, .number = n};
    (void)snprintf(a->name, sizeof a->name, "host%d", n);
    a->back.fire = on_back;
    a->fed.fire = on_fed;
    a->wakes.fire = on_wakes;
    a->me = (struct local_identity){
        .node = {.name = bytes_str(a->name), .address = bytes_str("127.0.0.1")},
        .keep_service = bytes_str(""),
        .keep_check = bytes_str("serfHealth"),
    };
}

static size_t size_of_service(struct sim *s)
{
    static const size_t sizes[] = {1, 2, 3, 4, 5, 8, 12, 24};
    return sizes[sim_below(s, sizeof sizes / sizeof sizes[0])];
}

static void put_service(struct fleet *f, int n)
{
    struct sim *s = &f->sim;
    size_t size = size_of_service(s);
    size_t outside = sim_chance(s, 30) ? sim_below(s, 101) : 0;

    (void)snprintf(f->service_name[n], sizeof f->service_name[n], "s%d", n);
    f->mode[n] = sim_chance(s, 80)   ? GUARD_MODE_SILENCE
                 : sim_chance(s, 50) ? GUARD_MODE_ALL
                                     : GUARD_MODE_OFF;
    f->rule[n] = damp_rule_default();
    f->rule[n].mode = sim_chance(s, 70) ? DAMP_SUPPRESS : DAMP_OBSERVE;
    for (size_t k = 0; k < size && f->inst_n < INSTANCES_MAX; k++)
        put_inst(f, n, sim_chance(s, outside));
}

static struct inst *any_inst(struct fleet *f)
{
    return &f->insts[sim_below(&f->sim, (size_t)f->inst_n)];
}

static struct agent *any_agent(struct fleet *f)
{
    return &f->agents[sim_below(&f->sim, (size_t)f->agent_n)];
}

static enum truth any_illness(struct sim *s)
{
    return (enum truth)(REFUSES + sim_below(s, 4));
}

/* --- What goes wrong ----------------------------------------------------- */

static void crash(struct fleet *f)
{
    struct sim *s = &f->sim;
    struct agent *a = any_agent(f);

    if (!a->up)
        return;
    sim_cancel(s, &a->wakes);
    a->reboots = sim_chance(s, 30);
    sim_say(s, "%s crashes", a->name);
    agent_stop(a);
    sim_in(s, &a->back,
           sim_chance(s, 50) ? sim_between(s, 50, 5000)
                             : sim_between(s, 5000, 150000));
}

static void starve(struct fleet *f)
{
    struct sim *s = &f->sim;
    struct agent *a = any_agent(f);

    if (a->starved)
        return;
    a->starved = true;
    sim_say(s, "%s starves", a->name);
    oracle_unfit(f, a);
    sim_in(s, &a->fed, sim_between(s, 2000, 60000));
}

static void stall(struct fleet *f)
{
    struct sim *s = &f->sim;
    struct agent *a = any_agent(f);

    if (!a->up || a->stalled)
        return;
    a->stalled = true;
    a->stalled_until_ms = s->now_ms + sim_between(s, 200, 20000);
    sim_say(s, "%s is stopped", a->name);
    oracle_unfit(f, a);
    sim_at(s, &a->wakes, a->stalled_until_ms);
}

/* All of one service, or of one host, at once. */
static void mass(struct fleet *f)
{
    struct sim *s = &f->sim;
    const struct inst *one = any_inst(f);
    enum truth truth = sim_chance(s, 40) ? WELL : any_illness(s);
    bool of_host = sim_chance(s, 40);

    for (int n = 0; n < f->inst_n; n++) {
        struct inst *i = &f->insts[n];
        if (of_host ? i->agent == one->agent : i->service == one->service)
            if (sim_chance(s, 85))
                inst_becomes(i, truth);
    }
}

static void half_the_fleet(struct fleet *f)
{
    for (int n = 0; n < f->inst_n; n++)
        if (sim_chance(&f->sim, 50))
            inst_becomes(&f->insts[n], CUT_OFF);
}

static void everybody_well(struct fleet *f)
{
    for (int n = 0; n < f->inst_n; n++)
        if (sim_chance(&f->sim, 90))
            inst_becomes(&f->insts[n], WELL);
}

static void start_or_stop_flapping(struct fleet *f)
{
    struct inst *i = any_inst(f);

    i->flaps = !i->flaps;
    if (i->flaps)
        sim_in(&f->sim, &i->flip, 1);
}

static void toggle_store(struct fleet *f)
{
    f->store_down = !f->store_down;
    sim_say(&f->sim, "the store is %s", f->store_down ? "gone" : "back");
}

static void jump(struct fleet *f)
{
    f->wall_off_ms += (int64_t)sim_below(&f->sim, 7200000) - 3600000;
    sim_say(&f->sim, "the wall clock jumps");
}

static void on_chaos(struct sim *s, struct event *e)
{
    struct story *st = story_of(s);
    struct fleet *f = &st->fleet;
    size_t what = sim_below(s, 100);

    if (st->calm)
        return;
    sim_in(s, e, sim_between(s, 100, 15000));
    if (f->store_down || what < 4)
        toggle_store(f);
    else if (what < 40)
        inst_becomes(any_inst(f), sim_chance(s, 50) ? WELL : any_illness(s));
    else if (what < 52)
        mass(f);
    else if (what < 58)
        half_the_fleet(f);
    else if (what < 70)
        everybody_well(f);
    else if (what < 82)
        crash(f);
    else if (what < 86)
        starve(f);
    else if (what < 90)
        stall(f);
    else if (what < 94)
        start_or_stop_flapping(f);
    else if (what < 97)
        warden_changes(f, &st->warden);
    else
        jump(f);
}

/* --- A story ------------------------------------------------------------- */

static void after(struct sim *s)
{
    (void)s; /* commits are judged when they happen, time by the warden */
}

static void begin(struct story *st, uint64_t seed)
{
    struct fleet *f = &st->fleet;

    sim_init(&f->sim, seed);
    f->store = world_new();
    f->oracle = &st->oracle;
    f->about_to_commit = oracle_about_to_commit;
    f->committed = oracle_committed;
    f->agent_n = (int)sim_between(&f->sim, 1, AGENTS_MAX + 1);
    f->service_n = (int)sim_between(&f->sim, 1, SERVICES_MAX + 1);
    for (int n = 0; n < f->agent_n; n++)
        put_agent(f, n);
    for (int n = 0; n < f->service_n; n++)
        put_service(f, n);
    for (int n = 0; n < f->agent_n; n++)
        agent_start(&f->agents[n]);
    arena_init(&st->warden.arena, 0);
    st->warden.tick.fire = on_warden;
    sim_in(&f->sim, &st->warden.tick, WARDEN_TICK_MS);
    st->chaos.fire = on_chaos;
    sim_in(&f->sim, &st->chaos, sim_between(&f->sim, 10, 40000));
}

static void calm_down(struct story *st)
{
    struct fleet *f = &st->fleet;

    st->calm = true;
    sim_say(&f->sim, "from here on all is quiet");
    if (f->store_down)
        toggle_store(f);
    for (int n = 0; n < f->inst_n; n++)
        f->insts[n].flaps = false;
    for (int n = 0; n < f->agent_n; n++) {
        if (!f->agents[n].up)
            sim_in(&f->sim, &f->agents[n].back, 1);
        if (f->agents[n].starved)
            sim_in(&f->sim, &f->agents[n].fed, 1);
    }
}

static void end(struct story *st)
{
    struct fleet *f = &st->fleet;

    for (int n = 0; n < f->agent_n; n++)
        if (f->agents[n].up)
            agent_stop(&f->agents[n]);
    for (int n = 0; n < f->inst_n; n++)
        arena_fini(&f->insts[n].arena);
    arena_fini(&st->warden.arena);
    world_free(f->store);
}

static uint64_t events, commits;

static void tell(uint64_t seed)
{
    struct story *st = xzalloc(sizeof *st);
    struct sim *s = &st->fleet.sim;

    begin(st, seed);
    sim_run_until(s, s->now_ms + CHAOS_MS, after);
    calm_down(st);
    sim_run_until(s, s->now_ms + QUIET_MS, after);
    oracle_settled(&st->fleet);
    events += s->count;
    commits += st->oracle.checked;
    end(st);
    free(st);
}

/* --- Tests --------------------------------------------------------------- */

static void what_failed_once_holds_now(void **state)
{
    (void)state;
    FILE *in = fopen("tests/sim/seeds", "r");
    char line[256];
    size_t n = 0;

    assert_non_null(in);
    while (fgets(line, sizeof line, in)) {
        if (line[0] == '#' || line[0] == '\n')
            continue;
        assert_true(n++ < SEEDS_FILE_MAX);
        tell(strtoull(line, NULL, 10));
    }
    (void)fclose(in);
}

static void answers_neither_flap_nor_lie(void **state)
{
    (void)state;
    uint64_t first = sim_number("SIM_SEED", 0);
    uint64_t n = first ? 1 : sim_number("SIM_SEEDS", SEEDS_DEFAULT);

    for (uint64_t k = 0; k < n; k++)
        tell(first ? first : k + 1);
    print_message("# %llu seeds, %llu events, %llu commits judged\n",
                  (unsigned long long)n, (unsigned long long)events,
                  (unsigned long long)commits);
}

static void every_rare_branch_was_reached(void **state)
{
    (void)state;
    if (sim_number("SIM_SEED", 0))
        skip_because("one seed does not reach every branch");
    assert_int_equal(sim_never_reached(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_failed_once_holds_now),
        cmocka_unit_test(answers_neither_flap_nor_lie),
        cmocka_unit_test(every_rare_branch_was_reached),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
