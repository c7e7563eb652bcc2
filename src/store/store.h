/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* store - the ordered log of small changes behind everything durable.
 *
 * One interface, written for the hardest implementation (an etcd cluster);
 * SQLite and memory obey the same rules and limits, so that nothing is
 * discovered late.
 *
 *     any thread                 store thread                     backend
 *     store_submit --queue-->  group, guards, marker  --txn-->  sqlite | memory
 *                <--done----   outcome of each change <-------  outcome, feed
 *                <--on_batch-- load, then every revision in order
 *
 * Revisions. Every committed group has one revision. What this interface calls
 * a revision is already the index that users see: epoch * 2^40 + the backend's
 * own revision; it never means two things. A new epoch (restore, import,
 * recovery) is above all earlier ones.
 *
 * Keys are byte strings of at most STORE_KEY_MAX bytes, chosen by the caller;
 * the epoch's prefix, markers and duties are the store's own and never seen
 * here. A key does not begin with a NUL byte (a fence does).
 *
 * Order of a commit: on_batch with its revision, then done of its changes, both
 * on the store thread. A change that conflicts, is refused or stays out never
 * fails its neighbours. "Unknown" outcomes are settled inside (marker keys,
 * engine.c) before anybody is answered.
 *
 * Times are milliseconds. Callbacks run on the store thread and must not block;
 * they may call store_submit. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/bytes.h"
#include "base/change.h"
#include "base/list.h"

enum {
    STORE_KEY_MAX = 1024,         /* bytes of a key */
    STORE_VALUE_MAX = 512 * 1024, /* bytes of a value */
    STORE_GROUP_OPS_MAX = 1024,   /* see store_cost */
    STORE_GROUP_BYTES_MAX = 1 << 20,
    STORE_QUEUE_MAX = 65536, /* changes waiting; more: ERR_FULL */
    STORE_META_MAX = 256,    /* bytes of meta of one change */
    STORE_EPOCH_SHIFT = 40,
    STORE_EPOCHS_MAX = 1 << 13, /* indexes stay below 2^53 for JavaScript */
};

/* --- Changes (guards and operations: base/change.h) ---------------------- */

enum store_verdict {
    STORE_COMMITTED, /* at outcome.revision */
    STORE_CONFLICT,  /* a guard did not hold; nothing was written. revision: at
                        which it was seen (everything up to it is visible) */
    STORE_REFUSED, /* over a limit, or disk full: why, text; nothing written */
    STORE_UNAVAILABLE, /* the store cannot be reached or closes; not written,
                          but for why ERR_UNKNOWN: nobody can tell (the store
                          closed, or history went, before it was found out) */
};

struct store_outcome {
    enum store_verdict verdict;
    uint64_t revision;
    enum err why; /* REFUSED, UNAVAILABLE */
    struct errtext text;
};

/* A change: all its operations or none, if all its guards hold on the state
 * before its group. Owned by the submitter and untouched by him until done has
 * been called (then it is his again). */
struct store_change {
    const struct store_guard *guards;
    size_t guard_count;
    const struct store_op *ops;
    size_t op_count;
    struct bytes meta; /* who and by which route, for history; may be empty */

    void (*done)(struct store_change *c, const struct store_outcome *o);

    struct list link; /* the store's while submitted */
};

/* How much of STORE_GROUP_OPS_MAX one change takes: max(guards, ops), at
 * least 1. */
size_t store_cost(const struct store_change *c);

/* --- The feed ------------------------------------------------------------ */

enum store_batch_kind {
    BATCH_LOAD_BEGIN, /* forget everything: a load follows, as of revision. It
                         is below what was fed if an etcd was put back to a
                         backup: another life, in which revisions come again */
    BATCH_LOAD_ROWS,  /* live rows as puts, in no order */
    BATCH_LOAD_END,   /* the load shows the state at revision */
    BATCH_REVISION,   /* all events of one revision */
};

struct store_event {
    bool is_delete;
    struct bytes key;
    struct bytes value;  /* puts */
    uint64_t create_rev; /* puts */
    uint64_t mod_rev;
    struct bytes by; /* of a history, and of a feed's revision that deletes
                        something: meta of the change that wrote it; empty:
                        nobody knows */
};

/* One heap block; free with store_batch_free. Events may be 0 (a revision that
 * touched only the store's own keys). */
struct store_batch {
    enum store_batch_kind kind;
    uint64_t revision; /* all but LOAD_ROWS */
    uint64_t wall_ms;  /* REVISION: committer's wall clock, for people */
    size_t count;
    struct store_event *events;
    struct list link; /* the receiver's */
    void *window;     /* the store's */
};

