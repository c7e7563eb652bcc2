/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "loop/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "loop/watch.h"

enum { UNIX_PATH_BYTES = sizeof((struct sockaddr_un){0}.sun_path) };
enum { PEER_MAX = INET6_ADDRSTRLEN + sizeof "[%4294967295]:65535" };

enum stream_state {
    STREAM_LOOKING_UP,
    STREAM_CONNECTING,
    STREAM_HANDSHAKE,
    STREAM_READY,
};

struct stream {
    struct stream_world w;
    struct stream_events events;
    void *ctx;
    enum stream_state state;
    struct lookup lookup;
    struct timer timer;
    uint64_t end_ms;
    const struct tls_client *tls;
    bool skip_verify, opening_only;
    size_t out_max;
    const char *alpn;
    SSL *ssl;
    struct watch *watch;
    int fd; /* -1: none */
    struct buf out;
    struct sockaddr_storage addresses[NAMES_ADDRESSES_MAX];
    size_t address_n, at;
    int port;
    char peer[PEER_MAX];
    struct errtext error;           /* of the first address */
    bool not_refused;               /* any of them failed in another way */
    struct sockaddr_un unix_socket; /* its path is empty: TCP */
    char *tls_name;                 /* in this block */
    char host[NAMES_HOST_MAX + 1];
    char names[];
};

static void try_next(struct stream *s);

/* --- The end -------------------------------------------------------------- */

