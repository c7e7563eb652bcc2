/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* The version being built: an entry made for it is edited in place, any other
 * is copied first. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/check.h"
#include "catalog/impl.h"

/* Tombstones dropped together when there are too many. Each drop raises the
 * floor, which outdates all answers kept: that must be rare. */
enum { TOMBS_DROPPED = CATALOG_TOMBSTONES_MAX / 4 };

/* --- Trees --------------------------------------------------------------- */

static void node_key(const void *item, struct tree_key *ret)
{
    *ret = key_of_bytes(entry_name(item));
}

static void name_key(const void *item, struct tree_key *ret)
{
    *ret = key_of_bytes(name_text(item));
}

static void id_key(const void *item, struct tree_key *ret)
{
    *ret = key_of_bytes(cat_node_id(item));
}

static void service_key(const void *item, struct tree_key *ret)
{
    const struct cat_instance *i = item;
    *ret = key_of_bytes(cat_record_id(i->service));
}

static void check_key(const void *item, struct tree_key *ret)
{
    *ret = key_of_bytes(cat_record_id(item));
}

static void instance_key(const void *item, struct tree_key *ret)
{
    const struct cat_instance *i = item;
    ret->a = cat_record_node(i->service);
    ret->b = cat_record_id(i->service);
}

static void ghost_key(const void *item, struct tree_key *ret)
{
    const struct cat_instance *i = item;
    ret->a = cat_record_node(i->checks[0]);
    ret->b = cat_check_service(i->checks[0]);
}

static void marked_key(const void *item, struct tree_key *ret)
{
    ret->a = cat_record_node(item);
    ret->b = cat_record_id(item);
}

const struct tree_type node_tree = {node_key, true};
const struct tree_type name_tree = {name_key, true};
const struct tree_type id_tree = {id_key, true};
const struct tree_type service_tree = {service_key, true};
const struct tree_type check_tree = {check_key, true};
const struct tree_type instance_tree = {instance_key, true};
const struct tree_type ghost_tree = {ghost_key, true};
const struct tree_type marked_tree = {marked_key, true};

void *edit_put(struct catalog *c, struct tree *t, const struct tree_type *type,
               void *item)
{
    void *old = NULL;
    bool memory = tree_put(t, type, &c->edit, item, &old) == ERR_OK;

    require(memory);
    return old;
}

void *edit_del(struct catalog *c, struct tree *t, const struct tree_type *type,
               struct tree_key key)
{
    void *old = NULL;
    bool memory = tree_del(t, type, &c->edit, key, &old) == ERR_OK;

    require(memory);
    return old;
}

/* --- Garbage ------------------------------------------------------------- */

void garbage_add(struct catalog *c, void *take_p)
{
    if (!take_p)
        return;
    if (c->garbage_n == c->garbage_cap) {
        c->garbage_cap = c->garbage_cap ? 2 * c->garbage_cap : 64;
        c->garbage = xrealloc(c->garbage, c->garbage_cap * sizeof *c->garbage);
    }
    c->garbage[c->garbage_n++] = take_p;
}

void edit_drop(struct catalog *c, void *take_p)
{
    if (c->loading)
        free(take_p);
    else
        garbage_add(c, take_p);
}

/* --- Nodes and names ----------------------------------------------------- */

static bool node_is_tomb(const struct node_entry *e)
{
    return !e->pub.record && e->pub.services.n == 0 && e->pub.checks.n == 0;
}

static struct node_entry *
node_copy(struct catalog *c, const struct node_entry *old, struct bytes name)
{
    struct node_entry *e = xzalloc(sizeof *e + name.n);

    if (old)
        e->pub = old->pub;
    e->pub.edit = c->edit.id;
    e->name_n = name.n;
    memcpy(e->name, name.p, name.n);
    return e;
}

struct node_entry *edit_find_node(struct catalog *c, struct bytes name)
{
    struct node_entry *e =
        tree_get(&c->next.nodes, &node_tree, key_of_bytes(name));

    if (!e || e->pub.edit == c->edit.id)
        return e;
    e = node_copy(c, e, entry_name(e));
    edit_drop(c, edit_put(c, &c->next.nodes, &node_tree, e));
    return e;
}

static struct cat_name *name_copy(struct catalog *c, const struct cat_name *old,
                                  struct bytes name)
{
    struct cat_name *n = xzalloc(sizeof *n + name.n);

    if (old)
        *n = *old;
    n->edit = c->edit.id;
    n->name_len = name.n;
    memcpy(n->name, name.p, name.n);
    return n;
}

struct cat_name *edit_find_name(struct catalog *c, struct bytes name)
{
    struct cat_name *n =
        tree_get(&c->next.names, &name_tree, key_of_bytes(name));

    if (!n || n->edit == c->edit.id)
        return n;
    n = name_copy(c, n, name_text(n));
    edit_drop(c, edit_put(c, &c->next.names, &name_tree, n));
    return n;
}

/* --- Tombstones ---------------------------------------------------------- */

static struct bytes tomb_key(struct catalog *c, char kind, struct bytes name)
{
    buf_reset(&c->tomb_key);
    buf_putc(&c->tomb_key, kind);
    buf_put_fold(&c->tomb_key, name);
    require(!c->tomb_key.bad);
    return buf_bytes(&c->tomb_key);
}

