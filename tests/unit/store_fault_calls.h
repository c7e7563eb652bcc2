/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* store_fault_calls - the other calls through store_fault.h's bad network, and
 * the wrapper itself. */
#ifndef STORE_FAULT_CALLS_H
#define STORE_FAULT_CALLS_H

#include "unit/store_fault.h"

/* --- Everything else ----------------------------------------------------- */

enum fault_call {
    CALL_RANGE,
    CALL_HISTORY,
    CALL_WALK,
    CALL_MOMENT,
    CALL_BARRIER,
    CALL_GRANT,
    CALL_KEEP,
    CALL_PUT,
    CALL_COMPACT,
};

static inline void fault_run_range(struct fault_action *a, struct backend *in)
{
    if (fault_chance(a->fault, a->fault->plan->read_failed))
        a->done(a->ctx, ERR_UNAVAILABLE, 0);
    else
        in->ops->range(in, a->key, a->number, a->row, a->done, a->ctx);
}

static inline void fault_run_keep(struct fault_action *a, struct backend *in)
{
    if (atomic_load(&a->fault->plan->leases_die))
        in->ops->lease_revoke(in, a->number);
    in->ops->lease_keep(in, a->number, a->done, a->ctx);
}

static inline void fault_run_call(struct fault_action *a)
{
    struct backend *in = a->fault->inner;

    switch ((enum fault_call)a->call) {
    case CALL_RANGE:
        fault_run_range(a, in);
        break;
    case CALL_HISTORY:
        in->ops->history(in, a->number, a->last, a->limit, &a->sink, a->done,
                         a->ctx);
        break;
    case CALL_WALK:
        if (fault_chance(a->fault, a->fault->plan->read_failed))
            a->done(a->ctx, ERR_UNAVAILABLE, 0);
        else
            in->ops->walk(in, a->walk, a->done, a->ctx);
        break;
    case CALL_MOMENT:
        in->ops->moment(in, a->number, a->last, a->moment, a->ctx);
        break;
    case CALL_BARRIER:
        in->ops->barrier(in, a->done, a->ctx);
        break;
    case CALL_GRANT:
        in->ops->lease_grant(in, (uint32_t)a->number, a->granted, a->ctx);
        break;
    case CALL_KEEP:
        fault_run_keep(a, in);
        break;
    case CALL_PUT:
        in->ops->lease_put(in, a->number, a->key, a->value, a->done, a->ctx);
        break;
    case CALL_COMPACT:
        in->ops->compact(in, a->number, a->done, a->ctx);
        break;
    }
    fault_action_free(a);
}

static inline struct fault_action *fault_call(struct backend *b,
                                              enum fault_call call,
                                              uint64_t number,
                                              backend_done_fn done, void *ctx)
{
    struct fault_action *a = fault_later(fault_of(b), fault_run_call);

    a->call = (int)call;
    a->number = number;
    a->done = done;
    a->ctx = ctx;
    return a;
}

static inline void fault_copy_strings(struct fault_action *a, struct bytes key,
                                      struct bytes value)
{
    char *at = a->memory = malloc(key.n + value.n + 1);

    a->key = fault_copy_bytes(&at, key);
    a->value = fault_copy_bytes(&at, value);
}

static inline void fault_range(struct backend *b, struct bytes prefix,
                               uint64_t at, backend_row_fn row,
                               backend_done_fn done, void *ctx)
{
    struct fault_action *a = fault_call(b, CALL_RANGE, at, done, ctx);

    fault_copy_strings(a, prefix, bytes_str(""));
    a->row = row;
}

static inline void fault_history(struct backend *b, uint64_t from,
                                 uint64_t last, size_t limit,
                                 const struct backend_sink *to,
                                 backend_done_fn done, void *ctx)
{
    struct fault_action *a = fault_call(b, CALL_HISTORY, from, done, ctx);

    a->last = last;
    a->limit = limit;
    a->sink = *to;
}

static inline void fault_walk(struct backend *b, struct backend_walk *w,
                              backend_done_fn done, void *ctx)
{
    fault_call(b, CALL_WALK, 0, done, ctx)->walk = w;
}

