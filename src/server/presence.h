/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* presence - which agents beat to this server, and when each was heard last.
 *
 * An agent beats once a second (PUT /v1/peer/beat); serving threads write it
 * here, and whoever decides who is alive (duty/liveness.h, on whatever server it
 * runs) reads all of it once a second: the body of GET /v1/peer/heard, one agent
 * a line, "MILLISECONDS-AGO NAME", the name escaped as in a URL.
 *
 * Who has not been heard for PRESENCE_KEPT_MS is forgotten: another server hears
 * him, or nobody. In memory, under a mutex held for one look-up. Any thread. */
#ifndef SERVER_PRESENCE_H
#define SERVER_PRESENCE_H

#include "base/buf.h"

enum {
    PRESENCE_MAX = 262144, /* agents; further ones are not remembered */
    PRESENCE_KEPT_MS = 60 * 1000,
};

struct presence;

struct presence *presence_new(void); /* NULL: no memory */
void presence_free(struct presence *p);

/* False: there are too many, or no memory. */
bool presence_heard(struct presence *p, struct bytes node, uint64_t now_ms);

/* All of it as text. */
void presence_write(struct presence *p, uint64_t now_ms, struct buf *out);

/* Takes such a text apart; lines that are none are left out. name lives during
 * the call. */
void presence_read(struct bytes text,
                   void (*each)(void *ctx, struct bytes name, uint64_t ago_ms),
                   void *ctx);

#endif
