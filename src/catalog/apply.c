/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Row by row: rows of one version may come in any order. */
#include <stdlib.h>

#include "base/check.h"
#include "catalog/impl.h"

/* --- Marks --------------------------------------------------------------- */

void mark_change(struct catalog *c, const struct cat_record *out,
                 const struct cat_record *in)
{
    struct snapshot *s = &c->next;
    struct tree_key key;

    if (out && (out->held || out->damped)) {
        bool own = cat_check_service(out).n == 0;
        marked_tree.key_of(out, &key);
        (void)edit_del(c, &s->marked, &marked_tree, key);
        s->own_held -= own && out->held;
        s->own_damped -= own && out->damped;
    }
    if (in && (in->held || in->damped)) {
        bool own = cat_check_service(in).n == 0;
        (void)edit_put(c, &s->marked, &marked_tree, (void *)in);
        s->own_held += own && in->held;
        s->own_damped += own && in->damped;
    }
}

static uint32_t damped_checks(const struct cat_instance *i)
{
    uint32_t n = 0;

    for (uint32_t k = 0; i && k < i->check_count; k++)
        n += i->checks[k]->damped;
    return n;
}

/* --- Instances in names -------------------------------------------------- */

/* Puts the instance under its name, or in the place of its older self there. */
static void show(struct catalog *c, struct cat_instance *i)
{
    struct cat_name *n = edit_need_name(c, cat_service_name(i->service));

    c->next.name_count += n->instances.n == 0;
    const struct cat_instance *was =
        edit_put(c, &n->instances, &instance_tree, i);
    c->next.instance_count += was == NULL;
    n->damped += damped_checks(i) - damped_checks(was);
}

static void hide(struct catalog *c, struct cat_instance *i)
{
    struct cat_name *n = edit_find_name(c, cat_service_name(i->service));
    struct tree_key key;

    require(n);
    instance_tree.key_of(i, &key);
    void *was = edit_del(c, &n->instances, &instance_tree, key);
    require(was == i);
    n->damped -= damped_checks(i);
    c->next.instance_count--;
    c->next.name_count -= n->instances.n == 0;
    edit_settle_name(c, n);
}

/* --- Ghosts -------------------------------------------------------------- */

/* Ghosts are the writer's alone: one edit for ever, nothing to retire. */
static const struct tree_edit ghost_edit = {.id = 1};

void ghost_put(struct catalog *c, struct cat_instance *take_ghost)
{
    bool memory = tree_put(&c->ghosts, &ghost_tree, &ghost_edit, take_ghost,
                           NULL) == ERR_OK;
    require(memory);
}

/* NULL if there is none; else it is the caller's to free. */
static struct cat_instance *ghost_take(struct catalog *c, struct bytes node,
                                       struct bytes service_id)
{
    void *ghost = NULL;

    if (c->ghosts.n) {
        bool memory =
            tree_del(&c->ghosts, &ghost_tree, &ghost_edit,
                     (struct tree_key){node, service_id}, &ghost) == ERR_OK;
        require(memory);
    }
    return ghost;
}

static void ghost_change(struct catalog *c, struct bytes node,
                         struct bytes service_id, const struct cat_record *out,
                         const struct cat_record *in)
{
    struct cat_instance *old = ghost_take(c, node, service_id);
    struct cat_instance *g = instance_new(old, NULL, out, in);

    free(old);
    if (g->check_count)
        ghost_put(c, g);
    else
        free(g);
}

/* --- Nodes --------------------------------------------------------------- */

/* Only its own entry: another node's record may hold the same ID for as long as
 * the rows of one version are not all there. */
static void forget_id(struct catalog *c, const struct cat_record *r)
{
    struct bytes id = cat_node_id(r);

    if (id.n && tree_get(&c->next.ids, &id_tree, key_of_bytes(id)) == r)
        (void)edit_del(c, &c->next.ids, &id_tree, key_of_bytes(id));
}

static void know_id(struct catalog *c, const struct cat_record *r)
{
    if (cat_node_id(r).n)
        (void)edit_put(c, &c->next.ids, &id_tree, (void *)r);
}

