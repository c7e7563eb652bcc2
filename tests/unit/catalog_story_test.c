/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What happened to a service, out of rows and revisions. */
#include "catalog/story.h"

#include "base/alloc.h"
#include "test.h"

#define B(s) bytes_str(s)

/* --- Records ------------------------------------------------------------- */

struct kv {
    struct buf key, value;
    bool is_delete;
};

static struct kv *kv_new(void)
{
    return calloc(1, sizeof(struct kv));
}

static void kv_free(struct kv *x)
{
    buf_fini(&x->key);
    buf_fini(&x->value);
    free(x);
}

static struct kv *node(const char *name, const char *address)
{
    struct kv *x = kv_new();
    struct node_view v = {.name = B(name), .address = B(address)};

    key_node(&x->key, v.name);
    record_put_node(&x->value, &v);
    return x;
}

static struct kv *service(const char *on, const char *id, const char *name,
                          int64_t port)
{
    struct kv *x = kv_new();
    struct service_view v = {.id = B(id),
                             .name = B(name),
                             .port = port,
                             .weight_passing = 1,
                             .weight_warning = 1};

    key_service(&x->key, B(on), v.id);
    record_put_service(&x->value, &v);
    return x;
}

static struct kv *marked(const char *on, const char *id, const char *of,
                         const char *status, struct check_marks marks)
{
    struct kv *x = kv_new();
    struct check_view v = {.id = B(id),
                           .name = B(id),
                           .status = B(status),
                           .output = B("text"),
                           .service_id = B(of),
                           .marks = marks};

    key_check(&x->key, B(on), v.id);
    record_put_check(&x->value, &v);
    return x;
}

static struct kv *check(const char *on, const char *id, const char *of,
                        const char *status)
{
    return marked(on, id, of, status, (struct check_marks){0});
}

static struct kv *gone(struct kv *x)
{
    x->is_delete = true;
    return x;
}

/* --- Telling ------------------------------------------------------------- */

static struct story *story_of(const char *name)
{
    struct story_options o = {.name = B(name), .limit = 1000};

    return story_new(&o);
}

static void row(struct story *s, struct kv *take)
{
    story_row(s, buf_bytes(&take->key), buf_bytes(&take->value));
    kv_free(take);
}

/* One revision; NULL ends it. */
static void revision(struct story *s, uint64_t number, struct kv *const *take)
{
    size_t n = 0;

    for (; take[n]; n++) {
        struct story_event ev = {.is_delete = take[n]->is_delete,
                                 .key = buf_bytes(&take[n]->key),
                                 .value = buf_bytes(&take[n]->value),
                                 .by = B("somebody")};
        story_event(s, &ev);
    }
    story_revision(s, number, number * 1000);
    for (size_t i = 0; i < n; i++)
        kv_free(take[i]);
}

#define REVISION(s, number, ...)                                               \
    revision(s, number, (struct kv *const[]){__VA_ARGS__, NULL})

static void put_check(struct buf *out, const struct story_change *c)
{
    struct check_view was = {0}, now = {0};

    if (c->was.n)
        assert_ok(record_get_check(c->was, &was));
    if (c->now.n)
        assert_ok(record_get_check(c->now, &now));
    buf_printf(out, " %.*s %.*s>%.*s", BYTES_ARG(c->now.n ? now.id : was.id),
               BYTES_ARG(was.status), BYTES_ARG(now.status));
}

static void put_fields(struct buf *out, const struct story_change *c)
{
    struct service_view a, b;
    struct node_view x, y;
    uint32_t fields = 0;

    if (c->what == STORY_CHANGED) {
        assert_ok(record_get_service(c->was, &a));
        assert_ok(record_get_service(c->now, &b));
        fields = story_service_fields(&a, &b);
    } else {
        assert_ok(record_get_node(c->was, &x));
        assert_ok(record_get_node(c->now, &y));
        fields = story_node_fields(&x, &y);
    }
    for (int f = 0; f < FIELD_COUNT; f++)
        if (fields >> f & 1)
            buf_printf(out, " %s", story_field_name((enum story_field)f));
}