/* Any thread. A load waits (for a while) when many of its batches have not been
 * freed: who takes them should not collect them. */
void store_batch_free(struct store_batch *b);

/* --- Life ---------------------------------------------------------------- */

enum store_kind { STORE_MEMORY, STORE_SQLITE, STORE_ETCD };

/* How to reach an etcd; NULL: not so. */
struct store_etcd {
    const char *ca_file; /* https, its certificate checked against this */
    const char *cert_file, *key_file; /* what to show to it */
    const char *tls_server_name;      /* NULL: the host that is called */
    const char *user, *password;
    /* A member of ours, on this socket: it comes and goes as we do. */
    const char *unix_path;
};

struct store_options {
    enum store_kind kind;
    const char *path; /* SQLITE: the database file; its folder exists. The
                              lock is path + ".lock".
                              ETCD: etcd://HOST:PORT,HOST:PORT,... */
    struct store_etcd etcd;
    const char *server_id; /* names the marker keys of this process */

    uint64_t compact_age_ms; /* history kept; 0: default 72 h */
    uint64_t compact_bytes;  /* fed since the last compaction; 0: 1 GiB */

    /* Every batch, in order, first a load; ownership moves to the callee. */
    void (*on_batch)(void *ctx, struct store_batch *take);

    /* The store became unusable for writes (up false: why, text), or usable
     * again. Called once with up true after the first load. May be NULL. */
    void (*on_state)(void *ctx, bool up, enum err why, const char *text);

    void *ctx;
};

struct store;

/* Opens the backend (locks, recovers, reads its index) in the caller's thread,
 * then starts the store thread, which loads and feeds. ERR_LOCKED: another
 * process has it; ERR_CORRUPT; ERR_BAD: another version's format; ERR_IO;
 * ERR_NOSPACE: t says what and where. */
MUST_USE enum err store_open(const struct store_options *o, struct store **ret,
                             struct errtext *t);

/* Commits what was submitted before, answers everything, ends the thread. What
 * cannot be committed within three seconds is answered UNAVAILABLE. NULL is
 * allowed. Nobody may be inside another call, except on the store thread. */
void store_close(struct store *s);

/* Any thread, once, before store_close: the process ends. What cannot be settled
 * within three seconds is answered UNAVAILABLE from then on, so that nobody waits
 * for an etcd that is gone before he lets the store close. */
void store_hurry(struct store *s);

/* Any thread. Limits are checked at once: ERR_LIMIT (t names it; done is not
 * called). ERR_FULL: STORE_QUEUE_MAX changes wait. ERR_CLOSED. On ERR_OK done
 * will be called exactly once. */
MUST_USE enum err store_submit(struct store *s, struct store_change *c,
                               struct errtext *t);

/* --- Barrier ------------------------------------------------------------- */

/* True where every commit answered before now is already in the feed handed
 * out, so that a barrier is free (one process with SQLite or memory). */
bool store_barrier_is_free(const struct store *s);

struct store_barrier {
    /* revision: the newest that any commit answered before the call can have.
     * err: ERR_UNAVAILABLE, ERR_TIMEOUT. */
    void (*done)(struct store_barrier *b, enum err e, uint64_t revision);
    struct list link; /* the store's */
};

/* Any thread. One is in flight at a time; who comes meanwhile shares the next.
 */
MUST_USE enum err store_barrier_begin(struct store *s, struct store_barrier *b);

/* --- History ---------------------------------------------------------------
 *
 * Reads of the past go in slices of about a millisecond, between the groups of
 * those who write. After each slice the callback is called with NULL and
 * ERR_AGAIN, and nothing happens until the asker has said, on any thread,
 * whether to go on: so he cannot be flooded, and may give up. Any other call
 * with NULL is the last one and brings the outcome: ERR_COMPACTED below what
 * is retained (also when that has moved on meanwhile, or a new epoch has
 * begun), ERR_NOT_FOUND above the newest revision, ERR_CLOSED when he gave up
 * or the store closes. */

struct store_read {
    uint64_t revision;   /* of this epoch; 0: newest */
    struct bytes prefix; /* only keys under it */
    /* LOAD_ROWS batches (taken): each row once, in any order. */
    void (*rows)(struct store_read *r, struct store_batch *take, enum err e);
    struct list link; /* the store's */
};

/* Any thread: the state as of a retained revision. */
MUST_USE enum err store_read_begin(struct store *s, struct store_read *r);
void store_read_more(struct store *s, struct store_read *r, bool go_on);

