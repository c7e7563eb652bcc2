/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* conn - HTTP/1.1 server connections of one loop thread.
 *
 * Accepts, reads, parses, hands over whole requests one at a time per
 * connection (pipelined ones wait), writes answers with one writev where the
 * socket takes it. What an answer means is none of its business.
 *
 * Threads: a http_server and its connections belong to one loop thread. Several
 * servers (threads) listen on the same port through SO_REUSEPORT; limits across
 * threads are counted in the shared struct conn_limits.
 *
 * No callback comes out of a call: a request that was pipelined behind another,
 * and gone after a failed write, follow in a later turn of the loop. The
 * process ignores SIGPIPE.
 *
 * Memory: an idle or parked connection costs its struct and the socket handle
 * (< 700 bytes in all); read buffers are shared by the thread, the request's
 * arena lives until the answer has been handed over or conn_forget_request.
 * With TLS it is OpenSSL's state that counts (about 15 kB when idle). */
#ifndef LOOP_CONN_H
#define LOOP_CONN_H

#include <stdatomic.h>
#include <uv.h>

#include "base/list.h"
#include "http/request.h"
#include "loop/shared.h"
#include "loop/timers.h"
#include "loop/tls_server.h"

enum {
    CONN_IDLE_MS = 600 * 1000,    /* between requests */
    CONN_HEAD_MS = 10 * 1000,     /* from first byte to end of head */
    CONN_HANDSHAKE_MS = 5 * 1000, /* of TLS, from the accept on */
    /* Slower senders of a body are cut, after a grace of CONN_HEAD_MS. */
    CONN_BODY_MIN_BYTES_PER_S = 1024,
    CONN_WRITE_STALL_MS = 30 * 1000, /* no byte of an answer taken meanwhile */
    CONN_DOZE_MS = 100,
    CONN_PEER_SLOTS = 65536,
    CONN_BACKLOG = 4096,
};

/* Shared by all serving threads of the process. */
struct conn_limits {
    struct http_limits http;
    uint32_t max_conns; /* open at once, all listeners; 0: no limit */
    /* Of one address; unix sockets are exempt. 0: no limit. */
    _Atomic uint32_t max_conns_per_peer; /* may change at any time */
    /* 0: the constants above */
    uint32_t head_ms, idle_ms, stall_ms, handshake_ms;
    _Atomic uint32_t conns;
    /* A count-min sketch of connections per address: never too low, too high
     * only if an address collides in both rows. */
    _Atomic uint32_t per_peer[2][CONN_PEER_SLOTS];
};

struct conn;
struct http_server;

struct http_server_events {
    /* A whole request. r lives in the connection's arena until the answer or
     * conn_forget_request. Exactly one conn_answer must follow, now or
     * later. */
    void (*request)(void *ctx, struct conn *c, struct http_request *r);

    /* The connection ends while a request is outstanding: no answer may be
     * given any more; drop what refers to c. Not called otherwise. */
    void (*gone)(void *ctx, struct conn *c);

    /* A stream's peer has taken all that was sent. May be NULL. */
    void (*drained)(void *ctx, struct conn *c);

    void *ctx;
    size_t user_bytes; /* of conn_user memory per connection, zeroed */
};

MUST_USE enum err http_server_new(uv_loop_t *loop, struct timers *timers,
                                  struct conn_limits *limits,
                                  const struct http_server_events *events,
                                  struct http_server **ret);

/* A listening socket for each serving thread. All or nothing; t names address,
 * port and cause ("listen on 127.0.0.1:8500: address already in use"). Port 0:
 * one that the system chooses. ERR_BAD: no IP address of this machine, or not
 * allowed; ERR_LOCKED: in use.
 *
 * The first socket binds without SO_REUSEPORT and sets it afterwards, or a
 * second process would silently share the port. */
MUST_USE enum err listen_tcp(const char *address, int port, int count,
                             int *ret_fds, struct errtext *t);

/* The same for packets. */
MUST_USE enum err listen_udp(const char *address, int port, int count,
                             int *ret_fds, struct errtext *t);

/* One unix socket (mode as chmod, 0: default), accepted on by every thread. A
 * stale socket file without listener is replaced, a live one refused
 * (ERR_LOCKED), and so is a file that is no socket (ERR_EXISTS). The file stays
 * when the listener is closed. */
MUST_USE enum err listen_unix(const char *path, unsigned mode, int *ret_fd,
                              struct errtext *t);

/* Serves a listening descriptor (taken, on error too). Any number of them. */
MUST_USE enum err http_server_listen(struct http_server *s, int take_fd);

/* The same with TLS, after http_server_tls. A client that speaks plain HTTP is
 * told so (400). */
MUST_USE enum err http_server_listen_tls(struct http_server *s, int take_fd);

/* The listener for those who share a key (tls_psk.h), by TLS if there is one
 * (tls is taken; NULL: plain HTTP): conn_is_peer is true of its connections.
 * Several have the same tls. Failed handshakes are logged, so that who has another key can be
 * found. */
MUST_USE enum err http_server_listen_peers(struct http_server *s, int take_fd,
                                           struct tls_server *take_tls);

/* What connections accepted from now on show and ask for (taken, on error too);
 * others go on as they are. ERR_NOMEM. */
MUST_USE enum err http_server_tls(struct http_server *s,
                                  struct tls_server *take);

/* Stops accepting, lets answers in flight go out for grace_ms, closes the rest;
 * closed is called when nothing is left. */
void http_server_close(struct http_server *s, uint64_t grace_ms,
                       void (*closed)(void *ctx));

void http_server_free(struct http_server *s); /* after closed */

/* The caller's bytes of this connection. */
void *conn_user(struct conn *c);
struct http_server *conn_server(struct conn *c);

bool conn_is_peer(const struct conn *c);

/* "127.0.0.1:4711" or "unix"; valid during the call's turn. */
const char *conn_peer(struct conn *c);

/* Gives back the request's memory while the answer is due (long polls). From
 * here on a peer that half-closes has left: before, he is taken to wait. */
void conn_forget_request(struct conn *c);

/* Before the answer: this peer's next request may wait for CONN_DOZE_MS. It is
 * looked for together with those of all others who said so, so that a thousand
 * a second wake the thread ten times. Holds until the next request is there. */
void conn_doze(struct conn *c);

/* The answer: head (with its empty line) and body, references taken; body may
 * be NULL. The head must have been made with conn_keep_alive(c). No head: no
 * memory for it, and the connection ends without an answer. */
void conn_answer(struct conn *c, struct shared *take_head,
                 struct shared *take_body);

/* Whether the connection stays open after this answer. */
bool conn_keep_alive(const struct conn *c);
bool conn_http_1_0(const struct conn *c);

/* A body sent in pieces (monitor, later event streams): the head promises
 * chunked, and each piece becomes one chunk; to an HTTP/1.0 peer
 * (conn_http_1_0) the head promises the end of the connection, and pieces go
 * out as they are.
 *
 * On an error the piece is not taken. ERR_FULL: more than max_bytes wait
 * unsent; ERR_NOMEM; ERR_CLOSED: the peer has left, gone follows. gone is
 * called when the peer leaves, whether that was seen by a piece or not, unless
 * conn_stream_end came first. */
void conn_stream_begin(struct conn *c, struct shared *take_head);
MUST_USE enum err conn_stream_piece(struct conn *c, struct shared *take_piece,
                                    size_t max_bytes);
void conn_stream_end(struct conn *c);

#endif
