/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "local/local.h"

#include <stdio.h>

#include "local/record.h"
#include "test.h"

struct world {
    struct pin_domain pins;
    struct local *l;
    struct catalog *c;
    uint64_t revision;
    struct arena arena;
    struct plan plan;
    struct local_identity me;
    struct local_scan scan;
    struct buf found;       /* "service:web " ... */
    enum check_cause cause; /* of the alias looked at last */
    struct errtext t;
};

static void setup(struct world *w)
{
    *w = (struct world){0};
    pin_init(&w->pins);
    w->l = local_new(&w->pins);
    w->c = catalog_new(&w->pins);
    catalog_load_begin(w->c);
    catalog_load_end(w->c, 1);
    w->revision = 1;
    arena_init(&w->arena, 0);
    w->me = (struct local_identity){
        .node = {.name = bytes_str("Here"),
                 .id = bytes_str("0b8e59f2-7c1f-4a5b-9d53-6f0f5e7e2a11"),
                 .address = bytes_str("10.0.0.1")},
        .keep_service = bytes_str("consul"),
        .keep_check = bytes_str("serfHealth"),
    };
    plan_init(&w->plan, &w->arena);
}

static void teardown(struct world *w)
{
    local_scan_fini(&w->scan);
    buf_fini(&w->found);
    arena_fini(&w->arena);
    local_free(w->l);
    catalog_free(w->c);
    pin_fini(&w->pins);
}

/* --- The catalog's side -------------------------------------------------- */

/* A store that takes everything. */
static size_t commit(struct world *w)
{
    size_t n = w->plan.op_count;
    w->revision++;
    for (size_t i = 0; i < n; i++) {
        const struct store_op *op = &w->plan.ops[i];
        assert_true(op->kind != OP_DELETE_PREFIX);
        if (op->kind == OP_PUT)
            assert_ok(catalog_put(w->c, op->key, op->value, w->revision,
                                  w->revision, &w->t));
        else
            catalog_delete(w->c, op->key, w->revision);
    }
    catalog_commit(w->c, w->revision);
    arena_reset(&w->arena);
    plan_init(&w->plan, &w->arena);
    return n;
}

static void register_there(struct world *w, const struct service_view *v,
                           const struct check_view *k)
{
    struct registration r = {.node = w->me.node,
                             .service = v,
                             .checks = k,
                             .check_count = k != NULL};
    assert_ok(plan_register(&w->plan, catalog_current(w->c), &r, &w->t));
    commit(w);
}

static const struct cat_node *node(struct world *w)
{
    return snapshot_node(catalog_current(w->c), w->me.node.name);
}

static bool has_service(struct world *w, const char *id)
{
    return node(w) && cat_node_service(node(w), bytes_str(id));
}

static bool check_there(struct world *w, const char *id, struct check_view *v)
{
    const struct cat_record *r =
        node(w) ? cat_node_check(node(w), bytes_str(id)) : NULL;
    if (r)
        cat_check_view(r, v);
    return r != NULL;
}

/* --- The local side ------------------------------------------------------ */

static struct service_view service_view(const char *id)
{
    return (struct service_view){.id = bytes_str(id),
                                 .name = bytes_str("web"),
                                 .port = 80,
                                 .weight_passing = 1,
                                 .weight_warning = 1};
}

static void put_service(struct world *w, const struct service_view *v)
{
    assert_ok(local_put_config_service(w->l, v));
    local_commit(w->l);
}

static void put_check(struct world *w, const char *id, const char *service)
{
    struct check_def d = {.id = bytes_str(id),
                          .name = bytes_str(id),
                          .service_id = bytes_str(service),
                          .tcp = bytes_str("127.0.0.1:1"),
                          .interval_ns = 1000000000,
                          .failures_before_warning = -1};
    assert_ok(local_put_config_check(w->l, &d));
    local_commit(w->l);
}

static void set_marked(struct world *w, const char *id, enum status status,
                       const char *output, struct check_marks marks)
{
    assert_ok(local_set_state(w->l, bytes_str(id), status, bytes_str(output),
                              &marks));
    local_commit(w->l);
}

static void set_state(struct world *w, const char *id, enum status status,
                      const char *output)
{
    set_marked(w, id, status, output, (struct check_marks){0});
}

/* --- What is tested ------------------------------------------------------ */