struct store_history {
    uint64_t from_revision; /* events of this and later revisions */
    uint64_t last_revision; /* up to this one; 0: the newest at the beginning */
    /* BATCH_REVISIONs in order (taken), with wall_ms and each event's by. */
    void (*batch)(struct store_history *h, struct store_batch *take,
                  enum err e);
    struct list link;
};

/* Any thread: what happened since a retained revision. */
MUST_USE enum err store_history_begin(struct store *s, struct store_history *h);
void store_history_more(struct store *s, struct store_history *h, bool go_on);

/* Which revision was the newest at some time, and when a revision was written,
 * by the clock of who wrote it. */
struct store_moment {
    /* Asked: the newest revision that is neither above this one nor was written
     * after that time. 0: no such bound. Then the answer. (If the clock was set
     * back, it showed some times more than once: one of them.) */
    uint64_t revision, wall_ms;
    uint64_t oldest, oldest_ms; /* what is retained; 0: not known */
    /* ERR_COMPACTED, ERR_NOT_FOUND (a revision above the newest) as above. */
    void (*done)(struct store_moment *m, enum err e);
    struct list link;
};

MUST_USE enum err store_moment_begin(struct store *s, struct store_moment *m);

/* --- Duties -------------------------------------------------------------- */

/* A duty has at most one holder among all servers of the store. fence guards
 * every write done under it: it fails once the duty has gone to another. */
struct store_duty {
    const char *name;
    uint32_t ttl_ms;
    /* fence (kept by copy of its key, too) goes among a change's guards. lost
     * also comes once after store_resign and at store_close, held or not, as
     * the last call: then the struct is the caller's again. */
    void (*gained)(struct store_duty *d, const struct store_guard *fence);
    void (*lost)(struct store_duty *d);
    struct list link;
};

/* Any thread. Keeps campaigning until store_resign. */
MUST_USE enum err store_campaign(struct store *s, struct store_duty *d);
void store_resign(struct store *s, struct store_duty *d);

/* --- Upkeep -------------------------------------------------------------- */

/* Drops history below the revision (live data stays). Also done by itself, by
 * age or bytes, whichever comes first. Asynchronous; counted in metrics. */
void store_compact(struct store *s, uint64_t revision);

/* Any thread. Of several servers on one store only one need drop history: the
 * others take it for dropped when it is due. On from the start. */
void store_compacts(struct store *s, bool on);

/* What etcd's members have of their quota, and what makes room. One at a time. */
enum store_room_what {
    STORE_ROOM_LOOK,
    STORE_ROOM_DEFRAGMENT, /* member: it stands still meanwhile */
    STORE_ROOM_DISARM,     /* member: its alarm for want of space */
};

enum { STORE_ROOM_MEMBERS_MAX = 32 };

struct store_room {
    enum store_room_what what;
    uint64_t member; /* etcd's number of it */

    /* LOOK, as far as members answered: with a member of ours (unix_path) that
     * one alone, but everybody's alarms. */
    uint64_t quota; /* bytes; 0: not told */
    size_t count;
    struct store_room_member {
        uint64_t id, size, in_use;
        bool leader;
    } members[STORE_ROOM_MEMBERS_MAX];
    uint64_t alarms[STORE_ROOM_MEMBERS_MAX]; /* members that have it */
    size_t alarm_count;

    struct errtext text;
    /* ERR_BAD: not in etcd; ERR_UNAVAILABLE, ERR_CLOSED ... */
    void (*done)(struct store_room *r, enum err e);
    struct list link; /* the store's */
};

/* Any thread. */
MUST_USE enum err store_room_begin(struct store *s, struct store_room *r);

/* Any thread: the etcd cluster's ID; 0: not heard of it yet, or a store that
 * belongs to this process alone. */
uint64_t store_cluster(const struct store *s);

/* The oldest revision that store_read and store_history still answer. */
uint64_t store_oldest(const struct store *s);

/* A new epoch: rows (LOAD_ROWS batches, taken, until next returns NULL) are
 * written under the new epoch's prefix, then the pointer is flipped: all or
 * nothing to every reader. epoch 0: one above the current. done on the store
 * thread; the feed shows LOAD_BEGIN .. LOAD_END of the new epoch. */
struct store_import {
    uint32_t epoch;
    struct store_batch *(*next)(struct store_import *i);
    void (*done)(struct store_import *i, enum err e, uint32_t epoch);
    struct list link;
};

MUST_USE enum err store_import_begin(struct store *s, struct store_import *i);

#endif
