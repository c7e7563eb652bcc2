/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* How plans are put together, and the plans that take away. */
#include "catalog/plan.h"

#include <stdio.h>

#include "catalog/plan_impl.h"

enum { FIRST_ENTRIES = 8 };

void plan_init(struct plan *p, struct arena *a)
{
    *p = (struct plan){.arena = a};
}

/* --- The planner --------------------------------------------------------- */

void planner_begin(struct planner *p, struct plan *plan,
                   const struct snapshot *s, struct errtext *t)
{
    *p = (struct planner){
        .plan = plan,
        .s = s,
        .t = t,
        .guards_before = plan->guard_count,
        .ops_before = plan->op_count,
    };
}

enum err planner_end(struct planner *p)
{
    buf_fini(&p->key);
    buf_fini(&p->value);
    if (p->e != ERR_OK || !p->wrote)
        p->plan->guard_count = p->guards_before;
    if (p->e != ERR_OK)
        p->plan->op_count = p->ops_before;
    return p->e;
}

void planner_fail(struct planner *p, enum err e, const char *fmt, ...)
{
    char text[2 * sizeof p->t->s]; /* errtext_set shows where it cuts */
    va_list args;

    if (p->e != ERR_OK)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    errtext_set(p->t, "%s", text);
    p->e = e;
}

