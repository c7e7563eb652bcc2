/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* store_fault - a backend around another one that behaves like a bad network:
 * calls and answers take their time and overtake each other, acknowledgements
 * are lost (of groups that are in, of groups that are not, of groups that come
 * in only later), the feed lags and breaks. Seeded; what varies is only how the
 * threads of the test interleave.
 *
 * Nothing waits for time: what is delayed runs in some later turn of the loop.
 */
#ifndef STORE_FAULT_H
#define STORE_FAULT_H

#include "store/backend.h"

#include <stdatomic.h>

#include "base/buf.h"
#include "test.h"
#include "unit/store_copy.h"

/* Chances in 1000. */
struct fault_plan {
    uint64_t seed;
    int slots;
    int lost_in;   /* committed, answered UNKNOWN */
    int lost_out;  /* never arrives, answered UNKNOWN */
    int lost_late; /* answered UNKNOWN, arrives afterwards */
    int failed;    /* never arrives, answered FAILED */
    int read_failed;
    int gap;                 /* per revision of the feed */
    int slow;                /* that something waits for another turn */
    _Atomic bool leases_die; /* the next renewals find their lease gone */
    _Atomic bool feed_still; /* nothing is fed any more */
    /* Somebody else writes just before a group of ours arrives: */
    int twin;    /* our markers (a process under our name) */
    int flip_at; /* the pointer, before this group from now; 0: never */
};

struct fault_action {
    struct list link;
    void (*run)(struct fault_action *a);
    struct fault *fault;
    bool slow; /* runs only now and then */

    struct backend_group *group; /* NULL: nobody waits for it any more */
    struct backend_group copy;   /* deep */
    char *memory;
    enum backend_verdict lie;
    bool has_lie;

    int call;                   /* enum fault_call */
    struct bytes key, value;    /* in memory */
    const struct store_op *ops; /* of somebody else, still to be written */
    uint64_t number;
    uint64_t last;
    size_t limit;
    struct backend_walk *walk;
    backend_row_fn row;
    backend_done_fn done;
    backend_moment_fn moment;
    void (*granted)(void *ctx, enum err e, uint64_t lease);
    struct backend_sink sink;
    void *ctx;
};

struct fault_revision {
    struct list link;
    uint64_t revision, wall_ms;
    size_t count;
    struct store_event *events;
    struct buf bytes;
};

struct fault {
    struct backend backend;
    struct backend_ops ops;
    struct backend *inner;
    struct fault_plan *plan;
    uint64_t random;
    uv_idle_t idle;
    struct list actions;
    struct list flying; /* groups with the inner one */
    struct list feed;
    struct backend_sink sink;
    bool feed_on, closing;
};

static inline uint64_t fault_random(struct fault *f)
{
    f->random ^= f->random << 13; /* xorshift64 */
    f->random ^= f->random >> 7;
    f->random ^= f->random << 17;
    return f->random;
}

static inline bool fault_chance(struct fault *f, int of_1000)
{
    return (int)(fault_random(f) % 1000) < of_1000;
}

static inline struct fault *fault_of(const struct backend *b)
{
    return container_of(b, struct fault, backend);
}

/* --- Turns --------------------------------------------------------------- */

static inline void fault_action_free(struct fault_action *a)
{
    list_del(&a->link);
    free(a->memory);
    free(a);
}

static inline void fault_revision_free(struct fault_revision *r)
{
    list_del(&r->link);
    free(r->events);
    buf_fini(&r->bytes);
    free(r);
}

static inline void fault_feed_drop(struct fault *f)
{
    list_each (it, &f->feed) {
        fault_revision_free(container_of(it, struct fault_revision, link));
    }
}

static inline void fault_feed_some(struct fault *f)
{
    while (!f->plan->feed_still && !list_empty(&f->feed) &&
           !fault_chance(f, f->plan->slow)) {
        struct fault_revision *r =
            container_of(f->feed.next, struct fault_revision, link);

        if (fault_chance(f, f->plan->gap)) {
            fault_feed_drop(f);
            f->feed_on = false;
            f->sink.gap(f->sink.ctx);
            return;
        }
        f->sink.revision(f->sink.ctx, r->revision, r->wall_ms, r->events,
                         r->count);
        fault_revision_free(r);
    }
}

