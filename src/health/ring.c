/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "health/ring.h"

#include <stdlib.h>

#include "health/judge.h"

enum err ring_init(struct ring *r, size_t size_bytes)
{
    size_t size = size_bytes ? size_bytes : 1;

    *r = (struct ring){.p = malloc(size), .size = size};
    return r->p ? ERR_OK : ERR_NOMEM;
}

void ring_fini(struct ring *r)
{
    free(r->p);
    *r = (struct ring){0};
}

void ring_put(struct ring *r, struct bytes b)
{
    size_t skip = b.n > r->size ? b.n - r->size : 0;

    r->total += skip;
    b = bytes_skip(b, skip);
    while (b.n) {
        size_t at = (size_t)(r->total % r->size);
        size_t k = r->size - at < b.n ? r->size - at : b.n;
        memcpy(r->p + at, b.p, k);
        r->total += k;
        b = bytes_skip(b, k);
    }
}

void ring_output(const struct ring *r, struct buf *out)
{
    struct buf tail = {0};
    size_t at = (size_t)(r->total % r->size);

    if (r->total > r->size)
        buf_put_n(&tail, r->p + at, r->size - at);
    buf_put_n(&tail, r->p, r->total > r->size ? at : (size_t)r->total);
    if (tail.bad)
        out->bad = true;
    else
        output_tail(out, buf_bytes(&tail), r->total, r->size, true);
    buf_fini(&tail);
}
