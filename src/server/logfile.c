/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/logfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"

enum { AGAIN_MS = 10 * 1000 /* after a file could not be made */ };

struct logfile {
    struct logfile_options o;
    char *folder, *stem, *extension; /* ".log" */
    int fd;                          /* its number stays */
    _Atomic uint64_t bytes;          /* in the file of now */
    _Atomic uint64_t due_ms;
    _Atomic bool changing;
};

/* --- Names ---------------------------------------------------------------- */

static void split(struct logfile *f, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;

    if (*name == 0)
        name = "muster.log";
    /* As Go's filepath.Ext: ".hidden" is an extension, too. */
    const char *dot = strrchr(name, '.');
    size_t stem = dot ? (size_t)(dot - name) : strlen(name);
    f->folder = xcopy(slash ? bytes_of(path, (size_t)(slash - path) + 1)
                            : bytes_str("./"));
    f->stem = xcopy(bytes_of(name, stem));
    f->extension = xstrdup(dot ? dot : ".log");
}

/* stem-DIGITS.extension */
static bool is_ours(const struct logfile *f, const char *name)
{
    size_t stem = strlen(f->stem);

    if (strncmp(name, f->stem, stem) != 0 || name[stem] != '-')
        return false;
    const char *digits = name + stem + 1;
    size_t n = strspn(digits, "0123456789");
    return n > 0 && strcmp(digits + n, f->extension) == 0;
}

/* --- Files ---------------------------------------------------------------- */

static char *path_of(const struct logfile *f, const char *name)
{
    size_t n = strlen(f->folder) + strlen(name) + 1;
    char *path = xmalloc(n);

    (void)snprintf(path, n, "%s%s", f->folder, name);
    return path;
}

/* The oldest go; names sort by time, as they are of one length. */
static void prune(const struct logfile *f)
{
    struct dirent **found;
    int64_t ours = 0, keep = f->o.max_files < 0 ? 0 : f->o.max_files;
    int n = f->o.max_files ? scandir(f->folder, &found, NULL, alphasort) : -1;

    if (n < 0)
        return;
    for (int i = 0; i < n; i++)
        ours += is_ours(f, found[i]->d_name);
    for (int i = 0; i < n; i++) {
        if (ours > keep && is_ours(f, found[i]->d_name)) {
            char *path = path_of(f, found[i]->d_name);
            (void)unlink(path); /* the next time, perhaps */
            free(path);
            ours--;
        }
        free(found[i]);
    }
    free(found);
}

static int open_new(const struct logfile *f, struct errtext *t)
{
    struct timespec now;
    char name[300];

    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)snprintf(name, sizeof name, "%.200s-%lld%09ld%.40s", f->stem,
                   (long long)now.tv_sec, now.tv_nsec, f->extension);
    char *path = path_of(f, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (fd < 0) {
        char reason[96];
        errtext_set(t, "log_file %.100s: %s", path,
                    strerror_r(errno, reason, sizeof reason));
    }
    free(path);
    return fd;
}

static void began(struct logfile *f, uint64_t now_ms)
{
    atomic_store(&f->bytes, 0);
    atomic_store(&f->due_ms, now_ms + f->o.max_ms);
}

enum err logfile_open(const struct logfile_options *o, struct logfile **ret,
                      struct errtext *t)
{
    struct logfile *f = xzalloc(sizeof *f);
    struct timespec now;

    f->o = *o;
    f->fd = -1;
    split(f, o->path);
    prune(f);
    f->fd = open_new(f, t);
    if (f->fd < 0) {
        logfile_close(f);
        return ERR_IO;
    }
    (void)clock_gettime(CLOCK_REALTIME, &now);
    began(f, (uint64_t)now.tv_sec * 1000);
    *ret = f;
    return ERR_OK;
}

void logfile_close(struct logfile *f)
{
    if (f->fd >= 0)
        (void)close(f->fd);
    free(f->folder);
    free(f->stem);
    free(f->extension);
    free(f);
}

/* --- Writing -------------------------------------------------------------- */

static enum err begin_anew(struct logfile *f, uint64_t now_ms,
                           struct errtext *t)
{
    prune(f);
    int fd = open_new(f, t);
    if (fd < 0) {
        atomic_store(&f->due_ms, now_ms + AGAIN_MS);
        atomic_store(&f->bytes, 0);
        return ERR_IO;
    }
    (void)dup3(fd, f->fd, O_CLOEXEC);
    (void)close(fd);
    began(f, now_ms);
    return ERR_OK;
}

static bool is_due(const struct logfile *f, uint64_t now_ms)
{
    return (f->o.max_bytes && atomic_load(&f->bytes) >= f->o.max_bytes) ||
           now_ms >= atomic_load(&f->due_ms);
}

/* One write per line: lines of several threads do not mix. */
static void append(struct logfile *f, struct bytes line)
{
    atomic_fetch_add(&f->bytes, line.n);
    while (line.n > 0) {
        ssize_t n = write(f->fd, line.p, line.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        line = bytes_skip(line, (size_t)n);
    }
}

enum err logfile_write(struct logfile *f, struct bytes line, uint64_t now_ms,
                       struct errtext *t)
{
    enum err e = ERR_OK;
    bool others = false;

    if (is_due(f, now_ms) &&
        atomic_compare_exchange_strong(&f->changing, &others, true)) {
        /* Another thread may have done it meanwhile. */
        if (is_due(f, now_ms))
            e = begin_anew(f, now_ms, t);
        atomic_store(&f->changing, false);
    }
    append(f, line);
    return e;
}
