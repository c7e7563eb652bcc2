/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/lags.h"

#include <stdlib.h>

#include "base/metric.h"

struct lag {
    struct lag_row row;
    char name[];
};

void lags_fini(struct lags *l)
{
    size_t at = 0;
    struct bytes key;
    void *value;
    while (map_next(&l->by_name, &at, &key, &value))
        free(value);
    map_fini(&l->by_name);
}

void lags_published(struct lags *l, uint64_t revision, uint64_t now_ms)
{
    size_t at = l->version_count++ % LAG_VERSIONS;
    l->versions[at].revision = revision;
    l->versions[at].ms = now_ms;
}

uint64_t lags_published_ms(const struct lags *l, uint64_t revision)
{
    size_t high = l->version_count;
    size_t low = high > LAG_VERSIONS ? high - LAG_VERSIONS : 0;
    if (low == high || l->versions[low % LAG_VERSIONS].revision > revision)
        return 0; /* long ago, or before the start */
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (l->versions[mid % LAG_VERSIONS].revision < revision)
            low = mid + 1;
        else
            high = mid;
    }
    return low < l->version_count ? l->versions[low % LAG_VERSIONS].ms : 0;
}

uint64_t lags_newest(const struct lags *l)
{
    size_t n = l->version_count;

    return n ? l->versions[(n - 1) % LAG_VERSIONS].revision : 0;
}

static struct lag *need(struct lags *l, struct bytes name)
{
    struct lag *g = map_get(&l->by_name, name);
    if (g || l->by_name.n >= LAG_SERVICES_MAX)
        return g;
    g = calloc(1, sizeof *g + name.n + 1);
    if (!g)
        return NULL;
    memcpy(g->name, name.p, name.n);
    g->row.service = g->name;
    if (map_put(&l->by_name, bytes_of(g->name, name.n), g) != ERR_OK) {
        free(g);
        return NULL;
    }
    return g;
}

void lags_count(struct lags *l, struct bytes name, uint64_t lag_ms)
{
    size_t bucket = 0;
    while (bucket < LAG_BUCKETS - 1 && lag_ms > (uint64_t)1 << bucket)
        bucket++;
    metric_add(METRIC_LAG_COUNT, 1);
    metric_add(METRIC_LAG_SUM, (int64_t)lag_ms);
    struct lag *g = name.n ? need(l, name) : NULL;
    if (!g)
        return;
    g->row.n++;
    g->row.sum_ms += lag_ms;
    g->row.buckets[bucket]++;
    if (g->row.max_ms < lag_ms)
        g->row.max_ms = lag_ms;
}

void lags_add(struct lags *l, const struct lag_row *r)
{
    struct bytes name = bytes_str(r->service);
    struct lag *g = name.n ? need(l, name) : NULL;
    if (!g)
        return;
    g->row.n += r->n;
    g->row.sum_ms += r->sum_ms;
    if (g->row.max_ms < r->max_ms)
        g->row.max_ms = r->max_ms;
    for (size_t i = 0; i < LAG_BUCKETS; i++)
        g->row.buckets[i] += r->buckets[i];
}

void lags_each(const struct lags *l,
               void (*each)(void *ctx, const struct lag_row *r), void *ctx)
{
    size_t at = 0;
    struct bytes key;
    void *value;
    while (map_next(&l->by_name, &at, &key, &value))
        each(ctx, &((const struct lag *)value)->row);
}
