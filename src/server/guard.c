/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/guard.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/metric.h"
#include "duty/duty.h"
#include "http/request.h"
#include "server/pulse.h"
#include "server/serving.h"

enum {
    LEASE_MS = 10 * 1000,
    PROBE_SHARE = 6, /* tries in one window */
    PROBE_MIN_MS = 1000,
    PROBE_MAX_MS = 10 * 1000,
    PROBE_TIMEOUT_MS = 2000,
    LATE_MS = 1000, /* we were not there */
};

/* Of the IDs given to the prober: no check can have such a one. */
#define PROBE_ID "\x01guard:"

struct guardian {
    struct core *core;
    struct duty *duty;
    struct store_duty campaign;
    struct queue *beats; /* struct beat_letter */
    struct timer timer;
    uint64_t due_ms; /* the timer's; 0: none */
    bool stopped;

    struct store_change change;
    struct store_outcome outcome;
    struct core_letter letter;
};

static uint64_t now_ms(const struct guardian *g)
{
    return uv_now(g->core->loop);
}

/* --- Running ------------------------------------------------------------- */

static void count(const struct guardian *g)
{
    struct duty_counts n = duty_counts(g->duty);

    metric_set(METRIC_GUARD_HELD, (int64_t)n.held);
    metric_set(METRIC_GUARD_PROBED, (int64_t)n.probed);
    metric_set(METRIC_GUARD_REFUSED, (int64_t)n.refused);
    metric_set(METRIC_GUARD_BY_TIME, (int64_t)n.by_time);
    metric_set(METRIC_GUARD_WINDOWS, (int64_t)n.windows);
    metric_set(METRIC_GUARD_EXPIRED, (int64_t)n.expired);
}

static void run(struct guardian *g)
{
    if (g->stopped || !g->core->loaded)
        return;
    /* A process that was stopped has not read yet what was confirmed meanwhile. */
    if (g->due_ms && now_ms(g) > g->due_ms + LATE_MS)
        duty_excuse(g->duty, now_ms(g));
    uint64_t delay_ms = duty_run(g->duty, now_ms(g));

    g->due_ms = delay_ms == UINT64_MAX ? 0 : now_ms(g) + delay_ms;
    count(g);
    if (delay_ms == UINT64_MAX)
        timer_clear(&g->core->timers, &g->timer);
    else
        timer_set(&g->core->timers, &g->timer, delay_ms);
}

static void on_timer(struct timer *t)
{
    run(container_of(t, struct guardian, timer));
}

void guard_published(struct core *c)
{
    if (c->guardian)
        run(c->guardian);
}

void guard_configure(struct core *c)
{
    const struct api_self *self = atomic_load(&c->process->live);

    if (!c->guardian)
        return;
    duty_configure(c->guardian->duty, self->guard, self->guard_window_ms);
    run(c->guardian);
}

/* --- Plans --------------------------------------------------------------- */

static void on_settled(struct core *c, struct core_letter *l)
{
    struct guardian *g = container_of(l, struct guardian, letter);
    const struct store_outcome *o = &g->outcome;

    if (g->stopped)
        return;
    if (o->verdict == STORE_REFUSED || o->verdict == STORE_UNAVAILABLE)
        log_warn("guard", "cannot write, trying again: error=\"%s\"",
                 o->text.s[0] ? o->text.s : err_text(o->why));
    duty_committed(g->duty, o->verdict == STORE_COMMITTED,
                   o->verdict == STORE_CONFLICT, o->revision);
    run(c->guardian);
}

/* On the store thread. */
static void on_done(struct store_change *ch, const struct store_outcome *o)
{
    struct guardian *g = container_of(ch, struct guardian, change);

    g->outcome = *o;
    g->letter.run = on_settled;
    core_post(g->core, &g->letter);
}

static void on_commit(void *ctx, const struct plan *p, const char *what)
{
    struct guardian *g = ctx;

    g->change = (struct store_change){
        .guards = p->guards,
        .guard_count = p->guard_count,
        .ops = p->ops,
        .op_count = p->op_count,
        .meta = bytes_str(what),
        .done = on_done,
    };
    g->outcome = (struct store_outcome){.verdict = STORE_UNAVAILABLE};
    enum err e =
        store_submit(g->core->process->store, &g->change, &g->outcome.text);
    if (e == ERR_OK)
        return;
    g->outcome.why = e;
    g->letter.run = on_settled;
    core_post(g->core, &g->letter);
}

/* --- Probes -------------------------------------------------------------- */

static char *probe_id(struct bytes key)
{
    size_t n = sizeof PROBE_ID - 1;
    char *id = xmalloc(n + key.n);

    memcpy(id, PROBE_ID, n);
    memcpy(id + n, key.p, key.n);
    return id;
}

