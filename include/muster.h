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
 * After fork the child's handles answer MUSTER_EFORK, and nothing is sent for
 * them: open new ones there. muster_close is fine and says no goodbye; what the
 * parent's thread may have been writing to at the fork is not freed.
 *
 * Ownership. Strings given are copied. A service belongs to its handle and lives
 * until muster_close; a handle or service that is gone answers MUSTER_ECLOSED
 * (its memory is used for nothing but other handles or services). Structs that
 * begin with `size` are set up by their init function, which is told the size
 * that the program knows: so programs built against an older or a newer header
 * keep working.
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

#define MUSTER_HOLD_EVER UINT64_MAX

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
    /* NULL: CONSUL_HTTP_TOKEN, else what CONSUL_HTTP_TOKEN_FILE holds. */
    const char *token;
    const char *ca_file;   /* NULL: CONSUL_CACERT, else the system's */
    const char *cert_file; /* NULL: CONSUL_CLIENT_CERT */
    const char *key_file;  /* NULL: CONSUL_CLIENT_KEY */
    const char
        *tls_server_name;      /* NULL: CONSUL_TLS_SERVER_NAME, else the host */
    const char *datacenter;    /* NULL: the server's own */
    const char *cache_dir;     /* last good lists; NULL: memory only */
    uint64_t cache_max_age_ms; /* of a list on disk; 24 h */
    /* Removals that nobody explained: kept so long; 5 min. 0: believed at once,
     * MUSTER_HOLD_EVER: kept until they are explained. */
    uint64_t hold_ms;
    int own_loop; /* no thread: muster_fd, muster_process */
    void (*log)(void *ctx, enum muster_log_level level, const char *text);
    void *log_ctx;
    int tls_skip_verify; /* 1: any certificate is taken; CONSUL_HTTP_SSL_VERIFY
                            "false" says so, too */
    const char *ca_path; /* all files of a folder; NULL: CONSUL_CAPATH */
    const char *http_auth; /* "user:password"; NULL: CONSUL_HTTP_AUTH */
    /* What this program is called, the same in all its replicas: subsets are by
     * rank among them. Printable, at most 128 bytes; NULL: its file's name. */
    const char *caller;
    /* Other datacenters to fail over to, the first first, at most 7: "dc2,dc3",
     * or "nearest:2": those that the servers measure to be nearest, in that
     * order, asked for each minute. NULL: none. */
    const char *failover;
    /* A datacenter that the registry cannot reach is looked at where nobody else
     * is healthy, and as long as what is known of it is younger; 60,000. */
    uint64_t failover_max_age_ms;
};

/* size: sizeof *o. */
void muster_options_init(struct muster_options *o, size_t size);

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

/* With own_loop: does what is due, never waits. After 64 events or 1 ms it
 * leaves the rest to the next call (muster_fd stays readable); what one event
 * brings is done as a whole: a new list of 10,000 instances takes some ms. */
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
    uint32_t priority; /* Meta "priority"; 0 (first) to 15 */
    /* Without an agent: the node's name, which no agent may have. Then whichever
     * of `servers` answers is told, and removes it ttl_ms (at least 5000) after
     * the last beat that any of them has heard. */
    const char *node;
    const char *node_address; /* NULL: as address, which must be given then */
};

/* size: sizeof *o. */
void muster_register_options_init(struct muster_register_options *o,
                                  size_t size);

