/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* A service that is watched: lists come in, the balancer follows. */
#include "client/impl.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "lb/draw.h"

/* Those of the balancer, so that there is one place for each number. */
void muster_watch_options_init(struct muster_watch_options *o, size_t size)
{
    struct lb_options b;

    lb_options_init(&b);
    const struct muster_watch_options usual = {
        .panic_percent = b.panic_percent,
        .return_ms = b.return_ms,
        .choices = b.choices,
        .bias = b.bias,
        .decay_ms = b.decay_ms,
        .slow_start_aggression = b.slow_start_aggression,
        .slow_start_min_percent = b.slow_start_min_percent,
        .overprovision_percent = b.overprovision_percent,
        .zone_min_hosts = b.zone_min_hosts,
        .outlier_consecutive = b.outlier.consecutive,
        .outlier_refusals = b.outlier.refusals,
        .outlier_interval_ms = b.outlier.interval_ms,
        .outlier_base_ms = b.outlier.base_ms,
        .outlier_max_ms = b.outlier.max_ms,
        .outlier_max_percent = b.outlier.max_percent,
        .outlier_min_hosts = b.outlier.min_hosts,
        .outlier_success_requests = b.outlier.success_requests,
        .outlier_success_deviations = b.outlier.success_deviations,
        .outlier_failure_requests = b.outlier.failure_requests,
        .outlier_latency_requests = b.outlier.latency_requests,
        .budget_percent = b.budget_percent,
        .budget_per_second = b.budget_per_second,
    };
    sized_init(o, size, &usual, sizeof usual);
}

void service_error(struct muster_service *s, const char *format, ...)
{
    char text[MUSTER_TEXT];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    pthread_mutex_lock(&s->text_mutex);
    bool same = strcmp(text, s->last_error) == 0;
    memcpy(s->last_error, text, sizeof text);
    pthread_mutex_unlock(&s->text_mutex);
    handle_log(s->m, same ? MUSTER_DEBUG : MUSTER_WARN, "%s", text);
}

static void tell_ready(struct muster_service *s)
{
    const uint64_t one = 1;

    (void)!write(s->ready_fd, &one, sizeof one); /* full is readable, too */
}

void service_changed(struct muster_service *s)
{
    if (!s->ready)
        tell_ready(s);
    s->ready = true;
    if (!s->changed)
        return;
    s->m->callbacks++;
    s->changed(s->changed_ctx, s);
    s->m->callbacks--;
}

/* A list that stays as it is must not grow too old on the disk. */
static bool cache_is_due(const struct muster_service *s, uint64_t now_ms)
{
    uint64_t quarter = s->m->set.cache_max_age_ms / 4;
    uint64_t every = quarter < CACHE_REFRESH_MS ? quarter : CACHE_REFRESH_MS;

    if (now_ms < s->saved_ms + CACHE_EVERY_MS)
        return false;
    return s->unsaved || (s->home.roster && atomic_load(&s->home.connected) &&
                          now_ms >= s->saved_ms + every);
}

void service_callers(struct muster_service *s, const struct feed_callers *c)
{
    struct lb_callers v[LB_ZONES_MAX];
    size_t n = c->zones < LB_ZONES_MAX ? c->zones : LB_ZONES_MAX;

    for (size_t i = 0; i < n; i++)
        v[i] = (struct lb_callers){bytes_str(c->zone[i].name),
                                   (double)c->zone[i].callers};
    if (lb_set_callers(s->lb, v, n) != ERR_OK)
        return; /* more zones than there is room for: not with this n */
    if (c->ranked)
        lb_set_rank(s->lb, c->rank);
    s->ranked = s->ranked || c->ranked;
    s->rank = c->ranked ? c->rank : s->rank;
}

void service_beat(struct muster_service *s, uint64_t now_ms)
{
    if (now_ms >= s->tick_ms + TICK_MS || lb_wants_tick(s->lb)) {
        s->tick_ms = now_ms;
        if (lb_tick(s->lb, now_ms) != ERR_OK)
            service_error(s, "no memory to balance %s anew", s->name);
    }
    reconnect_start(s, now_ms);
    origins_beat(s, now_ms);
    if (s->cache_path && !s->home.roster && !s->disk_tried &&
        now_ms >= s->started_ms + DISK_AFTER_MS) {
        s->disk_tried = true;
        cache_load(s);
    }
    if (s->cache_path && cache_is_due(s, now_ms)) {
        s->unsaved = false;
        s->saved_ms = now_ms;
        cache_save(s);
    }
}

/* --- Making one ---------------------------------------------------------- */

void url_escape(struct buf *b, const char *text)
{
    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     (c >= '0' && c <= '9') || strchr("-_.~", c);
        if (plain)
            buf_putc(b, *p);
        else
            buf_printf(b, "%%%02X", c);
    }
}

