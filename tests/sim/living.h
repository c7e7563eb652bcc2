/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* living - the people of liveness_sim.c, the truth about them, and its judge. */
#ifndef LIVING_H
#define LIVING_H

#include <stdio.h>

#include "catalog_plans.h"
#include "duty/liveness.h"
#include "sim.h"

enum {
    SERVERS = 3,
    AGENTS_MAX = 24,
    BEAT_MS = 1000,
    BEAT_MANY_MS = 3000, /* where a server has many (server/presence.h) */
    REPORT_MS = 1000,
    MOVE_AFTER_MS = 3000,
    LAG_MAX_MS = 20, /* of the network */
    PROBE_MS = 500,  /* until an observer's answer */
    COMMIT_MS = 40,
    STORY_MS = 180 * 1000,
    RECONNECT_MS = 60 * 1000,
    /* Since when it must have been possible to be heard: to notice (MOVE),
     * to move, a beat, a report. */
    SETTLED_MS = MOVE_AFTER_MS + BEAT_MANY_MS + REPORT_MS + 500,
    FAILED_WITHIN_MS = 12 * 1000,
    RETURNED_WITHIN_MS = 4 * 1000,
};

struct story;

struct server {
    struct story *st;
    int number;
    bool up, stopped;
    uint64_t epoch; /* of its life: a restart has heard nobody */
    uint64_t heard_ms[AGENTS_MAX];
    struct event report;
};

struct agent {
    struct story *st;
    int number;
    bool up, stopped;
    bool mute;            /* no way to any server; observers reach it */
    int server;           /* it beats to */
    uint64_t answered_ms; /* last, by its server */
    uint64_t beat_ms;     /* the last that a server has */
    uint64_t down_ms;     /* since when it does not run; 0: it does */
    uint64_t up_ms;       /* since when it could be heard; 0: it could not */
    uint64_t runs_ms;     /* since when it runs; 0: it does not */
    bool failed;          /* as the catalog says */
    uint64_t failed_ms;
    struct event beat, probe;
    bool probing;
    int observer; /* of that */
};

struct story {
    struct sim sim;
    uint64_t beat_ms; /* of all its agents */
    struct world *w;
    struct liveness *l;
    int holder; /* server */
    size_t agents;
    struct server servers[SERVERS];
    struct agent agent[AGENTS_MAX];
    struct event tick, commit, trouble;
    struct plan *plan;   /* under way */
    uint64_t excused_ms; /* something happened that restarts times */
    uint64_t many_ms;    /* when many at once were down, lastly */
    size_t probes;
};

static uint64_t stories, failures, returns, reaped, suspects, doubts, saved;

/* --- The catalog --------------------------------------------------------- */

static inline void node_name(int n, char out[8])
{
    snprintf(out, 8, "n%d", n);
}

static inline void register_agent(struct story *st, int n)
{
    char name[8];
    struct buf meta = {0};

    node_name(n, name);
    packed_put_pair(&meta, bytes_str(LIVENESS_META), bytes_str("8301"));
    st->w->revision++;
    world_put_node(st->w, &(struct node_view){.name = bytes_str(name),
                                              .address = bytes_str("10.0.0.1"),
                                              .meta = {buf_bytes(&meta), 1},
                                              .meta_set = true});
    world_put_check(st->w, name,
                    &(struct check_view){.id = bytes_str(LIVENESS_CHECK),
                                         .status = bytes_str("passing")});
    (void)world_commit(st->w);
    buf_fini(&meta);
}

static const struct cat_record *check_of(const struct story *st, int n)
{
    char name[8];

    node_name(n, name);
    const struct cat_node *c =
        snapshot_node(catalog_current(st->w->catalog), bytes_str(name));
    return c ? cat_node_check(c, bytes_str(LIVENESS_CHECK)) : NULL;
}

static inline bool is_failed(const struct story *st, int n)
{
    const struct cat_record *r = check_of(st, n);
    struct check_view v;

    if (!r)
        return false;
    cat_check_view(r, &v);
    return bytes_is(v.status, "critical");
}

