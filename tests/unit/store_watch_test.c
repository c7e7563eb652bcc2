/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What a watch of etcd tells in fragments: revision by revision as they come,
 * and of one revision no more than there is room for. */
#include "store/etcd_impl.h"

#include "unit/store_etcd.h"
#include "unit/store_past.h"

/* --- Fragments, as etcd writes them -------------------------------------- */

static void put_event(struct buf *out, uint64_t revision, const char *key)
{
    size_t event = wire_begin(out, 11);
    size_t kv = wire_begin(out, 2);

    wire_put_bytes(out, 1, bytes_str(key));
    wire_put_u64(out, 2, revision);
    wire_put_u64(out, 3, revision);
    wire_end(out, kv);
    wire_end(out, event);
}

struct heard {
    char text[256];
};

static void on_revision(void *ctx, uint64_t revision, uint64_t wall_ms,
                        const struct store_event *events, size_t count)
{
    struct heard *h = ctx;
    size_t n = strlen(h->text);

    (void)wall_ms;
    n += (size_t)snprintf(h->text + n, sizeof h->text - n,
                          "%llu:", (unsigned long long)revision);
    for (size_t i = 0; i < count; i++)
        n += (size_t)snprintf(h->text + n, sizeof h->text - n, "%.*s",
                              BYTES_ARG(events[i].key));
    snprintf(h->text + n, sizeof h->text - n, " ");
}

/* A message of events: a digit, its revision, and a letter, its key. */
static enum err hear(struct etcd_events *ev, const char *events, bool more,
                     uint64_t *fed, struct heard *h)
{
    struct backend_sink sink = {.revision = on_revision, .ctx = h};
    struct etcd_watched w = {0};
    struct buf b = {0};

    if (more)
        wire_put_u64(&b, 7, 1);
    for (const char *p = events; *p; p += 2)
        put_event(&b, (uint64_t)(p[0] - '0'), (char[2]){p[1], 0});
    assert_ok(etcd_watch_read(buf_bytes(&b), &w, ev));
    assert_int_equal(w.fragment, more);
    buf_fini(&b);
    return etcd_events_tell(ev, more, *fed, &sink, fed);
}

static void a_revision_is_told_once_its_last_fragment_is_there(void **state)
{
    struct etcd_events ev = {0};
    struct heard h = {{0}};
    uint64_t fed = 2;

    (void)state;
    assert_ok(hear(&ev, "2x3a3b", true, &fed, &h));
    assert_string_equal(h.text, "");
    assert_ok(hear(&ev, "3c", true, &fed, &h));
    assert_string_equal(h.text, "");
    assert_ok(hear(&ev, "3d4a5a5b", true, &fed, &h));
    assert_string_equal(h.text, "3:abcd 4:a ");
    assert_ok(hear(&ev, "5c", false, &fed, &h));
    assert_string_equal(h.text, "3:abcd 4:a 5:abc ");
    assert_ok(hear(&ev, "6a", false, &fed, &h));
    assert_string_equal(h.text, "3:abcd 4:a 5:abc 6:a ");
    assert_int_equal(fed, 6);
    assert_int_equal(etcd_events_bytes(&ev), 0);
    etcd_events_fini(&ev);
}

static void revisions_that_go_back_are_no_watch(void **state)
{
    struct etcd_events ev = {0};
    struct heard h = {{0}};
    uint64_t fed = 0;

    (void)state;
    assert_ok(hear(&ev, "3a4a", true, &fed, &h));
    assert_ok(hear(&ev, "5a", true, &fed, &h));
    assert_int_equal(hear(&ev, "3b", false, &fed, &h), ERR_CORRUPT);
    assert_string_equal(h.text, "3:a 4:a 5:a ");
    etcd_events_fini(&ev);
}

static void many_fragments_keep_one_revision_at_most(void **state)
{
    enum { FRAGMENTS = 5000, EACH = 20 };
    struct etcd_events ev = {0};
    struct backend_sink sink = {.revision = on_revision};
    uint64_t fed = 0, revision = 0;

    (void)state;
    for (int i = 0; i < FRAGMENTS; i++) {
        struct heard h = {{0}};
        struct etcd_watched w = {0};
        struct buf b = {0};

        wire_put_u64(&b, 7, 1);
        for (int k = 0; k < EACH; k++)
            put_event(&b, ++revision, "key");
        assert_ok(etcd_watch_read(buf_bytes(&b), &w, &ev));
        buf_fini(&b);
        sink.ctx = &h;
        assert_ok(etcd_events_tell(&ev, w.fragment, fed, &sink, &fed));
        assert_true(fed == revision - 1);
        assert_int_equal(etcd_events_bytes(&ev),
                         strlen("key") + sizeof *ev.event);
    }
    etcd_events_fini(&ev);
}

