/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* lb_farm - servers, requests and time for the simulation of load balancing.
 *
 * Requests come by a Poisson process to a few clients, each with a balancer of
 * its own. A server has WORKERS places and a queue; a request takes an
 * exponential time there. Some servers are slow, answer badly, come and go, or
 * leave the registry and return; a whole datacenter may, and is cold then. A
 * request that went wrong is tried again
 * elsewhere, three attempts in all. Virtual microseconds; a seed repeats all. */
#ifndef LB_FARM_H
#define LB_FARM_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/heap.h"
#include "base/list.h"
#include "lb/balancer.h"
#include "lb/draw.h"
#include "lb/policy.h"

enum {
    FARM_SERVERS = 10,
    FARM_CLIENTS = 3,
    FARM_WORKERS = 4,
    FARM_QUEUE_MAX = 40,
    FARM_SERVICE_US = 20000,
    FARM_ATTEMPTS = 3,
    FARM_KEYS = 500,
    FARM_TICK_US = 1000000,
    FARM_CONNECT_US = 500,        /* until a refused connection is known */
    FARM_HOME = FARM_SERVERS / 2, /* the first so many, if there are two
                                     datacenters */
    FARM_AWAY_LEVEL = 16,         /* the others' priority */
    FARM_NOTICE_S = 2, /* until the registry's checks see what happened */
    FARM_COLD = 200,   /* requests that take four times as long after it */
    FARM_SECONDS_MAX = 120,
};

enum farm_kind {
    FARM_WELL,
    FARM_SLOW,     /* takes five times as long */
    FARM_FAILING,  /* answers 60 % of requests at once, and badly */
    FARM_FLAPPING, /* refuses connections every other 3 s */
    FARM_RESTLESS, /* leaves the registry's list every other 2 s, and serves */
};

struct farm_scene {
    const char *name;
    enum farm_kind kind[FARM_SERVERS];
    uint32_t weight[FARM_SERVERS];
    uint32_t load_percent; /* of what well servers could do */
    uint32_t seconds;
    uint32_t hot_percent; /* of requests that have one and the same key */
    /* Two datacenters, of which the first is down meanwhile; both 0: one. */
    uint32_t down_from_s, down_to_s;
};

/* What happened in a second of a scene with two datacenters. */
struct farm_second {
    uint32_t picked, home;       /* attempts; of them, at home */
    uint32_t done, failed, slow; /* slow: over 10 times the usual */
};

struct farm_server {
    struct list queue; /* requests that wait */
    uint32_t busy, waiting;
    uint32_t picked; /* attempts that came */
    uint32_t cold;   /* requests that are still slow */
    bool down, unlisted, critical;
    uint32_t in_flight[FARM_CLIENTS]; /* the truth, to compare with */
};

struct farm_request {
    struct heap_item item; /* first: the event that is next for it */
    struct list link;
    uint64_t began_us, attempt_us;
    struct lb_ticket ticket;
    uint64_t tried[FARM_ATTEMPTS];
    uint32_t client, server, attempts;
    enum lb_outcome outcome; /* when its event fires */
    bool served;             /* holds a place */
    char key[16];
};

struct farm {
    const struct farm_scene *scene;
    struct lb *lb[FARM_CLIENTS];
    struct farm_server server[FARM_SERVERS];
    struct list idle; /* requests that are over */
    struct heap events;
    struct heap_item arrival, tick;
    uint64_t random, now_us, end_us;
    double gap_us; /* mean, between arrivals */
    size_t requests_max, open;
    /* Results. */
    uint32_t *latency_us;
    size_t done, failed_first, failed;
    struct farm_second second[FARM_SECONDS_MAX];
    const char *broken; /* a rule that did not hold */
};

static inline double farm_exponential(struct farm *f, double mean)
{
    return -log(1 - lb_unit(lb_draw(&f->random))) * mean;
}

static inline uint64_t farm_ms(const struct farm *f)
{
    return f->now_us / 1000;
}

static inline void farm_break(struct farm *f, bool holds, const char *rule)
{
    if (!holds && !f->broken)
        f->broken = rule;
}

static inline bool farm_two(const struct farm *f)
{
    return f->scene->down_to_s > 0;
}

static inline struct farm_second *farm_second(struct farm *f)
{
    uint64_t began_us = f->end_us - f->scene->seconds * 1000000ULL;
    uint64_t s = (f->now_us - began_us) / 1000000;

    return &f->second[s < FARM_SECONDS_MAX ? s : FARM_SECONDS_MAX - 1];
}

