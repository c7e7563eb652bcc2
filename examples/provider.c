/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* provider - a service that can be found: answers each line with its name.
 *
 *     provider SERVICE ID
 *
 * Registers at the agent, beats, and says goodbye when it is told to end. */
#include <muster.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static volatile sig_atomic_t ended;

static void end(int number)
{
    (void)number;
    ended = 1;
}

static int listen_anywhere(struct sockaddr_in *at)
{
    socklen_t n = sizeof *at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    at->sin_family = AF_INET;
    at->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)at, n) != 0 ||
        listen(fd, 64) != 0 || getsockname(fd, (struct sockaddr *)at, &n) != 0)
        return -1;
    return fd;
}

static void serve(int fd, const char *id)
{
    char line[128];
    int client = accept(fd, NULL, NULL); /* a signal ends it */

    if (client < 0)
        return;
    if (read(client, line, sizeof line) > 0)
        dprintf(client, "I am %s\n", id);
    close(client);
}

int main(int argc, char **argv)
{
    struct muster *m;
    struct muster_registration *r;
    struct muster_register_options o;
    struct sigaction on_end = {.sa_handler = end};
    struct sockaddr_in at = {0};
    char why[MUSTER_TEXT] = "which service, which id?";
    int fd = listen_anywhere(&at);

    muster_register_options_init(&o, sizeof o);
    o.name = argc > 2 ? argv[1] : "";
    o.id = argc > 2 ? argv[2] : "";
    o.address = "127.0.0.1";
    o.port = ntohs(at.sin_port);
    o.ttl_ms = 10000;
    if (argc < 3 || fd < 0 || muster_open(NULL, &m, why) != MUSTER_OK ||
        muster_register(m, &o, &r, why) != MUSTER_OK) {
        fprintf(stderr, "provider: %s\n", why);
        return 2;
    }
    sigaction(SIGTERM, &on_end, NULL);
    sigaction(SIGINT, &on_end, NULL);
    while (!ended)
        serve(fd, o.id);
    muster_deregister(r, 2000);
    muster_close(m);
    return 0;
}
