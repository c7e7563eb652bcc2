/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* How long a connection waits for its peer.
 *
 * Lazily: due_ms moves with every request, the timer in the heap only when
 * due_ms comes before it; when it fires early it is set again. */
#include "loop/conn_impl.h"

#include <poll.h>
#include <stdio.h>

#include "base/metric.h"

static uint64_t head_ms(const struct conn_limits *l)
{
    return l->head_ms ? l->head_ms : CONN_HEAD_MS;
}

static uint64_t idle_ms(const struct conn_limits *l)
{
    return l->idle_ms ? l->idle_ms : CONN_IDLE_MS;
}

static uint64_t stall_ms(const struct conn_limits *l)
{
    return l->stall_ms ? l->stall_ms : CONN_WRITE_STALL_MS;
}

static uint64_t now(const struct conn *c)
{
    return uv_now(c->server->loop);
}

static void due_at(struct conn *c, uint64_t ms)
{
    c->due_ms = ms;
    if (c->timer.item.in && c->timer.item.due_ms <= ms)
        return;
    timer_set(c->server->timers, &c->timer, ms > now(c) ? ms - now(c) : 0);
}

void conn_due_in(struct conn *c, uint64_t ms)
{
    due_at(c, now(c) + ms);
}

void conn_idle_due(struct conn *c)
{
    conn_due_in(c, idle_ms(c->server->limits));
}

void conn_head_due(struct conn *c)
{
    conn_due_in(c, head_ms(c->server->limits));
}

void conn_stall_due(struct conn *c)
{
    conn_due_in(c, stall_ms(c->server->limits));
}

void conn_handshake_due(struct conn *c)
{
    uint32_t ms = c->server->limits->handshake_ms;
    conn_due_in(c, ms ? ms : CONN_HANDSHAKE_MS);
}

void conn_linger_due(struct conn *c)
{
    uint64_t head = head_ms(c->server->limits);
    conn_due_in(c, head < CONN_LINGER_MS ? head : CONN_LINGER_MS);
}

/* The slowest allowed sender has one deadline that moves with each byte. */
void conn_body_due(struct conn *c)
{
    due_at(c, c->body_since_ms + head_ms(c->server->limits) +
                  c->body_bytes * 1000 / CONN_BODY_MIN_BYTES_PER_S);
}

void conn_look_due(struct conn *c)
{
    if (c->paused && c->writes == 0 &&
        (c->state == CONN_BUSY || c->state == CONN_STREAMING))
        conn_due_in(c, CONN_LOOK_MS);
}

void conn_stream_drained(struct conn *c)
{
    c->due_ms = 0;
    conn_look_due(c);
}

/* The end of what the peer sends stands behind bytes that we do not want yet;
 * poll sees it all the same. */
static void look(struct conn *c)
{
    struct pollfd p = {.events = POLLRDHUP};

    if (!c->paused || c->eof || uv_fileno(&c->uv.handle, &p.fd) != 0)
        return;
    if (poll(&p, 1, 0) > 0)
        conn_on_eof(c);
    else
        conn_look_due(c);
}

/* If the socket has room, it was this thread that was late. */
static bool has_room(const struct conn *c)
{
    struct pollfd p = {.events = POLLOUT};

    return uv_fileno(&c->uv.handle, &p.fd) == 0 && poll(&p, 1, 0) > 0 &&
           !(p.revents & (POLLERR | POLLHUP));
}

static void check_taken(struct conn *c)
{
    size_t left = uv_stream_get_write_queue_size(&c->uv.stream);
    size_t taken = c->queued_bytes - left;

    if (taken != c->taken_bytes || has_room(c)) {
        c->taken_bytes = taken;
        conn_stall_due(c);
        return;
    }
    metric_add(METRIC_HTTP_SLOW_READERS, 1);
    conn_lost(c);
}

static void refuse_slow(struct conn *c)
{
    char text[128];

    metric_add(METRIC_HTTP_SLOW_SENDERS, 1);
    if (c->phase == HTTP_IN_HEAD)
        (void)snprintf(text, sizeof text,
                       "the request's head was not complete within %llu ms",
                       (unsigned long long)head_ms(c->server->limits));
    else
        (void)snprintf(text, sizeof text,
                       "the request's body came at less than %d bytes a second",
                       CONN_BODY_MIN_BYTES_PER_S);
    conn_refuse(c, 408, text);
}

static void on_due(struct conn *c)
{
    switch ((enum conn_state)c->state) {
    case CONN_READING:
        if (conn_tls_is_new(c)) {
            conn_tls_count_failure(c, "not complete in time");
            conn_close(c);
            return;
        }
        if (c->phase != HTTP_IN_IDLE) {
            refuse_slow(c);
            return;
        }
        metric_add(METRIC_HTTP_IDLE_CLOSED, 1);
        conn_close(c);
        return;
    case CONN_STREAMING:
        if (c->writes == 0)
            look(c);
        else
            check_taken(c);
        return;
    case CONN_WRITING:
        check_taken(c);
        return;
    case CONN_BUSY:
        look(c);
        return;
    case CONN_LINGERING:
        conn_close(c);
        return;
    case CONN_CLOSED:
        return;
    }
}

void conn_on_timer(struct timer *t)
{
    struct conn *c = container_of(t, struct conn, timer);

    if (c->due_ms == 0)
        return;
    if (now(c) < c->due_ms) {
        due_at(c, c->due_ms);
        return;
    }
    c->due_ms = 0;
    on_due(c);
}
