/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* oracle - what must hold of the answers of ?passing, whatever happens. It
 * looks at the truth of fleet.h and at what the catalog shows, and knows nothing
 * of how the code under test decides.
 *
 * Safety, after each commit:
 *  - Nobody leaves by evidence who gave none lately.
 *  - By silence (or, where a service asks for it, by anything that nobody
 *    decided) at most the guard's bound leaves in one window, and of two or
 *    more registered never the last one in the answers. A window lasts at
 *    least as long as configured.
 *  - Of those that could be answered at most a third is suppressed by damping,
 *    never the last, and nobody who does not flap.
 * Liveness, each second, and at the end of a long quiet time: who has been dead
 * for longer than the stated bound is out, who has been well for so long is in. */
#ifndef ORACLE_H
#define ORACLE_H

#include "fleet.h"

enum {
    BEFORE_MAX = 256,  /* commits in SLOW_COMMIT_MS */
    FALLS_TO_DAMP = 3, /* two of 1000 each are below the limit of 2500 */
    WINDOW_MS = 30 * 1000,
    SLACK_MS = 2000 + SYNC_RETRY_MS + 3 * SLOW_COMMIT_MS,
};

struct seen {
    bool there, in;
    bool damped;     /* has a damped check */
    bool suppressed; /* by damping, and by nothing else */
    bool passes;     /* in truth: by the stored statuses */
    enum check_cause cause;
};

struct judged_service {
    size_t registered;
    size_t passing; /* or held; those suppressed are a reserve, and count */
    /* As it was: a plan is made on a catalog that may be SLOW_COMMIT_MS old. */
    struct {
        uint64_t until_ms;
        size_t passing;
    } before[BEFORE_MAX];
    size_t before_n;
    /* The window as the oracle counts it. */
    bool open;
    uint64_t opened_ms;
    size_t base, base_registered, left, removed;
};

struct oracle {
    struct seen now[INSTANCES_MAX];
    struct judged_service services[SERVICES_MAX];
    uint64_t sick_ms[INSTANCES_MAX]; /* last seen with a truth that gives
                                        evidence; 0: never */
    uint64_t mute_ms[INSTANCES_MAX]; /* last seen to hang, or with a starved
                                        prober */
    unsigned falls[INSTANCES_MAX];   /* by evidence, or what looks like it */
    uint64_t calm_ms; /* nothing was wrong with the store since */
    uint64_t checked;
};

static inline struct oracle *oracle_of(const struct fleet *f)
{
    return f->oracle;
}

/* --- Looking ------------------------------------------------------------- */

static inline struct seen look(const struct fleet *f, const struct inst *i)
{
    const struct snapshot *s = fleet_snapshot(f);
    const struct cat_node *n = snapshot_node(s, node_of(i));
    const struct cat_instance *c =
        n ? cat_node_service(n, bytes_str(i->id)) : NULL;
    struct seen got = {.there = c != NULL, .passes = c != NULL};

    for (uint32_t k = 0; c && k < c->check_count; k++) {
        struct check_view v;
        cat_check_view(c->checks[k], &v);
        got.damped |= v.marks.damped;
        if (!bytes_is(v.status, "passing")) {
            got.passes = false;
            got.cause = v.marks.cause;
        }
    }
    if (!c)
        return got;
    struct membership m;
    membership_begin(&m, s,
                     snapshot_name(s, bytes_str(f->service_name[i->service])));
    enum member is = member_of(&m, n, c);
    got.in = member_is_in(is);
    got.suppressed = is == MEMBER_SUPPRESSED;
    return got;
}

/* --- Safety -------------------------------------------------------------- */

static inline size_t bound_of(size_t registered, size_t answered)
{
    return registered < 4 ? answered - 1 : answered / 2;
}

static inline void remember(struct fleet *f, struct judged_service *j)
{
    size_t at = j->before_n++ % BEFORE_MAX;

    j->before[at].until_ms = f->sim.now_ms;
    j->before[at].passing = j->passing;
}

static inline size_t passing_lately(const struct fleet *f,
                                    const struct judged_service *j)
{
    size_t most = j->passing;

    for (size_t n = 0; n < j->before_n && n < BEFORE_MAX; n++)
        if (f->sim.now_ms - j->before[n].until_ms <= SLOW_COMMIT_MS &&
            j->before[n].passing > most)
            most = j->before[n].passing;
    return most;
}

static inline uint64_t lately_ms(const struct inst *i)
{
    return 2 * (i->ttl ? i->ttl_ms : i->interval_ms + i->timeout_ms) +
           SLACK_MS +
           /* the store was down, and what was seen came later */
           60 * 1000;
}

