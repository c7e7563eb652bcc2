/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/digest.h"

#include "test.h"

enum { N = 24 };

static void fill(uint64_t v[N], uint64_t seed)
{
    for (size_t i = 0; i < N; i++)
        v[i] = digest_element(bytes_str("s/n/web"), bytes_str("n/n"), i, seed);
}

static void what_is_too_much_is_found_by_its_sum(void **state)
{
    (void)state;
    uint64_t v[N];
    size_t extra[DIGEST_EXTRA_MAX], n;

    for (uint64_t seed = 0; seed < 50; seed++) {
        fill(v, seed);
        for (size_t k = 1; k <= 4; k++) {
            uint64_t sum = 0;
            for (size_t i = 0; i < k; i++)
                sum += v[i * 5 + seed % 5];
            assert_true(digest_extra(v, N, sum, extra, &n));
            assert_int_equal(n, k);
            for (size_t i = 0; i < k; i++)
                assert_int_equal(extra[i], i * 5 + seed % 5);
        }
    }
}

static void all_of_a_bucket_may_be_too_much(void **state)
{
    (void)state;
    uint64_t v[N], sum = 0;
    size_t extra[DIGEST_EXTRA_MAX], n;

    fill(v, 1);
    for (size_t i = 0; i < N; i++)
        sum += v[i];
    assert_true(digest_extra(v, N, sum, extra, &n));
    assert_int_equal(n, DIGEST_EXTRA_MAX + 1);
    assert_true(digest_extra(v, 1, v[0], extra, &n));
    assert_int_equal(n, DIGEST_EXTRA_MAX + 1);
}

static void what_no_few_have_is_not_known(void **state)
{
    (void)state;
    uint64_t v[N], many[400];
    size_t extra[DIGEST_EXTRA_MAX], n;

    fill(v, 1);
    uint64_t nine = 0;
    for (size_t i = 0; i < 9; i++)
        nine += v[i];
    assert_false(digest_extra(v, N, nine, extra, &n));
    assert_false(digest_extra(v, N, 12345, extra, &n));
    assert_false(digest_extra(v, 0, 12345, extra, &n));
    for (size_t i = 0; i < 400; i++)
        many[i] = digest_element(bytes_str("e"), bytes_str("r"), i, 2);
    assert_true(digest_extra(many, 400, many[7] + many[399], extra, &n));
    assert_int_equal(n, 2); /* three of so many would take too long */
    assert_false(
        digest_extra(many, 400, many[1] + many[2] + many[3], extra, &n));
}

static void buckets_are_a_power_of_two_within_bounds(void **state)
{
    (void)state;
    assert_int_equal(digest_buckets(0, 1), DIGEST_BUCKETS_MIN);
    assert_int_equal(digest_buckets(200000, 1), 16384);
    assert_int_equal(digest_buckets(65536, 16), 65536);
    assert_int_equal(digest_buckets(65537, 16), 131072);
    assert_int_equal(digest_buckets(SIZE_MAX / 32, 16), DIGEST_BUCKETS_MAX);
}

static void elements_differ_in_all_they_are_made_of(void **state)
{
    (void)state;
    struct bytes a = bytes_str("a"), b = bytes_str("b");
    uint64_t h = digest_element(a, b, 1, 1);

    assert_true(h == digest_element(a, b, 1, 1));
    assert_true(h != digest_element(b, a, 1, 1));
    assert_true(h != digest_element(a, b, 2, 1));
    assert_true(h != digest_element(a, b, 1, 2));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_is_too_much_is_found_by_its_sum),
    cmocka_unit_test(all_of_a_bucket_may_be_too_much),
    cmocka_unit_test(what_no_few_have_is_not_known),
    cmocka_unit_test(buckets_are_a_power_of_two_within_bounds),
    cmocka_unit_test(elements_differ_in_all_they_are_made_of),
};

RUN_TESTS(tests)
