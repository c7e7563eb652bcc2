/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* host - the machine as /v1/agent/host shows it. Any thread; a few system
 * calls and a short file. What cannot be found stays 0 or empty. */
#ifndef SERVER_HOST_H
#define SERVER_HOST_H

#include "api/api.h"

/* path: of the disk to look at. */
void host_look(const char *path, struct api_host *ret);

#endif
