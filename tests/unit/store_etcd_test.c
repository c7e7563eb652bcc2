/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What only etcd can do to a store: it is refused, killed, stopped, cut off,
 * compacted by others, wants a password. The contract itself is in the suites
 * over all kinds. */
#include "store/backend.h"

#include "base/metric.h"
#include "unit/store_past.h"
#include "unit/store_proxy.h"

/* A server: a store and its listener. */
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
}

static void server_close(struct server *s)
{
    world_close(&s->w);
    assert_int_equal(s->w.done_before_feed, 0);
    world_fini(&s->w);
}

static enum err open_says(const char *url, const struct store_etcd *o,
                          struct errtext *t)
{
    struct backend *b = NULL;

    return backend_etcd_open(url, o, "server-1", &b, t);
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

/* --- Opening ------------------------------------------------------------- */

static void an_address_that_is_none_is_refused_by_name(void **state)
{
    static const struct {
        const char *url, *says;
    } bad[] = {
        {"http://a:1", "\"http://a:1\" does not begin with etcd://"},
        {"etcd://", "\"\" is no host:port"},
        {"etcd://a:1,,b:2", "\"\" is no host:port"},
        {"etcd://a:1,", "\"\" is no host:port"},
        {"etcd://a:1/x", "\"a:1/x\" is no host:port"},
        {"etcd://u@a:1", "\"u@a:1\" is no host:port"},
        {"etcd://a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a", "more than 16 members"},
    };
    const struct store_etcd plain = {0};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct errtext t = {{0}};

        assert_int_not_equal(open_says(bad[i].url, &plain, &t), ERR_OK);
        expect_said(&t, bad[i].says);
    }
}

static void an_etcd_with_small_transactions_is_refused_by_flag(void **state)
{
    const struct store_etcd plain = {0};
    struct etcd_child c = {0};
    struct errtext t = {{0}};

    (void)state;
    etcd_begin(&c, "--max-txn-ops=128");
    assert_int_equal(open_says(c.url, &plain, &t), ERR_LIMIT);
    expect_said(&t, "--max-txn-ops 1024");
    expect_said(&t, "http://127.0.0.1:");
    etcd_end(&c);
}

static void an_etcd_that_others_use_is_refused(void **state)
{
    static const char *const foreign[] = {
        "{\"key\":\"L3JlZ2lzdHJ5\"}", /* /registry */
        "{\"key\":\"eg==\"}",         /* z */
        "{\"key\":\"RQA=\"}",         /* E and a NUL */
    };
    const struct store_etcd plain = {0};
    struct backend *b = NULL;
    struct errtext t = {{0}};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        const char *url = etcd_fresh();

        free(etcd_ask(&etcd_child, "/v3/kv/put", foreign[i]));
        assert_int_equal(open_says(url, &plain, &t), ERR_BAD);
        expect_said(&t, "give muster an etcd of its own");
    }
    expect_said(&t, "\"E");
    (void)b;
}

/* Servers may start before their etcd. */
static void an_etcd_that_is_not_there_yet_is_waited_for(void **state)
{
    struct server s;

    (void)state;
    (void)etcd_fresh();
    etcd_kill(&etcd_child, SIGKILL);
    server_open(&s, "server-1", etcd_child.url);
    world_until(&s.w, s.w.downs > 0);
    etcd_run(&etcd_child, NULL);
    world_until(&s.w, s.w.ups > 0);
    (void)world_put(&s.w, "a", "1");
    world_expect(&s.w, "a", "1");
    server_close(&s);
}

static void who_waits_for_an_etcd_that_never_came_is_answered(void **state)
{
    struct server s;

    (void)state;
    (void)etcd_fresh();
    etcd_kill(&etcd_child, SIGKILL);
    server_open(&s, "server-1", etcd_child.url);
    world_until(&s.w, s.w.downs > 0);
    struct world_barrier x = {.world = &s.w, .barrier = {.done = barrier_over}};
    assert_ok(store_barrier_begin(s.w.store, &x.barrier));
    server_close(&s);
    etcd_run(&etcd_child, NULL); /* for the next test */
    assert_true(x.over);
    assert_int_equal(x.e, ERR_CLOSED);
}

/* --- Several servers ----------------------------------------------------- */

