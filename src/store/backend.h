/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* backend - what a kind of store must be able to do; engine.c stands on it.
 *
 * Deliberately etcd's own primitives (nested transactions with guards on mod
 * and create revisions, range at a revision, watch, lease, compact), so that
 * the etcd backend is one file of translation. Revisions here are the backend's
 * own (no epoch). All calls and callbacks on the store thread; a call may
 * complete before it returns. */
#ifndef STORE_BACKEND_H
#define STORE_BACKEND_H

#include <stdatomic.h>
#include <uv.h>

#include "store/store.h"

enum backend_verdict {
    BACKEND_COMMITTED, /* the group is in, at revision */
    BACKEND_BARRED, /* a guard of the group itself did not hold: nothing in */
    BACKEND_FAILED, /* surely not in: why, text (disk full, ...) */
    /* May or may not be in: the marker will tell. why ERR_NOSPACE: it will not
     * come in later, and what is not in has failed. */
    BACKEND_UNKNOWN,
};

/* One group: own_guards hold or nothing happens; own_ops (the marker) are
 * written if they hold; then each change, on the state before the group, by
 * itself. No key is written twice, none guarded by one change and written by
 * another: the engine sees to it. */
struct backend_group {
    const struct store_guard *own_guards;
    size_t own_guard_count;
    const struct store_op *own_ops;
    size_t own_op_count;
    struct backend_change *changes;
    size_t change_count;
    uint64_t wall_ms;

    /* Result. */
    enum backend_verdict verdict;
    uint64_t revision; /* COMMITTED, BARRED (at which it was seen) */
    enum err why;
    struct errtext text;

    void (*done)(struct backend_group *g);
    void *ctx;
};

struct backend_change {
    const struct store_guard *guards;
    size_t guard_count;
    const struct store_op *ops;
    size_t op_count;
    bool held; /* result: its guards held, its operations are in */
};

/* A key's state at some revision; create_rev 0: it did not exist. */
struct backend_row {
    struct bytes key, value;
    uint64_t create_rev, mod_rev;
};

struct backend_sink {
    /* All events of one revision, in order, each revision exactly once. Views
     * are valid during the call. */
    void (*revision)(void *ctx, uint64_t revision, uint64_t wall_ms,
                     const struct store_event *events, size_t count);
    /* The feed has a gap (compacted, reconnected too late) and has stopped:
     * load again, then start again. */
    void (*gap)(void *ctx);
    void (*state)(void *ctx, bool up, enum err why, const char *text);
    void *ctx;
};

struct backend;

/* Rows are streamed: row() for each, views valid during the call. */
typedef void (*backend_row_fn)(void *ctx, const struct backend_row *row);
typedef void (*backend_done_fn)(void *ctx, enum err e, uint64_t revision);
typedef void (*backend_moment_fn)(void *ctx, enum err e, uint64_t revision,
                                  uint64_t wall_ms);

/* A long read of the past, in steps. */
struct backend_walk {
    struct bytes prefix; /* outlives the walk */
    uint64_t at;         /* > 0 */
    backend_row_fn row;
    void *ctx;   /* of row */
    void *state; /* the backend's; NULL before the first step and at the end */
};

struct backend_ops {
    int slots;         /* groups in flight at once */
    bool barrier_free; /* see store_barrier_is_free */

    /* Once, before anything else and before the store thread runs: the loop
     * that it will run. Handles are closed in close. May be NULL. */
    void (*attach)(struct backend *b, uv_loop_t *loop);

    /* Starts the feed above `after` (what load reported). */
    void (*start)(struct backend *b, const struct backend_sink *sink,
                  uint64_t after);
    /* No call is under way but those that wait for a time-out; their done is
     * not called any more. The loop runs on until all handles are closed. */
    void (*close)(struct backend *b);

    void (*txn)(struct backend *b, struct backend_group *g);

