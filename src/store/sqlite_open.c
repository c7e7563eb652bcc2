/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "store/sqlite_log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/alloc.h"

/* --- The lock ------------------------------------------------------------ */

static enum err locked_by_other(const char *path, int fd, struct errtext *t)
{
    char pid[24] = "";
    ssize_t n = pread(fd, pid, sizeof pid - 1, 0);

    if (n <= 0)
        strcpy(pid, "unknown");
    pid[strcspn(pid, "\n")] = '\0';
    errtext_set(t,
                "%s is in use by process %s; stop it, or give this one another "
                "data directory",
                path, pid);
    return ERR_LOCKED;
}

/* flock belongs to the open file: it also keeps a second store of the same
 * process out, and goes with kill -9. The file stays: removing it would race.
 */
static enum err take_lock(struct sqlite_log *l, struct errtext *t)
{
    enum err ret = ERR_IO;
    char *name = xmalloc(strlen(l->path) + sizeof ".lock");
    char pid[24];

    strcpy(name, l->path);
    strcat(name, ".lock");
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        ret = errno == ENOSPC ? ERR_NOSPACE : ERR_IO;
        errtext_set(t, "cannot open %s: %s", name, strerror(errno));
        goto out;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK)
            ret = locked_by_other(l->path, fd, t);
        else
            errtext_set(t, "cannot lock %s: %s", name, strerror(errno));
        goto out;
    }
    /* The pid is for the message above only; a full disk may keep it out. */
    int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)n, 0) != n)
        (void)ftruncate(fd, 0);
    l->lock_fd = fd;
    fd = -1;
    ret = ERR_OK;

out:
    if (fd >= 0)
        close(fd);
    free(name);
    return ret;
}

/* --- The file ------------------------------------------------------------ */

static const char schema[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL)"
    " WITHOUT ROWID;"
    "CREATE TABLE log(id INTEGER PRIMARY KEY, revision INTEGER NOT NULL,"
    " wall_ms INTEGER NOT NULL, prev INTEGER NOT NULL,"
    " create_rev INTEGER NOT NULL, key BLOB NOT NULL, value BLOB);"
    "CREATE TABLE leased(key BLOB PRIMARY KEY) WITHOUT ROWID;"
    "INSERT INTO meta VALUES('format',1),('compacted',0),('swept',0);"
    "COMMIT;";

static const char *const statements[STMT_COUNT] = {
    [STMT_BEGIN] = "BEGIN IMMEDIATE",
    [STMT_COMMIT] = "COMMIT",
    [STMT_ROLLBACK] = "ROLLBACK",
    [STMT_INSERT] = "INSERT INTO log VALUES(?1,?2,?3,?4,?5,?6,?7)",
    [STMT_LEASE] = "INSERT OR IGNORE INTO leased VALUES(?1)",
    [STMT_UNLEASE] = "DELETE FROM leased WHERE key=?1",
    [STMT_LEASED] = "SELECT key FROM leased",
    [STMT_FETCH] = "SELECT id,revision,wall_ms,create_rev,key,value FROM log"
                   " WHERE id>=?1 ORDER BY id",
    /* length() of a blob does not read it */
    [STMT_WALK] = "SELECT id,revision,prev,create_rev,key,length(value)"
                  " FROM log WHERE id>=?1 ORDER BY id",
    [STMT_DELETE] = "DELETE FROM log WHERE id=?1",
    [STMT_SET_META] = "UPDATE meta SET value=?2 WHERE name=?1",
};

static pthread_once_t configured = PTHREAD_ONCE_INIT;

/* Statistics would take a process-wide mutex at every allocation; memory is
 * bounded by each connection's cache instead. Refused without harm if somebody
 * has started SQLite before. */
