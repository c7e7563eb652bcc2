/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/wan.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/net.h"
#include "loop/fetch.h"
#include "loop/peer.h"
#include "vivaldi/vivaldi.h"

enum {
    TICK_MS = 250,
    PINGS_A_TICK = 16,
    PING_TIMEOUT_MS = 4000,
    JOIN_TIMEOUT_MS = 5000,
    ADDRESS_MAX = 300,
    ANSWER_ARENA_MAX = 4 << 20,
    LOG_AGAIN_MS = 60000, /* the same trouble, of one address */
};

struct wan_keeper {
    struct core *core;
    struct wan wan;
    struct vivaldi place;
    struct peers *peers;
    struct timer tick;
    const struct run_peers *settings;
    bool *joined; /* of settings->join_wan */
    uint64_t next_join_ms, logged_ms;
    struct list askings;
    bool closing;
};

/* --- What everybody sees -------------------------------------------------- */

/* One block: the struct, the members, the datacenters. */
struct block {
    struct api_wan wan;
    struct wan_who self;
    struct wan_member *members;
    struct api_dc *dcs;
};

static struct api_dc *dc_of(struct block *b, struct bytes name)
{
    for (size_t i = 0; i < b->wan.dc_count; i++)
        if (bytes_eq(b->dcs[i].name, name))
            return &b->dcs[i];
    b->dcs[b->wan.dc_count] = (struct api_dc){.name = name, .rtt_s = -1};
    return &b->dcs[b->wan.dc_count++];
}

/* The own one, then by distance; by name where that is not known. */
static int by_distance(const void *a, const void *b)
{
    const struct api_dc *x = a, *y = b;

    if (x->own != y->own)
        return x->own ? -1 : 1;
    if ((x->rtt_s < 0) != (y->rtt_s < 0))
        return x->rtt_s < 0 ? 1 : -1;
    if (x->rtt_s != y->rtt_s)
        return x->rtt_s < y->rtt_s ? -1 : 1;
    return bytes_cmp(x->name, y->name);
}

static void count_in(struct block *b, const struct wan_member *m)
{
    struct api_dc *dc = dc_of(b, bytes_str(m->who.datacenter));

    dc->alive |= m->alive;
    if (m->alive && m->rtt_s >= 0 && (dc->rtt_s < 0 || m->rtt_s < dc->rtt_s))
        dc->rtt_s = m->rtt_s;
}

static struct block *block_new(const struct wan_keeper *k)
{
    const struct wan *w = &k->wan;
    struct block *b =
        xzalloc(sizeof *b + w->n * sizeof *b->members +
                (w->n + 1) * sizeof *b->dcs + sizeof(double) /* alignment */);

    b->members = (struct wan_member *)(void *)(b + 1);
    b->dcs = (struct api_dc *)(void *)(b->members + w->n);
    b->self = w->self;
    b->wan = (struct api_wan){
        .self = &b->self, .members = b->members, .dcs = b->dcs};
    struct api_dc *own = dc_of(b, bytes_str(b->self.datacenter));
    own->own = own->alive = true;
    for (size_t i = 0; i < w->n; i++) {
        if (!w->v[i].known)
            continue;
        b->members[b->wan.count] = w->v[i];
        count_in(b, &b->members[b->wan.count++]);
    }
    qsort(b->dcs, b->wan.dc_count, sizeof *b->dcs, by_distance);
    return b;
}

static void publish(struct wan_keeper *k)
{
    struct process *p = k->core->process;
    struct block *b = block_new(k);
    const struct api_wan *old = atomic_exchange(&p->wan, &b->wan);

    if (!old)
        return;
    pin_retire(&p->pins, (void *)(uintptr_t)old, sizeof *b);
    pin_publish(&p->pins);
}

void wan_end(struct process *p)
{
    free((void *)(uintptr_t)atomic_exchange(&p->wan, NULL));
}

/* --- Hearing -------------------------------------------------------------- */

static void complain(struct wan_keeper *k, const char *from, const char *text)
{
    uint64_t now = process_now_ms();

    if (k->logged_ms && now - k->logged_ms < LOG_AGAIN_MS)
        return;
    k->logged_ms = now;
    log_warn("wan",
             "a server of another datacenter cannot be joined: "
             "address=%s error=\"%s\"",
             from, text);
}

