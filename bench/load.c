/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* load - registers instances through PUT /v1/catalog/register over C keep-alive
 * connections and prints one JSON line: rate and latency of the answers.
 *
 *   load PORT CONNECTIONS REQUESTS SERVICES NODES [PREFIX] [RATE]
 *
 * Request i registers instance PREFIX-i of service svc-(i mod SERVICES) on node
 * node-(i mod NODES), with one check, two tags and one meta pair. The node is
 * sent with the first NODES requests and SkipNodeUpdate with all others. RATE
 * 0: closed loop, one request in flight per connection; else open loop:
 * requests are due at fixed times and latency counts from then, so that
 * queueing shows. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { REQUEST_MAX = 2048, ANSWER_MAX = 4096 };

struct peer {
    int fd;
    bool busy;
    uint64_t due_ns;
    size_t got;
    char in[ANSWER_MAX];
};

static struct {
    int port, connections, services, nodes;
    uint64_t requests, rate;
    const char *prefix;
    uint64_t sent, done, failed;
    uint64_t *took_ns;
} load;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int dial(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)load.port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) != 0)
        die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static size_t request(char *out, uint64_t i)
{
    char body[REQUEST_MAX];
    bool first = i < (uint64_t)load.nodes;
    int n = snprintf(
        body, sizeof body,
        "{\"Node\":\"node-%llu\",\"Address\":\"10.0.%llu.%llu\"%s,"
        "\"Service\":{\"ID\":\"%s-%llu\",\"Service\":\"svc-%llu\","
        "\"Tags\":[\"v1\",\"zone-%llu\"],\"Meta\":{\"build\":\"%llu\"},"
        "\"Address\":\"10.1.%llu.%llu\",\"Port\":%llu},"
        "\"Check\":{\"CheckID\":\"check-%s-%llu\",\"Name\":\"alive\","
        "\"ServiceID\":\"%s-%llu\",\"Status\":\"passing\",\"Output\":\"ok\"}}",
        (unsigned long long)(i % (uint64_t)load.nodes),
        (unsigned long long)(i % (uint64_t)load.nodes) / 250,
        (unsigned long long)(i % (uint64_t)load.nodes) % 250,
        first ? "" : ",\"SkipNodeUpdate\":true", load.prefix,
        (unsigned long long)i,
        (unsigned long long)(i % (uint64_t)load.services),
        (unsigned long long)(i % 3), (unsigned long long)(i % 97),
        (unsigned long long)(i / 250 % 250), (unsigned long long)(i % 250),
        (unsigned long long)(1024 + i % 60000), load.prefix,
        (unsigned long long)i, load.prefix, (unsigned long long)i);
    return (size_t)snprintf(out, REQUEST_MAX,
                            "PUT /v1/catalog/register HTTP/1.1\r\nHost: x\r\n"
                            "Content-Length: %d\r\n\r\n%s",
                            n, body);
}

static void send_next(struct peer *p, uint64_t due_ns)
{
    char out[REQUEST_MAX];
    size_t n = request(out, load.sent++);
    p->busy = true;
    p->due_ns = due_ns;
    p->got = 0;
    if (send(p->fd, out, n, MSG_NOSIGNAL) != (ssize_t)n)
        die("send");
}

/* The answer is short: it ends with its body, "true" or an error text. */
static bool answered(struct peer *p)
{
    p->in[p->got] = 0;
    char *end = strstr(p->in, "\r\n\r\n");
    char *length = strcasestr(p->in, "\r\nContent-Length: ");
    if (!end || !length)
        return false;
    return p->got >= (size_t)(end - p->in) + 4 + strtoul(length + 18, NULL, 10);
}

static void take(struct peer *p)
{
    ssize_t n = recv(p->fd, p->in + p->got, ANSWER_MAX - 1 - p->got, 0);
    if (n <= 0)
        die("the server closed a connection");
    p->got += (size_t)n;
    if (!answered(p))
        return;
    if (strncmp(p->in, "HTTP/1.1 200", 12) != 0) {
        if (load.failed++ == 0)
            fprintf(stderr, "load: first failure: %s\n", p->in);
    }
    load.took_ns[load.done++] = now_ns() - p->due_ns;
    p->busy = false;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void give_work(struct peer *peers, uint64_t began)
{
    uint64_t now = now_ns();
    for (int i = 0; i < load.connections && load.sent < load.requests; i++) {
        if (peers[i].busy)
            continue;
        uint64_t due = now;
        if (load.rate) {
            due = began + load.sent * 1000000000u / load.rate;
            if (due > now)
                return;
        }
        send_next(&peers[i], due);
    }
}

static void run(struct peer *peers, int ep)
{
    struct epoll_event ev[64];
    uint64_t began = now_ns();
    while (load.done < load.requests) {
        give_work(peers, began);
        int n = epoll_wait(ep, ev, 64, load.rate ? 0 : -1);
        for (int i = 0; i < n; i++) {
            struct peer *p = ev[i].data.ptr;
            take(p);
            if (!p->busy && !load.rate && load.sent < load.requests)
                send_next(p, now_ns());
        }
    }
    double s = (double)(now_ns() - began) / 1e9;
    qsort(load.took_ns, load.done, sizeof load.took_ns[0], by_value);
    printf("{\"bench\":\"register\",\"connections\":%d,\"n\":%llu,"
           "\"failed\":%llu,\"per_s\":%.0f,\"p50_us\":%.0f,\"p99_us\":%.0f,"
           "\"max_us\":%.0f}\n",
           load.connections, (unsigned long long)load.done,
           (unsigned long long)load.failed, (double)load.done / s,
           (double)load.took_ns[load.done / 2] / 1e3,
           (double)load.took_ns[load.done * 99 / 100] / 1e3,
           (double)load.took_ns[load.done - 1] / 1e3);
}

int main(int argc, char **argv)
{
    if (argc < 6) {
        fprintf(stderr, "usage: load PORT CONNECTIONS REQUESTS SERVICES NODES "
                        "[PREFIX] [RATE]\n");
        return 2;
    }
    load.port = atoi(argv[1]);
    load.connections = atoi(argv[2]);
    load.requests = strtoull(argv[3], NULL, 10);
    load.services = atoi(argv[4]);
    load.nodes = atoi(argv[5]);
    load.prefix = argc > 6 ? argv[6] : "i";
    load.rate = argc > 7 ? strtoull(argv[7], NULL, 10) : 0;
    load.took_ns = malloc(load.requests * sizeof *load.took_ns);
    struct peer *peers = calloc((size_t)load.connections, sizeof *peers);
    int ep = epoll_create1(0);
    if (!load.took_ns || !peers || ep < 0 || load.connections < 1 ||
        load.services < 1 || load.nodes < 1)
        die("arguments");
    for (int i = 0; i < load.connections; i++) {
        peers[i].fd = dial();
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = &peers[i]};
        if (epoll_ctl(ep, EPOLL_CTL_ADD, peers[i].fd, &e) != 0)
            die("epoll");
    }
    run(peers, ep);
    return load.failed != 0;
}