/* --- The registry -------------------------------------------------------- */

static inline void farm_list(struct farm *f)
{
    static char address[FARM_SERVERS][8];
    struct lb_endpoint v[FARM_SERVERS];
    struct errtext t;
    size_t n = 0;

    for (uint16_t i = 0; i < FARM_SERVERS; i++) {
        int k = snprintf(address[i], sizeof address[i], "s%u", i);
        if (!f->server[i].unlisted)
            v[n++] = (struct lb_endpoint){
                .node = bytes_str("n"),
                .address = bytes_of(address[i], (size_t)k),
                .port = i,
                .critical = f->server[i].critical,
                .priority = farm_two(f) && i >= FARM_HOME ? FARM_AWAY_LEVEL : 0,
                .weight = f->scene->weight[i]};
    }
    for (size_t c = 0; c < FARM_CLIENTS; c++)
        farm_break(f, lb_update(f->lb[c], v, n, farm_ms(f), &t) == ERR_OK,
                   "a list is taken");
}

/* --- Servers ------------------------------------------------------------- */

static inline void farm_event(struct farm *f, struct farm_request *r,
                              double in_us, enum lb_outcome o)
{
    r->outcome = o;
    heap_add(&f->events, &r->item, f->now_us + (uint64_t)in_us + 1);
}

static inline void farm_serve(struct farm *f, struct farm_request *r)
{
    struct farm_server *s = &f->server[r->server];
    double us = FARM_SERVICE_US;

    s->busy++;
    r->served = true;
    if (f->scene->kind[r->server] == FARM_SLOW)
        us *= 5;
    if (s->cold) {
        s->cold--;
        us *= 4;
    }
    us *= 6.0 / (3 * f->scene->weight[r->server] + 3); /* heavier is faster */
    farm_event(f, r, farm_exponential(f, us), LB_OK);
}

static inline void farm_arrive(struct farm *f, struct farm_request *r)
{
    struct farm_server *s = &f->server[r->server];

    s->picked++;
    farm_second(f)->picked++;
    farm_second(f)->home += r->server < FARM_HOME;
    if (s->down)
        farm_event(f, r, FARM_CONNECT_US, LB_REFUSED);
    else if (f->scene->kind[r->server] == FARM_FAILING &&
             lb_draw(&f->random) % 100 < 60)
        farm_event(f, r, 1000, LB_FAILED);
    else if (s->busy < FARM_WORKERS)
        farm_serve(f, r);
    else if (s->waiting < FARM_QUEUE_MAX) {
        s->waiting++;
        list_add(&s->queue, &r->link);
    } else
        farm_event(f, r, 1000, LB_FAILED);
}

static inline void farm_next_in_queue(struct farm *f, struct farm_server *s)
{
    s->busy--;
    if (list_empty(&s->queue))
        return;
    struct farm_request *r =
        container_of(s->queue.next, struct farm_request, link);
    list_del(&r->link);
    s->waiting--;
    farm_serve(f, r);
}

/* --- Requests ------------------------------------------------------------ */

static inline void farm_over(struct farm *f, struct farm_request *r, bool well)
{
    f->failed += !well;
    farm_second(f)->done++;
    farm_second(f)->failed += !well;
    farm_second(f)->slow += f->now_us - r->began_us > 10ULL * FARM_SERVICE_US;
    f->latency_us[f->done++] = (uint32_t)(f->now_us - r->began_us);
    f->open--;
    list_add(&f->idle, &r->link);
}

static inline void farm_attempt(struct farm *f, struct farm_request *r)
{
    struct lb_ask ask = {.key = bytes_str(r->key),
                         .exclude = r->tried,
                         .exclude_n = r->attempts,
                         .now_ms = farm_ms(f),
                         .random = lb_draw(&f->random)};

    enum err e = lb_pick(f->lb[r->client], &ask, &r->ticket);
    if (e == ERR_NOT_FOUND && ask.exclude_n) { /* all were tried: once more */
        ask.exclude_n = 0;
        e = lb_pick(f->lb[r->client], &ask, &r->ticket);
    }
    if (e != ERR_OK) {
        farm_break(f, false, "something can be picked");
        farm_over(f, r, false);
        return;
    }
    for (size_t i = 0; i < ask.exclude_n; i++)
        farm_break(f, r->tried[i] != r->ticket.id,
                   "what was excluded is not picked");
    r->server = r->ticket.port;
    r->tried[r->attempts++] = r->ticket.id;
    r->attempt_us = f->now_us;
    r->served = false;
    f->server[r->server].in_flight[r->client]++;
    farm_arrive(f, r);
}

