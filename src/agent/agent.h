/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* agent - the own node: carries out what its clients ask, keeps it durable in
 * agent.db, drives its checks, and keeps the catalog in step (anti-entropy).
 *
 * All on the core thread's loop. Order of a registration: agent.db (durable) ->
 * local snapshot -> difference to the catalog -> catalog store -> done once the
 * catalog has reached that revision.
 *
 * Restart is not death: states are restored with the services, see health/run.h.
 */
#ifndef AGENT_AGENT_H
#define AGENT_AGENT_H

#include <uv.h>

#include "health/damp.h"
#include "local/local.h"
#include "local/op.h"
#include "loop/timers.h"
#include "store/store.h"

enum {
    AGENT_SYNC_WAIT_MS =
        7000,                /* for the catalog; then the answer is "pending" */
    AGENT_TTL_WAIT_MS = 200, /* the same for pass, warn, fail */
    AGENT_BEHIND_WORD_MS = 20, /* a state waits so long for a client's word */
    AGENT_SCAN_MS =
        60 * 1000, /* between full comparisons, and up to so much more */
    AGENT_REPAIR_MS = 1000, /* after somebody else changed the own node */
    AGENT_REAP_MS =
        30 * 1000, /* between looks for services critical too long */
    AGENT_ALIAS_MS = 60 * 1000, /* between looks at aliases without a change */
    AGENT_SCAN_STEP = 256,      /* services compared in one turn */
    AGENT_ATTEMPTS_MAX = 16,    /* conflicts in a row before a pause */
    AGENT_RETRY_MS = 1000,      /* first pause, doubled up to the next */
    AGENT_RETRY_MAX_MS = 15 * 1000,
    AGENT_FLYING_MAX = 4096,        /* differences on their way at once */
    AGENT_OUTPUT_WRITES_PER_S = 50, /* for outputs that change alone */
    AGENT_ID_MAX = 512,             /* bytes of a service or check ID */
    AGENT_SERVICE_CHECKS_MAX = 256, /* checks of one service */
    /* Ports of sidecars that bring none. */
    AGENT_SIDECAR_PORT = 21000,
    AGENT_SIDECAR_PORT_LAST = 21255,
    /* Of a TTL that is longer, the last beat is stored from time to time. */
    AGENT_BEAT_STORED_MS = 60 * 1000,
};

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
    /* Instead of it, on an agent without one: takes changes whose operations are
     * wishes (catalog/wish.h). done may come on any thread. */
    enum err (*submit_wishes)(void *ctx, struct store_change *c,
                              struct errtext *t);
    struct agent_probe probe;

    /* agent.db */
    enum store_kind store_kind;
    const char *store_path;
    const char *server_id;

    bool scripts_allowed;       /* from the HTTP API (enable_script_checks) */
    bool scripts_allowed_local; /* from configuration */
    uint64_t check_update_interval_ms;
    size_t output_max;
    bool discard_output;
    const char *boot_id; /* copied; another one: the host has been restarted */
    struct damp_rule damping; /* all zero: the defaults */

    /* Monotonic milliseconds; NULL: the loop's. Tests bring their own and call
     * agent_run_due. */
    uint64_t (*now_ms)(void *ctx);
    /* The clock that goes on while the host sleeps and this process is down
     * (CLOCK_BOOTTIME); NULL: now_ms. And the wall clock, for people; NULL:
     * unknown. */
    uint64_t (*boot_ms)(void *ctx);
    uint64_t (*wall_ms)(void *ctx);

    /* The local snapshot was published: wake its readers (changes:
     * local_changes). */
    void (*published)(void *ctx);
    void *ctx;
};

/* What changes while it runs. */
struct agent_live {
    struct local_identity me;
    uint64_t check_update_interval_ms;
    bool discard_output;
    struct damp_rule damping; /* all zero: as it was */
};

MUST_USE enum err agent_new(const struct agent_options *o, struct agent **ret,
                            struct errtext *t);

/* agent.db has been read: what was registered here is known. */
bool agent_is_loaded(const struct agent *a);

/* Stops checks, waits for what is on its way to the stores, closes agent.db,
 * answers every op. The catalog's store must still be open; nothing is
 * deregistered. */
void agent_close(struct agent *a);

/* The memory behind the identity must live until the next one, or the end. A
 * new interval holds from each check's next lazy write on. */
void agent_reconfigure(struct agent *a, const struct agent_live *live);

/* The op is taken until op->done, which may be called before this returns. */
void agent_submit(struct agent *a, struct agent_op *take);

/* After each published catalog version, on the core thread (first: after its
 * load). own_node_changed: something of the own node changed (what others
 * changed is repaired). */
void agent_catalog_published(struct agent *a, bool own_node_changed);

/* The catalog can be reached, or cannot: what waits for it is tried at once, or
 * answered at once as pending. Only where wishes are submitted. */
void agent_catalog_reachable(struct agent *a, bool up, const char *why);

/* A probe's result; what it points to stays the caller's. */
struct agent_result {
    uint64_t generation;
    struct bytes check_id;
    enum status status;
    enum run_kind kind;
    uint64_t lag_ms; /* by which the prober's loop was late meanwhile */
    struct bytes output;
};

void agent_probe_result(struct agent *a, const struct agent_result *result);

/* True once the own node is in the catalog as it should be. */
bool agent_in_sync(const struct agent *a);

/* Does what is due by the clock: only for tests that bring their own. */
void agent_run_due(struct agent *a);

#endif
