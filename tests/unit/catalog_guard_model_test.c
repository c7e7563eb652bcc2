/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Random silence, evidence, recoveries, reaping and releases, several planned on
 * one snapshot: whatever is committed, in no window do more leave by silence than
 * the table in catalog/guard.h says, nor the last one. The count is kept here,
 * from what is seen in the answers alone. */
#include <stdio.h>

#include "catalog/guard.h"
#include "catalog/member.h"
#include "catalog/plan_guard.h"
#include "catalog_plans.h"

enum { SEEDS = 300, STEPS = 400, INSTANCES = 9, RIVALS_MAX = 3 };

static const char *const nodes[INSTANCES] = {"n0", "n1", "n2", "n3", "n4",
                                             "n5", "n6", "n7", "n8"};

enum event {
    REGISTER,
    DEREGISTER,
    PASS,
    REFUSED,
    TIMED_OUT,
    SILENT,
    NODE_SILENT,
    NODE_PASS,
    REAP,
    BY_TIME,
    BY_EVIDENCE,
    EVENTS
};

struct bench {
    struct world *w;
    struct arena arena;
    uint64_t *seed, first_seed;
    size_t step;
    uint64_t wall_ms;
    size_t services; /* of INSTANCES, how many are used */
    /* The window as it is seen from outside. */
    bool open;
    size_t base, left, reg_base, reg_left;
    size_t held_seen, left_seen, let_out_seen, removed_seen, recalled_seen;
};

static const struct snapshot *now(const struct bench *b)
{
    return catalog_current(b->w->catalog);
}

static const struct cat_name *web(const struct bench *b)
{
    return snapshot_name(now(b), bytes_str("web"));
}

static size_t answered(const struct bench *b)
{
    return web(b) ? member_candidates(now(b), web(b), NULL, SIZE_MAX) : 0;
}

static size_t registered(const struct bench *b)
{
    return web(b) ? web(b)->instances.n : 0;
}

static enum member member(const struct bench *b, size_t n)
{
    const struct cat_node *node = snapshot_node(now(b), bytes_str(nodes[n]));
    const struct cat_instance *i =
        node ? cat_node_service(node, bytes_str("web")) : NULL;
    struct membership m;

    if (!i)
        return MEMBER_OUT;
    membership_begin(&m, now(b), web(b));
    return member_of(&m, node, i);
}

/* --- Events -------------------------------------------------------------- */

struct happening {
    enum event what;
    size_t n; /* whom */
};

static void plan_status(struct bench *b, struct plan *p, size_t n, bool of_node,
                        const char *status, enum check_cause cause)
{
    struct check_view v = {
        .id = bytes_str(of_node ? "agent" : "web"),
        .name = bytes_str("check"),
        .service_id = bytes_str(of_node ? "" : "web"),
        .status = bytes_str(status),
        .marks.cause = cause,
    };
    struct registration r = {.node = {.name = bytes_str(nodes[n])},
                             .skip_node_update = true,
                             .checks = &v,
                             .check_count = 1,
                             .wall_ms = b->wall_ms};

    if (!snapshot_node(now(b), r.node.name) || member(b, n) > MEMBER_SUPPRESSED)
        return;
    if (!cat_node_service(snapshot_node(now(b), r.node.name), bytes_str("web")))
        return;
    assert_ok(plan_register(p, now(b), &r, NULL));
}

static void plan_new(struct bench *b, struct plan *p, size_t n)
{
    struct check_view v[2] = {{.id = bytes_str("web"),
                               .name = bytes_str("check"),
                               .service_id = bytes_str("web"),
                               .status = bytes_str("passing")},
                              {.id = bytes_str("agent"),
                               .name = bytes_str("check"),
                               .status = bytes_str("passing")}};
    struct service_view s = {.id = bytes_str("web"),
                             .name = bytes_str("web"),
                             .weight_passing = 1,
                             .weight_warning = 1};
    struct registration r = {
        .node = {.name = bytes_str(nodes[n]), .address = bytes_str("10.0.0.1")},
        .service = &s,
        .checks = v,
        .check_count = 2,
        .wall_ms = b->wall_ms};

    assert_ok(plan_register(p, now(b), &r, NULL));
}

