/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* A group as one Txn:
 *
 *     compare   the group's own guards
 *     success   its own puts, then one nested Txn per change
 *     failure   read the marker
 *
 * etcd evaluates all compares, nested ones too, before it writes anything.
 *
 * The read on failure is for a group that was carried out twice (a proxy may send
 * a request again): its own guard bars the second time, whose answer would read as
 * "not in". If the marker holds our own value the group is in, and which of its
 * changes held is for unknown.c to find out. */
#include <stdlib.h>

#include "base/alloc.h"
#include "store/etcd_impl.h"

/* --- Writing ------------------------------------------------------------- */

enum { /* fields: rpc.proto */
       TXN_COMPARE = 1,
       TXN_SUCCESS = 2,
       TXN_FAILURE = 3,
       OP_RANGE = 1,
       OP_PUTS = 2,
       OP_DELETES = 3,
       OP_TXN = 4,
};

static void put_guard(struct buf *out, const struct store_guard *g)
{
    enum { EQUAL, GREATER, LESS, CREATE = 1, MOD = 2 };
    static const struct {
        unsigned target, result, field;
    } words[] = {
        [GUARD_MOD] = {MOD, EQUAL, 6},       /* mod_revision */
        [GUARD_CREATE] = {CREATE, EQUAL, 5}, /* create_revision */
        [GUARD_PRESENT] = {CREATE, GREATER, 5},
        [GUARD_ABSENT] = {CREATE, EQUAL, 5},
        [GUARD_QUIET] = {CREATE, LESS, 5},
    };
    uint64_t rev = g->kind == GUARD_MOD || g->kind == GUARD_CREATE ? g->rev
                   : g->kind == GUARD_QUIET                        ? g->rev + 1
                                                                   : 0;
    size_t at = wire_begin(out, TXN_COMPARE);

    wire_put_u64(out, 1, words[g->kind].result);
    wire_put_u64(out, 2, words[g->kind].target);
    wire_put_u64(out, words[g->kind].field, rev);
    if (g->kind == GUARD_QUIET)
        etcd_put_range(out, 3, 64, g->key, (struct bytes){0});
    else
        wire_put_bytes(out, 3, g->key);
    wire_end(out, at);
}

/* in: TXN_SUCCESS or TXN_FAILURE of what is being written. */
static void put_op(struct buf *out, unsigned in, const struct store_op *op)
{
    size_t at = wire_begin(out, in);
    size_t inner = wire_begin(out, op->kind == OP_PUT ? OP_PUTS : OP_DELETES);

    switch (op->kind) {
    case OP_PUT:
        wire_put_bytes(out, 1, op->key);
        wire_put_bytes(out, 2, op->value);
        break;
    case OP_DELETE:
        wire_put_bytes(out, 1, op->key);
        break;
    case OP_DELETE_PREFIX:
        etcd_put_range(out, 1, 2, op->key, (struct bytes){0});
        break;
    }
    wire_end(out, inner);
    wire_end(out, at);
}

static void put_read(struct buf *out, unsigned in, struct bytes key)
{
    size_t at = wire_begin(out, in), inner = wire_begin(out, OP_RANGE);

    wire_put_bytes(out, 1, key);
    wire_end(out, inner);
    wire_end(out, at);
}

static void put_change(struct buf *out, const struct backend_change *c)
{
    size_t at = wire_begin(out, TXN_SUCCESS), inner = wire_begin(out, OP_TXN);

    for (size_t i = 0; i < c->guard_count; i++)
        put_guard(out, &c->guards[i]);
    for (size_t i = 0; i < c->op_count; i++)
        put_op(out, TXN_SUCCESS, &c->ops[i]);
    wire_end(out, inner);
    wire_end(out, at);
}

/* Its key is where the group says who it is. */
static const struct store_op *marker_of(const struct backend_group *g)
{
    return g->own_op_count && g->own_ops[0].kind == OP_PUT ? &g->own_ops[0]
                                                           : NULL;
}

static void put_group(struct buf *out, const struct backend_group *g)
{
    const struct store_op *marker = marker_of(g);

    for (size_t i = 0; i < g->own_guard_count; i++)
        put_guard(out, &g->own_guards[i]);
    for (size_t i = 0; i < g->own_op_count; i++)
        put_op(out, TXN_SUCCESS, &g->own_ops[i]);
    for (size_t i = 0; i < g->change_count; i++)
        put_change(out, &g->changes[i]);
    if (marker)
        put_read(out, TXN_FAILURE, marker->key);
}

/* --- The answer ---------------------------------------------------------- */

struct txn_call {
    struct etcd_call call;
    uint64_t began_ms;
    struct backend_group *group;
};

static void note_held(void *ctx, size_t at, bool held)
{
    struct backend_group *g = ctx;

    if (at >= g->own_op_count && at - g->own_op_count < g->change_count)
        g->changes[at - g->own_op_count].held = held;
}

