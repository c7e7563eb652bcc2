/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "lb/alias.h"

#include <stdlib.h>

struct columns {
    double *height; /* of n; the mean is 1 */
    uint32_t *todo; /* low ones from the front, high ones from the back */
    size_t low, high;
};

static void sort_out(struct columns *c, const struct lb_member *v, size_t n,
                     double sum)
{
    c->low = 0;
    c->high = n;
    for (size_t i = 0; i < n; i++) {
        c->height[i] = (double)v[i].weight * (double)n / sum;
        c->todo[c->height[i] < 1 ? c->low++ : --c->high] = (uint32_t)i;
    }
}

/* What is missing in a low column comes from a high one. Whoever is left over
 * at the end is 1 but for rounding. */
static void fill(struct columns *c, size_t n, struct alias_column *column)
{
    size_t low = 0, end = c->low, high = c->high;

    for (size_t i = 0; i < n; i++)
        column[i] = (struct alias_column){UINT32_MAX, (uint32_t)i};
    while (low < end && high < n) {
        uint32_t l = c->todo[low++], h = c->todo[high];
        column[l].below = (uint32_t)(c->height[l] * 0x1p32);
        column[l].other = h;
        c->height[h] -= 1 - c->height[l];
        if (c->height[h] < 1) {
            /* It is low now: take its place in the queue. There is room, as low
             * has left at least one entry behind. */
            high++;
            c->todo[--low] = h;
        }
    }
}

enum err alias_build(const struct lb_member *v, size_t n, struct alias **ret)
{
    struct alias *a = malloc(sizeof *a + n * sizeof a->column[0]);
    struct columns c = {malloc(n * sizeof *c.height),
                        malloc(n * sizeof *c.todo), 0, 0};
    enum err e = a && c.height && c.todo ? ERR_OK : ERR_NOMEM;
    double sum = 0;

    if (e == ERR_OK) {
        a->n = (uint32_t)n;
        a->equal = true;
        for (size_t i = 0; i < n; i++) {
            sum += v[i].weight;
            a->equal = a->equal && v[i].weight == v[0].weight;
        }
        sort_out(&c, v, n, sum);
        fill(&c, n, a->column);
        *ret = a;
        a = NULL;
    }
    free(c.height);
    free(c.todo);
    free(a);
    return e;
}

static enum err weighted_build(const struct lb_list *l, void **ret_table)
{
    struct alias *a = NULL;
    enum err e = alias_build(l->v, l->n, &a);

    *ret_table = a;
    return e;
}

static uint32_t weighted_first(const void *table, struct lb_walk *w)
{
    return alias_draw(table, lb_draw(&w->draw));
}

const struct lb_policy lb_weighted_random = {
    .name = "weighted-random",
    .weighted = true,
    .build = weighted_build,
    .first = weighted_first,
    .next = weighted_first,
};