static inline void farm_answered(struct farm *f, struct farm_request *r)
{
    struct farm_server *s = &f->server[r->server];

    s->in_flight[r->client]--;
    if (r->served)
        farm_next_in_queue(f, s);
    farm_break(f,
               lb_report(f->lb[r->client], &r->ticket, r->outcome,
                         (uint32_t)(f->now_us - r->attempt_us),
                         farm_ms(f)) == ERR_OK,
               "a report is taken");
    if (r->outcome == LB_OK) {
        farm_over(f, r, true);
        return;
    }
    f->failed_first += r->attempts == 1;
    if (r->attempts < FARM_ATTEMPTS)
        farm_attempt(f, r);
    else
        farm_over(f, r, false);
}

static inline void farm_new_request(struct farm *f)
{
    struct farm_request *r = NULL;

    if (list_empty(&f->idle)) {
        r = calloc(1, sizeof *r);
        if (!r)
            abort();
        list_init(&r->link);
    } else {
        r = container_of(f->idle.next, struct farm_request, link);
        list_del(&r->link);
    }
    uint64_t x = lb_draw(&f->random);
    bool hot = x % 100 < f->scene->hot_percent;
    (void)snprintf(r->key, sizeof r->key, "k%u",
                   hot ? 0 : (unsigned)(x >> 32) % FARM_KEYS);
    r->client = (uint32_t)(x >> 8) % FARM_CLIENTS;
    r->began_us = f->now_us;
    r->attempts = 0;
    f->open++;
    farm_attempt(f, r);
}

/* --- Time ---------------------------------------------------------------- */

/* The home datacenter goes and comes back; the registry sees it later. */
static inline bool farm_outage(struct farm *f, uint64_t second)
{
    const struct farm_scene *x = f->scene;
    bool changed = false;

    for (size_t i = 0; farm_two(f) && i < FARM_HOME; i++) {
        struct farm_server *s = &f->server[i];
        bool down = second >= x->down_from_s && second < x->down_to_s;
        bool critical = second >= x->down_from_s + FARM_NOTICE_S &&
                        second < x->down_to_s + FARM_NOTICE_S;
        if (s->down && !down)
            s->cold = FARM_COLD;
        s->down = down;
        changed |= critical != s->critical;
        s->critical = critical;
    }
    return changed;
}

/* What comes and goes; calm at the end, so that all must recover. */
static inline void farm_weather(struct farm *f)
{
    uint64_t second = f->now_us / 1000000;
    bool calm = second + 1 >= f->end_us / 1000000;
    bool changed =
        farm_outage(f, second + f->scene->seconds - f->end_us / 1000000);

    for (uint64_t i = 0; i < FARM_SERVERS; i++) {
        struct farm_server *s = &f->server[i];
        if (f->scene->kind[i] == FARM_FLAPPING)
            s->down = !calm && (second + i) / 3 % 2;
        if (f->scene->kind[i] != FARM_RESTLESS)
            continue;
        bool out = !calm && (second + i) / 2 % 2;
        changed |= out != s->unlisted;
        s->unlisted = out;
    }
    if (changed)
        farm_list(f);
}

struct farm_compare {
    struct farm *f;
    size_t client;
};

/* The balancer's idea of a server against the truth. */
static inline void farm_compare_one(void *ctx,
                                    const struct lb_endpoint_state *e)
{
    struct farm_compare *c = ctx;
    struct farm_server *s = &c->f->server[e->port];

    farm_break(c->f, e->active == s->in_flight[c->client],
               "requests in flight are counted right");
    /* What the client's own prober would find out. */
    if (e->unreachable && !s->down)
        lb_reachable(c->f->lb[c->client], e->id, farm_ms(c->f));
}

