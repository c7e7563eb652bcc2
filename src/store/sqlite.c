/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* The SQLite backend: single.c's rules over sqlite_log.c's file. */
#include "store/backend.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "store/single.h"
#include "store/sqlite_log.h"

static void append(void *log, struct stage *s, uint64_t revision,
                   uint64_t wall_ms, const struct lease_note *notes,
                   size_t note_count, struct append_result *ret)
{
    sqlite_log_append(log, s, revision, wall_ms, notes, note_count, ret);
}

static enum err range(void *log, const struct index *x, struct bytes prefix,
                      uint64_t at, backend_row_fn row, void *ctx)
{
    return sqlite_log_range(log, x, prefix, at, row, ctx);
}

static enum err history(void *log, uint64_t from, uint64_t last, size_t limit,
                        const struct backend_sink *to, uint64_t *ret_last)
{
    return sqlite_log_history(log, from, last, limit, to, ret_last);
}

static enum err superseded(void *log, struct bytes prefix, uint64_t at,
                           uint64_t from, uint64_t last, size_t limit,
                           void (*found)(void *ctx, uint64_t row), void *ctx,
                           uint64_t *ret_last)
{
    return sqlite_log_superseded(log, prefix, at, from, last, limit, found, ctx,
                                 ret_last);
}

static enum err fetch(void *log, const uint64_t *rows, size_t n,
                      backend_row_fn row, void *ctx)
{
    return sqlite_log_fetch(log, rows, n, row, ctx);
}

static enum err moment(void *log, uint64_t oldest, uint64_t revision,
                       uint64_t wall_ms, uint64_t *ret_revision,
                       uint64_t *ret_wall_ms)
{
    return sqlite_log_moment(log, oldest, revision, wall_ms, ret_revision,
                             ret_wall_ms);
}

static enum err compact(void *log, uint64_t revision, uint64_t *ret_oldest)
{
    struct sqlite_log *l = log;
    enum err e = sqlite_log_compact(l, revision);

    *ret_oldest = l->compacted;
    return e;
}

static void answered(void *log)
{
    sqlite_log_checkpoint(log);
}

static void close_log(void *log, struct index *x)
{
    (void)x;
    sqlite_log_close(log);
    free(log);
}

static const struct single_log ops = {
    .append = append,
    .range = range,
    .history = history,
    .superseded = superseded,
    .fetch = fetch,
    .moment = moment,
    .compact = compact,
    .answered = answered,
    .close = close_log,
};

enum err backend_sqlite_open(const char *path, struct backend **ret,
                             struct errtext *t)
{
    struct sqlite_log *l = xmalloc(sizeof *l);
    struct single_start start = {0};
    struct index x;

    index_init(&x);
    enum err e = sqlite_log_open(l, path, &x, t);
    if (e != ERR_OK) {
        free(l);
        index_fini(&x);
        return e;
    }
    e = sqlite_log_leased(l, &start.take_leased, &start.leased_count);
    if (e != ERR_OK) {
        errtext_set(t, "%s: %s", path, err_text(e));
        close_log(l, &x);
        index_fini(&x);
        return e;
    }
    start.newest = l->revision;
    start.oldest = l->compacted;
    return single_new(&ops, l, &x, &start, ret, t);
}
