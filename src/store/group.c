/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* group - all that waits and may go together becomes one commit.
 *
 * A group starts at once if none flies, with what is there. While it commits the
 * next one gathers (pace.h).
 *
 * A group's marker (store/impl.h) is written with it, as JSON text (marker.h).
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/log.h"
#include "base/metric.h"
#include "store/impl.h"
#include "store/marker.h"

enum {
    /* Changes that a group's search may step over: bounds what a turn costs
     * when thousands wait for the same key. */
    LOOK_AHEAD_MAX = 512,
};

/* --- Who goes together --------------------------------------------------- */

static void *grow(void *p, size_t *cap, size_t want, size_t size)
{
    if (want <= *cap)
        return p;
    *cap = want < 64 ? 64 : want * 2;
    free(p); /* nothing of the last group is needed */
    return xmalloc(*cap * size);
}

static void add_member(struct group *g, struct store_change *c)
{
    if (g->member_count == g->member_cap) {
        g->member_cap = g->member_cap ? g->member_cap * 2 : 64;
        g->members = xrealloc(g->members, g->member_cap * sizeof *g->members);
    }
    list_del(&c->link);
    g->members[g->member_count++] = c;
}

/* Beside those that fly, those already in g, and those that were here first? */
static bool must_wait(const struct store *s, const struct group *g,
                      const struct store_change *c)
{
    if (claims_conflict(&g->claims, c) || claims_conflict(&s->postponed, c))
        return true;
    for (int i = 0; i < s->slots; i++) {
        const struct group *other = &s->groups[i];

        if (other != g && other->state != GROUP_FREE &&
            claims_conflict(&other->claims, c))
            return true;
    }
    return false;
}

/* Its keys go with it: those of the members alone stay claimed. */
static void refuse_twice(struct group *g, struct store_change *c,
                         struct bytes key)
{
    struct bytes none;

    claims_reset(&g->claims);
    for (size_t i = 0; i < g->member_count; i++)
        (void)claims_add(&g->claims, g->members[i], &none);
    list_del(&c->link);
    change_refuse_twice(g->store, c, key);
}

static void pick(struct store *s, struct group *g)
{
    size_t bytes = GROUP_OWN_BYTES, widest = 0, postponed = 0;
    struct bytes twice;

    claims_reset(&s->postponed);
    list_each (it, &s->waiting) {
        struct store_change *c = container_of(it, struct store_change, link);

        if (must_wait(s, g, c)) {
            (void)claims_add(&s->postponed, c, &twice);
            if (++postponed == LOOK_AHEAD_MAX)
                break;
            continue;
        }
        size_t cost = store_cost(c);
        widest = cost > widest ? cost : widest;
        bytes += change_bytes(c);
        if (g->member_count + 1 + GROUP_OWN_PUTS_MAX + widest >
                STORE_GROUP_OPS_MAX ||
            bytes > STORE_GROUP_BYTES_MAX)
            break;
        if (claims_add(&g->claims, c, &twice)) {
            add_member(g, c);
        } else {
            refuse_twice(g, c, twice);
        }
    }
}

static bool raw_flies(const struct store *s)
{
    for (int i = 0; i < s->slots; i++) {
        if (s->groups[i].state != GROUP_FREE && s->groups[i].raw)
            return true;
    }
    return false;
}

/* The engine's own changes go alone, one after the other, and take turns with
 * the users'. */
static bool fill(struct store *s, struct group *g)
{
    bool raw = !list_empty(&s->internal) && !raw_flies(s);

    g->member_count = 0;
    g->raw = false;
    claims_reset(&g->claims);
    if (raw && !(s->internal_last && !list_empty(&s->waiting))) {
        g->raw = true;
        add_member(g,
                   container_of(s->internal.next, struct store_change, link));
    } else {
        pick(s, g);
    }
    s->internal_last = g->raw;
    if (g->member_count)
        return true;
    bool probe = s->probe;
    s->probe = false;
    return probe;
}

/* --- Into the backend's words -------------------------------------------- */

static struct bytes key_out(struct group *g, size_t *at, struct bytes key)
{
    const struct store *s = g->store;
    char *p = g->keys + *at;

    if (g->raw)
        return key;
    if (key.n && key.p[0] == FENCE_BYTE)
        return bytes_skip(key, 1);
    memcpy(p, s->prefix, DATA_PREFIX_BYTES);
    if (key.n)
        memcpy(p + DATA_PREFIX_BYTES, key.p, key.n);
    *at += DATA_PREFIX_BYTES + key.n;
    return bytes_of(p, DATA_PREFIX_BYTES + key.n);
}

