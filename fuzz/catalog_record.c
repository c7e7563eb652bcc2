/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Stored bytes. The first byte of the input says what the rest is: a node,
 * service, check, guard, query or coordinate value, or a key. What is accepted has exactly one form:
 * written again from what was read it gives the same bytes, also through a
 * catalog. */
#include <stdlib.h>

#include "base/check.h"
#include "catalog/catalog.h"

static void same(const struct buf *again, struct bytes value)
{
    require(!again->bad);
    require(bytes_eq(buf_bytes(again), value));
}

/* A catalog that holds this row alone. Names too long for a record are refused
 * there. */
static void through_catalog(struct bytes key, struct bytes value,
                            const char *node)
{
    struct pin_domain pins;
    struct buf again = {0};
    const struct cat_node *n;
    struct node_view nv;
    struct service_view sv;
    struct check_view cv;
    struct guard_view gv;
    struct query_view qv;
    struct coordinate_view xv;
    struct tree_iter it;

    pin_init(&pins);
    struct catalog *c = catalog_new(&pins);
    struct buf host = {0};
    record_put_node(&host, &(struct node_view){.name = bytes_str("n")});
    if (node)
        require(catalog_put(c, bytes_str("n/n"), buf_bytes(&host), 1, 1,
                            NULL) == ERR_OK);
    enum err e = catalog_put(c, key, value, 2, 3, NULL);
    catalog_commit(c, 3);
    snapshot_nodes(catalog_current(c), &it);
    n = snapshot_next_node(&it);
    if (e == ERR_OK && key.p[0] == 'g') {
        snapshot_guards(catalog_current(c), &it);
        cat_guard_view(snapshot_next_guard(&it), &gv);
        record_put_guard(&again, &gv);
    } else if (e == ERR_OK && key.p[0] == 'q') {
        snapshot_queries(catalog_current(c), &it);
        cat_query_view(snapshot_next_aside(&it), &qv);
        record_put_query(&again, &qv);
    } else if (e == ERR_OK && key.p[0] == 'x') {
        snapshot_coordinates(catalog_current(c), &it);
        cat_coordinate_view(snapshot_next_aside(&it), &xv);
        record_put_coordinate(&again, &xv);
    } else if (e == ERR_OK && !node) {
        cat_node_view(n->record, &nv);
        record_put_node(&again, &nv);
    } else if (e == ERR_OK && n->services.n) {
        tree_first(&n->services, &it);
        const struct cat_instance *i = tree_next(&it);
        cat_service_view(i->service, &sv);
        record_put_service(&again, &sv);
        require(snapshot_name(catalog_current(c), sv.name));
    } else if (e == ERR_OK) {
        tree_first(&n->checks, &it);
        cat_check_view(tree_next(&it), &cv);
        record_put_check(&again, &cv);
    }
    if (e == ERR_OK)
        same(&again, value);
    buf_fini(&again);
    buf_fini(&host);
    catalog_free(c);
    pin_fini(&pins);
}

static void walk(struct packed p, bool map)
{
    struct bytes rest = p.data, item, value;
    uint32_t n = 0;

    while (map ? packed_next_pair(&rest, &item, &value)
               : packed_next(&rest, &item))
        n++;
    require(n == p.n && rest.n == 0);
}

static void try_node(struct bytes value, struct buf *again, struct buf *key)
{
    struct node_view v;

    if (record_get_node(value, &v) != ERR_OK)
        return;
    record_put_node(again, &v);
    same(again, value);
    walk(v.tagged, true);
    walk(v.meta, true);
    key_node(key, v.name);
    through_catalog(buf_bytes(key), value, NULL);
}

static void try_service(struct bytes value, struct buf *again, struct buf *key)
{
    struct service_view v;

    if (record_get_service(value, &v) != ERR_OK)
        return;
    record_put_service(again, &v);
    same(again, value);
    walk(v.tags, false);
    walk(v.tagged, true);
    walk(v.meta, true);
    key_service(key, bytes_str("n"), v.id);
    through_catalog(buf_bytes(key), value, "n");
}

static void try_check(struct bytes value, struct buf *again, struct buf *key)
{
    struct check_view v;

    if (record_get_check(value, &v) != ERR_OK)
        return;
    record_put_check(again, &v);
    same(again, value);
    key_check(key, bytes_str("n"), v.id);
    through_catalog(buf_bytes(key), value, "n");
}

static void try_guard(struct bytes value, struct buf *again, struct buf *key)
{
    struct guard_view v;

    if (record_get_guard(value, &v) != ERR_OK)
        return;
    record_put_guard(again, &v);
    same(again, value);
    walk(v.out, true);
    key_guard(key, v.name);
    through_catalog(buf_bytes(key), value, "n");
}

static void try_query(struct bytes value, struct buf *again, struct buf *key)
{
    struct query_view v;

    if (record_get_query(value, &v) != ERR_OK)
        return;
    record_put_query(again, &v);
    same(again, value);
    for (int i = 0; i < QUERY_LISTS; i++)
        walk(v.list[i], query_list_is_map((enum query_list)i));
    key_query(key, v.id);
    through_catalog(buf_bytes(key), value, "n");
}

static void try_coordinate(struct bytes value, struct buf *again,
                           struct buf *key)
{
    struct coordinate_view v;

    if (record_get_coordinate(value, &v) != ERR_OK)
        return;
    record_put_coordinate(again, &v);
    same(again, value);
    key_coordinate(key, v.node);
    through_catalog(buf_bytes(key), value, "n");
}

static void try_key(struct bytes key, struct buf *again)
{
    char *scratch = malloc(key.n + 1);
    enum record_kind kind;
    struct bytes a, b;

    require(scratch);
    if (key_parse(key, scratch, &kind, &a, &b) == ERR_OK) {
        switch (kind) {
        case RECORD_NODE:
            key_node(again, a);
            break;
        case RECORD_SERVICE:
            key_service(again, a, b);
            break;
        case RECORD_CHECK:
            key_check(again, a, b);
            break;
        case RECORD_NODE_ID:
            key_node_id(again, a);
            break;
        case RECORD_GUARD:
            key_guard(again, a);
            break;
        case RECORD_QUERY:
            key_query(again, a);
            break;
        case RECORD_QUERY_NAME:
            key_query_name(again, a);
            break;
        case RECORD_COORDINATE:
            key_coordinate(again, a);
            break;
        }
        same(again, key);
    }
    free(scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct buf again = {0}, key = {0};

    if (n == 0)
        return 0;
    struct bytes rest = bytes_of(data + 1, n - 1);
    if (data[0] == 'g' || data[0] == 'q' || data[0] == 'x') {
        if (data[0] == 'g')
            try_guard(rest, &again, &key);
        else if (data[0] == 'q')
            try_query(rest, &again, &key);
        else
            try_coordinate(rest, &again, &key);
        buf_fini(&again);
        buf_fini(&key);
        return 0;
    }
    switch (data[0] % 4) {
    case 0:
        try_node(rest, &again, &key);
        break;
    case 1:
        try_service(rest, &again, &key);
        break;
    case 2:
        try_check(rest, &again, &key);
        break;
    default:
        try_key(rest, &again);
        break;
    }
    buf_fini(&again);
    buf_fini(&key);
    return 0;
}
