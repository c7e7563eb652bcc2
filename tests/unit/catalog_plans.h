/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* catalog_plans - the toy store's side of plans: do the guards hold, what do
 * the operations do, is what is stored sound. */
#ifndef CATALOG_PLANS_H
#define CATALOG_PLANS_H

#include "catalog/plan.h"
#include "catalog_world.h"

static inline bool guard_holds(const struct world *w,
                               const struct store_guard *g)
{
    const struct row *r = world_key(w, g->key);

    switch (g->kind) {
    case GUARD_MOD:
        return (r ? r->mod_rev : 0) == g->rev;
    case GUARD_CREATE:
        return (r ? r->create_rev : 0) == g->rev;
    case GUARD_PRESENT:
        return r != NULL;
    case GUARD_ABSENT:
        return r == NULL;
    case GUARD_QUIET:
        for (size_t i = 0; i < w->n; i++)
            if (bytes_starts(row_key(w->rows[i]), g->key) &&
                w->rows[i]->create_rev > g->rev)
                return false;
        return true;
    }
    return false;
}

static inline bool plan_holds(const struct world *w, const struct plan *p)
{
    for (size_t i = 0; i < p->guard_count; i++)
        if (!guard_holds(w, &p->guards[i]))
            return false;
    return true;
}

static inline void delete_prefix(struct world *w, struct bytes prefix)
{
    for (size_t i = w->n; i-- > 0;) {
        char key[WORLD_KEY_MAX];
        struct bytes k = row_key(w->rows[i]);
        if (!bytes_starts(k, prefix))
            continue;
        memcpy(key, k.p, k.n);
        world_delete(w, bytes_of(key, k.n));
    }
}

/* As one revision; no key may be written twice. */
static inline void plan_apply(struct world *w, const struct plan *p)
{
    w->revision++;
    for (size_t i = 0; i < p->op_count; i++) {
        const struct store_op *op = &p->ops[i];
        for (size_t k = 0; k < i; k++) {
            assert_false(bytes_eq(p->ops[k].key, op->key));
            assert_false(p->ops[k].kind == OP_DELETE_PREFIX &&
                         bytes_starts(op->key, p->ops[k].key));
            assert_false(op->kind == OP_DELETE_PREFIX &&
                         bytes_starts(p->ops[k].key, op->key));
        }
        if (op->kind == OP_PUT)
            world_put(w, op->key, op->value);
        else if (op->kind == OP_DELETE)
            world_delete(w, op->key);
        else
            delete_prefix(w, op->key);
    }
    (void)world_commit(w);
}

/* Everything has its parent; IDs and nodes know each other. */
static inline const char *unsound(const struct world *w)
{
    for (size_t i = 0; i < w->n; i++) {
        const struct row *r = w->rows[i], *node = world_node(w, r->node);
        const struct row *id;
        switch (r->kind) {
        case RECORD_NODE:
            id = world_row(w, RECORD_NODE_ID, r->n.id, (struct bytes){0});
            if (r->n.id.n && !(id && bytes_eq(row_value(id), r->node)))
                return "a node's ID is not its own";
            break;
        case RECORD_SERVICE:
            if (!node)
                return "a service without node";
            break;
        case RECORD_CHECK:
            if (!node)
                return "a check without node";
            if (r->c.service_id.n &&
                !world_row(w, RECORD_SERVICE, r->node, r->c.service_id))
                return "a check without its service";
            break;
        case RECORD_GUARD:
        case RECORD_QUERY:
        case RECORD_QUERY_NAME:
        case RECORD_COORDINATE:
            break;
        case RECORD_NODE_ID:
            node = world_node(w, row_value(r));
            if (!node || !bytes_eq_fold(node->n.id, r->node))
                return "an ID without its node";
            break;
        }
    }
    return NULL;
}

#endif
