/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* agents - many client agents as their servers see them; prints JSON lines.
 *
 *   [FIRST=0] agents N SPREAD_S SECONDS PORT...
 *
 * N agents, from host-FIRST on, start within SPREAD_S seconds (0: all in one moment), each at an address
 * of its own, at the listeners for peers at these ports of 127.0.0.1: hello, its
 * node with one service and serfHealth, an event stream of its node, and a beat a
 * second. The registration is written as PUT /v1/catalog/register, which makes the
 * same plan as an agent's wishes. Who is told 429 comes again after Retry-After, who
 * loses a connection after a second, at the next server.
 *
 * The first line is printed once all are up, the second after SECONDS more. */
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

enum { PORTS_MAX = 8, IN_MAX = 4096, TURN_MS = 5, EVENTS = 512 };

enum step { HELLO, REGISTER, STREAM, BEAT };

struct agent {
    enum step step;
    int fd, stream_fd, port_at;
    bool waits;   /* for an answer */
    bool patient; /* the server has many: the connection is for beats alone */
    uint64_t due_ns, sent_ns, began_ns, up_ns;
    size_t got;
    char in[IN_MAX];
};

static struct {
    int n, first, ports[PORTS_MAX], port_n, epoll;
    struct agent *agents;
    uint64_t began_ns;
    uint64_t up, shed, failed, lost, streams_lost;
    uint64_t beats, beats_late; /* answered; later than half a second */
    uint64_t worst_ns;
} all;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Level-triggered; the pointer's lowest bit marks the stream's socket. */
static int dial(struct agent *a, bool stream)
{
    uint32_t i = (uint32_t)(a - all.agents), k = i + (uint32_t)all.first;
    int on = 1;
    struct sockaddr_in from = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(0x7f010001u + (k / 250 << 8) + k % 250)};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)all.ports[a->port_at]),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event e = {.events = EPOLLIN,
                            .data.u64 = (uint64_t)i << 1 | stream};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0) {
        perror("agents: socket");
        exit(1);
    }
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)bind(fd, (struct sockaddr *)&from, sizeof from);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
        close(fd);
        return -1;
    }
    epoll_ctl(all.epoll, EPOLL_CTL_ADD, fd, &e);
    return fd;
}

static void drop(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* From hello on, at the next server. */
static void lost(struct agent *a)
{
    all.lost++;
    all.up -= a->up_ns != 0;
    a->up_ns = 0;
    drop(&a->fd);
    drop(&a->stream_fd);
    a->step = HELLO;
    a->waits = a->patient = false;
    a->got = 0;
    a->port_at = (a->port_at + 1) % all.port_n;
    a->due_ns = now_ns() + 1000000000u;
}

static int write_request(const struct agent *a, char *out, size_t n)
{
    int i = (int)(a - all.agents) + all.first;
    char body[1024];

    switch (a->step) {
    case HELLO:
        return snprintf(out, n,
                        "GET /v1/peer/hello HTTP/1.1\r\nHost: x\r\n\r\n");
    case REGISTER:
        return snprintf(
            out, n,
            "PUT /v1/catalog/register HTTP/1.1\r\nHost: x\r\n"
            "Content-Length: %d\r\n\r\n%s",
            snprintf(body, sizeof body,
                     "{\"Node\":\"host-%d\",\"Address\":\"127.0.0.1\","
                     "\"NodeMeta\":{\"muster_peer_port\":\"1\"},"
                     "\"Service\":{\"ID\":\"app\",\"Service\":\"app-%d\","
                     "\"Port\":80},\"Check\":{\"CheckID\":\"serfHealth\","
                     "\"Name\":\"Serf Health Status\",\"Status\":\"passing\","
                     "\"Output\":\"Agent alive and reachable\"}}",
                     i, i % 500),
            body);
    case STREAM:
        return snprintf(out, n,
                        "GET /v1/muster/stream?rows&node=host-%d&"
                        "node-checks=host-%d&resume=0 HTTP/1.1\r\nHost: x\r\n"
                        "X-Muster-Subscriber: agent host-%d\r\n\r\n",
                        i, i, i);
    case BEAT:
        return snprintf(out, n,
                        "PUT /v1/peer/beat HTTP/1.1\r\nHost: x\r\n"
                        "Content-Length: %d\r\n\r\n%s",
                        snprintf(body, sizeof body, "{\"Node\":\"host-%d\"%s}",
                                 i, a->patient ? ",\"Patient\":true" : ""),
                        body);
    }
    return 0;
}

static void speak(struct agent *a)
{
    char out[2048];
    int n = write_request(a, out, sizeof out);
    bool stream = a->step == STREAM;
    int *fd = stream ? &a->stream_fd : &a->fd;

    a->due_ns = 0;
    a->sent_ns = now_ns();
    if (!a->began_ns)
        a->began_ns = a->sent_ns;
    if (*fd < 0)
        *fd = dial(a, stream);
    if (*fd < 0 || send(*fd, out, (size_t)n, MSG_NOSIGNAL) != n) {
        lost(a);
        return;
    }
    a->waits = true;
    a->got = 0;
    if (!stream)
        return;
    a->step = BEAT; /* what comes on the stream is read and thrown away */
    a->waits = false;
    a->due_ns = a->sent_ns;
}

static void answered(struct agent *a, int status)
{
    uint64_t now = now_ns();
    char *wait = strcasestr(a->in, "\r\nRetry-After: ");
    const char *every = strstr(a->in, "\"BeatMs\":");

    a->waits = false;
    a->got = 0;
    if (status != 200) {
        all.shed += status == 429;
        all.failed += status != 429;
        a->due_ns = now + (uint64_t)((wait ? atof(wait + 15) : 1) * 1e9);
        return;
    }
    if (a->step != BEAT) {
        a->step++;
        a->due_ns = now;
        return;
    }
    uint64_t took = now - a->sent_ns;
    all.beats++;
    all.beats_late += took > 500000000u;
    all.worst_ns = took > all.worst_ns ? took : all.worst_ns;
    all.up += a->up_ns == 0;
    if (!a->up_ns)
        a->up_ns = now;
    int ms = every ? atoi(every + 9) : 1000;
    a->patient = ms > 1000;
    a->due_ns = a->sent_ns + (uint64_t)ms * 1000000u;
}

/* Answers are short; the body is looked at for its end only. */
static void hear(struct agent *a)
{
    ssize_t n = recv(a->fd, a->in + a->got, IN_MAX - 1 - a->got, MSG_DONTWAIT);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0 || !a->waits) {
        lost(a);
        return;
    }
    a->got += (size_t)n;
    a->in[a->got] = 0;
    char *end = strstr(a->in, "\r\n\r\n");
    char *length = strcasestr(a->in, "\r\nContent-Length: ");
    if (end && (!length || (size_t)(a->in + a->got - end - 4) >=
                               (size_t)atoi(length + 18)))
        answered(a, atoi(a->in + 9));
}