static void plan_release(struct bench *b, struct plan *p, size_t n,
                         enum guard_release why)
{
    struct guard_who who[2] = {
        {bytes_str(nodes[n]), bytes_str("web")},
        {bytes_str(nodes[(n + 1) % b->services]), bytes_str("web")}};
    bool bound;
    size_t done;

    assert_ok(plan_guard_release(p, now(b), who, 1 + below(b->seed, 2), why,
                                 GUARD_MODE_SILENCE, &done, &bound, NULL));
}

static void plan_event(struct bench *b, struct plan *p,
                       const struct happening *h)
{
    struct guard_who who = {bytes_str(nodes[h->n]), bytes_str("web")};
    bool wait;

    switch (h->what) {
    case REGISTER:
        plan_new(b, p, h->n);
        return;
    case DEREGISTER:
        assert_ok(plan_deregister(p, now(b), who.node, who.service_id,
                                  (struct bytes){0}, NULL));
        return;
    case PASS:
        plan_status(b, p, h->n, false, "passing", CAUSE_EVIDENCE);
        return;
    case REFUSED:
        plan_status(b, p, h->n, false, "critical", CAUSE_EVIDENCE);
        return;
    case TIMED_OUT:
        plan_status(b, p, h->n, false, "critical", CAUSE_TIMEOUT);
        return;
    case SILENT:
        plan_status(b, p, h->n, false, "critical", CAUSE_SILENCE);
        return;
    case NODE_SILENT:
        plan_status(b, p, h->n, true, "critical", CAUSE_SILENCE);
        return;
    case NODE_PASS:
        plan_status(b, p, h->n, true, "passing", CAUSE_EVIDENCE);
        return;
    case REAP:
        assert_ok(plan_reap(p, now(b), &who, GUARD_MODE_SILENCE, &wait, NULL));
        return;
    case BY_TIME:
        plan_release(b, p, h->n, RELEASE_TIME);
        return;
    case BY_EVIDENCE:
        plan_release(b, p, h->n, RELEASE_EVIDENCE);
        return;
    case EVENTS:
        break;
    }
}

static bool by_silence(enum event e)
{
    return e == SILENT || e == NODE_SILENT || e == REAP || e == BY_TIME;
}

/* --- What it did --------------------------------------------------------- */

/* Evidence is read from the snapshot a plan was made of: what others say at the
 * same moment comes too late for it, as for anybody. */
struct seen {
    size_t answered, registered;
};

static bool counts(const struct plan *p)
{
    for (size_t i = 0; i < p->op_count; i++)
        if (bytes_is(p->ops[i].key, "g/web"))
            return true;
    return false;
}

/* Somebody left, or was removed: from there on it is a window. */
static bool opens(const struct plan *p)
{
    struct guard_view v = {0};

    for (size_t i = 0; i < p->op_count; i++)
        if (bytes_is(p->ops[i].key, "g/web") && p->ops[i].kind == OP_PUT)
            assert_ok(record_get_guard(p->ops[i].value, &v));
    return v.left + v.reg_left > 0;
}

