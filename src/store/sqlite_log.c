/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "store/sqlite_log.h"

#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/log.h"

/* --- Words --------------------------------------------------------------- */

/* SQLite knows ENOSPC (SQLITE_FULL); a quota or a limit on the size of files is
 * an I/O error to it. sqlite3_system_errno forgets at COMMIT: errno does not.
 */
static bool errno_is_no_space(void)
{
    return errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
}

static enum err err_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return ERR_NOSPACE;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_CORRUPT;
    case SQLITE_NOMEM:
        return ERR_NOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_LOCKED;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        return errno_is_no_space() ? ERR_NOSPACE : ERR_IO;
    default:
        return ERR_IO;
    }
}

static const char *way_out(enum err e)
{
    switch (e) {
    case ERR_NOSPACE:
        return "; make room on its file system";
    case ERR_CORRUPT:
        return "; restore a backup, or move the file away to start empty";
    case ERR_LOCKED:
        return "; another program works on the file";
    default:
        return "";
    }
}

enum err sqlite_log_err(const struct sqlite_log *l, int rc, struct errtext *t)
{
    enum err e = err_of(rc);
    const char *verb = e == ERR_CORRUPT ? "is damaged" : "cannot be used";

    errtext_set(t, "%s %s (%s)%s", l->path, verb, sqlite3_errstr(rc),
                way_out(e));
    return e;
}

