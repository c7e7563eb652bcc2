/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* A list of etcd's addresses that are not members of one cluster, from the start
 * or later; and a cluster in whose place there is another one. */
#include "store/backend.h"

#include "base/metric.h"
#include "unit/store_proxy.h"

/* Two etcds that know nothing of each other. */
struct pair {
    struct etcd_child a, b;
    char url[160];
};

static void pair_name(struct pair *p, int first, int second)
{
    snprintf(p->url, sizeof p->url, "etcd://127.0.0.1:%d,127.0.0.1:%d", first,
             second);
}

static void pair_begin(struct pair *p)
{
    etcd_begin(&p->a, NULL);
    etcd_begin(&p->b, NULL);
    pair_name(p, p->a.client_port, p->b.client_port);
}

static void pair_end(struct pair *p)
{
    etcd_end(&p->a);
    etcd_end(&p->b);
}

static void open_server(struct world *w, const char *url)
{
    struct errtext t = {{0}};
    struct store_options o;

    world_init(w);
    w->may_fall = true; /* another life of etcd */
    o = world_options(w, STORE_ETCD, url);
    o.server_id = "server-1";
    enum err e = store_open(&o, &w->store, &t);
    if (e != ERR_OK)
        fail_msg("open: %s: %s", err_text(e), t.s);
}

static void close_server(struct world *w)
{
    world_close(w);
    world_fini(w);
}

static uint64_t header_number(const struct etcd_child *c, const char *name)
{
    char *answer = etcd_ask(c, "/v3/maintenance/status", "{}");
    uint64_t n = 0;

    assert_non_null(answer);
    assert_ok(etcd_number_read(bytes_str(answer), "header", name, &n));
    free(answer);
    return n;
}

static void expect_said(const struct errtext *t, const char *part)
{
    if (!strstr(t->s, part))
        fail_msg("\"%s\" does not say \"%s\"", t->s, part);
}

static struct store_outcome put_once(struct world *w, const char *key,
                                     const char *value)
{
    struct waited x;

    waited_init(&x, w);
    waited_op(&x, OP_PUT, key, value);
    return waited_commit(&x);
}

/* As its clients do. */
static void put_patient(struct world *w, const char *key, const char *value)
{
    while (put_once(w, key, value).verdict != STORE_COMMITTED)
        world_until(w, w->up);
}

/* The same data directory's place, with nothing in it: what a restore into a new
 * cluster looks like. */
static void begin_anew(struct etcd_child *c, const char *token)
{
    char data[160];

    etcd_kill(c, SIGKILL);
    snprintf(data, sizeof data, "%s/data", c->dir);
    world_rmdir(data);
    etcd_run(c, token);
}

/* --- From the start ------------------------------------------------------ */

static void two_etcds_in_one_list_are_refused_by_both_their_names(void **state)
{
    const struct store_etcd plain = {0};
    struct errtext t = {{0}};
    struct backend *b = NULL;
    struct pair p = {0};
    char text[64];

    (void)state;
    pair_begin(&p);
    assert_int_equal(backend_etcd_open(p.url, &plain, "server-1", &b, &t),
                     ERR_BAD);
    const struct etcd_child *each[] = {&p.a, &p.b};
    for (size_t i = 0; i < 2; i++) {
        snprintf(text, sizeof text, "127.0.0.1:%d", each[i]->client_port);
        expect_said(&t, text);
        snprintf(text, sizeof text, "%llx",
                 (unsigned long long)header_number(each[i], "cluster_id"));
        expect_said(&t, text);
    }
    expect_said(&t, "name the members of one");
    pair_end(&p);
}

static void one_member_by_two_addresses_is_no_other_etcd(void **state)
{
    struct proxy proxy = {0};
    struct pair p = {0};
    struct world w;

    (void)state;
    (void)etcd_fresh();
    proxy_begin(&proxy, etcd_child.client_port, 1, 0);
    pair_name(&p, etcd_child.client_port, proxy.port);
    open_server(&w, p.url);
    world_until(&w, w.ups > 0);
    assert_int_equal(put_once(&w, "k", "v").verdict, STORE_COMMITTED);
    close_server(&w);
    proxy_end(&proxy);
}

/* --- Later --------------------------------------------------------------- */

