/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* stream - many event streams at once, and long polls beside them.
 *
 *   stream wake PORT SERVICE STREAMS POLLS ROUNDS
 *       one change a round: milliseconds from the write until each has it
 *   stream storm PORT SERVICE INSTANCES STREAMS RATE SECONDS
 *       RATE changes a second of the service's instances, then one last: what
 *       the streams were sent meanwhile, and when each had the last
 *   stream open PORT SERVICE STREAMS
 *       all connect at once: milliseconds until each has its snapshot
 *   stream hold PORT SERVICE STREAMS
 *       the same, then waits for a line on standard input
 *
 * Prints one JSON line. A marker (the instance's Port, 5 digits of it new every
 * round) tells the change: whoever has its bytes has the change, and on its
 * connection everything before it. wake works against bench/floor too. */
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

enum { BUFFER = 1 << 20, LIMIT_MS = 60000, TAIL = 32, SOURCES = 64 };

struct reader {
    int fd;
    bool poll, done;
    size_t bytes;
    char tail[TAIL + 1]; /* of what came last: a marker may be cut in two */
};

static int port;
static char buffer[TAIL + BUFFER + 1];
static int ep;

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void die(const char *what)
{
    fprintf(stderr, "stream: %s: %s\n", what, strerror(errno));
    exit(2);
}

/* From one of many loopback addresses, so that neither local ports nor a limit
 * per client is what is measured. */
static int dial(int i)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in from = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(i % SOURCES))};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0)
        die("socket");
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&from, sizeof from) != 0 ||
        connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static void ask(int fd, const char *text)
{
    if (send(fd, text, strlen(text), MSG_NOSIGNAL) != (ssize_t)strlen(text))
        die("send");
}

static void ask_stream(int fd, const char *service)
{
    char text[512];
    snprintf(text, sizeof text,
             "GET /v1/health/service/%s?stream HTTP/1.1\r\nHost: x\r\n\r\n",
             service);
    ask(fd, text);
}

static long index_of(const char *service)
{
    char text[512];
    int fd = dial(0);
    size_t n = 0;
    ssize_t r;
    snprintf(text, sizeof text,
             "GET /v1/health/service/%s HTTP/1.1\r\nHost: x\r\n"
             "Connection: close\r\n\r\n",
             service);
    ask(fd, text);
    while (n < BUFFER && (r = recv(fd, buffer + n, BUFFER - n, 0)) > 0)
        n += (size_t)r;
    buffer[n] = 0;
    close(fd);
    char *p = strcasestr(buffer, "X-Consul-Index: ");
    return p ? atol(p + 16) : -1;
}

static struct reader *readers_new(int n)
{
    struct reader *v = calloc((size_t)n, sizeof *v);
    if (!v)
        die("memory");
    for (int i = 0; i < n; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = &v[i]};
        v[i].fd = dial(i);
        if (epoll_ctl(ep, EPOLL_CTL_ADD, v[i].fd, &e) != 0)
            die("epoll");
    }
    return v;
}

/* Takes what is there; true if the marker is in it. */
static bool take(struct reader *r, const char *marker)
{
    size_t kept = strlen(r->tail);
    memcpy(buffer, r->tail, kept);
    ssize_t n = recv(r->fd, buffer + kept, BUFFER, MSG_DONTWAIT);
    if (n == 0)
        die("a connection was closed");
    if (n < 0)
        return false;
    size_t all = kept + (size_t)n;
    buffer[all] = 0;
    r->bytes += (size_t)n;
    bool found = memmem(buffer, all, marker, strlen(marker)) != NULL;
    size_t keep = all < TAIL ? all : TAIL;
    memcpy(r->tail, buffer + all - keep, keep);
    r->tail[keep] = 0;
    return found;
}

/* Takes what is there and forgets it: the kernel does not even copy it, so that
 * it is not this program that is measured. */
