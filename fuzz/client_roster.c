/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* client_roster - what a registry or a file may hold. The first byte says which:
 * an answer that is taken comes back from the disk as it was; a file whose
 * checksum is made right (or it would never get far) is taken or refused, and
 * what is taken is written as it was read. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/roster.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "client_roster: %s\n", what);
    abort();
}

static const struct roster_label label = {.query = {"/q", 2}, .token_hash = 5};

static struct roster *there_and_back(const struct roster *r, struct buf *out)
{
    struct roster_label l = label;
    struct roster *back = NULL;

    roster_put(out, r, &l);
    must(!out->bad, "memory");
    must(roster_get(buf_bytes(out), &l, &back) == ERR_OK,
         "what was written is not read");
    return back;
}

static void same(const struct roster *a, const struct roster *b)
{
    must(a->n == b->n, "another number of instances");
    for (size_t i = 0; i < a->n; i++) {
        const struct roster_entry *x = &a->v[i], *y = &b->v[i];
        must(bytes_eq(x->node, y->node) && bytes_eq(x->id, y->id) &&
                 bytes_eq(x->address, y->address) &&
                 bytes_eq(x->zone, y->zone) && x->port == y->port &&
                 x->weight == y->weight && x->critical == y->critical &&
                 x->priority == y->priority && x->out == y->out,
             "an instance is not what it was");
    }
}

static void answer(struct bytes body)
{
    struct roster *r = NULL, *empty = NULL, *kept = NULL;
    struct errtext t = {""};

    if (roster_parse(body, &r, &t) != ERR_OK) {
        must(t.s[0] != '\0', "refused without a word");
        return;
    }
    struct buf out;
    buf_init(&out, 0);
    struct roster *back = there_and_back(r, &out);
    same(r, back);
    must(roster_parse(bytes_str("[]"), &empty, &t) == ERR_OK, "[]");
    must(roster_follow(r, empty, ROSTER_DOUBTFUL, 1, 1000, &kept) == ERR_OK,
         "follow");
    must(kept->held <= r->n && kept->n == kept->held, "kept too many");
    roster_free(kept);
    roster_free(back);
    roster_free(r);
    buf_fini(&out);
}

/* The input is what follows the checksum. */
static void file(struct bytes rest)
{
    struct roster_label l = label;
    struct roster *r = NULL;
    struct buf in, out;

    buf_init(&in, 0);
    buf_puts(&in, "muster list 2\n");
    buf_be64(&in, bytes_hash(rest, 0));
    buf_lp(&in, bytes_of("", 0)); /* datacenter */
    buf_lp(&in, label.query);
    buf_lp(&in, bytes_of("c", 1)); /* cluster */
    buf_be64(&in, label.token_hash);
    buf_be64(&in, 1);
    buf_be64(&in, 2);
    buf_put(&in, rest);
    uint64_t sum = bytes_hash(bytes_skip(buf_bytes(&in), 14 + 8), 0);
    for (size_t i = 0; i < 8; i++)
        in.p[14 + i] = (char)(sum >> (56 - 8 * i));
    if (roster_get(buf_bytes(&in), &l, &r) == ERR_OK) {
        must(l.saved_ms == 1 && l.index == 2 && bytes_is(l.cluster, "c"),
             "the label");
        buf_init(&out, 0);
        roster_put(&out, r, &l);
        must(bytes_eq(buf_bytes(&in), buf_bytes(&out)),
             "not written as it was read");
        buf_fini(&out);
        roster_free(r);
    }
    buf_fini(&in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0)
        return 0;
    struct bytes rest = bytes_of(data + 1, n - 1);
    if (data[0] & 1)
        file(rest);
    else
        answer(rest);
    return 0;
}
