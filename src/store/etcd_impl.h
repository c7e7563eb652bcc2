/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* etcd_impl - the etcd backend, shared by its files:
 *
 *     etcd.c          life, what is tried before first use
 *     etcd_call.c     one request: which member, once or again, what errors mean
 *     etcd_cluster.c  which etcd cluster, and who does not belong to it
 *     etcd_login.c    user and password -> token
 *     etcd_txn.c      groups; keys under leases
 *     etcd_read.c     ranges, walks, barriers, when
 *     etcd_watch.c    the feed, history
 *     etcd_lease.c    leases, compaction
 *     etcd_upkeep.c   what members have of their quota, and what makes room
 *     etcd_message.c  answers -> values       etcd_grpc.c  one connection
 *     etcd_wire.c     Protocol Buffers, gRPC's frames   etcd_text.c  JSON
 *
 * Everything on the store thread. Ranges, transactions and watches are gRPC calls:
 * etcd's JSON gateway is one more client of the same calls inside etcd, which
 * takes each level of a nested transaction's text apart anew and makes text of
 * each event for each server. What is rare (leases, compaction, upkeep, login)
 * goes through the gateway: POST, JSON in and out. */
#ifndef STORE_ETCD_IMPL_H
#define STORE_ETCD_IMPL_H

#include <uv.h>

#include "base/buf.h"
#include "loop/fetch.h"
#include "loop/timers.h"
#include "store/backend.h"
#include "store/etcd_grpc.h"
#include "store/etcd_message.h"

enum {
    ETCD_SLOTS = 4,
    ETCD_MEMBERS_MAX = 16,
    ETCD_CONNECT_MS = 1000,
    ETCD_CALL_MS = 2500, /* then another member is asked, or the outcome lost */
    ETCD_BARRIER_MS = 1000,
    ETCD_TXN_MS = 700,          /* and eight times what groups take lately */
    ETCD_ANSWER_MAX = 16 << 20, /* bytes of one answer, one watch message */
    /* Bytes of one revision's events from a watch's fragments. What muster puts
     * at once is below 2 MiB; it is the removal of an epoch that has an event for
     * each row. */
    ETCD_GATHERED_MAX = 4 * ETCD_ANSWER_MAX,
    ETCD_PAGE_ROWS = 2000,
    ETCD_PAGE_BYTES = 1 << 20, /* what a page should come to */
    ETCD_RETRY_FIRST_MS = 20,  /* of the watch; doubles */
    ETCD_RETRY_MAX_MS = 1000,
    ETCD_LAG_MS = 2000,    /* a watch that is behind for so long is given up */
    ETCD_TERM_MS = 100,    /* for answers of an earlier leader's term */
    ETCD_GOODBYE_MS = 500, /* for leases given back at the end */
    ETCD_LOOK_MS = 10 * 1000, /* at members that are not connected */
};

struct etcd;
struct etcd_call;

struct etcd_answer {
    enum err why; /* OK: body is etcd's answer: a message, or JSON */
    bool lost;    /* an error, but it may have been carried out */
    struct errtext text;
    struct bytes body;
};

/* Paths of gRPC calls; all others are the gateway's. */
#define ETCD_RANGE "/etcdserverpb.KV/Range"
#define ETCD_TXN   "/etcdserverpb.KV/Txn"
#define ETCD_WATCH "/etcdserverpb.Watch/Watch"

/* One request. First member of what the caller allocates; he gives it away, and
 * done frees the whole with etcd_call_free. If the store closes first only drop
 * (may be NULL) and free are called. */
struct etcd_call {
    struct list link;
    struct etcd *etcd;
    const char *path; /* ETCD_TXN, "lease/grant"; of a GET the whole */
    bool grpc;        /* body begins with room for the frame */
    bool get;         /* else a POST to the gateway */
    struct buf body;
    uint32_t timeout_ms; /* 0: ETCD_CALL_MS */
    bool once;   /* not to be repeated once it may have been carried out */
    size_t only; /* 1 + member to ask; 0: any */

    void (*done)(struct etcd_call *c, const struct etcd_answer *a);
    void (*drop)(struct etcd_call *c);