static void skip(struct reader *r)
{
    ssize_t n = recv(r->fd, NULL, 16 << 20, MSG_DONTWAIT | MSG_TRUNC);
    if (n == 0)
        die("a connection was closed");
    if (n > 0)
        r->bytes += (size_t)n;
    r->tail[0] = 0;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Until all have the marker, each time noted; how many never had. */
static int wait_all(struct reader *v, int n, const char *marker, double began,
                    double *ret_lag)
{
    struct epoll_event ev[512];
    int left = n;
    for (int i = 0; i < n; i++)
        v[i].done = false;
    while (left > 0 && now_ms() - began < LIMIT_MS) {
        int m = epoll_wait(ep, ev, 512, 1000);
        for (int i = 0; i < m; i++) {
            struct reader *r = ev[i].data.ptr;
            if (!take(r, marker) || r->done)
                continue;
            r->done = true;
            *ret_lag++ = now_ms() - began;
            left--;
        }
    }
    return left;
}

static int put_text(char *text, size_t n, const char *service, int instance,
                    int number)
{
    char body[512];
    int k = snprintf(body, sizeof body,
                     "{\"Node\":\"stream\",\"Address\":\"127.0.0.1\","
                     "\"SkipNodeUpdate\":true,\"Service\":{\"ID\":\"i%d\","
                     "\"Service\":\"%s\",\"Port\":%d}}",
                     instance, service, number);
    return snprintf(text, n,
                    "PUT /v1/catalog/register HTTP/1.1\r\nHost: x\r\n"
                    "Content-Length: %d\r\n\r\n%s",
                    k, body);
}

static void put(int fd, const char *service, int instance, int number)
{
    char text[1024];
    put_text(text, sizeof text, service, instance, number);
    ask(fd, text);
}

static void put_and_wait(const char *service, int instance, int number)
{
    int fd = dial(1);
    put(fd, service, instance, number);
    if (recv(fd, buffer, BUFFER, 0) <= 0)
        die("write");
    close(fd);
}

static void marker_text(char *ret, size_t n, int number)
{
    snprintf(ret, n, "\"Port\":%d,", number);
}

static void print_lags(const char *kind, double *lag, size_t n)
{
    qsort(lag, n, sizeof *lag, by_value);
    printf("\"%s\":{\"n\":%zu,\"p50_ms\":%.2f,\"p99_ms\":%.2f,"
           "\"max_ms\":%.2f}",
           kind, n, n ? lag[n / 2] : 0, n ? lag[n * 99 / 100] : 0,
           n ? lag[n - 1] : 0);
}

/* --- wake ---------------------------------------------------------------- */

static void ask_polls(struct reader *v, int n, const char *service)
{
    char text[512];
    snprintf(text, sizeof text,
             "GET /v1/health/service/%s?index=%ld&wait=60s HTTP/1.1\r\n"
             "Host: x\r\n\r\n",
             service, index_of(service));
    for (int i = 0; i < n; i++)
        if (v[i].poll)
            ask(v[i].fd, text);
}

static int wake(const char *service, int streams, int polls, int rounds)
{
    int n = streams + polls, number = 10000 + (int)(time(NULL) % 40000);
    char marker[32];
    double *lag = calloc((size_t)(n * rounds), sizeof *lag);
    size_t count = 0;
    put_and_wait(service, 0, ++number);
    struct reader *v = readers_new(n);
    for (int i = 0; i < n; i++) {
        v[i].poll = i >= streams;
        if (!v[i].poll)
            ask_stream(v[i].fd, service);
    }
    /* Their first answers, which hold the marker of the write before. */
    marker_text(marker, sizeof marker, number);
    if (streams && wait_all(v, streams, marker, now_ms(), lag) != 0)
        die("not all streams began");
    int writer = dial(1);
    for (int r = 0; r < rounds; r++) {
        ask_polls(v, n, service);
        usleep(700000 + (useconds_t)n * 20); /* until all are parked */
        marker_text(marker, sizeof marker, ++number);
        double began = now_ms();
        put(writer, service, 0, number);
        int never = wait_all(v, n, marker, began, lag + count);
        if (never) {
            printf("{\"bench\":\"wake\",\"never\":%d}\n", never);
            return 1;
        }
        count += (size_t)n;
    }
    printf("{\"bench\":\"wake\",\"streams\":%d,\"polls\":%d,", streams, polls);
    print_lags("lag", lag, count);
    printf("}\n");
    return 0;
}

/* --- storm --------------------------------------------------------------- */

static void write_due(int fd, const char *service, int instances, double began,
                      int rate, long *done, int base)
{
    char text[1024];
    while (*done < (long)((now_ms() - began) * rate / 1e3)) {
        int n = put_text(text, sizeof text, service, (int)(*done % instances),
                         base + (int)(*done % 9000));
        if (send(fd, text, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) != n)
            return; /* it answers more slowly than we ask: told by the rate */
        ++*done;
    }
}

static int storm(const char *service, int instances, int streams, int rate,
                 int seconds)
{
    struct epoll_event ev[512];
    double *lag = calloc((size_t)streams, sizeof *lag);
    char marker[32];
    long done = 0;
    for (int i = 0; i < instances; i++)
        put_and_wait(service, i, 10000 + i);
    struct reader *v = readers_new(streams);
    for (int i = 0; i < streams; i++)
        ask_stream(v[i].fd, service);
    if (wait_all(v, streams, "\"Phase\":\"end\"", now_ms(), lag) != 0)
        die("not all streams began");
    for (int i = 0; i < streams; i++)
        v[i].bytes = 0;
    int writer = dial(1);
    double began = now_ms();
    while (now_ms() - began < seconds * 1e3) {
        write_due(writer, service, instances, began, rate, &done, 20000);
        while (recv(writer, buffer, BUFFER, MSG_DONTWAIT) > 0)
            ;
        int m = epoll_wait(ep, ev, 512, 1);
        for (int i = 0; i < m; i++)
            skip(ev[i].data.ptr);
    }
    double took = now_ms() - began;
    double least = 1e18, most = 0;
    for (int i = 0; i < streams; i++) {
        least = (double)v[i].bytes < least ? (double)v[i].bytes : least;
        most = (double)v[i].bytes > most ? (double)v[i].bytes : most;
    }
    put_and_wait(service, 0, 60606);
    marker_text(marker, sizeof marker, 60606);
    int never = wait_all(v, streams, marker, now_ms(), lag);
    printf("{\"bench\":\"storm\",\"changes_per_s\":%.0f,\"streams\":%d,"
           "\"least_kb_s\":%.1f,\"most_kb_s\":%.1f,\"never\":%d,",
           (double)done * 1e3 / took, streams, least / took, most / took,
           never);
    print_lags("last", lag, (size_t)(streams - never));
    printf("}\n");
    return never != 0;
}

/* --- open, hold ---------------------------------------------------------- */

static int open_all(const char *service, int streams, bool hold)
{
    double *lag = calloc((size_t)streams, sizeof *lag);
    double began = now_ms();
    struct reader *v = readers_new(streams);
    for (int i = 0; i < streams; i++)
        ask_stream(v[i].fd, service);
    int never = wait_all(v, streams, "\"Phase\":\"end\"", began, lag);
    printf("{\"bench\":\"open\",\"streams\":%d,\"never\":%d,", streams, never);
    print_lags("whole", lag, (size_t)(streams - never));
    printf("}\n");
    fflush(stdout);
    if (hold)
        (void)getchar();
    return never != 0;
}

static int usage(void)
{
    fprintf(stderr, "usage: stream wake PORT SERVICE STREAMS POLLS ROUNDS\n"
                    "       stream storm PORT SERVICE INSTANCES STREAMS RATE "
                    "SECONDS\n"
                    "       stream open|hold PORT SERVICE STREAMS\n");
    return 2;
}

int main(int argc, char **argv)
{
    struct rlimit limit;
    if (argc < 5)
        return usage();
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    ep = epoll_create1(0);
    port = atoi(argv[2]);
    if (strcmp(argv[1], "wake") == 0 && argc == 7)
        return wake(argv[3], atoi(argv[4]), atoi(argv[5]), atoi(argv[6]));
    if (strcmp(argv[1], "storm") == 0 && argc == 8)
        return storm(argv[3], atoi(argv[4]), atoi(argv[5]), atoi(argv[6]),
                     atoi(argv[7]));
    if (strcmp(argv[1], "open") == 0 || strcmp(argv[1], "hold") == 0)
        return open_all(argv[3], atoi(argv[4]), argv[1][0] == 'h');
    return usage();
}
