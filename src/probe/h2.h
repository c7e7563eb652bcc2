/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* h2 - one HTTP/2 connection of a check: a ping, or one request.
 *
 * libnghttp2 makes and reads the frames. libcurl has HTTP/2 too, but no ping, and
 * says of a broken connection less than a person needs; with the ping's
 * connection at hand a gRPC call is a few headers more. */
#ifndef PROBE_H2_H
#define PROBE_H2_H

#include <nghttp2/nghttp2.h>

#include "probe/impl.h"

struct h2;

/* All called once at most, but for header and data; any may close. */
struct h2_events {
    void (*open)(void *ctx); /* submit now */
    void (*pong)(void *ctx);
    void (*header)(void *ctx, struct bytes name, struct bytes value);
    void (*data)(void *ctx, struct bytes b);
    void (*answered)(void *ctx, uint32_t error_code); /* the stream's end */
    void (*over)(void *ctx, enum err why, const char *text); /* gone */
};

/* False: check_done was called, and nothing is open. */
bool h2_open(struct check *c, struct bytes target, bool use_tls,
             const struct h2_events *events, void *ctx, struct h2 **ret);

/* From within open. ERR_NOMEM. */
MUST_USE enum err h2_ping(struct h2 *h);
MUST_USE enum err h2_request(struct h2 *h, const nghttp2_nv *headers, size_t n,
                             struct bytes body);
void h2_close(struct h2 *h);

#endif
