/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Registrations, with Consul's rules and texts.
 *
 * What is written is guarded by its mod revision; the node by that too, even if
 * its record is equal already, because the wish was about it. A new check on a
 * service that is not part of the registration guards that the service is the
 * same one still.
 *
 * Deregistering a service lists its checks and guards that none was created
 * meanwhile; an existing check that moves to another service is not created.
 * So a move writes both services' records again, unchanged: that alone makes
 * such a deregistration plan anew. */
#include "catalog/guard.h"
#include "catalog/plan_impl.h"

struct registering {
    struct planner p;
    const struct registration *r;
    const struct cat_node *node; /* of that name; NULL: new */
    struct bytes service_id;     /* registered here, or empty */
};

static const struct bytes none = {NULL, 0};

enum { SHOWN_BYTES = 40 /* of a name in a message */ };

/* --- Node ---------------------------------------------------------------- */

/* The node of that name belongs to another ID and its agent is well. */
static bool name_reserved(const struct cat_node *n, struct bytes id,
                          bool renaming)
{
    struct bytes held = cat_node_id(n->record);
    struct check_view v;

    if (bytes_eq_fold(held, id) || (held.n == 0 && !renaming))
        return false;
    const struct cat_record *serf = cat_node_check(n, bytes_str("serfHealth"));
    if (!serf)
        return false;
    cat_check_view(serf, &v);
    return !bytes_is(v.status, "critical");
}

static void fail_reserved(struct registering *g, bool renaming)
{
    struct node_view v;
    const struct node_view *wish = &g->r->node;

    cat_node_view(g->node->record, &v);
    planner_fail(
        &g->p, ERR_CONFLICT,
        "failed inserting node: Error while renaming Node ID: "
        "\"%.*s\"%s%.*s%s: Node name %.*s is reserved by node %.*s "
        "with name %.*s (%.*s)",
        BYTES_ARG(wish->id), renaming ? " (" : "",
        BYTES_ARG(renaming ? wish->address : none), renaming ? ")" : "",
        BYTES_ARG(bytes_head(wish->name, SHOWN_BYTES)), BYTES_ARG(v.id),
        BYTES_ARG(bytes_head(v.name, SHOWN_BYTES)), BYTES_ARG(v.address));
}

/* The keys that make node IDs unique: the old one goes, the new one comes. */
static void plan_node_id(struct registering *g, const struct cat_node *owner)
{
    struct bytes id = g->r->node.id;
    struct bytes had = g->node ? cat_node_id(g->node->record) : none;

    if (bytes_eq_fold(had, id))
        return;
    if (had.n)
        planner_delete(&g->p, OP_DELETE,
                       planner_key(&g->p, RECORD_NODE_ID, had, none));
    if (id.n == 0)
        return;
    struct bytes key = planner_key(&g->p, RECORD_NODE_ID, id, none);
    if (!owner)
        planner_guard(&g->p, GUARD_ABSENT, key, 0);
    struct buf folded = {0};
    buf_put_fold(&folded, g->r->node.name);
    if (folded.bad)
        planner_fail(&g->p, ERR_NOMEM, "out of memory");
    planner_put(&g->p, key, buf_bytes(&folded));
    buf_fini(&folded);
}

static void plan_node(struct registering *g)
{
    const struct node_view *wish = &g->r->node;
    const struct cat_node *owner =
        wish->id.n ? snapshot_node_by_id(g->p.s, wish->id) : NULL;
    const struct cat_record *had = g->node ? g->node->record : NULL;
    if (had && bytes_eq_fold(cat_node_id(had), wish->id))
        owner = g->node;
    bool renaming = owner && owner != g->node;
    struct bytes key = planner_key(&g->p, RECORD_NODE, wish->name, none);

    if (had && g->r->skip_node_update) {
        planner_guard(&g->p, GUARD_CREATE, key, had->create_rev);
        return;
    }
    if (had && wish->id.n && name_reserved(g->node, wish->id, renaming)) {
        fail_reserved(g, renaming);
        return;
    }
    record_put_node(&g->p.value, wish);
    if (planner_is_same(&g->p, had)) {
        planner_guard_mod(&g->p, key, had);
        return;
    }
    /* The old name goes with all under it, and with the ID's key, which
     * plan_node_id then writes instead. */
    if (renaming)
        planner_delete_node(&g->p, owner->record);
    planner_write(&g->p, key, had);
    plan_node_id(g, owner);
}

/* --- Service ------------------------------------------------------------- */

static const struct cat_instance *instance_of(const struct registering *g,
                                              struct bytes service_id)
{
    return g->node ? cat_node_service(g->node, service_id) : NULL;
}

static void plan_service(struct registering *g)
{
    struct service_view v = *g->r->service;

    if (v.name.n == 0) {
        planner_fail(&g->p, ERR_BAD, "Must provide service name with ID");
        return;
    }
    if (v.id.n == 0)
        v.id = v.name;
    g->service_id = v.id;
    const struct cat_instance *i = instance_of(g, v.id);
    const struct cat_record *had = i ? i->service : NULL;
    struct bytes key =
        planner_key(&g->p, RECORD_SERVICE, g->r->node.name, v.id);
    buf_reset(&g->p.value);
    record_put_service(&g->p.value, &v);
    if (planner_is_same(&g->p, had))
        planner_guard_mod(&g->p, key, had);
    else
        planner_write(&g->p, key, had);
}

/* --- Checks -------------------------------------------------------------- */

