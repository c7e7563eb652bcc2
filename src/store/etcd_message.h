/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* etcd_message - etcd's answers, bytes -> values (etcd/api rpc.proto, kv.proto).
 * What muster lives by (ranges, transactions, watches) comes by gRPC, the rest as
 * the JSON gateway writes it, with the field names that it has there.
 *
 * ERR_CORRUPT: not such an answer. ERR_NOMEM. */
#ifndef STORE_ETCD_MESSAGE_H
#define STORE_ETCD_MESSAGE_H

#include "store/backend.h"
#include "store/etcd_text.h"
#include "store/etcd_wire.h"

struct etcd_header {
    uint64_t cluster, revision, term;
};

/* --- Range --------------------------------------------------------------- */

struct etcd_range {
    struct etcd_header header;
    bool more;
    size_t rows;
    struct bytes last_key; /* a view of the message */
};

/* row (may be NULL) as the rows are read; views of the message. */
MUST_USE enum err etcd_range_read(struct bytes message, struct etcd_range *ret,
                                  backend_row_fn row, void *ctx);

/* --- Txn ----------------------------------------------------------------- */

struct etcd_txn {
    struct etcd_header header;
    bool succeeded;
    size_t responses;
    /* The last row of all ranges among the responses (views), and how many. */
    struct bytes row_key, row_value;
    uint64_t row_rev, row_lease;
    uint64_t range_count;
};

/* held for each nested transaction, with its place among the responses. */
MUST_USE enum err etcd_txn_read(struct bytes message, struct etcd_txn *ret,
                                void (*held)(void *ctx, size_t at, bool held),
                                void *ctx);

/* --- Watch --------------------------------------------------------------- */

struct etcd_event {
    size_t key_at, key_n, value_n; /* in bytes; the value follows the key */
    uint64_t create_rev, mod_rev;
    bool is_delete;
};

/* Events that were read and not yet told. Zeroed is empty. */
struct etcd_events {
    struct etcd_event *event;
    size_t n, cap;
    struct buf bytes;
    struct store_event *out;
    size_t out_cap;
    uint64_t told;    /* the last revision of this message; 0: none */
    uint64_t wall_ms; /* of the last marker that was told */
};

struct etcd_watched {
    struct etcd_header header;
    bool created, canceled, fragment;
    uint64_t compact_revision;
    struct bytes reason; /* a view of the message */
};

/* One message of a watch; its events go behind those in ev. */
MUST_USE enum err etcd_watch_read(struct bytes message,
                                  struct etcd_watched *ret,
                                  struct etcd_events *ev);

/* Tells the events above `after`, revision by revision. They are forgotten, but
 * for the last revision's where more of this message is to come (a fragment): it
 * may go on. The newest told, or after. Revisions that go back are
 * ERR_CORRUPT. */
MUST_USE enum err etcd_events_tell(struct etcd_events *ev, bool more,
                                   uint64_t after,
                                   const struct backend_sink *to,
                                   uint64_t *ret_last);
size_t etcd_events_bytes(const struct etcd_events *ev); /* what they take */
void etcd_events_reset(struct etcd_events *ev);
void etcd_events_fini(struct etcd_events *ev);

/* --- Small ones ---------------------------------------------------------- */

/* {"error":"...","code":n} (etcd up to 3.5), {"message":"...","code":n} (3.6),
 * whatever else; empty if it is no such text. */
struct bytes etcd_error_read(struct bytes text);

/* The wall time in a marker's value; 0: none. */
uint64_t etcd_marker_ms(struct bytes value);

/* A member of the (inner) answer that is a number or a string; for the answers
 * that have one interesting member: ID, TTL, token, dbSize. With `inside`: of
 * the object under that name. Absent: zero, empty. */
MUST_USE enum err etcd_number_read(struct bytes text, const char *inside,
                                   const char *name, uint64_t *ret);
MUST_USE enum err etcd_string_read(struct bytes text, const char *name,
                                   struct bytes *ret);

#endif
