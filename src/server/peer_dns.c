/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* DNS questions of agents and of other datacenters' servers (PUT /v1/peer/dns). An
 * agent asks about all that it does not mirror, other datacenters among it: what is
 * not mirrored here either goes on to a server there. What comes from another
 * datacenter is about this one, and goes nowhere. */
#include <stdlib.h>

#include "loop/peer.h"
#include "server/peer_serve.h"
#include "server/zones.h"

enum {
    CACHE_BYTES = 1 << 20,
    ANSWER_BYTES = 65535,
    SERVER_BYTES = 300,
    TRIES = 2,
    ASK_MS = 1500, /* who asks here waits for two seconds */
};

struct peer_dns {
    char datacenter[DNS_LABEL_MAX + 1];
    size_t tries;
    bool tcp;
    size_t n;
    uint8_t query[];
};

static bool is_tcp(const struct api_call *call)
{
    return http_param(call->request, "tcp") != NULL;
}

static enum dns_verdict answer_here(struct serving *s, struct api_call *call,
                                    struct dns_told *told)
{
    struct process *p = s->process;
    struct buf *out = &call->body;
    uint8_t *space = (uint8_t *)buf_room(out, ANSWER_BYTES);
    bool forwarded = http_header(call->request, API_FORWARDED_HEADER).n > 0;
    size_t n = 0;
    const struct dns_env env = {
        .cat = s->env.cat,
        .set = atomic_load_explicit(&p->dns, memory_order_acquire),
        .changes = &p->dns_changes,
        .zones = forwarded ? NULL : &p->zones,
        .now_s = (uint32_t)(serving_wall_ms() / 1000),
        .random = s->random += UINT64_C(0x9e3779b97f4a7c15),
        .transport = is_tcp(call) ? DNS_OVER_TCP : DNS_OVER_UDP,
    };

    if (!s->dns && dns_worker_new(CACHE_BYTES, &s->dns) != ERR_OK)
        s->dns = NULL;
    if (!s->dns || !space || !env.set)
        return DNS_SILENCE;
    enum dns_verdict v = dns_answer(s->dns, &env, call->request->body, space,
                                    ANSWER_BYTES, &n, told);
    out->n += v == DNS_ANSWERED ? n : 0;
    return v;
}

static void is_message(struct api_call *call)
{
    call->status = 200;
    call->content_type = "application/dns-message";
}

static void refuse(struct api_call *call, struct bytes query,
                   enum dns_rcode rcode, const struct dns_ede *why)
{
    uint8_t out[DNS_UDP_PLAIN];
    size_t n = dns_refuse(query, rcode, why, false, out, sizeof out);

    buf_put(&call->body, bytes_of(out, n));
    is_message(call);
}

/* --- Another datacenter ------------------------------------------------------ */

static void end(struct peer_wait *w)
{
    free(w->dns);
    peer_wait_end(w);
}

static void lost(struct peer_wait *w)
{
    static const struct dns_ede why = {
        "no server of that datacenter can be reached",
        DNS_EDE_NO_REACHABLE_AUTHORITY};

    refuse(&w->call, bytes_of(w->dns->query, w->dns->n), DNS_SERVFAIL, &why);
    end(w);
}

static void ask(struct peer_wait *w);

static void answered(void *ctx, const struct fetch_result *r)
{
    struct peer_wait *w = ctx;

    if (r->err == ERR_OK && r->status == 200) {
        buf_put(&w->call.body, r->body);
        is_message(&w->call);
        end(w);
    } else if (++w->dns->tries < TRIES && w->conn) {
        ask(w);
    } else {
        lost(w);
    }
}

static void ask(struct peer_wait *w)
{
    static const struct fetch_header headers[] = {
        {"Content-Type", "application/dns-message"},
        {API_FORWARDED_HEADER, "1"}};
    struct serving *s = w->serving;
    struct peers *peers = serving_peers(s);
    const struct peer_dns *d = w->dns;
    char server[SERVER_BYTES];

    serving_pin(s);
    bool there = zones_server_of(s->process, bytes_str(d->datacenter), d->tries,
                                 server, sizeof server);
    serving_unpin(s);
    const struct peer_request q = {
        .to = server,
        .method = "PUT",
        .target = d->tcp ? "/v1/peer/dns?tcp" : "/v1/peer/dns",
        .body = bytes_of(d->query, d->n),
        .timeout_ms = ASK_MS,
        .headers = headers,
        .header_count = 2,
    };
    if (!there || !peers || peer_ask(peers, &q, answered, w, NULL) != ERR_OK)
        lost(w);
}

static void ask_there(struct serving *s, struct conn *c, struct api_call *call,
                      const struct dns_told *told)
{
    struct bytes query = call->request->body;
    struct peer_dns *d = calloc(1, sizeof *d + query.n);
    struct peer_wait *w;

    if (!d) {
        api_error(call, 500, "out of memory");
        peer_answer(s, c, call);
        return;
    }
    memcpy(d->datacenter, told->wanted, told->wanted_n);
    d->tcp = is_tcp(call);
    d->n = query.n;
    memcpy(d->query, query.p, query.n);
    w = peer_wait_begin(s, c, call);
    if (!w) {
        free(d);
        return;
    }
    w->dns = d;
    ask(w);
}

/* --- Which ------------------------------------------------------------------- */

void peer_dns_begin(struct serving *s, struct conn *c, struct api_call *call)
{
    struct dns_told told = {0};

    if (!s->env.self->is_server || !s->env.ready) {
        api_error(call, 500, "No cluster leader");
        peer_answer(s, c, call);
        return;
    }
    switch (answer_here(s, call, &told)) {
    case DNS_ANSWERED:
        is_message(call);
        atomic_store(&s->process->dns_for_peers, true);
        break;
    case DNS_SILENCE:
        api_error(call, 400, "That is no DNS query");
        break;
    case DNS_ELSEWHERE:
        if (told.there) {
            ask_there(s, c, call, &told);
            return;
        }
        /* fall through */
    case DNS_FORWARD: /* none of ours: that is the agent's recursors' */
        refuse(call, call->request->body, DNS_REFUSED, NULL);
        break;
    }
    peer_answer(s, c, call);
}
