/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* subscribers_impl - what the files of subscribers.h share.
 *
 *     subscribers.c       who comes, goes and acknowledges
 *     subscribers_look.c  what is asked of the table
 *     subscribers_behind.c  those behind a subscriber (behind.h), both sides */
#ifndef SERVER_SUBSCRIBERS_IMPL_H
#define SERVER_SUBSCRIBERS_IMPL_H

#include <stdlib.h>
#include <uv.h>

#include "base/map.h"
#include "server/subscribers.h"

struct watch {
    struct list link; /* of its subscriber */
    struct subscriber *subscriber;
    struct list same_name;
    struct stream_mark *mark; /* of a stream: where its group is; NULL: none */
    uint64_t applied;         /* of a poll; a stream's is the subscriber's */
    char *name;               /* folded; behind the target */
    size_t name_n;
    char target[];
};

struct subscriber {
    struct subscriber_flow flow;
    struct list link; /* in all, the longest unheard first */
    struct list watches;
    struct map by_target; /* of them */
    bool stream, connected, gone;
    uint64_t joined_ms, seen_ms; /* monotonic */
    uint64_t joined_at;          /* the revision there was then */
    uint64_t applied;
    uint64_t lag_ms, max_lag_ms, lag_count;
    struct behind_kept *behind; /* who reads through it; NULL: not said */
    char id[SUBSCRIBER_ID_BYTES + 1];
    char label[129], zone[65], peer[64];
};

struct name_watches {
    struct list all;
    size_t n;
    char name[];
};

struct subscribers {
    uv_mutex_t mutex;
    uint64_t started_ms, memory_ms;
    struct map by_id, by_name;
    struct list all;
    struct list several; /* watches of several services */
    size_t count;
    size_t behind_rows; /* of all */
    struct readers readers;
    struct lags lags;
    struct callers callers;
};

static inline struct bytes subscribers_fold(struct bytes b, char *space,
                                            size_t n)
{
    struct buf out = {.p = space, .cap = n, .max = n};
    buf_put_fold(&out, bytes_head(b, n));
    return buf_bytes(&out);
}

/* subscribers.c, under the mutex: watches of the service (empty: of several);
 * NULL: none, or no memory to make it. */
struct list *subscribers_watches_of(struct subscribers *ss, struct bytes name,
                                    bool make);
/* subscribers_behind.c */
void behind_kept_free(struct subscribers *ss, struct behind_kept *take);
/* Sets what the row says of those behind its subscriber. */
void behind_kept_show(const struct subscriber *s, struct bytes name,
                      uint64_t now_ms, struct watcher *row);
/* Rows of those behind it that follow the service. */
void behind_kept_each(const struct subscriber *s, struct bytes name,
                      uint64_t now_ms,
                      void (*each)(void *ctx, const struct watcher *w),
                      void *ctx);

/* subscribers.c: it has applied this. */
void subscribers_applied(struct subscribers *ss, struct subscriber *s,
                         uint64_t index);
/* Those that nobody needs to know any more; connected streams stay. */
void subscribers_forget(struct subscribers *ss);

#endif
