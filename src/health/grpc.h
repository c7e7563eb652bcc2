/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* grpc - the gRPC health checking protocol (grpc.health.v1), as bytes: what is
 * sent to /grpc.health.v1.Health/Check, and what an answer means.
 *
 * A message on the wire is 5 bytes (compressed or not, length as 32 bits big
 * endian) and a protocol buffer. HealthCheckRequest has string service = 1,
 * HealthCheckResponse has enum status = 1. */
#ifndef HEALTH_GRPC_H
#define HEALTH_GRPC_H

#include "base/buf.h"
#include "health/status.h"

#define GRPC_HEALTH_PATH "/grpc.health.v1.Health/Check"

enum {
    GRPC_ANSWER_MAX = 4096, /* bytes of a body that anybody looks at */
    GRPC_PREFIX_BYTES = 5,
    GRPC_NO_STATUS = -1,
};

/* GRPC of a definition: host:port and, after the first '/', the service. */
struct bytes grpc_target(struct bytes grpc, struct bytes *ret_service);

void grpc_request(struct buf *out, struct bytes service);

struct grpc_answer {
    int http_status;      /* 0: none came */
    int status;           /* of grpc-status, or GRPC_NO_STATUS */
    struct bytes message; /* of grpc-message, percent-encoded */
    struct bytes content_type;
    struct bytes body;
};

/* The number of a grpc-status header; GRPC_NO_STATUS if it is none. */
int grpc_status_of(struct bytes text);

/* target is the definition's GRPC, for the text. */
enum status grpc_judge(const struct grpc_answer *a, struct bytes target,
                       struct buf *text);

/* "rpc error: code = Unavailable desc = ...", as grpc-go has it. */
void grpc_error(struct buf *text, int status, struct bytes message);

enum { GRPC_OK = 0, GRPC_DEADLINE_EXCEEDED = 4, GRPC_UNAVAILABLE = 14 };

#endif