static inline bool is_lately(const struct fleet *f, const struct inst *i,
                             uint64_t when_ms)
{
    /* It was so before its agent crashed: the catalog hears of it only now. */
    return i->truth != WELL || i->began_critical ||
           (when_ms && f->sim.now_ms - when_ms <= lately_ms(i));
}

/* The window; NULL: a single one goes when it goes. */
static inline struct judged_service *window_for(struct fleet *f,
                                                const struct inst *i)
{
    struct judged_service *j = &oracle_of(f)->services[i->service];

    if (j->registered == 1)
        return NULL;
    if (!j->open) {
        j->open = true;
        j->opened_ms = f->sim.now_ms;
        j->base = passing_lately(f, j);
        j->base_registered = j->registered;
        j->left = j->removed = 0;
    }
    return j;
}

static inline void is_removed(struct fleet *f, const struct inst *i)
{
    struct judged_service *j = window_for(f, i);

    if (!i->external || f->sim.now_ms - i->told_ms <= i->ttl_ms)
        sim_fail(&f->sim, "%s was heard of, and removed", i->id);
    if (!j)
        return;
    j->removed++;
    sometimes(j->removed > 1);
    if (f->mode[i->service] != GUARD_MODE_OFF &&
        j->removed > (j->base_registered < 4 ? j->base_registered - 1
                                             : j->base_registered / 2))
        sim_fail(&f->sim, "%s was removed, as number %zu of %zu in one window",
                 i->id, j->removed, j->base_registered);
}

static inline void leaves_silently(struct fleet *f, const struct inst *i)
{
    struct judged_service *j = window_for(f, i);

    if (!j)
        return;
    j->left++;
    sometimes(j->left == bound_of(j->base_registered, j->base));
    if (f->mode[i->service] != GUARD_MODE_OFF &&
        j->left > bound_of(j->base_registered, j->base))
        sim_fail(&f->sim,
                 "%s left by silence, as number %zu of %zu passing and %zu "
                 "registered in one window",
                 i->id, j->left, j->base, j->base_registered);
}

/* For long enough: also before and after the agent was down, if its host was
 * not. */
static inline bool beats_are_heard(const struct fleet *f, const struct inst *i)
{
    const struct agent *a = &f->agents[i->agent];
    uint64_t since = i->truth_ms;

    if (i->truth != WELL || a->stalled)
        return false;
    /* Rightly so, before the agent crashed: the catalog hears of it only now. */
    if (i->began_critical)
        return false;
    since = a->fit_ms > since ? a->fit_ms : since;
    since = a->rebooted_ms > since ? a->rebooted_ms : since;
    return f->sim.now_ms - since > lately_ms(i);
}

/* True: it counts for the guard. */
static inline bool judge_leaving(struct fleet *f, const struct inst *i,
                                 const struct seen *now)
{
    const struct oracle *o = oracle_of(f);
    int n = (int)(i - f->insts);
    bool all = f->mode[i->service] == GUARD_MODE_ALL;

    if (!now->there)
        return true; /* is_removed has judged the rest */
    if (now->suppressed) {
        if (!now->damped || f->rule[i->service].mode != DAMP_SUPPRESS)
            sim_fail(&f->sim, "%s is not damped, and suppressed", i->id);
        if (o->falls[n] < FALLS_TO_DAMP)
            sim_fail(&f->sim, "%s is damped and does not flap", i->id);
        return false;
    }
    if (now->passes)
        sim_fail(&f->sim, "%s passes, and left", i->id);
    switch (now->cause) {
    case CAUSE_EVIDENCE:
        if (!is_lately(f, i, o->sick_ms[n]))
            sim_fail(&f->sim, "%s left by evidence and was well", i->id);
        return all;
    case CAUSE_TIMEOUT:
        if (!is_lately(f, i, o->mute_ms[n]))
            sim_fail(&f->sim, "%s left by a time-out and was well", i->id);
        return all;
    case CAUSE_SILENCE:
        if (i->ttl && beats_are_heard(f, i))
            sim_fail(&f->sim, "%s beats, and is taken for silent", i->id);
        return true;
    }
    return false;
}

static inline void judge_damping(struct fleet *f, int service)
{
    const struct oracle *o = oracle_of(f);
    size_t candidates = 0, suppressed = 0;

    for (int n = 0; n < f->inst_n; n++) {
        const struct seen *v = &o->now[n];
        if (f->insts[n].service != service || !v->there)
            continue;
        candidates += v->in || v->suppressed;
        suppressed += v->suppressed;
    }
    sometimes(suppressed > 0);
    sometimes(suppressed > 1);
    if (suppressed * 3 > candidates)
        sim_fail(&f->sim, "%zu of %zu of %s are suppressed", suppressed,
                 candidates, f->service_name[service]);
}

