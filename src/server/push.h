/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* push - event streams: what changed in an answer, as it changes.
 *
 *   push.c        connections: begin, end
 *   push_beat.c   beats
 *   push_calls.c  their places among all callers
 *   push_group.c  who is to be sent what, and when
 *   push_send.c   texts on their way
 *   push_build.c  the texts that are sent
 *
 * All who follow the same canonical target on one thread stand in one group. A
 * group has the revision it has been told about (at). When its watch key
 * changes, the catalog's journal names the entries that may have changed since;
 * each is looked at in the newest snapshot, and those that differ from what was
 * told last become one text, encoded once and sent to all by reference.
 *
 * A subscription is in one list of its group:
 *
 *     fresh     has nothing: waits for a snapshot
 *     late      has an older state (resumed, or was slow): waits for what
 *               changed since
 *     sending   is being sent a text
 *     stalled   the same, or late, but its socket is full
 *     live      has what the group has
 *
 * Nothing is queued for a slow reader beyond STREAM_QUEUE_BYTES_MAX: when he has
 * taken that, he is sent what changed since the last text he has whole, as it
 * is by then. Texts that slow readers still hold are bounded too
 * (STREAM_TEXT_BYTES_MAX, or STREAM_TEXTS_LARGEST of the largest): beyond, the
 * oldest are taken away from them, which makes them late.
 *
 * Work is done in steps of STREAM_STEP_NS, the loop's other events in between;
 * a group whose texts take long is asked for changes less often. Pins are held
 * within a step only. All on the serving thread. */
#ifndef SERVER_PUSH_H
#define SERVER_PUSH_H

#include "api/entries.h"
#include "api/entry_table.h"
#include "server/mirror_serve.h"
#include "server/subscribers.h"

enum {
    STREAM_BEAT_MS = 15 * 1000,
    STREAM_BEAT_EARLY_MS = 250, /* so many go out together */
    /* To an agent one of so many: its own beats tell it all that these do. */
    STREAM_AGENT_BEATS = 4,
    STREAM_MIRROR_BEAT_MS = 1000,
    STREAM_QUEUE_BYTES_MAX = 64 << 10, /* unsent, of one connection; a piece may
                                          come on top */
    STREAM_PIECE_BYTES = 32 << 10,     /* about; an entry is not divided */
    STREAM_TEXT_BYTES_MAX = 32 << 20,  /* of one thread; newest always stay */
    STREAM_TEXTS_LARGEST = 8, /* and so many as large as the largest one */
    STREAM_STEP_NS = 100 * 1000,
    STREAM_GAP_MIN_MS = 20,  /* between two deltas of one group */
    STREAM_GAP_MAX_MS = 250, /* the same, however long they take */
    STREAM_SNAPSHOT_KEPT_MS = 2000,
    STREAM_BEATS_PER_TURN = 128,
    STREAM_RETRY_MIN_MS =
        500, /* clients come back spread over this and twice */
};

/* Events, encoded. Whole ones in each piece; a snapshot, or what changed. */
struct push_text {
    struct list link; /* in pushes.texts, oldest first */
    struct push_group *group;
    uint32_t refs;
    bool snapshot;
    uint64_t from, to; /* revisions; who has from, or more, may take it */
    uint64_t made_ms;
    size_t bytes;
    uint64_t id;               /* of the last event */
    size_t id_at, id_n;        /* the last piece's line with the id */
    struct shared *last_plain; /* without it; NULL: not made yet */
    uint32_t n, cap;
    struct shared **pieces;
};

enum push_build_kind { BUILD_NOTHING, BUILD_SNAPSHOT, BUILD_DELTA, BUILD_LATE };

/* A text being made; entries still to look at are kept as bytes. */
struct push_build {
    enum push_build_kind kind;
    struct push_text *text;
    struct buf out;          /* the piece being made */
    uint64_t to, to_id;      /* what it will bring the reader to */
    struct entry_table seen; /* entries in todo, by hash */
    struct buf todo;         /* entries: kind, a, b */
    size_t todo_at;
    struct buf after; /* SNAPSHOT: the last entry; empty: none yet */
    bool filled;      /* SNAPSHOT: the table has all that was walked */
    size_t entries;   /* told */
};

struct push_group {
    struct follow follow;   /* its target is in this block, */
    struct watch_key watch; /* and its name */
    struct pushes *pushes;
    struct list work;         /* in pushes.work, or alone */
    struct timer timer;       /* until it may be asked again */
    size_t members;           /* subscriptions */
    struct stream_mark *mark; /* what of `at` and `dirty` other threads see */
    struct list fresh, late, sending, stalled, live;
    bool dirty;
    uint64_t at;                /* revision that live ones have */
    uint64_t id;                /* index of the watch key then */
    uint64_t since;             /* >= at: nothing changed in between */
    struct entry_table told;    /* what live ones have */
    bool told_all;              /* what is not in it is not in the answer */
    struct push_text *snapshot; /* the newest; NULL: none */
    struct push_build build;
    bool late_may;              /* once more after the last delta */
    uint64_t begun_ns, busy_ns; /* of the last delta or catch-up */
};

enum push_state { SUB_FRESH, SUB_LATE, SUB_SENDING, SUB_STALLED, SUB_LIVE };