int sqlite_log_run(sqlite3_stmt *s)
{
    int rc = sqlite3_step(s);

    sqlite3_reset(s);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

void sqlite_log_rollback(struct sqlite_log *l)
{
    /* SQLite has often done so itself, then there is nothing to end. */
    if (!sqlite3_get_autocommit(l->db))
        (void)sqlite_log_run(l->stmt[STMT_ROLLBACK]);
}

int sqlite_log_set_meta(struct sqlite_log *l, const char *name, uint64_t value)
{
    sqlite3_stmt *s = l->stmt[STMT_SET_META];

    sqlite3_bind_text(s, 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_int64(s, 2, (sqlite3_int64)value);
    return sqlite_log_run(s);
}

/* --- Append -------------------------------------------------------------- */

/* A NULL pointer would bind NULL, which is a tombstone. */
static int bind_bytes(sqlite3_stmt *s, int at, struct bytes b)
{
    return sqlite3_bind_blob(s, at, b.n ? b.p : "", (int)b.n, SQLITE_STATIC);
}

static int insert_row(struct sqlite_log *l, const struct store_event *ev,
                      struct stage_slot *slot, uint64_t wall_ms)
{
    sqlite3_stmt *s = l->stmt[STMT_INSERT];
    uint64_t prev = slot->old ? slot->old->row : 0;

    sqlite3_bind_int64(s, 1, (sqlite3_int64)slot->row);
    sqlite3_bind_int64(s, 2, (sqlite3_int64)ev->mod_rev);
    sqlite3_bind_int64(s, 3, (sqlite3_int64)wall_ms);
    sqlite3_bind_int64(s, 4, (sqlite3_int64)prev);
    sqlite3_bind_int64(s, 5, (sqlite3_int64)ev->create_rev);
    bind_bytes(s, 6, ev->key);
    if (ev->is_delete)
        sqlite3_bind_null(s, 7);
    else
        bind_bytes(s, 7, ev->value);
    return sqlite_log_run(s);
}

static int write_lease(struct sqlite_log *l, const struct lease_note *note)
{
    sqlite3_stmt *s = l->stmt[note->add ? STMT_LEASE : STMT_UNLEASE];

    bind_bytes(s, 1, note->key);
    return sqlite_log_run(s);
}

/* Before COMMIT nothing that was written can be found again. COMMIT writes
 * frames to the WAL, the one with the commit mark last, and syncs. If a write
 * failed, the mark is not there. Any other I/O error (a failed sync) may have
 * left a complete transaction in the file, which the next start would find:
 * only the next commit, which overwrites it, settles the matter. Hence UNKNOWN.
 */
static void failed(const struct sqlite_log *l, int rc, bool committing,
                   struct append_result *ret)
{
    bool may_be_in =
        committing && (rc & 0xff) == SQLITE_IOERR && rc != SQLITE_IOERR_WRITE;

    ret->why = sqlite_log_err(l, rc, &ret->text);
    ret->verdict = may_be_in ? BACKEND_UNKNOWN : BACKEND_FAILED;
}

void sqlite_log_append(struct sqlite_log *l, struct stage *s, uint64_t revision,
                       uint64_t wall_ms, const struct lease_note *notes,
                       size_t note_count, struct append_result *ret)
{
    bool committing = false;

    errno = 0;
    sqlite_log_rollback(l); /* in case an earlier one could not be */
    int rc = sqlite_log_run(l->stmt[STMT_BEGIN]);
    for (size_t i = 0; i < s->n && rc == SQLITE_OK; i++) {
        s->slots[i].row = l->next_id + i;
        rc = insert_row(l, &s->events[i], &s->slots[i], wall_ms);
    }
    for (size_t i = 0; i < note_count && rc == SQLITE_OK; i++)
        rc = write_lease(l, &notes[i]);
    if (rc == SQLITE_OK) {
        committing = true;
        rc = sqlite_log_run(l->stmt[STMT_COMMIT]);
    }
    if (rc != SQLITE_OK) {
        failed(l, rc, committing, ret);
        sqlite_log_rollback(l);
        return;
    }
    l->next_id += s->n;
    l->revision = revision;
    ret->verdict = BACKEND_COMMITTED;
}

void sqlite_log_checkpoint(struct sqlite_log *l)
{
    if (l->wal_pages < SQLITE_LOG_WAL_PAGES)
        return;

    int pages = 0, copied = 0;
    int rc = sqlite3_wal_checkpoint_v2(l->db, NULL, SQLITE_CHECKPOINT_PASSIVE,
                                       &pages, &copied);

    /* What is committed is safe in the WAL; the next commit tries again. */
    if (rc != SQLITE_OK)
        log_warn("store", "%s: the write-ahead log grows: %s", l->path,
                 sqlite3_errstr(rc));
}

enum err sqlite_log_leased(struct sqlite_log *l, struct bytes **ret_take,
                           size_t *ret_count)
{
    sqlite3_stmt *s = l->stmt[STMT_LEASED];
    struct buf keys = {0};
    struct bytes *list = NULL;
    size_t n = 0;
    int rc;

    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        struct bytes key = sqlite_column(s, 0);

        list = xrealloc(list, (n + 1) * sizeof *list);
        list[n++] = (struct bytes){NULL, key.n};
        buf_put(&keys, key);
    }
    sqlite3_reset(s);
    /* One block: the views, then the bytes they show. */
    size_t views = n * sizeof *list;

    list = xrealloc(list, views + keys.n + 1);
    char *p = (char *)list + views;

    if (keys.n)
        memcpy(p, keys.p, keys.n);
    for (size_t i = 0; i < n; i++) {
        list[i].p = p;
        p += list[i].n;
    }
    enum err e = keys.bad ? ERR_NOMEM : ERR_OK;

    buf_fini(&keys);
    if (rc != SQLITE_DONE)
        e = sqlite_log_err(l, rc, NULL);
    if (e != ERR_OK) {
        free(list);
        return e;
    }
    *ret_take = list;
    *ret_count = n;
    return ERR_OK;
}

/* --- Read ---------------------------------------------------------------- */

enum err sqlite_log_first_id(struct sqlite_log *l, uint64_t revision,
                             uint64_t *ret_id)
{
    sqlite3_stmt *s = l->stmt[STMT_WALK];
    uint64_t lo = 1, hi = l->next_id; /* the answer is in lo .. hi */

    if (revision > l->revision)
        lo = hi;
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;

        sqlite3_bind_int64(s, 1, (sqlite3_int64)mid);
        int rc = sqlite3_step(s);
        if (rc == SQLITE_ROW && sqlite_column_u64(s, 1) < revision)
            lo = sqlite_column_u64(s, 0) + 1;
        else if (rc == SQLITE_ROW || rc == SQLITE_DONE)
            hi = mid;
        else
            lo = hi = 0;
        sqlite3_reset(s);
        if (rc != SQLITE_ROW && rc != SQLITE_DONE)
            return sqlite_log_err(l, rc, NULL);
    }
    *ret_id = lo;
    return ERR_OK;
}

