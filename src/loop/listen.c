/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets. What is set here on a TCP listener (no delay, keep-alive)
 * is inherited by every connection it accepts: Linux clones the listener, so
 * an accept costs no further system calls. */
#include "loop/conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    /* A peer that vanished without a word is noticed after 2 minutes: 60 + 4 *
     * 15 seconds. Matters to streams only; all else has its own time limit. */
    KEEP_IDLE_S = 60,
    KEEP_INTERVAL_S = 15,
    KEEP_PROBES = 4,
    UDP_BUFFER_BYTES = 4 << 20,
};

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static socklen_t address_size(const union address *a)
{
    return a->any.sa_family == AF_INET6 ? sizeof a->v6 : sizeof a->v4;
}

static enum err address_parse(const char *text, int port, union address *ret,
                              struct errtext *t)
{
    union address a = {0};

    if (port < 0 || port > 65535) {
        errtext_set(t, "listen on %s: port %d is not within 0..65535", text,
                    port);
        return ERR_BAD;
    }
    if (inet_pton(AF_INET, text, &a.v4.sin_addr) == 1) {
        a.v4.sin_family = AF_INET;
        a.v4.sin_port = htons((uint16_t)port);
    } else if (inet_pton(AF_INET6, text, &a.v6.sin6_addr) == 1) {
        a.v6.sin6_family = AF_INET6;
        a.v6.sin6_port = htons((uint16_t)port);
    } else {
        errtext_set(t, "listen on \"%s\": not an IPv4 or IPv6 address", text);
        return ERR_BAD;
    }
    *ret = a;
    return ERR_OK;
}

static void address_text(const union address *a, char *ret, size_t n)
{
    char host[INET6_ADDRSTRLEN];

    if (a->any.sa_family == AF_INET6) {
        (void)inet_ntop(AF_INET6, &a->v6.sin6_addr, host, sizeof host);
        (void)snprintf(ret, n, "[%s]:%d", host, ntohs(a->v6.sin6_port));
    } else {
        (void)inet_ntop(AF_INET, &a->v4.sin_addr, host, sizeof host);
        (void)snprintf(ret, n, "%s:%d", host, ntohs(a->v4.sin_port));
    }
}

/* From errno. */
static enum err listen_failed(const char *where, struct errtext *t)
{
    int e = errno;
    enum err ret = ERR_IO;

    errno = 0;
    if (e == EADDRINUSE) {
        errtext_set(t, "listen on %s: address already in use", where);
        ret = ERR_LOCKED;
    } else {
        char reason[96];
        errtext_set(t, "listen on %s: %s", where,
                    strerror_r(e, reason, sizeof reason));
        if (e == EACCES || e == EADDRNOTAVAIL)
            ret = ERR_BAD;
        else if (e == ENOMEM || e == ENOBUFS)
            ret = ERR_NOMEM;
    }
    return ret;
}

static int set_on(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value);
}

/* A burst waits while a batch is answered; as much as the system allows. */
static int set_udp_options(int fd)
{
    return set_on(fd, SOL_SOCKET, SO_RCVBUF, UDP_BUFFER_BYTES);
}

static int set_tcp_options(int fd)
{
    if (set_on(fd, SOL_SOCKET, SO_REUSEADDR, 1) < 0 ||
        set_on(fd, IPPROTO_TCP, TCP_NODELAY, 1) < 0 ||
        set_on(fd, SOL_SOCKET, SO_KEEPALIVE, 1) < 0 ||
        set_on(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE_S) < 0 ||
        set_on(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEP_INTERVAL_S) < 0)
        return -1;
    return set_on(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEP_PROBES);
}

