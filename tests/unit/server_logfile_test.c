/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/logfile.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "test.h"

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/muster-log-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int not_dots(const struct dirent *d)
{
    return strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
}

/* Names in order, and how long each file is; all go if drop. */
static int look(char names[][300], off_t *sizes, bool drop)
{
    struct dirent **found;
    int n = scandir(folder, &found, not_dots, alphasort);

    assert_true(n >= 0);
    for (int i = 0; i < n; i++) {
        char path[400];
        struct stat st;
        (void)snprintf(path, sizeof path, "%s/%s", folder, found[i]->d_name);
        assert_int_equal(stat(path, &st), 0);
        if (names && i < 16)
            (void)snprintf(names[i], 300, "%s", found[i]->d_name);
        if (sizes && i < 16)
            sizes[i] = st.st_size;
        if (drop)
            assert_int_equal(unlink(path), 0);
        free(found[i]);
    }
    free(found);
    return n;
}

static int drop_folder(void **state)
{
    (void)state;
    (void)look(NULL, NULL, true);
    return rmdir(folder);
}

static struct logfile *open_log(const char *name, uint64_t max_bytes,
                                int64_t max_files)
{
    static char path[400];
    struct logfile *f = NULL;
    struct errtext t = {0};

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    const struct logfile_options o = {path, max_bytes, 1000, max_files};
    if (logfile_open(&o, &f, &t) != ERR_OK)
        fail_msg("%s", t.s);
    return f;
}

static uint64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000;
}

static void put(struct logfile *f, const char *line, uint64_t at_ms)
{
    struct errtext t = {0};
    if (logfile_write(f, bytes_str(line), at_ms, &t) != ERR_OK)
        fail_msg("%s", t.s);
}

static void names_have_the_time_before_the_extension(void **state)
{
    static const struct {
        const char *path, *begin, *end;
    } all[] = {{"a.txt", "a-", ".txt"},
               {"b", "b-", ".log"},
               {"c.d.e", "c.d-", ".e"},
               {"", "muster-", ".log"}};
    char names[16][300];

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        logfile_close(open_log(all[i].path, 0, 0));
        assert_int_equal(look(names, NULL, true), 1);
        assert_int_equal(strncmp(names[0], all[i].begin, strlen(all[i].begin)),
                         0);
        const char *digits = names[0] + strlen(all[i].begin);
        assert_int_equal(strspn(digits, "0123456789"), 19);
        assert_string_equal(digits + 19, all[i].end);
    }
}

static void a_new_file_begins_by_size_and_by_age(void **state)
{
    char names[16][300];
    off_t sizes[16];
    (void)state;
    uint64_t now = now_ms();
    struct logfile *f = open_log("a.log", 10, 0);

    put(f, "12345678\n", now);
    put(f, "12345678\n", now); /* over the limit only now */
    put(f, "123\n", now);
    assert_int_equal(look(names, sizes, false), 2);
    assert_int_equal(sizes[0], 18);
    assert_int_equal(sizes[1], 4);
    put(f, "1\n", now + 999);
    assert_int_equal(look(names, sizes, false), 2);
    put(f, "12\n", now + 5000);
    assert_int_equal(look(names, sizes, true), 3);
    assert_int_equal(sizes[1], 6);
    assert_int_equal(sizes[2], 3);
    logfile_close(f);
}

/* Other files, however alike, are nobody's to remove. */
static void old_files_are_removed_and_only_those(void **state)
{
    static const char *const others[] = {"a-12x.log", "a.log", "b-1.log",
                                         "a-1.log.gz", "a-.log"};
    char names[16][300], path[400];
    (void)state;
    struct logfile *f = open_log("a.log", 1, 2);
    uint64_t now = now_ms();

    for (size_t i = 0; i < 5; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, others[i]);
        FILE *o = fopen(path, "w");
        assert_non_null(o);
        (void)fclose(o);
    }
    for (int i = 0; i < 10; i++)
        put(f, "x\n", now);
    assert_int_equal(look(names, NULL, true), 5 + 3);
    for (size_t i = 0; i < 5; i++) {
        bool found = false;
        for (int k = 0; k < 8; k++)
            found |= strcmp(names[k], others[i]) == 0;
        assert_true(found);
    }
    logfile_close(f);
    f = open_log("a.log", 1, -1);
    for (int i = 0; i < 10; i++)
        put(f, "x\n", now);
    assert_int_equal(look(NULL, NULL, true), 1);
    logfile_close(f);
}

static void what_cannot_be_made_is_told_and_the_old_file_goes_on(void **state)
{
    (void)state;
    struct errtext t = {0};
    struct logfile *f = NULL;
    char path[100], moved[100];
    uint64_t now = now_ms();
    const struct logfile_options bad = {"/nonexistent/a", 0, 1000, 0};

    assert_int_equal(logfile_open(&bad, &f, &t), ERR_IO);
    assert_non_null(strstr(t.s, "log_file /nonexistent/a-"));
    assert_non_null(strstr(t.s, ".log: No such file or directory"));

    f = open_log("a.log", 0, 0);
    (void)snprintf(path, sizeof path, "%s", folder);
    (void)snprintf(moved, sizeof moved, "%s-moved", folder);
    assert_int_equal(rename(path, moved), 0);
    assert_int_equal(logfile_write(f, bytes_str("x\n"), now + 5000, &t),
                     ERR_IO);
    put(f, "y\n", now + 5001); /* not again at once */
    assert_int_equal(rename(moved, path), 0);
    off_t sizes[16];
    assert_int_equal(look(NULL, sizes, false), 1);
    assert_int_equal(sizes[0], 4);
    put(f, "z\n", now + 60 * 1000);
    assert_int_equal(look(NULL, NULL, true), 2);
    logfile_close(f);
}

enum { THREADS = 4, LINES = 5000 };

static void *write_lines(void *arg)
{
    /* One moment for all: no file is ever too old. */
    static uint64_t now;
    if (!arg) {
        now = now_ms();
        return NULL;
    }
    for (int i = 0; i < LINES; i++)
        put(arg, "123456789\n", now);
    return NULL;
}

static void no_line_of_several_threads_is_lost_or_torn(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    struct logfile *f = open_log("a.log", 20000, 0);
    off_t sum = 0;

    (void)write_lines(NULL);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, f), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    off_t sizes[16] = {0};
    int n = look(NULL, sizes, true);
    /* 200,000 bytes; a thread that was put aside may still fill an old one. */
    assert_in_range(n, 2, 10);
    for (int i = 0; i < n; i++) {
        assert_int_equal(sizes[i] % 10, 0);
        sum += sizes[i];
    }
    assert_int_equal(sum, THREADS * LINES * 10);
    logfile_close(f);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_folder, drop_folder)

static const struct CMUnitTest tests[] = {
    TEST(names_have_the_time_before_the_extension),
    TEST(a_new_file_begins_by_size_and_by_age),
    TEST(old_files_are_removed_and_only_those),
    TEST(what_cannot_be_made_is_told_and_the_old_file_goes_on),
    TEST(no_line_of_several_threads_is_lost_or_torn),
};

RUN_TESTS(tests)
