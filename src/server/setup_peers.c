/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Settings about servers and agents among themselves. */
#include <stdio.h>

#include "base/log.h"
#include "server/setup_impl.h"

static bool listens(const struct agent_config *c)
{
    return c->ports.serf_lan > 0 && c->join.safe;
}

enum err setup_peers(struct setup *s)
{
    const struct agent_config *c = &s->config;
    struct run_peers *p = &s->settings.peers;

    *p = (struct run_peers){
        .secret = c->join.key,
        .join = c->join.all.v,
        .join_count = c->join.all.n,
        .start_count = c->join.start.n,
        .retry_ms = c->join.interval_ms,
        .attempts_max = (uint64_t)c->join.attempts_max,
        .expect = (uint64_t)c->bootstrap_expect,
        .bootstrap = c->bootstrap,
        .quota = (uint64_t)c->store_quota,
    };
    if (p->secret.n && (!tls_psk_from(p->secret, &p->psk) ||
                        tls_server_new_psk(&p->psk, &p->tls) != ERR_OK))
        return ERR_NOMEM;
    snprintf(s->peer_port, sizeof s->peer_port, "%d",
             listens(c) ? c->ports.serf_lan : 0);
    s->settings.mirror_idle_ms = c->mirror_idle_ms;
    p->wan = c->server && c->ports.serf_wan > 0 && c->join.safe;
    p->address_wan = c->advertise_addr_wan ? c->advertise_addr_wan
                                           : s->settings.advertise_addr;
    p->join_wan = c->join.all_wan.v;
    p->join_wan_count = c->join.all_wan.n;
    p->retry_wan_ms = (uint64_t)c->join.interval_wan_ms;
    s->settings.mirror = (struct run_mirror){
        .off = c->mirror.off,
        .services = c->mirror.services.v,
        .service_count = c->mirror.services.n,
        .tags = c->mirror.tags.v,
        .tag_count = c->mirror.tags.n,
        .bytes_max = (size_t)c->mirror.max_bytes,
        .age_max_ms = c->mirror.max_age_ms,
        .failover_age_max_ms = c->mirror.failover_max_age_ms,
    };
    if (listens(c))
        s->settings.listeners[s->settings.listener_count++] =
            (struct run_listener){
                .address = s->settings.bind_addr,
                .port = c->ports.serf_lan,
                .peers = true,
            };
    if (p->wan)
        s->settings.listeners[s->settings.listener_count++] =
            (struct run_listener){
                .address = s->settings.bind_addr,
                .port = c->ports.serf_wan,
                .peers = true,
            };
    return ERR_OK;
}

void setup_peers_notices(const struct setup *s)
{
    const struct agent_config *c = &s->config;

    if (!c->server && !s->settings.peers.join_count)
        log_warn("agent", "neither -server nor servers to join (retry_join, "
                          "-retry-join): this process serves a catalog of its "
                          "own, as one server does");
    if (c->ports.serf_lan > 0 && !c->join.safe)
        log_info("peers",
                 "nobody can join this agent: bind_addr=%s is open to the "
                 "network and there is no key; to change that, set encrypt "
                 "(muster keygen makes one)",
                 c->bind_addr);
    if (c->server && !c->store && c->bootstrap_expect > 1 &&
        c->bootstrap_expect % 2 == 0)
        log_warn("peers",
                 "bootstrap_expect = %lld: as many servers may be lost as with "
                 "one fewer%s; an odd number is better",
                 (long long)c->bootstrap_expect,
                 c->bootstrap_expect == 2 ? ", which is none" : "");
}
