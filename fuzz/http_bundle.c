/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Snapshot archives. The first byte says how the rest is wrapped: 'g' it is the
 * file; else it is a tar, to be compressed first, or nothing could be reached
 * behind gzip's checksum. Properties: what is accepted has as many rows as it
 * says, each with a key, and is the same when it is packed again. */
#include <stdint.h>
#include <stdlib.h>

#include "http/bundle.h"
#include "http/response.h"

static void need(bool x)
{
    if (!x)
        abort();
}

static void accepted(const struct bundle *b)
{
    struct buf state = {0}, file = {0};
    struct bytes key, value;
    struct bundle again;
    size_t at = 0, rows = 0;

    bundle_begin(&state, b->meta.index);
    for (; bundle_next(b, &at, &key, &value); rows++) {
        need(key.n > 0);
        bundle_row(&state, key, value);
    }
    need(rows == b->rows && bytes_eq(buf_bytes(&state), b->state));
    need(bundle_pack(&state, &b->meta, &file) == ERR_OK);
    if (b->meta.index <= INT64_MAX) {
        need(bundle_open(buf_bytes(&file), &again, NULL) == ERR_OK);
        need(again.rows == rows);
        bundle_fini(&again);
    }
    buf_fini(&state);
    buf_fini(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct bytes rest = bytes_skip(bytes_of(p, n), 1);
    struct buf file = {0};
    struct bundle b;
    struct errtext t;

    if (n && p[0] == 'g')
        buf_put(&file, rest);
    else
        need(http_gzip(rest, &file) == ERR_OK);
    if (bundle_open(buf_bytes(&file), &b, &t) == ERR_OK) {
        accepted(&b);
        bundle_fini(&b);
    }
    buf_fini(&file);
    return 0;
}
