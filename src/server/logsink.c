/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/logsink.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "http/json_out.h"
#include "server/syslogger.h"

static struct {
    bool json;
    struct logfile *file;     /* NULL: none */
    struct syslogger *syslog; /* NULL: none */
} sink;

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

/* A log that cannot be written is no reason to stop serving. One write per line:
 * lines of several threads do not mix (pipes take up to PIPE_BUF at once). */
static void put_out(struct bytes line)
{
    while (line.n > 0) {
        ssize_t n = write(STDOUT_FILENO, line.p, line.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        line = bytes_skip(line, (size_t)n);
    }
}

static void format(struct buf *b, enum log_level level, const char *module,
                   const char *text)
{
    struct logsink_line l = {.level = level, .module = module, .text = text};

    buf_init(b, 64 * 1024);
    logsink_stamp(&l);
    logsink_format(b, &l, sink.json);
}

static void write_line(void *ctx, enum log_level level, const char *module,
                       const char *text)
{
    struct errtext t = {{0}};
    struct timespec now;
    struct buf b;

    (void)ctx;
    format(&b, level, module, text);
    put_out(buf_bytes(&b));
    if (sink.syslog)
        syslogger_write(sink.syslog, level, module, text);
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t now_ms =
        (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    if (sink.file &&
        logfile_write(sink.file, buf_bytes(&b), now_ms, &t) != ERR_OK) {
        buf_fini(&b);
        format(&b, LOG_ERR, "log", t.s);
        put_out(buf_bytes(&b));
    }
    buf_fini(&b);
}

enum err logsink_start(const struct logsink_options *o, struct errtext *t)
{
    enum err e = ERR_OK;

    sink.json = o->json;
    if (o->file.path)
        e = logfile_open(&o->file, &sink.file, t);
    if (e == ERR_OK && o->syslog_path)
        e = syslogger_open(o->syslog_path, o->syslog_facility, &sink.syslog, t);
    if (e == ERR_OK)
        log_set_sink(write_line, NULL);
    return e;
}
