/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* One connection: what comes in, and when it ends.
 *
 *      bytes of a request            whole            conn_answer
 *   READING ---------------> READING ----> BUSY ----------------> WRITING
 *      ^                                    | conn_stream_begin      ^ |
 *      |                                    +-----> STREAMING -------+ |
 *      +------------------- all taken, keep-alive ---------------------+
 *                                                                      |
 *                       LINGERING, CLOSED <----------------------------+
 *
 * It reads on while an answer is due, because only reading tells that the peer
 * has gone; those bytes wait in `ahead`, and beyond a limit reading pauses. */
#include "loop/conn.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/check.h"
#include "base/metric.h"
#include "loop/conn_impl.h"

/* --- The end -------------------------------------------------------------- */

void conn_release_request(struct conn *c)
{
    struct http_in *in = c->in;

    c->in = NULL;
    c->forget = false;
    if (!in)
        return;
    if (http_in_state(in) == HTTP_IN_DONE || http_in_state(in) == HTTP_IN_IDLE)
        server_parser_back(c->server, in);
    else
        http_in_free(in);
}

static void drop_ahead(struct conn *c)
{
    free(c->ahead);
    c->ahead = NULL;
    c->ahead_at = c->ahead_n = 0;
}

static void on_closed(uv_handle_t *h)
{
    struct conn *c = h->data;
    struct http_server *s = c->server;

    conn_release_request(c);
    conn_tls_free(c);
    free(c);
    server_handle_closed(s);
}

void conn_close(struct conn *c)
{
    if (c->state == CONN_CLOSED)
        return;
    conn_tls_bye(c);
    conn_doze_end(c);
    c->state = CONN_CLOSED;
    timer_clear(c->server->timers, &c->timer);
    list_del(&c->link);
    list_del(&c->later);
    drop_ahead(c);
    server_uncount(c->server, c);
    uv_close(&c->uv.handle, on_closed);
}

void conn_lost(struct conn *c)
{
    bool owed = c->state == CONN_BUSY || c->state == CONN_STREAMING;

    conn_close(c);
    if (owed)
        c->server->events.gone(c->server->events.ctx, c);
}

static void alloc_read(uv_handle_t *h, size_t suggested, uv_buf_t *ret);
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

void conn_resume_reading(struct conn *c)
{
    if (!c->paused)
        return;
    c->paused = false;
    conn_start_reading(c);
}

void conn_start_reading(struct conn *c)
{
    if (uv_read_start(&c->uv.stream, alloc_read, on_read) != 0)
        conn_lost(c);
}

void conn_linger(struct conn *c)
{
    uv_os_fd_t fd;

    drop_ahead(c);
    conn_tls_bye(c);
    if (c->eof || uv_fileno(&c->uv.handle, &fd) != 0 ||
        shutdown(fd, SHUT_WR) < 0) {
        conn_close(c);
        return;
    }
    conn_resume_reading(c);
    if (c->state == CONN_CLOSED)
        return;
    c->state = CONN_LINGERING;
    c->body_bytes = 0;
    conn_linger_due(c);
}

static void lingered(struct conn *c, size_t n)
{
    c->body_bytes += n;
    if (c->body_bytes > CONN_LINGER_BYTES)
        conn_close(c);
}

/* --- Requests ------------------------------------------------------------- */

static void hand_over(struct conn *c)
{
    struct http_server *s = c->server;
    struct http_request *r = http_in_request(c->in);

    c->keep_alive = r->keep_alive;
    c->http_1_0 = r->http_1_0;
    c->state = CONN_BUSY;
    c->phase = HTTP_IN_IDLE;
    c->due_ms = 0;
    c->patient = false;
    s->events.request(s->events.ctx, c, r);
    /* Only now: the caller may have gone on using the request after his
     * answer. */
    if (c->forget || c->state != CONN_BUSY)
        conn_release_request(c);
}

static void count_refusal(enum http_refusal why)
{
    switch (why) {
    case HTTP_REFUSED_HEADER:
    case HTTP_REFUSED_TARGET:
        metric_add(METRIC_HTTP_REFUSED_HEADER, 1);
        return;
    case HTTP_REFUSED_BODY:
        metric_add(METRIC_HTTP_REFUSED_BODY, 1);
        return;
    case HTTP_REFUSED_MALFORMED:
    case HTTP_REFUSED_VERSION:
    case HTTP_REFUSED_ENCODING:
        metric_add(METRIC_HTTP_MALFORMED, 1);
        return;
    case HTTP_REFUSED_NONE:
    case HTTP_REFUSED_NOMEM:
        return;
    }
}

static void refuse_request(struct conn *c)
{
    int status = 400;
    const char *text = "";

    count_refusal(http_in_refusal(c->in, &status, &text));
    conn_refuse(c, status, text);
}

