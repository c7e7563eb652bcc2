/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* logsink - log lines, as text or JSON, to standard output and, if they are
 * wanted, to files and syslog as well (as Consul's agent does). Any thread. */
#ifndef SERVER_LOGSINK_H
#define SERVER_LOGSINK_H

#include "base/buf.h"
#include "base/log.h"
#include "server/logfile.h"

struct logsink_line {
    char when[40]; /* 2026-11-23T08:32:50.374Z */
    enum log_level level;
    const char *module, *text;
};

/* Now. */
void logsink_stamp(struct logsink_line *l);

/* One line with its end. */
void logsink_format(struct buf *out, const struct logsink_line *l, bool json);

struct logsink_options {
    bool json;
    struct logfile_options file; /* path NULL: none */
    const char *syslog_path;     /* NULL: none */
    int syslog_facility;
};

/* Once, before the threads start. ERR_IO: t names the file, or the socket. */
MUST_USE enum err logsink_start(const struct logsink_options *o,
                                struct errtext *t);

#endif
