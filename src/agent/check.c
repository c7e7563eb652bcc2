/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Running checks: what is not in the local snapshot, because it changes without
 * being worth a version of it. What an event means is decided in health/run.h;
 * here it is carried out: the snapshot, agent.db, the catalog, the next
 * deadline. */
#include <stdlib.h>

#include "agent/impl.h"
#include "base/bytes.h"
#include "base/duration.h"

/* --- The table ----------------------------------------------------------- */

static struct bytes folded(struct bytes id)
{
    struct buf b = {0};
    size_t n;
    buf_put_fold(&b, id);
    char *p = buf_take(&b, &n);
    require(p != NULL);
    return bytes_of(p, n);
}

struct running *running_find(const struct agent *a, struct bytes id)
{
    struct bytes key = folded(id);
    struct running *r = map_get(&a->checks, key);
    free((char *)key.p);
    return r;
}

struct bytes running_id(const struct running *r)
{
    return bytes_of(r->id, r->id_n);
}

static const struct local_check *local_of(const struct running *r)
{
    return local_check(local_current(r->agent->o.local), running_id(r));
}

/* --- Effects ------------------------------------------------------------- */

static struct check_marks marks_of(const struct running *r)
{
    const struct agent *a = r->agent;
    uint64_t now = agent_now(a), wall = agent_wall_now(a);
    struct check_marks m = run_marks(&r->run, now);

    m.since_ms = r->since_wall_ms;
    if (m.damped_until_ms)
        m.damped_until_ms = wall + (m.damped_until_ms - now);
    return m;
}

static void log_flip(const struct running *r, struct bytes output)
{
    static const char *const causes[] = {"", " cause=timeout",
                                         " cause=silence"};

    metric_add(METRIC_AGENT_FLIPS, 1);
    log_info("agent", "Check is now %s: check=%.*s output=\"%.*s\"%s",
             status_name(r->run.status), BYTES_ARG(running_id(r)),
             BYTES_ARG(bytes_head(output, 120)), causes[r->run.cause]);
}

static void log_flapping(const struct running *r, const struct run_effect *e)
{
    struct buf text = {0};

    duration_print(&text, (int64_t)((e->damped_until_ms - agent_now(r->agent)) /
                                    1000 * 1000) *
                              NS_PER_MS);
    log_warn("agent", "Check flaps, %s: check=%.*s penalty=%u for=%.*s",
             e->damped
                 ? "it is kept out of the answers"
                 : "it would be kept out of the answers (damping observes)",
             BYTES_ARG(running_id(r)), e->penalty, BYTES_ARG(buf_bytes(&text)));
    buf_fini(&text);
}

static void gauge(enum metric m, bool *was, bool is)
{
    if (is != *was)
        metric_add(m, is ? 1 : -1);
    *was = is;
}

static void count(struct running *r, const struct run_effect *e)
{
    bool flapping = e->damped_until_ms != 0;

    if (e->counted)
        metric_add(METRIC_AGENT_FLAPS, 1);
    if (e->flips && e->cause == CAUSE_SILENCE)
        metric_add(METRIC_AGENT_SILENT, 1);
    if (flapping && !r->flapping)
        log_flapping(r, e);
    gauge(METRIC_AGENT_FLAPPING, &r->flapping, flapping);
    gauge(METRIC_AGENT_DAMPED, &r->damped, e->damped);
}

/* A beat makes it later: that is found out when it is due, once in each TTL,
 * instead of with each beat. */
static void arm(struct running *r, uint64_t next_ms)
{
    uint64_t now = agent_now(r->agent);

    if (next_ms == RUN_NEVER)
        deadline_clear(r->agent, &r->due);
    else if (!r->due.item.in || r->due.item.due_ms > next_ms)
        deadline_set(r->agent, &r->due, next_ms > now ? next_ms - now : 0);
}

/* Spread by ID, and not sooner after the last time than the interval. */
static uint64_t lazy_delay_ms(const struct running *r)
{
    uint64_t every = r->agent->o.check_update_interval_ms;
    uint64_t delay = every / 2 + schedule_first_ms(running_id(r), every);
    uint64_t since = agent_now(r->agent) - r->stored_ms;

    if (r->stored_ms && since < every && delay < every - since)
        return every - since;
    return delay;
}

/* What else an event brings about; output is the event's. durable: agent.db has
 * it already. */