static bool datacenter_is_new(const struct wan_keeper *k, const char *dc)
{
    for (size_t i = 0; i < k->wan.n; i++)
        if (k->wan.v[i].known && strcmp(k->wan.v[i].who.datacenter, dc) == 0)
            return false;
    return strcmp(dc, k->wan.self.datacenter) != 0;
}

static enum err hear(struct wan_keeper *k, const struct api_wan_word *w,
                     double rtt_s, struct errtext *t)
{
    bool changed = false, fresh = datacenter_is_new(k, w->from.datacenter);

    if (w->leaving) {
        if (wan_leave(&k->wan, w->from.id)) {
            log_info("wan", "a server left: node=%s datacenter=%s",
                     w->from.node, w->from.datacenter);
            publish(k);
        }
        return ERR_OK;
    }
    enum err e =
        wan_heard(&k->wan, &w->from, rtt_s, process_now_ms(), &changed, t);
    if (e != ERR_OK)
        return e;
    if (rtt_s >= 0 && strcmp(w->from.id, k->wan.self.id) != 0 &&
        vivaldi_sample(&k->place, bytes_hash(bytes_str(w->from.id), 0),
                       &w->from.at, rtt_s))
        k->wan.self.at = k->place.at;
    for (size_t i = 0; i < w->count; i++) {
        struct errtext ignored;
        if (wan_told(&k->wan, &w->others[i], process_now_ms(), &ignored) ==
            ERR_LIMIT)
            complain(k, w->from.address, ignored.s);
    }
    if (changed) {
        if (fresh)
            log_info("wan",
                     "a datacenter is joined: datacenter=%s node=%s "
                     "address=%s",
                     w->from.datacenter, w->from.node, w->from.address);
        publish(k);
    }
    return ERR_OK;
}

struct told {
    struct core_letter letter;
    struct api_wan_word word;
    struct wan_who others[];
};

static void on_told(struct core *c, struct core_letter *l)
{
    struct told *o = container_of(l, struct told, letter);
    struct errtext t = {{0}};

    if (c->wan && !c->wan->closing && hear(c->wan, &o->word, -1, &t) != ERR_OK)
        complain(c->wan, o->word.from.address, t.s);
    free(o);
}

void wan_word(struct process *p, const struct api_wan_word *w)
{
    struct told *o = xzalloc(sizeof *o + w->count * sizeof *o->others);

    list_init(&o->letter.link);
    o->letter.run = on_told;
    o->word = *w;
    o->word.others = o->others;
    if (w->count)
        memcpy(o->others, w->others, w->count * sizeof *o->others);
    core_post(p->core, &o->letter);
}

void wan_hear(struct core *c, struct agent_op *take)
{
    struct wan_keeper *k = c->wan;
    struct errtext *t = &take->text;
    struct buf out = {0};
    struct api_wan_word w = {0};
    enum err e = ERR_UNAVAILABLE;

    if (k && !k->closing) {
        e = api_wan_parse(take->output, &take->arena, &w, t);
        if (e == ERR_OK)
            e = hear(k, &w, -1, t);
        if (e != ERR_OK)
            complain(k, w.from.address, t->s);
        api_wan_put(&out, &k->wan.self, k->wan.v, k->wan.n, false);
        take->answer = arena_copy(&take->arena, buf_bytes(&out));
        if (e == ERR_OK && !take->answer.p)
            e = ERR_NOMEM;
        buf_fini(&out);
    }
    take->http_status = e == ERR_OK ? 200 : err_http_status(e);
    if (e != ERR_OK && !t->s[0])
        errtext_set(t, "%s", err_text(e));
    take->done(take);
}

/* --- Asking --------------------------------------------------------------- */

struct asking {
    struct list link; /* keeper->askings */
    struct wan_keeper *keeper;
    struct agent_op *op; /* a join that a client asked for; or NULL */
    int join;            /* of settings->join_wan; < 0: none of them */
    uint64_t sent_ns;
    char to[ADDRESS_MAX];
};

