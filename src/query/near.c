/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>

#include "query/query.h"

/* R. Durstenfeld, 1964. */
void query_shuffle(struct query_pick *v, size_t n, size_t want, uint64_t seed)
{
    for (size_t i = 0; i < want && i + 1 < n; i++) {
        uint64_t left = n - i;
        size_t k = i + (size_t)((query_random(&seed) >> 32) * left >> 32);
        struct query_pick was = v[i];
        v[i] = v[k];
        v[k] = was;
    }
}

struct bytes query_near_node(const struct snapshot *s, struct bytes near,
                             struct bytes own, struct bytes client)
{
    struct bytes node;
    bool service;

    if (bytes_is(near, "_agent"))
        return own;
    if (!bytes_is(near, "_ip"))
        return near;
    if (client.n && snapshot_address(s, client, &node, &service) && !service)
        return node;
    return (struct bytes){NULL, 0};
}

bool query_place(const struct snapshot *s, struct bytes node, struct bytes own,
                 struct coordinate *ret)
{
    const struct cat_record *r = snapshot_coordinate(s, node);
    struct coordinate_view v;

    *ret = coordinate_origin();
    if (!r)
        return bytes_eq_fold(node, own);
    cat_coordinate_view(r, &v);
    *ret = v.at;
    return true;
}

static int by_distance(const void *a, const void *b)
{
    const struct query_pick *x = a, *y = b;

    if (x->distance != y->distance)
        return x->distance < y->distance ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

void query_near(const struct snapshot *s, struct bytes node, struct bytes own,
                struct query_pick *v, size_t n)
{
    struct coordinate from, to;
    bool known = query_place(s, node, own, &from);

    for (size_t i = 0; i < n; i++) {
        struct node_view nv;
        cat_node_view(v[i].node->record, &nv);
        v[i].number = i;
        v[i].distance = INFINITY;
        if (bytes_eq_fold(nv.name, node))
            v[i].distance = -1;
        else if (known && query_place(s, nv.name, own, &to))
            v[i].distance = coordinate_distance(&from, &to);
    }
    if (n > 1)
        qsort(v, n, sizeof *v, by_distance);
}