static inline void fault_walk_end(struct backend *b, struct backend_walk *w)
{
    struct fault *f = fault_of(b);

    f->inner->ops->walk_end(f->inner, w);
}

static inline void fault_moment(struct backend *b, uint64_t revision,
                                uint64_t wall_ms, backend_moment_fn done,
                                void *ctx)
{
    struct fault_action *a = fault_call(b, CALL_MOMENT, revision, NULL, ctx);

    a->last = wall_ms;
    a->moment = done;
}

static inline void fault_barrier(struct backend *b, backend_done_fn done,
                                 void *ctx)
{
    (void)fault_call(b, CALL_BARRIER, 0, done, ctx);
}

static inline void fault_lease_grant(struct backend *b, uint32_t ttl_ms,
                                     void (*done)(void *, enum err, uint64_t),
                                     void *ctx)
{
    fault_call(b, CALL_GRANT, ttl_ms, NULL, ctx)->granted = done;
}

static inline void fault_lease_keep(struct backend *b, uint64_t lease,
                                    backend_done_fn done, void *ctx)
{
    (void)fault_call(b, CALL_KEEP, lease, done, ctx);
}

static inline void fault_lease_revoke(struct backend *b, uint64_t lease)
{
    struct fault *f = fault_of(b);

    f->inner->ops->lease_revoke(f->inner, lease);
}

static inline void fault_lease_put(struct backend *b, uint64_t lease,
                                   struct bytes key, struct bytes value,
                                   backend_done_fn done, void *ctx)
{
    fault_copy_strings(fault_call(b, CALL_PUT, lease, done, ctx), key, value);
}

static inline void fault_compact(struct backend *b, uint64_t revision,
                                 backend_done_fn done, void *ctx)
{
    (void)fault_call(b, CALL_COMPACT, revision, done, ctx);
}

static inline uint64_t fault_oldest(const struct backend *b)
{
    const struct backend *in = fault_of(b)->inner;

    return in->ops->oldest(in);
}

static inline uint64_t fault_newest(const struct backend *b)
{
    const struct backend *in = fault_of(b)->inner;

    return in->ops->newest(in);
}

static inline void fault_attach(struct backend *b, uv_loop_t *loop)
{
    struct fault *f = fault_of(b);

    uv_idle_init(loop, &f->idle);
    f->idle.data = f;
    if (f->inner->ops->attach)
        f->inner->ops->attach(f->inner, loop);
}

static inline void fault_closed(uv_handle_t *h)
{
    free(h->data);
}

static inline void fault_close(struct backend *b)
{
    struct fault *f = fault_of(b);

    f->closing = true;
    f->inner->ops->close(f->inner);
    list_move_all(&f->actions, &f->flying);
    list_each (it, &f->actions) {
        fault_action_free(container_of(it, struct fault_action, link));
    }
    fault_feed_drop(f);
    uv_close((uv_handle_t *)&f->idle, fault_closed);
}

/* plan outlives the backend. */
static inline struct backend *fault_wrap(struct backend *take,
                                         struct fault_plan *plan)
{
    struct fault *f = calloc(1, sizeof *f);

    f->inner = take;
    f->plan = plan;
    f->random = plan->seed * 0x9e3779b97f4a7c15U + 1;
    list_init(&f->actions);
    list_init(&f->flying);
    list_init(&f->feed);
    f->ops = (struct backend_ops){
        .slots = plan->slots,
        .barrier_free = false,
        .attach = fault_attach,
        .start = fault_start,
        .close = fault_close,
        .txn = fault_txn,
        .range = fault_range,
        .walk = fault_walk,
        .walk_end = fault_walk_end,
        .history = fault_history,
        .moment = fault_moment,
        .barrier = fault_barrier,
        .lease_grant = fault_lease_grant,
        .lease_keep = fault_lease_keep,
        .lease_revoke = fault_lease_revoke,
        .lease_put = fault_lease_put,
        .compact = fault_compact,
        .oldest = fault_oldest,
        .newest = fault_newest,
    };
    f->backend.ops = &f->ops;
    return &f->backend;
}

#endif
