/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* impl - the inside of a store, shared by the files that make up its engine:
 *
 *     engine.c   life, threads, what happens next
 *     change.c   one change: limits, answers
 *     group.c    changes -> groups -> outcomes
 *     pace.c     how many groups at once
 *     unknown.c  settles groups whose outcome was lost
 *     feed.c     loads, revisions -> batches
 *     batch.c    batches, and how many of a load there may be at once
 *     barrier.c  barriers
 *     past.c     history, reads at a revision, in slices
 *     marker.c   what a group says of who wrote it
 *     duty.c     campaigns
 *     upkeep.c   when to compact
 *     import.c   new epochs
 *
 * Everything runs on the store thread unless it says otherwise.
 *
 * Keys in the backend (text, so that people can look; epochs in hexadecimal):
 *
 *     E                  the pointer: the current epoch, decimal; none: 0
 *     k0000/KEY          KEY of epoch 0
 *     m/SERVER/SLOT      marker: the last group of that slot of that server
 *     d/NAME             duty: who holds it, under a lease
 *     i                  the last import: who may write rows of a new epoch
 *     t                  clock: which revision was newest when (upkeep.c)
 *
 * Revisions: plain ones are the backend's; those users see carry the epoch. */
#ifndef STORE_IMPL_H
#define STORE_IMPL_H

#include <stdatomic.h>
#include <uv.h>

#include "base/buf.h"
#include "loop/queue.h"
#include "loop/timers.h"
#include "store/backend.h"
#include "store/claims.h"
#include "store/pace.h"
#include "store/store.h"

enum {
    EPOCH_MAX = STORE_EPOCHS_MAX - 1,
    DATA_PREFIX_BYTES = 6,  /* "k0000/" */
    GROUP_OWN_PUTS_MAX = 2, /* marker, clock */
    GROUP_OWN_GUARDS = 2,   /* pointer, marker */
    /* Between attempts while the store is gone: doubles from one to the next.
     */
    RETRY_FIRST_MS = 5,
    RETRY_MAX_MS = 500,
    DUTY_RETRY_MS = 200,
    CLOSE_GRACE_MS = 3000, /* for the unsettled, when the store closes */
    CLOSE_POLL_MS = 20,
    GARBAGE_MAX = 8,
    /* Of STORE_GROUP_BYTES_MAX: kept free for what the engine adds. */
    GROUP_OWN_BYTES = 32 * 1024,
};

/* A guard's key that starts with NUL is a duty's fence: the rest is the key in
 * the backend, its revision the backend's. Users' own keys never do. */
enum { FENCE_BYTE = '\0' };

enum group_state {
    GROUP_FREE,
    GROUP_FLYING,  /* handed to the backend */
    GROUP_LOST,    /* outcome unknown; the bar is to be tried (again) */
    GROUP_BARRING, /* bar handed to the backend */
    GROUP_TRACING, /* reading who came through */
    GROUP_JUDGING, /* evaluating guards at revision - 1 */
    GROUP_KNOWN,   /* waits for the feed to reach its revision */
};

struct store;
struct marker; /* marker.h */

/* One slot: at most one group in flight, its marker, and what it was made of.
 */
struct group {
    struct store *store;
    enum group_state state;
    struct buf marker_key;
    uint64_t marker_rev; /* of the last group that is surely in */

    struct backend_group sent;
    struct store_guard own_guards[GROUP_OWN_GUARDS];
    struct store_op own_ops[GROUP_OWN_PUTS_MAX];
    struct buf marker; /* the value: names the group */
    struct buf name;   /* {"group":"..." : how the value starts */
    struct buf clock;

    /* Made of: arrays that stay for the next group. */
    struct store_change **members;
    size_t member_count, member_cap;
    struct backend_change *changes;
    size_t change_cap;
    struct store_guard *guards;
    size_t guard_cap;
    struct store_op *ops;
    size_t op_cap;
    char *keys;
    size_t key_cap;
    struct claims claims;
    bool raw; /* keys are the backend's already (import) */
    uint64_t launched_ms;

    struct unknown *unknown; /* while LOST .. JUDGING */
};

/* A load under way, or rows for a store_read. */
struct chunk {
    struct store_batch *batch; /* being filled; NULL: none */
    char *at;
    size_t left;
};

struct revision_mark { /* upkeep.c */
    uint64_t revision, wall_ms, bytes;
};

enum { MARKS_MAX = 192 };

enum load_step { LOAD_WANTED, LOAD_POINTER, LOAD_ROWS, LOAD_FAILED };

struct store {
    struct backend *backend;
    struct store_options options; /* strings are ours */
    char *server_id;
    char nonce[17];
    uint64_t group_count;

    uv_thread_t thread;
    uv_loop_t loop;
    struct queue *changes;  /* struct store_change */
    struct queue *commands; /* struct command */
    uv_idle_t turn;         /* active: there is more to do at once */
    struct timers timers;
    struct timer retry;
    uint64_t retry_ms;
    struct timer upkeep;
    struct timer closer;
    uint64_t close_deadline_ms;