/* A revision of an earlier epoch is of another life of the data: no key has it,
 * and everything was created since. */
static uint64_t guard_rev(const struct group *g, const struct store_guard *in)
{
    const uint64_t never = (uint64_t)1 << STORE_EPOCH_SHIFT;

    if (in->rev == 0 || g->raw || (in->key.n && in->key.p[0] == FENCE_BYTE))
        return in->rev;
    if (revision_epoch(in->rev) == g->store->epoch)
        return revision_plain(in->rev);
    return in->kind == GUARD_QUIET ? 0 : never;
}

static void translate(struct group *g)
{
    size_t guards = 0, ops = 0, keys = 0, key_at = 0;

    for (size_t i = 0; i < g->member_count; i++) {
        const struct store_change *c = g->members[i];

        guards += c->guard_count;
        ops += c->op_count;
        keys += change_bytes(c);
    }
    g->changes =
        grow(g->changes, &g->change_cap, g->member_count, sizeof *g->changes);
    g->guards = grow(g->guards, &g->guard_cap, guards, sizeof *g->guards);
    g->ops = grow(g->ops, &g->op_cap, ops, sizeof *g->ops);
    g->keys = grow(g->keys, &g->key_cap, keys, 1);

    struct store_guard *guard = g->guards;
    struct store_op *op = g->ops;

    for (size_t i = 0; i < g->member_count; i++) {
        const struct store_change *c = g->members[i];

        g->changes[i] = (struct backend_change){
            .guards = guard,
            .guard_count = c->guard_count,
            .ops = op,
            .op_count = c->op_count,
        };
        for (size_t k = 0; k < c->guard_count; k++, guard++)
            *guard = (struct store_guard){
                .kind = c->guards[k].kind,
                .key = key_out(g, &key_at, c->guards[k].key),
                .rev = guard_rev(g, &c->guards[k]),
            };
        for (size_t k = 0; k < c->op_count; k++, op++)
            *op = (struct store_op){
                .kind = c->ops[k].kind,
                .key = key_out(g, &key_at, c->ops[k].key),
                .value = c->ops[k].value,
            };
    }
}

static void write_marker(struct group *g, uint64_t wall_ms)
{
    struct store *s = g->store;
    struct buf *m = &g->marker;

    buf_reset(&g->name);
    buf_printf(&g->name, "{\"group\":\"%s-%llx\"", s->nonce,
               (unsigned long long)++s->group_count);
    buf_reset(m);
    buf_put(m, buf_bytes(&g->name));
    buf_puts(m, ",\"ms\":");
    buf_u64(m, wall_ms);
    marker_put(m, g->members, g->member_count, !g->raw);
    buf_putc(m, '}');
    require(!m->bad && !g->name.bad);
}

/* --- Flight -------------------------------------------------------------- */

/* PACE_WORTH at most. */
static size_t some_waiting(const struct store *s)
{
    size_t n = 0;

    list_each (it, &s->waiting) {
        if (++n == PACE_WORTH)
            break;
    }
    return n;
}

static void on_sent(struct backend_group *sent)
{
    struct group *g = sent->ctx;
    struct store *s = g->store;

    store_pace_took(&s->pace, uv_now(&s->loop) - g->launched_ms);
    store_pace_landed(&s->pace, uv_now(&s->loop), g->member_count,
                      some_waiting(s));
    if (sent->verdict == BACKEND_UNKNOWN) {
        metric_add(METRIC_STORE_UNKNOWN, 1);
        unknown_begin(g);
    } else {
        group_settle(g);
    }
}

static void launch(struct store *s, struct group *g)
{
    uint64_t wall_ms = engine_wall_ms();
    size_t own_ops = 1;

    translate(g);
    write_marker(g, wall_ms);
    g->own_guards[0] =
        (struct store_guard){GUARD_MOD, bytes_str("E"), s->pointer_rev};
    g->own_guards[1] = (struct store_guard){
        GUARD_MOD, buf_bytes(&g->marker_key), g->marker_rev};
    g->own_ops[0] = (struct store_op){OP_PUT, buf_bytes(&g->marker_key),
                                      buf_bytes(&g->marker)};
    if (upkeep_clock_due(s, wall_ms, &g->clock))
        g->own_ops[own_ops++] =
            (struct store_op){OP_PUT, bytes_str("t"), buf_bytes(&g->clock)};
    g->sent = (struct backend_group){
        .own_guards = g->own_guards,
        .own_guard_count = GROUP_OWN_GUARDS,
        .own_ops = g->own_ops,
        .own_op_count = own_ops,
        .changes = g->changes,
        .change_count = g->member_count,
        .wall_ms = wall_ms,
        .done = on_sent,
        .ctx = g,
    };
    g->state = GROUP_FLYING;
    g->launched_ms = uv_now(&s->loop);
    if (!g->raw && g->member_count)
        store_pace_left(&s->pace, g->member_count);
    s->backend->ops->txn(s->backend, &g->sent);
}

