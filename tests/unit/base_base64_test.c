/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"

#include "test.h"

/* RFC 4648, 10 */
static const struct {
    const char *plain, *text;
} vectors[] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
};

static void the_vectors_of_the_rfc_go_both_ways(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        struct buf b = {0};
        base64_put(&b, bytes_str(vectors[i].plain));
        assert_bytes(buf_bytes(&b), vectors[i].text);
        buf_reset(&b);
        assert_ok(base64_get(bytes_str(vectors[i].text), &b));
        assert_bytes(buf_bytes(&b), vectors[i].plain);
        buf_fini(&b);
    }
}

static void any_bytes_come_back(void **state)
{
    (void)state;
    char in[256];
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (char)(unsigned char)(i * 7);
    for (size_t n = 0; n <= sizeof in; n++) {
        struct buf text = {0}, back = {0};
        base64_put(&text, bytes_of(in, n));
        assert_ok(base64_get(buf_bytes(&text), &back));
        assert_true(bytes_eq(buf_bytes(&back), bytes_of(in, n)));
        buf_fini(&text);
        buf_fini(&back);
    }
}

static void what_is_no_such_text_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"Z",     "Zg",   "Zg=",      "Zh==",
                                      "Zm9=",  "====", "Zg==Zg==", "Zm 8",
                                      "Zm8\n", "Z===", "-_-_"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct buf b = {0};
        if (base64_get(bytes_str(bad[i]), &b) != ERR_BAD)
            fail_msg("\"%s\" is taken", bad[i]);
        buf_fini(&b);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_vectors_of_the_rfc_go_both_ways),
    cmocka_unit_test(any_bytes_come_back),
    cmocka_unit_test(what_is_no_such_text_is_refused),
};

RUN_TESTS(tests)
