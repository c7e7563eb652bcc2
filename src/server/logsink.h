/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* logsink - log lines to standard error or a file, as text or JSON. Any thread. */
#ifndef SERVER_LOGSINK_H
#define SERVER_LOGSINK_H

#include "base/buf.h"
#include "base/log.h"

struct logsink_line {
    char when[40]; /* 2026-11-23T08:32:50.374Z */
    enum log_level level;
    const char *module, *text;
};

/* Now. */
void logsink_stamp(struct logsink_line *l);

/* One line with its end. */
void logsink_format(struct buf *out, const struct logsink_line *l, bool json);

/* path NULL: standard output, as Consul's agent does. ERR_IO: t names the file.
 */
MUST_USE enum err logsink_start(const char *path, bool json, struct errtext *t);

#endif