void apply_appear_service(struct catalog *c, struct cat_instance *i)
{
    show(c, i);
    address_know(c, i->service);
}

void apply_appear(struct catalog *c, struct node_entry *e)
{
    struct tree_iter it;

    know_id(c, e->pub.record);
    address_know(c, e->pub.record);
    c->next.node_count++;
    c->next.check_count += e->pub.checks.n;
    tree_first(&e->pub.services, &it);
    for (struct cat_instance *i; (i = tree_next(&it));)
        apply_appear_service(c, i);
}

static void disappear(struct catalog *c, struct node_entry *e)
{
    struct tree_iter it;

    c->next.node_count--;
    c->next.check_count -= e->pub.checks.n;
    address_forget(c, e->pub.record);
    tree_first(&e->pub.services, &it);
    for (struct cat_instance *i; (i = tree_next(&it));) {
        hide(c, i);
        address_forget(c, i->service);
    }
}

void apply_node(struct catalog *c, struct bytes name, struct cat_record *take)
{
    struct node_entry *e = edit_need_node(c, name);
    const struct cat_record *old = e->pub.record;

    if (old)
        forget_id(c, old);
    e->pub.record = take;
    if (old) {
        know_id(c, take);
        address_change(c, old, take);
    } else {
        apply_appear(c, e);
    }
    touch_node(c, e, old, take, take->mod_rev);
    edit_drop(c, (void *)old);
}

void unapply_node(struct catalog *c, struct bytes name, uint64_t rev)
{
    struct node_entry *e =
        tree_get(&c->next.nodes, &node_tree, key_of_bytes(name));

    if (!e || !e->pub.record)
        return;
    e = edit_find_node(c, name);
    const struct cat_record *old = e->pub.record;
    touch_node(c, e, old, NULL, rev);
    disappear(c, e);
    forget_id(c, old);
    e->pub.record = NULL;
    edit_drop(c, (void *)old);
    edit_settle_node(c, e);
}

/* --- Services ------------------------------------------------------------ */

void apply_service(struct catalog *c, struct bytes node,
                   struct cat_record *take)
{
    struct node_entry *e = edit_need_node(c, node);
    struct bytes id = cat_record_id(take);
    struct cat_instance *old =
        tree_get(&e->pub.services, &service_tree, key_of_bytes(id));
    struct cat_instance *ghost = old ? NULL : ghost_take(c, node, id);
    struct cat_instance *i = instance_new(old ? old : ghost, take, NULL, NULL);

    bool renamed = old && !bytes_eq_fold(cat_service_name(old->service),
                                         cat_service_name(take));

    free(ghost);
    if (!old || renamed)
        i->let_in_s = c->wall_s;
    (void)edit_put(c, &e->pub.services, &service_tree, i);
    if (e->pub.record) {
        if (renamed)
            hide(c, old);
        show(c, i);
        address_change(c, old ? old->service : NULL, take);
    }
    touch_service(c, e, old, i, take->mod_rev);
    if (old) {
        edit_drop(c, (void *)old->service);
        edit_drop(c, old);
    }
}

/* The entry, writable, if it has this service. */
static struct node_entry *with_service(struct catalog *c, struct bytes node,
                                       struct bytes id)
{
    struct node_entry *e =
        tree_get(&c->next.nodes, &node_tree, key_of_bytes(node));

    if (!e || !tree_get(&e->pub.services, &service_tree, key_of_bytes(id)))
        return NULL;
    return edit_find_node(c, node);
}

void apply_let_in(struct catalog *c, struct bytes node, struct bytes id,
                  uint32_t let_in_s)
{
    struct node_entry *e = with_service(c, node, id);

    if (!e)
        return;
    struct cat_instance *old =
        tree_get(&e->pub.services, &service_tree, key_of_bytes(id));
    if (old->let_in_s == let_in_s)
        return;
    struct cat_instance *i = instance_new(old, old->service, NULL, NULL);
    i->let_in_s = let_in_s;
    (void)edit_put(c, &e->pub.services, &service_tree, i);
    if (e->pub.record)
        show(c, i);
    edit_drop(c, old);
}

