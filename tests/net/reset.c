/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "reset.h"

#include <string.h>

enum { TCP = 6, FLAG_SYN = 2, FLAG_RST = 4, FLAG_ACK = 16 };

/* RFC 1071, of bytes in network order; `sum` is what was added before. */
static uint32_t add(const unsigned char *p, size_t n, uint32_t sum)
{
    for (size_t i = 0; i + 1 < n; i += 2)
        sum += (uint32_t)p[i] << 8 | p[i + 1];
    return sum;
}

static void store(unsigned char *to, uint32_t sum)
{
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    to[0] = (unsigned char)(~sum >> 8);
    to[1] = (unsigned char)~sum;
}

bool reset_of(const unsigned char *packet, size_t bytes, uint32_t port,
              unsigned char ret[RESET_BYTES])
{
    size_t head = (size_t)(packet[0] & 15) * 4;
    if (head < 20 || bytes < head + 20 || packet[9] != TCP)
        return false;
    const unsigned char *tcp = packet + head;
    if (((uint32_t)tcp[2] << 8 | tcp[3]) != port ||
        (tcp[13] & (FLAG_SYN | FLAG_ACK)) != FLAG_SYN)
        return false;
    memset(ret, 0, RESET_BYTES);
    ret[0] = 0x45;
    ret[3] = RESET_BYTES;
    ret[8] = 64; /* may pass so many routers */
    ret[9] = TCP;
    memcpy(ret + 12, packet + 16, 4);
    memcpy(ret + 16, packet + 12, 4);
    store(ret + 10, add(ret, 20, 0));
    unsigned char *to = ret + 20;
    memcpy(to, tcp + 2, 2);
    memcpy(to + 2, tcp, 2);
    uint32_t next = ((uint32_t)tcp[4] << 24 | (uint32_t)tcp[5] << 16 |
                     (uint32_t)tcp[6] << 8 | tcp[7]) +
                    1;
    for (int i = 0; i < 4; i++)
        to[8 + i] = (unsigned char)(next >> (24 - 8 * i));
    to[12] = 5 << 4;
    to[13] = FLAG_RST | FLAG_ACK;
    store(to + 16, add(to, 20, add(ret + 12, 8, TCP + 20)));
    return true;
}
