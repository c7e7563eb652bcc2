/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* logsink - log lines to standard error or a file, as text or JSON; the last
 * ones are kept for whoever asks later. Any thread. */
#ifndef SERVER_LOGSINK_H
#define SERVER_LOGSINK_H

#include "base/log.h"

/* path NULL: standard output, as Consul's agent does. ERR_IO: t names the file.
 */
MUST_USE enum err logsink_start(const char *path, bool json, struct errtext *t);

#endif
