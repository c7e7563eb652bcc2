/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* The server of one thread: accepting within limits, and closing. */
#include "loop/conn_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/metric.h"

struct listener {
    uv_poll_t poll;
    struct http_server *server;
    struct list link;
    int fd;
    bool tcp;
    enum conn_kind kind;
};

enum {
    COMPLAIN_EVERY_MS = 10 * 1000, /* about a lack of descriptors */
};

static void poll_listener(struct listener *l);

/* --- Parsers -------------------------------------------------------------- */

struct http_in *server_parser(struct http_server *s)
{
    if (s->parser_count > 0)
        return s->parsers[--s->parser_count];
    return http_in_new(&s->limits->http);
}

void server_parser_back(struct http_server *s, struct http_in *take_in)
{
    if (s->parser_count == CONN_PARSERS_KEPT) {
        http_in_free(take_in);
        return;
    }
    http_in_next(take_in);
    s->parsers[s->parser_count++] = take_in;
}

/* --- Limits --------------------------------------------------------------- */

/* Where an address is counted. The seed differs from process to process, so
 * that nobody can choose addresses that collide with another's. */
static void peer_slots(const struct conn_limits *l, const struct in6_addr *peer,
                       uint16_t ret[2])
{
    uint64_t h = bytes_hash(bytes_of(peer, sizeof *peer), (uintptr_t)l);

    ret[0] = (uint16_t)(h % CONN_PEER_SLOTS);
    ret[1] = (uint16_t)((h >> 32) % CONN_PEER_SLOTS);
}

static uint32_t count_in(_Atomic uint32_t *count)
{
    return atomic_fetch_add_explicit(count, 1, memory_order_relaxed) + 1;
}

static void count_out(_Atomic uint32_t *count)
{
    atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);
}

static void uncount(struct conn_limits *l, const uint16_t slots[2], bool tcp)
{
    count_out(&l->conns);
    if (tcp) {
        count_out(&l->per_peer[0][slots[0]]);
        count_out(&l->per_peer[1][slots[1]]);
    }
}

void server_uncount(struct http_server *s, const struct conn *c)
{
    uncount(s->limits, c->slots, c->tcp);
    metric_add(METRIC_HTTP_CONNECTIONS, -1);
}

/* Counts it; refused (then not counted): the status to say, else 0. */
static int count_conn(struct conn_limits *l, const uint16_t slots[2], bool tcp)
{
    int status = 0;
    uint32_t all = count_in(&l->conns);

    if (tcp) {
        uint32_t a = count_in(&l->per_peer[0][slots[0]]);
        uint32_t b = count_in(&l->per_peer[1][slots[1]]);
        uint32_t of_peer = a < b ? a : b;
        uint32_t most =
            atomic_load_explicit(&l->max_conns_per_peer, memory_order_relaxed);
        if (most && of_peer > most)
            status = 429;
    }
    if (l->max_conns && all > l->max_conns)
        status = 503;
    if (status)
        uncount(l, slots, tcp);
    return status;
}

/* --- Accepting ------------------------------------------------------------ */

/* Says why, as far as the socket takes it at once, and closes. Who speaks TLS
 * could not read it. */
static void refuse_fd(const struct listener *l, int fd, int status)
{
    struct http_server *s = l->server;
    char text[160], answer[512];
    const struct conn_limits *most = s->limits;

    if (status == 429) {
        metric_add(METRIC_HTTP_REFUSED_PEER, 1);
        (void)snprintf(text, sizeof text,
                       "Your IP is issuing too many concurrent connections: "
                       "more than limits.http_max_conns_per_client = %u\n",
                       atomic_load(&most->max_conns_per_peer));
    } else {
        metric_add(METRIC_HTTP_REFUSED_CONNS, 1);
        (void)snprintf(text, sizeof text,
                       "too many connections: more than "
                       "limits.http_max_conns = %u, or out of file "
                       "descriptors\n",
                       most->max_conns);
    }
    size_t n = conn_refusal_text(answer, sizeof answer, status, text);
    if (l->kind != CONN_TLS && !(l->kind == CONN_PEER && s->peer_tls))
        (void)send(fd, answer, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)shutdown(fd, SHUT_WR);
    /* Unread bytes would turn the close into a reset. */
    (void)recv(fd, s->read_buffer, CONN_READ_BYTES, MSG_DONTWAIT);
    (void)close(fd);
}

union peer_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_storage room;
};

static struct in6_addr peer_of(const union peer_address *a, uint16_t *ret_port)
{
    struct in6_addr peer = {0};

