/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* impl - what the files of libmuster share. Internal.
 *
 * handle.c    opening, closing, the thread or the caller's loop, calls to it
 * settings.c  options and environment
 * sized.c     structs that grow from version to version
 * service.c   a service: its list, its balancer, what changes
 * poll.c      asking the servers, one long poll at a time
 * register*.c being found: at one agent, with beats, or without one
 * kept.c      memory of what was closed
 * exit.c      the end of a program that closed nothing
 * request.c   one request of a registration
 * reconnect.c   connecting to instances that could not be reached
 * cache.c     the last good list on disk
 * pick.c      what any thread may call
 * feed.c      lists from an event stream
 * roster*.c   lists: decoding, keeping, bytes of a file */
#ifndef CLIENT_IMPL_H
#define CLIENT_IMPL_H

#include <muster.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "base/list.h"
#include "client/feed.h"
#include "client/roster.h"
#include "lb/balancer.h"
#include "loop/fetch.h"
#include "loop/names.h"
#include "loop/queue.h"
#include "loop/timers.h"

enum {
    SERVERS_MAX = 16,
    BEAT_MS = 200,           /* the handle looks after its services */
    TICK_MS = 1000,          /* a balancer lets time pass, at the latest */
    POLL_WAIT_S = 30,        /* of a long poll */
    POLL_TIMEOUT_MS = 40000, /* until it is given up */
    FIRST_TIMEOUT_MS = 5000, /* of a request that should be answered at once */
    DISK_AFTER_MS = 2000,    /* no server answered since the start */
    RETRY_MIN_MS = 250,      /* when all servers have failed once */
    RETRY_MAX_MS = 10000,
    QUICK_MS = 50,         /* an answer that says nothing new ... */
    QUICK_PAUSE_MS = 1000, /* ... so soon: not again at once */
    CACHE_EVERY_MS = 5000, /* a file is written at most so often */
    PROBE_EVERY_MS = 1000,
    PROBE_TIMEOUT_MS = 2000,
    STREAM_SILENT_MS = 40000, /* beats come every 15 s */
    SNAPSHOT_MAX_MS = 60000,  /* until a stream's list is whole */
    EPOCH_SHIFT = 40,         /* of muster's indexes: above it, the epoch */
    CACHE_REFRESH_MS =
        600000, /* what is confirmed and stays is written again */
    CALLS_MAX = 1024,
    CALLER_LABEL_MAX = 128, /* bytes that a server takes */
    ZONE_LABEL_MAX = 64,
    PROCESS_EVENTS = 64,  /* of one muster_process, */
    PROCESS_NS = 1000000, /* or so long */
};

#define HANDLE_MAGIC  0x6d757374u
#define SERVICE_MAGIC 0x73657276u

struct server {
    char *host;      /* NULL: unix */
    char *unix_path; /* NULL: TCP */
    uint16_t port;
    bool tls;
};

/* Copies of what was given, the environment where nothing was. */
struct settings {
    struct server server[SERVERS_MAX];
    size_t servers;
    struct server agent;
    char *ca_file, *cert_file, *key_file, *tls_server_name;
    char *datacenter, *cache_dir;
    char *caller;        /* what the program is called */
    char *authorization; /* "Basic ..."; NULL: none */
    struct buf ca_pem;   /* of a folder; empty: none */
    bool tls_skip_verify;
    uint64_t cache_max_age_ms, hold_ms;
    bool own_loop;
    void (*log)(void *ctx, enum muster_log_level level, const char *text);
    void *log_ctx;
};

/* First of what a program may hold the address of; see kept.c. */
struct kept {
    uint32_t magic; /* 0: closed */
    struct kept *next;
};

/* Something to be done by the handle's thread; in the waiting caller's memory. */
struct call {
    struct list link;
    void (*run)(struct muster *m, struct call *c);
    sem_t done;
    int result;
};

struct muster {
    struct kept kept;
    uint32_t forks; /* of the process, when it was opened */
    struct settings set;
    char *token; /* the loop's; NULL: none */
    pthread_t thread;
    uv_loop_t loop;
    struct queue *calls;
    struct timers timers;
    struct timer beat;
    struct fetcher *fetcher;
    struct names *names;
    struct list services, registrations;
    uint64_t random;        /* the loop's */
    int epoll_fd, timer_fd; /* own_loop, as is */
    struct loop_budget budget;
    size_t probes; /* connections of reconnect.c under way */
    char cluster[FEED_CLUSTER_MAX + 1]; /* the loop's: who answered last */
    struct list threads;                /* of exit.c, as the next two */
    struct call stop;
    _Atomic bool stopped; /* its thread has ended, nobody else has it */
    unsigned callbacks; /* of the program's, under way; one may cause another */
    bool closing;
};

struct service_stats {
    _Atomic uint64_t answers, failures, bad_answers;
    _Atomic uint64_t cache_written, cache_failed, cache_ignored;
};

struct poll {
    struct fetch *fetch;
    struct lookup lookup;
    struct timer again; /* asks again; with a stream, sees that it lives */
    struct timer flush; /* a stream's list goes into use, outside of libcurl */
    struct feed feed;
    struct buf body; /* of a server that answered without a stream */
    enum { POLL_UNKNOWN, POLL_STREAM, POLL_PLAIN } kind;
    bool no_streams, broken;
    size_t server, failed_in_row;
    uint64_t index, asked_ms, part_ms; /* part: not whole since; 0: it is */
    uint32_t retry_ms;
};

