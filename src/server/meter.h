/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* meter - GET /v1/agent/metrics/stream: the answer of /v1/agent/metrics as a line
 * of JSON, at once and then every ten seconds, for as long as the client stays.
 * Who does not read misses lines, like a reader of the log. */
#ifndef SERVER_METER_H
#define SERVER_METER_H

#include "server/serving.h"

enum {
    METER_EVERY_MS = 10 * 1000, /* Consul's interval of metrics */
    METERS_MAX = 64,            /* of one serving thread; more: 429 */
    METER_BYTES_MAX = 256 << 10 /* unsent of one reader */
};

/* Serving thread. */
void meter_begin(struct serving *s, struct conn *c, struct api_call *call);
void meter_gone(struct conn_state *st); /* its connection is */
void meter_end_all(struct serving *s);

#endif
