/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/events.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/net.h"
#include "http/json_in.h"
#include "local/relay.h"
#include "loop/peer.h"
#include "server/link.h"
#include "server/peer_serve.h"

enum { NODE_MAX = 256, ADDRESS_MAX = 300 };

/* A server to which they are passed on. */
struct receiver {
    struct events *events;
    char node[NODE_MAX], address[ADDRESS_MAX];
    bool listed;
    bool is_old;   /* it does not know the route: told once */
    uint64_t life; /* its process; 0: not known yet, it is to be greeted */
    uint64_t sent, sending; /* carried numbers: up to here */
    uint64_t next_ms, pause_ms;
    struct fetch *fetch;
};

struct events {
    struct core *core;
    struct relay relay;
    struct peers *peers; /* made when first needed */
    struct timer timer;
    uint64_t servers_hash; /* of their watch key */
    size_t count;
    struct receiver to[API_SERVERS_MAX]; /* an agent: one, its server */
    bool stopped;
};

static void flush(struct events *ev);

static const struct heard_snapshot *carried(const struct events *ev)
{
    return heard_current(ev->core->process->carried);
}

static uint64_t newest(const struct heard_snapshot *s)
{
    return s->event_count ? s->events[s->event_count - 1]->number : 0;
}

static void witness(struct events *ev, uint64_t ltime)
{
    relay_witness(&ev->relay, ltime);
    atomic_store(&ev->core->process->event_clock, ev->relay.clock);
}

/* --- Passing on ---------------------------------------------------------- */

static bool is_for_him(const struct receiver *r, const struct heard_event *e,
                       uint64_t now)
{
    bool his = e->from.n && bytes_eq_fold(e->from, bytes_str(r->node));

    return !his && e->hops < RELAY_HOPS_MAX &&
           now <= e->fired_ms + EVENTS_KEPT_MS;
}

/* What he has not been sent; moves r->sending behind what was looked at. */
static void collect(struct receiver *r, struct event_batch *b)
{
    const struct heard_snapshot *s = carried(r->events);
    uint64_t now = process_now_ms();

    r->sending = r->sent;
    for (size_t i = 0; i < s->event_count && b->n < EVENTS_BATCH; i++) {
        const struct heard_event *e = s->events[i];
        if (e->number <= r->sent)
            continue;
        r->sending = e->number;
        if (is_for_him(r, e, now))
            b->v[b->n++] = e;
    }
}

/* It is this process. What another one of that name missed is nothing to it. */
static void meet(struct receiver *r, uint64_t life)
{
    if (r->life == life)
        return;
    r->life = life;
    r->sent = newest(carried(r->events));
    r->pause_ms = r->next_ms = 0;
}

struct answer_in {
    int64_t ltime, life;
};

/* clang-format off */
static const struct json_field answer_fields[] = {
    {"LTime", NULL, FIELD_INT, offsetof(struct answer_in, ltime), NULL, JSON_NO_FLAG},
    {"Life", NULL, FIELD_INT, offsetof(struct answer_in, life), NULL, JSON_NO_FLAG},
};
/* clang-format on */
static const struct json_table answer_table = {answer_fields, 2,
                                               sizeof(struct answer_in)};

static void taken(struct receiver *r, struct bytes body)
{
    struct events *ev = r->events;
    struct answer_in in = {0};
    struct errtext t;
    struct arena a;

    arena_init(&a, 0);
    if (json_decode(body, &answer_table, &in, &a, &t) != ERR_OK)
        in = (struct answer_in){0};
    arena_fini(&a);
    if (in.ltime > 0)
        witness(ev, (uint64_t)in.ltime);
    if (!ev->core->link && in.life > 0)
        meet(r, (uint64_t)in.life);
}

/* It is asked again when there is an event, or after a while. */
static void refused(struct receiver *r, const struct fetch_result *res)
{
    if (r->life == 0)
        r->next_ms = process_now_ms() + EVENTS_KEPT_MS;
    if (!r->is_old && res->status == 404)
        log_info("events",
                 "server %s is too old to pass user events on: it and its "
                 "agents do not hear them",
                 r->address);
    else if (res->status != 404)
        log_warn("events", "server %s takes no user events: %.*s", r->address,
                 BYTES_ARG(bytes_head(res->body, 200)));
    r->is_old = res->status == 404;
}

