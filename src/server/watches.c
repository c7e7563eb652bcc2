/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/watches.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "config/json.h"
#include "loop/fetch.h"
#include "server/core.h"
#include "server/handler.h"
#include "server/serving.h"

/* What a handler is to be told. */
struct told {
    char *body; /* heap; NULL: nothing */
    size_t n;
    uint64_t index;
};

struct watch {
    struct list link;  /* watches.all */
    struct list dirty; /* watches.dirty, or alone */
    struct watches *owner;
    struct arena arena;
    struct watch_def def;
    struct buf target; /* canonical */
    uint64_t hash;     /* of its watch key */
    bool gone;         /* but somebody still works for it */

    bool seen; /* digest is of an answer */
    uint64_t digest;
    uint64_t events_told; /* the index of the last one told; 0: none */
    struct told next;     /* newest, not told yet */
    bool waited;          /* with it, for one that was being made already */

    struct told now;         /* what the run under way tells */
    struct handler *handler; /* one of these two, or no run is under way */
    struct fetch *fetch;
    unsigned failures; /* in a row */
    struct timer retry;
};

struct watches {
    struct core *core;
    struct list all, dirty;
    struct fetcher *fetcher; /* NULL: not needed yet */
    int pin;
    bool closing;

    uv_work_t work; /* one answer at a time */
    struct watch *working;
    struct {
        uint64_t events_after;
        bool ok;
        uint64_t digest;
        struct told told;
        char error[160];
    } made;
};

static void work_next(struct watches *ws);
static void run_handler(struct watch *w);
static void look_again(struct watch *w);

/* Its handler is told of each event once, and of all of them, so what it is told
 * depends on what it was told: nothing is made ahead. */
static bool is_of_events(const struct watch *w)
{
    return w->def.type == WATCH_DEF_EVENT;
}

static void told_drop(struct told *t)
{
    free(t->body);
    *t = (struct told){0};
}

/* --- Handlers ------------------------------------------------------------- */

static bool is_running(const struct watch *w)
{
    return w->handler || w->fetch;
}

static uint64_t backoff_ms(unsigned failures)
{
    uint64_t ms = WATCH_RETRY_MS;

    for (unsigned i = 1; i < failures && ms < WATCH_RETRY_MAX_MS; i++)
        ms *= 2;
    return ms < WATCH_RETRY_MAX_MS ? ms : WATCH_RETRY_MAX_MS;
}

/* Newer ones come: what was made before is not told any more. */
static bool is_outdated(const struct watch *w)
{
    return w->owner->working == w || !list_empty(&w->dirty);
}

static void on_retry(struct timer *t)
{
    struct watch *w = container_of(t, struct watch, retry);

    if (is_of_events(w)) {
        told_drop(&w->next);
        w->seen = false; /* made anew, with what came meanwhile */
        look_again(w);
    } else if (!is_outdated(w)) {
        run_handler(w);
    }
}

static void log_output(const struct watch *w, struct bytes output)
{
    while (output.n && output.p[output.n - 1] == '\n')
        output.n--;
    if (output.n)
        log_info("watch", "handler: watch=%.*s output=\"%.*s\"",
                 BYTES_ARG(buf_bytes(&w->target)), BYTES_ARG(output));
}

/* error NULL: it went well. */
static void run_ended(struct watch *w, const char *error)
{
    w->handler = NULL;
    w->fetch = NULL;
    if (!error) {
        w->failures = 0;
        if (is_of_events(w)) {
            w->events_told = w->now.index;
            look_again(w);
        }
        told_drop(&w->now);
        if (!is_outdated(w))
            run_handler(w);
        return;
    }
    w->failures++;
    uint64_t wait_ms = backoff_ms(w->failures);
    log_error("watch",
              "a handler failed, trying again: watch=%.*s in=%" PRIu64
              "ms error=\"%s\"",
              BYTES_ARG(buf_bytes(&w->target)), wait_ms, error);
    if (w->next.body)
        told_drop(&w->now);
    else
        w->next = w->now;
    w->now = (struct told){0};
    w->retry.fire = on_retry;
    timer_set(&w->owner->core->timers, &w->retry, wait_ms);
}

static void on_script_done(void *ctx, const char *error, struct bytes output)
{
    struct watch *w = ctx;

    log_output(w, output);
    run_ended(w, error);
}