static inline void oracle_about_to_commit(struct fleet *f)
{
    struct oracle *o = oracle_of(f);

    for (int s = 0; s < f->service_n; s++) {
        remember(f, &o->services[s]);
        o->services[s].registered = o->services[s].passing = 0;
        for (int n = 0; n < f->inst_n; n++) {
            if (f->insts[n].service != s)
                continue;
            o->services[s].registered += o->now[n].there;
            o->services[s].passing += o->now[n].in || o->now[n].suppressed;
        }
    }
}

static inline void oracle_committed(struct fleet *f)
{
    struct oracle *o = oracle_of(f);
    bool silently[SERVICES_MAX] = {false}, moved[SERVICES_MAX] = {false};
    size_t left[SERVICES_MAX] = {0};

    for (int n = 0; n < f->inst_n; n++) {
        struct inst *i = &f->insts[n];
        struct seen was = o->now[n];
        o->now[n] = look(f, i);
        left[i->service] += o->now[n].in;
        if (was.there && !o->now[n].there)
            is_removed(f, i);
        /* Out by time-outs that were the prober's own, and not let in again:
         * from now on that is silence. */
        if (was.there && !was.passes && was.cause == CAUSE_TIMEOUT &&
            !o->now[n].passes && o->now[n].cause == CAUSE_SILENCE && !was.in &&
            !o->now[n].in && !o->now[n].suppressed)
            leaves_silently(f, i);
        if (was.in == o->now[n].in && was.suppressed == o->now[n].suppressed)
            continue;
        moved[i->service] = true;
        sim_say(&f->sim, "%s is %s", i->id,
                o->now[n].in           ? "in"
                : o->now[n].suppressed ? "suppressed"
                                       : "out");
        if ((!was.in && !was.suppressed) || o->now[n].in)
            continue;
        if (judge_leaving(f, i, &o->now[n])) {
            silently[i->service] = true;
            leaves_silently(f, i);
        }
    }
    for (int s = 0; s < f->service_n; s++) {
        if (silently[s] && left[s] == 0 && o->services[s].registered > 1 &&
            f->mode[s] != GUARD_MODE_OFF)
            sim_fail(&f->sim, "the last one of %s left by silence",
                     f->service_name[s]);
        if (moved[s])
            judge_damping(f, s);
    }
    o->checked++;
}

/* Whoever ended the window says so. */
static inline void oracle_window_ended(struct fleet *f, int service)
{
    struct judged_service *j = &oracle_of(f)->services[service];

    if (j->open && f->sim.now_ms - j->opened_ms < WINDOW_MS)
        sim_fail(&f->sim, "a window of %s ended after %llu ms",
                 f->service_name[service],
                 (unsigned long long)(f->sim.now_ms - j->opened_ms));
    j->open = false;
}

/* --- Truth --------------------------------------------------------------- */

static inline void oracle_truth(struct fleet *f, struct inst *i)
{
    struct oracle *o = oracle_of(f);
    int n = (int)(i - f->insts);

    switch (i->truth) {
    case REFUSES:
    case BROKEN:
        o->sick_ms[n] = f->sim.now_ms;
        break;
    case HANGS:
    case CUT_OFF:
        o->mute_ms[n] = f->sim.now_ms;
        break;
    case WELL:
        break;
    }
    if (f->agents[i->agent].starved || f->agents[i->agent].stalled)
        o->mute_ms[n] = f->sim.now_ms;
}

/* An agent with few checks, or for a short while, cannot tell its own illness
 * from that of its targets. */
static inline void oracle_unfit(struct fleet *f, const struct agent *a)
{
    for (int n = 0; n < f->inst_n; n++) {
        if (f->insts[n].agent != a->number)
            continue;
        oracle_truth(f, &f->insts[n]);
        oracle_of(f)->falls[n] += !f->insts[n].ttl;
    }
}

static inline void inst_becomes(struct inst *i, enum truth truth)
{
    struct fleet *f = i->f;
    struct oracle *o = oracle_of(f);

    if (i->truth == truth)
        return;
    oracle_truth(f, i); /* it was so until now */
    /* A TTL client that is silent gives no evidence. */
    if (i->truth == WELL && (!i->ttl || truth == BROKEN))
        o->falls[i - f->insts]++;
    i->truth = truth;
    i->truth_ms = f->sim.now_ms;
    oracle_truth(f, i);
    sim_say(&f->sim, "%s %s", i->id, truth_names[truth]);
}

