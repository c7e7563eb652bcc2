/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* muster proxy: TCP connections to instances, chosen by libmuster, for programs
 * in any language. One thread, one loop: libmuster's descriptor is watched like
 * any other.
 *
 * A connection is a client's socket and a server's. What one sends is written to
 * the other before more is read, so nothing piles up here; an end of one is
 * passed on, and both are closed when both have ended. A server that cannot be
 * connected to costs an attempt, of ATTEMPTS, and is reported. The ticket is
 * reported when the connection is over: until then it counts as a request in
 * flight (for a minute at most). */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/list.h"
#include "cli/balance.h"

enum {
    ATTEMPTS = 3,
    CONNECT_MS = 2000,
    CHUNK = 64 * 1024,
    BACKLOG = 511,
    CONNECTIONS_MAX = 10000,
    DRAIN_MS = 30 * 1000,
};

struct proxy {
    struct cli *c;
    struct balance b;
    uv_loop_t loop;
    uv_tcp_t listener;
    uv_poll_t watch; /* libmuster's descriptor */
    uv_signal_t stop[2];
    uv_timer_t drain; /* waits for the first list, then for the last client */
    struct sockaddr_storage at;
    struct list connections;
    size_t count;
    int code;
    bool listening, draining;
};

/* One direction's end: reads here, writes to the other. */
struct end {
    uv_tcp_t tcp;
    uv_write_t write;
    uv_shutdown_t shutdown;
    struct connection *c;
    struct end *other;
    bool ended; /* it sends no more */
    char *chunk;
};

struct connection {
    struct list link;
    struct proxy *p;
    struct end client, server;
    uv_connect_t connect;
    uv_getaddrinfo_t lookup;
    uv_timer_t timeout;
    struct muster_ticket ticket;
    uint64_t tried[ATTEMPTS], began_ns;
    size_t attempts;
    char peer[INET6_ADDRSTRLEN]; /* the key of hash policies */
    int handles;                 /* to be closed */
    bool server_open, connected, looking, closing;
};

/* --- The end of a connection --------------------------------------------- */

static void try_next(struct connection *c);

static void maybe_free(struct connection *c)
{
    struct proxy *p = c->p;

    if (c->handles || c->looking)
        return;
    list_del(&c->link);
    p->count--;
    free(c->client.chunk);
    free(c->server.chunk);
    free(c);
    if (p->draining && p->count == 0)
        uv_stop(&p->loop);
}

static void end_closed(uv_handle_t *h)
{
    struct end *e = h->data;

    e->c->handles--;
    maybe_free(e->c);
}

static void timer_closed(uv_handle_t *h)
{
    struct connection *c = h->data;

    c->handles--;
    maybe_free(c);
}

static void close_connection(struct connection *c, enum muster_outcome o)
{
    if (c->closing)
        return;
    c->closing = true;
    if (c->ticket.id)
        (void)muster_report(c->p->b.s, &c->ticket, o,
                            (uint32_t)((uv_hrtime() - c->began_ns) / 1000));
    uv_close((uv_handle_t *)&c->client.tcp, end_closed);
    if (c->server_open && !uv_is_closing((uv_handle_t *)&c->server.tcp))
        uv_close((uv_handle_t *)&c->server.tcp, end_closed);
    uv_close((uv_handle_t *)&c->timeout, timer_closed);
    if (c->looking)
        (void)uv_cancel((uv_req_t *)&c->lookup);
}

/* --- Bytes from one to the other ------------------------------------------ */

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf);

static void on_alloc(uv_handle_t *h, size_t want, uv_buf_t *ret)
{
    struct end *e = h->data;

    (void)want;
    *ret = uv_buf_init(e->chunk, CHUNK);
}

static void on_written(uv_write_t *w, int status)
{
    struct end *from = w->data;

    if (from->c->closing)
        return;
    if (status < 0 ||
        uv_read_start((uv_stream_t *)&from->tcp, on_alloc, on_read) != 0)
        close_connection(from->c, MUSTER_SUCCESS);
}

static void on_shutdown(uv_shutdown_t *r, int status)
{
    struct end *e = r->data;

    if (!e->c->closing && (status < 0 || (e->ended && e->other->ended)))
        close_connection(e->c, MUSTER_SUCCESS);
}

