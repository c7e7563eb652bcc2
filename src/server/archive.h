/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* archive - answers about the past, made by a thread of its own, the archivist:
 * ?at, histories, and who is gone.
 *
 *   serving thread               archivist                     store thread
 *   archive_begin: target   ->   when was that?           <->  store_moment
 *                                a catalog of then        <->  store_read
 *                                what happened since      <->  store_history
 *   archive_made: answer    <-   api_read
 *
 * One question at a time: they are asked by people. Slices of the store keep
 * both it and this thread's memory from being flooded; who hangs up stops his
 * question at the next slice. The catalogs of the last moments asked for are
 * kept for a while, because one question brings the next. */
#ifndef SERVER_ARCHIVE_H
#define SERVER_ARCHIVE_H

#include "server/serving.h"

enum {
    ARCHIVE_WAITING_MAX = 64,            /* questions; more: 429 */
    ARCHIVE_KEPT_MAX = 2,                /* moments */
    ARCHIVE_KEPT_INSTANCES_MAX = 200000, /* in all of them */
    ARCHIVE_KEPT_MS = 60 * 1000,         /* after the last question */
};

/* Before the serving threads start, and after they have been joined (the store
 * is still open). */
MUST_USE enum err archivist_start(struct process *p, struct errtext *t);
void archivist_join(struct process *p);

/* --- On the serving thread ----------------------------------------------- */

/* api_wants_past(call): it is answered later. */
void archive_begin(struct serving *s, struct conn *c, struct api_call *call,
                   bool gzip);
void archive_made(struct serving *s, struct letter *l);
void archive_gone(struct conn_state *st);

#endif