static void judge(struct bench *b, const struct happening *h,
                  const struct plan *p, const struct seen *planned,
                  const struct seen *before)
{
    size_t left =
        before->answered > answered(b) ? before->answered - answered(b) : 0;
    size_t gone = before->registered - registered(b);
    const char *wrong = NULL;

    if (!b->open && opens(p)) {
        b->open = true;
        b->left = b->reg_left = 0;
        b->base = planned->answered;
        b->reg_base = planned->registered;
    }
    if (!by_silence(h->what) || planned->registered == 1)
        return;
    /* Critical by evidence: reaped as configured. */
    if (h->what != REAP || !counts(p))
        gone = 0;
    if (left + gone == 0)
        return;
    assert_true(b->open);
    b->left += left;
    b->reg_left += gone;
    b->left_seen += left;
    b->let_out_seen += h->what == BY_TIME ? left : 0;
    b->removed_seen += gone;
    /* Also if another one leaves by evidence at the same moment. */
    if (left && before->answered <= left)
        wrong = "the last one left by silence";
    if (b->left > guard_leaves_allowed(b->reg_base, b->base))
        wrong = "more left by silence than may";
    if (b->reg_left > guard_removals_allowed(b->reg_base))
        wrong = "more were removed by silence than may";
    if (wrong)
        fail_msg("seed %llu, step %zu: %s (event %d): %zu of %zu, %zu "
                 "registered",
                 (unsigned long long)b->first_seed, b->step, wrong, h->what,
                 b->left, b->base, b->reg_base);
}

static void end_window(struct bench *b)
{
    struct plan p;

    plan_init(&p, &b->arena);
    assert_ok(plan_guard_window(&p, now(b), bytes_str("web"), NULL));
    assert_true(plan_holds(b->w, &p));
    if (p.op_count)
        plan_apply(b->w, &p);
    b->open = false;
}

static void happen(struct bench *b)
{
    struct happening h[RIVALS_MAX];
    struct plan p[RIVALS_MAX];
    size_t n = 1 + below(b->seed, RIVALS_MAX);

    for (size_t i = 0; i < n; i++) {
        h[i] = (struct happening){(enum event)below(b->seed, EVENTS),
                                  below(b->seed, b->services)};
        if (h[i].what == DEREGISTER && chance(b->seed, 80))
            h[i].what = SILENT;
        plan_init(&p[i], &b->arena);
        plan_event(b, &p[i], &h[i]);
    }
    struct seen planned = {answered(b), registered(b)};
    for (size_t i = 0; i < n; i++) {
        struct seen before = {answered(b), registered(b)};
        bool in = member_is_in(member(b, h[i].n));
        if (!p[i].op_count || !plan_holds(b->w, &p[i]))
            continue;
        plan_apply(b->w, &p[i]);
        judge(b, &h[i], &p[i], &planned, &before);
        b->held_seen += member(b, h[i].n) == MEMBER_HELD;
        b->recalled_seen +=
            h[i].what == SILENT && !in && member_is_in(member(b, h[i].n));
    }
}

static void one_life(uint64_t first_seed, struct bench *sum)
{
    uint64_t seed = first_seed * 0x9e3779b97f4a7c15u;
    struct bench b = {.w = world_new(),
                      .seed = &seed,
                      .first_seed = first_seed,
                      .services = 2 + first_seed % (INSTANCES - 1)};

    for (b.step = 0; b.step < STEPS; b.step++) {
        arena_init(&b.arena, 0);
        b.wall_ms++;
        happen(&b);
        if (chance(&seed, 10))
            end_window(&b);
        assert_null(unsound(b.w));
        arena_fini(&b.arena);
    }
    sum->held_seen += b.held_seen;
    sum->left_seen += b.left_seen;
    sum->let_out_seen += b.let_out_seen;
    sum->removed_seen += b.removed_seen;
    sum->recalled_seen += b.recalled_seen;
    world_free(b.w);
}

static void no_window_lets_more_leave_by_silence_than_may(void **state)
{
    struct bench sum = {0};

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        one_life(seed, &sum);
    /* Each of these was reached. */
    assert_true(sum.held_seen > SEEDS);
    assert_true(sum.left_seen > SEEDS);
    assert_true(sum.let_out_seen > SEEDS / 4);
    assert_true(sum.removed_seen > SEEDS / 4);
    assert_true(sum.recalled_seen > SEEDS / 4);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(no_window_lets_more_leave_by_silence_than_may),
};

RUN_TESTS(tests)
