/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* client_feed - an event stream cut at the place that the first two bytes say
 * gives what it gives in one piece, or is refused as it is; what it gives is a
 * list. */
#include <stdio.h>
#include <stdlib.h>

#include "client/feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "client_feed: %s\n", what);
    abort();
}

static enum err run(struct feed *f, struct bytes all, size_t cut)
{
    struct errtext t = {""};

    client_feed_init(f);
    enum err e = client_feed_push(f, bytes_head(all, cut), &t);
    if (e == ERR_OK)
        e = client_feed_push(f, bytes_skip(all, cut), &t);
    must(e == ERR_OK || t.s[0], "refused without a word");
    return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct feed one, two;
    struct roster *r = NULL;

    if (n < 2)
        return 0;
    struct bytes all = bytes_of(data + 2, n - 2);
    size_t cut = all.n ? ((size_t)data[0] << 8 | data[1]) % all.n : 0;
    enum err e = run(&one, all, 0);
    must(run(&two, all, cut) == e, "the cut changes what is taken");
    must(one.id == two.id && one.whole == two.whole &&
             one.entries.n == two.entries.n,
         "the cut changes the list");
    if (e == ERR_OK && one.whole) {
        must(client_feed_roster(&one, &r) == ERR_OK, "no list");
        must(r->n + r->skipped == one.entries.n, "instances are missing");
        roster_free(r);
    }
    client_feed_fini(&one);
    client_feed_fini(&two);
    return 0;
}
