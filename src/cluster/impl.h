/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* impl - what the files of this folder share; nobody else includes it.
 *
 *   cluster.c  life, phases, the tick       record.c  what is durable
 *   ask.c      what others say of themselves (hello)
 *   lock.c     the first set                child.c   the etcd process
 *   member.c   who is in the store, as the own etcd tells
 *   change.c   servers that come and go     message.c JSON
 *   leave.c    this one goes         disk.c    is there room for etcd? */
#ifndef CLUSTER_IMPL_H
#define CLUSTER_IMPL_H

#include <uv.h>

#include "base/arena.h"
#include "base/net.h"
#include "cluster/cluster.h"
#include "duty/gather.h"

enum {
    NAMES_MS = 5000, /* until names to be joined are asked for again */
    TICK_GATHER_MS = 250,
    TICK_RUN_MS = 1000,
    HELLO_MS = 2000,     /* for an answer */
    ALIVE_MS = 4000,     /* without a hello for so long: not alive */
    CALL_MS = 5000,      /* of a change that another server, or etcd, makes */
    LONG_MS = 60 * 1000, /* of what makes etcd stand still */
    FRESH_MS = 3000, /* what somebody without data said is good for so long */
    ASKED_MAX = 64,
    INITIAL_MAX = 8192, /* bytes of --initial-cluster */
};

/* --- What is durable ------------------------------------------------------ */

enum record_state { RECORD_NONE, RECORD_LOCKED, RECORD_MEMBER };

struct set_server {
    char id[GATHER_ID_BYTES];
    char node[GATHER_NAME_BYTES], address[GATHER_NAME_BYTES];
    uint16_t peer_port, server_port;
};

struct record {
    enum record_state state;
    char node_id[GATHER_ID_BYTES], node[GATHER_NAME_BYTES], datacenter[64];
    char token[GATHER_ID_BYTES], proposer[GATHER_ID_BYTES];
    char url[320];             /* under which the own etcd is a member */
    bool existing;             /* it joins a store that there is */
    bool ran;                  /* it has taken part */
    char initial[INITIAL_MAX]; /* MEMBER: --initial-cluster */
    struct set_server set[GATHER_EXPECT_MAX];
    size_t set_count;
};

/* NONE where there is none. ERR_BAD: it is none of ours; ERR_IO. */
MUST_USE enum err record_read(const char *path, struct record *ret,
                              struct errtext *t);
/* Durable. NONE removes it. */
MUST_USE enum err record_write(const char *path, const struct record *r,
                               struct errtext *t);

/* --- Whom we ask ---------------------------------------------------------- */

struct asked {
    char to[300];
    bool given;                /* by retry_join: stays */
    bool self;                 /* it turned out to be us */
    bool useful;               /* last is of a server that belongs with us */
    bool waits;                /* a question is under way */
    bool tried;                /* one has come to an end */
    uint64_t sent_generation;  /* of the lock when it was asked */
    uint64_t heard_generation; /* of the lock that last is of */
    struct cluster *cluster;
    struct gather_server last;
    uint64_t heard_ms;
    uint64_t store_index, store_term, store_size, store_used;
    uint64_t disk_free;
    bool disk_full;
    char version[40], muster_version[40];
    char complained[200]; /* what was logged last */
};

/* --- The etcd process ----------------------------------------------------- */

struct child {
    struct cluster *cluster;
    uv_process_t process;
    uv_pipe_t err;
    int open; /* handles not closed yet */
    bool running, stopping;
    uint64_t started_ms, wait_ms;
    struct timer again, kill;
    char line[4096];
    size_t line_n;
    bool line_over;
    char last[300]; /* what it said last that was bad */
    bool removed;   /* it said that it is no member any more */
    bool no_room;   /* it said that the disk is full, and cannot go on */
};

struct disk {
    uint64_t free;  /* bytes, when it was looked at last */
    uint64_t least; /* since etcd ended */
    bool low;       /* which has been told */
    bool full;      /* etcd ended for want of room, and has not run since */
};

struct etcd_member {
    uint64_t member;          /* etcd's number */
    char id[GATHER_ID_BYTES]; /* node ID; empty: not started yet */
    char url[320];            /* its peers' URL */
    char peer[300];           /* HOST:PORT of its listener for peers */
    bool learner;
};

struct etcd_state {
    bool answered;
    uint64_t heard_ms;
    uint64_t cluster, self, leader, index, term, size, used;
    bool is_learner;
    size_t count;
    struct etcd_member members[CLUSTER_MEMBERS_MAX];
};

/* First member of what somebody's callback is to be given; goes with the
 * cluster if that never comes. */
struct owed {
    struct list link;
};

enum phase { GATHERING, LOCKED, STARTED, REMOVED };

struct cluster {
    struct cluster_options options;
    char *record_path, *folder, *socket;
    char url[320];
    struct record record;
    enum phase phase;

    uv_loop_t *loop;
    struct timers *timers;
    struct peers *peers;
    struct fetcher *etcd; /* to the own one */
    struct timer tick;
    struct child child;
    struct disk disk;
    bool stopping;

    struct joins *joins;
    uint64_t begun_ms, looked_ms;
    bool answered; /* somebody has said who he is */
    bool given_up;
    struct asked asked[ASKED_MAX];
    bool full_told; /* that there is no room for another one */
    size_t asked_count;
    uint64_t generation; /* grows with each lock and unlock */
    bool refused;        /* a member of our proposal holds another lock */
    bool pleading[GATHER_EXPECT_MAX]; /* by place in the set */
    uint64_t pause_until_ms;
    bool joining;
    char waits_for[200]; /* what was logged last of it */

