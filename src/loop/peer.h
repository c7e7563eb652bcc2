/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* peer - asks another server or agent, on its listener for peers.
 *
 * One struct peers per loop thread; connections are kept and used again. By TLS
 * with the shared key if there is one (tls_psk.h), else plain HTTP. What went
 * wrong is said so that whoever reads it knows which side to look at. */
#ifndef LOOP_PEER_H
#define LOOP_PEER_H

#include "loop/fetch.h"
#include "loop/tls_psk.h"

enum {
    PEER_CONNECT_MS = 2000,
    PEER_UNACKED_MS = 4000, /* a beat that is older than that never arrives */
    PEER_ANSWER_MAX = 16 << 20, /* bytes; more: ERR_LIMIT */
};

struct peers;
struct fetch;

struct peer_request {
    const char *to;     /* HOST:PORT, [V6]:PORT */
    const char *method; /* NULL: GET */
    const char *target; /* "/v1/peer/hello" */
    struct bytes body;
    uint32_t timeout_ms; /* of all; 0: for ever */
    const struct fetch_header *headers;
    size_t header_count;
    bool keep_head;
    size_t answer_max; /* 0: PEER_ANSWER_MAX */
    /* As in fetch.h: an answer without end. */
    void (*on_piece)(void *ctx, struct bytes piece);
    void *piece_ctx;
};

/* psk NULL: plain; it stays as long as this does. ERR_NOMEM. */
MUST_USE enum err peers_new(uv_loop_t *loop, const struct tls_psk *psk,
                            struct peers **ret);
void peers_close(struct peers *p); /* cancels what runs, without callbacks */

/* As fetch_start: q is copied; done once, later, on this loop; ret may be NULL
 * (fetch_cancel). r->err ERR_OK: an answer of any status. */
MUST_USE enum err peer_ask(struct peers *p, const struct peer_request *q,
                           void (*done)(void *ctx,
                                        const struct fetch_result *r),
                           void *ctx, struct fetch **ret);

#endif
