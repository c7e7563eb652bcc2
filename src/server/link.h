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
    LINK_ADDRESS_MAX = 300,
    LINK_HELLO_MS = 2000,
    LINK_BEAT_MS = 1000,
    LINK_BEAT_MAX_MS = 3000,  /* where the server has many (presence.h) */
    LINK_BEAT_LOST_MS = 3000, /* no answer to a beat */
    LINK_SYNC_MS = 10 * 1000,
    LINK_RETRY_MIN_MS = 100,
    LINK_RETRY_MAX_MS = 2000,
    LINK_BAD_MS = 1000,    /* a server that failed is not tried for so long */
    LINK_BEHIND_MAX = 30,  /* times in a row: it is another store */
    LINK_SYNC_ITEMS = 256, /* wishes in one request */
    LINK_SYNC_BYTES = 1 << 20,

    /* The mirror: services beyond are passed on. A row costs about three times
     * its bytes, here and in the catalog. */
    LINK_MIRROR_BYTES = 64 << 20,
    LINK_IDLE_MS = 10 * 60 * 1000, /* unused: dropped (mirror_idle) */
    LINK_SWEEPS = 10,              /* looked for in so many parts of that */
    LINK_SWEEP_MIN_MS = 100,
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

/* Any thread: it is asked about here, and answered from the mirror. */
static inline void link_use(struct process *p, struct bytes name,
                            uint64_t now_ms)
{
    struct watch_key k = {WATCH_SERVICE_HEALTH, name};

    uses_touch(p->uses, watch_hash(k), now_ms);
}

/* LETTER_USES: on the serving thread. */
struct serving;
void link_look(struct serving *s, struct letter *l);

/* The same two for DNS threads. False: no server is known. Pinned. */
bool link_server_of(void *process, size_t nth, char *ret, size_t n);
uint64_t link_age_of(void *process); /* of what is mirrored, in ms */
void link_want_of(void *process, struct bytes name);

/* No service more can be watched. Any thread. */
bool link_is_full(const struct process *p);

/* Core thread: one of the servers, in turn; the one in use. NULL: none. */
const char *link_server_at(const struct link *l, size_t nth);
const char *link_in_use(const struct link *l);

void link_stop(struct link *l); /* NULL is allowed */
void link_free(struct link *l);

#endif
