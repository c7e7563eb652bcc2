/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "probe/probe.h"

#include <errno.h>
#include <stdlib.h>

#include "base/metric.h"
#include "probe/impl.h"

enum order_kind { ORDER_START, ORDER_STOP, ORDER_CLOSE };

struct order {
    struct list link;
    enum order_kind kind;
    uint64_t generation, first_delay_ms;
    struct buf text; /* START: a stored definition; STOP: the ID */
};

void put_error(struct buf *out, int uv_error)
{
    buf_puts(out,
             uv_error == UV_ETIMEDOUT ? "i/o timeout" : uv_strerror(uv_error));
}

/* --- Lanes --------------------------------------------------------------- */

static void run(struct check *c)
{
    c->began_ms = uv_now(&c->prober->loop);
    switch (c->type) {
    case CHECK_HTTP:
        http_run(c);
        return;
    case CHECK_TCP:
        tcp_run(c);
        return;
    case CHECK_UDP:
        udp_run(c);
        return;
    case CHECK_H2PING:
        h2ping_run(c);
        return;
    case CHECK_GRPC:
        grpc_run(c);
        return;
    case CHECK_SCRIPT:
        script_run(c);
        return;
    case CHECK_DOCKER:
        docker_run(c);
        return;
    case CHECK_OS_SERVICE:
        os_service_run(c);
        return;
    case CHECK_NONE:
    case CHECK_TTL:
    case CHECK_ALIAS:
    case CHECK_MAINTENANCE:
        break;
    }
    require(false); /* the agent runs these itself */
}

/* A fork stops the whole process for a moment: a thousand in a row would stop
 * it for a second. */
static bool may_start(struct prober *p, struct lane *lane)
{
    uint64_t wait = pace_wait_ms(&lane->pace, uv_now(&p->loop));

    if (wait)
        timer_set(&p->timers, &lane->again, wait);
    return wait == 0;
}

/* In a loop, not in each other: runs may end at once. */
static void start_waiting(struct prober *p, struct lane *lane)
{
    if (lane->starting || p->closing)
        return;
    lane->starting = true;
    while (lane->running < lane->max && !list_empty(&lane->waiting) &&
           may_start(p, lane)) {
        struct check *c = container_of(lane->waiting.next, struct check, link);
        list_del(&c->link);
        lane->running++;
        run(c);
    }
    lane->starting = false;
}

void lane_left(struct prober *p, struct lane *lane)
{
    require(lane->running > 0);
    lane->running--;
    start_waiting(p, lane);
}

static void on_again(struct timer *t)
{
    struct lane *lane = container_of(t, struct lane, again);
    start_waiting(container_of(lane, struct prober, scripts), lane);
}

/* --- Checks -------------------------------------------------------------- */

/* Those of the same few milliseconds start together: a turn of the loop costs
 * nearly as much as a check. */
static void set_due(struct check *c, uint64_t delay_ms)
{
    uint64_t at = uv_now(&c->prober->loop) + delay_ms;
    uint64_t wait = (PROBE_GRID_MS - at % PROBE_GRID_MS) % PROBE_GRID_MS;
    timer_set(&c->prober->timers, &c->timer, delay_ms + wait);
}

static void on_due(struct timer *t)
{
    struct check *c = container_of(t, struct check, timer);
    list_add(&c->lane->waiting, &c->link);
    start_waiting(c->prober, c->lane);
}

void check_idle(struct check *c)
{
    c->run = NULL;
    c->cancel = NULL;
    set_due(c, c->interval_ms);
}

static void hand_over(struct prober *p)
{
    timer_clear(&p->timers, &p->hand_over);
    if (!list_empty(&p->results))
        p->o.results(p->o.ctx, &p->results);
}

static void on_hand_over(struct timer *t)
{
    hand_over(container_of(t, struct prober, hand_over));
}

/* What the prober's own host cannot do is no word of the target's either. */
enum run_kind check_kind_of_errno(int e)
{
    switch (e) {
    case ECONNREFUSED:
        return RUN_REFUSED;
    case ETIMEDOUT:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
    case EAGAIN:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
    case EADDRNOTAVAIL:
        return RUN_TIMED_OUT;
    default:
        return RUN_ANSWERED;
    }
}

enum run_kind check_kind(enum err why)
{
    if (why == ERR_REFUSED)
        return RUN_REFUSED;
    return why == ERR_TIMEOUT || why == ERR_UNAVAILABLE ? RUN_TIMED_OUT
                                                        : RUN_ANSWERED;
}

void check_report(struct check *c, enum status s, enum run_kind kind,
                  struct bytes output)
{
    struct probe_result *r = xmalloc(sizeof *r + c->def.id.n + output.n);
    struct prober *p = c->prober;
    bool first = list_empty(&p->results);