/* A reset before the server said anything is its failure. */
static void read_failed(struct end *from, ssize_t why)
{
    bool servers = from == &from->c->server && why == UV_ECONNRESET;

    close_connection(from->c, servers ? MUSTER_FAILURE : MUSTER_SUCCESS);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct end *from = s->data;
    uv_buf_t out;

    if (n == 0)
        return;
    (void)uv_read_stop(s);
    if (n == UV_EOF) {
        from->ended = true;
        from->other->shutdown.data = from->other;
        if (uv_shutdown(&from->other->shutdown,
                        (uv_stream_t *)&from->other->tcp, on_shutdown) != 0)
            close_connection(from->c, MUSTER_SUCCESS);
        return;
    }
    if (n < 0) {
        read_failed(from, n);
        return;
    }
    out = uv_buf_init(buf->base, (unsigned)n);
    from->write.data = from;
    if (uv_write(&from->write, (uv_stream_t *)&from->other->tcp, &out, 1,
                 on_written) != 0)
        close_connection(from->c, MUSTER_SUCCESS);
}

/* --- To an instance ------------------------------------------------------- */

static void failed_attempt(struct connection *c)
{
    if (c->ticket.id)
        (void)muster_report(c->p->b.s, &c->ticket, MUSTER_UNREACHABLE, 0);
    (void)uv_timer_stop(&c->timeout);
    try_next(c);
}

/* The old socket is closed first: its memory is used again. */
static void server_closed(uv_handle_t *h)
{
    struct connection *c = ((struct end *)h->data)->c;

    c->handles--;
    c->server_open = false;
    if (c->closing)
        maybe_free(c);
    else
        failed_attempt(c);
}

static void give_up_server(struct connection *c)
{
    if (!uv_is_closing((uv_handle_t *)&c->server.tcp))
        uv_close((uv_handle_t *)&c->server.tcp, server_closed);
}

static void on_connect(uv_connect_t *r, int status)
{
    struct connection *c = r->data;

    if (c->closing || uv_is_closing((uv_handle_t *)&c->server.tcp))
        return;
    if (status < 0) {
        give_up_server(c);
        return;
    }
    (void)uv_timer_stop(&c->timeout);
    c->connected = true;
    (void)uv_tcp_nodelay(&c->server.tcp, 1);
    if (uv_read_start((uv_stream_t *)&c->client.tcp, on_alloc, on_read) != 0 ||
        uv_read_start((uv_stream_t *)&c->server.tcp, on_alloc, on_read) != 0)
        close_connection(c, MUSTER_SUCCESS);
}

static void on_timeout(uv_timer_t *t)
{
    struct connection *c = t->data;

    if (c->closing)
        return;
    if (c->server_open)
        give_up_server(c);
    else if (c->looking)
        (void)uv_cancel((uv_req_t *)&c->lookup);
}

static void connect_to(struct connection *c, const struct sockaddr *to)
{
    if (uv_tcp_init(&c->p->loop, &c->server.tcp) != 0) {
        close_connection(c, MUSTER_SUCCESS);
        return;
    }
    c->server.tcp.data = &c->server;
    c->server_open = true;
    c->handles++;
    c->connect.data = c;
    if (uv_tcp_connect(&c->connect, &c->server.tcp, to, on_connect) != 0)
        give_up_server(c);
}

static void on_address(uv_getaddrinfo_t *r, int status, struct addrinfo *a)
{
    struct connection *c = r->data;

    c->looking = false;
    if (c->closing)
        maybe_free(c);
    else if (status < 0)
        failed_attempt(c);
    else
        connect_to(c, a->ai_addr);
    uv_freeaddrinfo(a);
}

static void look_up(struct connection *c)
{
    char port[8];
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};

    (void)snprintf(port, sizeof port, "%u", c->ticket.port);
    c->lookup.data = c;
    c->looking = true;
    if (uv_getaddrinfo(&c->p->loop, &c->lookup, on_address, c->ticket.address,
                       port, &hints) != 0) {
        c->looking = false;
        close_connection(c, MUSTER_SUCCESS);
    }
}