void unapply_service(struct catalog *c, struct bytes node, struct bytes id,
                     uint64_t rev)
{
    struct node_entry *e = with_service(c, node, id);

    if (!e)
        return;
    struct cat_instance *i =
        edit_del(c, &e->pub.services, &service_tree, key_of_bytes(id));
    if (e->pub.record) {
        hide(c, i);
        address_forget(c, i->service);
    }
    if (i->check_count)
        ghost_put(c, instance_new(i, NULL, NULL, NULL));
    touch_service(c, e, i, NULL, rev);
    edit_drop(c, (void *)i->service);
    edit_drop(c, i);
    edit_settle_node(c, e);
}

/* --- Checks -------------------------------------------------------------- */

static void owner_change(struct catalog *c, struct node_entry *e,
                         struct bytes service_id, const struct cat_record *out,
                         const struct cat_record *in)
{
    struct cat_instance *i;
    bool lets_in = out && !in && !cat_check_passes(out);

    if (service_id.n == 0) {
        struct cat_node_checks *own = own_checks_new(e->pub.own, out, in);
        edit_drop(c, e->pub.own);
        e->pub.own = own;
        if (lets_in)
            e->pub.let_in_s = c->wall_s;
        return;
    }
    i = tree_get(&e->pub.services, &service_tree, key_of_bytes(service_id));
    if (!i) {
        ghost_change(c, entry_name(e), service_id, out, in);
        return;
    }
    struct cat_instance *changed = instance_new(i, i->service, out, in);
    if (lets_in)
        changed->let_in_s = c->wall_s;
    (void)edit_put(c, &e->pub.services, &service_tree, changed);
    if (e->pub.record)
        show(c, changed);
    edit_drop(c, i);
}

void apply_check(struct catalog *c, struct bytes node, struct cat_record *take)
{
    struct node_entry *e = edit_need_node(c, node);
    struct cat_record *old = edit_put(c, &e->pub.checks, &check_tree, take);
    struct bytes owner = cat_check_service(take);

    if (!old && e->pub.record)
        c->next.check_count++;
    if (old && bytes_eq_fold(cat_check_service(old), owner)) {
        owner_change(c, e, owner, old, take);
    } else {
        if (old)
            owner_change(c, e, cat_check_service(old), old, NULL);
        owner_change(c, e, owner, NULL, take);
    }
    mark_change(c, old, take);
    touch_check(c, e, old, take, take->mod_rev);
    edit_drop(c, old);
}

void unapply_check(struct catalog *c, struct bytes node, struct bytes id,
                   uint64_t rev)
{
    struct node_entry *e =
        tree_get(&c->next.nodes, &node_tree, key_of_bytes(node));

    if (!e || !tree_get(&e->pub.checks, &check_tree, key_of_bytes(id)))
        return;
    e = edit_find_node(c, node);
    struct cat_record *old =
        edit_del(c, &e->pub.checks, &check_tree, key_of_bytes(id));
    c->next.check_count -= e->pub.record != NULL;
    owner_change(c, e, cat_check_service(old), old, NULL);
    mark_change(c, old, NULL);
    touch_check(c, e, old, NULL, rev);
    edit_drop(c, old);
    edit_settle_node(c, e);
}

/* --- Guards -------------------------------------------------------------- */

void apply_guard(struct catalog *c, struct cat_record *take)
{
    struct cat_record *old = edit_put(c, &c->next.guards, &check_tree, take);

    touch_guard(c, old, take, take->mod_rev);
    edit_drop(c, old);
}

void unapply_guard(struct catalog *c, struct bytes name, uint64_t rev)
{
    struct cat_record *old =
        edit_del(c, &c->next.guards, &check_tree, key_of_bytes(name));

    if (!old)
        return;
    touch_guard(c, old, NULL, rev);
    edit_drop(c, old);
}