static bool came_in_before(const struct backend_group *g,
                           const struct etcd_txn *t)
{
    const struct store_op *marker = marker_of(g);

    /* Of a bar or a probe the marker itself says all there is to know. */
    return marker && g->change_count && t->row_rev &&
           bytes_eq(t->row_value, marker->value);
}

static void judge(struct etcd *x, size_t member, struct backend_group *g,
                  struct bytes body)
{
    struct etcd_txn t = {0};
    enum err e = etcd_txn_read(body, &t, note_held, g);

    g->revision = t.header.revision;
    if (e == ERR_OK && !etcd_heard(x, member, &t.header))
        e = ERR_CORRUPT;
    if (e == ERR_OK && t.succeeded &&
        t.responses != g->own_op_count + g->change_count)
        e = ERR_CORRUPT;
    if (e != ERR_OK) {
        g->verdict = BACKEND_UNKNOWN;
        g->why = e;
        errtext_set(&g->text, "etcd's answer to a group: %s", err_text(e));
    } else if (t.succeeded) {
        g->verdict = BACKEND_COMMITTED;
    } else if (came_in_before(g, &t)) {
        g->verdict = BACKEND_UNKNOWN;
        g->why = ERR_UNKNOWN;
        errtext_set(&g->text, "a group was sent twice");
    } else {
        g->verdict = BACKEND_BARRED;
    }
}

static void on_txn(struct etcd_call *c, const struct etcd_answer *a)
{
    struct txn_call *t = container_of(c, struct txn_call, call);
    struct backend_group *g = t->group;
    struct etcd *x = c->etcd;

    if (a->why == ERR_OK) {
        x->txn_ms_x8 += uv_now(x->loop) - t->began_ms - x->txn_ms_x8 / 8;
        judge(x, c->member, g, a->body);
    } else {
        /* "No space" is also said of a group that was carried out: etcd looks at
         * the quota again when it does so (apply.go, quotaApplierV3). */
        g->verdict =
            a->lost || a->why == ERR_NOSPACE ? BACKEND_UNKNOWN : BACKEND_FAILED;
        g->why = a->why;
        g->text = a->text;
    }
    etcd_call_free(c);
    g->done(g);
}

/* A member hands a group to its leader; if that has just died nobody says so, and
 * all who wait for it do so until the time is over. What is slow and not lost is
 * found out to be in. */
static uint32_t txn_timeout_ms(const struct etcd *x)
{
    uint64_t ms = ETCD_TXN_MS + x->txn_ms_x8;

    return ms < ETCD_CALL_MS ? (uint32_t)ms : ETCD_CALL_MS;
}

void etcd_txn(struct backend *b, struct backend_group *g)
{
    struct etcd *x = etcd_of(b);
    struct txn_call *t = etcd_call_new(x, sizeof *t, ETCD_TXN, on_txn);

    t->call.once = true;
    t->call.timeout_ms = txn_timeout_ms(x);
    t->began_ms = uv_now(x->loop);
    t->group = g;
    put_group(&t->call.body, g);
    etcd_call_start(t);
}

/* --- A key under a lease ------------------------------------------------- */

struct put_call {
    struct etcd_call call;
    uint64_t lease;
    backend_done_fn done;
    void *ctx;
};

static void on_put(struct etcd_call *c, const struct etcd_answer *a)
{
    struct put_call *p = container_of(c, struct put_call, call);
    struct etcd_txn t = {0};
    enum err e = a->why;
    uint64_t revision = 0;

    if (e == ERR_OK)
        e = etcd_txn_read(a->body, &t, NULL, NULL);
    if (e == ERR_OK && !etcd_heard(c->etcd, c->member, &t.header))
        e = ERR_CORRUPT;
    revision = t.header.revision;
    if (e == ERR_OK && !t.succeeded) {
        e = t.row_lease == p->lease ? ERR_OK : ERR_EXISTS; /* sent twice */
        revision = t.row_rev;
    }
    backend_done_fn done = p->done;
    void *ctx = p->ctx;

    etcd_call_free(c);
    done(ctx, e, revision);
}

void etcd_lease_put(struct backend *b, uint64_t lease, struct bytes key,
                    struct bytes value, backend_done_fn done, void *ctx)
{
    struct put_call *p = etcd_call_new(etcd_of(b), sizeof *p, ETCD_TXN, on_put);
    const struct store_guard absent = {GUARD_ABSENT, key, 0};
    struct buf *out = &p->call.body;

    p->lease = lease;
    p->done = done;
    p->ctx = ctx;
    put_guard(out, &absent);
    size_t at = wire_begin(out, TXN_SUCCESS), inner = wire_begin(out, OP_PUTS);

    wire_put_bytes(out, 1, key);
    wire_put_bytes(out, 2, value);
    wire_put_u64(out, 3, lease);
    wire_end(out, inner);
    wire_end(out, at);
    put_read(out, TXN_FAILURE, key);
    etcd_call_start(p);
}