static uint64_t probe_interval_ms(const struct guardian *g)
{
    const struct api_self *self = atomic_load(&g->core->process->live);
    uint64_t ms = self->guard_window_ms / PROBE_SHARE;

    return ms < PROBE_MIN_MS   ? PROBE_MIN_MS
           : ms > PROBE_MAX_MS ? PROBE_MAX_MS
                               : ms;
}

static void on_probe(void *ctx, struct bytes key, struct bytes host,
                     int64_t port)
{
    struct guardian *g = ctx;
    char *id = probe_id(key);
    bool v6 = bytes_find(host, ':') < host.n;
    struct buf target;
    uint64_t interval_ms = probe_interval_ms(g);
    uint64_t timeout_ms =
        interval_ms < PROBE_TIMEOUT_MS ? interval_ms : PROBE_TIMEOUT_MS;

    buf_init(&target, 0);
    buf_printf(&target, "%s%.*s%s:%lld", v6 ? "[" : "", BYTES_ARG(host),
               v6 ? "]" : "", (long long)port);
    struct check_def d = {
        .id = bytes_of(id, sizeof PROBE_ID - 1 + key.n),
        .name = bytes_str("guard"),
        .tcp = buf_bytes(&target),
        .interval_ns = (int64_t)interval_ms * 1000000,
        .timeout_ns = (int64_t)timeout_ms * 1000000,
        .failures_before_warning = -1,
    };
    enum err e = target.bad ? ERR_NOMEM
                            : probe_start(g->core->prober, &d, GUARD_PROBE, 1);
    if (e != ERR_OK)
        log_warn("guard",
                 "cannot try a held instance: instance=%.*s error=\"%s\"",
                 BYTES_ARG(key), err_text(e));
    buf_fini(&target);
    free(id);
}

static void on_unprobe(void *ctx, struct bytes key)
{
    struct guardian *g = ctx;
    char *id = probe_id(key);

    if (!g->stopped)
        probe_stop(g->core->prober, bytes_of(id, sizeof PROBE_ID - 1 + key.n));
    free(id);
}

/* A time-out of a prober that was late itself says nothing. */
static enum duty_verdict verdict_of(const struct probe_result *r)
{
    if (r->status == STATUS_PASSING)
        return DUTY_ACCEPTED;
    if (r->kind == RUN_REFUSED)
        return DUTY_REFUSED;
    return r->lag_ms ? DUTY_UNKNOWN : DUTY_UNREACHABLE;
}

void guard_result(struct core *c, const struct probe_result *r)
{
    struct bytes id = bytes_of(r->data, r->id_n);
    enum duty_verdict v = verdict_of(r);

    if (!c->guardian || c->guardian->stopped || v == DUTY_UNKNOWN)
        return;
    duty_probed(c->guardian->duty, bytes_skip(id, sizeof PROBE_ID - 1), v);
    run(c->guardian);
}

/* --- The campaign -------------------------------------------------------- */

/* From the store thread to the core thread. */
struct campaign_letter {
    struct core_letter letter;
    bool gained;
    struct store_guard fence;
    char key[];
};

static void on_campaign(struct core *c, struct core_letter *l)
{
    struct campaign_letter *m = container_of(l, struct campaign_letter, letter);

    if (!c->guardian || c->guardian->stopped) {
        free(m);
        return;
    }
    if (m->gained) {
        log_info("guard", "this server watches over removals");
        duty_gained(c->guardian->duty, &m->fence, now_ms(c->guardian));
        pulse_gained(c, &m->fence);
    } else {
        duty_lost(c->guardian->duty);
        pulse_lost(c);
    }
    run(c->guardian);
    free(m);
}

static void post_campaign(struct guardian *g, const struct store_guard *fence)
{
    size_t n = fence ? fence->key.n : 0;
    struct campaign_letter *m = xzalloc(sizeof *m + n);

    m->letter.run = on_campaign;
    m->gained = fence != NULL;
    if (fence) {
        memcpy(m->key, fence->key.p, n);
        m->fence = *fence;
        m->fence.key = bytes_of(m->key, n);
    }
    core_post(g->core, &m->letter);
}

static void on_gained(struct store_duty *d, const struct store_guard *fence)
{
    post_campaign(container_of(d, struct guardian, campaign), fence);
}

static void on_lost(struct store_duty *d)
{
    post_campaign(container_of(d, struct guardian, campaign), NULL);
}

void guard_campaign(struct core *c)
{
    struct guardian *g = c->guardian;

    if (!g)
        return;
    g->campaign = (struct store_duty){.name = "guard",
                                      .ttl_ms = LEASE_MS,
                                      .gained = on_gained,
                                      .lost = on_lost};
    list_init(&g->campaign.link);
    enum err e = store_campaign(c->process->store, &g->campaign);
    if (e != ERR_OK)
        log_error("guard", "cannot campaign: %s", err_text(e));
}

/* --- Beats --------------------------------------------------------------- */

