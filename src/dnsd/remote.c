/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Questions about what is not mirrored here, as they came, to a server (PUT
 * /v1/peer/dns, the message as RFC 8484 has it), and its answer back: on an agent to
 * one of its servers, on a server to one of the datacenter that is asked about. The
 * next one is asked if one cannot be reached. After the first question about a
 * service an agent mirrors it, and answers itself. */
#include <stdlib.h>

#include "dnsd/impl.h"
#include "loop/peer.h"

enum { TRIES = 3, ASK_MS = 2000, SERVER_BYTES = 300 };

struct asked {
    struct list link; /* in thread->remote */
    struct dnsd_thread *thread;
    struct forward_to *to;
    size_t tries;
    size_t n;
    uint8_t query[];
};

static void finish(struct asked *a, const uint8_t *p, size_t n)
{
    struct forward_to *to = a->to;

    a->thread->asked--;
    list_del(&a->link);
    free(a);
    to->done(to, p, n);
}

static void give_up(struct asked *a)
{
    static const struct dns_ede why = {"no server can be reached",
                                       DNS_EDE_NOT_AUTHORITATIVE};
    static const struct dns_ede there = {
        "no server of that datacenter can be reached",
        DNS_EDE_NO_REACHABLE_AUTHORITY};
    uint8_t out[DNS_UDP_PLAIN];
    size_t n = dns_refuse(bytes_of(a->query, a->n), DNS_SERVFAIL,
                          a->to->datacenter[0] ? &there : &why, false, out,
                          sizeof out);

    finish(a, out, n);
}

static void ask(struct asked *a);

static void answered(void *ctx, const struct fetch_result *r)
{
    struct asked *a = ctx;

    if (r->err == ERR_OK && r->status == 200)
        finish(a, (const uint8_t *)r->body.p, r->body.n);
    else if (++a->tries < TRIES)
        ask(a);
    else
        give_up(a);
}

static void ask(struct asked *a)
{
    /* From another datacenter: to be answered there, not to be asked on. */
    static const struct fetch_header headers[] = {
        {"Content-Type", "application/dns-message"},
        {"X-Muster-Forwarded", "1"}};
    struct dnsd_thread *t = a->thread;
    const struct dnsd_options *o = &t->d->o;
    char server[SERVER_BYTES];

    pin_enter(o->pins, t->pin);
    bool there = o->server(o->ctx, bytes_str(a->to->datacenter), a->tries,
                           server, sizeof server);
    pin_leave(o->pins, t->pin);
    const struct peer_request q = {
        .to = server,
        .method = "PUT",
        .target = a->to->tcp ? "/v1/peer/dns?tcp" : "/v1/peer/dns",
        .body = bytes_of(a->query, a->n),
        .timeout_ms = ASK_MS,
        .headers = headers,
        .header_count = a->to->datacenter[0] ? 2 : 1,
    };
    if (!there || peer_ask(t->servers, &q, answered, a, NULL) != ERR_OK)
        give_up(a);
}

void remote(struct dnsd_thread *t, struct bytes packet, struct forward_to *to)
{
    const struct dnsd_options *o = &t->d->o;
    struct asked *a = NULL;

    if (!t->servers && peers_new(&t->loop, o->psk, &t->servers) != ERR_OK)
        t->servers = NULL;
    if (t->servers && t->asked < o->forwarded_max)
        a = malloc(sizeof *a + packet.n);
    if (!a) {
        to->done(to, NULL, 0);
        return;
    }
    *a = (struct asked){.thread = t, .to = to, .n = packet.n};
    memcpy(a->query, packet.p, packet.n);
    list_init(&a->link);
    list_add(&t->remote, &a->link);
    t->asked++;
    ask(a);
}

void remote_close(struct dnsd_thread *t)
{
    peers_close(t->servers);
    t->servers = NULL;
    while (!list_empty(&t->remote)) {
        struct asked *a = container_of(t->remote.next, struct asked, link);
        list_del(&a->link);
        free(a);
    }
}