/* Operations written. */
static size_t sync_service(struct world *w, const char *id, bool with_output)
{
    bool more;
    assert_ok(local_diff_service(&w->plan, local_current(w->l),
                                 catalog_current(w->c), &w->me, bytes_str(id),
                                 with_output, &more, &w->t));
    assert_false(more);
    return commit(w);
}

static size_t sync_check(struct world *w, const char *id, bool with_output)
{
    assert_ok(local_diff_check(&w->plan, local_current(w->l),
                               catalog_current(w->c), &w->me, bytes_str(id),
                               with_output, &w->t));
    return commit(w);
}

static void on_difference(void *ctx, enum local_difference what,
                          struct bytes id)
{
    static const char *const names[] = {
        [LOCAL_DIFF_NODE] = "node",
        [LOCAL_DIFF_SERVICE] = "service",
        [LOCAL_DIFF_TAGS] = "tags",
        [LOCAL_DIFF_CHECK] = "check",
    };
    struct world *w = ctx;
    buf_printf(&w->found, "%s:%.*s ", names[what], BYTES_ARG(id));
}

static bool scan_step(struct world *w, size_t max)
{
    return local_scan(&w->scan, local_current(w->l), catalog_current(w->c),
                      &w->me, max, on_difference, w);
}

static void assert_differs(struct world *w, const char *want)
{
    buf_reset(&w->found);
    assert_true(scan_step(w, 1000));
    assert_bytes(buf_bytes(&w->found), want);
}

/* --- Plans --------------------------------------------------------------- */

static void a_new_service_goes_with_its_checks_in_one_change(void **state)
{
    (void)state;
    struct world w;
    struct check_view k;
    struct service_view v = service_view("web-1");
    setup(&w);
    put_service(&w, &v);
    put_check(&w, "c1", "web-1");
    put_check(&w, "c2", "WEB-1");
    sync_service(&w, "web-1", false);
    assert_true(has_service(&w, "web-1"));
    assert_true(check_there(&w, "c1", &k));
    assert_bytes(k.type, "tcp");
    assert_bytes(k.status, "critical");
    assert_bytes(k.definition, "");
    assert_true(check_there(&w, "c2", &k));
    assert_int_equal(sync_service(&w, "web-1", true), 0);
    teardown(&w);
}

static void a_status_is_written_alone(void **state)
{
    (void)state;
    struct world w;
    struct check_view k;
    struct service_view v = service_view("web-1");
    setup(&w);
    put_service(&w, &v);
    put_check(&w, "c1", "web-1");
    put_check(&w, "c2", "web-1");
    sync_service(&w, "web-1", false);
    set_state(&w, "c2", STATUS_PASSING, "fine");
    assert_int_equal(sync_service(&w, "web-1", false), 1);
    assert_true(check_there(&w, "c2", &k));
    assert_bytes(k.status, "passing");
    assert_bytes(k.output, "fine");
    teardown(&w);
}

static void output_alone_waits_to_be_asked_for(void **state)
{
    (void)state;
    struct world w;
    struct check_view k;
    struct service_view v = service_view("web-1");
    setup(&w);
    put_service(&w, &v);
    put_check(&w, "c1", "web-1");
    put_check(&w, "n", "");
    sync_service(&w, "web-1", false);
    sync_check(&w, "n", false);
    set_state(&w, "c1", STATUS_CRITICAL, "text");
    set_state(&w, "n", STATUS_CRITICAL, "text");
    assert_int_equal(sync_service(&w, "web-1", false), 0);
    assert_int_equal(sync_check(&w, "n", false), 0);
    assert_int_equal(sync_service(&w, "web-1", true), 1);
    assert_int_equal(sync_check(&w, "n", true), 1);
    assert_true(check_there(&w, "n", &k));
    assert_bytes(k.output, "text");
    teardown(&w);
}

/* The check there, as if by the guard. */
static void mark_there(struct world *w, const char *id,
                       struct check_marks marks)
{
    struct check_view v;
    struct buf key = {0}, value = {0};
    assert_true(check_there(w, id, &v));
    v.marks = marks;
    key_check(&key, w->me.node.name, bytes_str(id));
    record_put_check(&value, &v);
    w->revision++;
    assert_ok(catalog_put(w->c, buf_bytes(&key), buf_bytes(&value),
                          v.create_rev, w->revision, &w->t));
    catalog_commit(w->c, w->revision);
    buf_fini(&key);
    buf_fini(&value);
}