static void an_etcd_of_another_cluster_is_left_out_when_it_appears(void **state)
{
    struct pair p = {0};
    struct world w;

    (void)state;
    pair_begin(&p);
    etcd_kill(&p.b, SIGKILL);
    open_server(&w, p.url);
    world_until(&w, w.ups > 0);
    assert_int_equal(put_once(&w, "k", "1").verdict, STORE_COMMITTED);
    int loads = w.loads;

    etcd_run(&p.b, NULL);
    etcd_kill(&p.a, SIGKILL); /* now only the wrong one answers */
    int downs = w.downs;
    for (int i = 0; i < 5; i++)
        assert_int_equal(put_once(&w, "k", "lost").verdict, STORE_UNAVAILABLE);
    world_until(&w, w.downs > downs);
    assert_int_equal(metric_get(METRIC_STORE_ETCD_FOREIGN), 1);
    assert_int_equal(header_number(&p.b, "revision"), 1);

    etcd_run(&p.a, NULL);
    put_patient(&w, "k", "2");
    world_expect(&w, "k", "2");
    assert_int_equal(w.loads, loads);
    assert_int_equal(header_number(&p.b, "revision"), 1);
    close_server(&w);
    pair_end(&p);
}

/* Nobody had to fail before it is told. */
static void
an_etcd_of_another_cluster_is_told_of_while_all_is_well(void **state)
{
    struct pair p = {0};
    struct world w;

    (void)state;
    pair_begin(&p);
    etcd_kill(&p.b, SIGKILL);
    open_server(&w, p.url);
    world_until(&w, w.ups > 0);
    assert_int_equal(metric_get(METRIC_STORE_ETCD_FOREIGN), 0);
    etcd_run(&p.b, NULL);
    for (int i = 0; metric_get(METRIC_STORE_ETCD_FOREIGN) != 1; i++) {
        assert_true(i < PATIENCE_S * 50);
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL); /* sleep: a
                                      metric wakes nobody */
    }
    assert_int_equal(put_once(&w, "k", "1").verdict, STORE_COMMITTED);
    assert_int_equal(header_number(&p.b, "revision"), 1);
    close_server(&w);
    assert_int_equal(metric_get(METRIC_STORE_ETCD_FOREIGN), 0);
    pair_end(&p);
}

/* --- Another one in its place -------------------------------------------- */

static void an_etcd_that_is_a_new_cluster_is_followed_at_once(void **state)
{
    struct etcd_child c = {0};
    struct world w;

    (void)state;
    etcd_begin(&c, NULL);
    open_server(&w, c.url);
    world_until(&w, w.ups > 0);
    for (int i = 0; i < 10; i++)
        put_patient(&w, "old", "1");
    int loads = w.loads;
    uint64_t was = header_number(&c, "cluster_id");

    begin_anew(&c, "--initial-cluster-token=anew");
    assert_int_not_equal(header_number(&c, "cluster_id"), was);
    world_until(&w, w.loads > loads && !w.in_load);
    world_expect(&w, "old", NULL);
    put_patient(&w, "new", "1");
    world_expect(&w, "new", "1");
    assert_int_equal(store_cluster(w.store), header_number(&c, "cluster_id"));
    close_server(&w);
    etcd_end(&c);
}

static void a_new_cluster_is_followed_once_all_addresses_tell_it(void **state)
{
    struct proxy proxy = {0};
    struct pair p = {0};
    struct world w;

    (void)state;
    etcd_begin(&p.a, NULL);
    proxy_begin(&proxy, p.a.client_port, 1, 0);
    pair_name(&p, p.a.client_port, proxy.port);
    open_server(&w, p.url);
    world_until(&w, w.ups > 0);
    put_patient(&w, "old", "1");
    int loads = w.loads;

    proxy_end(&proxy);
    begin_anew(&p.a, "--initial-cluster-token=anew");
    for (int i = 0; i < 5; i++)
        assert_int_equal(put_once(&w, "k", "lost").verdict, STORE_UNAVAILABLE);
    assert_int_equal(metric_get(METRIC_STORE_ETCD_FOREIGN), 1);
    assert_int_equal(w.loads, loads);
    assert_int_equal(header_number(&p.a, "revision"), 1);

    proxy_begin(&proxy, p.a.client_port, 1, 0);
    world_until(&w, w.loads > loads && !w.in_load);
    world_expect(&w, "old", NULL);
    put_patient(&w, "new", "1");
    assert_int_equal(metric_get(METRIC_STORE_ETCD_FOREIGN), 0);
    close_server(&w);
    proxy_end(&proxy);
    etcd_end(&p.a);
}

static struct CMUnitTest tests[] = {
    cmocka_unit_test(two_etcds_in_one_list_are_refused_by_both_their_names),
    cmocka_unit_test(one_member_by_two_addresses_is_no_other_etcd),
    cmocka_unit_test(an_etcd_of_another_cluster_is_left_out_when_it_appears),
    cmocka_unit_test(an_etcd_of_another_cluster_is_told_of_while_all_is_well),
    cmocka_unit_test(an_etcd_that_is_a_new_cluster_is_followed_at_once),
    cmocka_unit_test(a_new_cluster_is_followed_once_all_addresses_tell_it),
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
