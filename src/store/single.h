/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* single - the backend of a store that belongs to one process: the rules, over
 * a log that somebody else keeps (sqlite.c: a file; memory.c: nothing).
 *
 * Everything completes before the call returns, the feed before the group's
 * done. A lease lives as long as the process or until it is revoked: nobody
 * else could take what it holds, so there is nothing to time. Keys under leases
 * that a killed process left are removed when the log is opened. */
#ifndef STORE_SINGLE_H
#define STORE_SINGLE_H

#include "store/backend.h"
#include "store/index.h"
#include "store/stage.h"

/* A key that the same append puts under a lease, or takes from one. */
struct lease_note {
    struct bytes key;
    bool add;
};

struct append_result {
    enum backend_verdict verdict; /* COMMITTED, FAILED or UNKNOWN */
    enum err why;
    struct errtext text;
};

struct single_log {
    /* Makes the events durable as one revision, all or nothing, and sets the
     * slots' rows. notes may be NULL. */
    void (*append)(void *log, struct stage *s, uint64_t revision,
                   uint64_t wall_ms, const struct lease_note *notes,
                   size_t note_count, struct append_result *ret);
    /* at and from are within what is retained. */
    enum err (*range)(void *log, const struct index *x, struct bytes prefix,
                      uint64_t at, backend_row_fn row, void *ctx);
    /* Up to last; ERR_AGAIN: stopped behind *ret_last, limit being reached. */
    enum err (*history)(void *log, uint64_t from, uint64_t last, size_t limit,
                        const struct backend_sink *to, uint64_t *ret_last);
    /* Of the revisions from .. last, found() for each row that one of theirs
     * superseded, if that is under prefix and not newer than at (< from).
     * ERR_AGAIN as in history, after about limit rows. */
    enum err (*superseded)(void *log, struct bytes prefix, uint64_t at,
                           uint64_t from, uint64_t last, size_t limit,
                           void (*found)(void *ctx, uint64_t row), void *ctx,
                           uint64_t *ret_last);
    /* These rows, in ascending order; tombstones are left out. */
    enum err (*fetch)(void *log, const uint64_t *rows, size_t n,
                      backend_row_fn row, void *ctx);
    /* See backend.h; not below oldest. */
    enum err (*moment)(void *log, uint64_t oldest, uint64_t revision,
                       uint64_t wall_ms, uint64_t *ret_revision,
                       uint64_t *ret_wall_ms);
    /* A bounded step; ERR_AGAIN: more to do. *ret_oldest: from here on. */
    enum err (*compact)(void *log, uint64_t revision, uint64_t *ret_oldest);
    void (*answered)(void *log);               /* a moment for upkeep */
    void (*close)(void *log, struct index *x); /* frees log, not x */
};

struct single_start {
    uint64_t newest, oldest;
    /* Keys of a killed process, to be deleted (heap memory, taken). */
    struct bytes *take_leased;
    size_t leased_count;
};

/* take_x is moved in (x is empty afterwards). On error everything is closed. */
MUST_USE enum err single_new(const struct single_log *ops, void *take_log,
                             struct index *take_x, struct single_start *take,
                             struct backend **ret, struct errtext *t);

#endif
