/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* snapshot - GET and PUT /v1/snapshot: everything in the catalog as one file
 * (http/bundle.h), and back.
 *
 *     GET   store_read at our revision -> state.bin -> packed on libuv's pool
 *           ?stale: the catalog as it is in memory (catalog/dump.h), there
 *     PUT   unpacked and checked there -> store_import under a new epoch ->
 *           answered once the catalog shows it
 *
 * One at a time: each holds all of the catalog in memory. A file with anything
 * wrong in it changes nothing. The new epoch is above that of the file and that
 * of the store, so that no index that a client holds means two things.
 *
 * On the serving thread that took the request, unless it says otherwise. */
#ifndef SERVER_SNAPSHOT_H
#define SERVER_SNAPSHOT_H

#include "server/process.h"

struct snap;

/* Pinned; the call moves. GET comes through the gate first (read.c). */
void snapshot_begin(struct serving *s, struct conn *c, struct api_call *call,
                    const struct api_env *env);
void snapshot_told(struct serving *s, struct letter *take);
void snapshot_gone(struct snap *x); /* its connection; NULL is allowed */

#endif
