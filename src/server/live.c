/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/live.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "server/guard.h"
#include "server/serving.h"
#include "server/subscribers.h"

/* One block: the struct, its arrays, then all text. */
struct live_block {
    struct api_self self;
    char rest[];
};

static struct live_block *block_new(const struct api_self *self,
                                    const struct settings *s, size_t *ret_n)
{
    size_t nets = s->write_from_count * sizeof *s->write_from;
    size_t ends = s->block_endpoint_count * sizeof *s->block_endpoints;
    size_t text = s->node_meta.n + s->response_head.n;

    for (size_t i = 0; i < s->block_endpoint_count; i++)
        text += s->block_endpoints[i].n;
    *ret_n = sizeof(struct live_block) + ends + nets + text;
    struct live_block *b = xzalloc(*ret_n);
    struct bytes *endpoints = (struct bytes *)(void *)b->rest;
    struct net *from = (struct net *)(void *)(b->rest + ends);
    char *at = b->rest + ends + nets;

    b->self = *self;
    b->self.node_meta =
        (struct packed){bytes_append(&at, s->node_meta), s->node_meta_count};
    b->self.response_head = bytes_append(&at, s->response_head);
    for (size_t i = 0; i < s->block_endpoint_count; i++)
        endpoints[i] = bytes_append(&at, s->block_endpoints[i]);
    if (nets)
        memcpy(from, s->write_from, nets);
    b->self.block_endpoints = endpoints;
    b->self.block_endpoint_count = s->block_endpoint_count;
    b->self.write_from = from;
    b->self.write_from_count = s->write_from_count;
    b->self.block_default_ms = s->block_default_ms;
    b->self.block_max_ms = s->block_max_ms;
    b->self.allow_unprintable = s->allow_unprintable;
    b->self.prometheus = s->prometheus;
    b->self.guard = s->guard;
    b->self.guard_window_ms = s->guard_window_ms;
    return b;
}

static const struct api_self *replace(struct process *p,
                                      const struct settings *s)
{
    const struct api_self *old = atomic_load(&p->live);
    size_t n;
    struct live_block *b = block_new(&p->self, s, &n);

    b->self.generation = old ? old->generation + 1 : 1;
    subscribers_longest_wait(p->subscribers, b->self.block_max_ms
                                                 ? b->self.block_max_ms
                                                 : API_BLOCK_MAX_MS);
    atomic_store(&p->live, &b->self);
    return old;
}

/* Nobody publishes between the two: one step of the version frees both. */
static void retire(struct process *p, const struct api_self *old,
                   const struct dns_settings *old_dns)
{
    struct live_block *b = container_of(old, struct live_block, self);

    pin_retire(&p->pins, b, sizeof *b);
    pin_retire(&p->pins, (void *)(uintptr_t)old_dns, sizeof *old_dns);
    pin_publish(&p->pins);
}

static const struct dns_settings *replace_dns(struct process *p,
                                              const struct settings *s)
{
    const struct dns_settings *old = atomic_load(&p->dns);
    struct dns_settings *set =
        dns_settings_new(&s->dns, old ? old->generation + 1 : 1);

    set->node = p->self.node_name;
    atomic_store(&p->dns, set);
    return old;
}

void live_publish(struct process *p, const struct settings *s)
{
    (void)replace(p, s);
    (void)replace_dns(p, s);
}

void live_apply(struct core *c, const struct settings *s)
{
    struct process *p = c->process;
    const struct api_self *old = replace(p, s);
    const struct dns_settings *old_dns = replace_dns(p, s);
    const struct api_self *now = atomic_load(&p->live);
    uint32_t most = p->conn_limits.max_conns;
    uint32_t peer = s->http_max_conns_per_client;

    atomic_store(&p->conn_limits.max_conns_per_peer,
                 peer == 0 || peer > most ? most : peer);
    for (int i = 0; s->https && i < p->serving_count; i++)
        serving_tls(p->serving[i], s->https);
    c->me.node.meta = now->node_meta;
    c->me.guard = now->guard;
    agent_reconfigure(
        c->agent, &(struct agent_live){
                      .me = c->me,
                      .damping = s->damping,
                      .check_update_interval_ms = s->check_update_interval_ms,
                      .discard_output = s->discard_output,
                  });
    /* Only now: who read the old one on this thread has let go of it. */
    retire(p, old, old_dns);
    own_published(c);
    guard_configure(c);
}

void live_fini(struct process *p)
{
    const struct api_self *self = atomic_load(&p->live);

    if (self)
        free(container_of(self, struct live_block, self));
    atomic_store(&p->live, NULL);
    free((void *)(uintptr_t)atomic_load(&p->dns));
    atomic_store(&p->dns, NULL);
}
