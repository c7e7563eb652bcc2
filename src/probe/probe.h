/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* probe - runs checks of every type that looks at something, on a thread of its
 * own.
 *
 * It knows schedules and sockets, not statuses that last: each run's result
 * goes to the agent, whose thresholds decide. A hanging target delays no other:
 * all is non-blocking, bounded by PROBE_RUNNING_MAX and per-run deadlines;
 * scripts are bounded by PROBE_SCRIPTS_MAX at once and PROBE_FORKS_MAX started
 * in one moment, and run in a process group of their own, killed as a whole on
 * timeout. */
#ifndef PROBE_PROBE_H
#define PROBE_PROBE_H

#include "base/list.h"
#include "health/check_def.h"
#include "health/status.h"
#include "loop/tls_files.h"

enum {
    PROBE_RUNNING_MAX = 1024,
    PROBE_SCRIPTS_MAX = 64,
    PROBE_FORKS_MAX = 4, /* within PROBE_FORKS_MS */
    PROBE_FORKS_MS = 5,
    PROBE_GRID_MS = 10,
    PROBE_RESULTS_MS = 10, /* what changes no status waits for company */
    PROBE_LAG_MS = 1000,   /* shorter ones of the loop are not told */
};

struct probe_result {
    struct list link;
    uint64_t generation; /* as given at probe_start: older ones are ignored */
    enum status status;
    enum run_kind kind;
    uint64_t lag_ms; /* by which the loop was late while it ran; mostly 0 */
    size_t output_n;
    uint16_t id_n;
    char data[]; /* check ID, then output; cut already (health/judge.h) */
};

struct prober;

struct prober_options {
    size_t output_max;       /* check_output_max_size */
    const char *docker_host; /* DOCKER_HOST; NULL: Docker's usual socket */
    struct tls_files tls;    /* strings outlive the prober */
    /* On the probe thread: hand over (taken; free() each). */
    void (*results)(void *ctx, struct list *take_results);
    void *ctx;
};

/* ERR_BAD: one of the TLS files cannot be used, t says which. */
MUST_USE enum err prober_new(const struct prober_options *o,
                             struct prober **ret, struct errtext *t);
void prober_close(struct prober *p); /* ends the thread, kills scripts */

/* Any thread; the definition is copied. First run within first_delay_ms, then
 * interval after each completion. Replaces a running one of that ID. */
MUST_USE enum err probe_start(struct prober *p, const struct check_def *d,
                              uint64_t generation, uint64_t first_delay_ms);
void probe_stop(struct prober *p, struct bytes check_id);

#endif
