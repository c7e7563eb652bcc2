/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Sends a datagram and waits. UDP knows no connection: an ICMP error says that
 * nobody is there, an answer that somebody is, and silence means nothing, so it
 * passes, as in Consul. The datagram's text is Consul's too. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "loop/watch.h"
#include "probe/impl.h"

struct udp {
    struct check *check;
    struct lookup lookup;
    struct timer timer;
    struct watch *watch;
    int fd; /* -1: none */
    bool sent;
    struct sockaddr_storage address;
    int port;
    char peer[64], host[NAMES_HOST_MAX + 1];
};

static void forget(struct udp *u)
{
    timer_clear(&u->check->prober->timers, &u->timer);
    names_forget(&u->lookup);
    watch_close(u->watch);
    if (u->fd >= 0)
        close(u->fd);
    free(u);
}

static void end(struct udp *u, enum status s, enum run_kind kind,
                struct buf *text)
{
    struct check *c = u->check;

    forget(u);
    check_done(c, s, kind, text);
}

static void pass(struct udp *u)
{
    struct buf text = {0};

    buf_puts(&text, "UDP connect ");
    buf_put(&text, u->check->def.udp);
    buf_puts(&text, ": Success");
    end(u, STATUS_PASSING, RUN_ANSWERED, &text);
}

static void fail(struct udp *u, const char *doing, int e)
{
    struct buf text = {0};

    buf_printf(&text, "%s udp %s: %s: ", doing, u->peer, doing);
    put_error(&text, uv_translate_sys_error(e));
    end(u, STATUS_CRITICAL, check_kind_of_errno(e), &text);
}

static void fail_lookup(struct udp *u, const char *error)
{
    struct buf text = {0};

    buf_printf(&text, "dial udp: lookup %s: %s", u->host, error);
    end(u, STATUS_CRITICAL, RUN_TIMED_OUT, &text);
}

static void on_time(struct timer *t)
{
    struct udp *u = container_of(t, struct udp, timer);

    if (u->sent)
        pass(u);
    else
        fail_lookup(u, "i/o timeout");
}

static void on_ready(void *owner, int events)
{
    struct udp *u = owner;
    char answer[1];

    (void)events;
    if (recv(u->fd, answer, sizeof answer, 0) >= 0)
        pass(u);
    else if (errno != EAGAIN && errno != EINTR)
        fail(u, "read", errno);
}

static void send_to(struct udp *u, const struct names_answer *a)
{
    static const char text[] = "UDP check";
    struct sockaddr_storage to;

    if (a->error) {
        fail_lookup(u, a->error);
        return;
    }
    to = a->addresses[0];
    stream_address_text(&to, u->port, u->peer, sizeof u->peer);
    /* The port stands at the same place in both families. */
    ((struct sockaddr_in *)&to)->sin_port = htons((uint16_t)u->port);
    socklen_t n = to.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                           : sizeof(struct sockaddr_in);
    u->fd = socket(to.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (u->fd < 0 || connect(u->fd, (struct sockaddr *)&to, n) != 0) {
        fail(u, "dial", errno);
        return;
    }
    u->watch = watch_open(&u->check->prober->loop, u->fd, on_ready, u);
    if (!u->watch) {
        fail(u, "dial", ENOMEM);
        return;
    }
    watch_for(u->watch, UV_READABLE);
    if (send(u->fd, text, sizeof text - 1, MSG_NOSIGNAL) < 0) {
        fail(u, "write", errno);
        return;
    }
    u->sent = true;
}

static void on_lookup(struct lookup *l, const struct names_answer *a)
{
    send_to(container_of(l, struct udp, lookup), a);
}

static void cancel(void *run)
{
    struct udp *u = run;
    struct check *c = u->check;

    forget(u);
    lane_left(c->prober, c->lane);
}

void udp_run(struct check *c)
{
    struct udp *u = xzalloc(sizeof *u);
    struct bytes port, host = stream_split(c->def.udp, &port);
    uint64_t number = 0;

    u->check = c;
    u->fd = -1;
    u->timer.fire = on_time;
    u->lookup.done = on_lookup;
    list_init(&u->lookup.link);
    c->run = u;
    c->cancel = cancel;
    if (host.n > NAMES_HOST_MAX || bytes_u64(port, &number) != ERR_OK ||
        number > UINT16_MAX) {
        fail_lookup(u, "not host:port");
        return;
    }
    memcpy(u->host, host.p, host.n);
    u->port = (int)number;
    timer_set(&c->prober->timers, &u->timer, c->timeout_ms);
    const struct names_answer *a =
        names_ask(c->prober->streams.names, u->host, &u->lookup);
    if (a)
        send_to(u, a);
}
