/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/link.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/net.h"
#include "http/json_in.h"
#include "http/json_out.h"
#include "server/events.h"
#include "server/gate.h"
#include "server/link_impl.h"
#include "server/place.h"

static uint64_t now_ms(const struct link *l)
{
    return uv_now(l->core->loop);
}

/* --- Servers ------------------------------------------------------------- */

/* A free one, or of one that failed: names stand for others by and by. */
static struct link_server *place(struct link *l)
{
    if (l->server_count < API_SERVERS_MAX)
        return &l->servers[l->server_count++];
    for (size_t i = 0; i < l->server_count; i++)
        if (i != l->at && l->servers[i].bad_until_ms)
            return &l->servers[i];
    return NULL;
}

/* NULL: there is no room for it. */
static struct link_server *know(struct link *l, const char *address)
{
    for (size_t i = 0; i < l->server_count; i++)
        if (strcmp(l->servers[i].address, address) == 0)
            return &l->servers[i];
    struct link_server *s = place(l);
    if (!s)
        return NULL;
    *s = (struct link_server){0};
    snprintf(s->address, sizeof s->address, "%s", address);
    return s;
}

/* Servers that were told of once and have left since. Where nobody answers for
 * their addresses each costs LINK_HELLO_MS, of which there are not many until this
 * agent counts as dead. */
static void forget_unlisted(struct link *l)
{
    size_t kept = 0, at = l->at;

    for (size_t i = 0; i < l->server_count; i++) {
        if (!l->servers[i].joined && !l->servers[i].listed && i != l->at)
            continue;
        if (i == l->at)
            at = kept;
        l->servers[kept++] = l->servers[i];
    }
    l->server_count = kept;
    l->at = at;
}

static void retire_list(struct process *p, const struct server_list *old)
{
    if (!old)
        return;
    pin_retire(&p->pins, (void *)(uintptr_t)old,
               sizeof *old + old->n * sizeof old->v[0]);
    pin_publish(&p->pins);
}

/* For those who forward. */
static void publish_servers(struct link *l)
{
    struct process *p = l->core->process;
    size_t n = l->server_count;
    struct server_list *s = xzalloc(sizeof *s + n * sizeof s->v[0]);

    s->n = n;
    for (size_t i = 0; i < n; i++)
        memcpy(s->v[i], l->servers[(l->at + i) % n].address, sizeof s->v[i]);
    const struct server_list *old = atomic_exchange(&p->servers, s);
    retire_list(p, old);
}

static size_t draw(struct link *l, size_t n)
{
    l->random = l->random * 6364136223846793005u + 1442695040888963407u;
    return (size_t)((l->random >> 33) % n);
}

/* The next one that may be tried, behind the one in use; false: none now. */
static bool choose(struct link *l)
{
    for (size_t i = 1; i <= l->server_count; i++) {
        size_t at = (l->at + i) % l->server_count;
        if (l->servers[at].bad_until_ms > now_ms(l))
            continue;
        l->at = at;
        return true;
    }
    return false;
}

static void try_next(struct link *l);

/* An agent serves its host with or without servers: what its configuration
 * defines does not wait for them. */
static void tell_ready(struct core *c)
{
    if (c->options.ready && !c->told_ready)
        c->options.ready(c->options.ctx);
    c->told_ready = true;
}

static void on_retry(struct timer *t)
{
    struct link *l = container_of(t, struct link, retry);

    tell_ready(l->core);
    try_next(l);
}

static void down(struct link *l, const char *why)
{
    if (l->told_down)
        return;
    l->told_down = true;
    agent_catalog_reachable(l->core->agent, false, why);
    sync_give_up(l);
}

/* Nobody answers, and nobody is to be waited for. */
static bool give_up(struct link *l)
{
    const struct core_options *o = &l->core->options;
    bool tried = l->failures >= l->server_count && !joins_wait(l->joins);
    struct errtext t;

    if (l->answered ||
        !joins_is_over(&o->join_rule, now_ms(l) - l->begun_ms, tried, &t))
        return false;
    o->give_up(o->ctx, t.s);
    return true;
}

static void try_later(struct link *l)
{
    if (give_up(l))
        return;
    /* Nobody is asked, so nobody will fail. */
    if (l->server_count == 0 && !joins_wait(l->joins))
        down(l, "no address to join could be resolved");
    joins_look(l->joins);
    timer_set(&l->core->timers, &l->retry, l->retry_ms);
    l->retry_ms = l->retry_ms * 2 < LINK_RETRY_MAX_MS ? l->retry_ms * 2
                                                      : LINK_RETRY_MAX_MS;
}