static void put_change(struct buf *out, const struct story_change *c)
{
    static const char *const what[] = {
        [STORY_REGISTERED] = "registered",
        [STORY_CHANGED] = "changed",
        [STORY_DEREGISTERED] = "deregistered",
        [STORY_LET_GO] = "let go",
        [STORY_NODE_CHANGED] = "node changed",
        [STORY_CHECK_ADDED] = "check added",
        [STORY_CHECK_REMOVED] = "check removed",
        [STORY_CHECK_STATUS] = "check",
        [STORY_CHECK_HELD] = "held",
        [STORY_CHECK_RELEASED] = "released",
        [STORY_CHECK_DAMPED] = "damped",
        [STORY_CHECK_UNDAMPED] = "undamped",
    };

    buf_printf(out, "%llu %.*s/%.*s %s", (unsigned long long)c->revision,
               BYTES_ARG(c->node), BYTES_ARG(c->id), what[c->what]);
    if (c->what >= STORY_CHECK_ADDED)
        put_check(out, c);
    if (c->what == STORY_CHANGED || c->what == STORY_NODE_CHANGED)
        put_fields(out, c);
    buf_putc(out, '\n');
}

static char *told_from(const struct story *s, uint64_t after)
{
    struct buf out = {0};

    list_each (it, story_changes(s)) {
        const struct story_change *c =
            container_of(it, struct story_change, link);

        assert_int_equal(c->wall_ms, c->revision * 1000);
        assert_bytes(c->by, "somebody");
        if (c->revision > after)
            put_change(&out, c);
    }
    buf_putc(&out, '\0');
    return buf_take(&out, NULL);
}

static void expect(struct story *s, const char *want)
{
    char *got = told_from(s, 0);

    assert_string_equal(got, want);
    free(got);
    story_free(s);
}

/* --- Tests --------------------------------------------------------------- */

static void a_life_is_told_in_order(void **state)
{
    struct story *s = story_of("web");

    (void)state;
    row(s, node("N1", "1.1.1.1"));
    story_rows_end(s);
    REVISION(s, 2, check("n1", "c", "w1", "critical"),
             service("n1", "w1", "web", 80));
    REVISION(s, 3, check("n1", "c", "w1", "passing"));
    REVISION(s, 4, service("n1", "w1", "web", 81));
    REVISION(s, 5, service("n1", "w1", "web", 81)); /* the same */
    REVISION(s, 6, node("N1", "1.1.1.2"));
    REVISION(s, 7, gone(check("n1", "c", "w1", "")),
             gone(service("n1", "w1", "web", 0)));
    expect(s, "2 N1/w1 registered\n"
              "2 N1/w1 check added c >critical\n"
              "3 N1/w1 check c critical>passing\n"
              "4 N1/w1 changed Port\n"
              "6 N1/ node changed Address\n"
              "7 N1/w1 deregistered\n");
}

static void what_was_there_before_is_no_change(void **state)
{
    struct story *s = story_of("WEB"); /* names are folded */

    (void)state;
    row(s, check("n1", "c", "w1", "critical")); /* in no order */
    row(s, service("n1", "w1", "web", 80));
    row(s, check("n1", "serf", "", "passing"));
    row(s, node("n1", "1.1.1.1"));
    story_rows_end(s);
    assert_int_equal(story_count(s), 0);
    REVISION(s, 2, check("n1", "c", "w1", "passing"));
    REVISION(s, 3, gone(check("n1", "c", "w1", "")));
    expect(s, "2 n1/w1 check c critical>passing\n"
              "3 n1/w1 check removed c passing>\n");
}

static void other_services_do_not_come_in(void **state)
{
    struct story *s = story_of("web");

    (void)state;
    row(s, node("n1", "1.1.1.1"));
    row(s, check("n1", "serf", "", "passing"));
    story_rows_end(s);
    REVISION(s, 2, service("n1", "d1", "db", 80),
             check("n1", "c", "d1", "passing"));
    REVISION(s, 3, check("n1", "c", "d1", "critical"));
    REVISION(s, 4, check("n1", "serf", "", "critical")); /* no web there */
    REVISION(s, 5, node("n1", "1.1.1.2"));
    REVISION(s, 6, service("n1", "w1", "web", 1));
    REVISION(s, 7, check("n1", "serf", "", "passing"));
    expect(s, "6 n1/w1 registered\n"
              "7 n1/ check serf critical>passing\n");
}

