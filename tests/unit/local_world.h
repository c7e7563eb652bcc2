/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* local_world - an agent's own things and a catalog, and a store between them
 * that takes everything. */
#ifndef LOCAL_WORLD_H
#define LOCAL_WORLD_H

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

static inline void setup(struct world *w)
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

static inline void teardown(struct world *w)
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
static inline size_t commit(struct world *w)
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

static inline void register_there(struct world *w, const struct service_view *v,
                                  const struct check_view *k)
{
    struct registration r = {.node = w->me.node,
                             .service = v,
                             .checks = k,
                             .check_count = k != NULL};
    assert_ok(plan_register(&w->plan, catalog_current(w->c), &r, &w->t));
    commit(w);
}

static inline const struct cat_node *node(struct world *w)
{
    return snapshot_node(catalog_current(w->c), w->me.node.name);
}

static inline bool has_service(struct world *w, const char *id)
{
    return node(w) && cat_node_service(node(w), bytes_str(id));
}

static inline bool check_there(struct world *w, const char *id,
                               struct check_view *v)
{
    const struct cat_record *r =
        node(w) ? cat_node_check(node(w), bytes_str(id)) : NULL;
    if (r)
        cat_check_view(r, v);
    return r != NULL;
}

/* --- The local side ------------------------------------------------------ */

static inline struct service_view service_view(const char *id)
{
    return (struct service_view){.id = bytes_str(id),
                                 .name = bytes_str("web"),
                                 .port = 80,
                                 .weight_passing = 1,
                                 .weight_warning = 1};
}

static inline void put_service(struct world *w, const struct service_view *v)
{
    assert_ok(local_put_config_service(w->l, v));
    local_commit(w->l);
}

static inline void put_check(struct world *w, const char *id,
                             const char *service)
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

static inline void set_marked(struct world *w, const char *id,
                              enum status status, const char *output,
                              struct check_marks marks)
{
    assert_ok(local_set_state(w->l, bytes_str(id), status, bytes_str(output),
                              &marks));
    local_commit(w->l);
}

static inline void set_state(struct world *w, const char *id,
                             enum status status, const char *output)
{
    set_marked(w, id, status, output, (struct check_marks){0});
}

/* --- What is tested ------------------------------------------------------ */

/* Operations written. */
static inline size_t sync_service(struct world *w, const char *id,
                                  bool with_output)
{
    bool more;
    assert_ok(local_diff_service(&w->plan, local_current(w->l),
                                 catalog_current(w->c), &w->me, bytes_str(id),
                                 with_output, &more, &w->t));
    assert_false(more);
    return commit(w);
}

static inline size_t sync_check(struct world *w, const char *id,
                                bool with_output)
{
    assert_ok(local_diff_check(&w->plan, local_current(w->l),
                               catalog_current(w->c), &w->me, bytes_str(id),
                               with_output, &w->t));
    return commit(w);
}

static inline void on_difference(void *ctx, enum local_difference what,
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

static inline bool scan_step(struct world *w, size_t max)
{
    return local_scan(&w->scan, local_current(w->l), catalog_current(w->c),
                      &w->me, max, on_difference, w);
}

static inline void assert_differs(struct world *w, const char *want)
{
    buf_reset(&w->found);
    assert_true(scan_step(w, 1000));
    assert_bytes(buf_bytes(&w->found), want);
}

#endif