    _Atomic bool closing;
    _Atomic uint64_t submitted; /* changes taken and not yet answered */
    _Atomic uint64_t oldest;    /* as users see it */
    bool stopping;              /* the close command has come */
    bool ended;                 /* nobody is answered any more */

    /* What is true of the backend, as far as the feed has shown it. */
    bool ready; /* the first load is done */
    uint32_t epoch;
    uint64_t pointer_rev;
    char prefix[DATA_PREFIX_BYTES + 1];
    uint64_t delivered;  /* newest revision handed out */
    uint64_t hold_until; /* no group starts before the feed is there */
    int up;              /* -1: not yet told */

    /* Loading. */
    bool loading, load_again, feed_stopped, pointer_bad;
    enum load_step load_step;
    uint64_t load_rev;
    uint32_t load_epoch;           /* current when the pointer was asked for */
    uint32_t found_epoch;          /* what it says */
    uint64_t found_pointer;        /* its revision; 0: there is none */
    uint32_t garbage[GARBAGE_MAX]; /* older epochs of which rows were seen */
    size_t garbage_count;
    struct chunk load_chunk;
    struct window *window;
    struct list held; /* revisions that came while loading */

    /* Changes. */
    struct list waiting;  /* struct store_change, in order */
    struct list internal; /* the same, with the backend's keys, one per group */
    bool internal_last;
    bool probe; /* while the store is down: an empty group is due */
    int slots;
    struct store_pace pace;
    struct timer paced; /* more may fly then */
    bool barrier_free;
    struct claims postponed;
    struct group *groups;

    struct list early; /* struct command that came before the first load */

    /* Barriers. */
    struct list barriers_waiting, barriers_flying;

    /* Duties. */
    struct list duties; /* struct campaign */

    /* Upkeep. */
    struct revision_mark marks[MARKS_MAX];
    size_t mark_count;
    uint64_t bytes_fed, bytes_dropped; /* ever; of it, compacted away */
    uint64_t compact_to;               /* wanted; 0: nothing */
    bool compacting;
    bool compacts; /* or somebody else does */

    /* The past (past.c). */
    size_t reads;            /* of any kind, under way */
    struct list pasts_ready; /* to take a step */
    struct list pasts_asked; /* whether to go on */

    struct import *import; /* one at a time */
    struct list imports;   /* struct store_import, waiting */
};

enum command_kind {
    COMMAND_BARRIER,
    COMMAND_READ,
    COMMAND_HISTORY,
    COMMAND_MOMENT,
    COMMAND_MORE, /* of a read or a history; revision 0: give up */
    COMMAND_CAMPAIGN,
    COMMAND_RESIGN,
    COMMAND_COMPACT,
    COMMAND_COMPACTS, /* revision: whether */
    COMMAND_ROOM,
    COMMAND_IMPORT,
    COMMAND_HURRY,
    COMMAND_CLOSE,
};

struct command {
    struct list link;
    enum command_kind kind;
    void *what;
    uint64_t revision;
};

/* --- Revisions and keys -------------------------------------------------- */

static inline uint64_t revision_out(const struct store *s, uint64_t plain)
{
    return (uint64_t)s->epoch << STORE_EPOCH_SHIFT | plain;
}

static inline uint32_t revision_epoch(uint64_t rev)
{
    return (uint32_t)(rev >> STORE_EPOCH_SHIFT);
}

static inline uint64_t revision_plain(uint64_t rev)
{
    return rev & (((uint64_t)1 << STORE_EPOCH_SHIFT) - 1);
}

static inline struct bytes store_prefix(const struct store *s)
{
    return bytes_of(s->prefix, DATA_PREFIX_BYTES);
}

void data_prefix(uint32_t epoch, char ret[DATA_PREFIX_BYTES + 1]);

/* --- engine.c ------------------------------------------------------------ */

/* Something may be possible now that was not: looks again, soon. */
void engine_kick(struct store *s);

/* Looks again after a while that grows until engine_state(up). */
void engine_retry_later(struct store *s);

/* The first load is done: obeys the commands that came before. */
void engine_ready(struct store *s);

void engine_state(struct store *s, bool up, enum err why, const char *text);
uint64_t engine_wall_ms(void);

/* Publishes what store_oldest says. */
void engine_set_oldest(struct store *s);

/* --- change.c ------------------------------------------------------------ */

/* Any thread: limits and rules that a change must obey by itself. */
MUST_USE enum err change_check(const struct store_change *c, struct errtext *t);

/* Bytes it takes of a group, markers included. */
size_t change_bytes(const struct store_change *c);

void change_answer(struct store *s, struct store_change *c,
                   const struct store_outcome *o);
void change_refuse_twice(struct store *s, struct store_change *c,
                         struct bytes key);

/* Answers everybody who waits: nothing of theirs is in. */
void changes_refuse_waiting(struct store *s, enum err why, const char *text);