static void what_one_server_writes_another_sees(void **state)
{
    struct server a, b;

    (void)state;
    server_open(&a, "server-1", etcd_fresh());
    server_open(&b, "server-2", etcd_child.url);
    world_until(&a.w, a.w.ups > 0);
    world_until(&b.w, b.w.ups > 0);
    for (int i = 0; i < 50; i++) {
        struct server *writer = i % 2 ? &a : &b, *reader = i % 2 ? &b : &a;
        uint64_t r = world_put(&writer->w, "k", i % 3 ? "x" : "y");

        assert_true(world_barrier(&reader->w) >= r);
        world_until(&reader->w, reader->w.revision >= r);
        world_expect(&reader->w, "k", i % 3 ? "x" : "y");
    }
    server_close(&a);
    server_close(&b);
}

/* The answer to a barrier and the news of a write that came right after it are on
 * their way at the same time. */
static void a_barrier_that_a_write_overtakes_is_no_other_life(void **state)
{
    struct server a, b;

    (void)state;
    server_open(&a, "server-1", etcd_fresh());
    server_open(&b, "server-2", etcd_child.url);
    world_until(&a.w, a.w.ups > 0);
    world_until(&b.w, b.w.ups > 0);
    int loads = b.w.loads;

    for (int i = 0; i < 1500; i++) {
        struct waited x;

        waited_init(&x, &a.w);
        waited_op(&x, OP_PUT, "k", i % 2 ? "x" : "y");
        waited_submit(&x);
        (void)world_barrier(&b.w);
        (void)waited_wait(&x);
    }
    assert_int_equal(b.w.loads, loads);
    server_close(&a);
    server_close(&b);
}

/* --- Faults -------------------------------------------------------------- */

enum { WRITES = 400 };

struct writes {
    struct waited x[WRITES];
    char key[WRITES][16];
};

static void writes_begin(struct writes *ws, struct world *w, int from, int to)
{
    for (int i = from; i < to; i++) {
        snprintf(ws->key[i], sizeof ws->key[i], "w/%d", i);
        waited_init(&ws->x[i], w);
        waited_guard(&ws->x[i], GUARD_ABSENT, ws->key[i], 0);
        waited_op(&ws->x[i], OP_PUT, ws->key[i], "x");
        waited_submit(&ws->x[i]);
    }
}

/* Whatever was answered is so: in etcd, as the listener has it. A conflict
 * would mean that something was written twice. */
static void writes_check(struct writes *ws, struct world *w)
{
    int committed = 0;

    for (int i = 0; i < WRITES; i++) {
        struct store_outcome o = waited_wait(&ws->x[i]);

        if (o.verdict != STORE_COMMITTED && o.verdict != STORE_UNAVAILABLE)
            fail_msg("%s: verdict %d: %s", ws->key[i], o.verdict, o.text.s);
        assert_int_not_equal(o.why, ERR_UNKNOWN);
        bool in = o.verdict == STORE_COMMITTED;
        committed += in;
        world_expect(w, ws->key[i], in ? "x" : NULL);
    }
    assert_true(committed > 0);
}

static void a_killed_etcd_loses_nothing_and_nothing_goes_in_twice(void **state)
{
    struct writes *ws = calloc(1, sizeof *ws);
    struct server s;

    (void)state;
    server_open(&s, "server-1", etcd_fresh());
    world_until(&s.w, s.w.ups > 0);
    for (int round = 0; round < 4; round++) {
        int from = round * WRITES / 4;

        writes_begin(ws, &s.w, from, from + WRITES / 4);
        etcd_kill(&etcd_child, SIGKILL);
        etcd_run(&etcd_child, NULL);
        while (waited_wait(&ws->x[from + WRITES / 4 - 1]).verdict >
               STORE_UNAVAILABLE)
            continue;
    }
    while (!s.w.up)
        world_until(&s.w, s.w.up);
    (void)world_barrier_patient(&s.w);
    writes_check(ws, &s.w);
    server_close(&s);
    free(ws);
}

