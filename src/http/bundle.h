/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* bundle - a snapshot of the catalog as a file, in the layout of Consul's:
 *
 *     gzip( tar( meta.json, state.bin, SHA256SUMS ) )
 *
 * so that its command line saves, inspects and restores what muster made. What
 * is in state.bin is muster's own; Consul's `snapshot inspect` counts its
 * records as of an unknown type:
 *
 *     state.bin   header, record...           MessagePack
 *     header      {"LastIndex": uint}
 *     record      BUNDLE_RECORD (a byte), {"Key": bin, "Value": bin}
 *
 * meta.json is that of HashiCorp's raft library, with one member more:
 * "MusterFormat". Keys and values are the store's (src/catalog/record.h).
 *
 * Pure. Sizes are bounded by BUNDLE_BYTES_MAX, unpacked. */
#ifndef HTTP_BUNDLE_H
#define HTTP_BUNDLE_H

#include "base/buf.h"

enum {
    BUNDLE_FORMAT = 1,
    BUNDLE_RECORD = 0xf0,
    BUNDLE_BYTES_MAX = 1 << 30,
    BUNDLE_KEY_MAX = 64 * 1024,
};

/* --- Making -------------------------------------------------------------- */

void bundle_begin(struct buf *state, uint64_t index);
void bundle_row(struct buf *state, struct bytes key, struct bytes value);

struct bundle_meta {
    uint64_t index;
    uint64_t wall_ms; /* when it was made; part of its ID */
    struct bytes node_id, address;
    uint64_t size; /* of state.bin */
    uint64_t format;
    struct bytes id; /* read: a view of the text */
};

/* The whole archive. ERR_NOMEM. */
MUST_USE enum err bundle_pack(const struct buf *state,
                              const struct bundle_meta *m, struct buf *out);

/* --- Reading ------------------------------------------------------------- */

struct bundle {
    struct buf tar; /* views below are into it */
    struct bytes meta_text, state;
    struct bundle_meta meta;
    size_t rows;
};

/* Checks all of it: sums, sizes, every record. ERR_BAD (t: what is wrong with
 * it), ERR_LIMIT, ERR_NOMEM. Then rows can be walked. */
MUST_USE enum err bundle_open(struct bytes archive, struct bundle *ret,
                              struct errtext *t);
void bundle_fini(struct bundle *b);

/* The next row from *at (0: the first) on; false at the end. */
bool bundle_next(const struct bundle *b, size_t *at, struct bytes *ret_key,
                 struct bytes *ret_value);

#endif
