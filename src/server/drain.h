/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* drain - takes an instance out of the answers and proves that everybody has
 * let go of it.
 *
 *   drain_prepare   before the agent registers the critical check
 *                   _muster_drain:ID: whose answers have the instance now?
 *   drain_wait      after that is visible: until each subscriber whose answer
 *                   had it has applied an index that has not, or the caller's
 *                   wait is over
 *
 * The answer is one of
 *   safe      all have let go, nobody unproven asked lately, and the table is
 *             old enough to know of all
 *   waiting   with the names of those that have not, or DNS answers with it
 *             have not run out
 *   unknown   the table is too young, or there are readers of whom nothing is
 *             proven: never safe by ignorance
 *
 * The check stays, whatever becomes of the caller. On the serving thread. */
#ifndef SERVER_DRAIN_H
#define SERVER_DRAIN_H

#include "server/serving.h"

enum { DRAIN_LOOK_MS = 20 /* at the table while somebody waits */ };

struct drain;

/* NULL: no such service here (the agent will say so), or no memory. */
struct drain *drain_prepare(struct serving *s, const struct api_call *call,
                            const struct api_env *env);
void drain_free(struct drain *d);

/* done is called once, perhaps at once: the call holds the answer; deregister:
 * it is safe, and that was asked for. Not after drain_free. */
void drain_wait(struct drain *d, struct api_call *call,
                void (*done)(void *ctx, bool deregister), void *ctx);

#endif
