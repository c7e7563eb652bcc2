/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* consumer - sends a line to an instance of a service, five times, over TCP.
 *
 *     consumer SERVICE [TIMES [DATACENTERS]]
 *
 * DATACENTERS is where to go when too few are well here: dc2,dc3 or nearest:2.
 * Up to three instances are tried for each. It goes on while the registry is
 * down: the list is in memory, and in /tmp/muster-lists for the next start. */
#include <muster.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int say_hello(const struct muster_ticket *t)
{
    struct addrinfo *a = NULL, hints = {.ai_socktype = SOCK_STREAM};
    char port[8], answer[128];
    ssize_t n = -1;

    snprintf(port, sizeof port, "%u", (unsigned)t->port);
    if (getaddrinfo(t->address, port, &hints, &a) != 0)
        return -1;
    int fd = socket(a->ai_family, SOCK_STREAM, 0);
    if (connect(fd, a->ai_addr, a->ai_addrlen) == 0 &&
        write(fd, "hello\n", 6) == 6)
        n = read(fd, answer, sizeof answer);
    if (n > 0)
        printf("%s:%s says %.*s", t->address, port, (int)n, answer);
    close(fd);
    freeaddrinfo(a);
    return n > 0 ? 0 : -1;
}

static int request(struct muster_service *s)
{
    uint64_t tried[3];
    struct muster_ask ask = {.size = sizeof ask, .exclude = tried};
    struct muster_ticket t;

    while (ask.exclude_n < 3 && muster_pick(s, &ask, &t) == MUSTER_OK) {
        tried[ask.exclude_n++] = t.id;
        int well = say_hello(&t) == 0;
        muster_report(s, &t, well ? MUSTER_SUCCESS : MUSTER_UNREACHABLE, 1000);
        if (well)
            return 0;
    }
    printf("no instance answers\n");
    return -1;
}

int main(int argc, char **argv)
{
    struct muster_options o;
    struct muster *m;
    struct muster_service *s;
    char why[MUSTER_TEXT];

    muster_options_init(&o, sizeof o);
    o.cache_dir = "/tmp/muster-lists";
    mkdir(o.cache_dir, 0700);
    o.failover = argc > 3 ? argv[3] : NULL;
    if (argc < 2 || muster_open(&o, &m, why) != MUSTER_OK ||
        muster_watch(m, argv[1], NULL, &s, why) != MUSTER_OK) {
        fprintf(stderr, "consumer: %s\n", argc < 2 ? "which service?" : why);
        return 2;
    }
    int failed = muster_wait(s, 5000) != MUSTER_OK;
    for (int i = argc > 2 ? atoi(argv[2]) : 5; i > 0 && !failed; i--)
        failed = request(s) != 0;
    muster_close(m);
    return failed;
}
