/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* subscribers - who follows what, and what he has applied.
 *
 * A subscriber is an event stream, or a chain of long polls that carries the id
 * it was given. Ids are random: who does not know one cannot speak for it;
 * labels and addresses identify nobody (replicas share names, pods share
 * addresses). What a subscriber has applied he says himself: a stream's client
 * by PUT /v1/muster/ack, a poll by the index that it asks with. Readers without
 * an id are remembered by name and address only: nothing is proven of them.
 *
 * A subscriber that left counts for as long as the longest wait and a tenth: it
 * may still hold what it was told. For that long after a start the table cannot
 * know of all, and says so.
 *
 * In memory, nothing of it in the store. One mutex, held for a few steps at a
 * time; queries without index or id come here once in some seconds of a
 * connection. Any thread. */
#ifndef SERVER_SUBSCRIBERS_H
#define SERVER_SUBSCRIBERS_H

#include <stdatomic.h>

#include "api/entries.h"
#include "server/behind.h"
#include "server/callers.h"
#include "server/lags.h"
#include "server/process.h"
#include "server/readers.h"

enum {
    SUBSCRIBERS_MAX = 65536,
    SUBSCRIBER_ID_BYTES = 32,
    SUBSCRIBER_WATCHES_MAX = API_PEER_SUBSCRIPTIONS_MAX, /* of one */
    LAG_WORST = 10,
};

struct subscribers;

/* What of a subscriber its stream's thread writes without the mutex. */
struct subscriber_flow {
    _Atomic uint64_t told;   /* greatest id sent */
    _Atomic uint32_t behind; /* subscriptions that are not at the newest */
};

/* How far the group is of which a stream has one subscription. Who makes one, and
 * each watch, has a reference. */
struct stream_mark {
    _Atomic uint32_t refs;
    /* The revision up to which its changes are with its streams (sent, or counted
     * in behind); MARK_CLEAN: all that was published. */
    _Atomic uint64_t at;
};

#define MARK_CLEAN UINT64_MAX

struct stream_mark *stream_mark_new(void); /* NULL: no memory */
void stream_mark_unref(struct stream_mark *m);

struct subscriber_labels {
    struct bytes label, zone;
    const char *peer; /* "10.0.0.1:4711" */
};

/* One row of who watches; texts as long as the callback runs. */
struct watcher {
    const char *id, *label, *zone, *peer, *target;
    const char *via; /* the agent at which it is; NULL: here */
    bool stream, connected, behind;
    uint64_t applied, told;                /* index; 0: nothing yet */
    uint64_t at;                           /* of a stream: stream_mark */
    uint64_t since_ms, seen_ms, joined_ms; /* ago, ago, monotonic */
    uint64_t lag_ms, max_lag_ms;
    /* Of an agent: for how long DNS answers may be kept that it gives about the
     * service, and until it knows of all who read there. */
    uint64_t dns_ms, unknown_ms;
};

/* Random, hexadecimal. False: the system has none. */
MUST_USE bool subscriber_new_id(char ret[SUBSCRIBER_ID_BYTES + 1]);

struct subscribers *subscribers_new(void);
void subscribers_free(struct subscribers *ss);

/* The longest wait there is, from now on: a subscriber counts for it and a
 * tenth after it was heard of. It never falls: somebody may wait longer. */
void subscribers_longest_wait(struct subscribers *ss, uint64_t wait_ms);

/* The catalog of this revision has just been published (core thread). */
void subscribers_published(struct subscribers *ss, uint64_t revision);

/* For how long a subscriber counts that is not heard of; and milliseconds until
 * this table knows of all, 0: it does. */
uint64_t subscribers_memory_ms(struct subscribers *ss);
uint64_t subscribers_unknown_ms(struct subscribers *ss);

/* A stream opens; flow is valid until subscribers_left. id is set. NULL: too
 * many, or no memory: then it is not listed. */
struct subscriber_flow *subscribers_joined(struct subscribers *ss,
                                           const char *id,
                                           const struct subscriber_labels *l);
/* One subscription of it. name: the service; empty: of several, or of none.
 * mark: of its group; one more reference is taken. */
void subscribers_watches(struct subscribers *ss, const char *id,
                         struct bytes target, struct bytes name,
                         struct stream_mark *mark);
void subscribers_left(struct subscribers *ss, const char *id);

/* A stream that has left comes back under another id: what it holds, the new
 * one answers for. */
void subscribers_resumed(struct subscribers *ss, struct bytes old_id);

/* A poll asks for target with an index. id: what it brought, or empty; a known
 * one of a poll is an acknowledgement. ret_id: the id to answer with. */
void subscribers_polled(struct subscribers *ss, struct bytes id,
                        const struct subscriber_labels *l, struct bytes target,
                        struct bytes name, uint64_t index,
                        char ret_id[SUBSCRIBER_ID_BYTES + 1]);

/* A reader without id. */
void subscribers_read(struct subscribers *ss, struct bytes name,
                      const char *peer);

enum ack_result { ACK_TAKEN, ACK_NOBODY, ACK_NEVER, ACK_FULL, ACK_NOMEM };

/* gone: it holds nothing any more, and is forgotten once its connection has
 * ended. */
enum ack_result subscribers_ack(struct subscribers *ss, struct bytes id,
                                uint64_t index, bool gone);

/* What somebody says of those who read through its stream. ACK_FULL: there is no
 * room for it, ACK_NOMEM. */
enum ack_result subscribers_behind(struct subscribers *ss,
                                   const struct behind *b);

/* The same of those who read here, for who reads for them: those who do not have
 * all that the catalog has, as far as `seen` (serving_seen), and the readers
 * heard of since since_ms (monotonic). In the arena. False: there are more than
 * BEHIND_ROWS_MAX, or no memory for them. */
bool subscribers_collect(struct subscribers *ss, const struct snapshot *cat,
                         uint64_t seen, uint64_t since_ms, struct arena *a,
                         struct behind *ret);

/* A stream's place among the callers of the service (callers.h; the same with
 * the mutex). */
struct caller *subscribers_calls(struct subscribers *ss, struct bytes name,
                                 const struct subscriber_labels *l,
                                 uint32_t rank);
void subscribers_called(struct subscribers *ss, struct caller *take);
bool subscribers_callers(struct subscribers *ss, struct caller *who,
                         struct json_out *j);

/* Under the mutex: the callbacks must not come back here. Those of the name,
 * and those of several services. */
void subscribers_of(struct subscribers *ss, struct bytes name,
                    void (*each)(void *ctx, const struct watcher *w),
                    void *ctx);
/* False: there were more than could be remembered. */
bool subscribers_unproven(struct subscribers *ss, struct bytes name,
                          void (*each)(void *ctx, const struct unproven *u),
                          void *ctx);
void subscribers_lag(struct subscribers *ss,
                     void (*each)(void *ctx, const struct lag_row *r),
                     void (*worst)(void *ctx, const struct watcher *w),
                     void *ctx);

#endif
