/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Connections (RFC 7766). One query at a time: the next is read when the answer
 * before it has been taken, so a connection never holds more than one of each. The
 * one that was idle longest makes room for a new one, which is why those who open
 * connections and say nothing cannot keep others out. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "dnsd/impl.h"

enum {
    LENGTH_BYTES = 2, /* in front of each message */
    ACCEPTS_MAX = 64, /* of one turn */
};

enum conn_state {
    CONN_READING,
    CONN_WAITING /* for a recursor */,
    CONN_WRITING
};

struct conn {
    struct list link; /* in tcp->conns, idle longest first */
    struct tcp *tcp;
    struct watch *watch;
    struct timer timer;
    struct waiter *waiter; /* of CONN_WAITING */
    int fd;
    enum conn_state state;
    uint8_t ip[16], ip_n;
    uint8_t *out; /* what is left of an answer; owned */
    size_t out_n, out_at;
    size_t n; /* of in */
    uint8_t in[LENGTH_BYTES + DNSD_QUERY_BYTES_MAX];
};

/* A recursor's answer may come when the connection has gone. */
struct waiter {
    struct forward_to to;
    struct list link;
    struct conn *conn;
};

struct listener {
    struct tcp *tcp;
    struct watch *watch;
    int fd;
};

struct tcp {
    struct dnsd_thread *thread;
    struct listener listener[DNSD_ADDRESSES_MAX];
    size_t listener_count;
    struct list conns, waiters;
    size_t count;
    uint8_t answer[LENGTH_BYTES + DNS_TCP_MOST];
};

static void go_on(struct conn *c);

/* --- Connections ------------------------------------------------------------------ */

static void conn_close(struct conn *c)
{
    struct tcp *s = c->tcp;

    if (c->waiter)
        c->waiter->conn = NULL;
    timer_clear(&s->thread->timers, &c->timer);
    watch_close(c->watch);
    (void)close(c->fd);
    list_del(&c->link);
    s->count--;
    metric_add(METRIC_DNS_CONNECTIONS, -1);
    free(c->out);
    free(c);
}

static void on_late(struct timer *t)
{
    struct conn *c = container_of(t, struct conn, timer);

    c->tcp->thread->counts[METRIC_DNS_SLOW]++;
    thread_count(c->tcp->thread); /* a quiet thread counts at once */
    conn_close(c);
}

static void set_time(struct conn *c)
{
    uint64_t ms = c->state == CONN_WRITING ? DNSD_STALL_MS
                  : c->n                   ? DNSD_QUERY_MS
                                           : DNSD_IDLE_MS;

    if (c->state == CONN_WAITING)
        timer_clear(&c->tcp->thread->timers, &c->timer);
    else
        timer_set(&c->tcp->thread->timers, &c->timer, ms);
}

static void set_events(struct conn *c)
{
    watch_for(c->watch, c->state == CONN_READING   ? UV_READABLE
                        : c->state == CONN_WRITING ? UV_WRITABLE
                                                   : 0);
}

/* --- Writing ----------------------------------------------------------------------- */

