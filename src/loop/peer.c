/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "loop/peer.h"

#include <stdlib.h>

#include "base/buf.h"

struct peers {
    struct fetcher *fetcher;
    const struct tls_psk *psk;
};

enum err peers_new(uv_loop_t *loop, const struct tls_psk *psk,
                   struct peers **ret)
{
    struct peers *p = calloc(1, sizeof *p);

    if (!p || fetcher_new(loop, &p->fetcher) != ERR_OK) {
        free(p);
        return ERR_NOMEM;
    }
    p->psk = psk;
    *ret = p;
    return ERR_OK;
}

void peers_close(struct peers *p)
{
    if (!p)
        return;
    fetcher_close(p->fetcher);
    free(p);
}

enum err peer_ask(struct peers *p, const struct peer_request *q,
                  void (*done)(void *ctx, const struct fetch_result *r),
                  void *ctx, struct fetch **ret)
{
    static const struct fetch_header json = {"Content-Type",
                                             "application/json"};
    struct buf url = {0};

    buf_puts(&url, p->psk ? "https://" : "http://");
    buf_puts(&url, q->to);
    buf_puts(&url, q->target);
    buf_putc(&url, '\0');
    struct fetch_options o = {
        .method = q->method,
        .url = url.p,
        .headers = q->headers ? q->headers : &json,
        .header_count = q->headers  ? q->header_count
                        : q->body.n ? 1
                                    : 0,
        .keep_head = q->keep_head,
        .on_piece = q->on_piece,
        .piece_ctx = q->piece_ctx,
        .body = q->body,
        .timeout_ms = q->timeout_ms,
        .connect_timeout_ms = PEER_CONNECT_MS,
        .unacked_ms = PEER_UNACKED_MS,
        .keep_connection = true,
        .psk = p->psk,
        .body_keep_bytes = q->answer_max ? q->answer_max : PEER_ANSWER_MAX,
        .body_refuse_larger = true,
    };
    enum err e =
        url.bad ? ERR_NOMEM : fetch_start(p->fetcher, &o, done, ctx, ret);
    buf_fini(&url);
    return e;
}