static inline void fault_turn(uv_idle_t *idle)
{
    struct fault *f = idle->data;
    struct list now;

    list_init(&now);
    list_move_all(&now, &f->actions);
    while (!list_empty(&now)) {
        struct fault_action *a =
            container_of(now.next, struct fault_action, link);

        list_del(&a->link);
        /* Behind those that came later, for an unknown number of turns. */
        if (fault_chance(f, a->slow ? 950 : f->plan->slow)) {
            list_add(&f->actions, &a->link);
            continue;
        }
        a->run(a);
        if (f->closing)
            break;
    }
    list_move_all(&f->actions, &now);
    if (f->closing)
        return;
    fault_feed_some(f);
    if (list_empty(&f->actions) && list_empty(&f->feed))
        uv_idle_stop(&f->idle);
}

static inline struct fault_action *
fault_later(struct fault *f, void (*run)(struct fault_action *))
{
    struct fault_action *a = calloc(1, sizeof *a);

    a->fault = f;
    a->run = run;
    list_add(&f->actions, &a->link);
    uv_idle_start(&f->idle, fault_turn);
    return a;
}

/* --- Groups -------------------------------------------------------------- */

/* As on a network: what was sent does not change when the sender's memory does.
 */
static inline void fault_copy_group(struct fault_action *a,
                                    const struct backend_group *g)
{
    size_t n = fault_sizes(g->own_guards, g->own_guard_count, g->own_ops,
                           g->own_op_count) +
               g->change_count * sizeof *g->changes + 16;

    for (size_t i = 0; i < g->change_count; i++)
        n += fault_sizes(g->changes[i].guards, g->changes[i].guard_count,
                         g->changes[i].ops, g->changes[i].op_count);
    char *at = a->memory = malloc(n);

    a->copy = *g;
    a->copy.changes = (struct backend_change *)at;
    at += g->change_count * sizeof *g->changes;
    fault_copy_half(&at, &a->copy.own_guards, g->own_guard_count,
                    &a->copy.own_ops, g->own_op_count);
    for (size_t i = 0; i < g->change_count; i++) {
        struct backend_change *c = &a->copy.changes[i];

        *c = g->changes[i];
        fault_copy_half(&at, &c->guards, c->guard_count, &c->ops, c->op_count);
    }
}

static inline void fault_reply(struct fault_action *a)
{
    struct backend_group *g = a->group, *c = &a->copy;

    if (a->has_lie) {
        g->verdict = a->lie;
        g->why = a->lie == BACKEND_FAILED ? ERR_UNAVAILABLE : ERR_TIMEOUT;
        errtext_set(&g->text, "no answer (injected)");
    } else {
        g->verdict = c->verdict;
        g->revision = c->revision;
        g->why = c->why;
        g->text = c->text;
        for (size_t i = 0; i < g->change_count; i++)
            g->changes[i].held = c->changes[i].held;
    }
    fault_action_free(a);
    g->done(g);
}

/* Of somebody else's or of nobody's interest: what comes next. */
static inline void fault_inner_done(struct backend_group *g)
{
    struct fault_action *a = container_of(g, struct fault_action, copy);
    struct fault *f = a->fault;

    list_del(&a->link);
    if (!a->group) {
        fault_action_free(a);
        return;
    }
    a->run = fault_reply;
    list_add(&f->actions, &a->link);
    uv_idle_start(&f->idle, fault_turn);
}

static inline void fault_send(struct fault_action *a)
{
    struct fault *f = a->fault;

    list_del(&a->link);
    list_add(&f->flying, &a->link);
    a->copy.done = fault_inner_done;
    f->inner->ops->txn(f->inner, &a->copy);
}

/* Somebody else writes, one group after the other (each up to two operations),
 * and then `next` arrives. */
static inline void fault_foreign(struct fault_action *next,
                                 const struct store_op *ops, size_t groups);

static inline void fault_foreign_done(struct backend_group *g)
{
    struct fault_action *a = container_of(g, struct fault_action, copy);
    struct fault_action *next = a->ctx;
    const struct store_op *more = a->ops;
    size_t groups = a->limit;

    fault_action_free(a);
    if (groups)
        fault_foreign(next, more, groups);
    else
        fault_send(next);
}

