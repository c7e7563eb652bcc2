/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What only a file can do: be held by somebody else, be damaged, run out of
 * space, grow. */
#include "store/store.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/metric.h"
#include "unit/store_disk.h"
#include "unit/store_kinds.h"

static const struct kind sqlite = {"sqlite", STORE_SQLITE, false};

static struct stage_set *set_of(void **state)
{
    return *state;
}

static int set_up(void **state)
{
    disk_install();
    *state = (void *)(uintptr_t)&sqlite;
    return kind_set_up(state);
}

static off_t size_of(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? st.st_size : -1;
}

/* --- Two processes ------------------------------------------------------- */

static enum err open_again(struct stage_set *x, struct errtext *t)
{
    struct backend *b;
    enum err e = backend_sqlite_open(x->path, &b, t);

    if (e == ERR_OK)
        b->ops->close(b);
    return e;
}

static void a_second_process_is_refused_with_file_and_pid(void **state)
{
    struct stage_set *x = set_of(state);
    struct errtext t = {{0}};
    char pid[32];
    int ends[2], status;

    /* The holder is a child, so that nobody's process is this one. */
    world_close(&x->w);
    assert_int_equal(pipe(ends), 0);
    pid_t holder = fork();
    if (holder == 0) {
        struct backend *b;
        char c = backend_sqlite_open(x->path, &b, NULL) == ERR_OK ? 'y' : 'n';
        alarm(PATIENCE_S); /* should the test fail */
        (void)!write(ends[1], &c, 1);
        pause();
        _exit(0);
    }
    char c = 'n';
    assert_int_equal(read(ends[0], &c, 1), 1);
    assert_int_equal(c, 'y');
    close(ends[0]);
    close(ends[1]);

    assert_int_equal(open_again(x, &t), ERR_LOCKED);
    snprintf(pid, sizeof pid, "process %ld", (long)holder);
    assert_non_null(strstr(t.s, x->path));
    assert_non_null(strstr(t.s, pid));

    kill(holder, SIGKILL);
    assert_int_equal(waitpid(holder, &status, 0), holder);
    assert_ok(open_again(x, &t));
}

static void the_same_process_cannot_open_it_twice_either(void **state)
{
    struct stage_set *x = set_of(state);
    struct errtext t = {{0}};

    assert_int_equal(open_again(x, &t), ERR_LOCKED);
    (void)world_put(&x->w, "still", "works");
}

static void a_folder_that_is_not_there_is_named(void **state)
{
    struct backend *b;
    struct errtext t = {{0}};

    (void)state;
    assert_int_equal(backend_sqlite_open("/nowhere/store.db", &b, &t), ERR_IO);
    assert_non_null(strstr(t.s, "/nowhere/store.db"));
    assert_non_null(strstr(t.s, "No such file"));
}

/* --- No space, bad syncs ------------------------------------------------- */

static void a_full_disk_refuses_and_recovers_without_a_restart(void **state)
{
    struct stage_set *x = set_of(state);
    struct world *w = &x->w;
    struct waited a;

    (void)world_put(w, "before", "x");
    atomic_store(&disk.full, true);
    for (int i = 0; i < 3; i++) {
        waited_init(&a, w);
        waited_op(&a, OP_PUT, "during", "x");
        struct store_outcome o = waited_commit(&a);
        assert_int_equal(o.verdict, STORE_REFUSED);
        assert_int_equal(o.why, ERR_NOSPACE);
        assert_non_null(strstr(o.text.s, "make room"));
    }
    world_until(w, w->downs == 1 && !w->up);
    assert_int_equal(w->why, ERR_NOSPACE);
    world_expect(w, "before", "x"); /* reads go on */

    atomic_store(&disk.full, false);
    world_until(w, w->up); /* by itself */
    world_expect(w, "during", NULL);
    (void)world_put(w, "after", "x");
    world_close(w);
    set_open(x);
    world_expect(w, "before", "x");
    world_expect(w, "during", NULL);
    world_expect(w, "after", "x");
}

/* The file system's own refusal, not the test's. */
static void a_file_that_may_not_grow_is_no_space_too(void **state)
{
    struct stage_set *x = set_of(state);
    struct world *w = &x->w;
    struct rlimit old, small;
    struct waited a;

    (void)world_put(w, "before", "x");
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 4096;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    waited_init(&a, w);
    waited_op(&a, OP_PUT, "during", "x");
    struct store_outcome o = waited_commit(&a);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(o.verdict, STORE_REFUSED);
    assert_int_equal(o.why, ERR_NOSPACE);
    world_until(w, w->up);
    (void)world_put(w, "after", "x");
    world_expect(w, "during", NULL);
}

/* After a failed sync the commit may be in the file: nobody is told anything
 * before a later one has settled it. */
