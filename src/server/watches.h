/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* watches - the configuration's watches: what a handler is told, and when.
 *
 * A watch is a read of the API, kept as its canonical target. When a published
 * version touches its watch key, a thread of libuv's pool makes the answer
 * again, as it is made for clients; if its digest is another one, the handler
 * runs: at first, and then never for nothing. One run of a watch at a time;
 * what changes meanwhile is told once, the newest. A failed run is repeated,
 * later and later, with what is newest then.
 *
 * Core thread, but for the making of answers. */
#ifndef SERVER_WATCHES_H
#define SERVER_WATCHES_H

#include "catalog/watch.h"
#include "config/watch_def.h"

struct core;
struct watches;

enum { WATCH_RETRY_MS = 1000, WATCH_RETRY_MAX_MS = 60 * 1000 };

/* NULL: no slot to read snapshots is free. */
struct watches *watches_new(struct core *c);

/* These instead of those there are; one that was there stays as it is, with
 * all its handler knows. Definitions are copied. */
void watches_set(struct watches *ws, const struct watch_def *defs, size_t n,
                 const char *datacenter);

/* After each published version, of the catalog or of the agent. */
void watches_published(struct watches *ws, const struct watch_set *set);

/* Ends all runs; the loop must run until its handles are closed. */
void watches_close(struct watches *ws);
void watches_free(struct watches *ws); /* after that; NULL: nothing */

#endif
