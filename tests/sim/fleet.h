/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* fleet - hosts with agents, the instances on them, and what is true of them.
 *
 * An agent is here what src/agent is, without its files and threads: checks
 * that run by health/run.h, a witness, an own snapshot (src/local), and its
 * difference to the catalog, planned on what the catalog shows and committed
 * some milliseconds later under the plan's guards, or planned again. What it
 * writes into agent.db is a struct run_past per check.
 *
 *     target --probe, beat--> run --> local snapshot --> plan --> toy store
 *                                                                  | feed
 *     oracle.h <-- who is in the answers (member.h) <-- catalog <--+ */
#ifndef FLEET_H
#define FLEET_H

#include "catalog/guard.h"
#include "catalog/member.h"
#include "catalog_plans.h"
#include "health/run.h"
#include "health/witness.h"
#include "local/local.h"
#include "local/record.h"
#include "sim.h"

enum {
    AGENTS_MAX = 6,
    SERVICES_MAX = 3,
    INSTANCES_MAX = 24,
    PROBE_MS = 20,         /* an answer, or a refusal */
    COMMIT_MS = 40,        /* at most, from a plan to its commit */
    SLOW_COMMIT_MS = 2000, /* now and then */
    SYNC_RETRY_MS = 500,
};

/* What happens to who asks an instance, or waits for it. */
enum truth {
    WELL,
    REFUSES, /* its process is gone, its host is there */
    BROKEN,  /* answers, and not well; a TTL client says so */
    HANGS,   /* takes connections, and nothing more; does not beat */
    CUT_OFF, /* no way to it; does not beat */
};

static const char *const truth_names[] = {"well", "refuses", "broken", "hangs",
                                          "is cut off"};

struct inst {
    struct fleet *f;
    int agent, service;
    char id[16], check[24];
    bool ttl;
    bool external; /* no agent's: it registers itself, again and again */
    uint64_t interval_ms, timeout_ms, ttl_ms, beat_every_ms;

    enum truth truth;
    uint64_t truth_ms; /* since when */
    bool flaps;        /* becomes sick and well by itself */
    struct event flip; /* of that */

    /* In the agent; nothing while it is down. */
    struct check_def def;
    struct run run;
    struct witness_check seen;
    bool with_witness;
    struct event probe;  /* the next one, or the answer of the one under way */
    bool probing, hangs; /* as it was when the probe began */
    uint64_t began_ms, lag_ms;
    struct event due; /* run.next_ms */
    struct event sync;
    bool planned; /* sync is a commit */
    struct arena arena;
    struct plan plan;
    uint64_t since_wall_ms;
    bool began_critical; /* since the agent's start */

    uint64_t told_ms; /* external: when the warden heard of it last */

    /* agent.db */
    struct run_past past;
    uint64_t past_ms; /* when it was written */
};

struct agent {
    struct fleet *f;
    int number;
    char name[8];
    bool up;
    bool starved; /* no probe of it gets an answer */
    bool stalled; /* stopped, as by SIGSTOP: what is due comes later */
    uint64_t stalled_until_ms;
    uint64_t down_ms, up_ms, rebooted_ms;
    uint64_t fit_ms; /* neither starved nor stalled since */
    uint64_t boot;
    struct witness witness;
    struct local *local;
    struct local_identity me;
    struct event back, fed, wakes;
    bool reboots;
};

struct fleet {
    struct sim sim;
    struct world *store;
    struct agent agents[AGENTS_MAX];
    struct inst insts[INSTANCES_MAX];
    int agent_n, service_n, inst_n;
    char service_name[SERVICES_MAX][8];
    enum guard_mode mode[SERVICES_MAX];
    struct damp_rule rule[SERVICES_MAX];
    bool store_down;
    int64_t wall_off_ms; /* the wall clock jumps */
    /* What the oracle wants to know. */
    void (*about_to_commit)(struct fleet *f);
    void (*committed)(struct fleet *f);
    void *oracle;
};

static inline struct fleet *fleet_of(struct sim *s)
{
    return container_of(s, struct fleet, sim);
}

static inline struct agent *agent_of(const struct inst *i)
{
    return &i->f->agents[i->agent];
}

static inline bool is_of(const struct inst *i, const struct agent *a)
{
    return i->agent == a->number && !i->external;
}

/* The node it is on. */
static inline struct bytes node_of(const struct inst *i)
{
    return bytes_str(i->external ? "outside" : agent_of(i)->name);
}

/* As it is registered; meta's memory is in the view. */
static inline struct service_view service_of(const struct inst *i,
                                             struct buf *meta)
{
    const struct fleet *f = i->f;
    enum guard_mode mode = f->mode[i->service];