struct muster_service {
    struct kept kept;
    struct list link;
    struct muster *m;
    struct lb *lb;
    char *name, *target; /* target: path and query, without index */
    char *callers;       /* more of it, for a stream; NULL: not asked */
    bool wants_callers, slow_start;
    char *cache_path;           /* NULL: no cache */
    uint64_t cache_query_token; /* hash of the token the list came with */
    void (*changed)(void *ctx, struct muster_service *s);
    void *changed_ctx;

    /* The loop's. */
    struct poll poll;
    struct roster *roster;
    struct list probes;
    uint64_t started_ms, tick_ms, probe_ms, saved_ms;
    uint64_t listed_ms; /* when the list in use was last told */
    uint32_t rank;      /* among callers, if ranked */
    bool ranked, unsaved, disk_tried;
    int ready_fd; /* eventfd; readable once there is a list */

    /* For anybody. */
    struct service_stats stats;
    _Atomic uint64_t confirmed_ms, index; /* confirmed_ms 0: never */
    _Atomic uint32_t held, draining;
    _Atomic int source;
    _Atomic bool connected;
    pthread_mutex_t text_mutex; /* guards what follows, written by the loop */
    char last_error[MUSTER_TEXT];
    char cluster[FEED_CLUSTER_MAX + 1]; /* whose the list is; empty: unknown */
};

/* --- handle.c ------------------------------------------------------------ */

/* MUSTER_OK, MUSTER_EINVAL, MUSTER_ECLOSED or MUSTER_EFORK. */
int handle_check(const struct muster *m);
int service_check(const struct muster_service *s);

/* Runs it there and waits; at once if this is there. */
int handle_call(struct muster *m, struct call *c);
bool handle_is_here(const struct muster *m);

void handle_log(struct muster *m, enum muster_log_level level,
                const char *format, ...) PRINTF_LIKE(3, 4);

int error_of(enum err e);
void set_why(char *why, const char *text);
uint64_t mono_ms(void);
uint64_t day_ms(void); /* since 1970 */

/* --- sized.c ------------------------------------------------------------- */

/* A struct of the program's, whose first member says how large it is there.
 * init: the usual values, as far as it reaches. take: into mine, where the usual
 * values are; false: a size that is none, or something set that is not known
 * here. give: from mine. */
void sized_init(void *to, size_t size, const void *usual, size_t known);
bool sized_take(void *mine, size_t known, const void *given);
bool sized_give(void *to, const void *mine, size_t known);
#define SIZED_WRONG(init)                                                      \
    "options that this library does not know, or that were not set up: "       \
    "call " init

/* --- exit.c -------------------------------------------------------------- */

void exit_prepare(void); /* once */
void exit_watch(struct muster *m);
void exit_forget(struct muster *m); /* fine if it was not watched */
void exit_lock(void);               /* around a fork */
void exit_unlock(void);

/* --- kept.c -------------------------------------------------------------- */

enum kept_kind { KEPT_HANDLE, KEPT_SERVICE, KEPT_REGISTRATION };

/* All zero, and begins with struct kept. NULL: out of memory. */
void *kept_new(enum kept_kind kind, size_t size);
void kept_free(enum kept_kind kind, struct kept *take_k);

/* Around a fork. */
void kept_lock(void);
void kept_unlock(void);

/* --- settings.c ---------------------------------------------------------- */

MUST_USE enum err settings_make(const struct muster_options *o,
                                struct settings *ret, char **ret_token,
                                struct errtext *t);
void settings_free(struct settings *s);

/* --- service.c ----------------------------------------------------------- */

/* The registry told a list (or the disk did). take_new is used or freed. */
void service_list(struct muster_service *s, struct roster *take_new,
                  enum roster_trust trust, enum muster_source source);
void service_beat(struct muster_service *s, uint64_t now_ms);
/* How many callers there are, and which of them this one is. */
void service_callers(struct muster_service *s, const struct feed_callers *c);
void service_cluster(struct muster_service *s, struct bytes name);
void service_error(struct muster_service *s, const char *format, ...)
    PRINTF_LIKE(2, 3);
void service_free(struct muster_service *s);
void url_escape(struct buf *b, const char *text);

/* --- poll.c -------------------------------------------------------------- */

void poll_start(struct muster_service *s);
void poll_stop(struct muster_service *s);

/* What every request of the handle has; url and headers are the caller's. */
void fetch_defaults(const struct muster *m, const struct server *server,
                    struct fetch_options *o);

/* Those that say who asks; room for AUTH_HEADERS. Returns how many. */
enum { AUTH_HEADERS = 2 };
size_t auth_headers(const struct muster *m, struct fetch_header *ret);

/* scheme://address:port of a server, where its name stands for `address`. */
bool server_url(const struct server *server, const char *address,
                const char *target, char *ret, size_t size);

/* --- reconnect.c ------------------------------------------------------------- */

void reconnect_start(struct muster_service *s, uint64_t now_ms);
void reconnect_stop(struct muster_service *s);

/* --- cache.c ------------------------------------------------------------- */

/* NULL: out of memory. */
char *cache_path(const char *dir, const char *service, const char *target);
void cache_save(struct muster_service *s);
void cache_load(struct muster_service *s);

/* --- register.c ---------------------------------------------------------- */

/* Forgets them, without a goodbye. */
void registrations_close(struct muster *m);

/* --- roster.c ------------------------------------------------------------ */

struct roster *roster_new(size_t n);

/* to->v must have room. False: out of memory. */
bool roster_copy_entry(struct roster *to, const struct roster_entry *e,
                       uint64_t held_ms);

#endif
