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

static size_t stamp(char *out, size_t n)
{
    struct timespec t;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &tm);
    size_t at = strftime(out, n, "%Y-%m-%dT%H:%M:%S", &tm);
    at += (size_t)snprintf(out + at, n - at, ".%03ldZ", t.tv_nsec / 1000000);
    return at;
}

static void text_line(struct buf *b, enum log_level level, const char *module,
                      const char *text)
{
    char when[40];
    stamp(when, sizeof when);
    char tag[16];
    snprintf(tag, sizeof tag, "[%s]", log_level_name(level));
    buf_printf(b, "%s %-7s %s: %s\n", when, tag, module, text);
}

static void json_line(struct buf *b, enum log_level level, const char *module,
                      const char *text)
{
    char when[40], lower[16];
    size_t n = stamp(when, sizeof when);
    size_t i = 0;
    for (const char *p = log_level_name(level); *p && i + 1 < sizeof lower; p++)
        lower[i++] = (char)(*p | 0x20);
    struct json_out j = json_out(b);
    json_open(&j, '{');
    json_key(&j, "@level");
    json_str(&j, bytes_of(lower, i));
    json_key(&j, "@message");
    json_str(&j, bytes_str(text));
    json_key(&j, "@module");
    json_str(&j, bytes_str(module));
    json_key(&j, "@timestamp");
    json_str(&j, bytes_of(when, n));
    json_close(&j, '}');
    buf_putc(b, '\n');
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
    if (sink_json)
        json_line(&b, level, module, text);
    else
        text_line(&b, level, module, text);
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