    buf_reset(meta);
    if (mode != GUARD_MODE_SILENCE)
        packed_put_pair(meta, bytes_str(GUARD_META),
                        bytes_str(guard_mode_name(mode)));
    return (struct service_view){
        .id = bytes_str(i->id),
        .name = bytes_str(f->service_name[i->service]),
        .port = 80,
        .weight_passing = 1,
        .weight_warning = 1,
        .meta = {buf_bytes(meta), meta->n > 0},
        .meta_set = meta->n > 0,
    };
}

static inline uint64_t wall_of(const struct fleet *f)
{
    return (uint64_t)((int64_t)(1700000000000 + f->sim.now_ms) +
                      f->wall_off_ms);
}

/* --- The store ----------------------------------------------------------- */

/* False: it is down, or a guard does not hold. */
static inline bool fleet_commit(struct fleet *f, const struct plan *p)
{
    if (f->store_down || !plan_holds(f->store, p)) {
        sometimes(!f->store_down);
        return false;
    }
    if (p->op_count == 0)
        return true;
    f->about_to_commit(f);
    plan_apply(f->store, p);
    f->committed(f);
    return true;
}

static inline const struct snapshot *fleet_snapshot(const struct fleet *f)
{
    return catalog_current(f->store->catalog);
}

/* --- Stalled agents ------------------------------------------------------ */

/* True: its agent is stopped, the event comes when it goes on. */
static inline bool put_off(struct sim *s, struct event *e, struct inst *i)
{
    const struct agent *a = agent_of(i);

    if (!a->stalled)
        return false;
    /* In no order: timers, sockets and letters wait together. */
    sim_at(s, e, a->stalled_until_ms + sim_below(s, 4));
    i->lag_ms = a->stalled_until_ms - s->now_ms;
    return true;
}

/* --- From the run to the catalog ----------------------------------------- */

static inline void inst_persist(struct inst *i)
{
    uint64_t now = i->f->sim.now_ms;

    i->past = (struct run_past){
        .status = i->run.status,
        .cause = i->run.cause,
        .used_ms = i->ttl ? now - i->run.beat_ms : 0,
        .penalty = damp_penalty(&i->run.damp, &i->run.rule, now),
        .suppressed = damp_suppressed(&i->run.damp, now),
    };
    i->past_ms = now;
}

static inline void inst_took(struct inst *i, struct run_effect e,
                             const char *output)
{
    struct sim *s = &i->f->sim;
    struct agent *a = agent_of(i);
    struct check_marks marks = run_marks(&i->run, s->now_ms);

    i->began_critical &= e.status == STATUS_CRITICAL;
    if (e.flips)
        i->since_wall_ms = wall_of(i->f);
    marks.since_ms = i->since_wall_ms;
    if (e.next_ms == RUN_NEVER)
        sim_cancel(s, &i->due);
    else
        sim_at(s, &i->due, e.next_ms);
    if (!e.report && !e.marked)
        return;
    if (e.flips || e.marked) {
        sim_say(s, "%s/%s: %s cause %d%s penalty %u", a->name, i->id,
                status_name(e.status), (int)e.cause, e.damped ? " damped" : "",
                e.penalty);
        inst_persist(i);
    }
    const struct local_check *k =
        local_check(local_current(a->local), i->def.id);
    assert_non_null(k);
    assert_ok(local_set_state(a->local, i->def.id, e.status,
                              output ? bytes_str(output) : k->output, &marks));
    if (local_commit(a->local) && (e.flips || e.marked) && !i->sync.item.in)
        sim_in(s, &i->sync, 1);
}

static inline void inst_plan(struct inst *i)
{
    struct agent *a = agent_of(i);
    struct errtext t = {{0}};
    bool more;

    arena_reset(&i->arena);
    plan_init(&i->plan, &i->arena);
    a->me.wall_ms = wall_of(i->f);
    if (local_diff_service(&i->plan, local_current(a->local),
                           fleet_snapshot(i->f), &a->me, bytes_str(i->id),
                           false, &more, &t) != ERR_OK)
        sim_fail(&i->f->sim, "no plan for %s: %s", i->id, t.s);
    assert_false(more);
}

static inline void on_sync(struct sim *s, struct event *e)
{
    struct inst *i = container_of(e, struct inst, sync);

    if (put_off(s, e, i))
        return;
    if (i->planned && fleet_commit(i->f, &i->plan)) {
        i->planned = false;
        sim_in(s, e, 0); /* once more: it may have changed meanwhile */
        return;
    }
    if (i->f->store_down) {
        i->planned = false;
        sim_in(s, e, SYNC_RETRY_MS);
        return;
    }
    inst_plan(i);
    i->planned = i->plan.op_count > 0;
    if (i->planned)
        sim_in(
            s, e,
            sim_between(s, 0, sim_chance(s, 5) ? SLOW_COMMIT_MS : COMMIT_MS));
}

