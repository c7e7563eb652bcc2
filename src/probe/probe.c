/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "probe/probe.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/metric.h"
#include "health/judge.h"
#include "probe/impl.h"

enum {
    COMMANDS_MAX = 0, /* no bound: bounded by the agent's number of checks */
    CHECK_BYTES_MAX = 4 << 20, /* one definition, unpacked */
};

enum command_kind { COMMAND_START, COMMAND_STOP, COMMAND_CLOSE };

struct command {
    struct list link;
    enum command_kind kind;
    uint64_t generation, first_delay_ms;
    size_t n;
    char data[]; /* START: the packed definition; STOP: the check's ID */
};

/* --- Runs
 * --------------------------------------------------------------------- */

static bool is_script(const struct check *k)
{
    return k->type == CHECK_SCRIPT;
}

static void check_free(struct check *k)
{
    arena_fini(&k->arena);
    free(k);
}

static void not_supported(struct check *k)
{
    char text[160];
    snprintf(text, sizeof text,
             "This version of muster cannot run checks of type \"%s\"",
             check_type_name(k->type));
    check_finished(k, STATUS_CRITICAL, bytes_str(text));
}

static void begin(struct check *k)
{
    struct prober *p = k->prober;
    k->running = true;
    p->running++;
    p->scripts += is_script(k);
    switch (k->type) {
    case CHECK_HTTP:
        http_begin(k);
        return;
    case CHECK_TCP:
        tcp_begin(k);
        return;
    case CHECK_SCRIPT:
        script_begin(k);
        return;
    case CHECK_NONE:
    case CHECK_GRPC:
    case CHECK_UDP:
    case CHECK_H2PING:
    case CHECK_DOCKER:
    case CHECK_OS_SERVICE:
    case CHECK_TTL:
    case CHECK_ALIAS:
    case CHECK_MAINTENANCE:
        not_supported(k);
        return;
    }
}

static bool has_room(const struct prober *p, const struct check *k)
{
    return p->running < PROBE_RUNNING_MAX &&
           (!is_script(k) || p->scripts < PROBE_SCRIPTS_MAX);
}

static void due(struct timer *t)
{
    struct check *k = container_of(t, struct check, due);
    struct prober *p = k->prober;
    if (has_room(p, k))
        begin(k);
    else
        list_add(is_script(k) ? &p->scripts_waiting : &p->waiting, &k->waiting);
}

/* Scripts wait in a line of their own, so that they hold up nobody else. */
static void next_waiting(struct prober *p)
{
    struct list *lines[] = {&p->waiting, &p->scripts_waiting};
    for (int i = 0; i < 2; i++) {
        if (list_empty(lines[i]))
            continue;
        struct check *k = container_of(lines[i]->next, struct check, waiting);
        if (!has_room(p, k))
            continue;
        list_del(&k->waiting);
        timer_set(&p->timers, &k->due, 0); /* not from within a run's end */
    }
}

static void report(struct check *k, enum status status, struct bytes output)
{
    struct prober *p = k->prober;
    struct bytes id = k->def.id;
    struct probe_result *r = xmalloc(sizeof *r + id.n + output.n);
    list_init(&r->link);
    r->generation = k->generation;
    r->status = status;
    r->id_n = (uint16_t)id.n;
    r->output_n = output.n;
    memcpy(r->data, id.p, id.n);
    if (output.n)
        memcpy(r->data + id.n, output.p, output.n);
    p->options.result(p->options.ctx, r);
}

void check_finished(struct check *k, enum status status, struct bytes output)
{
    struct prober *p = k->prober;
    k->running = false;
    k->run = NULL;
    p->running--;
    p->scripts -= is_script(k);
    metric_add(METRIC_PROBE_RUNS, 1);
    if (status != STATUS_PASSING)
        metric_add(METRIC_PROBE_FAILURES, 1);
    if (k->dead) {
        check_free(k);
    } else {
        report(k, status, output);
        timer_set(&p->timers, &k->due, k->interval_ms);
    }
    if (!p->closing)
        next_waiting(p);
}

/* --- Commands
 * ------------------------------------------------------------------- */

static void stop(struct prober *p, struct check *k)
{
    map_del(&p->checks, k->key);
    timer_clear(&p->timers, &k->due);
    list_del(&k->waiting);
    k->dead = true;
    if (!k->running) {
        check_free(k);
        return;
    }
    switch (k->type) {
    case CHECK_HTTP:
        http_cancel(k);
        return;
    case CHECK_TCP:
        tcp_cancel(k);
        return;
    case CHECK_SCRIPT:
        script_cancel(k);
        return;
    case CHECK_NONE:
    case CHECK_GRPC:
    case CHECK_UDP:
    case CHECK_H2PING:
    case CHECK_DOCKER:
    case CHECK_OS_SERVICE:
    case CHECK_TTL:
    case CHECK_ALIAS:
    case CHECK_MAINTENANCE:
        return; /* these end within their beginning */
    }
}

static struct bytes folded(struct arena *a, struct bytes id)
{
    struct buf b;
    buf_init(&b, 0);
    buf_put_fold(&b, id);
    struct bytes ret = arena_copy(a, buf_bytes(&b));
    buf_fini(&b);
    return ret;
}

