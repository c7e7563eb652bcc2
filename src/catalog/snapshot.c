/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Readers. Nothing here writes, or waits. */
#include "catalog/catalog.h"
#include "catalog/impl.h"

uint64_t snapshot_revision(const struct snapshot *s)
{
    return s->revision;
}

uint64_t snapshot_floor(const struct snapshot *s)
{
    return s->floor;
}

size_t snapshot_node_count(const struct snapshot *s)
{
    return s->node_count;
}

size_t snapshot_name_count(const struct snapshot *s)
{
    return s->name_count;
}

size_t snapshot_instance_count(const struct snapshot *s)
{
    return s->instance_count;
}

size_t snapshot_check_count(const struct snapshot *s)
{
    return s->check_count;
}

/* --- Indexes ------------------------------------------------------------- */

static const struct node_entry *entry_of(const struct snapshot *s,
                                         struct bytes name)
{
    return tree_get(&s->nodes, &node_tree, key_of_bytes(name));
}

static uint64_t node_index(const struct snapshot *s, struct watch_key k)
{
    const struct node_entry *e = entry_of(s, k.name);

    if (!e)
        return 0;
    return k.kind == WATCH_NODE ? e->pub.node_index : e->pub.checks_index;
}

static uint64_t name_index(const struct snapshot *s, struct watch_key k)
{
    const struct cat_name *n =
        tree_get(&s->names, &name_tree, key_of_bytes(k.name));

    if (!n)
        return 0;
    if (k.kind == WATCH_SERVICE)
        return n->service_index;
    return k.kind == WATCH_SERVICE_HEALTH ? n->health_index : n->checks_index;
}

