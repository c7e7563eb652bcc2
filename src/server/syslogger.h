/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* syslogger - log lines to the machine's syslog, through its socket (/dev/log),
 * as RFC 3164 has them. Any thread, never waiting: what the daemon cannot take
 * at once is lost, and counted. libc's syslog() would wait. */
#ifndef SERVER_SYSLOGGER_H
#define SERVER_SYSLOGGER_H

#include "base/log.h"

struct syslogger;

/* facility: a number that config/agent_config.h found. ERR_IO: nobody is there;
 * t names the path. */
MUST_USE enum err syslogger_open(const char *path, int facility,
                                 struct syslogger **ret, struct errtext *t);
void syslogger_close(struct syslogger *s);

/* Consul's priorities: TRACE is debug, DEBUG info, INFO notice. A daemon that
 * was started anew is found again. */
void syslogger_write(struct syslogger *s, enum log_level level,
                     const char *module, const char *text);

#endif
