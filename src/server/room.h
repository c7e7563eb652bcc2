/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* room - the duty "room" (duty/room.h) in this process, where the store is an
 * etcd: it looks at the members, and makes room by and by while it holds the duty.
 * Others look at alarms only: during one no lease is granted, so that a holder who
 * is lost then has no successor, and after a minute of it anybody acts.
 *
 * Members of an external etcd are reached from here; of those that servers keep
 * themselves each only by its own server (cluster/cluster.h). Core thread, but
 * for room_is_short. */
#ifndef SERVER_ROOM_H
#define SERVER_ROOM_H

#include "server/core.h"

MUST_USE enum err room_new(struct core *c); /* once the store is open */
void room_stop(struct core *c);
void room_free(struct core *c); /* after the store has been closed */

/* Any thread: a write was refused for want of space. */
void room_is_short(struct core *c);

#endif