/* Looks at where the parser stands after `used` more bytes. */
static void step(struct conn *c, size_t used)
{
    uint8_t before = c->phase;

    c->phase = (uint8_t)http_in_state(c->in);
    switch (http_in_state(c->in)) {
    case HTTP_IN_IDLE: /* a stray line end */
        conn_release_request(c);
        break;
    case HTTP_IN_HEAD:
        if (before != HTTP_IN_HEAD)
            conn_head_due(c);
        break;
    case HTTP_IN_BODY:
        if (before == HTTP_IN_BODY) {
            c->body_bytes += used;
        } else {
            c->body_since_ms = uv_now(c->server->loop);
            c->body_bytes = 0;
        }
        conn_body_due(c);
        if (http_in_wants_continue(c->in))
            conn_write_continue(c);
        break;
    case HTTP_IN_DONE:
        hand_over(c);
        break;
    case HTTP_IN_REFUSED:
        refuse_request(c);
        break;
    }
}

/* Feeds the parser and hands over requests as long as they are answered at
 * once; returns what it did not use. */
static struct bytes conn_feed(struct conn *c, struct bytes in)
{
    c->running = true;
    while (c->state == CONN_READING && in.n > 0) {
        if (!c->in)
            c->in = server_parser(c->server);
        if (!c->in) {
            conn_refuse(c, 503, "out of memory for one more request");
            break;
        }
        size_t used = http_in_feed(c->in, in);
        in = bytes_skip(in, used);
        c->more = in.n > 0;
        step(c, used);
    }
    c->running = false;
    return in;
}

/* --- Reading -------------------------------------------------------------- */

static bool waits(const struct conn *c)
{
    return c->state == CONN_READING || c->state == CONN_BUSY ||
           c->state == CONN_STREAMING || c->state == CONN_WRITING;
}

void conn_pause_reading(struct conn *c)
{
    c->paused = true;
    (void)uv_read_stop(&c->uv.stream);
    conn_look_due(c);
}

bool conn_keep_ahead(struct conn *c, struct bytes in)
{
    size_t rest = c->ahead_n - c->ahead_at;
    char *p = malloc(rest + in.n);

    if (!p) {
        conn_lost(c);
        return false;
    }
    if (rest)
        memcpy(p, c->ahead + c->ahead_at, rest);
    memcpy(p + rest, in.p, in.n);
    free(c->ahead);
    c->ahead = p;
    c->ahead_at = 0;
    c->ahead_n = (uint32_t)(rest + in.n);
    if (!c->paused && c->ahead_n >= CONN_AHEAD_BYTES)
        conn_pause_reading(c);
    return true;
}

static void alloc_read(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
    struct conn *c = h->data;
    size_t room = CONN_READ_BYTES;

    (void)suggested;
    if (c->state != CONN_LINGERING && (c->state != CONN_READING || c->ahead))
        room = CONN_AHEAD_BYTES - (c->ahead_n - c->ahead_at);
    *ret = uv_buf_init(c->server->read_buffer, (unsigned)room);
}

/* After feeding, with the input used up or an answer due. */
static void settle(struct conn *c)
{
    conn_look_due(c);
    if (c->state == CONN_READING && c->eof) /* half a request, or none */
        conn_close(c);
    else if (c->state == CONN_READING)
        conn_resume_reading(c);
    if (c->patient || c->dozes)
        conn_doze_settle(c);
}

static void feed_ahead(struct conn *c)
{
    if (c->ahead) {
        struct bytes in =
            bytes_of(c->ahead + c->ahead_at, c->ahead_n - c->ahead_at);
        struct bytes rest = conn_feed(c, in);

        if (rest.n == 0 || !waits(c))
            drop_ahead(c);
        else
            c->ahead_at = c->ahead_n - (uint32_t)rest.n;
    }
    settle(c);
}

void conn_on_eof(struct conn *c)
{
    c->eof = true;
    switch ((enum conn_state)c->state) {
    case CONN_READING:
        if (!c->ahead)
            conn_close(c);
        return;
    case CONN_BUSY:
        /* Some shut down their side after the request and still want the
         * answer. It will come soon, unless the request is parked: its memory
         * has been given back. */
        if (!c->in)
            conn_lost(c);
        return;
    case CONN_STREAMING:
        conn_lost(c);
        return;
    case CONN_WRITING:
        return;
    case CONN_LINGERING:
        conn_close(c);
        return;
    case CONN_CLOSED:
        return;
    }
}

void conn_input(struct conn *c, struct bytes in)
{
    if (c->state == CONN_READING && !c->ahead) {
        in = conn_feed(c, in);
        settle(c);
    }
    if (in.n > 0 && waits(c))
        (void)conn_keep_ahead(c, in);
}

/* The first byte of a handshake record (RFC 8446 5.1), and of no method. */
static bool is_tls(const char *first)
{
    return *first == 0x16;
}

/* He could not read what we would say. */
static void refuse_tls(struct conn *c)
{
    conn_complain_of_peer(c, "it speaks TLS: encrypt is set there, and not "
                             "here");
    conn_close(c);
}