struct push_sub {
    struct list link;
    struct push *push;
    struct push_group *group;
    struct push_text *text; /* being sent; NULL: none */
    uint32_t next;          /* piece */
    uint8_t state;          /* enum push_state */
    uint64_t have;          /* revision up to which all was sent; 0: none */
};

struct push {
    struct list
        link; /* in pushes.all, in order of the next beat, or .mirrors */
    struct conn *conn;
    struct serving *serving;
    const struct dc_mirror *of; /* whose catalog; NULL: the own */
    uint64_t beat_ms;           /* due */
    uint32_t beats;             /* so far */
    bool of_agent;              /* who beats to us himself */
    bool full;                  /* waits for its socket */
    bool owes_id;               /* was sent changes, and no id since */
    bool dead;   /* no memory for a piece: ends at the next beat */
    char id[33]; /* random, hexadecimal */
    struct subscriber_flow *flow; /* NULL: not listed */
    struct list hears;            /* an agent's: in pushes.hearers or .deaf */
    uint64_t heard_number;        /* the newest event that it has */
    bool hears_events;
    struct caller *caller; /* NULL: has not asked */
    struct list calls;     /* in pushes.callers */
    uint64_t calls_ms;     /* due */
    uint32_t sub_count;
    struct push_sub subs[];
};

/* --- push_beat.c --------------------------------------------------------- */

void push_beats_init(struct pushes *ss);
void push_beats_close(struct serving *s);

/* The stream is new, and in no list yet. mirror: it is another datacenter's, whose
 * beats are events: all that was published before one was sent before it. */
void push_beats_begin(struct push *st, bool mirror);
/* Of these beats: since the process began (UptimeMs of /v1/peer/clock). */
uint64_t push_clock_ms(const struct serving *s);

/* --- push_calls.c ------------------------------------------------------ */

void push_calls_init(struct pushes *ss);

/* The stream is that of a caller, and is told at once if it may be. */
void push_calls_begin(struct push *st, const struct api_call *call);
void push_calls_end(struct push *st);

/* --- push_user.c ------------------------------------------------------- */

void push_hear_init(struct pushes *ss);
void push_hear_close(struct serving *s);

/* The stream begins in this turn; an agent's is told of user events from here on. */
void push_hear_begin(struct push *st, const struct api_call *call);
void push_hear_end(struct push *st);

/* Its socket takes more again. */
void push_hear_again(struct push *st);

/* There may be new ones. */
void push_hear(struct serving *s);

/* --- push_group.c ------------------------------------------------------ */

/* The sub joins the group of the canonical target (made if need be). since: the
 * revision that its reader has; 0: none. False: no memory. */
bool push_join(struct serving *s, struct push_sub *sub,
               const struct api_env *env, struct bytes target, uint64_t since);
void push_leave(struct serving *s, struct push_sub *sub);

/* Its group has nothing new, but it may have been the last that its connection
 * waited for to be given an id. */
void push_pay_id(struct push_sub *sub);

struct push_seen *push_seen_of(struct pushes *ss, const struct dc_mirror *of);

/* Something was published that its live ones have not been sent yet, as far as is
 * known: it may turn out to be nothing. */
static inline bool push_has_news(const struct push_group *g)
{
    return g->dirty || g->build.kind == BUILD_DELTA;
}

/* An event with this id has been sent. */
static inline void push_told(struct push *st, uint64_t id)
{
    if (st->flow && atomic_load(&st->flow->told) < id)
        atomic_store(&st->flow->told, id);
}

/* --- push_send.c --------------------------------------------------------- */

/* Into the list of its group for this state. */
void push_put(struct push_sub *sub, enum push_state state);

/* The group has something to do. */
void push_schedule(struct push_group *g);

/* The text is to be sent; one more reference. push_send sends some of it. */
void push_attach(struct push_sub *sub, struct push_text *t);
void push_send(struct serving *s, struct push_sub *sub);
void push_drop_text(struct push_sub *sub);

/* Takes the oldest texts away from who still holds them, if they are too many. */
void push_bound_texts(struct pushes *ss);

/* The peer has taken all: its subscriptions go on. */
void push_unstall(struct push *st);

void push_start_work(struct serving *s);

/* --- push_build.c ------------------------------------------------------ */

/* Begins one. False: it cannot be told what changed since, or no memory. */
bool push_build_begin(struct serving *s, struct push_group *g,
                      enum push_build_kind kind, uint64_t from);

enum push_built { BUILT_PART, BUILT_ALL, BUILT_FAILED /* no memory */ };

/* Until deadline_ns. ALL: *ret_text is a reference, or NULL if there is nothing
 * to tell. */
enum push_built push_build_step(struct serving *s, struct push_group *g,
                                uint64_t deadline_ns,
                                struct push_text **ret_text);
void push_build_end(struct push_group *g);

void push_text_unref(struct pushes *ss, struct push_text *t);

/* Does its connection have all of what was published, once the subscription's
 * group has nothing more to tell? */
bool push_is_current(const struct push_sub *sub);

/* Ends the stream; all streams from this mirror. */
void push_end(struct push *st);
void push_end_of(struct serving *s, const struct dc_mirror *of);

/* An event of its own with the id; NULL: no memory. */
struct shared *push_id_event(uint64_t id);

/* A piece as this stream is sent it, a reference; NULL: no memory. */
struct shared *push_piece(struct serving *s, struct push_sub *sub);

#endif
