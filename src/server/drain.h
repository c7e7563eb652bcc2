/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* drain - takes an instance out of the answers and proves that everybody has
 * let go of it.
 *
 *   drain_new       of an instance that is registered here
 *   drain_prepare   before the agent registers the critical check
 *                   _muster_drain:ID: whose answers have the instance now? This
 *                   server looks (holders.h), and asks the others (asks.h)
 *   drain_wait      after that is visible: until each subscriber whose answer
 *                   had it has applied an index that has not, or the caller's
 *                   wait is over
 *
 * A client agent asks all servers, and does not look itself: what it knows of
 * its own readers it tells its server each beat (link_feed.c), which answers for
 * them.
 *
 * The answer is one of
 *   safe      all have let go, nobody unproven asked lately, and the tables of
 *             all servers are old enough to know of all
 *   waiting   with the names of those that have not, or DNS answers with it
 *             have not run out
 *   unknown   a server could not be asked, its table is too young, or there are
 *             readers of whom nothing is proven: never safe by ignorance
 *
 * The check stays, whatever becomes of the caller. On the serving thread. */
#ifndef SERVER_DRAIN_H
#define SERVER_DRAIN_H

#include "server/holders.h"
#include "server/serving.h"

enum {
    DRAIN_LOOK_MS = 20, /* at the table while somebody waits */
    /* For what all servers say once, however short the caller's wait is. */
    DRAIN_PATIENCE_MS = 2500,
};

/* What all servers say together. */
struct drain_sum {
    size_t holding, unproven;
    bool unproven_complete;
    size_t silent;                    /* servers that could not be asked */
    size_t behind;                    /* that have not seen the index yet */
    uint64_t unknown_ms, dns_left_ms; /* the longest */
};

enum drain_result { DRAIN_SAFE, DRAIN_WAITING, DRAIN_UNKNOWN };

/* The sum of none is that nobody holds anything. */
struct drain_sum drain_sum_of_none(void);
void drain_sum_add(struct drain_sum *sum, const struct holders_state *s);

/* trust: readers of whom nothing is proven do not stand in the way. */
enum drain_result drain_sum_result(const struct drain_sum *s, bool trust);

struct drain;

/* NULL: no such service here (the agent will say so), or no memory. */
struct drain *drain_new(struct serving *s, const struct api_call *call,
                        const struct api_env *env);
void drain_free(struct drain *d);

/* True: ready comes once all servers have looked, or could not. False: there is
 * nobody to wait for. Pinned. */
bool drain_prepare(struct drain *d, void (*ready)(void *ctx), void *ctx);
void drain_hurry(struct drain *d); /* ready does not come any more */

/* done is called once, perhaps at once: the call holds the answer; deregister:
 * it is safe, and that was asked for. Not after drain_free. */
void drain_wait(struct drain *d, struct api_call *call,
                void (*done)(void *ctx, bool deregister), void *ctx);

#endif