static struct check_marks marks_there(struct world *w, const char *id)
{
    struct check_view v;
    assert_true(check_there(w, id, &v));
    return v.marks;
}

static void of_causes_only_news_are_written(void **state)
{
    (void)state;
    static const size_t writes[3][3] = {
        /* there:        EVIDENCE TIMEOUT SILENCE */
        /* EVIDENCE */ {0, 0, 1},
        /* TIMEOUT  */ {0, 0, 1},
        /* SILENCE  */ {0, 1, 0},
    };
    struct world w;
    setup(&w);
    put_check(&w, "k", "");
    set_state(&w, "k", STATUS_CRITICAL, "");
    (void)sync_check(&w, "k", false);
    for (int here = 0; here < 3; here++)
        for (int there = 0; there < 3; there++) {
            mark_there(&w, "k",
                       (struct check_marks){.cause = (enum check_cause)there});
            set_marked(&w, "k", STATUS_CRITICAL, "",
                       (struct check_marks){.cause = (enum check_cause)here});
            assert_int_equal(sync_check(&w, "k", false), writes[here][there]);
            assert_int_equal(marks_there(&w, "k").cause,
                             writes[here][there] ? here : there);
        }
    teardown(&w);
}

static void what_is_held_stays_so_until_there_is_evidence(void **state)
{
    (void)state;
    struct world w;
    const struct check_marks held = {
        .cause = CAUSE_SILENCE, .held = true, .held_ms = 5, .since_ms = 4};
    setup(&w);
    put_check(&w, "k", "");
    set_marked(&w, "k", STATUS_CRITICAL, "a",
               (struct check_marks){.cause = CAUSE_SILENCE, .since_ms = 4});
    (void)sync_check(&w, "k", false);
    mark_there(&w, "k", held);
    assert_int_equal(sync_check(&w, "k", false), 0);
    assert_true(marks_there(&w, "k").held);
    /* Output alone. */
    set_marked(&w, "k", STATUS_CRITICAL, "b",
               (struct check_marks){.cause = CAUSE_SILENCE, .since_ms = 4});
    assert_int_equal(sync_check(&w, "k", true), 1);
    struct check_marks got = marks_there(&w, "k");
    assert_true(marks_equal(&got, &held));
    /* Something else of it. */
    set_marked(&w, "k", STATUS_CRITICAL, "b",
               (struct check_marks){.cause = CAUSE_SILENCE, .damped = true});
    assert_int_equal(sync_check(&w, "k", false), 1);
    got = marks_there(&w, "k");
    assert_true(got.held && got.damped);
    assert_int_equal(got.held_ms, 5);
    assert_int_equal(got.since_ms, 4);
    /* Evidence. */
    set_marked(&w, "k", STATUS_CRITICAL, "b",
               (struct check_marks){.damped = true});
    assert_int_equal(sync_check(&w, "k", false), 1);
    got = marks_there(&w, "k");
    assert_false(got.held);
    assert_int_equal(got.cause, CAUSE_EVIDENCE);
    /* It passes, without a mark. */
    set_state(&w, "k", STATUS_PASSING, "b");
    assert_int_equal(sync_check(&w, "k", false), 1);
    got = marks_there(&w, "k");
    assert_false(marks_any(&got));
    teardown(&w);
}

static void what_is_only_shown_is_not_written_alone(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    put_check(&w, "k", "");
    set_state(&w, "k", STATUS_PASSING, "");
    (void)sync_check(&w, "k", false);
    set_marked(&w, "k", STATUS_PASSING, "",
               (struct check_marks){
                   .penalty = 900, .since_ms = 7, .damped_until_ms = 8});
    assert_int_equal(sync_check(&w, "k", false), 0);
    set_marked(&w, "k", STATUS_PASSING, "",
               (struct check_marks){
                   .damped = true, .penalty = 2600, .damped_until_ms = 8});
    assert_int_equal(sync_check(&w, "k", false), 1);
    assert_int_equal(marks_there(&w, "k").penalty, 2600);
    teardown(&w);
}

