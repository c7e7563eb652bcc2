/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Random wishes: a plan does what was wished, nothing else, and nothing the
 * second time; plans made from one snapshot never leave an orphan, in whatever
 * order they are committed. */
#include "catalog_dump.h"
#include "catalog_plans.h"

enum {
    SEEDS = 20,
    STEPS = 500,
    RIVALS_MAX = 3, /* plans made from one snapshot */
    NODES = 3,
    SERVICES = 3,
    CHECKS = 4,
    WISH_CHECKS_MAX = 4,
};

static const char *const nodes[NODES][2] = {
    {"a", "A"}, {"node/b", "NODE/b"}, {"c", "C"}};
static const char *const services[SERVICES][2] = {
    {"web", "WEB"}, {"db", "Db"}, {"x y", "X y"}};
static const char *const checks[CHECKS][2] = {
    {"c1", "C1"}, {"c2", "C2"}, {"serfHealth", "serfHealth"}, {"c 4", "C 4"}};
static const char *const ids[] = {"", "00000000-0000-4000-8000-00000000000a",
                                  "00000000-0000-4000-8000-00000000000b",
                                  "00000000-0000-4000-8000-00000000000A"};

struct wish {
    enum { REGISTER, DEREGISTER, STATUS } kind;
    struct registration r;
    struct service_view service;
    struct check_view checks[WISH_CHECKS_MAX];
    struct bytes node, service_id, check_id, status, output;
};

static struct bytes pick(uint64_t *seed, const char *const pair[2])
{
    return bytes_str(pair[chance(seed, 10)]);
}

static struct bytes pick_status(uint64_t *seed)
{
    return bytes_str(chance(seed, 50) ? "passing" : "critical");
}

static void random_registration(struct wish *wish, uint64_t *seed)
{
    struct registration *r = &wish->r;

    r->node = (struct node_view){
        .name = wish->node,
        .id = bytes_str(ids[below(seed, 4)]),
        .address = bytes_str(chance(seed, 90) ? "10.0.0.1" : "10.0.0.2"),
    };
    r->skip_node_update = chance(seed, 30);
    if (chance(seed, 60)) {
        wish->service = (struct service_view){
            .id = pick(seed, services[below(seed, SERVICES)]),
            .name = bytes_str("s"),
            .port = (int64_t)below(seed, 2),
        };
        r->service = &wish->service;
        r->replace_checks = chance(seed, 30);
    }
    r->check_count = below(seed, WISH_CHECKS_MAX);
    r->checks = wish->checks;
    for (size_t i = 0; i < r->check_count; i++) {
        struct check_view *v = &wish->checks[i];
        *v = (struct check_view){
            .id = pick(seed, checks[below(seed, CHECKS)]),
            .name = bytes_str("check"),
            .status = pick_status(seed),
        };
        if (r->service && chance(seed, 60))
            v->service_id = r->service->id;
        else if (chance(seed, 60))
            v->service_id = pick(seed, services[below(seed, SERVICES)]);
    }
}

static void random_wish(struct wish *wish, uint64_t *seed)
{
    size_t kind = below(seed, 10);

    *wish = (struct wish){.node = pick(seed, nodes[below(seed, NODES)])};
    wish->kind = kind < 6 ? REGISTER : kind < 9 ? DEREGISTER : STATUS;
    wish->status = pick_status(seed);
    wish->output = bytes_str(chance(seed, 50) ? "x" : "");
    if (wish->kind == STATUS || chance(seed, 45))
        wish->check_id = pick(seed, checks[below(seed, CHECKS)]);
    else if (chance(seed, 80))
        wish->service_id = pick(seed, services[below(seed, SERVICES)]);
    if (wish->kind == REGISTER)
        random_registration(wish, seed);
}

static enum err make_plan(struct plan *p, const struct snapshot *s,
                          const struct wish *wish, struct errtext *t)
{
    switch (wish->kind) {
    case REGISTER:
        return plan_register(p, s, &wish->r, t);
    case DEREGISTER:
        return plan_deregister(p, s, wish->node, wish->service_id,
                               wish->check_id, t);
    case STATUS:
        return plan_check_status(p, s,
                                 &(struct status_wish){
                                     .node = wish->node,
                                     .check_id = wish->check_id,
                                     .status = wish->status,
                                     .output = wish->output,
                                 },
                                 t);
    }
    return ERR_BAD;
}

/* --- What was wished, done to rows without any catalog ------------------- */

static void copy_rows(struct world *to, const struct world *from)
{
    for (size_t i = 0; i < from->n; i++)
        (void)rows_put(to, row_key(from->rows[i]), row_value(from->rows[i]));
}

static void drop_node(struct world *m, struct bytes of)
{
    char *space = xcopy(of); /* it may be the name in a row that goes */
    struct bytes name = bytes_of(space, of.n);

    for (size_t i = m->n; i-- > 0;) {
        struct row *r = m->rows[i];
        bool its = r->kind == RECORD_NODE_ID ? bytes_eq_fold(row_value(r), name)
                                             : bytes_eq_fold(r->node, name);
        if (its)
            (void)rows_delete(m, row_key(r));
    }
    free(space);
}

