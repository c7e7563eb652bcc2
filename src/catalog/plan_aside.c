/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Plans for prepared queries and coordinates. */
#include "catalog/plan_impl.h"

static const struct bytes none = {NULL, 0};

enum { NAME_SHOWN_BYTES = 64 /* of a name in a message */ };

/* --- Prepared queries ---------------------------------------------------- */

static struct bytes name_of(const struct query_view *v)
{
    return v->text[QUERY_NAME];
}

/* It has a key of its own, so that no two queries have it. */
static bool name_is_key(const struct query_view *v)
{
    return name_of(v).n || v->text[QUERY_TEMPLATE].n;
}

static void check_name(struct planner *p, const struct query_view *v,
                       const struct cat_record *self)
{
    struct bytes name = name_of(v);
    const struct cat_record *other = snapshot_query_named(p->s, name);

    if (other && other != self && name.n)
        planner_fail(p, ERR_BAD, "name '%.*s' aliases an existing query name",
                     BYTES_ARG(bytes_head(name, NAME_SHOWN_BYTES)));
    else if (other && other != self)
        planner_fail(p, ERR_BAD,
                     "a query template with an empty name already exists");
    if (!bytes_uuid(name))
        return;
    if (snapshot_query(p->s, name))
        planner_fail(p, ERR_BAD, "name '%.*s' aliases an existing query ID",
                     BYTES_ARG(name));
    planner_guard(p, GUARD_ABSENT, planner_key(p, RECORD_QUERY, name, none), 0);
}

static void take_name(struct planner *p, const struct query_view *v,
                      const struct query_view *old)
{
    bool had = old && name_is_key(old);
    bool same =
        had && name_is_key(v) && bytes_eq_fold(name_of(old), name_of(v));

    if (had && !same)
        planner_delete(p, OP_DELETE,
                       planner_key(p, RECORD_QUERY_NAME, name_of(old), none));
    if (same || !name_is_key(v))
        return;
    struct bytes key = planner_key(p, RECORD_QUERY_NAME, name_of(v), none);
    planner_guard(p, GUARD_ABSENT, key, 0);
    planner_put(p, key, v->id);
}

enum err plan_query(struct plan *plan, const struct snapshot *s,
                    const struct query_view *v, bool create, struct errtext *t)
{
    const struct cat_record *r = snapshot_query(s, v->id);
    struct query_view old;
    struct planner p;

    planner_begin(&p, plan, s, t);
    if (r)
        cat_query_view(r, &old);
    if (!r && !create)
        planner_fail(&p, ERR_NOT_FOUND,
                     "Cannot modify non-existent prepared query: '%.*s'",
                     BYTES_ARG(bytes_head(v->id, NAME_SHOWN_BYTES)));
    if (r && create)
        planner_fail(&p, ERR_CONFLICT, "the new query's ID is taken");
    if (name_is_key(v))
        check_name(&p, v, r);
    record_put_query(&p.value, v);
    if (!planner_is_same(&p, r)) {
        planner_write(&p, planner_key(&p, RECORD_QUERY, v->id, none), r);
        take_name(&p, v, r ? &old : NULL);
    }
    return planner_end(&p);
}

enum err plan_query_delete(struct plan *plan, const struct snapshot *s,
                           struct bytes id, struct errtext *t)
{
    const struct cat_record *r = snapshot_query(s, id);
    struct query_view v;
    struct planner p;

    planner_begin(&p, plan, s, t);
    if (r) {
        struct bytes key = planner_key(&p, RECORD_QUERY, id, none);
        cat_query_view(r, &v);
        planner_guard_mod(&p, key, r);
        planner_delete(&p, OP_DELETE, key);
        if (name_is_key(&v))
            planner_delete(
                &p, OP_DELETE,
                planner_key(&p, RECORD_QUERY_NAME, name_of(&v), none));
    } else {
        planner_fail(&p, ERR_NOT_FOUND,
                     "Cannot modify non-existent prepared query: '%.*s'",
                     BYTES_ARG(bytes_head(id, NAME_SHOWN_BYTES)));
    }
    return planner_end(&p);
}

/* --- Coordinates --------------------------------------------------------- */

enum err plan_coordinate(struct plan *plan, const struct snapshot *s,
                         const struct coordinate_view *v, struct errtext *t)
{
    const struct cat_node *n = snapshot_node(s, v->node);
    struct planner p;

    planner_begin(&p, plan, s, t);
    if (n) {
        const struct cat_record *r = snapshot_coordinate(s, v->node);
        record_put_coordinate(&p.value, v);
        if (!planner_is_same(&p, r)) {
            planner_guard(&p, GUARD_CREATE,
                          planner_key(&p, RECORD_NODE, v->node, none),
                          n->record->create_rev);
            planner_put(&p, planner_key(&p, RECORD_COORDINATE, v->node, none),
                        buf_bytes(&p.value));
        }
        if (p.value.bad)
            planner_fail(&p, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    }
    return planner_end(&p);
}
