/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What the own etcd tells of itself and of the other members, through its JSON
 * gateway: int64 are strings of digits there, what is zero is left out. */
#include <stdio.h>
#include <string.h>

#include "cluster/impl.h"
#include "http/json_in.h"

#define FIELD(type, name, kind, member)                                        \
    {                                                                          \
        name, NULL, kind, offsetof(struct type, member), NULL, JSON_NO_FLAG    \
    }
#define OF(type, name, kind, member, table)                                    \
    {                                                                          \
        name, NULL, kind, offsetof(struct type, member), &(table),             \
            JSON_NO_FLAG                                                       \
    }
#define TABLE(fields, type)                                                    \
    {                                                                          \
        fields, sizeof(fields) / sizeof(fields)[0], sizeof(struct type)        \
    }

struct header_in {
    struct bytes cluster, member, term;
};

static const struct json_field header_fields[] = {
    FIELD(header_in, "cluster_id", FIELD_STRING, cluster),
    FIELD(header_in, "member_id", FIELD_STRING, member),
    FIELD(header_in, "raft_term", FIELD_STRING, term),
};
static const struct json_table header_table = TABLE(header_fields, header_in);

struct member_in {
    struct bytes id, name;
    struct json_strings peers, clients;
    bool learner;
};

static const struct json_field member_fields[] = {
    FIELD(member_in, "ID", FIELD_STRING, id),
    FIELD(member_in, "name", FIELD_STRING, name),
    FIELD(member_in, "peerURLs", FIELD_STRINGS, peers),
    FIELD(member_in, "clientURLs", FIELD_STRINGS, clients),
    FIELD(member_in, "isLearner", FIELD_BOOL, learner),
};
static const struct json_table member_table = TABLE(member_fields, member_in);

struct members_in {
    struct header_in *header;
    struct json_list members;
};

static const struct json_field members_fields[] = {
    OF(members_in, "header", FIELD_OBJECT, header, header_table),
    OF(members_in, "members", FIELD_LIST, members, member_table),
};
static const struct json_table members_table =
    TABLE(members_fields, members_in);

struct status_in {
    struct header_in *header;
    struct bytes leader, index, term, size, used;
    bool learner;
};

static const struct json_field status_fields[] = {
    OF(status_in, "header", FIELD_OBJECT, header, header_table),
    FIELD(status_in, "leader", FIELD_STRING, leader),
    FIELD(status_in, "raftIndex", FIELD_STRING, index),
    FIELD(status_in, "raftTerm", FIELD_STRING, term),
    FIELD(status_in, "dbSize", FIELD_STRING, size),
    FIELD(status_in, "dbSizeInUse", FIELD_STRING, used),
    FIELD(status_in, "isLearner", FIELD_BOOL, learner),
};
static const struct json_table status_table = TABLE(status_fields, status_in);

static uint64_t number(struct bytes v)
{
    uint64_t n = 0;

    return bytes_u64(v, &n) == ERR_OK ? n : 0;
}

static void header_take(const struct header_in *h, struct etcd_state *ret)
{
    if (!h)
        return;
    ret->cluster = number(h->cluster);
    ret->self = number(h->member);
}

/* Its clients' URL is where its server listens for peers (child.c). */
static bool member_take(const struct member_in *in, struct etcd_member *ret)
{
    struct bytes http = bytes_str("http://");

    *ret =
        (struct etcd_member){.member = number(in->id), .learner = in->learner};
    if (in->peers.n == 0 ||
        !text_take(ret->url, sizeof ret->url, in->peers.v[0]))
        return false;
    if (bytes_uuid(in->name))
        (void)text_take(ret->id, sizeof ret->id, in->name);
    if (in->clients.n && bytes_starts(in->clients.v[0], http))
        (void)text_take(ret->peer, sizeof ret->peer,
                        bytes_skip(in->clients.v[0], http.n));
    return ret->member != 0;
}

enum err members_read(struct bytes text, struct etcd_state *ret)
{
    struct members_in in;
    struct errtext t;
    struct arena a;

    arena_init(&a, 1 << 20);
    enum err e = json_decode(text, &members_table, &in, &a, &t);
    const struct member_in *v = e == ERR_OK ? in.members.v : NULL;
    if (e == ERR_OK && in.members.n > CLUSTER_MEMBERS_MAX)
        e = ERR_LIMIT;
    if (e == ERR_OK) {
        header_take(in.header, ret);
        ret->count = 0;
        for (size_t i = 0; i < in.members.n; i++)
            if (member_take(&v[i], &ret->members[ret->count]))
                ret->count++;
    }
    arena_fini(&a);
    return e;
}

enum err status_read(struct bytes text, struct etcd_state *ret)
{
    struct status_in in;
    struct errtext t;
    struct arena a;

    arena_init(&a, 1 << 20);
    enum err e = json_decode(text, &status_table, &in, &a, &t);
    if (e == ERR_OK) {
        header_take(in.header, ret);
        ret->leader = number(in.leader);
        ret->index = number(in.index);
        ret->term = number(in.term);
        ret->size = number(in.size);
        ret->used = number(in.used);
        ret->is_learner = in.learner;
    }
    arena_fini(&a);
    return e;
}

struct why_in {
    struct bytes error, message; /* etcd up to 3.5; from 3.6 on */
};

static const struct json_field why_fields[] = {
    FIELD(why_in, "error", FIELD_STRING, error),
    FIELD(why_in, "message", FIELD_STRING, message),
};
static const struct json_table why_table = TABLE(why_fields, why_in);

struct bytes etcd_why(struct bytes text, struct arena *a)
{
    struct why_in in;
    struct errtext t;

    if (json_decode(text, &why_table, &in, a, &t) == ERR_OK) {
        if (in.error.n)
            return in.error;
        if (in.message.n)
            return in.message;
    }
    return bytes_str("no reason was given");
}