static bool work_waits(const struct store *s)
{
    return !list_empty(&s->waiting) || !list_empty(&s->internal);
}

static void on_paced(struct timer *t)
{
    engine_kick(container_of(t, struct store, paced));
}

/* True: what waits gathers for a while longer. The engine's own does not. */
static bool gathers(struct store *s)
{
    size_t flying = 0, waiting = 0;
    uint64_t youngest = 0;

    for (int i = 0; i < s->slots; i++) {
        const struct group *g = &s->groups[i];

        flying += g->state == GROUP_FLYING;
        if (g->state == GROUP_FLYING && g->launched_ms > youngest)
            youngest = g->launched_ms;
    }
    if (!list_empty(&s->internal) || s->stopping || s->barrier_free)
        return false;
    waiting = some_waiting(s);
    uint64_t now = uv_now(&s->loop);
    uint64_t ms =
        flying ? store_pace_wait_ms(&s->pace, flying, now - youngest, waiting)
               : store_pace_rest_ms(&s->pace, now, waiting);

    if (ms && waiting)
        timer_set(&s->timers, &s->paced, ms);
    return ms != 0;
}

void groups_start(struct store *s)
{
    if (s->delivered < s->hold_until)
        return;
    /* One group per slot and turn: new arrivals and timers get their chance. */
    for (int i = 0; i < s->slots; i++) {
        struct group *g = &s->groups[i];

        if (g->state != GROUP_FREE)
            continue;
        if (gathers(s))
            return;
        if (!fill(s, g))
            return; /* nothing, or all wait for those that fly */
        launch(s, g);
        if (s->loading || s->delivered < s->hold_until)
            return;
    }
    for (int i = 0; i < s->slots && work_waits(s); i++) {
        if (s->groups[i].state == GROUP_FREE)
            engine_kick(s);
    }
}

/* --- Outcomes ------------------------------------------------------------ */

static void land(struct group *g)
{
    g->state = GROUP_FREE;
    unknown_free(g);
    engine_kick(g->store);
}

/* In front again, in their order. */
static void requeue(struct group *g)
{
    struct store *s = g->store;
    struct list *to = g->raw ? &s->internal : &s->waiting;
    struct list all;

    list_init(&all);
    for (size_t i = 0; i < g->member_count; i++)
        list_add(&all, &g->members[i]->link);
    list_move_all(&all, to);
    list_move_all(to, &all);
    land(g);
}

static void answer_all(struct group *g, const struct store_outcome *o)
{
    for (size_t i = 0; i < g->member_count; i++)
        change_answer(g->store, g->members[i], o);
    land(g);
}

static void answer_failed(struct group *g)
{
    bool refused = g->sent.why == ERR_NOSPACE || g->sent.why == ERR_LIMIT ||
                   g->sent.why == ERR_BAD;
    struct store_outcome o = {
        .verdict = refused ? STORE_REFUSED : STORE_UNAVAILABLE,
        .revision = revision_out(g->store, g->store->delivered),
        .why = g->sent.why,
        .text = g->sent.text,
    };

    metric_add(METRIC_STORE_ERRORS, 1);
    engine_state(g->store, false, o.why, o.text.s);
    engine_retry_later(g->store);
    answer_all(g, &o);
}

static void answer_committed(struct group *g)
{
    struct store_outcome o = {
        .revision = revision_out(g->store, g->sent.revision),
    };

    metric_add(METRIC_STORE_GROUPS, 1);
    for (size_t i = 0; i < g->member_count; i++) {
        o.verdict = g->changes[i].held ? STORE_COMMITTED : STORE_CONFLICT;
        change_answer(g->store, g->members[i], &o);
    }
    land(g);
}