static void carry_out(struct running *r, const struct run_effect *e,
                      struct bytes output, bool durable)
{
    struct agent *a = r->agent;
    const struct local_check *k = local_of(r);
    bool news = e->flips || e->marked;

    arm(r, e->next_ms);
    count(r, e);
    if (!k)
        return;
    if (!e->report)
        output = k->output;
    else if (a->o.discard_output)
        output = (struct bytes){0};
    /* Nearly every result of nearly every check. */
    if (!news && !durable && k->status == e->status &&
        bytes_eq(k->output, output))
        return;
    if (e->flips)
        r->since_wall_ms = agent_wall_now(a);
    const struct check_marks marks = news || durable ? marks_of(r) : k->marks;
    if (local_set_state(a->o.local, running_id(r), e->status, output, &marks) !=
        ERR_OK)
        return;
    if (e->flips)
        log_flip(r, output);
    if (news) {
        if (!durable)
            state_write(r, k, output);
        (void)sync_touch_check(a, k, false);
    } else if (!bytes_eq(k->output, output)) {
        r->lazy_catalog = true;
        state_lazily(r, lazy_delay_ms(r));
    }
    agent_wake(a);
}

/* --- Probes -------------------------------------------------------------- */

static void on_recalled(void *ctx, struct witness_check *c)
{
    struct agent *a = ctx;
    struct running *r = container_of(c, struct running, witness);
    const struct run_effect e = run_recall(&r->run, agent_now(a));

    if (!e.marked)
        return;
    metric_add(METRIC_AGENT_RECALLED, 1);
    carry_out(r, &e, (struct bytes){0}, false);
}

/* Once each time, although many results tell of it. */
static void log_starved(struct agent *a, bool was, uint64_t lag_ms)
{
    uint64_t now = agent_now(a);

    if (!was && a->witness.starved) {
        metric_add(METRIC_AGENT_STARVED, 1);
        log_warn(
            "agent",
            "more than half of the checks time out at once: taken for this "
            "agent's own trouble, they count as silence: timed_out=%zu "
            "checks=%zu",
            a->witness.timed_out, a->witness.checks);
    } else if (was && !a->witness.starved) {
        log_info("agent",
                 "the checks can be believed again: timed_out=%zu "
                 "checks=%zu",
                 a->witness.timed_out, a->witness.checks);
    }
    if (lag_ms <= WITNESS_LAG_MS ||
        (a->lag_told_ms && now - a->lag_told_ms <= lag_ms))
        return;
    a->lag_told_ms = now;
    metric_add(METRIC_AGENT_STARVED, 1);
    log_warn("agent",
             "the checks' loop was late by %llu ms: time-outs meanwhile count "
             "as silence",
             (unsigned long long)lag_ms);
}

/* True: a time-out of this one says nothing. */
static bool doubted(struct running *r, const struct agent_result *result)
{
    struct agent *a = r->agent;
    bool was = a->witness.starved;
    struct witness_says says = witness_result(
        &a->witness, &r->witness, result->kind, result->lag_ms, agent_now(a));

    log_starved(a, was, result->lag_ms);
    if (says.recall)
        witness_recall(&a->witness, on_recalled, a);
    return says.starved;
}

void agent_probe_result(struct agent *a, const struct agent_result *result)
{
    struct running *r = running_find(a, result->check_id);

    if (!r || r->generation != result->generation)
        return; /* of a definition that is gone */
    bool starved = doubted(r, result);
    const struct run_effect e = run_result(&r->run, result->status,
                                           result->kind, starved, agent_now(a));
    if (e.report || e.marked)
        carry_out(r, &e, result->output, false);
}

/* --- Clients and time ---------------------------------------------------- */

void running_told(struct running *r, enum status status, struct bytes output,
                  bool durable)
{
    const struct run_effect e = run_told(&r->run, status, agent_now(r->agent));
    carry_out(r, &e, output, durable);
}

void running_told_state(const struct running *r, enum status status,
                        struct bytes output, struct buf *out)
{
    struct run then = r->run;

    (void)run_told(&then, status, agent_now(r->agent));
    state_put(r, &then, output, out);
}

/* Of a long TTL, see state.c. */
static bool beat_is_old(const struct running *r, uint64_t now)
{
    uint64_t half = r->run.ttl_ms / 2;
    uint64_t old = half > AGENT_BEAT_STORED_MS ? half : AGENT_BEAT_STORED_MS;

    return r->run.ttl_ms > RUN_GRACE_MS && now - r->stored_ms >= old;
}

