/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* impl - what the files of this folder share; nobody else includes it.
 *
 *   dnsd.c      life of the threads, one answer     udp.c   packets, in batches
 *   forward.c   recursors, over TCP by c-ares       tcp.c   connections
 *   ask.c       recursors over UDP                  follow.c host names in answers */
#ifndef DNSD_IMPL_H
#define DNSD_IMPL_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <uv.h>

#include "base/list.h"
#include "base/metric.h"
#include "dnsd/dnsd.h"
#include "loop/timers.h"
#include "loop/watch.h"

/* Where an answer goes that cannot be given at once. */
struct forward_to {
    /* The answer is p, n bytes, with the query's id; only during the call. n 0:
     * nothing can be said. */
    void (*done)(struct forward_to *to, const uint8_t *p, size_t n);
    bool tcp;
    char datacenter[DNS_LABEL_MAX + 1]; /* remote(): whose server; "": own */
};

struct forwarder;
struct asker;
struct udp;
struct tcp;

struct dnsd_thread {
    struct dnsd *d;
    int number;
    uv_thread_t thread;
    uv_loop_t loop;
    uv_async_t stop;
    struct timers timers;
    int pin;
    struct dns_worker *worker;
    uint64_t random;
    struct forwarder *forwarder; /* NULL: no recursors */
    struct list following;       /* follow.c */
    struct peers *servers;       /* remote.c; made when first needed */
    struct list remote;
    size_t asked; /* questions that servers have */
    struct udp *udp;
    struct tcp *tcp;
    /* Counted here, added to the process's in one go (thread_count). */
    int64_t counts[METRIC_COUNT];
};

struct dnsd {
    struct dnsd_options o;
    int threads;
    struct dns_key key; /* of cookies */
    struct dns_limits *limits;
    struct dnsd_thread thread[DNSD_THREADS_MAX];
};

/* --- dnsd.c ------------------------------------------------------------------ */

/* What does not change between two queries of one turn. Pinned. */
void thread_enter(struct dnsd_thread *t, struct dns_env *ret);
void thread_leave(struct dnsd_thread *t);

/* *ret_alias_at: where an answer has a host name to be followed; 0: it has none.
 * ret_dc: DNS_ELSEWHERE: as in forward_to. */
enum dns_verdict thread_answer(struct dnsd_thread *t, struct dns_env *env,
                               struct bytes packet, uint8_t *out, size_t cap,
                               size_t *ret_n, size_t *ret_alias_at,
                               char ret_dc[DNS_LABEL_MAX + 1]);
void thread_count(struct dnsd_thread *t);

/* --- udp.c -------------------------------------------------------------------- */

MUST_USE enum err udp_open(struct dnsd_thread *t, const int *take_fds, size_t n,
                           struct udp **ret);
void udp_close(struct udp *u);

/* --- tcp.c -------------------------------------------------------------------- */

MUST_USE enum err tcp_open(struct dnsd_thread *t, const int *take_fds, size_t n,
                           struct tcp **ret);
void tcp_close(struct tcp *s);

/* --- forward.c ------------------------------------------------------------------ */

MUST_USE enum err forwarder_open(struct dnsd_thread *t, struct forwarder **ret,
                                 struct errtext *text);
void forwarder_close(struct forwarder *f); /* nobody waits any more */

/* Asks the recursors; to->done is called once, maybe at once. */
void forward(struct forwarder *f, struct bytes packet, struct forward_to *to);

/* --- follow.c -------------------------------------------------------------------- */

/* client->done gets `alone`, with what a recursor tells about the host name in it. */
void follow(struct dnsd_thread *t, struct bytes packet, struct bytes alone,
            size_t alias_at, struct forward_to *client);
void follow_close(struct dnsd_thread *t); /* nobody waits any more */

/* --- remote.c -------------------------------------------------------------------- */

/* Asks a server of to->datacenter; to->done is called once, maybe at once. */
void remote(struct dnsd_thread *t, struct bytes packet, struct forward_to *to);
void remote_close(struct dnsd_thread *t); /* nobody waits any more */

/* --- ask.c ----------------------------------------------------------------------- */

MUST_USE enum err asker_open(struct dnsd_thread *t, struct asker **ret);

/* "IP:port" or "[IP]:port". ERR_BAD: none; ERR_LIMIT: too many. */
MUST_USE enum err asker_add(struct asker *a, const char *server);

/* Questions under way are forgotten; their arg is freed. */
void asker_close(struct asker *a);

/* done gets the first answer to this query that is one, over UDP, with whatever id;
 * NULL: no server gave any. packet has to stay until then. Maybe at once. */
void ask_udp(struct asker *a, struct bytes packet,
             void (*done)(void *arg, uint8_t *answer, size_t n), void *arg);

#endif
