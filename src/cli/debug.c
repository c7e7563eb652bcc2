/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* debug: records what is needed to find a fault.
 *
 * An archive is a POSIX.1-1988 tar (ustar) within gzip: for each file a block
 * of 512 bytes that describes it, its content filled up to whole blocks; two
 * empty blocks at the end. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <zlib.h>

#include "cli/impl.h"
#include "http/json_out.h"

enum {
    BLOCK = 512,
    LOG_BYTES_MAX = 32 << 20, /* of one interval */
    NAME_MAX_BYTES = 100,     /* of a name in an archive */
};

struct recording {
    struct cli *cli;
    const char *output; /* without .tar.gz */
    const char *base;   /* its last part: the folder within the archive */
    gzFile archive;     /* NULL: files are written into the folder `output` */
    struct buf log;
    bool log_cut;
    bool failed; /* something could not be written: it was printed */
};

/* --- Writing -------------------------------------------------------------- */

static void cannot_write(struct recording *r, const char *path)
{
    if (!r->failed)
        (void)cli_fail(r->cli, "%s: cannot be written: %s", path,
                       errno ? strerror(errno) : "no space");
    r->failed = true;
}

static void put_block(struct recording *r, const void *p, size_t n)
{
    static const char zeros[BLOCK];
    size_t rest = (BLOCK - n % BLOCK) % BLOCK;

    errno = 0;
    if ((n && gzfwrite(p, n, 1, r->archive) != 1) ||
        (rest && gzfwrite(zeros, rest, 1, r->archive) != 1))
        cannot_write(r, r->output);
}

static void put_entry(struct recording *r, const char *name, struct bytes text)
{
    struct {
        char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8];
        char type, link[100], magic[8], rest[247];
    } head = {.type = '0',
              .magic = "ustar\0"
                       "00"};
    unsigned sum = 0;

    _Static_assert(sizeof head == BLOCK, "a tar header is one block");
    (void)snprintf(head.name, sizeof head.name, "%.40s/%.58s", r->base, name);
    memcpy(head.mode, "0000600", 8);
    memcpy(head.uid, "0000000", 8);
    memcpy(head.gid, "0000000", 8);
    (void)snprintf(head.size, sizeof head.size, "%011zo", text.n);
    (void)snprintf(head.mtime, sizeof head.mtime, "%011llo",
                   (unsigned long long)time(NULL));
    memset(head.sum, ' ', sizeof head.sum);
    for (size_t i = 0; i < sizeof head; i++)
        sum += ((const unsigned char *)&head)[i];
    (void)snprintf(head.sum, sizeof head.sum, "%06o", sum);
    put_block(r, &head, sizeof head);
    put_block(r, text.p, text.n);
}

static void put_file(struct recording *r, const char *name, struct bytes text)
{
    const char *path = arena_printf(&r->cli->arena, "%s/%s", r->output, name);
    const char *slash = strchr(name, '/');

    if (slash)
        (void)mkdir(arena_printf(&r->cli->arena, "%s/%.*s", r->output,
                                 (int)(slash - name), name),
                    0700); /* there, or fopen says why not */
    FILE *f = fopen(path, "wb");
    bool ok = f && fwrite(text.p, 1, text.n, f) == text.n;
    if (f && fclose(f) != 0)
        ok = false;
    if (!ok)
        cannot_write(r, path);
}

static void put(struct recording *r, const char *name, struct bytes text)
{
    if (r->archive)
        put_entry(r, name, text);
    else
        put_file(r, name, text);
}

static bool open_output(struct recording *r)
{
    struct cli *c = r->cli;
    const char *path = cli_text(c, "output");

    if (!path)
        path =
            arena_printf(&c->arena, "muster-debug-%lld", (long long)time(NULL));
    struct bytes b = bytes_str(path);
    if (bytes_ends(b, bytes_str(".tar.gz")))
        path = arena_str(&c->arena, bytes_head(b, b.n - strlen(".tar.gz")));
    const char *slash = strrchr(path, '/');
    r->output = path;
    r->base = slash ? slash + 1 : path;
    if (!cli_on(c, "archive")) {
        if (mkdir(path, 0700) == 0)
            return true;
    } else {
        r->output = arena_printf(&c->arena, "%s.tar.gz", path);
        r->archive = gzopen(r->output, "wbex"); /* never over another file */
        if (r->archive)
            return true;
    }
    (void)cli_fail(c, "%s: cannot be made: %s", r->output, strerror(errno));
    return false;
}

static void close_output(struct recording *r)
{
    static const char end[2 * BLOCK];

    if (!r->archive)
        return;
    put_block(r, end, sizeof end);
    errno = 0;
    if (gzclose(r->archive) != Z_OK)
        cannot_write(r, r->output);
}

