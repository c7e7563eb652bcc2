/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Questions about other people's names, handed on to recursors by c-ares, which
 * checks where an answer comes from, its id and its question, asks the next server
 * after a time-out, and drops what does not fit. Nothing is kept: a lie that gets
 * through all of this is told to one client once.
 *
 * The id is ours: 16 random bits, none twice in flight. What came over TCP is asked
 * over TCP; an answer over UDP that says it is not whole is passed on as it is. */
#include <ares.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/check.h"
#include "dnsd/impl.h"

enum { CHANNELS = 2, SERVERS_TEXT_MAX = DNSD_RECURSORS_MAX * 64 };

struct server_socket {
    struct list link;
    struct channel *channel;
    struct watch *watch;
    int fd;
};

struct channel {
    struct forwarder *forwarder;
    ares_channel ares;
    struct list sockets;
};

struct forwarder {
    struct dnsd_thread *thread;
    struct channel channel[CHANNELS]; /* UDP, TCP */
    struct timer timer;
    size_t count;
    uint64_t ids[65536 / 64]; /* in flight */
};

struct pending {
    struct forwarder *forwarder;
    struct forward_to *to;
    uint16_t id; /* ours */
    size_t most; /* bytes that the client takes */
    size_t n;
    uint8_t query[]; /* with the client's id */
};

/* --- c-ares on libuv ------------------------------------------------------------ */

static void set_timer(struct forwarder *f)
{
    struct timeval one, *first = NULL, tv[CHANNELS];

    for (int i = 0; i < CHANNELS; i++) {
        struct timeval *t = ares_timeout(f->channel[i].ares, NULL, &tv[i]);
        if (t && (!first || t->tv_sec < first->tv_sec ||
                  (t->tv_sec == first->tv_sec && t->tv_usec < first->tv_usec)))
            one = *t, first = &one;
    }
    if (first)
        timer_set(&f->thread->timers, &f->timer,
                  (uint64_t)first->tv_sec * 1000 +
                      (uint64_t)first->tv_usec / 1000 + 1);
    else
        timer_clear(&f->thread->timers, &f->timer);
}