static void a_stopped_etcd_holds_up_and_then_goes_on(void **state)
{
    struct writes *ws = calloc(1, sizeof *ws);
    struct server s;

    (void)state;
    server_open(&s, "server-1", etcd_fresh());
    world_until(&s.w, s.w.ups > 0);
    writes_begin(ws, &s.w, 0, WRITES / 2);
    kill(etcd_child.pid, SIGSTOP);
    writes_begin(ws, &s.w, WRITES / 2, WRITES);
    world_until(&s.w, s.w.downs > 0);
    kill(etcd_child.pid, SIGCONT);
    world_until(&s.w, s.w.up);
    (void)world_barrier_patient(&s.w);
    writes_check(ws, &s.w);
    server_close(&s);
    free(ws);
}

/* Who waits for answers before he closes the store gets them. */
static void a_process_that_ends_waits_for_no_etcd_that_is_gone(void **state)
{
    struct writes *ws = calloc(1, sizeof *ws);
    struct server s;

    (void)state;
    server_open(&s, "server-1", etcd_fresh());
    world_until(&s.w, s.w.ups > 0);
    kill(etcd_child.pid, SIGSTOP); /* in flight, and then lost */
    int how = 0; /* all its threads: else one more may be answered */
    assert_int_equal(waitpid(etcd_child.pid, &how, WUNTRACED), etcd_child.pid);
    assert_true(WIFSTOPPED(how));
    writes_begin(ws, &s.w, 0, WRITES);
    etcd_kill(&etcd_child, SIGKILL);
    store_hurry(s.w.store);
    for (int i = 0; i < WRITES; i++)
        assert_int_equal(waited_wait(&ws->x[i]).verdict, STORE_UNAVAILABLE);
    server_close(&s);
    etcd_run(&etcd_child, NULL);
    free(ws);
}

/* Acknowledgements get lost, requests too, and libcurl repeats some. */
static void connections_that_are_cut_change_nothing(void **state)
{
    int64_t unknown = metric_get(METRIC_STORE_UNKNOWN);

    (void)state;
    for (unsigned seed = 1; seed <= 3; seed++) {
        struct writes *ws = calloc(1, sizeof *ws);
        struct proxy p = {0};
        struct server s;

        (void)etcd_fresh();
        proxy_begin(&p, etcd_child.client_port, seed, 40000);
        server_open(&s, "server-1", p.url);
        world_until(&s.w, s.w.ups > 0);
        for (int i = 0; i < WRITES; i++) {
            writes_begin(ws, &s.w, i, i + 1);
            if (i % 3 == 0)
                (void)waited_wait(&ws->x[i]);
        }
        for (int i = 0; i < WRITES; i++)
            (void)waited_wait(&ws->x[i]);
        (void)world_barrier_patient(&s.w);
        writes_check(ws, &s.w);
        server_close(&s);
        proxy_end(&p);
        free(ws);
    }
    assert_true(metric_get(METRIC_STORE_UNKNOWN) > unknown);
}

static void
a_server_that_missed_a_compaction_loads_again_without_a_gap(void **state)
{
    struct proxy p = {0};
    struct server a, b;
    enum err e;

    (void)state;
    server_open(&a, "server-1", etcd_fresh());
    proxy_begin(&p, etcd_child.client_port, 1, 0);
    server_open(&b, "server-2", p.url);
    world_until(&a.w, a.w.ups > 0);
    world_until(&b.w, b.w.ups > 0);
    uint64_t r = world_put(&a.w, "stays", "1");

    (void)world_put(&a.w, "goes", "1");
    world_until(&b.w, b.w.revision > r);
    int loads = b.w.loads;

    proxy_end(&p); /* b is cut off */
    for (int i = 0; i < 50; i++)
        r = world_put(&a.w, "more", i % 2 ? "x" : "y");
    r = world_put(&a.w, "goes", NULL);
    r = world_put(&a.w, "last", "1");
    store_compact(a.w.store, r);
    while (store_oldest(a.w.store) < r)
        (void)world_barrier(&a.w);
    proxy_begin(&p, etcd_child.client_port, 1, 0);
    world_until(&b.w, b.w.revision >= r);
    assert_int_equal(b.w.loads, loads + 1);
    world_until(&b.w, !b.w.in_load);
    world_expect(&b.w, "stays", "1");
    world_expect(&b.w, "goes", NULL);
    world_expect(&b.w, "last", "1");
    (void)world_barrier(&b.w);
    assert_true(store_oldest(b.w.store) >= r); /* and it knows what is gone */
    free(world_read_at(&b.w, r - 5, "", &e));
    assert_int_equal(e, ERR_COMPACTED);
    server_close(&b);
    server_close(&a);
    proxy_end(&p);
}

