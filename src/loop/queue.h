/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* queue - how threads hand things to each other: bounded, many producers, one
 * consumer with a libuv loop. The only mutex of the program is in here.
 *
 * A push onto a full queue is refused at once (ERR_FULL): the caller answers
 * 429 or 500, nobody waits for ever. Items are intrusive (struct list), so a
 * push never allocates. The consumer is woken through uv_async, coalesced. */
#ifndef LOOP_QUEUE_H
#define LOOP_QUEUE_H

#include <uv.h>

#include "base/err.h"
#include "base/list.h"

struct queue;

/* consume gets all items pushed since the last call, in order (taken), on the
 * loop's thread. max_items 0: no bound (for queues whose producers are bounded
 * otherwise; say why at the call). */
MUST_USE enum err queue_new(uv_loop_t *loop, size_t max_items,
                            void (*consume)(void *ctx, struct list *take_items),
                            void *ctx, struct queue **ret);

/* Consumer's thread; no producer may be left. What is still in is handed to
 * consume once more. Frees itself when libuv has let go of the handle. */
void queue_close(struct queue *q);

/* Consumer's thread, not within consume: what has been pushed is consumed now,
 * instead of in this turn of the loop. */
void queue_drain(struct queue *q);

/* Any thread. ERR_FULL: not taken. */
MUST_USE enum err queue_push(struct queue *q, struct list *item);

/* Any thread: all items of the list (emptied) under one lock; over the bound
 * too, for things that must not be lost (completions). */
void queue_push_all(struct queue *q, struct list *items);

#endif