void group_settle(struct group *g)
{
    struct store *s = g->store;

    switch (g->sent.verdict) {
    case BACKEND_COMMITTED:
        engine_state(s, true, ERR_OK, "");
        if (g->marker_rev < g->sent.revision)
            g->marker_rev = g->sent.revision;
        g->state = GROUP_KNOWN;
        if (s->delivered >= g->sent.revision && !s->loading)
            answer_committed(g);
        break;
    case BACKEND_BARRED:
        /* Another epoch, or another process under our name: the feed shows
         * which, and the next attempt guards what is true then. */
        log_debug("store", "a group was barred: revision=%llu",
                  (unsigned long long)g->sent.revision);
        if (s->hold_until < g->sent.revision)
            s->hold_until = g->sent.revision;
        requeue(g);
        break;
    case BACKEND_FAILED:
        answer_failed(g);
        break;
    case BACKEND_UNKNOWN:
        require(false); /* settled by unknown.c before it comes here */
    }
}

void group_give_up(struct group *g)
{
    struct store_outcome o = {
        .verdict = STORE_UNAVAILABLE,
        .why = ERR_UNKNOWN,
        .revision = revision_out(g->store, g->store->delivered),
    };

    errtext_set(&o.text, "%s",
                g->state == GROUP_KNOWN
                    ? "the change was in, but the store closes, or was put "
                      "back to a backup, before it showed"
                    : "whether the change is in could not be found out");
    answer_all(g, &o);
}

void groups_delivered(struct store *s)
{
    for (int i = 0; i < s->slots; i++) {
        struct group *g = &s->groups[i];

        if (g->state == GROUP_KNOWN && s->delivered >= g->sent.revision)
            answer_committed(g);
    }
    if (work_waits(s))
        engine_kick(s);
}

/* --- All slots ----------------------------------------------------------- */

void groups_open(struct store *s)
{
    s->slots = s->backend->ops->slots;
    s->paced.fire = on_paced;
    s->groups = xzalloc((size_t)s->slots * sizeof *s->groups);
    for (int i = 0; i < s->slots; i++) {
        struct group *g = &s->groups[i];

        g->store = s;
        buf_printf(&g->marker_key, "m/%s/%d", s->server_id, i);
        require(!g->marker_key.bad);
    }
}

static void group_fini(struct group *g)
{
    buf_fini(&g->marker_key);
    buf_fini(&g->marker);
    buf_fini(&g->name);
    buf_fini(&g->clock);
    free(g->members);
    free(g->changes);
    free(g->guards);
    free(g->ops);
    free(g->keys);
    claims_fini(&g->claims);
    unknown_free(g);
}

void groups_fini(struct store *s)
{
    for (int i = 0; i < s->slots; i++)
        group_fini(&s->groups[i]);
    free(s->groups);
    claims_fini(&s->postponed);
}

bool groups_idle(const struct store *s)
{
    for (int i = 0; i < s->slots; i++) {
        if (s->groups[i].state != GROUP_FREE)
            return false;
    }
    return true;
}

bool groups_unsettled(const struct store *s)
{
    for (int i = 0; i < s->slots; i++) {
        if (s->groups[i].unknown)
            return true;
    }
    return false;
}

void groups_retry(struct store *s)
{
    s->probe = s->up == 0;
    for (int i = 0; i < s->slots; i++) {
        if (s->groups[i].state == GROUP_LOST)
            unknown_retry(&s->groups[i]);
    }
}

void groups_give_up(struct store *s)
{
    for (int i = 0; i < s->slots; i++) {
        enum group_state state = s->groups[i].state;

        if (state == GROUP_LOST || state == GROUP_KNOWN)
            group_give_up(&s->groups[i]);
    }
}

void group_marker_seen(struct store *s, struct bytes key, uint64_t mod_rev)
{
    for (int i = 0; i < s->slots; i++) {
        struct group *g = &s->groups[i];

        if (bytes_eq(key, buf_bytes(&g->marker_key)) && g->marker_rev < mod_rev)
            g->marker_rev = mod_rev;
    }
}

void groups_forget_markers(struct store *s)
{
    for (int i = 0; i < s->slots; i++)
        s->groups[i].marker_rev = 0;
}

/* Groups that were in and not yet shown went with the life they were in. */
void groups_fell(struct store *s)
{
    s->hold_until = 0;
    for (int i = 0; i < s->slots; i++) {
        struct group *g = &s->groups[i];

        if (g->state == GROUP_KNOWN && g->sent.revision > s->load_rev)
            group_give_up(g);
    }
}
