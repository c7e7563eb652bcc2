/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* store_kinds - every store that the conformance suite runs over: memory,
 * SQLite and etcd, each plain and behind a network that loses, delays and
 * reorders. */
#ifndef STORE_KINDS_H
#define STORE_KINDS_H

#include "unit/store_etcd.h"
#include "unit/store_fault_calls.h"
#include "unit/store_past.h"

struct kind {
    const char *name;
    enum store_kind kind;
    bool faulty;
};

static const struct kind kinds[] = {
    {"memory", STORE_MEMORY, false},
    {"sqlite", STORE_SQLITE, false},
    {"memory behind faults", STORE_MEMORY, true},
    {"sqlite behind faults", STORE_SQLITE, true},
    {"etcd", STORE_ETCD, false},
    {"etcd behind faults", STORE_ETCD, true},
};

enum { KINDS = sizeof kinds / sizeof kinds[0] };

/* A world over one kind; for SQLite in a directory of its own. */
struct stage_set {
    const struct kind *kind;
    struct world w;
    struct fault_plan plan;
    struct store_options options;
    char dir[128], path[160];
};

static inline enum err kind_open(const struct stage_set *x,
                                 struct backend **ret, struct errtext *t)
{
    const struct store_etcd plain = {0};

    switch (x->kind->kind) {
    case STORE_MEMORY:
        return backend_memory_open(ret, t);
    case STORE_SQLITE:
        return backend_sqlite_open(x->path, ret, t);
    case STORE_ETCD:
        return backend_etcd_open(x->path, &plain, "server-1", ret, t);
    }
    return ERR_BAD;
}

static inline void set_open(struct stage_set *x)
{
    struct errtext t = {{0}};
    struct backend *b = NULL;
    enum err e = kind_open(x, &b, &t);
    int ups = x->w.ups;

    if (e != ERR_OK)
        fail_msg("open: %s: %s", err_text(e), t.s);
    if (x->kind->faulty)
        b = fault_wrap(b, &x->plan);
    e = store_open_backend(&x->options, b, &x->w.store, &t);
    if (e != ERR_OK)
        fail_msg("open: %s", t.s);
    world_until(&x->w, x->w.ups > ups);
}

static inline struct fault_plan kind_faults(uint64_t seed)
{
    return (struct fault_plan){
        .seed = seed,
        .slots = 3,
        .lost_in = 100,
        .lost_out = 70,
        .lost_late = 70,
        .read_failed = 20,
        .slow = 600,
    };
}

static inline void set_init(struct stage_set *x, const struct kind *kind)
{
    *x = (struct stage_set){.kind = kind, .plan = kind_faults(1)};
    world_init(&x->w);
    if (kind->kind == STORE_SQLITE) {
        world_tmpdir(x->dir, sizeof x->dir);
        snprintf(x->path, sizeof x->path, "%s/store.db", x->dir);
    }
    if (kind->kind == STORE_ETCD)
        snprintf(x->path, sizeof x->path, "%s", etcd_fresh());
    x->options = world_options(&x->w, kind->kind, x->path);
}

static inline void set_fini(struct stage_set *x)
{
    world_check(&x->w);
    assert_int_equal(x->w.done_before_feed, 0);
    world_fini(&x->w);
    if (x->dir[0])
        world_rmdir(x->dir);
}

static inline int kind_set_up(void **state)
{
    struct stage_set *x = malloc(sizeof *x);

    set_init(x, *state);
    *state = x;
    set_open(x);
    return 0;
}

static inline int kind_tear_down(void **state)
{
    struct stage_set *x = *state;

    if (x->w.store)
        world_close(&x->w);
    set_fini(x);
    free(x);
    return 0;
}

/* A test over all kinds: its state is an open struct stage_set. */
#define OVER(test, k)                                                          \
    {                                                                          \
#test " over " #k, test, kind_set_up, kind_tear_down,                  \
            (void *)&kinds[k]                                                  \
    }
#define OVER_ALL(test)                                                         \
    OVER(test, 0), OVER(test, 1), OVER(test, 2), OVER(test, 3), OVER(test, 4), \
        OVER(test, 5)

/* Without etcd its tests are skipped. */
static inline int kinds_run(struct CMUnitTest *tests, size_t n)
{
    bool have = etcd_installed();

    for (size_t i = 0; i < n; i++) {
        const struct kind *k = tests[i].initial_state;

        if (!have && k && k->kind == STORE_ETCD) {
            tests[i].test_func = needs_etcd;
            tests[i].setup_func = tests[i].teardown_func = NULL;
        }
    }
    cmocka_set_message_output(CM_OUTPUT_TAP);
    int failed = _cmocka_run_group_tests("tests", tests, n, NULL, NULL);

    etcd_end(&etcd_child);
    return failed;
}

#define RUN_KINDS(tests)                                                       \
    int main(void)                                                             \
    {                                                                          \
        return kinds_run(tests, sizeof tests / sizeof tests[0]);               \
    }

#endif
