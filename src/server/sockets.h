/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* sockets - files of unix sockets that HTTP listens on: whose they are, and
 * that they go with the process. Core thread. */
#ifndef SERVER_SOCKETS_H
#define SERVER_SOCKETS_H

#include "base/err.h"

/* A socket just bound to path becomes user's and group's: names or numbers;
 * NULL: as it is. It is remembered. ERR_BAD: no such user or group; ERR_IO: not
 * allowed. */
MUST_USE enum err sockets_own(const char *path, const char *user,
                              const char *group, struct errtext *t);

/* Removes what sockets_own has seen, unless somebody else's stands there now.
 */
void sockets_remove(void);

#endif
