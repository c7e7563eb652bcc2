/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* catalog_guard - a toy store with one service, and who is in its answers. */
#ifndef CATALOG_GUARD_DESK_H
#define CATALOG_GUARD_DESK_H

#include <stdio.h>

#include "catalog/guard.h"
#include "catalog/member.h"
#include "catalog/plan_guard.h"
#include "catalog_plans.h"

enum { WALL_MS = 1000 };

/* --- A desk with one service, web, on nodes n0, n1, ... ------------------- */

struct desk {
    struct world *w;
    struct arena arena;
    struct plan p;
    struct errtext t;
    enum guard_mode guard;
    const char *meta; /* muster-guard of what is registered; NULL: none */
    uint64_t wall_ms;
};

static inline int set_up(void **state)
{
    struct desk *d = xzalloc(sizeof *d);

    d->w = world_new();
    d->wall_ms = WALL_MS;
    arena_init(&d->arena, 0);
    plan_init(&d->p, &d->arena);
    *state = d;
    return 0;
}

static inline int tear_down(void **state)
{
    struct desk *d = *state;

    world_free(d->w);
    arena_fini(&d->arena);
    free(d);
    return 0;
}

static inline const struct snapshot *now(const struct desk *d)
{
    return catalog_current(d->w->catalog);
}

static inline const char *node_name(size_t n)
{
    static char names[64][8];

    (void)snprintf(names[n], sizeof names[n], "n%zu", n);
    return names[n];
}

static inline void commit(struct desk *d)
{
    assert_true(plan_holds(d->w, &d->p));
    if (d->p.op_count)
        plan_apply(d->w, &d->p);
    assert_null(unsound(d->w));
    plan_init(&d->p, &d->arena);
}

static inline struct check_view check(const char *id, const char *of,
                                      const char *status,
                                      enum check_cause cause)
{
    return (struct check_view){.id = bytes_str(id),
                               .name = bytes_str(id),
                               .service_id = bytes_str(of),
                               .status = bytes_str(status),
                               .marks.cause = cause};
}

static inline struct registration wish(struct desk *d, size_t n)
{
    return (struct registration){.node = {.name = bytes_str(node_name(n)),
                                          .address = bytes_str("10.0.0.1")},
                                 .wall_ms = d->wall_ms,
                                 .guard = d->guard};
}

/* Plans only. */
static inline void say(struct desk *d, size_t n, const char *id, const char *of,
                       const char *status, enum check_cause cause)
{
    struct check_view v = check(id, of, status, cause);
    struct registration r = wish(d, n);

    r.checks = &v;
    r.check_count = 1;
    assert_ok(plan_register(&d->p, now(d), &r, &d->t));
}

static inline void add(struct desk *d, size_t n, const char *id)
{
    struct buf meta = {0};
    struct service_view s = {.id = bytes_str(id),
                             .name = bytes_str("web"),
                             .weight_passing = 1,
                             .weight_warning = 1};
    struct check_view v = check(id, id, "passing", CAUSE_EVIDENCE);
    struct registration r = wish(d, n);

    if (d->meta) {
        packed_put_pair(&meta, bytes_str(GUARD_META), bytes_str(d->meta));
        s.meta = (struct packed){buf_bytes(&meta), 1};
    }
    r.service = &s;
    r.checks = &v;
    r.check_count = 1;
    assert_ok(plan_register(&d->p, now(d), &r, &d->t));
    commit(d);
    buf_fini(&meta);
}

static inline void add_many(struct desk *d, size_t n)
{
    for (size_t i = 0; i < n; i++)
        add(d, i, "web");
}

static inline void turn(struct desk *d, size_t n, const char *status,
                        enum check_cause cause)
{
    say(d, n, "web", "web", status, cause);
    commit(d);
}

static inline void fall_silent(struct desk *d, size_t n)
{
    turn(d, n, "critical", CAUSE_SILENCE);
}

static inline enum member member(struct desk *d, size_t n, const char *id)
{
    const struct cat_name *name = snapshot_name(now(d), bytes_str("web"));
    const struct cat_node *node =
        snapshot_node(now(d), bytes_str(node_name(n)));
    struct membership m;

    assert_non_null(name);
    membership_begin(&m, now(d), name);
    return member_of(&m, node, cat_node_service(node, bytes_str(id)));
}

static inline size_t answered(struct desk *d)
{
    const struct cat_name *name = snapshot_name(now(d), bytes_str("web"));

    return name ? member_candidates(now(d), name, NULL, SIZE_MAX) : 0;
}

static inline size_t held(struct desk *d)
{
    const struct cat_name *name = snapshot_name(now(d), bytes_str("web"));
    struct membership m;
    struct tree_iter it;
    size_t n = 0;

    if (!name)
        return 0;
    membership_begin(&m, now(d), name);
    tree_first(&name->instances, &it);
    for (const struct cat_instance *i; (i = tree_next(&it));)
        n += member_of(&m, snapshot_node_of(now(d), i), i) == MEMBER_HELD;
    return n;
}

static inline struct check_marks marks(struct desk *d, size_t n, const char *id)
{
    struct check_view v;

    cat_check_view(
        cat_node_check(snapshot_node(now(d), bytes_str(node_name(n))),
                       bytes_str(id)),
        &v);
    return v.marks;
}

static inline void end_window(struct desk *d)
{
    assert_ok(plan_guard_window(&d->p, now(d), bytes_str("WEB"), &d->t));
    commit(d);
}

static inline bool recorded(struct desk *d)
{
    return snapshot_guard(now(d), bytes_str("Web")) != NULL;
}

static inline bool released(struct desk *d, size_t n, const char *id,
                            enum guard_release why)
{
    struct guard_who who = {bytes_str(node_name(n)), bytes_str(id)};
    bool bound;
    size_t done;

    assert_ok(plan_guard_release(&d->p, now(d), &who, 1, why, d->guard, &done,
                                 &bound, &d->t));
    assert_int_equal(done, !bound);
    commit(d);
    return !bound;
}

static inline bool reaped(struct desk *d, size_t n)
{
    struct guard_who who = {bytes_str(node_name(n)), bytes_str("web")};
    bool wait;

    assert_ok(plan_reap(&d->p, now(d), &who, d->guard, &wait, &d->t));
    if (wait)
        assert_int_equal(d->p.op_count + d->p.guard_count, 0);
    commit(d);
    return !wait;
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

#endif
