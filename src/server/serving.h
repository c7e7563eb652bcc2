/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* serving - a serving thread: a libuv loop with the HTTP connections it
 * accepted, its cache of encoded answers and its long polls.
 *
 * Parts: serving.c (thread, requests), read.c and gate.c (reads), answers.c (cache), park.c (long polls),
 * push.c (event streams), write.c (changes and agent ops under way), draft.c
 * (long answers, which another thread makes). All on this thread. */
#ifndef SERVER_SERVING_H
#define SERVER_SERVING_H

#include <uv.h>

#include "base/log.h"
#include "base/map.h"
#include "server/admit.h"
#include "server/follows.h"
#include "server/gate.h"
#include "server/process.h"
#include "server/run.h"

enum {
    GZIP_MIN_BYTES = 256, /* below, compression costs more than it saves */
    /* What would take a serving thread longer than about a millisecond is made
     * by the drafter, so that nobody else waits for it. */
    GZIP_HERE_MAX_BYTES = 64 << 10,
    READ_HERE_MAX_COST = 8000, /* of api_call.cost_limit */
};

/* --- Encoded answers (answers.c) ----------------------------------------- */

struct answer {
    struct list lru;
    struct bytes key;       /* canonical target, in this block's own memory */
    struct watch_key watch; /* name points into key's memory */
    uint64_t text_index;    /* of the watch key when it was encoded */
    uint64_t floor;
    uint64_t digest; /* api_call.digest */
    int status;
    const char *content_type;
    const char *consistency;
    struct shared *extra_head; /* NULL: none */
    uint32_t held;             /* as in the call */
    struct shared *body;
    struct shared *gzip;    /* made when first asked for; NULL: not yet */
    struct shared *head[2]; /* [gzip]: for keep-alive HTTP/1.1; NULL: not yet */
    uint64_t head_index[2];
    uint64_t head_generation[2]; /* of the api_self it was made with */
    uint32_t refs;               /* the cache holds one */
};

struct answers {
    struct map map;
    struct list lru; /* least recently used first */
    size_t bytes, max_bytes;
};

void answers_init(struct answers *a, size_t max_bytes);
void answers_fini(struct answers *a);

/* The cached answer of this target, if its watch key still has that index; NULL
 * otherwise. Not a new reference. */
struct answer *answers_find(struct answers *c, struct bytes key,
                            const struct snapshot *s);

/* From a call whose api_read is done, with want_digest. take_body NULL: a copy
 * of the call's; take_gzip may be NULL. The newest entry always stays, however
 * large, so that all who wait for it share it. NULL: no memory. */
struct answer *answers_add(struct answers *c, struct bytes key,
                           const struct api_call *call, uint64_t text_index,
                           uint64_t floor, struct shared *take_body,
                           struct shared *take_gzip);

/* It is not to be found any more. */
void answers_forget(struct answers *c, struct answer *a);

void answer_ref(struct answer *a);
void answer_unref(struct answer *a);

/* --- Long polls (park.c) ------------------------------------------------- */

/* In the connection's user memory. */
struct park {
    struct list link;         /* in group->parked */
    struct park_group *group; /* NULL: not parked */
    struct timer timer;
    struct conn *conn;
    struct serving *serving;
    uint64_t asked;
    bool gzip;
};

/* All who wait for the same answer. */
struct park_group {
    struct follow follow; /* its target is in this block */
    struct list dirty;    /* in parks.dirty, or alone */
    struct list parked;
    uint64_t index, digest; /* of what they have */
    bool by_hash;           /* hash blocking: digest is the content hash */
    bool unknown;           /* digest is not known yet: a draft will tell */
};

struct parks {
    struct follows groups; /* park_group.follow */
    struct list dirty;
};

void parks_init(struct parks *p);
void parks_fini(struct parks *p);

/* --- Event streams (push.h) -------------------------------------------- */

struct push;

/* Of one catalog. */
struct push_seen {
    uint64_t revision; /* whose changes the groups know of */
    size_t count;      /* streams */
};

struct pushes {
    struct follows groups; /* push_group.follow */
    struct list work;      /* groups with something to do now */
    struct list all;       /* streams, the next beat first */
    struct list mirrors;   /* those of mirrors, which are in no other list */
    struct list texts;     /* the oldest first */
    size_t text_bytes;
    struct push_seen own, of_mirror[MIRRORS_MAX];
    uint64_t seed; /* of the hashes of entries */
    uv_idle_t idle;
    struct timer beat, mirror_beat;
    struct list hearers, deaf; /* agents' streams: told of all user events, or
                                * not yet (push_user.c) */
    struct timer hear;
    uint64_t hear_number; /* of the newest event that is known of */
    struct list callers; /* streams that are told of them, the next due first */
    struct timer calls;
};

