/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* unknown - a group's acknowledgement was lost: is it in, or not, or on its
 * way?
 *
 *   1. Bar it: put its marker, guarded by the revision the group itself
 * guarded. If that succeeds the group can never come in any more (its own guard
 * fails for ever), and its changes are tried again.
 *   2. If it fails the marker has moved. Its value names who moved it: the
 * group (it is in), an earlier attempt to bar it (it is not), or another
 * process under our name; then the values before tell, back to the old
 * revision.
 *   3. If it is in at revision R, every change is in whose guards held at R -
 * 1, which history still shows.
 *
 * A full etcd may have carried out what it says it has no space for. It takes no
 * bar then, and needs none: the marker is read at once (2).
 *
 * Nobody is answered and nothing is tried again before that. Each step that
 * fails is repeated from engine_retry_later. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/log.h"
#include "store/impl.h"

struct unknown {
    struct group *group;
    uint64_t old_rev; /* of the marker, as the group guarded it */
    bool full;        /* it does not come in any more, and is not tried again */
    void (*step)(struct unknown *u); /* what is to be tried (again) */

    struct backend_group bar;
    struct store_guard bar_guard;
    struct store_op bar_op;
    struct buf bar_value;

    /* TRACING: the marker as of revision `at` (0: newest). */
    uint64_t at;
    uint64_t found_rev; /* 0: no marker */
    bool is_group, is_bar;

    /* JUDGING, at came_rev - 1. */
    uint64_t came_rev;
    size_t change, guard; /* being looked at */
    struct backend_row seen;
    bool disturbed; /* GUARD_QUIET: something was created */
    bool answered, asking;
    enum err answer;
};

static struct store *store_of(const struct unknown *u)
{
    return u->group->store;
}

static void again_later(struct unknown *u, enum err why, const char *text)
{
    u->group->state = GROUP_LOST;
    engine_state(store_of(u), false, why, text);
    engine_retry_later(store_of(u));
}

static void not_in(struct unknown *u)
{
    struct group *g = u->group;

    /* Barred: its members wait again. */
    g->sent.verdict = u->full ? BACKEND_FAILED : BACKEND_BARRED;
    g->sent.revision = g->marker_rev;
    group_settle(g);
}

/* --- 3. Judge ------------------------------------------------------------ */

static const struct store_guard *current_guard(const struct unknown *u)
{
    return &u->group->changes[u->change].guards[u->guard];
}

static void judge_row(void *ctx, const struct backend_row *row)
{
    struct unknown *u = ctx;
    const struct store_guard *g = current_guard(u);

    if (g->kind == GUARD_QUIET)
        u->disturbed |= row->create_rev > g->rev;
    else if (bytes_eq(row->key, g->key))
        u->seen = *row;
}

static bool guard_held(const struct unknown *u)
{
    const struct store_guard *g = current_guard(u);

    switch (g->kind) {
    case GUARD_MOD:
        return u->seen.mod_rev == g->rev;
    case GUARD_CREATE:
        return u->seen.create_rev == g->rev;
    case GUARD_PRESENT:
        return u->seen.create_rev != 0;
    case GUARD_ABSENT:
        return u->seen.create_rev == 0;
    case GUARD_QUIET:
        return !u->disturbed;
    }
    return false;
}

static void judge(struct unknown *u);

static void judge_done(void *ctx, enum err e, uint64_t revision)
{
    struct unknown *u = ctx;

    (void)revision;
    u->answered = true;
    u->answer = e;
    if (!u->asking) /* later than the call: go on from here */
        judge(u);
}

static void ask(struct unknown *u)
{
    struct store *s = store_of(u);

    u->seen = (struct backend_row){0};
    u->disturbed = false;
    u->answered = false;
    u->answer = ERR_OK;
    if (u->came_rev == 1) { /* before it there was nothing */
        u->answered = true;
        return;
    }
    u->asking = true;
    s->backend->ops->range(s->backend, current_guard(u)->key, u->came_rev - 1,
                           judge_row, judge_done, u);
    u->asking = false;
}

/* Takes the answer to the current guard. False: it is not one. */
static bool take_answer(struct unknown *u)
{
    struct group *g = u->group;

    u->answered = false;
    if (u->answer == ERR_COMPACTED) {
        log_warn("store",
                 "history is gone before the outcome of a group was "
                 "found out: revision=%llu",
                 (unsigned long long)u->came_rev);
        group_give_up(g);
        return false;
    }
    if (u->answer != ERR_OK) {
        again_later(u, u->answer, "cannot read the state before a group");
        return false;
    }
    if (guard_held(u)) {
        u->guard++;
    } else {
        g->changes[u->change].held = false;
        u->guard = g->changes[u->change].guard_count;
    }
    return true;
}

