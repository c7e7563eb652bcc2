/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Round robin and random: the policies that do not look at weights. */
#include <stdlib.h>

#include "lb/draw.h"
#include "lb/policy.h"

struct rotation {
    _Atomic uint64_t turn;
};

/* Where the old list was about to go: the first member of the new one that does
 * not sort before it. So a member that left is not replaced by a second turn of
 * its neighbour, and nobody is passed over. */
static uint64_t go_on(const struct lb_list *l)
{
    const struct rotation *old = l->old;
    const struct lb_list *was = l->old_list;
    uint64_t turn = atomic_load_explicit(&old->turn, memory_order_relaxed);
    const struct lb_host *due = was->v[turn % was->n].host;

    for (size_t i = 0; i < l->n; i++)
        if (lb_host_cmp(l->v[i].host, due) >= 0)
            return i;
    return 0;
}

static enum err rotation_build(const struct lb_list *l, void **ret_table)
{
    struct rotation *r = malloc(sizeof *r);

    if (!r)
        return ERR_NOMEM;
    atomic_init(&r->turn,
                l->old ? go_on(l) : lb_below(lb_mix(l->seed), (uint32_t)l->n));
    *ret_table = r;
    return ERR_OK;
}

/* Also instead of one that is refused: its turns then pass to all the others in
 * the order, and not all of them to the one behind it. */
static uint32_t rotation_first(const void *table, struct lb_walk *w)
{
    /* The table is shared by all who pick; its turn is the one thing in it that
     * moves. */
    struct rotation *r = (struct rotation *)(uintptr_t)table;

    w->at = (uint32_t)(atomic_fetch_add_explicit(&r->turn, 1,
                                                 memory_order_relaxed) %
                       w->n);
    return w->at;
}

static enum err nothing_build(const struct lb_list *l, void **ret_table)
{
    (void)l;
    *ret_table = NULL;
    return ERR_OK;
}

static uint32_t random_first(const void *table, struct lb_walk *w)
{
    (void)table;
    return lb_below(lb_draw(&w->draw), w->n);
}

const struct lb_policy lb_round_robin = {
    .name = "round-robin",
    .build = rotation_build,
    .first = rotation_first,
    .next = rotation_first,
};

const struct lb_policy lb_random = {
    .name = "random",
    .build = nothing_build,
    .first = random_first,
    .next = random_first,
};
