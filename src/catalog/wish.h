/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* wish - what somebody wants the catalog to say, as bytes, for another to plan.
 *
 * A plan (plan.h) is made from a whole catalog: how many of a service may leave it
 * by silence hangs on all its instances. An agent that holds only its own node
 * (src/mirror) cannot make one; it knows what it wants, though, and whether its
 * node is so already. A plan that is begun with wishes_begin collects that: each
 * call of plan_register, plan_deregister and plan_reap that would write something
 * becomes one operation whose value is the wish, under a key of no meaning. Who
 * has the whole catalog takes the wishes and makes the plan (wish_plan).
 *
 * Bytes from outside are looked at as a record from a file is. */
#ifndef CATALOG_WISH_H
#define CATALOG_WISH_H

#include "catalog/plan_guard.h"

enum {
    WISH_CHECKS_MAX = 512, /* in one registration */
};

/* The plan collects wishes. */
void wishes_begin(struct plan *p, struct arena *a);

/* Adds what the wish means to a plan. All of it must be about this node: ERR_BAD
 * if it is not, or if these bytes are no wish. *ret_wait as of plan_reap. Errors
 * are those of the plans. */
MUST_USE enum err wish_plan(struct plan *p, const struct snapshot *s,
                            struct bytes wish, struct bytes node,
                            bool *ret_wait, struct errtext *t);

#endif