static void what_is_gone_here_goes_there(void **state)
{
    (void)state;
    struct world w;
    struct check_view k;
    struct service_view v = service_view("web-1");
    setup(&w);
    put_service(&w, &v);
    put_check(&w, "c1", "web-1");
    put_check(&w, "c2", "web-1");
    put_check(&w, "n", "");
    sync_service(&w, "web-1", false);
    sync_check(&w, "n", false);
    local_drop_config_check(w.l, bytes_str("c1"));
    local_drop_config_check(w.l, bytes_str("n"));
    local_commit(w.l);
    sync_service(&w, "web-1", false);
    sync_check(&w, "n", false);
    assert_false(check_there(&w, "c1", &k));
    assert_false(check_there(&w, "n", &k));
    assert_true(check_there(&w, "c2", &k));
    local_drop_config_check(w.l, bytes_str("c2"));
    local_drop_config_service(w.l, bytes_str("web-1"));
    local_commit(w.l);
    sync_service(&w, "web-1", false);
    assert_false(has_service(&w, "web-1"));
    assert_false(check_there(&w, "c2", &k));
    assert_int_equal(sync_service(&w, "web-1", false), 0);
    assert_int_equal(sync_check(&w, "c1", false), 0);
    teardown(&w);
}

static void what_is_not_ours_to_remove_stays(void **state)
{
    (void)state;
    struct world w;
    struct check_view k = {.id = bytes_str("serfHealth"),
                           .name = bytes_str("x"),
                           .status = bytes_str("passing")};
    struct service_view v = service_view("consul");
    setup(&w);
    register_there(&w, &v, &k);
    assert_int_equal(sync_service(&w, "consul", false), 0);
    assert_int_equal(sync_check(&w, "serfHealth", false), 0);
    assert_differs(&w, "");
    teardown(&w);
}

static void many_checks_take_several_plans(void **state)
{
    (void)state;
    enum { CHECKS = 2 * LOCAL_DIFF_CHECKS_MAX + 1 };
    struct world w;
    struct check_view k;
    struct service_view v = service_view("web-1");
    char id[16];
    bool more = true;
    int plans = 0;
    setup(&w);
    put_service(&w, &v);
    for (int i = 0; i < CHECKS; i++) {
        (void)snprintf(id, sizeof id, "c%d", i);
        put_check(&w, id, "web-1");
    }
    for (; more; plans++) {
        assert_ok(local_diff_service(&w.plan, local_current(w.l),
                                     catalog_current(w.c), &w.me,
                                     bytes_str("web-1"), false, &more, &w.t));
        assert_true(commit(&w) <= PLAN_OPS_MAX);
    }
    assert_int_equal(plans, 3);
    for (int i = 0; i < CHECKS; i++) {
        (void)snprintf(id, sizeof id, "c%d", i);
        assert_true(check_there(&w, id, &k));
    }
    assert_differs(&w, "");
    teardown(&w);
}

static void a_check_may_move_to_another_service(void **state)
{
    (void)state;
    struct world w;
    struct check_view k;
    struct service_view a = service_view("a"), b = service_view("b");
    setup(&w);
    put_service(&w, &a);
    put_service(&w, &b);
    put_check(&w, "c", "a");
    sync_service(&w, "a", false);
    sync_service(&w, "b", false);
    put_check(&w, "c", "b");
    sync_service(&w, "b", false);
    assert_true(check_there(&w, "c", &k));
    assert_bytes(k.service_id, "b");
    assert_int_equal(sync_service(&w, "a", false), 0);
    teardown(&w);
}

/* --- Scans --------------------------------------------------------------- */

static void a_scan_names_every_kind_of_difference(void **state)
{
    (void)state;
    struct world w;
    struct service_view v = service_view("web-1");
    struct service_view other = service_view("stranger");
    struct check_view k = {.id = bytes_str("odd"),
                           .name = bytes_str("odd"),
                           .status = bytes_str("passing")};
    setup(&w);
    assert_differs(&w, "node:Here ");
    put_service(&w, &v);
    put_check(&w, "c1", "web-1");
    put_check(&w, "n", "");
    assert_differs(&w, "node:Here service:web-1 check:n ");
    assert_ok(local_diff_node(&w.plan, catalog_current(w.c), &w.me, &w.t));
    commit(&w);
    sync_service(&w, "web-1", false);
    sync_check(&w, "n", false);
    assert_differs(&w, "");

    set_state(&w, "c1", STATUS_PASSING, "");
    assert_differs(&w, "service:web-1 ");
    set_state(&w, "c1", STATUS_CRITICAL, "output alone");
    assert_differs(&w, "");
    register_there(&w, &other, &k);
    assert_differs(&w, "service:stranger check:odd ");
    v.port = 81;
    put_service(&w, &v);
    assert_differs(&w, "service:web-1 service:stranger check:odd ");
    w.me.node.address = bytes_str("10.0.0.2");
    assert_differs(&w, "node:Here service:web-1 service:stranger check:odd ");
    teardown(&w);
}