struct beat_letter {
    struct list link;
    uint64_t wall_ms;
    size_t node_n, id_n;
    char text[];
};

static void on_beats(void *ctx, struct list *letters)
{
    struct guardian *g = ctx;

    while (!list_empty(letters)) {
        struct beat_letter *m =
            container_of(letters->next, struct beat_letter, link);
        list_del(&m->link);
        if (!g->stopped)
            duty_beat(g->duty, bytes_of(m->text, m->node_n),
                      bytes_of(m->text + m->node_n, m->id_n), now_ms(g),
                      m->wall_ms);
        free(m);
    }
}

void guard_beat(struct process *p, struct bytes node, struct bytes service_id)
{
    struct beat_letter *m = malloc(sizeof *m + node.n + service_id.n);

    if (m) {
        m->wall_ms = serving_wall_ms();
        m->node_n = node.n;
        m->id_n = service_id.n;
        list_init(&m->link);
        memcpy(m->text, node.p, node.n);
        memcpy(m->text + node.n, service_id.p, service_id.n);
    }
    if (!m || queue_push(p->outside_beats, &m->link) != ERR_OK) {
        metric_add(METRIC_GUARD_BEATS_LOST, 1);
        free(m);
    }
}

void guard_put_beats(const struct process *p, uint64_t now_ms, struct buf *out)
{
    struct tree_iter it;

    tree_first(&beats_current(p->beats)->all, &it);
    for (const struct beat *e; (e = tree_next(&it));) {
        uint64_t at = atomic_load_explicit(&e->here_ms, memory_order_relaxed);
        uint64_t ago = now_ms > at ? now_ms - at : 0;
        if (!e->ttl_ms || !at || ago > GUARD_TOLD_MS)
            continue;
        buf_puts(out, "beat ");
        buf_u64(out, ago);
        buf_putc(out, ' ');
        http_encode(out, e->node);
        buf_putc(out, ' ');
        http_encode(out, e->id);
        buf_putc(out, '\n');
    }
}

static struct bytes take_word(struct bytes *line)
{
    size_t n = bytes_find(*line, ' ');
    struct bytes word = bytes_head(*line, n);

    *line = bytes_skip(*line, n + 1);
    return word;
}

static void take_beat(struct guardian *g, struct bytes line, struct arena *a)
{
    struct bytes node, id;
    uint64_t ago;

    if (!bytes_is(take_word(&line), "beat") ||
        bytes_u64(take_word(&line), &ago) != ERR_OK ||
        http_decode(a, take_word(&line), false, &node) != ERR_OK ||
        http_decode(a, line, false, &id) != ERR_OK)
        return;
    duty_beat_told(g->duty, node, id, ago, now_ms(g), serving_wall_ms());
}

void guard_take_beats(struct core *c, struct bytes text)
{
    struct guardian *g = c->guardian;
    struct arena a;

    if (!g || g->stopped)
        return;
    arena_init(&a, 0);
    while (text.n) {
        size_t end = bytes_find(text, '\n');
        take_beat(g, bytes_head(text, end), &a);
        text = bytes_skip(text, end + 1);
        arena_reset(&a);
    }
    arena_fini(&a);
}

void guard_excuse(struct core *c)
{
    if (c->guardian && !c->guardian->stopped)
        duty_excuse(c->guardian->duty, now_ms(c->guardian));
}

static void excuse(struct core *c, struct core_letter *l)
{
    guard_excuse(c);
    free(l);
}

void guard_store_is_back(struct core *c)
{
    struct core_letter *l = xzalloc(sizeof *l);

    l->run = excuse;
    core_post(c, l);
}

/* --- Life ---------------------------------------------------------------- */

enum err guard_new(struct core *c)
{
    const struct api_self *self = atomic_load(&c->process->live);
    struct guardian *g = xzalloc(sizeof *g);

    g->core = c;
    g->timer.fire = on_timer;
    list_init(&g->letter.link);
    g->duty = duty_new(&(struct duty_options){
        .catalog = c->process->catalog,
        .beats = c->process->beats,
        .own_node = c->process->self.node_name,
        .guard = self->guard,
        .window_ms = self->guard_window_ms,
        .probe = on_probe,
        .unprobe = on_unprobe,
        .commit = on_commit,
        .ctx = g,
    });
    c->guardian = g;
    return queue_new(c->loop, GUARD_BEATS_WAITING_MAX, on_beats, g,
                     &c->process->outside_beats);
}

void guard_stop(struct core *c)
{
    struct guardian *g = c->guardian;

    if (!g || g->stopped)
        return;
    g->stopped = true;
    timer_clear(&c->timers, &g->timer);
}

void guard_free(struct core *c)
{
    struct guardian *g = c->guardian;

    if (!g)
        return;
    if (c->process->outside_beats)
        queue_close(c->process->outside_beats);
    duty_free(g->duty);
    c->guardian = NULL;
    free(g);
}