static void a_failed_sync_is_settled_before_anybody_is_answered(void **state)
{
    struct stage_set *x = set_of(state);
    struct world *w = &x->w;
    struct waited *a = calloc(50, sizeof *a);
    char key[50][16];

    (void)world_put(w, "before", "x");
    atomic_store(&disk.sync_fails, 4);
    for (int i = 0; i < 50; i++) {
        snprintf(key[i], sizeof key[i], "k/%d", i);
        waited_init(&a[i], w);
        waited_guard(&a[i], GUARD_ABSENT, key[i], 0);
        waited_op(&a[i], OP_PUT, key[i], "x");
        waited_submit(&a[i]);
    }
    for (int i = 0; i < 50; i++)
        assert_int_equal(waited_wait(&a[i]).verdict, STORE_COMMITTED);
    assert_true(w->downs >= 1);
    assert_true(w->up);
    assert_int_equal(atomic_load(&disk.sync_fails), 0);
    world_close(w);
    set_open(x);
    for (int i = 0; i < 50; i++)
        world_expect(w, key[i], "x");
    free(a);
}

static void a_store_that_cannot_settle_closes_nevertheless(void **state)
{
    struct stage_set *x = set_of(state);
    struct waited a;

    atomic_store(&disk.sync_fails, 1000000);
    waited_init(&a, &x->w);
    waited_op(&a, OP_PUT, "k", "x");
    waited_submit(&a);
    world_close(&x->w);
    atomic_store(&disk.sync_fails, 0);
    assert_int_equal(a.done, 1);
    assert_int_equal(a.outcome.verdict, STORE_UNAVAILABLE);
    assert_int_equal(a.outcome.why, ERR_UNKNOWN);
}

/* --- Damage -------------------------------------------------------------- */

static void fill(struct stage_set *x)
{
    char key[32], value[300];

    for (int i = 0; i < 300; i++) {
        snprintf(key, sizeof key, "key/%d", i % 200);
        memset(value, 'a' + i % 26, sizeof value - 1);
        value[sizeof value - 1] = '\0';
        (void)world_put(&x->w, key, i % 7 ? value : NULL);
    }
    world_close(&x->w);
}

static char *read_all(const char *path, size_t *ret_n)
{
    int fd = open(path, O_RDONLY);
    off_t n = size_of(path);
    char *p = malloc((size_t)n);

    assert_int_equal(read(fd, p, (size_t)n), n);
    close(fd);
    *ret_n = (size_t)n;
    return p;
}

static void write_all(const char *path, const char *p, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_int_equal(write(fd, p, n), n);
    close(fd);
}

/* Opens what may be damaged, reads all of it, writes to it: a crash or a hang
 * is the failure. The error, if any. */
static enum err try_damaged(struct stage_set *x, struct errtext *t)
{
    int ups = x->w.ups, downs = x->w.downs;
    struct waited a;
    char trash[200];

    snprintf(trash, sizeof trash, "%s-wal", x->path);
    unlink(trash);
    enum err e = store_open(&x->options, &x->w.store, t);
    if (e != ERR_OK)
        return e;
    world_until(&x->w, x->w.ups > ups || x->w.downs > downs);
    e = x->w.up ? ERR_OK : x->w.why;
    if (e == ERR_OK) {
        waited_init(&a, &x->w);
        waited_op(&a, OP_DELETE_PREFIX, "key/1", NULL);
        (void)waited_commit(&a);
    }
    store_close(x->w.store);
    x->w.store = NULL;
    x->w.broken = NULL; /* a damaged file may tell anything */
    x->w.revision = 0;
    return e;
}

static void garbage_is_no_store_and_the_way_out_is_named(void **state)
{
    struct stage_set *x = set_of(state);
    struct errtext t = {{0}};
    char garbage[8192];

    fill(x);
    memset(garbage, 'x', sizeof garbage);
    write_all(x->path, garbage, sizeof garbage);
    assert_int_equal(try_damaged(x, &t), ERR_CORRUPT);
    assert_non_null(strstr(t.s, x->path));
    assert_non_null(strstr(t.s, "move the file away"));
}