static void put_value(struct world *m, struct buf *key, struct buf *value)
{
    (void)rows_put(m, buf_bytes(key), buf_bytes(value));
    buf_fini(key);
    buf_fini(value);
    *key = *value = (struct buf){0};
}

static struct row *holder_of(const struct world *m, struct bytes id)
{
    for (size_t i = 0; id.n && i < m->n; i++)
        if (m->rows[i]->kind == RECORD_NODE &&
            bytes_eq_fold(m->rows[i]->n.id, id))
            return m->rows[i];
    return NULL;
}

static bool name_is_reserved(const struct world *m,
                             const struct registration *r)
{
    const struct row *had = world_node(m, r->node.name);
    const struct row *holder = holder_of(m, r->node.id);
    const struct row *serf =
        world_row(m, RECORD_CHECK, r->node.name, bytes_str("serfhealth"));

    return had && !r->skip_node_update && r->node.id.n &&
           !bytes_eq_fold(had->n.id, r->node.id) && (had->n.id.n || holder) &&
           serf && !bytes_is(serf->c.status, "critical");
}

static void do_node(struct world *m, const struct registration *r)
{
    struct buf key = {0}, value = {0};
    struct row *had = world_node(m, r->node.name);
    struct row *holder = holder_of(m, r->node.id);

    if (had && r->skip_node_update)
        return;
    if (holder && !bytes_eq_fold(holder->n.name, r->node.name))
        drop_node(m, holder->n.name);
    if (had && had->n.id.n) {
        key_node_id(&key, had->n.id);
        (void)rows_delete(m, buf_bytes(&key));
        buf_reset(&key);
    }
    key_node(&key, r->node.name);
    record_put_node(&value, &r->node);
    put_value(m, &key, &value);
    if (r->node.id.n) {
        key_node_id(&key, r->node.id);
        buf_put_fold(&value, r->node.name);
        put_value(m, &key, &value);
    }
}

static bool do_check(struct world *m, const struct registration *r,
                     const struct check_view *v)
{
    struct buf key = {0}, value = {0};

    if (v->service_id.n &&
        !world_row(m, RECORD_SERVICE, r->node.name, v->service_id))
        return false;
    key_check(&key, r->node.name, v->id);
    record_put_check(&value, v);
    put_value(m, &key, &value);
    return true;
}

static void drop_checks(struct world *m, const struct registration *r)
{
    for (size_t i = m->n; i-- > 0;) {
        struct row *row = m->rows[i];
        bool wished = false;
        for (size_t k = 0; k < r->check_count; k++)
            wished |= bytes_eq_fold(r->checks[k].id, row->id);
        if (row->kind == RECORD_CHECK && !wished &&
            bytes_eq_fold(row->node, r->node.name) &&
            bytes_eq_fold(row->c.service_id, r->service->id))
            (void)rows_delete(m, row_key(row));
    }
}

static enum err do_register(struct world *m, const struct registration *r)
{
    struct buf key = {0}, value = {0};

    if (name_is_reserved(m, r))
        return ERR_CONFLICT;
    do_node(m, r);
    if (r->service) {
        key_service(&key, r->node.name, r->service->id);
        record_put_service(&value, r->service);
        put_value(m, &key, &value);
    }
    for (size_t i = 0; i < r->check_count; i++)
        if (!do_check(m, r, &r->checks[i]))
            return ERR_BAD;
    if (r->service && r->replace_checks)
        drop_checks(m, r);
    return ERR_OK;
}

static void do_deregister(struct world *m, const struct wish *wish)
{
    if (!wish->service_id.n && !wish->check_id.n) {
        drop_node(m, wish->node);
        return;
    }
    for (size_t i = m->n; i-- > 0;) {
        struct row *r = m->rows[i];
        bool service = wish->service_id.n > 0;
        bool its_check =
            r->kind == RECORD_CHECK &&
            (service ? bytes_eq_fold(r->c.service_id, wish->service_id)
                     : bytes_eq_fold(r->id, wish->check_id));
        bool its_service = service && r->kind == RECORD_SERVICE &&
                           bytes_eq_fold(r->id, wish->service_id);
        if ((its_check || its_service) && bytes_eq_fold(r->node, wish->node))
            (void)rows_delete(m, row_key(r));
    }
}

static enum err do_wish(struct world *m, const struct wish *wish)
{
    struct buf key = {0}, value = {0};
    struct row *r;

    switch (wish->kind) {
    case REGISTER:
        return do_register(m, &wish->r);
    case DEREGISTER:
        do_deregister(m, wish);
        return ERR_OK;
    case STATUS:
        r = world_row(m, RECORD_CHECK, wish->node, wish->check_id);
        if (!r)
            return ERR_NOT_FOUND;
        r->c.status = wish->status;
        r->c.output = wish->output;
        record_put_check(&value, &r->c);
        buf_put(&key, row_key(r));
        put_value(m, &key, &value);
        return ERR_OK;
    }
    return ERR_BAD;
}