static void on_http_done(void *ctx, const struct fetch_result *r)
{
    struct watch *w = ctx;
    char text[sizeof r->text.s + 64];

    if (r->err != ERR_OK) {
        run_ended(w, r->text.s);
        return;
    }
    bool good = r->status >= 200 && r->status < 300;
    snprintf(text, sizeof text, "%.*s",
             BYTES_ARG(bytes_head(r->status_line, 60)));
    log_output(w, r->body);
    run_ended(w, good ? NULL : text);
}

static enum err start_http(struct watch *w)
{
    struct watches *ws = w->owner;
    const struct config_pairs *from = &w->def.http.headers;
    struct fetch_header headers[WATCH_ARGS_MAX + 2];
    char index[24];
    size_t n = 0;

    snprintf(index, sizeof index, "%" PRIu64, w->now.index);
    headers[n++] = (struct fetch_header){"Content-Type", "application/json"};
    headers[n++] = (struct fetch_header){"X-Consul-Index", index};
    for (size_t i = 0; i < from->n; i++)
        headers[n++] = (struct fetch_header){from->v[i].key, from->v[i].value};
    const struct fetch_options o = {
        .method = w->def.http.method,
        .url = w->def.http.url,
        .headers = headers,
        .header_count = n,
        .body = bytes_of(w->now.body, w->now.n),
        .timeout_ms =
            (uint32_t)(w->def.timeout_ms > UINT32_MAX ? UINT32_MAX
                                                      : w->def.timeout_ms),
        .tls_skip_verify = w->def.http.tls_skip_verify,
        .body_keep_bytes = HANDLER_OUTPUT_MAX,
    };
    enum err e = ERR_OK;
    if (!ws->fetcher)
        e = fetcher_new(ws->core->loop, &ws->fetcher);
    if (e == ERR_OK)
        e = fetch_start(ws->fetcher, &o, on_http_done, w, &w->fetch);
    return e;
}

/* If there is something to tell, and nobody is told already or waits. */
static void run_handler(struct watch *w)
{
    struct core *c = w->owner->core;

    if (!w->next.body || is_running(w) || w->retry.item.in || w->gone)
        return;
    w->now = w->next;
    w->next = (struct told){0};
    w->waited = false;
    if (w->def.args.n) {
        char *copy = xmalloc(w->now.n + 1); /* kept for a second attempt */
        memcpy(copy, w->now.body, w->now.n);
        w->handler =
            handler_start(c->loop, &c->timers, &w->def.args, w->now.index, copy,
                          w->now.n, w->def.timeout_ms, on_script_done, w);
        return;
    }
    enum err e = start_http(w);
    if (e != ERR_OK)
        run_ended(w, err_text(e));
}

/* --- Answers -------------------------------------------------------------- */

/* Pinned. */
static void make(struct watches *ws, const struct api_env *env)
{
    struct watch *w = ws->working;
    struct api_call call;
    struct arena arena;

    arena_init(&arena, 1 << 20);
    api_call_init(&call);
    enum err e = api_from_canonical(&call, env, buf_bytes(&w->target), &arena);
    call.pretty = false;
    call.want_digest = true;
    call.events_after = ws->made.events_after;
    if (e == ERR_OK)
        api_read(&call, env);
    ws->made.ok = e == ERR_OK && call.status == 200 && !call.body.bad;
    if (ws->made.ok) {
        struct told *t = &ws->made.told;
        ws->made.digest =
            call.blocking == API_BLOCK_HASH ? call.content_hash : call.digest;
        t->index =
            is_of_events(w)
                ? call.content_hash
                : serving_index(env, serving_key_index(env, call.watch), 0);
        t->body = buf_take(&call.body, &t->n);
    } else {
        snprintf(ws->made.error, sizeof ws->made.error, "%.*s",
                 BYTES_ARG(bytes_head(buf_bytes(&call.body), 120)));
    }
    api_call_fini(&call);
    arena_fini(&arena);
}

