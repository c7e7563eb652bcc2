/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What a group says of who wrote what, in text and back. */
#include "store/marker.h"

#include "test.h"

static struct bytes by(const struct marker *m, const char *key)
{
    return marker_by(m, bytes_str(key), marker_metas(m));
}

static struct store_change change(const char *meta, struct store_op *ops,
                                  size_t n)
{
    return (struct store_change){
        .ops = ops, .op_count = n, .meta = bytes_str(meta)};
}

static void write_two(struct buf *out, bool keys)
{
    struct store_op a[] = {{OP_PUT, bytes_str("n/web"), bytes_str("")},
                           {OP_DELETE_PREFIX, bytes_str("s/web/"), {0}}};
    struct store_op b[] = {{OP_DELETE, bytes_str("n/db"), {0}}};
    struct store_change x = change("PUT /v1/a \"quoted\" \x01", a, 2);
    struct store_change y = change("b\xc3\xa4r", b, 1);
    struct store_change *both[] = {&x, &y};

    buf_puts(out, "{\"group\":\"0123-1\",\"ms\":5");
    marker_put(out, both, 2, keys);
    buf_putc(out, '}');
}

static void keys_and_prefixes_find_their_change(void **state)
{
    struct marker m = {0};
    struct buf out = {0};

    (void)state;
    write_two(&out, true);
    marker_read(&m, buf_bytes(&out));
    assert_bytes(by(&m, "n/web"), "PUT /v1/a \"quoted\" \x01");
    assert_bytes(by(&m, "s/web/1"), "PUT /v1/a \"quoted\" \x01");
    assert_bytes(by(&m, "s/web/"), "PUT /v1/a \"quoted\" \x01");
    assert_bytes(by(&m, "s/web"), "");
    assert_bytes(by(&m, "n/db"), "b\xc3\xa4r");
    assert_bytes(by(&m, "n/other"), "");
    assert_bytes(by(&m, ""), "");
    buf_fini(&out);
    marker_fini(&m);
}

static void markers_of_before_tell_it_of_lone_changes_only(void **state)
{
    struct marker m = {0};

    (void)state;
    marker_read(&m, bytes_str("{\"group\":\"0-1\",\"ms\":5,\"by\":"
                              "[[\"/v1/a\",2],[\"/v1/b\",1]]}"));
    assert_bytes(by(&m, "n/web"), "");
    marker_reset(&m);
    marker_read(&m, bytes_str("{\"group\":\"0-1\",\"ms\":5,\"by\":"
                              "[[\"/v1/a\",2]]}"));
    assert_bytes(by(&m, "n/web"), "/v1/a");
    marker_reset(&m);
    marker_read(&m, bytes_str("{\"group\":\"0-1\",\"ms\":5,\"by\":[]}"));
    assert_bytes(by(&m, "n/web"), "");
    marker_fini(&m);
}

static void what_is_not_named_belongs_to_the_only_change_with_more(void **state)
{
    struct store_op many[12], one[] = {{OP_PUT, bytes_str("z"), {0}}};
    static const char *const keys[] = {"a", "b", "c", "d", "e", "f",
                                       "g", "h", "i", "j", "k", "l"};
    struct marker m = {0};
    struct buf out = {0};

    (void)state;
    for (int i = 0; i < 12; i++)
        many[i] = (struct store_op){OP_PUT, bytes_str(keys[i]), {0}};
    struct store_change x = change("many", many, 12), y = change("one", one, 1);
    struct store_change *both[] = {&y, &x};
    marker_put(&out, both, 2, true);
    marker_read(&m, buf_bytes(&out));
    assert_bytes(by(&m, "a"), "many");
    assert_bytes(by(&m, "l"), "many");
    assert_bytes(by(&m, "z"), "one");

    struct store_change *three[] = {&y, &x, &x};
    buf_reset(&out);
    marker_reset(&m);
    marker_put(&out, three, 3, true);
    marker_read(&m, buf_bytes(&out));
    assert_bytes(by(&m, "h"), "many");
    assert_bytes(by(&m, "l"), ""); /* two could have written it */
    buf_fini(&out);
    marker_fini(&m);
}

/* Cut, or with a byte turned, it says less or something else: never outside of
 * its text. */
static void damaged_markers_are_survived(void **state)
{
    struct buf out = {0};

    (void)state;
    write_two(&out, true);
    for (size_t cut = 0; cut <= out.n; cut++) {
        for (int flip = 0; flip < 8; flip++) {
            char *copy = malloc(out.n + 1);
            struct marker m = {0};

            memcpy(copy, out.p, out.n);
            if (cut < out.n)
                copy[cut] = (char)(copy[cut] ^ 1 << flip);
            marker_read(&m, bytes_of(copy, out.n));
            (void)by(&m, "n/web");
            marker_reset(&m);
            marker_read(&m, bytes_of(copy, cut));
            assert_true(by(&m, "s/web/1").n < 64);
            marker_fini(&m);
            free(copy);
        }
    }
    buf_fini(&out);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(keys_and_prefixes_find_their_change),
    cmocka_unit_test(markers_of_before_tell_it_of_lone_changes_only),
    cmocka_unit_test(what_is_not_named_belongs_to_the_only_change_with_more),
    cmocka_unit_test(damaged_markers_are_survived),
};

RUN_TESTS(tests)
