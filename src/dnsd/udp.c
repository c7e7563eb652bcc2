/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Packets in batches: one recvmmsg, one pin, one sendmmsg for up to BATCH of them.
 *
 * On a socket that is bound to all addresses, an answer has to leave from the
 * address that was asked: the kernel tells which (IP_PKTINFO), and the same control
 * message goes back with the answer. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "dnsd/impl.h"

enum {
    BATCH = 64,
    BATCHES_MAX = 16,    /* then TCP and time-outs get their turn */
    PACKET_BYTES = 1500, /* of a query; longer ones are cut and refused */
    CONTROL_BYTES = 64,
};

struct udp_socket {
    struct udp *udp;
    int fd;
    struct watch *watch;
};

struct udp {
    struct dnsd_thread *thread;
    struct udp_socket socket[DNSD_ADDRESSES_MAX];
    size_t socket_count;
    struct list waiting; /* struct later */
    struct mmsghdr in[BATCH], out[BATCH];
    struct iovec in_part[BATCH], out_part[BATCH];
    struct sockaddr_in6 from[BATCH]; /* the larger of both families */
    uint8_t control[BATCH][CONTROL_BYTES] __attribute__((aligned(8)));
    uint8_t packet[BATCH][PACKET_BYTES];
    uint8_t answer[BATCH][DNS_UDP_MOST];
    char datacenter[BATCH][DNS_LABEL_MAX + 1]; /* who is asked, if not here */
};

/* A query that was forwarded. */
struct later {
    struct forward_to to;
    struct list link;
    struct udp_socket *socket;
    struct sockaddr_in6 from;
    socklen_t from_n;
    size_t control_n;
    uint8_t control[CONTROL_BYTES] __attribute__((aligned(8)));
};

/* --- Sending ------------------------------------------------------------------- */

/* Where the packet arrived is where the answer leaves; by which interface is for
 * the routes to say, unless the address means nothing without it. */
static void free_interface(struct msghdr *m)
{
    struct cmsghdr *c;

    for (c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        struct in_pktinfo v4;
        struct in6_pktinfo v6;
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            memcpy(&v4, CMSG_DATA(c), sizeof v4);
            v4.ipi_ifindex = 0;
            memcpy(CMSG_DATA(c), &v4, sizeof v4);
        } else if (c->cmsg_level == IPPROTO_IPV6 &&
                   c->cmsg_type == IPV6_PKTINFO) {
            memcpy(&v6, CMSG_DATA(c), sizeof v6);
            if (!IN6_IS_ADDR_LINKLOCAL(&v6.ipi6_addr))
                v6.ipi6_ifindex = 0;
            memcpy(CMSG_DATA(c), &v6, sizeof v6);
        }
    }
}

/* What cannot be sent at once is lost, as UDP may: the client asks again. */
static void send_all(struct udp *u, int fd, unsigned n)
{
    unsigned sent = 0;

    while (sent < n) {
        int k = sendmmsg(fd, u->out + sent, n - sent, MSG_DONTWAIT);
        if (k > 0) {
            sent += (unsigned)k;
            continue;
        }
        if (errno == EINTR)
            continue;
        u->thread->counts[METRIC_DNS_UNSENT]++;
        sent++; /* the others may go elsewhere */
    }
}

/* --- Forwarding ------------------------------------------------------------------- */

static void later_free(struct later *l)
{
    list_del(&l->link);
    free(l);
}

static void forwarded(struct forward_to *to, const uint8_t *p, size_t n)
{
    struct later *l = container_of(to, struct later, to);
    struct iovec part = {(void *)(uintptr_t)p, n};
    struct msghdr m = {.msg_name = &l->from,
                       .msg_namelen = l->from_n,
                       .msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = l->control_n ? l->control : NULL,
                       .msg_controllen = l->control_n};

    if (n)
        free_interface(&m);
    if (n && sendmsg(l->socket->fd, &m, MSG_DONTWAIT) < 0)
        metric_add(METRIC_DNS_UNSENT, 1);
    later_free(l);
}

/* alone: an answer to be followed from alias_at on; empty: there is none yet. */
static void put_later(struct udp_socket *s, unsigned i, struct bytes packet,
                      struct bytes alone, size_t alias_at, bool elsewhere)
{
    struct udp *u = s->udp;
    const struct msghdr *m = &u->in[i].msg_hdr;
    struct later *l = calloc(1, sizeof *l);

    if (!l)
        return;
    l->to.done = forwarded;
    l->socket = s;
    l->from = u->from[i];
    l->from_n = m->msg_namelen;
    l->control_n = m->msg_controllen;
    memcpy(l->control, u->control[i], l->control_n);
    list_add(&u->waiting, &l->link);
    if (elsewhere) {
        memcpy(l->to.datacenter, u->datacenter[i], sizeof l->to.datacenter);
        remote(u->thread, packet, &l->to);
    } else if (alone.n) {
        follow(u->thread, packet, alone, alias_at, &l->to);
    } else {
        forward(u->thread->forwarder, packet, &l->to);
    }
}

/* --- Answering ---------------------------------------------------------------------- */

static struct bytes client_of(const struct sockaddr_in6 *from)
{
    const struct sockaddr_in *v4 =
        (const struct sockaddr_in *)(const void *)from;