static void told(void *ctx, const struct fetch_result *res)
{
    struct receiver *r = ctx;
    bool later = res->err != ERR_OK || res->status == 429 || res->status >= 500;

    r->fetch = NULL;
    if (later) {
        r->pause_ms =
            r->pause_ms * 2 < EVENTS_PAUSE_MIN_MS   ? EVENTS_PAUSE_MIN_MS
            : r->pause_ms * 2 < EVENTS_PAUSE_MAX_MS ? r->pause_ms * 2
                                                    : EVENTS_PAUSE_MAX_MS;
        r->next_ms = process_now_ms() + r->pause_ms;
    } else {
        r->sent = r->sending;
        r->pause_ms = r->next_ms = 0;
        if (res->status == 200)
            taken(r, res->body);
        else
            refused(r, res);
    }
    flush(r->events);
}

static void send_to(struct receiver *r, struct event_batch *b)
{
    struct events *ev = r->events;
    struct buf body;

    b->from = ev->core->process->self.node_name;
    b->ltime = ev->relay.clock;
    b->life = ev->core->process->life;
    b->to = r->life;
    buf_init(&body, 0);
    event_batch_put(&body, b, process_now_ms());
    const struct peer_request q = {.to = r->address,
                                   .method = "PUT",
                                   .target = "/v1/peer/event",
                                   .body = buf_bytes(&body),
                                   .timeout_ms = EVENTS_ASK_MS};
    if (body.bad || peer_ask(ev->peers, &q, told, r, &r->fetch) != ERR_OK)
        r->next_ms = process_now_ms() + EVENTS_PAUSE_MAX_MS;
    buf_fini(&body);
}

/* A server is greeted first: with the clock, and nothing else. An agent tells
 * whichever server it has. */
static void offer(struct receiver *r)
{
    bool greets = !r->events->core->link && r->life == 0;
    struct event_batch b = {0};

    if (r->fetch || !r->listed)
        return;
    r->sending = newest(carried(r->events));
    if (!greets)
        collect(r, &b);
    if (b.n == 0 && !greets)
        r->sent = r->sending;
    else if (process_now_ms() >= r->next_ms)
        send_to(r, &b);
}

/* --- To whom ------------------------------------------------------------- */

/* NULL: there are too many. */
static struct receiver *receiver_of(struct events *ev, struct bytes node)
{
    struct receiver *free_one = NULL;

    for (size_t i = 0; i < ev->count; i++) {
        struct receiver *r = &ev->to[i];
        if (bytes_eq_fold(bytes_str(r->node), node))
            return r;
        if (!r->listed && !r->fetch)
            free_one = r;
    }
    if (ev->count < API_SERVERS_MAX)
        free_one = &ev->to[ev->count++];
    if (free_one)
        *free_one = (struct receiver){.events = ev};
    return free_one;
}

static void list_server(void *ctx, const struct api_peer *p)
{
    struct events *ev = ctx;

    if (p->port == 0 || p->node.n >= NODE_MAX ||
        bytes_eq_fold(p->node, ev->core->process->self.node_name))
        return;
    struct receiver *r = receiver_of(ev, p->node);
    if (!r)
        return;
    (void)snprintf(r->node, sizeof r->node, "%.*s", BYTES_ARG(p->node));
    net_host_port(r->address, sizeof r->address, bytes_head(p->address, 255),
                  p->port);
    r->listed = true;
}

static void list_servers(struct events *ev)
{
    struct process *p = ev->core->process;
    const struct api_env env = {
        .cat = catalog_current(p->catalog),
        .cluster = atomic_load(&p->cluster),
    };

    for (size_t i = 0; i < ev->count; i++)
        ev->to[i].listed = false;
    api_each_server(&env, list_server, ev);
}

/* An agent's only one, whichever server it is. */
static void list_linked(struct events *ev)
{
    const char *to = link_in_use(ev->core->link);
    struct receiver *r = &ev->to[0];

    ev->count = 1;
    r->events = ev;
    r->listed = to != NULL;
    if (to)
        (void)snprintf(r->address, sizeof r->address, "%s", to);
}

