/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* alias - draws by weight in O(1): Walker's method as built by Vose (A linear
 * algorithm for generating random numbers with a given distribution, 1991).
 *
 * n columns of equal height hold two members each; one draw chooses the column,
 * another where in it. Internal. */
#ifndef LB_ALIAS_H
#define LB_ALIAS_H

#include "lb/draw.h"
#include "lb/policy.h"

struct alias_column {
    uint32_t below; /* draws below it are the column's own, of 2^32 */
    uint32_t other;
};

struct alias {
    uint32_t n;
    bool equal; /* all weights alike: no column is looked at */
    struct alias_column column[];
};

/* free() it. ERR_NOMEM. */
MUST_USE enum err alias_build(const struct lb_member *v, size_t n,
                              struct alias **ret);

/* Both halves of draw are used. */
static inline uint32_t alias_draw(const struct alias *a, uint64_t draw)
{
    uint32_t i = lb_below(draw, a->n);

    if (a->equal)
        return i;
    return (uint32_t)draw < a->column[i].below ? i : a->column[i].other;
}

/* Two members that differ, if there are two with a weight worth mentioning. */
static inline void alias_pair(const struct alias *a, uint64_t *state,
                              uint32_t ret[2])
{
    enum { TRIES = 8 };

    ret[0] = ret[1] = alias_draw(a, lb_draw(state));
    if (a->n < 2)
        return;
    if (a->equal) {
        ret[1] = lb_below(lb_draw(state), a->n - 1);
        ret[1] += ret[1] >= ret[0];
        return;
    }
    for (int i = 0; i < TRIES && ret[1] == ret[0]; i++)
        ret[1] = alias_draw(a, lb_draw(state));
    if (ret[1] == ret[0])
        ret[1] = ret[0] + 1 < a->n ? ret[0] + 1 : 0;
}

#endif
