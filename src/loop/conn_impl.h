/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* conn_impl - what the files of loop/conn.h share among themselves.
 *
 * conn_server.c  the server: listeners, limits, closing
 * conn.c         one connection: input, requests, its end
 * conn_doze.c    many whose next request may wait a little
 * conn_time.c    how long it waits for its peer
 * conn_tls.c     TLS between the socket and all of these
 * conn_write.c   answers and streams
 *
 * Only conn_feed calls events.request, and it runs only from libuv's callbacks:
 * an answer, wherever it is given, never leads to the next request on the
 * caller's stack. What must follow an answer waits for conn_later. */
#ifndef LOOP_CONN_IMPL_H
#define LOOP_CONN_IMPL_H

#include <netinet/in.h>

#include "loop/conn.h"

enum {
    CONN_READ_BYTES = 64 * 1024, /* the thread's read buffer */
    /* Pipelined bytes read while an answer is due; reading goes on so that a
     * peer who leaves is noticed. A first request's read may leave more. */
    CONN_AHEAD_BYTES = 16 * 1024,
    /* After a refusal: what the peer still sends is read and dropped, or the
     * answer could be lost in a reset. */
    CONN_LINGER_MS = 2 * 1000,
    CONN_LINGER_BYTES = 16 * 1024 * 1024,
    CONN_LOOK_MS = 1000, /* between looks at peers that are not read from */
    CONN_ACCEPTS_PER_TURN = 64,
    CONN_ACCEPT_PAUSE_MS = 100, /* out of descriptors, and none in reserve */
    CONN_PARSERS_KEPT = 64,
};

enum conn_state {
    CONN_READING,   /* between requests, or within one */
    CONN_BUSY,      /* a request is with the caller */
    CONN_STREAMING, /* between stream_begin and stream_end */
    CONN_WRITING,   /* an answer is on its way out */
    CONN_LINGERING, /* all is said; drops what still comes */
    CONN_CLOSED,    /* waits for libuv's close callback */
};

struct conn {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    struct http_server *server;
    struct conn_tls *tls; /* NULL: plain */
    struct list link;     /* in server->conns */
    struct list later;    /* in server->later, or alone */
    struct timer timer;
    uint64_t due_ms; /* 0: none */
    uint64_t body_since_ms;
    uint64_t body_bytes; /* of this request's body; while lingering: dropped */
    struct http_in *in;  /* NULL while idle */
    char *ahead;         /* bytes read but not yet fed; heap; NULL: none */
    uint32_t ahead_at, ahead_n;
    size_t queued_bytes;  /* given to uv_write so far; wraps */
    size_t taken_bytes;   /* of it, taken by the socket at the last look */
    uint32_t writes;      /* uv_writes under way */
    struct in6_addr peer; /* IPv4 mapped */
    uint16_t peer_port;   /* host order */
    uint16_t slots[2];    /* in limits->per_peer */
    uint8_t state;        /* enum conn_state */
    uint8_t phase;        /* enum http_in_state at the last look */
    bool tcp : 1;
    bool keep_alive : 1;
    bool http_1_0 : 1;
    bool running : 1;   /* conn_feed is on the stack */
    bool forget : 1;    /* the request's memory is no longer needed */
    bool more : 1;      /* conn_feed has bytes behind this request */
    bool eof : 1;       /* the peer sends no more */
    bool paused : 1;    /* not reading */
    bool linger : 1;    /* the peer may still be sending when we are done */
    bool broken : 1;    /* a write failed; gone is to be called */
    bool from_peer : 1; /* came to the listener for peers */
    bool greeted : 1;   /* a first byte came */
    bool patient : 1;   /* conn_doze was called for the last request */
    bool dozes : 1;     /* in server->doze_fd, and not read by libuv */
    _Alignas(16) char user[];
};

struct http_server {
    uv_loop_t *loop;
    struct timers *timers;
    struct conn_limits *limits;
    struct http_server_events events;
    struct list conns;
    struct list listeners;
    struct list later; /* connections with something left to do next turn */
    uv_idle_t idle;    /* runs while later is not empty */
    struct timer accept_pause;
    struct timer grace;
    struct timer doze; /* set while some do */
    size_t dozing;     /* connections */
    int doze_fd;       /* epoll; -1: never needed */
    void (*closed)(void *ctx);
    size_t handles; /* open ones of libuv's; at 0 the server is closed */
    bool closing;
    int reserve_fd; /* given up to accept and refuse when none is left */
    uint64_t complained_ms;
    struct http_in *parsers[CONN_PARSERS_KEPT];
    size_t parser_count;
    char *read_buffer;
    struct tls_server *tls;      /* of connections to come; NULL: none yet */
    struct tls_server *peer_tls; /* of peers; NULL: plain, or no listener */
    uint64_t peer_complained_ms;
    struct tls_io *tls_io;
    char peer_text[INET6_ADDRSTRLEN + 16];
};

/* --- conn_server.c -------------------------------------------------------- */