/* The server that was asked, or was in use, is no good now. */
static void failed(struct link *l, const char *why)
{
    l->servers[l->at].bad_until_ms = now_ms(l) + LINK_BAD_MS;
    if (++l->failures >= l->server_count)
        down(l, why);
    try_next(l);
}

void link_lost(struct link *l, const char *why)
{
    if (l->stopped || !l->up)
        return;
    log_warn("link", "lost server %s: %s", link_address(l), why);
    l->up = false;
    timer_clear(&l->core->timers, &l->beat_timer);
    if (l->beat)
        fetch_cancel(l->beat);
    l->beat = NULL;
    feed_close(l);
    sync_again(l);
    failed(l, why);
}

/* --- Beats --------------------------------------------------------------- */

static void on_beat(struct timer *t);

struct beaten_in {
    int64_t beat_ms, age_ms;
};

/* clang-format off */
static const struct json_field beaten_fields[] = {
    {"BeatMs", NULL, FIELD_INT, offsetof(struct beaten_in, beat_ms), NULL, JSON_NO_FLAG},
    {"AgeMs", NULL, FIELD_INT, offsetof(struct beaten_in, age_ms), NULL, JSON_NO_FLAG},
};
/* clang-format on */
static const struct json_table beaten_table = {beaten_fields, 2,
                                               sizeof(struct beaten_in)};

/* The server says how often, within bounds; an older one does not. And how old is
 * what it has: it can be heard while its store cannot, and what it has sent here
 * is not newer than that. */
static uint64_t next_beat(struct link *l, struct bytes body)
{
    struct beaten_in in = {0};
    struct errtext t;
    struct arena a;

    arena_init(&a, 0);
    enum err e = json_decode(body, &beaten_table, &in, &a, &t);
    arena_fini(&a);
    uint64_t age = e == ERR_OK && in.age_ms > 0 ? (uint64_t)in.age_ms : 0;
    if (age < l->beat_sent_ms)
        contact_made(l->core->process, l->beat_sent_ms - age);
    if (e != ERR_OK || in.beat_ms < LINK_BEAT_MS)
        return LINK_BEAT_MS;
    return in.beat_ms < LINK_BEAT_MAX_MS ? (uint64_t)in.beat_ms
                                         : LINK_BEAT_MAX_MS;
}

static void beaten(void *ctx, const struct fetch_result *r)
{
    struct link *l = ctx;

    l->beat = NULL;
    if (r->err != ERR_OK || r->status != 200) {
        link_lost(l, r->err != ERR_OK ? r->text.s : "a beat was refused");
        return;
    }
    if (!l->patient)
        place_beat(l->core, link_address(l), r->wait_us);
    tell_now(l);
    l->beat_ms = next_beat(l, r->body);
    uint64_t next = l->beat_sent_ms + l->beat_ms;
    timer_set(&l->core->timers, &l->beat_timer,
              next > now_ms(l) ? next - now_ms(l) : 1);
}

/* Where the server has many, it does not look at each beat as it comes
 * (conn_doze), and nothing else should wait for that: the connection is left to
 * beats alone, and others are made when they are needed. */
static struct peers *beat_peers(struct link *l)
{
    const struct tls_psk *psk = l->core->process->psk;
    struct peers *others = NULL;

    l->patient = l->beat_ms > LINK_BEAT_MS;
    if (l->patient && !l->beats &&
        peers_new(l->core->loop, psk, &others) == ERR_OK) {
        l->beats = l->peers;
        l->peers = others;
    }
    l->patient &= l->beats != NULL;
    return l->patient ? l->beats : l->peers;
}

static void send_beat(struct link *l)
{
    struct peers *peers = beat_peers(l);
    struct buf body = {0};
    struct json_out j = json_out(&body);

    json_open(&j, '{');
    json_key(&j, "Node");
    json_str(&j, l->core->process->self.node_name);
    if (l->patient) {
        json_key(&j, "Patient");
        json_bool(&j, true);
    }
    json_close(&j, '}');
    l->beat_sent_ms = process_now_ms();
    const struct peer_request q = {.to = link_address(l),
                                   .method = "PUT",
                                   .target = "/v1/peer/beat",
                                   .body = buf_bytes(&body),
                                   .timeout_ms = LINK_BEAT_LOST_MS};
    if (body.bad || peer_ask(peers, &q, beaten, l, &l->beat) != ERR_OK)
        timer_set(&l->core->timers, &l->beat_timer, LINK_BEAT_MS);
    buf_fini(&body);
}