static void assert_same_rows(const struct world *got, const struct world *want,
                             uint64_t seed, size_t step)
{
    bool same = got->n == want->n;

    for (size_t i = 0; same && i < got->n; i++)
        same = bytes_eq(row_key(got->rows[i]), row_key(want->rows[i])) &&
               bytes_eq(row_value(got->rows[i]), row_value(want->rows[i]));
    if (!same)
        fail_msg("seed %llu, step %zu: the plan did not do what was wished",
                 (unsigned long long)seed, step);
}

/* --- One wish ------------------------------------------------------------ */

/* What keeps its value keeps its revision, but for the service of a check that
 * moved. */
static void assert_others_untouched(const struct world *w,
                                    const struct world *before)
{
    for (size_t i = 0; i < before->n; i++) {
        const struct row *b = before->rows[i];
        const struct row *r = world_key(w, row_key(b));
        if (r && r->kind != RECORD_SERVICE &&
            bytes_eq(row_value(b), row_value(r)))
            assert_int_not_equal(r->mod_rev, w->revision);
    }
}

static void one_wish(struct world *w, uint64_t *seed, uint64_t first_seed,
                     size_t step)
{
    struct wish wish;
    struct arena arena;
    struct plan p;
    struct errtext t = {{0}};
    struct world *want = world_new(), *before = world_new();

    random_wish(&wish, seed);
    arena_init(&arena, 0);
    plan_init(&p, &arena);
    copy_rows(want, w);
    copy_rows(before, w);
    enum err e = make_plan(&p, catalog_current(w->catalog), &wish, &t);
    enum err e_wanted = do_wish(want, &wish);
    if (e != e_wanted)
        fail_msg("seed %llu, step %zu: %s (%s), wanted %s",
                 (unsigned long long)first_seed, step, err_text(e), t.s,
                 err_text(e_wanted));
    if (e != ERR_OK) {
        assert_int_equal(p.op_count + p.guard_count, 0);
        assert_true(t.s[0]);
    } else {
        assert_true(plan_holds(w, &p));
        if (p.op_count) {
            plan_apply(w, &p);
            assert_others_untouched(w, before);
        }
        assert_int_equal(p.op_count > 0, p.guard_count > 0);
        assert_same_rows(w, want, first_seed, step);
        plan_init(&p, &arena);
        if (make_plan(&p, catalog_current(w->catalog), &wish, &t) == ERR_OK)
            assert_int_equal(p.op_count + p.guard_count, 0);
    }
    assert_null(unsound(w));
    assert_dump_is_stored(w);
    arena_fini(&arena);
    world_free(want);
    world_free(before);
}

static void a_plan_does_what_was_wished_and_no_more(void **state)
{
    (void)state;
    for (uint64_t first = 1; first <= SEEDS; first++) {
        uint64_t seed = first * 0x9e3779b97f4a7c15u;
        struct world *w = world_new();
        for (size_t i = 0; i < STEPS; i++)
            one_wish(w, &seed, first, i);
        assert_snapshot_is(catalog_current(w->catalog), w, "planned", first, 0);
        world_free(w);
    }
}

/* --- Rivals -------------------------------------------------------------- */

struct rivals {
    size_t committed, conflicts;
};

static void some_rivals(struct world *w, uint64_t *seed, struct rivals *sum)
{
    struct wish wish[RIVALS_MAX];
    struct plan p[RIVALS_MAX];
    struct arena arena;
    size_t n = 2 + below(seed, RIVALS_MAX - 1);
    enum err e[RIVALS_MAX];

    arena_init(&arena, 0);
    for (size_t i = 0; i < n; i++) {
        random_wish(&wish[i], seed);
        plan_init(&p[i], &arena);
        e[i] = make_plan(&p[i], catalog_current(w->catalog), &wish[i], NULL);
    }
    for (size_t i = 0; i < n; i++) {
        if (e[i] != ERR_OK || !p[i].op_count)
            continue;
        if (!plan_holds(w, &p[i])) {
            sum->conflicts++;
            continue;
        }
        sum->committed++;
        plan_apply(w, &p[i]);
        const char *wrong = unsound(w);
        if (wrong)
            fail_msg("%s, after plan %zu of %zu", wrong, i + 1, n);
    }
    arena_fini(&arena);
}

static void plans_of_one_snapshot_leave_no_orphans(void **state)
{
    (void)state;
    struct rivals sum = {0};

    for (uint64_t first = 1; first <= SEEDS; first++) {
        uint64_t seed = first * 0x9e3779b97f4a7c15u;
        struct world *w = world_new();
        for (size_t i = 0; i < STEPS; i++)
            some_rivals(w, &seed, &sum);
        world_free(w);
    }
    assert_true(sum.committed > SEEDS * STEPS / 2);
    assert_true(sum.conflicts > SEEDS * STEPS / 10);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_plan_does_what_was_wished_and_no_more),
    cmocka_unit_test(plans_of_one_snapshot_leave_no_orphans),
};

RUN_TESTS(tests)