/* On a thread of libuv's pool. */
static void on_work(uv_work_t *work)
{
    struct watches *ws = container_of(work, struct watches, work);
    struct process *p = ws->core->process;

    pin_enter(&p->pins, ws->pin);
    const struct api_env env = {
        .self = atomic_load_explicit(&p->live, memory_order_acquire),
        .cat = catalog_current(p->catalog),
        .local = local_current(p->local),
        .heard = heard_current(p->heard),
        .beats = beats_current(p->beats),
        .ready = atomic_load_explicit(&p->ready, memory_order_acquire),
    };
    make(ws, &env);
    pin_leave(&p->pins, ws->pin);
}

static void watch_free(struct watch *w)
{
    told_drop(&w->next);
    told_drop(&w->now);
    buf_fini(&w->target);
    arena_fini(&w->arena);
    free(w);
}

/* For events: a run is under way or will be repeated, or has ended meanwhile;
 * then they are looked at again. */
static bool is_too_early(const struct watch *w)
{
    return is_running(w) || w->retry.item.in ||
           w->owner->made.events_after != w->events_told;
}

/* Waits for the next one if that is due already, but only once: with changes
 * without end there always is one. */
static void run_newest(struct watch *w)
{
    if (!list_empty(&w->dirty) && !w->waited)
        w->waited = true;
    else
        run_handler(w);
}

static void take_made(struct watches *ws, struct watch *w)
{
    struct told *t = &ws->made.told;

    if (!ws->made.ok) {
        log_warn("watch", "cannot be seen now: watch=%.*s error=\"%s\"",
                 BYTES_ARG(buf_bytes(&w->target)), ws->made.error);
    } else if ((w->seen && w->digest == ws->made.digest) ||
               (is_of_events(w) && is_too_early(w))) {
        told_drop(t);
    } else {
        w->seen = true;
        w->digest = ws->made.digest;
        told_drop(&w->next);
        w->next = *t;
    }
    *t = (struct told){0};
    run_newest(w);
}

static void on_work_done(uv_work_t *work, int status)
{
    struct watches *ws = container_of(work, struct watches, work);
    struct watch *w = ws->working;

    (void)status;
    ws->working = NULL;
    if (w->gone) {
        told_drop(&ws->made.told);
        watch_free(w);
    } else {
        take_made(ws, w);
    }
    work_next(ws);
}

static void work_next(struct watches *ws)
{
    if (ws->working || ws->closing || list_empty(&ws->dirty))
        return;
    struct watch *w = container_of(ws->dirty.next, struct watch, dirty);
    list_del(&w->dirty);
    ws->working = w;
    ws->made.ok = false;
    ws->made.events_after = w->events_told;
    if (uv_queue_work(ws->core->loop, &ws->work, on_work, on_work_done) != 0)
        ws->working = NULL; /* only for a NULL callback */
}

static void touch(struct watch *w)
{
    if (list_empty(&w->dirty))
        list_add(&w->owner->dirty, &w->dirty);
}

static void look_again(struct watch *w)
{
    touch(w);
    work_next(w->owner);
}

void watches_published(struct watches *ws, const struct watch_set *set)
{
    list_each (it, &ws->all) {
        struct watch *w = container_of(it, struct watch, link);
        bool hit = set->all;
        for (size_t i = 0; i < set->n && !hit; i++)
            hit = set->v[i] == w->hash;
        if (hit)
            touch(w);
    }
    work_next(ws);
}

/* --- Definitions ---------------------------------------------------------- */

static void put_param(struct buf *out, const char *name, const char *value)
{
    buf_putc(out, memchr(out->p, '?', out->n) ? '&' : '?');
    buf_puts(out, name);
    if (value) {
        buf_putc(out, '=');
        http_encode(out, bytes_str(value));
    }
}

static void put_target(struct buf *out, const struct watch_def *d)
{
    static const char *const routes[] = {
        [WATCH_DEF_SERVICES] = "/v1/catalog/services",
        [WATCH_DEF_NODES] = "/v1/catalog/nodes",
        [WATCH_DEF_SERVICE] = "/v1/health/service/",
        [WATCH_DEF_CHECKS] = "/v1/health/state/",
        [WATCH_DEF_AGENT_SERVICE] = "/v1/agent/service/",
        [WATCH_DEF_EVENT] = "/v1/event/list",
    };
    bool of_service = d->type == WATCH_DEF_CHECKS && d->service;

    buf_puts(out, of_service ? "/v1/health/checks/" : routes[d->type]);
    if (d->service)
        http_encode(out, bytes_str(d->service));
    else if (d->service_id)
        http_encode(out, bytes_str(d->service_id));
    else if (d->type == WATCH_DEF_CHECKS)
        http_encode(out, bytes_str(d->state ? d->state : "any"));
    if (d->passing)
        put_param(out, "passing", NULL);
    if (d->name)
        put_param(out, "name", d->name);
    for (size_t i = 0; i < d->tags.n; i++)
        put_param(out, "tag", d->tags.v[i]);
}

