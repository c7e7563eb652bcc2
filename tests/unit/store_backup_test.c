/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* An etcd whose disk is put back to what it was: its revisions fall under the
 * feet of servers that go on. */
#include "store/etcd_impl.h"

#include "unit/store_etcd.h"
#include "unit/store_past.h"

struct server {
    struct world w;
    struct store_options options;
    char url[160];
};

static void server_open(struct server *s, const char *id, const char *url)
{
    struct errtext t = {{0}};

    world_init(&s->w);
    snprintf(s->url, sizeof s->url, "%s", url);
    s->options = world_options(&s->w, STORE_ETCD, s->url);
    s->options.server_id = id;
    enum err e = store_open(&s->options, &s->w.store, &t);
    if (e != ERR_OK)
        fail_msg("open: %s: %s", err_text(e), t.s);
    world_until(&s->w, s->w.ups > 0);
    s->w.may_fall = true;
}

static void server_close(struct server *s)
{
    world_close(&s->w);
    world_fini(&s->w);
}

static void copy_data(const struct etcd_child *c, const char *from,
                      const char *to)
{
    char cmd[600];

    snprintf(cmd, sizeof cmd, "rm -rf '%s/%s' && cp -r '%s/%s' '%s/%s'", c->dir,
             to, c->dir, from, c->dir, to);
    assert_int_equal(system(cmd), 0);
}

static void save(struct etcd_child *c)
{
    etcd_kill(c, SIGKILL);
    copy_data(c, "data", "saved");
    etcd_run(c, NULL);
}

static void put_back(struct etcd_child *c)
{
    etcd_kill(c, SIGKILL);
    copy_data(c, "saved", "data");
    etcd_run(c, NULL);
}

/* Until the listener has loaded once more. */
static void wait_for_load(struct world *w, int loads)
{
    while (w->loads == loads)
        (void)world_barrier_try(w);
    (void)world_barrier_patient(w);
}

static void put_patiently(struct world *w, const char *key, const char *value)
{
    struct store_outcome o;
    struct waited x;

    do {
        waited_init(&x, w);
        waited_op(&x, OP_PUT, key, value);
        o = waited_commit(&x);
    } while (o.verdict == STORE_UNAVAILABLE);
    assert_int_equal(o.verdict, STORE_COMMITTED);
}

static void
an_etcd_put_back_to_a_backup_is_loaded_and_takes_writes(void **state)
{
    struct server a, b;
    enum err e;

    (void)state;
    (void)etcd_fresh();
    server_open(&a, "server-1", etcd_child.url);
    server_open(&b, "server-2", etcd_child.url);
    (void)world_put(&a.w, "kept", "1");
    save(&etcd_child);
    put_patiently(&a.w, "kept", "2");
    for (int i = 0; i < 50; i++)
        (void)world_put(i % 2 ? &a.w : &b.w, "gone", i % 4 < 2 ? "x" : "y");
    (void)world_barrier_patient(&b.w);
    uint64_t before = world_revision(&a.w);
    int loads = a.w.loads, loads_b = b.w.loads;

    put_back(&etcd_child);
    wait_for_load(&a.w, loads);
    wait_for_load(&b.w, loads_b);
    assert_true(world_revision(&a.w) < before);
    world_expect(&a.w, "kept", "1");
    world_expect(&a.w, "gone", NULL);
    put_patiently(&a.w, "new", "1");
    put_patiently(&b.w, "new", "2");
    (void)world_barrier_patient(&a.w);
    world_expect(&a.w, "new", "2");
    free(world_history(&a.w, world_revision(&a.w), &e));
    assert_ok(e);
    server_close(&a);
    server_close(&b);
}

/* An import of nothing. */
struct empty {
    struct store_import import;
    struct world *w;
    enum err e;
    bool over;
};

static struct store_batch *empty_next(struct store_import *i)
{
    (void)i;
    return NULL;
}

static void empty_done(struct store_import *i, enum err e, uint32_t epoch)
{
    struct empty *x = container_of(i, struct empty, import);

    (void)epoch;
    pthread_mutex_lock(&x->w->mutex);
    x->e = e;
    x->over = true;
    pthread_cond_broadcast(&x->w->changed);
    pthread_mutex_unlock(&x->w->mutex);
}

/* The backup has no pointer: its epoch is 0 again. */
static void a_backup_of_before_an_import_is_of_its_epoch(void **state)
{
    struct empty x = {.import = {.next = empty_next, .done = empty_done}};
    struct server a;

    (void)state;
    (void)etcd_fresh();
    server_open(&a, "server-1", etcd_child.url);
    (void)world_put(&a.w, "kept", "1");
    save(&etcd_child);
    put_patiently(&a.w, "kept", "2");
    int loads = a.w.loads;
    x.w = &a.w;
    assert_ok(store_import_begin(a.w.store, &x.import));
    world_until(&a.w, x.over);
    assert_ok(x.e);
    world_until(&a.w, a.w.loads > loads);
    world_expect(&a.w, "kept", NULL);
    assert_int_equal(world_revision(&a.w) >> STORE_EPOCH_SHIFT, 1);
    for (int i = 0; i < 20; i++)
        (void)world_put(&a.w, "gone", i % 2 ? "x" : "y");
    loads = a.w.loads;

    put_back(&etcd_child);
    wait_for_load(&a.w, loads);
    assert_int_equal(world_revision(&a.w) >> STORE_EPOCH_SHIFT, 0);
    world_expect(&a.w, "kept", "1");
    world_expect(&a.w, "gone", NULL);
    put_patiently(&a.w, "new", "1");
    world_expect(&a.w, "new", "1");
    server_close(&a);
}