/* Below zero with errno. `a` gets the port that the system chose for port 0. */
static int open_socket(union address *a, int kind, bool first)
{
    bool tcp = kind == SOCK_STREAM;
    socklen_t n = address_size(a);
    int fd = socket(a->any.sa_family, kind | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    if ((tcp ? set_tcp_options(fd) : set_udp_options(fd)) < 0)
        goto fail;
    /* Go's listeners on [::] take IPv4 too, and so does what people expect of
     * client_addr = "::". */
    if (a->any.sa_family == AF_INET6 &&
        set_on(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0) < 0)
        goto fail;
    if (!first && set_on(fd, SOL_SOCKET, SO_REUSEPORT, 1) < 0)
        goto fail;
    if (bind(fd, &a->any, n) < 0)
        goto fail;
    if (first && set_on(fd, SOL_SOCKET, SO_REUSEPORT, 1) < 0)
        goto fail;
    if (tcp && listen(fd, CONN_BACKLOG) < 0)
        goto fail;
    if (getsockname(fd, &a->any, &n) < 0)
        goto fail;
    return fd;

fail:;
    int e = errno;
    (void)close(fd);
    errno = e;
    return -1;
}

static enum err listen_on(const char *address, int port, int kind, int count,
                          int *ret_fds, struct errtext *t)
{
    union address a;
    char where[INET6_ADDRSTRLEN + 16];
    enum err e = address_parse(address, port, &a, t);

    if (e != ERR_OK)
        return e;
    address_text(&a, where, sizeof where);
    for (int i = 0; i < count; i++) {
        ret_fds[i] = open_socket(&a, kind, i == 0);
        if (ret_fds[i] >= 0)
            continue;
        e = listen_failed(where, t);
        while (i-- > 0)
            (void)close(ret_fds[i]);
        return e;
    }
    return ERR_OK;
}

enum err listen_tcp(const char *address, int port, int count, int *ret_fds,
                    struct errtext *t)
{
    return listen_on(address, port, SOCK_STREAM, count, ret_fds, t);
}

enum err listen_udp(const char *address, int port, int count, int *ret_fds,
                    struct errtext *t)
{
    return listen_on(address, port, SOCK_DGRAM, count, ret_fds, t);
}

/* --- Unix sockets --------------------------------------------------------- */

/* What stands in the way of a bind: removed if it is a socket that nobody
 * listens on. */
static enum err remove_stale(const struct sockaddr_un *a, struct errtext *t)
{
    struct stat st;
    int fd;

    if (lstat(a->sun_path, &st) < 0)
        return errno == ENOENT ? ERR_OK : listen_failed(a->sun_path, t);
    if (!S_ISSOCK(st.st_mode)) {
        errtext_set(t, "listen on %s: a file that is not a socket stands there",
                    a->sun_path);
        return ERR_EXISTS;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return listen_failed(a->sun_path, t);
    int rc = connect(fd, (const struct sockaddr *)a, sizeof *a);
    int e = errno;
    (void)close(fd);
    /* Only a refusal proves that nobody listens: a full backlog is EAGAIN. */
    if (rc == 0 || e != ECONNREFUSED) {
        errtext_set(t, "listen on %s: another process listens there",
                    a->sun_path);
        return ERR_LOCKED;
    }
    if (unlink(a->sun_path) < 0 && errno != ENOENT)
        return listen_failed(a->sun_path, t);
    return ERR_OK;
}

enum err listen_unix(const char *path, unsigned mode, int *ret_fd,
                     struct errtext *t)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t n = strlen(path);

    if (n == 0 || n >= sizeof a.sun_path) {
        errtext_set(t,
                    "listen on %.60s: path has %zu bytes, allowed are 1..%zu",
                    path, n, sizeof a.sun_path - 1);
        return ERR_BAD;
    }
    memcpy(a.sun_path, path, n + 1);
    enum err e = remove_stale(&a, t);
    if (e != ERR_OK)
        return e;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return listen_failed(path, t);
    /* Nobody gets in before listen, so chmod is in time. */
    if (bind(fd, (const struct sockaddr *)&a, sizeof a) < 0 ||
        (mode && chmod(path, (mode_t)mode) < 0) ||
        listen(fd, CONN_BACKLOG) < 0) {
        e = listen_failed(path, t);
        (void)close(fd);
        return e;
    }
    *ret_fd = fd;
    return ERR_OK;
}
