/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* process - what the threads of one server share, and the letters they send.
 *
 *     core thread (main)   store feed -> catalog, agent, own node, signals
 *     serving threads      HTTP: reads from snapshots, writes to the store
 *     store thread(s)      commits (inside src/store)
 *     probe thread         checks (inside src/probe)
 *     drafter              answers too long to be made between two requests
 *     archivist            answers about the past
 *     DNS threads          packets (inside src/dnsd)
 *
 * Snapshots are read under a pin; everything else crosses threads in queues. */
#ifndef SERVER_PROCESS_H
#define SERVER_PROCESS_H

#include <stdatomic.h>

#include "api/api.h"
#include "base/pin.h"
#include "base/uses.h"
#include "catalog/catalog.h"
#include "dnsd/dnsd.h"
#include "local/beats.h"
#include "local/local.h"
#include "loop/conn.h"
#include "loop/queue.h"
#include "store/store.h"

enum {
    SERVING_THREADS_MAX = 32,
    MIRRORS_MAX = 64,             /* datacenters; more are not mirrored */
    AGENT_OPS_WAITING_MAX = 8192, /* more: 429 */
    WRITE_ATTEMPTS_MAX = 16,      /* conflicts before a write gives up */
    CACHE_BYTES_DEFAULT = 8 << 20,
    SNAPSHOT_BODY_MAX = 256 << 20, /* of PUT /v1/snapshot, compressed */
};

/* What a serving thread finds in its inbox. */
enum letter_kind {
    LETTER_PUBLISHED, /* a new version: struct published */
    LETTER_WRITTEN,   /* a change's outcome: struct write */
    LETTER_AGENT,     /* an agent's answer: struct wish */
    LETTER_DRAFT,     /* a long answer: struct draft */
    LETTER_PAST,      /* an answer about the past: struct ask (archive.c) */
    LETTER_SNAPSHOT,  /* one is saved or restored: struct snap */
    LETTER_BARRIER,   /* the catalog has reached a barrier (gate.c) */
    LETTER_SYNC,      /* a change's outcome: struct sync_item (peer_sync.c) */
    LETTER_LINE,      /* of the log, for its readers (monitor.c) */
    LETTER_LINK,      /* one to a datacenter is lost (mirror_serve.c) */
    LETTER_USES,      /* say what is followed here (link_uses.c) */
    LETTER_LOST_TAGS, /* the same of a mirror (mirror_tags.c) */
    LETTER_TLS,       /* another certificate (serving.c) */
    LETTER_CLOSE,     /* stop serving */
    LETTER_END,       /* the last one: nobody posts any more */
};

struct letter {
    struct list link;
    enum letter_kind kind;
    /* WRITTEN, BARRIER: goes by way of the core thread, which hands it on to its serving
     * thread once this revision is published: one wake-up instead of two. */
    uint64_t revision;
    struct serving *to;
};

/* Sent to every serving thread after each published version (heap, taken). */
struct published {
    struct letter letter;
    const struct dc_mirror *of; /* whose catalog; NULL: the own one */
    bool all;                   /* everything may have changed */
    uint64_t prior, revision;   /* of the catalog, before and after */
    size_t n;
    uint64_t hashes[]; /* of watch keys (catalog/watch.h) */
};

/* Which targets have been asked for with ?cached, as a set of hashes: the first
 * one is told that it was a miss. Two that share a bit are both told of hits. */
enum { CACHE_ASKED_BITS = 1 << 16 };

struct core;
struct serving;
struct cluster;
struct tls_psk;
struct drafter;
struct archivist;
struct subscribers;

struct drains;
struct presence;
struct server_list;
struct mirrors;
struct dc_mirror;

struct process {
    struct mirrors *mirrors; /* of other datacenters (mirrors.h); NULL: none */
    struct presence *presence; /* which agents are heard here */
    const struct tls_psk *psk; /* among peers; NULL: plain HTTP */
    /* A client agent: no store here, but servers (link.h); NULL: a server. */
    struct link *link;
    struct uses *uses; /* on an agent: when services were asked for last */
    _Atomic uint64_t dropped; /* how often names have left its mirror */
    _Atomic(const struct server_list *) servers; /* read under a pin */
    struct subscribers *subscribers; /* who follows what (subscribers.h) */
    struct drains *drains; /* that other servers ask about (drain_peer.h) */
    _Atomic bool dns_for_peers; /* an agent was given an answer */
    struct pin_domain pins;
    struct catalog *catalog;
    struct local *local;
    struct heard *heard;
    struct heard *carried; /* user events, of all nodes (events.h) */
    uint64_t life;         /* random; of this process */
    _Atomic uint64_t event_clock;
    _Atomic unsigned events_waiting; /* batches for the core thread */
    struct beats *beats;             /* of what was registered from outside */
    struct store *store;
    struct cluster *members;     /* the core thread's (members.h); NULL: none */
    struct queue *agent_ops;     /* struct agent_op, to the core thread */
    struct queue *written;       /* struct letter, to the core thread */
    struct queue *outside_beats; /* to the core thread (guard.c) */

    struct api_self self; /* as at the start */
    /* With what reloads changed; read under a pin (live.h). */
    _Atomic(const struct api_self *) live;
    _Atomic(const struct dns_settings *) dns;    /* the same, for DNS threads */
    _Atomic(const struct api_cluster *) cluster; /* the same; NULL: alone */
    _Atomic(const struct api_wan *) wan;         /* the same; NULL: alone */
    _Atomic(const struct coordinate *) place;    /* place.h; NULL: unknown */
    struct core *core;
    struct dns_changes dns_changes; /* told each published version */
    struct dns_zones zones;         /* of other datacenters (zones.h) */
    struct conn_limits conn_limits;
    const char *data_dir; /* NULL: in memory */
    size_t cache_bytes;   /* of all serving threads together */

    _Atomic uint64_t cache_asked[CACHE_ASKED_BITS / 64];

    bool barrier_free; /* store_barrier_is_free */
    /* When the last barrier began that the catalog has reached; see gate.h. */
    _Atomic uint64_t contact;

    _Atomic bool ready;    /* the own node is in the catalog */
    _Atomic bool store_up; /* writes are possible */
    uint64_t started_ms;   /* monotonic */

    /* A serving thread has closed, and nobody owes it anything (on that
     * thread). It waits for LETTER_END: until the core thread sends it, that
     * thread may still be posting what others' writes published. */
    void (*serving_idle)(struct process *p);

    struct serving *serving[SERVING_THREADS_MAX];
    int serving_count;
    struct drafter *drafter;     /* makes the long answers (draft.c) */
    struct archivist *archivist; /* those about the past (archive.h) */
    struct dnsd *dnsd;           /* NULL: DNS is off */
};

/* Monotonic milliseconds, the same for all threads. */
static inline uint64_t process_now_ms(void)
{
    return uv_hrtime() / 1000000;
}

#endif