static enum err take_answer(struct wan_keeper *k, const struct fetch_result *r,
                            double rtt_s, struct errtext *t)
{
    struct api_wan_word w;
    struct arena a;

    if (r->err != ERR_OK) {
        *t = r->text;
        return r->err;
    }
    if (r->status != 200) {
        errtext_set(t, "%.*s", BYTES_ARG(bytes_head(r->body, 400)));
        return ERR_BAD;
    }
    arena_init(&a, ANSWER_ARENA_MAX);
    enum err e = api_wan_parse(r->body, &a, &w, t);
    if (e == ERR_OK)
        e = hear(k, &w, rtt_s, t);
    arena_fini(&a);
    return e;
}

static void answered(void *ctx, const struct fetch_result *r)
{
    struct asking *q = ctx;
    struct wan_keeper *k = q->keeper;
    struct errtext t = {{0}};
    double rtt_s = (double)(uv_hrtime() - q->sent_ns) / 1e9;
    enum err e = take_answer(k, r, rtt_s, &t);

    if (q->join >= 0) {
        k->joined[q->join] = e == ERR_OK;
        if (e != ERR_OK)
            log_warn("wan", "join: address=%s error=\"%s\"", q->to,
                     t.s[0] ? t.s : err_text(e));
    } else if (e != ERR_OK && r->err == ERR_OK) {
        complain(k, q->to, t.s);
    }
    if (q->op) {
        q->op->http_status = e == ERR_OK ? 200 : 500;
        if (e != ERR_OK)
            errtext_set(&q->op->text,
                        "1 error occurred:\n\t* Failed to join %s: %s\n\n",
                        q->to, t.s[0] ? t.s : err_text(e));
        q->op->done(q->op);
    }
    list_del(&q->link);
    free(q);
}

/* who leaves; NULL: nobody, this server speaks for itself. */
static enum err ask(struct wan_keeper *k, const char *to, int join,
                    struct agent_op *op, const struct wan_who *who)
{
    struct asking *q = xzalloc(sizeof *q);
    struct buf body = {0};

    *q = (struct asking){
        .keeper = k, .op = op, .join = join, .sent_ns = uv_hrtime()};
    (void)snprintf(q->to, sizeof q->to, "%s", to);
    api_wan_put(&body, who ? who : &k->wan.self, k->wan.v, k->wan.n, who);
    enum err e =
        body.bad ? ERR_NOMEM
                 : peer_ask(k->peers,
                            &(struct peer_request){
                                .to = q->to,
                                .method = "PUT",
                                .target = "/v1/peer/wan",
                                .body = buf_bytes(&body),
                                .timeout_ms = op || join >= 0 ? JOIN_TIMEOUT_MS
                                                              : PING_TIMEOUT_MS,
                            },
                            answered, q, NULL);
    buf_fini(&body);
    if (e == ERR_OK)
        list_add(&k->askings, &q->link);
    else
        free(q);
    return e;
}

static void address_of(const struct wan_who *who, char *to, size_t n)
{
    net_host_port(to, n, bytes_str(who->address), (uint64_t)who->port);
}

static void join_all(struct wan_keeper *k)
{
    uint64_t now = process_now_ms();

    if (now < k->next_join_ms)
        return;
    k->next_join_ms = now + k->settings->retry_wan_ms;
    for (size_t i = 0; i < k->settings->join_wan_count; i++)
        if (!k->joined[i])
            (void)ask(k, k->settings->join_wan[i], (int)i, NULL, NULL);
}

static void tick(struct timer *t)
{
    struct wan_keeper *k = container_of(t, struct wan_keeper, tick);
    const struct wan_member *m;

    if (wan_expire(&k->wan, process_now_ms()))
        publish(k);
    join_all(k);
    for (int i = 0;
         i < PINGS_A_TICK && (m = wan_due(&k->wan, process_now_ms())); i++) {
        char to[ADDRESS_MAX];
        address_of(&m->who, to, sizeof to);
        (void)ask(k, to, -1, NULL, NULL);
    }
    timer_set(&k->core->timers, &k->tick, TICK_MS);
}

/* --- Ops ------------------------------------------------------------------ */

static void refuse(struct agent_op *op, const char *text)
{
    op->http_status = 500;
    errtext_set(&op->text, "%s", text);
    op->done(op);
}