static uint64_t newest(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

uint64_t snapshot_index(const struct snapshot *s, struct watch_key k)
{
    switch (k.kind) {
    case WATCH_NODES:
        return s->nodes_index;
    case WATCH_SERVICES:
        return s->services_index;
    case WATCH_NODES_SERVICES:
        return newest(s->nodes_index, s->services_index);
    case WATCH_CATALOG:
        return newest(newest(s->nodes_index, s->services_index),
                      newest(s->state_index[STATE_ANY], s->guards_index));
    case WATCH_NODE:
    case WATCH_NODE_CHECKS:
        return node_index(s, k);
    case WATCH_SERVICE:
    case WATCH_SERVICE_HEALTH:
    case WATCH_SERVICE_CHECKS:
        return name_index(s, k);
    case WATCH_STATE:
        return s->state_index[state_slot(k.name)];
    case WATCH_QUERIES:
        return s->queries_index;
    case WATCH_COORDINATES:
        return s->coordinates_index;
    case WATCH_NONE:
    case WATCH_LOCAL_SERVICE:
    case WATCH_LOCAL:
    case WATCH_EVENTS:
        return 0;
    }
    return 0;
}

uint64_t snapshot_text_index(const struct snapshot *s, struct watch_key k)
{
    uint64_t index = snapshot_index(s, k);

    if (k.kind != WATCH_SERVICE_HEALTH || index == 0)
        return index;
    k.kind = WATCH_SERVICE_CHECKS; /* moves with each text of its checks */
    uint64_t checks = name_index(s, k);
    index = index > checks ? index : checks;
    return index > s->own_text_index ? index : s->own_text_index;
}

/* --- Looking up ---------------------------------------------------------- */

const struct cat_node *snapshot_node(const struct snapshot *s,
                                     struct bytes name)
{
    const struct node_entry *e = entry_of(s, name);

    return e && e->pub.record ? &e->pub : NULL;
}

static const struct cat_node *node_of_record(const struct snapshot *s,
                                             const struct cat_record *r)
{
    return r ? snapshot_node(s, cat_record_id(r)) : NULL;
}

const struct cat_node *snapshot_node_by_id(const struct snapshot *s,
                                           struct bytes uuid)
{
    return node_of_record(s, tree_get(&s->ids, &id_tree, key_of_bytes(uuid)));
}

enum { UUID_BYTES = 36, ID_PREFIX_MIN_DIGITS = 2 };

/* The digits with dashes where a UUID has them; false: no such prefix. */
static bool uuid_prefix(struct bytes hex, char space[UUID_BYTES],
                        struct bytes *ret)
{
    size_t n = 0, digits = 0;

    for (size_t i = 0; i < hex.n; i++) {
        char c = hex.p[i];
        bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ||
                     (c >= 'A' && c <= 'F');
        bool dash_due = n == 8 || n == 13 || n == 18 || n == 23;
        if (!digit && !(c == '-' && dash_due))
            return false;
        if (digit && dash_due)
            space[n++] = '-';
        if (n == UUID_BYTES)
            return false;
        space[n++] = c;
        digits += digit;
    }
    *ret = bytes_of(space, n);
    return digits >= ID_PREFIX_MIN_DIGITS;
}

static bool id_starts(const struct cat_record *r, struct bytes prefix)
{
    return r && bytes_eq_fold(bytes_head(cat_node_id(r), prefix.n), prefix);
}

const struct cat_node *snapshot_node_by_id_prefix(const struct snapshot *s,
                                                  struct bytes hex)
{
    char space[UUID_BYTES];
    struct bytes prefix;
    struct tree_iter it;

    if (!uuid_prefix(hex, space, &prefix))
        return NULL;
    tree_seek(&s->ids, &id_tree, key_of_bytes(prefix), &it);
    const struct cat_record *r = tree_next(&it);
    if (!id_starts(r, prefix) || id_starts(tree_next(&it), prefix))
        return NULL;
    return node_of_record(s, r);
}

const struct cat_name *snapshot_name(const struct snapshot *s,
                                     struct bytes name)
{
    const struct cat_name *n =
        tree_get(&s->names, &name_tree, key_of_bytes(name));

    return n && n->instances.n ? n : NULL;
}

const struct cat_instance *cat_node_service(const struct cat_node *n,
                                            struct bytes service_id)
{
    return tree_get(&n->services, &service_tree, key_of_bytes(service_id));
}

const struct cat_record *cat_node_check(const struct cat_node *n,
                                        struct bytes check_id)
{
    return tree_get(&n->checks, &check_tree, key_of_bytes(check_id));
}

const struct cat_node *snapshot_node_of(const struct snapshot *s,
                                        const struct cat_instance *i)
{
    return snapshot_node(s, cat_record_node(i->service));
}

/* --- Walking ------------------------------------------------------------- */

void snapshot_nodes(const struct snapshot *s, struct tree_iter *it)
{
    tree_first(&s->nodes, it);
}

const struct cat_node *snapshot_next_node(struct tree_iter *it)
{
    const struct node_entry *e;

    while ((e = tree_next(it)))
        if (e->pub.record)
            return &e->pub;
    return NULL;
}

void snapshot_names(const struct snapshot *s, struct tree_iter *it)
{
    tree_first(&s->names, it);
}

const struct cat_name *snapshot_next_name(struct tree_iter *it)
{
    const struct cat_name *n;

    while ((n = tree_next(it)))
        if (n->instances.n)
            return n;
    return NULL;
}

/* --- Guards and marks ---------------------------------------------------- */

const struct cat_record *snapshot_guard(const struct snapshot *s,
                                        struct bytes name)
{
    return tree_get(&s->guards, &check_tree, key_of_bytes(name));
}

void snapshot_guards(const struct snapshot *s, struct tree_iter *it)
{
    tree_first(&s->guards, it);
}

const struct cat_record *snapshot_next_guard(struct tree_iter *it)
{
    return tree_next(it);
}

void snapshot_marked(const struct snapshot *s, struct tree_iter *it)
{
    tree_first(&s->marked, it);
}

const struct cat_record *snapshot_next_marked(struct tree_iter *it)
{
    return tree_next(it);
}

size_t snapshot_marked_count(const struct snapshot *s)
{
    return s->marked.n;
}

static void seek_after(const struct tree *t, const struct tree_type *type,
                       struct tree_key key, struct tree_iter *it)
{
    struct tree_key found;

    tree_seek(t, type, key, it);
    struct tree_iter next = *it;
    const void *item = tree_next(&next);
    if (!item)
        return;
    type->key_of(item, &found);
    if (bytes_eq_fold(found.a, key.a) && bytes_eq_fold(found.b, key.b))
        *it = next;
}

void snapshot_nodes_after(const struct snapshot *s, struct bytes name,
                          struct tree_iter *it)
{
    seek_after(&s->nodes, &node_tree, key_of_bytes(name), it);
}

void snapshot_names_after(const struct snapshot *s, struct bytes name,
                          struct tree_iter *it)
{
    seek_after(&s->names, &name_tree, key_of_bytes(name), it);
}

void cat_instances_after(const struct cat_name *n, struct bytes node,
                         struct bytes service_id, struct tree_iter *it)
{
    seek_after(&n->instances, &instance_tree,
               (struct tree_key){node, service_id}, it);
}

void cat_services_after(const struct cat_node *n, struct bytes service_id,
                        struct tree_iter *it)
{
    seek_after(&n->services, &service_tree, key_of_bytes(service_id), it);
}

void cat_checks_after(const struct cat_node *n, struct bytes check_id,
                      struct tree_iter *it)
{
    seek_after(&n->checks, &check_tree, key_of_bytes(check_id), it);
}

void cat_stored(const struct cat_record *r, struct cat_stored *ret)
{
    *ret = (struct cat_stored){cat_value(r), r->create_rev, r->mod_rev};
}

bool snapshot_is_whole(const struct snapshot *s, struct bytes name)
{
    const struct cat_name *n =
        tree_get(&s->names, &name_tree, key_of_bytes(name));

    return n && n->whole;
}