    *ret_port = 0;
    if (a->any.sa_family == AF_INET6) {
        peer = a->v6.sin6_addr;
        *ret_port = ntohs(a->v6.sin6_port);
    } else if (a->any.sa_family == AF_INET) {
        memset(&peer.s6_addr[10], 0xff, 2);
        memcpy(&peer.s6_addr[12], &a->v4.sin_addr, 4);
        *ret_port = ntohs(a->v4.sin_port);
    }
    return peer;
}

static void accepted(struct listener *l, int fd, const union peer_address *a)
{
    struct http_server *s = l->server;
    uint16_t port, slots[2];
    struct in6_addr peer = peer_of(a, &port);

    peer_slots(s->limits, &peer, slots);
    int status = count_conn(s->limits, slots, l->tcp);
    if (status)
        refuse_fd(l, fd, status);
    else if (conn_open(s, fd, &peer, port, slots, l->tcp, l->kind) == ERR_NOMEM)
        uncount(s->limits, slots, l->tcp);
}

static void complain(struct http_server *s, int e)
{
    uint64_t now_ms = uv_now(s->loop);

    if (s->complained_ms && now_ms - s->complained_ms < COMPLAIN_EVERY_MS)
        return;
    s->complained_ms = now_ms ? now_ms : 1;
    char reason[96];
    log_warn("http",
             "cannot accept connections: %s (raise the limit of open files, "
             "or lower limits.http_max_conns)",
             strerror_r(e, reason, sizeof reason));
}

/* All descriptors are in use: gives up the one in reserve to accept one
 * connection and tell it so. False: there is none, wait a moment. */