    /* etcd_call.c's */
    struct fetch *fetch; /* of the gateway */
    struct grpc_call rpc;
    size_t member, tried;
    bool logged_in;
    uint64_t term;    /* heard of when it was sent */
    uint64_t cluster; /* it is meant for; 0: not known then */
};

struct etcd_member {
    struct etcd *etcd;
    char *url;          /* http://host:port */
    const char *target; /* host:port, in url */
    struct grpc_channel *channel;
    uint64_t cluster;      /* as it told last; 0: it never did */
    struct grpc_call look; /* etcd_cluster.c's */
};

struct etcd_stream { /* etcd_watch.c */
    struct etcd *etcd;
    struct grpc_call rpc;
    struct buf body;
    struct etcd_events events;
    size_t member;
    bool stop, created;
    void (*message)(struct etcd_stream *s, const struct etcd_watched *w);
    void (*ended)(struct etcd_stream *s, const char *why);
};

struct etcd {
    struct backend backend;
    struct store_etcd options; /* strings are ours */
    struct etcd_member member[ETCD_MEMBERS_MAX];
    size_t member_n, at; /* at: asked first */

    uv_loop_t *loop;
    struct fetcher *fetcher;
    struct stream_world world;
    struct tls_client *tls; /* NULL: plain */
    struct timers timers;
    struct timer goodbye;
    struct timer term_over; /* calls of an earlier term are given up */
    uint64_t term;          /* of the newest leader heard of */
    bool closing;
    struct list calls;
    struct list to_log_in; /* calls that wait for a token */
    struct list to_try;    /* ranges that wait for what is tried */
    char *token;           /* NULL: none yet */
    bool logging_in;

    uint64_t cluster;  /* the one that is followed; 0: none yet */
    struct buf hello;  /* what each connection begins with */
    size_t looks;      /* under way */
    struct timer look; /* the next */
    void (*looked)(struct etcd *x);
    uint64_t txn_ms_x8; /* what groups take, moving mean, times eight */
    uint64_t newest, oldest;
    uint64_t assumed; /* somebody else has compacted, or will, up to here */
    bool tried;       /* etcd_try went well */
    struct errtext try_text;
    void (*try_done)(struct etcd *x, void *arg, enum err e);
    void *try_arg;
    enum err opened; /* etcd.c: how the first try went */
    int revokes;     /* in flight */

    struct backend_sink sink;
    bool feeding;
    uint64_t fed;   /* the newest revision told */
    uint64_t heard; /* the newest revision heard of */
    bool lagging;   /* fed is below heard, and feed_lag counts */
    struct etcd_stream feed;
    struct timer feed_again, feed_lag;
    uint64_t feed_retry_ms;
    struct list histories;
    size_t gathered_max; /* ETCD_GATHERED_MAX, but in tests */

    uint64_t quota, quota_ms; /* as a member told last; 0: none has */

    uv_idle_t almost, last; /* for the order in which things close */
};

static inline struct etcd *etcd_of(const struct backend *b)
{
    return container_of(b, struct etcd, backend);
}

/* --- etcd_call.c --------------------------------------------------------- */

/* size: of the caller's struct, which is zeroed. */
void *etcd_call_new(struct etcd *x, size_t size, const char *path,
                    void (*done)(struct etcd_call *,
                                 const struct etcd_answer *));
void etcd_call_start(void *take_call);
void etcd_call_again(struct etcd_call *c); /* from the start, as it is */
void etcd_call_free(void *call);
void etcd_calls_drop(struct etcd *x);
void etcd_call_fail(struct etcd_call *c, enum err why, const char *text);

/* Which member to ask first next time, after this one failed. */
void etcd_member_failed(struct etcd *x, size_t member);

void etcd_term_over(struct timer *t);

/* A header of a member's answer: revisions, the cluster. False: another
 * cluster's, which means nothing. */
bool etcd_heard(struct etcd *x, size_t member, const struct etcd_header *h);

/* What etcd's text means. False: not one that says it was not carried out. */
bool etcd_refusal(struct bytes text, enum err *ret_why, struct errtext *ret);

/* --- etcd_cluster.c ------------------------------------------------------ */