struct serving {
    struct process *process;
    int number;
    uv_thread_t thread;
    uv_loop_t loop;
    struct timers timers;
    struct queue *inbox;
    struct http_server *http;
    int pin;
    int pinned;                                    /* depth */
    uint64_t turn;                                 /* times pinned */
    struct api_env env;                            /* while pinned */
    struct mirror_view *mirror_views[MIRRORS_MAX]; /* mirror_serve.c */
    struct answers answers;
    struct parks parks;
    struct pushes pushes;
    struct gate gate;
    struct peers *peers;    /* made when first needed */
    struct dns_worker *dns; /* the same: answers for agents */
    struct shared *beaten;  /* answer to beats where many are; NULL: none */
    uint64_t beaten_age_ms;
    struct list awaiting;  /* requests: forward.h */
    struct map shares;     /* target and index -> polls that wait together */
    struct list rounds;    /* reads for those whose wait is over */
    struct map drafts;     /* canonical target -> struct draft under way */
    _Atomic uint64_t seen; /* revision: its groups know of all up to it */
    /* Long polls and streams; the core thread looks at it. */
    _Atomic size_t parked;
    struct list monitors;
    struct list meters; /* readers of the metrics (meter.c) */
    size_t meter_count;
    _Atomic size_t monitor_count; /* the core thread looks at it */
    _Atomic size_t lines_waiting;
    struct list remotes; /* to other datacenters (remote.c) */
    struct list written; /* committed or in conflict: to settle this turn */
    struct list writes_spare;
    size_t writes_spare_count;
    struct admit admit;
    struct timer admit_look;
    bool admitting;
    unsigned shed;
    uint64_t random; /* jitter of waits */
    struct buf scratch;
    size_t outstanding; /* writes and wishes that others still hold */
    bool closing, http_closed, idle;
};

/* In the connection's user memory: waits for a draft. */
struct draft_wait {
    struct list link;
    struct draft *draft; /* NULL: does not wait */
    struct conn *conn;
    uint64_t asked;  /* index to answer with at least */
    uint64_t newest; /* text index or floor when it asked: no older answer */
    bool gzip;
};

/* In the connection's user memory: reads the log (monitor.c). */
struct monitor {
    struct list link;
    struct conn *conn; /* NULL: does not */
    struct serving *serving;
    enum log_level level;
    bool json;
    uint64_t lost; /* lines since the last one that he got */
};

/* What to tell of the cache that Consul's agent has (?cached). */
enum told_cache { TOLD_NOTHING, TOLD_MISS, TOLD_HIT };

/* In the connection's user memory: what its outstanding request waits for. */
struct conn_state {
    enum told_cache cache;
    char subscriber[33];  /* id to answer with; empty: none */
    uint64_t reader_hash; /* of the name it last read without id, */
    uint64_t reader_ms;   /* and when that was told */
    struct park park;
    struct draft_wait draft_wait;
    struct write *write; /* NULL: none */
    struct wish *wish;
    struct held_read *held; /* at the gate */
    struct snap *snap;
    bool stale;                     /* what it asked for: its age is told */
    const struct dc_mirror *mirror; /* answered from it; NULL: the own */
    struct ask *ask;                /* about the past */
    struct peer_wait *peer_wait;
    struct sync_request *sync;
    struct forward *forward; /* asked of a server */
    struct awaited *awaited; /* until a name is mirrored */
    struct shared_poll *shared;
    struct remote *remote;     /* asked of another datacenter */
    struct everyone *everyone; /* asked of the other servers */
    struct monitor monitor;
    struct meter *meter; /* NULL: none */
    struct push *push;   /* NULL: none */
};

/* take_fds: of the settings' listeners. */
MUST_USE enum err serving_start(struct process *p, int number,
                                const struct settings *o, const int *take_fds,
                                struct serving **ret, struct errtext *t);
void serving_join(struct serving *s); /* after LETTER_END; frees */

/* Connections that begin later show and ask for this one. Any thread. */
void serving_tls(struct serving *s, struct tls_server *tls);

/* The thread's way to ask servers and agents; NULL: no memory. */
struct peers *serving_peers(struct serving *s);

/* One more, or one less, waits for changes (serving.parked). */
void serving_waits(struct serving *s, bool more);

/* The revision up to which all serving threads have marked what it concerns: who
 * waits is told of that, or newer. Any thread. */
uint64_t serving_seen(const struct process *p);

/* Any thread. */
void serving_post(struct serving *s, struct letter *take);

/* --- Within the serving thread ------------------------------------------- */

/* Between these the snapshots of serving_env stay valid, and stay the same:
 * what one step of a turn compared, the next one sees too. */
void serving_pin(struct serving *s);
void serving_unpin(struct serving *s);
uint64_t serving_wall_ms(void); /* Unix time, for people */
struct api_env serving_env(const struct serving *s);

