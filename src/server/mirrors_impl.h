/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* mirrors_impl - what the files of mirrors.h share.
 *
 *   mirrors.c      which datacenters there are, what all threads see
 *   mirror_link.c  the stream of one
 *   mirror_tags.c  which services bear a tag of mirror.tags
 *   mirror_tell.c  who reads it here, and has applied what */
#ifndef SERVER_MIRRORS_IMPL_H
#define SERVER_MIRRORS_IMPL_H

#include "base/map.h"
#include "base/uses.h"
#include "loop/peer.h"
#include "mirror/clock.h"
#include "mirror/mirror.h"
#include "server/behind.h"
#include "server/mirrors.h"

/* To a serving thread, and back. */
struct tags_look {
    struct letter letter;
    struct core_letter back;
    struct dc_mirror *of;
};

struct dc_mirror {
    struct mirrors *all;
    size_t number;
    char name[WAN_NAME_MAX + 1];
    struct catalog *catalog;
    struct mirror *mirror;
    _Atomic(const char *) cluster_shown; /* read under a pin; NULL: unknown */

    /* Written here, read by all threads. Times are of uv_hrtime, in ms. */
    _Atomic bool usable; /* it was whole once */
    _Atomic bool whole, open, cut;
    _Atomic uint64_t heard_ms, answered_ms, fresh_ms;
    _Atomic uint64_t bytes, received, reconnects;
    _Atomic uint64_t life; /* grows after the catalog was loaded anew */

    /* The stream. */
    struct fetch *stream, *ack, *asked;
    struct fetch *digest; /* what was missed, asked for before the stream */
    bool fine;            /* the digest's */
    uint64_t digest_ms, digest_bytes;
    bool digest_ended, digest_good; /* it waits for its slices; it was a 200 */
    struct timer slice;             /* of what is on its way to the catalog */
    char to[API_WAN_ADDRESS_MAX], subscriber[40], cluster[64];
    size_t at; /* which of the servers */
    uint64_t opened_ms, retry_at_ms, retry_ms;
    enum err error;
    struct errtext text;
    bool begun, another_store;
    unsigned behind;
    struct subscribers *readers; /* here */
    struct behind_said said;     /* of those, on this stream */
    uint64_t ack_at_ms, settled;
    uint64_t logged_ms;
    size_t damaged_told;
    uint64_t told_revision;
    bool was_up, told_up;

    struct mirror_clock clock;
    uint64_t clock_at_ms, clock_sent_ms;

    struct fetch *tags; /* mirror_tags.c */
    uint64_t tags_index, tags_at_ms, tags_logged_ms;
    struct map tagged; /* struct tagged by folded name */
    struct uses *uses; /* of followers, by watch key */
    struct tags_look looks[SERVING_THREADS_MAX];
    size_t looking;
    uint64_t look_at_ms;
};

struct mirrors {
    struct core *core;
    struct peers *peers;
    struct timer tick;
    struct run_mirror settings;
    uint64_t random;
    struct dc_mirror *v[MIRRORS_MAX];
    _Atomic size_t n;
    bool full_told;
};

/* mirror_link.c */
MUST_USE enum err mirror_link_new(struct dc_mirror *m);
void mirror_link_look(struct dc_mirror *m); /* each tick */
void mirror_link_close(struct dc_mirror *m);
/* Another connection at once, for what is subscribed to since. */
void mirror_link_again(struct dc_mirror *m);

/* mirror_tags.c: each tick while beats come. */
void mirror_tags_look(struct dc_mirror *m);
void mirror_tags_end(struct dc_mirror *m); /* no thread is left */

/* mirror_tell.c: each MIRROR_ACK_MS, to the server that the stream is from. */
void mirror_tell(struct dc_mirror *m);

/* mirrors.c: the catalog has another version. */
void mirrors_committed(struct dc_mirror *m);

#endif
