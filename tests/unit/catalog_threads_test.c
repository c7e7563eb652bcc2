/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Readers walk whole versions while the writer makes new ones as fast as it
 * can, loads again now and then, and somebody else publishes in the same
 * domain. What a reader sees must fit together; the sanitizers watch the rest.
 */
#include <pthread.h>
#include <stdio.h>

#include "base/check.h"
#include "catalog_world.h"

enum { READERS = 3, ROUNDS = 300, NODES = 5, SERVICES = 12 };

struct shared {
    struct world *w;
    _Atomic int readers_left;
};

static void check_instance(const struct snapshot *s,
                           const struct cat_instance *i)
{
    struct service_view v;
    struct check_view c;

    cat_service_view(i->service, &v);
    const struct cat_node *n = snapshot_node_of(s, i);
    require(n != NULL);
    require(cat_node_service(n, v.id) == i);
    for (uint32_t k = 0; k < i->check_count; k++) {
        cat_check_view(i->checks[k], &c);
        require(bytes_eq_fold(c.service_id, v.id));
        require(cat_node_check(n, c.id) == i->checks[k]);
    }
}

static void check_version(const struct snapshot *s)
{
    struct tree_iter names, inner;
    size_t instances = 0;

    snapshot_names(s, &names);
    for (const struct cat_name *n; (n = snapshot_next_name(&names));) {
        struct bytes text = bytes_of(n->name, n->name_len);
        require(snapshot_name(s, text) == n);
        require(snapshot_index(s, (struct watch_key){WATCH_SERVICE, text}) <=
                snapshot_revision(s));
        tree_first(&n->instances, &inner);
        for (const struct cat_instance *i; (i = tree_next(&inner));) {
            check_instance(s, i);
            instances++;
        }
    }
    require(instances == snapshot_instance_count(s));
}

static void *read_rounds(void *arg)
{
    struct shared *sh = arg;
    uint64_t last = 0;
    int slot;

    require(pin_slot(&sh->w->pins, &slot) == ERR_OK);
    for (int i = 0; i < ROUNDS; i++) {
        pin_enter(&sh->w->pins, slot);
        const struct snapshot *s = catalog_current(sh->w->catalog);
        require(snapshot_revision(s) >= last);
        last = snapshot_revision(s);
        check_version(s);
        pin_leave(&sh->w->pins, slot);
    }
    atomic_fetch_sub(&sh->readers_left, 1);
    return NULL;
}

static void random_put(struct world *w, uint64_t *seed)
{
    char node[8], id[8], name[8];

    (void)snprintf(node, sizeof node, "n%zu", below(seed, NODES));
    (void)snprintf(id, sizeof id, "s%zu", below(seed, SERVICES));
    (void)snprintf(name, sizeof name, "name%zu", below(seed, 4));
    if (chance(seed, 20))
        world_put_node(w, &(struct node_view){.name = bytes_str(node),
                                              .id = bytes_str(node)});
    else if (chance(seed, 50))
        world_put_service(w, node,
                          &(struct service_view){.id = bytes_str(id),
                                                 .name = bytes_str(name)});
    else
        world_put_check(w, node,
                        &(struct check_view){.id = bytes_str(id),
                                             .service_id = bytes_str(id),
                                             .status = bytes_str(name)});
    if (w->n && chance(seed, 30)) {
        struct bytes key = row_key(w->rows[below(seed, w->n)]);
        char copy[WORLD_KEY_MAX];
        memcpy(copy, key.p, key.n);
        world_delete(w, bytes_of(copy, key.n));
    }
}

static void readers_see_whole_versions_whatever_the_writer_does(void **state)
{
    (void)state;
    struct shared sh = {.w = world_new(), .readers_left = READERS};
    pthread_t threads[READERS];
    uint64_t seed = 42;

    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_rounds, &sh),
                         0);
    while (atomic_load(&sh.readers_left) > 0) {
        sh.w->revision++;
        for (size_t i = below(&seed, 5); i > 0; i--)
            random_put(sh.w, &seed);
        if (chance(&seed, 10))
            pin_publish(&sh.w->pins);
        (void)world_commit(sh.w);
        if (chance(&seed, 2))
            world_load(sh.w, sh.w->catalog, &seed);
    }
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_snapshot_is(catalog_current(sh.w->catalog), sh.w, "after all", 42,
                       0);
    world_free(sh.w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(readers_see_whole_versions_whatever_the_writer_does),
};

RUN_TESTS(tests)
