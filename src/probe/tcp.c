/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Connects, and that is all. A name's addresses are tried one after the other,
 * each with its share of the time that is left, so that one that swallows
 * packets leaves some for the next; the first error is told, as Go's dialer
 * does.
 *
 * Names are looked up by libuv's few threads: one lookup of a check at a time,
 * also when it outlives its run. */
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "probe/impl.h"

enum { HOST_MAX = 256, ADDRESSES_MAX = 16 };

struct tcp {
    struct check *check; /* NULL: done, or cancelled */
    struct prober *prober;
    struct lane *lane;
    uv_tcp_t socket;
    uv_connect_t connect;
    uv_getaddrinfo_t lookup;
    bool looking_up, socket_open;
    bool told; /* while the lookup still hangs */
    struct timer timer;
    uint64_t end_ms;
    struct sockaddr_storage addresses[ADDRESSES_MAX];
    size_t address_n, at;
    char host[HOST_MAX], port[8];
    struct errtext first_error;
};

static void try_next(struct tcp *t);

/* --- The end ------------------------------------------------------------- */

/* The memory goes when nothing of libuv's refers to it any more. */
static void free_if_idle(struct tcp *t)
{
    if (t->check || t->looking_up || t->socket_open)
        return;
    timer_clear(&t->prober->timers, &t->timer);
    lane_left(t->prober, t->lane);
    free(t);
}

static void on_closed(uv_handle_t *h)
{
    struct tcp *t = container_of(h, struct tcp, socket);
    t->socket_open = false;
    if (t->check)
        try_next(t);
    else
        free_if_idle(t);
}

static void close_socket(struct tcp *t)
{
    if (t->socket_open && !uv_is_closing((uv_handle_t *)&t->socket))
        uv_close((uv_handle_t *)&t->socket, on_closed);
}

static void release(struct tcp *t)
{
    t->check = NULL;
    timer_clear(&t->prober->timers, &t->timer);
    close_socket(t);
    if (t->looking_up)
        (void)uv_cancel((uv_req_t *)&t->lookup);
    free_if_idle(t);
}

static void cancel(void *run)
{
    release(run);
}

static void tell(struct tcp *t, enum status s, struct bytes text)
{
    struct check *c = t->check;

    if (!t->told)
        check_report(c, s, text);
    t->told = true;
    if (t->looking_up)
        return; /* no next run before that has ended */
    check_idle(c);
    release(t);
}

static void fail(struct tcp *t)
{
    tell(t, STATUS_CRITICAL, bytes_str(t->first_error.s));
}

/* --- Connecting ---------------------------------------------------------- */

static void keep_error(struct tcp *t, const char *before, int error)
{
    char ip[64] = "";
    const struct sockaddr *a =
        (const struct sockaddr *)&t->addresses[t->at ? t->at - 1 : 0];
    struct buf text = {0};

    if (t->first_error.s[0])
        return;
    if (a->sa_family == AF_INET6) {
        char bare[48] = "";
        (void)uv_ip6_name((const struct sockaddr_in6 *)a, bare, sizeof bare);
        (void)snprintf(ip, sizeof ip, "[%s]", bare);
    } else {
        (void)uv_ip4_name((const struct sockaddr_in *)a, ip, sizeof ip);
    }
    put_error(&text, error);
    errtext_set(&t->first_error, "dial tcp %s:%s: %s%.*s", ip, t->port,
                error == UV_ETIMEDOUT ? "" : before,
                BYTES_ARG(buf_bytes(&text)));
    buf_fini(&text);
}

static void on_connect(uv_connect_t *req, int error)
{
    struct tcp *t = container_of(req, struct tcp, connect);

    if (!t->check || uv_is_closing((uv_handle_t *)&t->socket))
        return; /* cancelled, or its time was over */
    if (error == 0) {
        struct buf text = {0};
        buf_puts(&text, "TCP connect ");
        buf_put(&text, t->check->def.tcp);
        buf_puts(&text, ": Success");
        tell(t, STATUS_PASSING, buf_bytes(&text));
        buf_fini(&text);
        return;
    }
    keep_error(t, "connect: ", error);
    close_socket(t);
}

static void on_time(struct timer *timer)
{
    struct tcp *t = container_of(timer, struct tcp, timer);

    if (t->socket_open) {
        keep_error(t, "connect: ", UV_ETIMEDOUT);
        close_socket(t);
        return;
    }
    if (!t->first_error.s[0])
        errtext_set(&t->first_error, "dial tcp: lookup %.90s: i/o timeout",
                    t->host);
    fail(t);
}

