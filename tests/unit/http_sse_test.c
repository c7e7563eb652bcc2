/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "http/sse.h"
#include "test.h"

static void an_event_is_fields_and_an_empty_line(void **state)
{
    struct buf b = {0};
    (void)state;
    sse_retry(&b, 700);
    sse_event(&b, "put");
    sse_data(&b, bytes_str("{\"a\":1}"));
    sse_id(&b, 1099511627776);
    sse_end(&b);
    sse_comment(&b, "beat age=0ms");
    assert_bytes(buf_bytes(&b), "retry: 700\nevent: put\ndata: {\"a\":1}\n"
                                "id: 1099511627776\n\n: beat age=0ms\n\n");
    buf_fini(&b);
}

/* As a client reads it: every line ends a field, a field's value is what comes
 * behind ": ". The lines of data, joined by LF, are what was given, with all
 * line ends alike. */
static void data_of_any_bytes_stays_within_its_event(void **state)
{
    static const struct {
        const char *data, *text;
    } cases[] = {
        {"", "data: \n"},
        {"a\nb", "data: a\ndata: b\n"},
        {"a\r\nb\r", "data: a\ndata: b\ndata: \n"},
        {"\n\nid: 7\n", "data: \ndata: \ndata: id: 7\ndata: \n"},
        {"\r\revent: x", "data: \ndata: \ndata: event: x\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf b = {0};
        sse_data(&b, bytes_str(cases[i].data));
        assert_bytes(buf_bytes(&b), cases[i].text);
        buf_fini(&b);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_event_is_fields_and_an_empty_line),
    cmocka_unit_test(data_of_any_bytes_stays_within_its_event),
};

RUN_TESTS(tests)