    /* All live rows under prefix as of revision at (0: newest; done gets
     * which). ERR_COMPACTED, ERR_NOT_FOUND as in store_read. */
    void (*range)(struct backend *b, struct bytes prefix, uint64_t at,
                  backend_row_fn row, backend_done_fn done, void *ctx);

    /* The same rows in any order, each once, in steps of about a millisecond:
     * ERR_AGAIN: call again with the same walk; anything else is the end, and
     * its state is gone. (etcd: a page of a Range.) */
    void (*walk)(struct backend *b, struct backend_walk *w,
                 backend_done_fn done, void *ctx);
    void (*walk_end)(struct backend *b, struct backend_walk *w); /* gives up */

    /* The events of the revisions from .. last (known here), each revision
     * whole, through sink-like calls. ERR_AGAIN: stopped behind `revision`,
     * after about `limit` events. Who does not block the store thread need not
     * stop there: a watch goes on to last. */
    void (*history)(struct backend *b, uint64_t from, uint64_t last,
                    size_t limit, const struct backend_sink *to,
                    backend_done_fn done, void *ctx);

    /* The newest retained revision that is not above `revision` and was not
     * written after wall_ms, and when that was. If the clock was set back, one
     * of several. ERR_COMPACTED: all that are retained came later. (etcd: a
     * binary search; the markers as of a revision tell its time.) */
    void (*moment)(struct backend *b, uint64_t revision, uint64_t wall_ms,
                   backend_moment_fn done, void *ctx);

    void (*barrier)(struct backend *b, backend_done_fn done, void *ctx);

    /* Keys put by attach vanish when the lease has not been kept alive for
     * ttl_ms, or the process is gone. */
    void (*lease_grant)(struct backend *b, uint32_t ttl_ms,
                        void (*done)(void *ctx, enum err e, uint64_t lease),
                        void *ctx);
    void (*lease_keep)(struct backend *b, uint64_t lease, backend_done_fn done,
                       void *ctx);
    void (*lease_revoke)(struct backend *b, uint64_t lease);
    /* Puts key under the lease if it is absent; e ERR_EXISTS if not. */
    void (*lease_put)(struct backend *b, uint64_t lease, struct bytes key,
                      struct bytes value, backend_done_fn done, void *ctx);

    /* Drops what is needed only below revision. ERR_AGAIN: a bounded part is
     * done, call again (reads below are refused from the first call on). */
    void (*compact)(struct backend *b, uint64_t revision, backend_done_fn done,
                    void *ctx);
    /* Somebody else does that, up to this revision. May be NULL. */
    void (*compacted)(struct backend *b, uint64_t revision);
    /* See struct store_room. NULL: there is nothing of the kind. */
    void (*room)(struct backend *b, struct store_room *r);
    uint64_t (*oldest)(const struct backend *b); /* retained revision */
    uint64_t (*newest)(const struct backend *b); /* known here; no barrier */
};

struct backend {
    const struct backend_ops *ops;
    _Atomic uint64_t
        cluster; /* whose it is, for any thread: see store_cluster */
};

MUST_USE enum err backend_sqlite_open(const char *path, struct backend **ret,
                                      struct errtext *t);
MUST_USE enum err backend_memory_open(struct backend **ret, struct errtext *t);

/* url: etcd://HOST:PORT,... Tries it first: ERR_BAD, ERR_LIMIT (t: what is wrong
 * with it and the way out). One that cannot be reached is opened all the same:
 * its first range fails until it can. */
MUST_USE enum err backend_etcd_open(const char *url, const struct store_etcd *o,
                                    const char *server_id, struct backend **ret,
                                    struct errtext *t);

/* store_open over a backend that is already open (taken): how the conformance
 * suite puts its fault-injecting wrapper in between. */
MUST_USE enum err store_open_backend(const struct store_options *o,
                                     struct backend *take, struct store **ret,
                                     struct errtext *t);

#endif
