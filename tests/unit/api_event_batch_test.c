/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "api/event_batch.h"

#include "test.h"

#define UUID "a75b2400-b37a-2d5d-4749-e4c78fecdcf2"

static enum err get(const char *json, struct arena *a, struct event_batch *b,
                    struct errtext *t)
{
    *t = (struct errtext){{0}};
    return event_batch_get(bytes_str(json), a, 5000, b, t);
}

static void what_is_said_is_what_is_heard(void **state)
{
    const struct heard_event e = {.id = UUID,
                                  .name = bytes_str("deploy"),
                                  .payload = bytes_of("p\xff\0", 3),
                                  .node_filter = bytes_str("^a"),
                                  .ltime = 7,
                                  .fired_ms = 1000,
                                  .hops = 2};
    struct event_batch b = {.from = bytes_str("s1"),
                            .ltime = 9,
                            .life = 11,
                            .to = 12,
                            .seq = 13,
                            .n = 1,
                            .v = {&e}};
    struct event_batch got;
    struct errtext t;
    struct arena a;
    struct buf out = {0};

    (void)state;
    arena_init(&a, 0);
    event_batch_put(&out, &b, 1250);
    assert_false(out.bad);
    assert_ok(event_batch_get(buf_bytes(&out), &a, 5000, &got, &t));
    assert_true(bytes_is(got.from, "s1") && got.ltime == 9);
    assert_true(got.life == 11 && got.to == 12 && got.seq == 13 && got.n == 1);
    const struct heard_event *h = got.v[0];
    assert_string_equal(h->id, UUID);
    assert_true(bytes_is(h->name, "deploy"));
    assert_true(bytes_eq(h->payload, e.payload));
    assert_true(bytes_is(h->node_filter, "^a") && !h->tag_filter.n);
    assert_true(bytes_is(h->from, "s1"));
    assert_int_equal(h->ltime, 7);
    assert_int_equal(h->hops, 3);
    assert_int_equal(h->fired_ms, 4750); /* so long ago, by this clock */
    buf_fini(&out);
    arena_fini(&a);
}

static void what_cannot_be_read_is_refused_in_words(void **state)
{
    static const struct {
        const char *json, *word;
    } cases[] = {
        {"", ""},
        {"[]", ""},
        {"{\"Events\":[{}]}", "without ID"},
        {"{\"Events\":[{\"ID\":\"" UUID "\"}]}", "without ID"},
        {"{\"Events\":[{\"ID\":\"x\",\"Name\":\"n\"}]}", "without ID"},
        {"{\"Events\":[{\"ID\":\"" UUID
         "\",\"Name\":\"n\",\"Payload\":\"!\"}]}",
         "base64"},
        {"{\"LTime\":\"x\"}", "LTime"},
    };
    struct event_batch b;
    struct errtext t;
    struct arena a;

    (void)state;
    arena_init(&a, 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(get(cases[i].json, &a, &b, &t), ERR_BAD);
        assert_non_null(strstr(t.s, cases[i].word));
    }
    arena_fini(&a);
}

static void numbers_out_of_reason_do_no_harm(void **state)
{
    struct event_batch b;
    struct errtext t;
    struct arena a;

    (void)state;
    arena_init(&a, 0);
    assert_ok(get("{\"LTime\":-1,\"To\":-5,\"Events\":[{\"ID\":\"" UUID
                  "\",\"Name\":\"n\",\"Age\":9223372036854775807,"
                  "\"Hops\":-1,\"LTime\":-9,\"Later\":{}}]}",
                  &a, &b, &t));
    assert_true(b.ltime == 0 && b.to == 0 && b.n == 1);
    assert_int_equal(b.v[0]->fired_ms, 0);
    assert_int_equal(b.v[0]->ltime, 0);
    assert_int_equal(b.v[0]->hops, UINT16_MAX); /* not passed on */
    arena_fini(&a);
}

static void too_many_are_refused_with_both_numbers(void **state)
{
    struct event_batch b;
    struct errtext t;
    struct buf json = {0};
    struct arena a;

    (void)state;
    arena_init(&a, 0);
    buf_puts(&json, "{\"Events\":[{}");
    for (int i = 0; i < EVENT_BATCH_MAX; i++)
        buf_puts(&json, ",{}");
    buf_puts(&json, "]}");
    assert_int_equal(event_batch_get(buf_bytes(&json), &a, 1, &b, &t),
                     ERR_LIMIT);
    assert_non_null(strstr(t.s, "257 events in one batch, more than 256"));
    buf_fini(&json);
    arena_fini(&a);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_is_said_is_what_is_heard),
    cmocka_unit_test(what_cannot_be_read_is_refused_in_words),
    cmocka_unit_test(numbers_out_of_reason_do_no_harm),
    cmocka_unit_test(too_many_are_refused_with_both_numbers),
};

RUN_TESTS(tests)
