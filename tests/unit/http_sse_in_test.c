/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "http/sse_in.h"

#include "http/sse.h"
#include "test.h"

/* What was got, as text. */
static enum err note(void *ctx, const struct sse_got *e)
{
    struct buf *b = ctx;

    if (e->comment.n)
        buf_printf(b, "#%.*s;", BYTES_ARG(e->comment));
    else
        buf_printf(b, "%.*s(%.*s)", BYTES_ARG(e->name), BYTES_ARG(e->data));
    if (e->has_id)
        buf_printf(b, "@%llu", (unsigned long long)e->id);
    return ERR_OK;
}

static void push(struct sse_in *in, struct bytes text, size_t at, struct buf *b)
{
    struct errtext t = {{0}};

    if (sse_in_push(in, bytes_head(text, at), note, b, &t) != ERR_OK ||
        sse_in_push(in, bytes_skip(text, at), note, b, &t) != ERR_OK)
        fail_msg("%s", t.s);
}

static void is_got(const char *text, const char *want)
{
    size_t n = strlen(text);

    for (size_t at = 0; at <= n; at++) {
        struct sse_in in;
        struct buf b = {0};
        sse_in_init(&in, 0);
        push(&in, bytes_str(text), at, &b);
        assert_bytes(buf_bytes(&b), want);
        sse_in_fini(&in);
        buf_fini(&b);
    }
}

static void events_come_out_however_they_are_cut(void **state)
{
    (void)state;
    is_got("event: put\ndata: {}\nid: 7\n\n", "put({})@7");
    is_got("data:a\ndata: b\n\ndata:c\n\n", "(a\nb)(c)");
    is_got("event: put\r\ndata: x\r\n\r\n", "put(x)");
    is_got(": beat age=3ms\n\nevent: a\ndata: 1\n\n", "#beat age=3ms;a(1)");
    is_got("id: 9\n\n", "()@9");
    is_got("id: 9x\ndata: 1\n\n", "(1)");
    is_got("event: much-too-long-a-name\ndata: 1\n\n", "(1)");
    is_got("retry: 500\nunknown\n\n", "");
    is_got("event: never ended\ndata: x\n", "");
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    struct buf text = {0}, got = {0};
    struct sse_in in;

    sse_event(&text, "put");
    sse_data(&text, bytes_str("two\nlines"));
    sse_id(&text, 42);
    sse_end(&text);
    sse_in_init(&in, 0);
    push(&in, buf_bytes(&text), 5, &got);
    assert_bytes(buf_bytes(&got), "put(two\nlines)@42");
    sse_in_fini(&in);
    buf_fini(&text);
    buf_fini(&got);
}

static void long_lines_and_events_have_a_limit(void **state)
{
    (void)state;
    static const char *const bad[] = {"data: 123456789012345678\n\n",
                                      "data: 12345678\ndata: 12345678\n\n"};
    for (size_t i = 0; i < 2; i++) {
        struct sse_in in;
        struct buf b = {0};
        struct errtext t = {{0}};
        sse_in_init(&in, 16);
        assert_int_equal(sse_in_push(&in, bytes_str(bad[i]), note, &b, &t),
                         ERR_LIMIT);
        assert_non_null(strstr(t.s, "16 bytes"));
        sse_in_fini(&in);
        buf_fini(&b);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(events_come_out_however_they_are_cut),
    cmocka_unit_test(what_is_written_is_read),
    cmocka_unit_test(long_lines_and_events_have_a_limit),
};

RUN_TESTS(tests)
