/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* stage - what a group would write, worked out against the index before it is
 * written: the rules of a commit, shared by the SQLite and the memory backend.
 *
 *     stage_group   guards -> held or not, operations -> events
 *     (the backend makes the events durable and sets slots[].row)
 *     stage_apply   index := after the group
 *     stage_reset   either way; gives back what the group replaced
 *
 * Keys and values of events are views into the group, or into entries that live
 * until stage_reset. */
#ifndef STORE_STAGE_H
#define STORE_STAGE_H

#include "store/backend.h"
#include "store/index.h"

struct stage_slot {
    struct index_entry
        *old;     /* the key's entry before; NULL: it was not there */
    uint64_t row; /* set by the backend before stage_apply */
};

struct stage {
    struct store_event *events;
    struct stage_slot *slots; /* one for each event */
    size_t n, cap;
    bool applied;
};

void stage_fini(struct stage *s);

/* False: a guard of the group itself does not hold (BARRED). Otherwise every
 * change's held is set, and events hold what is to be written at revision. */
bool stage_group(struct stage *s, const struct index *x,
                 struct backend_group *g, uint64_t revision);

/* One put or delete outside a group. */
void stage_put(struct stage *s, const struct index *x, struct bytes key,
               struct bytes value, uint64_t revision);
void stage_delete(struct stage *s, const struct index *x, struct bytes key,
                  uint64_t revision);

void stage_apply(struct stage *s, struct index *x);
void stage_reset(struct stage *s);

#endif
