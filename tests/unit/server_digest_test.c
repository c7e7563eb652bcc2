/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* A mirror that was cut off for longer than its origin remembers gets to the newest
 * state by what changed and by sums, whatever was put, changed and removed
 * meanwhile, and is then what a snapshot would have made it. */
#include "server_mirror.h"

enum { SEEDS = 60, CUTS = 12 };

struct counts {
    size_t done, finer, all;
};

/* The origin knows what is, and not what was, nor when somebody was let in. */
static void restart(struct both *b)
{
    world_load(b->w, b->w->catalog, &b->seed);
    for (size_t i = 0; i < STATES_KEPT; i++)
        if (b->states[i] && b->revisions[i] == b->w->revision) {
            free(b->states[i]);
            b->states[i] = NULL;
        }
    remember(b, all_targets);
}

static void push_pieces(struct both *b, struct bytes rest)
{
    struct errtext t = {{0}};

    while (rest.n) {
        size_t k = 1 + below(&b->seed, 2000);
        if (mirror_push(b->mirror, bytes_head(rest, k), &t) != ERR_OK)
            fail_msg("%s", t.s);
        rest = bytes_skip(rest, k);
    }
}

/* The answer to what the mirror asks, as text; the caller frees it. */
static struct buf ask_origin(struct both *b, bool fine)
{
    struct api_env env = env_of(catalog_current(b->w->catalog));
    struct buf target = {0};
    struct api_call call;
    struct arena a;

    assert_true(mirror_digest(b->mirror, fine, any(&b->seed), &target));
    arena_init(&a, 0);
    api_call_init(&call);
    assert_ok(api_from_canonical(&call, &env, buf_bytes(&target), &a));
    api_read(&call, &env);
    assert_int_equal(call.status, 200);
    assert_false(call.body.bad);
    struct buf body = call.body;
    call.body = (struct buf){0};
    api_call_fini(&call);
    arena_fini(&a);
    buf_fini(&target);
    return body;
}

static enum mirror_way digest(struct both *b, bool fine)
{
    struct buf body = ask_origin(b, fine);

    push_pieces(b, buf_bytes(&body));
    buf_fini(&body);
    return mirror_digested(b->mirror);
}

static void by_stream(struct both *b)
{
    connect_again(b);
    tell_news(b);
    deliver(b, b->out.n, all_targets);
}

static void come_back(struct both *b, struct counts *n)
{
    uint64_t before = mirror_revision(b->mirror);

    restart(b);
    enum mirror_way way = digest(b, false);
    if (way == MIRROR_FINER) {
        n->finer++;
        assert_int_equal(mirror_revision(b->mirror), before);
        way = digest(b, true);
    }
    n->done += way == MIRROR_DONE;
    n->all += way != MIRROR_DONE;
    if (way == MIRROR_DONE)
        assert_int_equal(mirror_revision(b->mirror), b->w->revision);
    else
        by_stream(b);
    is_a_state_of_the_origin(b, all_targets);
}

static void begin(struct both *b, uint64_t seed)
{
    both_begin(b, seed);
    want(b, MIRROR_ALL, "");
    want(b, MIRROR_NODES, "");
    want(b, MIRROR_CHECKS, "");
    for (size_t i = 0; i < 20; i++)
        change(b, all_targets);
    by_stream(b);
}

static void after_a_long_cut_it_is_as_its_origin(void **state)
{
    (void)state;
    struct counts n = {0};

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct both b;
        bool connected = true;
        begin(&b, seed);
        for (size_t i = 0; i < CUTS; i++) {
            for (size_t k = 1 + below(&b.seed, 11); k > 0; k--)
                change(&b, all_targets);
            if (connected && chance(&b.seed, 50)) { /* some still arrives */
                tell_news(&b);
                deliver(&b, below(&b.seed, b.out.n + 1), all_targets);
                for (size_t k = 1 + below(&b.seed, 3); k > 0; k--)
                    change(&b, all_targets);
            }
            come_back(&b, &n);
            connected = chance(&b.seed, 50); /* and goes on */
            if (connected)
                by_stream(&b);
        }
        both_end(&b);
    }
    assert_true(n.done > SEEDS * CUTS / 2);
    printf("# %zu by digest, %zu of them by a finer one, %zu by snapshot\n",
           n.done, n.finer, n.all);
}

