/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/logsink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "http/json_out.h"

static int sink_fd = STDOUT_FILENO;
static bool sink_json;

void logsink_stamp(struct logsink_line *l)
{
    struct timespec t;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &tm);
    size_t at = strftime(l->when, sizeof l->when, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(l->when + at, sizeof l->when - at, ".%03ldZ", t.tv_nsec / 1000000);
}

static void text_line(struct buf *b, const struct logsink_line *l)
{
    char tag[16];
    snprintf(tag, sizeof tag, "[%s]", log_level_name(l->level));
    buf_printf(b, "%s %-7s %s: %s\n", l->when, tag, l->module, l->text);
}

static void json_line(struct buf *b, const struct logsink_line *l)
{
    char lower[16];
    size_t i = 0;
    for (const char *p = log_level_name(l->level); *p && i + 1 < sizeof lower;
         p++)
        lower[i++] = (char)(*p | 0x20);
    struct json_out j = json_out(b);
    json_open(&j, '{');
    json_key(&j, "@level");
    json_str(&j, bytes_of(lower, i));
    json_key(&j, "@message");
    json_str(&j, bytes_str(l->text));
    json_key(&j, "@module");
    json_str(&j, bytes_str(l->module));
    json_key(&j, "@timestamp");
    json_str(&j, bytes_str(l->when));
    json_close(&j, '}');
    buf_putc(b, '\n');
}

void logsink_format(struct buf *out, const struct logsink_line *l, bool json)
{
    if (json)
        json_line(out, l);
    else
        text_line(out, l);
}

/* One write per line: lines of several threads do not mix (pipes take up to
 * PIPE_BUF at once, files opened with O_APPEND whole). A log that cannot be
 * written is no reason to stop serving. */
static void sink(void *ctx, enum log_level level, const char *module,
                 const char *text)
{
    (void)ctx;
    struct buf b;
    buf_init(&b, 64 * 1024);
    struct logsink_line l = {.level = level, .module = module, .text = text};
    logsink_stamp(&l);
    logsink_format(&b, &l, sink_json);
    size_t at = 0;
    while (at < b.n) {
        ssize_t n = write(sink_fd, b.p + at, b.n - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    buf_fini(&b);
}

enum err logsink_start(const char *path, bool json, struct errtext *t)
{
    sink_json = json;
    if (path) {
        int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
        if (fd < 0) {
            errtext_set(t, "log_file %s: %s", path, strerror(errno));
            return ERR_IO;
        }
        sink_fd = fd;
    }
    log_set_sink(sink, NULL);
    return ERR_OK;
}