    metric_add(METRIC_PROBE_RUNS, 1);
    if (s != STATUS_PASSING)
        metric_add(METRIC_PROBE_FAILURES, 1);
    list_init(&r->link);
    r->generation = c->generation;
    r->status = s;
    r->kind = kind;
    r->lag_ms = kind == RUN_TIMED_OUT ? lag_since(&p->lag, c->began_ms) : 0;
    r->id_n = (uint16_t)c->def.id.n;
    r->output_n = output.n;
    memcpy(r->data, c->def.id.p, c->def.id.n);
    if (output.n)
        memcpy(r->data + c->def.id.n, output.p, output.n);
    list_add(&p->results, &r->link);
    if (s != c->told)
        hand_over(p);
    else if (first)
        timer_set(&p->timers, &p->hand_over, PROBE_RESULTS_MS);
    c->told = s;
}

void check_done(struct check *c, enum status s, enum run_kind kind,
                struct buf *text)
{
    struct prober *p = c->prober;
    struct lane *lane = c->lane;

    require(!text->bad);
    check_report(c, s, kind, buf_bytes(text));
    buf_fini(text);
    check_idle(c);
    lane_left(p, lane);
}

/* --- Connections ---------------------------------------------------------- */

static enum err make_tls(struct prober *p, struct errtext *t)
{
    if (p->tls)
        return ERR_OK;
    return tls_client_new(&p->o.tls, &p->tls, t);
}

bool check_stream(struct check *c, struct bytes target, bool use_tls,
                  const char *alpn, const struct stream_events *events,
                  void *ctx, struct stream **ret)
{
    struct prober *p = c->prober;
    struct errtext error = {0};
    struct buf text = {0};
    struct arena a;
    enum err e = use_tls ? make_tls(p, &error) : ERR_OK;

    arena_init(&a, 0);
    if (e == ERR_OK) {
        const struct stream_options o = {
            .target = target,
            .timeout_ms = c->timeout_ms,
            .tls = use_tls ? p->tls : NULL,
            .tls_name = c->def.tls_server_name.n
                            ? arena_str(&a, c->def.tls_server_name)
                            : NULL,
            .tls_skip_verify = c->def.tls_skip_verify,
            .alpn = alpn,
        };
        e = stream_open(&p->streams, &o, events, ctx, ret);
        if (e != ERR_OK)
            errtext_set(&error, "dial tcp: address %.*s: %s",
                        BYTES_ARG(bytes_head(target, 90)), err_text(e));
    }
    arena_fini(&a);
    if (e == ERR_OK)
        return true;
    buf_puts(&text, error.s);
    check_done(c, STATUS_CRITICAL, RUN_ANSWERED, &text);
    return false;
}

static void check_free(struct check *c)
{
    timer_clear(&c->prober->timers, &c->timer);
    list_del(&c->link);
    if (c->run)
        c->cancel(c->run);
    arena_fini(&c->arena);
    free(c);
}

static void stop(struct prober *p, struct bytes id)
{
    struct check *c = map_del(&p->checks, id);
    if (c)
        check_free(c);
}

static size_t output_max(const struct prober *p, const struct check_def *d)
{
    size_t max = p->o.output_max;
    return d->output_max > 0 && (uint64_t)d->output_max < max
               ? (size_t)d->output_max
               : max;
}

static void start(struct prober *p, const struct order *o)
{
    struct check *c = xzalloc(sizeof *c);

    arena_init(&c->arena, 0);
    struct bytes own = arena_copy(&c->arena, buf_bytes(&o->text));
    require(own.p && check_def_get(own, &c->def, &c->arena) == ERR_OK);
    stop(p, c->def.id);
    c->prober = p;
    c->type = check_def_type(&c->def);
    c->told = STATUS_OTHER;
    c->generation = o->generation;
    c->interval_ms = check_interval_ms(&c->def);
    c->timeout_ms = check_timeout_ms(&c->def);
    c->output_max = output_max(p, &c->def);
    c->lane = c->type == CHECK_SCRIPT ? &p->scripts : &p->net;
    c->timer.fire = on_due;
    list_init(&c->link);
    require(map_put(&p->checks, c->def.id, c) == ERR_OK);
    set_due(c, o->first_delay_ms);
}

/* --- Orders -------------------------------------------------------------- */

