/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Ketama: a ring of 2^32 with 160 points a member, as libketama (R. Jones, 2007)
 * and the memcached clients make it; points are those of Couchbase's RFC 0026.
 * A member of weight w among n with the sum W has w/W * 40 * n digests of four
 * points.
 *
 * A key goes to the next point clockwise. The points are sorted, and `starts`
 * says for the upper bits of a key where to begin to look, so that a lookup
 * touches two cache lines and not log2(160 n). */
#define OPENSSL_SUPPRESS_DEPRECATED /* EVP would allocate and lock per key */
#include <openssl/md5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/policy.h"

enum {
    DIGESTS = 40,
    POINTS_PER_DIGEST = 4,
    POINTS_MAX = 8 * 1024 * 1024, /* as Envoy's */
};

struct ring {
    uint32_t n;
    uint32_t shift;   /* a key's upper bits: key >> shift */
    uint32_t *starts; /* first point at or after them; one more at the end */
    struct lb_ketama_point point[];
};

static uint32_t le32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
           (uint32_t)p[3] << 24;
}

static void md5(struct bytes a, struct bytes b,
                unsigned char ret[MD5_DIGEST_LENGTH])
{
    MD5_CTX c;

    (void)MD5_Init(&c);
    (void)MD5_Update(&c, a.p, a.n);
    (void)MD5_Update(&c, b.p, b.n);
    (void)MD5_Final(ret, &c);
}

void lb_ketama_points(struct bytes name, uint32_t i, uint32_t ret[4])
{
    unsigned char digest[MD5_DIGEST_LENGTH];
    char number[16];
    int n = snprintf(number, sizeof number, "-%u", i);

    md5(name, bytes_of(number, (size_t)n), digest);
    for (int k = 0; k < POINTS_PER_DIGEST; k++)
        ret[k] = le32(digest + k * 4);
}

static uint64_t key_hash(struct bytes key)
{
    unsigned char digest[MD5_DIGEST_LENGTH];

    md5(key, bytes_of("", 0), digest);
    return le32(digest);
}

static uint64_t digests_of(const struct lb_list *l, size_t i, uint64_t sum)
{
    uint64_t each = DIGESTS;
    uint64_t most = POINTS_MAX / POINTS_PER_DIGEST / l->n;

    each = each < most ? each : most;
    uint64_t n = l->v[i].weight * each * l->n / sum;
    return n ? n : 1; /* nobody with a weight goes without */
}

static size_t put_points(const struct lb_list *l, uint64_t sum,
                         struct lb_ketama_point *to)
{
    size_t n = 0;

    for (size_t i = 0; i < l->n; i++) {
        uint64_t digests = digests_of(l, i, sum);
        for (uint32_t d = 0; d < digests; d++) {
            uint32_t at[POINTS_PER_DIGEST];
            lb_ketama_points(l->v[i].host->name, d, at);
            for (int k = 0; k < POINTS_PER_DIGEST; k++)
                to[n++] = (struct lb_ketama_point){at[k], (uint32_t)i};
        }
    }
    return n;
}

/* Radix sort, 11 bits at a time; stable, so of two points in one place that of
 * the earlier member comes first whatever the order was. An odd number of
 * passes: the result is in tmp. */
static void sort_points(struct lb_ketama_point *v, struct lb_ketama_point *tmp,
                        size_t n)
{
    enum { BITS = 11, SIZE = 1 << BITS };

    for (unsigned shift = 0; shift < 32; shift += BITS) {
        uint32_t at[SIZE] = {0}, sum = 0;
        for (size_t i = 0; i < n; i++)
            at[v[i].at >> shift & (SIZE - 1)]++;
        for (size_t i = 0; i < SIZE; i++) {
            uint32_t count = at[i];
            at[i] = sum;
            sum += count;
        }
        for (size_t i = 0; i < n; i++)
            tmp[at[v[i].at >> shift & (SIZE - 1)]++] = v[i];
        struct lb_ketama_point *t = v;
        v = tmp;
        tmp = t;
    }
}

/* About one point for each start. */
static uint32_t shift_for(size_t n)
{
    uint32_t bits = 1;

    while (bits < 24 && (size_t)1 << bits < n)
        bits++;
    return 32 - bits;
}

static void put_starts(struct ring *r)
{
    uint32_t count = 1u << (32 - r->shift), at = 0;

    for (uint32_t i = 0; i < count; i++) {
        while (at < r->n && r->point[at].at < i << r->shift)
            at++;
        r->starts[i] = at;
    }
    r->starts[count] = r->n;
}

static struct ring *ring_new(size_t n)
{
    uint32_t shift = shift_for(n);
    size_t starts = ((size_t)1 << (32 - shift)) + 1;
    struct ring *r = malloc(sizeof *r + n * sizeof r->point[0] +
                            starts * sizeof r->starts[0]);

    if (!r)
        return NULL;
    r->n = (uint32_t)n;
    r->shift = shift;
    r->starts = (uint32_t *)(void *)(r->point + n);
    return r;
}

static enum err ring_build(const struct lb_list *l, void **ret_table)
{
    uint64_t sum = 0;
    size_t n = 0;

    for (size_t i = 0; i < l->n; i++)
        sum += l->v[i].weight;
    for (size_t i = 0; i < l->n; i++)
        n += digests_of(l, i, sum) * POINTS_PER_DIGEST;

    struct ring *r = ring_new(n);
    struct lb_ketama_point *points = malloc(n * sizeof *points);
    if (!r || !points) {
        free(r);
        free(points);
        return ERR_NOMEM;
    }
    sort_points(points, r->point, put_points(l, sum, points));
    put_starts(r);
    free(points);
    *ret_table = r;
    return ERR_OK;
}

static uint32_t ring_first(const void *table, struct lb_walk *w)
{
    const struct ring *r = table;
    uint32_t key = (uint32_t)w->key;
    uint32_t at = r->starts[key >> r->shift];

    while (at < r->n && r->point[at].at < key)
        at++;
    w->place = at < r->n ? at : 0;
    w->at = r->point[w->place].member;
    return w->at;
}

/* The next point of somebody else. */
static uint32_t ring_next(const void *table, struct lb_walk *w)
{
    const struct ring *r = table;
    uint32_t was = w->at;

    for (uint32_t i = 0; i < r->n && w->at == was; i++) {
        w->place = w->place + 1 < r->n ? w->place + 1 : 0;
        w->at = r->point[w->place].member;
    }
    return w->at;
}

const struct lb_ketama_point *lb_ketama_ring(const void *table, size_t *ret_n)
{
    const struct ring *r = table;

    *ret_n = r->n;
    return r->point;
}

const struct lb_policy lb_ketama = {
    .name = "ketama",
    .hashes = true,
    .weighted = true,
    .build = ring_build,
    .hash = key_hash,
    .first = ring_first,
    .next = ring_next,
};
