/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* cluster - several servers that keep their own store: finds the others, agrees
 * with them on who begins (duty/gather.h), starts an etcd on this host and
 * watches over it, takes in new servers, lets go of lost ones.
 *
 *     gathering -> locked -> starting <-> member        removed
 *         \________ joins ___/                (by somebody: its etcd is over)
 *
 * What must outlive a crash stands in data_dir/cluster.json (record.c), etcd's
 * files in data_dir/etcd. The store talks to the own etcd only, on a unix socket
 * in there; members of the store talk to each other on server_port, by TLS with
 * certificates made out of the shared secret (loop/tls_issue.h).
 *
 * One loop thread. Times in ms. Everything asked of others has a deadline. */
#ifndef CLUSTER_CLUSTER_H
#define CLUSTER_CLUSTER_H

#include "base/buf.h"
#include "base/list.h"
#include "loop/joins.h"
#include "loop/peer.h"
#include "loop/timers.h"

enum {
    CLUSTER_MEMBERS_MAX = 32,
    CLUSTER_PROTOCOL = 1,
};

/* Strings stay. */
struct cluster_options {
    const char *node_id, *node_name, *datacenter, *version;
    const char *bind_addr, *address; /* where others reach this server */
    int peer_port, server_port;
    const char *data_dir;
    struct bytes secret;       /* empty: no encryption */
    const struct tls_psk *psk; /* of it; NULL without */
    const char *const *join;
    size_t join_count;
    struct joins_rule join_rule; /* of a server without data */
    void (*give_up)(void *ctx, const char *why);
    uint64_t expect;
    uint64_t quota; /* bytes of etcd's file */
    bool alone;     /* a server that wants to be alone: only refused here */

    /* Something of the view has changed. */
    void (*changed)(void *ctx);
    /* The name of the node with this ID, if anybody knows. */
    bool (*node_of)(void *ctx, struct bytes id, char *ret, size_t n);
    void *ctx;
};

struct cluster_server {
    char id[40], node[256], address[256];
    char version[40]; /* of the API; empty: not heard of */
    char muster_version[40];
    uint64_t member; /* etcd's number of it; 0: none yet */
    uint16_t peer_port, server_port;
    bool self, leader, voter, alive;
    uint64_t contact_ms;
    uint64_t store_index, store_term;
    uint64_t store_size, store_used; /* bytes of its file, and of it in use */
    uint64_t disk_free; /* bytes where that is; 0: none, or not known */
    bool disk_full;     /* for want of which its etcd ended */
};

struct cluster_view {
    bool fresh;
    const char *phase;
    char id[20], token[40]; /* of the store, in hex; of the first set */
    uint64_t expect;
    uint64_t store_index, store_term;
    uint64_t store_size, store_used, disk_free;
    bool disk_full;
    size_t count;
    struct cluster_server servers[CLUSTER_MEMBERS_MAX];
};

struct cluster;

/* Is there a cluster's record in this folder? */
bool cluster_is_in(const char *data_dir);

/* Reads what there is. ERR_BAD: it is another server's, or does not go together
 * with the options, or etcd is not installed: t names both sides and the way
 * out; ERR_IO. */
MUST_USE enum err cluster_open(const struct cluster_options *o,
                               struct cluster **ret, struct errtext *t);

/* Where the own etcd serves. */
const char *cluster_socket(const struct cluster *c);

void cluster_start(struct cluster *c, uv_loop_t *loop);

/* Ends the etcd, which is over (killed after a while) before the loop has
 * nothing left to do; then cluster_fini. */
void cluster_stop(struct cluster *c);
void cluster_fini(struct cluster *c);

const struct cluster_view *cluster_view(const struct cluster *c);

/* --- What others and operators ask --------------------------------------- */

enum cluster_ask {
    CLUSTER_LOCK,       /* body: a proposed set */
    CLUSTER_JOIN,       /* body: a new server */
    CLUSTER_REMOVE,     /* id or address */
    CLUSTER_LEAVE,      /* 500: it stays a member, and why */
    CLUSTER_DEFRAGMENT, /* id: that server's member; empty: ours */
};

struct cluster_request {
    enum cluster_ask what;
    struct bytes body, id, address; /* stay until done */
    /* Once, now or later. 200: answer is JSON or empty; else text. */
    void (*done)(struct cluster_request *r);
    int status;
    struct errtext text;
    struct buf answer; /* the asker's to free */
    struct list link;
};

void cluster_request(struct cluster *c, struct cluster_request *r);

/* Could this server leave now, without harm to those who stay? */
MUST_USE enum err cluster_may_leave(const struct cluster *c, struct errtext *t);

#endif
