/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* mirrors - what other datacenters have registered, kept here: of each one a
 * read-only catalog, fed by one event stream from a server there (src/mirror).
 *
 *     process->wan --> one server of each datacenter, drawn and kept
 *                          |  GET /v1/muster/stream?rows&all&nodes&checks&beat
 *                          v
 *                      mirror --> catalog --> all threads
 *
 * A lost link changes ages, never contents: what was mirrored stays as it was,
 * and is asked for again, from the next server, with pauses. Revisions are the
 * other datacenter's: an index means the same here and there.
 *
 * The age of a mirror is the time since the last moment at which it surely was
 * what the other datacenter had. Once a second the stream brings a beat, which
 * says what its clock showed when all before was sent (mirror/clock.h): bytes that
 * somebody held back are as old as they are.
 *
 * Core thread, where not said otherwise. */
#ifndef SERVER_MIRRORS_H
#define SERVER_MIRRORS_H

#include "server/core.h"
#include "server/run.h"

enum {
    MIRROR_SLICE_ROWS = 512, /* a millisecond or so; then others have a turn */
    MIRROR_TICK_MS = 250,
    MIRROR_LOST_MS = 3000,     /* nothing heard: the link is down */
    MIRROR_DEAF_MS = 6000,     /* nothing answered: the same */
    MIRROR_REOPEN_MS = 6000,   /* nothing heard: another connection */
    MIRROR_ANOTHER_MS = 30000, /* nothing answered: another server */
    MIRROR_RETRY_MIN_MS = 100,
    MIRROR_RETRY_MAX_MS = 5000,
    MIRROR_CLOCK_MS = 2000, /* the clocks are compared so often */
    MIRROR_ACK_MS = 1000,
    MIRROR_BEHIND_MAX = 12,     /* times in a row: it is another store */
    MIRROR_CUT_MS = 600 * 1000, /* over the bound: tried again then */
};

struct mirrors;
struct dc_mirror;

/* One datacenter's. */
struct dc_view {
    struct bytes datacenter;
    const struct snapshot *cat;
    uint64_t revision;
    uint64_t age_ms;
    bool link_up;  /* beats come: a server there can be asked */
    bool whole;    /* all of it is here; else this is what was here last */
    uint64_t life; /* another one since cat began anew (catalog_load_*) */
};

/* Who reads the mirror here, as subscribers.h has it of the own catalog. Any
 * thread. */
struct subscribers *dc_mirror_readers(const struct dc_mirror *m);
struct subscribers *mirrors_readers(const struct process *p, size_t i);

/* Any thread, pinned. False: there is no such datacenter, or nothing of it is
 * mirrored (yet), or only some services (mirror.services,
 * mirror.tags). */
bool mirrors_view(const struct process *p, struct bytes dc,
                  struct dc_view *ret);
/* The same, also if only some services are, and this name is among them. */
bool mirrors_view_of(const struct process *p, struct bytes dc,
                     struct bytes service, struct dc_view *ret);

/* Settings that others need: how old a mirror may be that answers, and one that
 * a query falls back to. Any thread. */
uint64_t mirrors_age_max_ms(const struct process *p);
uint64_t mirrors_failover_age_max_ms(const struct process *p);

/* For people: a datacenter, mirrored or not. */
struct dc_status {
    struct bytes datacenter;
    bool usable, link_up, whole;
    bool part; /* only some services are asked for */
    bool cut;  /* over the bound: nothing of it is kept */
    uint64_t age_ms, revision, bytes, received, reconnects;
    size_t instances;
};
size_t mirrors_count(const struct process *p);
/* Pinned. */
void mirrors_status(const struct process *p, size_t i, struct dc_status *ret);

/* mirrors_status.c, pinned: the answer of GET /v1/muster/datacenters; lines for
 * Prometheus. */
void mirrors_answer(const struct process *p, const struct api_wan *w,
                    struct bytes own, struct api_call *call);
void mirrors_metrics(const struct process *p, struct buf *out);

/* --- For those who answer from it; any thread ------------------------------ */

/* NULL: as mirrors_view false. It lives as long as the process. */
struct dc_mirror *mirrors_find(const struct process *p, struct bytes dc);
/* Also if it has been cut since. */
struct dc_mirror *mirrors_any(const struct process *p, struct bytes dc);
/* Are all services mirrored, or this one, in this version of the catalog? (One
 * with a tag of mirror.tags may be new.) */
bool dc_mirror_has_all(const struct dc_mirror *m);
bool dc_mirror_has(const struct dc_mirror *m, const struct snapshot *cat,
                   struct bytes service);
struct bytes dc_mirror_name(const struct dc_mirror *m);
size_t dc_mirror_number(const struct dc_mirror *m);       /* < MIRRORS_MAX */
const char *dc_mirror_cluster(const struct dc_mirror *m); /* pinned */
const struct catalog *dc_mirror_catalog(const struct dc_mirror *m);
/* Cut or never whole: nothing may be answered from it. Asked after its catalog was
 * loaded. */
bool dc_mirror_usable(const struct dc_mirror *m);
uint64_t dc_mirror_age_ms(const struct dc_mirror *m);
bool dc_mirror_link_up(const struct dc_mirror *m);

/* LETTER_LOST_TAGS: on the serving thread. */
void mirror_tags_say(struct serving *s, struct letter *l);

/* --- Life ------------------------------------------------------------------ */

/* Nothing happens where no datacenters are joined. */
MUST_USE enum err mirrors_open(struct core *c, const struct settings *s,
                               struct errtext *t);
void mirrors_close(struct core *c);  /* the loop runs on */
void mirrors_end(struct process *p); /* no thread is left */

#endif