static uint64_t next_look(const struct events *ev)
{
    uint64_t ms = EVENTS_LOOK_MS;
    bool owed = false;

    for (size_t i = 0; i < ev->count; i++) {
        const struct receiver *r = &ev->to[i];
        if (r->pause_ms && r->pause_ms < ms)
            ms = r->pause_ms;
        owed |= r->listed && r->sent < newest(carried(ev));
    }
    return owed || !ev->core->link ? ms : 0;
}

static void flush(struct events *ev)
{
    struct core *c = ev->core;

    if (ev->stopped || c->stopping)
        return;
    if (!ev->peers && peers_new(c->loop, c->process->psk, &ev->peers) != ERR_OK)
        ev->peers = NULL;
    if (c->link)
        list_linked(ev);
    else
        list_servers(ev);
    for (size_t i = 0; ev->peers && i < ev->count; i++)
        offer(&ev->to[i]);
    uint64_t ms = next_look(ev);
    if (ms)
        timer_set(&c->timers, &ev->timer, ms);
}

static void on_timer(struct timer *t)
{
    flush(container_of(t, struct events, timer));
}

void events_published(struct core *c, const struct watch_set *set)
{
    struct events *ev = c->events;

    if (ev && !c->link && watch_set_touches(set, ev->servers_hash))
        flush(ev);
}

void events_linked(struct core *c)
{
    struct events *ev = c->events;

    if (!ev || ev->stopped)
        return;
    struct receiver *r = &ev->to[0];

    if (r->fetch)
        fetch_cancel(r->fetch); /* of the one before; told twice is no harm */
    r->fetch = NULL;
    r->next_ms = r->pause_ms = 0;
    flush(ev);
}

/* --- Hearing ------------------------------------------------------------- */

static void hear(struct events *ev, const struct heard_event *e)
{
    struct process *p = ev->core->process;
    const struct api_env env = {
        .self = atomic_load(&p->live),
        .local = local_current(p->local),
    };
    struct errtext t = {{0}};

    if (api_event_is_for(&env, e, &t))
        heard_add_event(p->heard, e);
    else if (t.s[0])
        log_warn("events", "user event %s of node %.*s cannot be heard: %s",
                 e->id, BYTES_ARG(bytes_head(e->from, 64)), t.s);
}

/* False: it is not new. An agent whose stream begins is told of what is young, and
 * perhaps of what was fired before it began itself. */
static bool take(struct events *ev, const struct heard_event *e)
{
    struct process *p = ev->core->process;

    if (!relay_is_new(&ev->relay, e->id))
        return false;
    witness(ev, e->ltime);
    if (p->link && e->fired_ms < p->started_ms)
        return false;
    metric_add(METRIC_EVENTS, 1);
    /* An agent passes on what was fired there. */
    if (!p->link || e->from.n == 0)
        heard_add_event(p->carried, e);
    hear(ev, e);
    return true;
}

static void tell(struct events *ev)
{
    uint64_t hash = watch_hash((struct watch_key){WATCH_EVENTS, {NULL, 0}});
    const struct watch_set set = {.v = &hash, .n = 1};

    core_tell(ev->core, &set);
    flush(ev);
}

/* By a server, if it is one: its agents are none of our receivers. */
static void greeted_by(struct events *ev, const struct event_batch *b)
{
    list_servers(ev);
    for (size_t i = 0; i < ev->count; i++) {
        struct receiver *r = &ev->to[i];
        if (r->listed && b->life && bytes_eq_fold(bytes_str(r->node), b->from))
            meet(r, b->life);
    }
}

void events_heard(struct core *c, const struct event_batch *b)
{
    struct events *ev = c->events;
    bool any = false;

    if (!ev || ev->stopped || c->stopping)
        return;
    witness(ev, b->ltime);
    if (!c->link)
        greeted_by(ev, b);
    for (size_t i = 0; i < b->n; i++)
        any |= take(ev, b->v[i]);
    if (any)
        tell(ev);
}

