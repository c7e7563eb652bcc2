/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* docker - Docker's raw stream (application/vnd.docker.raw-stream): what a
 * command in a container writes, as frames of 8 bytes of head (1 = stdout, 2 =
 * stderr; three zeros; length as 32 bits big endian) and so many bytes. They
 * come in pieces cut anywhere. */
#ifndef HEALTH_DOCKER_H
#define HEALTH_DOCKER_H

#include "health/ring.h"

enum { DOCKER_HEAD_BYTES = 8 };

struct docker_stream {
    uint8_t head[DOCKER_HEAD_BYTES];
    size_t head_n;
    uint32_t left; /* of the frame's payload */
    bool bad;      /* sticky: not such a stream */
};

/* Payloads of both outputs go to the ring, in the order they come. */
void docker_stream_put(struct docker_stream *s, struct bytes piece,
                       struct ring *out);

/* Whether the stream ended where it may. */
bool docker_stream_whole(const struct docker_stream *s);

/* What Docker takes as a container's name or ID. */
bool docker_name_ok(struct bytes name);

#endif
