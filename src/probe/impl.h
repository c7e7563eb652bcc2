/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* impl - what the files of this folder share. All on the probe thread.
 *
 *   probe.c   thread, commands, schedule, bounds
 *   http.c, tcp.c, script.c   one run of a check each */
#ifndef PROBE_IMPL_H
#define PROBE_IMPL_H

#include <uv.h>

#include "base/arena.h"
#include "base/map.h"
#include "loop/fetch.h"
#include "loop/queue.h"
#include "loop/timers.h"
#include "probe/probe.h"

/* One check, from its start to its stop. A run holds it: when it is stopped
 * while one is under way, it is dead and freed by the run's end. */
struct check {
    struct prober *prober;
    struct bytes key;   /* folded ID; in the arena */
    struct arena arena; /* owns the definition */
    struct check_def def;
    enum check_type type;
    uint64_t generation, interval_ms, timeout_ms;
    size_t output_max;
    struct timer due;
    struct list waiting; /* for its turn; alone: it does not wait */
    bool running, dead;
    void *run; /* of the type's file */
};

struct prober {
    struct prober_options options;
    uv_thread_t thread;
    uv_loop_t loop;
    struct timers timers;
    struct queue *commands;
    struct fetcher *fetcher;
    struct map checks; /* by key */
    size_t running, scripts;
    struct list waiting, scripts_waiting; /* struct check, first come first */
    bool closing;
};

/* A run is over: status and output go to the agent (unless the check is dead),
 * the next run is scheduled, whoever waits gets the turn. The run's own memory
 * is the caller's. */
void check_finished(struct check *k, enum status status, struct bytes output);

/* Begin a run; check_finished is called once, now or later. */
void http_begin(struct check *k);
void tcp_begin(struct check *k);
void script_begin(struct check *k);

/* The check was stopped while it runs: end early. check_finished still follows,
 * now or later. */
void http_cancel(struct check *k);
void tcp_cancel(struct check *k);
void script_cancel(struct check *k);

#endif
