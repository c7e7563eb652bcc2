/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* map - a hash map from bytes to a pointer, for one thread's own tables.
 *
 * Open addressing with linear probing, power-of-two size, load <= 3/4. The map
 * does not own keys: key.p must stay valid while the entry is in (usually it
 * points into the value). */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/bytes.h"

struct map_slot {
    uint64_t hash; /* 0: free */
    struct bytes key;
    void *value;
};

struct map {
    struct map_slot *slots;
    size_t cap;
    size_t n;
};

void map_fini(struct map *m); /* values are the caller's */

void *map_get(const struct map *m, struct bytes key);

/* Adds or replaces (then the new key view is kept). ERR_NOMEM: unchanged. */
MUST_USE enum err map_put(struct map *m, struct bytes key, void *value);

/* The value that was there, or NULL. */
void *map_del(struct map *m, struct bytes key);

/* Walks: start with *at = 0; false at the end. Deleting the entry just returned
 * may move others: collect first, delete afterwards. */
bool map_next(const struct map *m, size_t *at, struct bytes *ret_key,
              void **ret_value);

#endif