/* Registers with the handle's agent, and with no other. If that cannot be
 * reached it is tried again until it can; an agent that forgets it (a restart)
 * is told again. It lives until muster_close, which leaves it registered:
 * muster_deregister says goodbye. With `node` without an agent; a Consul, which
 * would keep it for ever, is not asked to (MUSTER_EREFUSED from
 * muster_register_wait). */
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
 * only begins to). MUSTER_ETIMEOUT: nobody took it; it ends by its ttl then. */
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
    uint32_t panic_percent;   /* 50; 0: never */
    /* Another list is in use. */
    void (*changed)(void *ctx, struct muster_service *s);
    void *ctx;

    /* Of policies: how many least-request looks at (2), the exponent of
     * weighted-least-request (1), how fast peak-ewma forgets (10,000 ms),
     * Maglev's slots (a prime; 0: by the number of instances). */
    uint32_t choices;
    double bias;
    uint32_t decay_ms, maglev_size;
    /* Slow start: 1 is linear, a weight is never below 10 %. */
    double slow_start_aggression;
    uint32_t slow_start_min_percent;
    uint32_t overprovision_percent; /* of priorities; 140 */
    uint32_t zone_min_hosts;        /* below, zones are not looked at; 6 */

    /* Ejection; docs/load-balancing.md says what each does. 0 turns a rule off,
     * outlier_off all. */
    int outlier_off;
    uint32_t outlier_consecutive; /* failures in a row; 5 */
    uint32_t outlier_refusals;    /* refused connections in a row; 2 */
    uint32_t outlier_interval_ms; /* rates are looked at so often; 10,000 */
    uint32_t outlier_base_ms;     /* 30,000 x times, */
    uint32_t outlier_max_ms;      /* at most 300,000 */
    uint32_t outlier_max_percent; /* of instances, but one always; 10 */
    uint32_t outlier_min_hosts;   /* with enough requests; 5 */
    uint32_t outlier_success_requests;   /* in an interval; 100 */
    uint32_t outlier_success_deviations; /* 1/1000 of sigma; 1900 */
    uint32_t outlier_failure_requests, outlier_failure_percent; /* 50, off */
    uint32_t outlier_latency_requests, outlier_latency_factor;  /* 50, off */

    uint32_t budget_percent, budget_per_second; /* of retries; 20, 10 */
    uint32_t outlier_jitter_ms; /* ejections last up to so much longer; 0 */

    /* All traffic takes so long to come back to a priority that is well again;
     * 30,000. 0: at once. */
    uint32_t return_ms;
    const char *failover; /* NULL: the handle's; "": none */
};

/* size: sizeof *o. */
void muster_watch_options_init(struct muster_watch_options *o, size_t size);

/* Begins to watch; the first list comes later (muster_wait). MUSTER_EINVAL: an
 * unknown policy, a name of 0 or over 255 bytes. MUSTER_ELIMIT: a number out of
 * its bounds, which the text names. */
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
    uint64_t number;    /* of this ticket */
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
 * latency_us counts for MUSTER_SUCCESS. MUSTER_EVOID: done before, also with a
 * copy of the ticket (as long as no 65,536 others were picked meanwhile). */
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
    /* Whose the list is: a random name of the registry's cluster (empty: not
     * told; a Consul does not). */
    char cluster[64];
    uint32_t slow_starting, draining;
    int zoned;  /* the local zone first */
    int ranked; /* the subset is by rank, not by salt */
    /* Percent of picks that go to other datacenters. Those are counted in
     * `instances`, `healthy` and what follows; all else is about the own one. */
    uint32_t elsewhere_percent;
    int returning; /* on its way back to a better priority: see return_ms */
};

/* size: sizeof *st. */
void muster_status_init(struct muster_status *st, size_t size);
int muster_status(struct muster_service *s, struct muster_status *ret);

struct muster_instance {
    size_t size;
    const char *node, *id, *address, *zone; /* valid during the call */
    uint16_t port;
    uint32_t weight, priority;
    /* Out: in maintenance or draining. Held: the registry shows it no more. */
    int critical, out, held, ejected, unreachable;
    uint32_t active; /* requests in flight */
    uint64_t successes, failures, refusals;
    int draining, chosen;   /* chosen: in the subset */
    const char *datacenter; /* as it was asked for; "": the server's own */
    int guarded; /* fell silent with too many others: the registry holds it */
};

/* Calls `each` for all instances of the list in use, on the handle's thread,
 * before it returns. */
int muster_each(struct muster_service *s,
                void (*each)(void *ctx, const struct muster_instance *i),
                void *ctx);

struct muster_datacenter {
    size_t size;
    const char *name; /* as it was asked for; "": the server's own; valid during
                         the call */
    uint32_t order;   /* 0: the own one, then those to fail over to */
    int reachable;    /* by the registry, as far as it says */
    int known;        /* a list of it has come */
    int used;         /* it is looked at */
    uint64_t age_ms; /* of its list: since the registry confirmed it, and as old
                         as it was then */
    uint32_t instances, healthy; /* as the registry sees them */
    uint32_t guarded; /* held by the guard; healthy only where no other is */
    double share;     /* of picks: 0 to 1 */
};

/* Calls `each` for the own datacenter and those to fail over to, in order, on the
 * handle's thread, before it returns. */
int muster_each_datacenter(struct muster_service *s,
                           void (*each)(void *ctx,
                                        const struct muster_datacenter *d),
                           void *ctx);

#if defined(__GNUC__) || defined(__clang__)
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif

#endif