/* --- A revision that is too large ---------------------------------------- */

enum { LONG_KEYS = 2000, LONG_KEY_BYTES = 1000 };

static void long_key(char *ret, int i)
{
    memset(ret, 'x', LONG_KEY_BYTES);
    (void)snprintf(ret, 16, "big/%04d/", i);
    ret[strlen(ret)] = 'x';
    ret[LONG_KEY_BYTES] = 0;
}

static void server_open(struct world *w, const char *id, const char *url,
                        size_t gathered_max)
{
    struct errtext t = {{0}};
    struct backend *b = NULL;

    world_init(w);
    struct store_options o = world_options(w, STORE_ETCD, url);

    o.server_id = id;
    assert_ok(backend_etcd_open(url, &o.etcd, id, &b, &t));
    if (gathered_max)
        etcd_of(b)->gathered_max = gathered_max;
    assert_ok(store_open_backend(&o, b, &w->store, &t));
    world_until(w, w->ups > 0);
}

static void server_close(struct world *w)
{
    world_close(w);
    assert_int_equal(w->done_before_feed, 0);
    world_fini(w);
}

static void
a_revision_that_is_too_large_is_loaded_and_nothing_else_is_lost(void **state)
{
    enum { MAX = LONG_KEYS * LONG_KEY_BYTES / 2, OPS = 8 };
    char key[OPS][LONG_KEY_BYTES + 1];
    struct etcd_child c = {0};
    struct world small, large;
    struct waited x;
    enum err e;

    (void)state;
    /* It sends fragments of so much, and half a megabyte. */
    etcd_begin(&c, "--max-request-bytes=32768");
    server_open(&small, "server-1", c.url, MAX);
    server_open(&large, "server-2", c.url, 0);
    (void)world_put(&small, "kept", "1");
    for (int i = 0; i < LONG_KEYS; i += OPS) {
        waited_init(&x, &small);
        for (int k = 0; k < OPS; k++) {
            long_key(key[k], i + k);
            waited_op(&x, OP_PUT, key[k], "");
        }
        assert_int_equal(waited_commit(&x).verdict, STORE_COMMITTED);
    }
    uint64_t before = world_put(&small, "kept", "2");

    world_until(&large, large.revision >= before);
    int loads = small.loads, large_loads = large.loads;

    waited_init(&x, &small);
    waited_op(&x, OP_DELETE_PREFIX, "big/", NULL);
    assert_int_equal(waited_commit(&x).verdict, STORE_COMMITTED);
    uint64_t after = world_put(&small, "after", "1");

    world_until(&small, small.revision >= after && !small.in_load);
    world_until(&large, large.revision >= after);
    assert_int_equal(small.loads, loads + 1);
    assert_int_equal(large.loads, large_loads); /* it had room for it */
    assert_int_equal(small.row_count, 2);
    assert_int_equal(large.row_count, 2);
    world_expect(&small, "kept", "2");
    world_expect(&large, "kept", "2");

    /* And of the past it is refused, where the rest is told. */
    free(world_history(&small, before, &e));
    assert_int_equal(e, ERR_LIMIT);
    free(world_history(&small, after, &e));
    assert_int_equal(e, ERR_OK);
    free(world_history(&large, before, &e));
    assert_int_equal(e, ERR_OK);
    server_close(&large);
    server_close(&small);
    etcd_end(&c);
}

static struct CMUnitTest tests[] = {
    cmocka_unit_test(a_revision_is_told_once_its_last_fragment_is_there),
    cmocka_unit_test(revisions_that_go_back_are_no_watch),
    cmocka_unit_test(many_fragments_keep_one_revision_at_most),
    cmocka_unit_test(
        a_revision_that_is_too_large_is_loaded_and_nothing_else_is_lost),
};

int main(void)
{
    if (!etcd_installed())
        tests[3].test_func = needs_etcd;
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return _cmocka_run_group_tests("tests", tests, sizeof tests / sizeof *tests,
                                   NULL, NULL);
}
