/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* roster - the instances of one service as the registry told them, and which of
 * those that it tells no more are kept for a while. Bytes and times in, values
 * out: no clock, file or socket. Every allocation may fail. */
#ifndef CLIENT_ROSTER_H
#define CLIENT_ROSTER_H

#include "base/arena.h"
#include "base/buf.h"

enum {
    ROSTER_INSTANCES_MAX = 65535,
    ROSTER_BODY_MAX = 64 << 20, /* bytes of an answer, and of a file */
    ROSTER_TEXT_MAX = 255,      /* bytes of an address, ID, node or zone */
    ROSTER_PRIORITIES = 16,     /* of Meta "priority": 0 to 15 */
};

struct roster_entry {
    struct bytes node, id, address, zone;
    uint64_t held_ms; /* the registry shows it no more, since; 0: it does */
    /* Since when it is in the registry's answers. As the registry says, by its
     * clock; 0: it does not. And by ours; 0: long ago. */
    uint64_t ready_since_ms, ready_ms;
    uint32_t weight; /* for the status it has */
    uint16_t port;
    uint8_t priority; /* Meta "priority" of the service; 0 is the first */
    bool critical;
    bool out;      /* in maintenance, or draining: never picked */
    bool draining; /* its owner wants everybody to let go */
    bool guarded;  /* held by the registry's guard: nobody has heard of it */
    bool cached;   /* from the disk, and nobody has confirmed it */
};

struct roster {
    struct arena arena; /* of all below */
    struct roster_entry *v;
    size_t n, held, draining;
    size_t skipped; /* instances without usable address or port */
    struct roster_entry
        *lost; /* gone by silence or reaping: node and ID only */
    size_t lost_n;
    struct bytes datacenter; /* of the first instance; empty: none */
};

enum roster_trust {
    ROSTER_TOLD, /* the registry told of each that has left */
    ROSTER_LIST, /* it showed those that are there */
    ROSTER_DOUBTFUL,
};

void roster_free(struct roster *r); /* NULL is fine */

/* An answer of /v1/health/service. ERR_BAD, ERR_LIMIT: not one, t says why;
 * ERR_NOMEM. */
MUST_USE enum err roster_parse(struct bytes body, struct roster **ret,
                               struct errtext *t);

/* What to use after `old` (NULL: nothing was known) when the registry tells
 * `new` at now_ms: all of new, and of what it lacks
 *
 * - everything, while that is not explained: another life of the registry
 *   (ROSTER_DOUBTFUL); or of a bare list, if it is empty, or at least half of
 *   what was there, and more than one, has gone at once,
 * - what is in new's `lost`: nobody said that it left, it was not heard of,
 * - what was kept so before, until hold_ms have passed.
 *
 * What else is missing has left. hold_ms 0: nothing is kept, UINT64_MAX: for
 * ever. take_new becomes
 * *ret; on error it is freed and old stays as it is. */
MUST_USE enum err roster_follow(const struct roster *old,
                                struct roster *take_new,
                                enum roster_trust trust, uint64_t now_ms,
                                uint64_t hold_ms, struct roster **ret);

/* What is new in `new`, or was out in old, is ready since now_ms, or as long as
 * the registry says, but not longer than since last_ms, when old was true; all
 * others as in old. wall_ms: the time of day. old NULL: all are old. */
MUST_USE enum err roster_ready(const struct roster *old, struct roster *new,
                               uint64_t now_ms, uint64_t last_ms,
                               uint64_t wall_ms);

/* When the first kept entry is due to go; 0: none is kept. */
uint64_t roster_held_until(const struct roster *r, uint64_t hold_ms);

/* A copy without what is only kept. NULL: out of memory. */
struct roster *roster_registered(const struct roster *r);

/* --- On disk ------------------------------------------------------------- */

/* What a file belongs to: another's is foreign. */
struct roster_label {
    struct bytes datacenter; /* asked for; empty: the server's own */
    struct bytes query;      /* target, without index */
    struct bytes cluster;    /* the registry's; empty: not known */
    uint64_t token_hash;
    uint64_t saved_ms; /* time of day */
    uint64_t index;
};

/* Appends the file's bytes; out->bad if memory is short. */
void roster_put(struct buf *out, const struct roster *r,
                const struct roster_label *label);

/* ERR_CORRUPT: truncated, damaged or of another version; ERR_NOT_FOUND: of
 * another query, datacenter or token, or of another cluster than the one known;
 * ERR_NOMEM. Fills saved_ms, index and cluster (a view of file) of label;
 * entries are marked as cached. */
MUST_USE enum err roster_get(struct bytes file, struct roster_label *label,
                             struct roster **ret);

#endif