static void no_memory(struct planner *p)
{
    planner_fail(p, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
}

static struct bytes keep(struct planner *p, struct bytes b)
{
    struct bytes copy = arena_copy(p->plan->arena, b);

    if (b.n && !copy.p)
        no_memory(p);
    return copy;
}

struct bytes planner_key(struct planner *p, enum record_kind kind,
                         struct bytes node, struct bytes id)
{
    buf_reset(&p->key);
    switch (kind) {
    case RECORD_NODE:
        key_node(&p->key, node);
        break;
    case RECORD_NODE_ID:
        key_node_id(&p->key, node);
        break;
    case RECORD_SERVICE:
        key_service(&p->key, node, id);
        break;
    case RECORD_CHECK:
        key_check(&p->key, node, id);
        break;
    case RECORD_GUARD:
        key_guard(&p->key, node);
        break;
    case RECORD_QUERY:
        key_query(&p->key, node);
        break;
    case RECORD_QUERY_NAME:
        key_query_name(&p->key, node);
        break;
    case RECORD_COORDINATE:
        key_coordinate(&p->key, node);
        break;
    }
    if (p->key.bad) {
        no_memory(p);
        return (struct bytes){NULL, 0};
    }
    return keep(p, buf_bytes(&p->key));
}

/* Room for one more in an array of n that was grown by doubling. */
static void *room_for(struct planner *p, void *v, size_t n, size_t each)
{
    size_t cap = n < FIRST_ENTRIES ? FIRST_ENTRIES : 2 * n;

    if (n && (n < FIRST_ENTRIES || (n & (n - 1))))
        return v;
    void *bigger = arena_alloc(p->plan->arena, cap * each);
    if (!bigger)
        no_memory(p);
    else if (n)
        memcpy(bigger, v, n * each);
    return bigger;
}

static bool full(struct planner *p, size_t n, const char *what)
{
    if (n < PLAN_OPS_MAX)
        return false;
    planner_fail(p, ERR_LIMIT,
                 "this change needs more than %d %s, the limit: make it in "
                 "several requests",
                 PLAN_OPS_MAX, what);
    return true;
}

void planner_guard(struct planner *p, enum store_guard_kind kind,
                   struct bytes key, uint64_t rev)
{
    struct plan *plan = p->plan;

    if (p->e != ERR_OK)
        return;
    for (size_t i = 0; i < plan->guard_count; i++)
        if (plan->guards[i].kind == kind && plan->guards[i].rev == rev &&
            bytes_eq(plan->guards[i].key, key))
            return;
    if (full(p, plan->guard_count, "guards"))
        return;
    struct store_guard *v =
        room_for(p, plan->guards, plan->guard_count, sizeof *plan->guards);
    if (!v)
        return;
    plan->guards = v;
    v[plan->guard_count++] = (struct store_guard){kind, key, rev};
}

struct store_op *planner_op(const struct planner *p, struct bytes key)
{
    for (size_t i = 0; i < p->plan->op_count; i++)
        if (bytes_eq(p->plan->ops[i].key, key))
            return &p->plan->ops[i];
    return NULL;
}

static void add_op(struct planner *p, struct store_op op)
{
    struct plan *plan = p->plan;

    if (p->e != ERR_OK)
        return;
    p->wrote = true;
    struct store_op *same = planner_op(p, op.key);
    if (same) {
        *same = op;
        return;
    }
    if (full(p, plan->op_count, "operations"))
        return;
    struct store_op *v =
        room_for(p, plan->ops, plan->op_count, sizeof *plan->ops);
    if (!v)
        return;
    plan->ops = v;
    v[plan->op_count++] = op;
}

void planner_put(struct planner *p, struct bytes key, struct bytes value)
{
    add_op(p, (struct store_op){OP_PUT, key, keep(p, value)});
}

void planner_delete(struct planner *p, enum store_op_kind kind,
                    struct bytes key)
{
    add_op(p, (struct store_op){kind, key, {NULL, 0}});
}

void planner_guard_mod(struct planner *p, struct bytes key,
                       const struct cat_record *r)
{
    planner_guard(p, GUARD_MOD, key, r ? r->mod_rev : 0);
}

bool planner_is_same(const struct planner *p, const struct cat_record *r)
{
    return r && bytes_eq(buf_bytes(&p->value), cat_value(r));
}

void planner_write(struct planner *p, struct bytes key,
                   const struct cat_record *r)
{
    if (p->value.bad)
        no_memory(p);
    planner_guard_mod(p, key, r);
    planner_put(p, key, buf_bytes(&p->value));
}

/* --- Taking away --------------------------------------------------------- */

static const struct bytes none = {NULL, 0};

void planner_delete_check(struct planner *p, const struct cat_record *check)
{
    planner_delete(p, OP_DELETE,
                   planner_key(p, RECORD_CHECK, cat_record_node(check),
                               cat_record_id(check)));
}

void planner_delete_node(struct planner *p, const struct cat_record *node)
{
    struct bytes name = cat_record_id(node), id = cat_node_id(node);
    struct bytes key = planner_key(p, RECORD_NODE, name, none);

    planner_guard_mod(p, key, node);
    planner_delete(p, OP_DELETE, key);
    if (id.n)
        planner_delete(p, OP_DELETE, planner_key(p, RECORD_NODE_ID, id, none));
    planner_delete(p, OP_DELETE_PREFIX,
                   planner_key(p, RECORD_SERVICE, name, none));
    planner_delete(p, OP_DELETE_PREFIX,
                   planner_key(p, RECORD_CHECK, name, none));
    if (snapshot_coordinate(p->s, name))
        planner_delete(p, OP_DELETE,
                       planner_key(p, RECORD_COORDINATE, name, none));
}

void planner_guard_checks_quiet(struct planner *p, struct bytes node)
{
    planner_guard(p, GUARD_QUIET, planner_key(p, RECORD_CHECK, node, none),
                  snapshot_revision(p->s));
}

void planner_delete_instance(struct planner *p, const struct cat_instance *i)
{
    struct bytes node = cat_record_node(i->service);
    struct bytes key =
        planner_key(p, RECORD_SERVICE, node, cat_record_id(i->service));

    planner_guard_mod(p, key, i->service);
    planner_delete(p, OP_DELETE, key);
    planner_guard_checks_quiet(p, node);
    for (uint32_t k = 0; k < i->check_count; k++)
        planner_delete_check(p, i->checks[k]);
}

enum err plan_deregister(struct plan *plan, const struct snapshot *s,
                         struct bytes node, struct bytes service_id,
                         struct bytes check_id, struct errtext *t)
{
    const struct cat_node *n = snapshot_node(s, node);
    struct planner p;

    if (plan->wishes)
        return wish_deregister(plan, s, node, service_id, check_id, t);
    planner_begin(&p, plan, s, t);
    if (n && service_id.n) {
        const struct cat_instance *i = cat_node_service(n, service_id);
        if (i)
            planner_delete_instance(&p, i);
    } else if (n && check_id.n) {
        const struct cat_record *r = cat_node_check(n, check_id);
        if (r) {
            planner_guard_mod(&p, planner_key(&p, RECORD_CHECK, node, check_id),
                              r);
            planner_delete_check(&p, r);
        }
    } else if (n) {
        planner_delete_node(&p, n->record);
    }
    return planner_end(&p);
}

/* --- Status -------------------------------------------------------------- */

enum { NAME_SHOWN_BYTES = 40 /* of a name in a message */ };

enum err plan_check_status(struct plan *plan, const struct snapshot *s,
                           const struct status_wish *wish, struct errtext *t)
{
    const struct cat_node *n = snapshot_node(s, wish->node);
    const struct cat_record *r = n ? cat_node_check(n, wish->check_id) : NULL;
    struct planner p;
    struct check_view v;

    planner_begin(&p, plan, s, t);
    if (r) {
        cat_check_view(r, &v);
        const struct cat_instance *i =
            v.service_id.n ? cat_node_service(n, v.service_id) : NULL;
        v.status = wish->status;
        v.output = wish->output;
        v.marks = wish->marks;
        (void)planner_check(
            &p, &v, r,
            &(struct checked){
                .node = n,
                .instance = i,
                .guard = i ? mode_of_instance(i, wish->guard) : wish->guard,
                .wall_ms = wish->wall_ms,
            });
    } else {
        planner_fail(&p, ERR_NOT_FOUND,
                     "no check \"%.*s\" is registered on node \"%.*s\"",
                     BYTES_ARG(bytes_head(wish->check_id, NAME_SHOWN_BYTES)),
                     BYTES_ARG(bytes_head(wish->node, NAME_SHOWN_BYTES)));
    }
    return planner_end(&p);
}
