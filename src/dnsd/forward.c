/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Questions about other people's names, handed on to recursors. An answer counts if it
 * comes from the address that was asked, with the id and the question that were
 * sent; the next server is asked after a time-out, a refusal or SERVFAIL. Nothing is
 * kept: a lie that gets through all of this is told to one client once.
 *
 * Over UDP each question has a socket of its own (a port that the kernel draws) and
 * an id drawn here for each server, so a stranger has to guess some 30 bits. This is
 * not left to c-ares, which cuts answers to queries that are not its own at 512
 * bytes (ask.c). What came over TCP is asked over TCP, by c-ares. An answer over UDP
 * that says it is not whole is passed on as it is. */
#include <ares.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/check.h"
#include "dnsd/impl.h"

enum { SERVERS_TEXT_MAX = DNSD_RECURSORS_MAX * 64 };

struct server_socket {
    struct list link;
    struct forwarder *forwarder;
    struct watch *watch;
    int fd;
};

struct forwarder {
    struct dnsd_thread *thread;
    struct asker *asker; /* UDP */
    ares_channel ares;   /* TCP */
    struct list sockets;
    struct timer timer;
    size_t count;
    uint64_t ids[65536 / 64]; /* in flight, over TCP */
};

struct pending {
    struct forwarder *forwarder;
    struct forward_to *to;
    uint16_t id; /* ours, over TCP */
    size_t most; /* bytes that the client takes */
    size_t n;
    uint8_t query[]; /* with the client's id */
};

/* --- c-ares on libuv ------------------------------------------------------------ */

static void set_timer(struct forwarder *f)
{
    struct timeval tv, *next = ares_timeout(f->ares, NULL, &tv);

    if (next)
        timer_set(&f->thread->timers, &f->timer,
                  (uint64_t)next->tv_sec * 1000 +
                      (uint64_t)next->tv_usec / 1000 + 1);
    else
        timer_clear(&f->thread->timers, &f->timer);
}