    struct etcd_state store;
    bool polling;
    bool promoting;
    bool left; /* taken off the list of members, by its own wish */
    struct cluster_view view;
    struct list requests; /* under way */
    struct list owed;
    struct timers own_timers;
};

/* --- message.c: JSON of others -------------------------------------------- */

struct hello {
    struct bytes node, id, datacenter, address, phase, token, version,
        api_version, cluster_id;
    int64_t protocol, peer_port, server_port, expect, store_index, store_term,
        store_size, store_used, disk_free;
    bool server, ready, fresh, disk_full;
    struct set_server *sees;
    size_t sees_count;
};

struct joiner {
    struct bytes node, id, datacenter, address, version;
    int64_t protocol, peer_port, server_port;
};

struct proposal {
    struct bytes token, proposer, datacenter;
    int64_t expect;
    struct set_server set[GATHER_EXPECT_MAX];
    size_t set_count;
};

/* ERR_BAD, ERR_LIMIT: t. Views are the arena's. */
MUST_USE enum err hello_read(struct bytes text, struct arena *a,
                             struct hello *ret, struct errtext *t);
MUST_USE enum err joiner_read(struct bytes text, struct arena *a,
                              struct joiner *ret, struct errtext *t);
MUST_USE enum err proposal_read(struct bytes text, struct arena *a,
                                struct proposal *ret, struct errtext *t);
MUST_USE enum err joined_read(struct bytes text, struct arena *a,
                              struct bytes *ret_token,
                              struct bytes *ret_initial, struct errtext *t);
MUST_USE enum err record_from(struct bytes text, struct record *ret,
                              struct errtext *t);
/* ret->members and ids of the header; then of a status. */
MUST_USE enum err members_read(struct bytes text, struct etcd_state *ret);
MUST_USE enum err status_read(struct bytes text, struct etcd_state *ret);
/* "error" of a refusal, in the arena. */
struct bytes etcd_why(struct bytes text, struct arena *a);

void record_put(struct buf *out, const struct record *r);
void joiner_put(struct buf *out, const struct cluster *c);
void proposal_put(struct buf *out, const struct cluster *c);
void joined_put(struct buf *out, const char *token, const char *initial);

/* False: it does not fit (then it is cut). */
bool text_take(char *ret, size_t n, struct bytes v);

/* --- ask.c ---------------------------------------------------------------- */

/* NULL: no room. */
struct asked *ask_add(struct cluster *c, const char *to, bool given);
void ask_all(struct cluster *c);
struct asked *asked_by_id(struct cluster *c, const char *id);
/* Heard of lately. */
bool asked_is_new(const struct cluster *c, const struct asked *a, uint64_t ms);

/* --- lock.c --------------------------------------------------------------- */

void lock_tick(struct cluster *c);
void lock_propose(struct cluster *c, const struct gather_plan *p);
void lock_asked(struct cluster *c, struct cluster_request *r);

/* --- child.c -------------------------------------------------------------- */

void child_start(struct cluster *c);
void child_stop(struct cluster *c);
bool child_is_installed(void);
bool child_is_to_recover(const struct cluster *c);
void child_recovered(struct cluster *c);

/* --- disk.c ------------------------------------------------------------- */

void disk_tick(struct cluster *c);
/* etcd is over; no_room: it said so. */
void disk_ended(struct cluster *c, bool no_room);
void disk_runs(struct cluster *c); /* it takes part in the store */

/* --- member.c ------------------------------------------------------------- */

void member_tick(struct cluster *c);
void member_view(struct cluster *c);
const struct etcd_member *member_by_id(const struct cluster *c, const char *id);
/* POST to the own etcd; done as fetch_start's. */
MUST_USE enum err
member_call(struct cluster *c, const char *path, struct bytes body,
            void (*done)(void *ctx, const struct fetch_result *r), void *ctx);
/* The same for what takes its time. */
MUST_USE enum err
member_long_call(struct cluster *c, const char *path, struct bytes body,
                 void (*done)(void *ctx, const struct fetch_result *r),
                 void *ctx);
bool member_name(const struct cluster *c, const struct etcd_member *m,
                 char *ret, size_t n);
bool member_is_alive(const struct cluster *c, const struct etcd_member *m);

/* --- change.c ------------------------------------------------------------- */

void change_join(struct cluster *c, struct cluster_request *r);
void change_remove(struct cluster *c, struct cluster_request *r);
void change_defragment(struct cluster *c, struct cluster_request *r);
/* This server, without data, asks a member to take it in. */
void change_enter(struct cluster *c, const struct gather_server *whom);

/* Reaches the store, and has a voice in it. */
bool change_takes_part(const struct cluster *c);
/* Would those who are left, and there, be a majority of those who are left? */
bool change_majority_without(const struct cluster *c,
                             const struct etcd_member *gone, size_t *ret_there,
                             size_t *ret_voters);

/* --- leave.c -------------------------------------------------------------- */

void leave_asked(struct cluster *c, struct cluster_request *r);
void leave_forget(struct cluster *c); /* its etcd is over */

/* --- cluster.c ------------------------------------------------------------ */

void *owed_new(struct cluster *c, size_t n); /* zeroed */
void owed_free(struct owed *o);
void request_done(struct cluster *c, struct cluster_request *r, int status,
                  const char *fmt, ...) PRINTF_LIKE(4, 5);
/* Logs it unless it is what was logged last. */
void cluster_waits(struct cluster *c, const char *why);
bool cluster_save(struct cluster *c, const struct record *next);
void cluster_run(struct cluster *c); /* the record is a member's: on */
void cluster_changed(struct cluster *c);
uint64_t cluster_now(const struct cluster *c);

#endif