/* Afterwards the loop ends when scripts are reaped and handles closed. */
static void close_all(struct prober *p)
{
    size_t at = 0;
    void *c;

    p->closing = true;
    while (map_next(&p->checks, &at, NULL, &c))
        check_free(c);
    map_fini(&p->checks);
    fetcher_close(p->fetcher);
    queue_close(p->orders);
    hand_over(p);
    unit_bus_close(p);
    lag_close(&p->lag);
    names_close(p->streams.names);
    timers_close(&p->timers);
}

static void on_orders(void *ctx, struct list *orders)
{
    struct prober *p = ctx;

    while (!list_empty(orders)) {
        struct order *o = container_of(orders->next, struct order, link);
        list_del(&o->link);
        if (!p->closing) {
            switch (o->kind) {
            case ORDER_START:
                start(p, o);
                break;
            case ORDER_STOP:
                stop(p, buf_bytes(&o->text));
                break;
            case ORDER_CLOSE:
                close_all(p);
                break;
            }
        }
        buf_fini(&o->text);
        free(o);
    }
}

static void give_order(struct prober *p, struct order *take)
{
    struct list one;
    list_init(&one);
    list_add(&one, &take->link);
    /* No bound here: one for each change of a check, which are bounded. */
    queue_push_all(p->orders, &one);
}

enum err probe_start(struct prober *p, const struct check_def *d,
                     uint64_t generation, uint64_t first_delay_ms)
{
    struct order *o = xzalloc(sizeof *o);

    require(d->id.n <= UINT16_MAX);
    o->kind = ORDER_START;
    o->generation = generation;
    o->first_delay_ms = first_delay_ms;
    check_def_put(&o->text, d);
    if (o->text.bad) {
        buf_fini(&o->text);
        free(o);
        return ERR_NOMEM;
    }
    give_order(p, o);
    return ERR_OK;
}

void probe_stop(struct prober *p, struct bytes check_id)
{
    struct order *o = xzalloc(sizeof *o);

    o->kind = ORDER_STOP;
    buf_put(&o->text, check_id);
    require(!o->text.bad);
    give_order(p, o);
}

/* --- Thread -------------------------------------------------------------- */

static void thread_main(void *arg)
{
    struct prober *p = arg;
    (void)uv_run(&p->loop, UV_RUN_DEFAULT);
}

static enum err open_loop(struct prober *p)
{
    if (uv_loop_init(&p->loop) != 0)
        return ERR_NOMEM;
    enum err e = timers_init(&p->timers, &p->loop);
    if (e == ERR_OK)
        e = queue_new(&p->loop, 0, on_orders, p, &p->orders);
    if (e == ERR_OK)
        e = fetcher_new(&p->loop, &p->fetcher);
    if (e == ERR_OK)
        e = names_new(&p->loop, &p->timers, &p->streams.names);
    if (e == ERR_OK)
        e = lag_open(&p->lag, &p->loop);
    p->streams.loop = &p->loop;
    p->streams.timers = &p->timers;
    return e;
}

enum err prober_new(const struct prober_options *o, struct prober **ret,
                    struct errtext *t)
{
    struct prober *p = xzalloc(sizeof *p);

    p->o = *o;
    /* The system's authorities are read when somebody needs them. */
    if (o->tls.ca_file || o->tls.ca_path || o->tls.cert_file) {
        enum err bad = tls_client_new(&o->tls, &p->tls, t);
        if (bad == ERR_OK && o->tls.ca_path)
            bad = tls_files_pem(&o->tls, &p->ca_pem, t);
        if (bad != ERR_OK) {
            tls_client_free(p->tls);
            free(p);
            return bad;
        }
    }
    p->net.max = PROBE_RUNNING_MAX;
    p->scripts.max = PROBE_SCRIPTS_MAX;
    p->scripts.pace =
        (struct pace){.max = PROBE_FORKS_MAX, .window_ms = PROBE_FORKS_MS};
    p->scripts.again.fire = on_again;
    p->hand_over.fire = on_hand_over;
    list_init(&p->results);
    list_init(&p->net.waiting);
    list_init(&p->scripts.waiting);
    /* These fail only when the process has no descriptors or memory left, and
     * then it ends: nothing is taken apart. */
    enum err e = open_loop(p);
    if (e == ERR_OK && uv_thread_create(&p->thread, thread_main, p) != 0)
        e = ERR_NOMEM;
    if (e != ERR_OK)
        errtext_set(t, "cannot start the probe thread: %s", err_text(e));
    else
        *ret = p;
    return e;
}

void prober_close(struct prober *p)
{
    struct order *o = xzalloc(sizeof *o);

    o->kind = ORDER_CLOSE;
    give_order(p, o);
    uv_thread_join(&p->thread);
    require(uv_loop_close(&p->loop) == 0);
    tls_client_free(p->tls);
    buf_fini(&p->ca_pem);
    free(p);
}