static void on_timer(struct timer *t)
{
    struct forwarder *f = container_of(t, struct forwarder, timer);

    ares_process_fd(f->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    set_timer(f);
    thread_count(f->thread);
}

static void on_socket(void *owner, int events)
{
    struct server_socket *s = owner;
    struct forwarder *f = s->forwarder;
    int fd = s->fd; /* s may go */

    ares_process_fd(f->ares, events & UV_READABLE ? fd : ARES_SOCKET_BAD,
                    events & UV_WRITABLE ? fd : ARES_SOCKET_BAD);
    set_timer(f);
    thread_count(f->thread);
}

static struct server_socket *find_socket(struct forwarder *f, int fd)
{
    list_each (it, &f->sockets) {
        struct server_socket *s = container_of(it, struct server_socket, link);
        if (s->fd == fd)
            return s;
    }
    return NULL;
}

/* Without memory for it, the query ends by its time-out. */
static struct server_socket *add_socket(struct forwarder *f, int fd)
{
    struct server_socket *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->forwarder = f;
    s->fd = fd;
    s->watch = watch_open(&f->thread->loop, fd, on_socket, s);
    if (!s->watch) {
        free(s);
        return NULL;
    }
    list_add(&f->sockets, &s->link);
    return s;
}

static void on_socket_state(void *ctx, int fd, int readable, int writable)
{
    struct forwarder *f = ctx;
    struct server_socket *s = find_socket(f, fd);

    if (!readable && !writable) { /* about to be closed */
        if (!s)
            return;
        list_del(&s->link);
        watch_close(s->watch);
        free(s);
        return;
    }
    if (!s)
        s = add_socket(f, fd);
    if (s)
        watch_for(s->watch,
                  (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0));
}

/* --- Answers ----------------------------------------------------------------------- */

static void give_up(struct pending *p)
{
    uint8_t out[DNS_UDP_PLAIN];
    size_t n = dns_refuse(bytes_of(p->query, p->n), DNS_SERVFAIL,
                          &(struct dns_ede){"no recursor answered",
                                            DNS_EDE_NO_REACHABLE_AUTHORITY},
                          true, out, sizeof out);

    p->forwarder->thread->counts[METRIC_DNS_RECURSOR_FAILED]++;
    p->to->done(p->to, out, n);
}

static void pass_on(struct pending *p, uint8_t *answer, size_t n)
{
    uint8_t out[DNS_UDP_PLAIN];

    if (n > p->most) {
        n = dns_refuse(bytes_of(p->query, p->n), DNS_NOERROR, NULL, true, out,
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

/* An answer without the question that was asked, case aside, is nobody's. */
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

static void settle(struct pending *p, uint8_t *answer, size_t n)
{
    p->forwarder->count--;
    if (answer && is_asked(p, answer, n))
        pass_on(p, answer, n);
    else
        give_up(p);
    free(p);
}

static void on_tcp_answer(void *arg, int status, int timeouts,
                          unsigned char *answer, int n)
{
    struct pending *p = arg;
    struct forwarder *f = p->forwarder;
    bool good = status == ARES_SUCCESS && n >= DNS_HEADER_BYTES;

    (void)timeouts;
    f->ids[p->id / 64] &= ~(UINT64_C(1) << p->id % 64);
    if (status == ARES_EDESTRUCTION)
        free(p);
    else
        settle(p, good ? answer : NULL, (size_t)n);
}

static void on_udp_answer(void *arg, uint8_t *answer, size_t n)
{
    settle(arg, answer, n);
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
    bool room = f->count < f->thread->d->o.forwarded_max &&
                packet.n <= DNSD_QUERY_BYTES_MAX;
    struct pending *p = room ? calloc(1, sizeof *p + packet.n) : NULL;
    struct dns_query q;

    if (!p)
        return NULL;
    if (to->tcp && !take_id(f, &p->id)) {
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
    size_t n = dns_refuse(
        packet, DNS_SERVFAIL,
        &(struct dns_ede){"too many wait for recursors", DNS_EDE_OTHER}, true,
        out, sizeof out);

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
    if (!to->tcp) {
        ask_udp(f->asker, bytes_of(p->query, p->n), on_udp_answer, p);
        return;
    }
    memcpy(ask, packet.p, packet.n);
    ask[0] = (uint8_t)(p->id >> 8);
    ask[1] = (uint8_t)p->id;
    ares_send(f->ares, ask, (int)packet.n, on_tcp_answer, p);
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

static enum err open_tcp(struct forwarder *f, const char *servers)
{
    const struct dnsd_options *d = &f->thread->d->o;
    struct ares_options o = {
        .flags = ARES_FLAG_USEVC | ARES_FLAG_STAYOPEN | ARES_FLAG_NOALIASES |
                 ARES_FLAG_NOSEARCH,
        .timeout = (int)d->recursor_timeout_ms,
        .tries = 1,
        .sock_state_cb = on_socket_state,
        .sock_state_cb_data = f,
    };
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
               ARES_OPT_SOCK_STATE_CB |
               (d->recursor_rotate ? ARES_OPT_ROTATE : ARES_OPT_NOROTATE);

    if (ares_init_options(&f->ares, &o, mask) != ARES_SUCCESS)
        return ERR_NOMEM;
    return ares_set_servers_ports_csv(f->ares, servers) == ARES_SUCCESS
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
    enum err e = f ? asker_open(t, &f->asker) : ERR_NOMEM;

    for (size_t i = 0; e == ERR_OK && i < o->recursor_count; i++) {
        e = dnsd_recursor(bytes_str(o->recursors[i]), one);
        if (e == ERR_OK)
            e = asker_add(f->asker, one);
        if (e == ERR_OK)
            n += (size_t)snprintf(servers + n, sizeof servers - n, "%s%s",
                                  i ? "," : "", one);
        else
            errtext_set(text, "recursors: %.80s is no address",
                        o->recursors[i]);
    }
    if (e == ERR_OK) {
        f->thread = t;
        f->timer.fire = on_timer;
        list_init(&f->sockets);
        e = open_tcp(f, servers);
    }
    *ret = f;
    return e; /* else the process ends */
}

void forwarder_close(struct forwarder *f)
{
    ares_destroy(f->ares);
    asker_close(f->asker);
    timer_clear(&f->thread->timers, &f->timer);
    free(f);
}
