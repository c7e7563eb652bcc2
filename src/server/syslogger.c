/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/syslogger.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/metric.h"

enum { DATAGRAM_MAX = 8 * 1024 /* journald and rsyslog take as much */ };

/* Not connected: each datagram finds whoever is bound to the path now. */
struct syslogger {
    int fd, facility;
    struct sockaddr_un to;
};

enum err syslogger_open(const char *path, int facility, struct syslogger **ret,
                        struct errtext *t)
{
    struct syslogger *s = xzalloc(sizeof *s);
    char reason[96];

    s->facility = facility;
    s->to.sun_family = AF_UNIX;
    (void)snprintf(s->to.sun_path, sizeof s->to.sun_path, "%s", path);
    s->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int probe = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool ok =
        s->fd >= 0 && probe >= 0 &&
        connect(probe, (const struct sockaddr *)&s->to, sizeof s->to) == 0;
    int e = errno;
    if (probe >= 0)
        (void)close(probe);
    if (!ok) {
        errtext_set(t, "enable_syslog: %.60s: %s (is a syslog daemon running?)",
                    path, strerror_r(e, reason, sizeof reason));
        syslogger_close(s);
        return ERR_IO;
    }
    *ret = s;
    return ERR_OK;
}

void syslogger_close(struct syslogger *s)
{
    if (s->fd >= 0)
        (void)close(s->fd);
    free(s);
}

static int priority(enum log_level level)
{
    switch (level) {
    case LOG_TRACE:
        return 7;
    case LOG_DEBUG:
        return 6;
    case LOG_INFO:
        return 5;
    case LOG_WARN:
        return 4;
    case LOG_ERR:
        return 3;
    }
    return 5;
}

void syslogger_write(struct syslogger *s, enum log_level level,
                     const char *module, const char *text)
{
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr",
                                       "May", "Jun", "Jul", "Aug",
                                       "Sep", "Oct", "Nov", "Dec"};
    char line[DATAGRAM_MAX];
    time_t now = time(NULL);
    struct tm tm;

    localtime_r(&now, &tm);
    int n = snprintf(
        line, sizeof line, "<%d>%s %2d %02d:%02d:%02d muster[%d]: %s: %s",
        s->facility * 8 + priority(level), months[tm.tm_mon], tm.tm_mday,
        tm.tm_hour, tm.tm_min, tm.tm_sec, getpid(), module, text);
    size_t size = n < 0                     ? 0
                  : (size_t)n < sizeof line ? (size_t)n
                                            : sizeof line - 1;
    if (sendto(s->fd, line, size, MSG_NOSIGNAL, (const struct sockaddr *)&s->to,
               sizeof s->to) < 0)
        metric_add(METRIC_LOG_LOST, 1);
}
