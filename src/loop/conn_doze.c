/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Connections whose peer is in no hurry (conn_doze): not the loop waits for what
 * they send, which would wake the thread for each of them, but an epoll set of
 * the server's own, looked into each CONN_DOZE_MS. */
#include "loop/conn_impl.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"

enum { LOOKED_AT = 128 }; /* at once; then the loop has its turn */

/* Between two requests, and all is said. */
static bool may_doze(const struct conn *c)
{
    return c->patient && c->state == CONN_READING && !c->in && !c->ahead &&
           !c->paused && c->writes == 0;
}

static bool has_set(struct http_server *s)
{
    if (s->doze_fd < 0)
        s->doze_fd = epoll_create1(EPOLL_CLOEXEC);
    return s->doze_fd >= 0;
}

static void doze(struct conn *c)
{
    struct http_server *s = c->server;
    struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET,
                            .data.ptr = c};
    uv_os_fd_t fd;

    if (!has_set(s) || uv_fileno(&c->uv.handle, &fd) != 0 ||
        epoll_ctl(s->doze_fd, EPOLL_CTL_ADD, fd, &e) != 0)
        return; /* then the loop waits for it, as for all others */
    (void)uv_read_stop(&c->uv.stream);
    /* libuv leaves it in its own set until something comes, and would be woken
     * by that. It adds it again by itself. */
    (void)epoll_ctl(uv_backend_fd(s->loop), EPOLL_CTL_DEL, fd, NULL);
    c->dozes = true;
    if (s->dozing++ == 0)
        timer_set(s->timers, &s->doze, CONN_DOZE_MS);
}

void conn_doze_end(struct conn *c)
{
    struct http_server *s = c->server;
    uv_os_fd_t fd;

    if (!c->dozes)
        return;
    if (uv_fileno(&c->uv.handle, &fd) == 0)
        (void)epoll_ctl(s->doze_fd, EPOLL_CTL_DEL, fd, NULL);
    c->dozes = false;
    if (--s->dozing == 0)
        timer_clear(s->timers, &s->doze);
}

void conn_doze_settle(struct conn *c)
{
    bool may = may_doze(c);

    if (may && !c->dozes) {
        doze(c);
    } else if (!may && c->dozes) {
        conn_doze_end(c);
        conn_start_reading(c);
    }
}

/* To the end of what is there, as the set tells only what is new; an end of the
 * stream that comes with bytes stands behind them, and is no news either. */
static void look(struct conn *c, bool ends)
{
    struct http_server *s = c->server;
    uv_os_fd_t fd;
    ssize_t n;

    do {
        if (uv_fileno(&c->uv.handle, &fd) != 0)
            return;
        n = recv(fd, s->read_buffer, CONN_READ_BYTES, MSG_DONTWAIT);
        if (n >= 0)
            conn_on_bytes(c, bytes_of(s->read_buffer, (size_t)n));
        else if (errno != EAGAIN && errno != EINTR)
            conn_lost(c);
    } while (c->dozes && n > 0 && (ends || n == CONN_READ_BYTES));
}

void server_on_doze(struct timer *t)
{
    struct http_server *s = container_of(t, struct http_server, doze);
    struct epoll_event e[LOOKED_AT];
    int n = epoll_wait(s->doze_fd, e, LOOKED_AT, 0);

    for (int i = 0; i < n; i++) {
        struct conn *c = e[i].data.ptr;
        /* One that was closed or woken meanwhile is still there: memory goes
         * at the end of the turn. */
        if (c->dozes)
            look(c, e[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR));
    }
    if (s->dozing > 0)
        timer_set(s->timers, &s->doze, n == LOOKED_AT ? 1 : CONN_DOZE_MS);
}

void conn_doze(struct conn *c)
{
    require(c->state == CONN_BUSY);
    c->patient = true;
}
