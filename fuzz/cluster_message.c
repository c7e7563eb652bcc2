/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What servers say to each other, what etcd says to its server, and the record in
 * the data directory. The first byte chooses which. Properties: what is taken has
 * IDs, names, addresses and ports that can be used, within bounds; a record that is
 * taken and written back reads the same. */
#include <stdlib.h>
#include <string.h>

#include "cluster/impl.h"

enum { HELLO, JOINER, PROPOSAL, JOINED, RECORD, MEMBERS, STATUS, WHY, KINDS };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void need(bool x)
{
    if (!x)
        abort();
}

static void check_server(const struct set_server *s)
{
    need(bytes_uuid(bytes_str(s->id)));
    need(s->node[0] && s->address[0]);
    need(s->peer_port > 0 && s->server_port > 0);
    need(!strpbrk(s->address, " /,=\"\\"));
}

static void try_hello(struct bytes in, struct arena *a)
{
    struct hello h;
    struct errtext t;

    if (hello_read(in, a, &h, &t) != ERR_OK)
        return;
    need(bytes_uuid(h.id) && h.node.n > 0);
    need(h.sees_count <= GATHER_SEEN_MAX);
    for (size_t i = 0; i < h.sees_count; i++)
        check_server(&h.sees[i]);
}

static void try_proposal(struct bytes in, struct arena *a)
{
    struct proposal p;
    struct errtext t;

    if (proposal_read(in, a, &p, &t) != ERR_OK)
        return;
    need(bytes_uuid(p.token) && bytes_uuid(p.proposer));
    need(p.set_count <= GATHER_EXPECT_MAX);
    for (size_t i = 0; i < p.set_count; i++)
        check_server(&p.set[i]);
}

static void try_record(struct bytes in)
{
    static struct record first, second;
    struct buf out = {0};
    struct errtext t;

    memset(&first, 0, sizeof first);
    memset(&second, 0, sizeof second);
    if (record_from(in, &first, &t) != ERR_OK)
        return;
    record_put(&out, &first);
    need(record_from(buf_bytes(&out), &second, &t) == ERR_OK);
    need(first.state == second.state && first.ran == second.ran);
    need(strcmp(first.initial, second.initial) == 0);
    need(strcmp(first.node, second.node) == 0);
    need(first.set_count == second.set_count);
    for (size_t i = 0; i < first.set_count; i++) {
        check_server(&first.set[i]);
        need(strcmp(first.set[i].id, second.set[i].id) == 0);
    }
    buf_fini(&out);
}

static void try_etcd(unsigned kind, struct bytes in, struct arena *a)
{
    static struct etcd_state s;
    struct bytes why;

    if (kind == MEMBERS && members_read(in, &s) == ERR_OK)
        for (size_t i = 0; i < s.count; i++)
            need(s.members[i].member != 0 &&
                 strlen(s.members[i].url) < sizeof s.members[i].url);
    if (kind == STATUS)
        (void)!status_read(in, &s);
    why = etcd_why(in, a);
    need(why.n > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct bytes in = bytes_of(data, n), token, initial;
    struct joiner j;
    struct errtext t;
    struct arena a;

    if (n == 0)
        return 0;
    unsigned kind = data[0] % KINDS;
    in = bytes_skip(in, 1);
    arena_init(&a, 4 << 20);
    if (kind == HELLO)
        try_hello(in, &a);
    else if (kind == JOINER)
        (void)!joiner_read(in, &a, &j, &t);
    else if (kind == PROPOSAL)
        try_proposal(in, &a);
    else if (kind == JOINED &&
             joined_read(in, &a, &token, &initial, &t) == ERR_OK)
        need(bytes_uuid(token) && initial.n > 0 && initial.n < INITIAL_MAX);
    else if (kind == RECORD)
        try_record(in);
    else
        try_etcd(kind, in, &a);
    arena_fini(&a);
    return 0;
}
