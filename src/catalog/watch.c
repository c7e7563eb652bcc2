/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "catalog/watch.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/buf.h"

enum {
    FOLD_CHUNK = 256,      /* bytes folded on the stack at a time */
    KEPT_HASHES_MAX = 1024 /* room kept from one version to the next */
};

static bool has_name(enum watch_kind kind)
{
    switch (kind) {
    case WATCH_NONE:
    case WATCH_NODES:
    case WATCH_SERVICES:
    case WATCH_NODES_SERVICES:
    case WATCH_CATALOG:
    case WATCH_LOCAL:
    case WATCH_EVENTS:
    case WATCH_QUERIES:
    case WATCH_COORDINATES:
        return false;
    case WATCH_NODE:
    case WATCH_NODE_CHECKS:
    case WATCH_SERVICE:
    case WATCH_SERVICE_HEALTH:
    case WATCH_SERVICE_CHECKS:
    case WATCH_STATE:
    case WATCH_LOCAL_SERVICE:
        return true;
    }
    return false;
}

uint64_t watch_hash(struct watch_key k)
{
    char space[FOLD_CHUNK];
    uint64_t h = (uint64_t)k.kind;
    struct bytes rest = has_name(k.kind) ? k.name : (struct bytes){NULL, 0};

    do {
        struct buf folded = {.p = space, .cap = sizeof space};
        struct bytes part = bytes_head(rest, sizeof space);
        buf_put_fold(&folded, part);
        h = bytes_hash(buf_bytes(&folded), h);
        rest = bytes_skip(rest, part.n);
    } while (rest.n);
    return h ? h : 1;
}

void watch_set_add(struct watch_set *s, uint64_t hash)
{
    if (s->n == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 16;
        s->v = xrealloc(s->v, s->cap * sizeof *s->v);
    }
    s->v[s->n++] = hash;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

void watch_set_sort(struct watch_set *s)
{
    size_t n = 0;

    if (s->n == 0)
        return;
    qsort(s->v, s->n, sizeof *s->v, by_value);
    for (size_t i = 0; i < s->n; i++)
        if (n == 0 || s->v[n - 1] != s->v[i])
            s->v[n++] = s->v[i];
    s->n = n;
}

void watch_set_reset(struct watch_set *s)
{
    if (s->cap > KEPT_HASHES_MAX)
        watch_set_fini(s);
    s->n = 0;
    s->all = false;
}

void watch_set_fini(struct watch_set *s)
{
    free(s->v);
    *s = (struct watch_set){0};
}
