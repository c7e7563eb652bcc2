/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* User events as peers tell of them. Properties: what is taken is within its bounds,
 * and reads the same when it is passed on, but for the hop. */
#include "api/event_batch.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { NOW_MS = 100000 };

static void need(bool x)
{
    if (!x)
        abort();
}

static void same(const struct heard_event *a, const struct heard_event *b)
{
    need(strcmp(a->id, b->id) == 0 && strlen(a->id) == 36);
    need(a->name.n && bytes_eq(a->name, b->name));
    need(bytes_eq(a->payload, b->payload));
    need(bytes_eq(a->node_filter, b->node_filter));
    need(bytes_eq(a->service_filter, b->service_filter));
    need(bytes_eq(a->tag_filter, b->tag_filter));
    need(a->ltime == b->ltime && a->fired_ms == b->fired_ms);
    need(a->fired_ms <= NOW_MS);
    need(b->hops == a->hops + 1 || b->hops == UINT16_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct event_batch b, again;
    struct buf out = {0};
    struct errtext t;
    struct arena a;

    arena_init(&a, 0);
    if (event_batch_get(bytes_of((const char *)data, n), &a, NOW_MS, &b, &t) ==
        ERR_OK) {
        need(b.n <= EVENT_BATCH_MAX);
        event_batch_put(&out, &b, NOW_MS);
        need(event_batch_get(buf_bytes(&out), &a, NOW_MS, &again, &t) ==
             ERR_OK);
        need(again.n == b.n && again.ltime == b.ltime);
        need(again.life == b.life && again.to == b.to && again.seq == b.seq);
        for (size_t i = 0; i < b.n; i++)
            same(b.v[i], again.v[i]);
    }
    buf_fini(&out);
    arena_fini(&a);
    return 0;
}