void events_fire(struct core *c, struct agent_op *op)
{
    struct events *ev = c->events;
    uint8_t random[16];

    op->http_status = 500;
    if (getentropy(random, sizeof random) != 0) {
        errtext_set(&op->text, "no random bytes for the event's ID");
    } else {
        op->http_status = 200;
        uuid_format(random, op->event.id);
        op->event.ltime = relay_stamp(&ev->relay);
        op->event.fired_ms = process_now_ms();
        op->pending = c->link && !link_in_use(c->link);
        if (op->pending)
            log_warn("events",
                     "user event %s is heard here only: no server can be "
                     "reached; it is passed on if one is within %d s",
                     op->event.id, EVENTS_KEPT_MS / 1000);
        if (take(ev, &op->event))
            tell(ev);
    }
    op->done(op);
}

/* --- From others --------------------------------------------------------- */

struct brought {
    struct core_letter letter;
    struct arena arena;
    struct event_batch batch;
};

static void on_brought(struct core *c, struct core_letter *l)
{
    struct brought *b = container_of(l, struct brought, letter);

    atomic_fetch_sub(&c->process->events_waiting, 1);
    events_heard(c, &b->batch);
    arena_fini(&b->arena);
    free(b);
}

/* The events outlive the request. */
static enum err bring(struct serving *s, struct bytes body, struct errtext *t)
{
    struct process *p = s->process;
    struct brought *b = xzalloc(sizeof *b);

    arena_init(&b->arena, 0);
    struct bytes copy = arena_copy(&b->arena, body);
    enum err e =
        body.n && !copy.p
            ? ERR_NOMEM
            : event_batch_get(copy, &b->arena, process_now_ms(), &b->batch, t);
    if (e != ERR_OK) {
        arena_fini(&b->arena);
        free(b);
        return e;
    }
    if (b->batch.to && b->batch.to != p->life)
        b->batch.n = 0; /* for one that was here before */
    atomic_fetch_add(&p->events_waiting, 1);
    b->letter.run = on_brought;
    core_post(p->core, &b->letter);
    return ERR_OK;
}

void events_begin(struct serving *s, struct conn *c, struct api_call *call)
{
    struct errtext t = {{0}};
    enum err e = ERR_OK;

    if (!s->env.self->is_server)
        api_error(call, 400, "This is an agent, not a server");
    else if (atomic_load(&s->process->events_waiting) >= EVENTS_WAITING_MAX)
        api_error(call, 429, "%d batches of events wait here already",
                  EVENTS_WAITING_MAX);
    else if ((e = bring(s, call->request->body, &t)) != ERR_OK)
        api_error(call, e == ERR_LIMIT ? 413 : err_http_status(e), "%s",
                  t.s[0] ? t.s : err_text(e));
    else {
        buf_printf(&call->body, "{\"LTime\":%llu,\"Life\":%llu}",
                   (unsigned long long)atomic_load(&s->process->event_clock),
                   (unsigned long long)s->process->life);
        peer_json(call);
    }
    peer_answer(s, c, call);
}

/* --- Life ---------------------------------------------------------------- */

enum err events_new(struct core *c)
{
    struct events *ev = xzalloc(sizeof *ev);

    ev->core = c;
    ev->timer.fire = on_timer;
    ev->servers_hash =
        watch_hash((struct watch_key){WATCH_SERVICE, bytes_str("consul")});
    c->events = ev;
    c->process->carried = heard_new(&c->process->pins);
    if (getentropy(&c->process->life, sizeof c->process->life) != 0)
        return ERR_IO;
    c->process->life >>= 12; /* a number that JSON can hold */
    if (!c->link)
        timer_set(&c->timers, &ev->timer, 1);
    return ERR_OK;
}

void events_stop(struct core *c)
{
    struct events *ev = c->events;

    if (!ev || ev->stopped)
        return;
    ev->stopped = true;
    timer_clear(&c->timers, &ev->timer);
    peers_close(ev->peers);
    ev->peers = NULL;
}

void events_free(struct core *c)
{
    heard_free(c->process->carried);
    c->process->carried = NULL;
    free(c->events);
    c->events = NULL;
}