void running_beat(struct running *r)
{
    uint64_t now = agent_now(r->agent);

    if (!run_beat(&r->run, now))
        return;
    arm(r, r->run.expires_ms);
    if (beat_is_old(r, now))
        state_lazily(r, 0);
}

bool running_follow(struct running *r, enum status status,
                    enum check_cause cause, struct bytes output)
{
    const struct run_effect e =
        run_follow(&r->run, status, cause, agent_now(r->agent));

    carry_out(r, &e, output, false);
    return e.flips || e.marked;
}

static void put_expired(struct buf *out, struct bytes last)
{
    buf_puts(out, "TTL expired");
    if (last.n == 0)
        return;
    buf_puts(out, " (last output before timeout follows): ");
    buf_put(out, last);
}

static void on_due(struct agent *a, struct deadline *d)
{
    struct running *r = container_of(d, struct running, due);
    struct buf text = {0};

    agent_publish(a);
    const struct local_check *k = local_of(r);
    if (!k)
        return;
    const struct run_effect e = run_time(&r->run, agent_now(a));
    if (e.expired)
        put_expired(&text, k->output);
    require(!text.bad);
    carry_out(r, &e, buf_bytes(&text), false);
    buf_fini(&text);
}

/* --- Rules of damping ---------------------------------------------------- */

#define DAMPING_META "muster-damping"

static struct damp_rule rule_of(const struct agent *a,
                                const struct local_check *k)
{
    struct damp_rule rule = a->o.damping;
    const struct local_service *v =
        k->def.service_id.n
            ? local_service(local_current(a->o.local), k->def.service_id)
            : NULL;

    if (damp_mode_of(k->def.damping, &rule.mode))
        return rule;
    if (v)
        (void)damp_mode_of(packed_find(v->view.meta, bytes_str(DAMPING_META)),
                           &rule.mode);
    return rule;
}

static void refresh_rule(struct running *r, const struct local_check *k)
{
    const struct damp_rule rule = rule_of(r->agent, k);

    if (damp_rule_equal(&rule, &r->run.rule))
        return;
    const struct run_effect e = run_rule(&r->run, &rule, agent_now(r->agent));
    carry_out(r, &e, (struct bytes){0}, false);
}

void running_rules_changed(struct agent *a)
{
    size_t at = 0;
    void *value;

    while (map_next(&a->checks, &at, NULL, &value)) {
        const struct local_check *k = local_of(value);
        if (k)
            refresh_rule(value, k);
    }
}

void running_again(struct agent *a, struct bytes service_id)
{
    struct tree_iter it;

    local_checks_of(local_current(a->o.local), service_id, &it);
    for (const struct local_check *k;
         (k = local_next_check_of(&it, service_id));) {
        struct running *r = running_find(a, k->def.id);
        if (!r)
            continue;
        run_again(&r->run, agent_now(a));
        refresh_rule(r, k);
    }
}

/* --- Starting and stopping ----------------------------------------------- */

/* What decides whether a check has to be started anew. */
static uint64_t hash_of(const struct check_def *d)
{
    struct check_def bare = *d;
    struct buf b = {0};

    bare.name = bare.notes = bare.status = bare.damping = (struct bytes){0};
    check_def_put(&b, &bare);
    require(!b.bad);
    uint64_t h = bytes_hash(buf_bytes(&b), 0);
    buf_fini(&b);
    return h;
}

static bool is_probed(enum check_type t)
{
    switch (t) {
    case CHECK_NONE:
    case CHECK_TTL:
    case CHECK_ALIAS:
    case CHECK_MAINTENANCE:
        return false;
    case CHECK_GRPC:
    case CHECK_HTTP:
    case CHECK_TCP:
    case CHECK_UDP:
    case CHECK_H2PING:
    case CHECK_DOCKER:
    case CHECK_SCRIPT:
    case CHECK_OS_SERVICE:
        break;
    }
    return true;
}

static void stop(struct running *r)
{
    struct agent *a = r->agent;

    deadline_clear(a, &r->due);
    deadline_clear(a, &r->lazy);
    list_del(&r->alias_link);
    witness_remove(&a->witness, &r->witness);
    if (is_probed(r->type) && a->o.probe.stop)
        a->o.probe.stop(a->o.probe.ctx, running_id(r));
}