/* --- Probes and beats ---------------------------------------------------- */

static inline void on_recalled(void *ctx, struct witness_check *c)
{
    struct inst *i = container_of(c, struct inst, seen);

    sim_say(ctx, "%s: its time-out is taken back", i->id);
    inst_took(i, run_recall(&i->run, ((struct sim *)ctx)->now_ms), NULL);
}

static inline void probe_done(struct inst *i, enum status status,
                              enum run_kind kind, const char *output)
{
    struct sim *s = &i->f->sim;
    struct agent *a = agent_of(i);
    struct witness_says says =
        witness_result(&a->witness, &i->seen, kind, i->lag_ms, s->now_ms);

    inst_took(i, run_result(&i->run, status, kind, says.starved, s->now_ms),
              output);
    if (says.recall)
        witness_recall(&a->witness, on_recalled, s);
}

static inline bool hangs(const struct inst *i)
{
    return agent_of(i)->starved || i->truth == HANGS || i->truth == CUT_OFF;
}

static inline void on_probe(struct sim *s, struct event *e)
{
    struct inst *i = container_of(e, struct inst, probe);

    if (put_off(s, e, i))
        return;
    if (!i->probing) {
        i->probing = true;
        i->began_ms = s->now_ms;
        i->lag_ms = 0;
        i->hangs = hangs(i);
        sim_in(s, e, i->hangs ? i->timeout_ms : PROBE_MS);
        return;
    }
    i->probing = false;
    sim_in(s, e, i->interval_ms);
    if (i->hangs || s->now_ms - i->began_ms > i->timeout_ms)
        probe_done(i, STATUS_CRITICAL, RUN_TIMED_OUT, "no answer in time");
    else if (i->truth == REFUSES)
        probe_done(i, STATUS_CRITICAL, RUN_REFUSED, "connection refused");
    else if (i->truth == BROKEN)
        probe_done(i, STATUS_CRITICAL, RUN_ANSWERED, "500");
    else
        probe_done(i, STATUS_PASSING, RUN_ANSWERED, "fine");
}

/* The client of a TTL check: beats come through the same event. */
static inline void on_beat(struct sim *s, struct event *e)
{
    struct inst *i = container_of(e, struct inst, probe);

    if (agent_of(i)->up && put_off(s, e, i))
        return;
    sim_in(s, e, i->beat_every_ms);
    if (!agent_of(i)->up || (i->truth != WELL && i->truth != BROKEN))
        return;
    inst_took(i,
              run_told(&i->run,
                       i->truth == WELL ? STATUS_PASSING : STATUS_CRITICAL,
                       s->now_ms),
              i->truth == WELL ? "beat" : "told so");
}

/* A client of the catalog: what it sends is a registration and a beat. */
static inline void on_outside(struct sim *s, struct event *e)
{
    struct inst *i = container_of(e, struct inst, probe);
    struct fleet *f = i->f;
    struct errtext t = {{0}};
    struct plan p;

    sim_in(s, e, i->beat_every_ms);
    if (i->truth != WELL || f->store_down)
        return;
    struct buf meta = {0};
    const struct service_view v = service_of(i, &meta);
    const struct registration r = {
        .node = {.name = node_of(i), .address = bytes_str("10.0.0.1")},
        .service = &v,
        .wall_ms = wall_of(f),
    };
    arena_reset(&i->arena);
    plan_init(&p, &i->arena);
    if (plan_register(&p, fleet_snapshot(f), &r, &t) != ERR_OK)
        sim_fail(s, "no plan for %s: %s", i->id, t.s);
    if (fleet_commit(f, &p))
        i->told_ms = s->now_ms;
    buf_fini(&meta);
}

static inline void on_due(struct sim *s, struct event *e)
{
    struct inst *i = container_of(e, struct inst, due);

    if (put_off(s, e, i))
        return;
    struct run_effect got = run_time(&i->run, s->now_ms);

    inst_took(i, got, got.expired ? "TTL expired" : NULL);
}

/* --- Agents -------------------------------------------------------------- */

static inline void local_put_value(struct local *l, enum local_key_kind kind,
                                   struct bytes id, struct buf *value)
{
    struct buf key = {0};
    struct errtext t = {{0}};

    local_key(&key, kind, id);
    assert_ok(local_put(l, buf_bytes(&key), buf_bytes(value), &t));
    buf_fini(&key);
    buf_reset(value);
}