static void a_node_that_goes_takes_its_instances(void **state)
{
    struct story *s = story_of("web");

    (void)state;
    row(s, node("N1", "1.1.1.1"));
    row(s, check("n1", "serf", "", "passing"));
    row(s, service("n1", "w1", "web", 1));
    row(s, service("n1", "w2", "web", 1));
    story_rows_end(s);
    REVISION(s, 2, gone(node("n1", "")), gone(check("n1", "serf", "", "")),
             gone(service("n1", "w1", "", 0)),
             gone(service("n1", "w2", "", 0)));
    REVISION(s, 3, node("N1", "2.2.2.2"), service("n1", "w1", "web", 1));
    expect(s, "2 N1/w1 deregistered\n"
              "2 N1/w2 deregistered\n"
              "3 N1/w1 registered\n");
}

static void an_instance_that_is_renamed_leaves_and_enters(void **state)
{
    struct story *web = story_of("web"), *db = story_of("db");
    struct story *both[] = {web, db};

    (void)state;
    for (int i = 0; i < 2; i++) {
        row(both[i], service("n1", "x", "web", 1));
        story_rows_end(both[i]);
        REVISION(both[i], 2, service("n1", "x", "db", 1));
    }
    expect(web, "2 n1/x deregistered\n");
    expect(db, "2 n1/x registered\n");
}

static void marks_come_and_go(void **state)
{
    struct story *s = story_of("web");
    struct check_marks held = {.cause = CAUSE_SILENCE, .held = true};
    struct check_marks silent = {.cause = CAUSE_SILENCE};
    struct check_marks damped = {.damped = true};
    struct check_marks since = {.since_ms = 5};

    (void)state;
    row(s, service("n1", "w1", "web", 1));
    story_rows_end(s);
    REVISION(s, 2, check("n1", "c", "w1", "passing"));
    REVISION(s, 3, marked("n1", "c", "w1", "critical", held));
    REVISION(s, 4, marked("n1", "c", "w1", "critical", silent));
    REVISION(s, 5, marked("n1", "c", "w1", "critical", held));
    REVISION(s, 6, marked("n1", "c", "w1", "passing", damped));
    REVISION(s, 7, marked("n1", "c", "w1", "passing", since));
    REVISION(s, 8, marked("n1", "c", "w1", "passing", damped));
    expect(s, "2 n1/w1 check added c >passing\n"
              "3 n1/w1 check c passing>critical\n"
              "4 n1/w1 released c critical>critical\n"
              "5 n1/w1 held c critical>critical\n"
              "6 n1/w1 check c critical>passing\n"
              "7 n1/w1 undamped c passing>passing\n"
              "8 n1/w1 damped c passing>passing\n");
}

static struct kv *guard(const char *name, const char *node, const char *id,
                        uint64_t since_ms)
{
    struct kv *x = kv_new();
    struct buf key = {0}, out = {0};

    key_instance(&key, B(node), B(id));
    packed_put_out(&out, buf_bytes(&key), since_ms);
    struct guard_view v = {.name = B(name), .out = {buf_bytes(&out), 1}};
    key_guard(&x->key, v.name);
    record_put_guard(&x->value, &v);
    buf_fini(&key);
    buf_fini(&out);
    return x;
}