static void on_beat(struct timer *t)
{
    struct link *l = container_of(t, struct link, beat_timer);

    if (!l->stopped && l->up && !l->beat)
        send_beat(l);
}

/* --- Hello --------------------------------------------------------------- */

struct server_in {
    struct bytes address;
    int64_t port;
};

struct hello_in {
    struct bytes node, id, datacenter, cluster;
    int64_t protocol;
    bool server, ready;
    struct json_list servers;
};

/* clang-format off */
#define HELLO(name, kind, member) {name, NULL, kind, offsetof(struct hello_in, member), NULL, JSON_NO_FLAG}
static const struct json_field server_fields[] = {
    {"Address", NULL, FIELD_STRING, offsetof(struct server_in, address), NULL, JSON_NO_FLAG},
    {"PeerPort", NULL, FIELD_INT, offsetof(struct server_in, port), NULL, JSON_NO_FLAG},
};
static const struct json_table server_table = {server_fields, 2, sizeof(struct server_in)};
static const struct json_field hello_fields[] = {
    HELLO("Node", FIELD_STRING, node),
    HELLO("ID", FIELD_STRING, id),
    HELLO("Datacenter", FIELD_STRING, datacenter),
    HELLO("ClusterID", FIELD_STRING, cluster),
    HELLO("Protocol", FIELD_INT, protocol),
    HELLO("Server", FIELD_BOOL, server),
    HELLO("Ready", FIELD_BOOL, ready),
    {"Servers", NULL, FIELD_LIST, offsetof(struct hello_in, servers), &server_table, JSON_NO_FLAG},
};
/* clang-format on */
static const struct json_table hello_table = {hello_fields, 8,
                                              sizeof(struct hello_in)};

/* Why it is none of ours; both sides are named. */
static bool is_ours(const struct link *l, const struct hello_in *in,
                    struct errtext *t)
{
    const struct api_self *self = &l->core->process->self;

    if (in->protocol != API_PEER_PROTOCOL)
        errtext_set(t,
                    "it speaks protocol %lld, this agent %d: upgrade the "
                    "older one",
                    (long long)in->protocol, API_PEER_PROTOCOL);
    else if (!bytes_eq(in->datacenter, self->datacenter))
        errtext_set(t,
                    "it belongs to datacenter \"%.*s\", this agent to "
                    "\"%.*s\"",
                    BYTES_ARG(bytes_head(in->datacenter, 64)),
                    BYTES_ARG(bytes_head(self->datacenter, 64)));
    else if (bytes_eq_fold(in->node, self->node_name))
        errtext_set(t,
                    "it has the name of this agent, \"%.*s\" (IDs %.*s and "
                    "%.*s): give one of them another node_name",
                    BYTES_ARG(bytes_head(in->node, 64)),
                    BYTES_ARG(bytes_head(in->id, 36)),
                    BYTES_ARG(self->node_id));
    else if (!in->server)
        errtext_set(t, "it is an agent, not a server: join servers");
    else
        return true;
    return false;
}

static void know_all(struct link *l, const struct hello_in *in)
{
    const struct server_in *v = in->servers.v;
    char to[LINK_ADDRESS_MAX];
    size_t listed = 0;

    for (size_t i = 0; i < l->server_count; i++)
        l->servers[i].listed = false;
    for (size_t i = 0; i < in->servers.n; i++) {
        struct bytes a = bytes_head(v[i].address, 255);
        if (!a.n || v[i].port < 1 || v[i].port > 65535)
            continue;
        net_host_port(to, sizeof to, a, (uint64_t)v[i].port);
        struct link_server *s = know(l, to);
        if (s)
            s->listed = true;
        listed += s != NULL;
    }
    if (listed)
        forget_unlisted(l);
}

/* Revisions of another store have nothing to do with those of before. */
static void look_at_cluster(struct link *l, struct bytes id)
{
    id = bytes_head(id, sizeof l->cluster - 1);
    if (id.n == 0)
        return;
    if (l->cluster[0] && !bytes_is(id, l->cluster)) {
        log_warn("link", "another cluster: was=%s is=%.*s", l->cluster,
                 BYTES_ARG(id));
        feed_anew(l);
    }
    memcpy(l->cluster, id.p, id.n);
    l->cluster[id.n] = '\0';
}

