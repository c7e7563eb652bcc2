/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "query/query.h"

/* --- Wishes -------------------------------------------------------------- */

/* Each tag must be there, in any case; "!tag" must not. */
static bool tags_are_as_wished(struct packed wished, struct packed tags)
{
    struct bytes rest = wished.data, tag;

    while (packed_next(&rest, &tag)) {
        bool without = tag.n && tag.p[0] == '!';
        if (packed_has_fold(tags, bytes_skip(tag, without)) == without)
            return false;
    }
    return true;
}

static bool meta_is_as_wished(struct packed wished, struct packed meta)
{
    struct bytes rest = wished.data, key, value;

    while (packed_next_pair(&rest, &key, &value)) {
        struct bytes have = packed_find(meta, key);
        if (!have.p || !bytes_eq(have, value))
            return false;
    }
    return true;
}

static bool is_wished(const struct query_view *q, const struct cat_node *n,
                      const struct cat_instance *i)
{
    struct service_view v;
    struct node_view nv;

    cat_service_view(i->service, &v);
    if (!tags_are_as_wished(q->list[QUERY_TAGS], v.tags) ||
        !meta_is_as_wished(q->list[QUERY_SERVICE_META], v.meta))
        return false;
    if (q->list[QUERY_NODE_META].n == 0)
        return true;
    cat_node_view(n->record, &nv);
    return meta_is_as_wished(q->list[QUERY_NODE_META], nv.meta);
}

/* --- Instances ----------------------------------------------------------- */

bool query_filter_has(const struct query_filter *f,
                      const struct cat_instance *i, struct query_pick *ret)
{
    const struct cat_node *n = snapshot_node_of(f->s, i);

    *ret = (struct query_pick){.node = n, .instance = i};
    if (!n)
        return false;
    ret->standing = member_standing(&f->members, n, i,
                                    f->q->list[QUERY_IGNORED], &ret->held);
    if (ret->standing == STANDS_OUT ||
        (f->q->only_passing && ret->standing != STANDS_PASSING) ||
        (ret->held && f->without_held))
        return false;
    return is_wished(f->q, n, i);
}

/* Is anybody in who is not held? */
static bool some_stand_alone(struct query_filter *f)
{
    struct query_pick pick;
    struct tree_iter it;

    tree_first(&f->name->instances, &it);
    for (const struct cat_instance *i; (i = tree_next(&it));) {
        f->walked++;
        if (query_filter_has(f, i, &pick) && !pick.held)
            return true;
    }
    return false;
}

bool query_filter_begin(struct query_filter *f, const struct snapshot *s,
                        const struct query_view *q)
{
    *f = (struct query_filter){
        .s = s, .q = q, .name = snapshot_name(s, q->text[QUERY_SERVICE])};
    if (!f->name)
        return false;
    membership_begin(&f->members, s, f->name);
    if (snapshot_marked_count(s))
        f->without_held = some_stand_alone(f);
    return true;
}
