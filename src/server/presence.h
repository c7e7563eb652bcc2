/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* presence - which agents beat to this server, and when each was heard last.
 *
 * An agent beats once a second (PUT /v1/peer/beat); serving threads write it
 * here, and whoever decides who is alive (duty/liveness.h, on whatever server it
 * runs) asks for it once a second: GET /v1/peer/heard?after=SEQ, SEQ from the
 * report that he has. The body is
 *
 *     all SEQ                    everybody follows
 *     rest SEQ LATE-MS           or: whoever was told before, and is not named here,
 *                                was heard within the last LATE-MS
 *     MILLISECONDS-AGO NAME      one a line, the name escaped as in a URL
 *     - NAME                     it is not known here any more
 *     more                       there are others yet: ask at once for the rest
 *
 * and lines of others (guard.h), which are left out here; so that an agent costs a line when it comes, goes, or is late, and nothing else.
 * Who asks after another report than the last one (another holder, or an answer
 * was lost) gets all. The holder keeps a copy of each server's names.
 *
 * A report has PRESENCE_REPORT_BYTES at most: PRESENCE_MAX agents with long names
 * come in several, each the rest after the one before. Half of that is for who is
 * late at the most, so that the living are never left out for the silent.
 *
 * Who has not been heard for PRESENCE_KEPT_MS is forgotten: another server hears
 * him, or nobody. In memory, under a mutex held for one look-up. Any thread. */
#ifndef SERVER_PRESENCE_H
#define SERVER_PRESENCE_H

#include "base/buf.h"
#include "base/map.h"

enum {
    PRESENCE_MAX = 262144, /* agents; further ones are not remembered */
    PRESENCE_KEPT_MS = 60 * 1000,
    PRESENCE_REPORT_BYTES = 8 << 20, /* half of what an answer may have */
    /* A beat a second, or in three where there are many: each costs about
     * ten microseconds, most of it the kernel's. Not less often: with
     * 3.3 seconds liveness_sim found one that lived declared failed, in one story
     * of some thousands (a server stalled, its agents moved: seed 1596). */
    PRESENCE_BEAT_MS = 1000,
    PRESENCE_BEAT_MANY_MS = 3000,
    PRESENCE_MANY = 2000,    /* agents at this server */
    PRESENCE_LATE_MS = 3500, /* whoever is not heard for so long is named */
};

struct presence;

struct presence *presence_new(void); /* NULL: no memory */
void presence_free(struct presence *p);

/* Until the agent should beat again; 0: there are too many, or no memory. */
uint64_t presence_heard(struct presence *p, struct bytes node, uint64_t now_ms);

/* A report for who has the one of this number; 0: none. */
void presence_write(struct presence *p, uint64_t after, uint64_t now_ms,
                    struct buf *out);

/* All of it, here and now; under the mutex: each must not come back here. */
typedef void (*presence_each_fn)(void *ctx, struct bytes name, uint64_t ago_ms);
void presence_each(struct presence *p, uint64_t now_ms, presence_each_fn each,
                   void *ctx);

/* What is known of another server's presence; zero at first. One thread. */
struct presence_copy {
    uint64_t seq; /* to ask after */
    uint64_t round;
    bool more; /* there is a rest that was not told yet */
    struct map names;
};

/* Takes the report that was asked for after `after`; tells everybody who is present
 * there, named or not. Lines that are none are left out, and a text without a first
 * line (of an older version) is all. The rest after a report that this copy is not
 * at any more (it was emptied, or another answer came first) says who is named, and
 * is no report that could be gone on from: who is not named would be missing for
 * ever. name lives during the call. */
void presence_read(struct presence_copy *c, uint64_t after, struct bytes text,
                   presence_each_fn each, void *ctx);
void presence_copy_fini(struct presence_copy *c);

#endif