struct ids {
    uint64_t *id;
    size_t n, cap;
};

static void ids_add(struct ids *ids, uint64_t id)
{
    if (ids->n == ids->cap) {
        ids->cap = ids->cap ? ids->cap * 2 : 64;
        ids->id = xrealloc(ids->id, ids->cap * sizeof *ids->id);
    }
    ids->id[ids->n++] = id;
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* What rows newer than revision `at` superseded, if that is not newer. */
static enum err ids_before_tail(struct sqlite_log *l, struct bytes prefix,
                                uint64_t at, struct ids *ids)
{
    sqlite3_stmt *s = l->stmt[STMT_WALK];
    uint64_t tail;
    int rc;
    enum err e = sqlite_log_first_id(l, at + 1, &tail);

    if (e != ERR_OK)
        return e;
    sqlite3_bind_int64(s, 1, (sqlite3_int64)tail);
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        uint64_t prev = sqlite_column_u64(s, 2);

        if (prev && prev < tail && bytes_starts(sqlite_column(s, 4), prefix))
            ids_add(ids, prev);
    }
    sqlite3_reset(s);
    return rc == SQLITE_DONE ? ERR_OK : sqlite_log_err(l, rc, NULL);
}

/* A gap in the ids is stepped over while that is cheaper than finding the next
 * one from the root. */
enum err sqlite_log_fetch(struct sqlite_log *l, const uint64_t *ids, size_t n,
                          backend_row_fn row, void *ctx)
{
    enum { STEP_OVER_MAX = 32 };
    sqlite3_stmt *s = l->stmt[STMT_FETCH];
    enum err e = ERR_OK;
    uint64_t at = 0; /* id that the next step gives, at least; 0: none bound */

    for (size_t i = 0; i < n && e == ERR_OK; i++) {
        uint64_t want = ids[i];
        int rc;

        if (at == 0 || want - at > STEP_OVER_MAX) {
            sqlite3_reset(s);
            sqlite3_bind_int64(s, 1, (sqlite3_int64)want);
        }
        while ((rc = sqlite3_step(s)) == SQLITE_ROW &&
               sqlite_column_u64(s, 0) < want)
            continue;
        if (rc != SQLITE_ROW || sqlite_column_u64(s, 0) != want) {
            e = rc == SQLITE_ROW || rc == SQLITE_DONE
                    ? ERR_CORRUPT
                    : sqlite_log_err(l, rc, NULL);
            break;
        }
        at = want + 1;
        if (sqlite3_column_type(s, 5) == SQLITE_NULL)
            continue;
        struct backend_row r = {
            .key = sqlite_column(s, 4),
            .value = sqlite_column(s, 5),
            .create_rev = sqlite_column_u64(s, 3),
            .mod_rev = sqlite_column_u64(s, 1),
        };
        row(ctx, &r);
    }
    sqlite3_reset(s);
    return e;
}

