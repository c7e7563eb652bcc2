/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* entry_table - which entries somebody has been told, as hashes: 16 bytes an
 * entry, so that equal ones are not told again. Pure.
 *
 * Keys are hashes of entry keys under a seed that clients do not know, so that
 * nobody can make two entries look like one. */
#ifndef API_ENTRY_TABLE_H
#define API_ENTRY_TABLE_H

#include "base/bytes.h"

struct entry_slot {
    uint64_t key;    /* 0: free */
    uint64_t digest; /* of what was told */
};

/* Zero-initialised: empty. */
struct entry_table {
    struct entry_slot *slots;
    size_t cap, n;
};

void entry_table_fini(struct entry_table *t);

/* key must not be 0. False: it is not in. */
bool entry_table_get(const struct entry_table *t, uint64_t key,
                     uint64_t *ret_digest);
MUST_USE enum err entry_table_put(struct entry_table *t, uint64_t key,
                                  uint64_t digest);
void entry_table_del(struct entry_table *t, uint64_t key);

#endif
