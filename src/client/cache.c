/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* The last good list as a file, for a start without any server. Written beside
 * and renamed, so a reader sees a whole one; not synced: after a power cut the
 * checksum tells. Two programs may share a folder: each writes under a name of
 * its own first, and what the file belongs to stands in it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "client/impl.h"

enum { NAME_SHOWN = 64 };

static bool plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* DIR/SERVICE-HASH.list: the name is for people, the hash tells apart. */
char *cache_path(const char *dir, const char *service, const char *target)
{
    char shown[NAME_SHOWN + 1];
    size_t n = 0, size = strlen(dir) + NAME_SHOWN + 32;
    char *path = malloc(size);

    for (; n < NAME_SHOWN && service[n]; n++)
        shown[n] = plain(service[n]) ? service[n] : '_';
    shown[n] = '\0';
    if (path)
        (void)snprintf(path, size, "%s/%s-%016llx.list", dir, shown,
                       (unsigned long long)bytes_hash(bytes_str(target), 0));
    return path;
}

/* saved_ms is when the list was right: while servers are away it grows old. */
static struct roster_label label_of(const struct muster_service *s,
                                    const char *cluster)
{
    const struct muster *m = s->m;
    uint64_t confirmed = atomic_load(&s->home.confirmed_ms), now = mono_ms();
    uint64_t age_ms = confirmed && now > confirmed ? now - confirmed : 0;

    return (struct roster_label){
        .datacenter = bytes_str(m->set.datacenter),
        .query = bytes_str(s->home.target),
        .cluster = bytes_str(cluster),
        .token_hash = m->token ? bytes_hash(bytes_str(m->token), 1) : 0,
        .saved_ms = day_ms() - age_ms,
        .index = s->home.poll.index,
    };
}

static bool write_all(int fd, struct bytes b)
{
    while (b.n) {
        ssize_t n = write(fd, b.p, b.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        b = bytes_skip(b, (size_t)n);
    }
    return true;
}

static bool replace(const char *path, struct bytes content)
{
    char beside[4096];
    int n = snprintf(beside, sizeof beside, "%s.XXXXXX", path);

    if (n < 0 || (size_t)n >= sizeof beside)
        return false;
    int fd = mkostemp(beside, O_CLOEXEC); /* mode 0600 */
    if (fd < 0)
        return false;
    bool ok = write_all(fd, content);
    ok = close(fd) == 0 && ok && rename(beside, path) == 0;
    if (!ok)
        (void)unlink(beside);
    return ok;
}

void cache_save(struct muster_service *s)
{
    struct buf out;
    struct roster_label label = label_of(s, s->home.cluster);

    buf_init(&out, 2 * (size_t)ROSTER_BODY_MAX);
    roster_put(&out, s->home.roster, &label);
    if (!out.bad && replace(s->cache_path, buf_bytes(&out))) {
        atomic_fetch_add(&s->stats.cache_written, 1);
    } else {
        atomic_fetch_add(&s->stats.cache_failed, 1);
        handle_log(s->m, MUSTER_WARN, "the list of %s is not on disk: %s: %s",
                   s->name, s->cache_path, strerror(errno));
    }
    buf_fini(&out);
}

/* A file larger than any we write is none of ours. */
static bool read_file(const char *path, struct buf *ret)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0)
        return false;
    bool ok = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 &&
              st.st_size <= ROSTER_BODY_MAX;
    char *to = ok ? buf_room(ret, (size_t)st.st_size) : NULL;
    ok = to != NULL;
    while (ok && ret->n < (size_t)st.st_size) {
        ssize_t n = read(fd, to + ret->n, (size_t)st.st_size - ret->n);
        if (n < 0 && errno == EINTR)
            continue;
        ok = n > 0;
        ret->n += ok ? (size_t)n : 0;
    }
    close(fd);
    return ok;
}

static void ignore(struct muster_service *s, const char *why)
{
    atomic_fetch_add(&s->stats.cache_ignored, 1);
    handle_log(s->m, MUSTER_WARN, "%s is not used: %s", s->cache_path, why);
}

static void take_file(struct muster_service *s, struct bytes file)
{
    struct roster_label label = label_of(s, s->m->cluster);
    struct roster *r = NULL;
    uint64_t now_ms = day_ms();
    enum err e = roster_get(file, &label, &r);

    if (e == ERR_NOT_FOUND) {
        ignore(s, "it is of another query, datacenter, token or cluster");
        return;
    }
    if (e != ERR_OK) {
        ignore(s, err_text(e));
        return;
    }
    /* A clock that went back makes no list younger than new. */
    uint64_t age_ms = now_ms > label.saved_ms ? now_ms - label.saved_ms : 0;
    if (age_ms > s->m->set.cache_max_age_ms) {
        ignore(s, "it is too old");
        roster_free(r);
        return;
    }
    uint64_t mono = mono_ms();
    origin_cluster(&s->home, label.cluster);
    atomic_store(&s->home.confirmed_ms, mono > age_ms ? mono - age_ms : 1);
    handle_log(s->m, MUSTER_WARN,
               "no server answers: using the list of %s from the disk, %llu s "
               "old",
               s->name, (unsigned long long)age_ms / 1000);
    origin_list(&s->home, r, ROSTER_LIST, MUSTER_DISK);
}

void cache_load(struct muster_service *s)
{
    struct buf file;

    buf_init(&file, ROSTER_BODY_MAX);
    if (read_file(s->cache_path, &file))
        take_file(s, buf_bytes(&file));
    else if (errno != ENOENT)
        ignore(s, strerror(errno));
    buf_fini(&file);
}
