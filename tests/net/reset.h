/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* reset - the answer of a host that wants no connection on a port (RFC 9293
 * 3.10.7.1). */
#ifndef TESTS_NET_RESET_H
#define TESTS_NET_RESET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RESET_BYTES = 40 };

/* True if the IPv4 packet is the first one of a TCP connection to this port: the
 * answer that refuses it is written. */
bool reset_of(const unsigned char *packet, size_t bytes, uint32_t port,
              unsigned char ret[RESET_BYTES]);

#endif
