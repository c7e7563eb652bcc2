/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Answers that end with somebody else's host name wait here for what a recursor
 * knows about it. Without its word they go out as they are. */
#include <stdlib.h>

#include "dnsd/impl.h"

struct following {
    struct forward_to to; /* of the question to the recursor */
    struct list link;
    struct dnsd_thread *thread;
    struct forward_to *client;
    size_t alias_at, packet_n, alone_n;
    uint8_t bytes[]; /* the client's query, the answer as it is */
};

static struct bytes alone_of(const struct following *f)
{
    return bytes_of(f->bytes + f->packet_n, f->alone_n);
}

static void found(struct forward_to *to, const uint8_t *p, size_t n)
{
    struct following *f = container_of(to, struct following, to);
    struct bytes alone = alone_of(f);
    uint8_t *out = malloc(DNS_TCP_MOST);
    size_t k = 0;

    if (out)
        k = dns_follow(bytes_of(f->bytes, f->packet_n),
                       to->tcp ? DNS_OVER_TCP : DNS_OVER_UDP, alone,
                       f->alias_at, bytes_of(p, n), out, DNS_TCP_MOST);
    if (k)
        f->client->done(f->client, out, k);
    else
        f->client->done(f->client, (const uint8_t *)alone.p, alone.n);
    free(out);
    list_del(&f->link);
    free(f);
}

void follow(struct dnsd_thread *t, struct bytes packet, struct bytes alone,
            size_t alias_at, struct forward_to *client)
{
    struct following *f = malloc(sizeof *f + packet.n + alone.n);
    uint8_t query[DNS_UDP_PLAIN];
    size_t n = dns_follow_query(packet, alone, alias_at, query, sizeof query);

    if (!f || n == 0) {
        free(f);
        client->done(client, (const uint8_t *)alone.p, alone.n);
        return;
    }
    *f = (struct following){.to = {found, client->tcp},
                            .thread = t,
                            .client = client,
                            .alias_at = alias_at,
                            .packet_n = packet.n,
                            .alone_n = alone.n};
    memcpy(f->bytes, packet.p, packet.n);
    memcpy(f->bytes + packet.n, alone.p, alone.n);
    list_add(&t->following, &f->link);
    forward(t->forwarder, bytes_of(query, n), &f->to);
}

void follow_close(struct dnsd_thread *t)
{
    while (!list_empty(&t->following)) {
        struct following *f =
            container_of(t->following.next, struct following, link);
        list_del(&f->link);
        free(f);
    }
}
