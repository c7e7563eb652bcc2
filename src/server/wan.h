/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* wan - keeps the list of servers of all datacenters (wan/wan.h) in this process:
 * asks them, hears them, shows all threads what it knows (process->wan). Core
 * thread, but for wan_word. */
#ifndef SERVER_WAN_H
#define SERVER_WAN_H

#include "server/core.h"
#include "server/run.h"

/* Nothing happens where this is no server, or has no listener for others. */
MUST_USE enum err wan_open(struct core *c, const struct settings *s,
                           struct errtext *t);
void wan_close(struct core *c);  /* the loop runs on */
void wan_end(struct process *p); /* no thread is left */

/* A serving thread was told this; copied. */
void wan_word(struct process *p, const struct api_wan_word *w);

/* op->output: the word of a server that nobody here knows, or that was taken for
 * dead. op->done follows when all threads see it: what it asks, or tells its user
 * to ask, is answered by who knows of it. */
void wan_hear(struct core *c, struct agent_op *take);

/* op->id: HOST:PORT; op->done follows once it has answered, or has not. */
void wan_join(struct core *c, struct agent_op *take);

/* op->id: NODE.DATACENTER of a failed server, which everybody forgets; one that
 * lives it is nothing to. op->done follows. */
void wan_force_out(struct core *c, struct agent_op *take);

/* Tells the others that this server leaves; does not wait. */
void wan_leaves(struct core *c);

#endif
