/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* The disk of data_dir. etcd ends on a full one, at its next write, and a server
 * without its etcd has no voice: that is said before it comes, when it comes, and
 * when it is over. etcd is started again as ever (child.c), and at once when
 * somebody has made room: else that could take half a minute. */
#include <inttypes.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/log.h"
#include "base/metric.h"
#include "cluster/impl.h"

/* etcd's log takes 64 MB at once, and the next 64 MB before they are needed; to
 * mend its end after a crash it copies 64 MB. */
static const uint64_t MEGABYTE = 1 << 20;
static const uint64_t LOW = 256 * MEGABYTE, ENOUGH = 320 * MEGABYTE;
static const uint64_t MORE = 16 * MEGABYTE; /* that is room made by somebody */

static bool look(struct cluster *c)
{
    struct disk *d = &c->disk;
    struct statvfs v;

    if (statvfs(c->options.data_dir, &v) != 0)
        return false;
    d->free = (uint64_t)v.f_bavail * v.f_frsize;
    if (d->free < d->least)
        d->least = d->free;
    metric_set(METRIC_DISK_FREE, (int64_t)d->free);
    return true;
}

static void tell_low(struct cluster *c)
{
    struct disk *d = &c->disk;

    if (!d->low && d->free < LOW) {
        d->low = true;
        log_warn("cluster",
                 "the disk of %s has %" PRIu64
                 " MB left, and etcd takes 64 MB at a time: on a full disk it "
                 "ends, and this server has no voice in the store; make room",
                 c->options.data_dir, d->free / MEGABYTE);
    } else if (d->low && !d->full && d->free >= ENOUGH) {
        d->low = false;
        log_info("cluster", "the disk of %s has %" PRIu64 " MB left again",
                 c->options.data_dir, d->free / MEGABYTE);
    }
    metric_set(METRIC_DISK_LOW, d->low || d->full);
}

void disk_tick(struct cluster *c)
{
    struct disk *d = &c->disk;

    if (!look(c))
        return;
    tell_low(c);
    if (!d->full || c->child.running || c->child.open ||
        d->free < d->least + MORE)
        return;
    log_info("cluster",
             "somebody has made room on the disk of %s: %" PRIu64
             " MB are free",
             c->options.data_dir, d->free / MEGABYTE);
    d->least = d->free;
    timer_clear(c->timers, &c->child.again);
    child_start(c);
}

void disk_ended(struct cluster *c, bool no_room)
{
    struct disk *d = &c->disk;

    d->least = UINT64_MAX;
    if (!look(c) && !no_room)
        return;
    /* A page of a mapped file that finds no room says nothing: SIGBUS. */
    if (!no_room && d->free >= MEGABYTE)
        return;
    if (!d->full)
        log_error("cluster",
                  "the disk of %s is full (%" PRIu64
                  " MB are free): etcd ends on it, and without it this server "
                  "has no voice in the store; the others go on while they are "
                  "a majority. Make room: it comes back by itself",
                  c->options.data_dir, d->free / MEGABYTE);
    d->full = true;
    tell_low(c);
}

void disk_runs(struct cluster *c)
{
    struct disk *d = &c->disk;

    /* For a while it may run on what its files have to spare. */
    if (!d->full || d->free < MORE)
        return;
    d->full = false;
    log_warn("cluster",
             "etcd runs again after the disk of %s was full: %" PRIu64
             " MB are free",
             c->options.data_dir, d->free / MEGABYTE);
}