static void start_probe(struct running *r, const struct check_def *d,
                        const struct run_past *past)
{
    struct agent *a = r->agent;
    struct check_def named = *d;
    uint64_t interval = check_interval_ms(d);

    witness_add(&a->witness, &r->witness, interval);
    if (!a->o.probe.start)
        return;
    named.id = running_id(r);
    enum err e = a->o.probe.start(
        a->o.probe.ctx, &named, r->generation,
        schedule_first_ms(named.id, run_first_within_ms(past, interval)));
    if (e != ERR_OK)
        log_error("agent", "a check cannot be started: check=%.*s error=\"%s\"",
                  BYTES_ARG(d->id), err_text(e));
}

/* The first one of this process under its ID. */
static void begin(struct running *r, const struct local_check *k,
                  const struct damp_rule *rule, const struct run_past *past)
{
    const struct run_effect e =
        run_begin(&r->run, &k->def, rule, past, agent_now(r->agent));
    struct bytes output = k->output;

    if (e.flips)
        output = e.status == STATUS_CRITICAL
                     ? bytes_str("nothing was heard of it since the host was "
                                 "restarted")
                     : (struct bytes){0};
    carry_out(r, &e, output, false);
    /* What it had of damping is only in its stored state. */
    if (past && !e.flips && !e.marked) {
        const struct check_marks marks = marks_of(r);
        require(local_set_state(r->agent->o.local, running_id(r), e.status,
                                output, &marks) == ERR_OK);
    }
}

static void start(struct running *r, const struct local_check *k, bool first,
                  const struct restored *t)
{
    struct agent *a = r->agent;
    const struct damp_rule rule = rule_of(a, k);
    const struct run_past past = t ? state_past(a, t) : (struct run_past){0};

    r->generation = ++a->generation;
    r->type = k->type;
    r->reap_ms = check_reap_ms(&k->def);
    if (t)
        r->since_wall_ms = t->since_wall_ms;
    if (first) {
        begin(r, k, &rule, t ? &past : NULL);
    } else {
        const struct run_effect e =
            run_redefine(&r->run, &k->def, &rule, agent_now(a));
        carry_out(r, &e, (struct bytes){0}, false);
    }
    if (k->type == CHECK_ALIAS) {
        list_add(&a->aliases, &r->alias_link);
        a->alias_due = true;
    }
    if (is_probed(k->type))
        start_probe(r, &k->def, t ? &past : NULL);
}

static struct running *running_new(struct agent *a, struct bytes id)
{
    struct bytes key = folded(id);
    struct running *r = xzalloc(sizeof *r + key.n);

    r->agent = a;
    r->id_n = key.n;
    memcpy(r->id, key.p, key.n);
    free((char *)key.p);
    list_init(&r->alias_link);
    r->due.fire = on_due;
    state_init(r);
    require(map_put(&a->checks, running_id(r), r) == ERR_OK);
    return r;
}

static void running_free(struct running *r)
{
    stop(r);
    gauge(METRIC_AGENT_FLAPPING, &r->flapping, false);
    gauge(METRIC_AGENT_DAMPED, &r->damped, false);
    free(r);
}

void running_refresh(struct agent *a, struct bytes id)
{
    const struct local_check *k = local_check(local_current(a->o.local), id);
    struct running *r = running_find(a, id);

    if (!k) {
        if (!r)
            return;
        (void)map_del(&a->checks, running_id(r));
        running_free(r);
        return;
    }
    uint64_t hash = hash_of(&k->def);
    if (r && r->def_hash == hash) {
        refresh_rule(r, k);
        return;
    }
    bool first = !r;
    if (r)
        stop(r);
    else
        r = running_new(a, id);
    struct restored *t = map_del(&a->restored, running_id(r));
    r->def_hash = hash;
    start(r, k, first, t);
    free(t);
}

void running_write_beats(struct agent *a)
{
    size_t at = 0;
    void *value;

    agent_publish(a);
    while (map_next(&a->checks, &at, NULL, &value)) {
        struct running *r = value;
        const struct local_check *k = local_of(r);
        if (!k)
            continue;
        if (r->lazy.item.in ||
            (r->type == CHECK_TTL && r->run.expires_ms != RUN_NEVER))
            state_write(r, k, k->output);
    }
}

void running_free_all(struct agent *a)
{
    size_t at = 0;
    void *value;

    while (map_next(&a->checks, &at, NULL, &value))
        running_free(value);
    map_fini(&a->checks);
    at = 0;
    while (map_next(&a->restored, &at, NULL, &value))
        free(value);
    map_fini(&a->restored);
}
