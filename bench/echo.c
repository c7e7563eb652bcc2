/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* echo - the least that answering a DNS query over UDP can cost on this machine: T
 * threads with a socket each, packets in batches, and to each the same packet back
 * with one A record behind it. No name is looked at. What a name server gets of
 * this rate is its own part; the rest is the kernel's and the one who asks.
 *
 *   echo PORT THREADS */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 64, PACKET_MAX = 512, HEADER = 12, OPT = 11 };

static int port;

static int open_socket(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0), on = 1;
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    if (fd < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0 ||
        bind(fd, (struct sockaddr *)&a, sizeof a) != 0) {
        perror("echo");
        exit(1);
    }
    return fd;
}

/* EDNS is not told back: the question ends the packet that comes. */
static unsigned answer(uint8_t *p, unsigned n)
{
    static const uint8_t record[] = {0xc0, 12, 0, 1, 0,  1, 0, 0,
                                     0,    0,  0, 4, 10, 9, 0, 9};

    if (n < HEADER)
        return n;
    if (p[11] && n > HEADER + OPT)
        n -= OPT;
    p[2] |= 0x84; /* an answer, authoritative */
    p[7] = 1;
    p[11] = 0;
    memcpy(p + n, record, sizeof record);
    return n + (unsigned)sizeof record;
}

static void *serve(void *arg)
{
    static _Thread_local struct mmsghdr m[BATCH];
    static _Thread_local struct iovec part[BATCH];
    static _Thread_local struct sockaddr_in from[BATCH];
    static _Thread_local uint8_t packet[BATCH][PACKET_MAX + 16];
    int fd = open_socket();

    for (;;) {
        for (int i = 0; i < BATCH; i++) {
            part[i] = (struct iovec){packet[i], PACKET_MAX};
            m[i].msg_hdr = (struct msghdr){.msg_name = &from[i],
                                           .msg_namelen = sizeof from[i],
                                           .msg_iov = &part[i],
                                           .msg_iovlen = 1};
        }
        int n = recvmmsg(fd, m, BATCH, MSG_WAITFORONE, NULL);
        for (int i = 0; i < n; i++)
            part[i].iov_len = answer(packet[i], m[i].msg_len);
        for (int sent = 0; sent < n;) {
            int k = sendmmsg(fd, m + sent, (unsigned)(n - sent), 0);
            sent += k > 0 ? k : 1;
        }
    }
    return arg;
}

int main(int argc, char **argv)
{
    pthread_t t;

    if (argc != 3) {
        fputs("echo PORT THREADS\n", stderr);
        return 2;
    }
    port = atoi(argv[1]);
    for (int i = 1; i < atoi(argv[2]); i++)
        pthread_create(&t, NULL, serve, NULL);
    serve(NULL);
    return 0;
}
