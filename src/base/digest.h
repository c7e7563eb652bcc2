/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* digest - sums by which somebody who has all that another one has, and maybe more,
 * finds out what is too much.
 *
 * Each element (a row of an entry, at a revision) has a hash, which chooses one of
 * a power of two of buckets and is added to its sum, in any order. Whoever has the
 * other one's sums subtracts them from his own: a bucket where nothing is left is
 * the same on both sides, elsewhere some of the few elements there have just the
 * sum that is left (a subset sum, small enough to be tried). That costs the wire 8
 * bytes a bucket, whatever the elements are; and as all that one has is in the
 * sums, they prove in the end that both have the same.
 *
 * The seed is drawn anew each time, so that nobody can prepare names whose sums are
 * alike. Pure. */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

#include "base/bytes.h"

enum {
    DIGEST_BUCKETS_MIN = 16,
    DIGEST_BUCKETS_MAX = 1 << 20,
    DIGEST_EXTRA_MAX = 8, /* in a bucket, that are found, unless all are */
};

uint64_t digest_element(struct bytes entry, struct bytes row, uint64_t revision,
                        uint64_t seed);

/* A power of two: about `sixteenths` buckets for each sixteen elements. */
size_t digest_buckets(size_t elements, size_t sixteenths);

static inline size_t digest_bucket(uint64_t element, size_t buckets)
{
    return (size_t)(element & (buckets - 1));
}

/* Which of the n elements of a bucket have this sum, together: their places into
 * ret, *ret_n of them; DIGEST_EXTRA_MAX + 1: all. False: it is not known. */
bool digest_extra(const uint64_t *v, size_t n, uint64_t sum,
                  size_t ret[DIGEST_EXTRA_MAX], size_t *ret_n);

#endif