struct asked {
    struct store_room room;
    struct world *w;
    bool done;
    enum err e;
};

static void on_room(struct store_room *r, enum err e)
{
    struct asked *a = container_of(r, struct asked, room);

    pthread_mutex_lock(&a->w->mutex);
    a->e = e;
    a->done = true;
    pthread_cond_broadcast(&a->w->changed);
    pthread_mutex_unlock(&a->w->mutex);
}

static void room_ask(struct asked *a, struct world *w,
                     enum store_room_what what, uint64_t member)
{
    *a = (struct asked){.w = w};
    a->room =
        (struct store_room){.what = what, .member = member, .done = on_room};
    assert_ok(store_room_begin(w->store, &a->room));
    world_until(w, a->done);
    if (a->e != ERR_OK)
        fail_msg("%s", a->room.text.s);
}

/* What fills it is history: one key, written again and again. */
static void a_full_etcd_is_made_room_in(void **state)
{
    static char value[100 * 1024];
    struct etcd_child c = {0};
    struct store_outcome o;
    struct server s;
    struct asked a;

    (void)state;
    memset(value, 'v', sizeof value - 1);
    etcd_begin(&c, "--quota-backend-bytes=3000000");
    server_open(&s, "server-1", c.url);
    world_until(&s.w, s.w.ups > 0);
    do
        o = put_once(&s.w, "k", value);
    while (o.verdict == STORE_COMMITTED);
    assert_int_equal(o.verdict, STORE_REFUSED);
    assert_int_equal(o.why, ERR_NOSPACE);
    expect_said(&o.text, "--quota-backend-bytes");
    uint64_t full = world_barrier(&s.w);

    room_ask(&a, &s.w, STORE_ROOM_LOOK, 0);
    assert_int_equal(a.room.quota, 3000000);
    assert_int_equal(a.room.count, 1);
    assert_int_equal(a.room.alarm_count, 1);
    uint64_t member = a.room.members[0].id, size = a.room.members[0].size;
    assert_int_equal(a.room.alarms[0], member);
    assert_true(a.room.members[0].leader);
    assert_true(size >= 2900000);

    store_compact(s.w.store, full);
    while (store_oldest(s.w.store) < full)
        room_ask(&a, &s.w, STORE_ROOM_LOOK, 0);
    room_ask(&a, &s.w, STORE_ROOM_DEFRAGMENT, member);
    room_ask(&a, &s.w, STORE_ROOM_LOOK, 0);
    assert_true(a.room.members[0].size < size / 2);
    assert_int_equal(a.room.alarm_count, 1);
    room_ask(&a, &s.w, STORE_ROOM_DISARM, member);
    o = put_once(&s.w, "k", "small again");
    assert_int_equal(o.verdict, STORE_COMMITTED);
    assert_true(o.revision > full);
    world_expect(&s.w, "k", "small again");
    server_close(&s);
    etcd_end(&c);
}

/* --- Duties -------------------------------------------------------------- */

struct office {
    struct store_duty duty;
    struct world *w;
    int gained, lost;
};

static void on_gained(struct store_duty *d, const struct store_guard *fence)
{
    struct office *o = container_of(d, struct office, duty);

    (void)fence;
    pthread_mutex_lock(&o->w->mutex);
    o->gained++;
    pthread_cond_broadcast(&o->w->changed);
    pthread_mutex_unlock(&o->w->mutex);
}

static void on_lost(struct store_duty *d)
{
    struct office *o = container_of(d, struct office, duty);

    pthread_mutex_lock(&o->w->mutex);
    o->lost++;
    pthread_cond_broadcast(&o->w->changed);
    pthread_mutex_unlock(&o->w->mutex);
}

