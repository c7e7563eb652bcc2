/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* link_impl - what the files of link.h share.
 *
 *     link.c       which server: hello, beats, what to do when it is lost
 *     link_feed.c  the stream into the mirror
 *     link_tell.c  who reads here, and has applied what (behind.h)
 *     link_uses.c  what of it nobody uses any more
 *     link_sync.c  wishes, in batches */
#ifndef SERVER_LINK_IMPL_H
#define SERVER_LINK_IMPL_H

#include "base/alloc.h"
#include "base/log.h"
#include "loop/joins.h"
#include "loop/peer.h"
#include "mirror/mirror.h"
#include "server/behind.h"
#include "server/link.h"

struct link_server {
    char address[LINK_ADDRESS_MAX];
    uint64_t bad_until_ms;
    bool refused; /* told why, once */
    bool joined;  /* found by the addresses to join, not told by a server */
    bool listed;  /* by the server that said hello last */
};

/* To each serving thread, and back. */
struct link_look {
    struct letter letter;
    struct core_letter back;
};

struct link {
    struct core *core;
    struct peers *peers;
    struct link_server servers[API_SERVERS_MAX];
    size_t server_count;
    size_t at; /* the server in use, or being asked */
    uint64_t random;
    bool up;        /* it said hello, and is in use */
    bool told_down; /* the agent knows that nobody can be reached */
    bool stopped;
    char cluster[64];
    char label[128]; /* of the stream: "agent NODE" */
    struct fetch *hello, *beat;
    struct timer retry, beat_timer;
    uint64_t retry_ms, beat_sent_ms;
    uint64_t beat_ms;    /* as the server told; 0: it has not yet */
    struct peers *beats; /* connections for beats alone; NULL: none yet */
    bool patient;        /* the beat on its way went there */
    size_t failures;     /* in a row */
    struct joins *joins;
    uint64_t begun_ms;
    bool answered; /* a server of ours has, ever */

    /* link_feed.c */
    struct mirror *mirror;
    struct fetch *stream;
    struct timer reopen;
    struct timer slice; /* of what is on its way to the catalog */
    enum err feed_error;
    struct errtext feed_text;
    size_t behind; /* times in a row */
    size_t damaged_told;
    uint64_t events_life, events_seq; /* user events: had up to, from whom */
    _Atomic bool full;

    /* link_tell.c: what was said on this stream, and taken */
    struct fetch *ack;
    struct timer tell;
    uint64_t told_ms; /* when it was said last */
    struct behind_said said;

    /* link_uses.c */
    struct timer sweep;
    size_t looking; /* threads that have not come back */
    struct link_look looks[SERVING_THREADS_MAX];

    /* link_sync.c */
    struct list wishes; /* store_change, to be sent */
    struct list flying; /* sent */
    struct fetch *sync;
    struct timer flush;
};

/* link.c: the server in use does not do any more. */
void link_lost(struct link *l, const char *why);
static inline const char *link_address(const struct link *l)
{
    return l->servers[l->at].address;
}

/* link_feed.c */
MUST_USE enum err feed_new(struct link *l);
void feed_open(struct link *l); /* the server is in use: a stream from it */
void feed_close(struct link *l);
void feed_free(struct link *l);
void feed_anew(struct link *l); /* another store */

/* link_tell.c: who here has applied what, to the server */
void tell_init(struct link *l);
void tell_anew(struct link *l); /* another stream begins */
void tell_now(struct link *l);  /* each beat, if there is anything new */
void tell_soon(struct link *l); /* something has changed */
void tell_close(struct link *l);

void feed_reopen(struct link *l); /* soon: the mirror wants others now */

/* link_uses.c */
MUST_USE enum err uses_begin(struct link *l);
void uses_stop(struct link *l);

/* link_sync.c */
void sync_init(struct link *l);
void sync_flush(struct link *l);   /* the server is in use */
void sync_again(struct link *l);   /* it is not: what was sent is sent again */
void sync_give_up(struct link *l); /* nobody can be reached */

#endif