static void whom_the_guard_lets_go_is_told(void **state)
{
    struct story *s = story_of("web");

    (void)state;
    row(s, service("n1", "w1", "web", 1));
    row(s, service("n2", "w2", "web", 1));
    row(s, guard("web", "n1", "w1", 5));
    story_rows_end(s);
    REVISION(s, 2, guard("web", "n1", "w1", 5)); /* as before */
    REVISION(s, 3, guard("web", "n1", "w1", 6)); /* silent once more */
    REVISION(s, 4, guard("web", "n2", "w2", 6));
    REVISION(s, 5, guard("db", "n1", "w1", 7));
    REVISION(s, 6, guard("web", "n9", "w9", 7));
    REVISION(s, 7, gone(guard("web", "n9", "w9", 7)));
    REVISION(s, 8, guard("web", "n2", "w2", 6));
    expect(s, "3 n1/w1 let go\n"
              "4 n2/w2 let go\n"
              "8 n2/w2 let go\n");
}

static void the_newest_are_kept_and_the_rest_counted(void **state)
{
    struct story_options o = {.name = B("web"), .limit = 2};
    struct story *s = story_new(&o);

    (void)state;
    story_rows_end(s);
    for (uint64_t i = 2; i < 7; i++)
        REVISION(s, i, service("n1", "w1", "web", (int64_t)i));
    assert_int_equal(story_left(s), 3);
    expect(s, "5 n1/w1 changed Port\n"
              "6 n1/w1 changed Port\n");
}

static void one_node_or_instance_can_be_asked_for(void **state)
{
    struct story_options o = {
        .name = B("web"), .limit = 100, .node = B("N1"), .id = B("W1")};
    struct story *s = story_new(&o);

    (void)state;
    row(s, check("n1", "serf", "", "passing"));
    row(s, check("n2", "serf", "", "passing"));
    story_rows_end(s);
    REVISION(s, 2, service("n1", "w1", "web", 1), service("n1", "w2", "web", 1),
             service("n2", "w1", "web", 1));
    REVISION(s, 3, check("n1", "serf", "", "critical"));
    REVISION(s, 4, check("n2", "serf", "", "critical"));
    REVISION(s, 5, check("n1", "c", "w2", "critical"));
    expect(s, "2 n1/w1 registered\n"
              "3 n1/ check serf passing>critical\n");

    o.departures = true;
    o.node = o.id = (struct bytes){0};
    s = story_new(&o);
    story_rows_end(s);
    REVISION(s, 2, service("n1", "w1", "web", 1),
             check("n1", "c", "w1", "passing"));
    REVISION(s, 3, gone(service("n1", "w1", "web", 1)),
             gone(check("n1", "c", "w1", "")));
    expect(s, "3 n1/w1 deregistered\n");
}

static void what_cannot_be_read_is_left_out(void **state)
{
    struct story *s = story_of("web");
    struct kv *bad = service("n1", "w1", "web", 1);

    (void)state;
    story_row(s, B("x"), B("y"));
    story_row(s, B("s/n1/w1"), B("damaged"));
    story_row(s, B("c/n1/c"), B(""));
    story_row(s, B("n/n1"), B("\x11"));
    story_rows_end(s);
    bad->value.n = 3;
    REVISION(s, 2, bad, gone(service("n9", "w9", "web", 1)),
             gone(node("n9", "")), gone(check("n9", "c", "", "")));
    expect(s, "");
}

/* --- Property: wherever one begins, the rest is the same ----------------- */

enum { NODES = 3, IDS = 3, KEYS = NODES * (1 + IDS + 1 + IDS), STEPS = 200 };

struct live {
    struct kv *row[KEYS]; /* NULL: not there */
};

static struct kv *any_row(int k, uint64_t dice, bool removed)
{
    static const char *const nodes[] = {"n0", "n1", "n2"};
    static const char *const ids[] = {"i0", "i1", "i2"};
    static const char *const status[] = {"passing", "warning", "critical"};
    const char *on = nodes[k % NODES];
    int which = k / NODES;
    struct kv *x =
        which == 0     ? node(on, dice % 2 ? "1.1.1.1" : "2.2.2.2")
        : which <= IDS ? service(on, ids[which - 1], "web", (int64_t)(dice % 3))
        : which == IDS + 1 ? check(on, "serf", "", status[dice % 3])
                           : check(on, ids[which - IDS - 2],
                                   ids[which - IDS - 2], status[dice % 3]);