static void tomb_add(struct catalog *c, char kind, struct bytes name)
{
    struct bytes key = tomb_key(c, kind, name);

    if (map_get(&c->tomb_of, key))
        return;
    struct tomb *t = xmalloc(sizeof *t + key.n);
    t->key_n = key.n;
    memcpy(t->key, key.p, key.n);
    list_add(&c->tombs, &t->link);
    bool memory = map_put(&c->tomb_of, bytes_of(t->key, t->key_n), t) == ERR_OK;
    require(memory);
}

static void tomb_del(struct catalog *c, struct tomb *t)
{
    if (!t)
        return;
    map_del(&c->tomb_of, bytes_of(t->key, t->key_n));
    list_del(&t->link);
    free(t);
}

static void tomb_revive(struct catalog *c, char kind, struct bytes name)
{
    tomb_del(c, map_get(&c->tomb_of, tomb_key(c, kind, name)));
}

struct node_entry *edit_need_node(struct catalog *c, struct bytes name)
{
    struct node_entry *e = edit_find_node(c, name);

    if (!e) {
        e = node_copy(c, NULL, name);
        (void)edit_put(c, &c->next.nodes, &node_tree, e);
    } else if (node_is_tomb(e)) {
        tomb_revive(c, 'n', name);
    }
    return e;
}

struct cat_name *edit_need_name(struct catalog *c, struct bytes name)
{
    struct cat_name *n = edit_find_name(c, name);

    if (!n) {
        n = name_copy(c, NULL, name);
        (void)edit_put(c, &c->next.names, &name_tree, n);
    } else if (n->instances.n == 0) {
        tomb_revive(c, 's', name);
        memcpy(n->name, name.p, name.n); /* in its case of now */
    }
    return n;
}

void edit_settle_node(struct catalog *c, const struct node_entry *e)
{
    if (node_is_tomb(e))
        tomb_add(c, 'n', entry_name(e));
}

void edit_settle_name(struct catalog *c, const struct cat_name *n)
{
    if (n->instances.n == 0)
        tomb_add(c, 's', name_text(n));
}

static uint64_t greatest(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t entomb_node(struct catalog *c, struct bytes name)
{
    struct node_entry *e =
        edit_del(c, &c->next.nodes, &node_tree, key_of_bytes(name));

    require(e && node_is_tomb(e));
    uint64_t index = greatest(e->pub.node_index, e->pub.checks_index);
    edit_drop(c, e);
    return index;
}

static uint64_t entomb_name(struct catalog *c, struct bytes name)
{
    struct cat_name *n =
        edit_del(c, &c->next.names, &name_tree, key_of_bytes(name));

    require(n && n->instances.n == 0);
    uint64_t index = greatest(n->service_index, n->health_index);
    index = greatest(index, n->checks_index);
    edit_drop(c, n);
    return index;
}

void edit_forget_name(struct catalog *c, struct bytes name)
{
    const struct cat_name *n = edit_find_name(c, name);

    if (!n || n->instances.n)
        return;
    tomb_revive(c, 's', name);
    (void)entomb_name(c, name);
}

void tombs_trim(struct catalog *c)
{
    size_t drop = 0;

    if (c->tomb_of.n > CATALOG_TOMBSTONES_MAX)
        drop = c->tomb_of.n - CATALOG_TOMBSTONES_MAX + TOMBS_DROPPED;
    for (; drop; drop--) {
        struct tomb *t = container_of(c->tombs.next, struct tomb, link);
        struct bytes name = bytes_of(t->key + 1, t->key_n - 1);
        uint64_t index =
            t->key[0] == 'n' ? entomb_node(c, name) : entomb_name(c, name);
        c->next.floor = greatest(c->next.floor, index);
        tomb_del(c, t);
    }
}

void tombs_clear(struct catalog *c)
{
    while (!list_empty(&c->tombs))
        tomb_del(c, container_of(c->tombs.next, struct tomb, link));
    map_fini(&c->tomb_of);
}

/* --- Lists of checks ----------------------------------------------------- */

/* Ordered by check ID; returns how many. */
static uint32_t checks_copy(const struct cat_record **to,
                            const struct cat_record *const *from, uint32_t n,
                            const struct cat_record *out,
                            const struct cat_record *in)
{
    uint32_t k = 0;

    for (uint32_t i = 0; i < n; i++) {
        if (from[i] == out)
            continue;
        if (in &&
            bytes_cmp_fold(cat_record_id(in), cat_record_id(from[i])) < 0) {
            to[k++] = in;
            in = NULL;
        }
        to[k++] = from[i];
    }
    if (in)
        to[k++] = in;
    return k;
}

struct cat_instance *instance_new(const struct cat_instance *old,
                                  const struct cat_record *service,
                                  const struct cat_record *out,
                                  const struct cat_record *in)
{
    uint32_t n = old ? old->check_count : 0;
    size_t room = (size_t)n - (out != NULL) + (in != NULL);
    struct cat_instance *i =
        xmalloc(sizeof *i + room * sizeof(struct cat_record *));

    i->service = service;
    i->let_in_s = old ? old->let_in_s : 0;
    i->check_count =
        checks_copy(i->checks, old ? old->checks : NULL, n, out, in);
    require(i->check_count == room);
    return i;
}

struct cat_node_checks *own_checks_new(const struct cat_node_checks *old,
                                       const struct cat_record *out,
                                       const struct cat_record *in)
{
    uint32_t n = old ? old->n : 0;
    size_t room = (size_t)n - (out != NULL) + (in != NULL);

    if (room == 0)
        return NULL;
    struct cat_node_checks *own =
        xmalloc(sizeof *own + room * sizeof(struct cat_record *));
    own->n = checks_copy(own->v, old ? old->v : NULL, n, out, in);
    require(own->n == room);
    return own;
}
