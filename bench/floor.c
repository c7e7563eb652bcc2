/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* floor - the least that waking N waiting HTTP connections can cost on this
 * machine: a bare epoll server with T threads that parks every GET with index=
 * and, on a PUT, writes a ready-made answer of BODY bytes to all of them. No
 * parsing, no catalog, no store. A GET with stream in it gets a chunk now, and one
 * more on each PUT. The Port of the PUT is in what follows it (bench/stream). Point bench/watch at it and at a registry in
 * the same run and quote the ratio: absolute times differ from machine to
 * machine, hour to hour.
 *
 * With a FILE each PUT is also made durable first, as a registry's is: a page is
 * written to it and synchronised (fdatasync), then all are woken.
 *
 *   floor PORT THREADS BODY [FILE] */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

enum { THREADS_MAX = 16, PARKED_MAX = 200000, ANSWER_MAX = 1 << 20 };

static int port, threads, body;
static int durable = -1; /* the file */
static _Atomic long revision = 5, mark;
static int wake_fd[THREADS_MAX];

struct server {
    int number, listener, epoll;
    int *parked, *streams;
    int parked_n, streams_n;
    char *answer;
};

static void fill(char *p)
{
    char text[32];
    int n = snprintf(text, sizeof text, "\"Port\":%ld,", atomic_load(&mark));
    memset(p, 'x', (size_t)body);
    if (n <= body)
        memcpy(p, text, (size_t)n);
}

static void chunk(struct server *s, int fd, bool first)
{
    int n = 0;
    if (first)
        n = sprintf(s->answer, "HTTP/1.1 200 OK\r\n"
                               "Content-Type: text/event-stream\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n");
    n += sprintf(s->answer + n, "%x\r\n", (unsigned)body);
    fill(s->answer + n);
    memcpy(s->answer + n + body, "\r\n", 2);
    if (send(fd, s->answer, (size_t)(n + body + 2),
             MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        perror("floor: send");
}

static void answer(struct server *s, int fd)
{
    int n = sprintf(s->answer,
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                    "X-Consul-Index: %ld\r\nX-Consul-Knownleader: true\r\n"
                    "X-Consul-Lastcontact: 0\r\nVary: Accept-Encoding\r\n"
                    "Content-Length: %d\r\n\r\n",
                    atomic_load(&revision), body);
    fill(s->answer + n);
    if (send(fd, s->answer, (size_t)(n + body), MSG_DONTWAIT | MSG_NOSIGNAL) <
        0)
        perror("floor: send");
}

static void add(struct server *s, int fd)
{
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &e) != 0) {
        perror("floor: epoll");
        exit(1);
    }
}

static void make_durable(void)
{
    static char page[4096];
    if (durable >= 0 && (pwrite(durable, page, sizeof page, 0) < 0 ||
                         fdatasync(durable) != 0)) {
        perror("floor: the file");
        exit(1);
    }
}

static void request(struct server *s, int fd)
{
    static const char done[] =
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue";
    char in[65536];
    ssize_t n = recv(fd, in, sizeof in - 1, 0);
    if (n <= 0) {
        for (int i = 0; i < s->streams_n; i++)
            if (s->streams[i] == fd)
                s->streams[i--] = s->streams[--s->streams_n];
        close(fd);
        return;
    }
    in[n] = 0;
    if (strncmp(in, "PUT", 3) == 0) {
        uint64_t one = 1;
        const char *number = strstr(in, "\"Port\":");
        if (number)
            atomic_store(&mark, atol(number + 7));
        make_durable();
        atomic_fetch_add(&revision, 1);
        if (send(fd, done, sizeof done - 1, MSG_NOSIGNAL) < 0)
            perror("floor: send");
        for (int t = 0; t < threads; t++)
            if (write(wake_fd[t], &one, 8) != 8)
                exit(1);
    } else if (strstr(in, "stream") && s->streams_n < PARKED_MAX) {
        chunk(s, fd, true);
        s->streams[s->streams_n++] = fd;
    } else if (strstr(in, "index=") && s->parked_n < PARKED_MAX) {
        s->parked[s->parked_n++] = fd;
    } else {
        answer(s, fd);
        shutdown(fd, SHUT_WR);
    }
}

static void turn(struct server *s, int fd)
{
    int on = 1;
    uint64_t count;
    if (fd == s->listener) {
        int c = accept4(fd, NULL, NULL, SOCK_NONBLOCK);
        if (c < 0)
            return;
        setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        add(s, c);
    } else if (fd == wake_fd[s->number]) {
        if (read(fd, &count, 8) != 8)
            return;
        for (int i = 0; i < s->streams_n; i++)
            chunk(s, s->streams[i], false);
        for (int i = 0; i < s->parked_n; i++)
            answer(s, s->parked[i]);
        s->parked_n = 0;
    } else {
        request(s, fd);
    }
}

static void *serve(void *arg)
{
    struct server s = {.number = (int)(intptr_t)arg,
                       .listener = socket(AF_INET, SOCK_STREAM, 0),
                       .epoll = epoll_create1(0),
                       .parked = calloc(PARKED_MAX, sizeof(int)),
                       .streams = calloc(PARKED_MAX, sizeof(int)),
                       .answer = malloc(ANSWER_MAX + 512)};
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    setsockopt(s.listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(s.listener, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (!s.parked || !s.streams || !s.answer ||
        bind(s.listener, (struct sockaddr *)&a, sizeof a) != 0 ||
        listen(s.listener, 8192) != 0) {
        perror("floor: listen");
        exit(1);
    }
    add(&s, s.listener);
    add(&s, wake_fd[s.number]);
    for (struct epoll_event ev[256];;) {
        int n = epoll_wait(s.epoll, ev, 256, -1);
        for (int i = 0; i < n; i++)
            turn(&s, ev[i].data.fd);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct rlimit limit;
    pthread_t t;
    if (argc < 4 || (threads = atoi(argv[2])) < 1 || threads > THREADS_MAX ||
        (port = atoi(argv[1])) < 1 || (body = atoi(argv[3])) < 0 ||
        body > ANSWER_MAX) {
        fprintf(stderr, "usage: floor PORT THREADS BODY [FILE]\n");
        return 2;
    }
    if (argc > 4 && (durable = open(argv[4], O_RDWR | O_CREAT, 0600)) < 0) {
        perror("floor: the file");
        return 1;
    }
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    for (int i = 0; i < threads; i++)
        wake_fd[i] = eventfd(0, EFD_NONBLOCK);
    for (intptr_t i = 0; i < threads; i++)
        if (pthread_create(&t, NULL, serve, (void *)i) != 0)
            return 1;
    pause();
    return 0;
}
