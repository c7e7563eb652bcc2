/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* stream - one outgoing TCP connection, with TLS or without, on a libuv loop.
 *
 * A name's addresses are tried one after the other, each with its share of the
 * time that is left, so that one that swallows packets leaves some for the
 * next; the first error is told, as Go's dialer does. Errors read as Go writes
 * them. The time is that of the whole stream, from look-up to its end, unless it
 * is said to be that of opening it.
 *
 * After over, and after stream_close, the stream is gone. */
#ifndef LOOP_STREAM_H
#define LOOP_STREAM_H

#include "base/bytes.h"
#include "loop/names.h"
#include "loop/tls_client.h"

enum {
    STREAM_READ_BYTES = 16 * 1024,
    STREAM_OUT_MAX = 64 * 1024, /* not taken by the peer yet */
};

struct stream;

/* What the streams of one loop share. */
struct stream_world {
    uv_loop_t *loop;
    struct timers *timers;
    struct names *names;
};

struct stream_options {
    struct bytes target;   /* host:port, [v6]:port, :port (this host) */
    const char *unix_path; /* this socket instead of the target; NULL: none */
    uint64_t timeout_ms;
    bool opening_only; /* the time is that of opening; then there is no end */
    size_t out_max_bytes;         /* 0: STREAM_OUT_MAX */
    const struct tls_client *tls; /* NULL: plain */
    const char *tls_name;         /* NULL: the target's host */
    bool tls_skip_verify;
    const char *alpn; /* NULL: none; else the peer has to speak it */
};

/* Each may close the stream. */
struct stream_events {
    void (*open)(void *ctx); /* connected, TLS agreed upon */
    void (*data)(void *ctx, struct bytes b);
    /* It could not be opened (ERR_REFUSED: by all addresses; ERR_UNAVAILABLE:
     * no way there, or no such host), has failed, was closed by the peer
     * (ERR_CLOSED) or its time is over (ERR_TIMEOUT; what it was doing stands in
     * text). */
    void (*over)(void *ctx, enum err why, const char *text);
};

/* Everything in o is copied but tls and alpn, which outlive the stream; nothing
 * is called before this returns. ERR_BAD: target is not host:port. */
MUST_USE enum err stream_open(const struct stream_world *w,
                              const struct stream_options *o,
                              const struct stream_events *events, void *ctx,
                              struct stream **ret);

/* Once it is open. ERR_FULL: the peer does not take it; ERR_NOMEM. */
MUST_USE enum err stream_write(struct stream *s, struct bytes b);

void stream_close(struct stream *s);

/* "127.0.0.1:80": the address tried last; "" before the first. */
const char *stream_peer(const struct stream *s);

/* Splits host:port and [v6]:port; a host of "" is this one. */
struct bytes stream_split(struct bytes target, struct bytes *ret_port);

/* An address and its port in digits, as in a URL. */
void stream_address_text(const struct sockaddr_storage *a, int port, char *ret,
                         size_t n);

#endif
