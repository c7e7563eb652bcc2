/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "catalog/dump.h"

#include "catalog/impl.h"

struct dump {
    struct buf key, value;
    catalog_dump_fn *each;
    void *ctx;
    bool bad; /* a row could not be made */
};

static void tell(struct dump *d, struct bytes value)
{
    d->bad |= d->key.bad || d->value.bad;
    if (!d->bad)
        d->each(d->ctx, buf_bytes(&d->key), value);
    buf_reset(&d->key);
    buf_reset(&d->value);
}

static void dump_node(struct dump *d, const struct cat_node *n)
{
    struct bytes name = cat_record_id(n->record);
    struct bytes id = cat_node_id(n->record);
    struct tree_iter it;

    key_node(&d->key, name);
    tell(d, cat_value(n->record));
    if (id.n) {
        key_node_id(&d->key, id);
        buf_put_fold(&d->value, name);
        tell(d, buf_bytes(&d->value));
    }
    tree_first(&n->services, &it);
    for (const struct cat_instance *i; (i = tree_next(&it));) {
        key_service(&d->key, name, cat_record_id(i->service));
        tell(d, cat_value(i->service));
    }
    tree_first(&n->checks, &it);
    for (const struct cat_record *r; (r = tree_next(&it));) {
        key_check(&d->key, name, cat_record_id(r));
        tell(d, cat_value(r));
    }
}

/* A name is a key of its own where a query is found by it: query_names. */
static void dump_query(struct dump *d, const struct snapshot *s,
                       const struct cat_record *r)
{
    struct bytes name = cat_query_name(r);

    key_query(&d->key, cat_record_id(r));
    tell(d, cat_value(r));
    if (snapshot_query_named(s, name) != r)
        return;
    key_query_name(&d->key, name);
    tell(d, cat_record_id(r));
}

bool catalog_dump(const struct snapshot *s, catalog_dump_fn *each, void *ctx)
{
    struct dump d = {.each = each, .ctx = ctx};
    const struct cat_record *r;
    const struct cat_node *n;
    struct tree_iter it;

    buf_init(&d.key, 0);
    buf_init(&d.value, 0);
    snapshot_nodes(s, &it);
    while ((n = snapshot_next_node(&it)))
        dump_node(&d, n);
    snapshot_guards(s, &it);
    while ((r = snapshot_next_guard(&it))) {
        key_guard(&d.key, cat_record_id(r));
        tell(&d, cat_value(r));
    }
    snapshot_queries(s, &it);
    while ((r = snapshot_next_aside(&it)))
        dump_query(&d, s, r);
    snapshot_coordinates(s, &it);
    while ((r = snapshot_next_aside(&it))) {
        key_coordinate(&d.key, cat_record_id(r));
        tell(&d, cat_value(r));
    }
    buf_fini(&d.key);
    buf_fini(&d.value);
    return !d.bad;
}