static bool refuse_with_reserve(struct listener *l)
{
    struct http_server *s = l->server;

    if (s->reserve_fd >= 0) {
        (void)close(s->reserve_fd);
        union peer_address a;
        socklen_t n = sizeof a;
        int fd = accept4(l->fd, &a.any, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            refuse_fd(l, fd, 503);
    }
    s->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return s->reserve_fd >= 0;
}

static void pause_accepting(struct http_server *s)
{
    list_each (it, &s->listeners)
        (void)uv_poll_stop(&container_of(it, struct listener, link)->poll);
    timer_set(s->timers, &s->accept_pause, CONN_ACCEPT_PAUSE_MS);
}

static void on_accept_pause_over(struct timer *t)
{
    struct http_server *s = container_of(t, struct http_server, accept_pause);

    list_each (it, &s->listeners)
        poll_listener(container_of(it, struct listener, link));
}

/* True: there may be more. */
static bool accept_one(struct listener *l)
{
    union peer_address a = {0};
    socklen_t n = sizeof a;
    int fd = accept4(l->fd, &a.any, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd >= 0) {
        accepted(l, fd, &a);
        return true;
    }
    switch (errno) {
    case EAGAIN:
        return false;
    case EMFILE:
    case ENFILE:
        complain(l->server, errno);
        if (refuse_with_reserve(l))
            return true;
        break;
    case ENOMEM:
    case ENOBUFS:
        complain(l->server, errno);
        break;
    default: /* this connection's own trouble, see accept(2) */
        return true;
    }
    pause_accepting(l->server);
    return false;
}

static void on_listener(uv_poll_t *poll, int status, int events)
{
    struct listener *l = container_of(poll, struct listener, poll);

    (void)status;
    (void)events;
    for (int i = 0; i < CONN_ACCEPTS_PER_TURN; i++)
        if (!accept_one(l))
            return;
}

static void poll_listener(struct listener *l)
{
    int e = uv_poll_start(&l->poll, UV_READABLE, on_listener);
    require(e == 0); /* fails only when it is closing */
}

static enum err serve_listener(struct http_server *s, int take_fd,
                               enum conn_kind kind)
{
    int domain = 0;
    socklen_t n = sizeof domain;
    struct listener *l = calloc(1, sizeof *l);

    if (!l) {
        (void)close(take_fd);
        return ERR_NOMEM;
    }
    if (getsockopt(take_fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) < 0 ||
        uv_poll_init_socket(s->loop, &l->poll, take_fd) != 0) {
        (void)close(take_fd);
        free(l);
        return ERR_IO;
    }
    l->server = s;
    l->fd = take_fd;
    l->tcp = domain != AF_UNIX;
    l->kind = kind;
    list_add(&s->listeners, &l->link);
    s->handles++;
    poll_listener(l);
    return ERR_OK;
}

enum err http_server_listen(struct http_server *s, int take_fd)
{
    return serve_listener(s, take_fd, CONN_PLAIN);
}

enum err http_server_listen_tls(struct http_server *s, int take_fd)
{
    require(s->tls);
    return serve_listener(s, take_fd, CONN_TLS);
}

enum err http_server_listen_peers(struct http_server *s, int take_fd,
                                  struct tls_server *take_tls)
{
    /* Several listeners, of servers and of datacenters, share one key. */
    require(!s->peer_tls || s->peer_tls == take_tls);
    bool first = !s->peer_tls;
    if (first)
        s->peer_tls = take_tls;
    else
        tls_server_unref(take_tls);
    enum err e = take_tls && first ? server_tls_init(s) : ERR_OK;
    if (e != ERR_OK) {
        (void)close(take_fd);
        return e;
    }
    return serve_listener(s, take_fd, CONN_PEER);
}

/* --- The server ----------------------------------------------------------- */

static void on_idle(uv_idle_t *idle)
{
    struct http_server *s = container_of(idle, struct http_server, idle);
    struct list all;

    list_init(&all);
    list_move_all(&all, &s->later);
    (void)uv_idle_stop(idle);
    while (!list_empty(&all)) {
        struct conn *c = container_of(all.next, struct conn, later);
        list_del(&c->later);
        conn_do_later(c);
    }
}

void conn_later(struct conn *c)
{
    struct http_server *s = c->server;

    if (!list_empty(&c->later))
        return;
    if (list_empty(&s->later))
        (void)uv_idle_start(&s->idle, on_idle);
    list_add(&s->later, &c->later);
}

static void on_grace_over(struct timer *t)
{
    struct http_server *s = container_of(t, struct http_server, grace);

    while (!list_empty(&s->conns))
        conn_lost(container_of(s->conns.next, struct conn, link));
}

enum err http_server_new(uv_loop_t *loop, struct timers *timers,
                         struct conn_limits *limits,
                         const struct http_server_events *events,
                         struct http_server **ret)
{
    struct http_server *s = calloc(1, sizeof *s);
    char *read_buffer = malloc(CONN_READ_BYTES);

    if (!s || !read_buffer || uv_idle_init(loop, &s->idle) != 0) {
        free(s);
        free(read_buffer);
        return ERR_NOMEM;
    }
    s->loop = loop;
    s->timers = timers;
    s->limits = limits;
    s->events = *events;
    s->read_buffer = read_buffer;
    s->handles = 1; /* idle */
    s->accept_pause.fire = on_accept_pause_over;
    s->grace.fire = on_grace_over;
    s->doze.fire = server_on_doze;
    s->doze_fd = -1;
    s->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    list_init(&s->conns);
    list_init(&s->listeners);
    list_init(&s->later);
    *ret = s;
    return ERR_OK;
}

static void on_listener_closed(uv_handle_t *h)
{
    struct listener *l = container_of((uv_poll_t *)h, struct listener, poll);
    struct http_server *s = l->server;

    free(l);
    server_handle_closed(s);
}

static void on_idle_closed(uv_handle_t *h)
{
    server_handle_closed(
        container_of((uv_idle_t *)h, struct http_server, idle));
}

/* The idle handle goes last: connections need it. */
static void close_if_empty(struct http_server *s)
{
    if (s->closing && s->handles == 1 &&
        !uv_is_closing((uv_handle_t *)&s->idle)) {
        timer_clear(s->timers, &s->grace);
        uv_close((uv_handle_t *)&s->idle, on_idle_closed);
    }
}

void server_handle_closed(struct http_server *s)
{
    s->handles--;
    if (s->handles == 0)
        s->closed(s->events.ctx);
    else
        close_if_empty(s);
}

void http_server_close(struct http_server *s, uint64_t grace_ms,
                       void (*closed)(void *ctx))
{
    require(!s->closing);
    s->closing = true;
    s->closed = closed;
    timer_clear(s->timers, &s->accept_pause);
    while (!list_empty(&s->listeners)) {
        struct listener *l =
            container_of(s->listeners.next, struct listener, link);
        list_del(&l->link);
        uv_close((uv_handle_t *)&l->poll, on_listener_closed);
        (void)close(l->fd);
    }
    list_each (it, &s->conns) {
        struct conn *c = container_of(it, struct conn, link);
        if (c->state == CONN_READING && c->phase == HTTP_IN_IDLE)
            conn_close(c);
    }
    timer_set(s->timers, &s->grace, grace_ms);
    close_if_empty(s);
}

void http_server_free(struct http_server *s)
{
    if (!s)
        return;
    require(s->handles == 0);
    while (s->parser_count > 0)
        http_in_free(s->parsers[--s->parser_count]);
    if (s->reserve_fd >= 0)
        (void)close(s->reserve_fd);
    if (s->doze_fd >= 0)
        (void)close(s->doze_fd);
    server_tls_fini(s);
    free(s->read_buffer);
    free(s);
}
