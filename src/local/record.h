/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* record - what the agent's own store (agent.db) holds, as bytes.
 *
 *     s/<service>   u8 1, lp of record_put_service's value, lp of the token
 *     c/<check>     check_def_put's value
 *     t/<check>     u8 2, status, output, boot id (each lp), then varints: when
 *                   it was written, the last beat, since when (wall clock),
 *                   cause, penalty, 1 if suppressed
 *                   u8 1: without the last four, and by another clock
 *
 * (lp: varint length, bytes.) IDs in keys are ASCII-folded; '/', '%' and bytes
 * below 0x21 are percent-escaped, as in catalog/record.h. Values name their ID
 * as it was given. */
#ifndef LOCAL_RECORD_H
#define LOCAL_RECORD_H

#include "catalog/record.h"
#include "health/status.h"

enum local_key_kind {
    LOCAL_KEY_SERVICE = 's',
    LOCAL_KEY_CHECK = 'c',
    LOCAL_KEY_STATE = 't',
};

void local_key(struct buf *out, enum local_key_kind kind, struct bytes id);

/* ret_id is the folded ID, unescaped into scratch (at least key.n bytes).
 * ERR_BAD: not such a key. */
MUST_USE enum err local_key_parse(struct bytes key, char *scratch,
                                  enum local_key_kind *ret_kind,
                                  struct bytes *ret_id);

void local_service_put(struct buf *out, const struct service_view *v,
                       struct bytes token);
MUST_USE enum err local_service_get(struct bytes value, struct service_view *v,
                                    struct bytes *ret_token);

/* Times are milliseconds of the clock that goes on while the host sleeps
 * (CLOCK_BOOTTIME); they mean nothing to another boot. In the old form they are
 * of one that starts with each process: only their difference means something.
 */
struct local_state {
    enum status status;
    struct bytes output;
    struct bytes boot_id;
    bool old; /* form 1, only read */
    uint64_t written_ms;
    uint64_t beat_ms;  /* TTL checks; at most written_ms */
    uint64_t since_ms; /* wall clock: of the status; 0: unknown */
    enum check_cause cause;
    uint32_t penalty;
    bool suppressed;
};

/* In form 2. */
void local_state_put(struct buf *out, const struct local_state *s);
MUST_USE enum err local_state_get(struct bytes value, struct local_state *ret);

#endif