static void hear_stream(struct agent *a)
{
    static char thrown[65536];
    ssize_t n = recv(a->stream_fd, thrown, sizeof thrown, MSG_DONTWAIT);

    if (n > 0 || (n < 0 && errno == EAGAIN))
        return;
    all.streams_lost++;
    lost(a);
}

/* Half of the time for what came, half for what is due, so that neither starves:
 * an agent is looked at in order of its number. */
static void turn(void)
{
    struct epoll_event e[EVENTS];
    int n = epoll_wait(all.epoll, e, EVENTS, TURN_MS);

    for (int i = 0; i < n; i++) {
        struct agent *a = &all.agents[e[i].data.u64 >> 1];
        if (e[i].data.u64 & 1)
            hear_stream(a);
        else if (a->fd >= 0)
            hear(a);
    }
    static uint64_t looked;
    uint64_t now = now_ns();
    if (now < looked + TURN_MS * 1000000u)
        return;
    looked = now;
    for (int i = 0; i < all.n; i++)
        if (all.agents[i].due_ns && all.agents[i].due_ns <= now)
            speak(&all.agents[i]);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void tell_up(void)
{
    uint64_t *took = calloc((size_t)all.n, sizeof *took);
    size_t k = 0;

    for (int i = 0; i < all.n; i++)
        if (all.agents[i].up_ns)
            took[k++] =
                (all.agents[i].up_ns - all.agents[i].began_ns) / 1000000;
    qsort(took, k, sizeof *took, by_value);
    printf("{\"bench\":\"agents up\",\"n\":%d,\"up\":%zu,\"shed\":%llu,"
           "\"failed\":%llu,\"lost\":%llu,\"p50_ms\":%llu,\"p99_ms\":%llu,"
           "\"last_ms\":%llu}\n",
           all.n, k, (unsigned long long)all.shed,
           (unsigned long long)all.failed, (unsigned long long)all.lost,
           (unsigned long long)(k ? took[k / 2] : 0),
           (unsigned long long)(k ? took[k * 99 / 100] : 0),
           (unsigned long long)((now_ns() - all.began_ns) / 1000000));
    fflush(stdout);
    free(took);
}

int main(int argc, char **argv)
{
    struct rlimit most;

    if (argc < 5 || argc > 4 + PORTS_MAX || atoi(argv[1]) < 1) {
        fprintf(stderr, "usage: agents N SPREAD_S SECONDS PORT...\n");
        return 2;
    }
    if (getrlimit(RLIMIT_NOFILE, &most) == 0) {
        most.rlim_cur = most.rlim_max;
        setrlimit(RLIMIT_NOFILE, &most);
    }
    all.n = atoi(argv[1]);
    all.first = getenv("FIRST") ? atoi(getenv("FIRST")) : 0;
    for (int i = 4; i < argc; i++)
        all.ports[all.port_n++] = atoi(argv[i]);
    all.agents = calloc((size_t)all.n, sizeof *all.agents);
    all.epoll = epoll_create1(0);
    all.began_ns = now_ns();
    for (int i = 0; i < all.n; i++) {
        all.agents[i].fd = all.agents[i].stream_fd = -1;
        all.agents[i].port_at = i % all.port_n;
        all.agents[i].due_ns =
            all.began_ns + 1 + (uint64_t)(atof(argv[2]) * 1e9 * i / all.n);
    }
    while (all.up < (uint64_t)all.n && now_ns() - all.began_ns < 180000000000u)
        turn();
    tell_up();
    all.beats = all.beats_late = all.worst_ns = all.lost = all.shed = 0;
    uint64_t until = now_ns() + (uint64_t)(atof(argv[3]) * 1e9);
    while (now_ns() < until)
        turn();
    printf("{\"bench\":\"agents beat\",\"n\":%d,\"up\":%llu,\"beats\":%llu,"
           "\"late\":%llu,\"lost\":%llu,\"shed\":%llu,\"worst_ms\":%llu}\n",
           all.n, (unsigned long long)all.up, (unsigned long long)all.beats,
           (unsigned long long)all.beats_late, (unsigned long long)all.lost,
           (unsigned long long)all.shed,
           (unsigned long long)(all.worst_ns / 1000000));
    return 0;
}
