/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* probe_world - a prober whose results the test takes one by one. */
#ifndef PROBE_WORLD_H
#define PROBE_WORLD_H

#include "probe/probe.h"

#include <stdio.h>
#include <unistd.h>
#include <uv.h>

#include "test.h"

enum { PROBE_GIVE_UP_S = 60 };

struct world {
    struct prober *p;
    uv_mutex_t mutex;
    uv_cond_t cond;
    struct list results;
};

/* On the probe thread. */
static inline void world_on_results(void *ctx, struct list *take)
{
    struct world *w = ctx;
    uv_mutex_lock(&w->mutex);
    list_move_all(&w->results, take);
    uv_cond_signal(&w->cond);
    uv_mutex_unlock(&w->mutex);
}

static inline void world_setup(struct world *w, size_t output_max)
{
    const struct prober_options o = {
        .output_max = output_max, .results = world_on_results, .ctx = w};
    list_init(&w->results);
    assert_int_equal(uv_mutex_init(&w->mutex), 0);
    assert_int_equal(uv_cond_init(&w->cond), 0);
    assert_ok(prober_new(&o, &w->p, NULL));
}

static inline void world_teardown(struct world *w)
{
    prober_close(w->p);
    list_each (it, &w->results) {
        list_del(it);
        free(container_of(it, struct probe_result, link));
    }
    uv_mutex_destroy(&w->mutex);
    uv_cond_destroy(&w->cond);
}

/* The next result (free it); fails rather than hang for ever. */
static inline struct probe_result *world_next(struct world *w)
{
    struct list *first = NULL;
    uv_mutex_lock(&w->mutex);
    while (list_empty(&w->results))
        if (uv_cond_timedwait(&w->cond, &w->mutex,
                              PROBE_GIVE_UP_S * UINT64_C(1000000000)) != 0)
            break;
    if (!list_empty(&w->results)) {
        first = w->results.next;
        list_del(first);
    }
    uv_mutex_unlock(&w->mutex);
    if (!first)
        fail_msg("no result in %d s", PROBE_GIVE_UP_S);
    return container_of(first, struct probe_result, link);
}

static inline struct bytes result_id(const struct probe_result *r)
{
    return bytes_of(r->data, r->id_n);
}

static inline struct bytes result_output(const struct probe_result *r)
{
    return bytes_of(r->data + r->id_n, r->output_n);
}

static inline void world_start(struct world *w, const struct check_def *d)
{
    struct check_def named = *d;
    if (named.id.n == 0)
        named.id = bytes_str("c");
    if (named.interval_ns == 0)
        named.interval_ns = 3600 * INT64_C(1000000000); /* once */
    named.failures_before_warning = -1;
    assert_ok(probe_start(w->p, &named, 1, 0));
}

/* Runs it once. */
static inline void world_assert(struct world *w, const struct check_def *d,
                                enum status status, const char *output)
{
    world_start(w, d);
    struct probe_result *r = world_next(w);
    assert_bytes(result_output(r), output);
    assert_int_equal(r->status, status);
    assert_bytes(result_id(r), "c");
    assert_int_equal(r->generation, 1);
    free(r);
}

#endif