/* NULL: out of memory. */
struct http_in *server_parser(struct http_server *s);
void server_parser_back(struct http_server *s, struct http_in *take_in);

/* Calls conn_do_later next turn, for what must not happen on the caller's
 * stack. */
void conn_later(struct conn *c);

/* A handle of libuv's is closed for good. */
void server_handle_closed(struct http_server *s);

/* A connection is over: it no longer counts. */
void server_uncount(struct http_server *s, const struct conn *c);

/* --- conn.c --------------------------------------------------------------- */

enum conn_kind {
    CONN_PLAIN,
    CONN_TLS,
    CONN_PEER, /* TLS if the server has peer_tls */
};

/* An accepted descriptor (taken), already counted. Closed on failure. */
MUST_USE enum err conn_open(struct http_server *s, int take_fd,
                            const struct in6_addr *peer, uint16_t port,
                            const uint16_t slots[2], bool tcp,
                            enum conn_kind kind);

/* Idempotent; gone is not called. */
void conn_close(struct conn *c);

/* The same, after telling the caller if he has a request of it. */
void conn_lost(struct conn *c);

/* The peer sends no more. */
void conn_on_eof(struct conn *c);

/* What the socket gave; nothing: the peer sends no more. */
void conn_on_bytes(struct conn *c, struct bytes in);

/* What the peer sent, if need be after TLS. */
void conn_input(struct conn *c, struct bytes in);

/* Keeps what cannot be used yet. False: no memory; the connection is lost. */
bool conn_keep_ahead(struct conn *c, struct bytes in);
void conn_pause_reading(struct conn *c);
void conn_resume_reading(struct conn *c);
void conn_start_reading(struct conn *c);

/* Says that we are done and waits a little for the peer to agree. */
void conn_linger(struct conn *c);

/* What was put off by conn_later. */
void conn_do_later(struct conn *c);

/* The answer is out: the next request, or the end. From the loop: nobody of
 * the caller's is on the stack. */
void conn_answered(struct conn *c, bool from_loop);

void conn_release_request(struct conn *c);

/* --- conn_doze.c ---------------------------------------------------------- */

/* After each input: whether it dozes from now on. It may be lost by that. */
void conn_doze_settle(struct conn *c);

/* It is in the set no more; nobody reads. Idempotent. */
void conn_doze_end(struct conn *c);
void server_on_doze(struct timer *t);

/* --- conn_time.c ---------------------------------------------------------- */

/* Each sets the time limit (due_ms; 0: none) for what is waited for from now
 * on: any thing, the end of a head, the socket to take something. */
void conn_due_in(struct conn *c, uint64_t ms);
void conn_idle_due(struct conn *c);
void conn_head_due(struct conn *c);
void conn_stall_due(struct conn *c);
void conn_linger_due(struct conn *c);
void conn_handshake_due(struct conn *c);

/* The next bytes of a body, by what has come of it. */
void conn_body_due(struct conn *c);

/* While reading is paused and a request is outstanding: a look whether the peer
 * has gone. */
void conn_look_due(struct conn *c);

/* Nothing of a stream waits to be taken. */
void conn_stream_drained(struct conn *c);

void conn_on_timer(struct timer *t);

/* --- conn_write.c --------------------------------------------------------- */

/* Answers status and text, "Connection: close", and ends after it. READING. */
void conn_refuse(struct conn *c, int status, const char *text);

/* A whole such answer as text; its length (cut to n - 1). */
size_t conn_refusal_text(char *ret, size_t n, int status, const char *text);

/* 100 Continue. */
void conn_write_continue(struct conn *c);

/* --- conn_tls.c ----------------------------------------------------------- */

/* The connection speaks TLS; the server has a struct tls_server. */
MUST_USE enum err conn_tls_begin(struct conn *c);
void conn_tls_free(struct conn *c); /* it is plain from here on */
MUST_USE enum err server_tls_init(struct http_server *s); /* idempotent */
void server_tls_fini(struct http_server *s);

/* Bytes from the socket. */
void conn_tls_input(struct conn *c, struct bytes in);

/* The handshake that had to wait for its turn. */
void conn_tls_later(struct conn *c);

/* It speaks TLS and has not agreed on anything yet. */
bool conn_tls_is_new(const struct conn *c);
/* why: OpenSSL's reason; "": the peer has left. */
void conn_tls_count_failure(struct conn *c, const char *why);

/* Somebody came to the listener for peers who is none; not each is logged. */
void conn_complain_of_peer(struct conn *c, const char *why);

/* Seals bytes into conn_tls_out, which the caller sends and resets before he
 * returns to the loop. False: the connection is of no use any more. */
MUST_USE bool conn_tls_seal(struct conn *c, const uv_buf_t *bufs, unsigned n);
struct buf *conn_tls_out(struct conn *c);

/* Tells the peer that nothing follows (close_notify), if he can take it now. */
void conn_tls_bye(struct conn *c);

#endif
