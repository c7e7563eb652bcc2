/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* handler - runs a watch's program once: what is seen on standard input, its
 * index in CONSUL_INDEX, both outputs kept for the log.
 *
 * The program has a process group of its own, which is killed as a whole when
 * its time is over or it is cancelled. What it leaves running after it has
 * ended well (a daemon that it reloaded) is left alone. Core thread. */
#ifndef SERVER_HANDLER_H
#define SERVER_HANDLER_H

#include "base/bytes.h"
#include "config/agent_config.h"
#include "loop/timers.h"

enum { HANDLER_OUTPUT_MAX = 4096 /* its last bytes are kept */ };

struct handler;

/* error NULL: it ended with 0. Views live during the call. */
typedef void (*handler_done_fn)(void *ctx, const char *error,
                                struct bytes output);

/* take_input is heap memory. done is called once, never before this returns.
 * NULL: no memory. */
struct handler *handler_start(uv_loop_t *loop, struct timers *timers,
                              const struct config_strings *args, uint64_t index,
                              char *take_input, size_t n, uint64_t timeout_ms,
                              handler_done_fn done, void *ctx);

/* Killed; done is not called. Its memory goes in later turns of the loop. */
void handler_cancel(struct handler *h);

#endif
