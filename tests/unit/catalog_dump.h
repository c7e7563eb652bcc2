/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* catalog_dump - is what is dumped what is stored? */
#ifndef CATALOG_DUMP_TEST_H
#define CATALOG_DUMP_TEST_H

#include "catalog/dump.h"
#include "catalog_world.h"

struct dumped {
    const struct world *w;
    size_t n;
};

static inline void assert_row(void *ctx, struct bytes key, struct bytes value)
{
    struct dumped *d = ctx;
    const struct row *r = world_key(d->w, key);

    if (!r)
        fail_msg("%.*s is dumped and not stored", BYTES_ARG(key));
    else if (!bytes_eq(row_value(r), value))
        fail_msg("%.*s is dumped with another value", BYTES_ARG(key));
    d->n++;
}

/* Each row once: keys that differ cannot be as many and be others. */
static inline void assert_dump_is_stored(const struct world *w)
{
    struct dumped d = {.w = w};

    assert_true(catalog_dump(catalog_current(w->catalog), assert_row, &d));
    assert_int_equal(d.n, w->n);
}

#endif
