/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* lags - how long changes took from being published to being applied: when each
 * of the last versions was published, and a histogram per service. Not locked:
 * the owner's mutex. Times are monotonic milliseconds. */
#ifndef SERVER_LAGS_H
#define SERVER_LAGS_H

#include "base/map.h"

enum {
    LAG_SERVICES_MAX = 4096, /* further ones are counted in the metrics only */
    LAG_BUCKETS = 16,        /* up to 1, 2, 4, ... ms; the last: more */
    LAG_VERSIONS = 4096,
};

struct lag_row {
    const char *service;
    uint64_t n, sum_ms, max_ms, buckets[LAG_BUCKETS];
};

struct lags {
    struct map by_name; /* -> struct lag */
    struct {
        uint64_t revision, ms;
    } versions[LAG_VERSIONS]; /* a ring, revisions grow */
    size_t version_count;     /* ever */
};

void lags_fini(struct lags *l);

void lags_published(struct lags *l, uint64_t revision, uint64_t now_ms);

/* When the first version that has this revision was published; 0: not known. */
uint64_t lags_published_ms(const struct lags *l, uint64_t revision);

/* The last one that was published; 0: none yet. */
uint64_t lags_newest(const struct lags *l);

/* A change of the service (empty: of several) took so long. */
void lags_count(struct lags *l, struct bytes name, uint64_t lag_ms);

/* What another one counted; the row's name is the service. */
void lags_add(struct lags *l, const struct lag_row *r);

void lags_each(const struct lags *l,
               void (*each)(void *ctx, const struct lag_row *r), void *ctx);

#endif