static void on_timer(struct timer *t)
{
    struct forwarder *f = container_of(t, struct forwarder, timer);

    for (int i = 0; i < CHANNELS; i++)
        ares_process_fd(f->channel[i].ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    set_timer(f);
    thread_count(f->thread);
}

static void on_socket(void *owner, int events)
{
    struct server_socket *s = owner;
    struct channel *c = s->channel;
    int fd = s->fd; /* s may go */

    ares_process_fd(c->ares, events & UV_READABLE ? fd : ARES_SOCKET_BAD,
                    events & UV_WRITABLE ? fd : ARES_SOCKET_BAD);
    set_timer(c->forwarder);
    thread_count(c->forwarder->thread);
}

static struct server_socket *find_socket(struct channel *c, int fd)
{
    list_each (it, &c->sockets) {
        struct server_socket *s = container_of(it, struct server_socket, link);
        if (s->fd == fd)
            return s;
    }
    return NULL;
}

/* Without memory for it, the query ends by its time-out. */
static struct server_socket *add_socket(struct channel *c, int fd)
{
    struct server_socket *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->channel = c;
    s->fd = fd;
    s->watch = watch_open(&c->forwarder->thread->loop, fd, on_socket, s);
    if (!s->watch) {
        free(s);
        return NULL;
    }
    list_add(&c->sockets, &s->link);
    return s;
}

static void on_socket_state(void *ctx, int fd, int readable, int writable)
{
    struct channel *c = ctx;
    struct server_socket *s = find_socket(c, fd);

    if (!readable && !writable) { /* about to be closed */
        if (!s)
            return;
        list_del(&s->link);
        watch_close(s->watch);
        free(s);
        return;
    }
    if (!s)
        s = add_socket(c, fd);
    if (s)
        watch_for(s->watch,
                  (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0));
}

/* --- Answers ----------------------------------------------------------------------- */

static void give_up(struct pending *p)
{
    uint8_t out[DNS_UDP_PLAIN];
    size_t n = dns_refuse(bytes_of(p->query, p->n), DNS_SERVFAIL, true, out,
                          sizeof out);

    p->forwarder->thread->counts[METRIC_DNS_RECURSOR_FAILED]++;
    p->to->done(p->to, out, n);
}

static void pass_on(struct pending *p, uint8_t *answer, size_t n)
{
    uint8_t out[DNS_UDP_PLAIN];

    if (n > p->most) {
        n = dns_refuse(bytes_of(p->query, p->n), DNS_NOERROR, true, out,
                       sizeof out);
        if (n)
            out[2] |= DNS_TC >> 8;
        answer = out;
    } else {
        memcpy(answer, p->query, 2); /* the client's id */
        answer[3] |= DNS_RA;
    }
    p->to->done(p->to, answer, n);
}

/* An answer without the question that was asked, bit for bit but for case, is
 * nobody's. c-ares looks too; so much depends on it that it is looked at here. */
static bool is_asked(const struct pending *p, const uint8_t *answer, size_t n)
{
    struct dns_query q;

    if (dns_query_parse(bytes_of(p->query, p->n), &q) != DNS_PARSED)
        return false;
    size_t k = q.name_n + 4u;
    return n >= DNS_HEADER_BYTES + k && answer[4] == 0 && answer[5] == 1 &&
           bytes_eq_fold(bytes_of(answer + DNS_HEADER_BYTES, k),
                         bytes_of(p->query + DNS_HEADER_BYTES, k));
}

static void on_answer(void *arg, int status, int timeouts,
                      unsigned char *answer, int n)
{
    struct pending *p = arg;
    struct forwarder *f = p->forwarder;

    (void)timeouts;
    f->ids[p->id / 64] &= ~(UINT64_C(1) << p->id % 64);
    f->count--;
    if (status != ARES_EDESTRUCTION) {
        if (status == ARES_SUCCESS && n >= DNS_HEADER_BYTES &&
            is_asked(p, answer, (size_t)n))
            pass_on(p, answer, (size_t)n);
        else
            give_up(p);
    }
    free(p);
}

/* --- Asking ------------------------------------------------------------------------ */

static bool take_id(struct forwarder *f, uint16_t *ret)
{
    for (int i = 0; i < 64; i++) {
        uint16_t id;
        if (getrandom(&id, sizeof id, 0) != sizeof id)
            return false;
        if (f->ids[id / 64] >> id % 64 & 1)
            continue;
        f->ids[id / 64] |= UINT64_C(1) << id % 64;
        *ret = id;
        return true;
    }
    return false;
}

static struct pending *pending_new(struct forwarder *f, struct bytes packet,
                                   struct forward_to *to)
{
    bool room =
        f->count < DNSD_FORWARDED_MAX && packet.n <= DNSD_QUERY_BYTES_MAX;
    struct pending *p = room ? calloc(1, sizeof *p + packet.n) : NULL;
    struct dns_query q;

    if (!p)
        return NULL;
    if (!take_id(f, &p->id)) {
        free(p);
        return NULL;
    }
    p->forwarder = f;
    p->to = to;
    p->n = packet.n;
    memcpy(p->query, packet.p, packet.n);
    p->most = to->tcp ? DNS_TCP_MOST : DNS_UDP_PLAIN;
    if (!to->tcp && dns_query_parse(packet, &q) == DNS_PARSED && q.edns &&
        q.udp_size > p->most)
        p->most = q.udp_size;
    f->count++;
    return p;
}

static void refuse(struct forwarder *f, struct bytes packet,
                   struct forward_to *to)
{
    uint8_t out[DNS_UDP_PLAIN];
    size_t n = dns_refuse(packet, DNS_SERVFAIL, true, out, sizeof out);

    f->thread->counts[METRIC_DNS_RECURSOR_FULL]++;
    to->done(to, out, n);
}

void forward(struct forwarder *f, struct bytes packet, struct forward_to *to)
{
    struct pending *p = pending_new(f, packet, to);
    uint8_t ask[DNSD_QUERY_BYTES_MAX];

    if (!p) {
        refuse(f, packet, to);
        return;
    }
    f->thread->counts[METRIC_DNS_FORWARDED]++;
    memcpy(ask, packet.p, packet.n);
    ask[0] = (uint8_t)(p->id >> 8);
    ask[1] = (uint8_t)p->id;
    ares_send(f->channel[to->tcp].ares, ask, (int)packet.n, on_answer, p);
    set_timer(f);
}

/* --- Life -------------------------------------------------------------------------- */

static bool put_recursor(char ret[64], struct bytes host, const char *port)
{
    char text[64];
    uint8_t ip[16];

    if (host.n == 0 || host.n >= INET6_ADDRSTRLEN)
        return false;
    memcpy(text, host.p, host.n);
    text[host.n] = 0;
    if (inet_pton(AF_INET, text, ip) == 1)
        return snprintf(ret, 64, "%s:%s", text, port) < 64;
    if (inet_pton(AF_INET6, text, ip) == 1)
        return snprintf(ret, 64, "[%s]:%s", text, port) < 64;
    return false;
}

enum err dnsd_recursor(struct bytes text, char ret[64])
{
    struct bytes host = text, port = bytes_str("53");
    char port_text[6];
    uint64_t number;
    size_t colon = bytes_find(text, ':');

    if (text.n && text.p[0] == '[') {
        size_t end = bytes_find(text, ']');
        host = bytes_skip(bytes_head(text, end), 1);
        port = bytes_skip(text, end + 1);
        if (port.n && port.p[0] == ':')
            port = bytes_skip(port, 1);
        else if (port.n == 0)
            port = bytes_str("53");
    } else if (bytes_find(bytes_skip(text, colon + 1), ':') ==
                   bytes_skip(text, colon + 1).n &&
               colon < text.n) { /* one colon: not IPv6 */
        host = bytes_head(text, colon);
        port = bytes_skip(text, colon + 1);
    }
    if (bytes_u64(port, &number) != ERR_OK || number == 0 || number > 65535)
        return ERR_BAD;
    (void)snprintf(port_text, sizeof port_text, "%u", (unsigned)number);
    return put_recursor(ret, host, port_text) ? ERR_OK : ERR_BAD;
}

static enum err open_channel(struct channel *c, const char *servers, bool tcp)
{
    const struct dnsd_options *d = &c->forwarder->thread->d->o;
    struct ares_options o = {
        /* REFUSED and SERVFAIL of one server: the next is asked. */
        .flags = (tcp ? ARES_FLAG_USEVC : ARES_FLAG_IGNTC) |
                 ARES_FLAG_STAYOPEN | ARES_FLAG_NOALIASES | ARES_FLAG_NOSEARCH,
        .timeout = (int)d->recursor_timeout_ms,
        .tries = 1,
        .sock_state_cb = on_socket_state,
        .sock_state_cb_data = c,
    };
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
               ARES_OPT_SOCK_STATE_CB |
               (d->recursor_rotate ? ARES_OPT_ROTATE : ARES_OPT_NOROTATE);

    if (ares_init_options(&c->ares, &o, mask) != ARES_SUCCESS)
        return ERR_NOMEM;
    return ares_set_servers_ports_csv(c->ares, servers) == ARES_SUCCESS
               ? ERR_OK
               : ERR_BAD;
}

enum err forwarder_open(struct dnsd_thread *t, struct forwarder **ret,
                        struct errtext *text)
{
    const struct dnsd_options *o = &t->d->o;
    struct forwarder *f = calloc(1, sizeof *f);
    char servers[SERVERS_TEXT_MAX], one[64];
    size_t n = 0;
    enum err e = f ? ERR_OK : ERR_NOMEM;

    for (size_t i = 0; e == ERR_OK && i < o->recursor_count; i++) {
        e = dnsd_recursor(bytes_str(o->recursors[i]), one);
        if (e == ERR_OK)
            n += (size_t)snprintf(servers + n, sizeof servers - n, "%s%s",
                                  i ? "," : "", one);
        else
            errtext_set(text, "recursors: %.80s is no address",
                        o->recursors[i]);
    }
    for (int i = 0; e == ERR_OK && i < CHANNELS; i++) {
        struct channel *c = &f->channel[i];
        c->forwarder = f;
        f->thread = t;
        f->timer.fire = on_timer;
        list_init(&c->sockets);
        e = open_channel(c, servers, i == 1);
    }
    *ret = f;
    return e; /* else the process ends */
}

void forwarder_close(struct forwarder *f)
{
    for (int i = 0; i < CHANNELS; i++)
        ares_destroy(f->channel[i].ares);
    timer_clear(&f->thread->timers, &f->timer);
    free(f);
}