static void use(struct link *l, const struct hello_in *in)
{
    l->up = l->answered = true;
    l->beat_ms = 0; /* that server has not said */
    l->failures = 0;
    l->retry_ms = LINK_RETRY_MIN_MS;
    look_at_cluster(l, in->cluster);
    know_all(l, in);
    publish_servers(l);
    log_info("link", "joined server %s: node=%.*s servers=%zu", link_address(l),
             BYTES_ARG(in->node), l->server_count);
    if (l->told_down)
        agent_catalog_reachable(l->core->agent, true, "");
    l->told_down = false;
    send_beat(l);
    feed_open(l);
    sync_flush(l);
    events_linked(l->core);
}

static void refuse(struct link *l, const char *why)
{
    struct link_server *s = &l->servers[l->at];

    if (!s->refused)
        log_error("link", "cannot join %s: %s", s->address, why);
    s->refused = true;
}

static void greeted(void *ctx, const struct fetch_result *r)
{
    struct link *l = ctx;
    struct hello_in in;
    struct errtext t = {{0}};
    struct arena a;

    l->hello = NULL;
    arena_init(&a, 0);
    if (r->err != ERR_OK) {
        refuse(l, r->text.s);
        failed(l, r->text.s);
    } else if (r->status != 200 ||
               json_decode(r->body, &hello_table, &in, &a, &t) != ERR_OK) {
        refuse(
            l,
            "that is no muster server's listener for peers (ports.serf_lan)");
        failed(l, "no server answers as one");
    } else if (!is_ours(l, &in, &t)) {
        refuse(l, t.s);
        failed(l, t.s);
    } else if (!in.ready) {
        l->answered = true;
        failed(l, "the servers have no leader");
    } else {
        l->servers[l->at].refused = false;
        use(l, &in);
    }
    arena_fini(&a);
}

static void try_next(struct link *l)
{
    if (l->stopped || l->up || l->hello)
        return;
    if (!choose(l)) {
        try_later(l);
        return;
    }
    const struct peer_request q = {.to = link_address(l),
                                   .target = "/v1/peer/hello",
                                   .timeout_ms = LINK_HELLO_MS};
    if (peer_ask(l->peers, &q, greeted, l, &l->hello) != ERR_OK)
        try_later(l);
}

const char *link_server_at(const struct link *l, size_t nth)
{
    return l->server_count ? l->servers[nth % l->server_count].address : NULL;
}

const char *link_in_use(const struct link *l)
{
    return l->up ? link_address(l) : NULL;
}

/* --- Life ---------------------------------------------------------------- */

static void found(void *ctx, const char *address)
{
    struct link_server *s = know(ctx, address);

    if (s)
        s->joined = true;
}

enum err link_new(struct core *c)
{
    struct link *l = xzalloc(sizeof *l);

    l->core = c;
    l->random = uv_hrtime();
    snprintf(l->label, sizeof l->label, "agent %.*s",
             BYTES_ARG(bytes_head(c->process->self.node_name, 100)));
    l->retry_ms = LINK_RETRY_MIN_MS;
    l->retry.fire = on_retry;
    l->beat_timer.fire = on_beat;
    sync_init(l);
    l->begun_ms = now_ms(l);
    enum err e =
        joins_new(&(struct joins_options){.loop = c->loop,
                                          .timers = &c->timers,
                                          .to = c->options.join,
                                          .count = c->options.join_count,
                                          .found = found,
                                          .ctx = l},
                  &l->joins);
    if (e == ERR_OK)
        e = peers_new(c->loop, c->process->psk, &l->peers);
    if (e == ERR_OK)
        e = feed_new(l);
    if (e == ERR_OK)
        e = uses_begin(l);
    if (e != ERR_OK)
        return e;
    joins_look(l->joins);
    if (l->server_count)
        l->at = draw(l, l->server_count);
    c->link = l;
    c->process->link = l;
    c->process->barrier_free = true;
    publish_servers(l);
    return e;
}

void link_begin(struct link *l)
{
    timer_set(&l->core->timers, &l->retry, 1);
}

void link_stop(struct link *l)
{
    if (!l || l->stopped)
        return;
    l->stopped = true;
    timer_clear(&l->core->timers, &l->retry);
    timer_clear(&l->core->timers, &l->beat_timer);
    uses_stop(l);
    feed_close(l);
    sync_again(l);
    peers_close(l->peers);
    l->peers = NULL;
    peers_close(l->beats);
    l->beats = NULL;
    joins_close(l->joins);
    l->joins = NULL;
    sync_give_up(l);
}

void link_free(struct link *l)
{
    if (!l)
        return;
    feed_free(l);
    free(l->core->process->uses);
    l->core->process->uses = NULL;
    free((void *)(uintptr_t)atomic_exchange(&l->core->process->servers, NULL));
    free(l);
}
