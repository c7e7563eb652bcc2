/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* hosts - network namespaces with a TUN device each. They have no names: they are
 * open files of this process, others reach them as /proc/PID/fd/N, and nothing is
 * left of them when the last process in them has ended. Needs root (CAP_SYS_ADMIN,
 * CAP_NET_ADMIN) and /dev/net/tun. */
#ifndef TESTS_NET_HOSTS_H
#define TESTS_NET_HOSTS_H

#include <stddef.h>
#include <stdint.h>

enum { HOSTS_MAX = 64 };

struct host {
    int space, tun; /* files: of the namespace, of the device (non-blocking) */
    uint32_t address; /* 10.77.0.N of N = 1, 2, ...; host byte order */
};

/* Makes the n-th. Leaves the calling thread in the namespace that it was in.
 * NULL, or what failed, with errno. */
const char *hosts_make(struct host *h, uint32_t n);

/* Becomes this program, in that namespace; it dies with its parent. Returns if
 * that failed: what did. */
const char *hosts_run(const char *space, char **argv);

#endif
