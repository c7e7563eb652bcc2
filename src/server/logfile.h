/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* logfile - a log in files that are begun anew by size and age, and removed by
 * number: Consul's log_file, log_rotate_bytes, _duration and _max_files.
 *
 * The path is a prefix: "/var/log/muster.log" makes
 * "/var/log/muster-1700000000123456789.log", with the time of its beginning in
 * nanoseconds; without an extension ".log" is added, and a path that ends in a
 * slash means "muster.log" there. Only files of exactly such names are removed.
 *
 * Any thread writes, without a lock: the descriptor's number never changes, a
 * new file is put under it (dup3). Who finds that it is time does that, the
 * others go on writing meanwhile, so that a file may get a few lines more. */
#ifndef SERVER_LOGFILE_H
#define SERVER_LOGFILE_H

#include "base/bytes.h"

struct logfile_options {
    const char *path;   /* outlives the process's log */
    uint64_t max_bytes; /* begun anew after so many; 0: no limit */
    uint64_t max_ms;    /* or so old; > 0 */
    int64_t max_files;  /* older ones that stay; 0: all, < 0: none */
};

struct logfile;

/* Also removes what is too many. ERR_IO: t names the file. */
MUST_USE enum err logfile_open(const struct logfile_options *o,
                               struct logfile **ret, struct errtext *t);

/* Nobody else may use it any more. */
void logfile_close(struct logfile *f);

/* Appends one whole line; now_ms: Unix time. A file that cannot be written is
 * no reason to stop: the line is lost. ERR_IO: a new file was due and cannot be
 * made (t says why); the old one goes on, another attempt follows in a
 * while. */
enum err logfile_write(struct logfile *f, struct bytes line, uint64_t now_ms,
                       struct errtext *t);

#endif
