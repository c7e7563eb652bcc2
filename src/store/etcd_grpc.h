/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* etcd_grpc - gRPC calls to one server on one connection (grpc/grpc,
 * doc/PROTOCOL-HTTP2.md), for as long as it lives.
 *
 * libnghttp2 makes and reads the frames. libcurl has HTTP/2 too, but Debian 12's
 * (7.88) fails each second request on a connection without TLS. With the frames at
 * hand it is known what cannot have reached the server, and one call's silence can
 * end a connection that is dead.
 *
 * The connection is dialed when it is first needed, and again after it broke. Who
 * answers there is asked first (hello): a call is sent once that is known to be
 * the right one, so that none reaches another's. A call that runs out of time while
 * nothing at all came on the connection ends it, too. Nothing
 * is called back before grpc_start returns; done may start and cancel calls, and
 * close. On the loop's thread. */
#ifndef STORE_ETCD_GRPC_H
#define STORE_ETCD_GRPC_H

#include "base/buf.h"
#include "loop/stream.h"
#include "store/etcd_wire.h"

enum {
    GRPC_TEXT_MAX = 1024, /* bytes of grpc-message that are kept */
    GRPC_HEADERS_MAX = 12,
};

struct grpc_channel;

struct grpc_options {
    const struct stream_world *world; /* outlives the channel */
    const char *target;               /* host:port; copied */
    const char *unix_path;            /* NULL: none; outlives the channel */
    const struct tls_client *tls;     /* NULL: plain; outlives the channel */
    const char *tls_name;             /* NULL: the target's host; outlives it */
    char *const *token;               /* *token: NULL or "": none */
    uint32_t connect_ms;              /* for the hello, too */

    /* The first call on each connection: the frame (outlives the channel) and
     * what its answer, or a stream's first message, means. False: it is not who is
     * meant, for this reason; the connection is given up, and who waits for it has
     * failed unsent. Empty: nothing is asked. */
    const char *hello_path;
    struct bytes hello;
    bool (*welcome)(void *ctx, struct bytes message, struct errtext *ret_why);
    void *ctx;
};

struct grpc_result {
    /* OK: message is the answer. ERR_BAD: the server refused it, text is what it
     * says (status: gRPC's). ERR_UNAVAILABLE, ERR_TIMEOUT: no way there, or the
     * connection broke. ERR_LIMIT: more than answer_max bytes. ERR_CORRUPT: no
     * gRPC. */
    enum err err;
    bool unsent; /* an error, and surely the server did not take it */
    int status;  /* -1: none */
    struct bytes message, text; /* views */
};

/* In the caller's memory, zeroed but for what is asked. */
struct grpc_call {
    const char *path;    /* "/etcdserverpb.KV/Txn" */
    struct bytes body;   /* the frame; lives until the end */
    uint32_t timeout_ms; /* 0: for ever */
    size_t answer_max;   /* bytes of a message */

    /* Each message of a stream; NULL: one is the answer. */
    void (*message)(struct grpc_call *c, struct bytes message);
    void (*done)(struct grpc_call *c, const struct grpc_result *r);

    /* The channel's. */
    struct list link;
    struct grpc_channel *channel; /* NULL: not under way */
    struct timer timer;
    int32_t id; /* 0: waits for the connection */
    size_t sent;
    uint64_t heard; /* what the channel had heard when it began */
    struct buf in, text;
    int status;
    bool stop;
};

struct grpc_channel *grpc_new(const struct grpc_options *o);

/* Without callbacks. NULL is fine. Frees itself. */
void grpc_close(struct grpc_channel *g);

void grpc_start(struct grpc_channel *g, struct grpc_call *c);

/* Connected, and to whom is meant. */
bool grpc_ready(const struct grpc_channel *g);

/* Soon, the connection is given up: calls that flew are lost. why: constant. */
void grpc_hang_up(struct grpc_channel *g, const char *why);

/* done is not called. Harmless if the call is not under way; not from within its
 * own message. */
void grpc_cancel(struct grpc_call *c);

/* From within message: no more is wanted; done comes, with ERR_CLOSED. */
void grpc_stop(struct grpc_call *c);

#endif
