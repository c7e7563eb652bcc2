/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* sqlite_log - the durable log of a one-machine store, in one SQLite file.
 *
 *     meta(name, value)    format, compacted, swept
 *     log(id, revision, wall_ms, prev, create_rev, key, value)
 *     leased(key)          keys that go when the process is gone
 *
 * Append only: every put and every delete (value NULL) is a new row with the
 * next id; the newest row of a key is its current value. There is no second
 * b-tree over keys, because keeping one up to date costs five times the write
 * rate: an index in memory (store/index.h) finds the rows. ids and revisions
 * grow together.
 *
 * prev is the id of the row that this one superseded (0: none). So
 *   - the state as of revision R is: what is live and not newer than R, and of
 *     each newer row its prev, if that is not newer than R;
 *   - compaction to C walks the rows of revisions up to C once and deletes
 * their prev, and tombstones below C. Nothing else is ever deleted. `swept` is
 * the id up to which that has been done.
 *
 * value stands last, so that opening reads no overflow pages of large values.
 *
 * Used by one thread at a time. */
#ifndef STORE_SQLITE_LOG_H
#define STORE_SQLITE_LOG_H

#include <sqlite3.h>

#include "store/backend.h"
#include "store/index.h"
#include "store/single.h"
#include "store/stage.h"

enum {
    SQLITE_LOG_FORMAT = 1,
    SQLITE_LOG_CACHE_KIB = 2048, /* page cache; the index is ours */
    /* Frames in the WAL after which it is copied into the database: 8 MiB. */
    SQLITE_LOG_WAL_PAGES = 2048,
    /* A WAL that grew beyond this (a reader outside held it) is cut. */
    SQLITE_LOG_WAL_KEPT_BYTES = 16 << 20,
    SQLITE_LOG_SWEEP_ROWS = 1000, /* rows looked at by one step of compaction */
};

enum sqlite_log_stmt {
    STMT_BEGIN,
    STMT_COMMIT,
    STMT_ROLLBACK,
    STMT_INSERT,
    STMT_LEASE,
    STMT_UNLEASE,
    STMT_LEASED,
    STMT_FETCH, /* rows from an id on, with values */
    STMT_WALK,  /* rows from an id on, without values */
    STMT_DELETE,
    STMT_SET_META,
    STMT_COUNT
};

struct sqlite_log {
    sqlite3 *db;
    sqlite3_stmt *stmt[STMT_COUNT];
    char *path;
    int lock_fd;
    int wal_pages; /* frames in the WAL after the last commit */
    uint64_t next_id;
    uint64_t revision; /* newest */
    uint64_t compacted;
    uint64_t swept;
    uint64_t sweep_from; /* where the compaction under way goes on */
};

/* Locks path + ".lock", creates or checks the file, fills x from the log. */
MUST_USE enum err sqlite_log_open(struct sqlite_log *l, const char *path,
                                  struct index *x, struct errtext *t);
void sqlite_log_close(struct sqlite_log *l);

/* Appends the events as one transaction: all or nothing, durable when
 * COMMITTED. Sets the slots' rows; note may be NULL. */
void sqlite_log_append(struct sqlite_log *l, struct stage *s, uint64_t revision,
                       uint64_t wall_ms, const struct lease_note *notes,
                       size_t note_count, struct append_result *ret);

/* Copies the WAL into the database if it has grown: after the answers. */
void sqlite_log_checkpoint(struct sqlite_log *l);

/* Keys under leases that an earlier process left, as heap memory. */
MUST_USE enum err sqlite_log_leased(struct sqlite_log *l,
                                    struct bytes **ret_take, size_t *ret_count);

/* Live rows under prefix as of revision at (retained, not above the newest). */
MUST_USE enum err sqlite_log_range(struct sqlite_log *l, const struct index *x,
                                   struct bytes prefix, uint64_t at,
                                   backend_row_fn row, void *ctx);

/* See single.h (sqlite_past.c). */
MUST_USE enum err sqlite_log_history(struct sqlite_log *l, uint64_t from,
                                     uint64_t last, size_t limit,
                                     const struct backend_sink *to,
                                     uint64_t *ret_last);
MUST_USE enum err sqlite_log_superseded(struct sqlite_log *l,
                                        struct bytes prefix, uint64_t at,
                                        uint64_t from, uint64_t last,
                                        size_t limit,
                                        void (*found)(void *ctx, uint64_t row),
                                        void *ctx, uint64_t *ret_last);
MUST_USE enum err sqlite_log_moment(struct sqlite_log *l, uint64_t oldest,
                                    uint64_t revision, uint64_t wall_ms,
                                    uint64_t *ret_revision,
                                    uint64_t *ret_wall_ms);

/* The rows with these ids (ascending), tombstones left out. */
MUST_USE enum err sqlite_log_fetch(struct sqlite_log *l, const uint64_t *ids,
                                   size_t n, backend_row_fn row, void *ctx);

/* One bounded step towards dropping history below revision; ERR_AGAIN: more to
 * do. From the first call on reads below revision are refused. */
MUST_USE enum err sqlite_log_compact(struct sqlite_log *l, uint64_t revision);

/* --- Shared by the sqlite_*.c files -------------------------------------- */

/* Runs a statement that returns no rows; resets it. */
int sqlite_log_run(sqlite3_stmt *s);

/* SQLite's word as ours; t (may be NULL) names the file. */
enum err sqlite_log_err(const struct sqlite_log *l, int rc, struct errtext *t);

/* Ends a transaction that is still open. */
void sqlite_log_rollback(struct sqlite_log *l);

int sqlite_log_set_meta(struct sqlite_log *l, const char *name, uint64_t value);

/* The first id whose revision is >= revision; next_id if there is none. */
MUST_USE enum err sqlite_log_first_id(struct sqlite_log *l, uint64_t revision,
                                      uint64_t *ret_id);

static inline struct bytes sqlite_column(sqlite3_stmt *s, int column)
{
    const void *p = sqlite3_column_blob(s, column);

    return bytes_of(p, (size_t)sqlite3_column_bytes(s, column));
}

static inline uint64_t sqlite_column_u64(sqlite3_stmt *s, int column)
{
    return (uint64_t)sqlite3_column_int64(s, column);
}

#endif