/* --- group.c ------------------------------------------------------------- */

void groups_open(struct store *s);
void groups_fini(struct store *s);

/* Starts as many groups as there are free slots and work. */
void groups_start(struct store *s);

/* All free. */
bool groups_idle(const struct store *s);

/* The outcome is in sent.verdict (not UNKNOWN): answers, or puts the members
 * back at the head of those that wait. */
void group_settle(struct group *g);

/* Nobody will ever know. */
void group_give_up(struct group *g);

/* The feed has moved: answers the groups it has reached. */
void groups_delivered(struct store *s);

/* The next attempt for groups whose outcome is lost. */
void groups_retry(struct store *s);
/* True while an outcome is being found out. */
bool groups_unsettled(const struct store *s);
/* The store closes: those are answered with ERR_UNKNOWN. */
void groups_give_up(struct store *s);

/* The feed shows one of our markers. */
void group_marker_seen(struct store *s, struct bytes key, uint64_t mod_rev);

/* A load begins: it shows those there are, or the feed does. What was known may
 * be of another life of the store, whose guards would never hold. */
void groups_forget_markers(struct store *s);

/* The load's revision is below what was fed. */
void groups_fell(struct store *s);

/* --- unknown.c ----------------------------------------------------------- */

void unknown_begin(struct group *g);
void unknown_retry(struct group *g); /* state LOST: the next attempt */
void unknown_free(struct group *g);

/* --- feed.c -------------------------------------------------------------- */

/* Loads from the start; the feed begins, or goes on, behind it. */
void feed_load(struct store *s);
void feed_continue(struct store *s); /* a turn of its own, if one is wanted */
void feed_retry(struct store *s);    /* after a load that failed */
void feed_fini(struct store *s);

/* --- batch.c ------------------------------------------------------------- */

/* A batch in one heap block with room for count events and bytes. */
struct store_batch *batch_new(enum store_batch_kind kind, size_t count,
                              size_t bytes, char **ret_room);

/* Events of this epoch's users, as they see them. who: of the same revision,
 * for the events' by; NULL: not asked. */
struct store_batch *batch_of_revision(const struct store *s, uint64_t revision,
                                      uint64_t wall_ms,
                                      const struct store_event *events,
                                      size_t count, const struct marker *who);

/* Adds a row (key without prefix); full chunks go to emit. */
typedef void (*chunk_emit_fn)(void *ctx, struct store_batch *take);
void chunk_add(struct store *s, struct chunk *c, const struct backend_row *row,
               chunk_emit_fn emit, void *ctx);
void chunk_flush(struct chunk *c, chunk_emit_fn emit, void *ctx);

/* Lets a load's batch through when there is room; it leaves when it is freed,
 * on any thread. hurry: the store closes. w may be NULL. */
struct window *window_new(void);
void window_enter(struct window *w, struct store_batch *b,
                  const _Atomic bool *hurry);
void window_leave(struct window *w);

/* --- barrier.c ----------------------------------------------------------- */

void barrier_add(struct store *s, struct store_barrier *b);
void barriers_start(struct store *s);
void barriers_fail(struct store *s, enum err e);

/* --- past.c -------------------------------------------------------------- */

void read_start(struct store *s, struct store_read *r);
void history_start(struct store *s, struct store_history *h);
void moment_start(struct store *s, struct store_moment *m);
void past_more(struct store *s, const void *what, bool go_on);
void pasts_step(struct store *s); /* one slice of one of them */
void pasts_close(struct store *s);

/* --- duty.c -------------------------------------------------------------- */

void duty_campaign(struct store *s, struct store_duty *d);
void duty_resign(struct store *s, struct store_duty *d);
void duties_delivered(struct store *s); /* the feed has moved */
void duty_key_deleted(struct store *s, struct bytes key);
void duties_close(struct store *s);

/* --- upkeep.c ------------------------------------------------------------ */

void upkeep_fed(struct store *s, const struct store_event *events,
                size_t count);
void upkeep_loaded(struct store *s, struct bytes clock); /* empty: none yet */
void upkeep_fell(
    struct store *s); /* to load_rev: marks above it mean nothing */

/* True: this group should carry the clock; clock is its new value. */
bool upkeep_clock_due(struct store *s, uint64_t wall_ms, struct buf *clock);
void upkeep_tick(struct store *s);
void upkeep_compact(struct store *s, uint64_t revision);
void upkeep_resume(struct store *s); /* what the last life left undone */

/* One step of the compaction under way, if any. */
void upkeep_step(struct store *s);
void room_start(struct store *s, struct store_room *r);

/* --- import.c ------------------------------------------------------------ */

void import_add(struct store *s, struct store_import *i);
void imports_start(struct store *s);
void imports_fail(struct store *s, enum err e);

/* Rows of an older epoch were seen: removes them. */
void import_clean(struct store *s, uint32_t epoch);

#endif