/* --- Single rules -------------------------------------------------------- */

static void remove_row(struct both *b, const char *key)
{
    b->w->revision++;
    world_delete(b->w, bytes_str(key));
    (void)world_commit(b->w);
    remember(b, all_targets);
}

static void put_simple(struct both *b, const char *node, const char *id)
{
    struct service_view v = {.id = bytes_str(id), .name = bytes_str("web")};
    struct check_view c = {.id = bytes_str(id),
                           .name = bytes_str("c"),
                           .status = bytes_str("passing"),
                           .service_id = bytes_str(id)};

    b->w->revision++;
    world_put_service(b->w, node, &v);
    world_put_check(b->w, node, &c);
    (void)world_commit(b->w);
    remember(b, all_targets);
}

static void simple(struct both *b, size_t instances)
{
    char id[16];

    both_begin(b, 1);
    want(b, MIRROR_ALL, "");
    want(b, MIRROR_NODES, "");
    want(b, MIRROR_CHECKS, "");
    world_put_node(b->w, &(struct node_view){.name = bytes_str("n"),
                                             .address = bytes_str("::1")});
    for (size_t i = 0; i < instances; i++) {
        (void)snprintf(id, sizeof id, "i%zu", i);
        put_simple(b, "n", id);
    }
    connect_again(b);
    for (size_t i = 0; i < b->sub_count; i++)
        b->have[i] = 0;
    tell_news(b);
    deliver(b, b->out.n, all_targets);
}

static void only_what_differs_travels(void **state)
{
    (void)state;
    struct both b;

    simple(&b, 200);
    remove_row(&b, "c/n/i7");
    remove_row(&b, "c/n/i8");
    remove_row(&b, "s/n/i8");
    put_simple(&b, "n", "new");
    restart(&b);
    struct buf body = ask_origin(&b, false);
    buf_putc(&body, 0);
    size_t puts = 0;
    for (const char *p = body.p; (p = strstr(p, "event: put")); p++)
        puts++;
    assert_int_equal(puts, 2); /* the new one and its check */
    push_pieces(&b, bytes_of(body.p, body.n - 1));
    assert_int_equal(mirror_digested(b.mirror), MIRROR_DONE);
    is_a_state_of_the_origin(&b, all_targets);
    buf_fini(&body);
    both_end(&b);
}

static void what_the_journal_has_is_left_to_the_stream(void **state)
{
    (void)state;
    struct both b;

    simple(&b, 3);
    put_simple(&b, "n", "new");
    assert_int_equal(digest(&b, false), MIRROR_BY_STREAM);
    by_stream(&b);
    is_a_state_of_the_origin(&b, all_targets);
    both_end(&b);
}

static void where_most_is_new_a_snapshot_is_as_good(void **state)
{
    (void)state;
    struct both b;
    char id[16];

    simple(&b, 10);
    for (size_t i = 0; i < 200; i++) {
        (void)snprintf(id, sizeof id, "n%zu", i);
        put_simple(&b, "n", id);
    }
    restart(&b);
    assert_int_equal(digest(&b, false), MIRROR_BY_STREAM);
    both_end(&b);
}

static void when_much_is_gone_a_finer_one_finds_it(void **state)
{
    (void)state;
    struct both b;
    char key[32];

    simple(&b, 200);
    for (size_t i = 0; i < 60; i++) {
        (void)snprintf(key, sizeof key, "c/n/i%zu", i);
        remove_row(&b, key);
        (void)snprintf(key, sizeof key, "s/n/i%zu", i);
        remove_row(&b, key);
    }
    restart(&b);
    assert_int_equal(digest(&b, false), MIRROR_FINER);
    assert_int_equal(digest(&b, true), MIRROR_DONE);
    is_a_state_of_the_origin(&b, all_targets);
    both_end(&b);
}