/* Written again with the same bytes, unless it is written anyway. */
static void move_service(struct registering *g, struct bytes service_id)
{
    const struct cat_instance *i =
        service_id.n ? instance_of(g, service_id) : NULL;

    if (!i)
        return;
    struct bytes key =
        planner_key(&g->p, RECORD_SERVICE, g->r->node.name, service_id);
    if (planner_op(&g->p, key))
        return;
    planner_guard_mod(&g->p, key, i->service);
    planner_put(&g->p, key, cat_value(i->service));
}

static void guard_service(struct registering *g, struct bytes service_id)
{
    const struct cat_instance *i =
        service_id.n ? instance_of(g, service_id) : NULL;

    if (i && !bytes_eq_fold(service_id, g->service_id))
        planner_guard(
            &g->p, GUARD_CREATE,
            planner_key(&g->p, RECORD_SERVICE, g->r->node.name, service_id),
            i->service->create_rev);
}

static bool service_known(const struct registering *g, struct bytes id)
{
    return id.n == 0 || instance_of(g, id) ||
           (g->service_id.n && bytes_eq_fold(id, g->service_id));
}

/* Among the checks of the registration, from the given one on? */
static bool in_wish(const struct registration *r, size_t from, struct bytes id)
{
    for (size_t i = from; i < r->check_count; i++) {
        const struct check_view *v = &r->checks[i];
        if (bytes_eq_fold(v->id.n ? v->id : v->name, id))
            return true;
    }
    return false;
}

/* What the service asks for, as it will be. */
static enum guard_mode guard_of(const struct registering *g, struct bytes id)
{
    const struct cat_instance *i = id.n ? instance_of(g, id) : NULL;

    if (id.n && bytes_eq_fold(id, g->service_id))
        return guard_mode_of(g->r->service->meta, g->r->guard);
    return i ? mode_of_instance(i, g->r->guard) : g->r->guard;
}

static void plan_check(struct registering *g, size_t at)
{
    struct check_view v = g->r->checks[at];
    struct bytes node = g->r->node.name;

    if (v.id.n == 0)
        v.id = v.name;
    if (v.status.n == 0)
        v.status = bytes_str("critical");
    if (v.id.n == 0) {
        planner_fail(&g->p, ERR_BAD,
                     "failed inserting check: Must provide CheckID or Name");
        return;
    }
    if (!service_known(g, v.service_id)) {
        planner_fail(&g->p, ERR_BAD,
                     "failed inserting check: Missing service registration "
                     "on node \"%.*s\"",
                     BYTES_ARG(bytes_head(node, SHOWN_BYTES)));
        return;
    }
    if (in_wish(g->r, at + 1, v.id)) /* of several the last counts */
        return;
    const struct cat_record *had =
        g->node ? cat_node_check(g->node, v.id) : NULL;
    struct checked of = {
        .node = g->node,
        .instance = v.service_id.n ? instance_of(g, v.service_id) : NULL,
        .guard = guard_of(g, v.service_id),
        .wall_ms = g->r->wall_ms,
    };
    v.node = node;
    if (!planner_check(&g->p, &v, had, &of))
        return;
    if (!had) {
        guard_service(g, v.service_id);
    } else if (!bytes_eq_fold(cat_check_service(had), v.service_id)) {
        move_service(g, cat_check_service(had));
        move_service(g, v.service_id);
    }
}

static void drop_other_checks(struct registering *g)
{
    const struct cat_instance *i = instance_of(g, g->service_id);

    for (uint32_t k = 0; i && k < i->check_count; k++) {
        if (in_wish(g->r, 0, cat_record_id(i->checks[k])))
            continue;
        planner_guard_checks_quiet(&g->p, g->r->node.name);
        planner_delete_check(&g->p, i->checks[k]);
    }
}

/* The service's record goes last: a new instance then comes into its two trees
 * once, with its checks, instead of once more for each of them. */
static void service_last(struct plan *p)
{
    for (size_t i = 0; i + 1 < p->op_count; i++) {
        if (p->ops[i].kind != OP_PUT || p->ops[i].key.p[0] != 's')
            continue;
        struct store_op service = p->ops[i];
        memmove(&p->ops[i], &p->ops[i + 1],
                (p->op_count - i - 1) * sizeof p->ops[0]);
        p->ops[p->op_count - 1] = service;
        return;
    }
}

enum err plan_register(struct plan *plan, const struct snapshot *s,
                       const struct registration *r, struct errtext *t)
{
    struct registering g = {.r = r};

    if (plan->wishes)
        return wish_register(plan, s, r, t);
    planner_begin(&g.p, plan, s, t);
    if (r->node.name.n == 0)
        planner_fail(&g.p, ERR_BAD, "Must provide node");
    else if (r->node.address.n == 0 && !r->skip_node_update)
        planner_fail(&g.p, ERR_BAD,
                     "Must provide address if SkipNodeUpdate is not set");
    g.node = snapshot_node(s, r->node.name);
    if (g.p.e == ERR_OK)
        plan_node(&g);
    if (g.p.e == ERR_OK && r->service)
        plan_service(&g);
    for (size_t i = 0; g.p.e == ERR_OK && i < r->check_count; i++)
        plan_check(&g, i);
    if (g.p.e == ERR_OK && r->service && r->replace_checks)
        drop_other_checks(&g);
    enum err e = planner_end(&g.p);
    if (e == ERR_OK)
        service_last(plan);
    return e;
}
