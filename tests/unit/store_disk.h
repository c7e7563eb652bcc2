/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* store_disk - a disk under SQLite that fails when told to: the n-th write
 * kills the process, tears, or cuts the power (what was not synced is lost at
 * random); writes run out of space; syncs fail. A layer over SQLite's own (a
 * "VFS").
 *
 * disk_install once per process, before a store is opened. */
#ifndef STORE_DISK_H
#define STORE_DISK_H

#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum disk_end {
    DISK_KILL,  /* kill -9 before the write */
    DISK_TEAR,  /* after half of it */
    DISK_POWER, /* and unsynced writes are undone, each or not */
};

struct disk {
    _Atomic long until;     /* writes and syncs until the end; < 0: never */
    enum disk_end end;      /* how */
    _Atomic bool full;      /* writes fail with SQLITE_FULL */
    _Atomic int sync_fails; /* so many syncs fail */
    _Atomic long calls;     /* writes and syncs seen */
    unsigned random;
    struct disk_undo *unsynced; /* newest first */
};

struct disk_file {
    sqlite3_file base;
    sqlite3_file *real;
};

struct disk_undo {
    struct disk_undo *next;
    sqlite3_file *real;
    sqlite3_int64 at, size; /* of the file before */
    int n;
    char old[];
};

static struct disk disk = {.until = -1};
static sqlite3_vfs disk_vfs;
static sqlite3_io_methods disk_methods;

static inline sqlite3_file *disk_real(sqlite3_file *f)
{
    return ((struct disk_file *)f)->real;
}

static inline void disk_power_cut(void)
{
    for (struct disk_undo *u = disk.unsynced; u; u = u->next) {
        if (rand_r(&disk.random) % 2)
            continue; /* this one had reached the platter */
        if (u->at + u->n > u->size)
            (void)u->real->pMethods->xTruncate(u->real, u->size);
        if (u->at < u->size)
            (void)u->real->pMethods->xWrite(
                u->real, u->old,
                (int)(u->size - u->at < u->n ? u->size - u->at : u->n), u->at);
    }
}

static inline void disk_count(sqlite3_file *f, const void *p, int n,
                              sqlite3_int64 at)
{
    atomic_fetch_add(&disk.calls, 1);
    if (atomic_load(&disk.until) < 0 || atomic_fetch_sub(&disk.until, 1) > 0)
        return;
    if (disk.end == DISK_TEAR && n > 1)
        (void)disk_real(f)->pMethods->xWrite(disk_real(f), p, n / 2, at);
    if (disk.end == DISK_POWER)
        disk_power_cut();
    kill(getpid(), SIGKILL);
}

static inline void disk_remember(sqlite3_file *f, int n, sqlite3_int64 at)
{
    sqlite3_file *real = disk_real(f);

    if (disk.end != DISK_POWER || atomic_load(&disk.until) < 0)
        return;
    struct disk_undo *u = malloc(sizeof *u + (size_t)n);

    u->real = real;
    u->at = at;
    u->n = n;
    (void)real->pMethods->xFileSize(real, &u->size);
    memset(u->old, 0, (size_t)n);
    (void)real->pMethods->xRead(real, u->old, n, at);
    u->next = disk.unsynced;
    disk.unsynced = u;
}

static inline void disk_forget(sqlite3_file *real)
{
    for (struct disk_undo **at = &disk.unsynced; *at;) {
        struct disk_undo *u = *at;

        if (u->real == real) {
            *at = u->next;
            free(u);
        } else {
            at = &u->next;
        }
    }
}

static int disk_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    if (atomic_load(&disk.full))
        return SQLITE_FULL;
    disk_count(f, p, n, at);
    disk_remember(f, n, at);
    return disk_real(f)->pMethods->xWrite(disk_real(f), p, n, at);
}