static uint64_t time_left(const struct tcp *t)
{
    uint64_t now = uv_now(&t->prober->loop);
    return t->end_ms > now ? t->end_ms - now : 0;
}

static void try_next(struct tcp *t)
{
    if (t->at == t->address_n || time_left(t) == 0) {
        fail(t);
        return;
    }
    timer_set(&t->prober->timers, &t->timer,
              time_left(t) / (t->address_n - t->at));
    const struct sockaddr *a = (const struct sockaddr *)&t->addresses[t->at++];
    int e = uv_tcp_init(&t->prober->loop, &t->socket);
    require(e == 0); /* without a family it takes no descriptor */
    t->socket_open = true;
    e = uv_tcp_connect(&t->connect, &t->socket, a, on_connect);
    if (e != 0) {
        keep_error(t, "connect: ", e);
        close_socket(t);
    }
}

/* --- Addresses ----------------------------------------------------------- */

static void add_address(struct tcp *t, const struct sockaddr *a, size_t n)
{
    if (t->address_n < ADDRESSES_MAX && n <= sizeof t->addresses[0])
        memcpy(&t->addresses[t->address_n++], a, n);
}

static void on_lookup(uv_getaddrinfo_t *req, int error, struct addrinfo *all)
{
    struct tcp *t = container_of(req, struct tcp, lookup);

    t->looking_up = false;
    t->prober->lookups--;
    for (struct addrinfo *a = all; a && t->check; a = a->ai_next)
        add_address(t, a->ai_addr, a->ai_addrlen);
    uv_freeaddrinfo(all);
    if (!t->check) {
        if (t->prober->closing && t->prober->lookups == 0)
            timers_close(&t->prober->timers);
        free_if_idle(t);
        return;
    }
    if (error == 0 && t->address_n && !t->told) {
        try_next(t);
        return;
    }
    errtext_set(&t->first_error, "dial tcp: lookup %.90s: %s", t->host,
                error == UV_EAI_NONAME || error == UV_EAI_NODATA || !error
                    ? "no such host"
                    : uv_strerror(error));
    fail(t);
}

static void look_up(struct tcp *t)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    int e = uv_getaddrinfo(&t->prober->loop, &t->lookup, on_lookup, t->host,
                           t->port, &hints);

    if (e != 0) {
        errtext_set(&t->first_error, "dial tcp: lookup %.90s: %s", t->host,
                    uv_strerror(e));
        fail(t);
        return;
    }
    t->looking_up = true;
    t->prober->lookups++;
}

/* True: the host is an address, nothing to look up. */
static bool is_address(struct tcp *t, int port)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    const char *host = t->host[0] ? t->host : "127.0.0.1";

    if (uv_ip4_addr(host, port, &v4) == 0)
        add_address(t, (const struct sockaddr *)&v4, sizeof v4);
    else if (uv_ip6_addr(host, port, &v6) == 0)
        add_address(t, (const struct sockaddr *)&v6, sizeof v6);
    return t->address_n > 0;
}

/* host:port or [v6]:port, as check_def_validate let it through. */
static bool split(struct tcp *t, struct bytes target)
{
    size_t colon = target.n;

    while (colon > 0 && target.p[colon - 1] != ':')
        colon--;
    if (colon == 0)
        return false;
    struct bytes host = bytes_head(target, colon - 1);
    struct bytes port = bytes_skip(target, colon);
    if (bytes_starts(host, bytes_str("[")) && bytes_ends(host, bytes_str("]")))
        host = bytes_skip(bytes_head(host, host.n - 1), 1);
    if (host.n >= sizeof t->host || port.n >= sizeof t->port)
        return false;
    memcpy(t->host, host.p, host.n);
    memcpy(t->port, port.p, port.n);
    return true;
}

void tcp_run(struct check *c)
{
    struct tcp *t = xzalloc(sizeof *t);

    t->check = c;
    t->prober = c->prober;
    t->lane = c->lane;
    t->timer.fire = on_time;
    t->end_ms = uv_now(&c->prober->loop) + c->timeout_ms;
    c->run = t;
    c->cancel = cancel;
    if (!split(t, c->def.tcp)) {
        errtext_set(&t->first_error, "dial tcp: address %.*s: not host:port",
                    BYTES_ARG(bytes_head(c->def.tcp, 90)));
        fail(t);
    } else if (is_address(t, atoi(t->port))) {
        try_next(t);
    } else {
        timer_set(&c->prober->timers, &t->timer, c->timeout_ms);
        look_up(t);
    }
}