static void a_duty_goes_to_the_next_when_its_holder_is_cut_off(void **state)
{
    struct proxy p = {0};
    struct server a, b;
    struct office oa = {{"reaper", 2000, on_gained, on_lost, {0}}, &a.w, 0, 0};
    struct office ob = {{"reaper", 2000, on_gained, on_lost, {0}}, &b.w, 0, 0};

    (void)state;
    (void)etcd_fresh();
    proxy_begin(&p, etcd_child.client_port, 1, 0);
    server_open(&a, "server-1", p.url);
    server_open(&b, "server-2", etcd_child.url);
    world_until(&a.w, a.w.ups > 0);
    world_until(&b.w, b.w.ups > 0);
    assert_ok(store_campaign(a.w.store, &oa.duty));
    world_until(&a.w, oa.gained == 1);
    assert_ok(store_campaign(b.w.store, &ob.duty));
    proxy_end(&p);
    world_until(&a.w, oa.lost == 1); /* by its own clock: nobody tells it */
    world_until(&b.w, ob.gained == 1);
    server_close(&b);
    server_close(&a);
}

/* --- Passwords ----------------------------------------------------------- */

static void post(const char *path, const char *body)
{
    char *answer = etcd_ask(&etcd_child, path, body);

    if (!answer)
        fail_msg("%s: etcd refuses it", path);
    free(answer);
}

static void a_user_and_a_password_open_an_etcd_that_asks_for_them(void **state)
{
    const struct store_etcd none = {0},
                            wrong = {.user = "root", .password = "no"};
    struct errtext t = {{0}};
    struct server s;

    (void)state;
    (void)etcd_fresh();
    post("/v3/auth/user/add", "{\"name\":\"root\",\"password\":\"pa\\\"ss\"}");
    post("/v3/auth/user/grant", "{\"user\":\"root\",\"role\":\"root\"}");
    post("/v3/auth/enable", "{}");
    assert_int_equal(open_says(etcd_child.url, &none, &t), ERR_BAD);
    expect_said(&t, "store_user");
    assert_int_equal(open_says(etcd_child.url, &wrong, &t), ERR_BAD);
    expect_said(&t, "refuses the user");

    world_init(&s.w);
    s.options = world_options(&s.w, STORE_ETCD, etcd_child.url);
    s.options.etcd = (struct store_etcd){.user = "root", .password = "pa\"ss"};
    assert_ok(store_open(&s.options, &s.w.store, &t));
    world_until(&s.w, s.w.ups > 0);
    (void)world_put(&s.w, "a", "1");
    /* Tokens do not survive a restart of etcd. */
    etcd_kill(&etcd_child, SIGKILL);
    etcd_run(&etcd_child, NULL);
    (void)world_barrier_patient(&s.w);
    world_until(&s.w, s.w.up);
    (void)world_put(&s.w, "a", "2");
    world_expect(&s.w, "a", "2");
    server_close(&s);
    etcd_end(&etcd_child); /* the next test wants one without */
}

static struct CMUnitTest tests[] = {
    cmocka_unit_test(an_address_that_is_none_is_refused_by_name),
    cmocka_unit_test(an_etcd_with_small_transactions_is_refused_by_flag),
    cmocka_unit_test(an_etcd_that_others_use_is_refused),
    cmocka_unit_test(an_etcd_that_is_not_there_yet_is_waited_for),
    cmocka_unit_test(who_waits_for_an_etcd_that_never_came_is_answered),
    cmocka_unit_test(what_one_server_writes_another_sees),
    cmocka_unit_test(a_barrier_that_a_write_overtakes_is_no_other_life),
    cmocka_unit_test(a_killed_etcd_loses_nothing_and_nothing_goes_in_twice),
    cmocka_unit_test(a_stopped_etcd_holds_up_and_then_goes_on),
    cmocka_unit_test(a_process_that_ends_waits_for_no_etcd_that_is_gone),
    cmocka_unit_test(connections_that_are_cut_change_nothing),
    cmocka_unit_test(
        a_server_that_missed_a_compaction_loads_again_without_a_gap),
    cmocka_unit_test(a_full_etcd_is_made_room_in),
    cmocka_unit_test(a_duty_goes_to_the_next_when_its_holder_is_cut_off),
    cmocka_unit_test(a_user_and_a_password_open_an_etcd_that_asks_for_them),
};

int main(void)
{
    /* The first needs none. */
    for (size_t i = 1; !etcd_installed() && i < sizeof tests / sizeof *tests;
         i++)
        tests[i].test_func = needs_etcd;
    cmocka_set_message_output(CM_OUTPUT_TAP);
    int failed = _cmocka_run_group_tests(
        "tests", tests, sizeof tests / sizeof *tests, NULL, NULL);

    etcd_end(&etcd_child);
    return failed;
}
