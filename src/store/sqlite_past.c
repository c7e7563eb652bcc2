/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* The past in a SQLite log: events of revisions in order, what they superseded,
 * and which was the newest when. */
#include "store/sqlite_log.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/buf.h"

/* --- History ------------------------------------------------------------- */

/* The events of one revision, with keys and values copied into one buffer
 * (offsets until it has stopped growing). */
struct revision_copy {
    uint64_t revision, wall_ms;
    struct buf bytes;
    struct store_event *events;
    size_t n, cap;
};

static void copy_row(struct revision_copy *c, sqlite3_stmt *s)
{
    struct bytes key = sqlite_column(s, 4);
    bool is_delete = sqlite3_column_type(s, 5) == SQLITE_NULL;
    struct bytes value = sqlite_column(s, 5);

    if (c->n == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 16;
        c->events = xrealloc(c->events, c->cap * sizeof *c->events);
    }
    c->events[c->n++] = (struct store_event){
        .is_delete = is_delete,
        .key = {NULL, key.n},
        .value = {NULL, value.n},
        .create_rev = is_delete ? 0 : sqlite_column_u64(s, 3),
        .mod_rev = sqlite_column_u64(s, 1),
    };
    buf_put(&c->bytes, key);
    buf_put(&c->bytes, value);
    c->revision = sqlite_column_u64(s, 1);
    c->wall_ms = sqlite_column_u64(s, 2);
}

static void emit_revision(struct revision_copy *c,
                          const struct backend_sink *to)
{
    const char *p = c->bytes.p;

    if (!c->n)
        return;
    for (size_t i = 0; i < c->n; i++) {
        c->events[i].key.p = p;
        p += c->events[i].key.n;
        c->events[i].value.p = p;
        p += c->events[i].value.n;
    }
    to->revision(to->ctx, c->revision, c->wall_ms, c->events, c->n);
    c->n = 0;
    buf_reset(&c->bytes);
}

enum err sqlite_log_history(struct sqlite_log *l, uint64_t from, uint64_t last,
                            size_t limit, const struct backend_sink *to,
                            uint64_t *ret_last)
{
    sqlite3_stmt *s = l->stmt[STMT_FETCH];
    struct revision_copy c = {0};
    size_t told = 0;
    uint64_t first;
    bool more = false;
    int rc;
    enum err e = sqlite_log_first_id(l, from, &first);

    if (e != ERR_OK)
        return e;
    sqlite3_bind_int64(s, 1, (sqlite3_int64)first);
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        uint64_t revision = sqlite_column_u64(s, 1);

        if (revision != c.revision) {
            told += c.n;
            emit_revision(&c, to);
            more = revision <= last && told >= limit;
            if (revision > last || more)
                break;
        }
        copy_row(&c, s);
        if (c.bytes.bad)
            break;
    }
    *ret_last = c.revision;
    if (c.bytes.bad)
        e = ERR_NOMEM;
    else if (rc == SQLITE_ROW)
        e = more ? ERR_AGAIN : ERR_OK;
    else if (rc != SQLITE_DONE)
        e = sqlite_log_err(l, rc, NULL);
    else
        emit_revision(&c, to);
    sqlite3_reset(s);
    buf_fini(&c.bytes);
    free(c.events);
    return e;
}

/* --- Reads at a revision ------------------------------------------------- */

/* ids and revisions grow together: whatever has an id below the first one newer
 * than `at` is not newer. */
enum err sqlite_log_superseded(struct sqlite_log *l, struct bytes prefix,
                               uint64_t at, uint64_t from, uint64_t last,
                               size_t limit,
                               void (*found)(void *ctx, uint64_t row),
                               void *ctx, uint64_t *ret_last)
{
    sqlite3_stmt *s = l->stmt[STMT_WALK];
    uint64_t tail, first;
    size_t n = 0;
    bool more = false;
    int rc;
    enum err e = sqlite_log_first_id(l, at + 1, &tail);

    if (e == ERR_OK)
        e = sqlite_log_first_id(l, from, &first);
    if (e != ERR_OK)
        return e;
    *ret_last = from;
    sqlite3_bind_int64(s, 1, (sqlite3_int64)first);
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        uint64_t revision = sqlite_column_u64(s, 1);
        uint64_t prev = sqlite_column_u64(s, 2);

        more = revision <= last && n >= limit && revision != *ret_last;
        if (revision > last || more)
            break;
        n++;
        *ret_last = revision;
        if (prev && prev < tail && bytes_starts(sqlite_column(s, 4), prefix))
            found(ctx, prev);
    }
    if (rc == SQLITE_ROW)
        e = more ? ERR_AGAIN : ERR_OK;
    else if (rc != SQLITE_DONE)
        e = sqlite_log_err(l, rc, NULL);
    sqlite3_reset(s);
    return e;
}

/* --- When ---------------------------------------------------------------- */

/* A binary search over ids for a row that fits and is followed by one that does
 * not: about twenty rows are looked at, however long history is. */
enum err sqlite_log_moment(struct sqlite_log *l, uint64_t oldest,
                           uint64_t revision, uint64_t wall_ms,
                           uint64_t *ret_revision, uint64_t *ret_wall_ms)
{
    sqlite3_stmt *s = l->stmt[STMT_FETCH];
    uint64_t lo, hi = l->next_id; /* the first that does not fit: lo .. hi */
    enum err e = sqlite_log_first_id(l, oldest, &lo);
    bool any = false;

    while (e == ERR_OK && lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;

        sqlite3_bind_int64(s, 1, (sqlite3_int64)mid);
        int rc = sqlite3_step(s);
        if (rc == SQLITE_ROW && sqlite_column_u64(s, 1) <= revision &&
            sqlite_column_u64(s, 2) <= wall_ms) {
            any = true;
            *ret_revision = sqlite_column_u64(s, 1);
            *ret_wall_ms = sqlite_column_u64(s, 2);
            lo = sqlite_column_u64(s, 0) + 1;
        } else if (rc == SQLITE_ROW || rc == SQLITE_DONE) {
            hi = mid;
        } else {
            e = sqlite_log_err(l, rc, NULL);
        }
        sqlite3_reset(s);
    }
    return e == ERR_OK && !any ? ERR_COMPACTED : e;
}
