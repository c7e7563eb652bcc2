/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* agent - the own node: carries out what its clients ask, keeps it durable in
 * agent.db, drives its checks, and keeps the catalog in step (anti-entropy).
 *
 * All on the core thread's loop. Order of a registration: agent.db (durable) ->
 * local snapshot -> difference to the catalog -> catalog store -> done once the
 * catalog has reached that revision.
 *
 * Restart is not death: states are restored with the services; a TTL deadline is
 * extended by the time the agent was down. */
#ifndef AGENT_AGENT_H
#define AGENT_AGENT_H

#include <uv.h>

#include "local/local.h"
#include "local/op.h"
#include "loop/timers.h"
#include "store/store.h"

struct agent;

/* How the agent reaches whoever runs probes; the server puts src/probe here. */
struct agent_probe {
    enum err (*start)(void *ctx, const struct check_def *d, uint64_t generation,
                      uint64_t first_delay_ms);
    void (*stop)(void *ctx, struct bytes check_id);
    void *ctx;
};

struct agent_options {
    uv_loop_t *loop;
    struct timers *timers;
    struct local *local;
    const struct catalog *catalog;
    struct local_identity me;
    struct store *catalog_store; /* of the server in this process */
    struct agent_probe probe;

    /* agent.db */
    enum store_kind store_kind;
    const char *store_path;
    const char *server_id;

    bool scripts_allowed;        /* from the HTTP API (enable_script_checks) */
    bool scripts_allowed_local;  /* from configuration */
    uint64_t check_update_interval_ms;
    size_t output_max;
    bool discard_output;
    const char *boot_id;

    /* The local snapshot was published: wake its readers (changes: local_changes). */
    void (*published)(void *ctx);
    void *ctx;
};

MUST_USE enum err agent_new(const struct agent_options *o, struct agent **ret,
                            struct errtext *t);

/* Stops checks, closes agent.db. leave: also deregisters the own node. */
void agent_close(struct agent *a);

/* The op is taken until op->done. */
void agent_submit(struct agent *a, struct agent_op *take);

/* After each published catalog version, on the core thread. own_node_changed:
 * something of the own node changed (then differences are repaired). */
void agent_catalog_published(struct agent *a, bool own_node_changed);

/* A probe's result (ownership stays with the caller). */
void agent_probe_result(struct agent *a, uint64_t generation,
                        struct bytes check_id, enum status status,
                        struct bytes output);

/* True once the own node is in the catalog as it should be. */
bool agent_in_sync(const struct agent *a);

#endif
