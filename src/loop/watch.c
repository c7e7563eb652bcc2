/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "loop/watch.h"

#include <stdlib.h>

#include "base/list.h"

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct watch *w = container_of(poll, struct watch, poll);

    if (!w->owner)
        return;
    if (status < 0) /* reading or writing says what it is */
        events = UV_READABLE | UV_WRITABLE;
    w->ready(w->owner, events);
}

struct watch *watch_open(uv_loop_t *loop, int fd,
                         void (*ready)(void *owner, int events), void *owner)
{
    struct watch *w = calloc(1, sizeof *w);

    if (!w)
        return NULL;
    if (uv_poll_init(loop, &w->poll, fd) != 0) {
        free(w);
        return NULL;
    }
    w->owner = owner;
    w->ready = ready;
    return w;
}

void watch_for(struct watch *w, int events)
{
    if (events == w->events)
        return;
    w->events = events;
    if (events)
        (void)uv_poll_start(&w->poll, events, on_poll);
    else
        (void)uv_poll_stop(&w->poll);
}

static void on_closed(uv_handle_t *h)
{
    free(container_of((uv_poll_t *)h, struct watch, poll));
}

void watch_close(struct watch *w)
{
    if (!w)
        return;
    w->owner = NULL;
    uv_close((uv_handle_t *)&w->poll, on_closed);
}