/* --- Truth --------------------------------------------------------------- */

static inline bool runs(const struct server *s)
{
    return s->up && !s->stopped;
}

static inline bool some_server_runs(const struct story *st)
{
    for (int i = 0; i < SERVERS; i++)
        if (runs(&st->servers[i]))
            return true;
    return false;
}

static inline void excuse(struct story *st)
{
    st->excused_ms = st->sim.now_ms;
}

/* Since when everybody who runs could be heard of. */
static inline void truth_changed(struct story *st)
{
    bool servers = some_server_runs(st);

    for (size_t i = 0; i < st->agents; i++) {
        struct agent *a = &st->agent[i];
        bool lives = a->up && !a->stopped;
        a->runs_ms = !lives ? 0 : a->runs_ms ? a->runs_ms : st->sim.now_ms;
        bool could = servers && a->up && !a->stopped && !a->mute;
        if (!could)
            a->up_ms = 0;
        else if (!a->up_ms)
            a->up_ms = st->sim.now_ms;
    }
}

/* Agents that have been heard for long enough to be asked: not while some look
 * for another server. */
static inline size_t observers(const struct story *st)
{
    size_t n = 0;

    if (st->sim.now_ms <= st->excused_ms + SETTLED_MS + LIVENESS_FAIL_MS)
        return 0;
    for (size_t i = 0; i < st->agents; i++)
        n +=
            st->agent[i].up_ms &&
            st->sim.now_ms > st->agent[i].up_ms + SETTLED_MS + LIVENESS_FAIL_MS;
    return n;
}

static inline void judge(struct sim *sim)
{
    struct story *st = container_of(sim, struct story, sim);

    for (size_t i = 0; i < st->agents; i++) {
        struct agent *a = &st->agent[i];
        bool failed = is_failed(st, (int)i);
        if (failed && !a->failed) {
            a->failed_ms = sim->now_ms;
            sim_say(sim, "n%zu is failed", i);
            if (a->up_ms && sim->now_ms >= a->up_ms + SETTLED_MS)
                sim_fail(sim, "n%zu is alive, and was declared failed", i);
            if (a->runs_ms && a->mute &&
                sim->now_ms > a->runs_ms + 2 * LIVENESS_ROUND_MS &&
                observers(st) > 3)
                sim_fail(sim, "n%zu can be reached, and was declared failed",
                         i);
        }
        if (!failed && a->failed)
            sim_say(sim, "n%zu is not failed any more", i);
        a->failed = failed;
    }
}

/* What must have happened by now. */
static inline void judge_time(struct story *st)
{
    uint64_t now = st->sim.now_ms;
    size_t down = 0;

    for (size_t i = 0; i < st->agents; i++)
        down += !st->agent[i].runs_ms || st->agent[i].mute;
    if (down * LIVENESS_DOUBT_SHARE > st->agents)
        st->many_ms = now;
    for (size_t i = 0; i < st->agents; i++) {
        const struct agent *a = &st->agent[i];
        uint64_t since =
            a->beat_ms > st->excused_ms ? a->beat_ms : st->excused_ms;
        /* Many at once may take longer, until it is heard who is back. */
        uint64_t most = now <= st->many_ms + SETTLED_MS
                            ? LIVENESS_FAIL_DOUBT_MS + 2000
                            : FAILED_WITHIN_MS;
        if (a->down_ms && check_of(st, (int)i) && !a->failed &&
            now > since + most + LIVENESS_SERVER_LOST_MS)
            sim_fail(&st->sim, "n%zu is dead for %llu ms, and not failed", i,
                     (unsigned long long)(now - a->down_ms));
        uint64_t up = a->up_ms > st->excused_ms ? a->up_ms : st->excused_ms;
        if (a->failed && a->up_ms && some_server_runs(st) &&
            now > up + SETTLED_MS + RETURNED_WITHIN_MS)
            sim_fail(&st->sim, "n%zu is back, and still failed", i);
    }
}

#endif
