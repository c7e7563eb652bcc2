/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* snapshot save, restore, inspect. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/impl.h"
#include "http/bundle.h"

enum { SNAPSHOT_TIMEOUT_MS = 10 * 60 * 1000 };

static bool read_file(struct cli *c, const char *path, struct buf *out)
{
    FILE *f = fopen(path, "rbe");
    char piece[64 * 1024];
    size_t n;

    buf_init(out, BUNDLE_BYTES_MAX);
    if (!f) {
        (void)cli_fail(c, "%s: %s", path, strerror(errno));
        return false;
    }
    while ((n = fread(piece, 1, sizeof piece, f)) > 0)
        buf_put_n(out, piece, n);
    bool failed = ferror(f) != 0;

    (void)fclose(f);
    if (failed || out->bad) {
        (void)cli_fail(c, "%s: %s", path,
                       failed ? "cannot be read"
                              : "too large to be a snapshot");
        buf_fini(out);
        return false;
    }
    return true;
}

/* Whole or not at all. */
static bool write_file(struct cli *c, const char *path, struct bytes v)
{
    char temporary[4096];
    int n = snprintf(temporary, sizeof temporary, "%s.unverified", path);
    FILE *f =
        n > 0 && (size_t)n < sizeof temporary ? fopen(temporary, "wbe") : NULL;

    if (!f) {
        (void)cli_fail(c, "%s: %s", path, strerror(errno));
        return false;
    }
    (void)fchmod(fileno(f), 0600);
    bool ok = fwrite(v.p, 1, v.n, f) == v.n && fflush(f) == 0 &&
              fsync(fileno(f)) == 0;
    ok = fclose(f) == 0 && ok && rename(temporary, path) == 0;
    if (!ok) {
        (void)cli_fail(c, "%s: %s", path, strerror(errno));
        (void)unlink(temporary);
    }
    return ok;
}

int cli_snapshot_save(struct cli *c)
{
    struct errtext t = {{0}};
    struct bundle b;

    if (!cli_ask(c, "GET", cli_path("/v1/snapshot"), (struct bytes){0},
                 SNAPSHOT_TIMEOUT_MS))
        return 1;
    if (c->status != 200) {
        (void)cli_refused(c);
        return 1;
    }
    struct bytes file = bytes_of(c->reply, c->reply_n);

    if (bundle_open(file, &b, &t) != ERR_OK)
        return cli_fail(c, "what the agent sent is damaged: %s", t.s);
    unsigned long long index = (unsigned long long)b.meta.index;

    bundle_fini(&b);
    if (!write_file(c, c->args[0], file))
        return 1;
    printf("Saved and verified snapshot to index %llu\n", index);
    return 0;
}

static bool open_file(struct cli *c, struct buf *file, struct bundle *b)
{
    struct errtext t = {{0}};

    if (!read_file(c, c->args[0], file))
        return false;
    if (bundle_open(buf_bytes(file), b, &t) == ERR_OK)
        return true;
    (void)cli_fail(c, "%s: %s", c->args[0], t.s);
    buf_fini(file);
    return false;
}

int cli_snapshot_restore(struct cli *c)
{
    struct buf file;
    struct bundle b;

    if (!open_file(c, &file, &b))
        return 1;
    bundle_fini(&b);
    bool asked = cli_ask(c, "PUT", cli_path("/v1/snapshot"), buf_bytes(&file),
                         SNAPSHOT_TIMEOUT_MS);

    buf_fini(&file);
    if (!asked)
        return 1;
    if (c->status != 200) {
        (void)cli_refused(c);
        return 1;
    }
    printf("Restored snapshot\n");
    return 0;
}

int cli_snapshot_inspect(struct cli *c)
{
    struct buf file;
    struct bundle b;

    if (!open_file(c, &file, &b))
        return 1;
    printf("ID           %.*s\n"
           "Size         %zu\n"
           "Index        %llu\n"
           "Term         2\n"
           "Version      1\n"
           "Records      %zu\n",
           BYTES_ARG(b.meta.id), b.state.n, (unsigned long long)b.meta.index,
           b.rows);
    bundle_fini(&b);
    buf_fini(&file);
    return 0;
}