    if (from->sin6_family == AF_INET)
        return bytes_of(&v4->sin_addr, 4);
    if (IN6_IS_ADDR_V4MAPPED(&from->sin6_addr))
        return bytes_of(from->sin6_addr.s6_addr + 12, 4);
    return bytes_of(&from->sin6_addr, 16);
}

static void put_answer(struct udp *u, unsigned i, unsigned at, size_t n)
{
    struct msghdr *in = &u->in[i].msg_hdr, *out = &u->out[at].msg_hdr;

    u->out_part[at] = (struct iovec){u->answer[i], n};
    out->msg_name = in->msg_name;
    out->msg_namelen = in->msg_namelen;
    out->msg_iov = &u->out_part[at];
    out->msg_iovlen = 1;
    out->msg_control = in->msg_controllen ? in->msg_control : NULL;
    out->msg_controllen = in->msg_controllen;
    if (in->msg_controllen)
        free_interface(out);
}

static void answer_all(struct udp_socket *s, unsigned n)
{
    struct udp *u = s->udp;
    struct dns_env env;
    unsigned answers = 0;
    uint64_t later = 0, elsewhere = 0;
    size_t alias_at[BATCH], bytes[BATCH];

    thread_enter(u->thread, &env);
    env.transport = DNS_OVER_UDP;
    for (unsigned i = 0; i < n; i++) {
        struct bytes packet = bytes_of(u->packet[i], u->in[i].msg_len);
        if (u->in[i].msg_hdr.msg_flags & MSG_TRUNC)
            packet.n = packet.n < DNS_HEADER_BYTES ? 0 : DNS_HEADER_BYTES;
        env.client = client_of(&u->from[i]);
        switch (thread_answer(u->thread, &env, packet, u->answer[i],
                              DNS_UDP_MOST, &bytes[i], &alias_at[i],
                              u->datacenter[i])) {
        case DNS_ANSWERED:
            if (alias_at[i])
                later |= UINT64_C(1) << i;
            else
                put_answer(u, i, answers++, bytes[i]);
            break;
        case DNS_FORWARD:
            bytes[i] = 0;
            later |= UINT64_C(1) << i;
            break;
        case DNS_ELSEWHERE:
            elsewhere |= UINT64_C(1) << i;
            break;
        case DNS_SILENCE:
            break;
        }
    }
    thread_leave(u->thread);
    send_all(u, s->fd, answers);
    for (unsigned i = 0; i < n && (later || elsewhere); i++) {
        struct bytes packet = bytes_of(u->packet[i], u->in[i].msg_len);
        if (elsewhere >> i & 1)
            put_later(s, i, packet, (struct bytes){NULL, 0}, 0, true);
        else if (later >> i & 1 && u->thread->forwarder)
            put_later(s, i, packet, bytes_of(u->answer[i], bytes[i]),
                      alias_at[i], false);
    }
}

static void prepare(struct udp *u)
{
    for (unsigned i = 0; i < BATCH; i++) {
        u->in_part[i] = (struct iovec){u->packet[i], PACKET_BYTES};
        u->in[i].msg_hdr = (struct msghdr){.msg_name = &u->from[i],
                                           .msg_namelen = sizeof u->from[i],
                                           .msg_iov = &u->in_part[i],
                                           .msg_iovlen = 1,
                                           .msg_control = u->control[i],
                                           .msg_controllen = CONTROL_BYTES};
    }
}

static void on_packets(void *owner, int events)
{
    struct udp_socket *s = owner;
    struct udp *u = s->udp;

    (void)events;
    for (int i = 0; i < BATCHES_MAX; i++) {
        prepare(u);
        int n = recvmmsg(s->fd, u->in, BATCH, MSG_DONTWAIT, NULL);
        if (n <= 0)
            break;
        answer_all(s, (unsigned)n);
        if (n < BATCH)
            break;
    }
    thread_count(u->thread);
}

/* --- Life ----------------------------------------------------------------------------- */

static bool is_any(int fd)
{
    struct sockaddr_in6 a = {0};
    socklen_t n = sizeof a;

    if (getsockname(fd, (struct sockaddr *)&a, &n) < 0)
        return false;
    if (a.sin6_family == AF_INET6)
        return IN6_IS_ADDR_UNSPECIFIED(&a.sin6_addr);
    return ((struct sockaddr_in *)(void *)&a)->sin_addr.s_addr == 0;
}

static void want_packet_info(int fd)
{
    int on = 1;

    if (!is_any(fd))
        return;
    (void)setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on);
}

enum err udp_open(struct dnsd_thread *t, const int *take_fds, size_t n,
                  struct udp **ret)
{
    struct udp *u = calloc(1, sizeof *u);

    if (!u)
        return ERR_NOMEM;
    u->thread = t;
    u->socket_count = n;
    list_init(&u->waiting);
    for (size_t i = 0; i < n; i++) {
        struct udp_socket *s = &u->socket[i];
        s->udp = u;
        s->fd = take_fds[i];
        want_packet_info(s->fd);
        s->watch = watch_open(&t->loop, s->fd, on_packets, s);
        if (!s->watch)
            return ERR_NOMEM; /* the process ends */
        watch_for(s->watch, UV_READABLE);
    }
    *ret = u;
    return ERR_OK;
}

void udp_close(struct udp *u)
{
    for (size_t i = 0; i < u->socket_count; i++) {
        watch_close(u->socket[i].watch);
        (void)close(u->socket[i].fd);
    }
    while (!list_empty(&u->waiting))
        later_free(container_of(u->waiting.next, struct later, link));
    free(u);
}
