/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* One question to recursors over UDP, one after the other (forward.c says why here).
 * The socket is connected: the kernel drops what comes from elsewhere, and tells
 * when nobody listens there. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "dnsd/impl.h"

union server {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

struct asker {
    struct dnsd_thread *thread;
    union server server[DNSD_RECURSORS_MAX];
    size_t server_count, first;
    struct list questions;
    uint8_t answer[DNS_TCP_MOST];
};

struct question {
    struct list link;
    struct asker *asker;
    struct bytes packet;
    void (*done)(void *arg, uint8_t *answer, size_t n);
    void *arg;
    struct timer timer;
    struct watch *watch; /* NULL: no server is being asked */
    int fd;
    uint16_t id;
    size_t at, left; /* the server, and how many are to come */
};

static void hang_up(struct question *q)
{
    if (!q->watch)
        return;
    watch_close(q->watch);
    q->watch = NULL;
    (void)close(q->fd);
}

static void finish(struct question *q, uint8_t *answer, size_t n)
{
    hang_up(q);
    timer_clear(&q->asker->thread->timers, &q->timer);
    list_del(&q->link);
    q->done(q->arg, answer, n);
    thread_count(q->asker->thread);
    free(q);
}

static bool is_answer(const struct question *q, const uint8_t *p, size_t n)
{
    return n >= DNS_HEADER_BYTES && (p[0] << 8 | p[1]) == q->id &&
           p[2] & 0x80 && (p[2] & 0x78) == 0;
}

/* The next server may know better. */
static bool is_failure(const uint8_t *p)
{
    unsigned rcode = p[3] & 15;

    return rcode == DNS_SERVFAIL || rcode == DNS_REFUSED || rcode == DNS_NOTIMP;
}

static bool is_question(const struct question *q, const uint8_t *p, size_t n)
{
    struct dns_query asked;

    if (dns_query_parse(q->packet, &asked) != DNS_PARSED)
        return false;
    size_t k = asked.name_n + 4u;
    return n >= DNS_HEADER_BYTES + k && p[4] == 0 && p[5] == 1 &&
           bytes_eq_fold(bytes_of(p + DNS_HEADER_BYTES, k),
                         bytes_of(q->packet.p + DNS_HEADER_BYTES, k));
}

static void ask_next(struct question *q);

static void on_readable(void *owner, int events)
{
    struct question *q = owner;
    uint8_t *p = q->asker->answer;
    ssize_t n;

    (void)events;
    while ((n = recv(q->fd, p, sizeof q->asker->answer, MSG_DONTWAIT)) >= 0 ||
           errno == EINTR) {
        if (n < 0 || !is_answer(q, p, (size_t)n))
            continue;
        if (is_failure(p) && q->left) {
            ask_next(q);
            return;
        }
        if (is_question(q, p, (size_t)n)) {
            finish(q, p, (size_t)n);
            return;
        }
    }
    if (errno != EAGAIN) /* nobody listens there */
        ask_next(q);
}

static bool send_to(struct question *q, const union server *s)
{
    struct asker *a = q->asker;
    uint8_t packet[DNSD_QUERY_BYTES_MAX];
    socklen_t n = s->any.sa_family == AF_INET ? sizeof s->v4 : sizeof s->v6;

    if (getrandom(&q->id, sizeof q->id, 0) != sizeof q->id)
        return false;
    memcpy(packet, q->packet.p, q->packet.n);
    packet[0] = (uint8_t)(q->id >> 8);
    packet[1] = (uint8_t)q->id;
    q->fd =
        socket(s->any.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (q->fd < 0)
        return false;
    if (connect(q->fd, &s->any, n) == 0 &&
        send(q->fd, packet, q->packet.n, 0) == (ssize_t)q->packet.n)
        q->watch = watch_open(&a->thread->loop, q->fd, on_readable, q);
    if (!q->watch)
        (void)close(q->fd);
    return q->watch != NULL;
}

static void ask_next(struct question *q)
{
    struct asker *a = q->asker;

    hang_up(q);
    while (q->left) {
        const union server *s = &a->server[q->at];
        q->left--;
        q->at = (q->at + 1) % a->server_count;
        if (!send_to(q, s))
            continue;
        watch_for(q->watch, UV_READABLE);
        timer_set(&a->thread->timers, &q->timer,
                  a->thread->d->o.recursor_timeout_ms);
        return;
    }
    finish(q, NULL, 0);
}

static void on_late(struct timer *t)
{
    ask_next(container_of(t, struct question, timer));
}

void ask_udp(struct asker *a, struct bytes packet,
             void (*done)(void *arg, uint8_t *answer, size_t n), void *arg)
{
    struct question *q = calloc(1, sizeof *q);

    if (!q) {
        done(arg, NULL, 0);
        return;
    }
    q->asker = a;
    q->packet = packet;
    q->done = done;
    q->arg = arg;
    q->timer.fire = on_late;
    q->at = a->first;
    q->left = a->server_count;
    list_add(&a->questions, &q->link);
    if (a->thread->d->o.recursor_rotate)
        a->first = (a->first + 1) % a->server_count;
    ask_next(q);
}

/* --- Life ------------------------------------------------------------------------ */

enum err asker_open(struct dnsd_thread *t, struct asker **ret)
{
    struct asker *a = calloc(1, sizeof *a);

    if (!a)
        return ERR_NOMEM;
    a->thread = t;
    list_init(&a->questions);
    *ret = a;
    return ERR_OK;
}

enum err asker_add(struct asker *a, const char *server)
{
    struct bytes text = bytes_str(server);
    union server *s = &a->server[a->server_count];
    char host[INET6_ADDRSTRLEN];
    size_t colon = text.n;
    uint64_t port;

    if (a->server_count == DNSD_RECURSORS_MAX)
        return ERR_LIMIT;
    while (colon > 0 && text.p[colon - 1] != ':')
        colon--;
    if (colon == 0 || bytes_u64(bytes_skip(text, colon), &port) != ERR_OK)
        return ERR_BAD;
    text = bytes_head(text, colon - 1);
    if (text.n > 2 && text.p[0] == '[')
        text = bytes_of(text.p + 1, text.n - 2);
    if (text.n >= sizeof host)
        return ERR_BAD;
    memcpy(host, text.p, text.n);
    host[text.n] = 0;
    if (inet_pton(AF_INET, host, &s->v4.sin_addr) == 1) {
        s->v4.sin_family = AF_INET;
        s->v4.sin_port = htons((uint16_t)port);
    } else if (inet_pton(AF_INET6, host, &s->v6.sin6_addr) == 1) {
        s->v6.sin6_family = AF_INET6;
        s->v6.sin6_port = htons((uint16_t)port);
    } else {
        return ERR_BAD;
    }
    a->server_count++;
    return ERR_OK;
}

void asker_close(struct asker *a)
{
    while (!list_empty(&a->questions)) {
        struct question *q =
            container_of(a->questions.next, struct question, link);
        hang_up(q);
        timer_clear(&a->thread->timers, &q->timer);
        list_del(&q->link);
        free(q->arg);
        free(q);
    }
    free(a);
}
