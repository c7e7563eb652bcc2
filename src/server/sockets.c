/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/sockets.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "server/run.h"

enum { RECORD_BYTES = 64 * 1024 /* of a user or a group */ };

static struct {
    struct {
        const char *path;
        dev_t device;
        ino_t inode;
    } v[RUN_LISTENERS_MAX];
    size_t n;
} bound; /* one process, as its signal handlers are */

static bool is_number(const char *s, unsigned long *ret)
{
    char *end;

    errno = 0;
    *ret = strtoul(s, &end, 10);
    return s[0] >= '0' && s[0] <= '9' && *end == 0 && errno == 0 &&
           *ret < UINT32_MAX;
}

static bool find_user(const char *name, uid_t *ret)
{
    unsigned long n;
    char space[RECORD_BYTES];
    struct passwd record, *p = NULL;

    if (getpwnam_r(name, &record, space, sizeof space, &p) == 0 && p)
        *ret = p->pw_uid;
    else if (is_number(name, &n))
        *ret = (uid_t)n;
    else
        return false;
    return true;
}

static bool find_group(const char *name, gid_t *ret)
{
    unsigned long n;
    char space[RECORD_BYTES];
    struct group record, *g = NULL;

    if (getgrnam_r(name, &record, space, sizeof space, &g) == 0 && g)
        *ret = g->gr_gid;
    else if (is_number(name, &n))
        *ret = (gid_t)n;
    else
        return false;
    return true;
}

static void remember(const char *path)
{
    struct stat st;

    if (bound.n == RUN_LISTENERS_MAX || lstat(path, &st) != 0)
        return;
    bound.v[bound.n].path = path;
    bound.v[bound.n].device = st.st_dev;
    bound.v[bound.n].inode = st.st_ino;
    bound.n++;
}

enum err sockets_own(const char *path, const char *user, const char *group,
                     struct errtext *t)
{
    uid_t uid = (uid_t)-1;
    gid_t gid = (gid_t)-1;

    remember(path);
    if (user && !find_user(user, &uid)) {
        errtext_set(t, "unix_sockets.user: there is no user %.60s", user);
        return ERR_BAD;
    }
    if (group && !find_group(group, &gid)) {
        errtext_set(t, "unix_sockets.group: there is no group %.60s", group);
        return ERR_BAD;
    }
    if ((user || group) && chown(path, uid, gid) != 0) {
        errtext_set(t, "unix_sockets: %.60s cannot be given to %.30s:%.30s: %s",
                    path, user ? user : "", group ? group : "",
                    strerror(errno));
        return ERR_IO;
    }
    return ERR_OK;
}

void sockets_remove(void)
{
    for (size_t i = 0; i < bound.n; i++) {
        struct stat st;
        const char *path = bound.v[i].path;
        if (lstat(path, &st) != 0 || st.st_dev != bound.v[i].device ||
            st.st_ino != bound.v[i].inode)
            continue;
        if (unlink(path) != 0)
            log_warn("server", "%s: %s", path, strerror(errno));
    }
    bound.n = 0;
}
