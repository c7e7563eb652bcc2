/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* muster.h - libmuster: find the instances of a service, spread load over them,
 * and go on when every registry server is down. C99 and C++.
 *
 *     struct muster *m;
 *     struct muster_service *s;
 *     struct muster_ticket t;
 *     char why[MUSTER_TEXT];
 *
 *     if (muster_open(NULL, &m, why) || muster_watch(m, "web", NULL, &s, why))
 *         die(why);
 *     muster_wait(s, 2000);
 *     if (muster_pick(s, NULL, &t) == MUSTER_OK) {
 *         int ok = talk_to(t.address, t.port);
 *         muster_report(s, &t, ok ? MUSTER_SUCCESS : MUSTER_UNREACHABLE, us);
 *     }
 *
 * The registry is muster or a Consul: libmuster speaks their HTTP API.
 *
 * Threads. A handle has a thread of its own that asks, listens and keeps time;
 * it takes no signals. Or, with `own_loop`, none: then the caller watches
 * muster_fd and calls muster_process. muster_pick, muster_report, muster_cancel,
 * muster_status and muster_retry may be called by any thread at any time, never
 * wait, and take no lock and no memory. All else may be called by any thread
 * (with own_loop by the one that calls muster_process only), and may wait for
 * the handle's thread for a moment.
 *
 * Callbacks come one at a time per handle, on its thread (with own_loop within
 * muster_process), no lock is held, and they may call anything but muster_close
 * (MUSTER_EBUSY). None comes after muster_close has returned.
 *
 * After fork the child's handles answer MUSTER_EFORK: open new ones there.
 * muster_close is fine and frees what is local.
 *
 * Ownership. Strings given are copied. A service belongs to its handle and lives
 * until muster_close. Structs that begin with `size` are set up by their init
 * function, so that programs built against an older header keep working.
 *
 * Functions return MUSTER_OK or an error below; `why`, where there is one, may be
 * NULL and gets a text for people, of at most MUSTER_TEXT bytes. Times are
 * milliseconds unless the name says otherwise. */
#ifndef MUSTER_H
#define MUSTER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__) || defined(__clang__)
#pragma GCC visibility push(default)
#endif

enum { MUSTER_TEXT = 320, MUSTER_NAME = 256, MUSTER_EXCLUDE = 32 };

enum muster_error {
    MUSTER_OK = 0,
    MUSTER_ENOMEM = -1,
    MUSTER_EINVAL = -2,    /* NULL, an unknown policy, a malformed address */
    MUSTER_ELIMIT = -3,    /* over a limit, which the text names */
    MUSTER_ENONE = -4,     /* no instance may be picked */
    MUSTER_EVOID = -5,     /* the ticket was reported or cancelled before */
    MUSTER_EFORK = -6,     /* the handle belongs to the parent process */
    MUSTER_EBUSY = -7,     /* not from within a callback, or not in this mode */
    MUSTER_ECLOSED = -8,   /* no such handle (any more) */
    MUSTER_ETIMEOUT = -9,  /* not within the time given */
    MUSTER_EREFUSED = -10, /* the registry said no; the text says why */
    MUSTER_ESYSTEM = -11   /* a system call failed; the text says which */
};

/* Static text; "unknown error" for any other number. */
const char *muster_error_text(int error);

/* "0.1.0" of the library, not of this header. */
const char *muster_version(void);

struct muster;
struct muster_service;

/* --- A handle ------------------------------------------------------------ */

enum muster_log_level { MUSTER_DEBUG, MUSTER_INFO, MUSTER_WARN, MUSTER_ERROR };

