/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* A load puts rows, in no order, into the trees of their nodes and nothing
 * else. At its end one walk over the nodes, in order, builds all that is
 * derived: instances with their checks, names (appended in order, which fills
 * their trees completely), IDs, counts. All of it belongs to one edit and was
 * never seen, so what is replaced on the way is freed at once. */
#include <stdlib.h>

#include "base/alloc.h"
#include "catalog/impl.h"

/* --- Dropping a whole version -------------------------------------------- */

struct dropper {
    struct catalog *c;
    void (*drop)(struct catalog *c, void *take_p);
};

static void drop_tree_node(void *ctx, void *take_node)
{
    const struct dropper *d = ctx;
    d->drop(d->c, take_node);
}

/* What is dropped may be shown still: it is not written to. */
static void drop_node(struct dropper *d, const struct tree_edit *e,
                      struct node_entry *n)
{
    struct tree services = n->pub.services, checks = n->pub.checks;
    struct tree_iter it;

    tree_first(&services, &it);
    for (struct cat_instance *i; (i = tree_next(&it));) {
        d->drop(d->c, (void *)i->service);
        d->drop(d->c, i);
    }
    tree_first(&checks, &it);
    for (struct cat_record *r; (r = tree_next(&it));)
        d->drop(d->c, r);
    tree_retire(&services, e);
    tree_retire(&checks, e);
    d->drop(d->c, n->pub.own);
    d->drop(d->c, (void *)n->pub.record);
    d->drop(d->c, n);
}

void version_drop(struct catalog *c, struct snapshot *v,
                  void (*drop)(struct catalog *c, void *take_p))
{
    struct dropper d = {c, drop};
    struct tree_edit e = {.id = 1, .retire = drop_tree_node, .ctx = &d};
    struct tree_iter it;

    tree_first(&v->names, &it);
    for (struct cat_name *n; (n = tree_next(&it));) {
        struct tree instances = n->instances;
        tree_retire(&instances, &e);
        drop(c, n);
    }
    tree_first(&v->nodes, &it);
    for (struct node_entry *n; (n = tree_next(&it));)
        drop_node(&d, &e, n);
    tree_retire(&v->names, &e);
    tree_retire(&v->nodes, &e);
    tree_retire(&v->ids, &e);
}

void ghosts_free(struct catalog *c)
{
    struct tree_iter it;

    tree_first(&c->ghosts, &it);
    for (void *g; (g = tree_next(&it));)
        free(g);
    tree_free(&c->ghosts);
}

/* --- Rows ---------------------------------------------------------------- */

static void load_service(struct catalog *c, struct node_entry *e,
                         struct cat_record *take)
{
    struct cat_instance *old = edit_put(c, &e->pub.services, &service_tree,
                                        instance_new(NULL, take, NULL, NULL));

    if (old)
        free((void *)old->service);
    free(old);
}

void load_put(struct catalog *c, enum record_kind kind, struct bytes node,
              struct cat_record *take)
{
    struct node_entry *e = edit_need_node(c, node);

    switch (kind) {
    case RECORD_NODE:
        free((void *)e->pub.record);
        e->pub.record = take;
        break;
    case RECORD_SERVICE:
        load_service(c, e, take);
        break;
    case RECORD_CHECK:
        free(edit_put(c, &e->pub.checks, &check_tree, take));
        break;
    case RECORD_NODE_ID:
        break;
    }
}

void load_delete(struct catalog *c, enum record_kind kind, struct bytes node,
                 struct bytes id)
{
    struct node_entry *e = edit_find_node(c, node);
    struct cat_instance *i;

    if (!e)
        return;
    switch (kind) {
    case RECORD_NODE:
        free((void *)e->pub.record);
        e->pub.record = NULL;
        break;
    case RECORD_SERVICE:
        i = edit_del(c, &e->pub.services, &service_tree, key_of_bytes(id));
        if (i)
            free((void *)i->service);
        free(i);
        break;
    case RECORD_CHECK:
        free(edit_del(c, &e->pub.checks, &check_tree, key_of_bytes(id)));
        break;
    case RECORD_NODE_ID:
        break;
    }
}

/* --- Checks to their owners ---------------------------------------------- */

/* The node's checks by owner; among them by check ID, as they came. */
struct owned {
    struct bytes service_id;
    const struct cat_record *check;
    size_t at;
};

static int by_owner(const void *a, const void *b)
{
    const struct owned *x = a, *y = b;
    int c = bytes_cmp_fold(x->service_id, y->service_id);

    return c ? c : (x->at > y->at) - (x->at < y->at);
}

static struct owned *owned_sorted(const struct node_entry *e)
{
    struct owned *v = xmalloc(e->pub.checks.n * sizeof *v);
    struct tree_iter it;
    size_t n = 0;

    tree_first(&e->pub.checks, &it);
    for (const struct cat_record *r; (r = tree_next(&it)); n++)
        v[n] = (struct owned){cat_check_service(r), r, n};
    qsort(v, n, sizeof *v, by_owner);
    return v;
}

static void own_from(struct node_entry *e, const struct owned *v, size_t n)
{
    struct cat_node_checks *own = xmalloc(sizeof *own + n * sizeof own->v[0]);

    own->n = (uint32_t)n;
    for (size_t i = 0; i < n; i++)
        own->v[i] = v[i].check;
    e->pub.own = own;
}

static void instance_from(struct catalog *c, struct node_entry *e,
                          const struct owned *v, size_t n)
{
    struct cat_instance *old =
        tree_get(&e->pub.services, &service_tree, key_of_bytes(v->service_id));
    struct cat_instance *i = xmalloc(sizeof *i + n * sizeof i->checks[0]);

    i->service = old ? old->service : NULL;
    i->check_count = (uint32_t)n;
    for (size_t k = 0; k < n; k++)
        i->checks[k] = v[k].check;
    if (old)
        free(edit_put(c, &e->pub.services, &service_tree, i));
    else
        ghost_put(c, i);
}

static void attach_checks(struct catalog *c, struct node_entry *e)
{
    size_t n = e->pub.checks.n, from, to;

    if (n == 0)
        return;
    struct owned *v = owned_sorted(e);
    for (from = 0; from < n; from = to) {
        for (to = from + 1; to < n; to++)
            if (!bytes_eq_fold(v[to].service_id, v[from].service_id))
                break;
        if (v[from].service_id.n)
            instance_from(c, e, v + from, to - from);
        else
            own_from(e, v + from, to - from);
    }
    free(v);
}

/* --- All of it ----------------------------------------------------------- */

/* Everything was last changed at the loaded revision, for all one can know. */
static void set_indexes(struct snapshot *s, uint64_t revision)
{
    struct tree_iter it;

    s->nodes_index = s->services_index = revision;
    for (int i = 0; i < STATE_SLOTS; i++)
        s->state_index[i] = revision;
    tree_first(&s->nodes, &it);
    for (struct node_entry *e; (e = tree_next(&it));)
        e->pub.node_index = e->pub.checks_index = revision;
    tree_first(&s->names, &it);
    for (struct cat_name *n; (n = tree_next(&it));)
        n->service_index = n->health_index = n->checks_index = revision;
}

void load_build(struct catalog *c, uint64_t revision)
{
    struct tree_iter it;

    tree_first(&c->next.nodes, &it);
    for (struct node_entry *e; (e = tree_next(&it));) {
        attach_checks(c, e);
        if (e->pub.record)
            apply_appear(c, e);
        edit_settle_node(c, e);
    }
    set_indexes(&c->next, revision);
}
