/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "dnsd/dnsd.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "dnsd/impl.h"
#include "loop/conn.h"

/* --- Answers ------------------------------------------------------------------- */

void thread_enter(struct dnsd_thread *t, struct dns_env *ret)
{
    const struct dnsd_options *o = &t->d->o;
    struct timespec now, steady;

    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    clock_gettime(CLOCK_MONOTONIC_COARSE, &steady);
    pin_enter(o->pins, t->pin);
    *ret = (struct dns_env){
        .cat = catalog_current(o->catalog),
        .set = atomic_load_explicit(o->settings, memory_order_acquire),
        .changes = o->changes,
        .zones = o->zones,
        .key = &t->d->key,
        .limits = t->d->limits,
        .now_us =
            (uint64_t)steady.tv_sec * 1000000 + (uint64_t)steady.tv_nsec / 1000,
        .now_s = (uint32_t)now.tv_sec,
        .partial = o->partial,
        .uses = o->uses,
        .part = o->dropped ? atomic_load(o->dropped) : 0,
    };
    if (o->age_ms)
        ret->too_old = o->age_ms(o->ctx) > ret->set->max_stale_ms;
}

void thread_leave(struct dnsd_thread *t)
{
    pin_leave(t->d->o.pins, t->pin);
}

static enum metric metric_of(uint16_t type)
{
    switch (type) {
    case DNS_ANY:
        return METRIC_DNS_ANY;
    case DNS_NS:
        return METRIC_DNS_NS;
    case DNS_SOA:
        return METRIC_DNS_SOA;
    case DNS_TXT:
        return METRIC_DNS_TXT;
    case DNS_A:
        return METRIC_DNS_A;
    case DNS_AAAA:
        return METRIC_DNS_AAAA;
    case DNS_SRV:
        return METRIC_DNS_SRV;
    case DNS_PTR:
        return METRIC_DNS_PTR;
    default:
        return METRIC_DNS_OTHER;
    }
}

static void count_answer(struct dnsd_thread *t, const struct dns_told *told)
{
    t->counts[metric_of(told->type)]++;
    t->counts[METRIC_DNS_TRUNCATED] += told->truncated;
    t->counts[METRIC_DNS_CACHED] += told->cached;
    switch (told->rcode) {
    case DNS_NXDOMAIN:
        t->counts[METRIC_DNS_NXDOMAIN]++;
        break;
    case DNS_REFUSED:
        t->counts[METRIC_DNS_REFUSED]++;
        break;
    case DNS_FORMERR:
    case DNS_NOTIMP:
        t->counts[METRIC_DNS_MALFORMED]++;
        break;
    case DNS_SERVFAIL:
        t->counts[METRIC_DNS_FAILED]++;
        break;
    default:
        break;
    }
}

enum dns_verdict thread_answer(struct dnsd_thread *t, struct dns_env *env,
                               struct bytes packet, uint8_t *out, size_t cap,
                               size_t *ret_n, size_t *ret_alias_at,
                               char ret_dc[DNS_LABEL_MAX + 1])
{
    struct dns_told told;

    env->random = t->random += UINT64_C(0x9e3779b97f4a7c15);
    enum dns_verdict v =
        dns_answer(t->worker, env, packet, out, cap, ret_n, &told);
    *ret_alias_at = t->forwarder ? told.alias_at : 0;
    if (v == DNS_ELSEWHERE) {
        size_t n = told.there ? told.wanted_n : 0;
        memcpy(ret_dc, told.wanted, n);
        ret_dc[n] = '\0';
        if (n == 0 && told.wanted_n)
            t->d->o.want(t->d->o.ctx, bytes_of(told.wanted, told.wanted_n));
    }
    if (told.limited) {
        t->counts[METRIC_DNS_LIMITED]++;
        t->counts[METRIC_DNS_SLIPPED] += v == DNS_ANSWERED;
    } else if (v == DNS_ANSWERED) {
        count_answer(t, &told);
    } else if (v == DNS_SILENCE) {
        t->counts[METRIC_DNS_MALFORMED]++;
    }
    return v;
}

void thread_count(struct dnsd_thread *t)
{
    for (int i = METRIC_DNS_FIRST; i <= METRIC_DNS_LAST; i++) {
        if (t->counts[i])
            metric_add((enum metric)i, t->counts[i]);
        t->counts[i] = 0;
    }
}

/* --- Threads --------------------------------------------------------------------- */

static void on_stop(uv_async_t *h)
{
    struct dnsd_thread *t = h->data;

    if (t->forwarder)
        forwarder_close(t->forwarder);
    follow_close(t);
    remote_close(t);
    udp_close(t->udp);
    tcp_close(t->tcp);
    timers_close(&t->timers);
    uv_close((uv_handle_t *)h, NULL);
}

static void run(void *arg)
{
    struct dnsd_thread *t = arg;
    char name[16];

    (void)snprintf(name, sizeof name, "dns-%d", t->number);
    pthread_setname_np(pthread_self(), name);
    uv_run(&t->loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&t->loop);
}

