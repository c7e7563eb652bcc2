/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* What stands beside nodes and services: prepared queries, coordinates. Each
 * record is alone: nothing is derived from it but its place in a tree, and of a
 * query that in the tree of names. */
#include <stdlib.h>

#include "base/check.h"
#include "catalog/impl.h"

static void query_name_key(const void *item, struct tree_key *ret)
{
    *ret = key_of_bytes(cat_query_name(item));
}

const struct tree_type query_name_tree = {query_name_key, true};

static struct tree *tree_of(struct snapshot *s, enum record_kind kind)
{
    return kind == RECORD_QUERY ? &s->queries : &s->coordinates;
}

bool aside_is(enum record_kind kind)
{
    return kind == RECORD_QUERY || kind == RECORD_COORDINATE;
}

/* Without a name, and no template: found by its ID alone. */
static bool has_name(const struct cat_record *query)
{
    return cat_query_name(query).n || cat_query_is_template(query);
}

/* Only its own entry: rows of one version come in any order. */
static void forget_name(struct catalog *c, const struct cat_record *r)
{
    struct tree_key key = key_of_bytes(cat_query_name(r));

    if (tree_get(&c->next.query_names, &query_name_tree, key) == r)
        (void)edit_del(c, &c->next.query_names, &query_name_tree, key);
}

static void know_name(struct catalog *c, const struct cat_record *r)
{
    if (has_name(r))
        (void)edit_put(c, &c->next.query_names, &query_name_tree, (void *)r);
}

void aside_build(struct catalog *c)
{
    struct tree_iter it;

    tree_first(&c->next.queries, &it);
    for (const struct cat_record *r; (r = tree_next(&it));)
        know_name(c, r);
}

void aside_put(struct catalog *c, enum record_kind kind,
               struct cat_record *take)
{
    struct cat_record *old =
        edit_put(c, tree_of(&c->next, kind), &check_tree, take);

    if (c->loading) { /* names are built at its end */
        free(old);
        return;
    }
    if (kind == RECORD_QUERY) {
        if (old)
            forget_name(c, old);
        know_name(c, take);
    }
    touch_aside(c, kind, take->mod_rev);
    edit_drop(c, old);
}

void aside_delete(struct catalog *c, enum record_kind kind, struct bytes id,
                  uint64_t rev)
{
    struct cat_record *old =
        edit_del(c, tree_of(&c->next, kind), &check_tree, key_of_bytes(id));

    if (!old)
        return;
    if (c->loading) {
        free(old);
        return;
    }
    if (kind == RECORD_QUERY)
        forget_name(c, old);
    touch_aside(c, kind, rev);
    edit_drop(c, old);
}

/* --- Readers ------------------------------------------------------------- */

const struct cat_record *snapshot_query(const struct snapshot *s,
                                        struct bytes id)
{
    return tree_get(&s->queries, &check_tree, key_of_bytes(id));
}

const struct cat_record *snapshot_query_named(const struct snapshot *s,
                                              struct bytes name)
{
    return tree_get(&s->query_names, &query_name_tree, key_of_bytes(name));
}

const struct cat_record *snapshot_query_template(const struct snapshot *s,
                                                 struct bytes name)
{
    for (size_t n = name.n + 1; n-- > 0;) {
        const struct cat_record *r =
            snapshot_query_named(s, bytes_head(name, n));
        if (r && cat_query_is_template(r))
            return r;
    }
    return NULL;
}

void snapshot_queries(const struct snapshot *s, struct tree_iter *it)
{
    tree_first(&s->queries, it);
}

size_t snapshot_query_count(const struct snapshot *s)
{
    return s->queries.n;
}

const struct cat_record *snapshot_coordinate(const struct snapshot *s,
                                             struct bytes node)
{
    return tree_get(&s->coordinates, &check_tree, key_of_bytes(node));
}

void snapshot_coordinates(const struct snapshot *s, struct tree_iter *it)
{
    tree_first(&s->coordinates, it);
}

const struct cat_record *snapshot_next_aside(struct tree_iter *it)
{
    return tree_next(it);
}