static void put_param(struct buf *b, const char *name, const char *value,
                      char *mark)
{
    if (!value || !*value)
        return;
    buf_putc(b, *mark);
    *mark = '&';
    buf_puts(b, name);
    buf_putc(b, '=');
    url_escape(b, value);
}

/* What a stream that counts callers is asked for beside the query: by zone and,
 * for ranks, by what the program is called. */
/* As servers take them (docs/api.md); what is none would be refused. */
static bool is_label(const char *text, size_t max)
{
    size_t n = text ? strlen(text) : 0;

    for (size_t i = 0; i < n; i++)
        if (text[i] < ' ' || text[i] > '~')
            return false;
    return n <= max;
}

static char *make_callers(const struct muster *m,
                          const struct muster_watch_options *o)
{
    struct buf b;
    char mark = '&';

    buf_init(&b, 1024);
    put_param(&b, "subscriber", m->set.caller, &mark);
    put_param(&b, "zone", o->zone, &mark);
    buf_puts(&b, "&callers");
    char *text = b.bad ? NULL : buf_take(&b, NULL);
    buf_fini(&b);
    return text;
}

static char *make_path(const char *name)
{
    struct buf b;

    buf_init(&b, 1000);
    buf_puts(&b, "/v1/health/service/");
    url_escape(&b, name);
    char *path = b.bad ? NULL : buf_take(&b, NULL);
    buf_fini(&b);
    return path;
}

/* What the targets of all datacenters have; begins with "&", if anything. */
static char *make_params(const struct muster_watch_options *o)
{
    struct buf b;
    char mark = '&';

    buf_init(&b, 3000);
    put_param(&b, "tag", o->tag, &mark);
    put_param(&b, "filter", o->filter, &mark);
    char *params = b.bad ? NULL : buf_take(&b, NULL);
    buf_fini(&b);
    return params;
}

void service_free(struct muster_service *s)
{
    s->kept.magic = 0;
    if (s->home.roster && s->cache_path && s->unsaved)
        cache_save(s);
    for (size_t i = 0; i < s->away_n; i++) {
        origin_fini(s->away[i]);
        free(s->away[i]);
    }
    origin_fini(&s->home);
    lb_free(s->lb);
    free(s->name);
    free(s->path);
    free(s->params);
    free(s->callers);
    free(s->cache_path);
    if (s->ready_fd >= 0)
        close(s->ready_fd);
    (void)pthread_mutex_destroy(&s->text_mutex);
    kept_free(KEPT_SERVICE, &s->kept);
}

static struct lb_outlier_options
outlier_of(const struct muster_watch_options *o)
{
    return (struct lb_outlier_options){
        .off = o->outlier_off != 0,
        .consecutive = o->outlier_consecutive,
        .refusals = o->outlier_refusals,
        .interval_ms = o->outlier_interval_ms,
        .base_ms = o->outlier_base_ms,
        .max_ms = o->outlier_max_ms,
        .jitter_ms = o->outlier_jitter_ms,
        .max_percent = o->outlier_max_percent,
        .min_hosts = o->outlier_min_hosts,
        .success_requests = o->outlier_success_requests,
        .success_deviations = o->outlier_success_deviations,
        .failure_requests = o->outlier_failure_requests,
        .failure_percent = o->outlier_failure_percent,
        .latency_requests = o->outlier_latency_requests,
        .latency_factor = o->outlier_latency_factor,
    };
}

static enum err make_lb(const struct muster_watch_options *o, struct lb **ret,
                        struct errtext *t)
{
    struct lb_options b;

    lb_options_init(&b);
    if (o->policy)
        b.policy = bytes_str(o->policy);
    b.zone = bytes_str(o->zone);
    b.bounded_percent = o->bounded_percent;
    b.subset_size = o->subset_size;
    b.slow_start_ms = o->slow_start_ms;
    b.panic_percent = o->panic_percent;
    b.return_ms = o->return_ms;
    b.choices = o->choices;
    b.bias = o->bias;
    b.decay_ms = o->decay_ms;
    b.maglev_size = o->maglev_size;
    b.slow_start_aggression = o->slow_start_aggression;
    b.slow_start_min_percent = o->slow_start_min_percent;
    b.overprovision_percent = o->overprovision_percent;
    b.zone_min_hosts = o->zone_min_hosts;
    b.outlier = outlier_of(o);
    b.budget_percent = o->budget_percent;
    b.budget_per_second = o->budget_per_second;
    /* Not of the handle's numbers: those are its thread's. */
    if (getrandom(&b.seed, sizeof b.seed, 0) < 0)
        b.seed = lb_mix(mono_ms() ^ (uintptr_t)&b);
    return lb_new(&b, ret, t);
}