static void to_instance(struct connection *c)
{
    struct sockaddr_storage x = {0};
    int port = c->ticket.port;

    c->began_ns = uv_hrtime();
    (void)uv_timer_start(&c->timeout, on_timeout, CONNECT_MS, 0);
    if (uv_ip4_addr(c->ticket.address, port, (struct sockaddr_in *)&x) == 0 ||
        uv_ip6_addr(c->ticket.address, port, (struct sockaddr_in6 *)&x) == 0)
        connect_to(c, (struct sockaddr *)&x);
    else
        look_up(c);
}

static void try_next(struct connection *c)
{
    struct muster_ask ask = {.size = sizeof ask,
                             .key = c->peer,
                             .key_bytes = strlen(c->peer),
                             .exclude = c->tried,
                             .exclude_n = c->attempts};

    if (c->attempts == ATTEMPTS ||
        muster_pick(c->p->b.s, &ask, &c->ticket) != MUSTER_OK) {
        c->ticket.id = 0;
        close_connection(c, MUSTER_SUCCESS);
        return;
    }
    c->tried[c->attempts++] = c->ticket.id;
    to_instance(c);
}

/* --- From a client -------------------------------------------------------- */

static void name_peer(struct connection *c)
{
    struct sockaddr_storage x;
    int n = sizeof x;

    if (uv_tcp_getpeername(&c->client.tcp, (struct sockaddr *)&x, &n) != 0 ||
        uv_ip_name((struct sockaddr *)&x, c->peer, sizeof c->peer) != 0)
        (void)snprintf(c->peer, sizeof c->peer, "?");
}

static struct connection *connection_new(struct proxy *p)
{
    struct connection *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->client.chunk = malloc(CHUNK);
    c->server.chunk = malloc(CHUNK);
    if (!c->client.chunk || !c->server.chunk ||
        uv_tcp_init(&p->loop, &c->client.tcp) != 0) {
        free(c->client.chunk);
        free(c->server.chunk);
        free(c);
        return NULL;
    }
    (void)uv_timer_init(&p->loop, &c->timeout);
    c->timeout.data = c;
    c->client.tcp.data = &c->client;
    c->client.c = c->server.c = c;
    c->client.other = &c->server;
    c->server.other = &c->client;
    c->handles = 2;
    c->p = p;
    list_add(&p->connections, &c->link);
    p->count++;
    return c;
}

static void on_client(uv_stream_t *listener, int status)
{
    struct proxy *p = listener->data;
    struct connection *c;

    if (status < 0)
        return;
    c = connection_new(p);
    if (!c)
        return; /* it waits in the backlog */
    if (uv_accept(listener, (uv_stream_t *)&c->client.tcp) != 0 ||
        p->count > CONNECTIONS_MAX) {
        close_connection(c, MUSTER_SUCCESS);
        return;
    }
    (void)uv_tcp_nodelay(&c->client.tcp, 1);
    name_peer(c);
    try_next(c);
}

/* --- The whole ------------------------------------------------------------ */

static void on_drained(uv_timer_t *t)
{
    uv_stop(t->loop);
}

/* The first signal lets connections end, the second does not. */
static void on_stop(uv_signal_t *s, int number)
{
    struct proxy *p = s->data;

    (void)number;
    if (p->draining || p->count == 0) {
        uv_stop(&p->loop);
        return;
    }
    p->draining = true;
    uv_close((uv_handle_t *)&p->listener, NULL);
    (void)uv_timer_start(&p->drain, on_drained, DRAIN_MS, 0);
    fprintf(stderr, "muster proxy: %zu connections may end within %d s\n",
            p->count, DRAIN_MS / 1000);
}

/* "HOST:PORT" or "PORT". */
static bool listen_address(const struct cli *c, struct sockaddr_storage *ret)
{
    const char *text = cli_text(c, "listen"), *colon = strrchr(text, ':');
    char host[64] = "127.0.0.1";
    uint64_t port;

    if (colon) {
        size_t n = (size_t)(colon - text);
        bool v6 = n > 1 && text[0] == '[' && text[n - 1] == ']';
        if (n >= sizeof host)
            return false;
        memcpy(host, text + v6, n - 2 * v6);
        host[n - 2 * v6] = '\0';
    }
    if (bytes_u64(bytes_str(colon ? colon + 1 : text), &port) != ERR_OK ||
        port > UINT16_MAX)
        return false;
    return uv_ip4_addr(host, (int)port, (struct sockaddr_in *)ret) == 0 ||
           uv_ip6_addr(host, (int)port, (struct sockaddr_in6 *)ret) == 0;
}