static void close_socket(struct stream *s)
{
    watch_close(s->watch);
    s->watch = NULL;
    SSL_free(s->ssl);
    s->ssl = NULL;
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

void stream_close(struct stream *s)
{
    close_socket(s);
    names_forget(&s->lookup);
    timer_clear(s->w.timers, &s->timer);
    buf_fini(&s->out);
    free(s);
}

static void over(struct stream *s, enum err why, const char *text)
{
    struct stream_events events = s->events;
    struct errtext copy;
    void *ctx = s->ctx;

    errtext_set(&copy, "%s", text);
    stream_close(s);
    events.over(ctx, why, copy.s);
}

/* In lower case, as Go has it. */
static const char *errno_text(int e)
{
    return e == ETIMEDOUT ? "i/o timeout"
                          : uv_strerror(uv_translate_sys_error(e));
}

/* --- Times ---------------------------------------------------------------- */

static uint64_t time_left(const struct stream *s)
{
    uint64_t now = uv_now(s->w.loop);
    return s->end_ms > now ? s->end_ms - now : 0;
}

static void keep_error(struct stream *s, const char *before, int e)
{
    s->not_refused |= e != ECONNREFUSED;
    if (!s->error.s[0])
        errtext_set(&s->error, "dial tcp %s: %s%s", s->peer,
                    e == ETIMEDOUT ? "" : before, errno_text(e));
}

static void on_time(struct timer *t)
{
    struct stream *s = container_of(t, struct stream, timer);

    switch (s->state) {
    case STREAM_LOOKING_UP:
        errtext_set(&s->error, "dial tcp: lookup %s: i/o timeout", s->host);
        break;
    case STREAM_CONNECTING:
        keep_error(s, "", ETIMEDOUT);
        close_socket(s);
        try_next(s);
        return;
    case STREAM_HANDSHAKE:
        errtext_set(&s->error, "tls: handshake with %s: i/o timeout", s->peer);
        break;
    case STREAM_READY:
        errtext_set(&s->error, "read tcp %s: i/o timeout", s->peer);
        break;
    }
    over(s, ERR_TIMEOUT, s->error.s);
}

/* --- Reading and writing -------------------------------------------------- */

enum { IO_AGAIN_READ = -1, IO_AGAIN_WRITE = -2, IO_FAILED = -3 };

static ssize_t tls_result(struct stream *s, int n)
{
    switch (SSL_get_error(s->ssl, n)) {
    case SSL_ERROR_WANT_READ:
        return IO_AGAIN_READ;
    case SSL_ERROR_WANT_WRITE:
        return IO_AGAIN_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        tls_client_error(s->ssl, s->tls_name, &s->error);
        return IO_FAILED;
    }
}

static ssize_t plain_result(struct stream *s, const char *doing)
{
    if (errno == EAGAIN || errno == EINTR)
        return *doing == 'r' ? IO_AGAIN_READ : IO_AGAIN_WRITE;
    errtext_set(&s->error, "%s tcp %s: %s: %s", doing, s->peer, doing,
                errno_text(errno));
    return IO_FAILED;
}

static ssize_t receive(struct stream *s, char *p, size_t n)
{
    if (s->ssl) {
        ERR_clear_error();
        int k = SSL_read(s->ssl, p, (int)n);
        return k > 0 ? k : tls_result(s, k);
    }
    ssize_t k = recv(s->fd, p, n, 0);
    return k >= 0 ? k : plain_result(s, "read");
}

static ssize_t transmit(struct stream *s, const char *p, size_t n)
{
    if (s->ssl) {
        ERR_clear_error();
        int k = SSL_write(s->ssl, p, (int)n);
        return k > 0 ? k : tls_result(s, k);
    }
    ssize_t k = send(s->fd, p, n, MSG_NOSIGNAL);
    return k >= 0 ? k : plain_result(s, "write");
}

/* The failure of a write is left to reading to tell: there may be a last word of
 * the peer's. */
static void flush(struct stream *s)
{
    int events = UV_READABLE;
    size_t sent = 0;
    ssize_t k = 0;

    while (sent < s->out.n &&
           (k = transmit(s, s->out.p + sent, s->out.n - sent)) > 0)
        sent += (size_t)k;
    if (sent && sent < s->out.n)
        memmove(s->out.p, s->out.p + sent, s->out.n - sent);
    s->out.n -= sent;
    if (s->out.n && k == IO_AGAIN_WRITE)
        events |= UV_WRITABLE;
    watch_for(s->watch, events);
}

enum err stream_write(struct stream *s, struct bytes b)
{
    require(s->state == STREAM_READY);
    if (s->out.n + b.n > s->out_max)
        return ERR_FULL;
    buf_put(&s->out, b);
    if (s->out.bad)
        return ERR_NOMEM;
    flush(s);
    return ERR_OK;
}

/* One chunk each turn, so that a peer that never stops holds up nobody; but
 * what TLS has decrypted already no descriptor tells of. */
static void read_some(struct stream *s)
{
    struct watch *w = s->watch; /* lives longer than s */
    char chunk[STREAM_READ_BYTES];

    do {
        ssize_t n = receive(s, chunk, sizeof chunk);
        if (n == IO_AGAIN_READ || n == IO_AGAIN_WRITE)
            return;
        if (n <= 0) {
            over(s, n == 0 ? ERR_CLOSED : ERR_IO, n == 0 ? "EOF" : s->error.s);
            return;
        }
        s->events.data(s->ctx, bytes_of(chunk, (size_t)n));
    } while (w->owner && s->ssl && SSL_pending(s->ssl) > 0);
}

/* --- Opening -------------------------------------------------------------- */

static void opened(struct stream *s)
{
    s->state = STREAM_READY;
    if (s->opening_only)
        timer_clear(s->w.timers, &s->timer);
    watch_for(s->watch, UV_READABLE);
    s->events.open(s->ctx);
}

static bool speaks_alpn(const struct stream *s)
{
    const unsigned char *p;
    unsigned n;

    SSL_get0_alpn_selected(s->ssl, &p, &n);
    return bytes_is(bytes_of(p, n), s->alpn);
}

static void refuse_alpn(struct stream *s)
{
    errtext_set(&s->error,
                "tls: %s does not offer \"%s\" as application protocol (ALPN)",
                s->peer, s->alpn);
    over(s, ERR_IO, s->error.s);
}

static void shake_hands(struct stream *s)
{
    ERR_clear_error();
    int k = SSL_do_handshake(s->ssl);
    ssize_t result = k == 1 ? 1 : tls_result(s, k);

    if (result == IO_AGAIN_READ)
        watch_for(s->watch, UV_READABLE);
    else if (result == IO_AGAIN_WRITE)
        watch_for(s->watch, UV_WRITABLE);
    else if (s->alpn &&
             (result == 1
                  ? !speaks_alpn(s)
                  : strstr(s->error.s, "no application protocol") != NULL))
        refuse_alpn(s);
    else if (result <= 0)
        over(s, ERR_IO, result == 0 ? "EOF" : s->error.s);
    else
        opened(s);
}

static void connected(struct stream *s)
{
    timer_set(s->w.timers, &s->timer, time_left(s));
    if (!s->tls) {
        opened(s);
        return;
    }
    s->state = STREAM_HANDSHAKE;
    s->ssl =
        tls_client_session(s->tls, s->fd, s->tls_name, s->skip_verify, s->alpn);
    if (s->ssl)
        shake_hands(s);
    else
        over(s, ERR_NOMEM, "out of memory for TLS");
}

static void on_ready(void *owner, int events)
{
    struct stream *s = owner;
    struct watch *w = s->watch;
    int e = 0;
    socklen_t n = sizeof e;

    switch (s->state) {
    case STREAM_LOOKING_UP:
        return;
    case STREAM_CONNECTING:
        if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &e, &n) == 0 && e == 0) {
            connected(s);
            return;
        }
        keep_error(s, "connect: ", e);
        close_socket(s);
        try_next(s);
        return;
    case STREAM_HANDSHAKE:
        shake_hands(s);
        return;
    case STREAM_READY:
        if (events & UV_WRITABLE)
            flush(s);
        if (w->owner && (events & UV_READABLE))
            read_some(s);
        return;
    }
}

