/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "loop/queue.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/check.h"

struct queue {
    uv_async_t async;
    void (*consume)(void *ctx, struct list *take_items);
    void *ctx;
    size_t max_items;

    pthread_mutex_t mutex; /* guards what follows */
    struct list items;
    size_t n;
};

static void on_async(uv_async_t *async)
{
    struct queue *q = async->data;
    struct list taken;

    list_init(&taken);
    pthread_mutex_lock(&q->mutex);
    list_move_all(&taken, &q->items);
    q->n = 0;
    pthread_mutex_unlock(&q->mutex);
    if (!list_empty(&taken))
        q->consume(q->ctx, &taken);
}

void queue_drain(struct queue *q)
{
    on_async(&q->async);
}

enum err queue_new(uv_loop_t *loop, size_t max_items,
                   void (*consume)(void *ctx, struct list *take_items),
                   void *ctx, struct queue **ret)
{
    struct queue *q = calloc(1, sizeof *q);

    if (!q)
        return ERR_NOMEM;
    if (pthread_mutex_init(&q->mutex, NULL) != 0) {
        free(q);
        return ERR_NOMEM;
    }
    if (uv_async_init(loop, &q->async, on_async) != 0) {
        pthread_mutex_destroy(&q->mutex);
        free(q);
        return ERR_NOMEM;
    }
    q->async.data = q;
    q->consume = consume;
    q->ctx = ctx;
    q->max_items = max_items;
    list_init(&q->items);
    *ret = q;
    return ERR_OK;
}

static void on_closed(uv_handle_t *h)
{
    struct queue *q = h->data;

    /* A producer's mutex_unlock may still be in its last instructions although
     * its item has been consumed; a lock taken and given waits for it. */
    pthread_mutex_lock(&q->mutex);
    require(list_empty(&q->items));
    pthread_mutex_unlock(&q->mutex);
    pthread_mutex_destroy(&q->mutex);
    free(q);
}

void queue_close(struct queue *q)
{
    on_async(&q->async);
    uv_close((uv_handle_t *)&q->async, on_closed);
}

/* A queue that was not empty has its wake-up still under way: whoever made it
 * non-empty sent it, and the consumer takes everything at once. The send stays
 * under the lock, so that no producer touches the handle after its item could
 * have been consumed. */
enum err queue_push(struct queue *q, struct list *item)
{
    enum err e = ERR_OK;

    pthread_mutex_lock(&q->mutex);
    if (q->max_items && q->n >= q->max_items) {
        e = ERR_FULL;
    } else {
        list_add(&q->items, item);
        if (q->n++ == 0)
            (void)uv_async_send(&q->async);
    }
    pthread_mutex_unlock(&q->mutex);
    return e;
}

void queue_push_all(struct queue *q, struct list *items)
{
    size_t n = 0;

    for (const struct list *it = items->next; it != items; it = it->next)
        n++;
    if (n == 0)
        return;
    pthread_mutex_lock(&q->mutex);
    list_move_all(&q->items, items);
    if (q->n == 0)
        (void)uv_async_send(&q->async);
    q->n += n;
    pthread_mutex_unlock(&q->mutex);
}