/* --- A disk that is full -------------------------------------------------- */

enum { FILLERS = 100, ROUNDS_MAX = 20, NEVER = -1, NOBODY_KNOWS = -2 };

struct fillers {
    struct waited x[FILLERS];
    char key[FILLERS][16];
    int in[FILLERS]; /* the last round that was committed */
    char value[ROUNDS_MAX][100 * 1024];
    int refused;
};

static bool is_full(struct fillers *f, int *ret_done)
{
    f->refused = *ret_done = 0;
    for (int i = 0; i < FILLERS; i++) {
        const struct store_outcome *o = &f->x[i].outcome;

        *ret_done += f->x[i].done;
        f->refused += f->x[i].done && o->verdict == STORE_REFUSED &&
                      o->why == ERR_NOSPACE;
    }
    return f->refused > 0;
}

static void fill(struct fillers *f, struct world *w, int round)
{
    memset(f->value[round], 'a' + round, sizeof f->value[round] - 1);
    for (int i = 0; i < FILLERS; i++) {
        snprintf(f->key[i], sizeof f->key[i], "k/%d", i);
        waited_init(&f->x[i], w);
        waited_op(&f->x[i], OP_PUT, f->key[i], f->value[round]);
        waited_submit(&f->x[i]);
    }
    int done = 0;

    world_until(w, is_full(f, &done) || done == FILLERS);
    if (f->refused) /* whose outcome was lost cannot be barred any more */
        store_hurry(w->store);
    for (int i = 0; i < FILLERS; i++) {
        struct store_outcome o = waited_wait(&f->x[i]);

        if (o.verdict == STORE_COMMITTED)
            f->in[i] = round;
        else if (o.why == ERR_UNKNOWN)
            f->in[i] = NOBODY_KNOWS;
    }
}

/* etcd looks at its quota when a request comes, and again when it carries it out:
 * then it does so, and answers that there is no space. */
static void who_hears_that_etcd_is_full_is_not_in(void **state)
{
    struct fillers *f = calloc(1, sizeof *f);
    struct etcd_child c = {0};
    struct server s;

    (void)state;
    memset(f->in, NEVER, sizeof f->in);
    etcd_begin(&c, "--quota-backend-bytes=4000000");
    server_open(&s, "server-1", c.url);
    /* What etcd holds in memory, for a moment, its quota does not count. */
    for (int round = 0; round < ROUNDS_MAX && !f->refused; round++)
        fill(f, &s.w, round);
    assert_true(f->refused > 0);
    (void)world_barrier_patient(&s.w);
    for (int i = 0; i < FILLERS; i++)
        if (f->in[i] != NOBODY_KNOWS)
            world_expect(&s.w, f->key[i],
                         f->in[i] == NEVER ? NULL : f->value[f->in[i]]);
    server_close(&s);
    etcd_end(&c);
    free(f);
}

struct asked {
    bool is_done;
    enum err e;
};

static void on_asked(void *ctx, enum err e, uint64_t revision)
{
    (void)revision;
    *(struct asked *)ctx = (struct asked){true, e};
}

static void no_row(void *ctx, const struct backend_row *row)
{
    (void)ctx;
    (void)row;
}

/* After a gap etcd is tried anew, and meanwhile each group of unknown outcome
 * reads the past: found by torture, as an abort. */
static void several_may_read_while_etcd_is_tried_again(void **state)
{
    struct asked asked[3] = {{0}};
    struct store_etcd none = {0};
    struct errtext t = {{0}};
    struct backend *b;
    uv_loop_t loop;

    (void)state;
    assert_ok(backend_etcd_open(etcd_fresh(), &none, "server-1", &b, &t));
    assert_int_equal(uv_loop_init(&loop), 0);
    b->ops->attach(b, &loop);
    container_of(b, struct etcd, backend)->tried = false;
    for (size_t i = 0; i < 3; i++)
        b->ops->range(b, bytes_str("k"), 0, no_row, on_asked, &asked[i]);
    while (!asked[0].is_done || !asked[1].is_done || !asked[2].is_done)
        (void)uv_run(&loop, UV_RUN_ONCE);
    for (size_t i = 0; i < 3; i++)
        assert_ok(asked[i].e);
    /* Whoever waits still is forgotten. */
    container_of(b, struct etcd, backend)->tried = false;
    for (size_t i = 0; i < 3; i++)
        b->ops->range(b, bytes_str("k"), 0, no_row, on_asked, &asked[i]);
    b->ops->close(b);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static struct CMUnitTest tests[] = {
    cmocka_unit_test(several_may_read_while_etcd_is_tried_again),
    cmocka_unit_test(an_etcd_put_back_to_a_backup_is_loaded_and_takes_writes),
    cmocka_unit_test(a_backup_of_before_an_import_is_of_its_epoch),
    cmocka_unit_test(who_hears_that_etcd_is_full_is_not_in),
};

int main(void)
{
    for (size_t i = 0; !etcd_installed() && i < sizeof tests / sizeof *tests;
         i++)
        tests[i].test_func = needs_etcd;
    cmocka_set_message_output(CM_OUTPUT_TAP);
    int failed = _cmocka_run_group_tests(
        "tests", tests, sizeof tests / sizeof *tests, NULL, NULL);

    etcd_end(&etcd_child);
    return failed;
}