/* 0: under way; else why not. */
static int begin(struct stream *s, struct sockaddr_storage *a)
{
    bool v6 = a->ss_family == AF_INET6, local = a->ss_family == AF_UNIX;
    int yes = 1;

    if (v6)
        ((struct sockaddr_in6 *)a)->sin6_port = htons((uint16_t)s->port);
    else if (!local)
        ((struct sockaddr_in *)a)->sin_port = htons((uint16_t)s->port);
    s->fd = socket(a->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0)
        return errno;
    if (!local)
        (void)setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    socklen_t n = v6      ? sizeof(struct sockaddr_in6)
                  : local ? sizeof(struct sockaddr_un)
                          : sizeof(struct sockaddr_in);
    if (connect(s->fd, (struct sockaddr *)a, n) != 0 && errno != EINPROGRESS)
        return errno;
    s->watch = watch_open(s->w.loop, s->fd, on_ready, s);
    if (!s->watch)
        return ENOMEM;
    watch_for(s->watch, UV_WRITABLE);
    return 0;
}

static void try_next(struct stream *s)
{
    s->state = STREAM_CONNECTING;
    while (s->at < s->address_n && time_left(s) > 0) {
        struct sockaddr_storage *a = &s->addresses[s->at++];
        stream_address_text(a, s->port, s->peer, sizeof s->peer);
        timer_set(s->w.timers, &s->timer,
                  time_left(s) / (s->address_n - s->at + 1));
        int e = begin(s, a);
        if (e == 0)
            return;
        keep_error(s, "connect: ", e);
        close_socket(s);
    }
    over(s,
         !time_left(s)    ? ERR_TIMEOUT
         : s->not_refused ? ERR_UNAVAILABLE
                          : ERR_REFUSED,
         s->error.s);
}

/* --- Names ---------------------------------------------------------------- */

static void answered(struct stream *s, const struct names_answer *a)
{
    if (a->error) {
        errtext_set(&s->error, "dial tcp: lookup %s: %s", s->host, a->error);
        over(s, ERR_UNAVAILABLE, s->error.s);
        return;
    }
    s->address_n = a->n;
    memcpy(s->addresses, a->addresses, a->n * sizeof *a->addresses);
    try_next(s);
}