enum err sqlite_log_range(struct sqlite_log *l, const struct index *x,
                          struct bytes prefix, uint64_t at, backend_row_fn row,
                          void *ctx)
{
    struct ids ids = {0};
    struct index_iter it;
    enum err e = ERR_OK;

    index_seek(x, prefix, &it);
    for (const struct index_entry *en; (en = index_next(&it));) {
        if (en->mod_rev <= at)
            ids_add(&ids, en->row);
    }
    if (at < l->revision)
        e = ids_before_tail(l, prefix, at, &ids);
    if (e == ERR_OK && ids.n) {
        qsort(ids.id, ids.n, sizeof *ids.id, by_id);
        e = sqlite_log_fetch(l, ids.id, ids.n, row, ctx);
    }
    free(ids.id);
    return e;
}

/* --- Compaction ---------------------------------------------------------- */

static int delete_row(struct sqlite_log *l, uint64_t id)
{
    sqlite3_stmt *s = l->stmt[STMT_DELETE];

    sqlite3_bind_int64(s, 1, (sqlite3_int64)id);
    return sqlite_log_run(s);
}

struct sweep {
    uint64_t revision; /* compacting to */
    uint64_t from;     /* first id to look at */
    uint64_t swept;    /* below revision and done */
    bool more;
};

/* Rows are collected first: deleting under an open cursor moves it. */
static int sweep_rows(struct sqlite_log *l, struct sweep *w)
{
    uint64_t doomed[SQLITE_LOG_SWEEP_ROWS * 2];
    size_t n = 0;
    sqlite3_stmt *s = l->stmt[STMT_WALK];
    int rc = SQLITE_DONE;

    sqlite3_bind_int64(s, 1, (sqlite3_int64)w->from);
    w->more = true;
    for (int i = 0; i < SQLITE_LOG_SWEEP_ROWS; i++) {
        rc = sqlite3_step(s);
        if (rc != SQLITE_ROW || sqlite_column_u64(s, 1) > w->revision) {
            w->more = false;
            break;
        }
        uint64_t id = sqlite_column_u64(s, 0);
        bool below = sqlite_column_u64(s, 1) < w->revision;

        if (sqlite_column_u64(s, 2))
            doomed[n++] = sqlite_column_u64(s, 2);
        if (below && sqlite3_column_type(s, 5) == SQLITE_NULL)
            doomed[n++] = id;
        if (below)
            w->swept = id;
        w->from = id + 1;
    }
    sqlite3_reset(s);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return rc;
    rc = SQLITE_OK;
    for (size_t i = 0; i < n && rc == SQLITE_OK; i++)
        rc = delete_row(l, doomed[i]);
    return rc;
}

/* Rows of the very revision compacted to stay to be looked at again: their
 * tombstones go with the next compaction (history from here still shows them).
 * More of them than one step looks at would make no progress through `swept`,
 * so `from` runs on in memory; after a restart the step begins at swept again.
 */
enum err sqlite_log_compact(struct sqlite_log *l, uint64_t revision)
{
    if (revision > l->revision)
        revision = l->revision;
    if (revision < l->compacted)
        return ERR_OK;

    struct sweep w = {.revision = revision, .swept = l->swept};

    w.from = l->sweep_from > l->swept && revision == l->compacted
                 ? l->sweep_from
                 : l->swept + 1;
    errno = 0;
    sqlite_log_rollback(l);
    int rc = sqlite_log_run(l->stmt[STMT_BEGIN]);
    if (rc == SQLITE_OK)
        rc = sweep_rows(l, &w);
    if (rc == SQLITE_OK)
        rc = sqlite_log_set_meta(l, "compacted", revision);
    if (rc == SQLITE_OK)
        rc = sqlite_log_set_meta(l, "swept", w.swept);
    if (rc == SQLITE_OK)
        rc = sqlite_log_run(l->stmt[STMT_COMMIT]);
    /* A step that failed, or may have, is repeated from where it began:
     * deleting what is gone does nothing. */
    if (rc != SQLITE_OK) {
        enum err e = sqlite_log_err(l, rc, NULL);
        sqlite_log_rollback(l);
        return e;
    }
    l->compacted = revision;
    l->swept = w.swept;
    l->sweep_from = w.from;
    return w.more ? ERR_AGAIN : ERR_OK;
}
