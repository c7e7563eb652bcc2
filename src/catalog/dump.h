/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* dump - a version of the catalog as the rows of which it was loaded, for who has
 * to save it while its store cannot be asked.
 *
 * Every row of the store, keys and values as there, in no order to rely on; keys
 * that only make something unique (node IDs, queries' names) are made anew. What
 * is left out: rows that hang in the air (a check or service whose node was never
 * stored, which no plan makes). Pinned, any thread; cost: one step for each row. */
#ifndef CATALOG_DUMP_H
#define CATALOG_DUMP_H

#include "catalog/catalog.h"

/* Views live during the call. */
typedef void catalog_dump_fn(void *ctx, struct bytes key, struct bytes value);

/* False: no memory; then rows are missing. */
MUST_USE bool catalog_dump(const struct snapshot *s, catalog_dump_fn *each,
                           void *ctx);

#endif
