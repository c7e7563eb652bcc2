/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* agent_others - whoever else writes to an agent world's catalog. */
#ifndef AGENT_OTHERS_H
#define AGENT_OTHERS_H

#include "agent_world.h"

struct world_foreign {
    struct store_change change;
    struct store_outcome outcome;
    struct arena arena;
    struct plan plan;
    _Atomic bool done;
};

static inline void world_foreign_done(struct store_change *c,
                                      const struct store_outcome *o)
{
    struct world_foreign *f = container_of(c, struct world_foreign, change);
    f->outcome = *o;
    atomic_store(&f->done, true);
}

static inline void world_commit_there(struct world *w, struct world_foreign *f)
{
    f->change = (struct store_change){.guards = f->plan.guards,
                                      .guard_count = f->plan.guard_count,
                                      .ops = f->plan.ops,
                                      .op_count = f->plan.op_count,
                                      .done = world_foreign_done};
    assert_ok(store_submit(w->store, &f->change, NULL));
    world_until(w, atomic_load(&f->done));
    assert_int_equal(f->outcome.verdict, STORE_COMMITTED);
    arena_fini(&f->arena);
}

static inline void world_register_there(struct world *w,
                                        const struct registration *r)
{
    struct world_foreign f = {0};
    arena_init(&f.arena, 0);
    plan_init(&f.plan, &f.arena);
    assert_ok(plan_register(&f.plan, catalog_current(w->catalog), r, NULL));
    world_commit_there(w, &f);
}

static inline void world_deregister_there(struct world *w, const char *service,
                                          const char *check)
{
    struct world_foreign f = {0};
    arena_init(&f.arena, 0);
    plan_init(&f.plan, &f.arena);
    assert_ok(plan_deregister(&f.plan, catalog_current(w->catalog),
                              w->options.me.node.name, bytes_str(service),
                              bytes_str(check), NULL));
    world_commit_there(w, &f);
}

#endif