void conn_on_bytes(struct conn *c, struct bytes in)
{
    if (in.n == 0) {
        conn_on_eof(c);
        return;
    }
    if (c->state == CONN_LINGERING)
        lingered(c, in.n);
    else if (c->tls)
        conn_tls_input(c, in);
    else if (c->from_peer && !c->greeted && is_tls(in.p))
        refuse_tls(c);
    else
        conn_input(c, in);
    c->greeted = true;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct conn *c = stream->data;

    if (n == 0)
        return;
    if (n < 0 && conn_tls_is_new(c) && c->state == CONN_READING)
        conn_tls_count_failure(c, "");
    if (n < 0 && n != UV_EOF)
        conn_lost(c);
    else
        conn_on_bytes(c, bytes_of(buf->base, n < 0 ? 0 : (size_t)n));
}

/* --- What follows an answer ----------------------------------------------- */

void conn_do_later(struct conn *c)
{
    if (c->broken)
        conn_lost(c);
    else if (c->state == CONN_READING && conn_tls_is_new(c))
        conn_tls_later(c);
    else if (c->state == CONN_READING)
        feed_ahead(c);
}

void conn_answered(struct conn *c, bool from_loop)
{
    struct http_server *s = c->server;

    if (!c->keep_alive || s->closing) {
        if (c->linger || c->ahead || (c->running && c->more))
            conn_linger(c);
        else
            conn_close(c);
        return;
    }
    c->state = CONN_READING;
    conn_idle_due(c);
    if (c->running || (!c->ahead && !c->eof && !c->paused))
        return;
    if (from_loop)
        feed_ahead(c);
    else
        conn_later(c);
}

/* --- Beginning ------------------------------------------------------------ */

static int open_handle(struct conn *c)
{
    uv_loop_t *loop = c->server->loop;
    return c->tcp ? uv_tcp_init(loop, &c->uv.tcp)
                  : uv_pipe_init(loop, &c->uv.pipe, 0);
}

enum err conn_open(struct http_server *s, int take_fd,
                   const struct in6_addr *peer, uint16_t port,
                   const uint16_t slots[2], bool tcp, enum conn_kind kind)
{
    struct conn *c = calloc(1, sizeof *c + s->events.user_bytes);
    bool tls = kind == CONN_TLS || (kind == CONN_PEER && s->peer_tls);

    if (!c)
        goto fail;
    c->server = s;
    c->tcp = tcp;
    c->from_peer = kind == CONN_PEER;
    c->peer = *peer;
    c->peer_port = port;
    c->slots[0] = slots[0];
    c->slots[1] = slots[1];
    c->state = CONN_READING;
    c->phase = HTTP_IN_IDLE;
    c->timer.fire = conn_on_timer;
    list_init(&c->later);
    if (open_handle(c) != 0)
        goto fail;
    c->uv.handle.data = c;
    list_add(&s->conns, &c->link);
    s->handles++;
    metric_add(METRIC_HTTP_CONNECTIONS, 1);
    int rc = tcp ? uv_tcp_open(&c->uv.tcp, take_fd)
                 : uv_pipe_open(&c->uv.pipe, take_fd);
    if (rc != 0)
        (void)close(take_fd);
    if (rc != 0 || uv_read_start(&c->uv.stream, alloc_read, on_read) != 0 ||
        (tls && conn_tls_begin(c) != ERR_OK)) {
        conn_close(c);
        return ERR_IO;
    }
    if (!tls)
        conn_idle_due(c);
    return ERR_OK;

fail:
    free(c);
    (void)close(take_fd);
    return ERR_NOMEM;
}

/* --- What the caller asks ------------------------------------------------- */

void *conn_user(struct conn *c)
{
    return c->user;
}

struct http_server *conn_server(struct conn *c)
{
    return c->server;
}

bool conn_is_peer(const struct conn *c)
{
    return c->from_peer;
}

const char *conn_peer(struct conn *c)
{
    char *text = c->server->peer_text;
    size_t n = sizeof c->server->peer_text;
    char host[INET6_ADDRSTRLEN];

    if (!c->tcp)
        return "unix";
    if (IN6_IS_ADDR_V4MAPPED(&c->peer)) {
        (void)inet_ntop(AF_INET, &c->peer.s6_addr[12], host, sizeof host);
        (void)snprintf(text, n, "%s:%d", host, c->peer_port);
    } else {
        (void)inet_ntop(AF_INET6, &c->peer, host, sizeof host);
        (void)snprintf(text, n, "[%s]:%d", host, c->peer_port);
    }
    return text;
}

bool conn_keep_alive(const struct conn *c)
{
    return c->keep_alive && !c->server->closing;
}

bool conn_http_1_0(const struct conn *c)
{
    return c->http_1_0;
}

void conn_forget_request(struct conn *c)
{
    require(c->state == CONN_BUSY);
    if (c->running)
        c->forget = true;
    else
        conn_release_request(c);
    /* The peer went before we knew that it would have to wait. */
    if (c->eof) {
        c->broken = true;
        conn_later(c);
    }
}
