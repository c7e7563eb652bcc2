/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* storm - what happens when all come at once; prints one JSON line.
 *
 *   storm register N PORT...    N nodes register themselves and a service, each on
 *                               a connection of its own, all at the same moment.
 *                               Who gets 429 comes again after Retry-After, who
 *                               loses his connection after a second.
 *   storm watch N PORT...       N long polls, spread over the servers, with the
 *                               index $STORM_INDEX. Prints "parked" when all were sent; then whose server
 *                               goes away asks the next one. Ends at the end of
 *                               standard input.
 *
 * Clients come from 127.0.0.2 and up, a thousand from each address. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { PER_ADDRESS = 1000, PORTS_MAX = 8, IN_MAX = 4096 };

struct client {
    int fd, port_at;
    uint64_t due_ns; /* to come (again); 0: not */
    uint64_t done_ns;
    bool sent;
    size_t got;
    char in[IN_MAX];
};

static struct {
    bool watch;
    const char *index;
    int n, ports[PORTS_MAX], port_n, epoll;
    struct client *clients;
    uint64_t began_ns, done, shed, failed, lost, moved, last_moved_ns;
} storm;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void again(struct client *c, double seconds)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->sent = false;
    c->due_ns = now_ns() + (uint64_t)(seconds * 1e9) + 1;
}

static void dial(struct client *c)
{
    int i = (int)(c - storm.clients), on = 1;
    struct sockaddr_in from = {
        .sin_family = AF_INET,
        .sin_addr.s_addr =
            htonl(INADDR_LOOPBACK + 1 + (uint32_t)(i / PER_ADDRESS))};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port =
                                 htons((uint16_t)storm.ports[c->port_at]),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};

    c->due_ns = 0;
    c->got = 0;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) {
        perror("storm: socket");
        exit(1);
    }
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    (void)bind(c->fd, (struct sockaddr *)&from, sizeof from);
    (void)connect(c->fd, (struct sockaddr *)&to, sizeof to);
    epoll_ctl(storm.epoll, EPOLL_CTL_ADD, c->fd, &e);
}

static void lost(struct client *c)
{
    storm.lost++;
    if (storm.watch) {
        c->port_at = (c->port_at + 1) % storm.port_n;
        storm.moved++;
    }
    again(c, storm.watch ? 0.05 : 1);
}

static void speak(struct client *c)
{
    int i = (int)(c - storm.clients), n;
    char out[1024], body[512];
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};

    if (storm.watch)
        n = snprintf(out, sizeof out,
                     "GET /v1/health/service/watched-%d?index=%s"
                     "&wait=600s&stale HTTP/1.1\r\nHost: x\r\n\r\n",
                     i % 100, storm.index);
    else
        n = snprintf(
            out, sizeof out,
            "PUT /v1/catalog/register HTTP/1.1\r\nHost: x\r\n"
            "Content-Length: %d\r\n\r\n%s",
            snprintf(body, sizeof body,
                     "{\"Node\":\"storm-%d\",\"Address\":\"10.%d.%d.%d\","
                     "\"Service\":{\"Service\":\"storm-%d\",\"Port\":80},"
                     "\"Check\":{\"CheckID\":\"c\",\"Name\":\"c\","
                     "\"Status\":\"passing\"}}",
                     i, i >> 16, i >> 8 & 255, i & 255, i % 200),
            body);
    if (send(c->fd, out, (size_t)n, MSG_NOSIGNAL) != n) {
        lost(c);
        return;
    }
    c->sent = true;
    if (storm.watch && storm.moved)
        storm.last_moved_ns = now_ns();
    epoll_ctl(storm.epoll, EPOLL_CTL_MOD, c->fd, &e);
}

static void judge(struct client *c)
{
    int status = atoi(c->in + 9);
    char *wait = strcasestr(c->in, "\r\nRetry-After: ");

    if (status == 200 && !storm.watch) {
        storm.done++;
        c->done_ns = now_ns();
        close(c->fd);
        c->fd = -1;
    } else if (status == 429) {
        storm.shed++;
        again(c, wait ? atof(wait + 15) : 1);
    } else {
        storm.failed++;
        again(c, 1);
    }
}

static void hear(struct client *c)
{
    ssize_t n = recv(c->fd, c->in + c->got, IN_MAX - 1 - c->got, 0);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        lost(c);
        return;
    }
    c->got += (size_t)n;
    c->in[c->got] = 0;
    if (strstr(c->in, "\r\n\r\n"))
        judge(c);
}

