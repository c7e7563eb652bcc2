/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* data_dir/cluster.json: which set of servers this one has agreed to, and that
 * it is one of them. One JSON object, replaced whole; written seldom (a handful
 * of times in a server's life), so it is written on the loop's thread. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cluster/impl.h"

enum { RECORD_BYTES_MAX = 64 * 1024 };

static enum err failed(const char *path, struct errtext *t)
{
    char reason[96];
    int e = errno;

    errtext_set(t, "%s: %s", path, strerror_r(e, reason, sizeof reason));
    return e == ENOSPC ? ERR_NOSPACE : ERR_IO;
}

enum err record_read(const char *path, struct record *ret, struct errtext *t)
{
    static char text[RECORD_BYTES_MAX + 1];
    FILE *f = fopen(path, "re");

    *ret = (struct record){.state = RECORD_NONE};
    if (!f)
        return errno == ENOENT ? ERR_OK : failed(path, t);
    size_t n = fread(text, 1, sizeof text, f);
    bool broken = ferror(f) != 0;
    (void)fclose(f);
    if (broken || n > RECORD_BYTES_MAX) {
        errtext_set(t, "%s: cannot be read", path);
        return ERR_IO;
    }
    enum err e = record_from(bytes_of(text, n), ret, t);
    if (e != ERR_OK)
        errtext_prefix(t, "%s: ", path);
    return e == ERR_OK ? e : ERR_BAD;
}

static bool write_all(int fd, struct bytes b)
{
    while (b.n) {
        ssize_t k = write(fd, b.p, b.n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return false;
        b = bytes_skip(b, (size_t)k);
    }
    return true;
}

/* A rename, or a removal, is durable once its folder is. */
static bool sync_folder(const char *path)
{
    char folder[4096];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;

    if (n == 0 || n >= sizeof folder)
        return false;
    memcpy(folder, path, n);
    folder[n] = 0;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        (void)close(fd);
    return ok;
}

enum err record_write(const char *path, const struct record *r,
                      struct errtext *t)
{
    char aside[4096];
    struct buf out = {0};
    int fd = -1;

    if (r->state == RECORD_NONE)
        return (unlink(path) == 0 || errno == ENOENT) && sync_folder(path)
                   ? ERR_OK
                   : failed(path, t);
    int n = snprintf(aside, sizeof aside, "%s.tmp", path);
    record_put(&out, r);
    bool ok = n > 0 && (size_t)n < sizeof aside && !out.bad;
    if (ok)
        fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ok = ok && fd >= 0 && write_all(fd, buf_bytes(&out)) && fsync(fd) == 0;
    if (fd >= 0 && close(fd) != 0)
        ok = false;
    ok = ok && rename(aside, path) == 0 && sync_folder(path);
    enum err e = ok ? ERR_OK : failed(path, t);
    if (!ok)
        (void)unlink(aside);
    buf_fini(&out);
    return e;
}