static inline void inst_define(struct inst *i, struct buf *meta)
{
    struct agent *a = agent_of(i);
    struct buf value = {0};
    const struct service_view v = service_of(i, meta);

    local_service_put(&value, &v, (struct bytes){0});
    local_put_value(a->local, LOCAL_KEY_SERVICE, v.id, &value);
    i->def = (struct check_def){
        .id = bytes_str(i->check),
        .name = bytes_str(i->check),
        .service_id = v.id,
        .failures_before_warning = -1,
        .interval_ns = i->ttl ? 0 : (int64_t)i->interval_ms * 1000000,
        .timeout_ns = i->ttl ? 0 : (int64_t)i->timeout_ms * 1000000,
        .ttl_ns = i->ttl ? (int64_t)i->ttl_ms * 1000000 : 0,
        .tcp = bytes_str(i->ttl ? "" : "127.0.0.1:80"),
    };
    check_def_put(&value, &i->def);
    local_put_value(a->local, LOCAL_KEY_CHECK, i->def.id, &value);
    buf_fini(&value);
}

/* past: what agent.db has; NULL: it is registered just now. */
static inline void inst_start(struct inst *i, const struct run_past *past)
{
    struct sim *s = &i->f->sim;
    struct agent *a = agent_of(i);
    const struct damp_rule *rule = &i->f->rule[i->service];

    if (!past)
        i->since_wall_ms = wall_of(i->f);
    i->probing = false;
    i->began_critical = past && past->status == STATUS_CRITICAL;
    struct run_effect e = run_begin(&i->run, &i->def, rule, past, s->now_ms);
    e.flips = e.marked = true; /* whatever it is, the catalog is to have it */
    inst_took(i, e, past && run_past_holds(past) ? NULL : "");
    if (!i->ttl) {
        witness_add(&a->witness, &i->seen, i->interval_ms);
        uint64_t within = run_first_within_ms(past, i->interval_ms);
        sim_in(s, &i->probe, schedule_first_ms(i->def.id, within));
    } else if (!i->probe.item.in) {
        sim_in(s, &i->probe, sim_between(s, 0, i->beat_every_ms));
    }
}

static inline void agent_start(struct agent *a)
{
    struct fleet *f = a->f;
    struct sim *s = &f->sim;
    struct buf meta = {0};

    a->local = local_new(&f->store->pins);
    a->up = true;
    a->up_ms = s->now_ms;
    witness_init(&a->witness);
    for (int n = 0; n < f->inst_n; n++)
        if (is_of(&f->insts[n], a)) {
            f->insts[n].seen = (struct witness_check){0};
            inst_define(&f->insts[n], &meta);
        }
    (void)local_commit(a->local);
    for (int n = 0; n < f->inst_n; n++) {
        struct inst *i = &f->insts[n];
        if (!is_of(i, a))
            continue;
        i->past.down_ms = s->now_ms - i->past_ms;
        i->past.same_boot = !a->reboots;
        inst_start(i, i->past_ms ? &i->past : NULL);
    }
    if (a->reboots)
        a->rebooted_ms = s->now_ms;
    a->reboots = false;
    buf_fini(&meta);
}

static inline void agent_stop(struct agent *a)
{
    struct fleet *f = a->f;
    struct sim *s = &f->sim;

    bool stalled = a->stalled;

    a->up = a->stalled = false;
    a->down_ms = s->now_ms;
    for (int n = 0; n < f->inst_n; n++) {
        struct inst *i = &f->insts[n];
        if (!is_of(i, a))
            continue;
        if (!i->ttl)
            sim_cancel(s, &i->probe);
        else if (stalled) /* its client sees the connection end */
            sim_in(s, &i->probe, sim_below(s, (size_t)i->beat_every_ms));
        sim_cancel(s, &i->due);
        sim_cancel(s, &i->sync);
        i->planned = false;
    }
    local_free(a->local);
    a->local = NULL;
}

static inline void on_back(struct sim *s, struct event *e)
{
    struct agent *a = container_of(e, struct agent, back);

    if (a->up)
        return;
    sim_say(s, "%s is back after %.1f s%s", a->name,
            (double)(s->now_ms - a->down_ms) / 1000,
            a->reboots ? ", its host was restarted" : "");
    agent_start(a);
}

static inline void on_fed(struct sim *s, struct event *e)
{
    struct agent *a = container_of(e, struct agent, fed);

    a->starved = false;
    a->fit_ms = s->now_ms;
    sim_say(s, "%s has CPU again", a->name);
}

static inline void on_wakes(struct sim *s, struct event *e)
{
    struct agent *a = container_of(e, struct agent, wakes);

    a->stalled = false;
    a->fit_ms = s->now_ms;
    sim_say(s, "%s goes on", a->name);
}

#endif