/* --- Recording ------------------------------------------------------------ */

static bool wants(const struct cli *c, const char *what)
{
    const char *v;
    size_t at = 0;
    bool any = false;
    while ((v = cli_next(c, "capture", &at))) {
        if (strcmp(v, what) == 0)
            return true;
        any = true;
    }
    return !any;
}

/* A route's answer as a file; what cannot be had is told and left out. */
static void record(struct recording *r, const char *what, const char *path,
                   const char *name)
{
    if (wants(r->cli, what) && cli_get(r->cli, path))
        put(r, name, bytes_of(r->cli->reply, r->cli->reply_n));
}

static void keep_log(void *ctx, struct bytes piece)
{
    struct recording *r = ctx;
    size_t room = LOG_BYTES_MAX - r->log.n;
    r->log_cut = r->log_cut || piece.n > room;
    buf_put(&r->log, bytes_head(piece, room));
}

static uint64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Until end_ms; true: told to stop. */
static bool record_log(struct recording *r, const char *name, uint64_t end_ms)
{
    struct cli_path path = cli_path("/v1/agent/monitor?loglevel=debug");
    uint64_t now = now_ms();

    buf_reset(&r->log);
    enum cli_end end =
        cli_stream(r->cli, path, end_ms > now ? end_ms - now : 1, keep_log, r);
    put(r, name, buf_bytes(&r->log));
    if (end == CLI_END_STOPPED || end == CLI_END_TIME)
        return end == CLI_END_STOPPED;
    now = now_ms();
    return end_ms > now && cli_pause(r->cli, end_ms - now);
}

static bool record_interval(struct recording *r, uint64_t end_ms)
{
    struct arena *a = &r->cli->arena;
    struct timespec t;

    (void)clock_gettime(CLOCK_REALTIME, &t);
    /* In milliseconds: two of one second must not have one name. */
    long long at = (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
    record(r, "metrics", "/v1/agent/metrics",
           arena_printf(a, "%lld/metrics.json", at));
    if (wants(r->cli, "logs"))
        return record_log(r, arena_printf(a, "%lld/muster.log", at), end_ms);
    uint64_t now = now_ms();
    return end_ms > now && cli_pause(r->cli, end_ms - now);
}

static void record_index(struct recording *r, bool stopped)
{
    static const char *const all[] = {"agent", "cluster", "host", "logs",
                                      "metrics"};
    struct buf b;
    buf_init(&b, 0);
    struct json_out j = json_out(&b);
    json_open(&j, '{');
    json_key(&j, "version");
    json_u64(&j, 1);
    json_key(&j, "agent_version");
    json_str(&j, bytes_str(MUSTER_VERSION));
    json_key(&j, "interval");
    json_str(&j, bytes_str(cli_text(r->cli, "interval")));
    json_key(&j, "duration");
    json_str(&j, bytes_str(cli_text(r->cli, "duration")));
    json_key(&j, "targets");
    json_open(&j, '[');
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (wants(r->cli, all[i]))
            json_str(&j, bytes_str(all[i]));
    json_close(&j, ']');
    json_key(&j, "ended_early");
    json_bool(&j, stopped);
    json_key(&j, "log_cut");
    json_bool(&j, r->log_cut);
    json_close(&j, '}');
    put(r, "index.json", buf_bytes(&b));
    buf_fini(&b);
}

int cli_debug(struct cli *c)
{
    struct recording r = {.cli = c};
    uint64_t interval = cli_duration_ms(c, "interval");
    uint64_t duration = cli_duration_ms(c, "duration");
    bool stopped = false;

    if (interval > duration)
        interval = duration;
    if (!cli_get(c, "/v1/agent/self") || !open_output(&r))
        return 1;
    buf_init(&r.log, LOG_BYTES_MAX + 1);
    printf("Recording for %s, metrics every %s, into %s (SIGINT ends it)\n",
           cli_text(c, "duration"), cli_text(c, "interval"), r.output);
    fflush(stdout);
    cli_catch_signals(c);
    record(&r, "agent", "/v1/agent/self", "agent.json");
    record(&r, "host", "/v1/agent/host", "host.json");
    record(&r, "cluster", "/v1/agent/members", "cluster.json");
    uint64_t from = now_ms(), end = from + duration;
    for (uint64_t at = from; at < end && !stopped && !r.failed; at += interval)
        stopped =
            record_interval(&r, at + interval < end ? at + interval : end);
    record_index(&r, stopped);
    close_output(&r);
    buf_fini(&r.log);
    if (!r.failed)
        printf("Saved: %s\n", r.output);
    return r.failed ? 1 : 0;
}
