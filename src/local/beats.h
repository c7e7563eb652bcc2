/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* beats - when services that were registered from outside (not by an agent of
 * their node) were last confirmed: each PUT /v1/catalog/register that names one
 * is a beat, also one that changes nothing. In memory only.
 *
 * A service may carry a time to live in its Meta, BEATS_META: how long it stays
 * without a beat. Who removes it is the duty (duty/duty.h).
 *
 * One writer (the core thread); readers pin and take the current table. The set of
 * entries is published anew when it changes; a beat only sets its entry's time. */
#ifndef LOCAL_BEATS_H
#define LOCAL_BEATS_H

#include <stdatomic.h>

#include "base/buf.h"
#include "base/pin.h"
#include "base/tree.h"

#define BEATS_META "muster-ttl"

enum {
    BEATS_MAX = 65536, /* services; more are not watched, and never expire */
    BEATS_TTL_MIN_MS = 5000,
};

struct beat {
    struct bytes key;         /* "<node>/<service>" as in store keys */
    struct bytes node, id;    /* folded node, service ID */
    uint64_t ttl_ms;          /* 0: none */
    _Atomic uint64_t wall_ms; /* last confirmed; 0: not since the start */
    uint64_t seen_ms;         /* the writer's: by its monotonic clock */
    /* The same of the last one that came to this process; 0: none did. Others may
     * have been told of (duty_beat_told). */
    _Atomic uint64_t here_ms;
    bool waits; /* the writer's: expired, but not allowed to go */
};

struct beats_table {
    size_t n;
    struct tree all; /* of struct beat, in order of key */
};

struct beats;

struct beats *beats_new(struct pin_domain *pins);
void beats_free(struct beats *b); /* no reader left */

/* --- Writer -------------------------------------------------------------- */

/* The service is there, with this time to live; a new one counts from seen_ms
 * on. O(log n), and so is what it costs to publish it. ERR_LIMIT: BEATS_MAX are watched. Shown after beats_publish. */
MUST_USE enum err beats_put(struct beats *b, struct bytes node,
                            struct bytes service_id, uint64_t ttl_ms,
                            uint64_t seen_ms);
void beats_drop(struct beats *b, struct bytes node, struct bytes service_id);
void beats_clear(struct beats *b);
bool beats_publish(struct beats *b); /* true: the set has changed */

/* NULL: it is not watched. */
struct beat *beats_find(struct beats *b, struct bytes node,
                        struct bytes service_id);

/* Walks all; *at 0 at first; NULL at the end. */
struct beat *beats_next(struct beats *b, size_t *at);

/* The time to live a Meta value asks for. ERR_BAD: no duration; ERR_LIMIT: below
 * BEATS_TTL_MIN_MS. */
MUST_USE enum err beats_ttl(struct bytes text, uint64_t *ret_ms);

/* --- Readers (pinned, or the writer's thread) ---------------------------- */

const struct beats_table *beats_current(const struct beats *b);
const struct beat *beats_of(const struct beats_table *t, struct bytes node,
                            struct bytes service_id);

#endif