static void a_check_too_many_is_found_under_its_service(void **state)
{
    (void)state;
    struct world w;
    struct service_view v = service_view("web-1");
    struct check_view k = {.id = bytes_str("odd"),
                           .name = bytes_str("odd"),
                           .status = bytes_str("passing"),
                           .service_id = bytes_str("web-1")};
    setup(&w);
    put_service(&w, &v);
    register_there(&w, &v, &k);
    assert_differs(&w, "service:web-1 ");
    sync_service(&w, "web-1", false);
    assert_differs(&w, "");
    teardown(&w);
}

static void the_catalogs_tags_count_where_that_was_asked_for(void **state)
{
    (void)state;
    struct world w;
    struct buf tags = {0};
    struct service_view v = service_view("web-1"), there;
    setup(&w);
    packed_put(&tags, bytes_str("ext"));
    there = v;
    there.tags = (struct packed){buf_bytes(&tags), 1};
    there.enable_tag_override = v.enable_tag_override = true;
    put_service(&w, &v);
    register_there(&w, &there, NULL);
    assert_differs(&w, "tags:web-1 ");
    v.enable_tag_override = false;
    put_service(&w, &v);
    assert_differs(&w, "service:web-1 ");
    buf_fini(&tags);
    teardown(&w);
}

static void a_scan_goes_in_steps_and_sees_everything_once(void **state)
{
    (void)state;
    enum { N = 50 };
    struct world w;
    char id[16];
    setup(&w);
    assert_ok(local_diff_node(&w.plan, catalog_current(w.c), &w.me, &w.t));
    commit(&w);
    struct buf want = {0};
    for (int i = 0; i < N; i++) {
        (void)snprintf(id, sizeof id, "S%02d", i);
        struct service_view v = service_view(id);
        put_service(&w, &v);
        buf_printf(&want, "service:%s ", id);
    }
    for (int i = 0; i < N; i++) {
        (void)snprintf(id, sizeof id, "C%02d", i);
        put_check(&w, id, "");
        buf_printf(&want, "check:%s ", id);
    }
    for (size_t step = 1; step < 12; step++) {
        size_t steps = 1;
        buf_reset(&w.found);
        while (!scan_step(&w, step))
            steps++;
        assert_int_equal(w.found.n, want.n);
        assert_memory_equal(w.found.p, want.p, want.n);
        assert_in_range(steps, 2 * N / step, 2 * N / step + 2);
    }
    buf_fini(&want);
    teardown(&w);
}

/* --- Alias --------------------------------------------------------------- */

static void assert_alias(struct world *w, const char *node_name,
                         const char *service, enum status want,
                         const char *text)
{
    struct buf out = {0};
    struct check_def d = {.id = bytes_str("self"),
                          .alias_node = bytes_str(node_name),
                          .alias_service = bytes_str(service)};
    assert_int_equal(local_alias_status(local_current(w->l),
                                        catalog_current(w->c), &w->me, &d, &out,
                                        &w->cause),
                     want);
    assert_bytes(buf_bytes(&out), text);
    buf_fini(&out);
}

static void an_alias_follows_a_local_service(void **state)
{
    (void)state;
    struct world w;
    struct service_view v = service_view("db");
    setup(&w);
    assert_alias(&w, "", "db", STATUS_CRITICAL,
                 "Service db could not be found on node ");
    put_service(&w, &v);
    assert_alias(&w, "", "db", STATUS_PASSING, "No checks found.");
    put_check(&w, "c1", "db");
    put_check(&w, "c2", "db");
    assert_alias(&w, "", "db", STATUS_CRITICAL,
                 "Aliased check \"c1\" failing: ");
    set_state(&w, "c1", STATUS_WARNING, "hm");
    set_state(&w, "c2", STATUS_PASSING, "");
    assert_alias(&w, "here", "DB", STATUS_WARNING,
                 "Aliased check \"c1\" failing: hm");
    set_state(&w, "c2", STATUS_CRITICAL, "no");
    assert_alias(&w, "", "db", STATUS_CRITICAL,
                 "Aliased check \"c2\" failing: no");
    set_state(&w, "c1", STATUS_PASSING, "");
    set_state(&w, "c2", STATUS_PASSING, "");
    assert_alias(&w, "", "db", STATUS_PASSING, "All checks passing.");
    /* Checks of the node count for all of its services. */
    put_check(&w, "n", "");
    assert_alias(&w, "", "db", STATUS_CRITICAL,
                 "Aliased check \"n\" failing: ");
    /* But not the alias itself. */
    set_state(&w, "n", STATUS_PASSING, "");
    put_check(&w, "self", "db");
    assert_alias(&w, "", "db", STATUS_PASSING, "All checks passing.");
    teardown(&w);
}