static enum err open_parts(struct dnsd_thread *t, const int *udp,
                           const int *tcp, struct errtext *text)
{
    const struct dnsd_options *o = &t->d->o;
    enum err e = pin_slot(o->pins, &t->pin);

    if (e == ERR_OK)
        e = dns_worker_new(DNSD_CACHE_BYTES, &t->worker);
    if (e == ERR_OK && uv_loop_init(&t->loop) != 0)
        e = ERR_IO;
    if (e == ERR_OK && uv_async_init(&t->loop, &t->stop, on_stop) != 0)
        e = ERR_IO;
    t->stop.data = t;
    if (e == ERR_OK)
        e = timers_init(&t->timers, &t->loop);
    if (e == ERR_OK)
        e = udp_open(t, udp, o->address_count, &t->udp);
    if (e == ERR_OK)
        e = tcp_open(t, tcp, o->address_count, &t->tcp);
    if (e == ERR_OK && o->recursor_count)
        e = forwarder_open(t, &t->forwarder, text);
    if (getrandom(&t->random, sizeof t->random, 0) != sizeof t->random)
        t->random = uv_hrtime();
    if (e != ERR_OK && text->s[0] == 0)
        errtext_set(text, "DNS thread %d: %s", t->number, err_text(e));
    return e;
}

static enum err start_thread(struct dnsd *d, int i, const int *udp,
                             const int *tcp, struct errtext *text)
{
    struct dnsd_thread *t = &d->thread[i];

    t->d = d;
    t->number = i;
    list_init(&t->following);
    list_init(&t->remote);
    enum err e = open_parts(t, udp, tcp, text);
    if (e == ERR_OK && uv_thread_create(&t->thread, run, t) != 0) {
        errtext_set(text, "DNS thread %d: cannot be started", i);
        e = ERR_IO;
    }
    return e;
}

/* --- Life -------------------------------------------------------------------------- */

struct sockets {
    int udp[DNSD_THREADS_MAX][DNSD_ADDRESSES_MAX];
    int tcp[DNSD_THREADS_MAX][DNSD_ADDRESSES_MAX];
};

/* Each address gives every thread a socket of either kind. */
static enum err listen_all(const struct dnsd_options *o, int threads,
                           struct sockets *ret, struct errtext *t)
{
    int udp[DNSD_THREADS_MAX], tcp[DNSD_THREADS_MAX];
    enum err e = ERR_OK;

    for (size_t a = 0; e == ERR_OK && a < o->address_count; a++) {
        e = listen_udp(o->addresses[a], o->port, threads, udp, t);
        if (e == ERR_OK)
            e = listen_tcp(o->addresses[a], o->port, threads, tcp, t);
        for (int i = 0; e == ERR_OK && i < threads; i++) {
            ret->udp[i][a] = udp[i];
            ret->tcp[i][a] = tcp[i];
        }
        if (e == ERR_OK)
            log_info("server", "DNS listens: address=%s port=%d",
                     o->addresses[a], o->port);
        else
            errtext_prefix(t, "DNS: ");
    }
    return e;
}

/* Cookies nobody can forge, buckets nobody can aim at. */
static enum err draw_secrets(struct dnsd *d)
{
    d->limits = calloc(1, sizeof *d->limits); /* not touched while off */
    if (!d->limits)
        return ERR_NOMEM;
    if (getrandom(&d->key, sizeof d->key, 0) != sizeof d->key ||
        getrandom(&d->limits->seed, sizeof d->limits->seed, 0) !=
            sizeof d->limits->seed)
        return ERR_IO;
    return ERR_OK;
}

enum err dnsd_start(const struct dnsd_options *o, struct dnsd **ret,
                    struct errtext *t)
{
    struct dnsd *d = calloc(1, sizeof *d);
    struct sockets *s = calloc(1, sizeof *s);
    enum err e = d && s ? ERR_OK : ERR_NOMEM;

    if (e == ERR_OK) {
        d->o = *o;
        d->threads = o->threads;
        if (d->o.conns_max == 0)
            d->o.conns_max = DNSD_CONNS_MAX;
        if (d->o.forwarded_max == 0)
            d->o.forwarded_max = DNSD_FORWARDED_MAX;
        e = draw_secrets(d);
    }
    if (e == ERR_OK)
        e = listen_all(o, o->threads, s, t);
    for (int i = 0; e == ERR_OK && i < o->threads; i++)
        e = start_thread(d, i, s->udp[i], s->tcp[i], t);
    free(s);
    if (e == ERR_OK)
        *ret = d;
    return e; /* else the process ends: nothing is torn down */
}

void dnsd_stop(struct dnsd *d)
{
    if (!d)
        return;
    for (int i = 0; i < d->threads; i++)
        uv_async_send(&d->thread[i].stop);
    for (int i = 0; i < d->threads; i++) {
        uv_thread_join(&d->thread[i].thread);
        dns_worker_free(d->thread[i].worker);
    }
    free(d->limits);
    free(d);
}
