/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Those who read through somebody else: what is said of them, and what the table
 * makes of it. */
#include "server/subscribers.h"

#include "test.h"

#define TEXT(s) bytes_str(s)

static struct behind_row row_of(const char *id, uint64_t applied)
{
    return (struct behind_row){
        .id = TEXT(id),
        .label = TEXT("front \"1\""),
        .zone = TEXT("z"),
        .peer = TEXT("10.0.0.1:5"),
        .target = TEXT("/v1/health/service/web?passing"),
        .service = TEXT("web"),
        .stream = true,
        .connected = true,
        .applied = applied,
        .sent = 9,
        .seen_ms = 3,
    };
}

/* --- Messages ------------------------------------------------------------ */

static void what_is_written_reads_the_same(void **state)
{
    (void)state;
    struct behind_row rows[] = {row_of("a", 5), row_of("b", 6)};
    struct behind_dns dns[] = {{TEXT("web"), 5000}};
    struct behind_reader readers[] = {{TEXT("api"), TEXT("10.0.0.2"), 7}};
    const struct behind said = {.subscriber = TEXT("c475"),
                                .agent = TEXT("app-1"),
                                .index = 9,
                                .unknown_ms = 1,
                                .lost_ms = 2,
                                .rows = rows,
                                .row_count = 2,
                                .dns = dns,
                                .dns_count = 1,
                                .readers = readers,
                                .reader_count = 1};
    struct buf text = {0}, again = {0};
    struct behind read;
    struct errtext t;
    struct arena a;
    arena_init(&a, 0);
    behind_write(&text, &said);
    assert_ok(behind_read(buf_bytes(&text), &a, &read, &t));
    behind_write(&again, &read);
    assert_true(bytes_eq(buf_bytes(&text), buf_bytes(&again)));
    assert_true(behind_hash(&said) == behind_hash(&read));
    read.rows[1].seen_ms++; /* an age is no news */
    assert_true(behind_hash(&said) == behind_hash(&read));
    read.rows[1].applied++;
    assert_true(behind_hash(&said) != behind_hash(&read));
    arena_fini(&a);
    buf_fini(&text);
    buf_fini(&again);
}

static void every_cut_of_a_message_is_refused(void **state)
{
    (void)state;
    struct behind_row rows[] = {row_of("a", 5)};
    const struct behind said = {.subscriber = TEXT("c475"),
                                .agent = TEXT("app-1"),
                                .rows = rows,
                                .row_count = 1};
    struct buf text = {0};
    struct behind read;
    struct arena a;
    behind_write(&text, &said);
    for (size_t n = 0; n < text.n; n++) {
        struct errtext t = {{0}};
        arena_init(&a, 0);
        assert_true(behind_read(bytes_head(buf_bytes(&text), n), &a, &read,
                                &t) != ERR_OK);
        arena_fini(&a);
    }
    buf_fini(&text);
}

/* --- The table ----------------------------------------------------------- */

static const char stream[] = "0123456789abcdef0123456789abcdef";

static void note(void *ctx, const struct watcher *w)
{
    buf_printf(ctx, "%s%s%s=%llu%s;", w->via ? w->via : "", w->via ? "/" : "",
               w->label, (unsigned long long)w->applied,
               w->behind ? " behind" : "");
}

static void shows(struct subscribers *ss, const char *want)
{
    struct buf got = {0};
    subscribers_of(ss, TEXT("WEB"), note, &got);
    assert_bytes(buf_bytes(&got), want);
    buf_fini(&got);
}

static struct subscribers *with_stream(void)
{
    struct subscribers *ss = subscribers_new();
    struct stream_mark *mark = stream_mark_new();
    subscribers_longest_wait(ss, 600 * 1000);
    struct subscriber_flow *f = subscribers_joined(
        ss, stream,
        &(struct subscriber_labels){.label = TEXT("agent"), .peer = "p:1"});
    subscribers_watches(ss, stream, TEXT("/v1/health/service/web?rows"),
                        TEXT("web"), mark);
    stream_mark_unref(mark);
    atomic_store(&f->told, 9);
    return ss;
}

static void who_is_behind_a_stream_stands_beside_it(void **state)
{
    (void)state;
    struct subscribers *ss = with_stream();
    struct behind_row rows[] = {row_of("a", 5), row_of("b", 6)};
    rows[1].service = TEXT("api");
    struct behind b = {.subscriber = TEXT(stream),
                       .agent = TEXT("app-1"),
                       .index = 8,
                       .rows = rows,
                       .row_count = 2};
    shows(ss, "agent=0;");
    assert_int_equal(subscribers_behind(ss, &b), ACK_TAKEN);
    shows(ss, "agent=8;app-1/front \"1\"=5 behind;");
    b.row_count = 0;
    b.index = 0; /* says nothing of itself */
    assert_int_equal(subscribers_behind(ss, &b), ACK_TAKEN);
    shows(ss, "agent=8;");
    b.index = 10;
    assert_int_equal(subscribers_behind(ss, &b), ACK_NEVER);
    b.subscriber = TEXT("f");
    assert_int_equal(subscribers_behind(ss, &b), ACK_NOBODY);
    subscribers_free(ss);
}

/* What an agent says is what its own table shows. */
static void a_table_tells_who_does_not_have_all(void **state)
{
    (void)state;
    struct pin_domain pins;
    struct subscribers *ss = with_stream();
    struct behind b;
    struct arena a;
    pin_init(&pins);
    struct catalog *c = catalog_new(&pins);
    arena_init(&a, 0);
    subscribers_read(ss, TEXT("web"), "10.0.0.9:1");
    assert_true(subscribers_collect(ss, catalog_current(c), 9, 0, &a, &b));
    assert_int_equal(b.row_count, 1); /* was sent 9, and has not said so */
    assert_int_equal(b.rows[0].sent, 9);
    assert_int_equal(b.reader_count, 1);
    assert_bytes(b.readers[0].peer, "10.0.0.9");
    assert_true(b.late && b.unknown_ms > 0);
    assert_int_equal(subscribers_ack(ss, TEXT(stream), 9, false), ACK_TAKEN);
    assert_true(
        subscribers_collect(ss, catalog_current(c), 9, UINT64_MAX, &a, &b));
    assert_int_equal(b.row_count, 0);
    assert_int_equal(b.reader_count, 0);
    subscribers_left(ss, stream); /* it may hold it for ever */
    assert_true(subscribers_collect(ss, catalog_current(c), 9, 0, &a, &b));
    assert_int_equal(b.row_count, 1);
    assert_true(!b.rows[0].connected && !b.late);
    arena_fini(&a);
    catalog_free(c);
    pin_fini(&pins);
    subscribers_free(ss);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_is_written_reads_the_same),
    cmocka_unit_test(every_cut_of_a_message_is_refused),
    cmocka_unit_test(who_is_behind_a_stream_stands_beside_it),
    cmocka_unit_test(a_table_tells_who_does_not_have_all),
};

RUN_TESTS(tests)
