/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* link - what a client agent has instead of a store: servers, one of them at a
 * time.
 *
 *     hello ---> stream (src/mirror)   the own node, and the services that somebody
 *       ^        beats, once a second      here watches: into this process's catalog
 *       |        wishes about the own node (PUT /v1/peer/sync)
 *       +------- the next server, when this one does not answer any more
 *
 * The addresses to join are asked for more servers; one is drawn and kept. When it
 * is lost the next is tried at once; when all are lost, with pauses. Nothing of
 * the catalog is forgotten meanwhile, and nothing that was registered here.
 *
 * Core thread, where not said otherwise. */
#ifndef SERVER_LINK_H
#define SERVER_LINK_H

#include "server/core.h"

enum {
    LINK_SERVERS_MAX = 64,
    LINK_ADDRESS_MAX = 300,
    LINK_HELLO_MS = 2000,
    LINK_BEAT_MS = 1000,
    LINK_BEAT_LOST_MS = 3000, /* no answer to a beat */
    LINK_SYNC_MS = 10 * 1000,
    LINK_RETRY_MIN_MS = 100,
    LINK_RETRY_MAX_MS = 2000,
    LINK_BAD_MS = 1000,    /* a server that failed is not tried for so long */
    LINK_BEHIND_MAX = 30,  /* times in a row: it is another store */
    LINK_SYNC_ITEMS = 256, /* wishes in one request */
    LINK_SYNC_BYTES = 1 << 20,
};

/* Where forwarded requests go: the first is that of the link. Immutable; read
 * under a pin (process.servers). */
struct server_list {
    size_t n;
    char v[][LINK_ADDRESS_MAX];
};

MUST_USE enum err link_new(struct core *c);
void link_begin(struct link *l);

/* A change of wishes. Its outcome comes on this thread. ERR_UNAVAILABLE: no
 * server can be reached. */
MUST_USE enum err link_submit(struct link *l, struct store_change *ch,
                              struct errtext *t);

/* Any thread: this service is watched here. What comes of it is published
 * (snapshot_is_whole). */
void link_want(struct process *p, struct bytes name);

/* The same two for DNS threads. False: no server is known. Pinned. */
bool link_server_of(void *process, size_t nth, char *ret, size_t n);
void link_want_of(void *process, struct bytes name);

/* No service more can be watched. Any thread. */
bool link_is_full(const struct process *p);

void link_stop(struct link *l); /* NULL is allowed */
void link_free(struct link *l);

#endif