static void stop_id(struct prober *p, struct bytes id)
{
    struct arena a;
    arena_init(&a, 0);
    struct check *k = map_get(&p->checks, folded(&a, id));
    arena_fini(&a);
    if (k)
        stop(p, k);
}

static void start(struct prober *p, const struct command *c)
{
    struct check *k = xzalloc(sizeof *k);
    k->prober = p;
    list_init(&k->waiting);
    arena_init(&k->arena, CHECK_BYTES_MAX);
    struct bytes value = arena_copy(&k->arena, bytes_of(c->data, c->n));
    if (!value.p || check_def_get(value, &k->def, &k->arena) != ERR_OK) {
        log_error("probe", "a check's definition cannot be read: bytes=%zu",
                  c->n);
        check_free(k);
        return;
    }
    stop_id(p, k->def.id);
    k->key = folded(&k->arena, k->def.id);
    k->type = check_def_type(&k->def);
    k->generation = c->generation;
    k->interval_ms = check_interval_ms(&k->def);
    k->timeout_ms = check_timeout_ms(&k->def);
    k->output_max = p->options.output_max;
    if (k->def.output_max > 0 && (size_t)k->def.output_max < k->output_max)
        k->output_max = (size_t)k->def.output_max;
    k->due.fire = due;
    if (map_put(&p->checks, k->key, k) != ERR_OK) {
        log_error("probe", "out of memory: the check %.*s does not run",
                  BYTES_ARG(k->def.id));
        check_free(k);
        return;
    }
    timer_set(&p->timers, &k->due, c->first_delay_ms);
}

/* Runs that are under way end by themselves, at once; then nothing keeps the
 * loop alive. */
static void close_all(struct prober *p)
{
    p->closing = true;
    for (;;) {
        size_t at = 0;
        struct bytes key;
        void *value;
        if (!map_next(&p->checks, &at, &key, &value))
            break;
        stop(p, value);
    }
    fetcher_close(p->fetcher);
    p->fetcher = NULL;
    queue_close(p->commands);
    timers_close(&p->timers);
}

static void on_commands(void *ctx, struct list *items)
{
    struct prober *p = ctx;
    bool close = false;
    while (!list_empty(items)) {
        struct command *c = container_of(items->next, struct command, link);
        list_del(&c->link);
        switch (c->kind) {
        case COMMAND_START:
            start(p, c);
            break;
        case COMMAND_STOP:
            stop_id(p, bytes_of(c->data, c->n));
            break;
        case COMMAND_CLOSE:
            close = true;
            break;
        }
        free(c);
    }
    if (close && !p->closing)
        close_all(p);
}

static enum err command(struct prober *p, enum command_kind kind,
                        struct bytes data, uint64_t generation,
                        uint64_t first_delay_ms)
{
    struct command *c = malloc(sizeof *c + data.n);
    if (!c)
        return ERR_NOMEM;
    *c = (struct command){.kind = kind,
                          .generation = generation,
                          .first_delay_ms = first_delay_ms,
                          .n = data.n};
    if (data.n)
        memcpy(c->data, data.p, data.n);
    list_init(&c->link);
    struct list one;
    list_init(&one);
    list_add(&one, &c->link);
    queue_push_all(p->commands, &one);
    return ERR_OK;
}

enum err probe_start(struct prober *p, const struct check_def *d,
                     uint64_t generation, uint64_t first_delay_ms)
{
    struct buf b;
    buf_init(&b, CHECK_BYTES_MAX);
    check_def_put(&b, d);
    enum err e = b.bad ? ERR_NOMEM
                       : command(p, COMMAND_START, buf_bytes(&b), generation,
                                 first_delay_ms);
    buf_fini(&b);
    return e;
}

void probe_stop(struct prober *p, struct bytes check_id)
{
    if (command(p, COMMAND_STOP, check_id, 0, 0) != ERR_OK)
        log_error("probe", "out of memory: the check %.*s still runs",
                  BYTES_ARG(check_id));
}

/* --- Thread
 * ------------------------------------------------------------------------ */

static void run(void *arg)
{
    struct prober *p = arg;
    pthread_setname_np(pthread_self(), "probe");
    uv_run(&p->loop, UV_RUN_DEFAULT);
}

enum err prober_new(const struct prober_options *o, struct prober **ret)
{
    struct prober *p = calloc(1, sizeof *p);
    if (!p)
        return ERR_NOMEM;
    p->options = *o;
    list_init(&p->waiting);
    list_init(&p->scripts_waiting);
    if (uv_loop_init(&p->loop) != 0) {
        free(p);
        return ERR_IO;
    }
    enum err e = timers_init(&p->timers, &p->loop);
    if (e == ERR_OK)
        e = queue_new(&p->loop, COMMANDS_MAX, on_commands, p, &p->commands);
    if (e == ERR_OK)
        e = fetcher_new(&p->loop, &p->fetcher);
    if (e == ERR_OK && uv_thread_create(&p->thread, run, p) != 0)
        e = ERR_IO;
    if (e != ERR_OK)
        return e; /* at the start of a process that ends because of it */
    *ret = p;
    return ERR_OK;
}

void prober_close(struct prober *p)
{
    if (command(p, COMMAND_CLOSE, (struct bytes){0}, 0, 0) != ERR_OK)
        return; /* the process ends anyway: its scripts go with their groups */
    uv_thread_join(&p->thread);
    map_fini(&p->checks);
    uv_loop_close(&p->loop);
    free(p);
}