static inline void farm_tick(struct farm *f)
{
    farm_weather(f);
    for (size_t c = 0; c < FARM_CLIENTS; c++) {
        struct farm_compare compare = {f, c};
        struct lb_state s;
        farm_break(f, lb_tick(f->lb[c], farm_ms(f)) == ERR_OK, "time passes");
        lb_each(f->lb[c], farm_ms(f), farm_compare_one, &compare);
        lb_get_state(f->lb[c], &s);
        farm_break(f, s.ejected <= 1, "ejections stay within the share");
        farm_break(f, s.unreachable <= s.usable / 2,
                   "unreachable ones stay above panic");
    }
    heap_add(&f->events, &f->tick, f->now_us + FARM_TICK_US);
}

static inline void farm_step(struct farm *f)
{
    struct heap_item *e = heap_min(&f->events);

    f->now_us = e->due_ms;
    heap_del(&f->events, e);
    if (e == &f->tick) {
        if (f->now_us < f->end_us || f->open)
            farm_tick(f);
    } else if (e == &f->arrival) {
        if (f->now_us >= f->end_us || f->done + f->open >= f->requests_max)
            return;
        heap_add(&f->events, e,
                 f->now_us + (uint64_t)farm_exponential(f, f->gap_us) + 1);
        farm_new_request(f);
    } else {
        farm_answered(f, container_of(e, struct farm_request, item));
    }
}

/* --- A run --------------------------------------------------------------- */

static inline void farm_start(struct farm *f, const struct farm_scene *scene,
                              const struct lb_options *o, uint64_t seed)
{
    struct errtext t;

    *f = (struct farm){.scene = scene, .random = seed, .now_us = 1000000000};
    f->end_us = f->now_us + scene->seconds * 1000000ULL;
    f->gap_us = FARM_SERVICE_US * 100.0 / FARM_SERVERS / FARM_WORKERS /
                scene->load_percent;
    f->requests_max = (size_t)(scene->seconds * 2e6 / f->gap_us) + 1000;
    f->latency_us = calloc(f->requests_max, sizeof *f->latency_us);
    list_init(&f->idle);
    for (size_t i = 0; i < FARM_SERVERS; i++)
        list_init(&f->server[i].queue);
    for (uint64_t c = 0; c < FARM_CLIENTS; c++) {
        struct lb_options mine = *o;
        mine.seed = seed * FARM_CLIENTS + c;
        if (!f->latency_us || lb_new(&mine, &f->lb[c], &t) != ERR_OK)
            abort();
    }
    farm_list(f);
    heap_add(&f->events, &f->tick, f->now_us + 1);
    heap_add(&f->events, &f->arrival, f->now_us + 1);
}

static inline void farm_run(struct farm *f)
{
    while (heap_min(&f->events))
        farm_step(f);
    farm_break(f, f->open == 0, "every request is answered");
}

static inline void farm_end(struct farm *f)
{
    while (!list_empty(&f->idle)) {
        struct farm_request *r =
            container_of(f->idle.next, struct farm_request, link);
        list_del(&r->link);
        free(r);
    }
    for (size_t c = 0; c < FARM_CLIENTS; c++)
        lb_free(f->lb[c]);
    free(f->latency_us);
}

static int farm_by_value(const void *x, const void *y)
{
    uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
    return (a > b) - (a < b);
}

struct farm_result {
    double p50_ms, p99_ms;
    double spread;       /* greatest share of attempts, of what it should be */
    double failed_first; /* percent of requests whose first attempt failed */
    double failed;       /* percent that failed after all attempts */
    size_t requests;
    uint32_t picked[FARM_SERVERS];
};

static inline struct farm_result farm_result(struct farm *f)
{
    struct farm_result r = {.requests = f->done};
    double weights = 0, attempts = 0;

    qsort(f->latency_us, f->done, sizeof *f->latency_us, farm_by_value);
    if (f->done) {
        r.p50_ms = f->latency_us[f->done / 2] / 1e3;
        r.p99_ms = f->latency_us[f->done * 99 / 100] / 1e3;
        r.failed_first = 100.0 * (double)f->failed_first / (double)f->done;
        r.failed = 100.0 * (double)f->failed / (double)f->done;
    }
    for (size_t i = 0; i < FARM_SERVERS; i++) {
        weights += f->scene->weight[i];
        attempts += f->server[i].picked;
        r.picked[i] = f->server[i].picked;
    }
    for (size_t i = 0; i < FARM_SERVERS && attempts > 0; i++) {
        double share = f->server[i].picked / attempts;
        if (f->scene->weight[i] == 0)
            continue;
        share /= f->scene->weight[i] / weights;
        r.spread = share > r.spread ? share : r.spread;
    }
    return r;
}

#endif
