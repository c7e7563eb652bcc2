/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* live - the settings that a reload changes, published to all threads.
 *
 * What answers depend on stands in one immutable block (process->live), read
 * under a pin like a snapshot; the block it replaces is freed once nobody can
 * see it. What only the core thread reads is changed in place. Core thread. */
#ifndef SERVER_LIVE_H
#define SERVER_LIVE_H

#include "server/core.h"
#include "server/run.h"

/* A copy of process->self with what s says; from here on everybody's. Nothing
 * of s is needed afterwards. */
void live_publish(struct process *p, const struct settings *s);

/* The same for a running process: also the agent, the own node's metadata, the
 * limit of connections, what HTTPS shows. */
void live_apply(struct core *c, const struct settings *s);

/* When no other thread is left. */
void live_fini(struct process *p);

#endif