/* What metrics tell of the process; not cheap. */
void serving_measure(const struct serving *s, struct api_env *env);

/* The index to send with the answer of a watch key. */
uint64_t serving_index(const struct api_env *env, uint64_t key_index,
                       uint64_t asked);
uint64_t serving_key_index(const struct api_env *env, struct watch_key k);

/* The head's lines about it. */
void serving_cache_lines(struct conn *c, struct buf *out);

/* What to say of how old an answer may be, and of a leader. */
uint64_t serving_age_ms(const struct serving *s, struct conn *c,
                        bool *ret_leader);

/* Answers with what the call holds. */
void serving_answer_call(struct serving *s, struct conn *c,
                         struct api_call *call, uint64_t index, bool gzip);

/* Answers with an encoded one. */
void serving_answer(struct serving *s, struct conn *c, struct answer *a,
                    uint64_t index, bool gzip);

/* Answers a read: from the cache, or
 * encoded now and put there, or from a draft, later. asked: an index that the
 * answer's must not fall below. */
void serving_reply(struct serving *s, struct conn *c, struct api_call *call,
                   const struct api_env *env, struct bytes target,
                   uint64_t asked, bool gzip);

/* Answers a read that is made anew each time (call->fresh), here or by a draft.
 */
void serving_reply_fresh(struct serving *s, struct conn *c,
                         struct api_call *call, struct api_env *env,
                         struct bytes target, bool gzip);

/* dispatch.c, of loop/conn.h's events; ctx is the serving thread. */
void dispatch_request(void *ctx, struct conn *c, struct http_request *r);
void dispatch_gone(void *ctx, struct conn *c);
void dispatch_drained(void *ctx, struct conn *c);

/* read.c. The call moves: answered now or later. */
void read_begin_snapshot(struct serving *s, struct conn *c,
                         struct api_call *call, struct api_env *env);
void read_begin(struct serving *s, struct conn *c, struct api_call *call,
                struct api_env *env, bool gzip);
void read_gone(struct conn_state *st);

/* park.c. target: canonical. False: no memory (answer at once instead). */
bool park_add(struct serving *s, struct conn *c, struct api_call *call,
              const struct api_env *env, struct bytes target, bool gzip);
void park_remove(struct park *p);
void park_published(struct serving *s, const struct published *pub);
void park_wake_dirty(struct serving *s);
void park_close_all(struct serving *s);

/* The target's answer as the drafter found it at this snapshot's index of the
 * watch key: those who have another one are answered. a NULL: no memory, or
 * another status; then the call holds it. */
void park_drafted(struct serving *s, struct bytes target, struct api_call *call,
                  struct answer *a, uint64_t index, uint64_t floor);

/* push.c. Before the thread runs; at its end (closes its handle). */
MUST_USE enum err pushes_init(struct serving *s);
void pushes_close(struct serving *s);
void pushes_fini(struct serving *s);

/* The call's request becomes a stream, or is answered with an error. */
void push_open(struct serving *s, struct conn *c, struct api_call *call,
               const struct api_env *env);
void push_gone(struct conn_state *st);
void push_drained(struct conn_state *st);
void push_end_all(struct serving *s);

/* What was published concerns these groups; then push_work does what can be
 * done at once, and has the rest follow in later turns. */
void push_published(struct serving *s, const struct published *pub);
void push_work(struct serving *s);

/* draft.c. A draft of the target is made, or is being made already. False: no
 * memory. */
bool draft_begin(struct serving *s, struct bytes target, bool gzip);

/* c is answered from the draft that is under way (one must be). */
void draft_wait(struct serving *s, struct conn *c, const struct api_call *call,
                const struct api_env *env, struct bytes target, uint64_t asked,
                bool gzip);
bool draft_under_way(const struct serving *s, struct bytes target);
void draft_wait_gone(struct draft_wait *w);
void draft_made(struct serving *s, struct letter *l);

/* The thread that makes them; before the serving threads start, and after they
 * have been joined. */
MUST_USE enum err drafter_start(struct process *p, struct errtext *t);
void drafter_join(struct process *p);

/* write.c */
void write_begin(struct serving *s, struct conn *c, struct api_call *call);
void write_written(struct serving *s, struct letter *l);
void write_settle_all(struct serving *s); /* at the end of a turn */
void write_gone(struct conn_state *st);
void wish_begin(struct serving *s, struct conn *c, struct api_call *call);
void wish_answered(struct serving *s, struct letter *l);
void writes_begin(struct serving *s);
void writes_close(struct serving *s); /* who waits is told */
void writes_fini(struct serving *s);

/* Says so once it is closed and nothing is outstanding any more. */
void serving_close_check(struct serving *s);

#endif
