/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Why this is safe. S is the single order of all seq_cst operations.
 *
 *   writer                               reader
 *   P  pointer = new data     seq_cst    R1  set = which
 *   C  look: counter is 0     seq_cst    R2  counter += 1      seq_cst
 *   F  free the old data                 R3  read pointer      seq_cst
 *                                        R4  counter -= 1      release
 *
 * A reader that holds the old data has R3 before P in S, hence R2 before P
 * before C. C reads 0 only if R4 came before it, too, and then the reader has
 * let go. A reader whose R2 comes after C reads what P wrote or newer. Which of
 * the two sets it counts in does not matter, as long as each counter of both is
 * looked at after P; that R1 may be old only costs time. */
#include "lb/grace.h"

#include <stdbool.h>
#include <stddef.h>

#define ALL_SEEN UINT32_MAX

static void free_all(struct lb_junk *j)
{
    while (j) {
        struct lb_junk *next = j->next;
        j->free(j);
        j = next;
    }
}

void lb_grace_fini(struct lb_grace *g)
{
    free_all(g->waiting);
    free_all(g->fresh);
    g->waiting = g->fresh = NULL;
}

void lb_grace_retire(struct lb_grace *g, struct lb_junk *take_j)
{
    take_j->next = g->fresh;
    g->fresh = take_j;
}

static void look(struct lb_grace *g)
{
    for (uint32_t i = 0; i < LB_GRACE_STRIPES; i++)
        for (uint32_t set = 0; set < 2; set++)
            if (atomic_load(&g->stripe[i].readers[set]) == 0)
                g->seen[set] |= 1u << i;
}

/* One round for what waits; true if it could be freed. */
static bool sweep_waiting(struct lb_grace *g)
{
    look(g);
    if (g->seen[0] != ALL_SEEN) {
        atomic_store(&g->set, 1);
        return false;
    }
    if (g->seen[1] != ALL_SEEN) {
        atomic_store(&g->set, 0);
        return false;
    }
    free_all(g->waiting);
    g->waiting = NULL;
    return true;
}

void lb_grace_sweep(struct lb_grace *g)
{
    while (g->waiting || g->fresh) {
        if (!g->waiting) {
            g->waiting = g->fresh;
            g->fresh = NULL;
            g->seen[0] = g->seen[1] = 0;
        }
        if (!sweep_waiting(g))
            return;
    }
}