static int disk_sync(sqlite3_file *f, int flags)
{
    disk_count(f, "", 0, 0);
    if (atomic_load(&disk.sync_fails) > 0) {
        atomic_fetch_sub(&disk.sync_fails, 1);
        return SQLITE_IOERR_FSYNC;
    }
    disk_forget(disk_real(f));
    return disk_real(f)->pMethods->xSync(disk_real(f), flags);
}

/* --- Passed on ----------------------------------------------------------- */

#define DISK_PASS(name, params, args)                                          \
    static int disk_##name params                                              \
    {                                                                          \
        return disk_real(f)->pMethods->name args;                              \
    }

DISK_PASS(xRead, (sqlite3_file * f, void *p, int n, sqlite3_int64 at),
          (disk_real(f), p, n, at))
DISK_PASS(xTruncate, (sqlite3_file * f, sqlite3_int64 n), (disk_real(f), n))
DISK_PASS(xFileSize, (sqlite3_file * f, sqlite3_int64 *n), (disk_real(f), n))
DISK_PASS(xLock, (sqlite3_file * f, int l), (disk_real(f), l))
DISK_PASS(xUnlock, (sqlite3_file * f, int l), (disk_real(f), l))
DISK_PASS(xCheckReservedLock, (sqlite3_file * f, int *r), (disk_real(f), r))
DISK_PASS(xFileControl, (sqlite3_file * f, int op, void *arg),
          (disk_real(f), op, arg))
DISK_PASS(xSectorSize, (sqlite3_file * f), (disk_real(f)))
DISK_PASS(xDeviceCharacteristics, (sqlite3_file * f), (disk_real(f)))
DISK_PASS(xShmMap,
          (sqlite3_file * f, int page, int size, int extend,
           void volatile **ret),
          (disk_real(f), page, size, extend, ret))
DISK_PASS(xShmLock, (sqlite3_file * f, int at, int n, int flags),
          (disk_real(f), at, n, flags))
DISK_PASS(xShmUnmap, (sqlite3_file * f, int del), (disk_real(f), del))

static void disk_xShmBarrier(sqlite3_file *f)
{
    disk_real(f)->pMethods->xShmBarrier(disk_real(f));
}

static int disk_close(sqlite3_file *f)
{
    disk_forget(disk_real(f));
    return disk_real(f)->pMethods->xClose(disk_real(f));
}

static int disk_open(sqlite3_vfs *v, const char *name, sqlite3_file *f,
                     int flags, int *ret_flags)
{
    sqlite3_vfs *below = v->pAppData;
    struct disk_file *d = (struct disk_file *)f;

    d->real = (sqlite3_file *)(d + 1);
    int rc = below->xOpen(below, name, d->real, flags, ret_flags);
    f->pMethods = d->real->pMethods ? &disk_methods : NULL;
    return rc;
}

static inline void disk_install(void)
{
    sqlite3_vfs *below = sqlite3_vfs_find(NULL);

    if (disk_vfs.zName)
        return;
    disk_methods = (sqlite3_io_methods){
        .iVersion = 2, /* shared memory, no mapped reads */
        .xClose = disk_close,
        .xRead = disk_xRead,
        .xWrite = disk_write,
        .xTruncate = disk_xTruncate,
        .xSync = disk_sync,
        .xFileSize = disk_xFileSize,
        .xLock = disk_xLock,
        .xUnlock = disk_xUnlock,
        .xCheckReservedLock = disk_xCheckReservedLock,
        .xFileControl = disk_xFileControl,
        .xSectorSize = disk_xSectorSize,
        .xDeviceCharacteristics = disk_xDeviceCharacteristics,
        .xShmMap = disk_xShmMap,
        .xShmLock = disk_xShmLock,
        .xShmBarrier = disk_xShmBarrier,
        .xShmUnmap = disk_xShmUnmap,
    };
    disk_vfs = *below;
    disk_vfs.zName = "disk";
    disk_vfs.pAppData = below;
    disk_vfs.szOsFile = (int)sizeof(struct disk_file) + below->szOsFile;
    disk_vfs.xOpen = disk_open;
    sqlite3_vfs_register(&disk_vfs, 1);
}

#endif