    x->is_delete = removed;
    return x;
}

static struct kv *kv_copy(const struct kv *x)
{
    struct kv *y = kv_new();

    y->is_delete = x->is_delete;
    buf_put(&y->key, buf_bytes(&x->key));
    buf_put(&y->value, buf_bytes(&x->value));
    return y;
}

/* A check without its service is not written by anybody: it goes with it. */
static void settle(struct live *l, struct kv **events, size_t *n)
{
    for (int k = (IDS + 2) * NODES; k < KEYS; k++) {
        int of = k - (IDS + 1) * NODES;

        if (l->row[of] || !l->row[k])
            continue;
        kv_free(l->row[k]);
        l->row[k] = NULL;
        events[(*n)++] = any_row(k, 0, true);
    }
}

static void wherever_one_begins_the_rest_is_the_same(void **state)
{
    uint64_t r = 88172645463325252U;
    struct story *all = story_of("web"), *from[10] = {0};
    struct live l = {0};

    (void)state;
    story_rows_end(all);
    for (uint64_t step = 1; step <= STEPS; step++) {
        struct kv *events[KEYS + 1] = {0};
        bool touched[KEYS] = {0};
        size_t n = 0;

        for (int i = 0; i < 3; i++) {
            r ^= r << 13;
            r ^= r >> 7;
            r ^= r << 17;
            int k = (int)(r % KEYS);
            int of = k - (IDS + 1) * NODES;
            bool orphan = k >= (IDS + 2) * NODES && !l.row[of];
            bool removed = (r >> 32) % 4 == 0;

            if (touched[k] || (removed ? !l.row[k] : orphan))
                continue;
            touched[k] = true;
            events[n] = any_row(k, r >> 40, removed);
            if (l.row[k])
                kv_free(l.row[k]);
            l.row[k] = removed ? NULL : kv_copy(events[n]);
            if (!removed)
                l.row[k]->is_delete = false;
            n++;
        }
        /* A key is written once in a revision. */
        size_t before = n;
        settle(&l, events, &n);
        for (size_t i = before; i < n; i++)
            for (size_t j = 0; j < before; j++)
                if (bytes_eq(buf_bytes(&events[i]->key),
                             buf_bytes(&events[j]->key)))
                    events[j]->is_delete = true;
        for (int i = 0; i < 10; i++) {
            struct kv *copies[KEYS + 1] = {0};
            for (size_t k = 0; from[i] && k < n; k++)
                copies[k] = kv_copy(events[k]);
            if (from[i])
                revision(from[i], step, copies);
        }
        revision(all, step, events);
        if (step % 20 != 0)
            continue;
        struct story *s = from[step / 20 - 1] = story_of("web");
        for (int k = 0; k < KEYS; k++)
            if (l.row[(k * 7 + 3) % KEYS])
                row(s, kv_copy(l.row[(k * 7 + 3) % KEYS]));
        story_rows_end(s);
    }
    for (uint64_t i = 0; i < 10; i++) {
        char *want = told_from(all, (i + 1) * 20);
        if (i == 0)
            assert_true(strlen(want) > 1000);
        expect(from[i], want);
        free(want);
    }
    for (int k = 0; k < KEYS; k++)
        if (l.row[k])
            kv_free(l.row[k]);
    story_free(all);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_life_is_told_in_order),
    cmocka_unit_test(what_was_there_before_is_no_change),
    cmocka_unit_test(other_services_do_not_come_in),
    cmocka_unit_test(a_node_that_goes_takes_its_instances),
    cmocka_unit_test(an_instance_that_is_renamed_leaves_and_enters),
    cmocka_unit_test(marks_come_and_go),
    cmocka_unit_test(whom_the_guard_lets_go_is_told),
    cmocka_unit_test(the_newest_are_kept_and_the_rest_counted),
    cmocka_unit_test(one_node_or_instance_can_be_asked_for),
    cmocka_unit_test(what_cannot_be_read_is_left_out),
    cmocka_unit_test(wherever_one_begins_the_rest_is_the_same),
};

RUN_TESTS(tests)
