/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* core - the core thread (main): the only writer of catalog and local snapshot.
 *
 * Takes the store's batches, applies them, publishes one version per turn,
 * tells the serving threads what changed; keeps the own node's records in the
 * catalog (own.c); runs the agent; owns signals and the end of the process. */
#ifndef SERVER_CORE_H
#define SERVER_CORE_H

#include <uv.h>

#include "agent/agent.h"
#include "loop/joins.h"
#include "probe/probe.h"
#include "server/process.h"

struct core_options {
    /* Stores: paths NULL for memory. */
    const char *catalog_path;
    const char *etcd_url; /* the catalog's, instead; NULL: not in etcd */
    struct store_etcd etcd;
    const char *agent_path;

    int peer_port; /* where peers reach this agent; 0: nowhere */

    bool scripts_allowed, scripts_allowed_local;
    struct tls_files check_tls;
    const char *docker_host; /* NULL: the usual socket */
    uint64_t check_update_interval_ms;
    size_t output_max;
    bool discard_output;
    const char *boot_id;
    struct damp_rule damping;
    uint64_t reconnect_ms; /* until a failed node is removed */
    /* Not NULL: no server, but an agent that joins servers here. */
    const char *const *join;
    size_t join_count;
    struct joins_rule join_rule;
    uint64_t mirror_idle_ms; /* LINK_IDLE_MS if 0 */

    /* Once the own node is in the catalog, on the core thread. */
    void (*ready)(void *ctx);
    /* After a leave that a client asked for: the process should end. */
    void (*left)(void *ctx);
    /* Nobody of those to be joined answers: it should end, with this text. */
    void (*give_up)(void *ctx, const char *why);
    /* A client asks for a reload; op->done follows. */
    void (*reload)(void *ctx, struct agent_op *take);
    void *ctx;
};

struct core {
    struct process *process;
    struct core_options options;
    uv_loop_t *loop;
    struct timers timers;
    uint64_t told_revision; /* of the catalog, to the serving threads */

    struct list written;   /* letters whose revision is not published yet */
    struct queue *batches; /* struct store_batch */
    struct queue *results; /* struct probe_result */
    struct queue *letters; /* struct core_letter */
    struct queue *lines;   /* of the log, for its readers (monitor.c) */
    bool loaded;
    bool store_was_up; /* once: before, it is only waited for */
    bool stopping, leaving;
    bool serving_ends; /* nobody waits any more for what is not there yet */
    struct contact *contact; /* gate.c; NULL: a store in this process */
    uint64_t own_hash[2];    /* watch hashes of the own node: record, checks */

    struct agent *agent;
    struct prober *prober;
    struct local_identity me;
    struct own *own; /* own.c */
    struct coordinates *coordinates;
    struct place *place;       /* place.h; NULL: no listener for peers */
    struct wan_keeper *wan;    /* wan.c; NULL: no other datacenters */
    struct mirrors *mirrors;   /* mirrors.c; NULL: none */
    struct guardian *guardian; /* guard.c */
    struct room_keeper *room;  /* room.c; NULL: not in etcd */
    struct watches *watches;   /* NULL: none were ever configured */
    struct pulse *pulse;       /* pulse.c; NULL: no server */
    struct link *link;         /* link.c; NULL: a server */
    struct events *events;     /* events.h */
    struct crowd *crowd;       /* crowd.h */
    bool told_ready;           /* options.ready was called */
};

/* A call to make on the core thread. */
struct core_letter {
    struct list link;
    void (*run)(struct core *c, struct core_letter *l);
};

/* Opens stores and agent; the load arrives once the loop runs. process->self
 * must be complete. t: what failed, where. */
MUST_USE enum err core_start(struct core *c, struct process *p,
                             const struct core_options *o, uv_loop_t *loop,
                             struct errtext *t);

/* The serving threads have been told to close: what waits for a revision that
 * may never come goes to them now. */
void core_serving_ends(struct core *c);

/* After the serving threads have ended. */
void core_stop(struct core *c);

/* To the catalog's store, or, on an agent without one, to a server. */
MUST_USE enum err core_submit(struct core *c, struct store_change *ch,
                              struct errtext *t);

/* The catalog has another version. */
void core_published(struct core *c);

/* What is published, if anything (set), and the writes that this makes visible, in
 * one delivery to each serving thread. */
void core_tell(struct core *c, const struct watch_set *set);

/* core_ops.c: what clients ask of this agent (struct agent_op), from the queue;
 * most goes to the agent itself. */
void core_ops(void *core, struct list *ops);

/* Any thread. */
void core_post(struct core *c, struct core_letter *take);

/* The own node goes from the catalog, this server from its cluster; then
 * options.left. */
void core_leave(struct core *c);

/* own.c: the own node's record, its serfHealth check, the service "consul". */
MUST_USE enum err own_new(struct core *c);
void own_free(struct core *c);

/* After each published version: registers what is missing; sets process->ready.
 */
void own_identity(struct core *c); /* c->me, before all else */
void own_published(struct core *c);

/* Takes the own node with all it has out of the catalog, then calls left (also
 * when that failed: the log says so). Nothing is registered any more. */
void own_leave(struct core *c, void (*left)(void *ctx), void *ctx);

#endif
