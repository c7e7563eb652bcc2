/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* plan_impl - a plan in the making; only plan*.c include it.
 *
 * The first error sticks: make the whole plan, then look once, in planner_end.
 */
#ifndef CATALOG_PLAN_IMPL_H
#define CATALOG_PLAN_IMPL_H

#include "catalog/impl.h"
#include "catalog/plan.h"

struct planner {
    struct plan *plan;
    const struct snapshot *s;
    struct errtext *t;
    enum err e;
    bool wrote;           /* an operation was added or replaced */
    size_t guards_before; /* what earlier calls on the same plan left */
    size_t ops_before;
    struct buf key, value;
};

void planner_begin(struct planner *p, struct plan *plan,
                   const struct snapshot *s, struct errtext *t);

/* After an error the plan is as it was before; without any operation the guards
 * go too. */
MUST_USE enum err planner_end(struct planner *p);

void planner_fail(struct planner *p, enum err e, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* In the plan's arena. id is for services and checks; empty: the prefix. */
struct bytes planner_key(struct planner *p, enum record_kind kind,
                         struct bytes node, struct bytes id);

/* Equal guards are kept once, and of several operations on a key the last. */
void planner_guard(struct planner *p, enum store_guard_kind kind,
                   struct bytes key, uint64_t rev);
void planner_put(struct planner *p, struct bytes key, struct bytes value);
void planner_delete(struct planner *p, enum store_op_kind kind,
                    struct bytes key);

bool planner_writes(const struct planner *p, struct bytes key);

/* The key's mod revision is that of r; NULL: the key does not exist. */
void planner_guard_mod(struct planner *p, struct bytes key,
                       const struct cat_record *r);

/* p->value is what r holds? (NULL: no) */
bool planner_is_same(const struct planner *p, const struct cat_record *r);

/* Guards r's mod revision and puts p->value. */
void planner_write(struct planner *p, struct bytes key,
                   const struct cat_record *r);

/* Deletes a check whose mod revision is guarded by the caller or need not be.
 */
void planner_delete_check(struct planner *p, const struct cat_record *check);

/* Deletes a node with all under it, guarded by its mod revision. */
void planner_delete_node(struct planner *p, const struct cat_record *node);

/* Nothing was created under the node's checks since the snapshot. */
void planner_guard_checks_quiet(struct planner *p, struct bytes node);

#endif
