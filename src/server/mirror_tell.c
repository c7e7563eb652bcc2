/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* To the other datacenter its mirror here is one subscriber, a stream. Who reads
 * it here is told there as an agent tells who reads at it (behind.h), so that a
 * drain there waits for them too. */
#include <stdio.h>

#include "dns/dns.h"
#include "server/mirrors_impl.h"
#include "server/subscribers.h"

enum { TELL_MS = 2000 };

/* Whatever the service. */
static uint64_t dns_most_ms(const struct process *p)
{
    const struct dns_settings *set = atomic_load(&p->dns);
    uint32_t most = 0;

    if (!set || (!p->dnsd && !atomic_load(&p->dns_for_peers)))
        return 0;
    most = set->calm_ttl_s;
    for (size_t i = 0; i < set->service_ttl_count; i++)
        if (set->service_ttl[i].ttl_s > most)
            most = set->service_ttl[i].ttl_s;
    return (uint64_t)most * 1000;
}

static void told(void *ctx, const struct fetch_result *r)
{
    struct dc_mirror *m = ctx;

    m->ack = NULL;
    behind_heard(&m->said, r->err == ERR_OK && r->status == 200);
}

static void say(struct dc_mirror *m, const struct behind *b, uint64_t since_ms)
{
    struct buf body = {0};

    behind_say(&m->said, b, since_ms, &body);
    const struct peer_request q = {.to = m->to,
                                   .method = "PUT",
                                   .target = "/v1/peer/behind",
                                   .body = buf_bytes(&body),
                                   .timeout_ms = TELL_MS};
    if (body.bad || peer_ask(m->all->peers, &q, told, m, &m->ack) != ERR_OK)
        behind_heard(&m->said, false);
    buf_fini(&body);
}

void mirror_tell(struct dc_mirror *m)
{
    const struct process *p = m->all->core->process;
    uint64_t since_ms = process_now_ms(); /* before it is looked */
    uint64_t seen = m->settled; /* a second ago: all threads know of that */
    struct behind_dns dns = {bytes_str(""), dns_most_ms(p)};
    char name[200];
    struct behind b;
    struct arena a;

    m->settled = mirror_revision(m->mirror);
    subscribers_longest_wait(
        m->readers, (subscribers_memory_ms(p->subscribers) * 10 + 10) / 11);
    if (!mirror_subscriber(m->mirror)[0] || m->ack)
        return;
    arena_init(&a, 0);
    bool all = subscribers_collect(m->readers, catalog_current(m->catalog),
                                   seen, m->said.taken.since_ms, &a, &b);
    snprintf(name, sizeof name, "%.*s (%.*s)",
             BYTES_ARG(bytes_head(p->self.node_name, 100)),
             BYTES_ARG(bytes_head(p->self.datacenter, 64)));
    b.subscriber = bytes_str(mirror_subscriber(m->mirror));
    b.agent = bytes_str(name);
    b.index = all ? seen : 0;
    b.dns = &dns;
    b.dns_count = dns.ttl_ms > 0;
    if (b.rows && b.readers && behind_is_new(&m->said, &b))
        say(m, &b, since_ms);
    arena_fini(&a);
}
