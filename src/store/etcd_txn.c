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
 * The read on failure is for a group that was carried out twice (libcurl sends
 * a request again when a kept connection turns out to be closed; a proxy may do
 * the same): its own guard bars the second time, whose answer would read as "not
 * in". If the marker holds our own value the group is in, and which of its
 * changes held is for unknown.c to find out. */
#include <stdlib.h>

#include "base/alloc.h"
#include "store/etcd_impl.h"

/* --- Writing ------------------------------------------------------------- */

static void put_guard(struct buf *out, const struct store_guard *g)
{
    static const struct {
        const char *target, *result, *field;
    } words[] = {
        [GUARD_MOD] = {"MOD", "EQUAL", "mod_revision"},
        [GUARD_CREATE] = {"CREATE", "EQUAL", "create_revision"},
        [GUARD_PRESENT] = {"CREATE", "GREATER", "create_revision"},
        [GUARD_ABSENT] = {"CREATE", "EQUAL", "create_revision"},
        [GUARD_QUIET] = {"CREATE", "LESS", "create_revision"},
    };
    uint64_t rev = g->kind == GUARD_MOD || g->kind == GUARD_CREATE ? g->rev
                   : g->kind == GUARD_QUIET                        ? g->rev + 1
                                                                   : 0;

    buf_printf(out, "{\"target\":\"%s\",\"result\":\"%s\",",
               words[g->kind].target, words[g->kind].result);
    text_put_u64(out, words[g->kind].field, rev);
    buf_putc(out, ',');
    if (g->kind == GUARD_QUIET)
        etcd_put_range(out, g->key, (struct bytes){0});
    else
        text_put_bytes(out, "key", g->key);
    buf_putc(out, '}');
}

static void put_op(struct buf *out, const struct store_op *op)
{
    switch (op->kind) {
    case OP_PUT:
        buf_puts(out, "{\"request_put\":{");
        text_put_bytes(out, "key", op->key);
        buf_putc(out, ',');
        text_put_bytes(out, "value", op->value);
        break;
    case OP_DELETE:
        buf_puts(out, "{\"request_delete_range\":{");
        text_put_bytes(out, "key", op->key);
        break;
    case OP_DELETE_PREFIX:
        buf_puts(out, "{\"request_delete_range\":{");
        etcd_put_range(out, op->key, (struct bytes){0});
        break;
    }
    buf_puts(out, "}}");
}

static void put_guards(struct buf *out, const struct store_guard *g, size_t n)
{
    buf_puts(out, "\"compare\":[");
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_putc(out, ',');
        put_guard(out, &g[i]);
    }
    buf_putc(out, ']');
}

/* Behind others or not; true: the next needs a comma. */
static bool put_ops(struct buf *out, bool comma, const struct store_op *op,
                    size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (comma)
            buf_putc(out, ',');
        put_op(out, &op[i]);
        comma = true;
    }
    return comma;
}

static void put_change(struct buf *out, const struct backend_change *c)
{
    buf_puts(out, "{\"request_txn\":{");
    put_guards(out, c->guards, c->guard_count);
    buf_puts(out, ",\"success\":[");
    (void)put_ops(out, false, c->ops, c->op_count);
    buf_puts(out, "]}}");
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

    buf_putc(out, '{');
    put_guards(out, g->own_guards, g->own_guard_count);
    buf_puts(out, ",\"success\":[");
    bool comma = put_ops(out, false, g->own_ops, g->own_op_count);

    for (size_t i = 0; i < g->change_count; i++) {
        if (comma)
            buf_putc(out, ',');
        put_change(out, &g->changes[i]);
        comma = true;
    }
    buf_puts(out, "],\"failure\":[");
    if (marker) {
        buf_puts(out, "{\"request_range\":{");
        text_put_bytes(out, "key", marker->key);
        buf_puts(out, "}}");
    }
    buf_puts(out, "]}");
}

/* --- The answer ---------------------------------------------------------- */

struct txn_call {
    struct etcd_call call;
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
    struct bytes value = bytes_skip(bytes_of(t->row.p, t->row.n), t->row_key_n);

    /* Of a bar or a probe the marker itself says all there is to know. */
    return marker && g->change_count && t->row_rev &&
           bytes_eq(value, marker->value);
}

static void judge(struct etcd *x, struct backend_group *g, struct bytes body)
{
    struct etcd_txn t = {0};
    enum err e = etcd_txn_read(body, &t, note_held, g);

    g->revision = t.header.revision;
    if (e == ERR_OK && !etcd_heard(x, &t.header))
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
    etcd_txn_fini(&t);
}

static void on_txn(struct etcd_call *c, const struct etcd_answer *a)
{
    struct backend_group *g = container_of(c, struct txn_call, call)->group;

    if (a->why == ERR_OK) {
        judge(c->etcd, g, a->body);
    } else {
        g->verdict = a->lost ? BACKEND_UNKNOWN : BACKEND_FAILED;
        g->why = a->why;
        g->text = a->text;
        if (a->why == ERR_NOSPACE)
            etcd_upkeep_soon(c->etcd);
    }
    etcd_call_free(c);
    g->done(g);
}

void etcd_txn(struct backend *b, struct backend_group *g)
{
    struct txn_call *t = etcd_call_new(etcd_of(b), sizeof *t, "kv/txn", on_txn);

    t->call.once = true;
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
    if (e == ERR_OK && !etcd_heard(c->etcd, &t.header))
        e = ERR_CORRUPT;
    revision = t.header.revision;
    if (e == ERR_OK && !t.succeeded) {
        e = t.row_lease == p->lease ? ERR_OK : ERR_EXISTS; /* sent twice */
        revision = t.row_rev;
    }
    etcd_txn_fini(&t);
    backend_done_fn done = p->done;
    void *ctx = p->ctx;

    etcd_call_free(c);
    done(ctx, e, revision);
}

void etcd_lease_put(struct backend *b, uint64_t lease, struct bytes key,
                    struct bytes value, backend_done_fn done, void *ctx)
{
    struct put_call *p = etcd_call_new(etcd_of(b), sizeof *p, "kv/txn", on_put);
    const struct store_guard absent = {GUARD_ABSENT, key, 0};
    struct buf *out = &p->call.body;

    p->lease = lease;
    p->done = done;
    p->ctx = ctx;
    buf_putc(out, '{');
    put_guards(out, &absent, 1);
    buf_puts(out, ",\"success\":[{\"request_put\":{");
    text_put_bytes(out, "key", key);
    buf_putc(out, ',');
    text_put_bytes(out, "value", value);
    buf_putc(out, ',');
    text_put_u64(out, "lease", lease);
    buf_puts(out, "}}],\"failure\":[{\"request_range\":{");
    text_put_bytes(out, "key", key);
    buf_puts(out, "}}]}");
    etcd_call_start(p);
}