static enum err service_fill(struct muster_service *s, const char *name,
                             const struct muster_watch_options *o)
{
    const char *dir = s->m->set.cache_dir;

    const char *dc = s->m->set.datacenter;

    s->name = strdup(name);
    s->path = make_path(name);
    s->params = make_params(o);
    if (s->wants_callers)
        s->callers = make_callers(s->m, o);
    if (!s->name || !s->path || !s->params || (s->wants_callers && !s->callers))
        return ERR_NOMEM;
    if (origin_init(&s->home, s, dc ? dc : "", 0) != ERR_OK)
        return ERR_NOMEM;
    if (dir && !(s->cache_path = cache_path(dir, name, s->home.target)))
        return ERR_NOMEM;
    if (failover_make(s) != ERR_OK)
        return ERR_NOMEM;
    s->ready_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return s->ready_fd < 0 ? ERR_IO : ERR_OK;
}

static enum err service_new(struct muster *m, const char *name,
                            const struct muster_watch_options *o,
                            struct muster_service **ret, struct errtext *t)
{
    struct muster_service *s = kept_new(KEPT_SERVICE, sizeof *s);

    if (!s)
        return ERR_NOMEM;
    s->m = m;
    s->ready_fd = -1;
    s->changed = o->changed;
    s->changed_ctx = o->ctx;
    s->slow_start = o->slow_start_ms > 0;
    s->wants_callers = (o->subset_size > 0 || (o->zone && *o->zone)) &&
                       is_label(o->zone, ZONE_LABEL_MAX) &&
                       is_label(m->set.caller, CALLER_LABEL_MAX);
    list_init(&s->probes);
    s->home.s = s;
    (void)pthread_mutex_init(&s->text_mutex, NULL);
    enum err e = make_lb(o, &s->lb, t);
    s->failover = m->set.failover;
    if (e == ERR_OK && o->failover)
        e = failover_parse(o->failover, m->set.datacenter, &s->failover, t);
    if (e == ERR_OK)
        e = service_fill(s, name, o);
    if (e != ERR_OK) {
        service_free(s);
        return e;
    }
    s->kept.magic = SERVICE_MAGIC;
    *ret = s;
    return ERR_OK;
}

struct watch_call {
    struct call call;
    struct muster_service *s;
};

static void watch_run(struct muster *m, struct call *c)
{
    struct muster_service *s = container_of(c, struct watch_call, call)->s;

    list_add(&m->services, &s->link);
    s->started_ms = mono_ms();
    origins_start(s);
    c->result = error_of(failover_start(s));
    if (c->result == MUSTER_OK)
        return;
    origins_stop(s);
    list_del(&s->link);
}

static bool watch_options_of(const struct muster_watch_options *o,
                             struct muster_watch_options *ret)
{
    muster_watch_options_init(ret, sizeof *ret);
    return !o || sized_take(ret, sizeof *ret, o);
}

int muster_watch(struct muster *m, const char *name,
                 const struct muster_watch_options *o,
                 struct muster_service **ret, char *why)
{
    struct muster_watch_options mine;
    struct watch_call c = {.call = {.run = watch_run}};
    struct errtext t = {""};
    int e = handle_check(m);

    if (e == MUSTER_OK &&
        (!name || !*name || strlen(name) > ROSTER_TEXT_MAX || !ret)) {
        errtext_set(&t, "a service's name has 1 to %d bytes", ROSTER_TEXT_MAX);
        e = MUSTER_EINVAL;
    }
    if (e == MUSTER_OK && !watch_options_of(o, &mine)) {
        errtext_set(&t, "%s", SIZED_WRONG("muster_watch_options_init"));
        e = MUSTER_EINVAL;
    }
    if (e == MUSTER_OK)
        e = error_of(service_new(m, name, &mine, &c.s, &t));
    if (e == MUSTER_OK) {
        e = handle_call(m, &c.call);
        if (e != MUSTER_OK)
            service_free(c.s);
    }
    if (e == MUSTER_OK)
        *ret = c.s;
    else
        set_why(why, t.s[0] ? t.s : muster_error_text(e));
    return e;
}

int muster_wait(struct muster_service *s, uint64_t timeout_ms)
{
    int e = service_check(s);
    uint64_t until = mono_ms() + timeout_ms;

    if (e != MUSTER_OK)
        return e;
    if (handle_is_here(s->m))
        return MUSTER_EBUSY;
    for (;;) {
        struct pollfd p = {.fd = s->ready_fd, .events = POLLIN};
        uint64_t now = mono_ms(), left = until > now ? until - now : 0;
        int n = poll(&p, 1, left < 1000000 ? (int)left : 1000000);
        if (n > 0)
            return MUSTER_OK;
        if (n < 0 && errno != EINTR)
            return MUSTER_ESYSTEM;
        if (left == 0)
            return MUSTER_ETIMEOUT;
    }
}