/* The hash of its watch key. False: no such read. */
static bool resolve(struct watch *w)
{
    struct process *p = w->owner->core->process;
    const struct api_env env = {
        .self = atomic_load(&p->live),
        .cat = catalog_current(p->catalog),
        .local = local_current(p->local),
        .ready = true,
    };
    struct api_call call;
    struct arena arena;

    arena_init(&arena, 1 << 20);
    api_call_init(&call);
    bool ok = api_from_canonical(&call, &env, buf_bytes(&w->target), &arena) ==
              ERR_OK;
    if (ok)
        w->hash = watch_hash(call.watch);
    api_call_fini(&call);
    arena_fini(&arena);
    return ok;
}

/* By way of its text: the watch outlives the files it was read from. */
static struct watch *watch_new(struct watches *ws, const struct watch_def *d,
                               const char *datacenter)
{
    struct watch *w = xzalloc(sizeof *w);
    struct config_value *v;
    struct errtext t = {{0}};

    w->owner = ws;
    list_init(&w->link);
    list_init(&w->dirty);
    arena_init(&w->arena, 0);
    if (config_json_parse("watches", d->text, &w->arena, &v, &t) == ERR_OK &&
        watch_def_parse(v, datacenter, &w->arena, &w->def, &t) == ERR_OK) {
        put_target(&w->target, &w->def);
        if (!w->target.bad && resolve(w))
            return w;
        errtext_set(&t, "%.*s cannot be read",
                    BYTES_ARG(bytes_head(buf_bytes(&w->target), 100)));
    }
    log_error("watch", "a watch is left out: error=\"%s\"", t.s);
    watch_free(w);
    return NULL;
}

static void watch_end(struct watch *w)
{
    struct watches *ws = w->owner;

    list_del(&w->link);
    list_del(&w->dirty);
    timer_clear(&ws->core->timers, &w->retry);
    if (w->handler)
        handler_cancel(w->handler);
    if (w->fetch)
        fetch_cancel(w->fetch);
    w->handler = NULL;
    w->fetch = NULL;
    w->gone = true;
    if (ws->working != w)
        watch_free(w);
}

static struct watch *take_equal(struct list *from, struct bytes text)
{
    list_each (it, from) {
        struct watch *w = container_of(it, struct watch, link);
        if (bytes_eq(w->def.text, text)) {
            list_del(it);
            return w;
        }
    }
    return NULL;
}

void watches_set(struct watches *ws, const struct watch_def *defs, size_t n,
                 const char *datacenter)
{
    struct list old;

    list_init(&old);
    list_move_all(&old, &ws->all);
    for (size_t i = 0; i < n; i++) {
        struct watch *w = take_equal(&old, defs[i].text);
        if (!w && (w = watch_new(ws, &defs[i], datacenter)))
            touch(w);
        if (w)
            list_add(&ws->all, &w->link);
    }
    while (!list_empty(&old))
        watch_end(container_of(old.next, struct watch, link));
    work_next(ws);
}

/* --- Life ----------------------------------------------------------------- */

struct watches *watches_new(struct core *c)
{
    struct watches *ws = xzalloc(sizeof *ws);

    ws->core = c;
    list_init(&ws->all);
    list_init(&ws->dirty);
    if (pin_slot(&c->process->pins, &ws->pin) == ERR_OK)
        return ws;
    free(ws);
    return NULL;
}

void watches_close(struct watches *ws)
{
    ws->closing = true;
    while (!list_empty(&ws->all))
        watch_end(container_of(ws->all.next, struct watch, link));
    if (ws->fetcher)
        fetcher_close(ws->fetcher);
    ws->fetcher = NULL;
}

void watches_free(struct watches *ws)
{
    free(ws);
}
