/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* store_proxy - a TCP proxy in a process of its own that cuts connections: each
 * after a random number of bytes, without a word to either side. */
#ifndef STORE_PROXY_H
#define STORE_PROXY_H

#include <errno.h>
#include <poll.h>

#include "unit/store_etcd.h"

enum { PROXY_CONNS_MAX = 64, PROXY_CHUNK = 4096 };

struct proxy {
    pid_t pid;
    int port, to_port;
    unsigned seed;
    int bytes_max; /* of a connection, at most; 0: it is not cut */
    char url[64];
};

struct proxy_conn {
    int fd[2];
    long left;
};

static inline int proxy_listen(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                            .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 64) < 0)
        _exit(1);
    return fd;
}

static inline int proxy_connect(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                            .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
        return fd;
    close(fd);
    return -1;
}

/* False: it is over. */
static inline bool proxy_pass(struct proxy_conn *c, int from)
{
    char chunk[PROXY_CHUNK];
    ssize_t n = read(c->fd[from], chunk, sizeof chunk);

    if (n <= 0)
        return false;
    if (c->left && c->left <= n)
        return false; /* and these bytes never arrive */
    c->left -= c->left ? n : 0;
    for (ssize_t at = 0; at < n;) {
        ssize_t k =
            send(c->fd[!from], chunk + at, (size_t)(n - at), MSG_NOSIGNAL);
        if (k < 0)
            return false;
        at += k;
    }
    return true;
}

static inline void proxy_take(struct proxy *p, int listener,
                              struct proxy_conn *c)
{
    c->fd[0] = accept(listener, NULL, NULL);
    c->fd[1] = proxy_connect(p->to_port);
    c->left = p->bytes_max ? 1 + rand_r(&p->seed) % p->bytes_max : 0;
    if (c->fd[1] < 0) {
        close(c->fd[0]);
        c->fd[0] = 0;
    }
}

static inline void proxy_main(struct proxy *p, int listener)
{
    struct proxy_conn conn[PROXY_CONNS_MAX] = {0};

    for (;;) {
        struct pollfd fds[1 + 2 * PROXY_CONNS_MAX];
        struct proxy_conn *free_one = NULL;

        for (int i = 0; i < PROXY_CONNS_MAX; i++) {
            for (int k = 0; k < 2; k++)
                fds[1 + 2 * i + k] = (struct pollfd){
                    conn[i].fd[0] ? conn[i].fd[k] : -1, POLLIN, 0};
            free_one = conn[i].fd[0] ? free_one : &conn[i];
        }
        fds[0] = (struct pollfd){free_one ? listener : -1, POLLIN, 0};
        (void)poll(fds, sizeof fds / sizeof *fds, -1);
        for (int i = 0; i < PROXY_CONNS_MAX; i++) {
            bool over = false;

            for (int k = 0; k < 2 && !over; k++)
                if (conn[i].fd[0] && fds[1 + 2 * i + k].revents)
                    over = !proxy_pass(&conn[i], k);
            if (over) {
                close(conn[i].fd[0]);
                close(conn[i].fd[1]);
                conn[i].fd[0] = 0;
            }
        }
        if (fds[0].revents)
            proxy_take(p, listener, free_one);
    }
}

/* To the port; on the same port as before if it ran already. */
static inline void proxy_begin(struct proxy *p, int to_port, unsigned seed,
                               int bytes_max)
{
    int ready[2];
    char c;

    p->port = p->port ? p->port : etcd_port();
    p->to_port = to_port;
    p->seed = seed;
    p->bytes_max = bytes_max;
    snprintf(p->url, sizeof p->url, "etcd://127.0.0.1:%d", p->port);
    assert_int_equal(pipe(ready), 0);
    p->pid = fork();
    assert_true(p->pid >= 0);
    if (p->pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        int listener = proxy_listen(p->port);
        (void)!write(ready[1], "r", 1);
        proxy_main(p, listener);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &c, 1), 1);
    close(ready[0]);
}

static inline void proxy_end(struct proxy *p)
{
    int status;

    kill(p->pid, SIGKILL);
    (void)waitpid(p->pid, &status, 0);
}

#endif