static inline void fault_foreign(struct fault_action *next,
                                 const struct store_op *ops, size_t groups)
{
    struct fault *f = next->fault;
    struct backend_group g = {.own_ops = ops,
                              .own_op_count = ops[1].key.n ? 2 : 1};
    struct fault_action *a = calloc(1, sizeof *a);

    a->fault = f;
    a->ctx = next;
    a->ops = ops + 2;
    a->limit = groups - 1;
    list_init(&a->link);
    fault_copy_group(a, &g);
    a->copy.done = fault_foreign_done;
    list_add(&f->flying, &a->link);
    list_del(&next->link);
    list_add(&f->flying, &next->link);
    f->inner->ops->txn(f->inner, &a->copy);
}

/* Arrives; answered later, or by nobody. */
static inline void fault_arrive(struct fault_action *a)
{
    static const struct store_op twin[][2] = {
        {{OP_PUT, {"m/server-1/0", 12}, {"{\"group\":\"twin-1\"}", 18}}},
        {{OP_PUT, {"m/server-1/1", 12}, {"{\"group\":\"twin-1\"}", 18}}},
        {{OP_PUT, {"m/server-1/2", 12}, {"{\"group\":\"twin-1\"}", 18}}},
    };
    /* An import, in short. */
    static const struct store_op flip[] = {
        {OP_DELETE_PREFIX, {"k0001/", 6}, {0}},
        {OP_PUT, {"i", 1}, {"foreign", 7}},
        {OP_PUT, {"k0001/foreign", 13}, {"row", 3}},
        {OP_PUT, {"E", 1}, {"1", 1}},
    };
    struct fault *f = a->fault;

    if (f->plan->flip_at && --f->plan->flip_at == 0)
        fault_foreign(a, flip, 2);
    else if (fault_chance(f, f->plan->twin))
        fault_foreign(a, twin[fault_random(f) % 3], 1);
    else
        fault_send(a);
}

static inline void fault_txn(struct backend *b, struct backend_group *g)
{
    struct fault *f = fault_of(b);
    const struct fault_plan *p = f->plan;
    int dice = (int)(fault_random(f) % 1000);
    struct fault_action *a = fault_later(f, fault_arrive);

    fault_copy_group(a, g);
    a->group = g;
    if ((dice -= p->lost_in) < 0) {
        a->has_lie = true;
        a->lie = BACKEND_UNKNOWN;
    } else if ((dice -= p->lost_out) < 0) {
        a->has_lie = true;
        a->lie = BACKEND_UNKNOWN;
        a->run = fault_reply;
    } else if ((dice -= p->lost_late) < 0) {
        struct fault_action *late = fault_later(f, fault_arrive);

        fault_copy_group(late, g);
        late->slow = true;
        a->has_lie = true;
        a->lie = BACKEND_UNKNOWN;
        a->run = fault_reply;
    } else if ((dice -= p->failed) < 0) {
        a->has_lie = true;
        a->lie = BACKEND_FAILED;
        a->run = fault_reply;
    }
}

/* --- The feed ------------------------------------------------------------ */

static inline void fault_on_revision(void *ctx, uint64_t revision,
                                     uint64_t wall_ms,
                                     const struct store_event *events,
                                     size_t count)
{
    struct fault *f = ctx;

    if (!f->feed_on)
        return;
    struct fault_revision *r = calloc(1, sizeof *r);

    r->revision = revision;
    r->wall_ms = wall_ms;
    r->count = count;
    r->events = malloc((count + 1) * sizeof *events);
    for (size_t i = 0; i < count; i++) {
        buf_put(&r->bytes, events[i].key);
        buf_put(&r->bytes, events[i].value);
    }
    const char *p = r->bytes.p;

    for (size_t i = 0; i < count; i++) {
        r->events[i] = events[i];
        r->events[i].key.p = p;
        p += events[i].key.n;
        r->events[i].value.p = p;
        p += events[i].value.n;
    }
    list_add(&f->feed, &r->link);
    uv_idle_start(&f->idle, fault_turn);
}

static inline void fault_on_gap(void *ctx)
{
    struct fault *f = ctx;

    f->feed_on = false;
    f->sink.gap(f->sink.ctx);
}

static inline void fault_start(struct backend *b,
                               const struct backend_sink *sink, uint64_t after)
{
    struct fault *f = fault_of(b);
    struct backend_sink mine = {fault_on_revision, fault_on_gap, NULL, f};

    fault_feed_drop(f);
    f->sink = *sink;
    f->feed_on = true;
    f->inner->ops->start(f->inner, &mine, after);
}

#endif