/* A member says to which cluster it belongs. False: not to the one that is
 * followed, or no longer; ret_why what to do about it. */
bool etcd_belongs(struct etcd *x, size_t member, uint64_t cluster,
                  struct errtext *ret_why);

/* What a member's channel begins with; and the meaning of the answer. */
#define ETCD_HELLO ETCD_WATCH
bool etcd_welcome(void *member, struct bytes message, struct errtext *ret_why);

/* Connects to those that are not connected, so that they tell. looked: once all
 * have, or cannot be reached; may be NULL. */
void etcd_look(struct etcd *x, void (*looked)(struct etcd *x));
void etcd_look_again(struct timer *t);

/* The addresses of other clusters; ERR_BAD: there are some, ret names two. */
enum err etcd_strangers(struct etcd *x, struct errtext *ret);

/* --- etcd_login.c -------------------------------------------------------- */

/* True: the call waits, and is started (or failed) later. */
bool etcd_login_wait(struct etcd_call *c);
bool etcd_login_is_old(struct bytes text);
void etcd_login_forget(struct etcd *x);

/* --- etcd_txn.c ---------------------------------------------------------- */

void etcd_txn(struct backend *b, struct backend_group *g);
void etcd_lease_put(struct backend *b, uint64_t lease, struct bytes key,
                    struct bytes value, backend_done_fn done, void *ctx);

/* --- etcd_read.c --------------------------------------------------------- */

/* Two fields: all keys under the prefix, from `from` on (empty: all). */
void etcd_put_range(struct buf *out, unsigned key_field, unsigned end_field,
                    struct bytes prefix, struct bytes from);

void etcd_range(struct backend *b, struct bytes prefix, uint64_t at,
                backend_row_fn row, backend_done_fn done, void *ctx);
void etcd_walk(struct backend *b, struct backend_walk *w, backend_done_fn done,
               void *ctx);
void etcd_walk_end(struct backend *b, struct backend_walk *w);
void etcd_moment(struct backend *b, uint64_t revision, uint64_t wall_ms,
                 backend_moment_fn done, void *ctx);
void etcd_barrier(struct backend *b, backend_done_fn done, void *ctx);

/* --- etcd_watch.c -------------------------------------------------------- */

void etcd_start(struct backend *b, const struct backend_sink *sink,
                uint64_t after);
void etcd_history(struct backend *b, uint64_t from, uint64_t last, size_t limit,
                  const struct backend_sink *to, backend_done_fn done,
                  void *ctx);
void etcd_feed_check(struct etcd *x); /* is the watch behind? */
void etcd_feed_gap(struct etcd *x);
void etcd_watches_close(struct etcd *x);

/* A watch of nothing, whose first message is the header alone; as a frame. */
void etcd_put_hello(struct buf *out);

/* After a compaction of unknown height: which one, as a watch from the very
 * first revision is told. x->oldest; then done. */
void etcd_find_oldest(struct etcd *x, void (*done)(struct etcd *x, enum err e));

/* --- etcd_lease.c -------------------------------------------------------- */

void etcd_lease_grant(struct backend *b, uint32_t ttl_ms,
                      void (*done)(void *ctx, enum err e, uint64_t lease),
                      void *ctx);
void etcd_lease_keep(struct backend *b, uint64_t lease, backend_done_fn done,
                     void *ctx);
void etcd_lease_revoke(struct backend *b, uint64_t lease);
void etcd_compact(struct backend *b, uint64_t revision, backend_done_fn done,
                  void *ctx);
void etcd_compacted(struct backend *b, uint64_t revision);

/* --- etcd_upkeep.c ------------------------------------------------------- */

void etcd_room(struct backend *b, struct store_room *r);

/* --- etcd.c -------------------------------------------------------------- */

/* Whether this etcd can be used: its limits, what else is in it. done once; e is
 * ERR_OK, ERR_UNAVAILABLE (nobody answers) or what is wrong with it; the text is
 * in x->try_text, and logged when it is another than before. */
void etcd_try(struct etcd *x,
              void (*done)(struct etcd *x, void *arg, enum err e), void *arg);
void etcd_closed(struct etcd *x); /* all that was to be waited for is over */

#endif