static void judge(struct unknown *u)
{
    struct group *g = u->group;

    g->state = GROUP_JUDGING;
    for (;;) {
        if (u->answered && !take_answer(u))
            return;
        while (u->change < g->member_count &&
               u->guard == g->changes[u->change].guard_count) {
            u->change++;
            u->guard = 0;
        }
        if (u->change == g->member_count)
            break;
        ask(u);
        if (!u->answered)
            return; /* judge_done goes on */
    }
    g->sent.verdict = BACKEND_COMMITTED;
    g->sent.revision = u->came_rev;
    group_settle(g);
}

static void begin_to_judge(struct unknown *u, uint64_t revision)
{
    struct group *g = u->group;

    u->came_rev = revision;
    u->change = u->guard = 0;
    u->answered = false;
    for (size_t i = 0; i < g->member_count; i++)
        g->changes[i].held = true;
    u->step = judge;
    judge(u);
}

/* --- 2. Trace ------------------------------------------------------------ */

static void trace(struct unknown *u);

static void trace_row(void *ctx, const struct backend_row *row)
{
    struct unknown *u = ctx;

    if (!bytes_eq(row->key, buf_bytes(&u->group->marker_key)))
        return;
    u->found_rev = row->mod_rev;
    u->is_group = bytes_starts(row->value, buf_bytes(&u->group->name));
    u->is_bar = bytes_eq(row->value, buf_bytes(&u->bar_value));
}

static void trace_done(void *ctx, enum err e, uint64_t revision)
{
    struct unknown *u = ctx;

    (void)revision;
    if (e == ERR_COMPACTED) {
        group_give_up(u->group);
    } else if (e != ERR_OK) {
        again_later(u, e, "cannot read a marker");
    } else if (u->found_rev <= u->old_rev || u->is_bar) {
        not_in(u);
    } else if (u->is_group) {
        begin_to_judge(u, u->found_rev);
    } else if (u->found_rev - 1 <= u->old_rev) {
        not_in(u);
    } else {
        log_warn("store", "another process writes under this server's name");
        u->at = u->found_rev - 1;
        trace(u);
    }
}

static void trace(struct unknown *u)
{
    struct store *s = store_of(u);

    u->group->state = GROUP_TRACING;
    u->found_rev = 0;
    u->is_group = u->is_bar = false;
    s->backend->ops->range(s->backend, buf_bytes(&u->group->marker_key), u->at,
                           trace_row, trace_done, u);
}

/* --- 1. Bar -------------------------------------------------------------- */

static void on_bar(struct backend_group *bar)
{
    struct unknown *u = bar->ctx;
    struct group *g = u->group;

    switch (bar->verdict) {
    case BACKEND_COMMITTED:
        if (g->marker_rev < bar->revision)
            g->marker_rev = bar->revision;
        engine_state(store_of(u), true, ERR_OK, "");
        not_in(u);
        break;
    case BACKEND_BARRED:
        u->at = 0;
        u->step = trace;
        trace(u);
        break;
    case BACKEND_FAILED:
    case BACKEND_UNKNOWN:
        again_later(u, bar->why, bar->text.s);
        break;
    }
}

static void bar(struct unknown *u)
{
    struct store *s = store_of(u);

    u->group->state = GROUP_BARRING;
    u->bar_guard = u->group->own_guards[1];
    u->bar_op =
        (struct store_op){OP_PUT, u->bar_guard.key, buf_bytes(&u->bar_value)};
    u->bar = (struct backend_group){
        .own_guards = &u->bar_guard,
        .own_guard_count = 1,
        .own_ops = &u->bar_op,
        .own_op_count = 1,
        .wall_ms = engine_wall_ms(),
        .done = on_bar,
        .ctx = u,
    };
    s->backend->ops->txn(s->backend, &u->bar);
}

void unknown_begin(struct group *g)
{
    struct unknown *u = xzalloc(sizeof *u);

    u->group = g;
    u->old_rev = g->own_guards[1].rev;
    u->full = g->sent.why == ERR_NOSPACE;
    u->step = u->full ? trace : bar;
    /* The bar names the group it bars, so that who looks can tell. */
    buf_puts(&u->bar_value, "{\"bar\":");
    buf_put(&u->bar_value,
            bytes_skip(buf_bytes(&g->name), strlen("{\"group\":")));
    /* Whoever asks when a revision was asks the newest marker. */
    buf_puts(&u->bar_value, ",\"ms\":");
    buf_u64(&u->bar_value, engine_wall_ms());
    buf_puts(&u->bar_value, "}");
    require(!u->bar_value.bad);
    g->unknown = u;
    u->step(u);
}

void unknown_retry(struct group *g)
{
    g->unknown->step(g->unknown);
}

void unknown_free(struct group *g)
{
    if (g->unknown)
        buf_fini(&g->unknown->bar_value);
    free(g->unknown);
    g->unknown = NULL;
}
