/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* zones - other datacenters for those who answer DNS queries (dns/zones.h): who is
 * known of them (wan.h), and what is mirrored of each (mirrors.h). */
#ifndef SERVER_ZONES_H
#define SERVER_ZONES_H

#include "server/process.h"

/* Before anybody asks. */
void zones_init(struct process *p);

/* HOST:PORT of a server of the datacenter that answers (empty: of the own one, for
 * agents), another one for each nth. False: there is none. Any thread, pinned. */
bool zones_server_of(void *process, struct bytes dc, size_t nth, char *ret,
                     size_t n);

#endif
