/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/digest.h"

enum { TRIES_MAX = 200000 /* of one bucket; below a millisecond */ };

uint64_t digest_element(struct bytes entry, struct bytes row, uint64_t revision,
                        uint64_t seed)
{
    /* splitmix64's last steps: revisions that follow each other are far apart. */
    uint64_t z = bytes_hash(row, bytes_hash(entry, seed)) ^
                 revision * UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

size_t digest_buckets(size_t elements, size_t sixteenths)
{
    size_t n = DIGEST_BUCKETS_MIN;

    while (n < DIGEST_BUCKETS_MAX && n * 16 < elements * sixteenths)
        n *= 2;
    return n;
}

/* k of those from `from` on. */
static bool pick(const uint64_t *v, size_t n, size_t from, size_t k,
                 uint64_t sum, size_t *ret)
{
    for (size_t i = from; i + k <= n; i++) {
        ret[0] = i;
        if (k == 1 ? v[i] == sum
                   : pick(v, n, i + 1, k - 1, sum - v[i], ret + 1))
            return true;
    }
    return false;
}

/* n over k, or more than TRIES_MAX. */
static size_t choices(size_t n, size_t k)
{
    size_t c = 1;

    for (size_t i = 0; i < k && c <= TRIES_MAX; i++)
        c = c * (n - i) / (i + 1);
    return c;
}

bool digest_extra(const uint64_t *v, size_t n, uint64_t sum,
                  size_t ret[DIGEST_EXTRA_MAX], size_t *ret_n)
{
    uint64_t all = 0;

    for (size_t i = 0; i < n; i++)
        all += v[i];
    *ret_n = DIGEST_EXTRA_MAX + 1;
    if (all == sum)
        return true;
    for (size_t k = 1; k <= DIGEST_EXTRA_MAX && k < n; k++) {
        *ret_n = k;
        if (choices(n, k) > TRIES_MAX)
            return false;
        if (pick(v, n, 0, k, sum, ret))
            return true;
    }
    return false;
}
