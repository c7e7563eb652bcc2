/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* archive_impl - what the archivist's files share: archive.c (questions and
 * answers), archive_read.c (what the store is asked). */
#ifndef SERVER_ARCHIVE_IMPL_H
#define SERVER_ARCHIVE_IMPL_H

#include "server/archive.h"

struct ask {
    struct letter letter;
    struct serving *from;
    struct conn *conn; /* the serving thread's; NULL: gone */
    _Atomic bool gone;
    struct arena arena;
    struct bytes target; /* canonical */
    struct api_at at, since;
    enum api_story story;
    struct story_options want;
    bool gzip;

    struct api_call call; /* the answer; body apart */
    struct shared *body;
    bool packed;
    uint64_t index;
};

/* A catalog of then. */
struct kept {
    struct catalog *catalog; /* NULL: none */
    struct pin_domain pins;  /* nobody pins: it is this thread's own */
    uint64_t revision, used;
};

struct archivist {
    struct process *process;
    uv_thread_t thread;
    uv_loop_t loop;
    struct timers timers;
    struct queue *inbox; /* struct ask */
    struct queue *mail;  /* struct store_batch, and the mark */
    _Atomic int waiting; /* asks not yet answered */
    int pin;
    struct list asks, letters; /* taken out of the queues */
    struct list end;           /* posted last */
    bool ending;

    /* Of the store, one of them at a time. */
    struct store_moment moment;
    struct store_read read;
    struct store_history history;
    struct list mark; /* in mail: outcome is set */
    enum err outcome;

    struct kept kept[ARCHIVE_KEPT_MAX];
    uint64_t uses;
    struct timer forget;
};

/* --- archive_read.c; on the archivist's thread ---------------------------- */

void archive_open(struct archivist *a);
void archive_close(struct archivist *a); /* what is kept goes */

/* Of the inbox of the store's answers. */
void archive_on_mail(void *ctx, struct list *items);

uint64_t archive_wall_ms(void);

/* The moment that is meant, in a->moment. ERR_COMPACTED, ERR_NOT_FOUND: before
 * what is kept, in the future. */
MUST_USE enum err archive_moment(struct archivist *a, struct api_at at);

/* The catalog as of a revision, until archive_trim. */
MUST_USE enum err archive_catalog(struct archivist *a, struct ask *q,
                                  uint64_t revision,
                                  const struct snapshot **ret);

/* After an answer: keeps only what may stay. */
void archive_trim(struct archivist *a);

/* Who registered the ghosts: a map of api_author whose texts are in the ask's
 * arena; map_fini it. What history does not reach any more is left out. */
void archive_authors(struct archivist *a, struct ask *q, struct map *ret);

/* What happened up to past->until; sets where it begins. Free it. */
MUST_USE enum err archive_story(struct archivist *a, struct ask *q,
                                struct api_past *past, struct story **ret);

#endif
