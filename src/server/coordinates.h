/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* coordinates - where nodes say they are, on its way into the catalog.
 *
 * Coordinates come often and matter little one by one, so they wait here, the
 * newest of each node, and go into the store together: each
 * COORDINATES_PERIOD_MS up to COORDINATES_BATCHES changes of
 * COORDINATES_IN_BATCH nodes, as in Consul. What a change cannot take is told
 * again by its node soon enough. Core thread. */
#ifndef SERVER_COORDINATES_H
#define SERVER_COORDINATES_H

#include "server/core.h"

enum {
    COORDINATES_PERIOD_MS = 3000,
    COORDINATES_IN_BATCH = 128,
    COORDINATES_BATCHES = 5,
    COORDINATES_WAITING_MAX = 16384, /* nodes; more are refused */
};

MUST_USE enum err coordinates_new(struct core *c);
void coordinates_free(struct core *c); /* the store is closed */

/* op->coordinate; op->done follows. */
void coordinates_hear(struct core *c, struct agent_op *op);

#endif