static void on_lookup(struct lookup *l, const struct names_answer *a)
{
    answered(container_of(l, struct stream, lookup), a);
}

static void begin_unix(struct stream *s)
{
    memcpy(&s->addresses[0], &s->unix_socket, sizeof s->unix_socket);
    s->address_n = 1;
    try_next(s);
}

static void on_begin(struct timer *t)
{
    struct stream *s = container_of(t, struct stream, timer);
    const struct names_answer *a;

    s->timer.fire = on_time;
    timer_set(s->w.timers, &s->timer, time_left(s));
    if (s->unix_socket.sun_path[0]) {
        begin_unix(s);
        return;
    }
    a = names_ask(s->w.names, s->host, &s->lookup);
    if (a)
        answered(s, a);
}

struct bytes stream_split(struct bytes target, struct bytes *ret_port)
{
    size_t colon = target.n;

    while (colon > 0 && target.p[colon - 1] != ':')
        colon--;
    *ret_port = bytes_skip(target, colon);
    struct bytes host = bytes_head(target, colon ? colon - 1 : 0);
    if (bytes_starts(host, bytes_str("[")) && bytes_ends(host, bytes_str("]")))
        host = bytes_skip(bytes_head(host, host.n - 1), 1);
    return host;
}

void stream_address_text(const struct sockaddr_storage *a, int port, char *ret,
                         size_t n)
{
    char ip[INET6_ADDRSTRLEN] = "";
    bool v6 = a->ss_family == AF_INET6;

    if (a->ss_family == AF_UNIX) {
        (void)snprintf(ret, n, "unix");
        return;
    }
    if (v6)
        (void)inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)a)->sin6_addr,
                        ip, sizeof ip);
    else
        (void)inet_ntop(AF_INET, &((const struct sockaddr_in *)a)->sin_addr, ip,
                        sizeof ip);
    (void)snprintf(ret, n, v6 ? "[%s]:%d" : "%s:%d", ip, port);
}

const char *stream_peer(const struct stream *s)
{
    return s->peer;
}

enum err stream_open(const struct stream_world *w,
                     const struct stream_options *o,
                     const struct stream_events *events, void *ctx,
                     struct stream **ret)
{
    struct bytes port, host = stream_split(o->target, &port);
    size_t name_n = o->tls_name ? strlen(o->tls_name) : host.n;
    uint64_t port_number;

    if (host.n > NAMES_HOST_MAX || bytes_u64(port, &port_number) != ERR_OK ||
        port_number > UINT16_MAX ||
        (o->unix_path && strlen(o->unix_path) >= UNIX_PATH_BYTES))
        return ERR_BAD;
    struct stream *s = calloc(1, sizeof *s + name_n + 1);
    if (!s)
        return ERR_NOMEM;
    s->w = *w;
    s->events = *events;
    s->ctx = ctx;
    s->fd = -1;
    s->port = (int)port_number;
    s->tls = o->tls;
    s->skip_verify = o->tls_skip_verify;
    s->opening_only = o->opening_only;
    s->out_max = o->out_max_bytes ? o->out_max_bytes : STREAM_OUT_MAX;
    s->alpn = o->alpn;
    if (o->unix_path) {
        s->unix_socket.sun_family = AF_UNIX;
        memcpy(s->unix_socket.sun_path, o->unix_path, strlen(o->unix_path) + 1);
    }
    s->end_ms = uv_now(w->loop) + o->timeout_ms;
    list_init(&s->lookup.link);
    s->lookup.done = on_lookup;
    memcpy(s->host, host.p, host.n);
    s->tls_name = s->names;
    memcpy(s->names, o->tls_name ? o->tls_name : s->host, name_n);
    s->timer.fire = on_begin;
    timer_set(w->timers, &s->timer, 0);
    *ret = s;
    return ERR_OK;
}