/* --- Liveness ------------------------------------------------------------ */

/* Since when all that should notice could. */
static inline uint64_t watched_since(const struct fleet *f,
                                     const struct inst *i)
{
    const struct agent *a = &f->agents[i->agent];
    uint64_t t = i->truth_ms;

    if (i->external)
        return f->store_down               ? UINT64_MAX
               : t > oracle_of(f)->calm_ms ? t
                                           : oracle_of(f)->calm_ms;
    if (!a->up || a->starved || a->stalled || f->store_down)
        return UINT64_MAX;
    if (a->up_ms > t)
        t = a->up_ms;
    if (a->fit_ms > t)
        t = a->fit_ms;
    if (oracle_of(f)->calm_ms > t)
        t = oracle_of(f)->calm_ms;
    return t;
}

/* When it must be out at the latest; UINT64_MAX: nothing is promised here. */
static inline uint64_t out_by(const struct fleet *f, const struct inst *i)
{
    uint64_t since = watched_since(f, i);

    if (since == UINT64_MAX || i->external ||
        f->mode[i->service] == GUARD_MODE_ALL)
        return UINT64_MAX;
    switch (i->truth) {
    case WELL:
        return UINT64_MAX;
    case REFUSES:
        if (i->ttl) /* held, and refused when it is asked */
            return since + 2 * i->ttl_ms + 2 * WINDOW_MS + SLACK_MS;
        return since + i->interval_ms + i->timeout_ms + SLACK_MS;
    case BROKEN:
        if (i->ttl)
            return since + i->beat_every_ms + SLACK_MS;
        return since + i->interval_ms + i->timeout_ms + SLACK_MS;
    case HANGS:
    case CUT_OFF:
        /* By silence, so to speak; or the prober may be the sick one. */
        return UINT64_MAX;
    }
    return UINT64_MAX;
}

static inline uint64_t in_by(const struct fleet *f, const struct inst *i)
{
    uint64_t since = watched_since(f, i);

    if (i->truth != WELL || since == UINT64_MAX)
        return UINT64_MAX;
    if (i->ttl || i->external)
        since += i->beat_every_ms;
    else
        since += i->interval_ms + i->timeout_ms;
    if (f->rule[i->service].mode == DAMP_SUPPRESS)
        since += f->rule[i->service].max_ms;
    return since + SLACK_MS;
}

static inline void oracle_tick(struct fleet *f)
{
    struct oracle *o = oracle_of(f);

    for (int n = 0; n < f->inst_n; n++) {
        struct inst *i = &f->insts[n];
        oracle_truth(f, i);
        if (!o->now[n].there && !i->external)
            continue;
        if (o->now[n].in && f->sim.now_ms > out_by(f, i))
            sim_fail(&f->sim, "%s %s for %.1f s and is in the answers", i->id,
                     truth_names[i->truth],
                     (double)(f->sim.now_ms - i->truth_ms) / 1000);
        if (!o->now[n].in && f->sim.now_ms > in_by(f, i))
            sim_fail(&f->sim, "%s is well for %.1f s and not in the answers",
                     i->id, (double)(f->sim.now_ms - i->truth_ms) / 1000);
    }
    if (f->store_down)
        o->calm_ms = f->sim.now_ms;
}

/* Nothing has happened for a long time. */
static inline void oracle_settled(struct fleet *f)
{
    struct oracle *o = oracle_of(f);

    for (int n = 0; n < f->inst_n; n++) {
        const struct inst *i = &f->insts[n];
        const struct witness *w = &f->agents[i->agent].witness;
        size_t in = 0;

        if (f->mode[i->service] == GUARD_MODE_ALL)
            continue;
        for (int k = 0; k < f->inst_n; k++)
            in += f->insts[k].service == i->service && o->now[k].in;
        if (i->truth == WELL && !o->now[n].in)
            sim_fail(&f->sim, "at last %s is well and out", i->id);
        if (i->truth == WELL || !o->now[n].in)
            continue;
        /* It takes connections: nobody can tell that it is dead. */
        bool accepts = i->truth == HANGS && (i->ttl || w->starved);
        /* Never the last one without evidence. */
        bool last = in == 1 &&
                    (i->truth == CUT_OFF || i->truth == HANGS || i->external);
        sometimes(accepts);
        sometimes(last);
        if (!accepts && !last)
            sim_fail(&f->sim, "at last %s %s and is in the answers", i->id,
                     truth_names[i->truth]);
    }
}

#endif
