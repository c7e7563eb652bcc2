/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* mirror_stream - whatever a stream says, cut at the place that the first two
 * bytes say, the mirror refuses it in words or keeps a catalog whose revision is
 * its own and never falls; another connection and an end find nothing amiss. */
#include <stdio.h>
#include <stdlib.h>

#include "mirror/mirror.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "mirror_stream: %s\n", what);
    abort();
}

struct side {
    struct pin_domain pins;
    struct catalog *catalog;
    struct mirror *mirror;
    uint64_t revision;
};

static void committed(void *ctx)
{
    struct side *s = ctx;
    uint64_t now = snapshot_revision(catalog_current(s->catalog));

    must(now >= s->revision, "the revision falls");
    s->revision = now;
}

static void begin(struct side *s)
{
    struct buf target = {0};
    uint64_t id;

    *s = (struct side){0};
    pin_init(&s->pins);
    s->catalog = catalog_new(&s->pins);
    s->mirror = mirror_new(
        s->catalog, &(struct mirror_events){.committed = committed, .ctx = s});
    must(s->mirror != NULL, "no memory");
    must(mirror_want(s->mirror, MIRROR_NODE, bytes_str("n")) == ERR_OK &&
             mirror_want(s->mirror, MIRROR_NODE_CHECKS, bytes_str("n")) ==
                 ERR_OK &&
             mirror_want(s->mirror, MIRROR_SERVICE, bytes_str("web")) == ERR_OK,
         "a subscription is refused");
    mirror_connect(s->mirror, &target, &id);
    must(id == 0, "an id of nothing");
    buf_fini(&target);
}

static enum err run(struct side *s, struct bytes all, size_t cut)
{
    struct errtext t = {""};
    enum err e = mirror_push(s->mirror, bytes_head(all, cut), &t);

    if (e == ERR_OK)
        e = mirror_push(s->mirror, bytes_skip(all, cut), &t);
    must(e == ERR_OK || t.s[0], "refused without a word");
    must(mirror_revision(s->mirror) == s->revision, "two revisions");
    return e;
}

static void end(struct side *s)
{
    struct buf target = {0};
    uint64_t id;

    mirror_connect(s->mirror, &target, &id);
    must(id == 0 || id == s->revision, "an id of another revision");
    buf_fini(&target);
    mirror_free(s->mirror);
    catalog_free(s->catalog);
    pin_fini(&s->pins);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct side one, two;

    if (n < 2)
        return 0;
    struct bytes all = bytes_of(data + 2, n - 2);
    size_t cut = all.n ? ((size_t)data[0] << 8 | data[1]) % all.n : 0;
    begin(&one);
    begin(&two);
    enum err e = run(&one, all, 0);
    must(run(&two, all, cut) == e, "the cut changes what is taken");
    must(one.revision == two.revision, "the cut changes the revision");
    const struct snapshot *a = catalog_current(one.catalog);
    const struct snapshot *b = catalog_current(two.catalog);
    must(snapshot_instance_count(a) == snapshot_instance_count(b) &&
             snapshot_check_count(a) == snapshot_check_count(b),
         "the cut changes the catalog");
    end(&one);
    end(&two);
    return 0;
}