static void configure(void)
{
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

static enum err open_file(struct sqlite_log *l, struct errtext *t)
{
    /* SQLite would create it for everybody to read. The WAL follows. */
    int fd = open(l->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0) {
        enum err e = errno == ENOSPC ? ERR_NOSPACE : ERR_IO;
        errtext_set(t, "cannot open %s: %s", l->path, strerror(errno));
        return e;
    }
    close(fd);
    int rc = sqlite3_open_v2(l->path, &l->db,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
                                 SQLITE_OPEN_PRIVATECACHE,
                             NULL);
    return rc == SQLITE_OK ? ERR_OK : sqlite_log_err(l, rc, t);
}

static int on_wal(void *ctx, sqlite3 *db, const char *name, int pages)
{
    struct sqlite_log *l = ctx;

    (void)db;
    (void)name;
    l->wal_pages = pages;
    return SQLITE_OK;
}

static int set_up_connection(struct sqlite_log *l)
{
    char sql[256];

    snprintf(sql, sizeof sql,
             "PRAGMA cache_size=-%d; PRAGMA synchronous=FULL;"
             "PRAGMA secure_delete=OFF; PRAGMA trusted_schema=OFF;"
             "PRAGMA temp_store=MEMORY; PRAGMA journal_size_limit=%d;"
             "PRAGMA journal_mode=WAL;",
             SQLITE_LOG_CACHE_KIB, SQLITE_LOG_WAL_KEPT_BYTES);
    (void)sqlite3_extended_result_codes(l->db, 1);
    /* Somebody looking at the file from outside may hold a lock for a moment.
     */
    (void)sqlite3_busy_timeout(l->db, 1000);
    (void)sqlite3_db_config(l->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    int rc = sqlite3_exec(l->db, sql, NULL, NULL, NULL);
    sqlite3_wal_hook(l->db, on_wal, l); /* in place of SQLite's own */
    return rc;
}

static int read_number(struct sqlite_log *l, const char *sql, uint64_t *ret)
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(l->db, sql, -1, &s, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_step(s);
    if (rc == SQLITE_ROW) {
        *ret = sqlite_column_u64(s, 0);
        rc = SQLITE_OK;
    } else if (rc == SQLITE_DONE) {
        rc = SQLITE_EMPTY; /* the row should be there */
    }
    sqlite3_finalize(s);
    return rc;
}

static enum err not_a_store(const struct sqlite_log *l, struct errtext *t)
{
    errtext_set(t,
                "%s is no store of muster; move the file away to start empty",
                l->path);
    return ERR_CORRUPT;
}

static enum err check_meta(struct sqlite_log *l, struct errtext *t)
{
    uint64_t format = 0;
    int rc =
        read_number(l, "SELECT value FROM meta WHERE name='format'", &format);

    if (rc == SQLITE_ERROR || rc == SQLITE_EMPTY)
        return not_a_store(l, t);
    if (rc != SQLITE_OK)
        return sqlite_log_err(l, rc, t);
    if (format != SQLITE_LOG_FORMAT) {
        errtext_set(t,
                    "%s has format %llu, this version reads %d; use the "
                    "version that wrote it",
                    l->path, (unsigned long long)format, SQLITE_LOG_FORMAT);
        return ERR_BAD;
    }
    rc = read_number(l, "SELECT value FROM meta WHERE name='compacted'",
                     &l->compacted);
    if (rc == SQLITE_OK)
        rc = read_number(l, "SELECT value FROM meta WHERE name='swept'",
                         &l->swept);
    if (rc == SQLITE_EMPTY)
        return not_a_store(l, t);
    return rc == SQLITE_OK ? ERR_OK : sqlite_log_err(l, rc, t);
}

static enum err create_or_check(struct sqlite_log *l, struct errtext *t)
{
    uint64_t tables = 0;
    int rc = read_number(l, "SELECT count(*) FROM sqlite_schema", &tables);

    if (rc == SQLITE_OK && tables == 0)
        rc = sqlite3_exec(l->db, schema, NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        return sqlite_log_err(l, rc, t);
    return check_meta(l, t);
}

static enum err prepare_all(struct sqlite_log *l, struct errtext *t)
{
    for (int i = 0; i < STMT_COUNT; i++) {
        int rc =
            sqlite3_prepare_v3(l->db, statements[i], -1,
                               SQLITE_PREPARE_PERSISTENT, &l->stmt[i], NULL);
        if (rc == SQLITE_ERROR)
            return not_a_store(l, t);
        if (rc != SQLITE_OK)
            return sqlite_log_err(l, rc, t);
    }
    return ERR_OK;
}

/* --- The index ----------------------------------------------------------- */

/* The scan meets rows in order of id, and learns from prev which earlier row
 * each supersedes: no key is looked up. chunk holds the id meanwhile. */
struct scan {
    struct index_item *rows; /* entry NULL: superseded or deleted */
    size_t n, cap, live;
};

static void scan_squeeze(struct scan *c)
{
    size_t n = 0;

    for (size_t i = 0; i < c->n; i++) {
        if (c->rows[i].entry)
            c->rows[n++] = c->rows[i];
    }
    c->n = n;
}

static void scan_add(struct scan *c, uint64_t id, struct index_entry *take)
{
    if (c->n == c->cap && c->live < c->cap / 2) {
        scan_squeeze(c);
    } else if (c->n == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 64;
        c->rows = xrealloc(c->rows, c->cap * sizeof *c->rows);
    }
    c->rows[c->n++] = (struct index_item){id, take};
    c->live++;
}

/* The entry of the row with this id, taken; NULL: compacted away, or none. */
static struct index_entry *scan_take(struct scan *c, uint64_t id)
{
    size_t lo = 0, hi = c->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (c->rows[mid].chunk < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == c->n || c->rows[lo].chunk != id || !c->rows[lo].entry)
        return NULL;
    struct index_entry *e = c->rows[lo].entry;

    c->rows[lo].entry = NULL;
    c->live--;
    return e;
}

static void scan_fini(struct scan *c)
{
    for (size_t i = 0; i < c->n; i++)
        free(c->rows[i].entry);
    free(c->rows);
}

/* False: the row cannot be. SQLite has no checksums, so this is where flipped
 * bits show that left its pages in shape. */
static bool scan_row(struct sqlite_log *l, struct scan *c, sqlite3_stmt *s)
{
    uint64_t id = sqlite_column_u64(s, 0);
    uint64_t revision = sqlite_column_u64(s, 1);
    uint64_t prev = sqlite_column_u64(s, 2);
    uint64_t create_rev = sqlite_column_u64(s, 3);
    struct bytes key = sqlite_column(s, 4);

    if (id < l->next_id || id > INT64_MAX || revision < l->revision ||
        revision == 0 || revision >> STORE_EPOCH_SHIFT || prev >= id ||
        create_rev > revision || key.n == 0 || key.n > UINT16_MAX)
        return false;
    l->next_id = id + 1;
    l->revision = revision;

    struct index_entry *e = prev ? scan_take(c, prev) : NULL;
    bool same = !e || bytes_eq(index_key(e), key);

    if (!same || sqlite3_column_type(s, 5) == SQLITE_NULL) {
        free(e);
        return same;
    }
    if (!e)
        e = index_entry_new(key);
    e->create_rev = create_rev;
    e->mod_rev = revision;
    e->row = id;
    scan_add(c, id, e);
    return true;
}

static enum err damaged_row(const struct sqlite_log *l, uint64_t id,
                            struct errtext *t)
{
    errtext_set(t,
                "%s is damaged (log row %llu); restore a backup, or move the "
                "file away to start empty",
                l->path, (unsigned long long)id);
    return ERR_CORRUPT;
}

static enum err build_index(struct sqlite_log *l, struct index *x,
                            struct errtext *t)
{
    sqlite3_stmt *s = l->stmt[STMT_WALK];
    struct scan c = {0};
    enum err ret = ERR_OK;
    int rc;

    l->next_id = 1;
    sqlite3_bind_int64(s, 1, INT64_MIN);
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        if (!scan_row(l, &c, s)) {
            ret = damaged_row(l, sqlite_column_u64(s, 0), t);
            goto out;
        }
    }
    scan_squeeze(&c);
    if (rc != SQLITE_DONE)
        ret = sqlite_log_err(l, rc, t);
    else if (l->compacted > l->revision || l->swept >= l->next_id ||
             !index_fill(x, c.rows, c.n))
        ret = damaged_row(l, l->next_id, t);

out:
    sqlite3_reset(s);
    scan_fini(&c);
    return ret;
}

enum err sqlite_log_open(struct sqlite_log *l, const char *path,
                         struct index *x, struct errtext *t)
{
    *l = (struct sqlite_log){.lock_fd = -1, .path = xstrdup(path)};
    pthread_once(&configured, configure);

    enum err e = take_lock(l, t);
    if (e == ERR_OK)
        e = open_file(l, t);
    if (e == ERR_OK) {
        int rc = set_up_connection(l);
        if (rc != SQLITE_OK)
            e = sqlite_log_err(l, rc, t);
    }
    if (e == ERR_OK)
        e = create_or_check(l, t);
    if (e == ERR_OK)
        e = prepare_all(l, t);
    if (e == ERR_OK)
        e = build_index(l, x, t);
    if (e != ERR_OK)
        sqlite_log_close(l);
    return e;
}

void sqlite_log_close(struct sqlite_log *l)
{
    for (int i = 0; i < STMT_COUNT; i++)
        sqlite3_finalize(l->stmt[i]);
    sqlite3_close(l->db);
    if (l->lock_fd >= 0)
        close(l->lock_fd);
    free(l->path);
    *l = (struct sqlite_log){.lock_fd = -1};
}
