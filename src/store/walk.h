/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* walk - the state as of a past revision, in steps of about a millisecond, over
 * a log of single.h whose index and newest rows change between the steps.
 *
 *   1. Of each key that is live now: its row, if it is not newer than `at`.
 *   2. Of each revision above `at`: the rows that it superseded, if those are
 *      not newer than `at`.
 *   3. The rows found, in order of their ids, each once.
 *
 * A key that is written to meanwhile has been passed in 1 before, or turns up
 * in 2, which goes as far as the log did at the end of 1; or both. Ids are
 * sorted in runs of one step each, which 3 merges, so that no step sorts all.
 *
 * Compaction above `at` takes rows away: the caller looks before each step. */
#ifndef STORE_WALK_H
#define STORE_WALK_H

#include "store/index.h"
#include "store/single.h"

enum {
    WALK_STEP_KEYS = 4096, /* looked at by one step of 1 or 2 */
    WALK_STEP_ROWS = 512,  /* read by one step of 3 */
};

/* ERR_AGAIN: there is more to do. w->state is made by the first step. */
MUST_USE enum err walk_step(struct backend_walk *w,
                            const struct single_log *ops, void *log,
                            const struct index *x, uint64_t newest);
void walk_free(struct backend_walk *w); /* also without state */

#endif
