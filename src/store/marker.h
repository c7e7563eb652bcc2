/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* marker - what a group says of itself, under its slot's key: JSON text.
 *
 *     {"group":"<life>-<number>","ms":<wall time>,
 *      "by":[["<meta of a change>",<its operations>,<key>,...],...]}
 *
 * in the order of the changes, also of those that turned out to conflict. A
 * <key> is the lower 32 bits of bytes_hash of a key that the change writes,
 * without the epoch's prefix; of a prefix that it deletes: two numbers, minus
 * (its length + 1) and its hash. The first MARKER_KEYS_MAX operations are
 * named, and none if the group has one change only. No key is written by two
 * changes of a group, so that an event's key finds who wrote it; what no change
 * names belongs to the only one with more operations than it names, if there
 * is one such. Markers of before there were keys tell it only of lone changes.
 */
#ifndef STORE_MARKER_H
#define STORE_MARKER_H

#include "base/buf.h"
#include "store/store.h"

enum {
    MARKER_KEYS_MAX = 8,
    MARKER_KEY_BYTES = 19, /* of the text for one operation, at most */
};

/* Bytes of text that a change's operations take, at most. */
size_t marker_bytes(const struct store_change *c);

/* Appends ,"by":[...] ; with keys if wanted. */
void marker_put(struct buf *out, struct store_change *const *changes, size_t n,
                bool keys);

/* --- Reading ------------------------------------------------------------- */

struct marker_key {
    uint32_t hash, change;
    uint32_t prefix; /* its length + 1; 0: a whole key */
};

struct marker_change {
    uint32_t meta_at, meta_n; /* in metas */
};

/* Zeroed is empty; memory stays for the next. */
struct marker {
    struct buf metas;
    struct marker_change *changes;
    size_t change_n, change_cap;
    struct marker_key *keys;
    size_t key_n, key_cap;
    uint32_t rest; /* 1 + the change that names not all; 0: none, or several */
    bool rest_known;
};

void marker_reset(struct marker *m);
void marker_fini(struct marker *m);

/* Adds what it says; a damaged one says less, or nothing. */
void marker_read(struct marker *m, struct bytes text);

/* All metas in one piece, and the part of such a piece (a copy) that belongs to
 * who wrote the key (without the epoch's prefix). */
struct bytes marker_metas(const struct marker *m);
struct bytes marker_by(const struct marker *m, struct bytes key,
                       struct bytes metas);

static inline size_t marker_meta_bytes(const struct marker *m)
{
    return marker_metas(m).n;
}

#endif