static void turn(int ms)
{
    struct epoll_event e[512];
    int n = epoll_wait(storm.epoll, e, 512, ms);

    for (int i = 0; i < n; i++) {
        struct client *c = e[i].data.ptr;

        if (c->fd >= 0 && (e[i].events & (EPOLLERR | EPOLLHUP)))
            lost(c);
        else if (c->fd >= 0 && !c->sent && (e[i].events & EPOLLOUT))
            speak(c);
        else if (c->fd >= 0 && (e[i].events & EPOLLIN))
            hear(c);
    }
    uint64_t now = now_ns();

    for (int i = 0; i < storm.n; i++)
        if (storm.clients[i].due_ns && storm.clients[i].due_ns <= now)
            dial(&storm.clients[i]);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void registered(void)
{
    uint64_t *took = calloc((size_t)storm.n, sizeof *took);

    while (storm.done < (uint64_t)storm.n &&
           now_ns() - storm.began_ns < 120000000000u)
        turn(20);
    size_t k = 0;
    for (int i = 0; i < storm.n; i++)
        if (storm.clients[i].done_ns)
            took[k++] = (storm.clients[i].done_ns - storm.began_ns) / 1000000;
    qsort(took, k, sizeof *took, by_value);
    printf("{\"bench\":\"storm register\",\"n\":%d,\"done\":%llu,"
           "\"shed\":%llu,\"failed\":%llu,\"lost\":%llu,\"p50_ms\":%llu,"
           "\"p99_ms\":%llu,\"last_ms\":%llu}\n",
           storm.n, (unsigned long long)storm.done,
           (unsigned long long)storm.shed, (unsigned long long)storm.failed,
           (unsigned long long)storm.lost,
           (unsigned long long)(k ? took[k / 2] : 0),
           (unsigned long long)(k ? took[k * 99 / 100] : 0),
           (unsigned long long)(k ? took[k - 1] : 0));
    free(took);
}

static void watched(void)
{
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    bool told = false, over = false;
    uint64_t first = 0;

    (void)e;
    while (!over) {
        int sent = 0;
        struct timeval none = {0};
        fd_set in;

        turn(20);
        for (int i = 0; i < storm.n; i++)
            sent += storm.clients[i].sent;
        if (!told && sent == storm.n) {
            printf("parked\n");
            fflush(stdout);
            told = true;
            storm.moved = storm.lost = 0;
        }
        if (storm.moved && !first)
            first = now_ns();
        FD_ZERO(&in);
        FD_SET(0, &in);
        over = select(1, &in, NULL, NULL, &none) > 0;
    }
    printf("{\"bench\":\"storm watch\",\"n\":%d,\"moved\":%llu,"
           "\"failed\":%llu,\"moved_ms\":%llu}\n",
           storm.n, (unsigned long long)storm.moved,
           (unsigned long long)storm.failed,
           (unsigned long long)(first ? (storm.last_moved_ns - first) / 1000000
                                      : 0));
}

int main(int argc, char **argv)
{
    struct rlimit most;

    if (argc < 4 || argc > 3 + PORTS_MAX) {
        fprintf(stderr, "usage: storm register|watch N PORT...\n");
        return 2;
    }
    if (getrlimit(RLIMIT_NOFILE, &most) == 0) {
        most.rlim_cur = most.rlim_max;
        setrlimit(RLIMIT_NOFILE, &most);
    }
    storm.watch = strcmp(argv[1], "watch") == 0;
    storm.index = getenv("STORM_INDEX");
    if (storm.watch && !storm.index) {
        fprintf(stderr, "storm: watch needs STORM_INDEX\n");
        return 2;
    }
    storm.n = atoi(argv[2]);
    for (int i = 3; i < argc; i++)
        storm.ports[storm.port_n++] = atoi(argv[i]);
    storm.clients = calloc((size_t)storm.n, sizeof *storm.clients);
    storm.epoll = epoll_create1(0);
    storm.began_ns = now_ns();
    for (int i = 0; i < storm.n; i++) {
        storm.clients[i].fd = -1;
        storm.clients[i].port_at = i % storm.port_n;
        storm.clients[i].due_ns = 1;
    }
    if (storm.watch)
        watched();
    else
        registered();
    return 0;
}