/* False: the connection has gone. */
static bool send_some(struct conn *c, const uint8_t *p, size_t n,
                      size_t *ret_sent)
{
    ssize_t k;

    do
        k = send(c->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (k < 0 && errno == EINTR);
    if (k < 0 && errno != EAGAIN) {
        conn_close(c);
        return false;
    }
    *ret_sent = k < 0 ? 0 : (size_t)k;
    return true;
}

/* p begins with room for the length. False: the connection has gone. */
static bool send_answer(struct conn *c, uint8_t *p, size_t n)
{
    size_t all = LENGTH_BYTES + n, sent;

    p[0] = (uint8_t)(n >> 8);
    p[1] = (uint8_t)n;
    if (!send_some(c, p, all, &sent))
        return false;
    if (sent == all)
        return true;
    c->out = malloc(all - sent);
    if (!c->out) {
        conn_close(c);
        return false;
    }
    memcpy(c->out, p + sent, all - sent);
    c->out_n = all - sent;
    c->out_at = 0;
    c->state = CONN_WRITING;
    set_time(c);
    return true;
}

static void write_on(struct conn *c)
{
    size_t sent;

    if (!send_some(c, c->out + c->out_at, c->out_n - c->out_at, &sent))
        return;
    c->out_at += sent;
    if (sent)
        set_time(c);
    if (c->out_at < c->out_n)
        return;
    free(c->out);
    c->out = NULL;
    c->state = CONN_READING;
    go_on(c);
}

/* --- Queries -------------------------------------------------------------------------- */

static size_t query_bytes(const struct conn *c)
{
    return (size_t)c->in[0] << 8 | c->in[1];
}

static bool is_whole(const struct conn *c)
{
    return c->n >= LENGTH_BYTES && c->n >= LENGTH_BYTES + query_bytes(c);
}

static void drop_query(struct conn *c)
{
    size_t n = LENGTH_BYTES + query_bytes(c);

    memmove(c->in, c->in + n, c->n - n);
    c->n -= n;
}

static void forwarded(struct forward_to *to, const uint8_t *p, size_t n)
{
    struct waiter *w = container_of(to, struct waiter, to);
    struct conn *c = w->conn;

    list_del(&w->link);
    free(w);
    if (!c)
        return;
    c->waiter = NULL;
    c->state = CONN_READING;
    if (n == 0 || n > DNS_TCP_MOST) {
        conn_close(c);
        return;
    }
    memmove(c->tcp->answer + LENGTH_BYTES, p, n); /* may be its own */
    if (send_answer(c, c->tcp->answer, n))
        go_on(c);
}

/* elsewhere: the datacenter to ask (remote); NULL: a recursor. False: the
 * connection has gone. */
static bool ask_recursor(struct conn *c, struct bytes packet,
                         struct bytes alone, size_t alias_at,
                         const char *elsewhere)
{
    struct waiter *w =
        c->tcp->thread->forwarder || elsewhere ? calloc(1, sizeof *w) : NULL;

    if (!w) {
        conn_close(c);
        return false;
    }
    w->to.done = forwarded;
    w->to.tcp = true;
    w->conn = c;
    c->waiter = w;
    c->state = CONN_WAITING;
    list_add(&c->tcp->waiters, &w->link);
    set_time(c);
    /* An answer that comes at once goes on with what is behind the query. */
    uint8_t query[DNSD_QUERY_BYTES_MAX];
    memcpy(query, packet.p, packet.n);
    set_events(c);
    drop_query(c);
    packet.p = (const char *)query;
    if (elsewhere) {
        (void)snprintf(w->to.datacenter, sizeof w->to.datacenter, "%s",
                       elsewhere);
        remote(c->tcp->thread, packet, &w->to);
    } else if (alone.n) {
        follow(c->tcp->thread, packet, alone, alias_at, &w->to);
    } else {
        forward(c->tcp->thread->forwarder, packet, &w->to);
    }
    return false;
}

/* False: nothing is to be done with c any more in this turn. */
static bool answer_query(struct conn *c)
{
    struct tcp *s = c->tcp;
    struct bytes packet = bytes_of(c->in + LENGTH_BYTES, query_bytes(c));
    struct dns_env env;
    char datacenter[DNS_LABEL_MAX + 1];
    size_t n, alias_at;

    thread_enter(s->thread, &env);
    env.transport = DNS_OVER_TCP;
    env.client = bytes_of(c->ip, c->ip_n);
    enum dns_verdict v =
        thread_answer(s->thread, &env, packet, s->answer + LENGTH_BYTES,
                      DNS_TCP_MOST, &n, &alias_at, datacenter);
    thread_leave(s->thread);
    s->thread->counts[METRIC_DNS_TCP]++;
    if (v == DNS_FORWARD || v == DNS_ELSEWHERE)
        return ask_recursor(c, packet, (struct bytes){NULL, 0}, 0,
                            v == DNS_ELSEWHERE ? datacenter : NULL);
    if (v == DNS_ANSWERED && alias_at)
        return ask_recursor(c, packet, bytes_of(s->answer + LENGTH_BYTES, n),
                            alias_at, NULL);
    if (v == DNS_SILENCE) { /* no DNS: there is nothing to go on from */
        conn_close(c);
        return false;
    }
    drop_query(c);
    return send_answer(c, s->answer, n);
}

/* Answers what has been read; then waits for more. */
static void go_on(struct conn *c)
{
    while (c->state == CONN_READING && is_whole(c)) /* as many as in holds */
        if (!answer_query(c))
            return;
    if (c->n >= LENGTH_BYTES && query_bytes(c) > DNSD_QUERY_BYTES_MAX) {
        c->tcp->thread->counts[METRIC_DNS_MALFORMED]++;
        conn_close(c);
        return;
    }
    set_events(c);
    set_time(c);
}

static void read_some(struct conn *c)
{
    bool fresh = c->n == 0;
    ssize_t k;

    do
        k = recv(c->fd, c->in + c->n, sizeof c->in - c->n, MSG_DONTWAIT);
    while (k < 0 && errno == EINTR);
    if (k < 0 && errno == EAGAIN)
        return;
    if (k <= 0) {
        conn_close(c);
        return;
    }
    c->n += (size_t)k;
    list_del(&c->link);
    list_add(&c->tcp->conns, &c->link);
    /* A query's time begins with its first byte, not with each. */
    if (!is_whole(c) && !fresh &&
        (c->n < LENGTH_BYTES || query_bytes(c) <= DNSD_QUERY_BYTES_MAX))
        return;
    go_on(c);
}

static void on_conn(void *owner, int events)
{
    struct conn *c = owner;
    struct dnsd_thread *t = c->tcp->thread;

    (void)events;
    if (c->state == CONN_WRITING)
        write_on(c);
    else if (c->state == CONN_READING)
        read_some(c);
    thread_count(t);
}

/* --- Accepting ------------------------------------------------------------------------ */

static void client_of(const struct sockaddr_in6 *from, struct conn *c)
{
    const struct sockaddr_in *v4 =
        (const struct sockaddr_in *)(const void *)from;

    c->ip_n = from->sin6_family == AF_INET ? 4 : 16;
    if (c->ip_n == 4)
        memcpy(c->ip, &v4->sin_addr, 4);
    else
        memcpy(c->ip, &from->sin6_addr, 16);
}

static void evict(struct tcp *s)
{
    s->thread->counts[METRIC_DNS_EVICTED]++;
    conn_close(container_of(s->conns.next, struct conn, link));
}

static void add_conn(struct tcp *s, int take_fd,
                     const struct sockaddr_in6 *from)
{
    struct conn *c = malloc(sizeof *c);

    if (s->count >= s->thread->d->o.conns_max)
        evict(s);
    if (!c) {
        (void)close(take_fd);
        return;
    }
    memset(c, 0, offsetof(struct conn, in));
    c->tcp = s;
    c->fd = take_fd;
    c->timer.fire = on_late;
    client_of(from, c);
    c->watch = watch_open(&s->thread->loop, take_fd, on_conn, c);
    if (!c->watch) {
        (void)close(take_fd);
        free(c);
        return;
    }
    s->count++;
    metric_add(METRIC_DNS_CONNECTIONS, 1);
    list_add(&s->conns, &c->link);
    set_events(c);
    set_time(c);
}

static void on_listener(void *owner, int events)
{
    struct listener *l = owner;

    (void)events;
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        struct sockaddr_in6 from = {0};
        socklen_t n = sizeof from;
        int fd = accept4(l->fd, (struct sockaddr *)&from, &n,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
            continue;
        if (fd < 0 && (errno == EMFILE || errno == ENFILE) && l->tcp->count) {
            evict(l->tcp); /* the kernel would tell of it again and again */
            continue;
        }
        if (fd < 0)
            break;
        add_conn(l->tcp, fd, &from);
    }
    thread_count(l->tcp->thread);
}

/* --- Life -------------------------------------------------------------------------------- */

enum err tcp_open(struct dnsd_thread *t, const int *take_fds, size_t n,
                  struct tcp **ret)
{
    struct tcp *s = calloc(1, sizeof *s);

    if (!s)
        return ERR_NOMEM;
    s->thread = t;
    list_init(&s->conns);
    list_init(&s->waiters);
    s->listener_count = n;
    for (size_t i = 0; i < n; i++) {
        struct listener *l = &s->listener[i];
        l->tcp = s;
        l->fd = take_fds[i];
        l->watch = watch_open(&t->loop, l->fd, on_listener, l);
        if (!l->watch)
            return ERR_NOMEM; /* the process ends */
        watch_for(l->watch, UV_READABLE);
    }
    *ret = s;
    return ERR_OK;
}

void tcp_close(struct tcp *s)
{
    for (size_t i = 0; i < s->listener_count; i++) {
        watch_close(s->listener[i].watch);
        (void)close(s->listener[i].fd);
    }
    while (!list_empty(&s->conns))
        conn_close(container_of(s->conns.next, struct conn, link));
    while (!list_empty(&s->waiters)) {
        struct waiter *w = container_of(s->waiters.next, struct waiter, link);
        list_del(&w->link);
        free(w);
    }
    free(s);
}
