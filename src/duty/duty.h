/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* duty - what the one holder of the duty "guard" does: it ends windows, tries
 * held instances, lets them go, and removes what was registered from outside and
 * expired. What may go is decided by the plans (catalog/plan_guard.h); here is
 * when.
 *
 * A machine without a clock, a socket or a store: it is told the time, published
 * versions, outcomes, verdicts of probes and beats; it makes plans, one at a time,
 * and asks for probes. Times are monotonic milliseconds of this process: a jumped
 * wall clock changes nothing, and a new holder starts every time in full.
 *
 * - A window (guard.h) ends window_ms after this holder first saw that its record
 *   counts somebody.
 * - Held instances are tried at their own address and port. Refused: evidence, out
 *   at once. Accepted: they stay. Neither (or no port to try): at the end of each
 *   window the oldest go, as the bounds allow, never the last one.
 * - A silent check of a node holds all its services in one write; each is then let
 *   out as far as the bounds allow, the rest waits as the others do.
 * - Two witnesses should see it; one server is the only one that can be asked, so
 *   DUTY_WITNESSES is 1.
 * - Services registered from outside that carry a time to live (local/beats.h)
 *   expire when no beat came for so long.
 *
 * Core thread. */
#ifndef DUTY_DUTY_H
#define DUTY_DUTY_H

#include "catalog/catalog.h"
#include "catalog/plan_guard.h"
#include "local/beats.h"

enum {
    DUTY_WITNESSES = 1,
    DUTY_PROBES_MAX = 256, /* held instances tried at a time */
    DUTY_LOOK_MS = 100,    /* between looks at what changed, at least */
    DUTY_RETRY_MS = 1000,  /* after a plan that could not be committed */
};

enum duty_verdict {
    DUTY_UNKNOWN,
    DUTY_ACCEPTED,
    DUTY_REFUSED,
    DUTY_UNREACHABLE,
};

struct duty_options {
    const struct catalog *catalog;
    struct beats *beats;
    struct bytes own_node; /* its services have an agent */
    enum guard_mode guard; /* as configured */
    uint64_t window_ms;

    /* Try host:port again and again; duty_probed tells the verdicts. */
    void (*probe)(void *ctx, struct bytes key, struct bytes host, int64_t port);
    void (*unprobe)(void *ctx, struct bytes key);

    /* Commit the plan (valid until duty_committed, which follows once). what:
     * for history. */
    void (*commit)(void *ctx, const struct plan *p, const char *what);
    void *ctx;
};

struct duty;

struct duty *duty_new(const struct duty_options *o);
void duty_free(struct duty *d); /* probes are stopped */

void duty_configure(struct duty *d, enum guard_mode guard, uint64_t window_ms);

/* The fence's key is copied. Everything begins anew. */
void duty_gained(struct duty *d, const struct store_guard *fence,
                 uint64_t now_ms);
void duty_lost(struct duty *d);
bool duty_is_held(const struct duty *d);

/* Does what is due. Returns in how many milliseconds it wants to be called again
 * (UINT64_MAX: not before something happens). Call after each published version,
 * and after each of the calls below. */
uint64_t duty_run(struct duty *d, uint64_t now_ms);

/* committed: at this revision; false: planned again after a while, or at once
 * (conflict). */
void duty_committed(struct duty *d, bool committed, bool conflict,
                    uint64_t revision);

void duty_probed(struct duty *d, struct bytes key, enum duty_verdict v);

/* A registration from outside named the service. */
void duty_beat(struct duty *d, struct bytes node, struct bytes service_id,
               uint64_t now_ms, uint64_t wall_ms);

/* The same at another server, so long ago. */
void duty_beat_told(struct duty *d, struct bytes node, struct bytes service_id,
                    uint64_t ago_ms, uint64_t now_ms, uint64_t wall_ms);

/* The store was away: nobody could beat. */
void duty_excuse(struct duty *d, uint64_t now_ms);

struct duty_counts {
    size_t held, probed;
    uint64_t refused, by_time, windows, expired; /* instances; windows ended */
};

struct duty_counts duty_counts(const struct duty *d);

#endif
