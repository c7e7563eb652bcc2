/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* impl - what the files of libmuster share. Internal.
 *
 * handle.c    opening, closing, the thread or the caller's loop, calls to it
 * settings.c  options and environment
 * sized.c     structs that grow from version to version
 * service.c   a service: its list, its balancer, what changes
 * origin.c    lists, one of each datacenter, and what the balancer is given
 * failover.c  which other datacenters are followed, and in which order
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
    FAILOVER_MAX = 7,    /* other datacenters of a service */
    DATACENTER_MAX = 63, /* bytes of its name: a label of DNS */
    /* A list that is older by the registry's own word is of a datacenter that
     * cannot be reached; beats come every 15 s. */
    CUT_AGE_MS = 20000,
    UNHEARD_MS = 45000, /* the same, if the registry says nothing of it */
    REST_MS = 15000,    /* another datacenter's list is read so often while all
                      * is well here, where there are no streams of it */
    STREAMS_AGAIN_MS = 60000, /* then it is tried whether there are */
    NEAREST_MS = 60000,       /* the datacenters' order is asked for */
    CALLER_LABEL_MAX = 128,   /* bytes that a server takes */
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

/* Other datacenters, as they were asked for: by name, or the nearest ones. */
struct failover {
    size_t nearest; /* so many; 0: those named */
    size_t n;
    char name[FAILOVER_MAX][DATACENTER_MAX + 1];
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
    uint64_t cache_max_age_ms, hold_ms, failover_max_age_ms;
    struct failover failover;
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
    size_t probes;           /* connections of reconnect.c under way */
    struct nearest *nearest; /* of failover.c; NULL: nobody asks for it */
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
    uint64_t streams_at_ms; /* no_streams is over then; 0: it is not */
    uint32_t retry_ms;
};

/* A part of a service's list: what one datacenter has. The loop's, but for what
 * is atomic. */
struct origin {
    struct muster_service *s;
    /* As asked for; empty: the server's own. */
    char datacenter[DATACENTER_MAX + 1];
    size_t order; /* 0: the own one, then those to fail over to */
    char *target; /* path and query, without index */
    char *about;  /* what logs call it */
    struct poll poll;
    struct roster *roster; /* NULL: nothing came yet */
    uint64_t listed_ms;    /* when the list in use was last told */
    uint64_t age_ms;       /* of the list, as the registry said */
    bool cut; /* the registry cannot reach it; never of the server's own */
    enum origin_use { ORIGIN_UNUSED, ORIGIN_LIVE, ORIGIN_RESERVE } use;
    _Atomic uint64_t confirmed_ms, index; /* confirmed_ms 0: never */
    _Atomic int source;
    _Atomic bool connected;
    char cluster[FEED_CLUSTER_MAX + 1]; /* whose it is; text_mutex; empty:
                                           unknown */
};

struct muster_service {
    struct kept kept;
    struct list link;
    struct muster *m;
    struct lb *lb;
    char *name, *path, *params; /* params: of all targets, but for dc */
    char *callers; /* more of home's, for a stream; NULL: not asked */
    bool wants_callers, slow_start;
    char *cache_path;           /* NULL: no cache */
    uint64_t cache_query_token; /* hash of the token the list came with */
    void (*changed)(void *ctx, struct muster_service *s);
    void *changed_ctx;

    /* The loop's. */
    struct origin home, *away[FAILOVER_MAX]; /* away: in order */
    size_t away_n;
    struct failover failover;
    struct list probes;
    uint64_t started_ms, tick_ms, probe_ms, saved_ms;
    uint32_t rank; /* among callers, if ranked */
    bool ranked, unsaved, disk_tried;
    bool ready;      /* there is a list in use */
    bool needs_away; /* home does not carry all of it */
    int ready_fd;    /* eventfd; readable once there is a list */

    /* For anybody. */
    struct service_stats stats;
    _Atomic uint32_t held, draining;
    pthread_mutex_t text_mutex; /* guards what follows, and clusters; written by
                                   the loop */
    char last_error[MUSTER_TEXT];
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

void service_beat(struct muster_service *s, uint64_t now_ms);
/* How many callers there are, and which of them this one is. */
void service_callers(struct muster_service *s, const struct feed_callers *c);
/* Another list is in use. */
void service_changed(struct muster_service *s);
void service_error(struct muster_service *s, const char *format, ...)
    PRINTF_LIKE(2, 3);
void service_free(struct muster_service *s);
void url_escape(struct buf *b, const char *text);

/* --- origin.c ------------------------------------------------------------ */

/* datacenter "": the server's own. ERR_NOMEM. The rest of *o is zero. */
MUST_USE enum err origin_init(struct origin *o, struct muster_service *s,
                              const char *datacenter, size_t order);
void origin_fini(struct origin *o); /* its poll is stopped */

/* The registry told a list (or the disk did). take_new is used or freed. */
void origin_list(struct origin *o, struct roster *take_new,
                 enum roster_trust trust, enum muster_source source);
void origin_cluster(struct origin *o, struct bytes name);

/* What an answer says about the datacenter: its head, a stream's beat, a status
 * that is no 200. Nothing of it is about the server's own. */
void origin_heard(struct origin *o, bool reachable, uint64_t age_ms);
void origin_head(struct origin *o, struct bytes head);
void origin_beat(struct origin *o);
void origin_refused(struct origin *o, int status);

/* It need not be followed, only looked at now and then. */
bool origin_rests(const struct origin *o);

/* All but its share. */
void origin_tell(const struct origin *o, struct muster_datacenter *ret);

/* Time passes: what is only kept, or is too old, goes. */
void origins_beat(struct muster_service *s, uint64_t now_ms);

/* Makes one list of all. The balancer keeps what it has on error. */
MUST_USE enum err origins_use(struct muster_service *s);

/* Asks for all of them, and no more; again: as if nothing had been told. */
void origins_start(struct muster_service *s);
void origins_stop(struct muster_service *s);
void origins_again(struct muster_service *s);

/* In the order in which the balancer numbers them; NULL: there are no more. */
struct origin *origin_at(struct muster_service *s, size_t i);

/* Whose an endpoint of the balancer is, by its priority there. */
enum { ORIGIN_LEVELS = ROSTER_PRIORITIES };
struct origin *origin_of(struct muster_service *s, uint8_t level);

/* --- failover.c ---------------------------------------------------------- */

/* "dc2,dc3", "nearest:2"; NULL or "": none. ERR_BAD, ERR_LIMIT: t says why.
 * home: the datacenter that is asked for, or NULL. */
MUST_USE enum err failover_parse(const char *text, const char *home,
                                 struct failover *ret, struct errtext *t);

/* Those named are s->away from now on; nobody asks for them yet. ERR_NOMEM. */
MUST_USE enum err failover_make(struct muster_service *s);

/* On the loop: has the nearest asked for, if they are to be followed. */
MUST_USE enum err failover_start(struct muster_service *s);
void failover_close(struct muster *m);

/* --- poll.c -------------------------------------------------------------- */

void poll_start(struct origin *o);
void poll_now(struct origin *o); /* without the rest of a pause */
void poll_stop(struct origin *o);

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
