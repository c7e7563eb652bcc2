/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* watch - a descriptor that somebody else reads and writes: tells when it can
 * be. The thinnest layer over uv_poll_t, whose memory has to outlive its end.
 *
 * One thread. The descriptor stays the owner's, who closes it after
 * watch_close. */
#ifndef LOOP_WATCH_H
#define LOOP_WATCH_H

#include <uv.h>

#include "base/err.h"

struct watch {
    uv_poll_t poll;
    void *owner; /* NULL: closed; the memory lives until the turn is over */
    void (*ready)(void *owner, int events);
    int events;
};

/* ready gets UV_READABLE and UV_WRITABLE bits, both after an error of the
 * descriptor. NULL: out of memory, or no descriptor that can be watched. */
struct watch *watch_open(uv_loop_t *loop, int fd,
                         void (*ready)(void *owner, int events), void *owner);

/* What to wait for from now on; 0: nothing. */
void watch_for(struct watch *w, int events);

/* ready is not called any more. w may be NULL. */
void watch_close(struct watch *w);

#endif