static void somebody_elses_database_is_left_alone(void **state)
{
    struct stage_set *x = set_of(state);
    struct errtext t = {{0}};
    sqlite3 *db;

    world_close(&x->w);
    unlink(x->path);
    assert_int_equal(sqlite3_open(x->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE t(x)", NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(try_damaged(x, &t), ERR_CORRUPT);
    assert_non_null(strstr(t.s, "no store of muster"));
}

static void a_newer_format_is_refused_by_number(void **state)
{
    struct stage_set *x = set_of(state);
    struct errtext t = {{0}};
    sqlite3 *db;

    world_close(&x->w);
    assert_int_equal(sqlite3_open(x->path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(db, "UPDATE meta SET value=99 WHERE name='format'", NULL,
                     NULL, NULL),
        SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(try_damaged(x, &t), ERR_BAD);
    assert_non_null(strstr(t.s, "format 99"));
}

static void a_truncated_file_is_an_error_not_a_crash(void **state)
{
    struct stage_set *x = set_of(state);
    size_t n;

    fill(x);
    char *good = read_all(x->path, &n);
    for (size_t keep = n - 4096; keep > 0 && keep < n;
         keep = keep * 9 / 10 - 37) {
        struct errtext t = {{0}};

        write_all(x->path, good, keep);
        assert_int_equal(try_damaged(x, &t), ERR_CORRUPT);
        assert_non_null(strstr(t.s, x->path));
        if (keep < 1000)
            break;
    }
    free(good);
}

static void flipped_bytes_are_an_error_or_a_value_not_a_crash(void **state)
{
    struct stage_set *x = set_of(state);
    unsigned seed = 1;
    size_t n, refused = 0;

    fill(x);
    char *good = read_all(x->path, &n);
    for (int i = 0; i < 150; i++) {
        struct errtext t = {{0}};
        size_t flips = 1 + (size_t)rand_r(&seed) % 8;
        char *bad = malloc(n);

        memcpy(bad, good, n);
        for (size_t k = 0; k < flips; k++) { /* near page heads, and anywhere */
            size_t at = (size_t)rand_r(&seed) % n;
            if (k % 2)
                at = at / 4096 * 4096 + (size_t)rand_r(&seed) % 64;
            bad[at % n] ^= (char)(1 << rand_r(&seed) % 8);
        }
        write_all(x->path, bad, n);
        free(bad);
        enum err e = try_damaged(x, &t);
        refused += e != ERR_OK;
        if (e != ERR_OK && e != ERR_CORRUPT && e != ERR_BAD)
            fail_msg("flip %d: %s: %s", i, err_text(e), t.s);
    }
    assert_true(refused > 20);
    free(good);
}

/* --- Size ---------------------------------------------------------------- */

/* History is a window: writing the same keys for ever does not grow the file
 * for ever, and neither does the write-ahead log. */
static void the_file_stays_as_large_as_its_window(void **state)
{
    struct stage_set *x = set_of(state);
    struct world *w = &x->w;
    char key[16], wal[200], *value = calloc(1, 60001);
    off_t early = 0;

    world_close(w);
    x->options.compact_bytes = 1 << 20;
    set_open(x);
    snprintf(wal, sizeof wal, "%s-wal", x->path);
    memset(value, 'v', 60000);
    for (int i = 0; i < 600; i++) {
        snprintf(key, sizeof key, "k/%d", i % 10);
        (void)world_put(w, key, value);
        if (i == 150)
            early = size_of(x->path) + size_of(wal);
    }
    assert_true(size_of(wal) <= 24 << 20);
    assert_true(size_of(x->path) < 6 << 20);
    assert_true(early > 0);
    assert_true(store_oldest(w->store) > 400);
    free(value);
}

static void compaction_leaves_only_what_the_window_needs(void **state)
{
    struct stage_set *x = set_of(state);
    struct world *w = &x->w;
    uint64_t last = 0;
    sqlite3 *db;
    sqlite3_stmt *s;

    for (int i = 0; i < 3000; i++) {
        char key[16];

        snprintf(key, sizeof key, "k/%d", i % 100);
        last = world_put(w, key, i % 3 ? "x" : NULL);
    }
    store_compact(w->store, last);
    while (store_oldest(w->store) < last)
        (void)world_barrier(w);
    size_t live = w->row_count;
    world_close(w);
    int64_t done = metric_get(METRIC_STORE_COMPACTIONS);
    set_open(x); /* what was cut short goes on by itself */
    while (metric_get(METRIC_STORE_COMPACTIONS) == done)
        (void)world_barrier(w);
    assert_int_equal(w->row_count, live);
    world_close(w);
    assert_int_equal(sqlite3_open(x->path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(db, "SELECT count(*) FROM log", -1, &s, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    /* Live rows, the engine's own, and tombstones of the last revision. */
    assert_in_range(sqlite3_column_int64(s, 0), live, live + 10);
    sqlite3_finalize(s);
    sqlite3_close(db);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, kind_tear_down)

static const struct CMUnitTest tests[] = {
    TEST(a_second_process_is_refused_with_file_and_pid),
    TEST(the_same_process_cannot_open_it_twice_either),
    TEST(a_folder_that_is_not_there_is_named),
    TEST(a_full_disk_refuses_and_recovers_without_a_restart),
    TEST(a_file_that_may_not_grow_is_no_space_too),
    TEST(a_failed_sync_is_settled_before_anybody_is_answered),
    TEST(a_store_that_cannot_settle_closes_nevertheless),
    TEST(garbage_is_no_store_and_the_way_out_is_named),
    TEST(somebody_elses_database_is_left_alone),
    TEST(a_newer_format_is_refused_by_number),
    TEST(a_truncated_file_is_an_error_not_a_crash),
    TEST(flipped_bytes_are_an_error_or_a_value_not_a_crash),
    TEST(the_file_stays_as_large_as_its_window),
    TEST(compaction_leaves_only_what_the_window_needs),
};

RUN_TESTS(tests)
