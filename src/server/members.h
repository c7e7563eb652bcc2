/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* members - src/cluster in this process: made from the settings, shown to all
 * threads (process->cluster), asked by ops. Core thread. */
#ifndef SERVER_MEMBERS_H
#define SERVER_MEMBERS_H

#include "cluster/cluster.h"
#include "server/core.h"
#include "server/run.h"

int members_peer_port(const struct settings *s); /* 0: none */
struct joins_rule members_join_rule(const struct settings *s);

/* Sets p->members; NULL: this server keeps its store alone, or the store is
 * somebody else's. */
MUST_USE enum err members_open(const struct settings *s, struct process *p,
                               struct errtext *t);

void members_begin(struct core *c);

/* Takes the op (PEER_LOCK, PEER_JOIN, RAFT_REMOVE). */
void members_op(struct core *c, struct agent_op *take);

/* Takes this server off the list of members, if that endangers nothing (else the
 * log says why it stays); then left. */
void members_leave(struct core *c, void (*left)(void *ctx), void *ctx);
/* False: it has to stay; t. */
bool members_may_leave(const struct core *c, struct errtext *t);

void members_stop(struct core *c);
void members_fini(struct process *p); /* no thread is left */

#endif
