/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* ?near: the rows of a list by their nodes' distance from one node. Rows are
 * encoded in the usual order, with a note where each begins; then their texts
 * change places. Nodes whose place nobody knows come last; if that of the node
 * asked for is unknown, the order stays. */
#include "api/impl.h"

#include <math.h>
#include <stdlib.h>

struct near_row {
    size_t at; /* in the body: here, or after the comma that stands here */
    size_t number;
    double distance;
};

void near_param(struct api_call *c, const struct api_env *env)
{
    struct bytes near = http_param_value(c->request, "near");
    if (!c->route->near || near.n == 0)
        return;
    if (bytes_is(near, "_agent"))
        near = env->self->node_name;
    struct coordinate at;
    if (!coordinate_of(env, near, &at))
        return;
    c->near = near;
    c->near_known =
        snapshot_index(env->cat, (struct watch_key){WATCH_COORDINATES, {0}});
}

void near_row(struct api_call *c, const struct api_env *env, struct bytes node)
{
    if (c->near.n == 0)
        return;
    struct coordinate from, to;
    bool known =
        coordinate_of(env, c->near, &from) && coordinate_of(env, node, &to);
    struct near_row row = {
        .at = c->body.n,
        .number = c->near_rows.n / sizeof row,
        .distance = known ? coordinate_distance(&from, &to) : INFINITY,
    };
    buf_put_n(&c->near_rows, &row, sizeof row);
}

static int by_distance(const void *a, const void *b)
{
    const struct near_row *x = a, *y = b;
    if (x->distance != y->distance)
        return x->distance < y->distance ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

void near_sort(struct api_call *c)
{
    struct buf *rows = &c->near_rows, out;
    size_t n = rows->n / sizeof(struct near_row);
    if (n < 2 || c->too_long || c->body.bad || c->status != 200)
        return;
    struct near_row *v = (struct near_row *)(void *)rows->p;
    size_t *ends = malloc(n * sizeof *ends);
    buf_init(&out, c->body.max);
    if (ends) {
        for (size_t i = 0; i < n; i++)
            ends[i] = i + 1 < n ? v[i + 1].at : c->body.n - 1;
        qsort(v, n, sizeof *v, by_distance);
        buf_putc(&out, '[');
        for (size_t i = 0; i < n; i++) {
            size_t at = v[i].at + (c->body.p[v[i].at] == ',');
            if (i)
                buf_putc(&out, ',');
            buf_put_n(&out, c->body.p + at, ends[v[i].number] - at);
        }
        buf_putc(&out, ']');
    }
    bool failed = !ends || out.bad || rows->bad;
    free(ends);
    if (failed) {
        buf_fini(&out);
        api_error(c, 500, "out of memory for the answer");
        return;
    }
    buf_fini(&c->body);
    c->body = out;
}