void wan_join(struct core *c, struct agent_op *take)
{
    struct wan_keeper *k = c->wan;
    char to[ADDRESS_MAX];

    if (!k || k->closing) {
        refuse(take, "this server joins no datacenters: ports.serf_wan is off, "
                     "or bind_addr is open to the network and there is no key "
                     "(encrypt)");
        return;
    }
    (void)snprintf(to, sizeof to, "%.*s", BYTES_ARG(take->id));
    if (ask(k, to, -1, take, NULL) != ERR_OK)
        refuse(take, "the address cannot be asked");
}

static void tell_that_leaves(struct wan_keeper *k, const struct wan_who *who)
{
    for (size_t i = 0; i < k->wan.n; i++) {
        char to[ADDRESS_MAX];
        address_of(&k->wan.v[i].who, to, sizeof to);
        if (k->wan.v[i].alive)
            (void)ask(k, to, -1, NULL, who);
    }
}

void wan_leaves(struct core *c)
{
    struct wan_keeper *k = c->wan;

    if (k && !k->closing)
        tell_that_leaves(k, &k->wan.self);
}

void wan_force_out(struct core *c, struct agent_op *take)
{
    struct wan_keeper *k = c->wan;
    const struct wan_member *m =
        k && !k->closing ? wan_named(&k->wan, take->id) : NULL;

    if (!m) {
        take->http_status = 500;
        errtext_set(&take->text, "agent: No node found with name '%.*s'",
                    BYTES_ARG(bytes_head(take->id, 100)));
    } else if (!m->alive) {
        struct wan_who who = m->who;
        log_info("wan", "a server is forced out: node=%s datacenter=%s",
                 who.node, who.datacenter);
        (void)wan_force(&k->wan, take->id);
        publish(k);
        tell_that_leaves(k, &who);
    }
    if (m)
        take->http_status = 200;
    take->done(take);
}

/* --- Life ----------------------------------------------------------------- */

static void set_self(struct wan_who *w, const struct settings *s,
                     const struct api_self *self)
{
    *w = (struct wan_who){
        .port = s->serf_wan_port,
        .server_port = s->server_port > 0 ? s->server_port : 0,
        .at = coordinate_origin(),
    };
    (void)snprintf(w->node, sizeof w->node, "%s", s->node_name);
    (void)snprintf(w->id, sizeof w->id, "%.*s", BYTES_ARG(self->node_id));
    (void)snprintf(w->datacenter, sizeof w->datacenter, "%s", s->datacenter);
    (void)snprintf(w->address, sizeof w->address, "%s", s->peers.address_wan);
    (void)snprintf(w->version, sizeof w->version, "%s", MUSTER_VERSION);
}

enum err wan_open(struct core *c, const struct settings *s, struct errtext *t)
{
    struct wan_who self;

    if (!s->is_server || !s->peers.wan)
        return ERR_OK;
    set_self(&self, s, &c->process->self);
    enum err e = wan_check(&self, t);
    if (e != ERR_OK)
        return e;
    struct wan_keeper *k = xzalloc(sizeof *k);
    k->core = c;
    list_init(&k->askings);
    k->settings = &s->peers;
    wan_init(&k->wan, &self);
    vivaldi_init(&k->place, uv_hrtime() ^ (uint64_t)getpid() << 32);
    k->joined = xzalloc((s->peers.join_wan_count + 1) * sizeof *k->joined);
    c->wan = k;
    e = peers_new(c->loop, s->peers.secret.n ? &s->peers.psk : NULL, &k->peers);
    if (e != ERR_OK)
        return e;
    k->tick.fire = tick;
    publish(k);
    timer_set(&c->timers, &k->tick, 1);
    return ERR_OK;
}

void wan_close(struct core *c)
{
    struct wan_keeper *k = c->wan;

    if (!k)
        return;
    k->closing = true;
    timer_clear(&c->timers, &k->tick);
    peers_close(k->peers); /* nobody waits for a join any more */
    while (!list_empty(&k->askings)) {
        struct asking *q = container_of(k->askings.next, struct asking, link);
        list_del(&q->link);
        free(q);
    }
    wan_fini(&k->wan);
    free(k->joined);
    free(k);
    c->wan = NULL;
}
