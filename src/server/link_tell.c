/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What this agent says of those who read here: which index all of them have, and
 * who has not (behind.h). A server's drain waits for that. Said soon after a
 * change, then once in a second at the most, or more often while somebody is
 * late; nothing is said as long as nothing is new. */
#include "dns/dns.h"
#include "server/link_impl.h"
#include "server/serving.h"
#include "server/subscribers.h"

/* --- What ---------------------------------------------------------------- */

struct names {
    struct behind *to;
    const struct dns_settings *set;
};

static void add_dns(void *ctx, struct bytes name)
{
    struct names *n = ctx;
    uint64_t ttl_ms = (uint64_t)dns_service_ttl_most(n->set, name) * 1000;

    if (ttl_ms && n->to->dns_count < BEHIND_DNS_MAX)
        n->to->dns[n->to->dns_count++] = (struct behind_dns){name, ttl_ms};
}

static bool collect(struct link *l, struct arena *a, struct behind *b)
{
    struct process *p = l->core->process;
    uint64_t seen = serving_seen(p);
    bool all = subscribers_collect(p->subscribers, catalog_current(p->catalog),
                                   seen, l->said.taken.since_ms, a, b);

    b->dns = arena_alloc(a, BEHIND_DNS_MAX * sizeof *b->dns);
    struct names n = {b, atomic_load(&p->dns)};
    if (p->dnsd && n.set && b->dns)
        mirror_services(l->mirror, add_dns, &n);
    b->subscriber = bytes_str(mirror_subscriber(l->mirror));
    b->agent = p->self.node_name;
    b->index = all && b->dns ? seen : 0;
    return b->rows && b->readers && b->dns;
}

/* --- Saying it ----------------------------------------------------------- */

static void set_timer(struct link *l, uint64_t ms)
{
    if (l->up && !l->stopped && !l->tell.item.in)
        timer_set(&l->core->timers, &l->tell, ms ? ms : 1);
}

/* Not taken: all is said again, with the next beat. */
static void told(void *ctx, const struct fetch_result *r)
{
    struct link *l = ctx;

    l->ack = NULL;
    behind_heard(&l->said, r->err == ERR_OK && r->status == 200);
}

static void say(struct link *l, const struct behind *b, uint64_t since_ms)
{
    struct buf body = {0};

    behind_say(&l->said, b, since_ms, &body);
    const struct peer_request q = {.to = link_address(l),
                                   .method = "PUT",
                                   .target = "/v1/peer/behind",
                                   .body = buf_bytes(&body),
                                   .timeout_ms = LINK_BEAT_LOST_MS};
    l->told_ms = process_now_ms();
    if (body.bad || peer_ask(l->peers, &q, told, l, &l->ack) != ERR_OK)
        behind_heard(&l->said, false); /* then with the next beat */
    buf_fini(&body);
}

void tell_now(struct link *l)
{
    struct arena a;
    struct behind b;
    uint64_t since_ms = process_now_ms(); /* before it is looked */

    if (!mirror_subscriber(l->mirror)[0] || l->ack)
        return;
    arena_init(&a, 0);
    if (collect(l, &a, &b)) {
        bool early = since_ms < l->told_ms + BEHIND_EVERY_MS;
        if (early ? behind_hash(&b) != l->said.taken.hash
                  : behind_is_new(&l->said, &b))
            say(l, &b, since_ms);
        if (b.late)
            set_timer(l, BEHIND_GAP_MS);
        else if (b.index < mirror_revision(l->mirror) ||
                 behind_is_new(&l->said, &b))
            tell_soon(l);
    }
    arena_fini(&a);
}

/* --- When ---------------------------------------------------------------- */

static void on_tell(struct timer *t)
{
    tell_now(container_of(t, struct link, tell));
}

void tell_init(struct link *l)
{
    l->tell.fire = on_tell;
}

void tell_anew(struct link *l)
{
    l->said = (struct behind_said){0};
}

void tell_soon(struct link *l)
{
    uint64_t now = process_now_ms(), next = l->told_ms + BEHIND_EVERY_MS;

    set_timer(l, next > now + BEHIND_SOON_MS ? next - now : BEHIND_SOON_MS);
}

void tell_close(struct link *l)
{
    timer_clear(&l->core->timers, &l->tell);
    if (l->ack)
        fetch_cancel(l->ack);
    l->ack = NULL;
}
