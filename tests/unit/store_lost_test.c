/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* A group whose outcome is lost while all others are refused. */
#include "store/backend.h"

#include "unit/store_world.h"

static const struct backend_ops *real;
static bool was_lost; /* the answer to the first group */
static int refused;   /* until then its bars are lost, too */

enum { REFUSED_FIRST = 100 };

/* A change of the group writes this key: its own, without the epoch's prefix. */
static bool writes(const struct backend_group *g, const char *key)
{
    return g->change_count && g->changes[0].op_count &&
           bytes_ends(g->changes[0].ops[0].key, bytes_str(key));
}

static void txn(struct backend *b, struct backend_group *g)
{
    bool bar = g->change_count == 0 && g->own_guard_count == 1;

    if ((writes(g, "lost") && !was_lost) || (bar && refused < REFUSED_FIRST)) {
        was_lost = true;
        g->verdict = BACKEND_UNKNOWN;
        g->why = ERR_TIMEOUT;
        g->done(g);
    } else if (writes(g, "refused")) {
        refused++;
        g->verdict = BACKEND_FAILED;
        g->why = ERR_UNAVAILABLE;
        g->done(g);
    } else {
        real->txn(b, g);
    }
}

/* Tries again at once, as many clients do, until the first is answered. */
struct insistent {
    struct waited x;
    const struct waited *first;
};

static void insist(struct store_change *c, const struct store_outcome *o)
{
    struct insistent *i = container_of(c, struct insistent, x.change);
    struct world *w = i->x.world;
    struct errtext t;

    pthread_mutex_lock(&w->mutex);
    bool over = i->first->done;
    pthread_mutex_unlock(&w->mutex);
    if (over || store_submit(w->store, c, &t) != ERR_OK)
        waited_done(c, o);
}

static void
others_that_fail_do_not_put_off_the_search_for_an_outcome(void **state)
{
    struct backend_ops ops;
    struct backend *b = NULL;
    struct errtext t = {{0}};
    struct insistent i = {0};
    struct waited first;
    struct world w;

    (void)state;
    world_init(&w);
    assert_ok(backend_memory_open(&b, &t));
    real = b->ops;
    ops = *real;
    ops.txn = txn;
    ops.slots = 2;
    b->ops = &ops;
    struct store_options o = world_options(&w, STORE_MEMORY, NULL);
    assert_ok(store_open_backend(&o, b, &w.store, &t));
    world_until(&w, w.ups > 0);

    waited_init(&first, &w);
    waited_init(&i.x, &w);
    i.first = &first;
    i.x.change.done = insist;
    waited_op(&first, OP_PUT, "lost", "x");
    waited_op(&i.x, OP_PUT, "refused", "x");
    waited_submit(&first);
    world_until(&w, w.downs > 0);
    waited_submit(&i.x);
    assert_int_equal(waited_wait(&first).verdict, STORE_COMMITTED);
    (void)waited_wait(&i.x);
    world_expect(&w, "lost", "x");
    world_close(&w);
    world_fini(&w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(others_that_fail_do_not_put_off_the_search_for_an_outcome),
};

RUN_TESTS(tests)