/* What the sums tell of and nobody has told is never shown as if it were all. */
static void a_lost_entry_is_noticed(void **state)
{
    (void)state;
    struct both b;

    simple(&b, 20);
    uint64_t before = mirror_revision(b.mirror);
    put_simple(&b, "n", "new");
    restart(&b);
    struct buf body = ask_origin(&b, true);
    char *put = memmem(body.p, body.n, "event: put", 10);
    assert_non_null(put);
    memcpy(put, "event: pit", 10);
    push_pieces(&b, buf_bytes(&body));
    assert_int_equal(mirror_digested(b.mirror), MIRROR_FINER);
    assert_int_equal(mirror_revision(b.mirror), before);
    buf_fini(&body);
    both_end(&b);
}

static void bad_sums_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *data, *why;
    } bad[] = {
        {"{\"Seed\":1,\"Buckets\":17,\"Sums\":\"\"}", "no power of two"},
        {"{\"Seed\":1,\"Buckets\":1073741824,\"Sums\":\"\"}",
         "no power of two"},
        {"{\"Seed\":1,\"Buckets\":-16,\"Sums\":\"\"}", "no power of two"},
        {"{\"Seed\":1,\"Buckets\":16,\"Sums\":\"AAAA\"}", "8 bytes for each"},
        {"{\"Seed\":1,\"Buckets\":16,\"Sums\":\"%\"}", "8 bytes for each"},
    };
    struct both b;

    simple(&b, 3);
    uint64_t before = mirror_revision(b.mirror);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct buf text = {0};
        struct errtext t = {{0}};
        buf_printf(&text, "event: sums\ndata: %s\nid: 99\n\n", bad[i].data);
        assert_int_equal(mirror_push(b.mirror, buf_bytes(&text), &t), ERR_BAD);
        assert_non_null(strstr(t.s, bad[i].why));
        connect_again(&b);
        buf_fini(&text);
    }
    assert_int_equal(mirror_revision(b.mirror), before);
    both_end(&b);
}

/* Its memory of changes is full of others' changes. */
static void forget_changes(struct both *b)
{
    struct node_view v = {.name = bytes_str("busy")};
    char address[32];

    catalog_context(b->w->catalog, 9000000, false);
    for (size_t i = 0; i <= JOURNAL_CHANGES_MAX; i++) {
        (void)snprintf(address, sizeof address, "10.0.0.%zu", i % 250);
        v.address = bytes_str(address);
        b->w->revision++;
        world_put_node(b->w, &v);
        (void)world_commit(b->w);
    }
    remember(b, all_targets);
}

static void what_the_journal_has_forgotten_is_found(void **state)
{
    (void)state;
    struct both b;

    simple(&b, 20);
    catalog_context(b.w->catalog, 5000000, false);
    put_simple(&b, "n", "new");
    remove_row(&b, "c/n/i3");
    remove_row(&b, "s/n/i4");
    forget_changes(&b);
    assert_int_equal(digest(&b, false), MIRROR_DONE);
    is_a_state_of_the_origin(&b, all_targets);
    put_simple(&b, "n", "newer");
    by_stream(&b);
    is_a_state_of_the_origin(&b, all_targets);
    both_end(&b);
}

static void without_anything_there_is_nothing_to_compare(void **state)
{
    (void)state;
    struct buf target = {0};
    struct both b;

    both_begin(&b, 1);
    want(&b, MIRROR_ALL, "");
    want(&b, MIRROR_NODES, "");
    assert_false(mirror_digest(b.mirror, false, 1, &target));
    assert_int_equal(target.n, 0);
    both_end(&b);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(after_a_long_cut_it_is_as_its_origin),
    cmocka_unit_test(only_what_differs_travels),
    cmocka_unit_test(what_the_journal_has_is_left_to_the_stream),
    cmocka_unit_test(where_most_is_new_a_snapshot_is_as_good),
    cmocka_unit_test(when_much_is_gone_a_finer_one_finds_it),
    cmocka_unit_test(what_the_journal_has_forgotten_is_found),
    cmocka_unit_test(a_lost_entry_is_noticed),
    cmocka_unit_test(bad_sums_are_refused_by_name),
    cmocka_unit_test(without_anything_there_is_nothing_to_compare),
};

RUN_TESTS(tests)