static void an_alias_is_silent_only_if_all_that_fails_is(void **state)
{
    (void)state;
    struct world w;
    struct service_view v = service_view("db");
    const struct check_marks silence = {.cause = CAUSE_SILENCE};
    setup(&w);
    put_service(&w, &v);
    put_check(&w, "c1", "db");
    put_check(&w, "c2", "db");
    put_check(&w, "c3", "db");
    set_marked(&w, "c1", STATUS_CRITICAL, "a", silence);
    set_state(&w, "c2", STATUS_PASSING, "");
    set_state(&w, "c3", STATUS_WARNING, "c");
    assert_alias(&w, "", "db", STATUS_CRITICAL,
                 "Aliased check \"c1\" failing: a");
    assert_int_equal(w.cause, CAUSE_SILENCE);
    set_state(&w, "c3", STATUS_CRITICAL, "c");
    assert_alias(&w, "", "db", STATUS_CRITICAL,
                 "Aliased check \"c1\" failing: a");
    assert_int_equal(w.cause, CAUSE_EVIDENCE);
    set_state(&w, "c1", STATUS_PASSING, "");
    set_state(&w, "c3", STATUS_PASSING, "");
    assert_alias(&w, "", "db", STATUS_PASSING, "All checks passing.");
    assert_int_equal(w.cause, CAUSE_EVIDENCE);
    teardown(&w);
}

static void an_alias_follows_another_node(void **state)
{
    (void)state;
    struct world w;
    struct service_view v = service_view("db");
    struct check_view k = {.id = bytes_str("c"),
                           .name = bytes_str("c"),
                           .status = bytes_str("warning"),
                           .output = bytes_str("hm"),
                           .service_id = bytes_str("db")};
    struct check_view n = {.id = bytes_str("n"),
                           .name = bytes_str("n"),
                           .status = bytes_str("passing")};
    setup(&w);
    struct node_view me = w.me.node;
    w.me.node = (struct node_view){.name = bytes_str("there"),
                                   .address = bytes_str("10.0.0.2")};
    register_there(&w, &v, &k);
    register_there(&w, NULL, &n);
    w.me.node = me;
    assert_alias(&w, "There", "db", STATUS_WARNING,
                 "Aliased check \"c\" failing: hm");
    assert_alias(&w, "there", "", STATUS_PASSING, "All checks passing.");
    assert_alias(&w, "there", "x", STATUS_CRITICAL,
                 "Service x could not be found on node there");
    assert_alias(&w, "nowhere", "", STATUS_PASSING, "No checks found.");
    teardown(&w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_new_service_goes_with_its_checks_in_one_change),
    cmocka_unit_test(a_status_is_written_alone),
    cmocka_unit_test(output_alone_waits_to_be_asked_for),
    cmocka_unit_test(of_causes_only_news_are_written),
    cmocka_unit_test(what_is_held_stays_so_until_there_is_evidence),
    cmocka_unit_test(what_is_only_shown_is_not_written_alone),
    cmocka_unit_test(what_is_gone_here_goes_there),
    cmocka_unit_test(what_is_not_ours_to_remove_stays),
    cmocka_unit_test(many_checks_take_several_plans),
    cmocka_unit_test(a_check_may_move_to_another_service),
    cmocka_unit_test(a_scan_names_every_kind_of_difference),
    cmocka_unit_test(a_check_too_many_is_found_under_its_service),
    cmocka_unit_test(the_catalogs_tags_count_where_that_was_asked_for),
    cmocka_unit_test(a_scan_goes_in_steps_and_sees_everything_once),
    cmocka_unit_test(an_alias_follows_a_local_service),
    cmocka_unit_test(an_alias_is_silent_only_if_all_that_fails_is),
    cmocka_unit_test(an_alias_follows_another_node),
};

RUN_TESTS(tests)