struct muster_options {
    size_t size;
    /* Whom to ask, tried in order, with commas between: "10.0.0.1:8500",
     * "https://registry:8501", "unix:///run/muster.sock". NULL: CONSUL_HTTP_ADDR,
     * else 127.0.0.1:8500. */
    const char *servers;
    /* Where registrations go, one address, never another; NULL: the first of
     * the above. */
    const char *agent;
    const char *token;     /* NULL: CONSUL_HTTP_TOKEN */
    const char *ca_file;   /* NULL: CONSUL_CACERT, else the system's */
    const char *cert_file; /* NULL: CONSUL_CLIENT_CERT */
    const char *key_file;  /* NULL: CONSUL_CLIENT_KEY */
    const char
        *tls_server_name;      /* NULL: CONSUL_TLS_SERVER_NAME, else the host */
    const char *datacenter;    /* NULL: the server's own */
    const char *cache_dir;     /* last good lists; NULL: memory only */
    uint64_t cache_max_age_ms; /* of a list on disk; 24 h */
    uint64_t hold_ms;          /* removals nobody explained; 5 min */
    int own_loop;              /* no thread: muster_fd, muster_process */
    void (*log)(void *ctx, enum muster_log_level level, const char *text);
    void *log_ctx;
};

void muster_options_init(struct muster_options *o);

/* o NULL: as muster_options_init makes them. Asks nobody yet. */
int muster_open(const struct muster_options *o, struct muster **ret, char *why);

/* Ends the thread, frees services and handle. NULL is fine. MUSTER_EBUSY: from
 * within a callback. */
int muster_close(struct muster *m);

/* From now on, also for what is under way again; NULL: none. */
int muster_set_token(struct muster *m, const char *token);

/* With own_loop: a descriptor to wait on until it is readable; it stays the
 * handle's. -1: the handle has a thread. */
int muster_fd(const struct muster *m);

/* With own_loop: does what is due, never waits. */
int muster_process(struct muster *m);

/* --- Being found --------------------------------------------------------- */

struct muster_registration;

enum muster_health { MUSTER_PASSING, MUSTER_WARNING, MUSTER_CRITICAL };

struct muster_register_options {
    size_t size;
    const char *name;
    const char *id;      /* NULL: the name */
    const char *address; /* NULL: the agent's node's */
    uint16_t port;
    const char *const *tags; /* NULL at the end; or NULL */
    const char *zone;        /* Meta "zone"; NULL: none */
    uint32_t weight;         /* 1 */
    /* The agent takes it for critical when so long no beat came; the library
     * beats three times as often. At least 1000; 0: no beats. */
    uint64_t ttl_ms;
};

void muster_register_options_init(struct muster_register_options *o);

/* Registers with the handle's agent, and with no other. If that cannot be
 * reached it is tried again until it can; an agent that forgets it (a restart)
 * is told again. It lives until muster_close, which leaves it registered:
 * muster_deregister says goodbye. */
int muster_register(struct muster *m, const struct muster_register_options *o,
                    struct muster_registration **ret, char *why);

/* Waits until the agent has it. MUSTER_EREFUSED: it said no and is not asked
 * again; MUSTER_ETIMEOUT: not yet, why says what is in the way. MUSTER_EBUSY:
 * with own_loop, or from within a callback: not yet. */
int muster_register_wait(struct muster_registration *r, uint64_t timeout_ms,
                         char *why);

/* What beats say from now on, the first at once. MUSTER_EINVAL: no ttl_ms. */
int muster_set_health(struct muster_registration *r, enum muster_health health);

/* Ends beats, takes it from the agent and waits for the answer (with own_loop:
 * only begins to). MUSTER_ETIMEOUT: no answer; it ends by its ttl then. */
int muster_deregister(struct muster_registration *r, uint64_t timeout_ms);

/* --- A service ----------------------------------------------------------- */

struct muster_watch_options {
    size_t size;
    const char *policy;       /* docs/load-balancing.md; NULL: "p2c" */
    const char *tag;          /* NULL: any */
    const char *filter;       /* a filter expression; NULL: none */
    const char *zone;         /* where this program runs; NULL: not looked at */
    uint32_t bounded_percent; /* bounded load of hash policies; 0: none */
    uint32_t subset_size;     /* 0: all instances */
    uint32_t slow_start_ms;   /* 0: none */
    uint32_t panic_percent;   /* 50 */
    /* Another list is in use. */
    void (*changed)(void *ctx, struct muster_service *s);
    void *ctx;
};

