/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* watch - opens N long polls on one service, changes the service once per
 * round, and prints one JSON line: how long the change took to reach the
 * watchers, in milliseconds after the write was sent.
 *
 *   watch PORT SERVICE WATCHERS ROUNDS
 *
 * Works against any server of the API (and against bench/floor). */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_MAX = 2048, BUFFER = 1 << 20, LIMIT_MS = 20000 };

struct watcher {
    int fd;
    size_t head_n;   /* bytes of head kept */
    size_t received; /* bytes of this answer */
    size_t needed;   /* with Content-Length */
    bool head_done, chunked, done;
    char head[HEAD_MAX];
    char tail[5]; /* last bytes, to see the end of chunks */
};

static int port;
static char buffer[BUFFER];

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void die(const char *what)
{
    fprintf(stderr, "watch: %s: %s\n", what, strerror(errno));
    exit(2);
}

static int dial(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) != 0)
        die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/* The index a plain query of the service answers with. */
static long index_of(const char *service)
{
    char request[512];
    int fd = dial();
    size_t n = 0;
    ssize_t r;
    snprintf(request, sizeof request,
             "GET /v1/health/service/%s HTTP/1.1\r\nHost: x\r\n"
             "Connection: close\r\n\r\n",
             service);
    if (send(fd, request, strlen(request), 0) < 0)
        die("send");
    while (n < BUFFER - 1 && (r = recv(fd, buffer + n, BUFFER - 1 - n, 0)) > 0)
        n += (size_t)r;
    buffer[n] = 0;
    close(fd);
    char *p = strcasestr(buffer, "X-Consul-Index: ");
    return p ? atol(p + 16) : -1;
}

static void head_part(struct watcher *w, size_t n)
{
    size_t room = HEAD_MAX - 1 - w->head_n;
    size_t k = n < room ? n : room;
    memcpy(w->head + w->head_n, buffer, k);
    w->head_n += k;
    w->head[w->head_n] = 0;
    char *end = strstr(w->head, "\r\n\r\n");
    if (!end)
        return;
    char *length = strcasestr(w->head, "Content-Length: ");
    w->head_done = true;
    w->chunked = strcasestr(w->head, "Transfer-Encoding: chunked") != NULL;
    w->needed = (size_t)(end - w->head) + 4 +
                (length ? strtoul(length + 16, NULL, 10) : 0);
}

static void keep_tail(struct watcher *w, size_t n)
{
    char last[10];
    size_t k = n < 5 ? n : 5;
    memcpy(last, w->tail, 5);
    memcpy(last + 5, buffer + n - k, k);
    memcpy(w->tail, last + k, 5);
}

/* True when the answer has become whole by this. */
static bool take(struct watcher *w)
{
    ssize_t n = recv(w->fd, buffer, BUFFER - 1, MSG_DONTWAIT);
    if (n == 0)
        die("a watcher's connection was closed");
    if (n < 0)
        return false;
    if (!w->head_done)
        head_part(w, (size_t)n);
    w->received += (size_t)n;
    keep_tail(w, (size_t)n);
    bool whole =
        w->head_done && (w->chunked ? memcmp(w->tail, "0\r\n\r\n", 5) == 0
                                    : w->received >= w->needed);
    if (!whole || w->done)
        return false;
    w->done = true;
    return true;
}

static void park_all(struct watcher *w, int n, const char *service)
{
    char request[512];
    snprintf(request, sizeof request,
             "GET /v1/health/service/%s?index=%ld&wait=60s HTTP/1.1\r\n"
             "Host: x\r\n\r\n",
             service, index_of(service));
    for (int i = 0; i < n; i++) {
        w[i].head_n = w[i].received = w[i].needed = 0;
        w[i].head_done = w[i].chunked = w[i].done = false;
        memset(w[i].tail, 0, 5);
        if (send(w[i].fd, request, strlen(request), 0) < 0)
            die("send");
    }
    usleep(700000 + (useconds_t)n * 20); /* until all are parked */
}

static int change(const char *service, int round)
{
    char body[512], request[1024];
    int n =
        snprintf(body, sizeof body,
                 "{\"Node\":\"watch\",\"Address\":\"127.0.0.1\","
                 "\"Service\":{\"ID\":\"watch-%s\",\"Service\":\"%s\","
                 "\"Port\":%d}}",
                 service, service, 1000 + (round + (int)time(NULL)) % 50000);
    snprintf(request, sizeof request,
             "PUT /v1/catalog/register HTTP/1.1\r\nHost: x\r\n"
             "Connection: close\r\nContent-Length: %d\r\n\r\n%s",
             n, body);
    int fd = dial();
    if (send(fd, request, strlen(request), 0) < 0)
        die("send");
    return fd;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: watch PORT SERVICE WATCHERS ROUNDS\n");
        return 2;
    }
    port = atoi(argv[1]);
    const char *service = argv[2];
    int n = atoi(argv[3]), rounds = atoi(argv[4]);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    struct watcher *w = calloc((size_t)n, sizeof *w);
    double *lag = calloc((size_t)(n * rounds), sizeof *lag);
    size_t count = 0;
    int ep = epoll_create1(0);
    if (!w || !lag || ep < 0)
        die("start");
    for (int i = 0; i < n; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = &w[i]};
        w[i].fd = dial();
        if (epoll_ctl(ep, EPOLL_CTL_ADD, w[i].fd, &e) != 0)
            die("epoll");
    }
    for (int r = 0; r < rounds; r++) {
        struct epoll_event ev[512];
        park_all(w, n, service);
        double began = now_ms();
        int writer = change(service, r);
        for (int left = n; left > 0;) {
            if (now_ms() - began > LIMIT_MS) {
                printf("{\"bench\":\"watch\",\"watchers\":%d,"
                       "\"never_woke\":%d}\n",
                       n, left);
                return 1;
            }
            int m = epoll_wait(ep, ev, 512, 1000);
            for (int i = 0; i < m; i++)
                if (take(ev[i].data.ptr)) {
                    lag[count++] = now_ms() - began;
                    left--;
                }
        }
        close(writer);
    }
    qsort(lag, count, sizeof *lag, by_value);
    printf("{\"bench\":\"watch\",\"watchers\":%d,\"rounds\":%d,"
           "\"p50_ms\":%.2f,\"p99_ms\":%.2f,\"max_ms\":%.2f}\n",
           n, rounds, lag[count / 2], lag[count * 99 / 100], lag[count - 1]);
    return 0;
}