static int start_listening(struct proxy *p, const struct sockaddr_storage *at)
{
    struct sockaddr_storage x;
    char host[INET6_ADDRSTRLEN];
    int n = sizeof x;
    int e = uv_tcp_bind(&p->listener, (const struct sockaddr *)at, 0);

    if (e == 0)
        e = uv_listen((uv_stream_t *)&p->listener, BACKLOG, on_client);
    if (e == 0)
        e = uv_tcp_getsockname(&p->listener, (struct sockaddr *)&x, &n);
    if (e != 0)
        return cli_fail(p->c, "cannot listen at %s: %s",
                        cli_text(p->c, "listen"), uv_strerror(e));
    (void)uv_ip_name((struct sockaddr *)&x, host, sizeof host);
    printf("%s is at %s:%u\n", p->c->args[0], host,
           ntohs(((struct sockaddr_in *)&x)->sin_port));
    (void)fflush(stdout);
    return 0;
}

/* With the first list, so that no early client is turned away; without one after
 * a while, because it may come yet. */
static void open_door(struct proxy *p)
{
    if (p->listening)
        return;
    p->listening = true;
    p->code = start_listening(p, &p->at);
    if (p->code)
        uv_stop(&p->loop);
}

static void on_muster(uv_poll_t *w, int status, int events)
{
    struct proxy *p = w->data;
    struct muster_status st;

    (void)status;
    (void)events;
    (void)muster_process(p->b.m);
    muster_status_init(&st, sizeof st);
    if (muster_status(p->b.s, &st) == MUSTER_OK && st.source != MUSTER_NOTHING)
        open_door(p);
}

static void on_waited(uv_timer_t *t)
{
    open_door(t->data);
}

static int run(struct proxy *p)
{
    static const int signals[] = {SIGTERM, SIGINT};

    if (uv_loop_init(&p->loop) != 0 ||
        uv_tcp_init(&p->loop, &p->listener) != 0 ||
        uv_timer_init(&p->loop, &p->drain) != 0 ||
        uv_poll_init(&p->loop, &p->watch, muster_fd(p->b.m)) != 0)
        return cli_fail(p->c, "no event loop");
    p->listener.data = p->watch.data = p->drain.data = p;
    (void)uv_poll_start(&p->watch, UV_READABLE, on_muster);
    for (size_t i = 0; i < 2; i++) {
        (void)uv_signal_init(&p->loop, &p->stop[i]);
        p->stop[i].data = p;
        (void)uv_signal_start(&p->stop[i], on_stop, signals[i]);
    }
    (void)signal(SIGPIPE, SIG_IGN);
    (void)uv_timer_start(&p->drain, on_waited, BALANCE_WAIT_MS, 0);
    (void)uv_run(&p->loop, UV_RUN_DEFAULT);
    return p->code;
}

static void close_any(uv_handle_t *h, void *arg)
{
    (void)arg;
    if (!uv_is_closing(h))
        uv_close(h, NULL);
}

/* Whatever is left ends with the process; connections are freed by their own
 * way first. */
static void finish(struct proxy *p)
{
    list_each (it, &p->connections)
        close_connection(container_of(it, struct connection, link),
                         MUSTER_SUCCESS);
    while (p->count && uv_run(&p->loop, UV_RUN_ONCE))
        ;
    uv_walk(&p->loop, close_any, NULL);
    (void)uv_run(&p->loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&p->loop);
}

int cli_proxy(struct cli *c)
{
    struct proxy p = {.c = c};

    if (!listen_address(c, &p.at))
        return cli_misused(c,
                           "-listen is \"%s\", must be an address and a "
                           "port, as 127.0.0.1:8080",
                           cli_text(c, "listen"));
    list_init(&p.connections);
    if (!balance_open(c, true, &p.b))
        return 1;
    int code = run(&p);
    finish(&p);
    balance_close(&p.b);
    return code;
}
