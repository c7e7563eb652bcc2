/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "probe/impl.h"

enum { HOST_MAX = 256 };

/* One run. Three things hold it until they have let go: the look-up of the
 * name, the socket, the deadline (our timer, cleared at once). */
struct tcp_run {
    struct check *check; /* NULL: told already */
    uv_getaddrinfo_t lookup;
    bool looking_up;
    uv_tcp_t socket;
    bool has_socket;
    uv_connect_t connect;
    struct timer deadline;
    char host[HOST_MAX], port[16];
};

static void maybe_free(struct tcp_run *r)
{
    if (!r->check && !r->looking_up && !r->has_socket)
        free(r);
}

static void on_closed(uv_handle_t *h)
{
    struct tcp_run *r = h->data;
    r->has_socket = false;
    maybe_free(r);
}

/* Tells the result once; what is still open closes by itself. */
static void finish(struct tcp_run *r, enum status status, const char *text)
{
    struct check *k = r->check;
    if (!k)
        return;
    r->check = NULL;
    timer_clear(&k->prober->timers, &r->deadline);
    if (r->looking_up)
        uv_cancel((uv_req_t *)&r->lookup);
    if (r->has_socket && !uv_is_closing((uv_handle_t *)&r->socket))
        uv_close((uv_handle_t *)&r->socket, on_closed);
    check_finished(k, status, bytes_str(text));
    maybe_free(r);
}

/* Go's words for what people know from Consul's outputs. */
static const char *reason(int e)
{
    switch (e) {
    case UV_ECONNREFUSED:
        return "connect: connection refused";
    case UV_ETIMEDOUT:
        return "i/o timeout";
    case UV_EHOSTUNREACH:
        return "connect: no route to host";
    case UV_ENETUNREACH:
        return "connect: network is unreachable";
    case UV_ECONNRESET:
        return "connect: connection reset by peer";
    default:
        return uv_strerror(e);
    }
}

static void fail(struct tcp_run *r, int e)
{
    char text[HOST_MAX + 128];
    bool v6 = strchr(r->host, ':') != NULL;
    snprintf(text, sizeof text, "dial tcp %s%s%s:%s: %s", v6 ? "[" : "",
             r->host, v6 ? "]" : "", r->port, reason(e));
    finish(r, STATUS_CRITICAL, text);
}

static void on_deadline(struct timer *t)
{
    fail(container_of(t, struct tcp_run, deadline), UV_ETIMEDOUT);
}

static void on_connect(uv_connect_t *c, int e)
{
    struct tcp_run *r = c->data;
    char text[HOST_MAX + 64];
    if (!r->check)
        return; /* told already: the socket closes */
    if (e != 0) {
        fail(r, e);
        return;
    }
    snprintf(text, sizeof text, "TCP connect %.*s: Success",
             BYTES_ARG(bytes_head(r->check->def.tcp, HOST_MAX)));
    finish(r, STATUS_PASSING, text);
}

static void on_address(uv_getaddrinfo_t *g, int e, struct addrinfo *found)
{
    struct tcp_run *r = g->data;
    r->looking_up = false;
    if (!r->check) {
        uv_freeaddrinfo(found);
        maybe_free(r);
        return;
    }
    if (e != 0) {
        char text[HOST_MAX + 64];
        snprintf(text, sizeof text, "dial tcp: lookup %s: %s", r->host,
                 e == UV_EAI_NONAME ? "no such host" : uv_strerror(e));
        finish(r, STATUS_CRITICAL, text);
        return;
    }
    e = uv_tcp_init(&r->check->prober->loop, &r->socket);
    if (e == 0) {
        r->has_socket = true;
        r->socket.data = r;
        r->connect.data = r;
        e = uv_tcp_connect(&r->connect, &r->socket, found->ai_addr, on_connect);
    }
    uv_freeaddrinfo(found);
    if (e != 0)
        fail(r, e);
}

/* "host:port", "[v6]:port" */
static bool split(struct tcp_run *r, struct bytes target)
{
    size_t colon = target.n;
    while (colon > 0 && target.p[colon - 1] != ':')
        colon--;
    if (colon < 2)
        return false;
    struct bytes host = bytes_head(target, colon - 1);
    struct bytes port = bytes_skip(target, colon);
    if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = bytes_of(host.p + 1, host.n - 2);
    if (host.n == 0 || host.n >= sizeof r->host || port.n == 0 ||
        port.n >= sizeof r->port)
        return false;
    memcpy(r->host, host.p, host.n);
    memcpy(r->port, port.p, port.n);
    return true;
}

void tcp_begin(struct check *k)
{
    struct tcp_run *r = xzalloc(sizeof *r);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    r->check = k;
    k->run = r;
    r->deadline.fire = on_deadline;
    timer_set(&k->prober->timers, &r->deadline, k->timeout_ms);
    if (k->def.tcp_use_tls) {
        finish(r, STATUS_CRITICAL,
               "This version of muster cannot run TCP checks with TLS");
        return;
    }
    if (!split(r, k->def.tcp)) {
        finish(r, STATUS_CRITICAL, "the target is not host:port");
        return;
    }
    r->lookup.data = r;
    int e = uv_getaddrinfo(&k->prober->loop, &r->lookup, on_address, r->host,
                           r->port, &hints);
    r->looking_up = e == 0;
    if (e != 0)
        fail(r, e);
}

void tcp_cancel(struct check *k)
{
    finish(k->run, STATUS_CRITICAL, "");
}
