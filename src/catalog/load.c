/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* A load puts rows, in no order, into the trees of their nodes and nothing
 * else. At its end one walk over the nodes, in order, builds all that is
 * derived: instances with their checks, names (appended in order, which fills
 * their trees completely), IDs, counts. It may rest behind any row and goes on
 * there (struct load_walk), so that a large load is built in slices. All of it
 * belongs to one edit and was never seen: what is replaced on the way is freed at
 * once. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/check.h"
#include "catalog/impl.h"

/* --- Dropping a whole version -------------------------------------------- */

struct dropper {
    struct catalog *c;
    void (*drop)(struct catalog *c, void *take_p);
    bool raw; /* services are records: a load that did not end */
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
    for (void *item; (item = tree_next(&it));) {
        if (!d->raw)
            d->drop(d->c, (void *)((struct cat_instance *)item)->service);
        d->drop(d->c, item);
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

static void drop_aside(struct dropper *d, struct tree *t,
                       const struct tree_edit *e)
{
    struct tree_iter it;

    tree_first(t, &it);
    for (struct cat_record *r; (r = tree_next(&it));)
        d->drop(d->c, r);
    tree_retire(t, e);
}

static void drop_all(struct dropper *d, struct snapshot *v)
{
    struct tree_edit e = {.id = 1, .retire = drop_tree_node, .ctx = d};
    struct tree_iter it;

    tree_first(&v->names, &it);
    for (struct cat_name *n; (n = tree_next(&it));) {
        struct tree instances = n->instances;
        tree_retire(&instances, &e);
        d->drop(d->c, n);
    }
    tree_first(&v->nodes, &it);
    for (struct node_entry *n; (n = tree_next(&it));)
        drop_node(d, &e, n);
    drop_aside(d, &v->queries, &e);
    drop_aside(d, &v->coordinates, &e);
    tree_retire(&v->query_names, &e);
    drop_aside(d, &v->guards, &e);
    tree_retire(&v->marked, &e);
    tree_retire(&v->names, &e);
    tree_retire(&v->nodes, &e);
    tree_retire(&v->ids, &e);
    tree_retire(&v->addresses, &e);
}

void version_drop(struct catalog *c, struct snapshot *v,
                  void (*drop)(struct catalog *c, void *take_p))
{
    drop_all(&(struct dropper){c, drop, false}, v);
}

static void drop_now(struct catalog *c, void *take_p)
{
    (void)c;
    free(take_p);
}

/* A half of what is built has no shape of its own: it is finished first. */
void load_give_up(struct catalog *c)
{
    bool raw = c->walk.stage == LOAD_ROWS;

    if (!raw)
        load_build_all(c, 0);
    drop_all(&(struct dropper){c, drop_now, raw}, &c->next);
    c->walk.stage = LOAD_ROWS;
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

void load_put(struct catalog *c, enum record_kind kind, struct bytes node,
              struct cat_record *take)
{
    if (kind == RECORD_GUARD) {
        free(edit_put(c, &c->next.guards, &check_tree, take));
        return;
    }
    struct node_entry *e = edit_need_node(c, node);
    switch (kind) {
    case RECORD_NODE:
        free((void *)e->pub.record);
        e->pub.record = take;
        break;
    case RECORD_SERVICE:
        free(edit_put(c, &e->pub.services, &check_tree, take));
        break;
    case RECORD_CHECK:
        free(edit_put(c, &e->pub.checks, &check_tree, take));
        break;
    case RECORD_NODE_ID:
    case RECORD_GUARD:
    case RECORD_QUERY:
    case RECORD_QUERY_NAME:
    case RECORD_COORDINATE:
        break;
    }
}

void load_delete(struct catalog *c, enum record_kind kind, struct bytes node,
                 struct bytes id)
{
    if (kind == RECORD_GUARD) {
        free(edit_del(c, &c->next.guards, &check_tree, key_of_bytes(node)));
        return;
    }
    struct node_entry *e = edit_find_node(c, node);
    if (!e)
        return;
    switch (kind) {
    case RECORD_NODE:
        free((void *)e->pub.record);
        e->pub.record = NULL;
        break;
    case RECORD_SERVICE:
        free(edit_del(c, &e->pub.services, &check_tree, key_of_bytes(id)));
        break;
    case RECORD_CHECK:
        free(edit_del(c, &e->pub.checks, &check_tree, key_of_bytes(id)));
        break;
    case RECORD_NODE_ID:
    case RECORD_GUARD:
    case RECORD_QUERY:
    case RECORD_QUERY_NAME:
    case RECORD_COORDINATE:
        break;
    }
}

/* --- Instances ----------------------------------------------------------- */

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

/* Ends with a mark without check. */
static struct owned *owned_sorted(const struct node_entry *e)
{
    struct owned *v = xmalloc((e->pub.checks.n + 1) * sizeof *v);
    struct tree_iter it;
    size_t n = 0;

    tree_first(&e->pub.checks, &it);
    for (const struct cat_record *r; (r = tree_next(&it)); n++)
        v[n] = (struct owned){cat_check_service(r), r, n};
    qsort(v, n, sizeof *v, by_owner);
    v[n] = (struct owned){0};
    return v;
}

/* How many from v on have the owner of the first. */
static uint32_t same_owner(const struct owned *v)
{
    uint32_t n = 0;

    while (v[n].check && bytes_eq_fold(v[n].service_id, v->service_id))
        n++;
    return n;
}

static struct cat_instance *instance_from(const struct cat_record *service,
                                          const struct owned *v, uint32_t n)
{
    struct cat_instance *i = xmalloc(sizeof *i + n * sizeof i->checks[0]);

    i->service = service;
    i->let_in_s = 0;
    i->check_count = n;
    for (uint32_t k = 0; k < n; k++)
        i->checks[k] = v[k].check;
    return i;
}

static const struct owned *take_own(struct node_entry *e, const struct owned *v)
{
    struct cat_node_checks *own;
    uint32_t n = 0;

    while (v[n].check && v[n].service_id.n == 0)
        n++;
    if (n == 0)
        return v;
    own = xmalloc(sizeof *own + n * sizeof own->v[0]);
    own->n = n;
    for (uint32_t i = 0; i < n; i++)
        own->v[i] = v[i].check;
    e->pub.own = own;
    return v + n;
}

/* Checks whose owner comes before this service (NULL: all): it is not there. */
static const struct owned *take_ghosts(struct catalog *c, const struct owned *v,
                                       const struct cat_record *service)
{
    while (v->check &&
           (!service ||
            bytes_cmp_fold(v->service_id, cat_record_id(service)) < 0)) {
        uint32_t n = same_owner(v);
        ghost_put(c, instance_from(NULL, v, n));
        v += n;
    }
    return v;
}

static void begin_node(struct catalog *c, struct node_entry *e)
{
    struct load_walk *w = &c->walk;

    w->node = e;
    w->owned = owned_sorted(e);
    for (size_t i = 0; w->owned[i].check; i++)
        mark_change(c, NULL, w->owned[i].check);
    w->at = take_own(e, w->owned);
    w->records = e->pub.services;
    e->pub.services = (struct tree){0};
    tree_first(&w->records, &w->of_node);
    if (e->pub.record)
        apply_appear(c, e);
}

/* Services and owners both in order: a merge. */
static void build_instance(struct catalog *c, const struct cat_record *r)
{
    struct load_walk *w = &c->walk;
    uint32_t n = 0;

    w->at = take_ghosts(c, w->at, r);
    if (w->at->check && bytes_eq_fold(w->at->service_id, cat_record_id(r)))
        n = same_owner(w->at);
    struct cat_instance *i = instance_from(r, w->at, n);
    w->at += n;
    (void)edit_put(c, &w->node->pub.services, &service_tree, i);
    if (w->node->pub.record)
        apply_appear_service(c, i);
}

static void end_node(struct catalog *c, uint64_t revision)
{
    struct load_walk *w = &c->walk;
    struct node_entry *e = w->node;

    (void)take_ghosts(c, w->at, NULL);
    tree_free(&w->records);
    free(w->owned);
    w->owned = NULL;
    w->node = NULL;
    edit_settle_node(c, e);
    e->pub.node_index = e->pub.checks_index = revision;
}

/* True: to its end. */
static bool build_node(struct catalog *c, uint64_t revision, size_t *left)
{
    while (*left) {
        const struct cat_record *r = tree_next(&c->walk.of_node);
        if (!r) {
            end_node(c, revision);
            return true;
        }
        build_instance(c, r);
        --*left;
    }
    return false;
}

/* --- All of it ----------------------------------------------------------- */

/* Everything was last changed at the loaded revision, for all one can know. */
static void set_indexes(struct snapshot *s, uint64_t revision)
{
    s->nodes_index = s->services_index = s->own_text_index = revision;
    s->guards_index = s->queries_index = s->coordinates_index = revision;
    for (int i = 0; i < STATE_SLOTS; i++)
        s->state_index[i] = revision;
}

static bool build_nodes(struct catalog *c, uint64_t revision, size_t *left)
{
    struct load_walk *w = &c->walk;

    while (*left) {
        if (!w->node) {
            struct node_entry *e = tree_next(&w->it);
            if (!e)
                return true;
            begin_node(c, e);
            --*left;
        }
        (void)build_node(c, revision, left);
    }
    return false;
}

static bool index_names(struct catalog *c, uint64_t revision, size_t *left)
{
    for (; *left; --*left) {
        struct cat_name *n = tree_next(&c->walk.it);
        if (!n)
            return true;
        n->service_index = n->health_index = n->checks_index = revision;
    }
    return false;
}

bool load_build(struct catalog *c, uint64_t revision, size_t *left)
{
    struct load_walk *w = &c->walk;

    if (w->stage == LOAD_ROWS) {
        tree_first(&c->next.nodes, &w->it);
        w->stage = LOAD_NODES;
    }
    if (w->stage == LOAD_NODES && build_nodes(c, revision, left)) {
        aside_build(c);
        set_indexes(&c->next, revision);
        tree_first(&c->next.names, &w->it);
        w->stage = LOAD_NAMES;
    }
    if (w->stage == LOAD_NAMES && index_names(c, revision, left))
        w->stage = LOAD_BUILT;
    return w->stage == LOAD_BUILT;
}

void load_build_all(struct catalog *c, uint64_t revision)
{
    size_t left = SIZE_MAX;

    bool built = load_build(c, revision, &left);
    require(built);
}
