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

/* wish.c: of a plan that collects wishes. */
struct guard_who;
enum err wish_register(struct plan *plan, const struct snapshot *s,
                       const struct registration *r, struct errtext *t);
enum err wish_deregister(struct plan *plan, const struct snapshot *s,
                         struct bytes node, struct bytes service_id,
                         struct bytes check_id, struct errtext *t);
enum err wish_reap(struct plan *plan, const struct snapshot *s,
                   const struct guard_who *who, enum guard_mode guard,
                   struct errtext *t);

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

/* What the plan so far does to the key; NULL: nothing. */
struct store_op *planner_op(const struct planner *p, struct bytes key);

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

/* Deletes an instance with its checks. */
void planner_delete_instance(struct planner *p, const struct cat_instance *i);

/* Deletes a node with all under it, guarded by its mod revision. */
void planner_delete_node(struct planner *p, const struct cat_record *node);

/* --- Checks and the guard (plan_check.c, plan_guard.c) -------------------- */

/* Whose check it is. */
struct checked {
    const struct cat_node *node;         /* NULL: new */
    const struct cat_instance *instance; /* NULL: of the node, or new */
    enum guard_mode guard;
    uint64_t wall_ms;
};

/* Writes the check where it differs from what is stored (r; NULL: nothing is);
 * v's marks are what is wished, and become what is stored. False: it does not
 * differ. */
bool planner_check(struct planner *p, struct check_view *v,
                   const struct cat_record *r, const struct checked *of);

enum guard_mode mode_of_instance(const struct cat_instance *i,
                                 enum guard_mode configured);

/* The instance, which is in the answers, wants to leave them by silence. True:
 * it may, and is counted; false: it is to be held. Either way nobody else can
 * count before this plan is committed. recall: it left them by what has turned
 * out to be silence, and comes back. */
bool planner_admit(struct planner *p, const struct cat_instance *i,
                   enum guard_mode mode, bool recall);

/* Is the instance a candidate (member.h), as the plan so far leaves it, but for
 * one check (empty: none)? If not, the plan leans on that: the check that keeps it
 * out must not change meanwhile. */
bool planner_answered(struct planner *p, const struct cat_node *node,
                      const struct cat_instance *i, struct bytes but_check);

/* Nothing was created under the node's checks since the snapshot. */
void planner_guard_checks_quiet(struct planner *p, struct bytes node);

#endif