void muster_watch_options_init(struct muster_watch_options *o);

/* Begins to watch; the first list comes later (muster_wait). MUSTER_EINVAL: an
 * unknown policy, a name of 0 or over 255 bytes. */
int muster_watch(struct muster *m, const char *name,
                 const struct muster_watch_options *o,
                 struct muster_service **ret, char *why);

/* Waits for the first list, from a server or the disk. MUSTER_ETIMEOUT.
 * MUSTER_EBUSY: from within a callback, or with own_loop. */
int muster_wait(struct muster_service *s, uint64_t timeout_ms);

/* --- Pick and report ----------------------------------------------------- */

struct muster_ticket {
    uint64_t id;        /* of the instance in this process; 0: void */
    uint64_t picked_ms; /* the library's, as the two below */
    uint32_t slot, tag;
    uint16_t port;
    char address[MUSTER_NAME];
};

struct muster_ask {
    size_t size;
    const void *key; /* what hash policies hash */
    size_t key_bytes;
    const uint64_t *exclude; /* ids of tickets that failed already */
    size_t exclude_n;        /* at most MUSTER_EXCLUDE are looked at */
};

/* ask NULL: no key, nothing excluded. MUSTER_ENONE; MUSTER_EINVAL: a hash policy
 * without key. A ticket that is never reported runs out after a minute. */
int muster_pick(struct muster_service *s, const struct muster_ask *ask,
                struct muster_ticket *ret);

enum muster_outcome {
    MUSTER_SUCCESS,
    MUSTER_FAILURE,    /* it answered, but badly: a 5xx, a reset */
    MUSTER_UNREACHABLE /* nobody answered: refused, no route, timed out */
};

/* Once per ticket, at any later time, after its instance is gone, too.
 * latency_us counts for MUSTER_SUCCESS. MUSTER_EVOID: done before. */
int muster_report(struct muster_service *s, struct muster_ticket *t,
                  enum muster_outcome outcome, uint32_t latency_us);

/* Instead, when nothing was learnt about the instance. */
int muster_cancel(struct muster_service *s, struct muster_ticket *t);

/* 1: a failed request may be tried again (or sent twice): the budget of 20 % of
 * requests and 10 a second is not spent. 0: it is. */
int muster_retry(struct muster_service *s);

/* After so many us a second copy of a request pays: 95 % of replies come within.
 * 0: too few replies yet. */
uint32_t muster_hedge_us(struct muster_service *s);

/* --- What is going on ---------------------------------------------------- */

enum muster_source { MUSTER_NOTHING, MUSTER_DISK, MUSTER_REGISTRY };

struct muster_status {
    size_t size;
    enum muster_source source; /* where the list in use is from */
    int connected;             /* the last answer was a good one */
    uint64_t age_ms;           /* of the list: since a server confirmed it */
    uint64_t index;
    uint32_t instances, healthy;
    uint32_t held; /* kept although the registry shows them no more */
    uint32_t ejected, unreachable;
    int panic;
    /* Counters. */
    uint64_t answers, failures, bad_answers;
    uint64_t cache_written, cache_failed, cache_ignored;
    char last_error[MUSTER_TEXT];
};

/* Set ret->size first (muster_status_init). */
void muster_status_init(struct muster_status *st);
int muster_status(struct muster_service *s, struct muster_status *ret);

struct muster_instance {
    const char *node, *id, *address, *zone; /* valid during the call */
    uint16_t port;
    uint32_t weight;
    int critical, out, held, ejected, unreachable;
    uint32_t active; /* requests in flight */
    uint64_t successes, failures, refusals;
};

/* Calls `each` for all instances of the list in use, on the handle's thread,
 * before it returns. */
int muster_each(struct muster_service *s,
                void (*each)(void *ctx, const struct muster_instance *i),
                void *ctx);

#if defined(__GNUC__) || defined(__clang__)
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif

#endif
