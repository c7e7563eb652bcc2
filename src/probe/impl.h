/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* impl - what the parts of the prober share. All on the probe thread.
 *
 *     probe.c   thread, orders, schedules, the two bounded lanes
 *     lag.c     is the loop late?
 *     http.c tcp.c udp.c script.c docker.c os_service.c   one run each
 *     h2.c      an HTTP/2 connection, for h2ping.c and grpc.c */
#ifndef PROBE_IMPL_H
#define PROBE_IMPL_H

#include <uv.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/map.h"
#include "health/judge.h"
#include "loop/fetch.h"
#include "loop/queue.h"
#include "loop/stream.h"
#include "loop/timers.h"
#include "probe/probe.h"

/* Runs of one class are bounded together; who finds no place waits in line. */
struct lane {
    size_t running, max;
    struct pace pace;
    struct timer again;  /* when the next ones may start */
    struct list waiting; /* of check.link */
    bool starting;
};

/* How late the loop is: it waits for longer than it wanted to, or the work
 * between two waits takes long. A process that is stopped, or gets no CPU, is
 * late like this; the time-outs that it then sees are its own. */
struct lag {
    uv_prepare_t before; /* each wait for events */
    uv_check_t after;
    uint64_t at_ns;  /* when the wait, or the work, began */
    uint64_t for_ns; /* how long the wait should be; UINT64_MAX: no bound */
    bool waiting;
    uint64_t ms, end_ms; /* the last one over PROBE_LAG_MS */
};

struct prober {
    struct prober_options o;
    uv_loop_t loop;
    uv_thread_t thread;
    struct timers timers;
    struct queue *orders;
    struct list results; /* to be handed over */
    struct timer hand_over;
    struct fetcher *fetcher;
    struct map checks; /* struct check by ID */
    struct lane net, scripts;
    struct lag lag;
    struct stream_world streams;
    struct tls_client *tls;    /* made at first use */
    struct buf ca_pem;         /* with ca_path: whom HTTP checks trust */
    struct unit_bus *unit_bus; /* os_service.c's; made at first use */
    bool closing;
};

struct check {
    struct prober *prober;
    struct arena arena; /* of def */
    struct check_def def;
    enum check_type type;
    enum status told; /* in the last report; OTHER: there was none */
    uint64_t generation;
    uint64_t interval_ms, timeout_ms;
    uint64_t began_ms; /* the run */
    size_t output_max;
    struct lane *lane;
    struct timer timer;
    struct list link; /* in lane.waiting */

    /* A run holds a place in its lane until lane_left, also when its check is
     * gone: a killed script until it is reaped. */
    void *run;
    void (*cancel)(void *run); /* the run forgets the check */
};

/* A run's result. The next one begins an interval after check_idle. */
void check_report(struct check *c, enum status s, enum run_kind kind,
                  struct bytes output);
void check_idle(struct check *c);
void lane_left(struct prober *p, struct lane *lane);

/* All three: the end of a run that is not cancelled. Frees the text. */
void check_done(struct check *c, enum status s, enum run_kind kind,
                struct buf *text);

/* How a run came to fail. */
enum run_kind check_kind(enum err why);
enum run_kind check_kind_of_errno(int e);

/* Opens the connection of a run. False: check_done was called instead. */
bool check_stream(struct check *c, struct bytes target, bool use_tls,
                  const char *alpn, const struct stream_events *events,
                  void *ctx, struct stream **ret);

/* Each starts a run: sets c->run and c->cancel, or reports, goes idle and
 * leaves the lane at once. */
void http_run(struct check *c);
void tcp_run(struct check *c);
void udp_run(struct check *c);
void h2ping_run(struct check *c);
void grpc_run(struct check *c);
void docker_run(struct check *c);
void os_service_run(struct check *c);

/* --- lag.c ---------------------------------------------------------------- */

MUST_USE enum err lag_open(struct lag *l, uv_loop_t *loop);
void lag_close(struct lag *l);

/* The last one that was not over at that time of the loop; 0: none. */
uint64_t lag_since(struct lag *l, uint64_t began_ms);

/* No run is left. */
void unit_bus_close(struct prober *p);

static inline uint32_t check_fetch_ms(uint64_t ms)
{
    return ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}
void script_run(struct check *c);

/* As Go words what the system says: in lower case. */
void put_error(struct buf *out, int uv_error);

#endif
